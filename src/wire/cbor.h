/* Strict CBOR (RFC 8949) over one cursor, on libcbor's streaming decoder; no tree of hostile bytes.
 *
 * Reader: each call demands one item of one type; anything else fails the reader, stickily, as
 * eml_cur does. Minimal-length integers and lengths are demanded; tags, floats, undefined, chunked
 * strings and non-minimal encodings are refused unless a call says otherwise. Depth is bounded by the
 * caller's own nesting (no recursion here). Counts are checked against the bytes left, so a count
 * from the wire alone bounds nothing.
 *
 * Writer: canonical encoding (section 4.2.1). Map keys must be put in ascending bytewise order by
 * the caller; eml_cbor_map checks nothing, the round-trip tests do.
 */
#ifndef EML_WIRE_CBOR_H
#define EML_WIRE_CBOR_H

#include "base/cur.h"

enum eml_cbor_type {
    EML_CBOR_UINT, EML_CBOR_NINT, EML_CBOR_BYTES, EML_CBOR_TEXT, EML_CBOR_ARRAY, EML_CBOR_MAP,
    EML_CBOR_TAG, EML_CBOR_BOOL, EML_CBOR_NULL, EML_CBOR_BREAK, EML_CBOR_OTHER, EML_CBOR_END,
};

/* Type of the next item without consuming it; END at the end of input or after a failure. */
enum eml_cbor_type eml_cbor_peek(struct eml_cur *c);

uint64_t eml_cbor_uint(struct eml_cur *c);
int64_t eml_cbor_int(struct eml_cur *c); /* fails outside int64 */
bool eml_cbor_bool(struct eml_cur *c);
void eml_cbor_null(struct eml_cur *c);
uint64_t eml_cbor_tag(struct eml_cur *c);
/* Definite-length strings, borrowed; text is checked to be UTF-8. Fail if longer than max. */
struct eml_bytes eml_cbor_bytes(struct eml_cur *c, size_t max);
struct eml_bytes eml_cbor_text(struct eml_cur *c, size_t max);
/* Definite-length containers: number of elements or pairs; fails if over max or over the bytes left. */
size_t eml_cbor_array(struct eml_cur *c, size_t max);
size_t eml_cbor_map(struct eml_cur *c, size_t max);

/* Containers that may be indefinite (attestation documents): *left is the count, or SIZE_MAX for
 * indefinite. Use: for (; eml_cbor_more(c, &left);) ... which consumes the break. */
size_t eml_cbor_array_any(struct eml_cur *c, size_t max);
size_t eml_cbor_map_any(struct eml_cur *c, size_t max);
bool eml_cbor_more(struct eml_cur *c, size_t *left);
/* Consumes one item of any type and shape, nested at most max_depth (iteratively). Returns its bytes. */
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

#endif
