#include "engine/exec.h"
#include "engine/formats.h"
#include "engine/typed.h"
#include "model/strings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Cast between all number types and bool. To bool: not 0. Integer to integer: the low bits. Float
 * to integer: towards 0, NaN becomes 0 and what does not fit the nearest number that does (ONNX
 * leaves this open). To a format without a C type: rounded once, by formats.h. */

/* The lists of typed.h cannot be used within themselves. */
#define FROM_INTS(X)                                                                               \
    X(I8, int8_t)                                                                                  \
    X(I16, int16_t)                                                                                \
    X(I32, int32_t)                                                                                \
    X(I64, int64_t)                                                                                \
    X(U8, uint8_t) X(U16, uint16_t) X(U32, uint32_t) X(U64, uint64_t) X(BOOL, uint8_t)
#define FROM_FLOATS(X) X(F32, float) X(F64, double)

struct cast {
    const struct eml_view *x, *y;
    bool saturate;
};

/* lo and hi are exact in double; hi + 1 is, where hi is not. */
#define FROM_FLOAT(to, lo, above)                                                                  \
    static to float_to_##to(double v)                                                              \
    {                                                                                              \
        if (v != v)                                                                                \
            return 0;                                                                              \
        if (v < (double)(lo))                                                                      \
            return (to)(lo);                                                                       \
        return v >= (above) ? (to)((uint64_t)(above)-1) : (to)v;                                   \
    }
FROM_FLOAT(int8_t, INT8_MIN, 128.0)
FROM_FLOAT(int16_t, INT16_MIN, 32768.0)
FROM_FLOAT(int32_t, INT32_MIN, 2147483648.0)
FROM_FLOAT(int64_t, INT64_MIN, 9223372036854775808.0)
FROM_FLOAT(uint8_t, 0, 256.0)
FROM_FLOAT(uint16_t, 0, 65536.0)
FROM_FLOAT(uint32_t, 0, 4294967296.0)

static uint64_t float_to_uint64_t(double v)
{
    if (!(v > 0))
        return 0;
    return v >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)v;
}

#define LOOP(expr)                                                                                 \
    for (int64_t i = begin; i < end; i++)                                                          \
    y[i] = (expr)

#define INT_CASE(name, from)                                                                       \
    case EML_DT_##name: {                                                                          \
        const from *x = c->x->data;                                                                \
        LOOP((Y)x[i]);                                                                             \
        break;                                                                                     \
    }

