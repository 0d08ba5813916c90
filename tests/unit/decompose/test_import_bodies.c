/* Graphs within graphs as they are imported: functions and known branches join the graph that they
 * stand in; other bodies become graphs with what they capture as inputs. */
#include "build.h"

#include "testsupport/pb.h"

#define NAMES(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

struct model {
    struct eml_buf graph, functions;
    struct eml_onnx_model *m;
    struct t t;
};

static void begin(struct model *d)
{
    memset(d, 0, sizeof *d);
    t_open(&d->t, 1);
    eml_pb_value(&d->graph, 11, "x", EML_DT_F32, DIMS(2, 3));
    eml_pb_value(&d->graph, 11, "c", EML_DT_BOOL, NULL, 0);
    eml_pb_value(&d->graph, 12, "y", EML_DT_F32, NULL, 0);
}

static enum eml_err import_at(struct model *d, int64_t opset, struct eml_why *why)
{
    struct eml_buf file = {0}, own = {0};
    struct eml_onnx_diag diag = {0};
    eml_pb_model(&file, 8, &d->graph, opset);
    eml_pb_str(&own, 1, "own");
    eml_pb_int(&own, 2, 1);
    eml_pb_msg(&file, 8, &own);
    eml_buf_put(&file, eml_buf_bytes(&d->functions));
    if (eml_onnx_parse(eml_buf_bytes(&file), NULL, &d->m, &diag) != EML_OK)
        fail_msg("%s (%s)", diag.why.rule, diag.subject);
    eml_buf_free(&file);
    return eml_import(d->t.ir, d->m, why);
}

static enum eml_err import(struct model *d, struct eml_why *why)
{
    return import_at(d, 16, why);
}

static void end(struct model *d)
{
    eml_buf_free(&d->functions);
    eml_onnx_free(d->m);
    t_close(&d->t);
}

static void output_of(struct eml_buf *graph, const char *name)
{
    eml_pb_value(graph, 12, name, EML_DT_F32, NULL, 0);
}

static void input_of(struct eml_buf *graph, const char *name)
{
    struct eml_buf v = {0};
    eml_pb_str(&v, 1, name);
    eml_pb_msg(graph, 11, &v);
}

static void body_attr(struct eml_buf *attrs, const char *name, struct eml_buf *graph)
{
    struct eml_buf a = {0};
    eml_pb_str(graph, 2, "body");
    eml_pb_str(&a, 1, name);
    eml_pb_msg(&a, 6, graph);
    eml_pb_int(&a, 20, 5);
    eml_pb_msg(attrs, 5, &a);
}

/* own.Twice(a) = a + a; own.Deep(a) = Neg(Twice(a)). */
static void functions_are_inlined(void **state)
{
    struct model d;
    (void)state;
    begin(&d);
    for (int deep = 0; deep < 2; deep++) {
        struct eml_buf f = {0}, nodes = {0}, set = {0}, mine = {0};
        eml_pb_str(&f, 1, deep != 0 ? "Deep" : "Twice");
        eml_pb_str(&f, 4, "a");
        eml_pb_str(&f, 5, "r");
        if (deep != 0) {
            eml_pb_node(&nodes, "own", "Twice", NAMES("a"), NAMES("t"), NULL);
            eml_pb_node(&nodes, "", "Neg", NAMES("t"), NAMES("r"), NULL);
        } else {
            eml_pb_node(&nodes, "", "Add", NAMES("a", "a"), NAMES("r"), NULL);
        }
        for (size_t at = 0; at < nodes.len;) { /* as field 7; a key, a length below 128 */
            size_t len = nodes.ptr[at + 1];
            assert_true(len < 128);
            eml_pb_bytes(&f, 7, eml_bytes(nodes.ptr + at + 2, len));
            at += 2 + len;
        }
        eml_buf_free(&nodes);
        eml_pb_str(&set, 1, "");
        eml_pb_int(&set, 2, 16);
        eml_pb_msg(&f, 9, &set);
        eml_pb_str(&mine, 1, "own");
        eml_pb_int(&mine, 2, 1);
        eml_pb_msg(&f, 9, &mine);
        eml_pb_str(&f, 10, "own");
        eml_pb_msg(&d.functions, 25, &f);
    }
    eml_pb_node(&d.graph, "own", "Deep", NAMES("x"), NAMES("t"), NULL);
    eml_pb_node(&d.graph, "own", "Twice", NAMES("t"), NAMES("y"), NULL);
    OK(import(&d, why));
    assert_int_equal(eml_ir_node_count(d.t.ir), 3);
    assert_int_equal(t_count(&d.t, EML_OP_ADD), 2);
    const struct eml_ir_node *last = d.t.ir->outputs[0].value->maker;
    assert_int_equal(last->op, EML_OP_ADD);
    assert_int_equal(last->in[0]->maker->op, EML_OP_NEG);
    end(&d);
}

