/* Rules of elementwise operators, and of all whose output is like their first input. */
#include "engine/infer.h"

#include "base/checked.h"
#include "model/type_sets.h"

static int64_t unary_int(enum eml_op op, int64_t a)
{
    if (a == EML_INT_UNKNOWN)
        return EML_INT_UNKNOWN;
    switch (op) {
    case EML_OP_IDENTITY:
        return a;
    case EML_OP_ABS:
        return a < 0 ? -a : a;
    case EML_OP_NEG:
        return -a;
    case EML_OP_SIGN:
        return (a > 0) - (a < 0);
    case EML_OP_RELU:
        return a > 0 ? a : 0;
    case EML_OP_NOT:
        return a == 0;
    default:
        return EML_INT_UNKNOWN;
    }
}

enum eml_err eml_rule_same(const struct eml_rule_ctx *c)
{
    const struct eml_known *x = c->in[0];
    eml_rule_out(c, 0, x->dtype, x->has_rank ? &x->shape : NULL);
    EML_TRY(eml_rule_check_norm(c));
    if (!x->has_ints)
        return EML_OK;
    int64_t *v = eml_rule_ints(c, 0);
    for (uint32_t i = 0; v != NULL && i < x->n_ints; i++)
        v[i] = eml_int_fits(x->dtype, unary_int(c->node->op, x->ints[i]));
    return EML_OK;
}

static int64_t binary_int(enum eml_op op, bool fmod, int64_t a, int64_t b)
{
    int64_t r;
    bool ok = true;
    switch (op) {
    case EML_OP_ADD:
    case EML_OP_SUM:
        ok = eml_add_i64(a, b, &r);
        break;
    case EML_OP_SUB:
        ok = eml_add_i64(a, -b, &r);
        break;
    case EML_OP_MUL:
        ok = eml_mul_i64(a, b, &r);
        break;
    case EML_OP_DIV:
        if (b == 0)
            return EML_INT_UNKNOWN;
        r = a / b;
        break;
    case EML_OP_MOD:
        if (b == 0)
            return EML_INT_UNKNOWN;
        r = a % b;
        if (!fmod && r != 0 && (r < 0) != (b < 0))
            r += b;
        break;
    case EML_OP_MIN:
        r = a < b ? a : b;
        break;
    case EML_OP_MAX:
        r = a > b ? a : b;
        break;
    default:
        return EML_INT_UNKNOWN;
    }
    return ok ? r : EML_INT_UNKNOWN;
}

static int64_t compare_int(enum eml_op op, int64_t a, int64_t b)
{
    switch (op) {
    case EML_OP_EQUAL:
        return a == b;
    case EML_OP_LESS:
        return a < b;
    case EML_OP_GREATER:
        return a > b;
    case EML_OP_LESS_OR_EQUAL:
        return a <= b;
    case EML_OP_GREATER_OR_EQUAL:
        return a >= b;
    case EML_OP_AND:
        return a != 0 && b != 0;
    case EML_OP_OR:
        return a != 0 || b != 0;
    case EML_OP_XOR:
        return (a != 0) != (b != 0);
    default:
        return EML_INT_UNKNOWN;
    }
}

/* Shape of all operands broadcast together; *known is false if a rank is missing. */
static enum eml_err broadcast_all(const struct eml_rule_ctx *c, struct eml_shape *s, bool *known)
{
    *s = (struct eml_shape){0};
    *known = true;
    for (uint32_t i = 0; i < c->node->n_in; i++) {
        EML_TRY(eml_rule_demand(c, c->in[i] != NULL, "required operand omitted"));
        *known = *known && c->in[i]->has_rank;
        if (c->in[i]->has_rank)
            EML_TRY(eml_rule_broadcast(c, s, &c->in[i]->shape));
    }
    return EML_OK;
}

enum eml_err eml_rule_binary(const struct eml_rule_ctx *c)
{
    const struct eml_known *a = c->in[0], *b = c->in[1];
    struct eml_shape s;
    bool known;
    EML_TRY(broadcast_all(c, &s, &known));
    EML_TRY(eml_rule_demand(c, a->dtype == b->dtype || c->node->op == EML_OP_POW,
                            "operands differ in type"));
    EML_TRY(eml_rule_demand(c, eml_types_has(NUMBERS, b->dtype) || c->node->op != EML_OP_POW,
                            "Pow: the exponent is no number"));
    eml_rule_out(c, 0, a->dtype, known ? &s : NULL);
    if (!a->has_ints || !b->has_ints)
        return EML_OK;
    bool fmod = eml_node_int(c->node, EML_ATTR_FMOD, 0) != 0;
    int64_t *v = eml_rule_ints(c, 0);
    for (uint32_t i = 0; v != NULL && i < c->out[0].n_ints; i++) {
        int64_t x = a->ints[eml_broadcast_index(&a->shape, &s, i)];
        int64_t y = b->ints[eml_broadcast_index(&b->shape, &s, i)];
        if (x != EML_INT_UNKNOWN && y != EML_INT_UNKNOWN)
            v[i] = eml_int_fits(a->dtype, binary_int(c->node->op, fmod, x, y));
    }
    return EML_OK;
}

