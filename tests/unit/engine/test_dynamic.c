/* Graphs that run node by node: bodies of each kind, lists, captures within captures, and what
 * bounds them: iterations, work, memory, depth. */
#include "graph_builder.h"

#include "engine/dynamic.h"
#include "model/limits.h"

enum { BODIES = 12 };

/* A graph builder and the bodies of its nodes, which are put together by hand. */
struct dyn {
    struct gb *b;
    struct gb *body[BODIES];
    struct eml_graph graphs[BODIES];
    uint32_t n;
};

static struct dyn open_dyn(void)
{
    return (struct dyn){.b = gb_new()};
}

static void close_dyn(struct dyn *d)
{
    for (uint32_t i = 0; i < d->n; i++)
        gb_free(d->body[i]);
    gb_free(d->b);
}

/* A new body; its inputs have no shape, but the builder's rules get `known`. */
static struct gb *body(struct dyn *d)
{
    assert_true(d->n < BODIES);
    return d->body[d->n++] = gb_new();
}

static uint32_t body_input(struct gb *b, enum eml_dtype t, struct eml_shape known)
{
    uint32_t id = gb_input(b, t, known);
    b->values[id].shape = SCALAR;
    return id;
}

/* A node that no rule of the builder knows: results of the given type. */
static uint32_t control(struct gb *b, enum eml_op op, const uint32_t *in, uint32_t n_in,
                        enum eml_dtype t, struct eml_shape known, uint32_t n_out,
                        const struct eml_attr *attr, uint32_t n_attr)
{
    struct eml_node *n = &b->nodes[b->g.n_nodes++];
    uint32_t *ins = eml_arena_array(&b->arena, n_in + 1, sizeof *ins);
    uint32_t *out = eml_arena_array(&b->arena, n_out, sizeof *out);
    struct eml_attr *attrs = eml_arena_array(&b->arena, n_attr + 1, sizeof *attrs);
    for (uint32_t i = 0; i < n_in; i++)
        ins[i] = in[i];
    for (uint32_t i = 0; i < n_attr; i++) {
        int64_t *v = eml_arena_array(&b->arena, 1, sizeof *v);
        *v = attr[i].v[0];
        attrs[i] = (struct eml_attr){attr[i].id, 1, v};
    }
    for (uint32_t i = 0; i < n_out; i++) {
        out[i] = gb_value(b, (struct eml_value){.kind = EML_VALUE_NODE, .dtype = t});
        b->known[out[i]] = (struct eml_known){.dtype = t, .has_rank = true, .shape = known};
    }
    *n = (struct eml_node){.op = op,
                           .n_in = n_in,
                           .n_out = n_out,
                           .n_attr = n_attr,
                           .in = ins,
                           .out = out,
                           .attr = attrs,
                           .params = EML_ABSENT};
    return out[0];
}
#define IDS(...) (const uint32_t[]){__VA_ARGS__}, (uint32_t)(sizeof((uint32_t[]){__VA_ARGS__}) / 4)
#define INT_OF(ID, v_) ((struct eml_attr){EML_ATTR_##ID, 1, (const int64_t[]){v_}})

struct outcome {
    enum eml_err e;
    struct eml_why why;
    struct eml_tensor out[GB_IO];
};

/* Runs from weights in clear. */
static void run_plan(struct gb *b, const struct eml_plan *p, const struct eml_tensor *in,
                     struct outcome *o)
{
    size_t n = eml_plan_activation_bytes(p);
    struct eml_room room = {eml_arena_alloc(&b->arena, n, 64), n};
    assert_non_null(room.ptr);
    o->e = eml_plan_run(p, eml_bytes(b->weights, GB_WEIGHTS), in, room, NULL, o->out, &o->why);
}

