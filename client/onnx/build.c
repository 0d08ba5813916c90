#include "onnx/store.h"

#include <stdlib.h>
#include <string.h>

/* A place that gives a name its meaning: an input, an initializer or a node's output. In a subgraph
 * also places that use one: names without any other meaning are captured. */
enum def_kind { DEF_INPUT, DEF_INIT, DEF_OUTPUT, DEF_USE };
struct def {
    const char *name;
    uint32_t seq; /* in order of the file: inputs, initializers, outputs of nodes, uses */
    enum def_kind kind;
    uint32_t index; /* of the input, initializer or node */
    uint32_t value; /* id, once numbered */
};

struct build {
    struct eml_onnx_store *store;
    struct eml_onnx_model *m;
    const Onnx__GraphProto *g;
    struct def *defs;   /* sorted by name, then seq */
    uint32_t *value_of; /* by seq */
    uint32_t n_defs;
    uint32_t depth;                   /* 0: the main graph */
    struct build *parent;             /* around a subgraph; NULL for others */
    uint32_t at;                      /* the parent's node that has it */
    const struct eml_onnx_node *call; /* of the function that this is in; or NULL */
    const Onnx__ModelProto *file;
    struct build *next; /* in the list of graphs still to read, which grows at its end */
    struct build **tail;
    uint64_t *nodes; /* of all graphs so far */
};

static enum eml_err refuse(struct build *b, const char *rule, long index, const char *subject)
{
    return eml_onnx_refuse(b->store, EML_E_INPUT, rule, index, subject);
}

static void *array(struct build *b, size_t n, size_t size)
{
    return eml_onnx_pool_array(&b->store->pool, n, size);
}

static const char *domain_of(const char *s)
{
    s = eml_onnx_str(s);
    return strcmp(s, "ai.onnx") == 0 ? "" : s;
}

static int by_name(const void *pa, const void *pb)
{
    const struct def *a = pa, *b = pb;
    int c = strcmp(a->name, b->name);
    return c != 0 ? c : a->seq < b->seq ? -1 : a->seq > b->seq;
}

/* Value id of a name, or EML_ONNX_ABSENT if nothing defines it. */
static uint32_t find(const struct build *b, const char *name)
{
    size_t lo = 0, hi = b->n_defs;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(b->defs[mid].name, name);
        if (c == 0)
            return b->defs[mid].value;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return EML_ONNX_ABSENT;
}

static enum eml_err read_opsets(struct build *b, Onnx__OperatorSetIdProto *const *sets,
                                size_t count)
{
    enum { OPSETS_MAX = 256 };
    struct eml_onnx_opset *o = array(b, count, sizeof *o);
    uint32_t n = 0;
    if (o == NULL)
        return eml_onnx_no_memory(b->store);
    if (count > OPSETS_MAX)
        return refuse(b, "onnx: too many operator sets", -1, "");
    for (size_t i = 0; i < count; i++) {
        const char *domain = domain_of(sets[i]->domain);
        int64_t version = sets[i]->version;
        if (version < 1)
            return refuse(b, "onnx: an operator set without a version", (long)i, domain);
        bool again = false;
        for (uint32_t k = 0; k < n; k++) {
            if (strcmp(o[k].domain, domain) != 0)
                continue;
            if (o[k].version != version)
                return refuse(b, "onnx: an operator set is imported in two versions", (long)i,
                              domain);
            again = true;
        }
        if (!again)
            o[n++] = (struct eml_onnx_opset){domain, version};
    }
    b->m->opsets = o;
    b->m->n_opsets = n;
    return EML_OK;
}

static enum eml_err read_functions(struct build *b, const Onnx__ModelProto *p)
{
    struct eml_onnx_function *f = array(b, p->n_functions, sizeof *f);
    if (f == NULL)
        return eml_onnx_no_memory(b->store);
    for (size_t i = 0; i < p->n_functions; i++) {
        f[i].domain = domain_of(p->functions[i]->domain);
        f[i].name = eml_onnx_str(p->functions[i]->name);
        f[i].proto = p->functions[i];
    }
    b->m->functions = f;
    b->m->n_functions = (uint32_t)p->n_functions;
    return EML_OK;
}

