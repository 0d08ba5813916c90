/* Channels-last. One sweep in order of execution. A value can have a twin: the same elements with
 * the channel axis moved to the end. Spatial operators read and make twins; element-wise operators
 * and those with axes work on twins if their operands have them; for everything else the ONNX form
 * is made from the twin by a Transpose, when and only when somebody reads it. So a convolution
 * network has one Transpose at its entry and at most one at each exit.
 *
 * A value without maker that has a twin is not made yet ("lazy").
 */
#include "decompose/passes.h"

#include <string.h>

struct layout {
    struct eml_ir *ir;
    struct eml_ir_node *n; /* the node in work: transposes go before it */
};

static bool lazy(const struct eml_ir_value *v)
{
    return v->twin != NULL && v->maker == NULL && v->data == NULL && !v->is_input;
}

static struct eml_ir_node *transpose_before(struct layout *l, struct eml_ir_value *v,
                                            const int64_t *perm, uint32_t rank)
{
    struct eml_ir_node *t = eml_ir_node_new(l->ir, l->n, EML_OP_TRANSPOSE, &v, 1, 1);
    eml_ir_set_attr(l->ir, t, EML_ATTR_PERM, perm, rank);
    return t;
}

/* Facts of a value made by moving axes. */
static void turn_facts(struct eml_ir_value *to, const struct eml_ir_value *from,
                       const int64_t *perm)
{
    to->dtype = from->dtype;
    to->has_rank = from->has_rank;
    to->shape = from->shape;
    for (uint32_t i = 0; i < from->shape.rank; i++)
        to->shape.dim[i] = from->shape.dim[perm[i]];
    for (size_t k = 0; k < 2; k++) {
        to->probe[k] = (struct eml_known){.dtype = from->dtype,
                                          .has_rank = from->probe[k].has_rank,
                                          .shape = from->probe[k].shape};
        for (uint32_t i = 0; i < from->probe[k].shape.rank; i++)
            to->probe[k].shape.dim[i] = from->probe[k].shape.dim[perm[i]];
    }
}

/* The ONNX form, made now if it is lazy. */
static struct eml_ir_value *plain_of(struct layout *l, struct eml_ir_value *v)
{
    int64_t perm[EML_RANK_MAX];
    if (!lazy(v))
        return v;
    eml_ir_to_first(v->shape.rank, perm);
    eml_ir_adopt_out(transpose_before(l, v->twin, perm, v->shape.rank), 0, v);
    return v;
}

/* A constant with its axes moved, of rank `rank` (dims of 1 are put in front). */
static struct eml_ir_value *turn_constant(struct layout *l, const struct eml_ir_value *v,
                                          uint32_t rank)
{
    int64_t perm[EML_RANK_MAX];
    struct eml_shape from = {.rank = rank}, to = {.rank = rank};
    size_t width = eml_dtype_bytes(v->dtype), count = eml_ir_count(v), stride[EML_RANK_MAX];
    uint32_t lead = rank - v->shape.rank;
    for (uint32_t i = 0; i < rank; i++)
        from.dim[i] = i < lead ? 1 : v->shape.dim[i - lead];
    eml_ir_to_last(rank, perm);
    size_t step = 1, steps[EML_RANK_MAX] = {0};
    for (uint32_t i = rank; i-- > 0; step *= (size_t)from.dim[i])
        steps[i] = step;
    for (uint32_t i = 0; i < rank; i++) {
        to.dim[i] = from.dim[perm[i]];
        stride[i] = steps[perm[i]];
    }
    uint8_t *data = eml_ir_alloc(l->ir, count * width);
    int64_t at[EML_RANK_MAX] = {0};
    for (size_t k = 0; data != NULL && k < count; k++) {
        size_t src = 0;
        for (uint32_t i = 0; i < rank; i++)
            src += (size_t)at[i] * stride[i];
        memcpy(data + k * width, (const uint8_t *)v->data + src * width, width);
        for (uint32_t i = rank; i-- > 0;) {
            if (++at[i] < to.dim[i])
                break;
            at[i] = 0;
        }
    }
    return eml_ir_const(l->ir, v->dtype, &to, data);
}

