#include "engine/plan.h"

#include "engine/dynamic.h"
#include "engine/infer.h"
#include "engine/kernels/kernels.h"
#include "engine/plan_branches.h"

#include "base/checked.h"
#include "model/limits.h"

#include <string.h>

static const char RULE_TYPE[] = "value has another type than its node gives it";

struct planner {
    struct eml_plan *p;
    const struct eml_graph *whole;
    const struct eml_graph *g; /* whole, or branches.flat if it has bodies */
    struct eml_branches branches;
    const struct eml_plan_options *options;
    struct eml_arena *arena;
    struct eml_why *why;
    const struct eml_known **operands; /* room for one node's */
    struct eml_known *results;
    struct eml_view *views;
    bool needs_data; /* beyond shapes: to be tried otherwise */
    bool use_data;   /* small integer inputs are known by their elements, too */
    uint32_t *root;  /* per value: the value whose bytes it views, itself if none */
};

static enum eml_err full(const struct planner *s)
{
    return eml_fail(s->why, EML_E_SYSTEM, "plan: arena full", -1);
}

/* ---- what is known ---- */

/* The elements of an input, which may lie anywhere. */
static enum eml_err seed_data(const struct planner *s, struct eml_known *k, const uint8_t *data,
                              uint32_t n)
{
    k->ints = eml_arena_array(s->arena, n, sizeof *k->ints);
    if (k->ints == NULL)
        return full(s);
    k->has_ints = true;
    k->n_ints = n;
    for (uint32_t i = 0; i < n; i++)
        k->ints[i] = eml_load_int(k->dtype, data, i);
    return EML_OK;
}

enum eml_err eml_input_check(const struct eml_value *v, const struct eml_tensor *t, long at,
                             struct eml_why *why)
{
    if (t->dtype != v->dtype)
        return eml_fail(why, EML_E_INPUT, "input has another type than the model's", at);
    if (t->shape.rank != v->shape.rank)
        return eml_fail(why, EML_E_INPUT, "input has another rank than the model's", at);
    for (uint32_t d = 0; d < v->shape.rank; d++)
        if (t->shape.dim[d] < 0 ||
            (v->shape.dim[d] != EML_DIM_UNKNOWN && v->shape.dim[d] != t->shape.dim[d]))
            return eml_fail(why, EML_E_INPUT, "input has another shape than the model's", at);
    int64_t n, bytes;
    if (!eml_shape_count(&t->shape, &n) ||
        !eml_mul_i64(n, (int64_t)eml_dtype_bytes(t->dtype), &bytes) ||
        bytes > (int64_t)EML_TENSOR_BYTES_MAX)
        return eml_fail(why, EML_E_INPUT, "input above the size limit", at);
    return EML_OK;
}

static enum eml_err seed_input(struct planner *s, uint32_t i, const struct eml_tensor *t)
{
    uint32_t id = s->g->inputs[i].value;
    int64_t n = 0;
    s->needs_data = t->dtype == EML_DT_SEQUENCE || t->dtype == EML_DT_NONE;
    if (s->needs_data)
        return eml_fail(s->why, EML_E_UNSUPPORTED, "plan: input is no tensor", (long)i);
    EML_TRY(eml_input_check(&s->g->values[id], t, (long)i, s->why));
    (void)eml_shape_count(&t->shape, &n);
    s->p->known[id] = (struct eml_known){.dtype = t->dtype, .has_rank = true, .shape = t->shape};
    if (s->use_data && eml_dtype_is_int(t->dtype) && t->data != NULL && n <= EML_INTS_MAX &&
        t->bytes == (size_t)n * eml_dtype_bytes(t->dtype))
        return seed_data(s, &s->p->known[id], t->data, (uint32_t)n);
    return EML_OK;
}

/* Values of the graph from this one on. */
static enum eml_err seed_values(const struct planner *s, uint32_t from)
{
    for (uint32_t i = from; i < s->g->n_values; i++) {
        const struct eml_value *v = &s->g->values[i];
        struct eml_known *k = &s->p->known[i];
        s->root[i] = i;
        if (v->kind != EML_VALUE_SLOT && v->kind != EML_VALUE_INTS)
            continue;
        *k = (struct eml_known){.dtype = v->dtype, .has_rank = true, .shape = v->shape};
        if (v->kind == EML_VALUE_SLOT)
            continue;
        k->has_ints = true;
        k->n_ints = v->n_ints;
        k->ints = eml_arena_array(s->arena, v->n_ints, sizeof *k->ints);
        if (k->ints == NULL)
            return full(s);
        for (uint32_t j = 0; j < v->n_ints; j++)
            k->ints[j] = v->ints[j];
    }
    return EML_OK;
}

