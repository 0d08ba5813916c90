/* Operators against plain references written here, on random shapes; each graph has one node. The
 * standard's own vectors are run by the conformance tests. */
#include "graph_builder.h"

#include <math.h>

enum { ROOM = 4096 };

static struct eml_shape random_shape(struct eml_gen *g, uint32_t rank, int64_t most)
{
    struct eml_shape s = {.rank = rank};
    for (uint32_t i = 0; i < rank; i++)
        s.dim[i] = eml_gen_range(g, 1, most);
    return s;
}

/* s with dims dropped from the front and others set to 1. */
static struct eml_shape shrink(struct eml_gen *g, struct eml_shape s)
{
    struct eml_shape r = {0};
    for (uint32_t i = (uint32_t)eml_gen_range(g, 0, s.rank); i < s.rank; i++)
        r.dim[r.rank++] = eml_gen_bool(g) ? s.dim[i] : 1;
    return r;
}

static void fill_f32(struct eml_gen *g, float *x, int64_t n, float lo, float hi)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = eml_gen_f32(g, lo, hi);
}

static void assert_close(double got, double want, double tolerance, const char *what)
{
    if (isnan(want) ? isnan(got) : got == want)
        return;
    if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
        fail_msg("%s: %.9g, should be %.9g", what, got, want);
}

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

/* ---- moving elements: every element carries its own number ---- */

static const enum eml_dtype BY_SIZE[] = {EML_DT_U8, EML_DT_F16, EML_DT_I32, EML_DT_I64};

static void number(void *x, enum eml_dtype t, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        memcpy((uint8_t *)x + (size_t)i * eml_dtype_bytes(t), &i, eml_dtype_bytes(t));
}

static uint64_t at(const struct eml_tensor *t, size_t i)
{
    uint64_t v = 0;
    memcpy(&v, (const uint8_t *)t->data + i * eml_dtype_bytes(t->dtype), eml_dtype_bytes(t->dtype));
    return v;
}

static uint64_t low(enum eml_dtype t, size_t i)
{
    return eml_dtype_bytes(t) == 8 ? i : i & (((uint64_t)1 << (8 * eml_dtype_bytes(t))) - 1);
}

static void coords(const struct eml_shape *s, size_t i, int64_t *c)
{
    for (uint32_t d = s->rank; d-- > 0; i /= (size_t)s->dim[d])
        c[d] = (int64_t)(i % (size_t)s->dim[d]);
}

static size_t index_of(const struct eml_shape *s, const int64_t *c)
{
    size_t i = 0;
    for (uint32_t d = 0; d < s->rank; d++)
        i = i * (size_t)s->dim[d] + (size_t)c[d];
    return i;
}

static void transposes(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("transposes");
    static int64_t x[100000];
    for (int round = 0; round < 200; round++) {
        struct gb *b = gb_new();
        uint32_t rank = (uint32_t)eml_gen_range(&g, 1, 5);
        struct eml_shape s = random_shape(&g, rank, rank <= 3 ? 40 : 7);
        enum eml_dtype t = BY_SIZE[eml_gen_range(&g, 0, 3)];
        number(x, t, gb_count(s));
        struct gb_node n = {.op = EML_OP_TRANSPOSE, .n_attr = 1};
        n.in[0] = gb_input(b, t, s);
        n.in[1] = GB_END;
        n.attr[0].id = EML_ATTR_PERM;
        n.attr[0].n = rank;
        for (uint32_t i = 0; i < rank; i++) {
            int64_t j = eml_gen_range(&g, 0, i);
            n.attr[0].v[i] = n.attr[0].v[j];
            n.attr[0].v[j] = (int64_t)i;
        }
        gb_output(b, gb_add(b, n));
        struct gb_result r = gb_run_ok(b, (const void *[]){x});
        for (size_t i = 0; i < (size_t)gb_count(s); i++) {
            int64_t c[8], from[8];
            coords(&r.out[0].shape, i, c);
            for (uint32_t d = 0; d < rank; d++)
                from[n.attr[0].v[d]] = c[d];
            assert_int_equal(at(&r.out[0], i), low(t, index_of(&s, from)));
        }
        gb_free(b);
    }
}

