/* A log in a folder of its own, made from records: encoded, hashed and signed as they are, so that
 * a test can write one that is well signed and still wrong. The tree is the plain one of RFC 6962
 * section 2.1, with recursion, and not the code's. */
#ifndef EML_TESTS_LOG_BUILDER_H
#define EML_TESTS_LOG_BUILDER_H

#include "testsupport/support.h"

#include "audit/note.h"
#include "audit/record.h"
#include "audit/tree.h"
#include "tile/tile.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { LOG_RECORDS_MAX = 700, LOG_BOOTS_MAX = 2 };
#define LOG_ORIGIN "ephemeralml/00112233445566778899aabbccddeeff"
static const uint8_t log_id[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
static const char log_document[] = "an attestation document";

struct log_builder {
    char dir[EML_TEST_DIR];
    struct eml_ed25519_sk key[LOG_BOOTS_MAX]; /* of each boot */
    struct eml_sha256 document;
    struct eml_record record[LOG_RECORDS_MAX];
    struct eml_buf entry[LOG_RECORDS_MAX];
    struct eml_sha256 leaf[LOG_RECORDS_MAX];
    struct eml_buf previous[LOG_BOOTS_MAX]; /* checkpoints in boot records */
    size_t n, boots;
};

static inline struct eml_sha256 log_hash(uint8_t prefix, struct eml_bytes a, struct eml_bytes b)
{
    struct eml_sha256 h;
    const struct eml_bytes parts[] = {eml_bytes(&prefix, 1), a, b};
    assert_int_equal(eml_sha256(parts, 3, &h), EML_OK);
    return h;
}

static inline struct eml_sha256 log_root(const struct eml_sha256 *leaf, size_t n)
{
    size_t half = 1;
    if (n == 1)
        return leaf[0];
    while (half * 2 < n)
        half *= 2;
    struct eml_sha256 left = log_root(leaf, half), right = log_root(leaf + half, n - half);
    return log_hash(1, EML_BYTES(left.b), EML_BYTES(right.b));
}

static inline void log_begin(struct log_builder *b)
{
    const struct eml_bytes document = eml_bytes_of_str(log_document);
    *b = (struct log_builder){.n = 0};
    eml_crypto_init();
    for (size_t i = 0; i < LOG_BOOTS_MAX; i++) {
        memset(b->key[i].b, 1 + (int)i, sizeof b->key[i].b);
        assert_int_equal(eml_ed25519_make(&b->key[i]), EML_OK);
    }
    assert_int_equal(eml_sha256(&document, 1, &b->document), EML_OK);
}

/* Adds a record; its numbers, time and boot are those of a log that is in order. */
static inline struct eml_record *log_add(struct log_builder *b, enum eml_event event,
                                         uint64_t session)
{
    assert_true(b->n < LOG_RECORDS_MAX);
    struct eml_record *r = &b->record[b->n];
    *r = (struct eml_record){.sequence = b->n, .event = event, .session = session};
    r->time_ms = 1700000000000 + b->n;
    r->boot = b->n > 0 ? r[-1].boot : 0;
    if (event == EML_EVENT_BOOT) {
        assert_true(b->boots < LOG_BOOTS_MAX);
        r->boot = b->n;
        r->bytes[EML_BOOT_LOG] = EML_BYTES(log_id);
        r->bytes[EML_BOOT_KEY] = EML_BYTES(b->key[b->boots].pk.b);
        r->bytes[EML_BOOT_DOCUMENT] = EML_BYTES(b->document.b);
        b->boots++;
    }
    b->n++;
    return r;
}

/* A checkpoint of the first `size` entries by one boot's key. Free with eml_buf_free. */
static inline struct eml_buf log_checkpoint(const struct log_builder *b, size_t size, size_t boot,
                                            const char *origin)
{
    struct eml_buf out = {0};
    struct eml_note_key k;
    const struct eml_checkpoint c = {eml_bytes_of_str(origin), size, log_root(b->leaf, size)};
    assert_int_equal(eml_note_key_make(c.origin, &b->key[boot].pk, &k), EML_OK);
    assert_int_equal(eml_checkpoint_sign(&c, &k, &b->key[boot], &out), EML_OK);
    return out;
}

/* Encodes what was added; a later boot's record gets the checkpoint of what is before it, unless
 * the test gave it one. */
static inline void log_encode(struct log_builder *b)
{
    size_t boot = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct eml_record *r = &b->record[i];
        struct eml_bytes *previous = &r->bytes[EML_BOOT_PREVIOUS];
        if (r->event == EML_EVENT_BOOT && i > 0 && previous->len == 0) {
            eml_buf_free(&b->previous[boot]);
            b->previous[boot] = log_checkpoint(b, i, boot, LOG_ORIGIN);
            *previous = eml_buf_bytes(&b->previous[boot++]);
        }
        eml_buf_free(&b->entry[i]);
        assert_int_equal(eml_record_encode(r, &b->entry[i]), EML_OK);
        b->leaf[i] = log_hash(0, eml_buf_bytes(&b->entry[i]), (struct eml_bytes){0});
    }
}

