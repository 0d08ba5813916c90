/* The quantised operators of com.microsoft. Those without a product compute in float between
 * DequantizeLinear and QuantizeLinear, as ONNX Runtime does. Semantics: docs/ContribOperators.md of
 * ONNX Runtime.
 */
#include "decompose/composite.h"

static enum eml_err not_done(const struct eml_maker *m)
{
    return eml_make_refuse(m, "decompose: form of the operator not supported");
}

/* Operands i, i + 1, i + 2: elements, scale, zero point. */
static struct eml_ir_value *dequantised(const struct eml_maker *m, uint32_t i)
{
    struct eml_ir_value *in[3] = {eml_make_operand(m, i), eml_make_operand(m, i + 1),
                                  eml_make_operand(m, i + 2)};
    return eml_make_node(m, EML_OP_DEQUANTIZE_LINEAR, in, 3)->out[0];
}

/* By scale and zero point i and i + 1; without the latter, 0 of x's type. */
static void quantise(const struct eml_maker *m, struct eml_ir_value *y, uint32_t i,
                     const struct eml_ir_value *x)
{
    static const struct eml_shape scalar = {0};
    struct eml_ir_value *in[3] = {y, eml_make_operand(m, i), eml_make_operand(m, i + 1)};
    if (in[2] == NULL)
        in[2] = eml_ir_const(m->ir, x->dtype, &scalar, eml_ir_alloc(m->ir, 1));
    m->out[0] = eml_make_node(m, EML_OP_QUANTIZE_LINEAR, in, 3)->out[0];
}

static enum eml_err qlinear_binary(const struct eml_maker *m, enum eml_op op)
{
    quantise(m, eml_make_two(m, op, dequantised(m, 0), dequantised(m, 3)), 6,
             eml_make_operand(m, 0));
    return EML_OK;
}

static enum eml_err qlinear_add(const struct eml_maker *m)
{
    return qlinear_binary(m, EML_OP_ADD);
}

static enum eml_err qlinear_mul(const struct eml_maker *m)
{
    return qlinear_binary(m, EML_OP_MUL);
}

static enum eml_err qlinear_sigmoid(const struct eml_maker *m)
{
    quantise(m, eml_make_one(m, EML_OP_SIGMOID, dequantised(m, 0)), 3, eml_make_operand(m, 0));
    return EML_OK;
}

static enum eml_err qlinear_leaky_relu(const struct eml_maker *m)
{
    struct eml_ir_value *x = dequantised(m, 0);
    struct eml_ir_node *n = eml_make_node(m, EML_OP_LEAKY_RELU, &x, 1);
    n->params[0] = eml_make_float(m, "alpha", 0.01F);
    n->n_params = 1;
    quantise(m, n->out[0], 3, eml_make_operand(m, 0));
    return EML_OK;
}

/* A pool of x, which is channels-last if an attribute says so. */
static enum eml_err qlinear_pool(const struct eml_maker *m, enum eml_op op)
{
    int64_t last[EML_RANK_MAX], first[EML_RANK_MAX];
    struct eml_ir_value *x = dequantised(m, 0);
    const struct eml_ir_value *q = eml_make_operand(m, 0);
    const bool turn = eml_make_int(m, "channels_last", 0) != 0;
    if (turn && !q->has_rank)
        return not_done(m);
    const uint32_t rank = turn ? q->shape.rank : 0;
    eml_ir_to_last(rank, last);
    eml_ir_to_first(rank, first);
    if (turn)
        x = eml_make_transpose(m, x, first, rank);
    struct eml_ir_node *n = eml_make_node(m, op, &x, 1);
    if (op == EML_OP_AVERAGE_POOL)
        EML_TRY(eml_make_window(m, n));
    quantise(m, turn ? eml_make_transpose(m, n->out[0], last, rank) : n->out[0], 3, q);
    return EML_OK;
}

static enum eml_err qlinear_global_average_pool(const struct eml_maker *m)
{
    return qlinear_pool(m, EML_OP_GLOBAL_AVERAGE_POOL);
}

static enum eml_err qlinear_average_pool(const struct eml_maker *m)
{
    return qlinear_pool(m, EML_OP_AVERAGE_POOL);
}

