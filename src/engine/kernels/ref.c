/* The kernels in plain C: what the others are compared with, and what runs on any CPU. Elementary
 * functions are libm's; the order of summation is the obvious one. */
#include "engine/kernels/kernels.h"

#include "engine/bf16.h"

#include <math.h>
#include <string.h>

enum { MR = 4, NR = 16, PANEL = 16 };

static float act_one(const struct eml_act_spec *s, float x, size_t j)
{
    float p0 = s->p[0], p1 = s->p[1];
    switch (s->act) {
    case EML_ACT_RELU:
        return x < 0 ? 0 : x;
    case EML_ACT_CLIP:
        x = x < p0 ? p0 : x;
        return x > p1 ? p1 : x;
    case EML_ACT_LEAKY_RELU:
        return x < 0 ? x * p0 : x;
    case EML_ACT_SIGMOID:
        return 1 / (1 + expf(-x));
    case EML_ACT_TANH:
        return tanhf(x);
    case EML_ACT_HARD_SIGMOID:
        return fminf(fmaxf(p0 * x + p1, 0), 1) + (isnan(x) ? x : 0);
    case EML_ACT_HARD_SWISH:
        return x * fminf(fmaxf(p0 * x + p1, 0), 1);
    case EML_ACT_GELU:
        return 0.5F * x * (1 + erff(x * 0.707106781F));
    case EML_ACT_GELU_TANH:
        return 0.5F * x * (1 + tanhf(0.797884561F * (x + 0.044715F * x * x * x)));
    case EML_ACT_SILU:
        return x / (1 + expf(-x));
    case EML_ACT_PRELU:
        return x < 0 ? x * s->slope[j] : x;
    case EML_ACT_NONE:
    case EML_ACT_N:
        break;
    }
    return x;
}

static void act(float *y, const float *x, size_t n, const struct eml_act_spec *s)
{
    for (size_t i = 0; i < n; i++)
        y[i] = act_one(s, x[i], i);
}

/* Element (row r, column j) after its sum. */
static float finish(const struct eml_epilogue *e, float x, size_t r, size_t j)
{
    if (e->bias)
        x += e->bias[j];
    if (e->residual)
        x += e->residual[r * e->residual_stride + j];
    return act_one(&e->act, x, j);
}

static void gemm_tile(const struct eml_tile *t)
{
    for (size_t r = 0; r < t->m; r++) {
        float acc[NR] = {0};
        float *c = t->c + r * t->ldc;
        for (size_t j = 0; t->accumulate && j < t->n; j++)
            acc[j] = c[j];
        const float *b = t->b;
        for (size_t q = 0; q < t->n_blocks; q++) {
            const float *a = t->rows[q * t->m + r];
            for (size_t k = 0; k < t->block; k++, b += t->b_row) {
                for (size_t j = 0; j < t->n; j++)
                    acc[j] += a[k] * b[j];
            }
        }
        for (size_t j = 0; j < t->n; j++)
            c[j] = t->epilogue ? finish(t->epilogue, acc[j], r, j) : acc[j];
    }
}

/* Half h of a pair: a bfloat16 is the upper half of a float. */
static float half_of(const float *pair, int h)
{
    uint32_t bits;
    float x;
    memcpy(&bits, pair, sizeof bits);
    bits = h == 0 ? bits << 16 : bits & 0xFFFF0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void gemm_tile_bf16(const struct eml_tile *t)
{
    for (size_t r = 0; r < t->m; r++) {
        float *c = t->c + r * t->ldc;
        for (size_t j = 0; j < t->n; j++) {
            float sum = t->accumulate ? c[j] : 0;
            const float *b = t->b + j;
            for (size_t q = 0; q < t->n_blocks; q++) {
                const float *a = t->rows[q * t->m + r];
                for (size_t k = 0; k < t->block; k++, b += t->b_row)
                    sum += half_of(&a[k], 0) * half_of(b, 0) + half_of(&a[k], 1) * half_of(b, 1);
            }
            c[j] = t->epilogue ? finish(t->epilogue, sum, r, j) : sum;
        }
    }
}

static void depthwise(const struct eml_depthwise *d)
{
    for (size_t p = 0; p < d->pixels; p++) {
        for (size_t j = 0; j < d->c; j++) {
            float s = 0;
            for (size_t t = 0; t < d->taps; t++)
                s += d->x[t][p * d->x_step + j] * d->w[t * d->w_stride + j];
            d->y[p * d->ldy + j] = finish(d->epilogue, s, p, j);
        }
    }
}

static float min_nan(float a, float b)
{
    return isnan(a) || a < b ? a : b;
}

static float max_nan(float a, float b)
{
    return isnan(a) || a > b ? a : b;
}

static void pool_max(float *y, const float *const *x, size_t taps, size_t c)
{
    for (size_t j = 0; j < c; j++) {
        float m = x[0][j];
        for (size_t t = 1; t < taps; t++)
            m = max_nan(m, x[t][j]);
        y[j] = m;
    }
}

static void pool_sum(float *y, const float *const *x, size_t taps, size_t c, float scale)
{
    for (size_t j = 0; j < c; j++) {
        float s = 0;
        for (size_t t = 0; t < taps; t++)
            s += x[t][j];
        y[j] = s * scale;
    }
}

#define UNARY(name, expr)                                                                          \
    static void unary_##name(float *y, const float *x, size_t n)                                   \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = expr;                                                                           \
    }
