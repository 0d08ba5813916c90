/* Small graphs for the engine's tests: values, nodes and weights by hand. Types and shapes of node
 * outputs come from the rules, so that a test writes each only once. */
#ifndef TESTS_ENGINE_GRAPH_BUILDER_H
#define TESTS_ENGINE_GRAPH_BUILDER_H

#include "testsupport/support.h"

#include "engine/infer.h"
#include "engine/plan.h"
#include "engine/weights.h"

#include <stdlib.h>
#include <string.h>

enum { GB_VALUES = 256, GB_NODES = 128, GB_IO = 12, GB_WEIGHTS = 1 << 24 };

struct gb {
    struct eml_arena arena;
    struct eml_graph g;
    struct eml_value values[GB_VALUES];
    struct eml_node nodes[GB_NODES];
    struct eml_name inputs[GB_IO], outputs[GB_IO];
    struct eml_known known[GB_VALUES];
    uint8_t *weights;
    size_t weight_bytes;
};

static inline struct gb *gb_new(void)
{
    struct gb *b = calloc(1, sizeof *b);
    assert_non_null(b);
    assert_int_equal(eml_arena_create(&b->arena, (size_t)1 << 28), EML_OK);
    b->g = (struct eml_graph){
        .values = b->values, .nodes = b->nodes, .inputs = b->inputs, .outputs = b->outputs};
    b->weights = eml_arena_alloc(&b->arena, GB_WEIGHTS, 64);
    return b;
}

static inline void gb_free(struct gb *b)
{
    (void)eml_arena_destroy(&b->arena);
    free(b);
}

static inline struct eml_shape gb_shape(uint32_t rank, const int64_t *dim)
{
    struct eml_shape s = {.rank = rank};
    if (rank > 0)
        memcpy(s.dim, dim, rank * sizeof *dim);
    return s;
}
#define SHAPE(...)                                                                                 \
    gb_shape(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (const int64_t[]){__VA_ARGS__})
#define SCALAR ((struct eml_shape){0})

static inline int64_t gb_count(struct eml_shape s)
{
    int64_t n = -1;
    assert_true(eml_shape_count(&s, &n));
    return n;
}

static inline uint32_t gb_value(struct gb *b, struct eml_value v)
{
    assert_true(b->g.n_values < GB_VALUES);
    uint32_t id = b->g.n_values++;
    b->values[id] = v;
    b->known[id] = (struct eml_known){.dtype = v.dtype, .has_rank = true, .shape = v.shape};
    if (v.kind == EML_VALUE_INTS) {
        b->known[id].has_ints = true;
        b->known[id].n_ints = v.n_ints;
        b->known[id].ints = (int64_t *)(uintptr_t)v.ints;
    }
    return id;
}

static inline uint32_t gb_input(struct gb *b, enum eml_dtype t, struct eml_shape s)
{
    uint32_t id = gb_value(b, (struct eml_value){.kind = EML_VALUE_INPUT, .dtype = t, .shape = s});
    b->inputs[b->g.n_inputs++].value = id;
    return id;
}

static inline uint32_t gb_slot(struct gb *b, enum eml_dtype t, struct eml_shape s, const void *data)
{
    size_t bytes = (size_t)gb_count(s) * eml_dtype_bytes(t);
    uint32_t id = gb_value(b, (struct eml_value){.kind = EML_VALUE_SLOT,
                                                 .dtype = t,
                                                 .shape = s,
                                                 .offset = b->weight_bytes,
                                                 .bytes = bytes});
    assert_true(b->weight_bytes + bytes + 64 <= GB_WEIGHTS);
    if (bytes > 0)
        memcpy(b->weights + b->weight_bytes, data, bytes);
    b->weight_bytes += (bytes + 63) & ~(size_t)63;
    return id;
}

static inline uint32_t gb_ints(struct gb *b, uint32_t n, const int64_t *v)
{
    int64_t *copy = eml_arena_array(&b->arena, n, sizeof *copy);
    for (uint32_t i = 0; i < n; i++)
        copy[i] = v[i];
    return gb_value(b, (struct eml_value){.kind = EML_VALUE_INTS,
                                          .dtype = EML_DT_I64,
                                          .shape = {.rank = 1, .dim = {n}},
                                          .ints = copy,
                                          .n_ints = n});
}
#define INTS(b, ...)                                                                               \
    gb_ints((b), sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (const int64_t[]){__VA_ARGS__})

/* Attributes, params, operands of a node; ids end with the first GB_END. */
#define GB_END (UINT32_MAX - 1)
struct gb_node {
    enum eml_op op;
    uint32_t in[8];
    struct {
        enum eml_attr_id id;
        uint32_t n;
        int64_t v[8];
    } attr[4];
    uint32_t n_attr;
    float params[4];
    uint32_t n_params;
    uint32_t n_out; /* 0 counts as 1 */
};

