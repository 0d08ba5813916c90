/* Softmax and normalisations. */
#include "engine/exec.h"
#include "engine/fused.h"
#include "engine/kernels/kernels.h"
#include "engine/real.h"
#include "engine/wide.h"

#include <math.h>

struct rows {
    const struct eml_op_ctx *c;
    int64_t n, inner; /* length along the axis; elements below it */
    bool log;
    struct eml_act_spec act; /* BatchNormalization: what it ends with */
};

static int64_t product(const struct eml_shape *s, uint32_t from, uint32_t to)
{
    int64_t p = 1;
    for (uint32_t i = from; i < to; i++)
        p *= s->dim[i];
    return p;
}

static uint32_t axis_of(const struct eml_op_ctx *c)
{
    int64_t axis = eml_node_int(c->node, EML_ATTR_AXIS, -1);
    return (uint32_t)(axis < 0 ? axis + (int64_t)c->in[0].shape.rank : axis);
}

static int64_t grain_of(int64_t row)
{
    return 1 + 8192 / row;
}

/* ---- Softmax, LogSoftmax ---- */

static void softmax_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct rows *r = arg;
    const struct eml_kernels *k = r->c->kernels;
    const float *x = r->c->in[0].data;
    float *y = r->c->out[0].data;
    if (!r->log)
        k->softmax(y + begin * r->n, x + begin * r->n, (size_t)r->n, (size_t)(end - begin),
                   (size_t)r->n);
    for (int64_t i = begin; r->log && i < end; i++)
        k->log_softmax(y + i * r->n, x + i * r->n, (size_t)r->n);
}

#define SOFTMAX_COLUMNS(name, type)                                                                \
    static void name(void *arg, int64_t begin, int64_t end, unsigned thread)                       \
    {                                                                                              \
        (void)thread;                                                                              \
        const struct rows *r = arg;                                                                \
        for (int64_t i = begin; i < end; i++) {                                                    \
            int64_t at = i / r->inner * r->inner * r->n + i % r->inner;                            \
            const type *x = (const type *)r->c->in[0].data + at;                                   \
            type *y = (type *)r->c->out[0].data + at;                                              \
            double max = -INFINITY, sum = 0;                                                       \
            for (int64_t k = 0; k < r->n; k++)                                                     \
                max = (double)x[k * r->inner] > max ? (double)x[k * r->inner] : max;               \
            for (int64_t k = 0; k < r->n; k++)                                                     \
                sum += exp((double)x[k * r->inner] - max);                                         \
            for (int64_t k = 0; k < r->n; k++) {                                                   \
                double v = (double)x[k * r->inner] - max;                                          \
                y[k * r->inner] = (type)(r->log ? v - log(sum) : exp(v) / sum);                    \
            }                                                                                      \
        }                                                                                          \
    }
SOFTMAX_COLUMNS(softmax_columns_f32, float)
SOFTMAX_COLUMNS(softmax_columns_f64, double)

enum eml_err eml_op_softmax(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0];
    uint32_t axis = axis_of(c);
    struct rows r = {.c = c, .log = c->node->op == EML_OP_LOG_SOFTMAX};
    if (x->count == 0)
        return EML_OK;
    r.n = x->shape.dim[axis];
    r.inner = product(&x->shape, axis + 1, x->shape.rank);
    eml_pool_fn *f = x->dtype == EML_DT_F64 ? softmax_columns_f64 : softmax_columns_f32;
    if (x->dtype == EML_DT_F32 && r.inner == 1)
        f = softmax_rows;
    eml_pool_for(c->pool, x->count / r.n, grain_of(r.n), f, &r);
    return EML_OK;
}

/* ---- LayerNormalization ---- */

static void layer_norm_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct rows *r = arg;
    const struct eml_op_ctx *c = r->c;
    const float *bias = c->n_in > 2 && c->in[2].dtype != EML_DT_NONE ? c->in[2].data : NULL;
    const float *x = c->in[0].data;
    float *y = c->out[0].data;
    for (int64_t i = begin; i < end; i++)
        c->kernels->layer_norm(y + i * r->n, x + i * r->n, (size_t)r->n, c->in[1].data, bias,
                               c->params[0]);
}

static double mean_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += x[k];
    return sum / (double)n;
}

static void wide_layer_norm_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct rows *r = arg;
    const struct eml_op_ctx *c = r->c;
    const double *scale = c->in[1].data;
    const double *bias = eml_view_given(c->in, c->n_in, 2) ? c->in[2].data : NULL;
    for (int64_t i = begin; i < end; i++) {
        const double *x = (const double *)c->in[0].data + i * r->n;
        double *y = (double *)c->out[0].data + i * r->n;
        const double mean = mean_of(x, r->n);
        double var = 0;
        for (int64_t k = 0; k < r->n; k++)
            var += (x[k] - mean) * (x[k] - mean);
        const double factor = 1 / sqrt(var / (double)r->n + (double)c->params[0]);
        for (int64_t k = 0; k < r->n; k++)
            y[k] = (x[k] - mean) * factor * scale[k] + (bias != NULL ? bias[k] : 0);
    }
}

