#include "crypto/crypto.h"

#include "base/heap.h"
#include "base/wipe.h"
#include "crypto/pem.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <stdlib.h>

enum { BITS = 2048, BLOCK = BITS / 8, SPKI_MAX = 1024, PEM_MAX = 16384 };

struct eml_rsa {
    EVP_PKEY *pkey;
};

/* 2048 bits, and an odd public exponent from 65537 to 32 bits (SP 800-56B asks for the former). */
static bool is_sane(const EVP_PKEY *key)
{
    BIGNUM *exponent = NULL;
    bool ok = EVP_PKEY_is_a(key, "RSA") == 1 && EVP_PKEY_get_bits(key) == BITS &&
              EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 &&
              BN_is_odd(exponent) && BN_num_bits(exponent) <= 32 && BN_get_word(exponent) >= 65537;
    BN_free(exponent);
    return ok;
}

static enum eml_err own(EVP_PKEY *key, struct eml_rsa **out)
{
    *out = malloc(sizeof **out);
    if (*out == NULL) {
        EVP_PKEY_free(key);
        return EML_E_SYSTEM;
    }
    (*out)->pkey = key;
    return EML_OK;
}

enum eml_err eml_rsa_generate(struct eml_rsa **out)
{
    *out = NULL;
    EVP_PKEY *key = EVP_RSA_gen(BITS);
    if (key == NULL) {
        ERR_clear_error();
        return EML_E_SYSTEM;
    }
    return own(key, out);
}

enum eml_err eml_rsa_from_pem(struct eml_bytes pem, struct eml_rsa **out)
{
    *out = NULL;
    if (pem.len == 0 || pem.len > PEM_MAX)
        return EML_E_INPUT;
    eml_heap_watch();
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    EVP_PKEY *key =
        bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, eml_pem_no_password, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (key == NULL || !is_sane(key)) {
        EVP_PKEY_free(key);
        return eml_heap_verdict(EML_E_INPUT, NULL);
    }
    return own(key, out);
}

void eml_rsa_free(struct eml_rsa *k)
{
    if (k == NULL)
        return;
    EVP_PKEY_free(k->pkey);
    free(k);
}

enum eml_err eml_rsa_spki(const struct eml_rsa *k, struct eml_buf *out)
{
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(k->pkey, &der);
    if (len <= 0) {
        ERR_clear_error();
        return EML_E_SYSTEM;
    }
    eml_buf_put(out, (struct eml_bytes){der, (size_t)len});
    OPENSSL_free(der);
    return eml_buf_ok(out);
}

static bool set_oaep(EVP_PKEY_CTX *ctx)
{
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1;
}

enum eml_err eml_rsa_oaep_decrypt(const struct eml_rsa *k, struct eml_bytes block,
                                  struct eml_room out, size_t *out_len)
{
    uint8_t plain[BLOCK] = {0};
    size_t len = sizeof plain;
    *out_len = 0;
    eml_heap_watch();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(k->pkey, NULL);
    bool ok = ctx != NULL && EVP_PKEY_decrypt_init(ctx) == 1 && set_oaep(ctx) &&
              block.len == BLOCK && EVP_PKEY_decrypt(ctx, plain, &len, block.ptr, block.len) == 1 &&
              len <= out.len;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    eml_wipe(out.ptr, out.len);
    if (ok) {
        for (size_t i = 0; i < len; i++)
            out.ptr[i] = plain[i];
        *out_len = len;
    }
    eml_wipe(plain, sizeof plain);
    return ok ? EML_OK : eml_heap_verdict(EML_E_AUTH, NULL);
}

enum eml_err eml_rsa_oaep_encrypt(struct eml_bytes spki, struct eml_bytes plain,
                                  struct eml_room out)
{
    const uint8_t *p = spki.ptr;
    size_t len = BLOCK;
    EML_ASSERT(out.len == BLOCK);
    eml_heap_watch();
    EVP_PKEY *key = spki.len <= SPKI_MAX ? d2i_PUBKEY(NULL, &p, (long)spki.len) : NULL;
    enum eml_err e = EML_E_INPUT;
    if (key != NULL && p == spki.ptr + spki.len && is_sane(key) &&
        plain.len <= BLOCK - 2 * sizeof(struct eml_sha256) - 2) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
        bool ok = ctx != NULL && EVP_PKEY_encrypt_init(ctx) == 1 && set_oaep(ctx) &&
                  EVP_PKEY_encrypt(ctx, out.ptr, &len, plain.ptr, plain.len) == 1 && len == BLOCK;
        EVP_PKEY_CTX_free(ctx);
        e = ok ? EML_OK : EML_E_SYSTEM;
    }
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (e != EML_OK)
        eml_wipe(out.ptr, out.len);
    return eml_heap_verdict(e, NULL);
}
