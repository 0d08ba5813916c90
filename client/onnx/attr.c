#include "onnx/store.h"

#include <string.h>

/* More than any operator has; bounds the search for duplicates. */
enum { ATTRS_MAX = 256 };

struct reader {
    struct eml_onnx_store *store;
    long index;
    const char *node;
};

static enum eml_err refuse(const struct reader *r, const char *rule)
{
    return eml_onnx_refuse(r->store, EML_E_INPUT, rule, r->index, r->node);
}

static enum eml_err read_strings(const struct reader *r, const ProtobufCBinaryData *from, size_t n,
                                 struct eml_onnx_attr *out)
{
    struct eml_bytes *s = eml_onnx_pool_array(&r->store->pool, n, sizeof *s);
    if (s == NULL)
        return eml_onnx_no_memory(r->store);
    for (size_t i = 0; i < n; i++)
        s[i] = eml_bytes(from[i].data, from[i].len);
    out->strings = s;
    out->n = n;
    return EML_OK;
}

static enum eml_err read_tensors(const struct reader *r, Onnx__TensorProto *const *from, size_t n,
                                 struct eml_onnx_attr *out)
{
    struct eml_onnx_tensor *t = eml_onnx_pool_array(&r->store->pool, n, sizeof *t);
    if (t == NULL)
        return eml_onnx_no_memory(r->store);
    for (size_t i = 0; i < n; i++) {
        if (from[i] == NULL)
            return refuse(r, "onnx: an attribute lacks its tensor or graph");
        EML_TRY(eml_onnx_tensor_read(r->store, from[i], r->index, &t[i]));
    }
    out->tensors = t;
    out->n = n;
    return EML_OK;
}

static enum eml_err read_graphs(const struct reader *r, Onnx__GraphProto *const *from, size_t n,
                                struct eml_onnx_attr *out)
{
    struct eml_onnx_subgraph *g = eml_onnx_pool_array(&r->store->pool, n, sizeof *g);
    if (g == NULL)
        return eml_onnx_no_memory(r->store);
    for (size_t i = 0; i < n; i++) {
        if (from[i] == NULL)
            return refuse(r, "onnx: an attribute lacks its tensor or graph");
        g[i].proto = from[i];
    }
    out->graphs = g;
    out->n = n;
    return EML_OK;
}

static enum eml_err read_value(const struct reader *r, const Onnx__AttributeProto *a,
                               struct eml_onnx_attr *out)
{
    switch (out->type) {
    case EML_ONNX_ATTR_FLOAT:
        out->floats = &a->f;
        out->n = 1;
        return EML_OK;
    case EML_ONNX_ATTR_INT:
        out->ints = &a->i;
        out->n = 1;
        return EML_OK;
    case EML_ONNX_ATTR_STRING:
        return read_strings(r, &a->s, 1, out);
    case EML_ONNX_ATTR_TENSOR:
        return read_tensors(r, &a->t, 1, out);
    case EML_ONNX_ATTR_GRAPH:
        return read_graphs(r, &a->g, 1, out);
    case EML_ONNX_ATTR_FLOATS:
        out->floats = a->floats;
        out->n = a->n_floats;
        return EML_OK;
    case EML_ONNX_ATTR_INTS:
        out->ints = a->ints;
        out->n = a->n_ints;
        return EML_OK;
    case EML_ONNX_ATTR_STRINGS:
        return read_strings(r, a->strings, a->n_strings, out);
    case EML_ONNX_ATTR_TENSORS:
        return read_tensors(r, a->tensors, a->n_tensors, out);
    case EML_ONNX_ATTR_GRAPHS:
        return read_graphs(r, a->graphs, a->n_graphs, out);
    case EML_ONNX_ATTR_SPARSE_TENSOR:
    case EML_ONNX_ATTR_SPARSE_TENSORS:
    case EML_ONNX_ATTR_TYPE_PROTO:
    case EML_ONNX_ATTR_TYPE_PROTOS:
        return EML_OK;
    }
    return refuse(r, "onnx: an attribute has no known type");
}