/* The channels-last form, made now if there is none. */
static struct eml_ir_value *last_of(struct layout *l, struct eml_ir_value *v)
{
    int64_t perm[EML_RANK_MAX];
    if (v->twin != NULL)
        return v->twin;
    if (v->shape.rank < 3)
        return v;
    if (v->data != NULL)
        return v->twin = turn_constant(l, v, v->shape.rank);
    eml_ir_to_last(v->shape.rank, perm);
    v->twin = transpose_before(l, v, perm, v->shape.rank)->out[0];
    turn_facts(v->twin, v, perm);
    return v->twin;
}

/* Output i of the node is made channels-last from now on. */
static void out_is_last(struct layout *l, uint32_t i)
{
    int64_t perm[EML_RANK_MAX];
    struct eml_ir_value *v = l->n->out[i];
    if (!v->has_rank || v->shape.rank < 3)
        return; /* the two forms are one */
    eml_ir_to_last(v->shape.rank, perm);
    v->twin = eml_ir_value_new(l->ir);
    turn_facts(v->twin, v, perm);
    v->maker = NULL;
    eml_ir_adopt_out(l->n, i, v->twin);
}

/* ---- spatial operators ---- */

/* A list of `per` numbers per axis. */
static struct eml_ir_value *turn_list(struct layout *l, struct eml_ir_value *v, uint32_t rank,
                                      uint32_t per)
{
    int64_t perm[EML_RANK_MAX], turned[2 * EML_RANK_MAX];
    uint32_t n;
    const int64_t *ints = eml_ir_known_ints(l->ir, v, &n);
    eml_ir_to_last(rank, perm);
    for (uint32_t i = 0; i < per * rank; i++)
        turned[i] = perm[i / per] * per + i % per;
    if (ints != NULL && n == per * rank) {
        for (uint32_t i = 0; i < n; i++)
            turned[i] = ints[turned[i]];
        return eml_ir_const_ints(l->ir, turned, n);
    }
    struct eml_ir_value *operands[2] = {v, eml_ir_const_ints(l->ir, turned, per * rank)};
    return eml_ir_node_new(l->ir, l->n, EML_OP_GATHER, operands, 2, 1)->out[0];
}

/* A roi: the starts of all axes, then the ends. */
static struct eml_ir_value *turn_roi(struct layout *l, struct eml_ir_value *v, uint32_t rank)
{
    int64_t index[2 * EML_RANK_MAX];
    eml_ir_to_last(rank, index);
    for (uint32_t i = 0; i < rank; i++)
        index[rank + i] = rank + index[i];
    struct eml_ir_value *operands[2] = {v, eml_ir_const_ints(l->ir, index, 2 * rank)};
    return eml_ir_node_new(l->ir, l->n, EML_OP_GATHER, operands, 2, 1)->out[0];
}

/* Operand i of a spatial operator, other than the first. */
static struct eml_ir_value *turn_other(struct layout *l, uint32_t i, uint32_t rank)
{
    struct eml_ir_value *v = plain_of(l, l->n->in[i]);
    if (l->n->op != EML_OP_RESIZE || eml_ir_attr(l->n, EML_ATTR_AXES) != NULL)
        return v; /* lists that go with axes stay: the axes are renumbered */
    return i == 1 ? turn_roi(l, v, rank) : turn_list(l, v, rank, i == 2 ? 2 : 1);
}

static enum eml_err spatial(struct layout *l, struct eml_why *why)
{
    struct eml_ir_node *n = l->n;
    if (!n->in[0]->has_rank)
        return eml_fail(why, EML_E_UNSUPPORTED, "decompose: spatial operator on an unknown rank",
                        n->origin);
    uint32_t rank = n->in[0]->shape.rank;
    eml_ir_set_in(l->ir, n, 0, last_of(l, n->in[0]));
    for (uint32_t i = 1; i < n->n_in; i++)
        if (n->in[i] != NULL)
            eml_ir_set_in(l->ir, n, i, turn_other(l, i, rank));
    eml_ir_axes_to_last(l->ir, n, rank);
    for (uint32_t i = 0; i < n->n_out; i++)
        out_is_last(l, i);
    return EML_OK;
}

/* ---- element-wise operators ---- */

