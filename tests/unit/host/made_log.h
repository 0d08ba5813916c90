/* A log for the tests of the sink: made from numbers, in a directory of its own, and checked as
 * anybody would read it. */
#ifndef EML_TESTS_MADE_LOG_H
#define EML_TESTS_MADE_LOG_H

#include "testsupport/support.h"

#include "host/sink.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[EML_TEST_DIR];

/* Entries "e<i>" and hashes filled with their index: to the sink they are bytes. */
struct made {
    struct eml_buf entries, hashes[EML_TILE_LEVELS];
    char note[128];
    struct eml_host_commit c;
};

static const struct eml_host_commit *commit_of(struct made *m, uint64_t first, unsigned n,
                                               struct eml_bytes document)
{
    *m = (struct made){0};
    for (uint64_t i = first; i < first + n; i++) {
        uint8_t be[2];
        char text[32];
        int len = snprintf(text, sizeof text, "e%llu", (unsigned long long)i);
        eml_store_u16(be, (uint16_t)len);
        eml_buf_put(&m->entries, EML_BYTES(be));
        eml_buf_put(&m->entries, eml_bytes(text, (size_t)len));
    }
    m->c = (struct eml_host_commit){
        .first = first, .n = n, .entries = eml_buf_bytes(&m->entries), .document = document};
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++) {
        uint64_t from = eml_tile_count(first, level);
        for (uint64_t i = 0; i < eml_host_commit_hashes(first, n, level); i++)
            memset(eml_buf_grow(&m->hashes[level], EML_TILE_HASH), (int)((from + i) & 0xff),
                   EML_TILE_HASH);
        m->c.hashes[level] = eml_buf_bytes(&m->hashes[level]);
    }
    int len = snprintf(m->note, sizeof m->note, "origin\n%llu\nroot\n\nsignature\n",
                       (unsigned long long)(first + n));
    m->c.checkpoint = eml_bytes(m->note, (size_t)len);
    return &m->c;
}

static inline enum eml_host_status commit(struct eml_sink *s, uint64_t first, unsigned n)
{
    struct made m;
    enum eml_host_status status =
        eml_sink_commit(s, commit_of(&m, first, n, (struct eml_bytes){0}));
    eml_buf_free(&m.entries);
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        eml_buf_free(&m.hashes[level]);
    return status;
}

static inline struct eml_sink *opened(void)
{
    struct eml_sink *s;
    assert_int_equal(eml_sink_open(dir, 1u << 30, &s, NULL), EML_OK);
    return s;
}

static inline char *at(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static inline bool there(const char *name)
{
    return access(at(name), F_OK) == 0;
}

static inline long length(const char *name)
{
    struct stat st;
    return stat(at(name), &st) == 0 ? (long)st.st_size : -1;
}

static inline uint64_t size_of(struct eml_sink *s)
{
    uint64_t records, bytes;
    eml_sink_count(s, &records, &bytes);
    return records;
}

/* The whole log as it must be, read as anybody would read it. */
static inline void check_log(uint64_t size)
{
    char path[EML_TILE_PATH_MAX], note[64];
    assert_int_equal(size == 0, !there("checkpoint"));
    if (size == 0)
        return;
    int len =
        snprintf(note, sizeof note, "origin\n%llu\nroot\n\nsignature\n", (unsigned long long)size);
    struct eml_buf b = eml_test_read(at("checkpoint"));
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_bytes(note, (size_t)len)));
    eml_buf_free(&b);
    for (unsigned part = 0; part <= EML_TILE_LEVELS; part++) {
        uint64_t count = eml_tile_count(size, part);
        for (uint64_t i = 0; i < count; i += EML_TILE_WIDTH) {
            unsigned width = eml_tile_width(size, part, i / EML_TILE_WIDTH);
            eml_tile_path(part, i / EML_TILE_WIDTH, width, path);
            b = eml_test_read(at(path));
            struct eml_cur c = eml_cur(eml_buf_bytes(&b));
            for (uint64_t k = i; k < i + width; k++) {
                char text[32];
                uint8_t hash[EML_TILE_HASH];
                int n = snprintf(text, sizeof text, "e%llu", (unsigned long long)k);
                memset(hash, (int)(k & 0xff), sizeof hash);
                assert_true(
                    part == EML_TILE_ENTRIES
                        ? eml_bytes_equal(eml_tile_entry(&c), eml_bytes(text, (size_t)n))
                        : eml_bytes_equal(eml_cur_take(&c, EML_TILE_HASH), EML_BYTES(hash)));
            }
            assert_true(eml_cur_done(&c));
            eml_buf_free(&b);
        }
    }
}

#endif
