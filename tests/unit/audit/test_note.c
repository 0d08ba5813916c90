#include "testsupport/support.h"

#include "audit/note.h"

#include <jansson.h>
#include <string.h>

static struct eml_ed25519_sk secret = {.b = {7}};

static struct eml_note_key own_key(const char *name)
{
    struct eml_note_key k;
    assert_int_equal(eml_note_key_make(eml_bytes_of_str(name), &secret.pk, &k), EML_OK);
    return k;
}

static struct eml_bytes text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    assert_non_null(s);
    return eml_bytes_of_str(s);
}

static void foreign_note(void **state)
{
    (void)state;
    json_error_t error;
    json_t *file = json_load_file(EML_VECTORS "/audit/c2sp-examples.json", 0, &error);
    assert_non_null(file);
    const json_t *example = json_object_get(file, "signed_note");
    struct eml_bytes vkey = text_of(example, "vkey"), note = text_of(example, "note"), text;
    struct eml_note_key k;
    struct eml_buf printed = {0};
    assert_int_equal(eml_note_key_parse(vkey, &k, NULL), EML_OK);
    assert_int_equal(eml_note_key_print(&k, &printed), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&printed), vkey));
    assert_int_equal(eml_note_verify(note, &k, &text, NULL), EML_OK);
    assert_true(eml_bytes_equal(text, EML_LIT("This is an example message.\n")));
    struct eml_checkpoint c;
    assert_int_equal(eml_checkpoint_peek(text_of(file, "checkpoint_example"), &c, NULL), EML_OK);
    assert_true(eml_bytes_equal(c.origin, EML_LIT("example.com/behind-the-sofa")));
    assert_int_equal(c.size, 20852163);
    assert_int_equal(eml_checkpoint_peek(note, &c, NULL), EML_E_INPUT);
    eml_buf_free(&printed);
    json_decref(file);
}

static void keys_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum eml_err err;
    } bad[] = {
        {"", EML_E_INPUT},
        {"example.com/foo", EML_E_INPUT},
        {"example.com/foo+530d903a", EML_E_INPUT},
        {"example.com/foo+530d903+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", EML_E_INPUT},
        {"example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", EML_E_INPUT},
        {"example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", EML_E_INPUT},
        {"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2", EML_E_INPUT},
        {"example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
         EML_E_UNSUPPORTED},
        {"a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", EML_E_INPUT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_note_key k;
        struct eml_why why = {0};
        assert_int_equal(eml_note_key_parse(eml_bytes_of_str(bad[i].text), &k, &why), bad[i].err);
        assert_non_null(why.rule);
        assert_null(k.name.ptr);
    }
    static const char *const names[] = {
        "", "a b", "a+b", "a\nb", "a\xc2\xa0", "a\xe2\x80\x83z", "\xff", "a\x7f"};
    struct eml_ed25519_pk pk = {{0}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct eml_note_key k;
        assert_int_equal(eml_note_key_make(eml_bytes_of_str(names[i]), &pk, &k), EML_E_INPUT);
    }
}

static struct eml_buf a_checkpoint(const struct eml_note_key *k)
{
    struct eml_buf b = {0};
    const struct eml_checkpoint c = {.origin = k->name, .size = 70000, .root = {{1, 2, 3}}};
    assert_int_equal(eml_checkpoint_sign(&c, k, &secret, &b), EML_OK);
    return b;
}

static void checkpoints_round_trip(void **state)
{
    (void)state;
    struct eml_note_key k = own_key("ephemeralml/00112233445566778899aabbccddeeff");
    struct eml_buf b = a_checkpoint(&k), again = {0};
    struct eml_checkpoint c;
    assert_true(b.len <= EML_CHECKPOINT_BYTES_MAX);
    assert_int_equal(eml_checkpoint_verify(eml_buf_bytes(&b), &k, &c, NULL), EML_OK);
    assert_int_equal(c.size, 70000);
    assert_int_equal(c.root.b[2], 3);
    assert_int_equal(eml_checkpoint_sign(&c, &k, &secret, &again), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_buf_bytes(&again)));
    eml_buf_free(&b);
    eml_buf_free(&again);
}

static void a_checkpoint_of_another_log_is_refused(void **state)
{
    (void)state;
    struct eml_note_key k = own_key("log/one"), other = own_key("log/two");
    struct eml_buf b = {0};
    struct eml_checkpoint c = {.origin = other.name, .size = 1};
    struct eml_why why = {0};
    assert_int_equal(eml_checkpoint_sign(&c, &k, &secret, &b), EML_E_USAGE);
    assert_int_equal(eml_note_sign(EML_LIT("log/two\n1\n"
                                           "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"),
                                   &k, &secret, &b),
                     EML_OK);
    assert_int_equal(eml_checkpoint_peek(eml_buf_bytes(&b), &c, NULL), EML_OK);
    assert_int_equal(eml_checkpoint_verify(eml_buf_bytes(&b), &k, &c, &why), EML_E_AUTH);
    assert_string_equal(why.rule, "checkpoint: of another log than its key");
    assert_null(c.origin.ptr);
    eml_buf_free(&b);
}

