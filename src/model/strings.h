/* Strings as elements of tensors: EML_DT_STRING.
 *
 * An element is a record of 256 bytes: its length, then as many bytes, then zeros. Longer strings
 * do not exist here. So a tensor of strings is flat like any other: it lies in slots, moves, is
 * copied and wiped with no pointer to follow, and whatever bytes a hostile record holds, reading it
 * stays inside. What follows the text is never read, so it need not be zero in what peers send.
 */
#ifndef EML_MODEL_STRINGS_H
#define EML_MODEL_STRINGS_H

#include "base/bytes.h"

#include <string.h>

enum { EML_STRING_BYTES = 256, EML_STRING_MAX = 255 };

static inline struct eml_bytes eml_string_get(const uint8_t *record)
{
    return (struct eml_bytes){record + 1, record[0]};
}

/* False, and the empty string, if the text is too long. The text may be part of the record. */
static inline bool eml_string_put(uint8_t *record, struct eml_bytes text)
{
    size_t n = text.len <= EML_STRING_MAX ? text.len : 0;
    if (n != 0)
        memmove(record + 1, text.ptr, n);
    memset(record + 1 + n, 0, EML_STRING_MAX - n);
    record[0] = (uint8_t)n;
    return n == text.len;
}

#endif
