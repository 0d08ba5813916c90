#include "testsupport/support.h"

#include "audit/tree.h"
#include "wire/base64.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { LEAVES = 530 };

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *j = json_load_file(path, JSON_DECODE_INT_AS_REAL, &error);
    assert_non_null(j);
    return j;
}

/* False if it is not a hash: such cases of the vectors expect an error. */
static bool hash_of(const json_t *text, struct eml_sha256 *out)
{
    struct eml_buf b = {0};
    const char *s = json_string_value(text);
    bool ok =
        s != NULL && eml_base64_decode(eml_bytes_of_str(s), &b) == EML_OK && b.len == sizeof out->b;
    if (ok)
        memcpy(out->b, b.ptr, sizeof out->b);
    eml_buf_free(&b);
    return ok;
}

static bool proof_of(const json_t *list, struct eml_tree_proof *out)
{
    out->n = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (out->n == EML_TREE_PROOF_MAX || !hash_of(json_array_get(list, i), &out->hash[out->n++]))
            return false;
    return true;
}

static uint64_t number(const json_t *o, const char *name)
{
    double v = json_number_value(json_object_get(o, name)); /* some are 2^64 - 1 */
    return v < 0x1p63 ? (uint64_t)v : UINT64_MAX;
}

static void foreign_inclusion_proofs(void **state)
{
    (void)state;
    json_t *all = load(EML_VECTORS "/audit/inclusion.json"), *v;
    size_t i, accepted = 0;
    assert_int_equal(json_array_size(all), 50);
    json_array_foreach(all, i, v)
    {
        struct eml_sha256 root, leaf;
        struct eml_tree_proof proof;
        bool readable = hash_of(json_object_get(v, "root"), &root) &&
                        hash_of(json_object_get(v, "leafHash"), &leaf) &&
                        proof_of(json_object_get(v, "proof"), &proof);
        bool ok = readable && eml_tree_verify_inclusion(number(v, "leafIdx"), number(v, "treeSize"),
                                                        &leaf, &proof, &root) == EML_OK;
        if (ok == json_is_true(json_object_get(v, "wantErr")))
            fail_msg("%s", json_string_value(json_object_get(v, "file")));
        accepted += ok ? 1 : 0;
    }
    assert_int_equal(accepted, 4);
    json_decref(all);
}

static void foreign_consistency_proofs(void **state)
{
    (void)state;
    json_t *all = load(EML_VECTORS "/audit/consistency.json"), *v;
    size_t i, accepted = 0;
    assert_int_equal(json_array_size(all), 42);
    json_array_foreach(all, i, v)
    {
        struct eml_sha256 root1, root2;
        struct eml_tree_proof proof;
        bool readable = hash_of(json_object_get(v, "root1"), &root1) &&
                        hash_of(json_object_get(v, "root2"), &root2) &&
                        proof_of(json_object_get(v, "proof"), &proof);
        bool ok = readable && eml_tree_verify_consistency(number(v, "size1"), number(v, "size2"),
                                                          &proof, &root1, &root2) == EML_OK;
        if (ok == json_is_true(json_object_get(v, "wantErr")))
            fail_msg("%s", json_string_value(json_object_get(v, "file")));
        accepted += ok ? 1 : 0;
    }
    assert_int_equal(accepted, 3);
    json_decref(all);
}

