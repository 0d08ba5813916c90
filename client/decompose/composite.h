/* ONNX operators that are spelled in others, so that the engine has none of them: of the standard,
 * of com.microsoft (contrib*.c), and the forms of attention
 * (attention*.c, rotary.c). */
#ifndef EML_DECOMPOSE_COMPOSITE_H
#define EML_DECOMPOSE_COMPOSITE_H

#include "decompose/make.h"

/* Makes the nodes; fills m->out, which has room for EML_NODE_OUT_MAX results. Halves among the
 * operands come as float32. */
typedef enum eml_err eml_composite_fn(const struct eml_maker *m);

struct eml_composite {
    const char *name; /* "domain.Name" of operators outside of ONNX */
    uint32_t in_min;  /* operands that may not be omitted */
    eml_composite_fn *make;
};

/* Ended by a NULL name. */
extern const struct eml_composite eml_composites_contrib[], eml_composites_quantised[],
    eml_composites_attention[], eml_composites_gqa[], eml_composites_rotary[];

/* NULL: an ordinary operator. BatchNormalization is composite in training mode only. */
const struct eml_composite *eml_composite_find(const struct eml_onnx_node *n);

/* EML_E_UNSUPPORTED: a form that is not done, or a rank is needed that is not known. */
EML_MUST enum eml_err eml_composite_make(const struct eml_composite *c, const struct eml_maker *m);

#endif
