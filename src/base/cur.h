/* The cursor: the one way to read hostile bytes.
 *
 * All pointer arithmetic on received bytes is here and in cur.c. After the first bad read the
 * cursor is failed and every later read yields zero or an empty view, so a parser reads a group of
 * fields and then tests eml_cur_ok once, before any value steers anything. eml_cur_done also
 * demands that every byte was consumed. Numbers are big-endian (network order) unless named le.
 */
#ifndef EML_BASE_CUR_H
#define EML_BASE_CUR_H

#include "base/bytes.h"

struct eml_cur {
    const uint8_t *ptr;
    size_t len, pos;
    bool failed;
};

static inline struct eml_cur eml_cur(struct eml_bytes bytes)
{
    return (struct eml_cur){.ptr = bytes.ptr, .len = bytes.len};
}

void eml_cur_fail(struct eml_cur *c);
bool eml_cur_done(const struct eml_cur *c); /* ok and nothing left */

static inline bool eml_cur_ok(const struct eml_cur *c)
{
    return !c->failed;
}

static inline size_t eml_cur_left(const struct eml_cur *c)
{
    return c->failed ? 0 : c->len - c->pos;
}

/* What is left, in a cursor of its own; empty on failure. Not a copy of *c: reading a struct as a
 * whole just after one of its fields was written makes a CPU wait. */
static inline struct eml_cur eml_cur_ahead(const struct eml_cur *c)
{
    size_t left = eml_cur_left(c);
    return (struct eml_cur){.ptr = left != 0 ? c->ptr + c->pos : NULL, .len = left};
}

/* Fails at the end; consumes nothing. */
static inline uint8_t eml_cur_peek_u8(struct eml_cur *c)
{
    if (c->failed || c->pos == c->len) {
        c->failed = true;
        return 0;
    }
    return c->ptr[c->pos];
}

/* The next byte, not consumed; -1 if there is none. */
static inline int eml_cur_next(const struct eml_cur *c)
{
    return eml_cur_left(c) != 0 ? c->ptr[c->pos] : -1;
}

static inline uint8_t eml_cur_u8(struct eml_cur *c)
{
    uint8_t v = eml_cur_peek_u8(c);
    c->pos += !c->failed;
    return v;
}

/* A view of the next n bytes, borrowed from the input; empty on failure. */
static inline struct eml_bytes eml_cur_take(struct eml_cur *c, size_t n)
{
    if (c->failed || n > c->len - c->pos) {
        c->failed = true;
        return (struct eml_bytes){NULL, 0};
    }
    struct eml_bytes v = {n != 0 ? c->ptr + c->pos : c->ptr, n};
    c->pos += n;
    return v;
}

/* Big-endian; written out, so that a compiler sees one load. */
static inline uint32_t eml_load_u32(const uint8_t p[4])
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t eml_load_u64(const uint8_t p[8])
{
    return (uint64_t)eml_load_u32(p) << 32 | eml_load_u32(p + 4);
}

static inline uint16_t eml_cur_u16(struct eml_cur *c)
{
    struct eml_bytes b = eml_cur_take(c, 2);
    return b.len != 0 ? (uint16_t)((uint32_t)b.ptr[0] << 8 | b.ptr[1]) : 0;
}

static inline uint32_t eml_cur_u32(struct eml_cur *c)
{
    struct eml_bytes b = eml_cur_take(c, 4);
    return b.len != 0 ? eml_load_u32(b.ptr) : 0;
}

static inline uint64_t eml_cur_u64(struct eml_cur *c)
{
    struct eml_bytes b = eml_cur_take(c, 8);
    return b.len != 0 ? eml_load_u64(b.ptr) : 0;
}

/* All that is left, borrowed. */
struct eml_bytes eml_cur_rest(struct eml_cur *c);

/* Big-endian stores, for encoders. */
void eml_store_u16(uint8_t out[2], uint16_t v);
void eml_store_u32(uint8_t out[4], uint32_t v);
void eml_store_u64(uint8_t out[8], uint64_t v);

#endif
