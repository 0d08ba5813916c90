#include "engine/dynamic.h"

#include "engine/infer.h"

#include "base/checked.h"
#include "model/limits.h"

#include <string.h>

static enum eml_err bad(struct eml_why *why, const char *rule)
{
    return eml_fail(why, EML_E_INPUT, rule, -1);
}

/* NULL from the heap. */
static enum eml_err no_room(struct eml_why *why)
{
    return eml_fail(why, EML_E_REFUSED, "memory budget exceeded", -1);
}

static enum eml_err made(struct eml_item *x, struct eml_item **out, struct eml_why *why)
{
    *out = x;
    return x != NULL ? EML_OK : no_room(why);
}

static bool is_tensor(const struct eml_item *x)
{
    return x != NULL && eml_dtype_bytes(x->view.dtype) != 0;
}

enum eml_err eml_item_int(const struct eml_item *x, int64_t *v, struct eml_why *why)
{
    *v = 0;
    if (!is_tensor(x) || !eml_dtype_is_int(x->view.dtype) || x->view.count != 1)
        return bad(why, "not a single integer");
    *v = eml_load_int(x->view.dtype, x->view.data, 0);
    return EML_OK;
}

static enum eml_err normal_axis(int64_t axis, uint32_t rank, uint32_t *out, struct eml_why *why)
{
    *out = 0;
    if (axis < -(int64_t)rank || axis >= (int64_t)rank)
        return bad(why, "axis out of range");
    *out = (uint32_t)(axis < 0 ? axis + rank : axis);
    return EML_OK;
}

/* Bytes of a tensor's rows behind an axis, and how many rows stand before it. */
static void around(const struct eml_item *x, uint32_t axis, int64_t *before, size_t *after)
{
    *before = 1;
    *after = eml_dtype_bytes(x->view.dtype);
    for (uint32_t i = 0; i < axis; i++)
        *before *= x->view.shape.dim[i];
    for (uint32_t i = axis + 1; i < x->view.shape.rank; i++)
        *after *= (size_t)x->view.shape.dim[i];
}

enum eml_err eml_list_cut(struct eml_heap *h, const struct eml_item *x, uint32_t axis,
                          int64_t begin, int64_t n, bool squeeze, struct eml_item **out,
                          struct eml_why *why)
{
    struct eml_shape s = x->view.shape;
    int64_t before, dim = s.dim[axis];
    size_t after;
    around(x, axis, &before, &after);
    s.dim[axis] = n;
    if (squeeze) {
        s.rank--;
        for (uint32_t i = axis; i < s.rank; i++)
            s.dim[i] = s.dim[i + 1];
    }
    EML_TRY(made(eml_item_tensor(h, x->view.dtype, &s), out, why));
    size_t row = (size_t)n * after;
    const uint8_t *from = (const uint8_t *)x->view.data + (size_t)begin * after;
    for (int64_t o = 0; o < before && row > 0; o++)
        memcpy((uint8_t *)(*out)->view.data + (size_t)o * row, from + (size_t)(o * dim) * after,
               row);
    return EML_OK;
}

/* Shape of the whole: that of the first with the sum of the dims along the axis. */
static enum eml_err join_shape(const struct eml_item *list, uint32_t axis, bool new_axis,
                               struct eml_shape *s, struct eml_why *why)
{
    int64_t sum = 0, count, bytes;
    const struct eml_view *first = &list->list[0]->view;
    for (uint32_t k = 0; k < list->n_list; k++) {
        const struct eml_view *v = &list->list[k]->view;
        bool same = v->dtype == first->dtype && v->shape.rank == first->shape.rank;
        for (uint32_t i = 0; same && i < v->shape.rank; i++)
            same = v->shape.dim[i] == first->shape.dim[i] || (!new_axis && i == axis);
        if (!same)
            return bad(why, "tensors to be joined differ");
        if (!eml_add_i64(sum, new_axis ? 1 : v->shape.dim[axis], &sum))
            return bad(why, "tensor above the size limit");
    }
    *s = first->shape;
    if (new_axis) {
        for (uint32_t i = s->rank++; i > axis; i--)
            s->dim[i] = s->dim[i - 1];
    }
    s->dim[axis] = sum;
    if (!eml_shape_count(s, &count) ||
        !eml_mul_i64(count, (int64_t)eml_dtype_bytes(first->dtype), &bytes) ||
        bytes > (int64_t)EML_TENSOR_BYTES_MAX)
        return bad(why, "tensor above the size limit");
    return EML_OK;
}

