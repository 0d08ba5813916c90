#include "engine/dynamic_run.h"

#include "engine/infer.h"
#include "engine/kernels/kernels.h"

#include "base/checked.h"

#include <string.h>

enum { INFER_BYTES = 256 << 10 }; /* for what is known of one node's operands and results */

enum eml_err eml_run_spend(struct eml_run *r, uint64_t flops)
{
    if (__builtin_add_overflow(r->flops, flops, &r->flops) || r->flops > r->d->budget.flops)
        return eml_fail(r->why, EML_E_REFUSED, "budget of floating-point operations exceeded", -1);
    return EML_OK;
}

void *eml_run_room(struct eml_run *r, size_t count, size_t size)
{
    size_t n;
    void *p = eml_mul_size(count, size, &n) ? eml_heap_get(&r->heap, n) : NULL;
    if (p != NULL)
        memset(p, 0, n);
    return p;
}

/* ---- values ---- */

/* A slot or integers of the key, wrapped when they are first read. */
static enum eml_err constant(struct eml_run *r, const struct eml_value *v, struct eml_item **out)
{
    int64_t n, bytes;
    const void *data = v->ints;
    if (!eml_shape_count(&v->shape, &n))
        return eml_run_bad(r, "slot is shorter than its shape");
    if (v->kind == EML_VALUE_SLOT) {
        if (v->offset > r->weights.len || v->bytes > r->weights.len - v->offset)
            return eml_run_bad(r, "slot out of range");
        if (v->layout == EML_LAYOUT_PLAIN &&
            (!eml_mul_i64(n, (int64_t)eml_dtype_bytes(v->dtype), &bytes) ||
             (uint64_t)bytes > v->bytes))
            return eml_run_bad(r, "slot is shorter than its shape");
        data = r->weights.ptr + v->offset;
    }
    *out = eml_item_borrow(&r->heap, v->dtype, &v->shape, data);
    if (*out == NULL)
        return eml_run_no_room(r);
    (*out)->view.layout = v->kind == EML_VALUE_SLOT ? v->layout : EML_LAYOUT_PLAIN;
    return EML_OK;
}

enum eml_err eml_frame_value(struct eml_run *r, struct eml_frame *f, uint32_t id,
                             struct eml_item **out)
{
    *out = NULL;
    if (id == EML_ABSENT)
        return EML_OK;
    const struct eml_value *v = &f->g->values[id];
    if (f->value[id] == NULL && (v->kind == EML_VALUE_SLOT || v->kind == EML_VALUE_INTS))
        EML_TRY(constant(r, v, &f->value[id]));
    *out = f->value[id];
    return *out != NULL ? EML_OK : eml_run_bad(r, "value is not there");
}

void eml_frame_set(struct eml_run *r, struct eml_frame *f, uint32_t id, struct eml_item *x)
{
    if (id == EML_ABSENT || f->last[id] == 0)
        eml_item_drop(&r->heap, x);
    else
        f->value[id] = x;
}

void eml_frame_next(struct eml_run *r, struct eml_frame *f)
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

/* ---- inputs ---- */

static struct eml_item *copy_tensor(struct eml_run *r, const struct eml_tensor *t)
{
    struct eml_item *x = eml_item_tensor(&r->heap, t->dtype, &t->shape);
    if (x != NULL && t->bytes > 0)
        memcpy(x->view.data, t->data, t->bytes);
    return x;
}

/* A tensor of the caller's is as long as its shape says. */
static enum eml_err whole(const struct eml_run *r, const struct eml_tensor *t, long at)
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

static enum eml_err seed(struct eml_run *r, uint32_t i, const struct eml_tensor *t)
{
    struct eml_frame *f = &r->frames[0];
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
                return eml_run_no_room(r);
            eml_item_drop(&r->heap, one);
        }
    } else {
        EML_TRY(eml_input_check(&f->g->values[id], t, (long)i, r->why));
        EML_TRY(whole(r, t, (long)i));
        x = copy_tensor(r, t);
    }
    f->value[id] = x;
    return x != NULL ? EML_OK : eml_run_no_room(r);
}

/* ---- all nodes ---- */

/* Items that were listed, bytes that were moved. */
static uint64_t list_work(const struct eml_node *n, const struct eml_item *x)
{
    bool joined = n->op == EML_OP_CONCAT_FROM_SEQUENCE, cut = n->op == EML_OP_SPLIT_TO_SEQUENCE;
    uint64_t bytes = joined ? eml_item_bytes(x) : 0;
    for (uint32_t i = 0; cut && i < x->n_list; i++)
        bytes += eml_item_bytes(x->list[i]);
    return bytes + x->n_list;
}

