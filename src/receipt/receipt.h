/* A receipt (docs/formats/receipt.md), as a file and as it travels.
 *
 * It holds the AIR receipt, our statement on it, the audit log's record of the inference with
 * the proof of its place, and the attestation document that binds the key which signed them all.
 * Over the channel it travels without the document, which the client has. Deterministic CBOR:
 * decode(x) ok implies encode(decode(x)) == x. Decoding looks into none of the parts.
 */
#ifndef EML_RECEIPT_RECEIPT_H
#define EML_RECEIPT_RECEIPT_H

#include "audit/proof.h"
#include "audit/record.h"
#include "receipt/air.h"
#include "receipt/statement.h"

#define EML_RECEIPT_BYTES_MAX                                                                      \
    (EML_AIR_BYTES_MAX + EML_STATEMENT_BYTES_MAX + EML_RECORD_BYTES_MAX + EML_PROOF_BYTES_MAX +    \
     EML_ATTEST_DOCUMENT_MAX + 64u)

struct eml_receipt { /* views are borrowed */
    struct eml_bytes air, statement;
    struct eml_bytes record, proof; /* the log's entry, and a C2SP tlog-proof of it */
    struct eml_bytes document;      /* ptr NULL: absent */
};

/* Appends. */
EML_MUST enum eml_err eml_receipt_encode(const struct eml_receipt *r, struct eml_buf *out);
/* EML_E_INPUT with the rule; *out is zero then. */
EML_MUST enum eml_err eml_receipt_decode(struct eml_bytes file, struct eml_receipt *out,
                                         struct eml_why *why);

#endif
