/* Borrowed bytes, room to fill, and a growing buffer.
 *
 * `eml_bytes` is a read-only view that owns nothing. `eml_room` is space to fill: the filler
 * returns an `eml_bytes` of what it wrote. `eml_buf` owns heap memory, grows, is wiped on growth
 * and on free, and has a sticky failure: check `failed` (or eml_buf_ok) once at the end.
 */
#ifndef EML_BASE_BYTES_H
#define EML_BASE_BYTES_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct eml_bytes {
    const uint8_t *ptr;
    size_t len;
};

struct eml_room {
    uint8_t *ptr;
    size_t len;
};

#define EML_BYTES(array) ((struct eml_bytes){(array), sizeof(array)})
#define EML_ROOM(array) ((struct eml_room){(array), sizeof(array)})
/* A string literal without its NUL. */
#define EML_LIT(s) ((struct eml_bytes){(const uint8_t *)(s), sizeof(s) - 1})

struct eml_bytes eml_bytes(const void *ptr, size_t len);
struct eml_bytes eml_bytes_of_str(const char *s);
/* Not constant time: for public values only; secrets are compared by eml_ct_equal. */
bool eml_bytes_equal(struct eml_bytes a, struct eml_bytes b);

struct eml_buf {
    uint8_t *ptr;
    size_t len, cap, max; /* max: bytes beyond which growth fails; 0 = EML_BUF_MAX */
    bool failed;
};
#define EML_BUF_MAX ((size_t)1 << 32)

/* A zeroed `struct eml_buf` is an empty buffer. */
void eml_buf_put(struct eml_buf *b, struct eml_bytes bytes);
void eml_buf_put_u8(struct eml_buf *b, uint8_t v);
/* Room for n more bytes at once, where their number is known. */
void eml_buf_reserve(struct eml_buf *b, size_t n);
/* Appends n zero bytes and returns them to be filled, until the next put; NULL once failed. */
uint8_t *eml_buf_grow(struct eml_buf *b, size_t n);
struct eml_bytes eml_buf_bytes(const struct eml_buf *b);
/* EML_OK, or EML_E_SYSTEM if any append failed. */
EML_MUST enum eml_err eml_buf_ok(const struct eml_buf *b);
/* Wipes and frees; the buffer is empty and usable again. */
void eml_buf_free(struct eml_buf *b);

#endif
