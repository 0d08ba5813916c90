/* Rules of bodies: x -> Loop whose body holds an If. Every part within reach of a mutation. */
#include "testsupport/support.h"

#include "model/graph.h"
#include "model/limits.h"

#include <string.h>

enum { LOOP_BODY, THEN, ELSE, BODIES };
enum { VALUES = 8 };

struct part {
    struct eml_value v[VALUES];
    struct eml_node n[2];
    struct eml_name inputs[VALUES], outputs[3];
    uint32_t in[2][VALUES], out[2][3];
    struct eml_attr attr[2][3];
    int64_t number[2][3];
};

struct fixture {
    struct eml_graph g;
    struct eml_graph bodies[EML_GRAPH_BODIES_MAX + 1];
    struct part part[1 + BODIES]; /* the whole, then the bodies */
};

static struct eml_value value(enum eml_value_kind kind, enum eml_dtype t)
{
    return (struct eml_value){.kind = kind, .dtype = t};
}

static struct eml_node *node(struct part *p, uint32_t i, enum eml_op op, uint32_t n_in,
                             const uint32_t *in, uint32_t out)
{
    memcpy(p->in[i], in, n_in * sizeof *in);
    p->out[i][0] = out;
    p->n[i] = (struct eml_node){
        .op = op, .n_in = n_in, .n_out = 1, .in = p->in[i], .out = p->out[i], .attr = p->attr[i]};
    p->n[i].params = EML_ABSENT;
    return &p->n[i];
}

static void attr(struct part *p, uint32_t i, enum eml_attr_id id, int64_t v)
{
    uint32_t k = p->n[i].n_attr++;
    p->number[i][k] = v;
    p->attr[i][k] = (struct eml_attr){id, 1, &p->number[i][k]};
}

static void graph(struct eml_graph *g, struct part *p, uint32_t values, uint32_t nodes,
                  uint32_t inputs, uint32_t outputs)
{
    *g = (struct eml_graph){values, nodes,     inputs,     outputs, p->v,
                            p->n,   p->inputs, p->outputs, 0,       NULL};
}

static void valid(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    struct part *w = &f->part[0], *l = &f->part[1 + LOOP_BODY];
    /* whole: x, trips -> Loop(trips, -, x, captured x) -> y */
    w->v[0] = value(EML_VALUE_INPUT, EML_DT_F32);
    w->v[1] = value(EML_VALUE_INPUT, EML_DT_I64);
    w->v[2] = value(EML_VALUE_NODE, EML_DT_F32);
    (void)node(w, 0, EML_OP_LOOP, 4, (const uint32_t[]){1, EML_ABSENT, 0, 0}, 2);
    attr(w, 0, EML_ATTR_BODY, LOOP_BODY);
    attr(w, 0, EML_ATTR_CAPTURES, 1);
    w->inputs[0] = (struct eml_name){EML_LIT("x"), 0};
    w->inputs[1] = (struct eml_name){EML_LIT("n"), 1};
    w->outputs[0] = (struct eml_name){EML_LIT("y"), 2};
    graph(&f->g, w, 3, 1, 2, 1);
    f->g.graphs = f->bodies;
    f->g.n_graphs = BODIES;
    /* body: i, go, state, x -> go, If(go, state | x) */
    for (uint32_t i = 0; i < 4; i++) {
        l->v[i] = value(EML_VALUE_INPUT, i == 0 ? EML_DT_I64 : i == 1 ? EML_DT_BOOL : EML_DT_F32);
        l->inputs[i].value = i;
    }
    l->v[4] = value(EML_VALUE_NODE, EML_DT_F32);
    (void)node(l, 0, EML_OP_IF, 3, (const uint32_t[]){1, 2, 3}, 4);
    attr(l, 0, EML_ATTR_THEN_BRANCH, THEN);
    attr(l, 0, EML_ATTR_ELSE_BRANCH, ELSE);
    l->outputs[0].value = 1;
    l->outputs[1].value = 4;
    graph(&f->bodies[LOOP_BODY], l, 5, 1, 4, 2);
    for (int k = THEN; k <= ELSE; k++) {
        struct part *b = &f->part[1 + k];
        b->v[0] = value(EML_VALUE_INPUT, EML_DT_F32);
        b->v[1] = value(EML_VALUE_NODE, EML_DT_F32);
        (void)node(b, 0, EML_OP_NEG, 1, (const uint32_t[]){0}, 1);
        b->outputs[0].value = 1;
        graph(&f->bodies[k], b, 2, 1, 1, 1);
    }
}

