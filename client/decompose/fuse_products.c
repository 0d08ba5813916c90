/* What follows or precedes a product (Conv, ConvTranspose, MatMul with constant weights) moves into
 * it. Gemm becomes MatMul. A product computes act(x*W + bias + residual) with the channel axis
 * last, so, from the end of the chain to its producer: BatchNormalization, Mul, Div by a vector of
 * channels or a scalar scale W and bias; Add, Sub shift the bias; Add of a value of the same shape
 * is the residual; an activation ends the chain. Before the product: a scale of the input channels
 * goes into W, a shift into the bias if nothing is padded.
 *
 * Operands: x, W, bias [C], residual (shape of the output), PRelu slope [C].
 */
#include "decompose/passes.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { X, W, BIAS, RESIDUAL, SLOPE };

static bool is_f32_const(const struct eml_ir_value *v)
{
    return v != NULL && v->data != NULL && v->dtype == EML_DT_F32;
}

/* The product that makes v for its one reader; NULL if there is none. */
static struct eml_ir_node *product_of(const struct eml_ir_value *v)
{
    struct eml_ir_node *p = v != NULL ? v->maker : NULL;
    if (p == NULL || v->uses != 1 || eml_ir_int(p, EML_ATTR_ACT, EML_ACT_NONE) != EML_ACT_NONE ||
        v->dtype != EML_DT_F32 || !is_f32_const(eml_ir_in(p, W)) || !v->has_rank)
        return NULL;
    const struct eml_ir_value *bias = eml_ir_in(p, BIAS);
    if (bias != NULL && !is_f32_const(bias))
        return NULL;
    if (p->op == EML_OP_CONV || p->op == EML_OP_CONV_TRANSPOSE)
        return p;
    return p->op == EML_OP_MATMUL && p->in[W]->shape.rank >= 2 && v->shape.rank >= 2 &&
                   p->in[X]->shape.rank >= 2
               ? p
               : NULL;
}

static int64_t groups(const struct eml_ir_node *p)
{
    return eml_ir_int(p, EML_ATTR_GROUP, 1);
}

static size_t channels(const struct eml_ir_node *p)
{
    const struct eml_shape *w = &p->in[W]->shape;
    if (p->op == EML_OP_CONV)
        return (size_t)w->dim[0];
    if (p->op == EML_OP_CONV_TRANSPOSE)
        return (size_t)(w->dim[1] * groups(p));
    return (size_t)w->dim[w->rank - 1];
}

/* One number per channel of v, out of a constant: a scalar or a vector along the last axis. */
static const float *channel_vector(struct eml_ir *ir, const struct eml_ir_value *c, size_t n,
                                   uint32_t rank)
{
    float scalar;
    if (!is_f32_const(c) || c->shape.rank > rank)
        return NULL;
    if (!eml_ir_scalar(c, &scalar))
        return eml_ir_count(c) == n && c->shape.dim[c->shape.rank - 1] == (int64_t)n ? c->data
                                                                                     : NULL;
    float *v = eml_ir_alloc(ir, n * sizeof(*v));
    for (size_t i = 0; v != NULL && i < n; i++)
        v[i] = scalar;
    return v;
}

/* A copy of constant operand i that may be changed. */
static float *fresh(struct eml_ir *ir, struct eml_ir_node *p, uint32_t i)
{
    const struct eml_ir_value *old = p->in[i];
    size_t bytes = eml_ir_count(old) * sizeof(float);
    float *data = eml_ir_alloc(ir, bytes);
    if (data == NULL)
        return NULL;
    memcpy(data, old->data, bytes);
    eml_ir_set_in(ir, p, i, eml_ir_const(ir, EML_DT_F32, &old->shape, data));
    return data;
}

static float *fresh_bias(struct eml_ir *ir, struct eml_ir_node *p)
{
    struct eml_shape s = {1, {(int64_t)channels(p)}};
    if (eml_ir_in(p, BIAS) != NULL)
        return fresh(ir, p, BIAS);
    float *data = eml_ir_alloc(ir, channels(p) * sizeof(*data));
    eml_ir_set_in(ir, p, BIAS, eml_ir_const(ir, EML_DT_F32, &s, data));
    return data;
}

