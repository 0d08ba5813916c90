/* The tile of a matrix product and the window kernels (depthwise, pooling, Winograd) of one
 * instruction set, written once in the words of simd_<isa>.h; included by <isa>.c only. Contracts:
 * kernels.h.
 *
 * A tile keeps m x v accumulators of one vector in registers: 8 x 3 of 16 floats with AVX-512,
 * 6 x 2 of 8 floats with AVX2. Each step of K broadcasts one element of each row of a and
 * multiplies it by v vectors of b. m and v are compile-time constants of each instance.
 */
#ifndef EML_ENGINE_KERNELS_SIMD_GEMM_H
#define EML_ENGINE_KERNELS_SIMD_GEMM_H

#include "engine/kernels/simd_kernels.h"

#include <stdint.h>

enum { PANEL = 16, PANEL_V = PANEL / VL }; /* vectors of one panel */

/* A loop of constant bounds over registers: it must be unrolled, or arrays of vectors live in
 * memory. */
#if defined(__clang__)
#define EACH(i, from, to) _Pragma("clang loop unroll(full)") for (size_t i = (from); i < (to); i++)
#else
#define EACH(i, from, to) _Pragma("GCC unroll 16") for (size_t i = (from); i < (to); i++)
#endif
#define INLINE static inline __attribute__((always_inline))

/* Vector j of row k of b. */
#define B_VECTOR(j) v_load(b + (j) / PANEL_V * t->b_panel + (j) % PANEL_V * VL)

INLINE void multiply(const struct eml_tile *t, vf (*acc)[TILE_V], const size_t m, const size_t v,
                     const bool pairs, const bool ask)
{
    const float *b = t->b, *soon = t->soon;
    for (size_t q = 0; q < t->n_blocks; q++) {
        const float *const *rows = t->rows + q * m;
        const float *a[TILE_M];
        EACH(r, 0, m) a[r] = rows[r];
        for (size_t k = 0; k < t->block; k++) {
            vf bv[TILE_V];
            if (ask) {
                __builtin_prefetch(soon, 0, 2);
                soon += t->soon_step;
            }
            EACH(j, 0, v) bv[j] = B_VECTOR(j);
            EACH(r, 0, m)
            {
                vf x = v_set(a[r][k]);
                EACH(j, 0, v)
                acc[r][j] = pairs ? v_dot2(x, bv[j], acc[r][j]) : v_fma(x, bv[j], acc[r][j]);
            }
            b += t->b_row;
        }
    }
}

/* A request for what comes soon has a loop of its own: elsewhere an empty one would cost 1 %. */
INLINE void accumulate(const struct eml_tile *t, vf (*acc)[TILE_V], const size_t m, const size_t v,
                       const bool pairs)
{
    if (m == TILE_M && v == TILE_V && t->soon)
        multiply(t, acc, m, v, pairs, true);
    else
        multiply(t, acc, m, v, pairs, false);
}

#ifdef SIMD_HALF
/* The same with the last vector of b cut to its first half. */
INLINE void accumulate_half(const struct eml_tile *t, vf (*acc)[TILE_V], const size_t m,
                            const size_t v)
{
    const float *b = t->b;
    vh tail[TILE_M];
    EACH(r, 0, m) tail[r] = h_of(acc[r][v - 1]);
    for (size_t q = 0; q < t->n_blocks; q++) {
        const float *const *rows = t->rows + q * m;
        const float *a[TILE_M];
        EACH(r, 0, m) a[r] = rows[r];
        for (size_t k = 0; k < t->block; k++) {
            vf bv[TILE_V];
            EACH(j, 0, v - 1) bv[j] = B_VECTOR(j);
            vh bh = h_load(b + (v - 1) * t->b_panel);
            EACH(r, 0, m)
            {
                vf x = v_set(a[r][k]);
                EACH(j, 0, v - 1) acc[r][j] = v_fma(x, bv[j], acc[r][j]);
                tail[r] = h_fma(h_of(x), bh, tail[r]);
            }
            b += t->b_row;
        }
    }
    EACH(r, 0, m) acc[r][v - 1] = v_of_half(tail[r]);
}
#endif

