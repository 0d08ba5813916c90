/* The keystream of AES-256-GCM without its tag, on VAES and AVX-512: four blocks in a register,
 * eight registers at a time. The library's own takes what memory gives at the start of each chunk;
 * this one asks for the text a few KiB ahead, which is a fifth faster (docs/decisions/0002). */
#include "crypto/bulk_impl.h"

#include <immintrin.h>
#include <string.h>

enum { ROUNDS = 14, VECTORS = 8, VECTOR = 64, STEP = VECTORS * VECTOR, AHEAD = 4096 };

/* The counter block as four little-endian words, so that adding counts; for four blocks in a row.
 */
struct counter {
    __m512i now, four, swap;
};

static struct counter start(const struct eml_nonce *n, uint32_t counter)
{
    uint8_t first[16] = {0};
    memcpy(first, n->b, sizeof n->b);
    const __m128i swap = _mm_set_epi8(12, 13, 14, 15, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return (struct counter){
        .now = _mm512_add_epi32(
            _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)first)),
            _mm512_set_epi32((int)(counter + 3), 0, 0, 0, (int)(counter + 2), 0, 0, 0,
                             (int)(counter + 1), 0, 0, 0, (int)counter, 0, 0, 0)),
        .four = _mm512_broadcast_i32x4(_mm_set_epi32(4, 0, 0, 0)),
        .swap = _mm512_broadcast_i32x4(swap),
    };
}

static inline __m512i next(struct counter *c)
{
    __m512i blocks = _mm512_shuffle_epi8(c->now, c->swap);
    c->now = _mm512_add_epi32(c->now, c->four);
    return blocks;
}

/* The round keys would stay where few others reach until this thread works again, which may be in
 * another request. */
static void clear_registers(void)
{
    __asm__ volatile("vzeroall\n\t"
                     "vpxord %%zmm16, %%zmm16, %%zmm16\n\tvpxord %%zmm17, %%zmm17, %%zmm17\n\t"
                     "vpxord %%zmm18, %%zmm18, %%zmm18\n\tvpxord %%zmm19, %%zmm19, %%zmm19\n\t"
                     "vpxord %%zmm20, %%zmm20, %%zmm20\n\tvpxord %%zmm21, %%zmm21, %%zmm21\n\t"
                     "vpxord %%zmm22, %%zmm22, %%zmm22\n\tvpxord %%zmm23, %%zmm23, %%zmm23\n\t"
                     "vpxord %%zmm24, %%zmm24, %%zmm24\n\tvpxord %%zmm25, %%zmm25, %%zmm25\n\t"
                     "vpxord %%zmm26, %%zmm26, %%zmm26\n\tvpxord %%zmm27, %%zmm27, %%zmm27\n\t"
                     "vpxord %%zmm28, %%zmm28, %%zmm28\n\tvpxord %%zmm29, %%zmm29, %%zmm29\n\t"
                     "vpxord %%zmm30, %%zmm30, %%zmm30\n\tvpxord %%zmm31, %%zmm31, %%zmm31"
                     :
                     :
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16",
                       "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",
                       "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
}

void eml_ctr_vaes(const uint8_t *round_keys, const struct eml_nonce *n, uint32_t counter,
                  struct eml_bytes text, uint8_t *out)
{
    __m512i k[ROUNDS + 1];
    for (int i = 0; i <= ROUNDS; i++)
        k[i] = _mm512_broadcast_i32x4(
            _mm_loadu_si128((const __m128i *)(const void *)(round_keys + 16 * i)));
    struct counter c = start(n, counter);
    const uint8_t *in = text.ptr;
    size_t at = 0;
    for (; at < text.len && at < AHEAD; at += VECTOR)
        __builtin_prefetch(in + at, 0, 2);
    for (at = 0; text.len - at >= STEP; at += STEP) {
        __m512i v[VECTORS];
        if (text.len - at >= AHEAD + STEP)
            for (int i = 0; i < VECTORS; i++)
                __builtin_prefetch(in + at + AHEAD + VECTOR * i, 0, 2);
        for (int i = 0; i < VECTORS; i++)
            v[i] = _mm512_xor_si512(next(&c), k[0]);
        for (int r = 1; r < ROUNDS; r++)
            for (int i = 0; i < VECTORS; i++)
                v[i] = _mm512_aesenc_epi128(v[i], k[r]);
        for (int i = 0; i < VECTORS; i++) {
            __m512i last = _mm512_xor_si512(k[ROUNDS], _mm512_loadu_si512(in + at + VECTOR * i));
            _mm512_storeu_si512(out + at + VECTOR * i, _mm512_aesenclast_epi128(v[i], last));
        }
    }
    for (; at < text.len; at += VECTOR) {
        size_t left = text.len - at;
        __mmask64 m = left < VECTOR ? (__mmask64)(((uint64_t)1 << left) - 1) : ~(__mmask64)0;
        __m512i v = _mm512_xor_si512(next(&c), k[0]);
        for (int r = 1; r < ROUNDS; r++)
            v = _mm512_aesenc_epi128(v, k[r]);
        __m512i last = _mm512_xor_si512(k[ROUNDS], _mm512_maskz_loadu_epi8(m, in + at));
        _mm512_mask_storeu_epi8(out + at, m, _mm512_aesenclast_epi128(v, last));
    }
    clear_registers();
}