static void make_inputs(struct dyn *d, const void *const *data, struct eml_tensor *in)
{
    struct gb *b = d->b;
    for (uint32_t i = 0; i < d->n; i++)
        d->graphs[i] = d->body[i]->g;
    b->g.graphs = d->graphs;
    b->g.n_graphs = d->n;
    for (uint32_t i = 0; i < b->g.n_inputs; i++) {
        const struct eml_known *k = &b->known[b->inputs[i].value];
        in[i] = (struct eml_tensor){k->dtype, k->shape, data[i],
                                    (size_t)gb_count(k->shape) * eml_dtype_bytes(k->dtype)};
    }
}

/* Node by node. What can be planned all the same gives the same when it is. */
static struct outcome run_within(struct dyn *d, const void *const *data, struct eml_budget budget)
{
    struct outcome o = {.e = EML_OK}, planned = {.e = EML_OK};
    struct gb *b = d->b;
    struct eml_plan *p;
    struct eml_tensor in[GB_IO] = {{0}};
    make_inputs(d, data, in);
    assert_int_equal(eml_dynamic_plan(&b->g, EML_ISA_AUTO, 1, &budget, &b->arena, &p, &o.why),
                     EML_OK);
    run_plan(b, p, in, &o);
    planned.e = eml_plan_make(&b->g, in, EML_ISA_AUTO, 1, &budget, &b->arena, &p, &planned.why);
    if (planned.e == EML_OK && p->dynamic == NULL) {
        run_plan(b, p, in, &planned);
        for (uint32_t i = 0; o.e == EML_OK && i < b->g.n_outputs; i++) {
            assert_int_equal(planned.out[i].bytes, o.out[i].bytes);
            assert_memory_equal(planned.out[i].data, o.out[i].data, o.out[i].bytes);
        }
    }
    if (planned.e != EML_OK || p->dynamic == NULL)
        assert_int_equal(planned.e, o.e);
    return o;
}

static struct outcome run(struct dyn *d, const void *const *data)
{
    return run_within(d, data, (struct eml_budget){UINT64_MAX, UINT64_MAX});
}

static void assert_floats(const struct eml_tensor *t, const float *want, size_t n)
{
    assert_int_equal(t->dtype, EML_DT_F32);
    assert_int_equal(t->bytes, n * sizeof *want);
    for (size_t i = 0; i < n; i++)
        if (((const float *)t->data)[i] != want[i])
            fail_msg("element %zu: %g, not %g", i, (double)((const float *)t->data)[i],
                     (double)want[i]);
}

static void an_if_runs_one_branch_on_what_it_captures(void **state)
{
    (void)state;
    static const float x[2] = {1, -2}, y[2] = {10, 20};
    for (int yes = 0; yes < 2; yes++) {
        struct dyn d = open_dyn();
        const bool cond = yes != 0;
        uint32_t c = gb_input(d.b, EML_DT_BOOL, SCALAR), vx = gb_input(d.b, EML_DT_F32, SHAPE(2));
        uint32_t vy = gb_input(d.b, EML_DT_F32, SHAPE(2));
        struct gb *t = body(&d);
        uint32_t a = body_input(t, EML_DT_F32, SHAPE(2)), b = body_input(t, EML_DT_F32, SHAPE(2));
        gb_output(t, NODE(t, ADD, OF(a, b)));
        struct gb *e = body(&d);
        gb_output(e, NODE(e, NEG, OF(body_input(e, EML_DT_F32, SHAPE(2)))));
        gb_output(d.b,
                  control(d.b, EML_OP_IF, IDS(c, vx, vy, vx), EML_DT_F32, SHAPE(2), 1,
                          (const struct eml_attr[]){INT_OF(THEN_BRANCH, 0), INT_OF(ELSE_BRANCH, 1)},
                          2));
        struct outcome o = run(&d, (const void *[]){&cond, x, y});
        assert_int_equal(o.e, EML_OK);
        assert_floats(&o.out[0], yes != 0 ? (const float[]){11, 18} : (const float[]){-1, 2}, 2);
        close_dyn(&d);
    }
}

