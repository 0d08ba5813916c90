/* GroupQueryAttention of com.microsoft: attention with fewer heads of keys than of queries, a cache
 * of keys and values, and a rotary embedding on the way in. Semantics: docs/ContribOperators.md of
 * ONNX Runtime. */
#include "decompose/attention.h"
#include "decompose/composite.h"

#include <math.h>

enum {
    GQA_PAST_K = 3,
    GQA_PAST_V,
    GQA_LENGTHS, /* [B]: the last place of each sequence */
    GQA_TOTAL,   /* the length of the longest */
    GQA_COS,
    GQA_SIN,
    GQA_PLACES,
    GQA_BIAS,
    GQA_SINK /* [heads] */
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
    struct eml_ir_value *in[2] = {eml_make_transpose(m, all, EML_ATTENTION_SWAP, 4),
                                  eml_make_unsqueeze(m, from, 2)};
    struct eml_ir_node *g = eml_make_node(m, EML_OP_GATHER_ND, in, 2);
    eml_ir_set_int(m->ir, g, EML_ATTR_BATCH_DIMS, 1);
    return eml_make_transpose(m, g->out[0], EML_ATTENTION_SWAP, 4);
}

/* Queries, keys and values [B, S, N, D], packed side by side or not. */
static enum eml_err gqa_operands(const struct eml_maker *m, struct eml_attention *a,
                                 struct eml_ir_value *x[3])
{
    struct eml_ir_value *k = eml_make_operand(m, 1), *v = eml_make_operand(m, 2);
    const int64_t columns = eml_ir_dim(m->in[0], 2), n = a->q_heads, kv = a->heads;
    if (n < 1 || kv < 1 || n > INT32_MAX || kv > INT32_MAX || eml_ir_rank(m->in[0]) != 3 ||
        columns < 1)
        return eml_make_refuse(m, "decompose: GroupQueryAttention of an unknown form");
    a->d = a->e = k != NULL ? columns / n : columns / (n + 2 * kv);
    if (k != NULL && v != NULL) {
        x[0] = eml_attention_cut(m, m->in[0], n);
        x[1] = eml_attention_cut(m, k, kv);
        x[2] = eml_attention_cut(m, v, kv);
        return EML_OK;
    }
    struct eml_ir_value *all = eml_attention_cut(m, m->in[0], n + 2 * kv);
    x[0] = eml_make_slice(m, all, 2, 0, n);
    x[1] = eml_make_slice(m, all, 2, n, n + kv);
    x[2] = eml_make_slice(m, all, 2, n + kv, INT64_MAX);
    return EML_OK;
}

/* Key j counts for the query at place p if j <= p, and, with a window, j > p - window. */
static struct eml_ir_value *gqa_mask(const struct eml_maker *m, const struct eml_attention *a,
                                     const struct cache *c)
{
    const int64_t window = eml_make_int(m, "local_window_size", -1);
    struct eml_ir_value *j = eml_attention_places(m, a->k, 2);
    struct eml_ir_value *p = eml_make_unsqueeze(m, eml_make_unsqueeze(m, c->at, 1), 3);
    struct eml_ir_value *counts = eml_make_two(m, EML_OP_LESS_OR_EQUAL, j, p);
    if (window > 0) {
        p = eml_make_two(m, EML_OP_SUB, p, eml_make_index(m, window));
        counts = eml_make_two(m, EML_OP_AND, counts, eml_make_two(m, EML_OP_GREATER, j, p));
    }
    return eml_attention_penalty(m, counts, -INFINITY);
}

static enum eml_err gqa_rotate(const struct eml_maker *m, const struct eml_attention *a,
                               struct eml_ir_value *at, struct eml_ir_value *x[3])
{
    struct eml_ir_value *cos = eml_make_operand(m, GQA_COS), *sin = eml_make_operand(m, GQA_SIN);
    if (eml_make_int(m, "do_rotary", 0) == 0)
        return EML_OK;
    if (eml_make_operand(m, GQA_PLACES) != NULL)
        at = m->in[GQA_PLACES];
    const int64_t half = eml_ir_dim(cos, 1);
    if (sin == NULL || eml_ir_rank(cos) != 2 || half < 1 || 2 * half > a->d)
        return eml_make_refuse(m,
                               "decompose: GroupQueryAttention: the tables do not fit the columns");
    const struct eml_rotation how = {.cos = eml_make_two(m, EML_OP_GATHER, cos, at),
                                     .sin = eml_make_two(m, EML_OP_GATHER, sin, at),
                                     .d = a->d,
                                     .r = 2 * half,
                                     .interleaved = eml_make_int(m, "rotary_interleaved", 0) != 0,
                                     .heads_axis = 2};
    x[0] = eml_rotation_make(m, &how, x[0]);
    x[1] = eml_rotation_make(m, &how, x[1]);
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
    c.at = eml_make_two(m, EML_OP_ADD, eml_make_unsqueeze(m, c.before, 1),
                        eml_attention_places(m, m->in[0], 1));
    return c;
}

