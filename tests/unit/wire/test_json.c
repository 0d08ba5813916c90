#include "testsupport/support.h"

#include "wire/json.h"

#include <string.h>

static const struct {
    const char *text, *rule; /* rule NULL: fine */
} cases[] = {
    {"{}", NULL},
    {" {\"a\":[1,2,{\"b\":null}]} ", NULL},
    {"{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"}", NULL}, /* brackets in a string have no depth */
    {"{\"a\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}", NULL},  /* 16 deep */
    {"{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", "json: nested too deeply"},
    {"", "json: ends too early"},
    {"{", "json: ends too early"},
    {"{\"a\":1", "json: ends too early"},
    {"[]", "json: not an object"},
    {"1", "json: syntax"},
    {"{} {}", "json: bytes after the value"},
    {"{}x", "json: bytes after the value"},
    {"{\"a\":1,\"a\":2}", "json: a member name appears twice"},
    {"{\"a\":1,\"\\u0061\":2}", "json: a member name appears twice"},
    {"{\"a\":1,}", "json: syntax"},
    {"{'a':1}", "json: syntax"},
    {"{\"a\":01}", "json: syntax"},
    {"{\"a\":\"\\u0000\"}", "json: NUL in a string"},
    {"{\"a\":\"\xff\"}", "json: not UTF-8"},
    {"{\"a\":\"\xc0\x80\"}", "json: not UTF-8"},
    {"{\"a\":99999999999999999999}", "json: number out of range"},
    {"{\"a\":\"\n\"}", "json: syntax"},
    {"{\"a\":NaN}", "json: syntax"},
    {"\xef\xbb\xbf{}", "json: syntax"},
};

static void texts_name_their_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *v = NULL;
        struct eml_why why = {"", 0};
        enum eml_err e = eml_json_parse(eml_bytes_of_str(cases[i].text), 1000, &v, &why);
        if (cases[i].rule == NULL) {
            assert_int_equal(e, EML_OK);
            assert_non_null(v);
        } else {
            assert_int_equal(e, EML_E_INPUT);
            assert_null(v);
            assert_string_equal(why.rule, cases[i].rule);
        }
        json_decref(v);
    }
}

static void size_is_bounded(void **state)
{
    (void)state;
    json_t *v;
    struct eml_why why;
    assert_int_equal(eml_json_parse(EML_LIT("{}   "), 5, &v, &why), EML_OK);
    json_decref(v);
    assert_int_equal(eml_json_parse(EML_LIT("{}    "), 5, &v, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "json: too long");
}

/* Depth bombs of every kind of bracket must not reach the recursive parser. */
static void bombs_are_refused(void **state)
{
    (void)state;
    static char bomb[100000];
    json_t *v;
    struct eml_why why;
    memset(bomb, '[', sizeof bomb);
    assert_int_equal(eml_json_parse(eml_bytes(bomb, sizeof bomb), sizeof bomb, &v, &why),
                     EML_E_INPUT);
    assert_int_equal(why.index, EML_JSON_DEPTH_MAX);
    for (size_t i = 0; i + 5 <= sizeof bomb; i += 5)
        memcpy(bomb + i, "{\"a\":", 5);
    assert_int_equal(eml_json_parse(eml_bytes(bomb, sizeof bomb), sizeof bomb, &v, &why),
                     EML_E_INPUT);
    assert_string_equal(why.rule, "json: nested too deeply");
}

static void cut_anywhere_is_refused(void **state)
{
    (void)state;
    static const char text[] = "{\"Name\":\"v\\u00e4lue\",\"n\":[1,-2.5e3,true,null]}";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        json_t *v;
        assert_int_equal(eml_json_parse(eml_bytes(text, n), 1000, &v, NULL), EML_E_INPUT);
        assert_null(v);
    }
}

static void prints_compact_and_sorted(void **state)
{
    (void)state;
    json_t *v;
    struct eml_buf out = {0};
    assert_int_equal(eml_json_parse(EML_LIT("{ \"b\": [1, 2], \"a\": \"x\" }"), 100, &v, NULL),
                     EML_OK);
    assert_true(eml_bytes_equal(eml_json_text(v, "a"), EML_LIT("x")));
    assert_null(eml_json_text(v, "b").ptr);
    assert_null(eml_json_text(v, "c").ptr);
    assert_int_equal(eml_json_print(v, &out), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&out), EML_LIT("{\"a\":\"x\",\"b\":[1,2]}")));
    eml_buf_free(&out);
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_name_their_rule),     cmocka_unit_test(size_is_bounded),
        cmocka_unit_test(bombs_are_refused),         cmocka_unit_test(cut_anywhere_is_refused),
        cmocka_unit_test(prints_compact_and_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
