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
