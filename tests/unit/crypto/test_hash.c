#include "testsupport/known.h"
#include "testsupport/support.h"

#include "base/wipe.h"
#include "crypto/crypto.h"

#include <openssl/evp.h>

#include <string.h>

/* The examples of FIPS 180-4 (NIST's "SHA examples"). */
static void sha_known_answers(void **state)
{
    (void)state;
    struct eml_sha256 h;
    struct eml_sha384 l;
    struct eml_bytes whole = EML_LIT("abc");
    struct eml_bytes cut[] = {EML_LIT("a"), EML_LIT(""), EML_LIT("bc")};
    assert_int_equal(eml_sha256(&whole, 1, &h), EML_OK);
    eml_test_assert_hex(EML_BYTES(h.b),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(eml_sha256(cut, 3, &h), EML_OK);
    eml_test_assert_hex(EML_BYTES(h.b),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(eml_sha256(NULL, 0, &h), EML_OK);
    eml_test_assert_hex(EML_BYTES(h.b),
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(eml_sha384(&whole, 1, &l), EML_OK);
    eml_test_assert_hex(EML_BYTES(l.b), "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"
                                        "1a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
}

/* RFC 4231, test cases 1, 2 and 6 (a key longer than a block). */
static void hmac_known_answers(void **state)
{
    (void)state;
    struct eml_sha256 h;
    uint8_t key[20], long_key[131];
    memset(key, 0x0b, sizeof key);
    memset(long_key, 0xaa, sizeof long_key);
    struct eml_bytes m1 = EML_LIT("Hi There");
    struct eml_bytes m2[] = {EML_LIT("what do ya want "), EML_LIT("for nothing?")};
    struct eml_bytes m6 = EML_LIT("Test Using Larger Than Block-Size Key - Hash Key First");
    assert_int_equal(eml_hmac_sha256(EML_BYTES(key), &m1, 1, &h), EML_OK);
    eml_test_assert_hex(EML_BYTES(h.b),
                        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_int_equal(eml_hmac_sha256(EML_LIT("Jefe"), m2, 2, &h), EML_OK);
    eml_test_assert_hex(EML_BYTES(h.b),
                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_int_equal(eml_hmac_sha256(EML_BYTES(long_key), &m6, 1, &h), EML_OK);
    eml_test_assert_hex(EML_BYTES(h.b),
                        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_int_equal(eml_hmac_sha256((struct eml_bytes){0}, NULL, 0, &h), EML_OK);
    eml_test_assert_hex(EML_BYTES(h.b),
                        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* RFC 5869, test cases 1 and 3, extract written as the HMAC that it is. */
static void hkdf_known_answers(void **state)
{
    (void)state;
    struct eml_sha256 prk;
    uint8_t ikm[22], salt[13], info[10], okm[42];
    memset(ikm, 0x0b, sizeof ikm);
    eml_test_hex_into("000102030405060708090a0b0c", EML_ROOM(salt));
    eml_test_hex_into("f0f1f2f3f4f5f6f7f8f9", EML_ROOM(info));
    struct eml_bytes m = EML_BYTES(ikm);
    assert_int_equal(eml_hmac_sha256(EML_BYTES(salt), &m, 1, &prk), EML_OK);
    eml_test_assert_hex(EML_BYTES(prk.b),
                        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    assert_int_equal(eml_hkdf_expand(EML_BYTES(prk.b), EML_BYTES(info), EML_ROOM(okm)), EML_OK);
    eml_test_assert_hex(EML_BYTES(okm), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56"
                                        "ecc4c5bf34007208d5b887185865");
    assert_int_equal(eml_hmac_sha256((struct eml_bytes){0}, &m, 1, &prk), EML_OK);
    assert_int_equal(eml_hkdf_expand(EML_BYTES(prk.b), EML_LIT(""), EML_ROOM(okm)), EML_OK);
    eml_test_assert_hex(EML_BYTES(okm), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f"
                                        "3c738d2d9d201395faa4b61a96c8");
}

/* OpenSSL without an HMAC (no memory for it, say) is an error, not a crash. */
static void a_missing_hmac_is_an_error(void **state)
{
    (void)state;
    struct eml_sha256 h;
    memset(&h, 1, sizeof h);
    assert_int_equal(EVP_set_default_properties(NULL, "provider=none"), 1);
    enum eml_err e = eml_hmac_sha256(EML_LIT("key"), NULL, 0, &h);
    assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
    assert_int_equal(e, EML_E_SYSTEM);
    assert_true(eml_ct_is_zero(EML_BYTES(h.b)));
    assert_int_equal(eml_hmac_sha256(EML_LIT("key"), NULL, 0, &h), EML_OK);
}

static void hkdf_is_prefix_stable_up_to_its_maximum(void **state)
{
    (void)state;
    static uint8_t longest[255 * 32], shorter[100];
    struct eml_bytes prk = EML_LIT("0123456789abcdef0123456789abcdef");
    assert_int_equal(eml_hkdf_expand(prk, EML_LIT("i"), EML_ROOM(longest)), EML_OK);
    assert_int_equal(eml_hkdf_expand(prk, EML_LIT("i"), EML_ROOM(shorter)), EML_OK);
    assert_memory_equal(longest, shorter, sizeof shorter);
}

static void random_differs_and_is_balanced(void **state)
{
    (void)state;
    static uint8_t a[100000], b[32], c[32];
    assert_int_equal(eml_random(EML_ROOM(b)), EML_OK);
    assert_int_equal(eml_random(EML_ROOM(c)), EML_OK);
    assert_memory_not_equal(b, c, sizeof b);
    assert_int_equal(eml_random(EML_ROOM(a)), EML_OK);
    long ones = 0;
    for (size_t i = 0; i < sizeof a; i++)
        ones += __builtin_popcount(a[i]);
    assert_in_range(ones, 400000 - 5000, 400000 + 5000); /* 11 standard deviations */
    assert_int_equal(eml_random((struct eml_room){0}), EML_OK);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha_known_answers),
        cmocka_unit_test(hmac_known_answers),
        cmocka_unit_test(a_missing_hmac_is_an_error),
        cmocka_unit_test(hkdf_known_answers),
        cmocka_unit_test(hkdf_is_prefix_stable_up_to_its_maximum),
        cmocka_unit_test(random_differs_and_is_balanced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
