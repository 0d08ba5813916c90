#include "model/graph.h"

#include "base/wipe.h"
#include "model/limits.h"

#include <stdlib.h>
#include <string.h>

/* Rules: docs/formats/topology-key.md, "Validity". Each check assumes those before it only. */

/* Rows of ops.def are read once for all nodes of an operator, as far as there is room. */
struct memo {
    struct {
        enum eml_op op;
        enum eml_attr_id id;
        const char *type; /* NULL: empty */
    } attrs[64];
    uint8_t floats[EML_OP_N]; /* 1 + number of float attributes; 0: empty */
};

struct check {
    struct memo *memo;
    const struct eml_graph *g;     /* in work */
    const struct eml_graph *whole; /* that g is, or a body of */
    uint32_t *depth;               /* per body: 0 = no node has it yet */
    uint32_t at_depth;             /* of g */
    uint32_t index;                /* of g among the bodies; UINT32_MAX: the whole */
    uint64_t weight_bytes;
    bool *written;   /* per value: a node before this one writes it */
    uint32_t *slots; /* ids of the slots that are not empty */
    uint32_t n_slots;
    struct eml_why *why;
};

static enum eml_err bad(const struct check *c, const char *rule, size_t index)
{
    return eml_fail(c->why, EML_E_INPUT, rule, (long)index);
}

static bool known(const struct check *c, uint32_t id)
{
    return id < c->g->n_values;
}

/* --- values --- */

static enum eml_err check_input_value(const struct check *c, const struct eml_value *v, uint32_t i)
{
    bool all_known = true;
    for (uint32_t d = 0; d < v->shape.rank; d++) {
        if (v->shape.dim[d] < 0 && v->shape.dim[d] != EML_DIM_UNKNOWN)
            return bad(c, "graph: negative dimension of an input", i);
        all_known = all_known && v->shape.dim[d] != EML_DIM_UNKNOWN;
    }
    uint64_t bytes;
    if (v->dtype == EML_DT_SEQUENCE || c->g != c->whole)
        return v->shape.rank == 0 ? EML_OK : bad(c, "graph: input that has no shape has one", i);
    if (all_known && (!eml_slot_bytes(v->dtype, &v->shape, EML_LAYOUT_PLAIN, EML_OP_N, 1, &bytes) ||
                      bytes > EML_TENSOR_BYTES_MAX))
        return bad(c, "graph: input larger than the limit", i);
    return EML_OK;
}

/* The length of a packed slot is checked at the node that reads it. */
static enum eml_err check_slot(struct check *c, const struct eml_value *v, uint32_t i)
{
    uint64_t bytes;
    if ((unsigned)v->layout >= EML_LAYOUT_N)
        return bad(c, "graph: unknown layout", i);
    if (v->offset % 64 != 0)
        return bad(c, "graph: slot is not aligned to 64 bytes", i);
    if (v->bytes > EML_TENSOR_BYTES_MAX)
        return bad(c, "graph: slot larger than the limit", i);
    if (v->offset > c->weight_bytes || v->bytes > c->weight_bytes - v->offset)
        return bad(c, "graph: slot outside the weights", i);
    if (v->layout == EML_LAYOUT_PLAIN &&
        (!eml_slot_bytes(v->dtype, &v->shape, v->layout, EML_OP_N, 1, &bytes) || bytes != v->bytes))
        return bad(c, "graph: slot is not as long as its shape needs", i);
    if (v->bytes != 0)
        c->slots[c->n_slots++] = i;
    return EML_OK;
}

static enum eml_err check_ints(const struct check *c, const struct eml_value *v, uint32_t i)
{
    if (v->dtype != EML_DT_I64)
        return bad(c, "graph: integers of the key are int64", i);
    if (v->n_ints > EML_INTS_MAX)
        return bad(c, "graph: more integers than the limit", i);
    if (v->shape.rank > 1 || (v->shape.rank == 0 && v->n_ints != 1) ||
        (v->shape.rank == 1 && v->shape.dim[0] != (int64_t)v->n_ints))
        return bad(c, "graph: integers do not fit their shape", i);
    for (uint32_t k = 0; k < v->n_ints; k++)
        if (v->ints[k] == INT64_MIN)
            return bad(c, "graph: integer of the key is -2^63", i);
    return EML_OK;
}