static enum eml_err infer_node(struct planner *s, uint32_t at)
{
    const struct eml_node *n = &s->g->nodes[at];
    s->needs_data = eml_op_runs_dynamically(n->op);
    if (s->needs_data)
        return eml_fail(s->why, EML_E_UNSUPPORTED, "plan: control flow", -1);
    for (uint32_t i = 0; i < n->n_in; i++)
        s->operands[i] = n->in[i] == EML_ABSENT ? NULL : &s->p->known[n->in[i]];
    EML_TRY(eml_infer_node(n, s->operands, s->results, s->arena, s->why));
    for (uint32_t i = 0; i < n->n_out; i++) {
        const struct eml_known *r = &s->results[i];
        int64_t count;
        s->needs_data = !r->has_rank || !eml_shape_count(&r->shape, &count);
        if (s->needs_data)
            return eml_fail(s->why, EML_E_UNSUPPORTED, "shape depends on data", -1);
        if (n->out[i] == EML_ABSENT)
            continue;
        if (s->g->values[n->out[i]].dtype != r->dtype)
            return eml_fail(s->why, EML_E_INPUT, RULE_TYPE, -1);
        s->p->known[n->out[i]] = *r;
    }
    return EML_OK;
}

/* The node of the whole. */
static uint32_t origin(const struct planner *s, uint32_t at)
{
    return s->g == s->whole ? at : s->branches.origin[at];
}

/* An If, the flat graph's last node: goes on in the branch that its condition says. */
static enum eml_err take_branch(struct planner *s)
{
    const uint32_t id = s->g->nodes[s->g->n_nodes - 1].in[0], values = s->g->n_values;
    const struct eml_known *k = id != EML_ABSENT ? &s->p->known[id] : NULL;
    enum eml_err e = EML_E_UNSUPPORTED;
    if (k != NULL && k->n_ints == 1 && eml_known_fully(k))
        e = eml_branches_enter(&s->branches, k->ints[0] != 0);
    s->needs_data = e == EML_E_UNSUPPORTED;
    if (s->needs_data)
        return eml_fail(s->why, e, "plan: control flow", -1);
    return e == EML_OK ? seed_values(s, values) : full(s);
}

static enum eml_err infer_branches(struct planner *s)
{
    bool more = true;
    while (more) {
        if (eml_branches_next(&s->branches, &more) != EML_OK)
            return full(s);
        if (!more)
            break;
        const uint32_t at = s->g->n_nodes - 1, whole_at = origin(s, at);
        bool branch = s->g->nodes[at].op == EML_OP_IF;
        enum eml_err e = branch ? take_branch(s) : infer_node(s, at);
        if (e != EML_OK && s->why != NULL)
            s->why->index = (long)whole_at;
        EML_TRY(e);
    }
    /* What is known of the results of Ifs. */
    for (uint32_t i = 0; i < s->whole->n_values; i++) {
        s->p->known[i] = s->p->known[s->branches.levels[0].id[i]];
        if (s->whole->values[i].kind == EML_VALUE_NODE &&
            s->whole->values[i].dtype != s->p->known[i].dtype)
            return eml_fail(s->why, EML_E_INPUT, RULE_TYPE, -1);
    }
    return EML_OK;
}

static enum eml_err infer_all(struct planner *s, const struct eml_tensor *inputs)
{
    for (uint32_t i = 0; i < s->g->n_inputs; i++)
        EML_TRY(seed_input(s, i, &inputs[i]));
    EML_TRY(seed_values(s, 0));
    if (s->g != s->whole)
        return infer_branches(s);
    for (uint32_t i = 0; i < s->g->n_nodes; i++) {
        enum eml_err e = infer_node(s, i);
        if (e != EML_OK && s->why != NULL)
            s->why->index = (long)i;
        EML_TRY(e);
    }
    return EML_OK;
}

/* ---- what must run ---- */

