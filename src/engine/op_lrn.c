/* LRN, channels-last: y = x / (bias + alpha/size * sum of squares of neighbouring channels)^beta.
 */
#include "engine/exec.h"

#include <math.h>

struct job {
    const float *x;
    float *y;
    int64_t c, before, after; /* neighbours on each side */
    double alpha, beta, bias; /* alpha is divided by the size */
};

static void pixels(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct job *j = arg;
    for (int64_t i = begin; i < end; i++) {
        const float *x = j->x + i * j->c;
        for (int64_t k = 0; k < j->c; k++) {
            int64_t lo = k > j->before ? k - j->before : 0;
            int64_t hi = j->c - k > j->after ? k + j->after + 1 : j->c;
            double sum = 0;
            for (int64_t n = lo; n < hi; n++)
                sum += (double)x[n] * (double)x[n];
            j->y[i * j->c + k] = (float)((double)x[k] / pow(j->bias + j->alpha * sum, j->beta));
        }
    }
}

enum eml_err eml_op_lrn(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0];
    int64_t size = eml_node_int(c->node, EML_ATTR_SIZE, 1);
    struct job j = {.x = x->data,
                    .y = c->out[0].data,
                    .c = x->shape.dim[x->shape.rank - 1],
                    .before = (size - 1) / 2,
                    .after = size / 2,
                    .alpha = (double)c->params[0] / (double)size,
                    .beta = (double)c->params[1],
                    .bias = (double)c->params[2]};
    if (x->count > 0)
        eml_pool_for(c->pool, x->count / j.c, 1 + 4096 / j.c, pixels, &j);
    return EML_OK;
}
