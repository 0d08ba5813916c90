#include "wire/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void eml_base64_encode(struct eml_bytes in, struct eml_buf *out)
{
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = in.len - i < 3 ? in.len - i : 3;
        uint32_t v = (uint32_t)in.ptr[i] << 16;
        v |= n > 1 ? (uint32_t)in.ptr[i + 1] << 8 : 0;
        v |= n > 2 ? (uint32_t)in.ptr[i + 2] : 0;
        uint8_t four[4] = {'=', '=', '=', '='};
        for (size_t k = 0; k <= n; k++)
            four[k] = (uint8_t)alphabet[v >> (18 - 6 * k) & 63];
        eml_buf_put(out, EML_BYTES(four));
    }
}

/* The value of a digit, or 64. */
static uint32_t value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)c - 'A';
    if (c >= 'a' && c <= 'z')
        return (uint32_t)c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : 64;
}

enum eml_err eml_base64_decode(struct eml_bytes text, struct eml_buf *out)
{
    size_t before = out->len, digits = text.len;
    if (text.len % 4 != 0)
        return EML_E_INPUT;
    while (digits > 0 && text.len - digits < 2 && text.ptr[digits - 1] == '=')
        digits--;
    uint32_t v = 0;
    uint8_t *to = eml_buf_grow(out, digits - (digits + 3) / 4);
    if (to == NULL)
        return EML_E_SYSTEM;
    for (size_t i = 0; i < digits; i++) {
        uint32_t d = value_of(text.ptr[i]);
        if (d > 63)
            goto bad;
        v = v << 6 | d;
        if (i % 4 != 0) /* 2, 4 or 6 bits of this digit stay for the next byte */
            *to++ = (uint8_t)(v >> (6 - 2 * (i % 4)));
    }
    if (digits % 4 != 0 && (v & ((1u << (8 - 2 * (digits % 4))) - 1)) != 0)
        goto bad;
    return eml_buf_ok(out);
bad:
    out->len = before;
    return EML_E_INPUT;
}
