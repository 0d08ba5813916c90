#include "testsupport/support.h"

#include "wire/cbor.h"

#include <string.h>

static struct eml_cur cursor(const struct eml_buf *b)
{
    return eml_cur(eml_buf_bytes(b));
}

/* RFC 8949 appendix A: what this reader takes, encoded again to the same bytes. */
static void integers_of_the_rfc(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        uint64_t value;
    } unsigneds[] = {
        {"00", 0},
        {"01", 1},
        {"0a", 10},
        {"17", 23},
        {"1818", 24},
        {"1819", 25},
        {"1864", 100},
        {"1903e8", 1000},
        {"1a000f4240", 1000000},
        {"1b000000e8d4a51000", 1000000000000},
        {"1bffffffffffffffff", UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof unsigneds / sizeof unsigneds[0]; i++) {
        struct eml_buf in = eml_test_hex(unsigneds[i].hex), out = {0};
        struct eml_cur c = cursor(&in);
        assert_int_equal(eml_cbor_peek(&c), EML_CBOR_UINT);
        assert_int_equal(eml_cbor_uint(&c), unsigneds[i].value);
        assert_true(eml_cur_done(&c));
        eml_cbor_put_uint(&out, unsigneds[i].value);
        assert_true(eml_bytes_equal(eml_buf_bytes(&in), eml_buf_bytes(&out)));
        eml_buf_free(&in);
        eml_buf_free(&out);
    }
    static const struct {
        const char *hex;
        int64_t value;
    } signeds[] = {
        {"20", -1},     {"29", -10},
        {"37", -24},    {"3818", -25},
        {"3863", -100}, {"3903e7", -1000},
        {"01", 1},      {"1b7fffffffffffffff", INT64_MAX},
        {"3822", -35},  {"3b7fffffffffffffff", INT64_MIN},
    };
    for (size_t i = 0; i < sizeof signeds / sizeof signeds[0]; i++) {
        struct eml_buf in = eml_test_hex(signeds[i].hex), out = {0};
        struct eml_cur c = cursor(&in);
        assert_int_equal(eml_cbor_int(&c), signeds[i].value);
        assert_true(eml_cur_done(&c));
        eml_cbor_put_int(&out, signeds[i].value);
        assert_true(eml_bytes_equal(eml_buf_bytes(&in), eml_buf_bytes(&out)));
        eml_buf_free(&in);
        eml_buf_free(&out);
    }
}

static void integers_beyond_int64_are_refused(void **state)
{
    (void)state;
    static const char *const hex[] = {"1b8000000000000000", "1bffffffffffffffff",
                                      "3b8000000000000000", "3bffffffffffffffff"};
    for (size_t i = 0; i < sizeof hex / sizeof hex[0]; i++) {
        struct eml_buf in = eml_test_hex(hex[i]);
        struct eml_cur c = cursor(&in);
        assert_int_equal(eml_cbor_int(&c), 0);
        assert_false(eml_cur_ok(&c));
        eml_buf_free(&in);
    }
}

static void strings_of_the_rfc(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *value;
        bool text;
    } cases[] = {
        {"40", "", false},
        {"4401020304", "\1\2\3\4", false},
        {"60", "", true},
        {"6161", "a", true},
        {"6449455446", "IETF", true},
        {"62225c", "\"\\", true},
        {"62c3bc", "\xc3\xbc", true},
        {"63e6b0b4", "\xe6\xb0\xb4", true},
        {"64f0908591", "\xf0\x90\x85\x91", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_buf in = eml_test_hex(cases[i].hex), out = {0};
        struct eml_cur c = cursor(&in);
        struct eml_bytes v = cases[i].text ? eml_cbor_text(&c, 100) : eml_cbor_bytes(&c, 100);
        assert_true(eml_cur_done(&c));
        assert_non_null(v.ptr); /* an empty string is not an absent one */
        assert_true(eml_bytes_equal(v, eml_bytes_of_str(cases[i].value)));
        if (cases[i].text)
            eml_cbor_put_text(&out, v);
        else
            eml_cbor_put_bytes(&out, v);
        assert_true(eml_bytes_equal(eml_buf_bytes(&in), eml_buf_bytes(&out)));
        c = cursor(&in);
        if (v.len > 0) {
            v = cases[i].text ? eml_cbor_text(&c, v.len - 1) : eml_cbor_bytes(&c, v.len - 1);
            assert_false(eml_cur_ok(&c));
            assert_null(v.ptr);
        }
        eml_buf_free(&in);
        eml_buf_free(&out);
    }
}