/* Mean and InvStdDev, which training keeps. */
static void layer_norm_statistics(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct rows *r = arg;
    const struct eml_op_ctx *c = r->c;
    for (int64_t i = begin; i < end; i++) {
        double mean = 0, var = 0;
        for (int64_t k = i * r->n; k < (i + 1) * r->n; k++)
            mean += eml_real_at(&c->in[0], k);
        mean /= (double)r->n;
        for (int64_t k = i * r->n; k < (i + 1) * r->n; k++)
            var += (eml_real_at(&c->in[0], k) - mean) * (eml_real_at(&c->in[0], k) - mean);
        if (eml_view_given(c->out, c->n_out, 1))
            eml_real_set(&c->out[1], i, mean);
        if (eml_view_given(c->out, c->n_out, 2))
            eml_real_set(&c->out[2], i, 1 / sqrt(var / (double)r->n + (double)c->params[0]));
    }
}

enum eml_err eml_op_layer_normalization(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0];
    struct rows r = {.c = c, .n = product(&x->shape, axis_of(c), x->shape.rank)};
    int64_t rows = product(&x->shape, 0, axis_of(c)), grain = grain_of(r.n > 0 ? r.n : 1);
    if (x->count > 0)
        eml_pool_for(c->pool, rows, grain, eml_wide_is(c) ? wide_layer_norm_rows : layer_norm_rows,
                     &r);
    if (eml_view_given(c->out, c->n_out, 1) || eml_view_given(c->out, c->n_out, 2))
        eml_pool_for(c->pool, rows, grain, layer_norm_statistics, &r); /* of nothing: NaN */
    return EML_OK;
}

/* y = x / sqrt(mean(x^2) + epsilon) * scale; output 1: the factor. */
static void rms_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    enum { LANES = 16 };
    (void)thread;
    const struct rows *r = arg;
    const struct eml_op_ctx *c = r->c;
    const float *scale = c->in[1].data;
    for (int64_t i = begin; i < end; i++) {
        const float *x = (const float *)c->in[0].data + i * r->n;
        float *y = (float *)c->out[0].data + i * r->n;
        float lane[LANES] = {0};
        double squares = 0;
        int64_t k = 0;
        for (; k + LANES <= r->n; k += LANES)
            for (int64_t l = 0; l < LANES; l++)
                lane[l] += x[k + l] * x[k + l];
        for (; k < r->n; k++)
            squares += (double)x[k] * (double)x[k];
        for (int64_t l = 0; l < LANES; l++)
            squares += (double)lane[l];
        const float factor = (float)(1 / sqrt(squares / (double)r->n + (double)c->params[0]));
        for (k = 0; k < r->n; k++)
            y[k] = x[k] * factor * scale[k];
        if (eml_view_given(c->out, c->n_out, 1))
            ((float *)c->out[1].data)[i] = factor;
    }
}

enum eml_err eml_op_rms_normalization(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0];
    struct rows r = {.c = c};
    if (x->count == 0)
        return EML_OK;
    r.n = product(&x->shape, axis_of(c), x->shape.rank);
    eml_pool_for(c->pool, x->count / r.n, grain_of(r.n), rms_rows, &r);
    return EML_OK;
}

/* ---- BatchNormalization, channels last: y = act(x * a + b) per channel ---- */

bool eml_scratch_batch_normalization(const struct eml_op_ctx *c, size_t *bytes)
{
    int64_t ch = c->in[0].shape.dim[c->in[0].shape.rank - 1];
    if (ch > INT32_MAX)
        return false;
    *bytes = (size_t)ch * 2 * sizeof(double);
    return true;
}

static void affine_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct rows *r = arg;
    const float *a = (const float *)(const void *)r->c->scratch.ptr, *b = a + r->n;
    for (int64_t i = begin; i < end; i++) {
        const float *x = (const float *)r->c->in[0].data + i * r->n;
        float *y = (float *)r->c->out[0].data + i * r->n;
        r->c->kernels->affine(y, x, a, b, (size_t)r->n);
        if (r->act.act != EML_ACT_NONE)
            r->c->kernels->act(y, y, (size_t)r->n, &r->act);
    }
}

static void wide_affine_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct rows *r = arg;
    const double *a = (const double *)(const void *)r->c->scratch.ptr, *b = a + r->n;
    const double *x = r->c->in[0].data;
    double *y = r->c->out[0].data;
    for (int64_t i = begin * r->n; i < end * r->n; i++)
        y[i] = x[i] * a[i % r->n] + b[i % r->n];
}

