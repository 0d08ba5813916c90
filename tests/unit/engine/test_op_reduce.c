/* Reductions and normalisations against plain references written here, with any number of threads.
 */
#include "op_plain.h"

enum { ROOM = 4096 };

static double reduced(enum eml_op op, double s, double v)
{
    switch (op) {
    case EML_OP_REDUCE_L1:
        return s + fabs(v);
    case EML_OP_REDUCE_L2:
    case EML_OP_REDUCE_SUM_SQUARE:
        return s + v * v;
    case EML_OP_REDUCE_MAX:
        return fmax(s, v);
    case EML_OP_REDUCE_MIN:
        return fmin(s, v);
    case EML_OP_REDUCE_PROD:
        return s * v;
    case EML_OP_REDUCE_LOG_SUM_EXP:
        return s + exp(v);
    default:
        return s + v;
    }
}

static double final(enum eml_op op, double s, double n)
{
    switch (op) {
    case EML_OP_REDUCE_L2:
        return sqrt(s);
    case EML_OP_REDUCE_MEAN:
        return s / n;
    case EML_OP_REDUCE_LOG_SUM:
    case EML_OP_REDUCE_LOG_SUM_EXP:
        return log(s);
    default:
        return s;
    }
}

static void reductions(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("reductions");
    static float x[40000];
    static double want[40000];
    for (int round = 0; round < 400; round++) {
        struct gb *b = gb_new();
        enum eml_op op =
            (enum eml_op)eml_gen_range(&g, EML_OP_REDUCE_SUM, EML_OP_REDUCE_SUM_SQUARE);
        uint32_t rank = (uint32_t)eml_gen_range(&g, 1, 4), n_axes = 0, mask = 0;
        struct eml_shape s = random_shape(&g, rank, rank <= 2 ? 150 : 12);
        int64_t axes[4];
        for (uint32_t i = 0; i < rank; i++)
            if (eml_gen_bool(&g)) {
                axes[n_axes++] = (int64_t)i - (eml_gen_bool(&g) ? (int64_t)rank : 0);
                mask |= 1u << i;
            }
        mask = mask == 0 ? (1u << rank) - 1 : mask;
        fill_f32(&g, x, gb_count(s), 0.9f, 1.1f);
        uint32_t v = gb_input(b, EML_DT_F32, s);
        gb_output(b, gb_add(b, (struct gb_node){.op = op, OF(v, gb_ints(b, n_axes, axes))}));
        struct gb_result r = gb_run_ok(b, (const void *[]){x});
        size_t n = (size_t)gb_count(r.out[0].shape);
        for (size_t i = 0; i < n; i++)
            want[i] = op == EML_OP_REDUCE_MAX    ? -INFINITY
                      : op == EML_OP_REDUCE_MIN  ? INFINITY
                      : op == EML_OP_REDUCE_PROD ? 1
                                                 : 0;
        for (size_t i = 0; i < (size_t)gb_count(s); i++) {
            int64_t c[8];
            coords(&s, i, c);
            for (uint32_t d = 0; d < rank; d++)
                c[d] = (mask >> d & 1) != 0 ? 0 : c[d];
            double *to = &want[index_of(&r.out[0].shape, c)];
            *to = reduced(op, *to, (double)x[i]);
        }
        double count = (double)gb_count(s) / (double)n;
        for (size_t i = 0; i < n; i++)
            assert_close((double)((const float *)r.out[0].data)[i], final(op, want[i], count), 2e-6,
                         eml_op_info(op)->name);
        gb_free(b);
    }
}

static void integer_and_empty_reductions(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const int64_t x[4] = {3, -7, 5, INT64_MAX};
    const uint8_t u[3] = {200, 100, 255};
    uint32_t v = gb_input(b, EML_DT_I64, SHAPE(2, 2)), w = gb_input(b, EML_DT_U8, SHAPE(3));
    uint32_t empty = gb_input(b, EML_DT_F32, SHAPE(2, 0));
    gb_output(b, NODE(b, REDUCE_SUM, OF(v, INTS(b, 0))));
    gb_output(b, NODE(b, REDUCE_MIN, OF(v, INTS(b, 1))));
    gb_output(b, NODE(b, REDUCE_MAX, OF(w)));
    gb_output(b, NODE(b, REDUCE_SUM, OF(empty, INTS(b, 1))));
    gb_output(b, NODE(b, REDUCE_PROD, OF(empty, INTS(b, 1))));
    gb_output(b, NODE(b, REDUCE_MAX, OF(empty, INTS(b, 1))));
    struct gb_result r = gb_run_ok(b, (const void *[]){x, u, NULL});
    assert_memory_equal(r.out[0].data, ((int64_t[]){8, INT64_MAX - 7}), 16);
    assert_memory_equal(r.out[1].data, ((int64_t[]){-7, 5}), 16);
    assert_int_equal(*(const uint8_t *)r.out[2].data, 255);
    assert_memory_equal(r.out[3].data, ((float[]){0, 0}), 8);
    assert_memory_equal(r.out[4].data, ((float[]){1, 1}), 8);
    assert_true(((const float *)r.out[5].data)[1] == -INFINITY);
    gb_free(b);
}

