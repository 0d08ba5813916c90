/* One node of tensors in a dynamic run: infer from what the operands turned out to be, take memory,
 * run the kernel. */
#include "engine/dynamic_run.h"

#include "engine/infer.h"

#include "base/checked.h"

/* What is known of a tensor: all but the elements, and those of a short list of integers. */
static void know(struct eml_run *r, const struct eml_item *x, struct eml_known *k)
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

static enum eml_err infer(struct eml_run *r, const struct eml_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        r->operands[i] = NULL;
        if (r->in[i] == NULL || r->in[i]->view.dtype == EML_DT_NONE)
            continue;
        if (r->in[i]->view.dtype == EML_DT_SEQUENCE)
            return eml_run_bad(r, "operand is a sequence, not a tensor");
        if (!eml_slot_read_by(n->op, i, r->in[i]->view.layout))
            return eml_run_bad(r, "operand is packed in a layout not read here");
        know(r, r->in[i], &r->known[i]);
        r->operands[i] = &r->known[i];
    }
    return eml_infer_node(n, r->operands, r->results, &r->infer, r->why);
}

static struct eml_op_ctx context(struct eml_run *r, const struct eml_frame *f,
                                 const struct eml_node *n)
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
static enum eml_err take_scratch(struct eml_run *r, struct eml_op_ctx *c)
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
    return c->scratch.ptr != NULL ? EML_OK : eml_run_no_room(r);
}

/* Shapes of results that the rule left open: by what the operands hold. */
static enum eml_err size_results(struct eml_run *r, struct eml_op_ctx *c)
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
        return eml_run_bad(r, "shape depends on -2^63, or on more than 4096 integers");
    for (uint32_t i = 0; i < c->n_out; i++)
        shape[i] = r->results[i].shape;
    EML_TRY(eml_run_spend(r, eml_op_flops(c)));
    EML_TRY(take_scratch(r, c));
    EML_TRY(size(c, shape));
    for (uint32_t i = 0; i < c->n_out; i++) {
        int64_t bytes;
        if (!eml_shape_count(&shape[i], &count) ||
            !eml_mul_i64(count, (int64_t)eml_dtype_bytes(r->results[i].dtype), &bytes) ||
            bytes > (int64_t)EML_TENSOR_BYTES_MAX)
            return eml_run_bad(r, "tensor above the size limit");
        r->results[i].shape = shape[i];
    }
    return EML_OK;
}

static enum eml_err compute(struct eml_run *r, struct eml_op_ctx *c, struct eml_item **out)
{
    eml_op_fn *kernel = eml_op_kernel(c->node->op);
    if (kernel == eml_op_none)
        return eml_run_no_room(r); /* its result would have been known */
    for (uint32_t i = 0; i < c->n_out; i++)
        r->views[c->n_in + i] = out[i]->view;
    EML_TRY(eml_run_spend(r, eml_op_flops(c)));
    EML_TRY(take_scratch(r, c));
    enum eml_err e = kernel(c);
    eml_heap_put(&r->heap, c->scratch.ptr, c->scratch.len);
    return e;
}

/* Results that are known already, or only another view, take no kernel. */
static bool all_known(const struct eml_run *r, const struct eml_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!eml_known_fully(&r->results[i]))
            return false;
    return true;
}

static enum eml_err make_results(struct eml_run *r, const struct eml_node *n, struct eml_op_ctx *c,
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
            return eml_run_no_room(r);
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

enum eml_err eml_run_tensor_node(struct eml_run *r, struct eml_frame *f, const struct eml_node *n)
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
        eml_frame_set(r, f, n->out[i], out[i]);
    return EML_OK;
}
