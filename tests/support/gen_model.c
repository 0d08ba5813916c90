#include "testsupport/gen_model.h"

#include "testsupport/gen_maker.h"
#include "testsupport/pb.h"

#include <stdio.h>
#include <string.h>

/* ---- attributes ---- */

static void put_perm(const struct eml_mg_maker *k, struct eml_buf *a)
{
    int64_t v[EML_RANK_MAX];
    for (uint32_t i = 0; i < k->x.rank; i++) {
        uint32_t j = (uint32_t)eml_mg_pick(k, 0, i);
        v[i] = v[j];
        v[j] = i;
    }
    eml_pb_attr_ints(a, "perm", v, k->x.rank);
}

/* One of the choices of a row: "a|b|c". */
static void put_choice(const struct eml_mg_maker *k, struct eml_buf *a, const char *name,
                       const char *choices)
{
    char text[64];
    size_t all = strcspn(choices, " ");
    int64_t n = 1;
    for (size_t i = 0; i < all; i++)
        n += choices[i] == '|';
    const char *at = choices;
    for (int64_t skip = eml_mg_pick(k, 0, n - 1); skip > 0; skip--)
        at += strcspn(at, "|") + 1;
    size_t len = strcspn(at, "| ");
    EML_ASSERT(len < sizeof text);
    memcpy(text, at, len);
    text[len] = '\0';
    eml_pb_attr_str(a, name, text);
}

/* Attributes whose numbers must fit something. False: by its type then. */
static bool fitting(const struct eml_mg_maker *k, struct eml_buf *a, const char *name)
{
    uint32_t spatial = k->x.rank > 2 ? k->x.rank - 2 : 1;
    int64_t rank = k->x.rank;
    if (strcmp(name, "axis") == 0) {
        if (eml_mg_chance(k, 80) || k->op == EML_OP_CONCAT || k->op == EML_OP_CONCAT_FROM_SEQUENCE)
            eml_pb_attr_int(a, name,
                            eml_mg_chance(k, 3) ? 9
                            : rank > 0          ? eml_mg_pick(k, -rank, rank - 1)
                                                : 0);
    } else if (strcmp(name, "perm") == 0) {
        if (eml_mg_chance(k, 80))
            put_perm(k, a);
    } else if (strcmp(name, "to") == 0 || strcmp(name, "dtype") == 0) {
        eml_pb_attr_int(a, name, eml_mg_some_type(k, UINT32_MAX));
    } else if (strcmp(name, "kernel_shape") == 0) {
        if (k->spatial == 0)
            eml_mg_put_ints(k, a, name, spatial, 1, 3);
    } else if (strcmp(name, "strides") == 0 || strcmp(name, "dilations") == 0) {
        if (eml_mg_chance(k, 30))
            eml_mg_put_ints(k, a, name, spatial, 1, 2);
    } else if (strcmp(name, "pads") == 0) {
        if (eml_mg_chance(k, 40))
            eml_mg_put_ints(k, a, name, 2 * spatial, 0, 1);
    } else if (strcmp(name, "group") == 0) {
        eml_pb_attr_int(a, name, k->group);
    } else if (strcmp(name, "hidden_size") == 0) {
        eml_pb_attr_int(a, name, k->hidden);
    } else if (strcmp(name, "blocksize") == 0 || strcmp(name, "num_groups") == 0 ||
               strcmp(name, "size") == 0 || strcmp(name, "num_outputs") == 0) {
        eml_pb_attr_int(a, name, eml_mg_pick(k, 1, 2));
    } else if (strcmp(name, "equation") == 0) {
        static const char *const texts[] = {"ij,jk->ik", "ij,ij->ji", "ij,kj->i", "ij,jk"};
        eml_pb_attr_str(a, name, texts[eml_mg_pick(k, 0, 3)]);
    } else {
        return false;
    }
    return true;
}

static void put_attr(const struct eml_mg_maker *k, struct eml_buf *a, const char *name,
                     const char *type)
{
    if (fitting(k, a, name) || !eml_mg_chance(k, 30))
        return;
    if (type[0] == 'i' && type[1] == ':')
        eml_pb_attr_int(a, name,
                        eml_mg_chance(k, 5) ? eml_mg_pick(k, -3, 7) : eml_mg_pick(k, 0, 1));
    else if (type[0] == 'e' && type[1] == ':')
        put_choice(k, a, name, type + 2);
    else if (type[0] == 'p')
        eml_pb_attr_f32(a, name, (float)eml_mg_pick(k, 1, 8) / 8);
    else if (type[0] == 'i' && eml_mg_chance(k, 10))
        eml_mg_put_ints(k, a, name, (uint32_t)eml_mg_pick(k, 0, 4), -1, 3);
}