static enum eml_err check_value(struct check *c, const struct eml_value *v, uint32_t i)
{
    bool list =
        v->dtype == EML_DT_SEQUENCE && (v->kind == EML_VALUE_NODE || v->kind == EML_VALUE_INPUT);
    if (eml_dtype_bytes(v->dtype) == 0 && !list)
        return bad(c, "graph: unknown element type", i);
    if (v->shape.rank > EML_RANK_MAX)
        return bad(c, "graph: rank over 8", i);
    switch (v->kind) {
    case EML_VALUE_NODE:
        return EML_OK;
    case EML_VALUE_INPUT:
        return check_input_value(c, v, i);
    case EML_VALUE_SLOT:
        return check_slot(c, v, i);
    case EML_VALUE_INTS:
        return check_ints(c, v, i);
    }
    return bad(c, "graph: unknown kind of value", i);
}

/* --- slots overlap only if they are the same bytes --- */

static bool before(const struct check *c, uint32_t a, uint32_t b)
{
    const struct eml_value *x = &c->g->values[a], *y = &c->g->values[b];
    return x->offset != y->offset ? x->offset < y->offset : x->bytes < y->bytes;
}

static void sift_down(struct check *c, uint32_t at, uint32_t n)
{
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(c, c->slots[child], c->slots[child + 1]))
            child++;
        if (!before(c, c->slots[at], c->slots[child]))
            return;
        uint32_t swapped = c->slots[at];
        c->slots[at] = c->slots[child];
        c->slots[child] = swapped;
    }
}

static bool sorted(const struct check *c)
{
    for (uint32_t i = 1; i < c->n_slots; i++)
        if (before(c, c->slots[i], c->slots[i - 1]))
            return false;
    return true;
}

/* Heapsort: in place, since qsort may leave copies on the heap, and never quadratic. Decomposition
 * numbers slots in their order. */
static void sort_slots(struct check *c)
{
    if (sorted(c))
        return;
    for (uint32_t i = c->n_slots / 2; i > 0; i--)
        sift_down(c, i - 1, c->n_slots);
    for (uint32_t n = c->n_slots; n > 1; n--) {
        uint32_t last = c->slots[n - 1];
        c->slots[n - 1] = c->slots[0];
        c->slots[0] = last;
        sift_down(c, 0, n - 1);
    }
}

static enum eml_err check_overlaps(struct check *c)
{
    sort_slots(c);
    for (uint32_t i = 1; i < c->n_slots; i++) {
        const struct eml_value *a = &c->g->values[c->slots[i - 1]];
        const struct eml_value *b = &c->g->values[c->slots[i]];
        bool same = a->offset == b->offset && a->bytes == b->bytes;
        if (!same && b->offset - a->offset < a->bytes)
            return bad(c, "graph: slots overlap", c->slots[i]);
    }
    return EML_OK;
}

/* --- attributes, by the grammar of ops.def --- */

/* The text after `name` in the row, up to the end of the row; NULL if it is not a word of it. */
static const char *find_attr(const char *row, const char *name)
{
    for (const char *w = row; *w != '\0';) {
        size_t k = 0;
        for (; name[k] != '\0' && w[k] == name[k]; k++) {
        }
        if (name[k] == '\0' && w[k] == '=')
            return w + k + 1;
        w += k;
        while (*w != '\0' && *w++ != ' ') {
        }
    }
    return NULL;
}

static int64_t count_choices(const char *choices)
{
    int64_t n = 1;
    for (const char *p = choices; *p != '\0' && *p != ' '; p++)
        n += *p == '|';
    return n;
}

static size_t count_float_attrs(const char *row)
{
    size_t n = 0;
    for (const char *p = row; (p = strstr(p, "=p")) != NULL; p += 2)
        n++;
    return n;
}

static const char *attr_name(enum eml_attr_id id)
{
#define ATTR(id, name) [EML_ATTR_##id] = name,
    static const char *const names[EML_ATTR_N] = {
#include "model/attrs.def"
    };
#undef ATTR
    return names[id];
}

