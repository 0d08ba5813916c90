#include "crypto/crypto.h"

#include "base/wipe.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <string.h>

static enum eml_err digest(const EVP_MD *md, const struct eml_bytes *parts, size_t n,
                           struct eml_room out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, md, NULL) == 1;
    for (size_t i = 0; i < n && ok; i++)
        ok = EVP_DigestUpdate(ctx, parts[i].ptr, parts[i].len) == 1;
    ok = ok && EVP_DigestFinal_ex(ctx, out.ptr, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    if (ok)
        return EML_OK;
    ERR_clear_error();
    eml_wipe(out.ptr, out.len);
    return EML_E_SYSTEM;
}

enum eml_err eml_sha256(const struct eml_bytes *parts, size_t n, struct eml_sha256 *out)
{
    return digest(EVP_sha256(), parts, n, EML_ROOM(out->b));
}

enum eml_err eml_sha384(const struct eml_bytes *parts, size_t n, struct eml_sha384 *out)
{
    return digest(EVP_sha384(), parts, n, EML_ROOM(out->b));
}

enum eml_err eml_hmac_sha256(struct eml_bytes key, const struct eml_bytes *parts, size_t n,
                             struct eml_sha256 *out)
{
    char name[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    /* A NULL key means "keep the key" to OpenSSL; the empty key is a key. */
    const uint8_t *key_ptr = key.len != 0 ? key.ptr : (const uint8_t *)"";
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    bool ok = ctx != NULL && EVP_MAC_init(ctx, key_ptr, key.len, params) == 1;
    for (size_t i = 0; i < n && ok; i++)
        ok = EVP_MAC_update(ctx, parts[i].ptr, parts[i].len) == 1;
    size_t len = 0;
    ok = ok && EVP_MAC_final(ctx, out->b, &len, sizeof out->b) == 1 && len == sizeof out->b;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    if (ok)
        return EML_OK;
    ERR_clear_error();
    eml_wipe(out, sizeof *out);
    return EML_E_SYSTEM;
}

/* RFC 5869 section 2.3: T(i) = HMAC(PRK, T(i-1) | info | i). */
enum eml_err eml_hkdf_expand(struct eml_bytes prk, struct eml_bytes info, struct eml_room out)
{
    struct eml_sha256 t = {{0}};
    size_t t_len = 0;
    enum eml_err e = EML_OK;
    EML_ASSERT(out.len <= 255 * sizeof t.b);
    for (size_t done = 0, i = 1; done < out.len && e == EML_OK; i++) {
        const uint8_t counter = (uint8_t)i;
        struct eml_bytes parts[] = {{t.b, t_len}, info, {&counter, 1}};
        struct eml_sha256 next;
        e = eml_hmac_sha256(prk, parts, 3, &next);
        t = next;
        eml_wipe(&next, sizeof next);
        t_len = sizeof t.b;
        size_t n = out.len - done < t_len ? out.len - done : t_len;
        memcpy(out.ptr + done, t.b, n);
        done += n;
    }
    eml_wipe(&t, sizeof t);
    if (e != EML_OK)
        eml_wipe(out.ptr, out.len);
    return e;
}
