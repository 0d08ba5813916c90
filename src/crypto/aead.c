#include "crypto/crypto.h"

#include "base/wipe.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <string.h>

enum { TAG = 16, PIECE = 1 << 30 }; /* OpenSSL's lengths are int */

/* out NULL: in is associated data. */
static bool update(EVP_CIPHER_CTX *ctx, uint8_t *out, struct eml_bytes in)
{
    for (size_t done = 0; done < in.len;) {
        size_t n = in.len - done < PIECE ? in.len - done : PIECE;
        int written = 0;
        if (EVP_CipherUpdate(ctx, out != NULL ? out + done : NULL, &written, in.ptr + done,
                             (int)n) != 1 ||
            written != (int)n)
            return false;
        done += n;
    }
    return true;
}

static EVP_CIPHER_CTX *start(const EVP_CIPHER *cipher, const uint8_t *key, const uint8_t *iv,
                             bool seal)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx != NULL && EVP_CipherInit_ex(ctx, cipher, NULL, key, iv, seal) == 1)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return NULL;
}

enum eml_err eml_aead_seal(const struct eml_aead_key *k, const struct eml_nonce *n,
                           struct eml_bytes aad, struct eml_bytes plain, struct eml_room out)
{
    EML_ASSERT(out.len >= TAG && out.len - TAG == plain.len);
    int none = 0;
    EVP_CIPHER_CTX *ctx = start(EVP_aes_256_gcm(), k->b, n->b, true);
    bool ok = ctx != NULL && update(ctx, NULL, aad) && update(ctx, out.ptr, plain) &&
              EVP_CipherFinal_ex(ctx, out.ptr + plain.len, &none) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, out.ptr + plain.len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (ok)
        return EML_OK;
    ERR_clear_error();
    eml_wipe(out.ptr, out.len);
    return EML_E_SYSTEM;
}

enum eml_err eml_aead_open(const struct eml_aead_key *k, const struct eml_nonce *n,
                           struct eml_bytes aad, struct eml_bytes sealed, struct eml_room out)
{
    if (sealed.len < TAG) {
        eml_wipe(out.ptr, out.len);
        return EML_E_AUTH;
    }
    struct eml_bytes text = {sealed.ptr, sealed.len - TAG};
    EML_ASSERT(out.len == text.len);
    uint8_t tag[TAG], none_out[TAG];
    memcpy(tag, sealed.ptr + text.len, TAG); /* out may overlap sealed */
    int none = 0;
    EVP_CIPHER_CTX *ctx = start(EVP_aes_256_gcm(), k->b, n->b, false);
    enum eml_err e = EML_E_SYSTEM;
    if (ctx != NULL && update(ctx, NULL, aad) && update(ctx, out.ptr, text) &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1)
        e = EVP_CipherFinal_ex(ctx, none_out, &none) == 1 ? EML_OK : EML_E_AUTH;
    EVP_CIPHER_CTX_free(ctx);
    if (e != EML_OK) {
        ERR_clear_error();
        eml_wipe(out.ptr, out.len);
    }
    return e;
}

enum eml_err eml_aes256_ctr(const struct eml_aead_key *k, const uint8_t counter[16],
                            struct eml_bytes in, struct eml_room out)
{
    EML_ASSERT(in.len == out.len);
    EVP_CIPHER_CTX *ctx = start(EVP_aes_256_ctr(), k->b, counter, true);
    bool ok = ctx != NULL && update(ctx, out.ptr, in);
    EVP_CIPHER_CTX_free(ctx);
    if (ok)
        return EML_OK;
    ERR_clear_error();
    eml_wipe(out.ptr, out.len);
    return EML_E_SYSTEM;
}

enum eml_err eml_keystream(const struct eml_aead_key *k, struct eml_room out)
{
    static const uint8_t counter_zero[16];
    memset(out.ptr, 0, out.len);
    return eml_aes256_ctr(k, counter_zero, eml_bytes(out.ptr, out.len), out);
}

enum eml_err eml_aes256_cbc_encrypt(const struct eml_aead_key *k, const uint8_t iv[16],
                                    struct eml_bytes plain, struct eml_buf *out)
{
    if (plain.len > PIECE)
        return EML_E_INPUT;
    size_t start_len = out->len;
    uint8_t *to = eml_buf_grow(out, (plain.len / 16 + 1) * 16);
    if (to == NULL)
        return EML_E_SYSTEM;
    int n = 0, last = 0;
    EVP_CIPHER_CTX *ctx = start(EVP_aes_256_cbc(), k->b, iv, true);
    bool ok = ctx != NULL &&
              (plain.len == 0 || EVP_CipherUpdate(ctx, to, &n, plain.ptr, (int)plain.len) == 1) &&
              EVP_CipherFinal_ex(ctx, to + n, &last) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (ok)
        return EML_OK;
    ERR_clear_error();
    eml_wipe(out->ptr + start_len, out->len - start_len);
    out->len = start_len;
    return EML_E_SYSTEM;
}

enum eml_err eml_aes256_cbc_decrypt(const struct eml_aead_key *k, const uint8_t iv[16],
                                    struct eml_bytes ct, struct eml_room out, size_t *out_len)
{
    *out_len = 0;
    if (ct.len == 0 || ct.len % 16 != 0 || ct.len > PIECE || out.len < ct.len) {
        eml_wipe(out.ptr, out.len);
        return ct.len != 0 && out.len < ct.len ? EML_E_USAGE : EML_E_AUTH;
    }
    int n = 0, last = 0;
    EVP_CIPHER_CTX *ctx = start(EVP_aes_256_cbc(), k->b, iv, false);
    enum eml_err e = EML_E_SYSTEM;
    if (ctx != NULL && EVP_CipherUpdate(ctx, out.ptr, &n, ct.ptr, (int)ct.len) == 1)
        e = EVP_CipherFinal_ex(ctx, out.ptr + n, &last) == 1 ? EML_OK : EML_E_AUTH;
    EVP_CIPHER_CTX_free(ctx);
    if (e == EML_OK) {
        *out_len = (size_t)n + (size_t)last;
        return EML_OK;
    }
    ERR_clear_error();
    eml_wipe(out.ptr, out.len);
    return e;
}
