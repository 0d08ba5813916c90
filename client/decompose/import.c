/* ONNX to graph. Every node becomes one node of the newest operator version, guided by the
 * attribute grammar of ops.def: integer attributes keep their place, floats become params,
 * attributes that later versions turned into operands become constants. What exists only in ONNX
 * goes: Constant, Identity, Dropout. Semantics that changed between versions are spelled out
 * (Softmax before 13, Resize before 11, Upsample). Facts are inferred on the way, because some of
 * that needs ranks.
 */
#include "decompose/composite.h"
#include "decompose/import.h"

#include "base/checked.h"
#include "engine/formats.h"
#include "engine/rnn.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum eml_err eml_import_refuse(const struct import *im, const char *rule)
{
    return eml_fail(im->why, EML_E_UNSUPPORTED, rule, im->index);
}

enum eml_err eml_import_tensor(const struct import *im, const struct eml_onnx_tensor *t,
                               struct eml_ir_value **out)
{
    struct eml_shape s = {.rank = t->rank};
    size_t width = eml_dtype_bytes((enum eml_dtype)t->dtype), bytes;
    if (width == 0)
        return eml_import_refuse(im, "decompose: constant of an unsupported type");
    if (!eml_onnx_tensor_size(t, &bytes))
        return eml_fail(im->why, EML_E_INPUT, "decompose: constant of the wrong size", im->index);
    if (t->rank > EML_RANK_MAX)
        return eml_import_refuse(im, "decompose: constant of more than 8 dims");
    for (uint32_t i = 0; i < t->rank; i++)
        s.dim[i] = t->dims[i];
    const void *data = t->data.ptr;
    if (bytes == 0 || bytes != t->data.len || (uintptr_t)data % width != 0) {
        void *copy = eml_ir_alloc(im->ir, bytes);
        if (copy != NULL)
            eml_onnx_tensor_copy(t, copy);
        data = copy;
    }
    *out = eml_ir_const(im->ir, (enum eml_dtype)t->dtype, &s, data);
    return EML_OK;
}

/* ---- the attribute grammar ---- */

struct word {                /* one word of the grammar */
    const char *name, *rest; /* rest: after the name, from '=' or '>' */
    size_t name_len, rest_len;
};

static bool next_word(const char **at, struct word *w)
{
    const char *p = *at + strspn(*at, " ");
    size_t len = strcspn(p, " ");
    if (len == 0)
        return false;
    w->name = p;
    w->name_len = strcspn(p, "=>");
    w->rest = p + w->name_len;
    w->rest_len = len - w->name_len;
    *at = p + len;
    return true;
}

static bool find_word(const char *grammar, const char *name, struct word *w)
{
    while (next_word(&grammar, w))
        if (strlen(name) == w->name_len && memcmp(name, w->name, w->name_len) == 0)
            return true;
    return false;
}

static bool attr_id(const struct word *w, enum eml_attr_id *id)
{
    static const char *const names[] = {
#define ATTR(attr, name) name,
#include "model/attrs.def"
#undef ATTR
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strlen(names[i]) == w->name_len && memcmp(names[i], w->name, w->name_len) == 0) {
            *id = (enum eml_attr_id)i;
            return true;
        }
    return false;
}

/* Index of s in "=e:a|b|c", or in any case in "=es:a|b|c"; or -1. */
static int64_t enum_index(const struct word *w, struct eml_bytes s)
{
    const bool list = w->rest[2] == 's';
    const char *p = w->rest + (list ? 4 : 3), *end = w->rest + w->rest_len;
    for (int64_t i = 0; p < end; i++) {
        size_t len = strcspn(p, "| ");
        if (len == s.len && (len == 0 || (list ? strncasecmp(p, (const char *)s.ptr, len) == 0
                                               : memcmp(p, s.ptr, len) == 0)))
            return i;
        p += len + 1;
    }
    return -1;
}

static enum eml_err import_strings(const struct import *im, const struct eml_onnx_attr *a,
                                   struct eml_ir_value **out)
{
    int64_t n = (int64_t)a->n;
    struct eml_onnx_tensor t = {.dtype = EML_DT_STRING,
                                .rank = a->type == EML_ONNX_ATTR_STRINGS,
                                .dims = &n,
                                .count = (uint64_t)n,
                                .strings = a->strings};
    return eml_import_tensor(im, &t, out);
}

