/* What all sets of integer kernels share: plain loops over whole panels, which each file's compiler
 * flags turn into its vectors. Included once by each of them. */
#ifndef EML_ENGINE_KERNELS_I8_ROWS_H
#define EML_ENGINE_KERNELS_I8_ROWS_H

#include "engine/kernels/i8.h"

#include <string.h>

/* Adding 1.5 * 2^23 to a number below 2^22 leaves it rounded half to even in the low bits. */
#define I8_MAGIC 12582912.0F
#define I8_ROUNDABLE 4194303.0F

/* v = lo..hi, NaN = lo, both below 2^22 in size */
static inline int32_t round_within(float v, float lo, float hi)
{
    v = v > lo ? v : lo;
    v = v < hi ? v : hi;
    float sum = v + I8_MAGIC;
    return (int32_t)(sum - I8_MAGIC);
}

/* int32 arithmetic that wraps */
static inline int32_t wrap_add(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

static inline int32_t wrap_mul(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a * (uint32_t)b);
}

static inline void store_bytes(uint8_t *y, const int32_t *v, size_t n)
{
    uint8_t bytes[EML_I8_PANEL];
    for (size_t j = 0; j < EML_I8_PANEL; j++)
        bytes[j] = (uint8_t)v[j];
    memcpy(y, bytes, n);
}

static inline void finish_row(const struct eml_i8_finish *f, int32_t v[EML_I8_PANEL], size_t row,
                              size_t column, size_t n)
{
    float s[EML_I8_PANEL];
    const size_t at = row * f->ldy + column;
    if (f->bias_i)
        for (size_t j = 0; j < EML_I8_PANEL; j++)
            v[j] = wrap_add(v[j], f->bias_i[column + j]);
    if (f->dtype == EML_DT_I32) {
        memcpy((int32_t *)f->y + at, v, n * sizeof *v);
        return;
    }
    if (f->dtype == EML_DT_F32) {
        const float a_scale = f->a_scale[row * f->a_scale_step];
        for (size_t j = 0; j < EML_I8_PANEL; j++)
            s[j] = (float)v[j] * (a_scale * f->b_scale[column + j]);
        if (f->bias_f)
            for (size_t j = 0; j < EML_I8_PANEL; j++)
                s[j] += f->bias_f[column + j];
        memcpy((float *)f->y + at, s, n * sizeof *s);
        return;
    }
    const bool is_signed = f->dtype == EML_DT_I8;
    const int32_t lo = is_signed ? -128 : 0, hi = lo + 255;
    for (size_t j = 0; j < EML_I8_PANEL; j++)
        v[j] = f->y_zero + round_within((float)v[j] * f->b_scale[column + j],
                                        (float)(lo - f->y_zero), (float)(hi - f->y_zero));
    store_bytes((uint8_t *)f->y + at, v, n);
}

static void finish(const struct eml_i8_finish *f, const struct eml_i8_piece *p)
{
    const size_t panels = (p->n + EML_I8_PANEL - 1) / EML_I8_PANEL;
    for (size_t r = 0; r < p->m; r++) {
        const int32_t a_zero = f->a_zero[(p->row + r) * f->a_step];
        const int32_t rest =
            wrap_add(p->row_sums[r], wrap_mul(-a_zero, (int32_t)(uint32_t)(uint64_t)f->k));
        for (size_t q = 0; q < panels; q++) {
            const size_t column = p->column + q * EML_I8_PANEL, left = p->n - q * EML_I8_PANEL;
            const int32_t *sums = p->sums + (r * panels + q) * EML_I8_PANEL;
            int32_t v[EML_I8_PANEL], of_column[EML_I8_PANEL];
            memcpy(of_column, p->b + ((q + 1) * (p->groups + 1) - 1) * 64, sizeof of_column);
            for (size_t j = 0; j < EML_I8_PANEL; j++)
                v[j] = wrap_add(sums[j], wrap_mul(-a_zero, of_column[j]));
            if (f->b_zero)
                for (size_t j = 0; j < EML_I8_PANEL; j++)
                    v[j] = wrap_add(v[j], wrap_mul(-f->b_zero[column + j], rest));
            finish_row(f, v, p->row + r, column, left < EML_I8_PANEL ? left : EML_I8_PANEL);
        }
    }
}

static void quantize(uint8_t *y, const float *x, size_t n, float scale, int32_t zero, int32_t lo,
                     int32_t hi)
{
    const float low = (float)(lo - zero), high = (float)(hi - zero);
    for (size_t i = 0; i < n; i++)
        y[i] = (uint8_t)(zero + round_within(x[i] / scale, low, high));
}

static int32_t row_sum(const uint8_t *x, size_t n)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return (int32_t)sum;
}

/* Lanes of their own, so that the loop needs no reordering to be vectorised. */
static void range(const float *x, size_t n, float *min, float *max)
{
    enum { LANES = 32 };
    float lo[LANES], hi[LANES];
    for (size_t j = 0; j < LANES; j++) {
        lo[j] = *min;
        hi[j] = *max;
    }
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            lo[j] = x[i + j] < lo[j] ? x[i + j] : lo[j];
            hi[j] = x[i + j] > hi[j] ? x[i + j] : hi[j];
        }
    for (size_t j = 0; i < n; i++, j++) {
        lo[j] = x[i] < lo[j] ? x[i] : lo[j];
        hi[j] = x[i] > hi[j] ? x[i] : hi[j];
    }
    for (size_t j = 0; j < LANES; j++) {
        *min = lo[j] < *min ? lo[j] : *min;
        *max = hi[j] > *max ? hi[j] : *max;
    }
}

#define I8_ROWS .finish = finish, .quantize = quantize, .row_sum = row_sum, .range = range

#endif
