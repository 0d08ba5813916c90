/* Only the GCM objects of intel-ipsec-mb are linked, by the names under which its multi-buffer
 * manager installs them. The manager itself would pull in every cipher of the library, megabytes of
 * code that the enclave would have to carry and nobody calls. The static library's version is
 * pinned by the distribution; a changed name fails the build, a changed meaning the known answers.
 */
#include "crypto/bulk_impl.h"

#include "base/wipe.h"

#include <intel-ipsec-mb.h>

#include <string.h>
#include <sys/platform/x86.h>

void aes_keyexp_256_enc_avx512(const void *key, void *expanded);
void aes_gcm_precomp_256_vaes_avx512(struct gcm_key_data *key);
void aes_gcm_enc_256_vaes_avx512(const struct gcm_key_data *key, struct gcm_context_data *ctx,
                                 uint8_t *out, const uint8_t *in, uint64_t len, const uint8_t *iv,
                                 const uint8_t *aad, uint64_t aad_len, uint8_t *tag,
                                 uint64_t tag_len);
void aes_gcm_dec_256_vaes_avx512(const struct gcm_key_data *key, struct gcm_context_data *ctx,
                                 uint8_t *out, const uint8_t *in, uint64_t len, const uint8_t *iv,
                                 const uint8_t *aad, uint64_t aad_len, uint8_t *tag,
                                 uint64_t tag_len);
void aes_keyexp_256_enc_avx2(const void *key, void *expanded);
void aes_gcm_precomp_256_avx_gen4(struct gcm_key_data *key);
void aes_gcm_enc_256_avx_gen4(const struct gcm_key_data *key, struct gcm_context_data *ctx,
                              uint8_t *out, const uint8_t *in, uint64_t len, const uint8_t *iv,
                              const uint8_t *aad, uint64_t aad_len, uint8_t *tag, uint64_t tag_len);
void aes_gcm_dec_256_avx_gen4(const struct gcm_key_data *key, struct gcm_context_data *ctx,
                              uint8_t *out, const uint8_t *in, uint64_t len, const uint8_t *iv,
                              const uint8_t *aad, uint64_t aad_len, uint8_t *tag, uint64_t tag_len);

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("aes") &&
           __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("bmi2");
}

/* VAES and VPCLMULQDQ are no names that every compiler knows; the C library has asked the CPU
 * already, which a virtual machine does not answer quickly. */
static bool has_vaes_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           CPU_FEATURE_ACTIVE(VAES) && CPU_FEATURE_ACTIVE(VPCLMULQDQ);
}

static void vaes_expand(void *key, const struct eml_aead_key *k)
{
    struct gcm_key_data *expanded = key;
    aes_keyexp_256_enc_avx512(k->b, expanded->expanded_keys);
    aes_gcm_precomp_256_vaes_avx512(expanded);
}

static void avx2_expand(void *key, const struct eml_aead_key *k)
{
    struct gcm_key_data *expanded = key;
    aes_keyexp_256_enc_avx2(k->b, expanded->expanded_keys);
    aes_gcm_precomp_256_avx_gen4(expanded);
}

static enum eml_err vaes_seal(const void *key, const struct eml_nonce *n, struct eml_bytes aad,
                              struct eml_bytes plain, uint8_t *out, uint8_t tag[16])
{
    struct gcm_context_data ctx;
    aes_gcm_enc_256_vaes_avx512(key, &ctx, out, plain.ptr, plain.len, n->b, aad.ptr, aad.len, tag,
                                EML_BULK_TAG);
    eml_wipe(&ctx, sizeof ctx);
    return EML_OK;
}

static enum eml_err vaes_open(const void *key, const struct eml_nonce *n, struct eml_bytes aad,
                              struct eml_bytes text, const uint8_t tag[16], uint8_t *out)
{
    struct gcm_context_data ctx;
    uint8_t expected[EML_BULK_TAG], given[EML_BULK_TAG];
    memcpy(given, tag, sizeof given); /* out may overlap the sealed bytes */
    aes_gcm_dec_256_vaes_avx512(key, &ctx, out, text.ptr, text.len, n->b, aad.ptr, aad.len,
                                expected, sizeof expected);
    bool ok = eml_ct_equal(EML_BYTES(expected), EML_BYTES(given));
    eml_wipe(&ctx, sizeof ctx);
    eml_wipe(expected, sizeof expected);
    return ok ? EML_OK : EML_E_AUTH;
}

static enum eml_err vaes_part(const void *key, const struct eml_nonce *n, uint32_t block,
                              struct eml_bytes text, uint8_t *out)
{
    const struct gcm_key_data *expanded = key;
    eml_ctr_vaes(expanded->expanded_keys, n, eml_gcm_counter(block), text, out);
    return EML_OK;
}

const struct eml_bulk_impl eml_bulk_vaes = {
    .name = "ipsec-mb vaes avx512",
    .cipher = EML_CIPHER_AES_256_GCM,
    .usable = has_vaes_avx512,
    .key_bytes = sizeof(struct gcm_key_data),
    .expand = vaes_expand,
    .seal = vaes_seal,
    .open = vaes_open,
    .part = vaes_part,
};

static enum eml_err avx2_seal(const void *key, const struct eml_nonce *n, struct eml_bytes aad,
                              struct eml_bytes plain, uint8_t *out, uint8_t tag[16])
{
    struct gcm_context_data ctx;
    aes_gcm_enc_256_avx_gen4(key, &ctx, out, plain.ptr, plain.len, n->b, aad.ptr, aad.len, tag,
                             EML_BULK_TAG);
    eml_wipe(&ctx, sizeof ctx);
    return EML_OK;
}

static enum eml_err avx2_open(const void *key, const struct eml_nonce *n, struct eml_bytes aad,
                              struct eml_bytes text, const uint8_t tag[16], uint8_t *out)
{
    struct gcm_context_data ctx;
    uint8_t expected[EML_BULK_TAG], given[EML_BULK_TAG];
    memcpy(given, tag, sizeof given); /* out may overlap the sealed bytes */
    aes_gcm_dec_256_avx_gen4(key, &ctx, out, text.ptr, text.len, n->b, aad.ptr, aad.len, expected,
                             sizeof expected);
    bool ok = eml_ct_equal(EML_BYTES(expected), EML_BYTES(given));
    eml_wipe(&ctx, sizeof ctx);
    eml_wipe(expected, sizeof expected);
    return ok ? EML_OK : EML_E_AUTH;
}

/* OpenSSL's is as fast as the library's here. The first two round keys are the key. */
static enum eml_err avx2_part(const void *key, const struct eml_nonce *n, uint32_t block,
                              struct eml_bytes text, uint8_t *out)
{
    const struct gcm_key_data *expanded = key;
    struct eml_aead_key k;
    memcpy(k.b, expanded->expanded_keys, sizeof k.b);
    enum eml_err e = eml_gcm_part(&k, n, block, text, out);
    eml_wipe(&k, sizeof k);
    return e;
}

const struct eml_bulk_impl eml_bulk_avx2 = {
    .name = "ipsec-mb avx2",
    .cipher = EML_CIPHER_AES_256_GCM,
    .usable = has_avx2,
    .key_bytes = sizeof(struct gcm_key_data),
    .expand = avx2_expand,
    .seal = avx2_seal,
    .open = avx2_open,
    .part = avx2_part,
};
