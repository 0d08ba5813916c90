/* QuantizeLinear, DequantizeLinear (per tensor, per axis, in blocks), DynamicQuantizeLinear. */
#include "engine/kernels/i8.h"
#include "engine/quantize.h"

#include "engine/formats.h"
#include "engine/fused.h"
#include "engine/typed.h"

#include <math.h>
#include <string.h>

enum { GRAIN = 16 * 1024 };

/* Element [o, d, i] of [outer, dim, inner] has scale number (o * blocks + d / block) * inner + i in
 * blocks, d per axis (one row of scales for all), 0 per tensor. */
struct grid {
    const struct eml_op_ctx *c;
    int64_t dim, inner, block, blocks;
    bool per_axis, in_blocks;
};

static struct grid grid_of(const struct eml_op_ctx *c)
{
    const struct eml_shape *s = &c->in[0].shape;
    int64_t axis = eml_node_int(c->node, EML_ATTR_AXIS, 1);
    struct grid g = {.c = c, .dim = 1, .inner = 1};
    g.block = eml_node_int(c->node, EML_ATTR_BLOCK_SIZE, 0);
    g.in_blocks = g.block > 0;
    g.per_axis = !g.in_blocks && c->in[1].count > 1;
    if (!g.in_blocks && !g.per_axis)
        return g;
    axis += axis < 0 ? (int64_t)s->rank : 0;
    g.dim = s->dim[axis];
    for (uint32_t i = (uint32_t)axis + 1; i < s->rank; i++)
        g.inner *= s->dim[i];
    g.blocks = g.in_blocks ? g.dim / g.block + (g.dim % g.block != 0) : 1;
    return g;
}

static size_t scale_index(const struct grid *g, int64_t at)
{
    if (g->per_axis)
        return (size_t)(at / g->inner % g->dim);
    if (!g->in_blocks)
        return 0;
    int64_t i = at % g->inner, d = at / g->inner % g->dim, o = at / g->inner / g->dim;
    return (size_t)((o * g->blocks + d / g->block) * g->inner + i);
}

/* Elements from `at` on that have the same scale, at most `end`. */
static int64_t run_end(const struct grid *g, int64_t at, int64_t end)
{
    if (!g->per_axis && !g->in_blocks)
        return end;
    if (g->in_blocks && g->inner == 1) {
        int64_t d = at % g->dim, left = g->block - d % g->block;
        left = left < g->dim - d ? left : g->dim - d;
        return at + left < end ? at + left : end;
    }
    int64_t stop = g->in_blocks ? at + 1 : (at / g->inner + 1) * g->inner;
    return stop < end ? stop : end;
}

static int64_t load_int(const struct eml_view *v, int64_t i)
{
    switch (v->dtype) {
#define LOAD(name, type)                                                                           \
    case EML_DT_##name:                                                                            \
        return ((const type *)v->data)[i];
        LOAD(U8, uint8_t)
        LOAD(I8, int8_t)
        LOAD(U16, uint16_t)
        LOAD(U4, uint8_t)
        LOAD(I4, int8_t)
        LOAD(I16, int16_t)
        LOAD(I32, int32_t)
#undef LOAD
    default:
        EML_BUG();
    }
}

/* Of a float8 the zero point is 0, as the standard has it. */
static int64_t zero_at(const struct eml_op_ctx *c, size_t i)
{
    if (c->n_in < 3 || c->in[2].dtype == EML_DT_NONE || eml_format_is(c->in[2].dtype))
        return 0;
    return load_int(&c->in[2], (int64_t)i);
}

static double load_number(const struct eml_view *v, int64_t i)
{
    return v->dtype == EML_DT_I32 ? (double)((const int32_t *)v->data)[i]
                                  : (double)eml_load_scale(v, (size_t)i);
}

static void range_of(enum eml_dtype t, int64_t *lo, int64_t *hi)
{
    const bool four = t == EML_DT_U4 || t == EML_DT_I4;
    const unsigned bits = four ? 4 : eml_dtype_bytes(t) == 1 ? 8 : 16;
    const bool is_signed = t == EML_DT_I4 || t == EML_DT_I8 || t == EML_DT_I16;
    *lo = is_signed ? -((int64_t)1 << (bits - 1)) : 0;
    *hi = *lo + ((int64_t)1 << bits) - 1;
}

static void store_int(const struct eml_view *v, int64_t i, int64_t x)
{
    if (eml_dtype_bytes(v->dtype) == 1)
        ((uint8_t *)v->data)[i] = (uint8_t)x;
    else
        ((uint16_t *)v->data)[i] = (uint16_t)x;
}

static void quantize_slowly(const struct eml_op_ctx *c, int64_t from, int64_t to, float scale,
                            int64_t zero)
{
    int64_t lo, hi;
    range_of(c->out[0].dtype, &lo, &hi);
    for (int64_t i = from; i < to; i++) {
        double v = nearbyint((double)((float)load_number(&c->in[0], i) / scale)) + (double)zero;
        v = v > (double)lo ? v : (double)lo;
        v = v < (double)hi ? v : (double)hi;
        store_int(&c->out[0], i, (int64_t)v);
    }
}

static void quantize_to_float8(const struct eml_op_ctx *c, int64_t from, int64_t to, float scale)
{
    bool saturate = eml_node_int(c->node, EML_ATTR_SATURATE, 1) != 0;
    for (int64_t i = from; i < to; i++) {
        float v = (float)load_number(&c->in[0], i) / scale;
        ((uint8_t *)c->out[0].data)[i] =
            (uint8_t)eml_format_encode(c->out[0].dtype, (double)v, saturate);
    }
}

