/* Random operators: RandomNormal, RandomUniform and their Like forms, Bernoulli, Multinomial,
 * Dropout.
 *
 * The engine has no entropy. Number i of a node is a function of the node's seed and i alone:
 * SplitMix64 (Steele, Lea, Flood 2014) at position i of the sequence that the seed starts. The same
 * model and input give the same result, on any number of threads. A node without a seed has one
 * from decomposition. None of this is for secrets.
 */
#include "engine/real.h"

#include <math.h>
#include <string.h>

struct source {
    uint64_t start;
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static struct source source_of(float seed)
{
    uint32_t bits;
    memcpy(&bits, &seed, sizeof bits);
    return (struct source){mix(bits + 0x9e3779b97f4a7c15u)};
}

/* Number i in [0, 1). */
static double uniform(const struct source *s, int64_t i)
{
    uint64_t z = mix(s->start + (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u);
    return (double)(z >> 11) * 0x1p-53;
}

/* Box and Muller; takes numbers 2i and 2i + 1. */
static double normal(const struct source *s, int64_t i)
{
    double radius = sqrt(-2 * log(1 - uniform(s, 2 * i)));
    return radius * cos(6.28318530717958647692 * uniform(s, 2 * i + 1));
}

enum eml_err eml_op_random(const struct eml_op_ctx *c)
{
    struct source s = source_of(c->params[2]);
    double p0 = (double)c->params[0], p1 = (double)c->params[1];
    bool is_normal =
        c->node->op == EML_OP_RANDOM_NORMAL || c->node->op == EML_OP_RANDOM_NORMAL_LIKE;
    for (int64_t i = 0; i < c->out[0].count; i++)
        eml_real_set(&c->out[0], i,
                     is_normal ? p0 + p1 * normal(&s, i) : p0 + (p1 - p0) * uniform(&s, i));
    return EML_OK;
}

enum eml_err eml_op_bernoulli(const struct eml_op_ctx *c)
{
    struct source s = source_of(c->params[0]);
    const struct eml_view *y = &c->out[0];
    if (y->count != 0)
        memset(y->data, 0, (size_t)y->count * eml_dtype_bytes(y->dtype));
    for (int64_t i = 0; i < y->count; i++) {
        double p = eml_real_at(&c->in[0], i);
        if (!(p >= 0 && p <= 1))
            return eml_fail(c->why, EML_E_INPUT, "Bernoulli: not a probability", -1);
        if (uniform(&s, i) < p)
            eml_set_one(y, i);
    }
    return EML_OK;
}

/* The class at which the running sum of exp(x - max) passes u times the whole. */
static int64_t draw(const struct eml_op_ctx *c, int64_t row, double u)
{
    int64_t n = c->in[0].shape.dim[1];
    double max = -INFINITY, sum = 0, part = 0;
    for (int64_t k = 0; k < n; k++)
        max = fmax(max, eml_real_at(&c->in[0], row * n + k));
    for (int64_t k = 0; k < n; k++)
        sum += exp(eml_real_at(&c->in[0], row * n + k) - max);
    for (int64_t k = 0; k < n - 1; k++) {
        part += exp(eml_real_at(&c->in[0], row * n + k) - max);
        if (u * sum < part)
            return k;
    }
    return n - 1;
}

enum eml_err eml_op_multinomial(const struct eml_op_ctx *c)
{
    struct source s = source_of(c->params[0]);
    const struct eml_view *y = &c->out[0];
    for (int64_t i = 0; i < y->count; i++) {
        int64_t k = draw(c, i / y->shape.dim[1], uniform(&s, i));
        if (y->dtype == EML_DT_I64)
            ((int64_t *)y->data)[i] = k;
        else
            ((int32_t *)y->data)[i] = (int32_t)k;
    }
    return EML_OK;
}

static void drop(const struct eml_op_ctx *c, double ratio)
{
    struct source s = source_of(c->params[0]);
    uint8_t *mask = eml_view_given(c->out, c->n_out, 1) ? c->out[1].data : NULL;
    for (int64_t i = 0; i < c->in[0].count; i++) {
        bool keep = uniform(&s, i) >= ratio;
        if (eml_view_given(c->out, c->n_out, 0))
            eml_real_set(&c->out[0], i, keep ? eml_real_at(&c->in[0], i) / (1 - ratio) : 0);
        if (mask != NULL)
            mask[i] = keep;
    }
}

enum eml_err eml_op_dropout(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0];
    bool training = eml_view_given(c->in, c->n_in, 2) && *(const uint8_t *)c->in[2].data != 0;
    double ratio = eml_view_given(c->in, c->n_in, 1) ? eml_real_at(&c->in[1], 0) : 0.5;
    if (training && !(ratio >= 0 && ratio < 1))
        return eml_fail(c->why, EML_E_INPUT, "Dropout: ratio out of range", -1);
    if (x->count == 0)
        return EML_OK;
    if (training && ratio > 0) {
        drop(c, ratio);
        return EML_OK;
    }
    if (eml_view_given(c->out, c->n_out, 0))
        memcpy(c->out[0].data, x->data, (size_t)x->count * eml_dtype_bytes(x->dtype));
    if (eml_view_given(c->out, c->n_out, 1))
        memset(c->out[1].data, 1, (size_t)x->count);
    return EML_OK;
}
