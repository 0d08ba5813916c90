/* MatMul, Gemm, Conv, ConvTranspose and pooling through their operator functions: random shapes,
 * attributes, layouts and fused operands against loops in double precision that follow the ONNX
 * formulas, on every instruction set, and the same bits with 1, 2 and 3 threads. */
#include "testsupport/support.h"

#include "engine/bf16.h"
#include "engine/exec.h"
#include "engine/kernels/kernels.h"
#include "engine/pack.h"
#include "engine/winograd.h"
#include "engine/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPERANDS = 5, ATTRS = 16 };

static struct eml_pool *pools[3]; /* 1, 2, 3 threads */

/* One node with its operands, built up by the tests. */
struct bench {
    struct eml_gen *g;
    struct eml_attr attr[ATTRS];
    int64_t ints[ATTRS][8];
    struct eml_node node;
    struct eml_view in[OPERANDS], out;
    uint32_t n_in;
    float params[4];
    uint32_t n_params;
    double k; /* terms of a sum: what rounding may add up to */
};

static void set_attr(struct bench *b, enum eml_attr_id id, uint32_t n, const int64_t *v)
{
    uint32_t i = b->node.n_attr++;
    assert_true(i < ATTRS && n <= 8);
    memcpy(b->ints[i], v, n * sizeof *v);
    b->attr[i] = (struct eml_attr){id, n, b->ints[i]};
    b->node.attr = b->attr;
}

static void set_int(struct bench *b, enum eml_attr_id id, int64_t v)
{
    set_attr(b, id, 1, &v);
}

static struct eml_view tensor(struct eml_gen *g, uint32_t rank, const int64_t *dim)
{
    struct eml_view v = {.dtype = EML_DT_F32, .shape = {.rank = rank}, .count = 1};
    for (uint32_t i = 0; i < rank; i++) {
        v.shape.dim[i] = dim[i];
        v.count *= dim[i];
    }
    float *data = aligned_alloc(64, ((size_t)v.count * sizeof(float) + 127) / 64 * 64);
    assert_non_null(data);
    for (int64_t i = 0; i < v.count; i++)
        data[i] = eml_gen_f32(g, -1, 1);
    v.data = data;
    return v;
}

static void start(struct bench *b, struct eml_gen *g, enum eml_op op)
{
    *b = (struct bench){.g = g, .node = {.op = op, .params = EML_ABSENT}};
}

static void finish(struct bench *b, float *packed)
{
    for (uint32_t i = 0; i < b->n_in; i++)
        free(b->in[i].data);
    free(b->out.data);
    free(packed);
}

/* Random bias, residual, activation; `residual` false for operators without. */
static void draw_fusion(struct bench *b, int64_t channels, bool fused)
{
    b->n_in = 2;
    if (!fused)
        return;
    b->n_in = 4;
    if (eml_gen_bool(b->g))
        b->in[2] = tensor(b->g, 1, &channels);
    if (eml_gen_bool(b->g))
        b->in[3] = tensor(b->g, b->out.shape.rank, b->out.shape.dim);
    int64_t act = eml_gen_range(b->g, 0, EML_ACT_N - 1);
    set_int(b, EML_ATTR_ACT, act);
    for (size_t i = 0; i < eml_act_params((enum eml_act)act); i++)
        b->params[b->n_params++] = i ? 0.6F : -0.4F;
    if (act == EML_ACT_PRELU)
        b->in[b->n_in++] = tensor(b->g, 1, &channels);
}

