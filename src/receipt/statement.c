#include "receipt/statement.h"

#include "wire/cbor.h"

#include <string.h>

enum { SIGNATURE = 64 };
enum { K_AIR = 1, K_OBJECT, K_MODE, K_KERNELS, K_NUMBERS, K_ORIGIN, K_INDEX, K_END };

/* {1: -8, 3: "application/vnd.eml.statement+cbor"} */
#define HEADER                                                                                     \
    EML_LIT("\xa2\x01\x27\x03\x78\x22"                                                             \
            "application/vnd.eml.statement+cbor")

static void encode(const struct eml_statement *s, struct eml_buf *b)
{
    eml_cbor_put_map(b, K_END - 1);
    eml_cbor_put_uint(b, K_AIR);
    eml_cbor_put_bytes(b, EML_BYTES(s->air.b));
    eml_cbor_put_uint(b, K_OBJECT);
    eml_cbor_put_bytes(b, EML_BYTES(s->object_id));
    eml_cbor_put_uint(b, K_MODE);
    eml_cbor_put_uint(b, s->mode);
    eml_cbor_put_uint(b, K_KERNELS);
    eml_cbor_put_text(b, s->kernels);
    eml_cbor_put_uint(b, K_NUMBERS);
    eml_cbor_put_array(b, EML_STATEMENT_NUMBERS);
    for (size_t i = 0; i < EML_STATEMENT_NUMBERS; i++)
        eml_cbor_put_uint(b, s->number[i]);
    eml_cbor_put_uint(b, K_ORIGIN);
    eml_cbor_put_text(b, s->origin);
    eml_cbor_put_uint(b, K_INDEX);
    eml_cbor_put_uint(b, s->index);
}

static void key(struct eml_cur *c, uint64_t expected)
{
    if (eml_cbor_uint(c) != expected)
        eml_cur_fail(c);
}

static void get_exactly(struct eml_cur *c, uint8_t out[32])
{
    struct eml_bytes b = eml_cbor_bytes(c, 32);
    if (b.len == 32)
        memcpy(out, b.ptr, 32);
    else
        eml_cur_fail(c);
}

static bool decode(struct eml_bytes payload, struct eml_statement *s)
{
    struct eml_cur c = eml_cur(payload);
    if (eml_cbor_map(&c, K_END - 1) != K_END - 1)
        return false;
    key(&c, K_AIR);
    get_exactly(&c, s->air.b);
    key(&c, K_OBJECT);
    get_exactly(&c, s->object_id);
    key(&c, K_MODE);
    s->mode = eml_cbor_uint(&c);
    key(&c, K_KERNELS);
    s->kernels = eml_cbor_text(&c, EML_STATEMENT_KERNELS_MAX);
    key(&c, K_NUMBERS);
    if (eml_cbor_array(&c, EML_STATEMENT_NUMBERS) != EML_STATEMENT_NUMBERS)
        eml_cur_fail(&c);
    for (size_t i = 0; i < EML_STATEMENT_NUMBERS; i++)
        s->number[i] = eml_cbor_uint(&c);
    key(&c, K_ORIGIN);
    s->origin = eml_cbor_text(&c, EML_STATEMENT_ORIGIN_MAX);
    key(&c, K_INDEX);
    s->index = eml_cbor_uint(&c);
    return eml_cur_done(&c) && s->mode <= 1 && s->kernels.len != 0 && s->origin.len != 0;
}

enum eml_err eml_statement_sign(const struct eml_statement *s, const struct eml_ed25519_sk *sk,
                                struct eml_buf *out)
{
    struct eml_buf payload = {0};
    struct eml_statement again = {0};
    encode(s, &payload);
    enum eml_err e = eml_buf_ok(&payload);
    if (e == EML_OK && !decode(eml_buf_bytes(&payload), &again))
        e = EML_E_USAGE;
    if (e == EML_OK)
        e = eml_sign1_sign_ed25519(HEADER, sk, eml_buf_bytes(&payload), EML_SIGN1_TAGGED, out);
    eml_buf_free(&payload);
    return e;
}

static enum eml_err parse(struct eml_bytes statement, struct eml_sign1 *s,
                          struct eml_statement *out, struct eml_why *why)
{
    struct eml_statement r = {0};
    *out = r;
    if (statement.len > EML_STATEMENT_BYTES_MAX)
        return eml_fail(why, EML_E_INPUT, "statement: larger than 1 KiB", -1);
    EML_TRY(eml_sign1_parse(statement, EML_SIGN1_TAGGED, HEADER, SIGNATURE, s, why));
    if (!decode(s->payload, &r))
        return eml_fail(why, EML_E_INPUT, "statement: not the map that it must be", -1);
    *out = r;
    return EML_OK;
}

enum eml_err eml_statement_peek(struct eml_bytes statement, struct eml_statement *out,
                                struct eml_why *why)
{
    struct eml_sign1 s;
    return parse(statement, &s, out, why);
}

enum eml_err eml_statement_verify(struct eml_bytes statement, const struct eml_ed25519_pk *pk,
                                  struct eml_statement *out, struct eml_why *why)
{
    struct eml_sign1 s;
    EML_TRY(parse(statement, &s, out, why));
    enum eml_err e = eml_sign1_verify_ed25519(&s, HEADER, pk);
    if (e == EML_OK)
        return EML_OK;
    *out = (struct eml_statement){0};
    return eml_fail(why, e, "statement: signature is not this key's", -1);
}