/* find_attr of the operator's row. */
static const char *attr_type(const struct check *c, enum eml_op op, enum eml_attr_id id)
{
    const size_t n = sizeof c->memo->attrs / sizeof c->memo->attrs[0];
    const size_t at = (7 * (size_t)op + (size_t)id) % n;
    if (c->memo->attrs[at].type == NULL || c->memo->attrs[at].op != op ||
        c->memo->attrs[at].id != id) {
        c->memo->attrs[at].op = op;
        c->memo->attrs[at].id = id;
        c->memo->attrs[at].type = find_attr(eml_op_info(op)->attrs, attr_name(id));
    }
    return c->memo->attrs[at].type;
}

static size_t float_attrs(const struct check *c, enum eml_op op)
{
    uint8_t *n = &c->memo->floats[op];
    if (*n == 0)
        *n = (uint8_t)(1 + count_float_attrs(eml_op_info(op)->attrs));
    return *n - 1u;
}

static enum eml_err check_attr(const struct check *c, const struct eml_attr *a, enum eml_op op,
                               size_t node)
{
    if (a->n > EML_ATTR_INTS_MAX)
        return bad(c, "graph: attribute longer than the limit", node);
    if (a->id == EML_ATTR_ACT)
        return a->n == 1 && a->v[0] > EML_ACT_NONE && a->v[0] < EML_ACT_N
                   ? EML_OK
                   : bad(c, "graph: unknown activation", node);
    const char *type = attr_type(c, op, a->id);
    if (type == NULL)
        return bad(c, "graph: attribute that the operator does not have", node);
    if (type[0] == 'i' && type[1] == 's')
        return EML_OK;
    if (type[0] == 'i')
        return a->n == 1 ? EML_OK : bad(c, "graph: attribute is not one integer", node);
    if (type[0] == 's') {
        for (uint32_t i = 0; i < a->n; i++)
            if (a->v[i] < 0 || a->v[i] > UINT8_MAX)
                return bad(c, "graph: attribute is no text", node);
        return EML_OK;
    }
    if (type[0] == 'e' && type[1] == 's') {
        for (uint32_t i = 0; i < a->n; i++)
            if (a->v[i] < 0 || a->v[i] >= count_choices(type + 3))
                return bad(c, "graph: attribute is not one of its choices", node);
        return EML_OK;
    }
    if (type[0] == 'g')
        return a->n == 1 && a->v[0] >= 0 && a->v[0] < (int64_t)c->whole->n_graphs
                   ? EML_OK
                   : bad(c, "graph: no body of that index", node);
    if (type[0] == 'e')
        return a->n == 1 && a->v[0] >= 0 && a->v[0] < count_choices(type + 2)
                   ? EML_OK
                   : bad(c, "graph: attribute is not one of its choices", node);
    return bad(c, "graph: attribute that the operator does not have", node);
}

static enum eml_err check_attrs(const struct check *c, const struct eml_node *n, size_t node)
{
    if (n->n_attr > EML_NODE_ATTR_MAX)
        return bad(c, "graph: more attributes than the limit", node);
    for (uint32_t i = 0; i < n->n_attr; i++) {
        if ((unsigned)n->attr[i].id >= EML_ATTR_N)
            return bad(c, "graph: unknown attribute", node);
        if (i > 0 && n->attr[i].id <= n->attr[i - 1].id)
            return bad(c, "graph: attributes not in ascending order", node);
        EML_TRY(check_attr(c, &n->attr[i], n->op, node));
    }
    if (n->op == EML_OP_ACTIVATE && eml_node_attr(n, EML_ATTR_ACT) == NULL)
        return bad(c, "graph: activation without its attribute", node);
    return EML_OK;
}

/* --- nodes --- */

