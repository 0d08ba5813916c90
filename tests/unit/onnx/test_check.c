#include "testsupport/pb.h"
#include "testsupport/support.h"

#include "model/graph.h"
#include "onnx/check.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

enum { F32 = 1, BOOL = 9, F16 = 10, COMPLEX64 = 14, FLOAT8E4M3FN = 17 };
static const int64_t dims[] = {2, 3};

struct checked {
    struct eml_onnx_model *m;
    struct eml_check_report r;
};

/* Inputs x, w, v (float32) around what g holds; g is freed. */
static struct checked check(struct eml_buf *g, int64_t opset)
{
    struct checked c = {0};
    struct eml_buf file = {0}, set = {0};
    struct eml_onnx_diag d;
    eml_pb_value(g, 11, "x", F32, dims, 2);
    eml_pb_value(g, 11, "w", F32, dims, 2);
    eml_pb_value(g, 11, "v", F32, dims, 2);
    eml_pb_value(g, 12, "y", F32, dims, 2);
    eml_pb_model(&file, 8, g, opset);
    eml_pb_str(&set, 1, "com.example");
    eml_pb_int(&set, 2, 1);
    eml_pb_msg(&file, 8, &set);
    enum eml_err err = eml_onnx_parse(eml_buf_bytes(&file), NULL, &c.m, &d);
    if (err != EML_OK)
        print_error("%s %s\n", d.why.rule, d.subject);
    assert_int_equal(err, EML_OK);
    assert_int_equal(eml_check_static(c.m, &c.r), EML_OK);
    eml_buf_free(&file);
    return c;
}

static void free_checked(struct checked *c)
{
    eml_check_free(&c->r);
    eml_onnx_free(c->m);
}

static struct eml_buf one_node(const char *domain, const char *op, const char *const *in,
                               struct eml_buf *attrs)
{
    struct eml_buf g = {0};
    eml_pb_node(&g, domain, op, in, NAMES("y"), attrs);
    return g;
}

static void assert_one(struct eml_buf g, int64_t opset, enum eml_check_kind kind,
                       const char *reason)
{
    struct checked c = check(&g, opset);
    if (reason == NULL) {
        for (size_t i = 0; i < c.r.n; i++)
            print_error("%s\n", c.r.list[i].reason);
        assert_int_equal(c.r.n, 0);
    } else {
        if (c.r.n != 1 || strcmp(c.r.list[0].reason, reason) != 0)
            print_error("wanted: %s\n", reason);
        assert_int_equal(c.r.n, 1);
        assert_string_equal(c.r.list[0].reason, reason);
        assert_int_equal(c.r.list[0].kind, kind);
    }
    free_checked(&c);
}

static void operators_and_versions(void **state)
{
    (void)state;
    assert_one(one_node("", "Add", NAMES("x", "w"), NULL), 13, 0, NULL);
    assert_one(one_node("", "Add", NAMES("x", "w"), NULL), 22, 0, NULL);
    assert_one(one_node("ai.onnx", "Add", NAMES("x", "w"), NULL), 7, 0, NULL);
    assert_one(one_node("", "Add", NAMES("x", "w"), NULL), 6, EML_CHECK_VERSION,
               "version 6 is not supported, only 7 13 14");
    assert_one(one_node("", "Mish", NAMES("x"), NULL), 17, EML_CHECK_VERSION,
               "not in the standard at opset 17");
    assert_one(one_node("", "Mish", NAMES("x"), NULL), 18, 0, NULL);
    assert_one(one_node("", "ImageDecoder", NAMES("x"), NULL), 20, EML_CHECK_OPERATOR,
               "image files are not decoded in the enclave: give the model pixels");
    assert_one(one_node("", "RegexFullMatch", NAMES("x"), NULL), 13, EML_CHECK_VERSION,
               "not in the standard at opset 13");
    assert_one(one_node("", "RegexFullMatch", NAMES("x"), NULL), 20, EML_CHECK_TYPE,
               "float32 is not supported by this operator");
    assert_one(one_node("", "relu", NAMES("x"), NULL), 13, EML_CHECK_OPERATOR,
               "not an operator of the ONNX standard (up to opset 23)");
    assert_one(one_node("com.example", "Relu", NAMES("x"), NULL), 13, EML_CHECK_OPERATOR,
               "operators of domain com.example are not supported");
    assert_one(one_node("", "Relu", NAMES("x"), NULL), 24, EML_CHECK_OPSET,
               "opset 24 is newer than the newest known, 23");
}

