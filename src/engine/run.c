#include "engine/dynamic.h"
#include "engine/plan.h"

#include <string.h>

struct runner {
    const struct eml_plan *p;
    struct eml_bytes weights;
    uint8_t *buffers; /* behind the operand table */
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

static enum eml_err run_step(const struct runner *r, const struct eml_step *step)
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
                           .why = r->why};
    for (uint32_t i = 0; i < n->n_in; i++)
        view_of(r, n->in[i], &r->table[i]);
    for (uint32_t i = 0; i < n->n_out; i++)
        view_of(r, n->out[i], &r->table[n->n_in + i]);
    if (n->params != EML_ABSENT) {
        c.params = data_of(r, n->params);
        c.n_params = (uint32_t)r->p->g->values[n->params].shape.dim[0];
    }
    if (step->scratch != EML_NO_BUFFER) {
        const struct eml_buffer *b = &r->p->buffers[step->scratch];
        c.scratch = (struct eml_room){r->buffers + b->offset, b->bytes};
    }
    return step->run(&c);
}

static enum eml_err run_timed(const struct runner *r, const struct eml_step *step)
{
    const struct eml_plan_profile *f = &r->p->profile;
    if (f->node_ns == NULL)
        return run_step(r, step);
    uint64_t start = f->now_ns();
    enum eml_err e = run_step(r, step);
    f->node_ns[step->node] = f->now_ns() - start;
    return e;
}

static enum eml_err misuse(struct eml_why *why, const char *rule)
{
    return eml_fail(why, EML_E_USAGE, rule, -1);
}

static enum eml_err check_args(const struct eml_plan *p, struct eml_bytes weights,
                               const struct eml_tensor *inputs, struct eml_room activations,
                               const struct eml_pool *pool, struct eml_why *why)
{
    if (weights.len < p->weight_bytes || (uintptr_t)weights.ptr % 64 != 0)
        return misuse(why, "run: weights too short or not aligned");
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

enum eml_err eml_plan_run(const struct eml_plan *p, struct eml_bytes weights,
                          const struct eml_tensor *inputs, struct eml_room activations,
                          struct eml_pool *pool, struct eml_tensor *outputs, struct eml_why *why)
{
    memset(outputs, 0, p->g->n_outputs * sizeof *outputs);
    if (p->dynamic != NULL)
        return eml_dynamic_run(p, weights, inputs, pool, outputs, why);
    EML_TRY(check_args(p, weights, inputs, activations, pool, why));
    struct runner r = {.p = p,
                       .weights = weights,
                       .buffers = activations.ptr + p->table_bytes,
                       .table = (struct eml_view *)(void *)activations.ptr,
                       .pool = pool,
                       .why = why};
    for (uint32_t i = 0; i < p->g->n_inputs; i++) {
        uint32_t id = p->g->inputs[i].value;
        if (p->place[id].kind == EML_PLACE_BUFFER && inputs[i].bytes > 0)
            memcpy(data_of(&r, id), inputs[i].data, inputs[i].bytes);
    }
    for (uint32_t i = 0; i < p->n_steps; i++) {
        enum eml_err e = run_timed(&r, &p->steps[i]);
        if (e != EML_OK && why != NULL)
            why->index = (long)p->steps[i].node;
        EML_TRY(e);
    }
    for (uint32_t i = 0; i < p->g->n_outputs; i++) {
        struct eml_view v;
        view_of(&r, p->g->outputs[i].value, &v);
        outputs[i] = (struct eml_tensor){.dtype = v.dtype,
                                         .shape = v.shape,
                                         .data = v.data,
                                         .bytes = (size_t)v.count * eml_dtype_bytes(v.dtype)};
    }
    return EML_OK;
}
