#include "build.h"

/* ---- spellings; each reads the input "x" and is the graph's output ---- */

static struct eml_ir_value *x_of(struct t *t)
{
    return t_input(t, "x", DIMS(EML_DIM_UNKNOWN, 8));
}

static void hard_swish_paddle(struct t *t)
{
    struct eml_ir_value *x = x_of(t);
    struct eml_ir_value *clip =
        OP(t, CLIP, OP(t, ADD, x, SCALAR(t, 3)), SCALAR(t, 0), SCALAR(t, 6));
    t_output(t, OP(t, DIV, OP(t, MUL, x, clip), SCALAR(t, 6)));
}

static void hard_swish_by_factor(struct t *t)
{
    struct eml_ir_value *x = x_of(t);
    struct eml_ir_value *clip =
        OP(t, CLIP, OP(t, ADD, SCALAR(t, 3), x), SCALAR(t, 0), SCALAR(t, 6));
    t_output(t, OP(t, MUL, SCALAR(t, 1.0f / 6), OP(t, MUL, clip, x)));
}

static void hard_swish_of_gate(struct t *t)
{
    struct eml_ir_value *x = x_of(t);
    struct eml_ir_value *clip =
        OP(t, CLIP, OP(t, ADD, x, SCALAR(t, 3)), SCALAR(t, 0), SCALAR(t, 6));
    t_output(t, OP(t, MUL, x, OP(t, DIV, clip, SCALAR(t, 6))));
}

static void silu(struct t *t)
{
    struct eml_ir_value *x = x_of(t);
    t_output(t, OP(t, MUL, OP(t, SIGMOID, x), x));
}

static void silu_times_one(struct t *t) /* PaddlePaddle's swish has a beta of 1 */
{
    struct eml_ir_value *x = x_of(t);
    t_output(t, OP(t, MUL, x, OP(t, SIGMOID, OP(t, MUL, x, SCALAR(t, 1)))));
}

static struct eml_ir_value *erf_plus_one(struct t *t, struct eml_ir_value *x)
{
    return OP(t, ADD, OP(t, ERF, OP(t, DIV, x, SCALAR(t, 1.41421356f))), SCALAR(t, 1));
}

static void gelu_half_last(struct t *t)
{
    struct eml_ir_value *x = x_of(t);
    t_output(t, OP(t, MUL, OP(t, MUL, x, erf_plus_one(t, x)), SCALAR(t, 0.5f)));
}

static void gelu_half_first(struct t *t)
{
    struct eml_ir_value *x = x_of(t);
    t_output(t, OP(t, MUL, OP(t, MUL, x, SCALAR(t, 0.5f)), erf_plus_one(t, x)));
}

static void gelu_by_product(struct t *t)
{
    struct eml_ir_value *x = x_of(t);
    struct eml_ir_value *erf = OP(t, ERF, OP(t, MUL, x, SCALAR(t, 0.70710678f)));
    t_output(t, OP(t, MUL, x, OP(t, MUL, OP(t, ADD, SCALAR(t, 1), erf), SCALAR(t, 0.5f))));
}

static void gelu_tanh(struct t *t)
{
    struct eml_ir_value *x = x_of(t);
    struct eml_ir_value *cube = OP(t, MUL, OP(t, POW, x, SCALAR(t, 3)), SCALAR(t, 0.044715f));
    struct eml_ir_value *arg = OP(t, MUL, OP(t, ADD, x, cube), SCALAR(t, 0.79788456f));
    struct eml_ir_value *gate = OP(t, ADD, OP(t, TANH, arg), SCALAR(t, 1));
    t_output(t, OP(t, MUL, OP(t, MUL, x, SCALAR(t, 0.5f)), gate));
}

static const struct {
    const char *name;
    void (*build)(struct t *);
    enum eml_act act;
} activations[] = {
    {"hard-swish, PaddlePaddle", hard_swish_paddle, EML_ACT_HARD_SWISH},
    {"hard-swish by a factor", hard_swish_by_factor, EML_ACT_HARD_SWISH},
    {"hard-swish of a gate", hard_swish_of_gate, EML_ACT_HARD_SWISH},
    {"SiLU", silu, EML_ACT_SILU},
    {"SiLU with a product by one", silu_times_one, EML_ACT_SILU},
    {"GELU, half last", gelu_half_last, EML_ACT_GELU},
    {"GELU, half first", gelu_half_first, EML_ACT_GELU},
    {"GELU by a product", gelu_by_product, EML_ACT_GELU},
    {"GELU by tanh", gelu_tanh, EML_ACT_GELU_TANH},
};

static void spellings_become_one_activation(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++) {
        struct t t;
        print_message("%s\n", activations[i].name);
        t_same_after_passes(&t, activations[i].build, 5);
        assert_int_equal(eml_ir_node_count(t.ir), 1);
        assert_int_equal(t.ir->first->op, EML_OP_ACTIVATE);
        assert_int_equal(eml_ir_int(t.ir->first, EML_ATTR_ACT, 0), activations[i].act);
        t_close(&t);
    }
}