static void foreign_hashes(void **state)
{
    (void)state;
    json_t *file = load(EML_VECTORS "/audit/c2sp-examples.json");
    const json_t *want = json_object_get(file, "rfc6962_hashes");
    struct eml_tree empty = {0};
    struct eml_sha256 got[4], left = {{0}}, right = {{0}};
    /* "N123" and "N456" stand for hashes in the original: node() takes hashes of 32 bytes, so the
     * same function is checked on its own parts. */
    const uint8_t one[] = {1};
    const struct eml_bytes parts[] = {EML_BYTES(one), EML_LIT("N123"), EML_LIT("N456")};
    assert_int_equal(eml_tree_root(&empty, &got[0]), EML_OK);
    assert_int_equal(eml_tree_leaf((struct eml_bytes){0}, &got[1]), EML_OK);
    assert_int_equal(eml_tree_leaf(EML_LIT("L123456"), &got[2]), EML_OK);
    assert_int_equal(eml_sha256(parts, 3, &got[3]), EML_OK);
    const char *const names[] = {"empty_root", "leaf_empty", "leaf_L123456", "node_N123_N456"};
    for (size_t i = 0; i < 4; i++) {
        struct eml_buf b = eml_test_hex(json_string_value(json_object_get(want, names[i])));
        assert_memory_equal(b.ptr, got[i].b, sizeof got[i].b);
        eml_buf_free(&b);
    }
    const struct eml_bytes node[] = {EML_BYTES(one), EML_BYTES(left.b), EML_BYTES(right.b)};
    assert_int_equal(eml_sha256(node, 3, &got[0]), EML_OK);
    assert_int_equal(eml_tree_node(&left, &right, &got[1]), EML_OK);
    assert_memory_equal(got[0].b, got[1].b, sizeof got[0].b);
    json_decref(file);
}

/* --- against the definition --- */

static struct eml_sha256 leaves[LEAVES];

/* MTH of RFC 6962 section 2.1, word for word. */
static struct eml_sha256 by_definition(size_t lo, size_t hi)
{
    struct eml_sha256 out;
    if (hi - lo == 1)
        return leaves[lo];
    size_t k = 1;
    while (k * 2 < hi - lo)
        k *= 2;
    struct eml_sha256 left = by_definition(lo, lo + k), right = by_definition(lo + k, hi);
    assert_int_equal(eml_tree_node(&left, &right, &out), EML_OK);
    return out;
}

static enum eml_err full_node(void *ctx, unsigned level, uint64_t index, struct eml_sha256 *out)
{
    const size_t *size = ctx;
    uint64_t lo = index << level, hi = (index + 1) << level;
    assert_true(hi <= *size);
    *out = by_definition((size_t)lo, (size_t)hi);
    return EML_OK;
}

static int make_leaves(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEAVES; i++) {
        const uint8_t entry[] = {(uint8_t)i, (uint8_t)(i >> 8)};
        if (eml_tree_leaf(EML_BYTES(entry), &leaves[i]) != EML_OK)
            return 1;
    }
    return 0;
}

static void grows_as_defined(void **state)
{
    (void)state;
    struct eml_tree t = {0};
    for (size_t n = 1; n <= LEAVES; n++) {
        struct eml_sha256 root, want = by_definition(0, n);
        assert_int_equal(eml_tree_append(&t, &leaves[n - 1]), EML_OK);
        assert_int_equal(t.size, n);
        assert_int_equal(eml_tree_root(&t, &root), EML_OK);
        assert_memory_equal(root.b, want.b, sizeof root.b);
    }
    t.size = EML_TREE_SIZE_MAX;
    assert_int_equal(eml_tree_append(&t, &leaves[0]), EML_E_REFUSED);
}

static void every_inclusion_proof_verifies_and_no_other(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 70; n++) {
        const struct eml_tree_source source = {full_node, &n};
        struct eml_sha256 root = by_definition(0, n), same;
        struct eml_tree_proof p;
        assert_int_equal(eml_tree_source_root(&source, n, &same), EML_OK);
        assert_memory_equal(same.b, root.b, sizeof root.b);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(eml_tree_prove_inclusion(&source, i, n, &p), EML_OK);
            for (size_t k = 0; k < n; k++)
                assert_int_equal(eml_tree_verify_inclusion(i, n, &leaves[k], &p, &root) == EML_OK,
                                 k == i);
            assert_int_not_equal(eml_tree_verify_inclusion(i ^ 1, n, &leaves[i], &p, &root),
                                 n == 1 && i == 0 ? EML_E_AUTH : EML_OK);
            p.n++;
            assert_int_not_equal(eml_tree_verify_inclusion(i, n, &leaves[i], &p, &root), EML_OK);
            p.n--;
            for (size_t k = 0; k < p.n; k++) {
                p.hash[k].b[k % 32] ^= 1;
                assert_int_equal(eml_tree_verify_inclusion(i, n, &leaves[i], &p, &root),
                                 EML_E_AUTH);
                p.hash[k].b[k % 32] ^= 1;
            }
        }
        assert_int_equal(eml_tree_prove_inclusion(&source, n, n, &p), EML_E_USAGE);
        assert_int_equal(p.n, 0);
    }
}

