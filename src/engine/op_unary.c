/* Elementwise operators of one operand: functions, activations, bounds. */
#include "engine/kernels/kernels.h"
#include "engine/typed.h"
#include "engine/walk.h"

#include <math.h>

enum { GRAIN = 8192 };

typedef float scalar_f32(float x, const float *p);
typedef double scalar_f64(double x, const float *p);

/* Both precisions of a function; p are the node's params. */
#define FUNCTION(name, expr)                                                                       \
    static double name##_f64(double x, const float *p)                                             \
    {                                                                                              \
        (void)p;                                                                                   \
        return (expr);                                                                             \
    }                                                                                              \
    static float name##_f32(float v, const float *p)                                               \
    {                                                                                              \
        return (float)name##_f64((double)v, p);                                                    \
    }

#define P(i) ((double)p[i])
static double soft_plus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); /* does not overflow */
}

static double sign(double x)
{
    return x != x ? x : (double)((x > 0) - (x < 0));
}

static double bounded(double x, double lo, double hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

FUNCTION(fn_abs, fabs(x))
FUNCTION(fn_neg, -x)
FUNCTION(fn_sign, sign(x))
FUNCTION(fn_ceil, ceil(x))
FUNCTION(fn_floor, floor(x))
FUNCTION(fn_round, rint(x)) /* halves to even */
FUNCTION(fn_sqrt, sqrt(x))
FUNCTION(fn_reciprocal, 1.0 / x)
FUNCTION(fn_exp, exp(x))
FUNCTION(fn_log, log(x))
FUNCTION(fn_erf, erf(x))
FUNCTION(fn_sin, sin(x))
FUNCTION(fn_cos, cos(x))
FUNCTION(fn_tan, tan(x))
FUNCTION(fn_asin, asin(x))
FUNCTION(fn_acos, acos(x))
FUNCTION(fn_atan, atan(x))
FUNCTION(fn_sinh, sinh(x))
FUNCTION(fn_cosh, cosh(x))
FUNCTION(fn_tanh, tanh(x))
FUNCTION(fn_relu, x < 0 ? 0 : x)
FUNCTION(fn_sigmoid, 1.0 / (1.0 + exp(-x)))
FUNCTION(fn_softplus, soft_plus(x))
FUNCTION(fn_softsign, x / (1.0 + fabs(x)))
FUNCTION(fn_hard_swish, x *bounded(x / 6.0 + 0.5, 0, 1))
FUNCTION(fn_mish, x *tanh(soft_plus(x)))
FUNCTION(fn_leaky_relu, x < 0 ? P(0) * x : x)
FUNCTION(fn_elu, x < 0 ? P(0) * expm1(x) : x)
FUNCTION(fn_selu, P(1) * (x <= 0 ? P(0) * expm1(x) : x))
FUNCTION(fn_celu, x < 0 ? P(0) * expm1(x / P(0)) : x)
FUNCTION(fn_hard_sigmoid, bounded(P(0) * x + P(1), 0, 1))
FUNCTION(fn_thresholded_relu, x > P(0) || x != x ? x : 0)
FUNCTION(fn_gelu, 0.5 * x * (1.0 + erf(x * 0.70710678118654752440)))
FUNCTION(fn_asinh, asinh(x))
FUNCTION(fn_acosh, acosh(x))
FUNCTION(fn_atanh, atanh(x))
FUNCTION(fn_shrink, x<-P(1) ? x + P(0) : x> P(1) ? x - P(0) : x != x ? x : 0)
FUNCTION(fn_gelu_tanh, 0.5 * x * (1.0 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))))

struct function {
    scalar_f32 *f32;
    scalar_f64 *f64;
};