static void slices(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("slices");
    static int64_t x[ROOM];
    for (int round = 0; round < 300; round++) {
        struct gb *b = gb_new();
        uint32_t rank = (uint32_t)eml_gen_range(&g, 1, 4);
        struct eml_shape s = random_shape(&g, rank, 7);
        enum eml_dtype t = BY_SIZE[eml_gen_range(&g, 0, 3)];
        number(x, t, gb_count(s));
        int64_t start[4], end[4], axes[4], step[4], count[4];
        for (uint32_t i = 0; i < rank; i++) {
            axes[i] = (int64_t)i - (eml_gen_bool(&g) ? (int64_t)rank : 0);
            step[i] = eml_gen_range(&g, 1, 3) * (eml_gen_bool(&g) ? 1 : -1);
            int64_t first = eml_gen_range(&g, 0, s.dim[i] - 1);
            int64_t room = step[i] > 0 ? s.dim[i] - first : first + 1;
            int64_t by = step[i] > 0 ? step[i] : -step[i];
            count[i] = eml_gen_range(&g, 0, (room - 1) / by + 1);
            start[i] = eml_gen_bool(&g) ? first : first - s.dim[i];
            int64_t stop = first + count[i] * step[i]; /* exclusive; below 0 is "before all" */
            end[i] = stop < 0 ? -INT64_MAX : stop;
        }
        uint32_t v = gb_input(b, t, s);
        gb_output(b, NODE(b, SLICE,
                          OF(v, gb_ints(b, rank, start), gb_ints(b, rank, end),
                             gb_ints(b, rank, axes), gb_ints(b, rank, step))));
        struct gb_result r = gb_run_ok(b, (const void *[]){x});
        for (uint32_t i = 0; i < rank; i++)
            assert_int_equal(r.out[0].shape.dim[i], count[i]);
        for (size_t i = 0; i < (size_t)gb_count(r.out[0].shape); i++) {
            int64_t c[8];
            coords(&r.out[0].shape, i, c);
            for (uint32_t d = 0; d < rank; d++)
                c[d] = (start[d] < 0 ? start[d] + s.dim[d] : start[d]) + c[d] * step[d];
            assert_int_equal(at(&r.out[0], i), low(t, index_of(&s, c)));
        }
        gb_free(b);
    }
}

static void split_undoes_concat(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("split_undoes_concat");
    static float x[3][ROOM];
    for (int round = 0; round < 100; round++) {
        struct gb *b = gb_new();
        uint32_t rank = (uint32_t)eml_gen_range(&g, 1, 4), in[3];
        uint32_t axis = (uint32_t)eml_gen_range(&g, 0, rank - 1);
        struct eml_shape s = random_shape(&g, rank, 5);
        int64_t parts[3];
        for (int i = 0; i < 3; i++) {
            s.dim[axis] = parts[i] = eml_gen_range(&g, 0, 4);
            fill_f32(&g, x[i], gb_count(s), -1, 1);
            in[i] = gb_input(b, EML_DT_F32, s);
        }
        uint32_t all = NODE(b, CONCAT, OF(in[0], in[1], in[2]), WITH1(AXIS, axis));
        uint32_t first =
            NODE(b, SPLIT, OF(all, gb_ints(b, 3, parts)), WITH1(AXIS, axis), .n_out = 3);
        for (uint32_t i = 0; i < 3; i++)
            gb_output(b, first + i);
        struct gb_result r = gb_run_ok(b, (const void *[]){x[0], x[1], x[2]});
        for (int i = 0; i < 3; i++) {
            assert_int_equal(r.out[i].shape.dim[axis], parts[i]);
            assert_memory_equal(r.out[i].data, x[i], r.out[i].bytes);
        }
        gb_free(b);
    }
}

