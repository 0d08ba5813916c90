/* Inside the engine: what an operator gets, and what a rule gets. Not for other libraries.
 *
 * An operator of ops.def is a rule and a kernel. The *rule* (infer_*.c) says what the outputs are:
 * type, shape and, for small integer values, the elements. One set of rules serves planning, where
 * every input is known, and decomposition, where dims may be EML_DIM_UNKNOWN. The *kernel*
 * (op_*.c) computes. Between the two stands eml_op_check: which types the kernel takes, asked by
 * eml_infer_node, so that the model checker and the planner cannot disagree.
 *
 * What a kernel may rely on, because rules and planner checked it: the number of operands, types,
 * ranks, attributes, params and shapes are those that the rule accepted; every pointer of a tensor
 * with elements is valid, aligned to 64 bytes and long enough. What it may not rely on: the *data*
 * of its inputs. An index tensor can hold anything: a kernel checks it and returns EML_E_INPUT.
 */
#ifndef EML_ENGINE_EXEC_H
#define EML_ENGINE_EXEC_H

#include "engine/engine.h"
#include "engine/pool.h"

/* ---- running ---- */

struct eml_kernels; /* engine/kernels.h: the table of vector kernels of one instruction set */

struct eml_view {
    enum eml_dtype dtype;   /* EML_DT_NONE: operand omitted */
    enum eml_layout layout; /* of weights; PLAIN for everything else */
    struct eml_shape shape; /* logical ONNX shape, all dims known */
    int64_t count;          /* product of the dims */
    void *data;             /* inputs are read only; NULL while planning */
    uint64_t offset;        /* sealed weights: where they are in the stream, see weights.h */
};

struct eml_weights_window; /* engine/weights.h: what of sealed weights is in clear */

/* How a step gets at an operand in sealed weights. */
enum eml_weights_use {
    EML_WEIGHTS_WHOLE = 0, /* opened before the step */
    EML_WEIGHTS_LAZY,      /* data is mapped; kernels open what they read */
    EML_WEIGHTS_OWN,       /* data is NULL: each thread opens pieces for itself */
};

struct eml_op_ctx {
    const struct eml_node *node;
    const struct eml_view *in;  /* n_in; an omitted operand has dtype EML_DT_NONE */
    const struct eml_view *out; /* n_out; an unused output has dtype EML_DT_NONE */
    uint32_t n_in, n_out;
    const float *params; /* n_params floats, the activation's at the end; NULL while planning */
    uint32_t n_params;
    struct eml_room scratch; /* as many bytes as the operator asked for; garbage; 64-byte aligned */
    struct eml_pool *pool;   /* NULL while planning */
    unsigned threads;        /* at most so many run at once: for scratch per thread */
    const struct eml_kernels *kernels;
    struct eml_weights_window *window; /* NULL: all weights are in clear */
    struct eml_why *why;
};

/* eml_op_<kernel>: computes out from in. The output may be the same memory as an input only for
 * the operators that eml_op_in_place names, and then element for element. */
typedef enum eml_err eml_op_fn(const struct eml_op_ctx *c);
/* Scratch that a kernel needs, asked while planning (shapes and layouts known, no data); an
 * operator without an entry in plan_ops.c's table needs none. False if it cannot be counted. Of an
 * operator with an eml_size function it is asked first, while running: c->in has data, c->out has
 * no shapes. */
typedef bool eml_scratch_fn(const struct eml_op_ctx *c, size_t *bytes);

/* Sizes of outputs that depend on the operands' elements, asked while running: sets the dims of
 * shape[0..n_out) that the rule left unknown. c->out has no data; what is left in c->scratch is
 * what the kernel finds there, so that nothing is computed twice. An operator without an entry in
 * plan_ops.c's table has outputs whose sizes its rule knows once the operands are known. */
typedef enum eml_err eml_size_fn(const struct eml_op_ctx *c, struct eml_shape *shape);

/* How the operator wants operand i, asked while planning if it is a slot of `bytes` bytes. For OWN,
 * *piece: most bytes that a thread asks for at a time. */
typedef enum eml_weights_use eml_use_fn(const struct eml_op_ctx *c, uint32_t i, uint64_t bytes,
                                        size_t *piece);

enum eml_weights_use eml_use_product(const struct eml_op_ctx *c, uint32_t i, uint64_t bytes,
                                     size_t *piece);
enum eml_weights_use eml_use_conv(const struct eml_op_ctx *c, uint32_t i, uint64_t bytes,
                                  size_t *piece);