static void attributes(void **state)
{
    (void)state;
    struct eml_buf a = {0};
    eml_pb_attr_int(&a, "axis", 1);
    assert_one(one_node("", "Softmax", NAMES("x"), &a), 13, 0, NULL);
    eml_pb_attr_int(&a, "axes", 1);
    assert_one(one_node("", "Softmax", NAMES("x"), &a), 13, EML_CHECK_ATTRIBUTE,
               "axes is no attribute of Softmax-13");
    eml_pb_attr_f32(&a, "axis", 1);
    assert_one(one_node("", "Softmax", NAMES("x"), &a), 13, EML_CHECK_ATTRIBUTE,
               "axis has the wrong type");
    assert_one(one_node("", "Concat", NAMES("x", "w"), NULL), 13, EML_CHECK_ATTRIBUTE,
               "attribute axis is missing");
    eml_pb_attr_str(&a, "auto_pad", "SAME_UPPER");
    assert_one(one_node("", "Conv", NAMES("x", "w"), &a), 13, 0, NULL);
    eml_pb_attr_str(&a, "auto_pad", "SAME");
    assert_one(one_node("", "Conv", NAMES("x", "w"), &a), 13, EML_CHECK_ATTRIBUTE,
               "auto_pad = 'SAME' is not supported");
    eml_pb_attr_str(&a, "auto_pad", "VALID|");
    assert_one(one_node("", "Conv", NAMES("x", "w"), &a), 13, EML_CHECK_ATTRIBUTE,
               "auto_pad = 'VALID|' is not supported");
    eml_pb_attr_str(&a, "auto_pad", "\xff");
    assert_one(one_node("", "Conv", NAMES("x", "w"), &a), 13, EML_CHECK_ATTRIBUTE,
               "auto_pad = '' is not supported");
    eml_pb_attr_int(&a, "spatial", 1); /* in the standard, not done here */
    assert_one(one_node("", "BatchNormalization", NAMES("x", "w", "v", "w", "v"), &a), 7,
               EML_CHECK_ATTRIBUTE, "attribute spatial is not supported");
}

/* axes: an attribute of ReduceMean-13, an input of ReduceMean-18 */
static void attributes_that_became_inputs(void **state)
{
    (void)state;
    struct eml_buf a = {0};
    eml_pb_attr_ints(&a, "axes", dims, 1);
    assert_one(one_node("", "ReduceMean", NAMES("x"), &a), 17, 0, NULL);
    eml_pb_attr_ints(&a, "axes", dims, 1);
    assert_one(one_node("", "ReduceMean", NAMES("x"), &a), 18, EML_CHECK_ATTRIBUTE,
               "axes is no attribute of ReduceMean-18");
    assert_one(one_node("", "ReduceMean", NAMES("x", "w"), NULL), 18, 0, NULL);
    assert_one(one_node("", "ReduceMean", NAMES("x", "w"), NULL), 17, EML_CHECK_ARITY,
               "ReduceMean-13 takes 1 to 1 inputs, here are 2");
}

static void arity(void **state)
{
    (void)state;
    struct eml_buf g = {0};
    assert_one(one_node("", "Add", NAMES("x"), NULL), 13, EML_CHECK_ARITY,
               "Add-13 takes 2 to 2 inputs, here are 1");
    assert_one(one_node("", "Add", NAMES("x", "w", "v"), NULL), 13, EML_CHECK_ARITY,
               "Add-13 takes 2 to 2 inputs, here are 3");
    /* an output of training: fine while nobody reads it */
    for (int used = 0; used <= 1; used++) {
        eml_pb_node(&g, "", "BatchNormalization", NAMES("x", "w", "w", "w", "w"),
                    NAMES("y", "mean"), NULL);
        if (used)
            eml_pb_node(&g, "", "Identity", NAMES("mean"), NAMES("z"), NULL);
        assert_one(g, 15, EML_CHECK_ARITY, used ? "output 1 ('mean') is not supported" : NULL);
        g = (struct eml_buf){0};
    }
}

