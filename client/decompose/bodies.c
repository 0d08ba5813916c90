/* What is known of a node's results from the outputs of its bodies. */
#include "decompose/passes.h"

/* A fact of a value and its probes, as one list. */
static struct eml_known fact(const struct eml_ir_value *v, size_t which)
{
    if (v->data == NULL && which > 0)
        return v->probe[which - 1];
    return (struct eml_known){
        .dtype = v->dtype, .has_rank = v->has_rank, .shape = v->shape, .elem = v->elem};
}

static void set(struct eml_ir_value *v, size_t which, const struct eml_known *k)
{
    if (which > 0) {
        v->probe[which - 1] = *k;
        return;
    }
    v->dtype = k->dtype;
    v->elem = k->elem;
    v->has_rank = k->has_rank;
    v->shape = k->shape;
    v->has_ints = false;
}

/* What holds of both. An empty optional has no type of its own. */
static struct eml_known either(const struct eml_known *a, const struct eml_known *b)
{
    bool first = a->dtype != EML_DT_NONE && (a->dtype != EML_DT_SEQUENCE || a->elem != 0);
    struct eml_known k = first ? *a : *b;
    k.has_ints = false;
    k.has_rank = a->has_rank && b->has_rank && a->shape.rank == b->shape.rank;
    for (uint32_t i = 0; k.has_rank && i < k.shape.rank; i++)
        if (a->shape.dim[i] != b->shape.dim[i])
            k.shape.dim[i] = EML_DIM_UNKNOWN;
    return k;
}

/* Results of all iterations along a new axis 0. */
static struct eml_known stacked(const struct eml_ir_node *n, const struct eml_known *one)
{
    struct eml_known k = {.dtype = one->dtype};
    if (n->op == EML_OP_SEQUENCE_MAP)
        return (struct eml_known){.dtype = EML_DT_SEQUENCE, .elem = one->dtype};
    if (!one->has_rank || one->shape.rank == EML_RANK_MAX)
        return k;
    k.has_rank = true;
    k.shape.rank = one->shape.rank + 1;
    for (uint32_t i = 0; i < k.shape.rank; i++) /* the axis may be another: only the rank is sure */
        k.shape.dim[i] = EML_DIM_UNKNOWN;
    return k;
}

static uint32_t states(const struct eml_ir_node *n)
{
    switch (n->op) {
    case EML_OP_LOOP:
        return n->own_in - 2;
    case EML_OP_SCAN:
        return n->own_in - (uint32_t)eml_ir_int(n, EML_ATTR_NUM_SCAN_INPUTS, 0);
    default:
        return 0;
    }
}

static struct eml_known result(const struct eml_ir_node *n, uint32_t i, size_t which)
{
    uint32_t skip = n->op == EML_OP_LOOP ? 1 : 0;
    struct eml_known k = fact(n->body[0]->outputs[skip + i].value, which);
    k.has_ints = false;
    if (n->op == EML_OP_IF) {
        struct eml_known other = fact(n->body[1]->outputs[i].value, which);
        return either(&k, &other);
    }
    if (i >= states(n))
        return stacked(n, &k);
    k.has_rank = false; /* a Loop's state may change its shape; it may also not turn at all */
    if (k.dtype == EML_DT_NONE || (k.dtype == EML_DT_SEQUENCE && k.elem == EML_DT_NONE)) {
        const struct eml_ir_value *first = n->in[skip * 2 + i];
        k = first != NULL ? fact(first, which) : k;
        k.has_rank = false;
    }
    return k;
}

enum eml_err eml_bodies_infer(struct eml_ir_node *n, struct eml_why *why)
{
    uint32_t skip = n->op == EML_OP_LOOP ? 1 : 0;
    if (n->op == EML_OP_SCAN && (eml_ir_int(n, EML_ATTR_NUM_SCAN_INPUTS, 0) < 1 ||
                                 eml_ir_int(n, EML_ATTR_NUM_SCAN_INPUTS, 0) > n->own_in))
        return eml_fail(why, EML_E_INPUT, "decompose: num_scan_inputs of a Scan", n->origin);
    for (size_t k = 0; k < 2 && n->body[k] != NULL; k++)
        if (n->body[k]->n_outputs != n->n_out + skip)
            return eml_fail(why, EML_E_INPUT, "decompose: outputs of a body are not its node's",
                            n->origin);
    if (n->n_out < states(n))
        return eml_fail(why, EML_E_INPUT, "decompose: outputs of a body are not its node's",
                        n->origin);
    for (uint32_t i = 0; i < n->n_out; i++)
        for (size_t which = 0; which < 3; which++) {
            struct eml_known k = result(n, i, which);
            set(n->out[i], which, &k);
        }
    return EML_OK;
}
