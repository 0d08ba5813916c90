/* Products and convolutions of other types than float32: plain loops, of float64 and, for products,
 * 32 and 64 bit integers, whose sums wrap around. Operands lie as in ONNX; nothing is fused into
 * them but the bias of a convolution. */
#ifndef EML_ENGINE_WIDE_H
#define EML_ENGINE_WIDE_H

#include "engine/exec.h"

static inline bool eml_wide_is(const struct eml_op_ctx *c)
{
    return c->in[0].dtype != EML_DT_F32;
}

/* As eml_op_matmul, eml_op_gemm, eml_op_conv, eml_op_conv_transpose. They need no scratch. */
enum eml_err eml_wide_matmul(const struct eml_op_ctx *c);
enum eml_err eml_wide_gemm(const struct eml_op_ctx *c);
enum eml_err eml_wide_conv(const struct eml_op_ctx *c);
enum eml_err eml_wide_conv_transpose(const struct eml_op_ctx *c);

#endif
