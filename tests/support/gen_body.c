#include "testsupport/gen_maker.h"

#include "testsupport/pb.h"

#include <stdio.h>

/* A graph whose nodes read `names` (of its own inputs, or captured) and which gives n_out of them
 * back, all of type t. Branches may hold branches. */
static void put_graph(const struct eml_mg_maker *k, struct eml_buf *out, const char *const *inputs,
                      uint32_t n_in, const char *const *read, uint32_t n_read,
                      const char *condition, enum eml_dtype t, uint32_t n_out, uint32_t depth);

static void put_graph_attr(struct eml_buf *attrs, const char *name, struct eml_buf *graph)
{
    struct eml_buf a = {0};
    eml_pb_str(&a, 1, name);
    eml_pb_msg(&a, 6, graph);
    eml_pb_int(&a, 20, 5);
    eml_pb_msg(attrs, 5, &a);
}

static void put_branches(const struct eml_mg_maker *k, struct eml_buf *attrs,
                         const char *const *read, uint32_t n_read, const char *condition,
                         enum eml_dtype t, uint32_t n_out, uint32_t depth)
{
    static const char *const names[] = {"then_branch", "else_branch"};
    for (int i = 0; i < 2; i++) {
        struct eml_buf graph = {0};
        put_graph(k, &graph, NULL, 0, read, n_read, condition, t, n_out, depth);
        put_graph_attr(attrs, names[i], &graph);
    }
}

static void put_graph(const struct eml_mg_maker *k, struct eml_buf *out, const char *const *inputs,
                      uint32_t n_in, const char *const *read, uint32_t n_read,
                      const char *condition, enum eml_dtype t, uint32_t n_out, uint32_t depth)
{
    static const char *const unary[] = {"Neg", "Abs", "Identity"};
    eml_pb_str(out, 2, "body");
    for (uint32_t i = 0; i < n_out; i++) {
        char mine[16];
        (void)snprintf(mine, sizeof mine, "b%u_%u_%u", depth, k->m->n_values, i);
        const char *a = read[eml_mg_pick(k, 0, n_read - 1)],
                   *b = read[eml_mg_pick(k, 0, n_read - 1)];
        if (condition != NULL && depth < 3 && eml_mg_chance(k, 20)) {
            struct eml_buf attrs = {0};
            put_branches(k, &attrs, read, n_read, condition, t, 1, depth + 1);
            eml_pb_node(out, "", "If", (const char *const[]){condition, NULL},
                        (const char *const[]){mine, NULL}, &attrs);
        } else if (eml_mg_chance(k, 50)) {
            eml_pb_node(out, "", unary[eml_mg_pick(k, 0, 2)], (const char *const[]){a, NULL},
                        (const char *const[]){mine, NULL}, NULL);
        } else {
            eml_pb_node(out, "", eml_mg_chance(k, 50) ? "Max" : "Min",
                        (const char *const[]){a, b, NULL}, (const char *const[]){mine, NULL}, NULL);
        }
    }
    for (uint32_t i = 0; i < n_in; i++) {
        struct eml_buf value = {0};
        eml_pb_str(&value, 1, inputs[i]);
        eml_pb_msg(out, 11, &value);
    }
    if (n_in >= 2 && condition != NULL) { /* a Loop's: whether to go on */
        struct eml_buf value = {0};
        eml_pb_node(out, "", eml_mg_chance(k, 90) ? "Identity" : "Not",
                    (const char *const[]){condition, NULL}, (const char *const[]){"go", NULL},
                    NULL);
        eml_pb_str(&value, 1, "go");
        eml_pb_msg(out, 12, &value);
    }
    for (uint32_t i = 0; i < n_out; i++) {
        char mine[16];
        (void)snprintf(mine, sizeof mine, "b%u_%u_%u", depth, k->m->n_values, i);
        eml_pb_value(out, 12, mine, (int)t, NULL, 0);
    }
}

static void capture(const struct eml_mg_maker *k, uint32_t id)
{
    k->n->captured[k->n->n_captured++] = id;
    k->m->values[id].readers++;
}

uint32_t eml_mg_propose_body(struct eml_mg_maker *k, struct eml_buf *attrs)
{
    struct eml_mg_node *n = k->n;
    const struct eml_shape scalar = {0};
    struct eml_shape s = eml_mg_some_shape(k, 1, 3, 3);
    uint32_t captured = eml_mg_existing(k, k->dtype);
    if (captured == EML_ABSENT)
        captured = eml_mg_fresh(k, k->dtype, s, -8, 8, 90);
    const char *outer = eml_mg_name(k, captured);
    struct eml_buf graph = {0};
    switch (k->op) {
    case EML_OP_IF: {
        n->in[n->n_in++] = eml_mg_fresh(k, EML_DT_BOOL, scalar, 0, 1, 80);
        uint32_t other = eml_mg_fresh(k, k->dtype, s, -8, 8, 60),
                 n_out = (uint32_t)eml_mg_pick(k, 1, 2);
        put_branches(k, attrs, (const char *const[]){outer, eml_mg_name(k, other)}, 2,
                     eml_mg_name(k, n->in[0]), k->dtype, n_out, 1);
        capture(k, other);
        capture(k, captured);
        return n_out;
    }
    case EML_OP_LOOP: {
        int64_t trips = eml_mg_pick(k, 0, 4);
        n->in[n->n_in++] = eml_mg_steer(k, &trips, 1, true);
        n->in[n->n_in++] =
            eml_mg_chance(k, 50) ? EML_ABSENT : eml_mg_fresh(k, EML_DT_BOOL, scalar, 0, 1, 50);
        n->in[n->n_in++] = captured;
        put_graph(k, &graph, (const char *const[]){"at", "on", "state"}, 3,
                  (const char *const[]){"state", outer}, 2, "on", k->dtype, 2, 1);
        put_graph_attr(attrs, "body", &graph);
        capture(k, captured);
        return 2;
    }
    case EML_OP_SCAN: {
        uint32_t scanned = eml_mg_fresh(k, k->dtype, s, -8, 8, 90);
        struct eml_shape state = s;
        for (uint32_t i = 0; i + 1 < s.rank; i++)
            state.dim[i] = s.dim[i + 1];
        state.rank--;
        n->in[n->n_in++] = eml_mg_fresh(k, k->dtype, state, -8, 8, 50);
        n->in[n->n_in++] = scanned;
        put_graph(k, &graph, (const char *const[]){"state", "entry"}, 2,
                  (const char *const[]){"state", "entry"}, 2, NULL, k->dtype, 2, 1);
        put_graph_attr(attrs, "body", &graph);
        eml_pb_attr_int(attrs, "num_scan_inputs", 1);
        if (eml_mg_chance(k, 30))
            eml_mg_put_ints(k, attrs, "scan_input_directions", 1, 0, 1);
        if (eml_mg_chance(k, 30))
            eml_mg_put_ints(k, attrs, "scan_output_axes", 1, -1, 0);
        return 2;
    }
    default:
        n->in[n->n_in++] = eml_mg_operand(k, '[');
        put_graph(k, &graph, (const char *const[]){"one"}, 1, (const char *const[]){"one"}, 1, NULL,
                  k->dtype, 1, 1);
        put_graph_attr(attrs, "body", &graph);
        return 1;
    }
}
