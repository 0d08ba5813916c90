/* The layouts, element by element as model/graph.h states them. */
#include "testsupport/support.h"

#include "engine/bf16.h"
#include "engine/pack.h"

#include <stdlib.h>

/* Element (row, column) of a packed [k, n] matrix. */
static float at(const float *packed, size_t k, size_t row, size_t column)
{
    return packed[(column / 16 * k + row) * 16 + column % 16];
}

static float *counting(size_t n)
{
    float *p = malloc((n + 1) * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (float)(i + 1);
    return p;
}

static float *poisoned(size_t n)
{
    float *p = malloc((n + 1) * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n + 1; i++)
        p[i] = -7;
    return p;
}

static void panels(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 50; n += n < 34 ? 1 : 7) {
        size_t k = n % 5, size = eml_pack_panel16_floats(k, n);
        float *src = counting(2 * k * n), *out = poisoned(2 * size);
        assert_int_equal(size, k * ((n + 15) / 16) * 16);
        for (int transposed = 0; transposed < 2; transposed++) {
            size_t row = transposed ? 1 : n, column = transposed ? k : 1;
            eml_pack_panel16(out, src, 2, k, n, k * n, row, column);
            for (size_t b = 0; b < 2; b++) {
                for (size_t i = 0; i < k; i++) {
                    for (size_t j = 0; j < (n + 15) / 16 * 16; j++)
                        assert_true(at(out + b * size, k, i, j) ==
                                    (j < n ? src[b * k * n + i * row + j * column] : 0));
                }
            }
            assert_true(out[2 * size] == -7.0F);
        }
        free(src);
        free(out);
    }
}

static void conv(void **state)
{
    (void)state;
    size_t o = 36, in = 3, taps = 6;
    for (size_t group = 1; group <= 4; group++) {
        if (o % group)
            continue;
        size_t n = o / group, k = taps * in, size = eml_pack_panel16_floats(k, n);
        float *w = counting(o * k), *out = poisoned(group * size);
        eml_pack_conv(out, w, o, in, taps, group);
        for (size_t g = 0; g < group; g++) {
            for (size_t t = 0; t < taps; t++) {
                for (size_t i = 0; i < in; i++) {
                    for (size_t j = 0; j < (n + 15) / 16 * 16; j++)
                        assert_true(at(out + g * size, k, t * in + i, j) ==
                                    (j < n ? w[((g * n + j) * in + i) * taps + t] : 0));
                }
            }
        }
        assert_true(out[group * size] == -7.0F);
        free(w);
        free(out);
    }
}

static void depthwise(void **state)
{
    (void)state;
    float *w = counting(21 * 9), *out = poisoned(9 * 32);
    eml_pack_depthwise(out, w, 21, 9);
    for (size_t t = 0; t < 9; t++) {
        for (size_t c = 0; c < 32; c++)
            assert_true(out[t * 32 + c] == (c < 21 ? w[c * 9 + t] : 0));
    }
    assert_true(out[9 * 32] == -7.0F);
    free(w);
    free(out);
}

static void conv_transpose(void **state)
{
    (void)state;
    size_t i = 6, o = 5, taps = 4;
    for (size_t group = 1; group <= 3; group++) {
        size_t k = i / group, n = taps * o, size = eml_pack_panel16_floats(k, n);
        float *w = counting(i * o * taps), *out = poisoned(group * size);
        eml_pack_conv_transpose(out, w, i, o, taps, group);
        for (size_t g = 0; g < group; g++) {
            for (size_t row = 0; row < k; row++) {
                for (size_t t = 0; t < taps; t++) {
                    for (size_t c = 0; c < o; c++)
                        assert_true(at(out + g * size, k, row, t * o + c) ==
                                    w[((g * k + row) * o + c) * taps + t]);
                }
                for (size_t j = n; j < (n + 15) / 16 * 16; j++)
                    assert_true(at(out + g * size, k, row, j) == 0);
            }
        }
        assert_true(out[group * size] == -7.0F);
        free(w);
        free(out);
    }
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    static const struct {
        uint32_t in;
        uint16_t out;
    } rows[] = {
        {0x3F800000, 0x3F80}, {0x3F808000, 0x3F80}, {0x3F818000, 0x3F82}, {0x3F808001, 0x3F81},
        {0x7F800000, 0x7F80}, {0xFF800000, 0xFF80}, {0x7F7FFFFF, 0x7F80}, {0x7F800001, 0x7FC0},
        {0xFFFFFFFF, 0xFFFF}, {0x80000000, 0x8000}, {0x00018000, 0x0002},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float x;
        memcpy(&x, &rows[i].in, sizeof x);
        assert_int_equal(eml_bf16_of(x), rows[i].out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panels),
        cmocka_unit_test(conv),
        cmocka_unit_test(depthwise),
        cmocka_unit_test(conv_transpose),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