#define ROW(op, name) [EML_OP_##op] = {name##_f32, name##_f64},
static const struct function FUNCTIONS[EML_OP_N] = {
    ROW(ABS, fn_abs) ROW(NEG, fn_neg) ROW(SIGN, fn_sign) ROW(CEIL, fn_ceil) ROW(FLOOR, fn_floor)
        ROW(ROUND, fn_round) ROW(SQRT, fn_sqrt) ROW(RECIPROCAL, fn_reciprocal) ROW(EXP, fn_exp)
            ROW(LOG, fn_log) ROW(ERF, fn_erf) ROW(SIN, fn_sin) ROW(COS, fn_cos) ROW(TAN, fn_tan)
                ROW(ASIN, fn_asin) ROW(ACOS, fn_acos) ROW(ATAN, fn_atan) ROW(SINH, fn_sinh) ROW(
                    COSH, fn_cosh) ROW(TANH, fn_tanh) ROW(RELU, fn_relu) ROW(SIGMOID, fn_sigmoid)
                    ROW(SOFTPLUS, fn_softplus) ROW(SOFTSIGN, fn_softsign)
                        ROW(HARD_SWISH, fn_hard_swish) ROW(MISH, fn_mish)
                            ROW(LEAKY_RELU, fn_leaky_relu) ROW(ELU, fn_elu) ROW(SELU, fn_selu)
                                ROW(CELU, fn_celu) ROW(HARD_SIGMOID, fn_hard_sigmoid)
                                    ROW(THRESHOLDED_RELU, fn_thresholded_relu) ROW(GELU, fn_gelu)
                                        ROW(ASINH, fn_asinh) ROW(ACOSH, fn_acosh)
                                            ROW(ATANH, fn_atanh) ROW(SHRINK, fn_shrink)};

struct unary {
    const struct eml_op_ctx *c;
    scalar_f32 *f32;
    scalar_f64 *f64;
    eml_unary_fn *fast;      /* or NULL */
    struct eml_act_spec act; /* used if not NONE */
};

static void unary_piece(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct unary *u = arg;
    const float *p = u->c->params;
    if (u->c->out[0].dtype == EML_DT_F64) {
        const double *x = u->c->in[0].data;
        double *y = u->c->out[0].data;
        for (int64_t i = begin; i < end; i++)
            y[i] = u->f64(x[i], p);
        return;
    }
    const float *x = u->c->in[0].data;
    float *y = u->c->out[0].data;
    if (u->act.act != EML_ACT_NONE) {
        u->c->kernels->act(y + begin, x + begin, (size_t)(end - begin), &u->act);
        return;
    }
    if (u->fast != NULL) {
        u->fast(y + begin, x + begin, (size_t)(end - begin));
        return;
    }
    for (int64_t i = begin; i < end; i++)
        y[i] = u->f32(x[i], p);
}

/* The kernel that does the operator; EML_UNARY_N: none. */
static unsigned fast_of(enum eml_op op)
{
    switch (op) {
    case EML_OP_EXP:
        return EML_UNARY_EXP;
    case EML_OP_ERF:
        return EML_UNARY_ERF;
    case EML_OP_TANH:
        return EML_UNARY_TANH;
    case EML_OP_SIGMOID:
        return EML_UNARY_SIGMOID;
    case EML_OP_SQRT:
        return EML_UNARY_SQRT;
    case EML_OP_RECIPROCAL:
        return EML_UNARY_RECIPROCAL;
    case EML_OP_NEG:
        return EML_UNARY_NEG;
    case EML_OP_ABS:
        return EML_UNARY_ABS;
    default:
        return EML_UNARY_N;
    }
}

/* The activation that the operator is, if it is one. */
static struct eml_act_spec act_of(const struct eml_op_ctx *c)
{
    const float *p = c->params;
    switch (c->node->op) {
    case EML_OP_RELU:
        return (struct eml_act_spec){.act = EML_ACT_RELU};
    case EML_OP_LEAKY_RELU:
        return (struct eml_act_spec){.act = EML_ACT_LEAKY_RELU, .p = {p[0]}};
    case EML_OP_HARD_SIGMOID:
        return (struct eml_act_spec){.act = EML_ACT_HARD_SIGMOID, .p = {p[0], p[1]}};
    case EML_OP_HARD_SWISH:
        return (struct eml_act_spec){.act = EML_ACT_HARD_SWISH, .p = {1.0f / 6.0f, 0.5f}};
    case EML_OP_GELU:
        return (struct eml_act_spec){.act = eml_node_int(c->node, EML_ATTR_APPROXIMATE, 0) != 0
                                                ? EML_ACT_GELU_TANH
                                                : EML_ACT_GELU};
    default:
        return (struct eml_act_spec){.act = EML_ACT_NONE};
    }
}

