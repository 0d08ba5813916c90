#include "topology/topology.h"

#include "base/wipe.h"
#include "model/limits.h"
#include "wire/cbor.h"

#include <string.h>

/* Grammar: docs/formats/topology-key.cddl. Encoder and decoder of each rule stand next to each
 * other, in the order of the grammar. */

static const char MAGIC[] = "eml-topology/4";

struct decoder {
    struct eml_cur cur;
    struct eml_arena *arena;
    bool exhausted; /* the arena did not hold what the counts, which were checked, ask for */
};

static bool ok(const struct decoder *d)
{
    return eml_cur_ok(&d->cur);
}

/* An array of n elements, n being bounded by the bytes of the key; on exhaustion the cursor is
 * failed, so that nothing is read into NULL. Packed: what is small stays in few cache lines. */
static void *array(struct decoder *d, size_t n, size_t size)
{
    void *p = ok(d) ? eml_arena_alloc(d->arena, n * size, sizeof(int64_t)) : NULL;
    if (p == NULL && ok(d)) {
        d->exhausted = true;
        eml_cur_fail(&d->cur);
    }
    return p;
}

/* An array of exactly n items. */
static void expect_array(struct decoder *d, size_t n)
{
    if (eml_cbor_array(&d->cur, n) != n)
        eml_cur_fail(&d->cur);
}

static uint64_t uint_to(struct decoder *d, uint64_t max)
{
    uint64_t v = eml_cbor_uint(&d->cur);
    if (v <= max)
        return v;
    eml_cur_fail(&d->cur);
    return 0;
}

static void fixed_bytes(struct decoder *d, uint8_t *out, size_t n)
{
    struct eml_bytes b = eml_cbor_bytes(&d->cur, n);
    if (b.len == n)
        memcpy(out, b.ptr, n);
    else
        eml_cur_fail(&d->cur);
}

/* --- blob --- */

static void put_blob(struct eml_buf *b, const struct eml_blob_info *v)
{
    eml_cbor_put_array(b, 8);
    eml_cbor_put_bytes(b, EML_BYTES(v->object_id));
    eml_cbor_put_bytes(b, EML_BYTES(v->model_id));
    eml_cbor_put_uint(b, v->version);
    eml_cbor_put_uint(b, v->chunks);
    eml_cbor_put_uint(b, v->plain_bytes);
    eml_cbor_put_uint(b, (uint64_t)v->cipher);
    eml_cbor_put_bytes(b, EML_BYTES(v->key.bytes));
    eml_cbor_put_bytes(b, EML_BYTES(v->digest));
}

static void get_blob(struct decoder *d, struct eml_blob_info *v)
{
    expect_array(d, 8);
    fixed_bytes(d, v->object_id, sizeof v->object_id);
    fixed_bytes(d, v->model_id, sizeof v->model_id);
    v->version = eml_cbor_uint(&d->cur);
    v->chunks = eml_cbor_uint(&d->cur);
    v->plain_bytes = uint_to(d, EML_WEIGHT_BYTES_MAX);
    v->cipher = (enum eml_cipher)uint_to(d, EML_CIPHER_N - 1);
    fixed_bytes(d, v->key.bytes, sizeof v->key.bytes);
    fixed_bytes(d, v->digest, sizeof v->digest);
}

/* --- integers --- */

static void put_ints(struct eml_buf *b, const int64_t *v, uint32_t n)
{
    eml_cbor_put_array(b, n);
    for (uint32_t i = 0; i < n; i++)
        eml_cbor_put_int(b, v[i]);
}

static const int64_t *get_ints(struct decoder *d, size_t max, uint32_t *n)
{
    size_t count = eml_cbor_array(&d->cur, max);
    int64_t *v = array(d, count, sizeof *v);
    for (size_t i = 0; i < count && ok(d); i++)
        v[i] = eml_cbor_int(&d->cur);
    *n = ok(d) ? (uint32_t)count : 0;
    return v;
}

static void put_id(struct eml_buf *b, uint32_t id)
{
    if (id == EML_ABSENT)
        eml_cbor_put_null(b);
    else
        eml_cbor_put_uint(b, id);
}

static uint32_t get_id(struct decoder *d)
{
    if (eml_cbor_take_null(&d->cur))
        return EML_ABSENT;
    return (uint32_t)uint_to(d, EML_GRAPH_VALUES_MAX);
}

static void put_ids(struct eml_buf *b, const uint32_t *ids, uint32_t n)
{
    eml_cbor_put_array(b, n);
    for (uint32_t i = 0; i < n; i++)
        put_id(b, ids[i]);
}

