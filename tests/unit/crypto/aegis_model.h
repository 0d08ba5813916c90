/* AEGIS-256X4 as the draft writes it down (draft-irtf-cfrg-aegis-aead, sections 2.4 and 2.5 with
 * D = 4): byte by byte, lane by lane, tables and all. Never to be used for anything secret. */
#ifndef EML_TEST_AEGIS_MODEL_H
#define EML_TEST_AEGIS_MODEL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MODEL_LANES = 4, MODEL_BLOCK = 64 };

struct model_state {
    uint8_t s[MODEL_LANES][6][16];
};

static uint8_t model_mul(uint8_t a, uint8_t b)
{
    uint8_t p = 0;
    for (int i = 0; i < 8; i++) {
        p = (uint8_t)(p ^ (b >> i & 1 ? a : 0));
        a = (uint8_t)(a << 1 ^ (a >> 7 ? 0x1b : 0));
    }
    return p;
}

static uint8_t model_sbox(uint8_t x)
{
    static uint8_t table[256];
    if (table[0] == 0)
        for (unsigned v = 0; v < 256; v++) {
            uint8_t inverse = (uint8_t)v, out = 0x63;
            for (int i = 0; i < 253; i++) /* v^254 */
                inverse = model_mul(inverse, (uint8_t)v);
            for (int shift = 0; shift < 5; shift++)
                out = (uint8_t)(out ^ (inverse << shift | inverse >> (8 - shift)));
            table[v] = out;
        }
    return table[x];
}

/* FIPS 197: SubBytes, ShiftRows, MixColumns, AddRoundKey. */
static void model_round(const uint8_t in[16], const uint8_t key[16], uint8_t out[16])
{
    for (size_t c = 0; c < 4; c++)
        for (size_t r = 0; r < 4; r++) {
            uint8_t sum = key[4 * c + r];
            for (size_t k = 0; k < 4; k++) {
                uint8_t byte = model_sbox(in[4 * ((c + k) % 4) + k]);
                uint8_t by = k == r ? 2 : k == (r + 1) % 4 ? 3 : 1;
                sum ^= model_mul(byte, by);
            }
            out[4 * c + r] = sum;
        }
}

static void model_xor(uint8_t *to, const uint8_t *a, const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = a[i] ^ b[i];
}

static void model_update(struct model_state *m, const uint8_t block[MODEL_BLOCK])
{
    for (size_t lane = 0; lane < MODEL_LANES; lane++) {
        uint8_t old[6][16], key[16];
        memcpy(old, m->s[lane], sizeof old);
        for (size_t i = 0; i < 6; i++) {
            memcpy(key, old[i], sizeof key);
            if (i == 0)
                model_xor(key, key, block + 16 * lane, 16);
            model_round(old[(i + 5) % 6], key, m->s[lane][i]);
        }
    }
}

static void model_init(struct model_state *m, const uint8_t key[32], const uint8_t nonce[32])
{
    uint8_t c0[16] = {0, 1}, c1[16] = {0xdb, 0x3d, 0x18, 0x55, 0x6d, 0xc2, 0x2f, 0xf1,
                                       0x20, 0x11, 0x31, 0x42, 0x73, 0xb5, 0x28, 0xdd};
    for (size_t i = 2; i < 16; i++) /* Fibonacci numbers modulo 256 */
        c0[i] = (uint8_t)(c0[i - 1] + c0[i - 2]);
    uint8_t parts[4][16];
    memcpy(parts[0], key, 16);
    memcpy(parts[1], key + 16, 16);
    model_xor(parts[2], key, nonce, 16);
    model_xor(parts[3], key + 16, nonce + 16, 16);
    for (size_t lane = 0; lane < MODEL_LANES; lane++) {
        memcpy(m->s[lane][0], parts[2], 16);
        memcpy(m->s[lane][1], parts[3], 16);
        memcpy(m->s[lane][2], c1, 16);
        memcpy(m->s[lane][3], c0, 16);
        model_xor(m->s[lane][4], key, c0, 16);
        model_xor(m->s[lane][5], key + 16, c1, 16);
    }
    for (size_t i = 0; i < 16; i++) {
        uint8_t block[MODEL_BLOCK];
        for (size_t lane = 0; lane < MODEL_LANES; lane++) {
            const uint8_t ctx[16] = {(uint8_t)lane, MODEL_LANES - 1};
            model_xor(m->s[lane][3], m->s[lane][3], ctx, 16);
            model_xor(m->s[lane][5], m->s[lane][5], ctx, 16);
            memcpy(block + 16 * lane, parts[i % 4], 16);
        }
        model_update(m, block);
    }
}

static void model_keystream(const struct model_state *m, uint8_t z[MODEL_BLOCK])
{
    for (size_t lane = 0; lane < MODEL_LANES; lane++)
        for (size_t i = 0; i < 16; i++) {
            const uint8_t(*s)[16] = m->s[lane];
            z[16 * lane + i] = (uint8_t)(s[1][i] ^ s[4][i] ^ s[5][i] ^ (s[2][i] & s[3][i]));
        }
}

/* out: plain_bytes and a tag of 16. */
static void model_seal(const uint8_t key[32], const uint8_t nonce[32], const uint8_t *aad,
                       size_t aad_bytes, const uint8_t *plain, size_t plain_bytes, uint8_t *out)
{
    struct model_state m;
    uint8_t block[MODEL_BLOCK], z[MODEL_BLOCK], *tag = out + plain_bytes;
    model_init(&m, key, nonce);
    for (size_t at = 0; at < aad_bytes; at += MODEL_BLOCK) {
        memset(block, 0, sizeof block);
        memcpy(block, aad + at, aad_bytes - at < MODEL_BLOCK ? aad_bytes - at : MODEL_BLOCK);
        model_update(&m, block);
    }
    for (size_t at = 0; at < plain_bytes; at += MODEL_BLOCK) {
        size_t n = plain_bytes - at < MODEL_BLOCK ? plain_bytes - at : MODEL_BLOCK;
        memset(block, 0, sizeof block);
        memcpy(block, plain + at, n);
        model_keystream(&m, z);
        model_update(&m, block);
        model_xor(out + at, block, z, n);
    }
    uint8_t t[MODEL_BLOCK];
    for (size_t lane = 0; lane < MODEL_LANES; lane++)
        for (size_t i = 0; i < 16; i++) {
            uint64_t bits = 8 * (uint64_t)(i < 8 ? aad_bytes : plain_bytes);
            t[16 * lane + i] = (uint8_t)(m.s[lane][3][i] ^ (uint8_t)(bits >> 8 * (i % 8)));
        }
    for (int i = 0; i < 7; i++)
        model_update(&m, t);
    memset(tag, 0, 16);
    for (size_t lane = 0; lane < MODEL_LANES; lane++)
        for (size_t i = 0; i < 6; i++)
            model_xor(tag, tag, m.s[lane][i], 16);
}

#endif
