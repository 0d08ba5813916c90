#include "testsupport/known.h"

#include "testsupport/support.h"

#include <stdlib.h>
#include <string.h>

void eml_test_hex_into(const char *hex, struct eml_room out)
{
    struct eml_buf b = eml_test_hex(hex);
    if (b.len != out.len)
        abort();
    if (b.len != 0)
        memcpy(out.ptr, b.ptr, b.len);
    eml_buf_free(&b);
}

void eml_test_assert_hex(struct eml_bytes got, const char *hex)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(2 * got.len + 1);
    assert_non_null(text);
    for (size_t i = 0; i < got.len; i++) {
        text[2 * i] = digits[got.ptr[i] >> 4];
        text[2 * i + 1] = digits[got.ptr[i] & 15];
    }
    text[2 * got.len] = '\0';
    bool same = strcmp(text, hex) == 0;
    if (!same)
        print_error("got      %s\nexpected %s\n", text, hex);
    free(text);
    assert_true(same);
}
