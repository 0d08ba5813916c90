#include "base/bytes.h"

#include "base/wipe.h"

#include <stdlib.h>
#include <string.h>

struct eml_bytes eml_bytes(const void *ptr, size_t len)
{
    return (struct eml_bytes){ptr, len};
}

struct eml_bytes eml_bytes_of_str(const char *s)
{
    return (struct eml_bytes){(const uint8_t *)s, strlen(s)};
}

bool eml_bytes_equal(struct eml_bytes a, struct eml_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Not realloc: the old block must be wiped before it goes back to the heap. */
static bool reserve(struct eml_buf *b, size_t more)
{
    size_t max = b->max != 0 ? b->max : EML_BUF_MAX;
    if (b->failed || more > max || b->len > max - more) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + more;
    if (need <= b->cap)
        return true;
    size_t cap = b->cap < 64 ? 64 : b->cap;
    while (cap < need)
        cap = cap > max / 2 ? max : cap * 2;
    uint8_t *p = malloc(cap);
    if (p == NULL) {
        b->failed = true;
        return false;
    }
    if (b->len != 0)
        memcpy(p, b->ptr, b->len);
    if (b->ptr != NULL)
        eml_wipe(b->ptr, b->cap);
    free(b->ptr);
    b->ptr = p;
    b->cap = cap;
    return true;
}

void eml_buf_reserve(struct eml_buf *b, size_t n)
{
    (void)reserve(b, n);
}

void eml_buf_put(struct eml_buf *b, struct eml_bytes bytes)
{
    if (!reserve(b, bytes.len))
        return;
    if (bytes.len != 0)
        memcpy(b->ptr + b->len, bytes.ptr, bytes.len);
    b->len += bytes.len;
}

void eml_buf_put_u8(struct eml_buf *b, uint8_t v)
{
    eml_buf_put(b, (struct eml_bytes){&v, 1});
}

uint8_t *eml_buf_grow(struct eml_buf *b, size_t n)
{
    /* Also no bytes have an address: NULL means failure. */
    if (!reserve(b, n) || (b->ptr == NULL && !reserve(b, 1)))
        return NULL;
    uint8_t *p = b->ptr + b->len;
    memset(p, 0, n);
    b->len += n;
    return p;
}

struct eml_bytes eml_buf_bytes(const struct eml_buf *b)
{
    return b->failed ? (struct eml_bytes){NULL, 0} : (struct eml_bytes){b->ptr, b->len};
}

enum eml_err eml_buf_ok(const struct eml_buf *b)
{
    return b->failed ? EML_E_SYSTEM : EML_OK;
}

void eml_buf_free(struct eml_buf *b)
{
    if (b->ptr != NULL)
        eml_wipe(b->ptr, b->cap);
    free(b->ptr);
    *b = (struct eml_buf){.max = b->max};
}
