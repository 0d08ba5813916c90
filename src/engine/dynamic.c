#include "engine/dynamic.h"

#include "engine/infer.h"
#include "engine/kernels/kernels.h"

#include "base/checked.h"
#include "model/limits.h"

#include <string.h>

enum {
    INFER_BYTES = 256 << 10, /* for what is known of one node's operands and results */
    NODE_WORK = 64,          /* counted for each node besides its arithmetic */
};

struct eml_dynamic {
    struct eml_arena *arena;
    struct eml_budget budget;
    uint32_t **last; /* per graph (the whole, then bodies), per value: index + 1 of the node that
                        reads it last; 0: nobody; UINT32_MAX: an output */
    uint32_t most_in, most_out;
};

/* A node whose body runs: If, Loop, Scan or SequenceMap. */
struct control {
    const struct eml_node *node; /* NULL: none */
    uint32_t body;               /* index of the graph */
    uint32_t captures;           /* first operand that the body captures */
    int64_t i, trips;            /* iterations done, and most; -1: no bound of its own */
    bool go;
    uint32_t n_state, n_lists;
    struct eml_item **state; /* carried from one iteration to the next; If: the results */
    struct eml_item **lists; /* results collected */
};

struct frame {
    const struct eml_graph *g;
    const uint32_t *last;
    struct eml_item **value; /* per value; NULL: not there */
    uint32_t at;             /* node */
    struct control c;        /* of node `at` */
};

struct run {
    const struct eml_plan *p;
    const struct eml_dynamic *d;
    struct eml_bytes weights;
    struct eml_pool *pool;
    struct eml_why *why;
    struct eml_heap heap;
    struct eml_arena infer; /* a block of the heap */
    uint64_t flops;
    uint64_t iterations;
    /* room for one node */
    struct eml_item **in;
    struct eml_known *known, *results;
    const struct eml_known **operands;
    struct eml_view *views;
    struct frame frames[EML_GRAPH_DEPTH_MAX + 1];
    uint32_t depth; /* frames in use */
};

static enum eml_err bad(const struct run *r, const char *rule)
{
    return eml_fail(r->why, EML_E_INPUT, rule, -1);
}

static enum eml_err no_room(const struct run *r)
{
    return eml_fail(r->why, EML_E_REFUSED, "memory budget exceeded", -1);
}

static enum eml_err spend(struct run *r, uint64_t flops)
{
    if (__builtin_add_overflow(r->flops, flops, &r->flops) || r->flops > r->d->budget.flops)
        return eml_fail(r->why, EML_E_REFUSED, "budget of floating-point operations exceeded", -1);
    return EML_OK;
}

static void *room(struct run *r, size_t count, size_t size)
{
    size_t n;
    void *p = eml_mul_size(count, size, &n) ? eml_heap_get(&r->heap, n) : NULL;
    if (p != NULL)
        memset(p, 0, n);
    return p;
}

/* ---- values ---- */

/* A slot or integers of the key, wrapped when they are first read. */
static enum eml_err constant(struct run *r, const struct eml_value *v, struct eml_item **out)
{
    int64_t n, bytes;
    const void *data = v->ints;
    if (!eml_shape_count(&v->shape, &n))
        return bad(r, "slot is shorter than its shape");
    if (v->kind == EML_VALUE_SLOT) {
        if (v->offset > r->weights.len || v->bytes > r->weights.len - v->offset)
            return bad(r, "slot out of range");
        if (v->layout == EML_LAYOUT_PLAIN &&
            (!eml_mul_i64(n, (int64_t)eml_dtype_bytes(v->dtype), &bytes) ||
             (uint64_t)bytes > v->bytes))
            return bad(r, "slot is shorter than its shape");
        data = r->weights.ptr + v->offset;
    }
    *out = eml_item_borrow(&r->heap, v->dtype, &v->shape, data);
    if (*out == NULL)
        return no_room(r);
    (*out)->view.layout = v->kind == EML_VALUE_SLOT ? v->layout : EML_LAYOUT_PLAIN;
    return EML_OK;
}

static enum eml_err value_of(struct run *r, struct frame *f, uint32_t id, struct eml_item **out)
{
    *out = NULL;
    if (id == EML_ABSENT)
        return EML_OK;
    const struct eml_value *v = &f->g->values[id];
    if (f->value[id] == NULL && (v->kind == EML_VALUE_SLOT || v->kind == EML_VALUE_INTS))
        EML_TRY(constant(r, v, &f->value[id]));
    *out = f->value[id];
    return *out != NULL ? EML_OK : bad(r, "value is not there");
}

