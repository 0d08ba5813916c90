#include "engine/dynamic.h"
#include "engine/plan.h"
#include "engine/weights.h"

#include <string.h>

/* Weights are in clear (window NULL) or opened through the window. */
struct runner {
    const struct eml_plan *p;
    struct eml_bytes weights;
    struct eml_weights_window *window;
    uint32_t maps, opens; /* done */
    uint8_t *buffers;     /* behind the operand table */
    struct eml_view *table;
    struct eml_pool *pool;
    struct eml_why *why;
};

static void *data_of(const struct runner *r, uint32_t id)
{
    const struct eml_place *at = &r->p->place[id];
    switch (at->kind) {
    case EML_PLACE_BUFFER:
        return r->buffers + r->p->buffers[at->buffer].offset;
    case EML_PLACE_WEIGHTS: /* views have one pointer type; kernels do not write to operands */
        return (void *)(uintptr_t)(r->weights.ptr + at->offset);
    case EML_PLACE_PLAN:
        return (void *)(uintptr_t)at->data;
    default:
        EML_BUG();
    }
}

static void view_of(const struct runner *r, uint32_t id, struct eml_view *v)
{
    eml_plan_view(r->p, id, v);
    if (id != EML_ABSENT)
        v->data = data_of(r, id);
}

/* Operand i of a step; the params are the one behind the last. */
static void operand_of(const struct runner *r, const struct eml_step *step, uint32_t i, uint32_t id,
                       struct eml_view *v)
{
    if (r->window == NULL || id == EML_ABSENT || r->p->place[id].kind != EML_PLACE_WEIGHTS) {
        view_of(r, id, v);
        return;
    }
    const struct eml_weights_operand *o = &r->p->window.operands[step->operands + i];
    eml_plan_view(r->p, id, v);
    v->offset = r->p->place[id].offset;
    v->data = o->use == EML_WEIGHTS_OWN ? NULL : r->window->blocks + o->at;
}

/* Opened by one thread sooner than others have heard of it. */
enum { ALONE_BYTES = 32 * 1024 };

struct opening {
    struct eml_weights_window *window;
    const struct eml_weights_range *ranges;
    uint32_t n;
};

/* Pieces of a block's size of all ranges, counted through. */
static void open_pieces(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct opening *o = arg;
    (void)thread;
    int64_t at = 0;
    for (uint32_t i = 0; i < o->n && at < end; i++) {
        const struct eml_weights_range *r = &o->ranges[i];
        int64_t n = (int64_t)(r->n / EML_WEIGHTS_BLOCK + 1);
        int64_t from = begin > at ? begin - at : 0, to = end - at < n ? end - at : n;
        for (int64_t k = from; k < to; k++) {
            size_t first = (size_t)k * EML_WEIGHTS_BLOCK, left = r->n - first;
            /* A failure is sticky; the runner asks for it. */
            (void)!eml_weights_open_at(o->window, o->window->blocks + r->at + first,
                                       left < EML_WEIGHTS_BLOCK ? left : EML_WEIGHTS_BLOCK);
        }
        at += n;
    }
}

/* Makes the window what the step needs. */
static void prepare(struct runner *r, const struct eml_step *step)
{
    const struct eml_weights_plan *w = &r->p->window;
    for (; r->maps < step->maps_end; r->maps++) {
        const struct eml_weights_map *m = &w->maps[r->maps];
        eml_weights_map(r->window, m->at, m->stream, m->n);
    }
    if (r->opens >= step->opens_end)
        return;
    struct opening o = {r->window, w->opens + r->opens, step->opens_end - r->opens};
    int64_t pieces = 0;
    size_t bytes = 0;
    for (uint32_t i = 0; i < o.n; i++) {
        pieces += (int64_t)(o.ranges[i].n / EML_WEIGHTS_BLOCK + 1);
        bytes += o.ranges[i].n;
    }
    if (eml_weights_has_parts(r->window) && bytes <= ALONE_BYTES)
        open_pieces(&o, 0, pieces, 0);
    else
        eml_pool_for(r->pool, pieces, 1, open_pieces, &o);
    r->opens = step->opens_end;
}

