#include "crypto/pem.h"

#include "base/heap.h"
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

enum eml_err eml_x509_pem_read(struct eml_bytes pem, struct eml_buf *der, struct eml_buf *spki)
{
    if (pem.len == 0 || pem.len > INT_MAX)
        return EML_E_INPUT;
    bool bad = true;
    eml_heap_watch();
    BIO *in = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *cert = in != NULL ? eml_pem_next_cert(in, &bad) : NULL;
    X509 *second = cert != NULL ? eml_pem_next_cert(in, &bad) : NULL;
    unsigned char *cert_der = NULL, *key_der = NULL;
    int cert_len = cert != NULL ? i2d_X509(cert, &cert_der) : -1;
    int key_len = cert != NULL ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &key_der) : -1;
    enum eml_err e = EML_E_INPUT;
    if (cert_len > 0 && key_len > 0 && second == NULL && !bad) {
        eml_buf_put(der, eml_bytes(cert_der, (size_t)cert_len));
        eml_buf_put(spki, eml_bytes(key_der, (size_t)key_len));
        e = der->failed || spki->failed ? EML_E_SYSTEM : EML_OK;
    }
    OPENSSL_free(cert_der);
    OPENSSL_free(key_der);
    X509_free(second);
    X509_free(cert);
    BIO_free(in);
    return eml_heap_verdict(e, NULL);
}

enum eml_err eml_x509_pem_digest(struct eml_bytes pem, struct eml_sha256 *out)
{
    *out = (struct eml_sha256){{0}};
    struct eml_buf der = {0}, spki = {0};
    enum eml_err e = eml_x509_pem_read(pem, &der, &spki);
    struct eml_bytes bytes = eml_buf_bytes(&der);
    if (e == EML_OK)
        e = eml_sha256(&bytes, 1, out);
    eml_buf_free(&der);
    eml_buf_free(&spki);
    return e;
}
