/* Removes what does nothing: casts to the type that is there, products and quotients by one, sums
 * with zero, concatenations of one operand, identity transposes, empty pads. Merges a transpose of
 * a transpose into one, and nodes that compute the same. Gives Reshape a constant shape where its
 * output's dims are known or equal to the input's, which ends most arithmetic on shapes. Builds a
 * concatenation on an earlier one that begins alike.
 */
#include "decompose/passes.h"

#include <string.h>

/* x op c leaves x as it is: c is one element equal to `neutral` and adds no dims to x. */
static bool neutral(const struct eml_ir_value *x, const struct eml_ir_value *c, float value)
{
    float v;
    return x != NULL && x->has_rank && eml_ir_scalar(c, &v) && v == value &&
           c->shape.rank <= x->shape.rank;
}

static struct eml_ir_value *binary(const struct eml_ir_node *n)
{
    struct eml_ir_value *a = n->in[0], *b = n->in[1];
    switch (n->op) {
    case EML_OP_MUL:
        return neutral(a, b, 1) ? a : neutral(b, a, 1) ? b : NULL;
    case EML_OP_ADD:
        return neutral(a, b, 0) ? a : neutral(b, a, 0) ? b : NULL;
    case EML_OP_DIV:
        return neutral(a, b, 1) ? a : NULL;
    case EML_OP_SUB:
        return neutral(a, b, 0) ? a : NULL;
    default:
        return NULL;
    }
}

static bool perm_of(const struct eml_ir_node *n, uint32_t rank, int64_t *perm)
{
    const struct eml_attr *a = eml_ir_attr(n, EML_ATTR_PERM);
    if (a != NULL && a->n != rank)
        return false;
    for (uint32_t i = 0; i < rank; i++)
        perm[i] = a != NULL ? a->v[i] : (int64_t)(rank - 1 - i);
    return true;
}

static struct eml_ir_value *transpose(struct eml_ir *ir, struct eml_ir_node *n)
{
    int64_t perm[EML_RANK_MAX], inner[EML_RANK_MAX];
    struct eml_ir_value *x = n->in[0];
    if (!x->has_rank || !perm_of(n, x->shape.rank, perm))
        return NULL;
    struct eml_ir_node *m = x->maker;
    if (m != NULL && m->op == EML_OP_TRANSPOSE && perm_of(m, x->shape.rank, inner)) {
        for (uint32_t i = 0; i < x->shape.rank; i++)
            perm[i] = inner[perm[i]];
        eml_ir_set_attr(ir, n, EML_ATTR_PERM, perm, x->shape.rank);
        eml_ir_set_in(ir, n, 0, m->in[0]);
    }
    for (uint32_t i = 0; i < x->shape.rank; i++)
        if (perm[i] != (int64_t)i)
            return NULL;
    return n->in[0];
}

static struct eml_ir_value *pad(struct eml_ir *ir, const struct eml_ir_node *n)
{
    uint32_t count;
    const int64_t *pads = eml_ir_known_ints(ir, n->in[1], &count);
    for (uint32_t i = 0; pads != NULL && i < count; i++)
        if (pads[i] != 0)
            return NULL;
    return pads != NULL ? n->in[0] : NULL;
}

/* What n's output is equal to without n; NULL if n is needed. */
static struct eml_ir_value *same_as(struct eml_ir *ir, struct eml_ir_node *n)
{
    switch (n->op) {
    case EML_OP_IDENTITY:
        return n->in[0];
    case EML_OP_CAST:
        return n->in[0]->dtype == (enum eml_dtype)eml_ir_int(n, EML_ATTR_TO, 0) ? n->in[0] : NULL;
    case EML_OP_CONCAT:
    case EML_OP_SUM:
    case EML_OP_MEAN:
    case EML_OP_MIN:
    case EML_OP_MAX:
        return n->n_in == 1 ? n->in[0] : NULL;
    case EML_OP_TRANSPOSE:
        return transpose(ir, n);
    case EML_OP_PAD:
        return pad(ir, n);
    default:
        return n->n_in == 2 ? binary(n) : NULL;
    }
}

/* ---- shapes of Reshape ---- */

/* Dim i of y is dim i of x, whatever it turns out to be. */
static bool same_dim(const struct eml_ir_value *x, const struct eml_ir_value *y, uint32_t i)
{
    for (size_t k = 0; k < 2; k++)
        if (!x->probe[k].has_rank || !y->probe[k].has_rank || i >= x->shape.rank ||
            x->probe[k].shape.dim[i] == EML_DIM_UNKNOWN ||
            x->probe[k].shape.dim[i] != y->probe[k].shape.dim[i])
            return false;
    return true;
}

/* y has as many elements as x, whatever its dims turn out to be. */
static bool fills(const struct eml_ir_value *x, const struct eml_ir_value *y)
{
    int64_t have, want;
    for (size_t k = 0; k < 2; k++)
        if (!x->probe[k].has_rank || !y->probe[k].has_rank ||
            !eml_shape_count(&x->probe[k].shape, &have) ||
            !eml_shape_count(&y->probe[k].shape, &want) || have != want)
            return false;
    return true;
}

/* Not for a shape that the user gives, nor one of which it is not known that it fills: it may be
 * wrong, and then it is to be refused. Empty tensors are where -1 is not quite what was computed: a
 * computed 0 would copy the operand's dim, and be refused if that does not fit, where -1 gives 0
 * (and so does ONNX Runtime, but with all optimisations off: [2, 0, 4] by [n, 8] is [0, 8]); and
 * beside a copied 0 any computed dim fits, but -1 is refused. */
