#include "wire/cbor.h"

#include "wire/utf8.h"

#include <cbor/callbacks.h>
#include <cbor/encoding.h>
#include <cbor/streaming.h>

/* What libcbor said about one item: exactly one of the callbacks below filled it. */
struct item {
    enum eml_cbor_type type;
    bool indefinite;        /* of ARRAY and MAP */
    bool passable;          /* of OTHER: a whole float or undefined, which eml_cbor_skip takes */
    uint64_t value;         /* integer (NINT: -1 - value), tag, length or count; BOOL: 0 or 1 */
    struct eml_bytes bytes; /* of BYTES and TEXT */
    size_t size;            /* bytes of the header, and of the string behind it */
};

static void number(void *item, enum eml_cbor_type type, uint64_t value)
{
    struct item *i = item;
    i->type = type;
    i->value = value;
}

static void on_uint8(void *item, uint8_t v)
{
    number(item, EML_CBOR_UINT, v);
}

static void on_uint16(void *item, uint16_t v)
{
    number(item, EML_CBOR_UINT, v);
}

static void on_uint32(void *item, uint32_t v)
{
    number(item, EML_CBOR_UINT, v);
}

static void on_uint64(void *item, uint64_t v)
{
    number(item, EML_CBOR_UINT, v);
}

static void on_nint8(void *item, uint8_t v)
{
    number(item, EML_CBOR_NINT, v);
}

static void on_nint16(void *item, uint16_t v)
{
    number(item, EML_CBOR_NINT, v);
}

static void on_nint32(void *item, uint32_t v)
{
    number(item, EML_CBOR_NINT, v);
}

static void on_nint64(void *item, uint64_t v)
{
    number(item, EML_CBOR_NINT, v);
}

static void on_array(void *item, size_t n)
{
    number(item, EML_CBOR_ARRAY, n);
}

static void on_map(void *item, size_t n)
{
    number(item, EML_CBOR_MAP, n);
}

static void on_bool(void *item, bool v)
{
    number(item, EML_CBOR_BOOL, v);
}

static void on_null(void *item)
{
    number(item, EML_CBOR_NULL, 0);
}

static void on_break(void *item)
{
    number(item, EML_CBOR_BREAK, 0);
}

static void on_bytes(void *item, cbor_data ptr, size_t n)
{
    number(item, EML_CBOR_BYTES, n);
    ((struct item *)item)->bytes = eml_bytes(ptr, n);
}

static void on_text(void *item, cbor_data ptr, size_t n)
{
    number(item, EML_CBOR_TEXT, n);
    ((struct item *)item)->bytes = eml_bytes(ptr, n);
}

static void on_indefinite_array(void *item)
{
    number(item, EML_CBOR_ARRAY, 0);
    ((struct item *)item)->indefinite = true;
}

static void on_indefinite_map(void *item)
{
    number(item, EML_CBOR_MAP, 0);
    ((struct item *)item)->indefinite = true;
}

static void on_float(void *item, float v)
{
    (void)v;
    ((struct item *)item)->passable = true;
}

static void on_double(void *item, double v)
{
    (void)v;
    ((struct item *)item)->passable = true;
}

static void on_undefined(void *item)
{
    ((struct item *)item)->passable = true;
}

static void on_chunked(void *item)
{
    (void)item;
}

static const struct cbor_callbacks callbacks = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint64,
    .negint8 = on_nint8,
    .negint16 = on_nint16,
    .negint32 = on_nint32,
    .negint64 = on_nint64,
    .byte_string_start = on_chunked,
    .byte_string = on_bytes,
    .string = on_text,
    .string_start = on_chunked,
    .indef_array_start = on_indefinite_array,
    .array_start = on_array,
    .indef_map_start = on_indefinite_map,
    .map_start = on_map,
    .tag = cbor_null_tag_callback,
    .float2 = on_float,
    .float4 = on_float,
    .float8 = on_double,
    .undefined = on_undefined,
    .null = on_null,
    .boolean = on_bool,
    .indef_break = on_break,
};

/* Bytes of the shortest header that carries v (RFC 8949 section 3). */
static size_t header_bytes(uint64_t v)
{
    if (v < 24)
        return 1;
    if (v <= UINT8_MAX)
        return 2;
    if (v <= UINT16_MAX)
        return 3;
    return v <= UINT32_MAX ? 5 : 9;
}

/* A tag's header. libcbor's decoder refuses tags 6 to 20, of which 18 is COSE_Sign1. */
static struct item look_tag(struct eml_cur ahead)
{
    uint8_t info = eml_cur_u8(&ahead) & 0x1f;
    struct item i = {.type = EML_CBOR_TAG, .value = info, .size = 1};
    if (info >= 24 && info <= 27) {
        size_t more = (size_t)1 << (info - 24);
        i.value = info == 24   ? eml_cur_u8(&ahead)
                  : info == 25 ? eml_cur_u16(&ahead)
                  : info == 26 ? eml_cur_u32(&ahead)
                               : eml_cur_u64(&ahead);
        i.size += more;
    }
    if (info > 27 || !eml_cur_ok(&ahead) || i.size != header_bytes(i.value))
        return (struct item){.type = EML_CBOR_OTHER};
    return i;
}

