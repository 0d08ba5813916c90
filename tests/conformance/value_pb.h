/* Values of node tests that are no tensors: onnx.proto SequenceProto and OptionalProto (of
 * onnx-data.proto), in the form that the engine takes and gives them. */
#ifndef EML_CONFORMANCE_VALUE_PB_H
#define EML_CONFORMANCE_VALUE_PB_H

#include "engine/engine.h"

enum eml_value_form { EML_FORM_TENSOR, EML_FORM_SEQUENCE, EML_FORM_OPTIONAL };

/* All memory is from the arena. */
EML_MUST enum eml_err eml_value_pb_decode(struct eml_bytes file, enum eml_value_form form,
                                          struct eml_arena *arena, struct eml_tensor *out);

#endif
