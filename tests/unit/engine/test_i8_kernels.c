/* Kernels of bytes: every instruction set gives the numbers of plain loops, to the bit. */
#include "testsupport/support.h"

#include "engine/i8gemm.h"

#include <math.h>
#include <stdlib.h>

static const enum eml_isa isas[] = {EML_ISA_REF, EML_ISA_AVX2, EML_ISA_AVX512};

static uint8_t *bytes(struct eml_gen *g, size_t n)
{
    uint8_t *p = malloc(n + 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) /* extremes often: sums of 16 bits would overflow */
        p[i] = (uint8_t)(eml_gen_bool(g) ? eml_gen_range(g, 0, 255) : 255);
    return p;
}

static void tiles_are_exact(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("tiles_are_exact");
    for (int round = 0; round < 300; round++) {
        const struct eml_i8_kernels *kn = eml_i8_kernels_for(isas[eml_gen_range(&g, 0, 2)]);
        const size_t m = (size_t)eml_gen_range(&g, 1, (int64_t)kn->mr);
        const size_t panels = (size_t)eml_gen_range(&g, 1, (int64_t)kn->panels);
        const size_t k = (size_t)eml_gen_range(&g, 1, 70), n = panels * EML_I8_PANEL;
        const size_t groups = eml_i8_groups(k);
        uint8_t *a = bytes(&g, m * groups * 4), *b = bytes(&g, k * n);
        int8_t *packed = malloc(eml_i8_packed_bytes(k, n));
        int32_t sums[EML_I8_MR * EML_I8_PANELS * EML_I8_PANEL];
        const bool flip = eml_gen_bool(&g);
        assert_non_null(packed);
        eml_i8_pack(packed, &(struct eml_i8_source){b, flip, 1, 0, n, 1}, k, n);
        kn->tile(&(struct eml_i8_tile){sums, m, panels, groups, a, packed});
        for (size_t r = 0; r < m; r++)
            for (size_t j = 0; j < n; j++) {
                int32_t want = 0;
                for (size_t i = 0; i < k; i++)
                    want += (int32_t)a[r * groups * 4 + i] *
                            (flip ? (int32_t)b[i * n + j] - 128 : (int32_t)(int8_t)b[i * n + j]);
                assert_int_equal(sums[r * n + j], want);
            }
        free(a);
        free(b);
        free(packed);
    }
}

static void quantize_rounds_half_to_even(void **state)
{
    (void)state;
    const float x[] = {0.5F, 1.5F, 2.5F, -0.5F, -1.5F, 1e30F, -1e30F, NAN, INFINITY, -INFINITY};
    const uint8_t want[] = {10, 12, 12, 10, 8, 255, 0, 0, 255, 0};
    for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
        uint8_t y[sizeof want];
        eml_i8_kernels_for(isas[i])->quantize(y, x, sizeof want, 1, 10, 0, 255);
        assert_memory_equal(y, want, sizeof want);
    }
}

static void range_is_of_all_elements(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("range_is_of_all_elements");
    for (int round = 0; round < 200; round++) {
        float x[100], lo = 0, hi = 0, want_lo = 0, want_hi = 0;
        const size_t n = (size_t)eml_gen_range(&g, 0, 100);
        for (size_t i = 0; i < n; i++) {
            x[i] = eml_gen_f32(&g, -5, 5);
            want_lo = fminf(want_lo, x[i]);
            want_hi = fmaxf(want_hi, x[i]);
        }
        eml_i8_kernels_for(isas[round % 3])->range(x, n, &lo, &hi);
        assert_true(lo == want_lo && hi == want_hi);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_are_exact),
        cmocka_unit_test(quantize_rounds_half_to_even),
        cmocka_unit_test(range_is_of_all_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
