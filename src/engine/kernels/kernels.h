/* The kernels: one table of functions per instruction set, chosen once by the planner.
 *
 * Lowest layer of the engine: pointers and lengths in floats, no allocation, no error, no thread.
 * `ref` is plain C and the yardstick of the tests; `avx2` and `avx512` live in files compiled with
 * their own flags and are handed out only if CPU and system have the instruction set. Results of
 * one set do not depend on how callers split rows, columns or lengths among threads, as long as
 * they split at the multiples named below; sets differ from each other within a few ulp of the
 * sums.
 *
 * Vector functions (exp, erf, tanh, ...) err by less than about 2e-7 relative to the result or 1e-7
 * absolute, whichever is larger, keep NaN, and saturate where libm does. y may equal x in all
 * element-wise functions. No pointer needs to be aligned. n may be 0.
 */
#ifndef EML_ENGINE_KERNELS_KERNELS_H
#define EML_ENGINE_KERNELS_KERNELS_H

#include "engine/engine.h"

/* An activation with its numbers. slope: PRELU only, one per column. */
struct eml_act_spec {
    enum eml_act act;
    float p[2];
    const float *slope;
};

/* What happens to a finished tile of a product, in this order: + bias[column], + residual, act. */
struct eml_epilogue {
    const float *bias;      /* [n] or NULL */
    const float *residual;  /* rows as c's, or NULL; may be c itself */
    size_t residual_stride; /* floats between residual rows; 0 repeats one row */
    struct eml_act_spec act;
};

/* One tile of c = a * b + epilogue.
 * c: m rows of n columns, ldc apart; 1 <= m <= mr, 1 <= n <= nr, K = n_blocks * block.
 * a: by indirection: row r of K-block q starts at rows[q*m + r] and has `block` contiguous floats.
 * b: panel p (16 columns) of row k at b + p*b_panel + k*b_row: packed panels have b_row 16 and
 *    b_panel 16*K; a row-major matrix whose n is a multiple of 16 has b_row ldb and b_panel 16.
 * accumulate: the sum starts from what c holds (a previous range of K) instead of 0.
 * epilogue: NULL for none (all but the last range of K). Pointers are those of this tile.
 * soon: memory that a later tile reads, asked for while this one is computed: soon_step floats for
 *    each row of b. A hint that full tiles follow: NULL for none, and nothing is read.
 * K may be 0. The order of summation is the same for every m, n and cut into blocks. */
struct eml_tile {
    float *c;
    size_t ldc, m, n;
    const float *const *rows;
    size_t n_blocks, block;
    const float *b;
    size_t b_row, b_panel;
    bool accumulate;
    const struct eml_epilogue *epilogue;
    const float *soon;
    size_t soon_step;
};

/* A run of output pixels of a depthwise convolution: for each pixel p and channel j < c
 * y[p*ldy + j] = sum over t of x[t][p*x_step + j] * w[t*w_stride + j], then the epilogue (residual
 * row p at p*residual_stride). Taps in the padding point at zeros. w_stride is c rounded up to 16
 * and w is padded to it (EML_LAYOUT_DEPTHWISE). epilogue is not NULL. */
struct eml_depthwise {
    float *y;
    size_t ldy, pixels, taps, c;
    const float *const *x; /* [taps]: what the first pixel sees */
    size_t x_step;
    const float *w;
    size_t w_stride;
    const struct eml_epilogue *epilogue;
};

/* A tile of 4 x 4 pixels of a Winograd convolution: the 36 products of its channel j are at
 * m[f*m_step + j]. Writes the first `rows` x `columns` pixels, y_row and y_pixel floats apart, c
 * channels each, and finishes them (epilogue->residual is laid out as y). */
struct eml_winograd_tile {
    float *y;
    size_t y_row, y_pixel, rows, columns, c;
    const float *m;
    size_t m_step;
    const struct eml_epilogue *epilogue;
};

enum eml_unary {
    EML_UNARY_EXP,
    EML_UNARY_ERF,
    EML_UNARY_TANH,
    EML_UNARY_SIGMOID,
    EML_UNARY_SQRT,
    EML_UNARY_RECIPROCAL,
    EML_UNARY_NEG,
    EML_UNARY_ABS,
    EML_UNARY_N
};