static enum eml_err qlinear_softmax(const struct eml_maker *m)
{
    const struct eml_ir_value *q = eml_make_operand(m, 0);
    struct eml_ir_value *x = dequantised(m, 0);
    const int64_t axis = eml_make_int(m, "axis", -1);
    /* before opset 13 the dims from the axis on were one */
    if (eml_make_int(m, "opset", 13) < 13 && axis != -1 &&
        !(q->has_rank && axis == (int64_t)q->shape.rank - 1))
        return not_done(m);
    struct eml_ir_node *n = eml_make_node(m, EML_OP_SOFTMAX, &x, 1);
    eml_ir_set_int(m->ir, n, EML_ATTR_AXIS, axis);
    quantise(m, n->out[0], 3, q);
    return EML_OK;
}

static enum eml_err qlinear_where(const struct eml_maker *m)
{
    quantise(m,
             eml_make_three(m, EML_OP_WHERE, eml_make_operand(m, 0), dequantised(m, 1),
                            dequantised(m, 4)),
             7, eml_make_operand(m, 1));
    return EML_OK;
}

static enum eml_err qlinear_concat(const struct eml_maker *m)
{
    struct eml_ir_value *in[EML_NODE_IN_MAX];
    const uint32_t n = (m->node->n_in - 2) / 3;
    if (m->node->n_in != 2 + 3 * n || n < 1)
        return not_done(m);
    for (uint32_t i = 0; i < n; i++)
        in[i] = dequantised(m, 2 + 3 * i);
    struct eml_ir_node *concat = eml_make_node(m, EML_OP_CONCAT, in, n);
    eml_ir_set_int(m->ir, concat, EML_ATTR_AXIS, eml_make_int(m, "axis", 0));
    quantise(m, concat->out[0], 0, eml_make_operand(m, 2));
    return EML_OK;
}

static enum eml_err dynamic_quantize_matmul(const struct eml_maker *m)
{
    struct eml_ir_value *a = eml_make_operand(m, 0);
    struct eml_ir_node *q = eml_ir_node_new(m->ir, NULL, EML_OP_DYNAMIC_QUANTIZE_LINEAR, &a, 1, 3);
    q->origin = m->origin;
    struct eml_ir_value *in[7] = {q->out[0],
                                  eml_make_operand(m, 1),
                                  q->out[1],
                                  eml_make_operand(m, 2),
                                  q->out[2],
                                  eml_make_operand(m, 3),
                                  eml_make_operand(m, 4)};
    m->out[0] = eml_make_node(m, EML_OP_MATMUL_INTEGER_TO_FLOAT, in, 7)->out[0];
    return EML_OK;
}

/* alpha * scale_a * scale_b * (A B + C), in integers up to the scales. */
static enum eml_err q_gemm(const struct eml_maker *m)
{
    enum { A, A_SCALE, A_ZERO, B, B_SCALE, B_ZERO, C, Y_SCALE };
    static const int64_t turn[2] = {1, 0};
    struct eml_ir_value *in[4] = {eml_make_operand(m, A), eml_make_operand(m, B),
                                  eml_make_operand(m, A_ZERO), eml_make_operand(m, B_ZERO)};
    struct eml_ir_value *c = eml_make_operand(m, C);
    if (eml_make_int(m, "transA", 0) != 0)
        in[0] = eml_make_transpose(m, in[0], turn, 2);
    if (eml_make_int(m, "transB", 0) != 0)
        in[1] = eml_make_transpose(m, in[1], turn, 2);
    struct eml_ir_value *y = eml_make_node(m, EML_OP_MATMUL_INTEGER, in, 4)->out[0];
    if (c != NULL)
        y = eml_make_two(m, EML_OP_ADD, y, c);
    struct eml_ir_value *scale =
        eml_make_two(m, EML_OP_MUL, eml_make_operand(m, A_SCALE), eml_make_operand(m, B_SCALE));
    scale =
        eml_make_two(m, EML_OP_MUL, scale, eml_ir_const_f32(m->ir, eml_make_float(m, "alpha", 1)));
    y = eml_make_two(m, EML_OP_MUL, eml_make_cast(m, y, EML_DT_F32), scale);
    m->out[0] = y;
    if (eml_make_operand(m, Y_SCALE) != NULL)
        quantise(m, y, Y_SCALE, eml_make_operand(m, A));
    return EML_OK;
}

