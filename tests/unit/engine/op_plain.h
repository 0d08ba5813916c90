/* What the tests against plain references share: random shapes and values, and how close is close.
 */
#ifndef TESTS_ENGINE_OP_PLAIN_H
#define TESTS_ENGINE_OP_PLAIN_H

#include "graph_builder.h"

#include <math.h>

static inline struct eml_shape random_shape(struct eml_gen *g, uint32_t rank, int64_t most)
{
    struct eml_shape s = {.rank = rank};
    for (uint32_t i = 0; i < rank; i++)
        s.dim[i] = eml_gen_range(g, 1, most);
    return s;
}

/* s with dims dropped from the front and others set to 1. */
static inline struct eml_shape shrink(struct eml_gen *g, struct eml_shape s)
{
    struct eml_shape r = {0};
    for (uint32_t i = (uint32_t)eml_gen_range(g, 0, s.rank); i < s.rank; i++)
        r.dim[r.rank++] = eml_gen_bool(g) ? s.dim[i] : 1;
    return r;
}

static inline void fill_f32(struct eml_gen *g, float *x, int64_t n, float lo, float hi)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = eml_gen_f32(g, lo, hi);
}

static inline void assert_close(double got, double want, double tolerance, const char *what)
{
    if (isnan(want) ? isnan(got) : got == want)
        return;
    if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
        fail_msg("%s: %.9g, should be %.9g", what, got, want);
}

static inline void coords(const struct eml_shape *s, size_t i, int64_t *c)
{
    for (uint32_t d = s->rank; d-- > 0; i /= (size_t)s->dim[d])
        c[d] = (int64_t)(i % (size_t)s->dim[d]);
}

static inline size_t index_of(const struct eml_shape *s, const int64_t *c)
{
    size_t i = 0;
    for (uint32_t d = 0; d < s->rank; d++)
        i = i * (size_t)s->dim[d] + (size_t)c[d];
    return i;
}

#endif
