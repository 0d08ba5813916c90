#include "base/cur.h"

void eml_cur_fail(struct eml_cur *c)
{
    c->failed = true;
}

bool eml_cur_done(const struct eml_cur *c)
{
    return !c->failed && c->pos == c->len;
}

struct eml_bytes eml_cur_rest(struct eml_cur *c)
{
    return eml_cur_take(c, eml_cur_left(c));
}

/* Written out, so that a compiler sees one load. */
static inline uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint16_t eml_cur_u16(struct eml_cur *c)
{
    struct eml_bytes b = eml_cur_take(c, 2);
    return b.len != 0 ? (uint16_t)be16(b.ptr) : 0;
}

uint32_t eml_cur_u32(struct eml_cur *c)
{
    struct eml_bytes b = eml_cur_take(c, 4);
    return b.len != 0 ? be32(b.ptr) : 0;
}

uint64_t eml_cur_u64(struct eml_cur *c)
{
    struct eml_bytes b = eml_cur_take(c, 8);
    return b.len != 0 ? (uint64_t)be32(b.ptr) << 32 | be32(b.ptr + 4) : 0;
}

void eml_store_u16(uint8_t out[2], uint16_t v)
{
    out[0] = (uint8_t)(v >> 8);
    out[1] = (uint8_t)v;
}

void eml_store_u32(uint8_t out[4], uint32_t v)
{
    for (size_t i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

void eml_store_u64(uint8_t out[8], uint64_t v)
{
    for (size_t i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}
