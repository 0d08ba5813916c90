/* An ONNX model in memory, as the checker and the importer read it.
 *
 * Reads onnx.proto ModelProto (IR versions 3 to 13) through protobuf-c and Debian's schema, then
 * turns it into plain arrays: value names become ids (no later pass compares strings), element data
 * becomes one contiguous run of little-endian bytes whatever field or file it came from, "ai.onnx"
 * becomes "". What each graph claims is verified: single assignment, topological order, every
 * input defined, every used domain imported, sizes equal to dims. What an operator means is not
 * looked at here: see onnx/check.h.
 *
 * The file is hostile: nesting, counts, sizes, names and external paths are bounded before or while
 * they are read. Memory: the file is mapped while protobuf-c copies out of it, so the peak is about
 * twice the weights, of which one half is clean page cache; external data stays mapped, uncopied.
 * Client side only; a mapped file must not be truncated by somebody else while the model lives.
 */
#ifndef EML_ONNX_ONNX_H
#define EML_ONNX_ONNX_H

#include "base/bytes.h"

#define EML_ONNX_ABSENT UINT32_MAX /* value id of "": an omitted optional input or output */
#define EML_ONNX_DIM_UNKNOWN ((int64_t)-1)

enum {
    EML_ONNX_NESTING_MAX = 100,
    EML_ONNX_RANK_MAX = 64,  /* what a file may say; the engine's limit is lower */
    EML_ONNX_DEPTH_MAX = 40, /* subgraphs and function calls within each other */
    EML_ONNX_IR_MIN = 3,
    EML_ONNX_IR_MAX = 13,
};
#define EML_ONNX_FILE_BYTES_MAX (((uint64_t)1 << 31) - 1)
#define EML_ONNX_MESSAGES_MAX 8000000u /* sub-messages and strings in one file */
#define EML_ONNX_VALUES_MAX 2000000u

/* Elements, row-major, little-endian, fixed width (onnx.proto: raw_data form; 4- and 2-bit types
 * packed, low bits first). `data` has no alignment beyond 1: read it with memcpy. For STRING `data`
 * is empty and `strings` has `count` entries. */
struct eml_onnx_tensor {
    const char *name; /* "" if none */
    int32_t dtype;    /* TensorProto.DataType 1..26; may be one that the engine lacks */
    uint32_t rank;
    const int64_t *dims; /* each >= 0 */
    uint64_t count;      /* product of dims; 1 for rank 0 */
    struct eml_bytes data;
    const struct eml_bytes *strings;
};

/* Bits of one element; 0 for STRING and anything unknown. */
unsigned eml_onnx_dtype_bits(int32_t dtype);

struct eml_onnx_tensor;
/* Bytes of the elements as the engine has them (eml_dtype_bytes each); false if the engine has no
 * such type or not such long strings, or `data` is not as long as `count` says. */
bool eml_onnx_tensor_size(const struct eml_onnx_tensor *t, size_t *bytes);
/* Writes as many. */
void eml_onnx_tensor_copy(const struct eml_onnx_tensor *t, uint8_t *to);
/* "float32", "bfloat16", ..., "unknown". Never NULL. */
const char *eml_onnx_dtype_name(int32_t dtype);

/* AttributeProto.AttributeType. */
enum eml_onnx_attr_type {
    EML_ONNX_ATTR_FLOAT = 1,
    EML_ONNX_ATTR_INT = 2,
    EML_ONNX_ATTR_STRING = 3,
    EML_ONNX_ATTR_TENSOR = 4,
    EML_ONNX_ATTR_GRAPH = 5,
    EML_ONNX_ATTR_FLOATS = 6,
    EML_ONNX_ATTR_INTS = 7,
    EML_ONNX_ATTR_STRINGS = 8,
    EML_ONNX_ATTR_TENSORS = 9,
    EML_ONNX_ATTR_GRAPHS = 10,
    EML_ONNX_ATTR_SPARSE_TENSOR = 11,
    EML_ONNX_ATTR_SPARSE_TENSORS = 12,
    EML_ONNX_ATTR_TYPE_PROTO = 13,
    EML_ONNX_ATTR_TYPE_PROTOS = 14,
};

/* A graph that is an attribute: read like the main graph, in the form of a model whose operator
 * sets and functions are those around it. What it captures are values of its own (see
 * eml_onnx_value). */
struct eml_onnx_subgraph {
    const void *proto; /* a protobuf-c Onnx__GraphProto */
    const struct eml_onnx_model *graph;
};

/* One array is set, by type; the singular types have n = 1. SPARSE_TENSOR(S) and TYPE_PROTO(S) have
 * n = 0 and no array: no supported operator takes them. */
struct eml_onnx_attr {
    const char *name;
    enum eml_onnx_attr_type type;
    size_t n;
    const float *floats;
    const int64_t *ints;
    const struct eml_bytes *strings; /* not NUL-terminated, any bytes */
    const struct eml_onnx_tensor *tensors;
    const struct eml_onnx_subgraph *graphs;
};

