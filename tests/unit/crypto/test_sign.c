#include "testsupport/known.h"
#include "testsupport/support.h"

#include "base/wipe.h"
#include "crypto/crypto.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <string.h>

/* RFC 8032 section 7.1, tests 1 and 2. */
static void ed25519_known_answers(void **state)
{
    (void)state;
    static const struct {
        const char *sk, *pk, *msg, *sig;
    } cases[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701"
         "cf9"
         "b46bd25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d"
         "0f1"
         "1d8c387b2eaeb4302aeeb00d291612bb0c00"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct eml_ed25519_sk sk;
        uint8_t sig[64];
        struct eml_buf msg = eml_test_hex(cases[i].msg);
        eml_test_hex_into(cases[i].sk, EML_ROOM(sk.b));
        assert_int_equal(eml_ed25519_make(&sk), EML_OK);
        eml_test_assert_hex(EML_BYTES(sk.pk.b), cases[i].pk);
        assert_int_equal(eml_ed25519_sign(&sk, eml_buf_bytes(&msg), sig), EML_OK);
        eml_test_assert_hex(EML_BYTES(sig), cases[i].sig);
        assert_int_equal(eml_ed25519_verify(&sk.pk, eml_buf_bytes(&msg), sig), EML_OK);
        assert_int_equal(eml_ed25519_verify(&sk.pk, EML_LIT("x"), sig), EML_E_AUTH);
        for (size_t bit = 0; bit < 512; bit++) {
            sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(eml_ed25519_verify(&sk.pk, eml_buf_bytes(&msg), sig), EML_E_AUTH);
            sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        eml_buf_free(&msg);
    }
}

/* RFC 6979 appendix A.2.6: P-384, SHA-384, message "sample". */
#define POINT                                                                                      \
    "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480" \
    "bc138015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd25" \
    "33264720"
#define SPKI "3076301006072a8648ce3d020106052b8104002203620004" POINT
#define SIG_R                                                                                      \
    "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fa" \
    "be46"
#define SIG_S                                                                                      \
    "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a3862" \
    "8ac8"

static void es384_known_answer(void **state)
{
    (void)state;
    uint8_t spki[120], sig[96];
    eml_test_hex_into(SPKI, EML_ROOM(spki));
    eml_test_hex_into(SIG_R SIG_S, EML_ROOM(sig));
    assert_int_equal(eml_es384_verify(EML_BYTES(spki), EML_LIT("sample"), sig), EML_OK);
    assert_int_equal(eml_es384_verify(EML_BYTES(spki), EML_LIT("Sample"), sig), EML_E_AUTH);
    for (size_t i = 0; i < sizeof sig; i++) {
        sig[i] ^= 1;
        assert_int_equal(eml_es384_verify(EML_BYTES(spki), EML_LIT("sample"), sig), EML_E_AUTH);
        sig[i] ^= 1;
    }
}

/* n - s verifies as s does; Nitro signs with either. */
static void es384_accepts_high_s(void **state)
{
    (void)state;
    static const char order[] = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf58"
                                "1a0db248b0a77aecec196accc52973";
    uint8_t spki[120], sig[96], n[48];
    eml_test_hex_into(SPKI, EML_ROOM(spki));
    eml_test_hex_into(SIG_R SIG_S, EML_ROOM(sig));
    eml_test_hex_into(order, EML_ROOM(n));
    int borrow = 0;
    for (size_t i = 48; i-- > 0;) {
        int d = n[i] - sig[48 + i] - borrow;
        borrow = d < 0;
        sig[48 + i] = (uint8_t)(d + 256 * borrow);
    }
    assert_int_equal(eml_es384_verify(EML_BYTES(spki), EML_LIT("sample"), sig), EML_OK);
}

static void es384_refuses_other_signatures_and_keys(void **state)
{
    (void)state;
    uint8_t spki[120], sig[96], zero[96] = {0};
    eml_test_hex_into(SPKI, EML_ROOM(spki));
    eml_test_hex_into(SIG_R SIG_S, EML_ROOM(sig));
    assert_int_equal(eml_es384_verify(EML_BYTES(spki), EML_LIT("sample"), zero), EML_E_AUTH);
    memset(sig, 0xff, sizeof sig); /* r, s >= n */
    assert_int_equal(eml_es384_verify(EML_BYTES(spki), EML_LIT("sample"), sig), EML_E_AUTH);
    eml_test_hex_into(SIG_R SIG_S, EML_ROOM(sig));
    assert_int_equal(eml_es384_verify((struct eml_bytes){spki, 119}, EML_LIT("sample"), sig),
                     EML_E_INPUT);
    assert_int_equal(eml_es384_verify((struct eml_bytes){0}, EML_LIT("sample"), sig), EML_E_INPUT);
    for (size_t i = 0; i < 24; i++) { /* any change of the algorithm, the curve or the form */
        spki[i] ^= 1;
        assert_int_equal(eml_es384_verify(EML_BYTES(spki), EML_LIT("sample"), sig), EML_E_INPUT);
        spki[i] ^= 1;
    }
    spki[119] ^= 1; /* not on the curve */
    assert_int_equal(eml_es384_verify(EML_BYTES(spki), EML_LIT("sample"), sig), EML_E_INPUT);
}

static struct eml_buf private_der(const char *curve)
{
    EVP_PKEY *key = EVP_EC_gen(curve);
    uint8_t *der = NULL;
    int len = i2d_PrivateKey(key, &der);
    assert_true(len > 0);
    struct eml_buf b = {0};
    eml_buf_put(&b, eml_bytes(der, (size_t)len));
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    return b;
}

static void es384_signs_what_it_verifies(void **state)
{
    (void)state;
    struct eml_buf der = private_der("P-384"), other = private_der("P-256");
    const uint8_t *p = der.ptr;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &p, (long)der.len);
    uint8_t *spki = NULL, sig[96];
    int spki_len = i2d_PUBKEY(key, &spki);
    assert_int_equal(spki_len, 120);
    for (int i = 0; i < 300; i++) { /* about one r or s in 256 starts with a zero byte */
        struct eml_bytes msg = eml_bytes(&i, sizeof i);
        assert_int_equal(eml_es384_sign(eml_buf_bytes(&der), msg, sig), EML_OK);
        assert_int_equal(eml_es384_verify(eml_bytes(spki, 120), msg, sig), EML_OK);
    }
    assert_int_equal(eml_es384_sign(eml_buf_bytes(&other), EML_LIT("m"), sig), EML_E_INPUT);
    assert_true(eml_ct_is_zero(EML_BYTES(sig)));
    eml_buf_put_u8(&der, 0);
    assert_int_equal(eml_es384_sign(eml_buf_bytes(&der), EML_LIT("m"), sig), EML_E_INPUT);
    OPENSSL_free(spki);
    EVP_PKEY_free(key);
    eml_buf_free(&der);
    eml_buf_free(&other);
}

