/* Our own statement on one inference, for what AIR has no claim for: COSE_Sign1 with Ed25519 by the
 * same key, over the digest of the AIR receipt (docs/formats/receipt.md).
 *
 * It repeats nothing that AIR says: model, digests of topology key, request and response stand
 * there, and this statement is bound to them by the digest. Deterministic CBOR: decode(x) ok
 * implies encode(decode(x)) == x. Nothing is secret.
 */
#ifndef EML_RECEIPT_STATEMENT_H
#define EML_RECEIPT_STATEMENT_H

#include "cose/sign1.h"

#define EML_STATEMENT_BYTES_MAX 1024u
#define EML_STATEMENT_KERNELS_MAX 64u
#define EML_STATEMENT_ORIGIN_MAX 255u

/* In this order. */
enum eml_statement_number {
    EML_STATEMENT_WEIGHTS_US,  /* getting the sealed weights */
    EML_STATEMENT_ASSEMBLE_US, /* decode, plan, open */
    EML_STATEMENT_RUN_US,
    EML_STATEMENT_WIPE_US,
    /* First plaintext weight byte to the end of the wipe; in session mode so far: the weights
     * stay, and the log's destruction record at the end of the session tells the whole. */
    EML_STATEMENT_EXPOSURE_US,
    EML_STATEMENT_WIPED_BYTES,
    EML_STATEMENT_NUMBERS
};

struct eml_statement {        /* views are borrowed */
    struct eml_sha256 air;    /* of the AIR receipt's bytes */
    uint8_t object_id[32];    /* of the sealed weights */
    uint64_t mode;            /* 0 request, 1 session (session/request.h) */
    struct eml_bytes kernels; /* ASCII, e.g. "avx512" */
    uint64_t number[EML_STATEMENT_NUMBERS];
    struct eml_bytes origin; /* of the audit log */
    uint64_t index;          /* of this inference's record in it */
};

/* Appends the signed statement. EML_E_USAGE: a field that decoding would refuse. */
EML_MUST enum eml_err eml_statement_sign(const struct eml_statement *s,
                                         const struct eml_ed25519_sk *key, struct eml_buf *out);
/* What a statement claims, whoever signed it: not authentic. For showing it. */
EML_MUST enum eml_err eml_statement_peek(struct eml_bytes statement, struct eml_statement *out,
                                         struct eml_why *why);
/* EML_E_INPUT: no statement; EML_E_AUTH: not signed by this key. *out is zero then. */
EML_MUST enum eml_err eml_statement_verify(struct eml_bytes statement,
                                           const struct eml_ed25519_pk *key,
                                           struct eml_statement *out, struct eml_why *why);

#endif