/* Integers: the low bits of integers, the nearest number for floats. */
#define TO_INT(name, to)                                                                           \
    static void cast_to_##name(void *arg, int64_t begin, int64_t end, unsigned thread)             \
    {                                                                                              \
        (void)thread;                                                                              \
        const struct cast *c = arg;                                                                \
        typedef to Y;                                                                              \
        Y *y = c->y->data;                                                                         \
        switch (c->x->dtype) {                                                                     \
            FROM_INTS(INT_CASE)                                                                    \
        case EML_DT_F32: {                                                                         \
            const float *x = c->x->data;                                                           \
            LOOP(float_to_##to((double)x[i]));                                                     \
            break;                                                                                 \
        }                                                                                          \
        case EML_DT_F64: {                                                                         \
            const double *x = c->x->data;                                                          \
            LOOP(float_to_##to(x[i]));                                                             \
            break;                                                                                 \
        }                                                                                          \
        default:                                                                                   \
            EML_BUG();                                                                             \
        }                                                                                          \
    }
EML_INT_TYPES(TO_INT)

#define TO_FLOAT(name, to)                                                                         \
    static void cast_to_##name(void *arg, int64_t begin, int64_t end, unsigned thread)             \
    {                                                                                              \
        (void)thread;                                                                              \
        const struct cast *c = arg;                                                                \
        typedef to Y;                                                                              \
        Y *y = c->y->data;                                                                         \
        switch (c->x->dtype) {                                                                     \
            FROM_INTS(INT_CASE) FROM_FLOATS(INT_CASE) default : EML_BUG();                         \
        }                                                                                          \
    }
EML_FLOAT_TYPES(TO_FLOAT)

#define BOOL_CASE(name, from)                                                                      \
    case EML_DT_##name: {                                                                          \
        const from *x = c->x->data;                                                                \
        LOOP(x[i] != 0);                                                                           \
        break;                                                                                     \
    }

static void cast_to_BOOL(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct cast *c = arg;
    uint8_t *y = c->y->data;
    switch (c->x->dtype) {
        FROM_INTS(BOOL_CASE) FROM_FLOATS(BOOL_CASE) default : EML_BUG();
    }
}

#define CAST_OF(name, type) [EML_DT_##name] = cast_to_##name,
static eml_pool_fn *const CASTS[] = {EML_NUMBER_TYPES(CAST_OF)[EML_DT_BOOL] = cast_to_BOOL};

/* ---- types that C does not have: by way of double, in blocks ---- */

enum { BLOCK = 256 };

static bool is_int4(enum eml_dtype t)
{
    return t == EML_DT_U4 || t == EML_DT_I4;
}

/* What the bytes of a 4-bit element are. */
static enum eml_dtype byte_type(enum eml_dtype t)
{
    return t == EML_DT_U4 ? EML_DT_U8 : t == EML_DT_I4 ? EML_DT_I8 : t;
}

static bool is_float(enum eml_dtype t)
{
    return t == EML_DT_F32 || t == EML_DT_F64 || eml_format_is(t);
}

static void cast_plainly(enum eml_dtype to, void *y, enum eml_dtype from, const void *x, int64_t n)
{
    const struct eml_view vx = {.dtype = from, .data = (void *)(uintptr_t)x};
    const struct eml_view vy = {.dtype = to, .data = y};
    struct cast c = {.x = &vx, .y = &vy};
    CASTS[to](&c, 0, n, 0);
}

/* An integer of at most 53 bits that any shorter format rounds as it would round v. */
static double sticky(uint64_t size, bool negative)
{
    uint64_t kept = size >> 53 == 0 ? size : (size >> 11 | ((size & 0x7ff) != 0)) << 11;
    return negative ? -(double)kept : (double)kept;
}

static void load(double *v, enum eml_dtype t, const uint8_t *x, int64_t n)
{
    if (!eml_format_is(t) && t != EML_DT_I64 && t != EML_DT_U64) {
        cast_plainly(EML_DT_F64, v, byte_type(t), x, n);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint16_t half;
        int64_t whole;
        if (eml_dtype_bytes(t) == 1) {
            v[i] = eml_format_decode(t, x[i]);
        } else if (eml_format_is(t)) {
            memcpy(&half, x + 2 * i, sizeof half);
            v[i] = eml_format_decode(t, half);
        } else {
            memcpy(&whole, x + 8 * i, sizeof whole);
            bool negative = t == EML_DT_I64 && whole < 0;
            v[i] = sticky(negative ? 0 - (uint64_t)whole : (uint64_t)whole, negative);
        }
    }
}

static void store(enum eml_dtype t, uint8_t *y, const double *v, int64_t n, bool saturate)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t bits = eml_format_encode(t, v[i], saturate);
        if (eml_dtype_bytes(t) == 1)
            y[i] = (uint8_t)bits;
        else
            memcpy(y + 2 * i, &bits, sizeof bits);
    }
}

/* To 4 bits: the nearest that fits for floats, the low bits for integers. */
static void to_int4(enum eml_dtype t, uint8_t *y, enum eml_dtype from, const uint8_t *x, int64_t n)
{
    double v[BLOCK];
    bool is_signed = t == EML_DT_I4;
    if (is_float(from)) {
        load(v, from, x, n);
        for (int64_t i = 0; i < n; i++) {
            int8_t whole = float_to_int8_t(v[i]), lo = is_signed ? -8 : 0, hi = is_signed ? 7 : 15;
            y[i] = (uint8_t)(whole < lo ? lo : whole > hi ? hi : whole);
        }
        return;
    }
    cast_plainly(EML_DT_U8, y, byte_type(from), x, n);
    for (int64_t i = 0; i < n; i++)
        y[i] = (uint8_t)((y[i] & 15) | (is_signed && (y[i] & 8) != 0 ? 0xf0 : 0));
}

static void cast_block(const struct cast *c, uint8_t *y, const uint8_t *x, int64_t n)
{
    enum eml_dtype from = c->x->dtype, to = c->y->dtype;
    double v[BLOCK];
    if (is_int4(to)) {
        to_int4(to, y, from, x, n);
    } else if (eml_format_is(to)) {
        load(v, from, x, n);
        store(to, y, v, n, c->saturate);
    } else if (eml_format_is(from)) {
        load(v, from, x, n);
        cast_plainly(to, y, EML_DT_F64, v, n);
    } else {
        cast_plainly(to, y, byte_type(from), x, n);
    }
}

static bool is_half(enum eml_dtype t)
{
    return t == EML_DT_F16 || t == EML_DT_BF16;
}

static void cast_blocks(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct cast *c = arg;
    size_t wx = eml_dtype_bytes(c->x->dtype), wy = eml_dtype_bytes(c->y->dtype);
    for (int64_t i = begin; i < end; i += BLOCK) {
        const uint8_t *x = (const uint8_t *)c->x->data + (size_t)i * wx;
        uint8_t *y = (uint8_t *)c->y->data + (size_t)i * wy;
        int64_t n = end - i < BLOCK ? end - i : BLOCK;
        if (is_half(c->x->dtype) && c->y->dtype == EML_DT_F32)
            eml_halves_to_f32(c->x->dtype, (float *)(void *)y, (const uint16_t *)(const void *)x,
                              (size_t)n);
        else if (c->x->dtype == EML_DT_F32 && is_half(c->y->dtype))
            eml_halves_from_f32(c->y->dtype, (uint16_t *)(void *)y, (const float *)(const void *)x,
                                (size_t)n);
        else
            cast_block(c, y, x, n);
    }
}

