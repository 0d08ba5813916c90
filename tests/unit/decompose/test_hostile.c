/* Models made to hurt: each is refused at its node, or where it is read, before anything large is
 * taken. */
#include "decompose/decompose.h"

#include "model/limits.h"
#include "testsupport/pb.h"
#include "testsupport/support.h"

#include <stdio.h>
#include <string.h>

#define NAMES(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define HUGE_INT ((int64_t)1 << 62)

/* One node on x, float32 [2, 3, 4, 5], and up to three lists of integers. */
struct row {
    const char *op;
    struct {
        uint32_t n;
        int64_t v[8];
    } list[3];
    uint32_t n_lists;
    struct {
        const char *name;
        uint32_t n; /* 0: one integer, not a list */
        int64_t v[8];
    } attr[3];
    const char *rule;
};

#define LISTS1(...) .n_lists = 1, .list = {{sizeof((int64_t[]){__VA_ARGS__}) / 8, {__VA_ARGS__}}}
#define INTEGER(name, v) .attr = {{name, 0, {v}}}
#define INTEGERS(name, ...) .attr = {{name, sizeof((int64_t[]){__VA_ARGS__}) / 8, {__VA_ARGS__}}}

/* clang-format off */
static const struct row ROWS[] = {
    {"Expand", LISTS1(HUGE_INT, HUGE_INT, 2, 3, 4, 5), .rule = "tensor above the size limit"},
    {"Expand", LISTS1(1 << 30, 2, 3, 4, 5), .rule = "tensor above the size limit"},
    {"Expand", LISTS1(-2, 2, 3, 4, 5), .rule = "negative dimension"},
    {"Tile", LISTS1(HUGE_INT, 4, 4, 4), .rule = "tensor above the size limit"},
    {"Tile", LISTS1(1, 1, 1, -1), .rule = "negative dimension"},
    {"Reshape", LISTS1(HUGE_INT, 4, 0, 0), .rule = "tensor above the size limit"},
    {"Reshape", LISTS1(-1, -1), .rule = "Reshape"},
    {"Reshape", LISTS1(1, 1, 1, 1, 1, 1, 1, 120), .attr = {{"allowzero", 0, {0}}}, .rule = NULL},
    {"Pad", LISTS1(INT64_MAX, 0, 0, 0, INT64_MAX, 0, 0, 0), .rule = "Pad"},
    {"Pad", LISTS1(-INT64_MAX, 0, 0, 0, -INT64_MAX, 0, 0, 0), .rule = "Pad"},
    {"Unsqueeze", LISTS1(0, 1, 2, 3, 4), .rule = "rank above the limit"},
    {"Unsqueeze", LISTS1(INT64_MIN), .rule = "-2^63"},
    {"Squeeze", LISTS1(INT64_MAX), .rule = "axis"},
    {"ReduceSum", LISTS1(INT64_MAX), .rule = "axis"},
    {"Split", LISTS1(INT64_MAX, INT64_MAX), .rule = "Split"},
    {"Split", LISTS1(-1, 3), .rule = "Split"},
    {"TopK", LISTS1(HUGE_INT), .rule = "TopK"},
    {"Transpose", INTEGERS("perm", 0, 0, 1, 2), .rule = "axis named twice"},
    {"Transpose", INTEGERS("perm", 0, 1, 2, INT64_MAX), .rule = "axis out of range"},
    {"Softmax", INTEGER("axis", INT64_MIN), .rule = "axis"},
    {"Flatten", INTEGER("axis", INT64_MAX), .rule = "axis"},
    {"Concat", INTEGER("axis", INT64_MIN), .rule = "axis"},
    {"MaxPool", INTEGERS("kernel_shape", HUGE_INT, 1), .rule = "window"},
    {"MaxPool", INTEGERS("kernel_shape", 0, 1), .rule = "window"},
    {"MaxPool", INTEGERS("kernel_shape", -1, 1), .rule = "window"},
    {"MaxPool", .attr = {{"kernel_shape", 2, {1, 1}}, {"strides", 2, {0, 1}}}, .rule = "window"},
    {"MaxPool", .attr = {{"kernel_shape", 2, {1, 1}}, {"strides", 2, {-1, 1}}}, .rule = "window"},
    {"MaxPool", .attr = {{"kernel_shape", 2, {2, 1}}, {"dilations", 2, {INT64_MAX, 1}}}, .rule = "window"},
    {"MaxPool", .attr = {{"kernel_shape", 2, {1, 1}}, {"pads", 4, {INT64_MAX, 0, INT64_MAX, 0}}}, .rule = "window"},
    {"MaxPool", .attr = {{"kernel_shape", 2, {1, 1}}, {"pads", 4, {INT64_MIN, 0, 0, 0}}}, .rule = "window"},
    {"SpaceToDepth", INTEGER("blocksize", INT64_MAX), .rule = "blocksize"},
    {"DepthToSpace", INTEGER("blocksize", -1), .rule = "blocksize"},
    {"LRN", INTEGER("size", -1), .rule = "LRN"},
    {"GroupNormalization", INTEGER("num_groups", 0), .rule = "takes 3 to 3 inputs"},
    {"Shape", INTEGER("start", INT64_MIN), .rule = NULL}, /* clamped */
    {"Cast", INTEGER("to", INT64_MAX), .rule = "cast to unknown"},
    {"Gelu", INTEGER("approximate", 1), .rule = "has the wrong type"},
};
/* clang-format on */

