#include "testsupport/support.h"

#include "wire/base64.h"

#include <string.h>

static const struct {
    const char *bytes, *text;
} rfc4648[] = {
    /* section 10 */
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void rfc_vectors_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rfc4648 / sizeof rfc4648[0]; i++) {
        struct eml_buf text = {0}, bytes = {0};
        eml_base64_encode(eml_bytes_of_str(rfc4648[i].bytes), &text);
        assert_true(eml_bytes_equal(eml_buf_bytes(&text), eml_bytes_of_str(rfc4648[i].text)));
        assert_int_equal(eml_base64_decode(eml_buf_bytes(&text), &bytes), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&bytes), eml_bytes_of_str(rfc4648[i].bytes)));
        eml_buf_free(&text);
        eml_buf_free(&bytes);
    }
}

static const char *const bad[] = {
    "Z",      "Zg",   "Zg=",                 /* padding missing */
    "Zg===",  "====", "Z===",                /* too much of it */
    "Zm=v",   "=m9v", "Zg==Zg==",            /* not at the end */
    "Zh==",   "Zm9=", "Z/==",     "Zm/=",    /* unused bits set */
    "Zm9v\n", "Zm 9", " Zm9",     "Zm9v ",   /* white space */
    "Zm9-",   "Zm9_", "Zm9.",     "Zm9\xc3", /* other alphabets */
};

static void anything_else_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_buf bytes = {0};
        eml_buf_put(&bytes, EML_LIT("kept"));
        assert_int_equal(eml_base64_decode(eml_bytes_of_str(bad[i]), &bytes), EML_E_INPUT);
        assert_true(eml_bytes_equal(eml_buf_bytes(&bytes), EML_LIT("kept")));
        eml_buf_free(&bytes);
    }
}

/* Every text of four characters of a small alphabet: it decodes iff it encodes back to itself. */
static void decoding_is_canonical(void **state)
{
    (void)state;
    static const char some[] = "AQgwBZ+/=9-\n";
    size_t n = sizeof some - 1, accepted = 0;
    for (size_t i = 0; i < n * n * n * n; i++) {
        uint8_t t[4] = {(uint8_t)some[i % n], (uint8_t)some[i / n % n],
                        (uint8_t)some[i / n / n % n], (uint8_t)some[i / n / n / n]};
        struct eml_buf bytes = {0}, again = {0};
        if (eml_base64_decode(EML_BYTES(t), &bytes) == EML_OK) {
            eml_base64_encode(eml_buf_bytes(&bytes), &again);
            assert_true(eml_bytes_equal(eml_buf_bytes(&again), EML_BYTES(t)));
            accepted++;
        }
        eml_buf_free(&bytes);
        eml_buf_free(&again);
    }
    assert_true(accepted > 6000);
}

static void random_bytes_round_trip(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("base64");
    for (size_t n = 0; n < 300; n++) {
        uint8_t in[300];
        struct eml_buf text = {0}, bytes = {0};
        eml_gen_fill(&g, in, n);
        eml_base64_encode(eml_bytes(in, n), &text);
        assert_int_equal(text.len, (n + 2) / 3 * 4);
        assert_int_equal(eml_base64_decode(eml_buf_bytes(&text), &bytes), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&bytes), eml_bytes(in, n)));
        eml_buf_free(&text);
        eml_buf_free(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_vectors_both_ways),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(decoding_is_canonical),
        cmocka_unit_test(random_bytes_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
