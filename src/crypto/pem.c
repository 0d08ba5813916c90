#include "crypto/crypto.h"

#include <limits.h>

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

enum eml_err eml_x509_pem_digest(struct eml_bytes pem, struct eml_sha256 *out)
{
    *out = (struct eml_sha256){{0}};
    if (pem.len == 0 || pem.len > INT_MAX)
        return EML_E_INPUT;
    BIO *in = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *cert = in != NULL ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    X509 *second = cert != NULL ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    unsigned char *der = NULL;
    int der_len = cert != NULL ? i2d_X509(cert, &der) : -1;
    enum eml_err e = EML_E_INPUT;
    if (der_len > 0 && second == NULL)
        e = eml_sha256(&(struct eml_bytes){der, (size_t)der_len}, 1, out);
    OPENSSL_free(der);
    X509_free(second);
    X509_free(cert);
    BIO_free(in);
    return e;
}
