#include "decompose/ir.h"

#include "base/checked.h"

#include <string.h>

void eml_ir_init(struct eml_ir *ir, struct eml_arena *arena)
{
    memset(ir, 0, sizeof(*ir));
    ir->arena = arena;
}

enum eml_err eml_ir_ok(const struct eml_ir *ir, struct eml_why *why)
{
    if (ir->failed)
        return eml_fail(why, EML_E_SYSTEM, "decompose: not enough memory for the model", -1);
    return EML_OK;
}

void *eml_ir_alloc(struct eml_ir *ir, size_t n)
{
    void *p = eml_arena_alloc(ir->arena, n, 64);
    if (p == NULL)
        ir->failed = true;
    return p;
}

static void *array(struct eml_ir *ir, size_t count, size_t size)
{
    void *p = eml_arena_array(ir->arena, count, size);
    if (p == NULL)
        ir->failed = true;
    return p;
}

struct eml_ir_value *eml_ir_value_new(struct eml_ir *ir)
{
    struct eml_ir_value *v = array(ir, 1, sizeof(*v));
    if (v == NULL) {
        memset(&ir->spare_value, 0, sizeof(ir->spare_value));
        return &ir->spare_value;
    }
    return v;
}

struct eml_ir_value *eml_ir_const(struct eml_ir *ir, enum eml_dtype dtype,
                                  const struct eml_shape *shape, const void *data)
{
    struct eml_ir_value *v = eml_ir_value_new(ir);
    v->dtype = dtype;
    v->has_rank = true;
    v->shape = *shape;
    v->data = data;
    return v;
}

static struct eml_ir_value *const_copy(struct eml_ir *ir, enum eml_dtype dtype,
                                       const struct eml_shape *shape, const void *data, size_t n)
{
    void *copy = eml_ir_alloc(ir, n);
    if (copy != NULL && n != 0)
        memcpy(copy, data, n);
    return eml_ir_const(ir, dtype, shape, copy);
}

struct eml_ir_value *eml_ir_const_ints(struct eml_ir *ir, const int64_t *v, uint32_t n)
{
    struct eml_shape s = {1, {n}};
    return const_copy(ir, EML_DT_I64, &s, v, n * sizeof(*v));
}

struct eml_ir_value *eml_ir_const_f32(struct eml_ir *ir, float v)
{
    struct eml_shape s = {0};
    return const_copy(ir, EML_DT_F32, &s, &v, sizeof(v));
}

/* Multiples of 32, so that strides and upsampling agree; different for different indices. */
void eml_ir_set_probe(struct eml_ir_value *input, uint32_t d, int64_t index)
{
    input->probe[0].shape.dim[d] = 32 * (3 + index);
    input->probe[1].shape.dim[d] = 32 * (5 + 2 * index);
}

struct eml_ir_value *eml_ir_add_input(struct eml_ir *ir, struct eml_bytes name,
                                      enum eml_dtype dtype, const struct eml_shape *shape)
{
    struct eml_ir_value *v = eml_ir_value_new(ir);
    if (ir->n_inputs == EML_GRAPH_IO_MAX)
        EML_BUG();
    v->is_input = true;
    v->dtype = dtype;
    v->has_rank = true;
    v->shape = *shape;
    for (size_t k = 0; k < 2; k++)
        v->probe[k] = (struct eml_known){.dtype = dtype, .has_rank = true, .shape = *shape};
    for (uint32_t d = 0; d < shape->rank; d++)
        if (shape->dim[d] == EML_DIM_UNKNOWN)
            eml_ir_set_probe(v, d, (int64_t)ir->n_inputs * EML_RANK_MAX + d);
    ir->inputs[ir->n_inputs++] = (struct eml_ir_output){name, v};
    return v;
}

void eml_ir_add_output(struct eml_ir *ir, struct eml_bytes name, struct eml_ir_value *v)
{
    if (ir->n_outputs == EML_GRAPH_IO_MAX)
        EML_BUG();
    ir->outputs[ir->n_outputs++] = (struct eml_ir_output){name, v};
    v->uses++;
}

void eml_ir_copy_facts(struct eml_ir_value *to, const struct eml_ir_value *from)
{
    to->dtype = from->dtype;
    to->elem = from->elem;
    to->has_rank = from->has_rank;
    to->shape = from->shape;
    to->has_ints = from->has_ints;
    to->n_ints = from->n_ints;
    to->ints = from->ints;
    to->probe[0] = from->probe[0];
    to->probe[1] = from->probe[1];
}

int64_t eml_ir_dim(const struct eml_ir_value *v, uint32_t i)
{
    return v != NULL && v->has_rank && i < v->shape.rank ? v->shape.dim[i] : EML_DIM_UNKNOWN;
}

