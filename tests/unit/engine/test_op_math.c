/* Traps of the mathematical operators that the standard's vectors leave out: every length of a
 * transform, equations that are wrong, data that is out of range, seeds. */
#include "graph_builder.h"

#include <math.h>

static const float *f32(const struct gb_result *r)
{
    return r->out[0].data;
}

static void transform_of_every_length(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("transform_of_every_length");
    for (int64_t n = 1; n <= 66; n++) {
        struct gb *b = gb_new();
        float x[2 * 66];
        for (int64_t i = 0; i < 2 * n; i++)
            x[i] = eml_gen_f32(&g, -1, 1);
        uint32_t in = gb_input(b, EML_DT_F32, SHAPE(1, n, 2));
        gb_output(b, NODE(b, DFT, OF(in), WITH1(INVERSE, n % 2)));
        struct gb_result r = gb_run_ok(b, (const void *[]){x});
        for (int64_t k = 0; k < n; k++) {
            double re = 0, im = 0, sign = n % 2 != 0 ? 1 : -1, by = n % 2 != 0 ? (double)n : 1;
            for (int64_t i = 0; i < n; i++) {
                double a = sign * 6.28318530717958647692 * (double)(i * k) / (double)n;
                re += (double)x[2 * i] * cos(a) - (double)x[2 * i + 1] * sin(a);
                im += (double)x[2 * i] * sin(a) + (double)x[2 * i + 1] * cos(a);
            }
            assert_true(fabs((double)f32(&r)[2 * k] - re / by) < 1e-5);
            assert_true(fabs((double)f32(&r)[2 * k + 1] - im / by) < 1e-5);
        }
        gb_free(b);
    }
}

static struct eml_attr equation(const char *text, int64_t *room)
{
    uint32_t n = 0;
    for (; text[n] != '\0'; n++)
        room[n] = text[n];
    return (struct eml_attr){EML_ATTR_EQUATION, n, room};
}

static void wrong_equations(void **state)
{
    (void)state;
    static const struct {
        const char *text, *rule; /* of operands [2, 3] and [3, 4] */
    } cases[] = {
        {"ij,jk->ik", NULL},
        {" i j , j k ", NULL},
        {"...,...->...", "Einsum: a label has different sizes"},
        {"ij", "Einsum: as many terms as operands are needed"},
        {"ij,jk,kl", "Einsum: as many terms as operands are needed"},
        {"ij,ij", "Einsum: a label has different sizes"},
        {"ijk,jk", "Einsum: term and rank do not fit"},
        {"i...jk,jk", "Einsum: term and rank do not fit"},
        {"ij,jk->il", "Einsum: label of the result that is in no operand, or there twice"},
        {"ij,jk->ii", "Einsum: label of the result that is in no operand, or there twice"},
        {"i...,jk->i", "Einsum: the result drops the ellipsis"},
        {"ij,j.k->ik", "Einsum: misplaced dot"},
        {"......,jk->i", "Einsum: misplaced dot"},
        {"i1,1k->ik", "Einsum: character that is no label"},
        {"ij,jk-", "Einsum: character that is no label"},
        {"ij,jk->ik->", "Einsum: more than one result"},
        {"", "Einsum: term and rank do not fit"},
    };
    struct gb *b = gb_new();
    struct eml_known a = {.dtype = EML_DT_F32, .has_rank = true, .shape = SHAPE(2, 3)};
    struct eml_known c = {.dtype = EML_DT_F32, .has_rank = true, .shape = SHAPE(3, 4)}, out;
    const struct eml_known *in[] = {&a, &c};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t room[32];
        struct eml_attr attr = equation(cases[i].text, room);
        const uint32_t ids[] = {0, 1};
        struct eml_node n = {.op = EML_OP_EINSUM, .n_in = 2, .n_out = 1, .n_attr = 1};
        n.in = n.out = ids;
        n.attr = &attr;
        struct eml_why why = {0};
        enum eml_err e = eml_infer_node(&n, in, &out, &b->arena, &why);
        assert_int_equal(e, cases[i].rule == NULL ? EML_OK : EML_E_INPUT);
        if (cases[i].rule != NULL)
            assert_string_equal(why.rule, cases[i].rule);
        else
            assert_true(out.shape.rank == 2 && out.shape.dim[0] == 2 && out.shape.dim[1] == 4);
    }
    gb_free(b);
}

static void bits_shifted_out(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    uint32_t x = gb_input(b, EML_DT_U32, SHAPE(4)), by = gb_input(b, EML_DT_U32, SHAPE(4));
    gb_output(b, NODE(b, BIT_SHIFT, OF(x, by), WITH1(DIRECTION, 1)));
    gb_output(b, NODE(b, BIT_SHIFT, OF(x, by), WITH1(DIRECTION, 0)));
    const uint32_t v[] = {0x80000001, 5, 5, 5}, n[] = {31, 32, 33, UINT32_MAX};
    struct gb_result r = gb_run_ok(b, (const void *[]){v, n});
    assert_memory_equal(r.out[0].data, ((uint32_t[]){1, 0, 0, 0}), 16);
    assert_memory_equal(r.out[1].data, ((uint32_t[]){0x80000000, 0, 0, 0}), 16);
    gb_free(b);
}

