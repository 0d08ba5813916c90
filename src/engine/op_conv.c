/* Conv, channels-last: as a matrix product whose rows are found by indirection, or channel by
 * channel if depthwise.
 *
 * A row of the product is an output pixel; K runs over the window's lines (kz, ky), the pixels of a
 * line (kx) and the channels. For each tile a few pointers per pixel say where the pieces of K lie:
 * one per line where the whole line is inside the image (its pixels follow each other in memory),
 * else one per tap, those in the padding pointing at zeros. Both add up in the same order. Large 3
 * x 3 windows go another way: winograd.h.
 */
#include "engine/exec.h"
#include "engine/fused.h"
#include "engine/gemm.h"
#include "engine/pack.h"
#include "engine/spatial.h"
#include "engine/weights.h"
#include "engine/wide.h"
#include "engine/winograd.h"

#include <string.h>

enum {
    K_RANGE = 2048,          /* rows of the packed weights per pass, see gemm.c */
    TAPS_PER_PASS = 512,     /* bounds the pointers of a pass */
    TASK_MULTIPLIES = 100000 /* of depthwise convolution: about 8 microseconds */
};

struct conv {
    struct eml_spatial s;
    int64_t group, ci, co; /* channels per group */
    bool depthwise, pointwise, winograd;
    struct eml_winograd fast; /* if winograd */
    int64_t lines, lines_per_pass;
    size_t pointers, zeros,
        packed; /* elements of scratch; packed 0 if weights are packed already */
};

static enum eml_err conv_of(const struct eml_op_ctx *c, struct conv *v)
{
    struct eml_window w;
    EML_TRY(eml_window_make(c->node, &c->in[0].shape, &c->in[1].shape, &w, c->why));
    int64_t o = c->in[1].shape.dim[0];
    *v = (struct conv){.s = eml_spatial_of(&w), .group = w.group};
    struct eml_spatial *s = &v->s;
    enum eml_layout layout = c->in[1].layout;
    if (w.group < 1 || s->c % w.group || o % w.group || c->in[1].shape.dim[1] != s->c / w.group)
        return eml_fail(c->why, EML_E_INPUT, "Conv: group does not divide the channels", -1);
    v->ci = s->c / w.group;
    v->co = o / w.group;
    v->depthwise = layout == EML_LAYOUT_DEPTHWISE ||
                   (layout == EML_LAYOUT_PLAIN && w.group > 1 && v->ci == 1 && v->co == 1);
    if (v->depthwise && (v->ci != 1 || v->co != 1))
        return eml_fail(c->why, EML_E_INPUT, "Conv: depthwise weights for another shape", -1);
    v->pointwise = s->taps == 1 && w.group == 1;
    for (int d = 0; d < 3; d++)
        v->pointwise = v->pointwise && s->stride[d] == 1 && s->pad[d] == 0 && s->out[d] == s->in[d];
    v->winograd = w.group == 1 && eml_winograd_plan(c->kernels, s, (size_t)o, c->threads, &v->fast);
    v->lines = s->kernel[0] * s->kernel[1];
    int64_t per_pass = K_RANGE / (s->kernel[2] * v->ci + 1), taps = TAPS_PER_PASS / s->kernel[2];
    v->lines_per_pass = per_pass < taps ? per_pass : taps;
    if (v->lines_per_pass < 1)
        v->lines_per_pass = 1;
    if (v->lines_per_pass > v->lines)
        v->lines_per_pass = v->lines;
    size_t taps_n = (size_t)s->taps;
    v->pointers =
        v->depthwise ? taps_n : (size_t)(v->lines_per_pass * s->kernel[2]) * c->kernels->mr;
    v->zeros = (size_t)(v->depthwise ? s->in[2] * s->c : s->kernel[2] * v->ci);
    if (layout == EML_LAYOUT_PLAIN)
        v->packed =
            v->depthwise
                ? taps_n * eml_pack_panel16_floats(1, (size_t)s->c)
                : (size_t)v->group * eml_pack_panel16_floats(taps_n * (size_t)v->ci, (size_t)v->co);
    return EML_OK;
}

struct pieces {
    const float **pointers; /* per thread: `stride` of them */
    size_t stride;
    float *zeros, *packed;
    struct eml_winograd_pieces fast;
};

