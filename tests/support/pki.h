/* Certificates made to measure, by OpenSSL: valid chains, and ones with a single fault. */
#ifndef EML_TESTSUPPORT_PKI_H
#define EML_TESTSUPPORT_PKI_H

#include "testsupport/support.h"

#include <openssl/evp.h>

struct eml_test_cert {
    const char *curve;             /* "P-384" if NULL */
    const char *digest;            /* of the signature; "SHA384" if NULL */
    const char *subject;           /* common name; "" for an empty name */
    const char *issuer;            /* if NULL: the issuer's subject */
    const char *constraints;       /* basicConstraints in OpenSSL's syntax; NULL: none */
    const char *key_usage;         /* likewise */
    const char *other_nid;         /* name of one more extension, NULL: none */
    const char *other_value;       /* in OpenSSL's syntax */
    const char *dns;               /* subjectAltName, NULL: none */
    int64_t not_before, not_after; /* Unix seconds */
    long version;                  /* 0: version 3; else the number itself */
};

/* Signed by issuer_key under the issuer's name; both NULL: self-signed. Appends the DER to *der.
 * The caller frees the key. Aborts on any failure. */
EVP_PKEY *eml_test_certify(const struct eml_test_cert *c, const char *issuer, EVP_PKEY *issuer_key,
                           struct eml_buf *der);

/* Appends PEM of a certificate. */
void eml_test_pem(struct eml_bytes der, struct eml_buf *pem);

#endif