static void a_known_branch_joins_the_graph(void **state)
{
    (void)state;
    for (uint8_t yes = 0; yes < 2; yes++) {
        struct model d;
        struct eml_buf t = {0}, e = {0}, attrs = {0};
        begin(&d);
        eml_pb_tensor(&d.graph, 5, "k", EML_DT_BOOL, NULL, 0, eml_bytes(&yes, 1));
        eml_pb_node(&t, "", "Neg", NAMES("x"), NAMES("r"), NULL);
        output_of(&t, "r");
        eml_pb_node(&e, "", "Abs", NAMES("x"), NAMES("s"), NULL);
        output_of(&e, "s");
        body_attr(&attrs, "then_branch", &t);
        body_attr(&attrs, "else_branch", &e);
        eml_pb_node(&d.graph, "", "If", NAMES("k"), NAMES("y"), &attrs);
        OK(import(&d, why));
        assert_int_equal(eml_ir_node_count(d.t.ir), 1);
        assert_int_equal(d.t.ir->first->op, yes != 0 ? EML_OP_NEG : EML_OP_ABS);
        assert_ptr_equal(d.t.ir->first->in[0], d.t.ir->inputs[0].value);
        end(&d);
    }
}

/* A Loop whose body holds an If whose branches read the loop's state, the main graph's x, and a
 * constant: x is captured twice on the way in, the constant is copied. */
static void captures_pass_through_every_body_between(void **state)
{
    struct model d;
    struct eml_buf t = {0}, e = {0}, inner = {0}, body = {0}, attrs = {0};
    static const float half = 0.5f;
    (void)state;
    begin(&d);
    eml_pb_tensor(&d.graph, 5, "h", EML_DT_F32, NULL, 0, eml_bytes(&half, sizeof half));
    eml_pb_value(&d.graph, 11, "n", EML_DT_I64, NULL, 0);
    eml_pb_node(&t, "", "Add", NAMES("s", "x"), NAMES("r1"), NULL);
    eml_pb_node(&t, "", "Mul", NAMES("r1", "x"), NAMES("r"), NULL); /* x again: the same capture */
    output_of(&t, "r");
    eml_pb_node(&e, "", "Mul", NAMES("s", "h"), NAMES("q"), NULL);
    output_of(&e, "q");
    body_attr(&inner, "then_branch", &t);
    body_attr(&inner, "else_branch", &e);
    eml_pb_node(&body, "", "If", NAMES("c"), NAMES("next"), &inner);
    eml_pb_node(&body, "", "Identity", NAMES("go"), NAMES("on"), NULL);
    input_of(&body, "i");
    input_of(&body, "go");
    input_of(&body, "s");
    eml_pb_value(&body, 12, "on", EML_DT_BOOL, NULL, 0);
    output_of(&body, "next");
    body_attr(&attrs, "body", &body);
    eml_pb_node(&d.graph, "", "Loop", NAMES("n", "", "x"), NAMES("y"), &attrs);
    OK(import(&d, why));
    const struct eml_ir_node *loop = t_find(&d.t, EML_OP_LOOP);
    assert_int_equal(loop->own_in, 3);
    assert_int_equal(loop->n_captures, 2); /* c and x */
    const struct eml_ir *in = loop->body[0];
    assert_int_equal(in->n_inputs, 3 + 2);
    const struct eml_ir_node *branch = in->first;
    while (branch->op != EML_OP_IF)
        branch = branch->next;
    assert_int_equal(branch->own_in, 1);
    assert_int_equal(branch->body[0]->n_inputs, 2); /* s and x */
    assert_int_equal(branch->body[1]->n_inputs, 1); /* s; h is a constant of its own */
    assert_int_equal(branch->n_captures, 3);
    float v;
    assert_true(eml_ir_scalar(branch->body[1]->first->in[1], &v) && v == half);
    end(&d);
}

