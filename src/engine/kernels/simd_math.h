/* Element-wise functions on one vector, written in the words of simd_<isa>.h, which is included
 * before this file. Coefficients: minimax fits of ours (relative error below 1e-8 before rounding).
 */
#ifndef EML_ENGINE_KERNELS_SIMD_MATH_H
#define EML_ENGINE_KERNELS_SIMD_MATH_H

#include "engine/kernels/kernels.h"

#include <math.h>

/* e^x = 2^n * (1 + r + r^2 P(r)), n = round(x / ln 2), r = x - n ln 2 with ln 2 in two pieces. */
static inline vf v_exp(vf x)
{
    x = v_min(v_set(100.0F), v_max(v_set(-120.0F), x));
    vf n = v_round(x * v_set(1.44269504F));
    vf r = v_fma(n, v_set(-0.693359375F), x);
    r = v_fma(n, v_set(2.12194440e-4F), r);
    vf p = v_set(1.39505998e-3F);
    p = v_fma(p, r, v_set(8.36895406e-3F));
    p = v_fma(p, r, v_set(4.1666206e-2F));
    p = v_fma(p, r, v_set(1.66665182e-1F));
    p = v_fma(p, r, v_set(0.5F));
    p = v_fma(p, r * r, r) + v_set(1.0F);
    return v_scale2(p, n);
}

/* 2^f, |f| <= 0.5. */
static inline vf v_exp2_fraction(vf f)
{
    vf h = v_set(1.32764725e-3F);
    h = v_fma(h, f, v_set(9.67554096e-3F));
    h = v_fma(h, f, v_set(5.55071309e-2F));
    h = v_fma(h, f, v_set(2.40221202e-1F));
    h = v_fma(h, f, v_set(6.93146944e-1F));
    return v_fma(h, f, v_set(1.0F));
}

/* e^x = 2^(n + f) of x <= 0: |x| ulp of a result that is at most 1 are less than one of 1. */
static inline vf v_exp_negative(vf x)
{
    x = v_max(v_set(-120.0F), x);
    vf n = v_round(x * v_set(1.44269504F));
    return v_scale2(v_exp2_fraction(v_fma(x, v_set(1.44269504F), v_neg(n))), n);
}

/* Below 1: x + x P(x^2). Above: 1 - e^Q(|x|), Q the logarithm of erfc. */
static inline vf v_erf(vf x)
{
    vf s = x * x, t = v_min(v_set(4.0F), v_abs(x));
    vf p = v_set(7.85385782e-5F);
    p = v_fma(p, s, v_set(-8.01019254e-4F));
    p = v_fma(p, s, v_set(5.18832775e-3F));
    p = v_fma(p, s, v_set(-2.6853811e-2F));
    p = v_fma(p, s, v_set(1.12835854e-1F));
    p = v_fma(p, s, v_set(-3.7612626e-1F));
    p = v_fma(p, s, v_set(1.28379166e-1F));
    vf q = v_set(-2.16976387e-5F);
    q = v_fma(q, t, v_set(4.41472919e-4F));
    q = v_fma(q, t, v_set(-4.20528604e-3F));
    q = v_fma(q, t, v_set(2.52103414e-2F));
    q = v_fma(q, t, v_set(-1.08422101e-1F));
    q = v_fma(q, t, v_set(-6.33216381e-1F));
    q = v_fma(q, t, v_set(-1.12958026F));
    q = v_fma(q, t, v_set(1.88468e-4F));
    vf high = v_copysign(v_set(1.0F) - v_exp(q), x);
    return v_choose(v_less(v_set(1.0F), t), high, v_fma(x, p, x));
}

/* Below 0.55: x + x^3 P(x^2). Above: 1 - 2 / (e^2|x| + 1). */
static inline vf v_tanh(vf x)
{
    vf s = x * x, t = v_abs(x);
    vf p = v_set(-6.28246693e-3F);
    p = v_fma(p, s, v_set(2.1077754e-2F));
    p = v_fma(p, s, v_set(-5.38538583e-2F));
    p = v_fma(p, s, v_set(1.33326024e-1F));
    p = v_fma(p, s, v_set(-3.33333194e-1F));
    vf high = v_set(1.0F) - v_set(2.0F) / (v_exp(t + t) + v_set(1.0F));
    return v_choose(v_less(v_set(0.55F), t), v_copysign(high, x), v_fma(x * s, p, x));
}

/* x Phi(x) = max(x, 0) - |x| h, h = erfc(|x| / sqrt 2) / 2 = 2^P(|x|). P falls up to 10 and beyond:
 * there h is below 2^-60. The fits are of |x| h, which is what counts. */
static inline vf v_gelu(vf x)
{
    vf t = v_min(v_set(10.0F), v_abs(x)), p = v_set(4.27876739e-6F);
    p = v_fma(p, t, v_set(-1.27984704e-5F));
    p = v_fma(p, t, v_set(-5.75785059e-4F));
    p = v_fma(p, t, v_set(7.67078111e-3F));
    p = v_fma(p, t, v_set(-5.29485606e-2F));
    p = v_fma(p, t, v_set(-4.5904392e-1F));
    p = v_fma(p, t, v_set(-1.15112698F));
    p = v_fma(p, t, v_set(-1.0F));
    vf n = v_round(p), h = v_exp2_fraction(p - n);
    return v_fma(v_neg(t), v_scale2(h, n), v_max(v_set(0.0F), x));
}

static inline vf v_sigmoid(vf x)
{
    return v_set(1.0F) / (v_set(1.0F) + v_exp(v_neg(x)));
}

static inline vf v_clip(vf x, vf lo, vf hi)
{
    return v_min(hi, v_max(lo, x));
}

/* The activation of one vector; slope is read for PRELU only. Called with a constant `act`. */
static inline __attribute__((always_inline)) vf v_act(enum eml_act act, vf x, vf p0, vf p1,
                                                      vf slope)
{
    vf zero = v_set(0.0F), one = v_set(1.0F);
    switch (act) {
    case EML_ACT_RELU:
        return v_max(zero, x);
    case EML_ACT_CLIP:
        return v_clip(x, p0, p1);
    case EML_ACT_LEAKY_RELU:
        return v_choose(v_less(x, zero), x * p0, x);
    case EML_ACT_SIGMOID:
        return v_sigmoid(x);
    case EML_ACT_TANH:
        return v_tanh(x);
    case EML_ACT_HARD_SIGMOID:
        return v_clip(v_fma(x, p0, p1), zero, one);
    case EML_ACT_HARD_SWISH:
        return x * v_clip(v_fma(x, p0, p1), zero, one);
    case EML_ACT_GELU:
        return v_gelu(x);
    case EML_ACT_GELU_TANH: {
        /* (1 + tanh u) / 2 = 1 / (1 + e^-2u) */
        vf inner = x * v_fma(x * x, v_set(-0.0713548163F), v_set(-1.59576912F));
        return x / (one + v_exp(inner));
    }
    case EML_ACT_SILU:
        return x * v_sigmoid(x);
    case EML_ACT_PRELU:
        return v_choose(v_less(x, zero), x * slope, x);
    case EML_ACT_NONE:
    case EML_ACT_N:
        break;
    }
    return x;
}

#endif