/* bias, residual and activation of output element i, applied to its sum. */
static double fuse(const struct bench *b, double s, int64_t i)
{
    struct eml_act_spec spec = {.act = EML_ACT_NONE};
    int64_t channels = b->out.shape.dim[b->out.shape.rank - 1];
    for (uint32_t a = 0; a < b->node.n_attr; a++) {
        if (b->attr[a].id == EML_ATTR_ACT)
            spec.act = (enum eml_act)b->attr[a].v[0];
    }
    size_t n = eml_act_params(spec.act);
    for (size_t p = 0; p < n; p++)
        spec.p[p] = b->params[b->n_params - n + p];
    if (b->n_in > 2 && b->in[2].data && b->node.op != EML_OP_GEMM)
        s += (double)((const float *)b->in[2].data)[i % channels];
    if (b->n_in > 3 && b->in[3].data)
        s += (double)((const float *)b->in[3].data)[i];
    float slope =
        spec.act == EML_ACT_PRELU ? ((const float *)b->in[b->n_in - 1].data)[i % channels] : 0;
    spec.slope = &slope;
    float x = (float)s, y;
    eml_kernels_ref.act(&y, &x, 1, &spec);
    return (double)y;
}

static void run(const struct bench *b, const struct eml_kernels *kn, struct eml_pool *pool,
                eml_op_fn *op, eml_scratch_fn *count, float *out)
{
    struct eml_op_ctx c = {.node = &b->node,
                           .in = b->in,
                           .n_in = b->n_in,
                           .n_out = 1,
                           .n_params = b->n_params,
                           .threads = 3,
                           .kernels = kn};
    struct eml_view o = b->out;
    size_t bytes = 0;
    c.out = &o;
    if (count) {
        struct eml_view blind[OPERANDS], blind_out = o;
        for (uint32_t i = 0; i < b->n_in; i++) {
            blind[i] = b->in[i];
            blind[i].data = NULL;
        }
        blind_out.data = NULL;
        c.in = blind;
        c.out = &blind_out;
        assert_true(count(&c, &bytes));
        c.in = b->in;
        c.out = &o;
    }
    uint8_t *scratch = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(scratch);
    memset(scratch, 0xFF, bytes + 1); /* NaNs: nothing may be read before it is written */
    c.scratch = (struct eml_room){scratch, bytes};
    c.pool = pool;
    c.params = b->params;
    o.data = out;
    assert_int_equal(op(&c), EML_OK);
    assert_int_equal(scratch[bytes], 0xFF);
    free(scratch);
}

/* Runs on all sets and pools and compares with want. */
static void check(const struct bench *b, eml_op_fn *op, eml_scratch_fn *count, const double *want)
{
    size_t n = (size_t)b->out.count;
    float *first = calloc(n + 1, sizeof *first), *other = calloc(n + 1, sizeof *other);
    assert_true(first && other);
    for (enum eml_isa isa = EML_ISA_REF; isa <= eml_isa_resolve(EML_ISA_AUTO); isa++) {
        const struct eml_kernels *kn = eml_kernels_for(isa);
        first[n] = other[n] = 5;
        run(b, kn, pools[0], op, count, first);
        for (size_t i = 0; i < n; i++) {
            if (!(fabs((double)first[i] - want[i]) <= 2e-5 + 2e-8 * b->k + 2e-5 * fabs(want[i])) &&
                !((double)first[i] == want[i])) {
                print_error("%s: element %zu of %zu: got %.9g, want %.9g\n", eml_isa_name(isa), i,
                            n, (double)first[i], want[i]);
                fail();
            }
        }
        for (int p = 1; p < 3; p++) {
            run(b, kn, pools[p], op, count, other);
            assert_memory_equal(first, other, (n + 1) * sizeof *first);
        }
    }
    free(first);
    free(other);
}

static double *wanted(const struct bench *b)
{
    double *w = calloc((size_t)b->out.count + 1, sizeof *w);
    assert_non_null(w);
    return w;
}

/* ---- MatMul ---- */

