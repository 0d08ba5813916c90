/* Signal processing: DFT, STFT, window functions, MelWeightMatrix. Transforms run in double. */
#include "engine/real.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

static const double TAU = 6.28318530717958647692;

/* ---- the transform ---- */

struct complex {
    double re, im;
};

/* Scratch of a transform of length n: the roots of unity, and two lines for each thread. */
struct fft {
    int64_t n;
    const struct complex *root; /* exp(-+ tau i k / n), k < n */
    struct complex *lines;
};

static bool fft_bytes(int64_t n, unsigned threads, size_t *bytes)
{
    size_t lines = 1 + 2 * (size_t)threads;
    return eml_mul_size(lines * sizeof(struct complex), (size_t)n, bytes);
}

static struct fft fft_make(const struct eml_op_ctx *c, int64_t n, bool inverse)
{
    struct complex *root = (struct complex *)(void *)c->scratch.ptr;
    for (int64_t k = 0; k < n; k++) {
        double angle = TAU * (double)k / (double)n;
        root[k] = (struct complex){cos(angle), inverse ? sin(angle) : -sin(angle)};
    }
    return (struct fft){n, root, root + n};
}

static struct complex *fft_line(const struct fft *f, unsigned thread)
{
    return f->lines + 2 * (int64_t)thread * f->n;
}

/* One stage: `done` of the length is transformed, lines of n/done interleaved; now p times that.
 * y[k + q done][s] = sum over r < p of w^(r (k + q done)) x[k][s + r rest], w = exp(-tau i/(p
 * done))
 */
static void fft_stage(const struct fft *f, int64_t done, int64_t p, const struct complex *x,
                      struct complex *y)
{
    int64_t rest = f->n / (done * p), wide = done * p;
    for (int64_t k = 0; k < done; k++)
        for (int64_t q = 0; q < p; q++) {
            struct complex *to = y + (k + q * done) * rest;
            const struct complex *from = x + k * rest * p;
            memcpy(to, from, (size_t)rest * sizeof *to);
            for (int64_t r = 1; r < p; r++) {
                struct complex w = f->root[r * (k + q * done) % wide * rest];
                const struct complex *v = from + r * rest;
                for (int64_t s = 0; s < rest; s++) {
                    to[s].re += w.re * v[s].re - w.im * v[s].im;
                    to[s].im += w.re * v[s].im + w.im * v[s].re;
                }
            }
        }
}

/* Transforms line [n], with tmp [n] (mixed radix, self-sorting: Stockham); returns where the result
 * lies. Lengths with large prime factors cost as much as their sum times n. */
static const struct complex *fft_run(const struct fft *f, struct complex *line)
{
    struct complex *x = line, *y = line + f->n;
    int64_t left = f->n, p = 2;
    for (int64_t done = 1; left > 1; done *= p, left /= p) {
        while (left % p != 0)
            p = p * p > left ? left : p + 1;
        fft_stage(f, done, p, x, y);
        struct complex *t = x;
        x = y;
        y = t;
    }
    return x;
}

/* Multiply-adds of one transform, about. */
static uint64_t fft_flops(int64_t n)
{
    uint64_t sum = 0;
    int64_t left = n, p = 2;
    for (; left > 1; left /= p) {
        while (left % p != 0)
            p = p * p > left ? left : p + 1;
        sum += 8 * (uint64_t)p;
    }
    uint64_t r;
    return __builtin_mul_overflow(sum + 1, (uint64_t)n, &r) ? UINT64_MAX : r;
}

/* ---- DFT ---- */

struct dft {
    const struct eml_op_ctx *c;
    struct fft fft;
    int64_t inner;             /* elements between neighbours along the axis, parts aside */
    int64_t have, bins, parts; /* along the axis; of an input number */
    double scale;
};

static uint32_t dft_axis(const struct eml_op_ctx *c)
{
    int64_t axis = eml_view_given(c->in, c->n_in, 2) ? eml_index_at(&c->in[2], 0) : -2;
    return (uint32_t)(axis < 0 ? axis + (int64_t)c->in[0].shape.rank : axis);
}

/* Data of an operand that steers is there while running only: while planning, the length follows
 * from the result's dims, of which the axis' is the largest that can be meant. */
static int64_t dft_length(const struct eml_op_ctx *c, uint32_t axis)
{
    return eml_view_given(c->in, c->n_in, 1) ? eml_index_at(&c->in[1], 0)
                                             : c->in[0].shape.dim[axis];
}

