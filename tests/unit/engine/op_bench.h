/* One operator function at a time for the tests of operators that compute: random operands,
 * attributes, layouts and fused parts; every instruction set, and the same bits with 1, 2 and 3
 * threads. */
#ifndef TESTS_ENGINE_OP_BENCH_H
#define TESTS_ENGINE_OP_BENCH_H

#include "testsupport/support.h"

#include "engine/exec.h"
#include "engine/kernels/kernels.h"
#include "engine/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPERANDS = 5, ATTRS = 16 };

static struct eml_pool *pools[3]; /* 1, 2, 3 threads */

/* One node with its operands, built up by the tests. */
struct bench {
    struct eml_gen *g;
    struct eml_attr attr[ATTRS];
    int64_t ints[ATTRS][8];
    struct eml_node node;
    struct eml_view in[OPERANDS], out;
    uint32_t n_in;
    float params[4];
    uint32_t n_params;
    double k; /* terms of a sum: what rounding may add up to */
};

static inline void set_attr(struct bench *b, enum eml_attr_id id, uint32_t n, const int64_t *v)
{
    uint32_t i = b->node.n_attr++;
    assert_true(i < ATTRS && n <= 8);
    memcpy(b->ints[i], v, n * sizeof *v);
    b->attr[i] = (struct eml_attr){id, n, b->ints[i]};
    b->node.attr = b->attr;
}

static inline void set_int(struct bench *b, enum eml_attr_id id, int64_t v)
{
    set_attr(b, id, 1, &v);
}

static inline struct eml_view tensor(struct eml_gen *g, uint32_t rank, const int64_t *dim)
{
    struct eml_view v = {.dtype = EML_DT_F32, .shape = {.rank = rank}, .count = 1};
    for (uint32_t i = 0; i < rank; i++) {
        v.shape.dim[i] = dim[i];
        v.count *= dim[i];
    }
    float *data = aligned_alloc(64, ((size_t)v.count * sizeof(float) + 127) / 64 * 64);
    assert_non_null(data);
    for (int64_t i = 0; i < v.count; i++)
        data[i] = eml_gen_f32(g, -1, 1);
    v.data = data;
    return v;
}

static inline void start(struct bench *b, struct eml_gen *g, enum eml_op op)
{
    *b = (struct bench){.g = g, .node = {.op = op, .params = EML_ABSENT}};
}

static inline void finish(struct bench *b, float *packed)
{
    for (uint32_t i = 0; i < b->n_in; i++)
        free(b->in[i].data);
    free(b->out.data);
    free(packed);
}

/* Random bias, residual, activation; `residual` false for operators without. */
static inline void draw_fusion(struct bench *b, int64_t channels, bool fused)
{
    b->n_in = 2;
    if (!fused)
        return;
    b->n_in = 4;
    if (eml_gen_bool(b->g))
        b->in[2] = tensor(b->g, 1, &channels);
    if (eml_gen_bool(b->g))
        b->in[3] = tensor(b->g, b->out.shape.rank, b->out.shape.dim);
    int64_t act = eml_gen_range(b->g, 0, EML_ACT_N - 1);
    set_int(b, EML_ATTR_ACT, act);
    for (size_t i = 0; i < eml_act_params((enum eml_act)act); i++)
        b->params[b->n_params++] = i ? 0.6F : -0.4F;
    if (act == EML_ACT_PRELU)
        b->in[b->n_in++] = tensor(b->g, 1, &channels);
}