static bool elementwise(enum eml_op op)
{
    switch (op) {
    case EML_OP_CAST:
    case EML_OP_CLIP:
    case EML_OP_PRELU:
    case EML_OP_WHERE:
    case EML_OP_NOT:
        return true;
    default:
        return (op >= EML_OP_ADD && op <= EML_OP_XOR) ||
               (op >= EML_OP_ABS && op <= EML_OP_ACTIVATE);
    }
}

/* Operand i can follow the others into channels-last form of this rank. */
static bool can_turn(const struct eml_ir_value *v, uint32_t rank)
{
    if (!v->has_rank)
        return false;
    return v->data != NULL ? v->shape.rank <= rank : v->shape.rank == rank || v->shape.rank == 0;
}

static struct eml_ir_value *turn_operand(struct layout *l, struct eml_ir_value *v, uint32_t rank)
{
    if (v->shape.rank == 0 || (v->data != NULL && eml_ir_count(v) == 1 && v->shape.rank < rank))
        return v;
    return v->shape.rank == rank ? last_of(l, v) : turn_constant(l, v, rank);
}

static bool on_twins(struct layout *l, uint32_t first, uint32_t end, uint32_t rank)
{
    const struct eml_ir_node *n = l->n;
    uint32_t with = 0, without = 0;
    for (uint32_t i = first; i < end; i++) {
        const struct eml_ir_value *v = n->in[i];
        if (v == NULL)
            continue;
        if (!can_turn(v, rank))
            return false;
        if (v->data == NULL && v->shape.rank == rank)
            *(v->twin != NULL ? &with : &without) += 1;
    }
    return rank >= 3 && with > 0 && with >= without;
}

static bool element_wise(struct layout *l)
{
    struct eml_ir_node *n = l->n;
    uint32_t end = n->op == EML_OP_CLIP ? 1 : n->n_in;
    if (!elementwise(n->op) || !n->out[0]->has_rank || !on_twins(l, 0, end, n->out[0]->shape.rank))
        return false;
    for (uint32_t i = 0; i < end; i++)
        if (n->in[i] != NULL)
            eml_ir_set_in(l->ir, n, i, turn_operand(l, n->in[i], n->out[0]->shape.rank));
    out_is_last(l, 0);
    return true;
}

/* ---- operators with axes ---- */

/* Where the ONNX axis stands in the channels-last form. */
static int64_t axis_last(int64_t axis, uint32_t rank)
{
    int64_t perm[EML_RANK_MAX];
    if (axis < 0)
        axis += rank;
    eml_ir_to_first(rank, perm);
    return axis >= 0 && axis < (int64_t)rank ? perm[axis] : axis;
}

static bool one_axis(struct layout *l)
{
    struct eml_ir_node *n = l->n;
    uint32_t rank = n->in[0]->shape.rank, end = n->op == EML_OP_CONCAT ? n->n_in : 1;
    const struct eml_attr *a = eml_ir_attr(n, EML_ATTR_AXIS);
    int64_t otherwise = n->op == EML_OP_SPLIT ? 0 : -1;
    if (!on_twins(l, 0, end, rank))
        return false;
    for (uint32_t i = 0; i < end; i++)
        eml_ir_set_in(l->ir, n, i, turn_operand(l, n->in[i], rank));
    eml_ir_set_int(l->ir, n, EML_ATTR_AXIS, axis_last(a != NULL ? a->v[0] : otherwise, rank));
    for (uint32_t i = 0; i < n->n_out; i++)
        out_is_last(l, i);
    return true;
}

/* To or from quantised numbers, with scales for all or along an axis. */
static bool quantise(struct layout *l)
{
    struct eml_ir_node *n = l->n;
    uint32_t rank = n->in[0]->shape.rank;
    if (eml_ir_int(n, EML_ATTR_BLOCK_SIZE, 0) != 0 || !n->in[0]->has_rank ||
        !on_twins(l, 0, 1, rank))
        return false;
    eml_ir_set_in(l->ir, n, 0, last_of(l, n->in[0]));
    if (n->op != EML_OP_DYNAMIC_QUANTIZE_LINEAR)
        eml_ir_set_int(l->ir, n, EML_ATTR_AXIS, axis_last(eml_ir_int(n, EML_ATTR_AXIS, 1), rank));
    out_is_last(l, 0);
    return true;
}