/* An old version's attribute that is operand `at` now. */
static enum eml_err attr_to_operand(const struct import *im, const struct eml_onnx_attr *a,
                                    uint32_t at, struct eml_ir_node *n)
{
    struct eml_ir_value *v = NULL;
    if (a->type == EML_ONNX_ATTR_INTS || a->type == EML_ONNX_ATTR_INT)
        v = eml_ir_const_ints(im->ir, a->ints, (uint32_t)a->n);
    else if (a->type == EML_ONNX_ATTR_FLOAT)
        v = eml_ir_const_f32(im->ir, a->floats[0]);
    else if (a->type == EML_ONNX_ATTR_FLOATS) {
        struct eml_shape s = {1, {(int64_t)a->n}};
        v = eml_ir_const(im->ir, EML_DT_F32, &s,
                         a->n != 0 ? (const void *)a->floats : eml_ir_alloc(im->ir, 0));
    } else if (a->type == EML_ONNX_ATTR_TENSOR)
        EML_TRY(eml_import_tensor(im, a->tensors, &v));
    else if (a->type == EML_ONNX_ATTR_STRING || a->type == EML_ONNX_ATTR_STRINGS)
        EML_TRY(import_strings(im, a, &v));
    else
        return eml_import_refuse(im, "decompose: attribute of an unexpected type");
    eml_ir_set_in(im->ir, n, at, v);
    return EML_OK;
}

/* A list of strings as the list of their indices. */
static enum eml_err attr_to_indices(const struct import *im, const struct eml_onnx_attr *a,
                                    const struct word *w, enum eml_attr_id id,
                                    struct eml_ir_node *n)
{
    int64_t index[EML_ATTR_INTS_MAX];
    if (a->type != EML_ONNX_ATTR_STRINGS || a->n > EML_ATTR_INTS_MAX)
        return eml_import_refuse(im, "decompose: attribute of an unexpected type, or too long");
    for (size_t i = 0; i < a->n; i++) {
        index[i] = enum_index(w, a->strings[i]);
        if (index[i] < 0)
            return eml_import_refuse(im, "decompose: attribute with a value that is not supported");
    }
    eml_ir_set_attr(im->ir, n, id, index, (uint32_t)a->n);
    return EML_OK;
}

/* A text as the list of its bytes. */
static enum eml_err attr_text(const struct import *im, const struct eml_onnx_attr *a,
                              const struct word *w, struct eml_ir_node *n)
{
    int64_t bytes[EML_ATTR_INTS_MAX];
    enum eml_attr_id id;
    if (a->type != EML_ONNX_ATTR_STRING)
        return eml_import_refuse(im, "decompose: attribute of an unexpected type");
    if (a->strings[0].len > EML_ATTR_INTS_MAX)
        return eml_import_refuse(im, "decompose: attribute too long");
    for (size_t i = 0; i < a->strings[0].len; i++)
        bytes[i] = a->strings[0].ptr[i];
    if (!attr_id(w, &id))
        EML_BUG();
    eml_ir_set_attr(im->ir, n, id, bytes, (uint32_t)a->strings[0].len);
    return EML_OK;
}

static enum eml_err import_attr(const struct import *im, const struct eml_onnx_attr *a,
                                struct eml_ir_node *n)
{
    struct word w;
    enum eml_attr_id id;
    if (!find_word(eml_op_info(n->op)->attrs, a->name, &w))
        return eml_import_refuse(im, "decompose: attribute that is not supported");
    if (w.rest[0] == '>')
        return attr_to_operand(im, a, (uint32_t)(w.rest[1] - '0'), n);
    switch (w.rest[1]) {
    case 'x':
        return EML_OK;
    case 's':
        return attr_text(im, a, &w, n);
    case 'p':
        if (a->type != EML_ONNX_ATTR_FLOAT && a->type != EML_ONNX_ATTR_INT)
            return eml_import_refuse(im, "decompose: attribute of an unexpected type");
        n->params[w.rest[2] - '0'] =
            a->type == EML_ONNX_ATTR_FLOAT ? a->floats[0] : (float)a->ints[0];
        return EML_OK;
    case 'e':
        if (w.rest[2] == 's')
            return attr_id(&w, &id) ? attr_to_indices(im, a, &w, id, n) : EML_E_SYSTEM;
        if (a->type != EML_ONNX_ATTR_STRING || enum_index(&w, a->strings[0]) < 0)
            return eml_import_refuse(im, "decompose: attribute with a value that is not supported");
        if (!attr_id(&w, &id))
            EML_BUG();
        eml_ir_set_int(im->ir, n, id, enum_index(&w, a->strings[0]));
        return EML_OK;
    default:
        if (a->type != EML_ONNX_ATTR_INT && a->type != EML_ONNX_ATTR_INTS)
            return eml_import_refuse(im, "decompose: attribute of an unexpected type");
        if (a->n > EML_ATTR_INTS_MAX)
            return eml_import_refuse(im, "decompose: attribute too long");
        if (!attr_id(&w, &id))
            EML_BUG();
        eml_ir_set_attr(im->ir, n, id, a->ints, (uint32_t)a->n);
        return EML_OK;
    }
}

static void default_params(struct eml_ir_node *n)
{
    const char *at = eml_op_info(n->op)->attrs;
    struct word w;
    while (next_word(&at, &w))
        if (w.rest_len > 4 && w.rest[0] == '=' && w.rest[1] == 'p') {
            uint32_t k = (uint32_t)(w.rest[2] - '0');
            n->params[k] = strtof(w.rest + 4, NULL);
            n->n_params = k + 1 > n->n_params ? k + 1 : n->n_params;
        }
}

