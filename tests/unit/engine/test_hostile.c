/* Any graph that the planner accepts runs within its memory: nodes with random operands, shapes,
 * attributes and data, as a hostile topology key may hold them. Every buffer gets a canary behind
 * it (poisoned under the address sanitizer), which no operator may touch. */
#include "graph_builder.h"

#include "model/limits.h"

#if defined(__SANITIZE_ADDRESS__)
#define POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON 1
#endif
#endif
#ifdef POISON
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { GAP = 128, CANARY = 0xc7 };

#define ATTR(id, name) [EML_ATTR_##id] = name,
static const char *const NAMES[EML_ATTR_N] = {
#include "model/attrs.def"
};
#undef ATTR

/* An attribute of the operator's row, or any. */
static enum eml_attr_id some_attr(struct eml_gen *g, enum eml_op op)
{
    const char *row = eml_op_info(op)->attrs;
    int fallback = (int)eml_gen_range(g, 0, EML_ATTR_N - 1);
    for (int tries = 0; tries < 40; tries++) {
        int id = (int)eml_gen_range(g, 1, EML_ATTR_N - 1);
        const char *at = strstr(row, NAMES[id]);
        if (at != NULL && (at == row || at[-1] == ' ') && at[strlen(NAMES[id])] == '=')
            return (enum eml_attr_id)id;
    }
    return (enum eml_attr_id)fallback;
}

static int64_t some_int(struct eml_gen *g)
{
    static const int64_t odd[] = {-INT64_MAX, INT64_MAX, INT32_MAX, 1 << 20, -1, 1000};
    return eml_gen_range(g, 0, 14) == 0 ? odd[eml_gen_range(g, 0, 5)] : eml_gen_range(g, -3, 6);
}

static struct eml_shape some_shape(struct eml_gen *g, const struct eml_shape *like)
{
    if (like != NULL && eml_gen_range(g, 0, 2) != 0)
        return *like;
    struct eml_shape s = {.rank = (uint32_t)eml_gen_range(g, 0, 5)};
    for (uint32_t i = 0; i < s.rank; i++)
        s.dim[i] = eml_gen_range(g, 0, 30) == 0 ? 0 : eml_gen_range(g, 1, 6);
    return s;
}

struct hostile {
    struct gb *b;
    enum eml_dtype usual; /* type of most operands */
    const void *data[GB_IO];
    struct eml_tensor in[GB_IO];
};

static void *some_data(struct eml_gen *g, enum eml_dtype t, int64_t n)
{
    uint8_t *p = malloc((size_t)n * eml_dtype_bytes(t) + 1);
    assert_non_null(p);
    if (t == EML_DT_STRING) { /* records of any bytes */
        eml_gen_fill(g, p, (size_t)n * eml_dtype_bytes(t));
        return p;
    }
    for (int64_t i = 0; i < n; i++) {
        float f = eml_gen_range(g, 0, 30) == 0 ? (float)1e30 : eml_gen_f32(g, -3, 3);
        double d = (double)f;
        /* Also what no honest client writes: a bool of 6, an int4 of 1000. */
        int64_t v = some_int(g);
        const void *from = t == EML_DT_F32   ? (const void *)&f
                           : t == EML_DT_F64 ? (const void *)&d
                                             : (const void *)&v;
        memcpy(p + (size_t)i * eml_dtype_bytes(t), from, eml_dtype_bytes(t));
    }
    return p;
}

/* Mostly those that most operators take, but each of them. */
static enum eml_dtype some_type(struct eml_gen *g)
{
    static const enum eml_dtype usual[] = {EML_DT_F32,  EML_DT_I64, EML_DT_F32, EML_DT_U8,
                                           EML_DT_BOOL, EML_DT_I32, EML_DT_I8,  EML_DT_F32};
    for (;;) {
        uint64_t k = (uint64_t)eml_gen_range(g, 0, 60);
        enum eml_dtype t = k < 40 ? usual[k % 8] : (enum eml_dtype)(k - 40);
        if (eml_dtype_bytes(t) != 0)
            return t;
    }
}

