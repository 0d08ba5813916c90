/* HPKE base mode (RFC 9180) with one suite: DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001,
 * AES-256-GCM 0x0002. Each function carries the name that the RFC gives it.
 *
 * A context serves one direction: the side that ran SetupBaseS seals, the other opens. It refuses
 * to reuse a sequence number. PSK and Auth modes are not here; whoever needs the sender
 * authenticated does that above. Secrets are wiped by eml_hpke_wipe and, inside, when they have
 * been used.
 */
#ifndef EML_CHANNEL_HPKE_H
#define EML_CHANNEL_HPKE_H

#include "crypto/crypto.h"

#define EML_HPKE_TAG_BYTES 16u
#define EML_HPKE_SCHEDULE_CONTEXT_BYTES 65u

struct eml_hpke_shared {
    uint8_t b[32];
}; /* KEM shared secret (secret) */
struct eml_hpke_enc {
    uint8_t b[32];
}; /* encapsulated key, public */

struct eml_hpke { /* Context<ROLE> (secret) */
    struct eml_aead_key key;
    struct eml_nonce base_nonce;
    uint8_t exporter_secret[32];
    uint64_t seq;
    bool sender;
};

/* DeriveKeyPair; ikm (secret) of at least 32 bytes, else EML_E_USAGE. */
EML_MUST enum eml_err eml_hpke_derive_key_pair(struct eml_bytes ikm, struct eml_x25519_sk *sk,
                                               struct eml_x25519_pk *pk);

/* Encap with the ephemeral key sk_e, which the caller draws, uses once and wipes. EML_E_AUTH if
 * pk_r is a point of small order. */
EML_MUST enum eml_err eml_hpke_encap(const struct eml_x25519_sk *sk_e,
                                     const struct eml_x25519_pk *pk_r, struct eml_hpke_enc *enc,
                                     struct eml_hpke_shared *shared);
EML_MUST enum eml_err eml_hpke_decap(const struct eml_hpke_enc *enc,
                                     const struct eml_x25519_sk *sk_r,
                                     struct eml_hpke_shared *shared);

/* The two intermediate values of KeySchedule: key_schedule_context (public) and secret. */
EML_MUST enum eml_err eml_hpke_schedule_context(struct eml_bytes info,
                                                uint8_t out[EML_HPKE_SCHEDULE_CONTEXT_BYTES]);
EML_MUST enum eml_err eml_hpke_schedule_secret(const struct eml_hpke_shared *shared,
                                               struct eml_sha256 *secret);
/* KeySchedule<ROLE> in base mode. *ctx is zero on failure. */
EML_MUST enum eml_err eml_hpke_key_schedule(const struct eml_hpke_shared *shared,
                                            struct eml_bytes info, bool sender,
                                            struct eml_hpke *ctx);

/* SetupBaseS (fresh ephemeral key) and SetupBaseR. *ctx is zero on failure. */
EML_MUST enum eml_err eml_hpke_setup_base_s(const struct eml_x25519_pk *pk_r, struct eml_bytes info,
                                            struct eml_hpke_enc *enc, struct eml_hpke *ctx);
EML_MUST enum eml_err eml_hpke_setup_base_r(const struct eml_hpke_enc *enc,
                                            const struct eml_x25519_sk *sk_r, struct eml_bytes info,
                                            struct eml_hpke *ctx);

/* base_nonce XOR seq as 12 bytes, big-endian. */
struct eml_nonce eml_hpke_compute_nonce(const struct eml_nonce *base, uint64_t seq);

/* Context.Seal: out.len = plain.len + 16. EML_E_USAGE on a receiver's context; EML_E_REFUSED when
 * the sequence numbers are used up. */
EML_MUST enum eml_err eml_hpke_seal(struct eml_hpke *ctx, struct eml_bytes aad,
                                    struct eml_bytes plain, struct eml_room out);
/* Context.Open: out.len = sealed.len - 16. A failure (EML_E_AUTH) does not advance the sequence. */
EML_MUST enum eml_err eml_hpke_open(struct eml_hpke *ctx, struct eml_bytes aad,
                                    struct eml_bytes sealed, struct eml_room out);
/* Context.Export: fills out (secret), at most 8160 bytes. */
EML_MUST enum eml_err eml_hpke_export(const struct eml_hpke *ctx, struct eml_bytes exporter_context,
                                      struct eml_room out);

void eml_hpke_wipe(struct eml_hpke *ctx);

#endif
