/* Order of execution is the list's. Values are numbered as they appear. Constants that steer shapes
 * or branches become integers of the key; every other constant, and every node's params, gets a
 * slot of the weight stream in the order in which nodes read them, aligned to 64 bytes, packed as
 * the reading kernel wants it. A constant that two kernels want in different layouts gets two
 * slots.
 */
#include "decompose/emit.h"

#include "base/checked.h"
#include "engine/i8gemm.h"
#include "engine/pack.h"
#include "engine/rnn.h"

#include <string.h>

enum { SLOT_ALIGN = 64, STEERING_DATA_MAX = 64 };
#define NO_ID UINT32_MAX

struct slot {
    const struct eml_ir_value *value; /* NULL: params */
    const struct eml_ir_node *node;   /* its reader: tells layout and group */
    const struct eml_value *as;       /* where it lies, and how */
};

struct emit {
    struct eml_ir *ir;      /* in work: the whole, then its bodies */
    struct eml_graph *g;    /* what it becomes */
    struct eml_ir **bodies; /* in order of their index */
    uint32_t n_bodies;
    struct slot *slots; /* in order of the stream */
    uint32_t n_slots, cap;
    uint64_t at; /* end of the stream so far */
    struct eml_why *why;
};

static void *array(struct emit *e, size_t count, size_t size)
{
    void *p = eml_arena_array(e->ir->arena, count, size);
    if (p == NULL)
        e->ir->failed = true;
    return p;
}

/* Operands that say where and how large, not what: their numbers are needed to plan. */
static bool steers(const struct eml_ir_node *n, uint32_t i)
{
    switch (n->op) {
    case EML_OP_RESHAPE:
    case EML_OP_SQUEEZE:
    case EML_OP_UNSQUEEZE:
    case EML_OP_EXPAND:
    case EML_OP_TILE:
    case EML_OP_SPLIT:
    case EML_OP_CUM_SUM:
    case EML_OP_TRILU:
    case EML_OP_TOP_K:
    case EML_OP_ONE_HOT:
    case EML_OP_AFFINE_GRID:
    case EML_OP_CENTER_CROP_PAD:
        return i == 1;
    case EML_OP_MAX_UNPOOL:
        return i == 2;
    case EML_OP_SLICE:
    case EML_OP_COL2IM:
        return i >= 1;
    case EML_OP_DFT:
        return i == 1 || i == 2;
    case EML_OP_STFT:
        return i == 1 || i == 3;
    case EML_OP_HANN_WINDOW:
    case EML_OP_HAMMING_WINDOW:
    case EML_OP_BLACKMAN_WINDOW:
        return i == 0;
    case EML_OP_MEL_WEIGHT_MATRIX:
        return i <= 2;
    case EML_OP_PAD:
        return i == 1 || i == 3;
    case EML_OP_RESIZE:
        return i == 2 || i == 3;
    case EML_OP_CONSTANT_OF_SHAPE:
        return i == 0;
    case EML_OP_RANGE:
        return true;
    default:
        return n->op >= EML_OP_REDUCE_SUM && n->op <= EML_OP_REDUCE_SUM_SQUARE && i == 1;
    }
}

static bool computes_shapes(const struct eml_ir_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i]->has_ints)
            return true;
    return false;
}

/* Comparisons that the condition of an If comes from: with their constants in the key, the branch
 * is known as soon as the inputs are, and the graph can be planned. */
static void find_conditions(struct eml_ir *ir)
{
    for (struct eml_ir_node *n = ir->last; n != NULL; n = n->prev)
        for (uint32_t i = 0; i < (n->op == EML_OP_IF ? 1 : n->decides ? n->n_in : 0); i++) {
            struct eml_ir_node *maker = n->in[i] != NULL ? n->in[i]->maker : NULL;
            if (maker != NULL && (maker->op == EML_OP_CAST ||
                                  (maker->op >= EML_OP_EQUAL && maker->op <= EML_OP_NOT)))
                maker->decides = true;
        }
}

/* No rule can know -2^63: the key does not have it. */
static bool has_least(const struct eml_ir_value *v)
{
    const int64_t *ints = v->data;
    for (size_t i = 0; i < eml_ir_count(v); i++)
        if (ints[i] == INT64_MIN)
            return true;
    return false;
}

