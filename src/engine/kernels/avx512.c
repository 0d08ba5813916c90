#include "engine/kernels/simd_avx512.h"

#include "engine/kernels/simd_gemm.h"

#define ROWS(kind, v)                                                                              \
    kind(1, v) kind(2, v) kind(3, v) kind(4, v) kind(5, v) kind(6, v) kind(7, v) kind(8, v)
ROWS(INSTANCE, 1)
ROWS(INSTANCE, 2)
ROWS(INSTANCE, 3)
ROWS(HALF_INSTANCE, 1)
ROWS(HALF_INSTANCE, 2)
ROWS(HALF_INSTANCE, 3)
ROWS(PAIR_INSTANCE, 1)
ROWS(PAIR_INSTANCE, 2)
ROWS(PAIR_INSTANCE, 3)

#define ROW(name, m)                                                                               \
    {                                                                                              \
        name##_##m##_1, name##_##m##_2, name##_##m##_3                                             \
    }
#define TABLE(name)                                                                                \
    {                                                                                              \
        ROW(name, 1), ROW(name, 2), ROW(name, 3), ROW(name, 4), ROW(name, 5), ROW(name, 6),        \
            ROW(name, 7), ROW(name, 8)                                                             \
    }
static void gemm_tile(const struct eml_tile *t)
{
    static void (*const instance[2][TILE_M][TILE_V])(const struct eml_tile *) = {TABLE(tile),
                                                                                 TABLE(half)};
    size_t v = (t->n - 1) / VL;
    bool half = t->n - v * VL <= VL / 2;
    instance[half][t->m - 1][v](t);
}

static void gemm_tile_bf16(const struct eml_tile *t)
{
    static void (*const instance[TILE_M][TILE_V])(const struct eml_tile *) = TABLE(pair);
    instance[t->m - 1][(t->n - 1) / VL](t);
}

#ifdef __AVX512BF16__
#define SET eml_kernels_avx512_bf16
#else
#define SET eml_kernels_avx512
#endif
const struct eml_kernels SET = {.isa = EML_ISA_AVX512,
                                .mr = TILE_M,
                                .nr = (size_t)TILE_V * VL,
                                .gemm_tile = gemm_tile,
                                .gemm_tile_bf16 = gemm_tile_bf16,
                                SIMD_TABLE};
