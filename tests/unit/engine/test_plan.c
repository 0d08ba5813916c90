#include "graph_builder.h"

static void fill(struct eml_gen *g, float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = eml_gen_f32(g, -2, 2);
}

static void shapes_are_computed_while_planning(void **state)
{
    (void)state;
    /* x [2,3,4] -> reshape to [shape(x)[0], -1], with the arithmetic that exporters write */
    struct gb *b = gb_new();
    uint32_t x = gb_input(b, EML_DT_F32, SHAPE(2, 3, 4));
    uint32_t shape = NODE(b, SHAPE, OF(x));
    uint32_t n = NODE(b, GATHER, OF(shape, INTS(b, 0)));
    uint32_t to = NODE(b, CONCAT, OF(n, INTS(b, -1)), WITH1(AXIS, 0));
    uint32_t y = NODE(b, RESHAPE, OF(x, to));
    uint32_t z = NODE(b, RELU, OF(y));
    gb_output(b, z);
    gb_output(b, shape);
    float data[24];
    for (int i = 0; i < 24; i++)
        data[i] = (float)(i - 12);
    struct gb_result r = gb_run_ok(b, (const void *[]){data});
    assert_int_equal(r.plan->n_steps, 1); /* Relu alone runs */
    assert_int_equal(r.out[0].shape.rank, 2);
    assert_int_equal(r.out[0].shape.dim[1], 12);
    for (int i = 0; i < 24; i++)
        assert_true(((const float *)r.out[0].data)[i] == (i < 12 ? 0.0f : data[i]));
    assert_int_equal(r.out[1].dtype, EML_DT_I64);
    assert_int_equal(((const int64_t *)r.out[1].data)[2], 4);
    gb_free(b);
}

static void an_input_can_steer_a_shape(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    uint32_t x = gb_input(b, EML_DT_F32, SHAPE(4));
    uint32_t to = gb_input(b, EML_DT_I64, SHAPE(2));
    gb_output(b, NODE(b, RELU, OF(NODE(b, RESHAPE, OF(x, to)))));
    gb_output(b, NODE(b, NEG, OF(to)));
    float data[4] = {1, 2, 3, 4};
    int64_t shape[2] = {2, -1};
    struct gb_result r = gb_run_ok(b, (const void *[]){data, shape});
    assert_int_equal(r.out[0].shape.rank, 2);
    assert_int_equal(r.out[0].shape.dim[1], 2);
    assert_memory_equal(r.out[0].data, data, sizeof data);
    assert_int_equal(((const int64_t *)r.out[1].data)[0], -2);
    /* The plan is for these elements only. */
    struct eml_tensor in[2] = {
        {.dtype = EML_DT_F32, .shape = SHAPE(4), .data = data, .bytes = sizeof data},
        {.dtype = EML_DT_I64, .shape = SHAPE(2), .data = shape, .bytes = sizeof shape}};
    struct eml_tensor out[2];
    struct eml_room room = {eml_arena_alloc(&b->arena, 4096, 64), 4096};
    struct eml_bytes weights = eml_bytes(b->weights, GB_WEIGHTS);
    assert_int_equal(eml_plan_run(r.plan, weights, in, room, NULL, out, &r.why), EML_OK);
    shape[0] = 4;
    assert_int_equal(eml_plan_run(r.plan, weights, in, room, NULL, out, &r.why), EML_E_USAGE);
    gb_free(b);
}

static void a_shape_that_depends_on_data_is_found_while_running(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    uint32_t x = gb_input(b, EML_DT_F32, SHAPE(4));
    uint32_t to = gb_input(b, EML_DT_I64, SHAPE(2));
    uint32_t sum = NODE(b, CUM_SUM, OF(to, INTS(b, 0))); /* known only at run time */
    gb_output(b, NODE(b, RELU, OF(NODE(b, RESHAPE, OF(x, sum)))));
    float data[4] = {0, 1, 2, 3};
    int64_t shape[2] = {2, 0};
    struct gb_result r = gb_run_ok(b, (const void *[]){data, shape});
    assert_int_equal(r.out[0].shape.rank, 2);
    assert_int_equal(r.out[0].shape.dim[1], 2);
    assert_memory_equal(r.out[0].data, data, sizeof data);
    shape[1] = 1; /* [2, 3] is no shape of four elements */
    size_t mark = eml_arena_mark(&b->arena);
    r = gb_run(b, (const void *[]){data, shape}, EML_ISA_REF, 1, false, 0);
    assert_int_equal(r.e, EML_E_INPUT);
    assert_int_equal(r.why.index, 1);
    (void)eml_arena_reset(&b->arena, mark);
    gb_free(b);
}