/* The standard's own, which had fewer types when these were made. */
static enum eml_err linear(const struct eml_maker *m, enum eml_op op)
{
    struct eml_ir_node *n = eml_make_node(m, op, m->in, m->node->n_in);
    eml_ir_set_int(m->ir, n, EML_ATTR_AXIS, eml_make_int(m, "axis", 1));
    eml_ir_set_int(m->ir, n, EML_ATTR_BLOCK_SIZE, eml_make_int(m, "block_size", 0));
    m->out[0] = n->out[0];
    return EML_OK;
}

static enum eml_err quantize_linear(const struct eml_maker *m)
{
    return linear(m, EML_OP_QUANTIZE_LINEAR);
}

static enum eml_err dequantize_linear(const struct eml_maker *m)
{
    return linear(m, EML_OP_DEQUANTIZE_LINEAR);
}

/* Constant weights of 4 or 8 bits become float: W[k][n] = (q - zero) * scale by blocks along K. */
static enum eml_err matmul_n_bits(const struct eml_maker *m)
{
    const int64_t k = eml_make_int(m, "K", 0), n = eml_make_int(m, "N", 0);
    const int64_t bits = eml_make_int(m, "bits", 4), block = eml_make_int(m, "block_size", 0);
    const struct eml_ir_value *b = eml_make_operand(m, 1), *s = eml_make_operand(m, 2),
                              *z = eml_make_operand(m, 3);
    if ((bits != 4 && bits != 8) || k < 1 || n < 1 || block < 16 || k > INT32_MAX ||
        n > INT32_MAX || block > INT32_MAX || eml_make_operand(m, 4) != NULL || b->data == NULL ||
        s->data == NULL || s->dtype != EML_DT_F32 || b->dtype != EML_DT_U8 ||
        (z != NULL && (z->data == NULL || z->dtype != EML_DT_U8)))
        return not_done(m);
    const size_t blocks = (size_t)((k + block - 1) / block), per = (size_t)(block * bits / 8);
    const size_t zeros = (blocks * (size_t)bits + 7) / 8;
    if (eml_ir_count(b) != (size_t)n * blocks * per || eml_ir_count(s) != (size_t)n * blocks ||
        (z != NULL && eml_ir_count(z) != (size_t)n * zeros))
        return not_done(m);
    float *w = eml_ir_alloc(m->ir, (size_t)k * (size_t)n * sizeof *w);
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
    m->out[0] = eml_make_two(m, EML_OP_MATMUL, eml_make_operand(m, 0),
                             eml_ir_const(m->ir, EML_DT_F32, &shape, w));
    if (eml_make_operand(m, 5) != NULL)
        m->out[0] = eml_make_two(m, EML_OP_ADD, m->out[0], eml_make_operand(m, 5));
    return EML_OK;
}

const struct eml_composite eml_composites_quantised[] = {
    {"com.microsoft.DequantizeLinear", 2, dequantize_linear},
    {"com.microsoft.DynamicQuantizeMatMul", 3, dynamic_quantize_matmul},
    {"com.microsoft.MatMulNBits", 3, matmul_n_bits},
    {"com.microsoft.QGemm", 6, q_gemm},
    {"com.microsoft.QLinearAdd", 2, qlinear_add},
    {"com.microsoft.QLinearAveragePool", 4, qlinear_average_pool},
    {"com.microsoft.QLinearConcat", 4, qlinear_concat},
    {"com.microsoft.QLinearGlobalAveragePool", 4, qlinear_global_average_pool},
    {"com.microsoft.QLinearLeakyRelu", 4, qlinear_leaky_relu},
    {"com.microsoft.QLinearMul", 2, qlinear_mul},
    {"com.microsoft.QLinearSigmoid", 4, qlinear_sigmoid},
    {"com.microsoft.QLinearSoftmax", 4, qlinear_softmax},
    {"com.microsoft.QLinearWhere", 9, qlinear_where},
    {"com.microsoft.QuantizeLinear", 2, quantize_linear},
    {NULL, 0, NULL},
};
