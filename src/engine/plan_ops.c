/* What the planner must know of each operator beyond its rule. */
#include "engine/plan.h"

#include <string.h>

enum eml_err eml_op_none(const struct eml_op_ctx *c)
{
    (void)c;
    EML_BUG(); /* Shape and Size are known as soon as shapes are: they never run */
}

enum eml_err eml_op_alias(const struct eml_op_ctx *c)
{
    (void)c;
    EML_BUG(); /* views cost nothing and are no step */
}

#define OP(id, name, since, types, in_min, in_max, out_max, attrs, rule, kernel)                   \
    [EML_OP_##id] = eml_op_##kernel,
static eml_op_fn *const KERNELS[EML_OP_N] = {
#include "model/ops.def"
};
#undef OP

static eml_scratch_fn *const SCRATCH[EML_OP_N] = {
    [EML_OP_MATMUL] = eml_scratch_matmul,
    [EML_OP_GEMM] = eml_scratch_gemm,
    [EML_OP_CONV] = eml_scratch_conv,
    [EML_OP_CONV_TRANSPOSE] = eml_scratch_conv_transpose,
    [EML_OP_BATCH_NORMALIZATION] = eml_scratch_batch_normalization,
    [EML_OP_RESIZE] = eml_scratch_resize,
    [EML_OP_ATTENTION] = eml_scratch_attention,
    [EML_OP_DEFORM_CONV] = eml_scratch_deform_conv,
    [EML_OP_UNIQUE] = eml_scratch_unique,
    [EML_OP_NON_MAX_SUPPRESSION] = eml_scratch_non_max_suppression,
    [EML_OP_RNN] = eml_scratch_rnn,
    [EML_OP_GRU] = eml_scratch_rnn,
    [EML_OP_LSTM] = eml_scratch_rnn,
    [EML_OP_DFT] = eml_scratch_dft,
    [EML_OP_STFT] = eml_scratch_stft,
    [EML_OP_DET] = eml_scratch_det,
    [EML_OP_DYNAMIC_QUANTIZE_LINEAR] = eml_scratch_dynamic_quantize_linear,
    [EML_OP_REGEX_FULL_MATCH] = eml_scratch_regex_full_match,
    [EML_OP_MATMUL_INTEGER] = eml_scratch_matmul_integer,
    [EML_OP_QLINEAR_MATMUL] = eml_scratch_matmul_integer,
    [EML_OP_MATMUL_INTEGER_TO_FLOAT] = eml_scratch_matmul_integer,
    [EML_OP_CONV_INTEGER] = eml_scratch_conv_integer,
    [EML_OP_QLINEAR_CONV] = eml_scratch_conv_integer,
};

static eml_size_fn *const SIZES[EML_OP_N] = {
    [EML_OP_SLICE] = eml_size_slice,
    [EML_OP_RANGE] = eml_size_range,
    [EML_OP_NON_ZERO] = eml_size_non_zero,
    [EML_OP_COMPRESS] = eml_size_compress,
    [EML_OP_UNIQUE] = eml_size_unique,
    [EML_OP_NON_MAX_SUPPRESSION] = eml_size_non_max_suppression,
    [EML_OP_STRING_NORMALIZER] = eml_size_string_normalizer,
    [EML_OP_STRING_SPLIT] = eml_size_string_split,
};

eml_size_fn *eml_op_size(enum eml_op op)
{
    return SIZES[op];
}

bool eml_op_runs_dynamically(enum eml_op op)
{
    return op >= EML_OP_IF && op <= EML_OP_OPTIONAL_HAS_ELEMENT;
}

static eml_use_fn *const USES[EML_OP_N] = {
    [EML_OP_MATMUL] = eml_use_product,
    [EML_OP_GEMM] = eml_use_product,
    [EML_OP_CONV] = eml_use_conv,
    [EML_OP_GATHER] = eml_use_gather,
};

eml_use_fn *eml_op_use(enum eml_op op)
{
    return USES[op];
}

eml_op_fn *eml_op_kernel(enum eml_op op)
{
    return KERNELS[op];
}

eml_scratch_fn *eml_op_scratch(enum eml_op op)
{
    return SCRATCH[op];
}

bool eml_op_is_alias(enum eml_op op)
{
    return KERNELS[op] == eml_op_alias;
}

bool eml_op_in_place(enum eml_op op, uint32_t i)
{
    eml_op_fn *k = KERNELS[op];
    if (k == eml_op_binary || k == eml_op_compare || k == eml_op_logical)
        return i < 2;
    if (k == eml_op_where)
        return i == 1 || i == 2;
    if (k == eml_op_unary || k == eml_op_activate || k == eml_op_logical_not || k == eml_op_clip ||
        k == eml_op_prelu || k == eml_op_variadic || k == eml_op_cast ||
        k == eml_op_batch_normalization || k == eml_op_scatter_elements || k == eml_op_scatter_nd)
        return i == 0;
    return false;
}

uint32_t eml_op_params(enum eml_op op)
{
    uint32_t n = 0;
    for (const char *p = strstr(eml_op_info(op)->attrs, "=p"); p != NULL; p = strstr(p + 1, "=p"))
        n++;
    return n;
}

static uint64_t mul(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

static uint64_t elements(const struct eml_view *v)
{
    return v->dtype == EML_DT_NONE ? 0 : (uint64_t)v->count;
}

static uint64_t kernel_elements(const struct eml_view *w)
{
    uint64_t n = 1;
    for (uint32_t i = 2; i < w->shape.rank; i++)
        n = mul(n, (uint64_t)w->shape.dim[i]);
    return n;
}

static uint64_t window_flops(const struct eml_op_ctx *c, uint64_t out)
{
    const struct eml_attr *k = eml_node_attr(c->node, EML_ATTR_KERNEL_SHAPE);
    for (uint32_t i = 0; k != NULL && i < k->n; i++)
        out = mul(out, (uint64_t)k->v[i]);
    return out;
}

uint64_t eml_op_flops(const struct eml_op_ctx *c)
{
    uint64_t out = 0, in = 0;
    const struct eml_view *w = c->n_in > 1 ? &c->in[1] : NULL;
    for (uint32_t i = 0; i < c->n_out; i++)
        out += elements(&c->out[i]);
    for (uint32_t i = 0; i < c->n_in; i++)
        in += elements(&c->in[i]);
    switch (c->node->op) {
    case EML_OP_EINSUM:
        return eml_flops_einsum(c);
    case EML_OP_DFT:
        return eml_flops_dft(c);
    case EML_OP_TF_IDF_VECTORIZER:
        return eml_flops_tf_idf(c);
    case EML_OP_MULTINOMIAL:
        return mul(in, mul(2, (uint64_t)c->out[0].shape.dim[1]));
    case EML_OP_STFT:
        return eml_flops_stft(c);
    case EML_OP_DET:
        return mul(in, (uint64_t)c->in[0].shape.dim[c->in[0].shape.rank - 1]);
    case EML_OP_MATMUL:
        return mul(2, mul(out, (uint64_t)c->in[0].shape.dim[c->in[0].shape.rank - 1]));
    case EML_OP_GEMM: {
        bool ta = eml_node_int(c->node, EML_ATTR_TRANS_A, 0) != 0;
        return mul(2, mul(out, (uint64_t)c->in[0].shape.dim[ta ? 0 : 1]));
    }
    case EML_OP_ATTENTION: /* two products of as many multiplies */
        return mul(4, mul(out, (uint64_t)c->in[1].shape.dim[1]));
    case EML_OP_QLINEAR_MATMUL:
    case EML_OP_MATMUL_INTEGER:
    case EML_OP_MATMUL_INTEGER_TO_FLOAT:
        return mul(2, mul(out, (uint64_t)c->in[0].shape.dim[c->in[0].shape.rank - 1]));
    case EML_OP_QLINEAR_CONV:
        return mul(2, mul(out, mul(kernel_elements(&c->in[3]), (uint64_t)c->in[3].shape.dim[1])));
    case EML_OP_CONV_INTEGER:
    case EML_OP_CONV:
        return mul(2, mul(out, mul(kernel_elements(w), (uint64_t)w->shape.dim[1])));
    case EML_OP_CONV_TRANSPOSE:
        return mul(2, mul(elements(&c->in[0]), mul(kernel_elements(w), (uint64_t)w->shape.dim[1])));
    case EML_OP_RNN:
    case EML_OP_GRU:
    case EML_OP_LSTM: /* every step reads all weights once per row of the batch */
        return mul(2, mul(elements(&c->in[0]) / ((uint64_t)c->in[0].shape.dim[2] + 1) + 1,
                          elements(w) + elements(&c->in[2])));
    case EML_OP_UNIQUE: /* sorting */
        return mul(64, in);
    case EML_OP_NON_MAX_SUPPRESSION: /* each box with each that may be selected */
        return mul(16, mul(elements(&c->in[1]), (uint64_t)eml_nms_most(c) + 16));
    case EML_OP_DEFORM_CONV:
        return mul(2, mul(out, mul(kernel_elements(w), (uint64_t)w->shape.dim[1])));
    case EML_OP_MAX_POOL:
    case EML_OP_AVERAGE_POOL:
    case EML_OP_LP_POOL:
        return window_flops(c, out);
    default:
        return in > out ? in : out;
    }
}

/* Of a core with AVX-512, which does 50 to 90 operations of a product and 1 to 10 of the others. */
enum { PRODUCT_FLOPS_PER_NS = 64, FLOPS_PER_NS = 4 };

uint64_t eml_op_ns(enum eml_op op, uint64_t flops)
{
    switch (op) {
    case EML_OP_MATMUL:
    case EML_OP_GEMM:
    case EML_OP_EINSUM:
    case EML_OP_ATTENTION:
    case EML_OP_QLINEAR_MATMUL:
    case EML_OP_MATMUL_INTEGER:
    case EML_OP_MATMUL_INTEGER_TO_FLOAT:
    case EML_OP_QLINEAR_CONV:
    case EML_OP_CONV_INTEGER:
    case EML_OP_CONV:
    case EML_OP_CONV_TRANSPOSE:
    case EML_OP_DEFORM_CONV:
    case EML_OP_RNN:
    case EML_OP_GRU:
    case EML_OP_LSTM:
        return flops / PRODUCT_FLOPS_PER_NS;
    default:
        return flops / FLOPS_PER_NS;
    }
}
