/* Elementwise operators of two and more operands, with broadcasting. float32 runs through the
 * kernel table, other types through plain loops. Integers wrap around. */
#include "engine/kernels/kernels.h"
#include "engine/typed.h"
#include "engine/walk.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

struct binary {
    const struct eml_kernels *kernels;
    enum eml_op op;
    bool fmod;
    void *y;
    const void *a, *b;
    int64_t sa, sb; /* innermost strides: 0 or 1 */
    atomic_bool division_by_zero;
};

typedef void row_fn(struct binary *p, const int64_t *at, int64_t n);

#define LOOP(expr)                                                                                 \
    for (int64_t i = 0; i < n; i++) {                                                              \
        const A x = a[i * p->sa], z = b[i * p->sb];                                                \
        y[i] = (expr);                                                                             \
    }                                                                                              \
    break

#define OPERANDS(type)                                                                             \
    typedef type A;                                                                                \
    A *y = (A *)p->y + at[0];                                                                      \
    const A *a = (const A *)p->a + at[1], *b = (const A *)p->b + at[2]

/* Quotient and remainder that neither trap nor overflow; *zero is set on division by 0. */
#define SIGNED_DIVISION(name, type)                                                                \
    static type div_##name(type x, type z, bool *zero)                                             \
    {                                                                                              \
        *zero = *zero || z == 0;                                                                   \
        if (z == 0 || z == -1)                                                                     \
            return z == 0 ? 0 : (type)(0 - (uint64_t)x);                                           \
        return (type)(x / z);                                                                      \
    }                                                                                              \
    static type mod_##name(type x, type z, bool fmod_sign, bool *zero)                             \
    {                                                                                              \
        *zero = *zero || z == 0;                                                                   \
        if (z == 0 || z == -1)                                                                     \
            return 0;                                                                              \
        type r = (type)(x % z);                                                                    \
        return !fmod_sign && r != 0 && (r < 0) != (z < 0) ? (type)(r + z) : r;                     \
    }
#define UNSIGNED_DIVISION(name, type)                                                              \
    static type div_##name(type x, type z, bool *zero)                                             \
    {                                                                                              \
        *zero = *zero || z == 0;                                                                   \
        return (type)(z == 0 ? 0 : x / z);                                                         \
    }                                                                                              \
    static type mod_##name(type x, type z, bool fmod_sign, bool *zero)                             \
    {                                                                                              \
        (void)fmod_sign;                                                                           \
        *zero = *zero || z == 0;                                                                   \
        return (type)(z == 0 ? 0 : x % z);                                                         \
    }
EML_SIGNED_TYPES(SIGNED_DIVISION)
EML_UNSIGNED_TYPES(UNSIGNED_DIVISION)

/* x to the power z; negative powers are 0 but for 1 and -1. */
static int64_t int_power(int64_t x, int64_t z)
{
    if (z < 0)
        return x == 1 ? 1 : x == -1 ? (z % 2 == 0 ? 1 : -1) : 0;
    uint64_t r = 1, base = (uint64_t)x;
    for (; z > 0; z >>= 1, base *= base)
        r *= (z & 1) != 0 ? base : 1;
    return (int64_t)r;
}

