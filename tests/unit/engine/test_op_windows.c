/* Conv, ConvTranspose and pooling against loops in double precision that follow the ONNX formulas.
 */
#include "op_bench.h"

#include "engine/pack.h"
#include "engine/winograd.h"

/* Random kernel, strides, dilations, pads of n spatial dims. */
struct window_case {
    uint32_t n;
    int64_t kernel[3], stride[3], dilation[3], pads[6];
    double error; /* times what a direct sum may err; 0: as a direct sum */
};

static struct window_case draw_window(struct eml_gen *g, int64_t stride_max)
{
    struct window_case w = {.n = (uint32_t)eml_gen_range(g, 1, 3)};
    for (uint32_t i = 0; i < w.n; i++) {
        w.kernel[i] = eml_gen_range(g, 1, w.n == 3 ? 3 : 5);
        w.stride[i] = eml_gen_range(g, 1, stride_max);
        w.dilation[i] = eml_gen_range(g, 0, 2) ? 1 : 2;
        w.pads[i] = eml_gen_range(g, 0, (w.kernel[i] - 1) * w.dilation[i]);
        w.pads[w.n + i] = eml_gen_range(g, 0, (w.kernel[i] - 1) * w.dilation[i]);
    }
    return w;
}

static void set_window(struct bench *b, const struct window_case *w)
{
    set_attr(b, EML_ATTR_PADS, 2 * w->n, w->pads);
    set_attr(b, EML_ATTR_STRIDES, w->n, w->stride);
    set_attr(b, EML_ATTR_DILATIONS, w->n, w->dilation);
}

/* Decodes i by dims, last fastest. */
static void decode(int64_t i, uint32_t rank, const int64_t *dim, int64_t *at)
{
    for (uint32_t d = rank; d-- > 0;) {
        at[d] = i % dim[d];
        i /= dim[d];
    }
}

static int64_t product(uint32_t n, const int64_t *v)
{
    int64_t p = 1;
    for (uint32_t i = 0; i < n; i++)
        p *= v[i];
    return p;
}

/* Offset of the input pixel that tap `tap` of output pixel `at` (spatial coordinates) sees; -1 in
 * the padding. */
static int64_t tap_pixel(const struct window_case *w, const int64_t *in, const int64_t *at,
                         int64_t tap)
{
    int64_t k[3], offset = 0;
    decode(tap, w->n, w->kernel, k);
    for (uint32_t d = 0; d < w->n; d++) {
        int64_t x = at[d] * w->stride[d] - w->pads[d] + k[d] * w->dilation[d];
        if (x < 0 || x >= in[d])
            return -1;
        offset = offset * in[d] + x;
    }
    return offset;
}

static void draw_input(struct bench *b, const struct window_case *w, int64_t channels)
{
    int64_t dim[5] = {eml_gen_range(b->g, 1, 2)};
    for (uint32_t i = 0; i < w->n; i++)
        dim[i + 1] =
            (w->kernel[i] - 1) * w->dilation[i] + eml_gen_range(b->g, 1, w->n == 3 ? 5 : 14);
    dim[w->n + 1] = channels;
    b->in[0] = tensor(b->g, w->n + 2, dim);
}

static void set_output(struct bench *b, int64_t channels)
{
    struct eml_window w;
    const struct eml_shape *k = b->in[1].data ? &b->in[1].shape : NULL;
    assert_int_equal(eml_window_make(&b->node, &b->in[0].shape, k, &w, NULL), EML_OK);
    int64_t dim[5] = {w.batch};
    memcpy(dim + 1, w.out, w.n * sizeof *dim);
    dim[w.n + 1] = channels;
    b->out = tensor(b->g, w.n + 2, dim);
}

static float *pack_conv_weights(struct bench *b, int64_t o, int64_t ci, int64_t taps, int64_t group)
{
    size_t n = (size_t)group * eml_pack_panel16_floats((size_t)(taps * ci), (size_t)(o / group));
    bool depthwise = ci == 1 && o == group && group > 1 && eml_gen_bool(b->g);
    size_t floats = depthwise ? eml_pack_panel16_floats((size_t)taps, (size_t)o) : n;
    float *packed = aligned_alloc(64, (floats * sizeof *packed + 127) / 64 * 64);
    assert_non_null(packed);
    if (depthwise)
        eml_pack_depthwise(packed, b->in[1].data, (size_t)o, (size_t)taps);
    else
        eml_pack_conv(packed, b->in[1].data, (size_t)o, (size_t)ci, (size_t)taps, (size_t)group);
    b->in[1].layout = depthwise ? EML_LAYOUT_DEPTHWISE : EML_LAYOUT_PANEL16;
    return packed;
}

