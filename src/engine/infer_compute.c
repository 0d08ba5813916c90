/* Rules of products, convolutions and pooling. */
#include "engine/infer.h"

#include "engine/resize.h"

#include "base/checked.h"

/* ---- fused tail: bias, residual, activation ---- */

/* A vector of n elements of x's type, if operand i is there. */
static enum eml_err vector_of(const struct eml_rule_ctx *c, uint32_t i, int64_t n, const char *rule)
{
    const struct eml_known *k = eml_rule_in(c, i);
    if (k == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, k->dtype == c->in[0]->dtype, "operands differ in type"));
    return eml_rule_demand(
        c, !k->has_rank || (k->shape.rank == 1 && eml_dim_agrees(k->shape.dim[0], n)), rule);
}

/* Operands 2.. of products and convolutions: bias [n], residual (shaped as the output), PReLU slope
 * [n]. `bias` is false where operand 2 is checked by the caller. */
static enum eml_err tail(const struct eml_rule_ctx *c, const struct eml_shape *out, int64_t n,
                         bool bias)
{
    if (bias)
        EML_TRY(vector_of(c, 2, n, "the bias does not fit the output channels"));
    const struct eml_known *r = eml_rule_in(c, 3);
    if (r != NULL) {
        EML_TRY(eml_rule_demand(c, r->dtype == c->in[0]->dtype, "operands differ in type"));
        bool fits = !r->has_rank || r->shape.rank == out->rank;
        for (uint32_t i = 0; fits && r->has_rank && i < out->rank; i++)
            fits = eml_dim_agrees(r->shape.dim[i], out->dim[i]);
        EML_TRY(eml_rule_demand(c, fits, "the residual has another shape than the output"));
    }
    const int64_t act = eml_node_int(c->node, EML_ATTR_ACT, EML_ACT_NONE);
    bool prelu = act == EML_ACT_PRELU, fused = r != NULL || act != EML_ACT_NONE;
    EML_TRY(eml_rule_demand(c, !fused || c->in[0]->dtype == EML_DT_F32,
                            "fused into a product of another type than float32"));
    EML_TRY(eml_rule_demand(c, prelu == (eml_rule_in(c, 4) != NULL),
                            "a slope without PReLU, or PReLU without its slope"));
    return vector_of(c, 4, n, "the slope does not fit the output channels");
}

/* ---- products ---- */

enum eml_err eml_rule_matmul_shape(const struct eml_rule_ctx *c, const struct eml_shape *of_a,
                                   const struct eml_shape *of_b, struct eml_shape *out, int64_t *n)
{
    struct eml_shape a = *of_a, b = *of_b;
    EML_TRY(eml_rule_demand(c, a.rank >= 1 && b.rank >= 1, "MatMul: scalar operand"));
    bool a_vec = a.rank == 1, b_vec = b.rank == 1;
    int64_t m = a_vec ? 1 : a.dim[a.rank - 2], k = a.dim[a.rank - 1];
    int64_t kb = b_vec ? b.dim[0] : b.dim[b.rank - 2];
    *n = b_vec ? 1 : b.dim[b.rank - 1];
    EML_TRY(eml_rule_demand(c, eml_dim_agrees(k, kb), "MatMul: inner dimensions differ"));
    a.rank = a_vec ? 0 : a.rank - 2;
    b.rank = b_vec ? 0 : b.rank - 2;
    EML_TRY(eml_rule_broadcast(c, &a, &b));
    *out = a;
    EML_TRY(
        eml_rule_demand(c, out->rank + !a_vec + !b_vec <= EML_RANK_MAX, "rank above the limit"));
    if (!a_vec)
        out->dim[out->rank++] = m;
    if (!b_vec)
        out->dim[out->rank++] = *n;
    return EML_OK;
}

enum eml_err eml_rule_matmul(const struct eml_rule_ctx *c)
{
    EML_TRY(eml_rule_demand(c, c->in[0]->dtype == c->in[1]->dtype, "operands differ in type"));
    eml_rule_out(c, 0, c->in[0]->dtype, NULL);
    if (!c->in[0]->has_rank || !c->in[1]->has_rank)
        return EML_OK;
    struct eml_shape s;
    int64_t n;
    EML_TRY(eml_rule_matmul_shape(c, &c->in[0]->shape, &c->in[1]->shape, &s, &n));
    eml_rule_out(c, 0, c->in[0]->dtype, &s);
    EML_TRY(eml_rule_demand(c, eml_rule_in(c, 2) == NULL || c->in[0]->dtype == EML_DT_F32,
                            "fused into a product of another type than float32"));
    return tail(c, &s, n, true);
}

