/* Operators on strings, called as the engine calls them: first for sizes, then for the elements. */
#include "engine/exec.h"
#include "model/strings.h"
#include "testsupport/support.h"

#include <math.h>
#include <string.h>

enum { MOST = 16 };

struct strings {
    uint8_t records[MOST][EML_STRING_BYTES];
    struct eml_view view;
};

static struct eml_view view_of(enum eml_dtype t, struct eml_shape shape, int64_t count, void *data)
{
    return (struct eml_view){.dtype = t, .shape = shape, .count = count, .data = data};
}

static struct eml_shape list(int64_t n)
{
    return (struct eml_shape){1, {n}};
}

/* Strings up to the first NULL, as a list. */
static void fill(struct strings *s, const char *const *text)
{
    int64_t n = 0;
    for (; text[n] != NULL; n++)
        assert_true(eml_string_put(s->records[n], eml_bytes_of_str(text[n])));
    s->view = view_of(EML_DT_STRING, list(n), n, s->records);
}
#define FILL(s, ...) fill(s, (const char *const[]){__VA_ARGS__, NULL})

static void assert_text(const struct eml_view *v, int64_t i, const char *want)
{
    struct eml_bytes got = eml_string_get((const uint8_t *)v->data + (size_t)i * EML_STRING_BYTES);
    if (!eml_bytes_equal(got, eml_bytes_of_str(want)))
        fail_msg("element %d: '%.*s', should be '%s'", (int)i, (int)got.len, got.ptr, want);
}

static void records_hold_what_fits(void **state)
{
    (void)state;
    uint8_t record[EML_STRING_BYTES], text[EML_STRING_BYTES];
    memset(text, 'a', sizeof text);
    assert_true(eml_string_put(record, eml_bytes(text, 255)));
    assert_int_equal(eml_string_get(record).len, 255);
    assert_false(eml_string_put(record, eml_bytes(text, 256)));
    assert_int_equal(eml_string_get(record).len, 0);
    for (size_t i = 0; i < sizeof record; i++)
        assert_int_equal(record[i], 0);
}

struct split {
    struct strings x, delimiter;
    uint8_t out[MOST * MOST * EML_STRING_BYTES];
    int64_t counts[MOST], maxsplit;
    struct eml_attr attr;
    struct eml_node node;
    struct eml_view in[2], y[2];
    struct eml_op_ctx c;
};

/* Splits t->x; returns the width. Without a delimiter if it is NULL. */
static int64_t split(struct split *t, const char *delimiter, int64_t maxsplit)
{
    struct eml_shape shape[2] = {{2, {t->x.view.count, EML_DIM_UNKNOWN}}, t->x.view.shape};
    t->maxsplit = maxsplit;
    t->attr = (struct eml_attr){.id = EML_ATTR_MAXSPLIT, .n = 1, .v = &t->maxsplit};
    t->node =
        (struct eml_node){.op = EML_OP_STRING_SPLIT, .n_attr = maxsplit >= 0, .attr = &t->attr};
    t->in[0] = t->x.view;
    if (delimiter != NULL)
        FILL(&t->delimiter, delimiter);
    t->in[1] = t->delimiter.view;
    t->c = (struct eml_op_ctx){
        .node = &t->node, .in = t->in, .out = t->y, .n_in = delimiter != NULL ? 2 : 1, .n_out = 2};
    assert_int_equal(eml_size_string_split(&t->c, shape), EML_OK);
    memset(t->out, 0xa5, sizeof t->out);
    t->y[0] = view_of(EML_DT_STRING, shape[0], shape[0].dim[0] * shape[0].dim[1], t->out);
    t->y[1] = view_of(EML_DT_I64, shape[1], t->x.view.count, t->counts);
    assert_int_equal(eml_op_string_split(&t->c), EML_OK);
    return shape[0].dim[1];
}

static void splits(void **state)
{
    (void)state;
    static struct split t;
    FILL(&t.x, "a--b-", "", "-", "c");
    assert_int_equal(split(&t, "-", -1), 4);
    assert_memory_equal(t.counts, ((int64_t[]){4, 1, 2, 1}), 32);
    static const char *const pieces[16] = {"a", "", "b", "", "",  "", "", "",
                                           "",  "", "",  "", "c", "", "", ""};
    for (int64_t i = 0; i < 16; i++)
        assert_text(&t.y[0], i, pieces[i]);

    FILL(&t.x, "a--b---c");
    assert_int_equal(split(&t, "--", -1), 3);
    assert_text(&t.y[0], 2, "-c");
    assert_int_equal(split(&t, "--", 1), 2);
    assert_text(&t.y[0], 1, "b---c");
    assert_int_equal(split(&t, "--", 0), 1);
    assert_text(&t.y[0], 0, "a--b---c");

    FILL(&t.x, " \ta \n b  c ", "   ");
    assert_int_equal(split(&t, NULL, -1), 3);
    assert_memory_equal(t.counts, ((int64_t[]){3, 0}), 16);
    assert_text(&t.y[0], 1, "b");
    assert_int_equal(split(&t, "", 1), 2);
    assert_text(&t.y[0], 1, "b  c ");
    assert_memory_equal(t.counts, ((int64_t[]){2, 0}), 16);
    FILL(&t.x, "  ");
    assert_int_equal(split(&t, NULL, -1), 0);
}

