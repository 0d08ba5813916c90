#include "crypto/pem.h"

#include "crypto/crypto.h"

#include <limits.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

int eml_pem_no_password(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

X509 *eml_pem_next_cert(BIO *in, bool *bad)
{
    ERR_clear_error();
    X509 *cert = PEM_read_bio_X509(in, NULL, eml_pem_no_password, NULL);
    /* The end of the file is the one acceptable reason to stop. */
    *bad = cert == NULL && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
    ERR_clear_error();
    return cert;
}

enum eml_err eml_x509_pem_digest(struct eml_bytes pem, struct eml_sha256 *out)
{
    *out = (struct eml_sha256){{0}};
    if (pem.len == 0 || pem.len > INT_MAX)
        return EML_E_INPUT;
    bool bad = true;
    BIO *in = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *cert = in != NULL ? eml_pem_next_cert(in, &bad) : NULL;
    X509 *second = cert != NULL ? eml_pem_next_cert(in, &bad) : NULL;
    unsigned char *der = NULL;
    int der_len = cert != NULL ? i2d_X509(cert, &der) : -1;
    enum eml_err e = EML_E_INPUT;
    if (der_len > 0 && second == NULL && !bad)
        e = eml_sha256(&(struct eml_bytes){der, (size_t)der_len}, 1, out);
    OPENSSL_free(der);
    X509_free(second);
    X509_free(cert);
    BIO_free(in);
    return e;
}
