#include "attest/document.h"

#include "wire/cbor.h"

#include <string.h>

/* A document while it is read; the bundle and the leaf come in any order. */
struct reading {
    struct eml_document d;
    struct eml_bytes leaf;
};

static void read_module_id(struct eml_cur *c, struct reading *r)
{
    r->d.module_id = eml_cbor_text(c, EML_DOCUMENT_MODULE_ID_MAX);
    if (r->d.module_id.len == 0)
        eml_cur_fail(c);
}

static void read_digest(struct eml_cur *c, struct reading *r)
{
    (void)r;
    if (!eml_bytes_equal(eml_cbor_text(c, 6), EML_LIT("SHA384")))
        eml_cur_fail(c);
}

static void read_timestamp(struct eml_cur *c, struct reading *r)
{
    r->d.timestamp_ms = eml_cbor_uint(c);
    if (r->d.timestamp_ms == 0 || r->d.timestamp_ms > INT64_MAX)
        eml_cur_fail(c);
}

static void read_pcrs(struct eml_cur *c, struct reading *r)
{
    size_t left = eml_cbor_map_any(c, EML_PCR_N);
    while (eml_cbor_more(c, &left)) {
        uint64_t index = eml_cbor_uint(c);
        struct eml_bytes value = eml_cbor_bytes(c, sizeof r->d.pcr[0].b);
        if (!eml_cur_ok(c) || index >= EML_PCR_N || value.len != sizeof r->d.pcr[0].b ||
            (r->d.pcr_present & 1u << index) != 0) {
            eml_cur_fail(c);
            return;
        }
        memcpy(r->d.pcr[index].b, value.ptr, value.len);
        r->d.pcr_present |= 1u << index;
    }
    if (r->d.pcr_present == 0)
        eml_cur_fail(c);
}

static struct eml_bytes read_cert(struct eml_cur *c)
{
    struct eml_bytes der = eml_cbor_bytes(c, EML_DOCUMENT_CERT_BYTES_MAX);
    if (der.len == 0)
        eml_cur_fail(c);
    return der;
}

static void read_certificate(struct eml_cur *c, struct reading *r)
{
    r->leaf = read_cert(c);
}

static void read_cabundle(struct eml_cur *c, struct reading *r)
{
    size_t left = eml_cbor_array_any(c, EML_DOCUMENT_CERTS_MAX - 1);
    while (eml_cbor_more(c, &left))
        r->d.cert[r->d.n_certs++] = read_cert(c);
    if (r->d.n_certs == 0)
        eml_cur_fail(c);
}

static struct eml_bytes read_optional(struct eml_cur *c)
{
    if (eml_cbor_peek(c) != EML_CBOR_NULL)
        return eml_cbor_bytes(c, EML_ATTEST_FIELD_MAX);
    eml_cbor_null(c);
    return (struct eml_bytes){NULL, 0};
}

static void read_public_key(struct eml_cur *c, struct reading *r)
{
    r->d.public_key = read_optional(c);
    if (r->d.public_key.ptr != NULL && r->d.public_key.len == 0)
        eml_cur_fail(c);
}

static void read_user_data(struct eml_cur *c, struct reading *r)
{
    r->d.user_data = read_optional(c);
}

static void read_nonce(struct eml_cur *c, struct reading *r)
{
    r->d.nonce = read_optional(c);
}

static const struct field {
    const char *name;
    bool required;
    void (*read)(struct eml_cur *c, struct reading *r);
    const char *rule;
} fields[] = {
    {"module_id", true, read_module_id, "document: module_id is not a non-empty text"},
    {"digest", true, read_digest, "document: digest is not SHA384"},
    {"timestamp", true, read_timestamp, "document: timestamp is not a positive number"},
    {"pcrs", true, read_pcrs, "document: pcrs are not distinct indices 0..31 with 48 bytes each"},
    {"certificate", true, read_certificate, "document: certificate is not 1..1024 bytes"},
    {"cabundle", true, read_cabundle, "document: cabundle is not 1..9 strings of 1..1024 bytes"},
    {"public_key", false, read_public_key, "document: public_key is not null or 1..1024 bytes"},
    {"user_data", false, read_user_data, "document: user_data is not null or 0..1024 bytes"},
    {"nonce", false, read_nonce, "document: nonce is not null or 0..1024 bytes"},
};
enum { FIELDS_N = sizeof fields / sizeof fields[0] };

