#include "engine/kernels/simd_avx2.h"

#include "engine/kernels/simd_gemm.h"

#define ROWS(kind, v) kind(1, v) kind(2, v) kind(3, v) kind(4, v) kind(5, v) kind(6, v)
ROWS(INSTANCE, 1)
ROWS(INSTANCE, 2)
ROWS(PAIR_INSTANCE, 1)
ROWS(PAIR_INSTANCE, 2)

typedef void tile_fn(const struct eml_tile *t);
#define ROW(name, m)                                                                               \
    {                                                                                              \
        name##_##m##_1, name##_##m##_2                                                             \
    }
#define TABLE(name)                                                                                \
    {                                                                                              \
        ROW(name, 1), ROW(name, 2), ROW(name, 3), ROW(name, 4), ROW(name, 5), ROW(name, 6)         \
    }

static void gemm_tile(const struct eml_tile *t)
{
    static tile_fn *const instance[TILE_M][TILE_V] = TABLE(tile);
    instance[t->m - 1][(t->n - 1) / VL](t);
}

static void gemm_tile_bf16(const struct eml_tile *t)
{
    static tile_fn *const instance[TILE_M][TILE_V] = TABLE(pair);
    instance[t->m - 1][(t->n - 1) / VL](t);
}

const struct eml_kernels eml_kernels_avx2 = {.isa = EML_ISA_AVX2,
                                             .mr = TILE_M,
                                             .nr = (size_t)TILE_V * VL,
                                             .gemm_tile = gemm_tile,
                                             .gemm_tile_bf16 = gemm_tile_bf16,
                                             SIMD_TABLE};