/* The axes that operand i lists, in channels-last numbers; all axes if it is absent. */
static bool axes_operand(struct layout *l, uint32_t i, uint32_t rank, int64_t *axes, uint32_t *n)
{
    struct eml_ir_value *v = eml_ir_in(l->n, i);
    const int64_t *ints = eml_ir_known_ints(l->ir, v, n);
    if (v == NULL || (ints != NULL && *n == 0)) {
        for (uint32_t k = 0; k < rank; k++)
            axes[k] = axis_last(k, rank);
        *n = rank;
        return true;
    }
    if (ints == NULL || *n > rank)
        return false;
    for (uint32_t k = 0; k < *n; k++)
        axes[k] = axis_last(ints[k], rank);
    return true;
}

static bool listed(const int64_t *axes, uint32_t n, int64_t axis)
{
    for (uint32_t i = 0; i < n; i++)
        if (axes[i] == axis)
            return true;
    return false;
}

/* What is left after the listed axes are gone: 0 = a channels-last twin, 1 = the ONNX form itself,
 * -1 = neither. */
enum left { LEFT_TWIN, LEFT_PLAIN, LEFT_NEITHER };
static enum left left_after(const int64_t *axes, uint32_t n, uint32_t rank)
{
    bool spatial_left = false;
    for (int64_t i = 1; i + 1 < (int64_t)rank; i++)
        spatial_left = spatial_left || !listed(axes, n, i);
    bool channel_left = !listed(axes, n, (int64_t)rank - 1);
    if (!spatial_left || !channel_left)
        return LEFT_PLAIN;
    return !listed(axes, n, 0) ? LEFT_TWIN : LEFT_NEITHER;
}

static bool reduce(struct layout *l)
{
    struct eml_ir_node *n = l->n;
    int64_t axes[EML_RANK_MAX];
    uint32_t count, rank = n->in[0]->shape.rank;
    bool keep = eml_ir_int(n, EML_ATTR_KEEPDIMS, 1) != 0;
    if (eml_ir_int(n, EML_ATTR_NOOP_WITH_EMPTY_AXES, 0) != 0 || !on_twins(l, 0, 1, rank) ||
        !axes_operand(l, 1, rank, axes, &count))
        return false;
    enum left left = keep ? LEFT_TWIN : left_after(axes, count, rank);
    if (left == LEFT_NEITHER)
        return false;
    eml_ir_set_in(l->ir, n, 0, last_of(l, n->in[0]));
    eml_ir_set_in(l->ir, n, 1, eml_ir_const_ints(l->ir, axes, count));
    if (left == LEFT_TWIN)
        out_is_last(l, 0);
    return true;
}

/* Squeeze of `axes` (channels-last numbers) on the twin. */
static bool squeeze_axes(struct layout *l, const int64_t *axes, uint32_t count)
{
    struct eml_ir_node *n = l->n;
    enum left left = left_after(axes, count, n->in[0]->shape.rank);
    if (left == LEFT_NEITHER)
        return false;
    n->op = EML_OP_SQUEEZE;
    n->n_attr = 0;
    eml_ir_set_in(l->ir, n, 0, last_of(l, n->in[0]));
    eml_ir_set_in(l->ir, n, 1, eml_ir_const_ints(l->ir, axes, count));
    if (left == LEFT_TWIN)
        out_is_last(l, 0);
    return true;
}

static bool squeeze(struct layout *l)
{
    int64_t axes[EML_RANK_MAX];
    uint32_t count, rank = l->n->in[0]->shape.rank;
    if (eml_ir_in(l->n, 1) == NULL || !on_twins(l, 0, 1, rank) ||
        !axes_operand(l, 1, rank, axes, &count))
        return false;
    return squeeze_axes(l, axes, count);
}

static bool slice(struct layout *l)
{
    struct eml_ir_node *n = l->n;
    int64_t axes[EML_RANK_MAX];
    uint32_t count, steps, rank = n->in[0]->shape.rank;
    if (!on_twins(l, 0, 1, rank) || !axes_operand(l, 3, rank, axes, &count))
        return false;
    if (eml_ir_in(n, 3) == NULL) { /* the first axes, as many as there are starts */
        (void)eml_ir_known_ints(l->ir, n->in[1], &steps);
        if (steps == 0 || steps > rank)
            return false;
        count = steps;
    }
    eml_ir_set_in(l->ir, n, 0, last_of(l, n->in[0]));
    eml_ir_set_in(l->ir, n, 3, eml_ir_const_ints(l->ir, axes, count));
    out_is_last(l, 0);
    return true;
}

