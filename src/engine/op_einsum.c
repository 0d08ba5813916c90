/* Einsum of any equation: y[out] = sum over the other labels of the product of all operands. One
 * loop serves every equation, matrix products too. */
#include "engine/einsum.h"
#include "engine/typed.h"

enum { GRAIN_PRODUCTS = 16384 };

struct job {
    const struct eml_op_ctx *c;
    struct eml_einsum e;
    uint32_t outer_end;       /* summed loops but the innermost: [e.n_out, outer_end) */
    int64_t outer_n, inner_n; /* passes of those; length of the innermost */
    int64_t inner_stride[EML_EINSUM_OPERANDS];
};

static void make_job(const struct eml_op_ctx *c, struct job *j)
{
    const struct eml_shape *shapes[EML_EINSUM_OPERANDS] = {NULL};
    j->c = c;
    for (uint32_t k = 0; k < c->n_in && k < EML_EINSUM_OPERANDS; k++)
        shapes[k] = &c->in[k].shape;
    if (eml_einsum_read(c->node, shapes, &j->e, NULL) != EML_OK)
        EML_BUG(); /* the rule read it */
    const struct eml_einsum *e = &j->e;
    bool sums = e->n > e->n_out;
    j->outer_end = sums ? e->n - 1 : e->n;
    j->inner_n = sums ? e->dim[e->n - 1] : 1;
    for (uint32_t k = 0; k < c->n_in; k++)
        j->inner_stride[k] = sums ? e->stride[k][e->n - 1] : 0;
    j->outer_n = 1;
    for (uint32_t i = e->n_out; i < j->outer_end; i++)
        if (__builtin_mul_overflow(j->outer_n, e->dim[i], &j->outer_n))
            j->outer_n = INT64_MAX; /* above every budget, and above what ends */
}

uint64_t eml_flops_einsum(const struct eml_op_ctx *c)
{
    struct job j;
    uint64_t n = (uint64_t)c->out[0].count;
    make_job(c, &j);
    bool over = __builtin_mul_overflow(n, (uint64_t)j.outer_n, &n) ||
                __builtin_mul_overflow(n, (uint64_t)j.inner_n, &n) ||
                __builtin_mul_overflow(n, (uint64_t)c->n_in, &n);
    return over ? UINT64_MAX : n;
}

/* Offsets of element i of the result in every operand. */
static void start(const struct job *j, int64_t i, int64_t *at)
{
    for (uint32_t k = 0; k < j->c->n_in; k++)
        at[k] = 0;
    for (uint32_t d = j->e.n_out; d-- > 0; i /= j->e.dim[d])
        for (uint32_t k = 0; k < j->c->n_in; k++)
            at[k] += i % j->e.dim[d] * j->e.stride[k][d];
}

/* Steps the outer summed loops. */
static void step(const struct job *j, int64_t *index, int64_t *at)
{
    for (uint32_t d = j->outer_end; d-- > j->e.n_out;) {
        bool carry = ++index[d] == j->e.dim[d];
        for (uint32_t k = 0; k < j->c->n_in; k++)
            at[k] += (carry ? 1 - j->e.dim[d] : 1) * j->e.stride[k][d];
        if (!carry)
            return;
        index[d] = 0;
    }
}

/* Integers wrap around, as in numpy: their sums are of unsigned type. */
#define EINSUM(name, type, sum_type)                                                               \
    static sum_type row_##name(const struct job *j, const int64_t *at)                             \
    {                                                                                              \
        const struct eml_view *in = j->c->in;                                                      \
        const int64_t *s = j->inner_stride;                                                        \
        sum_type sum = 0;                                                                          \
        if (j->c->n_in == 2) {                                                                     \
            const type *a = (const type *)in[0].data + at[0];                                      \
            const type *b = (const type *)in[1].data + at[1];                                      \
            for (int64_t i = 0; i < j->inner_n; i++)                                               \
                sum += (sum_type)a[i * s[0]] * (sum_type)b[i * s[1]];                              \
            return sum;                                                                            \
        }                                                                                          \
        for (int64_t i = 0; i < j->inner_n; i++) {                                                 \
            sum_type product = 1;                                                                  \
            for (uint32_t k = 0; k < j->c->n_in; k++)                                              \
                product *= (sum_type)((const type *)in[k].data)[at[k] + i * s[k]];                 \
            sum += product;                                                                        \
        }                                                                                          \
        return sum;                                                                                \
    }                                                                                              \
    static void einsum_##name(void *arg, int64_t begin, int64_t end, unsigned thread)              \
    {                                                                                              \
        (void)thread;                                                                              \
        const struct job *j = arg;                                                                 \
        for (int64_t i = begin; i < end; i++) {                                                    \
            int64_t at[EML_EINSUM_OPERANDS], index[EML_EINSUM_LOOPS] = {0};                        \
            sum_type sum = 0;                                                                      \
            start(j, i, at);                                                                       \
            for (int64_t o = 0; o < j->outer_n; o++, step(j, index, at))                           \
                sum += row_##name(j, at);                                                          \
            ((type *)j->c->out[0].data)[i] = (type)sum;                                            \
        }                                                                                          \
    }
EINSUM(F32, float, double)
EINSUM(F64, double, double)
EINSUM(32, uint32_t, uint64_t) /* whatever the sign: the low bits of products are the same */
EINSUM(64, uint64_t, uint64_t)

enum eml_err eml_op_einsum(const struct eml_op_ctx *c)
{
    struct job j;
    make_job(c, &j);
    eml_pool_fn *f = c->out[0].dtype == EML_DT_F32           ? einsum_F32
                     : c->out[0].dtype == EML_DT_F64         ? einsum_F64
                     : eml_dtype_bytes(c->out[0].dtype) == 4 ? einsum_32
                                                             : einsum_64;
    int64_t work = j.outer_n > GRAIN_PRODUCTS || j.inner_n > GRAIN_PRODUCTS
                       ? GRAIN_PRODUCTS
                       : j.outer_n * j.inner_n + 1;
    eml_pool_for(c->pool, c->out[0].count, GRAIN_PRODUCTS / work + 1, f, &j);
    return EML_OK;
}
