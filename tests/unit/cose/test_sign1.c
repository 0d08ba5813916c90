#include "testsupport/support.h"

#include "cose/sign1.h"

#include <string.h>

/* {1: -35} over the payload "hi", with a signature of 96 times 0x07. */
static struct eml_buf example(enum eml_sign1_tag tag)
{
    uint8_t signature[96];
    memset(signature, 7, sizeof signature);
    struct eml_buf b = {0};
    const struct eml_sign1 s = {eml_sign1_es384, EML_LIT("hi"), EML_BYTES(signature)};
    assert_int_equal(eml_sign1_encode(&s, tag, &b), EML_OK);
    return b;
}

static enum eml_err parse(struct eml_bytes b, enum eml_sign1_tag tag, struct eml_sign1 *out,
                          struct eml_why *why)
{
    return eml_sign1_parse(b, tag, eml_sign1_es384, 96, out, why);
}

static void reads_what_was_written(void **state)
{
    (void)state;
    struct eml_sign1 s;
    struct eml_buf untagged = example(EML_SIGN1_UNTAGGED), tagged = example(EML_SIGN1_TAGGED);
    const struct eml_bytes u = eml_buf_bytes(&untagged), t = eml_buf_bytes(&tagged);
    assert_int_equal(t.ptr[0], 0xd2);
    assert_true(eml_bytes_equal(u, eml_bytes(t.ptr + 1, t.len - 1)));
    assert_true(u.len > 8 && memcmp(u.ptr, "\x84\x44\xa1\x01\x38\x22\xa0\x42hi\x58\x60", 12) == 0);
    assert_int_equal(parse(u, EML_SIGN1_UNTAGGED, &s, NULL), EML_OK);
    assert_true(eml_bytes_equal(s.payload, EML_LIT("hi")));
    assert_int_equal(s.signature.len, 96);
    assert_int_equal(s.signature.ptr[95], 7);
    assert_int_equal(parse(t, EML_SIGN1_TAGGED, &s, NULL), EML_OK);
    assert_int_equal(parse(u, EML_SIGN1_TAG_OPTIONAL, &s, NULL), EML_OK);
    assert_int_equal(parse(t, EML_SIGN1_TAG_OPTIONAL, &s, NULL), EML_OK);
    assert_int_equal(parse(u, EML_SIGN1_TAGGED, &s, NULL), EML_E_INPUT);
    assert_int_equal(parse(t, EML_SIGN1_UNTAGGED, &s, NULL), EML_E_INPUT);
    assert_null(s.payload.ptr);
    eml_buf_free(&untagged);
    eml_buf_free(&tagged);
}

static void signed_bytes_are_the_sig_structure(void **state)
{
    (void)state;
    struct eml_buf b = {0};
    struct eml_buf wanted = eml_test_hex("846a5369676e61747572653144a101382240426869");
    assert_int_equal(eml_sign1_signed_bytes(eml_sign1_es384, EML_LIT("hi"), &b), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_buf_bytes(&wanted)));
    eml_buf_free(&b);
    eml_buf_free(&wanted);
}

