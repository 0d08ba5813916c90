/* Chains of elementary operators that spell one: hard-swish and HardSigmoid as Add/Clip/Mul/Div
 * (PaddlePaddle's exporter), SiLU, GELU by Erf (PyTorch) and by Tanh (GPT-2), LayerNormalization as
 * ReduceMean/Sub/Pow/ReduceMean/Add/Sqrt/Div/Mul/Add. The last node of a chain is replaced; the
 * rest is swept away if nobody else reads it. Constants are compared within float rounding of what
 * the exporters write.
 */
#include "decompose/passes.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { FACTORS_MAX = 6 };

static const struct eml_ir_node *made_by(const struct eml_ir_value *v, enum eml_op op)
{
    return v != NULL && v->maker != NULL && v->maker->op == op ? v->maker : NULL;
}

static bool near(float a, float b)
{
    return fabsf(a - b) <= 1e-6f * fabsf(b);
}

/* n = op(x, c) or, if op commutes, op(c, x), with a scalar constant c. */
static bool with_scalar(const struct eml_ir_node *n, enum eml_op op, struct eml_ir_value **x,
                        float *c)
{
    if (n == NULL || n->op != op || n->n_in != 2)
        return false;
    bool commutes = op == EML_OP_ADD || op == EML_OP_MUL;
    if (eml_ir_scalar(n->in[1], c)) {
        *x = n->in[0];
        return true;
    }
    *x = n->in[1];
    return commutes && eml_ir_scalar(n->in[0], c);
}

/* v = x / c or x * (1 / c). */
static bool divided(const struct eml_ir_value *v, struct eml_ir_value **x, float *c)
{
    if (with_scalar(v->maker, EML_OP_DIV, x, c))
        return *c != 0;
    if (!with_scalar(v->maker, EML_OP_MUL, x, c) || *c == 0)
        return false;
    *c = 1 / *c;
    return true;
}

static bool clip_bounds(const struct eml_ir_node *n, float *lo, float *hi)
{
    *lo = -FLT_MAX;
    *hi = FLT_MAX;
    return (eml_ir_in(n, 1) == NULL || eml_ir_scalar(n->in[1], lo)) &&
           (eml_ir_in(n, 2) == NULL || eml_ir_scalar(n->in[2], hi));
}

/* v = clip(x + b, 0, hi) */
static bool clipped(const struct eml_ir_value *v, struct eml_ir_value **x, float *b, float *hi)
{
    float lo;
    const struct eml_ir_node *clip = made_by(v, EML_OP_CLIP);
    return clip != NULL && clip_bounds(clip, &lo, hi) && lo == 0 && *hi > 0 && *hi < FLT_MAX &&
           with_scalar(clip->in[0]->maker, EML_OP_ADD, x, b);
}

static void become(struct eml_ir *ir, struct eml_ir_node *n, enum eml_op op, enum eml_act act,
                   struct eml_ir_value *x)
{
    n->op = op;
    n->n_attr = 0;
    n->n_params = 0;
    eml_ir_set_in(ir, n, 0, x);
    for (uint32_t i = 1; i < n->n_in; i++)
        eml_ir_set_in(ir, n, i, NULL);
    eml_ir_trim(n);
    if (act != EML_ACT_NONE)
        eml_ir_set_int(ir, n, EML_ATTR_ACT, act);
}

static void params2(struct eml_ir_node *n, float a, float b)
{
    n->params[0] = a;
    n->params[1] = b;
    n->n_params = 2;
}

/* The other operand of a product one of whose operands is v; NULL if v is not one. */
static struct eml_ir_value *partner(const struct eml_ir_node *n, const struct eml_ir_value *v)
{
    if (n == NULL || n->op != EML_OP_MUL || n->n_in != 2)
        return NULL;
    return n->in[0] == v ? n->in[1] : n->in[1] == v ? n->in[0] : NULL;
}

