#include "engine/infer.h"

#include "base/checked.h"
#include "model/limits.h"

#include <string.h>

enum eml_err eml_rule_fail(const struct eml_rule_ctx *c, const char *rule)
{
    return eml_fail(c->why, EML_E_INPUT, rule, -1);
}

enum eml_err eml_rule_refuse_type(const struct eml_rule_ctx *c, enum eml_dtype t)
{
    return eml_fail(c->why, EML_E_UNSUPPORTED, eml_dtype_refusal(t), -1);
}

enum eml_err eml_rule_demand(const struct eml_rule_ctx *c, bool holds, const char *rule)
{
    return holds ? EML_OK : eml_rule_fail(c, rule);
}

const struct eml_known *eml_rule_in(const struct eml_rule_ctx *c, uint32_t i)
{
    return i < c->node->n_in ? c->in[i] : NULL;
}

bool eml_dtype_is_int(enum eml_dtype t)
{
    switch (t) {
    case EML_DT_U8:
    case EML_DT_I8:
    case EML_DT_U16:
    case EML_DT_I16:
    case EML_DT_I32:
    case EML_DT_I64:
    case EML_DT_U32:
    case EML_DT_U64:
    case EML_DT_BOOL:
        return true;
    default:
        return false;
    }
}

enum eml_err eml_rule_axis(const struct eml_rule_ctx *c, int64_t axis, uint32_t rank, uint32_t *out)
{
    int64_t r = rank;
    if (axis < -r || axis >= r)
        return eml_rule_fail(c, "axis out of range");
    *out = (uint32_t)(axis < 0 ? axis + r : axis);
    return EML_OK;
}

enum eml_err eml_rule_axes(const struct eml_rule_ctx *c, const int64_t *v, uint32_t n,
                           uint32_t rank, uint32_t *mask)
{
    *mask = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t a;
        EML_TRY(eml_rule_axis(c, v[i], rank, &a));
        if ((*mask >> a & 1) != 0)
            return eml_rule_fail(c, "axis named twice");
        *mask |= 1u << a;
    }
    return EML_OK;
}

enum eml_err eml_rule_steer(const struct eml_rule_ctx *c, uint32_t i, bool *full)
{
    const struct eml_known *k = c->in[i];
    *full = false;
    EML_TRY(eml_rule_demand(c, k->dtype == EML_DT_I64 || k->dtype == EML_DT_I32,
                            "operand that steers shapes is not int32 or int64"));
    EML_TRY(eml_rule_demand(c, !k->has_rank || k->shape.rank <= 1,
                            "operand that steers shapes has a rank above 1"));
    if (!k->has_ints)
        return EML_OK;
    for (uint32_t j = 0; j < k->n_ints; j++)
        if (k->ints[j] == EML_INT_UNKNOWN)
            return EML_OK;
    *full = true;
    return EML_OK;
}

static bool merge_dim(int64_t *a, int64_t b)
{
    if (b == 1 || *a == b)
        return true;
    if (*a == 1) {
        *a = b;
        return true;
    }
    /* An unknown dim against a known one that is not 1 can only be 1 or equal to it. */
    if (!eml_dim_known(*a)) {
        *a = b;
        return true;
    }
    return !eml_dim_known(b);
}

enum eml_err eml_rule_broadcast(const struct eml_rule_ctx *c, struct eml_shape *a,
                                const struct eml_shape *b)
{
    struct eml_shape s = *a;
    if (b->rank > a->rank) {
        uint32_t shift = b->rank - a->rank;
        s.rank = b->rank;
        for (uint32_t i = 0; i < b->rank; i++)
            s.dim[i] = i < shift ? 1 : a->dim[i - shift];
    }
    uint32_t shift = s.rank - b->rank;
    for (uint32_t i = 0; i < b->rank; i++)
        if (!merge_dim(&s.dim[shift + i], b->dim[i]))
            return eml_rule_fail(c, "shapes do not broadcast");
    *a = s;
    return EML_OK;
}

