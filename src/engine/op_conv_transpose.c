/* ConvTranspose, channels-last: one matrix product gives, for each input pixel, what it adds to
 * each pixel of its window ("columns": [pixel][group][tap][channel]); a second step adds these up
 * for each output pixel, so that threads never write to the same place.
 *
 * Where windows tile the output (stride == kernel), nothing is added up. An output row is then made
 * of one line of the windows of one input row: the product of that row with the weights of the line
 * is the output row itself. If a line is not a whole number of panels, the second step is a copy.
 */
#include "engine/exec.h"
#include "engine/fused.h"
#include "engine/gemm.h"
#include "engine/pack.h"
#include "engine/spatial.h"
#include "engine/wide.h"

#include <string.h>

enum {
    TAPS_AT_ONCE = 64,
    TASK_FLOATS = 64 * 1024 /* of columns, per task of the second step */
};

struct transpose {
    struct eml_spatial s;  /* in: x's pixels; out: y's */
    int64_t group, ci, co; /* channels per group */
    size_t columns;        /* per group: taps * co */
    bool tiled;            /* stride == kernel, nothing cut off: windows tile the output */
    bool direct;           /* and a line of a window is a whole number of panels */
    bool pack;
};

static enum eml_err transpose_of(const struct eml_op_ctx *c, struct transpose *v)
{
    struct eml_window w;
    const struct eml_shape *shape = &c->in[1].shape;
    EML_TRY(eml_window_make(c->node, &c->in[0].shape, shape, &w, c->why));
    *v = (struct transpose){.s = eml_spatial_of(&w), .group = w.group, .co = shape->dim[1]};
    if (w.group < 1 || v->s.c % w.group || shape->dim[0] != v->s.c)
        return eml_fail(c->why, EML_E_INPUT, "ConvTranspose: group does not divide the channels",
                        -1);
    v->ci = v->s.c / w.group;
    v->columns = (size_t)(v->s.taps * v->co);
    v->pack = c->in[1].layout == EML_LAYOUT_PLAIN;
    v->tiled = w.group == 1 && !eml_fused_in(c, 3);
    for (int d = 0; d < 3; d++)
        v->tiled = v->tiled && v->s.stride[d] == v->s.kernel[d] && v->s.dilation[d] == 1 &&
                   v->s.pad[d] == 0 && v->s.out[d] == v->s.in[d] * v->s.stride[d];
    v->direct = v->tiled && v->s.kernel[2] * v->co % EML_PANEL == 0;
    return EML_OK;
}

struct pieces {
    struct eml_gemm_offsets *rows;
    float *columns, *bias, *slope, *packed;
};

static size_t in_pixels(const struct transpose *v)
{
    return (size_t)(v->s.batch * v->s.in[0] * v->s.in[1] * v->s.in[2]);
}

static struct pieces take(struct eml_scratch *scratch, const struct transpose *v)
{
    struct pieces p = {0};
    if (v->direct)
        p.rows = eml_scratch_take(scratch, (size_t)(v->s.out[2] ? v->s.pixels / v->s.out[2] : 0),
                                  sizeof *p.rows);
    else
        p.columns =
            eml_scratch_take(scratch, in_pixels(v) * (size_t)v->group, v->columns * sizeof(float));
    p.bias = eml_scratch_take(scratch, v->columns, sizeof(float));
    p.slope = eml_scratch_take(scratch, v->columns, sizeof(float));
    if (v->pack)
        p.packed =
            eml_scratch_take(scratch, (size_t)v->group,
                             eml_pack_panel16_floats((size_t)v->ci, v->columns) * sizeof(float));
    return p;
}

bool eml_scratch_conv_transpose(const struct eml_op_ctx *c, size_t *bytes)
{
    struct transpose v;
    struct eml_scratch scratch = {0};
    *bytes = 0;
    if (eml_wide_is(c))
        return true;
    if (transpose_of(c, &v) != EML_OK)
        return false;
    take(&scratch, &v);
    *bytes = scratch.used;
    return !scratch.failed;
}

struct job {
    const struct transpose *v;
    const struct eml_kernels *kn;
    float *y;
    const float *columns;
    struct eml_epilogue epilogue;
};