static void softmax_on_any_axis(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("softmax_on_any_axis");
    static float x[ROOM];
    for (int axis = 0; axis < 3; axis++) {
        struct gb *b = gb_new();
        struct eml_shape s = SHAPE(5, 7, 19);
        fill_f32(&g, x, gb_count(s), -30, 30);
        uint32_t v = gb_input(b, EML_DT_F32, s);
        gb_output(b, NODE(b, SOFTMAX, OF(v), WITH1(AXIS, axis)));
        gb_output(b, NODE(b, LOG_SOFTMAX, OF(v), WITH1(AXIS, axis - 3)));
        struct gb_result r = gb_run_ok(b, (const void *[]){x});
        for (size_t i = 0; i < (size_t)gb_count(s); i++) {
            int64_t c[8];
            double sum = 0;
            coords(&s, i, c);
            for (c[axis] = 0; c[axis] < s.dim[axis]; c[axis]++)
                sum += exp((double)x[index_of(&s, c)]);
            double want = exp((double)x[i]) / sum;
            assert_close((double)((const float *)r.out[0].data)[i], want, 1e-6, "Softmax");
            assert_close((double)((const float *)r.out[1].data)[i], log(want), 1e-6, "LogSoftmax");
        }
        gb_free(b);
    }
}

static void normalisations(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("normalisations");
    enum { N = 2, S = 35, C = 70 };
    static float x[N * S * C], scale[C], bias[C], mean[C], var[C];
    struct gb *b = gb_new();
    fill_f32(&g, x, N * S * C, -3, 5);
    fill_f32(&g, scale, C, 0.5f, 2);
    fill_f32(&g, bias, C, -1, 1);
    fill_f32(&g, mean, C, -1, 1);
    fill_f32(&g, var, C, 0.1f, 2);
    uint32_t v = gb_input(b, EML_DT_F32, SHAPE(N, 5, 7, C));
    uint32_t s = gb_slot(b, EML_DT_F32, SHAPE(C), scale),
             o = gb_slot(b, EML_DT_F32, SHAPE(C), bias);
    uint32_t m = gb_slot(b, EML_DT_F32, SHAPE(C), mean), q = gb_slot(b, EML_DT_F32, SHAPE(C), var);
    gb_output(b, NODE(b, BATCH_NORMALIZATION, OF(v, s, o, m, q), .params = {1e-3f}, .n_params = 1));
    gb_output(b, NODE(b, LAYER_NORMALIZATION, OF(v, s, o), .params = {1e-3f}, .n_params = 1));
    gb_output(b, NODE(b, INSTANCE_NORMALIZATION, OF(v, s, o), .params = {1e-3f}, .n_params = 1));
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    for (int i = 0; i < N * S * C; i++) {
        int c = i % C, image = i / (S * C);
        double a[2] = {0}, d[2] = {0};
        for (int k = 0; k < C; k++)
            a[0] += (double)x[i - c + k] / C;
        for (int k = 0; k < C; k++)
            d[0] += pow((double)x[i - c + k] - a[0], 2) / C;
        for (int k = 0; k < S; k++)
            a[1] += (double)x[(image * S + k) * C + c] / S;
        for (int k = 0; k < S; k++)
            d[1] += pow((double)x[(image * S + k) * C + c] - a[1], 2) / S;
        double want = ((double)x[i] - (double)mean[c]) / sqrt((double)var[c] + 1e-3);
        assert_close((double)((const float *)r.out[0].data)[i],
                     want * (double)scale[c] + (double)bias[c], 3e-6, "BatchNormalization");
        for (int k = 0; k < 2; k++) {
            want = ((double)x[i] - a[k]) / sqrt(d[k] + 1e-3);
            assert_close((double)((const float *)r.out[1 + k].data)[i],
                         want * (double)scale[c] + (double)bias[c], 3e-6, "normalisation");
        }
    }
    gb_free(b);
}

static void threads_do_not_change_results(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("threads_do_not_change_results");
    static float x[64 * 3000];
    fill_f32(&g, x, 64 * 3000, -2, 2);
    struct gb *b = gb_new();
    uint32_t v = gb_input(b, EML_DT_F32, SHAPE(64, 3000));
    uint32_t sum = NODE(b, REDUCE_MEAN, OF(v, INTS(b, 1)));
    uint32_t d = NODE(b, SUB, OF(v, sum));
    uint32_t t = NODE(b, TRANSPOSE, OF(NODE(b, TANH, OF(d))));
    gb_output(b, NODE(b, REDUCE_L2, OF(t, INTS(b, 1))));
    gb_output(b, NODE(b, SOFTMAX, OF(t)));
    gb_output(b, NODE(b, REDUCE_SUM, OF(t)));
    struct gb_result one = gb_run(b, (const void *[]){x}, EML_ISA_AUTO, 1, false, 1);
    for (unsigned threads = 2; threads <= 5; threads++) {
        struct gb_result many = gb_run(b, (const void *[]){x}, EML_ISA_AUTO, threads, false, 2);
        assert_int_equal(many.e, EML_OK);
        for (int i = 0; i < 3; i++)
            assert_memory_equal(one.out[i].data, many.out[i].data, one.out[i].bytes);
    }
    gb_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reductions),
        cmocka_unit_test(integer_and_empty_reductions),
        cmocka_unit_test(softmax_on_any_axis),
        cmocka_unit_test(normalisations),
        cmocka_unit_test(threads_do_not_change_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
