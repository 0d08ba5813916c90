#include "onnx/check.h"

#include "engine/engine.h"
#include "onnx/wire.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MANY = 255 };

/* What the standard says of one version of an operator. */
struct standard {
    const char *name;
    int since;
    uint8_t in_min, in_max, out_min, out_max;
    const char *attrs;
};
static const struct standard standards[] = {
#define HISTORY(...) {__VA_ARGS__},
#include "onnx/history.def"
#include "onnx/contrib.def" /* "com." sorts behind the capitals */
#undef HISTORY
};
enum { STANDARDS_N = sizeof standards / sizeof standards[0] };

/* What is done of it here: a row of ops.def or import.def. */
struct done {
    const char *name, *since;
    uint8_t in_max, out_max;
    const char *attrs;
    enum eml_op op; /* EML_OP_N for import.def */
};
static const struct done imported[] = {
#define IMPORT(...) {__VA_ARGS__, EML_OP_N},
#include "onnx/import.def"
#undef IMPORT
};

struct check {
    const struct eml_onnx_model *m;
    struct eml_check_report *report;
    uint32_t index;
    const struct eml_onnx_node *node;
    const struct standard *standard;
    struct done done;
    int32_t *dtypes; /* by value id, 0 = not known; operands are filled in before their readers */
};

/* One word of a table's string: name, then a separator out of `marks`, then the rest. */
struct word {
    const char *name, *rest;
    size_t name_len, rest_len;
};

static bool next_word(const char **at, const char *marks, struct word *w)
{
    *at += strspn(*at, " ");
    size_t n = strcspn(*at, " "), name = strcspn(*at, marks);
    *w = (struct word){.name = *at, .name_len = name < n ? name : n};
    w->rest = *at + w->name_len;
    w->rest_len = n - w->name_len;
    *at += n;
    return n > 0;
}

static bool is(const char *s, size_t n, const char *name)
{
    return strlen(name) == n && memcmp(s, name, n) == 0;
}

static bool find_word(const char *words, const char *marks, const char *name, struct word *w)
{
    while (next_word(&words, marks, w))
        if (is(w->name, w->name_len, name))
            return true;
    return false;
}

/* The version in force: the highest that is not above the opset. NULL if there is none. */
static const struct standard *in_force(const char *op, int64_t opset, bool *exists)
{
    const struct standard *found = NULL;
    size_t lo = 0, hi = STANDARDS_N;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(standards[mid].name, op) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *exists = false;
    for (; lo < STANDARDS_N && strcmp(standards[lo].name, op) == 0; lo++) {
        *exists = true;
        if (standards[lo].since <= opset)
            found = &standards[lo];
    }
    return found;
}

static bool find_done(const char *op, struct done *out)
{
    for (size_t i = 0; i < sizeof imported / sizeof imported[0]; i++)
        if (strcmp(imported[i].name, op) == 0) {
            *out = imported[i];
            return true;
        }
    for (enum eml_op i = 0; i < EML_OP_N; i++) {
        const struct eml_op_info *info = eml_op_info(i);
        if (info->since[0] != '\0' && strcmp(info->name, op) == 0) {
            *out =
                (struct done){info->name, info->since, info->in_max, info->out_max, info->attrs, i};
            return true;
        }
    }
    return false;
}

bool eml_check_dtype(int32_t dtype)
{
    return eml_dtype_bytes((enum eml_dtype)dtype) != 0;
}

static const char *const type_words[] = {
    [EML_ONNX_ATTR_FLOAT] = "f",          [EML_ONNX_ATTR_INT] = "i",
    [EML_ONNX_ATTR_STRING] = "s",         [EML_ONNX_ATTR_TENSOR] = "t",
    [EML_ONNX_ATTR_GRAPH] = "g",          [EML_ONNX_ATTR_FLOATS] = "fs",
    [EML_ONNX_ATTR_INTS] = "is",          [EML_ONNX_ATTR_STRINGS] = "ss",
    [EML_ONNX_ATTR_TENSORS] = "ts",       [EML_ONNX_ATTR_GRAPHS] = "gs",
    [EML_ONNX_ATTR_SPARSE_TENSOR] = "sp", [EML_ONNX_ATTR_SPARSE_TENSORS] = "sps",
    [EML_ONNX_ATTR_TYPE_PROTO] = "tp",    [EML_ONNX_ATTR_TYPE_PROTOS] = "tps",
};

