#include "engine/kernels/simd_avx2.h"

#include "engine/kernels/simd_gemm.h"

#define ROWS(v)                                                                                    \
    INSTANCE(1, v)                                                                                 \
    INSTANCE(2, v)                                                                                 \
    INSTANCE(3, v)                                                                                 \
    INSTANCE(4, v)                                                                                 \
    INSTANCE(5, v)                                                                                 \
    INSTANCE(6, v)
ROWS(1)
ROWS(2)

static void gemm_tile(const struct eml_tile *t)
{
#define ROW(m)                                                                                     \
    {                                                                                              \
        tile_##m##_1, tile_##m##_2                                                                 \
    }
    static void (*const instance[TILE_M][TILE_V])(const struct eml_tile *) = {
        ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6)};
#undef ROW
    instance[t->m - 1][(t->n - 1) / VL](t);
}

const struct eml_kernels eml_kernels_avx2 = {.isa = EML_ISA_AVX2,
                                             .mr = TILE_M,
                                             .nr = (size_t)TILE_V * VL,
                                             .gemm_tile = gemm_tile,
                                             SIMD_TABLE};
