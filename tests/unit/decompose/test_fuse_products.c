#include "build.h"

static struct eml_ir_value *image(struct t *t, const char *name, int64_t channels)
{
    return t_input(t, name, DIMS(EML_DIM_UNKNOWN, channels, 6, 6));
}

static struct eml_ir_node *conv(struct t *t, struct eml_ir_value *x, int64_t in, int64_t out,
                                int64_t k, int64_t group, bool bias)
{
    struct eml_ir_value *w = t_weights(t, -1, 1, DIMS(out, in / group, k, k));
    struct eml_ir_node *n = NODE(t, CONV, x, w);
    int64_t p = k / 2;
    if (bias)
        eml_ir_set_in(t->ir, n, 2, t_weights(t, -1, 1, DIMS(out)));
    eml_ir_set_attr(t->ir, n, EML_ATTR_PADS, (int64_t[]){p, p, p, p}, 4);
    eml_ir_set_int(t->ir, n, EML_ATTR_GROUP, group);
    return n;
}

static struct eml_ir_value *batch_norm(struct t *t, struct eml_ir_value *x, int64_t c)
{
    struct eml_ir_node *n = NODE(t, BATCH_NORMALIZATION, x, t_weights(t, 0.5f, 1.5f, DIMS(c)),
                                 t_weights(t, -1, 1, DIMS(c)), t_weights(t, -1, 1, DIMS(c)),
                                 t_weights(t, 0.5f, 2, DIMS(c)));
    n->params[0] = 1e-5f;
    n->n_params = 1;
    return n->out[0];
}

static void conv_chain(struct t *t) /* Paddle: conv, BN, scale, shift, hard-swish */
{
    struct eml_ir_value *x = conv(t, image(t, "x", 3), 3, 20, 3, 1, false)->out[0];
    x = batch_norm(t, x, 20);
    x = OP(t, MUL, t_weights(t, 1, 2, DIMS(1)), x);
    x = OP(t, ADD, x, t_weights(t, -1, 1, DIMS(1)));
    t_output(t, OP(t, RELU, x));
}

static void depthwise_chain(struct t *t)
{
    struct eml_ir_value *x = conv(t, image(t, "x", 20), 20, 20, 3, 20, true)->out[0];
    x = OP(t, DIV, batch_norm(t, x, 20), t_weights(t, 1, 2, DIMS(20, 1, 1)));
    t_output(t, OP(t, PRELU, x, t_weights(t, 0, 1, DIMS(20, 1, 1))));
}

static void grouped_chain(struct t *t)
{
    struct eml_ir_value *x = conv(t, image(t, "x", 6), 6, 10, 3, 2, true)->out[0];
    x = OP(t, SUB, batch_norm(t, x, 10), t_weights(t, 1, 2, DIMS(1, 10, 1, 1)));
    t_output(t, OP(t, CLIP, x, SCALAR(t, -0.5f), SCALAR(t, 1)));
}

static void transposed_chain(struct t *t)
{
    struct eml_ir_node *n =
        NODE(t, CONV_TRANSPOSE, image(t, "x", 6), t_weights(t, -1, 1, DIMS(6, 5, 2, 2)));
    eml_ir_set_attr(t->ir, n, EML_ATTR_STRIDES, (int64_t[]){2, 2}, 2);
    eml_ir_set_int(t->ir, n, EML_ATTR_GROUP, 2);
    struct eml_ir_value *x = OP(t, ADD, n->out[0], t_weights(t, -1, 1, DIMS(1, 10, 1, 1)));
    t_output(t, OP(t, SIGMOID, batch_norm(t, x, 10)));
}

static void linear_chain(struct t *t) /* PyTorch: bias + x*W, then a residual and an activation */
{
    struct eml_ir_value *x = t_input(t, "x", DIMS(EML_DIM_UNKNOWN, 7, 24));
    struct eml_ir_value *w = t_weights(t, -1, 1, DIMS(24, 24));
    struct eml_ir_value *y = OP(t, ADD, t_weights(t, -1, 1, DIMS(24)), OP(t, MATMUL, x, w));
    t_output(t, OP(t, TANH, OP(t, ADD, x, y)));
}