/* Output channel of element k of W. */
static size_t out_channel(const struct eml_ir_node *p, size_t k)
{
    const struct eml_shape *w = &p->in[W]->shape;
    size_t count = eml_ir_count(p->in[W]);
    if (p->op == EML_OP_CONV)
        return k / (count / (size_t)w->dim[0]);
    if (p->op == EML_OP_MATMUL)
        return k % (size_t)w->dim[w->rank - 1];
    size_t per_in = count / (size_t)w->dim[0], taps = per_in / (size_t)w->dim[1];
    size_t group = k / per_in / ((size_t)w->dim[0] / (size_t)groups(p));
    return group * (size_t)w->dim[1] + k % per_in / taps;
}

static void scale(struct eml_ir *ir, struct eml_ir_node *p, const float *by)
{
    size_t count = eml_ir_count(p->in[W]);
    float *w = fresh(ir, p, W);
    for (size_t k = 0; w != NULL && k < count; k++)
        w[k] *= by[out_channel(p, k)];
    if (eml_ir_in(p, BIAS) == NULL)
        return;
    float *b = fresh(ir, p, BIAS);
    for (size_t i = 0; b != NULL && i < channels(p); i++)
        b[i] *= by[i];
}

static void shift(struct eml_ir *ir, struct eml_ir_node *p, const float *by, float sign)
{
    float *b = fresh_bias(ir, p);
    for (size_t i = 0; b != NULL && i < channels(p); i++)
        b[i] += sign * by[i];
}

/* The product takes over the output of n. Its own output was read by n alone. */
static void take_over(struct eml_ir *ir, struct eml_ir_node *p, struct eml_ir_node *n)
{
    eml_ir_move(ir, p, n);
    eml_ir_replace(ir, n->out[0], p->out[0]);
    eml_ir_remove(ir, n);
}

/* ---- after the product ---- */

static bool batch_norm(struct eml_ir *ir, struct eml_ir_node *n)
{
    struct eml_ir_node *p = product_of(n->in[0]);
    if (n->op != EML_OP_BATCH_NORMALIZATION || p == NULL || eml_ir_in(p, RESIDUAL) != NULL ||
        eml_ir_int(n, EML_ATTR_ACT, EML_ACT_NONE) != EML_ACT_NONE)
        return false;
    size_t c = channels(p);
    for (uint32_t i = 1; i < 5; i++)
        if (!is_f32_const(n->in[i]) || eml_ir_count(n->in[i]) != c)
            return false;
    const float *g = n->in[1]->data, *b = n->in[2]->data, *mean = n->in[3]->data,
                *var = n->in[4]->data;
    float *a = eml_ir_alloc(ir, c * sizeof(*a)), *d = eml_ir_alloc(ir, c * sizeof(*d));
    if (a == NULL || d == NULL)
        return false;
    for (size_t i = 0; i < c; i++) {
        double s = (double)g[i] / sqrt((double)var[i] + (double)n->params[0]);
        a[i] = (float)s;
        d[i] = (float)((double)b[i] - (double)mean[i] * s);
    }
    scale(ir, p, a);
    shift(ir, p, d, 1);
    take_over(ir, p, n);
    return true;
}

/* n = op(product, constant) or op(constant, product). */
static bool scale_or_shift(struct eml_ir *ir, struct eml_ir_node *n)
{
    bool commutes = n->op == EML_OP_MUL || n->op == EML_OP_ADD;
    if (n->n_in != 2 || (!commutes && n->op != EML_OP_DIV && n->op != EML_OP_SUB))
        return false;
    for (uint32_t i = 0; i < (commutes ? 2u : 1u); i++) {
        struct eml_ir_node *p = product_of(n->in[i]);
        if (p == NULL)
            continue;
        const float *v = channel_vector(ir, n->in[1 - i], channels(p), n->in[i]->shape.rank);
        bool scales = n->op == EML_OP_MUL || n->op == EML_OP_DIV;
        if (v == NULL || (scales && eml_ir_in(p, RESIDUAL) != NULL))
            continue;
        if (n->op == EML_OP_DIV) {
            float *inverse = eml_ir_alloc(ir, channels(p) * sizeof(*inverse));
            for (size_t k = 0; inverse != NULL && k < channels(p); k++)
                inverse[k] = 1 / v[k];
            v = inverse;
        }
        if (v == NULL)
            return false;
        if (scales)
            scale(ir, p, v);
        else
            shift(ir, p, v, n->op == EML_OP_ADD ? 1.0f : -1.0f);
        take_over(ir, p, n);
        return true;
    }
    return false;
}