#define PROBLEM(c, kind, ...) eml_check_add((c)->report, (c)->m, (c)->index, kind, __VA_ARGS__)

/* The value of an enumeration must be one of a|b|c. */
static void check_enum(const struct check *c, const struct eml_onnx_attr *a, struct eml_bytes value,
                       const struct word *w)
{
    const bool list = w->rest[2] == 's'; /* "=es:" against "=e:" */
    const char *at = w->rest + (list ? 4 : 3), *end = w->rest + w->rest_len;
    while (at < end) {
        size_t n = strcspn(at, "| ");
        const char *text = (const char *)value.ptr;
        if (n == value.len &&
            (list ? strncasecmp(at, text, n) == 0 : n == 0 || memcmp(at, text, n) == 0))
            return;
        at += n + 1;
    }
    bool printable = value.len > 0 && value.len < 64 && eml_onnx_utf8(value);
    PROBLEM(c, EML_CHECK_ATTRIBUTE, "%s = '%.*s' is not supported", a->name,
            printable ? (int)value.len : 0, printable ? (const char *)value.ptr : "");
}

static void check_tensors(const struct check *c, const struct eml_onnx_attr *a)
{
    for (size_t i = 0; a->tensors != NULL && i < a->n; i++) {
        if (!eml_check_dtype(a->tensors[i].dtype))
            PROBLEM(c, EML_CHECK_TYPE, "%s has element type %s, which is not supported", a->name,
                    eml_onnx_dtype_name(a->tensors[i].dtype));
        else if (a->tensors[i].rank > EML_RANK_MAX)
            PROBLEM(c, EML_CHECK_TYPE, "%s has rank %u, at most %d is supported", a->name,
                    (unsigned)a->tensors[i].rank, EML_RANK_MAX);
    }
}

static void check_attr(const struct check *c, const struct eml_onnx_attr *a)
{
    struct word w;
    if (!find_word(c->standard->attrs, ":", a->name, &w)) {
        PROBLEM(c, EML_CHECK_ATTRIBUTE, "%s is no attribute of %s-%d", a->name, c->node->op_type,
                c->standard->since);
        return;
    }
    size_t type_len = strcspn(w.rest + 1, "! ");
    if (!is(w.rest + 1, type_len, type_words[a->type])) {
        PROBLEM(c, EML_CHECK_ATTRIBUTE, "%s has the wrong type", a->name);
        return;
    }
    if (!find_word(c->done.attrs, "=>", a->name, &w)) {
        PROBLEM(c, EML_CHECK_ATTRIBUTE, "attribute %s is not supported", a->name);
        return;
    }
    for (size_t i = 0; w.rest_len > 3 && memcmp(w.rest, "=e", 2) == 0 && i < a->n; i++)
        check_enum(c, a, a->strings[i], &w);
    check_tensors(c, a);
}

static void check_attrs(const struct check *c)
{
    const char *at = c->standard->attrs;
    struct word w;
    while (next_word(&at, ":", &w)) {
        char name[64];
        if (w.rest_len == 0 || w.rest[w.rest_len - 1] != '!' || w.name_len >= sizeof name)
            continue;
        memcpy(name, w.name, w.name_len);
        name[w.name_len] = '\0';
        if (eml_onnx_attr(c->node, name) == NULL)
            PROBLEM(c, EML_CHECK_ATTRIBUTE, "attribute %s is missing", name);
    }
    for (uint32_t i = 0; i < c->node->n_attr; i++)
        check_attr(c, &c->node->attr[i]);
}

/* How many results of the node can be had. */
static uint32_t results_done(const struct check *c)
{
    const struct eml_onnx_attr *training = eml_onnx_attr(c->node, "training_mode");
    bool trains = training != NULL && training->type == EML_ONNX_ATTR_INT && training->ints[0] != 0;
    if (c->done.op == EML_OP_BATCH_NORMALIZATION && !trains)
        return 1; /* statistics change in training only */
    return c->done.out_max;
}

