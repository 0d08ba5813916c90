/* Operators of com.microsoft on floats that are short for what ONNX's own operators say: each
 * becomes those. Semantics: docs/ContribOperators.md of ONNX Runtime.
 */
#include "decompose/composite.h"

#include <string.h>

static enum eml_err not_done(const struct eml_maker *m)
{
    return eml_make_refuse(m, "decompose: form of the operator not supported");
}

/* The last two axes exchanged, if asked for; false if the rank is not known. */
static bool transposed(const struct eml_maker *m, const char *attr, struct eml_ir_value **v)
{
    int64_t perm[EML_RANK_MAX];
    if (eml_make_int(m, attr, 0) == 0)
        return true;
    const uint32_t r = (*v)->shape.rank;
    if (!(*v)->has_rank || r < 2)
        return false;
    for (uint32_t i = 0; i < r; i++)
        perm[i] = i;
    perm[r - 1] = r - 2;
    perm[r - 2] = r - 1;
    *v = eml_make_transpose(m, *v, perm, r);
    return true;
}

static enum eml_err fused_matmul(const struct eml_maker *m)
{
    struct eml_ir_value *a = eml_make_operand(m, 0), *b = eml_make_operand(m, 1);
    const float alpha = eml_make_float(m, "alpha", 1);
    if (eml_make_int(m, "transBatchA", 0) != 0 || eml_make_int(m, "transBatchB", 0) != 0 ||
        !transposed(m, "transA", &a) || !transposed(m, "transB", &b))
        return not_done(m);
    m->out[0] = eml_make_two(m, EML_OP_MATMUL, a, b);
    if (alpha != 1)
        m->out[0] = eml_make_two(m, EML_OP_MUL, m->out[0], eml_ir_const_f32(m->ir, alpha));
    return EML_OK;
}

static enum eml_err gelu_of(const struct eml_maker *m, bool tanh_form)
{
    struct eml_ir_value *x = eml_make_operand(m, 0), *bias = eml_make_operand(m, 1);
    if (bias != NULL)
        x = eml_make_two(m, EML_OP_ADD, x, bias);
    struct eml_ir_node *n = eml_make_node(m, EML_OP_GELU, &x, 1);
    eml_ir_set_int(m->ir, n, EML_ATTR_APPROXIMATE, tanh_form);
    m->out[0] = n->out[0];
    return EML_OK;
}

/* x * sigmoid(alpha * x) */
static enum eml_err quick_gelu(const struct eml_maker *m)
{
    struct eml_ir_value *x = eml_make_operand(m, 0);
    struct eml_ir_value *alpha = eml_ir_const_f32(m->ir, eml_make_float(m, "alpha", 1.702F));
    m->out[0] = eml_make_two(
        m, EML_OP_MUL, x, eml_make_one(m, EML_OP_SIGMOID, eml_make_two(m, EML_OP_MUL, x, alpha)));
    return EML_OK;
}

static enum eml_err gelu(const struct eml_maker *m)
{
    return gelu_of(m, false);
}

static enum eml_err fast_gelu(const struct eml_maker *m)
{
    return gelu_of(m, true);
}

/* ---- normalisations ---- */

static struct eml_ir_node *normalise(const struct eml_maker *m, struct eml_ir_value *x,
                                     struct eml_ir_value *scale, struct eml_ir_value *bias,
                                     float epsilon, int64_t axis, bool mean)
{
    struct eml_ir_value *in[3] = {x, scale, bias};
    struct eml_ir_node *n =
        eml_make_node(m, mean ? EML_OP_LAYER_NORMALIZATION : EML_OP_RMS_NORMALIZATION, in, 3);
    eml_ir_set_int(m->ir, n, EML_ATTR_AXIS, axis);
    n->params[0] = eml_make_float(m, "epsilon", epsilon);
    n->n_params = 1;
    return n;
}

