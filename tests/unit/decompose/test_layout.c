#include "build.h"

static struct eml_ir_value *image(struct t *t)
{
    return t_input(t, "x", DIMS(EML_DIM_UNKNOWN, 4, 6, 8));
}

static struct eml_ir_value *conv(struct t *t, struct eml_ir_value *x, int64_t in, int64_t out)
{
    struct eml_ir_node *n = NODE(t, CONV, x, t_weights(t, -1, 1, DIMS(out, in, 3, 3)));
    eml_ir_set_attr(t->ir, n, EML_ATTR_PADS, (int64_t[]){1, 1, 1, 1}, 4);
    return n->out[0];
}

static struct eml_ir_value *with_axis(struct t *t, struct eml_ir_node *n, int64_t axis)
{
    eml_ir_set_int(t->ir, n, EML_ATTR_AXIS, axis);
    return n->out[0];
}

static struct eml_ir_value *pool(struct t *t, struct eml_ir_value *x)
{
    struct eml_ir_node *n = NODE(t, MAX_POOL, x);
    eml_ir_set_attr(t->ir, n, EML_ATTR_KERNEL_SHAPE, (int64_t[]){2, 2}, 2);
    eml_ir_set_attr(t->ir, n, EML_ATTR_STRIDES, (int64_t[]){2, 2}, 2);
    return n->out[0];
}

/* conv -> what -> conv, so that `what` stands between two channels-last operators */
static void sigmoid(struct t *t)
{
    t_output(t, conv(t, OP(t, SIGMOID, conv(t, image(t), 4, 4)), 4, 4));
}
static void add_constants(struct t *t)
{
    struct eml_ir_value *x = conv(t, image(t), 4, 4);
    x = OP(t, MUL, OP(t, ABS, x), t_weights(t, -1, 1, DIMS(1, 4, 6, 8)));
    x = OP(t, MAX, x, t_weights(t, -1, 1, DIMS(6, 1)));
    t_output(t, conv(t, x, 4, 4));
}
static void concat(struct t *t)
{
    struct eml_ir_value *x = conv(t, image(t), 4, 4);
    t_output(t, conv(t, with_axis(t, NODE(t, CONCAT, x, OP(t, RELU, x)), 1), 8, 4));
}
static void concat_height(struct t *t)
{
    struct eml_ir_value *x = conv(t, image(t), 4, 4);
    t_output(t, conv(t, with_axis(t, NODE(t, CONCAT, x, x), -2), 4, 4));
}
static void softmax(struct t *t)
{
    t_output(t, conv(t, with_axis(t, NODE(t, SOFTMAX, conv(t, image(t), 4, 4)), 1), 4, 4));
}
static void slice(struct t *t)
{
    struct eml_ir_value *x = OP(t, SLICE, conv(t, image(t), 4, 4), t_ints(t, DIMS(1, 2)),
                                t_ints(t, DIMS(3, 6)), t_ints(t, DIMS(1, 3)));
    t_output(t, conv(t, x, 2, 4));
}
static void slice_all_axes(struct t *t)
{
    struct eml_ir_value *x =
        OP(t, SLICE, conv(t, image(t), 4, 4), t_ints(t, DIMS(0, 1, 2)), t_ints(t, DIMS(9, 3, 5)));
    t_output(t, conv(t, x, 2, 4));
}
static void pad(struct t *t)
{
    struct eml_ir_value *x =
        OP(t, PAD, conv(t, image(t), 4, 4), t_ints(t, DIMS(0, 1, 0, 2, 0, 0, 3, 1)));
    t_output(t, conv(t, x, 5, 4));
}
static void reduce_keep(struct t *t)
{
    t_output(t, conv(t, OP(t, REDUCE_MAX, conv(t, image(t), 4, 4), t_ints(t, DIMS(2))), 4, 4));
}
static void split(struct t *t)
{
    struct eml_ir_value *x = conv(t, image(t), 4, 4), *sizes = t_ints(t, DIMS(1, 3));
    struct eml_ir_node *n =
        eml_ir_node_new(t->ir, NULL, EML_OP_SPLIT, (struct eml_ir_value *[]){x, sizes}, 2, 2);
    t_output(t, conv(t, OP(t, MUL, n->out[0], with_axis(t, n, 1)), 1, 4));
}
static void split_last(struct t *t)
{
    struct eml_ir_value *x = conv(t, image(t), 4, 4), *sizes = t_ints(t, DIMS(1, 3));
    struct eml_ir_node *n =
        eml_ir_node_new(t->ir, NULL, EML_OP_SPLIT, (struct eml_ir_value *[]){x, sizes}, 2, 2);
    (void)with_axis(t, n, 1);
    t_output(t, conv(t, n->out[1], 3, 4));
}

