/* Compress and Unique: how many elements come out depends on the data. */
#include "engine/exec.h"
#include "engine/sort.h"
#include "engine/typed.h"

#include "base/checked.h"

#include <string.h>

/* A tensor as n slices along an axis; without axis, as n elements. */
struct slices {
    int64_t outer, n, inner; /* inner: elements of a slice that lie together */
    size_t width;
};

static struct slices slices_of(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0];
    const struct eml_attr *axis = eml_node_attr(c->node, EML_ATTR_AXIS);
    struct slices s = {.outer = 1, .n = x->count, .inner = 1, .width = eml_dtype_bytes(x->dtype)};
    if (axis == NULL)
        return s;
    uint32_t rank = x->shape.rank;
    uint32_t d = (uint32_t)(axis->v[0] < 0 ? axis->v[0] + (int64_t)rank : axis->v[0]);
    s.n = x->shape.dim[d];
    for (uint32_t i = 0; i < rank; i++) {
        s.outer *= i < d ? x->shape.dim[i] : 1;
        s.inner *= i > d ? x->shape.dim[i] : 1;
    }
    return s;
}

/* The dim of shape that was left open. */
static void set_open_dim(struct eml_shape *s, int64_t v)
{
    for (uint32_t i = 0; i < s->rank; i++)
        if (s->dim[i] == EML_DIM_UNKNOWN)
            s->dim[i] = v;
}

/* Slice `from` of x becomes slice `to` of y, which has n. */
static void copy_slice(const struct slices *s, void *y, int64_t n, int64_t to, const void *x,
                       int64_t from)
{
    size_t piece = (size_t)s->inner * s->width;
    for (int64_t o = 0; o < s->outer && piece > 0; o++)
        memcpy((uint8_t *)y + (size_t)(o * n + to) * piece,
               (const uint8_t *)x + (size_t)(o * s->n + from) * piece, piece);
}

/* ---- Compress ---- */

/* Entries of the condition that count: it may be shorter or longer than the tensor. */
static int64_t entries(const struct eml_op_ctx *c, const struct slices *s)
{
    return c->in[1].count < s->n ? c->in[1].count : s->n;
}

enum eml_err eml_size_compress(const struct eml_op_ctx *c, struct eml_shape *shape)
{
    struct slices s = slices_of(c);
    int64_t n = entries(c, &s), kept = 0;
    for (int64_t i = 0; i < n; i++)
        kept += ((const uint8_t *)c->in[1].data)[i] != 0;
    set_open_dim(&shape[0], kept);
    return EML_OK;
}

enum eml_err eml_op_compress(const struct eml_op_ctx *c)
{
    struct slices s = slices_of(c);
    int64_t n = entries(c, &s), to = 0, kept = 0;
    for (int64_t i = 0; i < n; i++)
        kept += ((const uint8_t *)c->in[1].data)[i] != 0;
    for (int64_t i = 0; i < n; i++)
        if (((const uint8_t *)c->in[1].data)[i] != 0)
            copy_slice(&s, c->out[0].data, kept, to++, c->in[0].data, i);
    return EML_OK;
}

/* ---- Unique ---- */

struct sorter {
    struct slices s;
    const void *x;
    int (*compare)(const struct sorter *s, int64_t i, int64_t j);
};

/* Slices element by element; NaN is the greatest and equal to itself. */
#define COMPARE(NAME, T)                                                                           \
    static int compare_##NAME(const struct sorter *w, int64_t i, int64_t j)                        \
    {                                                                                              \
        const T *x = w->x;                                                                         \
        for (int64_t o = 0; o < w->s.outer; o++) {                                                 \
            const T *p = x + (o * w->s.n + i) * w->s.inner,                                        \
                    *q = x + (o * w->s.n + j) * w->s.inner;                                        \
            for (int64_t k = 0; k < w->s.inner; k++) {                                             \
                bool p_nan = p[k] != p[k], q_nan = q[k] != q[k];                                   \
                if (p_nan != q_nan)                                                                \
                    return p_nan ? 1 : -1;                                                         \
                if (p[k] < q[k])                                                                   \
                    return -1;                                                                     \
                if (p[k] > q[k])                                                                   \
                    return 1;                                                                      \
            }                                                                                      \
        }                                                                                          \
        return 0;                                                                                  \
    }
