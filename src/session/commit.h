/* Salted commitments to the inputs and outputs of an inference: AIR's request_hash and
 * response_hash.
 *
 * A plain digest of a small input can be guessed by trying. So what is hashed begins with 32 random
 * bytes: SHA-256 of canonical CBOR [label, salt, [tensor...]], the tensors as in a request
 * (docs/formats/request.md), in ascending bytewise order of their names. The salt of the request is
 * the client's, that of the response the enclave's; each travels inside the channel only. With the
 * salt and the tensors anybody can compute the digest; without the salt nothing can be tested.
 */
#ifndef EML_SESSION_COMMIT_H
#define EML_SESSION_COMMIT_H

#include "crypto/crypto.h"
#include "session/request.h"

enum eml_commit { EML_COMMIT_REQUEST, EML_COMMIT_RESPONSE };

/* n tensors with distinct names, at most EML_GRAPH_IO_MAX, in any order. EML_E_USAGE for more. */
EML_MUST enum eml_err eml_commit(enum eml_commit which, const uint8_t salt[EML_SALT_BYTES],
                                 const struct eml_named_tensor *t, size_t n,
                                 struct eml_sha256 *out);

/* The salts of one inference (docs/formats/receipt.md), as a file: canonical CBOR. Whoever has them
 * can check a guess of the inputs or outputs: they are for the owner of the data, and for those
 * whom he shows both to. */
struct eml_opening {
    uint8_t request_salt[EML_SALT_BYTES], response_salt[EML_SALT_BYTES];
};
EML_MUST enum eml_err eml_opening_encode(const struct eml_opening *o, struct eml_buf *out);
/* EML_E_INPUT: no opening; *out is zero then. */
EML_MUST enum eml_err eml_opening_decode(struct eml_bytes file, struct eml_opening *out,
                                         struct eml_why *why);

#endif
