/* Operators of com.microsoft that are short for what ONNX's own operators say: each becomes those.
 * Semantics: docs/ContribOperators.md of ONNX Runtime. The quantised ones compute in float between
 * DequantizeLinear and QuantizeLinear, as ONNX Runtime does.
 */
#include "decompose/passes.h"

#include <string.h>

struct contrib {
    struct eml_ir *ir;
    const struct eml_onnx_node *node;
    struct eml_ir_value *const *in;
    struct eml_ir_value **out;
    long index;
};

static struct eml_ir_value *operand(const struct contrib *c, uint32_t i)
{
    return i < c->node->n_in ? c->in[i] : NULL;
}

static struct eml_ir_node *make(const struct contrib *c, enum eml_op op,
                                struct eml_ir_value *const *in, uint32_t n_in)
{
    struct eml_ir_node *n = eml_ir_node_new(c->ir, NULL, op, in, n_in, 1);
    n->origin = c->index;
    eml_ir_trim(n);
    return n;
}

static struct eml_ir_value *unary(const struct contrib *c, enum eml_op op, struct eml_ir_value *x)
{
    return make(c, op, &x, 1)->out[0];
}

static struct eml_ir_value *binary(const struct contrib *c, enum eml_op op, struct eml_ir_value *a,
                                   struct eml_ir_value *b)
{
    struct eml_ir_value *in[2] = {a, b};
    return make(c, op, in, 2)->out[0];
}

static int64_t int_attr(const struct contrib *c, const char *name, int64_t otherwise)
{
    const struct eml_onnx_attr *a = eml_onnx_attr(c->node, name);
    return a != NULL && a->type == EML_ONNX_ATTR_INT ? a->ints[0] : otherwise;
}

static float float_attr(const struct contrib *c, const char *name, float otherwise)
{
    const struct eml_onnx_attr *a = eml_onnx_attr(c->node, name);
    return a != NULL && a->type == EML_ONNX_ATTR_FLOAT ? a->floats[0] : otherwise;
}

/* Operands i, i + 1, i + 2: elements, scale, zero point. */
static struct eml_ir_value *dequantised(const struct contrib *c, uint32_t i)
{
    struct eml_ir_value *in[3] = {operand(c, i), operand(c, i + 1), operand(c, i + 2)};
    return make(c, EML_OP_DEQUANTIZE_LINEAR, in, 3)->out[0];
}

/* By scale and zero point i and i + 1; without the latter, 0 of x's type. */
static void quantise(const struct contrib *c, struct eml_ir_value *y, uint32_t i,
                     const struct eml_ir_value *x)
{
    static const struct eml_shape scalar = {0};
    struct eml_ir_value *in[3] = {y, operand(c, i), operand(c, i + 1)};
    if (in[2] == NULL)
        in[2] = eml_ir_const(c->ir, x->dtype, &scalar, eml_ir_alloc(c->ir, 1));
    c->out[0] = make(c, EML_OP_QUANTIZE_LINEAR, in, 3)->out[0];
}

static bool qlinear_binary(const struct contrib *c, enum eml_op op)
{
    quantise(c, binary(c, op, dequantised(c, 0), dequantised(c, 3)), 6, operand(c, 0));
    return true;
}

static bool qlinear_sigmoid(const struct contrib *c)
{
    quantise(c, unary(c, EML_OP_SIGMOID, dequantised(c, 0)), 3, operand(c, 0));
    return true;
}

static bool qlinear_leaky_relu(const struct contrib *c)
{
    struct eml_ir_value *x = dequantised(c, 0);
    struct eml_ir_node *n = make(c, EML_OP_LEAKY_RELU, &x, 1);
    n->params[0] = float_attr(c, "alpha", 0.01F);
    n->n_params = 1;
    quantise(c, n->out[0], 3, operand(c, 0));
    return true;
}

static bool qlinear_global_average_pool(const struct contrib *c)
{
    if (int_attr(c, "channels_last", 0) != 0)
        return false;
    quantise(c, unary(c, EML_OP_GLOBAL_AVERAGE_POOL, dequantised(c, 0)), 3, operand(c, 0));
    return true;
}

