/* RNN, GRU and LSTM. The input's products of all steps and gates are made at once; each step adds
 * the state's. Gates lie as ONNX orders them: LSTM i o f c, GRU z r h. Formulas: ONNX Operators,
 * RNN-22, GRU-22, LSTM-22.
 */
#include "engine/exec.h"
#include "engine/fused.h"
#include "engine/gemm.h"
#include "engine/pack.h"
#include "engine/rnn.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* One direction of one node in work. Pointers are that direction's, or NULL where absent. */
struct rnn {
    const struct eml_op_ctx *c;
    const struct eml_kernels *kn;
    size_t seq, batch, in, dirs, hidden, gates, dir;
    bool batch_first, reverse, input_forget, linear_before_reset;
    float clip;
    const int32_t *lens;
    const float *w, *r; /* packed: gates matrices each */
    const float *b, *p;
    enum eml_rnn_act act[3];
    float alpha[3], beta[3];
    /* scratch */
    float *packed_w, *packed_r;
    float *bias;  /* [gates * hidden] */
    float *x;     /* [seq * batch, gates * hidden]: products of the input, in its order of rows */
    float *state; /* [batch, gates * hidden]: the gates of one step */
    float *h, *cell, *tmp; /* [batch, hidden] */
};

static const void *operand(const struct eml_op_ctx *c, uint32_t i)
{
    return i < c->n_in && c->in[i].dtype != EML_DT_NONE ? c->in[i].data : NULL;
}

static bool present(const struct eml_op_ctx *c, uint32_t i)
{
    return i < c->n_in && c->in[i].dtype != EML_DT_NONE;
}

static struct rnn dims_of(const struct eml_op_ctx *c)
{
    const struct eml_shape *x = &c->in[EML_RNN_X].shape, *r = &c->in[EML_RNN_R].shape;
    bool batch_first = eml_node_int(c->node, EML_ATTR_LAYOUT, 0) != 0;
    return (struct rnn){.c = c,
                        .kn = c->kernels,
                        .batch_first = batch_first,
                        .seq = (size_t)x->dim[batch_first],
                        .batch = (size_t)x->dim[!batch_first],
                        .in = (size_t)x->dim[2],
                        .dirs = (size_t)r->dim[0],
                        .hidden = (size_t)r->dim[2],
                        .gates = (size_t)eml_rnn_gates(c->node->op)};
}

static bool take(struct rnn *r, struct eml_scratch *s)
{
    const size_t all = r->gates * r->hidden, f = sizeof(float);
    const struct eml_op_ctx *c = r->c;
    if (c->in[EML_RNN_W].layout == EML_LAYOUT_PLAIN)
        r->packed_w = eml_scratch_take(s, r->gates * eml_pack_panel16_floats(r->in, r->hidden), f);
    if (c->in[EML_RNN_R].layout == EML_LAYOUT_PLAIN)
        r->packed_r =
            eml_scratch_take(s, r->gates * eml_pack_panel16_floats(r->hidden, r->hidden), f);
    r->bias = eml_scratch_take(s, all, f);
    size_t rows;
    if (__builtin_mul_overflow(r->seq, r->batch, &rows) || __builtin_mul_overflow(rows, all, &rows))
        return false;
    r->x = eml_scratch_take(s, rows, f);
    r->state = eml_scratch_take(s, r->batch * all, f);
    r->h = eml_scratch_take(s, r->batch * r->hidden, f);
    r->cell = eml_scratch_take(s, r->batch * r->hidden, f);
    r->tmp = eml_scratch_take(s, r->batch * r->hidden, f);
    return !s->failed;
}

bool eml_scratch_rnn(const struct eml_op_ctx *c, size_t *bytes)
{
    struct rnn r = dims_of(c);
    struct eml_scratch s = {0};
    if (!take(&r, &s))
        return false;
    *bytes = s.used;
    return true;
}

/* ---- one direction's operands ---- */

/* This direction's weight [gates * hidden, k] as `gates` packed matrices [k, hidden]. */
static const float *weight(const struct rnn *r, uint32_t i, size_t k, float *packed)
{
    const struct eml_view *v = &r->c->in[i];
    const size_t matrix = eml_pack_panel16_floats(k, r->hidden);
    if (v->layout != EML_LAYOUT_PLAIN)
        return (const float *)v->data + r->dir * r->gates * matrix;
    const float *from = (const float *)v->data + r->dir * r->gates * r->hidden * k;
    eml_pack_panel16(packed, from, r->gates, k, r->hidden, r->hidden * k, 1, k);
    return packed;
}