struct eml_onnx_node {
    const char *op_type;          /* not "" */
    const char *domain;           /* "" = ai.onnx */
    const char *name;             /* "" if none; need not be unique */
    int64_t opset;                /* version imported for the domain */
    uint32_t n_in, n_out, n_attr; /* trailing absent operands are cut off */
    const uint32_t *in;           /* value ids or EML_ONNX_ABSENT */
    const uint32_t *out;
    const struct eml_onnx_attr *attr; /* unique names */
    /* A call of a function of the model: its body, with this call's attributes in place; inputs and
     * outputs in the order of the node's, but maybe more. Else NULL. */
    const struct eml_onnx_model *function;
};

struct eml_onnx_dim {
    int64_t value;     /* EML_ONNX_DIM_UNKNOWN, or >= 0 */
    const char *param; /* name of an unknown dim, "" if none */
};

enum eml_onnx_type_kind {
    EML_ONNX_TYPE_NONE = 0, /* not declared */
    EML_ONNX_TYPE_TENSOR = 1,
    EML_ONNX_TYPE_OTHER = 2, /* map, sparse tensor, opaque; lists of something else than tensors */
    EML_ONNX_TYPE_SEQUENCE = 3, /* of tensors: dtype is theirs, there is no shape */
};

struct eml_onnx_type {
    enum eml_onnx_type_kind kind;
    bool optional; /* or nothing */
    int32_t dtype; /* 0 if not declared */
    bool has_rank; /* false: nothing known of the shape */
    uint32_t rank;
    const struct eml_onnx_dim *dims;
};

/* A value of a graph. Exactly one holds: producer != EML_ONNX_ABSENT (output of a node), init !=
 * NULL (a constant; also if it is listed as an input, IR >= 4 calls that an overridable default,
 * IR 3 demands it), is_input, or levels > 0: the value `outer` of the graph so many levels up. */
struct eml_onnx_value {
    const char *name;                   /* not "" */
    uint32_t producer;                  /* node index or EML_ONNX_ABSENT */
    const struct eml_onnx_tensor *init; /* or NULL */
    bool is_input;
    bool is_output;
    bool in_subgraph;          /* a subgraph captures it */
    uint32_t levels, outer;    /* captured from an outer graph */
    uint32_t n_uses;           /* times that nodes read it, and that outputs list it */
    struct eml_onnx_type type; /* declared: by input, output, or value_info */
};

struct eml_onnx_opset {
    const char *domain; /* "" = ai.onnx */
    int64_t version;    /* >= 1 */
};

struct eml_onnx_function {
    const char *domain, *name;
    const void *proto; /* a protobuf-c Onnx__FunctionProto */
};

/* All of it, strings included, belongs to the model and lives until eml_onnx_free. Strings are
 * UTF-8 without NUL bytes. Nodes stand in an order in which they can be executed. */
struct eml_onnx_model {
    int64_t ir_version;
    const char *producer;   /* "" if none; for people */
    const char *graph_name; /* likewise */
    uint32_t n_opsets, n_functions, n_values, n_nodes, n_inputs, n_outputs, n_inits;
    const struct eml_onnx_opset *opsets;
    const struct eml_onnx_function *functions;
    struct eml_onnx_value *values;
    struct eml_onnx_node *nodes;
    const uint32_t *inputs;              /* value ids; without those that have an initializer */
    const uint32_t *outputs;             /* value ids, may repeat one */
    const struct eml_onnx_tensor *inits; /* each is the init of one value */
    uint64_t init_bytes;                 /* of all initializers together */
    struct eml_onnx_store *store;        /* owner of everything; private */
};

/* Why a file was refused. `why.index` is the node, initializer or byte that the rule speaks of. */
struct eml_onnx_diag {
    struct eml_why why;
    char subject[160]; /* the name it concerns, cut and made printable; "" if none */
};

/* Loads a file, and the external data beside it. *out is NULL on failure, to be freed by
 * eml_onnx_free otherwise. Errors: EML_E_INPUT (damaged, inconsistent, too large), EML_E_USAGE (no
 * such file, or not readable), EML_E_UNSUPPORTED (IR version; sparse initializers), EML_E_SYSTEM
 * (memory). diag may be NULL. */
EML_MUST enum eml_err eml_onnx_load(const char *path, struct eml_onnx_model **out,
                                    struct eml_onnx_diag *diag);

/* The same from memory; the bytes may be freed afterwards. External data is looked for in `dir`,
 * or refused if dir is NULL. */
EML_MUST enum eml_err eml_onnx_parse(struct eml_bytes file, const char *dir,
                                     struct eml_onnx_model **out, struct eml_onnx_diag *diag);

void eml_onnx_free(struct eml_onnx_model *m); /* NULL is fine */

/* The attribute or NULL. */
const struct eml_onnx_attr *eml_onnx_attr(const struct eml_onnx_node *n, const char *name);
/* The name by which operator tables know the node's operator: "Conv", "com.microsoft.QGemm". False
 * (and "") if the domain is not known, or the name is too long. */
bool eml_onnx_op_name(const struct eml_onnx_node *n, char name[128]);
/* Version imported for a domain ("" = ai.onnx), or 0. */
int64_t eml_onnx_opset(const struct eml_onnx_model *m, const char *domain);

#endif
