#include "base/text.h"

#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

void eml_hex_put(struct eml_bytes bytes, char *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        out[2 * i] = hex_digits[bytes.ptr[i] >> 4];
        out[2 * i + 1] = hex_digits[bytes.ptr[i] & 15];
    }
}

void eml_hex_append(struct eml_bytes bytes, struct eml_buf *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        eml_buf_put_u8(out, (uint8_t)hex_digits[bytes.ptr[i] >> 4]);
        eml_buf_put_u8(out, (uint8_t)hex_digits[bytes.ptr[i] & 15]);
    }
}

static bool digit(uint8_t c, uint8_t *v)
{
    if (c >= '0' && c <= '9')
        *v = (uint8_t)(c - '0');
    else if (c >= 'a' && c <= 'f')
        *v = (uint8_t)(c - 'a' + 10);
    else if (c >= 'A' && c <= 'F')
        *v = (uint8_t)(c - 'A' + 10);
    else
        return false;
    return true;
}

bool eml_hex_get(struct eml_bytes digits, struct eml_room room)
{
    bool ok = digits.len % 2 == 0 && digits.len / 2 == room.len;
    for (size_t i = 0; ok && i < room.len; i++) {
        uint8_t high, low;
        ok = digit(digits.ptr[2 * i], &high) && digit(digits.ptr[2 * i + 1], &low);
        if (ok)
            room.ptr[i] = (uint8_t)(high << 4 | low);
    }
    if (!ok && room.len != 0)
        memset(room.ptr, 0, room.len);
    return ok;
}

bool eml_u64_get(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    bool ok = text[0] != '\0';
    *out = 0;
    for (; ok && *text != '\0'; text++) {
        uint64_t d = (uint64_t)(uint8_t)*text - '0';
        ok = d <= 9 && v <= (UINT64_MAX - d) / 10;
        v = ok ? v * 10 + d : 0;
    }
    if (!ok || v < min || v > max)
        return false;
    *out = v;
    return true;
}
