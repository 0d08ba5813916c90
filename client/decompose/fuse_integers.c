/* MatMulInteger whose int32 is turned to float, scaled and shifted becomes MatMulIntegerToFloat:
 * the form in which dynamically quantised models spell a linear layer, Cast(MatMulInteger(a, b, az,
 * bz)) * (a_scale * b_scale) + bias, with an activation that may follow.
 */
#include "decompose/passes.h"

#include <string.h>

enum { A, B, A_SCALE, B_SCALE, A_ZERO, B_ZERO, BIAS, OPERANDS };

static int64_t columns(const struct eml_ir_node *p)
{
    const struct eml_shape *s = &p->in[B]->shape;
    return s->rank >= 2 && p->in[B]->has_rank ? s->dim[s->rank - 1] : EML_DIM_UNKNOWN;
}

static bool single(const struct eml_ir_value *v)
{
    return v->has_rank && v->dtype == EML_DT_F32 && eml_ir_count(v) == 1;
}

/* One number, or one per column: what b_scale may be. */
static bool fits_columns(const struct eml_ir_value *v, int64_t n)
{
    return single(v) || (v->has_rank && v->dtype == EML_DT_F32 && v->shape.rank == 1 &&
                         n != EML_DIM_UNKNOWN && v->shape.dim[0] == n);
}

/* Operand i of n is made by an `op` for n alone, or in the product's case for anybody. */
static struct eml_ir_node *made_by(const struct eml_ir_value *v, enum eml_op op)
{
    return v != NULL && v->maker != NULL && v->maker->op == op && v->uses == 1 ? v->maker : NULL;
}

/* n = Mul(Cast(MatMulInteger), scale), in either order. */
static bool scale(struct eml_ir *ir, struct eml_ir_node *n)
{
    for (uint32_t i = 0; n->op == EML_OP_MUL && i < 2; i++) {
        struct eml_ir_node *cast = made_by(n->in[i], EML_OP_CAST);
        struct eml_ir_node *p = cast != NULL ? made_by(cast->in[0], EML_OP_MATMUL_INTEGER) : NULL;
        struct eml_ir_value *by = n->in[1 - i], *a_scale = by, *b_scale = NULL;
        if (p == NULL || eml_ir_int(cast, EML_ATTR_TO, 0) != EML_DT_F32 ||
            columns(p) == EML_DIM_UNKNOWN)
            continue;
        const struct eml_ir_node *both = made_by(by, EML_OP_MUL);
        if (both != NULL && single(both->in[0]) && fits_columns(both->in[1], columns(p))) {
            a_scale = both->in[0];
            b_scale = both->in[1];
        } else if (single(by)) {
            b_scale = eml_ir_const_f32(ir, 1);
        } else {
            continue;
        }
        if (!eml_ir_same_shape(cast->out[0], n->out[0]))
            continue;
        struct eml_ir_value *in[OPERANDS] = {p->in[A],        p->in[B],        a_scale, b_scale,
                                             eml_ir_in(p, 2), eml_ir_in(p, 3), NULL};
        struct eml_ir_node *made =
            eml_ir_node_new(ir, n, EML_OP_MATMUL_INTEGER_TO_FLOAT, in, OPERANDS, 1);
        made->origin = p->origin;
        made->out[0]->dtype = EML_DT_F32;
        made->out[0]->has_rank = n->out[0]->has_rank;
        made->out[0]->shape = n->out[0]->shape;
        memcpy(made->out[0]->probe, n->out[0]->probe, sizeof(made->out[0]->probe));
        eml_ir_replace(ir, n->out[0], made->out[0]);
        eml_ir_remove(ir, n);
        return true;
    }
    return false;
}

static struct eml_ir_node *product_of(const struct eml_ir_value *v)
{
    struct eml_ir_node *p = made_by(v, EML_OP_MATMUL_INTEGER_TO_FLOAT);
    return p != NULL && eml_ir_attr(p, EML_ATTR_ACT) == NULL ? p : NULL;
}

static void take_over(struct eml_ir *ir, struct eml_ir_node *p, struct eml_ir_node *n)
{
    eml_ir_move(ir, p, n);
    eml_ir_replace(ir, n->out[0], p->out[0]);
    eml_ir_remove(ir, n);
}

static bool bias(struct eml_ir *ir, struct eml_ir_node *n)
{
    for (uint32_t i = 0; n->op == EML_OP_ADD && i < 2; i++) {
        struct eml_ir_node *p = product_of(n->in[i]);
        struct eml_ir_value *by = n->in[1 - i];
        if (p == NULL || eml_ir_in(p, BIAS) != NULL || by->data == NULL ||
            by->dtype != EML_DT_F32 || by->shape.rank != 1 || by->shape.dim[0] != columns(p))
            continue;
        eml_ir_set_in(ir, p, BIAS, by);
        take_over(ir, p, n);
        return true;
    }
    return false;
}

static bool activation(struct eml_ir *ir, struct eml_ir_node *n)
{
    enum eml_act act = EML_ACT_NONE;
    switch (n->op) {
    case EML_OP_RELU:
        act = EML_ACT_RELU;
        break;
    case EML_OP_SIGMOID:
        act = EML_ACT_SIGMOID;
        break;
    case EML_OP_TANH:
        act = EML_ACT_TANH;
        break;
    case EML_OP_GELU:
        act = eml_ir_int(n, EML_ATTR_APPROXIMATE, 0) == 0 ? EML_ACT_GELU : EML_ACT_GELU_TANH;
        break;
    default:
        return false;
    }
    struct eml_ir_node *p = product_of(n->in[0]);
    if (p == NULL)
        return false;
    eml_ir_set_int(ir, p, EML_ATTR_ACT, act);
    take_over(ir, p, n);
    return true;
}

/* The same input quantised again (once for each of Q, K and V) is quantised once. */
static bool quantised_before(struct eml_ir *ir, struct eml_ir_node *n)
{
    const struct eml_ir_value *x = eml_ir_in(n, 0);
    if (n->op != EML_OP_DYNAMIC_QUANTIZE_LINEAR)
        return false;
    for (uint32_t i = 0; i < x->n_readers; i++) {
        struct eml_ir_node *first = x->readers[i];
        if (first == n || first->removed || first->op != n->op || first->n_out != n->n_out ||
            first->in[0] != x)
            continue;
        const struct eml_ir_node *p = n->prev;
        while (p != NULL && p != first)
            p = p->prev;
        if (p == NULL)
            continue;
        for (uint32_t k = 0; k < n->n_out; k++)
            eml_ir_replace(ir, n->out[k], first->out[k]);
        eml_ir_remove(ir, n);
        return true;
    }
    return false;
}

void eml_fuse_integers(struct eml_ir *ir)
{
    for (struct eml_ir_node *n = ir->first, *next; n != NULL; n = next) {
        next = n->next;
        (void)(quantised_before(ir, n) || scale(ir, n) || bias(ir, n) || activation(ir, n));
    }
    (void)eml_ir_sweep(ir);
}
