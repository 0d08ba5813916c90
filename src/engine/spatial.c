#include "engine/spatial.h"

struct eml_spatial eml_spatial_of(const struct eml_window *w)
{
    struct eml_spatial s = {.batch = w->batch, .c = w->in_c, .taps = 1, .pixels = w->batch};
    for (int d = 0; d < 3; d++) {
        s.in[d] = s.out[d] = s.kernel[d] = s.stride[d] = s.dilation[d] = 1;
        int i = d - (3 - (int)w->n);
        if (i < 0)
            continue;
        s.in[d] = w->in[i];
        s.out[d] = w->out[i];
        s.kernel[d] = w->kernel[i];
        s.stride[d] = w->stride[i];
        s.dilation[d] = w->dilation[i];
        s.pad[d] = w->pad_begin[i];
        s.pad_end[d] = w->pad_end[i];
        s.taps = s.taps > INT32_MAX / s.kernel[d] ? INT32_MAX : s.taps * s.kernel[d];
        s.pixels *= s.out[d];
    }
    return s;
}

struct eml_pixel eml_pixel_at(const struct eml_spatial *s, int64_t index)
{
    struct eml_pixel p;
    p.at[2] = index % s->out[2];
    index /= s->out[2];
    p.at[1] = index % s->out[1];
    index /= s->out[1];
    p.at[0] = index % s->out[0];
    p.image = index / s->out[0];
    return p;
}

void eml_pixel_next(const struct eml_spatial *s, struct eml_pixel *p)
{
    if (++p->at[2] < s->out[2])
        return;
    p->at[2] = 0;
    if (++p->at[1] < s->out[1])
        return;
    p->at[1] = 0;
    if (++p->at[0] < s->out[0])
        return;
    p->at[0] = 0;
    p->image++;
}
