/* Resize against a plain reference written here. */
#include "op_plain.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resizes),
        cmocka_unit_test(resize_does_not_care_for_the_layout),
        cmocka_unit_test(scales_that_come_with_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
