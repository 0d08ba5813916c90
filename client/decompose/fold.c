/* Inference and constant folding. Facts about every value come from the engine's own rules
 * (eml_infer_node), once with the model's unknown dims and twice with numbers in their place
 * (struct eml_ir_value, `probe`). A node whose operands are all constant is computed by the engine
 * itself in a graph of one node, so folding cannot disagree with running; what is known to the last
 * integer (shape arithmetic) becomes a constant without computing.
 */
#include "decompose/passes.h"

#include "base/wipe.h"
#include "engine/resize.h"

#include <string.h>

enum { FACTS = 3 }; /* the truth, and two probes */

struct scratch {
    struct eml_arena arena;
};

static void permute_shape(struct eml_known *k, void (*perm_of)(uint32_t, int64_t *))
{
    int64_t perm[EML_RANK_MAX];
    struct eml_shape s = k->shape;
    if (!k->has_rank)
        return;
    perm_of(s.rank, perm);
    for (uint32_t i = 0; i < s.rank; i++)
        k->shape.dim[i] = s.dim[perm[i]];
}

/* Fact 0 of a value, or one of its probes. */
static struct eml_known fact(struct eml_ir *ir, const struct eml_ir_value *v, size_t which)
{
    if (v->data == NULL && which > 0)
        return v->probe[which - 1];
    struct eml_known k = {
        .dtype = v->dtype, .has_rank = v->has_rank, .shape = v->shape, .elem = v->elem};
    if (v->data == NULL) {
        k.has_ints = v->has_ints;
        k.n_ints = v->n_ints;
        k.ints = (int64_t *)v->ints;
    } else if (v->shape.rank <= 1) {
        uint32_t n;
        k.ints = (int64_t *)eml_ir_known_ints(ir, v, &n);
        k.n_ints = n;
        k.has_ints = k.ints != NULL;
    }
    return k;
}

static void set_fact(struct eml_ir_value *v, size_t which, const struct eml_known *k)
{
    if (which > 0) {
        v->probe[which - 1] = *k;
        return;
    }
    v->dtype = k->dtype;
    v->elem = k->elem;
    v->has_rank = k->has_rank;
    v->shape = k->shape;
    v->has_ints = k->has_ints;
    v->n_ints = k->n_ints;
    v->ints = k->ints;
}

/* Resize reads its sizes and scales in the order of the axes: they turn with them. */
static void permute_resize(struct eml_ir *ir, struct eml_known *k, uint32_t rank)
{
    int64_t perm[EML_RANK_MAX];
    uint32_t per = rank == 0 || k->n_ints % rank != 0 ? 0 : k->n_ints / rank;
    int64_t *turned = eml_ir_alloc(ir, k->n_ints * sizeof(*turned));
    if (!k->has_ints || per == 0 || rank > EML_RANK_MAX || turned == NULL)
        return;
    eml_ir_to_last(rank, perm);
    for (uint32_t i = 0; i < k->n_ints; i++)
        turned[i] = k->ints[(uint32_t)perm[i / per] * per + i % per];
    k->ints = turned;
}

