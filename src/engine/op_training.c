/* One step of an optimiser (ai.onnx.preview.training): Adagrad, Adam, Momentum. */
#include "engine/real.h"

#include <math.h>

/* Of parameter j of n: tensors X, G, and the one or two that are remembered. */
struct step {
    const struct eml_op_ctx *c;
    uint32_t n, j;
    double rate, count; /* R, T */
};

static const struct eml_view *operand(const struct step *s, uint32_t group)
{
    return &s->c->in[2 + group * s->n + s->j];
}

static void result(const struct step *s, uint32_t group, int64_t i, double v)
{
    uint32_t k = group * s->n + s->j;
    if (eml_view_given(s->c->out, s->c->n_out, k))
        eml_real_set(&s->c->out[k], i, v);
}

static void adagrad(const struct step *s, int64_t i)
{
    const float *p = s->c->params;
    double x = eml_real_at(operand(s, 0), i);
    double g = (double)p[2] * x + eml_real_at(operand(s, 1), i);
    double h = eml_real_at(operand(s, 2), i) + g * g;
    double rate = s->rate / (1 + s->count * (double)p[0]);
    result(s, 0, i, x - rate * g / (sqrt(h) + (double)p[1]));
    result(s, 1, i, h);
}

static void adam(const struct step *s, int64_t i)
{
    const float *p = s->c->params;
    double alpha = (double)p[0], beta = (double)p[1];
    double x = eml_real_at(operand(s, 0), i);
    double g = (double)p[3] * x + eml_real_at(operand(s, 1), i);
    double v = alpha * eml_real_at(operand(s, 2), i) + (1 - alpha) * g;
    double h = beta * eml_real_at(operand(s, 3), i) + (1 - beta) * g * g;
    double rate = s->rate;
    if (s->count > 0)
        rate *= sqrt(1 - pow(beta, s->count)) / (1 - pow(alpha, s->count));
    result(s, 0, i, (1 - (double)p[4]) * (x - rate * v / (sqrt(h) + (double)p[2])));
    result(s, 1, i, v);
    result(s, 2, i, h);
}

static void momentum(const struct step *s, int64_t i)
{
    const float *p = s->c->params;
    bool nesterov = eml_node_int(s->c->node, EML_ATTR_MODE, 0) != 0;
    double alpha = (double)p[0], beta = s->count > 0 ? (double)p[1] : 1;
    double x = eml_real_at(operand(s, 0), i);
    double g = (double)p[2] * x + eml_real_at(operand(s, 1), i);
    double v = alpha * eml_real_at(operand(s, 2), i) + beta * g;
    result(s, 0, i, x - s->rate * (nesterov ? g + alpha * v : v));
    result(s, 1, i, v);
}

static enum eml_err run(const struct eml_op_ctx *c, uint32_t groups,
                        void (*f)(const struct step *, int64_t))
{
    struct step s = {.c = c,
                     .n = (c->n_in - 2) / groups,
                     .rate = eml_real_at(&c->in[0], 0),
                     .count = (double)*(const int64_t *)c->in[1].data};
    for (s.j = 0; s.j < s.n; s.j++)
        for (int64_t i = 0; i < operand(&s, 0)->count; i++)
            f(&s, i);
    return EML_OK;
}

enum eml_err eml_op_adagrad(const struct eml_op_ctx *c)
{
    return run(c, 3, adagrad);
}

enum eml_err eml_op_adam(const struct eml_op_ctx *c)
{
    return run(c, 4, adam);
}

enum eml_err eml_op_momentum(const struct eml_op_ctx *c)
{
    return run(c, 3, momentum);
}
