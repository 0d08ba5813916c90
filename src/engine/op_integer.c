/* MatMulInteger, QLinearMatMul, MatMulIntegerToFloat, ConvInteger, QLinearConv: one product of
 * bytes with different ends (kernels/i8.h). */
#include "engine/fused.h"
#include "engine/i8gemm.h"
#include "engine/quantize.h"
#include "engine/spatial.h"

#include "base/checked.h"

#include <string.h>

enum { NONE = EML_OPERAND_NONE };

struct eml_integer_operands eml_integer_operands(enum eml_op op)
{
    switch (op) {
    case EML_OP_QLINEAR_MATMUL:
    case EML_OP_QLINEAR_CONV:
        return (struct eml_integer_operands){.a = 0,
                                             .a_scale = 1,
                                             .a_zero = 2,
                                             .b = 3,
                                             .b_scale = 4,
                                             .b_zero = 5,
                                             .y_scale = 6,
                                             .y_zero = 7,
                                             .bias = op == EML_OP_QLINEAR_CONV ? 8 : NONE};
    case EML_OP_MATMUL_INTEGER_TO_FLOAT:
        return (struct eml_integer_operands){.a = 0,
                                             .b = 1,
                                             .a_scale = 2,
                                             .b_scale = 3,
                                             .a_zero = 4,
                                             .b_zero = 5,
                                             .bias = 6,
                                             .y_scale = NONE,
                                             .y_zero = NONE};
    default: /* MatMulInteger, ConvInteger */
        return (struct eml_integer_operands){.a = 0,
                                             .b = 1,
                                             .a_zero = 2,
                                             .b_zero = 3,
                                             .a_scale = NONE,
                                             .b_scale = NONE,
                                             .bias = NONE,
                                             .y_scale = NONE,
                                             .y_zero = NONE};
    }
}

static const struct eml_view *operand(const struct eml_op_ctx *c, uint8_t i)
{
    return i < c->n_in && c->in[i].dtype != EML_DT_NONE ? &c->in[i] : NULL;
}

float eml_load_scale(const struct eml_view *v, size_t i)
{
    if (v->dtype == EML_DT_F32)
        return ((const float *)v->data)[i];
    uint16_t h = ((const uint16_t *)v->data)[i];
    uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = h >> 10 & 31, fraction = h & 1023;
    float f = (float)fraction * 0x1p-24F;
    uint32_t bits;
    if (exponent == 0) {
        memcpy(&bits, &f, sizeof bits);
    } else {
        bits = (exponent == 31 ? 255U : exponent + 112) << 23 | fraction << 13;
    }
    bits |= sign;
    memcpy(&f, &bits, sizeof f);
    return f;
}

int32_t eml_load_zero(const struct eml_view *v, size_t i)
{
    switch (v->dtype) {
    case EML_DT_U8:
        return ((const uint8_t *)v->data)[i];
    case EML_DT_I8:
        return ((const int8_t *)v->data)[i];
    case EML_DT_I32:
        return ((const int32_t *)v->data)[i];
    default:
        EML_BUG();
    }
}

/* ---- one product's ends ---- */

struct ends {
    const struct eml_op_ctx *c;
    struct eml_integer_operands at;
    const struct eml_view *a_zero, *b_zero, *a_scale, *b_scale, *bias;
    float y_scale;
    bool quantised;
    size_t padded; /* columns of one product, rounded up to whole panels */
    /* scratch */
    int32_t *zero, *bias_i, *a_zeros;
    float *scale, *bias_f, *a_scales;
};

static bool take_ends(struct ends *e, const struct eml_op_ctx *c, struct eml_scratch *s, size_t m,
                      size_t n)
{
    *e = (struct ends){.c = c, .at = eml_integer_operands(c->node->op)};
    if (!eml_round_up(n, EML_I8_PANEL, &e->padded))
        return false;
    e->zero = eml_scratch_take(s, e->padded, sizeof(int32_t));
    e->bias_i = eml_scratch_take(s, e->padded, sizeof(int32_t));
    e->scale = eml_scratch_take(s, e->padded, sizeof(float));
    e->bias_f = eml_scratch_take(s, e->padded, sizeof(float));
    e->a_zeros = eml_scratch_take(s, m, sizeof(int32_t));
    e->a_scales = eml_scratch_take(s, m, sizeof(float));
    return !s->failed;
}

static size_t at_or_first(const struct eml_view *v, size_t i)
{
    return v->count == 1 ? 0 : i;
}

/* Reads what holds for all products of the node. */
static void open_ends(struct ends *e)
{
    const struct eml_op_ctx *c = e->c;
    e->a_zero = operand(c, e->at.a_zero);
    e->b_zero = operand(c, e->at.b_zero);
    e->a_scale = operand(c, e->at.a_scale);
    e->b_scale = operand(c, e->at.b_scale);
    e->bias = operand(c, e->at.bias);
    e->quantised = e->at.y_scale != NONE;
    e->y_scale = e->quantised ? eml_load_scale(operand(c, e->at.y_scale), 0) : 1;
}