static enum eml_err infer_one(struct eml_ir *ir, struct eml_ir_node *n, size_t which,
                              struct eml_why *why)
{
    uint32_t ids[EML_NODE_IN_MAX];
    struct eml_known known[EML_NODE_IN_MAX], out[EML_NODE_OUT_MAX];
    const struct eml_known *in[EML_NODE_IN_MAX];
    bool turn = eml_ir_spatial(n->op) && !ir->channels_last;
    if (n->n_in > EML_NODE_IN_MAX || n->n_out > EML_NODE_OUT_MAX)
        return eml_fail(why, EML_E_UNSUPPORTED, "decompose: too many operands", n->origin);
    for (uint32_t i = 0; i < n->n_in; i++) {
        ids[i] = n->in[i] == NULL ? EML_ABSENT : i;
        in[i] = n->in[i] == NULL ? NULL : &known[i];
        if (n->in[i] == NULL)
            continue;
        known[i] = fact(ir, n->in[i], which);
        if (turn && i == 0)
            permute_shape(&known[i], eml_ir_to_last);
        if (turn && i > 1 && n->op == EML_OP_RESIZE && known[0].has_rank &&
            eml_ir_attr(n, EML_ATTR_AXES) == NULL)
            permute_resize(ir, &known[i], known[0].shape.rank);
    }
    memset(out, 0, n->n_out * sizeof(out[0]));
    struct eml_ir_node last = *n; /* with the numbers of axes that the operands were turned to */
    bool axes = turn && known[0].has_rank && eml_ir_attr(n, EML_ATTR_AXES) != NULL;
    if (axes)
        last.attr = eml_ir_alloc(ir, n->n_attr * sizeof(*n->attr));
    if (axes && last.attr != NULL) {
        memcpy(last.attr, n->attr, n->n_attr * sizeof(*n->attr));
        last.cap_attr = n->n_attr;
        eml_ir_axes_to_last(ir, &last, known[0].shape.rank);
        n = &last;
    }
    struct eml_node node = {n->op, n->n_in, n->n_out, n->n_attr, ids, ids, n->attr, EML_ABSENT};
    uint32_t out_ids[EML_NODE_OUT_MAX];
    for (uint32_t i = 0; i < n->n_out; i++)
        out_ids[i] = i;
    node.out = out_ids;
    enum eml_err e = eml_infer_node(&node, in, out, ir->arena, why);
    if (e == EML_OK)
        for (uint32_t i = 0; i < n->n_out; i++) {
            if (turn)
                permute_shape(&out[i], eml_ir_to_first);
            set_fact(n->out[i], which, &out[i]);
        }
    else if (which == 0 && why != NULL)
        why->index = n->origin;
    return e;
}

/* Facts of one node's outputs. A probe that does not fit only loses its facts: the model may be
 * valid for other sizes. */
static enum eml_err infer_facts(struct eml_ir *ir, struct eml_ir_node *n, struct eml_why *why)
{
    EML_TRY(infer_one(ir, n, 0, why));
    for (size_t which = 1; which < FACTS; which++)
        if (infer_one(ir, n, which, NULL) != EML_OK)
            for (uint32_t i = 0; i < n->n_out; i++)
                memset(&n->out[i]->probe[which - 1], 0, sizeof(n->out[i]->probe[0]));
    return EML_OK;
}

/* f32 scales as exact fractions; false if one is none that a Resize can have. */
static bool to_fractions(const struct eml_ir_value *s, size_t count, int64_t *fraction)
{
    for (size_t i = 0; i < count; i++) {
        float v;
        memcpy(&v, (const uint8_t *)s->data + i * sizeof(v), sizeof(v));
        if (!eml_fraction_of(v, fraction + 2 * i))
            return false;
    }
    return true;
}

/* A Resize's f32 scales as [numerator, denominator] per axis: constants here, others as it runs. */
static enum eml_err scales_to_fractions(struct eml_ir *ir, struct eml_ir_node *n,
                                        struct eml_why *why)
{
    struct eml_ir_value *s = eml_ir_in(n, 2);
    int64_t fraction[2 * EML_RANK_MAX];
    if (n->op != EML_OP_RESIZE || s == NULL || s->dtype != EML_DT_F32)
        return EML_OK;
    size_t count = eml_ir_count(s);
    if (s->has_rank && s->shape.rank == 1 && s->shape.dim[0] == 0) {
        eml_ir_set_in(ir, n, 2, NULL);
        eml_ir_trim(n);
    } else if (s->data == NULL) {
        struct eml_ir_node *f = eml_ir_node_new(ir, n, EML_OP_FRACTIONS, &s, 1, 1);
        f->origin = n->origin;
        eml_ir_set_in(ir, n, 2, f->out[0]);
        return infer_facts(ir, f, why);
    } else if (count <= EML_RANK_MAX && to_fractions(s, count, fraction)) {
        eml_ir_set_in(ir, n, 2, eml_ir_const_ints(ir, fraction, (uint32_t)(2 * count)));
    }
    return EML_OK;
}

/* A convolution tells the rank of its operand, as its weights do; dims stay unknown. Should the
 * operand turn out to be of another rank, running refuses it. */
static void rank_of_weights(struct eml_ir_node *n)
{
    if ((n->op != EML_OP_CONV && n->op != EML_OP_CONV_TRANSPOSE) || n->in[0]->has_rank ||
        !n->in[1]->has_rank)
        return;
    struct eml_ir_value *x = n->in[0];
    x->has_rank = true;
    x->shape.rank = n->in[1]->shape.rank;
    for (uint32_t i = 0; i < x->shape.rank; i++)
        x->shape.dim[i] = EML_DIM_UNKNOWN;
}