static void set_activations(struct rnn *r)
{
    static const enum eml_rnn_act defaults[][3] = {{EML_RNN_TANH},
                                                   {EML_RNN_SIGMOID, EML_RNN_TANH},
                                                   {EML_RNN_SIGMOID, EML_RNN_TANH, EML_RNN_TANH}};
    const struct eml_attr *a = eml_node_attr(r->c->node, EML_ATTR_ACTIVATIONS);
    const uint32_t n = eml_rnn_acts(r->c->node->op);
    const float *numbers = operand(r->c, EML_RNN_NUMBERS);
    for (uint32_t i = 0; i < n; i++) {
        size_t at = r->dir * n + i;
        r->act[i] = a != NULL ? (enum eml_rnn_act)a->v[at] : defaults[n - 1][i];
        r->alpha[i] = numbers != NULL ? numbers[2 * at] : 0;
        r->beta[i] = numbers != NULL ? numbers[2 * at + 1] : 0;
    }
}

/* Both biases, but the state's of GRU's last gate if that is added before the reset gate. */
static void set_bias(const struct rnn *r)
{
    const size_t all = r->gates * r->hidden;
    size_t both = r->linear_before_reset ? 2 * r->hidden : all;
    for (size_t i = 0; i < all; i++)
        r->bias[i] = r->b == NULL ? 0 : r->b[i] + (i < both ? r->b[all + i] : 0);
}

static size_t state_offset(const struct rnn *r, size_t row)
{
    return (r->batch_first ? row * r->dirs + r->dir : r->dir * r->batch + row) * r->hidden;
}

static void load_state(const struct rnn *r, uint32_t i, float *to)
{
    const float *from = operand(r->c, i);
    for (size_t row = 0; row < r->batch; row++) {
        if (from == NULL)
            memset(to + row * r->hidden, 0, r->hidden * sizeof(float));
        else
            memcpy(to + row * r->hidden, from + state_offset(r, row), r->hidden * sizeof(float));
    }
}

static void store_state(const struct rnn *r, uint32_t i, const float *from)
{
    if (i >= r->c->n_out || r->c->out[i].dtype == EML_DT_NONE)
        return;
    for (size_t row = 0; row < r->batch; row++)
        memcpy((float *)r->c->out[i].data + state_offset(r, row), from + row * r->hidden,
               r->hidden * sizeof(float));
}

/* ---- arithmetic on rows ---- */

static void clip(const struct rnn *r, float *x, size_t n)
{
    for (size_t i = 0; r->clip < FLT_MAX && i < n; i++)
        x[i] = x[i] > r->clip ? r->clip : x[i] < -r->clip ? -r->clip : x[i];
}

static float act_one(enum eml_rnn_act act, float a, float b, float x)
{
    switch (act) {
    case EML_RNN_AFFINE:
        return a * x + b;
    case EML_RNN_ELU:
        return x >= 0 ? x : a * (expf(x) - 1);
    case EML_RNN_HARD_SIGMOID:
        return fminf(1, fmaxf(0, a * x + b));
    case EML_RNN_LEAKY_RELU:
        return x >= 0 ? x : a * x;
    case EML_RNN_RELU:
        return x > 0 ? x : 0;
    case EML_RNN_SCALED_TANH:
        return a * tanhf(b * x);
    case EML_RNN_SOFTPLUS:
        return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x));
    case EML_RNN_SOFTSIGN:
        return x / (1 + fabsf(x));
    case EML_RNN_THRESHOLDED_RELU:
        return x >= a ? x : 0;
    default:
        EML_BUG();
    }
}

