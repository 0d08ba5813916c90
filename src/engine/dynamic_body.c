/* Nodes whose bodies run: If, Loop, Scan, SequenceMap. An If is a loop of one turn without a
 * counter, so that all four share their frames, captures and results. */
#include "engine/dynamic_run.h"

#include "engine/plan.h"

bool eml_body_is(enum eml_op op)
{
    return op == EML_OP_IF || op == EML_OP_LOOP || op == EML_OP_SCAN || op == EML_OP_SEQUENCE_MAP;
}

bool eml_body_more(const struct eml_control *c)
{
    return c->go && (c->trips < 0 || c->i < c->trips);
}

static enum eml_err push(struct eml_run *r, uint32_t body)
{
    if (r->depth > EML_GRAPH_DEPTH_MAX)
        return eml_run_bad(r, "bodies nested too deep");
    struct eml_frame *f = &r->frames[r->depth];
    *f = (struct eml_frame){.g = &r->p->g->graphs[body], .last = r->d->last[body + 1]};
    f->value = eml_run_room(r, f->g->n_values, sizeof(struct eml_item *));
    if (f->value == NULL)
        return eml_run_no_room(r);
    r->depth++;
    return EML_OK;
}

static void pop(struct eml_run *r)
{
    struct eml_frame *f = &r->frames[--r->depth];
    for (uint32_t i = 0; i < f->g->n_values; i++)
        eml_item_drop(&r->heap, f->value[i]);
    eml_heap_put(&r->heap, f->value, f->g->n_values * sizeof(struct eml_item *));
}

/* Hands an item, held for it, to input k of the body on top. */
static void pass(struct eml_run *r, uint32_t k, struct eml_item *x)
{
    struct eml_frame *f = &r->frames[r->depth - 1];
    uint32_t id = f->g->inputs[k].value;
    if (f->last[id] == 0)
        eml_item_drop(&r->heap, x);
    else
        f->value[id] = x;
}

static enum eml_err pass_number(struct eml_run *r, uint32_t k, enum eml_dtype t, int64_t v)
{
    static const struct eml_shape scalar = {0};
    struct eml_item *x = eml_item_tensor(&r->heap, t, &scalar);
    if (x == NULL)
        return eml_run_no_room(r);
    eml_store_int(t, x->view.data, 0, v);
    pass(r, k, x);
    return EML_OK;
}

/* Operand i of the frame's node, held. */
static enum eml_err operand(struct eml_run *r, struct eml_frame *f, uint32_t i,
                            struct eml_item **out)
{
    EML_TRY(eml_frame_value(r, f, f->c.node->in[i], out));
    if (*out == NULL)
        return eml_run_bad(r, "required operand omitted");
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

static enum eml_err scan_axis(const struct eml_run *r, const struct eml_item *x,
                              const struct eml_node *n, uint32_t k, uint32_t *axis)
{
    int64_t a = entry(n, EML_ATTR_SCAN_INPUT_AXES, k), rank = x->view.shape.rank;
    *axis = 0;
    if (eml_dtype_bytes(x->view.dtype) == 0 || a < -rank || a >= rank)
        return eml_run_bad(r, "Scan: input without the axis to scan");
    *axis = (uint32_t)(a < 0 ? a + rank : a);
    return EML_OK;
}

/* Entry i of scan input k. */
static enum eml_err scan_entry(struct eml_run *r, struct eml_frame *f, uint32_t k,
                               struct eml_item **out)
{
    const struct eml_control *c = &f->c;
    struct eml_item *x;
    uint32_t axis;
    EML_TRY(eml_frame_value(r, f, c->node->in[c->n_state + k], &x));
    EML_TRY(scan_axis(r, x, c->node, k, &axis));
    int64_t i = entry(c->node, EML_ATTR_SCAN_INPUT_DIRECTIONS, k) == 0 ? c->i : c->trips - 1 - c->i;
    EML_TRY(eml_list_cut(&r->heap, x, axis, i, 1, true, out, r->why));
    return eml_run_spend(r, eml_item_bytes(*out));
}

/* Inputs of the body's next iteration, up to the captures. *n: how many. */
static enum eml_err own_inputs(struct eml_run *r, struct eml_frame *f, uint32_t *n)
{
    struct eml_control *c = &f->c;
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
        EML_TRY(eml_frame_value(r, f, c->node->in[k], &x));
        if (x == NULL)
            return eml_run_bad(r, "required operand omitted");
        if (x->view.dtype == EML_DT_SEQUENCE)
            x = c->i < (int64_t)x->n_list ? x->list[c->i] : NULL;
        if (x == NULL)
            return eml_run_bad(r, "SequenceMap: sequences differ in length");
        pass(r, (*n)++, eml_item_hold(x));
    }
    return EML_OK;
}