static enum eml_err infer(struct eml_ir *ir, struct eml_ir_node *n, struct eml_why *why)
{
    if (n->body[0] != NULL)
        return eml_bodies_infer(n, why);
    EML_TRY(scales_to_fractions(ir, n, why));
    rank_of_weights(n);
    return infer_facts(ir, n, why);
}

static bool steers(const struct eml_ir_value *v)
{
    return v->dtype == EML_DT_I64 && v->shape.rank <= 1 && eml_ir_count(v) <= EML_INTS_MAX;
}

struct tiny { /* a graph of one node over constants */
    struct eml_graph g;
    struct eml_value *values;
    uint32_t *ids;
    struct eml_tensor *inputs;
    float params[16];
};

/* Fills t from n; memory from arena. */
static bool tiny_make(struct tiny *t, const struct eml_ir_node *n, struct eml_arena *arena)
{
    uint32_t n_values = n->n_in + n->n_out + 1;
    memset(t, 0, sizeof(*t));
    t->values = eml_arena_array(arena, n_values, sizeof(*t->values));
    t->ids = eml_arena_array(arena, n_values, sizeof(*t->ids));
    t->inputs = eml_arena_array(arena, n_values, sizeof(*t->inputs));
    struct eml_name *names = eml_arena_array(arena, n_values, sizeof(*names));
    struct eml_node *node = eml_arena_array(arena, 1, sizeof(*node));
    uint8_t *text = eml_arena_alloc(arena, 2 * (size_t)n_values, 1);
    if (t->values == NULL || t->ids == NULL || t->inputs == NULL || names == NULL || node == NULL ||
        text == NULL)
        return false;
    struct eml_graph *g = &t->g;
    g->values = t->values;
    g->nodes = node;
    g->n_nodes = 1;
    g->inputs = names;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const struct eml_ir_value *v = n->in[i];
        t->ids[i] = v == NULL ? EML_ABSENT : g->n_values;
        if (v == NULL)
            continue;
        struct eml_value *w = &t->values[g->n_values++];
        *w = (struct eml_value){.kind = EML_VALUE_INPUT, .dtype = v->dtype, .shape = v->shape};
        if (steers(v)) {
            w->kind = EML_VALUE_INTS;
            w->ints = v->data;
            w->n_ints = (uint32_t)eml_ir_count(v);
            continue;
        }
        uint32_t k = g->n_inputs++;
        text[2 * k] = (uint8_t)(k >> 8 | 0x40); /* any distinct names */
        text[2 * k + 1] = (uint8_t)(k & 0x7f);
        names[k] = (struct eml_name){{text + 2 * k, 2}, t->ids[i]};
        t->inputs[k] = (struct eml_tensor){v->dtype, v->shape, v->data,
                                           eml_ir_count(v) * eml_dtype_bytes(v->dtype)};
    }
    g->outputs = names + g->n_inputs;
    g->n_outputs = n->n_out;
    for (uint32_t i = 0; i < n->n_out; i++) {
        t->ids[n->n_in + i] = g->n_values;
        t->values[g->n_values] =
            (struct eml_value){.kind = EML_VALUE_NODE, .dtype = n->out[i]->dtype};
        g->outputs[i].value = g->n_values++;
    }
    *node = (struct eml_node){n->op,  n->n_in,          n->n_out, n->n_attr,
                              t->ids, t->ids + n->n_in, n->attr,  EML_ABSENT};
    if (n->n_params != 0) {
        memcpy(t->params, n->params, n->n_params * sizeof(float));
        node->params = g->n_values;
        t->values[g->n_values++] = (struct eml_value){.kind = EML_VALUE_SLOT,
                                                      .dtype = EML_DT_F32,
                                                      .shape = {1, {n->n_params}},
                                                      .bytes = n->n_params * sizeof(float)};
    }
    return true;
}

