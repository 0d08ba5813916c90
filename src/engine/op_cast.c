#include "engine/exec.h"
#include "engine/formats.h"
#include "engine/typed.h"

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

enum eml_err eml_op_cast(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    struct cast arg = {x, y, eml_node_int(c->node, EML_ATTR_SATURATE, 1) != 0};
    bool plain = has_c_type(x->dtype) && has_c_type(y->dtype);
    eml_pool_for(c->pool, y->count, 16384, plain ? CASTS[y->dtype] : cast_blocks, &arg);
    return EML_OK;
}