static void check_arity(const struct check *c)
{
    const struct eml_onnx_node *n = c->node;
    const struct standard *s = c->standard;
    if (n->n_in < s->in_min || (n->n_in > s->in_max && s->in_max != MANY))
        PROBLEM(c, EML_CHECK_ARITY, "%s-%d takes %u to %u inputs, here are %u", n->op_type,
                s->since, s->in_min, s->in_max, (unsigned)n->n_in);
    else if (n->n_in > c->done.in_max && c->done.in_max != MANY)
        PROBLEM(c, EML_CHECK_ARITY, "more than %u inputs are not supported", c->done.in_max);
    if (n->n_out < s->out_min || (n->n_out > s->out_max && s->out_max != MANY))
        PROBLEM(c, EML_CHECK_ARITY, "%s-%d has %u to %u outputs, here are %u", n->op_type, s->since,
                s->out_min, s->out_max, (unsigned)n->n_out);
    /* an output that nobody reads is not computed */
    uint32_t out_max = results_done(c);
    for (uint32_t i = out_max; i < n->n_out && out_max != MANY; i++)
        if (n->out[i] != EML_ONNX_ABSENT && c->m->values[n->out[i]].n_uses > 0)
            PROBLEM(c, EML_CHECK_ARITY, "output %u ('%s') is not supported", (unsigned)i,
                    c->m->values[n->out[i]].name);
}

static bool dtype_problem(const struct eml_onnx_type *t)
{
    return (t->kind == EML_ONNX_TYPE_TENSOR || t->kind == EML_ONNX_TYPE_SEQUENCE) &&
           t->dtype != 0 && !eml_check_dtype(t->dtype);
}

static void check_output_types(const struct check *c)
{
    for (uint32_t i = 0; i < c->node->n_out; i++) {
        if (c->node->out[i] == EML_ONNX_ABSENT)
            continue;
        const struct eml_onnx_value *v = &c->m->values[c->node->out[i]];
        if (v->type.kind == EML_ONNX_TYPE_OTHER)
            PROBLEM(c, EML_CHECK_TYPE, "output '%s' is not a tensor", v->name);
        else if (dtype_problem(&v->type))
            PROBLEM(c, EML_CHECK_TYPE, "output '%s' has element type %s, which is not supported",
                    v->name, eml_onnx_dtype_name(v->type.dtype));
    }
    const struct eml_onnx_attr *to =
        strcmp(c->node->op_type, "Cast") == 0 ? eml_onnx_attr(c->node, "to") : NULL;
    if (to != NULL && to->type == EML_ONNX_ATTR_INT &&
        (to->ints[0] < 1 || to->ints[0] > 64 ||
         !eml_types_has(eml_op_info(EML_OP_CAST)->types, (enum eml_dtype)to->ints[0])))
        PROBLEM(
            c, EML_CHECK_TYPE, "cast to %s is not supported",
            eml_onnx_dtype_name(to->ints[0] < 64 && to->ints[0] > 0 ? (int32_t)to->ints[0] : 0));
}

static int32_t operand_dtype(const struct check *c, uint32_t i)
{
    const struct eml_onnx_node *n = c->node;
    return i < n->n_in && n->in[i] != EML_ONNX_ABSENT ? c->dtypes[n->in[i]] : 0;
}

static int32_t constant_dtype(const struct eml_onnx_node *n, int32_t otherwise)
{
    const struct eml_onnx_attr *value = eml_onnx_attr(n, "value");
    return value != NULL && value->type == EML_ONNX_ATTR_TENSOR ? value->tensors[0].dtype
                                                                : otherwise;
}

/* The type that an attribute names, or another. */
static int32_t named_dtype(const struct check *c, const char *attr, int32_t otherwise)
{
    const struct eml_onnx_attr *a = eml_onnx_attr(c->node, attr);
    if (a == NULL || a->type != EML_ONNX_ATTR_INT)
        return otherwise;
    return a->ints[0] > 0 && a->ints[0] < 64 ? (int32_t)a->ints[0] : 0;
}

