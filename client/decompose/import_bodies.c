/* Graphs within graphs. A called function and a branch that is known to be taken are imported into
 * the graph that they stand in, as if their nodes stood there. Other bodies become graphs of their
 * own; what they capture becomes a further operand of the node and a further input of the body, or,
 * if it is constant, a constant of the body.
 */
#include "decompose/import.h"

#include <string.h>

/* ---- captures ---- */

/* What `v` of the scope below is in the body at scope `d`. */
static enum eml_err into_body(struct import *im, uint32_t d, struct eml_ir_value **v)
{
    struct scope *s = &im->scopes[d];
    struct eml_ir_value *outer = *v;
    for (const struct capture *c = s->captures; c != NULL; c = c->next)
        if (c->outer == outer) {
            *v = c->inner;
            return EML_OK;
        }
    struct capture *c = eml_ir_alloc(s->ir, sizeof(*c));
    EML_TRY(eml_ir_ok(s->ir, im->why));
    if (outer->data != NULL) {
        c->inner = eml_ir_const(s->ir, outer->dtype, &outer->shape, outer->data);
    } else {
        if (s->ir->n_inputs == EML_GRAPH_IO_MAX || s->node->n_in == EML_NODE_IN_MAX)
            return eml_import_refuse(im, "decompose: body captures too many values");
        c->inner = eml_ir_add_input(s->ir, eml_bytes(NULL, 0), outer->dtype, &outer->shape);
        eml_ir_copy_facts(c->inner, outer);
        eml_ir_set_in(s->ir, s->node, s->node->n_in, outer);
        s->node->n_captures++;
    }
    c->outer = outer;
    c->next = s->captures;
    s->captures = c;
    *v = c->inner;
    return EML_OK;
}

/* All that the graph on top captures. */
static enum eml_err captures(struct import *im)
{
    const struct scope *top = &im->scopes[im->depth - 1];
    for (uint32_t i = 0; i < top->model->n_values; i++) {
        const struct eml_onnx_value *v = &top->model->values[i];
        if (v->levels == 0)
            continue;
        uint32_t d = im->depth - 1 - v->levels;
        struct eml_ir_value *x = im->scopes[d].values[v->outer];
        for (d++; x != NULL && d < im->depth; d++)
            if (im->scopes[d].node != NULL)
                EML_TRY(into_body(im, d, &x));
        top->values[i] = x;
    }
    return EML_OK;
}

/* ---- inputs of bodies ---- */

/* What a body's input is declared to be. */
static void declared(struct eml_ir_value *v, const struct eml_onnx_type *t)
{
    if (v->dtype == EML_DT_NONE && t->kind == EML_ONNX_TYPE_SEQUENCE)
        v->dtype = EML_DT_SEQUENCE;
    if (v->dtype == EML_DT_NONE && t->kind == EML_ONNX_TYPE_TENSOR)
        v->dtype = (enum eml_dtype)t->dtype;
    if (v->dtype == EML_DT_SEQUENCE && v->elem == EML_DT_NONE)
        v->elem = (enum eml_dtype)t->dtype;
    if (t->kind != EML_ONNX_TYPE_TENSOR || !t->has_rank || t->rank > EML_RANK_MAX || v->has_rank)
        return;
    v->has_rank = true;
    v->shape.rank = t->rank;
    for (uint32_t i = 0; i < t->rank; i++)
        v->shape.dim[i] = t->dims[i].value;
}

/* The rank without one axis. */
static void without_axis(struct eml_ir_value *v, int64_t axis)
{
    axis += axis < 0 ? (int64_t)v->shape.rank : 0;
    if (!v->has_rank || axis < 0 || axis >= (int64_t)v->shape.rank) {
        v->has_rank = false;
        return;
    }
    v->shape.rank--;
    for (uint32_t i = (uint32_t)axis; i < v->shape.rank; i++)
        v->shape.dim[i] = v->shape.dim[i + 1];
}

static int64_t scan_axis(const struct eml_ir_node *n, uint32_t k)
{
    const struct eml_attr *a = eml_ir_attr(n, EML_ATTR_SCAN_INPUT_AXES);
    return a != NULL && k < a->n ? a->v[k] : 0;
}