/* The columns [column, column + n) of operand B's list, and the m rows from `row` of A's. */
static struct eml_i8_finish finish_of(const struct ends *e, size_t row, size_t m, size_t column,
                                      size_t n, size_t k)
{
    const struct eml_op_ctx *c = e->c;
    const bool flip_a = c->in[e->at.a].dtype == EML_DT_I8,
               flip_b = c->in[e->at.b].dtype == EML_DT_U8;
    struct eml_i8_finish f = {.dtype = c->out[0].dtype, .k = (int64_t)k, .ldy = n};
    const size_t rows = e->a_zero && e->a_zero->count > 1 ? m : 1;
    bool any = false;
    for (size_t i = 0; i < rows; i++)
        e->a_zeros[i] =
            (e->a_zero ? eml_load_zero(e->a_zero, at_or_first(e->a_zero, row + i)) : 0) +
            (flip_a ? 128 : 0);
    f.a_zero = e->a_zeros;
    f.a_step = rows > 1;
    for (size_t j = 0; j < e->padded; j++) {
        const size_t at = column + (j < n ? j : 0);
        e->zero[j] = (e->b_zero ? eml_load_zero(e->b_zero, at_or_first(e->b_zero, at)) : 0) -
                     (flip_b ? 128 : 0);
        any = any || e->zero[j] != 0;
        e->scale[j] = e->b_scale ? eml_load_scale(e->b_scale, at_or_first(e->b_scale, at)) : 1;
        if (e->quantised)
            e->scale[j] = eml_load_scale(e->a_scale, 0) * e->scale[j] / e->y_scale;
        e->bias_i[j] = e->bias && e->quantised ? eml_load_zero(e->bias, at) : 0;
        e->bias_f[j] = e->bias && !e->quantised ? eml_load_scale(e->bias, at) : 0;
    }
    f.b_zero = any ? e->zero : NULL;
    f.b_scale = e->scale;
    f.bias_i = e->bias && e->quantised ? e->bias_i : NULL;
    f.bias_f = e->bias && !e->quantised ? e->bias_f : NULL;
    if (e->a_scale && !e->quantised) {
        f.a_scale_step = e->a_scale->count > 1;
        for (size_t i = 0; i < (f.a_scale_step ? m : 1); i++)
            e->a_scales[i] = eml_load_scale(e->a_scale, f.a_scale_step ? row + i : 0);
        f.a_scale = e->a_scales;
    }
    const struct eml_view *y_zero = operand(c, e->at.y_zero);
    f.y_zero = y_zero ? eml_load_zero(y_zero, 0) : 0;
    return f;
}

/* ---- products ---- */

struct product {
    size_t m, n, k, batch, b_matrices;
    struct eml_view a, b;
    uint8_t *gemm;
    int8_t *packed; /* of one matrix, if b is not packed */
    struct ends ends;
};

static size_t dim_from_end(const struct eml_shape *s, uint32_t i)
{
    return s->rank >= i ? (size_t)s->dim[s->rank - i] : 1;
}

static size_t matrices(const struct eml_shape *s)
{
    size_t n = 1;
    for (uint32_t i = 0; i + 2 < s->rank; i++)
        n *= (size_t)s->dim[i];
    return n;
}

static bool take_product(struct product *p, const struct eml_op_ctx *c, struct eml_scratch *s)
{
    const struct eml_integer_operands at = eml_integer_operands(c->node->op);
    *p = (struct product){.a = c->in[at.a], .b = c->in[at.b]};
    const struct eml_shape *a = &p->a.shape, *b = &p->b.shape;
    p->k = dim_from_end(a, 1);
    p->m = a->rank >= 2 ? dim_from_end(a, 2) : 1;
    p->n = b->rank >= 2 ? dim_from_end(b, 1) : 1;
    p->b_matrices = matrices(b);
    if (p->b_matrices == 1) {
        p->m *= matrices(a);
        p->batch = 1;
    } else {
        p->batch = p->m && p->n ? (size_t)c->out[0].count / (p->m * p->n) : 0;
    }
    p->gemm = eml_i8_gemm_take(s, c->threads, p->k);
    if (p->b.layout == EML_LAYOUT_PLAIN)
        p->packed = eml_scratch_take(s, eml_i8_packed_bytes(p->k, p->n), 1);
    return take_ends(&p->ends, c, s, p->m, p->n);
}

bool eml_scratch_matmul_integer(const struct eml_op_ctx *c, size_t *bytes)
{
    struct eml_scratch s = {0};
    struct product p;
    if (!take_product(&p, c, &s))
        return false;
    *bytes = s.used;
    return true;
}

