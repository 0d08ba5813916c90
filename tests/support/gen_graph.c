#include "testsupport/gen_graph.h"

#include "topology/topology.h"

#include <stdio.h>
#include <string.h>

struct maker {
    struct eml_gen *g;
    struct eml_arena *arena;
    struct eml_graph *graph;
    uint32_t values_max;
    uint64_t weight_bytes;
};

static void *take(struct maker *m, size_t n, size_t size)
{
    void *p = eml_arena_array(m->arena, n, size);
    EML_ASSERT(p != NULL);
    return p;
}

static int64_t pick(struct maker *m, int64_t lo, int64_t hi)
{
    return eml_gen_range(m->g, lo, hi);
}

static uint32_t add_value(struct maker *m, struct eml_value v)
{
    EML_ASSERT(m->graph->n_values < m->values_max);
    m->graph->values[m->graph->n_values] = v;
    return m->graph->n_values++;
}

static enum eml_dtype any_dtype(struct maker *m)
{
    static const enum eml_dtype types[] = {EML_DT_F32, EML_DT_I64, EML_DT_I32, EML_DT_BOOL,
                                           EML_DT_U8,  EML_DT_F16, EML_DT_F64, EML_DT_BF16};
    return types[pick(m, 0, sizeof types / sizeof types[0] - 1)];
}

static struct eml_shape any_shape(struct maker *m, bool unknown_dims)
{
    struct eml_shape s = {.rank = (uint32_t)pick(m, 0, EML_RANK_MAX)};
    for (uint32_t i = 0; i < s.rank; i++)
        s.dim[i] = unknown_dims && eml_gen_bool(m->g) ? EML_DIM_UNKNOWN : pick(m, 0, 5);
    return s;
}

static uint32_t add_slot(struct maker *m, struct eml_value v, enum eml_op op, int64_t group)
{
    v.kind = EML_VALUE_SLOT;
    v.offset = m->weight_bytes;
    EML_ASSERT(eml_slot_bytes(v.dtype, &v.shape, v.layout, op, group, &v.bytes));
    m->weight_bytes += (v.bytes + 63) / 64 * 64;
    uint32_t id = add_value(m, v);
    if (pick(m, 0, 9) == 0) /* the same bytes under another id */
        id = add_value(m, v);
    return id;
}

static uint32_t add_floats(struct maker *m, int64_t n)
{
    struct eml_value v = {.dtype = EML_DT_F32, .shape = {.rank = 1, .dim = {n}}};
    return add_slot(m, v, EML_OP_N, 1);
}

static uint32_t add_ints(struct maker *m)
{
    bool scalar = eml_gen_bool(m->g);
    uint32_t n = scalar ? 1 : (uint32_t)pick(m, 0, 6);
    int64_t *v = take(m, n, sizeof *v);
    for (uint32_t i = 0; i < n; i++)
        v[i] = eml_gen_bool(m->g) ? pick(m, -3, 300) : (int64_t)eml_gen_u64(m->g);
    struct eml_shape shape = {.rank = scalar ? 0 : 1, .dim = {scalar ? 0 : n}};
    return add_value(
        m,
        (struct eml_value){
            .kind = EML_VALUE_INTS, .dtype = EML_DT_I64, .shape = shape, .ints = v, .n_ints = n});
}

/* Any value there is that is not packed weights. */
static uint32_t any_operand(struct maker *m)
{
    for (;;) {
        uint32_t id = (uint32_t)pick(m, 0, m->graph->n_values - 1);
        const struct eml_value *v = &m->graph->values[id];
        if (v->kind != EML_VALUE_SLOT || v->layout == EML_LAYOUT_PLAIN)
            return id;
    }
}

static void set_attr(struct maker *m, struct eml_node *n, enum eml_attr_id id, uint32_t count,
                     int64_t lo, int64_t hi)
{
    struct eml_attr *attrs = take(m, n->n_attr + 1, sizeof *attrs);
    if (n->n_attr != 0)
        memcpy(attrs, n->attr, n->n_attr * sizeof *attrs);
    int64_t *v = take(m, count, sizeof *v);
    for (uint32_t i = 0; i < count; i++)
        v[i] = pick(m, lo, hi);
    attrs[n->n_attr] = (struct eml_attr){id, count, v};
    n->attr = attrs;
    n->n_attr++;
}

static uint32_t *make_inputs(struct maker *m, struct eml_node *n, uint32_t count)
{
    uint32_t *in = take(m, count, sizeof *in);
    for (uint32_t i = 0; i < count; i++)
        in[i] = any_operand(m);
    n->in = in;
    n->n_in = count;
    return in;
}

