/* MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, channels-last: each output pixel is the
 * maximum or the sum of rows of channels. */
#include "engine/exec.h"
#include "engine/fused.h"
#include "engine/pool_index.h"
#include "engine/spatial.h"
#include "engine/wide.h"

#include <math.h>
#include <string.h>

enum {
    ROWS_AT_ONCE = 64,
    TASK_FLOATS = 256 * 1024,
    CHANNELS_AT_ONCE = 256, /* of global pooling: a task's share, */
    CHANNELS_OF_MANY = 32   /* if it has many pixels */
};

struct job {
    struct eml_spatial s;
    const struct eml_kernels *kn;
    float *y;
    const float *x;
    double *wide_y; /* these two instead, of float64 */
    const double *wide_x;
    struct eml_act_spec act;
    bool is_max, count_padding;
    size_t share; /* of global pooling: channels of a task */
};

/* Reduces rows of c channels; `more` continues what y holds. */
static void reduce(const struct job *j, float *y, const float *const *rows, size_t n, size_t c,
                   bool more)
{
    const float *all[ROWS_AT_ONCE + 1];
    size_t total = 0;
    if (more)
        all[total++] = y;
    for (size_t i = 0; i < n; i++)
        all[total++] = rows[i];
    if (total == 0)
        return;
    if (j->is_max)
        j->kn->pool_max(y, all, total, c);
    else
        j->kn->pool_sum(y, all, total, c, 1.0F);
}

static int64_t div_up(int64_t a, int64_t b)
{
    return a <= 0 ? 0 : (a - 1) / b + 1;
}

/* First and end tap of dim d whose coordinate lies in [lo, hi). */
static void tap_range(const struct eml_spatial *s, int d, int64_t out, int64_t lo, int64_t hi,
                      int64_t *first, int64_t *end)
{
    int64_t start = eml_spatial_in(s, d, out, 0);
    *first = div_up(lo - start, s->dilation[d]);
    *end = div_up(hi - start, s->dilation[d]);
    *end = *end < s->kernel[d] ? *end : s->kernel[d];
    *first = *first < *end ? *first : *end;
}

/* Taps of a window that count as elements: with count_include_pad, those in the padding too, but
 * not those that ceil_mode adds beyond it. */
static int64_t divisor(const struct job *j, const struct eml_pixel *p)
{
    const struct eml_spatial *s = &j->s;
    int64_t n = 1;
    for (int d = 0; d < 3; d++) {
        int64_t first, end;
        if (j->count_padding)
            tap_range(s, d, p->at[d], -s->pad[d], s->in[d] + s->pad_end[d], &first, &end);
        else
            tap_range(s, d, p->at[d], 0, s->in[d], &first, &end);
        n *= end - first;
    }
    return n;
}

static void pixel(const struct job *j, const struct eml_pixel *p, float *y)
{
    const struct eml_spatial *s = &j->s;
    const float *rows[ROWS_AT_ONCE];
    size_t n = 0, c = (size_t)s->c;
    bool more = false;
    int64_t first[3], end[3];
    for (int d = 0; d < 3; d++)
        tap_range(s, d, p->at[d], 0, s->in[d], &first[d], &end[d]);
    for (int64_t kz = first[0]; kz < end[0]; kz++) {
        for (int64_t ky = first[1]; ky < end[1]; ky++) {
            const float *row =
                j->x + eml_spatial_offset(s, p->image, eml_spatial_in(s, 0, p->at[0], kz),
                                          eml_spatial_in(s, 1, p->at[1], ky), 0);
            for (int64_t kx = first[2]; kx < end[2]; kx++) {
                rows[n++] = row + eml_spatial_in(s, 2, p->at[2], kx) * s->c;
                if (n == ROWS_AT_ONCE) {
                    reduce(j, y, rows, n, c, more);
                    more = true;
                    n = 0;
                }
            }
        }
    }
    if (n == 0 && !more) { /* a window that lies wholly in the padding */
        for (size_t i = 0; i < c; i++)
            y[i] = j->is_max ? -INFINITY : 0;
        return;
    }
    reduce(j, y, rows, n, c, more);
}

static void pixels(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    (void)thread;
    size_t c = (size_t)j->s.c;
    struct eml_pixel p = eml_pixel_at(&j->s, begin);
    for (int64_t i = begin; i < end; i++, eml_pixel_next(&j->s, &p)) {
        float *y = j->y + (size_t)i * c;
        pixel(j, &p, y);
        if (!j->is_max) {
            int64_t n = divisor(j, &p);
            if (n > 0)
                j->kn->binary_scalar[EML_BINARY_DIV](y, y, (float)n, c);
        }
        if (j->act.act != EML_ACT_NONE)
            j->kn->act(y, y, c, &j->act);
    }
}

/* AveragePool of float64, one element after the other. */
static void wide_pixels(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    const struct eml_spatial *s = &j->s;
    (void)thread;
    struct eml_pixel p = eml_pixel_at(s, begin);
    for (int64_t i = begin; i < end; i++, eml_pixel_next(s, &p)) {
        double *y = j->wide_y + i * s->c;
        int64_t first[3], stop[3], n = divisor(j, &p);
        for (int d = 0; d < 3; d++)
            tap_range(s, d, p.at[d], 0, s->in[d], &first[d], &stop[d]);
        memset(y, 0, (size_t)s->c * sizeof *y);
        for (int64_t kz = first[0]; kz < stop[0]; kz++)
            for (int64_t ky = first[1]; ky < stop[1]; ky++)
                for (int64_t kx = first[2]; kx < stop[2]; kx++) {
                    const double *x = j->wide_x + eml_spatial_offset(
                                                      s, p.image, eml_spatial_in(s, 0, p.at[0], kz),
                                                      eml_spatial_in(s, 1, p.at[1], ky),
                                                      eml_spatial_in(s, 2, p.at[2], kx));
                    for (int64_t ch = 0; ch < s->c; ch++)
                        y[ch] += x[ch];
                }
        for (int64_t ch = 0; ch < s->c && n > 0; ch++)
            y[ch] /= (double)n;
    }
}