/* Softmax with one more term in its denominator, e^sink, or e^0 if there is no sink: one more key
 * of zeros, whose value is zeros. Its mask: the sink. */
static void gqa_smooth(const struct eml_maker *m, struct eml_attention *a,
                       struct eml_ir_value *sink)
{
    static const int64_t row[8] = {0, 0, 0, 0, 0, 0, 1, 0}, column[8] = {0, 0, 0, 0, 0, 0, 0, 1};
    static const int64_t per_head[4] = {1, -1, 1, 1};
    struct eml_ir_value *rows = eml_ir_const_ints(m->ir, row, 8);
    struct eml_ir_value *last = eml_make_dim(m, a->k, 2);
    a->k = eml_make_two(m, EML_OP_PAD, a->k, rows);
    a->v = eml_make_two(m, EML_OP_PAD, a->v, rows);
    a->mask = eml_make_two(m, EML_OP_PAD, a->mask, eml_ir_const_ints(m->ir, column, 8));
    if (sink == NULL)
        return;
    struct eml_ir_value *here =
        eml_make_two(m, EML_OP_EQUAL, eml_attention_places(m, a->k, 2), last);
    sink = eml_make_three(m, EML_OP_WHERE, here, eml_make_reshape(m, sink, per_head, 4),
                          eml_ir_const_f32(m->ir, 0));
    a->mask = eml_make_two(m, EML_OP_ADD, a->mask, sink);
}

static enum eml_err group_query_attention(const struct eml_maker *m)
{
    struct eml_attention a = {.q_heads = eml_make_int(m, "num_heads", 0),
                              .heads = eml_make_int(m, "kv_num_heads", 0),
                              .scale = eml_make_float(m, "scale", 0),
                              .cap = eml_make_float(m, "softcap", 0)};
    struct eml_ir_value *x[3] = {NULL}, *y, *bias = eml_make_operand(m, GQA_BIAS);
    struct eml_ir_value *sink = eml_make_operand(m, GQA_SINK);
    if (eml_make_int(m, "qk_output", 0) > 0)
        return eml_make_refuse(m, "decompose: scores of GroupQueryAttention are not supported");
    if (m->in[GQA_LENGTHS] == NULL || m->in[GQA_TOTAL] == NULL)
        return eml_fail(m->why, EML_E_INPUT, "required operand omitted", m->origin);
    EML_TRY(gqa_operands(m, &a, x));
    const struct cache c = gqa_cache(m);
    EML_TRY(gqa_rotate(m, &a, c.at, x));
    for (size_t i = 0; i < 3; i++)
        x[i] = eml_make_transpose(m, x[i], EML_ATTENTION_SWAP, 4);
    a.q = x[0];
    a.k = m->out[1] = append(m, &c, eml_make_operand(m, GQA_PAST_K), x[1]);
    a.v = m->out[2] = append(m, &c, eml_make_operand(m, GQA_PAST_V), x[2]);
    int64_t mask_heads = bias != NULL ? eml_ir_dim(bias, 1) : 1;
    a.mask = eml_attention_added(m, gqa_mask(m, &a, &c), bias);
    if (sink != NULL || eml_make_int(m, "smooth_softmax", 0) > 0)
        gqa_smooth(m, &a, sink);
    if (sink != NULL)
        mask_heads = a.q_heads;
    EML_TRY(eml_attention_make(m, &a, 4, mask_heads, &y));
    m->out[0] = eml_attention_join(m, y);
    return EML_OK;
}

const struct eml_composite eml_composites_gqa[] = {
    {"com.microsoft.GroupQueryAttention", 1, group_query_attention},
    {NULL, 0, NULL},
};
