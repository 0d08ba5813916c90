/* TopK, OneHot, ReverseSequence. */
#include "engine/exec.h"
#include "engine/indices.h"
#include "engine/typed.h"

#include <string.h>

static uint32_t axis_of(const struct eml_op_ctx *c, uint32_t rank, int64_t otherwise)
{
    int64_t axis = eml_node_int(c->node, EML_ATTR_AXIS, otherwise);
    return (uint32_t)(axis < 0 ? axis + (int64_t)rank : axis);
}

static int64_t product(const struct eml_shape *s, uint32_t first, uint32_t end)
{
    int64_t n = 1;
    for (uint32_t i = first; i < end; i++)
        n *= s->dim[i];
    return n;
}

/* ---- TopK ---- */

/* One row: n elements, `step` apart, and the k indices of the output, `step` apart too. The indices
 * are a heap whose top is the worst of those kept, until they are sorted. */
struct row {
    const void *x;
    int64_t *index;
    int64_t step, n, k;
    bool largest;
    bool (*before)(const struct row *r, int64_t i, int64_t j);
};

/* Element i comes before element j: the better one, and of equals the first. NaN is the greatest.
 */
#define BEFORE(NAME, T)                                                                            \
    static bool before_##NAME(const struct row *r, int64_t i, int64_t j)                           \
    {                                                                                              \
        const T *x = r->x;                                                                         \
        T a = x[i * r->step], b = x[j * r->step];                                                  \
        bool a_nan = a != a, b_nan = b != b;                                                       \
        if (a_nan != b_nan)                                                                        \
            return a_nan == r->largest;                                                            \
        if (a_nan || a == b)                                                                       \
            return i < j;                                                                          \
        return r->largest ? a > b : a < b;                                                         \
    }
EML_NUMBER_TYPES(BEFORE)

/* Moves the entry at `at` down to its place in the heap of the first n entries. */
static void sift(const struct row *r, int64_t at, int64_t n)
{
    int64_t moving = r->index[at * r->step];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n &&
            r->before(r, r->index[child * r->step], r->index[(child + 1) * r->step]))
            child++;
        int64_t below = r->index[child * r->step];
        if (r->before(r, below, moving))
            break;
        r->index[at * r->step] = below;
    }
    r->index[at * r->step] = moving;
}

static void select_best(const struct row *r)
{
    for (int64_t i = 0; i < r->k; i++)
        r->index[i * r->step] = i;
    for (int64_t i = r->k / 2; i-- > 0;)
        sift(r, i, r->k);
    for (int64_t i = r->k; i < r->n; i++) {
        if (!r->before(r, i, r->index[0]))
            continue;
        r->index[0] = i;
        sift(r, 0, r->k);
    }
    for (int64_t end = r->k; end-- > 1;) { /* the worst goes to the end */
        int64_t worst = r->index[0];
        r->index[0] = r->index[end * r->step];
        r->index[end * r->step] = worst;
        sift(r, 0, end);
    }
}

struct top_k {
    const struct eml_view *x, *values, *indices;
    struct row row;
    size_t width;
};

static void top_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct top_k *t = arg;
    struct row r = t->row;
    for (int64_t i = begin; i < end; i++) {
        int64_t outer = i / r.step, inner = i % r.step;
        r.x = (const uint8_t *)t->x->data + (size_t)(outer * r.n * r.step + inner) * t->width;
        size_t first = (size_t)(outer * r.k * r.step + inner);
        r.index = (int64_t *)t->indices->data + first;
        select_best(&r);
        uint8_t *y = (uint8_t *)t->values->data + first * t->width;
        for (int64_t j = 0; j < r.k; j++)
            memcpy(y + (size_t)(j * r.step) * t->width,
                   (const uint8_t *)r.x + (size_t)(r.index[j * r.step] * r.step) * t->width,
                   t->width);
    }
}

enum eml_err eml_op_top_k(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0];
    uint32_t rank = x->shape.rank, axis = axis_of(c, rank, -1);
    if (c->out[0].count == 0)
        return EML_OK;
    struct top_k t = {.x = x,
                      .values = &c->out[0],
                      .indices = &c->out[1],
                      .width = eml_dtype_bytes(x->dtype),
                      .row = {.n = x->shape.dim[axis],
                              .k = c->out[0].shape.dim[axis],
                              .step = product(&x->shape, axis + 1, rank),
                              .largest = eml_node_int(c->node, EML_ATTR_LARGEST, 1) != 0}};
    switch (x->dtype) {
#define CASE(NAME, T)                                                                              \
    case EML_DT_##NAME:                                                                            \
        t.row.before = before_##NAME;                                                              \
        break;
        EML_NUMBER_TYPES(CASE)
    default:
        EML_BUG();
    }
    eml_pool_for(c->pool, product(&x->shape, 0, axis) * t.row.step, 1 + 4096 / t.row.n, top_rows,
                 &t);
    return EML_OK;
}

/* ---- OneHot ---- */

enum eml_err eml_op_one_hot(const struct eml_op_ctx *c)
{
    const struct eml_view *k = &c->in[0], *values = &c->in[2], *y = &c->out[0];
    uint32_t rank = y->shape.rank, axis = axis_of(c, rank, -1);
    int64_t depth = y->shape.dim[axis], inner = product(&y->shape, axis + 1, rank);
    size_t width = eml_dtype_bytes(y->dtype);
    const uint8_t *off = values->data, *on = off + width;
    for (int64_t i = 0; i < y->count; i++)
        memcpy((uint8_t *)y->data + (size_t)i * width, off, width);
    for (int64_t i = 0; i < k->count && depth > 0; i++) {
        int64_t at = eml_index_in(eml_index_at(k, i), depth);
        if (at < 0)
            continue; /* the standard: all off */
        int64_t to = (i / inner * depth + at) * inner + i % inner;
        memcpy((uint8_t *)y->data + (size_t)to * width, on, width);
    }
    return EML_OK;
}

/* ---- ReverseSequence ---- */

enum eml_err eml_op_reverse_sequence(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *lens = &c->in[1], *y = &c->out[0];
    bool batch_first = eml_node_int(c->node, EML_ATTR_BATCH_AXIS, 1) == 0;
    int64_t rows = x->shape.dim[0], columns = x->shape.dim[1];
    int64_t batch = batch_first ? rows : columns, time = batch_first ? columns : rows;
    size_t piece = eml_dtype_bytes(x->dtype) * (size_t)product(&x->shape, 2, x->shape.rank);
    for (int64_t i = 0; i < batch; i++) {
        int64_t n = eml_index_at(lens, i);
        if (n < 0 || n > time)
            return eml_fail(c->why, EML_E_INPUT, "ReverseSequence: length out of range", -1);
        for (int64_t t = 0; t < time && piece > 0; t++) {
            int64_t from = t < n ? n - 1 - t : t;
            int64_t to_at = batch_first ? i * columns + t : t * columns + i;
            int64_t from_at = batch_first ? i * columns + from : from * columns + i;
            memcpy((uint8_t *)y->data + (size_t)to_at * piece,
                   (const uint8_t *)x->data + (size_t)from_at * piece, piece);
        }
    }
    return EML_OK;
}