static bool pad(struct layout *l)
{
    struct eml_ir_node *n = l->n;
    int64_t turned[2 * EML_RANK_MAX], perm[EML_RANK_MAX];
    uint32_t count, rank = n->in[0]->shape.rank;
    const int64_t *pads = eml_ir_known_ints(l->ir, n->in[1], &count);
    if (!on_twins(l, 0, 1, rank) || pads == NULL || count != 2 * rank || eml_ir_in(n, 3) != NULL)
        return false;
    eml_ir_to_last(rank, perm);
    for (uint32_t i = 0; i < rank; i++) {
        turned[i] = pads[perm[i]];
        turned[rank + i] = pads[rank + (uint32_t)perm[i]];
    }
    eml_ir_set_in(l->ir, n, 0, last_of(l, n->in[0]));
    eml_ir_set_in(l->ir, n, 1, eml_ir_const_ints(l->ir, turned, count));
    out_is_last(l, 0);
    return true;
}

/* ---- shapes ---- */

static bool shape_of(struct layout *l)
{
    struct eml_ir_node *n = l->n;
    int64_t perm[EML_RANK_MAX], rank = n->in[0]->shape.rank;
    int64_t start = eml_ir_int(n, EML_ATTR_START, 0), end = eml_ir_int(n, EML_ATTR_END, rank);
    start += start < 0 ? rank : 0;
    end += end < 0 ? rank : 0;
    if (!lazy(n->in[0]) || start < 0 || start >= end || end > rank)
        return false;
    eml_ir_to_first((uint32_t)rank, perm);
    struct eml_ir_node *shape = eml_ir_node_new(l->ir, n, EML_OP_SHAPE, &n->in[0]->twin, 1, 1);
    n->op = EML_OP_GATHER;
    n->n_attr = 0;
    eml_ir_set_in(l->ir, n, 0, shape->out[0]);
    eml_ir_set_in(l->ir, n, 1, eml_ir_const_ints(l->ir, perm + start, (uint32_t)(end - start)));
    return true;
}

/* All spatial dims are 1: both forms have the same elements in the same order. */
static bool flat(const struct eml_ir_value *v)
{
    for (uint32_t i = 2; i < v->shape.rank; i++)
        if (v->shape.dim[i] != 1)
            return false;
    return true;
}

/* Which axis of x, of dim 1, the reshape takes away; 0 if it does something else. */
static uint32_t dropped_axis(const struct eml_ir_value *x, const struct eml_ir_value *y)
{
    if (!y->has_rank || y->shape.rank + 1 != x->shape.rank)
        return 0;
    for (uint32_t axis = 2; axis < x->shape.rank; axis++) {
        bool same = x->shape.dim[axis] == 1;
        for (uint32_t i = 0; i < y->shape.rank && same; i++) {
            uint32_t j = i < axis ? i : i + 1;
            for (size_t k = 0; k < 2; k++)
                same = same && x->probe[k].has_rank && y->probe[k].has_rank &&
                       x->probe[k].shape.dim[j] != EML_DIM_UNKNOWN &&
                       x->probe[k].shape.dim[j] == y->probe[k].shape.dim[i];
        }
        if (same)
            return axis;
    }
    return 0;
}

static bool reshape(struct layout *l)
{
    struct eml_ir_node *n = l->n;
    struct eml_ir_value *x = n->in[0];
    const struct eml_ir_value *s = n->in[1];
    if (x->twin == NULL)
        return false;
    uint32_t axis = dropped_axis(x, n->out[0]), count;
    if (axis != 0) {
        int64_t at = axis_last(axis, x->shape.rank);
        return squeeze_axes(l, &at, 1);
    }
    const int64_t *ints = eml_ir_known_ints(l->ir, s, &count);
    if (ints == NULL && s->has_ints) {
        ints = s->ints;
        count = s->n_ints;
    }
    for (uint32_t i = 1; ints != NULL && i < count; i++)
        if (ints[i] == 0 || ints[i] == EML_INT_UNKNOWN)
            return false; /* may copy a dim, and dims have moved */
    if (ints == NULL || !flat(x))
        return false;
    eml_ir_set_in(l->ir, n, 0, x->twin);
    return true;
}