static void types_and_subgraphs(void **state)
{
    (void)state;
    struct eml_buf g = {0}, a = {0}, attribute = {0}, inner = {0};
    eml_pb_value(&g, 11, "text", COMPLEX64, dims, 2);
    eml_pb_node(&g, "", "Identity", NAMES("text"), NAMES("y"), NULL);
    assert_one(g, 13, EML_CHECK_TYPE,
               "input 'text' has element type complex64, which is not supported");
    eml_pb_attr_int(&a, "to", COMPLEX64);
    assert_one(one_node("", "Cast", NAMES("x"), &a), 13, EML_CHECK_TYPE,
               "cast to complex64 is not supported");
    eml_pb_attr_int(&a, "to", INT64_MAX);
    assert_one(one_node("", "Cast", NAMES("x"), &a), 13, EML_CHECK_TYPE,
               "cast to unknown is not supported");
    eml_pb_str(&attribute, 1, "value");
    eml_pb_tensor(&attribute, 5, "", COMPLEX64, dims, 0, EML_LIT("\0\0\0\0\0\0\0\0"));
    eml_pb_int(&attribute, 20, 4);
    eml_pb_msg(&a, 5, &attribute);
    assert_one(one_node("", "Constant", NAMES(""), &a), 13, EML_CHECK_TYPE,
               "value has element type complex64, which is not supported");
    for (int k = 0; k < 2; k++) {
        eml_pb_str(&attribute, 1, k == 0 ? "then_branch" : "else_branch");
        eml_pb_str(&inner, 2, "branch");
        if (k == 0)
            eml_pb_node(&inner, "", "Telepathy", NAMES("x"), NAMES("inner"), NULL);
        eml_pb_msg(&attribute, 6, &inner);
        eml_pb_int(&attribute, 20, 5);
        eml_pb_msg(&a, 5, &attribute);
    }
    assert_one(one_node("", "If", NAMES("x"), &a), 13, EML_CHECK_OPERATOR,
               "not an operator of the ONNX standard (up to opset 23)");
}

/* Types spread from inputs and constants through nodes that say nothing of their results. */
static void each_node_of_a_float8_model(void **state)
{
    (void)state;
    struct eml_buf g = {0}, a = {0};
    eml_pb_value(&g, 11, "short", FLOAT8E4M3FN, dims, 2);
    eml_pb_node(&g, "", "Identity", NAMES("short"), NAMES("a"), NULL); /* moving bytes is fine */
    eml_pb_node(&g, "", "Shape", NAMES("a"), NAMES("shape"), NULL);
    eml_pb_node(&g, "", "Add", NAMES("shape", "shape"), NAMES("b"), NULL);
    eml_pb_node(&g, "", "Relu", NAMES("a"), NAMES("c"), NULL);
    eml_pb_node(&g, "", "Neg", NAMES("c"), NAMES("y"), NULL);
    struct checked c = check(&g, 13);
    assert_int_equal(c.r.n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(c.r.list[i].node, 3 + i);
        assert_int_equal(c.r.list[i].kind, EML_CHECK_TYPE);
        assert_string_equal(c.r.list[i].reason, "float8e4m3fn is not supported by this operator");
    }
    free_checked(&c);
    eml_pb_value(&g, 11, "half", F16, dims, 2); /* decomposition casts it */
    eml_pb_node(&g, "", "Relu", NAMES("half"), NAMES("y"), NULL);
    assert_one(g, 13, EML_CHECK_TYPE, NULL);
    g = (struct eml_buf){0};
    eml_pb_attr_int(&a, "to", 6);
    eml_pb_node(&g, "", "Cast", NAMES("x"), NAMES("i"), &a);
    eml_pb_node(&g, "", "Softmax", NAMES("i"), NAMES("y"), NULL);
    assert_one(g, 13, EML_CHECK_TYPE, "int32 is not supported by this operator");
    g = (struct eml_buf){0};
    eml_pb_value(&g, 11, "which", BOOL, dims, 2); /* the data is not the first operand */
    eml_pb_value(&g, 11, "quarter", FLOAT8E4M3FN, dims, 2);
    eml_pb_node(&g, "", "Where", NAMES("which", "quarter", "quarter"), NAMES("z"), NULL);
    eml_pb_node(&g, "", "Tanh", NAMES("z"), NAMES("y"), NULL);
    assert_one(g, 13, EML_CHECK_TYPE, "float8e4m3fn is not supported by this operator");
}

static void deep_ranks_are_refused(void **state)
{
    (void)state;
    const int64_t nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    struct eml_buf g = {0};
    eml_pb_value(&g, 11, "deep", F32, nine, 9);
    eml_pb_node(&g, "", "Identity", NAMES("deep"), NAMES("y"), NULL);
    assert_one(g, 13, EML_CHECK_TYPE, "input 'deep' has rank 9, at most 8 is supported");
}

/* Three bad nodes among good ones: all are reported, in order, with what identifies them. */
static struct checked three_problems(void)
{
    struct eml_buf g = {0}, a = {0};
    eml_pb_node(&g, "", "Relu", NAMES("x"), NAMES("a"), NULL);
    eml_pb_node(&g, "", "RegexFullMatch", NAMES("a"), NAMES("b"), NULL);
    eml_pb_node(&g, "com.example", "Foo\n", NAMES("b"), NAMES("c"), NULL);
    eml_pb_attr_int(&a, "axis", 0);
    eml_pb_attr_int(&a, "bogus", 0);
    eml_pb_node(&g, "", "Softmax", NAMES("c"), NAMES("y"), &a);
    return check(&g, 13);
}

