#include "testsupport/support.h"

#include "base/text.h"

#include <string.h>

static void hex_round_trips(void **state)
{
    (void)state;
    uint8_t bytes[256], back[256];
    char text[512];
    struct eml_buf appended = {0};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    eml_hex_put(EML_BYTES(bytes), text);
    assert_memory_equal(text, "000102", 6);
    assert_memory_equal(text + 506, "fdfeff", 6);
    assert_true(eml_hex_get(eml_bytes(text, sizeof text), EML_ROOM(back)));
    assert_memory_equal(bytes, back, sizeof bytes);
    eml_hex_append(EML_BYTES(bytes), &appended);
    assert_int_equal(appended.len, sizeof text);
    assert_memory_equal(appended.ptr, text, sizeof text);
    eml_buf_free(&appended);
}

static void hex_is_strict(void **state)
{
    (void)state;
    const char *const bad[] = {"",     "0",    "000",  "00000", "0g00", "00g0",
                               "000g", " 000", "0x00", "00 0",  "-000", "/000",
                               ":000", "@000", "G000", "`000",  "g000"};
    uint8_t out[2];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memset(out, 0xee, sizeof out);
        assert_false(eml_hex_get(eml_bytes_of_str(bad[i]), EML_ROOM(out)));
        assert_int_equal(out[0] | out[1], 0);
    }
    assert_true(eml_hex_get(EML_LIT("aBCd"), EML_ROOM(out)));
    assert_int_equal(out[0] << 8 | out[1], 0xabcd);
}

static void numbers_are_whole_and_in_range(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t min, max;
        bool good;
        uint64_t value;
    } row[] = {
        {"0", 0, 9, true, 0},
        {"7", 7, 7, true, 7},
        {"007", 0, 9, true, 7},
        {"18446744073709551615", 0, UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", 0, UINT64_MAX, false, 0},
        {"99999999999999999999", 0, UINT64_MAX, false, 0},
        {"6", 7, 9, false, 0},
        {"10", 7, 9, false, 0},
        {"", 0, 9, false, 0},
        {"-1", 0, UINT64_MAX, false, 0},
        {"+1", 0, 9, false, 0},
        {" 1", 0, 9, false, 0},
        {"1 ", 0, 9, false, 0},
        {"1a", 0, 99, false, 0},
        {"0x1", 0, 99, false, 0},
        {"1.0", 0, 99, false, 0},
        {"\xb1", 0, 99, false, 0},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        uint64_t v = 99;
        assert_int_equal(eml_u64_get(row[i].text, row[i].min, row[i].max, &v), row[i].good);
        assert_true(v == row[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_round_trips),
        cmocka_unit_test(hex_is_strict),
        cmocka_unit_test(numbers_are_whole_and_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