static void check_matmul(struct eml_gen *g, int64_t m, int64_t n, int64_t k)
{
    struct bench b;
    start(&b, g, EML_OP_MATMUL);
    int64_t outer = eml_gen_range(g, 1, 3), inner = eml_gen_range(g, 1, 3);
    bool b_outer = eml_gen_bool(g), b_inner = eml_gen_bool(g), packed = eml_gen_bool(g);
    int64_t a_dim[] = {outer, eml_gen_bool(g) ? inner : 1, m, k};
    int64_t b_dim[] = {b_outer ? outer : 1, b_inner ? inner : 1, k, n};
    bool flat = eml_gen_bool(g); /* b of rank 2 */
    inner = a_dim[1] > b_dim[1] || flat ? a_dim[1] : b_dim[1];
    b.in[0] = tensor(g, 4, a_dim);
    b.in[1] = tensor(g, flat ? 2 : 4, flat ? b_dim + 2 : b_dim);
    int64_t out_dim[] = {outer, inner, m, n};
    b.out = tensor(g, 4, out_dim);
    draw_fusion(&b, n, eml_gen_bool(g));
    const float *pa = b.in[0].data, *pb = b.in[1].data;
    double *want = wanted(&b);
    b.k = (double)k;
    for (int64_t i = 0; i < b.out.count; i++) {
        int64_t column = i % n, row = i / n % m, in = i / n / m % inner, out = i / n / m / inner;
        const float *a = pa + ((out * a_dim[1] + (a_dim[1] > 1 ? in : 0)) * m + row) * k;
        int64_t matrix = flat ? 0 : (b_dim[0] > 1 ? out : 0) * b_dim[1] + (b_dim[1] > 1 ? in : 0);
        double s = 0;
        for (int64_t x = 0; x < k; x++)
            s += (double)a[x] * (double)pb[(matrix * k + x) * n + column];
        want[i] = fuse(&b, s, i);
    }
    float *weights = NULL;
    void *raw = b.in[1].data;
    if (packed) {
        size_t batch = (size_t)(flat ? 1 : b_dim[0] * b_dim[1]);
        weights =
            malloc((batch * eml_pack_panel16_floats((size_t)k, (size_t)n) + 1) * sizeof *weights);
        assert_non_null(weights);
        eml_pack_panel16(weights, raw, batch, (size_t)k, (size_t)n, (size_t)(k * n), (size_t)n, 1);
        b.in[1].data = weights;
        b.in[1].layout = EML_LAYOUT_PANEL16;
    }
    check(&b, eml_op_matmul, eml_scratch_matmul, want);
    b.in[1].data = raw;
    finish(&b, weights);
    free(want);
}

static float rounded(float x)
{
    uint32_t bits = (uint32_t)eml_bf16_of(x) << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

/* Weights of bfloat16: as if both operands had been rounded. */
static void check_matmul_bf16(struct eml_gen *g, int64_t m, int64_t n, int64_t k)
{
    struct bench b;
    start(&b, g, EML_OP_MATMUL);
    bool batch = eml_gen_bool(g);
    b.in[0] = tensor(g, 3, (int64_t[]){2, m, k});
    b.in[1] = tensor(g, 3, (int64_t[]){batch ? 2 : 1, k, n});
    b.out = tensor(g, 3, (int64_t[]){2, m, n});
    draw_fusion(&b, n, eml_gen_bool(g));
    float *pa = b.in[0].data, *pb = b.in[1].data;
    double *want = wanted(&b);
    b.k = (double)k;
    for (int64_t i = 0; i < b.out.count; i++) {
        int64_t column = i % n, row = i / n, matrix = batch ? row / m : 0;
        double s = 0;
        for (int64_t x = 0; x < k; x++)
            s += (double)rounded(pa[row * k + x]) *
                 (double)rounded(pb[(matrix * k + x) * n + column]);
        want[i] = fuse(&b, s, i);
    }
    size_t words =
        (size_t)(batch ? 2 : 1) * eml_pack_panel16_floats((size_t)(k + 1) / 2, (size_t)n);
    uint32_t *packed = malloc((words + 1) * sizeof *packed);
    assert_non_null(packed);
    packed[words] = 77;
    eml_pack_panel16_bf16(packed, pb, batch ? 2 : 1, (size_t)k, (size_t)n);
    assert_int_equal(packed[words], 77);
    b.in[1].data = packed;
    b.in[1].layout = EML_LAYOUT_PANEL16_BF16;
    check(&b, eml_op_matmul, eml_scratch_matmul, want);
    b.in[1].data = pb;
    finish(&b, NULL);
    free(packed);
    free(want);
}

static void bf16_matches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("bf16");
    for (int i = 0; i < 150; i++)
        check_matmul_bf16(&g, eml_gen_range(&g, 1, 20), eml_gen_range(&g, 1, 70),
                          eml_gen_range(&g, 1, 90));
    check_matmul_bf16(&g, 9, 30, 8001); /* K in several ranges, odd */
}