UNARY(exp, expf(x[i]))
UNARY(erf, erff(x[i]))
UNARY(tanh, tanhf(x[i]))
UNARY(sigmoid, 1 / (1 + expf(-x[i])))
UNARY(sqrt, sqrtf(x[i]))
UNARY(reciprocal, 1 / x[i])
UNARY(neg, -x[i])
UNARY(abs, fabsf(x[i]))
#undef UNARY

#define BINARY(name, expr)                                                                         \
    static float op_##name(float a, float b)                                                       \
    {                                                                                              \
        return expr;                                                                               \
    }                                                                                              \
    static void binary_##name(float *y, const float *a, const float *b, size_t n)                  \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = op_##name(a[i], b[i]);                                                          \
    }                                                                                              \
    static void scalar_##name(float *y, const float *a, float b, size_t n)                         \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = op_##name(a[i], b);                                                             \
    }                                                                                              \
    static void scalar_r_##name(float *y, const float *b, float a, size_t n)                       \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = op_##name(a, b[i]);                                                             \
    }
BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a *b)
BINARY(div, a / b)
BINARY(min, min_nan(a, b))
BINARY(max, max_nan(a, b))
#undef BINARY

static float sum(const float *x, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += (double)x[i];
    return (float)s;
}

static float sum_squares(const float *x, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += (double)x[i] * (double)x[i];
    return (float)s;
}

static float reduce_max(const float *x, size_t n)
{
    float m = -INFINITY;
    for (size_t i = 0; i < n; i++)
        m = max_nan(m, x[i]);
    return m;
}

static float reduce_min(const float *x, size_t n)
{
    float m = INFINITY;
    for (size_t i = 0; i < n; i++)
        m = min_nan(m, x[i]);
    return m;
}

static void softmax_row(float *y, const float *x, size_t n)
{
    float top = reduce_max(x, n);
    double s = 0;
    for (size_t i = 0; i < n; i++) {
        y[i] = expf(x[i] - top);
        s += (double)y[i];
    }
    for (size_t i = 0; i < n; i++)
        y[i] = (float)((double)y[i] / s);
}

static void softmax(float *y, const float *x, size_t n, size_t rows, size_t ld)
{
    for (size_t r = 0; r < rows; r++)
        softmax_row(y + r * ld, x + r * ld, n);
}

static void log_softmax(float *y, const float *x, size_t n)
{
    float top = reduce_max(x, n);
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += exp((double)x[i] - (double)top);
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] - top) - (float)log(s);
}

static void layer_norm(float *y, const float *x, size_t n, const float *scale, const float *bias,
                       float eps)
{
    double mean = (double)sum(x, n) / (double)n, squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    double factor = 1 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(((double)x[i] - mean) * factor) * scale[i] + (bias ? bias[i] : 0);
}

static void affine(float *y, const float *x, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * a[i] + b[i];
}

#define BINARY_ROW(prefix)                                                                         \
    {                                                                                              \
        [EML_BINARY_ADD] = prefix##_add, [EML_BINARY_SUB] = prefix##_sub,                          \
        [EML_BINARY_MUL] = prefix##_mul, [EML_BINARY_DIV] = prefix##_div,                          \
        [EML_BINARY_MIN] = prefix##_min, [EML_BINARY_MAX] = prefix##_max                           \
    }

static void to_bf16(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = eml_bf16_of(x[i]);
}

const struct eml_kernels eml_kernels_ref = {
    .isa = EML_ISA_REF,
    .mr = MR,
    .nr = NR,
    .gemm_tile = gemm_tile,
    .gemm_tile_bf16 = gemm_tile_bf16,
    .depthwise = depthwise,
    .pool_max = pool_max,
    .pool_sum = pool_sum,
    .unary = {[EML_UNARY_EXP] = unary_exp,
              [EML_UNARY_ERF] = unary_erf,
              [EML_UNARY_TANH] = unary_tanh,
              [EML_UNARY_SIGMOID] = unary_sigmoid,
              [EML_UNARY_SQRT] = unary_sqrt,
              [EML_UNARY_RECIPROCAL] = unary_reciprocal,
              [EML_UNARY_NEG] = unary_neg,
              [EML_UNARY_ABS] = unary_abs},
    .binary = BINARY_ROW(binary),
    .binary_scalar = BINARY_ROW(scalar),
    .binary_scalar_r = BINARY_ROW(scalar_r),
    .act = act,
    .softmax = softmax,
    .log_softmax = log_softmax,
    .layer_norm = layer_norm,
    .affine = affine,
    .to_bf16 = to_bf16,
    .sum = sum,
    .sum_squares = sum_squares,
    .max = reduce_max,
    .min = reduce_min,
};
