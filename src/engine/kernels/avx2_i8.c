/* Bytes widened to 16 bits, then VPMADDWD: exact, where VPMADDUBSW would saturate. */
#include "engine/kernels/i8_rows.h"

#include <immintrin.h>

enum { ROWS = 2, QUARTERS = 4 }; /* a vector of sums has 4 columns, two halves of K each */

static inline __attribute__((always_inline)) void rows(const struct eml_i8_tile *t, size_t m)
{
    __m256i acc[ROWS][QUARTERS];
    for (size_t r = 0; r < m; r++)
        for (size_t q = 0; q < QUARTERS; q++)
            acc[r][q] = _mm256_setzero_si256();
    for (size_t g = 0; g < t->groups; g++) {
        __m256i a[ROWS];
        for (size_t r = 0; r < m; r++) {
            int32_t four;
            memcpy(&four, t->a + (r * t->groups + g) * 4, sizeof four);
            a[r] = _mm256_cvtepu8_epi16(_mm_set1_epi32(four));
        }
        for (size_t q = 0; q < QUARTERS; q++) {
            const __m128i *at = (const __m128i *)(const void *)(t->b + g * 64 + q * 16);
            __m256i b = _mm256_cvtepi8_epi16(_mm_loadu_si128(at));
            for (size_t r = 0; r < m; r++)
                acc[r][q] = _mm256_add_epi32(acc[r][q], _mm256_madd_epi16(a[r], b));
        }
    }
    for (size_t r = 0; r < m; r++)
        for (size_t q = 0; q < QUARTERS; q += 2) {
            __m256i pairs = _mm256_hadd_epi32(acc[r][q], acc[r][q + 1]);
            pairs = _mm256_permute4x64_epi64(pairs, 0xD8); /* columns in order */
            int32_t *to = t->sums + r * EML_I8_PANEL + q * 4;
            _mm256_storeu_si256((__m256i *)(void *)to, pairs);
        }
}

static void tile(const struct eml_i8_tile *t)
{
    if (t->m == ROWS)
        rows(t, ROWS);
    else
        rows(t, 1);
}

const struct eml_i8_kernels eml_i8_kernels_avx2 = {.mr = ROWS, .panels = 1, .tile = tile, I8_ROWS};