/* Sets an output of the frame's node, taking over the item; one that nobody reads goes at once. */
static void set(struct run *r, struct frame *f, uint32_t id, struct eml_item *x)
{
    if (id == EML_ABSENT || f->last[id] == 0)
        eml_item_drop(&r->heap, x);
    else
        f->value[id] = x;
}

/* The frame's node is done. */
static void next_node(struct run *r, struct frame *f)
{
    const struct eml_node *n = &f->g->nodes[f->at++];
    for (uint32_t i = 0; i < n->n_in; i++) {
        uint32_t id = n->in[i];
        if (id == EML_ABSENT || f->last[id] != f->at)
            continue;
        eml_item_drop(&r->heap, f->value[id]);
        f->value[id] = NULL;
    }
}

static struct eml_item *copy_tensor(struct run *r, const struct eml_tensor *t)
{
    struct eml_item *x = eml_item_tensor(&r->heap, t->dtype, &t->shape);
    if (x != NULL && t->bytes > 0)
        memcpy(x->view.data, t->data, t->bytes);
    return x;
}

/* A tensor of the caller's is as long as its shape says. */
static enum eml_err whole(const struct run *r, const struct eml_tensor *t, long at)
{
    const struct eml_value any = {.dtype = t->dtype, .shape = t->shape};
    int64_t n = 0;
    if (eml_dtype_bytes(t->dtype) == 0)
        return eml_fail(r->why, EML_E_INPUT, "input has another type than the model's", at);
    EML_TRY(eml_input_check(&any, t, at, r->why));
    (void)eml_shape_count(&t->shape, &n);
    return (size_t)n * eml_dtype_bytes(t->dtype) == t->bytes
               ? EML_OK
               : eml_fail(r->why, EML_E_USAGE, "run: an input is not as long as its shape", at);
}

static enum eml_err seed(struct run *r, uint32_t i, const struct eml_tensor *t)
{
    struct frame *f = &r->frames[0];
    uint32_t id = r->p->g->inputs[i].value;
    struct eml_item *x;
    if (t->dtype == EML_DT_NONE) {
        x = eml_item_none(&r->heap);
    } else if (t->dtype == EML_DT_SEQUENCE) {
        const struct eml_tensor *list = t->data;
        if (f->g->values[id].dtype != EML_DT_SEQUENCE || t->shape.rank != 1)
            return eml_fail(r->why, EML_E_INPUT, "input has another type than the model's",
                            (long)i);
        x = eml_item_list(&r->heap);
        for (int64_t k = 0; x != NULL && k < t->shape.dim[0]; k++) {
            EML_TRY(whole(r, &list[k], (long)i));
            struct eml_item *one = copy_tensor(r, &list[k]);
            if (one == NULL || !eml_item_append(&r->heap, x, one))
                return no_room(r);
            eml_item_drop(&r->heap, one);
        }
    } else {
        EML_TRY(eml_input_check(&f->g->values[id], t, (long)i, r->why));
        EML_TRY(whole(r, t, (long)i));
        x = copy_tensor(r, t);
    }
    f->value[id] = x;
    return x != NULL ? EML_OK : no_room(r);
}

/* ---- ordinary nodes ---- */

/* What is known of a tensor: all but the elements, and those of a short list of integers. */
static void know(struct run *r, const struct eml_item *x, struct eml_known *k)
{
    const struct eml_view *v = &x->view;
    *k = (struct eml_known){.dtype = v->dtype, .has_rank = true, .shape = v->shape};
    if (!eml_dtype_is_int(v->dtype) || v->count > (int64_t)EML_INTS_MAX)
        return;
    k->ints = eml_arena_array(&r->infer, (size_t)v->count, sizeof *k->ints);
    if (k->ints == NULL)
        return;
    k->has_ints = true;
    k->n_ints = (uint32_t)v->count;
    for (uint32_t i = 0; i < k->n_ints; i++)
        k->ints[i] = eml_load_int(v->dtype, v->data, i);
}

static enum eml_err infer(struct run *r, const struct eml_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        r->operands[i] = NULL;
        if (r->in[i] == NULL || r->in[i]->view.dtype == EML_DT_NONE)
            continue;
        if (r->in[i]->view.dtype == EML_DT_SEQUENCE)
            return bad(r, "operand is a sequence, not a tensor");
        if (!eml_slot_read_by(n->op, i, r->in[i]->view.layout))
            return bad(r, "operand is packed in a layout not read here");
        know(r, r->in[i], &r->known[i]);
        r->operands[i] = &r->known[i];
    }
    return eml_infer_node(n, r->operands, r->results, &r->infer, r->why);
}