/* What costs a few instructions is done while the tile is in registers. */
static bool is_costly(enum eml_act a)
{
    return a != EML_ACT_NONE && a != EML_ACT_RELU && a != EML_ACT_CLIP && a != EML_ACT_LEAKY_RELU &&
           a != EML_ACT_HARD_SWISH && a != EML_ACT_HARD_SIGMOID && a != EML_ACT_PRELU;
}

INLINE void activate_all(const struct eml_act_spec *s, vf (*acc)[TILE_V], const enum eml_act a,
                         const size_t m, const size_t v, vmask last)
{
    vf p0 = v_set(s->p[0]), p1 = v_set(s->p[1]);
    EACH(j, 0, v)
    {
        vf slope = p0;
        if (a == EML_ACT_PRELU)
            slope = j + 1 < v ? v_load(s->slope + j * VL) : v_load_first(s->slope + j * VL, last);
        EACH(r, 0, m) acc[r][j] = v_act(a, acc[r][j], p0, p1, slope);
    }
}

/* bias and residual, and the activations that are not costly. */
INLINE void finish(const struct eml_tile *t, vf (*acc)[TILE_V], const size_t m, const size_t v,
                   vmask last)
{
    const struct eml_epilogue *e = t->epilogue;
    if (e->bias) {
        vf bias[TILE_V];
        EACH(j, 0, v)
        bias[j] = j + 1 < v ? v_load(e->bias + j * VL) : v_load_first(e->bias + j * VL, last);
        EACH(r, 0, m)
        {
            EACH(j, 0, v) acc[r][j] = acc[r][j] + bias[j];
        }
    }
    if (e->residual) {
        EACH(r, 0, m)
        {
            const float *x = e->residual + r * e->residual_stride;
            EACH(j, 0, v)
            acc[r][j] =
                acc[r][j] + (j + 1 < v ? v_load(x + j * VL) : v_load_first(x + j * VL, last));
        }
    }
#define CASE(a)                                                                                    \
    case a:                                                                                        \
        activate_all(&e->act, acc, a, m, v, last);                                                 \
        break;
    switch (e->act.act) {
        CASE(EML_ACT_RELU)
        CASE(EML_ACT_CLIP)
        CASE(EML_ACT_LEAKY_RELU)
        CASE(EML_ACT_HARD_SWISH)
        CASE(EML_ACT_HARD_SIGMOID)
        CASE(EML_ACT_PRELU)
    default: /* none, or costly */
        break;
    }
#undef CASE
}

/* Asks for what the end of the tile reads and writes: it comes while the product is computed. */
INLINE void fetch(const struct eml_tile *t, const size_t m, const size_t v)
{
    const struct eml_epilogue *e = t->epilogue;
    EACH(r, 0, m)
    {
        EACH(j, 0, v) __builtin_prefetch(t->c + r * t->ldc + j * VL, 1);
    }
    if (e && e->residual) {
        EACH(r, 0, m)
        {
            EACH(j, 0, v) __builtin_prefetch(e->residual + r * e->residual_stride + j * VL, 0);
        }
    }
}

INLINE void tile(const struct eml_tile *t, const size_t m, const size_t v, const bool half,
                 const bool pairs)
{
    vf acc[TILE_M][TILE_V];
    vmask last = v_first(t->n - (v - 1) * VL);
    fetch(t, m, v);
    if (t->accumulate) {
        EACH(r, 0, m)
        {
            const float *c = t->c + r * t->ldc;
            EACH(j, 0, v)
            acc[r][j] = j + 1 < v ? v_load(c + j * VL) : v_load_first(c + j * VL, last);
        }
    } else {
        EACH(r, 0, m)
        {
            EACH(j, 0, v) acc[r][j] = v_set(0.0F);
        }
    }
#ifdef SIMD_HALF
    if (half)
        accumulate_half(t, acc, m, v);
    else
#else
    (void)half;
#endif
        accumulate(t, acc, m, v, pairs);
    if (t->epilogue)
        finish(t, acc, m, v, last);
    EACH(r, 0, m)
    {
        float *c = t->c + r * t->ldc;
        EACH(j, 0, v - 1) v_store(c + j * VL, acc[r][j]);
        v_store_first(c + (v - 1) * VL, last, acc[r][v - 1]);
    }
    /* the tile is still in the first-level cache: a second pass costs little beside exp or erf */
    if (t->epilogue && is_costly(t->epilogue->act.act))
        act_rows(t->c, t->c, t->n, t->m, t->ldc, &t->epilogue->act);
}