static int64_t dft_length_most(const struct eml_op_ctx *c)
{
    int64_t most = 1;
    for (uint32_t d = 0; d + 1 < c->out[0].shape.rank; d++) {
        int64_t n = c->out[0].shape.dim[d];
        most = n > most ? n : most;
    }
    return eml_node_int(c->node, EML_ATTR_ONESIDED, 0) != 0 ? 2 * most : most;
}

bool eml_scratch_dft(const struct eml_op_ctx *c, size_t *bytes)
{
    return fft_bytes(dft_length_most(c), c->threads, bytes);
}

uint64_t eml_flops_dft(const struct eml_op_ctx *c)
{
    uint64_t r;
    return __builtin_mul_overflow(fft_flops(dft_length_most(c)), (uint64_t)c->out[0].count, &r)
               ? UINT64_MAX
               : r;
}

static void dft_lines(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct dft *d = arg;
    struct complex *line = fft_line(&d->fft, thread);
    int64_t n = d->fft.n, used = d->have < n ? d->have : n;
    for (int64_t i = begin; i < end; i++) {
        int64_t outer = i / d->inner, low = i % d->inner;
        for (int64_t k = 0; k < n; k++) {
            int64_t at = ((outer * d->have + k) * d->inner + low) * d->parts;
            line[k].re = k < used ? eml_real_at(&d->c->in[0], at) : 0;
            line[k].im = k < used && d->parts == 2 ? eml_real_at(&d->c->in[0], at + 1) : 0;
        }
        const struct complex *y = fft_run(&d->fft, line);
        for (int64_t k = 0; k < d->bins; k++) {
            int64_t at = ((outer * d->bins + k) * d->inner + low) * 2;
            eml_real_set(&d->c->out[0], at, y[k].re * d->scale);
            eml_real_set(&d->c->out[0], at + 1, y[k].im * d->scale);
        }
    }
}

enum eml_err eml_op_dft(const struct eml_op_ctx *c)
{
    const struct eml_shape *x = &c->in[0].shape;
    uint32_t axis = dft_axis(c);
    int64_t n = dft_length(c, axis);
    bool inverse = eml_node_int(c->node, EML_ATTR_INVERSE, 0) != 0;
    if (c->out[0].count == 0)
        return EML_OK;
    struct dft d = {.c = c,
                    .fft = fft_make(c, n, inverse),
                    .inner = eml_dims_product(x, axis + 1, x->rank - 1),
                    .have = x->dim[axis],
                    .bins = c->out[0].shape.dim[axis],
                    .parts = x->dim[x->rank - 1],
                    .scale = inverse ? 1 / (double)n : 1};
    eml_pool_for(c->pool, eml_dims_product(x, 0, axis) * d.inner, 1 + 4096 / n, dft_lines, &d);
    return EML_OK;
}

/* ---- STFT ---- */

struct stft {
    const struct eml_op_ctx *c;
    struct fft fft;
    int64_t step, length, frames, bins, parts;
};

/* The longest frame that has so many bins. */
static int64_t stft_frame_most(const struct eml_op_ctx *c)
{
    int64_t bins = c->out[0].shape.dim[2];
    return eml_node_int(c->node, EML_ATTR_ONESIDED, 1) != 0 ? 2 * bins - 1 : bins;
}

static int64_t stft_frame(const struct eml_op_ctx *c)
{
    return eml_view_given(c->in, c->n_in, 2) ? c->in[2].shape.dim[0] : eml_index_at(&c->in[3], 0);
}

bool eml_scratch_stft(const struct eml_op_ctx *c, size_t *bytes)
{
    return fft_bytes(stft_frame_most(c), c->threads, bytes);
}

uint64_t eml_flops_stft(const struct eml_op_ctx *c)
{
    const struct eml_shape *y = &c->out[0].shape;
    uint64_t frames = c->out[0].count == 0 ? 0 : (uint64_t)(y->dim[0] * y->dim[1]), r;
    return __builtin_mul_overflow(fft_flops(stft_frame_most(c)), frames, &r) ? UINT64_MAX : r;
}