static uint32_t some_operand(struct hostile *h, struct eml_gen *g, const struct eml_known *first)
{
    const struct eml_shape *like = first != NULL ? &first->shape : NULL;
    struct gb *b = h->b;
    if (eml_gen_range(g, 0, 9) == 0)
        return EML_ABSENT;
    if (eml_gen_range(g, 0, 2) == 0) {
        int64_t v[8];
        for (int i = 0; i < 8; i++)
            v[i] = some_int(g);
        return gb_ints(b, (uint32_t)eml_gen_range(g, 0, 6), v);
    }
    enum eml_dtype t = eml_gen_range(g, 0, 3) == 0 ? some_type(g) : h->usual;
    if (first != NULL && eml_gen_bool(g))
        t = first->dtype;
    struct eml_shape s = some_shape(g, like);
    uint32_t i = b->g.n_inputs;
    if (i == GB_IO)
        return EML_ABSENT;
    void *data = some_data(g, t, gb_count(s));
    if (eml_gen_range(g, 0, 3) == 0 && (size_t)gb_count(s) * 8 < 16384) {
        uint32_t id = gb_slot(b, t, s, data);
        free(data);
        return id;
    }
    h->data[i] = data;
    h->in[i] = (struct eml_tensor){.dtype = t,
                                   .shape = s,
                                   .data = h->data[i],
                                   .bytes = (size_t)gb_count(s) * eml_dtype_bytes(t)};
    return gb_input(b, t, s);
}

/* One that the row names, often float32. */
static enum eml_dtype type_of_row(struct eml_gen *g, uint32_t types)
{
    if (eml_types_has(types, EML_DT_F32) && eml_gen_bool(g))
        return EML_DT_F32;
    for (int tries = 0; tries < 100; tries++) {
        enum eml_dtype t = (enum eml_dtype)eml_gen_range(g, 1, EML_DT_LAST);
        if (eml_dtype_bytes(t) != 0 && eml_types_has(types, t))
            return t;
    }
    return EML_DT_F32;
}

/* One node, accepted or not; its outputs' types are what the rule says, so that the planner does
 * not stop at that. */
static bool some_node(struct hostile *h, struct eml_gen *g)
{
    struct gb *b = h->b;
    const enum eml_op op = (enum eml_op)eml_gen_range(g, 0, EML_OP_N - 1);
    const struct eml_op_info *info = eml_op_info(op);
    static uint32_t in[9], out[4];
    static struct eml_attr attr[4];
    static int64_t values[4][8];
    struct eml_node *n = &b->nodes[b->g.n_nodes++];
    h->usual = type_of_row(g, info->types);
    *n = (struct eml_node){.op = op, .in = in, .out = out, .attr = attr, .params = EML_ABSENT};
    n->n_in = (uint32_t)eml_gen_range(g, info->in_min, info->in_max < 9 ? info->in_max : 9);
    n->n_out = (uint32_t)eml_gen_range(g, 1, info->out_max < 3 ? info->out_max : 3);
    n->n_attr = (uint32_t)eml_gen_range(g, 0, 4);
    for (uint32_t i = 0; i < n->n_attr; i++) {
        attr[i] = (struct eml_attr){some_attr(g, op), (uint32_t)eml_gen_range(g, 1, 6), values[i]};
        for (int j = 0; j < 8; j++)
            values[i][j] = some_int(g);
    }
    const float params[8] = {0.5f, 0.25f, eml_gen_f32(g, -2, 2), 1, 0.125f};
    n->params = gb_slot(b, EML_DT_F32, SHAPE(8), params);
    const struct eml_known *known[9];
    struct eml_known results[4];
    for (uint32_t i = 0; i < n->n_in; i++) {
        in[i] = some_operand(h, g, i != 0 ? known[0] : NULL);
        known[i] = in[i] == EML_ABSENT ? NULL : &b->known[in[i]];
    }
    struct eml_why why;
    if (eml_infer_node(n, known, results, &b->arena, &why) != EML_OK)
        return false;
    for (uint32_t i = 0; i < n->n_out; i++) {
        out[i] = gb_value(b, (struct eml_value){.kind = EML_VALUE_NODE, .dtype = results[i].dtype});
        gb_output(b, out[i]);
    }
    return true;
}