/* Before version 9 a Scan ran once for each entry of a batch, along axis 0 of all its operands. */
static bool over_batch(const struct import *im, enum eml_op op)
{
    return op == EML_OP_SCAN && im->node->opset < 9;
}

/* Sets what is known of input k of a body from operand x of its node. */
static void input_facts(const struct eml_ir_node *n, uint32_t k, const struct eml_ir_value *x,
                        struct eml_ir_value *v)
{
    uint32_t scans = (uint32_t)eml_ir_int(n, EML_ATTR_NUM_SCAN_INPUTS, 0);
    v->has_rank = false;
    if (n->op == EML_OP_LOOP && k < 2) {
        v->dtype = k == 0 ? EML_DT_I64 : EML_DT_BOOL;
        v->has_rank = true;
        return;
    }
    if (x == NULL)
        return;
    v->dtype = x->dtype;
    v->elem = x->elem;
    if (n->op == EML_OP_SEQUENCE_MAP && x->dtype == EML_DT_SEQUENCE) {
        v->dtype = x->elem;
        v->elem = EML_DT_NONE;
    } else if (n->op != EML_OP_LOOP) {
        v->has_rank = x->has_rank;
        v->shape = x->shape;
    }
    if (n->op == EML_OP_SCAN && k + scans >= n->n_in)
        without_axis(v, scan_axis(n, k + scans - n->n_in));
}

static enum eml_err own_inputs(struct import *im, struct eml_ir_node *n, uint32_t n_in)
{
    const struct eml_onnx_model *m = im->model;
    if (m->n_inputs > EML_GRAPH_IO_MAX || m->n_outputs > EML_GRAPH_IO_MAX)
        return eml_import_refuse(im, "decompose: too many inputs or outputs");
    if (m->n_inputs != (n->op == EML_OP_IF ? 0 : n_in))
        return eml_import_refuse(im, "decompose: inputs of a body are not its node's operands");
    for (uint32_t k = 0; k < m->n_inputs; k++) {
        static const struct eml_shape none = {0};
        struct eml_ir_value *v = eml_ir_add_input(im->ir, eml_bytes(NULL, 0), EML_DT_NONE, &none);
        input_facts(n, k, eml_ir_in(n, k), v);
        if (over_batch(im, n->op))
            without_axis(v, 0);
        declared(v, &m->values[m->inputs[k]].type);
        for (size_t p = 0; p < 2; p++)
            v->probe[p] = (struct eml_known){.dtype = v->dtype, .elem = v->elem};
        im->values[m->inputs[k]] = v;
    }
    return EML_OK;
}

/* ---- entering ---- */

static const struct eml_onnx_model *graph_attr(const struct import *im, const char *name)
{
    const struct eml_onnx_attr *a = eml_onnx_attr(im->node, name);
    return a != NULL && a->type == EML_ONNX_ATTR_GRAPH ? a->graphs[0].graph : NULL;
}

static enum eml_err call(struct import *im)
{
    struct eml_ir_value *in[EML_NODE_IN_MAX] = {NULL};
    const struct eml_onnx_node *n = im->node;
    if (n->n_in > EML_NODE_IN_MAX)
        return eml_import_refuse(im, "decompose: too many operands");
    EML_TRY(eml_import_operands(im, in));
    EML_TRY(eml_import_push(im, n->function, im->ir, NULL, 0));
    for (uint32_t i = 0; i < n->n_in; i++)
        im->values[im->model->inputs[i]] = in[i];
    return EML_OK;
}

static bool known_condition(const struct eml_ir_value *v, bool *yes)
{
    if (v->data != NULL && v->dtype == EML_DT_BOOL && eml_ir_count(v) == 1) {
        *yes = *(const uint8_t *)v->data != 0;
        return true;
    }
    if (v->data != NULL || !v->has_ints || v->n_ints != 1 || v->ints[0] == EML_INT_UNKNOWN)
        return false;
    *yes = v->ints[0] != 0;
    return true;
}

static const char *const BODY_NAMES[2] = {"then_branch", "else_branch"};

