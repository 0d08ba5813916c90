#include "testsupport/support.h"

#include "base/wipe.h"
#include "crypto/crypto.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <string.h>

static struct eml_buf take_der(EVP_PKEY *key)
{
    struct eml_buf b = {0};
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    assert_true(len > 0);
    eml_buf_put(&b, eml_bytes(der, (size_t)len));
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    return b;
}

static EVP_PKEY *rsa_with(unsigned bits, unsigned long exponent)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, NULL);
    BIGNUM *e = BN_new();
    assert_int_equal(BN_set_word(e, exponent), 1);
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)bits), 1);
    assert_int_equal(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e), 1);
    assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void oaep_round_trips_and_hides_why_it_fails(void **state)
{
    (void)state;
    struct eml_rsa *k = NULL, *other = NULL;
    struct eml_buf spki = {0};
    uint8_t block[256], again[256], out[256];
    size_t len;
    assert_int_equal(eml_rsa_generate(&k), EML_OK);
    assert_int_equal(eml_rsa_generate(&other), EML_OK);
    assert_int_equal(eml_rsa_spki(k, &spki), EML_OK);
    struct eml_bytes pub = eml_buf_bytes(&spki);
    assert_int_equal(eml_rsa_oaep_encrypt(pub, EML_LIT("data key"), EML_ROOM(block)), EML_OK);
    assert_int_equal(eml_rsa_oaep_encrypt(pub, EML_LIT("data key"), EML_ROOM(again)), EML_OK);
    assert_memory_not_equal(block, again, sizeof block);
    assert_int_equal(eml_rsa_oaep_decrypt(k, EML_BYTES(block), EML_ROOM(out), &len), EML_OK);
    assert_true(eml_bytes_equal(eml_bytes(out, len), EML_LIT("data key")));
    assert_int_equal(eml_rsa_oaep_decrypt(k, EML_BYTES(block), (struct eml_room){out, 7}, &len),
                     EML_E_AUTH);
    assert_int_equal(eml_rsa_oaep_decrypt(other, EML_BYTES(block), EML_ROOM(out), &len),
                     EML_E_AUTH);
    assert_int_equal(len, 0);
    assert_true(eml_ct_is_zero(EML_BYTES(out)));
    assert_int_equal(eml_rsa_oaep_decrypt(k, eml_bytes(block, 255), EML_ROOM(out), &len),
                     EML_E_AUTH);
    for (size_t i = 0; i < 256; i += 17) {
        block[i] ^= 1;
        assert_int_equal(eml_rsa_oaep_decrypt(k, EML_BYTES(block), EML_ROOM(out), &len),
                         EML_E_AUTH);
        block[i] ^= 1;
    }
    uint8_t longest[191] = {1};
    assert_int_equal(eml_rsa_oaep_encrypt(pub, eml_bytes(longest, 190), EML_ROOM(block)), EML_OK);
    assert_int_equal(eml_rsa_oaep_decrypt(k, EML_BYTES(block), EML_ROOM(out), &len), EML_OK);
    assert_int_equal(len, 190);
    assert_int_equal(eml_rsa_oaep_encrypt(pub, EML_BYTES(longest), EML_ROOM(block)), EML_E_INPUT);
    eml_buf_free(&spki);
    eml_rsa_free(k);
    eml_rsa_free(other);
}

