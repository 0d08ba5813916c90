/* The forms of attention and of rotary embedding: Attention and RotaryEmbedding of ONNX (opset 23);
 * Attention, MultiHeadAttention, GroupQueryAttention and RotaryEmbedding of com.microsoft. All
 * become products, a softmax and masks that are added; eml_fuse_attention makes one operator of
 * that where it can. Semantics: docs/Operators.md of ONNX, docs/ContribOperators.md of ONNX
 * Runtime.
 *
 * Letters: B batch, S queries, T keys, N heads, D and E columns of a head of keys and of values.
 */
#include "decompose/composite.h"

#include <math.h>

enum { HEADS_AXIS = 1 }; /* of [B, N, S, D] */
static const int64_t SWAP[4] = {0, 2, 1, 3};

struct attention {
    struct eml_ir_value *q, *k, *v; /* [B, q_heads, S, D], [B, heads, T, D], [B, heads, T, E] */
    int64_t q_heads, heads, d, e;   /* d, e: -1 if not known */
    float scale, cap;               /* of the scores; cap 0: none */
    struct eml_ir_value *mask;      /* added to the scores [B, q_heads, S, T]; or NULL */
    struct eml_ir_value *at[4];     /* scores: plain, capped, with the mask, as weights */
};

static enum eml_err refuse(const struct eml_maker *m, const char *rule)
{
    return eml_make_refuse(m, rule);
}

static int64_t dim_of(const struct eml_ir_value *v, uint32_t i)
{
    return v != NULL && v->has_rank && i < v->shape.rank ? v->shape.dim[i] : EML_DIM_UNKNOWN;
}

static uint32_t rank_of(const struct eml_ir_value *v)
{
    return v != NULL && v->has_rank ? v->shape.rank : UINT32_MAX;
}

/* [B, S, N*D] to [B, S, N, D] */
static struct eml_ir_value *cut_heads(const struct eml_maker *m, struct eml_ir_value *x,
                                      int64_t heads)
{
    const int64_t dims[4] = {0, 0, heads, -1};
    return eml_make_reshape(m, x, dims, 4);
}

static struct eml_ir_value *heads_first(const struct eml_maker *m, struct eml_ir_value *x,
                                        int64_t heads)
{
    return eml_make_transpose(m, cut_heads(m, x, heads), SWAP, 4);
}

/* [B, N, S, E] to [B, S, N*E] */
static struct eml_ir_value *join_heads(const struct eml_maker *m, struct eml_ir_value *y)
{
    static const int64_t dims[3] = {0, 0, -1};
    return eml_make_reshape(m, eml_make_transpose(m, y, SWAP, 4), dims, 3);
}

static struct eml_ir_value *join(const struct eml_maker *m, int64_t axis, struct eml_ir_value *a,
                                 struct eml_ir_value *b)
{
    struct eml_ir_value *in[2] = {a, b};
    return a == NULL ? b : eml_make_concat(m, axis, in, 2);
}

static struct eml_ir_value *added(const struct eml_maker *m, struct eml_ir_value *a,
                                  struct eml_ir_value *b)
{
    return a == NULL ? b : b == NULL ? a : eml_make_two(m, EML_OP_ADD, a, b);
}

/* 0 where it holds, `otherwise` elsewhere. */
static struct eml_ir_value *penalty(const struct eml_maker *m, struct eml_ir_value *holds,
                                    float otherwise)
{
    return eml_make_three(m, EML_OP_WHERE, holds, eml_ir_const_f32(m->ir, 0),
                          eml_ir_const_f32(m->ir, otherwise));
}

/* 0, 1, ... as many as dim `axis` of x. */
static struct eml_ir_value *places(const struct eml_maker *m, struct eml_ir_value *x, int64_t axis)
{
    struct eml_ir_value *n = eml_make_two(m, EML_OP_SQUEEZE, eml_make_dim(m, x, axis), NULL);
    return eml_make_three(m, EML_OP_RANGE, eml_make_index(m, 0), n, eml_make_index(m, 1));
}

/* [S, T]: -inf where key j comes after query i; there are as many keys before the queries as `past`
 * has (its dim 2). */
