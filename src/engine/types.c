/* Which element types each kernel takes. */
#include "engine/infer.h"

#define T(x) (1u << EML_DT_##x)
#define FLOATS (T(F32) | T(F64))
#define SIGNED (T(I8) | T(I16) | T(I32) | T(I64))
#define UNSIGNED (T(U8) | T(U16) | T(U32) | T(U64))
#define NUMBERS (FLOATS | SIGNED | UNSIGNED)
#define FLOAT8 (T(F8E4M3FN) | T(F8E4M3FNUZ) | T(F8E5M2) | T(F8E5M2FNUZ))
#define MOVABLE (NUMBERS | T(BOOL) | T(F16) | T(BF16) | FLOAT8 | T(U4) | T(I4))
#define ANYTHING (MOVABLE | T(STRING))
#define SUMMABLE (FLOATS | T(I32) | T(I64) | T(U32) | T(U64))

/* Types of the first operand (the result is checked by the rule); 0: see unary(). */
static uint32_t accepted(const struct eml_node *n)
{
    switch (n->op) {
    case EML_OP_ADD:
    case EML_OP_SUB:
    case EML_OP_MUL:
    case EML_OP_DIV:
    case EML_OP_MIN:
    case EML_OP_MAX:
    case EML_OP_CLIP:
    case EML_OP_LESS:
    case EML_OP_GREATER:
    case EML_OP_LESS_OR_EQUAL:
    case EML_OP_GREATER_OR_EQUAL:
    case EML_OP_ABS:
    case EML_OP_SIGN:
        return NUMBERS;
    case EML_OP_MOD:
        return eml_node_int(n, EML_ATTR_FMOD, 0) != 0 ? NUMBERS : SIGNED | UNSIGNED;
    case EML_OP_EQUAL:
        return NUMBERS | T(BOOL) | T(STRING);
    case EML_OP_AND:
    case EML_OP_OR:
    case EML_OP_XOR:
    case EML_OP_NOT:
        return T(BOOL);
    case EML_OP_BITWISE_AND:
    case EML_OP_BITWISE_OR:
    case EML_OP_BITWISE_XOR:
    case EML_OP_BITWISE_NOT:
        return SIGNED | UNSIGNED;
    case EML_OP_EINSUM:
        return SUMMABLE;
    case EML_OP_TF_IDF_VECTORIZER:
    case EML_OP_HANN_WINDOW:
    case EML_OP_HAMMING_WINDOW:
    case EML_OP_BLACKMAN_WINDOW:
    case EML_OP_MEL_WEIGHT_MATRIX:
        return T(I32) | T(I64);
    case EML_OP_RANDOM_NORMAL:
    case EML_OP_RANDOM_UNIFORM:
        return T(NONE); /* no operand */
    case EML_OP_RANDOM_NORMAL_LIKE:
    case EML_OP_RANDOM_UNIFORM_LIKE:
        return MOVABLE;
    case EML_OP_BIT_SHIFT:
        return UNSIGNED;
    case EML_OP_EYE_LIKE:
        return NUMBERS | T(BOOL);
    case EML_OP_NEG:
    case EML_OP_RELU:
        return FLOATS | SIGNED;
    case EML_OP_POW:
        return FLOATS | T(I32) | T(I64);
    case EML_OP_RANGE:
        return FLOATS | T(I16) | T(I32) | T(I64);
    case EML_OP_CUM_SUM:
    case EML_OP_REDUCE_SUM:
    case EML_OP_REDUCE_MEAN:
    case EML_OP_REDUCE_PROD:
    case EML_OP_REDUCE_L1:
    case EML_OP_REDUCE_L2:
    case EML_OP_REDUCE_SUM_SQUARE:
        return SUMMABLE;
    case EML_OP_REDUCE_MAX:
    case EML_OP_REDUCE_MIN:
    case EML_OP_UNIQUE:
        return NUMBERS | T(BOOL);
    case EML_OP_ARG_MAX:
    case EML_OP_ARG_MIN:
    case EML_OP_TOP_K:
    case EML_OP_ONE_HOT: /* the indices; decomposition makes them int64 */
        return NUMBERS;
    case EML_OP_SCATTER_ELEMENTS:
    case EML_OP_SCATTER_ND:
        return eml_node_int(n, EML_ATTR_REDUCTION, 0) != 0 ? NUMBERS : MOVABLE;
    case EML_OP_MAX_POOL:
        return FLOATS | T(I8) | T(U8);
    case EML_OP_CAST:
    case EML_OP_CAST_LIKE:
    case EML_OP_WHERE: /* the condition is the first operand; checked below */
    case EML_OP_SHAPE:
    case EML_OP_SIZE:
    case EML_OP_RESHAPE:
    case EML_OP_FLATTEN:
    case EML_OP_SQUEEZE:
    case EML_OP_UNSQUEEZE:
    case EML_OP_IDENTITY:
    case EML_OP_TRANSPOSE:
    case EML_OP_CONCAT:
    case EML_OP_SPLIT:
    case EML_OP_SLICE:
    case EML_OP_GATHER:
    case EML_OP_GATHER_ELEMENTS:
    case EML_OP_GATHER_ND:
    case EML_OP_EXPAND:
    case EML_OP_TILE:
        return ANYTHING;
    case EML_OP_STRING_CONCAT:
    case EML_OP_STRING_NORMALIZER:
    case EML_OP_STRING_SPLIT:
        return T(STRING);
    case EML_OP_CONSTANT_OF_SHAPE:
    case EML_OP_REVERSE_SEQUENCE:
    case EML_OP_CENTER_CROP_PAD:
    case EML_OP_COMPRESS:
    case EML_OP_MAX_UNPOOL:
    case EML_OP_PAD:
    case EML_OP_TRILU:
    case EML_OP_SPACE_TO_DEPTH:
    case EML_OP_DEPTH_TO_SPACE:
    case EML_OP_NON_ZERO:
        return MOVABLE;
    case EML_OP_RESIZE:
        return eml_node_int(n, EML_ATTR_MODE, 0) == 0 ? MOVABLE : T(F32);
    case EML_OP_QUANTIZE_LINEAR:
        return T(F32) | T(F16) | T(I32);
    case EML_OP_DEQUANTIZE_LINEAR:
        return T(U8) | T(I8) | T(U16) | T(I16) | T(I32) | T(U4) | T(I4) | FLOAT8;
    case EML_OP_MATMUL_INTEGER:
    case EML_OP_QLINEAR_MATMUL:
    case EML_OP_MATMUL_INTEGER_TO_FLOAT:
    case EML_OP_CONV_INTEGER:
    case EML_OP_QLINEAR_CONV:
        return T(U8) | T(I8);
    case EML_OP_DYNAMIC_QUANTIZE_LINEAR:
    case EML_OP_ACTIVATE:
    case EML_OP_ATTENTION:
    case EML_OP_MATMUL:
    case EML_OP_GEMM:
    case EML_OP_CONV:
    case EML_OP_CONV_TRANSPOSE:
    case EML_OP_NON_MAX_SUPPRESSION:
    case EML_OP_GRID_SAMPLE:
    case EML_OP_ROI_ALIGN:
    case EML_OP_MAX_ROI_POOL:
    case EML_OP_LRN:
    case EML_OP_AFFINE_GRID:
    case EML_OP_COL2IM:
    case EML_OP_DEFORM_CONV:
    case EML_OP_AVERAGE_POOL:
    case EML_OP_GLOBAL_AVERAGE_POOL:
    case EML_OP_GLOBAL_MAX_POOL:
    case EML_OP_BATCH_NORMALIZATION:
    case EML_OP_LAYER_NORMALIZATION:
    case EML_OP_GROUP_NORMALIZATION:
    case EML_OP_LP_POOL:
    case EML_OP_INSTANCE_NORMALIZATION:
    case EML_OP_RNN:
    case EML_OP_GRU:
    case EML_OP_LSTM:
        return T(F32);
    default: /* Sum, Mean, PRelu, Softmax, logarithms, functions of one variable */
        return FLOATS;
    }
}