/* The element type that result i of a node has, as far as it follows without shapes. */
static int32_t result_dtype(const struct check *c, uint32_t i)
{
    const struct eml_onnx_attr *to = eml_onnx_attr(c->node, "to");
    if (c->done.op < EML_OP_N && eml_op_runs_dynamically(c->done.op))
        return 0; /* found by the dry run */
    switch (c->done.op) {
    case EML_OP_CAST:
        return to != NULL && to->type == EML_ONNX_ATTR_INT && to->ints[0] > 0 && to->ints[0] < 64
                   ? (int32_t)to->ints[0]
                   : 0;
    case EML_OP_N: /* Constant; others keep their operand's type */
        if (c->node->domain[0] != '\0')
            return 0;
        return constant_dtype(c->node, operand_dtype(c, 0));
    case EML_OP_CONSTANT_OF_SHAPE:
        return constant_dtype(c->node, EML_DT_F32);
    case EML_OP_SHAPE:
    case EML_OP_SIZE:
    case EML_OP_ARG_MAX:
    case EML_OP_ARG_MIN:
    case EML_OP_NON_MAX_SUPPRESSION:
    case EML_OP_NON_ZERO:
        return EML_DT_I64;
    case EML_OP_EQUAL:
    case EML_OP_LESS:
    case EML_OP_GREATER:
    case EML_OP_LESS_OR_EQUAL:
    case EML_OP_GREATER_OR_EQUAL:
    case EML_OP_IS_INF:
    case EML_OP_IS_NAN:
    case EML_OP_REGEX_FULL_MATCH:
        return EML_DT_BOOL;
    case EML_OP_EYE_LIKE:
        return named_dtype(c, "dtype", operand_dtype(c, 0));
    case EML_OP_HANN_WINDOW:
    case EML_OP_HAMMING_WINDOW:
    case EML_OP_BLACKMAN_WINDOW:
    case EML_OP_MEL_WEIGHT_MATRIX:
        return named_dtype(c, "output_datatype", EML_DT_F32);
    case EML_OP_RANDOM_NORMAL:
    case EML_OP_RANDOM_UNIFORM:
        return named_dtype(c, "dtype", EML_DT_F32);
    case EML_OP_RANDOM_NORMAL_LIKE:
    case EML_OP_RANDOM_UNIFORM_LIKE:
    case EML_OP_BERNOULLI:
        return named_dtype(c, "dtype", operand_dtype(c, 0));
    case EML_OP_MULTINOMIAL:
        return named_dtype(c, "dtype", EML_DT_I32);
    case EML_OP_TF_IDF_VECTORIZER:
        return EML_DT_F32;
    case EML_OP_DROPOUT:
        return i == 0 ? operand_dtype(c, 0) : EML_DT_BOOL;
    case EML_OP_ADAGRAD:
    case EML_OP_ADAM:
    case EML_OP_MOMENTUM:
        return operand_dtype(c, 2);
    case EML_OP_LAYER_NORMALIZATION:
        return i == 0 ? operand_dtype(c, 0) : EML_DT_F32;
    case EML_OP_TOP_K:
    case EML_OP_UNIQUE:
    case EML_OP_MAX_POOL:
        return i == 0 ? operand_dtype(c, 0) : EML_DT_I64;
    case EML_OP_ONE_HOT:
        return operand_dtype(c, 2);
    case EML_OP_QUANTIZE_LINEAR:         /* by its zero point or an attribute */
    case EML_OP_DYNAMIC_QUANTIZE_LINEAR: /* of two types */
        return 0;
    case EML_OP_MATMUL_INTEGER:
    case EML_OP_CONV_INTEGER:
        return EML_DT_I32;
    case EML_OP_MATMUL_INTEGER_TO_FLOAT:
        return EML_DT_F32;
    case EML_OP_QLINEAR_MATMUL:
    case EML_OP_QLINEAR_CONV:
        return operand_dtype(c, 7);
    case EML_OP_DEQUANTIZE_LINEAR:
    case EML_OP_WHERE:
    case EML_OP_CAST_LIKE:
        return operand_dtype(c, 1);
    default:
        return operand_dtype(c, 0);
    }
}