static void every_problem_is_reported(void **state)
{
    (void)state;
    struct checked c = three_problems();
    assert_int_equal(c.r.n, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(c.r.list[i].node, i + 1);
    assert_string_equal(c.r.list[0].op, "RegexFullMatch");
    assert_string_equal(c.r.list[0].node_name, "a node");
    assert_int_equal(c.r.list[0].opset, 13);
    assert_string_equal(c.r.list[1].domain, "com.example");
    assert_int_equal(c.r.list[1].opset, 1);
    eml_check_add(&c.r, c.m, 0, EML_CHECK_SHAPE, "dims %d and %d do not match", 2, 3);
    assert_int_equal(c.r.n, 4);
    assert_string_equal(c.r.list[3].reason, "dims 2 and 3 do not match");
    assert_string_equal(c.r.list[3].op, "Relu");
    free_checked(&c);
    assert_int_equal(c.r.n, 0);
}

static void print_is_one_line_each(void **state)
{
    (void)state;
    struct checked c = three_problems();
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_int_equal(eml_check_print(&c.r, "m.onnx", f), EML_OK);
    (void)fclose(f);
    assert_string_equal(
        text,
        "m.onnx: not supported, 3 problems\n"
        "  node 1 'a node': RegexFullMatch (opset 13): not in the standard at opset 13 [version]\n"
        "  node 2 'a node': com.example.Foo? (opset 1): operators of domain com.example are "
        "not supported [operator]\n"
        "  node 3 'a node': Softmax (opset 13): bogus is no attribute of Softmax-13 "
        "[attribute]\n");
    free(text);
    eml_check_free(&c.r);
    f = open_memstream(&text, &len);
    assert_int_equal(eml_check_print(&c.r, "m.onnx", f), EML_OK);
    (void)fclose(f);
    assert_string_equal(text, "m.onnx: supported\n");
    free(text);
    free_checked(&c);
}

static void json_says_the_same(void **state)
{
    (void)state;
    struct checked c = three_problems();
    eml_check_add(&c.r, c.m, EML_CHECK_NO_NODE, EML_CHECK_OTHER, "the model");
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_int_equal(eml_check_print_json(&c.r, "m.onnx", f), EML_OK);
    (void)fclose(f);
    json_t *j = json_loads(text, 0, NULL);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "model")), "m.onnx");
    assert_true(json_is_false(json_object_get(j, "supported")));
    const json_t *list = json_object_get(j, "problems"), *p = json_array_get(list, 2);
    assert_int_equal(json_array_size(list), 4);
    assert_int_equal(json_integer_value(json_object_get(p, "node")), 3);
    assert_int_equal(json_integer_value(json_object_get(p, "opset")), 13);
    assert_string_equal(json_string_value(json_object_get(p, "op")), "Softmax");
    assert_string_equal(json_string_value(json_object_get(p, "kind")), "attribute");
    assert_string_equal(json_string_value(json_object_get(p, "reason")),
                        "bogus is no attribute of Softmax-13");
    assert_true(json_is_null(json_object_get(json_array_get(list, 3), "node")));
    json_decref(j);
    free(text);
    free_checked(&c);
}

/* The binary search needs the order, and a row of ops.def without history could never match. */
static void tables_agree(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int since, in_min, in_max, out_min, out_max;
        const char *attrs;
    } rows[] = {
#define HISTORY(...) {__VA_ARGS__},
#include "onnx/history.def"
#include "onnx/contrib.def"
#undef HISTORY
    };
    size_t n = sizeof rows / sizeof rows[0];
    for (size_t i = 1; i < n; i++) {
        int c = strcmp(rows[i - 1].name, rows[i].name);
        assert_true(c < 0 || (c == 0 && rows[i - 1].since < rows[i].since));
    }
    for (enum eml_op op = 0; op < EML_OP_N; op++) {
        const struct eml_op_info *info = eml_op_info(op);
        bool found = info->since[0] == '\0';
        for (size_t i = 0; i < n && !found; i++)
            found = strcmp(rows[i].name, info->name) == 0;
        if (!found)
            print_error("ops.def: no history of %s\n", info->name);
        assert_true(found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_and_versions),
        cmocka_unit_test(attributes),
        cmocka_unit_test(attributes_that_became_inputs),
        cmocka_unit_test(arity),
        cmocka_unit_test(types_and_subgraphs),
        cmocka_unit_test(each_node_of_a_float8_model),
        cmocka_unit_test(deep_ranks_are_refused),
        cmocka_unit_test(every_problem_is_reported),
        cmocka_unit_test(print_is_one_line_each),
        cmocka_unit_test(json_says_the_same),
        cmocka_unit_test(tables_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
