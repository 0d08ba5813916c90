/* Rules of reductions, and the checks of operators whose output is like their input. */
#include "engine/infer.h"

#include "base/checked.h"

/* Axes to reduce as a mask; *known false if they are not known. */
static enum eml_err reduce_axes(const struct eml_rule_ctx *c, uint32_t rank, uint32_t *mask,
                                bool *known)
{
    const struct eml_known *axes = eml_rule_in(c, 1);
    *known = true;
    *mask = 0;
    if (axes != NULL) {
        EML_TRY(eml_rule_steer(c, 1, known));
        if (!*known)
            return EML_OK;
        EML_TRY(eml_rule_axes(c, axes->ints, axes->n_ints, rank, mask));
    }
    bool noop = eml_node_int(c->node, EML_ATTR_NOOP_WITH_EMPTY_AXES, 0) != 0;
    if (*mask == 0 && !noop)
        *mask = (1u << rank) - 1;
    return EML_OK;
}

static int64_t fold(enum eml_op op, int64_t a, int64_t b)
{
    int64_t r = EML_INT_UNKNOWN;
    bool ok = true;
    if (op == EML_OP_REDUCE_SUM)
        ok = eml_add_i64(a, b, &r);
    else if (op == EML_OP_REDUCE_PROD)
        ok = eml_mul_i64(a, b, &r);
    else if (op == EML_OP_REDUCE_MAX)
        r = a > b ? a : b;
    else if (op == EML_OP_REDUCE_MIN)
        r = a < b ? a : b;
    return ok ? r : EML_INT_UNKNOWN;
}

/* Known elements of a list folded into one. */
static void reduce_ints(const struct eml_rule_ctx *c, const struct eml_known *x)
{
    enum eml_op op = c->node->op;
    int64_t *v = eml_rule_ints(c, 0);
    if (v == NULL || c->out[0].n_ints != 1)
        return;
    if (x->n_ints == 0) {
        v[0] = op == EML_OP_REDUCE_SUM ? 0 : op == EML_OP_REDUCE_PROD ? 1 : EML_INT_UNKNOWN;
        return;
    }
    int64_t r = x->ints[0];
    for (uint32_t i = 1; i < x->n_ints && r != EML_INT_UNKNOWN; i++)
        r = x->ints[i] == EML_INT_UNKNOWN ? EML_INT_UNKNOWN : fold(op, r, x->ints[i]);
    bool folds = op == EML_OP_REDUCE_SUM || op == EML_OP_REDUCE_PROD || op == EML_OP_REDUCE_MAX ||
                 op == EML_OP_REDUCE_MIN;
    v[0] = folds ? eml_int_fits(x->dtype, r) : EML_INT_UNKNOWN;
}

enum eml_err eml_rule_reduce(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    bool keep = eml_node_int(c->node, EML_ATTR_KEEPDIMS, 1) != 0, known;
    uint32_t mask;
    eml_rule_out(c, 0, x->dtype, NULL);
    if (!x->has_rank)
        return EML_OK;
    EML_TRY(reduce_axes(c, x->shape.rank, &mask, &known));
    struct eml_shape s = {0};
    if (!known) {
        eml_rule_out_unknown(c, x, keep);
        return EML_OK;
    }
    for (uint32_t i = 0; i < x->shape.rank; i++) {
        bool gone = (mask >> i & 1) != 0;
        if (!gone || keep)
            s.dim[s.rank++] = gone ? 1 : x->shape.dim[i];
    }
    eml_rule_out(c, 0, x->dtype, &s);
    if (x->has_ints && x->shape.rank == 1 && mask == 1)
        reduce_ints(c, x);
    return EML_OK;
}

enum eml_err eml_rule_arg(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    eml_rule_out(c, 0, EML_DT_I64, NULL);
    if (!x->has_rank)
        return EML_OK;
    uint32_t axis;
    EML_TRY(eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, 0), x->shape.rank, &axis));
    EML_TRY(eml_rule_demand(c, x->shape.dim[axis] != 0, "ArgMax or ArgMin over nothing"));
    bool keep = eml_node_int(c->node, EML_ATTR_KEEPDIMS, 1) != 0;
    struct eml_shape s = {0};
    for (uint32_t i = 0; i < x->shape.rank; i++)
        if (i != axis || keep)
            s.dim[s.rank++] = i == axis ? 1 : x->shape.dim[i];
    eml_rule_out(c, 0, EML_DT_I64, &s);
    return EML_OK;
}

/* ---- operators of rule "same" ---- */

/* Operand i, if it is there: x's type, and as many elements as dims [from, rank) of x. */
static enum eml_err covers(const struct eml_rule_ctx *c, uint32_t i, uint32_t from)
{
    const struct eml_known *x = c->in[0], *k = eml_rule_in(c, i);
    int64_t have;
    if (k == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, k->dtype == x->dtype, "operands differ in type"));
    if (!k->has_rank || !eml_shape_count(&k->shape, &have))
        return EML_OK;
    struct eml_shape tail = {0};
    int64_t want;
    for (uint32_t d = from; d < x->shape.rank; d++)
        tail.dim[tail.rank++] = x->shape.dim[d];
    return eml_rule_demand(c, !eml_shape_count(&tail, &want) || have == want,
                           "scale, bias or statistics do not fit the normalised dimensions");
}

