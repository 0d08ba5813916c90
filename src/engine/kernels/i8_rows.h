/* What all sets of integer kernels share: plain loops over whole panels, which each file's compiler
 * flags turn into its vectors. Included once by each of them. */
#ifndef EML_ENGINE_KERNELS_I8_ROWS_H
#define EML_ENGINE_KERNELS_I8_ROWS_H

#include "engine/kernels/i8.h"

#include <string.h>

/* Adding 1.5 * 2^23 to a number below 2^22 leaves it rounded half to even in the low bits. */
#define I8_MAGIC 12582912.0F

/* v = lo..hi, NaN = lo, both below 2^22 in size */
static inline int32_t round_within(float v, float lo, float hi)
{
    v = v > lo ? v : lo;
    v = v < hi ? v : hi;
    float sum = v + I8_MAGIC;
    return (int32_t)(sum - I8_MAGIC);
}

/* 16 columns: one vector of the widest set, several of the others. */
typedef int32_t i16x __attribute__((vector_size(64)));
typedef uint32_t u16x __attribute__((vector_size(64)));
typedef float f16x __attribute__((vector_size(64)));
typedef uint8_t b16x __attribute__((vector_size(16)));

#define I8_LOAD(to, from) memcpy(&(to), from, sizeof(to))

/* The first n of 16 elements of `width` bytes. */
static inline void store(void *to, const void *from, size_t n, size_t width)
{
    if (n == EML_I8_PANEL)
        memcpy(to, from, EML_I8_PANEL * width);
    else
        memcpy(to, from, n * width);
}

/* *x where it is above (below) the limit, else the limit; NaN becomes the limit */
static inline void at_least(f16x *x, float limit)
{
    const f16x l = (f16x){0} + limit;
    const i16x keep = *x > l;
    *x = (f16x)(((i16x)*x & keep) | ((i16x)l & ~keep));
}

static inline void at_most(f16x *x, float limit)
{
    const f16x l = (f16x){0} + limit;
    const i16x keep = *x < l;
    *x = (f16x)(((i16x)*x & keep) | ((i16x)l & ~keep));
}

static inline void store_float(const struct eml_i8_finish *f, const u16x *v, size_t row,
                               size_t column, size_t n)
{
    f16x scale, s = __builtin_convertvector((i16x)*v, f16x);
    I8_LOAD(scale, f->b_scale + column);
    s *= scale * f->a_scale[row * f->a_scale_step];
    if (f->bias_f) {
        f16x bias;
        I8_LOAD(bias, f->bias_f + column);
        s += bias;
    }
    store((float *)f->y + row * f->ldy + column, &s, n, sizeof(float));
}

static inline void store_bytes(const struct eml_i8_finish *f, const u16x *v, size_t row,
                               size_t column, size_t n)
{
    const int32_t lo = f->dtype == EML_DT_I8 ? -128 : 0, hi = lo + 255;
    f16x scale, s = __builtin_convertvector((i16x)*v, f16x);
    I8_LOAD(scale, f->b_scale + column);
    s *= scale;
    at_least(&s, (float)(lo - f->y_zero));
    at_most(&s, (float)(hi - f->y_zero));
    s = (s + I8_MAGIC) - I8_MAGIC;
    const i16x r = __builtin_convertvector(s, i16x) + f->y_zero;
    const b16x bytes = __builtin_convertvector(r, b16x);
    store((uint8_t *)f->y + row * f->ldy + column, &bytes, n, 1);
}

/* The sums of one row in one panel, corrected and stored. */
static inline void finish_panel(const struct eml_i8_finish *f, const struct eml_i8_piece *p,
                                const int32_t *sums, size_t r, size_t q, uint32_t rest)
{
    const size_t row = p->row + r, at = q * EML_I8_PANEL, column = p->column + at;
    const size_t n = p->n - at < EML_I8_PANEL ? p->n - at : EML_I8_PANEL;
    u16x v, more;
    I8_LOAD(v, sums);
    I8_LOAD(more, p->b + ((q + 1) * (p->groups + 1) - 1) * 64);
    v -= more * (uint32_t)f->a_zero[row * f->a_step];
    if (f->b_zero) {
        I8_LOAD(more, f->b_zero + column);
        v -= more * rest;
    }
    if (f->bias_i) {
        I8_LOAD(more, f->bias_i + column);
        v += more;
    }
    if (f->dtype == EML_DT_I32)
        store((int32_t *)f->y + row * f->ldy + column, &v, n, sizeof(int32_t));
    else if (f->dtype == EML_DT_F32)
        store_float(f, &v, row, column, n);
    else
        store_bytes(f, &v, row, column, n);
}

static void finish(const struct eml_i8_finish *f, const struct eml_i8_piece *p)
{
    const size_t panels = (p->n + EML_I8_PANEL - 1) / EML_I8_PANEL;
    for (size_t r = 0; r < p->m; r++) {
        const uint32_t a_zero = (uint32_t)f->a_zero[(p->row + r) * f->a_step];
        const uint32_t rest = (uint32_t)p->row_sums[r] - a_zero * (uint32_t)(uint64_t)f->k;
        for (size_t q = 0; q < panels; q++)
            finish_panel(f, p, p->sums + (r * panels + q) * EML_I8_PANEL, r, q, rest);
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
