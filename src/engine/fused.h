/* What fusion hangs on a node: bias, residual, activation (model/graph.h).
 *
 * Operands of MatMul, Gemm, Conv and ConvTranspose: a or x, b or w, bias [columns], residual (the
 * output's shape), and the PReLU slope [columns] last if ACT is PRELU. Params: the operator's own,
 * then the activation's. Also scratch memory, cut into pieces.
 */
#ifndef EML_ENGINE_FUSED_H
#define EML_ENGINE_FUSED_H

#include "engine/exec.h"
#include "engine/kernels/kernels.h"

/* The activation of a node whose operator has `own_params` params; columns: the length of the
 * slope. EML_E_INPUT if params or slope do not fit. */
EML_MUST enum eml_err eml_fused_act(const struct eml_op_ctx *c, uint32_t own_params,
                                    int64_t columns, struct eml_act_spec *act);

/* Number of operands without the slope. */
uint32_t eml_fused_operands(const struct eml_op_ctx *c);

/* The operand, or NULL if it is omitted or is the slope. */
const struct eml_view *eml_fused_in(const struct eml_op_ctx *c, uint32_t i);

/* Bias (in[2], of `columns` elements), residual (in[3], of the output's count, rows of `columns`),
 * activation. */
EML_MUST enum eml_err eml_fused_epilogue(const struct eml_op_ctx *c, uint32_t own_params,
                                         int64_t columns, struct eml_epilogue *e);

/* Cuts scratch into pieces of 64-byte alignment. One order of calls serves planning (base NULL:
 * only counts) and running. `failed` is sticky: overflow, or more than `size`. */
struct eml_scratch {
    uint8_t *base;
    size_t size, used;
    bool failed;
};
struct eml_scratch eml_scratch_of(const struct eml_op_ctx *c);
/* count * size bytes; NULL while planning or after a failure. */
void *eml_scratch_take(struct eml_scratch *s, size_t count, size_t size);

#endif