static void stft_frames(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct stft *s = arg;
    const struct eml_op_ctx *c = s->c;
    struct complex *line = fft_line(&s->fft, thread);
    bool windowed = eml_view_given(c->in, c->n_in, 2);
    for (int64_t i = begin; i < end; i++) {
        int64_t from = i / s->frames * s->length + i % s->frames * s->step;
        for (int64_t k = 0; k < s->fft.n; k++) {
            double w = windowed ? eml_real_at(&c->in[2], k) : 1;
            int64_t at = (from + k) * s->parts;
            line[k].re = w * eml_real_at(&c->in[0], at);
            line[k].im = s->parts == 2 ? w * eml_real_at(&c->in[0], at + 1) : 0;
        }
        const struct complex *y = fft_run(&s->fft, line);
        for (int64_t k = 0; k < s->bins; k++) {
            eml_real_set(&c->out[0], (i * s->bins + k) * 2, y[k].re);
            eml_real_set(&c->out[0], (i * s->bins + k) * 2 + 1, y[k].im);
        }
    }
}

enum eml_err eml_op_stft(const struct eml_op_ctx *c)
{
    const struct eml_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    if (c->out[0].count == 0)
        return EML_OK;
    struct stft s = {.c = c,
                     .fft = fft_make(c, stft_frame(c), false),
                     .step = eml_index_at(&c->in[1], 0),
                     .length = x->dim[1],
                     .frames = y->dim[1],
                     .bins = y->dim[2],
                     .parts = x->dim[2]};
    eml_pool_for(c->pool, y->dim[0] * s.frames, 1 + 4096 / s.fft.n, stft_frames, &s);
    return EML_OK;
}

/* ---- windows ---- */

static double window_at(enum eml_op op, double angle)
{
    switch (op) {
    case EML_OP_HANN_WINDOW:
        return 0.5 - 0.5 * cos(angle);
    case EML_OP_HAMMING_WINDOW:
        return 25.0 / 46 - 21.0 / 46 * cos(angle);
    default:
        return 0.42 - 0.5 * cos(angle) + 0.08 * cos(2 * angle);
    }
}

enum eml_err eml_op_window(const struct eml_op_ctx *c)
{
    bool periodic = eml_node_int(c->node, EML_ATTR_PERIODIC, 1) != 0;
    int64_t n = c->out[0].count, period = periodic ? n : n - 1;
    for (int64_t i = 0; i < n; i++) {
        double angle = TAU * (double)i / (double)period;
        eml_real_set(&c->out[0], i, n == 1 ? 1 : window_at(c->node->op, angle));
    }
    return EML_OK;
}

/* ---- MelWeightMatrix ---- */

/* The spectrum's bin at edge i of the triangles: edges lie evenly on the mel scale. */
static double mel_bin(const struct eml_op_ctx *c, int64_t i)
{
    double length = (double)eml_index_at(&c->in[1], 0), rate = (double)eml_index_at(&c->in[2], 0);
    double low = 2595 * log10(1 + eml_real_at(&c->in[3], 0) / 700);
    double high = 2595 * log10(1 + eml_real_at(&c->in[4], 0) / 700);
    double mel = low + (double)i * (high - low) / (double)(c->out[0].shape.dim[1] + 2);
    return floor((length + 1) * (700 * (pow(10, mel / 2595) - 1)) / rate);
}

/* Writes the triangle of band `band` with its corners at bins. */
static void mel_triangle(const struct eml_op_ctx *c, int64_t band, const int64_t edge[3])
{
    int64_t bands = c->out[0].shape.dim[1], low = edge[0], centre = edge[1], high = edge[2];
    if (low == centre)
        eml_real_set(&c->out[0], centre * bands + band, 1);
    for (int64_t k = low; k <= centre && low != centre; k++)
        eml_real_set(&c->out[0], k * bands + band, (double)(k - low) / (double)(centre - low));
    for (int64_t k = centre; k < high; k++)
        eml_real_set(&c->out[0], k * bands + band, (double)(high - k) / (double)(high - centre));
}

enum eml_err eml_op_mel_weight_matrix(const struct eml_op_ctx *c)
{
    const struct eml_shape *s = &c->out[0].shape;
    memset(c->out[0].data, 0, (size_t)c->out[0].count * eml_dtype_bytes(c->out[0].dtype));
    for (int64_t band = 0; band < s->dim[1]; band++) {
        int64_t edge[3], least = 0;
        for (int k = 0; k < 3; k++) {
            double bin = mel_bin(c, band + k);
            /* the last edge is not written to; NaN fails, too */
            if (!(bin >= (double)least && bin < (double)(s->dim[0] + (k == 2))))
                return eml_fail(c->why, EML_E_INPUT, "MelWeightMatrix: frequencies out of range",
                                -1);
            least = edge[k] = (int64_t)bin;
        }
        mel_triangle(c, band, edge);
    }
    return EML_OK;
}
