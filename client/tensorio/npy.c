#include "tensorio/npy.h"

#include "base/checked.h"
#include "base/cur.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HEADER_BYTES_MAX = 4096, PREFIX_BYTES = 10, ALIGN = 64 };
static const uint8_t magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

static const struct {
    char descr[4];
    enum eml_dtype dtype;
} descrs[] = {
    {"<f4", EML_DT_F32}, {"<f8", EML_DT_F64}, {"<f2", EML_DT_F16}, {"|i1", EML_DT_I8},
    {"<i2", EML_DT_I16}, {"<i4", EML_DT_I32}, {"<i8", EML_DT_I64}, {"|u1", EML_DT_U8},
    {"<u2", EML_DT_U16}, {"<u4", EML_DT_U32}, {"<u8", EML_DT_U64}, {"|b1", EML_DT_BOOL},
};
enum { DESCRS_N = sizeof descrs / sizeof descrs[0] };

struct header {
    struct eml_bytes descr;
    bool has_descr, has_order, has_shape, fortran, rank_too_high;
    struct eml_shape shape;
};

static void skip_spaces(struct eml_cur *c)
{
    while (eml_cur_left(c) > 0 && eml_cur_peek_u8(c) == ' ')
        (void)eml_cur_u8(c);
}

/* The character, after spaces. */
static void expect(struct eml_cur *c, char ch)
{
    skip_spaces(c);
    if (eml_cur_u8(c) != (uint8_t)ch)
        eml_cur_fail(c);
}

static bool next_is(struct eml_cur *c, char ch)
{
    skip_spaces(c);
    if (eml_cur_left(c) == 0 || eml_cur_peek_u8(c) != (uint8_t)ch)
        return false;
    (void)eml_cur_u8(c);
    return true;
}

/* '...' without escapes. */
static struct eml_bytes quoted(struct eml_cur *c)
{
    expect(c, '\'');
    struct eml_cur start = *c;
    size_t n = 0;
    while (eml_cur_ok(c) && eml_cur_u8(c) != '\'')
        n++;
    return eml_cur_take(&start, eml_cur_ok(c) ? n : 0);
}

static int64_t number(struct eml_cur *c)
{
    int64_t v = 0;
    size_t digits = 0;
    skip_spaces(c);
    while (eml_cur_left(c) > 0) {
        uint8_t d = eml_cur_peek_u8(c);
        if (d < '0' || d > '9')
            break;
        (void)eml_cur_u8(c);
        if (!eml_mul_i64(v, 10, &v) || !eml_add_i64(v, d - '0', &v))
            eml_cur_fail(c);
        digits++;
    }
    if (digits == 0)
        eml_cur_fail(c);
    return v;
}

/* () or (n,) or (n, m) or (n, m,) */
static void read_shape(struct eml_cur *c, struct header *h)
{
    expect(c, '(');
    bool comma = true;
    while (eml_cur_ok(c) && !next_is(c, ')')) {
        if (!comma) {
            eml_cur_fail(c);
            return;
        }
        int64_t dim = number(c);
        comma = next_is(c, ',');
        if (h->shape.rank == EML_RANK_MAX)
            h->rank_too_high = true;
        else
            h->shape.dim[h->shape.rank++] = dim;
    }
    if (h->shape.rank == 1 && !comma && !h->rank_too_high) /* (n) is a number, not a tuple */
        eml_cur_fail(c);
}

static bool is(struct eml_bytes b, const char *s)
{
    return eml_bytes_equal(b, eml_bytes_of_str(s));
}

static void read_order(struct eml_cur *c, struct header *h)
{
    skip_spaces(c);
    h->fortran = eml_cur_left(c) > 0 && eml_cur_peek_u8(c) == 'T';
    if (!is(eml_cur_take(c, h->fortran ? 4 : 5), h->fortran ? "True" : "False"))
        eml_cur_fail(c);
}

static void read_entry(struct eml_cur *c, struct header *h)
{
    struct eml_bytes key = quoted(c);
    expect(c, ':');
    if (is(key, "descr") && !h->has_descr) {
        h->has_descr = true;
        h->descr = quoted(c);
    } else if (is(key, "fortran_order") && !h->has_order) {
        h->has_order = true;
        read_order(c, h);
    } else if (is(key, "shape") && !h->has_shape) {
        h->has_shape = true;
        read_shape(c, h);
    } else {
        eml_cur_fail(c);
    }
}

/* The dictionary, spaces, and a newline at the very end. */
static bool read_header(struct eml_bytes text, struct header *h)
{
    struct eml_cur c = eml_cur(text);
    bool comma = true;
    expect(&c, '{');
    while (eml_cur_ok(&c) && !next_is(&c, '}')) {
        if (!comma)
            eml_cur_fail(&c);
        read_entry(&c, h);
        comma = next_is(&c, ',');
    }
    skip_spaces(&c);
    if (eml_cur_u8(&c) != '\n')
        eml_cur_fail(&c);
    return eml_cur_done(&c) && h->has_descr && h->has_order && h->has_shape;
}

static enum eml_dtype dtype_of(struct eml_bytes descr)
{
    for (size_t i = 0; i < DESCRS_N; i++)
        if (is(descr, descrs[i].descr))
            return descrs[i].dtype;
    return EML_DT_NONE;
}