static void constant_shape(struct eml_ir *ir, struct eml_ir_node *n)
{
    int64_t dims[EML_RANK_MAX];
    uint32_t rest = 0;
    if (n->op != EML_OP_RESHAPE)
        return;
    const struct eml_ir_value *x = n->in[0], *y = n->out[0];
    if (n->in[1]->data != NULL || n->in[1]->is_input || !x->has_rank || !y->has_rank ||
        eml_ir_int(n, EML_ATTR_ALLOWZERO, 0) != 0)
        return;
    for (uint32_t i = 0; i < y->shape.rank; i++) {
        dims[i] = y->shape.dim[i];
        if (dims[i] == 0)
            return;
        if (dims[i] != EML_DIM_UNKNOWN)
            continue;
        if (same_dim(x, y, i))
            dims[i] = 0;
        else if (rest++ != 0 || !fills(x, y))
            return;
    }
    eml_ir_set_in(ir, n, 1, eml_ir_const_ints(ir, dims, y->shape.rank));
}

/* ---- nodes that compute the same ---- */

/* READERS_MAX: of a value that very many nodes read, only the first few are compared with, or the
 * work would grow with the square of their number. What is missed costs speed, not correctness. */
enum { COMPARED_BYTES_MAX = 4096, READERS_MAX = 256 };

static uint32_t compared_readers(const struct eml_ir_value *v)
{
    return v->n_readers < READERS_MAX ? v->n_readers : READERS_MAX;
}

static bool same_value(const struct eml_ir_value *a, const struct eml_ir_value *b)
{
    if (a == b)
        return true;
    if (a == NULL || b == NULL || a->data == NULL || b->data == NULL || a->dtype != b->dtype ||
        !eml_ir_same_shape(a, b))
        return false;
    size_t bytes = eml_ir_count(a) * eml_dtype_bytes(a->dtype);
    return a->data == b->data || bytes == 0 ||
           (bytes <= COMPARED_BYTES_MAX && memcmp(a->data, b->data, bytes) == 0);
}

static bool same_node(const struct eml_ir_node *a, const struct eml_ir_node *b)
{
    if (a->body[0] != NULL || b->body[0] != NULL)
        return false;
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out || a->n_attr != b->n_attr ||
        a->n_params != b->n_params ||
        memcmp(a->params, b->params, a->n_params * sizeof(a->params[0])) != 0)
        return false;
    for (uint32_t i = 0; i < a->n_attr; i++)
        if (a->attr[i].id != b->attr[i].id || a->attr[i].n != b->attr[i].n ||
            memcmp(a->attr[i].v, b->attr[i].v, a->attr[i].n * sizeof(int64_t)) != 0)
            return false;
    for (uint32_t i = 0; i < a->n_in; i++)
        if (!same_value(a->in[i], b->in[i]))
            return false;
    return true;
}

/* An earlier node that computes what n does. `order` counts the nodes visited so far. */
static const struct eml_ir_node *twin_of(struct eml_ir_node *n, uint32_t order)
{
    n->order = order;
    const struct eml_ir_value *x = n->n_in != 0 ? n->in[0] : NULL;
    for (uint32_t i = 0; x != NULL && i < compared_readers(x); i++) {
        const struct eml_ir_node *m = x->readers[i];
        if (m != n && !m->removed && m->order < order && m->order != 0 && same_node(m, n))
            return m;
    }
    return NULL;
}

static void merge_equal(struct eml_ir *ir)
{
    uint32_t order = 0;
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next)
        n->order = 0;
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next) {
        const struct eml_ir_node *m = twin_of(n, ++order);
        for (uint32_t i = 0; m != NULL && i < n->n_out; i++)
            eml_ir_replace(ir, n->out[i], m->out[i]);
        if (m != NULL)
            eml_ir_remove(ir, n);
    }
}

/* ---- concatenations that begin alike ---- */

static bool begins_with(const struct eml_ir_node *n, const struct eml_ir_node *m)
{
    if (m->op != EML_OP_CONCAT || m->removed || m->order >= n->order || m->n_in < 2 ||
        m->n_in >= n->n_in || eml_ir_int(m, EML_ATTR_AXIS, 0) != eml_ir_int(n, EML_ATTR_AXIS, 0))
        return false;
    for (uint32_t i = 0; i < m->n_in; i++)
        if (m->in[i] != n->in[i])
            return false;
    return true;
}

/* Concat(a, b, c) after Concat(a, b) is Concat of that and c: dense networks copy large runs then,
 * not dozens of small ones. Relies on the order that merge_equal left. */
static void reuse_concat(struct eml_ir *ir, struct eml_ir_node *n)
{
    const struct eml_ir_node *longest = NULL;
    if (n->op != EML_OP_CONCAT || n->in[0]->data != NULL)
        return;
    for (uint32_t i = 0; i < compared_readers(n->in[0]); i++) {
        const struct eml_ir_node *m = n->in[0]->readers[i];
        if (begins_with(n, m) && (longest == NULL || m->n_in > longest->n_in))
            longest = m;
    }
    if (longest == NULL)
        return;
    uint32_t drop = longest->n_in - 1, kept = n->n_in - drop;
    eml_ir_set_in(ir, n, 0, longest->out[0]);
    for (uint32_t i = 1; i < n->n_in; i++)
        eml_ir_set_in(ir, n, i, i < kept ? n->in[i + drop] : NULL);
    eml_ir_trim(n);
}

void eml_simplify(struct eml_ir *ir)
{
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next) {
        struct eml_ir_value *same = n->n_out == 1 ? same_as(ir, n) : NULL;
        constant_shape(ir, n);
        if (same != NULL)
            eml_ir_replace(ir, n->out[0], same);
    }
    (void)eml_ir_sweep(ir);
    merge_equal(ir);
    for (struct eml_ir_node *n = ir->last; n != NULL; n = n->prev)
        reuse_concat(ir, n);
    (void)eml_ir_sweep(ir);
}