/* Operand i, if it is there, is one element of type t (NONE: int32 or int64). */
static enum eml_err one(const struct eml_rule_ctx *c, uint32_t i, enum eml_dtype t)
{
    const struct eml_known *k = eml_rule_in(c, i);
    int64_t n;
    if (k == NULL)
        return EML_OK;
    bool fits = t == EML_DT_NONE ? k->dtype == EML_DT_I64 || k->dtype == EML_DT_I32 : k->dtype == t;
    EML_TRY(eml_rule_demand(c, fits, "operand of a wrong type"));
    return eml_rule_demand(c, !k->has_rank || !eml_shape_count(&k->shape, &n) || n == 1,
                           "operand is not one element");
}

static enum eml_err check_prelu(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0], *k = c->in[1];
    EML_TRY(eml_rule_demand(c, x->dtype == k->dtype, "operands differ in type"));
    if (!x->has_rank || !k->has_rank)
        return EML_OK;
    struct eml_shape s = x->shape;
    EML_TRY(eml_rule_broadcast(c, &s, &k->shape));
    bool same = s.rank == x->shape.rank;
    for (uint32_t i = 0; same && i < s.rank; i++)
        same = eml_dim_agrees(s.dim[i], x->shape.dim[i]);
    return eml_rule_demand(c, same, "PRelu: the slope is larger than the input");
}

static enum eml_err check_activate(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    int64_t act = eml_node_int(c->node, EML_ATTR_ACT, EML_ACT_NONE);
    EML_TRY(eml_rule_demand(c, act > EML_ACT_NONE && act < EML_ACT_N, "activation out of range"));
    EML_TRY(eml_rule_demand(c, (act == EML_ACT_PRELU) == (eml_rule_in(c, 1) != NULL),
                            "a slope without PReLU, or PReLU without its slope"));
    if (act != EML_ACT_PRELU || !x->has_rank)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, x->shape.rank >= 1, "PReLU of a scalar"));
    return covers(c, 1, x->shape.rank - 1);
}

/* Normalisations over channels: the last dim. */
static enum eml_err check_channels(const struct eml_rule_ctx *c, uint32_t rank_min)
{
    const struct eml_known *x = c->in[0];
    if (!x->has_rank)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, x->shape.rank >= rank_min, "rank too low"));
    for (uint32_t i = 1; i < c->node->n_in; i++) {
        EML_TRY(eml_rule_demand(c, c->in[i] != NULL, "required operand omitted"));
        EML_TRY(covers(c, i, x->shape.rank - 1));
    }
    return EML_OK;
}

enum eml_err eml_rule_check_norm(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    uint32_t axis;
    switch (c->node->op) {
    case EML_OP_SOFTMAX:
    case EML_OP_LOG_SOFTMAX:
    case EML_OP_HARDMAX:
        if (!x->has_rank)
            return EML_OK;
        return eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, -1), x->shape.rank, &axis);
    case EML_OP_LAYER_NORMALIZATION:
    case EML_OP_RMS_NORMALIZATION:
        if (!x->has_rank)
            return EML_OK;
        EML_TRY(eml_rule_axis(c, eml_node_int(c->node, EML_ATTR_AXIS, -1), x->shape.rank, &axis));
        EML_TRY(covers(c, 1, axis));
        return covers(c, 2, axis);
    case EML_OP_BATCH_NORMALIZATION:
        EML_TRY(eml_rule_demand(c, eml_node_int(c->node, EML_ATTR_TRAINING_MODE, 0) == 0,
                                "BatchNormalization in training mode"));
        EML_TRY(eml_rule_demand(c, c->node->n_out == 1, "wrong number of outputs"));
        EML_TRY(eml_rule_demand(
            c, x->dtype == EML_DT_F32 || eml_node_int(c->node, EML_ATTR_ACT, 0) == EML_ACT_NONE,
            "fused into a product of another type than float32"));
        return check_channels(c, 2);
    case EML_OP_INSTANCE_NORMALIZATION:
        return check_channels(c, 3);
    case EML_OP_CLIP:
        EML_TRY(one(c, 1, x->dtype));
        return one(c, 2, x->dtype);
    case EML_OP_PRELU:
        return check_prelu(c);
    case EML_OP_ACTIVATE:
        return check_activate(c);
    case EML_OP_TRILU:
        EML_TRY(eml_rule_demand(c, !x->has_rank || x->shape.rank >= 2, "rank too low"));
        return one(c, 1, EML_DT_I64);
    case EML_OP_CUM_SUM:
        EML_TRY(eml_rule_demand(c, !x->has_rank || x->shape.rank >= 1, "rank too low"));
        return one(c, 1, EML_DT_NONE);
    default:
        return EML_OK;
    }
}