static struct pieces take(struct eml_scratch *scratch, const struct conv *v, unsigned threads)
{
    struct pieces p = {.stride = (v->pointers + 7) / 8 * 8};
    if (v->winograd) {
        p.fast = eml_winograd_take(scratch, &v->fast, threads);
    } else if (!v->pointwise) {
        p.pointers = eml_scratch_take(scratch, threads * p.stride, sizeof *p.pointers);
        p.zeros = eml_scratch_take(scratch, v->zeros, sizeof(float));
    }
    if (v->packed)
        p.packed = eml_scratch_take(scratch, v->packed, sizeof(float));
    return p;
}

bool eml_scratch_conv(const struct eml_op_ctx *c, size_t *bytes)
{
    *bytes = 0;
    if (eml_wide_is(c))
        return true;
    struct conv v;
    struct eml_scratch scratch = {0};
    if (conv_of(c, &v) != EML_OK)
        return false;
    take(&scratch, &v, c->threads);
    *bytes = scratch.used;
    return !scratch.failed;
}

struct job {
    const struct conv *v;
    const struct eml_kernels *kn;
    float *y;
    const float *x, *w;
    struct pieces p;
    struct eml_epilogue epilogue;
    struct eml_gemm_cut cut;
    struct eml_weights_window *window; /* where weights are opened as they are read, or NULL */
    const struct eml_view *own;        /* they, if threads open them for themselves */
};

enum eml_weights_use eml_use_conv(const struct eml_op_ctx *c, uint32_t i, uint64_t bytes,
                                  size_t *piece)
{
    struct conv v;
    if (i != 1 || c->in[1].layout != EML_LAYOUT_PANEL16)
        return EML_WEIGHTS_WHOLE;
    /* Small ones are read where they are mapped, whatever the convolution is. */
    if (eml_gemm_use(c->kernels, 1, bytes, piece) == EML_WEIGHTS_LAZY)
        return EML_WEIGHTS_LAZY;
    if (conv_of(c, &v) != EML_OK)
        return EML_WEIGHTS_WHOLE;
    if (v.group != 1 || v.winograd)
        return EML_WEIGHTS_LAZY;
    return eml_gemm_use(c->kernels, (size_t)(v.s.taps * v.ci), bytes, piece);
}

static bool line_inside(const struct eml_spatial *s, int64_t at)
{
    int64_t x = at * s->stride[2] - s->pad[2];
    return x >= 0 && x + s->kernel[2] <= s->in[2];
}

static bool in_one_row(const struct eml_spatial *s, const struct eml_pixel *p, size_t m)
{
    return p->at[2] + (int64_t)m <= s->out[2];
}

/* Whether each of m pixels has its whole line inside the image and gapless in memory. */
static bool is_run(const struct conv *v, struct eml_pixel p, size_t m)
{
    const struct eml_spatial *s = &v->s;
    if (s->kernel[2] != 1 && (s->dilation[2] != 1 || v->group != 1))
        return false;
    if (in_one_row(s, &p, m))
        return line_inside(s, p.at[2]) && line_inside(s, p.at[2] + (int64_t)m - 1);
    for (size_t r = 0; r < m; r++, eml_pixel_next(s, &p)) {
        if (!line_inside(s, p.at[2]))
            return false;
    }
    return true;
}

/* Input row that line (kz, ky) of the window of a pixel sees; NULL in the padding. */
static const float *line_of(const struct eml_spatial *s, const struct eml_pixel *p, const float *x,
                            int64_t kz, int64_t ky)
{
    int64_t z = eml_spatial_in(s, 0, p->at[0], kz), y = eml_spatial_in(s, 1, p->at[1], ky);
    if (!eml_spatial_inside(s, 0, z) || !eml_spatial_inside(s, 1, y))
        return NULL;
    return x + eml_spatial_offset(s, p->image, z, y, 0);
}

