/* Reading PEM with OpenSSL; internal to this folder. */
#ifndef EML_CRYPTO_PEM_H
#define EML_CRYPTO_PEM_H

#include "base/bytes.h"

#include <openssl/x509.h>

/* A PEM that asks for a password gets none, and nobody is prompted. */
int eml_pem_no_password(char *buf, int size, int rwflag, void *arg);

/* The next certificate, for X509_free; NULL at the end of the file, and if what comes is malformed
 * or encrypted: *bad tells. */
X509 *eml_pem_next_cert(BIO *in, bool *bad);

#endif
