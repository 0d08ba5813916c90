/* DeformConv: a 2-D convolution whose taps lie at offsets that are data. Layout as in ONNX. Each
 * output pixel gathers what its taps see, then multiplies it with the weights. */
#include "engine/exec.h"
#include "engine/sample.h"

#include "base/checked.h"

#include <math.h>

struct job {
    struct eml_window w;
    const float *x, *weight, *offset, *bias, *mask;
    float *y, *room;
    int64_t out_c, offset_groups, taps, column; /* column: floats that one pixel gathers */
};

static const float *operand(const struct eml_op_ctx *c, uint32_t i)
{
    return i < c->n_in && c->in[i].dtype != EML_DT_NONE ? c->in[i].data : NULL;
}

/* Row pitch of a thread's gathered column, in floats: whole cache lines. */
static int64_t pitch(int64_t column)
{
    return (column + 15) & ~(int64_t)15;
}

bool eml_scratch_deform_conv(const struct eml_op_ctx *c, size_t *bytes)
{
    const struct eml_shape *w = &c->in[1].shape;
    int64_t column = c->in[0].shape.dim[1], n;
    *bytes = 0;
    for (uint32_t i = 2; i < 4; i++)
        if (!eml_mul_i64(column, w->dim[i], &column))
            return false;
    if (column > INT32_MAX || !eml_mul_i64(pitch(column), (int64_t)c->threads * 4, &n))
        return false;
    *bytes = (size_t)n;
    return true;
}

/* One pixel; what lies outside is 0. */
static float pixel(const float *image, int64_t h, int64_t w, int64_t row, int64_t column)
{
    return row >= 0 && row < h && column >= 0 && column < w ? image[row * w + column] : 0;
}

static float bilinear(const float *image, int64_t h, int64_t w, float v, float u)
{
    if (!(v > -1 && v < (float)h && u > -1 && u < (float)w))
        return 0;
    float row = floorf(v), column = floorf(u), b = v - row, a = u - column;
    int64_t i = (int64_t)row, k = (int64_t)column;
    return (1 - b) * ((1 - a) * pixel(image, h, w, i, k) + a * pixel(image, h, w, i, k + 1)) +
           b * ((1 - a) * pixel(image, h, w, i + 1, k) + a * pixel(image, h, w, i + 1, k + 1));
}

static void gather(const struct job *j, int64_t n, int64_t row, int64_t column, float *out)
{
    const struct eml_window *w = &j->w;
    int64_t pixels = w->out[0] * w->out[1], at = row * w->out[1] + column;
    int64_t per = w->in_c / j->offset_groups;
    for (int64_t ch = 0; ch < w->in_c; ch++) {
        const float *image = j->x + (n * w->in_c + ch) * w->in[0] * w->in[1];
        int64_t first = (n * j->offset_groups + ch / per) * j->taps;
        for (int64_t t = 0; t < j->taps; t++) {
            const float *offset = j->offset + (first + t) * 2 * pixels + at;
            const int64_t down = t / w->kernel[1], right = t % w->kernel[1];
            float v =
                (float)(row * w->stride[0] - w->pad_begin[0] + down * w->dilation[0]) + offset[0];
            float u = (float)(column * w->stride[1] - w->pad_begin[1] + right * w->dilation[1]) +
                      offset[pixels];
            float m = j->mask != NULL ? j->mask[(first + t) * pixels + at] : 1;
            *out++ = m * bilinear(image, w->in[0], w->in[1], v, u);
        }
    }
}

static void rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    const struct eml_window *w = &j->w;
    float *column = j->room + (int64_t)thread * pitch(j->column);
    int64_t pixels = w->out[0] * w->out[1], k = j->column / w->group;
    int64_t per = j->out_c / w->group; /* output channels of a group */
    for (int64_t i = begin; i < end; i++) {
        int64_t n = i / pixels, at = i % pixels;
        gather(j, n, at / w->out[1], at % w->out[1], column);
        for (int64_t o = 0; o < j->out_c; o++) {
            const float *a = j->weight + o * k, *b = column + o / per * k;
            float sum = j->bias != NULL ? j->bias[o] : 0;
            for (int64_t q = 0; q < k; q++)
                sum += a[q] * b[q];
            j->y[(n * j->out_c + o) * pixels + at] = sum;
        }
    }
}

enum eml_err eml_op_deform_conv(const struct eml_op_ctx *c)
{
    struct job j = {.x = c->in[0].data,
                    .weight = c->in[1].data,
                    .offset = c->in[2].data,
                    .bias = operand(c, 3),
                    .mask = operand(c, 4),
                    .y = c->out[0].data,
                    .room = (float *)(void *)c->scratch.ptr,
                    .out_c = c->out[0].shape.dim[1],
                    .offset_groups = eml_node_int(c->node, EML_ATTR_OFFSET_GROUP, 1)};
    EML_TRY(eml_deform_window(c->node, &c->in[0].shape, &c->in[1].shape, &j.w, c->why));
    if (c->out[0].count == 0)
        return EML_OK;
    j.taps = j.w.kernel[0] * j.w.kernel[1];
    j.column = j.w.in_c * j.taps;
    eml_pool_for(c->pool, c->out[0].count / j.out_c, 1 + 65536 / (j.column * j.out_c + 1), rows,
                 &j);
    return EML_OK;
}
