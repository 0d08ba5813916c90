#include "log_builder.h"

#include "auditlog/dir.h"
#include "file/file.h"
#include "wire/base64.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

static struct log_builder b;

/* A log whose entries are given bytes, not records. */
static void begin_with(const char *const *hex, size_t n)
{
    log_begin(&b);
    b.n = n;
    b.boots = 1;
    for (size_t i = 0; i < n; i++) {
        b.entry[i] = eml_test_hex(hex[i]);
        b.leaf[i] = log_hash(0, eml_buf_bytes(&b.entry[i]), (struct eml_bytes){0});
    }
    log_write(&b);
}

/* The eight entries of Certificate Transparency's tests, which the vectors' trees are made of. */
static const char *const ct_entries[] = {"",
                                         "00",
                                         "10",
                                         "2021",
                                         "3031",
                                         "40414243",
                                         "5051525354555657",
                                         "606162636465666768696a6b6c6d6e6f"};

static bool hash_of(const json_t *text, struct eml_sha256 *out)
{
    struct eml_buf raw = {0};
    const char *s = json_string_value(text);
    bool ok = s != NULL && eml_base64_decode(eml_bytes_of_str(s), &raw) == EML_OK &&
              raw.len == sizeof out->b;
    if (ok)
        memcpy(out->b, raw.ptr, sizeof out->b);
    eml_buf_free(&raw);
    return ok;
}

static void assert_proof(const json_t *list, const struct eml_tree_proof *proof)
{
    assert_int_equal(json_array_size(list), proof->n);
    for (size_t i = 0; i < proof->n; i++) {
        struct eml_sha256 want;
        assert_true(hash_of(json_array_get(list, i), &want));
        assert_memory_equal(proof->hash[i].b, want.b, sizeof want.b);
    }
}

/* Roots and proofs that others computed come out of the tiles, byte for byte. */
static void foreign_proofs_come_out_of_the_tiles(void **state)
{
    (void)state;
    json_t *inclusion =
               json_load_file(EML_VECTORS "/audit/inclusion.json", JSON_DECODE_INT_AS_REAL, NULL),
           *consistency =
               json_load_file(EML_VECTORS "/audit/consistency.json", JSON_DECODE_INT_AS_REAL, NULL),
           *v;
    size_t i, proofs = 0;
    begin_with(ct_entries, 8);
    struct eml_log_dir d = {.path = b.dir, .size = 8};
    const struct eml_tree_source source = eml_log_dir_source(&d);
    struct eml_tree_proof proof;
    struct eml_sha256 root, want;
    json_array_foreach(inclusion, i, v)
    {
        if (json_is_true(json_object_get(v, "wantErr")))
            continue;
        const uint64_t index = (uint64_t)json_number_value(json_object_get(v, "leafIdx"));
        const uint64_t size = (uint64_t)json_number_value(json_object_get(v, "treeSize"));
        assert_true(index < 8 && hash_of(json_object_get(v, "leafHash"), &want));
        if (memcmp(want.b, b.leaf[index].b, sizeof want.b) != 0)
            continue; /* one case is of another tree */
        assert_int_equal(eml_tree_prove_inclusion(&source, index, size, &proof), EML_OK);
        assert_proof(json_object_get(v, "proof"), &proof);
        assert_int_equal(eml_tree_source_root(&source, size, &root), EML_OK);
        assert_true(hash_of(json_object_get(v, "root"), &want));
        assert_memory_equal(root.b, want.b, sizeof want.b);
        proofs++;
    }
    json_array_foreach(consistency, i, v)
    {
        const uint64_t size1 = (uint64_t)json_number_value(json_object_get(v, "size1"));
        const uint64_t size2 = (uint64_t)json_number_value(json_object_get(v, "size2"));
        if (json_is_true(json_object_get(v, "wantErr")))
            continue;
        assert_int_equal(eml_tree_prove_consistency(&source, size1, size2, &proof), EML_OK);
        assert_proof(json_object_get(v, "proof"), &proof);
        proofs++;
    }
    assert_int_equal(proofs, 6);
    for (size_t e = 0; e < 8; e++) {
        struct eml_bytes entry;
        assert_int_equal(eml_log_dir_entry(&d, e, &entry, NULL), EML_OK);
        assert_true(eml_bytes_equal(entry, eml_buf_bytes(&b.entry[e])));
    }
    eml_log_dir_close(&d);
    log_end(&b);
    json_decref(inclusion);
    json_decref(consistency);
}