enum eml_err eml_list_join(struct eml_heap *h, const struct eml_item *list, int64_t axis,
                           bool new_axis, bool backwards, enum eml_dtype none,
                           struct eml_item **out, struct eml_why *why)
{
    struct eml_shape s = {1, {0}};
    uint32_t at;
    *out = NULL;
    if (list->n_list == 0)
        return made(eml_item_tensor(h, none, &s), out, why);
    uint32_t rank = list->list[0]->view.shape.rank + (new_axis ? 1 : 0);
    if (rank > EML_RANK_MAX)
        return bad(why, "rank above the limit");
    EML_TRY(normal_axis(axis, rank, &at, why));
    EML_TRY(join_shape(list, at, new_axis, &s, why));
    EML_TRY(made(eml_item_tensor(h, list->list[0]->view.dtype, &s), out, why));
    uint8_t *to = (*out)->view.data;
    int64_t before = 1;
    for (uint32_t i = 0; i < at; i++)
        before *= s.dim[i];
    for (int64_t o = 0; o < before; o++)
        for (uint32_t k = 0; k < list->n_list; k++) {
            const struct eml_item *x = list->list[backwards ? list->n_list - 1 - k : k];
            size_t row = eml_item_bytes(x) / (size_t)before;
            if (row > 0)
                memcpy(to, (const uint8_t *)x->view.data + (size_t)o * row, row);
            to += row;
        }
    return EML_OK;
}

/* ---- the operators ---- */

static bool is_list(const struct eml_item *x)
{
    return x != NULL && x->view.dtype == EML_DT_SEQUENCE;
}

/* Position i of a list of n; an absent one is n + otherwise. */
static enum eml_err position(const struct eml_item *i, int64_t n, int64_t most, int64_t otherwise,
                             uint32_t *at, struct eml_why *why)
{
    int64_t v = n + otherwise;
    *at = 0;
    if (i != NULL) {
        EML_TRY(eml_item_int(i, &v, why));
        if (v < -n || v > most)
            return bad(why, "index out of range of the sequence");
        v += v < 0 ? n : 0;
    }
    if (v < 0)
        return bad(why, "index out of range of the sequence");
    *at = (uint32_t)v;
    return EML_OK;
}

static enum eml_err construct(struct eml_heap *h, struct eml_item *const *in, uint32_t n,
                              struct eml_item **out, struct eml_why *why)
{
    EML_TRY(made(eml_item_list(h), out, why));
    for (uint32_t i = 0; i < n; i++) {
        if (!is_tensor(in[i]))
            return bad(why, "sequence of something that is no tensor");
        if (!eml_item_append(h, *out, in[i]))
            return no_room(why);
    }
    return EML_OK;
}

static enum eml_err insert(struct eml_heap *h, struct eml_item *const *in, uint32_t n,
                           struct eml_item **out, struct eml_why *why)
{
    const struct eml_item *list = in[0];
    uint32_t at;
    if (!is_tensor(in[1]))
        return bad(why, "sequence of something that is no tensor");
    EML_TRY(position(n > 2 ? in[2] : NULL, list->n_list, list->n_list, 0, &at, why));
    EML_TRY(made(eml_item_sublist(h, list, 0, at), out, why));
    bool ok = eml_item_append(h, *out, in[1]);
    for (uint32_t i = at; ok && i < list->n_list; i++)
        ok = eml_item_append(h, *out, list->list[i]);
    return ok ? EML_OK : no_room(why);
}

static enum eml_err erase(struct eml_heap *h, struct eml_item *const *in, uint32_t n,
                          struct eml_item **out, struct eml_why *why)
{
    const struct eml_item *list = in[0];
    uint32_t at;
    EML_TRY(position(n > 1 ? in[1] : NULL, list->n_list, (int64_t)list->n_list - 1, -1, &at, why));
    EML_TRY(made(eml_item_sublist(h, list, 0, at), out, why));
    bool ok = true;
    for (uint32_t i = at + 1; ok && i < list->n_list; i++)
        ok = eml_item_append(h, *out, list->list[i]);
    return ok ? EML_OK : no_room(why);
}

static enum eml_err number(struct eml_heap *h, enum eml_dtype t, int64_t v, struct eml_item **out,
                           struct eml_why *why)
{
    static const struct eml_shape scalar = {0};
    EML_TRY(made(eml_item_tensor(h, t, &scalar), out, why));
    eml_store_int(t, (*out)->view.data, 0, v);
    return EML_OK;
}