enum eml_err eml_op_batch_normalization(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0];
    if (x->count == 0)
        return EML_OK;
    struct rows r = {.c = c, .n = x->shape.dim[x->shape.rank - 1]};
    EML_TRY(eml_fused_act(c, 1, r.n, &r.act));
    const struct eml_view a = {.dtype = x->dtype, .data = c->scratch.ptr};
    for (int64_t k = 0; k < r.n; k++) {
        double f =
            eml_real_at(&c->in[1], k) / sqrt(eml_real_at(&c->in[4], k) + (double)c->params[0]);
        eml_real_set(&a, k, f);
        eml_real_set(&a, r.n + k, eml_real_at(&c->in[2], k) - eml_real_at(&c->in[3], k) * f);
    }
    eml_pool_for(c->pool, x->count / r.n, grain_of(r.n),
                 eml_wide_is(c) ? wide_affine_rows : affine_rows, &r);
    return EML_OK;
}

/* ---- InstanceNormalization, channels last: mean and variance over the spatial dims ---- */

enum { CHANNELS = 64 };

struct instance {
    const struct eml_op_ctx *c;
    int64_t ch, spatial, blocks;
};

static void instance_block(const struct instance *s, int64_t image, int64_t c0)
{
    const struct eml_op_ctx *c = s->c;
    int64_t n = s->ch - c0 < CHANNELS ? s->ch - c0 : CHANNELS, at = image * s->spatial * s->ch + c0;
    const float *x = (const float *)c->in[0].data + at;
    const float *scale = (const float *)c->in[1].data + c0,
                *bias = (const float *)c->in[2].data + c0;
    float *y = (float *)c->out[0].data + at;
    double mean[CHANNELS] = {0}, var[CHANNELS] = {0};
    for (int64_t i = 0; i < s->spatial; i++)
        for (int64_t k = 0; k < n; k++)
            mean[k] += (double)x[i * s->ch + k];
    for (int64_t k = 0; k < n; k++)
        mean[k] /= (double)s->spatial;
    for (int64_t i = 0; i < s->spatial; i++)
        for (int64_t k = 0; k < n; k++) {
            double d = (double)x[i * s->ch + k] - mean[k];
            var[k] += d * d;
        }
    for (int64_t k = 0; k < n; k++)
        var[k] = (double)scale[k] / sqrt(var[k] / (double)s->spatial + (double)c->params[0]);
    for (int64_t i = 0; i < s->spatial; i++)
        for (int64_t k = 0; k < n; k++)
            y[i * s->ch + k] =
                (float)(((double)x[i * s->ch + k] - mean[k]) * var[k] + (double)bias[k]);
}

static void instance_blocks(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct instance *s = arg;
    for (int64_t i = begin; i < end; i++)
        instance_block(s, i / s->blocks, i % s->blocks * CHANNELS);
}

enum eml_err eml_op_instance_normalization(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0];
    if (x->count == 0)
        return EML_OK;
    uint32_t rank = x->shape.rank;
    struct instance s = {
        .c = c, .ch = x->shape.dim[rank - 1], .spatial = product(&x->shape, 1, rank - 1)};
    s.blocks = (s.ch - 1) / CHANNELS + 1;
    eml_pool_for(c->pool, x->shape.dim[0] * s.blocks, 1, instance_blocks, &s);
    return EML_OK;
}

/* ---- GroupNormalization, [N, C, ...]: mean and variance over groups of channels ---- */

struct groups {
    const struct eml_op_ctx *c;
    int64_t groups, channels; /* per image; per group */
    int64_t inner;            /* elements of a channel */
    bool per_channel;         /* scale and bias; else per group */
};

static void group_norm_groups(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct groups *g = arg;
    const float *scale = g->c->in[1].data, *bias = g->c->in[2].data;
    int64_t n = g->channels * g->inner;
    for (int64_t i = begin; i < end; i++) {
        const float *x = (const float *)g->c->in[0].data + i * n;
        float *y = (float *)g->c->out[0].data + i * n;
        double mean = 0, var = 0;
        for (int64_t k = 0; k < n; k++)
            mean += (double)x[k];
        mean /= (double)n;
        for (int64_t k = 0; k < n; k++)
            var += ((double)x[k] - mean) * ((double)x[k] - mean);
        double inv = 1 / sqrt(var / (double)n + (double)g->c->params[0]);
        for (int64_t ch = 0; ch < g->channels; ch++) {
            int64_t group = i % g->groups;
            int64_t at = g->per_channel ? group * g->channels + ch : group;
            double a = (double)scale[at] * inv, b = (double)bias[at] - mean * a;
            for (int64_t k = ch * g->inner; k < (ch + 1) * g->inner; k++)
                y[k] = (float)((double)x[k] * a + b);
        }
    }
}

enum eml_err eml_op_group_normalization(const struct eml_op_ctx *c)
{
    const struct eml_shape *x = &c->in[0].shape;
    if (c->in[0].count == 0)
        return EML_OK;
    struct groups g = {.c = c, .groups = eml_node_int(c->node, EML_ATTR_NUM_GROUPS, 1)};
    g.channels = x->dim[1] / g.groups;
    g.inner = product(x, 2, x->rank);
    g.per_channel = c->in[1].count == x->dim[1];
    eml_pool_for(c->pool, x->dim[0] * g.groups, grain_of(g.channels * g.inner), group_norm_groups,
                 &g);
    return EML_OK;
}
