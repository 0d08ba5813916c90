/* GridSample, channels-last in one to three dims: every output pixel is a weighted sum of input
 * pixels, whose places and weights are found per dim. Coordinates are data: any float goes in. */
#include "engine/exec.h"

#include <math.h>

enum { LINEAR, NEAREST, CUBIC, BILINEAR, BICUBIC }; /* the last two: names before version 20 */
enum { ZEROS, BORDER, REFLECTION };
enum { TAPS = 4 };

struct taps {
    int n;
    int64_t at[TAPS]; /* -1: outside, worth nothing */
    float weight[TAPS];
};

struct job {
    const struct eml_view *x, *grid, *y;
    int64_t mode, padding, in[EML_SPATIAL_MAX], pixels; /* pixels: per image */
    bool align;
    uint32_t n;
};

/* Reflects v into [lo, hi] as often as needed. */
static double reflect(double v, double lo, double hi)
{
    double range = hi - lo;
    if (!(range > 0) || !isfinite(v))
        return lo;
    double off = fmod(fabs(v - lo), 2 * range);
    return off <= range ? lo + off : hi - (off - range);
}

static int64_t clamp(double v, int64_t n)
{
    return !(v > 0) ? 0 : v >= (double)(n - 1) ? n - 1 : (int64_t)v;
}

/* The input index that an integral coordinate means. */
static int64_t place(const struct job *j, double v, int64_t n)
{
    if (v >= 0 && v <= (double)(n - 1))
        return (int64_t)v;
    if (j->padding == ZEROS)
        return -1;
    if (j->padding == BORDER)
        return clamp(v, n);
    return clamp(j->align ? reflect(v, 0, (double)(n - 1)) : reflect(v, -0.5, (double)n - 0.5), n);
}

static float cubic(int k, float t)
{
    const float a = -0.75f;
    float d = fabsf((float)(k - 1) - t);
    if (d <= 1)
        return ((a + 2) * d - (a + 3)) * d * d + 1;
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
}

/* v in [-1, 1] spans the dim. */
static void find_taps(const struct job *j, float v, int64_t n, struct taps *t)
{
    float size = (float)n;
    float x = j->align ? (v + 1) / 2 * (size - 1) : ((v + 1) * size - 1) / 2;
    *t = (struct taps){.n = 1, .at = {-1}, .weight = {1}};
    if (j->mode == NEAREST)
        x = nearbyintf(x);
    float lo = j->align ? 0 : -0.5f, hi = j->align ? size - 1 : size - 0.5f;
    if (!(x >= lo && x <= hi) && j->padding == BORDER)
        x = (float)clamp((double)x, n);
    if (!(x >= lo && x <= hi) && j->padding == REFLECTION)
        x = (float)reflect((double)x, (double)lo, (double)hi);
    /* With zeros around, all that is far away (or no number) is nothing. */
    if (!(x > -4 && x < size + 4))
        return;
    if (j->mode == NEAREST) {
        t->at[0] = place(j, rint((double)x), n);
        return;
    }
    float base = floorf(x), part = x - base;
    bool is_cubic = j->mode == CUBIC || j->mode == BICUBIC;
    t->n = is_cubic ? 4 : 2;
    for (int k = 0; k < t->n; k++) {
        t->at[k] = place(j, (double)base + k - is_cubic, n);
        t->weight[k] = is_cubic ? cubic(k, part) : k == 0 ? 1 - part : part;
    }
}

static void sample(const struct job *j, int64_t i, float *y)
{
    struct taps t[EML_SPATIAL_MAX];
    const float *at = (const float *)j->grid->data + i * j->n;
    int64_t c = j->x->shape.dim[j->x->shape.rank - 1], image = i / j->pixels;
    for (uint32_t d = 0; d < EML_SPATIAL_MAX; d++)
        t[d] = (struct taps){.n = 1, .weight = {1}};
    for (uint32_t d = 0; d < j->n; d++) /* the grid names the innermost dim first */
        find_taps(j, at[j->n - 1 - d], j->in[EML_SPATIAL_MAX - j->n + d],
                  &t[EML_SPATIAL_MAX - j->n + d]);
    for (int64_t k = 0; k < c; k++)
        y[k] = 0;
    for (int a = 0; a < t[0].n * t[1].n * t[2].n; a++) {
        int k2 = a % t[2].n, k1 = a / t[2].n % t[1].n, k0 = a / t[2].n / t[1].n;
        if (t[0].at[k0] < 0 || t[1].at[k1] < 0 || t[2].at[k2] < 0)
            continue;
        float w = t[0].weight[k0] * t[1].weight[k1] * t[2].weight[k2];
        int64_t pixel =
            ((image * j->in[0] + t[0].at[k0]) * j->in[1] + t[1].at[k1]) * j->in[2] + t[2].at[k2];
        const float *x = (const float *)j->x->data + pixel * c;
        for (int64_t k = 0; k < c; k++)
            y[k] += w * x[k];
    }
}

static void samples(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct job *j = arg;
    int64_t c = j->x->shape.dim[j->x->shape.rank - 1];
    for (int64_t i = begin; i < end; i++)
        sample(j, i, (float *)j->y->data + i * c);
}

enum eml_err eml_op_grid_sample(const struct eml_op_ctx *c)
{
    struct job j = {.x = &c->in[0],
                    .grid = &c->in[1],
                    .y = &c->out[0],
                    .mode = eml_node_int(c->node, EML_ATTR_MODE, LINEAR),
                    .padding = eml_node_int(c->node, EML_ATTR_PADDING_MODE, ZEROS),
                    .align = eml_node_int(c->node, EML_ATTR_ALIGN_CORNERS, 0) != 0,
                    .n = c->in[0].shape.rank - 2,
                    .in = {1, 1, 1},
                    .pixels = 1};
    if (j.y->count == 0)
        return EML_OK;
    for (uint32_t d = 0; d < j.n; d++) {
        j.in[EML_SPATIAL_MAX - j.n + d] = j.x->shape.dim[d + 1];
        j.pixels *= j.y->shape.dim[d + 1];
    }
    int64_t channels = j.y->shape.dim[j.n + 1];
    eml_pool_for(c->pool, j.y->count / channels, 1 + 4096 / channels, samples, &j);
    return EML_OK;
}