static enum eml_err read_inits(struct build *b)
{
    struct eml_onnx_tensor *t = array(b, b->g->n_initializer, sizeof *t);
    if (t == NULL)
        return eml_onnx_no_memory(b->store);
    for (size_t i = 0; i < b->g->n_initializer; i++) {
        EML_TRY(eml_onnx_tensor_read(b->store, b->g->initializer[i], (long)i, &t[i]));
        if (t[i].name[0] == '\0')
            return refuse(b, "onnx: an initializer has no name", (long)i, "");
        b->m->init_bytes += t[i].data.len;
    }
    b->m->inits = t;
    b->m->n_inits = (uint32_t)b->g->n_initializer;
    return EML_OK;
}

static void define(struct build *b, const char *name, enum def_kind kind, size_t index)
{
    b->defs[b->n_defs] =
        (struct def){.name = name, .seq = b->n_defs, .kind = kind, .index = (uint32_t)index};
    b->n_defs++;
}

/* A subgraph's uses of names. */
static void collect_uses(struct build *b)
{
    for (size_t i = 0; i < b->g->n_node; i++)
        for (size_t k = 0; k < b->g->node[i]->n_input; k++)
            if (b->g->node[i]->input[k][0] != '\0')
                define(b, b->g->node[i]->input[k], DEF_USE, i);
    for (size_t i = 0; i < b->g->n_output; i++)
        if (eml_onnx_str(b->g->output[i]->name)[0] != '\0')
            define(b, b->g->output[i]->name, DEF_USE, b->g->n_node);
}

static enum eml_err collect_defs(struct build *b)
{
    const Onnx__GraphProto *g = b->g;
    size_t n = g->n_input + g->n_initializer + g->n_output;
    for (size_t i = 0; i < g->n_node; i++)
        n += g->node[i]->n_output + (b->parent != NULL ? g->node[i]->n_input : 0);
    if (n > EML_ONNX_VALUES_MAX || g->n_node > EML_ONNX_VALUES_MAX)
        return refuse(b, "onnx: too many values or nodes", -1, "");
    b->defs = array(b, n, sizeof *b->defs);
    b->value_of = array(b, n, sizeof *b->value_of);
    if (b->defs == NULL || b->value_of == NULL)
        return eml_onnx_no_memory(b->store);
    for (size_t i = 0; i < g->n_input; i++) {
        const char *name = eml_onnx_str(g->input[i]->name);
        if (name[0] == '\0')
            return refuse(b, "onnx: an input of the graph has no name", (long)i, "");
        define(b, name, DEF_INPUT, i);
    }
    for (size_t i = 0; i < g->n_initializer; i++)
        define(b, b->m->inits[i].name, DEF_INIT, i);
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_output; k++)
            if (g->node[i]->output[k][0] != '\0')
                define(b, g->node[i]->output[k], DEF_OUTPUT, i);
    if (b->parent != NULL)
        collect_uses(b);
    qsort(b->defs, b->n_defs, sizeof *b->defs, by_name);
    return EML_OK;
}

/* Gives each name one id, in order of the file. A name may be both input and initializer, else it
 * is defined once (docs/IR.md, "Graphs": single static assignment). */
static enum eml_err number_values(struct build *b)
{
    for (uint32_t i = 0; i < b->n_defs; i++)
        b->value_of[b->defs[i].seq] = EML_ONNX_ABSENT;
    for (uint32_t i = 0; i < b->n_defs; i++) {
        const struct def *d = &b->defs[i];
        bool again = i > 0 && strcmp(d[-1].name, d->name) == 0;
        bool input_again = again && d->kind == DEF_INIT && d[-1].kind == DEF_INPUT;
        if (again && !input_again && d->kind != DEF_USE)
            return refuse(b, "onnx: a value is defined twice",
                          d->kind == DEF_OUTPUT ? (long)d->index : -1, d->name);
        if (!again)
            b->value_of[d->seq] = 0; /* leads: to be numbered */
    }
    uint32_t n = 0;
    for (uint32_t s = 0; s < b->n_defs; s++)
        if (b->value_of[s] != EML_ONNX_ABSENT)
            b->value_of[s] = n++;
    for (uint32_t i = 0; i < b->n_defs; i++) {
        struct def *d = &b->defs[i];
        d->value = b->value_of[d->seq] != EML_ONNX_ABSENT ? b->value_of[d->seq] : d[-1].value;
    }
    b->m->values = array(b, n, sizeof *b->m->values);
    b->m->n_values = n;
    return b->m->values != NULL ? EML_OK : eml_onnx_no_memory(b->store);
}

