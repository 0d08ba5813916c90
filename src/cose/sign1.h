/* COSE_Sign1 (RFC 9052 section 4.2) as Nitro documents, receipts and audit records use it.
 *
 * The algorithm is never taken from the message: the caller gives the protected header that it
 * expects, byte for byte, and another one is refused. The unprotected map must be empty and the
 * payload present. Views point into the encoded bytes, and what is signed is made of exactly those
 * bytes, never of an encoding of what was decoded. A parsed structure is not yet authentic.
 * ECDSA signatures are malleable: never use the hash of a signed structure against replay.
 */
#ifndef EML_COSE_SIGN1_H
#define EML_COSE_SIGN1_H

#include "crypto/crypto.h"

/* {1: -35}: ECDSA P-384 with SHA-384, the one header of Nitro documents. */
extern const struct eml_bytes eml_sign1_es384;

struct eml_sign1 { /* borrowed from the encoded bytes */
    struct eml_bytes protected_header, payload, signature;
};

/* CBOR tag 18 in front of the array. */
enum eml_sign1_tag { EML_SIGN1_UNTAGGED, EML_SIGN1_TAGGED, EML_SIGN1_TAG_OPTIONAL };

/* Reads exactly one structure; the signature must be signature_bytes long. EML_E_INPUT names the
 * rule; *out is zero then. */
EML_MUST enum eml_err eml_sign1_parse(struct eml_bytes encoded, enum eml_sign1_tag tag,
                                      struct eml_bytes protected_header, size_t signature_bytes,
                                      struct eml_sign1 *out, struct eml_why *why);

/* Appends Sig_structure ["Signature1", protected, h'', payload] (section 4.4): what is signed. */
EML_MUST enum eml_err eml_sign1_signed_bytes(struct eml_bytes protected_header,
                                             struct eml_bytes payload, struct eml_buf *out);

/* Appends the structure; tag: UNTAGGED or TAGGED. The inverse of eml_sign1_parse. */
EML_MUST enum eml_err eml_sign1_encode(const struct eml_sign1 *s, enum eml_sign1_tag tag,
                                       struct eml_buf *out);

/* The signature of s under an ES384 key (SubjectPublicKeyInfo DER). EML_E_AUTH if it does not
 * match, or if s does not claim ES384. */
EML_MUST enum eml_err eml_sign1_verify_es384(const struct eml_sign1 *s, struct eml_bytes spki);

/* The same for Ed25519 (algorithm EdDSA): protected_header is the one that the caller expects, and
 * must say so. EML_E_AUTH for another header or a signature that is not the key's. */
EML_MUST enum eml_err eml_sign1_verify_ed25519(const struct eml_sign1 *s,
                                               struct eml_bytes protected_header,
                                               const struct eml_ed25519_pk *key);
/* Appends a structure over payload. */
EML_MUST enum eml_err eml_sign1_sign_ed25519(struct eml_bytes protected_header,
                                             const struct eml_ed25519_sk *key,
                                             struct eml_bytes payload, enum eml_sign1_tag tag,
                                             struct eml_buf *out);

/* Appends an untagged ES384 structure over payload. key: PKCS#8 or SEC1 DER (secret). */
EML_MUST enum eml_err eml_sign1_sign_es384(struct eml_bytes key, struct eml_bytes payload,
                                           struct eml_buf *out);

#endif
