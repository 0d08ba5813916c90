/* Attention of ONNX (opset 23) and of com.microsoft, and MultiHeadAttention. All become products, a
 * softmax and masks that are added. Semantics: docs/Operators.md of ONNX, docs/ContribOperators.md
 * of ONNX Runtime. */
#include "decompose/attention.h"
#include "decompose/composite.h"

#include <math.h>

enum { HEADS_AXIS = 1 }; /* of [B, N, S, D] */

struct eml_ir_value *eml_attention_cut(const struct eml_maker *m, struct eml_ir_value *x,
                                       int64_t heads)
{
    const int64_t dims[4] = {0, 0, heads, -1};
    return eml_make_reshape(m, x, dims, 4);
}

static struct eml_ir_value *heads_first(const struct eml_maker *m, struct eml_ir_value *x,
                                        int64_t heads)
{
    return eml_make_transpose(m, eml_attention_cut(m, x, heads), EML_ATTENTION_SWAP, 4);
}

struct eml_ir_value *eml_attention_join(const struct eml_maker *m, struct eml_ir_value *y)
{
    static const int64_t dims[3] = {0, 0, -1};
    return eml_make_reshape(m, eml_make_transpose(m, y, EML_ATTENTION_SWAP, 4), dims, 3);
}

static struct eml_ir_value *join(const struct eml_maker *m, int64_t axis, struct eml_ir_value *a,
                                 struct eml_ir_value *b)
{
    struct eml_ir_value *in[2] = {a, b};
    return a == NULL ? b : eml_make_concat(m, axis, in, 2);
}

struct eml_ir_value *eml_attention_added(const struct eml_maker *m, struct eml_ir_value *a,
                                         struct eml_ir_value *b)
{
    return a == NULL ? b : b == NULL ? a : eml_make_two(m, EML_OP_ADD, a, b);
}

struct eml_ir_value *eml_attention_penalty(const struct eml_maker *m, struct eml_ir_value *holds,
                                           float otherwise)
{
    return eml_make_three(m, EML_OP_WHERE, holds, eml_ir_const_f32(m->ir, 0),
                          eml_ir_const_f32(m->ir, otherwise));
}

struct eml_ir_value *eml_attention_places(const struct eml_maker *m, struct eml_ir_value *x,
                                          int64_t axis)
{
    struct eml_ir_value *n = eml_make_two(m, EML_OP_SQUEEZE, eml_make_dim(m, x, axis), NULL);
    return eml_make_three(m, EML_OP_RANGE, eml_make_index(m, 0), n, eml_make_index(m, 1));
}

/* [S, T]: -inf where key j comes after query i; there are as many keys before the queries as `past`
 * has (its dim 2). */
