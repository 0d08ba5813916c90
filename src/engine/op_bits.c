/* Operators on bits: BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot, BitShift; and the tests of what
 * a float is: IsInf, IsNaN. */
#include "engine/real.h"
#include "engine/typed.h"
#include "engine/walk.h"

#include <math.h>

enum bit_op { AND, OR, XOR, LEFT, RIGHT };

struct bits {
    const struct eml_op_ctx *c;
    enum bit_op op;
    int64_t sa, sb; /* innermost strides */
};

static uint64_t combine(enum bit_op op, uint64_t a, uint64_t b, unsigned width)
{
    switch (op) {
    case AND:
        return a & b;
    case OR:
        return a | b;
    case XOR:
        return a ^ b;
    case LEFT: /* all bits are gone once the distance reaches the width */
        return b < width ? a << b : 0;
    case RIGHT:
        return b < width ? a >> b : 0;
    }
    EML_BUG();
}

/* Signed types have the bits of unsigned ones; BitShift takes unsigned types only. */
#define BITS(name, type)                                                                           \
    static void bits_##name(void *arg, const int64_t *at, int64_t n)                               \
    {                                                                                              \
        const struct bits *s = arg;                                                                \
        type *y = (type *)s->c->out[0].data + at[0];                                               \
        const type *a = (const type *)s->c->in[0].data + at[1];                                    \
        const type *b = (const type *)s->c->in[1].data + at[2];                                    \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = (type)combine(s->op, a[i * s->sa], b[i * s->sb], 8 * sizeof(type));             \
    }
EML_UNSIGNED_TYPES(BITS)

static enum bit_op bit_op_of(const struct eml_node *n)
{
    switch (n->op) {
    case EML_OP_BITWISE_AND:
        return AND;
    case EML_OP_BITWISE_OR:
        return OR;
    case EML_OP_BITWISE_XOR:
        return XOR;
    default:
        return eml_node_int(n, EML_ATTR_DIRECTION, 0) == 0 ? LEFT : RIGHT;
    }
}

static eml_walk_fn *bits_of_width(size_t bytes)
{
    switch (bytes) {
    case 1:
        return bits_U8;
    case 2:
        return bits_U16;
    case 4:
        return bits_U32;
    default:
        return bits_U64;
    }
}

enum eml_err eml_op_bitwise(const struct eml_op_ctx *c)
{
    const struct eml_shape *in[2] = {&c->in[0].shape, &c->in[1].shape};
    struct eml_walk w = eml_walk_broadcast(&c->out[0].shape, 2, in);
    struct bits s = {c, bit_op_of(c->node), w.stride[1][w.rank - 1], w.stride[2][w.rank - 1]};
    eml_walk_run(&w, c->pool, bits_of_width(eml_dtype_bytes(c->in[0].dtype)), &s);
    return EML_OK;
}

enum eml_err eml_op_bitwise_not(const struct eml_op_ctx *c)
{
    size_t n = (size_t)c->out[0].count * eml_dtype_bytes(c->out[0].dtype);
    const uint8_t *x = c->in[0].data;
    uint8_t *y = c->out[0].data;
    for (size_t i = 0; i < n; i++)
        y[i] = (uint8_t)~x[i];
    return EML_OK;
}

enum eml_err eml_op_is_inf(const struct eml_op_ctx *c)
{
    bool negative = eml_node_int(c->node, EML_ATTR_DETECT_NEGATIVE, 1) != 0;
    bool positive = eml_node_int(c->node, EML_ATTR_DETECT_POSITIVE, 1) != 0;
    uint8_t *y = c->out[0].data;
    for (int64_t i = 0; i < c->out[0].count; i++) {
        double x = eml_real_at(&c->in[0], i);
        bool hit = isinf(x) && (x < 0 ? negative : positive);
        y[i] = hit;
    }
    return EML_OK;
}

enum eml_err eml_op_is_nan(const struct eml_op_ctx *c)
{
    uint8_t *y = c->out[0].data;
    for (int64_t i = 0; i < c->out[0].count; i++) {
        double x = eml_real_at(&c->in[0], i);
        y[i] = x != x;
    }
    return EML_OK;
}
