/* ONNX TensorProto files (.pb), the form of ONNX's own test data: one tensor.
 *
 * Reads what eml_onnx_load reads of an initializer, but no external data; writes dims, type, name
 * and raw_data. The file is as hostile as a model.
 */
#ifndef EML_ONNX_TENSOR_PB_H
#define EML_ONNX_TENSOR_PB_H

#include "engine/engine.h"

/* Data is copied into the arena, 64-byte aligned. On failure *out is zero. Errors: EML_E_INPUT
 * (damaged), EML_E_UNSUPPORTED (strings, 4-bit and 8-bit floats, more than 8 dims), EML_E_SYSTEM.
 */
EML_MUST enum eml_err eml_tensor_pb_decode(struct eml_bytes file, struct eml_arena *arena,
                                           struct eml_tensor *out, struct eml_why *why);

/* Appends the file; `name` may be "". EML_E_USAGE if t->bytes is not what shape and type need;
 * EML_E_SYSTEM. On failure *out is empty. */
EML_MUST enum eml_err eml_tensor_pb_encode(const struct eml_tensor *t, const char *name,
                                           struct eml_buf *out);

#endif
