/* Col2Im, CenterCropPad, AffineGrid: plain layout. */
#include "engine/exec.h"
#include "engine/indices.h"
#include "engine/sample.h"
#include "engine/walk.h"

#include <string.h>

/* ---- Col2Im ---- */

struct col2im {
    struct eml_patches p;
    const float *x;
    float *y;
    int64_t pixels; /* of one image of one channel */
};

/* Adds row `tap` of a channel, one number per window, to the image. */
static void add_tap(const struct col2im *j, int64_t tap, const float *row, float *image)
{
    const struct eml_patches *p = &j->p;
    int64_t inside[EML_RANK_MAX] = {0}, step[EML_RANK_MAX] = {0};
    for (uint32_t d = p->n; d-- > 0;) {
        inside[d] = tap % p->block[d] * p->dilation[d] - p->pad[d];
        tap /= p->block[d];
    }
    for (int64_t i = 0; i < p->windows; i++) {
        int64_t at = 0;
        bool on = true;
        for (uint32_t d = 0; d < p->n; d++) {
            int64_t k = step[d] * p->stride[d] + inside[d];
            on = on && k >= 0 && k < p->image[d];
            at = at * p->image[d] + k;
        }
        if (on)
            image[at] += row[i];
        for (uint32_t d = p->n; d-- > 0;) {
            if (++step[d] < p->steps[d])
                break;
            step[d] = 0;
        }
    }
}

static void col2im_images(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct col2im *j = arg;
    for (int64_t i = begin; i < end; i++) {
        float *image = j->y + i * j->pixels;
        memset(image, 0, (size_t)j->pixels * sizeof *image);
        for (int64_t tap = 0; tap < j->p.taps; tap++)
            add_tap(j, tap, j->x + (i * j->p.taps + tap) * j->p.windows, image);
    }
}

enum eml_err eml_op_col2im(const struct eml_op_ctx *c)
{
    struct col2im j = {.x = c->in[0].data, .y = c->out[0].data, .pixels = 1};
    int64_t image[EML_RANK_MAX], block[EML_RANK_MAX];
    uint32_t n = c->out[0].shape.rank - 2;
    if (c->out[0].count == 0)
        return EML_OK;
    for (uint32_t i = 0; i < n; i++) {
        image[i] = eml_index_at(&c->in[1], i);
        block[i] = eml_index_at(&c->in[2], i);
        j.pixels *= image[i];
    }
    EML_TRY(eml_patches_make(c->node, image, block, n, &j.p));
    eml_pool_for(c->pool, c->out[0].count / j.pixels, 1, col2im_images, &j);
    return EML_OK;
}

/* ---- CenterCropPad ---- */

/* Copies what input and output have in common, centred; the rest is zero. An odd element more is
 * cut or added at the end. */
enum eml_err eml_op_center_crop_pad(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    int64_t sx[EML_RANK_MAX], sy[EML_RANK_MAX], from = 0, to = 0;
    size_t width = eml_dtype_bytes(x->dtype);
    if (y->count == 0)
        return EML_OK;
    memset(y->data, 0, (size_t)y->count * width);
    if (x->count == 0)
        return EML_OK;
    struct eml_walk w = eml_walk_start(2);
    eml_strides(&x->shape, sx);
    eml_strides(&y->shape, sy);
    for (uint32_t d = 0; d < x->shape.rank; d++) {
        int64_t more = y->shape.dim[d] - x->shape.dim[d];
        const int64_t s[2] = {sy[d], sx[d]};
        from += more < 0 ? -more / 2 * sx[d] : 0;
        to += more > 0 ? more / 2 * sy[d] : 0;
        eml_walk_dim(&w, more < 0 ? y->shape.dim[d] : x->shape.dim[d], s);
    }
    eml_walk_finish(&w);
    eml_walk_copy(&w, c->pool, width, (uint8_t *)y->data + (size_t)to * width,
                  (const uint8_t *)x->data + (size_t)from * width);
    return EML_OK;
}

/* ---- AffineGrid ---- */

/* Coordinate of pixel i of n, in [-1, 1]. */
static float coordinate(int64_t i, int64_t n, bool align)
{
    if (!align)
        return (float)(2 * i + 1) / (float)n - 1;
    return n == 1 ? 0 : 2 * (float)i / (float)(n - 1) - 1;
}

enum eml_err eml_op_affine_grid(const struct eml_op_ctx *c)
{
    const struct eml_view *y = &c->out[0];
    bool align = eml_node_int(c->node, EML_ATTR_ALIGN_CORNERS, 0) != 0;
    uint32_t n = y->shape.rank - 2;
    int64_t pixels = 1;
    for (uint32_t d = 0; d < n; d++)
        pixels *= y->shape.dim[d + 1];
    for (int64_t i = 0; i < y->count / (int64_t)n; i++) {
        const float *theta = (const float *)c->in[0].data + i / pixels * n * (n + 1);
        float at[EML_SPATIAL_MAX], *out = (float *)y->data + i * n;
        int64_t rest = i % pixels;
        for (uint32_t d = 0; d < n; d++) { /* the innermost dim comes first */
            int64_t size = y->shape.dim[n - d];
            at[d] = coordinate(rest % size, size, align);
            rest /= size;
        }
        for (uint32_t row = 0; row < n; row++, theta += n + 1) {
            out[row] = theta[n];
            for (uint32_t d = 0; d < n; d++)
                out[row] += theta[d] * at[d];
        }
    }
    return EML_OK;
}