static struct eml_ir_value *causal(const struct eml_maker *m, const struct attention *a,
                                   struct eml_ir_value *past)
{
    struct eml_ir_value *after = eml_make_index(m, 1);
    struct eml_ir_value *shape = join(m, 0, eml_make_dim(m, a->q, 2), eml_make_dim(m, a->k, 2));
    struct eml_ir_value *full =
        eml_make_two(m, EML_OP_CONSTANT_OF_SHAPE, shape, eml_ir_const_f32(m->ir, -INFINITY));
    if (past != NULL)
        after = eml_make_two(m, EML_OP_ADD, eml_make_dim(m, past, 2), after);
    return eml_make_two(m, EML_OP_TRILU, full, after);
}

/* A mask [.., q_heads or 1, S, T] for scores [B, heads, q_heads / heads, S, T]. */
static enum eml_err group_mask(const struct eml_maker *m, const struct attention *a, uint32_t rank,
                               int64_t mask_heads, struct eml_ir_value **mask)
{
    if (rank < 3 || rank == UINT32_MAX)
        return rank < 3 ? EML_OK : refuse(m, "decompose: mask of unknown rank");
    if (rank == 3)
        *mask = eml_make_unsqueeze(m, *mask, 0);
    if (mask_heads == 1) {
        *mask = eml_make_unsqueeze(m, *mask, 2);
        return EML_OK;
    }
    if (mask_heads != a->q_heads)
        return refuse(m, "decompose: mask of an unknown number of heads");
    const int64_t groups[2] = {a->heads, a->q_heads / a->heads};
    struct eml_ir_value *dims[3] = {eml_make_dim(m, *mask, 0), eml_ir_const_ints(m->ir, groups, 2),
                                    eml_make_dim(m, *mask, 2)};
    struct eml_ir_value *last[2] = {eml_make_concat(m, 0, dims, 3), eml_make_dim(m, *mask, 3)};
    *mask = eml_make_two(m, EML_OP_RESHAPE, *mask, eml_make_concat(m, 0, last, 2));
    return EML_OK;
}

static struct eml_ir_value *capped(const struct eml_maker *m, const struct attention *a,
                                   struct eml_ir_value *x)
{
    struct eml_ir_value *cap = eml_ir_const_f32(m->ir, a->cap);
    if (a->cap == 0)
        return x;
    x = eml_make_one(m, EML_OP_TANH, eml_make_two(m, EML_OP_DIV, x, cap));
    return eml_make_two(m, EML_OP_MUL, x, cap);
}

/* softmax(q k^T * scale + mask) v, heads first. mask_rank, mask_heads: of a->mask. */
static enum eml_err attend(const struct eml_maker *m, struct attention *a, uint32_t mask_rank,
                           int64_t mask_heads, struct eml_ir_value **y)
{
    static const int64_t turn[5] = {0, 1, 2, 4, 3}, turn4[4] = {0, 1, 3, 2};
    const bool grouped = a->q_heads != a->heads;
    struct eml_ir_value *q = a->q, *k = a->k, *v = a->v;
    if (a->heads < 1 || a->q_heads < 1 || a->q_heads % a->heads != 0)
        return refuse(m, "decompose: heads of queries are no multiple of those of keys");
    if (a->d < 1 || (grouped && a->e < 1))
        return refuse(m, "decompose: the columns of a head are not known");
    if (grouped) {
        const int64_t dims[5] = {0, a->heads, a->q_heads / a->heads, -1, a->d};
        q = eml_make_reshape(m, q, dims, 5);
        k = eml_make_transpose(m, eml_make_unsqueeze(m, k, 2), turn, 5);
        v = eml_make_unsqueeze(m, v, 2);
        if (a->mask != NULL)
            EML_TRY(group_mask(m, a, mask_rank, mask_heads, &a->mask));
    } else {
        k = eml_make_transpose(m, k, turn4, 4);
    }
    struct eml_ir_value *s = eml_make_two(m, EML_OP_MATMUL, q, k);
    const float scale = a->scale != 0 ? a->scale : 1 / sqrtf((float)a->d);
    s = a->at[0] = eml_make_two(m, EML_OP_MUL, s, eml_ir_const_f32(m->ir, scale));
    s = a->at[1] = capped(m, a, s);
    s = a->at[2] = added(m, s, a->mask);
    s = a->at[3] = eml_make_one(m, EML_OP_SOFTMAX, s);
    eml_ir_set_int(m->ir, s->maker, EML_ATTR_AXIS, -1);
    *y = eml_make_two(m, EML_OP_MATMUL, s, v);
    const int64_t dims[4] = {0, a->q_heads, -1, a->e};
    if (grouped)
        *y = eml_make_reshape(m, *y, dims, 4);
    return EML_OK;
}