static void matmul_matches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("matmul");
    for (int i = 0; i < 300; i++)
        check_matmul(&g, eml_gen_range(&g, 0, 40), eml_gen_range(&g, 0, 100),
                     eml_gen_range(&g, 0, 70));
    check_matmul(&g, 130, 64, 128); /* attention */
    check_matmul(&g, 3, 96, 5000);  /* K in ranges */
    check_matmul(&g, 200, 500, 300);
}

static void matmul_takes_vectors(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("vectors");
    struct bench b;
    int64_t k = 37, n = 21, b_dim[] = {k, n};
    for (int form = 0; form < 2; form++) { /* [k] x [k, n], [n, k] x [k] */
        start(&b, &g, EML_OP_MATMUL);
        int64_t a_dim[] = {n, k};
        b.in[0] = form ? tensor(&g, 2, a_dim) : tensor(&g, 1, &k);
        b.in[1] = form ? tensor(&g, 1, &k) : tensor(&g, 2, b_dim);
        b.out = tensor(&g, 1, &n);
        b.n_in = 2;
        double *want = wanted(&b);
        const float *x = b.in[0].data, *y = b.in[1].data;
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < k; j++)
                want[i] += form ? (double)x[i * k + j] * (double)y[j]
                                : (double)x[j] * (double)y[j * n + i];
        }
        check(&b, eml_op_matmul, eml_scratch_matmul, want);
        finish(&b, NULL);
        free(want);
    }
}

/* ---- Gemm ---- */

static void check_gemm(struct eml_gen *g)
{
    struct bench b;
    start(&b, g, EML_OP_GEMM);
    int64_t m = eml_gen_range(g, 1, 30), n = eml_gen_range(g, 1, 60), k = eml_gen_range(g, 0, 50);
    bool ta = eml_gen_bool(g), tb = eml_gen_bool(g), simple = eml_gen_bool(g);
    int64_t a_dim[] = {ta ? k : m, ta ? m : k}, b_dim[] = {tb ? n : k, tb ? k : n};
    int64_t out_dim[] = {m, n};
    b.in[0] = tensor(g, 2, a_dim);
    b.in[1] = tensor(g, 2, b_dim);
    b.out = tensor(g, 2, out_dim);
    b.params[0] = simple ? 1.0F : 0.5F;
    b.params[1] = simple ? 1.0F : -1.5F;
    b.n_params = 2;
    draw_fusion(&b, n, true);
    set_int(&b, EML_ATTR_TRANS_A, ta);
    set_int(&b, EML_ATTR_TRANS_B, tb);
    free(b.in[2].data);
    int64_t c_dim[] = {eml_gen_bool(g) ? m : 1, eml_gen_bool(g) ? n : 1};
    uint32_t c_rank = (uint32_t)eml_gen_range(g, 0, 2);
    b.in[2] = tensor(g, c_rank, c_dim + 2 - c_rank);
    const float *pa = b.in[0].data, *pb = b.in[1].data, *pc = b.in[2].data;
    double *want = wanted(&b);
    for (int64_t i = 0; i < m * n; i++) {
        int64_t row = i / n, column = i % n, c_columns = c_rank > 0 ? c_dim[1] : 1;
        double s = 0;
        for (int64_t x = 0; x < k; x++)
            s += (double)pa[ta ? x * m + row : row * k + x] *
                 (double)pb[tb ? column * k + x : x * n + column];
        int64_t c_row = c_rank == 2 && c_dim[0] > 1 ? row : 0;
        s = s * (double)b.params[0] +
            (double)b.params[1] * (double)pc[c_row * c_columns + (c_columns > 1 ? column : 0)];
        want[i] = fuse(&b, s, i);
    }
    check(&b, eml_op_gemm, eml_scratch_gemm, want);
    finish(&b, NULL);
    free(want);
}

