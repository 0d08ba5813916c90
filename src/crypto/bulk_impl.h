/* The implementations behind eml_bulk: one per cipher and instruction set, all of one cipher with
 * the same results. Internal
 * to this folder and its test, which compares them. */
#ifndef EML_CRYPTO_BULK_IMPL_H
#define EML_CRYPTO_BULK_IMPL_H

#include "crypto/crypto.h"

enum { EML_BULK_TAG = 16 };
/* More than is ever sealed at once, and no counter of GCM wraps around. */
#define EML_BULK_TEXT_MAX ((uint64_t)1 << 35)

struct eml_bulk_impl {
    const char *name;
    enum eml_cipher cipher;
    bool (*usable)(void); /* by this CPU and operating system */
    size_t key_bytes;     /* of the expanded key */
    void (*expand)(void *key, const struct eml_aead_key *k);
    /* Lengths were checked. open computes the tag; out is plaintext not yet authentic. */
    enum eml_err (*seal)(const void *key, const struct eml_nonce *n, struct eml_bytes aad,
                         struct eml_bytes plain, uint8_t *out, uint8_t tag[16]);
    enum eml_err (*open)(const void *key, const struct eml_nonce *n, struct eml_bytes aad,
                         struct eml_bytes text, const uint8_t tag[16], uint8_t *out);
    /* The text from its 16-byte block `block` on, without the tag; NULL: the cipher has no such
     * thing. */
    enum eml_err (*part)(const void *key, const struct eml_nonce *n, uint32_t block,
                         struct eml_bytes text, uint8_t *out);
};

/* Fastest first of each cipher; the last one (OpenSSL, AES-256-GCM) is always usable. */
extern const struct eml_bulk_impl *const eml_bulk_impls[];
extern const size_t eml_bulk_impls_n;

/* eml_bulk_init with a chosen implementation. */
void eml_bulk_init_as(struct eml_bulk *b, const struct eml_aead_key *k,
                      const struct eml_bulk_impl *impl);

/* The counter block of AES-256-GCM for block `block` of a text (SP 800-38D section 7.1: the first
 * one goes to the tag), and the keystream from there on. round_keys: FIPS 197's, in order. */
static inline uint32_t eml_gcm_counter(uint32_t block)
{
    return block + 2;
}
EML_MUST enum eml_err eml_gcm_part(const struct eml_aead_key *k, const struct eml_nonce *n,
                                   uint32_t block, struct eml_bytes text, uint8_t *out);
void eml_ctr_vaes(const uint8_t *round_keys, const struct eml_nonce *n, uint32_t counter,
                  struct eml_bytes text, uint8_t *out);

extern const struct eml_bulk_impl eml_bulk_vaes;
extern const struct eml_bulk_impl eml_bulk_avx2;
extern const struct eml_bulk_impl eml_bulk_aegis_vaes;
extern const struct eml_bulk_impl eml_bulk_aegis_aesni;

#endif
