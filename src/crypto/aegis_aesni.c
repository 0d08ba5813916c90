/* AEGIS-256X4 on AES-NI: lane by lane. */
#include "crypto/bulk_impl.h"

#include <immintrin.h>

typedef struct {
    __m128i lane[4];
} vec;

static inline const __m128i *lane_at(const uint8_t *p, unsigned i)
{
    return (const __m128i *)(const void *)(p + 16u * i);
}

static inline vec vec_load(const uint8_t *p)
{
    vec v;
    for (unsigned i = 0; i < 4; i++)
        v.lane[i] = _mm_loadu_si128(lane_at(p, i));
    return v;
}

static inline void vec_store(uint8_t *p, vec v)
{
    for (unsigned i = 0; i < 4; i++)
        _mm_storeu_si128((__m128i *)(void *)(p + 16u * i), v.lane[i]);
}

static inline vec vec_lanes(const uint8_t *p)
{
    vec v;
    for (unsigned i = 0; i < 4; i++)
        v.lane[i] = _mm_loadu_si128(lane_at(p, 0));
    return v;
}

static inline vec vec_xor(vec a, vec b)
{
    for (unsigned i = 0; i < 4; i++)
        a.lane[i] = _mm_xor_si128(a.lane[i], b.lane[i]);
    return a;
}

static inline vec vec_and(vec a, vec b)
{
    for (unsigned i = 0; i < 4; i++)
        a.lane[i] = _mm_and_si128(a.lane[i], b.lane[i]);
    return a;
}

static inline vec vec_round(vec a, vec key)
{
    for (unsigned i = 0; i < 4; i++)
        a.lane[i] = _mm_aesenc_si128(a.lane[i], key.lane[i]);
    return a;
}

#include "crypto/aegis.h"

static bool usable(void)
{
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("avx");
}

const struct eml_bulk_impl eml_bulk_aegis_aesni = {
    .name = "aegis-256x4 aes-ni",
    .cipher = EML_CIPHER_AEGIS_256X4,
    .usable = usable,
    .key_bytes = sizeof(struct eml_aead_key),
    .expand = aegis_expand,
    .seal = aegis_seal,
    .open = aegis_open,
};
