/* MaxPool where the plain kernel does not do: other types than float32, and the places of the
 * maxima as a second output. MaxUnpool, which puts values to such places. */
#include "engine/pool_index.h"

#include "engine/indices.h"
#include "engine/sample.h"
#include "engine/spatial.h"

#include <math.h>
#include <string.h>

struct job {
    struct eml_spatial s;
    const void *x;
    void *y;
    int64_t *index; /* or NULL */
    bool by_columns;
    void (*pixel)(const struct job *j, const struct eml_pixel *p, int64_t at);
};

/* The place of an input pixel of a channel, counted in ONNX's layout. */
static int64_t place(const struct job *j, int64_t image, int64_t channel, const int64_t in[3])
{
    const int64_t *size = j->s.in;
    int64_t plane = image * j->s.c + channel;
    int64_t at = j->by_columns ? in[0] + size[0] * (in[1] + size[1] * in[2])
                               : (in[0] * size[1] + in[1]) * size[2] + in[2];
    return plane * size[0] * size[1] * size[2] + at;
}

/* Of equal elements the first counts; NaN wins. A window wholly in the padding has the least value
 * and no place: -1. */
#define PIXEL(NAME, T, LEAST)                                                                      \
    static void pixel_##NAME(const struct job *j, const struct eml_pixel *p, int64_t at)           \
    {                                                                                              \
        const struct eml_spatial *s = &j->s;                                                       \
        for (int64_t ch = 0; ch < s->c; ch++) {                                                    \
            T best = LEAST;                                                                        \
            int64_t where = -1;                                                                    \
            for (int64_t t = 0; t < s->taps; t++) {                                                \
                int64_t k[3] = {t / s->kernel[2] / s->kernel[1], t / s->kernel[2] % s->kernel[1],  \
                                t % s->kernel[2]};                                                 \
                int64_t in[3];                                                                     \
                bool inside = true;                                                                \
                for (int d = 0; d < 3; d++) {                                                      \
                    in[d] = eml_spatial_in(s, d, p->at[d], k[d]);                                  \
                    inside = inside && eml_spatial_inside(s, d, in[d]);                            \
                }                                                                                  \
                if (!inside)                                                                       \
                    continue;                                                                      \
                T v =                                                                              \
                    ((const T *)j->x)[eml_spatial_offset(s, p->image, in[0], in[1], in[2]) + ch];  \
                if (where >= 0 && !(v > best) && !(v != v && best == best))                        \
                    continue;                                                                      \
                best = v;                                                                          \
                where = place(j, p->image, ch, in);                                                \
            }                                                                                      \
            ((T *)j->y)[at * s->c + ch] = best;                                                    \
            if (j->index != NULL)                                                                  \
                j->index[at * s->c + ch] = where;                                                  \
        }                                                                                          \
    }
PIXEL(F32, float, (float)-HUGE_VAL)
PIXEL(F64, double, -HUGE_VAL)
PIXEL(I8, int8_t, INT8_MIN)
PIXEL(U8, uint8_t, 0)

static void pixels(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct job *j = arg;
    struct eml_pixel p = eml_pixel_at(&j->s, begin);
    for (int64_t i = begin; i < end; i++, eml_pixel_next(&j->s, &p))
        j->pixel(j, &p, i);
}

enum eml_err eml_max_pool_indexed(const struct eml_op_ctx *c)
{
    struct eml_window w;
    EML_TRY(eml_window_make(c->node, &c->in[0].shape, NULL, &w, c->why));
    struct job j = {.s = eml_spatial_of(&w),
                    .x = c->in[0].data,
                    .y = c->out[0].data,
                    .index = c->n_out > 1 ? c->out[1].data : NULL,
                    .by_columns = eml_node_int(c->node, EML_ATTR_STORAGE_ORDER, 0) != 0};
    switch (c->in[0].dtype) {
    case EML_DT_F64:
        j.pixel = pixel_F64;
        break;
    case EML_DT_I8:
        j.pixel = pixel_I8;
        break;
    case EML_DT_U8:
        j.pixel = pixel_U8;
        break;
    default:
        j.pixel = pixel_F32;
    }
    if (c->out[0].count > 0)
        eml_pool_for(c->pool, j.s.pixels, 1 + 65536 / (j.s.taps * j.s.c), pixels, &j);
    return EML_OK;
}

/* ---- MaxUnpool ---- */

/* The place in the output of a place in the shape that the attributes imply; -1 if it has none. */
static int64_t moved(const struct eml_shape *from, const struct eml_shape *to, int64_t at)
{
    int64_t out = 0, stride = 1;
    for (uint32_t d = from->rank; d-- > 0;) {
        int64_t k = at % from->dim[d];
        at /= from->dim[d];
        if (k >= to->dim[d])
            return -1;
        out += k * stride;
        stride *= to->dim[d];
    }
    return out;
}

enum eml_err eml_op_max_unpool(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *k = &c->in[1], *y = &c->out[0];
    struct eml_shape natural;
    int64_t n;
    EML_TRY(eml_unpool_make(c->node, &x->shape, &natural));
    if (!eml_shape_count(&natural, &n))
        return eml_fail(c->why, EML_E_INPUT, "tensor above the size limit", -1);
    size_t width = eml_dtype_bytes(y->dtype);
    if (y->count > 0)
        memset(y->data, 0, (size_t)y->count * width);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = eml_index_at(k, i);
        at = at >= 0 && at < n ? moved(&natural, &y->shape, at) : -1;
        if (at < 0)
            return eml_index_bad(c);
        memcpy((uint8_t *)y->data + (size_t)at * width,
               (const uint8_t *)x->data + (size_t)i * width, width);
    }
    return EML_OK;
}