void eml_rule_out(const struct eml_rule_ctx *c, uint32_t i, enum eml_dtype t,
                  const struct eml_shape *s)
{
    struct eml_known *o = &c->out[i];
    *o = (struct eml_known){.dtype = t};
    if (s != NULL) {
        o->has_rank = true;
        o->shape = *s;
    }
}

void eml_rule_out_unknown(const struct eml_rule_ctx *c, const struct eml_known *x, bool keep_rank)
{
    struct eml_shape s = {.rank = x->has_rank && keep_rank ? x->shape.rank : 0};
    for (uint32_t i = 0; i < s.rank; i++)
        s.dim[i] = EML_DIM_UNKNOWN;
    eml_rule_out(c, 0, x->dtype, s.rank > 0 ? &s : NULL);
}

int64_t *eml_rule_ints(const struct eml_rule_ctx *c, uint32_t i)
{
    struct eml_known *o = &c->out[i];
    int64_t n;
    if (!o->has_rank || !eml_dtype_is_int(o->dtype) || !eml_shape_count(&o->shape, &n) ||
        n > (int64_t)EML_INTS_MAX)
        return NULL;
    int64_t *v = eml_arena_array(c->arena, (size_t)n, sizeof *v);
    if (v == NULL)
        return NULL; /* less is known, nothing is wrong; a full arena fails where it must not */
    for (int64_t j = 0; j < n; j++)
        v[j] = EML_INT_UNKNOWN;
    o->has_ints = true;
    o->n_ints = (uint32_t)n;
    o->ints = v;
    return v;
}

void eml_rule_same_ints(const struct eml_rule_ctx *c, const struct eml_known *from)
{
    int64_t n;
    struct eml_known *o = &c->out[0];
    if (!from->has_ints || !o->has_rank || o->dtype != from->dtype ||
        !eml_shape_count(&o->shape, &n) || n != (int64_t)from->n_ints)
        return;
    o->has_ints = true;
    o->n_ints = from->n_ints;
    o->ints = from->ints;
}

int64_t eml_int_fits(enum eml_dtype t, int64_t v)
{
    int64_t lo, hi;
    switch (t) {
    case EML_DT_BOOL:
        lo = 0;
        hi = 1;
        break;
    case EML_DT_U8:
        lo = 0;
        hi = UINT8_MAX;
        break;
    case EML_DT_I8:
        lo = INT8_MIN;
        hi = INT8_MAX;
        break;
    case EML_DT_U16:
        lo = 0;
        hi = UINT16_MAX;
        break;
    case EML_DT_I16:
        lo = INT16_MIN;
        hi = INT16_MAX;
        break;
    case EML_DT_U32:
        lo = 0;
        hi = UINT32_MAX;
        break;
    case EML_DT_I32:
        lo = INT32_MIN;
        hi = INT32_MAX;
        break;
    case EML_DT_U64:
        lo = 0;
        hi = INT64_MAX;
        break;
    case EML_DT_I64:
        lo = -INT64_MAX;
        hi = INT64_MAX;
        break;
    default:
        return EML_INT_UNKNOWN;
    }
    return v >= lo && v <= hi ? v : EML_INT_UNKNOWN;
}

size_t eml_broadcast_index(const struct eml_shape *s, const struct eml_shape *out, size_t at)
{
    size_t index = 0, stride = 1;
    for (uint32_t i = 0; i < s->rank; i++) {
        uint32_t o = out->rank - 1 - i, d = s->rank - 1 - i;
        size_t od = (size_t)out->dim[o];
        size_t coord = at % od;
        at /= od;
        if (s->dim[d] != 1) {
            index += coord * stride;
            stride *= (size_t)s->dim[d];
        }
    }
    return index;
}

