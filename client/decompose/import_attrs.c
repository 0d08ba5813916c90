/* Attributes of ONNX nodes by the grammar of ops.def: integers keep their place, floats become
 * params, what later versions turned into operands becomes constants. */
#include "decompose/import.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

enum eml_err eml_import_attr(const struct import *im, const struct eml_onnx_attr *a,
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

void eml_import_defaults(struct eml_ir_node *n)
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
/* A node without a seed has its place in the model as one: others then draw other numbers. */
void eml_import_default_seed(const struct import *im, struct eml_ir_node *n)
{
    struct word w;
    if (find_word(eml_op_info(n->op)->attrs, "seed", &w) && w.rest[1] == 'p' &&
        eml_onnx_attr(im->node, "seed") == NULL)
        n->params[w.rest[2] - '0'] = (float)im->index + 0.5F;
}
