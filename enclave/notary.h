/* The broker's notary: signs, with the enclave's key, what a worker reports of an inference.
 *
 * What the broker knows itself it does not ask for: document and measurements (of the session's own
 * document), time, order, security mode. The rest (digests of topology key, request and response;
 * numbers) is the worker's word: the worker is the same measured program, but it has read the
 * client's bytes, so its word is about its own session and no other.
 * Digests and numbers only; the keys that these are of never come here.
 */
#ifndef EML_ENCLAVE_NOTARY_H
#define EML_ENCLAVE_NOTARY_H

#include "enclave/ipc.h"
#include "receipt/receipt.h"

/* What is known of a session, and the receipt that is being made for it. Zeroed: nothing, and then
 * nothing is signed. */
struct eml_notary {
    bool attested;
    struct eml_sha256 document;
    uint8_t nonce[EML_IPC_NONCE];
    uint32_t pcr_present; /* of those that a receipt can hold and that are set */
    struct eml_pcr pcr[EML_AIR_PCR_N];
    bool debug;                     /* PCR 0, 1 or 2 is all zero */
    uint64_t sequence;              /* receipts signed in this session */
    struct eml_buf air;             /* signed; empty: no receipt is being made */
    struct eml_statement statement; /* on it, when its place in the log is known */
};

/* Reads the document that the NSM has just given for this session. EML_E_SYSTEM: not one that a
 * receipt could name. What was known before is forgotten either way, but for how many receipts were
 * signed. */
EML_MUST enum eml_err eml_notary_attest(struct eml_notary *n, struct eml_bytes document);

/* Makes the AIR receipt of a report with EML_OK, for whose digest the log is then to have a record.
 * now_s: Unix time. production: the NSM is a real one. EML_E_INPUT: the worker reported what no
 * receipt may say, or before it asked for a document. *digest is zero on failure. */
EML_MUST enum eml_err eml_notary_receive(struct eml_notary *n, const struct eml_ed25519_sk *key,
                                         const struct eml_ipc_request *report, uint64_t now_s,
                                         bool production, struct eml_sha256 *digest);
/* Says what the statement on it will be: its record will stand at `index` of the log `origin`,
 * which is borrowed until the receipt is finished. */
EML_MUST enum eml_err eml_notary_state(struct eml_notary *n, const struct eml_ipc_request *report,
                                       struct eml_bytes origin, uint64_t index);
/* Signs the statement and appends the receipt with the record as it stands in the log and its
 * proof; the next may begin. */
EML_MUST enum eml_err eml_notary_finish(struct eml_notary *n, const struct eml_ed25519_sk *key,
                                        struct eml_bytes record, struct eml_bytes proof,
                                        struct eml_buf *out);
/* Drops what is being made. */
void eml_notary_drop(struct eml_notary *n);

#endif