/* Looks for a captured name in the graphs around this one. */
static enum eml_err capture(struct build *b, const struct def *d, struct eml_onnx_value *v)
{
    uint32_t at = b->at;
    for (struct build *p = b->parent; p != NULL; at = p->at, p = p->parent) {
        v->levels++;
        v->outer = find(p, d->name);
        if (v->outer == EML_ONNX_ABSENT)
            continue;
        struct eml_onnx_value *o = &p->m->values[v->outer];
        if (o->levels > 0)
            continue; /* captured itself, from further out */
        if (o->producer != EML_ONNX_ABSENT && o->producer >= at)
            return refuse(b, "onnx: a node stands before what it needs", (long)at, d->name);
        o->in_subgraph = true;
        o->n_uses++;
        return EML_OK;
    }
    return refuse(b, "onnx: nothing defines an input of a node", (long)d->index, d->name);
}

static enum eml_err fill_values(struct build *b)
{
    uint32_t *inputs = array(b, b->g->n_input, sizeof *inputs);
    if (inputs == NULL)
        return eml_onnx_no_memory(b->store);
    for (uint32_t i = 0; i < b->n_defs; i++) {
        struct eml_onnx_value *v = &b->m->values[b->defs[i].value];
        bool again = v->name != NULL;
        v->name = b->defs[i].name;
        if (b->defs[i].kind == DEF_USE) {
            if (!again) {
                v->producer = EML_ONNX_ABSENT;
                EML_TRY(capture(b, &b->defs[i], v));
            }
            continue;
        }
        if (b->defs[i].kind == DEF_INPUT)
            v->is_input = true;
        if (b->defs[i].kind == DEF_INIT) {
            if (b->depth == 0 && b->m->ir_version < 4 && !v->is_input)
                return refuse(b, "onnx: IR version 3 needs initializers to be inputs", -1, v->name);
            v->init = &b->m->inits[b->defs[i].index];
            v->is_input = false;
        }
        if (b->defs[i].kind == DEF_OUTPUT)
            v->producer = b->defs[i].index;
        else
            v->producer = EML_ONNX_ABSENT;
    }
    for (size_t i = 0; i < b->g->n_input; i++) {
        uint32_t id = find(b, b->g->input[i]->name);
        struct eml_onnx_value *v = &b->m->values[id];
        EML_TRY(eml_onnx_type_read(b->store, b->g->input[i]->type, v->name, &v->type));
        if (v->is_input)
            inputs[b->m->n_inputs++] = id;
    }
    b->m->inputs = inputs;
    return EML_OK;
}

static enum eml_err read_outputs(struct build *b)
{
    const Onnx__GraphProto *g = b->g;
    uint32_t *outputs = array(b, g->n_output, sizeof *outputs);
    if (outputs == NULL)
        return eml_onnx_no_memory(b->store);
    for (size_t i = 0; i < g->n_output; i++) {
        const char *name = eml_onnx_str(g->output[i]->name);
        outputs[i] = find(b, name);
        if (outputs[i] == EML_ONNX_ABSENT)
            return refuse(b, "onnx: nothing defines an output of the graph", (long)i, name);
        struct eml_onnx_value *v = &b->m->values[outputs[i]];
        v->is_output = true;
        v->n_uses++;
        if (v->type.kind == EML_ONNX_TYPE_NONE)
            EML_TRY(eml_onnx_type_read(b->store, g->output[i]->type, name, &v->type));
    }
    for (size_t i = 0; i < g->n_value_info; i++) {
        const char *name = eml_onnx_str(g->value_info[i]->name);
        uint32_t id = find(b, name);
        if (id != EML_ONNX_ABSENT && b->m->values[id].type.kind == EML_ONNX_TYPE_NONE)
            EML_TRY(
                eml_onnx_type_read(b->store, g->value_info[i]->type, name, &b->m->values[id].type));
    }
    b->m->outputs = outputs;
    b->m->n_outputs = (uint32_t)g->n_output;
    return EML_OK;
}

