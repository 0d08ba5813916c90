/* Resize, one axis after the other. Every output index along an axis is a list of input indices
 * with weights (one tap for nearest), computed once; coordinates are float32, as ONNX Runtime's. */
#include "engine/exec.h"
#include "engine/resize.h"
#include "engine/walk.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

enum { MODE_NEAREST, MODE_LINEAR, MODE_CUBIC };
enum {
    COORD_HALF_PIXEL,
    COORD_PYTORCH_HALF_PIXEL,
    COORD_ALIGN_CORNERS,
    COORD_ASYMMETRIC,
    COORD_TF_CROP,
    COORD_HALF_PIXEL_SYMMETRIC,
    COORD_TF_HALF_PIXEL_FOR_NN
};
enum { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, ROUND_FLOOR, ROUND_CEIL };

struct tap {
    int32_t at; /* input index; -1: outside, the extrapolation value */
    float weight;
};

struct resize {
    const struct eml_op_ctx *c;
    struct eml_resize r;
    int64_t mode, coord;
    bool antialias;
};

static bool setup(const struct eml_op_ctx *c, struct resize *s)
{
    *s =
        (struct resize){.c = c,
                        .mode = eml_node_int(c->node, EML_ATTR_MODE, 0),
                        .coord = eml_node_int(c->node, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, 0)};
    s->antialias = s->mode != MODE_NEAREST && eml_node_int(c->node, EML_ATTR_ANTIALIAS, 0) != 0;
    uint32_t at = c->in[2].dtype != EML_DT_NONE ? 2 : 3;
    const struct eml_view *v = &c->in[at];
    int64_t list[2 * EML_RANK_MAX];
    if (v->count > 2 * EML_RANK_MAX)
        return false;
    for (int64_t i = 0; i < v->count; i++)
        list[i] =
            v->dtype == EML_DT_I64 ? ((const int64_t *)v->data)[i] : ((const int32_t *)v->data)[i];
    struct eml_resize_args a = {0};
    if (at == 2)
        a = (struct eml_resize_args){.scales = list, .n_scales = (uint32_t)v->count};
    else
        a = (struct eml_resize_args){.sizes = list, .n_sizes = (uint32_t)v->count};
    return eml_resize_make(c->node, &c->in[0].shape, &a, &s->r, NULL) == EML_OK;
}

/* Start and end of the region of interest along a dim, of tf_crop_and_resize. */
static void roi_of(const struct resize *s, uint32_t d, float *start, float *end)
{
    const struct eml_attr *axes = eml_node_attr(s->c->node, EML_ATTR_AXES);
    const float *roi = s->c->in[1].data;
    uint32_t n = axes != NULL ? axes->n : s->r.rank;
    *start = 0;
    *end = 1;
    for (uint32_t i = 0; i < n; i++) {
        int64_t a = axes != NULL ? axes->v[i] : (int64_t)i;
        if ((a < 0 ? a + (int64_t)s->r.rank : a) == (int64_t)d) {
            *start = roi[i];
            *end = roi[n + i];
        }
    }
}

/* The input coordinate of output index j along dim d. */
static float coordinate(const struct resize *s, uint32_t d, int64_t j)
{
    float x = (float)j, scale = s->r.scale[d];
    float in = (float)s->c->in[0].shape.dim[d], out = (float)s->r.out[d];
    switch (s->coord) {
    case COORD_PYTORCH_HALF_PIXEL:
        return s->r.out[d] > 1 ? (x + 0.5f) / scale - 0.5f : 0.0f;
    case COORD_ALIGN_CORNERS:
        return s->r.out[d] == 1 ? 0.0f : x * (in - 1) / (out - 1);
    case COORD_TF_HALF_PIXEL_FOR_NN:
        return (x + 0.5f) / scale;
    case COORD_ASYMMETRIC:
        return x / scale;
    case COORD_TF_CROP: {
        float a, b;
        roi_of(s, d, &a, &b);
        return s->r.out[d] > 1 ? a * (in - 1) + x * (b - a) * (in - 1) / (out - 1)
                               : 0.5f * (a + b) * (in - 1);
    }
    case COORD_HALF_PIXEL_SYMMETRIC: {
        float adjust = out / (scale * in);
        return in / 2 * (1 - adjust) + (x + 0.5f) / scale - 0.5f;
    }
    default:
        return (x + 0.5f) / scale - 0.5f;
    }
}