/* An attribute that stands for one of the call's; one that the call does not have is left out. */
static enum eml_err read_reference(const struct reader *r, const Onnx__AttributeProto *a,
                                   const struct eml_onnx_node *call, struct eml_onnx_attr *out,
                                   bool *present)
{
    if (call == NULL)
        return refuse(r, "onnx: an attribute refers to a function's, outside of one");
    const struct eml_onnx_attr *given = eml_onnx_attr(call, a->ref_attr_name);
    *present = given != NULL;
    if (given == NULL)
        return EML_OK;
    if (given->graphs != NULL)
        return refuse(r, "onnx: a function takes a graph as an attribute");
    const char *name = out->name;
    *out = *given;
    out->name = name;
    return EML_OK;
}

enum eml_err eml_onnx_attrs_read(struct eml_onnx_store *s, const Onnx__NodeProto *n, long index,
                                 const struct eml_onnx_node *call, struct eml_onnx_node *out)
{
    struct reader r = {.store = s, .index = index, .node = eml_onnx_str(n->name)};
    if (n->n_attribute > ATTRS_MAX)
        return refuse(&r, "onnx: a node has too many attributes");
    struct eml_onnx_attr *attr = eml_onnx_pool_array(&s->pool, n->n_attribute, sizeof *attr);
    if (attr == NULL)
        return eml_onnx_no_memory(s);
    uint32_t count = 0;
    for (size_t i = 0; i < n->n_attribute; i++) {
        const Onnx__AttributeProto *a = n->attribute[i];
        struct eml_onnx_attr *to = &attr[count];
        bool present = true;
        to->name = eml_onnx_str(a->name);
        to->type = (enum eml_onnx_attr_type)a->type;
        if (to->name[0] == '\0')
            return refuse(&r, "onnx: an attribute has no name");
        for (uint32_t k = 0; k < count; k++)
            if (strcmp(attr[k].name, to->name) == 0)
                return refuse(&r, "onnx: a node has an attribute twice");
        if (eml_onnx_str(a->ref_attr_name)[0] != '\0')
            EML_TRY(read_reference(&r, a, call, to, &present));
        else
            EML_TRY(read_value(&r, a, to));
        count += present;
    }
    out->attr = attr;
    out->n_attr = count;
    return EML_OK;
}

static enum eml_err read_shape(struct eml_onnx_store *s, const Onnx__TensorShapeProto *shape,
                               const char *name, struct eml_onnx_type *out)
{
    if (shape->n_dim > EML_ONNX_RANK_MAX)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: too many dims", -1, name);
    struct eml_onnx_dim *dims = eml_onnx_pool_array(&s->pool, shape->n_dim, sizeof *dims);
    if (dims == NULL)
        return eml_onnx_no_memory(s);
    for (size_t i = 0; i < shape->n_dim; i++) {
        const Onnx__TensorShapeProto__Dimension *d = shape->dim[i];
        dims[i] = (struct eml_onnx_dim){.value = EML_ONNX_DIM_UNKNOWN, .param = ""};
        if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM)
            dims[i].param = eml_onnx_str(d->dim_param);
        /* exporters write -1 (any negative) for a dim that is not known */
        if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
            d->dim_value >= 0)
            dims[i].value = d->dim_value;
    }
    out->has_rank = true;
    out->rank = (uint32_t)shape->n_dim;
    out->dims = dims;
    return EML_OK;
}

enum eml_err eml_onnx_type_read(struct eml_onnx_store *s, const Onnx__TypeProto *t,
                                const char *name, struct eml_onnx_type *out)
{
    *out = (struct eml_onnx_type){.kind = EML_ONNX_TYPE_NONE};
    if (t != NULL && t->value_case == ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE) {
        out->optional = true;
        t = t->optional_type->elem_type;
    }
    if (t == NULL || t->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET)
        return EML_OK;
    if (t->value_case == ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE) {
        t = t->sequence_type->elem_type;
        bool tensors = t != NULL && t->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
        out->kind = tensors ? EML_ONNX_TYPE_SEQUENCE : EML_ONNX_TYPE_OTHER;
        out->dtype = tensors ? t->tensor_type->elem_type : 0;
        return EML_OK;
    }
    if (t->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
        out->kind = EML_ONNX_TYPE_OTHER;
        return EML_OK;
    }
    out->kind = EML_ONNX_TYPE_TENSOR;
    out->dtype = t->tensor_type->elem_type;
    return t->tensor_type->shape != NULL ? read_shape(s, t->tensor_type->shape, name, out) : EML_OK;
}