/* ---- operators whose meaning changed, or that the graph does not have ---- */

static enum eml_err constant(struct import *im)
{
    const struct eml_onnx_attr *a = im->node->n_attr == 1 ? &im->node->attr[0] : NULL;
    struct eml_ir_value **out = &im->values[im->node->out[0]];
    struct eml_shape s = {0};
    if (a == NULL)
        return eml_import_refuse(im, "decompose: Constant without exactly one attribute");
    if (a->type == EML_ONNX_ATTR_TENSOR)
        return eml_import_tensor(im, a->tensors, out);
    if (a->type == EML_ONNX_ATTR_FLOATS || a->type == EML_ONNX_ATTR_INTS)
        s = (struct eml_shape){1, {(int64_t)a->n}};
    if (a->type == EML_ONNX_ATTR_FLOAT || a->type == EML_ONNX_ATTR_FLOATS)
        *out =
            eml_ir_const(im->ir, EML_DT_F32, &s, a->n != 0 ? a->floats : eml_ir_alloc(im->ir, 0));
    else if (a->type == EML_ONNX_ATTR_INT || a->type == EML_ONNX_ATTR_INTS)
        *out = eml_ir_const(im->ir, EML_DT_I64, &s, a->n != 0 ? a->ints : eml_ir_alloc(im->ir, 0));
    else
        return eml_import_refuse(im, "decompose: Constant of an unsupported kind");
    return EML_OK;
}

/* Operand i is a constant bool that is false, or absent. */
static bool absent_or_false(const struct import *im, uint32_t i)
{
    if (i >= im->node->n_in || im->node->in[i] == EML_ONNX_ABSENT)
        return true;
    const struct eml_ir_value *v = im->values[im->node->in[i]];
    return v != NULL && v->data != NULL && v->dtype == EML_DT_BOOL && eml_ir_count(v) == 1 &&
           *(const uint8_t *)v->data == 0;
}

/* Output i of the ONNX node has a reader. */
static bool is_read(const struct import *im, uint32_t output)
{
    return output < im->node->n_out && im->node->out[output] != EML_ONNX_ABSENT &&
           im->model->values[im->node->out[output]].n_uses != 0;
}

/* Identity, and Dropout in inference whose mask is not read. */
static bool passes_through(const struct import *im)
{
    if (im->node->domain[0] != 0)
        return false;
    if (strcmp(im->node->op_type, "Dropout") == 0)
        return absent_or_false(im, 2) && !is_read(im, 1) && im->node->out[0] != EML_ONNX_ABSENT;
    return strcmp(im->node->op_type, "Identity") == 0;
}

/* A node without a seed has its place in the model as one: others then draw other numbers. */
static void default_seed(const struct import *im, struct eml_ir_node *n)
{
    struct word w;
    if (find_word(eml_op_info(n->op)->attrs, "seed", &w) && w.rest[1] == 'p' &&
        eml_onnx_attr(im->node, "seed") == NULL)
        n->params[w.rest[2] - '0'] = (float)im->index + 0.5F;
}

/* The size of the result, which the largest index tells. */
static enum eml_err tf_idf(const struct import *im, struct eml_ir_node *n)
{
    const struct eml_onnx_attr *indexes = eml_onnx_attr(im->node, "ngram_indexes");
    int64_t largest = -1;
    for (size_t i = 0; indexes != NULL && indexes->type == EML_ONNX_ATTR_INTS && i < indexes->n;
         i++)
        largest = indexes->ints[i] > largest ? indexes->ints[i] : largest;
    if (largest < 0 || largest == INT64_MAX)
        return eml_fail(im->why, EML_E_INPUT, "TfIdfVectorizer: malformed pool", im->index);
    eml_ir_set_int(im->ir, n, EML_ATTR_SIZE, largest + 1);
    return EML_OK;
}

/* Before version 13 the dims from `axis` on were one dim; the default axis was 1. */
static enum eml_err old_softmax(struct import *im, struct eml_ir_node *n)
{
    struct eml_ir *ir = im->ir;
    struct eml_ir_value *x = n->in[0];
    int64_t axis = eml_ir_int(n, EML_ATTR_AXIS, 1);
    if (!x->has_rank)
        return eml_import_refuse(im,
                                 "decompose: Softmax before version 13 of a value of unknown rank");
    int64_t rank = x->shape.rank;
    if (axis < -rank || axis > rank)
        return eml_fail(im->why, EML_E_INPUT, "decompose: axis out of range", im->index);
    axis += axis < 0 ? rank : 0;
    eml_ir_set_int(ir, n, EML_ATTR_AXIS, -1);
    if (axis == rank - 1)
        return EML_OK;
    struct eml_ir_node *flat = eml_ir_node_new(ir, n, EML_OP_FLATTEN, &x, 1, 1);
    eml_ir_set_int(ir, flat, EML_ATTR_AXIS, axis);
    struct eml_ir_node *shape = eml_ir_node_new(ir, n, EML_OP_SHAPE, &x, 1, 1);
    eml_ir_set_in(ir, n, 0, flat->out[0]);
    struct eml_ir_value *operands[2] = {n->out[0], shape->out[0]};
    struct eml_ir_node *back = eml_ir_node_new(ir, NULL, EML_OP_RESHAPE, operands, 2, 1);
    back->origin = im->index;
    im->values[im->node->out[0]] = back->out[0];
    return EML_OK;
}

