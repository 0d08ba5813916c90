/* The graph while decomposition works on it: nodes in a linked list in order of execution, values
 * that know who makes them, who reads them, and, for constants, their elements.
 *
 * Everything lies in one arena and lives as long as it; there is no free. A failed allocation sets
 * `failed` and yields a spare object, so that passes need no checks of their own: who runs the
 * passes tests eml_ir_ok once after each. Holds the whole model in clear; the arena wipes it.
 */
#ifndef EML_DECOMPOSE_IR_H
#define EML_DECOMPOSE_IR_H

#include "engine/engine.h"
#include "model/graph.h"
#include "model/limits.h"

enum { EML_IR_PARAMS_MAX = 8 };

struct eml_ir_node;

struct eml_ir_value {
    enum eml_dtype dtype; /* NONE until inferred */
    bool has_rank;
    enum eml_dtype elem;    /* of a list's tensors */
    struct eml_shape shape; /* what is known; exact for constants */
    const void *data;       /* constants: elements, row-major, little-endian; else NULL */
    bool is_input;
    struct eml_ir_node *maker; /* NULL for inputs and constants */
    /* integer elements that are (partly) known without being constant; EML_INT_UNKNOWN else */
    const int64_t *ints;
    uint32_t n_ints;
    bool has_ints;
    /* The same facts for two assignments of concrete numbers to the unknown dims of the model's
     * inputs: what is equal in both is taken to be equal always. Dims are polynomials of input
     * dims, so a chance hit would need a model made for it; and the planner checks what fusion
     * assumes. */
    struct eml_known probe[2];
    uint32_t uses;                /* operands that read it, plus graph outputs */
    struct eml_ir_node **readers; /* who may read it: entries may be stale or repeated */
    uint32_t n_readers, cap_readers;
    /* import: of half precision, the same value in float32: what it was rounded from if it was, so
     * that nodes which compute need not round */
    struct eml_ir_value *exact;
    struct eml_ir_value *twin; /* layout: the same value channels-last */
    /* emission */
    enum eml_layout layout;
    const struct eml_ir_node *packed_for; /* the reader that `layout` and `id` are for */
    uint32_t id;
};

struct eml_ir_node {
    enum eml_op op;
    struct eml_ir_value **in; /* NULL = absent */
    struct eml_ir_value **out;
    uint32_t n_in, cap_in, n_out;
    struct eml_attr *attr; /* ascending id */
    uint32_t n_attr, cap_attr;
    float params[EML_IR_PARAMS_MAX];
    uint32_t n_params;
    struct eml_ir *body[2]; /* If: then, else; Loop, Scan, SequenceMap: [0]; NULL for others */
    uint32_t own_in;        /* of a node with a body: operands of its own; n_captures more follow */
    uint32_t n_captures;
    long origin; /* index of the ONNX node it came from, or -1 */
    bool removed;
    uint32_t order; /* simplification: position in the list, 0 = not visited */
    bool decides;   /* emission: it computes the condition of an If */
    struct eml_ir_node *prev, *next;
};

struct eml_ir_output {
    struct eml_bytes name; /* borrowed from the ONNX model */
    struct eml_ir_value *value;
};

struct eml_ir {
    struct eml_arena *arena; /* borrowed */
    struct eml_ir_node *first, *last;
    struct eml_ir_output inputs[EML_GRAPH_IO_MAX], outputs[EML_GRAPH_IO_MAX];
    uint32_t n_inputs, n_outputs;
    struct eml_ir *next; /* optimising: in the list of the graph and all bodies */
    bool channels_last;  /* spatial operators are in the graph's own form (after layout) */
    bool bf16;           /* MatMul's weights are to be emitted as bfloat16 */
    bool failed;
    struct eml_ir_value spare_value;
    struct eml_ir_node spare_node;
    struct eml_ir_value *spare_operands[EML_NODE_IN_MAX];
};

/* Starts an empty graph. */
void eml_ir_init(struct eml_ir *ir, struct eml_arena *arena);
/* EML_OK, or EML_E_SYSTEM once memory ran out. */
EML_MUST enum eml_err eml_ir_ok(const struct eml_ir *ir, struct eml_why *why);

/* n zero bytes, 64-byte aligned; NULL (and failed) if there is no room. */
void *eml_ir_alloc(struct eml_ir *ir, size_t n);

struct eml_ir_value *eml_ir_value_new(struct eml_ir *ir);
/* A constant over `data`, which is borrowed and must outlive the graph. */
struct eml_ir_value *eml_ir_const(struct eml_ir *ir, enum eml_dtype dtype,
                                  const struct eml_shape *shape, const void *data);