static const uint32_t *get_ids(struct decoder *d, size_t max, uint32_t *n)
{
    size_t count = eml_cbor_array(&d->cur, max);
    uint32_t *ids = array(d, count, sizeof *ids);
    for (size_t i = 0; i < count && ok(d); i++)
        ids[i] = get_id(d);
    *n = ok(d) ? (uint32_t)count : 0;
    return ids;
}

/* --- values --- */

static void put_shape(struct eml_buf *b, const struct eml_shape *s)
{
    eml_cbor_put_array(b, s->rank);
    for (uint32_t i = 0; i < s->rank; i++) {
        if (s->dim[i] == EML_DIM_UNKNOWN)
            eml_cbor_put_null(b);
        else
            eml_cbor_put_int(b, s->dim[i]);
    }
}

static void get_shape(struct decoder *d, struct eml_shape *s)
{
    s->rank = (uint32_t)eml_cbor_array(&d->cur, EML_RANK_MAX);
    for (uint32_t i = 0; i < s->rank && ok(d); i++)
        s->dim[i] = eml_cbor_take_null(&d->cur) ? EML_DIM_UNKNOWN : (int64_t)uint_to(d, INT64_MAX);
}

static void put_value(struct eml_buf *b, const struct eml_value *v)
{
    switch (v->kind) {
    case EML_VALUE_NODE:
        eml_cbor_put_uint(b, v->dtype);
        return;
    case EML_VALUE_INPUT:
        eml_cbor_put_array(b, 3);
        eml_cbor_put_uint(b, v->kind);
        eml_cbor_put_uint(b, v->dtype);
        put_shape(b, &v->shape);
        return;
    case EML_VALUE_SLOT:
        eml_cbor_put_array(b, 6);
        eml_cbor_put_uint(b, v->kind);
        eml_cbor_put_uint(b, v->dtype);
        put_shape(b, &v->shape);
        eml_cbor_put_uint(b, v->layout);
        eml_cbor_put_uint(b, v->offset);
        eml_cbor_put_uint(b, v->bytes);
        return;
    case EML_VALUE_INTS:
        eml_cbor_put_array(b, 2);
        eml_cbor_put_uint(b, v->kind);
        if (v->shape.rank == 0 && v->n_ints == 1)
            eml_cbor_put_int(b, v->ints[0]);
        else
            put_ints(b, v->ints, v->n_ints);
        return;
    }
    EML_BUG();
}

static enum eml_dtype get_dtype(struct decoder *d)
{
    uint64_t t = uint_to(d, EML_DT_SEQUENCE);
    if (t > EML_DT_LAST && t != EML_DT_SEQUENCE)
        eml_cur_fail(&d->cur);
    return (enum eml_dtype)t;
}

static void get_ints_value(struct decoder *d, struct eml_value *v)
{
    v->dtype = EML_DT_I64;
    if (eml_cbor_peek(&d->cur) == EML_CBOR_ARRAY) {
        v->ints = get_ints(d, EML_INTS_MAX, &v->n_ints);
        v->shape = (struct eml_shape){.rank = 1, .dim = {v->n_ints}};
        return;
    }
    int64_t *one = array(d, 1, sizeof *one);
    int64_t n = eml_cbor_int(&d->cur);
    if (ok(d))
        *one = n;
    v->ints = one;
    v->n_ints = 1;
}

static void get_value(struct decoder *d, struct eml_value *v)
{
    if (eml_cbor_peek(&d->cur) == EML_CBOR_UINT) {
        v->kind = EML_VALUE_NODE;
        v->dtype = get_dtype(d);
        return;
    }
    size_t n = eml_cbor_array(&d->cur, 6);
    uint64_t kind = eml_cbor_uint(&d->cur);
    if (kind == EML_VALUE_INTS && n == 2) {
        v->kind = EML_VALUE_INTS;
        get_ints_value(d, v);
        return;
    }
    if (!(kind == EML_VALUE_INPUT && n == 3) && !(kind == EML_VALUE_SLOT && n == 6)) {
        eml_cur_fail(&d->cur);
        return;
    }
    v->kind = (enum eml_value_kind)kind;
    v->dtype = get_dtype(d);
    get_shape(d, &v->shape);
    if (kind == EML_VALUE_SLOT) {
        v->layout = (enum eml_layout)uint_to(d, EML_LAYOUT_N - 1);
        v->offset = uint_to(d, EML_WEIGHT_BYTES_MAX);
        v->bytes = uint_to(d, EML_WEIGHT_BYTES_MAX);
    }
}

