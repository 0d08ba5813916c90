/* Operators that work element by element, against plain references written here, on random shapes;
 * each graph has one node. The standard's own vectors are run by the conformance tests. */
#include "op_plain.h"

enum { ROOM = 4096 };

/* ---- two operands ---- */

static double reference(enum eml_op op, double a, double b)
{
    switch (op) {
    case EML_OP_ADD:
        return a + b;
    case EML_OP_SUB:
        return a - b;
    case EML_OP_MUL:
        return a * b;
    case EML_OP_DIV:
        return a / b;
    case EML_OP_MIN:
        return a < b ? a : b;
    case EML_OP_MAX:
        return a > b ? a : b;
    case EML_OP_POW:
        return pow(a, b);
    case EML_OP_EQUAL:
        return a == b;
    case EML_OP_LESS:
        return a < b;
    case EML_OP_GREATER:
        return a > b;
    case EML_OP_LESS_OR_EQUAL:
        return a <= b;
    case EML_OP_GREATER_OR_EQUAL:
        return a >= b;
    default:
        fail();
        return 0;
    }
}

static const enum eml_op BINARY[] = {EML_OP_ADD,     EML_OP_SUB,           EML_OP_MUL,
                                     EML_OP_DIV,     EML_OP_MIN,           EML_OP_MAX,
                                     EML_OP_POW,     EML_OP_EQUAL,         EML_OP_LESS,
                                     EML_OP_GREATER, EML_OP_LESS_OR_EQUAL, EML_OP_GREATER_OR_EQUAL};

static void floats_broadcast(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("floats_broadcast");
    static float a[ROOM], z[ROOM];
    for (int round = 0; round < 400; round++) {
        struct gb *b = gb_new();
        struct eml_shape s = random_shape(&g, (uint32_t)eml_gen_range(&g, 0, 5), 5);
        struct eml_shape sa = eml_gen_bool(&g) ? s : shrink(&g, s), sb = shrink(&g, s);
        enum eml_op op = BINARY[eml_gen_range(&g, 0, 11)];
        fill_f32(&g, a, gb_count(sa), op == EML_OP_POW ? 0.1f : -3, 3);
        fill_f32(&g, z, gb_count(sb), -3, 3);
        if (eml_gen_bool(&g))
            z[0] = a[0];
        uint32_t x = gb_input(b, EML_DT_F32, sa), y = gb_input(b, EML_DT_F32, sb);
        uint32_t out = gb_add(b, (struct gb_node){.op = op, OF(x, y)});
        gb_output(b, out);
        struct gb_result r = gb_run_ok(b, (const void *[]){a, z});
        for (int64_t i = 0; i < gb_count(r.out[0].shape); i++) {
            double want =
                reference(op, (double)a[eml_broadcast_index(&sa, &r.out[0].shape, (size_t)i)],
                          (double)z[eml_broadcast_index(&sb, &r.out[0].shape, (size_t)i)]);
            double got = r.out[0].dtype == EML_DT_BOOL ? ((const uint8_t *)r.out[0].data)[i]
                                                       : (double)((const float *)r.out[0].data)[i];
            assert_close(got, want, 1e-6, eml_op_info(op)->name);
        }
        gb_free(b);
    }
}

