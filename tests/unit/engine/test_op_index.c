/* Operators that read, scatter and sample where data says. What the data says is hostile here: it
 * must be refused or harmless. Results are those of plain references, or worked out by hand. */
#include "graph_builder.h"

#include <math.h>

/* Runs a graph of one node over inputs; what comes out of output 0 is copied to y. */
static enum eml_err run_one(struct gb *b, uint32_t out, const void *const *data, void *y,
                            size_t bytes)
{
    gb_output(b, out);
    struct gb_result r = gb_run(b, data, EML_ISA_AUTO, 2, false, 0xa5);
    if (r.e == EML_OK && y != NULL) {
        assert_int_equal(r.out[0].bytes, bytes);
        memcpy(y, r.out[0].data, bytes);
    }
    gb_free(b);
    return r.e;
}

static const int64_t hostile[] = {3,         -4,         INT64_MAX,        INT64_MIN,
                                  INT32_MAX, INT32_MIN,  (int64_t)1 << 32, -((int64_t)1 << 32),
                                  100,       1000000007, INT64_MAX / 4 * 2};
enum { HOSTILE_N = sizeof hostile / sizeof hostile[0] };

/* ---- by index ---- */

static enum eml_err gather_nd(const int64_t k[4], float y[4])
{
    static const float x[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    struct gb *b = gb_new();
    uint32_t in = gb_input(b, EML_DT_F32, SHAPE(3, 3)), at = gb_input(b, EML_DT_I64, SHAPE(2, 2));
    return run_one(b, NODE(b, GATHER_ND, OF(in, at)), (const void *[]){x, k}, y, 2 * sizeof *y);
}

static void gather_nd_checks_every_index(void **state)
{
    (void)state;
    float y[4];
    assert_int_equal(gather_nd((const int64_t[4]){0, 1, -1, -3}, y), EML_OK);
    assert_true(y[0] == 1 && y[1] == 6);
    for (int i = 0; i < HOSTILE_N; i++)
        for (int at = 0; at < 4; at++) {
            int64_t k[4] = {0, 1, 2, 0};
            k[at] = hostile[i];
            assert_int_equal(gather_nd(k, y), EML_E_INPUT);
        }
}

static void gather_nd_in_batches(void **state)
{
    (void)state;
    const int32_t x[8] = {0, 1, 2, 3, 4, 5, 6, 7}, k[2] = {1, 0}, want[4] = {2, 3, 4, 5};
    int32_t y[4];
    struct gb *b = gb_new();
    uint32_t in = gb_input(b, EML_DT_I32, SHAPE(2, 2, 2)),
             at = gb_input(b, EML_DT_I32, SHAPE(2, 1));
    assert_int_equal(run_one(b, NODE(b, GATHER_ND, OF(in, at), WITH1(BATCH_DIMS, 1)),
                             (const void *[]){x, k}, y, sizeof y),
                     EML_OK);
    assert_memory_equal(y, want, sizeof y);
}

static enum eml_err scatter_elements(int64_t how, int64_t axis, const int64_t k[4], float y[9])
{
    static const float x[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, u[4] = {2, 3, -4, NAN};
    struct gb *b = gb_new();
    uint32_t in = gb_input(b, EML_DT_F32, SHAPE(3, 3)), at = gb_input(b, EML_DT_I64, SHAPE(2, 2));
    uint32_t by = gb_input(b, EML_DT_F32, SHAPE(2, 2));
    uint32_t out =
        NODE(b, SCATTER_ELEMENTS, OF(in, at, by),
             .attr = {{EML_ATTR_AXIS, 1, {axis}}, {EML_ATTR_REDUCTION, 1, {how}}}, .n_attr = 2);
    return run_one(b, out, (const void *[]){x, k, u}, y, 9 * sizeof *y);
}

static void scatter_elements_reduces(void **state)
{
    (void)state;
    /* row 0 gets 2 and 3 at one place, row 1 gets -4 and NaN at others */
    const int64_t k[4] = {-1, 2, 0, 1};
    const float want[5] = {3, 6, 6, 1, 3}, below[5] = {-4, -3, -4, -4, 1};
    float y[9];
    for (int64_t how = 0; how < 5; how++) {
        assert_int_equal(scatter_elements(how, -1, k, y), EML_OK);
        assert_true(y[2] == want[how] && y[3] == below[how]);
        assert_true(isnan(y[4]));
        assert_true(y[0] == 1 && y[1] == 1 && y[5] == 1 && y[8] == 1);
    }
    for (int i = 0; i < HOSTILE_N; i++)
        for (int at = 0; at < 4; at++) {
            int64_t bad[4] = {0, 1, 2, 0};
            bad[at] = hostile[i];
            for (int64_t axis = 0; axis < 2; axis++)
                assert_int_equal(scatter_elements(at, axis, bad, y), EML_E_INPUT);
        }
}

static enum eml_err scatter_nd(int64_t how, const int64_t k[2], int32_t y[6])
{
    static const int32_t x[6] = {1, 2, 3, 4, 5, 6}, u[4] = {10, INT32_MAX, -1, 7};
    struct gb *b = gb_new();
    uint32_t in = gb_input(b, EML_DT_I32, SHAPE(3, 2)), at = gb_input(b, EML_DT_I64, SHAPE(2, 1));
    uint32_t by = gb_input(b, EML_DT_I32, SHAPE(2, 2));
    uint32_t out = NODE(b, SCATTER_ND, OF(in, at, by), WITH1(REDUCTION, how));
    return run_one(b, out, (const void *[]){x, k, u}, y, 6 * sizeof *y);
}

static void scatter_nd_reduces_slices(void **state)
{
    (void)state;
    const int64_t k[2] = {2, -3};
    const int32_t want[5][6] = {{-1, 7, 3, 4, 10, INT32_MAX},
                                {0, 9, 3, 4, 15, INT32_MIN + 5}, /* integers wrap */
                                {-1, 14, 3, 4, 50, 0},
                                {-1, 2, 3, 4, 5, 6},
                                {1, 7, 3, 4, 10, INT32_MAX}};
    int32_t y[6];
    for (int64_t how = 0; how < 5; how++) {
        assert_int_equal(scatter_nd(how, k, y), EML_OK);
        assert_memory_equal(y, want[how], 5 * sizeof *y);
        assert_int_equal(y[5], how == 2 ? (int32_t)(6u * (uint32_t)INT32_MAX) : want[how][5]);
    }
    for (int i = 0; i < HOSTILE_N; i++)
        for (int at = 0; at < 2; at++) {
            int64_t bad[2] = {0, 1};
            bad[at] = hostile[i];
            assert_int_equal(scatter_nd(0, bad, y), EML_E_INPUT);
        }
}

static void one_hot_is_off_out_of_range(void **state)
{
    (void)state;
    for (int i = 0; i < HOSTILE_N; i++) {
        const int64_t k[2] = {hostile[i], -3};
        const float values[2] = {5, 9};
        float y[6];
        struct gb *b = gb_new();
        uint32_t in = gb_input(b, EML_DT_I64, SHAPE(2));
        uint32_t of = gb_input(b, EML_DT_F32, SHAPE(2));
        assert_int_equal(run_one(b, NODE(b, ONE_HOT, OF(in, INTS(b, 3), of), WITH1(AXIS, 0)),
                                 (const void *[]){k, values}, y, sizeof y),
                         EML_OK);
        for (int j = 0; j < 6; j++)
            assert_true(y[j] == (j == 1 ? 9 : 5));
    }
}

static void reverse_sequence_checks_lengths(void **state)
{
    (void)state;
    const int32_t x[6] = {0, 1, 2, 3, 4, 5}, want[6] = {1, 0, 2, 5, 4, 3};
    int32_t y[6];
    for (int i = -1; i < HOSTILE_N; i++) {
        int64_t n[2] = {2, i < 0 ? 3 : hostile[i]};
        struct gb *b = gb_new();
        uint32_t in = gb_input(b, EML_DT_I32, SHAPE(2, 3)), of = gb_input(b, EML_DT_I64, SHAPE(2));
        uint32_t out = NODE(b, REVERSE_SEQUENCE, OF(in, of),
                            .attr = {{EML_ATTR_BATCH_AXIS, 1, {0}}, {EML_ATTR_TIME_AXIS, 1, {1}}},
                            .n_attr = 2);
        enum eml_err e = run_one(b, out, (const void *[]){x, n}, y, sizeof y);
        assert_int_equal(e, i < 0 || hostile[i] == 3 ? EML_OK : EML_E_INPUT);
        if (i < 0)
            assert_memory_equal(y, want, sizeof y);
    }
}

/* ---- TopK against sorting by hand ---- */

static void top_k_of_random_rows(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("top_k_of_random_rows");
    float x[256];
    for (int round = 0; round < 300; round++) {
        int64_t outer = eml_gen_range(&g, 1, 3), n = eml_gen_range(&g, 1, 20);
        int64_t inner = eml_gen_range(&g, 1, 4), k = eml_gen_range(&g, 0, n);
        bool largest = eml_gen_bool(&g);
        for (int64_t i = 0; i < outer * n * inner; i++) /* many ties, some NaN */
            x[i] = eml_gen_range(&g, 0, 9) == 0 ? NAN : (float)eml_gen_range(&g, -4, 4);
        struct gb *b = gb_new();
        uint32_t in = gb_input(b, EML_DT_F32, SHAPE(outer, n, inner));
        uint32_t out =
            NODE(b, TOP_K, OF(in, INTS(b, k)), .n_out = 2,
                 .attr = {{EML_ATTR_AXIS, 1, {-2}}, {EML_ATTR_LARGEST, 1, {largest}}}, .n_attr = 2);
        gb_output(b, out);
        gb_output(b, out + 1);
        struct gb_result r = gb_run_ok(b, (const void *[]){x});
        for (int64_t row = 0; row < outer * inner; row++) {
            const float *from = x + row / inner * n * inner + row % inner;
            bool used[20] = {false};
            for (int64_t j = 0; j < k; j++) {
                int64_t best = -1;
                for (int64_t i = 0; i < n; i++) {
                    float v = from[i * inner], w = best < 0 ? 0 : from[best * inner];
                    bool better = isnan(v)   ? largest && !isnan(w)
                                  : isnan(w) ? !largest
                                             : (largest ? v > w : v < w);
                    if (!used[i] && (best < 0 || better))
                        best = i;
                }
                used[best] = true;
                int64_t at = (row / inner * k + j) * inner + row % inner;
                assert_int_equal(((const int64_t *)r.out[1].data)[at], best);
                assert_memory_equal((const float *)r.out[0].data + at, from + best * inner,
                                    sizeof(float));
            }
        }
        gb_free(b);
    }
}

/* ---- sampling ---- */

static const float wild[] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 3e9f, -3e9f, 1e-40f, 17};
enum { WILD_N = sizeof wild / sizeof wild[0] };

/* Whatever the grid says, the result is a mean of the picture, which is 1 everywhere, or 0. */
static void grid_sample_takes_any_grid(void **state)
{
    (void)state;
    float x[5 * 4], y[2];
    for (int i = 0; i < 20; i++)
        x[i] = 1;
    for (int i = 0; i < WILD_N * WILD_N * 18; i++) {
        const float grid[4] = {wild[i % WILD_N], wild[i / WILD_N % WILD_N], 0, 0};
        int64_t mode = i / WILD_N / WILD_N % 3, padding = i / WILD_N / WILD_N / 3 % 3;
        struct gb *b = gb_new();
        uint32_t in = gb_input(b, EML_DT_F32, SHAPE(1, 5, 4, 1));
        uint32_t at = gb_input(b, EML_DT_F32, SHAPE(1, 1, 2, 2));
        uint32_t out = NODE(b, GRID_SAMPLE, OF(in, at),
                            .attr = {{EML_ATTR_MODE, 1, {mode}},
                                     {EML_ATTR_ALIGN_CORNERS, 1, {i % 2}},
                                     {EML_ATTR_PADDING_MODE, 1, {padding}}},
                            .n_attr = 3);
        assert_int_equal(run_one(b, out, (const void *[]){x, grid}, y, sizeof y), EML_OK);
        if (padding != 0)
            assert_true(fabsf(y[0] - 1) < 1e-4f);
        assert_true(fabsf(y[1] - 1) < 1e-4f);
    }
}

static enum eml_err roi_align(const float roi[4], int64_t image, int64_t mode, float *y)
{
    static const float x[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    struct gb *b = gb_new();
    uint32_t in = gb_input(b, EML_DT_F32, SHAPE(1, 4, 4, 1));
    uint32_t rois = gb_input(b, EML_DT_F32, SHAPE(1, 4)), of = gb_input(b, EML_DT_I64, SHAPE(1));
    uint32_t out = NODE(b, ROI_ALIGN, OF(in, rois, of), .attr = {{EML_ATTR_MODE, 1, {mode}}},
                        .n_attr = 1, .params = {1}, .n_params = 1);
    return run_one(b, out, (const void *[]){x, roi, &image}, y, sizeof *y);
}

static void roi_align_takes_no_wild_region(void **state)
{
    (void)state;
    float y;
    assert_int_equal(roi_align((const float[4]){0, 0, 4, 4}, 0, 0, &y), EML_OK);
    assert_true(fabsf(y - 1) < 1e-5f);
    /* huge, but counted: nearly all of it is off the picture */
    assert_int_equal(roi_align((const float[4]){-4e8f, -4e8f, 4e8f, 4e8f}, 0, 0, &y), EML_OK);
    assert_true(y >= 0 && y < 1e-6f);
    assert_int_equal(roi_align((const float[4]){4, 4, -4, -4}, 0, 1, &y), EML_OK); /* inside out */
    for (int i = 0; i < HOSTILE_N; i++)
        assert_int_equal(roi_align((const float[4]){0, 0, 4, 4}, hostile[i], 0, &y), EML_E_INPUT);
    assert_int_equal(roi_align((const float[4]){0, 0, 4, 4}, -1, 0, &y), EML_E_INPUT);
    for (int i = 0; i < 7; i++)
        for (int at = 0; at < 4; at++) {
            float roi[4] = {0, 0, 4, 4};
            roi[at] = wild[i];
            assert_int_equal(roi_align(roi, 0, 0, &y), EML_E_INPUT);
        }
}

static enum eml_err max_roi_pool(const float roi[5], float y[4])
{
    static const float x[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct gb *b = gb_new();
    uint32_t in = gb_input(b, EML_DT_F32, SHAPE(1, 4, 4, 1));
    uint32_t rois = gb_input(b, EML_DT_F32, SHAPE(1, 5));
    uint32_t out = NODE(b, MAX_ROI_POOL, OF(in, rois), WITH1(POOLED_SHAPE, 2, 2), .params = {1},
                        .n_params = 1);
    return run_one(b, out, (const void *[]){x, roi}, y, 4 * sizeof *y);
}

static void max_roi_pool_by_hand(void **state)
{
    (void)state;
    float y[4];
    assert_int_equal(max_roi_pool((const float[5]){0, 0, 0, 3, 3}, y), EML_OK);
    assert_true(y[0] == 5 && y[1] == 7 && y[2] == 13 && y[3] == 15);
    assert_int_equal(max_roi_pool((const float[5]){0, 7, 7, 9, 9}, y), EML_OK); /* off */
    assert_true(y[0] == 0 && y[3] == 0);
    for (int i = 0; i < 7; i++)
        for (int at = 0; at < 5; at++) {
            float roi[5] = {0, 0, 0, 3, 3};
            roi[at] = wild[i];
            assert_int_equal(max_roi_pool(roi, y), EML_E_INPUT);
        }
    assert_int_equal(max_roi_pool((const float[5]){0.5f, 0, 0, 3, 3}, y), EML_E_INPUT);
    assert_int_equal(max_roi_pool((const float[5]){1, 0, 0, 3, 3}, y), EML_E_INPUT);
}

static void deform_conv_takes_any_offset(void **state)
{
    (void)state;
    const float x[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, weight[1] = {2}, bias[1] = {3};
    for (int i = 0; i < WILD_N; i++)
        for (int at = 0; at < 2; at++) {
            float offset[18] = {0}, y[9];
            offset[at * 9] = wild[i];
            struct gb *b = gb_new();
            uint32_t in = gb_input(b, EML_DT_F32, SHAPE(1, 1, 3, 3));
            uint32_t of = gb_input(b, EML_DT_F32, SHAPE(1, 2, 3, 3));
            uint32_t w = gb_slot(b, EML_DT_F32, SHAPE(1, 1, 1, 1), weight);
            uint32_t v = gb_slot(b, EML_DT_F32, SHAPE(1), bias);
            assert_int_equal(run_one(b, NODE(b, DEFORM_CONV, OF(in, w, of, v)),
                                     (const void *[]){x, offset}, y, sizeof y),
                             EML_OK);
            assert_true(y[0] == (fabsf(wild[i]) < 1 ? 5 : 3)); /* off the picture: the bias */
            for (int k = 1; k < 9; k++)
                assert_true(y[k] == 5);
        }
}

/* ---- places of maxima ---- */

static void pooling_and_back(void **state)
{
    (void)state;
    const float x[16] = {1, 2, 0, 0, 3, 9, 0, 4, 0, 0, 0, 0, 7, 0, 0, 8};
    struct gb *b = gb_new(); /* one channel: both layouts are one */
    uint32_t in = gb_input(b, EML_DT_F32, SHAPE(1, 4, 4, 1));
    uint32_t out = NODE(b, MAX_POOL, OF(in), .n_out = 2,
                        .attr = {{EML_ATTR_STRIDES, 2, {2, 2}}, {EML_ATTR_KERNEL_SHAPE, 2, {2, 2}}},
                        .n_attr = 2);
    gb_output(b, out);
    gb_output(b, out + 1);
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    const int64_t places[4] = {5, 7, 12, 15};
    const float maxima[4] = {9, 4, 7, 8};
    assert_memory_equal(r.out[0].data, maxima, sizeof maxima);
    assert_memory_equal(r.out[1].data, places, sizeof places);
    gb_free(b);
    for (int i = -1; i <= HOSTILE_N; i++) {
        int64_t k[4] = {5, 7, 12, i < 0 ? 15 : i < HOSTILE_N ? hostile[i] : 16};
        float y[16];
        b = gb_new();
        uint32_t v = gb_input(b, EML_DT_F32, SHAPE(1, 1, 2, 2));
        uint32_t at = gb_input(b, EML_DT_I64, SHAPE(1, 1, 2, 2));
        out = NODE(b, MAX_UNPOOL, OF(v, at),
                   .attr = {{EML_ATTR_STRIDES, 2, {2, 2}}, {EML_ATTR_KERNEL_SHAPE, 2, {2, 2}}},
                   .n_attr = 2);
        bool good = i < 0 || (i < HOSTILE_N && hostile[i] == 3);
        assert_int_equal(run_one(b, out, (const void *[]){maxima, k}, y, sizeof y),
                         good ? EML_OK : EML_E_INPUT);
        if (good)
            assert_true(y[5] == 9 && y[7] == 4 && y[12] == 7 && y[k[3]] == 8 && y[0] == 0);
    }
}

/* ---- results as large as the data says ---- */

/* Runs b's one node and compares the outputs with `want`: n integers each, after the shape. */
static struct gb_result run_open(struct gb *b, uint32_t out, uint32_t n_out,
                                 const void *const *data)
{
    for (uint32_t i = 0; i < n_out; i++)
        gb_output(b, out + i);
    return gb_run_ok(b, data);
}

static void assert_ints(const struct eml_tensor *t, uint32_t n, const int64_t *want)
{
    assert_int_equal(t->bytes, n * sizeof *want);
    if (n > 0)
        assert_memory_equal(t->data, want, n * sizeof *want);
}
#define ASSERT_INTS(t, ...)                                                                        \
    assert_ints((t), sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

static void compress_takes_short_and_long_conditions(void **state)
{
    (void)state;
    const int64_t x[6] = {1, 2, 3, 4, 5, 6};
    const uint8_t keep[8] = {0, 7, 1, 0, 0, 1, 1, 1};
    for (int64_t n = 0; n <= 8; n++) {
        struct gb *b = gb_new();
        uint32_t in = gb_input(b, EML_DT_I64, SHAPE(3, 2)), by = gb_input(b, EML_DT_BOOL, SHAPE(n));
        struct gb_result r =
            run_open(b, NODE(b, COMPRESS, OF(in, by)), 1, (const void *[]){x, keep});
        const int64_t want[3] = {2, 3, 6};
        assert_ints(&r.out[0], n <= 1 ? 0 : n == 2 ? 1 : n <= 5 ? 2 : 3, want);
        gb_free(b);
        b = gb_new();
        in = gb_input(b, EML_DT_I64, SHAPE(3, 2));
        by = gb_input(b, EML_DT_BOOL, SHAPE(n));
        r = run_open(b, NODE(b, COMPRESS, OF(in, by), WITH1(AXIS, -2)), 1,
                     (const void *[]){x, keep});
        assert_ints(&r.out[0], n <= 1 ? 0 : n == 2 ? 2 : 4, x + 2);
        assert_int_equal(r.out[0].shape.rank, 2);
        assert_int_equal(r.out[0].shape.dim[1], 2);
        gb_free(b);
    }
}

static void unique_counts_nan_once(void **state)
{
    (void)state;
    const float x[7] = {2, NAN, -1, 2, NAN, 0, -1};
    for (int64_t sorted = 0; sorted < 2; sorted++) {
        struct gb *b = gb_new();
        uint32_t in = gb_input(b, EML_DT_F32, SHAPE(7));
        uint32_t out = NODE(b, UNIQUE, OF(in), .n_out = 4, WITH1(SORTED, sorted));
        struct gb_result r = run_open(b, out, 4, (const void *[]){x});
        const float *y = r.out[0].data;
        assert_int_equal(r.out[0].bytes, 4 * sizeof *y);
        if (sorted) {
            assert_true(y[0] == -1 && y[1] == 0 && y[2] == 2 && isnan(y[3]));
            ASSERT_INTS(&r.out[1], 2, 5, 0, 1);
            ASSERT_INTS(&r.out[2], 2, 3, 0, 2, 3, 1, 0);
            ASSERT_INTS(&r.out[3], 2, 1, 2, 2);
        } else {
            assert_true(y[0] == 2 && isnan(y[1]) && y[2] == -1 && y[3] == 0);
            ASSERT_INTS(&r.out[1], 0, 1, 2, 5);
            ASSERT_INTS(&r.out[2], 0, 1, 2, 0, 1, 3, 2);
            ASSERT_INTS(&r.out[3], 2, 2, 2, 1);
        }
        gb_free(b);
    }
}

static void unique_slices(void **state)
{
    (void)state;
    const int64_t x[8] = {1, 0, 1, 0, 2, 3, 2, 3};
    struct gb *b = gb_new();
    uint32_t in = gb_input(b, EML_DT_I64, SHAPE(2, 4));
    struct gb_result r =
        run_open(b, NODE(b, UNIQUE, OF(in), .n_out = 4, WITH1(AXIS, 1)), 4, (const void *[]){x});
    ASSERT_INTS(&r.out[0], 0, 1, 3, 2);
    ASSERT_INTS(&r.out[2], 1, 0, 1, 0);
    gb_free(b);
    b = gb_new(); /* of nothing */
    in = gb_input(b, EML_DT_I64, SHAPE(2, 0));
    r = run_open(b, NODE(b, UNIQUE, OF(in), .n_out = 4), 4, (const void *[]){x});
    for (int i = 0; i < 4; i++)
        assert_int_equal(r.out[i].bytes, 0);
    gb_free(b);
}

static void suppression_of_wild_boxes(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("suppression_of_wild_boxes");
    for (int round = 0; round < 300; round++) {
        float boxes[2 * 6 * 4], scores[2 * 3 * 6], overlap = 0.3f, least = eml_gen_f32(&g, -1, 1);
        int64_t most = eml_gen_range(&g, -2, 8);
        for (int i = 0; i < 48; i++)
            boxes[i] = eml_gen_range(&g, 0, 15) == 0 ? wild[eml_gen_range(&g, 0, WILD_N - 1)]
                                                     : eml_gen_f32(&g, 0, 1);
        for (int i = 0; i < 36; i++)
            scores[i] = eml_gen_range(&g, 0, 9) == 0 ? wild[eml_gen_range(&g, 0, WILD_N - 1)]
                                                     : eml_gen_f32(&g, -1, 1);
        struct gb *b = gb_new();
        uint32_t in = gb_input(b, EML_DT_F32, SHAPE(2, 6, 4));
        uint32_t of = gb_input(b, EML_DT_F32, SHAPE(2, 3, 6));
        uint32_t limit = gb_input(b, EML_DT_I64, SHAPE(1));
        uint32_t iou = gb_input(b, EML_DT_F32, SCALAR), low = gb_input(b, EML_DT_F32, SCALAR);
        uint32_t out = NODE(b, NON_MAX_SUPPRESSION, OF(in, of, limit, iou, low),
                            WITH1(CENTER_POINT_BOX, round % 2));
        struct gb_result r =
            run_open(b, out, 1, (const void *[]){boxes, scores, &most, &overlap, &least});
        const int64_t *y = r.out[0].data;
        int64_t n = r.out[0].shape.dim[0], run = 0;
        for (int64_t i = 0; i < n; i++, y += 3) {
            assert_true(y[0] >= 0 && y[0] < 2 && y[1] >= 0 && y[1] < 3 && y[2] >= 0 && y[2] < 6);
            const float *s = scores + (y[0] * 3 + y[1]) * 6;
            assert_true(s[y[2]] > least);
            bool same = i > 0 && y[0] == y[-3] && y[1] == y[-2];
            run = same ? run + 1 : 1;
            assert_true(run <= most);
            assert_true(!same || s[y[2]] <= s[y[-1]]);
        }
        gb_free(b);
    }
}

static void sorting_many(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("sorting_many");
    int64_t x[500];
    for (int round = 0; round < 50; round++) {
        int64_t n = eml_gen_range(&g, 0, 500), last = INT64_MIN, sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += x[i] = eml_gen_range(&g, -50, 50);
        struct gb *b = gb_new();
        uint32_t in = gb_input(b, EML_DT_I64, SHAPE(n));
        struct gb_result r =
            run_open(b, NODE(b, UNIQUE, OF(in), .n_out = 4), 4, (const void *[]){x});
        const int64_t *y = r.out[0].data, *first = r.out[1].data, *count = r.out[3].data;
        for (int64_t i = 0; i < r.out[0].shape.dim[0]; i++) {
            assert_true(y[i] > last && x[first[i]] == y[i]);
            last = y[i];
            sum -= y[i] * count[i];
        }
        assert_int_equal(sum, 0);
        gb_free(b);
    }
}

static void pads_reflect_and_wrap_again_and_again(void **state)
{
    (void)state;
    const int64_t x[3] = {1, 2, 3};
    struct gb *b = gb_new();
    uint32_t in = gb_input(b, EML_DT_I64, SHAPE(3));
    gb_output(b, NODE(b, PAD, OF(in, INTS(b, 5, 4)), WITH1(MODE, 1)));
    gb_output(b, NODE(b, PAD, OF(in, INTS(b, 5, 7)), WITH1(MODE, 3)));
    struct gb_result r = gb_run_ok(b, (const void *[]){x});
    ASSERT_INTS(&r.out[0], 2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3);
    ASSERT_INTS(&r.out[1], 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1);
    gb_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather_nd_checks_every_index),
        cmocka_unit_test(gather_nd_in_batches),
        cmocka_unit_test(scatter_elements_reduces),
        cmocka_unit_test(scatter_nd_reduces_slices),
        cmocka_unit_test(one_hot_is_off_out_of_range),
        cmocka_unit_test(reverse_sequence_checks_lengths),
        cmocka_unit_test(top_k_of_random_rows),
        cmocka_unit_test(grid_sample_takes_any_grid),
        cmocka_unit_test(roi_align_takes_no_wild_region),
        cmocka_unit_test(max_roi_pool_by_hand),
        cmocka_unit_test(deform_conv_takes_any_offset),
        cmocka_unit_test(pooling_and_back),
        cmocka_unit_test(compress_takes_short_and_long_conditions),
        cmocka_unit_test(unique_counts_nan_once),
        cmocka_unit_test(unique_slices),
        cmocka_unit_test(suppression_of_wild_boxes),
        cmocka_unit_test(sorting_many),
        cmocka_unit_test(pads_reflect_and_wrap_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
