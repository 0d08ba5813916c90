/* The ciphertext blobs of the development KMS: opaque to everyone else.
 *
 *   0  01 02            as AWS's current blobs begin
 *   2  36 bytes         id of the key
 *  38  12 bytes         random nonce
 *  50  ciphertext, tag  AES-256-GCM; AAD = the 50 bytes before || the encryption context as JSON
 * with sorted names
 */
#ifndef EML_KMSD_CIPHER_H
#define EML_KMSD_CIPHER_H

#include "kmsd/keystore.h"

/* Appends the blob. */
EML_MUST enum eml_err eml_kmsd_cipher_seal(const struct eml_kmsd_key *key, const json_t *context,
                                           struct eml_bytes plain, struct eml_buf *blob);
/* The id in a blob, borrowed. EML_E_INPUT: not a blob of ours. */
EML_MUST enum eml_err eml_kmsd_cipher_key_id(struct eml_bytes blob, struct eml_bytes *id);
/* Appends the plaintext (secret). EML_E_AUTH: another key, context, or altered. */
EML_MUST enum eml_err eml_kmsd_cipher_open(const struct eml_kmsd_key *key, const json_t *context,
                                           struct eml_bytes blob, struct eml_buf *plain);

#endif
