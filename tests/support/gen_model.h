/* Generated ONNX models: node after node, with operands and attributes drawn by the rows of
 * ops.def, so that most nodes fit their operands and some do not.
 *
 * The generator does not know the operators' shape rules. Its user proposes a node, asks the code
 * under test, and either tells what became known of the results or takes the node back:
 *   eml_model_gen_start; { eml_model_gen_propose; ...; eml_model_gen_undo or set facts }; encode.
 * Tolerances are counted along: a result of nothing but moves and comparisons is exact.
 */
#ifndef EML_TESTSUPPORT_GEN_MODEL_H
#define EML_TESTSUPPORT_GEN_MODEL_H

#include "testsupport/support.h"

#include "base/arena.h"
#include "model/graph.h"

enum { EML_MG_VALUES = 192, EML_MG_NODES = 16, EML_MG_IN = 12 };

enum eml_mg_kind { EML_MG_INPUT, EML_MG_CONSTANT, EML_MG_RESULT };

struct eml_mg_value {
    char name[8];
    enum eml_mg_kind kind;
    enum eml_dtype dtype; /* EML_DT_SEQUENCE: a list, of elem */
    enum eml_dtype elem;
    bool has_rank;
    struct eml_shape shape;  /* results: what is known of it; else exact */
    struct eml_shape stated; /* inputs: with dims left open */
    const void *data;        /* inputs and constants, as the engine stores elements */
    size_t bytes;
    float slack; /* relative error that a correct computation may have; 0: exact */
    uint32_t readers;
    bool gone;
};

struct eml_mg_node {
    enum eml_op op;
    struct eml_buf pb; /* a NodeProto */
    char text[256];    /* for people */
    uint32_t in[EML_MG_IN], n_in;
    uint32_t captured[2], n_captured;       /* by its bodies */
    uint32_t first_value, first_out, n_out; /* what came with it: operands made for it, results */
    bool gone;
};

struct eml_model_gen {
    struct eml_gen *g;
    struct eml_arena *arena; /* for data */
    int64_t opset;
    struct eml_mg_value values[EML_MG_VALUES];
    struct eml_mg_node nodes[EML_MG_NODES];
    uint32_t n_values, n_nodes;
};

void eml_model_gen_start(struct eml_model_gen *m, struct eml_gen *g, struct eml_arena *arena);
/* Appends one node; its results have neither type nor shape yet. */
void eml_model_gen_propose(struct eml_model_gen *m);
/* Takes back the last node and what was made for it. */
void eml_model_gen_undo(struct eml_model_gen *m);
/* Leaves out a node that no other reads. False, and nothing changes, if one does. */
bool eml_model_gen_drop(struct eml_model_gen *m, uint32_t node);
/* Whether the value is an output of the model: a result that nobody reads. */
bool eml_mg_is_output(const struct eml_mg_value *v);
/* The file. */
void eml_model_gen_encode(const struct eml_model_gen *m, struct eml_buf *out);
void eml_model_gen_free(struct eml_model_gen *m);

#endif
