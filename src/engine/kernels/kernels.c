#include "engine/kernels/kernels.h"

#if defined(__x86_64__)

/* The builtins ask the CPU and, by XGETBV, whether the system saves the registers. */
static enum eml_isa best(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("fma"))
        return EML_ISA_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return EML_ISA_AVX2;
    return EML_ISA_REF;
}

#else

static enum eml_isa best(void)
{
    return EML_ISA_REF;
}

#endif

enum eml_isa eml_isa_resolve(enum eml_isa wanted)
{
    enum eml_isa have = best();
    return wanted < have ? wanted : have;
}

const char *eml_isa_name(enum eml_isa isa)
{
    switch (isa) {
    case EML_ISA_REF:
        return "ref";
    case EML_ISA_AVX2:
        return "avx2";
    case EML_ISA_AVX512:
        return "avx512";
    case EML_ISA_AUTO:
        return "auto";
    }
    return "unknown";
}

const struct eml_kernels *eml_kernels_for(enum eml_isa isa)
{
    switch (eml_isa_resolve(isa)) {
#if defined(__x86_64__)
    case EML_ISA_AVX512:
        return __builtin_cpu_supports("avx512bf16") ? &eml_kernels_avx512_bf16
                                                    : &eml_kernels_avx512;
    case EML_ISA_AVX2:
        return &eml_kernels_avx2;
#endif
    default:
        return &eml_kernels_ref;
    }
}