/* Starts body k of the node in a graph of its own. */
static enum eml_err start_body(struct import *im, struct eml_ir_node *n, uint32_t k)
{
    const struct eml_onnx_model *m = graph_attr(im, n->op == EML_OP_IF ? BODY_NAMES[k] : "body");
    struct eml_ir *ir = eml_ir_alloc(im->ir, sizeof(*ir));
    if (m == NULL)
        return eml_import_refuse(im, "decompose: node without its body");
    EML_TRY(eml_ir_ok(im->ir, im->why));
    eml_ir_init(ir, im->ir->arena);
    n->body[k] = ir;
    uint32_t given = im->node->n_in - (over_batch(im, n->op) ? 1 : 0);
    uint32_t own = given > n->own_in ? given : n->own_in;
    EML_TRY(eml_import_push(im, m, ir, n, k));
    EML_TRY(own_inputs(im, n, own));
    return captures(im);
}

static enum eml_err int_attrs(struct import *im, struct eml_ir_node *n)
{
    static const struct {
        const char *name;
        enum eml_attr_id id;
    } known[] = {
        {"num_scan_inputs", EML_ATTR_NUM_SCAN_INPUTS},
        {"scan_input_axes", EML_ATTR_SCAN_INPUT_AXES},
        {"scan_input_directions", EML_ATTR_SCAN_INPUT_DIRECTIONS},
        {"directions", EML_ATTR_SCAN_INPUT_DIRECTIONS}, /* before version 9 */
        {"scan_output_axes", EML_ATTR_SCAN_OUTPUT_AXES},
        {"scan_output_directions", EML_ATTR_SCAN_OUTPUT_DIRECTIONS},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const struct eml_onnx_attr *a = eml_onnx_attr(im->node, known[i].name);
        if (a == NULL)
            continue;
        if (a->ints == NULL || a->n > EML_ATTR_INTS_MAX)
            return eml_import_refuse(im, "decompose: attribute of an unexpected type");
        eml_ir_set_attr(im->ir, n, known[i].id, a->ints, (uint32_t)a->n);
    }
    return EML_OK;
}

static enum eml_err control(struct import *im, enum eml_op op)
{
    const struct eml_onnx_node *src = im->node;
    struct eml_ir_value *in[EML_NODE_IN_MAX];
    bool yes;
    if (src->n_in > EML_NODE_IN_MAX || src->n_out > EML_NODE_OUT_MAX)
        return eml_import_refuse(im, "decompose: too many operands");
    EML_TRY(eml_import_operands(im, in));
    if (op == EML_OP_IF && src->n_in == 1 && in[0] != NULL && known_condition(in[0], &yes)) {
        const struct eml_onnx_model *m = graph_attr(im, BODY_NAMES[yes ? 0 : 1]);
        if (m == NULL)
            return eml_import_refuse(im, "decompose: node without its body");
        EML_TRY(eml_import_push(im, m, im->ir, NULL, 0));
        return captures(im);
    }
    uint32_t skip = over_batch(im, op) && src->n_in != 0 ? 1 : 0; /* operand 0: sequence_lens */
    if (skip != 0 && in[0] != NULL)
        return eml_import_refuse(im, "decompose: sequence_lens of a Scan before version 9");
    struct eml_ir_node *n =
        eml_ir_node_new(im->ir, NULL, op, in + skip, src->n_in - skip, src->n_out);
    n->origin = im->index;
    if (op == EML_OP_LOOP && n->n_in < 2)
        eml_ir_set_in(im->ir, n, 1, NULL);
    n->own_in = n->n_in;
    EML_TRY(int_attrs(im, n));
    return start_body(im, n, 0);
}

enum eml_err eml_import_enter(struct import *im, bool *done)
{
    static const struct {
        const char *name;
        enum eml_op op;
    } table[] = {
        {"If", EML_OP_IF},
        {"Loop", EML_OP_LOOP},
        {"Scan", EML_OP_SCAN},
        {"SequenceMap", EML_OP_SEQUENCE_MAP},
    };
    *done = true;
    if (im->node->function != NULL)
        return call(im);
    for (size_t i = 0; im->node->domain[0] == 0 && i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(im->node->op_type, table[i].name) == 0)
            return control(im, table[i].op);
    *done = false;
    return EML_OK;
}