/* The next item, not consumed; OTHER unless it is whole and minimal. */
static struct item look(const struct eml_cur *c)
{
    struct eml_cur ahead = *c;
    struct eml_bytes rest = eml_cur_rest(&ahead);
    struct item i = {.type = EML_CBOR_OTHER};
    if (rest.len == 0)
        return (struct item){.type = EML_CBOR_END};
    if (rest.ptr[0] >> 5 == 6)
        return look_tag(*c);
    struct cbor_decoder_result r = cbor_stream_decode(rest.ptr, rest.len, &callbacks, &i);
    if (r.status != CBOR_DECODER_FINISHED)
        return (struct item){.type = EML_CBOR_OTHER};
    i.size = r.read;
    size_t minimal = i.passable ? r.read : header_bytes(i.value) + i.bytes.len;
    if (i.type == EML_CBOR_OTHER ? !i.passable : r.read != minimal)
        return (struct item){.type = EML_CBOR_OTHER};
    return i;
}

/* The next item, which must be of this type, consumed. Zero and the cursor failed otherwise. */
static struct item take(struct eml_cur *c, enum eml_cbor_type type)
{
    struct item i = look(c);
    if (i.type != type || eml_cur_take(c, i.size).len == 0) {
        eml_cur_fail(c);
        return (struct item){.type = EML_CBOR_END};
    }
    return i;
}

enum eml_cbor_type eml_cbor_peek(struct eml_cur *c)
{
    return look(c).type;
}

uint64_t eml_cbor_uint(struct eml_cur *c)
{
    return take(c, EML_CBOR_UINT).value;
}

int64_t eml_cbor_int(struct eml_cur *c)
{
    bool negative = look(c).type == EML_CBOR_NINT;
    struct item i = take(c, negative ? EML_CBOR_NINT : EML_CBOR_UINT);
    if (i.value > INT64_MAX) {
        eml_cur_fail(c);
        return 0;
    }
    return negative ? -1 - (int64_t)i.value : (int64_t)i.value;
}

bool eml_cbor_bool(struct eml_cur *c)
{
    return take(c, EML_CBOR_BOOL).value != 0;
}

void eml_cbor_null(struct eml_cur *c)
{
    (void)take(c, EML_CBOR_NULL);
}

uint64_t eml_cbor_tag(struct eml_cur *c)
{
    return take(c, EML_CBOR_TAG).value;
}

struct eml_bytes eml_cbor_bytes(struct eml_cur *c, size_t max)
{
    struct item i = take(c, EML_CBOR_BYTES);
    if (i.bytes.len > max) {
        eml_cur_fail(c);
        return (struct eml_bytes){NULL, 0};
    }
    return i.bytes;
}

struct eml_bytes eml_cbor_text(struct eml_cur *c, size_t max)
{
    struct item i = take(c, EML_CBOR_TEXT);
    if (i.bytes.len > max || !eml_utf8_valid(i.bytes)) {
        eml_cur_fail(c);
        return (struct eml_bytes){NULL, 0};
    }
    return i.bytes;
}

/* An announced count, checked against max and against the bytes left, of which each element takes
 * at least `least`. */
static size_t definite(struct eml_cur *c, struct item i, size_t max, size_t least)
{
    if (i.indefinite || i.value > max || i.value > eml_cur_left(c) / least) {
        eml_cur_fail(c);
        return 0;
    }
    return (size_t)i.value;
}

size_t eml_cbor_array(struct eml_cur *c, size_t max)
{
    struct item i = take(c, EML_CBOR_ARRAY);
    return definite(c, i, max, 1);
}

size_t eml_cbor_map(struct eml_cur *c, size_t max)
{
    struct item i = take(c, EML_CBOR_MAP);
    return definite(c, i, max, 2);
}

/* In `left`: the top bit marks an indefinite container, the others count what may still come. */
#define INDEFINITE (SIZE_MAX / 2 + 1)

static size_t either(struct eml_cur *c, struct item i, size_t max, size_t least)
{
    EML_ASSERT(max < INDEFINITE);
    return i.indefinite ? INDEFINITE | max : definite(c, i, max, least);
}

size_t eml_cbor_array_any(struct eml_cur *c, size_t max)
{
    struct item i = take(c, EML_CBOR_ARRAY);
    return either(c, i, max, 1);
}

size_t eml_cbor_map_any(struct eml_cur *c, size_t max)
{
    struct item i = take(c, EML_CBOR_MAP);
    return either(c, i, max, 2);
}

