/* Products, convolutions, pools and norms of other types than float32. Products are held against
 * ONNX Runtime's (tests/vectors/onnxruntime); here the rest, against those of float32, and the
 * refusals. */
#include "graph_builder.h"

#include <math.h>

#define A(ID, ...)                                                                                 \
    {                                                                                              \
        EML_ATTR_##ID, sizeof((int64_t[]){__VA_ARGS__}) / 8,                                       \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

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

/* An operator whose operands are all inputs, of f32 or f64 by `t`. */
struct operands_case {
    const char *what;
    uint32_t n_in;
    struct eml_shape in[5];
    struct gb_node node;
};

static struct gb_result compute(struct gb *b, enum eml_dtype t, const struct operands_case *s,
                                const float *const *from)
{
    void *data[5];
    struct gb_node n = s->node;
    for (uint32_t i = 0; i < s->n_in; i++) {
        const size_t count = (size_t)gb_count(s->in[i]);
        data[i] = eml_arena_alloc(&b->arena, count * 8 + 8, 64);
        for (size_t k = 0; k < count; k++)
            if (t == EML_DT_F64)
                ((double *)data[i])[k] = (double)from[i][k];
            else
                ((float *)data[i])[k] = from[i][k];
        n.in[i] = gb_input(b, t, s->in[i]);
    }
    n.in[s->n_in] = GB_END;
    gb_output(b, gb_add(b, n));
    return gb_run_ok(b, (const void *const *)data);
}

static void operators_of_doubles_equal_those_of_floats(void **state)
{
    (void)state;
#define PER_CHANNEL(c) SHAPE(c), SHAPE(c), SHAPE(c), SHAPE(c)
#define ON(OP, ...)                                                                                \
    {                                                                                              \
        .op = EML_OP_##OP, __VA_ARGS__                                                             \
    }
#define ATTRS(n, ...) .attr = {__VA_ARGS__}, .n_attr = n
    const struct operands_case cases[] = {
        {"tiled", 2, {SHAPE(2, 5, 3), SHAPE(3, 4, 2)}, ON(CONV_TRANSPOSE, ATTRS(1, A(STRIDES, 2)))},
        {"overlapping, cut, with bias",
         3,
         {SHAPE(1, 4, 5, 4), SHAPE(4, 3, 3, 2), SHAPE(3)},
         ON(CONV_TRANSPOSE, ATTRS(2, A(PADS, 1, 0, 0, 1), A(STRIDES, 2, 1)))},
        {"groups of different channels",
         3,
         {SHAPE(2, 3, 4, 6), SHAPE(6, 2, 2, 3), SHAPE(6)},
         ON(CONV_TRANSPOSE,
            ATTRS(4, A(DILATIONS, 2, 1), A(GROUP, 3), A(OUTPUT_PADDING, 1, 0), A(STRIDES, 2, 2)))},
        {"3-D", 2, {SHAPE(1, 2, 3, 2, 2), SHAPE(2, 2, 2, 1, 3)}, ON(CONV_TRANSPOSE, .n_attr = 0)},
        {"no image", 2, {SHAPE(0, 5, 3), SHAPE(3, 4, 2)}, ON(CONV_TRANSPOSE, .n_attr = 0)},
        {"padding not counted",
         1,
         {SHAPE(2, 5, 6, 3)},
         ON(AVERAGE_POOL, ATTRS(3, A(KERNEL_SHAPE, 3, 2), A(PADS, 1, 1, 1, 0), A(STRIDES, 2, 1)))},
        {"padding counted",
         1,
         {SHAPE(2, 6, 3)},
         ON(AVERAGE_POOL,
            ATTRS(4, A(COUNT_INCLUDE_PAD, 1), A(DILATIONS, 2), A(KERNEL_SHAPE, 3), A(PADS, 2, 1)))},
        {"windows beyond the end",
         1,
         {SHAPE(2, 6, 3)},
         ON(AVERAGE_POOL,
            ATTRS(4, A(CEIL_MODE, 1), A(KERNEL_SHAPE, 3), A(PADS, 0, 1), A(STRIDES, 2)))},
        {"p = 3", 1, {SHAPE(1, 4, 4, 5)}, ON(LP_POOL, ATTRS(2, A(KERNEL_SHAPE, 2, 3), A(P, 3)))},
        {"p = 2", 1, {SHAPE(2, 7, 3)}, ON(LP_POOL, ATTRS(2, A(KERNEL_SHAPE, 3), A(PADS, 1, 1)))},
        {"average", 1, {SHAPE(2, 3, 5, 7)}, ON(GLOBAL_AVERAGE_POOL, .n_attr = 0)},
        {"maximum", 1, {SHAPE(2, 3, 5, 7)}, ON(GLOBAL_MAX_POOL, .n_attr = 0)},
        {"with bias",
         3,
         {SHAPE(3, 4, 5), SHAPE(4, 5), SHAPE(4, 5)},
         ON(LAYER_NORMALIZATION, ATTRS(1, A(AXIS, 1)), .params = {1e-2f}, .n_params = 1)},
        {"without",
         2,
         {SHAPE(7, 9), SHAPE(9)},
         ON(LAYER_NORMALIZATION, .params = {1e-5f}, .n_params = 1)},
        {"channels last",
         5,
         {SHAPE(2, 3, 4, 6), PER_CHANNEL(6)},
         ON(BATCH_NORMALIZATION, .params = {1e-3f}, .n_params = 1)},
    };
    struct eml_gen g = eml_gen_seeded("operators_of_doubles_equal_those_of_floats");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float data[5][256];
        const float *from[5] = {data[0], data[1], data[2], data[3], data[4]};
        for (size_t k = 0; k < 256; k++)
            for (size_t in = 0; in < 5; in++) /* operand 4 is a variance */
                data[in][k] = eml_gen_f32(&g, in == 4 ? 0.5f : -1, in == 4 ? 2 : 1);
        struct gb *narrow = gb_new(), *wide = gb_new();
        struct gb_result a = compute(narrow, EML_DT_F32, &cases[i], from);
        struct gb_result b = compute(wide, EML_DT_F64, &cases[i], from);
        assert_int_equal(b.out[0].dtype, EML_DT_F64);
        assert_int_equal(2 * a.out[0].bytes, b.out[0].bytes);
        for (size_t k = 0; k < a.out[0].bytes / sizeof(float); k++) {
            float want = ((const float *)a.out[0].data)[k];
            float got = (float)((const double *)b.out[0].data)[k];
            if (!(fabsf(got - want) <= 2e-5f))
                fail_msg("%s: element %zu: %g, not %g", cases[i].what, k, (double)got,
                         (double)want);
        }
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
    uint32_t zero = gb_slot(b, EML_DT_F64, SHAPE(1), (const double[]){0});
    uint32_t one = gb_slot(b, EML_DT_F64, SHAPE(1), w);
    gb_output(b, NODE(b, CONV_TRANSPOSE, OF(image, gb_slot(b, EML_DT_F64, SHAPE(1, 1, 1), w))));
    gb_output(b, NODE(b, AVERAGE_POOL, OF(image), WITH1(KERNEL_SHAPE, 1)));
    gb_output(b, NODE(b, LP_POOL, OF(image), .attr = {A(KERNEL_SHAPE, 1), A(P, 1)}, .n_attr = 2));
    gb_output(b, NODE(b, GLOBAL_AVERAGE_POOL, OF(image)));
    gb_output(b, NODE(b, GLOBAL_MAX_POOL, OF(image)));
    gb_output(b, NODE(b, BATCH_NORMALIZATION, OF(image, one, zero, zero, one), .n_params = 1));
    uint32_t row = NODE(b, RESHAPE, OF(in, INTS(b, 1))); /* as the bias of what normalises to 0 */
    gb_output(b, NODE(b, LAYER_NORMALIZATION, OF(one, one, row), .params = {1}, .n_params = 1));
    const void *data[] = {x};
    struct gb_result r = gb_run_ok(b, data);
    for (size_t i = 0; i < b->g.n_outputs; i++)
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

/* What only the kernels of float32 do is refused, however it got into the graph. */
static void nothing_is_fused_into_doubles(void **state)
{
    const struct eml_known x = {EML_DT_F64, .has_rank = true, .shape = SHAPE(1, 1, 2)};
    const struct eml_known w = {EML_DT_F64, .has_rank = true, .shape = SHAPE(2, 1, 1)};
    const struct eml_known v = {EML_DT_F64, .has_rank = true, .shape = SHAPE(2)};
    const struct eml_known *const operands[2][5] = {{&x, &w}, {&x, &v, &v, &v, &v}};
    const uint32_t ids[5] = {0};
    (void)state;
    for (uint32_t norm = 0; norm < 2; norm++)
        for (int64_t act = EML_ACT_NONE; act <= EML_ACT_RELU; act += EML_ACT_RELU) {
            const struct eml_attr fused = {EML_ATTR_ACT, 1, &act};
            const struct eml_node n = {.op = norm ? EML_OP_BATCH_NORMALIZATION
                                                  : EML_OP_CONV_TRANSPOSE,
                                       .in = (uint32_t *)ids,
                                       .out = (uint32_t *)ids,
                                       .attr = (struct eml_attr *)&fused,
                                       .n_in = norm ? 5 : 2,
                                       .n_out = 1,
                                       .n_attr = 1,
                                       .params = EML_ABSENT};
            struct gb *b = gb_new();
            struct eml_known out;
            struct eml_why why = {0};
            enum eml_err e = eml_infer_node(&n, operands[norm], &out, &b->arena, &why);
            assert_int_equal(e, act == EML_ACT_NONE ? EML_OK : EML_E_INPUT);
            if (act != EML_ACT_NONE)
                assert_string_equal(why.rule, "fused into a product of another type than float32");
            gb_free(b);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_of_doubles_equal_those_of_floats),
        cmocka_unit_test(operators_of_doubles_equal_those_of_floats),
        cmocka_unit_test(nothing_is_rounded_to_float),
        cmocka_unit_test(nothing_is_fused_into_doubles),
        cmocka_unit_test(integers_wrap_or_are_scaled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