static void make_outputs(struct maker *m, struct eml_node *n, uint32_t count)
{
    uint32_t *out = take(m, count, sizeof *out);
    for (uint32_t i = 0; i < count; i++)
        out[i] = add_value(m, (struct eml_value){.kind = EML_VALUE_NODE, .dtype = any_dtype(m)});
    n->out = out;
    n->n_out = count;
}

static void make_conv(struct maker *m, struct eml_node *n)
{
    bool depthwise = eml_gen_bool(m->g);
    int64_t group = depthwise ? pick(m, 1, 40) : pick(m, 1, 3);
    int64_t out = depthwise ? group : group * pick(m, 1, 20), in = depthwise ? 1 : pick(m, 1, 20);
    struct eml_value w = {.dtype = EML_DT_F32,
                          .shape = {.rank = 4, .dim = {out, in, pick(m, 1, 3), pick(m, 1, 3)}},
                          .layout = depthwise ? EML_LAYOUT_DEPTHWISE : EML_LAYOUT_PANEL16};
    bool act = eml_gen_bool(m->g), transpose = !depthwise && eml_gen_bool(m->g);
    n->op = transpose ? EML_OP_CONV_TRANSPOSE : EML_OP_CONV;
    uint32_t *operands = make_inputs(m, n, 4);
    operands[1] = add_slot(m, w, n->op, group);
    operands[2] = eml_gen_bool(m->g) ? EML_ABSENT : add_floats(m, out);
    if (act)
        set_attr(m, n, EML_ATTR_ACT, 1, EML_ACT_CLIP, EML_ACT_CLIP);
    set_attr(m, n, EML_ATTR_PADS, 4, 0, 3);
    set_attr(m, n, EML_ATTR_STRIDES, 2, 1, 2);
    set_attr(m, n, EML_ATTR_GROUP, 1, group, group);
    if (act)
        n->params = add_floats(m, 2);
}

static void make_matmul(struct maker *m, struct eml_node *n)
{
    struct eml_value w = {
        .dtype = EML_DT_F32,
        .shape = {.rank = 3, .dim = {pick(m, 1, 3), pick(m, 1, 40), pick(m, 1, 40)}},
        .layout = EML_LAYOUT_PANEL16};
    n->op = EML_OP_MATMUL;
    make_inputs(m, n, 2)[1] = add_slot(m, w, n->op, 1);
}

static void make_node(struct maker *m, struct eml_node *n)
{
    uint32_t outputs = 1;
    n->params = EML_ABSENT;
    switch (pick(m, 0, 8)) {
    case 0:
        make_conv(m, n);
        break;
    case 1:
        make_matmul(m, n);
        break;
    case 2:
        n->op = EML_OP_CONCAT;
        (void)make_inputs(m, n, (uint32_t)pick(m, 1, 30));
        set_attr(m, n, EML_ATTR_AXIS, 1, -4, 4);
        break;
    case 3:
        n->op = EML_OP_SPLIT;
        (void)make_inputs(m, n, 1);
        outputs = (uint32_t)pick(m, 1, 9);
        break;
    case 4:
        n->op = EML_OP_RESHAPE;
        make_inputs(m, n, 2)[1] = add_ints(m);
        break;
    case 5:
        n->op = EML_OP_LEAKY_RELU;
        (void)make_inputs(m, n, 1);
        n->params = add_floats(m, 1);
        break;
    case 6:
        n->op = EML_OP_CLIP;
        make_inputs(m, n, 3)[1] = EML_ABSENT;
        break;
    case 7:
        n->op = EML_OP_ACTIVATE;
        (void)make_inputs(m, n, 2);
        set_attr(m, n, EML_ATTR_ACT, 1, EML_ACT_PRELU, EML_ACT_PRELU);
        break;
    default:
        n->op = EML_OP_ADD;
        (void)make_inputs(m, n, 2);
        break;
    }
    make_outputs(m, n, outputs);
}

static struct eml_name make_name(struct maker *m, const char *prefix, uint32_t i, uint32_t value)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%s %u \xc3\xa9", prefix, i);
    EML_ASSERT(len > 0 && (size_t)len < sizeof text);
    char *copy = take(m, (size_t)len, 1);
    memcpy(copy, text, (size_t)len);
    return (struct eml_name){eml_bytes(copy, (size_t)len), value};
}