static void quantize(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct grid *g = arg;
    const struct eml_op_ctx *c = g->c;
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    const struct eml_i8_kernels *kn = eml_i8_kernels_for(c->kernels->isa);
    (void)thread;
    for (int64_t at = begin; at < end;) {
        const int64_t stop = run_end(g, at, end);
        const size_t s = scale_index(g, at);
        const float scale = eml_load_scale(&c->in[1], s);
        const int64_t zero = zero_at(c, s);
        int64_t lo, hi;
        range_of(y->dtype, &lo, &hi);
        if (eml_format_is(y->dtype))
            quantize_to_float8(c, at, stop, scale);
        else if (x->dtype == EML_DT_F32 && eml_dtype_bytes(y->dtype) == 1)
            kn->quantize((uint8_t *)y->data + at, (const float *)x->data + at, (size_t)(stop - at),
                         scale, (int32_t)zero, (int32_t)lo, (int32_t)hi);
        else
            quantize_slowly(c, at, stop, scale, zero);
        at = stop;
    }
}

enum eml_err eml_op_quantize_linear(const struct eml_op_ctx *c)
{
    struct grid g = grid_of(c);
    eml_pool_for(c->pool, c->in[0].count, GRAIN, quantize, &g);
    return EML_OK;
}

static void dequantize(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct grid *g = arg;
    const struct eml_op_ctx *c = g->c;
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    (void)thread;
    for (int64_t at = begin; at < end;) {
        const int64_t stop = run_end(g, at, end);
        const size_t s = scale_index(g, at);
        const float scale = eml_load_scale(&c->in[1], s);
        const int64_t zero = zero_at(c, s);
        for (; at < stop; at++) {
            float whole = eml_format_is(x->dtype)
                              ? (float)eml_format_decode(x->dtype, ((const uint8_t *)x->data)[at])
                              : (float)(load_int(x, at) - zero);
            float v = whole * scale;
            if (y->dtype == EML_DT_F32)
                ((float *)y->data)[at] = v;
            else
                eml_halves_from_f32(y->dtype, (uint16_t *)y->data + at, &v, 1);
        }
    }
}

enum eml_err eml_op_dequantize_linear(const struct eml_op_ctx *c)
{
    struct grid g = grid_of(c);
    eml_pool_for(c->pool, c->in[0].count, GRAIN, dequantize, &g);
    return EML_OK;
}

/* ---- DynamicQuantizeLinear ---- */

struct dynamic {
    const struct eml_i8_kernels *kn;
    const float *x;
    uint8_t *y;
    float *ranges; /* [pieces, 2] */
    float scale;
    int32_t zero;
};

static void find_range(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct dynamic *d = arg;
    float *r = d->ranges + begin / GRAIN * 2;
    (void)thread;
    r[0] = r[1] = 0;
    d->kn->range(d->x + begin, (size_t)(end - begin), &r[0], &r[1]);
}

static void quantize_all(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct dynamic *d = arg;
    (void)thread;
    d->kn->quantize(d->y + begin, d->x + begin, (size_t)(end - begin), d->scale, d->zero, 0, 255);
}

static int64_t pieces(const struct eml_op_ctx *c)
{
    return c->in[0].count / GRAIN + 1;
}

bool eml_scratch_dynamic_quantize_linear(const struct eml_op_ctx *c, size_t *bytes)
{
    struct eml_scratch s = {0};
    (void)eml_scratch_take(&s, (size_t)pieces(c), 2 * sizeof(float));
    *bytes = s.used;
    return !s.failed;
}

/* The range is widened to hold 0; a range of nothing has scale 1 (as ONNX Runtime). */
enum eml_err eml_op_dynamic_quantize_linear(const struct eml_op_ctx *c)
{
    struct eml_scratch s = eml_scratch_of(c);
    struct dynamic d = {.kn = eml_i8_kernels_for(c->kernels->isa),
                        .x = c->in[0].data,
                        .y = c->out[0].data,
                        .ranges = eml_scratch_take(&s, (size_t)pieces(c), 2 * sizeof(float))};
    const int64_t n = c->in[0].count;
    float lo = 0, hi = 0;
    eml_pool_for(c->pool, n, GRAIN, find_range, &d);
    for (int64_t i = 0; i * GRAIN < n; i++) {
        lo = d.ranges[2 * i] < lo ? d.ranges[2 * i] : lo;
        hi = d.ranges[2 * i + 1] > hi ? d.ranges[2 * i + 1] : hi;
    }
    d.scale = hi == lo ? 1 : (hi - lo) / 255;
    float zero = 0 - lo / d.scale;
    zero = zero > 0 ? zero : 0;
    d.zero = (int32_t)nearbyintf(zero < 255 ? zero : 255);
    eml_pool_for(c->pool, n, GRAIN, quantize_all, &d);
    if (c->n_out > 1 && c->out[1].dtype != EML_DT_NONE)
        memcpy(c->out[1].data, &d.scale, sizeof d.scale);
    if (c->n_out > 2 && c->out[2].dtype != EML_DT_NONE)
        *(uint8_t *)c->out[2].data = (uint8_t)d.zero;
    return EML_OK;
}
