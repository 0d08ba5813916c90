/* NegativeLogLikelihoodLoss. */
#include "engine/real.h"

enum { MEAN, SUM, NONE };

struct nll {
    const struct eml_op_ctx *c;
    int64_t classes, inner; /* elements behind the class dim */
    bool ignores;
    int64_t ignored;
};

/* Loss and weight of target i; false if it names no class. */
static bool one_loss(const struct nll *l, int64_t i, double *loss, double *weight)
{
    const struct eml_op_ctx *c = l->c;
    int64_t class = eml_index_at(&c->in[1], i);
    *loss = *weight = 0;
    if (l->ignores && class == l->ignored)
        return true;
    if (class < 0 || class >= l->classes)
        return false;
    *weight = eml_view_given(c->in, c->n_in, 2) ? eml_real_at(&c->in[2], class) : 1;
    int64_t at = (i / l->inner * l->classes + class) * l->inner + i % l->inner;
    *loss = -eml_real_at(&c->in[0], at) * *weight;
    return true;
}

enum eml_err eml_op_nll_loss(const struct eml_op_ctx *c)
{
    const struct eml_shape *x = &c->in[0].shape;
    const struct eml_attr *ignore = eml_node_attr(c->node, EML_ATTR_IGNORE_INDEX);
    int64_t reduction = eml_node_int(c->node, EML_ATTR_REDUCTION, MEAN);
    struct nll l = {.c = c,
                    .classes = x->dim[1],
                    .inner = eml_dims_product(x, 2, x->rank),
                    .ignores = ignore != NULL,
                    .ignored = eml_node_int(c->node, EML_ATTR_IGNORE_INDEX, 0)};
    double sum = 0, weights = 0;
    for (int64_t i = 0; i < c->in[1].count; i++) {
        double loss, weight;
        if (!one_loss(&l, i, &loss, &weight))
            return eml_fail(c->why, EML_E_INPUT, "loss: a target names no class", -1);
        if (reduction == NONE)
            eml_real_set(&c->out[0], i, loss);
        sum += loss;
        weights += weight;
    }
    if (reduction != NONE)
        eml_real_set(&c->out[0], 0, reduction == MEAN ? sum / weights : sum);
    return EML_OK;
}