/* Pointers of m pixels of one output row whose lines are runs: out[line][m]. */
static void run_pointers(const struct job *j, const struct eml_pixel *p, const float *x, size_t m,
                         int64_t line0, int64_t line1, const float **out)
{
    const struct eml_spatial *s = &j->v->s;
    int64_t kz = s->kernel[0] == 1 ? 0 : line0 / s->kernel[1], ky = line0 - kz * s->kernel[1];
    int64_t x0 = (p->at[2] * s->stride[2] - s->pad[2]) * s->c;
    for (int64_t line = line0; line < line1; line++) {
        const float *at = line_of(s, p, x, kz, ky);
        size_t step = at ? (size_t)(s->stride[2] * s->c) : 0;
        at = at ? at + x0 : j->p.zeros;
        for (size_t r = 0; r < m; r++)
            *out++ = at + r * step;
        if (++ky == s->kernel[1]) {
            ky = 0;
            kz++;
        }
    }
}

/* Pointers of one pixel, lines [line0, line1): out[q * m], q by line if `run`, else by tap. */
static void pixel_pointers(const struct job *j, const struct eml_pixel *p, const float *x, size_t m,
                           int64_t line0, int64_t line1, bool run, const float **out)
{
    const struct eml_spatial *s = &j->v->s;
    int64_t kz = s->kernel[0] == 1 ? 0 : line0 / s->kernel[1], ky = line0 - kz * s->kernel[1];
    int64_t x0 = p->at[2] * s->stride[2] - s->pad[2], c = s->c;
    for (int64_t line = line0; line < line1; line++) {
        const float *row = line_of(s, p, x, kz, ky);
        if (++ky == s->kernel[1]) {
            ky = 0;
            kz++;
        }
        if (run) {
            *out = row ? row + x0 * c : j->p.zeros;
            out += m;
            continue;
        }
        int64_t at = x0;
        for (int64_t k = 0; k < s->kernel[2]; k++, at += s->dilation[2], out += m)
            *out = row && eml_spatial_inside(s, 2, at) ? row + at * c : j->p.zeros;
    }
}

/* The pointers of m pixels from *p on, which is moved behind them. True if they are by line. */
static bool block_pointers(const struct job *j, struct eml_pixel *p, const float *x, size_t m,
                           int64_t line0, int64_t line1, const float **out)
{
    bool run = is_run(j->v, *p, m);
    if (run && in_one_row(&j->v->s, p, m)) {
        run_pointers(j, p, x, m, line0, line1, out);
        p->at[2] += (int64_t)m - 1;
        eml_pixel_next(&j->v->s, p);
        return true;
    }
    for (size_t r = 0; r < m; r++, eml_pixel_next(&j->v->s, p))
        pixel_pointers(j, p, x, m, line0, line1, run, out + r);
    return run;
}

/* Weights of the column groups [g0, g1) of one group of channels. */
struct columns {
    int64_t group;
    size_t g0, g1;
    size_t from, to; /* panels, counted through all groups of channels */
    const float *w;  /* panel w_first */
    size_t w_first;
};

/* Pixels [row, row + m), from *p on, lines [line0, line1). */
static void block(const struct job *j, const float **pointers, const struct columns *c,
                  struct eml_pixel *p, size_t row, size_t m, int64_t line0, int64_t line1)
{
    const struct conv *v = j->v;
    size_t co = (size_t)v->co, ldc = (size_t)(v->group * v->co),
           line = (size_t)(v->s.kernel[2] * v->ci);
    bool run = block_pointers(j, p, j->x + c->group * v->ci, m, line0, line1, pointers);
    struct eml_tile t = {.ldc = ldc,
                         .m = m,
                         .rows = pointers,
                         .n_blocks = (size_t)((line1 - line0) * (run ? 1 : v->s.kernel[2])),
                         .block = run ? line : (size_t)v->ci,
                         .b_row = EML_PANEL,
                         .b_panel = EML_PANEL * line * (size_t)v->lines,
                         .accumulate = line0 > 0};
    for (size_t g = c->g0; g < c->g1; g++) {
        size_t panel = g * j->cut.panels / j->cut.groups;
        size_t end = (g + 1) * j->cut.panels / j->cut.groups * EML_PANEL;
        size_t column = panel * EML_PANEL, channel = (size_t)c->group * co + column;
        struct eml_epilogue e = eml_epilogue_at(&j->epilogue, row, channel);
        t.c = j->y + row * ldc + channel;
        t.n = (end < co ? end : co) - column;
        t.b = c->w + ((size_t)c->group * j->cut.panels + panel - c->w_first) * t.b_panel +
              (size_t)line0 * line * EML_PANEL;
        t.epilogue = line1 == v->lines ? &e : NULL;
        j->kn->gemm_tile(&t);
    }
}

