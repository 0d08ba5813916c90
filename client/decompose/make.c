#include "decompose/make.h"

enum eml_err eml_make_refuse(const struct eml_maker *m, const char *rule)
{
    return eml_fail(m->why, EML_E_UNSUPPORTED, rule, m->origin);
}

struct eml_ir_value *eml_make_operand(const struct eml_maker *m, uint32_t i)
{
    return i < m->node->n_in ? m->in[i] : NULL;
}

bool eml_make_wanted(const struct eml_maker *m, uint32_t i)
{
    return i < m->node->n_out && m->node->out[i] != EML_ONNX_ABSENT;
}

int64_t eml_make_int(const struct eml_maker *m, const char *name, int64_t otherwise)
{
    const struct eml_onnx_attr *a = eml_onnx_attr(m->node, name);
    return a != NULL && a->type == EML_ONNX_ATTR_INT ? a->ints[0] : otherwise;
}

float eml_make_float(const struct eml_maker *m, const char *name, float otherwise)
{
    const struct eml_onnx_attr *a = eml_onnx_attr(m->node, name);
    return a != NULL && a->type == EML_ONNX_ATTR_FLOAT ? a->floats[0] : otherwise;
}

const struct eml_onnx_attr *eml_make_ints(const struct eml_maker *m, const char *name)
{
    const struct eml_onnx_attr *a = eml_onnx_attr(m->node, name);
    return a != NULL && a->type == EML_ONNX_ATTR_INTS ? a : NULL;
}

struct eml_ir_node *eml_make_node(const struct eml_maker *m, enum eml_op op,
                                  struct eml_ir_value *const *in, uint32_t n_in)
{
    struct eml_ir_node *n = eml_ir_node_new(m->ir, NULL, op, in, n_in, 1);
    n->origin = m->origin;
    eml_ir_trim(n);
    return n;
}

struct eml_ir_value *eml_make_one(const struct eml_maker *m, enum eml_op op, struct eml_ir_value *a)
{
    return eml_make_node(m, op, &a, 1)->out[0];
}

struct eml_ir_value *eml_make_two(const struct eml_maker *m, enum eml_op op, struct eml_ir_value *a,
                                  struct eml_ir_value *b)
{
    struct eml_ir_value *in[2] = {a, b};
    return eml_make_node(m, op, in, 2)->out[0];
}

struct eml_ir_value *eml_make_three(const struct eml_maker *m, enum eml_op op,
                                    struct eml_ir_value *a, struct eml_ir_value *b,
                                    struct eml_ir_value *c)
{
    struct eml_ir_value *in[3] = {a, b, c};
    return eml_make_node(m, op, in, 3)->out[0];
}

struct eml_ir_value *eml_make_cast(const struct eml_maker *m, struct eml_ir_value *x,
                                   enum eml_dtype to)
{
    struct eml_ir_node *cast = eml_make_node(m, EML_OP_CAST, &x, 1);
    eml_ir_set_int(m->ir, cast, EML_ATTR_TO, (int64_t)to);
    return cast->out[0];
}

struct eml_ir_value *eml_make_number(const struct eml_maker *m, float v,
                                     const struct eml_ir_value *x)
{
    struct eml_ir_value *k = eml_ir_const_f32(m->ir, v);
    return x->dtype == EML_DT_F32 ? k : eml_make_cast(m, k, x->dtype);
}

struct eml_ir_value *eml_make_index(const struct eml_maker *m, int64_t v)
{
    static const struct eml_shape scalar = {0};
    int64_t *copy = eml_ir_alloc(m->ir, sizeof(*copy));
    if (copy != NULL)
        *copy = v;
    return eml_ir_const(m->ir, EML_DT_I64, &scalar, copy);
}

struct eml_ir_value *eml_make_reshape(const struct eml_maker *m, struct eml_ir_value *x,
                                      const int64_t *dims, uint32_t n)
{
    return eml_make_two(m, EML_OP_RESHAPE, x, eml_ir_const_ints(m->ir, dims, n));
}

