/* Rules of random operators, Dropout among them. */
#include "engine/infer.h"

/* The type that attribute dtype names, if the kernels can write it. */
static enum eml_err named_type(const struct eml_rule_ctx *c, enum eml_dtype otherwise, bool floats,
                               enum eml_dtype *t)
{
    *t = (enum eml_dtype)eml_node_int(c->node, EML_ATTR_DTYPE, (int64_t)otherwise);
    bool ok = *t == EML_DT_F32 || *t == EML_DT_F64 || (!floats && eml_dtype_is_int(*t));
    return ok ? EML_OK : eml_rule_refuse_type(c, *t);
}

enum eml_err eml_rule_random(const struct eml_rule_ctx *c)
{
    const struct eml_attr *shape = eml_node_attr(c->node, EML_ATTR_SHAPE);
    struct eml_shape s = {0};
    enum eml_dtype t;
    EML_TRY(named_type(c, EML_DT_F32, true, &t));
    EML_TRY(eml_rule_demand(c, shape != NULL && shape->n <= EML_RANK_MAX,
                            "random tensor without a shape, or of too high a rank"));
    for (uint32_t i = 0; i < shape->n; i++) {
        EML_TRY(eml_rule_demand(c, shape->v[i] >= 0, "negative dimension"));
        s.dim[s.rank++] = shape->v[i];
    }
    eml_rule_out(c, 0, t, &s);
    return EML_OK;
}

enum eml_err eml_rule_random_like(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    enum eml_dtype t;
    EML_TRY(named_type(c, x->dtype, c->node->op != EML_OP_BERNOULLI, &t));
    eml_rule_out(c, 0, t, x->has_rank ? &x->shape : NULL);
    return EML_OK;
}

/* x: [batch, classes]. */
enum eml_err eml_rule_multinomial(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    int64_t n = eml_node_int(c->node, EML_ATTR_SAMPLE_SIZE, 1);
    int64_t t = eml_node_int(c->node, EML_ATTR_DTYPE, EML_DT_I32);
    struct eml_shape s = {2, {EML_DIM_UNKNOWN, n}};
    EML_TRY(eml_rule_demand(c, n >= 0, "Multinomial: negative number of samples"));
    EML_TRY(eml_rule_demand(c, t == EML_DT_I32 || t == EML_DT_I64,
                            "Multinomial: the result is not int32 or int64"));
    EML_TRY(eml_rule_demand(c, !x->has_rank || (x->shape.rank == 2 && x->shape.dim[1] != 0),
                            "Multinomial: input is not [batch, classes]"));
    if (x->has_rank)
        s.dim[0] = x->shape.dim[0];
    eml_rule_out(c, 0, (enum eml_dtype)t, &s);
    return EML_OK;
}

static enum eml_err one_of_type(const struct eml_rule_ctx *c, uint32_t i, bool is_bool)
{
    const struct eml_known *k = eml_rule_in(c, i);
    int64_t n;
    if (k == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(
        c, is_bool ? k->dtype == EML_DT_BOOL : k->dtype == EML_DT_F32 || k->dtype == EML_DT_F64,
        "operand of a wrong type"));
    return eml_rule_demand(c, !k->has_rank || !eml_shape_count(&k->shape, &n) || n == 1,
                           "operand is not one element");
}

enum eml_err eml_rule_dropout(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    EML_TRY(one_of_type(c, 1, false));
    EML_TRY(one_of_type(c, 2, true));
    eml_rule_out(c, 0, x->dtype, x->has_rank ? &x->shape : NULL);
    if (c->node->n_out > 1)
        eml_rule_out(c, 1, EML_DT_BOOL, x->has_rank ? &x->shape : NULL);
    return EML_OK;
}