static struct eml_bytes take_header(struct eml_cur *c)
{
    if (!eml_bytes_equal(eml_cur_take(c, sizeof magic), EML_BYTES(magic)))
        eml_cur_fail(c);
    uint8_t major = eml_cur_u8(c), minor = eml_cur_u8(c);
    if (major < 1 || major > 3 || minor != 0)
        eml_cur_fail(c);
    size_t len = eml_cur_u8(c);
    len |= (size_t)eml_cur_u8(c) << 8;
    if (major > 1) {
        len |= (size_t)eml_cur_u8(c) << 16;
        len |= (size_t)eml_cur_u8(c) << 24;
    }
    if (len > HEADER_BYTES_MAX)
        eml_cur_fail(c);
    return eml_cur_take(c, len);
}

static bool data_bytes(const struct eml_tensor *t, size_t *bytes)
{
    int64_t count;
    return eml_shape_count(&t->shape, &count) &&
           eml_mul_size((size_t)count, eml_dtype_bytes(t->dtype), bytes);
}

static enum eml_err copy_data(struct eml_bytes data, struct eml_arena *arena, struct eml_tensor *t,
                              struct eml_why *why)
{
    if (!data_bytes(t, &t->bytes))
        return eml_fail(why, EML_E_INPUT, "npy: the product of the shape overflows", -1);
    if (data.len != t->bytes)
        return eml_fail(why, EML_E_INPUT, "npy: data is not as long as its shape says", -1);
    for (size_t i = 0; i < data.len && t->dtype == EML_DT_BOOL; i++)
        if (data.ptr[i] > 1)
            return eml_fail(why, EML_E_INPUT, "npy: a bool that is neither 0 nor 1", (long)i);
    void *copy = eml_arena_alloc(arena, data.len, ALIGN);
    if (copy == NULL)
        return eml_fail(why, EML_E_SYSTEM, "npy: too large for the memory reserved", -1);
    if (data.len > 0)
        memcpy(copy, data.ptr, data.len);
    t->data = copy;
    return EML_OK;
}

enum eml_err eml_npy_decode(struct eml_bytes file, struct eml_arena *arena, struct eml_tensor *out,
                            struct eml_why *why)
{
    struct eml_cur c = eml_cur(file);
    struct header h = {0};
    *out = (struct eml_tensor){0};
    struct eml_bytes text = take_header(&c);
    if (!eml_cur_ok(&c))
        return eml_fail(why, EML_E_INPUT, "npy: not a .npy file of version 1 to 3", -1);
    if (!read_header(text, &h))
        return eml_fail(why, EML_E_INPUT, "npy: malformed header", -1);
    if (h.rank_too_high)
        return eml_fail(why, EML_E_UNSUPPORTED, "npy: more than 8 dims", -1);
    struct eml_tensor t = {.dtype = dtype_of(h.descr), .shape = h.shape};
    if (t.dtype == EML_DT_NONE)
        return eml_fail(why, EML_E_UNSUPPORTED,
                        "npy: not a little-endian number or bool (use astype)", -1);
    if (h.fortran && h.shape.rank > 1)
        return eml_fail(why, EML_E_UNSUPPORTED, "npy: column-major (use numpy.ascontiguousarray)",
                        -1);
    EML_TRY(copy_data(eml_cur_rest(&c), arena, &t, why));
    *out = t;
    return EML_OK;
}

static const char *descr_of(enum eml_dtype t)
{
    for (size_t i = 0; i < DESCRS_N; i++)
        if (descrs[i].dtype == t)
            return descrs[i].descr;
    return NULL;
}

static void put_str(struct eml_buf *b, const char *s)
{
    eml_buf_put(b, eml_bytes_of_str(s));
}

static void put_header(struct eml_buf *b, const char *descr, const struct eml_shape *s)
{
    put_str(b, "{'descr': '");
    put_str(b, descr);
    put_str(b, "', 'fortran_order': False, 'shape': (");
    for (uint32_t i = 0; i < s->rank; i++) {
        char dim[32];
        (void)snprintf(dim, sizeof dim, i == 0 ? "%" PRId64 : ", %" PRId64, s->dim[i]);
        put_str(b, dim);
    }
    put_str(b, s->rank == 1 ? ",), }" : "), }");
    while ((PREFIX_BYTES + b->len + 1) % ALIGN != 0 && !b->failed)
        eml_buf_put_u8(b, ' ');
    eml_buf_put_u8(b, '\n');
}

enum eml_err eml_npy_encode(const struct eml_tensor *t, struct eml_buf *out)
{
    const char *descr = descr_of(t->dtype);
    struct eml_buf header = {0};
    size_t bytes = 0;
    if (descr == NULL)
        return EML_E_UNSUPPORTED;
    if (t->shape.rank > EML_RANK_MAX || !data_bytes(t, &bytes) || bytes != t->bytes)
        return EML_E_USAGE;
    put_header(&header, descr, &t->shape);
    eml_buf_put(out, EML_BYTES(magic));
    eml_buf_put_u8(out, 1);
    eml_buf_put_u8(out, 0);
    eml_buf_put_u8(out, (uint8_t)header.len);
    eml_buf_put_u8(out, (uint8_t)(header.len >> 8));
    eml_buf_put(out, eml_buf_bytes(&header));
    eml_buf_put(out, eml_bytes(t->data, t->bytes));
    enum eml_err err = eml_buf_ok(&header) == EML_OK ? eml_buf_ok(out) : EML_E_SYSTEM;
    eml_buf_free(&header);
    if (err != EML_OK)
        eml_buf_free(out);
    return err;
}