static struct eml_op_ctx context(struct run *r, const struct frame *f, const struct eml_node *n)
{
    struct eml_op_ctx c = {.node = n,
                           .in = r->views,
                           .out = r->views + n->n_in,
                           .n_in = n->n_in,
                           .n_out = n->n_out,
                           .pool = r->pool,
                           .threads = r->p->threads,
                           .kernels = r->p->kernels,
                           .why = r->why};
    for (uint32_t i = 0; i < n->n_in; i++)
        r->views[i] = r->in[i] != NULL ? r->in[i]->view : (struct eml_view){.dtype = EML_DT_NONE};
    if (n->params != EML_ABSENT) {
        const struct eml_value *v = &f->g->values[n->params];
        c.params = (const float *)(const void *)(r->weights.ptr + v->offset);
        c.n_params = (uint32_t)v->shape.dim[0];
    }
    return c;
}

/* Scratch of a node, unless it has it already. */
static enum eml_err take_scratch(struct run *r, struct eml_op_ctx *c)
{
    size_t bytes = 0;
    eml_scratch_fn *count = eml_op_scratch(c->node->op);
    if (c->scratch.ptr != NULL || count == NULL)
        return EML_OK;
    if (!count(c, &bytes) || bytes > EML_TENSOR_BYTES_MAX)
        return eml_fail(r->why, EML_E_REFUSED, "scratch memory above the limit", -1);
    if (bytes == 0)
        return EML_OK;
    c->scratch = (struct eml_room){eml_heap_get(&r->heap, bytes), bytes};
    return c->scratch.ptr != NULL ? EML_OK : no_room(r);
}

/* Shapes of results that the rule left open: by what the operands hold. */
static enum eml_err size_results(struct run *r, struct eml_op_ctx *c)
{
    struct eml_shape shape[8];
    int64_t count;
    bool open = false;
    for (uint32_t i = 0; i < c->n_out; i++)
        open = open || !r->results[i].has_rank || !eml_shape_count(&r->results[i].shape, &count);
    if (!open)
        return EML_OK;
    eml_size_fn *size = eml_op_size(c->node->op);
    if (size == NULL || c->n_out > sizeof shape / sizeof shape[0])
        return eml_fail(r->why, EML_E_UNSUPPORTED, "shape depends on data", -1);
    for (uint32_t i = 0; i < c->n_out; i++)
        shape[i] = r->results[i].shape;
    EML_TRY(spend(r, eml_op_flops(c)));
    EML_TRY(take_scratch(r, c));
    EML_TRY(size(c, shape));
    for (uint32_t i = 0; i < c->n_out; i++) {
        int64_t bytes;
        if (!eml_shape_count(&shape[i], &count) ||
            !eml_mul_i64(count, (int64_t)eml_dtype_bytes(r->results[i].dtype), &bytes) ||
            bytes > (int64_t)EML_TENSOR_BYTES_MAX)
            return bad(r, "tensor above the size limit");
        r->results[i].shape = shape[i];
    }
    return EML_OK;
}

static enum eml_err compute(struct run *r, struct eml_op_ctx *c, struct eml_item **out)
{
    eml_op_fn *kernel = eml_op_kernel(c->node->op);
    if (kernel == eml_op_none)
        return no_room(r); /* its result would have been known */
    for (uint32_t i = 0; i < c->n_out; i++)
        r->views[c->n_in + i] = out[i]->view;
    EML_TRY(spend(r, eml_op_flops(c)));
    EML_TRY(take_scratch(r, c));
    enum eml_err e = kernel(c);
    eml_heap_put(&r->heap, c->scratch.ptr, c->scratch.len);
    return e;
}

/* Results that are known already, or only another view, take no kernel. */
static bool all_known(const struct run *r, const struct eml_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!eml_known_fully(&r->results[i]))
            return false;
    return true;
}

static enum eml_err make_results(struct run *r, const struct eml_node *n, struct eml_op_ctx *c,
                                 struct eml_item **out)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        const struct eml_known *k = &r->results[i];
        if (n->out[i] == EML_ABSENT)
            out[i] = eml_item_none(&r->heap);
        else
            out[i] = eml_op_is_alias(n->op) ? eml_item_view(&r->heap, r->in[0], &k->shape)
                                            : eml_item_tensor(&r->heap, k->dtype, &k->shape);
        if (out[i] == NULL)
            return no_room(r);
    }
    if (eml_op_is_alias(n->op))
        return EML_OK;
    if (!all_known(r, n))
        return compute(r, c, out);
    for (uint32_t i = 0; i < n->n_out; i++)
        for (uint32_t k = 0; out[i]->own_bytes > 0 && k < r->results[i].n_ints; k++)
            eml_store_int(out[i]->view.dtype, out[i]->view.data, k, r->results[i].ints[k]);
    return EML_OK;
}