uint32_t eml_ir_rank(const struct eml_ir_value *v)
{
    return v != NULL && v->has_rank ? v->shape.rank : UINT32_MAX;
}

size_t eml_ir_count(const struct eml_ir_value *v)
{
    int64_t n;
    if (!v->has_rank || !eml_shape_count(&v->shape, &n) || n < 0)
        return 0;
    return (size_t)n;
}

static void add_reader(struct eml_ir *ir, struct eml_ir_value *v, struct eml_ir_node *n)
{
    if (v->n_readers == v->cap_readers) {
        uint32_t cap = v->cap_readers == 0 ? 4 : 2 * v->cap_readers;
        struct eml_ir_node **bigger = array(ir, cap, sizeof(*bigger));
        if (bigger == NULL)
            return;
        if (v->n_readers != 0)
            memcpy(bigger, v->readers, v->n_readers * sizeof(*bigger));
        v->readers = bigger;
        v->cap_readers = cap;
    }
    v->readers[v->n_readers++] = n;
}

static void link_before(struct eml_ir *ir, struct eml_ir_node *n, struct eml_ir_node *before)
{
    n->next = before;
    n->prev = before != NULL ? before->prev : ir->last;
    *(n->prev != NULL ? &n->prev->next : &ir->first) = n;
    *(before != NULL ? &before->prev : &ir->last) = n;
}

static struct eml_ir_node *spare(struct eml_ir *ir, uint32_t n_out)
{
    struct eml_ir_node *n = &ir->spare_node;
    memset(n, 0, sizeof(*n));
    n->in = ir->spare_operands;
    n->out = ir->spare_operands;
    n->cap_in = EML_NODE_IN_MAX;
    n->n_out = n_out < EML_NODE_IN_MAX ? n_out : EML_NODE_IN_MAX;
    for (uint32_t i = 0; i < EML_NODE_IN_MAX; i++)
        ir->spare_operands[i] = &ir->spare_value;
    n->origin = -1;
    n->removed = true;
    return n;
}

struct eml_ir_node *eml_ir_node_new(struct eml_ir *ir, struct eml_ir_node *before, enum eml_op op,
                                    struct eml_ir_value *const *in, uint32_t n_in, uint32_t n_out)
{
    struct eml_ir_node *n = array(ir, 1, sizeof(*n));
    struct eml_ir_value **out = array(ir, n_out, sizeof(*out));
    if (n == NULL || out == NULL)
        return spare(ir, n_out);
    n->op = op;
    n->origin = before != NULL ? before->origin : -1;
    n->out = out;
    n->n_out = n_out;
    for (uint32_t i = 0; i < n_out; i++) {
        out[i] = eml_ir_value_new(ir);
        out[i]->maker = n;
    }
    for (uint32_t i = 0; i < n_in; i++)
        eml_ir_set_in(ir, n, i, in[i]);
    link_before(ir, n, before);
    return n;
}

void eml_ir_grow_out(struct eml_ir *ir, struct eml_ir_node *n, uint32_t n_out)
{
    if (n->n_out >= n_out)
        return;
    struct eml_ir_value **out = array(ir, n_out, sizeof(*out));
    if (out == NULL)
        return;
    if (n->n_out != 0)
        memcpy(out, n->out, n->n_out * sizeof(*out));
    for (uint32_t i = n->n_out; i < n_out; i++) {
        out[i] = eml_ir_value_new(ir);
        out[i]->maker = n;
    }
    n->out = out;
    n->n_out = n_out;
}

static bool grow_in(struct eml_ir *ir, struct eml_ir_node *n, uint32_t need)
{
    if (need <= n->cap_in)
        return true;
    uint32_t cap = need < 6 ? 6 : 2 * need;
    struct eml_ir_value **bigger = array(ir, cap, sizeof(*bigger));
    if (bigger == NULL)
        return false;
    if (n->n_in != 0)
        memcpy(bigger, n->in, n->n_in * sizeof(*bigger));
    n->in = bigger;
    n->cap_in = cap;
    return true;
}

void eml_ir_set_in(struct eml_ir *ir, struct eml_ir_node *n, uint32_t i, struct eml_ir_value *v)
{
    if (n == &ir->spare_node || !grow_in(ir, n, i + 1))
        return;
    while (n->n_in <= i)
        n->in[n->n_in++] = NULL;
    if (n->in[i] != NULL)
        n->in[i]->uses--;
    n->in[i] = v;
    if (v != NULL) {
        v->uses++;
        add_reader(ir, v, n);
    }
}

void eml_ir_trim(struct eml_ir_node *n)
{
    while (n->n_in > 0 && n->in[n->n_in - 1] == NULL)
        n->n_in--;
}

