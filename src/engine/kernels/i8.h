/* Integer kernels: products of bytes, exact in int32 (sums wrap), the same on every instruction
 * set.
 *
 * Left operands are unsigned bytes, right ones signed: other types are shifted by 128 (the top bit
 * turned over) together with their zero points. Rows of a are padded with zeros to `groups` groups
 * of 4; b lies in panels of 16 columns (EML_LAYOUT_PANEL16_I8, model/graph.h): panel p at
 * b + p * (groups + 1) * 64 holds for each group 16 columns of 4 consecutive rows, then 16 int32,
 * the sums of its columns. Rounding is half to even.
 */
#ifndef EML_ENGINE_KERNELS_I8_H
#define EML_ENGINE_KERNELS_I8_H

#include "engine/engine.h"

enum { EML_I8_PANEL = 16, EML_I8_MR = 8, EML_I8_PANELS = 3 };

/* sums[r * 16 * panels + j] = sum over k of a[r][k] * b[k][j], 1 <= m <= mr, 1 <= panels <= max. */
struct eml_i8_tile {
    int32_t *sums;
    size_t m, panels, groups;
    const uint8_t *a; /* rows of 4 * groups bytes */
    const int8_t *b;
};

/* What becomes of the sums of row r, column j:
 *   v = sum - a_zero[r] * column sum - b_zero[j] * (row sum[r] - K a_zero[r]) + bias_i[j]
 *   I32: y = v;  F32: y = v * (a_scale[r] * b_scale[j]) + bias_f[j];
 *   U8, I8: y = clamp(round(v * b_scale[j]) + y_zero), b_scale holding all three scales.
 * Vectors of columns are padded to whole panels; those that are NULL count as 0. */
struct eml_i8_finish {
    enum eml_dtype dtype; /* of y: I32, F32, U8, I8 */
    void *y;              /* element [0, 0] of the product */
    size_t ldy;
    int64_t k;
    const int32_t *a_zero; /* [1], or per row if a_step is 1 */
    const float *a_scale;
    size_t a_step, a_scale_step;
    const int32_t *b_zero, *bias_i;
    const float *b_scale, *bias_f;
    int32_t y_zero;
};

/* Rows [row, row + m) and columns from `column` (a multiple of 16) of a tile's sums. */
struct eml_i8_piece {
    const int32_t *sums;
    const int32_t *row_sums; /* [m] */
    const int8_t *b;         /* the panels, for their column sums */
    size_t row, m, column, n, groups;
};

struct eml_i8_kernels {
    size_t mr, panels;
    void (*tile)(const struct eml_i8_tile *t);
    void (*finish)(const struct eml_i8_finish *f, const struct eml_i8_piece *p);
    /* y = clamp(round(x / scale) + zero), to [lo, hi] within int8 or uint8: the low byte is stored;
     * NaN becomes lo. zero is within [lo, hi]. */
    void (*quantize)(uint8_t *y, const float *x, size_t n, float scale, int32_t zero, int32_t lo,
                     int32_t hi);
    int32_t (*row_sum)(const uint8_t *x, size_t n);
    void (*range)(const float *x, size_t n, float *min, float *max); /* widens; NaN ignored */
};

/* Never NULL: the best that the CPU has, not above `isa`. */
const struct eml_i8_kernels *eml_i8_kernels_for(enum eml_isa isa);

extern const struct eml_i8_kernels eml_i8_kernels_ref, eml_i8_kernels_avx2, eml_i8_kernels_avx512;

#endif