static enum eml_err tensor_node(struct run *r, struct frame *f, const struct eml_node *n)
{
    struct eml_item *out[EML_NODE_OUT_MAX];
    (void)eml_arena_reset(&r->infer, 0);
    EML_TRY(infer(r, n));
    struct eml_op_ctx c = context(r, f, n);
    for (uint32_t i = 0; i < n->n_out; i++)
        r->views[n->n_in + i] = (struct eml_view){.dtype = r->results[i].dtype};
    EML_TRY(size_results(r, &c));
    EML_TRY(make_results(r, n, &c, out));
    for (uint32_t i = 0; i < n->n_out; i++)
        set(r, f, n->out[i], out[i]);
    return EML_OK;
}

/* ---- bodies ---- */

static enum eml_err push(struct run *r, uint32_t body)
{
    if (r->depth > EML_GRAPH_DEPTH_MAX)
        return bad(r, "bodies nested too deep");
    struct frame *f = &r->frames[r->depth];
    *f = (struct frame){.g = &r->p->g->graphs[body], .last = r->d->last[body + 1]};
    f->value = room(r, f->g->n_values, sizeof(struct eml_item *));
    if (f->value == NULL)
        return no_room(r);
    r->depth++;
    return EML_OK;
}

static void pop(struct run *r)
{
    struct frame *f = &r->frames[--r->depth];
    for (uint32_t i = 0; i < f->g->n_values; i++)
        eml_item_drop(&r->heap, f->value[i]);
    eml_heap_put(&r->heap, f->value, f->g->n_values * sizeof(struct eml_item *));
}

/* Hands an item, held for it, to input k of the body on top. */
static void pass(struct run *r, uint32_t k, struct eml_item *x)
{
    struct frame *f = &r->frames[r->depth - 1];
    uint32_t id = f->g->inputs[k].value;
    if (f->last[id] == 0)
        eml_item_drop(&r->heap, x);
    else
        f->value[id] = x;
}

static enum eml_err pass_number(struct run *r, uint32_t k, enum eml_dtype t, int64_t v)
{
    static const struct eml_shape scalar = {0};
    struct eml_item *x = eml_item_tensor(&r->heap, t, &scalar);
    if (x == NULL)
        return no_room(r);
    eml_store_int(t, x->view.data, 0, v);
    pass(r, k, x);
    return EML_OK;
}

/* Operand i of the frame's node, held. */
static enum eml_err operand(struct run *r, struct frame *f, uint32_t i, struct eml_item **out)
{
    EML_TRY(value_of(r, f, f->c.node->in[i], out));
    if (*out == NULL)
        return bad(r, "required operand omitted");
    (void)eml_item_hold(*out);
    return EML_OK;
}

/* Entry k of a list of attribute integers, 0 if the list is shorter. */
static int64_t entry(const struct eml_node *n, enum eml_attr_id id, uint32_t k)
{
    const struct eml_attr *a = eml_node_attr(n, id);
    return a != NULL && k < a->n ? a->v[k] : 0;
}

/* Number of scan inputs; they stand behind the state. */
static uint32_t scans(const struct eml_node *n)
{
    return (uint32_t)eml_node_int(n, EML_ATTR_NUM_SCAN_INPUTS, 0);
}

static enum eml_err scan_axis(const struct run *r, const struct eml_item *x,
                              const struct eml_node *n, uint32_t k, uint32_t *axis)
{
    int64_t a = entry(n, EML_ATTR_SCAN_INPUT_AXES, k), rank = x->view.shape.rank;
    *axis = 0;
    if (eml_dtype_bytes(x->view.dtype) == 0 || a < -rank || a >= rank)
        return bad(r, "Scan: input without the axis to scan");
    *axis = (uint32_t)(a < 0 ? a + rank : a);
    return EML_OK;
}

/* Entry i of scan input k. */
static enum eml_err scan_entry(struct run *r, struct frame *f, uint32_t k, struct eml_item **out)
{
    const struct control *c = &f->c;
    struct eml_item *x;
    uint32_t axis;
    EML_TRY(value_of(r, f, c->node->in[c->n_state + k], &x));
    EML_TRY(scan_axis(r, x, c->node, k, &axis));
    int64_t i = entry(c->node, EML_ATTR_SCAN_INPUT_DIRECTIONS, k) == 0 ? c->i : c->trips - 1 - c->i;
    return eml_list_cut(&r->heap, x, axis, i, 1, true, out, r->why);
}