bool eml_known_fully(const struct eml_known *k)
{
    if (!k->has_ints)
        return false;
    for (uint32_t i = 0; i < k->n_ints; i++)
        if (k->ints[i] == EML_INT_UNKNOWN)
            return false;
    return true;
}

static bool must_run(const struct planner *s, const struct eml_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] != EML_ABSENT && s->p->needed[n->out[i]] &&
            !eml_known_fully(&s->p->known[n->out[i]]))
            return true;
    return false;
}

/* Backwards from the outputs: nodes whose results are known or unused do not run. */
static void find_needed(const struct planner *s, bool *runs)
{
    for (uint32_t i = 0; i < s->g->n_outputs; i++)
        s->p->needed[s->g->outputs[i].value] = true;
    for (uint32_t i = s->g->n_nodes; i-- > 0;) {
        const struct eml_node *n = &s->g->nodes[i];
        runs[i] = must_run(s, n);
        for (uint32_t j = 0; runs[i] && j < n->n_in; j++)
            if (n->in[j] != EML_ABSENT)
                s->p->needed[n->in[j]] = true;
    }
}

/* ---- where everything lies ---- */

void eml_store_int(enum eml_dtype t, void *to, size_t i, int64_t v)
{
    switch (eml_dtype_bytes(t)) {
    case 1:
        ((uint8_t *)to)[i] = (uint8_t)v;
        break;
    case 2:
        ((uint16_t *)to)[i] = (uint16_t)v;
        break;
    case 4:
        ((uint32_t *)to)[i] = (uint32_t)v;
        break;
    default:
        ((int64_t *)to)[i] = v;
    }
}

static enum eml_err place_known(const struct planner *s, uint32_t id)
{
    const struct eml_known *k = &s->p->known[id];
    void *data = eml_arena_array(s->arena, k->n_ints, eml_dtype_bytes(k->dtype));
    if (data == NULL)
        return full(s);
    for (uint32_t i = 0; i < k->n_ints; i++)
        eml_store_int(k->dtype, data, i, k->ints[i]);
    s->p->place[id] = (struct eml_place){.kind = EML_PLACE_PLAN, .data = data};
    return EML_OK;
}

static enum eml_err place_slot(const struct planner *s, uint32_t id)
{
    const struct eml_value *v = &s->g->values[id];
    int64_t n, bytes;
    uint64_t end;
    if (v->layout == EML_LAYOUT_PLAIN &&
        (!eml_shape_count(&v->shape, &n) ||
         !eml_mul_i64(n, (int64_t)eml_dtype_bytes(v->dtype), &bytes) || (uint64_t)bytes > v->bytes))
        return eml_fail(s->why, EML_E_INPUT, "slot is shorter than its shape", (long)id);
    if (__builtin_add_overflow(v->offset, v->bytes, &end) || v->offset % 64 != 0)
        return eml_fail(s->why, EML_E_INPUT, "slot out of range", (long)id);
    s->p->weight_bytes = end > s->p->weight_bytes ? end : s->p->weight_bytes;
    s->p->place[id] = (struct eml_place){.kind = EML_PLACE_WEIGHTS, .offset = v->offset};
    return EML_OK;
}

static size_t value_bytes(const struct planner *s, uint32_t id)
{
    const struct eml_known *k = &s->p->known[id];
    int64_t n = 0;
    (void)eml_shape_count(&k->shape, &n); /* was counted, and is below EML_TENSOR_BYTES_MAX */
    return (size_t)n * eml_dtype_bytes(k->dtype);
}

static uint32_t new_buffer(const struct planner *s, uint32_t first, uint32_t last, size_t bytes)
{
    size_t rounded = (bytes + 63) & ~(size_t)63; /* bytes <= EML_TENSOR_BYTES_MAX */
    struct eml_buffer b = {.first = first, .last = last, .bytes = rounded == 0 ? 64 : rounded};
    s->p->buffers[s->p->n_buffers] = b;
    return s->p->n_buffers++;
}

/* Whether another operand of the node than i lies in the same buffer. */
static bool read_twice(const struct planner *s, const struct eml_node *n, uint32_t i)
{
    uint32_t buffer = s->p->place[n->in[i]].buffer;
    for (uint32_t j = 0; j < n->n_in; j++) {
        if (j == i || n->in[j] == EML_ABSENT)
            continue;
        const struct eml_place *at = &s->p->place[n->in[j]];
        if (at->kind == EML_PLACE_BUFFER && at->buffer == buffer)
            return true;
    }
    return false;
}

