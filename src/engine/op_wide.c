#include "engine/wide.h"

#include "engine/infer.h"
#include "engine/real.h"
#include "engine/spatial.h"

#include <string.h>

enum { GRAIN_PRODUCTS = 16384 };

/* y [rows, n] = a b, row by row; strides in elements. */
struct product {
    const struct eml_op_ctx *c;
    int64_t m, n, k;
    int64_t a_row, a_k, b_k, b_column; /* in a matrix */
    const struct eml_shape *batch;     /* the result's, of which the last `drop` dims are m and n */
    uint32_t drop_a, drop_b, drop;     /* dims of a, b and y that are their matrix */
};

/* First element of the operand's matrix for matrix `at` of the result: leading dims broadcast. */
static int64_t matrix_of(const struct product *p, const struct eml_shape *s, uint32_t drop,
                         int64_t size, int64_t at)
{
    int64_t stride = size, first = 0;
    const uint32_t rank = s->rank - drop, all = p->batch->rank - p->drop;
    for (uint32_t i = 0; i < all; i++) {
        const int64_t dim = p->batch->dim[all - 1 - i], index = at % dim;
        at /= dim;
        if (i >= rank)
            continue;
        first += s->dim[rank - 1 - i] == 1 ? 0 : index * stride;
        stride *= s->dim[rank - 1 - i];
    }
    return first;
}

#define ROWS(name, type)                                                                           \
    static void rows_##name(void *arg, int64_t begin, int64_t end, unsigned thread)                \
    {                                                                                              \
        (void)thread;                                                                              \
        const struct product *p = arg;                                                             \
        const struct eml_view *in = p->c->in;                                                      \
        for (int64_t i = begin; i < end; i++) {                                                    \
            const int64_t matrix = i / p->m;                                                       \
            const type *a = (const type *)in[0].data + i % p->m * p->a_row +                       \
                            matrix_of(p, &in[0].shape, p->drop_a, p->m * p->k, matrix);            \
            const type *b = (const type *)in[1].data +                                             \
                            matrix_of(p, &in[1].shape, p->drop_b, p->k * p->n, matrix);            \
            type *y = (type *)p->c->out[0].data + i * p->n;                                        \
            memset(y, 0, (size_t)p->n * sizeof *y);                                                \
            for (int64_t k = 0; k < p->k; k++)                                                     \
                for (int64_t x = 0; x < p->n; x++)                                                 \
                    y[x] += a[k * p->a_k] * b[k * p->b_k + x * p->b_column];                       \
        }                                                                                          \
    }
ROWS(f64, double)
ROWS(32, uint32_t) /* whatever the sign: the low bits are the same */
ROWS(64, uint64_t)

static void run(const struct product *p)
{
    const struct eml_op_ctx *c = p->c;
    const int64_t work = p->n * p->k;
    if (c->out[0].count == 0)
        return;
    eml_pool_fn *f = c->in[0].dtype == EML_DT_F64           ? rows_f64
                     : eml_dtype_bytes(c->in[0].dtype) == 4 ? rows_32
                                                            : rows_64;
    eml_pool_for(c->pool, c->out[0].count / p->n, GRAIN_PRODUCTS / (work + 1) + 1, f, (void *)p);
}

enum eml_err eml_wide_matmul(const struct eml_op_ctx *c)
{
    const struct eml_shape *a = &c->in[0].shape, *b = &c->in[1].shape;
    const bool a_vector = a->rank == 1, b_vector = b->rank == 1;
    struct product p = {.c = c,
                        .m = a_vector ? 1 : a->dim[a->rank - 2],
                        .n = b_vector ? 1 : b->dim[b->rank - 1],
                        .k = a->dim[a->rank - 1],
                        .a_k = 1,
                        .b_column = 1,
                        .batch = &c->out[0].shape,
                        .drop_a = a_vector ? 1 : 2,
                        .drop_b = b_vector ? 1 : 2,
                        .drop = (uint32_t)!a_vector + (uint32_t)!b_vector};
    p.a_row = p.k;
    p.b_k = p.n;
    run(&p);
    return EML_OK;
}