/* ---- leaving ---- */

/* Makes of n, whose body is one of today's Scan, a Scan over a batch without state, whose body runs
 * that Scan for one entry: its initial state and its inputs are what the outer one scans, and all
 * that it makes is stacked. */
static enum eml_err wrap_in_batch(struct import *im, struct eml_ir_node *n)
{
    struct eml_ir *entry = eml_ir_alloc(im->ir, sizeof(*entry));
    EML_TRY(eml_ir_ok(im->ir, im->why));
    eml_ir_init(entry, im->ir->arena);
    struct eml_ir_node *scan = eml_ir_node_new(entry, NULL, EML_OP_SCAN, NULL, 0, n->n_out);
    scan->origin = n->origin;
    for (uint32_t i = 0; i < n->n_attr; i++)
        eml_ir_set_attr(entry, scan, n->attr[i].id, n->attr[i].v, n->attr[i].n);
    scan->body[0] = n->body[0];
    scan->own_in = n->own_in;
    scan->n_captures = n->n_captures;
    for (uint32_t k = 0; k < n->n_in; k++) {
        static const struct eml_shape none = {0};
        const struct eml_ir_value *x = n->in[k];
        if (x == NULL)
            return eml_import_refuse(im, "decompose: required operand omitted");
        struct eml_ir_value *v = eml_ir_add_input(entry, eml_bytes(NULL, 0), x->dtype, &none);
        v->has_rank = x->has_rank;
        v->shape = x->shape;
        v->elem = x->elem;
        if (k < n->own_in)
            without_axis(v, 0);
        for (size_t p = 0; p < 2; p++)
            v->probe[p] = (struct eml_known){.dtype = v->dtype, .elem = v->elem};
        eml_ir_set_in(entry, scan, k, v);
    }
    for (uint32_t k = 0; k < n->n_out; k++)
        eml_ir_add_output(entry, eml_bytes(NULL, 0), scan->out[k]);
    EML_TRY(eml_fold_infer_from(entry, scan, im->why));
    eml_ir_drop_attr(n, EML_ATTR_SCAN_INPUT_DIRECTIONS);
    eml_ir_set_int(im->ir, n, EML_ATTR_NUM_SCAN_INPUTS, n->own_in);
    n->body[0] = entry;
    return EML_OK;
}

enum eml_err eml_import_leave(struct import *im)
{
    struct scope top = im->scopes[--im->depth];
    const struct scope *below = &im->scopes[im->depth - 1];
    const struct eml_onnx_node *src = &below->model->nodes[below->at - 1];
    for (uint32_t k = 0; k < top.model->n_outputs; k++) {
        struct eml_ir_value *v = top.values[top.model->outputs[k]];
        if (v == NULL && (top.node != NULL || k < src->n_out))
            return eml_import_refuse(im, "decompose: output that is not supported");
        if (top.node != NULL)
            eml_ir_add_output(top.ir, eml_bytes(NULL, 0), v);
        else if (k < src->n_out && src->out[k] != EML_ONNX_ABSENT)
            below->values[src->out[k]] = v;
    }
    im->ir = below->ir;
    im->model = below->model;
    im->values = below->values;
    im->node = src;
    if (top.node == NULL)
        return EML_OK;
    struct eml_ir_node *n = top.node;
    uint32_t extra = n->op == EML_OP_LOOP ? 1 : 0;
    if (top.ir->n_outputs < n->n_out + extra || (n->op == EML_OP_LOOP && top.ir->n_outputs == 0))
        return eml_import_refuse(im, "decompose: outputs of a body are not its node's");
    if (n->op == EML_OP_IF && top.body == 0)
        return start_body(im, n, 1);
    /* Outputs that the node leaves away at the end are the body's all the same. */
    eml_ir_grow_out(im->ir, n, top.ir->n_outputs - extra);
    if (over_batch(im, n->op))
        EML_TRY(wrap_in_batch(im, n));
    for (uint32_t k = 0; k < src->n_out; k++)
        if (src->out[k] != EML_ONNX_ABSENT)
            below->values[src->out[k]] = n->out[k];
    return eml_fold_infer_from(im->ir, n, im->why);
}
