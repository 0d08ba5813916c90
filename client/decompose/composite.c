#include "decompose/composite.h"

#include <float.h>
#include <string.h>

struct maker {
    struct eml_ir *ir;
    const struct eml_onnx_node *node;
    long origin;
    struct eml_why *why;
};

static struct eml_ir_node *make(const struct maker *m, enum eml_op op, struct eml_ir_value *a,
                                struct eml_ir_value *b)
{
    struct eml_ir_value *in[2] = {a, b};
    struct eml_ir_node *n = eml_ir_node_new(m->ir, NULL, op, in, b != NULL ? 2 : 1, 1);
    n->origin = m->origin;
    return n;
}

static struct eml_ir_value *one(const struct maker *m, enum eml_op op, struct eml_ir_value *a)
{
    return make(m, op, a, NULL)->out[0];
}

static struct eml_ir_value *two(const struct maker *m, enum eml_op op, struct eml_ir_value *a,
                                struct eml_ir_value *b)
{
    return make(m, op, a, b)->out[0];
}

/* A number of the type of operand x. */
static struct eml_ir_value *number(const struct maker *m, float v, const struct eml_ir_value *x)
{
    struct eml_ir_value *k = eml_ir_const_f32(m->ir, v);
    if (x->dtype == EML_DT_F32)
        return k;
    struct eml_ir_node *cast = make(m, EML_OP_CAST, k, NULL);
    eml_ir_set_int(m->ir, cast, EML_ATTR_TO, x->dtype);
    return cast->out[0];
}

static struct eml_ir_value *reduce(const struct maker *m, enum eml_op op, struct eml_ir_value *x,
                                   const int64_t *axes, uint32_t n, bool keep)
{
    struct eml_ir_node *r = make(m, op, x, eml_ir_const_ints(m->ir, axes, n));
    eml_ir_set_int(m->ir, r, EML_ATTR_KEEPDIMS, keep);
    eml_ir_set_int(m->ir, r, EML_ATTR_NOOP_WITH_EMPTY_AXES, 1);
    return r->out[0];
}

static int64_t int_attr(const struct maker *m, const char *name, int64_t otherwise)
{
    const struct eml_onnx_attr *a = eml_onnx_attr(m->node, name);
    return a != NULL && a->type == EML_ONNX_ATTR_INT ? a->ints[0] : otherwise;
}

static float float_attr(const struct maker *m, const char *name, float otherwise)
{
    const struct eml_onnx_attr *a = eml_onnx_attr(m->node, name);
    return a != NULL && a->type == EML_ONNX_ATTR_FLOAT ? a->floats[0] : otherwise;
}

static enum eml_err refuse(const struct maker *m, const char *rule)
{
    return eml_fail(m->why, EML_E_UNSUPPORTED, rule, m->origin);
}

/* The axes behind the channels, and that of the batch if wanted. */
static enum eml_err spatial_axes(const struct maker *m, const struct eml_ir_value *x, bool batch,
                                 int64_t axes[EML_RANK_MAX], uint32_t *n)
{
    *n = 0;
    if (!x->has_rank || x->shape.rank < 2)
        return refuse(m, "decompose: operator needs a rank that is known and at least 2");
    if (batch)
        axes[(*n)++] = 0;
    for (uint32_t d = 2; d < x->shape.rank; d++)
        axes[(*n)++] = d;
    return EML_OK;
}

