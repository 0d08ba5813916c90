/* Small graphs by hand for the tests of decomposition: build, count, and run through the engine.
 * `t_same_after_passes` is the test of every rewriting pass: the graph computes what it did before.
 */
#ifndef EML_TEST_DECOMPOSE_BUILD_H
#define EML_TEST_DECOMPOSE_BUILD_H

#include "decompose/emit.h"
#include "decompose/passes.h"
#include "testsupport/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct t {
    struct eml_arena arena;
    struct eml_ir *ir;
    struct eml_gen gen;
};

static inline void t_open(struct t *t, uint64_t seed)
{
    assert_int_equal(eml_arena_create(&t->arena, (size_t)1 << 30), EML_OK);
    t->ir = eml_arena_alloc(&t->arena, sizeof *t->ir, 64);
    assert_non_null(t->ir);
    eml_ir_init(t->ir, &t->arena);
    uint8_t source[8];
    memcpy(source, &seed, sizeof source);
    t->gen = eml_gen_from(eml_bytes(NULL, 0));
    for (size_t i = 0; i < 4; i++)
        t->gen.state[i] = seed * 0x9E3779B97F4A7C15u + i + 1;
}

static inline void t_close(struct t *t)
{
    (void)eml_arena_destroy(&t->arena);
}