/* conv -> what -> matrix world */
static void flatten(struct t *t)
{
    struct eml_ir_value *x = OP(t, GLOBAL_AVERAGE_POOL, conv(t, image(t), 4, 4));
    t_output(t, OP(t, MATMUL, OP(t, FLATTEN, x), t_weights(t, -1, 1, DIMS(4, 5))));
}
static void reshape(struct t *t)
{
    struct eml_ir_value *x = OP(t, GLOBAL_MAX_POOL, conv(t, image(t), 4, 4));
    x = OP(t, RESHAPE, x, t_ints(t, DIMS(0, -1)));
    t_output(t, OP(t, MATMUL, x, t_weights(t, -1, 1, DIMS(4, 5))));
}
static void mean_of_image(struct t *t)
{
    struct eml_ir_node *n = NODE(t, REDUCE_MEAN, conv(t, image(t), 4, 4), t_ints(t, DIMS(2, 3)));
    eml_ir_set_int(t->ir, n, EML_ATTR_KEEPDIMS, 0);
    t_output(t, OP(t, MATMUL, n->out[0], t_weights(t, -1, 1, DIMS(4, 5))));
}
static void squeeze_to_sequence(struct t *t) /* PP-OCR: [N,C,1,W] to [N,W,C] */
{
    struct eml_ir_value *x = OP(t, REDUCE_MEAN, conv(t, image(t), 4, 4), t_ints(t, DIMS(2)));
    struct eml_ir_node *n = NODE(t, TRANSPOSE, OP(t, SQUEEZE, x, t_ints(t, DIMS(2))));
    eml_ir_set_attr(t->ir, n, EML_ATTR_PERM, (int64_t[]){0, 2, 1}, 3);
    t_output(t, OP(t, MATMUL, n->out[0], t_weights(t, -1, 1, DIMS(4, 5))));
}

static const struct {
    const char *name;
    void (*build)(struct t *);
    uint32_t transposes;
} graphs[] = {
    {"Sigmoid", sigmoid, 2},
    {"constants of full and lower rank", add_constants, 2},
    {"Concat of channels", concat, 2},
    {"Concat of rows", concat_height, 2},
    {"Softmax over channels", softmax, 2},
    {"Slice", slice, 2},
    {"Slice of the first axes", slice_all_axes, 2},
    {"Pad", pad, 2},
    {"ReduceMax", reduce_keep, 2},
    {"Split, both halves", split, 2},
    {"Split, one half", split_last, 2},
    {"Flatten of one pixel", flatten, 1},
    {"Reshape of one pixel", reshape, 1},
    {"ReduceMean without keepdims", mean_of_image, 1},
    {"Squeeze and Transpose", squeeze_to_sequence, 1},
};

static void transposes_only_at_the_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof graphs / sizeof graphs[0]; i++) {
        struct t t;
        print_message("%s\n", graphs[i].name);
        t_same_after_passes(&t, graphs[i].build, 2);
        assert_int_equal(t_count(&t, EML_OP_TRANSPOSE), graphs[i].transposes);
        t_close(&t);
    }
}

/* ---- the expected numbers come from outside: a product written out ---- */

static void a_conv_by_hand(void **state)
{
    struct t t;
    size_t n;
    (void)state;
    t_open(&t, 3);
    struct eml_ir_value *x = t_input(&t, "x", DIMS(1, 2, 3, 3));
    struct eml_ir_value *w = t_weights(&t, -1, 1, DIMS(1, 2, 2, 2));
    t_output(&t, OP(&t, CONV, x, w));
    t_all_passes(&t);
    float *got = t_run(&t, 1, 9, &n);
    struct eml_gen g = eml_gen_from(eml_bytes(NULL, 0));
    for (size_t i = 0; i < 4; i++)
        g.state[i] = 9 + 77 * i + 1; /* as t_run fills its inputs */
    float in[2][3][3];
    for (size_t i = 0; i < 18; i++)
        in[i / 9][i / 3 % 3][i % 3] = eml_gen_f32(&g, -2, 2);
    assert_int_equal(n, 4);
    for (size_t y = 0; y < 2; y++)
        for (size_t z = 0; z < 2; z++) {
            float sum = 0;
            for (size_t c = 0; c < 2; c++)
                for (size_t k = 0; k < 4; k++)
                    sum += in[c][y + k / 2][z + k % 2] * ((const float *)w->data)[4 * c + k];
            assert_true(fabsf(sum - got[2 * y + z]) < 1e-5f);
        }
    free(got);
    t_close(&t);
}

static void shape_of_an_image(struct t *t) /* Shape speaks of N C H W whatever the layout */
{
    struct eml_ir_value *x = conv(t, image(t), 4, 4);
    struct eml_ir_value *s = OP(t, SLICE, OP(t, SHAPE, x), t_ints(t, DIMS(1)), t_ints(t, DIMS(3)));
    t_output(t, OP(t, RESHAPE, pool(t, x), OP(t, MUL, s, t_ints(t, DIMS(2, 2)))));
}

static void shape_is_onnx_shape(void **state)
{
    struct t t;
    (void)state;
    t_open(&t, 1);
    shape_of_an_image(&t);
    OK(eml_fold_infer_from(t.ir, t.ir->first, why));
    OK(eml_layout_channels_last(t.ir, why));
    const struct eml_shape *s = &t.ir->outputs[0].value->shape;
    assert_int_equal(s->rank, 2);
    assert_int_equal(s->dim[0], 8);  /* 2 C */
    assert_int_equal(s->dim[1], 12); /* 2 H */
    t_close(&t);
}

static void unknown_rank_is_refused(void **state)
{
    struct t t;
    struct eml_why why = {0};
    (void)state;
    t_open(&t, 1);
    struct eml_ir_node *n = NODE(&t, GLOBAL_AVERAGE_POOL, eml_ir_value_new(t.ir));
    n->origin = 3;
    t_output(&t, n->out[0]);
    assert_int_equal(eml_layout_channels_last(t.ir, &why), EML_E_UNSUPPORTED);
    assert_int_equal(why.index, 3);
    t_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transposes_only_at_the_ends),
        cmocka_unit_test(a_conv_by_hand),
        cmocka_unit_test(shape_is_onnx_shape),
        cmocka_unit_test(unknown_rank_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