static bool has_c_type(enum eml_dtype t)
{
    return !eml_format_is(t) && !is_int4(t);
}

/* ---- strings ---- */

enum { NUMBER_BYTES = 32 };

static bool is_nan_or_infinite(double v)
{
    return v != v || v - v != 0;
}

/* Whether v and w are the same number of type t. */
static bool same_number(enum eml_dtype t, double v, double w)
{
    return eml_format_is(t)  ? eml_format_encode(t, v, false) == eml_format_encode(t, w, false)
           : t == EML_DT_F32 ? (float)v == (float)w
                             : v == w;
}

/* With as few digits as tell it from every other number of its type. */
static void print_float(char text[NUMBER_BYTES], enum eml_dtype t, double v)
{
    if (is_nan_or_infinite(v)) {
        (void)snprintf(text, NUMBER_BYTES, "%s", v != v ? "NaN" : v < 0 ? "-INF" : "INF");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, NUMBER_BYTES, "%.*g", digits, v);
        if (same_number(t, strtod(text, NULL), v))
            return;
    }
}

static void print_number(const struct eml_view *x, int64_t i, uint8_t *record)
{
    char text[NUMBER_BYTES];
    const uint8_t *from = (const uint8_t *)x->data + (size_t)i * eml_dtype_bytes(x->dtype);
    if (is_float(x->dtype)) {
        double v;
        load(&v, x->dtype, from, 1);
        print_float(text, x->dtype, v);
    } else {
        int64_t v;
        cast_plainly(EML_DT_I64, &v, byte_type(x->dtype), from, 1);
        (void)snprintf(text, sizeof text, x->dtype == EML_DT_U64 ? "%" PRIu64 : "%" PRId64, v);
    }
    (void)eml_string_put(record, eml_bytes_of_str(text));
}

/* False if the text is not one number. Any way of writing it that strtod knows will do. */
static bool parse_number(const struct cast *c, int64_t i, const uint8_t *record)
{
    char text[EML_STRING_BYTES], *end;
    struct eml_bytes b = eml_string_get(record);
    enum eml_dtype to = c->y->dtype;
    uint8_t *y = (uint8_t *)c->y->data + (size_t)i * eml_dtype_bytes(to);
    memcpy(text, b.ptr, b.len);
    text[b.len] = '\0';
    double v = strtod(text, &end);
    bool whole = b.len > 0 && end == text + b.len;
    struct eml_view number = {.dtype = EML_DT_F64, .data = &v};
    int64_t exact;
    if (to == EML_DT_I64 || to == EML_DT_U64) { /* beyond the 53 bits of a double */
        exact =
            to == EML_DT_I64 ? (int64_t)strtoll(text, &end, 10) : (int64_t)strtoull(text, &end, 10);
        if (end == text + b.len)
            number = (struct eml_view){.dtype = to, .data = &exact};
    }
    const struct eml_view out = {.dtype = to, .data = y};
    const struct cast one = {&number, &out, c->saturate};
    cast_block(&one, y, number.data, 1);
    return whole;
}

static enum eml_err cast_strings(const struct eml_op_ctx *c, const struct cast *cast)
{
    const struct eml_view *x = cast->x, *y = cast->y;
    for (int64_t i = 0; i < y->count; i++) {
        if (x->dtype != EML_DT_STRING)
            print_number(x, i, (uint8_t *)y->data + (size_t)i * EML_STRING_BYTES);
        else if (y->dtype == EML_DT_STRING)
            memcpy((uint8_t *)y->data + (size_t)i * EML_STRING_BYTES,
                   (const uint8_t *)x->data + (size_t)i * EML_STRING_BYTES, EML_STRING_BYTES);
        else if (!parse_number(cast, i, (const uint8_t *)x->data + (size_t)i * EML_STRING_BYTES))
            return eml_fail(c->why, EML_E_INPUT, "Cast of a text that is no number", -1);
    }
    return EML_OK;
}

enum eml_err eml_op_cast(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    struct cast arg = {x, y, eml_node_int(c->node, EML_ATTR_SATURATE, 1) != 0};
    if (x->dtype == EML_DT_STRING || y->dtype == EML_DT_STRING)
        return cast_strings(c, &arg);
    bool plain = has_c_type(x->dtype) && has_c_type(y->dtype);
    eml_pool_for(c->pool, y->count, 16384, plain ? CASTS[y->dtype] : cast_blocks, &arg);
    return EML_OK;
}
