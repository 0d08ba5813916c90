/* Windows over channels-last tensors, always with three spatial dims (missing ones are 1, in
 * front): what convolution and pooling share. Positions are those of one output pixel. */
#ifndef EML_ENGINE_SPATIAL_H
#define EML_ENGINE_SPATIAL_H

#include "engine/exec.h"

struct eml_spatial {
    int64_t batch, c; /* c: channels of the input */
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_end[3];
    int64_t taps;   /* product of kernel, at most 2^31 - 1 */
    int64_t pixels; /* of the output: batch times out */
};

struct eml_spatial eml_spatial_of(const struct eml_window *w);

struct eml_pixel {
    int64_t image, at[3];
};
struct eml_pixel eml_pixel_at(const struct eml_spatial *s, int64_t index);
/* Steps to the next pixel in memory order. */
void eml_pixel_next(const struct eml_spatial *s, struct eml_pixel *p);

/* Input coordinate of tap k along dim d; may lie outside of [0, in[d]). */
static inline int64_t eml_spatial_in(const struct eml_spatial *s, int d, int64_t out, int64_t k)
{
    return out * s->stride[d] - s->pad[d] + k * s->dilation[d];
}

static inline bool eml_spatial_inside(const struct eml_spatial *s, int d, int64_t i)
{
    return (uint64_t)i < (uint64_t)s->in[d];
}

/* Transposed: the input coordinate that reaches `out` through tap k along dim d; false if there is
 * none. */
static inline bool eml_spatial_source(const struct eml_spatial *s, int d, int64_t out, int64_t k,
                                      int64_t *in)
{
    int64_t at = out + s->pad[d] - k * s->dilation[d];
    *in = at / s->stride[d];
    return at >= 0 && at % s->stride[d] == 0 && *in < s->in[d];
}

/* Offset in elements of an input pixel. */
static inline int64_t eml_spatial_offset(const struct eml_spatial *s, int64_t image, int64_t z,
                                         int64_t y, int64_t x)
{
    return (((image * s->in[0] + z) * s->in[1] + y) * s->in[2] + x) * s->c;
}

#endif
