#include "model/graph.h"

#include "base/checked.h"
#include "model/strings.h"

size_t eml_dtype_bytes(enum eml_dtype t)
{
    switch (t) {
    case EML_DT_U8:
    case EML_DT_I8:
    case EML_DT_BOOL:
    case EML_DT_F8E4M3FN:
    case EML_DT_F8E4M3FNUZ:
    case EML_DT_F8E5M2:
    case EML_DT_F8E5M2FNUZ:
    case EML_DT_U4:
    case EML_DT_I4:
        return 1;
    case EML_DT_U16:
    case EML_DT_I16:
    case EML_DT_F16:
    case EML_DT_BF16:
        return 2;
    case EML_DT_STRING:
        return EML_STRING_BYTES;
    case EML_DT_F32:
    case EML_DT_I32:
    case EML_DT_U32:
        return 4;
    case EML_DT_I64:
    case EML_DT_F64:
    case EML_DT_U64:
        return 8;
    default:
        return 0;
    }
}

const char *eml_dtype_name(enum eml_dtype t)
{
    static const char *const names[] = {
        [EML_DT_F32] = "float32",
        [EML_DT_U8] = "uint8",
        [EML_DT_I8] = "int8",
        [EML_DT_U16] = "uint16",
        [EML_DT_I16] = "int16",
        [EML_DT_I32] = "int32",
        [EML_DT_I64] = "int64",
        [EML_DT_STRING] = "string",
        [EML_DT_BOOL] = "bool",
        [EML_DT_F16] = "float16",
        [EML_DT_F64] = "float64",
        [EML_DT_U32] = "uint32",
        [EML_DT_U64] = "uint64",
        [EML_DT_BF16] = "bfloat16",
        [EML_DT_F8E4M3FN] = "float8e4m3fn",
        [EML_DT_F8E4M3FNUZ] = "float8e4m3fnuz",
        [EML_DT_F8E5M2] = "float8e5m2",
        [EML_DT_F8E5M2FNUZ] = "float8e5m2fnuz",
        [EML_DT_U4] = "uint4",
        [EML_DT_I4] = "int4",
    };
    size_t i = (size_t)t;
    return i < sizeof names / sizeof names[0] && names[i] != NULL ? names[i] : "unknown";
}

bool eml_shape_count(const struct eml_shape *s, int64_t *count)
{
    int64_t n = 1;
    bool empty = false;
    for (uint32_t i = 0; i < s->rank; i++) {
        if (s->dim[i] < 0)
            return false;
        empty = empty || s->dim[i] == 0;
    }
    for (uint32_t i = 0; i < s->rank && !empty; i++)
        if (!eml_mul_i64(n, s->dim[i], &n))
            return false;
    *count = empty ? 0 : n;
    return true;
}

size_t eml_act_params(enum eml_act a)
{
    switch (a) {
    case EML_ACT_CLIP:
    case EML_ACT_HARD_SIGMOID:
    case EML_ACT_HARD_SWISH:
        return 2;
    case EML_ACT_LEAKY_RELU:
        return 1;
    default:
        return 0;
    }
}

const struct eml_attr *eml_node_attr(const struct eml_node *n, enum eml_attr_id id)
{
    for (uint32_t i = 0; i < n->n_attr; i++)
        if (n->attr[i].id == id)
            return &n->attr[i];
    return NULL;
}

int64_t eml_node_int(const struct eml_node *n, enum eml_attr_id id, int64_t otherwise)
{
    const struct eml_attr *a = eml_node_attr(n, id);
    return a != NULL && a->n > 0 ? a->v[0] : otherwise;
}

#define OP(id, name, since, in_min, in_max, out_max, attrs, rule, kernel)                          \
    [EML_OP_##id] = {name, since, in_min, in_max, out_max, attrs},
static const struct eml_op_info OPS[EML_OP_N] = {
#include "model/ops.def"
};
#undef OP

const struct eml_op_info *eml_op_info(enum eml_op op)
{
    EML_ASSERT((unsigned)op < EML_OP_N);
    return &OPS[op];
}
