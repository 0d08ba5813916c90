// link: auditlog
// wrap: eml_file_read eml_ed25519_sign eml_ed25519_verify
// wrap: EVP_sha256 EVP_MAC_fetch EVP_aes_256_gcm
/* A log's directory as a hostile host shows it: the input is a script of records, from which tiles,
 * root and signature are made as an enclave would, and of what the host then changes in the files.
 * A digest stands for signatures.
 *
 * Whatever is there: verification ends; what it accepts has all its records, and none of the files
 * that hold records and their hashes was changed. */
#include "testsupport/digest_signature.h"
#include "testsupport/fetched.h"
#include "testsupport/script.h"
#include "testsupport/support.h"

#include "audit/tree.h"
#include "auditlog/verify.h"
#include "tile/tile.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS_MAX = 40 };

static const uint8_t log_id[16] = {7}, document[] = "document";
#define ORIGIN "ephemeralml/07000000000000000000000000000000"

static struct {
    struct eml_cur script;
    struct eml_ed25519_sk key;
    struct eml_tree tree;
    uint64_t boot, sessions;
    struct eml_buf entries, hashes, checkpoint, boots;
} now;

enum eml_err __wrap_eml_file_read(const char *path, uint64_t max, struct eml_buf *out,
                                  struct eml_why *why);

static bool ends_with(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
}

enum eml_err __wrap_eml_file_read(const char *path, uint64_t max, struct eml_buf *out,
                                  struct eml_why *why)
{
    char name[EML_TILE_PATH_MAX];
    const struct eml_buf *file = NULL;
    if (ends_with(path, "/checkpoint"))
        file = &now.checkpoint;
    eml_tile_path(EML_TILE_ENTRIES, 0, (unsigned)now.tree.size, name);
    if (ends_with(path, name))
        file = &now.entries;
    eml_tile_path(0, 0, (unsigned)now.tree.size, name);
    if (ends_with(path, name))
        file = &now.hashes;
    if (ends_with(path, ".cose"))
        file = &now.boots;
    if (file == NULL)
        return eml_fail(why, EML_E_USAGE, "no such file", -1);
    if (file->len > max)
        return eml_fail(why, EML_E_INPUT, "too large", -1);
    eml_buf_put(out, eml_buf_bytes(file));
    return eml_buf_ok(out);
}

/* The checkpoint of all records so far. */
static void put_checkpoint(struct eml_buf *out)
{
    struct eml_checkpoint c = {.origin = EML_LIT(ORIGIN), .size = now.tree.size};
    struct eml_note_key k;
    EML_ASSERT(eml_note_key_make(c.origin, &now.key.pk, &k) == EML_OK);
    EML_ASSERT(eml_tree_root(&now.tree, &c.root) == EML_OK);
    EML_ASSERT(eml_checkpoint_sign(&c, &k, &now.key, out) == EML_OK);
}

static void put_entry(const struct eml_buf *entry)
{
    uint8_t length[2];
    struct eml_sha256 leaf;
    eml_store_u16(length, (uint16_t)entry->len);
    eml_buf_put(&now.entries, EML_BYTES(length));
    eml_buf_put(&now.entries, eml_buf_bytes(entry));
    EML_ASSERT(eml_tree_leaf(eml_buf_bytes(entry), &leaf) == EML_OK);
    EML_ASSERT(eml_tree_append(&now.tree, &leaf) == EML_OK);
    eml_buf_put(&now.hashes, EML_BYTES(leaf.b));
}

static void put_record(uint8_t op)
{
    struct eml_record r = {.sequence = now.tree.size,
                           .event = (enum eml_event)(1 + op % (EML_EVENT_N - 1)),
                           .time_ms = 1000 + now.tree.size};
    const struct eml_bytes doc = eml_bytes(document, sizeof document);
    struct eml_buf previous = {0}, entry = {0};
    struct eml_sha256 digest;
    EML_ASSERT(eml_sha256(&doc, 1, &digest) == EML_OK);
    if (now.tree.size == 0)
        r.event = EML_EVENT_BOOT;
    if (r.event == EML_EVENT_BOOT) {
        now.boot = now.tree.size;
        now.sessions = 0;
        if (now.tree.size != 0)
            put_checkpoint(&previous);
        r.bytes[EML_BOOT_LOG] = EML_BYTES(log_id);
        r.bytes[EML_BOOT_KEY] = EML_BYTES(now.key.pk.b);
        r.bytes[EML_BOOT_DOCUMENT] = EML_BYTES(digest.b);
        r.bytes[EML_BOOT_PREVIOUS] = eml_buf_bytes(&previous);
    } else if (r.event == EML_EVENT_SESSION_OPEN) {
        r.session = ++now.sessions;
    } else if (now.sessions != 0) {
        r.session = 1 + op / 16u % now.sessions;
    }
    if (r.event == EML_EVENT_ATTESTATION)
        r.number[0] = EML_ATTESTATION_SESSION;
    r.boot = now.boot;
    EML_ASSERT(eml_record_encode(&r, &entry) == EML_OK);
    if (op >= 176)
        (void)eml_script_meddle(&now.script, &entry); /* by the enclave that signs it */
    put_entry(&entry);
    eml_buf_free(&previous);
    eml_buf_free(&entry);
}

/* Changes a file; true if it is another now. */
static bool change(struct eml_buf *file)
{
    struct eml_buf was = {0};
    eml_buf_put(&was, eml_buf_bytes(file));
    (void)eml_script_meddle(&now.script, file);
    bool changed = !eml_bytes_equal(eml_buf_bytes(&was), eml_buf_bytes(file));
    eml_buf_free(&was);
    return changed;
}

static void verify(bool changed)
{
    const struct eml_log_options o = {.remembered = {NULL, 0}};
    struct eml_log_report report;
    struct eml_why why = {0};
    enum eml_err e = eml_log_verify("log", &o, &report, &why);
    EML_ASSERT(e == EML_OK || why.rule != NULL);
    if (e == EML_OK) {
        EML_ASSERT(!changed && report.records == now.tree.size);
        for (size_t i = 0; i < EML_LOG_CHECKS_N; i++)
            EML_ASSERT(report.check[i] == EML_LOG_PASSED || report.check[i] == EML_LOG_NOT_ASKED);
    }
    eml_log_report_free(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&now, 0, sizeof now);
    now.script = eml_cur(eml_bytes(data, size));
    now.key.pk.b[0] = 3;
    unsigned n = eml_cur_u8(&now.script) % RECORDS_MAX + 1u;
    for (unsigned i = 0; i < n && (i == 0 || eml_cur_left(&now.script) != 0); i++)
        put_record(eml_cur_u8(&now.script));
    put_checkpoint(&now.checkpoint);
    eml_buf_put(&now.boots, eml_bytes(document, sizeof document));
    bool entries = change(&now.entries), hashes = change(&now.hashes);
    (void)change(&now.checkpoint);
    (void)change(&now.boots);
    verify(entries || hashes);
    eml_buf_free(&now.entries);
    eml_buf_free(&now.hashes);
    eml_buf_free(&now.checkpoint);
    eml_buf_free(&now.boots);
    return 0;
}