static size_t line_floats(const struct job *j)
{
    return (size_t)(j->v->s.kernel[2] * j->v->ci);
}

static struct columns columns_of(const struct job *j, int64_t group, size_t task, unsigned thread)
{
    const struct eml_gemm_cut *cut = &j->cut;
    size_t base = (size_t)group * cut->panels, g0 = task * cut->groups_per_task;
    struct columns c = {.group = group, .g0 = g0, .w = j->w};
    c.g1 = g0 + cut->groups_per_task < cut->groups ? g0 + cut->groups_per_task : cut->groups;
    c.from = base + g0 * cut->panels / cut->groups;
    c.to = base + c.g1 * cut->panels / cut->groups;
    if (j->own != NULL) {
        size_t panel = EML_PANEL * line_floats(j) * (size_t)j->v->lines;
        c.w = eml_gemm_own(j->window, j->own, thread, panel, c.from, c.to);
        c.w_first = c.from;
    }
    return c;
}

static bool open_lines(const struct job *j, const struct columns *c, int64_t line0, int64_t line1)
{
    size_t line = line_floats(j), all = line * (size_t)j->v->lines;
    if (c->w == NULL || j->own != NULL)
        return c->w != NULL;
    return eml_gemm_open(j->window, c->w, EML_PANEL * all, c->from, c->to, (size_t)line0 * line,
                         (size_t)(line1 - line0) * line, all);
}

static void tasks(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    const struct eml_gemm_cut *cut = &j->cut;
    const float **pointers = j->p.pointers + thread * j->p.stride;
    size_t per_group = cut->row_tiles * cut->column_tasks, pixels = (size_t)j->v->s.pixels;
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        int64_t group = (int64_t)(i / per_group);
        size_t row_tile, column_task;
        eml_gemm_task(cut, i % per_group, &row_tile, &column_task);
        size_t row0 = row_tile * cut->rows;
        size_t row_end = row0 + cut->rows < pixels ? row0 + cut->rows : pixels;
        struct columns c = columns_of(j, group, column_task, thread);
        for (int64_t line = 0; line < j->v->lines; line += j->v->lines_per_pass) {
            int64_t left = j->v->lines - line;
            int64_t line1 = line + (left < j->v->lines_per_pass ? left : j->v->lines_per_pass);
            struct eml_pixel p = eml_pixel_at(&j->v->s, (int64_t)row0);
            if (!open_lines(j, &c, line, line1))
                return;
            for (size_t row = row0; row < row_end; row += j->kn->mr) {
                size_t m = row_end - row < j->kn->mr ? row_end - row : j->kn->mr;
                block(j, pointers, &c, &p, row, m, line, line1);
            }
        }
    }
}

/* n output pixels along x from pixel `row` on: one in whose window padding may lie at the sides, or
 * a run without. Lines above and below the image read zeros, which are as long as an image row. */
static void depthwise_run(const struct job *j, const float **pointers, struct eml_pixel *p,
                          size_t row, size_t n)
{
    const struct eml_spatial *s = &j->v->s;
    size_t c = (size_t)s->c;
    pixel_pointers(j, p, j->x, 1, 0, j->v->lines, false, pointers);
    struct eml_epilogue e = eml_epilogue_at(&j->epilogue, row, 0);
    struct eml_depthwise d = {.y = j->y + row * c,
                              .ldy = c,
                              .pixels = n,
                              .taps = (size_t)s->taps,
                              .c = c,
                              .x = pointers,
                              .x_step = (size_t)s->stride[2] * c,
                              .w = j->w,
                              .w_stride = eml_pack_panel16_floats(1, c),
                              .epilogue = &e};
    j->kn->depthwise(&d);
    p->at[2] += (int64_t)n;
}