enum eml_binary {
    EML_BINARY_ADD,
    EML_BINARY_SUB,
    EML_BINARY_MUL,
    EML_BINARY_DIV,
    EML_BINARY_MIN, /* NaN if either is NaN */
    EML_BINARY_MAX,
    EML_BINARY_N
};

typedef void eml_unary_fn(float *y, const float *x, size_t n);
typedef void eml_binary_fn(float *y, const float *a, const float *b, size_t n);
typedef void eml_scalar_fn(float *y, const float *a, float b, size_t n);

struct eml_kernels {
    enum eml_isa isa;
    size_t mr, nr; /* largest tile; nr is a multiple of 16 */

    void (*gemm_tile)(const struct eml_tile *t);

    /* The same of bfloat16, two by two: an element of a and b is a pair of numbers (the first in
     * the lower half), a product of elements the sum of two products. Sums are of float32; whether
     * the two are rounded one by one and whether denormals count is the CPU's affair. */
    void (*gemm_tile_bf16)(const struct eml_tile *t);

    void (*depthwise)(const struct eml_depthwise *d);

    /* Winograd's F(4x4, 3x3): y = A^T ((G w G^T) . (B^T x B)) A by channel, where the product sums
     * over input channels: 36 matrix products. NULL, all three, if the set has none.
     * input: v[f*v_step + j] of the 6 x 6 pixels x[row*6 + column], c channels each.
     * weights: u[f*u_step + j] of w[(row*3 + column)*w_step + j]; n a multiple of 16. */
    void (*winograd_input)(float *v, size_t v_step, const float *const *x, size_t c);
    void (*winograd_weights)(float *u, size_t u_step, const float *w, size_t w_step, size_t n);
    void (*winograd_output)(const struct eml_winograd_tile *t);

    /* Pooling of one output pixel: y[j] = max or sum over t of x[t][j]; taps >= 1, all valid. NaN
     * propagates in max. `scale` multiplies the sum. */
    void (*pool_max)(float *y, const float *const *x, size_t taps, size_t c);
    void (*pool_sum)(float *y, const float *const *x, size_t taps, size_t c, float scale);

    eml_unary_fn *unary[EML_UNARY_N];
    eml_binary_fn *binary[EML_BINARY_N];          /* y = a[i] op b[i] */
    eml_scalar_fn *binary_scalar[EML_BINARY_N];   /* y = a[i] op b */
    eml_scalar_fn *binary_scalar_r[EML_BINARY_N]; /* y = b op a[i] */

    /* y = act(x); slope, if used, has n elements (one row of channels). */
    void (*act)(float *y, const float *x, size_t n, const struct eml_act_spec *act);
    /* y = e^x / sum of e^x by row, `rows` rows of n, ld apart; n >= 1; y may equal x. */
    void (*softmax)(float *y, const float *x, size_t n, size_t rows, size_t ld);
    /* One row each; n >= 1; y may equal x. Sums are of fixed order. */
    void (*log_softmax)(float *y, const float *x, size_t n);
    /* y = (x - mean) / sqrt(var + eps) * scale + bias; scale and bias [n], bias may be NULL. */
    void (*layer_norm)(float *y, const float *x, size_t n, const float *scale, const float *bias,
                       float eps);
    /* y[i] = x[i] rounded to bfloat16 (engine/bf16.h) */
    void (*to_bf16)(uint16_t *y, const float *x, size_t n);
    /* y[i] = x[i] * a[i] + b[i] */
    void (*affine)(float *y, const float *x, const float *a, const float *b, size_t n);
    float (*sum)(const float *x, size_t n);
    float (*sum_squares)(const float *x, size_t n);
    float (*max)(const float *x, size_t n); /* -inf for n = 0; NaN if any is NaN */
    float (*min)(const float *x, size_t n); /* +inf for n = 0 */
};

/* Never NULL: the best set that is not above `isa`. EML_ISA_AUTO: the CPU's best. */
const struct eml_kernels *eml_kernels_for(enum eml_isa isa);

/* The sets themselves, for eml_kernels_for only: calling one the CPU lacks is undefined. */
extern const struct eml_kernels eml_kernels_ref, eml_kernels_avx2, eml_kernels_avx512,
    eml_kernels_avx512_bf16;

#endif
