#include "crypto/crypto.h"

#include "base/wipe.h"

#include <openssl/err.h>
#include <openssl/evp.h>

enum eml_err eml_x25519_public(const struct eml_x25519_sk *sk, struct eml_x25519_pk *pk)
{
    size_t len = sizeof pk->b;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, sk->b, sizeof sk->b);
    bool ok = key != NULL && EVP_PKEY_get_raw_public_key(key, pk->b, &len) == 1;
    EVP_PKEY_free(key);
    if (ok)
        return EML_OK;
    ERR_clear_error();
    eml_wipe(pk, sizeof *pk);
    return EML_E_SYSTEM;
}

enum eml_err eml_x25519(const struct eml_x25519_sk *sk, const struct eml_x25519_pk *peer,
                        uint8_t shared[32])
{
    size_t len = 32;
    enum eml_err e = EML_E_SYSTEM;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, sk->b, sizeof sk->b);
    EVP_PKEY *pub = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer->b, sizeof peer->b);
    EVP_PKEY_CTX *ctx = key != NULL ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    if (ctx != NULL && pub != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
        EVP_PKEY_derive_set_peer(ctx, pub) == 1) {
        /* RFC 7748 section 6.1: an all-zero result means a point of small order. OpenSSL fails on
         * it; the comparison keeps the contract on any version. */
        bool ok = EVP_PKEY_derive(ctx, shared, &len) == 1 && len == 32;
        e = ok && !eml_ct_is_zero((struct eml_bytes){shared, 32}) ? EML_OK : EML_E_AUTH;
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(pub);
    EVP_PKEY_free(key);
    if (e != EML_OK) {
        ERR_clear_error();
        eml_wipe(shared, 32);
    }
    return e;
}