/* Output row `i` of a tiled output: the row of input pixels and the line of their windows. */
static void row_source(const struct eml_spatial *s, int64_t i, size_t *row, size_t *line)
{
    int64_t y = i % s->out[1], z = i / s->out[1] % s->out[0], image = i / s->out[1] / s->out[0];
    *line = (size_t)(z % s->stride[0] * s->kernel[1] + y % s->stride[1]);
    *row = (size_t)((image * s->in[0] + z / s->stride[0]) * s->in[1] + y / s->stride[1]);
}

/* Each input pixel contributes one run of kernel[2] pixels to an output row. */
static void copy_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    const struct eml_spatial *s = &j->v->s;
    (void)thread;
    size_t run = (size_t)(s->kernel[2] * j->v->co), width = (size_t)s->in[2];
    for (int64_t i = begin; i < end; i++) {
        size_t row, line;
        row_source(s, i, &row, &line);
        const float *from = j->columns + row * width * j->v->columns + line * run;
        float *to = j->y + (size_t)i * width * run;
        for (size_t x = 0; x < width; x++, from += j->v->columns) {
            for (size_t k = 0; k < run; k++)
                to[x * run + k] = from[k];
        }
        if (j->epilogue.act.act != EML_ACT_NONE)
            j->kn->act(to, to, width * run, &j->epilogue.act);
    }
}

/* Adds up to TAPS_AT_ONCE pieces to y; the first time y is set. */
static void add_up(const struct job *j, float *y, const float *const *pieces, size_t n, bool first)
{
    size_t c = (size_t)j->v->co;
    const float *more[TAPS_AT_ONCE + 1];
    if (n == 0 && first)
        memset(y, 0, c * sizeof *y);
    if (n == 0)
        return;
    size_t total = 0;
    if (!first)
        more[total++] = y;
    for (size_t i = 0; i < n; i++)
        more[total++] = pieces[i];
    j->kn->pool_sum(y, more, total, c, 1.0F);
}

static void gather(const struct job *j, const struct eml_pixel *p, int64_t group, float *out)
{
    const struct eml_spatial *s = &j->v->s;
    const float *pieces[TAPS_AT_ONCE];
    size_t n = 0;
    bool first = true;
    for (int64_t tap = 0; tap < s->taps; tap++) {
        int64_t z, y, x, kx = tap % s->kernel[2], ky = tap / s->kernel[2] % s->kernel[1];
        if (!eml_spatial_source(s, 2, p->at[2], kx, &x) ||
            !eml_spatial_source(s, 1, p->at[1], ky, &y) ||
            !eml_spatial_source(s, 0, p->at[0], tap / s->kernel[2] / s->kernel[1], &z))
            continue;
        int64_t pixel = ((p->image * s->in[0] + z) * s->in[1] + y) * s->in[2] + x;
        pieces[n++] =
            j->columns + (size_t)(pixel * j->v->group + group) * j->v->columns + tap * j->v->co;
        if (n == TAPS_AT_ONCE) {
            add_up(j, out, pieces, n, first);
            first = false;
            n = 0;
        }
    }
    add_up(j, out, pieces, n, first);
}

static void gather_pixels(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    const struct transpose *v = j->v;
    (void)thread;
    size_t channels = (size_t)(v->group * v->co);
    struct eml_pixel p = eml_pixel_at(&v->s, begin);
    for (int64_t i = begin; i < end; i++, eml_pixel_next(&v->s, &p)) {
        float *y = j->y + (size_t)i * channels;
        for (int64_t g = 0; g < v->group; g++)
            gather(j, &p, g, y + g * v->co);
        if (j->epilogue.bias)
            j->kn->binary[EML_BINARY_ADD](y, y, j->epilogue.bias, channels);
        if (j->epilogue.residual)
            j->kn->binary[EML_BINARY_ADD](y, y, j->epilogue.residual + (size_t)i * channels,
                                          channels);
        if (j->epilogue.act.act != EML_ACT_NONE)
            j->kn->act(y, y, channels, &j->epilogue.act);
    }
}

/* A row per channel, repeated for each tap: NULL stays NULL. */
static const float *repeat(const struct transpose *v, const float *row, float *out)
{
    for (size_t i = 0; row && i < v->columns; i++)
        out[i] = row[i % (size_t)v->co];
    return row ? out : NULL;
}