/* ---- rotary embedding ---- */

struct rotation {
    struct eml_ir_value *cos, *sin; /* [B or 1, S, r / 2] */
    int64_t d, r;                   /* the first r of d columns turn */
    bool interleaved;               /* pairs are neighbours, not halves */
    int64_t heads_axis;             /* of what is turned: 1 or 2 of 4 */
};

static struct eml_ir_value *rotate(const struct eml_maker *m, const struct rotation *r,
                                   struct eml_ir_value *x)
{
    struct eml_ir_value *part[2], *turned[2], *rest = NULL;
    struct eml_ir_value *cos = eml_make_unsqueeze(m, r->cos, r->heads_axis);
    struct eml_ir_value *sin = eml_make_unsqueeze(m, r->sin, r->heads_axis);
    if (r->r != r->d) {
        rest = eml_make_slice(m, x, -1, r->r, INT64_MAX);
        x = eml_make_slice(m, x, -1, 0, r->r);
    }
    if (r->interleaved) {
        const int64_t pairs[5] = {0, 0, 0, r->r / 2, 2};
        x = eml_make_reshape(m, x, pairs, 5);
        for (int64_t i = 0; i < 2; i++) {
            struct eml_ir_value *in[2] = {x, eml_make_index(m, i)};
            struct eml_ir_node *g = eml_make_node(m, EML_OP_GATHER, in, 2);
            eml_ir_set_int(m->ir, g, EML_ATTR_AXIS, -1);
            part[i] = g->out[0];
        }
    } else {
        part[0] = eml_make_slice(m, x, -1, 0, r->r / 2);
        part[1] = eml_make_slice(m, x, -1, r->r / 2, INT64_MAX);
    }
    turned[0] = eml_make_two(m, EML_OP_SUB, eml_make_two(m, EML_OP_MUL, part[0], cos),
                             eml_make_two(m, EML_OP_MUL, part[1], sin));
    turned[1] = eml_make_two(m, EML_OP_ADD, eml_make_two(m, EML_OP_MUL, part[0], sin),
                             eml_make_two(m, EML_OP_MUL, part[1], cos));
    if (r->interleaved) {
        const int64_t flat[4] = {0, 0, 0, r->r};
        for (size_t i = 0; i < 2; i++)
            turned[i] = eml_make_unsqueeze(m, turned[i], -1);
        x = eml_make_reshape(m, eml_make_concat(m, -1, turned, 2), flat, 4);
    } else {
        x = eml_make_concat(m, -1, turned, 2);
    }
    return rest == NULL ? x : join(m, -1, x, rest);
}

/* X [B, S, N*D] or [B, N, S, D]; tables [places, r/2] with the places of the tokens, or, without
 * those, [B, S, r/2]. */
static enum eml_err rotary(const struct eml_maker *m, struct eml_ir_value *x,
                           struct eml_ir_value *at, struct eml_ir_value *cos,
                           struct eml_ir_value *sin)
{
    const uint32_t rank = rank_of(x);
    int64_t heads = eml_make_int(m, "num_heads", 0), d = dim_of(x, rank - 1);
    const int64_t r = eml_make_int(m, "rotary_embedding_dim", 0);
    const int64_t half = dim_of(cos, rank_of(cos) - 1);
    if ((rank != 3 && rank != 4) || half < 1)
        return refuse(m, "decompose: RotaryEmbedding of an unknown shape");
    if (rank == 3 && heads == 0 && r == 0) { /* a head has as many columns as the tables say */
        d = 2 * half;
        heads = dim_of(x, 2) / d;
    } else if (rank == 3 && heads > 0) {
        d = dim_of(x, 2) / heads;
    }
    struct rotation how = {.cos = cos,
                           .sin = sin,
                           .d = d,
                           .r = r > 0 ? r : d,
                           .interleaved = eml_make_int(m, "interleaved", 0) != 0,
                           .heads_axis = rank == 3 ? 2 : 1};
    if (d < 1 || how.r != 2 * half || how.r > d || (rank == 3 && heads < 1))
        return refuse(m, "decompose: RotaryEmbedding: the tables do not fit the columns");
    if (at != NULL) {
        how.cos = eml_make_two(m, EML_OP_GATHER, cos, at);
        how.sin = eml_make_two(m, EML_OP_GATHER, sin, at);
    }
    if (rank == 4) {
        m->out[0] = rotate(m, &how, x);
        return EML_OK;
    }
    static const int64_t dims[3] = {0, 0, -1};
    m->out[0] = eml_make_reshape(m, rotate(m, &how, cut_heads(m, x, heads)), dims, 3);
    return EML_OK;
}

