/* Base64 (RFC 4648 section 4), the standard alphabet with padding and nothing else: no white space,
 * no missing padding, and the unused bits of the last digit must be zero, so that decode(x) ok
 * implies encode(decode(x)) == x. Not constant time: for public values (ciphertexts, documents).
 */
#ifndef EML_WIRE_BASE64_H
#define EML_WIRE_BASE64_H

#include "base/bytes.h"

/* Appends the text; its length is 4 * ceil(n / 3). */
void eml_base64_encode(struct eml_bytes in, struct eml_buf *out);
/* Appends the bytes. EML_E_INPUT (nothing appended) unless text is canonical; EML_E_SYSTEM if *out
 * cannot grow. */
EML_MUST enum eml_err eml_base64_decode(struct eml_bytes text, struct eml_buf *out);

#endif