enum eml_err eml_rule_gemm(const struct eml_rule_ctx *c)
{
    const struct eml_known *a = c->in[0], *b = c->in[1], *z = eml_rule_in(c, 2);
    struct eml_shape s = {.rank = 2, .dim = {EML_DIM_UNKNOWN, EML_DIM_UNKNOWN}};
    int64_t ta = eml_node_int(c->node, EML_ATTR_TRANS_A, 0) != 0;
    int64_t tb = eml_node_int(c->node, EML_ATTR_TRANS_B, 0) != 0, k[2];
    EML_TRY(eml_rule_demand(c, a->dtype == b->dtype, "operands differ in type"));
    EML_TRY(eml_rule_demand(
        c, (!a->has_rank || a->shape.rank == 2) && (!b->has_rank || b->shape.rank == 2),
        "Gemm: operands are not matrices"));
    if (a->has_rank)
        s.dim[0] = a->shape.dim[ta];
    if (b->has_rank)
        s.dim[1] = b->shape.dim[1 - tb];
    k[0] = a->has_rank ? a->shape.dim[1 - ta] : EML_DIM_UNKNOWN;
    k[1] = b->has_rank ? b->shape.dim[tb] : EML_DIM_UNKNOWN;
    EML_TRY(eml_rule_demand(c, eml_dim_agrees(k[0], k[1]), "Gemm: inner dimensions differ"));
    eml_rule_out(c, 0, a->dtype, &s);
    if (z != NULL && z->has_rank) {
        struct eml_shape t = s;
        EML_TRY(eml_rule_demand(c, z->dtype == a->dtype, "operands differ in type"));
        EML_TRY(eml_rule_broadcast(c, &t, &z->shape));
        EML_TRY(eml_rule_demand(c,
                                t.rank == 2 && eml_dim_agrees(t.dim[0], s.dim[0]) &&
                                    eml_dim_agrees(t.dim[1], s.dim[1]),
                                "Gemm: C does not broadcast to the product"));
    }
    return tail(c, &s, s.dim[1], false);
}

/* ---- windows ---- */

static enum eml_err bad_window(struct eml_why *why, const char *rule)
{
    return eml_fail(why, EML_E_INPUT, rule, -1);
}

/* `n` attribute values in [lo, 2^31), or the default. */
static enum eml_err window_list(const struct eml_node *node, enum eml_attr_id id, uint32_t n,
                                int64_t lo, int64_t otherwise, int64_t *out, struct eml_why *why)
{
    const struct eml_attr *a = eml_node_attr(node, id);
    bool given = a != NULL && a->n > 0;
    if (given && a->n != n)
        return bad_window(why, "window attribute has a wrong length");
    for (uint32_t i = 0; i < n; i++) {
        out[i] = given ? a->v[i] : otherwise;
        if (out[i] < lo || out[i] > INT32_MAX)
            return bad_window(why, "window attribute out of range");
    }
    return EML_OK;
}

static enum eml_err window_kernel(const struct eml_node *node, const struct eml_shape *w,
                                  struct eml_window *o, struct eml_why *why)
{
    if (w == NULL) {
        if (eml_node_attr(node, EML_ATTR_KERNEL_SHAPE) == NULL)
            return bad_window(why, "pooling without kernel_shape");
        return window_list(node, EML_ATTR_KERNEL_SHAPE, o->n, 1, 1, o->kernel, why);
    }
    if (w->rank != o->n + 2)
        return bad_window(why, "weight and input differ in rank");
    for (uint32_t i = 0; i < o->n; i++) {
        o->kernel[i] = w->dim[i + 2];
        if (o->kernel[i] < 1 || o->kernel[i] > INT32_MAX)
            return bad_window(why, "kernel size out of range");
    }
    int64_t attr[EML_SPATIAL_MAX];
    if (eml_node_attr(node, EML_ATTR_KERNEL_SHAPE) == NULL)
        return EML_OK;
    EML_TRY(window_list(node, EML_ATTR_KERNEL_SHAPE, o->n, 1, 1, attr, why));
    for (uint32_t i = 0; i < o->n; i++)
        if (attr[i] != o->kernel[i])
            return bad_window(why, "kernel_shape is not the weight's");
    return EML_OK;
}

static enum eml_err window_channels(const struct eml_node *node, const struct eml_shape *w,
                                    const struct eml_window *o, struct eml_why *why)
{
    if (o->group < 1 || o->group > INT32_MAX)
        return bad_window(why, "group out of range");
    if (w == NULL)
        return EML_OK;
    int64_t wi = w->dim[0], in_c;
    if (wi < 0 || w->dim[1] < 0)
        return bad_window(why, "weight of unknown shape");
    if (node->op == EML_OP_CONV_TRANSPOSE)
        in_c = wi;
    else if (!eml_mul_i64(w->dim[1], o->group, &in_c))
        return bad_window(why, "group out of range");
    if (wi % o->group != 0 || !eml_dim_agrees(o->in_c, in_c))
        return bad_window(why, "channels do not fit weight and group");
    return EML_OK;
}