static enum eml_err windowed(const struct eml_op_ctx *c, bool is_max)
{
    struct eml_window w;
    EML_TRY(eml_window_make(c->node, &c->in[0].shape, NULL, &w, c->why));
    struct job j = {.s = eml_spatial_of(&w),
                    .kn = c->kernels,
                    .y = c->out[0].data,
                    .x = c->in[0].data,
                    .is_max = is_max,
                    .count_padding = eml_node_int(c->node, EML_ATTR_COUNT_INCLUDE_PAD, 0) != 0};
    EML_TRY(eml_fused_act(c, 0, j.s.c, &j.act));
    if (c->out[0].count == 0)
        return EML_OK;
    const bool wide = eml_wide_is(c);
    if (wide) {
        j.wide_y = c->out[0].data;
        j.wide_x = c->in[0].data;
    }
    eml_pool_for(c->pool, j.s.pixels, TASK_FLOATS / (j.s.taps * j.s.c + 64) + 1,
                 wide ? wide_pixels : pixels, &j);
    return EML_OK;
}

enum eml_err eml_op_max_pool(const struct eml_op_ctx *c)
{
    if (c->n_out > 1 || c->in[0].dtype != EML_DT_F32)
        return eml_max_pool_indexed(c);
    return windowed(c, true);
}

enum eml_err eml_op_average_pool(const struct eml_op_ctx *c)
{
    return windowed(c, false);
}

/* Item: one slice of channels of one image. Sums run over groups of rows: sums of sums keep the
 * error small over large images. */
static void global_slices(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    (void)thread;
    size_t c = (size_t)j->s.c, rows_n = (size_t)j->s.in[0];
    size_t slices = (c + j->share - 1) / j->share;
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        size_t channel = i % slices * j->share;
        size_t n = c - channel < j->share ? c - channel : j->share;
        const float *x = j->x + i / slices * rows_n * c + channel, *rows[ROWS_AT_ONCE];
        float *y = j->y + i / slices * c + channel, part[CHANNELS_AT_ONCE];
        for (size_t row = 0; row < rows_n; row += ROWS_AT_ONCE) {
            size_t k = rows_n - row < ROWS_AT_ONCE ? rows_n - row : ROWS_AT_ONCE;
            for (size_t r = 0; r < k; r++)
                rows[r] = x + (row + r) * c;
            reduce(j, row ? part : y, rows, k, n, false);
            if (row)
                j->kn->binary[j->is_max ? EML_BINARY_MAX : EML_BINARY_ADD](y, y, part, n);
        }
        if (!j->is_max)
            j->kn->binary_scalar[EML_BINARY_DIV](y, y, (float)rows_n, n);
        struct eml_act_spec act = j->act;
        if (act.slope)
            act.slope += channel;
        if (act.act != EML_ACT_NONE)
            j->kn->act(y, y, n, &act);
    }
}

/* Item: one image, of float64. NaN wins. */
static void wide_images(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    const int64_t ch = j->s.c, rows = j->s.in[0];
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const double *x = j->wide_x + i * rows * ch;
        double *y = j->wide_y + i * ch;
        for (int64_t k = 0; k < ch; k++)
            y[k] = j->is_max ? -HUGE_VAL : 0;
        for (int64_t row = 0; row < rows; row++, x += ch)
            for (int64_t k = 0; k < ch; k++)
                y[k] = !j->is_max ? y[k] + x[k] : x[k] > y[k] || isnan(x[k]) ? x[k] : y[k];
        for (int64_t k = 0; k < ch && !j->is_max; k++)
            y[k] /= (double)rows; /* of nothing: NaN */
    }
}

enum eml_err eml_op_global_pool(const struct eml_op_ctx *c)
{
    const struct eml_shape *x = &c->in[0].shape;
    struct job j = {.kn = c->kernels,
                    .y = c->out[0].data,
                    .x = c->in[0].data,
                    .is_max = c->node->op == EML_OP_GLOBAL_MAX_POOL};
    j.s.c = x->dim[x->rank - 1];
    j.s.in[0] = 1;
    for (uint32_t d = 1; d + 1 < x->rank; d++)
        j.s.in[0] *= x->dim[d];
    EML_TRY(eml_fused_act(c, 0, j.s.c, &j.act));
    if (c->out[0].count == 0)
        return EML_OK;
    if (eml_wide_is(c)) {
        j.wide_y = c->out[0].data;
        j.wide_x = c->in[0].data;
        eml_pool_for(c->pool, x->dim[0], 1, wide_images, &j);
        return EML_OK;
    }
    if (j.s.in[0] == 0) {
        for (int64_t i = 0; i < c->out[0].count; i++)
            j.y[i] = j.is_max ? -INFINITY : NAN;
        return EML_OK;
    }
    bool many = j.s.in[0] > TASK_FLOATS / CHANNELS_AT_ONCE;
    int64_t share = many ? CHANNELS_OF_MANY : CHANNELS_AT_ONCE;
    j.share = (size_t)share;
    eml_pool_for(c->pool, x->dim[0] * ((j.s.c - 1) / share + 1),
                 TASK_FLOATS / (j.s.in[0] * CHANNELS_AT_ONCE) + 1, global_slices, &j);
    return EML_OK;
}