/* a runs after b; both before n. */
static bool later(const struct eml_ir_node *n, const struct eml_ir_node *a,
                  const struct eml_ir_node *b)
{
    for (n = n->prev; n != NULL && n != b; n = n->prev)
        if (n == a)
            return true;
    return false;
}

static bool residual(struct eml_ir *ir, struct eml_ir_node *n)
{
    if (n->op != EML_OP_ADD || n->in[0] == n->in[1])
        return false;
    struct eml_ir_node *a = product_of(n->in[0]), *b = product_of(n->in[1]);
    if (a != NULL && eml_ir_in(a, RESIDUAL) != NULL)
        a = NULL;
    if (b != NULL && eml_ir_in(b, RESIDUAL) != NULL)
        b = NULL;
    uint32_t i = a == NULL || (b != NULL && later(n, b, a)) ? 1 : 0;
    struct eml_ir_node *p = i == 0 ? a : b;
    struct eml_ir_value *other = n->in[1 - i];
    if (p == NULL || other->data != NULL || !eml_ir_same_shape(n->in[i], other))
        return false;
    eml_ir_set_in(ir, p, RESIDUAL, other);
    take_over(ir, p, n);
    return true;
}

/* The activation that n is, with its numbers. */
static enum eml_act activation(const struct eml_ir_node *n, float *params, uint32_t *count)
{
    *count = 0;
    switch (n->op) {
    case EML_OP_RELU:
        return EML_ACT_RELU;
    case EML_OP_SIGMOID:
        return EML_ACT_SIGMOID;
    case EML_OP_TANH:
        return EML_ACT_TANH;
    case EML_OP_PRELU:
        return EML_ACT_PRELU;
    case EML_OP_GELU:
        return eml_ir_int(n, EML_ATTR_APPROXIMATE, 0) == 0 ? EML_ACT_GELU : EML_ACT_GELU_TANH;
    case EML_OP_HARD_SWISH:
        params[0] = 1.0f / 6;
        params[1] = 0.5f;
        *count = 2;
        return EML_ACT_HARD_SWISH;
    case EML_OP_CLIP:
        params[0] = -FLT_MAX;
        params[1] = FLT_MAX;
        *count = 2;
        if ((eml_ir_in(n, 1) != NULL && !eml_ir_scalar(n->in[1], &params[0])) ||
            (eml_ir_in(n, 2) != NULL && !eml_ir_scalar(n->in[2], &params[1])))
            return EML_ACT_NONE;
        return EML_ACT_CLIP;
    case EML_OP_LEAKY_RELU:
    case EML_OP_HARD_SIGMOID:
    case EML_OP_ACTIVATE:
        *count = n->n_params;
        memcpy(params, n->params, n->n_params * sizeof(*params));
        return n->op == EML_OP_LEAKY_RELU     ? EML_ACT_LEAKY_RELU
               : n->op == EML_OP_HARD_SIGMOID ? EML_ACT_HARD_SIGMOID
                                              : (enum eml_act)eml_ir_int(n, EML_ATTR_ACT, 0);
    default:
        return EML_ACT_NONE;
    }
}

/* A BatchNormalization that stayed (behind Concat): it ends with an activation, too. */
static struct eml_ir_node *norm_of(const struct eml_ir_value *v)
{
    struct eml_ir_node *p = v->maker;
    bool fits = p != NULL && v->uses == 1 && p->op == EML_OP_BATCH_NORMALIZATION && p->n_out == 1 &&
                v->dtype == EML_DT_F32 && eml_ir_int(p, EML_ATTR_ACT, EML_ACT_NONE) == EML_ACT_NONE;
    return fits ? p : NULL;
}