enum { ASYMMETRIC = 3, TF_CROP_AND_RESIZE = 4, FLOOR = 2 };

/* How Upsample and Resize before 11 found the source of a pixel. */
static void upsample_rounding(struct eml_ir *ir, struct eml_ir_node *n)
{
    eml_ir_set_int(ir, n, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, ASYMMETRIC);
    eml_ir_set_int(ir, n, EML_ATTR_NEAREST_MODE, FLOOR);
}

/* Puts old scales in their new place and drops a roi that the mode does not read. */
static enum eml_err resize(struct import *im, struct eml_ir_node *n, int64_t version)
{
    struct eml_ir *ir = im->ir;
    if (version < 11) {
        eml_ir_set_in(ir, n, 2, eml_ir_in(n, 1));
        eml_ir_set_in(ir, n, 1, NULL);
        upsample_rounding(ir, n);
    }
    if (eml_ir_in(n, 1) != NULL &&
        eml_ir_int(n, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, 0) != TF_CROP_AND_RESIZE)
        eml_ir_set_in(ir, n, 1, NULL);
    return EML_OK;
}

/* The numbers of a recurrent operator's activations, [activations, 2], as its last operand. The
 * attributes hold them only for those that need them, in order. */
static enum eml_err rnn_numbers(const struct import *im, struct eml_ir_node *n)
{
    static const struct {
        uint8_t needs; /* how many of alpha, beta */
        float alpha, beta;
    } acts[EML_RNN_ACT_N] = {
        [EML_RNN_AFFINE] = {2, 1, 0},
        [EML_RNN_ELU] = {1, 1, 0},
        [EML_RNN_HARD_SIGMOID] = {2, 0.2F, 0.5F},
        [EML_RNN_LEAKY_RELU] = {1, 0.01F, 0},
        [EML_RNN_SCALED_TANH] = {2, 1, 1},
        [EML_RNN_THRESHOLDED_RELU] = {1, 1, 0},
    };
    const struct eml_attr *list = eml_ir_attr(n, EML_ATTR_ACTIVATIONS);
    const struct eml_onnx_attr *given[2] = {eml_onnx_attr(im->node, "activation_alpha"),
                                            eml_onnx_attr(im->node, "activation_beta")};
    size_t at[2] = {0, 0};
    if (list == NULL)
        return EML_OK;
    float *v = eml_ir_alloc(im->ir, list->n * 2 * sizeof(*v));
    for (uint32_t i = 0; v != NULL && i < list->n; i++) {
        v[2 * i] = acts[list->v[i]].alpha;
        v[2 * i + 1] = acts[list->v[i]].beta;
        for (uint32_t k = 0; k < acts[list->v[i]].needs; k++)
            if (given[k] != NULL && given[k]->floats != NULL && at[k] < given[k]->n)
                v[2 * i + k] = given[k]->floats[at[k]++];
    }
    struct eml_shape s = {2, {list->n, 2}};
    eml_ir_set_in(im->ir, n, EML_RNN_NUMBERS, eml_ir_const(im->ir, EML_DT_F32, &s, v));
    return EML_OK;
}

/* Operand i as int64: numbers of any type are allowed where integers are meant. */
static void to_int64(struct eml_ir *ir, struct eml_ir_node *n, uint32_t i)
{
    struct eml_ir_value *v = eml_ir_in(n, i);
    if (v == NULL || v->dtype == EML_DT_I64 || v->dtype == EML_DT_I32)
        return;
    struct eml_ir_node *cast = eml_ir_node_new(ir, n, EML_OP_CAST, &v, 1, 1);
    eml_ir_set_int(ir, cast, EML_ATTR_TO, EML_DT_I64);
    eml_ir_set_in(ir, n, i, cast->out[0]);
}

/* A bound of -2^63 cuts as the next one does, which inference can tell from an unknown one. */
static void least_bound(struct eml_ir *ir, struct eml_ir_node *n, uint32_t i)
{
    const struct eml_ir_value *v = eml_ir_in(n, i);
    if (v == NULL || v->data == NULL || v->dtype != EML_DT_I64 || v->shape.rank > 1)
        return;
    size_t count = eml_ir_count(v);
    int64_t *ints = eml_ir_alloc(ir, count * sizeof(*ints));
    if (ints == NULL)
        return;
    for (size_t k = 0; k < count; k++) {
        int64_t bound = ((const int64_t *)v->data)[k];
        ints[k] = bound < -INT64_MAX ? -INT64_MAX : bound;
    }
    eml_ir_set_in(ir, n, i, eml_ir_const(ir, EML_DT_I64, &v->shape, ints));
}