static enum eml_err check_params(const struct check *c, const struct eml_node *n, size_t node)
{
    enum eml_act act = (enum eml_act)eml_node_int(n, EML_ATTR_ACT, EML_ACT_NONE);
    size_t want = float_attrs(c, n->op) + eml_act_params(act);
    if (act == EML_ACT_PRELU &&
        (n->n_in <= eml_op_info(n->op)->in_min || n->in[n->n_in - 1] == EML_ABSENT))
        return bad(c, "graph: slope of the activation is missing", node);
    if (want == 0)
        return n->params == EML_ABSENT ? EML_OK : bad(c, "graph: params that nothing needs", node);
    if (!known(c, n->params))
        return bad(c, "graph: params are missing", node);
    const struct eml_value *v = &c->g->values[n->params];
    if (v->kind != EML_VALUE_SLOT || v->dtype != EML_DT_F32 || v->layout != EML_LAYOUT_PLAIN ||
        v->shape.rank != 1 || v->shape.dim[0] != (int64_t)want)
        return bad(c, "graph: params are not a float32 slot of the needed length", node);
    return EML_OK;
}

static enum eml_err check_packed(const struct check *c, const struct eml_node *n, uint32_t k,
                                 size_t node)
{
    const struct eml_value *v = &c->g->values[n->in[k]];
    uint64_t bytes;
    if (v->kind != EML_VALUE_SLOT || v->layout == EML_LAYOUT_PLAIN)
        return EML_OK;
    int64_t group = eml_node_int(n, EML_ATTR_GROUP, 1);
    if (!eml_slot_read_by(n->op, k, v->layout) ||
        !eml_slot_bytes(v->dtype, &v->shape, v->layout, n->op, group, &bytes))
        return bad(c, "graph: packed weights where the operator cannot read them", node);
    if (bytes != v->bytes)
        return bad(c, "graph: packed weights are not as long as their shape needs", node);
    return EML_OK;
}

static enum eml_err check_operands(const struct check *c, const struct eml_node *n, size_t node)
{
    const struct eml_op_info *op = eml_op_info(n->op);
    if (n->n_in < op->in_min || (op->in_max != 255 && n->n_in > op->in_max) ||
        n->n_in > EML_NODE_IN_MAX)
        return bad(c, "graph: number of inputs of a node", node);
    for (uint32_t k = 0; k < n->n_in; k++) {
        if (n->in[k] == EML_ABSENT && k >= op->in_min)
            continue;
        if (!known(c, n->in[k]))
            return bad(c, "graph: input of a node is no value", node);
        if (c->g->values[n->in[k]].kind == EML_VALUE_NODE && !c->written[n->in[k]])
            return bad(c, "graph: value read before it is written", node);
        EML_TRY(check_packed(c, n, k, node));
    }
    return EML_OK;
}

static enum eml_err check_results(struct check *c, const struct eml_node *n, size_t node)
{
    if (n->n_out < 1 || n->n_out > eml_op_info(n->op)->out_max || n->n_out > EML_NODE_OUT_MAX)
        return bad(c, "graph: number of outputs of a node", node);
    for (uint32_t k = 0; k < n->n_out; k++) {
        if (!known(c, n->out[k]) || c->g->values[n->out[k]].kind != EML_VALUE_NODE)
            return bad(c, "graph: output of a node is no value of a node", node);
        if (c->written[n->out[k]])
            return bad(c, "graph: value written twice", node);
        c->written[n->out[k]] = true;
    }
    return EML_OK;
}

/* --- bodies --- */

/* The body that an attribute names: a node's alone, and behind the graph of that node, so that
 * bodies form a tree. */
static enum eml_err take_body(struct check *c, const struct eml_node *n, enum eml_attr_id id,
                              size_t node, const struct eml_graph **body)
{
    int64_t at = eml_node_int(n, id, -1);
    *body = NULL;
    if (at < 0 || (c->index != UINT32_MAX && at <= (int64_t)c->index))
        return bad(c, "graph: body that is missing or stands before its node's graph", node);
    if (c->depth[at] != 0)
        return bad(c, "graph: body of two nodes", node);
    if (c->at_depth >= EML_GRAPH_DEPTH_MAX)
        return bad(c, "graph: bodies nested too deep", node);
    c->depth[at] = c->at_depth + 1;
    *body = &c->whole->graphs[at];
    return EML_OK;
}

