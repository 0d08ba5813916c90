#include "wire/utf8.h"

#include "base/cur.h"

/* One UTF-8 sequence (RFC 3629 section 4) that is not ASCII: no overlong form, no surrogate,
 * nothing over 10FFFF. */
static bool utf8_sequence(struct eml_cur *c)
{
    uint8_t first = eml_cur_u8(c);
    size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first > 0xf4)
        return false;
    uint32_t code = first & (0x3fu >> more);
    for (size_t k = 0; k < more; k++) {
        uint8_t next = eml_cur_u8(c);
        if ((next & 0xc0) != 0x80)
            return false;
        code = code << 6 | (next & 0x3fu);
    }
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    return code >= least[more] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

bool eml_utf8_valid(struct eml_bytes bytes)
{
    size_t i = 0;
    while (i < bytes.len) {
        if (bytes.ptr[i] < 0x80) { /* most of what comes */
            i++;
            continue;
        }
        struct eml_cur rest = eml_cur(eml_bytes(bytes.ptr + i, bytes.len - i));
        if (!utf8_sequence(&rest))
            return false;
        i += rest.pos;
    }
    return true;
}