static bool qlinear_concat(const struct contrib *c)
{
    struct eml_ir_value *in[EML_NODE_IN_MAX];
    const uint32_t n = (c->node->n_in - 2) / 3;
    if (c->node->n_in != 2 + 3 * n || n < 1)
        return false;
    for (uint32_t i = 0; i < n; i++)
        in[i] = dequantised(c, 2 + 3 * i);
    struct eml_ir_node *concat = make(c, EML_OP_CONCAT, in, n);
    eml_ir_set_int(c->ir, concat, EML_ATTR_AXIS, int_attr(c, "axis", 0));
    quantise(c, concat->out[0], 0, operand(c, 2));
    return true;
}

static bool dynamic_quantize_matmul(const struct contrib *c)
{
    struct eml_ir_value *a = operand(c, 0);
    struct eml_ir_node *q = eml_ir_node_new(c->ir, NULL, EML_OP_DYNAMIC_QUANTIZE_LINEAR, &a, 1, 3);
    q->origin = c->index;
    struct eml_ir_value *in[7] = {q->out[0], operand(c, 1), q->out[1],    operand(c, 2),
                                  q->out[2], operand(c, 3), operand(c, 4)};
    c->out[0] = make(c, EML_OP_MATMUL_INTEGER_TO_FLOAT, in, 7)->out[0];
    return true;
}

/* The last two axes exchanged, if asked for; false if the rank is not known. */
static bool transposed(const struct contrib *c, const char *attr, struct eml_ir_value **v)
{
    int64_t perm[EML_RANK_MAX];
    if (int_attr(c, attr, 0) == 0)
        return true;
    const uint32_t r = (*v)->shape.rank;
    if (!(*v)->has_rank || r < 2)
        return false;
    for (uint32_t i = 0; i < r; i++)
        perm[i] = i;
    perm[r - 1] = r - 2;
    perm[r - 2] = r - 1;
    struct eml_ir_node *t = make(c, EML_OP_TRANSPOSE, v, 1);
    eml_ir_set_attr(c->ir, t, EML_ATTR_PERM, perm, r);
    *v = t->out[0];
    return true;
}

static bool fused_matmul(const struct contrib *c)
{
    struct eml_ir_value *a = operand(c, 0), *b = operand(c, 1);
    const float alpha = float_attr(c, "alpha", 1);
    if (int_attr(c, "transBatchA", 0) != 0 || int_attr(c, "transBatchB", 0) != 0 ||
        !transposed(c, "transA", &a) || !transposed(c, "transB", &b))
        return false;
    c->out[0] = binary(c, EML_OP_MATMUL, a, b);
    if (alpha != 1)
        c->out[0] = binary(c, EML_OP_MUL, c->out[0], eml_ir_const_f32(c->ir, alpha));
    return true;
}

static bool gelu(const struct contrib *c, bool tanh_form)
{
    struct eml_ir_value *x = operand(c, 0), *bias = operand(c, 1);
    if (bias != NULL)
        x = binary(c, EML_OP_ADD, x, bias);
    struct eml_ir_node *n = make(c, EML_OP_GELU, &x, 1);
    eml_ir_set_int(c->ir, n, EML_ATTR_APPROXIMATE, tanh_form);
    c->out[0] = n->out[0];
    return true;
}

/* x * sigmoid(alpha * x) */
static bool quick_gelu(const struct contrib *c)
{
    struct eml_ir_value *x = operand(c, 0);
    struct eml_ir_value *alpha = eml_ir_const_f32(c->ir, float_attr(c, "alpha", 1.702F));
    c->out[0] = binary(c, EML_OP_MUL, x, unary(c, EML_OP_SIGMOID, binary(c, EML_OP_MUL, x, alpha)));
    return true;
}

/* LayerNormalization of input + skip + bias; the sum is output 3. */
static bool skip_layer_normalization(const struct contrib *c)
{
    struct eml_ir_value *sum = binary(c, EML_OP_ADD, operand(c, 0), operand(c, 1));
    if (operand(c, 4) != NULL)
        sum = binary(c, EML_OP_ADD, sum, operand(c, 4));
    struct eml_ir_value *in[3] = {sum, operand(c, 2), operand(c, 3)};
    struct eml_ir_node *n = make(c, EML_OP_LAYER_NORMALIZATION, in, 3);
    eml_ir_set_int(c->ir, n, EML_ATTR_AXIS, -1);
    n->params[0] = float_attr(c, "epsilon", 1e-12F);
    n->n_params = 1;
    c->out[0] = n->out[0];
    if (c->node->n_out > 3)
        c->out[3] = sum;
    return true;
}