/* Another iteration: its frame is pushed. */
enum eml_err eml_body_iterate(struct eml_run *r, struct eml_frame *f)
{
    uint32_t n;
    struct eml_item *x;
    if (++r->iterations > EML_ITERATIONS_MAX)
        return eml_fail(r->why, EML_E_REFUSED, "budget of iterations exceeded", -1);
    EML_TRY(eml_run_spend(r, EML_NODE_WORK));
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
enum eml_err eml_body_collect(struct eml_run *r, struct eml_frame *f)
{
    struct eml_control *c = &f->c;
    struct eml_frame *top = &r->frames[r->depth - 1];
    const struct eml_graph *body = top->g;
    uint32_t skip = c->node->op == EML_OP_LOOP ? 1 : 0;
    for (uint32_t k = 0; k < body->n_outputs; k++) {
        struct eml_item *x;
        EML_TRY(eml_frame_value(r, top, body->outputs[k].value, &x));
        if (k < skip) {
            int64_t go;
            EML_TRY(eml_item_int(x, &go, r->why));
            c->go = go != 0;
        } else if (k - skip < c->n_state) {
            eml_item_drop(&r->heap, c->state[k - skip]);
            c->state[k - skip] = eml_item_hold(x);
        } else if (eml_dtype_bytes(x->view.dtype) == 0) {
            return eml_run_bad(r, "scan output is no tensor");
        } else if (!eml_item_append(&r->heap, c->lists[k - skip - c->n_state], x)) {
            return eml_run_no_room(r);
        }
    }
    c->i++;
    pop(r);
    return EML_OK;
}

/* Output k of the node out of its k-th list. */
static enum eml_err join(struct eml_run *r, const struct eml_frame *f, uint32_t k,
                         struct eml_item **out)
{
    const struct eml_node *n = f->c.node;
    struct eml_item *list = f->c.lists[k];
    if (n->op == EML_OP_SEQUENCE_MAP) {
        *out = eml_item_hold(list);
        return EML_OK;
    }
    enum eml_dtype none = f->g->values[n->out[f->c.n_state + k]].dtype;
    bool backwards = entry(n, EML_ATTR_SCAN_OUTPUT_DIRECTIONS, k) != 0;
    EML_TRY(eml_list_join(&r->heap, list, entry(n, EML_ATTR_SCAN_OUTPUT_AXES, k), true, backwards,
                          none, out, r->why));
    return eml_run_spend(r, eml_item_bytes(*out));
}

enum eml_err eml_body_finish(struct eml_run *r, struct eml_frame *f)
{
    struct eml_control *c = &f->c;
    for (uint32_t k = 0; k < c->n_state; k++)
        eml_frame_set(r, f, c->node->out[k], c->state[k]);
    for (uint32_t k = 0; k < c->n_lists; k++) {
        struct eml_item *x = NULL;
        if (c->node->out[c->n_state + k] != EML_ABSENT) {
            EML_TRY(join(r, f, k, &x));
            eml_frame_set(r, f, c->node->out[c->n_state + k], x);
        }
        eml_item_drop(&r->heap, c->lists[k]);
    }
    eml_heap_put(&r->heap, c->state, c->n_state * sizeof(struct eml_item *));
    eml_heap_put(&r->heap, c->lists, c->n_lists * sizeof(struct eml_item *));
    *c = (struct eml_control){0};
    eml_frame_next(r, f);
    return EML_OK;
}

/* How often a Scan or a SequenceMap turns. */
static enum eml_err count_trips(struct eml_run *r, struct eml_frame *f)
{
    struct eml_control *c = &f->c;
    struct eml_item *x;
    if (c->node->op == EML_OP_SEQUENCE_MAP) {
        EML_TRY(eml_frame_value(r, f, c->node->in[0], &x));
        if (x->view.dtype != EML_DT_SEQUENCE)
            return eml_run_bad(r, "operand is no sequence");
        c->trips = x->n_list;
        return EML_OK;
    }
    for (uint32_t k = 0; k < scans(c->node); k++) {
        uint32_t axis;
        EML_TRY(eml_frame_value(r, f, c->node->in[c->n_state + k], &x));
        if (x == NULL)
            return eml_run_bad(r, "required operand omitted");
        EML_TRY(scan_axis(r, x, c->node, k, &axis));
        if (k > 0 && x->view.shape.dim[axis] != c->trips)
            return eml_run_bad(r, "Scan: inputs differ in length");
        c->trips = x->view.shape.dim[axis];
    }
    return EML_OK;
}

/* Trip count and condition of a Loop, or the branch of an If. */
static enum eml_err begin(struct eml_run *r, struct eml_frame *f)
{
    struct eml_control *c = &f->c;
    const struct eml_node *n = c->node;
    struct eml_item *x;
    int64_t v;
    c->go = true;
    if (n->op == EML_OP_IF) {
        EML_TRY(eml_frame_value(r, f, n->in[0], &x));
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
    EML_TRY(eml_frame_value(r, f, n->in[0], &x));
    if (x != NULL && x->view.dtype != EML_DT_NONE) {
        EML_TRY(eml_item_int(x, &c->trips, r->why));
        c->trips = c->trips < 0 ? 0 : c->trips;
    }
    EML_TRY(eml_frame_value(r, f, n->in[1], &x));
    if (x != NULL && x->view.dtype != EML_DT_NONE) {
        EML_TRY(eml_item_int(x, &v, r->why));
        c->go = v != 0;
    }
    return EML_OK;
}

enum eml_err eml_body_enter(struct eml_run *r, struct eml_frame *f, const struct eml_node *n)
{
    struct eml_control *c = &f->c;
    uint32_t state_at = n->op == EML_OP_LOOP ? 2 : 0;
    *c = (struct eml_control){.node = n, .body = (uint32_t)eml_node_int(n, EML_ATTR_BODY, 0)};
    c->captures = n->n_in - (uint32_t)eml_node_int(n, EML_ATTR_CAPTURES, 0);
    c->n_state = n->op == EML_OP_IF     ? n->n_out
                 : n->op == EML_OP_LOOP ? c->captures - 2
                 : n->op == EML_OP_SCAN ? c->captures - scans(n)
                                        : 0;
    c->n_lists = n->n_out - c->n_state;
    c->state = eml_run_room(r, c->n_state, sizeof(struct eml_item *));
    c->lists = eml_run_room(r, c->n_lists, sizeof(struct eml_item *));
    if (c->state == NULL || c->lists == NULL)
        return eml_run_no_room(r);
    EML_TRY(begin(r, f));
    for (uint32_t i = 0; n->op != EML_OP_IF && i < c->n_state; i++)
        EML_TRY(operand(r, f, state_at + i, &c->state[i]));
    for (uint32_t i = 0; i < c->n_lists; i++)
        if ((c->lists[i] = eml_item_list(&r->heap)) == NULL)
            return eml_run_no_room(r);
    return EML_OK;
}