/* Constants that copy their few elements: int64 [n], f32 scalar, f32 [n]. */
struct eml_ir_value *eml_ir_const_ints(struct eml_ir *ir, const int64_t *v, uint32_t n);
struct eml_ir_value *eml_ir_const_f32(struct eml_ir *ir, float v);
/* Declares an input (name borrowed) or an output of the graph. At most EML_GRAPH_IO_MAX each. */
struct eml_ir_value *eml_ir_add_input(struct eml_ir *ir, struct eml_bytes name,
                                      enum eml_dtype dtype, const struct eml_shape *shape);
void eml_ir_add_output(struct eml_ir *ir, struct eml_bytes name, struct eml_ir_value *v);
/* Unknown dim d of an input: dims with the same index are the same number. */
void eml_ir_set_probe(struct eml_ir_value *input, uint32_t d, int64_t index);
/* What is known of `from` is known of `to`. */
void eml_ir_copy_facts(struct eml_ir_value *to, const struct eml_ir_value *from);
/* Adds outputs up to n. */
void eml_ir_grow_out(struct eml_ir *ir, struct eml_ir_node *n, uint32_t n_out);
/* Dim i, EML_DIM_UNKNOWN if it is not known; the rank, UINT32_MAX if it is not. v may be NULL. */
int64_t eml_ir_dim(const struct eml_ir_value *v, uint32_t i);
uint32_t eml_ir_rank(const struct eml_ir_value *v);
/* Number of elements; 0 if not known. */
size_t eml_ir_count(const struct eml_ir_value *v);

/* Makes a node with n_in operands (NULL = absent) and n_out fresh outputs and links it before
 * `before`, or at the end if NULL. */
struct eml_ir_node *eml_ir_node_new(struct eml_ir *ir, struct eml_ir_node *before, enum eml_op op,
                                    struct eml_ir_value *const *in, uint32_t n_in, uint32_t n_out);
/* Sets operand i, growing the operand list with absent ones if need be. */
void eml_ir_set_in(struct eml_ir *ir, struct eml_ir_node *n, uint32_t i, struct eml_ir_value *v);
/* Drops trailing absent operands. */
void eml_ir_trim(struct eml_ir_node *n);
/* Makes `by` an output of n in place of out[i] (which must be n's own and unread afterwards). */
void eml_ir_adopt_out(struct eml_ir_node *n, uint32_t i, struct eml_ir_value *by);
/* All readers of `old`, graph outputs included, read `by` instead. */
void eml_ir_replace(struct eml_ir *ir, struct eml_ir_value *old, struct eml_ir_value *by);
/* Unlinks the node; its outputs must not be read any more (or have been adopted). */
void eml_ir_remove(struct eml_ir *ir, struct eml_ir_node *n);
/* Moves n to stand right before `before`, which comes later. */
void eml_ir_move(struct eml_ir *ir, struct eml_ir_node *n, struct eml_ir_node *before);
/* Removes every node none of whose outputs is read. Returns how many. */
uint32_t eml_ir_sweep(struct eml_ir *ir);

void eml_ir_set_attr(struct eml_ir *ir, struct eml_ir_node *n, enum eml_attr_id id,
                     const int64_t *v, uint32_t count);
void eml_ir_set_int(struct eml_ir *ir, struct eml_ir_node *n, enum eml_attr_id id, int64_t v);
void eml_ir_drop_attr(struct eml_ir_node *n, enum eml_attr_id id);
const struct eml_attr *eml_ir_attr(const struct eml_ir_node *n, enum eml_attr_id id);
int64_t eml_ir_int(const struct eml_ir_node *n, enum eml_attr_id id, int64_t otherwise);

/* Operand i or NULL, also beyond the list. */
struct eml_ir_value *eml_ir_in(const struct eml_ir_node *n, uint32_t i);
uint32_t eml_ir_node_count(const struct eml_ir *ir);

/* A constant's single f32 element (any rank, one element). */
bool eml_ir_scalar(const struct eml_ir_value *v, float *out);
/* A constant's (int64 or int32) or a known value's integers, all known; NULL if not so. The memory
 * lies in the arena. */
const int64_t *eml_ir_known_ints(struct eml_ir *ir, const struct eml_ir_value *v, uint32_t *n);

/* Both shapes are equal whatever the unknown dims turn out to be. False if that cannot be told. */
bool eml_ir_same_shape(const struct eml_ir_value *a, const struct eml_ir_value *b);

/* Spatial operators: N C spatial... in ONNX, N spatial... C in the graph. */
bool eml_ir_spatial(enum eml_op op);
/* perm[i] = the ONNX axis that stands at axis i of the channels-last form; and the inverse. */
void eml_ir_to_last(uint32_t rank, int64_t *perm);
void eml_ir_to_first(uint32_t rank, int64_t *perm);
/* Renumbers the attribute AXES of a spatial operator, if it has one. Axes out of range stay. */
void eml_ir_axes_to_last(struct eml_ir *ir, struct eml_ir_node *n, uint32_t rank);

#endif