static enum eml_err check_if(struct check *c, const struct eml_node *n, size_t node)
{
    const struct eml_graph *yes, *no;
    EML_TRY(take_body(c, n, EML_ATTR_THEN_BRANCH, node, &yes));
    EML_TRY(take_body(c, n, EML_ATTR_ELSE_BRANCH, node, &no));
    if (n->n_in != (uint64_t)1 + yes->n_inputs + no->n_inputs || yes->n_outputs != n->n_out ||
        no->n_outputs != n->n_out)
        return bad(c, "graph: operands and results of a node do not fit its body", node);
    return EML_OK;
}

/* Loop, Scan, SequenceMap. Operands: the node's own, then captures; inputs of the body likewise. */
static enum eml_err check_loop(struct check *c, const struct eml_node *n, size_t node)
{
    const struct eml_graph *body;
    int64_t captures = eml_node_int(n, EML_ATTR_CAPTURES, 0);
    int64_t scans = eml_node_int(n, EML_ATTR_NUM_SCAN_INPUTS, 0);
    EML_TRY(take_body(c, n, EML_ATTR_BODY, node, &body));
    int64_t own = (int64_t)n->n_in - captures, states = 0, skip = 0;
    if (n->op == EML_OP_LOOP) {
        skip = 1;
        states = own - 2;
    } else if (n->op == EML_OP_SCAN) {
        states = own - scans;
    }
    if (captures < 0 || own < 1 || own > (int64_t)n->n_in || states < 0 || states > own ||
        (n->op == EML_OP_SCAN && scans < 1) || body->n_inputs != n->n_in ||
        (int64_t)n->n_out < states || (int64_t)body->n_outputs != skip + (int64_t)n->n_out)
        return bad(c, "graph: operands and results of a node do not fit its body", node);
    return EML_OK;
}

static enum eml_err check_body(struct check *c, const struct eml_node *n, size_t node)
{
    switch (n->op) {
    case EML_OP_IF:
        return check_if(c, n, node);
    case EML_OP_LOOP:
    case EML_OP_SCAN:
    case EML_OP_SEQUENCE_MAP:
        return check_loop(c, n, node);
    default:
        return EML_OK;
    }
}

static enum eml_err check_node(struct check *c, const struct eml_node *n, size_t i)
{
    if ((unsigned)n->op >= EML_OP_N)
        return bad(c, "graph: unknown operator", i);
    EML_TRY(check_attrs(c, n, i));
    EML_TRY(check_operands(c, n, i));
    EML_TRY(check_params(c, n, i));
    EML_TRY(check_body(c, n, i));
    return check_results(c, n, i);
}

/* --- names --- */

static enum eml_err check_names(const struct check *c, const struct eml_name *names, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!known(c, names[i].value))
            return bad(c, "graph: name of no value", i);
        if (c->g != c->whole) {
            if (names[i].text.len != 0)
                return bad(c, "graph: name in a body", i);
            continue;
        }
        if (names[i].text.len == 0 || names[i].text.len > EML_NAME_BYTES_MAX)
            return bad(c, "graph: length of a name", i);
        for (uint32_t k = 0; k < i; k++)
            if (eml_bytes_equal(names[i].text, names[k].text))
                return bad(c, "graph: name given twice", i);
    }
    return EML_OK;
}

static enum eml_err check_io(const struct check *c)
{
    const struct eml_graph *g = c->g;
    EML_TRY(check_names(c, g->inputs, g->n_inputs));
    EML_TRY(check_names(c, g->outputs, g->n_outputs));
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        if (g->values[g->inputs[i].value].kind != EML_VALUE_INPUT)
            return bad(c, "graph: input is no input value", i);
        for (uint32_t k = 0; k < i; k++)
            if (g->inputs[i].value == g->inputs[k].value)
                return bad(c, "graph: input value listed twice", i);
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const struct eml_value *v = &g->values[g->outputs[i].value];
        if (v->kind == EML_VALUE_SLOT && v->layout != EML_LAYOUT_PLAIN)
            return bad(c, "graph: output is packed weights", i);
    }
    return EML_OK;
}

