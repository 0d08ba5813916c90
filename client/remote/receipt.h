/* What the client does with the receipt that comes with a result: it believes the result only if
 * every check of receipt/verify.h passes for its own document, inputs, outputs and model. */
#ifndef EML_REMOTE_RECEIPT_H
#define EML_REMOTE_RECEIPT_H

#include "receipt/verify.h"
#include "remote/remote.h"
#include "session/commit.h"

struct eml_remote_receipt {
    struct eml_opening opening; /* for the owner of the data only */
    struct eml_buf file;        /* receipt/receipt.h, with the document */
};

/* Checks r's receipt and makes the file of it. The enclave's mode (development, debug) is for the
 * policy that the session passed to judge. On failure out->file is empty. */
EML_MUST enum eml_err eml_remote_receipt(const struct eml_remote *r,
                                         const struct eml_request *request,
                                         const struct eml_result *result, int64_t now_unix_s,
                                         struct eml_remote_receipt *out, struct eml_why *why);
void eml_remote_receipt_free(struct eml_remote_receipt *r);

#endif
