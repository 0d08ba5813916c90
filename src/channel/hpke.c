#include "channel/hpke.h"

#include "base/cur.h"
#include "base/wipe.h"

#include <string.h>

#define SEQ_MAX UINT64_MAX

static const uint8_t kem_suite_id[5] = {'K', 'E', 'M', 0x00, 0x20};
static const uint8_t hpke_suite_id[10] = {'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, 0x02};

static const uint8_t no_salt[32]; /* an absent HKDF salt is as many zero bytes as the hash has */
static const struct eml_bytes none = {no_salt, 0};

static enum eml_err labeled_extract(struct eml_bytes suite_id, struct eml_bytes salt,
                                    struct eml_bytes label, struct eml_bytes ikm,
                                    struct eml_sha256 *prk)
{
    const struct eml_bytes parts[] = {EML_LIT("HPKE-v1"), suite_id, label, ikm};
    return eml_hmac_sha256(salt.len != 0 ? salt : EML_BYTES(no_salt), parts, 4, prk);
}

static enum eml_err labeled_expand(struct eml_bytes suite_id, struct eml_bytes prk,
                                   struct eml_bytes label, struct eml_bytes info,
                                   struct eml_room out)
{
    struct eml_buf labeled = {0};
    uint8_t length[2];
    enum eml_err e = EML_E_USAGE;
    if (out.len > 255 * sizeof(struct eml_sha256))
        goto out;
    eml_store_u16(length, (uint16_t)out.len);
    eml_buf_put(&labeled, EML_BYTES(length));
    eml_buf_put(&labeled, EML_LIT("HPKE-v1"));
    eml_buf_put(&labeled, suite_id);
    eml_buf_put(&labeled, label);
    eml_buf_put(&labeled, info);
    e = eml_buf_ok(&labeled);
    if (e == EML_OK)
        e = eml_hkdf_expand(prk, eml_buf_bytes(&labeled), out);
out:
    if (e != EML_OK)
        eml_wipe(out.ptr, out.len);
    eml_buf_free(&labeled);
    return e;
}

enum eml_err eml_hpke_derive_key_pair(struct eml_bytes ikm, struct eml_x25519_sk *sk,
                                      struct eml_x25519_pk *pk)
{
    struct eml_sha256 prk = {{0}};
    enum eml_err e = EML_E_USAGE;
    memset(sk, 0, sizeof *sk);
    memset(pk, 0, sizeof *pk);
    if (ikm.len < sizeof sk->b)
        return e;
    e = labeled_extract(EML_BYTES(kem_suite_id), none, EML_LIT("dkp_prk"), ikm, &prk);
    if (e == EML_OK)
        e = labeled_expand(EML_BYTES(kem_suite_id), EML_BYTES(prk.b), EML_LIT("sk"), none,
                           EML_ROOM(sk->b));
    if (e == EML_OK)
        e = eml_x25519_public(sk, pk);
    if (e != EML_OK)
        eml_wipe(sk, sizeof *sk);
    eml_wipe(&prk, sizeof prk);
    return e;
}

static enum eml_err extract_and_expand(const uint8_t dh[32], const struct eml_hpke_enc *enc,
                                       const struct eml_x25519_pk *pk_r,
                                       struct eml_hpke_shared *shared)
{
    struct eml_sha256 eae_prk = {{0}};
    uint8_t kem_context[64];
    memcpy(kem_context, enc->b, 32);
    memcpy(kem_context + 32, pk_r->b, 32);
    enum eml_err e = labeled_extract(EML_BYTES(kem_suite_id), none, EML_LIT("eae_prk"),
                                     eml_bytes(dh, 32), &eae_prk);
    if (e == EML_OK)
        e = labeled_expand(EML_BYTES(kem_suite_id), EML_BYTES(eae_prk.b), EML_LIT("shared_secret"),
                           EML_BYTES(kem_context), EML_ROOM(shared->b));
    eml_wipe(&eae_prk, sizeof eae_prk);
    return e;
}

enum eml_err eml_hpke_encap(const struct eml_x25519_sk *sk_e, const struct eml_x25519_pk *pk_r,
                            struct eml_hpke_enc *enc, struct eml_hpke_shared *shared)
{
    struct eml_x25519_pk pk_e = {{0}};
    uint8_t dh[32] = {0};
    memset(enc, 0, sizeof *enc);
    memset(shared, 0, sizeof *shared);
    enum eml_err e = eml_x25519_public(sk_e, &pk_e);
    if (e == EML_OK)
        e = eml_x25519(sk_e, pk_r, dh);
    if (e == EML_OK) {
        memcpy(enc->b, pk_e.b, sizeof enc->b);
        e = extract_and_expand(dh, enc, pk_r, shared);
    }
    if (e != EML_OK)
        memset(enc, 0, sizeof *enc);
    eml_wipe(dh, sizeof dh);
    return e;
}

enum eml_err eml_hpke_decap(const struct eml_hpke_enc *enc, const struct eml_x25519_sk *sk_r,
                            struct eml_hpke_shared *shared)
{
    struct eml_x25519_pk pk_e, pk_r = {{0}};
    uint8_t dh[32] = {0};
    memcpy(pk_e.b, enc->b, sizeof pk_e.b);
    memset(shared, 0, sizeof *shared);
    enum eml_err e = eml_x25519_public(sk_r, &pk_r);
    if (e == EML_OK)
        e = eml_x25519(sk_r, &pk_e, dh);
    if (e == EML_OK)
        e = extract_and_expand(dh, enc, &pk_r, shared);
    eml_wipe(dh, sizeof dh);
    return e;
}

enum eml_err eml_hpke_schedule_context(struct eml_bytes info,
                                       uint8_t out[EML_HPKE_SCHEDULE_CONTEXT_BYTES])
{
    struct eml_sha256 psk_id_hash, info_hash;
    memset(out, 0, EML_HPKE_SCHEDULE_CONTEXT_BYTES);
    EML_TRY(labeled_extract(EML_BYTES(hpke_suite_id), none, EML_LIT("psk_id_hash"), none,
                            &psk_id_hash));
    EML_TRY(
        labeled_extract(EML_BYTES(hpke_suite_id), none, EML_LIT("info_hash"), info, &info_hash));
    out[0] = 0x00; /* mode_base */
    memcpy(out + 1, psk_id_hash.b, 32);
    memcpy(out + 33, info_hash.b, 32);
    return EML_OK;
}

enum eml_err eml_hpke_schedule_secret(const struct eml_hpke_shared *shared,
                                      struct eml_sha256 *secret)
{
    return labeled_extract(EML_BYTES(hpke_suite_id), EML_BYTES(shared->b), EML_LIT("secret"), none,
                           secret);
}

enum eml_err eml_hpke_key_schedule(const struct eml_hpke_shared *shared, struct eml_bytes info,
                                   bool sender, struct eml_hpke *ctx)
{
    struct eml_sha256 secret = {{0}};
    uint8_t context[EML_HPKE_SCHEDULE_CONTEXT_BYTES];
    const struct eml_bytes suite = EML_BYTES(hpke_suite_id);
    memset(ctx, 0, sizeof *ctx);
    enum eml_err e = eml_hpke_schedule_context(info, context);
    if (e == EML_OK)
        e = eml_hpke_schedule_secret(shared, &secret);
    if (e == EML_OK)
        e = labeled_expand(suite, EML_BYTES(secret.b), EML_LIT("key"), EML_BYTES(context),
                           EML_ROOM(ctx->key.b));
    if (e == EML_OK)
        e = labeled_expand(suite, EML_BYTES(secret.b), EML_LIT("base_nonce"), EML_BYTES(context),
                           EML_ROOM(ctx->base_nonce.b));
    if (e == EML_OK)
        e = labeled_expand(suite, EML_BYTES(secret.b), EML_LIT("exp"), EML_BYTES(context),
                           EML_ROOM(ctx->exporter_secret));
    ctx->sender = sender;
    if (e != EML_OK)
        eml_hpke_wipe(ctx);
    eml_wipe(&secret, sizeof secret);
    return e;
}

enum eml_err eml_hpke_setup_base_s(const struct eml_x25519_pk *pk_r, struct eml_bytes info,
                                   struct eml_hpke_enc *enc, struct eml_hpke *ctx)
{
    struct eml_x25519_sk sk_e = {{0}};
    struct eml_hpke_shared shared = {{0}};
    memset(enc, 0, sizeof *enc);
    memset(ctx, 0, sizeof *ctx);
    enum eml_err e = eml_random(EML_ROOM(sk_e.b));
    if (e == EML_OK)
        e = eml_hpke_encap(&sk_e, pk_r, enc, &shared);
    if (e == EML_OK)
        e = eml_hpke_key_schedule(&shared, info, true, ctx);
    if (e != EML_OK)
        memset(enc, 0, sizeof *enc);
    eml_wipe(&sk_e, sizeof sk_e);
    eml_wipe(&shared, sizeof shared);
    return e;
}

enum eml_err eml_hpke_setup_base_r(const struct eml_hpke_enc *enc, const struct eml_x25519_sk *sk_r,
                                   struct eml_bytes info, struct eml_hpke *ctx)
{
    struct eml_hpke_shared shared = {{0}};
    memset(ctx, 0, sizeof *ctx);
    enum eml_err e = eml_hpke_decap(enc, sk_r, &shared);
    if (e == EML_OK)
        e = eml_hpke_key_schedule(&shared, info, false, ctx);
    eml_wipe(&shared, sizeof shared);
    return e;
}

struct eml_nonce eml_hpke_compute_nonce(const struct eml_nonce *base, uint64_t seq)
{
    struct eml_nonce n = *base;
    for (size_t i = 0; i < 8; i++)
        n.b[11 - i] ^= (uint8_t)(seq >> (8 * i));
    return n;
}

enum eml_err eml_hpke_seal(struct eml_hpke *ctx, struct eml_bytes aad, struct eml_bytes plain,
                           struct eml_room out)
{
    enum eml_err e = EML_E_USAGE;
    if (ctx->sender && ctx->seq == SEQ_MAX)
        e = EML_E_REFUSED;
    else if (ctx->sender) {
        struct eml_nonce nonce = eml_hpke_compute_nonce(&ctx->base_nonce, ctx->seq);
        e = eml_aead_seal(&ctx->key, &nonce, aad, plain, out);
    }
    if (e == EML_OK)
        ctx->seq++;
    else
        eml_wipe(out.ptr, out.len);
    return e;
}

enum eml_err eml_hpke_open(struct eml_hpke *ctx, struct eml_bytes aad, struct eml_bytes sealed,
                           struct eml_room out)
{
    enum eml_err e = EML_E_USAGE;
    if (!ctx->sender && ctx->seq == SEQ_MAX)
        e = EML_E_REFUSED;
    else if (!ctx->sender) {
        struct eml_nonce nonce = eml_hpke_compute_nonce(&ctx->base_nonce, ctx->seq);
        e = eml_aead_open(&ctx->key, &nonce, aad, sealed, out);
    }
    if (e == EML_OK)
        ctx->seq++;
    else
        eml_wipe(out.ptr, out.len);
    return e;
}

enum eml_err eml_hpke_export(const struct eml_hpke *ctx, struct eml_bytes exporter_context,
                             struct eml_room out)
{
    return labeled_expand(EML_BYTES(hpke_suite_id), EML_BYTES(ctx->exporter_secret), EML_LIT("sec"),
                          exporter_context, out);
}

void eml_hpke_wipe(struct eml_hpke *ctx)
{
    eml_wipe(ctx, sizeof *ctx);
}