static bool activate(struct eml_ir *ir, struct eml_ir_node *n)
{
    float params[EML_IR_PARAMS_MAX];
    uint32_t count;
    enum eml_act act = activation(n, params, &count);
    struct eml_ir_node *p = act != EML_ACT_NONE ? product_of(n->in[0]) : NULL;
    if (p == NULL && act != EML_ACT_NONE && act != EML_ACT_PRELU)
        p = norm_of(n->in[0]);
    if (p == NULL || p->n_params + count > EML_IR_PARAMS_MAX)
        return false;
    if (act == EML_ACT_PRELU) {
        struct eml_shape s = {1, {(int64_t)channels(p)}};
        const float *slope = channel_vector(ir, n->in[1], channels(p), n->in[0]->shape.rank);
        if (slope == NULL)
            return false;
        eml_ir_set_in(ir, p, SLOPE, eml_ir_const(ir, EML_DT_F32, &s, slope));
    }
    eml_ir_set_int(ir, p, EML_ATTR_ACT, act);
    memcpy(p->params + p->n_params, params, count * sizeof(*params));
    p->n_params += count;
    take_over(ir, p, n);
    return true;
}

/* ---- before the product ---- */

static bool padded(const struct eml_ir_node *p)
{
    const struct eml_attr *pads = eml_ir_attr(p, EML_ATTR_PADS);
    enum { NOTSET = 0, VALID = 3 };
    int64_t mode = eml_ir_int(p, EML_ATTR_AUTO_PAD, NOTSET);
    for (uint32_t i = 0; mode == NOTSET && pads != NULL && i < pads->n; i++)
        if (pads->v[i] != 0)
            return true;
    return mode != NOTSET && mode != VALID;
}

/* Input channel, counted over all groups, of element k of W. */
static size_t in_channel(const struct eml_ir_node *p, size_t k)
{
    const struct eml_shape *w = &p->in[W]->shape;
    if (p->op == EML_OP_MATMUL)
        return k / (size_t)w->dim[1];
    size_t per_out = eml_ir_count(p->in[W]) / (size_t)w->dim[0];
    size_t taps = per_out / (size_t)w->dim[1];
    size_t group = k / per_out / ((size_t)w->dim[0] / (size_t)groups(p));
    return group * (size_t)w->dim[1] + k % per_out / taps;
}

static size_t in_channels(const struct eml_ir_node *p)
{
    const struct eml_shape *w = &p->in[W]->shape;
    return p->op == EML_OP_MATMUL ? (size_t)w->dim[0] : (size_t)(w->dim[1] * groups(p));
}

/* Reads its input through a constant matrix whose rows are input channels. */
static bool is_product(const struct eml_ir_node *p)
{
    if (p->n_in < 2 || !is_f32_const(p->in[W]) ||
        (eml_ir_in(p, BIAS) != NULL && !is_f32_const(p->in[BIAS])))
        return false;
    return p->op == EML_OP_CONV || (p->op == EML_OP_MATMUL && p->in[W]->shape.rank == 2);
}

/* v = op(from, constant) or op(constant, from), for one reader, with a constant per channel. */
static const float *by_channel(struct eml_ir *ir, const struct eml_ir_value *v, enum eml_op op,
                               size_t channels_n, struct eml_ir_value **from)
{
    const struct eml_ir_node *n = v->maker;
    if (n == NULL || n->op != op || v->uses != 1)
        return NULL;
    for (uint32_t i = 0; i < 2; i++) {
        const float *c = channel_vector(ir, n->in[i], channels_n, v->shape.rank);
        *from = n->in[1 - i];
        if (c != NULL && eml_ir_same_shape(*from, v))
            return c;
    }
    return NULL;
}

static void scale_rows(struct eml_ir *ir, struct eml_ir_node *p, const float *by)
{
    size_t count = eml_ir_count(p->in[W]);
    float *w = fresh(ir, p, W);
    for (size_t k = 0; w != NULL && k < count; k++)
        w[k] *= by[in_channel(p, k)];
}

static bool scale_before(struct eml_ir *ir, struct eml_ir_node *p)
{
    struct eml_ir_value *from;
    struct eml_ir_node *n = p->in[X]->maker;
    const float *a = by_channel(ir, p->in[X], EML_OP_MUL, in_channels(p), &from);
    if (a == NULL)
        return false;
    scale_rows(ir, p, a);
    eml_ir_set_in(ir, p, X, from);
    eml_ir_remove(ir, n);
    return true;
}

static bool shift_before(struct eml_ir *ir, struct eml_ir_node *p)
{
    struct eml_ir_value *from;
    struct eml_ir_node *n = p->in[X]->maker;
    const float *c = padded(p) ? NULL : by_channel(ir, p->in[X], EML_OP_ADD, in_channels(p), &from);
    if (c == NULL)
        return false;
    size_t count = eml_ir_count(p->in[W]);
    const float *w = p->in[W]->data;
    float *b = fresh_bias(ir, p);
    for (size_t k = 0; b != NULL && k < count; k++)
        b[out_channel(p, k)] += w[k] * c[in_channel(p, k)];
    eml_ir_set_in(ir, p, X, from);
    eml_ir_remove(ir, n);
    return true;
}