static enum eml_err rotary_embedding(const struct eml_maker *m)
{
    return rotary(m, m->in[0], eml_make_operand(m, 3), m->in[1], m->in[2]);
}

static enum eml_err ms_rotary_embedding(const struct eml_maker *m)
{
    struct eml_ir_value *at = m->in[1], *x = m->in[0];
    if (rank_of(at) != 1 && rank_of(at) != 2)
        return refuse(m, "decompose: RotaryEmbedding with places of an unknown rank");
    if (eml_make_int(m, "is_packed_batching", 0) != 0 || eml_make_float(m, "scale", 1) != 1)
        return refuse(m, "decompose: RotaryEmbedding: packed or scaled is not supported");
    if (rank_of(at) == 1) { /* where the first token is */
        at = eml_make_two(m, EML_OP_ADD, eml_make_cast(m, at, EML_DT_I64),
                          places(m, x, rank_of(x) == 3 ? 1 : 2));
        at = eml_make_unsqueeze(m, at, 0);
    }
    return rotary(m, x, at, m->in[2], m->in[3]);
}

/* ---- Attention of ONNX ---- */

/* Operand i heads first, and the columns of a head. */
static enum eml_err operand_heads(const struct eml_maker *m, uint32_t i, int64_t *heads, int64_t *d,
                                  struct eml_ir_value **x)
{
    *x = m->in[i];
    const uint32_t rank = rank_of(*x);
    if (rank == 4) {
        *heads = dim_of(*x, HEADS_AXIS);
        *d = dim_of(*x, 3);
        return EML_OK;
    }
    if (rank != 3 || *heads < 1)
        return refuse(m, "decompose: Attention of an unknown number of heads");
    *d = dim_of(*x, 2) > 0 && dim_of(*x, 2) % *heads == 0 ? dim_of(*x, 2) / *heads : -1;
    *x = heads_first(m, *x, *heads);
    return EML_OK;
}

static enum eml_err attention(const struct eml_maker *m)
{
    enum { Q, K, V, MASK, PAST_K, PAST_V };
    struct attention a = {.q_heads = eml_make_int(m, "q_num_heads", 0),
                          .heads = eml_make_int(m, "kv_num_heads", 0),
                          .scale = eml_make_float(m, "scale", 0),
                          .cap = eml_make_float(m, "softcap", 0)};
    struct eml_ir_value *past = eml_make_operand(m, PAST_K), *y;
    int64_t mode = eml_make_int(m, "qk_matmul_output_mode", 0), kv = a.heads;
    EML_TRY(operand_heads(m, Q, &a.q_heads, &a.d, &a.q));
    EML_TRY(operand_heads(m, K, &a.heads, &a.d, &a.k));
    EML_TRY(operand_heads(m, V, &kv, &a.e, &a.v));
    a.k = m->out[1] = join(m, 2, past, a.k);
    a.v = m->out[2] = join(m, 2, eml_make_operand(m, PAST_V), a.v);
    a.mask = eml_make_operand(m, MASK);
    uint32_t rank = a.mask != NULL ? rank_of(a.mask) : 2;
    int64_t mask_heads = rank == 3 || rank == 4 ? dim_of(a.mask, rank - 3) : 1;
    if (a.mask != NULL && a.mask->dtype == EML_DT_BOOL)
        a.mask = penalty(m, a.mask, -INFINITY);
    if (eml_make_int(m, "is_causal", 0) != 0)
        a.mask = added(m, a.mask, causal(m, &a, past));
    EML_TRY(attend(m, &a, rank, mask_heads, &y));
    if (mode < 0 || mode > 3 || (eml_make_wanted(m, 3) && a.q_heads != a.heads))
        return refuse(m, "decompose: Attention: the scores are not given in this form");
    m->out[3] = a.at[mode];
    m->out[0] = rank_of(m->in[Q]) == 4 ? y : join_heads(m, y);
    return EML_OK;
}

/* ---- MultiHeadAttention and Attention of com.microsoft ---- */

/* Which keys count, as what is added to the scores: 0/1 for [B, T] or [B, S, T], or [B] how many.
 */