static void put_attrs(const struct eml_mg_maker *k, struct eml_buf *a)
{
    const char *w = eml_op_info(k->op)->attrs;
    for (; *w != '\0'; w += strspn(w, " ")) {
        char name[40];
        size_t word = strcspn(w, " "), len = strcspn(w, "=>");
        EML_ASSERT(len < sizeof name);
        memcpy(name, w, len);
        name[len] = '\0';
        if (len < word && w[len] == '=')
            put_attr(k, a, name, w + len + 1);
        w += word;
    }
}

/* ---- nodes ---- */

static enum eml_op some_op(const struct eml_mg_maker *k)
{
    for (;;) {
        enum eml_op op = (enum eml_op)eml_mg_pick(k, 0, EML_OP_N - 1);
        if (eml_mg_chance(k, 8)) /* lists need some to work on */
            op = eml_mg_chance(k, 50) ? EML_OP_SPLIT_TO_SEQUENCE : EML_OP_SEQUENCE_CONSTRUCT;
        if (eml_mg_spec_of(op)->operands != NULL)
            return op;
    }
}

static bool has_body(enum eml_op op)
{
    return op == EML_OP_IF || op == EML_OP_LOOP || op == EML_OP_SCAN || op == EML_OP_SEQUENCE_MAP;
}

static uint32_t propose_operands(struct eml_mg_maker *k)
{
    const struct eml_op_info *info = eml_op_info(k->op);
    struct eml_mg_node *n = k->n;
    for (const char *p = k->spec->operands; *p != '\0' && n->n_in < EML_MG_IN; p++) {
        if (*p == '*')
            for (int64_t more = eml_mg_pick(k, 0, 2); more > 0; more--)
                n->in[n->n_in++] = eml_mg_operand(k, p[-1]);
        else
            n->in[n->n_in++] = eml_mg_operand(k, *p);
    }
    if (n->n_in > info->in_min && eml_mg_chance(k, 30)) /* optional ones may stay away */
        n->n_in = (uint32_t)eml_mg_pick(k, info->in_min, n->n_in);
    uint32_t most = info->out_max > 3 ? 2 : info->out_max;
    return k->op == EML_OP_SPLIT              ? 2
           : most > 1 && eml_mg_chance(k, 60) ? (uint32_t)eml_mg_pick(k, 1, most)
                                              : 1;
}

static float slack_of(const struct eml_mg_maker *k)
{
    float slack = k->spec->exact ? 0 : 1e-3F;
    for (uint32_t i = 0; i < k->n->n_in; i++)
        if (k->n->in[i] != EML_ABSENT && k->m->values[k->n->in[i]].slack > slack)
            slack = k->m->values[k->n->in[i]].slack;
    for (uint32_t i = 0; i < k->n->n_captured; i++)
        if (k->m->values[k->n->captured[i]].slack > slack)
            slack = k->m->values[k->n->captured[i]].slack;
    if (!k->spec->exact && k->dtype == EML_DT_F16)
        slack += 4e-3F;
    if (!k->spec->exact && k->dtype == EML_DT_BF16)
        slack += 3e-2F;
    return k->spec->exact ? slack : slack * 1.5F;
}

static void encode_node(struct eml_mg_maker *k, struct eml_buf *attrs)
{
    struct eml_mg_node *n = k->n;
    const char *full = eml_op_info(k->op)->name;
    int at = snprintf(n->text, sizeof n->text, "%s(", full);
    for (uint32_t i = 0; i < n->n_in; i++) {
        const char *name = n->in[i] == EML_ABSENT ? "" : eml_mg_name(k, n->in[i]);
        eml_pb_str(&n->pb, 1, name);
        if (at > 0 && (size_t)at < sizeof n->text)
            at += snprintf(n->text + at, sizeof n->text - (size_t)at, " %s", name);
        if (n->in[i] != EML_ABSENT)
            k->m->values[n->in[i]].readers++;
    }
    if (at > 0 && (size_t)at < sizeof n->text)
        (void)snprintf(n->text + at, sizeof n->text - (size_t)at, " ) of %s, opset %d",
                       eml_dtype_name(k->dtype), (int)k->m->opset);
    for (uint32_t i = 0; i < n->n_out; i++)
        eml_pb_str(&n->pb, 2, eml_mg_name(k, n->first_out + i));
    eml_pb_str(&n->pb, 4, full);
    eml_buf_put(&n->pb, eml_buf_bytes(attrs));
}