/* Span of the dilated kernel: all factors are below 2^31. */
static int64_t span(const struct eml_window *o, uint32_t i)
{
    return o->dilation[i] * (o->kernel[i] - 1) + 1;
}

enum { AUTO_NOTSET = 0, AUTO_SAME_UPPER = 1, AUTO_SAME_LOWER = 2, AUTO_VALID = 3 };

static enum eml_err out_forward(const struct eml_node *node, int64_t auto_pad, struct eml_window *o,
                                uint32_t i, struct eml_why *why)
{
    int64_t in = o->in[i], stride = o->stride[i], room;
    if (!eml_dim_known(in)) {
        o->out[i] = EML_DIM_UNKNOWN;
        return EML_OK;
    }
    if (auto_pad == AUTO_SAME_UPPER || auto_pad == AUTO_SAME_LOWER) {
        o->out[i] = in / stride + (in % stride != 0);
        /* (out-1)*stride < in, so that nothing overflows */
        int64_t pad = in == 0 ? 0 : (o->out[i] - 1) * stride - in + span(o, i);
        pad = pad < 0 ? 0 : pad;
        o->pad_begin[i] = auto_pad == AUTO_SAME_UPPER ? pad / 2 : pad - pad / 2;
        o->pad_end[i] = pad - o->pad_begin[i];
        return EML_OK;
    }
    if (!eml_add_i64(in, o->pad_begin[i] + o->pad_end[i] - span(o, i), &room))
        return bad_window(why, "tensor above the size limit");
    if (room < 0)
        return bad_window(why, "the window is larger than the padded input");
    o->out[i] = room / stride + 1;
    if (eml_node_int(node, EML_ATTR_CEIL_MODE, 0) != 0 && room % stride != 0 &&
        o->out[i] * stride < in + o->pad_begin[i]) /* a last window that starts inside */
        o->out[i]++;
    return EML_OK;
}

static enum eml_err out_transposed(const struct eml_node *node, int64_t auto_pad,
                                   struct eml_window *o, uint32_t i, int64_t extra,
                                   struct eml_why *why)
{
    const struct eml_attr *shape = eml_node_attr(node, EML_ATTR_OUTPUT_SHAPE);
    bool same = auto_pad == AUTO_SAME_UPPER || auto_pad == AUTO_SAME_LOWER;
    int64_t full, want;
    o->out[i] = EML_DIM_UNKNOWN;
    if (shape != NULL)
        o->out[i] = shape->v[i + (shape->n - o->n)];
    if (!eml_dim_known(o->in[i]))
        return EML_OK;
    if (!eml_mul_i64(o->in[i] - 1, o->stride[i], &full) ||
        !eml_add_i64(full, extra + span(o, i), &full) ||
        !eml_mul_i64(o->in[i], o->stride[i], &want))
        return bad_window(why, "tensor above the size limit");
    if (shape != NULL)
        want = o->out[i];
    if (shape != NULL || same) {
        int64_t pad = full > want ? full - want : 0;
        o->pad_begin[i] = auto_pad == AUTO_SAME_UPPER ? pad / 2 : pad - pad / 2;
        o->pad_end[i] = pad - o->pad_begin[i];
        o->out[i] = want;
    } else {
        o->out[i] = full - o->pad_begin[i] - o->pad_end[i];
    }
    return o->out[i] >= 0 ? EML_OK : bad_window(why, "the padding cuts away all of the output");
}

static enum eml_err window_outputs(const struct eml_node *node, struct eml_window *o,
                                   struct eml_why *why)
{
    int64_t auto_pad = eml_node_int(node, EML_ATTR_AUTO_PAD, AUTO_NOTSET);
    int64_t extra[EML_SPATIAL_MAX], pads[2 * EML_SPATIAL_MAX];
    if (auto_pad < AUTO_NOTSET || auto_pad > AUTO_VALID)
        return bad_window(why, "auto_pad out of range");
    EML_TRY(window_list(node, EML_ATTR_PADS, 2 * o->n, 0, 0, pads, why));
    for (uint32_t i = 0; i < o->n; i++) {
        o->pad_begin[i] = auto_pad == AUTO_NOTSET ? pads[i] : 0;
        o->pad_end[i] = auto_pad == AUTO_NOTSET ? pads[o->n + i] : 0;
    }
    const struct eml_attr *shape = eml_node_attr(node, EML_ATTR_OUTPUT_SHAPE);
    if (shape != NULL && shape->n != o->n && shape->n != o->n + 2)
        return bad_window(why, "window attribute has a wrong length");
    EML_TRY(window_list(node, EML_ATTR_OUTPUT_PADDING, o->n, 0, 0, extra, why));
    for (uint32_t i = 0; i < o->n; i++) {
        if (node->op == EML_OP_CONV_TRANSPOSE)
            EML_TRY(out_transposed(node, auto_pad, o, i, extra[i], why));
        else
            EML_TRY(out_forward(node, auto_pad, o, i, why));
    }
    return EML_OK;
}