static enum eml_err run_step(struct runner *r, const struct eml_step *step)
{
    const struct eml_node *n = &r->p->g->nodes[step->node];
    struct eml_op_ctx c = {.node = n,
                           .in = r->table,
                           .out = r->table + n->n_in,
                           .n_in = n->n_in,
                           .n_out = n->n_out,
                           .pool = r->pool,
                           .threads = r->p->threads,
                           .kernels = r->p->kernels,
                           .window = r->window,
                           .why = r->why};
    for (uint32_t i = 0; i < n->n_in; i++)
        operand_of(r, step, i, n->in[i], &r->table[i]);
    for (uint32_t i = 0; i < n->n_out; i++)
        view_of(r, n->out[i], &r->table[n->n_in + i]);
    if (n->params != EML_ABSENT) {
        struct eml_view params;
        operand_of(r, step, n->n_in, n->params, &params);
        c.params = params.data;
        c.n_params = (uint32_t)r->p->g->values[n->params].shape.dim[0];
    }
    if (step->scratch != EML_NO_BUFFER) {
        const struct eml_buffer *b = &r->p->buffers[step->scratch];
        c.scratch = (struct eml_room){r->buffers + b->offset, b->bytes};
    }
    if (r->window != NULL) {
        prepare(r, step);
        EML_TRY(eml_weights_status(r->window, r->why));
    }
    return step->run(&c);
}

static enum eml_err run_timed(struct runner *r, const struct eml_step *step)
{
    const struct eml_plan_profile *f = &r->p->profile;
    if (f->node_ns == NULL)
        return run_step(r, step);
    uint64_t start = f->now_ns();
    enum eml_err e = run_step(r, step);
    f->node_ns[step->origin] += f->now_ns() - start;
    return e;
}

static enum eml_err misuse(struct eml_why *why, const char *rule)
{
    return eml_fail(why, EML_E_USAGE, rule, -1);
}

static enum eml_err check_args(const struct eml_plan *p, const struct eml_tensor *inputs,
                               struct eml_room activations, const struct eml_pool *pool,
                               struct eml_why *why)
{
    if (activations.len < p->activation_bytes || (uintptr_t)activations.ptr % 64 != 0)
        return misuse(why, "run: activations too short or not aligned");
    if (pool != NULL && eml_pool_threads(pool) > p->threads)
        return misuse(why, "run: more threads than planned for");
    for (uint32_t i = 0; i < p->g->n_inputs; i++) {
        const struct eml_known *k = &p->known[p->g->inputs[i].value];
        int64_t n = 0;
        (void)eml_shape_count(&k->shape, &n);
        bool same = inputs[i].dtype == k->dtype && inputs[i].shape.rank == k->shape.rank &&
                    inputs[i].bytes == (size_t)n * eml_dtype_bytes(k->dtype);
        for (uint32_t d = 0; same && d < k->shape.rank; d++)
            same = inputs[i].shape.dim[d] == k->shape.dim[d];
        for (uint32_t j = 0; same && k->has_ints && j < k->n_ints; j++)
            same = k->ints[j] == eml_load_int(k->dtype, inputs[i].data, j);
        if (!same)
            return misuse(why, "run: an input is not what was planned for");
    }
    return EML_OK;
}

static void copy_inputs(const struct runner *r, const struct eml_tensor *inputs)
{
    for (uint32_t i = 0; i < r->p->g->n_inputs; i++) {
        uint32_t id = r->p->g->inputs[i].value;
        if (r->p->place[id].kind == EML_PLACE_BUFFER && inputs[i].bytes > 0)
            memcpy(data_of(r, id), inputs[i].data, inputs[i].bytes);
    }
}

static enum eml_err run_steps(struct runner *r)
{
    for (uint32_t i = 0; r->p->profile.node_ns != NULL && i < r->p->n_steps; i++)
        r->p->profile.node_ns[r->p->steps[i].origin] = 0;
    for (uint32_t i = 0; i < r->p->n_steps; i++) {
        enum eml_err e = run_timed(r, &r->p->steps[i]);
        if (e != EML_OK && r->why != NULL)
            r->why->index = (long)r->p->steps[i].origin;
        /* What an operator says after a block failed is about data that it does not have. */
        if (r->window != NULL)
            EML_TRY(eml_weights_status(r->window, r->why));
        EML_TRY(e);
    }
    return EML_OK;
}

