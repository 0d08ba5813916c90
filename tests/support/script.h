/* A fuzzer's input read as a script: bytes that choose what a hostile peer does next. Where it has
 * run out every choice is 0, which is to be the honest one.
 */
#ifndef EML_TESTSUPPORT_SCRIPT_H
#define EML_TESTSUPPORT_SCRIPT_H

#include "base/cur.h"

/* Up to 255 bytes, borrowed. */
static inline struct eml_bytes eml_script_bytes(struct eml_cur *script)
{
    size_t n = eml_cur_u8(script), left = eml_cur_left(script);
    return eml_cur_take(script, n < left ? n : left);
}

/* Changes what is about to be delivered, or not; true if it did. */
static inline bool eml_script_meddle(struct eml_cur *script, struct eml_buf *b)
{
    uint8_t how = eml_cur_u8(script);
    if (how < 160 || b->ptr == NULL)
        return false;
    size_t at = eml_cur_u16(script);
    switch (how % 4) {
    case 0:
        if (b->len != 0)
            b->ptr[at % b->len] ^= (uint8_t)(eml_cur_u8(script) | 1);
        break;
    case 1:
        b->len = at % (b->len + 1);
        break;
    case 2:
        eml_buf_put(b, eml_script_bytes(script));
        break;
    default:
        b->len = 0;
        eml_buf_put(b, eml_script_bytes(script));
        break;
    }
    return true;
}

#endif