static void multiply(const struct eml_op_ctx *c, const struct job *j, const float *w,
                     float *columns, const struct eml_epilogue *e)
{
    const struct transpose *v = j->v;
    size_t k = (size_t)v->ci, n = v->columns;
    for (size_t group = 0; group < (size_t)v->group; group++) {
        struct eml_gemm g = {.m = in_pixels(v),
                             .n = n,
                             .k = k,
                             .batch = 1,
                             .c = columns + group * n,
                             .ldc = (size_t)v->group * n,
                             .a = (const float *)c->in[0].data + group * k,
                             .lda = (size_t)v->s.c,
                             .b = w + group * eml_pack_panel16_floats(k, n),
                             .b_row = EML_PANEL,
                             .b_panel = EML_PANEL * k,
                             .epilogue = *e};
        eml_gemm_run(c->kernels, c->pool, &g);
    }
}

/* One product for each output row. */
static void multiply_rows(const struct eml_op_ctx *c, const struct job *j, const float *w,
                          struct eml_gemm_offsets *rows, const struct eml_epilogue *e)
{
    const struct transpose *v = j->v;
    size_t k = (size_t)v->ci, n = (size_t)(v->s.kernel[2] * v->co), m = (size_t)v->s.in[2];
    size_t batch = (size_t)(v->s.pixels / v->s.out[2]);
    for (size_t i = 0; i < batch; i++) {
        size_t row, line;
        row_source(&v->s, (int64_t)i, &row, &line);
        rows[i] = (struct eml_gemm_offsets){row * m * k, line * n * k, i * m * n, 0};
    }
    struct eml_gemm g = {.m = m,
                         .n = n,
                         .k = k,
                         .batch = batch,
                         .c = j->y,
                         .ldc = n,
                         .a = c->in[0].data,
                         .lda = k,
                         .b = w,
                         .b_row = EML_PANEL,
                         .b_panel = EML_PANEL * k,
                         .epilogue = *e,
                         .offsets = rows};
    eml_gemm_run(c->kernels, c->pool, &g);
}

/* Bias, and where it cannot be applied to whole rows the activation, are part of the product. */
static void run_tiled(const struct eml_op_ctx *c, struct job *j, const struct pieces *p,
                      const float *w)
{
    const struct transpose *v = j->v;
    struct eml_epilogue e = j->epilogue;
    e.bias = repeat(v, e.bias, p->bias);
    e.act.slope = repeat(v, e.act.slope, p->slope);
    if (v->direct) {
        multiply_rows(c, j, w, p->rows, &e);
        return;
    }
    if (e.act.act == EML_ACT_PRELU)
        j->epilogue.act.act = EML_ACT_NONE;
    else
        e.act.act = EML_ACT_NONE;
    multiply(c, j, w, p->columns, &e);
    eml_pool_for(c->pool, v->s.pixels / v->s.out[2], TASK_FLOATS / (v->s.out[2] * v->co) + 1,
                 copy_rows, j);
}

enum eml_err eml_op_conv_transpose(const struct eml_op_ctx *c)
{
    if (eml_wide_is(c))
        return eml_wide_conv_transpose(c);
    struct transpose v;
    EML_TRY(transpose_of(c, &v));
    struct eml_scratch scratch = eml_scratch_of(c);
    struct pieces p = take(&scratch, &v);
    if (scratch.failed)
        EML_BUG();
    struct job j = {.v = &v, .kn = c->kernels, .y = c->out[0].data, .columns = p.columns};
    EML_TRY(eml_fused_epilogue(c, 0, v.group * v.co, &j.epilogue));
    if (c->out[0].count == 0)
        return EML_OK;
    const float *w = c->in[1].data;
    if (v.pack) {
        eml_pack_conv_transpose(p.packed, w, (size_t)v.s.c, (size_t)v.co, (size_t)v.s.taps,
                                (size_t)v.group);
        w = p.packed;
    }
    if (v.tiled) {
        run_tiled(c, &j, &p, w);
        return EML_OK;
    }
    multiply(c, &j, w, p.columns, &(struct eml_epilogue){0});
    eml_pool_for(c->pool, v.s.pixels, TASK_FLOATS / (v.s.taps * v.co * v.group + 16) + 1,
                 gather_pixels, &j);
    return EML_OK;
}
