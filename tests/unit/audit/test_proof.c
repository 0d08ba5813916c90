#include "testsupport/support.h"

#include "audit/proof.h"

#include <string.h>

static struct eml_ed25519_sk secret = {.b = {9}};
static struct eml_note_key key;
static struct eml_buf note;
static struct eml_proof made;

/* The third of five entries. */
static int make(void **state)
{
    (void)state;
    struct eml_tree empty = {0}, t = {0};
    struct eml_sha256 leaf[5];
    struct eml_checkpoint c = {.origin = EML_LIT("log/one"), .size = 5};
    bool ok = eml_ed25519_make(&secret) == EML_OK &&
              eml_note_key_make(c.origin, &secret.pk, &key) == EML_OK;
    for (uint8_t i = 0; ok && i < 5; i++)
        ok = eml_tree_leaf(eml_bytes(&i, 1), &leaf[i]) == EML_OK &&
             eml_tree_append(&t, &leaf[i]) == EML_OK;
    const struct eml_tree_recent recent = {&empty, leaf, 5};
    const struct eml_tree_source source = eml_tree_recent_source(&recent);
    ok = ok && eml_tree_root(&t, &c.root) == EML_OK &&
         eml_checkpoint_sign(&c, &key, &secret, &note) == EML_OK &&
         eml_tree_prove_inclusion(&source, 2, 5, &made.path) == EML_OK;
    made.index = 2;
    made.checkpoint = eml_buf_bytes(&note);
    return !ok;
}

static int drop(void **state)
{
    (void)state;
    eml_buf_free(&note);
    return 0;
}

static void round_trips_and_verifies(void **state)
{
    (void)state;
    struct eml_buf text = {0}, again = {0};
    struct eml_proof p;
    struct eml_checkpoint c;
    const uint8_t entry[] = {2}, other[] = {3};
    assert_int_equal(eml_proof_print(&made, &text), EML_OK);
    assert_int_equal(eml_proof_parse(eml_buf_bytes(&text), &p, NULL), EML_OK);
    assert_int_equal(eml_proof_print(&p, &again), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&text), eml_buf_bytes(&again)));
    assert_int_equal(eml_proof_verify(&p, EML_BYTES(entry), &key, &c, NULL), EML_OK);
    assert_int_equal(c.size, 5);
    assert_int_equal(eml_proof_verify(&p, EML_BYTES(other), &key, &c, NULL), EML_E_AUTH);
    assert_int_equal(c.size, 0);
    p.index = 3;
    assert_int_equal(eml_proof_verify(&p, EML_BYTES(entry), &key, NULL, NULL), EML_E_AUTH);
    eml_buf_free(&text);
    eml_buf_free(&again);
}

static void cut_or_flipped_it_proves_nothing(void **state)
{
    (void)state;
    struct eml_buf text = {0};
    struct eml_proof p;
    const uint8_t entry[] = {2};
    assert_int_equal(eml_proof_print(&made, &text), EML_OK);
    for (size_t n = 0; n < text.len; n++) {
        enum eml_err err = eml_proof_parse(eml_bytes(text.ptr, n), &p, NULL);
        if (err == EML_OK)
            err = eml_proof_verify(&p, EML_BYTES(entry), &key, NULL, NULL);
        assert_int_not_equal(err, EML_OK);
    }
    for (size_t bit = 0; bit < 8 * text.len; bit++) {
        text.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum eml_err err = eml_proof_parse(eml_buf_bytes(&text), &p, NULL);
        if (err == EML_OK)
            err = eml_proof_verify(&p, EML_BYTES(entry), &key, NULL, NULL);
        assert_int_not_equal(err, EML_OK);
        text.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    eml_buf_free(&text);
}

static void files_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *text, *rule;
    } bad[] = {
        {"", "proof: not a proof file of this version"},
        {"c2sp.org/tlog-proof@v2\nindex 1\n\nx", "proof: not a proof file of this version"},
        {"c2sp.org/tlog-proof@v1\n", "proof: no index"},
        {"c2sp.org/tlog-proof@v1\nindex \n\nx", "proof: no index"},
        {"c2sp.org/tlog-proof@v1\nindex 01\n\nx", "proof: no index"},
        {"c2sp.org/tlog-proof@v1\nindex -1\n\nx", "proof: no index"},
        {"c2sp.org/tlog-proof@v1\nindex 99999999999999999999999\n\nx", "proof: no index"},
        {"c2sp.org/tlog-proof@v1\nextra eA==\nindex x\n\nx", "proof: no index"},
        {"c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nx", "proof: a line is no hash"},
        {"c2sp.org/tlog-proof@v1\nindex 1\n?\n\nx", "proof: a line is no hash"},
        {"c2sp.org/tlog-proof@v1\nindex 1\n", "proof: no checkpoint"},
        {"c2sp.org/tlog-proof@v1\nindex 1\n\n", "proof: no checkpoint"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_proof p;
        struct eml_why why = {0};
        assert_int_equal(eml_proof_parse(eml_bytes_of_str(bad[i].text), &p, &why), EML_E_INPUT);
        assert_string_equal(why.rule, bad[i].rule);
        assert_null(p.checkpoint.ptr);
    }
    struct eml_proof p;
    assert_int_equal(
        eml_proof_parse(EML_LIT("c2sp.org/tlog-proof@v1\nextra eA==\nindex 1\n\nx"), &p, NULL),
        EML_OK);
    assert_int_equal(p.index, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips_and_verifies),
        cmocka_unit_test(cut_or_flipped_it_proves_nothing),
        cmocka_unit_test(files_that_are_none),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
