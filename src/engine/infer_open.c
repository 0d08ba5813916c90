/* Rules of the operators whose results' sizes depend on data: that dim stays unknown, always, and
 * the operator's eml_size function finds it while running. */
#include "engine/infer.h"

enum eml_err eml_rule_compress(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *keep = c->in[1];
    const struct eml_attr *axis = eml_node_attr(c->node, EML_ATTR_AXIS);
    struct eml_shape s = {.rank = 1, .dim = {EML_DIM_UNKNOWN}};
    EML_TRY(eml_rule_demand(c, keep->dtype == EML_DT_BOOL, "the condition is not bool"));
    EML_TRY(eml_rule_demand(c, !keep->has_rank || keep->shape.rank == 1,
                            "Compress: the condition is no vector"));
    if (axis != NULL && x->has_rank) {
        uint32_t d;
        EML_TRY(eml_rule_axis(c, axis->v[0], x->shape.rank, &d));
        s = x->shape;
        s.dim[d] = EML_DIM_UNKNOWN;
    }
    eml_rule_out(c, 0, x->dtype, axis == NULL || x->has_rank ? &s : NULL);
    return EML_OK;
}

enum eml_err eml_rule_unique(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    const struct eml_attr *axis = eml_node_attr(c->node, EML_ATTR_AXIS);
    struct eml_shape y = {.rank = 1, .dim = {EML_DIM_UNKNOWN}}, all = y;
    const struct eml_shape some = y;
    if (axis != NULL && x->has_rank) {
        uint32_t d;
        EML_TRY(eml_rule_axis(c, axis->v[0], x->shape.rank, &d));
        all.dim[0] = x->shape.dim[d];
        y = x->shape;
        y.dim[d] = EML_DIM_UNKNOWN;
    } else if (x->has_rank && !eml_shape_count(&x->shape, &all.dim[0])) {
        all.dim[0] = EML_DIM_UNKNOWN;
    }
    eml_rule_out(c, 0, x->dtype, axis == NULL || x->has_rank ? &y : NULL);
    for (uint32_t i = 1; i < c->node->n_out; i++)
        eml_rule_out(c, i, EML_DT_I64, i == 2 ? &all : &some);
    return EML_OK;
}

/* An operand that is one number. */
static enum eml_err one_number(const struct eml_rule_ctx *c, uint32_t i, enum eml_dtype t)
{
    const struct eml_known *k = eml_rule_in(c, i);
    int64_t n;
    if (k == NULL)
        return EML_OK;
    bool one = !k->has_rank || !eml_shape_count(&k->shape, &n) || n == 1;
    return eml_rule_demand(c, k->dtype == t && one,
                           "NonMaxSuppression: a limit is not one number of its type");
}

enum eml_err eml_rule_non_max_suppression(const struct eml_rule_ctx *c)
{
    const struct eml_known *boxes = c->in[0], *scores = c->in[1];
    EML_TRY(eml_rule_demand(c, scores->dtype == boxes->dtype, "operands differ in type"));
    EML_TRY(one_number(c, 2, EML_DT_I64));
    EML_TRY(one_number(c, 3, EML_DT_F32));
    EML_TRY(one_number(c, 4, EML_DT_F32));
    bool fits = (!boxes->has_rank || boxes->shape.rank == 3) &&
                (!scores->has_rank || scores->shape.rank == 3);
    if (fits && boxes->has_rank)
        fits = eml_dim_agrees(boxes->shape.dim[2], 4);
    if (fits && boxes->has_rank && scores->has_rank)
        fits = eml_dim_agrees(boxes->shape.dim[0], scores->shape.dim[0]) &&
               eml_dim_agrees(boxes->shape.dim[1], scores->shape.dim[2]);
    EML_TRY(
        eml_rule_demand(c, fits, "NonMaxSuppression: boxes are not [N, n, 4], scores [N, C, n]"));
    const struct eml_shape s = {.rank = 2, .dim = {EML_DIM_UNKNOWN, 3}};
    eml_rule_out(c, 0, EML_DT_I64, &s);
    return EML_OK;
}
