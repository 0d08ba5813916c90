/* The passes of decomposition, in the order in which eml_decompose runs them. Each leaves a graph
 * that computes the same; each file opens with what it does. They share one arena (ir->arena).
 */
#ifndef EML_DECOMPOSE_PASSES_H
#define EML_DECOMPOSE_PASSES_H

#include "decompose/ir.h"
#include "onnx/onnx.h"

/* ONNX nodes to graph nodes of the newest operator versions. The model has passed eml_onnx_check
 * and is borrowed: constants point into it. why->index is the ONNX node. */
EML_MUST enum eml_err eml_import(struct eml_ir *ir, const struct eml_onnx_model *m,
                                 struct eml_why *why);

/* The same, telling every node of the main graph that cannot be imported; nodes that depend on one
 * of those are passed over. The result is the first error; nothing can be done with the graph then.
 */
struct eml_import_problems {
    void (*tell)(void *arg, enum eml_err e, const struct eml_why *why);
    void *arg;
};
EML_MUST enum eml_err eml_import_telling(struct eml_ir *ir, const struct eml_onnx_model *m,
                                         const struct eml_import_problems *problems,
                                         struct eml_why *why);

/* Infers what is known of every value; replaces by constants what is known or can be computed;
 * removes what nobody reads. why->index is the ONNX node whose operands do not fit. */
EML_MUST enum eml_err eml_fold(struct eml_ir *ir, struct eml_why *why);

/* Inference alone, from node n (may be NULL) to the end: what is known after nodes were changed. */
EML_MUST enum eml_err eml_fold_infer_from(struct eml_ir *ir, struct eml_ir_node *n,
                                          struct eml_why *why);

/* What is known of the results of a node with a body, from the body's outputs. */
EML_MUST enum eml_err eml_bodies_infer(struct eml_ir_node *n, struct eml_why *why);

/* Removes nodes that do nothing: casts to the same type, products with 1, identity transposes. */
void eml_simplify(struct eml_ir *ir);

/* Spatial operators become channels-last; transposes only where the two worlds meet. */
EML_MUST enum eml_err eml_layout_channels_last(struct eml_ir *ir, struct eml_why *why);

/* Chains of elementary operators become the operator or the activation that they spell. */
void eml_fuse_chains(struct eml_ir *ir);
/* Scales, shifts, residual sums and activations move into the products that make their input. */
void eml_fuse_products(struct eml_ir *ir);
/* Integer products that are turned to float become one operator. */
void eml_fuse_integers(struct eml_ir *ir);
/* Heads cut, multiplied, masked, normalised, multiplied and joined become one operator. */
void eml_fuse_attention(struct eml_ir *ir);

#endif
