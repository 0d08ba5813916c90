#include "build.h"

#include "testsupport/pb.h"

#define NAMES(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

/* A model of one node (and what the test put into the graph before). */
struct model {
    struct eml_buf graph;
    struct eml_onnx_model *m;
    struct t t;
};

static void begin(struct model *d, const int64_t *dims, size_t rank)
{
    memset(d, 0, sizeof *d);
    t_open(&d->t, 1);
    eml_pb_value(&d->graph, 11, "x", EML_DT_F32, dims, rank);
    eml_pb_value(&d->graph, 12, "y", EML_DT_F32, NULL, 0);
}

static enum eml_err import(struct model *d, int64_t opset, struct eml_why *why)
{
    struct eml_buf file = {0};
    struct eml_onnx_diag diag = {0};
    eml_pb_model(&file, 7, &d->graph, opset);
    if (eml_onnx_parse(eml_buf_bytes(&file), NULL, &d->m, &diag) != EML_OK)
        fail_msg("%s", diag.why.rule);
    eml_buf_free(&file);
    return eml_import(d->t.ir, d->m, why);
}

static void end(struct model *d)
{
    eml_onnx_free(d->m);
    t_close(&d->t);
}

static const int64_t *ints_of(const struct eml_ir_node *n, uint32_t i)
{
    assert_non_null(eml_ir_in(n, i));
    assert_int_equal(n->in[i]->dtype, EML_DT_I64);
    return n->in[i]->data;
}

static void attributes_of_old_become_operands(void **state)
{
    struct model d;
    struct eml_buf a = {0};
    (void)state;
    begin(&d, DIMS(2, 3, 4));
    eml_pb_attr_ints(&a, "starts", (int64_t[]){1}, 1);
    eml_pb_attr_ints(&a, "ends", (int64_t[]){9}, 1);
    eml_pb_attr_ints(&a, "axes", (int64_t[]){2}, 1);
    eml_pb_node(&d.graph, "", "Slice", NAMES("x"), NAMES("y"), &a);
    OK(import(&d, 9, why));
    const struct eml_ir_node *n = t_find(&d.t, EML_OP_SLICE);
    assert_int_equal(n->n_in, 4);
    assert_int_equal(ints_of(n, 1)[0], 1);
    assert_int_equal(ints_of(n, 2)[0], 9);
    assert_int_equal(ints_of(n, 3)[0], 2);
    assert_int_equal(n->n_attr, 0);
    assert_int_equal(n->out[0]->shape.dim[2], 3); /* inferred on the way */
    end(&d);
}

static void floats_become_operands_or_params(void **state)
{
    struct model d;
    struct eml_buf a = {0}, b = {0};
    float v;
    (void)state;
    begin(&d, DIMS(2));
    eml_pb_attr_f32(&a, "max", 6);
    eml_pb_node(&d.graph, "", "Clip", NAMES("x"), NAMES("c"), &a);
    eml_pb_attr_f32(&b, "beta", 0.75f);
    eml_pb_node(&d.graph, "", "HardSigmoid", NAMES("c"), NAMES("y"), &b);
    OK(import(&d, 6 + 3, why));
    const struct eml_ir_node *clip = t_find(&d.t, EML_OP_CLIP);
    assert_null(eml_ir_in(clip, 1));
    assert_true(eml_ir_scalar(eml_ir_in(clip, 2), &v) && v == 6);
    const struct eml_ir_node *hs = t_find(&d.t, EML_OP_HARD_SIGMOID);
    assert_int_equal(hs->n_params, 2);
    assert_true(hs->params[0] == 0.2f); /* the default */
    assert_true(hs->params[1] == 0.75f);
    end(&d);
}

static void enumerations_become_numbers(void **state)
{
    struct model d;
    struct eml_buf a = {0};
    (void)state;
    begin(&d, DIMS(2, 3));
    eml_pb_attr_str(&a, "mode", "edge");
    eml_pb_attr_ints(&a, "pads", (int64_t[]){0, 1, 0, 1}, 4);
    eml_pb_node(&d.graph, "", "Pad", NAMES("x"), NAMES("y"), &a);
    OK(import(&d, 9, why));
    assert_int_equal(eml_ir_int(t_find(&d.t, EML_OP_PAD), EML_ATTR_MODE, 9), 2);
    end(&d);
}