#define INSTANCE(m, v)                                                                             \
    static void tile_##m##_##v(const struct eml_tile *t)                                           \
    {                                                                                              \
        tile(t, m, v, false, false);                                                               \
    }
#define PAIR_INSTANCE(m, v)                                                                        \
    static void pair_##m##_##v(const struct eml_tile *t)                                           \
    {                                                                                              \
        tile(t, m, v, false, true);                                                                \
    }
#define HALF_INSTANCE(m, v)                                                                        \
    static void half_##m##_##v(const struct eml_tile *t)                                           \
    {                                                                                              \
        tile(t, m, v, true, false);                                                                \
    }

/* Bias, residual and the activations that are not costly, of `left` columns at offset j. */
INLINE vf finish_vector(vf x, const struct eml_epilogue *e, const float *residual, size_t j,
                        size_t left)
{
    if (e->bias)
        x = x + get(e->bias + j, left);
    if (residual)
        x = x + get(residual + j, left);
    vf p0 = v_set(e->act.p[0]), p1 = v_set(e->act.p[1]);
    switch (e->act.act) {
    case EML_ACT_RELU:
        return v_act(EML_ACT_RELU, x, p0, p1, x);
    case EML_ACT_CLIP:
        return v_act(EML_ACT_CLIP, x, p0, p1, x);
    case EML_ACT_LEAKY_RELU:
        return v_act(EML_ACT_LEAKY_RELU, x, p0, p1, x);
    case EML_ACT_HARD_SWISH:
        return v_act(EML_ACT_HARD_SWISH, x, p0, p1, x);
    case EML_ACT_HARD_SIGMOID:
        return v_act(EML_ACT_HARD_SIGMOID, x, p0, p1, x);
    case EML_ACT_PRELU:
        return v_act(EML_ACT_PRELU, x, p0, p1, get(e->act.slope + j, left));
    default: /* none, or costly */
        return x;
    }
}

enum { TAPS_UNROLLED = 9 };

INLINE void depthwise_store(const struct eml_depthwise *d, size_t p, size_t j, size_t left, vf v)
{
    const struct eml_epilogue *e = d->epilogue;
    const float *residual = e->residual ? e->residual + p * e->residual_stride : NULL;
    put(d->y + p * d->ldy + j, left, finish_vector(v, e, residual, j, left));
}

/* The lines of a 3 x 3 window if its three taps follow each other at one distance: then three
 * addresses stay in registers rather than nine. */
struct lines {
    const float *x[3];
    size_t step[3]; /* floats */
};

static bool are_lines(const struct eml_depthwise *d, struct lines *l)
{
    for (size_t i = 0; i < 3; i++) {
        uintptr_t a = (uintptr_t)d->x[3 * i], b = (uintptr_t)d->x[3 * i + 1],
                  c = (uintptr_t)d->x[3 * i + 2];
        if (b < a || c - b != b - a)
            return false;
        l->x[i] = d->x[3 * i];
        l->step[i] = (b - a) / sizeof(float);
    }
    return true;
}

/* A vector of channels at j, of a window of lines: nothing is read anew that does not depend on the
 * pixel. a: the epilogue's activation, one that is not costly and has no slope. */
INLINE void depthwise_lines(const struct eml_depthwise *d, const struct lines *l, size_t j,
                            const enum eml_act a)
{
    const struct eml_epilogue *e = d->epilogue;
    const vf p0 = v_set(e->act.p[0]), p1 = v_set(e->act.p[1]);
    const vf bias = e->bias ? v_load(e->bias + j) : v_set(0.0F);
    const size_t pixels = d->pixels, step = d->x_step, ldy = d->ldy;
    const size_t e0 = l->step[0], e1 = l->step[1], e2 = l->step[2], er = e->residual_stride;
    const float *x0 = l->x[0] + j, *x1 = l->x[1] + j, *x2 = l->x[2] + j;
    const float *residual = e->residual ? e->residual + j : NULL;
    float *y = d->y + j;
    vf w[TAPS_UNROLLED];
    EACH(t, 0, TAPS_UNROLLED) w[t] = v_load(d->w + t * d->w_stride + j);
    for (size_t p = 0; p < pixels; p++) {
        vf s[3];
        EACH(t, 0, 3) s[t] = v_load(x0 + t * e0) * w[t];
        EACH(t, 0, 3) s[t] = v_fma(v_load(x1 + t * e1), w[3 + t], s[t]);
        EACH(t, 0, 3) s[t] = v_fma(v_load(x2 + t * e2), w[6 + t], s[t]);
        vf v = s[0] + (s[1] + s[2]) + bias;
        if (residual)
            v = v + v_load(residual + p * er);
        v_store(y, v_act(a, v, p0, p1, v));
        x0 += step;
        x1 += step;
        x2 += step;
        y += ldy;
    }
}