static enum eml_err plain_node(struct eml_run *r, struct eml_frame *f, const struct eml_node *n)
{
    struct eml_item *x = NULL;
    for (uint32_t i = 0; i < n->n_in; i++)
        EML_TRY(eml_frame_value(r, f, n->in[i], &r->in[i]));
    if (n->op == EML_OP_IDENTITY && r->in[0] != NULL && r->in[0]->view.layout == EML_LAYOUT_PLAIN) {
        eml_frame_set(r, f, n->out[0], eml_item_hold(r->in[0]));
    } else if (eml_op_runs_dynamically(n->op)) {
        for (uint32_t i = 0; i < n->n_in; i++)
            if (r->in[i] != NULL && r->in[i]->view.layout != EML_LAYOUT_PLAIN)
                return eml_run_bad(r, "operand is packed in a layout not read here");
        EML_TRY(eml_list_op(&r->heap, n, r->in, &x, r->why));
        EML_TRY(eml_run_spend(r, list_work(n, x)));
        eml_frame_set(r, f, n->out[0], x);
    } else {
        EML_TRY(eml_run_tensor_node(r, f, n));
    }
    eml_frame_next(r, f);
    return EML_OK;
}

/* One step of the frame on top. */
static enum eml_err step(struct eml_run *r)
{
    struct eml_frame *f = &r->frames[r->depth - 1];
    if (f->at == f->g->n_nodes) { /* a body is done */
        f = &r->frames[r->depth - 2];
        EML_TRY(eml_body_collect(r, f));
    } else {
        const struct eml_node *n = &f->g->nodes[f->at];
        EML_TRY(eml_run_spend(r, EML_NODE_WORK));
        if (!eml_body_is(n->op))
            return plain_node(r, f, n);
        EML_TRY(eml_body_enter(r, f, n));
    }
    return eml_body_more(&f->c) ? eml_body_iterate(r, f) : eml_body_finish(r, f);
}

static struct eml_tensor tensor_of(const struct eml_item *x)
{
    return (struct eml_tensor){.dtype = x->view.dtype,
                               .shape = x->view.shape,
                               .data = x->view.data,
                               .bytes = eml_item_bytes(x)};
}

static enum eml_err give(struct eml_run *r, const struct eml_item *x, struct eml_tensor *out)
{
    *out = (struct eml_tensor){.dtype = x->view.dtype, .shape = x->view.shape};
    if (x->view.dtype == EML_DT_SEQUENCE) {
        struct eml_tensor *list = eml_run_room(r, x->n_list, sizeof *list);
        if (list == NULL)
            return eml_run_no_room(r);
        for (uint32_t i = 0; i < x->n_list; i++) {
            list[i] = tensor_of(x->list[i]);
            const uint8_t *at = list[i].data;
            if (at < r->weights.ptr || at >= r->weights.ptr + r->weights.len)
                continue;
            /* Callers look for outputs in the weights, but not inside of lists. */
            const struct eml_item *copy = copy_tensor(r, &list[i]);
            if (copy == NULL)
                return eml_run_no_room(r);
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

static enum eml_err prepare(struct eml_run *r)
{
    const struct eml_dynamic *d = r->d;
    r->in = eml_run_room(r, d->most_in, sizeof(struct eml_item *));
    r->known = eml_run_room(r, d->most_in, sizeof *r->known);
    r->operands = eml_run_room(r, d->most_in, sizeof(struct eml_known *));
    r->results = eml_run_room(r, d->most_out, sizeof *r->results);
    r->views = eml_run_room(r, (size_t)d->most_in + d->most_out, sizeof *r->views);
    r->infer = (struct eml_arena){.base = eml_run_room(r, 1, INFER_BYTES), .size = INFER_BYTES};
    struct eml_frame *f = &r->frames[0];
    *f = (struct eml_frame){.g = r->p->g, .last = d->last[0]};
    f->value = eml_run_room(r, f->g->n_values, sizeof(struct eml_item *));
    if (r->in == NULL || r->known == NULL || r->operands == NULL || r->results == NULL ||
        r->views == NULL || r->infer.base == NULL || f->value == NULL)
        return eml_run_no_room(r);
    r->depth = 1;
    return EML_OK;
}

static enum eml_err run_all(struct eml_run *r, const struct eml_tensor *inputs,
                            struct eml_tensor *outputs)
{
    struct eml_frame *f = &r->frames[0];
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
        EML_TRY(eml_frame_value(r, f, f->g->outputs[i].value, &x));
        EML_TRY(give(r, x, &outputs[i]));
    }
    return EML_OK;
}

enum eml_err eml_dynamic_run(const struct eml_plan *p, struct eml_bytes weights,
                             const struct eml_tensor *inputs, struct eml_pool *pool,
                             struct eml_tensor *outputs, struct eml_why *why)
{
    const struct eml_dynamic *d = p->dynamic;
    struct eml_run r = {.p = p, .d = d, .weights = weights, .pool = pool, .why = why};
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
