/* AEGIS-256X4 with 16-byte tags (draft-irtf-cfrg-aegis-aead), over vectors of four AES states.
 *
 * Included by one file per instruction set, which defines first: `vec`, 64 bytes, lane i in bytes
 * [16 i, 16 i + 16); vec_load, vec_store (any alignment); vec_lanes (the same 16 bytes in each
 * lane); vec_xor, vec_and; vec_round (one AES encryption round in each lane, then xor with the
 * second operand).
 *
 * The 12-byte nonce of the bulk interface stands at the end of AEGIS's 32 bytes, behind zeros. The
 * states are on the stack while a piece is worked on, and wiped; copies in registers and in what
 * the compiler spills of them are not: workers wipe their stacks' pages by ending.
 */
#ifndef EML_CRYPTO_AEGIS_H
#define EML_CRYPTO_AEGIS_H

#include "crypto/bulk_impl.h"

#include "base/wipe.h"

#include <string.h>

enum {
    AEGIS_BLOCK = 64,
    AEGIS_AHEAD = 8192 /* bytes prefetched; measured from memory: 21 GB/s, 18 with 2048 */
};

/* Section 4.3.5 of the draft (and 2.4.2 for one lane): Update. */
static inline void aegis_update(vec s[6], vec m)
{
    vec last = s[5];
    s[5] = vec_round(s[4], s[5]);
    s[4] = vec_round(s[3], s[4]);
    s[3] = vec_round(s[2], s[3]);
    s[2] = vec_round(s[1], s[2]);
    s[1] = vec_round(s[0], s[1]);
    s[0] = vec_round(last, vec_xor(s[0], m));
}

static inline vec aegis_keystream(const vec s[6])
{
    return vec_xor(vec_xor(s[1], s[4]), vec_xor(s[5], vec_and(s[2], s[3])));
}

static inline void aegis_init(vec s[6], const uint8_t key[32], const struct eml_nonce *n)
{
    static const uint8_t c0[16] = {0x00, 0x01, 0x01, 0x02, 0x03, 0x05, 0x08, 0x0d,
                                   0x15, 0x22, 0x37, 0x59, 0x90, 0xe9, 0x79, 0x62};
    static const uint8_t c1[16] = {0xdb, 0x3d, 0x18, 0x55, 0x6d, 0xc2, 0x2f, 0xf1,
                                   0x20, 0x11, 0x31, 0x42, 0x73, 0xb5, 0x28, 0xdd};
    static const uint8_t ctx_bytes[AEGIS_BLOCK] = {
        [0] = 0, [1] = 3, [16] = 1, [17] = 3, [32] = 2, [33] = 3, [48] = 3, [49] = 3};
    uint8_t nonce[32] = {0};
    memcpy(nonce + 20, n->b, sizeof n->b);
    const vec k0 = vec_lanes(key), k1 = vec_lanes(key + 16), ctx = vec_load(ctx_bytes);
    const vec k0n = vec_xor(k0, vec_lanes(nonce)), k1n = vec_xor(k1, vec_lanes(nonce + 16));
    s[0] = k0n;
    s[1] = k1n;
    s[2] = vec_lanes(c1);
    s[3] = vec_lanes(c0);
    s[4] = vec_xor(k0, vec_lanes(c0));
    s[5] = vec_xor(k1, vec_lanes(c1));
    const vec m[4] = {k0, k1, k0n, k1n};
    for (int i = 0; i < 16; i++) {
        s[3] = vec_xor(s[3], ctx);
        s[5] = vec_xor(s[5], ctx);
        aegis_update(s, m[i % 4]);
    }
}

static inline void aegis_absorb(vec s[6], struct eml_bytes aad)
{
    for (size_t at = 0; at < aad.len; at += AEGIS_BLOCK) {
        uint8_t block[AEGIS_BLOCK] = {0};
        memcpy(block, aad.ptr + at, aad.len - at < AEGIS_BLOCK ? aad.len - at : AEGIS_BLOCK);
        aegis_update(s, vec_load(block));
    }
}