/* Inputs of the body's next iteration, up to the captures. *n: how many. */
static enum eml_err own_inputs(struct run *r, struct frame *f, uint32_t *n)
{
    struct control *c = &f->c;
    struct eml_item *x;
    *n = 0;
    if (c->node->op == EML_OP_LOOP) {
        EML_TRY(pass_number(r, (*n)++, EML_DT_I64, c->i));
        EML_TRY(pass_number(r, (*n)++, EML_DT_BOOL, 1));
    }
    if (c->node->op == EML_OP_LOOP || c->node->op == EML_OP_SCAN)
        for (uint32_t i = 0; i < c->n_state; i++)
            pass(r, (*n)++, eml_item_hold(c->state[i]));
    for (uint32_t k = 0; c->node->op == EML_OP_SCAN && k < scans(c->node); k++) {
        EML_TRY(scan_entry(r, f, k, &x));
        pass(r, (*n)++, x);
    }
    for (uint32_t k = 0; c->node->op == EML_OP_SEQUENCE_MAP && k < c->captures; k++) {
        EML_TRY(value_of(r, f, c->node->in[k], &x));
        if (x == NULL)
            return bad(r, "required operand omitted");
        if (x->view.dtype == EML_DT_SEQUENCE)
            x = c->i < (int64_t)x->n_list ? x->list[c->i] : NULL;
        if (x == NULL)
            return bad(r, "SequenceMap: sequences differ in length");
        pass(r, (*n)++, eml_item_hold(x));
    }
    return EML_OK;
}

/* Another iteration: its frame is pushed. */
static enum eml_err iterate(struct run *r, struct frame *f)
{
    uint32_t n;
    struct eml_item *x;
    if (++r->iterations > EML_ITERATIONS_MAX)
        return eml_fail(r->why, EML_E_REFUSED, "budget of iterations exceeded", -1);
    EML_TRY(spend(r, NODE_WORK));
    EML_TRY(push(r, f->c.body));
    EML_TRY(own_inputs(r, f, &n));
    const struct eml_graph *body = &r->p->g->graphs[f->c.body];
    for (uint32_t k = 0; n + k < body->n_inputs; k++) {
        EML_TRY(operand(r, f, f->c.captures + k, &x));
        pass(r, n + k, x);
    }
    return EML_OK;
}

/* Results of one iteration, of the body on top, come to the node below. */
static enum eml_err collect(struct run *r, struct frame *f)
{
    struct control *c = &f->c;
    struct frame *top = &r->frames[r->depth - 1];
    const struct eml_graph *body = top->g;
    uint32_t skip = c->node->op == EML_OP_LOOP ? 1 : 0;
    for (uint32_t k = 0; k < body->n_outputs; k++) {
        struct eml_item *x;
        EML_TRY(value_of(r, top, body->outputs[k].value, &x));
        if (k < skip) {
            int64_t go;
            EML_TRY(eml_item_int(x, &go, r->why));
            c->go = go != 0;
        } else if (k - skip < c->n_state) {
            eml_item_drop(&r->heap, c->state[k - skip]);
            c->state[k - skip] = eml_item_hold(x);
        } else if (eml_dtype_bytes(x->view.dtype) == 0) {
            return bad(r, "scan output is no tensor");
        } else if (!eml_item_append(&r->heap, c->lists[k - skip - c->n_state], x)) {
            return no_room(r);
        }
    }
    c->i++;
    pop(r);
    return EML_OK;
}

/* Output k of the node out of its k-th list. */
static enum eml_err join(struct run *r, const struct frame *f, uint32_t k, struct eml_item **out)
{
    const struct eml_node *n = f->c.node;
    struct eml_item *list = f->c.lists[k];
    if (n->op == EML_OP_SEQUENCE_MAP) {
        *out = eml_item_hold(list);
        return EML_OK;
    }
    enum eml_dtype none = f->g->values[n->out[f->c.n_state + k]].dtype;
    bool backwards = entry(n, EML_ATTR_SCAN_OUTPUT_DIRECTIONS, k) != 0;
    return eml_list_join(&r->heap, list, entry(n, EML_ATTR_SCAN_OUTPUT_AXES, k), true, backwards,
                         none, out, r->why);
}