void eml_ir_adopt_out(struct eml_ir_node *n, uint32_t i, struct eml_ir_value *by)
{
    n->out[i] = by;
    by->maker = n;
}

void eml_ir_replace(struct eml_ir *ir, struct eml_ir_value *old, struct eml_ir_value *by)
{
    if (old == by)
        return;
    for (uint32_t r = 0; r < old->n_readers; r++) {
        struct eml_ir_node *n = old->readers[r];
        for (uint32_t i = 0; !n->removed && i < n->n_in; i++)
            if (n->in[i] == old)
                eml_ir_set_in(ir, n, i, by);
    }
    for (uint32_t i = 0; i < ir->n_outputs; i++)
        if (ir->outputs[i].value == old) {
            ir->outputs[i].value = by;
            old->uses--;
            by->uses++;
        }
}

static void unlink_node(struct eml_ir *ir, struct eml_ir_node *n)
{
    *(n->prev != NULL ? &n->prev->next : &ir->first) = n->next;
    *(n->next != NULL ? &n->next->prev : &ir->last) = n->prev;
}

void eml_ir_move(struct eml_ir *ir, struct eml_ir_node *n, struct eml_ir_node *before)
{
    unlink_node(ir, n);
    link_before(ir, n, before);
}

void eml_ir_remove(struct eml_ir *ir, struct eml_ir_node *n)
{
    if (n->removed)
        return;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i] != NULL) {
            n->in[i]->uses--;
            n->in[i] = NULL;
        }
    unlink_node(ir, n);
    n->removed = true; /* n->next stays: a loop that stands on n can go on */
}

uint32_t eml_ir_sweep(struct eml_ir *ir)
{
    uint32_t removed = 0;
    for (struct eml_ir_node *n = ir->last, *prev; n != NULL; n = prev) {
        prev = n->prev;
        bool read = false;
        for (uint32_t i = 0; i < n->n_out; i++)
            read = read || (n->out[i] != NULL && n->out[i]->uses != 0);
        if (!read) {
            eml_ir_remove(ir, n);
            removed++;
        }
    }
    return removed;
}

static uint32_t attr_at(const struct eml_ir_node *n, enum eml_attr_id id)
{
    uint32_t i = 0;
    while (i < n->n_attr && n->attr[i].id < id)
        i++;
    return i;
}

const struct eml_attr *eml_ir_attr(const struct eml_ir_node *n, enum eml_attr_id id)
{
    uint32_t i = attr_at(n, id);
    return i < n->n_attr && n->attr[i].id == id ? &n->attr[i] : NULL;
}

int64_t eml_ir_int(const struct eml_ir_node *n, enum eml_attr_id id, int64_t otherwise)
{
    const struct eml_attr *a = eml_ir_attr(n, id);
    return a != NULL && a->n != 0 ? a->v[0] : otherwise;
}

void eml_ir_set_attr(struct eml_ir *ir, struct eml_ir_node *n, enum eml_attr_id id,
                     const int64_t *v, uint32_t count)
{
    int64_t *copy = array(ir, count, sizeof(*copy));
    if (copy == NULL)
        return;
    if (count != 0)
        memcpy(copy, v, count * sizeof(*copy));
    uint32_t i = attr_at(n, id);
    if (i == n->n_attr || n->attr[i].id != id) {
        if (n->n_attr == n->cap_attr) {
            struct eml_attr *bigger = array(ir, n->cap_attr + 8, sizeof(*bigger));
            if (bigger == NULL)
                return;
            if (n->n_attr != 0)
                memcpy(bigger, n->attr, n->n_attr * sizeof(*bigger));
            n->attr = bigger;
            n->cap_attr += 8;
        }
        memmove(n->attr + i + 1, n->attr + i, (n->n_attr - i) * sizeof(*n->attr));
        n->n_attr++;
    }
    n->attr[i] = (struct eml_attr){id, count, copy};
}

void eml_ir_set_int(struct eml_ir *ir, struct eml_ir_node *n, enum eml_attr_id id, int64_t v)
{
    eml_ir_set_attr(ir, n, id, &v, 1);
}

void eml_ir_drop_attr(struct eml_ir_node *n, enum eml_attr_id id)
{
    uint32_t i = attr_at(n, id);
    if (i == n->n_attr || n->attr[i].id != id)
        return;
    memmove(n->attr + i, n->attr + i + 1, (n->n_attr - i - 1) * sizeof(*n->attr));
    n->n_attr--;
}

struct eml_ir_value *eml_ir_in(const struct eml_ir_node *n, uint32_t i)
{
    return i < n->n_in ? n->in[i] : NULL;
}

uint32_t eml_ir_node_count(const struct eml_ir *ir)
{
    uint32_t n = 0;
    for (const struct eml_ir_node *i = ir->first; i != NULL; i = i->next)
        n++;
    return n;
}