/* The constant belongs into the key. */
static bool is_ints(const struct eml_ir_node *n, uint32_t i)
{
    const struct eml_ir_value *v = n->in[i];
    if (v->dtype != EML_DT_I64 || v->shape.rank > 1)
        return false;
    size_t count = eml_ir_count(v);
    bool few = steers(n, i) ? count <= EML_INTS_MAX
                            : (n->decides || computes_shapes(n)) && count <= STEERING_DATA_MAX;
    return few && !has_least(v);
}

/* Shape arithmetic in int32 needs its constants in the key too, which holds int64: cast them. */
static void widen_shape_constants(struct eml_ir *ir)
{
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next)
        for (uint32_t i = 0; i < n->n_in; i++) {
            const struct eml_ir_value *v = n->in[i];
            uint32_t count;
            if (v == NULL || v->data == NULL || v->dtype != EML_DT_I32 || v->shape.rank > 1 ||
                eml_ir_count(v) > STEERING_DATA_MAX || !(steers(n, i) || computes_shapes(n)))
                continue;
            const int64_t *ints = eml_ir_known_ints(ir, v, &count);
            if (ints == NULL)
                continue;
            struct eml_ir_value *wide = eml_ir_const(ir, EML_DT_I64, &v->shape, ints);
            struct eml_ir_node *cast = eml_ir_node_new(ir, n, EML_OP_CAST, &wide, 1, 1);
            struct eml_ir_value *out = cast->out[0];
            eml_ir_set_int(ir, cast, EML_ATTR_TO, EML_DT_I32);
            out->dtype = EML_DT_I32;
            out->has_rank = true;
            out->shape = v->shape;
            out->has_ints = true;
            out->ints = ints;
            out->n_ints = count;
            eml_ir_set_in(ir, n, i, out);
        }
}

/* ---- layouts ---- */

static enum eml_layout layout_for(const struct eml_ir *ir, const struct eml_ir_node *n, uint32_t i)
{
    const struct eml_ir_value *v = n->in[i];
    const struct eml_shape *s = &v->shape;
    int64_t group = eml_ir_int(n, EML_ATTR_GROUP, 1);
    if ((v->dtype == EML_DT_U8 || v->dtype == EML_DT_I8) && s->rank >= 2 && eml_ir_count(v) != 0 &&
        eml_slot_read_by(n->op, i, EML_LAYOUT_PANEL16_I8))
        return EML_LAYOUT_PANEL16_I8;
    if (v->dtype != EML_DT_F32 || s->rank < 2 || eml_ir_count(v) == 0 ||
        !eml_slot_read_by(n->op, i, EML_LAYOUT_PANEL16))
        return EML_LAYOUT_PLAIN;
    if (ir->bf16 && eml_slot_read_by(n->op, i, EML_LAYOUT_PANEL16_BF16))
        return EML_LAYOUT_PANEL16_BF16;
    switch (n->op) {
    case EML_OP_MATMUL:
    case EML_OP_CONV_TRANSPOSE:
    case EML_OP_RNN:
    case EML_OP_GRU:
    case EML_OP_LSTM:
        return EML_LAYOUT_PANEL16;
    case EML_OP_CONV:
        return group > 1 && group == s->dim[0] && s->dim[1] == 1 ? EML_LAYOUT_DEPTHWISE
                                                                 : EML_LAYOUT_PANEL16;
    default:
        return EML_LAYOUT_PLAIN;
    }
}

static size_t taps(const struct eml_shape *s)
{
    size_t n = 1;
    for (uint32_t i = 2; i < s->rank; i++)
        n *= (size_t)s->dim[i];
    return n;
}

static void pack_bytes(const struct eml_ir_node *n, const struct eml_ir_value *v, int8_t *to)
{
    const struct eml_shape *s = &v->shape;
    const bool conv = n->op == EML_OP_CONV_INTEGER || n->op == EML_OP_QLINEAR_CONV;
    const size_t group = (size_t)eml_ir_int(n, EML_ATTR_GROUP, 1), count = eml_ir_count(v);
    const size_t columns = conv ? (size_t)s->dim[0] / group : (size_t)s->dim[s->rank - 1];
    const size_t k = conv ? count / (size_t)s->dim[0] : (size_t)s->dim[s->rank - 2];
    struct eml_i8_source src = {.flip = v->dtype == EML_DT_U8, .inner = 1, .outer_stride = columns};
    src.col_stride = 1;
    if (conv) {
        src.inner = (size_t)s->dim[1];
        src.inner_stride = k / src.inner;
        src.outer_stride = 1;
        src.col_stride = k;
    }
    for (size_t m = 0; m < count / (k * columns); m++) {
        src.src = (const uint8_t *)v->data + m * k * columns;
        eml_i8_pack(to, &src, k, columns);
        to += eml_i8_packed_bytes(k, columns);
    }
}