static void check_conv(struct eml_gen *g, const struct window_case *w, int64_t group, int64_t ci,
                       int64_t co)
{
    struct bench b;
    start(&b, g, EML_OP_CONV);
    draw_input(&b, w, group * ci);
    int64_t w_dim[5] = {group * co, ci};
    memcpy(w_dim + 2, w->kernel, w->n * sizeof *w_dim);
    b.in[1] = tensor(g, w->n + 2, w_dim);
    set_window(&b, w);
    set_int(&b, EML_ATTR_GROUP, group);
    set_output(&b, group * co);
    b.k = (double)(ci * product(w->n, w->kernel)) * (w->error > 0 ? w->error : 1);
    draw_fusion(&b, group * co, eml_gen_bool(g));
    const float *px = b.in[0].data, *pw = b.in[1].data;
    int64_t taps = product(w->n, w->kernel), in_pixels = product(w->n, b.in[0].shape.dim + 1);
    double *want = wanted(&b);
    for (int64_t i = 0; i < b.out.count; i++) {
        int64_t at[5];
        decode(i, b.out.shape.rank, b.out.shape.dim, at);
        int64_t channel = at[w->n + 1], base = channel / co * ci;
        double s = 0;
        for (int64_t t = 0; t < taps; t++) {
            int64_t pixel = tap_pixel(w, b.in[0].shape.dim + 1, at + 1, t);
            for (int64_t c = 0; c < ci && pixel >= 0; c++)
                s += (double)px[(at[0] * in_pixels + pixel) * group * ci + base + c] *
                     (double)pw[(channel * ci + c) * taps + t];
        }
        want[i] = fuse(&b, s, i);
    }
    void *raw = b.in[1].data;
    float *packed = NULL;
    if (eml_gen_range(g, 0, 3))
        b.in[1].data = packed = pack_conv_weights(&b, group * co, ci, taps, group);
    check(&b, eml_op_conv, eml_scratch_conv, want);
    b.in[1].data = raw;
    finish(&b, packed);
    free(want);
}

static void conv_matches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("conv");
    for (int i = 0; i < 300; i++) {
        struct window_case w = draw_window(&g, 3);
        int64_t group = eml_gen_bool(&g) ? 1 : eml_gen_range(&g, 2, 4);
        check_conv(&g, &w, group, eml_gen_range(&g, 1, 20), eml_gen_range(&g, 1, 40));
    }
    for (int i = 0; i < 100; i++) { /* depthwise */
        struct window_case w = draw_window(&g, 2);
        if (i % 2)
            w = (struct window_case){2, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 0};
        check_conv(&g, &w, eml_gen_range(&g, 2, 40), 1, 1);
    }
    struct window_case line = {1, {700}, {100}, {1}, {0, 350}, 0}; /* as in spectral front ends */
    check_conv(&g, &line, 1, 1, 20);
    struct window_case deep = {2,      {3, 3},       {2, 1},
                               {1, 1}, {1, 1, 1, 1}, 0}; /* K in several passes */
    check_conv(&g, &deep, 1, 400, 50);
    struct window_case point = {2, {1, 1}, {1, 1}, {1, 1}, {0}, 0};
    check_conv(&g, &point, 1, 30, 70);
    struct window_case thin = {2, {1, 1}, {2, 2}, {1, 1}, {0}, 0};
    check_conv(&g, &thin, 1, 30, 70);
}

static struct eml_spatial spatial_3x3(int64_t side, int64_t channels)
{
    const int64_t pads[4] = {1, 1, 1, 1};
    struct eml_attr attr = {EML_ATTR_PADS, 4, pads};
    struct eml_node node = {.op = EML_OP_CONV, .n_attr = 1, .attr = &attr};
    struct eml_shape x = {4, {1, side, side, channels}}, w = {4, {channels, channels, 3, 3}};
    struct eml_window window;
    assert_int_equal(eml_window_make(&node, &x, &w, &window, NULL), EML_OK);
    return eml_spatial_of(&window);
}

/* Where the fast method is taken, and that it is right there: borders, tails of channels, residuals
 * and activations included. */