bool eml_ir_scalar(const struct eml_ir_value *v, float *out)
{
    if (v == NULL || v->data == NULL || v->dtype != EML_DT_F32 || eml_ir_count(v) != 1)
        return false;
    memcpy(out, v->data, sizeof(*out));
    return true;
}

static const int64_t *widen(struct eml_ir *ir, const struct eml_ir_value *v, uint32_t n)
{
    int64_t *wide = array(ir, n, sizeof(*wide));
    for (uint32_t i = 0; wide != NULL && i < n; i++) {
        int32_t x;
        memcpy(&x, (const uint8_t *)v->data + i * sizeof(x), sizeof(x));
        wide[i] = x;
    }
    return wide;
}

const int64_t *eml_ir_known_ints(struct eml_ir *ir, const struct eml_ir_value *v, uint32_t *n)
{
    *n = 0;
    if (v == NULL)
        return NULL;
    if (v->data == NULL) {
        for (uint32_t i = 0; v->has_ints && i < v->n_ints; i++)
            if (v->ints[i] == EML_INT_UNKNOWN)
                return NULL;
        *n = v->has_ints ? v->n_ints : 0;
        return v->has_ints ? v->ints : NULL;
    }
    size_t count = eml_ir_count(v);
    if (count > EML_INTS_MAX || (v->dtype != EML_DT_I64 && v->dtype != EML_DT_I32))
        return NULL;
    *n = (uint32_t)count;
    return v->dtype == EML_DT_I64 ? v->data : widen(ir, v, *n);
}

bool eml_ir_same_shape(const struct eml_ir_value *a, const struct eml_ir_value *b)
{
    if (!a->has_rank || !b->has_rank || a->shape.rank != b->shape.rank)
        return false;
    for (uint32_t i = 0; i < a->shape.rank; i++) {
        if (a->shape.dim[i] != EML_DIM_UNKNOWN && a->shape.dim[i] == b->shape.dim[i])
            continue;
        for (size_t k = 0; k < 2; k++) {
            const struct eml_known *x = &a->probe[k], *y = &b->probe[k];
            if (!x->has_rank || !y->has_rank || x->shape.dim[i] == EML_DIM_UNKNOWN ||
                x->shape.dim[i] != y->shape.dim[i])
                return false;
        }
    }
    return true;
}

bool eml_ir_spatial(enum eml_op op)
{
    switch (op) {
    case EML_OP_CONV:
    case EML_OP_CONV_TRANSPOSE:
    case EML_OP_CONV_INTEGER:
    case EML_OP_QLINEAR_CONV:
    case EML_OP_MAX_POOL:
    case EML_OP_AVERAGE_POOL:
    case EML_OP_LP_POOL:
    case EML_OP_GLOBAL_AVERAGE_POOL:
    case EML_OP_GLOBAL_MAX_POOL:
    case EML_OP_BATCH_NORMALIZATION:
    case EML_OP_INSTANCE_NORMALIZATION:
    case EML_OP_RESIZE:
    case EML_OP_SPACE_TO_DEPTH:
    case EML_OP_DEPTH_TO_SPACE:
    case EML_OP_GRID_SAMPLE:
    case EML_OP_ROI_ALIGN:
    case EML_OP_MAX_ROI_POOL:
    case EML_OP_LRN:
        return true;
    default:
        return false;
    }
}

void eml_ir_to_last(uint32_t rank, int64_t *perm)
{
    perm[0] = 0;
    for (uint32_t i = 1; i + 1 < rank; i++)
        perm[i] = i + 1;
    if (rank > 1)
        perm[rank - 1] = 1;
}

void eml_ir_to_first(uint32_t rank, int64_t *perm)
{
    perm[0] = 0;
    for (uint32_t i = 2; i < rank; i++)
        perm[i] = i - 1;
    if (rank > 1)
        perm[1] = rank - 1;
}

void eml_ir_axes_to_last(struct eml_ir *ir, struct eml_ir_node *n, uint32_t rank)
{
    const struct eml_attr *a = eml_ir_attr(n, EML_ATTR_AXES);
    int64_t perm[EML_RANK_MAX], axes[EML_RANK_MAX];
    if (a == NULL || a->n > EML_RANK_MAX || rank > EML_RANK_MAX || rank == 0)
        return;
    eml_ir_to_first(rank, perm);
    uint32_t count = a->n;
    for (uint32_t i = 0; i < count; i++) {
        int64_t v = a->v[i] < 0 ? a->v[i] + (int64_t)rank : a->v[i];
        axes[i] = v >= 0 && v < (int64_t)rank ? perm[v] : a->v[i];
    }
    eml_ir_set_attr(ir, n, EML_ATTR_AXES, axes, count);
}