static unsigned threads_of_product(int64_t n, unsigned threads)
{
    struct gb *b = gb_new();
    uint32_t x = gb_input(b, EML_DT_F32, SHAPE(n, n)), y = gb_input(b, EML_DT_F32, SHAPE(n, n));
    gb_output(b, NODE(b, MATMUL, OF(x, y)));
    const size_t bytes = (size_t)(n * n) * sizeof(float);
    const struct eml_tensor in[2] = {{.dtype = EML_DT_F32, .shape = SHAPE(n, n), .bytes = bytes},
                                     {.dtype = EML_DT_F32, .shape = SHAPE(n, n), .bytes = bytes}};
    struct eml_plan *p;
    struct eml_why why;
    assert_int_equal(eml_plan_make(&b->g, in, EML_ISA_REF, threads, NULL, &b->arena, &p, &why),
                     EML_OK);
    unsigned used = eml_plan_threads(p);
    gb_free(b);
    return used;
}

/* A run that is over before another thread has joined is the caller's. */
static void short_runs_are_not_shared(void **state)
{
    (void)state;
    assert_int_equal(threads_of_product(64, 2), 1);   /* half a million operations */
    assert_int_equal(threads_of_product(1024, 2), 2); /* two thousand million */
    assert_int_equal(threads_of_product(1024, 1), 1);
}

static void budgets_and_inputs_are_checked(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    uint32_t x = gb_input(b, EML_DT_F32, SHAPE(EML_DIM_UNKNOWN, 64));
    b->known[x].shape.dim[0] = 64;
    float w[64 * 64] = {0};
    uint32_t m = gb_slot(b, EML_DT_F32, SHAPE(64, 64), w);
    gb_output(b, NODE(b, MATMUL, OF(x, m)));
    struct eml_tensor in = {
        .dtype = EML_DT_F32, .shape = SHAPE(64, 64), .data = w, .bytes = sizeof w};
    struct eml_plan *p;
    struct eml_why why;
    struct eml_budget budget = {.activation_bytes = 1 << 20, .flops = 2 * 64 * 64 * 64};
    assert_int_equal(eml_plan_make(&b->g, &in, EML_ISA_REF, 1, &budget, &b->arena, &p, &why),
                     EML_OK);
    assert_int_equal(eml_plan_flops(p), budget.flops);
    budget.flops--;
    assert_int_equal(eml_plan_make(&b->g, &in, EML_ISA_REF, 1, &budget, &b->arena, &p, &why),
                     EML_E_REFUSED);
    assert_null(p);
    budget = (struct eml_budget){.activation_bytes = 64 * 64 * 4, .flops = UINT64_MAX};
    assert_int_equal(eml_plan_make(&b->g, &in, EML_ISA_REF, 1, &budget, &b->arena, &p, &why),
                     EML_E_REFUSED);
    assert_string_equal(why.rule, "memory budget exceeded");
    static const struct {
        enum eml_dtype t;
        uint32_t rank;
        int64_t dim[2];
    } wrong[] = {{EML_DT_F64, 2, {64, 64}},
                 {EML_DT_F32, 1, {64}},
                 {EML_DT_F32, 2, {64, 63}},
                 {EML_DT_F32, 2, {-1, 64}},
                 {EML_DT_F32, 2, {INT64_MAX / 64, 64}}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        in.dtype = wrong[i].t;
        in.shape = gb_shape(wrong[i].rank, wrong[i].dim);
        assert_int_equal(eml_plan_make(&b->g, &in, EML_ISA_REF, 1, NULL, &b->arena, &p, &why),
                         EML_E_INPUT);
    }
    gb_free(b);
}

static void a_full_arena_is_an_error(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    uint32_t x = gb_input(b, EML_DT_F32, SHAPE(8, 8));
    uint32_t y = NODE(b, RELU, OF(x));
    gb_output(b, NODE(b, ADD, OF(y, x)));
    gb_output(b, NODE(b, SHAPE, OF(y)));
    struct eml_tensor in = {.dtype = EML_DT_F32, .shape = SHAPE(8, 8), .bytes = 256};
    bool made = false;
    for (size_t size = 4096; !made && size < 1 << 20; size += 4096) {
        struct eml_arena small;
        struct eml_plan *p;
        struct eml_why why;
        assert_int_equal(eml_arena_create(&small, size), EML_OK);
        enum eml_err e = eml_plan_make(&b->g, &in, EML_ISA_REF, 1, NULL, &small, &p, &why);
        made = e == EML_OK;
        assert_true(made || e == EML_E_SYSTEM || e == EML_E_UNSUPPORTED);
        assert_true(made || p == NULL);
        (void)eml_arena_destroy(&small);
    }
    assert_true(made);
    gb_free(b);
}