/* v as an integer of [lo, hi], towards zero. */
static int64_t to_signed(double v, int64_t lo, int64_t hi)
{
    return !(v > (double)lo) ? lo : !(v < (double)hi) ? hi : (int64_t)v;
}

static uint64_t to_unsigned(double v, uint64_t hi)
{
    return !(v > 0) ? 0 : !(v < (double)hi) ? hi : (uint64_t)v;
}

#define AS_I32(v) (int32_t) to_signed(v, INT32_MIN, INT32_MAX)
#define AS_I64(v) to_signed(v, INT64_MIN, INT64_MAX)
#define AS_U32(v) (uint32_t) to_unsigned(v, UINT32_MAX)
#define AS_U64(v) to_unsigned(v, UINT64_MAX)
#define AS_F64(v) (v)

/* y = alpha * y + beta * C, with C of any shape that broadcasts; integers as long as they can be,
 * then as float64. */
struct scaling {
    const struct eml_view *y, *c;
    double alpha, beta;
};

#define SCALE(name, type, sum_type)                                                                \
    static void scale_##name(const struct scaling *s)                                              \
    {                                                                                              \
        type *y = s->y->data;                                                                      \
        const bool plain = s->alpha == 1 && s->beta == 1;                                          \
        for (int64_t i = 0; i < s->y->count; i++) {                                                \
            type c = 0;                                                                            \
            if (s->c != NULL)                                                                      \
                c = ((const type *)                                                                \
                         s->c->data)[eml_broadcast_index(&s->c->shape, &s->y->shape, (size_t)i)];  \
            y[i] = plain ? (type)((sum_type)y[i] + (sum_type)c)                                    \
                         : AS_##name(s->alpha * (double)y[i] + s->beta * (double)c);               \
        }                                                                                          \
    }
SCALE(F64, double, double)
SCALE(I32, int32_t, uint32_t)
SCALE(U32, uint32_t, uint32_t)
SCALE(I64, int64_t, uint64_t)
SCALE(U64, uint64_t, uint64_t)

static void scale(const struct eml_op_ctx *c, double alpha, double beta)
{
    const struct scaling s = {.y = &c->out[0],
                              .c = eml_view_given(c->in, c->n_in, 2) ? &c->in[2] : NULL,
                              .alpha = alpha,
                              .beta = beta};
    switch (s.y->dtype) {
    case EML_DT_I32:
        scale_I32(&s);
        break;
    case EML_DT_U32:
        scale_U32(&s);
        break;
    case EML_DT_I64:
        scale_I64(&s);
        break;
    case EML_DT_U64:
        scale_U64(&s);
        break;
    default:
        scale_F64(&s);
    }
}

enum eml_err eml_wide_gemm(const struct eml_op_ctx *c)
{
    const struct eml_shape *a = &c->in[0].shape, *b = &c->in[1].shape;
    const int64_t ta = eml_node_int(c->node, EML_ATTR_TRANS_A, 0) != 0;
    const int64_t tb = eml_node_int(c->node, EML_ATTR_TRANS_B, 0) != 0;
    if (c->n_params < 2)
        return eml_fail(c->why, EML_E_INPUT, "Gemm: alpha and beta are missing", -1);
    const double alpha = (double)c->params[0], beta = (double)c->params[1];
    struct product p = {.c = c,
                        .m = a->dim[ta],
                        .n = b->dim[1 - tb],
                        .k = a->dim[1 - ta],
                        .a_row = ta ? 1 : a->dim[1],
                        .a_k = ta ? a->dim[1] : 1,
                        .b_k = tb ? 1 : b->dim[1],
                        .b_column = tb ? b->dim[1] : 1,
                        .batch = &c->out[0].shape,
                        .drop_a = 2,
                        .drop_b = 2,
                        .drop = 2};
    run(&p);
    scale(c, alpha, beta);
    return EML_OK;
}

/* ---- convolution, also transposed ---- */

struct convolution {
    const struct eml_op_ctx *c;
    struct eml_spatial s;
    int64_t ci, co, out; /* channels of a group's input and output; of the output */
    int64_t w_in,
        w_out; /* elements of w from one channel of the input, of the output, to the next */
    bool transposed;
};