/* --- nodes --- */

static void put_node(struct eml_buf *b, const struct eml_node *n)
{
    eml_cbor_put_array(b, 5);
    eml_cbor_put_uint(b, n->op);
    put_ids(b, n->in, n->n_in);
    put_ids(b, n->out, n->n_out);
    eml_cbor_put_map(b, n->n_attr);
    for (uint32_t i = 0; i < n->n_attr; i++) {
        eml_cbor_put_uint(b, n->attr[i].id);
        put_ints(b, n->attr[i].v, n->attr[i].n);
    }
    put_id(b, n->params);
}

static const struct eml_attr *get_attrs(struct decoder *d, uint32_t *n)
{
    size_t count = eml_cbor_map(&d->cur, EML_NODE_ATTR_MAX);
    struct eml_attr *attr = array(d, count, sizeof *attr);
    for (size_t i = 0; i < count && ok(d); i++) {
        attr[i].id = (enum eml_attr_id)uint_to(d, EML_ATTR_N - 1);
        attr[i].v = get_ints(d, EML_ATTR_INTS_MAX, &attr[i].n);
    }
    *n = ok(d) ? (uint32_t)count : 0;
    return attr;
}

static void get_node(struct decoder *d, struct eml_node *n)
{
    expect_array(d, 5);
    n->op = (enum eml_op)uint_to(d, EML_OP_N - 1);
    n->in = get_ids(d, EML_NODE_IN_MAX, &n->n_in);
    n->out = get_ids(d, EML_NODE_OUT_MAX, &n->n_out);
    n->attr = get_attrs(d, &n->n_attr);
    n->params = get_id(d);
}

/* --- names --- */

static void put_names(struct eml_buf *b, const struct eml_name *names, uint32_t n)
{
    eml_cbor_put_array(b, n);
    for (uint32_t i = 0; i < n; i++) {
        eml_cbor_put_array(b, 2);
        eml_cbor_put_text(b, names[i].text);
        eml_cbor_put_uint(b, names[i].value);
    }
}

static struct eml_name *get_names(struct decoder *d, uint32_t *n)
{
    size_t count = eml_cbor_array(&d->cur, EML_GRAPH_IO_MAX);
    struct eml_name *names = array(d, count, sizeof *names);
    for (size_t i = 0; i < count && ok(d); i++) {
        expect_array(d, 2);
        struct eml_bytes text = eml_cbor_text(&d->cur, EML_NAME_BYTES_MAX);
        uint8_t *copy = array(d, text.len, 1);
        if (ok(d) && text.len != 0)
            memcpy(copy, text.ptr, text.len);
        names[i].text = (struct eml_bytes){copy, text.len};
        names[i].value = (uint32_t)uint_to(d, EML_GRAPH_VALUES_MAX);
    }
    *n = ok(d) ? (uint32_t)count : 0;
    return names;
}

/* --- graphs --- */

static void put_values_and_nodes(struct eml_buf *b, const struct eml_graph *g)
{
    eml_cbor_put_array(b, g->n_values);
    for (uint32_t i = 0; i < g->n_values; i++)
        put_value(b, &g->values[i]);
    eml_cbor_put_array(b, g->n_nodes);
    for (uint32_t i = 0; i < g->n_nodes; i++)
        put_node(b, &g->nodes[i]);
}

static void get_values_and_nodes(struct decoder *d, struct eml_graph *g)
{
    size_t n = eml_cbor_array(&d->cur, EML_GRAPH_VALUES_MAX);
    g->values = array(d, n, sizeof *g->values);
    for (size_t i = 0; i < n && ok(d); i++)
        get_value(d, &g->values[i]);
    g->n_values = (uint32_t)n;
    n = eml_cbor_array(&d->cur, EML_GRAPH_NODES_MAX);
    g->nodes = array(d, n, sizeof *g->nodes);
    for (size_t i = 0; i < n && ok(d); i++)
        get_node(d, &g->nodes[i]);
    g->n_nodes = (uint32_t)n;
}

/* Inputs and outputs of a body have no names. */
static void put_plain_ids(struct eml_buf *b, const struct eml_name *names, uint32_t n)
{
    eml_cbor_put_array(b, n);
    for (uint32_t i = 0; i < n; i++)
        eml_cbor_put_uint(b, names[i].value);
}

