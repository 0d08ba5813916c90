#include "testsupport/pki.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <stdlib.h>
#include <string.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void set_name(X509_NAME *name, const char *cn)
{
    if (cn[0] != '\0')
        must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
                                        -1, 0) == 1);
}

static void add_extension(X509 *x, int nid, const char *value)
{
    if (value == NULL)
        return;
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    must(ext != NULL && X509_add_ext(x, ext, -1) == 1);
    X509_EXTENSION_free(ext);
}

EVP_PKEY *eml_test_certify(const struct eml_test_cert *c, const char *issuer, EVP_PKEY *issuer_key,
                           struct eml_buf *der)
{
    static long serial = 1;
    EVP_PKEY *key = EVP_EC_gen(c->curve != NULL ? c->curve : "P-384");
    X509 *x = X509_new();
    must(key != NULL && x != NULL);
    must(X509_set_version(x, c->version != 0 ? c->version - 1 : X509_VERSION_3) == 1);
    must(ASN1_INTEGER_set(X509_get_serialNumber(x), serial++) == 1);
    must(ASN1_TIME_set(X509_getm_notBefore(x), (time_t)c->not_before) != NULL);
    must(ASN1_TIME_set(X509_getm_notAfter(x), (time_t)c->not_after) != NULL);
    set_name(X509_get_subject_name(x), c->subject);
    const char *by = issuer != NULL ? issuer : c->subject;
    set_name(X509_get_issuer_name(x), c->issuer != NULL ? c->issuer : by);
    must(X509_set_pubkey(x, key) == 1);
    add_extension(x, NID_basic_constraints, c->constraints);
    add_extension(x, NID_key_usage, c->key_usage);
    add_extension(x, NID_subject_alt_name, c->dns);
    if (c->other_nid != NULL)
        add_extension(x, OBJ_sn2nid(c->other_nid), c->other_value);
    const EVP_MD *md = EVP_get_digestbyname(c->digest != NULL ? c->digest : "SHA384");
    must(X509_sign(x, issuer_key != NULL ? issuer_key : key, md) > 0);
    uint8_t *bytes = NULL;
    int len = i2d_X509(x, &bytes);
    must(len > 0);
    eml_buf_put(der, eml_bytes(bytes, (size_t)len));
    OPENSSL_free(bytes);
    X509_free(x);
    return key;
}

void eml_test_pem(struct eml_bytes der, struct eml_buf *pem)
{
    const uint8_t *p = der.ptr;
    char *text = NULL;
    X509 *x = d2i_X509(NULL, &p, (long)der.len);
    BIO *bio = BIO_new(BIO_s_mem());
    must(x != NULL && bio != NULL && PEM_write_bio_X509(bio, x) == 1);
    long len = BIO_get_mem_data(bio, &text);
    eml_buf_put(pem, eml_bytes(text, (size_t)len));
    BIO_free(bio);
    X509_free(x);
}