/* Half precision is computed in float32: decomposition casts. */
static bool takes(enum eml_op op, int32_t t)
{
    const uint32_t types = eml_op_info(op)->types;
    bool half = t == EML_DT_F16 || t == EML_DT_BF16;
    return eml_types_has(types, (enum eml_dtype)t) || (half && eml_types_has(types, EML_DT_F32));
}

static void check_operand_type(const struct check *c)
{
    const int32_t t = operand_dtype(c, c->done.op != EML_OP_N ? eml_op_typed(c->done.op) : 0);
    if (c->done.op != EML_OP_N && t != 0 && eml_check_dtype(t) && !takes(c->done.op, t))
        PROBLEM(c, EML_CHECK_TYPE, "%s", eml_dtype_refusal((enum eml_dtype)t));
    for (uint32_t i = 0; i < c->node->n_out; i++)
        if (c->node->out[i] != EML_ONNX_ABSENT && c->dtypes[c->node->out[i]] == 0)
            c->dtypes[c->node->out[i]] = result_dtype(c, i);
}

/* " 9 11 13" holds 11. */
static bool lists(const char *numbers, int wanted)
{
    while (*numbers != '\0') {
        int v = 0;
        for (; *numbers >= '0' && *numbers <= '9'; numbers++)
            v = v * 10 + (*numbers - '0');
        if (v == wanted)
            return true;
        numbers += *numbers == ' ';
    }
    return false;
}

/* Sets c->standard and c->done; false if there is nothing to compare with, after saying why. */
static bool find_operator(struct check *c)
{
    const struct eml_onnx_node *n = c->node;
    bool exists = false;
    if (n->function != NULL)
        return false; /* its body is checked by itself */
    char name[128];
    if (!eml_onnx_op_name(n, name)) {
        PROBLEM(c, EML_CHECK_OPERATOR, "operators of domain %s are not supported", n->domain);
        return false;
    }
    c->standard = in_force(name, n->opset, &exists);
    if (!exists) {
        PROBLEM(c, EML_CHECK_OPERATOR, "not an operator of the ONNX standard (up to opset %d)%s",
                EML_CHECK_OPSET_MAX, n->domain[0] != '\0' ? ", nor a known one of its domain" : "");
        return false;
    }
    if (!find_done(name, &c->done)) {
        bool image = strcmp(n->op_type, "ImageDecoder") == 0;
        PROBLEM(c, EML_CHECK_OPERATOR, "%s",
                image ? "image files are not decoded in the enclave: give the model pixels"
                      : "operator not supported");
        return false;
    }
    if (c->standard == NULL || strcmp(c->standard->attrs, "deprecated") == 0) {
        PROBLEM(c, EML_CHECK_VERSION, "not in the standard at opset %lld", (long long)n->opset);
        return false;
    }
    if (!lists(c->done.since, c->standard->since)) {
        PROBLEM(c, EML_CHECK_VERSION, "version %d is not supported, only %s", c->standard->since,
                c->done.since);
        return false;
    }
    return true;
}

static void check_node(const struct eml_onnx_model *m, uint32_t i, int32_t *dtypes,
                       struct eml_check_report *r)
{
    struct check c = {.m = m, .report = r, .index = i, .node = &m->nodes[i], .dtypes = dtypes};
    if (!find_operator(&c))
        return;
    check_arity(&c);
    check_attrs(&c);
    check_output_types(&c);
    check_operand_type(&c);
}

static void check_value(const struct eml_onnx_model *m, const struct eml_onnx_value *v,
                        const char *what, int32_t dtype, bool has_rank, uint32_t rank,
                        struct eml_check_report *r)
{
    if (!eml_check_dtype(dtype))
        eml_check_add(r, m, EML_CHECK_NO_NODE, EML_CHECK_TYPE,
                      "%s '%s' has element type %s, which is not supported", what, v->name,
                      eml_onnx_dtype_name(dtype));
    if (has_rank && rank > EML_RANK_MAX)
        eml_check_add(r, m, EML_CHECK_NO_NODE, EML_CHECK_TYPE,
                      "%s '%s' has rank %u, at most %d is supported", what, v->name, (unsigned)rank,
                      EML_RANK_MAX);
}