/* Adds the node; returns the first of its outputs (the others follow). *e, if not NULL, gets what
 * the rule said; otherwise the rule must accept. */
static inline uint32_t gb_add(struct gb *b, struct gb_node s)
{
    assert_true(b->g.n_nodes < GB_NODES);
    struct eml_node *n = &b->nodes[b->g.n_nodes++];
    uint32_t n_out = s.n_out == 0 ? 1 : s.n_out;
    uint32_t *in = eml_arena_array(&b->arena, 8, sizeof *in);
    uint32_t *out = eml_arena_array(&b->arena, n_out, sizeof *out);
    struct eml_attr *attr = eml_arena_array(&b->arena, 4, sizeof *attr);
    *n = (struct eml_node){.op = s.op,
                           .in = in,
                           .out = out,
                           .attr = attr,
                           .n_attr = s.n_attr,
                           .n_out = n_out,
                           .params = EML_ABSENT};
    const struct eml_known *known[8];
    struct eml_known results[8];
    for (; n->n_in < 8 && s.in[n->n_in] != GB_END; n->n_in++) {
        in[n->n_in] = s.in[n->n_in];
        known[n->n_in] = in[n->n_in] == EML_ABSENT ? NULL : &b->known[in[n->n_in]];
    }
    for (uint32_t i = 0; i < s.n_attr; i++) {
        int64_t *v = eml_arena_array(&b->arena, 8, sizeof *v);
        memcpy(v, s.attr[i].v, sizeof s.attr[i].v);
        attr[i] = (struct eml_attr){s.attr[i].id, s.attr[i].n, v};
    }
    if (s.n_params > 0)
        n->params = gb_slot(b, EML_DT_F32, SHAPE(s.n_params), s.params);
    struct eml_why why = {0};
    enum eml_err e = eml_infer_node(n, known, results, &b->arena, &why);
    if (e != EML_OK)
        fail_msg("%s: %s", eml_op_info(s.op)->name, why.rule);
    for (uint32_t i = 0; i < n_out; i++) {
        out[i] = gb_value(b, (struct eml_value){.kind = EML_VALUE_NODE, .dtype = results[i].dtype});
        b->known[out[i]] = results[i];
    }
    return out[0];
}
#define NODE(b, OP, ...) gb_add((b), (struct gb_node){.op = EML_OP_##OP, __VA_ARGS__})
#define OF(...) .in = {__VA_ARGS__, GB_END}
#define WITH1(ID, ...)                                                                             \
    .attr = {{EML_ATTR_##ID, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}}},  \
    .n_attr = 1

static inline void gb_output(struct gb *b, uint32_t id)
{
    b->outputs[b->g.n_outputs++].value = id;
}

/* What one run left. */
struct gb_result {
    struct eml_plan *plan;
    struct eml_tensor out[GB_IO];
    struct eml_why why;
    enum eml_err e;
};

/* Weights as a source of blocks that keeps to what it promises, and checks who asks. */
struct gb_source {
    const struct gb *b;
    struct eml_room window;
    bool parts;        /* of less than a block, too */
    _Atomic long left; /* fetches until one fails; negative: none does */
    _Atomic size_t fetches, bytes;
};

static inline enum eml_err gb_give(struct gb_source *s, size_t at, struct eml_room out)
{
    atomic_fetch_add(&s->fetches, 1);
    atomic_fetch_add(&s->bytes, out.len);
    if (atomic_load(&s->left) >= 0 && atomic_fetch_sub(&s->left, 1) <= 0) {
        memset(out.ptr, 0x55, out.len);
        return EML_E_AUTH;
    }
    memcpy(out.ptr, s->b->weights + at, out.len);
    return EML_OK;
}

static inline enum eml_err gb_fetch(void *ctx, uint64_t block, struct eml_room out)
{
    struct gb_source *s = ctx;
    size_t at = (size_t)block * EML_WEIGHTS_BLOCK;
    if (at >= GB_WEIGHTS || out.len != EML_WEIGHTS_BLOCK || out.ptr < s->window.ptr ||
        out.ptr + out.len > s->window.ptr + s->window.len)
        EML_BUG(); /* clear text outside of the window */
    return gb_give(s, at, out);
}

/* Parts may go to the activations. */
static inline enum eml_err gb_fetch_part(void *ctx, uint64_t at, struct eml_room out)
{
    if (out.len == 0 || at >= GB_WEIGHTS || out.len > GB_WEIGHTS - at ||
        at % EML_WEIGHTS_BLOCK + out.len > EML_WEIGHTS_BLOCK)
        EML_BUG();
    return gb_give(ctx, (size_t)at, out);
}

static inline struct eml_weights_source gb_source_of(struct gb_source *s, uint64_t blocks)
{
    return (struct eml_weights_source){
        .ctx = s,
        .blocks = blocks,
        .fetch = gb_fetch,
        .fetch_part = s->parts ? gb_fetch_part : NULL,
    };
}

/* Runs a plan from blocks, the window full of garbage before. */
static inline enum eml_err gb_run_sealed(struct gb *b, const struct eml_plan *p,
                                         const struct eml_tensor *in, struct eml_room activations,
                                         struct eml_pool *pool, struct gb_source *s,
                                         struct eml_tensor *out, struct eml_why *why)
{
    size_t mark = eml_arena_mark(&b->arena), n = eml_plan_window_bytes(p);
    s->b = b;
    s->window = (struct eml_room){eml_arena_alloc(&b->arena, n, 64), n};
    assert_non_null(s->window.ptr);
    memset(s->window.ptr, 0xa7, n);
    const struct eml_weights_source source = gb_source_of(s, GB_WEIGHTS / EML_WEIGHTS_BLOCK);
    enum eml_err e = eml_plan_run_sealed(p, &source, s->window, in, activations, pool, out, why);
    for (uint32_t i = 0; e == EML_OK && i < b->g.n_outputs; i++) {
        const uint8_t *data = out[i].data;
        assert_true(data < s->window.ptr || data >= s->window.ptr + n);
    }
    (void)eml_arena_reset(&b->arena, mark); /* wipes: nothing may depend on it any more */
    return e;
}

/* A run from sealed weights gives the same, bit for bit, and the same error. */
static inline void gb_assert_same_from(struct gb *b, const struct gb_result *want,
                                       const struct eml_tensor *in, struct eml_pool *pool,
                                       uint8_t garbage, bool parts)
{
    struct eml_tensor out[GB_IO];
    struct eml_why why = {0};
    struct gb_source s = {.left = -1, .parts = parts};
    size_t n = eml_plan_activation_bytes(want->plan);
    uint8_t *room = eml_arena_alloc(&b->arena, n, 64);
    assert_non_null(room);
    memset(room, garbage, n);
    enum eml_err e =
        gb_run_sealed(b, want->plan, in, (struct eml_room){room, n}, pool, &s, out, &why);
    if (e != want->e)
        fail_msg("sealed: %s; in clear: %s", why.rule, want->why.rule);
    for (uint32_t i = 0; e == EML_OK && i < b->g.n_outputs; i++) {
        assert_int_equal(out[i].bytes, want->out[i].bytes);
        if (out[i].bytes > 0)
            assert_memory_equal(out[i].data, want->out[i].data, out[i].bytes);
    }
}

static inline void gb_assert_same_sealed(struct gb *b, const struct gb_result *want,
                                         const struct eml_tensor *in, struct eml_pool *pool,
                                         uint8_t garbage)
{
    gb_assert_same_from(b, want, in, pool, garbage, false);
    gb_assert_same_from(b, want, in, pool, garbage, true);
}

/* Plans and runs with the inputs' shapes as declared; data in the order of the inputs. The memory
 * of the activations is filled with `garbage` first. Then again from sealed weights, to the same
 * end. */
static inline struct gb_result gb_run(struct gb *b, const void *const *data, enum eml_isa isa,
                                      unsigned threads, bool no_reuse, uint8_t garbage)
{
    struct gb_result r = {0};
    struct eml_tensor in[GB_IO] = {{0}};
    for (uint32_t i = 0; i < b->g.n_inputs; i++) {
        const struct eml_known *k = &b->known[b->inputs[i].value];
        in[i] =
            (struct eml_tensor){.dtype = k->dtype,
                                .shape = k->shape,
                                .data = data[i],
                                .bytes = (size_t)gb_count(k->shape) * eml_dtype_bytes(k->dtype)};
    }
    const struct eml_plan_options options = {.no_reuse = no_reuse, .always_share = true};
    r.e = eml_plan_make_with(&b->g, in, isa, threads, NULL, &options, &b->arena, &r.plan, &r.why);
    if (r.e != EML_OK)
        return r;
    size_t n = eml_plan_activation_bytes(r.plan);
    uint8_t *room = eml_arena_alloc(&b->arena, n, 64);
    assert_non_null(room);
    memset(room, garbage, n);
    struct eml_pool *pool = NULL;
    assert_int_equal(eml_pool_create(threads, &pool), EML_OK);
    r.e = eml_plan_run(r.plan, eml_bytes(b->weights, GB_WEIGHTS), in, (struct eml_room){room, n},
                       pool, r.out, &r.why);
    if (r.plan->dynamic == NULL)
        gb_assert_same_sealed(b, &r, in, pool, garbage);
    eml_pool_destroy(pool);
    return r;
}

static inline struct gb_result gb_run_ok(struct gb *b, const void *const *data)
{
    struct gb_result r = gb_run(b, data, EML_ISA_AUTO, 2, false, 0xa5);
    if (r.e != EML_OK)
        fail_msg("%s at node %ld", r.why.rule, r.why.index);
    return r;
}

#endif
