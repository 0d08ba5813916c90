#include "remote/receipt.h"

#include "base/wipe.h"

#include <string.h>

enum eml_err eml_remote_receipt_verify(const struct eml_remote *r,
                                       const struct eml_request *request, struct eml_bytes encoded,
                                       int64_t now_unix_s, struct eml_receipt *receipt,
                                       struct eml_receipt_verified *verified, struct eml_why *why)
{
    struct eml_sha256 request_hash;
    *verified = (struct eml_receipt_verified){.index = 0};
    if (request->salt.len != EML_SALT_BYTES)
        return EML_E_USAGE;
    EML_TRY(eml_receipt_decode(encoded, receipt, why));
    if (receipt->document.ptr != NULL)
        return eml_fail(why, EML_E_INPUT, "receipt: comes with a document of its own", -1);
    receipt->document = r->document;
    EML_TRY(eml_commit(EML_COMMIT_REQUEST, request->salt.ptr, request->inputs, request->n_inputs,
                       &request_hash));
    const struct eml_receipt_expect expect = {
        .policy = r->policy,
        .document = r->document,
        .attested = &r->attested,
        .now_unix_s = now_unix_s,
        .evaluation_allowed = true,
        .request_hash = &request_hash,
        .model_hash = &r->model_hash,
    };
    return eml_receipt_verify(receipt, &expect, verified, NULL, why);
}

enum eml_err eml_remote_response_hash(const struct eml_result *result, struct eml_sha256 *out)
{
    if (result->salt.len != EML_SALT_BYTES)
        return EML_E_USAGE;
    return eml_commit(EML_COMMIT_RESPONSE, result->salt.ptr, result->outputs, result->n_outputs,
                      out);
}

enum eml_err eml_remote_receipt_accept(const struct eml_receipt *receipt,
                                       const struct eml_receipt_verified *verified,
                                       const struct eml_request *request,
                                       const struct eml_result *result,
                                       const struct eml_sha256 *response_hash,
                                       struct eml_remote_receipt *out, struct eml_why *why)
{
    const struct eml_air_policy response = {.response_hash = response_hash};
    *out = (struct eml_remote_receipt){.file = {0}};
    if (request->salt.len != EML_SALT_BYTES || result->salt.len != EML_SALT_BYTES)
        return EML_E_USAGE;
    EML_TRY(eml_air_accept(&verified->air, &response, why));
    enum eml_err e = eml_receipt_encode(receipt, &out->file);
    memcpy(out->opening.request_salt, request->salt.ptr, EML_SALT_BYTES);
    memcpy(out->opening.response_salt, result->salt.ptr, EML_SALT_BYTES);
    if (e != EML_OK)
        eml_remote_receipt_free(out);
    return e;
}

void eml_remote_receipt_free(struct eml_remote_receipt *r)
{
    eml_buf_free(&r->file);
    eml_wipe(r, sizeof *r);
}