static enum eml_err key_mask(const struct eml_maker *m, struct eml_ir_value *mask,
                             struct eml_ir_value *k, float filter, struct eml_ir_value **out)
{
    static const int64_t wide[4] = {0, 1, 1, -1}, each[4] = {-1, 1, 1, 1};
    const uint32_t rank = rank_of(mask);
    *out = NULL;
    if (mask == NULL)
        return EML_OK;
    if (rank == 1) {
        if (dim_of(mask, 0) != dim_of(m->in[0], 0) || dim_of(mask, 0) == EML_DIM_UNKNOWN)
            return refuse(m, "decompose: mask of one dim that is not the batch");
        struct eml_ir_value *n = eml_make_reshape(m, eml_make_cast(m, mask, EML_DT_I64), each, 4);
        *out = penalty(m, eml_make_two(m, EML_OP_LESS, places(m, k, 2), n), filter);
        return EML_OK;
    }
    if (rank != 2 && rank != 3)
        return refuse(m, "decompose: mask of this rank is not supported");
    mask = rank == 2 ? eml_make_reshape(m, mask, wide, 4) : eml_make_unsqueeze(m, mask, 1);
    *out = penalty(m, eml_make_cast(m, mask, EML_DT_BOOL), filter);
    return EML_OK;
}

/* All that com.microsoft's two have in common once q, k and v are cut into heads: mask, bias of the
 * scores [.., S, T], causality, and the product. */
static enum eml_err ms_attend(const struct eml_maker *m, struct attention *a, uint32_t mask,
                              uint32_t bias, struct eml_ir_value *past)
{
    struct eml_ir_value *y;
    EML_TRY(key_mask(m, eml_make_operand(m, mask), a->k,
                     eml_make_float(m, "mask_filter_value", -10000.0F), &a->mask));
    a->mask = added(m, a->mask, eml_make_operand(m, bias));
    if (eml_make_int(m, "unidirectional", 0) != 0)
        a->mask = added(m, a->mask, causal(m, a, past));
    a->scale = eml_make_float(m, "scale", 0);
    EML_TRY(attend(m, a, 4, 1, &y));
    m->out[0] = join_heads(m, y);
    return EML_OK;
}

/* One of those that stand side by side in axis 3: [B, S, N, 3, D]. */
static struct eml_ir_value *unpacked(const struct eml_maker *m, struct eml_ir_value *x, int64_t i)
{
    struct eml_ir_value *in[2] = {x, eml_make_index(m, i)};
    struct eml_ir_node *g = eml_make_node(m, EML_OP_GATHER, in, 2);
    eml_ir_set_int(m->ir, g, EML_ATTR_AXIS, 3);
    return eml_make_transpose(m, g->out[0], SWAP, 4);
}

/* Columns [from, from + n) of the bias added to x [B, S, n], which is then cut into heads. */
static struct eml_ir_value *biased(const struct eml_maker *m, struct eml_ir_value *x,
                                   struct eml_ir_value *bias, int64_t from, int64_t n,
                                   int64_t heads)
{
    if (bias != NULL)
        x = eml_make_two(m, EML_OP_ADD, x, eml_make_slice(m, bias, 0, from, from + n));
    return heads_first(m, x, heads);
}

static enum eml_err multi_head_attention(const struct eml_maker *m)
{
    enum { Q, K, V, BIAS, MASK, SCORES_BIAS, PAST_K, PAST_V };
    const int64_t n = eml_make_int(m, "num_heads", 0);
    struct eml_ir_value *q = m->in[Q], *k = eml_make_operand(m, K), *v = eml_make_operand(m, V);
    struct eml_ir_value *bias = eml_make_operand(m, BIAS), *past = eml_make_operand(m, PAST_K);
    struct attention a = {.q_heads = n, .heads = n};
    const int64_t h = dim_of(q, 2), hv = dim_of(v, 2);
    if (bias != NULL && (k == NULL || rank_of(k) != 3 || h < 1))
        return refuse(m, "decompose: MultiHeadAttention: a bias needs q, k, v of three dims");
    if (n < 1 || (k == NULL && rank_of(q) != 5) || (k != NULL && rank_of(q) != 3))
        return refuse(m, "decompose: MultiHeadAttention of an unknown form");
    if (k == NULL) { /* packed */
        a.q = unpacked(m, q, 0);
        a.k = unpacked(m, q, 1);
        a.v = unpacked(m, q, 2);
        a.d = a.e = dim_of(q, 4);
    } else {
        a.d = h > 0 ? h / n : -1;
        a.q = biased(m, q, bias, 0, h, n);
        if (rank_of(k) == 5) {
            a.k = unpacked(m, k, 0);
            a.v = unpacked(m, k, 1);
        } else if (rank_of(k) == 4 && v != NULL) { /* heads first already */
            a.k = k;
            a.v = v;
        } else if (rank_of(k) == 3 && v != NULL) {
            a.k = biased(m, k, bias, h, h, n);
            a.v = biased(m, v, bias, 2 * h, hv, n);
        } else {
            return refuse(m, "decompose: MultiHeadAttention of an unknown form");
        }
    }
    a.k = m->out[1] = join(m, 2, past, a.k);
    a.v = m->out[2] = join(m, 2, eml_make_operand(m, PAST_V), a.v);
    return ms_attend(m, &a, MASK, SCORES_BIAS, past);
}

