/* Vectors of 8 floats: the words in which simd_kernels.h is written. Compiled only with the flags
 * of AVX2 and FMA. */
#ifndef EML_ENGINE_KERNELS_SIMD_AVX2_H
#define EML_ENGINE_KERNELS_SIMD_AVX2_H

#include <immintrin.h>
#include <stddef.h>

enum { VL = 8, TILE_M = 6, TILE_V = 2 };
typedef __m256 vf;
typedef __m256i vmask;

static inline vf v_set(float x)
{
    return _mm256_set1_ps(x);
}
static inline vf v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline void v_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v);
}
/* The first n lanes, 0 <= n <= VL. */
static inline vmask v_first(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vf v_load_first(const float *p, vmask m)
{
    return _mm256_maskload_ps(p, m);
}
static inline void v_store_first(float *p, vmask m, vf v)
{
    _mm256_maskstore_ps(p, m, v);
}
static inline vf v_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
/* If either is NaN: b. */
static inline vf v_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
static inline vf v_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
static inline vf v_abs(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a);
}
static inline vf v_sqrt(vf a)
{
    return _mm256_sqrt_ps(a);
}
static inline vf v_neg(vf a)
{
    return _mm256_xor_ps(a, _mm256_set1_ps(-0.0F));
}
/* |a| with the sign of b. */
static inline vf v_copysign(vf a, vf b)
{
    vf sign = _mm256_set1_ps(-0.0F);
    return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b));
}
static inline vf v_round(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a * 2^n, n integral, |n| <= 250: in two steps, so that the ends (subnormals, infinity) come out.
 */
static inline vf v_scale2(vf a, vf n)
{
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    __m256i rest = _mm256_sub_epi32(whole, half), bias = _mm256_set1_epi32(127);
    vf s0 = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    vf s1 = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(a, s0), s1);
}
static inline vmask v_less(vf a, vf b)
{
    return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
static inline vmask v_unordered(vf a, vf b)
{
    return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_UNORD_Q));
}
static inline vf v_choose(vmask m, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(m));
}
static inline float v_sum(vf a)
{
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

/* No lane is NaN. */
static inline float v_max_across(vf a)
{
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

/* c + a.low * b.low + a.high * b.high of pairs of bfloat16. */
static inline vf v_dot2(vf a, vf b, vf c)
{
    __m256i ai = _mm256_castps_si256(a), bi = _mm256_castps_si256(b);
    vf high = _mm256_castsi256_ps(_mm256_set1_epi32((int)0xFFFF0000u));
    c = v_fma(_mm256_castsi256_ps(_mm256_slli_epi32(ai, 16)),
              _mm256_castsi256_ps(_mm256_slli_epi32(bi, 16)), c);
    return v_fma(_mm256_and_ps(a, high), _mm256_and_ps(b, high), c);
}

#endif
