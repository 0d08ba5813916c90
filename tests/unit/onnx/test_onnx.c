#include "small_onnx.h"

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
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(values_that_subgraphs_name_are_marked),
        cmocka_unit_test(truncation_is_refused_everywhere),
        cmocka_unit_test(flipped_bits_never_crash),
        cmocka_unit_test(every_limit_is_reached),
        cmocka_unit_test(subject_is_printable_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
