/* The rule of optimisers: R, T, then groups of one tensor each per parameter, and as many results
 * in the same order without the gradients. */
#include "engine/infer.h"

static enum eml_err scalar(const struct eml_rule_ctx *c, uint32_t i)
{
    int64_t n;
    EML_TRY(eml_rule_demand(c, c->in[i] != NULL, "required operand omitted"));
    return eml_rule_demand(c,
                           !c->in[i]->has_rank || !eml_shape_count(&c->in[i]->shape, &n) || n == 1,
                           "operand is not one element");
}

enum eml_err eml_rule_optimizer(const struct eml_rule_ctx *c)
{
    uint32_t groups = c->node->op == EML_OP_ADAM ? 4 : 3; /* X, G and what is remembered */
    uint32_t n = (c->node->n_in - 2) / groups;
    EML_TRY(scalar(c, 0));
    EML_TRY(scalar(c, 1));
    EML_TRY(eml_rule_demand(c, c->in[1]->dtype == EML_DT_I64, "operand of a wrong type"));
    EML_TRY(eml_rule_demand(c,
                            c->node->n_in == 2 + n * groups && c->node->n_out == n * (groups - 1),
                            "optimiser: operands and results do not pair up"));
    for (uint32_t i = 2; i < c->node->n_in; i++) {
        const struct eml_known *k = c->in[i], *x = c->in[2 + (i - 2) % n];
        EML_TRY(eml_rule_demand(c, k != NULL && x != NULL, "required operand omitted"));
        EML_TRY(eml_rule_demand(
            c, k->dtype == x->dtype && (x->dtype == EML_DT_F32 || x->dtype == EML_DT_F64),
            "operands differ in type"));
        bool same = !k->has_rank || !x->has_rank || k->shape.rank == x->shape.rank;
        for (uint32_t d = 0; same && k->has_rank && x->has_rank && d < k->shape.rank; d++)
            same = eml_dim_agrees(k->shape.dim[d], x->shape.dim[d]);
        EML_TRY(eml_rule_demand(c, same, "optimiser: operands differ in shape"));
        uint32_t group = (i - 2) / n;
        if (group != 1) /* all but the gradient have a successor */
            eml_rule_out(c, (group == 0 ? 0 : group - 1) * n + (i - 2) % n, x->dtype,
                         x->has_rank ? &x->shape : NULL);
    }
    return EML_OK;
}
