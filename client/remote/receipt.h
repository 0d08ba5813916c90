/* What the client does with the receipt of a result: it believes the result only if every check of
 * receipt/verify.h passes for its own document, inputs, outputs and model. The receipt comes before
 * the result; what takes time, its signatures, is verified while the result is on its way. */
#ifndef EML_REMOTE_RECEIPT_H
#define EML_REMOTE_RECEIPT_H

#include "receipt/verify.h"
#include "remote/remote.h"
#include "session/commit.h"

struct eml_remote_receipt {
    struct eml_opening opening; /* for the owner of the data only */
    struct eml_buf file;        /* receipt/receipt.h, with the document */
};

/* Everything but that it is of this result. The enclave's mode (development, debug) is for the
 * policy that the session passed to judge. *receipt and *verified borrow from `encoded` and r. */
EML_MUST enum eml_err
eml_remote_receipt_verify(const struct eml_remote *r, const struct eml_request *request,
                          struct eml_bytes encoded, int64_t now_unix_s, struct eml_receipt *receipt,
                          struct eml_receipt_verified *verified, struct eml_why *why);
/* What the receipt is to say of it. */
EML_MUST enum eml_err eml_remote_response_hash(const struct eml_result *result,
                                               struct eml_sha256 *out);
/* The rest, for a receipt that was verified; makes the file of it. On failure out->file is empty.
 */
EML_MUST enum eml_err eml_remote_receipt_accept(
    const struct eml_receipt *receipt, const struct eml_receipt_verified *verified,
    const struct eml_request *request, const struct eml_result *result,
    const struct eml_sha256 *response_hash, struct eml_remote_receipt *out, struct eml_why *why);
void eml_remote_receipt_free(struct eml_remote_receipt *r);

#endif
