/* The payload of an attestation document: nine fields in CBOR.
 *
 * Reading proves nothing: all of it is what the sender claims until attest.h has checked the chain
 * and the signature. Maps and the bundle may be of indefinite length and keys in any order, as real
 * documents are; unknown and duplicate keys, and null where AWS allows none, are refused.
 * The encoder serves the development NSM and tests.
 */
#ifndef EML_ATTEST_DOCUMENT_H
#define EML_ATTEST_DOCUMENT_H

#include "attest/attest.h"

#define EML_DOCUMENT_CERTS_MAX 10u /* leaf included */
#define EML_DOCUMENT_CERT_BYTES_MAX 1024u
#define EML_DOCUMENT_MODULE_ID_MAX 256u

struct eml_document { /* views borrow from the payload */
    struct eml_bytes module_id;
    uint64_t timestamp_ms;
    uint32_t pcr_present;
    struct eml_pcr pcr[EML_PCR_N];
    struct eml_bytes cert[EML_DOCUMENT_CERTS_MAX]; /* DER; root first, leaf last */
    size_t n_certs;
    struct eml_bytes public_key, user_data, nonce; /* ptr NULL if absent or null */
};

/* EML_E_INPUT names the rule; *out is zero then. */
EML_MUST enum eml_err eml_document_decode(struct eml_bytes payload, struct eml_document *out,
                                          struct eml_why *why);

/* Appends the payload in the form of current documents: an indefinite map, AWS's order of keys,
 * null for absent fields. n_certs is at least 2. */
EML_MUST enum eml_err eml_document_encode(const struct eml_document *d, struct eml_buf *payload);

#endif
