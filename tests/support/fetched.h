/* OpenSSL looks an algorithm up by its name once instead of at each use, for fuzz targets that hash
 * and seal little things: "// wrap: EVP_sha256 EVP_MAC_fetch EVP_aes_256_gcm".
 */
#ifndef EML_TESTSUPPORT_FETCHED_H
#define EML_TESTSUPPORT_FETCHED_H

#include <openssl/evp.h>
#include <string.h>

const EVP_MD *__wrap_EVP_sha256(void);
const EVP_CIPHER *__wrap_EVP_aes_256_gcm(void);
EVP_MAC *__wrap_EVP_MAC_fetch(OSSL_LIB_CTX *ctx, const char *name, const char *properties);
EVP_MAC *__real_EVP_MAC_fetch(OSSL_LIB_CTX *ctx, const char *name, const char *properties);

const EVP_MD *__wrap_EVP_sha256(void)
{
    static EVP_MD *md;
    if (md == NULL)
        md = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    return md;
}

const EVP_CIPHER *__wrap_EVP_aes_256_gcm(void)
{
    static EVP_CIPHER *cipher;
    if (cipher == NULL)
        cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    return cipher;
}

EVP_MAC *__wrap_EVP_MAC_fetch(OSSL_LIB_CTX *ctx, const char *name, const char *properties)
{
    static EVP_MAC *hmac;
    if (ctx != NULL || properties != NULL || strcmp(name, "HMAC") != 0)
        return __real_EVP_MAC_fetch(ctx, name, properties);
    if (hmac == NULL)
        hmac = __real_EVP_MAC_fetch(NULL, "HMAC", NULL);
    return hmac != NULL && EVP_MAC_up_ref(hmac) == 1 ? hmac : NULL;
}

#endif