/* Index of the field, FIELDS_N if there is none of that name. */
static size_t find(struct eml_bytes name)
{
    size_t i = 0;
    while (i < FIELDS_N && !eml_bytes_equal(name, eml_bytes_of_str(fields[i].name)))
        i++;
    return i;
}

static enum eml_err read_fields(struct eml_cur *c, struct reading *r, struct eml_why *why)
{
    bool seen[FIELDS_N] = {false};
    if (eml_cbor_peek(c) != EML_CBOR_MAP)
        return eml_fail(why, EML_E_INPUT, "document: payload is not a map", -1);
    size_t left = eml_cbor_map_any(c, FIELDS_N);
    while (eml_cbor_more(c, &left)) {
        size_t f = find(eml_cbor_text(c, 16));
        if (!eml_cur_ok(c) || f == FIELDS_N)
            return eml_fail(why, EML_E_INPUT, "document: unknown field", -1);
        if (seen[f])
            return eml_fail(why, EML_E_INPUT, "document: field given twice", (long)f);
        seen[f] = true;
        fields[f].read(c, r);
        if (!eml_cur_ok(c))
            return eml_fail(why, EML_E_INPUT, fields[f].rule, (long)f);
    }
    if (!eml_cur_done(c))
        return eml_fail(why, EML_E_INPUT, "document: payload does not end with its map", -1);
    for (size_t f = 0; f < FIELDS_N; f++)
        if (fields[f].required && !seen[f])
            return eml_fail(why, EML_E_INPUT, "document: required field missing", (long)f);
    return EML_OK;
}

enum eml_err eml_document_decode(struct eml_bytes payload, struct eml_document *out,
                                 struct eml_why *why)
{
    memset(out, 0, sizeof *out);
    struct reading r;
    memset(&r, 0, sizeof r);
    struct eml_cur c = eml_cur(payload);
    EML_TRY(read_fields(&c, &r, why));
    r.d.cert[r.d.n_certs++] = r.leaf;
    *out = r.d;
    return EML_OK;
}

static void put_name(struct eml_buf *b, const char *name)
{
    eml_cbor_put_text(b, eml_bytes_of_str(name));
}

static void put_optional(struct eml_buf *b, const char *name, struct eml_bytes v)
{
    put_name(b, name);
    if (v.ptr != NULL)
        eml_cbor_put_bytes(b, v);
    else
        eml_cbor_put_null(b);
}

enum eml_err eml_document_encode(const struct eml_document *d, struct eml_buf *payload)
{
    EML_ASSERT(d->n_certs >= 2 && d->n_certs <= EML_DOCUMENT_CERTS_MAX);
    eml_buf_put_u8(payload, 0xbf); /* map of indefinite length */
    put_name(payload, "module_id");
    eml_cbor_put_text(payload, d->module_id);
    put_name(payload, "digest");
    put_name(payload, "SHA384");
    put_name(payload, "timestamp");
    eml_cbor_put_uint(payload, d->timestamp_ms);
    put_name(payload, "pcrs");
    eml_cbor_put_map(payload, (uint64_t)__builtin_popcount(d->pcr_present));
    for (uint32_t i = 0; i < EML_PCR_N; i++) {
        if ((d->pcr_present & 1u << i) == 0)
            continue;
        eml_cbor_put_uint(payload, i);
        eml_cbor_put_bytes(payload, EML_BYTES(d->pcr[i].b));
    }
    put_name(payload, "certificate");
    eml_cbor_put_bytes(payload, d->cert[d->n_certs - 1]);
    put_name(payload, "cabundle");
    eml_cbor_put_array(payload, d->n_certs - 1);
    for (size_t i = 0; i + 1 < d->n_certs; i++)
        eml_cbor_put_bytes(payload, d->cert[i]);
    put_optional(payload, "public_key", d->public_key);
    put_optional(payload, "user_data", d->user_data);
    put_optional(payload, "nonce", d->nonce);
    eml_buf_put_u8(payload, 0xff);
    return eml_buf_ok(payload);
}
