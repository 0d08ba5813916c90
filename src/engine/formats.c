#include "engine/formats.h"

#include <math.h>
#include <string.h>

struct format {
    uint8_t bits, fraction, bias;
    bool fnuz, saturates;
    uint16_t max, over, nan; /* largest finite; what lies beyond it; NaN: without sign */
};

static const struct format FORMATS[] = {
    [EML_DT_F16] = {16, 10, 15, false, false, 0x7bff, 0x7c00, 0x7e00},
    [EML_DT_BF16] = {16, 7, 127, false, false, 0x7f7f, 0x7f80, 0x7fc0},
    [EML_DT_F8E4M3FN] = {8, 3, 7, false, true, 0x7e, 0x7f, 0x7f},
    [EML_DT_F8E4M3FNUZ] = {8, 3, 8, true, true, 0x7f, 0x80, 0x80},
    [EML_DT_F8E5M2] = {8, 2, 15, false, true, 0x7b, 0x7c, 0x7f},
    [EML_DT_F8E5M2FNUZ] = {8, 2, 16, true, true, 0x7f, 0x80, 0x80},
};

bool eml_format_is(enum eml_dtype t)
{
    return (size_t)t < sizeof FORMATS / sizeof FORMATS[0] && FORMATS[t].bits != 0;
}

double eml_format_decode(enum eml_dtype t, uint16_t bits)
{
    const struct format *f = &FORMATS[t];
    uint16_t sign = (uint16_t)(1u << (f->bits - 1)), size = bits & (uint16_t)(sign - 1);
    if (f->fnuz ? bits == f->nan : size > f->max)
        return f->over != f->nan && size == f->over ? (bits & sign ? -INFINITY : INFINITY)
                                                    : (double)NAN;
    int exponent = size >> f->fraction, one = 1 << f->fraction;
    int digits = (size & (one - 1)) | (exponent > 0 ? one : 0);
    double v = ldexp(digits, (exponent > 0 ? exponent : 1) - f->bias - f->fraction);
    return bits & sign ? -v : v;
}

uint16_t eml_format_encode(enum eml_dtype t, double v, bool saturate)
{
    const struct format *f = &FORMATS[t];
    uint16_t sign = (uint16_t)(signbit(v) ? 1u << (f->bits - 1) : 0u);
    double a = fabs(v);
    uint32_t size;
    saturate = saturate && f->saturates;
    if (isnan(v)) {
        size = f->nan;
    } else if (isinf(v)) {
        size = saturate ? f->max : f->over;
    } else {
        int low = 1 - f->bias, e = a == 0 ? low : ilogb(a);
        e = e < low ? low : e > f->bias + 2 ? f->bias + 2 : e;
        /* A carry out of the digits goes into the exponent, as it should. */
        double digits = rint(ldexp(a, f->fraction - e));
        double all = digits + ldexp(e - low, f->fraction);
        size = all <= f->max ? (uint32_t)all : saturate ? f->max : f->over;
    }
    if (f->fnuz && (size == 0 || size == f->nan))
        sign = 0;
    return (uint16_t)(size | sign);
}

static uint32_t bits_of(float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float v;
    memcpy(&v, &u, sizeof v);
    return v;
}

/* Shifting the digits into place leaves an exponent that is 112 too small, also for subnormals. */
static float f16_to_f32(uint16_t h)
{
    uint32_t size = (uint32_t)(h & 0x7fff) << 13;
    uint32_t u = size >= 0x0f800000 ? size | 0x7f800000 : bits_of(float_of(size) * 0x1p112f);
    return float_of(u | (uint32_t)(h & 0x8000) << 16);
}

static uint16_t f16_from_f32(float v)
{
    uint32_t u = bits_of(v), size = u & 0x7fffffff;
    /* 0.5 has the spacing of float16's subnormals in its last digit: adding it rounds. */
    uint32_t low = bits_of(float_of(size) + 0.5f) - 0x3f000000;
    uint32_t high = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
    uint32_t r = size < 0x38800000 ? low : size >= 0x477ff000 ? 0x7c00 : high;
    r = size > 0x7f800000 ? 0x7e00 : r;
    return (uint16_t)(r | (u >> 16 & 0x8000));
}

static uint16_t bf16_from_f32(float v)
{
    uint32_t u = bits_of(v), r = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? 0x7fc0 | (u >> 16 & 0x8000) : r);
}

void eml_halves_to_f32(enum eml_dtype t, float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = t == EML_DT_F16 ? f16_to_f32(x[i]) : float_of((uint32_t)x[i] << 16);
}

void eml_halves_from_f32(enum eml_dtype t, uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = t == EML_DT_F16 ? f16_from_f32(x[i]) : bf16_from_f32(x[i]);
}
