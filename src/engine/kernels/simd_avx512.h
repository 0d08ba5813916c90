/* Vectors of 16 floats: the words in which simd_kernels.h is written. Compiled only with the flags
 * of AVX-512 F, VL, DQ and BW. */
#ifndef EML_ENGINE_KERNELS_SIMD_AVX512_H
#define EML_ENGINE_KERNELS_SIMD_AVX512_H

#include <immintrin.h>
#include <stddef.h>

enum { VL = 16, TILE_M = 8, TILE_V = 3 };
typedef __m512 vf;
typedef __mmask16 vmask;

static inline vf v_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline vf v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void v_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}
/* The first n lanes, 0 <= n <= VL. */
static inline vmask v_first(size_t n)
{
    return (vmask)((1U << n) - 1U);
}
static inline vf v_load_first(const float *p, vmask m)
{
    return _mm512_maskz_loadu_ps(m, p);
}
static inline void v_store_first(float *p, vmask m, vf v)
{
    _mm512_mask_storeu_ps(p, m, v);
}
static inline vf v_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
/* If either is NaN: b. */
static inline vf v_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
static inline vf v_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
static inline vf v_abs(vf a)
{
    return _mm512_abs_ps(a);
}
static inline vf v_sqrt(vf a)
{
    return _mm512_sqrt_ps(a);
}
static inline vf v_neg(vf a)
{
    return _mm512_xor_ps(a, _mm512_set1_ps(-0.0F));
}
/* |a| with the sign of b. */
static inline vf v_copysign(vf a, vf b)
{
    vf sign = _mm512_set1_ps(-0.0F);
    return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b));
}
static inline vf v_round(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a * 2^n, n integral, |n| <= 300. */
static inline vf v_scale2(vf a, vf n)
{
    return _mm512_scalef_ps(a, n);
}
static inline vmask v_less(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
static inline vmask v_unordered(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q);
}
static inline vf v_choose(vmask m, vf yes, vf no)
{
    return _mm512_mask_blend_ps(m, no, yes);
}
static inline float v_sum(vf a)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

/* No lane is NaN. */
static inline float v_max_across(vf a)
{
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

/* Half a vector, for tiles whose last 8 columns would be padding: its operations cost half on CPUs
 * that split 512-bit ones. */
#define SIMD_HALF
typedef __m256 vh;

static inline vh h_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline vh h_fma(vh a, vh b, vh c)
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline vh h_of(vf a)
{
    return _mm512_castps512_ps256(a);
}
/* The upper half is 0. */
static inline vf v_of_half(vh a)
{
    return _mm512_insertf32x8(_mm512_setzero_ps(), a, 0);
}

/* c + a.low * b.low + a.high * b.high of pairs of bfloat16. */
static inline vf v_dot2(vf a, vf b, vf c)
{
#ifdef __AVX512BF16__
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
#else
    __m512i ai = _mm512_castps_si512(a), bi = _mm512_castps_si512(b);
    vf high = _mm512_castsi512_ps(_mm512_set1_epi32((int)0xFFFF0000u));
    c = v_fma(_mm512_castsi512_ps(_mm512_slli_epi32(ai, 16)),
              _mm512_castsi512_ps(_mm512_slli_epi32(bi, 16)), c);
    return v_fma(_mm512_and_ps(a, high), _mm512_and_ps(b, high), c);
#endif
}

#endif
