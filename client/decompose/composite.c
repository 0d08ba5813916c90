#include "decompose/composite.h"

#include <float.h>
#include <string.h>

/* The axes behind the channels, and that of the batch if wanted. */
static enum eml_err spatial_axes(const struct eml_maker *m, const struct eml_ir_value *x,
                                 bool batch, int64_t axes[EML_RANK_MAX], uint32_t *n)
{
    *n = 0;
    if (!x->has_rank || x->shape.rank < 2)
        return eml_make_refuse(m, "decompose: operator needs a rank that is known and at least 2");
    if (batch)
        axes[(*n)++] = 0;
    for (uint32_t d = 2; d < x->shape.rank; d++)
        axes[(*n)++] = d;
    return EML_OK;
}

/* -log softmax(scores)[label], weighted and reduced as in NegativeLogLikelihoodLoss. */
static enum eml_err cross_entropy(const struct eml_maker *m)
{
    static const char *const reductions[] = {"mean", "sum", "none"};
    const struct eml_onnx_attr *reduction = eml_onnx_attr(m->node, "reduction");
    struct eml_ir_node *log = eml_make_node(m, EML_OP_LOG_SOFTMAX, m->in, 1);
    eml_ir_set_int(m->ir, log, EML_ATTR_AXIS, 1);
    struct eml_ir_node *loss =
        eml_make_node(m, EML_OP_NEGATIVE_LOG_LIKELIHOOD_LOSS,
                      (struct eml_ir_value *[]){log->out[0], m->in[1], eml_make_operand(m, 2)}, 3);
    if (eml_onnx_attr(m->node, "ignore_index") != NULL)
        eml_ir_set_int(m->ir, loss, EML_ATTR_IGNORE_INDEX, eml_make_int(m, "ignore_index", 0));
    for (int64_t i = 0; reduction != NULL && i < 3; i++)
        if (reduction->type == EML_ONNX_ATTR_STRING &&
            eml_bytes_equal(reduction->strings[0], eml_bytes_of_str(reductions[i])))
            eml_ir_set_int(m->ir, loss, EML_ATTR_REDUCTION, i);
    m->out[0] = loss->out[0];
    m->out[1] = log->out[0];
    return EML_OK;
}

/* (x - mean) / (sqrt(mean((x - mean)^2)) + 1e-9) */
static enum eml_err mean_variance(const struct eml_maker *m)
{
    static const int64_t images[] = {0, 2, 3};
    const struct eml_onnx_attr *a = eml_onnx_attr(m->node, "axes");
    bool given = a != NULL && a->type == EML_ONNX_ATTR_INTS;
    if (given && a->n > EML_RANK_MAX)
        return eml_make_refuse(m, "decompose: attribute too long");
    const int64_t *axes = given ? a->ints : images;
    uint32_t n = given ? (uint32_t)a->n : 3;
    struct eml_ir_value *mean = eml_make_reduce(m, EML_OP_REDUCE_MEAN, m->in[0], axes, n, true);
    struct eml_ir_value *d = eml_make_two(m, EML_OP_SUB, m->in[0], mean);
    struct eml_ir_value *var =
        eml_make_reduce(m, EML_OP_REDUCE_MEAN, eml_make_two(m, EML_OP_MUL, d, d), axes, n, true);
    struct eml_ir_value *deviation = eml_make_two(m, EML_OP_ADD, eml_make_one(m, EML_OP_SQRT, var),
                                                  eml_make_number(m, 1e-9F, m->in[0]));
    m->out[0] = eml_make_two(m, EML_OP_DIV, d, deviation);
    return EML_OK;
}

/* x / norm along one axis; 0 where the norm is 0. */
static enum eml_err lp_normalization(const struct eml_maker *m)
{
    int64_t p = eml_make_int(m, "p", 2), axis = eml_make_int(m, "axis", -1);
    if (p != 1 && p != 2)
        return eml_make_refuse(m, "decompose: LpNormalization with p other than 1 and 2");
    struct eml_ir_value *norm =
        eml_make_reduce(m, p == 1 ? EML_OP_REDUCE_L1 : EML_OP_REDUCE_L2, m->in[0], &axis, 1, true);
    m->out[0] =
        eml_make_two(m, EML_OP_DIV, m->in[0],
                     eml_make_two(m, EML_OP_MAX, norm, eml_make_number(m, FLT_MIN, m->in[0])));
    return EML_OK;
}