#define DIMS(...)                                                                                  \
    (int64_t[]){__VA_ARGS__}, (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static inline struct eml_shape t_shape(const int64_t *dims, uint32_t rank)
{
    struct eml_shape s = {.rank = rank};
    for (uint32_t i = 0; i < rank; i++)
        s.dim[i] = dims[i];
    return s;
}

static inline struct eml_ir_value *t_input(struct t *t, const char *name, const int64_t *dims,
                                           uint32_t rank)
{
    struct eml_shape s = t_shape(dims, rank);
    return eml_ir_add_input(t->ir, eml_bytes_of_str(name), EML_DT_F32, &s);
}

/* A constant of random numbers in [lo, hi). */
static inline struct eml_ir_value *t_weights(struct t *t, float lo, float hi, const int64_t *dims,
                                             uint32_t rank)
{
    struct eml_shape s = t_shape(dims, rank);
    int64_t n;
    assert_true(eml_shape_count(&s, &n));
    float *v = eml_ir_alloc(t->ir, (size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = eml_gen_f32(&t->gen, lo, hi);
    return eml_ir_const(t->ir, EML_DT_F32, &s, v);
}

static inline struct eml_ir_value *t_ints(struct t *t, const int64_t *v, uint32_t n)
{
    return eml_ir_const_ints(t->ir, v, n);
}

static inline struct eml_ir_node *t_node(struct t *t, enum eml_op op,
                                         struct eml_ir_value *const *in, uint32_t n)
{
    return eml_ir_node_new(t->ir, NULL, op, in, n, 1);
}
#define NODE(t, op, ...)                                                                           \
    t_node(t, EML_OP_##op, (struct eml_ir_value *[]){__VA_ARGS__},                                 \
           (uint32_t)(sizeof((struct eml_ir_value *[]){__VA_ARGS__}) / sizeof(void *)))
#define OP(t, op, ...) NODE(t, op, __VA_ARGS__)->out[0]
#define SCALAR(t, v) eml_ir_const_f32((t)->ir, v)

static inline void t_output(struct t *t, struct eml_ir_value *v)
{
    eml_ir_add_output(t->ir, EML_LIT("y"), v);
}

static inline uint32_t t_count(const struct t *t, enum eml_op op)
{
    uint32_t n = 0;
    for (const struct eml_ir_node *i = t->ir->first; i != NULL; i = i->next)
        n += i->op == op;
    return n;
}

static inline struct eml_ir_node *t_find(const struct t *t, enum eml_op op)
{
    for (struct eml_ir_node *i = t->ir->first; i != NULL; i = i->next)
        if (i->op == op)
            return i;
    fail_msg("operator is not in the graph");
    return NULL;
}

#define OK(e)                                                                                      \
    do {                                                                                           \
        struct eml_why ok_why_ = {0};                                                              \
        struct eml_why *why = &ok_why_;                                                            \
        enum eml_err ok_e_ = (e);                                                                  \
        if (ok_e_ != EML_OK)                                                                       \
            fail_msg("%s: %s", eml_err_name(ok_e_),                                                \
                     ok_why_.rule != NULL ? ok_why_.rule : "no rule");                             \
    } while (0)

/* Runs the graph (channels-last by now) on random inputs, unknown dims being `unknown`; every
 * element of the first output, in malloc'd memory. */
static inline float *t_run(struct t *t, int64_t unknown, uint64_t seed, size_t *count)
{
    struct eml_emitted e;
    OK(eml_emit(t->ir, &e, why));
    struct eml_tensor in[8], out[8];
    struct eml_gen g = eml_gen_from(eml_bytes(NULL, 0));
    for (size_t i = 0; i < 4; i++)
        g.state[i] = seed + 77 * i + 1;
    assert_true(e.graph.n_inputs <= 8 && e.graph.n_outputs <= 8);
    for (uint32_t i = 0; i < e.graph.n_inputs; i++) {
        struct eml_shape s = e.graph.values[e.graph.inputs[i].value].shape;
        int64_t n;
        for (uint32_t d = 0; d < s.rank; d++)
            s.dim[d] = s.dim[d] == EML_DIM_UNKNOWN ? unknown : s.dim[d];
        assert_true(eml_shape_count(&s, &n));
        float *v = eml_arena_alloc(&t->arena, (size_t)n * sizeof *v, 64);
        assert_non_null(v);
        for (int64_t k = 0; k < n; k++)
            v[k] = eml_gen_f32(&g, -2, 2);
        in[i] = (struct eml_tensor){EML_DT_F32, s, v, (size_t)n * sizeof *v};
    }
    const struct eml_budget budget = {UINT64_MAX, UINT64_MAX};
    struct eml_plan *plan;
    OK(eml_plan_make(&e.graph, in, EML_ISA_REF, 1, &budget, &t->arena, &plan, why));
    struct eml_room room = {NULL, eml_plan_activation_bytes(plan)};
    room.ptr = eml_arena_alloc(&t->arena, room.len, 64);
    assert_non_null(room.ptr);
    OK(eml_plan_run(plan, e.weights, in, room, NULL, out, why));
    assert_int_equal(out[0].dtype, EML_DT_F32);
    float *copy = malloc(out[0].bytes + 1);
    assert_non_null(copy);
    memcpy(copy, out[0].data, out[0].bytes);
    *count = out[0].bytes / sizeof(float);
    return copy;
}

/* Every pass, in eml_decompose's order. */
static inline void t_all_passes(struct t *t)
{
    OK(eml_fold(t->ir, why));
    eml_simplify(t->ir);
    OK(eml_layout_channels_last(t->ir, why));
    eml_simplify(t->ir);
    OK(eml_fold(t->ir, why));
    eml_fuse_chains(t->ir);
    OK(eml_fold_infer_from(t->ir, t->ir->first, why));
    eml_fuse_products(t->ir);
    eml_fuse_attention(t->ir);
    OK(eml_fold(t->ir, why));
}

/* Builds the graph twice; once only put into the engine's form, once through all passes (which is
 * left open in *t for looking at). Both must compute the same. `seed` is what build draws from. */
static inline void t_same_for_seed(struct t *t, void (*build)(struct t *), int64_t unknown,
                                   uint64_t seed)
{
    struct t plain;
    size_t n, m;
    t_open(&plain, seed);
    build(&plain);
    OK(eml_fold_infer_from(plain.ir, plain.ir->first, why));
    OK(eml_layout_channels_last(plain.ir, why));
    float *want = t_run(&plain, unknown, 5, &n);
    t_close(&plain);
    struct t copy;
    t_open(&copy, seed);
    build(&copy);
    t_all_passes(&copy);
    float *got = t_run(&copy, unknown, 5, &m);
    t_close(&copy);
    t_open(t, seed);
    build(t);
    t_all_passes(t);
    assert_int_equal(n, m);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= 1e-5f + 1e-4f * fabsf(want[i])))
            fail_msg("element %zu: %g, not %g", i, (double)got[i], (double)want[i]);
    free(want);
    free(got);
}

static inline void t_same_after_passes(struct t *t, void (*build)(struct t *), int64_t unknown)
{
    t_same_for_seed(t, build, unknown, 42);
}

#endif
