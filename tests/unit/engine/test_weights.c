/* Weights that are opened while a plan runs: large operands column by column, tables by rows, slots
 * anywhere in the stream and used again, failures at every block. */
#include "graph_builder.h"

static void fill_floats(struct eml_gen *g, uint8_t *to, size_t bytes)
{
    float v[64];
    for (size_t i = 0; i < 64; i++)
        v[i] = eml_gen_f32(g, -1, 1);
    for (size_t i = 0; i < bytes / sizeof(float); i++) {
        float f = v[(i * 7 + i / 64) % 64];
        memcpy(to + i * sizeof f, &f, sizeof f);
    }
}

/* A float slot of any layout at a random place; places may overlap. */
static uint32_t slot_at(struct gb *b, struct eml_gen *g, struct eml_shape s, enum eml_layout l,
                        size_t bytes)
{
    size_t last = (GB_WEIGHTS - bytes) / 64, step = eml_gen_bool(g) ? 1 : EML_WEIGHTS_BLOCK / 64;
    size_t at = (size_t)eml_gen_range(g, 0, (int64_t)(last / step)) * step;
    return gb_value(b, (struct eml_value){.kind = EML_VALUE_SLOT,
                                          .dtype = EML_DT_F32,
                                          .shape = s,
                                          .layout = l,
                                          .offset = at * 64,
                                          .bytes = bytes});
}

static uint32_t vector_slot(struct gb *b, struct eml_gen *g, int64_t n)
{
    return slot_at(b, g, SHAPE(n), EML_LAYOUT_PLAIN, (size_t)n * sizeof(float));
}

static size_t panels(int64_t n)
{
    return (size_t)(n + 15) / 16 * 16 * sizeof(float);
}

/* [m, k] -> [m, n] */
static uint32_t add_product(struct gb *b, struct eml_gen *g, uint32_t x, int64_t k, int64_t n)
{
    uint32_t w = slot_at(b, g, SHAPE(k, n), EML_LAYOUT_PANEL16, (size_t)k * panels(n));
    return NODE(b, MATMUL, OF(x, w, vector_slot(b, g, n)));
}

static uint32_t add_conv(struct gb *b, struct eml_gen *g, uint32_t x, int64_t c, int64_t o)
{
    int64_t side = eml_gen_bool(g) ? 3 : 1, half = side / 2;
    uint32_t w = slot_at(b, g, SHAPE(o, c, side, side), EML_LAYOUT_PANEL16,
                         (size_t)(side * side * c) * panels(o));
    return NODE(b, CONV, OF(x, w, vector_slot(b, g, o)),
                .attr = {{EML_ATTR_PADS, 4, {half, half, half, half}}}, .n_attr = 1);
}

static int64_t some_width(struct eml_gen *g)
{
    return eml_gen_range(g, 0, 3) == 0 ? eml_gen_range(g, 1200, 1900) : eml_gen_range(g, 1, 300);
}

/* Rows of a table through products; sometimes an image through convolutions as well. */
static void some_graph(struct gb *b, struct eml_gen *g, int64_t rows)
{
    int64_t width = eml_gen_range(g, 1, 400), entries = eml_gen_range(g, 1, 4000);
    uint32_t index = gb_input(b, EML_DT_I64, SHAPE(rows));
    uint32_t table = slot_at(b, g, SHAPE(entries, width), EML_LAYOUT_PLAIN,
                             (size_t)(entries * width) * sizeof(float));
    uint32_t x = NODE(b, GATHER, OF(table, index), WITH1(AXIS, 0));
    for (int64_t i = eml_gen_range(g, 1, 4); i > 0; i--) {
        int64_t to = some_width(g);
        x = add_product(b, g, x, width, to);
        width = to;
        x = NODE(b, ADD, OF(x, vector_slot(b, g, width)));
    }
    gb_output(b, x);
    if (eml_gen_bool(g))
        gb_output(b, table); /* a slot that is an output */
    int64_t c = eml_gen_range(g, 1, 300), o = eml_gen_range(g, 1, 500);
    uint32_t y = gb_input(b, EML_DT_F32, SHAPE(1, 9, 7, c));
    y = add_conv(b, g, y, c, o);
    y = add_conv(b, g, y, o, eml_gen_range(g, 1, 200));
    gb_output(b, y);
}

struct sample {
    struct gb *b;
    int64_t index[64];
    float image[9 * 7 * 300];
};

static void make_sample(struct sample *s, struct eml_gen *g)
{
    s->b = gb_new();
    fill_floats(g, s->b->weights, GB_WEIGHTS);
    int64_t rows = eml_gen_range(g, 1, 64);
    some_graph(s->b, g, rows);
    int64_t entries = s->b->values[1].shape.dim[0];
    for (int64_t i = 0; i < rows; i++)
        s->index[i] = eml_gen_range(g, -entries, entries - 1);
    fill_floats(g, (uint8_t *)s->image, sizeof s->image);
}

static void any_graph_runs_alike(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("any_graph_runs_alike");
    static struct sample s;
    for (int round = 0; round < 40; round++) {
        make_sample(&s, &g);
        enum eml_isa isa = round % 4 == 0 ? EML_ISA_AVX2 : EML_ISA_AUTO;
        struct gb_result r = gb_run(s.b, (const void *[]){s.index, s.image}, isa,
                                    (unsigned)eml_gen_range(&g, 1, 3), false, 0x3c);
        if (r.e != EML_OK)
            fail_msg("%s at node %ld", r.why.rule, r.why.index);
        gb_free(s.b);
    }
}