enum eml_err eml_window_make(const struct eml_node *node, const struct eml_shape *x,
                             const struct eml_shape *w, struct eml_window *out, struct eml_why *why)
{
    *out = (struct eml_window){0};
    if (x->rank < 3 || x->rank > EML_SPATIAL_MAX + 2)
        return bad_window(why, "input is not [N, spatial (1 to 3), C]");
    struct eml_window o = {.n = x->rank - 2,
                           .batch = x->dim[0],
                           .in_c = x->dim[x->rank - 1],
                           .group = eml_node_int(node, EML_ATTR_GROUP, 1)};
    for (uint32_t i = 0; i < o.n; i++)
        o.in[i] = x->dim[i + 1];
    EML_TRY(window_kernel(node, w, &o, why));
    EML_TRY(window_channels(node, w, &o, why));
    EML_TRY(window_list(node, EML_ATTR_STRIDES, o.n, 1, 1, o.stride, why));
    EML_TRY(window_list(node, EML_ATTR_DILATIONS, o.n, 1, 1, o.dilation, why));
    EML_TRY(window_outputs(node, &o, why));
    *out = o;
    return EML_OK;
}

static void window_shape(const struct eml_window *w, int64_t channels, struct eml_shape *s)
{
    *s = (struct eml_shape){.rank = w->n + 2, .dim = {w->batch}};
    for (uint32_t i = 0; i < w->n; i++)
        s->dim[i + 1] = w->out[i];
    s->dim[w->n + 1] = channels;
}

static enum eml_err conv(const struct eml_rule_ctx *c, bool transposed)
{
    const struct eml_known *x = c->in[0], *k = c->in[1];
    struct eml_window w;
    struct eml_shape s;
    EML_TRY(eml_rule_demand(c, x->dtype == k->dtype, "operands differ in type"));
    eml_rule_out(c, 0, x->dtype, NULL);
    if (!x->has_rank || !k->has_rank)
        return EML_OK;
    EML_TRY(eml_window_make(c->node, &x->shape, &k->shape, &w, c->why));
    int64_t channels = k->shape.dim[0];
    if (transposed)
        EML_TRY(eml_rule_demand(c, eml_mul_i64(k->shape.dim[1], w.group, &channels),
                                "tensor above the size limit"));
    window_shape(&w, channels, &s);
    eml_rule_out(c, 0, x->dtype, &s);
    return tail(c, &s, channels, true);
}

enum eml_err eml_rule_conv(const struct eml_rule_ctx *c)
{
    return conv(c, false);
}

enum eml_err eml_rule_conv_transpose(const struct eml_rule_ctx *c)
{
    return conv(c, true);
}

enum eml_err eml_rule_pool(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    struct eml_window w;
    struct eml_shape s;
    eml_rule_out(c, 0, x->dtype, NULL);
    bool indices = c->node->n_out > 1;
    if (indices)
        eml_rule_out(c, 1, EML_DT_I64, NULL);
    if (!x->has_rank)
        return EML_OK;
    EML_TRY(eml_rule_demand(
        c, c->node->op != EML_OP_LP_POOL || eml_node_int(c->node, EML_ATTR_P, 2) >= 1,
        "pooling: the norm is below 1"));
    EML_TRY(eml_window_make(c->node, &x->shape, NULL, &w, c->why));
    for (uint32_t i = 0; i < w.n; i++) {
        int64_t reach = w.dilation[i] * (w.kernel[i] - 1);
        EML_TRY(eml_rule_demand(c, w.pad_begin[i] <= reach && w.pad_end[i] <= reach,
                                "pooling: the padding is as large as the window"));
    }
    window_shape(&w, w.in_c, &s);
    eml_rule_out(c, 0, x->dtype, &s);
    if (indices)
        eml_rule_out(c, 1, EML_DT_I64, &s);
    return EML_OK;
}

enum eml_err eml_rule_global_pool(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    if (!x->has_rank) {
        eml_rule_out(c, 0, x->dtype, NULL);
        return EML_OK;
    }
    struct eml_shape s = x->shape;
    EML_TRY(eml_rule_demand(c, s.rank >= 3, "input is not [N, spatial, C]"));
    for (uint32_t i = 1; i + 1 < s.rank; i++) {
        EML_TRY(eml_rule_demand(c, s.dim[i] != 0, "pooling over nothing"));
        s.dim[i] = 1;
    }
    eml_rule_out(c, 0, x->dtype, &s);
    return EML_OK;
}
