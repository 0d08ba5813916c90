/* The graph: what the topology key carries and what the engine plans and runs.
 *
 * A graph is a list of values and a list of nodes in order of execution. It holds no weight: every
 * floating-point number of the model, also attributes such as epsilon, and every integer tensor
 * that is data lies in a slot of the sealed weights. The only numbers here are shapes, attribute
 * integers (axes, strides, perms) and small integer constants that steer (EML_VALUE_INTS).
 * There is no floating-point type in this file, nor in the key's encoding.
 *
 * Semantics are those of the newest ONNX operator version listed in ops.def, with these
 * differences, which decomposition establishes (docs/formats/topology-key.md):
 *  - spatial operators (Conv, ConvTranspose, pooling, Resize, ...) are channels-last: N H W C
 *    (1-D: N W C; 3-D: N D H W C), inputs and outputs alike;
 *  - weights of Conv, ConvTranspose, MatMul and Gemm lie packed as kernels read them (enum
 * eml_layout);
 *  - float attributes are elements of the node's `params` slot, in the order that ops.def gives;
 *  - attributes that became inputs in later opsets are inputs;
 *  - an activation may be fused into a node (attribute ACT, its numbers appended to params);
 *  - constants, Identity, Dropout in inference and the like are gone.
 *
 * Plain structs: built by decomposition or by topology decoding; checked as a whole by
 * eml_graph_check before anything uses them. Trusts nothing.
 */
#ifndef EML_MODEL_GRAPH_H
#define EML_MODEL_GRAPH_H

#include "base/arena.h"
#include "base/bytes.h"

enum { EML_RANK_MAX = 8 };
#define EML_DIM_UNKNOWN ((int64_t)-1)
#define EML_ABSENT UINT32_MAX /* value id of an omitted optional operand */

/* ONNX TensorProto.DataType numbers. */
enum eml_dtype {
    EML_DT_NONE = 0,
    EML_DT_F32 = 1,
    EML_DT_U8 = 2,
    EML_DT_I8 = 3,
    EML_DT_U16 = 4,
    EML_DT_I16 = 5,
    EML_DT_I32 = 6,
    EML_DT_I64 = 7,
    EML_DT_STRING = 8, /* model/strings.h */
    EML_DT_BOOL = 9,
    EML_DT_F16 = 10,
    EML_DT_F64 = 11,
    EML_DT_U32 = 12,
    EML_DT_U64 = 13,
    EML_DT_BF16 = 16,
    EML_DT_F8E4M3FN = 17,
    EML_DT_F8E4M3FNUZ = 18,
    EML_DT_F8E5M2 = 19,
    EML_DT_F8E5M2FNUZ = 20,
    EML_DT_U4 = 21, /* in memory one element per byte, the value in int8 or uint8 */
    EML_DT_I4 = 22,
    EML_DT_LAST = EML_DT_I4, /* of ONNX's that the engine has */
    EML_DT_SEQUENCE = 64,    /* ours: a list of tensors; of values of graphs that run dynamically */
};

/* Bytes of one element in memory; 0 for NONE and anything unknown. */
size_t eml_dtype_bytes(enum eml_dtype t);
/* "float32", "int64", ...; "unknown" for anything else. */
const char *eml_dtype_name(enum eml_dtype t);
/* "int8 is not supported by this operator": a rule's literal. */
const char *eml_dtype_refusal(enum eml_dtype t);

struct eml_shape {
    uint32_t rank;
    int64_t dim[EML_RANK_MAX]; /* EML_DIM_UNKNOWN where not known yet */
};

/* Product of the dims (1 for rank 0). False on overflow of int64 or an unknown or negative dim. */
bool eml_shape_count(const struct eml_shape *s, int64_t *count);

enum eml_value_kind {
    EML_VALUE_NODE = 0,  /* output of a node */
    EML_VALUE_INPUT = 1, /* input of the model */
    EML_VALUE_SLOT = 2,  /* weights: bytes [offset, offset + bytes) of the plaintext stream */
    EML_VALUE_INTS = 3,  /* int64 constants that steer shapes or branches, in the key itself */
};

/* How a slot's elements lie. `shape` of the value is always the logical ONNX shape. */
enum eml_layout {
    EML_LAYOUT_PLAIN = 0, /* row-major, as ONNX */
    /* f32 matrix [K, N] (logical shape; N the output features) as panels of 16 columns: panel p
     * holds columns 16p..16p+15 as K rows of 16 floats; the last panel is zero-padded. A batch of
     * matrices lies one after the other. For Conv (group 1): logical shape is ONNX's [O, I, kh,
     * kw]; K = kh*kw*I in that order (I fastest), N = O. Grouped Conv (1 < group < C): one such
     * matrix per group. ConvTranspose: logical [I, O/g, kh, kw]; K = I/g, N = kh*kw*O/g (O
     * fastest), one matrix per group. RNN, GRU, LSTM (W and R): logical [directions, gates*H, I];
     * for each direction and gate one matrix with K = I, N = H. */
    EML_LAYOUT_PANEL16 = 1,
    /* depthwise Conv (group == C == O, I/group == 1): [kh*kw][C rounded up to 16] floats */
    EML_LAYOUT_DEPTHWISE = 2,
    /* u8 or i8 weights of the operators of quantised numbers, matrices as for PANEL16 (Conv's for
     * ConvInteger and QLinearConv, MatMul's for the others): panels of 16 columns, each as
     * ceil(K/4) groups of 4 rows, a group as 16 columns of 4 signed bytes (u8 minus 128; zeros
     * behind K and N), then the sums of the 16 columns as int32. */
    EML_LAYOUT_PANEL16_I8 = 3,
    /* MatMul's PANEL16 rounded to bfloat16: panels of 16 columns, each as ceil(K/2) groups of 2
     * rows, a group as 16 columns of 2 numbers (zeros behind K and N). Both operands of the product
     * are then rounded to bfloat16; sums are of float32. */
    EML_LAYOUT_PANEL16_BF16 = 4,
    EML_LAYOUT_N
};