struct eml_ir_value *eml_make_transpose(const struct eml_maker *m, struct eml_ir_value *x,
                                        const int64_t *perm, uint32_t n)
{
    struct eml_ir_node *t = eml_make_node(m, EML_OP_TRANSPOSE, &x, 1);
    eml_ir_set_attr(m->ir, t, EML_ATTR_PERM, perm, n);
    return t->out[0];
}

struct eml_ir_value *eml_make_unsqueeze(const struct eml_maker *m, struct eml_ir_value *x,
                                        int64_t axis)
{
    return eml_make_two(m, EML_OP_UNSQUEEZE, x, eml_ir_const_ints(m->ir, &axis, 1));
}

struct eml_ir_value *eml_make_slice(const struct eml_maker *m, struct eml_ir_value *x, int64_t axis,
                                    int64_t from, int64_t to)
{
    struct eml_ir_value *in[4] = {x, eml_ir_const_ints(m->ir, &from, 1),
                                  eml_ir_const_ints(m->ir, &to, 1),
                                  eml_ir_const_ints(m->ir, &axis, 1)};
    return eml_make_node(m, EML_OP_SLICE, in, 4)->out[0];
}

struct eml_ir_value *eml_make_concat(const struct eml_maker *m, int64_t axis,
                                     struct eml_ir_value *const *in, uint32_t n)
{
    struct eml_ir_node *c = eml_make_node(m, EML_OP_CONCAT, in, n);
    eml_ir_set_int(m->ir, c, EML_ATTR_AXIS, axis);
    return c->out[0];
}

struct eml_ir_value *eml_make_dim(const struct eml_maker *m, struct eml_ir_value *x, int64_t axis)
{
    struct eml_ir_node *s = eml_make_node(m, EML_OP_SHAPE, &x, 1);
    eml_ir_set_int(m->ir, s, EML_ATTR_START, axis);
    if (axis != -1)
        eml_ir_set_int(m->ir, s, EML_ATTR_END, axis + 1);
    return s->out[0];
}

struct eml_ir_value *eml_make_reduce(const struct eml_maker *m, enum eml_op op,
                                     struct eml_ir_value *x, const int64_t *axes, uint32_t n,
                                     bool keep)
{
    struct eml_ir_value *in[2] = {x, eml_ir_const_ints(m->ir, axes, n)};
    struct eml_ir_node *r = eml_make_node(m, op, in, 2);
    eml_ir_set_int(m->ir, r, EML_ATTR_KEEPDIMS, keep);
    eml_ir_set_int(m->ir, r, EML_ATTR_NOOP_WITH_EMPTY_AXES, 1);
    return r->out[0];
}

enum eml_err eml_make_window(const struct eml_maker *m, struct eml_ir_node *n)
{
    static const struct {
        const char *name;
        enum eml_attr_id id;
    } attrs[] = {
        {"kernel_shape", EML_ATTR_KERNEL_SHAPE},
        {"strides", EML_ATTR_STRIDES},
        {"pads", EML_ATTR_PADS},
        {"dilations", EML_ATTR_DILATIONS},
        {"group", EML_ATTR_GROUP},
        {"ceil_mode", EML_ATTR_CEIL_MODE},
        {"count_include_pad", EML_ATTR_COUNT_INCLUDE_PAD},
    };
    static const char *const auto_pads[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
    for (size_t i = 0; i < sizeof attrs / sizeof attrs[0]; i++) {
        const struct eml_onnx_attr *a = eml_onnx_attr(m->node, attrs[i].name);
        if (a == NULL)
            continue;
        if ((a->type != EML_ONNX_ATTR_INT && a->type != EML_ONNX_ATTR_INTS) ||
            a->n > EML_ATTR_INTS_MAX)
            return eml_make_refuse(m, "decompose: attribute too long");
        eml_ir_set_attr(m->ir, n, attrs[i].id, a->ints, (uint32_t)a->n);
    }
    const struct eml_onnx_attr *pad = eml_onnx_attr(m->node, "auto_pad");
    for (int64_t i = 0; pad != NULL && pad->type == EML_ONNX_ATTR_STRING && i < 4; i++)
        if (eml_bytes_equal(pad->strings[0], eml_bytes_of_str(auto_pads[i])))
            eml_ir_set_int(m->ir, n, EML_ATTR_AUTO_PAD, i);
    return EML_OK;
}