static enum eml_err normalise(struct import *im, struct eml_ir_node *n)
{
    enum { OUTPUT_HALF_PIXEL = 1 };
    switch (n->op) {
    case EML_OP_ONE_HOT:
        to_int64(im->ir, n, 0);
        to_int64(im->ir, n, 1);
        return EML_OK;
    case EML_OP_SLICE:
        least_bound(im->ir, n, 1);
        least_bound(im->ir, n, 2);
        return EML_OK;
    case EML_OP_ROI_ALIGN: /* before version 16 there was no other mode */
        if (im->node->opset < 16)
            eml_ir_set_int(im->ir, n, EML_ATTR_COORDINATE_TRANSFORMATION_MODE, OUTPUT_HALF_PIXEL);
        return EML_OK;
    case EML_OP_MAX_POOL: /* places of the maxima cost more than the maxima */
        if (!is_read(im, 1))
            n->n_out = 1;
        return EML_OK;
    case EML_OP_SOFTMAX:
    case EML_OP_LOG_SOFTMAX:
    case EML_OP_HARDMAX:
        return im->node->opset < 13 ? old_softmax(im, n) : EML_OK;
    case EML_OP_DFT: /* the default axis changed */
        if (im->node->opset < 20 && eml_ir_in(n, 2) == NULL)
            eml_ir_set_in(im->ir, n, 2, eml_ir_const_ints(im->ir, &(int64_t){1}, 1));
        return EML_OK;
    case EML_OP_RESIZE:
        return resize(im, n, im->node->opset);
    case EML_OP_CAST_LIKE: /* the like operand's elements are never read */
        n->op = EML_OP_CAST;
        eml_ir_set_int(im->ir, n, EML_ATTR_TO, n->in[1]->dtype);
        eml_ir_set_in(im->ir, n, 1, NULL);
        eml_ir_trim(n);
        return EML_OK;
    case EML_OP_TF_IDF_VECTORIZER:
        return tf_idf(im, n);
    case EML_OP_BATCH_NORMALIZATION:
        for (uint32_t i = 1; i < im->node->n_out; i++)
            if (is_read(im, i))
                return eml_import_refuse(
                    im, "decompose: statistics of BatchNormalization in inference");
        n->n_out = 1;
        eml_ir_drop_attr(n, EML_ATTR_TRAINING_MODE);
        return EML_OK;
    case EML_OP_RNN:
    case EML_OP_GRU:
    case EML_OP_LSTM:
        return rnn_numbers(im, n);
    default:
        return EML_OK;
    }
}

/* ---- nodes ---- */

static bool find_op(const char *name, enum eml_op *op)
{
    for (size_t i = 0; i < EML_OP_N && name[0] != 0; i++)
        if (strcmp(eml_op_info((enum eml_op)i)->name, name) == 0) {
            *op = (enum eml_op)i;
            return true;
        }
    return false;
}

enum eml_err eml_import_operands(const struct import *im, struct eml_ir_value **in)
{
    for (uint32_t i = 0; i < im->node->n_in; i++) {
        uint32_t id = im->node->in[i];
        in[i] = id == EML_ONNX_ABSENT ? NULL : im->values[id];
        if (id != EML_ONNX_ABSENT && in[i] == NULL && im->depth <= 1)
            return eml_import_refuse(im, "decompose: operand that is an unsupported output");
    }
    return EML_OK;
}

/* Upsample, which Resize replaced: scales as attribute (7) or operand 1 (9). */
static enum eml_err upsample(struct import *im)
{
    const struct eml_onnx_attr *mode = eml_onnx_attr(im->node, "mode");
    const struct eml_onnx_attr *scales = eml_onnx_attr(im->node, "scales");
    enum { NEAREST, LINEAR };
    struct eml_ir_value *in[EML_NODE_IN_MAX];
    if (im->node->n_in > 2)
        return eml_import_refuse(im, "decompose: number of operands that is not supported");
    EML_TRY(eml_import_operands(im, in));
    struct eml_ir_value *by = im->node->n_in == 2 ? in[1] : NULL;
    if (scales != NULL && scales->type == EML_ONNX_ATTR_FLOATS) {
        struct eml_shape s = {1, {(int64_t)scales->n}};
        by = eml_ir_const(im->ir, EML_DT_F32, &s, scales->floats);
    }
    if (by == NULL)
        return eml_import_refuse(im, "decompose: Upsample without scales");
    struct eml_ir_value *operand[3] = {in[0], NULL, by};
    struct eml_ir_node *n = eml_ir_node_new(im->ir, NULL, EML_OP_RESIZE, operand, 3, 1);
    n->origin = im->index;
    default_params(n);
    upsample_rounding(im->ir, n);
    if (mode != NULL && mode->type == EML_ONNX_ATTR_STRING &&
        !eml_bytes_equal(mode->strings[0], EML_LIT("nearest")))
        eml_ir_set_int(im->ir, n, EML_ATTR_MODE, LINEAR);
    im->values[im->node->out[0]] = n->out[0];
    return EML_OK;
}