/* -log softmax(scores)[label], weighted and reduced as in NegativeLogLikelihoodLoss. */
static enum eml_err cross_entropy(const struct maker *m, struct eml_ir_value *const *in,
                                  struct eml_ir_value **out)
{
    static const char *const reductions[] = {"mean", "sum", "none"};
    const struct eml_onnx_attr *reduction = eml_onnx_attr(m->node, "reduction");
    struct eml_ir_node *log = make(m, EML_OP_LOG_SOFTMAX, in[0], NULL);
    eml_ir_set_int(m->ir, log, EML_ATTR_AXIS, 1);
    struct eml_ir_node *loss = make(m, EML_OP_NEGATIVE_LOG_LIKELIHOOD_LOSS, log->out[0], in[1]);
    if (in[2] != NULL)
        eml_ir_set_in(m->ir, loss, 2, in[2]);
    if (eml_onnx_attr(m->node, "ignore_index") != NULL)
        eml_ir_set_int(m->ir, loss, EML_ATTR_IGNORE_INDEX, int_attr(m, "ignore_index", 0));
    for (int64_t i = 0; reduction != NULL && i < 3; i++)
        if (reduction->type == EML_ONNX_ATTR_STRING &&
            eml_bytes_equal(reduction->strings[0], eml_bytes_of_str(reductions[i])))
            eml_ir_set_int(m->ir, loss, EML_ATTR_REDUCTION, i);
    out[0] = loss->out[0];
    out[1] = log->out[0];
    return EML_OK;
}

/* (x - mean) / (sqrt(mean((x - mean)^2)) + 1e-9) */
static enum eml_err mean_variance(const struct maker *m, struct eml_ir_value *const *in,
                                  struct eml_ir_value **out)
{
    static const int64_t images[] = {0, 2, 3};
    const struct eml_onnx_attr *a = eml_onnx_attr(m->node, "axes");
    bool given = a != NULL && a->type == EML_ONNX_ATTR_INTS;
    if (given && a->n > EML_RANK_MAX)
        return refuse(m, "decompose: attribute too long");
    const int64_t *axes = given ? a->ints : images;
    uint32_t n = given ? (uint32_t)a->n : 3;
    struct eml_ir_value *mean = reduce(m, EML_OP_REDUCE_MEAN, in[0], axes, n, true);
    struct eml_ir_value *d = two(m, EML_OP_SUB, in[0], mean);
    struct eml_ir_value *var =
        reduce(m, EML_OP_REDUCE_MEAN, two(m, EML_OP_MUL, d, d), axes, n, true);
    struct eml_ir_value *deviation =
        two(m, EML_OP_ADD, one(m, EML_OP_SQRT, var), number(m, 1e-9F, in[0]));
    out[0] = two(m, EML_OP_DIV, d, deviation);
    return EML_OK;
}

/* x / norm along one axis; 0 where the norm is 0. */
static enum eml_err lp_normalization(const struct maker *m, struct eml_ir_value *const *in,
                                     struct eml_ir_value **out)
{
    int64_t p = int_attr(m, "p", 2), axis = int_attr(m, "axis", -1);
    if (p != 1 && p != 2)
        return refuse(m, "decompose: LpNormalization with p other than 1 and 2");
    struct eml_ir_value *norm =
        reduce(m, p == 1 ? EML_OP_REDUCE_L1 : EML_OP_REDUCE_L2, in[0], &axis, 1, true);
    out[0] = two(m, EML_OP_DIV, in[0], two(m, EML_OP_MAX, norm, number(m, FLT_MIN, in[0])));
    return EML_OK;
}

static enum eml_err global_lp_pool(const struct maker *m, struct eml_ir_value *const *in,
                                   struct eml_ir_value **out)
{
    int64_t p = int_attr(m, "p", 2), axes[EML_RANK_MAX];
    uint32_t n;
    EML_TRY(spatial_axes(m, in[0], false, axes, &n));
    if (p < 1)
        return refuse(m, "decompose: GlobalLpPool with p below 1");
    if (p <= 2) {
        out[0] = reduce(m, p == 1 ? EML_OP_REDUCE_L1 : EML_OP_REDUCE_L2, in[0], axes, n, true);
        return EML_OK;
    }
    struct eml_ir_value *powers =
        two(m, EML_OP_POW, one(m, EML_OP_ABS, in[0]), eml_ir_const_f32(m->ir, (float)p));
    out[0] = two(m, EML_OP_POW, reduce(m, EML_OP_REDUCE_SUM, powers, axes, n, true),
                 eml_ir_const_f32(m->ir, 1 / (float)p));
    return EML_OK;
}