static void buffers_in_use_together_do_not_overlap(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("buffers_in_use_together_do_not_overlap");
    struct eml_arena arena;
    assert_int_equal(eml_arena_create(&arena, 1 << 20), EML_OK);
    for (int round = 0; round < 300; round++) {
        struct eml_buffer b[100];
        uint32_t n = (uint32_t)eml_gen_range(&g, 0, 100);
        size_t end, highest = 0, sum = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t first = (uint32_t)eml_gen_range(&g, 0, 50);
            b[i] = (struct eml_buffer){first, first + (uint32_t)eml_gen_range(&g, 0, 8),
                                       64 * (size_t)eml_gen_range(&g, 1, 40), 0};
            sum += b[i].bytes;
        }
        assert_true(eml_buffers_place(b, n, false, &arena, &end));
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(b[i].offset % 64, 0);
            highest = b[i].offset + b[i].bytes > highest ? b[i].offset + b[i].bytes : highest;
            for (uint32_t j = 0; j < i; j++)
                assert_true(b[i].first > b[j].last || b[j].first > b[i].last ||
                            b[i].offset >= b[j].offset + b[j].bytes ||
                            b[j].offset >= b[i].offset + b[i].bytes);
        }
        assert_int_equal(end, highest);
        assert_true(n < 50 || end < sum); /* something is reused */
        (void)eml_arena_reset(&arena, 0);
    }
    (void)eml_arena_destroy(&arena);
}

static void a_chain_runs_in_place(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    uint32_t x = gb_input(b, EML_DT_F32, SHAPE(1000));
    uint32_t v = x;
    for (int i = 0; i < 10; i++)
        v = NODE(b, NEG, OF(v));
    gb_output(b, v);
    float data[1000];
    for (int i = 0; i < 1000; i++)
        data[i] = (float)i;
    struct gb_result r = gb_run_ok(b, (const void *[]){data});
    assert_int_equal(r.plan->n_buffers, 1);
    assert_memory_equal(r.out[0].data, data, sizeof data);
    gb_free(b);
}

/* A random graph of operators that share, view, broadcast and split. */
static uint32_t random_node(struct gb *b, struct eml_gen *g, uint32_t *live, uint32_t n)
{
    uint32_t x = live[eml_gen_range(g, 0, n - 1)], z = live[eml_gen_range(g, 0, n - 1)];
    const struct eml_shape *s = &b->known[x].shape;
    bool same = memcmp(s, &b->known[z].shape, sizeof *s) == 0;
    switch (eml_gen_range(g, 0, 13)) {
    case 0:
        return NODE(b, RELU, OF(x));
    case 1:
        return NODE(b, SIGMOID, OF(x));
    case 2:
        return same ? NODE(b, ADD, OF(x, z)) : NODE(b, NEG, OF(x));
    case 3:
        return same ? NODE(b, MUL, OF(z, x)) : NODE(b, ABS, OF(x));
    case 4: /* an operand that is read again after the first sum */
        return same ? NODE(b, SUM, OF(x, z, x)) : NODE(b, TANH, OF(x));
    case 5:
        return NODE(b, RESHAPE, OF(x, INTS(b, -1)));
    case 6:
        return NODE(b, RESHAPE, OF(x, INTS(b, 4, -1)));
    case 7:
        return NODE(b, TRANSPOSE, OF(x));
    case 8:
        return NODE(b, SPLIT, OF(x), .n_out = 2);
    case 9:
        return NODE(b, CONCAT, OF(x, x), WITH1(AXIS, -1));
    case 10:
        return NODE(b, SOFTMAX, OF(x), WITH1(AXIS, 0));
    case 11: {
        uint32_t sum = NODE(b, REDUCE_MEAN, OF(x, INTS(b, -1)));
        return NODE(b, SUB, OF(x, sum));
    }
    case 12: {
        uint32_t q = NODE(b, LESS, OF(x, x));
        return NODE(b, WHERE, OF(q, x, x));
    }
    default:
        return NODE(b, IDENTITY, OF(x));
    }
}

static void reuse_of_memory_changes_nothing(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("reuse_of_memory_changes_nothing");
    for (int round = 0; round < 300; round++) {
        struct gb *b = gb_new();
        static float data[2][64];
        uint32_t live[64], n = 0;
        live[n++] = gb_input(b, EML_DT_F32, SHAPE(4, 16));
        live[n++] = gb_input(b, EML_DT_F32, SHAPE(4, 16));
        fill(&g, data[0], 64);
        fill(&g, data[1], 64);
        for (int64_t k = eml_gen_range(&g, 1, 20); k > 0; k--) {
            uint32_t id = random_node(b, &g, live, n);
            if (gb_count(b->known[id].shape) <= 4096 && gb_count(b->known[id].shape) % 4 == 0 &&
                gb_count(b->known[id].shape) > 0)
                live[n++] = id;
        }
        for (int i = 0; i < 3; i++)
            gb_output(b, live[eml_gen_range(&g, 0, n - 1)]);
        const void *in[2] = {data[0], data[1]};
        struct gb_result plain = gb_run(b, in, EML_ISA_AUTO, 1, true, 0x00);
        struct gb_result reused = gb_run(b, in, EML_ISA_AUTO, 2, false, 0xff);
        assert_int_equal(plain.e, EML_OK);
        assert_int_equal(reused.e, EML_OK);
        assert_true(eml_plan_activation_bytes(reused.plan) <=
                    eml_plan_activation_bytes(plain.plan));
        for (int i = 0; i < 3; i++) {
            assert_int_equal(plain.out[i].bytes, reused.out[i].bytes);
            assert_memory_equal(plain.out[i].data, reused.out[i].data, plain.out[i].bytes);
        }
        gb_free(b);
    }
}