static void bad_structures_name_their_rule(void **state)
{
    (void)state;
    static const struct {
        const char *head, *rule; /* the head, before 96 bytes of signature */
    } bad[] = {
        {"d184", "COSE: tag"},
        {"d2d28444a1013822a04268695860", "COSE: not an array of four"},
        {"a0", "COSE: not an array of four"},
        {"8344a1013822a04268695860", "COSE: not an array of four"},
        {"8544a1013822a04268695860", "COSE: not an array of four"},
        {"9f44a1013822a04268695860", "COSE: not an array of four"},
        {"8443a10120a04268695860", "COSE: protected header is not the expected one"},
        {"8444a1013823a04268695860", "COSE: protected header is not the expected one"},
        {"8440a04268695860", "COSE: protected header is not the expected one"},
        {"84a1013822a04268695860", "COSE: protected header is not the expected one"},
        {"845804a1013822a04268695860", "COSE: protected header is not the expected one"},
        {"8444a1013822a1044131426869", "COSE: unprotected header is not an empty map"},
        {"8444a1013822f6426869", "COSE: unprotected header is not an empty map"},
        {"8444a1013822bfff426869", "COSE: unprotected header is not an empty map"},
        {"8444a1013822a0f65860", "COSE: payload is not a byte string"},
        {"8444a1013822a06268695860", "COSE: payload is not a byte string"},
        {"8444a1013822a05f426869ff5860", "COSE: payload is not a byte string"},
        {"8444a1013822a0426869585f", "COSE: signature has the wrong form or length"},
        {"8444a1013822a04268695861", "COSE: signature has the wrong form or length"},
        {"8444a1013822a04268697860", "COSE: signature has the wrong form or length"},
        {"8444a1013822a0426869590060", "COSE: signature has the wrong form or length"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_buf b = eml_test_hex(bad[i].head);
        struct eml_sign1 s;
        struct eml_why why = {0};
        (void)eml_buf_grow(&b, 96);
        assert_int_equal(parse(eml_buf_bytes(&b), EML_SIGN1_TAG_OPTIONAL, &s, &why), EML_E_INPUT);
        assert_string_equal(why.rule, bad[i].rule);
        assert_null(s.payload.ptr);
        eml_buf_free(&b);
    }
}

static void cut_or_lengthened_is_refused(void **state)
{
    (void)state;
    struct eml_buf b = example(EML_SIGN1_TAGGED);
    struct eml_sign1 s;
    struct eml_why why = {0};
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(parse(eml_bytes(b.ptr, n), EML_SIGN1_TAG_OPTIONAL, &s, NULL), EML_E_INPUT);
    eml_buf_put_u8(&b, 0);
    assert_int_equal(parse(eml_buf_bytes(&b), EML_SIGN1_TAG_OPTIONAL, &s, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "COSE: bytes after the structure");
    eml_buf_free(&b);
}

/* A throw-away P-384 key: PKCS#8 DER, and its SubjectPublicKeyInfo. */
static const char key_hex[] =
    "3081b6020100301006072a8648ce3d020106052b8104002204819e30819b0201010430a1460f773b1508e0f6"
    "2c9633c94a31f5a4794ad55c4062e9c94deff666ef5fac97fd1bd1a563e946ca949bddea63b3b1a164036200"
    "04710f695ca2587991baf030829f2881e3ed177548d4c49da5da5e3f501a318e5a7a7189d05252221d38c5a3"
    "fa9b0b93fd0d7df462a981a27b6507419bbe385562c6fdec59c92fc1cc8c10bda16b0e13d2ff69b21ebc75e9"
    "116e745bc964fe0ac8";
static const char spki_hex[] =
    "3076301006072a8648ce3d020106052b8104002203620004710f695ca2587991baf030829f2881e3ed177548"
    "d4c49da5da5e3f501a318e5a7a7189d05252221d38c5a3fa9b0b93fd0d7df462a981a27b6507419bbe385562"
    "c6fdec59c92fc1cc8c10bda16b0e13d2ff69b21ebc75e9116e745bc964fe0ac8";

static void signatures_verify_and_break(void **state)
{
    (void)state;
    struct eml_buf key = eml_test_hex(key_hex), spki = eml_test_hex(spki_hex), b = {0};
    struct eml_sign1 s;
    assert_int_equal(eml_sign1_sign_es384(eml_buf_bytes(&key), EML_LIT("payload"), &b), EML_OK);
    assert_int_equal(parse(eml_buf_bytes(&b), EML_SIGN1_UNTAGGED, &s, NULL), EML_OK);
    assert_true(eml_bytes_equal(s.payload, EML_LIT("payload")));
    assert_int_equal(eml_sign1_verify_es384(&s, eml_buf_bytes(&spki)), EML_OK);
    size_t payload_at = (size_t)(s.payload.ptr - b.ptr);
    for (size_t i = payload_at; i < b.len; i++) { /* payload, header of the signature, signature */
        b.ptr[i] ^= 1;
        assert_true(parse(eml_buf_bytes(&b), EML_SIGN1_UNTAGGED, &s, NULL) != EML_OK ||
                    eml_sign1_verify_es384(&s, eml_buf_bytes(&spki)) == EML_E_AUTH);
        b.ptr[i] ^= 1;
    }
    assert_int_equal(parse(eml_buf_bytes(&b), EML_SIGN1_UNTAGGED, &s, NULL), EML_OK);
    struct eml_sign1 other = s;
    other.protected_header = EML_LIT("\xa1\x01\x26"); /* ES256 */
    assert_int_equal(eml_sign1_verify_es384(&other, eml_buf_bytes(&spki)), EML_E_AUTH);
    other = s;
    other.signature.len = 64;
    assert_int_equal(eml_sign1_verify_es384(&other, eml_buf_bytes(&spki)), EML_E_AUTH);
    assert_int_not_equal(eml_sign1_verify_es384(&s, EML_LIT("no key")), EML_OK);
    eml_buf_free(&b);
    assert_int_not_equal(eml_sign1_sign_es384(EML_LIT("no key"), EML_LIT("payload"), &b), EML_OK);
    assert_int_equal(b.len, 0);
    eml_buf_free(&b);
    eml_buf_free(&key);
    eml_buf_free(&spki);
}

/* {1: -8} */
#define EDDSA EML_LIT("\xa1\x01\x27")

static void ed25519_verifies_and_breaks(void **state)
{
    (void)state;
    struct eml_ed25519_sk sk = {.b = {3}}, other = {.b = {4}};
    struct eml_buf b = {0};
    struct eml_sign1 s;
    assert_int_equal(eml_ed25519_make(&sk), EML_OK);
    assert_int_equal(eml_ed25519_make(&other), EML_OK);
    assert_int_equal(eml_sign1_sign_ed25519(EDDSA, &sk, EML_LIT("payload"), EML_SIGN1_TAGGED, &b),
                     EML_OK);
    for (size_t at = 0; at <= b.len; at++) {
        if (at < b.len)
            b.ptr[at] ^= 1;
        enum eml_err e = eml_sign1_parse(eml_buf_bytes(&b), EML_SIGN1_TAGGED, EDDSA, 64, &s, NULL);
        if (e == EML_OK)
            e = eml_sign1_verify_ed25519(&s, EDDSA, &sk.pk);
        assert_int_equal(e == EML_OK, at == b.len);
        if (at < b.len)
            b.ptr[at] ^= 1;
    }
    assert_int_equal(eml_sign1_verify_ed25519(&s, EDDSA, &other.pk), EML_E_AUTH);
    assert_int_equal(eml_sign1_verify_ed25519(&s, EML_LIT("\xa1\x01\x26"), &sk.pk), EML_E_AUTH);
    s.signature.len--;
    assert_int_equal(eml_sign1_verify_ed25519(&s, EDDSA, &sk.pk), EML_E_AUTH);
    eml_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(signed_bytes_are_the_sig_structure),
        cmocka_unit_test(bad_structures_name_their_rule),
        cmocka_unit_test(cut_or_lengthened_is_refused),
        cmocka_unit_test(signatures_verify_and_break),
        cmocka_unit_test(ed25519_verifies_and_breaks),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