static void gemm_matches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("gemm");
    for (int i = 0; i < 300; i++)
        check_gemm(&g);
}

/* ---- windows ---- */

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
    struct eml_winograd w;
    struct eml_spatial s = spatial_3x3(28, 64);
    bool has = kn->winograd_input != NULL;
    assert_int_equal(eml_winograd_plan(kn, &s, 64, 2, &w), has);
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

static double score(const struct bench *b, int64_t batch, int64_t head, int64_t i, int64_t j)
{
    const struct eml_view *q = &b->in[0], *k = &b->in[1], *m = &b->in[3];
    int64_t c = q->shape.dim[2], heads = b->node.attr[0].v[0], d = c / heads;
    const float *pq = (const float *)q->data + (batch * q->shape.dim[1] + i) * c + head * d;
    const float *pk = (const float *)k->data + (batch * k->shape.dim[1] + j) * c + head * d;
    double s = 0;
    for (int64_t x = 0; x < d; x++)
        s += (double)pq[x] * (double)pk[x];
    s *= (double)b->params[0];
    if (b->n_in < 4)
        return s;
    const int64_t full[4] = {batch, head, i, j};
    int64_t at = 0;
    for (uint32_t x = 0; x < m->shape.rank; x++) {
        int64_t n = m->shape.dim[x];
        at = at * n + (n > 1 ? full[4 - m->shape.rank + x] : 0);
    }
    return s + (double)((const float *)m->data)[at];
}

static void attention_row(const struct bench *b, double *want, int64_t batch, int64_t head,
                          int64_t i)
{
    const struct eml_view *v = &b->in[2];
    int64_t keys = v->shape.dim[1], c = v->shape.dim[2], e = c / b->node.attr[0].v[0];
    double total = 0, top = -INFINITY;
    for (int64_t j = 0; j < keys; j++)
        top = fmax(top, score(b, batch, head, i, j));
    for (int64_t j = 0; j < keys; j++) {
        double p = exp(score(b, batch, head, i, j) - top);
        total += p;
        for (int64_t x = 0; x < e; x++)
            want[x] += p * (double)((const float *)v->data)[(batch * keys + j) * c + head * e + x];
    }
    for (int64_t x = 0; x < e; x++)
        want[x] /= total > 0 ? total : 1;
}

static void check_attention(struct eml_gen *g, int64_t batch, int64_t heads, int64_t queries,
                            int64_t keys)
{
    struct bench b;
    start(&b, g, EML_OP_ATTENTION);
    int64_t d = eml_gen_range(g, 1, 40), e = 16 * eml_gen_range(g, 1, 5);
    b.in[0] = tensor(g, 3, (int64_t[]){batch, queries, heads * d});
    b.in[1] = tensor(g, 3, (int64_t[]){batch, keys, heads * d});
    b.in[2] = tensor(g, 3, (int64_t[]){batch, keys, heads * e});
    b.n_in = 3;
    if (eml_gen_bool(g)) {
        int64_t m[4] = {eml_gen_bool(g) ? batch : 1, eml_gen_bool(g) ? heads : 1,
                        eml_gen_bool(g) ? queries : 1, keys};
        uint32_t drop = (uint32_t)eml_gen_range(g, 0, 3);
        b.in[b.n_in++] = tensor(g, 4 - drop, m + drop);
    }
    set_int(&b, EML_ATTR_NUM_HEADS, heads);
    b.params[0] = eml_gen_bool(g) ? 1 : 0.4F;
    b.n_params = 1;
    b.out = tensor(g, 3, (int64_t[]){batch, queries, heads * e});
    b.k = (double)(keys + d);
    double *want = wanted(&b);
    for (int64_t i = 0; i < batch * queries * heads; i++)
        attention_row(&b, want + i * e, i / heads / queries, i % heads, i / heads % queries);
    check(&b, eml_op_attention, eml_scratch_attention, want);
    finish(&b, NULL);
    free(want);
}