static struct eml_ir_value *causal(const struct eml_maker *m, const struct eml_attention *a,
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
static enum eml_err group_mask(const struct eml_maker *m, const struct eml_attention *a,
                               uint32_t rank, int64_t mask_heads, struct eml_ir_value **mask)
{
    if (rank < 3 || rank == UINT32_MAX)
        return rank < 3 ? EML_OK : eml_make_refuse(m, "decompose: mask of unknown rank");
    if (rank == 3)
        *mask = eml_make_unsqueeze(m, *mask, 0);
    if (mask_heads == 1) {
        *mask = eml_make_unsqueeze(m, *mask, 2);
        return EML_OK;
    }
    if (mask_heads != a->q_heads)
        return eml_make_refuse(m, "decompose: mask of an unknown number of heads");
    const int64_t groups[2] = {a->heads, a->q_heads / a->heads};
    struct eml_ir_value *dims[3] = {eml_make_dim(m, *mask, 0), eml_ir_const_ints(m->ir, groups, 2),
                                    eml_make_dim(m, *mask, 2)};
    struct eml_ir_value *last[2] = {eml_make_concat(m, 0, dims, 3), eml_make_dim(m, *mask, 3)};
    *mask = eml_make_two(m, EML_OP_RESHAPE, *mask, eml_make_concat(m, 0, last, 2));
    return EML_OK;
}

static struct eml_ir_value *capped(const struct eml_maker *m, const struct eml_attention *a,
                                   struct eml_ir_value *x)
{
    struct eml_ir_value *cap = eml_ir_const_f32(m->ir, a->cap);
    if (a->cap == 0)
        return x;
    x = eml_make_one(m, EML_OP_TANH, eml_make_two(m, EML_OP_DIV, x, cap));
    return eml_make_two(m, EML_OP_MUL, x, cap);
}

/* softmax(q k^T * scale + mask) v, heads first. mask_rank, mask_heads: of a->mask. */
enum eml_err eml_attention_make(const struct eml_maker *m, struct eml_attention *a,
                                uint32_t mask_rank, int64_t mask_heads, struct eml_ir_value **y)
{
    static const int64_t turn[5] = {0, 1, 2, 4, 3}, turn4[4] = {0, 1, 3, 2};
    const bool grouped = a->q_heads != a->heads;
    struct eml_ir_value *q = a->q, *k = a->k, *v = a->v;
    if (a->heads < 1 || a->q_heads < 1 || a->q_heads % a->heads != 0)
        return eml_make_refuse(m, "decompose: heads of queries are no multiple of those of keys");
    if (a->d < 1 || (grouped && a->e < 1))
        return eml_make_refuse(m, "decompose: the columns of a head are not known");
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
    s = a->at[2] = eml_attention_added(m, s, a->mask);
    struct eml_ir_node *softmax = eml_make_node(m, EML_OP_SOFTMAX, &s, 1);
    eml_ir_set_int(m->ir, softmax, EML_ATTR_AXIS, -1);
    s = a->at[3] = softmax->out[0];
    *y = eml_make_two(m, EML_OP_MATMUL, s, v);
    const int64_t dims[4] = {0, a->q_heads, -1, a->e};
    if (grouped)
        *y = eml_make_reshape(m, *y, dims, 4);
    return EML_OK;
}

/* ---- Attention of ONNX ---- */

/* Operand i heads first, and the columns of a head. */
static enum eml_err operand_heads(const struct eml_maker *m, uint32_t i, int64_t *heads, int64_t *d,
                                  struct eml_ir_value **x)
{
    *x = m->in[i];
    const uint32_t rank = eml_ir_rank(*x);
    if (rank == 4) {
        *heads = eml_ir_dim(*x, HEADS_AXIS);
        *d = eml_ir_dim(*x, 3);
        return EML_OK;
    }
    if (rank != 3 || *heads < 1)
        return eml_make_refuse(m, "decompose: Attention of an unknown number of heads");
    *d = eml_ir_dim(*x, 2) > 0 && eml_ir_dim(*x, 2) % *heads == 0 ? eml_ir_dim(*x, 2) / *heads : -1;
    *x = heads_first(m, *x, *heads);
    return EML_OK;
}

static enum eml_err attention(const struct eml_maker *m)
{
    enum { Q, K, V, MASK, PAST_K, PAST_V };
    struct eml_attention a = {.q_heads = eml_make_int(m, "q_num_heads", 0),
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
    uint32_t rank = a.mask != NULL ? eml_ir_rank(a.mask) : 2;
    int64_t mask_heads = rank == 3 || rank == 4 ? eml_ir_dim(a.mask, rank - 3) : 1;
    if (a.mask != NULL && a.mask->dtype == EML_DT_BOOL)
        a.mask = eml_attention_penalty(m, a.mask, -INFINITY);
    if (eml_make_int(m, "is_causal", 0) != 0)
        a.mask = eml_attention_added(m, a.mask, causal(m, &a, past));
    EML_TRY(eml_attention_make(m, &a, rank, mask_heads, &y));
    if (mode < 0 || mode > 3 || (eml_make_wanted(m, 3) && a.q_heads != a.heads))
        return eml_make_refuse(m, "decompose: Attention: the scores are not given in this form");
    m->out[3] = a.at[mode];
    m->out[0] = eml_ir_rank(m->in[Q]) == 4 ? y : eml_attention_join(m, y);
    return EML_OK;
}

/* ---- MultiHeadAttention and Attention of com.microsoft ---- */

/* Which keys count, as what is added to the scores: 0/1 for [B, T] or [B, S, T], or [B] how many.
 */
static enum eml_err key_mask(const struct eml_maker *m, struct eml_ir_value *mask,
                             struct eml_ir_value *k, float filter, struct eml_ir_value **out)
{
    static const int64_t wide[4] = {0, 1, 1, -1}, each[4] = {-1, 1, 1, 1};
    const uint32_t rank = eml_ir_rank(mask);
    *out = NULL;
    if (mask == NULL)
        return EML_OK;
    if (rank == 1) {
        if (eml_ir_dim(mask, 0) != eml_ir_dim(m->in[0], 0) ||
            eml_ir_dim(mask, 0) == EML_DIM_UNKNOWN)
            return eml_make_refuse(m, "decompose: mask of one dim that is not the batch");
        struct eml_ir_value *n = eml_make_reshape(m, eml_make_cast(m, mask, EML_DT_I64), each, 4);
        *out = eml_attention_penalty(
            m, eml_make_two(m, EML_OP_LESS, eml_attention_places(m, k, 2), n), filter);
        return EML_OK;
    }
    if (rank != 2 && rank != 3)
        return eml_make_refuse(m, "decompose: mask of this rank is not supported");
    mask = rank == 2 ? eml_make_reshape(m, mask, wide, 4) : eml_make_unsqueeze(m, mask, 1);
    *out = eml_attention_penalty(m, eml_make_cast(m, mask, EML_DT_BOOL), filter);
    return EML_OK;
}

/* All that com.microsoft's two have in common once q, k and v are cut into heads: mask, bias of the
 * scores [.., S, T], causality, and the product. */
static enum eml_err ms_attend(const struct eml_maker *m, struct eml_attention *a, uint32_t mask,
                              uint32_t bias, struct eml_ir_value *past)
{
    struct eml_ir_value *y;
    EML_TRY(key_mask(m, eml_make_operand(m, mask), a->k,
                     eml_make_float(m, "mask_filter_value", -10000.0F), &a->mask));
    a->mask = eml_attention_added(m, a->mask, eml_make_operand(m, bias));
    if (eml_make_int(m, "unidirectional", 0) != 0)
        a->mask = eml_attention_added(m, a->mask, causal(m, a, past));
    a->scale = eml_make_float(m, "scale", 0);
    EML_TRY(eml_attention_make(m, a, 4, 1, &y));
    m->out[0] = eml_attention_join(m, y);
    return EML_OK;
}

/* One of those that stand side by side in axis 3: [B, S, N, 3, D]. */
static struct eml_ir_value *unpacked(const struct eml_maker *m, struct eml_ir_value *x, int64_t i)
{
    struct eml_ir_value *in[2] = {x, eml_make_index(m, i)};
    struct eml_ir_node *g = eml_make_node(m, EML_OP_GATHER, in, 2);
    eml_ir_set_int(m->ir, g, EML_ATTR_AXIS, 3);
    return eml_make_transpose(m, g->out[0], EML_ATTENTION_SWAP, 4);
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
    struct eml_attention a = {.q_heads = n, .heads = n};
    const int64_t h = eml_ir_dim(q, 2), hv = eml_ir_dim(v, 2);
    if (bias != NULL && (k == NULL || eml_ir_rank(k) != 3 || h < 1))
        return eml_make_refuse(m,
                               "decompose: MultiHeadAttention: a bias needs q, k, v of three dims");
    if (n < 1 || (k == NULL && eml_ir_rank(q) != 5) || (k != NULL && eml_ir_rank(q) != 3))
        return eml_make_refuse(m, "decompose: MultiHeadAttention of an unknown form");
    if (k == NULL) { /* packed */
        a.q = unpacked(m, q, 0);
        a.k = unpacked(m, q, 1);
        a.v = unpacked(m, q, 2);
        a.d = a.e = eml_ir_dim(q, 4);
    } else {
        a.d = h > 0 ? h / n : -1;
        a.q = biased(m, q, bias, 0, h, n);
        if (eml_ir_rank(k) == 5) {
            a.k = unpacked(m, k, 0);
            a.v = unpacked(m, k, 1);
        } else if (eml_ir_rank(k) == 4 && v != NULL) { /* heads first already */
            a.k = k;
            a.v = v;
        } else if (eml_ir_rank(k) == 3 && v != NULL) {
            a.k = biased(m, k, bias, h, h, n);
            a.v = biased(m, v, bias, 2 * h, hv, n);
        } else {
            return eml_make_refuse(m, "decompose: MultiHeadAttention of an unknown form");
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
    const int64_t n = eml_make_int(m, "num_heads", 0), columns = eml_ir_dim(m->in[W], 1);
    struct eml_attention a = {.q_heads = n, .heads = n};
    struct eml_ir_value *past[2] = {NULL, NULL}, *both = eml_make_operand(m, PAST), *present[2];
    int64_t h = columns / 3, hv = h;
    if (sizes != NULL && sizes->n == 3) {
        h = sizes->ints[0];
        hv = sizes->ints[2];
    }
    if (n < 1 || eml_ir_rank(m->in[X]) != 3 || h < 1 || hv < 1 || h % n != 0 || hv % n != 0 ||
        h > INT32_MAX || hv > INT32_MAX || 2 * h + hv != columns)
        return eml_make_refuse(m, "decompose: Attention: the weights do not fit the heads");
    if (eml_make_int(m, "do_rotary", 0) != 0 ||
        eml_make_int(m, "past_present_share_buffer", 0) != 0)
        return eml_make_refuse(m,
                               "decompose: Attention: rotary or shared buffers are not supported");
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

const struct eml_composite eml_composites_attention[] = {
    {"Attention", 3, attention},
    {"com.microsoft.Attention", 2, ms_attention},
    {"com.microsoft.MultiHeadAttention", 1, multi_head_attention},
    {NULL, 0, NULL},
};