static void gemm_chain(struct t *t)
{
    struct eml_ir_value *x = t_input(t, "x", DIMS(EML_DIM_UNKNOWN, 12));
    struct eml_ir_node *n =
        NODE(t, GEMM, x, t_weights(t, -1, 1, DIMS(9, 12)), t_weights(t, -1, 1, DIMS(1, 9)));
    eml_ir_set_int(t->ir, n, EML_ATTR_TRANS_B, 1);
    n->params[0] = 0.5f;
    n->params[1] = 2;
    n->n_params = 2;
    struct eml_ir_node *leaky = NODE(t, LEAKY_RELU, n->out[0]);
    leaky->params[0] = 0.1f;
    leaky->n_params = 1;
    t_output(t, leaky->out[0]);
}

static void scaled_before(struct t *t) /* a scale and a shift before an unpadded conv */
{
    struct eml_ir_value *x = OP(t, GLOBAL_MAX_POOL, image(t, "x", 20));
    x = OP(t, ADD, OP(t, MUL, x, t_weights(t, 1, 2, DIMS(1))), t_weights(t, -1, 1, DIMS(20, 1, 1)));
    t_output(t, conv(t, x, 20, 8, 1, 1, true)->out[0]);
}

static const struct {
    const char *name;
    void (*build)(struct t *);
    enum eml_op op;
    uint32_t nodes; /* that are left, with the transposes of entry and exit */
    enum eml_act act;
} chains[] = {
    {"Conv", conv_chain, EML_OP_CONV, 3, EML_ACT_RELU},
    {"depthwise Conv", depthwise_chain, EML_OP_CONV, 3, EML_ACT_PRELU},
    {"grouped Conv", grouped_chain, EML_OP_CONV, 3, EML_ACT_CLIP},
    {"ConvTranspose", transposed_chain, EML_OP_CONV_TRANSPOSE, 3, EML_ACT_SIGMOID},
    {"linear", linear_chain, EML_OP_MATMUL, 1, EML_ACT_TANH},
    {"Gemm", gemm_chain, EML_OP_MATMUL, 1, EML_ACT_LEAKY_RELU},
    {"scale and shift before", scaled_before, EML_OP_CONV, 4, EML_ACT_NONE},
};

static void chains_become_one_product(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof chains / sizeof chains[0]; i++) {
        struct t t;
        print_message("%s\n", chains[i].name);
        t_same_after_passes(&t, chains[i].build, 3);
        assert_int_equal(t_count(&t, chains[i].op), 1);
        assert_int_equal(eml_ir_int(t_find(&t, chains[i].op), EML_ATTR_ACT, 0), chains[i].act);
        assert_int_equal(eml_ir_node_count(t.ir), chains[i].nodes);
        t_close(&t);
    }
}

static void shift_before_padding(struct t *t) /* the shift must not leak into the padding */
{
    struct eml_ir_value *x = OP(t, RELU, conv(t, image(t, "x", 3), 3, 4, 1, 1, true)->out[0]);
    x = OP(t, ADD, OP(t, MUL, x, t_weights(t, 1, 2, DIMS(1))), t_weights(t, 1, 2, DIMS(1)));
    t_output(t, conv(t, x, 4, 4, 3, 1, true)->out[0]);
}

static void shift_stays_before_padding(void **state)
{
    struct t t;
    (void)state;
    t_same_after_passes(&t, shift_before_padding, 2);
    assert_int_equal(t_count(&t, EML_OP_ADD), 1);
    assert_int_equal(t_count(&t, EML_OP_MUL), 0); /* the scale went into the weights */
    t_close(&t);
}

static void residual_block(struct t *t) /* ResNet: the shortcut is a conv too */
{
    struct eml_ir_value *x = image(t, "x", 16);
    struct eml_ir_value *a = OP(t, RELU, conv(t, x, 16, 16, 3, 1, true)->out[0]);
    struct eml_ir_value *b = conv(t, a, 16, 32, 1, 1, true)->out[0];
    struct eml_ir_value *c = conv(t, x, 16, 32, 1, 1, true)->out[0];
    t_output(t, OP(t, RELU, OP(t, ADD, b, c)));
}

static void residual_joins_the_later_conv(void **state)
{
    struct t t;
    (void)state;
    t_same_after_passes(&t, residual_block, 2);
    assert_int_equal(t_count(&t, EML_OP_ADD), 0);
    assert_int_equal(t_count(&t, EML_OP_RELU), 0);
    const struct eml_ir_node *last = t.ir->last->prev; /* before the transpose of the exit */
    assert_int_equal(last->op, EML_OP_CONV);
    assert_non_null(eml_ir_in(last, 3));
    assert_int_equal(eml_ir_int(last, EML_ATTR_ACT, 0), EML_ACT_RELU);
    t_close(&t);
}