/* The buffer of an operand that dies in this step and may give its memory to the output. */
static uint32_t reusable(const struct planner *s, const struct eml_node *n, uint32_t step)
{
    if (s->options->no_reuse || n->n_out != 1 || n->out[0] == EML_ABSENT)
        return EML_NO_BUFFER;
    enum eml_dtype to = s->p->known[n->out[0]].dtype;
    for (uint32_t i = 0; i < n->n_in; i++) {
        uint32_t id = n->in[i];
        if (id == EML_ABSENT || !eml_op_in_place(n->op, i))
            continue;
        const struct eml_place *at = &s->p->place[id];
        if (at->kind == EML_PLACE_BUFFER && s->p->buffers[at->buffer].last == step &&
            value_bytes(s, id) == value_bytes(s, n->out[0]) &&
            eml_dtype_bytes(s->p->known[id].dtype) == eml_dtype_bytes(to) && !read_twice(s, n, i))
            return at->buffer;
    }
    return EML_NO_BUFFER;
}

static void place_outputs(const struct planner *s, const struct eml_node *n, uint32_t step)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        uint32_t id = n->out[i];
        if (id == EML_ABSENT)
            continue;
        /* An output that nobody reads is written all the same. */
        uint32_t last = s->p->last[id] > step ? s->p->last[id] : step;
        uint32_t b = reusable(s, n, step);
        if (b == EML_NO_BUFFER)
            b = new_buffer(s, step, last, value_bytes(s, id));
        else
            s->p->buffers[b].last = last;
        s->p->place[id] = (struct eml_place){.kind = EML_PLACE_BUFFER, .buffer = b};
    }
}

/* ---- steps ---- */

void eml_plan_view(const struct eml_plan *p, uint32_t id, struct eml_view *v)
{
    *v = (struct eml_view){.dtype = EML_DT_NONE};
    if (id == EML_ABSENT)
        return;
    const struct eml_value *g = &p->g->values[id];
    v->dtype = p->known[id].dtype;
    v->shape = p->known[id].shape;
    v->layout = g->kind == EML_VALUE_SLOT ? g->layout : EML_LAYOUT_PLAIN;
    (void)eml_shape_count(&v->shape, &v->count);
}

static enum eml_err check_params(const struct planner *s, const struct eml_node *n, uint32_t *count)
{
    *count = 0;
    int64_t act = eml_node_int(n, EML_ATTR_ACT, EML_ACT_NONE); /* in range: the rule said so */
    size_t want = eml_op_params(n->op) + eml_act_params((enum eml_act)act);
    if (n->params != EML_ABSENT) {
        const struct eml_value *v = &s->g->values[n->params];
        if (v->kind != EML_VALUE_SLOT || v->dtype != EML_DT_F32 || v->shape.rank != 1 ||
            v->layout != EML_LAYOUT_PLAIN || v->shape.dim[0] > INT32_MAX || v->shape.dim[0] < 0)
            return eml_fail(s->why, EML_E_INPUT, "params are not a list of float32", -1);
        EML_TRY(place_slot(s, n->params));
        *count = (uint32_t)v->shape.dim[0];
    }
    if (*count < want)
        return eml_fail(s->why, EML_E_INPUT, "too few params for the operator", -1);
    return EML_OK;
}

/* Of one thread that decrypts. */
enum { OPEN_BYTES_PER_NS = 16 };

static void add_ns(const struct planner *s, const struct eml_node *n, uint64_t flops)
{
    uint64_t ns = eml_op_ns(n->op, flops);
    for (uint32_t i = 0; i < n->n_in && n->op != EML_OP_GATHER; i++) /* which opens rows only */
        if (n->in[i] != EML_ABSENT && s->g->values[n->in[i]].kind == EML_VALUE_SLOT &&
            __builtin_add_overflow(ns, s->g->values[n->in[i]].bytes / OPEN_BYTES_PER_NS, &ns))
            ns = UINT64_MAX;
    if (__builtin_add_overflow(s->p->ns, ns, &s->p->ns))
        s->p->ns = UINT64_MAX;
    s->p->longest_ns = ns > s->p->longest_ns ? ns : s->p->longest_ns;
}