static void simple_values_and_tags(void **state)
{
    (void)state;
    struct eml_buf in = eml_test_hex("f4f5f6c1d818c0"), out = {0};
    struct eml_cur c = cursor(&in);
    assert_false(eml_cbor_bool(&c));
    assert_true(eml_cbor_bool(&c));
    assert_int_equal(eml_cbor_peek(&c), EML_CBOR_NULL);
    eml_cbor_null(&c);
    assert_int_equal(eml_cbor_tag(&c), 1);
    assert_int_equal(eml_cbor_tag(&c), 24);
    assert_int_equal(eml_cbor_tag(&c), 0);
    assert_true(eml_cur_done(&c));
    assert_int_equal(eml_cbor_peek(&c), EML_CBOR_END);
    eml_cbor_put_bool(&out, false);
    eml_cbor_put_bool(&out, true);
    eml_cbor_put_null(&out);
    eml_cbor_put_tag(&out, 1);
    eml_cbor_put_tag(&out, 24);
    eml_cbor_put_tag(&out, 0);
    assert_true(eml_bytes_equal(eml_buf_bytes(&in), eml_buf_bytes(&out)));
    eml_buf_free(&in);
    eml_buf_free(&out);
}

static void every_tag(void **state)
{
    (void)state;
    static const uint64_t edges[] = {24,    255,        256,        65535,
                                     65536, UINT32_MAX, 4294967296, UINT64_MAX};
    for (uint64_t i = 0; i < 24 + sizeof edges / sizeof edges[0]; i++) {
        uint64_t tag = i < 24 ? i : edges[i - 24];
        struct eml_buf b = {0};
        eml_cbor_put_tag(&b, tag);
        eml_cbor_put_null(&b);
        struct eml_cur c = cursor(&b);
        assert_int_equal(eml_cbor_peek(&c), EML_CBOR_TAG);
        assert_int_equal(eml_cbor_tag(&c), tag);
        eml_cbor_null(&c);
        assert_true(eml_cur_done(&c));
        c = cursor(&b);
        assert_int_equal(eml_cbor_skip(&c, 1).len, b.len);
        for (size_t n = 0; n + 1 < b.len; n++) { /* the header cut */
            c = eml_cur(eml_bytes(b.ptr, n));
            assert_int_equal(eml_cbor_tag(&c), 0);
            assert_false(eml_cur_ok(&c));
        }
        eml_buf_free(&b);
    }
}

/* Appendix A in whole, as far as this reader takes it: skip finds exactly one item. */
static void skip_takes_the_items_of_the_rfc(void **state)
{
    (void)state;
    static const char *const hex[] = {
        "00",
        "1bffffffffffffffff",
        "c249010000000000000000",
        "3bffffffffffffffff",
        "f90000",
        "fb3ff199999999999a",
        "fa47c35000",
        "f97e00",
        "f4",
        "f5",
        "f6",
        "f7",
        "c074323031332d30332d32315432303a30343a30305a",
        "c11a514b67b0",
        "d74401020304",
        "d818456449455446",
        "d82076687474703a2f2f7777772e6578616d706c652e636f6d",
        "40",
        "64f0908591",
        "80",
        "83010203",
        "8301820203820405",
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
        "a0",
        "a201020304",
        "a26161016162820203",
        "826161a161626163",
        "a56161614161626142616361436164614461656145",
        "9fff",
        "9f018202039f0405ffff",
        "9f01820203820405ff",
        "83018202039f0405ff",
        "83019f0203ff820405",
        "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff",
        "bf61610161629f0203ffff",
        "826161bf61626163ff",
        "bf6346756ef563416d7421ff",
    };
    for (size_t i = 0; i < sizeof hex / sizeof hex[0]; i++) {
        struct eml_buf in = eml_test_hex(hex[i]);
        struct eml_cur c = cursor(&in);
        struct eml_bytes item = eml_cbor_skip(&c, 4);
        assert_true(eml_cur_done(&c));
        assert_true(eml_bytes_equal(item, eml_buf_bytes(&in)));
        for (size_t n = 0; n < in.len; n++) { /* no prefix is an item */
            c = eml_cur(eml_bytes(in.ptr, n));
            assert_null(eml_cbor_skip(&c, 4).ptr);
            assert_false(eml_cur_ok(&c));
        }
        eml_buf_free(&in);
    }
}