/* Constant weights of 4 or 8 bits become float: W[k][n] = (q - zero) * scale by blocks along K. */
static bool matmul_n_bits(const struct contrib *c)
{
    const int64_t k = int_attr(c, "K", 0), n = int_attr(c, "N", 0);
    const int64_t bits = int_attr(c, "bits", 4), block = int_attr(c, "block_size", 0);
    const struct eml_ir_value *b = operand(c, 1), *s = operand(c, 2), *z = operand(c, 3);
    if ((bits != 4 && bits != 8) || k < 1 || n < 1 || block < 16 || k > INT32_MAX ||
        n > INT32_MAX || block > INT32_MAX || operand(c, 4) != NULL || b->data == NULL ||
        s->data == NULL || s->dtype != EML_DT_F32 || b->dtype != EML_DT_U8 ||
        (z != NULL && (z->data == NULL || z->dtype != EML_DT_U8)))
        return false;
    const size_t blocks = (size_t)((k + block - 1) / block), per = (size_t)(block * bits / 8);
    const size_t zeros = (blocks * (size_t)bits + 7) / 8;
    if (eml_ir_count(b) != (size_t)n * blocks * per || eml_ir_count(s) != (size_t)n * blocks ||
        (z != NULL && eml_ir_count(z) != (size_t)n * zeros))
        return false;
    float *w = eml_ir_alloc(c->ir, (size_t)k * (size_t)n * sizeof *w);
    const unsigned mask = bits == 4 ? 15 : 255;
    for (size_t j = 0; w != NULL && j < (size_t)n; j++)
        for (size_t i = 0; i < (size_t)k; i++) {
            const size_t at = i / (size_t)block, in = i % (size_t)block * (size_t)bits;
            const uint8_t *from = (const uint8_t *)b->data + (j * blocks + at) * per;
            const unsigned q = (unsigned)from[in / 8] >> in % 8 & mask;
            unsigned zero = 1U << (bits - 1);
            if (z != NULL)
                zero = (unsigned)((const uint8_t *)z->data)[j * zeros + at * (size_t)bits / 8] >>
                           at * (size_t)bits % 8 &
                       mask;
            w[i * (size_t)n + j] =
                (float)((int)q - (int)zero) * ((const float *)s->data)[j * blocks + at];
        }
    struct eml_shape shape = {2, {k, n}};
    c->out[0] = binary(c, EML_OP_MATMUL, operand(c, 0), eml_ir_const(c->ir, EML_DT_F32, &shape, w));
    if (operand(c, 5) != NULL)
        c->out[0] = binary(c, EML_OP_ADD, c->out[0], operand(c, 5));
    return true;
}

static bool expand(const struct contrib *c)
{
    const char *op = c->node->op_type;
#define IS(name) (strcmp(op, name) == 0)
    return IS("QLinearAdd")                 ? qlinear_binary(c, EML_OP_ADD)
           : IS("QLinearMul")               ? qlinear_binary(c, EML_OP_MUL)
           : IS("QLinearSigmoid")           ? qlinear_sigmoid(c)
           : IS("QLinearLeakyRelu")         ? qlinear_leaky_relu(c)
           : IS("QLinearGlobalAveragePool") ? qlinear_global_average_pool(c)
           : IS("QLinearConcat")            ? qlinear_concat(c)
           : IS("DynamicQuantizeMatMul")    ? dynamic_quantize_matmul(c)
           : IS("FusedMatMul")              ? fused_matmul(c)
           : IS("Gelu") || IS("BiasGelu")   ? gelu(c, false)
           : IS("FastGelu")                 ? gelu(c, true)
           : IS("QuickGelu")                ? quick_gelu(c)
           : IS("SkipLayerNormalization")   ? skip_layer_normalization(c)
           : IS("MatMulNBits")              ? matmul_n_bits(c)
                                            : false;
#undef IS
}

bool eml_import_is_contrib(const struct eml_onnx_node *node)
{
    return strcmp(node->domain, "com.microsoft") == 0 &&
           strcmp(node->op_type, "MatMulIntegerToFloat") != 0;
}

enum eml_err eml_import_contrib(struct eml_ir *ir, const struct eml_onnx_node *node, long index,
                                struct eml_ir_value *const *in, struct eml_ir_value **out,
                                struct eml_why *why)
{
    const struct contrib c = {ir, node, in, out, index};
    if (!expand(&c))
        return eml_fail(why, EML_E_UNSUPPORTED, "decompose: form of the operator not supported",
                        index);
    return EML_OK;
}