/* Ids of a node's operands, without absent ones at the end. */
static enum eml_err read_names(struct build *b, char *const *names, size_t n, const uint32_t **ids,
                               uint32_t *n_ids)
{
    while (n > 0 && names[n - 1][0] == '\0')
        n--;
    if (n > EML_ONNX_VALUES_MAX)
        return refuse(b, "onnx: too many values or nodes", -1, "");
    uint32_t *out = array(b, n, sizeof *out);
    if (out == NULL)
        return eml_onnx_no_memory(b->store);
    for (size_t i = 0; i < n; i++)
        out[i] = names[i][0] != '\0' ? find(b, names[i]) : EML_ONNX_ABSENT;
    *ids = out;
    *n_ids = (uint32_t)n;
    return EML_OK;
}

static enum eml_err read_inputs_of(struct build *b, const Onnx__NodeProto *p, uint32_t index,
                                   struct eml_onnx_node *n)
{
    EML_TRY(read_names(b, p->input, p->n_input, &n->in, &n->n_in));
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (p->input[i][0] == '\0')
            continue;
        if (n->in[i] == EML_ONNX_ABSENT)
            return refuse(b, "onnx: nothing defines an input of a node", (long)index, p->input[i]);
        struct eml_onnx_value *v = &b->m->values[n->in[i]];
        if (v->producer != EML_ONNX_ABSENT && v->producer >= index)
            return refuse(b, "onnx: a node stands before what it needs", (long)index, p->input[i]);
        v->n_uses++;
    }
    return EML_OK;
}

/* ---- graphs within graphs ---- */

/* A graph to be read after this one. */
static enum eml_err enqueue(struct build *b, const Onnx__GraphProto *g, uint32_t index,
                            struct build **out)
{
    struct build *n = array(b, 1, sizeof *n);
    struct eml_onnx_model *m = array(b, 1, sizeof *m);
    if (n == NULL || m == NULL)
        return eml_onnx_no_memory(b->store);
    if (b->depth >= EML_ONNX_DEPTH_MAX)
        return refuse(b, "onnx: subgraphs or functions within each other too deep", (long)index,
                      "");
    *m = (struct eml_onnx_model){.ir_version = b->m->ir_version,
                                 .producer = "",
                                 .n_opsets = b->m->n_opsets,
                                 .opsets = b->m->opsets,
                                 .n_functions = b->m->n_functions,
                                 .functions = b->m->functions};
    *n = (struct build){.store = b->store,
                        .m = m,
                        .g = g,
                        .depth = b->depth + 1,
                        .file = b->file,
                        .tail = b->tail,
                        .nodes = b->nodes};
    (*b->tail)->next = n;
    *b->tail = n;
    *out = n;
    return EML_OK;
}

static enum eml_err later(struct build *b, const struct eml_onnx_attr *a, uint32_t index)
{
    for (size_t i = 0; a->graphs != NULL && i < a->n; i++) {
        struct build *n;
        EML_TRY(enqueue(b, a->graphs[i].proto, index, &n));
        n->parent = b;
        n->at = index;
        n->call = b->call;
        ((struct eml_onnx_subgraph *)(uintptr_t)&a->graphs[i])->graph = n->m;
    }
    return EML_OK;
}

/* Names as the inputs or outputs of a graph. */
static enum eml_err as_infos(struct build *b, char *const *names, size_t n,
                             Onnx__ValueInfoProto ***out)
{
    Onnx__ValueInfoProto *info = array(b, n, sizeof *info);
    *out = array(b, n, sizeof **out);
    if (info == NULL || *out == NULL)
        return eml_onnx_no_memory(b->store);
    for (size_t i = 0; i < n; i++) {
        onnx__value_info_proto__init(&info[i]);
        info[i].name = names[i];
        (*out)[i] = &info[i];
    }
    return EML_OK;
}

