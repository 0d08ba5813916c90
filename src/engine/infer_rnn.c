/* Rule of RNN, GRU and LSTM. */
#include "engine/infer.h"
#include "engine/rnn.h"

struct dims {
    int64_t seq, batch, in, dirs, hidden, gates;
    bool batch_first;
};

/* Operand i is f32 (or absent) of these dims. */
static enum eml_err shaped(const struct eml_rule_ctx *c, uint32_t i, uint32_t rank,
                           const int64_t *dim)
{
    const struct eml_known *k = eml_rule_in(c, i);
    if (k == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, k->dtype == EML_DT_F32, "operands differ in type"));
    bool fits = !k->has_rank || k->shape.rank == rank;
    for (uint32_t d = 0; fits && k->has_rank && d < rank; d++)
        fits = eml_dim_agrees(k->shape.dim[d], dim[d]);
    return eml_rule_demand(c, fits, "recurrent: operand of a wrong shape");
}

static enum eml_err sequence_lens(const struct eml_rule_ctx *c, const struct dims *d)
{
    const struct eml_known *k = eml_rule_in(c, EML_RNN_LENS);
    if (k == NULL)
        return EML_OK;
    return eml_rule_demand(
        c,
        k->dtype == EML_DT_I32 &&
            (!k->has_rank || (k->shape.rank == 1 && eml_dim_agrees(k->shape.dim[0], d->batch))),
        "recurrent: sequence_lens are not int32 [batch]");
}

static enum eml_err activations(const struct eml_rule_ctx *c, const struct dims *d)
{
    const struct eml_attr *a = eml_node_attr(c->node, EML_ATTR_ACTIVATIONS);
    const int64_t n = d->dirs * eml_rnn_acts(c->node->op);
    EML_TRY(eml_rule_demand(c, (a != NULL) == (eml_rule_in(c, EML_RNN_NUMBERS) != NULL),
                            "recurrent: activations without their numbers, or the reverse"));
    if (a == NULL)
        return EML_OK;
    EML_TRY(eml_rule_demand(c, a->n == n, "recurrent: number of activations"));
    for (uint32_t i = 0; i < a->n; i++)
        EML_TRY(eml_rule_demand(c, a->v[i] >= 0 && a->v[i] < EML_RNN_ACT_N,
                                "recurrent: unknown activation"));
    return shaped(c, EML_RNN_NUMBERS, 2, (const int64_t[]){n, 2});
}

static enum eml_err operands(const struct eml_rule_ctx *c, const struct dims *d)
{
    const int64_t state[2][3] = {{d->dirs, d->batch, d->hidden}, {d->batch, d->dirs, d->hidden}};
    const bool lstm = c->node->op == EML_OP_LSTM;
    EML_TRY(shaped(c, EML_RNN_W, 3, (const int64_t[]){d->dirs, d->gates * d->hidden, d->in}));
    EML_TRY(shaped(c, EML_RNN_R, 3, (const int64_t[]){d->dirs, d->gates * d->hidden, d->hidden}));
    EML_TRY(shaped(c, EML_RNN_B, 2, (const int64_t[]){d->dirs, 2 * d->gates * d->hidden}));
    EML_TRY(sequence_lens(c, d));
    EML_TRY(shaped(c, EML_RNN_H0, 3, state[d->batch_first]));
    EML_TRY(eml_rule_demand(
        c, lstm || (eml_rule_in(c, EML_RNN_C0) == NULL && eml_rule_in(c, EML_RNN_P) == NULL),
        "recurrent: a cell state that the operator does not have"));
    EML_TRY(shaped(c, EML_RNN_C0, 3, state[d->batch_first]));
    EML_TRY(shaped(c, EML_RNN_P, 2, (const int64_t[]){d->dirs, 3 * d->hidden}));
    return activations(c, d);
}

static enum eml_err read_dims(const struct eml_rule_ctx *c, struct dims *d)
{
    const struct eml_known *x = c->in[EML_RNN_X], *r = c->in[EML_RNN_R];
    const struct eml_attr *hidden = eml_node_attr(c->node, EML_ATTR_HIDDEN_SIZE);
    int64_t direction = eml_node_int(c->node, EML_ATTR_DIRECTION, EML_RNN_FORWARD);
    *d = (struct dims){EML_DIM_UNKNOWN, EML_DIM_UNKNOWN, EML_DIM_UNKNOWN, 1, EML_DIM_UNKNOWN, 0, 0};
    d->dirs = direction == EML_RNN_BIDIRECTIONAL ? 2 : 1;
    d->gates = eml_rnn_gates(c->node->op);
    d->batch_first = eml_node_int(c->node, EML_ATTR_LAYOUT, 0) != 0;
    if (x->has_rank) {
        EML_TRY(eml_rule_demand(c, x->shape.rank == 3, "recurrent: operand of a wrong shape"));
        d->seq = x->shape.dim[d->batch_first];
        d->batch = x->shape.dim[!d->batch_first];
        d->in = x->shape.dim[2];
    }
    EML_TRY(eml_rule_demand(c, r->has_rank && r->shape.rank == 3 && eml_dim_known(r->shape.dim[2]),
                            "recurrent: weights of unknown shape"));
    d->hidden = r->shape.dim[2];
    EML_TRY(eml_rule_demand(c, d->hidden >= 1 && d->hidden <= INT32_MAX,
                            "recurrent: hidden size out of range"));
    return eml_rule_demand(c, hidden == NULL || (hidden->n == 1 && hidden->v[0] == d->hidden),
                           "recurrent: hidden_size is not the weights'");
}

enum eml_err eml_rule_rnn(const struct eml_rule_ctx *c)
{
    struct dims d;
    EML_TRY(eml_rule_demand(c, c->in[0]->dtype == EML_DT_F32, "operands differ in type"));
    EML_TRY(read_dims(c, &d));
    EML_TRY(operands(c, &d));
    const struct eml_shape y[2] = {{4, {d.seq, d.dirs, d.batch, d.hidden}},
                                   {4, {d.batch, d.seq, d.dirs, d.hidden}}};
    const struct eml_shape state[2] = {{3, {d.dirs, d.batch, d.hidden}},
                                       {3, {d.batch, d.dirs, d.hidden}}};
    for (uint32_t i = 0; i < c->node->n_out; i++)
        eml_rule_out(c, i, EML_DT_F32, i == 0 ? &y[d.batch_first] : &state[d.batch_first]);
    return EML_OK;
}
