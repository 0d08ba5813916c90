/* The Recipient of a request: an attestation document, verified with the product's own verifier,
 * that gives the condition keys and the RSA key to which the answer is sealed.
 */
#ifndef EML_KMSD_RECIPIENT_H
#define EML_KMSD_RECIPIENT_H

#include "attest/attest.h"
#include "wire/json.h"

#define EML_KMSD_ROOTS_MAX 4u

struct eml_kmsd_trust {
    struct eml_sha256 root[EML_KMSD_ROOTS_MAX];
    size_t n_roots;
};

struct eml_kmsd_recipient {
    struct eml_buf document; /* empty: no Recipient was sent */
    struct eml_bytes spki;   /* in document: RSA-2048 SubjectPublicKeyInfo */
};

/* request: the body. Without a Recipient *out is empty and the result EML_OK; with one that holds,
 * its condition keys are added to `attributes`. EML_E_INPUT, EML_E_AUTH with the rule: *out is
 * empty. */
EML_MUST enum eml_err eml_kmsd_recipient_read(const json_t *request,
                                              const struct eml_kmsd_trust *trust,
                                              int64_t now_unix_s, json_t *attributes,
                                              struct eml_kmsd_recipient *out, struct eml_why *why);
void eml_kmsd_recipient_free(struct eml_kmsd_recipient *r);

#endif