#define OP(id, name, since, types, in_min, in_max, out_max, attrs, rule, kernel)                   \
    [EML_OP_##id] = eml_rule_##rule,
static eml_rule_fn *const RULES[EML_OP_N] = {
#include "model/ops.def"
};
#undef OP

static enum eml_err check_operands(const struct eml_rule_ctx *c)
{
    const struct eml_op_info *info = eml_op_info(c->node->op);
    EML_TRY(eml_rule_demand(c, c->node->n_out >= 1 && c->node->n_out <= info->out_max,
                            "wrong number of outputs"));
    EML_TRY(eml_rule_demand(c, c->node->n_in >= info->in_min, "too few operands"));
    for (uint32_t i = 0; i < c->node->n_in; i++) {
        const struct eml_known *k = c->in[i];
        if (k == NULL) {
            EML_TRY(eml_rule_demand(c, i >= info->in_min || info->in_max == 255,
                                    "required operand omitted"));
            continue;
        }
        EML_TRY(eml_rule_demand(c, !k->has_rank || k->shape.rank <= EML_RANK_MAX,
                                "rank above the limit"));
    }
    return EML_OK;
}

static enum eml_err check_outputs(const struct eml_rule_ctx *c)
{
    for (uint32_t i = 0; i < c->node->n_out; i++) {
        const struct eml_known *o = &c->out[i];
        if (!o->has_rank)
            continue;
        EML_TRY(eml_rule_demand(c, o->shape.rank <= EML_RANK_MAX, "rank above the limit"));
        bool known = true;
        for (uint32_t d = 0; d < o->shape.rank; d++) {
            EML_TRY(eml_rule_demand(c, o->shape.dim[d] >= EML_DIM_UNKNOWN, "negative dimension"));
            known = known && eml_dim_known(o->shape.dim[d]);
        }
        int64_t n, bytes;
        if (known && (!eml_shape_count(&o->shape, &n) ||
                      !eml_mul_i64(n, (int64_t)eml_dtype_bytes(o->dtype), &bytes) ||
                      bytes > (int64_t)EML_TENSOR_BYTES_MAX))
            return eml_rule_fail(c, "tensor above the size limit");
    }
    return EML_OK;
}

/* Operators with an epilogue: the only ones that a fused activation may hang on. */
static bool takes_act(enum eml_op op)
{
    return op == EML_OP_ACTIVATE || op == EML_OP_MATMUL || op == EML_OP_GEMM || op == EML_OP_CONV ||
           op == EML_OP_CONV_TRANSPOSE || op == EML_OP_MATMUL_INTEGER_TO_FLOAT ||
           op == EML_OP_BATCH_NORMALIZATION;
}

static enum eml_err check_types(const struct eml_rule_ctx *c)
{
    const struct eml_node *n = c->node;
    const uint32_t i = eml_op_typed(n->op);
    const struct eml_known *typed = eml_rule_in(c, i);
    if (typed != NULL ? !eml_types_has(eml_node_types(n), typed->dtype)
                      : i < eml_op_info(n->op)->in_min)
        return eml_rule_refuse_type(c, typed != NULL ? typed->dtype : EML_DT_NONE);
    int64_t act = eml_node_int(n, EML_ATTR_ACT, EML_ACT_NONE);
    EML_TRY(eml_rule_demand(c, act >= EML_ACT_NONE && act < EML_ACT_N, "activation out of range"));
    return eml_rule_demand(c, act == EML_ACT_NONE || takes_act(n->op),
                           "operator takes no fused activation");
}

enum eml_err eml_infer_node(const struct eml_node *n, const struct eml_known *const *in,
                            struct eml_known *out, struct eml_arena *arena, struct eml_why *why)
{
    struct eml_rule_ctx c = {.node = n, .in = in, .out = out, .arena = arena, .why = why};
    for (uint32_t i = 0; i < n->n_out; i++)
        out[i] = (struct eml_known){0};
    EML_TRY(eml_rule_demand(&c, (unsigned)n->op < EML_OP_N, "operator out of range"));
    EML_TRY(check_operands(&c));
    EML_TRY(RULES[n->op](&c));
    EML_TRY(check_outputs(&c));
    return check_types(&c);
}
