/* Inside of importing: the graph in work, and graphs within graphs (import_bodies.c). */
#ifndef EML_DECOMPOSE_IMPORT_H
#define EML_DECOMPOSE_IMPORT_H

#include "decompose/passes.h"

struct capture {
    const struct eml_ir_value *outer;
    struct eml_ir_value *inner;
    struct capture *next;
};

/* One graph that is being imported: the main graph, a called function, a branch that is known to be
 * taken (both into the graph that they stand in), or a body. */
struct scope {
    const struct eml_onnx_model *model;
    struct eml_ir_value **values; /* by ONNX value id */
    struct eml_ir *ir;
    uint32_t at;              /* next node */
    struct eml_ir_node *node; /* whose body this is; NULL: no body, its nodes join `ir` below */
    uint32_t body;            /* which of the node's */
    struct capture *captures; /* of a body */
};

struct import {
    struct eml_ir *ir; /* these four: of the scope on top */
    const struct eml_onnx_model *model;
    struct eml_ir_value **values;
    const struct eml_onnx_node *node;
    long index; /* the main graph's node */
    struct eml_why *why;
    const struct eml_import_problems *problems; /* NULL: the first one ends it */
    enum eml_err first;                         /* problem that was told */
    struct scope scopes[EML_ONNX_DEPTH_MAX + 1];
    uint32_t depth; /* scopes in use */
};

EML_MUST enum eml_err eml_import_refuse(const struct import *im, const char *rule);
/* The node's operands; NULL for omitted ones. */
EML_MUST enum eml_err eml_import_operands(const struct import *im, struct eml_ir_value **in);
EML_MUST enum eml_err eml_import_tensor(const struct import *im, const struct eml_onnx_tensor *t,
                                        struct eml_ir_value **out);
/* ---- import_attrs.c ---- */

/* One attribute of im->node, by n's row. */
EML_MUST enum eml_err eml_import_attr(const struct import *im, const struct eml_onnx_attr *a,
                                      struct eml_ir_node *n);
/* The row's floats, before attributes are imported. */
void eml_import_defaults(struct eml_ir_node *n);
void eml_import_default_seed(const struct import *im, struct eml_ir_node *n);

/* ---- import_changed.c ---- */

/* Nodes that need none in the graph: Constant, Identity, Dropout in inference. */
EML_MUST enum eml_err eml_import_constant(struct import *im);
bool eml_import_passes_through(const struct import *im);
/* Upsample, which Resize replaced. */
EML_MUST enum eml_err eml_import_upsample(struct import *im);
/* From the meaning that im->node has under its opset to the one that n has. */
EML_MUST enum eml_err eml_import_normalise(struct import *im, struct eml_ir_node *n);

/* ---- import_bodies.c ---- */

/* Puts a graph on top: its constants and captures; its inputs are the caller's to set. */
EML_MUST enum eml_err eml_import_push(struct import *im, const struct eml_onnx_model *m,
                                      struct eml_ir *ir, struct eml_ir_node *node, uint32_t body);
/* If the node calls a function, or has a body: starts it, *done true. */
EML_MUST enum eml_err eml_import_enter(struct import *im, bool *done);
/* The graph on top has no further node: gives its outputs to what it stands in. */
EML_MUST enum eml_err eml_import_leave(struct import *im);

#endif
