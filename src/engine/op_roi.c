/* RoiAlign and MaxRoiPool, channels-last. Regions are data: their numbers can be anything, their
 * pictures must exist. */
#include "engine/exec.h"
#include "engine/indices.h"

#include <math.h>

/* Beyond this no region makes sense, and arithmetic stays exact enough. */
#define FAR 1e9f

enum { MODE_AVG, MODE_MAX };
enum { HALF_PIXEL, OUTPUT_HALF_PIXEL };

struct job {
    const struct eml_op_ctx *c;
    int64_t h, w, channels; /* of the input */
    int64_t out_h, out_w;
    int64_t mode, ratio;
    float scale;
    bool half_pixel;
};

/* Pictures and numbers of all regions make sense. */
static enum eml_err check(const struct job *j, int64_t n, int64_t columns)
{
    const float *rois = j->c->in[1].data;
    int64_t images = j->c->in[0].shape.dim[0];
    for (int64_t i = 0; i < n; i++) {
        if (columns == 5) {
            float image = rois[i * 5];
            if (!(image >= 0 && image < (float)images && image == truncf(image)))
                return eml_index_bad(j->c);
        } else {
            int64_t image = eml_index_at(&j->c->in[2], i);
            if (image < 0 || image >= images)
                return eml_index_bad(j->c);
        }
        for (int64_t k = columns - 4; k < columns; k++)
            if (!(fabsf(rois[i * columns + k] * j->scale) <= FAR))
                return eml_fail(j->c->why, EML_E_INPUT, "region out of range", -1);
    }
    return EML_OK;
}

/* ---- RoiAlign ---- */

/* The samples along one dim of one bin: the k-th of n is at start + (k + 1/2) * step. Only those in
 * [first, end) can lie on the picture. */
struct line {
    float start, step;
    double n;
    int64_t first, end;
};

static struct line line_of(const struct job *j, float start, float bin, int64_t size)
{
    struct line l = {.start = start, .n = j->ratio > 0 ? (double)j->ratio : ceil((double)bin)};
    if (l.n < 1)
        return l;
    l.step = bin / (float)l.n;
    l.end = (int64_t)l.n;
    if (!(fabsf(l.step) > 0)) /* all in one place */
        return l;
    double a = (-1.0 - (double)start) / (double)l.step,
           b = ((double)size - (double)start) / (double)l.step;
    double lo = floor(fmin(a, b)) - 1, hi = ceil(fmax(a, b)) + 1;
    l.first = lo > 0 ? (int64_t)fmin(lo, l.n) : 0;
    l.end = hi < l.n ? (int64_t)fmax(hi, 0) : l.end;
    return l;
}

/* The two neighbours of v along a dim, and the weight of the second; false if v is off the
 * picture. */
static bool neighbours(float v, int64_t size, int64_t at[2], float *weight)
{
    if (!(v >= -1 && v <= (float)size))
        return false;
    v = v > 0 ? v : 0;
    at[0] = (int64_t)v;
    if (at[0] >= size - 1) {
        at[0] = at[1] = size - 1;
        *weight = 0;
        return true;
    }
    at[1] = at[0] + 1;
    *weight = v - (float)at[0];
    return true;
}

/* Adds one sample, or takes the maximum with it. */
static void add_sample(const struct job *j, const float *image, float v, float u, bool first,
                       float *y)
{
    int64_t row[2], column[2];
    float wy, wx;
    if (!neighbours(v, j->h, row, &wy) || !neighbours(u, j->w, column, &wx)) {
        for (int64_t k = 0; k < j->channels && j->mode == MODE_MAX; k++)
            y[k] = first || y[k] < 0 ? 0 : y[k];
        return;
    }
    const float *p00 = image + (row[0] * j->w + column[0]) * j->channels;
    const float *p01 = image + (row[0] * j->w + column[1]) * j->channels;
    const float *p10 = image + (row[1] * j->w + column[0]) * j->channels;
    const float *p11 = image + (row[1] * j->w + column[1]) * j->channels;
    float w00 = (1 - wy) * (1 - wx), w01 = (1 - wy) * wx, w10 = wy * (1 - wx), w11 = wy * wx;
    for (int64_t k = 0; k < j->channels; k++) {
        if (j->mode == MODE_AVG) {
            y[k] += w00 * p00[k] + w01 * p01[k] + w10 * p10[k] + w11 * p11[k];
        } else {
            float m = fmaxf(fmaxf(w00 * p00[k], w01 * p01[k]), fmaxf(w10 * p10[k], w11 * p11[k]));
            y[k] = first ? m : fmaxf(y[k], m);
        }
    }
}

static void align_bin(const struct job *j, const float *image, const struct line *v,
                      const struct line *u, float *y)
{
    bool first = true;
    for (int64_t k = 0; k < j->channels; k++)
        y[k] = 0;
    for (int64_t a = v->first; a < v->end; a++) {
        for (int64_t b = u->first; b < u->end; b++) {
            add_sample(j, image, v->start + ((float)a + 0.5f) * v->step,
                       u->start + ((float)b + 0.5f) * u->step, first, y);
            first = false;
        }
    }
    double count = v->n >= 1 && u->n >= 1 ? v->n * u->n : 1;
    for (int64_t k = 0; k < j->channels && j->mode == MODE_AVG; k++)
        y[k] /= (float)count;
}