/* Item: a row of output pixels. Pixels [x0, x1) have no padding at the sides. */
static void depthwise_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    const struct eml_spatial *s = &j->v->s;
    const float **pointers = j->p.pointers + thread * j->p.stride;
    int64_t width = s->out[2], reach = (s->kernel[2] - 1) * s->dilation[2];
    int64_t x0 = s->pad[2] > 0 ? (s->pad[2] - 1) / s->stride[2] + 1 : 0;
    int64_t last = s->in[2] - 1 - reach + s->pad[2]; /* where the last such window may start */
    int64_t x1 = last < 0 ? 0 : last / s->stride[2] + 1;
    x1 = x1 < width ? x1 : width;
    for (int64_t i = begin; i < end; i++) {
        size_t row = (size_t)(i * width);
        struct eml_pixel p = eml_pixel_at(s, i * width);
        while (p.at[2] < width) {
            int64_t x = p.at[2], n = x >= x0 && x < x1 ? x1 - x : 1;
            depthwise_run(j, pointers, &p, row + (size_t)x, (size_t)n);
        }
    }
}

static void run_pointwise(const struct eml_op_ctx *c, const struct job *j)
{
    const struct conv *v = j->v;
    struct eml_gemm g = {.m = (size_t)v->s.pixels,
                         .n = (size_t)v->co,
                         .k = (size_t)v->ci,
                         .batch = 1,
                         .c = j->y,
                         .ldc = (size_t)v->co,
                         .a = j->x,
                         .lda = (size_t)v->ci,
                         .b = j->w,
                         .b_row = EML_PANEL,
                         .b_panel = EML_PANEL * (size_t)v->ci,
                         .epilogue = j->epilogue,
                         .window = j->window,
                         .own = j->own};
    eml_gemm_run(c->kernels, c->pool, &g);
}

static void run_windows(const struct eml_op_ctx *c, struct job *j)
{
    const struct conv *v = j->v;
    memset(j->p.zeros, 0, v->zeros * sizeof(float));
    if (v->depthwise) {
        int64_t per_row = v->s.out[2] * v->s.c * v->s.taps;
        eml_pool_for(c->pool, v->s.pixels / v->s.out[2], TASK_MULTIPLIES / per_row + 1,
                     depthwise_rows, j);
        return;
    }
    const int64_t *in = v->s.in;
    size_t pixels = (size_t)v->s.pixels, co = (size_t)v->co;
    j->cut = j->own != NULL ? eml_gemm_cut_own(c->kernels, pixels, co, eml_pool_threads(c->pool))
                            : eml_gemm_cut(c->kernels, pixels, co, (size_t)(v->s.taps * v->ci),
                                           (size_t)(v->s.batch * in[0] * in[1] * in[2] * v->ci));
    size_t n = (size_t)v->group * j->cut.row_tiles * j->cut.column_tasks;
    eml_pool_for(c->pool, (int64_t)n, 1, tasks, j);
}

enum eml_err eml_op_conv(const struct eml_op_ctx *c)
{
    if (eml_wide_is(c))
        return eml_wide_conv(c);
    struct conv v;
    EML_TRY(conv_of(c, &v));
    struct eml_scratch scratch = eml_scratch_of(c);
    struct job j = {.v = &v,
                    .kn = c->kernels,
                    .y = c->out[0].data,
                    .x = c->in[0].data,
                    .w = c->in[1].data,
                    .p = take(&scratch, &v, c->threads)};
    if (scratch.failed)
        EML_BUG();
    EML_TRY(eml_fused_epilogue(c, 0, v.group * v.co, &j.epilogue));
    if (c->out[0].count == 0)
        return EML_OK;
    if (c->in[1].layout == EML_LAYOUT_PANEL16) {
        j.window = c->window;
        j.own = c->window != NULL && c->in[1].data == NULL ? &c->in[1] : NULL;
    }
    if (v.packed) {
        if (v.depthwise)
            eml_pack_depthwise(j.p.packed, j.w, (size_t)v.s.c, (size_t)v.s.taps);
        else
            eml_pack_conv(j.p.packed, j.w, (size_t)(v.group * v.co), (size_t)v.ci, (size_t)v.s.taps,
                          (size_t)v.group);
        j.w = j.p.packed;
    }
    if (v.winograd)
        eml_winograd_run(&v.fast, &j.p.fast, c->kernels, c->pool, j.y, j.x, j.w, j.window,
                         &j.epilogue);
    else if (v.pointwise)
        run_pointwise(c, &j);
    else
        run_windows(c, &j);
    return EML_OK;
}
