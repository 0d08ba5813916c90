/* The element-wise and row kernels of one instruction set, written once in the words of
 * simd_<isa>.h; included by <isa>.c only. Contracts: kernels.h.
 *
 * Sums run in two vectors of partial sums that are added at the end: an order that depends on the
 * length only.
 */
#ifndef EML_ENGINE_KERNELS_SIMD_KERNELS_H
#define EML_ENGINE_KERNELS_SIMD_KERNELS_H

#include "engine/bf16.h"
#include "engine/kernels/simd_math.h"

/* One vector, or the `left` elements that are left of the array; lanes beyond them are 0. */
static inline vf get(const float *p, size_t left)
{
    return left >= VL ? v_load(p) : v_load_first(p, v_first(left));
}

static inline void put(float *p, size_t left, vf v)
{
    if (left >= VL)
        v_store(p, v);
    else
        v_store_first(p, v_first(left), v);
}

/* v in the lanes that are left, `otherwise` beyond them. */
static inline vf keep(vf v, size_t left, vf otherwise)
{
    return left >= VL ? v : v_choose(v_first(left), v, otherwise);
}

#define UNARY(name, expr)                                                                          \
    static void unary_##name(float *y, const float *x, size_t n)                                   \
    {                                                                                              \
        for (size_t i = 0; i < n; i += VL) {                                                       \
            vf v = get(x + i, n - i);                                                              \
            put(y + i, n - i, expr);                                                               \
        }                                                                                          \
    }
UNARY(exp, v_exp(v))
UNARY(erf, v_erf(v))
UNARY(tanh, v_tanh(v))
UNARY(sigmoid, v_sigmoid(v))
UNARY(sqrt, v_sqrt(v))
UNARY(reciprocal, v_set(1.0F) / v)
UNARY(neg, v_neg(v))
UNARY(abs, v_abs(v))
#undef UNARY

/* ONNX Min and Max: NaN if either is; v_min and v_max give b when one is NaN. */
static inline vf min_nan(vf a, vf b)
{
    return v_choose(v_unordered(a, a), a, v_min(a, b));
}

static inline vf max_nan(vf a, vf b)
{
    return v_choose(v_unordered(a, a), a, v_max(a, b));
}

#define BINARY(name, expr)                                                                         \
    static void binary_##name(float *y, const float *pa, const float *pb, size_t n)                \
    {                                                                                              \
        for (size_t i = 0; i < n; i += VL) {                                                       \
            vf a = get(pa + i, n - i), b = get(pb + i, n - i);                                     \
            put(y + i, n - i, expr);                                                               \
        }                                                                                          \
    }                                                                                              \
    static void scalar_##name(float *y, const float *pa, float sb, size_t n)                       \
    {                                                                                              \
        vf b = v_set(sb);                                                                          \
        for (size_t i = 0; i < n; i += VL) {                                                       \
            vf a = get(pa + i, n - i);                                                             \
            put(y + i, n - i, expr);                                                               \
        }                                                                                          \
    }                                                                                              \
    static void scalar_r_##name(float *y, const float *pb, float sa, size_t n)                     \
    {                                                                                              \
        vf a = v_set(sa);                                                                          \
        for (size_t i = 0; i < n; i += VL) {                                                       \
            vf b = get(pb + i, n - i);                                                             \
            put(y + i, n - i, expr);                                                               \
        }                                                                                          \
    }
BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a *b)
BINARY(div, a / b)
BINARY(min, min_nan(a, b))
BINARY(max, max_nan(a, b))
#undef BINARY

/* y = act(x) for `rows` rows of n, ld apart. */
static inline __attribute__((always_inline)) void act_rows_of(const enum eml_act a, float *y,
                                                              const float *x, size_t n, size_t rows,
                                                              size_t ld,
                                                              const struct eml_act_spec *s)
{
    vf p0 = v_set(s->p[0]), p1 = v_set(s->p[1]), slope = v_set(0.0F);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < n; i += VL) {
            if (a == EML_ACT_PRELU)
                slope = get(s->slope + i, n - i);
            put(y + r * ld + i, n - i, v_act(a, get(x + r * ld + i, n - i), p0, p1, slope));
        }
    }
}

/* One copy of the loop for each activation, chosen outside of it. */
static void act_rows(float *y, const float *x, size_t n, size_t rows, size_t ld,
                     const struct eml_act_spec *s)
{
#define CASE(a)                                                                                    \
    case a:                                                                                        \
        act_rows_of(a, y, x, n, rows, ld, s);                                                      \
        break;
    switch (s->act) {
        CASE(EML_ACT_NONE)
        CASE(EML_ACT_RELU)
        CASE(EML_ACT_CLIP)
        CASE(EML_ACT_LEAKY_RELU)
        CASE(EML_ACT_SIGMOID)
        CASE(EML_ACT_TANH)
        CASE(EML_ACT_HARD_SIGMOID)
        CASE(EML_ACT_HARD_SWISH)
        CASE(EML_ACT_GELU)
        CASE(EML_ACT_GELU_TANH)
        CASE(EML_ACT_SILU)
        CASE(EML_ACT_PRELU)
    case EML_ACT_N:
        break;
    }
#undef CASE
}