/* ---- half precision ----
 *
 * The engine computes in float32 and float64 only. A node on float16 or bfloat16 gets its operands
 * by a Cast to float32, and what it makes is what a Cast makes of its result. A value between two
 * such nodes is never rounded: the second reads what the first made. Operators that only move
 * elements take halves as they are, unless they follow a computation.
 */

static bool is_half(const struct eml_ir_value *v)
{
    return v != NULL && (v->dtype == EML_DT_F16 || v->dtype == EML_DT_BF16);
}

static struct eml_ir_value *cast_to(const struct import *im, struct eml_ir_node *before,
                                    struct eml_ir_value *v, enum eml_dtype to)
{
    struct eml_ir_node *cast = eml_ir_node_new(im->ir, before, EML_OP_CAST, &v, 1, 1);
    cast->origin = im->index;
    eml_ir_set_int(im->ir, cast, EML_ATTR_TO, to);
    cast->out[0]->has_rank = v->has_rank; /* some imports need the rank before inference */
    cast->out[0]->shape = v->shape;
    return cast->out[0];
}

/* Gives n float32 operands. *half is the type that its results have then, NONE if nothing was
 * done. */
static void widen_operands(const struct import *im, struct eml_ir_node *n, enum eml_dtype *half)
{
    struct eml_node as_is = {.op = n->op, .n_attr = n->n_attr, .attr = n->attr};
    bool computed = !eml_types_has(eml_node_types(&as_is), EML_DT_F16);
    *half = EML_DT_NONE;
    if (n->op == EML_OP_CAST || n->op == EML_OP_CAST_LIKE || n->op == EML_OP_SHAPE ||
        n->op == EML_OP_SIZE)
        return;
    for (uint32_t i = 0; i < n->n_in; i++)
        computed = computed || (n->in[i] != NULL && n->in[i]->exact != NULL);
    for (uint32_t i = 0; computed && i < n->n_in; i++) {
        struct eml_ir_value *v = n->in[i];
        if (!is_half(v))
            continue;
        if (n->op != EML_OP_POW || i == 0)
            *half = v->dtype;
        if (v->exact == NULL)
            v->exact = cast_to(im, n, v, EML_DT_F32);
        eml_ir_set_in(im->ir, n, i, v->exact);
    }
}

static enum eml_err import_ordinary(struct import *im, enum eml_dtype *half)
{
    const struct eml_onnx_node *src = im->node;
    struct eml_ir_value *in[EML_NODE_IN_MAX];
    char name[128];
    enum eml_op op;
    /* the only operator that was renamed is Scatter */
    if (!eml_onnx_op_name(src, name) ||
        !find_op(strcmp(name, "Scatter") == 0 ? "ScatterElements" : name, &op))
        return eml_import_refuse(im, "decompose: operator that is not supported");
    if (src->n_in > EML_NODE_IN_MAX || src->n_out > EML_NODE_OUT_MAX)
        return eml_import_refuse(im, "decompose: too many operands");
    EML_TRY(eml_import_operands(im, in));
    const struct eml_op_info *info = eml_op_info(op);
    uint32_t n_out = src->n_out; /* outputs beyond what is supported have no reader */
    if (info->out_max != 255 && n_out > info->out_max)
        n_out = info->out_max;
    struct eml_ir_node *n = eml_ir_node_new(im->ir, NULL, op, in, src->n_in, n_out);
    n->origin = im->index;
    default_params(n);
    default_seed(im, n);
    for (uint32_t i = 0; i < src->n_attr; i++)
        EML_TRY(import_attr(im, &src->attr[i], n));
    if (n->n_in < info->in_min || (info->in_max != 255 && n->n_in > info->in_max))
        return eml_import_refuse(im, "decompose: number of operands that is not supported");
    for (uint32_t i = 0; i < n_out; i++)
        if (src->out[i] != EML_ONNX_ABSENT)
            im->values[src->out[i]] = n->out[i];
    widen_operands(im, n, half);
    return normalise(im, n);
}

/* Rounds the results that ONNX gives the operands' type. */
static enum eml_err narrow_results(const struct import *im, enum eml_dtype half)
{
    /* LayerNormalization's mean and deviation have the type of its stash_type. */
    uint32_t n = strcmp(im->node->op_type, "LayerNormalization") == 0 ? 1 : im->node->n_out;
    struct eml_ir_node *last = im->ir->last;
    for (uint32_t i = 0; half != EML_DT_NONE && i < n; i++) {
        struct eml_ir_value **out = &im->values[im->node->out[i]], *exact = *out;
        if (im->node->out[i] == EML_ONNX_ABSENT || exact == NULL || exact->dtype != EML_DT_F32)
            continue;
        *out = cast_to(im, NULL, exact, half);
        (*out)->exact = exact;
    }
    return last == im->ir->last ? EML_OK : eml_fold_infer_from(im->ir, last->next, im->why);
}