/* ---- integers: Abs, Neg, Sign, Relu ---- */

#define INT_UNARY(name, type)                                                                      \
    static void int_##name(enum eml_op op, void *to, const void *from, int64_t n)                  \
    {                                                                                              \
        type *y = to;                                                                              \
        const type *x = from;                                                                      \
        for (int64_t i = 0; i < n; i++) {                                                          \
            bool negative = x[i] < 0;                                                              \
            if (op == EML_OP_SIGN)                                                                 \
                y[i] = (type)((x[i] > 0) - negative);                                              \
            else if (op == EML_OP_RELU)                                                            \
                y[i] = negative ? 0 : x[i];                                                        \
            else if (op == EML_OP_NEG || negative)                                                 \
                y[i] = (type)(0 - (uint64_t)x[i]);                                                 \
            else                                                                                   \
                y[i] = x[i];                                                                       \
        }                                                                                          \
    }
EML_SIGNED_TYPES(INT_UNARY)

#define UINT_UNARY(name, type)                                                                     \
    static void int_##name(enum eml_op op, void *to, const void *from, int64_t n)                  \
    {                                                                                              \
        type *y = to;                                                                              \
        const type *x = from;                                                                      \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = op == EML_OP_SIGN ? (type)(x[i] > 0) : x[i];                                    \
    }
EML_UNSIGNED_TYPES(UINT_UNARY)

static void unary_ints(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    switch (x->dtype) {
#define CASE(name, type)                                                                           \
    case EML_DT_##name:                                                                            \
        int_##name(c->node->op, y->data, x->data, x->count);                                       \
        break;
        EML_INT_TYPES(CASE)
#undef CASE
    default:
        EML_BUG();
    }
}

enum eml_err eml_op_unary(const struct eml_op_ctx *c)
{
    enum eml_dtype t = c->in[0].dtype;
    if (t != EML_DT_F32 && t != EML_DT_F64) {
        unary_ints(c);
        return EML_OK;
    }
    const unsigned fast = fast_of(c->node->op);
    struct unary u = {.c = c,
                      .f32 = FUNCTIONS[c->node->op].f32,
                      .f64 = FUNCTIONS[c->node->op].f64,
                      .fast = fast < EML_UNARY_N ? c->kernels->unary[fast] : NULL,
                      .act = act_of(c)};
    if (u.act.act == EML_ACT_GELU_TANH) {
        u.f32 = fn_gelu_tanh_f32;
        u.f64 = fn_gelu_tanh_f64;
    }
    eml_pool_for(c->pool, c->out[0].count, GRAIN, unary_piece, &u);
    return EML_OK;
}

/* ---- activation as a node of its own ---- */

struct activate {
    const struct eml_op_ctx *c;
    struct eml_act_spec act;
    int64_t row; /* PReLU: channels */
};

static void activate_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct activate *a = arg;
    const float *x = a->c->in[0].data;
    float *y = a->c->out[0].data;
    for (int64_t i = begin; i < end; i++)
        a->c->kernels->act(y + i * a->row, x + i * a->row, (size_t)a->row, &a->act);
}