static void attention_matches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("attention");
    for (int i = 0; i < 60; i++)
        check_attention(&g, eml_gen_range(&g, 1, 3), eml_gen_range(&g, 1, 5),
                        eml_gen_range(&g, 1, 30), eml_gen_range(&g, 1, 70));
    check_attention(&g, 1, 2, 300, 40); /* several tasks per head */
    check_attention(&g, 1, 2, 5, 0);
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

/* ---- operands that do not fit ---- */

static void wrong_operands_are_refused(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("wrong");
    int64_t a_dim[] = {3, 4}, b_dim[] = {4, 5}, out_dim[] = {3, 5}, four = 4;
    struct bench b;
    start(&b, &g, EML_OP_MATMUL);
    b.in[0] = tensor(&g, 2, a_dim);
    b.in[1] = tensor(&g, 2, b_dim);
    b.in[2] = tensor(&g, 1, &four);
    b.in[3] = tensor(&g, 2, a_dim);
    b.out = tensor(&g, 2, out_dim);
    uint8_t scratch[4096];
    struct eml_why why;
    struct eml_op_ctx c = {.node = &b.node,
                           .in = b.in,
                           .out = &b.out,
                           .n_in = 3,
                           .n_out = 1,
                           .params = b.params,
                           .scratch = EML_ROOM(scratch),
                           .threads = 1,
                           .kernels = &eml_kernels_ref,
                           .why = &why};
    assert_int_equal(eml_op_matmul(&c), EML_E_INPUT);
    assert_string_equal(why.rule, "bias: not one per output channel");
    c.n_in = 4;
    struct eml_view bias = b.in[2];
    b.in[2] = (struct eml_view){.dtype = EML_DT_NONE};
    assert_int_equal(eml_op_matmul(&c), EML_E_INPUT);
    assert_string_equal(why.rule, "residual: shape is not the output's");
    b.in[2] = bias;
    c.n_in = 3;
    set_int(&b, EML_ATTR_ACT, EML_ACT_PRELU);
    assert_int_equal(eml_op_matmul(&c), EML_E_INPUT);
    assert_string_equal(why.rule, "activation: slope is not one per channel");
    b.ints[0][0] = EML_ACT_CLIP;
    assert_int_equal(eml_op_matmul(&c), EML_E_INPUT);
    assert_string_equal(why.rule, "activation: its numbers are missing");
    b.n_in = 4;
    finish(&b, NULL);
}

int main(void)
{
    for (unsigned i = 0; i < 3; i++)
        if (eml_pool_create(i + 1, &pools[i]) != EML_OK)
            return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_matches),
        cmocka_unit_test(matmul_takes_vectors),
        cmocka_unit_test(gemm_matches),
        cmocka_unit_test(conv_matches),
        cmocka_unit_test(winograd_matches),
        cmocka_unit_test(bf16_matches),
        cmocka_unit_test(attention_matches),
        cmocka_unit_test(conv_transpose_matches),
        cmocka_unit_test(pools_match),
        cmocka_unit_test(global_pools_match),
        cmocka_unit_test(wrong_operands_are_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (unsigned i = 0; i < 3; i++)
        eml_pool_destroy(pools[i]);
    return failed;
}