static void winograd_matches(void **state)
{
    (void)state;
    const struct eml_kernels *kn = eml_kernels_for(EML_ISA_AUTO);
    struct eml_winograd w = {0};
    struct eml_spatial s = spatial_3x3(28, 64);
    bool has = kn->winograd_input != NULL;
    assert_int_equal(eml_winograd_plan(kn, &s, 64, 2, &w), has);
    assert_int_equal(w.by_columns, has); /* few tiles; work for two threads, but not for five */
    assert_int_equal(eml_winograd_plan(kn, &s, 64, 5, &w), has);
    assert_false(w.by_columns);
    s = spatial_3x3(56, 64);
    assert_int_equal(eml_winograd_plan(kn, &s, 64, 2, &w), has);
    assert_false(w.by_columns);
    s = spatial_3x3(28, 64);
    assert_false(eml_winograd_plan(eml_kernels_for(EML_ISA_REF), &s, 64, 2, &w));
    assert_false(eml_winograd_plan(kn, &s, 4, 2, &w)); /* few channels: transforms cost more */
    s.stride[2] = 2;
    assert_false(eml_winograd_plan(kn, &s, 64, 2, &w));
    s = spatial_3x3(28, 64);
    s.dilation[1] = 2;
    assert_false(eml_winograd_plan(kn, &s, 64, 2, &w));
    s = spatial_3x3(7, 512); /* transformed weights out of cache */
    assert_false(eml_winograd_plan(kn, &s, 512, 2, &w));
    struct eml_gen g = eml_gen_seeded("winograd");
    for (int i = 0; i < 60; i++) {
        struct window_case c = {
            .n = 2, .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .error = 20};
        for (int k = 0; k < 4; k++)
            c.pads[k] = eml_gen_range(&g, 0, 2);
        check_conv(&g, &c, 1, eml_gen_range(&g, 20, 90), eml_gen_range(&g, 20, 90));
    }
}

static void check_conv_transpose(struct eml_gen *g, const struct window_case *w, int64_t group,
                                 int64_t ci, int64_t co)
{
    struct bench b;
    start(&b, g, EML_OP_CONV_TRANSPOSE);
    draw_input(&b, w, group * ci);
    int64_t w_dim[5] = {group * ci, co};
    memcpy(w_dim + 2, w->kernel, w->n * sizeof *w_dim);
    b.in[1] = tensor(g, w->n + 2, w_dim);
    set_window(&b, w);
    set_int(&b, EML_ATTR_GROUP, group);
    set_output(&b, group * co);
    b.k = (double)(ci * product(w->n, w->kernel));
    draw_fusion(&b, group * co, eml_gen_bool(g));
    const float *px = b.in[0].data, *pw = b.in[1].data;
    const int64_t *in = b.in[0].shape.dim + 1;
    int64_t taps = product(w->n, w->kernel), pixels = product(w->n, in) * b.in[0].shape.dim[0];
    double *want = wanted(&b);
    for (int64_t p = 0; p < pixels * taps; p++) { /* scatter: the definition */
        int64_t at[4], k[3], offset, tap = p % taps, pixel = p / taps;
        decode(pixel, w->n + 1, b.in[0].shape.dim, at);
        decode(tap, w->n, w->kernel, k);
        offset = at[0];
        bool inside = true;
        for (uint32_t d = 0; d < w->n; d++) {
            int64_t x = at[d + 1] * w->stride[d] - w->pads[d] + k[d] * w->dilation[d];
            inside = inside && x >= 0 && x < b.out.shape.dim[d + 1];
            offset = offset * b.out.shape.dim[d + 1] + x;
        }
        for (int64_t c = 0; inside && c < group * co; c++) {
            for (int64_t i = 0; i < ci; i++)
                want[offset * group * co + c] +=
                    (double)px[pixel * group * ci + c / co * ci + i] *
                    (double)pw[((c / co * ci + i) * co + c % co) * taps + tap];
        }
    }
    for (int64_t i = 0; i < b.out.count; i++)
        want[i] = fuse(&b, want[i], i);
    void *raw = b.in[1].data;
    float *packed = NULL;
    if (eml_gen_bool(g)) {
        size_t n = (size_t)group * eml_pack_panel16_floats((size_t)ci, (size_t)(taps * co));
        b.in[1].data = packed = malloc((n + 1) * sizeof *packed);
        assert_non_null(packed);
        eml_pack_conv_transpose(packed, raw, (size_t)(group * ci), (size_t)co, (size_t)taps,
                                (size_t)group);
        b.in[1].layout = EML_LAYOUT_PANEL16;
    }
    check(&b, eml_op_conv_transpose, eml_scratch_conv_transpose, want);
    b.in[1].data = raw;
    finish(&b, packed);
    free(want);
}