/* Writes a file below the folder, and the folders that it needs. */
static inline void log_put(const struct log_builder *b, const char *name, struct eml_bytes bytes)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", b->dir, name);
    for (char *p = path + strlen(b->dir) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(path, 0700);
        *p = '/';
    }
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(bytes.len == 0 || fwrite(bytes.ptr, bytes.len, 1, f) == 1);
    assert_int_equal(fclose(f), 0);
}

static inline void log_write_tiles(const struct log_builder *b)
{
    struct eml_sha256 hash[LOG_RECORDS_MAX];
    char path[EML_TILE_PATH_MAX];
    size_t n = b->n;
    memcpy(hash, b->leaf, n * sizeof *hash);
    for (unsigned level = 0; n > 0; level++) {
        for (size_t i = 0; i < n; i += EML_TILE_WIDTH) {
            const size_t width = n - i < EML_TILE_WIDTH ? n - i : EML_TILE_WIDTH;
            eml_tile_path(level, i / EML_TILE_WIDTH, (unsigned)width, path);
            log_put(b, path, eml_bytes(hash + i, width * sizeof *hash));
        }
        n /= EML_TILE_WIDTH;
        for (size_t i = 0; i < n; i++)
            hash[i] = log_root(hash + i * EML_TILE_WIDTH, EML_TILE_WIDTH);
    }
}

static inline void log_write_entries(const struct log_builder *b)
{
    char path[EML_TILE_PATH_MAX];
    for (size_t i = 0; i < b->n; i += EML_TILE_WIDTH) {
        struct eml_buf bundle = {0};
        const size_t width = b->n - i < EML_TILE_WIDTH ? b->n - i : EML_TILE_WIDTH;
        for (size_t j = i; j < i + width; j++) {
            eml_buf_put_u8(&bundle, (uint8_t)(b->entry[j].len >> 8));
            eml_buf_put_u8(&bundle, (uint8_t)b->entry[j].len);
            eml_buf_put(&bundle, eml_buf_bytes(&b->entry[j]));
        }
        eml_tile_path(EML_TILE_ENTRIES, i / EML_TILE_WIDTH, (unsigned)width, path);
        log_put(b, path, eml_buf_bytes(&bundle));
        eml_buf_free(&bundle);
    }
}

/* All of it, as it is encoded, in a new folder. */
static inline void log_write(struct log_builder *b)
{
    struct eml_buf note = log_checkpoint(b, b->n, b->boots - 1, LOG_ORIGIN);
    eml_test_dir_make(b->dir);
    log_put(b, "checkpoint", eml_buf_bytes(&note));
    for (size_t i = 0; i < b->n; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "boots/%zu.cose", i);
        if (b->record[i].event == EML_EVENT_BOOT)
            log_put(b, name, eml_bytes_of_str(log_document));
    }
    log_write_tiles(b);
    log_write_entries(b);
    eml_buf_free(&note);
}

static inline void log_end(struct log_builder *b)
{
    for (size_t i = 0; i < LOG_RECORDS_MAX; i++)
        eml_buf_free(&b->entry[i]);
    for (size_t i = 0; i < LOG_BOOTS_MAX; i++)
        eml_buf_free(&b->previous[i]);
    if (b->dir[0] != '\0')
        assert_int_equal(eml_test_dir_drop(b->dir), 0);
    *b = (struct log_builder){.n = 0};
}

#endif
