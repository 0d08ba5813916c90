/* LpPool, channels-last: (sum over the window of |x|^p)^(1/p). */
#include "engine/spatial.h"

#include <math.h>
#include <string.h>

enum { TASK_FLOATS = 64 * 1024 };

struct job {
    struct eml_spatial s;
    void *y;
    const void *x;
    int64_t p;
    void (*pixel)(const struct job *j, const struct eml_pixel *p, int64_t at);
};

/* The input pixel of tap t; false if it lies outside. */
static bool inside(const struct eml_spatial *s, const struct eml_pixel *p, int64_t t, int64_t at[3])
{
    const int64_t k[3] = {t / (s->kernel[1] * s->kernel[2]), t / s->kernel[2] % s->kernel[1],
                          t % s->kernel[2]};
    bool in = true;
    for (int d = 0; d < 3; d++) {
        at[d] = eml_spatial_in(s, d, p->at[d], k[d]);
        in = in && eml_spatial_inside(s, d, at[d]);
    }
    return in;
}

#define PIXEL(NAME, T, ABS, SQRT, POW)                                                             \
    static void pixel_##NAME(const struct job *j, const struct eml_pixel *p, int64_t at)           \
    {                                                                                              \
        const struct eml_spatial *s = &j->s;                                                       \
        T *y = (T *)j->y + at * s->c;                                                              \
        int64_t in[3];                                                                             \
        memset(y, 0, (size_t)s->c * sizeof *y);                                                    \
        for (int64_t t = 0; t < s->taps; t++) {                                                    \
            if (!inside(s, p, t, in))                                                              \
                continue;                                                                          \
            const T *x = (const T *)j->x + eml_spatial_offset(s, p->image, in[0], in[1], in[2]);   \
            for (int64_t i = 0; i < s->c; i++)                                                     \
                y[i] += j->p == 1 ? ABS(x[i]) : j->p == 2 ? x[i] * x[i] : POW(ABS(x[i]), (T)j->p); \
        }                                                                                          \
        for (int64_t i = 0; i < s->c && j->p != 1; i++)                                            \
            y[i] = j->p == 2 ? SQRT(y[i]) : POW(y[i], 1 / (T)j->p);                                \
    }
PIXEL(f32, float, fabsf, sqrtf, powf)
PIXEL(f64, double, fabs, sqrt, pow)

static void pixels(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    (void)thread;
    struct eml_pixel p = eml_pixel_at(&j->s, begin);
    for (int64_t i = begin; i < end; i++, eml_pixel_next(&j->s, &p))
        j->pixel(j, &p, i);
}

enum eml_err eml_op_lp_pool(const struct eml_op_ctx *c)
{
    struct eml_window w;
    EML_TRY(eml_window_make(c->node, &c->in[0].shape, NULL, &w, c->why));
    struct job j = {.s = eml_spatial_of(&w),
                    .y = c->out[0].data,
                    .x = c->in[0].data,
                    .p = eml_node_int(c->node, EML_ATTR_P, 2),
                    .pixel = c->in[0].dtype == EML_DT_F64 ? pixel_f64 : pixel_f32};
    if (c->out[0].count != 0)
        eml_pool_for(c->pool, j.s.pixels, TASK_FLOATS / (j.s.taps * j.s.c + 64) + 1, pixels, &j);
    return EML_OK;
}