/* a*x + b before a padded Conv: the shift must stay, but as (x + b/a) it lets the scale go. */
static bool scale_before_shift(struct eml_ir *ir, struct eml_ir_node *p)
{
    struct eml_ir_value *scaled, *from;
    struct eml_ir_node *add = p->in[X]->maker;
    size_t c = in_channels(p);
    const float *b = by_channel(ir, p->in[X], EML_OP_ADD, c, &scaled);
    const float *a = b != NULL ? by_channel(ir, scaled, EML_OP_MUL, c, &from) : NULL;
    for (size_t i = 0; a != NULL && i < c; i++)
        if (fabsf(a[i]) < 1e-3f || fabsf(b[i]) > 1e3f * fabsf(a[i]))
            return false; /* b/a would swallow x */
    if (a == NULL)
        return false;
    struct eml_ir_node *mul = scaled->maker;
    float *shifted = eml_ir_alloc(ir, c * sizeof(*shifted));
    for (size_t i = 0; shifted != NULL && i < c; i++)
        shifted[i] = b[i] / a[i];
    scale_rows(ir, p, a);
    eml_ir_set_in(ir, add, 0, from);
    eml_ir_set_in(ir, add, 1,
                  eml_ir_const(ir, EML_DT_F32, &(struct eml_shape){1, {(int64_t)c}}, shifted));
    eml_ir_remove(ir, mul);
    return true;
}

static bool before_product(struct eml_ir *ir, struct eml_ir_node *p)
{
    return is_product(p) && p->in[X]->has_rank &&
           (scale_before(ir, p) || shift_before(ir, p) || scale_before_shift(ir, p));
}

/* ---- Gemm ---- */