static bool hard_sigmoid(struct eml_ir *ir, struct eml_ir_node *n)
{
    struct eml_ir_value *gate, *x;
    float d, b, hi;
    if (!divided(n->out[0], &gate, &d) || !clipped(gate, &x, &b, &hi) || !near(d, hi))
        return false;
    become(ir, n, EML_OP_HARD_SIGMOID, EML_ACT_NONE, x);
    params2(n, 1 / hi, b / hi);
    return true;
}

/* x * clip(x + b, 0, hi) / hi, or x * HardSigmoid(x) */
static bool hard_swish(struct eml_ir *ir, struct eml_ir_node *n)
{
    struct eml_ir_value *product, *x;
    float d, b, hi;
    for (uint32_t i = 0; i < 2 && n->op == EML_OP_MUL; i++) {
        const struct eml_ir_node *gate = made_by(n->in[i], EML_OP_HARD_SIGMOID);
        if (gate != NULL && gate->in[0] == n->in[1 - i]) {
            float alpha = gate->params[0], beta = gate->params[1];
            become(ir, n, EML_OP_ACTIVATE, EML_ACT_HARD_SWISH, gate->in[0]);
            params2(n, alpha, beta);
            return true;
        }
    }
    if (!divided(n->out[0], &product, &d) || made_by(product, EML_OP_MUL) == NULL)
        return false;
    for (uint32_t i = 0; i < 2; i++)
        if (clipped(product->maker->in[i], &x, &b, &hi) && near(d, hi) &&
            partner(product->maker, product->maker->in[i]) == x) {
            become(ir, n, EML_OP_ACTIVATE, EML_ACT_HARD_SWISH, x);
            params2(n, 1 / hi, b / hi);
            return true;
        }
    return false;
}

static bool silu(struct eml_ir *ir, struct eml_ir_node *n)
{
    for (uint32_t i = 0; i < 2 && n->op == EML_OP_MUL; i++) {
        const struct eml_ir_node *gate = made_by(n->in[i], EML_OP_SIGMOID);
        if (gate != NULL && gate->in[0] == n->in[1 - i]) {
            become(ir, n, EML_OP_ACTIVATE, EML_ACT_SILU, gate->in[0]);
            return true;
        }
    }
    return false;
}

/* The factors of a product of products and integer powers; the constant ones are multiplied into
 * *scale. */
static uint32_t factors_of(struct eml_ir_value *v, struct eml_ir_value **factors, float *scale)
{
    struct eml_ir_value *todo[2 * FACTORS_MAX] = {v};
    uint32_t n_todo = 1, n = 0;
    *scale = 1;
    while (n_todo > 0) {
        struct eml_ir_value *f = todo[--n_todo], *x;
        float c;
        if (eml_ir_scalar(f, &c)) {
            *scale *= c;
        } else if (made_by(f, EML_OP_MUL) != NULL && n_todo + 2 <= FACTORS_MAX) {
            todo[n_todo++] = f->maker->in[0];
            todo[n_todo++] = f->maker->in[1];
        } else if (with_scalar(f->maker, EML_OP_DIV, &x, &c) && c != 0) {
            *scale /= c;
            todo[n_todo++] = x;
        } else if (with_scalar(f->maker, EML_OP_POW, &x, &c) && (c == 2 || c == 3) &&
                   n_todo + 3 <= FACTORS_MAX) {
            for (int i = 0; i < (int)c; i++)
                todo[n_todo++] = x;
        } else if (n < FACTORS_MAX) {
            factors[n++] = f;
        } else {
            return 0;
        }
    }
    return n;
}

/* t = sqrt(2/pi) (x + 0.044715 x^3) */
static bool gelu_tanh_argument(struct eml_ir_value *t, const struct eml_ir_value *x)
{
    struct eml_ir_value *f[FACTORS_MAX];
    float scale;
    if (factors_of(t, f, &scale) != 1 || !near(scale, 0.7978845608f) ||
        made_by(f[0], EML_OP_ADD) == NULL)
        return false;
    const struct eml_ir_node *sum = f[0]->maker;
    for (uint32_t i = 0; i < 2; i++)
        if (sum->in[i] == x)
            return factors_of(sum->in[1 - i], f, &scale) == 3 && f[0] == x && f[1] == x &&
                   f[2] == x && near(scale, 0.044715f);
    return false;
}