/* One row per rule. */
/* clang-format off */
#define MUTATION(name, ...) static void name(struct fixture *f) { __VA_ARGS__ }
MUTATION(many_bodies, f->g.n_graphs = EML_GRAPH_BODIES_MAX + 1;)
MUTATION(bodies_in_a_body, f->bodies[THEN].n_graphs = 1;)
MUTATION(body_missing, f->part[0].n[0].n_attr = 0;)
MUTATION(body_out_of_range, f->part[0].number[0][0] = BODIES;)
MUTATION(body_negative, f->part[0].number[0][0] = -1;)
MUTATION(body_before_its_node, f->part[1].number[0][0] = LOOP_BODY;)
MUTATION(body_of_two, f->part[1].number[0][1] = THEN;)
MUTATION(body_of_none, f->g.n_graphs = BODIES + 1; f->bodies[BODIES] = f->bodies[THEN];)
MUTATION(if_few_operands, f->part[1].n[0].n_in = 2;)
MUTATION(if_many_results, f->part[2].outputs[1].value = 1; f->bodies[THEN].n_outputs = 2;)
MUTATION(if_no_input, f->bodies[ELSE].n_inputs = 0;)
MUTATION(loop_captures_less, f->part[0].number[0][1] = 0;)
MUTATION(loop_captures_more, f->part[0].number[0][1] = 5;)
MUTATION(loop_captures_negative, f->part[0].number[0][1] = -1;)
MUTATION(loop_captures_least, f->part[0].number[0][1] = INT64_MIN;)
MUTATION(loop_no_condition, f->bodies[LOOP_BODY].n_outputs = 1;)
MUTATION(loop_few_inputs, f->bodies[LOOP_BODY].n_inputs = 3;)
MUTATION(scan_of_nothing, f->part[0].n[0].op = EML_OP_SCAN; f->bodies[LOOP_BODY].n_outputs = 1;)
MUTATION(input_with_shape, f->part[2].v[0].shape = (struct eml_shape){1, {3}};)
MUTATION(input_with_name, f->part[2].inputs[0].text = EML_LIT("a");)
MUTATION(output_with_name, f->part[2].outputs[0].text = EML_LIT("a");)
MUTATION(reads_outer_value, f->part[2].in[0][0] = 4;)
MUTATION(body_never_writes, f->bodies[THEN].n_nodes = 0;)
MUTATION(body_without_output, f->bodies[THEN].n_outputs = 0;)
MUTATION(list_with_shape, f->part[0].v[0].dtype = EML_DT_SEQUENCE; f->part[0].v[0].shape.rank = 1;)
MUTATION(list_in_a_slot, f->part[2].v[2] = (struct eml_value){.kind = EML_VALUE_SLOT, .dtype = EML_DT_SEQUENCE}; f->bodies[THEN].n_values = 3;)
MUTATION(values_together, f->bodies[ELSE].n_values = EML_GRAPH_VALUES_MAX - 5;)

