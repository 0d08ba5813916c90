/* Number formats that C has no type for: float16, bfloat16 and the four float8 of ONNX.
 *
 * All are a sign, e exponent bits and m fraction bits with subnormals. Those named "fnuz" have one
 * zero and one NaN (0x80) and no infinity; float8e4m3fn has no infinity either. Rounding is to the
 * nearest, ties to even, once: from the double, whatever it came from. Source: IEEE 754-2019; ONNX
 * operator Cast-19 and its page on float8.
 */
#ifndef EML_ENGINE_FORMATS_H
#define EML_ENGINE_FORMATS_H

#include "model/graph.h"

/* float16, bfloat16 or a float8. */
bool eml_format_is(enum eml_dtype t);

double eml_format_decode(enum eml_dtype t, uint16_t bits);
/* What is too large becomes infinity, or NaN in a format without it. With `saturate` a float8
 * becomes the largest finite number instead, also for an infinity (the text of Cast-19 has NaN for
 * that in the fnuz formats; its test data and other runtimes have not). float16 and bfloat16 never
 * saturate. */
uint16_t eml_format_encode(enum eml_dtype t, double v, bool saturate);

/* n elements of float16 or bfloat16; the same results, faster. */
void eml_halves_to_f32(enum eml_dtype t, float *y, const uint16_t *x, size_t n);
void eml_halves_from_f32(enum eml_dtype t, uint16_t *y, const float *x, size_t n);

#endif
