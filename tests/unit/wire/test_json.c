// wrap: eml_heap_alloc eml_heap_free
#include "testsupport/support.h"

#include "wire/json.h"

#include <string.h>

/* --- memory that fails on command, and notices who writes behind its end --- */

enum { BLOCKS = 256, GUARD = 64 };
static struct {
    struct {
        uint8_t *p;
        size_t n;
    } block[BLOCKS];
    long left; /* allocations until one fails; negative: none does */
    bool all;  /* ... and all after it */
    bool hit;
    size_t live;
} heap = {.left = -1};

void *__real_eml_heap_alloc(size_t n);
void *__wrap_eml_heap_alloc(size_t n);
void __real_eml_heap_free(void *p);
void __wrap_eml_heap_free(void *p);

void *__wrap_eml_heap_alloc(size_t n)
{
    if (heap.left == 0) {
        heap.hit = true;
        heap.left = heap.all ? 0 : -1;
        return NULL;
    }
    heap.left -= heap.left > 0;
    size_t i = 0;
    while (i < BLOCKS && heap.block[i].p != NULL)
        i++;
    assert_true(i < BLOCKS);
    uint8_t *p = __real_eml_heap_alloc(n + GUARD);
    assert_non_null(p);
    memset(p + n, 0xa5, GUARD);
    heap.block[i].p = p;
    heap.block[i].n = n;
    heap.live++;
    return p;
}

void __wrap_eml_heap_free(void *p)
{
    size_t i = 0;
    if (p == NULL)
        return;
    while (i < BLOCKS && heap.block[i].p != p)
        i++;
    assert_true(i < BLOCKS);
    for (size_t k = 0; k < GUARD; k++)
        assert_int_equal(heap.block[i].p[heap.block[i].n + k], 0xa5);
    heap.block[i].p = NULL;
    heap.live--;
    __real_eml_heap_free(p);
}

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

/* Each allocation fails, alone and with all after it: the text is refused for that and nothing
 * else, nothing is left, and nothing was written where it does not belong. Behind it the same text
 * is read well. */
static void no_memory_is_no_value(void **state)
{
    (void)state;
    const struct eml_bytes text = EML_LIT(
        "{\"CiphertextBlob\":\"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi8w\","
        "\"Plaintext\":\"\\u00e4 \\\"quoted\\\" and long enough to grow a buffer more than once\","
        "\"list\":[1,-2.5e300,1234567890123456789,true,null,{\"name\":[[],{}]}]}");
    for (int all = 0; all < 2; all++) {
        long n = 0;
        for (;; n++) {
            json_t *v;
            struct eml_why why = {"", 0};
            heap.left = n;
            heap.all = all != 0;
            heap.hit = false;
            enum eml_err e = eml_json_parse(text, 1000, &v, &why);
            heap.left = -1;
            if (!heap.hit) {
                assert_int_equal(e, EML_OK);
                json_decref(v);
                assert_int_equal(heap.live, 0);
                break;
            }
            assert_int_equal(e, EML_E_SYSTEM);
            assert_string_equal(why.rule, "out of memory");
            assert_null(v);
            assert_int_equal(heap.live, 0);
        }
        assert_in_range(n, 30, 200);
    }
}

int main(void)
{
    eml_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_memory_is_no_value),   cmocka_unit_test(texts_name_their_rule),
        cmocka_unit_test(size_is_bounded),         cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(cut_anywhere_is_refused), cmocka_unit_test(prints_compact_and_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
