/* ONNX operators that are spelled in others, so that the engine has none of them. */
#ifndef EML_DECOMPOSE_COMPOSITE_H
#define EML_DECOMPOSE_COMPOSITE_H

#include "decompose/ir.h"
#include "onnx/onnx.h"

/* Operands that a composite has at most; results likewise. */
enum { EML_COMPOSITE_IN = 5, EML_COMPOSITE_OUT = 3 };

/* Whether eml_composite_import makes this node: SoftmaxCrossEntropyLoss, MeanVarianceNormalization,
 * LpNormalization, GlobalLpPool, BatchNormalization in training mode. */
bool eml_composite_is(const struct eml_onnx_node *n);

/* Makes the nodes at the end of the graph. in: operands, NULL = absent; out: the results, filled
 * here (NULL: the operator has no such result). EML_E_UNSUPPORTED if a rank is needed that is not
 * known. */
EML_MUST enum eml_err eml_composite_import(struct eml_ir *ir, const struct eml_onnx_node *n,
                                           long origin,
                                           struct eml_ir_value *const in[EML_COMPOSITE_IN],
                                           struct eml_ir_value *out[EML_COMPOSITE_OUT],
                                           struct eml_why *why);

#endif