/* c == 16000 ? -(x + w0) : x + w1, by two Ifs, one in the other; w0 and w1 fill a block each. */
static void choose_by_rate(struct dyn *d)
{
    static float w[2][EML_WEIGHTS_BLOCK / sizeof(float)];
    const int64_t n = EML_WEIGHTS_BLOCK / sizeof(float);
    const struct eml_attr outer[] = {INT_OF(THEN_BRANCH, 0), INT_OF(ELSE_BRANCH, 1)};
    const struct eml_attr inner[] = {INT_OF(THEN_BRANCH, 2), INT_OF(ELSE_BRANCH, 3)};
    uint32_t rate = gb_input(d->b, EML_DT_I64, SHAPE(1)), x = gb_input(d->b, EML_DT_F32, SHAPE(n));
    uint32_t c = NODE(d->b, EQUAL, OF(rate, INTS(d->b, 16000)));
    struct gb *b[4];
    for (int i = 0; i < 4; i++)
        b[i] = body(d);
    for (int i = 0; i < 2; i++) {
        w[i][0] = w[i][n - 1] = (float)(i + 1);
        b[i]->weight_bytes = (size_t)i * EML_WEIGHTS_BLOCK;
    }
    uint32_t vx = body_input(b[0], EML_DT_F32, SHAPE(n)),
             vc = body_input(b[0], EML_DT_BOOL, SHAPE(1));
    uint32_t sum = NODE(b[0], ADD, OF(vx, gb_slot(b[0], EML_DT_F32, SHAPE(n), w[0])));
    gb_output(b[0], control(b[0], EML_OP_IF, IDS(vc, sum, sum), EML_DT_F32, SHAPE(n), 1, inner, 2));
    vx = body_input(b[1], EML_DT_F32, SHAPE(n));
    gb_output(b[1], NODE(b[1], ADD, OF(vx, gb_slot(b[1], EML_DT_F32, SHAPE(n), w[1]))));
    gb_output(b[2], NODE(b[2], NEG, OF(body_input(b[2], EML_DT_F32, SHAPE(n)))));
    gb_output(b[3], body_input(b[3], EML_DT_F32, SHAPE(n))); /* what it captured */
    gb_output(d->b, control(d->b, EML_OP_IF, IDS(c, x, c, x), EML_DT_F32, SHAPE(n), 1, outer, 2));
    memcpy(d->b->weights, w, sizeof w);
}

/* Planned, and only the weights of the branch are opened. */
static void a_branch_that_inputs_decide_is_planned(void **state)
{
    (void)state;
    static float x[EML_WEIGHTS_BLOCK / sizeof(float)] = {5};
    for (int yes = 0; yes < 2; yes++) {
        struct dyn d = open_dyn();
        const int64_t rate = yes != 0 ? 16000 : 8000, other = 1;
        struct gb_source s = {.left = -1};
        struct eml_why why = {0};
        struct eml_plan *p;
        struct eml_tensor in[GB_IO] = {{0}}, out[GB_IO];
        choose_by_rate(&d);
        struct outcome o = run(&d, (const void *[]){&rate, x});
        assert_int_equal(o.e, EML_OK);
        assert_true(((const float *)o.out[0].data)[0] == (yes != 0 ? -6 : 7));
        make_inputs(&d, (const void *[]){&rate, x}, in);
        assert_int_equal(eml_plan_make(&d.b->g, in, EML_ISA_AUTO, 1, NULL, &d.b->arena, &p, &why),
                         EML_OK);
        assert_null(p->dynamic);
        assert_int_equal(eml_plan_shape(p, d.b->outputs[0].value).dim[0], (int64_t)(sizeof x / 4));
        size_t n = eml_plan_activation_bytes(p);
        struct eml_room room = {eml_arena_alloc(&d.b->arena, n, 64), n};
        assert_int_equal(gb_run_sealed(d.b, p, in, room, NULL, &s, out, &why), EML_OK);
        assert_memory_equal(out[0].data, o.out[0].data, sizeof x);
        assert_int_equal(s.fetches, 1);
        in[0].data = &other; /* the plan is for the rate that it was made for */
        assert_int_equal(gb_run_sealed(d.b, p, in, room, NULL, &s, out, &why), EML_E_USAGE);
        close_dyn(&d);
    }
}