/* Moves the buffers apart and runs. */
static enum eml_err run_with_canaries(struct hostile *h, struct eml_plan *p, struct eml_pool *pool)
{
    size_t at = 0;
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        p->buffers[i].offset = at;
        at += p->buffers[i].bytes + GAP;
    }
    p->activation_bytes = p->table_bytes + at;
    size_t room = (p->activation_bytes + 63) & ~(size_t)63;
    uint8_t *memory = aligned_alloc(64, room);
    size_t n_weights = h->b->weight_bytes + 64;
    uint8_t *weights = aligned_alloc(64, n_weights);
    assert_non_null(memory);
    assert_non_null(weights);
    memset(memory, CANARY, room);
    memcpy(weights, h->b->weights, n_weights);
    for (uint32_t i = 0; i < p->n_buffers; i++)
        ASAN_POISON_MEMORY_REGION(
            memory + p->table_bytes + p->buffers[i].offset + p->buffers[i].bytes, GAP);
    struct eml_tensor out[GB_IO];
    struct eml_why why;
    enum eml_err e = eml_plan_run(p, eml_bytes(weights, n_weights), h->in,
                                  (struct eml_room){memory, room}, pool, out, &why);
    if (p->dynamic == NULL) {
        struct gb_source s = {.left = -1};
        assert_int_equal(
            gb_run_sealed(h->b, p, h->in, (struct eml_room){memory, room}, pool, &s, out, &why), e);
    }
    ASAN_UNPOISON_MEMORY_REGION(memory, room);
    for (uint32_t i = 0; i < p->n_buffers; i++)
        for (size_t k = 0; k < GAP; k++)
            assert_int_equal(
                memory[p->table_bytes + p->buffers[i].offset + p->buffers[i].bytes + k], CANARY);
    assert_memory_equal(weights, h->b->weights, n_weights);
    free(memory);
    free(weights);
    return e;
}

static void what_is_accepted_stays_in_its_memory(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("what_is_accepted_stays_in_its_memory");
    const struct eml_budget budget = {.activation_bytes = 1 << 22, .flops = 1 << 24};
    struct eml_pool *pool;
    size_t runs[EML_OP_N] = {0}, total = 0;
    struct gb *b = gb_new();
    size_t mark = eml_arena_mark(&b->arena);
    assert_int_equal(eml_pool_create(2, &pool), EML_OK);
    for (int round = 0; round < 40000; round++) {
        struct hostile h = {.b = b};
        b->g.n_values = b->g.n_nodes = b->g.n_inputs = b->g.n_outputs = 0;
        b->weight_bytes = 0;
        struct eml_plan *p;
        struct eml_why why;
        if (some_node(&h, &g)) {
            const struct eml_plan_options options = {.no_reuse = eml_gen_bool(&g),
                                                     .always_share = true};
            enum eml_err e = eml_plan_make_with(&b->g, h.in, EML_ISA_AUTO, 2, &budget, &options,
                                                &b->arena, &p, &why);
            if (e == EML_OK) {
                e = run_with_canaries(&h, p, pool);
                if (e != EML_OK && e != EML_E_INPUT && e != EML_E_UNSUPPORTED && e != EML_E_REFUSED)
                    fail_msg("%s: %s", eml_op_info(b->nodes[0].op)->name, eml_err_name(e));
                runs[b->nodes[0].op]++;
                total++;
            }
        }
        for (int i = 0; i < GB_IO; i++)
            free((void *)(uintptr_t)h.data[i]);
        (void)eml_arena_reset(&b->arena, mark);
    }
    eml_pool_destroy(pool);
    gb_free(b);
    size_t ops = 0, candidates = 0;
    for (int i = 0; i < EML_OP_N; i++) {
        ops += runs[i] > 0;
        candidates += !eml_op_runs_dynamically((enum eml_op)i); /* those need bodies and lists */
    }
    assert_true(total > 2000);
    assert_true(ops > candidates * 3 / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_accepted_stays_in_its_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