enum eml_err eml_rule_compare(const struct eml_rule_ctx *c)
{
    const struct eml_known *a = c->in[0], *b = c->in[1];
    struct eml_shape s;
    bool known;
    EML_TRY(broadcast_all(c, &s, &known));
    EML_TRY(eml_rule_demand(c, a->dtype == b->dtype, "operands differ in type"));
    eml_rule_out(c, 0, EML_DT_BOOL, known ? &s : NULL);
    if (!a->has_ints || !b->has_ints)
        return EML_OK;
    int64_t *v = eml_rule_ints(c, 0);
    for (uint32_t i = 0; v != NULL && i < c->out[0].n_ints; i++) {
        int64_t x = a->ints[eml_broadcast_index(&a->shape, &s, i)];
        int64_t y = b->ints[eml_broadcast_index(&b->shape, &s, i)];
        if (x != EML_INT_UNKNOWN && y != EML_INT_UNKNOWN)
            v[i] = compare_int(c->node->op, x, y);
    }
    return EML_OK;
}

enum eml_err eml_rule_variadic(const struct eml_rule_ctx *c)
{
    struct eml_shape s;
    bool known, ints = true;
    EML_TRY(broadcast_all(c, &s, &known));
    enum eml_dtype t = c->in[0]->dtype;
    for (uint32_t k = 0; k < c->node->n_in; k++) {
        EML_TRY(eml_rule_demand(c, c->in[k]->dtype == t, "operands differ in type"));
        ints = ints && c->in[k]->has_ints;
    }
    eml_rule_out(c, 0, t, known ? &s : NULL);
    int64_t *v = ints ? eml_rule_ints(c, 0) : NULL;
    for (uint32_t i = 0; v != NULL && i < c->out[0].n_ints; i++) {
        v[i] = c->in[0]->ints[eml_broadcast_index(&c->in[0]->shape, &s, i)];
        for (uint32_t k = 1; k < c->node->n_in && v[i] != EML_INT_UNKNOWN; k++) {
            int64_t y = c->in[k]->ints[eml_broadcast_index(&c->in[k]->shape, &s, i)];
            v[i] = y == EML_INT_UNKNOWN ? EML_INT_UNKNOWN
                                        : eml_int_fits(t, binary_int(c->node->op, false, v[i], y));
        }
    }
    return EML_OK;
}

enum eml_err eml_rule_where(const struct eml_rule_ctx *c)
{
    const struct eml_known *q = c->in[0], *a = c->in[1], *b = c->in[2];
    struct eml_shape s;
    bool known;
    EML_TRY(broadcast_all(c, &s, &known));
    EML_TRY(eml_rule_demand(c, q->dtype == EML_DT_BOOL, "the condition is not bool"));
    EML_TRY(eml_rule_demand(c, a->dtype == b->dtype, "operands differ in type"));
    eml_rule_out(c, 0, a->dtype, known ? &s : NULL);
    if (!q->has_ints || !a->has_ints || !b->has_ints)
        return EML_OK;
    int64_t *v = eml_rule_ints(c, 0);
    for (uint32_t i = 0; v != NULL && i < c->out[0].n_ints; i++) {
        int64_t w = q->ints[eml_broadcast_index(&q->shape, &s, i)];
        const struct eml_known *from = w != 0 ? a : b;
        if (w != EML_INT_UNKNOWN)
            v[i] = from->ints[eml_broadcast_index(&from->shape, &s, i)];
    }
    return EML_OK;
}

static enum eml_err cast_to(const struct eml_rule_ctx *c, enum eml_dtype to)
{
    const struct eml_known *x = c->in[0];
    EML_TRY(eml_rule_demand(c, to <= EML_DT_LAST && eml_dtype_bytes(to) != 0,
                            "Cast to an unknown type"));
    eml_rule_out(c, 0, to, x->has_rank ? &x->shape : NULL);
    int64_t *v = x->has_ints ? eml_rule_ints(c, 0) : NULL;
    for (uint32_t i = 0; v != NULL && i < x->n_ints; i++)
        if (x->ints[i] != EML_INT_UNKNOWN)
            v[i] = to == EML_DT_BOOL ? x->ints[i] != 0 : eml_int_fits(to, x->ints[i]);
    return EML_OK;
}

enum eml_err eml_rule_cast(const struct eml_rule_ctx *c)
{
    int64_t to = eml_node_int(c->node, EML_ATTR_TO, EML_DT_NONE);
    bool type = to >= EML_DT_NONE && to <= EML_DT_LAST;
    return cast_to(c, type ? (enum eml_dtype)to : EML_DT_NONE);
}

enum eml_err eml_rule_cast_like(const struct eml_rule_ctx *c)
{
    return cast_to(c, c->in[1]->dtype);
}
