/* Removes what does nothing: casts to the type that is there, products and quotients by one, sums
 * with zero, concatenations of one operand, identity transposes, empty pads. Merges a transpose of a
 * transpose into one.
 */
#include "decompose/passes.h"

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

void eml_simplify(struct eml_ir *ir)
{
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next) {
        struct eml_ir_value *same = n->n_out == 1 ? same_as(ir, n) : NULL;
        if (same != NULL)
            eml_ir_replace(ir, n->out[0], same);
    }
    (void)eml_ir_sweep(ir);
}