/* Whole blocks; the state in registers. `seal` is a constant. */
static inline size_t aegis_blocks(vec s[6], struct eml_bytes in, uint8_t *out, bool seal)
{
    vec t[6];
    size_t at = 0;
    memcpy(t, s, sizeof t);
    for (; in.len - at >= AEGIS_BLOCK; at += AEGIS_BLOCK) {
        /* Beyond the end is harmless; from the host's memory to the cache it takes a while. */
        __builtin_prefetch((const void *)((uintptr_t)in.ptr + at + AEGIS_AHEAD), 0, 2);
        vec x = vec_load(in.ptr + at), y = vec_xor(x, aegis_keystream(t));
        aegis_update(t, seal ? x : y);
        vec_store(out + at, y);
    }
    memcpy(s, t, sizeof t);
    return at;
}

static inline void aegis_rest(vec s[6], struct eml_bytes in, uint8_t *out, bool seal)
{
    uint8_t block[AEGIS_BLOCK] = {0}, text[AEGIS_BLOCK];
    if (in.len == 0)
        return;
    memcpy(block, in.ptr, in.len);
    vec_store(text, vec_xor(vec_load(block), aegis_keystream(s)));
    memset(text + in.len, 0, sizeof text - in.len);
    aegis_update(s, vec_load(seal ? block : text));
    memcpy(out, text, in.len);
    eml_wipe(block, sizeof block);
    eml_wipe(text, sizeof text);
}

static inline void aegis_tag(vec s[6], uint64_t aad_bytes, uint64_t text_bytes, uint8_t tag[16])
{
    uint8_t sizes[16], sum[AEGIS_BLOCK];
    for (unsigned i = 0; i < 8; i++) {
        sizes[i] = (uint8_t)(aad_bytes * 8 >> 8 * i);
        sizes[8 + i] = (uint8_t)(text_bytes * 8 >> 8 * i);
    }
    const vec t = vec_xor(s[3], vec_lanes(sizes));
    for (int i = 0; i < 7; i++)
        aegis_update(s, t);
    vec all = s[0];
    for (int i = 1; i < 6; i++)
        all = vec_xor(all, s[i]);
    vec_store(sum, all);
    for (unsigned i = 0; i < 16; i++)
        tag[i] = (uint8_t)(sum[i] ^ sum[16 + i] ^ sum[32 + i] ^ sum[48 + i]);
}

static inline void aegis_whole(const void *key, const struct eml_nonce *n, struct eml_bytes aad,
                               struct eml_bytes in, uint8_t *out, uint8_t tag[16], bool seal)
{
    vec s[6];
    for (size_t i = 0; i < AEGIS_AHEAD && i < in.len; i += AEGIS_BLOCK)
        __builtin_prefetch(in.ptr + i, 0, 2);
    aegis_init(s, key, n);
    aegis_absorb(s, aad);
    size_t done = aegis_blocks(s, in, out, seal);
    struct eml_bytes rest = {done < in.len ? in.ptr + done : NULL, in.len - done};
    aegis_rest(s, rest, out + done, seal);
    aegis_tag(s, aad.len, in.len, tag);
    eml_wipe(s, sizeof s);
}

static void aegis_expand(void *key, const struct eml_aead_key *k)
{
    memcpy(key, k, sizeof *k);
}

static enum eml_err aegis_seal(const void *key, const struct eml_nonce *n, struct eml_bytes aad,
                               struct eml_bytes plain, uint8_t *out, uint8_t tag[16])
{
    aegis_whole(key, n, aad, plain, out, tag, true);
    return EML_OK;
}

static enum eml_err aegis_open(const void *key, const struct eml_nonce *n, struct eml_bytes aad,
                               struct eml_bytes text, const uint8_t tag[16], uint8_t *out)
{
    uint8_t expected[EML_BULK_TAG], given[EML_BULK_TAG];
    memcpy(given, tag, sizeof given); /* out may overlap the sealed bytes */
    aegis_whole(key, n, aad, text, out, expected, false);
    bool ok = eml_ct_equal(EML_BYTES(expected), EML_BYTES(given));
    eml_wipe(expected, sizeof expected);
    return ok ? EML_OK : EML_E_AUTH;
}

#endif