/* What OpenSSL's own interface encrypts with both digests SHA-256 opens here. */
static void oaep_is_with_sha256_for_both_digests(void **state)
{
    (void)state;
    struct eml_rsa *k = NULL;
    struct eml_buf spki = {0};
    assert_int_equal(eml_rsa_generate(&k), EML_OK);
    assert_int_equal(eml_rsa_spki(k, &spki), EML_OK);
    for (int mgf1_sha1 = 0; mgf1_sha1 <= 1; mgf1_sha1++) {
        const uint8_t *p = spki.ptr;
        EVP_PKEY *pub = d2i_PUBKEY(NULL, &p, (long)spki.len);
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pub, NULL);
        uint8_t block[256], out[256];
        size_t n = sizeof block, len;
        assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()), 1);
        assert_int_equal(
            EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, mgf1_sha1 == 1 ? EVP_sha1() : EVP_sha256()), 1);
        assert_int_equal(EVP_PKEY_encrypt(ctx, block, &n, (const uint8_t *)"k", 1), 1);
        assert_int_equal(eml_rsa_oaep_decrypt(k, EML_BYTES(block), EML_ROOM(out), &len),
                         mgf1_sha1 == 1 ? EML_E_AUTH : EML_OK);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(pub);
    }
    eml_buf_free(&spki);
    eml_rsa_free(k);
}

static void only_sane_public_keys_are_taken(void **state)
{
    (void)state;
    uint8_t out[256];
    struct eml_buf keys[] = {
        take_der(rsa_with(1024, 65537)),
        take_der(rsa_with(3072, 65537)),
        take_der(rsa_with(2048, 3)),
        take_der(EVP_EC_gen("P-384")),
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_int_equal(eml_rsa_oaep_encrypt(eml_buf_bytes(&keys[i]), EML_LIT("k"), EML_ROOM(out)),
                         EML_E_INPUT);
        assert_true(eml_ct_is_zero(EML_BYTES(out)));
        eml_buf_free(&keys[i]);
    }
    struct eml_buf good = take_der(rsa_with(2048, 65537));
    assert_int_equal(eml_rsa_oaep_encrypt(eml_buf_bytes(&good), EML_LIT("k"), EML_ROOM(out)),
                     EML_OK);
    assert_int_equal(
        eml_rsa_oaep_encrypt(eml_bytes(good.ptr, good.len - 1), EML_LIT("k"), EML_ROOM(out)),
        EML_E_INPUT);
    eml_buf_put_u8(&good, 0);
    assert_int_equal(eml_rsa_oaep_encrypt(eml_buf_bytes(&good), EML_LIT("k"), EML_ROOM(out)),
                     EML_E_INPUT);
    eml_buf_free(&good);
}

static struct eml_buf take_pem(EVP_PKEY *key, const EVP_CIPHER *cipher)
{
    struct eml_buf b = {0};
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    unsigned char password[] = "pw";
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, cipher, cipher != NULL ? password : NULL,
                                              cipher != NULL ? 2 : 0, NULL, NULL),
                     1);
    long len = BIO_get_mem_data(bio, &text);
    eml_buf_put(&b, eml_bytes(text, (size_t)len));
    BIO_free(bio);
    EVP_PKEY_free(key);
    return b;
}

static void pem_keys(void **state)
{
    (void)state;
    struct eml_rsa *k = NULL;
    struct eml_buf good = take_pem(rsa_with(2048, 65537), NULL);
    assert_int_equal(eml_rsa_from_pem(eml_buf_bytes(&good), &k), EML_OK);
    eml_rsa_free(k);
    struct eml_buf bad[] = {take_pem(rsa_with(1024, 65537), NULL),
                            take_pem(EVP_EC_gen("P-384"), NULL),
                            take_pem(rsa_with(2048, 65537), EVP_aes_128_cbc())};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(eml_rsa_from_pem(eml_buf_bytes(&bad[i]), &k), EML_E_INPUT);
        assert_null(k);
        eml_buf_free(&bad[i]);
    }
    assert_int_equal(eml_rsa_from_pem(eml_bytes(good.ptr, good.len / 2), &k), EML_E_INPUT);
    assert_int_equal(eml_rsa_from_pem(EML_LIT(""), &k), EML_E_INPUT);
    eml_buf_free(&good);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oaep_round_trips_and_hides_why_it_fails),
        cmocka_unit_test(oaep_is_with_sha256_for_both_digests),
        cmocka_unit_test(only_sane_public_keys_are_taken),
        cmocka_unit_test(pem_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