/* Length of part k that starts at `at` of n. */
static enum eml_err part(const struct eml_item *split, int64_t k, int64_t at, int64_t n,
                         int64_t *out, struct eml_why *why)
{
    *out = 1;
    if (split != NULL && split->view.shape.rank == 0) {
        EML_TRY(eml_item_int(split, out, why));
        *out = *out > n - at ? n - at : *out;
        if (*out <= 0)
            return bad(why, "SplitToSequence: parts of no length");
    } else if (split != NULL) {
        if (k >= split->view.count)
            return bad(why, "SplitToSequence: the parts do not fill the dimension");
        *out = eml_load_int(split->view.dtype, split->view.data, (uint32_t)k);
    }
    return *out >= 0 && *out <= n - at
               ? EML_OK
               : bad(why, "SplitToSequence: the parts exceed the dimension");
}

static enum eml_err split(struct eml_heap *h, const struct eml_node *n, struct eml_item *const *in,
                          struct eml_item **out, struct eml_why *why)
{
    const struct eml_item *x = in[0], *sizes = n->n_in > 1 ? in[1] : NULL;
    uint32_t axis;
    if (!is_tensor(x) ||
        (sizes != NULL && (sizes->view.shape.rank > 1 ||
                           (sizes->view.dtype != EML_DT_I64 && sizes->view.dtype != EML_DT_I32))))
        return bad(why, "SplitToSequence: operands of the wrong kind");
    EML_TRY(normal_axis(eml_node_int(n, EML_ATTR_AXIS, 0), x->view.shape.rank, &axis, why));
    bool squeeze = sizes == NULL && eml_node_int(n, EML_ATTR_KEEPDIMS, 1) == 0;
    int64_t dim = x->view.shape.dim[axis], k = 0;
    EML_TRY(made(eml_item_list(h), out, why));
    for (int64_t at = 0, length;
         at < dim || (sizes != NULL && sizes->view.shape.rank == 1 && k < sizes->view.count);
         at += length, k++) {
        struct eml_item *piece;
        EML_TRY(part(sizes, k, at, dim, &length, why));
        EML_TRY(eml_list_cut(h, x, axis, at, length, squeeze, &piece, why));
        bool ok = eml_item_append(h, *out, piece);
        eml_item_drop(h, piece);
        if (!ok)
            return no_room(why);
    }
    return EML_OK;
}

static bool wants_list(enum eml_op op)
{
    return op == EML_OP_SEQUENCE_AT || op == EML_OP_SEQUENCE_INSERT ||
           op == EML_OP_SEQUENCE_ERASE || op == EML_OP_SEQUENCE_LENGTH ||
           op == EML_OP_CONCAT_FROM_SEQUENCE;
}

enum eml_err eml_list_op(struct eml_heap *h, const struct eml_node *n, struct eml_item *const *in,
                         struct eml_item **out, struct eml_why *why)
{
    struct eml_item *x = n->n_in > 0 ? in[0] : NULL;
    uint32_t at;
    *out = NULL;
    if (wants_list(n->op) && !is_list(x))
        return bad(why, "operand is no sequence");
    switch (n->op) {
    case EML_OP_SEQUENCE_EMPTY:
        return made(eml_item_list(h), out, why);
    case EML_OP_SEQUENCE_CONSTRUCT:
        return construct(h, in, n->n_in, out, why);
    case EML_OP_SEQUENCE_AT:
        EML_TRY(position(in[1], x->n_list, (int64_t)x->n_list - 1, 0, &at, why));
        *out = eml_item_hold(x->list[at]);
        return EML_OK;
    case EML_OP_SEQUENCE_INSERT:
        return insert(h, in, n->n_in, out, why);
    case EML_OP_SEQUENCE_ERASE:
        return erase(h, in, n->n_in, out, why);
    case EML_OP_SEQUENCE_LENGTH:
        return number(h, EML_DT_I64, x->n_list, out, why);
    case EML_OP_SPLIT_TO_SEQUENCE:
        return split(h, n, in, out, why);
    case EML_OP_CONCAT_FROM_SEQUENCE:
        if (x->n_list == 0)
            return bad(why, "ConcatFromSequence: empty sequence");
        return eml_list_join(h, x, eml_node_int(n, EML_ATTR_AXIS, 0),
                             eml_node_int(n, EML_ATTR_NEW_AXIS, 0) != 0, false, EML_DT_NONE, out,
                             why);
    case EML_OP_OPTIONAL:
        return x != NULL ? made(eml_item_hold(x), out, why) : made(eml_item_none(h), out, why);
    case EML_OP_OPTIONAL_GET_ELEMENT:
        if (x == NULL || x->view.dtype == EML_DT_NONE)
            return bad(why, "optional without an element");
        *out = eml_item_hold(x);
        return EML_OK;
    case EML_OP_OPTIONAL_HAS_ELEMENT:
        return number(h, EML_DT_BOOL, x != NULL && x->view.dtype != EML_DT_NONE, out, why);
    default:
        EML_BUG();
    }
}