/* What must have been said about every value by the end: written, listed, or read where packed. */
static enum eml_err check_all_used(const struct check *c)
{
    uint32_t inputs = 0;
    for (uint32_t i = 0; i < c->g->n_values; i++) {
        const struct eml_value *v = &c->g->values[i];
        if (v->kind == EML_VALUE_NODE && !c->written[i])
            return bad(c, "graph: value is never written", i);
        inputs += v->kind == EML_VALUE_INPUT;
    }
    if (inputs != c->g->n_inputs)
        return bad(c, "graph: input value is not listed", 0);
    return EML_OK;
}

static enum eml_err check_counts(const struct check *c)
{
    const struct eml_graph *g = c->g;
    if (g->n_values > EML_GRAPH_VALUES_MAX)
        return bad(c, "graph: more values than the limit", g->n_values);
    if (g->n_nodes > EML_GRAPH_NODES_MAX)
        return bad(c, "graph: more nodes than the limit", g->n_nodes);
    if (g->n_inputs > EML_GRAPH_IO_MAX || g->n_outputs > EML_GRAPH_IO_MAX)
        return bad(c, "graph: more inputs or outputs than the limit", 0);
    if (g->n_outputs == 0)
        return bad(c, "graph: no output", 0);
    if (g->n_graphs > (g == c->whole ? EML_GRAPH_BODIES_MAX : 0))
        return bad(c, "graph: more bodies than the limit", g->n_graphs);
    if (c->weight_bytes > EML_WEIGHT_BYTES_MAX)
        return bad(c, "graph: more weights than the limit", 0);
    return EML_OK;
}

static enum eml_err check_all(struct check *c)
{
    for (uint32_t i = 0; i < c->g->n_values; i++)
        EML_TRY(check_value(c, &c->g->values[i], i));
    EML_TRY(check_overlaps(c));
    for (uint32_t i = 0; i < c->g->n_nodes; i++)
        EML_TRY(check_node(c, &c->g->nodes[i], i));
    EML_TRY(check_io(c));
    return check_all_used(c);
}

/* One graph, with room of its own. */
static enum eml_err check_one(struct check *c)
{
    EML_TRY(check_counts(c));
    const size_t n = (size_t)c->g->n_values + 1,
                 bytes = n * (sizeof *c->slots + sizeof *c->written);
    c->n_slots = 0;
    c->slots = calloc(1, bytes);
    if (c->slots == NULL)
        return eml_fail(c->why, EML_E_SYSTEM, "graph: no memory to check it", -1);
    c->written = (bool *)(c->slots + n);
    enum eml_err e = check_all(c);
    eml_wipe(c->slots, bytes); /* says something about the model */
    free(c->slots);
    return e;
}

static enum eml_err check_bodies(struct check *c)
{
    uint64_t values = c->whole->n_values, nodes = c->whole->n_nodes;
    for (uint32_t i = 0; i < c->whole->n_graphs; i++) {
        c->g = &c->whole->graphs[i];
        c->index = i;
        c->at_depth = c->depth[i];
        if (c->at_depth == 0)
            return bad(c, "graph: body of no node", i);
        values += c->g->n_values;
        nodes += c->g->n_nodes;
        if (values > EML_GRAPH_VALUES_MAX || nodes > EML_GRAPH_NODES_MAX)
            return bad(c, "graph: more values or nodes than the limit", i);
        EML_TRY(check_one(c));
    }
    return EML_OK;
}

enum eml_err eml_graph_check(const struct eml_graph *g, uint64_t weight_bytes, struct eml_why *why)
{
    struct memo memo = {0};
    struct check c = {.memo = &memo,
                      .g = g,
                      .whole = g,
                      .index = UINT32_MAX,
                      .weight_bytes = weight_bytes,
                      .why = why};
    EML_TRY(check_counts(&c));
    c.depth = calloc((size_t)g->n_graphs + 1, sizeof *c.depth);
    if (c.depth == NULL)
        return eml_fail(why, EML_E_SYSTEM, "graph: no memory to check it", -1);
    enum eml_err e = check_one(&c);
    if (e == EML_OK)
        e = check_bodies(&c);
    eml_wipe(c.depth, g->n_graphs * sizeof *c.depth);
    free(c.depth);
    return e;
}
