/* KMS's CiphertextForRecipient: a CMS EnvelopedData (RFC 5652) in BER with one key-transport
 * recipient, RSAES-OAEP with SHA-256 and MGF1-SHA-256, and AES-256-CBC content. Exactly the layout
 * that KMS sends is read (docs/formats/kms.md); anything else is refused.
 *
 * There is no tag over the content: it is as authentic as the TLS connection it came by. A wrong
 * key and bad padding are one error, so that nobody learns which.
 */
#ifndef EML_AWS_CMS_H
#define EML_AWS_CMS_H

#include "crypto/crypto.h"

#define EML_CMS_BYTES_MAX 6144u
#define EML_CMS_ENCRYPTED_KEY_BYTES 256u /* RSA-2048 */

struct eml_cms {
    struct eml_sha256 key_id;       /* subjectKeyIdentifier: SHA-256 of the recipient's SPKI DER */
    struct eml_bytes encrypted_key; /* 256 bytes, borrowed from the input */
    uint8_t iv[16];
    struct eml_buf content; /* ciphertext, a positive multiple of 16 bytes; owned */
};

/* EML_E_INPUT with the rule; *out is zero then. */
EML_MUST enum eml_err eml_cms_parse(struct eml_bytes ber, struct eml_cms *out, struct eml_why *why);
void eml_cms_free(struct eml_cms *c);

/* The RSA step, done by whoever holds the key (the broker): encrypted_key is 256 bytes,
 * *content_key the 32 bytes inside it (secret). EML_E_AUTH for whatever is wrong with it. */
typedef enum eml_err eml_cms_unwrap(void *holder, struct eml_bytes encrypted_key,
                                    struct eml_aead_key *content_key);

/* Parses, compares key_id with the SHA-256 of our SPKI, unwraps, decrypts; appends the content
 * (secret) to *plain. EML_E_INPUT: not a message of this layout; EML_E_AUTH: for another key, or
 * does not decrypt; *plain is unchanged then. Errors of unwrap other than EML_E_AUTH come through.
 */
EML_MUST enum eml_err eml_cms_open(struct eml_bytes ber, const struct eml_sha256 *our_spki,
                                   eml_cms_unwrap *unwrap, void *holder, struct eml_buf *plain,
                                   struct eml_why *why);

/* The sender's side, for the development KMS: the same layout with constructed content. spki:
 * RSA-2048 (else EML_E_INPUT). Appends the message. */
EML_MUST enum eml_err eml_cms_seal(struct eml_bytes spki, struct eml_bytes plain,
                                   struct eml_buf *out);

#endif