static void cut_and_flipped_notes_are_refused(void **state)
{
    (void)state;
    struct eml_note_key k = own_key("log/one");
    struct eml_buf b = a_checkpoint(&k);
    struct eml_checkpoint c;
    for (size_t n = 0; n < b.len; n++) {
        assert_int_not_equal(eml_checkpoint_verify(eml_bytes(b.ptr, n), &k, &c, NULL), EML_OK);
        assert_int_equal(c.size, 0);
    }
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        b.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(eml_checkpoint_verify(eml_buf_bytes(&b), &k, &c, NULL), EML_OK);
        b.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    eml_buf_free(&b);
}

static void checkpoints_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "log/one\n",
        "log/one\n1\n",
        "\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "log/one\n01\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "log/one\n-1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "log/one\n+1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "log/one\n\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "log/one\n18446744073709551616\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "log/one\n1\nAAAA\n",
        "log/one\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "log/one\n1 \nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "log/one\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n",
    };
    struct eml_note_key k = own_key("log/one");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_buf b = {0};
        struct eml_checkpoint c;
        assert_int_equal(eml_note_sign(eml_bytes_of_str(bad[i]), &k, &secret, &b), EML_OK);
        assert_int_equal(eml_checkpoint_verify(eml_buf_bytes(&b), &k, &c, NULL), EML_E_INPUT);
        eml_buf_free(&b);
    }
    struct eml_buf b = {0};
    assert_int_equal(eml_note_sign(EML_LIT("no line feed"), &k, &secret, &b), EML_E_USAGE);
    assert_int_equal(eml_note_sign(EML_LIT("tab\there\n"), &k, &secret, &b), EML_E_USAGE);
    assert_int_equal(b.len, 0);
}

/* Lines of others are ignored, a bad one of ours is not, whatever stands beside it. */
static void several_signatures(void **state)
{
    (void)state;
    struct eml_note_key k = own_key("log/one"), cosigner = own_key("witness");
    struct eml_buf b = a_checkpoint(&k), line = {0};
    struct eml_bytes text;
    struct eml_checkpoint c;
    assert_int_equal(eml_note_verify(eml_buf_bytes(&b), &k, &text, NULL), EML_OK);
    assert_int_equal(eml_note_sign(text, &cosigner, &secret, &line), EML_OK);
    size_t first = text.len + 1;
    eml_buf_put(&b, eml_bytes(line.ptr + first, line.len - first));
    assert_int_equal(eml_checkpoint_verify(eml_buf_bytes(&b), &k, &c, NULL), EML_OK);
    struct eml_note_key stranger = own_key("nobody");
    assert_int_equal(eml_checkpoint_verify(eml_buf_bytes(&b), &stranger, &c, NULL), EML_E_AUTH);
    /* The same key's second line, over another text. */
    struct eml_buf other = {0};
    assert_int_equal(eml_note_sign(EML_LIT("log/one\n2\nx\n"), &k, &secret, &other), EML_OK);
    eml_buf_put(&b, eml_bytes(other.ptr + 13, other.len - 13));
    assert_int_equal(eml_checkpoint_verify(eml_buf_bytes(&b), &k, &c, NULL), EML_E_AUTH);
    eml_buf_free(&other);
    eml_buf_free(&line);
    eml_buf_free(&b);
}

static void signatures_are_counted(void **state)
{
    (void)state;
    struct eml_note_key k = own_key("log/one");
    struct eml_buf b = a_checkpoint(&k);
    struct eml_bytes text;
    assert_int_equal(eml_note_verify(eml_buf_bytes(&b), &k, &text, NULL), EML_OK);
    struct eml_buf line = {0};
    eml_buf_put(&line, eml_bytes(b.ptr + text.len + 1, b.len - text.len - 1));
    for (unsigned n = 2; n <= EML_NOTE_SIGNATURES_MAX + 1; n++) {
        eml_buf_put(&b, eml_buf_bytes(&line));
        assert_int_equal(eml_note_verify(eml_buf_bytes(&b), &k, &text, NULL),
                         n <= EML_NOTE_SIGNATURES_MAX ? EML_OK : EML_E_INPUT);
    }
    eml_buf_free(&line);
    eml_buf_free(&b);
}

static int make_key(void **state)
{
    (void)state;
    return eml_ed25519_make(&secret) != EML_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_note),
        cmocka_unit_test(keys_that_are_none),
        cmocka_unit_test(checkpoints_round_trip),
        cmocka_unit_test(a_checkpoint_of_another_log_is_refused),
        cmocka_unit_test(cut_and_flipped_notes_are_refused),
        cmocka_unit_test(checkpoints_that_are_none),
        cmocka_unit_test(several_signatures),
        cmocka_unit_test(signatures_are_counted),
    };
    return cmocka_run_group_tests(tests, make_key, NULL);
}