/* BatchNormalization by the statistics of this batch, which are mixed into the running ones. */
static enum eml_err batch_training(const struct maker *m, struct eml_ir_value *const *in,
                                   struct eml_ir_value **out)
{
    int64_t axes[EML_RANK_MAX];
    uint32_t n;
    float momentum = float_attr(m, "momentum", 0.9F);
    EML_TRY(spatial_axes(m, in[0], true, axes, &n));
    struct eml_ir_value *wide = reduce(m, EML_OP_REDUCE_MEAN, in[0], axes, n, true);
    struct eml_ir_value *d = two(m, EML_OP_SUB, in[0], wide);
    struct eml_ir_value *now[2] = {
        reduce(m, EML_OP_REDUCE_MEAN, in[0], axes, n, false),
        reduce(m, EML_OP_REDUCE_MEAN, two(m, EML_OP_MUL, d, d), axes, n, false)};
    struct eml_ir_value *operands[5] = {in[0], in[1], in[2], now[0], now[1]};
    struct eml_ir_node *norm =
        eml_ir_node_new(m->ir, NULL, EML_OP_BATCH_NORMALIZATION, operands, 5, 1);
    norm->origin = m->origin;
    norm->params[0] = float_attr(m, "epsilon", 1e-5F);
    norm->n_params = 1;
    out[0] = norm->out[0];
    for (uint32_t i = 0; i < 2; i++) {
        struct eml_ir_value *old = two(m, EML_OP_MUL, in[3 + i], number(m, momentum, in[3 + i]));
        struct eml_ir_value *new = two(m, EML_OP_MUL, now[i], number(m, 1 - momentum, in[0]));
        out[1 + i] = two(m, EML_OP_ADD, old, new);
    }
    return EML_OK;
}

typedef enum eml_err composite_fn(const struct maker *m, struct eml_ir_value *const *in,
                                  struct eml_ir_value **out);
static const struct composite {
    const char *op;
    uint32_t in_min;
    composite_fn *make;
} composites[] = {
    {"SoftmaxCrossEntropyLoss", 2, cross_entropy}, {"MeanVarianceNormalization", 1, mean_variance},
    {"LpNormalization", 1, lp_normalization},      {"GlobalLpPool", 1, global_lp_pool},
    {"BatchNormalization", 5, batch_training},
};

static const struct composite *find(const struct eml_onnx_node *n)
{
    const struct eml_onnx_attr *training = eml_onnx_attr(n, "training_mode");
    for (size_t i = 0; i < sizeof composites / sizeof composites[0] && n->domain[0] == 0; i++)
        if (strcmp(composites[i].op, n->op_type) == 0)
            return composites[i].make != batch_training ||
                           (training != NULL && training->type == EML_ONNX_ATTR_INT &&
                            training->ints[0] != 0)
                       ? &composites[i]
                       : NULL;
    return NULL;
}

bool eml_composite_is(const struct eml_onnx_node *n)
{
    return find(n) != NULL;
}

enum eml_err eml_composite_import(struct eml_ir *ir, const struct eml_onnx_node *n, long origin,
                                  struct eml_ir_value *const in[EML_COMPOSITE_IN],
                                  struct eml_ir_value *out[EML_COMPOSITE_OUT], struct eml_why *why)
{
    const struct maker m = {ir, n, origin, why};
    const struct composite *c = find(n);
    for (uint32_t i = 0; i < EML_COMPOSITE_OUT; i++)
        out[i] = NULL;
    for (uint32_t i = 0; i < c->in_min; i++)
        if (in[i] == NULL)
            return eml_fail(why, EML_E_INPUT, "required operand omitted", origin);
    return c->make(&m, in, out);
}
