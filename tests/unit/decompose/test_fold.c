#include "build.h"

static void shape_arithmetic_becomes_constant(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(EML_DIM_UNKNOWN, 3, 4));
    struct eml_ir_value *dims = OP(&t, SHAPE, x);
    struct eml_ir_value *c = OP(&t, GATHER, dims, t_ints(&t, DIMS(1)));
    struct eml_ir_node *cat = NODE(&t, CONCAT, t_ints(&t, DIMS(-1)), c);
    eml_ir_set_int(t.ir, cat, EML_ATTR_AXIS, 0);
    struct eml_ir_node *reshape = NODE(&t, RESHAPE, x, cat->out[0]);
    t_output(&t, reshape->out[0]);
    OK(eml_fold(t.ir, why));
    assert_int_equal(eml_ir_node_count(t.ir), 1);
    assert_non_null(reshape->in[1]->data);
    assert_int_equal(((const int64_t *)reshape->in[1]->data)[1], 3);
    assert_int_equal(reshape->out[0]->shape.dim[0], EML_DIM_UNKNOWN);
    assert_int_equal(reshape->out[0]->shape.dim[1], 3);
    t_close(&t);
}

static void constants_are_computed_by_the_engine(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(2));
    struct eml_ir_node *leaky = NODE(&t, LEAKY_RELU, SCALAR(&t, -4));
    leaky->params[0] = 0.25f;
    leaky->n_params = 1;
    struct eml_ir_value *c = OP(&t, ADD, leaky->out[0], SCALAR(&t, 3)); /* -1 + 3 */
    struct eml_ir_node *mul = NODE(&t, MUL, x, c);
    t_output(&t, mul->out[0]);
    OK(eml_fold(t.ir, why));
    float v = 0;
    assert_int_equal(eml_ir_node_count(t.ir), 1);
    assert_true(eml_ir_scalar(mul->in[1], &v));
    assert_true(v == 2);
    t_close(&t);
}

static void large_results_are_not_folded(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(4096, 4096));
    struct eml_ir_value *big = OP(&t, EXPAND, SCALAR(&t, 1), t_ints(&t, DIMS(4096, 4096)));
    t_output(&t, OP(&t, ADD, x, big));
    OK(eml_fold(t.ir, why));
    assert_int_equal(t_count(&t, EML_OP_EXPAND), 1);
    t_close(&t);
}

static void scales_become_fractions(void **state)
{
    static const struct {
        float scale;
        int64_t num, den;
    } cases[] = {{2, 2, 1}, {0.5f, 1, 2}, {1.5f, 3, 2}, {0.6f, 10066330, 16777216}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct t t;
        t_open(&t, 1);
        struct eml_ir_value *x = t_input(&t, "x", DIMS(1, 1, 8, 8));
        float *s = eml_ir_alloc(t.ir, 4 * sizeof *s);
        s[0] = s[1] = s[2] = 1;
        s[3] = cases[i].scale;
        struct eml_shape four = {1, {4}};
        struct eml_ir_value *in[3] = {x, NULL, eml_ir_const(t.ir, EML_DT_F32, &four, s)};
        struct eml_ir_node *n = eml_ir_node_new(t.ir, NULL, EML_OP_RESIZE, in, 3, 1);
        n->n_params = 2;
        t_output(&t, n->out[0]);
        OK(eml_fold(t.ir, why));
        const int64_t *f = n->in[2]->data;
        assert_int_equal(n->in[2]->dtype, EML_DT_I64);
        assert_int_equal(f[0], 1);
        assert_int_equal(f[1], 1);
        /* not reduced for 0.6: it is the float's exact value */
        assert_true(f[6] * cases[i].den == f[7] * cases[i].num);
        assert_true((double)f[6] / (double)f[7] == (double)cases[i].scale);
        assert_int_equal(n->out[0]->shape.dim[2], 8);
        assert_int_equal(n->out[0]->shape.dim[3], (int64_t)(8 * cases[i].scale));
        t_close(&t);
    }
}

static void misfits_name_their_node(void **state)
{
    struct t t;
    struct eml_why why = {0};
    (void)state;
    t_open(&t, 1);
    struct eml_ir_node *n =
        NODE(&t, ADD, t_input(&t, "a", DIMS(2, 3)), t_input(&t, "b", DIMS(2, 4)));
    n->origin = 17;
    t_output(&t, n->out[0]);
    assert_int_equal(eml_fold(t.ir, &why), EML_E_INPUT);
    assert_int_equal(why.index, 17);
    assert_non_null(why.rule);
    t_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shape_arithmetic_becomes_constant),
        cmocka_unit_test(constants_are_computed_by_the_engine),
        cmocka_unit_test(large_results_are_not_folded),
        cmocka_unit_test(scales_become_fractions),
        cmocka_unit_test(misfits_name_their_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