static void bad_items_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *reason;
    } bad[] = {
        {"", "nothing"},
        {"1800", "one-byte argument below 24"},
        {"1817", "one-byte argument below 24"},
        {"1900ff", "two-byte argument below 256"},
        {"1a0000ffff", "four-byte argument below 65536"},
        {"1b00000000ffffffff", "eight-byte argument below 2^32"},
        {"3800", "negative, not minimal"},
        {"5800", "byte string length not minimal"},
        {"580141", "byte string length not minimal"},
        {"7800", "text length not minimal"},
        {"9800", "array count not minimal"},
        {"b800", "map count not minimal"},
        {"d80141", "tag not minimal"},
        {"d9001200", "tag 18 in two bytes"},
        {"dc00", "reserved additional information of a tag"},
        {"5f4101ff", "chunked byte string"},
        {"7f6161ff", "chunked text"},
        {"1c", "reserved additional information 28"},
        {"1d", "reserved additional information 29"},
        {"1e", "reserved additional information 30"},
        {"1f", "indefinite integer"},
        {"3f", "indefinite negative integer"},
        {"df00", "indefinite tag"},
        {"f0", "unassigned simple value 16"},
        {"f8ff", "unassigned simple value 255"},
        {"f814", "false in two bytes"},
        {"ff", "break outside of a container"},
        {"8101ff00", "break after a complete array"},
        {"81ff", "break inside a definite array"},
        {"a1ff", "break inside a definite map"},
        {"bf01ff", "break between a key and its value"},
        {"5bffffffffffffffff", "length of 2^64 - 1"},
        {"7bffffffffffffffff", "text length of 2^64 - 1"},
        {"9bffffffffffffffff00", "count of 2^64 - 1"},
        {"bbffffffffffffffff0000", "pair count of 2^64 - 1"},
        {"bb80000000000000000000", "pair count of 2^63"},
        {"830102", "array that announces more than there is"},
        {"a20102", "map that announces more than there is"},
        {"c1", "tag without content"},
        {"61c3", "cut UTF-8"},
        {"62c080", "overlong UTF-8"},
        {"63eda080", "UTF-8 surrogate"},
        {"64f4908080", "UTF-8 above 10FFFF"},
        {"61ff", "no UTF-8 byte"},
        {"6180", "UTF-8 continuation first"},
        {"818181818100", "nesting of five"},
        {"c1c1c1c1c100", "five tags"},
        {"9f9f9f9f9fffffffffff", "nesting of five, indefinite"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_buf in = eml_test_hex(bad[i].hex);
        struct eml_cur c = cursor(&in);
        struct eml_bytes item = eml_cbor_skip(&c, 4);
        if (eml_cur_done(&c))
            fail_msg("accepted: %s", bad[i].reason);
        if (!eml_cur_ok(&c))
            assert_null(item.ptr);
        eml_buf_free(&in);
    }
}

/* Every typed call on every first byte: it takes its own type only, and fails on all others. */
static void calls_take_their_own_type_only(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        uint8_t in[300] = {(uint8_t)first, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
        for (int call = 0; call < 9; call++) {
            struct eml_cur c = eml_cur(EML_BYTES(in));
            enum eml_cbor_type type = eml_cbor_peek(&c), wanted = EML_CBOR_END;
            switch (call) {
            case 0:
                wanted = EML_CBOR_UINT;
                (void)eml_cbor_uint(&c);
                break;
            case 1:
                wanted = EML_CBOR_BOOL;
                (void)eml_cbor_bool(&c);
                break;
            case 2:
                wanted = EML_CBOR_NULL;
                eml_cbor_null(&c);
                break;
            case 3:
                wanted = EML_CBOR_TAG;
                (void)eml_cbor_tag(&c);
                break;
            case 4:
                wanted = EML_CBOR_BYTES;
                (void)eml_cbor_bytes(&c, SIZE_MAX);
                break;
            case 5: /* the 0xff bytes are no UTF-8, so only the empty text passes */
                wanted = first == 0x60 ? EML_CBOR_TEXT : EML_CBOR_END;
                (void)eml_cbor_text(&c, SIZE_MAX);
                break;
            case 6: /* huge counts fail by the bytes left */
                wanted = first >= 0x80 && first < 0x98 ? EML_CBOR_ARRAY : EML_CBOR_END;
                if (first == 0x98)
                    wanted = EML_CBOR_ARRAY;
                (void)eml_cbor_array(&c, SIZE_MAX);
                break;
            case 7:
                wanted = first >= 0xa0 && first < 0xb8 ? EML_CBOR_MAP : EML_CBOR_END;
                (void)eml_cbor_map(&c, SIZE_MAX);
                break;
            default: /* any int: the eight-byte ones here are outside of int64 */
                wanted = first != 0x1b && first != 0x3b &&
                                 (type == EML_CBOR_UINT || type == EML_CBOR_NINT)
                             ? type
                             : EML_CBOR_END;
                (void)eml_cbor_int(&c);
            }
            assert_int_equal(eml_cur_ok(&c), wanted != EML_CBOR_END && type == wanted);
            assert_int_equal(eml_cbor_peek(&c) == EML_CBOR_END && !eml_cur_ok(&c), !eml_cur_ok(&c));
        }
    }
}

