/* GatherND, ScatterElements, ScatterND: element or slice by index. An index is data: it is checked
 * here, and anything out of range is EML_E_INPUT. Updates are applied in order, so that of several
 * to one place the last wins. */
#include "engine/exec.h"
#include "engine/indices.h"
#include "engine/typed.h"
#include "engine/walk.h"

#include <string.h>

enum { NONE, ADD, MUL, MIN, MAX };

/* Offset in elements that a tuple of indices into dims [at, at + tuple) means; -1 if one of them is
 * out of range. */
static int64_t tuple_offset(const struct eml_view *k, int64_t first, int64_t tuple,
                            const struct eml_shape *s, uint32_t at, const int64_t *stride)
{
    int64_t offset = 0;
    for (uint32_t d = 0; d < (uint32_t)tuple; d++) {
        int64_t i = eml_index_in(eml_index_at(k, first + d), s->dim[at + d]);
        if (i < 0)
            return -1;
        offset += i * stride[at + d];
    }
    return offset;
}

static int64_t product(const struct eml_shape *s, uint32_t first, uint32_t end)
{
    int64_t n = 1;
    for (uint32_t i = first; i < end; i++)
        n *= s->dim[i];
    return n;
}

enum eml_err eml_op_gather_nd(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *k = &c->in[1], *y = &c->out[0];
    uint32_t b = (uint32_t)eml_node_int(c->node, EML_ATTR_BATCH_DIMS, 0), q = k->shape.rank;
    int64_t tuple = k->shape.dim[q - 1], stride[EML_RANK_MAX];
    int64_t batches = product(&k->shape, 0, b), per = product(&k->shape, b, q - 1);
    int64_t whole = product(&x->shape, b, x->shape.rank);
    size_t width = eml_dtype_bytes(x->dtype);
    size_t piece = width * (size_t)product(&x->shape, b + (uint32_t)tuple, x->shape.rank);
    eml_strides(&x->shape, stride);
    for (int64_t i = 0; i < batches * per; i++) {
        int64_t at = tuple_offset(k, i * tuple, tuple, &x->shape, b, stride);
        if (at < 0)
            return eml_index_bad(c);
        if (piece > 0)
            memcpy((uint8_t *)y->data + (size_t)i * piece,
                   (const uint8_t *)x->data + (size_t)(i / per * whole + at) * width, piece);
    }
    return EML_OK;
}

/* ---- what an update does to what is there ---- */

/* Sums and products of integers wrap. */
#define COMBINE(NAME, T, WIDE)                                                                     \
    static void combine_##NAME(void *to, const void *from, int64_t n, int64_t how)                 \
    {                                                                                              \
        T *y = to;                                                                                 \
        const T *u = from;                                                                         \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T a = y[i], b = u[i];                                                                  \
            bool nan = b != b; /* NaN wins in min and max */                                       \
            y[i] = how == ADD   ? (T)((WIDE)a + (WIDE)b)                                           \
                   : how == MUL ? (T)((WIDE)a * (WIDE)b)                                           \
                   : how == MIN ? (b < a || nan ? b : a)                                           \
                                : (b > a || nan ? b : a);                                          \
        }                                                                                          \
    }
#define COMBINE_INT(NAME, T) COMBINE(NAME, T, uint64_t)
#define COMBINE_FLOAT(NAME, T) COMBINE(NAME, T, T)
EML_INT_TYPES(COMBINE_INT)
EML_FLOAT_TYPES(COMBINE_FLOAT)

struct scatter {
    void (*combine)(void *to, const void *from, int64_t n, int64_t how);
    uint8_t *y;
    const uint8_t *u;
    int64_t how;
    size_t width;
};

static enum eml_err scatter_start(const struct eml_op_ctx *c, struct scatter *s)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    *s = (struct scatter){.y = y->data,
                          .u = c->in[2].data,
                          .how = eml_node_int(c->node, EML_ATTR_REDUCTION, NONE),
                          .width = eml_dtype_bytes(x->dtype)};
    if (y->count > 0 && y->data != x->data)
        memcpy(y->data, x->data, (size_t)y->count * s->width);
    switch (x->dtype) {
#define CASE(NAME, T)                                                                              \
    case EML_DT_##NAME:                                                                            \
        s->combine = combine_##NAME;                                                               \
        break;
        EML_NUMBER_TYPES(CASE)
    default: /* types that are only moved */
        if (s->how != NONE)
            return eml_fail(c->why, EML_E_UNSUPPORTED, "reduction of this type", -1);
    }
    return EML_OK;
}

/* n elements of the updates from `from` on, to the element `to` of the output on. */
static void put(const struct scatter *s, int64_t to, int64_t from, int64_t n)
{
    uint8_t *y = s->y + (size_t)to * s->width;
    const uint8_t *u = s->u + (size_t)from * s->width;
    if (s->how == NONE)
        memcpy(y, u, (size_t)n * s->width);
    else
        s->combine(y, u, n, s->how);
}

enum eml_err eml_op_scatter_elements(const struct eml_op_ctx *c)
{
    const struct eml_view *k = &c->in[1], *y = &c->out[0];
    struct scatter s;
    EML_TRY(scatter_start(c, &s));
    int64_t axis = eml_node_int(c->node, EML_ATTR_AXIS, 0), stride[EML_RANK_MAX];
    uint32_t rank = y->shape.rank;
    axis += axis < 0 ? (int64_t)rank : 0;
    eml_strides(&y->shape, stride);
    int64_t at[EML_RANK_MAX] = {0}, base = 0; /* where k stands, and its offset without the axis */
    for (int64_t i = 0; i < k->count; i++) {
        int64_t index = eml_index_in(eml_index_at(k, i), y->shape.dim[axis]);
        if (index < 0)
            return eml_index_bad(c);
        put(&s, base + index * stride[axis], i, 1);
        for (uint32_t d = rank; d-- > 0;) {
            int64_t step = d == (uint32_t)axis ? 0 : stride[d];
            base += step;
            if (++at[d] < k->shape.dim[d])
                break;
            base -= at[d] * step;
            at[d] = 0;
        }
    }
    return EML_OK;
}

enum eml_err eml_op_scatter_nd(const struct eml_op_ctx *c)
{
    const struct eml_view *k = &c->in[1], *y = &c->out[0];
    struct scatter s;
    EML_TRY(scatter_start(c, &s));
    uint32_t q = k->shape.rank;
    int64_t tuple = k->shape.dim[q - 1], stride[EML_RANK_MAX];
    int64_t tuples = product(&k->shape, 0, q - 1);
    int64_t piece = product(&y->shape, (uint32_t)tuple, y->shape.rank);
    eml_strides(&y->shape, stride);
    for (int64_t i = 0; i < tuples; i++) {
        int64_t at = tuple_offset(k, i * tuple, tuple, &y->shape, 0, stride);
        if (at < 0)
            return eml_index_bad(c);
        if (piece > 0)
            put(&s, at, i * piece, piece);
    }
    return EML_OK;
}
