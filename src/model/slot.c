#include "model/graph.h"

#include "base/checked.h"

enum { PANEL = 16 };

struct product {
    uint64_t v;
    bool ok;
};

static void times(struct product *p, uint64_t factor)
{
    p->ok = p->ok && !__builtin_mul_overflow(p->v, factor, &p->v);
}

static uint64_t round_to_panel(struct product n, bool *ok)
{
    *ok = *ok && n.ok && n.v <= UINT64_MAX - (PANEL - 1);
    return (n.v + (PANEL - 1)) / PANEL * PANEL;
}

static struct product product_of(const struct eml_shape *s, uint32_t from, uint32_t to)
{
    struct product p = {1, true};
    for (uint32_t i = from; i < to; i++)
        times(&p, (uint64_t)s->dim[i]);
    return p;
}

/* `matrices` times [k, n], n padded to whole panels, of 4-byte elements. */
static bool panels(struct product matrices, struct product k, struct product n, uint64_t *bytes)
{
    bool ok = matrices.ok && k.ok;
    struct product all = {sizeof(float), true};
    times(&all, round_to_panel(n, &ok));
    times(&all, k.v);
    times(&all, matrices.v);
    *bytes = all.v;
    return ok && all.ok;
}

static bool panel16_bytes(const struct eml_shape *s, enum eml_op op, uint64_t group,
                          uint64_t *bytes)
{
    const uint32_t r = s->rank;
    struct product matrices = {group, true};
    switch (op) {
    case EML_OP_MATMUL:
    case EML_OP_GEMM:
        return r >= 2 && group == 1 && (op == EML_OP_MATMUL || r == 2) &&
               panels(product_of(s, 0, r - 2), product_of(s, r - 2, r - 1), product_of(s, r - 1, r),
                      bytes);
    case EML_OP_CONV: /* [O, I, k...]: K = k... I, N = O / group */
        return r >= 3 && (uint64_t)s->dim[0] % group == 0 &&
               panels(matrices, product_of(s, 1, r),
                      (struct product){(uint64_t)s->dim[0] / group, true}, bytes);
    case EML_OP_CONV_TRANSPOSE: /* [I, O / group, k...]: K = I / group, N = k... O / group */
        return r >= 3 && (uint64_t)s->dim[0] % group == 0 &&
               panels(matrices, (struct product){(uint64_t)s->dim[0] / group, true},
                      product_of(s, 1, r), bytes);
    case EML_OP_RNN:
    case EML_OP_GRU:
    case EML_OP_LSTM: { /* [directions, gates H, I]: K = I, N = H */
        const uint64_t gates = op == EML_OP_LSTM ? 4 : op == EML_OP_GRU ? 3 : 1;
        if (r != 3 || (uint64_t)s->dim[1] % gates != 0)
            return false;
        matrices = product_of(s, 0, 1);
        times(&matrices, gates);
        return panels(matrices, product_of(s, 2, 3),
                      (struct product){(uint64_t)s->dim[1] / gates, true}, bytes);
    }
    default:
        return false;
    }
}

/* A panel is ceil(K/4) + 1 groups of 64 bytes. */
static bool panel16_i8_bytes(const struct eml_shape *s, enum eml_op op, uint64_t group,
                             uint64_t *bytes)
{
    const uint32_t r = s->rank;
    struct product all = {64, true}, k;
    bool ok = true;
    uint64_t n;
    if (op == EML_OP_CONV_INTEGER || op == EML_OP_QLINEAR_CONV) {
        if (r < 3 || (uint64_t)s->dim[0] % group != 0)
            return false;
        k = product_of(s, 1, r);
        n = (uint64_t)s->dim[0] / group;
        times(&all, group);
    } else {
        if (r < 2 || group != 1)
            return false;
        k = product_of(s, r - 2, r - 1);
        n = (uint64_t)s->dim[r - 1];
        struct product matrices = product_of(s, 0, r - 2);
        all.ok = matrices.ok;
        times(&all, matrices.v);
    }
    times(&all, round_to_panel((struct product){n, true}, &ok) / PANEL);
    times(&all, k.v / 4 + (k.v % 4 != 0) + 1);
    *bytes = all.v;
    return ok && k.ok && all.ok;
}

/* Pairs of rows take the room of one row of floats. */
static bool panel16_bf16_bytes(const struct eml_shape *s, enum eml_op op, uint64_t *bytes)
{
    const uint32_t r = s->rank;
    if (op != EML_OP_MATMUL || r < 2)
        return false;
    struct product k = product_of(s, r - 2, r - 1);
    k.v = k.v / 2 + k.v % 2;
    return panels(product_of(s, 0, r - 2), k, product_of(s, r - 1, r), bytes);
}

bool eml_slot_read_by(enum eml_op op, uint32_t k, enum eml_layout l)
{
    switch (l) {
    case EML_LAYOUT_PLAIN:
        return true;
    case EML_LAYOUT_DEPTHWISE:
        return op == EML_OP_CONV && k == 1;
    case EML_LAYOUT_PANEL16_I8:
        if (op == EML_OP_QLINEAR_MATMUL || op == EML_OP_QLINEAR_CONV)
            return k == 3;
        return k == 1 && (op == EML_OP_MATMUL_INTEGER || op == EML_OP_CONV_INTEGER ||
                          op == EML_OP_MATMUL_INTEGER_TO_FLOAT);
    case EML_LAYOUT_PANEL16_BF16:
        return op == EML_OP_MATMUL && k == 1;
    case EML_LAYOUT_PANEL16:
        if (op == EML_OP_RNN || op == EML_OP_GRU || op == EML_OP_LSTM)
            return k == 1 || k == 2;
        return k == 1 && (op == EML_OP_CONV || op == EML_OP_CONV_TRANSPOSE || op == EML_OP_MATMUL ||
                          op == EML_OP_GEMM);
    case EML_LAYOUT_N:
        break;
    }
    return false;
}

bool eml_slot_bytes(enum eml_dtype t, const struct eml_shape *s, enum eml_layout l, enum eml_op op,
                    int64_t group, uint64_t *bytes)
{
    struct product all = product_of(s, 0, 0);
    if (s->rank > EML_RANK_MAX || eml_dtype_bytes(t) == 0 || group < 1)
        return false;
    for (uint32_t i = 0; i < s->rank; i++)
        if (s->dim[i] < 0)
            return false;
    const bool byte = t == EML_DT_U8 || t == EML_DT_I8;
    if (l == EML_LAYOUT_PANEL16_I8 ? !byte : l != EML_LAYOUT_PLAIN && t != EML_DT_F32)
        return false;
    switch (l) {
    case EML_LAYOUT_PLAIN: {
        int64_t count;
        if (!eml_shape_count(s, &count))
            return false;
        all.v = (uint64_t)count;
        times(&all, eml_dtype_bytes(t));
        *bytes = all.v;
        return all.ok;
    }
    case EML_LAYOUT_PANEL16:
        return panel16_bytes(s, op, (uint64_t)group, bytes);
    case EML_LAYOUT_DEPTHWISE: /* [C, 1, k...] */
        return op == EML_OP_CONV && s->rank >= 3 && s->dim[1] == 1 && s->dim[0] == group &&
               panels((struct product){1, true}, product_of(s, 2, s->rank), product_of(s, 0, 1),
                      bytes);
    case EML_LAYOUT_PANEL16_I8:
        return panel16_i8_bytes(s, op, (uint64_t)group, bytes);
    case EML_LAYOUT_PANEL16_BF16:
        return group == 1 && panel16_bf16_bytes(s, op, bytes);
    case EML_LAYOUT_N:
        break;
    }
    return false;
}