void eml_model_gen_propose(struct eml_model_gen *m)
{
    EML_ASSERT(m->n_nodes < EML_MG_NODES);
    struct eml_mg_maker k = {.m = m, .n = &m->nodes[m->n_nodes++], .group = 1};
    struct eml_buf attrs = {0};
    *k.n = (struct eml_mg_node){.first_value = m->n_values};
    k.op = some_op(&k);
    k.n->op = k.op;
    k.spec = eml_mg_spec_of(k.op);
    k.dtype = eml_mg_some_type(&k, eml_op_info(k.op)->types);
    uint32_t n_out;
    if (has_body(k.op)) {
        n_out = eml_mg_propose_body(&k, &attrs);
    } else {
        n_out = propose_operands(&k);
        put_attrs(&k, &attrs);
    }
    k.n->first_out = m->n_values;
    k.n->n_out = n_out;
    for (uint32_t i = 0; i < n_out; i++)
        (void)eml_mg_add_value(&k,
                               (struct eml_mg_value){.kind = EML_MG_RESULT, .slack = slack_of(&k)});
    encode_node(&k, &attrs);
    eml_buf_free(&attrs);
}

static void unread(struct eml_model_gen *m, const struct eml_mg_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i] != EML_ABSENT)
            m->values[n->in[i]].readers--;
    for (uint32_t i = 0; i < n->n_captured; i++)
        m->values[n->captured[i]].readers--;
}

void eml_model_gen_undo(struct eml_model_gen *m)
{
    struct eml_mg_node *n = &m->nodes[--m->n_nodes];
    unread(m, n);
    eml_buf_free(&n->pb);
    m->n_values = n->first_value;
}

bool eml_model_gen_drop(struct eml_model_gen *m, uint32_t node)
{
    struct eml_mg_node *n = &m->nodes[node];
    if (n->gone)
        return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (m->values[n->first_out + i].readers != 0)
            return false;
    unread(m, n);
    n->gone = true;
    for (uint32_t i = 0; i < n->n_out; i++)
        m->values[n->first_out + i].gone = true;
    return true;
}

/* ---- the model ---- */

void eml_model_gen_start(struct eml_model_gen *m, struct eml_gen *g, struct eml_arena *arena)
{
    static const int64_t opsets[] = {18, 20, 21, 22};
    *m = (struct eml_model_gen){.g = g, .arena = arena};
    m->opset = opsets[eml_gen_range(g, 0, 3)];
}

bool eml_mg_is_output(const struct eml_mg_value *v)
{
    return v->kind == EML_MG_RESULT && v->readers == 0 && !v->gone;
}

static void encode_list(struct eml_buf *graph, const struct eml_mg_value *v)
{
    struct eml_buf value = {0}, type = {0}, list = {0}, elem = {0}, tensor = {0};
    eml_pb_int(&tensor, 1, v->elem);
    eml_pb_msg(&elem, 1, &tensor);
    eml_pb_msg(&list, 1, &elem);
    eml_pb_msg(&type, 4, &list);
    eml_pb_str(&value, 1, v->name);
    eml_pb_msg(&value, 2, &type);
    eml_pb_msg(graph, 12, &value);
}

void eml_model_gen_encode(const struct eml_model_gen *m, struct eml_buf *out)
{
    struct eml_buf graph = {0}, set = {0};
    eml_pb_str(&graph, 2, "generated");
    for (uint32_t i = 0; i < m->n_nodes; i++)
        if (!m->nodes[i].gone)
            eml_pb_bytes(&graph, 1, eml_buf_bytes(&m->nodes[i].pb));
    for (uint32_t i = 0; i < m->n_values; i++) {
        const struct eml_mg_value *v = &m->values[i];
        if (v->kind == EML_MG_CONSTANT)
            eml_pb_tensor(&graph, 5, v->name, (int)v->dtype, v->shape.dim, v->shape.rank,
                          eml_bytes(v->data, v->bytes));
        else if (v->kind == EML_MG_INPUT)
            eml_pb_value(&graph, 11, v->name, (int)v->dtype, v->stated.dim, v->stated.rank);
        else if (eml_mg_is_output(v) && v->dtype == EML_DT_SEQUENCE)
            encode_list(&graph, v);
        else if (eml_mg_is_output(v))
            eml_pb_value(&graph, 12, v->name, (int)(v->dtype != 0 ? v->dtype : EML_DT_F32), NULL,
                         0);
    }
    eml_pb_int(out, 1, 9);
    eml_pb_msg(out, 7, &graph);
    eml_pb_str(&set, 1, "");
    eml_pb_int(&set, 2, m->opset);
    eml_pb_msg(out, 8, &set);
}

void eml_model_gen_free(struct eml_model_gen *m)
{
    for (uint32_t i = 0; i < m->n_nodes; i++)
        eml_buf_free(&m->nodes[i].pb);
    m->n_nodes = 0;
}