static struct eml_name *get_plain_ids(struct decoder *d, uint32_t *n)
{
    size_t count = eml_cbor_array(&d->cur, EML_GRAPH_IO_MAX);
    struct eml_name *names = array(d, count, sizeof *names);
    for (size_t i = 0; i < count && ok(d); i++)
        names[i].value = (uint32_t)uint_to(d, EML_GRAPH_VALUES_MAX);
    *n = ok(d) ? (uint32_t)count : 0;
    return names;
}

static void put_body(struct eml_buf *b, const struct eml_graph *g)
{
    eml_cbor_put_array(b, 4);
    put_values_and_nodes(b, g);
    put_plain_ids(b, g->inputs, g->n_inputs);
    put_plain_ids(b, g->outputs, g->n_outputs);
}

static void get_body(struct decoder *d, struct eml_graph *g)
{
    expect_array(d, 4);
    get_values_and_nodes(d, g);
    g->inputs = get_plain_ids(d, &g->n_inputs);
    g->outputs = get_plain_ids(d, &g->n_outputs);
}

/* --- the whole --- */

enum eml_err eml_topology_encode(const struct eml_topology *t, struct eml_buf *out)
{
    const struct eml_graph *g = &t->graph;
    eml_cbor_put_array(out, 10);
    eml_cbor_put_text(out, EML_LIT(MAGIC));
    put_blob(out, &t->blob);
    eml_cbor_put_uint(out, t->min_version);
    eml_cbor_put_uint(out, t->activation_bytes_max);
    eml_cbor_put_uint(out, t->flops_max);
    put_values_and_nodes(out, g);
    put_names(out, g->inputs, g->n_inputs);
    put_names(out, g->outputs, g->n_outputs);
    eml_cbor_put_array(out, g->n_graphs);
    for (uint32_t i = 0; i < g->n_graphs; i++)
        put_body(out, &g->graphs[i]);
    return eml_buf_ok(out);
}

static void get_graph(struct decoder *d, struct eml_graph *g)
{
    get_values_and_nodes(d, g);
    g->inputs = get_names(d, &g->n_inputs);
    g->outputs = get_names(d, &g->n_outputs);
    size_t n = eml_cbor_array(&d->cur, EML_GRAPH_BODIES_MAX);
    g->graphs = array(d, n, sizeof *g->graphs);
    for (size_t i = 0; i < n && ok(d); i++)
        get_body(d, &g->graphs[i]);
    g->n_graphs = ok(d) ? (uint32_t)n : 0;
}

static void get_topology(struct decoder *d, struct eml_topology *t)
{
    expect_array(d, 10);
    if (!eml_bytes_equal(eml_cbor_text(&d->cur, sizeof MAGIC), EML_LIT(MAGIC)))
        eml_cur_fail(&d->cur);
    get_blob(d, &t->blob);
    t->min_version = eml_cbor_uint(&d->cur);
    t->activation_bytes_max = eml_cbor_uint(&d->cur);
    t->flops_max = eml_cbor_uint(&d->cur);
    get_graph(d, &t->graph);
}

static enum eml_err check(const struct eml_topology *t, struct eml_why *why)
{
    if (t->min_version > t->blob.version)
        return eml_fail(why, EML_E_INPUT, "topology: weights older than the least version", -1);
    if (t->blob.chunks != eml_blob_chunks(t->blob.plain_bytes))
        return eml_fail(why, EML_E_INPUT, "topology: chunks are not the size class of the weights",
                        -1);
    return eml_graph_check(&t->graph, t->blob.plain_bytes, why);
}

enum eml_err eml_topology_decode(struct eml_bytes encoded, struct eml_arena *arena,
                                 struct eml_topology *out, struct eml_why *why)
{
    const size_t mark = eml_arena_mark(arena);
    struct decoder d = {.cur = eml_cur(encoded), .arena = arena};
    enum eml_err e = EML_OK;
    *out = (struct eml_topology){0};
    if (encoded.len > EML_TOPOLOGY_BYTES_MAX)
        e = eml_fail(why, EML_E_INPUT, "topology: longer than the limit", -1);
    if (e == EML_OK) {
        get_topology(&d, out);
        if (d.exhausted)
            e = eml_fail(why, EML_E_REFUSED, "topology: needs more memory than allowed", -1);
        else if (!eml_cur_done(&d.cur))
            e = eml_fail(why, EML_E_INPUT, "topology: not in the canonical form of its grammar",
                         (long)d.cur.pos);
    }
    if (e == EML_OK)
        e = check(out, why);
    if (e != EML_OK) {
        eml_wipe(out, sizeof *out);
        (void)eml_arena_reset(arena, mark);
    }
    return e;
}