static void expand_and_tile_repeat(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("expand_and_tile_repeat");
    static int64_t x[ROOM];
    for (int round = 0; round < 200; round++) {
        struct gb *b = gb_new();
        uint32_t rank = (uint32_t)eml_gen_range(&g, 1, 4);
        struct eml_shape to = random_shape(&g, rank, 5), from = shrink(&g, to);
        enum eml_dtype t = BY_SIZE[eml_gen_range(&g, 0, 3)];
        int64_t times[4];
        number(x, t, gb_count(to) + gb_count(from));
        for (uint32_t i = 0; i < rank; i++)
            times[i] = eml_gen_range(&g, 1, 3);
        uint32_t v = gb_input(b, t, from), w = gb_input(b, t, to);
        gb_output(b, NODE(b, EXPAND, OF(v, gb_ints(b, rank, to.dim))));
        gb_output(b, NODE(b, TILE, OF(w, gb_ints(b, rank, times))));
        struct gb_result r = gb_run_ok(b, (const void *[]){x, x});
        for (size_t i = 0; i < (size_t)gb_count(to); i++)
            assert_int_equal(at(&r.out[0], i), low(t, eml_broadcast_index(&from, &to, i)));
        for (size_t i = 0; i < (size_t)gb_count(r.out[1].shape); i++) {
            int64_t c[8];
            coords(&r.out[1].shape, i, c);
            for (uint32_t d = 0; d < rank; d++)
                c[d] %= to.dim[d];
            assert_int_equal(at(&r.out[1], i), low(t, index_of(&to, c)));
        }
        gb_free(b);
    }
}

static void pads(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const float x[3] = {1, 2, 3}, fill = 9;
    uint32_t v = gb_input(b, EML_DT_F32, SHAPE(3)), f = gb_slot(b, EML_DT_F32, SCALAR, &fill);
    gb_output(b, NODE(b, PAD, OF(v, INTS(b, 2, 1), f)));
    gb_output(b, NODE(b, PAD, OF(v, INTS(b, 2, 1)), WITH1(MODE, 1)));
    gb_output(b, NODE(b, PAD, OF(v, INTS(b, 2, 1)), WITH1(MODE, 2)));
    gb_output(b, NODE(b, PAD, OF(v, INTS(b, 2, 1)), WITH1(MODE, 3)));
    gb_output(b, NODE(b, PAD, OF(v, INTS(b, -1, 2))));
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    assert_memory_equal(r.out[0].data, ((float[]){9, 9, 1, 2, 3, 9}), 24);
    assert_memory_equal(r.out[1].data, ((float[]){3, 2, 1, 2, 3, 2}), 24);
    assert_memory_equal(r.out[2].data, ((float[]){1, 1, 1, 2, 3, 3}), 24);
    assert_memory_equal(r.out[3].data, ((float[]){2, 3, 1, 2, 3, 1}), 24);
    assert_memory_equal(r.out[4].data, ((float[]){2, 3, 0, 0}), 16);
    gb_free(b);
}

static void gathers_and_checks_indices(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    float x[12];
    for (int i = 0; i < 12; i++)
        x[i] = (float)i;
    int64_t k[4] = {2, -3, 0, -1};
    uint32_t v = gb_input(b, EML_DT_F32, SHAPE(4, 3)), i = gb_input(b, EML_DT_I64, SHAPE(4, 1));
    gb_output(b, NODE(b, GATHER, OF(v, i), WITH1(AXIS, 1)));
    gb_output(b, NODE(b, GATHER_ELEMENTS, OF(v, i), WITH1(AXIS, 1)));
    struct gb_result r = gb_run_ok(b, (const void *[]){x, k});
    const int64_t at_k[4] = {2, 0, 0, 2};
    for (int row = 0; row < 4; row++) {
        for (int j = 0; j < 4; j++)
            assert_true(((const float *)r.out[0].data)[row * 4 + j] == x[row * 3 + at_k[j]]);
        assert_true(((const float *)r.out[1].data)[row] == x[row * 3 + at_k[row]]);
    }
    static const int64_t bad[] = {3, -4, INT64_MAX, INT64_MIN};
    for (int j = 0; j < 4; j++) {
        k[1] = bad[j];
        r = gb_run(b, (const void *[]){x, k}, EML_ISA_AUTO, 2, false, 0);
        assert_int_equal(r.e, EML_E_INPUT);
        assert_string_equal(r.why.rule, "index out of range");
        assert_null(r.out[0].data);
    }
    b->nodes[0].op = EML_OP_GATHER_ELEMENTS;
    r = gb_run(b, (const void *[]){x, k}, EML_ISA_AUTO, 2, false, 0);
    assert_int_equal(r.e, EML_E_INPUT);
    gb_free(b);
}

