/* UTF-8 (RFC 3629): what text strings of CBOR and signed notes must be. */
#ifndef EML_WIRE_UTF8_H
#define EML_WIRE_UTF8_H

#include "base/bytes.h"

/* True for whole sequences only: no overlong form, no surrogate, nothing over 10FFFF. */
bool eml_utf8_valid(struct eml_bytes bytes);

#endif
