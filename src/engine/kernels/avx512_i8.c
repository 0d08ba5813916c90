/* VPDPBUSD: 64 products of unsigned and signed bytes added up exactly into 16 int32. */
#include "engine/kernels/i8_rows.h"

#include <immintrin.h>

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

static inline __attribute__((always_inline)) void rows(const struct eml_i8_tile *t, size_t m,
                                                       size_t panels)
{
    __m512i acc[EML_I8_MR][EML_I8_PANELS];
    UNROLL for (size_t r = 0; r < m; r++) UNROLL for (size_t q = 0; q < panels; q++) acc[r][q] =
        _mm512_setzero_si512();
    const size_t panel = (t->groups + 1) * 64, row = t->groups * 4;
    for (size_t g = 0; g < t->groups; g++) {
        __m512i b[EML_I8_PANELS];
        UNROLL for (size_t q = 0; q < panels; q++) b[q] =
            _mm512_loadu_si512(t->b + q * panel + g * 64);
        UNROLL for (size_t r = 0; r < m; r++)
        {
            int32_t four;
            memcpy(&four, t->a + r * row + g * 4, sizeof four);
            __m512i a = _mm512_set1_epi32(four);
            UNROLL for (size_t q = 0; q < panels; q++) acc[r][q] =
                _mm512_dpbusd_epi32(acc[r][q], a, b[q]);
        }
    }
    UNROLL for (size_t r = 0; r < m; r++) UNROLL for (size_t q = 0; q < panels; q++)
        _mm512_storeu_si512(t->sums + (r * panels + q) * EML_I8_PANEL, acc[r][q]);
}

#define CASE(m)                                                                                    \
    case m:                                                                                        \
        if (t->panels == 3)                                                                        \
            rows(t, m, 3);                                                                         \
        else if (t->panels == 2)                                                                   \
            rows(t, m, 2);                                                                         \
        else                                                                                       \
            rows(t, m, 1);                                                                         \
        break;

static void tile(const struct eml_i8_tile *t)
{
    switch (t->m) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
        CASE(7)
        CASE(8)
    default:
        break;
    }
}

const struct eml_i8_kernels eml_i8_kernels_avx512 = {
    .mr = EML_I8_MR, .panels = EML_I8_PANELS, .tile = tile, I8_ROWS};
