/* Numbers and bytes as text, one way each: decimal digits, and hex.
 *
 * Neither accepts a sign, a space, a prefix or anything after the digits. Hex is written in lower
 * case and read in either. For public values only: time depends on the digits.
 */
#ifndef EML_BASE_TEXT_H
#define EML_BASE_TEXT_H

#include "base/bytes.h"

/* Writes 2 * bytes.len digits to `out`, and no NUL. */
void eml_hex_put(struct eml_bytes bytes, char *out);
/* As above, appended. */
void eml_hex_append(struct eml_bytes bytes, struct eml_buf *out);
/* Exactly 2 * room.len digits; false otherwise, and the room is zero then. */
bool eml_hex_get(struct eml_bytes digits, struct eml_room room);

/* A decimal number from `min` to `max`, the whole string; false otherwise, and *out is zero then.
 */
bool eml_u64_get(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