/* Columns [from, to) of input * weights + bias, cut into heads. */
static struct eml_ir_value *projected(const struct eml_maker *m, int64_t from, int64_t to,
                                      int64_t heads)
{
    struct eml_ir_value *bias = eml_make_operand(m, 2);
    struct eml_ir_value *x =
        eml_make_two(m, EML_OP_MATMUL, m->in[0], eml_make_slice(m, m->in[1], 1, from, to));
    return biased(m, x, bias, from, to - from, heads);
}

static enum eml_err ms_attention(const struct eml_maker *m)
{
    enum { X, W, BIAS, MASK, PAST, SCORES_BIAS };
    const struct eml_onnx_attr *sizes = eml_make_ints(m, "qkv_hidden_sizes");
    const int64_t n = eml_make_int(m, "num_heads", 0), columns = dim_of(m->in[W], 1);
    struct attention a = {.q_heads = n, .heads = n};
    struct eml_ir_value *past[2] = {NULL, NULL}, *both = eml_make_operand(m, PAST), *present[2];
    int64_t h = columns / 3, hv = columns / 3;
    if (sizes != NULL && sizes->n == 3) {
        h = sizes->ints[0];
        hv = sizes->ints[2];
    }
    if (n < 1 || rank_of(m->in[X]) != 3 || h < 1 || hv < 1 || h % n != 0 || hv % n != 0 ||
        h > INT32_MAX || hv > INT32_MAX || 2 * h + hv != columns)
        return refuse(m, "decompose: Attention: the weights do not fit the heads");
    if (eml_make_int(m, "do_rotary", 0) != 0 ||
        eml_make_int(m, "past_present_share_buffer", 0) != 0)
        return refuse(m, "decompose: Attention: rotary or shared buffers are not supported");
    a.d = h / n;
    a.e = hv / n;
    a.q = projected(m, 0, h, n);
    a.k = projected(m, h, 2 * h, n);
    a.v = projected(m, 2 * h, columns, n);
    for (int64_t i = 0; i < 2 && both != NULL; i++)
        past[i] = eml_make_two(m, EML_OP_GATHER, both, eml_make_index(m, i));
    a.k = join(m, 2, past[0], a.k);
    a.v = join(m, 2, past[1], a.v);
    if (eml_make_wanted(m, 1)) {
        present[0] = eml_make_unsqueeze(m, a.k, 0);
        present[1] = eml_make_unsqueeze(m, a.v, 0);
        m->out[1] = eml_make_concat(m, 0, present, 2);
    }
    return ms_attend(m, &a, MASK, SCORES_BIAS, past[0]);
}

/* ---- GroupQueryAttention ---- */

enum {
    GQA_PAST_K = 3,
    GQA_PAST_V,
    GQA_LENGTHS, /* [B]: the last place of each sequence */
    GQA_TOTAL,   /* the length of the longest */
    GQA_COS,
    GQA_SIN,
    GQA_PLACES,
    GQA_BIAS
};

struct cache {
    struct eml_ir_value *before; /* [B]: tokens of the past */
    struct eml_ir_value *total;  /* [1]: tokens that the longest sequence has now */
    struct eml_ir_value *at;     /* [B, S]: places of the queries */
};

/* past [B, N, P, D] and x [B, N, S, D]: the first before[b] tokens of the past, then x, then zeros,
 * in all max(P, total). */