static void pack(const struct eml_ir_node *n, const struct eml_ir_value *v, enum eml_layout layout,
                 float *to)
{
    const struct eml_shape *s = &v->shape;
    size_t group = (size_t)eml_ir_int(n, EML_ATTR_GROUP, 1);
    size_t d0 = (size_t)s->dim[0], d1 = (size_t)s->dim[1];
    if (layout == EML_LAYOUT_DEPTHWISE) {
        eml_pack_depthwise(to, v->data, d0, taps(s));
    } else if (n->op == EML_OP_CONV) {
        eml_pack_conv(to, v->data, d0, d1, taps(s), group);
    } else if (n->op == EML_OP_CONV_TRANSPOSE) {
        eml_pack_conv_transpose(to, v->data, d0, d1, taps(s), group);
    } else if (n->op == EML_OP_RNN || n->op == EML_OP_GRU || n->op == EML_OP_LSTM) {
        size_t gates = (size_t)eml_rnn_gates(n->op), k = (size_t)s->dim[2], h = d1 / gates;
        eml_pack_panel16(to, v->data, d0 * gates, k, h, h * k, 1, k);
    } else {
        size_t k = (size_t)s->dim[s->rank - 2], cols = (size_t)s->dim[s->rank - 1];
        size_t matrices = eml_ir_count(v) / (k * cols);
        if (layout == EML_LAYOUT_PANEL16_BF16)
            eml_pack_panel16_bf16((uint32_t *)(void *)to, v->data, matrices, k, cols);
        else
            eml_pack_panel16(to, v->data, matrices, k, cols, k * cols, cols, 1);
    }
}

/* ---- values ---- */

static uint32_t new_value(struct emit *e, const struct eml_value *v)
{
    e->g->values[e->g->n_values] = *v;
    return e->g->n_values++;
}

static enum eml_err new_slot(struct emit *e, const struct eml_ir_node *n,
                             const struct eml_ir_value *v, struct eml_value *out, uint32_t *id)
{
    if (!eml_slot_bytes(out->dtype, &out->shape, out->layout, n->op,
                        eml_ir_int(n, EML_ATTR_GROUP, 1), &out->bytes) ||
        out->bytes > EML_WEIGHT_BYTES_MAX - e->at)
        return eml_fail(e->why, EML_E_UNSUPPORTED, "decompose: weights above the size limit",
                        n->origin);
    out->kind = EML_VALUE_SLOT;
    out->offset = e->at;
    e->at = (e->at + out->bytes + SLOT_ALIGN - 1) & ~(uint64_t)(SLOT_ALIGN - 1);
    *id = new_value(e, out);
    e->slots[e->n_slots++] = (struct slot){v, n, &e->g->values[*id]};
    return EML_OK;
}

/* The slot that v has is what n wants to read. */
static bool same_form(const struct eml_ir_value *v, const struct eml_ir_node *n,
                      enum eml_layout layout)
{
    return v->layout == layout &&
           (layout == EML_LAYOUT_PLAIN ||
            (v->packed_for->op == n->op &&
             eml_ir_int(v->packed_for, EML_ATTR_GROUP, 1) == eml_ir_int(n, EML_ATTR_GROUP, 1)));
}

static enum eml_err constant(struct emit *e, const struct eml_ir_node *n, uint32_t i, uint32_t *id)
{
    struct eml_ir_value *v = n->in[i];
    struct eml_value out = {
        .dtype = v->dtype, .shape = v->shape, .layout = layout_for(e->ir, n, i)};
    if (n->op != EML_OP_RANGE && v->dtype == EML_DT_I64 && steers(n, i) && has_least(v))
        return eml_fail(e->why, EML_E_INPUT, "decompose: -2^63 as a size, an axis or an index",
                        n->origin);
    if (is_ints(n, i)) {
        out.kind = EML_VALUE_INTS;
        out.ints = v->data;
        out.n_ints = (uint32_t)eml_ir_count(v);
        *id = new_value(e, &out);
        return EML_OK;
    }
    if (v->id == NO_ID || !same_form(v, n, out.layout)) {
        EML_TRY(new_slot(e, n, v, &out, &v->id));
        v->layout = out.layout;
        v->packed_for = n;
    }
    *id = v->id;
    return EML_OK;
}

