#include "eif/eif.h"

#include "base/cur.h"
#include "cose/sign1.h"
#include "wire/cbor.h"

enum { CERTIFICATE_MAX = 16384, COSE_MAX = 1024, ES384_SIGNATURE = 96 };

enum eml_err eml_eif_pcr(const struct eml_bytes *parts, size_t n, struct eml_sha384 *out)
{
    static const uint8_t zero[48];
    struct eml_sha384 content;
    *out = (struct eml_sha384){{0}};
    EML_TRY(eml_sha384(parts, n, &content));
    const struct eml_bytes extend[2] = {EML_BYTES(zero), EML_BYTES(content.b)};
    return eml_sha384(extend, 2, out);
}

enum eml_err eml_eif_pcr8(struct eml_bytes certificate_pem, struct eml_sha384 *out)
{
    struct eml_buf der = {0}, spki = {0};
    *out = (struct eml_sha384){{0}};
    enum eml_err e = eml_x509_pem_read(certificate_pem, &der, &spki);
    struct eml_bytes bytes = eml_buf_bytes(&der);
    if (e == EML_OK)
        e = eml_eif_pcr(&bytes, 1, out);
    eml_buf_free(&der);
    eml_buf_free(&spki);
    return e;
}

enum eml_err eml_eif_measure(const struct eml_eif *e, struct eml_eif_pcrs *out)
{
    struct eml_bytes all[EML_EIF_SECTIONS_MAX], boot[EML_EIF_SECTIONS_MAX],
        application[EML_EIF_SECTIONS_MAX];
    size_t n_all = 0, n_boot = 0, n_application = 0, ramdisks = 0;
    *out = (struct eml_eif_pcrs){0};
    for (size_t i = 0; i < e->n; i++) {
        enum eml_eif_type type = e->section[i].type;
        if (type == EML_EIF_SIGNATURE || type == EML_EIF_METADATA)
            continue;
        all[n_all++] = e->section[i].data;
        if (type == EML_EIF_RAMDISK && ramdisks++ > 0)
            application[n_application++] = e->section[i].data;
        else
            boot[n_boot++] = e->section[i].data;
    }
    EML_TRY(eml_eif_pcr(all, n_all, &out->pcr[0]));
    EML_TRY(eml_eif_pcr(boot, n_boot, &out->pcr[1]));
    return eml_eif_pcr(application, n_application, &out->pcr[2]);
}

/* serde writes byte vectors as arrays of small integers. */
static void put_integers(struct eml_buf *b, struct eml_bytes v)
{
    eml_cbor_put_array(b, v.len);
    for (size_t i = 0; i < v.len; i++)
        eml_cbor_put_uint(b, v.ptr[i]);
}

static void get_integers(struct eml_cur *c, size_t max, struct eml_buf *out)
{
    size_t n = eml_cbor_array(c, max);
    for (size_t i = 0; i < n && eml_cur_ok(c); i++) {
        uint64_t v = eml_cbor_uint(c);
        if (v > 255)
            eml_cur_fail(c);
        eml_buf_put_u8(out, (uint8_t)v);
    }
}

/* {"register_index": 0, "register_value": [48 integers]} */
static void put_payload(struct eml_buf *b, const struct eml_eif_pcrs *pcrs)
{
    eml_cbor_put_map(b, 2);
    eml_cbor_put_text(b, EML_LIT("register_index"));
    eml_cbor_put_uint(b, 0);
    eml_cbor_put_text(b, EML_LIT("register_value"));
    put_integers(b, EML_BYTES(pcrs->pcr[0].b));
}