/* Computes a node over constants; its outputs become constants. False: it stays. */
static bool evaluate(struct eml_ir *ir, struct eml_ir_node *n, struct scratch *s)
{
    size_t mark = eml_arena_mark(&s->arena);
    struct tiny t;
    struct eml_plan *plan;
    struct eml_why why;
    enum { OPEN_BYTES = 64 << 20 }; /* where worth_it could not tell the size */
    int64_t count;
    bool open = !n->out[0]->has_rank || !eml_shape_count(&n->out[0]->shape, &count);
    struct eml_budget budget = {open ? OPEN_BYTES : UINT64_MAX, UINT64_MAX};
    struct eml_tensor out[EML_NODE_OUT_MAX];
    bool done = false;
    if (!tiny_make(&t, n, &s->arena) ||
        eml_plan_make(&t.g, t.inputs, EML_ISA_AUTO, 1, &budget, &s->arena, &plan, &why) != EML_OK)
        goto out;
    struct eml_room room = {NULL, eml_plan_activation_bytes(plan)};
    uint8_t *weights = eml_arena_alloc(&s->arena, sizeof(t.params), 64);
    room.ptr = eml_arena_alloc(&s->arena, room.len, 64);
    if (room.ptr == NULL || weights == NULL)
        goto out;
    memcpy(weights, t.params, sizeof(t.params));
    if (eml_plan_run(plan, eml_bytes(weights, sizeof(t.params)), t.inputs, room, NULL, out, &why) !=
        EML_OK)
        goto out;
    for (uint32_t i = 0; i < n->n_out; i++) {
        void *copy = eml_ir_alloc(ir, out[i].bytes);
        if (copy == NULL)
            goto out;
        if (out[i].bytes != 0)
            memcpy(copy, out[i].data, out[i].bytes);
        eml_ir_replace(ir, n->out[i], eml_ir_const(ir, out[i].dtype, &out[i].shape, copy));
    }
    done = true;
out:
    (void)eml_arena_reset(&s->arena, mark);
    return done;
}

/* Folding must not trade a small constant for a large one. */
static bool worth_it(const struct eml_ir_node *n)
{
    enum { SMALL = 1 << 20 };
    size_t in = SMALL, out = 0;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i] != NULL)
            in += eml_ir_count(n->in[i]) * eml_dtype_bytes(n->in[i]->dtype);
    for (uint32_t i = 0; i < n->n_out; i++)
        out += eml_ir_count(n->out[i]) * eml_dtype_bytes(n->out[i]->dtype);
    return out <= 2 * in;
}

static bool all_constant(const struct eml_ir_node *n)
{
    bool any = false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i] != NULL) {
            if (n->in[i]->data == NULL)
                return false;
            any = true;
        }
    return any;
}

/* Outputs whose integers are all known need no computation. */
static void known_to_constants(struct eml_ir *ir, struct eml_ir_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        struct eml_ir_value *v = n->out[i];
        uint32_t count;
        if (!v->has_ints || v->uses == 0 || v->shape.rank > 1)
            continue;
        const int64_t *ints = eml_ir_known_ints(ir, v, &count);
        size_t width = eml_dtype_bytes(v->dtype);
        if (ints == NULL || (v->dtype != EML_DT_I64 && v->dtype != EML_DT_I32))
            continue;
        uint8_t *data = eml_ir_alloc(ir, (size_t)count * width);
        for (uint32_t k = 0; data != NULL && k < count; k++)
            memcpy(data + k * width, &ints[k], width); /* little-endian: the low bytes */
        struct eml_shape shape = {v->shape.rank, {count}};
        eml_ir_replace(ir, v, eml_ir_const(ir, v->dtype, &shape, data));
    }
}

static enum eml_err fold_all(struct eml_ir *ir, struct scratch *s, struct eml_why *why)
{
    for (struct eml_ir_node *n = ir->first; n != NULL; n = n->next) {
        EML_TRY(infer(ir, n, why));
        known_to_constants(ir, n);
        if (all_constant(n) && !eml_op_runs_dynamically(n->op) && !eml_ir_spatial(n->op) &&
            worth_it(n))
            (void)evaluate(ir, n, s);
    }
    (void)eml_ir_sweep(ir);
    return eml_ir_ok(ir, why);
}

enum eml_err eml_fold(struct eml_ir *ir, struct eml_why *why)
{
    struct scratch s = {0};
    EML_TRY(eml_arena_create(&s.arena, (size_t)EML_TENSOR_BYTES_MAX * 4));
    enum eml_err e = fold_all(ir, &s, why);
    (void)eml_arena_destroy(&s.arena);
    return e;
}

enum eml_err eml_fold_infer_from(struct eml_ir *ir, struct eml_ir_node *n, struct eml_why *why)
{
    for (; n != NULL; n = n->next)
        EML_TRY(infer(ir, n, why));
    return eml_ir_ok(ir, why);
}