static bool flatten(struct layout *l)
{
    struct eml_ir_node *n = l->n;
    if (n->in[0]->twin == NULL || !flat(n->in[0]) || eml_ir_int(n, EML_ATTR_AXIS, 1) != 1)
        return false;
    eml_ir_set_in(l->ir, n, 0, n->in[0]->twin);
    return true;
}

static bool transpose(struct layout *l)
{
    struct eml_ir_node *n = l->n;
    struct eml_ir_value *x = n->in[0], *y = n->out[0];
    int64_t perm[EML_RANK_MAX], first[EML_RANK_MAX];
    uint32_t rank = x->shape.rank;
    const struct eml_attr *a = eml_ir_attr(n, EML_ATTR_PERM);
    if (rank < 3 || (a != NULL && a->n != rank))
        return false;
    bool identity = true, to_first = true, twin = lazy(x);
    eml_ir_to_first(rank, first);
    for (uint32_t i = 0; i < rank; i++) {
        perm[i] = a != NULL ? a->v[i] : (int64_t)(rank - 1 - i);
        perm[i] = twin ? first[perm[i]] : perm[i];
        identity = identity && perm[i] == (int64_t)i;
        to_first = to_first && perm[i] == first[i];
    }
    if (twin) {
        x = x->twin;
        eml_ir_set_in(l->ir, n, 0, x);
        eml_ir_set_attr(l->ir, n, EML_ATTR_PERM, perm, rank);
    }
    if (identity)
        eml_ir_replace(l->ir, y, x);
    if (identity || !to_first)
        return true;
    y->twin = x; /* the model itself leaves the channels-last form: not made until read */
    y->maker = NULL;
    eml_ir_adopt_out(n, 0, eml_ir_value_new(l->ir));
    eml_ir_remove(l->ir, n);
    return true;
}

/* True if the node was put on twins (or needs no form). */
static bool on_last(struct layout *l)
{
    struct eml_ir_node *n = l->n;
    if (n->n_in == 0 || n->in[0] == NULL || !n->in[0]->has_rank)
        return false;
    if (n->op >= EML_OP_REDUCE_SUM && n->op <= EML_OP_REDUCE_SUM_SQUARE)
        return reduce(l);
    switch (n->op) {
    case EML_OP_CONCAT:
    case EML_OP_SPLIT:
    case EML_OP_SOFTMAX:
    case EML_OP_LOG_SOFTMAX:
        return one_axis(l);
    case EML_OP_SQUEEZE:
        return squeeze(l);
    case EML_OP_SLICE:
        return slice(l);
    case EML_OP_QUANTIZE_LINEAR:
    case EML_OP_DEQUANTIZE_LINEAR:
    case EML_OP_DYNAMIC_QUANTIZE_LINEAR:
        return quantise(l);
    case EML_OP_PAD:
        return pad(l);
    case EML_OP_SHAPE:
        return shape_of(l);
    case EML_OP_RESHAPE:
        return reshape(l);
    case EML_OP_FLATTEN:
        return flatten(l);
    case EML_OP_TRANSPOSE:
        return transpose(l);
    default:
        return element_wise(l);
    }
}

enum eml_err eml_layout_channels_last(struct eml_ir *ir, struct eml_why *why)
{
    struct layout l = {.ir = ir};
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next) {
        l.n = n;
        if (eml_ir_spatial(n->op))
            EML_TRY(spatial(&l, why));
        else if (!on_last(&l))
            for (uint32_t i = 0; i < n->n_in; i++)
                if (n->in[i] != NULL)
                    (void)plain_of(&l, n->in[i]);
        EML_TRY(eml_ir_ok(ir, why));
    }
    l.n = NULL;
    for (uint32_t i = 0; i < ir->n_outputs; i++)
        (void)plain_of(&l, ir->outputs[i].value);
    ir->channels_last = true;
    (void)eml_ir_sweep(ir);
    return eml_fold_infer_from(ir, ir->first, why);
}
