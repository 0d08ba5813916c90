#include "pki/mint.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <string.h>

#define ORGANIZATION "EphemeralML development"
enum { SERIAL_BYTES = 16, DAY = 86400 };

void eml_minted_free(struct eml_minted *m)
{
    eml_buf_free(&m->cert);
    eml_buf_free(&m->key);
}

static bool set_serial(X509 *x)
{
    uint8_t serial[SERIAL_BYTES];
    if (eml_random(EML_ROOM(serial)) != EML_OK)
        return false;
    serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and always of the same length */
    BIGNUM *n = BN_bin2bn(serial, sizeof serial, NULL);
    bool ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return ok;
}

static bool add_name(X509_NAME *name, const char *field, const char *value)
{
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1,
                                      -1, 0) == 1;
}

static bool set_subject(X509 *x, const char *common_name)
{
    X509_NAME *name = X509_get_subject_name(x);
    return add_name(name, "C", "US") && add_name(name, "O", ORGANIZATION) &&
           add_name(name, "CN", common_name);
}

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    if (value == NULL)
        return true;
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static bool fill(X509 *x, X509 *issuer, EVP_PKEY *key, const struct eml_cert_spec *spec)
{
    bool self_signed = x == issuer;
    return X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
           set_subject(x, spec->common_name) &&
           X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1 &&
           ASN1_TIME_set(X509_getm_notBefore(x), (time_t)spec->not_before_unix_s) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x), (time_t)spec->not_after_unix_s) != NULL &&
           X509_set_pubkey(x, key) == 1 &&
           add_extension(x, issuer, NID_basic_constraints, spec->basic_constraints) &&
           add_extension(x, issuer, NID_key_usage, spec->key_usage) &&
           add_extension(x, issuer, NID_subject_alt_name, spec->subject_alt_name) &&
           add_extension(x, issuer, NID_subject_key_identifier, spec->key_ids ? "hash" : NULL) &&
           add_extension(x, issuer, NID_authority_key_identifier,
                         spec->key_ids && !self_signed ? "keyid:always" : NULL) &&
           add_extension(x, issuer, NID_crl_distribution_points, spec->crl);
}

static EVP_PKEY *key_of(const struct eml_minted *m)
{
    const unsigned char *p = m->key.ptr;
    return d2i_AutoPrivateKey(NULL, &p, (long)m->key.len);
}

static X509 *cert_of(const struct eml_minted *m)
{
    const unsigned char *p = m->cert.ptr;
    return d2i_X509(NULL, &p, (long)m->cert.len);
}

static bool put_cert(X509 *x, struct eml_buf *out)
{
    unsigned char *der = NULL;
    int n = i2d_X509(x, &der);
    if (n > 0)
        eml_buf_put(out, eml_bytes(der, (size_t)n));
    OPENSSL_free(der);
    return n > 0 && eml_buf_ok(out) == EML_OK;
}

static bool put_key(EVP_PKEY *key, struct eml_buf *out)
{
    unsigned char *der = NULL;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int n = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : 0;
    if (n > 0)
        eml_buf_put(out, eml_bytes(der, (size_t)n));
    if (n > 0)
        OPENSSL_clear_free(der, (size_t)n);
    PKCS8_PRIV_KEY_INFO_free(info);
    return n > 0 && eml_buf_ok(out) == EML_OK;
}

enum eml_err eml_mint(const struct eml_cert_spec *spec, const struct eml_minted *issuer,
                      struct eml_minted *out)
{
    memset(out, 0, sizeof *out);
    EVP_PKEY *key = EVP_EC_gen(spec->curve != NULL ? spec->curve : "P-384");
    EVP_PKEY *signer = issuer != NULL ? key_of(issuer) : key;
    X509 *x = X509_new();
    X509 *by = issuer != NULL ? cert_of(issuer) : x;
    bool ok = key != NULL && signer != NULL && x != NULL && by != NULL && fill(x, by, key, spec) &&
              X509_sign(x, signer, EVP_sha384()) > 0 && put_cert(x, &out->cert) &&
              put_key(key, &out->key);
    if (issuer != NULL) {
        X509_free(by);
        EVP_PKEY_free(signer);
    }
    X509_free(x);
    EVP_PKEY_free(key);
    if (ok)
        return EML_OK;
    ERR_clear_error();
    eml_minted_free(out);
    return EML_E_SYSTEM;
}

