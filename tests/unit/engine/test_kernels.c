/* Every kernel of every instruction set that this CPU has, against plain loops in double precision.
 */
#include "testsupport/support.h"

#include "engine/kernels/kernels.h"
#include "engine/pack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct eml_kernels *sets[3];
static size_t n_sets;

static void find_sets(void)
{
    for (enum eml_isa i = EML_ISA_REF; i <= EML_ISA_AVX512; i++) {
        const struct eml_kernels *kn = eml_kernels_for(i);
        if (kn->isa == i)
            sets[n_sets++] = kn;
    }
}

static float *random_floats(struct eml_gen *g, size_t n, float lo, float hi)
{
    float *p = malloc((n + 1) * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = eml_gen_f32(g, lo, hi);
    return p;
}

static void assert_close(double got, double want, double relative, double absolute)
{
    if (isnan(want) && isnan(got))
        return;
    if (got == want)
        return;
    double limit = fabs(want) * relative + absolute;
    if (!(fabs(got - want) <= limit)) {
        print_error("got %.9g, want %.9g\n", got, want);
        fail();
    }
}

static double act_model(enum eml_act a, double x, const float *p, double slope)
{
    double p0 = (double)p[0], p1 = (double)p[1], hard = fmin(fmax(p0 * x + p1, 0), 1);
    switch (a) {
    case EML_ACT_RELU:
        return x < 0 ? 0 : x;
    case EML_ACT_CLIP:
        return fmin(fmax(x, p0), p1);
    case EML_ACT_LEAKY_RELU:
        return x < 0 ? p0 * x : x;
    case EML_ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    case EML_ACT_TANH:
        return tanh(x);
    case EML_ACT_HARD_SIGMOID:
        return hard;
    case EML_ACT_HARD_SWISH:
        return x * hard;
    case EML_ACT_GELU:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case EML_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case EML_ACT_SILU:
        return x / (1 + exp(-x));
    case EML_ACT_PRELU:
        return x < 0 ? slope * x : x;
    default:
        return x;
    }
}

/* ---- the tile ---- */

struct tile_case {
    size_t m, n, n_blocks, block, gap;
    bool accumulate, bias, residual, row_major;
    enum eml_act act;
};

static struct tile_case draw_tile(struct eml_gen *g, const struct eml_kernels *kn)
{
    struct tile_case t = {.m = (size_t)eml_gen_range(g, 1, (int64_t)kn->mr),
                          .n = (size_t)eml_gen_range(g, 1, (int64_t)kn->nr),
                          .n_blocks = (size_t)eml_gen_range(g, 0, 4),
                          .block = (size_t)eml_gen_range(g, 0, 40),
                          .gap = (size_t)eml_gen_range(g, 0, 9),
                          .accumulate = eml_gen_bool(g),
                          .bias = eml_gen_bool(g),
                          .residual = eml_gen_bool(g),
                          .row_major = eml_gen_bool(g),
                          .act = (enum eml_act)eml_gen_range(g, 0, EML_ACT_N - 1)};
    if (t.row_major)
        t.n = (t.n + 15) / 16 * 16;
    return t;
}

static void check_tile(struct eml_gen *g, const struct eml_kernels *kn)
{
    struct tile_case q = draw_tile(g, kn);
    size_t k = q.n_blocks * q.block, ldc = q.n + q.gap;
    float *a = random_floats(g, q.m * q.n_blocks * (q.block + 3), -1, 1);
    float *b = random_floats(g, k * q.n, -1, 1), *c = random_floats(g, q.m * ldc, -1, 1);
    float *bias = random_floats(g, q.n, -1, 1), *residual = random_floats(g, q.m * ldc, -1, 1);
    float *slope = random_floats(g, q.n, -1, 1), *was = malloc((q.m * ldc + 1) * sizeof *was);
    float *packed = malloc((eml_pack_panel16_floats(k, q.n) + 1) * sizeof *packed);
    assert_true(was && packed);
    memcpy(was, c, q.m * ldc * sizeof *was);
    eml_pack_panel16(packed, b, 1, k, q.n, 0, q.n, 1);
    const float *rows[64];
    for (size_t i = 0; i < q.n_blocks * q.m; i++)
        rows[i] = a + (i * 7 % (q.n_blocks * q.m)) * (q.block + 3);
    struct eml_epilogue e = {.bias = q.bias ? bias : NULL,
                             .residual = q.residual ? residual : NULL,
                             .residual_stride = ldc,
                             .act = {.act = q.act, .p = {-0.25F, 0.75F}, .slope = slope}};
    struct eml_tile t = {.c = c,
                         .ldc = ldc,
                         .m = q.m,
                         .n = q.n,
                         .rows = rows,
                         .n_blocks = q.n_blocks,
                         .block = q.block,
                         .b = q.row_major ? b : packed,
                         .b_row = q.row_major ? q.n : 16,
                         .b_panel = q.row_major ? 16 : 16 * k,
                         .accumulate = q.accumulate,
                         .epilogue = &e};
    kn->gemm_tile(&t);
    for (size_t r = 0; r < q.m; r++) {
        for (size_t j = 0; j < ldc; j++) {
            double s = q.accumulate ? (double)was[r * ldc + j] : 0;
            if (j >= q.n) {
                assert_true(c[r * ldc + j] == was[r * ldc + j]); /* nothing beyond the tile */
                continue;
            }
            for (size_t i = 0; i < k; i++)
                s += (double)rows[i / q.block * q.m + r][i % q.block] * (double)b[i * q.n + j];
            s += q.bias ? (double)bias[j] : 0;
            s += q.residual ? (double)residual[r * ldc + j] : 0;
            s = act_model(q.act, s, e.act.p, (double)slope[j]);
            assert_close((double)c[r * ldc + j], s, 1e-5, 1e-5);
        }
    }
    free(a);
    free(b);
    free(c);
    free(bias);
    free(residual);
    free(slope);
    free(was);
    free(packed);
}

static void tiles_match_the_model(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("tiles");
    for (size_t i = 0; i < n_sets; i++) {
        for (int round = 0; round < 2000; round++)
            check_tile(&g, sets[i]);
    }
}

/* A tile's rows and columns do not depend on how many others are computed with them, nor on the cut
 * of K into blocks: what makes results independent of the splitting. */
static void tiles_do_not_depend_on_the_cut(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("cuts");
    for (size_t i = 0; i < n_sets; i++) {
        const struct eml_kernels *kn = sets[i];
        size_t k = 60, m = kn->mr, n = kn->nr;
        float *a = random_floats(&g, m * k, -1, 1), *b = random_floats(&g, k * n, -1, 1);
        float *whole = random_floats(&g, m * n, 0, 1), *part = random_floats(&g, m * n, 0, 1);
        float *packed = malloc(k * n * sizeof *packed);
        assert_non_null(packed);
        eml_pack_panel16(packed, b, 1, k, n, 0, n, 1);
        const float *rows[64];
        for (size_t r = 0; r < m; r++)
            rows[r] = a + r * k;
        struct eml_tile t = {.c = whole,
                             .ldc = n,
                             .m = m,
                             .n = n,
                             .rows = rows,
                             .n_blocks = 1,
                             .block = k,
                             .b = packed,
                             .b_row = 16,
                             .b_panel = 16 * k};
        kn->gemm_tile(&t);
        for (size_t r = 0; r < m; r++) {
            for (size_t panel = 0; panel < n / 16; panel++) {
                const float *blocks[6];
                for (size_t q = 0; q < 6; q++)
                    blocks[q] = a + r * k + q * 10;
                t = (struct eml_tile){.c = part + r * n + panel * 16,
                                      .ldc = n,
                                      .m = 1,
                                      .n = 16,
                                      .rows = blocks,
                                      .n_blocks = 4,
                                      .block = 10,
                                      .b = packed + panel * 16 * k,
                                      .b_row = 16,
                                      .b_panel = 16 * k};
                kn->gemm_tile(&t);
                t.rows = blocks + 4;
                t.n_blocks = 2;
                t.b += 40 * 16;
                t.accumulate = true;
                kn->gemm_tile(&t);
            }
        }
        assert_memory_equal(whole, part, m * n * sizeof *whole);
        free(a);
        free(b);
        free(whole);
        free(part);
        free(packed);
    }
}

/* ---- windows ---- */

/* Where the taps of the first pixel are: anywhere, or in lines of three at one distance, which may
 * be 0. Rows [0, taps) of x. */
static void tap_rows(struct eml_gen *g, const float **rows, size_t taps, const float *x, size_t c)
{
    bool lines = eml_gen_bool(g);
    size_t first = 0, distance = 0;
    for (size_t i = 0; i < taps; i++) {
        if (i % 3 == 0) {
            distance = (size_t)eml_gen_range(g, 0, taps < 5 ? 0 : 2);
            first = (size_t)eml_gen_range(g, 0, (int64_t)(taps - 2 * distance) - 1);
        }
        rows[i] = x + (lines ? first + i % 3 * distance : i * 7 % taps) * c;
    }
}

static void check_depthwise(struct eml_gen *g, const struct eml_kernels *kn)
{
    size_t taps = eml_gen_bool(g) ? 9 : (size_t)eml_gen_range(g, 1, 30);
    size_t c = (size_t)eml_gen_range(g, 1, 70), pixels = (size_t)eml_gen_range(g, 1, 11);
    size_t stride = (c + 15) / 16 * 16;
    size_t step = c * (size_t)eml_gen_range(g, 0, 2);
    float *x = random_floats(g, (pixels * 2 + taps) * c, -1, 1),
          *w = random_floats(g, taps * stride, -1, 1);
    float *bias = random_floats(g, c, -1, 1), *y = random_floats(g, pixels * c, 0, 1);
    float *residual = random_floats(g, pixels * c, -1, 1), *slope = random_floats(g, c, -1, 1);
    const float *rows[30];
    tap_rows(g, rows, taps, x, c);
    struct eml_epilogue e = {
        .bias = eml_gen_bool(g) ? bias : NULL,
        .residual = eml_gen_bool(g) ? residual : NULL,
        .residual_stride = c,
        .act = {(enum eml_act)eml_gen_range(g, 0, EML_ACT_N - 1), {-0.5F, 0.5F}, slope}};
    struct eml_depthwise d = {.y = y,
                              .ldy = c,
                              .pixels = pixels,
                              .taps = taps,
                              .c = c,
                              .x = rows,
                              .x_step = step,
                              .w = w,
                              .w_stride = stride,
                              .epilogue = &e};
    kn->depthwise(&d);
    for (size_t p = 0; p < pixels; p++) {
        for (size_t j = 0; j < c; j++) {
            double s = 0;
            for (size_t t = 0; t < taps; t++)
                s += (double)rows[t][p * step + j] * (double)w[t * stride + j];
            s += e.bias ? (double)bias[j] : 0;
            s += e.residual ? (double)residual[p * c + j] : 0;
            assert_close((double)y[p * c + j], act_model(e.act.act, s, e.act.p, (double)slope[j]),
                         1e-5, 1e-5);
        }
    }
    free(x);
    free(w);
    free(bias);
    free(y);
    free(residual);
    free(slope);
}

static void check_pooling(struct eml_gen *g, const struct eml_kernels *kn)
{
    size_t taps = (size_t)eml_gen_range(g, 1, 12), c = (size_t)eml_gen_range(g, 1, 70);
    float *x = random_floats(g, taps * c, -1, 1), *y = random_floats(g, c, 0, 1);
    size_t poison = (size_t)eml_gen_range(g, 0, (int64_t)(taps * c) - 1);
    const float *rows[12];
    for (size_t t = 0; t < taps; t++)
        rows[t] = x + t * c;
    kn->pool_sum(y, rows, taps, c, 0.5F);
    for (size_t j = 0; j < c; j++) {
        double s = 0;
        for (size_t t = 0; t < taps; t++)
            s += (double)rows[t][j];
        assert_close((double)y[j], 0.5 * s, 1e-6, 1e-6);
    }
    x[poison] = NAN;
    kn->pool_max(y, rows, taps, c);
    for (size_t j = 0; j < c; j++) {
        double m = -INFINITY;
        for (size_t t = 0; t < taps; t++)
            m = fmax(m, (double)rows[t][j]);
        assert_close((double)y[j], j == poison % c ? (double)NAN : m, 0, 0);
    }
    free(x);
    free(y);
}

static void windows_match_the_model(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("windows");
    for (size_t i = 0; i < n_sets; i++) {
        for (int round = 0; round < 500; round++) {
            check_depthwise(&g, sets[i]);
            check_pooling(&g, sets[i]);
        }
    }
}

/* ---- element-wise ---- */

static double unary_model(enum eml_unary u, double x)
{
    switch (u) {
    case EML_UNARY_EXP:
        return exp(x);
    case EML_UNARY_ERF:
        return erf(x);
    case EML_UNARY_TANH:
        return tanh(x);
    case EML_UNARY_SIGMOID:
        return 1 / (1 + exp(-x));
    case EML_UNARY_SQRT:
        return sqrt(x);
    case EML_UNARY_RECIPROCAL:
        return 1 / x;
    case EML_UNARY_NEG:
        return -x;
    case EML_UNARY_ABS:
        return fabs(x);
    case EML_UNARY_N:
        break;
    }
    return NAN;
}

/* Dense over the range in which the functions change, the ends, and what is special. */
static size_t arguments(float *x)
{
    static const float special[] = {0.0F,  -0.0F,  1e-30F,   -1e-30F,  1e-42F, 88.7F,
                                    88.8F, -87.4F, -103.9F,  -104.1F,  200.0F, -200.0F,
                                    1e30F, -1e30F, INFINITY, -INFINITY};
    size_t n = 0;
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        x[n++] = special[i];
    for (int i = -400000; i < 400000; i++)
        x[n++] = (float)i * 2.5e-5F;
    x[n++] = NAN;
    return n;
}

static void unary_is_accurate(void **state)
{
    (void)state;
    float *x = malloc(900000 * sizeof *x), *y = malloc(900000 * sizeof *y);
    assert_true(x && y);
    size_t n = arguments(x);
    for (size_t i = 0; i < n_sets; i++) {
        for (int u = 0; u < EML_UNARY_N; u++) {
            sets[i]->unary[u](y, x, n);
            for (size_t j = 0; j < n; j++) {
                double want = unary_model((enum eml_unary)u, (double)x[j]);
                if (want > 3.4028235e38)
                    want = INFINITY;
                assert_close((double)y[j], want, 2.5e-7, 1e-43);
            }
        }
    }
    free(x);
    free(y);
}

static void act_is_accurate(void **state)
{
    (void)state;
    float *x = malloc(900000 * sizeof *x), *y = malloc(900000 * sizeof *y);
    float *slope = malloc(900000 * sizeof *slope);
    assert_true(x && y && slope);
    size_t n = arguments(x);
    for (size_t j = 0; j < n; j++)
        slope[j] = (float)(j % 5) * 0.3F - 0.4F;
    for (size_t i = 0; i < n_sets; i++) {
        for (int a = 0; a < EML_ACT_N; a++) {
            struct eml_act_spec s = {(enum eml_act)a, {-0.3F, 0.6F}, slope};
            sets[i]->act(y, x, n, &s);
            for (size_t j = 0; j < n; j++) {
                if (!(fabsf(x[j]) < 1000)) /* 0 * inf differs by formula */
                    continue;
                assert_close((double)y[j], act_model(s.act, (double)x[j], s.p, (double)slope[j]),
                             3e-7, 3e-7);
            }
            if (a != EML_ACT_N - 1)
                assert_true(isnan(y[n - 1]) || a == EML_ACT_CLIP || a == EML_ACT_RELU);
        }
    }
    free(x);
    free(y);
    free(slope);
}

static float binary_model(enum eml_binary op, float a, float b)
{
    switch (op) {
    case EML_BINARY_ADD:
        return a + b;
    case EML_BINARY_SUB:
        return a - b;
    case EML_BINARY_MUL:
        return a * b;
    case EML_BINARY_DIV:
        return a / b;
    case EML_BINARY_MIN:
        return isnan(a) || isnan(b) ? NAN : fminf(a, b);
    case EML_BINARY_MAX:
        return isnan(a) || isnan(b) ? NAN : fmaxf(a, b);
    case EML_BINARY_N:
        break;
    }
    return NAN;
}

static void binary_matches_exactly(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("binary");
    float a[70], b[70], y[71];
    for (size_t i = 0; i < n_sets; i++) {
        for (size_t n = 0; n <= 70; n++) {
            for (size_t j = 0; j < n; j++) {
                a[j] = eml_gen_range(&g, 0, 20) ? eml_gen_f32(&g, -2, 2) : NAN;
                b[j] = eml_gen_range(&g, 0, 20) ? eml_gen_f32(&g, -2, 2) : NAN;
            }
            for (int op = 0; op < EML_BINARY_N; op++) {
                enum eml_binary o = (enum eml_binary)op;
                y[n] = 77;
                sets[i]->binary[op](y, a, b, n);
                for (size_t j = 0; j < n; j++)
                    assert_close((double)y[j], (double)binary_model(o, a[j], b[j]), 0, 0);
                sets[i]->binary_scalar[op](y, a, 0.75F, n);
                for (size_t j = 0; j < n; j++)
                    assert_close((double)y[j], (double)binary_model(o, a[j], 0.75F), 0, 0);
                sets[i]->binary_scalar_r[op](y, a, 0.75F, n);
                for (size_t j = 0; j < n; j++)
                    assert_close((double)y[j], (double)binary_model(o, 0.75F, a[j]), 0, 0);
                assert_true(y[n] == 77.0F);
            }
        }
    }
}

/* ---- rows ---- */

static void check_softmax(const struct eml_kernels *kn, const float *x, float *y, size_t n)
{
    double top = -INFINITY, total = 0;
    for (size_t j = 0; j < n; j++)
        top = fmax(top, (double)x[j]);
    for (size_t j = 0; j < n; j++)
        total += exp((double)x[j] - top);
    kn->softmax(y, x, n, 1, 0);
    for (size_t j = 0; j < n; j++)
        assert_close((double)y[j], exp((double)x[j] - top) / total, 2e-6, 1e-30);
    kn->log_softmax(y, x, n);
    for (size_t j = 0; j < n; j++)
        assert_close((double)y[j], (double)x[j] - top - log(total), 1e-6, 1e-6);
}

static void check_sums(const struct eml_kernels *kn, const float *x, size_t n)
{
    double s = 0, squares = 0, magnitude = 0, lo = INFINITY, hi = -INFINITY;
    for (size_t j = 0; j < n; j++) {
        s += (double)x[j];
        magnitude += fabs((double)x[j]);
        squares += (double)x[j] * (double)x[j];
        lo = fmin(lo, (double)x[j]);
        hi = fmax(hi, (double)x[j]);
    }
    assert_close((double)kn->sum(x, n), s, 0, magnitude * 1e-6);
    assert_close((double)kn->sum_squares(x, n), squares, 1e-6, 0);
    assert_close((double)kn->max(x, n), hi, 0, 0);
    assert_close((double)kn->min(x, n), lo, 0, 0);
}

static void check_affine(struct eml_gen *g, const struct eml_kernels *kn, const float *x, float *y,
                         size_t n)
{
    float *a = random_floats(g, n, -2, 2), *b = random_floats(g, n, -2, 2);
    kn->affine(y, x, a, b, n);
    for (size_t j = 0; j < n; j++)
        assert_close((double)y[j], (double)x[j] * (double)a[j] + (double)b[j], 1e-6, 1e-6);
    free(a);
    free(b);
}

/* offset: a large mean must not spoil the variance; its rounding counts in standard deviations. */
static void check_layer_norm(struct eml_gen *g, const struct eml_kernels *kn, float *x, float *y,
                             size_t n, float offset)
{
    float *scale = random_floats(g, n, 0.5F, 2), *bias = random_floats(g, n, -1, 1);
    bool with_bias = eml_gen_bool(g);
    double mean = 0, var = 0;
    for (size_t j = 0; j < n; j++) {
        x[j] += offset;
        mean += (double)x[j] / (double)n;
    }
    for (size_t j = 0; j < n; j++)
        var += ((double)x[j] - mean) * ((double)x[j] - mean) / (double)n;
    kn->layer_norm(y, x, n, scale, with_bias ? bias : NULL, 1e-5F);
    for (size_t j = 0; j < n; j++) {
        double factor = (double)scale[j] / sqrt(var + (double)1e-5F);
        double v = ((double)x[j] - mean) * factor + (with_bias ? (double)bias[j] : 0);
        assert_close((double)y[j], v, 1e-5, 1e-5 + (double)offset * 3e-7 * factor);
    }
    free(scale);
    free(bias);
}

static void rows_match_the_model(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("rows");
    for (size_t i = 0; i < n_sets; i++) {
        assert_true(isinf(sets[i]->max(NULL, 0)) && sets[i]->max(NULL, 0) < 0);
        assert_true(isinf(sets[i]->min(NULL, 0)) && sets[i]->min(NULL, 0) > 0);
        assert_true(sets[i]->sum(NULL, 0) == 0);
        for (size_t n = 1; n < 2500; n += n < 80 ? 1 : 311) {
            float *x = random_floats(&g, n, -4, 4), *y = random_floats(&g, n, 0, 1);
            check_sums(sets[i], x, n);
            check_softmax(sets[i], x, y, n);
            check_affine(&g, sets[i], x, y, n);
            check_layer_norm(&g, sets[i], x, y, n, n % 2 ? 0 : 100);
            x[n / 2] = NAN;
            assert_true(isnan(sets[i]->max(x, n)) && isnan(sets[i]->min(x, n)));
            free(x);
            free(y);
        }
    }
}

/* A row's result depends neither on the rows around it nor on what lies between them; a NaN spoils
 * its row only. */
static void softmax_of_rows_is_softmax_of_each(void **state)
{
    (void)state;
    static const size_t columns[] = {1, 15, 16, 17, 100, 128, 300, 700};
    struct eml_gen g = eml_gen_seeded("softmax rows");
    for (size_t i = 0; i < n_sets; i++) {
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
            size_t n = columns[c], ld = n + 3, rows = 19;
            float *x = random_floats(&g, rows * ld, -9, 9), *one = random_floats(&g, n, 0, 1);
            float *y = random_floats(&g, rows * ld, 0, 1), *before = malloc(rows * ld * sizeof *y);
            assert_non_null(before);
            memcpy(before, y, rows * ld * sizeof *y);
            x[7 * ld + n / 2] = NAN;
            sets[i]->softmax(y, x, n, rows, ld);
            for (size_t r = 0; r < rows; r++) {
                sets[i]->softmax(one, x + r * ld, n, 1, 0);
                for (size_t j = 0; j < n; j++)
                    assert_true(r == 7 ? isnan(y[r * ld + j]) : y[r * ld + j] == one[j]);
                assert_memory_equal(y + r * ld + n, before + r * ld + n, 3 * sizeof *y);
            }
            free(x);
            free(y);
            free(one);
            free(before);
        }
    }
}