static void align_regions(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct job *j = arg;
    float offset = j->half_pixel ? 0.5f : 0;
    for (int64_t i = begin; i < end; i++) {
        const float *roi = (const float *)j->c->in[1].data + i * 4;
        float x1 = roi[0] * j->scale - offset, y1 = roi[1] * j->scale - offset;
        float w = roi[2] * j->scale - offset - x1, h = roi[3] * j->scale - offset - y1;
        if (!j->half_pixel) { /* no region is smaller than a pixel */
            w = w > 1 ? w : 1;
            h = h > 1 ? h : 1;
        }
        float bin_w = w / (float)j->out_w, bin_h = h / (float)j->out_h;
        const float *image = (const float *)j->c->in[0].data +
                             eml_index_at(&j->c->in[2], i) * j->h * j->w * j->channels;
        float *y = (float *)j->c->out[0].data + i * j->out_h * j->out_w * j->channels;
        for (int64_t a = 0; a < j->out_h; a++) {
            struct line v = line_of(j, y1 + (float)a * bin_h, bin_h, j->h);
            for (int64_t b = 0; b < j->out_w; b++, y += j->channels) {
                struct line u = line_of(j, x1 + (float)b * bin_w, bin_w, j->w);
                align_bin(j, image, &v, &u, y);
            }
        }
    }
}

static struct job job_of(const struct eml_op_ctx *c)
{
    const int64_t *x = c->in[0].shape.dim, *y = c->out[0].shape.dim;
    return (struct job){.c = c,
                        .h = x[1],
                        .w = x[2],
                        .channels = x[3],
                        .out_h = y[1],
                        .out_w = y[2],
                        .scale = c->params[0]};
}

enum eml_err eml_op_roi_align(const struct eml_op_ctx *c)
{
    struct job j = job_of(c);
    int64_t n = c->in[1].shape.dim[0];
    j.mode = eml_node_int(c->node, EML_ATTR_MODE, MODE_AVG);
    j.ratio = eml_node_int(c->node, EML_ATTR_SAMPLING_RATIO, 0);
    j.half_pixel =
        eml_node_int(c->node, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, HALF_PIXEL) == HALF_PIXEL;
    EML_TRY(check(&j, n, 4));
    if (c->out[0].count > 0)
        eml_pool_for(c->pool, n, 1, align_regions, &j);
    return EML_OK;
}

/* ---- MaxRoiPool ---- */

static int64_t limit(double v, int64_t n)
{
    return v < 0 ? 0 : v > (double)n ? n : (int64_t)v;
}

static void pool_bin(const struct job *j, const float *image, const int64_t row[2],
                     const int64_t column[2], float *y)
{
    bool empty = row[0] >= row[1] || column[0] >= column[1];
    for (int64_t k = 0; k < j->channels; k++)
        y[k] = empty ? 0 : -INFINITY;
    for (int64_t a = row[0]; a < row[1]; a++)
        for (int64_t b = column[0]; b < column[1]; b++) {
            const float *p = image + (a * j->w + b) * j->channels;
            for (int64_t k = 0; k < j->channels; k++)
                y[k] = p[k] > y[k] ? p[k] : y[k];
        }
}

static void pool_regions(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct job *j = arg;
    for (int64_t i = begin; i < end; i++) {
        const float *roi = (const float *)j->c->in[1].data + i * 5;
        double at[4];
        for (int k = 0; k < 4; k++)
            at[k] = round((double)(roi[k + 1] * j->scale));
        double bin_w = fmax(at[2] - at[0] + 1, 1) / (double)j->out_w;
        double bin_h = fmax(at[3] - at[1] + 1, 1) / (double)j->out_h;
        const float *image =
            (const float *)j->c->in[0].data + (int64_t)roi[0] * j->h * j->w * j->channels;
        float *y = (float *)j->c->out[0].data + i * j->out_h * j->out_w * j->channels;
        for (int64_t a = 0; a < j->out_h; a++) {
            const int64_t row[2] = {limit(at[1] + floor((double)a * bin_h), j->h),
                                    limit(at[1] + ceil((double)(a + 1) * bin_h), j->h)};
            for (int64_t b = 0; b < j->out_w; b++, y += j->channels) {
                const int64_t column[2] = {limit(at[0] + floor((double)b * bin_w), j->w),
                                           limit(at[0] + ceil((double)(b + 1) * bin_w), j->w)};
                pool_bin(j, image, row, column, y);
            }
        }
    }
}

enum eml_err eml_op_max_roi_pool(const struct eml_op_ctx *c)
{
    struct job j = job_of(c);
    int64_t n = c->in[1].shape.dim[0];
    EML_TRY(check(&j, n, 5));
    if (c->out[0].count > 0)
        eml_pool_for(c->pool, n, 1, pool_regions, &j);
    return EML_OK;
}