static float nearest(int64_t mode, float x)
{
    switch (mode) {
    case ROUND_PREFER_CEIL:
        return floorf(x + 0.5f);
    case ROUND_FLOOR:
        return floorf(x);
    case ROUND_CEIL:
        return ceilf(x);
    default:
        return ceilf(x - 0.5f);
    }
}

static double cubic(double a, double x)
{
    x = fabs(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* How far the filter is stretched: shrinking with antialias blurs. */
static double stretch(const struct resize *s, uint32_t d)
{
    double scale = (double)s->r.scale[d];
    return s->antialias && scale < 1 ? scale : 1;
}

static int64_t first_tap(const struct resize *s, uint32_t d)
{
    double half = s->mode == MODE_CUBIC ? 2 : 1;
    return (int64_t)floor(-half / stretch(s, d)) + 1;
}

static int64_t taps_of(const struct resize *s, uint32_t d)
{
    if (s->mode == MODE_NEAREST)
        return 1;
    return (s->mode == MODE_CUBIC ? 4 : 2) -
           2 * (first_tap(s, d) - (s->mode == MODE_CUBIC ? -1 : 0));
}

static bool resized(const struct resize *s, uint32_t d)
{
    return s->coord == COORD_TF_CROP || s->r.scale[d] != 1.0f ||
           s->r.out[d] != s->c->in[0].shape.dim[d];
}

static int32_t clamp(int64_t i, int64_t n)
{
    return (int32_t)(i < 0 ? 0 : i >= n ? n - 1 : i);
}

static void taps_at(const struct resize *s, uint32_t d, int64_t j, struct tap *t)
{
    int64_t n = s->c->in[0].shape.dim[d], taps = taps_of(s, d);
    float x = coordinate(s, d, j);
    /* Also catches NaN, which a roi can bring. Beyond this range all taps are at the edge. */
    if (s->coord == COORD_TF_CROP && !(x >= 0 && x <= (float)(n - 1))) {
        for (int64_t k = 0; k < taps; k++)
            t[k] = (struct tap){-1, 0};
        return;
    }
    x = x < -1e9f ? -1e9f : x > 3e9f ? 3e9f : x;
    if (s->mode == MODE_NEAREST) {
        float v = nearest(eml_node_int(s->c->node, EML_ATTR_NEAREST_MODE, 0), x);
        t[0] = (struct tap){clamp((int64_t)v, n), 1};
        return;
    }
    bool exclude = eml_node_int(s->c->node, EML_ATTR_EXCLUDE_OUTSIDE, 0) != 0;
    double base = floor((double)x), ratio = (double)x - base, by = stretch(s, d), sum = 0;
    int64_t first = first_tap(s, d);
    for (int64_t k = 0; k < taps; k++) {
        int64_t at = (int64_t)base + first + k;
        double dist = ((double)(first + k) - ratio) * by;
        double w =
            s->mode == MODE_CUBIC ? cubic((double)s->c->params[0], dist) : fmax(0, 1 - fabs(dist));
        if (exclude && (at < 0 || at >= n))
            w = 0;
        sum += w;
        t[k] = (struct tap){clamp(at, n), (float)w};
    }
    bool rescale = (exclude || by < 1) && sum != 0;
    for (int64_t k = 0; k < taps && rescale; k++)
        t[k].weight = (float)((double)t[k].weight / sum);
}

/* ---- memory: tap tables of all axes, then two buffers between passes ---- */

static bool scratch_sizes(const struct resize *s, size_t table[EML_RANK_MAX], size_t *between,
                          size_t *total)
{
    size_t count = 1;
    *total = 0;
    *between = 0;
    struct eml_shape now = s->c->in[0].shape;
    for (uint32_t d = 0; d < s->r.rank; d++) {
        table[d] = 0;
        if (!resized(s, d))
            continue;
        if (!eml_mul_size((size_t)s->r.out[d], (size_t)taps_of(s, d), &count) ||
            !eml_mul_size(count, sizeof(struct tap), &table[d]) ||
            !eml_round_up(table[d], 64, &table[d]) || !eml_add_size(*total, table[d], total))
            return false;
        int64_t elements;
        size_t bytes;
        now.dim[d] = s->r.out[d];
        if (!eml_shape_count(&now, &elements) || !eml_mul_size((size_t)elements, 4, &bytes) ||
            !eml_round_up(bytes, 64, &bytes))
            return false;
        *between = bytes > *between ? bytes : *between;
    }
    if (s->mode == MODE_NEAREST)
        *between = 0;
    size_t both;
    return eml_mul_size(*between, 2, &both) && eml_add_size(*total, both, total);
}

bool eml_scratch_resize(const struct eml_op_ctx *c, size_t *bytes)
{
    struct resize s;
    size_t table[EML_RANK_MAX], between;
    *bytes = 0;
    if (c->out[0].count == 0)
        return true;
    /* No data yet: sizes are those of the output, scales what they imply at least. */
    s = (struct resize){
        .c = c, .mode = eml_node_int(c->node, EML_ATTR_MODE, 0), .coord = COORD_TF_CROP};
    s.antialias = s.mode != MODE_NEAREST && eml_node_int(c->node, EML_ATTR_ANTIALIAS, 0) != 0;
    s.r.rank = c->in[0].shape.rank;
    for (uint32_t d = 0; d < s.r.rank; d++) {
        s.r.out[d] = c->out[0].shape.dim[d];
        /* A little less than any scale that rounds to this output. */
        s.r.scale[d] = ((float)s.r.out[d] - 0.5f) / (float)(c->in[0].shape.dim[d] + 1);
    }
    return scratch_sizes(&s, table, &between, bytes);
}

/* ---- passes ---- */

struct axis_pass {
    const struct tap *taps;
    int64_t n_taps, in, out, inner;
    const float *x;
    float *y;
    float outside;
};

static void pass_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct axis_pass *p = arg;
    for (int64_t i = begin; i < end; i++) {
        const struct tap *t = p->taps + i % p->out * p->n_taps;
        const float *x = p->x + i / p->out * p->in * p->inner;
        float *y = p->y + i * p->inner;
        if (t[0].at < 0) {
            for (int64_t k = 0; k < p->inner; k++)
                y[k] = p->outside;
            continue;
        }
        const float *x0 = x + t[0].at * p->inner;
        for (int64_t k = 0; k < p->inner; k++)
            y[k] = t[0].weight * x0[k];
        for (int64_t j = 1; j < p->n_taps; j++) {
            const float *xj = x + t[j].at * p->inner;
            for (int64_t k = 0; k < p->inner; k++)
                y[k] += t[j].weight * xj[k];
        }
    }
}

static void interpolate(const struct resize *s, struct tap *const *taps, uint8_t *between,
                        size_t between_bytes)
{
    struct eml_shape now = s->c->in[0].shape;
    const float *x = s->c->in[0].data;
    uint32_t last = s->r.rank, turn = 0;
    for (uint32_t d = 0; d < s->r.rank; d++)
        last = taps[d] != NULL ? d : last;
    if (last == s->r.rank) {
        memcpy(s->c->out[0].data, x, (size_t)s->c->out[0].count * sizeof(float));
        return;
    }
    for (uint32_t d = 0; d <= last; d++) {
        if (taps[d] == NULL)
            continue;
        struct axis_pass p = {.taps = taps[d],
                              .n_taps = taps_of(s, d),
                              .in = now.dim[d],
                              .out = s->r.out[d],
                              .inner = 1,
                              .x = x,
                              .outside = s->c->params[1]};
        int64_t outer = 1;
        for (uint32_t i = 0; i < now.rank; i++) {
            outer *= i < d ? now.dim[i] : 1;
            p.inner *= i > d ? now.dim[i] : 1;
        }
        p.y = d == last ? (float *)s->c->out[0].data
                        : (float *)(void *)(between + (turn++ % 2) * between_bytes);
        eml_pool_for(s->c->pool, outer * p.out, 1 + 4096 / (p.inner * p.n_taps), pass_rows, &p);
        now.dim[d] = p.out;
        x = p.y;
    }
}

struct pick {
    const struct resize *s;
    struct tap *const *taps;
    int64_t stride[EML_RANK_MAX], n; /* n: innermost output dim */
    size_t bytes;
};

static void pick_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct pick *p = arg;
    const struct eml_op_ctx *c = p->s->c;
    uint32_t last = p->s->r.rank - 1;
    uint8_t fill[8] = {0};
    if (c->in[0].dtype == EML_DT_F32)
        memcpy(fill, &c->params[1], sizeof(float));
    for (int64_t row = begin; row < end; row++) {
        int64_t at = 0, rest = row;
        bool outside = false;
        for (uint32_t d = last; d-- > 0;) {
            int64_t j = rest % p->s->r.out[d];
            rest /= p->s->r.out[d];
            j = p->taps[d] != NULL ? p->taps[d][j].at : j;
            outside = outside || j < 0;
            at += j * p->stride[d];
        }
        uint8_t *y = (uint8_t *)c->out[0].data + (size_t)(row * p->n) * p->bytes;
        const uint8_t *x = (const uint8_t *)c->in[0].data + at * (int64_t)p->bytes;
        if (!outside && p->taps[last] == NULL) {
            memcpy(y, x, (size_t)p->n * p->bytes);
            continue;
        }
        for (int64_t i = 0; i < p->n; i++) {
            int64_t j = p->taps[last] != NULL ? p->taps[last][i].at : i;
            memcpy(y + (size_t)i * p->bytes, outside || j < 0 ? fill : x + (size_t)j * p->bytes,
                   p->bytes);
        }
    }
}