EML_NUMBER_TYPES(COMPARE)

static bool before(const void *what, int64_t i, int64_t j)
{
    const struct sorter *s = what;
    int order = s->compare(s, i, j);
    return order < 0 || (order == 0 && i < j);
}

static struct sorter sorter_of(const struct eml_op_ctx *c)
{
    struct sorter s = {.s = slices_of(c), .x = c->in[0].data, .compare = compare_U8 /* and bool */};
    switch (c->in[0].dtype) {
#define CASE(NAME, T)                                                                              \
    case EML_DT_##NAME:                                                                            \
        s.compare = compare_##NAME;                                                                \
        break;
        EML_NUMBER_TYPES(CASE)
    default:
        break;
    }
    return s;
}

/* What the size function leaves in scratch, n integers each: the slices in order; of each slice the
 * first that is equal to it. And room for the kernel: the number of each first one among them. */
struct found {
    int64_t *order, *first, *number;
};

static struct found found_of(const struct eml_op_ctx *c, int64_t n)
{
    int64_t *p = (int64_t *)(void *)c->scratch.ptr;
    EML_ASSERT(c->scratch.len / (3 * sizeof *p) >= (size_t)n);
    return (struct found){p, p + n, p + 2 * n};
}

bool eml_scratch_unique(const struct eml_op_ctx *c, size_t *bytes)
{
    return eml_mul_size((size_t)slices_of(c).n, 3 * sizeof(int64_t), bytes);
}

enum eml_err eml_size_unique(const struct eml_op_ctx *c, struct eml_shape *shape)
{
    struct sorter s = sorter_of(c);
    int64_t n = s.s.n, different = 0;
    if (n > 0) {
        struct found f = found_of(c, n);
        for (int64_t i = 0; i < n; i++)
            f.order[i] = i;
        eml_sort_indices(f.order, n, before, &s);
        for (int64_t i = 0; i < n; i++) {
            bool same = i > 0 && s.compare(&s, f.order[i - 1], f.order[i]) == 0;
            f.first[f.order[i]] = same ? f.first[f.order[i - 1]] : f.order[i];
            different += !same;
        }
    }
    for (uint32_t i = 0; i < c->n_out; i++)
        set_open_dim(&shape[i], different);
    return EML_OK;
}

/* Output i, or NULL. */
static int64_t *integers(const struct eml_op_ctx *c, uint32_t i)
{
    return i < c->n_out && c->out[i].dtype != EML_DT_NONE ? c->out[i].data : NULL;
}

enum eml_err eml_op_unique(const struct eml_op_ctx *c)
{
    struct slices s = slices_of(c);
    bool sorted = eml_node_int(c->node, EML_ATTR_SORTED, 1) != 0;
    int64_t *indices = integers(c, 1), *inverse = integers(c, 2), *counts = integers(c, 3);
    int64_t different = 0, at = 0;
    if (s.n == 0)
        return EML_OK;
    struct found f = found_of(c, s.n);
    for (int64_t i = 0; i < s.n; i++)
        different += f.first[i] == i;
    for (int64_t i = 0; i < s.n; i++) {
        int64_t slice = sorted ? f.order[i] : i;
        if (f.first[slice] != slice)
            continue;
        f.number[slice] = at;
        copy_slice(&s, c->out[0].data, different, at, c->in[0].data, slice);
        if (indices != NULL)
            indices[at] = slice;
        if (counts != NULL)
            counts[at] = 0;
        at++;
    }
    for (int64_t i = 0; i < s.n; i++) {
        int64_t number = f.number[f.first[i]];
        if (inverse != NULL)
            inverse[i] = number;
        if (counts != NULL)
            counts[number]++;
    }
    return EML_OK;
}