static void integers_wrap_and_divide(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const int32_t x[6] = {INT32_MAX, INT32_MIN, -7, 7, -7, 7}, z[6] = {1, -1, 2, -2, -3, 3};
    uint32_t a = gb_input(b, EML_DT_I32, SHAPE(6)), c = gb_input(b, EML_DT_I32, SHAPE(6));
    gb_output(b, NODE(b, ADD, OF(a, c)));
    gb_output(b, NODE(b, DIV, OF(a, c)));
    gb_output(b, NODE(b, MOD, OF(a, c)));
    gb_output(b, NODE(b, MOD, OF(a, c), WITH1(FMOD, 1)));
    struct gb_result r = gb_run_ok(b, (const void *[]){x, z});
    const int32_t want[4][6] = {{INT32_MIN, INT32_MAX, -5, 5, -10, 10},
                                {INT32_MAX, INT32_MIN, -3, -3, 2, 2},
                                {0, 0, 1, -1, -1, 1},
                                {0, 0, -1, 1, -1, 1}};
    for (int i = 0; i < 4; i++)
        assert_memory_equal(r.out[i].data, want[i], sizeof want[i]);
    const int32_t zero[6] = {1, 0, 1, 1, 1, 1};
    r = gb_run(b, (const void *[]){x, zero}, EML_ISA_AUTO, 1, false, 0);
    assert_int_equal(r.e, EML_E_INPUT);
    assert_string_equal(r.why.rule, "integer division by zero");
    assert_int_equal(r.why.index, 1);
    gb_free(b);
}

static void where_and_logic(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const uint8_t p[4] = {1, 0, 1, 0}, q[4] = {1, 1, 0, 0};
    const int64_t x[4] = {1, 2, 3, 4}, z[1] = {9};
    uint32_t a = gb_input(b, EML_DT_BOOL, SHAPE(4)), c = gb_input(b, EML_DT_BOOL, SHAPE(4));
    uint32_t d = gb_input(b, EML_DT_I64, SHAPE(4)), e = gb_input(b, EML_DT_I64, SHAPE(1));
    gb_output(b, NODE(b, WHERE, OF(a, d, e)));
    gb_output(b, NODE(b, AND, OF(a, c)));
    gb_output(b, NODE(b, OR, OF(a, c)));
    gb_output(b, NODE(b, XOR, OF(a, c)));
    gb_output(b, NODE(b, NOT, OF(a)));
    struct gb_result r = gb_run_ok(b, (const void *[]){p, q, x, z});
    assert_memory_equal(r.out[0].data, ((int64_t[]){1, 9, 3, 9}), 32);
    assert_memory_equal(r.out[1].data, ((uint8_t[]){1, 0, 0, 0}), 4);
    assert_memory_equal(r.out[2].data, ((uint8_t[]){1, 1, 1, 0}), 4);
    assert_memory_equal(r.out[3].data, ((uint8_t[]){0, 1, 1, 0}), 4);
    assert_memory_equal(r.out[4].data, ((uint8_t[]){0, 1, 0, 1}), 4);
    gb_free(b);
}

/* ---- one operand ---- */

static double gelu(double x)
{
    return x / 2 * (1 + erf(x / sqrt(2)));
}
static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static double softplus(double x)
{
    return log1p(exp(x));
}
static double elu2(double x)
{
    return x < 0 ? 2 * expm1(x) : x;
}
static double leaky2(double x)
{
    return x < 0 ? 2 * x : x;
}
static double hard_swish(double x)
{
    return x * fmax(0, fmin(1, x / 6 + 0.5));
}
static double relu(double x)
{
    return fmax(x, 0);
}
static double reciprocal(double x)
{
    return 1 / x;
}