struct eml_value {
    enum eml_value_kind kind;
    enum eml_dtype dtype; /* known for every value */
    /* INPUT: declared shape, unknown dims allowed. SLOT: exact. INTS: rank 0 (one) or 1 (n).
     * NODE: not stored (rank 0); the planner infers it. */
    struct eml_shape shape;
    /* SLOT */
    enum eml_layout layout;
    uint64_t offset, bytes; /* offset is a multiple of 64 */
    /* INTS */
    const int64_t *ints;
    uint32_t n_ints;
};

#define OP(id, ...) EML_OP_##id,
enum eml_op {
#include "model/ops.def"
    EML_OP_N
};
#undef OP

/* Attributes that a graph can carry: all are lists of int64. */
#define ATTR(id, name) EML_ATTR_##id,
enum eml_attr_id {
#include "model/attrs.def"
    EML_ATTR_N
};
#undef ATTR

/* Activation fused into a node (attribute ACT); the numbers of its parameters are appended to the
 * node's params. */
enum eml_act {
    EML_ACT_NONE = 0,
    EML_ACT_RELU = 1,
    EML_ACT_CLIP = 2,       /* lo, hi */
    EML_ACT_LEAKY_RELU = 3, /* alpha */
    EML_ACT_SIGMOID = 4,
    EML_ACT_TANH = 5,
    EML_ACT_HARD_SIGMOID = 6, /* alpha, beta: clip(alpha*x + beta, 0, 1) */
    EML_ACT_HARD_SWISH = 7,   /* alpha, beta: x * clip(alpha*x + beta, 0, 1) */
    EML_ACT_GELU = 8,         /* x/2 (1 + erf(x/sqrt 2)) */
    EML_ACT_GELU_TANH = 9,
    EML_ACT_SILU = 10,
    EML_ACT_PRELU = 11, /* slope per output channel: the node's LAST input, f32 [C] */
    EML_ACT_N
};
/* How many params an activation appends. */
size_t eml_act_params(enum eml_act a);

struct eml_attr {
    enum eml_attr_id id;
    uint32_t n;
    const int64_t *v;
};

struct eml_node {
    enum eml_op op;
    uint32_t n_in, n_out, n_attr;
    const uint32_t *in; /* value ids or EML_ABSENT */
    const uint32_t *out;
    const struct eml_attr *attr; /* ascending id */
    uint32_t params;             /* value id of an f32 slot [n], or EML_ABSENT */
};

struct eml_name {
    struct eml_bytes text; /* UTF-8, 1..EML_NAME_BYTES_MAX, unique among inputs or outputs */
    uint32_t value;
};

/* Bodies of If, Loop, Scan and SequenceMap are graphs too: they stand in one list, `graphs` of the
 * whole, and a node names its own by index (attributes THEN_BRANCH, ELSE_BRANCH, BODY). A body sees
 * nothing of the graph around it but its inputs: what it captures are further operands of the node,
 * last (If: those of the then-branch, then those of the else-branch) and further inputs of the
 * body. Its inputs' shapes are not stored (rank 0) and its inputs and outputs have no names. */
struct eml_graph {
    uint32_t n_values, n_nodes, n_inputs, n_outputs;
    struct eml_value *values;
    struct eml_node *nodes;
    struct eml_name *inputs;
    struct eml_name *outputs;
    uint32_t n_graphs; /* of the whole only; a body has none of its own */
    struct eml_graph *graphs;
};

/* Whole-graph validity (docs/formats/topology-key.md, "validity"): ids in range, each NODE value
 * written by exactly one node and before it is read, each INPUT listed once, arity and attributes
 * as ops.def says, slots aligned, inside weight_bytes and as long as their shape and layout need,
 * ACT in range with its params present, limits.h respected. Overlapping slots are allowed only if
 * equal. Bodies: each of graphs[] is the body of exactly one node, which stands in the whole or in
 * a body before it; nested at most EML_GRAPH_DEPTH_MAX deep; as many inputs and outputs as its node
 * says. */
EML_MUST enum eml_err eml_graph_check(const struct eml_graph *g, uint64_t weight_bytes,
                                      struct eml_why *why);

/* Bytes that a slot of this dtype, shape and layout occupies. `group` is the Conv's. False on
 * overflow or a shape that the layout cannot have. */
bool eml_slot_bytes(enum eml_dtype t, const struct eml_shape *s, enum eml_layout l, enum eml_op op,
                    int64_t group, uint64_t *bytes);

/* Whether operand k of the operator may lie in this layout. */
bool eml_slot_read_by(enum eml_op op, uint32_t k, enum eml_layout l);

/* The attribute or NULL; and its first element or a default. */
const struct eml_attr *eml_node_attr(const struct eml_node *n, enum eml_attr_id id);
int64_t eml_node_int(const struct eml_node *n, enum eml_attr_id id, int64_t otherwise);

/* The row of ops.def. `attrs` is the attribute grammar explained there. */
struct eml_op_info {
    const char *name;
    const char *since;
    uint32_t types; /* a set: eml_types_has */
    uint8_t in_min, in_max, out_max;
    const char *attrs;
};
const struct eml_op_info *eml_op_info(enum eml_op op);

bool eml_types_has(uint32_t set, enum eml_dtype t);
/* The operand that the row's types are of. */
uint32_t eml_op_typed(enum eml_op op);
/* The row's types, less those that the node's attributes rule out. */
uint32_t eml_node_types(const struct eml_node *n);

#endif
