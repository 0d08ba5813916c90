#include "cose/sign1.h"

#include "wire/cbor.h"

enum { TAG_SIGN1 = 18, ES384_BYTES = 96, ED25519_BYTES = 64, PROTECTED_MAX = 64 };

const struct eml_bytes eml_sign1_es384 = {(const uint8_t[]){0xa1, 0x01, 0x38, 0x22}, 4};

static bool tag_is_right(struct eml_cur *c, enum eml_sign1_tag tag)
{
    bool tagged = eml_cbor_peek(c) == EML_CBOR_TAG;
    if (tagged && eml_cbor_tag(c) != TAG_SIGN1)
        return false;
    return tag == EML_SIGN1_TAG_OPTIONAL || tagged == (tag == EML_SIGN1_TAGGED);
}

enum eml_err eml_sign1_parse(struct eml_bytes encoded, enum eml_sign1_tag tag,
                             struct eml_bytes protected_header, size_t signature_bytes,
                             struct eml_sign1 *out, struct eml_why *why)
{
    *out = (struct eml_sign1){{NULL, 0}, {NULL, 0}, {NULL, 0}};
    struct eml_cur c = eml_cur(encoded);
    if (!tag_is_right(&c, tag))
        return eml_fail(why, EML_E_INPUT, "COSE: tag", -1);
    if (eml_cbor_array(&c, 4) != 4)
        return eml_fail(why, EML_E_INPUT, "COSE: not an array of four", -1);
    struct eml_sign1 s = {.protected_header = eml_cbor_bytes(&c, PROTECTED_MAX)};
    if (!eml_cur_ok(&c) || !eml_bytes_equal(s.protected_header, protected_header))
        return eml_fail(why, EML_E_INPUT, "COSE: protected header is not the expected one", -1);
    if (eml_cbor_peek(&c) != EML_CBOR_MAP || eml_cbor_map(&c, 0) != 0 || !eml_cur_ok(&c))
        return eml_fail(why, EML_E_INPUT, "COSE: unprotected header is not an empty map", -1);
    s.payload = eml_cbor_bytes(&c, SIZE_MAX);
    if (!eml_cur_ok(&c))
        return eml_fail(why, EML_E_INPUT, "COSE: payload is not a byte string", -1);
    s.signature = eml_cbor_bytes(&c, signature_bytes);
    if (!eml_cur_ok(&c) || s.signature.len != signature_bytes)
        return eml_fail(why, EML_E_INPUT, "COSE: signature has the wrong form or length", -1);
    if (!eml_cur_done(&c))
        return eml_fail(why, EML_E_INPUT, "COSE: bytes after the structure", -1);
    *out = s;
    return EML_OK;
}

enum eml_err eml_sign1_signed_bytes(struct eml_bytes protected_header, struct eml_bytes payload,
                                    struct eml_buf *out)
{
    eml_cbor_put_array(out, 4);
    eml_cbor_put_text(out, EML_LIT("Signature1"));
    eml_cbor_put_bytes(out, protected_header);
    eml_cbor_put_bytes(out, EML_LIT(""));
    eml_cbor_put_bytes(out, payload);
    return eml_buf_ok(out);
}

enum eml_err eml_sign1_encode(const struct eml_sign1 *s, enum eml_sign1_tag tag,
                              struct eml_buf *out)
{
    if (tag == EML_SIGN1_TAGGED)
        eml_cbor_put_tag(out, TAG_SIGN1);
    eml_cbor_put_array(out, 4);
    eml_cbor_put_bytes(out, s->protected_header);
    eml_cbor_put_map(out, 0);
    eml_cbor_put_bytes(out, s->payload);
    eml_cbor_put_bytes(out, s->signature);
    return eml_buf_ok(out);
}

enum eml_err eml_sign1_verify_es384(const struct eml_sign1 *s, struct eml_bytes spki)
{
    if (!eml_bytes_equal(s->protected_header, eml_sign1_es384) || s->signature.len != ES384_BYTES)
        return EML_E_AUTH;
    struct eml_buf message = {0};
    enum eml_err e = eml_sign1_signed_bytes(s->protected_header, s->payload, &message);
    if (e == EML_OK)
        e = eml_es384_verify(spki, eml_buf_bytes(&message), s->signature.ptr);
    eml_buf_free(&message);
    return e;
}

enum eml_err eml_sign1_sign_es384(struct eml_bytes key, struct eml_bytes payload,
                                  struct eml_buf *out)
{
    uint8_t signature[ES384_BYTES];
    struct eml_buf message = {0};
    enum eml_err e = eml_sign1_signed_bytes(eml_sign1_es384, payload, &message);
    if (e == EML_OK)
        e = eml_es384_sign(key, eml_buf_bytes(&message), signature);
    eml_buf_free(&message);
    EML_TRY(e);
    struct eml_sign1 s = {eml_sign1_es384, payload, EML_BYTES(signature)};
    return eml_sign1_encode(&s, EML_SIGN1_UNTAGGED, out);
}

enum eml_err eml_sign1_verify_ed25519(const struct eml_sign1 *s, struct eml_bytes protected_header,
                                      const struct eml_ed25519_pk *key)
{
    if (!eml_bytes_equal(s->protected_header, protected_header) ||
        s->signature.len != ED25519_BYTES)
        return EML_E_AUTH;
    struct eml_buf message = {0};
    enum eml_err e = eml_sign1_signed_bytes(s->protected_header, s->payload, &message);
    if (e == EML_OK)
        e = eml_ed25519_verify(key, eml_buf_bytes(&message), s->signature.ptr);
    eml_buf_free(&message);
    return e;
}

enum eml_err eml_sign1_sign_ed25519(struct eml_bytes protected_header,
                                    const struct eml_ed25519_sk *key, struct eml_bytes payload,
                                    enum eml_sign1_tag tag, struct eml_buf *out)
{
    uint8_t signature[ED25519_BYTES];
    struct eml_buf message = {0};
    enum eml_err e = eml_sign1_signed_bytes(protected_header, payload, &message);
    if (e == EML_OK)
        e = eml_ed25519_sign(key, eml_buf_bytes(&message), signature);
    eml_buf_free(&message);
    EML_TRY(e);
    const struct eml_sign1 s = {protected_header, payload, EML_BYTES(signature)};
    return eml_sign1_encode(&s, tag, out);
}