static enum eml_err add_step(const struct planner *s, uint32_t at)
{
    struct eml_plan *p = s->p;
    const struct eml_node *n = &s->g->nodes[at];
    struct eml_op_ctx c = {.node = n,
                           .in = s->views,
                           .out = s->views + n->n_in,
                           .n_in = n->n_in,
                           .n_out = n->n_out,
                           .threads = p->threads,
                           .kernels = p->kernels,
                           .why = s->why};
    for (uint32_t i = 0; i < n->n_in; i++) {
        eml_plan_view(p, n->in[i], &s->views[i]);
        if (!eml_slot_read_by(n->op, i, s->views[i].layout))
            return eml_fail(s->why, EML_E_INPUT, "operand is packed in a layout not read here", -1);
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        eml_plan_view(p, n->out[i], &s->views[n->n_in + i]);
    EML_TRY(check_params(s, n, &c.n_params));
    size_t scratch = 0;
    eml_scratch_fn *count = eml_op_scratch(n->op);
    if (count != NULL && (!count(&c, &scratch) || scratch > EML_TENSOR_BYTES_MAX))
        return eml_fail(s->why, EML_E_REFUSED, "scratch memory above the limit", -1);
    uint64_t flops = eml_op_flops(&c);
    if (__builtin_add_overflow(p->flops, flops, &p->flops))
        p->flops = UINT64_MAX;
    add_ns(s, n, flops);
    struct eml_step *step = &p->steps[p->n_steps++];
    *step = (struct eml_step){
        .node = at, .origin = origin(s, at), .run = eml_op_kernel(n->op), .scratch = EML_NO_BUFFER};
    place_outputs(s, n, p->n_steps);
    if (scratch > 0)
        step->scratch = new_buffer(s, p->n_steps, p->n_steps, scratch);
    if (n->n_in + n->n_out > p->max_operands)
        p->max_operands = n->n_in + n->n_out;
    return EML_OK;
}

/* A view has the bytes of its source; both live as long as the longer of the two. */
static enum eml_err add_alias(const struct planner *s, const struct eml_node *n)
{
    if (!eml_slot_read_by(n->op, 0, s->g->values[n->in[0]].layout))
        return eml_fail(s->why, EML_E_INPUT, "operand is packed in a layout not read here", -1);
    s->p->place[n->out[0]] = s->p->place[n->in[0]];
    return EML_OK;
}

/* Last steps of use, of a value and of all views of it together. */
static void find_lifetimes(const struct planner *s, const bool *runs)
{
    struct eml_plan *p = s->p;
    uint32_t step = 0;
    for (uint32_t i = 0; i < s->g->n_nodes; i++) {
        const struct eml_node *n = &s->g->nodes[i];
        if (!runs[i])
            continue;
        if (eml_op_is_alias(n->op)) {
            s->root[n->out[0]] = s->root[n->in[0]];
            continue;
        }
        step++;
        for (uint32_t j = 0; j < n->n_in; j++)
            if (n->in[j] != EML_ABSENT)
                p->last[s->root[n->in[j]]] = step;
    }
    for (uint32_t i = 0; i < s->g->n_outputs; i++)
        p->last[s->root[s->g->outputs[i].value]] = EML_NO_STEP;
}

static enum eml_err place_all(const struct planner *s, const bool *runs)
{
    for (uint32_t i = 0; i < s->g->n_values; i++) {
        const struct eml_value *v = &s->g->values[i];
        if (!s->p->needed[i])
            continue;
        if (v->kind == EML_VALUE_SLOT) {
            EML_TRY(place_slot(s, i));
        } else if (v->kind == EML_VALUE_INPUT) {
            uint32_t b = new_buffer(s, 0, s->p->last[i], value_bytes(s, i));
            s->p->place[i] = (struct eml_place){.kind = EML_PLACE_BUFFER, .buffer = b};
        } else if (eml_known_fully(&s->p->known[i])) {
            EML_TRY(place_known(s, i));
        } else if (v->kind == EML_VALUE_INTS) {
            return eml_fail(s->why, EML_E_INPUT, "constant outside the range of integers", (long)i);
        }
    }
    for (uint32_t i = 0; i < s->g->n_nodes; i++) {
        if (!runs[i])
            continue;
        const struct eml_node *n = &s->g->nodes[i];
        enum eml_err e = eml_op_is_alias(n->op) ? add_alias(s, n) : add_step(s, i);
        if (e != EML_OK && s->why != NULL)
            s->why->index = (long)origin(s, i);
        EML_TRY(e);
    }
    return EML_OK;
}

/* A second thread pays in steps that are long enough for it to wake, or in runs in which it stays
 * awake and many short ones add up. In others what the threads read of each other travels between
 * their cores, which may take longer than the work. */
enum { SHORT_STEP_NS = 100000, SHORT_RUN_NS = 1000000 };

static bool alone(const struct planner *s)
{
    return !s->options->always_share && s->p->ns < SHORT_RUN_NS && s->p->longest_ns < SHORT_STEP_NS;
}

/* An output that is a slot is copied out of the window. */
static void place_slot_outputs(const struct planner *s)
{
    struct eml_plan *p = s->p;
    for (uint32_t i = 0; i < s->g->n_outputs; i++) {
        uint32_t id = s->g->outputs[i].value;
        bool slot = p->place[id].kind == EML_PLACE_WEIGHTS;
        p->window.outputs[i] =
            slot ? new_buffer(s, EML_NO_STEP, EML_NO_STEP, value_bytes(s, id)) : EML_NO_BUFFER;
        if (slot)
            p->window.own_blocks = 1; /* copied through it */
    }
}

/* ---- all together ---- */

/* Operands and results of one node. */
static void most_of(const struct eml_graph *g, size_t *in, size_t *out)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        *in = g->nodes[i].n_in > *in ? g->nodes[i].n_in : *in;
        *out = g->nodes[i].n_out > *out ? g->nodes[i].n_out : *out;
    }
}