/* x/2 (1 + erf(x / sqrt 2)) or x/2 (1 + tanh(t)), factors in any order */
static bool gelu(struct eml_ir *ir, struct eml_ir_node *n)
{
    struct eml_ir_value *f[FACTORS_MAX], *inner, *g[FACTORS_MAX];
    float scale, one;
    if (n->op != EML_OP_MUL || factors_of(n->out[0], f, &scale) != 2 || !near(scale, 0.5f))
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        struct eml_ir_value *x = f[1 - i];
        if (!with_scalar(f[i]->maker, EML_OP_ADD, &inner, &one) || one != 1)
            continue;
        const struct eml_ir_node *erf = made_by(inner, EML_OP_ERF);
        const struct eml_ir_node *tanh = made_by(inner, EML_OP_TANH);
        if (erf != NULL && factors_of(erf->in[0], g, &scale) == 1 && g[0] == x &&
            near(scale, 0.7071067812f)) {
            become(ir, n, EML_OP_ACTIVATE, EML_ACT_GELU, x);
            return true;
        }
        if (tanh != NULL && gelu_tanh_argument(tanh->in[0], x)) {
            become(ir, n, EML_OP_ACTIVATE, EML_ACT_GELU_TANH, x);
            return true;
        }
    }
    return false;
}

/* n = mean of x over the last axis, which stays as 1 */
static const struct eml_ir_value *mean_of(struct eml_ir *ir, const struct eml_ir_value *v)
{
    uint32_t count;
    const struct eml_ir_node *n = made_by(v, EML_OP_REDUCE_MEAN);
    if (n == NULL || eml_ir_int(n, EML_ATTR_KEEPDIMS, 1) == 0 || !n->in[0]->has_rank)
        return NULL;
    const int64_t *axes = eml_ir_known_ints(ir, eml_ir_in(n, 1), &count);
    int64_t rank = n->in[0]->shape.rank;
    return axes != NULL && count == 1 && (axes[0] == -1 || axes[0] == rank - 1) ? n->in[0] : NULL;
}

static bool square_of(const struct eml_ir_value *v, const struct eml_ir_value *d)
{
    struct eml_ir_value *x;
    float two;
    if (v == NULL)
        return false;
    return (with_scalar(v->maker, EML_OP_POW, &x, &two) && two == 2 && x == d) ||
           partner(v->maker, d) == d;
}

/* d / sqrt(mean(d^2) + eps), d = x - mean(x): LayerNormalization with a scale of ones. */
static bool layer_norm(struct eml_ir *ir, struct eml_ir_node *n)
{
    struct eml_ir_value *variance;
    float eps;
    const struct eml_ir_node *root, *d;
    if (n->op != EML_OP_DIV || (root = made_by(n->in[1], EML_OP_SQRT)) == NULL ||
        (d = made_by(n->in[0], EML_OP_SUB)) == NULL ||
        !with_scalar(root->in[0]->maker, EML_OP_ADD, &variance, &eps) ||
        !square_of(mean_of(ir, variance), n->in[0]) || mean_of(ir, d->in[1]) != d->in[0])
        return false;
    struct eml_ir_value *x = d->in[0];
    int64_t c = x->shape.rank != 0 ? x->shape.dim[x->shape.rank - 1] : EML_DIM_UNKNOWN;
    if (c <= 0 || x->dtype != EML_DT_F32)
        return false;
    float *ones = eml_ir_alloc(ir, (size_t)c * sizeof(*ones));
    for (int64_t i = 0; ones != NULL && i < c; i++)
        ones[i] = 1;
    become(ir, n, EML_OP_LAYER_NORMALIZATION, EML_ACT_NONE, x);
    eml_ir_set_in(ir, n, 1, eml_ir_const(ir, EML_DT_F32, &(struct eml_shape){1, {c}}, ones));
    n->params[0] = eps;
    n->n_params = 1;
    return true;
}

