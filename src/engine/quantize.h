/* Quantised operators: where their operands stand, and reading scales and zero points. */
#ifndef EML_ENGINE_QUANTIZE_H
#define EML_ENGINE_QUANTIZE_H

#include "engine/exec.h"

/* Operand numbers of one product or convolution of bytes; NONE = the operator has no such. */
struct eml_integer_operands {
    uint8_t a, b, a_scale, b_scale, a_zero, b_zero, y_scale, y_zero, bias;
};
enum { EML_OPERAND_NONE = 255 };

struct eml_integer_operands eml_integer_operands(enum eml_op op);

/* Element i of a view of f32 or f16; of one of U8, I8, I32. */
float eml_load_scale(const struct eml_view *v, size_t i);
int32_t eml_load_zero(const struct eml_view *v, size_t i);

#endif