static void functions_match_libm(void **state)
{
    (void)state;
    static const struct {
        enum eml_op op;
        double (*f)(double);
        float lo, hi;
    } rows[] = {{EML_OP_EXP, exp, -9, 9},
                {EML_OP_LOG, log, 0.01f, 9},
                {EML_OP_ERF, erf, -4, 4},
                {EML_OP_TANH, tanh, -9, 9},
                {EML_OP_SIGMOID, sigmoid, -20, 20},
                {EML_OP_SQRT, sqrt, 0, 9},
                {EML_OP_RECIPROCAL, reciprocal, 0.1f, 9},
                {EML_OP_ABS, fabs, -9, 9},
                {EML_OP_CEIL, ceil, -9, 9},
                {EML_OP_FLOOR, floor, -9, 9},
                {EML_OP_ROUND, rint, -9, 9},
                {EML_OP_SIN, sin, -9, 9},
                {EML_OP_ATAN, atan, -9, 9},
                {EML_OP_SOFTPLUS, softplus, -9, 9},
                {EML_OP_ELU, elu2, -9, 9},
                {EML_OP_LEAKY_RELU, leaky2, -9, 9},
                {EML_OP_HARD_SWISH, hard_swish, -9, 9},
                {EML_OP_RELU, relu, -9, 9},
                {EML_OP_GELU, gelu, -6, 6}};
    struct eml_gen g = eml_gen_seeded("functions_match_libm");
    static float x[20000];
    static double xd[20000];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gb *b = gb_new();
        fill_f32(&g, x, 20000, rows[i].lo, rows[i].hi);
        for (int k = 0; k < 20000; k++)
            xd[k] = (double)x[k];
        struct gb_node n = {.op = rows[i].op, .params = {2}, .n_params = 1};
        uint32_t f = gb_input(b, EML_DT_F32, SHAPE(20000)),
                 d = gb_input(b, EML_DT_F64, SHAPE(20000));
        n.in[0] = f;
        n.in[1] = GB_END;
        gb_output(b, gb_add(b, n));
        n.in[0] = d;
        gb_output(b, gb_add(b, n));
        struct gb_result r = gb_run_ok(b, (const void *[]){x, xd});
        for (int k = 0; k < 20000; k++) {
            double want = rows[i].f(xd[k]);
            assert_close((double)((const float *)r.out[0].data)[k], want, 1e-6,
                         eml_op_info(rows[i].op)->name);
            assert_close(((const double *)r.out[1].data)[k], want, 1e-12,
                         eml_op_info(rows[i].op)->name);
        }
        gb_free(b);
    }
}

static void casts_saturate_truncate_and_wrap(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const float x[8] = {-1.5f, 2.9f, 300, -1e30f, 1e30f, NAN, 0, INFINITY};
    const int64_t i[3] = {-1, 257, (int64_t)1 << 40};
    uint32_t f = gb_input(b, EML_DT_F32, SHAPE(8)), k = gb_input(b, EML_DT_I64, SHAPE(3));
    gb_output(b, NODE(b, CAST, OF(f), WITH1(TO, EML_DT_I64)));
    gb_output(b, NODE(b, CAST, OF(f), WITH1(TO, EML_DT_U8)));
    gb_output(b, NODE(b, CAST, OF(f), WITH1(TO, EML_DT_BOOL)));
    gb_output(b, NODE(b, CAST, OF(f), WITH1(TO, EML_DT_F64)));
    gb_output(b, NODE(b, CAST, OF(k), WITH1(TO, EML_DT_U8)));
    gb_output(b, NODE(b, CAST, OF(k), WITH1(TO, EML_DT_F32)));
    struct gb_result r = gb_run_ok(b, (const void *[]){x, i});
    assert_memory_equal(r.out[0].data,
                        ((int64_t[]){-1, 2, 300, INT64_MIN, INT64_MAX, 0, 0, INT64_MAX}), 64);
    assert_memory_equal(r.out[1].data, ((uint8_t[]){0, 2, 255, 0, 255, 0, 0, 255}), 8);
    assert_memory_equal(r.out[2].data, ((uint8_t[]){1, 1, 1, 1, 1, 1, 0, 1}), 8);
    assert_true(((const double *)r.out[3].data)[0] == -1.5);
    assert_memory_equal(r.out[4].data, ((uint8_t[]){255, 1, 0}), 3);
    assert_true(((const float *)r.out[5].data)[2] == 1099511627776.0f);
    gb_free(b);
}