enum eml_err eml_op_resize(const struct eml_op_ctx *c)
{
    struct resize s;
    size_t table[EML_RANK_MAX], between, total;
    struct tap *taps[EML_RANK_MAX] = {NULL};
    if (c->out[0].count == 0)
        return EML_OK;
    if (!setup(c, &s) || !scratch_sizes(&s, table, &between, &total))
        return eml_fail(c->why, EML_E_INPUT, "Resize: does not fit", -1);
    EML_ASSERT(total <= c->scratch.len);
    uint8_t *at = c->scratch.ptr;
    for (uint32_t d = 0; d < s.r.rank; d++) {
        if (table[d] == 0)
            continue;
        taps[d] = (struct tap *)(void *)at;
        at += table[d];
        int64_t n = taps_of(&s, d);
        for (int64_t j = 0; j < s.r.out[d]; j++)
            taps_at(&s, d, j, taps[d] + j * n);
    }
    if (s.mode != MODE_NEAREST) {
        interpolate(&s, taps, at, between);
        return EML_OK;
    }
    struct pick p = {.s = &s, .taps = taps, .bytes = eml_dtype_bytes(c->in[0].dtype), .n = 1};
    if (s.r.rank == 0) {
        memcpy(c->out[0].data, c->in[0].data, p.bytes);
        return EML_OK;
    }
    eml_strides(&c->in[0].shape, p.stride);
    p.n = s.r.out[s.r.rank - 1];
    eml_pool_for(c->pool, c->out[0].count / p.n, 1 + 4096 / p.n, pick_rows, &p);
    return EML_OK;
}

enum eml_err eml_op_fractions(const struct eml_op_ctx *c)
{
    const float *x = c->in[0].data;
    int64_t *y = c->out[0].data;
    for (int64_t i = 0; i < c->in[0].count; i++)
        if (!eml_fraction_of(x[i], y + 2 * i))
            return eml_fail(c->why, EML_E_INPUT, "Resize: scale is not positive, or out of range",
                            -1);
    return EML_OK;
}
