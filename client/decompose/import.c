/* ONNX to graph. Every node becomes one node of the newest operator version, guided by the
 * attribute grammar of ops.def: integer attributes keep their place, floats become params,
 * attributes that later versions turned into operands become constants. What exists only in ONNX
 * goes: Constant, Identity, Dropout. Semantics that changed between versions are spelled out
 * (Softmax before 13, Resize before 11, Upsample). Facts are inferred on the way, because some of
 * that needs ranks.
 */
#include "decompose/composite.h"
#include "decompose/import.h"

#include "engine/formats.h"

#include <string.h>

enum eml_err eml_import_refuse(const struct import *im, const char *rule)
{
    return eml_fail(im->why, EML_E_UNSUPPORTED, rule, im->index);
}

enum eml_err eml_import_tensor(const struct import *im, const struct eml_onnx_tensor *t,
                               struct eml_ir_value **out)
{
    struct eml_shape s = {.rank = t->rank};
    size_t width = eml_dtype_bytes((enum eml_dtype)t->dtype), bytes;
    if (width == 0)
        return eml_import_refuse(im, "decompose: constant of an unsupported type");
    if (!eml_onnx_tensor_size(t, &bytes))
        return eml_fail(im->why, EML_E_INPUT, "decompose: constant of the wrong size", im->index);
    if (t->rank > EML_RANK_MAX)
        return eml_import_refuse(im, "decompose: constant of more than 8 dims");
    for (uint32_t i = 0; i < t->rank; i++)
        s.dim[i] = t->dims[i];
    const void *data = t->data.ptr;
    if (bytes == 0 || bytes != t->data.len || (uintptr_t)data % width != 0) {
        void *copy = eml_ir_alloc(im->ir, bytes);
        if (copy != NULL)
            eml_onnx_tensor_copy(t, copy);
        data = copy;
    }
    *out = eml_ir_const(im->ir, (enum eml_dtype)t->dtype, &s, data);
    return EML_OK;
}

/* ---- nodes ---- */

static bool find_op(const char *name, enum eml_op *op)
{
    for (size_t i = 0; i < EML_OP_N && name[0] != 0; i++)
        if (strcmp(eml_op_info((enum eml_op)i)->name, name) == 0) {
            *op = (enum eml_op)i;
            return true;
        }
    return false;
}

enum eml_err eml_import_operands(const struct import *im, struct eml_ir_value **in)
{
    for (uint32_t i = 0; i < im->node->n_in; i++) {
        uint32_t id = im->node->in[i];
        in[i] = id == EML_ONNX_ABSENT ? NULL : im->values[id];
        if (id != EML_ONNX_ABSENT && in[i] == NULL && im->depth <= 1)
            return eml_import_refuse(im, "decompose: operand that is an unsupported output");
    }
    return EML_OK;
}

/* ---- half precision ----
 *
 * The engine computes in float32 and float64 only. A node on float16 or bfloat16 gets its operands
 * by a Cast to float32, and what it makes is what a Cast makes of its result. A value between two
 * such nodes is never rounded: the second reads what the first made. Operators that only move
 * elements take halves as they are, unless they follow a computation.
 */

static bool is_half(const struct eml_ir_value *v)
{
    return v != NULL && (v->dtype == EML_DT_F16 || v->dtype == EML_DT_BF16);
}

static struct eml_ir_value *cast_to(const struct import *im, struct eml_ir_node *before,
                                    struct eml_ir_value *v, enum eml_dtype to)
{
    struct eml_ir_node *cast = eml_ir_node_new(im->ir, before, EML_OP_CAST, &v, 1, 1);
    cast->origin = im->index;
    eml_ir_set_int(im->ir, cast, EML_ATTR_TO, to);
    cast->out[0]->has_rank = v->has_rank; /* some imports need the rank before inference */
    cast->out[0]->shape = v->shape;
    return cast->out[0];
}

/* Gives n float32 operands. *half is the type that its results have then, NONE if nothing was
 * done. */