/* `inner`: of a subgraph or function, whose inputs need no type. */
static void check_values(const struct eml_onnx_model *m, bool inner, struct eml_check_report *r)
{
    for (uint32_t i = 0; i < m->n_values; i++) {
        const struct eml_onnx_value *v = &m->values[i];
        if (v->init != NULL && v->n_uses > 0)
            check_value(m, v, "initializer", v->init->dtype, true, v->init->rank, r);
        bool list = v->type.kind == EML_ONNX_TYPE_SEQUENCE;
        bool untold = inner && v->type.kind == EML_ONNX_TYPE_NONE;
        if (v->is_input && (v->type.kind == EML_ONNX_TYPE_TENSOR || list) && v->type.dtype != 0)
            check_value(m, v, "input", v->type.dtype, v->type.has_rank, v->type.rank, r);
        else if (v->is_input && !untold)
            eml_check_add(r, m, EML_CHECK_NO_NODE, EML_CHECK_TYPE, "input '%s' is not a tensor",
                          v->name);
    }
    if (m->n_outputs == 0 && !inner)
        eml_check_add(r, m, EML_CHECK_NO_NODE, EML_CHECK_OTHER, "the graph has no output");
}

static enum eml_err check_graph(const struct eml_onnx_model *m, bool inner,
                                struct eml_check_report *r)
{
    int32_t *dtypes = calloc((size_t)m->n_values + 1, sizeof *dtypes);
    if (dtypes == NULL)
        return EML_E_SYSTEM;
    for (uint32_t i = 0; i < m->n_values; i++)
        dtypes[i] = m->values[i].init != NULL ? m->values[i].init->dtype : m->values[i].type.dtype;
    check_values(m, inner, r);
    for (uint32_t i = 0; i < m->n_nodes; i++)
        check_node(m, i, dtypes, r);
    free(dtypes);
    return EML_OK;
}

/* Graphs still to check. */
struct graphs {
    const struct eml_onnx_model **list;
    size_t n, cap;
};

static bool add_graph(struct graphs *g, const struct eml_onnx_model *m)
{
    if (g->n == g->cap) {
        size_t cap = g->cap == 0 ? 16 : 2 * g->cap;
        const struct eml_onnx_model **bigger = realloc(g->list, cap * sizeof *bigger);
        if (bigger == NULL)
            return false;
        g->list = bigger;
        g->cap = cap;
    }
    g->list[g->n++] = m;
    return true;
}

/* The graphs that stand in m's nodes. */
static bool add_inner(struct graphs *g, const struct eml_onnx_model *m)
{
    bool ok = true;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const struct eml_onnx_node *n = &m->nodes[i];
        if (n->function != NULL)
            ok = ok && add_graph(g, n->function);
        for (uint32_t k = 0; k < n->n_attr; k++)
            for (size_t j = 0; n->attr[k].graphs != NULL && j < n->attr[k].n; j++)
                ok = ok && add_graph(g, n->attr[k].graphs[j].graph);
    }
    return ok;
}

enum eml_err eml_check_static(const struct eml_onnx_model *m, struct eml_check_report *r)
{
    int64_t opset = eml_onnx_opset(m, "");
    struct graphs g = {0};
    if (opset > EML_CHECK_OPSET_MAX)
        eml_check_add(r, m, EML_CHECK_NO_NODE, EML_CHECK_OPSET,
                      "opset %lld is newer than the newest known, %d", (long long)opset,
                      EML_CHECK_OPSET_MAX);
    enum eml_err e = check_graph(m, false, r);
    bool ok = add_inner(&g, m);
    for (size_t i = 0; ok && e == EML_OK && i < g.n; i++) {
        e = check_graph(g.list[i], true, r);
        ok = add_inner(&g, g.list[i]);
    }
    free(g.list);
    EML_TRY(e);
    return r->failed || !ok ? EML_E_SYSTEM : EML_OK;
}