static struct eml_ir_value *append(const struct eml_maker *m, const struct cache *c,
                                   struct eml_ir_value *past, struct eml_ir_value *x)
{
    if (past == NULL)
        return x;
    static const int64_t one[1] = {1};
    struct eml_ir_value *held = eml_make_dim(m, past, 2);
    struct eml_ir_value *row[4] = {eml_make_dim(m, x, 0), eml_make_dim(m, x, 1),
                                   eml_ir_const_ints(m->ir, one, 1), eml_make_dim(m, x, -1)};
    struct eml_ir_value *zeros = eml_make_two(
        m, EML_OP_CONSTANT_OF_SHAPE, eml_make_concat(m, 0, row, 4), eml_ir_const_f32(m->ir, 0));
    struct eml_ir_value *parts[3] = {past, x, zeros}, *all = eml_make_concat(m, 2, parts, 3);
    struct eml_ir_value *n = eml_make_two(m, EML_OP_MAX, held, c->total);
    n = eml_make_two(m, EML_OP_SQUEEZE, n, NULL);
    struct eml_ir_value *j =
        eml_make_three(m, EML_OP_RANGE, eml_make_index(m, 0), n, eml_make_index(m, 1));
    struct eml_ir_value *before = eml_make_unsqueeze(m, c->before, 1); /* [B, 1] */
    struct eml_ir_value *added_at =
        eml_make_two(m, EML_OP_ADD, j, eml_make_two(m, EML_OP_SUB, held, before)); /* in `all` */
    struct eml_ir_value *last =
        eml_make_two(m, EML_OP_SUB, eml_make_dim(m, all, 2), eml_make_index(m, 1));
    struct eml_ir_value *from =
        eml_make_three(m, EML_OP_WHERE, eml_make_two(m, EML_OP_LESS, j, before), j,
                       eml_make_two(m, EML_OP_MIN, added_at, last));
    struct eml_ir_value *in[2] = {eml_make_transpose(m, all, SWAP, 4),
                                  eml_make_unsqueeze(m, from, 2)};
    struct eml_ir_node *g = eml_make_node(m, EML_OP_GATHER_ND, in, 2);
    eml_ir_set_int(m->ir, g, EML_ATTR_BATCH_DIMS, 1);
    return eml_make_transpose(m, g->out[0], SWAP, 4);
}

/* Queries, keys and values [B, S, N, D], packed side by side or not. */
static enum eml_err gqa_operands(const struct eml_maker *m, struct attention *a,
                                 struct eml_ir_value *x[3])
{
    struct eml_ir_value *k = eml_make_operand(m, 1), *v = eml_make_operand(m, 2);
    const int64_t columns = dim_of(m->in[0], 2), n = a->q_heads, kv = a->heads;
    if (n < 1 || kv < 1 || n > INT32_MAX || kv > INT32_MAX || rank_of(m->in[0]) != 3 || columns < 1)
        return refuse(m, "decompose: GroupQueryAttention of an unknown form");
    a->d = a->e = k != NULL ? columns / n : columns / (n + 2 * kv);
    if (k != NULL && v != NULL) {
        x[0] = cut_heads(m, m->in[0], n);
        x[1] = cut_heads(m, k, kv);
        x[2] = cut_heads(m, v, kv);
        return EML_OK;
    }
    struct eml_ir_value *all = cut_heads(m, m->in[0], n + 2 * kv);
    x[0] = eml_make_slice(m, all, 2, 0, n);
    x[1] = eml_make_slice(m, all, 2, n, n + kv);
    x[2] = eml_make_slice(m, all, 2, n + kv, INT64_MAX);
    return EML_OK;
}

/* Key j counts for the query at place p if j <= p, and, with a window, j > p - window. */
static struct eml_ir_value *gqa_mask(const struct eml_maker *m, const struct attention *a,
                                     const struct cache *c)
{
    const int64_t window = eml_make_int(m, "local_window_size", -1);
    struct eml_ir_value *j = places(m, a->k, 2);
    struct eml_ir_value *p = eml_make_unsqueeze(m, eml_make_unsqueeze(m, c->at, 1), 3);
    struct eml_ir_value *counts = eml_make_two(m, EML_OP_LESS_OR_EQUAL, j, p);
    if (window > 0) {
        p = eml_make_two(m, EML_OP_SUB, p, eml_make_index(m, window));
        counts = eml_make_two(m, EML_OP_AND, counts, eml_make_two(m, EML_OP_GREATER, j, p));
    }
    return penalty(m, counts, -INFINITY);
}