/* One pixel, with taps anywhere: all full vectors of its channels. a as above. */
INLINE size_t depthwise_point(const struct eml_depthwise *d, const enum eml_act a)
{
    const struct eml_epilogue *e = d->epilogue;
    const vf p0 = v_set(e->act.p[0]), p1 = v_set(e->act.p[1]);
    const float *x[TAPS_UNROLLED], *bias = e->bias, *residual = e->residual;
    const float *w0 = d->w, *w1 = w0 + 3 * d->w_stride, *w2 = w1 + 3 * d->w_stride;
    const size_t w_stride = d->w_stride, c = d->c;
    float *y = d->y;
    size_t j = 0;
    EACH(t, 0, TAPS_UNROLLED) x[t] = d->x[t];
    for (; j + VL <= c; j += VL) {
        vf s[3];
        EACH(t, 0, 3) s[t] = v_load(x[t] + j) * v_load(w0 + t * w_stride + j);
        EACH(t, 0, 3) s[t] = v_fma(v_load(x[3 + t] + j), v_load(w1 + t * w_stride + j), s[t]);
        EACH(t, 0, 3) s[t] = v_fma(v_load(x[6 + t] + j), v_load(w2 + t * w_stride + j), s[t]);
        vf v = s[0] + (s[1] + s[2]);
        if (bias)
            v = v + v_load(bias + j);
        if (residual)
            v = v + v_load(residual + j);
        v_store(y + j, v_act(a, v, p0, p1, v));
    }
    return j;
}

INLINE size_t depthwise_full(const struct eml_depthwise *d, const struct lines *l,
                             const enum eml_act a)
{
    size_t j = 0;
    if (l == NULL)
        return depthwise_point(d, a);
    for (; j + VL <= d->c; j += VL)
        depthwise_lines(d, l, j, a);
    return j;
}

/* 3 x 3 windows: the full vectors of channels; returns how many channels are done. */
static size_t depthwise_3x3(const struct eml_depthwise *d)
{
    struct lines l;
    bool lines = d->taps == TAPS_UNROLLED && are_lines(d, &l);
    if (d->taps != TAPS_UNROLLED || (!lines && d->pixels != 1))
        return 0;
    switch (d->epilogue->act.act) {
    case EML_ACT_NONE:
        return depthwise_full(d, lines ? &l : NULL, EML_ACT_NONE);
    case EML_ACT_RELU:
        return depthwise_full(d, lines ? &l : NULL, EML_ACT_RELU);
    case EML_ACT_CLIP:
        return depthwise_full(d, lines ? &l : NULL, EML_ACT_CLIP);
    case EML_ACT_HARD_SWISH:
        return depthwise_full(d, lines ? &l : NULL, EML_ACT_HARD_SWISH);
    default:
        return 0;
    }
}

/* 3 x 3 windows else: weights and addresses of a vector of channels stay in registers over all
 * pixels. The order of summation is the same. */
INLINE void depthwise_9(const struct eml_depthwise *d, size_t j, size_t left)
{
    vf w[TAPS_UNROLLED];
    const float *x[TAPS_UNROLLED];
    EACH(t, 0, TAPS_UNROLLED)
    {
        w[t] = v_load(d->w + t * d->w_stride + j);
        x[t] = d->x[t] + j;
    }
    for (size_t p = 0; p < d->pixels; p++) {
        size_t at = p * d->x_step;
        vf s[3];
        EACH(t, 0, 3) s[t] = get(x[t] + at, left) * w[t];
        EACH(t, 3, TAPS_UNROLLED) s[t % 3] = v_fma(get(x[t] + at, left), w[t], s[t % 3]);
        depthwise_store(d, p, j, left, s[0] + (s[1] + s[2]));
    }
}