/* The input pixel that tap k meets at an output pixel; false if it lies outside. */
static bool meets(const struct convolution *v, const struct eml_pixel *p, const int64_t k[3],
                  int64_t at[3])
{
    for (int d = 0; d < 3; d++) {
        if (v->transposed) {
            if (!eml_spatial_source(&v->s, d, p->at[d], k[d], &at[d]))
                return false;
        } else {
            at[d] = eml_spatial_in(&v->s, d, p->at[d], k[d]);
            if (!eml_spatial_inside(&v->s, d, at[d]))
                return false;
        }
    }
    return true;
}

/* Sum over the window of one output pixel and channel, whose weights begin at w; `first`: of the
 * group's input channels. */
static double window_sum(const struct convolution *v, const struct eml_pixel *p, const double *w,
                         int64_t first)
{
    const struct eml_spatial *s = &v->s;
    const double *x = v->c->in[0].data;
    double sum = 0;
    for (int64_t tap = 0; tap < s->taps; tap++) {
        const int64_t k[3] = {tap / (s->kernel[1] * s->kernel[2]),
                              tap / s->kernel[2] % s->kernel[1], tap % s->kernel[2]};
        int64_t at[3];
        if (!meets(v, p, k, at))
            continue;
        const double *from = x + eml_spatial_offset(s, p->image, at[0], at[1], at[2]) + first;
        for (int64_t i = 0; i < v->ci; i++)
            sum += from[i] * w[i * v->w_in + tap];
    }
    return sum;
}

static void pixels(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct convolution *v = arg;
    const struct eml_op_ctx *c = v->c;
    const double *w = c->in[1].data;
    const double *bias = eml_view_given(c->in, c->n_in, 2) ? c->in[2].data : NULL;
    const int64_t group_w = v->transposed ? v->ci * v->w_in : v->co * v->w_out;
    struct eml_pixel p = eml_pixel_at(&v->s, begin);
    for (int64_t i = begin; i < end; i++, eml_pixel_next(&v->s, &p))
        for (int64_t o = 0; o < v->out; o++)
            ((double *)c->out[0].data)[i * v->out + o] =
                window_sum(v, &p, w + o / v->co * group_w + o % v->co * v->w_out,
                           o / v->co * v->ci) +
                (bias != NULL ? bias[o] : 0);
}

static void convolve(struct convolution *v)
{
    if (v->c->out[0].count != 0)
        eml_pool_for(v->c->pool, v->s.pixels, GRAIN_PRODUCTS / (v->out * v->ci * v->s.taps + 1) + 1,
                     pixels, v);
}

enum eml_err eml_wide_conv(const struct eml_op_ctx *c)
{
    struct eml_window w;
    const struct eml_shape *k = &c->in[1].shape;
    EML_TRY(eml_window_make(c->node, &c->in[0].shape, k, &w, c->why));
    struct convolution v = {.c = c, .s = eml_spatial_of(&w), .ci = k->dim[1], .out = k->dim[0]};
    if (w.group < 1 || v.s.c % w.group != 0 || v.out % w.group != 0 || v.ci != v.s.c / w.group)
        return eml_fail(c->why, EML_E_INPUT, "Conv: group does not divide the channels", -1);
    v.co = v.out / w.group;
    v.w_in = v.s.taps;
    v.w_out = v.ci * v.s.taps;
    convolve(&v);
    return EML_OK;
}

enum eml_err eml_wide_conv_transpose(const struct eml_op_ctx *c)
{
    struct eml_window w;
    const struct eml_shape *k = &c->in[1].shape;
    EML_TRY(eml_window_make(c->node, &c->in[0].shape, k, &w, c->why));
    struct convolution v = {.c = c, .s = eml_spatial_of(&w), .co = k->dim[1], .transposed = true};
    if (w.group < 1 || v.s.c % w.group != 0 || k->dim[0] != v.s.c)
        return eml_fail(c->why, EML_E_INPUT, "ConvTranspose: group does not divide the channels",
                        -1);
    v.ci = v.s.c / w.group;
    v.out = v.co * w.group;
    v.w_in = v.co * v.s.taps;
    v.w_out = v.s.taps;
    convolve(&v);
    return EML_OK;
}