static bool alloc(struct planner *s)
{
    const struct eml_graph *g = s->whole;
    size_t most_in = 0, most_out = 0, n_values = g->n_values, n_nodes = g->n_nodes;
    most_of(g, &most_in, &most_out);
    for (uint32_t i = 0; i < g->n_graphs; i++)
        most_of(&g->graphs[i], &most_in, &most_out);
    s->g = g;
    if (g->n_graphs > 0) {
        if (!eml_branches_begin(&s->branches, g, s->arena))
            return false;
        s->g = s->branches.flat;
        n_values = s->branches.max_values;
        n_nodes = s->branches.max_nodes;
    }
    struct eml_plan *p = eml_arena_array(s->arena, 1, sizeof *p);
    if (p == NULL)
        return false;
    /* outputs, inputs; scratch of each step; copies of outputs that are slots */
    size_t buffers = n_values + n_nodes + g->n_outputs;
    s->p = p;
    p->g = s->g;
    p->known = eml_arena_array(s->arena, n_values, sizeof *p->known);
    p->place = eml_arena_array(s->arena, n_values, sizeof *p->place);
    p->last = eml_arena_array(s->arena, n_values, sizeof *p->last);
    p->needed = eml_arena_array(s->arena, n_values, sizeof *p->needed);
    p->steps = eml_arena_array(s->arena, n_nodes, sizeof *p->steps);
    p->buffers = eml_arena_array(s->arena, buffers, sizeof *p->buffers);
    p->window.outputs = eml_arena_array(s->arena, g->n_outputs, sizeof *p->window.outputs);
    s->root = eml_arena_array(s->arena, n_values, sizeof *s->root);
    s->operands = eml_arena_array(s->arena, most_in, sizeof(struct eml_known *));
    s->results = eml_arena_array(s->arena, most_out, sizeof *s->results);
    s->views = eml_arena_array(s->arena, most_in + most_out, sizeof *s->views);
    return p->known != NULL && p->place != NULL && p->last != NULL && p->needed != NULL &&
           p->steps != NULL && p->buffers != NULL && p->window.outputs != NULL && s->root != NULL &&
           s->operands != NULL && s->results != NULL && s->views != NULL;
}

