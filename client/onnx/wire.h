/* A look over protobuf bytes before protobuf-c unpacks them.
 *
 * Walks the wire format once, without recursion, along a message descriptor, and refuses what
 * protobuf-c would take badly: nesting beyond EML_ONNX_NESTING_MAX (it recurses), too many
 * messages, groups, a singular sub-message given twice (it merges, in quadratic time), strings with
 * a NUL byte (it would cut them) or that are not UTF-8. Private to this folder.
 */
#ifndef EML_ONNX_WIRE_H
#define EML_ONNX_WIRE_H

#include "base/bytes.h"

#include <protobuf-c/protobuf-c.h>

/* EML_OK or EML_E_INPUT; why->index is the byte. */
EML_MUST enum eml_err eml_onnx_wire_check(struct eml_bytes file,
                                          const ProtobufCMessageDescriptor *root,
                                          struct eml_why *why);

/* Valid UTF-8 (no overlong forms, no surrogates) without NUL. */
bool eml_onnx_utf8(struct eml_bytes s);

#endif