/* A half as float32; a constant stays one. */
static struct eml_ir_value *widened(const struct import *im, struct eml_ir_value *v)
{
    if (v->exact != NULL || v->data == NULL)
        return v->exact != NULL ? v->exact : cast_to(im, NULL, v, EML_DT_F32);
    const size_t n = eml_ir_count(v);
    float *to = eml_ir_alloc(im->ir, n * sizeof(*to));
    for (size_t i = 0; to != NULL && i < n; i++)
        to[i] = (float)eml_format_decode(v->dtype, ((const uint16_t *)v->data)[i]);
    return eml_ir_const(im->ir, EML_DT_F32, &v->shape, to);
}

/* An operator that stands for several of the graph's. */
static enum eml_err composite(struct import *im, const struct eml_composite *c,
                              enum eml_dtype *half)
{
    const struct eml_onnx_node *src = im->node;
    struct eml_ir_value *in[EML_NODE_IN_MAX], *out[EML_NODE_OUT_MAX];
    if (src->n_in > EML_NODE_IN_MAX || src->n_out > EML_NODE_OUT_MAX)
        return eml_import_refuse(im, "decompose: too many operands");
    EML_TRY(eml_import_operands(im, in));
    for (uint32_t i = 0; i < src->n_in; i++) {
        if (!is_half(in[i]))
            continue;
        *half = in[i]->dtype;
        in[i] = in[i]->exact = widened(im, in[i]);
        in[i]->dtype = EML_DT_F32;
    }
    const struct eml_maker m = {im->ir, src, im->index, in, out, im->why};
    EML_TRY(eml_composite_make(c, &m));
    for (uint32_t i = 0; i < src->n_out; i++)
        if (src->out[i] != EML_ONNX_ABSENT)
            im->values[src->out[i]] = out[i];
    return EML_OK;
}

static enum eml_err import_node(struct import *im)
{
    const char *type = im->node->op_type;
    struct eml_ir_node *last = im->ir->last;
    enum eml_dtype half = EML_DT_NONE;
    if (im->node->domain[0] == 0 && strcmp(type, "Constant") == 0)
        return constant(im);
    if (passes_through(im)) {
        im->values[im->node->out[0]] = im->values[im->node->in[0]];
        return EML_OK;
    }
    const struct eml_composite *c = eml_composite_find(im->node);
    if (c != NULL)
        EML_TRY(composite(im, c, &half));
    else if (im->node->domain[0] == 0 && strcmp(type, "Upsample") == 0)
        EML_TRY(upsample(im));
    else
        EML_TRY(import_ordinary(im, &half));
    EML_TRY(eml_fold_infer_from(im->ir, last != NULL ? last->next : im->ir->first, im->why));
    return narrow_results(im, half);
}

/* Unknown dims with the same name are the same number: the place where the name comes first. */
static int64_t first_place(const struct eml_onnx_model *m, uint32_t input, uint32_t dim)
{
    const char *name = m->values[m->inputs[input]].type.dims[dim].param;
    for (uint32_t i = 0; i <= input && name[0] != 0; i++) {
        const struct eml_onnx_type *t = &m->values[m->inputs[i]].type;
        for (uint32_t d = 0; d < t->rank; d++)
            if (strcmp(t->dims[d].param, name) == 0)
                return (int64_t)i * EML_RANK_MAX + d;
    }
    return (int64_t)input * EML_RANK_MAX + dim;
}

/* A list of tensors, or an optional of unknown shape. */
static enum eml_err import_other_input(struct import *im, uint32_t i)
{
    const struct eml_onnx_value *src = &im->model->values[im->model->inputs[i]];
    bool list = src->type.kind == EML_ONNX_TYPE_SEQUENCE;
    enum eml_dtype t = (enum eml_dtype)src->type.dtype;
    static const struct eml_shape none = {0};
    struct eml_ir_value *v =
        eml_ir_add_input(im->ir, eml_bytes_of_str(src->name), list ? EML_DT_SEQUENCE : t, &none);
    v->has_rank = false;
    v->elem = t;
    for (size_t k = 0; k < 2; k++)
        v->probe[k] = (struct eml_known){.dtype = v->dtype, .elem = t};
    im->values[im->model->inputs[i]] = v;
    return EML_OK;
}

static enum eml_err import_input(struct import *im, uint32_t i)
{
    const struct eml_onnx_model *m = im->model;
    const struct eml_onnx_value *src = &m->values[m->inputs[i]];
    struct eml_shape s = {.rank = src->type.rank};
    if (src->type.kind == EML_ONNX_TYPE_SEQUENCE &&
        eml_dtype_bytes((enum eml_dtype)src->type.dtype) != 0)
        return import_other_input(im, i);
    if (src->type.kind != EML_ONNX_TYPE_TENSOR ||
        eml_dtype_bytes((enum eml_dtype)src->type.dtype) == 0)
        return eml_import_refuse(im, "decompose: input of an unsupported type");
    if (!src->type.has_rank || src->type.rank > EML_RANK_MAX)
        return eml_import_refuse(im, "decompose: input of unknown rank, or of more than 8 dims");
    for (uint32_t d = 0; d < s.rank; d++)
        s.dim[d] = src->type.dims[d].value; /* unknown is -1 in both */
    struct eml_ir_value *v =
        eml_ir_add_input(im->ir, eml_bytes_of_str(src->name), (enum eml_dtype)src->type.dtype, &s);
    for (uint32_t d = 0; d < s.rank; d++)
        if (s.dim[d] == EML_DIM_UNKNOWN)
            eml_ir_set_probe(v, d, first_place(m, i, d));
    im->values[m->inputs[i]] = v;
    return EML_OK;
}

