#include "engine/exec.h"
#include "engine/typed.h"

/* Cast between all number types and bool. To bool: not 0. Integer to integer: the low bits. Float
 * to integer: towards 0, NaN becomes 0 and what does not fit the nearest number that does (ONNX
 * leaves this open). */

/* The lists of typed.h cannot be used within themselves. */
#define FROM_INTS(X)                                                                               \
    X(I8, int8_t)                                                                                  \
    X(I16, int16_t)                                                                                \
    X(I32, int32_t) X(I64, int64_t) X(U8, uint8_t) X(U16, uint16_t) X(U32, uint32_t)               \
        X(U64, uint64_t) X(BOOL, uint8_t)
#define FROM_FLOATS(X) X(F32, float) X(F64, double)

struct cast {
    const struct eml_view *x, *y;
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

enum eml_err eml_op_cast(const struct eml_op_ctx *c)
{
    struct cast arg = {&c->in[0], &c->out[0]};
    eml_pool_for(c->pool, c->out[0].count, 16384, CASTS[c->out[0].dtype], &arg);
    return EML_OK;
}