/* input + skip + bias, which is output 3, normalised. */
static enum eml_err skip(const struct eml_maker *m, bool mean)
{
    struct eml_ir_value *sum =
        eml_make_two(m, EML_OP_ADD, eml_make_operand(m, 0), eml_make_operand(m, 1));
    struct eml_ir_value *bias = eml_make_operand(m, mean ? 4 : 3);
    struct eml_ir_value *beta = mean ? eml_make_operand(m, 3) : NULL;
    if (bias != NULL)
        sum = eml_make_two(m, EML_OP_ADD, sum, bias);
    m->out[0] = normalise(m, sum, eml_make_operand(m, 2), beta, 1e-12F, -1, mean)->out[0];
    m->out[3] = sum;
    return EML_OK;
}

static enum eml_err skip_layer_normalization(const struct eml_maker *m)
{
    return skip(m, true);
}

static enum eml_err skip_simplified_layer_normalization(const struct eml_maker *m)
{
    return skip(m, false);
}

static enum eml_err simplified_layer_normalization(const struct eml_maker *m)
{
    struct eml_ir_node *n = normalise(m, eml_make_operand(m, 0), eml_make_operand(m, 1), NULL,
                                      1e-5F, eml_make_int(m, "axis", -1), false);
    if (eml_make_wanted(m, 1))
        eml_ir_grow_out(m->ir, n, 2);
    m->out[0] = n->out[0];
    m->out[1] = n->n_out > 1 ? n->out[1] : NULL;
    return EML_OK;
}

/* Rows of three tables, summed (output 2) and normalised; output 1 counts the mask's ones. */
static enum eml_err embed_layer_normalization(const struct eml_maker *m)
{
    enum { IDS, SEGMENTS, WORDS, PLACES, SEGMENT_TABLE, GAMMA, BETA, MASK, PLACE_IDS };
    struct eml_ir_value *ids = eml_make_operand(m, IDS), *places = eml_make_operand(m, PLACES);
    struct eml_ir_value *by_place = eml_make_operand(m, PLACE_IDS), *segments[2], *ones;
    static const int64_t last = 1, zero = 0;
    if (by_place != NULL) {
        places = eml_make_two(m, EML_OP_GATHER, places, by_place);
    } else { /* one after the other from 0 */
        struct eml_ir_value *cut[4] = {places, eml_ir_const_ints(m->ir, &zero, 1),
                                       eml_make_dim(m, ids, 1), eml_ir_const_ints(m->ir, &zero, 1)};
        places = eml_make_node(m, EML_OP_SLICE, cut, 4)->out[0];
    }
    struct eml_ir_value *sum = eml_make_two(
        m, EML_OP_ADD, eml_make_two(m, EML_OP_GATHER, eml_make_operand(m, WORDS), ids), places);
    segments[0] = eml_make_operand(m, SEGMENT_TABLE);
    segments[1] = eml_make_operand(m, SEGMENTS);
    if (segments[0] != NULL && segments[1] != NULL)
        sum = eml_make_two(m, EML_OP_ADD, sum,
                           eml_make_two(m, EML_OP_GATHER, segments[0], segments[1]));
    m->out[0] =
        normalise(m, sum, eml_make_operand(m, GAMMA), eml_make_operand(m, BETA), 1e-12F, -1, true)
            ->out[0];
    m->out[2] = sum;
    ones = eml_make_operand(m, MASK);
    if (ones == NULL) /* none counted */
        ones = eml_make_two(m, EML_OP_SUB, ids, ids);
    ones =
        eml_make_reduce(m, EML_OP_REDUCE_SUM, eml_make_cast(m, ones, EML_DT_I64), &last, 1, false);
    m->out[1] = eml_make_cast(m, ones, EML_DT_I32);
    return EML_OK;
}

/* ---- products with an activation ---- */