#define INT_ROW(name, type)                                                                        \
    static void row_##name(struct binary *p, const int64_t *at, int64_t n)                         \
    {                                                                                              \
        OPERANDS(type);                                                                            \
        bool zero = false;                                                                         \
        switch (p->op) {                                                                           \
        case EML_OP_ADD:                                                                           \
            LOOP((A)((uint64_t)x + (uint64_t)z));                                                  \
        case EML_OP_SUB:                                                                           \
            LOOP((A)((uint64_t)x - (uint64_t)z));                                                  \
        case EML_OP_MUL:                                                                           \
            LOOP((A)((uint64_t)x * (uint64_t)z));                                                  \
        case EML_OP_DIV:                                                                           \
            LOOP(div_##name(x, z, &zero));                                                         \
        case EML_OP_MOD:                                                                           \
            LOOP(mod_##name(x, z, p->fmod, &zero));                                                \
        case EML_OP_MIN:                                                                           \
            LOOP(x < z ? x : z);                                                                   \
        case EML_OP_MAX:                                                                           \
            LOOP(x > z ? x : z);                                                                   \
        case EML_OP_POW:                                                                           \
            LOOP((A)int_power((int64_t)x, (int64_t)z));                                            \
        default:                                                                                   \
            EML_BUG();                                                                             \
        }                                                                                          \
        if (zero)                                                                                  \
            atomic_store_explicit(&p->division_by_zero, true, memory_order_relaxed);               \
    }
EML_INT_TYPES(INT_ROW)

#define FLOAT_ROW(name, type)                                                                      \
    static void row_##name(struct binary *p, const int64_t *at, int64_t n)                         \
    {                                                                                              \
        OPERANDS(type);                                                                            \
        switch (p->op) {                                                                           \
        case EML_OP_ADD:                                                                           \
        case EML_OP_SUM:                                                                           \
        case EML_OP_MEAN:                                                                          \
            LOOP(x + z);                                                                           \
        case EML_OP_SUB:                                                                           \
            LOOP(x - z);                                                                           \
        case EML_OP_MUL:                                                                           \
            LOOP(x *z);                                                                            \
        case EML_OP_DIV:                                                                           \
            LOOP(x / z);                                                                           \
        case EML_OP_MOD:                                                                           \
            LOOP((A)fmod((double)x, (double)z));                                                   \
        case EML_OP_MIN: /* NaN if either is */                                                    \
            LOOP(x != x || x < z ? x : z);                                                         \
        case EML_OP_MAX:                                                                           \
            LOOP(x != x || x > z ? x : z);                                                         \
        default:                                                                                   \
            EML_BUG();                                                                             \
        }                                                                                          \
    }
EML_FLOAT_TYPES(FLOAT_ROW)

static int kernel_of(enum eml_op op)
{
    switch (op) {
    case EML_OP_ADD:
    case EML_OP_SUM:
    case EML_OP_MEAN:
        return EML_BINARY_ADD;
    case EML_OP_SUB:
        return EML_BINARY_SUB;
    case EML_OP_MUL:
        return EML_BINARY_MUL;
    case EML_OP_DIV:
        return EML_BINARY_DIV;
    case EML_OP_MIN:
        return EML_BINARY_MIN;
    case EML_OP_MAX:
        return EML_BINARY_MAX;
    default:
        return -1;
    }
}

static void row_fast(struct binary *p, const int64_t *at, int64_t n)
{
    int k = kernel_of(p->op);
    float *y = (float *)p->y + at[0];
    const float *a = (const float *)p->a + at[1], *b = (const float *)p->b + at[2];
    if (k < 0 || (p->sa == 0 && p->sb == 0))
        row_F32(p, at, n);
    else if (p->sa == 0)
        p->kernels->binary_scalar_r[k](y, b, *a, (size_t)n);
    else if (p->sb == 0)
        p->kernels->binary_scalar[k](y, a, *b, (size_t)n);
    else
        p->kernels->binary[k](y, a, b, (size_t)n);
}

#define ROW_OF(name, type) [EML_DT_##name] = row_##name,
static row_fn *const ROWS[] = {EML_INT_TYPES(ROW_OF)[EML_DT_F64] = row_F64, [EML_DT_F32] =
                                                                                row_fast};

struct walked {
    struct binary *p;
    row_fn *f;
};

static void walk_row(void *arg, const int64_t *at, int64_t n)
{
    const struct walked *w = arg;
    w->f(w->p, at, n);
}

static enum eml_err run_binary(const struct eml_op_ctx *c, const struct eml_view *a,
                               const struct eml_view *b, row_fn *f)
{
    const struct eml_view *y = &c->out[0];
    const struct eml_shape *in[2] = {&a->shape, &b->shape};
    struct eml_walk w = eml_walk_broadcast(&y->shape, 2, in);
    struct binary p = {.kernels = c->kernels,
                       .op = c->node->op,
                       .y = y->data,
                       .a = a->data,
                       .b = b->data,
                       .sa = w.stride[1][w.rank - 1],
                       .sb = w.stride[2][w.rank - 1],
                       .fmod = eml_node_int(c->node, EML_ATTR_FMOD, 0) != 0};
    atomic_init(&p.division_by_zero, false);
    struct walked arg = {&p, f};
    eml_walk_run(&w, c->pool, walk_row, &arg);
    if (atomic_load_explicit(&p.division_by_zero, memory_order_relaxed))
        return eml_fail(c->why, EML_E_INPUT, "integer division by zero", -1);
    return EML_OK;
}

/* ---- Pow: base and exponent may differ in type ---- */

static double as_double(enum eml_dtype t, const void *v, int64_t i)
{
    switch (t) {
#define CASE(name, type)                                                                           \
    case EML_DT_##name:                                                                            \
        return (double)((const type *)v)[i];
        EML_NUMBER_TYPES(CASE)
#undef CASE
    default:
        EML_BUG();
    }
}

struct power {
    enum eml_dtype ta, tb;
    void *y;
    const void *a, *b;
    int64_t sa, sb;
};

static void power_row(void *arg, const int64_t *at, int64_t n)
{
    const struct power *p = arg;
    float *f = (float *)p->y + at[0];
    const float *x = (const float *)p->a + at[1];
    /* Squares are what exporters write as Pow(x, 2) in every normalisation. */
    if (p->ta == EML_DT_F32 && p->sb == 0 && as_double(p->tb, p->b, at[2]) == 2.0) {
        for (int64_t i = 0; i < n; i++)
            f[i] = x[i * p->sa] * x[i * p->sa];
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        double z = as_double(p->tb, p->b, at[2] + i * p->sb);
        double r = pow(as_double(p->ta, p->a, at[1] + i * p->sa), z);
        double lo = p->ta == EML_DT_I32 ? INT32_MIN : -9223372036854774784.0;
        double hi = p->ta == EML_DT_I32 ? INT32_MAX : 9223372036854774784.0;
        double whole = r != r ? 0 : r < lo ? lo : r > hi ? hi : r;
        if (p->ta == EML_DT_F32)
            f[i] = (float)r;
        else if (p->ta == EML_DT_F64)
            ((double *)p->y)[at[0] + i] = r;
        else if (p->ta == EML_DT_I32)
            ((int32_t *)p->y)[at[0] + i] = (int32_t)whole;
        else
            ((int64_t *)p->y)[at[0] + i] = (int64_t)whole;
    }
}

static enum eml_err run_power(const struct eml_op_ctx *c)
{
    const struct eml_view *a = &c->in[0], *b = &c->in[1];
    bool ints = a->dtype != EML_DT_F32 && a->dtype != EML_DT_F64;
    if (ints && a->dtype == b->dtype)
        return run_binary(c, a, b, ROWS[a->dtype]);
    const struct eml_shape *in[2] = {&a->shape, &b->shape};
    struct eml_walk w = eml_walk_broadcast(&c->out[0].shape, 2, in);
    struct power p = {.ta = a->dtype,
                      .tb = b->dtype,
                      .y = c->out[0].data,
                      .a = a->data,
                      .b = b->data,
                      .sa = w.stride[1][w.rank - 1],
                      .sb = w.stride[2][w.rank - 1]};
    eml_walk_run(&w, c->pool, power_row, &p);
    return EML_OK;
}

enum eml_err eml_op_binary(const struct eml_op_ctx *c)
{
    if (c->node->op == EML_OP_POW)
        return run_power(c);
    return run_binary(c, &c->in[0], &c->in[1], ROWS[c->in[0].dtype]);
}

/* ---- Min, Max, Sum, Mean of any number of operands ---- */

static void scale_piece(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct eml_op_ctx *c = arg;
    for (int64_t i = begin; i < end; i++) {
        if (c->out[0].dtype == EML_DT_F32)
            ((float *)c->out[0].data)[i] /= (float)c->n_in;
        else
            ((double *)c->out[0].data)[i] /= c->n_in;
    }
}

enum eml_err eml_op_variadic(const struct eml_op_ctx *c)
{
    const struct eml_view *y = &c->out[0];
    if (c->n_in == 1) {
        size_t bytes = (size_t)y->count * eml_dtype_bytes(y->dtype);
        if (bytes > 0 && y->data != c->in[0].data)
            memcpy(y->data, c->in[0].data, bytes);
        return EML_OK;
    }
    EML_TRY(run_binary(c, &c->in[0], &c->in[1], ROWS[y->dtype]));
    for (uint32_t i = 2; i < c->n_in; i++)
        EML_TRY(run_binary(c, y, &c->in[i], ROWS[y->dtype]));
    if (c->node->op == EML_OP_MEAN)
        eml_pool_for(c->pool, y->count, 16384, scale_piece, (void *)(uintptr_t)c);
    return EML_OK;
}

/* ---- comparisons and logic: bool out ---- */

#define COMPARE_LOOP(expr)                                                                         \
    for (int64_t i = 0; i < n; i++) {                                                              \
        const A x = a[i * p->sa], z = b[i * p->sb];                                                \
        y[i] = (expr);                                                                             \
    }                                                                                              \
    break

#define COMPARE_ROW(name, type)                                                                    \
    static void compare_##name(struct binary *p, const int64_t *at, int64_t n)                     \
    {                                                                                              \
        typedef type A;                                                                            \
        uint8_t *y = (uint8_t *)p->y + at[0];                                                      \
        const A *a = (const A *)p->a + at[1], *b = (const A *)p->b + at[2];                        \
        switch (p->op) {                                                                           \
        case EML_OP_EQUAL:                                                                         \
            COMPARE_LOOP(x == z);                                                                  \
        case EML_OP_LESS:                                                                          \
            COMPARE_LOOP(x < z);                                                                   \
        case EML_OP_GREATER:                                                                       \
            COMPARE_LOOP(x > z);                                                                   \
        case EML_OP_LESS_OR_EQUAL:                                                                 \
            COMPARE_LOOP(x <= z);                                                                  \
        case EML_OP_GREATER_OR_EQUAL:                                                              \
            COMPARE_LOOP(x >= z);                                                                  \
        default:                                                                                   \
            EML_BUG();                                                                             \
        }                                                                                          \
    }
EML_NUMBER_TYPES(COMPARE_ROW)

#define COMPARE_OF(name, type) [EML_DT_##name] = compare_##name,
static row_fn *const COMPARES[] = {EML_NUMBER_TYPES(COMPARE_OF)[EML_DT_BOOL] = compare_U8};

enum eml_err eml_op_compare(const struct eml_op_ctx *c)
{
    if (c->in[0].dtype == EML_DT_STRING) {
        eml_strings_equal(c);
        return EML_OK;
    }
    return run_binary(c, &c->in[0], &c->in[1], COMPARES[c->in[0].dtype]);
}

static void logical_row(struct binary *p, const int64_t *at, int64_t n)
{
    typedef uint8_t A;
    A *y = (A *)p->y + at[0];
    const A *a = (const A *)p->a + at[1], *b = (const A *)p->b + at[2];
    switch (p->op) {
    case EML_OP_AND:
        COMPARE_LOOP((x != 0) & (z != 0));
    case EML_OP_OR:
        COMPARE_LOOP((x != 0) | (z != 0));
    default:
        COMPARE_LOOP((x != 0) ^ (z != 0));
    }
}

enum eml_err eml_op_logical(const struct eml_op_ctx *c)
{
    return run_binary(c, &c->in[0], &c->in[1], logical_row);
}

/* ---- Where ---- */

struct where {
    size_t bytes;
    uint8_t *y;
    const uint8_t *q, *a, *b;
    int64_t sq, sa, sb;
};

#define WHERE_LOOP(type)                                                                           \
    for (int64_t i = 0; i < n; i++)                                                                \
        ((type *)(void *)y)[i] = q[i * p->sq] != 0 ? ((const type *)(const void *)a)[i * p->sa]    \
                                                   : ((const type *)(const void *)b)[i * p->sb];   \
    break

static void where_row(void *arg, const int64_t *at, int64_t n)
{
    const struct where *p = arg;
    int64_t size = (int64_t)p->bytes;
    uint8_t *y = p->y + at[0] * size;
    const uint8_t *q = p->q + at[1], *a = p->a + at[2] * size, *b = p->b + at[3] * size;
    switch (p->bytes) {
    case 1:
        WHERE_LOOP(uint8_t);
    case 2:
        WHERE_LOOP(uint16_t);
    case 4:
        WHERE_LOOP(uint32_t);
    case 8:
        WHERE_LOOP(uint64_t);
    default:
        for (int64_t i = 0; i < n; i++)
            memcpy(y + i * size, q[i * p->sq] != 0 ? a + i * p->sa * size : b + i * p->sb * size,
                   p->bytes);
    }
}

enum eml_err eml_op_where(const struct eml_op_ctx *c)
{
    const struct eml_shape *in[3] = {&c->in[0].shape, &c->in[1].shape, &c->in[2].shape};
    struct eml_walk w = eml_walk_broadcast(&c->out[0].shape, 3, in);
    uint32_t last = w.rank - 1;
    struct where p = {.bytes = eml_dtype_bytes(c->out[0].dtype),
                      .y = c->out[0].data,
                      .q = c->in[0].data,
                      .a = c->in[1].data,
                      .b = c->in[2].data,
                      .sq = w.stride[1][last],
                      .sa = w.stride[2][last],
                      .sb = w.stride[3][last]};
    eml_walk_run(&w, c->pool, where_row, &p);
    return EML_OK;
}