static void conv_transpose_matches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("conv_transpose");
    for (int i = 0; i < 200; i++) {
        struct window_case w = draw_window(&g, 3);
        for (uint32_t d = 0; d < 2 * w.n; d++)
            w.pads[d] = w.pads[d] > 1 ? 1 : w.pads[d];
        check_conv_transpose(&g, &w, eml_gen_bool(&g) ? 1 : 2, eml_gen_range(&g, 1, 12),
                             eml_gen_range(&g, 1, 20));
    }
    for (int i = 0; i < 30; i++) { /* windows that tile the output */
        struct window_case w = {2, {2, 3}, {2, 3}, {1, 1}, {0}, 0};
        check_conv_transpose(&g, &w, 1, eml_gen_range(&g, 1, 12), eml_gen_range(&g, 1, 20));
        check_conv_transpose(&g, &w, 1, eml_gen_range(&g, 1, 12), 16); /* whole panels per line */
    }
    struct window_case many = {2,      {9, 9}, {1, 1},
                               {1, 1}, {0},    0}; /* more taps than added at once */
    check_conv_transpose(&g, &many, 1, 3, 2);
}

static void check_pool(struct eml_gen *g, bool is_max)
{
    struct bench b;
    struct window_case w = draw_window(g, 3);
    if (eml_gen_range(g, 0, 20) == 0)
        w = (struct window_case){2, {9, 10}, {3, 4}, {1, 1}, {4, 0, 5, 3}, 0}; /* many taps */
    start(&b, g, is_max ? EML_OP_MAX_POOL : EML_OP_AVERAGE_POOL);
    bool include = !is_max && eml_gen_bool(g);
    draw_input(&b, &w, eml_gen_range(g, 1, 40));
    set_window(&b, &w);
    set_attr(&b, EML_ATTR_KERNEL_SHAPE, w.n, w.kernel);
    set_int(&b, EML_ATTR_CEIL_MODE, eml_gen_bool(g));
    set_int(&b, EML_ATTR_COUNT_INCLUDE_PAD, include);
    int64_t c = b.in[0].shape.dim[w.n + 1], taps = product(w.n, w.kernel);
    const int64_t *in = b.in[0].shape.dim + 1;
    int64_t in_pixels = product(w.n, in);
    set_output(&b, c);
    b.n_in = 1;
    const float *x = b.in[0].data;
    double *want = wanted(&b);
    for (int64_t i = 0; i < b.out.count; i++) {
        int64_t at[5], counted = 0;
        decode(i, b.out.shape.rank, b.out.shape.dim, at);
        double s = is_max ? -(double)INFINITY : 0;
        for (int64_t t = 0; t < taps; t++) {
            int64_t pixel = tap_pixel(&w, in, at + 1, t), k[3];
            decode(t, w.n, w.kernel, k);
            bool in_padding = true;
            for (uint32_t d = 0; d < w.n; d++)
                in_padding = in_padding && at[d + 1] * w.stride[d] + k[d] * w.dilation[d] <
                                               w.pads[d] + in[d] + w.pads[w.n + d];
            counted += include ? in_padding : pixel >= 0;
            if (pixel < 0)
                continue;
            double v = (double)x[(at[0] * in_pixels + pixel) * c + at[w.n + 1]];
            s = is_max ? fmax(s, v) : s + v;
        }
        want[i] = is_max || counted == 0 ? s : s / (double)counted;
    }
    check(&b, is_max ? eml_op_max_pool : eml_op_average_pool, NULL, want);
    finish(&b, NULL);
    free(want);
}

static void pools_match(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("pools");
    for (int i = 0; i < 200; i++) {
        check_pool(&g, true);
        check_pool(&g, false);
    }
}

static void global_pools_match(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("global pools");
    for (int i = 0; i < 60; i++) {
        struct bench b;
        bool is_max = eml_gen_bool(&g);
        start(&b, &g, is_max ? EML_OP_GLOBAL_MAX_POOL : EML_OP_GLOBAL_AVERAGE_POOL);
        int64_t c = eml_gen_range(&g, 1, 600), h = eml_gen_range(&g, 1, 20);
        int64_t dim[] = {2, h, eml_gen_range(&g, 1, 20), c}, out[] = {2, 1, 1, c};
        b.in[0] = tensor(&g, 4, dim);
        b.out = tensor(&g, 4, out);
        b.n_in = 1;
        double *want = wanted(&b);
        const float *x = b.in[0].data;
        int64_t pixels = h * dim[2];
        for (int64_t j = 0; j < 2 * c; j++) {
            double s = is_max ? -(double)INFINITY : 0;
            for (int64_t p = 0; p < pixels; p++) {
                double v = (double)x[(j / c * pixels + p) * c + j % c];
                s = is_max ? fmax(s, v) : s + v;
            }
            want[j] = is_max ? s : s / (double)pixels;
        }
        check(&b, eml_op_global_pool, NULL, want);
        finish(&b, NULL);
        free(want);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(conv_matches),           cmocka_unit_test(winograd_matches),
    cmocka_unit_test(conv_transpose_matches), cmocka_unit_test(pools_match),
    cmocka_unit_test(global_pools_match),
};
RUN_WITH_POOLS(tests)
