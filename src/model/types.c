#include "model/graph.h"

#include "base/checked.h"
#include "model/strings.h"
#include "model/type_sets.h"

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

/* clang-format off */
#define DTYPES(X) \
    X(F32, "float32") \
    X(U8, "uint8") \
    X(I8, "int8") \
    X(U16, "uint16") \
    X(I16, "int16") \
    X(I32, "int32") \
    X(I64, "int64") \
    X(STRING, "string") \
    X(BOOL, "bool") \
    X(F16, "float16") \
    X(F64, "float64") \
    X(U32, "uint32") \
    X(U64, "uint64") \
    X(BF16, "bfloat16") \
    X(F8E4M3FN, "float8e4m3fn") \
    X(F8E4M3FNUZ, "float8e4m3fnuz") \
    X(F8E5M2, "float8e5m2") \
    X(F8E5M2FNUZ, "float8e5m2fnuz") \
    X(U4, "uint4") \
    X(I4, "int4")
/* clang-format on */

static const char *text_of(const char *const *texts, size_t n, enum eml_dtype t, const char *other)
{
    return (size_t)t < n && texts[t] != NULL ? texts[t] : other;
}

const char *eml_dtype_name(enum eml_dtype t)
{
#define NAME(id, name) [EML_DT_##id] = name,
    static const char *const names[] = {DTYPES(NAME)};
#undef NAME
    return text_of(names, sizeof names / sizeof names[0], t, "unknown");
}

const char *eml_dtype_refusal(enum eml_dtype t)
{
#define REFUSAL(id, name) [EML_DT_##id] = name " is not supported by this operator",
    static const char *const refusals[] = {DTYPES(REFUSAL)};
#undef REFUSAL
    return text_of(refusals, sizeof refusals / sizeof refusals[0], t,
                   "element type not supported by this operator");
}

bool eml_shape_count(const struct eml_shape *s, int64_t *count)
{
    int64_t n = 1;
    bool empty = false, too_many = false;
    for (uint32_t i = 0; i < s->rank; i++) {
        if (s->dim[i] < 0)
            return false;
        empty = empty || s->dim[i] == 0;
        too_many = too_many || !eml_mul_i64(n, s->dim[i], &n);
    }
    if (too_many && !empty)
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

#define OP(id, name, since, types, in_min, in_max, out_max, attrs, rule, kernel)                   \
    [EML_OP_##id] = {name, since, types, in_min, in_max, out_max, attrs},
static const struct eml_op_info OPS[EML_OP_N] = {
#include "model/ops.def"
};
#undef OP

const struct eml_op_info *eml_op_info(enum eml_op op)
{
    EML_ASSERT((unsigned)op < EML_OP_N);
    return &OPS[op];
}

bool eml_types_has(uint32_t set, enum eml_dtype t)
{
    return set == EVERY || ((unsigned)t < 32 && (set >> t & 1) != 0);
}

uint32_t eml_op_typed(enum eml_op op)
{
    switch (op) {
    case EML_OP_WHERE:             /* what is chosen from */
    case EML_OP_CONSTANT_OF_SHAPE: /* what fills */
        return 1;
    case EML_OP_ONE_HOT: /* off and on */
        return 2;
    default:
        return 0;
    }
}

uint32_t eml_node_types(const struct eml_node *n)
{
    uint32_t row = eml_op_info(n->op)->types;
    switch (n->op) {
    case EML_OP_MOD:
        return eml_node_int(n, EML_ATTR_FMOD, 0) != 0 ? row : row & INTS;
    case EML_OP_SCATTER_ELEMENTS:
    case EML_OP_SCATTER_ND: /* moves, or reduces */
        return eml_node_int(n, EML_ATTR_REDUCTION, 0) == 0 ? row : row & NUMBERS;
    case EML_OP_RESIZE: /* moves the nearest, or mixes */
        return eml_node_int(n, EML_ATTR_MODE, 0) == 0 ? row : row & T(F32);
    case EML_OP_DROPOUT: /* moves in inference, where it goes; the engine runs that of training */
        return row & FLOATS;
    default:
        return row;
    }
}