static void counts_are_bounded(void **state)
{
    (void)state;
    struct eml_buf in = eml_test_hex("83010203");
    struct eml_cur c = cursor(&in);
    assert_int_equal(eml_cbor_array(&c, 3), 3);
    c = cursor(&in);
    assert_int_equal(eml_cbor_array(&c, 2), 0);
    assert_false(eml_cur_ok(&c));
    eml_buf_free(&in);

    in = eml_test_hex("9a00ffffff00"); /* allowed by the caller, but there are no such bytes */
    c = cursor(&in);
    assert_int_equal(eml_cbor_array(&c, SIZE_MAX), 0);
    assert_false(eml_cur_ok(&c));
    eml_buf_free(&in);

    in = eml_test_hex("9f0102ff");
    c = cursor(&in);
    assert_int_equal(eml_cbor_array(&c, 9), 0); /* definite only */
    assert_false(eml_cur_ok(&c));
    eml_buf_free(&in);
}

/* Sums the array's elements through eml_cbor_more; -1 if the reader failed or bytes are left. */
static int64_t sum(const char *hex, size_t max)
{
    struct eml_buf in = eml_test_hex(hex);
    struct eml_cur c = cursor(&in);
    int64_t total = 0;
    size_t left = eml_cbor_array_any(&c, max);
    while (eml_cbor_more(&c, &left))
        total += eml_cbor_int(&c);
    bool done = eml_cur_done(&c);
    eml_buf_free(&in);
    return done ? total : -1;
}

static void either_kind_of_container(void **state)
{
    (void)state;
    assert_int_equal(sum("83010203", 3), 6);
    assert_int_equal(sum("9f010203ff", 3), 6);
    assert_int_equal(sum("80", 0), 0);
    assert_int_equal(sum("9fff", 0), 0);
    assert_int_equal(sum("83010203", 2), -1);
    assert_int_equal(sum("9f010203ff", 2), -1);
    assert_int_equal(sum("9f010203", 9), -1); /* no break */
    assert_int_equal(sum("83010203ff", 9), -1);
    assert_int_equal(sum("9f01f6ff", 9), -1);
    assert_int_equal(sum("a10102", 9), -1);

    struct eml_buf in = eml_test_hex("bf01020304ff");
    struct eml_cur c = cursor(&in);
    uint64_t keys = 0, values = 0;
    size_t left = eml_cbor_map_any(&c, 2);
    while (eml_cbor_more(&c, &left)) {
        keys = keys * 10 + eml_cbor_uint(&c);
        values = values * 10 + eml_cbor_uint(&c);
    }
    assert_true(eml_cur_done(&c));
    assert_int_equal(keys, 13);
    assert_int_equal(values, 24);
    eml_buf_free(&in);
}

static void random_trees_round_trip(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("cbor trees");
    for (int run = 0; run < 300; run++) {
        struct eml_buf b = {0};
        uint64_t wanted = 1; /* items still to be written */
        while (wanted > 0 && b.len < 4000) {
            uint64_t v = eml_gen_u64(&g) >> eml_gen_range(&g, 0, 63);
            uint8_t raw[64] = {0};
            wanted--;
            switch (eml_gen_range(&g, 0, 6)) {
            case 0:
                eml_cbor_put_uint(&b, v);
                break;
            case 1:
                eml_cbor_put_int(&b, -1 - (int64_t)(v >> 1));
                break;
            case 2:
                eml_cbor_put_bytes(&b, eml_bytes(raw, (size_t)(v % sizeof raw)));
                break;
            case 3:
                eml_cbor_put_text(&b, eml_bytes(raw, (size_t)(v % sizeof raw)));
                break;
            case 4:
                eml_cbor_put_array(&b, v % 30);
                wanted += v % 30;
                break;
            case 5:
                eml_cbor_put_map(&b, v % 15);
                wanted += 2 * (v % 15);
                break;
            default:
                eml_cbor_put_bool(&b, (v & 1) != 0);
            }
        }
        for (; wanted > 0; wanted--)
            eml_cbor_put_null(&b);
        struct eml_cur c = cursor(&b);
        struct eml_bytes item = eml_cbor_skip(&c, EML_CBOR_DEPTH_MAX);
        if (eml_cur_ok(&c)) { /* deeper trees are refused */
            assert_true(eml_cur_done(&c));
            assert_int_equal(item.len, b.len);
        } else {
            assert_null(item.ptr);
        }
        eml_buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_the_rfc),
        cmocka_unit_test(integers_beyond_int64_are_refused),
        cmocka_unit_test(strings_of_the_rfc),
        cmocka_unit_test(simple_values_and_tags),
        cmocka_unit_test(every_tag),
        cmocka_unit_test(skip_takes_the_items_of_the_rfc),
        cmocka_unit_test(bad_items_are_refused),
        cmocka_unit_test(calls_take_their_own_type_only),
        cmocka_unit_test(counts_are_bounded),
        cmocka_unit_test(either_kind_of_container),
        cmocka_unit_test(random_trees_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
