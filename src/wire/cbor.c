#include "wire/cbor.h"

#include "wire/utf8.h"

/* Major types, RFC 8949 section 3.1. */
enum { UINT, NINT, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE };

struct item {
    enum eml_cbor_type type;
    bool indefinite;        /* of ARRAY and MAP */
    bool passable;          /* of OTHER: a whole float or undefined, which eml_cbor_skip takes */
    uint64_t value;         /* integer (NINT: -1 - value), tag, length or count; BOOL: 0 or 1 */
    struct eml_bytes bytes; /* of BYTES and TEXT */
    size_t size;            /* bytes of the header, and of the string behind it */
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

/* Major type 7 (section 3.3); `info` is the low five bits of the first byte, the cursor behind it.
 */
static struct item look_simple(struct eml_cur *ahead, unsigned info)
{
    size_t payload = info >= 25 && info <= 27 ? (size_t)1 << (info - 24) : 0; /* floats */
    struct item i = {.type = EML_CBOR_OTHER, .size = 1 + payload};
    if (info == 20 || info == 21) {
        i.type = EML_CBOR_BOOL;
        i.value = info - 20;
    } else if (info == 22) {
        i.type = EML_CBOR_NULL;
    } else if (info == 31) {
        i.type = EML_CBOR_BREAK;
    } else {
        i.passable = info == 23 || (payload != 0 && eml_cur_take(ahead, payload).len == payload);
    }
    return i;
}

/* The argument of a header, in place or in the bytes behind it. */
static uint64_t argument(struct eml_cur *ahead, unsigned info)
{
    switch (info) {
    case 24:
        return eml_cur_u8(ahead);
    case 25:
        return eml_cur_u16(ahead);
    case 26:
        return eml_cur_u32(ahead);
    case 27:
        return eml_cur_u64(ahead);
    default: /* 28 to 31 mean nothing here; as values they are not minimal */
        return info;
    }
}

static const enum eml_cbor_type types[] = {EML_CBOR_UINT, EML_CBOR_NINT,  EML_CBOR_BYTES,
                                           EML_CBOR_TEXT, EML_CBOR_ARRAY, EML_CBOR_MAP,
                                           EML_CBOR_TAG,  EML_CBOR_OTHER};

/* What look does for an item that is a number in its first bytes, without building the item: most
 * of a topology key is that, and is decoded for every request. *type: also of other items. */
static inline bool look_number(const struct eml_cur *c, enum eml_cbor_type *type, uint64_t *value,
                               size_t *size)
{
    struct eml_cur ahead = eml_cur_ahead(c);
    unsigned first = eml_cur_u8(&ahead), info = first & 0x1f, major = first >> 5;
    *type = types[major];
    *value = info;
    *size = 1;
    if (!eml_cur_ok(&ahead) || info > 27 || major == BYTES || major == TEXT || major == SIMPLE)
        return false;
    if (info < 24)
        return true;
    *value = argument(&ahead, info);
    *size += (size_t)1 << (info - 24);
    return eml_cur_ok(&ahead) && *size == header_bytes(*value);
}

/* The next item, not consumed; OTHER unless it is whole and minimal. */
static struct item look(const struct eml_cur *c)
{
    struct eml_cur ahead = eml_cur_ahead(c);
    const size_t all = eml_cur_left(&ahead);
    if (all == 0)
        return (struct item){.type = EML_CBOR_END};
    unsigned first = eml_cur_u8(&ahead);
    unsigned major = first >> 5, info = first & 0x1f;
    if (major == SIMPLE)
        return look_simple(&ahead, info);
    struct item i = {.type = types[major], .size = 1};
    if ((major == ARRAY || major == MAP) && info == 31) {
        i.indefinite = true;
        return i;
    }
    i.value = argument(&ahead, info);
    i.size = all - eml_cur_left(&ahead);
    bool fine = eml_cur_ok(&ahead) && i.size == header_bytes(i.value);
    if (fine && (major == BYTES || major == TEXT)) {
        fine = i.value <= eml_cur_left(&ahead);
        i.bytes = eml_cur_take(&ahead, fine ? (size_t)i.value : 0);
        i.size += i.bytes.len;
    }
    return fine ? i : (struct item){.type = EML_CBOR_OTHER};
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

/* A number of 1, 2, 4 or 8 bytes behind its header, wherever 8 can be read: no branch depends on
 * how many it has, which in a topology key nobody can predict. False: it may be another item. */
static inline bool take_long(struct eml_cur *c, enum eml_cbor_type wanted, uint64_t *value)
{
    static const uint64_t least[] = {24, (uint64_t)1 << 8, (uint64_t)1 << 16, (uint64_t)1 << 32};
    struct eml_cur ahead = eml_cur_ahead(c);
    const struct eml_bytes b = eml_cur_take(&ahead, 1 + sizeof *value);
    const unsigned first = b.len != 0 ? b.ptr[0] : 0, log2 = first & 3;
    if (types[first >> 5] != wanted || (first & 0x1c) != 24)
        return false;
    *value = eml_load_u64(b.ptr + 1) >> (64 - (8u << log2));
    if (*value < least[log2])
        return false;
    (void)eml_cur_take(c, 1 + ((size_t)1 << log2));
    return true;
}

/* take, of an item that is a number; a container's length must be known. */
static inline uint64_t take_number(struct eml_cur *c, enum eml_cbor_type wanted)
{
    uint64_t longer;
    if (take_long(c, wanted, &longer))
        return longer;
    enum eml_cbor_type type;
    uint64_t value;
    size_t size;
    if (!look_number(c, &type, &value, &size) || type != wanted) {
        eml_cur_fail(c);
        return 0;
    }
    (void)eml_cur_take(c, size);
    return value;
}

enum eml_cbor_type eml_cbor_peek_long(struct eml_cur *c)
{
    enum eml_cbor_type type;
    uint64_t value;
    size_t size;
    return look_number(c, &type, &value, &size) ? type : look(c).type;
}

uint64_t eml_cbor_uint_long(struct eml_cur *c)
{
    return take_number(c, EML_CBOR_UINT);
}

int64_t eml_cbor_int_long(struct eml_cur *c)
{
    struct eml_cur ahead = eml_cur_ahead(c);
    bool negative = eml_cur_peek_u8(&ahead) >> 5 == NINT;
    uint64_t value = take_number(c, negative ? EML_CBOR_NINT : EML_CBOR_UINT);
    if (value > INT64_MAX) {
        eml_cur_fail(c);
        return 0;
    }
    return negative ? -1 - (int64_t)value : (int64_t)value;
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
    return take_number(c, EML_CBOR_TAG);
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
static inline size_t definite(struct eml_cur *c, uint64_t n, size_t max, size_t least)
{
    if (n > max || n > eml_cur_left(c) / least) {
        eml_cur_fail(c);
        return 0;
    }
    return (size_t)n;
}

size_t eml_cbor_array_long(struct eml_cur *c, size_t max)
{
    uint64_t n = take_number(c, EML_CBOR_ARRAY);
    return definite(c, n, max, 1);
}

size_t eml_cbor_map(struct eml_cur *c, size_t max)
{
    uint64_t n = take_number(c, EML_CBOR_MAP);
    return definite(c, n, max, 2);
}

/* In `left`: the top bit marks an indefinite container, the others count what may still come. */
#define INDEFINITE (SIZE_MAX / 2 + 1)

static size_t either(struct eml_cur *c, struct item i, size_t max, size_t least)
{
    EML_ASSERT(max < INDEFINITE);
    return i.indefinite ? INDEFINITE | max : definite(c, i.value, max, least);
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

static void put(struct eml_buf *b, unsigned major, uint64_t v)
{
    size_t n = header_bytes(v);
    uint8_t *h = eml_buf_grow(b, n);
    if (h == NULL)
        return;
    h[0] = (uint8_t)(major << 5 | (n == 1 ? v : 24u + (n > 2) + (n > 3) + (n > 5)));
    for (size_t i = n - 1; i > 0; i--, v >>= 8)
        h[i] = (uint8_t)v;
}

void eml_cbor_put_uint(struct eml_buf *b, uint64_t v)
{
    put(b, UINT, v);
}

void eml_cbor_put_int(struct eml_buf *b, int64_t v)
{
    put(b, v >= 0 ? UINT : NINT, v >= 0 ? (uint64_t)v : (uint64_t)(-1 - v));
}

void eml_cbor_put_bool(struct eml_buf *b, bool v)
{
    put(b, SIMPLE, v ? 21 : 20);
}

void eml_cbor_put_null(struct eml_buf *b)
{
    put(b, SIMPLE, 22);
}

void eml_cbor_put_tag(struct eml_buf *b, uint64_t tag)
{
    put(b, TAG, tag);
}

void eml_cbor_put_bytes(struct eml_buf *b, struct eml_bytes v)
{
    put(b, BYTES, v.len);
    eml_buf_put(b, v);
}

void eml_cbor_put_text(struct eml_buf *b, struct eml_bytes utf8)
{
    put(b, TEXT, utf8.len);
    eml_buf_put(b, utf8);
}

void eml_cbor_put_array(struct eml_buf *b, uint64_t n)
{
    put(b, ARRAY, n);
}

void eml_cbor_put_map(struct eml_buf *b, uint64_t n)
{
    put(b, MAP, n);
}
