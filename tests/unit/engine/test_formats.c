/* Formats against their definition: every bit pattern, and nearness to random numbers. */
#include "engine/formats.h"
#include "testsupport/support.h"

#include <math.h>
#include <string.h>

static const enum eml_dtype ALL[] = {EML_DT_F16,        EML_DT_BF16,   EML_DT_F8E4M3FN,
                                     EML_DT_F8E4M3FNUZ, EML_DT_F8E5M2, EML_DT_F8E5M2FNUZ};
enum { ALL_N = sizeof ALL / sizeof ALL[0] };

static uint32_t patterns(enum eml_dtype t)
{
    return eml_dtype_bytes(t) == 1 ? 256 : 65536;
}

static void every_pattern_comes_back(void **state)
{
    (void)state;
    for (size_t k = 0; k < ALL_N; k++)
        for (uint32_t i = 0; i < patterns(ALL[k]); i++) {
            double v = eml_format_decode(ALL[k], (uint16_t)i);
            uint16_t again = eml_format_encode(ALL[k], v, false);
            if (isnan(v))
                assert_true(isnan(eml_format_decode(ALL[k], again)));
            else
                assert_int_equal(again, i);
        }
}

/* Numbers that others print for these patterns (IEEE 754, OCP 8-bit formats, ONNX). */
static void known_numbers(void **state)
{
    (void)state;
    static const struct {
        enum eml_dtype t;
        uint16_t bits;
        double v;
    } rows[] = {
        {EML_DT_F16, 0x3c00, 1},           {EML_DT_F16, 0x7bff, 65504},
        {EML_DT_F16, 0x0001, 0x1p-24},     {EML_DT_F16, 0xfc00, -INFINITY},
        {EML_DT_BF16, 0x3f80, 1},          {EML_DT_BF16, 0x0001, 0x1p-133},
        {EML_DT_F8E4M3FN, 0x38, 1},        {EML_DT_F8E4M3FN, 0x7e, 448},
        {EML_DT_F8E4M3FN, 0x01, 0x1p-9},   {EML_DT_F8E4M3FNUZ, 0x7f, 240},
        {EML_DT_F8E4M3FNUZ, 0x40, 1},      {EML_DT_F8E5M2, 0x7b, 57344},
        {EML_DT_F8E5M2, 0x7c, INFINITY},   {EML_DT_F8E5M2, 0x01, 0x1p-16},
        {EML_DT_F8E5M2FNUZ, 0x7f, 57344},  {EML_DT_F8E5M2FNUZ, 0x01, 0x1p-17},
        {EML_DT_F8E5M2FNUZ, 0xff, -57344},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_true(eml_format_decode(rows[i].t, rows[i].bits) == rows[i].v);
    assert_true(isnan(eml_format_decode(EML_DT_F8E4M3FN, 0x7f)));
    assert_true(isnan(eml_format_decode(EML_DT_F8E4M3FNUZ, 0x80)));
    assert_true(isnan(eml_format_decode(EML_DT_F8E5M2, 0x7d)));
    assert_true(isnan(eml_format_decode(EML_DT_F16, 0x7c01)));
}

static void edges_of_rounding(void **state)
{
    (void)state;
    static const struct {
        enum eml_dtype t;
        double v;
        uint16_t bits, saturated;
    } rows[] = {
        {EML_DT_F16, 65519.99, 0x7bff, 0x7bff},
        {EML_DT_F16, 65520, 0x7c00, 0x7c00}, /* a tie goes to the even one: infinity */
        {EML_DT_F16, 0x1p-25, 0, 0},
        {EML_DT_F16, -0x1.00001p-25, 0x8001, 0x8001},
        {EML_DT_F16, 1 + 0x1p-11, 0x3c00, 0x3c00},
        {EML_DT_F16, 1 + 0x3p-11, 0x3c02, 0x3c02},
        /* by way of float32 it would become a tie, and then 1 */
        {EML_DT_F16, 1 + 0x1p-11 + 0x1p-40, 0x3c01, 0x3c01},
        {EML_DT_BF16, 1e39, 0x7f80, 0x7f80},
        {EML_DT_BF16, 1e300, 0x7f80, 0x7f80},
        {EML_DT_F8E4M3FN, 464, 0x7e, 0x7e},
        {EML_DT_F8E4M3FN, 465, 0x7f, 0x7e},
        {EML_DT_F8E4M3FN, -INFINITY, 0xff, 0xfe},
        {EML_DT_F8E4M3FN, -0.0, 0x80, 0x80},
        {EML_DT_F8E4M3FNUZ, -0.0, 0, 0},
        {EML_DT_F8E4M3FNUZ, -1e-9, 0, 0}, /* 0x80 would be NaN */
        {EML_DT_F8E4M3FNUZ, -1e9, 0x80, 0xff},
        {EML_DT_F8E5M2, 1e9, 0x7c, 0x7b},
        {EML_DT_F8E5M2, INFINITY, 0x7c, 0x7b},
        {EML_DT_F8E5M2, NAN, 0x7f, 0x7f},
        {EML_DT_F8E5M2FNUZ, INFINITY, 0x80, 0x7f},
        {EML_DT_F8E5M2FNUZ, -NAN, 0x80, 0x80},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(eml_format_encode(rows[i].t, rows[i].v, false), rows[i].bits);
        assert_int_equal(eml_format_encode(rows[i].t, rows[i].v, true), rows[i].saturated);
    }
}

/* No neighbour is nearer, and one that is as near is odd. */
static void the_nearest_is_chosen(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("formats");
    for (size_t k = 0; k < ALL_N; k++)
        for (int i = 0; i < 20000; i++) {
            uint32_t near = (uint32_t)eml_gen_range(&g, 1, patterns(ALL[k]) / 2 - 3);
            double lo = eml_format_decode(ALL[k], (uint16_t)near);
            double hi = eml_format_decode(ALL[k], (uint16_t)(near + 1));
            if (isnan(hi) || isinf(hi) || isnan(lo) || isinf(lo))
                continue;
            double part = i % 4 == 0 ? 0.5 : (double)eml_gen_f32(&g, 0, 1);
            double v = lo + (hi - lo) * part;
            uint32_t want = part < 0.5 || (part == 0.5 && near % 2 == 0) ? near : near + 1;
            assert_int_equal(eml_format_encode(ALL[k], v, false), want);
        }
}

static void halves_in_bulk_are_the_same(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("halves");
    for (size_t k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < 65536; i++) {
            uint16_t h = (uint16_t)i, again;
            float v;
            eml_halves_to_f32(ALL[k], &v, &h, 1);
            double want = eml_format_decode(ALL[k], h);
            assert_true((double)v == want || (isnan(v) && isnan(want)));
            assert_true((signbit(v) != 0) == (h >> 15 != 0));
            eml_halves_from_f32(ALL[k], &again, &v, 1);
            assert_int_equal(again, eml_format_encode(ALL[k], (double)v, false));
        }
        for (int i = 0; i < 200000; i++) {
            uint32_t u = (uint32_t)eml_gen_u64(&g);
            float v;
            uint16_t h;
            memcpy(&v, &u, sizeof v);
            eml_halves_from_f32(ALL[k], &h, &v, 1);
            assert_int_equal(h, eml_format_encode(ALL[k], (double)v, false));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_comes_back),    cmocka_unit_test(known_numbers),
        cmocka_unit_test(edges_of_rounding),           cmocka_unit_test(the_nearest_is_chosen),
        cmocka_unit_test(halves_in_bulk_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