static bool in(uint32_t set, enum eml_dtype t)
{
    return (unsigned)t < 32 && (set >> t & 1) != 0;
}

bool eml_node_takes(const struct eml_node *n, enum eml_dtype first)
{
    return in(accepted(n), first);
}

bool eml_op_takes(enum eml_op op, enum eml_dtype first)
{
    struct eml_node n = {.op = op};
    if (eml_op_runs_dynamically(op))
        return true;
    if (op == EML_OP_DROPOUT) /* in inference it is gone */
        return in(MOVABLE, first);
    return op == EML_OP_MOD ? in(NUMBERS, first) : in(accepted(&n), first);
}

/* Operators with an epilogue: the only ones that a fused activation may hang on. */
static bool takes_act(enum eml_op op)
{
    return op == EML_OP_ACTIVATE || op == EML_OP_MATMUL || op == EML_OP_GEMM || op == EML_OP_CONV ||
           op == EML_OP_CONV_TRANSPOSE || op == EML_OP_MATMUL_INTEGER_TO_FLOAT;
}

enum eml_err eml_types_check(const struct eml_rule_ctx *c)
{
    const struct eml_node *n = c->node;
    if (eml_op_runs_dynamically(n->op))
        return EML_OK; /* moves tensors of any type, and checks what it is given as it runs */
    bool ok = in(accepted(n), eml_rule_in(c, 0) != NULL ? c->in[0]->dtype : EML_DT_NONE);
    if (n->op == EML_OP_WHERE)
        ok = in(ANYTHING, c->in[1]->dtype);
    if (n->op == EML_OP_ONE_HOT)
        ok = in(MOVABLE, c->in[2]->dtype);
    if (n->op == EML_OP_CAST || n->op == EML_OP_CAST_LIKE || n->op == EML_OP_POW ||
        n->op == EML_OP_CONSTANT_OF_SHAPE)
        ok = ok && in(n->op == EML_OP_POW ? NUMBERS : ANYTHING,
                      n->op == EML_OP_POW ? c->in[1]->dtype : c->out[0].dtype);
    if (!ok)
        return eml_fail(c->why, EML_E_UNSUPPORTED, "element type not supported by this operator",
                        -1);
    int64_t act = eml_node_int(n, EML_ATTR_ACT, EML_ACT_NONE);
    EML_TRY(eml_rule_demand(c, act >= EML_ACT_NONE && act < EML_ACT_N, "activation out of range"));
    return eml_rule_demand(c, act == EML_ACT_NONE || takes_act(n->op),
                           "operator takes no fused activation");
}
