/* AEGIS-256X4 on VAES and AVX-512: one instruction is a round in all four lanes. */
#include "crypto/bulk_impl.h"

#include <immintrin.h>
#include <string.h>
#ifdef __GLIBC__
#include <sys/platform/x86.h>
#else
#include <cpuid.h>
#endif

typedef __m512i vec;

static inline vec vec_load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

static inline void vec_store(uint8_t *p, vec v)
{
    _mm512_storeu_si512(p, v);
}

static inline vec vec_lanes(const uint8_t *p)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline vec vec_xor(vec a, vec b)
{
    return _mm512_xor_si512(a, b);
}

static inline vec vec_and(vec a, vec b)
{
    return _mm512_and_si512(a, b);
}

static inline vec vec_round(vec a, vec key)
{
    return _mm512_aesenc_epi128(a, key);
}

#include "crypto/aegis.h"

/* clang 14 has no name for it to be asked by. glibc has asked the CPU already, which in a virtual
 * machine takes 10 microseconds; this is for every request. */
static bool has_vaes(void)
{
#ifdef __GLIBC__
    return CPU_FEATURE_ACTIVE(VAES);
#else
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c & bit_VAES) != 0;
#endif
}

static bool usable(void)
{
    return __builtin_cpu_supports("avx512f") && has_vaes(); /* and registers that are saved */
}

const struct eml_bulk_impl eml_bulk_aegis_vaes = {
    .name = "aegis-256x4 vaes avx512",
    .cipher = EML_CIPHER_AEGIS_256X4,
    .usable = usable,
    .key_bytes = sizeof(struct eml_aead_key),
    .expand = aegis_expand,
    .seal = aegis_seal,
    .open = aegis_open,
};