static void broadcast_sum(struct t *t) /* [N,1,..] + [N,C,..]: no residual */
{
    struct eml_ir_value *a = conv(t, image(t, "x", 3), 3, 8, 1, 1, true)->out[0];
    t_output(t, OP(t, ADD, a, t_input(t, "other", DIMS(EML_DIM_UNKNOWN, 8, 1, 1))));
}

static void batch_sum(struct t *t) /* batch sizes that need not be equal */
{
    struct eml_ir_value *a = conv(t, image(t, "x", 3), 3, 8, 1, 1, true)->out[0];
    t_output(t, OP(t, ADD, a, t_input(t, "other", DIMS(EML_DIM_UNKNOWN, 8, 6, 6))));
}

static void shared_product(struct t *t) /* the conv's output is read twice */
{
    struct eml_ir_value *a = conv(t, image(t, "x", 3), 3, 8, 1, 1, true)->out[0];
    t_output(t, OP(t, MUL, OP(t, RELU, a), a));
}

static void what_is_read_elsewhere_stays(void **state)
{
    void (*const builds[])(struct t *) = {broadcast_sum, batch_sum, shared_product};
    (void)state;
    for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++) {
        struct t t;
        t_same_after_passes(&t, builds[i], 2);
        const struct eml_ir_node *n = t_find(&t, EML_OP_CONV);
        assert_null(eml_ir_in(n, 3));
        assert_int_equal(eml_ir_int(n, EML_ATTR_ACT, 0), EML_ACT_NONE);
        t_close(&t);
    }
}

static void flattened_linear(struct t *t) /* PyTorch's Conv1D */
{
    struct eml_ir_value *x = t_input(t, "x", DIMS(EML_DIM_UNKNOWN, EML_DIM_UNKNOWN, 12));
    struct eml_ir_value *flat = OP(t, RESHAPE, x, t_ints(t, DIMS(-1, 12)));
    struct eml_ir_node *n =
        NODE(t, GEMM, flat, t_weights(t, -1, 1, DIMS(12, 20)), t_weights(t, -1, 1, DIMS(20)));
    n->params[0] = n->params[1] = 1;
    n->n_params = 2;
    struct eml_ir_value *dims = OP(t, SHAPE, x);
    struct eml_ir_value *lead = OP(t, SLICE, dims, t_ints(t, DIMS(0)), t_ints(t, DIMS(2)));
    struct eml_ir_node *cat = NODE(t, CONCAT, lead, t_ints(t, DIMS(20)));
    eml_ir_set_int(t->ir, cat, EML_ATTR_AXIS, 0);
    t_output(t, OP(t, RELU, OP(t, RESHAPE, n->out[0], cat->out[0])));
}

static void flattening_around_a_product_goes(void **state)
{
    struct t t;
    (void)state;
    t_same_after_passes(&t, flattened_linear, 4);
    assert_int_equal(eml_ir_node_count(t.ir), 1);
    assert_int_equal(eml_ir_int(t_find(&t, EML_OP_MATMUL), EML_ATTR_ACT, 0), EML_ACT_RELU);
    t_close(&t);
}

static void attention_scores(struct t *t)
{
    struct eml_ir_value *x = t_input(t, "x", DIMS(EML_DIM_UNKNOWN, 5, 8));
    struct eml_ir_value *v[2];
    for (int i = 0; i < 2; i++) {
        v[i] = OP(t, MATMUL, x, t_weights(t, -1, 1, DIMS(8, 8)));
        v[i] = OP(t, RESHAPE, v[i], t_ints(t, DIMS(0, 0, 2, 4)));
        struct eml_ir_node *n = NODE(t, TRANSPOSE, v[i]);
        eml_ir_set_attr(t->ir, n, EML_ATTR_PERM,
                        i == 0 ? (int64_t[]){0, 2, 1, 3} : (int64_t[]){0, 2, 3, 1}, 4);
        v[i] = n->out[0];
    }
    t_output(t, OP(t, DIV, OP(t, MATMUL, v[0], v[1]), SCALAR(t, 2.5f)));
}

static void scale_of_scores_goes_into_q(void **state)
{
    struct t t;
    (void)state;
    t_same_after_passes(&t, attention_scores, 2);
    assert_int_equal(t_count(&t, EML_OP_DIV), 0);
    t_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_become_one_product),
        cmocka_unit_test(shift_stays_before_padding),
        cmocka_unit_test(residual_joins_the_later_conv),
        cmocka_unit_test(what_is_read_elsewhere_stays),
        cmocka_unit_test(flattening_around_a_product_goes),
        cmocka_unit_test(scale_of_scores_goes_into_q),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