static void misuse_of_run_is_refused(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    uint32_t x = gb_input(b, EML_DT_F32, SHAPE(16));
    float w[16] = {1};
    gb_output(b, NODE(b, ADD, OF(x, gb_slot(b, EML_DT_F32, SHAPE(16), w))));
    struct gb_result r = gb_run_ok(b, (const void *[]){w});
    struct eml_tensor in = {.dtype = EML_DT_F32, .shape = SHAPE(16), .data = w, .bytes = sizeof w};
    struct eml_tensor out[1];
    struct eml_why why;
    uint8_t *room = eml_arena_alloc(&b->arena, 4096, 64);
    struct eml_room all = {room, 4096};
    struct eml_bytes weights = eml_bytes(b->weights, GB_WEIGHTS);
    assert_int_equal(eml_plan_run(r.plan, weights, &in, all, NULL, out, &why), EML_OK);
    assert_int_equal(eml_plan_run(r.plan, eml_bytes(b->weights, 60), &in, all, NULL, out, &why),
                     EML_E_USAGE);
    assert_null(out[0].data);
    struct eml_room small = {room, eml_plan_activation_bytes(r.plan) - 1};
    assert_int_equal(eml_plan_run(r.plan, weights, &in, small, NULL, out, &why), EML_E_USAGE);
    struct eml_room crooked = {room + 4, 4000};
    assert_int_equal(eml_plan_run(r.plan, weights, &in, crooked, NULL, out, &why), EML_E_USAGE);
    in.shape.dim[0] = 15;
    assert_int_equal(eml_plan_run(r.plan, weights, &in, all, NULL, out, &why), EML_E_USAGE);
    struct eml_pool *pool;
    assert_int_equal(eml_pool_create(3, &pool), EML_OK);
    in.shape.dim[0] = 16;
    assert_int_equal(eml_plan_run(r.plan, weights, &in, all, pool, out, &why), EML_E_USAGE);
    eml_pool_destroy(pool);
    gb_free(b);
}

static void hostile_layouts_and_params_are_refused(void **state)
{
    (void)state;
    struct gb *b = gb_new();
    uint32_t x = gb_input(b, EML_DT_F32, SHAPE(16));
    float w[16] = {1};
    uint32_t slot = gb_slot(b, EML_DT_F32, SHAPE(16), w);
    gb_output(b, NODE(b, ADD, OF(x, slot)));
    b->values[slot].layout = EML_LAYOUT_PANEL16;
    struct gb_result r = gb_run(b, (const void *[]){w}, EML_ISA_REF, 1, false, 0);
    assert_int_equal(r.e, EML_E_INPUT);
    b->values[slot].layout = EML_LAYOUT_PLAIN;
    b->values[slot].bytes = 60;
    r = gb_run(b, (const void *[]){w}, EML_ISA_REF, 1, false, 0);
    assert_int_equal(r.e, EML_E_INPUT);
    assert_string_equal(r.why.rule, "slot is shorter than its shape");
    b->values[slot].bytes = 64;
    b->nodes[0].op = EML_OP_ELU;
    b->nodes[0].n_in = 1;
    r = gb_run(b, (const void *[]){w}, EML_ISA_REF, 1, false, 0);
    assert_string_equal(r.why.rule, "too few params for the operator");
    gb_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_computed_while_planning),
        cmocka_unit_test(an_input_can_steer_a_shape),
        cmocka_unit_test(a_shape_that_depends_on_data_is_found_while_running),
        cmocka_unit_test(short_runs_are_not_shared),
        cmocka_unit_test(budgets_and_inputs_are_checked),
        cmocka_unit_test(a_full_arena_is_an_error),
        cmocka_unit_test(buffers_in_use_together_do_not_overlap),
        cmocka_unit_test(a_chain_runs_in_place),
        cmocka_unit_test(reuse_of_memory_changes_nothing),
        cmocka_unit_test(misuse_of_run_is_refused),
        cmocka_unit_test(hostile_layouts_and_params_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