/* [{"signing_certificate": [...], "signature": [...]}]: one signature, keys in this order. */
static enum eml_err get_section(struct eml_bytes data, struct eml_buf *certificate,
                                struct eml_buf *cose, struct eml_why *why)
{
    struct eml_cur c = eml_cur(data);
    size_t n = eml_cbor_array(&c, 1), pairs = eml_cbor_map(&c, 2);
    for (size_t i = 0; i < pairs && eml_cur_ok(&c); i++) {
        struct eml_bytes key = eml_cbor_text(&c, 32);
        if (eml_bytes_equal(key, EML_LIT("signing_certificate")) && certificate->len == 0)
            get_integers(&c, CERTIFICATE_MAX, certificate);
        else if (eml_bytes_equal(key, EML_LIT("signature")) && cose->len == 0)
            get_integers(&c, COSE_MAX, cose);
        else
            eml_cur_fail(&c);
    }
    if (!eml_cur_done(&c) || n != 1 || pairs != 2 || certificate->len == 0 || cose->len == 0)
        return eml_fail(why, EML_E_INPUT, "eif: signature section is malformed", -1);
    return certificate->failed || cose->failed ? EML_E_SYSTEM : EML_OK;
}

static enum eml_err check(struct eml_bytes certificate, struct eml_bytes cose,
                          const struct eml_eif_pcrs *pcrs, struct eml_why *why)
{
    struct eml_buf der = {0}, spki = {0}, payload = {0};
    struct eml_sign1 s;
    put_payload(&payload, pcrs);
    enum eml_err e = eml_buf_ok(&payload);
    if (e == EML_OK && (e = eml_x509_pem_read(certificate, &der, &spki)) != EML_OK)
        e = eml_fail(why, e, "eif: signing certificate is not one certificate in PEM", -1);
    if (e == EML_OK && eml_sign1_parse(cose, EML_SIGN1_UNTAGGED, eml_sign1_es384, ES384_SIGNATURE,
                                       &s, NULL) != EML_OK)
        e = eml_fail(why, EML_E_UNSUPPORTED, "eif: signature is not ES384", -1);
    if (e == EML_OK && !eml_bytes_equal(s.payload, eml_buf_bytes(&payload)))
        e = eml_fail(why, EML_E_AUTH, "eif: signature is over another PCR0", -1);
    if (e == EML_OK && (e = eml_sign1_verify_es384(&s, eml_buf_bytes(&spki))) != EML_OK)
        e = eml_fail(why, e, "eif: signature does not verify", -1);
    eml_buf_free(&der);
    eml_buf_free(&spki);
    eml_buf_free(&payload);
    return e;
}

enum eml_err eml_eif_check_signature(const struct eml_eif *e, const struct eml_eif_pcrs *pcrs,
                                     struct eml_sha384 *pcr8, struct eml_why *why)
{
    struct eml_bytes data = eml_eif_find(e, EML_EIF_SIGNATURE);
    struct eml_buf certificate = {0}, cose = {0};
    *pcr8 = (struct eml_sha384){{0}};
    if (data.len == 0)
        return eml_fail(why, EML_E_USAGE, "eif: the image is not signed", -1);
    enum eml_err err = get_section(data, &certificate, &cose, why);
    if (err == EML_OK)
        err = check(eml_buf_bytes(&certificate), eml_buf_bytes(&cose), pcrs, why);
    if (err == EML_OK)
        err = eml_eif_pcr8(eml_buf_bytes(&certificate), pcr8);
    eml_buf_free(&certificate);
    eml_buf_free(&cose);
    return err;
}

enum eml_err eml_eif_sign(const struct eml_eif_pcrs *pcrs, struct eml_bytes key,
                          struct eml_bytes certificate_pem, struct eml_buf *out)
{
    struct eml_buf payload = {0}, cose = {0};
    put_payload(&payload, pcrs);
    enum eml_err e = eml_buf_ok(&payload);
    if (e == EML_OK)
        e = eml_sign1_sign_es384(key, eml_buf_bytes(&payload), &cose);
    if (e == EML_OK) {
        eml_cbor_put_array(out, 1);
        eml_cbor_put_map(out, 2);
        eml_cbor_put_text(out, EML_LIT("signing_certificate"));
        put_integers(out, certificate_pem);
        eml_cbor_put_text(out, EML_LIT("signature"));
        put_integers(out, eml_buf_bytes(&cose));
        e = eml_buf_ok(out);
    }
    eml_buf_free(&payload);
    eml_buf_free(&cose);
    return e;
}