static enum eml_err finish(struct run *r, struct frame *f)
{
    struct control *c = &f->c;
    for (uint32_t k = 0; k < c->n_state; k++)
        set(r, f, c->node->out[k], c->state[k]);
    for (uint32_t k = 0; k < c->n_lists; k++) {
        struct eml_item *x = NULL;
        if (c->node->out[c->n_state + k] != EML_ABSENT) {
            EML_TRY(join(r, f, k, &x));
            set(r, f, c->node->out[c->n_state + k], x);
        }
        eml_item_drop(&r->heap, c->lists[k]);
    }
    eml_heap_put(&r->heap, c->state, c->n_state * sizeof(struct eml_item *));
    eml_heap_put(&r->heap, c->lists, c->n_lists * sizeof(struct eml_item *));
    *c = (struct control){0};
    next_node(r, f);
    return EML_OK;
}

/* How often a Scan or a SequenceMap turns. */
static enum eml_err count_trips(struct run *r, struct frame *f)
{
    struct control *c = &f->c;
    struct eml_item *x;
    if (c->node->op == EML_OP_SEQUENCE_MAP) {
        EML_TRY(value_of(r, f, c->node->in[0], &x));
        if (x->view.dtype != EML_DT_SEQUENCE)
            return bad(r, "operand is no sequence");
        c->trips = x->n_list;
        return EML_OK;
    }
    for (uint32_t k = 0; k < scans(c->node); k++) {
        uint32_t axis;
        EML_TRY(value_of(r, f, c->node->in[c->n_state + k], &x));
        if (x == NULL)
            return bad(r, "required operand omitted");
        EML_TRY(scan_axis(r, x, c->node, k, &axis));
        if (k > 0 && x->view.shape.dim[axis] != c->trips)
            return bad(r, "Scan: inputs differ in length");
        c->trips = x->view.shape.dim[axis];
    }
    return EML_OK;
}

/* Trip count and condition of a Loop, or the branch of an If. */
static enum eml_err begin(struct run *r, struct frame *f)
{
    struct control *c = &f->c;
    const struct eml_node *n = c->node;
    struct eml_item *x;
    int64_t v;
    c->go = true;
    if (n->op == EML_OP_IF) {
        EML_TRY(value_of(r, f, n->in[0], &x));
        EML_TRY(eml_item_int(x, &v, r->why));
        uint32_t then = (uint32_t)eml_node_int(n, EML_ATTR_THEN_BRANCH, 0);
        c->body = v != 0 ? then : (uint32_t)eml_node_int(n, EML_ATTR_ELSE_BRANCH, 0);
        c->captures = v != 0 ? 1 : 1 + r->p->g->graphs[then].n_inputs;
        c->trips = 1;
        return EML_OK;
    }
    if (n->op != EML_OP_LOOP)
        return count_trips(r, f);
    c->trips = -1;
    EML_TRY(value_of(r, f, n->in[0], &x));
    if (x != NULL && x->view.dtype != EML_DT_NONE) {
        EML_TRY(eml_item_int(x, &c->trips, r->why));
        c->trips = c->trips < 0 ? 0 : c->trips;
    }
    EML_TRY(value_of(r, f, n->in[1], &x));
    if (x != NULL && x->view.dtype != EML_DT_NONE) {
        EML_TRY(eml_item_int(x, &v, r->why));
        c->go = v != 0;
    }
    return EML_OK;
}

static enum eml_err enter(struct run *r, struct frame *f, const struct eml_node *n)
{
    struct control *c = &f->c;
    uint32_t state_at = n->op == EML_OP_LOOP ? 2 : 0;
    *c = (struct control){.node = n, .body = (uint32_t)eml_node_int(n, EML_ATTR_BODY, 0)};
    c->captures = n->n_in - (uint32_t)eml_node_int(n, EML_ATTR_CAPTURES, 0);
    c->n_state = n->op == EML_OP_IF     ? n->n_out
                 : n->op == EML_OP_LOOP ? c->captures - 2
                 : n->op == EML_OP_SCAN ? c->captures - scans(n)
                                        : 0;
    c->n_lists = n->n_out - c->n_state;
    c->state = room(r, c->n_state, sizeof(struct eml_item *));
    c->lists = room(r, c->n_lists, sizeof(struct eml_item *));
    if (c->state == NULL || c->lists == NULL)
        return no_room(r);
    EML_TRY(begin(r, f));
    for (uint32_t i = 0; n->op != EML_OP_IF && i < c->n_state; i++)
        EML_TRY(operand(r, f, state_at + i, &c->state[i]));
    for (uint32_t i = 0; i < c->n_lists; i++)
        if ((c->lists[i] = eml_item_list(&r->heap)) == NULL)
            return no_room(r);
    return EML_OK;
}

