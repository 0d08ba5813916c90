/* The Attested Inference Receipt, AIR v1: COSE_Sign1 with Ed25519 over CWT claims.
 *
 * What it says: the holder of this key answered this request with this response, with this model,
 * in an enclave of these measurements, whose attestation document has this digest. Whether the key
 * is that document's and the document good is for receipt/verify.h. Verification has the four
 * levels of the specification; a refusal's rule begins with the level and the code of the reference
 * implementation, where it has one ("L2 SIG_FAILED: ..."). Encoding is deterministic CBOR, and
 * decoding refuses all else: claims(payload) ok implies that encoding them gives the same payload.
 * (The specification demands it of encoders and leaves it open for verifiers.) No claim is secret.
 * Source: draft-tsyrulnikov-rats-attested-inference-receipt-02 and its CDDL (CC BY 4.0, Cyntrisec).
 */
#ifndef EML_RECEIPT_AIR_H
#define EML_RECEIPT_AIR_H

#include "attest/attest.h"
#include "cose/sign1.h"

#define EML_AIR_BYTES_MAX 65536u
#define EML_AIR_ISSUER_MAX 256u
#define EML_AIR_MODEL_ID_MAX 256u
#define EML_AIR_VERSION_MAX 128u
#define EML_AIR_POLICY_VERSION_MAX 256u
#define EML_AIR_NONCE_MIN 8u
#define EML_AIR_NONCE_MAX 64u
#define EML_AIR_PCR_N 9u
#define EML_AIR_PCRS 0x11fu /* bit i: PCR i can be in a receipt */

enum eml_air_platform { EML_AIR_NITRO = 1, EML_AIR_TDX };
enum eml_air_mode { EML_AIR_PRODUCTION = 1, EML_AIR_EVALUATION };
enum eml_air_scheme { EML_AIR_NO_SCHEME, EML_AIR_SINGLE, EML_AIR_CONCAT, EML_AIR_MANIFEST };

struct eml_air { /* views are borrowed */
    struct eml_bytes issuer;
    uint64_t issued_s;      /* Unix time */
    uint8_t cti[16];        /* unique to the receipt */
    struct eml_bytes nonce; /* ptr NULL: absent */
    struct eml_bytes model_id, model_version;
    struct eml_sha256 model_hash, request_hash, response_hash, document_hash;
    enum eml_air_platform platform;
    uint32_t pcr_present; /* bit i: pcr[i]; 0, 1 and 2 always */
    struct eml_pcr pcr[EML_AIR_PCR_N];
    struct eml_bytes policy_version;
    uint64_t sequence, execution_ms, memory_mb;
    enum eml_air_mode mode;
    enum eml_air_scheme scheme;
};

const char *eml_air_platform_name(enum eml_air_platform p); /* "nitro-pcr" */
const char *eml_air_mode_name(enum eml_air_mode m);         /* "production" */
const char *eml_air_scheme_name(enum eml_air_scheme s);     /* "sha256-single"; "" for none */

/* Appends the signed receipt. EML_E_USAGE: claims that level 3 would refuse; nothing is signed. */
EML_MUST enum eml_err eml_air_sign(const struct eml_air *a, const struct eml_ed25519_sk *key,
                                   struct eml_buf *out, struct eml_why *why);

/* Level 1: envelope and profile. EML_E_INPUT; *out is zero then. Nothing is authentic yet. */
EML_MUST enum eml_err eml_air_parse(struct eml_bytes receipt, struct eml_sign1 *out,
                                    struct eml_why *why);
/* Level 2: the signature. EML_E_AUTH. */
EML_MUST enum eml_err eml_air_authenticate(const struct eml_sign1 *s,
                                           const struct eml_ed25519_pk *key, struct eml_why *why);
/* Level 3: the claims. EML_E_INPUT; *out is zero then. */
EML_MUST enum eml_err eml_air_claims(struct eml_bytes payload, struct eml_air *out,
                                     struct eml_why *why);

/* What the verifier expects; a zeroed field is not checked. */
struct eml_air_policy {
    uint64_t now_s;      /* 0: neither age nor future is checked */
    uint64_t max_age_s;  /* 0: any age */
    uint64_t max_skew_s; /* how far ahead of now a receipt may be */
    const struct eml_sha256 *model_hash, *request_hash, *response_hash, *document_hash;
    struct eml_bytes model_id, nonce;
    enum eml_air_platform platform;
    enum eml_air_mode mode;
    bool nonce_required;
    bool production_only; /* EVALUATION_MODE_REJECTED, whatever `mode` says */
    /* True if this cti was seen before. */
    bool (*seen)(void *ctx, const uint8_t cti[16]);
    void *ctx;
};
/* Level 4. EML_E_REFUSED. */
EML_MUST enum eml_err eml_air_accept(const struct eml_air *a, const struct eml_air_policy *p,
                                     struct eml_why *why);

/* All four, in order. *out is zero on failure. */
EML_MUST enum eml_err eml_air_verify(struct eml_bytes receipt, const struct eml_ed25519_pk *key,
                                     const struct eml_air_policy *p, struct eml_air *out,
                                     struct eml_why *why);

#endif