struct copy_rows {
    const uint8_t *a;
    size_t k;
    uint8_t flip;
};

/* to = from with the top bit turned over, or not */
static void copy_bytes(uint8_t *restrict to, const uint8_t *restrict from, size_t n, uint8_t flip)
{
    if (flip == 0) {
        memcpy(to, from, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] ^ flip;
}

static void copy_rows(const void *arg, size_t row, size_t m, uint8_t *to)
{
    const struct copy_rows *j = arg;
    const size_t bytes = eml_i8_groups(j->k) * 4;
    for (size_t r = 0; r < m; r++, to += bytes) {
        copy_bytes(to, j->a + (row + r) * j->k, j->k, j->flip);
        memset(to + j->k, 0, bytes - j->k);
    }
}

/* Which matrices of a and b product i of the batch reads. */
static void batch_at(const struct product *p, size_t i, size_t *a_at, size_t *b_at)
{
    const struct eml_shape *a = &p->a.shape, *b = &p->b.shape;
    const uint32_t ra = a->rank >= 2 ? a->rank - 2 : 0, rb = b->rank >= 2 ? b->rank - 2 : 0;
    size_t a_step = 1, b_step = 1;
    *a_at = *b_at = 0;
    for (uint32_t d = 1; d <= (ra > rb ? ra : rb); d++) {
        const size_t da = d <= ra ? (size_t)a->dim[ra - d] : 1;
        const size_t db = d <= rb ? (size_t)b->dim[rb - d] : 1;
        const size_t dim = da > db ? da : db, at = i % dim;
        i /= dim;
        *a_at += da > 1 ? at * a_step : 0;
        *b_at += db > 1 ? at * b_step : 0;
        a_step *= da;
        b_step *= db;
    }
}

/* A list with one entry per row or column of all matrices, not only of one. */
static bool per_matrix(const struct eml_view *v, size_t one, size_t n)
{
    return v && v->count > 1 && n > 1 && (size_t)v->count == one * n;
}

static void one_product(const struct product *p, size_t i, const struct eml_act_spec *act)
{
    const struct eml_op_ctx *c = p->ends.c;
    size_t a_at = 0, b_at = 0;
    if (p->batch > 1)
        batch_at(p, i, &a_at, &b_at);
    const bool wide = per_matrix(p->ends.b_zero, p->n, p->b_matrices) ||
                      per_matrix(p->ends.b_scale, p->n, p->b_matrices);
    const bool tall = p->ends.a_zero && (size_t)p->ends.a_zero->count > p->m;
    const struct copy_rows rows = {(const uint8_t *)p->a.data + a_at * p->m * p->k, p->k,
                                   p->a.dtype == EML_DT_I8 ? 0x80 : 0};
    struct eml_i8_gemm g = {.m = p->m,
                            .n = p->n,
                            .k = p->k,
                            .rows = copy_rows,
                            .rows_arg = &rows,
                            .finish = finish_of(&p->ends, tall ? a_at * p->m : 0, p->m,
                                                wide ? b_at * p->n : 0, p->n, p->k)};
    const size_t width = c->out[0].dtype == EML_DT_F32 || c->out[0].dtype == EML_DT_I32 ? 4 : 1;
    g.finish.y = (uint8_t *)c->out[0].data + i * p->m * p->n * width;
    if (p->packed) {
        struct eml_i8_source s = {.src = (const uint8_t *)p->b.data + b_at * p->k * p->n,
                                  .flip = p->b.dtype == EML_DT_U8,
                                  .inner = 1,
                                  .outer_stride = p->n,
                                  .col_stride = 1};
        eml_i8_pack(p->packed, &s, p->k, p->n);
        g.b = p->packed;
    } else {
        g.b = (const int8_t *)p->b.data + b_at * eml_i8_packed_bytes(p->k, p->n);
    }
    g.act = *act;
    eml_i8_gemm_run(c, &g, p->gemm);
}

enum eml_err eml_op_matmul_integer(const struct eml_op_ctx *c)
{
    struct eml_scratch s = eml_scratch_of(c);
    struct product p;
    struct eml_act_spec act;
    if (!take_product(&p, c, &s))
        EML_BUG();
    EML_TRY(eml_fused_act(c, 0, (int64_t)p.n, &act));
    if (c->out[0].count == 0)
        return EML_OK;
    open_ends(&p.ends);
    for (size_t i = 0; i < p.batch; i++)
        one_product(&p, i, &act);
    return EML_OK;
}

/* ---- convolutions ---- */

struct conv {
    struct eml_spatial sp;
    size_t group, taps, i, o, m; /* i, o: channels of one group */
    struct eml_view x, w;
    uint8_t *gemm;
    int8_t *packed;
    struct ends ends;
};

static bool take_conv(struct conv *v, const struct eml_op_ctx *c, struct eml_scratch *s)
{
    const struct eml_integer_operands at = eml_integer_operands(c->node->op);
    struct eml_window w;
    *v = (struct conv){.x = c->in[at.a], .w = c->in[at.b]};
    if (eml_window_make(c->node, &v->x.shape, &v->w.shape, &w, NULL) != EML_OK)
        return false;
    v->sp = eml_spatial_of(&w);
    v->group = (size_t)w.group;
    v->taps = (size_t)v->sp.taps;
    v->i = (size_t)v->w.shape.dim[1];
    v->o = (size_t)v->w.shape.dim[0] / v->group;
    v->m = (size_t)v->sp.pixels;
    v->gemm = eml_i8_gemm_take(s, c->threads, v->taps * v->i);
    if (v->w.layout == EML_LAYOUT_PLAIN)
        v->packed = eml_scratch_take(s, eml_i8_packed_bytes(v->taps * v->i, v->o), 1);
    return take_ends(&v->ends, c, s, 1, v->o);
}

bool eml_scratch_conv_integer(const struct eml_op_ctx *c, size_t *bytes)
{
    struct eml_scratch s = {0};
    struct conv v;
    if (!take_conv(&v, c, &s))
        return false;
    *bytes = s.used;
    return true;
}

struct window_rows {
    const struct conv *v;
    const uint8_t *x; /* first channel of the group */
    uint8_t flip, pad;
};

static void window_row(const struct window_rows *j, const struct eml_pixel *p, uint8_t *to)
{
    const struct eml_spatial *sp = &j->v->sp;
    const size_t n = j->v->i;
    for (int64_t kz = 0; kz < sp->kernel[0]; kz++)
        for (int64_t ky = 0; ky < sp->kernel[1]; ky++)
            for (int64_t kx = 0; kx < sp->kernel[2]; kx++, to += n) {
                const int64_t z = eml_spatial_in(sp, 0, p->at[0], kz);
                const int64_t y = eml_spatial_in(sp, 1, p->at[1], ky);
                const int64_t x = eml_spatial_in(sp, 2, p->at[2], kx);
                if (!eml_spatial_inside(sp, 0, z) || !eml_spatial_inside(sp, 1, y) ||
                    !eml_spatial_inside(sp, 2, x)) {
                    memset(to, j->pad, n);
                    continue;
                }
                copy_bytes(to, j->x + eml_spatial_offset(sp, p->image, z, y, x), n, j->flip);
            }
}

static void window_rows(const void *arg, size_t row, size_t m, uint8_t *to)
{
    const struct window_rows *j = arg;
    const size_t k = j->v->taps * j->v->i, bytes = eml_i8_groups(k) * 4;
    struct eml_pixel p = eml_pixel_at(&j->v->sp, (int64_t)row);
    for (size_t r = 0; r < m; r++, to += bytes) {
        window_row(j, &p, to);
        memset(to + k, 0, bytes - k);
        eml_pixel_next(&j->v->sp, &p);
    }
}

enum eml_err eml_op_conv_integer(const struct eml_op_ctx *c)
{
    struct eml_scratch s = eml_scratch_of(c);
    struct conv v;
    if (!take_conv(&v, c, &s))
        EML_BUG();
    if (c->out[0].count == 0)
        return EML_OK;
    open_ends(&v.ends);
    const size_t k = v.taps * v.i, width = c->out[0].dtype == EML_DT_I32 ? 4 : 1;
    for (size_t g = 0; g < v.group; g++) {
        struct window_rows rows = {&v, (const uint8_t *)v.x.data + g * v.i,
                                   v.x.dtype == EML_DT_I8 ? 0x80 : 0, 0};
        struct eml_i8_gemm gemm = {.m = v.m,
                                   .n = v.o,
                                   .k = k,
                                   .rows = window_rows,
                                   .rows_arg = &rows,
                                   .finish = finish_of(&v.ends, 0, 1, g * v.o, v.o, k)};
        rows.pad = (uint8_t)v.ends.a_zeros[0]; /* what adds nothing */
        gemm.finish.y = (uint8_t *)c->out[0].data + g * v.o * width;
        gemm.finish.ldy = v.group * v.o;
        if (v.packed) {
            struct eml_i8_source src = {.src = (const uint8_t *)v.w.data + g * v.o * k,
                                        .flip = v.w.dtype == EML_DT_U8,
                                        .inner = v.i,
                                        .inner_stride = v.taps,
                                        .outer_stride = 1,
                                        .col_stride = k};
            eml_i8_pack(v.packed, &src, k, v.o);
            gemm.b = v.packed;
        } else {
            gemm.b = (const int8_t *)v.w.data + g * eml_i8_packed_bytes(k, v.o);
        }
        eml_i8_gemm_run(c, &gemm, v.gemm);
    }
    return EML_OK;
}