/* ---- all nodes ---- */

static bool has_body(enum eml_op op)
{
    return op == EML_OP_IF || op == EML_OP_LOOP || op == EML_OP_SCAN || op == EML_OP_SEQUENCE_MAP;
}

static enum eml_err plain_node(struct run *r, struct frame *f, const struct eml_node *n)
{
    struct eml_item *x = NULL;
    for (uint32_t i = 0; i < n->n_in; i++)
        EML_TRY(value_of(r, f, n->in[i], &r->in[i]));
    if (n->op == EML_OP_IDENTITY && r->in[0] != NULL && r->in[0]->view.layout == EML_LAYOUT_PLAIN) {
        set(r, f, n->out[0], eml_item_hold(r->in[0]));
    } else if (eml_op_runs_dynamically(n->op)) {
        for (uint32_t i = 0; i < n->n_in; i++)
            if (r->in[i] != NULL && r->in[i]->view.layout != EML_LAYOUT_PLAIN)
                return bad(r, "operand is packed in a layout not read here");
        EML_TRY(eml_list_op(&r->heap, n, r->in, &x, r->why));
        set(r, f, n->out[0], x);
    } else {
        EML_TRY(tensor_node(r, f, n));
    }
    next_node(r, f);
    return EML_OK;
}

/* One step of the frame on top. */
static enum eml_err step(struct run *r)
{
    struct frame *f = &r->frames[r->depth - 1];
    if (f->at == f->g->n_nodes) { /* a body is done */
        f = &r->frames[r->depth - 2];
        EML_TRY(collect(r, f));
    } else {
        const struct eml_node *n = &f->g->nodes[f->at];
        EML_TRY(spend(r, NODE_WORK));
        if (!has_body(n->op))
            return plain_node(r, f, n);
        EML_TRY(enter(r, f, n));
    }
    bool more = f->c.go && (f->c.trips < 0 || f->c.i < f->c.trips);
    return more ? iterate(r, f) : finish(r, f);
}

static struct eml_tensor tensor_of(const struct eml_item *x)
{
    return (struct eml_tensor){.dtype = x->view.dtype,
                               .shape = x->view.shape,
                               .data = x->view.data,
                               .bytes = eml_item_bytes(x)};
}

static enum eml_err give(struct run *r, const struct eml_item *x, struct eml_tensor *out)
{
    *out = (struct eml_tensor){.dtype = x->view.dtype, .shape = x->view.shape};
    if (x->view.dtype == EML_DT_SEQUENCE) {
        struct eml_tensor *list = room(r, x->n_list, sizeof *list);
        if (list == NULL)
            return no_room(r);
        for (uint32_t i = 0; i < x->n_list; i++) {
            list[i] = tensor_of(x->list[i]);
            const uint8_t *at = list[i].data;
            if (at < r->weights.ptr || at >= r->weights.ptr + r->weights.len)
                continue;
            /* Callers look for outputs in the weights, but not inside of lists. */
            const struct eml_item *copy = copy_tensor(r, &list[i]);
            if (copy == NULL)
                return no_room(r);
            list[i].data = copy->view.data;
        }
        out->shape = (struct eml_shape){1, {x->n_list}};
        out->data = list;
        out->bytes = x->n_list * sizeof *list;
    } else if (x->view.dtype != EML_DT_NONE) {
        *out = tensor_of(x);
    }
    return EML_OK;
}

static enum eml_err prepare(struct run *r)
{
    const struct eml_dynamic *d = r->d;
    r->in = room(r, d->most_in, sizeof(struct eml_item *));
    r->known = room(r, d->most_in, sizeof *r->known);
    r->operands = room(r, d->most_in, sizeof(struct eml_known *));
    r->results = room(r, d->most_out, sizeof *r->results);
    r->views = room(r, (size_t)d->most_in + d->most_out, sizeof *r->views);
    r->infer = (struct eml_arena){.base = room(r, 1, INFER_BYTES), .size = INFER_BYTES};
    struct frame *f = &r->frames[0];
    *f = (struct frame){.g = r->p->g, .last = d->last[0]};
    f->value = room(r, f->g->n_values, sizeof(struct eml_item *));
    if (r->in == NULL || r->known == NULL || r->operands == NULL || r->results == NULL ||
        r->views == NULL || r->infer.base == NULL || f->value == NULL)
        return no_room(r);
    r->depth = 1;
    return EML_OK;
}