static void casts_to_types_that_c_lacks(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const float x[6] = {-300, -0.4f, 7.9f, 1e9f, NAN, 460};
    /* the last lies just above the middle of two bfloat16: double would lose the 1 */
    const int64_t i[5] = {-9, 23, 70000, -70000, ((int64_t)1 << 62) + ((int64_t)1 << 54) + 1};
    const int8_t four[3] = {-8, 7, -1};
    uint32_t f = gb_input(b, EML_DT_F32, SHAPE(6)), k = gb_input(b, EML_DT_I64, SHAPE(5));
    uint32_t q = gb_input(b, EML_DT_I4, SHAPE(3));
    gb_output(b, NODE(b, CAST, OF(f), WITH1(TO, EML_DT_I4)));
    gb_output(b, NODE(b, CAST, OF(f), WITH1(TO, EML_DT_U4)));
    gb_output(b, NODE(b, CAST, OF(k), WITH1(TO, EML_DT_I4)));
    gb_output(b, NODE(b, CAST, OF(k), WITH1(TO, EML_DT_F16)));
    gb_output(b, NODE(b, CAST, OF(k), WITH1(TO, EML_DT_BF16)));
    gb_output(b, NODE(b, CAST, OF(f), WITH1(TO, EML_DT_F8E4M3FN)));
    gb_output(b, NODE(b, CAST, OF(f),
                      .attr = {{EML_ATTR_TO, 1, {EML_DT_F8E4M3FN}}, {EML_ATTR_SATURATE, 1, {0}}},
                      .n_attr = 2));
    gb_output(b, NODE(b, CAST, OF(q), WITH1(TO, EML_DT_F16)));
    struct gb_result r = gb_run_ok(b, (const void *[]){x, i, four});
    assert_memory_equal(r.out[0].data, ((int8_t[]){-8, 0, 7, 7, 0, 7}), 6);
    assert_memory_equal(r.out[1].data, ((uint8_t[]){0, 0, 7, 15, 0, 15}), 6);
    assert_memory_equal(r.out[2].data, ((int8_t[]){7, 7, 0, 0, 1}), 5);
    assert_memory_equal(r.out[3].data, ((uint16_t[]){0xc880, 0x4dc0, 0x7c00, 0xfc00, 0x7c00}), 10);
    assert_memory_equal(r.out[4].data, ((uint16_t[]){0xc110, 0x41b8, 0x4789, 0xc789, 0x5e81}), 10);
    assert_memory_equal(r.out[5].data, ((uint8_t[]){0xf9, 0xad, 0x50, 0x7e, 0x7f, 0x7e}), 6);
    assert_int_equal(((const uint8_t *)r.out[6].data)[3], 0x7f);
    assert_memory_equal(r.out[7].data, ((uint16_t[]){0xc800, 0x4700, 0xbc00}), 6);
    gb_free(b);
    b = gb_new();
    uint32_t half = gb_input(b, EML_DT_BF16, SHAPE(4));
    gb_output(b, NODE(b, CAST, OF(half), WITH1(TO, EML_DT_U4)));
    gb_output(b, NODE(b, CAST, OF(half), WITH1(TO, EML_DT_BOOL)));
    gb_output(b, NODE(b, CAST, OF(half), WITH1(TO, EML_DT_F16)));
    r = gb_run_ok(b, (const void *[]){(uint16_t[]){0x4180, 0x8000, 0x7fc0, 0xbf00}});
    assert_memory_equal(r.out[0].data, ((uint8_t[]){15, 0, 0, 0}), 4);
    assert_memory_equal(r.out[1].data, ((uint8_t[]){1, 0, 1, 1}), 4);
    assert_memory_equal(r.out[2].data, ((uint16_t[]){0x4c00, 0x8000, 0x7e00, 0xb800}), 8);
    gb_free(b);
}