static enum eml_err global_lp_pool(const struct eml_maker *m)
{
    int64_t p = eml_make_int(m, "p", 2), axes[EML_RANK_MAX];
    uint32_t n;
    EML_TRY(spatial_axes(m, m->in[0], false, axes, &n));
    if (p < 1)
        return eml_make_refuse(m, "decompose: GlobalLpPool with p below 1");
    if (p <= 2) {
        m->out[0] = eml_make_reduce(m, p == 1 ? EML_OP_REDUCE_L1 : EML_OP_REDUCE_L2, m->in[0], axes,
                                    n, true);
        return EML_OK;
    }
    struct eml_ir_value *powers = eml_make_two(m, EML_OP_POW, eml_make_one(m, EML_OP_ABS, m->in[0]),
                                               eml_ir_const_f32(m->ir, (float)p));
    m->out[0] =
        eml_make_two(m, EML_OP_POW, eml_make_reduce(m, EML_OP_REDUCE_SUM, powers, axes, n, true),
                     eml_ir_const_f32(m->ir, 1 / (float)p));
    return EML_OK;
}

/* BatchNormalization by the statistics of this batch, which are mixed into the running ones. */
static enum eml_err batch_training(const struct eml_maker *m)
{
    int64_t axes[EML_RANK_MAX];
    uint32_t n;
    float momentum = eml_make_float(m, "momentum", 0.9F);
    EML_TRY(spatial_axes(m, m->in[0], true, axes, &n));
    struct eml_ir_value *wide = eml_make_reduce(m, EML_OP_REDUCE_MEAN, m->in[0], axes, n, true);
    struct eml_ir_value *d = eml_make_two(m, EML_OP_SUB, m->in[0], wide);
    struct eml_ir_value *now[2] = {
        eml_make_reduce(m, EML_OP_REDUCE_MEAN, m->in[0], axes, n, false),
        eml_make_reduce(m, EML_OP_REDUCE_MEAN, eml_make_two(m, EML_OP_MUL, d, d), axes, n, false)};
    struct eml_ir_value *operands[5] = {m->in[0], m->in[1], m->in[2], now[0], now[1]};
    struct eml_ir_node *norm = eml_make_node(m, EML_OP_BATCH_NORMALIZATION, operands, 5);
    norm->params[0] = eml_make_float(m, "epsilon", 1e-5F);
    norm->n_params = 1;
    m->out[0] = norm->out[0];
    for (uint32_t i = 0; i < 2; i++) {
        struct eml_ir_value *old =
            eml_make_two(m, EML_OP_MUL, m->in[3 + i], eml_make_number(m, momentum, m->in[3 + i]));
        struct eml_ir_value *new =
            eml_make_two(m, EML_OP_MUL, now[i], eml_make_number(m, 1 - momentum, m->in[0]));
        m->out[1 + i] = eml_make_two(m, EML_OP_ADD, old, new);
    }
    return EML_OK;
}

static const struct eml_composite standard[] = {
    {"SoftmaxCrossEntropyLoss", 2, cross_entropy}, {"MeanVarianceNormalization", 1, mean_variance},
    {"LpNormalization", 1, lp_normalization},      {"GlobalLpPool", 1, global_lp_pool},
    {"BatchNormalization", 5, batch_training},     {NULL, 0, NULL},
};

static const struct eml_composite *find_in(const struct eml_composite *table, const char *name)
{
    for (; table->name != NULL; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

const struct eml_composite *eml_composite_find(const struct eml_onnx_node *n)
{
    const struct eml_composite *const tables[] = {standard,
                                                  eml_composites_contrib,
                                                  eml_composites_quantised,
                                                  eml_composites_attention,
                                                  eml_composites_gqa,
                                                  eml_composites_rotary};
    const struct eml_onnx_attr *training = eml_onnx_attr(n, "training_mode");
    const struct eml_composite *found = NULL;
    char name[128];
    if (!eml_onnx_op_name(n, name))
        return NULL;
    for (size_t i = 0; found == NULL && i < sizeof tables / sizeof tables[0]; i++)
        found = find_in(tables[i], name);
    if (found == NULL || found->make != batch_training)
        return found;
    return training != NULL && training->type == EML_ONNX_ATTR_INT && training->ints[0] != 0 ? found
                                                                                             : NULL;
}

enum eml_err eml_composite_make(const struct eml_composite *c, const struct eml_maker *m)
{
    for (uint32_t i = 0; i < EML_NODE_OUT_MAX; i++)
        m->out[i] = NULL;
    for (uint32_t i = 0; i < c->in_min; i++)
        if (eml_make_operand(m, i) == NULL)
            return eml_fail(m->why, EML_E_INPUT, "required operand omitted", m->origin);
    return c->make(m);
}