static void bodies_that_do_not_fit_name_their_node(void **state)
{
    static const struct {
        int inputs, outputs;
        const char *rule;
    } rows[] = {{3, 2, NULL},
                {2, 2, "decompose: inputs of a body are not its node's operands"},
                {4, 2, "decompose: inputs of a body are not its node's operands"},
                {3, 1, "decompose: outputs of a body are not its node's"},
                {3, 0, "decompose: outputs of a body are not its node's"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static const char *const ins[] = {"i", "go", "s", "more"};
        struct model d;
        struct eml_buf body = {0}, attrs = {0};
        struct eml_why why = {0};
        begin(&d);
        eml_pb_value(&d.graph, 11, "n", EML_DT_I64, NULL, 0);
        eml_pb_node(&d.graph, "", "Neg", NAMES("x"), NAMES("z"), NULL);
        for (int k = 0; k < rows[i].inputs; k++)
            input_of(&body, ins[k]);
        eml_pb_node(&body, "", "Identity", NAMES("go"), NAMES("on"), NULL);
        eml_pb_node(&body, "", "Neg", NAMES("z"), NAMES("r"), NULL);
        if (rows[i].outputs > 0)
            eml_pb_value(&body, 12, "on", EML_DT_BOOL, NULL, 0);
        if (rows[i].outputs > 1)
            output_of(&body, "r");
        body_attr(&attrs, "body", &body);
        eml_pb_node(&d.graph, "", "Loop", NAMES("n", "", "x"), NAMES("y"), &attrs);
        enum eml_err e = import(&d, &why);
        assert_int_equal(e == EML_OK, rows[i].rule == NULL);
        if (rows[i].rule != NULL) {
            assert_string_equal(why.rule, rows[i].rule);
            assert_int_equal(why.index, 1);
        }
        end(&d);
    }
}

/* Scan of version 8, backwards over x [2, 3, 2] from s [2, 2]: next = state * k + entry, where the
 * body captures k [2]. `lens` names the operand that says how long each sequence is. */
static enum eml_err old_scan(struct model *d, const char *lens, struct eml_why *why)
{
    struct eml_buf body = {0}, attrs = {0};
    memset(d, 0, sizeof *d);
    t_open(&d->t, 1);
    eml_pb_value(&d->graph, 11, "s", EML_DT_F32, DIMS(2, 2));
    eml_pb_value(&d->graph, 11, "x", EML_DT_F32, DIMS(2, 3, 2));
    eml_pb_value(&d->graph, 11, "k", EML_DT_F32, DIMS(2));
    if (lens[0] != 0)
        eml_pb_value(&d->graph, 11, lens, EML_DT_I64, DIMS(2));
    eml_pb_value(&d->graph, 12, "all", EML_DT_F32, DIMS(2, 3, 2));
    eml_pb_node(&body, "", "Mul", NAMES("state", "k"), NAMES("scaled"), NULL);
    eml_pb_node(&body, "", "Add", NAMES("scaled", "entry"), NAMES("next"), NULL);
    eml_pb_node(&body, "", "Identity", NAMES("next"), NAMES("each"), NULL);
    input_of(&body, "state");
    input_of(&body, "entry");
    output_of(&body, "next");
    output_of(&body, "each");
    body_attr(&attrs, "body", &body);
    eml_pb_attr_ints(&attrs, "directions", (const int64_t[]){1}, 1);
    eml_pb_attr_int(&attrs, "num_scan_inputs", 1);
    eml_pb_node(&d->graph, "", "Scan", NAMES(lens, "s", "x"), NAMES("last", "all"), &attrs);
    return import_at(d, 8, why);
}

static void an_old_scan_runs_for_each_entry_of_a_batch(void **state)
{
    struct model d;
    float s[2][2], x[2][3][2], k[2];
    size_t n;
    (void)state;
    OK(old_scan(&d, "", why));
    const struct eml_ir_node *outer = t_find(&d.t, EML_OP_SCAN), *inner = outer->body[0]->first;
    assert_int_equal(inner->op, EML_OP_SCAN);
    assert_int_equal(inner->own_in, 2);
    assert_int_equal(inner->n_captures, 1);
    assert_int_equal(eml_ir_rank(outer->body[0]->inputs[1].value), 2);
    assert_int_equal(eml_ir_rank(outer->body[0]->inputs[2].value), 1);
    assert_int_equal(eml_ir_rank(inner->body[0]->inputs[1].value), 1);
    d.t.ir->next = outer->body[0]; /* as optimising lists them */
    outer->body[0]->next = inner->body[0];
    float *y = t_run(&d.t, 0, 3, &n);
    struct eml_gen g = eml_gen_from(eml_bytes(NULL, 0)); /* what t_run draws */
    for (size_t i = 0; i < 4; i++)
        g.state[i] = 3 + 77 * i + 1;
    for (size_t i = 0; i < 4; i++)
        s[i / 2][i % 2] = eml_gen_f32(&g, -2, 2);
    for (size_t i = 0; i < 12; i++)
        x[i / 6][i / 2 % 3][i % 2] = eml_gen_f32(&g, -2, 2);
    for (size_t i = 0; i < 2; i++)
        k[i] = eml_gen_f32(&g, -2, 2);
    assert_int_equal(n, 12);
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < 3; i++)
            for (size_t c = 0; c < 2; c++) {
                s[b][c] = s[b][c] * k[c] + x[b][2 - i][c];
                assert_float_equal(y[(b * 3 + i) * 2 + c], s[b][c], 1e-4);
            }
    free(y);
    end(&d);
}

static void an_old_scan_over_sequences_of_different_length_is_refused(void **state)
{
    struct model d;
    struct eml_why why = {0};
    (void)state;
    assert_int_equal(old_scan(&d, "lens", &why), EML_E_UNSUPPORTED);
    assert_string_equal(why.rule, "decompose: sequence_lens of a Scan before version 9");
    assert_int_equal(why.index, 0);
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_inlined),
        cmocka_unit_test(a_known_branch_joins_the_graph),
        cmocka_unit_test(captures_pass_through_every_body_between),
        cmocka_unit_test(bodies_that_do_not_fit_name_their_node),
        cmocka_unit_test(an_old_scan_runs_for_each_entry_of_a_batch),
        cmocka_unit_test(an_old_scan_over_sequences_of_different_length_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
