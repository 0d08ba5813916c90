/* A request under a KMS data key (docs/formats/request.md, "kms").
 *
 * sealed = nonce (12, random) || AES-256-GCM(data key, nonce, aad, encoded plain request), with
 * aad = "eml/1 kms request" || session id. The data key comes from KMS GenerateDataKey with the
 * encryption context {EML_KMS_CONTEXT_KEY: lower-case hex of the session id}; the enclave gives KMS
 * the same context for its own session, so that neither half can be moved to another session.
 */
#ifndef EML_SESSION_SEAL_H
#define EML_SESSION_SEAL_H

#include "crypto/crypto.h"

#define EML_KMS_CONTEXT_KEY "eml:session"
#define EML_SESSION_ID_BYTES 32u
#define EML_REQUEST_SEAL_BYTES 28u /* nonce and tag */

/* Appends plain.len + EML_REQUEST_SEAL_BYTES bytes. session_id: EML_SESSION_ID_BYTES long. */
EML_MUST enum eml_err eml_request_seal(const struct eml_aead_key *data_key,
                                       struct eml_bytes session_id, struct eml_bytes plain,
                                       struct eml_buf *out);
/* out.len must be sealed.len - EML_REQUEST_SEAL_BYTES. EML_E_INPUT: too short; EML_E_AUTH: out is
 * wiped. */
EML_MUST enum eml_err eml_request_unseal(const struct eml_aead_key *data_key,
                                         struct eml_bytes session_id, struct eml_bytes sealed,
                                         struct eml_room out);

#endif