static void assert_rule(enum eml_err got, const struct eml_why *why, enum eml_err err,
                        const char *rule, long index)
{
    assert_int_equal(got, err);
    assert_string_equal(why->rule, rule);
    assert_int_equal(why->index, index);
}

static void what_is_not_there_is_refused(void **state)
{
    (void)state;
    struct eml_why why;
    struct eml_bytes out = EML_LIT("left over");
    begin_with(ct_entries, 8);
    struct eml_log_dir d = {.path = b.dir, .size = 8};
    assert_rule(eml_log_dir_tile(&d, 0, 1, &out, &why), &why, EML_E_USAGE,
                "log: no such tile in a tree of this size", 1);
    assert_int_equal(out.len, 0);
    assert_rule(eml_log_dir_tile(&d, 1, 0, &out, &why), &why, EML_E_USAGE,
                "log: no such tile in a tree of this size", 0);
    assert_rule(eml_log_dir_entry(&d, 8, &out, &why), &why, EML_E_USAGE,
                "log: there is no record of this index", -1);
    d.size = 9; /* more than the host kept */
    assert_rule(eml_log_dir_tile(&d, 0, 0, &out, &why), &why, EML_E_INPUT,
                "files: a tile is missing or cannot be read", 0);
    assert_rule(eml_log_dir_entry(&d, 3, &out, &why), &why, EML_E_INPUT,
                "files: a bundle of entries is missing or cannot be read", 0);
    assert_int_equal(out.len, 0);
    eml_log_dir_close(&d);
    log_end(&b);
}

/* Cut at every byte, and one byte too many. */
static void tiles_and_bundles_are_whole_or_refused(void **state)
{
    (void)state;
    static const struct {
        unsigned part;
        const char *name, *rule;
    } cases[] = {
        {0, "tile/0/000.p/8", "files: a tile is cut short or too long"},
        {EML_TILE_ENTRIES, "tile/entries/000.p/8",
         "files: a bundle of entries is cut short or too long"},
    };
    begin_with(ct_entries, 8);
    for (size_t i = 0; i < 2; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", b.dir, cases[i].name);
        struct eml_buf whole = eml_test_read(path);
        const size_t n = whole.len;
        eml_buf_put_u8(&whole, 0);
        for (size_t len = 0; len <= whole.len; len++) {
            struct eml_log_dir d = {.path = b.dir, .size = 8};
            struct eml_bytes out;
            struct eml_why why;
            log_put(&b, cases[i].name, eml_bytes(whole.ptr, len));
            enum eml_err e = eml_log_dir_tile(&d, cases[i].part, 0, &out, &why);
            if (len == n)
                assert_true(e == EML_OK && out.len == n);
            else
                assert_rule(e, &why, EML_E_INPUT, cases[i].rule, 0);
            eml_log_dir_close(&d);
        }
        eml_buf_free(&whole);
    }
    log_end(&b);
}

/* The host has replaced the partial tile that an older checkpoint needs by a wider one. */
static void a_wider_tile_serves_for_a_narrower(void **state)
{
    (void)state;
    begin_with(ct_entries, 8);
    for (uint64_t size = 1; size <= 8; size++) {
        struct eml_log_dir d = {.path = b.dir, .size = size};
        struct eml_bytes tile, entry;
        assert_int_equal(eml_log_dir_tile(&d, 0, 0, &tile, NULL), EML_OK);
        assert_int_equal(tile.len, size * EML_TILE_HASH);
        assert_memory_equal(tile.ptr, b.leaf, tile.len);
        assert_int_equal(eml_log_dir_entry(&d, size - 1, &entry, NULL), EML_OK);
        assert_true(eml_bytes_equal(entry, eml_buf_bytes(&b.entry[size - 1])));
        assert_int_equal(eml_log_dir_entry(&d, size, &entry, NULL), EML_E_USAGE);
        eml_log_dir_close(&d);
    }
    log_end(&b);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    (void)state;
    static char path[5000];
    struct eml_buf out = {0};
    struct eml_why why;
    memset(path, 'a', sizeof path - 1);
    struct eml_log_dir d = {.path = path, .size = 1};
    assert_rule(eml_log_dir_file(&d, "checkpoint", 10, &out, &why), &why, EML_E_USAGE,
                "log: the path is too long", -1);
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_proofs_come_out_of_the_tiles),
        cmocka_unit_test(what_is_not_there_is_refused),
        cmocka_unit_test(tiles_and_bundles_are_whole_or_refused),
        cmocka_unit_test(a_wider_tile_serves_for_a_narrower),
        cmocka_unit_test(a_path_that_is_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
