/* LpPool, channels-last: (sum over the window of |x|^p)^(1/p). */
#include "engine/spatial.h"

#include <math.h>
#include <string.h>

enum { TASK_FLOATS = 64 * 1024 };

struct job {
    struct eml_spatial s;
    float *y;
    const float *x;
    int64_t p;
};

static void add_row(const struct job *j, float *y, const float *x)
{
    for (int64_t i = 0; i < j->s.c; i++)
        y[i] += j->p == 1 ? fabsf(x[i]) : j->p == 2 ? x[i] * x[i] : powf(fabsf(x[i]), (float)j->p);
}

static void root_row(const struct job *j, float *y)
{
    for (int64_t i = 0; i < j->s.c && j->p != 1; i++)
        y[i] = j->p == 2 ? sqrtf(y[i]) : powf(y[i], 1.0F / (float)j->p);
}

static void pixel(const struct job *j, const struct eml_pixel *p, float *y)
{
    const struct eml_spatial *s = &j->s;
    memset(y, 0, (size_t)s->c * sizeof *y);
    for (int64_t t = 0; t < s->taps; t++) {
        int64_t k[3] = {t / (s->kernel[1] * s->kernel[2]), t / s->kernel[2] % s->kernel[1],
                        t % s->kernel[2]};
        int64_t at[3];
        bool inside = true;
        for (int d = 0; d < 3; d++) {
            at[d] = eml_spatial_in(s, d, p->at[d], k[d]);
            inside = inside && eml_spatial_inside(s, d, at[d]);
        }
        if (inside)
            add_row(j, y, j->x + eml_spatial_offset(s, p->image, at[0], at[1], at[2]));
    }
    root_row(j, y);
}

static void pixels(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    (void)thread;
    struct eml_pixel p = eml_pixel_at(&j->s, begin);
    for (int64_t i = begin; i < end; i++, eml_pixel_next(&j->s, &p))
        pixel(j, &p, j->y + i * j->s.c);
}

enum eml_err eml_op_lp_pool(const struct eml_op_ctx *c)
{
    struct eml_window w;
    EML_TRY(eml_window_make(c->node, &c->in[0].shape, NULL, &w, c->why));
    struct job j = {.s = eml_spatial_of(&w),
                    .y = c->out[0].data,
                    .x = c->in[0].data,
                    .p = eml_node_int(c->node, EML_ATTR_P, 2)};
    if (c->out[0].count != 0)
        eml_pool_for(c->pool, j.s.pixels, TASK_FLOATS / (j.s.taps * j.s.c + 64) + 1, pixels, &j);
    return EML_OK;
}
