/* The last pass: the graph as the topology key carries it, and the plaintext weight stream. */
#ifndef EML_DECOMPOSE_EMIT_H
#define EML_DECOMPOSE_EMIT_H

#include "decompose/ir.h"

struct eml_emitted {
    struct eml_graph graph;   /* in the ir's arena */
    struct eml_bytes weights; /* likewise; 64-byte aligned */
};

/* Errors: EML_E_SYSTEM (memory), EML_E_UNSUPPORTED (beyond limits.h; why->index is the ONNX node),
 * EML_E_INPUT (eml_graph_check). Changes the ir: it can be emitted again, and nothing else. */
EML_MUST enum eml_err eml_emit(struct eml_ir *ir, struct eml_emitted *out, struct eml_why *why);

#endif