/* A key that says another type of an If than its branch gives is refused, as for any other node. */
static void a_planned_branch_gives_the_type_that_is_said(void **state)
{
    (void)state;
    static const float x[EML_WEIGHTS_BLOCK / sizeof(float)];
    const int64_t rate = 16000;
    struct dyn d = open_dyn();
    struct eml_why why = {0};
    struct eml_plan *p;
    struct eml_tensor in[GB_IO] = {{0}};
    choose_by_rate(&d);
    make_inputs(&d, (const void *[]){&rate, x}, in);
    d.b->values[d.b->outputs[0].value].dtype = EML_DT_I32;
    assert_int_equal(eml_plan_make(&d.b->g, in, EML_ISA_AUTO, 1, NULL, &d.b->arena, &p, &why),
                     EML_E_INPUT);
    assert_string_equal(why.rule, "value has another type than its node gives it");
    close_dyn(&d);
}

/* state = state + captured, as often as told; the states are stacked, too. */
static void loop(struct dyn *d, bool own_condition)
{
    struct gb *b = d->b;
    uint32_t trips = gb_input(b, EML_DT_I64, SCALAR), start = gb_input(b, EML_DT_F32, SHAPE(2));
    uint32_t more = gb_input(b, EML_DT_F32, SHAPE(2));
    struct gb *in = body(d);
    uint32_t at = body_input(in, EML_DT_I64, SCALAR), go = body_input(in, EML_DT_BOOL, SCALAR);
    uint32_t s = body_input(in, EML_DT_F32, SHAPE(2)), c = body_input(in, EML_DT_F32, SHAPE(2));
    const int64_t three = 3;
    uint32_t limit = gb_slot(in, EML_DT_I64, SCALAR, &three);
    uint32_t below = NODE(in, LESS, OF(at, limit));
    uint32_t sum = NODE(in, ADD, OF(s, c));
    gb_output(in, own_condition ? below : NODE(in, IDENTITY, OF(go)));
    gb_output(in, sum);
    gb_output(in, NODE(in, IDENTITY, OF(sum)));
    uint32_t out =
        control(b, EML_OP_LOOP, IDS(trips, EML_ABSENT, start, more), EML_DT_F32, SHAPE(2), 2,
                (const struct eml_attr[]){INT_OF(BODY, 0), INT_OF(CAPTURES, 1)}, 2);
    /* A slot of a body lies in the weights of the whole. */
    memcpy(b->weights, &three, sizeof three);
    b->weight_bytes = 64;
    gb_output(b, out);
    gb_output(b, out + 1);
}