static void space_and_depth_are_inverse(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    int32_t x[2 * 4 * 6 * 3];
    number(x, EML_DT_I32, 144);
    uint32_t v = gb_input(b, EML_DT_I32, SHAPE(2, 4, 6, 3));
    uint32_t d = NODE(b, SPACE_TO_DEPTH, OF(v), WITH1(BLOCKSIZE, 2));
    gb_output(b, d);
    gb_output(b, NODE(b, DEPTH_TO_SPACE, OF(d), WITH1(BLOCKSIZE, 2)));
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    assert_memory_equal(r.out[1].data, x, sizeof x);
    /* first output pixel: the 2x2 block at the corner, channels fastest */
    const int32_t want[12] = {0, 1, 2, 3, 4, 5, 18, 19, 20, 21, 22, 23};
    assert_memory_equal(r.out[0].data, want, sizeof want);
    gb_free(b);
}

static void small_operators(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const float x[6] = {1, 2, 3, 4, 5, 6};
    const int64_t k = 1, axis = -1;
    const int32_t seven = 7;
    uint32_t v = gb_input(b, EML_DT_F32, SHAPE(2, 3));
    uint32_t ks = gb_slot(b, EML_DT_I64, SCALAR, &k), as = gb_slot(b, EML_DT_I64, SCALAR, &axis);
    gb_output(b, NODE(b, TRILU, OF(v)));
    gb_output(b, NODE(b, TRILU, OF(v, ks), WITH1(UPPER, 0)));
    gb_output(b, NODE(b, CUM_SUM, OF(v, as)));
    gb_output(b, NODE(b, CUM_SUM, OF(v, as),
                      .attr = {{EML_ATTR_EXCLUSIVE, 1, {1}}, {EML_ATTR_REVERSE, 1, {1}}},
                      .n_attr = 2));
    gb_output(
        b, NODE(b, CONSTANT_OF_SHAPE, OF(INTS(b, 2, 2), gb_slot(b, EML_DT_I32, SHAPE(1), &seven))));
    gb_output(b, NODE(b, RANGE, OF(INTS(b, 5), INTS(b, 20000), INTS(b, 3))));
    gb_output(b, NODE(b, ARG_MAX, OF(v), WITH1(AXIS, 0)));
    gb_output(b, NODE(b, MEAN, OF(v, v, v)));
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    assert_memory_equal(r.out[0].data, ((float[]){1, 2, 3, 0, 5, 6}), 24);
    assert_memory_equal(r.out[1].data, ((float[]){1, 2, 0, 4, 5, 6}), 24);
    assert_memory_equal(r.out[2].data, ((float[]){1, 3, 6, 4, 9, 15}), 24);
    assert_memory_equal(r.out[3].data, ((float[]){5, 3, 0, 11, 6, 0}), 24);
    assert_memory_equal(r.out[4].data, ((int32_t[]){7, 7, 7, 7}), 16);
    assert_int_equal(r.out[5].shape.dim[0], 6665);
    assert_int_equal(((const int64_t *)r.out[5].data)[6664], 19997);
    assert_memory_equal(r.out[6].data, ((int64_t[]){1, 1, 1}), 24);
    assert_memory_equal(r.out[7].data, x, 24);
    gb_free(b);
}

