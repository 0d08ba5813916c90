#include "crypto/crypto.h"

#include "base/wipe.h"
#include "crypto/spki.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>

#include <string.h>

enum { P384 = 48, DER_SIG_MAX = 112 };

bool eml_spki_is_p384(struct eml_bytes spki)
{
    static const uint8_t prefix[] = {0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86,
                                     0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
                                     0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04};
    return spki.len == sizeof prefix + 2 * P384 && memcmp(spki.ptr, prefix, sizeof prefix) == 0;
}

/* A one-shot signature over msg under md (NULL for Ed25519). */
static bool sign(EVP_PKEY *key, const EVP_MD *md, struct eml_bytes msg, uint8_t *sig, size_t *len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, md, NULL, key) == 1 &&
              EVP_DigestSign(ctx, sig, len, msg.ptr, msg.len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static enum eml_err verify(EVP_PKEY *key, const EVP_MD *md, struct eml_bytes msg,
                           struct eml_bytes sig)
{
    enum eml_err e = EML_E_SYSTEM;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, md, NULL, key) == 1)
        e = EVP_DigestVerify(ctx, sig.ptr, sig.len, msg.ptr, msg.len) == 1 ? EML_OK : EML_E_AUTH;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return e;
}

enum eml_err eml_ed25519_make(struct eml_ed25519_sk *sk)
{
    size_t len = sizeof sk->pk.b;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, sk->b, sizeof sk->b);
    bool ok = key != NULL && EVP_PKEY_get_raw_public_key(key, sk->pk.b, &len) == 1;
    EVP_PKEY_free(key);
    if (ok)
        return EML_OK;
    ERR_clear_error();
    eml_wipe(sk, sizeof *sk);
    return EML_E_SYSTEM;
}

/* OpenSSL's form of both halves, without deriving one from the other. NULL on failure. */
static EVP_PKEY *key_pair(struct eml_ed25519_sk *sk)
{
    OSSL_PARAM halves[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, sk->b, sizeof sk->b),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, sk->pk.b, sizeof sk->pk.b),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "ED25519", NULL);
    if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, halves);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* Encodings of the points of order 1, 2, 4 and 8, without the sign bit; the last two are not
 * reduced. A key among them accepts signatures that nobody made, which OpenSSL does not look for.
 */
static bool has_small_order(const uint8_t point[32])
{
    static const uint8_t small[][32] = {
        {0},
        {1},
        {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
         0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
         0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
        {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
         0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
         0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
        {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    };
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        if (memcmp(point, small[i], 31) == 0 && (point[31] & 0x7f) == small[i][31])
            return true;
    return false;
}

enum eml_err eml_ed25519_sign(const struct eml_ed25519_sk *sk, struct eml_bytes msg,
                              uint8_t sig[64])
{
    size_t len = 64;
    if (has_small_order(sk->pk.b)) { /* as one that was never made has */
        eml_wipe(sig, 64);
        return EML_E_USAGE;
    }
    struct eml_ed25519_sk copy = *sk; /* OpenSSL's parameters are not const */
    EVP_PKEY *key = key_pair(&copy);
    eml_wipe(&copy, sizeof copy);
    bool ok = key != NULL && sign(key, NULL, msg, sig, &len) && len == 64;
    EVP_PKEY_free(key);
    if (ok)
        return EML_OK;
    ERR_clear_error();
    eml_wipe(sig, 64);
    return EML_E_SYSTEM;
}

enum eml_err eml_ed25519_verify(const struct eml_ed25519_pk *pk, struct eml_bytes msg,
                                const uint8_t sig[64])
{
    if (has_small_order(pk->b) || has_small_order(sig))
        return EML_E_AUTH;
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, pk->b, sizeof pk->b);
    if (key == NULL) {
        ERR_clear_error();
        return EML_E_SYSTEM;
    }
    enum eml_err e = verify(key, NULL, msg, (struct eml_bytes){sig, 64});
    EVP_PKEY_free(key);
    return e;
}

/* r || s, fixed width, to DER ECDSA-Sig-Value. High s is accepted: Nitro documents carry it. */
static bool sig_to_der(const uint8_t sig[2 * P384], uint8_t der[DER_SIG_MAX], size_t *len)
{
    BIGNUM *r = BN_bin2bn(sig, P384, NULL), *s = BN_bin2bn(sig + P384, P384, NULL);
    ECDSA_SIG *pair = ECDSA_SIG_new();
    bool ok = r != NULL && s != NULL && pair != NULL && ECDSA_SIG_set0(pair, r, s) == 1;
    if (ok) {
        r = s = NULL; /* owned by pair */
        int n = i2d_ECDSA_SIG(pair, NULL);
        ok = n > 0 && n <= DER_SIG_MAX && i2d_ECDSA_SIG(pair, &der) == n;
        *len = ok ? (size_t)n : 0;
    }
    ECDSA_SIG_free(pair);
    BN_free(r);
    BN_free(s);
    return ok;
}

static bool sig_from_der(const uint8_t *der, size_t len, uint8_t sig[2 * P384])
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);
    bool ok = pair != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(pair), sig, P384) == P384 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(pair), sig + P384, P384) == P384;
    ECDSA_SIG_free(pair);
    return ok;
}

enum eml_err eml_es384_verify(struct eml_bytes spki, struct eml_bytes msg, const uint8_t sig[96])
{
    if (!eml_spki_is_p384(spki))
        return EML_E_INPUT;
    const uint8_t *p = spki.ptr;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)spki.len);
    if (key == NULL) {
        ERR_clear_error();
        return EML_E_INPUT;
    }
    uint8_t der[DER_SIG_MAX];
    size_t der_len = 0;
    enum eml_err e = EML_E_SYSTEM;
    if (sig_to_der(sig, der, &der_len))
        e = verify(key, EVP_sha384(), msg, (struct eml_bytes){der, der_len});
    EVP_PKEY_free(key);
    return e;
}

static bool is_p384(EVP_PKEY *key)
{
    uint8_t *spki = NULL;
    int len = i2d_PUBKEY(key, &spki);
    bool ok = len > 0 && eml_spki_is_p384((struct eml_bytes){spki, (size_t)len});
    OPENSSL_free(spki);
    return ok;
}

enum eml_err eml_es384_sign(struct eml_bytes key, struct eml_bytes msg, uint8_t sig[96])
{
    memset(sig, 0, 2 * P384);
    const uint8_t *p = key.ptr;
    EVP_PKEY *pkey = key.len <= 4096 ? d2i_AutoPrivateKey(NULL, &p, (long)key.len) : NULL;
    enum eml_err e = EML_E_INPUT;
    if (pkey != NULL && p == key.ptr + key.len && is_p384(pkey)) {
        uint8_t der[DER_SIG_MAX];
        size_t len = sizeof der;
        bool ok = sign(pkey, EVP_sha384(), msg, der, &len) && sig_from_der(der, len, sig);
        e = ok ? EML_OK : EML_E_SYSTEM;
    }
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return e;
}
