#include "onnx/store.h"

#include <stdlib.h>
#include <string.h>

/* A place that gives a name its meaning: an input, an initializer or a node's output. */
enum def_kind { DEF_INPUT, DEF_INIT, DEF_OUTPUT };
struct def {
    const char *name;
    uint32_t seq; /* in order of the file: inputs, initializers, outputs of nodes */
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

static enum eml_err read_opsets(struct build *b, const Onnx__ModelProto *p)
{
    enum { OPSETS_MAX = 256 };
    struct eml_onnx_opset *o = array(b, p->n_opset_import, sizeof *o);
    uint32_t n = 0;
    if (o == NULL)
        return eml_onnx_no_memory(b->store);
    if (p->n_opset_import > OPSETS_MAX)
        return refuse(b, "onnx: too many operator sets", -1, "");
    for (size_t i = 0; i < p->n_opset_import; i++) {
        const char *domain = domain_of(p->opset_import[i]->domain);
        int64_t version = p->opset_import[i]->version;
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

static enum eml_err collect_defs(struct build *b)
{
    const Onnx__GraphProto *g = b->g;
    size_t n = g->n_input + g->n_initializer;
    for (size_t i = 0; i < g->n_node; i++)
        n += g->node[i]->n_output;
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
        if (again && !input_again)
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

static enum eml_err fill_values(struct build *b)
{
    uint32_t *inputs = array(b, b->g->n_input, sizeof *inputs);
    if (inputs == NULL)
        return eml_onnx_no_memory(b->store);
    for (uint32_t i = 0; i < b->n_defs; i++) {
        struct eml_onnx_value *v = &b->m->values[b->defs[i].value];
        v->name = b->defs[i].name;
        if (b->defs[i].kind == DEF_INPUT)
            v->is_input = true;
        if (b->defs[i].kind == DEF_INIT) {
            if (b->m->ir_version < 4 && !v->is_input)
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
    return eml_onnx_attrs_read(b->store, p, (long)index, n);
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

/* Marks the outer values that subgraphs name: conservative, as inner names are not resolved. The
 * list of graphs to visit grows while it is read; each graph of the file enters it once. */
struct visit {
    const Onnx__GraphProto *graph;
    struct visit *next;
};

static enum eml_err later(struct build *b, struct visit **tail, const Onnx__AttributeProto *a)
{
    size_t n = a->n_graphs + (a->g != NULL);
    for (size_t i = 0; i < n; i++) {
        struct visit *v = array(b, 1, sizeof *v);
        if (v == NULL)
            return eml_onnx_no_memory(b->store);
        v->graph = i < a->n_graphs ? a->graphs[i] : a->g;
        (*tail)->next = v;
        *tail = v;
    }
    return EML_OK;
}

static void mark(struct build *b, const char *name)
{
    uint32_t id = find(b, name);
    if (id != EML_ONNX_ABSENT)
        b->m->values[id].in_subgraph = true;
}

static enum eml_err mark_captured(struct build *b)
{
    struct visit root = {.graph = b->g, .next = NULL}, *tail = &root;
    for (const struct visit *v = &root; v != NULL; v = v->next) {
        for (size_t i = 0; i < v->graph->n_node; i++) {
            const Onnx__NodeProto *n = v->graph->node[i];
            for (size_t k = 0; k < n->n_attribute; k++)
                EML_TRY(later(b, &tail, n->attribute[k]));
            for (size_t k = 0; k < n->n_input && v != &root; k++)
                mark(b, n->input[k]);
        }
        for (size_t i = 0; i < v->graph->n_output && v != &root; i++)
            mark(b, eml_onnx_str(v->graph->output[i]->name));
    }
    return EML_OK;
}

enum eml_err eml_onnx_build(struct eml_onnx_store *s, const Onnx__ModelProto *p,
                            struct eml_onnx_model *m)
{
    struct build b = {.store = s, .m = m, .g = p->graph};
    m->ir_version = p->ir_version;
    m->producer = eml_onnx_str(p->producer_name);
    if (p->graph == NULL)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: there is no graph in this file", -1, "");
    if (m->ir_version < EML_ONNX_IR_MIN || m->ir_version > EML_ONNX_IR_MAX)
        return eml_onnx_refuse(s, EML_E_UNSUPPORTED, "onnx: IR version is not 3 to 13", -1, "");
    if (p->graph->n_sparse_initializer > 0)
        return eml_onnx_refuse(s, EML_E_UNSUPPORTED, "onnx: sparse initializers are not supported",
                               -1, "");
    m->graph_name = eml_onnx_str(p->graph->name);
    EML_TRY(read_opsets(&b, p));
    EML_TRY(read_functions(&b, p));
    EML_TRY(read_inits(&b));
    EML_TRY(collect_defs(&b));
    EML_TRY(number_values(&b));
    EML_TRY(fill_values(&b));
    EML_TRY(read_outputs(&b));
    EML_TRY(read_nodes(&b));
    return mark_captured(&b);
}