static struct eml_ir_value *transposed(struct eml_ir *ir, const struct eml_ir_value *b, bool turn,
                                       float alpha)
{
    size_t rows = (size_t)b->shape.dim[0], cols = (size_t)b->shape.dim[1];
    float *to = eml_ir_alloc(ir, rows * cols * sizeof(*to));
    const float *from = b->data;
    for (size_t i = 0; to != NULL && i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            to[turn ? j * rows + i : i * cols + j] = alpha * from[i * cols + j];
    struct eml_shape s = {2, {(int64_t)(turn ? cols : rows), (int64_t)(turn ? rows : cols)}};
    return eml_ir_const(ir, EML_DT_F32, &s, to);
}

/* Gemm with constant B, and C a constant per column or absent: MatMul with bias. */
static void gemm(struct eml_ir *ir, struct eml_ir_node *n)
{
    if (n->op != EML_OP_GEMM || !is_f32_const(n->in[W]) || n->in[X]->dtype != EML_DT_F32 ||
        n->in[W]->shape.rank != 2)
        return;
    bool turn_b = eml_ir_int(n, EML_ATTR_TRANS_B, 0) != 0;
    bool turn_a = eml_ir_int(n, EML_ATTR_TRANS_A, 0) != 0;
    size_t cols = (size_t)n->in[W]->shape.dim[turn_b ? 0 : 1];
    struct eml_ir_value *c = eml_ir_in(n, BIAS);
    const float *bias = c != NULL ? channel_vector(ir, c, cols, 2) : NULL;
    float alpha = n->params[0], beta = n->params[1];
    if (c != NULL && bias == NULL)
        return;
    struct eml_ir_value *b = n->in[W];
    if (turn_b || alpha != 1)
        b = transposed(ir, b, turn_b, alpha);
    if (turn_a) {
        static const int64_t swap[2] = {1, 0};
        struct eml_ir_node *t = eml_ir_node_new(ir, n, EML_OP_TRANSPOSE, &n->in[X], 1, 1);
        eml_ir_set_attr(ir, t, EML_ATTR_PERM, swap, 2);
        eml_ir_set_in(ir, n, X, t->out[0]);
    }
    n->op = EML_OP_MATMUL;
    n->n_attr = 0;
    n->n_params = 0;
    eml_ir_set_in(ir, n, W, b);
    if (c == NULL)
        return;
    struct eml_shape s = {1, {(int64_t)cols}};
    eml_ir_set_in(ir, n, BIAS, eml_ir_const(ir, EML_DT_F32, &s, bias));
    if (beta != 1) {
        float *v = fresh(ir, n, BIAS);
        for (size_t i = 0; v != NULL && i < cols; i++)
            v[i] *= beta;
    }
}

/* A product of a matrix that was flattened from x and is given x's leading dims back (PyTorch's
 * Conv1D) is the product of x. */
static void unflatten(struct eml_ir *ir, struct eml_ir_node *back)
{
    if (back->op != EML_OP_RESHAPE)
        return;
    struct eml_ir_node *p = product_of(back->in[0]);
    struct eml_ir_node *flat = p != NULL && p->op == EML_OP_MATMUL ? p->in[X]->maker : NULL;
    if (flat == NULL || flat->op != EML_OP_RESHAPE || !is_product(p) ||
        eml_ir_in(p, RESIDUAL) != NULL)
        return;
    struct eml_ir_value *x = flat->in[0], *y = back->out[0];
    int64_t rows = p->in[W]->shape.dim[0], cols = p->in[W]->shape.dim[1];
    if (!x->has_rank || !y->has_rank || x->shape.rank != y->shape.rank || x->shape.rank < 2)
        return;
    struct eml_ir_value like_y = *x; /* x with its last dim exchanged */
    uint32_t last = x->shape.rank - 1;
    if (x->shape.dim[last] != rows || y->shape.dim[last] != cols)
        return;
    like_y.shape.dim[last] = cols;
    like_y.probe[0].shape.dim[last] = like_y.probe[1].shape.dim[last] = cols;
    if (!eml_ir_same_shape(&like_y, y))
        return;
    eml_ir_set_in(ir, p, X, x);
    eml_ir_move(ir, p, back);
    eml_ir_replace(ir, back->in[0], y);
    eml_ir_remove(ir, back);
    eml_ir_adopt_out(p, 0, y);
}

/* (q k^T) * c: the factor goes through transposes and reshapes into the product that makes q. */
static void scale_scores(struct eml_ir *ir, struct eml_ir_node *n)
{
    float c;
    if ((n->op != EML_OP_MUL && n->op != EML_OP_DIV) || !eml_ir_scalar(n->in[1], &c) ||
        n->in[0]->uses != 1 || n->in[0]->maker == NULL || n->in[0]->maker->op != EML_OP_MATMUL ||
        n->in[0]->maker->n_in != 2 || n->in[1]->shape.rank > n->in[0]->shape.rank)
        return;
    const struct eml_ir_value *q = n->in[0]->maker->in[0];
    while (q->uses == 1 && q->maker != NULL &&
           (q->maker->op == EML_OP_TRANSPOSE || q->maker->op == EML_OP_RESHAPE))
        q = q->maker->in[0];
    struct eml_ir_node *p = product_of(q);
    if (p == NULL || eml_ir_in(p, RESIDUAL) != NULL)
        return;
    float *by = eml_ir_alloc(ir, channels(p) * sizeof(*by));
    for (size_t i = 0; by != NULL && i < channels(p); i++)
        by[i] = n->op == EML_OP_MUL ? c : 1 / c;
    if (by == NULL)
        return;
    scale(ir, p, by);
    eml_ir_replace(ir, n->out[0], n->in[0]);
    eml_ir_remove(ir, n);
}

void eml_fuse_products(struct eml_ir *ir)
{
    static bool (*const after[])(struct eml_ir *, struct eml_ir_node *) = {
        batch_norm,
        scale_or_shift,
        residual,
        activate,
    };
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next) {
        gemm(ir, n);
        unflatten(ir, n);
    }
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next) {
        if (n->n_out != 1 || n->n_in == 0 || n->in[0] == NULL || (n->n_in > 1 && !n->in[1]))
            continue;
        while (!n->removed && before_product(ir, n))
            ;
        for (size_t i = 0; i < sizeof(after) / sizeof(after[0]) && !n->removed; i++)
            (void)after[i](ir, n);
    }
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next)
        if (n->n_in == 2 && n->in[0] != NULL && n->in[1] != NULL)
            scale_scores(ir, n);
    (void)eml_ir_sweep(ir);
}