/* ---- reductions and normalisations ---- */

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

/* ---- Resize ---- */

static void resizes(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const float x[4] = {1, 2, 3, 4};
    const struct gb_node base = {.op = EML_OP_RESIZE, .params = {-0.75f, 9}, .n_params = 2};
    uint32_t v = gb_input(b, EML_DT_F32, SHAPE(1, 2, 2, 1));
    uint32_t twice = INTS(b, 1, 1, 2, 1, 2, 1, 1, 1), five = INTS(b, 1, 2, 5, 1);
    struct gb_node n = base; /* nearest, asymmetric, floor */
    n.in[0] = v;
    n.in[1] = EML_ABSENT;
    n.in[2] = twice;
    n.in[3] = GB_END;
    n.attr[0].id = EML_ATTR_COORDINATE_TRANSFORMATION_MODE;
    n.attr[0].n = 1;
    n.attr[0].v[0] = 3;
    n.attr[1].id = EML_ATTR_NEAREST_MODE;
    n.attr[1].n = 1;
    n.attr[1].v[0] = 2;
    n.n_attr = 2;
    gb_output(b, gb_add(b, n));
    n = base; /* linear, align_corners, by sizes */
    n.in[0] = v;
    n.in[1] = n.in[2] = EML_ABSENT;
    n.in[3] = five;
    n.in[4] = GB_END;
    n.attr[0].id = EML_ATTR_MODE;
    n.attr[1].id = EML_ATTR_COORDINATE_TRANSFORMATION_MODE;
    n.attr[0].n = n.attr[1].n = 1;
    n.attr[0].v[0] = 1;
    n.attr[1].v[0] = 2;
    n.n_attr = 2;
    gb_output(b, gb_add(b, n));
    n.attr[1].v[0] = 0; /* half_pixel */
    gb_output(b, gb_add(b, n));
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    const float nearest[16] = {1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4};
    const float aligned[10] = {1, 1.25f, 1.5f, 1.75f, 2, 3, 3.25f, 3.5f, 3.75f, 4};
    const float half[10] = {1, 1.1f, 1.5f, 1.9f, 2, 3, 3.1f, 3.5f, 3.9f, 4};
    assert_memory_equal(r.out[0].data, nearest, sizeof nearest);
    for (int i = 0; i < 10; i++) {
        assert_close((double)((const float *)r.out[1].data)[i], (double)aligned[i], 1e-6,
                     "aligned");
        assert_close((double)((const float *)r.out[2].data)[i], (double)half[i], 1e-6,
                     "half pixel");
    }
    gb_free(b);
}

static void resize_does_not_care_for_the_layout(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("resize_does_not_care_for_the_layout");
    static float x[3 * 12 * 9];
    for (int round = 0; round < 60; round++) {
        struct gb *b = gb_new();
        fill_f32(&g, x, 3 * 12 * 9, -1, 1);
        int64_t h = eml_gen_range(&g, 1, 30), w = eml_gen_range(&g, 1, 30);
        struct gb_node n = {.op = EML_OP_RESIZE, .params = {-0.5f, 0}, .n_params = 2, .n_attr = 4};
        static const enum eml_attr_id ids[4] = {EML_ATTR_MODE,
                                                EML_ATTR_COORDINATE_TRANSFORMATION_MODE,
                                                EML_ATTR_EXCLUDE_OUTSIDE, EML_ATTR_ANTIALIAS};
        static const int64_t most[4] = {2, 3, 1, 1};
        for (int i = 0; i < 4; i++) {
            n.attr[i].id = ids[i];
            n.attr[i].n = 1;
            n.attr[i].v[0] = eml_gen_range(&g, 0, most[i]);
        }
        uint32_t v = gb_input(b, EML_DT_F32, SHAPE(1, 3, 12, 9));
        n.in[0] = v;
        n.in[1] = n.in[2] = EML_ABSENT;
        n.in[3] = INTS(b, 1, 3, h, w);
        n.in[4] = GB_END;
        gb_output(b, gb_add(b, n));
        n.in[0] = NODE(b, TRANSPOSE, OF(v), WITH1(PERM, 0, 2, 3, 1));
        n.in[3] = INTS(b, 1, h, w, 3);
        gb_output(b, NODE(b, TRANSPOSE, OF(gb_add(b, n)), WITH1(PERM, 0, 3, 1, 2)));
        struct gb_result r = gb_run_ok(b, (const void *[]){x});
        assert_int_equal(r.out[0].bytes, r.out[1].bytes);
        assert_memory_equal(r.out[0].data, r.out[1].data, r.out[0].bytes);
        gb_free(b);
    }
}