static void widen_operands(const struct import *im, struct eml_ir_node *n, enum eml_dtype *half)
{
    struct eml_node as_is = {.op = n->op, .n_attr = n->n_attr, .attr = n->attr};
    bool computed = !eml_types_has(eml_node_types(&as_is), EML_DT_F16);
    *half = EML_DT_NONE;
    if (n->op == EML_OP_CAST || n->op == EML_OP_CAST_LIKE || n->op == EML_OP_SHAPE ||
        n->op == EML_OP_SIZE)
        return;
    for (uint32_t i = 0; i < n->n_in; i++)
        computed = computed || (n->in[i] != NULL && n->in[i]->exact != NULL);
    for (uint32_t i = 0; computed && i < n->n_in; i++) {
        struct eml_ir_value *v = n->in[i];
        if (!is_half(v))
            continue;
        if (n->op != EML_OP_POW || i == 0)
            *half = v->dtype;
        if (v->exact == NULL)
            v->exact = cast_to(im, n, v, EML_DT_F32);
        eml_ir_set_in(im->ir, n, i, v->exact);
    }
}

static enum eml_err import_ordinary(struct import *im, enum eml_dtype *half)
{
    const struct eml_onnx_node *src = im->node;
    struct eml_ir_value *in[EML_NODE_IN_MAX];
    char name[128];
    enum eml_op op;
    /* the only operator that was renamed is Scatter */
    if (!eml_onnx_op_name(src, name) ||
        !find_op(strcmp(name, "Scatter") == 0 ? "ScatterElements" : name, &op))
        return eml_import_refuse(im, "decompose: operator that is not supported");
    if (src->n_in > EML_NODE_IN_MAX || src->n_out > EML_NODE_OUT_MAX)
        return eml_import_refuse(im, "decompose: too many operands");
    EML_TRY(eml_import_operands(im, in));
    const struct eml_op_info *info = eml_op_info(op);
    uint32_t n_out = src->n_out; /* outputs beyond what is supported have no reader */
    if (info->out_max != 255 && n_out > info->out_max)
        n_out = info->out_max;
    struct eml_ir_node *n = eml_ir_node_new(im->ir, NULL, op, in, src->n_in, n_out);
    n->origin = im->index;
    eml_import_defaults(n);
    eml_import_default_seed(im, n);
    for (uint32_t i = 0; i < src->n_attr; i++)
        EML_TRY(eml_import_attr(im, &src->attr[i], n));
    if (n->n_in < info->in_min || (info->in_max != 255 && n->n_in > info->in_max))
        return eml_import_refuse(im, "decompose: number of operands that is not supported");
    for (uint32_t i = 0; i < n_out; i++)
        if (src->out[i] != EML_ONNX_ABSENT)
            im->values[src->out[i]] = n->out[i];
    widen_operands(im, n, half);
    return eml_import_normalise(im, n);
}

/* Rounds the results that ONNX gives the operands' type. */
static enum eml_err narrow_results(const struct import *im, enum eml_dtype half)
{
    /* LayerNormalization's mean and deviation have the type of its stash_type. */
    uint32_t n = strcmp(im->node->op_type, "LayerNormalization") == 0 ? 1 : im->node->n_out;
    struct eml_ir_node *last = im->ir->last;
    for (uint32_t i = 0; half != EML_DT_NONE && i < n; i++) {
        struct eml_ir_value **out = &im->values[im->node->out[i]], *exact = *out;
        if (im->node->out[i] == EML_ONNX_ABSENT || exact == NULL || exact->dtype != EML_DT_F32)
            continue;
        *out = cast_to(im, NULL, exact, half);
        (*out)->exact = exact;
    }
    return last == im->ir->last ? EML_OK : eml_fold_infer_from(im->ir, last->next, im->why);
}

/* A half as float32; a constant stays one. */
static struct eml_ir_value *widened(const struct import *im, struct eml_ir_value *v)
{
    if (v->exact != NULL || v->data == NULL)
        return v->exact != NULL ? v->exact : cast_to(im, NULL, v, EML_DT_F32);
    const size_t n = eml_ir_count(v);
    float *to = eml_ir_alloc(im->ir, n * sizeof(*to));
    for (size_t i = 0; to != NULL && i < n; i++)
        to[i] = (float)eml_format_decode(v->dtype, ((const uint16_t *)v->data)[i]);
    return eml_ir_const(im->ir, EML_DT_F32, &v->shape, to);
}

/* An operator that stands for several of the graph's. */
static enum eml_err composite(struct import *im, const struct eml_composite *c,
                              enum eml_dtype *half)
{
    const struct eml_onnx_node *src = im->node;
    struct eml_ir_value *in[EML_NODE_IN_MAX], *out[EML_NODE_OUT_MAX];
    if (src->n_in > EML_NODE_IN_MAX || src->n_out > EML_NODE_OUT_MAX)
        return eml_import_refuse(im, "decompose: too many operands");
    EML_TRY(eml_import_operands(im, in));
    for (uint32_t i = 0; i < src->n_in; i++) {
        if (!is_half(in[i]))
            continue;
        *half = in[i]->dtype;
        in[i] = in[i]->exact = widened(im, in[i]);
        in[i]->dtype = EML_DT_F32;
    }
    const struct eml_maker m = {im->ir, src, im->index, in, out, im->why};
    EML_TRY(eml_composite_make(c, &m));
    for (uint32_t i = 0; i < src->n_out; i++)
        if (src->out[i] != EML_ONNX_ABSENT)
            im->values[src->out[i]] = out[i];
    return EML_OK;
}

