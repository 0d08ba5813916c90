#include "testsupport/pb.h"
#include "testsupport/support.h"

#include "onnx/onnx.h"

#include <stdlib.h>
#include <string.h>

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

enum { F32 = 1, U8 = 2, I64 = 7 };
static const int64_t two[] = {2};
static const uint8_t raw8[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static enum eml_err parse(struct eml_buf *file, struct eml_onnx_model **m,
                          struct eml_onnx_diag *diag)
{
    enum eml_err err = eml_onnx_parse(eml_buf_bytes(file), NULL, m, diag);
    eml_buf_free(file);
    return err;
}

/* y = Add(x, w); z = Relu(y); x is the input, z the output. */
static struct eml_buf small_graph(void)
{
    struct eml_buf g = {0};
    eml_pb_value(&g, 11, "x", F32, two, 1);
    eml_pb_tensor(&g, 5, "w", F32, two, 1, EML_BYTES(raw8));
    eml_pb_node(&g, "", "Add", NAMES("x", "w"), NAMES("y"), NULL);
    eml_pb_node(&g, "ai.onnx", "Relu", NAMES("y", ""), NAMES("z", ""), NULL);
    eml_pb_value(&g, 12, "z", F32, NULL, 0);
    return g;
}

static void small_model_becomes_ids(void **state)
{
    (void)state;
    struct eml_buf g = small_graph(), file = {0};
    struct eml_onnx_model *m;
    eml_pb_model(&file, 8, &g, 17);
    assert_int_equal(parse(&file, &m, NULL), EML_OK);
    assert_int_equal(m->ir_version, 8);
    assert_int_equal(eml_onnx_opset(m, ""), 17);
    assert_int_equal(eml_onnx_opset(m, "other"), 0);
    assert_int_equal(m->n_values, 4); /* x w y z */
    assert_int_equal(m->n_inputs, 1);
    assert_int_equal(m->n_outputs, 1);
    assert_int_equal(m->n_nodes, 2);
    assert_int_equal(m->init_bytes, 8);
    assert_string_equal(m->values[m->inputs[0]].name, "x");
    assert_string_equal(m->values[m->outputs[0]].name, "z");
    const struct eml_onnx_node *add = &m->nodes[0], *relu = &m->nodes[1];
    assert_string_equal(relu->domain, "");
    assert_int_equal(relu->opset, 17);
    assert_int_equal(add->n_in, 2);
    assert_int_equal(add->in[0], m->inputs[0]);
    assert_int_equal(relu->n_in, 1); /* trailing "" are gone */
    assert_int_equal(relu->n_out, 1);
    assert_int_equal(relu->in[0], add->out[0]);
    const struct eml_onnx_value *w = &m->values[add->in[1]], *y = &m->values[add->out[0]];
    assert_memory_equal(w->init->data.ptr, raw8, 8);
    assert_int_equal(w->producer, EML_ONNX_ABSENT);
    assert_int_equal(y->producer, 0);
    assert_int_equal(y->n_uses, 1);
    assert_true(m->values[m->outputs[0]].is_output);
    assert_int_equal(m->values[m->inputs[0]].type.dims[0].value, 2);
    assert_true(m->values[m->outputs[0]].type.has_rank);
    assert_int_equal(m->values[m->outputs[0]].type.rank, 0);
    eml_onnx_free(m);
}

static void foreign_models_are_read(void **state)
{
    (void)state;
    struct eml_onnx_model *m;
    assert_int_equal(eml_onnx_load(EML_VECTORS "/onnx/softmax_axis_1.onnx", &m, NULL), EML_OK);
    assert_int_equal(m->n_nodes, 1);
    assert_string_equal(m->nodes[0].op_type, "Softmax");
    const struct eml_onnx_attr *axis = eml_onnx_attr(&m->nodes[0], "axis");
    assert_non_null(axis);
    assert_int_equal(axis->type, EML_ONNX_ATTR_INT);
    assert_int_equal(axis->ints[0], 1);
    assert_null(eml_onnx_attr(&m->nodes[0], "axes"));
    assert_string_equal(m->values[m->inputs[0]].name, "x");
    eml_onnx_free(m);
    assert_int_equal(eml_onnx_load(EML_VECTORS "/onnx/conv_with_strides_padding.onnx", &m, NULL),
                     EML_OK);
    const struct eml_onnx_attr *pads = eml_onnx_attr(&m->nodes[0], "pads");
    assert_int_equal(pads->n, 4);
    assert_int_equal(pads->ints[3], 1);
    assert_int_equal(m->values[m->inputs[0]].type.rank, 4);
    assert_int_equal(m->values[m->inputs[0]].type.dims[2].value, 7);
    eml_onnx_free(m);
}

static void unreadable_files_are_named_errors(void **state)
{
    (void)state;
    struct eml_onnx_model *m;
    struct eml_onnx_diag d;
    assert_int_equal(eml_onnx_load("/nonexistent/x.onnx", &m, &d), EML_E_USAGE);
    assert_string_equal(d.why.rule, "file: no such file");
    assert_null(m);
    assert_int_equal(eml_onnx_load(EML_VECTORS, &m, &d), EML_E_USAGE);
    assert_int_equal(eml_onnx_parse((struct eml_bytes){NULL, 0}, NULL, &m, &d), EML_E_INPUT);
    assert_string_equal(d.why.rule, "onnx: the file is empty");
}

/* An initializer that is also an input is a constant: demanded by IR 3, a default from IR 4 on. */
static void initializers_and_inputs(void **state)
{
    (void)state;
    for (int64_t ir = 3; ir <= 4; ir++)
        for (int listed = 0; listed <= 1; listed++) {
            struct eml_buf g = small_graph(), file = {0};
            struct eml_onnx_model *m;
            struct eml_onnx_diag d;
            if (listed)
                eml_pb_value(&g, 11, "w", F32, two, 1);
            eml_pb_model(&file, ir, &g, 8);
            enum eml_err err = parse(&file, &m, &d);
            assert_int_equal(err, ir == 3 && !listed ? EML_E_INPUT : EML_OK);
            if (err != EML_OK) {
                assert_string_equal(d.why.rule,
                                    "onnx: IR version 3 needs initializers to be inputs");
                assert_string_equal(d.subject, "w");
                continue;
            }
            assert_int_equal(m->n_inputs, 1);
            assert_int_equal(m->n_values, 4);
            assert_false(m->values[m->nodes[0].in[1]].is_input);
            eml_onnx_free(m);
        }
}

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

/* graph { node { attribute { g { node { ... */
static void nesting_is_bounded(void **state)
{
    (void)state;
    for (int levels = 32; levels <= 34; levels++) { /* three messages each, within the model */
        struct eml_buf g = {0}, file = {0};
        struct eml_onnx_model *m;
        struct eml_onnx_diag d;
        for (int i = 0; i < levels; i++) {
            struct eml_buf attribute = {0}, attrs = {0}, outer = {0};
            eml_pb_str(&attribute, 1, "body");
            eml_pb_msg(&attribute, 6, &g);
            eml_pb_int(&attribute, 20, 5);
            eml_pb_msg(&attrs, 5, &attribute);
            eml_pb_node(&outer, "", "If", NAMES(""), NAMES(""), &attrs);
            g = outer;
        }
        eml_pb_model(&file, 8, &g, 17);
        enum eml_err err = parse(&file, &m, &d); /* 2 + 3 * levels messages deep */
        assert_int_equal(err, 2 + 3 * levels <= EML_ONNX_NESTING_MAX ? EML_OK : EML_E_INPUT);
        if (err != EML_OK)
            assert_string_equal(d.why.rule, "onnx: nested too deeply");
        eml_onnx_free(m);
    }
}

static void values_that_subgraphs_name_are_marked(void **state)
{
    (void)state;
    struct eml_buf inner = {0}, attribute = {0}, attrs = {0}, g = small_graph(), file = {0};
    struct eml_onnx_model *m;
    eml_pb_node(&inner, "", "Relu", NAMES("w"), NAMES("inner"), NULL);
    eml_pb_value(&inner, 12, "y", F32, two, 1);
    eml_pb_str(&attribute, 1, "then_branch");
    eml_pb_msg(&attribute, 6, &inner);
    eml_pb_int(&attribute, 20, 5);
    eml_pb_msg(&attrs, 5, &attribute);
    eml_pb_node(&g, "", "If", NAMES("x"), NAMES("q"), &attrs);
    eml_pb_model(&file, 8, &g, 17);
    assert_int_equal(parse(&file, &m, NULL), EML_OK);
    for (uint32_t i = 0; i < m->n_values; i++)
        assert_int_equal(m->values[i].in_subgraph, strchr("wy", m->values[i].name[0]) != NULL);
    assert_non_null(m->nodes[2].attr[0].graphs[0].proto);
    eml_onnx_free(m);
}

static void truncation_is_refused_everywhere(void **state)
{
    (void)state;
    struct eml_buf g = small_graph(), file = {0};
    eml_pb_model(&file, 8, &g, 17);
    for (size_t n = 0; n < file.len; n++) {
        struct eml_onnx_model *m;
        struct eml_onnx_diag d;
        uint8_t *exact = malloc(n + 1); /* so that a sanitizer sees a read beyond n */
        assert_non_null(exact);
        memcpy(exact, file.ptr, n);
        assert_int_not_equal(eml_onnx_parse(eml_bytes(exact, n), NULL, &m, &d), EML_OK);
        assert_null(m);
        assert_non_null(d.why.rule);
        free(exact);
    }
    eml_buf_free(&file);
}

static void flipped_bits_never_crash(void **state)
{
    (void)state;
    struct eml_buf g = small_graph(), file = {0};
    size_t refused = 0;
    eml_pb_model(&file, 8, &g, 17);
    for (size_t bit = 0; bit < 8 * file.len; bit++) {
        struct eml_onnx_model *m;
        file.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        refused += eml_onnx_parse(eml_buf_bytes(&file), NULL, &m, NULL) != EML_OK;
        eml_onnx_free(m);
        file.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(refused > 4 * file.len);
    eml_buf_free(&file);
}

static void subject_is_printable_and_cut(void **state)
{
    (void)state;
    struct eml_buf g = small_graph(), file = {0}, name = {0};
    struct eml_onnx_model *m;
    struct eml_onnx_diag d;
    eml_buf_put(&name, EML_LIT("\033[2J"));
    for (int i = 0; i < 300; i++)
        eml_buf_put(&name, EML_LIT("\xc3\xa9"));
    eml_buf_put_u8(&name, 0);
    eml_pb_node(&g, "", "Relu", NAMES((const char *)name.ptr), NAMES("q"), NULL);
    eml_pb_model(&file, 8, &g, 17);
    assert_int_equal(parse(&file, &m, &d), EML_E_INPUT);
    assert_memory_equal(d.subject, "?[2J\xc3\xa9", 6);
    assert_int_equal(strlen(d.subject), 158); /* 4 + 77 pairs: no half character */
    eml_buf_free(&name);
}

/* A model whose graph is `g` (freed) is refused for this reason. */
static void assert_refused(struct eml_buf *g, const char *rule)
{
    struct eml_buf file = {0};
    struct eml_onnx_model *m;
    struct eml_onnx_diag d;
    eml_pb_model(&file, 8, g, 17);
    assert_int_equal(parse(&file, &m, &d), EML_E_INPUT);
    assert_string_equal(d.why.rule, rule);
}

static void every_limit_is_reached(void **state)
{
    (void)state;
    struct eml_buf g = {0}, attrs = {0}, node = {0}, file = {0};
    for (uint32_t i = 0; i <= EML_ONNX_MESSAGES_MAX; i++)
        eml_buf_put(&g, EML_LIT("\x0a\0")); /* an empty node */
    assert_refused(&g, "onnx: too many messages");
    for (uint32_t i = 0; i < EML_ONNX_MESSAGES_MAX / 2; i++)
        eml_buf_put(&g, EML_LIT("\x0a\0"));
    assert_refused(&g, "onnx: needs far more memory than its size");
    for (uint32_t i = 0; i <= EML_ONNX_VALUES_MAX; i++)
        eml_buf_put(&node, EML_LIT("\x12\1x")); /* an output */
    eml_pb_msg(&g, 1, &node);
    assert_refused(&g, "onnx: too many values or nodes");
    for (int i = 0; i <= 256; i++)
        eml_pb_attr_int(&attrs, "a", 1);
    eml_pb_node(&g, "", "Relu", NAMES("", ""), NAMES(""), &attrs);
    assert_refused(&g, "onnx: a node has too many attributes");

    struct eml_onnx_model *m;
    struct eml_onnx_diag d;
    for (int i = 0; i <= 256; i++) {
        struct eml_buf set = {0};
        eml_pb_int(&set, 2, 1);
        eml_pb_msg(&file, 8, &set);
    }
    g = small_graph();
    eml_pb_model(&file, 8, &g, 17);
    assert_int_equal(parse(&file, &m, &d), EML_E_INPUT);
    assert_string_equal(d.why.rule, "onnx: too many operator sets");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_model_becomes_ids),
        cmocka_unit_test(foreign_models_are_read),
        cmocka_unit_test(unreadable_files_are_named_errors),
        cmocka_unit_test(initializers_and_inputs),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(model_level_mistakes),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(values_that_subgraphs_name_are_marked),
        cmocka_unit_test(truncation_is_refused_everywhere),
        cmocka_unit_test(flipped_bits_never_crash),
        cmocka_unit_test(every_limit_is_reached),
        cmocka_unit_test(subject_is_printable_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