/* ---- threads ---- */

/* Sizes of the result are known only as it runs; what is no scale is refused then. */
static void scales_that_come_with_the_request(void **state)
{
    (void)state;
    static const struct {
        float scale[2];
        int64_t out; /* elements of a [2, 5] resized; negative: refused */
    } cases[] = {
        {{1, 2}, 20},      {{0.5f, 0.3f}, 1}, {{1, 0.1f}, 0},  {{1.5f, 1.7f}, 24},
        {{1, 0}, -1},      {{1, -2}, -1},     {{NAN, 1}, -1},  {{1, INFINITY}, -1},
        {{1, 1e-40f}, -1}, {{1, 1.2e9f}, -1}, {{1, 1e9f}, -1},
    };
    const float x[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gb *b = gb_new();
        uint32_t in = gb_input(b, EML_DT_F32, SHAPE(2, 5));
        uint32_t scales = gb_input(b, EML_DT_F32, SHAPE(2));
        uint32_t by = NODE(b, FRACTIONS, OF(scales));
        gb_output(b, NODE(b, RESIZE, OF(in, EML_ABSENT, by), .params = {-0.75f, 0}, .n_params = 2,
                          WITH1(COORDINATE_TRANSFORMATION_MODE, 3)));
        const void *data[] = {x, cases[i].scale};
        struct gb_result r = gb_run(b, data, EML_ISA_AUTO, 1, false, 0xa5);
        assert_int_equal(r.e, cases[i].out < 0 ? EML_E_INPUT : EML_OK);
        if (r.e == EML_OK)
            assert_int_equal(r.out[0].bytes, (size_t)cases[i].out * sizeof(float));
        if (i == 0)
            for (size_t k = 0; k < 20; k++)
                assert_float_equal(((const float *)r.out[0].data)[k], (double)(k / 2), 0);
        gb_free(b);
    }
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
        cmocka_unit_test(floats_broadcast),
        cmocka_unit_test(integers_wrap_and_divide),
        cmocka_unit_test(where_and_logic),
        cmocka_unit_test(functions_match_libm),
        cmocka_unit_test(casts_saturate_truncate_and_wrap),
        cmocka_unit_test(casts_to_types_that_c_lacks),
        cmocka_unit_test(quantises_to_types_that_c_lacks),
        cmocka_unit_test(clip_and_prelu),
        cmocka_unit_test(transposes),
        cmocka_unit_test(slices),
        cmocka_unit_test(split_undoes_concat),
        cmocka_unit_test(expand_and_tile_repeat),
        cmocka_unit_test(pads),
        cmocka_unit_test(gathers_and_checks_indices),
        cmocka_unit_test(space_and_depth_are_inverse),
        cmocka_unit_test(small_operators),
        cmocka_unit_test(reductions),
        cmocka_unit_test(integer_and_empty_reductions),
        cmocka_unit_test(softmax_on_any_axis),
        cmocka_unit_test(normalisations),
        cmocka_unit_test(resizes),
        cmocka_unit_test(resize_does_not_care_for_the_layout),
        cmocka_unit_test(scales_that_come_with_the_request),
        cmocka_unit_test(threads_do_not_change_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