/* The window holds some columns of a large operand, not all of it; a table costs no window. */
static void window_is_small(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    const int64_t k = 512, n = 4096, entries = 4096;
    uint32_t index = gb_input(b, EML_DT_I64, SHAPE(3));
    uint32_t table = gb_value(b, (struct eml_value){.kind = EML_VALUE_SLOT,
                                                    .dtype = EML_DT_F32,
                                                    .shape = SHAPE(entries, k),
                                                    .bytes = (size_t)(entries * k) * 4});
    uint32_t w = gb_value(b, (struct eml_value){.kind = EML_VALUE_SLOT,
                                                .dtype = EML_DT_F32,
                                                .shape = SHAPE(k, n),
                                                .layout = EML_LAYOUT_PANEL16,
                                                .offset = (size_t)(entries * k) * 4,
                                                .bytes = (size_t)(k * n) * 4});
    uint32_t x = NODE(b, GATHER, OF(table, index), WITH1(AXIS, 0));
    gb_output(b, NODE(b, MATMUL, OF(x, w)));
    const int64_t rows[3] = {5, 4000, 5};
    struct gb_result r = gb_run_ok(b, (const void *[]){rows});
    assert_true(r.plan->weight_bytes == GB_WEIGHTS);
    assert_true(eml_plan_window_bytes(r.plan) < GB_WEIGHTS / 4);
    struct gb_source s = {.left = -1};
    struct eml_tensor out[GB_IO], in = {EML_DT_I64, SHAPE(3), rows, sizeof rows};
    size_t bytes = eml_plan_activation_bytes(r.plan);
    struct eml_room room = {eml_arena_alloc(&b->arena, bytes, 64), bytes};
    assert_int_equal(gb_run_sealed(b, r.plan, &in, room, NULL, &s, out, &r.why), EML_OK);
    /* every block of w once, and of the table's those with the two rows */
    assert_int_equal(s.fetches, (size_t)(k * n) * 4 / EML_WEIGHTS_BLOCK + 2);
    assert_int_equal(s.bytes, s.fetches * EML_WEIGHTS_BLOCK);
    /* in parts: every byte of w once, and the rows as often as they are asked for */
    struct gb_source parts = {.left = -1, .parts = true};
    assert_int_equal(gb_run_sealed(b, r.plan, &in, room, NULL, &parts, out, &r.why), EML_OK);
    assert_int_equal(parts.bytes, (size_t)(k * n + 3 * k) * 4);
    gb_free(b);
}

/* Whichever fetch fails: that error, no output, no crash over what was not opened. */
static void any_fetch_may_fail(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("any_fetch_may_fail");
    static struct sample s;
    for (int round = 0; round < 8; round++) {
        const bool parts = round % 2 == 1;
        make_sample(&s, &g);
        struct eml_tensor out[GB_IO], in[2];
        const void *const data[2] = {s.index, s.image};
        for (int i = 0; i < 2; i++) {
            const struct eml_known *k = &s.b->known[s.b->inputs[i].value];
            in[i] = (struct eml_tensor){k->dtype, k->shape, data[i],
                                        (size_t)gb_count(k->shape) * eml_dtype_bytes(k->dtype)};
        }
        struct eml_plan *p;
        struct eml_why why = {0};
        struct eml_pool *pool;
        assert_int_equal(eml_pool_create(2, &pool), EML_OK);
        const struct eml_plan_options options = {.always_share = true};
        assert_int_equal(
            eml_plan_make_with(&s.b->g, in, EML_ISA_AUTO, 2, NULL, &options, &s.b->arena, &p, &why),
            EML_OK);
        size_t n = eml_plan_activation_bytes(p);
        struct eml_room room = {eml_arena_alloc(&s.b->arena, n, 64), n};
        struct gb_source good = {.left = -1, .parts = parts};
        assert_int_equal(gb_run_sealed(s.b, p, in, room, pool, &good, out, &why), EML_OK);
        for (size_t at = 0; at < good.fetches; at += 1 + good.fetches / 16) {
            struct gb_source bad = {.left = (long)at, .parts = parts};
            enum eml_err e = gb_run_sealed(s.b, p, in, room, pool, &bad, out, &why);
            /* Two threads fetch a block at a seam once or twice, as they happen to meet. */
            assert_int_equal(e, bad.fetches > at ? EML_E_AUTH : EML_OK);
            for (uint32_t i = 0; e != EML_OK && i < s.b->g.n_outputs; i++)
                assert_null(out[i].data);
        }
        struct gb_source unused = {.left = -1};
        const struct eml_weights_source few = gb_source_of(&unused, 1);
        size_t w = eml_plan_window_bytes(p);
        struct eml_room window = {eml_arena_alloc(&s.b->arena, w, 64), w};
        assert_int_equal(eml_plan_run_sealed(p, &few, window, in, room, pool, out, &why),
                         EML_E_INPUT);
        window.len--;
        assert_int_equal(eml_plan_run_sealed(p, &few, window, in, room, pool, out, &why),
                         EML_E_USAGE);
        eml_pool_destroy(pool);
        gb_free(s.b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_graph_runs_alike),
        cmocka_unit_test(window_is_small),
        cmocka_unit_test(any_fetch_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