/* The activation that attributes name: its numbers in a list, or in attributes of their own. */
static struct eml_ir_value *activated(const struct eml_maker *m, struct eml_ir_value *x)
{
    static const struct {
        const char *name;
        enum eml_op op;
        uint32_t n;
        float usual[2];
    } acts[] = {
        {"Relu", EML_OP_RELU, 0, {0}},
        {"Tanh", EML_OP_TANH, 0, {0}},
        {"Sigmoid", EML_OP_SIGMOID, 0, {0}},
        {"LeakyRelu", EML_OP_LEAKY_RELU, 1, {0.01F}},
        {"Clip", EML_OP_CLIP, 2, {0}},
        {"HardSigmoid", EML_OP_HARD_SIGMOID, 2, {0.2F, 0.5F}},
        {"Softplus", EML_OP_SOFTPLUS, 0, {0}},
        {"Softsign", EML_OP_SOFTSIGN, 0, {0}},
        {"Elu", EML_OP_ELU, 1, {1}},
        {"HardSwish", EML_OP_HARD_SWISH, 0, {0}},
        {"ThresholdedRelu", EML_OP_THRESHOLDED_RELU, 1, {1}},
    };
    const struct eml_onnx_attr *name = eml_onnx_attr(m->node, "activation");
    const struct eml_onnx_attr *list = eml_onnx_attr(m->node, "activation_params");
    if (name == NULL || name->type != EML_ONNX_ATTR_STRING || name->strings[0].len == 0)
        return x;
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        if (!eml_bytes_equal(name->strings[0], eml_bytes_of_str(acts[i].name)))
            continue;
        float v[2] = {eml_make_float(m, "activation_alpha", acts[i].usual[0]),
                      eml_make_float(m, "activation_beta", acts[i].usual[1])};
        bool listed = list != NULL && list->type == EML_ONNX_ATTR_FLOATS;
        for (size_t k = 0; listed && k < list->n && k < 2; k++)
            v[k] = list->floats[k];
        if (acts[i].op == EML_OP_CLIP)
            return listed && list->n == 2
                       ? eml_make_three(m, EML_OP_CLIP, x, eml_ir_const_f32(m->ir, v[0]),
                                        eml_ir_const_f32(m->ir, v[1]))
                       : NULL;
        struct eml_ir_node *n = eml_make_node(m, acts[i].op, &x, 1);
        memcpy(n->params, v, sizeof v);
        n->n_params = acts[i].n;
        return n->out[0];
    }
    return NULL;
}

/* Conv, then the sum with Z, then the activation. */
static enum eml_err fused_conv(const struct eml_maker *m)
{
    struct eml_ir_node *n = eml_make_node(m, EML_OP_CONV, m->in, m->node->n_in < 3 ? 2 : 3);
    EML_TRY(eml_make_window(m, n));
    struct eml_ir_value *z = eml_make_operand(m, 3), *y = n->out[0];
    if (z != NULL)
        y = eml_make_two(m, EML_OP_ADD, y, z);
    m->out[0] = activated(m, y);
    return m->out[0] != NULL ? EML_OK : not_done(m);
}

static enum eml_err fused_gemm(const struct eml_maker *m)
{
    struct eml_ir_node *n = eml_make_node(m, EML_OP_GEMM, m->in, m->node->n_in);
    eml_ir_set_int(m->ir, n, EML_ATTR_TRANS_A, eml_make_int(m, "transA", 0) != 0);
    eml_ir_set_int(m->ir, n, EML_ATTR_TRANS_B, eml_make_int(m, "transB", 0) != 0);
    n->params[0] = eml_make_float(m, "alpha", 1);
    n->params[1] = eml_make_float(m, "beta", 1);
    n->n_params = 2;
    m->out[0] = activated(m, n->out[0]);
    return m->out[0] != NULL ? EML_OK : not_done(m);
}

const struct eml_composite eml_composites_contrib[] = {
    {"SimplifiedLayerNormalization", 2, simplified_layer_normalization},
    {"com.microsoft.BiasGelu", 2, gelu},
    {"com.microsoft.EmbedLayerNormalization", 1, embed_layer_normalization},
    {"com.microsoft.FastGelu", 1, fast_gelu},
    {"com.microsoft.FusedConv", 2, fused_conv},
    {"com.microsoft.FusedGemm", 2, fused_gemm},
    {"com.microsoft.FusedMatMul", 2, fused_matmul},
    {"com.microsoft.Gelu", 1, gelu},
    {"com.microsoft.QuickGelu", 1, quick_gelu},
    {"com.microsoft.SkipLayerNormalization", 3, skip_layer_normalization},
    {"com.microsoft.SkipSimplifiedLayerNormalization", 3, skip_simplified_layer_normalization},
    {NULL, 0, NULL},
};