static void losses_of_bad_targets(void **state)
{
    (void)state;
    static const struct {
        int64_t target;
        enum eml_err e;
    } cases[] = {{2, EML_OK}, {-7, EML_OK}, {3, EML_E_INPUT}, {-1, EML_E_INPUT}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gb *b = gb_new();
        uint32_t x = gb_input(b, EML_DT_F32, SHAPE(2, 3)), t = gb_input(b, EML_DT_I64, SHAPE(2));
        gb_output(b, NODE(b, NEGATIVE_LOG_LIKELIHOOD_LOSS, OF(x, t), WITH1(IGNORE_INDEX, -7)));
        const float v[] = {-1, -2, -3, -4, -5, -6};
        const int64_t targets[] = {1, cases[i].target};
        struct gb_result r = gb_run(b, (const void *[]){v, targets}, EML_ISA_AUTO, 1, false, 1);
        assert_int_equal(r.e, cases[i].e);
        if (r.e == EML_OK)
            assert_true(f32(&r)[0] == (cases[i].target == 2 ? 4.0f : 2.0f));
        gb_free(b);
    }
}

static void determinants(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    uint32_t x = gb_input(b, EML_DT_F32, SHAPE(3, 2, 2));
    gb_output(b, NODE(b, DET, OF(x)));
    const float v[] = {0, 1, 1, 0, 1, 2, 2, 4, 3, 1, 4, 2}; /* swapped rows; singular; 2 */
    struct gb_result r = gb_run_ok(b, (const void *[]){v});
    assert_true(f32(&r)[0] == -1 && f32(&r)[1] == 0 && fabsf(f32(&r)[2] - 2) < 1e-6f);
    gb_free(b);
}

enum { DRAWS = 4096 };

/* Draws between 2 and 6. */
static void uniform_of_seed(float seed, unsigned threads, float *to)
{
    struct gb *b = gb_new();
    gb_output(b, NODE(b, RANDOM_UNIFORM, .in = {GB_END}, WITH1(SHAPE, DRAWS),
                      .params = {2, 6, seed}, .n_params = 3));
    struct gb_result r = gb_run(b, NULL, EML_ISA_AUTO, threads, false, 0x5a);
    assert_int_equal(r.e, EML_OK);
    memcpy(to, f32(&r), DRAWS * sizeof *to);
    gb_free(b);
}

static void a_seed_tells_all(void **state)
{
    (void)state;
    static float a[DRAWS], b[DRAWS], other[DRAWS];
    double mean = 0, deviation = 0;
    uniform_of_seed(1, 1, a);
    uniform_of_seed(1, 3, b);
    uniform_of_seed(2, 1, other);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, other, sizeof a);
    for (int i = 0; i < DRAWS; i++) {
        assert_true(a[i] >= 2 && a[i] <= 6);
        mean += (double)a[i] / DRAWS;
    }
    for (int i = 0; i < DRAWS; i++)
        deviation += pow((double)a[i] - mean, 2) / DRAWS;
    assert_true(fabs(mean - 4) < 0.1); /* five standard errors */
    assert_true(fabs(deviation - 16.0 / 12) < 0.1);
}

static void probabilities_out_of_range(void **state)
{
    (void)state;
    static const float cases[] = {-0.5f, 1.5f, NAN};
    for (size_t i = 0; i < 3; i++) {
        struct gb *b = gb_new();
        uint32_t x = gb_input(b, EML_DT_F32, SHAPE(1));
        gb_output(b, NODE(b, BERNOULLI, OF(x), .params = {0}, .n_params = 1));
        struct gb_result r = gb_run(b, (const void *[]){&cases[i]}, EML_ISA_AUTO, 1, false, 0);
        assert_int_equal(r.e, EML_E_INPUT);
        gb_free(b);
        b = gb_new();
        x = gb_input(b, EML_DT_F32, SHAPE(1));
        uint32_t train = gb_slot(b, EML_DT_BOOL, SCALAR, &(uint8_t){1});
        uint32_t ratio = gb_input(b, EML_DT_F32, SCALAR);
        gb_output(b, NODE(b, DROPOUT, OF(x, ratio, train), .params = {0}, .n_params = 1));
        r = gb_run(b, (const void *[]){&cases[0], &cases[i]}, EML_ISA_AUTO, 1, false, 0);
        assert_int_equal(r.e, EML_E_INPUT);
        gb_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transform_of_every_length),
        cmocka_unit_test(wrong_equations),
        cmocka_unit_test(bits_shifted_out),
        cmocka_unit_test(losses_of_bad_targets),
        cmocka_unit_test(determinants),
        cmocka_unit_test(a_seed_tells_all),
        cmocka_unit_test(probabilities_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