/* An output that is a slot, from sealed weights: block by block into its buffer. */
static enum eml_err copy_slot(const struct runner *r, uint32_t id, uint8_t *to)
{
    uint64_t at = r->p->place[id].offset, end = at + eml_plan_slot_bytes(r->p, id);
    while (at < end) {
        size_t skip = (size_t)(at % EML_WEIGHTS_BLOCK), n = EML_WEIGHTS_BLOCK - skip;
        n = end - at < n ? (size_t)(end - at) : n;
        const uint8_t *from = eml_weights_own(r->window, 0, at, n);
        if (from == NULL)
            return eml_weights_status(r->window, r->why);
        memcpy(to, from, n);
        to += n;
        at += n;
    }
    return EML_OK;
}

static enum eml_err give_outputs(const struct runner *r, struct eml_tensor *outputs)
{
    for (uint32_t i = 0; i < r->p->g->n_outputs; i++) {
        uint32_t id = r->p->g->outputs[i].value, copy = r->p->window.outputs[i];
        struct eml_view v;
        if (r->window != NULL && copy != EML_NO_BUFFER) {
            eml_plan_view(r->p, id, &v);
            v.data = r->buffers + r->p->buffers[copy].offset;
            EML_TRY(copy_slot(r, id, v.data));
        } else {
            view_of(r, id, &v);
        }
        outputs[i] = (struct eml_tensor){.dtype = v.dtype,
                                         .shape = v.shape,
                                         .data = v.data,
                                         .bytes = (size_t)v.count * eml_dtype_bytes(v.dtype)};
    }
    return EML_OK;
}

static enum eml_err run(struct runner *r, const struct eml_tensor *inputs,
                        struct eml_room activations, struct eml_tensor *outputs)
{
    EML_TRY(check_args(r->p, inputs, activations, r->pool, r->why));
    if (r->p->alone)
        r->pool = NULL;
    r->buffers = activations.ptr + r->p->table_bytes;
    r->table = (struct eml_view *)(void *)activations.ptr;
    copy_inputs(r, inputs);
    enum eml_err e = run_steps(r);
    if (e == EML_OK)
        e = give_outputs(r, outputs);
    if (e != EML_OK)
        memset(outputs, 0, r->p->g->n_outputs * sizeof *outputs);
    return e;
}

enum eml_err eml_plan_run(const struct eml_plan *p, struct eml_bytes weights,
                          const struct eml_tensor *inputs, struct eml_room activations,
                          struct eml_pool *pool, struct eml_tensor *outputs, struct eml_why *why)
{
    struct runner r = {.p = p, .weights = weights, .pool = pool, .why = why};
    memset(outputs, 0, p->g->n_outputs * sizeof *outputs);
    if (p->dynamic != NULL)
        return eml_dynamic_run(p, weights, inputs, pool, outputs, why);
    if (weights.len < p->weight_bytes || (uintptr_t)weights.ptr % 64 != 0)
        return misuse(why, "run: weights too short or not aligned");
    return run(&r, inputs, activations, outputs);
}

enum eml_err eml_plan_run_sealed(const struct eml_plan *p, const struct eml_weights_source *source,
                                 struct eml_room window, const struct eml_tensor *inputs,
                                 struct eml_room activations, struct eml_pool *pool,
                                 struct eml_tensor *outputs, struct eml_why *why)
{
    struct eml_weights_window w;
    struct runner r = {.p = p, .window = &w, .pool = pool, .why = why};
    memset(outputs, 0, p->g->n_outputs * sizeof *outputs);
    if (p->dynamic != NULL)
        return misuse(why, "run: this graph needs all weights in clear");
    if (window.len < p->window.bytes || (uintptr_t)window.ptr % 64 != 0)
        return misuse(why, "run: window too short or not aligned");
    if (p->weight_bytes > 0 && (p->weight_bytes - 1) / EML_WEIGHTS_BLOCK >= source->blocks)
        return eml_fail(why, EML_E_INPUT, "run: a slot lies behind the end of the weights", -1);
    eml_weights_init(&w, source, p->window.n_blocks, eml_plan_threads(p), p->window.own_blocks,
                     window);
    return run(&r, inputs, activations, outputs);
}