static void act(float *y, const float *x, size_t n, const struct eml_act_spec *s)
{
    act_rows(y, x, n, 1, 0, s);
}

/* Sum over i of expr, a function of v = x[i]. */
#define SUM(total, x, n, expr)                                                                     \
    do {                                                                                           \
        vf s0 = v_set(0.0F), s1 = s0, v;                                                           \
        for (size_t i = 0; i < (n); i += 2 * VL) {                                                 \
            size_t left = (n)-i;                                                                   \
            v = get((x) + i, left);                                                                \
            s0 = s0 + keep(expr, left, v_set(0.0F));                                               \
            if (left <= VL)                                                                        \
                break;                                                                             \
            v = get((x) + i + VL, left - VL);                                                      \
            s1 = s1 + keep(expr, left - VL, v_set(0.0F));                                          \
        }                                                                                          \
        (total) = v_sum(s0 + s1);                                                                  \
    } while (0)

static float sum(const float *x, size_t n)
{
    float total;
    SUM(total, x, n, v);
    return total;
}

static float sum_squares(const float *x, size_t n)
{
    float total;
    SUM(total, x, n, v * v);
    return total;
}

static float reduce_max(const float *x, size_t n)
{
    vf m = v_set(-INFINITY);
    for (size_t i = 0; i < n; i += VL)
        m = keep(max_nan(m, get(x + i, n - i)), n - i, m);
    float lane[VL], best = -INFINITY;
    v_store(lane, m);
    for (size_t i = 0; i < VL; i++)
        best = isnan(best) || best > lane[i] ? best : lane[i];
    return best;
}

static float reduce_min(const float *x, size_t n)
{
    vf m = v_set(INFINITY);
    for (size_t i = 0; i < n; i += VL)
        m = keep(min_nan(m, get(x + i, n - i)), n - i, m);
    float lane[VL], best = INFINITY;
    v_store(lane, m);
    for (size_t i = 0; i < VL; i++)
        best = isnan(best) || best < lane[i] ? best : lane[i];
    return best;
}

enum {
    SOFTMAX_ROWS = 8,
    SOFTMAX_CACHED = 4096 /* floats that stay in the first-level cache from step to step */
};

/* The largest, of lanes that are no NaN. */
static float top_of(const float *x, size_t n)
{
    vf m0 = v_set(-INFINITY), m1 = m0;
    size_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        m0 = v_max(v_load(x + i), m0);
        m1 = v_max(v_load(x + i + VL), m1);
    }
    for (; i < n; i += VL)
        m0 = v_max(keep(get(x + i, n - i), n - i, m0), m0);
    return v_max_across(v_max(m0, m1));
}

/* Each step for some rows before the next one: what one row waits for, others hide. A NaN in x need
 * not be the largest: the sum is NaN by it, and so are all results. */
static void softmax_block(float *y, const float *x, size_t n, size_t rows, size_t ld)
{
    float top[SOFTMAX_ROWS], factor[SOFTMAX_ROWS];
    for (size_t r = 0; r < rows; r++)
        top[r] = top_of(x + r * ld, n);
    for (size_t r = 0; r < rows; r++) {
        vf t = v_set(top[r]), s = v_set(0.0F);
        for (size_t i = 0; i < n; i += VL) {
            vf v = v_exp_negative(get(x + r * ld + i, n - i) - t);
            put(y + r * ld + i, n - i, v);
            s = s + keep(v, n - i, v_set(0.0F));
        }
        factor[r] = 1.0F / v_sum(s);
    }
    for (size_t r = 0; r < rows; r++)
        scalar_mul(y + r * ld, y + r * ld, factor[r], n);
}

static void softmax(float *y, const float *x, size_t n, size_t rows, size_t ld)
{
    size_t step = n <= SOFTMAX_CACHED / SOFTMAX_ROWS ? SOFTMAX_ROWS : 1;
    for (size_t r = 0; r < rows; r += step)
        softmax_block(y + r * ld, x + r * ld, n, rows - r < step ? rows - r : step, ld);
}

static void log_softmax(float *y, const float *x, size_t n)
{
    float total;
    vf top = v_set(reduce_max(x, n));
    SUM(total, x, n, v_exp(v - top));
    /* the small difference first, as x and top can be large */
    vf log_total = v_set(logf(total));
    for (size_t i = 0; i < n; i += VL)
        put(y + i, n - i, (get(x + i, n - i) - top) - log_total);
}

static void layer_norm(float *y, const float *x, size_t n, const float *scale, const float *bias,
                       float eps)
{
    float total, squares;
    SUM(total, x, n, v);
    vf mean = v_set(total / (float)n);
    SUM(squares, x, n, (v - mean) * (v - mean));
    vf factor = v_set(1.0F / sqrtf(squares / (float)n + eps));
    for (size_t i = 0; i < n; i += VL) {
        vf v = (get(x + i, n - i) - mean) * factor;
        vf b = bias ? get(bias + i, n - i) : v_set(0.0F);
        put(y + i, n - i, v_fma(v, get(scale + i, n - i), b));
    }
}

static void affine(float *y, const float *x, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i += VL)
        put(y + i, n - i, v_fma(get(x + i, n - i), get(a + i, n - i), get(b + i, n - i)));
}

static void to_bf16(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = eml_bf16_of(x[i]);
}

#endif
