/* Rules of the operators that look up or scatter by index, and of those that select along an axis.
 */
#include "engine/infer.h"

#include "base/checked.h"

static enum eml_err demand_indices(const struct eml_rule_ctx *c, uint32_t i)
{
    enum eml_dtype t = c->in[i]->dtype;
    return eml_rule_demand(c, t == EML_DT_I64 || t == EML_DT_I32, "indices are not int32 or int64");
}

/* The one integer of steering operand i; *known false if it is not known. */
static enum eml_err steer_one(const struct eml_rule_ctx *c, uint32_t i, int64_t *v, bool *known)
{
    int64_t n;
    const struct eml_known *k = c->in[i];
    EML_TRY(eml_rule_steer(c, i, known));
    if (k->has_rank && eml_shape_count(&k->shape, &n))
        EML_TRY(eml_rule_demand(c, n == 1, "operand that steers shapes is not one integer"));
    *known = *known && k->n_ints == 1;
    *v = *known ? k->ints[0] : 0;
    return EML_OK;
}

/* `n` dims of a from a_at on agree with those of b from b_at on. */
static bool dims_agree(const struct eml_shape *a, uint32_t a_at, const struct eml_shape *b,
                       uint32_t b_at, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!eml_dim_agrees(a->dim[a_at + i], b->dim[b_at + i]))
            return false;
    return true;
}

enum eml_err eml_rule_gather_nd(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *k = c->in[1];
    int64_t batch = eml_node_int(c->node, EML_ATTR_BATCH_DIMS, 0);
    EML_TRY(demand_indices(c, 1));
    eml_rule_out(c, 0, x->dtype, NULL);
    if (!x->has_rank || !k->has_rank)
        return EML_OK;
    uint32_t r = x->shape.rank, q = k->shape.rank;
    EML_TRY(eml_rule_demand(c, batch >= 0 && batch < (int64_t)r && batch < (int64_t)q,
                            "GatherND: batch_dims out of range"));
    uint32_t b = (uint32_t)batch;
    EML_TRY(eml_rule_demand(c, dims_agree(&x->shape, 0, &k->shape, 0, b),
                            "GatherND: batch dimensions differ"));
    int64_t tuple = k->shape.dim[q - 1];
    if (!eml_dim_known(tuple))
        return EML_OK;
    EML_TRY(eml_rule_demand(c, tuple >= 1 && tuple <= (int64_t)(r - b),
                            "GatherND: the tuples of indices do not fit the rank"));
    uint32_t rest = b + (uint32_t)tuple;
    EML_TRY(eml_rule_demand(c, q - 1 + r - rest <= EML_RANK_MAX, "rank above the limit"));
    struct eml_shape s = {0};
    for (uint32_t i = 0; i + 1 < q; i++)
        s.dim[s.rank++] = k->shape.dim[i];
    for (uint32_t i = rest; i < r; i++)
        s.dim[s.rank++] = x->shape.dim[i];
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}

static enum eml_err scatter_operands(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *u = c->in[2];
    int64_t how = eml_node_int(c->node, EML_ATTR_REDUCTION, 0);
    EML_TRY(demand_indices(c, 1));
    EML_TRY(eml_rule_demand(c, how >= 0 && how <= 4, "reduction out of range"));
    EML_TRY(eml_rule_demand(c, u->dtype == x->dtype, "operands differ in type"));
    eml_rule_out(c, 0, x->dtype, x->has_rank ? &x->shape : NULL);
    return EML_OK;
}

enum eml_err eml_rule_scatter_elements(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *k = c->in[1], *u = c->in[2];
    EML_TRY(scatter_operands(c));
    if (k->has_rank && u->has_rank)
        EML_TRY(eml_rule_demand(c,
                                k->shape.rank == u->shape.rank &&
                                    dims_agree(&k->shape, 0, &u->shape, 0, k->shape.rank),
                                "ScatterElements: indices and updates differ in shape"));
    if (!x->has_rank || !k->has_rank)
        return EML_OK;
    uint32_t axis;
    EML_TRY(eml_rule_demand(c, x->shape.rank == k->shape.rank, "ScatterElements: ranks differ"));
    EML_TRY(eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, 0), x->shape.rank, &axis));
    for (uint32_t i = 0; i < x->shape.rank; i++)
        EML_TRY(eml_rule_demand(
            c, i == axis || !eml_dim_known(x->shape.dim[i]) || k->shape.dim[i] <= x->shape.dim[i],
            "ScatterElements: indices exceed the data"));
    return EML_OK;
}