enum eml_err eml_op_activate(const struct eml_op_ctx *c)
{
    enum eml_act act = (enum eml_act)eml_node_int(c->node, EML_ATTR_ACT, EML_ACT_NONE);
    struct activate a = {.c = c};
    int64_t n = c->out[0].count;
    size_t params = eml_act_params(act);
    a.act.act = act;
    for (size_t i = 0; i < params; i++)
        a.act.p[i] = c->params[c->n_params - params + i];
    if (n == 0)
        return EML_OK;
    if (act != EML_ACT_PRELU) {
        struct unary u = {.c = c, .act = a.act};
        eml_pool_for(c->pool, n, GRAIN, unary_piece, &u);
        return EML_OK;
    }
    a.act.slope = c->in[1].data;
    a.row = c->out[0].shape.dim[c->out[0].shape.rank - 1];
    eml_pool_for(c->pool, n / a.row, 1 + GRAIN / a.row, activate_rows, &a);
    return EML_OK;
}

/* ---- Not, Clip, PRelu ---- */

enum eml_err eml_op_logical_not(const struct eml_op_ctx *c)
{
    const uint8_t *x = c->in[0].data;
    uint8_t *y = c->out[0].data;
    for (int64_t i = 0; i < c->out[0].count; i++)
        y[i] = x[i] == 0;
    return EML_OK;
}

#define CLIP(name, type)                                                                           \
    static void clip_##name(const struct eml_op_ctx *c, const void *lo, const void *hi)            \
    {                                                                                              \
        const type *x = c->in[0].data;                                                             \
        type *y = c->out[0].data;                                                                  \
        for (int64_t i = 0; i < c->out[0].count; i++) {                                            \
            type v = x[i];                                                                         \
            v = lo != NULL && v < *(const type *)lo ? *(const type *)lo : v;                       \
            y[i] = hi != NULL && v > *(const type *)hi ? *(const type *)hi : v;                    \
        }                                                                                          \
    }
EML_NUMBER_TYPES(CLIP)

static const void *bound(const struct eml_op_ctx *c, uint32_t i)
{
    return i < c->n_in && c->in[i].dtype != EML_DT_NONE ? c->in[i].data : NULL;
}

enum eml_err eml_op_clip(const struct eml_op_ctx *c)
{
    const void *lo = bound(c, 1), *hi = bound(c, 2);
    if (c->in[0].dtype == EML_DT_F32) {
        struct unary u = {.c = c, .act = {.act = EML_ACT_CLIP, .p = {-INFINITY, INFINITY}}};
        u.act.p[0] = lo != NULL ? *(const float *)lo : u.act.p[0];
        u.act.p[1] = hi != NULL ? *(const float *)hi : u.act.p[1];
        eml_pool_for(c->pool, c->out[0].count, GRAIN, unary_piece, &u);
        return EML_OK;
    }
    switch (c->in[0].dtype) {
#define CASE(name, type)                                                                           \
    case EML_DT_##name:                                                                            \
        clip_##name(c, lo, hi);                                                                    \
        break;
        EML_NUMBER_TYPES(CASE)
#undef CASE
    default:
        EML_BUG();
    }
    return EML_OK;
}

struct prelu {
    const struct eml_op_ctx *c;
    int64_t stride; /* innermost stride of the slope */
};

#define PRELU(name, type)                                                                          \
    static void prelu_##name(void *arg, const int64_t *at, int64_t n)                              \
    {                                                                                              \
        const struct prelu *p = arg;                                                               \
        type *y = (type *)p->c->out[0].data + at[0];                                               \
        const type *x = (const type *)p->c->in[0].data + at[1];                                    \
        const type *s = (const type *)p->c->in[1].data + at[2];                                    \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = x[i] < 0 ? x[i] * s[i * p->stride] : x[i];                                      \
    }
EML_FLOAT_TYPES(PRELU)

enum eml_err eml_op_prelu(const struct eml_op_ctx *c)
{
    const struct eml_shape *in[2] = {&c->in[0].shape, &c->in[1].shape};
    struct eml_walk w = eml_walk_broadcast(&c->out[0].shape, 2, in);
    struct prelu p = {c, w.stride[2][w.rank - 1]};
    eml_walk_run(&w, c->pool, c->in[0].dtype == EML_DT_F32 ? prelu_F32 : prelu_F64, &p);
    return EML_OK;
}
