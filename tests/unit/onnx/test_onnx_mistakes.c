/* What is wrong with a file is named, with its place. */
#include "small_onnx.h"

/* Mistakes: each is put into an otherwise good model. */
static void twice_by_nodes(struct eml_buf *g)
{
    eml_pb_node(g, "", "Relu", NAMES("x"), NAMES("y"), NULL);
}
static void twice_input(struct eml_buf *g)
{
    eml_pb_value(g, 11, "x", F32, two, 1);
}
static void twice_input_and_node(struct eml_buf *g)
{
    eml_pb_value(g, 11, "z", F32, two, 1);
}
static void twice_initializer(struct eml_buf *g)
{
    eml_pb_tensor(g, 5, "w", F32, two, 1, EML_BYTES(raw8));
}
static void undefined_input(struct eml_buf *g)
{
    eml_pb_node(g, "", "Relu", NAMES("nowhere"), NAMES("q"), NULL);
}
static void wrong_order(struct eml_buf *g)
{
    eml_pb_node(g, "", "Relu", NAMES("later"), NAMES("q"), NULL);
    eml_pb_node(g, "", "Relu", NAMES("q"), NAMES("later"), NULL);
}
static void own_output(struct eml_buf *g)
{
    eml_pb_node(g, "", "Relu", NAMES("loop"), NAMES("loop"), NULL);
}
static void undefined_output(struct eml_buf *g)
{
    eml_pb_value(g, 12, "nowhere", F32, two, 1);
}
static void foreign_domain(struct eml_buf *g)
{
    eml_pb_node(g, "com.example", "Relu", NAMES("x"), NAMES("q"), NULL);
}
static void no_operator(struct eml_buf *g)
{
    eml_pb_node(g, "", "", NAMES("x"), NAMES("q"), NULL);
}
static void nameless_initializer(struct eml_buf *g)
{
    eml_pb_tensor(g, 5, "", F32, two, 1, EML_BYTES(raw8));
}
static void nameless_input(struct eml_buf *g)
{
    eml_pb_value(g, 11, "", F32, two, 1);
}
static void short_data(struct eml_buf *g)
{
    eml_pb_tensor(g, 5, "q", F32, two, 1, eml_bytes(raw8, 7));
}
static void no_data(struct eml_buf *g)
{
    eml_pb_tensor(g, 5, "q", F32, two, 1, eml_bytes(NULL, 0));
}
static void negative_dim(struct eml_buf *g)
{
    eml_pb_tensor(g, 5, "q", F32, (const int64_t[]){-2, -1}, 2, EML_BYTES(raw8));
}
static void huge_dims(struct eml_buf *g)
{
    const int64_t d = (int64_t)1 << 32;
    eml_pb_tensor(g, 5, "q", F32, (const int64_t[]){d, d}, 2, EML_BYTES(raw8));
}
static void huge_bytes(struct eml_buf *g)
{
    eml_pb_tensor(g, 5, "q", F32, (const int64_t[]){INT64_MAX}, 1, EML_BYTES(raw8));
}
static void many_dims(struct eml_buf *g)
{
    int64_t ones[65];
    for (size_t i = 0; i < 65; i++)
        ones[i] = 1;
    eml_pb_tensor(g, 5, "q", F32, ones, 65, eml_bytes(raw8, 4));
}
static void unknown_dtype(struct eml_buf *g)
{
    eml_pb_tensor(g, 5, "q", 99, two, 1, EML_BYTES(raw8));
}
static void odd_bool(struct eml_buf *g)
{
    eml_pb_tensor(g, 5, "q", 9, two, 1, eml_bytes(raw8, 2));
}
static void raw_and_typed(struct eml_buf *g)
{
    struct eml_buf t = {0};
    eml_pb_int(&t, 1, 2);
    eml_pb_int(&t, 2, F32);
    eml_pb_f32(&t, 4, 1.0f);
    eml_pb_f32(&t, 4, 2.0f);
    eml_pb_str(&t, 8, "q");
    eml_pb_bytes(&t, 9, EML_BYTES(raw8));
    eml_pb_msg(g, 5, &t);
}
static void data_in_wrong_field(struct eml_buf *g)
{
    struct eml_buf t = {0};
    eml_pb_int(&t, 1, 1);
    eml_pb_int(&t, 2, F32);
    eml_pb_int(&t, 7, 1);
    eml_pb_str(&t, 8, "q");
    eml_pb_msg(g, 5, &t);
}
static void out_of_range(struct eml_buf *g)
{
    struct eml_buf t = {0};
    eml_pb_int(&t, 1, 1);
    eml_pb_int(&t, 2, U8);
    eml_pb_int(&t, 5, 256);
    eml_pb_str(&t, 8, "q");
    eml_pb_msg(g, 5, &t);
}
static void in_segments(struct eml_buf *g)
{
    struct eml_buf t = {0}, segment = {0};
    eml_pb_int(&segment, 1, 0);
    eml_pb_int(&t, 2, F32);
    eml_pb_msg(&t, 3, &segment);
    eml_pb_msg(g, 5, &t);
}
static void external_without_directory(struct eml_buf *g)
{
    struct eml_buf t = {0}, kv = {0};
    eml_pb_int(&t, 2, F32);
    eml_pb_str(&kv, 1, "location");
    eml_pb_str(&kv, 2, "weights.bin");
    eml_pb_str(&t, 8, "q");
    eml_pb_msg(&t, 13, &kv);
    eml_pb_int(&t, 14, 1);
    eml_pb_msg(g, 5, &t);
}
static void attribute_twice(struct eml_buf *g)
{
    struct eml_buf a = {0};
    eml_pb_attr_int(&a, "axis", 1);
    eml_pb_attr_int(&a, "axis", 2);
    eml_pb_node(g, "", "Softmax", NAMES("x"), NAMES("q"), &a);
}
static void attribute_without_name(struct eml_buf *g)
{
    struct eml_buf a = {0};
    eml_pb_attr_int(&a, "", 1);
    eml_pb_node(g, "", "Softmax", NAMES("x"), NAMES("q"), &a);
}
static void put_attribute(struct eml_buf *g, struct eml_buf *attribute)
{
    struct eml_buf a = {0};
    eml_pb_msg(&a, 5, attribute);
    eml_pb_node(g, "", "Softmax", NAMES("x"), NAMES("q"), &a);
}
static void attribute_without_type(struct eml_buf *g)
{
    struct eml_buf a = {0};
    eml_pb_str(&a, 1, "axis");
    eml_pb_int(&a, 3, 1);
    put_attribute(g, &a);
}
static void attribute_of_odd_type(struct eml_buf *g)
{
    struct eml_buf a = {0};
    eml_pb_str(&a, 1, "axis");
    eml_pb_int(&a, 20, -1);
    put_attribute(g, &a);
}
static void tensor_attribute_without_tensor(struct eml_buf *g)
{
    struct eml_buf a = {0};
    eml_pb_str(&a, 1, "value");
    eml_pb_int(&a, 20, 4);
    put_attribute(g, &a);
}
static void attribute_reference(struct eml_buf *g)
{
    struct eml_buf a = {0};
    eml_pb_str(&a, 1, "axis");
    eml_pb_int(&a, 20, 2);
    eml_pb_str(&a, 21, "outer");
    put_attribute(g, &a);
}
static void nul_in_name(struct eml_buf *g)
{
    struct eml_buf node = {0};
    eml_pb_bytes(&node, 4, EML_LIT("Relu\0x"));
    eml_pb_msg(g, 1, &node);
}
static void latin1_name(struct eml_buf *g)
{
    eml_pb_node(g, "", "Rel\xfc", NAMES("x"), NAMES("q"), NULL);
}
static void sparse(struct eml_buf *g)
{
    struct eml_buf t = {0};
    eml_pb_int(&t, 3, 1);
    eml_pb_msg(g, 15, &t);
}
static void group_wire_type(struct eml_buf *g)
{
    eml_pb_key(g, 1, 3);
}
static void field_zero(struct eml_buf *g)
{
    eml_pb_int(g, 0, 1);
}
static void node_as_number(struct eml_buf *g)
{
    eml_pb_int(g, 1, 7);
}
static void endless_varint(struct eml_buf *g)
{
    eml_pb_key(g, 2, 0);
    for (int i = 0; i < 11; i++)
        eml_buf_put_u8(g, 0xff);
}
static void field_beyond_its_message(struct eml_buf *g)
{
    eml_pb_key(g, 2, 2);
    eml_pb_varint(g, UINT64_MAX);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        void (*mistake)(struct eml_buf *g);
        const char *rule;
        long index;
        const char *subject;
    } cases[] = {
        {twice_by_nodes, "onnx: a value is defined twice", 2, "y"},
        {twice_input, "onnx: a value is defined twice", -1, "x"},
        {twice_input_and_node, "onnx: a value is defined twice", 1, "z"},
        {twice_initializer, "onnx: a value is defined twice", -1, "w"},
        {undefined_input, "onnx: nothing defines an input of a node", 2, "nowhere"},
        {wrong_order, "onnx: a node stands before what it needs", 2, "later"},
        {own_output, "onnx: a node stands before what it needs", 2, "loop"},
        {undefined_output, "onnx: nothing defines an output of the graph", 1, "nowhere"},
        {foreign_domain, "onnx: a node's operator set is not imported", 2, "com.example"},
        {no_operator, "onnx: a node has no operator", 2, "a node"},
        {nameless_initializer, "onnx: an initializer has no name", 1, ""},
        {nameless_input, "onnx: an input of the graph has no name", 1, ""},
        {short_data, "onnx: element data is not as long as dims say", 1, "q"},
        {no_data, "onnx: element data is not as long as dims say", 1, "q"},
        {negative_dim, "onnx: a tensor has a negative dim", 1, "q"},
        {huge_dims, "onnx: the product of dims overflows", 1, "q"},
        {huge_bytes, "onnx: the product of dims overflows", 1, "q"},
        {many_dims, "onnx: too many dims", 1, "q"},
        {unknown_dtype, "onnx: unknown element type", 1, "q"},
        {odd_bool, "onnx: an element is out of its type's range", 1, "q"},
        {raw_and_typed, "onnx: element data in two places, or in the field of another type", 1,
         "q"},
        {data_in_wrong_field, "onnx: element data in two places, or in the field of another type",
         1, "q"},
        {out_of_range, "onnx: an element is out of its type's range", 1, "q"},
        {in_segments, "onnx: a tensor in segments", 1, ""},
        {external_without_directory, "onnx: external data has no directory here", 1, "weights.bin"},
        {attribute_twice, "onnx: a node has an attribute twice", 2, "a node"},
        {attribute_without_name, "onnx: an attribute has no name", 2, "a node"},
        {attribute_without_type, "onnx: an attribute has no known type", 2, "a node"},
        {attribute_of_odd_type, "onnx: an attribute has no known type", 2, "a node"},
        {tensor_attribute_without_tensor, "onnx: an attribute lacks its tensor or graph", 2,
         "a node"},
        {attribute_reference, "onnx: an attribute refers to a function's, outside of one", 2,
         "a node"},
        {nul_in_name, "onnx: a string is not UTF-8, or has a NUL byte", -2, ""},
        {latin1_name, "onnx: a string is not UTF-8, or has a NUL byte", -2, ""},
        {sparse, "onnx: sparse initializers are not supported", -1, ""},
        {group_wire_type, "onnx: not protobuf (bad wire type)", -2, ""},
        {field_zero, "onnx: not protobuf (bad field key)", -2, ""},
        {node_as_number, "onnx: a field has the wrong type", -1, ""},
        {endless_varint, "onnx: a field is longer than what holds it (truncated file?)", -2, ""},
        {field_beyond_its_message, "onnx: a field is longer than what holds it (truncated file?)",
         -2, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_buf g = small_graph(), file = {0};
        struct eml_onnx_model *m;
        struct eml_onnx_diag d;
        cases[i].mistake(&g);
        eml_pb_model(&file, 8, &g, 17);
        enum eml_err err = parse(&file, &m, &d);
        assert_int_not_equal(err, EML_OK);
        assert_null(m);
        assert_string_equal(d.why.rule, cases[i].rule);
        assert_string_equal(d.subject, cases[i].subject);
        if (cases[i].index != -2) /* -2: a byte offset */
            assert_int_equal(d.why.index, cases[i].index);
    }
}