enum eml_err eml_rule_scatter_nd(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *k = c->in[1], *u = c->in[2];
    EML_TRY(scatter_operands(c));
    if (!x->has_rank || !k->has_rank)
        return EML_OK;
    uint32_t r = x->shape.rank, q = k->shape.rank;
    EML_TRY(eml_rule_demand(c, r >= 1 && q >= 1, "ScatterND: scalar operand"));
    int64_t tuple = k->shape.dim[q - 1];
    if (!eml_dim_known(tuple))
        return EML_OK;
    EML_TRY(eml_rule_demand(c, tuple <= (int64_t)r,
                            "ScatterND: the tuples of indices do not fit the rank"));
    uint32_t t = (uint32_t)tuple;
    return eml_rule_demand(c,
                           !u->has_rank || (u->shape.rank == q - 1 + r - t &&
                                            dims_agree(&u->shape, 0, &k->shape, 0, q - 1) &&
                                            dims_agree(&u->shape, q - 1, &x->shape, t, r - t)),
                           "ScatterND: the updates do not fit indices and data");
}

enum eml_err eml_rule_one_hot(const struct eml_rule_ctx *c)
{
    const struct eml_known *k = c->in[0], *values = c->in[2];
    int64_t depth;
    bool known;
    EML_TRY(demand_indices(c, 0));
    EML_TRY(steer_one(c, 1, &depth, &known));
    EML_TRY(eml_rule_demand(c, !known || depth >= 0, "OneHot: negative depth"));
    EML_TRY(eml_rule_demand(
        c,
        !values->has_rank || (values->shape.rank == 1 && eml_dim_agrees(values->shape.dim[0], 2)),
        "OneHot: values are not [off, on]"));
    eml_rule_out(c, 0, values->dtype, NULL);
    if (!k->has_rank)
        return EML_OK;
    uint32_t axis, rank = k->shape.rank + 1;
    EML_TRY(eml_rule_demand(c, rank <= EML_RANK_MAX, "rank above the limit"));
    EML_TRY(eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, -1), rank, &axis));
    struct eml_shape s = {.rank = rank};
    for (uint32_t i = 0; i < rank; i++)
        s.dim[i] = i == axis ? known ? depth : EML_DIM_UNKNOWN : k->shape.dim[i - (i > axis)];
    eml_rule_out(c, 0, values->dtype, &s);
    return EML_OK;
}

enum eml_err eml_rule_top_k(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    int64_t k;
    bool known;
    EML_TRY(eml_rule_demand(c, c->node->n_out == 2, "wrong number of outputs"));
    EML_TRY(steer_one(c, 1, &k, &known));
    struct eml_shape s = x->shape;
    if (x->has_rank) {
        uint32_t axis;
        EML_TRY(eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, -1), s.rank, &axis));
        EML_TRY(eml_rule_demand(
            c, !known || (k >= 0 && (!eml_dim_known(s.dim[axis]) || k <= s.dim[axis])),
            "TopK: k out of range"));
        s.dim[axis] = known ? k : EML_DIM_UNKNOWN;
    }
    eml_rule_out(c, 0, x->dtype, x->has_rank ? &s : NULL);
    eml_rule_out(c, 1, EML_DT_I64, x->has_rank ? &s : NULL);
    return EML_OK;
}

enum eml_err eml_rule_reverse_sequence(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *lens = c->in[1];
    int64_t batch = eml_node_int(c->node, EML_ATTR_BATCH_AXIS, 1);
    int64_t time = eml_node_int(c->node, EML_ATTR_TIME_AXIS, 0);
    EML_TRY(demand_indices(c, 1));
    EML_TRY(eml_rule_demand(c, (batch == 0 && time == 1) || (batch == 1 && time == 0),
                            "ReverseSequence: batch_axis and time_axis are not 0 and 1"));
    EML_TRY(eml_rule_demand(c, !x->has_rank || x->shape.rank >= 2,
                            "ReverseSequence: fewer than 2 dimensions"));
    EML_TRY(eml_rule_demand(
        c,
        !lens->has_rank ||
            (lens->shape.rank == 1 &&
             (!x->has_rank || eml_dim_agrees(lens->shape.dim[0], x->shape.dim[batch]))),
        "ReverseSequence: as many lengths as sequences are needed"));
    eml_rule_out(c, 0, x->dtype, x->has_rank ? &x->shape : NULL);
    return EML_OK;
}
