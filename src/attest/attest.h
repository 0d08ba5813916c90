/* Verification of Nitro attestation documents against a policy.
 *
 * Order: size and structure, COSE header (ES384 pinned), chain to a pinned root at the given time,
 * signature, and only then the fields: debug (all-zero PCR0-2) refused, PCR0, 1 and 2 all required
 * and matching one of the policy's measurements, age, nonce, user_data, public key. Each refusal
 * names its rule. Nothing of a document that failed leaves this folder.
 *
 * Sources: AWS Nitro Enclaves, "attestation process" (aws-nitro-enclaves-nsm-api); RFC 9052; and
 * real documents, which differ from the text: no tag, null for absent fields, maps of indefinite
 * length.
 */
#ifndef EML_ATTEST_ATTEST_H
#define EML_ATTEST_ATTEST_H

#include "crypto/crypto.h"

#define EML_ATTEST_DOCUMENT_MAX 16384u
#define EML_ATTEST_FIELD_MAX 1024u /* public_key, user_data, nonce */
#define EML_PCR_N 32u

struct eml_pcr {
    uint8_t b[48];
};

/* A verified document. Borrowed views point into the document's bytes. */
struct eml_attested {
    struct eml_bytes module_id;
    uint64_t timestamp_ms;
    uint32_t pcr_present; /* bit i: PCR i is in the document */
    struct eml_pcr pcr[EML_PCR_N];
    struct eml_bytes public_key, user_data, nonce; /* ptr NULL if absent or null */
    struct eml_sha256 root;                        /* digest of the chain's root */
    uint64_t image_version; /* of the policy's measurement that matched; 0 without a policy */
};

/* Trust without measurements: structure, ES384, chain, signature. For kmsd and tools. at_unix_s is
 * the time for certificate validity. A document in debug mode passes: who acts upon measurements
 * must refuse PCRs that are all zero. On failure *out is zero: EML_E_INPUT (malformed) or
 * EML_E_AUTH. */
EML_MUST enum eml_err eml_attest_verify_document(struct eml_bytes document,
                                                 const struct eml_sha256 *roots, size_t n_roots,
                                                 int64_t at_unix_s, struct eml_attested *out,
                                                 struct eml_why *why);

/* --- policy: what the client demands (JSON file, docs/formats/policy.md) --- */
#define EML_POLICY_MEASUREMENTS_MAX 16u
#define EML_POLICY_ROOTS_MAX 8u
struct eml_measurement {
    uint32_t required; /* bit i: pcr[i] is demanded; bits 0, 1, 2 always set */
    struct eml_pcr pcr[EML_PCR_N];
    uint64_t version; /* of the image: a later one has more; 0: not ordered. At most INT64_MAX */
};
struct eml_policy {
    uint64_t serial; /* of the policy: a later one has more; 0: not ordered. At most INT64_MAX */
    struct eml_sha256 roots[EML_POLICY_ROOTS_MAX]; /* SHA-256 of root certificates' DER */
    size_t n_roots;
    struct eml_measurement accept[EML_POLICY_MEASUREMENTS_MAX]; /* any one of them */
    size_t n_accept;
    uint64_t max_age_ms;  /* of the document's timestamp; default 300000 */
    uint64_t max_skew_ms; /* how far in the future it may be; default 300000 */
};
/* Strict: unknown and duplicate members, wrong types, bad hex, measurements without PCR 0, 1 or 2
 * or with an all-zero value are EML_E_INPUT with the rule; *out is zero then. */
EML_MUST enum eml_err eml_policy_parse(struct eml_bytes json, struct eml_policy *out,
                                       struct eml_why *why);
/* Appends the file that eml_policy_parse reads as p. */
EML_MUST enum eml_err eml_policy_print(const struct eml_policy *p, struct eml_buf *json);
/* SHA-256 of that: the same for two files that mean the same. On failure out is zero. */
EML_MUST enum eml_err eml_policy_digest(const struct eml_policy *p, struct eml_sha256 *out);

/* What this session must find in the document. .ptr NULL = not checked. */
struct eml_attest_expect {
    struct eml_bytes nonce, user_data_prefix;
    size_t user_data_bytes;  /* exact length demanded of user_data, with its prefix */
    size_t public_key_bytes; /* exact length demanded of public_key; 0 = not checked */
    int64_t now_unix_ms;
    struct eml_x509_known *known; /* chains of documents before; may be NULL */
};

/* One line per rule that was checked, in order, for `--json` and the demo's report. */
#define EML_ATTEST_CHECKS_MAX 16u
struct eml_attest_report {
    struct {
        const char *rule;
        bool passed;
    } check[EML_ATTEST_CHECKS_MAX];
    size_t n;
};

/* verify_document at now, then policy and expectations. Certificates are checked at now; if the
 * document is ahead of now by no more than max_skew_ms (this clock is slow), at its own time.
 * EML_E_REFUSED: debug mode, measurements, age; EML_E_AUTH: nonce, user_data, public_key, and all
 * that verify_document finds. On failure *out is zero and the report ends with the check that
 * failed. report may be NULL. The report lists only what was demanded. */
EML_MUST enum eml_err eml_attest_verify(struct eml_bytes document, const struct eml_policy *policy,
                                        const struct eml_attest_expect *expect,
                                        struct eml_attested *out, struct eml_attest_report *report,
                                        struct eml_why *why);

/* The AWS Nitro root G1 (SHA-256 of its DER), the default root of `eml policy`. */
extern const struct eml_sha256 eml_attest_aws_root;

#endif