/* If the node calls a function: its body, as a graph of this call. */
static enum eml_err call_later(struct build *b, struct eml_onnx_node *n, uint32_t index)
{
    const Onnx__FunctionProto *f = NULL;
    for (uint32_t i = 0; f == NULL && i < b->m->n_functions; i++)
        if (strcmp(b->m->functions[i].name, n->op_type) == 0 &&
            strcmp(b->m->functions[i].domain, n->domain) == 0)
            f = b->m->functions[i].proto;
    if (f == NULL)
        return EML_OK;
    if (n->n_in > f->n_input || n->n_out > f->n_output)
        return refuse(b, "onnx: a call has more operands than its function", (long)index,
                      n->op_type);
    Onnx__GraphProto *g = array(b, 1, sizeof *g);
    struct build *body;
    if (g == NULL)
        return eml_onnx_no_memory(b->store);
    onnx__graph_proto__init(g);
    g->n_node = f->n_node;
    g->node = f->node;
    g->n_input = f->n_input;
    g->n_output = f->n_output;
    EML_TRY(as_infos(b, f->input, f->n_input, &g->input));
    EML_TRY(as_infos(b, f->output, f->n_output, &g->output));
    EML_TRY(enqueue(b, g, index, &body));
    EML_TRY(read_opsets(body, f->opset_import, f->n_opset_import));
    body->call = n;
    n->function = body->m;
    return EML_OK;
}

static enum eml_err read_node(struct build *b, const Onnx__NodeProto *p, uint32_t index,
                              struct eml_onnx_node *n)
{
    n->op_type = eml_onnx_str(p->op_type);
    n->domain = domain_of(p->domain);
    n->name = eml_onnx_str(p->name);
    n->opset = eml_onnx_opset(b->m, n->domain);
    if (n->op_type[0] == '\0')
        return refuse(b, "onnx: a node has no operator", (long)index, n->name);
    if (n->opset == 0)
        return refuse(b, "onnx: a node's operator set is not imported", (long)index, n->domain);
    EML_TRY(read_inputs_of(b, p, index, n));
    EML_TRY(read_names(b, p->output, p->n_output, &n->out, &n->n_out));
    EML_TRY(eml_onnx_attrs_read(b->store, p, (long)index, b->call, n));
    for (uint32_t i = 0; i < n->n_attr; i++)
        EML_TRY(later(b, &n->attr[i], index));
    return call_later(b, n, index);
}

static enum eml_err read_nodes(struct build *b)
{
    b->m->nodes = array(b, b->g->n_node, sizeof *b->m->nodes);
    if (b->m->nodes == NULL)
        return eml_onnx_no_memory(b->store);
    b->m->n_nodes = (uint32_t)b->g->n_node;
    for (uint32_t i = 0; i < b->m->n_nodes; i++)
        EML_TRY(read_node(b, b->g->node[i], i, &b->m->nodes[i]));
    return EML_OK;
}

static enum eml_err read_graph(struct build *b)
{
    if (b->g->n_sparse_initializer > 0)
        return eml_onnx_refuse(b->store, EML_E_UNSUPPORTED,
                               "onnx: sparse initializers are not supported", -1, "");
    *b->nodes += b->g->n_node;
    if (*b->nodes > EML_ONNX_VALUES_MAX)
        return refuse(b, "onnx: too many values or nodes", -1, "");
    b->m->graph_name = eml_onnx_str(b->g->name);
    EML_TRY(read_inits(b));
    EML_TRY(collect_defs(b));
    EML_TRY(number_values(b));
    EML_TRY(fill_values(b));
    EML_TRY(read_outputs(b));
    return read_nodes(b);
}

enum eml_err eml_onnx_build(struct eml_onnx_store *s, const Onnx__ModelProto *p,
                            struct eml_onnx_model *m)
{
    uint64_t nodes = 0;
    struct build b = {.store = s, .m = m, .g = p->graph, .file = p, .nodes = &nodes};
    struct build *tail = &b;
    b.tail = &tail;
    m->ir_version = p->ir_version;
    m->producer = eml_onnx_str(p->producer_name);
    if (p->graph == NULL)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: there is no graph in this file", -1, "");
    if (m->ir_version < EML_ONNX_IR_MIN || m->ir_version > EML_ONNX_IR_MAX)
        return eml_onnx_refuse(s, EML_E_UNSUPPORTED, "onnx: IR version is not 3 to 13", -1, "");
    EML_TRY(read_opsets(&b, p->opset_import, p->n_opset_import));
    EML_TRY(read_functions(&b, p));
    /* Subgraphs and called functions join the list while it is read. */
    for (struct build *at = &b; at != NULL; at = at->next)
        EML_TRY(read_graph(at));
    return EML_OK;
}
