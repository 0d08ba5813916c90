/* Products and convolutions of other types than float32. Products are held against ONNX Runtime's
 * (tests/vectors/onnxruntime); here convolutions, against those of float32, and the refusals. */
#include "graph_builder.h"

/* A convolution of x [N, spatial, C] by w [O, C / group, ...], in f32 or f64 by `t`. */
struct shape_case {
    struct eml_shape x, w;
    struct gb_node node;
    bool bias;
};

static struct gb_result convolve(struct gb *b, enum eml_dtype t, const struct shape_case *s,
                                 const float *x, const float *w, const float *bias)
{
    const float *from[3] = {x, w, bias};
    const struct eml_shape shapes[3] = {s->x, s->w, SHAPE(s->w.dim[0])};
    void *data[3];
    struct gb_node n = s->node;
    n.op = EML_OP_CONV;
    for (uint32_t i = 0; i < 3; i++) {
        const size_t count = (size_t)gb_count(shapes[i]);
        data[i] = eml_arena_alloc(&b->arena, count * 8 + 8, 64);
        for (size_t k = 0; k < count; k++)
            if (t == EML_DT_F64)
                ((double *)data[i])[k] = (double)from[i][k];
            else
                ((float *)data[i])[k] = from[i][k];
        n.in[i] = i == 1 ? gb_slot(b, t, shapes[i], data[i]) : gb_input(b, t, shapes[i]);
    }
    n.in[s->bias ? 3 : 2] = GB_END;
    gb_output(b, gb_add(b, n));
    const void *inputs[2] = {data[0], data[2]};
    return gb_run_ok(b, inputs);
}

static void convolutions_of_doubles_equal_those_of_floats(void **state)
{
    (void)state;
#define A(ID, ...)                                                                                 \
    {                                                                                              \
        EML_ATTR_##ID, sizeof((int64_t[]){__VA_ARGS__}) / 8,                                       \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
    const struct shape_case cases[] = {
        {SHAPE(2, 9, 4), SHAPE(5, 4, 3), {.attr = {A(PADS, 1, 2)}, .n_attr = 1}, true},
        {SHAPE(1, 7, 6, 4),
         SHAPE(6, 2, 3, 2),
         {.attr = {A(GROUP, 2), A(PADS, 1, 0, 2, 1), A(STRIDES, 2, 1)}, .n_attr = 3},
         true},
        {SHAPE(2, 8, 9, 3),
         SHAPE(3, 1, 3, 3),
         {.attr = {A(DILATIONS, 2, 3), A(GROUP, 3)}, .n_attr = 2},
         false},
        {SHAPE(1, 4, 5, 6, 2), SHAPE(3, 2, 2, 3, 2), {.attr = {A(AUTO_PAD, 1)}, .n_attr = 1}, true},
        {SHAPE(1, 3, 3, 8), SHAPE(4, 8, 1, 1), {.n_attr = 0}, false},
        {SHAPE(0, 3, 3, 8), SHAPE(4, 8, 1, 1), {.n_attr = 0}, false},
    };
    struct eml_gen g = eml_gen_seeded("convolutions_of_doubles_equal_those_of_floats");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float x[1024], w[256], bias[16];
        for (size_t k = 0; k < 1024; k++)
            x[k] = eml_gen_f32(&g, -1, 1);
        for (size_t k = 0; k < 256; k++)
            w[k] = eml_gen_f32(&g, -1, 1);
        for (size_t k = 0; k < 16; k++)
            bias[k] = eml_gen_f32(&g, -1, 1);
        struct gb *narrow = gb_new(), *wide = gb_new();
        struct gb_result a = convolve(narrow, EML_DT_F32, &cases[i], x, w, bias);
        struct gb_result b = convolve(wide, EML_DT_F64, &cases[i], x, w, bias);
        assert_int_equal(2 * a.out[0].bytes, b.out[0].bytes);
        for (size_t k = 0; k < a.out[0].bytes / sizeof(float); k++)
            assert_float_equal(((const float *)a.out[0].data)[k],
                               (float)((const double *)b.out[0].data)[k], 1e-5);
        gb_free(narrow);
        gb_free(wide);
    }
}

/* A double keeps what a float loses: 1 + 2^-40 times 1. */
static void nothing_is_rounded_to_float(void **state)
{
    (void)state;
    const double x[1] = {1 + 0x1p-40}, w[1] = {1};
    struct gb *b = gb_new();
    uint32_t in = gb_input(b, EML_DT_F64, SHAPE(1, 1)), k = gb_slot(b, EML_DT_F64, SHAPE(1, 1), w);
    gb_output(b, NODE(b, MATMUL, OF(in, k)));
    gb_output(b, NODE(b, GEMM, OF(in, k), .params = {1, 1}, .n_params = 2));
    uint32_t image = NODE(b, RESHAPE, OF(in, INTS(b, 1, 1, 1)));
    gb_output(b, NODE(b, CONV, OF(image, gb_slot(b, EML_DT_F64, SHAPE(1, 1, 1), w))));
    const void *data[] = {x};
    struct gb_result r = gb_run_ok(b, data);
    for (size_t i = 0; i < 3; i++)
        assert_true(*(const double *)r.out[i].data == x[0]);
    gb_free(b);
}

/* Alone they wrap around; scaled they are computed as doubles, and stop at the ends. */
static void integers_wrap_or_are_scaled(void **state)
{
    (void)state;
    static const struct {
        float alpha;
        int32_t y;
    } cases[] = {{1, -2 + 5}, {0.25f, 4}, {-7, 19}, {3e9f, INT32_MIN}, {-3e9f, INT32_MAX}};
    const int32_t x[1] = {INT32_MAX}, w[1] = {2}, c[1] = {5};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gb *b = gb_new();
        uint32_t in = gb_input(b, EML_DT_I32, SHAPE(1, 1));
        gb_output(b, NODE(b, GEMM,
                          OF(in, gb_slot(b, EML_DT_I32, SHAPE(1, 1), w),
                             gb_slot(b, EML_DT_I32, SHAPE(1), c)),
                          .params = {cases[i].alpha, 1}, .n_params = 2));
        const void *data[] = {x};
        struct gb_result r = gb_run_ok(b, data);
        assert_int_equal(*(const int32_t *)r.out[0].data, cases[i].y);
        gb_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_of_doubles_equal_those_of_floats),
        cmocka_unit_test(nothing_is_rounded_to_float),
        cmocka_unit_test(integers_wrap_or_are_scaled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
