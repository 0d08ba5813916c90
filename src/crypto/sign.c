#include "crypto/crypto.h"

#include "base/heap.h"
#include "base/wipe.h"
#include "crypto/spki.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
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

/* A one-shot signature over msg under md. */
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
    eml_heap_watch();
    const uint8_t *p = spki.ptr;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)spki.len);
    if (key == NULL) {
        ERR_clear_error();
        return eml_heap_verdict(EML_E_INPUT, NULL);
    }
    uint8_t der[DER_SIG_MAX];
    size_t der_len = 0;
    enum eml_err e = EML_E_SYSTEM;
    if (sig_to_der(sig, der, &der_len))
        e = verify(key, EVP_sha384(), msg, (struct eml_bytes){der, der_len});
    EVP_PKEY_free(key);
    return eml_heap_verdict(e, NULL);
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
    eml_heap_watch();
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
    return eml_heap_verdict(e, NULL);
}