static void quantises_to_types_that_c_lacks(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const float x[5] = {-30, -1, 0.6f, 7, 2000}, two = 2;
    const int8_t minus_one = -1;
    const uint8_t zero = 0;
    uint32_t f = gb_input(b, EML_DT_F32, SHAPE(5)), s = gb_slot(b, EML_DT_F32, SCALAR, &two);
    uint32_t z4 = gb_slot(b, EML_DT_I4, SCALAR, &minus_one);
    uint32_t z8 = gb_slot(b, EML_DT_F8E4M3FN, SCALAR, &zero);
    uint32_t four = NODE(b, QUANTIZE_LINEAR, OF(f, s, z4));
    uint32_t eight = NODE(b, QUANTIZE_LINEAR, OF(f, s, z8));
    gb_output(b, four);
    gb_output(b, eight);
    gb_output(b, NODE(b, QUANTIZE_LINEAR, OF(f, s, z8), WITH1(SATURATE, 0)));
    gb_output(b, NODE(b, QUANTIZE_LINEAR, OF(f, s), WITH1(OUTPUT_DTYPE, EML_DT_U4)));
    gb_output(b, NODE(b, DEQUANTIZE_LINEAR, OF(four, s, z4)));
    gb_output(b, NODE(b, DEQUANTIZE_LINEAR, OF(eight, s, z8)));
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    assert_memory_equal(r.out[0].data, ((int8_t[]){-8, -1, -1, 3, 7}), 5);
    assert_memory_equal(r.out[1].data, ((uint8_t[]){0xd7, 0xb0, 0x2a, 0x46, 0x7e}), 5);
    assert_int_equal(((const uint8_t *)r.out[2].data)[4], 0x7f); /* NaN */
    assert_memory_equal(r.out[3].data, ((uint8_t[]){0, 0, 0, 4, 15}), 5);
    assert_memory_equal(r.out[4].data, ((float[]){-14, 0, 0, 8, 16}), 20);
    assert_memory_equal(r.out[5].data, ((float[]){-30, -1, 0.625f, 7, 896}), 20);
    gb_free(b);
}

static void clip_and_prelu(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const float x[6] = {-2, -1, 0, 1, 2, 3}, lo = -1, hi = 2, slope[3] = {1, 2, 3};
    uint32_t a = gb_input(b, EML_DT_F32, SHAPE(2, 3));
    uint32_t l = gb_slot(b, EML_DT_F32, SCALAR, &lo), h = gb_slot(b, EML_DT_F32, SCALAR, &hi);
    uint32_t s = gb_slot(b, EML_DT_F32, SHAPE(3), slope);
    gb_output(b, NODE(b, CLIP, OF(a, l, h)));
    gb_output(b, NODE(b, CLIP, OF(a, EML_ABSENT, h)));
    gb_output(b, NODE(b, PRELU, OF(a, s)));
    gb_output(b, NODE(b, ACTIVATE, OF(a, s), WITH1(ACT, EML_ACT_PRELU)));
    gb_output(b,
              NODE(b, ACTIVATE, OF(a), WITH1(ACT, EML_ACT_CLIP), .params = {-1, 2}, .n_params = 2));
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    assert_memory_equal(r.out[0].data, ((float[]){-1, -1, 0, 1, 2, 2}), 24);
    assert_memory_equal(r.out[1].data, ((float[]){-2, -1, 0, 1, 2, 2}), 24);
    assert_memory_equal(r.out[2].data, ((float[]){-2, -2, 0, 1, 2, 3}), 24);
    assert_memory_equal(r.out[3].data, ((float[]){-2, -2, 0, 1, 2, 3}), 24);
    assert_memory_equal(r.out[4].data, ((float[]){-1, -1, 0, 1, 2, 2}), 24);
    gb_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_broadcast),
        cmocka_unit_test(integers_wrap_and_divide),
        cmocka_unit_test(where_and_logic),
        cmocka_unit_test(functions_match_libm),
        cmocka_unit_test(casts_saturate_truncate_and_wrap),
        cmocka_unit_test(casts_to_types_that_c_lacks),
        cmocka_unit_test(quantises_to_types_that_c_lacks),
        cmocka_unit_test(clip_and_prelu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