bool eml_cbor_more(struct eml_cur *c, size_t *left)
{
    if (!eml_cur_ok(c))
        return false;
    if ((*left & INDEFINITE) != 0 && look(c).type == EML_CBOR_BREAK) {
        (void)take(c, EML_CBOR_BREAK);
        *left = 0;
        return false;
    }
    if (*left == INDEFINITE) /* more than max came */
        eml_cur_fail(c);
    if (*left == 0 || *left == INDEFINITE)
        return false;
    (*left)--;
    return true;
}

/* One open container of eml_cbor_skip. */
struct level {
    size_t left; /* as in eml_cbor_more; of a map: pairs */
    bool is_map;
    bool value_next; /* of a map: its key was read, its value comes */
};

/* Reads one item's header (or whole string); opens a level if it contains others. */
static bool skip_header(struct eml_cur *c, struct level *levels, size_t *depth, size_t max_depth)
{
    struct item i = look(c);
    bool opens = i.type == EML_CBOR_ARRAY || i.type == EML_CBOR_MAP || i.type == EML_CBOR_TAG;
    if (i.type == EML_CBOR_END || i.type == EML_CBOR_BREAK ||
        (i.type == EML_CBOR_OTHER && !i.passable) || (opens && *depth == max_depth))
        return false;
    (void)take(c, i.type);
    if (!opens)
        return i.type != EML_CBOR_TEXT || eml_utf8_valid(i.bytes);
    bool is_map = i.type == EML_CBOR_MAP;
    size_t left = i.type == EML_CBOR_TAG ? 1 : either(c, i, INDEFINITE - 1, is_map ? 2 : 1);
    levels[(*depth)++] = (struct level){.left = left, .is_map = is_map};
    return eml_cur_ok(c);
}

struct eml_bytes eml_cbor_skip(struct eml_cur *c, size_t max_depth)
{
    EML_ASSERT(max_depth <= EML_CBOR_DEPTH_MAX);
    struct level levels[EML_CBOR_DEPTH_MAX];
    struct eml_cur start = *c;
    size_t depth = 0;
    do {
        if (!skip_header(c, levels, &depth, max_depth)) {
            eml_cur_fail(c);
            break;
        }
        /* Close what is complete; stop at the first level that wants another item. */
        for (; depth > 0; depth--) {
            struct level *l = &levels[depth - 1];
            if (l->value_next) {
                l->value_next = false;
                break;
            }
            if (eml_cbor_more(c, &l->left)) {
                l->value_next = l->is_map;
                break;
            }
        }
    } while (depth > 0 && eml_cur_ok(c));
    if (!eml_cur_ok(c))
        return (struct eml_bytes){NULL, 0};
    return eml_cur_take(&start, eml_cur_left(&start) - eml_cur_left(c));
}

static void put(struct eml_buf *b, const unsigned char *header, size_t n)
{
    eml_buf_put(b, eml_bytes(header, n));
}

void eml_cbor_put_uint(struct eml_buf *b, uint64_t v)
{
    unsigned char h[9];
    put(b, h, cbor_encode_uint(v, h, sizeof h));
}

void eml_cbor_put_int(struct eml_buf *b, int64_t v)
{
    unsigned char h[9];
    if (v >= 0)
        put(b, h, cbor_encode_uint((uint64_t)v, h, sizeof h));
    else
        put(b, h, cbor_encode_negint((uint64_t)(-1 - v), h, sizeof h));
}

void eml_cbor_put_bool(struct eml_buf *b, bool v)
{
    unsigned char h[9];
    put(b, h, cbor_encode_bool(v, h, sizeof h));
}

void eml_cbor_put_null(struct eml_buf *b)
{
    unsigned char h[9];
    put(b, h, cbor_encode_null(h, sizeof h));
}

void eml_cbor_put_tag(struct eml_buf *b, uint64_t tag)
{
    unsigned char h[9];
    put(b, h, cbor_encode_tag(tag, h, sizeof h));
}

void eml_cbor_put_bytes(struct eml_buf *b, struct eml_bytes v)
{
    unsigned char h[9];
    put(b, h, cbor_encode_bytestring_start(v.len, h, sizeof h));
    eml_buf_put(b, v);
}

void eml_cbor_put_text(struct eml_buf *b, struct eml_bytes utf8)
{
    unsigned char h[9];
    put(b, h, cbor_encode_string_start(utf8.len, h, sizeof h));
    eml_buf_put(b, utf8);
}

void eml_cbor_put_array(struct eml_buf *b, uint64_t n)
{
    unsigned char h[9];
    put(b, h, cbor_encode_array_start((size_t)n, h, sizeof h));
}

void eml_cbor_put_map(struct eml_buf *b, uint64_t n)
{
    unsigned char h[9];
    put(b, h, cbor_encode_map_start((size_t)n, h, sizeof h));
}