enum eml_weights_use eml_use_gather(const struct eml_op_ctx *c, uint32_t i, uint64_t bytes,
                                    size_t *piece);

#define OP(id, name, since, types, in_min, in_max, out_max, attrs, rule, kernel)                   \
    enum eml_err eml_op_##kernel(const struct eml_op_ctx *c);
#include "model/ops.def"
#undef OP

enum eml_err eml_size_slice(const struct eml_op_ctx *c, struct eml_shape *shape);
enum eml_err eml_size_range(const struct eml_op_ctx *c, struct eml_shape *shape);
enum eml_err eml_size_non_zero(const struct eml_op_ctx *c, struct eml_shape *shape);
enum eml_err eml_size_compress(const struct eml_op_ctx *c, struct eml_shape *shape);
enum eml_err eml_size_unique(const struct eml_op_ctx *c, struct eml_shape *shape);
enum eml_err eml_size_non_max_suppression(const struct eml_op_ctx *c, struct eml_shape *shape);
enum eml_err eml_size_string_normalizer(const struct eml_op_ctx *c, struct eml_shape *shape);
enum eml_err eml_size_string_split(const struct eml_op_ctx *c, struct eml_shape *shape);
/* Equal's kernel for strings. */
void eml_strings_equal(const struct eml_op_ctx *c);

bool eml_scratch_matmul(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_gemm(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_conv(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_conv_transpose(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_batch_normalization(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_attention(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_resize(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_deform_conv(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_unique(const struct eml_op_ctx *c, size_t *bytes);
/* Most boxes that a class may select: [0, boxes]. */
int64_t eml_nms_most(const struct eml_op_ctx *c);
bool eml_scratch_non_max_suppression(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_regex_full_match(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_rnn(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_dft(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_stft(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_det(const struct eml_op_ctx *c, size_t *bytes);

/* Work of operators whose cost is not that of reading and writing; UINT64_MAX if beyond counting.
 */
uint64_t eml_flops_einsum(const struct eml_op_ctx *c);
uint64_t eml_flops_dft(const struct eml_op_ctx *c);
uint64_t eml_flops_tf_idf(const struct eml_op_ctx *c);
uint64_t eml_flops_stft(const struct eml_op_ctx *c);
bool eml_scratch_dynamic_quantize_linear(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_matmul_integer(const struct eml_op_ctx *c, size_t *bytes);
bool eml_scratch_conv_integer(const struct eml_op_ctx *c, size_t *bytes);

/* ---- inferring ---- */

struct eml_rule_ctx {
    const struct eml_node *node;
    const struct eml_known *const *in; /* n_in; NULL for an omitted operand */
    struct eml_known *out;             /* n_out, zero; the rule fills them */
    struct eml_arena *arena;
    struct eml_why *why; /* the caller sets the node's index */
};

typedef enum eml_err eml_rule_fn(const struct eml_rule_ctx *c);

#define OP(id, name, since, types, in_min, in_max, out_max, attrs, rule, kernel)                   \
    enum eml_err eml_rule_##rule(const struct eml_rule_ctx *c);
#include "model/ops.def"
#undef OP

/* ---- sliding windows: Conv, ConvTranspose, pooling ---- */

enum { EML_SPATIAL_MAX = 3 };

/* The geometry of a window over a channels-last tensor [N, spatial..., C], all defaults filled in
 * and auto_pad resolved. Used by the rules, and by the kernels so that both agree. */
struct eml_window {
    uint32_t n;                   /* spatial dims, 1..3 */
    int64_t batch, in_c;          /* input dims 0 and last */
    int64_t in[EML_SPATIAL_MAX];  /* input spatial dims */
    int64_t out[EML_SPATIAL_MAX]; /* output spatial dims */
    int64_t kernel[EML_SPATIAL_MAX];
    int64_t stride[EML_SPATIAL_MAX];
    int64_t dilation[EML_SPATIAL_MAX];
    int64_t pad_begin[EML_SPATIAL_MAX]; /* before, on the input side */
    int64_t pad_end[EML_SPATIAL_MAX];
    int64_t group;
};

/* x: [N, spatial..., C]; w: ONNX weight shape [O, I/g, k...] or, for ConvTranspose, [I, O/g, k...];
 * NULL for pooling, whose kernel is an attribute. Unknown spatial, batch and channel dims stay
 * unknown in in[], out[]. Errors: EML_E_INPUT and the rule. */
EML_MUST enum eml_err eml_window_make(const struct eml_node *node, const struct eml_shape *x,
                                      const struct eml_shape *w, struct eml_window *out,
                                      struct eml_why *why);

#endif