static const struct {
    void (*mutate)(struct fixture *);
    const char *rule;
} cases[] = {
    {many_bodies, "graph: more bodies than the limit"},
    {bodies_in_a_body, "graph: more bodies than the limit"},
    {body_missing, "graph: body that is missing or stands before its node's graph"},
    {body_out_of_range, "graph: no body of that index"},
    {body_negative, "graph: no body of that index"},
    {body_before_its_node, "graph: body that is missing or stands before its node's graph"},
    {body_of_two, "graph: body of two nodes"},
    {body_of_none, "graph: body of no node"},
    {if_few_operands, "graph: operands and results of a node do not fit its body"},
    {if_many_results, "graph: operands and results of a node do not fit its body"},
    {if_no_input, "graph: operands and results of a node do not fit its body"},
    {loop_captures_less, "graph: operands and results of a node do not fit its body"},
    {loop_captures_more, "graph: operands and results of a node do not fit its body"},
    {loop_captures_negative, "graph: operands and results of a node do not fit its body"},
    {loop_captures_least, "graph: operands and results of a node do not fit its body"},
    {loop_no_condition, "graph: operands and results of a node do not fit its body"},
    {loop_few_inputs, "graph: operands and results of a node do not fit its body"},
    {scan_of_nothing, "graph: operands and results of a node do not fit its body"},
    {input_with_shape, "graph: input that has no shape has one"},
    {input_with_name, "graph: name in a body"},
    {output_with_name, "graph: name in a body"},
    {reads_outer_value, "graph: input of a node is no value"},
    {body_never_writes, "graph: value is never written"},
    {body_without_output, "graph: operands and results of a node do not fit its body"},
    {list_with_shape, "graph: input that has no shape has one"},
    {list_in_a_slot, "graph: unknown element type"},
    {values_together, "graph: more values or nodes than the limit"},
};
/* clang-format on */

static void each_rule_has_its_refusal(void **state)
{
    static struct fixture f;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_why why = {0};
        valid(&f);
        if (eml_graph_check(&f.g, 0, &why) != EML_OK)
            fail_msg("the fixture: %s (%ld)", why.rule, why.index);
        cases[i].mutate(&f);
        assert_int_equal(eml_graph_check(&f.g, 0, &why), EML_E_INPUT);
        if (strcmp(why.rule, cases[i].rule) != 0)
            fail_msg("case %zu: expected \"%s\", got \"%s\"", i, cases[i].rule, why.rule);
    }
}

/* An If in an If in an If: `depth` bodies within each other. */
static void bodies_nest_up_to_the_limit(void **state)
{
    enum { MOST = EML_GRAPH_DEPTH_MAX + 1 };
    static struct part parts[1 + 2 * MOST];
    static struct eml_graph bodies[2 * MOST];
    (void)state;
    for (uint32_t depth = MOST - 1; depth <= MOST; depth++) {
        struct eml_graph whole = {0};
        struct eml_why why = {0};
        memset(parts, 0, sizeof parts);
        for (uint32_t i = 0; i <= 2 * depth; i++) {
            struct part *p = &parts[i];
            bool inner = i == 2 * depth || (i > 0 && i % 2 == 1); /* else branches end it */
            p->v[0] = value(EML_VALUE_INPUT, EML_DT_BOOL);
            p->v[1] = value(EML_VALUE_NODE, EML_DT_BOOL);
            p->outputs[0] = (struct eml_name){i == 0 ? EML_LIT("y") : (struct eml_bytes){0}, 1};
            p->inputs[0] = (struct eml_name){i == 0 ? EML_LIT("x") : (struct eml_bytes){0}, 0};
            if (inner) {
                (void)node(p, 0, EML_OP_NOT, 1, (const uint32_t[]){0}, 1);
            } else { /* bodies i and i + 1 are parts i + 1 and i + 2 */
                (void)node(p, 0, EML_OP_IF, 3, (const uint32_t[]){0, 0, 0}, 1);
                attr(p, 0, EML_ATTR_THEN_BRANCH, i + 1);
                attr(p, 0, EML_ATTR_ELSE_BRANCH, i);
            }
            graph(i == 0 ? &whole : &bodies[i - 1], p, 2, 1, 1, 1);
        }
        whole.graphs = bodies;
        whole.n_graphs = 2 * depth;
        enum eml_err e = eml_graph_check(&whole, 0, &why);
        assert_int_equal(e, depth < MOST ? EML_OK : EML_E_INPUT);
        if (depth == MOST)
            assert_string_equal(why.rule, "graph: bodies nested too deep");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_has_its_refusal),
        cmocka_unit_test(bodies_nest_up_to_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