/* RFC 8032 section 5.1.7: S + L, which the equation does not tell from S, is no signature. */
static void ed25519_refuses_s_not_reduced(void **state)
{
    (void)state;
    struct eml_ed25519_sk sk = {.b = {1}};
    uint8_t sig[64], order[32];
    unsigned carry = 0;
    eml_test_hex_into("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
                      EML_ROOM(order));
    assert_int_equal(eml_ed25519_make(&sk), EML_OK);
    assert_int_equal(eml_ed25519_sign(&sk, EML_LIT("m"), sig), EML_OK);
    assert_int_equal(eml_ed25519_verify(&sk.pk, EML_LIT("m"), sig), EML_OK);
    for (size_t i = 0; i < sizeof order; i++) {
        carry += (unsigned)sig[32 + i] + order[i];
        sig[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    assert_int_equal(carry, 0);
    assert_int_equal(eml_ed25519_verify(&sk.pk, EML_LIT("m"), sig), EML_E_AUTH);
}

/* With the neutral element as key and R, and S = 0, the equation holds for every message. */
static void ed25519_refuses_small_order(void **state)
{
    (void)state;
    struct eml_ed25519_sk sk = {.b = {1}};
    struct eml_ed25519_pk neutral = {{1}};
    uint8_t sig[64] = {1}, good[64];
    for (unsigned sign = 0; sign <= 0x80; sign += 0x80) {
        neutral.b[31] = sig[31] = (uint8_t)sign;
        assert_int_equal(eml_ed25519_verify(&neutral, EML_LIT("anything"), sig), EML_E_AUTH);
    }
    memset(good, 1, sizeof good);
    assert_int_equal(eml_ed25519_sign(&sk, EML_LIT("m"), good), EML_E_USAGE); /* not made */
    assert_memory_equal(good, (const uint8_t[64]){0}, sizeof good);
    assert_int_equal(eml_ed25519_make(&sk), EML_OK);
    assert_int_equal(eml_ed25519_sign(&sk, EML_LIT("m"), good), EML_OK);
    assert_int_equal(eml_ed25519_verify(&sk.pk, EML_LIT("m"), good), EML_OK);
    assert_int_equal(eml_ed25519_verify(&neutral, EML_LIT("m"), good), EML_E_AUTH);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ed25519_known_answers),
        cmocka_unit_test(ed25519_refuses_s_not_reduced),
        cmocka_unit_test(ed25519_refuses_small_order),
        cmocka_unit_test(es384_known_answer),
        cmocka_unit_test(es384_accepts_high_s),
        cmocka_unit_test(es384_refuses_other_signatures_and_keys),
        cmocka_unit_test(es384_signs_what_it_verifies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
