/* Writes protobuf by hand, so that tests of readers depend on no library and can write nonsense. */
#ifndef EML_TESTSUPPORT_PB_H
#define EML_TESTSUPPORT_PB_H

#include "base/bytes.h"

void eml_pb_key(struct eml_buf *b, uint32_t field, unsigned wire);
void eml_pb_varint(struct eml_buf *b, uint64_t v);
void eml_pb_int(struct eml_buf *b, uint32_t field, int64_t v);
void eml_pb_f32(struct eml_buf *b, uint32_t field, float v);
void eml_pb_bytes(struct eml_buf *b, uint32_t field, struct eml_bytes v);
void eml_pb_str(struct eml_buf *b, uint32_t field, const char *s);
/* Appends `inner` as a sub-message and frees it. */
void eml_pb_msg(struct eml_buf *b, uint32_t field, struct eml_buf *inner);

/* Messages of onnx.proto; each appends to the message that holds it. Lists of names end with NULL.
 */
/* ValueInfoProto of a tensor; dims: n, negative = unknown. field 11 input, 12 output, 13 value_info
 */
void eml_pb_value(struct eml_buf *graph, uint32_t field, const char *name, int dtype,
                  const int64_t *dims, size_t n);
/* TensorProto with raw data, as initializer (field 5 of a graph) or whatever field says. */
void eml_pb_tensor(struct eml_buf *b, uint32_t field, const char *name, int dtype,
                   const int64_t *dims, size_t n, struct eml_bytes raw);
/* NodeProto; `attrs` (already AttributeProtos, field 5 each) is appended and freed; may be NULL. */
void eml_pb_node(struct eml_buf *graph, const char *domain, const char *op, const char *const *in,
                 const char *const *out, struct eml_buf *attrs);
void eml_pb_attr_int(struct eml_buf *attrs, const char *name, int64_t v);
void eml_pb_attr_ints(struct eml_buf *attrs, const char *name, const int64_t *v, size_t n);
void eml_pb_attr_f32(struct eml_buf *attrs, const char *name, float v);
void eml_pb_attr_str(struct eml_buf *attrs, const char *name, const char *v);
/* ModelProto around a graph, which is freed: ir_version, graph, one opset of ai.onnx. */
void eml_pb_model(struct eml_buf *model, int64_t ir, struct eml_buf *graph, int64_t opset);

#endif
