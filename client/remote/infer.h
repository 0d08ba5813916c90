/* One inference over an open session: request out, result in. */
#ifndef EML_REMOTE_INFER_H
#define EML_REMOTE_INFER_H

#include "remote/receipt.h"
#include "session/request.h"

/* Where the data key for --kms-key comes from. Credentials: AWS_ACCESS_KEY_ID,
 * AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment. */
struct eml_kms_config {
    const char *key_arn;  /* NULL: no KMS */
    const char *endpoint; /* "https://HOST[:PORT]"; NULL: the region's, out of the ARN */
    const char *ca_file;  /* PEM; NULL: the system's roots */
};

/* Sends the request (under a KMS data key if configured; its salt is drawn here) and receives its
 * result into `arena`. *out borrows from the arena. The result is given only with its receipt,
 * which has been checked; the caller frees that. A receipt is verified in a thread that has ended
 * when this returns; *request is read there, too. */
EML_MUST enum eml_err eml_remote_infer(struct eml_remote *r, const struct eml_request *request,
                                       const struct eml_kms_config *kms, int64_t now_unix_s,
                                       struct eml_arena *arena, struct eml_result *out,
                                       struct eml_remote_receipt *receipt, struct eml_why *why);

/* Gets a data key for this session from KMS: the key, and the blob for the enclave. */
EML_MUST enum eml_err eml_remote_data_key(const struct eml_kms_config *kms,
                                          struct eml_bytes session_id, int64_t now_unix_s,
                                          int64_t deadline_ms,
                                          struct eml_aead_key *key /* secret */,
                                          struct eml_buf *ciphertext_blob, struct eml_why *why);

#endif