static enum eml_err params(struct emit *e, const struct eml_ir_node *n, uint32_t *id)
{
    struct eml_value out = {.dtype = EML_DT_F32, .shape = {1, {n->n_params}}};
    *id = EML_ABSENT;
    return n->n_params != 0 ? new_slot(e, n, NULL, &out, id) : EML_OK;
}

/* Gives the node's bodies their indices. */
static void number_bodies(struct emit *e, struct eml_ir_node *n)
{
    static const enum eml_attr_id branch[2] = {EML_ATTR_THEN_BRANCH, EML_ATTR_ELSE_BRANCH};
    for (size_t k = 0; k < 2 && n->body[k] != NULL; k++) {
        eml_ir_set_int(e->ir, n, n->op == EML_OP_IF ? branch[k] : EML_ATTR_BODY, e->n_bodies);
        e->bodies[e->n_bodies++] = n->body[k];
    }
    if (n->body[0] != NULL && n->op != EML_OP_IF)
        eml_ir_set_int(e->ir, n, EML_ATTR_CAPTURES, n->n_captures);
}

static bool typed(const struct eml_ir_value *v)
{
    return v->dtype == EML_DT_SEQUENCE || eml_dtype_bytes(v->dtype) != 0;
}

/* The types of the node's results, and of what its bodies get, are known. */
static enum eml_err check_types(const struct emit *e, const struct eml_ir_node *n)
{
    bool ok = true;
    for (uint32_t i = 0; i < n->n_out; i++)
        ok = ok && typed(n->out[i]);
    for (size_t k = 0; k < 2 && n->body[k] != NULL; k++)
        for (uint32_t i = 0; i < n->body[k]->n_inputs; i++)
            ok = ok && typed(n->body[k]->inputs[i].value);
    return ok ? EML_OK
              : eml_fail(e->why, EML_E_UNSUPPORTED,
                         "decompose: element type of a value is not known", n->origin);
}

static enum eml_err node(struct emit *e, struct eml_ir_node *n)
{
    EML_TRY(check_types(e, n));
    number_bodies(e, n);
    uint32_t *ids = array(e, n->n_in + n->n_out, sizeof(*ids));
    if (ids == NULL)
        return eml_ir_ok(e->ir, e->why);
    struct eml_node *out = &e->g->nodes[e->g->n_nodes++];
    for (uint32_t i = 0; i < n->n_in; i++) {
        ids[i] = n->in[i] == NULL ? EML_ABSENT : n->in[i]->id;
        if (n->in[i] != NULL && n->in[i]->data != NULL)
            EML_TRY(constant(e, n, i, &ids[i]));
    }
    *out = (struct eml_node){n->op, n->n_in, n->n_out, n->n_attr, ids, ids + n->n_in, n->attr, 0};
    EML_TRY(params(e, n, &out->params));
    for (uint32_t i = 0; i < n->n_out; i++) {
        struct eml_value v = {.kind = EML_VALUE_NODE, .dtype = n->out[i]->dtype};
        n->out[i]->id = ids[n->n_in + i] = new_value(e, &v);
    }
    return EML_OK;
}

/* ---- the graph ---- */

/* An output that no node makes must be copied by one: the key's outputs are made by nodes. */
static void copy_unmade_outputs(struct eml_ir *ir)
{
    for (uint32_t i = 0; i < ir->n_outputs; i++) {
        struct eml_ir_value *v = ir->outputs[i].value;
        bool repeated = false;
        for (uint32_t j = 0; j < i; j++)
            repeated = repeated || ir->outputs[j].value == v;
        if (v->maker != NULL && !repeated)
            continue;
        struct eml_ir_node *copy = eml_ir_node_new(ir, NULL, EML_OP_IDENTITY, &v, 1, 1);
        copy->out[0]->dtype = v->dtype;
        copy->out[0]->has_rank = v->has_rank;
        copy->out[0]->shape = v->shape;
        v->uses--;
        ir->outputs[i].value = copy->out[0];
        copy->out[0]->uses++;
    }
}

/* Values of a graph and slots that it can need; nodes. */
static void count(struct eml_ir *ir, size_t *values, size_t *nodes)
{
    *values = (size_t)ir->n_inputs + ir->n_outputs;
    *nodes = 0;
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next) {
        if (n->body[0] == NULL)
            eml_ir_trim(n);
        *values += n->n_in + n->n_out + 1u;
        (*nodes)++;
        for (uint32_t i = 0; i < n->n_in; i++)
            if (n->in[i] != NULL)
                n->in[i]->id = NO_ID;
    }
    for (uint32_t i = 0; i < ir->n_outputs; i++)
        ir->outputs[i].value->id = NO_ID;
}