/* Any window: four pixels at a time share the weights. */
INLINE void depthwise_any(const struct eml_depthwise *d, size_t j, size_t left)
{
    size_t p = 0;
    for (; p + 4 <= d->pixels; p += 4) {
        vf s[4];
        EACH(i, 0, 4) s[i] = v_set(0.0F);
        for (size_t t = 0; t < d->taps; t++) {
            vf w = v_load(d->w + t * d->w_stride + j);
            const float *x = d->x[t] + p * d->x_step + j;
            EACH(i, 0, 4) s[i] = v_fma(get(x + i * d->x_step, left), w, s[i]);
        }
        EACH(i, 0, 4) depthwise_store(d, p + i, j, left, s[i]);
    }
    for (; p < d->pixels; p++) {
        vf s = v_set(0.0F);
        for (size_t t = 0; t < d->taps; t++)
            s = v_fma(get(d->x[t] + p * d->x_step + j, left), v_load(d->w + t * d->w_stride + j),
                      s);
        depthwise_store(d, p, j, left, s);
    }
}

INLINE void depthwise_vector(const struct eml_depthwise *d, size_t j, size_t left)
{
    if (d->taps == TAPS_UNROLLED)
        depthwise_9(d, j, left);
    else
        depthwise_any(d, j, left);
}

static void depthwise(const struct eml_depthwise *d)
{
    size_t j = depthwise_3x3(d);
    for (; j + VL <= d->c; j += VL)
        depthwise_vector(d, j, VL);
    if (j < d->c)
        depthwise_vector(d, j, d->c - j);
    enum eml_act a = d->epilogue->act.act;
    if (is_costly(a)) {
        for (size_t p = 0; p < d->pixels; p++)
            act(d->y + p * d->ldy, d->y + p * d->ldy, d->c, &d->epilogue->act);
    }
}

static void pool_max(float *y, const float *const *x, size_t taps, size_t c)
{
    for (size_t j = 0; j < c; j += VL) {
        size_t left = c - j;
        vf m = get(x[0] + j, left);
        for (size_t t = 1; t < taps; t++)
            m = max_nan(m, get(x[t] + j, left));
        put(y + j, left, m);
    }
}

static void pool_sum(float *y, const float *const *x, size_t taps, size_t c, float scale)
{
    for (size_t j = 0; j < c; j += VL) {
        size_t left = c - j;
        vf s = get(x[0] + j, left);
        for (size_t t = 1; t < taps; t++)
            s = s + get(x[t] + j, left);
        put(y + j, left, s * v_set(scale));
    }
}

#include "engine/kernels/simd_winograd.h"

#define SIMD_TABLE                                                                                 \
    .winograd_input = winograd_input, .winograd_weights = winograd_weights,                        \
    .winograd_output = winograd_output, .depthwise = depthwise, .pool_max = pool_max,              \
    .pool_sum = pool_sum,                                                                          \
    .unary = {[EML_UNARY_EXP] = unary_exp,   [EML_UNARY_ERF] = unary_erf,                          \
              [EML_UNARY_TANH] = unary_tanh, [EML_UNARY_SIGMOID] = unary_sigmoid,                  \
              [EML_UNARY_SQRT] = unary_sqrt, [EML_UNARY_RECIPROCAL] = unary_reciprocal,            \
              [EML_UNARY_NEG] = unary_neg,   [EML_UNARY_ABS] = unary_abs},                         \
    .binary = BINARY_ROW(binary), .binary_scalar = BINARY_ROW(scalar),                             \
    .binary_scalar_r = BINARY_ROW(scalar_r), .act = act, .softmax = softmax,                       \
    .log_softmax = log_softmax, .layer_norm = layer_norm, .affine = affine, .to_bf16 = to_bf16,    \
    .sum = sum, .sum_squares = sum_squares, .max = reduce_max, .min = reduce_min
#define BINARY_ROW(prefix)                                                                         \
    {                                                                                              \
        [EML_BINARY_ADD] = prefix##_add, [EML_BINARY_SUB] = prefix##_sub,                          \
        [EML_BINARY_MUL] = prefix##_mul, [EML_BINARY_DIV] = prefix##_div,                          \
        [EML_BINARY_MIN] = prefix##_min, [EML_BINARY_MAX] = prefix##_max                           \
    }

#endif