static enum eml_err normalise(const struct strings *x, const struct strings *words, int64_t how,
                              int64_t sensitive, struct strings *y)
{
    struct eml_attr attr[2] = {{.id = EML_ATTR_CASE_CHANGE_ACTION, .n = 1, .v = &how},
                               {.id = EML_ATTR_IS_CASE_SENSITIVE, .n = 1, .v = &sensitive}};
    struct eml_node node = {.op = EML_OP_STRING_NORMALIZER, .n_attr = 2, .attr = attr};
    struct eml_view in[2] = {x->view, words->view};
    struct eml_op_ctx c = {.node = &node, .in = in, .out = &y->view, .n_in = 2, .n_out = 1};
    struct eml_shape shape = {1, {EML_DIM_UNKNOWN}};
    assert_int_equal(eml_size_string_normalizer(&c, &shape), EML_OK);
    y->view = view_of(EML_DT_STRING, shape, shape.dim[0], y->records);
    return eml_op_string_normalizer(&c);
}

static void normalises(void **state)
{
    (void)state;
    static struct strings x, words, y;
    enum { NONE, LOWER, UPPER };
    FILL(&x, "Monday", "a", "Z[z");
    FILL(&words, "MONDAY", "b");
    assert_int_equal(normalise(&x, &words, UPPER, 0, &y), EML_OK);
    assert_int_equal(y.view.count, 2);
    assert_text(&y.view, 1, "Z[Z");
    assert_int_equal(normalise(&x, &words, LOWER, 1, &y), EML_OK);
    assert_int_equal(y.view.count, 3);
    assert_text(&y.view, 0, "monday");
    FILL(&x, "b", "b");
    assert_int_equal(normalise(&x, &words, NONE, 1, &y), EML_OK);
    assert_int_equal(y.view.count, 1);
    assert_text(&y.view, 0, "");
    FILL(&x, "\xc3\xa9");
    assert_int_equal(normalise(&x, &words, NONE, 1, &y), EML_OK);
    assert_text(&y.view, 0, "\xc3\xa9");
    assert_int_equal(normalise(&x, &words, UPPER, 1, &y), EML_E_UNSUPPORTED);
    assert_int_equal(normalise(&x, &words, NONE, 0, &y), EML_E_UNSUPPORTED);
}

static void concatenates_and_compares(void **state)
{
    (void)state;
    static struct strings a, b, y;
    uint8_t same[2];
    struct eml_node node = {.op = EML_OP_STRING_CONCAT};
    FILL(&a, "x", "");
    FILL(&b, "x");
    memset(&a.records[0][2], 0xff, 9); /* what a peer leaves behind the text does not count */
    struct eml_view in[2] = {a.view, b.view};
    struct eml_view bools = view_of(EML_DT_BOOL, a.view.shape, 2, same);
    struct eml_op_ctx c = {.node = &node, .in = in, .out = &bools, .n_in = 2, .n_out = 1};
    eml_strings_equal(&c);
    assert_memory_equal(same, ((uint8_t[]){1, 0}), 2);
    y.view = a.view;
    y.view.data = y.records;
    c.out = &y.view;
    assert_int_equal(eml_op_string_concat(&c), EML_OK);
    assert_text(&y.view, 0, "xx");
    assert_text(&y.view, 1, "x");
    b.records[0][0] = 255;
    assert_int_equal(eml_op_string_concat(&c), EML_E_INPUT);
}

static enum eml_err cast(const struct eml_view *x, struct eml_view *y)
{
    struct eml_node node = {.op = EML_OP_CAST};
    struct eml_op_ctx c = {.node = &node, .in = x, .out = y, .n_in = 1, .n_out = 1};
    y->shape = x->shape;
    y->count = x->count;
    return eml_op_cast(&c);
}

static void casts_numbers_to_text_and_back(void **state)
{
    (void)state;
    static struct strings text;
    struct eml_view y = {.dtype = EML_DT_STRING, .data = text.records};
    float f[5] = {0.1f, -1e-7f, -INFINITY, NAN, 16777216}, again[5];
    struct eml_view x = view_of(EML_DT_F32, list(5), 5, f);
    static const char *const want[5] = {"0.1", "-1e-07", "-INF", "NaN", "16777216"};
    assert_int_equal(cast(&x, &y), EML_OK);
    for (int i = 0; i < 5; i++)
        assert_text(&y, i, want[i]);
    struct eml_view back = {.dtype = EML_DT_F32, .data = again};
    assert_int_equal(cast(&y, &back), EML_OK);
    assert_memory_equal(again, f, 12);
    assert_true(isnan(again[3]));

    int64_t whole[2] = {INT64_MIN, ((int64_t)1 << 53) + 1}, same[2];
    x = view_of(EML_DT_I64, list(2), 2, whole);
    assert_int_equal(cast(&x, &y), EML_OK);
    assert_text(&y, 0, "-9223372036854775808");
    back = (struct eml_view){.dtype = EML_DT_I64, .data = same};
    assert_int_equal(cast(&y, &back), EML_OK);
    assert_memory_equal(same, whole, 16);

    uint16_t half = 0x2e66; /* the float16 nearest to 0.1 */
    x = view_of(EML_DT_F16, list(1), 1, &half);
    assert_int_equal(cast(&x, &y), EML_OK);
    assert_text(&y, 0, "0.1");

    static const char *const bad[] = {"", "1x", "x", "1 ", "--1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        FILL(&text, bad[i]);
        assert_int_equal(cast(&text.view, &back), EML_E_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_hold_what_fits),
        cmocka_unit_test(splits),
        cmocka_unit_test(normalises),
        cmocka_unit_test(concatenates_and_compares),
        cmocka_unit_test(casts_numbers_to_text_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