/* A vector along the last axis, of the length of scale. */
static bool like(const struct eml_ir_value *v, const struct eml_ir_value *scale)
{
    if (v->data == NULL || v->dtype != EML_DT_F32 || v->shape.rank == 0)
        return false;
    return eml_ir_count(v) == eml_ir_count(scale) &&
           v->shape.dim[v->shape.rank - 1] == scale->shape.dim[0];
}

static bool all_ones(const struct eml_ir_value *v)
{
    for (size_t i = 0; i < eml_ir_count(v); i++)
        if (((const float *)v->data)[i] != 1)
            return false;
    return true;
}

/* Mul and Add after a LayerNormalization are its scale and bias. */
static bool layer_norm_affine(struct eml_ir *ir, struct eml_ir_node *n)
{
    if (n->op != EML_OP_MUL && n->op != EML_OP_ADD)
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        struct eml_ir_node *norm = n->in[i]->maker;
        struct eml_ir_value *c = n->in[1 - i];
        if (norm == NULL || norm->op != EML_OP_LAYER_NORMALIZATION || n->in[i]->uses != 1 ||
            eml_ir_in(norm, 2) != NULL || norm->in[1]->data == NULL || !like(c, norm->in[1]) ||
            c->shape.rank > n->in[i]->shape.rank)
            continue;
        if (n->op == EML_OP_MUL && !all_ones(norm->in[1]))
            continue;
        eml_ir_set_in(ir, norm, n->op == EML_OP_MUL ? 1 : 2,
                      eml_ir_const(ir, EML_DT_F32, &norm->in[1]->shape, c->data));
        eml_ir_replace(ir, n->out[0], norm->out[0]);
        eml_ir_remove(ir, n);
        return true;
    }
    return false;
}

/* x + x * s is x * (1 + s): one pass over x if s is smaller, as in squeeze-and-excitation. */
static bool gated_sum(struct eml_ir *ir, struct eml_ir_node *n)
{
    for (uint32_t i = 0; i < 2 && n->op == EML_OP_ADD; i++) {
        struct eml_ir_value *x = n->in[i], *s = partner(n->in[1 - i]->maker, x);
        if (s == NULL || s->maker == NULL || n->in[1 - i]->uses != 1 || s->dtype != EML_DT_F32 ||
            !s->has_rank || !x->has_rank || s->shape.rank != x->shape.rank)
            continue;
        uint32_t ones = 0;
        for (uint32_t d = 1; d < s->shape.rank; d++)
            ones += s->shape.dim[d] == 1 && x->shape.dim[d] != 1;
        if (ones == 0)
            continue;
        struct eml_ir_value *operands[2] = {s, eml_ir_const_f32(ir, 1)};
        struct eml_ir_node *gate = eml_ir_node_new(ir, n, EML_OP_ADD, operands, 2, 1);
        gate->out[0]->dtype = s->dtype;
        gate->out[0]->has_rank = true;
        gate->out[0]->shape = s->shape;
        n->op = EML_OP_MUL;
        eml_ir_set_in(ir, n, 0, x);
        eml_ir_set_in(ir, n, 1, gate->out[0]);
        return true;
    }
    return false;
}

void eml_fuse_chains(struct eml_ir *ir)
{
    static bool (*const patterns[])(struct eml_ir *, struct eml_ir_node *) = {
        hard_sigmoid, hard_swish, silu, gelu, layer_norm, layer_norm_affine, gated_sum,
    };
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next) {
        if (n->n_out != 1 || n->n_in == 0 || n->in[0] == NULL || (n->n_in > 1 && !n->in[1]))
            continue;
        for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
            if (patterns[i](ir, n))
                break;
    }
    (void)eml_ir_sweep(ir);
}