static void model_level_mistakes(void **state)
{
    (void)state;
    static const struct {
        int64_t ir, opset, second_opset;
        enum eml_err err;
        const char *rule;
    } cases[] = {
        {2, 17, 0, EML_E_UNSUPPORTED, "onnx: IR version is not 3 to 13"},
        {14, 17, 0, EML_E_UNSUPPORTED, "onnx: IR version is not 3 to 13"},
        {8, 0, 0, EML_E_INPUT, "onnx: an operator set without a version"},
        {8, -1, 0, EML_E_INPUT, "onnx: an operator set without a version"},
        {8, 17, 16, EML_E_INPUT, "onnx: an operator set is imported in two versions"},
        {8, 17, 17, EML_OK, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_buf g = small_graph(), file = {0}, set = {0};
        struct eml_onnx_model *m;
        struct eml_onnx_diag d;
        eml_pb_model(&file, cases[i].ir, &g, cases[i].opset);
        eml_pb_str(&set, 1, "ai.onnx");
        eml_pb_int(&set, 2, cases[i].second_opset);
        if (cases[i].second_opset != 0)
            eml_pb_msg(&file, 8, &set);
        eml_buf_free(&set);
        assert_int_equal(parse(&file, &m, &d), cases[i].err);
        if (cases[i].rule != NULL)
            assert_string_equal(d.why.rule, cases[i].rule);
        eml_onnx_free(m);
    }
    struct eml_buf file = {0};
    struct eml_onnx_model *m;
    struct eml_onnx_diag d;
    eml_pb_int(&file, 1, 8);
    assert_int_equal(parse(&file, &m, &d), EML_E_INPUT);
    assert_string_equal(d.why.rule, "onnx: there is no graph in this file");
    struct eml_buf a = small_graph(), b = small_graph();
    eml_pb_msg(&file, 7, &a);
    eml_pb_msg(&file, 7, &b);
    assert_int_equal(parse(&file, &m, &d), EML_E_INPUT);
    assert_string_equal(d.why.rule, "onnx: a singular field occurs twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(model_level_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