static void every_consistency_proof_verifies_and_no_other(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 70; n++) {
        const struct eml_tree_source source = {full_node, &n};
        struct eml_sha256 root2 = by_definition(0, n);
        for (size_t m = 1; m <= n; m++) {
            struct eml_sha256 root1 = by_definition(0, m);
            struct eml_tree_proof p;
            assert_int_equal(eml_tree_prove_consistency(&source, m, n, &p), EML_OK);
            assert_int_equal(eml_tree_verify_consistency(m, n, &p, &root1, &root2), EML_OK);
            if (m < n) {
                assert_int_not_equal(eml_tree_verify_consistency(m, n, &p, &root2, &root1), EML_OK);
                root1.b[0] ^= 1;
                assert_int_not_equal(eml_tree_verify_consistency(m, n, &p, &root1, &root2), EML_OK);
            }
        }
        struct eml_tree_proof none;
        assert_int_equal(eml_tree_prove_consistency(&source, 0, n, &none), EML_E_USAGE);
    }
}

/* The peaks before a batch and its leaves prove each of them, and that the tree only grew. */
static void the_newest_leaves_prove_themselves(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("the_newest_leaves_prove_themselves");
    for (int round = 0; round < 200; round++) {
        size_t base = (size_t)eml_gen_range(&g, 0, LEAVES - 1);
        size_t n = (size_t)eml_gen_range(&g, 1, (int64_t)(LEAVES - base));
        struct eml_tree t = {0};
        for (size_t i = 0; i < base; i++)
            assert_int_equal(eml_tree_append(&t, &leaves[i]), EML_OK);
        const struct eml_tree_recent recent = {&t, leaves + base, n};
        const struct eml_tree_source source = eml_tree_recent_source(&recent);
        struct eml_sha256 root = by_definition(0, base + n), same;
        struct eml_tree_proof p;
        assert_int_equal(eml_tree_source_root(&source, base + n, &same), EML_OK);
        assert_memory_equal(same.b, root.b, sizeof root.b);
        size_t i = base + (size_t)eml_gen_range(&g, 0, (int64_t)n - 1);
        assert_int_equal(eml_tree_prove_inclusion(&source, i, base + n, &p), EML_OK);
        assert_int_equal(eml_tree_verify_inclusion(i, base + n, &leaves[i], &p, &root), EML_OK);
        if (base != 0) {
            struct eml_sha256 old = by_definition(0, base);
            assert_int_equal(eml_tree_prove_consistency(&source, base, base + n, &p), EML_OK);
            assert_int_equal(eml_tree_verify_consistency(base, base + n, &p, &old, &root), EML_OK);
        }
        /* What lies within a peak is not known, and said so. */
        if (base > 1)
            assert_int_equal(eml_tree_prove_inclusion(&source, 0, base + n, &p), EML_E_USAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_inclusion_proofs),
        cmocka_unit_test(foreign_consistency_proofs),
        cmocka_unit_test(foreign_hashes),
        cmocka_unit_test(grows_as_defined),
        cmocka_unit_test(every_inclusion_proof_verifies_and_no_other),
        cmocka_unit_test(every_consistency_proof_verifies_and_no_other),
        cmocka_unit_test(the_newest_leaves_prove_themselves),
    };
    return cmocka_run_group_tests(tests, make_leaves, NULL);
}
