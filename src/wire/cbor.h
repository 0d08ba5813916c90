/* Strict CBOR (RFC 8949) over one cursor, no tree of hostile bytes.
 *
 * Reader: each call demands one item of one type; anything else fails the reader, stickily, as
 * eml_cur does. Minimal-length integers and lengths are demanded; tags, floats, undefined, chunked
 * strings and non-minimal encodings are refused unless a call says otherwise. Depth is bounded by
 * the caller's own nesting (no recursion here). Counts are checked against the bytes left, so a
 * count from the wire alone bounds nothing.
 *
 * Duplicate keys are the caller's to refuse.
 *
 * Writer: canonical encoding (section 4.2.1). Map keys must be put in ascending bytewise order by
 * the caller; eml_cbor_put_map checks nothing, the round-trip tests do.
 */
#ifndef EML_WIRE_CBOR_H
#define EML_WIRE_CBOR_H

#include "base/cur.h"

enum eml_cbor_type {
    EML_CBOR_UINT,
    EML_CBOR_NINT,
    EML_CBOR_BYTES,
    EML_CBOR_TEXT,
    EML_CBOR_ARRAY,
    EML_CBOR_MAP,
    EML_CBOR_TAG,
    EML_CBOR_BOOL,
    EML_CBOR_NULL,
    EML_CBOR_BREAK,
    EML_CBOR_OTHER,
    EML_CBOR_END,
};

/* Type of the next item without consuming it; END at the end of input or after a failure; OTHER for
 * what no call here reads (floats, undefined, chunked strings, malformed or cut items). */
static inline enum eml_cbor_type eml_cbor_peek(struct eml_cur *c);

static inline uint64_t eml_cbor_uint(struct eml_cur *c);
static inline int64_t eml_cbor_int(struct eml_cur *c); /* fails outside int64 */
bool eml_cbor_bool(struct eml_cur *c);
void eml_cbor_null(struct eml_cur *c);
/* Consumes the next item if it is null, and says whether. Nothing fails. */
static inline bool eml_cbor_take_null(struct eml_cur *c);
uint64_t eml_cbor_tag(struct eml_cur *c);
/* Definite-length strings, borrowed; text is checked to be UTF-8. Fail if longer than max. */
struct eml_bytes eml_cbor_bytes(struct eml_cur *c, size_t max);
struct eml_bytes eml_cbor_text(struct eml_cur *c, size_t max);
/* Definite-length containers: number of elements or pairs; fails if over max or over the bytes
 * left. */
static inline size_t eml_cbor_array(struct eml_cur *c, size_t max);
size_t eml_cbor_map(struct eml_cur *c, size_t max);

/* Containers that may be indefinite (attestation documents, NSM answers). The result is opaque, for
 * eml_cbor_more alone: `size_t left = eml_cbor_map_any(c, 9); while (eml_cbor_more(c, &left)) ...`,
 * which reads one element or pair per turn and consumes the break. More than max elements fail the
 * reader, whether they were announced or not. After a failure there is no further turn. */
size_t eml_cbor_array_any(struct eml_cur *c, size_t max);
size_t eml_cbor_map_any(struct eml_cur *c, size_t max);
bool eml_cbor_more(struct eml_cur *c, size_t *left);
/* Consumes one item and all that it contains, and returns its bytes. Containers and tags may nest
 * max_depth deep (at most EML_CBOR_DEPTH_MAX). Here tags, floats, undefined and indefinite
 * containers pass; chunked strings, lengths that are not minimal and unassigned simple values do
 * not. */
#define EML_CBOR_DEPTH_MAX 32u
struct eml_bytes eml_cbor_skip(struct eml_cur *c, size_t max_depth);

void eml_cbor_put_uint(struct eml_buf *b, uint64_t v);
void eml_cbor_put_int(struct eml_buf *b, int64_t v);
void eml_cbor_put_bool(struct eml_buf *b, bool v);
void eml_cbor_put_null(struct eml_buf *b);
void eml_cbor_put_tag(struct eml_buf *b, uint64_t tag);
void eml_cbor_put_bytes(struct eml_buf *b, struct eml_bytes v);
void eml_cbor_put_text(struct eml_buf *b, struct eml_bytes utf8);
void eml_cbor_put_array(struct eml_buf *b, uint64_t n);
void eml_cbor_put_map(struct eml_buf *b, uint64_t n);

/* ---- items of one byte, in place ---- */

/* Most of a topology key is numbers and lengths below 24, and it is decoded for every request. All
 * other items; not to be called from elsewhere. */
enum eml_cbor_type eml_cbor_peek_long(struct eml_cur *c);
uint64_t eml_cbor_uint_long(struct eml_cur *c);
int64_t eml_cbor_int_long(struct eml_cur *c);
size_t eml_cbor_array_long(struct eml_cur *c, size_t max);

enum {
    EML_CBOR_SMALL_N = 24, /* numbers that fit a header's byte */
    EML_CBOR_FIRST_ARRAY = 0x80,
    EML_CBOR_NULL_BYTE = 0xf6,
};

static inline bool eml_cbor_is_small_uint(const struct eml_cur *c)
{
    return (unsigned)eml_cur_next(c) < EML_CBOR_SMALL_N;
}

static inline enum eml_cbor_type eml_cbor_peek(struct eml_cur *c)
{
    return eml_cbor_is_small_uint(c) ? EML_CBOR_UINT : eml_cbor_peek_long(c);
}

static inline uint64_t eml_cbor_uint(struct eml_cur *c)
{
    return eml_cbor_is_small_uint(c) ? eml_cur_u8(c) : eml_cbor_uint_long(c);
}

static inline int64_t eml_cbor_int(struct eml_cur *c)
{
    return eml_cbor_is_small_uint(c) ? eml_cur_u8(c) : eml_cbor_int_long(c);
}

static inline bool eml_cbor_take_null(struct eml_cur *c)
{
    if (eml_cur_next(c) != EML_CBOR_NULL_BYTE)
        return false;
    (void)eml_cur_u8(c);
    return true;
}

static inline size_t eml_cbor_array(struct eml_cur *c, size_t max)
{
    size_t n = (unsigned)eml_cur_next(c) - EML_CBOR_FIRST_ARRAY;
    if (n >= EML_CBOR_SMALL_N || n > max || n >= eml_cur_left(c))
        return eml_cbor_array_long(c, max);
    (void)eml_cur_u8(c);
    return n;
}

#endif