/* A body of one sum: `captures` inputs, one output. */
static void make_body(struct maker *m, struct eml_graph *body, uint32_t captures)
{
    struct eml_graph *outer = m->graph;
    uint32_t values_max = m->values_max;
    m->graph = body;
    m->values_max = captures + 1;
    body->values = take(m, m->values_max, sizeof *body->values);
    body->nodes = take(m, 1, sizeof *body->nodes);
    body->inputs = take(m, captures, sizeof *body->inputs);
    body->outputs = take(m, 1, sizeof *body->outputs);
    for (uint32_t i = 0; i < captures; i++)
        body->inputs[i].value =
            add_value(m, (struct eml_value){.kind = EML_VALUE_INPUT, .dtype = any_dtype(m)});
    body->nodes[0] = (struct eml_node){.op = EML_OP_SUM, .params = EML_ABSENT};
    (void)make_inputs(m, &body->nodes[0], (uint32_t)pick(m, 1, 3));
    make_outputs(m, &body->nodes[0], 1);
    body->n_nodes = 1;
    body->outputs[0].value = body->nodes[0].out[0];
    body->n_inputs = captures;
    body->n_outputs = 1;
    m->graph = outer;
    m->values_max = values_max;
}

/* One If, with two bodies. */
static void make_if(struct maker *m, struct eml_node *n)
{
    struct eml_graph *g = m->graph;
    g->graphs = take(m, 2, sizeof *g->graphs);
    g->n_graphs = 2;
    uint32_t yes = (uint32_t)pick(m, 1, 4), no = (uint32_t)pick(m, 1, 4);
    make_body(m, &g->graphs[0], yes);
    make_body(m, &g->graphs[1], no);
    *n = (struct eml_node){.op = EML_OP_IF, .params = EML_ABSENT};
    (void)make_inputs(m, n, 1 + yes + no);
    set_attr(m, n, EML_ATTR_THEN_BRANCH, 1, 0, 0);
    set_attr(m, n, EML_ATTR_ELSE_BRANCH, 1, 1, 1);
    make_outputs(m, n, 1);
}

void eml_gen_topology(struct eml_gen *g, struct eml_arena *arena, uint32_t nodes,
                      struct eml_topology *out)
{
    *out = (struct eml_topology){.blob = {.version = (uint64_t)eml_gen_range(g, 1, 1000)}};
    struct maker m = {.g = g, .arena = arena, .graph = &out->graph, .values_max = nodes * 12 + 16};
    struct eml_graph *graph = &out->graph;
    graph->values = take(&m, m.values_max, sizeof *graph->values);
    graph->nodes = take(&m, nodes, sizeof *graph->nodes);
    graph->n_inputs = (uint32_t)pick(&m, 1, 4);
    graph->inputs = take(&m, graph->n_inputs, sizeof *graph->inputs);
    for (uint32_t i = 0; i < graph->n_inputs; i++) {
        struct eml_value v = {.kind = EML_VALUE_INPUT, .dtype = any_dtype(&m)};
        v.shape = any_shape(&m, true);
        graph->inputs[i] = make_name(&m, "in", i, add_value(&m, v));
    }
    struct eml_value plain = {.dtype = any_dtype(&m), .shape = any_shape(&m, false)};
    (void)add_slot(&m, plain, EML_OP_N, 1);
    if (nodes > 1 && eml_gen_bool(g))
        make_if(&m, &graph->nodes[graph->n_nodes++]);
    for (; graph->n_nodes < nodes; graph->n_nodes++)
        make_node(&m, &graph->nodes[graph->n_nodes]);
    graph->n_outputs = (uint32_t)pick(&m, 1, 5);
    graph->outputs = take(&m, graph->n_outputs, sizeof *graph->outputs);
    for (uint32_t i = 0; i < graph->n_outputs; i++)
        graph->outputs[i] = make_name(&m, "out", i, any_operand(&m));
    eml_gen_fill(g, out->blob.object_id, sizeof out->blob.object_id);
    eml_gen_fill(g, out->blob.model_id, sizeof out->blob.model_id);
    out->blob.cipher = (enum eml_cipher)eml_gen_range(g, 0, EML_CIPHER_N - 1);
    eml_gen_fill(g, out->blob.key.bytes, sizeof out->blob.key.bytes);
    eml_gen_fill(g, out->blob.digest, sizeof out->blob.digest);
    out->blob.plain_bytes = m.weight_bytes;
    out->blob.chunks = eml_blob_chunks(m.weight_bytes);
    out->min_version = (uint64_t)eml_gen_range(g, 0, (int64_t)out->blob.version);
    out->activation_bytes_max = eml_gen_u64(g);
    out->flops_max = eml_gen_bool(g) ? 0 : eml_gen_u64(g);
}