static enum eml_err run_all(struct run *r, const struct eml_tensor *inputs,
                            struct eml_tensor *outputs)
{
    struct frame *f = &r->frames[0];
    EML_TRY(prepare(r));
    for (uint32_t i = 0; i < f->g->n_inputs; i++)
        EML_TRY(seed(r, i, &inputs[i]));
    while (r->depth > 1 || f->at < f->g->n_nodes) {
        enum eml_err e = step(r);
        if (e != EML_OK && r->why != NULL)
            r->why->index = (long)f->at;
        EML_TRY(e);
    }
    for (uint32_t i = 0; i < f->g->n_outputs; i++) {
        struct eml_item *x;
        EML_TRY(value_of(r, f, f->g->outputs[i].value, &x));
        EML_TRY(give(r, x, &outputs[i]));
    }
    return EML_OK;
}

enum eml_err eml_dynamic_run(const struct eml_plan *p, struct eml_bytes weights,
                             const struct eml_tensor *inputs, struct eml_pool *pool,
                             struct eml_tensor *outputs, struct eml_why *why)
{
    const struct eml_dynamic *d = p->dynamic;
    struct run r = {.p = p, .d = d, .weights = weights, .pool = pool, .why = why};
    if (weights.len < p->weight_bytes || (uintptr_t)weights.ptr % 64 != 0)
        return eml_fail(why, EML_E_USAGE, "run: weights too short or not aligned", -1);
    if (pool != NULL && eml_pool_threads(pool) > p->threads)
        return eml_fail(why, EML_E_USAGE, "run: more threads than planned for", -1);
    size_t mark = eml_arena_mark(d->arena);
    r.heap = (struct eml_heap){.arena = d->arena, .limit = d->budget.activation_bytes};
    enum eml_err e = run_all(&r, inputs, outputs);
    if (e != EML_OK) {
        memset(outputs, 0, p->g->n_outputs * sizeof *outputs);
        (void)eml_arena_reset(d->arena, mark);
    }
    return e;
}

/* ---- preparing ---- */

/* Last readers of a graph's values; also what operands and weights it needs at most. */
static bool prepare_graph(struct eml_plan *p, struct eml_dynamic *d, const struct eml_graph *g,
                          uint32_t index)
{
    uint32_t *last = eml_arena_array(d->arena, g->n_values, sizeof *last);
    d->last[index] = last;
    if (last == NULL)
        return false;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const struct eml_node *n = &g->nodes[i];
        d->most_in = n->n_in > d->most_in ? n->n_in : d->most_in;
        d->most_out = n->n_out > d->most_out ? n->n_out : d->most_out;
        for (uint32_t k = 0; k < n->n_in; k++)
            if (n->in[k] != EML_ABSENT)
                last[n->in[k]] = i + 1;
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        last[g->outputs[i].value] = UINT32_MAX;
    for (uint32_t i = 0; i < g->n_values; i++) {
        const struct eml_value *v = &g->values[i];
        if (v->kind == EML_VALUE_SLOT && v->offset + v->bytes > p->weight_bytes)
            p->weight_bytes = v->offset + v->bytes;
        if (v->kind == EML_VALUE_SLOT || v->kind == EML_VALUE_INTS)
            last[i] = UINT32_MAX; /* wrapped once */
    }
    return true;
}

enum eml_err eml_dynamic_plan(const struct eml_graph *g, enum eml_isa isa, unsigned threads,
                              const struct eml_budget *budget, struct eml_arena *arena,
                              struct eml_plan **out, struct eml_why *why)
{
    struct eml_plan *p = eml_arena_array(arena, 1, sizeof *p);
    struct eml_dynamic *d = eml_arena_array(arena, 1, sizeof *d);
    uint32_t **last = eml_arena_array(arena, (size_t)g->n_graphs + 1, sizeof *last);
    bool ok = p != NULL && d != NULL && last != NULL;
    *out = NULL;
    if (ok) {
        *p = (struct eml_plan){.g = g,
                               .kernels = eml_kernels_for(isa),
                               .threads = threads == 0 ? 1 : threads,
                               .dynamic = d};
        *d = (struct eml_dynamic){.arena = arena, .last = last};
        d->budget = budget != NULL ? *budget : (struct eml_budget){UINT64_MAX, UINT64_MAX};
        ok = prepare_graph(p, d, g, 0);
    }
    for (uint32_t i = 0; ok && i < g->n_graphs; i++)
        ok = prepare_graph(p, d, &g->graphs[i], i + 1);
    if (!ok)
        return eml_fail(why, EML_E_SYSTEM, "plan: arena full", -1);
    *out = p;
    return EML_OK;
}