static void a_loop_carries_its_state_and_stacks_results(void **state)
{
    (void)state;
    static const float start[2] = {0, 100}, more[2] = {1, 10};
    static const struct {
        int64_t trips;
        bool own;
        int64_t turns;
    } rows[] = {{2, false, 2}, {0, false, 0}, {-5, false, 0}, {9, true, 4}, {1, true, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dyn d = open_dyn();
        loop(&d, rows[i].own);
        struct outcome o = run(&d, (const void *[]){&rows[i].trips, start, more});
        assert_int_equal(o.e, EML_OK);
        float n = (float)rows[i].turns, last[2] = {n, 100 + 10 * n};
        assert_floats(&o.out[0], last, 2);
        if (rows[i].turns == 0) { /* nothing to stack */
            assert_int_equal(o.out[1].dtype, EML_DT_F32);
            assert_int_equal(o.out[1].bytes, 0);
        } else {
            assert_int_equal(o.out[1].shape.rank, 2);
            assert_int_equal(o.out[1].shape.dim[0], rows[i].turns);
            assert_floats(
                &(struct eml_tensor){.dtype = EML_DT_F32,
                                     .data = (const float *)o.out[1].data + 2 * (rows[i].turns - 1),
                                     .bytes = sizeof last},
                last, 2);
        }
        close_dyn(&d);
    }
}

static void a_run_stops_at_its_budgets(void **state)
{
    (void)state;
    static const float start[2] = {0}, more[2] = {0};
    static const struct {
        int64_t trips;
        struct eml_budget budget;
        const char *rule; /* NULL: runs */
    } rows[] = {
        {100, {1 << 20, 1 << 20}, NULL},
        {INT64_MAX, {UINT64_MAX, 1 << 20}, "budget of floating-point operations exceeded"},
        {INT64_MAX, {1 << 20, UINT64_MAX}, "memory budget exceeded"}, /* what is stacked */
        {100, {1 << 10, UINT64_MAX}, "memory budget exceeded"},
        {100, {1 << 20, 100}, "budget of floating-point operations exceeded"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dyn d = open_dyn();
        loop(&d, false);
        struct outcome o =
            run_within(&d, (const void *[]){&rows[i].trips, start, more}, rows[i].budget);
        assert_int_equal(o.e, rows[i].rule == NULL ? EML_OK : EML_E_REFUSED);
        if (rows[i].rule != NULL) {
            assert_string_equal(o.why.rule, rows[i].rule);
            assert_null(o.out[0].data);
        }
        close_dyn(&d);
    }
}

/* A loop that only counts: nothing but the number of its turns grows. */
static void iterations_are_bounded(void **state)
{
    (void)state;
    struct dyn d = open_dyn();
    struct gb *b = d.b;
    uint32_t trips = gb_input(b, EML_DT_I64, SCALAR), s = gb_input(b, EML_DT_BOOL, SCALAR);
    struct gb *in = body(&d);
    (void)body_input(in, EML_DT_I64, SCALAR);
    uint32_t go = body_input(in, EML_DT_BOOL, SCALAR), was = body_input(in, EML_DT_BOOL, SCALAR);
    in->g.n_outputs = 0;
    gb_output(in, go);
    gb_output(in, was);
    gb_output(b, control(b, EML_OP_LOOP, IDS(trips, EML_ABSENT, s), EML_DT_BOOL, SCALAR, 1,
                         (const struct eml_attr[]){INT_OF(BODY, 0), INT_OF(CAPTURES, 0)}, 2));
    const int64_t most = EML_ITERATIONS_MAX, over = most + 1;
    const bool no = false;
    assert_int_equal(run(&d, (const void *[]){&most, &no}).e, EML_OK);
    struct outcome o = run(&d, (const void *[]){&over, &no});
    assert_int_equal(o.e, EML_E_REFUSED);
    assert_string_equal(o.why.rule, "budget of iterations exceeded");
    close_dyn(&d);
}

static void scan_turns_both_ways(void **state)
{
    (void)state;
    static const float start[2] = {0, 0}, x[6] = {1, 2, 3, 4, 5, 6};
    for (int64_t back = 0; back < 2; back++) {
        struct dyn d = open_dyn();
        struct gb *b = d.b, *in = body(&d);
        uint32_t s = gb_input(b, EML_DT_F32, SHAPE(2)), v = gb_input(b, EML_DT_F32, SHAPE(3, 2));
        uint32_t sum =
            NODE(in, ADD,
                 OF(body_input(in, EML_DT_F32, SHAPE(2)), body_input(in, EML_DT_F32, SHAPE(2))));
        gb_output(in, sum);
        gb_output(in, NODE(in, IDENTITY, OF(sum)));
        uint32_t out =
            control(b, EML_OP_SCAN, IDS(s, v), EML_DT_F32, SHAPE(2), 2,
                    (const struct eml_attr[]){INT_OF(BODY, 0), INT_OF(NUM_SCAN_INPUTS, 1),
                                              INT_OF(SCAN_INPUT_DIRECTIONS, back)},
                    3);
        gb_output(b, out);
        gb_output(b, out + 1);
        struct outcome o = run(&d, (const void *[]){start, x});
        assert_int_equal(o.e, EML_OK);
        assert_floats(&o.out[0], (const float[]){9, 12}, 2);
        assert_floats(&o.out[1],
                      back != 0 ? (const float[]){5, 6, 8, 10, 9, 12}
                                : (const float[]){1, 2, 4, 6, 9, 12},
                      6);
        close_dyn(&d);
    }
}

/* A branch in a branch in a branch ...: each passes on what it captured. */
static struct outcome nested(struct dyn *d, uint32_t depth, const float *x)
{
    const bool yes = true;
    uint32_t c = gb_input(d->b, EML_DT_BOOL, SCALAR), v = gb_input(d->b, EML_DT_F32, SHAPE(1));
    struct gb *at = d->b;
    for (uint32_t i = 0; i < depth; i++) {
        struct eml_attr branches[2] = {{EML_ATTR_THEN_BRANCH, 1, (const int64_t[]){d->n}},
                                       {EML_ATTR_ELSE_BRANCH, 1, (const int64_t[]){d->n}}};
        /* both branches are the same body: the engine does not mind */
        gb_output(at,
                  control(at, EML_OP_IF, IDS(c, c, v, c, v), EML_DT_F32, SHAPE(1), 1, branches, 2));
        at = body(d);
        c = body_input(at, EML_DT_BOOL, SCALAR);
        v = body_input(at, EML_DT_F32, SHAPE(1));
    }
    gb_output(at, NODE(at, NEG, OF(v)));
    return run(d, (const void *[]){&yes, x});
}

static void bodies_nest_up_to_the_limit(void **state)
{
    (void)state;
    static const float x[1] = {7};
    struct dyn d = open_dyn();
    struct outcome o = nested(&d, EML_GRAPH_DEPTH_MAX, x);
    assert_int_equal(o.e, EML_OK);
    assert_floats(&o.out[0], (const float[]){-7}, 1);
    close_dyn(&d);
    d = open_dyn();
    o = nested(&d, EML_GRAPH_DEPTH_MAX + 1, x);
    assert_int_equal(o.e, EML_E_INPUT);
    assert_string_equal(o.why.rule, "bodies nested too deep");
    close_dyn(&d);
}

/* Lists by every operator that makes or reads one: cut, changed, mapped, joined again. */
static void lists_are_cut_changed_and_joined(void **state)
{
    (void)state;
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    struct dyn d = open_dyn();
    struct gb *b = d.b, *in = body(&d);
    uint32_t v = gb_input(b, EML_DT_F32, SHAPE(3, 2));
    uint32_t list = NODE(b, SPLIT_TO_SEQUENCE, OF(v, INTS(b, 1, 2)), WITH1(AXIS, 0));
    const int64_t zero = 0;
    uint32_t first = gb_slot(b, EML_DT_I64, SCALAR, &zero);
    uint32_t one = NODE(b, SEQUENCE_AT, OF(list, first));
    uint32_t longer = NODE(b, SEQUENCE_INSERT, OF(list, one));
    uint32_t shorter = NODE(b, SEQUENCE_ERASE, OF(longer, first)); /* rows 2 and 3, then row 1 */
    gb_output(in, NODE(in, NEG, OF(body_input(in, EML_DT_F32, SHAPE(1, 2)))));
    uint32_t mapped = control(b, EML_OP_SEQUENCE_MAP, IDS(shorter), EML_DT_SEQUENCE, SCALAR, 1,
                              (const struct eml_attr[]){INT_OF(BODY, 0), INT_OF(CAPTURES, 0)}, 2);
    b->known[mapped].elem = EML_DT_F32;
    gb_output(b, NODE(b, SEQUENCE_LENGTH, OF(longer)));
    gb_output(b, NODE(b, CONCAT_FROM_SEQUENCE, OF(mapped), WITH1(AXIS, 0)));
    gb_output(b, mapped);
    struct outcome o = run(&d, (const void *[]){x});
    assert_int_equal(o.e, EML_OK);
    assert_int_equal(*(const int64_t *)o.out[0].data, 3);
    assert_floats(&o.out[1], (const float[]){-3, -4, -5, -6, -1, -2}, 6);
    assert_int_equal(o.out[2].dtype, EML_DT_SEQUENCE);
    assert_int_equal(o.out[2].shape.dim[0], 2);
    assert_floats(&((const struct eml_tensor *)o.out[2].data)[1], (const float[]){-1, -2}, 2);
    close_dyn(&d);
}

static void what_data_may_not_say(void **state)
{
    (void)state;
    static const float x[6] = {0};
    static const struct {
        int64_t at;
        const char *rule;
    } rows[] = {{3, "index out of range of the sequence"},
                {-4, "index out of range of the sequence"},
                {INT64_MIN, "index out of range of the sequence"},
                {-3, NULL},
                {2, NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dyn d = open_dyn();
        struct gb *b = d.b;
        uint32_t v = gb_input(b, EML_DT_F32, SHAPE(3, 2)), at = gb_input(b, EML_DT_I64, SCALAR);
        uint32_t list = NODE(b, SPLIT_TO_SEQUENCE, OF(v), WITH1(AXIS, 0));
        gb_output(b, NODE(b, SEQUENCE_AT, OF(list, at)));
        struct outcome o = run(&d, (const void *[]){x, &rows[i].at});
        assert_int_equal(o.e, rows[i].rule == NULL ? EML_OK : EML_E_INPUT);
        if (rows[i].rule != NULL)
            assert_string_equal(o.why.rule, rows[i].rule);
        close_dyn(&d);
    }
}

/* -2^63 is "unknown" to the rules; what runs sees the number. */
static void bounds_of_the_least_number(void **state)
{
    (void)state;
    static const float x[4] = {1, 2, 3, 4};
    const int64_t start[1] = {3}, least[1] = {INT64_MIN}, step[1] = {-1};
    struct dyn d = open_dyn();
    struct gb *b = d.b;
    uint32_t v = gb_input(b, EML_DT_F32, SHAPE(4)), s = gb_input(b, EML_DT_I64, SHAPE(1));
    uint32_t e = gb_input(b, EML_DT_I64, SHAPE(1)), k = gb_input(b, EML_DT_I64, SHAPE(1));
    uint32_t cut = NODE(b, SLICE, OF(v, s, e, INTS(b, 0), k));
    gb_output(b, cut);
    struct outcome o = run(&d, (const void *[]){x, start, least, step});
    assert_int_equal(o.e, EML_OK);
    assert_floats(&o.out[0], (const float[]){4, 3, 2, 1}, 4);
    close_dyn(&d);

    const int64_t from = INT64_MIN, to = INT64_MAX, by = INT64_MAX, tiny = 1;
    d = open_dyn();
    b = d.b;
    uint32_t a[3];
    for (int i = 0; i < 3; i++)
        a[i] = gb_input(b, EML_DT_I64, SCALAR);
    gb_output(b, NODE(b, RANGE, OF(a[0], a[1], a[2])));
    o = run(&d, (const void *[]){&from, &to, &by});
    assert_int_equal(o.e, EML_OK);
    assert_int_equal(o.out[0].shape.dim[0], 3); /* -2^63, -1, 2^63 - 2 */
    assert_true(((const int64_t *)o.out[0].data)[0] == INT64_MIN);
    assert_int_equal(((const int64_t *)o.out[0].data)[1], -1);
    assert_true(((const int64_t *)o.out[0].data)[2] == INT64_MAX - 1);
    o = run(&d, (const void *[]){&from, &to, &tiny});
    assert_int_equal(o.e, EML_E_INPUT);
    assert_string_equal(o.why.rule, "Range: the step is 0, or too many steps");
    close_dyn(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_if_runs_one_branch_on_what_it_captures),
        cmocka_unit_test(a_branch_that_inputs_decide_is_planned),
        cmocka_unit_test(a_planned_branch_gives_the_type_that_is_said),
        cmocka_unit_test(a_loop_carries_its_state_and_stacks_results),
        cmocka_unit_test(a_run_stops_at_its_budgets),
        cmocka_unit_test(iterations_are_bounded),
        cmocka_unit_test(scan_turns_both_ways),
        cmocka_unit_test(bodies_nest_up_to_the_limit),
        cmocka_unit_test(lists_are_cut_changed_and_joined),
        cmocka_unit_test(what_data_may_not_say),
        cmocka_unit_test(bounds_of_the_least_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