static void hard_sigmoid(struct t *t)
{
    struct eml_ir_value *x = x_of(t);
    struct eml_ir_value *clip =
        OP(t, CLIP, OP(t, ADD, x, SCALAR(t, 3)), SCALAR(t, 0), SCALAR(t, 6));
    t_output(t, OP(t, DIV, clip, SCALAR(t, 6)));
}

static void hard_sigmoid_is_found(void **state)
{
    struct t t;
    (void)state;
    t_same_after_passes(&t, hard_sigmoid, 5);
    assert_int_equal(eml_ir_node_count(t.ir), 1);
    assert_int_equal(t.ir->first->op, EML_OP_HARD_SIGMOID);
    t_close(&t);
}

static void layer_norm(struct t *t)
{
    struct eml_ir_value *x = x_of(t), *axis = t_ints(t, DIMS(-1));
    struct eml_ir_value *d = OP(t, SUB, x, OP(t, REDUCE_MEAN, x, axis));
    struct eml_ir_value *v = OP(t, REDUCE_MEAN, OP(t, POW, d, SCALAR(t, 2)), axis);
    struct eml_ir_value *y = OP(t, DIV, d, OP(t, SQRT, OP(t, ADD, v, SCALAR(t, 1e-5f))));
    y = OP(t, MUL, y, t_weights(t, 0.5f, 1.5f, DIMS(8)));
    t_output(t, OP(t, ADD, y, t_weights(t, -1, 1, DIMS(8))));
}

static void layer_norm_is_found(void **state)
{
    struct t t;
    (void)state;
    t_same_after_passes(&t, layer_norm, 5);
    assert_int_equal(eml_ir_node_count(t.ir), 1);
    assert_int_equal(t.ir->first->op, EML_OP_LAYER_NORMALIZATION);
    assert_int_equal(t.ir->first->n_in, 3);
    t_close(&t);
}

/* ---- what only looks like one ---- */

static void wrong_slope(struct t *t) /* clip to 6, divided by 5 */
{
    struct eml_ir_value *x = x_of(t);
    struct eml_ir_value *clip =
        OP(t, CLIP, OP(t, ADD, x, SCALAR(t, 3)), SCALAR(t, 0), SCALAR(t, 6));
    t_output(t, OP(t, DIV, OP(t, MUL, x, clip), SCALAR(t, 5)));
}

static void two_inputs(struct t *t) /* y * clip(x + 3) / 6 */
{
    struct eml_ir_value *x = x_of(t), *y = t_input(t, "other", DIMS(EML_DIM_UNKNOWN, 8));
    struct eml_ir_value *clip =
        OP(t, CLIP, OP(t, ADD, x, SCALAR(t, 3)), SCALAR(t, 0), SCALAR(t, 6));
    t_output(t, OP(t, DIV, OP(t, MUL, y, clip), SCALAR(t, 6)));
}

static void other_axis(struct t *t) /* mean over axis 0 */
{
    struct eml_ir_value *x = x_of(t), *axis = t_ints(t, DIMS(0));
    struct eml_ir_value *d = OP(t, SUB, x, OP(t, REDUCE_MEAN, x, axis));
    struct eml_ir_value *v = OP(t, REDUCE_MEAN, OP(t, POW, d, SCALAR(t, 2)), axis);
    t_output(t, OP(t, DIV, d, OP(t, SQRT, OP(t, ADD, v, SCALAR(t, 1e-5f)))));
}

static void lookalikes_stay(void **state)
{
    void (*const builds[])(struct t *) = {wrong_slope, two_inputs, other_axis};
    (void)state;
    for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++) {
        struct t t;
        t_same_after_passes(&t, builds[i], 5);
        assert_int_equal(t_count(&t, EML_OP_ACTIVATE), 0);
        assert_int_equal(t_count(&t, EML_OP_LAYER_NORMALIZATION), 0);
        t_close(&t);
    }
}

static void squeeze_and_excite(struct t *t)
{
    struct eml_ir_value *x = t_input(t, "x", DIMS(EML_DIM_UNKNOWN, 8, 5, 5));
    struct eml_ir_value *s = OP(t, SIGMOID, OP(t, GLOBAL_AVERAGE_POOL, x));
    t_output(t, OP(t, ADD, x, OP(t, MUL, x, s)));
}

static void gated_sum_is_one_product(void **state)
{
    struct t t;
    (void)state;
    t_same_after_passes(&t, squeeze_and_excite, 2);
    const struct eml_ir_node *add = t_find(&t, EML_OP_ADD);
    assert_int_equal(t_count(&t, EML_OP_ADD), 1);
    assert_int_equal(add->out[0]->shape.dim[1], 1); /* on the gate, not on x */
    t_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spellings_become_one_activation),
        cmocka_unit_test(hard_sigmoid_is_found),
        cmocka_unit_test(layer_norm_is_found),
        cmocka_unit_test(lookalikes_stay),
        cmocka_unit_test(gated_sum_is_one_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