static struct eml_onnx_model *model_of(const struct row *r)
{
    static const char *const names[] = {"k0", "k1", "k2"};
    struct eml_buf g = {0}, attrs = {0}, file = {0};
    struct eml_onnx_model *m;
    const char *in[5] = {"x", NULL};
    eml_pb_value(&g, 11, "x", EML_DT_F32, (int64_t[]){2, 3, 4, 5}, 4);
    eml_pb_value(&g, 12, "y", EML_DT_F32, NULL, 0);
    for (uint32_t i = 0; i < r->n_lists; i++) {
        eml_pb_tensor(&g, 5, names[i], EML_DT_I64, (int64_t[]){r->list[i].n}, 1,
                      eml_bytes(r->list[i].v, r->list[i].n * sizeof(int64_t)));
        in[i + 1] = names[i];
    }
    for (size_t i = 0; i < 3 && r->attr[i].name != NULL; i++)
        if (r->attr[i].n == 0)
            eml_pb_attr_int(&attrs, r->attr[i].name, r->attr[i].v[0]);
        else
            eml_pb_attr_ints(&attrs, r->attr[i].name, r->attr[i].v, r->attr[i].n);
    eml_pb_node(&g, "", r->op, in, NAMES("y"), &attrs);
    eml_pb_model(&file, 8, &g, 20);
    assert_int_equal(eml_onnx_parse(eml_buf_bytes(&file), NULL, &m, NULL), EML_OK);
    eml_buf_free(&file);
    return m;
}

static void absurd_numbers_are_refused_at_their_node(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct eml_onnx_model *m = model_of(&ROWS[i]);
        struct eml_check_report report = {0};
        assert_int_equal(eml_decompose_check(m, &report), EML_OK);
        bool refused = report.n == 1 && report.list[0].node == 0;
        if (ROWS[i].rule == NULL ? report.n != 0
                                 : !refused || strstr(report.list[0].reason, ROWS[i].rule) == NULL)
            fail_msg("row %zu, %s: expected \"%s\", got \"%s\"\n", i, ROWS[i].op,
                     ROWS[i].rule != NULL ? ROWS[i].rule : "nothing",
                     report.n != 0 ? report.list[0].reason : "nothing");
        eml_check_free(&report);
        eml_onnx_free(m);
    }
}

/* ---- functions ---- */

/* Function f<i> is `calls` (1 or 2) calls of f<i-1>, f0 of `bottom`. */
static void put_function(struct eml_buf *model, uint32_t i, int calls, const char *bottom)
{
    struct eml_buf f = {0}, set = {0}, own = {0};
    char name[16], below[16];
    (void)snprintf(name, sizeof name, "f%u", i);
    (void)snprintf(below, sizeof below, "f%u", i - 1);
    const char *call = i == 0 ? bottom : below;
    eml_pb_str(&f, 1, name);
    eml_pb_str(&f, 4, "a");
    eml_pb_str(&f, 5, "c");
    for (int k = 0; k < calls; k++) {
        struct eml_buf node = {0};
        eml_pb_str(&node, 1, k == 0 ? "a" : "b");
        eml_pb_str(&node, 2, k == calls - 1 ? "c" : "b");
        eml_pb_str(&node, 4, call);
        if (i != 0 || strcmp(bottom, "Neg") != 0)
            eml_pb_str(&node, 7, "own");
        eml_pb_msg(&f, 7, &node);
    }
    eml_pb_str(&set, 1, "");
    eml_pb_int(&set, 2, 16);
    eml_pb_msg(&f, 9, &set);
    eml_pb_str(&own, 1, "own");
    eml_pb_int(&own, 2, 1);
    eml_pb_msg(&f, 9, &own);
    eml_pb_str(&f, 10, "own");
    eml_pb_msg(model, 25, &f);
}