static enum eml_err import_node(struct import *im)
{
    const char *type = im->node->op_type;
    struct eml_ir_node *last = im->ir->last;
    enum eml_dtype half = EML_DT_NONE;
    if (im->node->domain[0] == 0 && strcmp(type, "Constant") == 0)
        return eml_import_constant(im);
    if (eml_import_passes_through(im)) {
        im->values[im->node->out[0]] = im->values[im->node->in[0]];
        return EML_OK;
    }
    const struct eml_composite *c = eml_composite_find(im->node);
    if (c != NULL)
        EML_TRY(composite(im, c, &half));
    else if (im->node->domain[0] == 0 && strcmp(type, "Upsample") == 0)
        EML_TRY(eml_import_upsample(im));
    else
        EML_TRY(import_ordinary(im, &half));
    EML_TRY(eml_fold_infer_from(im->ir, last != NULL ? last->next : im->ir->first, im->why));
    return narrow_results(im, half);
}

/* Unknown dims with the same name are the same number: the place where the name comes first. */
static int64_t first_place(const struct eml_onnx_model *m, uint32_t input, uint32_t dim)
{
    const char *name = m->values[m->inputs[input]].type.dims[dim].param;
    for (uint32_t i = 0; i <= input && name[0] != 0; i++) {
        const struct eml_onnx_type *t = &m->values[m->inputs[i]].type;
        for (uint32_t d = 0; d < t->rank; d++)
            if (strcmp(t->dims[d].param, name) == 0)
                return (int64_t)i * EML_RANK_MAX + d;
    }
    return (int64_t)input * EML_RANK_MAX + dim;
}

/* A list of tensors, or an optional of unknown shape. */
static enum eml_err import_other_input(struct import *im, uint32_t i)
{
    const struct eml_onnx_value *src = &im->model->values[im->model->inputs[i]];
    bool list = src->type.kind == EML_ONNX_TYPE_SEQUENCE;
    enum eml_dtype t = (enum eml_dtype)src->type.dtype;
    static const struct eml_shape none = {0};
    struct eml_ir_value *v =
        eml_ir_add_input(im->ir, eml_bytes_of_str(src->name), list ? EML_DT_SEQUENCE : t, &none);
    v->has_rank = false;
    v->elem = t;
    for (size_t k = 0; k < 2; k++)
        v->probe[k] = (struct eml_known){.dtype = v->dtype, .elem = t};
    im->values[im->model->inputs[i]] = v;
    return EML_OK;
}

static enum eml_err import_input(struct import *im, uint32_t i)
{
    const struct eml_onnx_model *m = im->model;
    const struct eml_onnx_value *src = &m->values[m->inputs[i]];
    struct eml_shape s = {.rank = src->type.rank};
    if (src->type.kind == EML_ONNX_TYPE_SEQUENCE &&
        eml_dtype_bytes((enum eml_dtype)src->type.dtype) != 0)
        return import_other_input(im, i);
    if (src->type.kind != EML_ONNX_TYPE_TENSOR ||
        eml_dtype_bytes((enum eml_dtype)src->type.dtype) == 0)
        return eml_import_refuse(im, "decompose: input of an unsupported type");
    if (!src->type.has_rank || src->type.rank > EML_RANK_MAX)
        return eml_import_refuse(im, "decompose: input of unknown rank, or of more than 8 dims");
    for (uint32_t d = 0; d < s.rank; d++)
        s.dim[d] = src->type.dims[d].value; /* unknown is -1 in both */
    struct eml_ir_value *v =
        eml_ir_add_input(im->ir, eml_bytes_of_str(src->name), (enum eml_dtype)src->type.dtype, &s);
    for (uint32_t d = 0; d < s.rank; d++)
        if (s.dim[d] == EML_DIM_UNKNOWN)
            eml_ir_set_probe(v, d, first_place(m, i, d));
    im->values[m->inputs[i]] = v;
    return EML_OK;
}

