/* Rules of matrices and of normalisations and losses whose output is not simply like their input.
 */
#include "engine/infer.h"

enum eml_err eml_rule_test(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    eml_rule_out(c, 0, EML_DT_BOOL, x->has_rank ? &x->shape : NULL);
    return EML_OK;
}

enum eml_err eml_rule_eye_like(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    int64_t t = eml_node_int(c->node, EML_ATTR_DTYPE, (int64_t)x->dtype);
    EML_TRY(eml_rule_demand(
        c, t > EML_DT_NONE && t <= EML_DT_U64 && t != EML_DT_STRING && t != EML_DT_F16,
        "EyeLike of an unsupported type"));
    EML_TRY(eml_rule_demand(c, !x->has_rank || x->shape.rank == 2, "EyeLike of no matrix"));
    eml_rule_out(c, 0, (enum eml_dtype)t, x->has_rank ? &x->shape : NULL);
    return EML_OK;
}

enum eml_err eml_rule_det(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    eml_rule_out(c, 0, x->dtype, NULL);
    if (!x->has_rank)
        return EML_OK;
    struct eml_shape s = x->shape;
    EML_TRY(eml_rule_demand(c, s.rank >= 2 && eml_dim_agrees(s.dim[s.rank - 1], s.dim[s.rank - 2]),
                            "Det of no square matrix"));
    s.rank -= 2;
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}

/* Mean and InvStdDev: the normalised dims are 1. */
enum eml_err eml_rule_layer_normalization(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    uint32_t axis = 0;
    EML_TRY(eml_rule_same(c));
    struct eml_shape s = x->shape;
    if (x->has_rank)
        EML_TRY(eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, -1), s.rank, &axis));
    for (uint32_t d = axis; d < s.rank; d++)
        s.dim[d] = 1;
    for (uint32_t i = 1; i < c->node->n_out; i++)
        eml_rule_out(c, i, EML_DT_F32, x->has_rank ? &s : NULL);
    return EML_OK;
}

/* x: [N, C, ...]; scale and bias per channel or, as in version 18, per group. */
enum eml_err eml_rule_group_normalization(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    int64_t groups = eml_node_int(c->node, EML_ATTR_NUM_GROUPS, 0);
    eml_rule_out(c, 0, x->dtype, x->has_rank ? &x->shape : NULL);
    EML_TRY(eml_rule_demand(c, groups >= 1, "GroupNormalization without groups"));
    int64_t ch = EML_DIM_UNKNOWN;
    if (x->has_rank) {
        EML_TRY(eml_rule_demand(c, x->shape.rank >= 2, "rank too low"));
        ch = x->shape.dim[1];
    }
    EML_TRY(eml_rule_demand(c, !eml_dim_known(ch) || ch % groups == 0,
                            "GroupNormalization: channels do not divide into the groups"));
    for (uint32_t i = 1; i < 3; i++) {
        const struct eml_known *k = c->in[i];
        EML_TRY(eml_rule_demand(c, k->dtype == x->dtype, "operands differ in type"));
        EML_TRY(eml_rule_demand(
            c,
            !k->has_rank || (k->shape.rank == 1 &&
                             (k->shape.dim[0] == groups || eml_dim_agrees(k->shape.dim[0], ch))),
            "scale, bias or statistics do not fit the normalised dimensions"));
    }
    const struct eml_known *scale = c->in[1], *bias = c->in[2];
    return eml_rule_demand(c,
                           !scale->has_rank || !bias->has_rank ||
                               eml_dim_agrees(scale->shape.dim[0], bias->shape.dim[0]),
                           "scale, bias or statistics do not fit the normalised dimensions");
}

enum { MEAN, SUM, NONE, REDUCTIONS };

/* x: [N, C, d...], target: [N, d...], weight: [C]. */
enum eml_err eml_rule_nll_loss(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *target = c->in[1], *weight = eml_rule_in(c, 2);
    int64_t reduction = eml_node_int(c->node, EML_ATTR_REDUCTION, MEAN);
    EML_TRY(eml_rule_demand(c, reduction >= 0 && reduction < REDUCTIONS, "reduction out of range"));
    EML_TRY(eml_rule_demand(c, target->dtype == EML_DT_I32 || target->dtype == EML_DT_I64,
                            "loss: targets are not int32 or int64"));
    EML_TRY(
        eml_rule_demand(c, weight == NULL || weight->dtype == x->dtype, "operands differ in type"));
    struct eml_shape s = {0};
    eml_rule_out(c, 0, x->dtype, reduction == NONE ? NULL : &s);
    if (!x->has_rank)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, x->shape.rank >= 2, "rank too low"));
    for (uint32_t d = 0; d < x->shape.rank; d++)
        if (d != 1)
            s.dim[s.rank++] = x->shape.dim[d];
    bool fits = !target->has_rank || target->shape.rank == s.rank;
    for (uint32_t d = 0; fits && target->has_rank && d < s.rank; d++) {
        fits = eml_dim_agrees(s.dim[d], target->shape.dim[d]);
        if (!eml_dim_known(s.dim[d]))
            s.dim[d] = target->shape.dim[d];
    }
    EML_TRY(eml_rule_demand(c, fits, "loss: targets do not fit the input"));
    fits = weight == NULL || !weight->has_rank ||
           (weight->shape.rank == 1 && eml_dim_agrees(weight->shape.dim[0], x->shape.dim[1]));
    EML_TRY(eml_rule_demand(c, fits, "loss: weights do not fit the classes"));
    if (reduction == NONE)
        eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}
