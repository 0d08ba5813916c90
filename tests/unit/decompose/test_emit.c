#include "build.h"

static const struct eml_value *operand(const struct eml_emitted *e, uint32_t node, uint32_t i)
{
    return &e->graph.values[e->graph.nodes[node].in[i]];
}

static float stream_f32(const struct eml_emitted *e, const struct eml_value *v, size_t i)
{
    float f;
    memcpy(&f, e->weights.ptr + v->offset + i * sizeof f, sizeof f);
    return f;
}

static void slots_lie_in_order_of_execution(void **state)
{
    struct t t;
    struct eml_emitted e;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(2, 20));
    x = OP(&t, ADD, x, t_weights(&t, -1, 1, DIMS(20)));
    struct eml_ir_node *leaky = NODE(&t, LEAKY_RELU, x);
    leaky->params[0] = 0.25f;
    leaky->n_params = 1;
    t_output(&t, OP(&t, MUL, leaky->out[0], t_weights(&t, -1, 1, DIMS(1, 20))));
    OK(eml_fold(t.ir, why));
    OK(eml_emit(t.ir, &e, why));
    const struct eml_value *add = operand(&e, 0, 1), *mul = operand(&e, 2, 1);
    const struct eml_value *params = &e.graph.values[e.graph.nodes[1].params];
    assert_int_equal(add->offset, 0);
    assert_int_equal(params->offset, 128);
    assert_int_equal(mul->offset, 192);
    assert_int_equal(e.weights.len, 320);
    assert_true(stream_f32(&e, params, 0) == 0.25f);
    assert_int_equal(add->layout, EML_LAYOUT_PLAIN);
    t_close(&t);
}

static void weights_are_packed_for_their_reader(void **state)
{
    struct t t;
    struct eml_emitted e;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *w = t_weights(&t, -1, 1, DIMS(3, 20));
    struct eml_ir_value *x = OP(&t, MATMUL, t_input(&t, "x", DIMS(4, 3)), w);
    t_output(&t, OP(&t, MATMUL, x, OP(&t, MATMUL, t_input(&t, "z", DIMS(20, 3)), w)));
    OK(eml_fold(t.ir, why));
    OK(eml_emit(t.ir, &e, why));
    const struct eml_value *p = operand(&e, 0, 1);
    assert_ptr_equal(operand(&e, 1, 1), p); /* read twice, packed once */
    assert_int_equal(p->layout, EML_LAYOUT_PANEL16);
    assert_int_equal(p->bytes, 3 * 32 * sizeof(float));
    assert_int_equal(p->shape.dim[1], 20); /* the logical shape stays */
    const float *plain = w->data;
    for (size_t k = 0; k < 3; k++)
        for (size_t n = 0; n < 32; n++) {
            float got = stream_f32(&e, p, n / 16 * 3 * 16 + k * 16 + n % 16);
            assert_true(got == (n < 20 ? plain[k * 20 + n] : 0));
        }
    t_close(&t);
}

static void a_constant_read_in_two_ways_has_two_slots(void **state)
{
    struct t t;
    struct eml_emitted e;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *w = t_weights(&t, -1, 1, DIMS(16, 16));
    struct eml_ir_value *x = OP(&t, MATMUL, t_input(&t, "x", DIMS(16, 16)), w);
    x = OP(&t, ADD, x, w);
    t_output(&t, OP(&t, SUB, x, w));
    OK(eml_fold(t.ir, why));
    OK(eml_emit(t.ir, &e, why));
    assert_int_equal(operand(&e, 0, 1)->layout, EML_LAYOUT_PANEL16);
    assert_int_equal(operand(&e, 1, 1)->layout, EML_LAYOUT_PLAIN);
    t_close(&t);
}

static void only_steering_integers_are_in_the_key(void **state)
{
    struct t t;
    struct eml_emitted e;
    (void)state;
    t_open(&t, 1);
    struct eml_shape s = t_shape(DIMS(EML_DIM_UNKNOWN, 4));
    struct eml_ir_value *x = eml_ir_add_input(t.ir, EML_LIT("x"), EML_DT_I64, &s);
    x = OP(&t, ADD, x, t_ints(&t, DIMS(7, 8, 9, 10))); /* data */
    x = OP(&t, RESHAPE, x, t_ints(&t, DIMS(-1, 2)));   /* steers */
    x = OP(&t, UNSQUEEZE, x, t_ints(&t, DIMS(0)));     /* steers */
    t_output(&t, x);
    OK(eml_fold(t.ir, why));
    OK(eml_emit(t.ir, &e, why));
    assert_int_equal(operand(&e, 0, 1)->kind, EML_VALUE_SLOT);
    assert_int_equal(operand(&e, 1, 1)->kind, EML_VALUE_INTS);
    assert_int_equal(operand(&e, 2, 1)->kind, EML_VALUE_INTS);
    t_close(&t);
}

static void shape_arithmetic_in_int32_keeps_its_constants(void **state)
{
    struct t t;
    struct eml_emitted e;
    static const int32_t two = 2;
    struct eml_shape one = {1, {1}};
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(EML_DIM_UNKNOWN, 4));
    struct eml_ir_node *to32 = NODE(&t, CAST, OP(&t, SHAPE, x));
    eml_ir_set_int(t.ir, to32, EML_ATTR_TO, EML_DT_I32);
    struct eml_ir_value *half =
        OP(&t, DIV, to32->out[0], eml_ir_const(t.ir, EML_DT_I32, &one, &two));
    struct eml_ir_node *to64 = NODE(&t, CAST, half);
    eml_ir_set_int(t.ir, to64, EML_ATTR_TO, EML_DT_I64);
    struct eml_ir_value *begin = t_ints(&t, DIMS(0, 0));
    t_output(&t, OP(&t, SLICE, x, begin, to64->out[0]));
    OK(eml_fold(t.ir, why));
    OK(eml_emit(t.ir, &e, why));
    for (uint32_t i = 0; i < e.graph.n_values; i++)
        assert_int_not_equal(e.graph.values[i].kind, EML_VALUE_SLOT);
    assert_int_equal(e.weights.len, 0);
    t_close(&t);
}

static void outputs_without_a_node_are_copied(void **state)
{
    struct t t;
    struct eml_emitted e;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(2));
    eml_ir_add_output(t.ir, EML_LIT("a"), x);
    eml_ir_add_output(t.ir, EML_LIT("b"), t_weights(&t, -1, 1, DIMS(3)));
    eml_ir_add_output(t.ir, EML_LIT("c"), x);
    OK(eml_fold(t.ir, why));
    OK(eml_emit(t.ir, &e, why));
    assert_int_equal(e.graph.n_nodes, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(e.graph.values[e.graph.outputs[i].value].kind, EML_VALUE_NODE);
    t_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_lie_in_order_of_execution),
        cmocka_unit_test(weights_are_packed_for_their_reader),
        cmocka_unit_test(a_constant_read_in_two_ways_has_two_slots),
        cmocka_unit_test(only_steering_integers_are_in_the_key),
        cmocka_unit_test(shape_arithmetic_in_int32_keeps_its_constants),
        cmocka_unit_test(outputs_without_a_node_are_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