enum eml_err eml_import_push(struct import *im, const struct eml_onnx_model *m, struct eml_ir *ir,
                             struct eml_ir_node *node, uint32_t body)
{
    if (im->depth > EML_ONNX_DEPTH_MAX)
        return eml_import_refuse(im, "decompose: subgraphs nested too deep");
    struct scope *s = &im->scopes[im->depth++];
    *s = (struct scope){.model = m, .ir = ir, .node = node, .body = body};
    s->values = eml_ir_alloc(ir, ((size_t)m->n_values + 1) * sizeof(*s->values));
    EML_TRY(eml_ir_ok(ir, im->why));
    im->ir = ir;
    im->model = m;
    im->values = s->values;
    for (uint32_t i = 0; i < m->n_values; i++)
        if (m->values[i].init != NULL)
            EML_TRY(eml_import_tensor(im, m->values[i].init, &im->values[i]));
    return EML_OK;
}

/* The node reads a value of one that could not be imported. */
static bool reads_nothing(const struct import *im)
{
    for (uint32_t i = 0; i < im->node->n_in; i++)
        if (im->node->in[i] != EML_ONNX_ABSENT && im->values[im->node->in[i]] == NULL)
            return true;
    return false;
}

/* A problem of the main graph is told, and the rest goes on without the node's results. */
static enum eml_err go_on(struct import *im, enum eml_err e)
{
    bool of_model = e == EML_E_INPUT || e == EML_E_UNSUPPORTED;
    if (e == EML_OK || !of_model || im->problems == NULL)
        return e;
    if (im->depth == 1 || im->first == EML_OK)
        im->problems->tell(im->problems->arg, e, im->why);
    im->first = im->first == EML_OK ? e : im->first;
    if (im->depth > 1) /* what is known of a body depends on all around it */
        return e;
    for (uint32_t i = 0; i < im->node->n_out; i++)
        if (im->node->out[i] != EML_ONNX_ABSENT)
            im->values[im->node->out[i]] = NULL;
    return EML_OK;
}

/* One node of the graph on top, or its end. *more false: the main graph has ended. */
static enum eml_err import_step(struct import *im, bool *more)
{
    struct scope *s = &im->scopes[im->depth - 1];
    bool entered;
    *more = im->depth > 1 || s->at < s->model->n_nodes;
    if (s->at == s->model->n_nodes)
        return *more ? eml_import_leave(im) : EML_OK;
    if (im->depth == 1)
        im->index = (long)s->at;
    im->node = &s->model->nodes[s->at++];
    if (im->first != EML_OK && im->depth == 1 && reads_nothing(im))
        return EML_OK;
    enum eml_err e = eml_import_enter(im, &entered);
    if (e == EML_OK && !entered)
        e = import_node(im);
    EML_TRY(go_on(im, e));
    return eml_ir_ok(im->ir, im->why);
}

static enum eml_err import_all(struct import *im, struct eml_ir *ir, const struct eml_onnx_model *m)
{
    if (m->n_inputs > EML_GRAPH_IO_MAX || m->n_outputs > EML_GRAPH_IO_MAX)
        return eml_import_refuse(im, "decompose: too many inputs or outputs");
    EML_TRY(eml_import_push(im, m, ir, NULL, 0));
    for (uint32_t i = 0; i < m->n_inputs; i++)
        EML_TRY(import_input(im, i));
    for (bool more = true; more;)
        EML_TRY(import_step(im, &more));
    EML_TRY(im->first);
    for (uint32_t i = 0; i < m->n_outputs; i++) {
        if (im->values[m->outputs[i]] == NULL)
            return eml_import_refuse(im, "decompose: output that is not supported");
        eml_ir_add_output(ir, eml_bytes_of_str(m->values[m->outputs[i]].name),
                          im->values[m->outputs[i]]);
    }
    return EML_OK;
}

enum eml_err eml_import_telling(struct eml_ir *ir, const struct eml_onnx_model *m,
                                const struct eml_import_problems *problems, struct eml_why *why)
{
    struct eml_why own;
    struct import *im = eml_ir_alloc(ir, sizeof(*im));
    EML_TRY(eml_ir_ok(ir, why));
    im->ir = ir;
    im->index = -1;
    im->why = why != NULL ? why : &own;
    im->problems = problems;
    return import_all(im, ir, m);
}

enum eml_err eml_import(struct eml_ir *ir, const struct eml_onnx_model *m, struct eml_why *why)
{
    return eml_import_telling(ir, m, NULL, why);
}