static enum eml_err allocate_graph(struct emit *e)
{
    size_t values, nodes;
    count(e->ir, &values, &nodes);
    e->g->values = array(e, values, sizeof(*e->g->values));
    e->g->nodes = array(e, nodes, sizeof(*e->g->nodes));
    e->g->inputs = array(e, e->ir->n_inputs, sizeof(*e->g->inputs));
    e->g->outputs = array(e, e->ir->n_outputs, sizeof(*e->g->outputs));
    return eml_ir_ok(e->ir, e->why);
}

/* Room for all graphs together. Constants are copied as outputs need it, and widened, on the way.
 */
static enum eml_err allocate(struct emit *e, struct eml_ir *whole)
{
    size_t values = 0, nodes = 0, bodies = 0;
    for (struct eml_ir *ir = whole; ir != NULL; ir = ir->next) {
        size_t v, n;
        find_conditions(ir);
        widen_shape_constants(ir);
        copy_unmade_outputs(ir);
        EML_TRY(eml_ir_ok(ir, e->why));
        count(ir, &v, &n);
        values += v;
        nodes += n;
        bodies += ir != whole;
    }
    if (nodes > EML_GRAPH_NODES_MAX || values > EML_GRAPH_VALUES_MAX ||
        bodies > EML_GRAPH_BODIES_MAX)
        return eml_fail(e->why, EML_E_UNSUPPORTED, "decompose: graph above the size limit", -1);
    e->slots = array(e, values, sizeof(*e->slots));
    e->bodies = array(e, bodies, sizeof(struct eml_ir *));
    e->g->graphs = array(e, bodies, sizeof(*e->g->graphs));
    return eml_ir_ok(e->ir, e->why);
}

static void fill(const struct emit *e, uint8_t *stream)
{
    for (uint32_t i = 0; i < e->n_slots; i++) {
        const struct slot *s = &e->slots[i];
        const struct eml_value *v = s->as;
        uint8_t *to = stream + v->offset;
        if (s->value == NULL)
            memcpy(to, s->node->params, s->node->n_params * sizeof(float));
        else if (v->layout == EML_LAYOUT_PANEL16_I8)
            pack_bytes(s->node, s->value, (int8_t *)to);
        else if (v->layout != EML_LAYOUT_PLAIN)
            pack(s->node, s->value, v->layout, (float *)(void *)to);
        else if (v->bytes != 0)
            memcpy(to, s->value->data, (size_t)v->bytes);
    }
}

static enum eml_err build(struct emit *e, bool body)
{
    struct eml_ir *ir = e->ir;
    EML_TRY(allocate_graph(e));
    for (uint32_t i = 0; i < ir->n_inputs; i++) {
        struct eml_ir_value *v = ir->inputs[i].value;
        struct eml_value out = {.kind = EML_VALUE_INPUT, .dtype = v->dtype};
        if (!body && v->has_rank)
            out.shape = v->shape;
        v->id = new_value(e, &out);
        e->g->inputs[e->g->n_inputs++] = (struct eml_name){ir->inputs[i].name, v->id};
    }
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next)
        EML_TRY(node(e, n));
    for (uint32_t i = 0; i < ir->n_outputs; i++)
        e->g->outputs[e->g->n_outputs++] =
            (struct eml_name){ir->outputs[i].name, ir->outputs[i].value->id};
    return EML_OK;
}

enum eml_err eml_emit(struct eml_ir *ir, struct eml_emitted *out, struct eml_why *why)
{
    struct eml_graph *g = &out->graph;
    struct emit e = {.ir = ir, .g = g, .why = why};
    memset(out, 0, sizeof(*out));
    EML_TRY(allocate(&e, ir));
    EML_TRY(build(&e, false));
    for (uint32_t i = 0; i < e.n_bodies; i++) {
        e.ir = e.bodies[i];
        e.g = &g->graphs[i];
        EML_TRY(build(&e, true));
    }
    g->n_graphs = e.n_bodies;
    EML_TRY(eml_ir_ok(ir, why));
    uint8_t *stream = eml_ir_alloc(ir, (size_t)e.at);
    EML_TRY(eml_ir_ok(ir, why));
    fill(&e, stream);
    out->weights = eml_bytes(stream, (size_t)e.at);
    enum eml_err bad = eml_graph_check(g, e.at, why);
    if (bad != EML_OK && why != NULL)
        why->index = -1; /* was a place in the graph, not a node of ONNX */
    return bad;
}