static enum eml_err layout_memory(const struct planner *s, const struct eml_budget *budget)
{
    struct eml_plan *p = s->p;
    size_t end;
    size_t table = (size_t)p->max_operands * sizeof(struct eml_view); /* <= 1280 views */
    p->table_bytes = (table + 63) & ~(size_t)63;
    if (!eml_buffers_place(p->buffers, p->n_buffers, s->options->no_reuse, s->arena, &end) ||
        !eml_add_size(end, p->table_bytes, &p->activation_bytes))
        return full(s);
    if (budget == NULL)
        return EML_OK;
    if (p->activation_bytes > budget->activation_bytes)
        return eml_fail(s->why, EML_E_REFUSED, "memory budget exceeded", -1);
    if (p->flops > budget->flops)
        return eml_fail(s->why, EML_E_REFUSED, "budget of floating-point operations exceeded", -1);
    return EML_OK;
}

int64_t eml_load_int(enum eml_dtype t, const uint8_t *data, uint32_t i)
{
    size_t bytes = eml_dtype_bytes(t);
    uint64_t v = 0;
    memcpy(&v, data + i * bytes, bytes); /* little-endian */
    unsigned shift = (unsigned)(64 - 8 * bytes);
    bool is_signed = t == EML_DT_I8 || t == EML_DT_I16 || t == EML_DT_I32 || t == EML_DT_I64;
    if (!is_signed)
        return v > INT64_MAX ? EML_INT_UNKNOWN : (int64_t)v;
    return (int64_t)(v << shift) >> shift;
}

static enum eml_err make(struct planner *s, const struct eml_tensor *inputs, enum eml_isa isa,
                         unsigned threads, const struct eml_budget *budget)
{
    if (!alloc(s))
        return full(s);
    s->p->threads = threads == 0 ? 1 : threads;
    s->p->kernels = eml_kernels_for(isa);
    EML_TRY(infer_all(s, inputs));
    bool *runs = eml_arena_array(s->arena, s->g->n_nodes, sizeof *runs);
    if (runs == NULL)
        return full(s);
    find_needed(s, runs);
    find_lifetimes(s, runs);
    EML_TRY(place_all(s, runs));
    place_slot_outputs(s);
    s->p->alone = alone(s);
    if (!eml_weights_plan(s->p, s->arena))
        return full(s);
    return layout_memory(s, budget);
}

enum eml_err eml_plan_make_with(const struct eml_graph *g, const struct eml_tensor *inputs,
                                enum eml_isa isa, unsigned threads, const struct eml_budget *budget,
                                const struct eml_plan_options *options, struct eml_arena *arena,
                                struct eml_plan **out, struct eml_why *why)
{
    *out = NULL;
    struct planner s = {.whole = g, .options = options, .arena = arena, .why = why};
    size_t mark = eml_arena_mark(arena);
    enum eml_err e = make(&s, inputs, isa, threads, budget);
    if (e == EML_E_UNSUPPORTED && s.needs_data) {
        /* Perhaps the data is an input: then the plan is for these elements only. */
        (void)eml_arena_reset(arena, mark);
        s.use_data = true;
        e = make(&s, inputs, isa, threads, budget);
    }
    if (e == EML_E_UNSUPPORTED && s.needs_data) {
        (void)eml_arena_reset(arena, mark);
        return eml_dynamic_plan(g, isa, threads, budget, arena, out, why);
    }
    EML_TRY(e);
    *out = s.p;
    return EML_OK;
}

enum eml_err eml_plan_make(const struct eml_graph *g, const struct eml_tensor *inputs,
                           enum eml_isa isa, unsigned threads, const struct eml_budget *budget,
                           struct eml_arena *arena, struct eml_plan **out, struct eml_why *why)
{
    static const struct eml_plan_options defaults = {0};
    return eml_plan_make_with(g, inputs, isa, threads, budget, &defaults, arena, out, why);
}

size_t eml_plan_activation_bytes(const struct eml_plan *p)
{
    return p->activation_bytes;
}

size_t eml_plan_window_bytes(const struct eml_plan *p)
{
    return p->dynamic != NULL ? SIZE_MAX : p->window.bytes;
}

unsigned eml_plan_threads(const struct eml_plan *p)
{
    return p->alone ? 1 : p->threads;
}

uint64_t eml_plan_flops(const struct eml_plan *p)
{
    return p->flops;
}

void eml_plan_set_profile(struct eml_plan *p, struct eml_plan_profile profile)
{
    p->profile = profile;
}

struct eml_shape eml_plan_shape(const struct eml_plan *p, uint32_t value)
{
    return p->known[value].shape;
}