/* y = activation number `which` of x. */
static void activate(const struct rnn *r, uint32_t which, float *y, const float *x, size_t n)
{
    enum eml_rnn_act act = r->act[which];
    if (act == EML_RNN_SIGMOID || act == EML_RNN_TANH) {
        r->kn->unary[act == EML_RNN_TANH ? EML_UNARY_TANH : EML_UNARY_SIGMOID](y, x, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        y[i] = act_one(act, r->alpha[which], r->beta[which], x[i]);
}

static void clip_activate(const struct rnn *r, uint32_t which, float *x, size_t n)
{
    clip(r, x, n);
    activate(r, which, x, x, n);
}

static void add(const struct rnn *r, float *y, const float *x, size_t n)
{
    r->kn->binary[EML_BINARY_ADD](y, y, x, n);
}

/* y += a * b */
static void add_product(float *restrict y, const float *restrict a, const float *restrict b,
                        size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a[i] * b[i];
}

/* out[m, gates [from, to) of a row] = a[m, k] * those gates' matrices + bias. */
static void product(const struct rnn *r, size_t from, size_t to, size_t m, size_t k, const float *a,
                    const float *w, const float *bias, float *out)
{
    const size_t n = r->hidden, matrix = eml_pack_panel16_floats(k, n);
    const bool seamless = n % EML_PANEL == 0; /* the panels of all gates are one matrix */
    for (size_t g = from; g < to; g = seamless ? to : g + 1) {
        struct eml_gemm gemm = {.m = m,
                                .n = seamless ? (to - from) * n : n,
                                .k = k,
                                .batch = 1,
                                .c = out + g * n,
                                .ldc = r->gates * n,
                                .a = a,
                                .lda = k,
                                .b = w + g * matrix,
                                .b_row = EML_PANEL,
                                .b_panel = EML_PANEL * k};
        gemm.epilogue.bias = bias != NULL ? bias + g * n : NULL;
        eml_gemm_run(r->kn, r->c->pool, &gemm);
    }
}

/* ---- steps: row `row` of the batch, g its gates with all products summed ---- */

static void rnn_row(const struct rnn *r, size_t row, float *g)
{
    clip_activate(r, 0, g, r->hidden);
    memcpy(r->h + row * r->hidden, g, r->hidden * sizeof(float));
}

static void lstm_row(const struct rnn *r, size_t row, float *g)
{
    const size_t n = r->hidden;
    float *i = g, *o = g + n, *f = g + 2 * n, *z = g + 3 * n;
    float *h = r->h + row * n, *cell = r->cell + row * n;
    if (r->p != NULL)
        add_product(i, r->p, cell, n);
    clip_activate(r, 0, i, n);
    if (r->input_forget) {
        for (size_t k = 0; k < n; k++)
            f[k] = 1 - i[k];
    } else {
        if (r->p != NULL)
            add_product(f, r->p + 2 * n, cell, n);
        clip_activate(r, 0, f, n);
    }
    clip_activate(r, 1, z, n);
    for (size_t k = 0; k < n; k++)
        cell[k] = f[k] * cell[k] + i[k] * z[k];
    if (r->p != NULL)
        add_product(o, r->p + n, cell, n);
    clip_activate(r, 0, o, n);
    activate(r, 2, h, cell, n);
    r->kn->binary[EML_BINARY_MUL](h, h, o, n);
}

/* h = (1 - z) h~ + z h */
static void gru_mix(const struct rnn *r, size_t row, const float *g)
{
    const size_t n = r->hidden;
    float *h = r->h + row * n;
    for (size_t k = 0; k < n; k++)
        h[k] = (1 - g[k]) * g[2 * n + k] + g[k] * h[k];
}

/* Index along the sequence of step s for this row, or false if the row has ended. */
static bool step_at(const struct rnn *r, size_t s, size_t row, size_t *t)
{
    size_t len = r->lens != NULL ? (size_t)r->lens[row] : r->seq;
    *t = r->reverse ? len - 1 - s : s;
    return s < len;
}

static float *x_row(const struct rnn *r, size_t t, size_t row)
{
    return r->x + (r->batch_first ? row * r->seq + t : t * r->batch + row) * r->gates * r->hidden;
}

static float *y_row(const struct rnn *r, size_t t, size_t row)
{
    size_t at = r->batch_first ? (row * r->seq + t) * r->dirs + r->dir
                               : (t * r->dirs + r->dir) * r->batch + row;
    return (float *)r->c->out[0].data + at * r->hidden;
}

static void step_simple(const struct rnn *r, size_t s)
{
    const size_t all = r->gates * r->hidden;
    size_t t;
    product(r, 0, r->gates, r->batch, r->hidden, r->h, r->r, NULL, r->state);
    for (size_t row = 0; row < r->batch; row++) {
        float *g = r->state + row * all;
        if (!step_at(r, s, row, &t))
            continue;
        add(r, g, x_row(r, t, row), all);
        if (r->c->node->op == EML_OP_LSTM)
            lstm_row(r, row, g);
        else
            rnn_row(r, row, g);
    }
}

/* The new state's gate reads the reset gate: before its product, or after. */
static void step_gru(const struct rnn *r, size_t s)
{
    const size_t n = r->hidden, all = 3 * n;
    size_t t;
    product(r, 0, r->linear_before_reset ? 3 : 2, r->batch, n, r->h, r->r, NULL, r->state);
    for (size_t row = 0; row < r->batch; row++) {
        float *g = r->state + row * all, *reset = g + n;
        memcpy(r->tmp + row * n, r->h + row * n, n * sizeof(float));
        if (!step_at(r, s, row, &t))
            continue;
        const float *x = x_row(r, t, row);
        add(r, g, x, 2 * n);
        clip_activate(r, 0, g, 2 * n);
        r->kn->binary[EML_BINARY_MUL](r->tmp + row * n, r->h + row * n, reset, n);
    }
    if (!r->linear_before_reset)
        product(r, 2, 3, r->batch, n, r->tmp, r->r, NULL, r->state);
    for (size_t row = 0; row < r->batch; row++) {
        float *g = r->state + row * all, *z = g + 2 * n;
        if (!step_at(r, s, row, &t))
            continue;
        if (r->linear_before_reset) {
            if (r->b != NULL)
                add(r, z, r->b + all + 2 * n, n);
            r->kn->binary[EML_BINARY_MUL](z, z, g + n, n);
        }
        add(r, z, x_row(r, t, row) + 2 * n, n);
        clip_activate(r, 1, z, n);
        gru_mix(r, row, g);
    }
}

static void write_y(const struct rnn *r, size_t s)
{
    size_t t;
    if (r->c->n_out == 0 || r->c->out[0].dtype == EML_DT_NONE)
        return;
    for (size_t row = 0; row < r->batch; row++) {
        if (step_at(r, s, row, &t))
            memcpy(y_row(r, t, row), r->h + row * r->hidden, r->hidden * sizeof(float));
        else /* behind the end of the row's sequence, in either direction */
            memset(y_row(r, s, row), 0, r->hidden * sizeof(float));
    }
}

static void run_direction(struct rnn *r)
{
    const struct eml_op_ctx *c = r->c;
    const size_t all = r->gates * r->hidden;
    const float *b = operand(c, EML_RNN_B), *p = operand(c, EML_RNN_P);
    r->b = b != NULL ? b + r->dir * 2 * all : NULL;
    r->p = p != NULL ? p + r->dir * 3 * r->hidden : NULL;
    r->reverse = r->dir == 1 || eml_node_int(c->node, EML_ATTR_DIRECTION, 0) == EML_RNN_REVERSE;
    r->w = weight(r, EML_RNN_W, r->in, r->packed_w);
    r->r = weight(r, EML_RNN_R, r->hidden, r->packed_r);
    set_activations(r);
    set_bias(r);
    load_state(r, EML_RNN_H0, r->h);
    load_state(r, EML_RNN_C0, r->cell);
    product(r, 0, r->gates, r->seq * r->batch, r->in, c->in[EML_RNN_X].data, r->w, r->bias, r->x);
    for (size_t s = 0; s < r->seq; s++) {
        if (c->node->op == EML_OP_GRU)
            step_gru(r, s);
        else
            step_simple(r, s);
        write_y(r, s);
    }
    store_state(r, 1, r->h);
    store_state(r, 2, r->cell);
}

enum eml_err eml_op_rnn(const struct eml_op_ctx *c)
{
    struct rnn r = dims_of(c);
    struct eml_scratch s = eml_scratch_of(c);
    if (!take(&r, &s))
        EML_BUG();
    r.clip = c->params[0];
    r.input_forget = eml_node_int(c->node, EML_ATTR_INPUT_FORGET, 0) != 0;
    r.linear_before_reset = eml_node_int(c->node, EML_ATTR_LINEAR_BEFORE_RESET, 0) != 0;
    r.lens = present(c, EML_RNN_LENS) ? c->in[EML_RNN_LENS].data : NULL;
    for (size_t i = 0; r.lens != NULL && i < r.batch; i++)
        if (r.lens[i] < 0 || (size_t)r.lens[i] > r.seq)
            return eml_fail(c->why, EML_E_INPUT, "recurrent: sequence length out of range", -1);
    for (r.dir = 0; r.dir < r.dirs; r.dir++)
        run_direction(&r);
    return EML_OK;
}
