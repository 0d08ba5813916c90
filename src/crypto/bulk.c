#include "crypto/bulk_impl.h"

#include "base/cur.h"
#include "base/wipe.h"

#include <string.h>

static bool always(void)
{
    return true;
}

static void keep(void *key, const struct eml_aead_key *k)
{
    memcpy(key, k, sizeof *k);
}

static enum eml_err openssl_seal(const void *key, const struct eml_nonce *n, struct eml_bytes aad,
                                 struct eml_bytes plain, uint8_t *out, uint8_t tag[16])
{
    (void)tag; /* follows the text */
    return eml_aead_seal(key, n, aad, plain, (struct eml_room){out, plain.len + EML_BULK_TAG});
}

static enum eml_err openssl_open(const void *key, const struct eml_nonce *n, struct eml_bytes aad,
                                 struct eml_bytes text, const uint8_t tag[16], uint8_t *out)
{
    (void)tag;
    return eml_aead_open(key, n, aad, (struct eml_bytes){text.ptr, text.len + EML_BULK_TAG},
                         (struct eml_room){out, text.len});
}

enum eml_err eml_gcm_part(const struct eml_aead_key *k, const struct eml_nonce *n, uint32_t block,
                          struct eml_bytes text, uint8_t *out)
{
    uint8_t counter[16];
    memcpy(counter, n->b, sizeof n->b);
    eml_store_u32(counter + sizeof n->b, eml_gcm_counter(block));
    return eml_aes256_ctr(k, counter, text, (struct eml_room){out, text.len});
}

static enum eml_err openssl_part(const void *key, const struct eml_nonce *n, uint32_t block,
                                 struct eml_bytes text, uint8_t *out)
{
    return eml_gcm_part(key, n, block, text, out);
}

static const struct eml_bulk_impl openssl_impl = {
    .name = "openssl",
    .cipher = EML_CIPHER_AES_256_GCM,
    .usable = always,
    .key_bytes = sizeof(struct eml_aead_key),
    .expand = keep,
    .seal = openssl_seal,
    .open = openssl_open,
    .part = openssl_part,
};

const struct eml_bulk_impl *const eml_bulk_impls[] = {
#ifdef EML_HAVE_IPSEC_MB
    &eml_bulk_vaes,       &eml_bulk_avx2,
#endif
#ifdef EML_HAVE_AEGIS
    &eml_bulk_aegis_vaes, &eml_bulk_aegis_aesni,
#endif
    &openssl_impl,
};
const size_t eml_bulk_impls_n = sizeof eml_bulk_impls / sizeof eml_bulk_impls[0];

/* NULL: none. */
static const struct eml_bulk_impl *best(enum eml_cipher cipher)
{
    for (size_t i = 0; i < eml_bulk_impls_n; i++)
        if (eml_bulk_impls[i]->cipher == cipher && eml_bulk_impls[i]->usable())
            return eml_bulk_impls[i];
    return NULL;
}

const char *eml_cipher_name(enum eml_cipher c)
{
    static const char *const names[EML_CIPHER_N] = {
        [EML_CIPHER_AES_256_GCM] = "aes-256-gcm", [EML_CIPHER_AEGIS_256X4] = "aegis-256x4"};
    EML_ASSERT(c < EML_CIPHER_N);
    return names[c];
}

bool eml_cipher_of(const char *name, enum eml_cipher *out)
{
    for (int c = 0; c < EML_CIPHER_N; c++) {
        *out = (enum eml_cipher)c;
        if (strcmp(name, eml_cipher_name(*out)) == 0)
            return true;
    }
    *out = EML_CIPHER_AES_256_GCM;
    return false;
}

const char *eml_bulk_name(enum eml_cipher cipher)
{
    const struct eml_bulk_impl *impl = best(cipher);
    return impl != NULL ? impl->name : "none";
}

void eml_bulk_init_as(struct eml_bulk *b, const struct eml_aead_key *k,
                      const struct eml_bulk_impl *impl)
{
    EML_ASSERT(impl->key_bytes <= sizeof b->key);
    b->impl = impl;
    impl->expand(b->key, k);
}

enum eml_err eml_bulk_init(struct eml_bulk *b, enum eml_cipher cipher, const struct eml_aead_key *k)
{
    const struct eml_bulk_impl *impl = best(cipher);
    if (impl == NULL)
        return EML_E_SYSTEM;
    eml_bulk_init_as(b, k, impl);
    return EML_OK;
}

enum eml_err eml_bulk_seal(const struct eml_bulk *b, const struct eml_nonce *n,
                           struct eml_bytes aad, struct eml_bytes plain, struct eml_room out)
{
    EML_ASSERT(out.len >= EML_BULK_TAG && out.len - EML_BULK_TAG == plain.len);
    return b->impl->seal(b->key, n, aad, plain, out.ptr, out.ptr + plain.len);
}

enum eml_err eml_bulk_open(const struct eml_bulk *b, const struct eml_nonce *n,
                           struct eml_bytes aad, struct eml_bytes sealed, struct eml_room out)
{
    if (sealed.len < EML_BULK_TAG) {
        eml_wipe(out.ptr, out.len);
        return EML_E_AUTH;
    }
    struct eml_bytes text = {sealed.ptr, sealed.len - EML_BULK_TAG};
    EML_ASSERT(out.len == text.len);
    enum eml_err e = b->impl->open(b->key, n, aad, text, sealed.ptr + text.len, out.ptr);
    if (e != EML_OK)
        eml_wipe(out.ptr, out.len);
    return e;
}

bool eml_bulk_opens_parts(const struct eml_bulk *b)
{
    return b->impl->part != NULL;
}

enum { BLOCK = 16 };

/* The part of one block that a text which begins at its byte `skip` has, at most text.len. */
static enum eml_err open_in_block(const struct eml_bulk *b, const struct eml_nonce *n,
                                  uint32_t block, size_t skip, struct eml_bytes text, uint8_t *out)
{
    uint8_t whole[BLOCK] = {0};
    memcpy(whole + skip, text.ptr, text.len);
    enum eml_err e = b->impl->part(b->key, n, block, EML_BYTES(whole), whole);
    if (e == EML_OK)
        memcpy(out, whole + skip, text.len);
    eml_wipe(whole, sizeof whole);
    return e;
}

enum eml_err eml_bulk_open_part(const struct eml_bulk *b, const struct eml_nonce *n, uint64_t at,
                                struct eml_bytes text, struct eml_room out)
{
    EML_ASSERT(eml_bulk_opens_parts(b) && out.len == text.len);
    EML_ASSERT(at <= EML_BULK_TEXT_MAX && text.len <= EML_BULK_TEXT_MAX - at);
    uint32_t block = (uint32_t)(at / BLOCK);
    size_t skip = (size_t)(at % BLOCK), head = skip == 0 ? 0 : BLOCK - skip;
    head = head < text.len ? head : text.len;
    enum eml_err e = EML_OK;
    if (head > 0)
        e = open_in_block(b, n, block++, skip, eml_bytes(text.ptr, head), out.ptr);
    if (e == EML_OK && text.len > head)
        e = b->impl->part(b->key, n, block, eml_bytes(text.ptr + head, text.len - head),
                          out.ptr + head);
    if (e != EML_OK)
        eml_wipe(out.ptr, out.len);
    return e;
}