static void softmax_of_old_flattens(void **state)
{
    static const struct {
        int64_t opset, axis;
        uint32_t nodes;
    } cases[] = {{9, 1, 4}, {9, 2, 1}, {11, -1, 1}, {13, 1, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct model d;
        struct eml_buf a = {0};
        begin(&d, DIMS(EML_DIM_UNKNOWN, 3, 4));
        eml_pb_attr_int(&a, "axis", cases[i].axis);
        eml_pb_node(&d.graph, "", "Softmax", NAMES("x"), NAMES("y"), &a);
        OK(import(&d, cases[i].opset, why));
        assert_int_equal(eml_ir_node_count(d.t.ir), cases[i].nodes);
        const struct eml_ir_node *n = t_find(&d.t, EML_OP_SOFTMAX);
        if (cases[i].opset < 13)
            assert_int_equal(eml_ir_int(n, EML_ATTR_AXIS, 0), -1);
        assert_int_equal(d.t.ir->outputs[0].value->shape.rank, 3);
        end(&d);
    }
}

static void what_only_onnx_has_goes(void **state)
{
    struct model d;
    struct eml_buf a = {0}, b = {0};
    (void)state;
    begin(&d, DIMS(2));
    eml_pb_attr_f32(&a, "value_float", 4);
    eml_pb_node(&d.graph, "", "Constant", NAMES(NULL), NAMES("c"), &a);
    eml_pb_node(&d.graph, "", "Identity", NAMES("x"), NAMES("i"), NULL);
    eml_pb_attr_f32(&b, "ratio", 0.3f);
    eml_pb_node(&d.graph, "", "Dropout", NAMES("i"), NAMES("d"), &b);
    eml_pb_node(&d.graph, "", "Mul", NAMES("d", "c"), NAMES("y"), NULL);
    OK(import(&d, 11, why)); /* value_float came with 12: the importer does not mind */
    float v;
    assert_int_equal(eml_ir_node_count(d.t.ir), 1);
    assert_ptr_equal(d.t.ir->first->in[0], d.t.ir->inputs[0].value);
    assert_true(eml_ir_scalar(d.t.ir->first->in[1], &v) && v == 4);
    end(&d);
}

static void upsampling_of_old_is_a_resize(void **state)
{
    static const float scales[4] = {1, 1, 2, 3};
    (void)state;
    for (int old = 0; old < 2; old++) {
        struct model d;
        begin(&d, DIMS(1, 1, 4, 4));
        eml_pb_tensor(&d.graph, 5, "s", EML_DT_F32, (int64_t[]){4}, 1,
                      eml_bytes(scales, sizeof scales));
        eml_pb_node(&d.graph, "", old != 0 ? "Upsample" : "Resize", NAMES("x", "s"), NAMES("y"),
                    NULL);
        OK(import(&d, old != 0 ? 9 : 10, why));
        const struct eml_ir_node *n = t_find(&d.t, EML_OP_RESIZE);
        assert_int_equal(eml_ir_int(n, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, 0), 3);
        assert_int_equal(eml_ir_int(n, EML_ATTR_NEAREST_MODE, 0), 2);
        assert_int_equal(n->n_params, 2);
        assert_null(eml_ir_in(n, 1));
        assert_int_equal(n->out[0]->shape.dim[2], 8);
        assert_int_equal(n->out[0]->shape.dim[3], 12);
        end(&d);
    }
}

/* Between two nodes that compute nothing is rounded; what leaves is, and what was asked for. */
static void half_precision_is_computed_in_float32(void **state)
{
    struct model d;
    struct eml_buf to_f32 = {0};
    (void)state;
    memset(&d, 0, sizeof d);
    t_open(&d.t, 1);
    eml_pb_value(&d.graph, 11, "x", EML_DT_F16, DIMS(2, 3));
    eml_pb_value(&d.graph, 12, "y", EML_DT_F16, NULL, 0);
    eml_pb_value(&d.graph, 12, "z", EML_DT_F32, NULL, 0);
    eml_pb_attr_int(&to_f32, "to", EML_DT_F32);
    eml_pb_node(&d.graph, "", "Transpose", NAMES("x"), NAMES("t"), NULL);
    eml_pb_node(&d.graph, "", "Exp", NAMES("t"), NAMES("e"), NULL);
    eml_pb_node(&d.graph, "", "Transpose", NAMES("e"), NAMES("u"), NULL);
    eml_pb_node(&d.graph, "", "Add", NAMES("u", "x"), NAMES("y"), NULL);
    eml_pb_node(&d.graph, "", "Cast", NAMES("e"), NAMES("z"), &to_f32);
    OK(import(&d, 13, why));
    (void)eml_ir_sweep(d.t.ir);
    const struct eml_ir_node *moved = d.t.ir->first, *add = t_find(&d.t, EML_OP_ADD);
    assert_int_equal(moved->op, EML_OP_TRANSPOSE);
    assert_int_equal(moved->out[0]->dtype, EML_DT_F16); /* moving needs no float32 */
    const struct eml_ir_node *exp = t_find(&d.t, EML_OP_EXP);
    assert_int_equal(exp->in[0]->dtype, EML_DT_F32);
    assert_int_equal(add->in[0]->maker->op, EML_OP_TRANSPOSE);
    assert_ptr_equal(add->in[0]->maker->in[0], exp->out[0]); /* not rounded */
    assert_int_equal(d.t.ir->outputs[0].value->dtype, EML_DT_F16);
    assert_ptr_equal(d.t.ir->outputs[0].value->maker->in[0], add->out[0]);
    const struct eml_ir_node *asked = d.t.ir->outputs[1].value->maker;
    assert_int_equal(asked->in[0]->dtype, EML_DT_F16); /* rounded, then cast */
    assert_ptr_equal(asked->in[0]->maker->in[0], exp->out[0]);
    end(&d);
}

static void what_cannot_be_imported_names_its_node(void **state)
{
    struct model d;
    struct eml_why why = {0};
    struct eml_buf a = {0};
    (void)state;
    begin(&d, DIMS(2));
    eml_pb_node(&d.graph, "", "Relu", NAMES("x"), NAMES("r"), NULL);
    eml_pb_node(&d.graph, "", "Fantasy", NAMES("r"), NAMES("y"), NULL);
    assert_int_equal(import(&d, 13, &why), EML_E_UNSUPPORTED);
    assert_int_equal(why.index, 1);
    end(&d);

    begin(&d, DIMS(2, 2));
    eml_pb_attr_int(&a, "unheard_of", 1);
    eml_pb_node(&d.graph, "", "Transpose", NAMES("x"), NAMES("y"), &a);
    assert_int_equal(import(&d, 13, &why), EML_E_UNSUPPORTED);
    assert_int_equal(why.index, 0);
    end(&d);

    begin(&d, DIMS(2, 3));
    eml_pb_node(&d.graph, "", "Add", NAMES("x", "x"), NAMES("s"), NULL);
    eml_pb_node(&d.graph, "", "MatMul", NAMES("s", "s"), NAMES("y"), NULL);
    assert_int_equal(import(&d, 13, &why), EML_E_INPUT);
    assert_int_equal(why.index, 1);
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_of_old_become_operands),
        cmocka_unit_test(floats_become_operands_or_params),
        cmocka_unit_test(enumerations_become_numbers),
        cmocka_unit_test(softmax_of_old_flattens),
        cmocka_unit_test(what_only_onnx_has_goes),
        cmocka_unit_test(upsampling_of_old_is_a_resize),
        cmocka_unit_test(half_precision_is_computed_in_float32),
        cmocka_unit_test(what_cannot_be_imported_names_its_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
