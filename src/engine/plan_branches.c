#include "engine/plan_branches.h"

/* Goes on in g, whose inputs are these values of flat; NULL: the whole. */
static enum eml_err push(struct eml_branches *b, const struct eml_graph *g, const uint32_t *inputs)
{
    struct eml_graph *flat = b->flat;
    uint32_t *id = eml_arena_array(b->arena, g->n_values, sizeof *id);
    if (id == NULL)
        return EML_E_SYSTEM;
    /* Holds if no body is taken twice; and no checked graph lets two nodes have the same. */
    if (g->n_values > b->max_values - flat->n_values)
        return EML_E_UNSUPPORTED;
    for (uint32_t i = 0; i < g->n_values; i++) {
        id[i] = flat->n_values;
        flat->values[flat->n_values++] = g->values[i];
    }
    for (uint32_t k = 0; inputs != NULL && k < g->n_inputs; k++)
        id[g->inputs[k].value] = inputs[k];
    b->levels[b->depth++] = (struct eml_branches_level){.g = g, .id = id};
    return EML_OK;
}

bool eml_branches_begin(struct eml_branches *b, const struct eml_graph *whole,
                        struct eml_arena *arena)
{
    *b = (struct eml_branches){
        .whole = whole, .arena = arena, .max_values = whole->n_values, .max_nodes = whole->n_nodes};
    for (uint32_t i = 0; i < whole->n_graphs; i++) {
        b->max_values += whole->graphs[i].n_values;
        b->max_nodes += whole->graphs[i].n_nodes;
    }
    b->flat = eml_arena_array(arena, 1, sizeof *b->flat);
    b->origin = eml_arena_array(arena, b->max_nodes, sizeof *b->origin);
    if (b->flat == NULL || b->origin == NULL)
        return false;
    *b->flat = (struct eml_graph){
        .values = eml_arena_array(arena, b->max_values, sizeof *b->flat->values),
        .nodes = eml_arena_array(arena, b->max_nodes, sizeof *b->flat->nodes),
        .inputs = whole->inputs,
        .n_inputs = whole->n_inputs,
        .outputs = eml_arena_array(arena, whole->n_outputs, sizeof *b->flat->outputs),
        .n_outputs = whole->n_outputs};
    return b->flat->values != NULL && b->flat->nodes != NULL && b->flat->outputs != NULL &&
           push(b, whole, NULL) == EML_OK;
}

static uint32_t flat_id(const struct eml_branches_level *l, uint32_t id)
{
    return id == EML_ABSENT ? EML_ABSENT : l->id[id];
}

/* The body on top is done: its outputs are the If's. */
static void pop(struct eml_branches *b)
{
    const struct eml_branches_level *body = &b->levels[--b->depth];
    const struct eml_branches_level *l = &b->levels[b->depth - 1];
    const struct eml_node *n = &l->g->nodes[l->at - 1];
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k] != EML_ABSENT)
            l->id[n->out[k]] = body->id[body->g->outputs[k].value];
}

static enum eml_err add(struct eml_branches *b, struct eml_branches_level *l)
{
    const struct eml_node *n = &l->g->nodes[l->at++];
    const size_t operands = (size_t)n->n_in + n->n_out;
    uint32_t *ids = eml_arena_alloc(b->arena, operands * sizeof *ids, sizeof *ids);
    if (ids == NULL)
        return EML_E_SYSTEM;
    for (uint32_t i = 0; i < n->n_in; i++)
        ids[i] = flat_id(l, n->in[i]);
    for (uint32_t i = 0; i < n->n_out; i++)
        ids[n->n_in + i] = flat_id(l, n->out[i]);
    struct eml_node *to = &b->flat->nodes[b->flat->n_nodes];
    *to = *n;
    to->in = ids;
    to->out = ids + n->n_in;
    to->params = flat_id(l, n->params);
    b->origin[b->flat->n_nodes++] = b->levels[0].at - 1;
    return EML_OK;
}

enum eml_err eml_branches_next(struct eml_branches *b, bool *more)
{
    struct eml_branches_level *l = &b->levels[b->depth - 1];
    for (; l->at == l->g->n_nodes && b->depth > 1; l = &b->levels[b->depth - 1])
        pop(b);
    *more = l->at < l->g->n_nodes;
    if (*more)
        return add(b, l);
    for (uint32_t i = 0; i < b->whole->n_outputs; i++) {
        b->flat->outputs[i] = b->whole->outputs[i];
        b->flat->outputs[i].value = l->id[b->whole->outputs[i].value];
    }
    return EML_OK;
}

enum eml_err eml_branches_enter(struct eml_branches *b, bool then)
{
    const struct eml_node *n = &b->flat->nodes[--b->flat->n_nodes];
    const struct eml_graph *yes = &b->whole->graphs[eml_node_int(n, EML_ATTR_THEN_BRANCH, 0)];
    const struct eml_graph *no = &b->whole->graphs[eml_node_int(n, EML_ATTR_ELSE_BRANCH, 0)];
    const struct eml_graph *body = then ? yes : no;
    const uint32_t *inputs = n->in + 1 + (then ? 0 : yes->n_inputs);
    for (uint32_t k = 0; k < body->n_inputs; k++)
        if (inputs[k] == EML_ABSENT)
            return EML_E_UNSUPPORTED;
    return b->depth <= EML_GRAPH_DEPTH_MAX ? push(b, body, inputs) : EML_E_UNSUPPORTED;
}