enum eml_err eml_mint_root(int64_t now_unix_s, struct eml_minted *out)
{
    const struct eml_cert_spec root = {
        .common_name = "development.nitro-enclaves",
        .basic_constraints = "critical,CA:TRUE",
        .key_usage = "critical,digitalSignature,keyCertSign,cRLSign",
        .key_ids = true,
        .not_before_unix_s = now_unix_s - DAY,
        .not_after_unix_s = now_unix_s + 3652 * (int64_t)DAY,
    };
    return eml_mint(&root, NULL, out);
}

static bool copy(const struct eml_minted *from, struct eml_minted *to)
{
    eml_buf_put(&to->cert, eml_buf_bytes(&from->cert));
    eml_buf_put(&to->key, eml_buf_bytes(&from->key));
    return !to->cert.failed && !to->key.failed;
}

enum eml_err eml_mint_chain(const struct eml_minted *root, const char *instance, const char *module,
                            int64_t now_unix_s, struct eml_minted chain[EML_CHAIN_N])
{
#define REGION "dev-local-1.development.nitro-enclaves"
    char instance_cn[64], module_cn[64]; /* 64: the longest common name of X.509 */
    if (snprintf(instance_cn, sizeof instance_cn, "%.20s." REGION, instance) < 0 ||
        snprintf(module_cn, sizeof module_cn, "%.40s.dev-local-1.eml", module) < 0)
        return EML_E_SYSTEM;
    const char *ca_usage = "critical,digitalSignature,keyCertSign,cRLSign";
    const struct eml_cert_spec specs[EML_CHAIN_N] = {
        [1] = {.common_name = "0123456789abcdef." REGION,
               .basic_constraints = "critical,CA:TRUE,pathlen:2",
               .key_usage = ca_usage,
               .crl = "URI:http://crl.invalid/root.crl",
               .key_ids = true,
               .not_before_unix_s = now_unix_s - DAY,
               .not_after_unix_s = now_unix_s + 20 * DAY},
        [2] = {.common_name = "0123456789abcdef.zonal." REGION,
               .basic_constraints = "critical,CA:TRUE,pathlen:1",
               .key_usage = ca_usage,
               .crl = "URI:http://crl.invalid/region.crl",
               .key_ids = true,
               .not_before_unix_s = now_unix_s - DAY,
               .not_after_unix_s = now_unix_s + 6 * DAY},
        [3] = {.common_name = instance_cn,
               .basic_constraints = "critical,CA:TRUE,pathlen:0",
               .key_usage = "critical,keyCertSign",
               .key_ids = true,
               .not_before_unix_s = now_unix_s - 60,
               .not_after_unix_s = now_unix_s + DAY},
        [4] = {.common_name = module_cn,
               .basic_constraints = "critical,CA:FALSE",
               .key_usage = "digitalSignature,nonRepudiation",
               .not_before_unix_s = now_unix_s - 3,
               .not_after_unix_s = now_unix_s + EML_LEAF_SECONDS},
    };
#undef REGION
    memset(chain, 0, EML_CHAIN_N * sizeof *chain);
    enum eml_err e = copy(root, &chain[0]) ? EML_OK : EML_E_SYSTEM;
    for (size_t i = 1; i < EML_CHAIN_N && e == EML_OK; i++)
        e = eml_mint(&specs[i], &chain[i - 1], &chain[i]);
    for (size_t i = 0; i < EML_CHAIN_N && e != EML_OK; i++)
        eml_minted_free(&chain[i]);
    return e;
}