static enum eml_err call_top(uint32_t depth, int calls, const char *bottom,
                             struct eml_onnx_model **m, struct eml_onnx_diag *diag)
{
    struct eml_buf g = {0}, file = {0}, own = {0};
    char top[16];
    (void)snprintf(top, sizeof top, "f%u", depth - 1);
    eml_pb_value(&g, 11, "x", EML_DT_F32, (int64_t[]){2}, 1);
    eml_pb_value(&g, 12, "y", EML_DT_F32, NULL, 0);
    eml_pb_node(&g, "own", top, NAMES("x"), NAMES("y"), NULL);
    eml_pb_model(&file, 8, &g, 16);
    eml_pb_str(&own, 1, "own");
    eml_pb_int(&own, 2, 1);
    eml_pb_msg(&file, 8, &own);
    for (uint32_t i = 0; i < depth; i++)
        put_function(&file, i, calls, bottom);
    enum eml_err e = eml_onnx_parse(eml_buf_bytes(&file), NULL, m, diag);
    eml_buf_free(&file);
    return e;
}

static void functions_neither_explode_nor_turn_in_circles(void **state)
{
    static const struct {
        uint32_t depth;
        int calls;
        const char *bottom, *rule;
    } rows[] = {
        {8, 2, "Neg", NULL},
        {30, 2, "Neg", "onnx: needs far more memory than its size"}, /* a billion nodes */
        {60, 1, "Neg", "onnx: subgraphs or functions within each other too deep"},
        {3, 1, "f2", "onnx: subgraphs or functions within each other too deep"}, /* itself */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct eml_onnx_model *m = NULL;
        struct eml_onnx_diag diag = {0};
        enum eml_err e = call_top(rows[i].depth, rows[i].calls, rows[i].bottom, &m, &diag);
        assert_int_equal(e == EML_OK, rows[i].rule == NULL);
        if (rows[i].rule != NULL) {
            assert_string_equal(diag.why.rule, rows[i].rule);
            assert_null(m);
            continue;
        }
        struct eml_check_report report = {0};
        assert_int_equal(eml_decompose_check(m, &report), EML_OK);
        assert_int_equal(report.n, 0);
        eml_onnx_free(m);
    }
}

/* ---- more than the key may hold ---- */

static void more_nodes_than_the_limit(void **state)
{
    (void)state;
    for (uint32_t over = 0; over < 2; over++) {
        struct eml_buf g = {0}, file = {0};
        struct eml_onnx_model *m;
        struct eml_check_report report = {0};
        char name[2][16] = {"x", "x"};
        eml_pb_value(&g, 11, "x", EML_DT_F32, (int64_t[]){2}, 1);
        for (uint32_t i = 0; i < EML_GRAPH_NODES_MAX + over; i++) {
            (void)snprintf(name[1], sizeof name[1], "v%u", i);
            eml_pb_node(&g, "", "Sin", NAMES(name[0]), NAMES(name[1]), NULL);
            memcpy(name[0], name[1], sizeof name[0]);
        }
        eml_pb_value(&g, 12, name[0], EML_DT_F32, NULL, 0);
        eml_pb_model(&file, 8, &g, 16);
        assert_int_equal(eml_onnx_parse(eml_buf_bytes(&file), NULL, &m, NULL), EML_OK);
        eml_buf_free(&file);
        assert_int_equal(eml_decompose_check(m, &report), EML_OK);
        assert_int_equal(report.n, over);
        if (over != 0) {
            assert_int_equal(report.list[0].node, EML_CHECK_NO_NODE);
            assert_string_equal(report.list[0].reason, "decompose: graph above the size limit");
        }
        eml_check_free(&report);
        eml_onnx_free(m);
    }
}

static void more_inputs_than_the_limit(void **state)
{
    (void)state;
    struct eml_buf g = {0}, file = {0};
    struct eml_onnx_model *m;
    struct eml_check_report report = {0};
    for (uint32_t i = 0; i <= EML_GRAPH_IO_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "x%u", i);
        eml_pb_value(&g, 11, name, EML_DT_F32, (int64_t[]){2}, 1);
    }
    eml_pb_node(&g, "", "Neg", NAMES("x0"), NAMES("y"), NULL);
    eml_pb_value(&g, 12, "y", EML_DT_F32, NULL, 0);
    eml_pb_model(&file, 8, &g, 16);
    assert_int_equal(eml_onnx_parse(eml_buf_bytes(&file), NULL, &m, NULL), EML_OK);
    eml_buf_free(&file);
    assert_int_equal(eml_decompose_check(m, &report), EML_OK);
    assert_int_equal(report.n, 1);
    assert_string_equal(report.list[0].reason, "decompose: too many inputs or outputs");
    eml_check_free(&report);
    eml_onnx_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absurd_numbers_are_refused_at_their_node),
        cmocka_unit_test(functions_neither_explode_nor_turn_in_circles),
        cmocka_unit_test(more_nodes_than_the_limit),
        cmocka_unit_test(more_inputs_than_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