/* bias, residual and activation of output element i, applied to its sum. */
static inline double fuse(const struct bench *b, double s, int64_t i)
{
    struct eml_act_spec spec = {.act = EML_ACT_NONE};
    int64_t channels = b->out.shape.dim[b->out.shape.rank - 1];
    for (uint32_t a = 0; a < b->node.n_attr; a++) {
        if (b->attr[a].id == EML_ATTR_ACT)
            spec.act = (enum eml_act)b->attr[a].v[0];
    }
    size_t n = eml_act_params(spec.act);
    for (size_t p = 0; p < n; p++)
        spec.p[p] = b->params[b->n_params - n + p];
    if (b->n_in > 2 && b->in[2].data && b->node.op != EML_OP_GEMM)
        s += (double)((const float *)b->in[2].data)[i % channels];
    if (b->n_in > 3 && b->in[3].data)
        s += (double)((const float *)b->in[3].data)[i];
    float slope =
        spec.act == EML_ACT_PRELU ? ((const float *)b->in[b->n_in - 1].data)[i % channels] : 0;
    spec.slope = &slope;
    float x = (float)s, y;
    eml_kernels_ref.act(&y, &x, 1, &spec);
    return (double)y;
}

static inline void run(const struct bench *b, const struct eml_kernels *kn, struct eml_pool *pool,
                       eml_op_fn *op, eml_scratch_fn *count, float *out)
{
    struct eml_op_ctx c = {.node = &b->node,
                           .in = b->in,
                           .n_in = b->n_in,
                           .n_out = 1,
                           .n_params = b->n_params,
                           .threads = 3,
                           .kernels = kn};
    struct eml_view o = b->out;
    size_t bytes = 0;
    c.out = &o;
    if (count) {
        struct eml_view blind[OPERANDS], blind_out = o;
        for (uint32_t i = 0; i < b->n_in; i++) {
            blind[i] = b->in[i];
            blind[i].data = NULL;
        }
        blind_out.data = NULL;
        c.in = blind;
        c.out = &blind_out;
        assert_true(count(&c, &bytes));
        c.in = b->in;
        c.out = &o;
    }
    uint8_t *scratch = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(scratch);
    memset(scratch, 0xFF, bytes + 1); /* NaNs: nothing may be read before it is written */
    c.scratch = (struct eml_room){scratch, bytes};
    c.pool = pool;
    c.params = b->params;
    o.data = out;
    assert_int_equal(op(&c), EML_OK);
    assert_int_equal(scratch[bytes], 0xFF);
    free(scratch);
}

/* Runs on all sets and pools and compares with want. */
static inline void check(const struct bench *b, eml_op_fn *op, eml_scratch_fn *count,
                         const double *want)
{
    size_t n = (size_t)b->out.count;
    float *first = calloc(n + 1, sizeof *first), *other = calloc(n + 1, sizeof *other);
    assert_true(first && other);
    for (enum eml_isa isa = EML_ISA_REF; isa <= eml_isa_resolve(EML_ISA_AUTO); isa++) {
        const struct eml_kernels *kn = eml_kernels_for(isa);
        first[n] = other[n] = 5;
        run(b, kn, pools[0], op, count, first);
        for (size_t i = 0; i < n; i++) {
            if (!(fabs((double)first[i] - want[i]) <= 2e-5 + 6e-8 * b->k + 2e-5 * fabs(want[i])) &&
                !((double)first[i] == want[i])) {
                print_error("%s: element %zu of %zu (sums of %g): got %.9g, want %.9g\n",
                            eml_isa_name(isa), i, n, (double)b->k, (double)first[i], want[i]);
                fail();
            }
        }
        for (int p = 1; p < 3; p++) {
            run(b, kn, pools[p], op, count, other);
            assert_memory_equal(first, other, (n + 1) * sizeof *first);
        }
    }
    free(first);
    free(other);
}

static inline double *wanted(const struct bench *b)
{
    double *w = calloc((size_t)b->out.count + 1, sizeof *w);
    assert_non_null(w);
    return w;
}

/* main: the tests with pools of 1, 2 and 3 threads. */
#define RUN_WITH_POOLS(tests)                                                                      \
    int main(void)                                                                                 \
    {                                                                                              \
        for (unsigned i = 0; i < 3; i++)                                                           \
            if (eml_pool_create(i + 1, &pools[i]) != EML_OK)                                       \
                return 1;                                                                          \
        int failed = cmocka_run_group_tests(tests, NULL, NULL);                                    \
        for (unsigned i = 0; i < 3; i++)                                                           \
            eml_pool_destroy(pools[i]);                                                            \
        return failed;                                                                             \
    }

#endif
