#include "engine/kernels/i8_rows.h"

static void tile(const struct eml_i8_tile *t)
{
    for (size_t r = 0; r < t->m; r++)
        for (size_t q = 0; q < t->panels; q++) {
            uint32_t sums[EML_I8_PANEL] = {0};
            for (size_t g = 0; g < t->groups; g++) {
                const uint8_t *a = t->a + (r * t->groups + g) * 4;
                const int8_t *b = t->b + (q * (t->groups + 1) + g) * 64;
                for (size_t j = 0; j < EML_I8_PANEL; j++)
                    for (size_t i = 0; i < 4; i++)
                        sums[j] += (uint32_t)((int32_t)a[i] * (int32_t)b[4 * j + i]);
            }
            memcpy(t->sums + (r * t->panels + q) * EML_I8_PANEL, sums, sizeof sums);
        }
}

const struct eml_i8_kernels eml_i8_kernels_ref = {.mr = 4, .panels = 1, .tile = tile, I8_ROWS};

#if defined(__x86_64__)
static bool has_vnni(void)
{
    return __builtin_cpu_supports("avx512vnni") != 0;
}
#endif

const struct eml_i8_kernels *eml_i8_kernels_for(enum eml_isa isa)
{
    switch (eml_isa_resolve(isa)) {
#if defined(__x86_64__)
    case EML_ISA_AVX512:
        return has_vnni() ? &eml_i8_kernels_avx512 : &eml_i8_kernels_avx2;
    case EML_ISA_AVX2:
        return &eml_i8_kernels_avx2;
#endif
    default:
        return &eml_i8_kernels_ref;
    }
}