static enum eml_err gqa_rotate(const struct eml_maker *m, const struct attention *a,
                               struct eml_ir_value *at, struct eml_ir_value *x[3])
{
    struct eml_ir_value *cos = eml_make_operand(m, GQA_COS), *sin = eml_make_operand(m, GQA_SIN);
    if (eml_make_int(m, "do_rotary", 0) == 0)
        return EML_OK;
    if (eml_make_operand(m, GQA_PLACES) != NULL)
        at = m->in[GQA_PLACES];
    const int64_t half = dim_of(cos, 1);
    if (sin == NULL || rank_of(cos) != 2 || half < 1 || 2 * half > a->d)
        return refuse(m, "decompose: GroupQueryAttention: the tables do not fit the columns");
    const struct rotation how = {.cos = eml_make_two(m, EML_OP_GATHER, cos, at),
                                 .sin = eml_make_two(m, EML_OP_GATHER, sin, at),
                                 .d = a->d,
                                 .r = 2 * half,
                                 .interleaved = eml_make_int(m, "rotary_interleaved", 0) != 0,
                                 .heads_axis = 2};
    x[0] = rotate(m, &how, x[0]);
    x[1] = rotate(m, &how, x[1]);
    return EML_OK;
}

static struct cache gqa_cache(const struct eml_maker *m)
{
    static const int64_t flat[1] = {-1};
    struct eml_ir_value *s = eml_make_dim(m, m->in[0], 1), *now; /* tokens of each, with these */
    struct cache c = {.total = eml_make_cast(m, m->in[GQA_TOTAL], EML_DT_I64)};
    c.total = eml_make_reshape(m, c.total, flat, 1);
    now = eml_make_reshape(m, eml_make_cast(m, m->in[GQA_LENGTHS], EML_DT_I64), flat, 1);
    now = eml_make_two(m, EML_OP_ADD, now, eml_make_index(m, 1));
    c.before =
        eml_make_two(m, EML_OP_MAX, eml_make_two(m, EML_OP_SUB, now, s), eml_make_index(m, 0));
    c.at = eml_make_two(m, EML_OP_ADD, eml_make_unsqueeze(m, c.before, 1), places(m, m->in[0], 1));
    return c;
}

static enum eml_err group_query_attention(const struct eml_maker *m)
{
    struct attention a = {.q_heads = eml_make_int(m, "num_heads", 0),
                          .heads = eml_make_int(m, "kv_num_heads", 0),
                          .scale = eml_make_float(m, "scale", 0),
                          .cap = eml_make_float(m, "softcap", 0)};
    struct eml_ir_value *x[3] = {NULL}, *y, *bias = eml_make_operand(m, GQA_BIAS);
    if (eml_make_int(m, "smooth_softmax", 0) > 0 || eml_make_int(m, "qk_output", 0) > 0)
        return refuse(m, "decompose: GroupQueryAttention with this softmax is not supported");
    if (m->in[GQA_LENGTHS] == NULL || m->in[GQA_TOTAL] == NULL)
        return eml_fail(m->why, EML_E_INPUT, "required operand omitted", m->origin);
    EML_TRY(gqa_operands(m, &a, x));
    const struct cache c = gqa_cache(m);
    EML_TRY(gqa_rotate(m, &a, c.at, x));
    for (size_t i = 0; i < 3; i++)
        x[i] = eml_make_transpose(m, x[i], SWAP, 4);
    a.q = x[0];
    a.k = m->out[1] = append(m, &c, eml_make_operand(m, GQA_PAST_K), x[1]);
    a.v = m->out[2] = append(m, &c, eml_make_operand(m, GQA_PAST_V), x[2]);
    int64_t mask_heads = bias != NULL ? dim_of(bias, HEADS_AXIS) : 1;
    a.mask = added(m, gqa_mask(m, &a, &c), bias);
    EML_TRY(attend(m, &a, 4, mask_heads, &y));
    m->out[0] = join_heads(m, y);
    return EML_OK;
}

const struct eml_composite eml_composites_attention[] = {
    {"Attention", 3, attention},
    {"RotaryEmbedding", 3, rotary_embedding},
    {"com.microsoft.Attention", 2, ms_attention},
    {"com.microsoft.GroupQueryAttention", 1, group_query_attention},
    {"com.microsoft.MultiHeadAttention", 1, multi_head_attention},
    {"com.microsoft.RotaryEmbedding", 4, ms_rotary_embedding},
    {NULL, 0, NULL},
};