enum eml_err eml_import_push(struct import *im, const struct eml_onnx_model *m, struct eml_ir *ir,
                             struct eml_ir_node *node, uint32_t body)
{
    if (im->depth > EML_ONNX_DEPTH_MAX)
        return eml_import_refuse(im, "decompose: subgraphs nested too deep");
    struct scope *s = &im->scopes[im->depth++];
    *s = (struct scope){.model = m, .ir = ir, .node = node, .body = body};
    s->values = eml_ir_alloc(ir, ((size_t)m->n_values + 1) * sizeof(*s->values));
    EML_TRY(eml_ir_ok(ir, im->why));
    im->ir = ir;
    im->model = m;
    im->values = s->values;
    for (uint32_t i = 0; i < m->n_values; i++)
        if (m->values[i].init != NULL)
            EML_TRY(eml_import_tensor(im, m->values[i].init, &im->values[i]));
    return EML_OK;
}

/* The node reads a value of one that could not be imported. */
static bool reads_nothing(const struct import *im)
{
    for (uint32_t i = 0; i < im->node->n_in; i++)
        if (im->node->in[i] != EML_ONNX_ABSENT && im->values[im->node->in[i]] == NULL)
            return true;
    return false;
}

/* A problem of the main graph is told, and the rest goes on without the node's results. */
static enum eml_err go_on(struct import *im, enum eml_err e)
{
    bool of_model = e == EML_E_INPUT || e == EML_E_UNSUPPORTED;
    if (e == EML_OK || !of_model || im->problems == NULL)
        return e;
    if (im->depth == 1 || im->first == EML_OK)
        im->problems->tell(im->problems->arg, e, im->why);
    im->first = im->first == EML_OK ? e : im->first;
    if (im->depth > 1) /* what is known of a body depends on all around it */
        return e;
    for (uint32_t i = 0; i < im->node->n_out; i++)
        if (im->node->out[i] != EML_ONNX_ABSENT)
            im->values[im->node->out[i]] = NULL;
    return EML_OK;
}

/* One node of the graph on top, or its end. *more false: the main graph has ended. */
static enum eml_err import_step(struct import *im, bool *more)
{
    struct scope *s = &im->scopes[im->depth - 1];
    bool entered;
    *more = im->depth > 1 || s->at < s->model->n_nodes;
    if (s->at == s->model->n_nodes)
        return *more ? eml_import_leave(im) : EML_OK;
    if (im->depth == 1)
        im->index = (long)s->at;
    im->node = &s->model->nodes[s->at++];
    if (im->first != EML_OK && im->depth == 1 && reads_nothing(im))
        return EML_OK;
    enum eml_err e = eml_import_enter(im, &entered);
    if (e == EML_OK && !entered)
        e = import_node(im);
    EML_TRY(go_on(im, e));
    return eml_ir_ok(im->ir, im->why);
}

static enum eml_err import_all(struct import *im, struct eml_ir *ir, const struct eml_onnx_model *m)
{
    if (m->n_inputs > EML_GRAPH_IO_MAX || m->n_outputs > EML_GRAPH_IO_MAX)
        return eml_import_refuse(im, "decompose: too many inputs or outputs");
    EML_TRY(eml_import_push(im, m, ir, NULL, 0));
    for (uint32_t i = 0; i < m->n_inputs; i++)
        EML_TRY(import_input(im, i));
    for (bool more = true; more;)
        EML_TRY(import_step(im, &more));
    EML_TRY(im->first);
    for (uint32_t i = 0; i < m->n_outputs; i++) {
        if (im->values[m->outputs[i]] == NULL)
            return eml_import_refuse(im, "decompose: output that is not supported");
        eml_ir_add_output(ir, eml_bytes_of_str(m->values[m->outputs[i]].name),
                          im->values[m->outputs[i]]);
    }
    return EML_OK;
}

enum eml_err eml_import_telling(struct eml_ir *ir, const struct eml_onnx_model *m,
                                const struct eml_import_problems *problems, struct eml_why *why)
{
    struct eml_why own = {0};
    struct import *im = eml_ir_alloc(ir, sizeof(*im));
    EML_TRY(eml_ir_ok(ir, why));
    im->ir = ir;
    im->index = -1;
    im->why = why != NULL ? why : &own;
    im->problems = problems;
    return import_all(im, ir, m);
}

enum eml_err eml_import(struct eml_ir *ir, const struct eml_onnx_model *m, struct eml_why *why)
{
    return eml_import_telling(ir, m, NULL, why);
}