static void isa_is_never_more_than_the_cpu_has(void **state)
{
    (void)state;
    enum eml_isa best = eml_isa_resolve(EML_ISA_AUTO);
    assert_true(best <= EML_ISA_AVX512);
    assert_int_equal(eml_kernels_for(EML_ISA_AUTO)->isa, best);
    assert_int_equal(eml_kernels_for(EML_ISA_REF)->isa, EML_ISA_REF);
    assert_int_equal(eml_isa_resolve(EML_ISA_REF), EML_ISA_REF);
    assert_string_equal(eml_isa_name(EML_ISA_AVX512), "avx512");
    for (size_t i = 0; i < n_sets; i++) {
        assert_true(sets[i]->nr % 16 == 0 && sets[i]->mr >= 1);
        for (int u = 0; u < EML_UNARY_N; u++)
            assert_non_null(sets[i]->unary[u]);
    }
}

int main(void)
{
    find_sets();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(isa_is_never_more_than_the_cpu_has),
        cmocka_unit_test(tiles_match_the_model),
        cmocka_unit_test(tiles_do_not_depend_on_the_cut),
        cmocka_unit_test(windows_match_the_model),
        cmocka_unit_test(unary_is_accurate),
        cmocka_unit_test(act_is_accurate),
        cmocka_unit_test(binary_matches_exactly),
        cmocka_unit_test(rows_match_the_model),
        cmocka_unit_test(softmax_of_rows_is_softmax_of_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
