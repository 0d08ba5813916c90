/* Reductions over any axes, arguments of extremes, running sums. Floats are summed in double. */
#include "engine/kernels/kernels.h"
#include "engine/typed.h"
#include "engine/walk.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 64 };

/* The input as kept and reduced dims. Outputs are computed in blocks of up to `width`, which lie
 * side by side in the input; within a reduction, runs of `run` elements lie side by side. One of
 * the two is 1 unless the tensor is tiny: the innermost dim is either kept or reduced. */
struct reduce {
    const struct eml_op_ctx *c;
    struct eml_walk kept, gone;  /* one operand: the input */
    int64_t outs, width, blocks; /* outputs; in one row of the innermost kept dim */
    int64_t rows, run;           /* reduced: rows times run elements */
    int64_t count;               /* elements reduced into one */
};

static int64_t offset_of(const struct eml_walk *w, int64_t row, uint32_t dims)
{
    int64_t at = 0;
    for (uint32_t d = dims; d-- > 0;) {
        at += row % w->dim[d] * w->stride[0][d];
        row /= w->dim[d];
    }
    return at;
}

/* s[j] takes in x[j], for `width` outputs side by side; or `run` elements go into s[0]. */
#define TAKE(expr)                                                                                 \
    if (width == 1) {                                                                              \
        A s = acc[0];                                                                              \
        for (int64_t i = 0; i < run; i++) {                                                        \
            const A v = (A)x[i];                                                                   \
            s = (expr);                                                                            \
        }                                                                                          \
        acc[0] = s;                                                                                \
    } else {                                                                                       \
        for (int64_t i = 0; i < width; i++) {                                                      \
            const A v = (A)x[i], s = acc[i];                                                       \
            acc[i] = (expr);                                                                       \
        }                                                                                          \
    }                                                                                              \
    break

#define FLOAT_TAKE(name, type)                                                                     \
    static void take_##name(enum eml_op op, double *acc, const void *from, int64_t width,          \
                            int64_t run, const double *shift)                                      \
    {                                                                                              \
        typedef double A;                                                                          \
        const type *x = from;                                                                      \
        switch (op) {                                                                              \
        case EML_OP_REDUCE_L1:                                                                     \
            TAKE(s + fabs(v));                                                                     \
        case EML_OP_REDUCE_L2:                                                                     \
        case EML_OP_REDUCE_SUM_SQUARE:                                                             \
            TAKE(s + v * v);                                                                       \
        case EML_OP_REDUCE_PROD:                                                                   \
            TAKE(s *v);                                                                            \
        case EML_OP_REDUCE_MAX:                                                                    \
            TAKE(v != v || v > s ? v : s);                                                         \
        case EML_OP_REDUCE_MIN:                                                                    \
            TAKE(v != v || v < s ? v : s);                                                         \
        case EML_OP_REDUCE_LOG_SUM_EXP:                                                            \
            TAKE(s + exp(v - shift[width == 1 ? 0 : i]));                                          \
        default:                                                                                   \
            TAKE(s + v);                                                                           \
        }                                                                                          \
    }
EML_FLOAT_TYPES(FLOAT_TAKE)

/* Integers wrap around like their type does when the sum is stored. */
#define INT_TAKE(name, type, acc_type, magnitude)                                                  \
    static void take_##name(enum eml_op op, acc_type *acc, const void *from, int64_t width,        \
                            int64_t run)                                                           \
    {                                                                                              \
        typedef acc_type A;                                                                        \
        const type *x = from;                                                                      \
        switch (op) {                                                                              \
        case EML_OP_REDUCE_L1:                                                                     \
            TAKE((A)((uint64_t)s + (magnitude)));                                                  \
        case EML_OP_REDUCE_L2:                                                                     \
        case EML_OP_REDUCE_SUM_SQUARE:                                                             \
            TAKE((A)((uint64_t)s + (uint64_t)v * (uint64_t)v));                                    \
        case EML_OP_REDUCE_PROD:                                                                   \
            TAKE((A)((uint64_t)s * (uint64_t)v));                                                  \
        case EML_OP_REDUCE_MAX:                                                                    \
            TAKE(v > s ? v : s);                                                                   \
        case EML_OP_REDUCE_MIN:                                                                    \
            TAKE(v < s ? v : s);                                                                   \
        default:                                                                                   \
            TAKE((A)((uint64_t)s + (uint64_t)v));                                                  \
        }                                                                                          \
    }
#define SIGNED_TAKE(name, type) INT_TAKE(name, type, int64_t, v < 0 ? 0 - (uint64_t)v : (uint64_t)v)
#define UNSIGNED_TAKE(name, type) INT_TAKE(name, type, uint64_t, v)
EML_SIGNED_TYPES(SIGNED_TAKE)
EML_UNSIGNED_TYPES(UNSIGNED_TAKE)

static double start_of(enum eml_op op)
{
    switch (op) {
    case EML_OP_REDUCE_PROD:
        return 1;
    case EML_OP_REDUCE_MAX:
        return -INFINITY;
    case EML_OP_REDUCE_MIN:
        return INFINITY;
    default:
        return 0;
    }
}

static double finish(enum eml_op op, double s, int64_t count)
{
    switch (op) {
    case EML_OP_REDUCE_MEAN:
        return s / (double)count;
    case EML_OP_REDUCE_L2:
        return sqrt(s);
    case EML_OP_REDUCE_LOG_SUM:
        return log(s);
    default:
        return s;
    }
}

/* Contiguous sums of float32 have kernels. */
static bool take_fast(const struct reduce *r, enum eml_op op, double *acc, const float *x,
                      int64_t run)
{
    const struct eml_kernels *k = r->c->kernels;
    size_t n = (size_t)run;
    switch (op) {
    case EML_OP_REDUCE_SUM:
    case EML_OP_REDUCE_MEAN:
    case EML_OP_REDUCE_LOG_SUM:
        acc[0] += (double)k->sum(x, n);
        return true;
    case EML_OP_REDUCE_L2:
    case EML_OP_REDUCE_SUM_SQUARE:
        acc[0] += (double)k->sum_squares(x, n);
        return true;
    default:
        return false;
    }
}

static void pass(const struct reduce *r, enum eml_op op, double *acc, int64_t base, int64_t width,
                 const double *shift)
{
    const struct eml_view *x = &r->c->in[0];
    bool f32 = x->dtype == EML_DT_F32;
    for (int64_t i = 0; i < r->rows; i++) {
        int64_t at = base + offset_of(&r->gone, i, r->gone.rank - 1);
        if (f32 && r->run >= 16 && take_fast(r, op, acc, (const float *)x->data + at, r->run))
            continue;
        if (f32)
            take_F32(op, acc, (const float *)x->data + at, width, r->run, shift);
        else
            take_F64(op, acc, (const double *)x->data + at, width, r->run, shift);
    }
}

static void reduce_floats(const struct reduce *r, int64_t base, int64_t out, int64_t width)
{
    double acc[BLOCK], shift[BLOCK];
    enum eml_op op = r->c->node->op;
    bool lse = op == EML_OP_REDUCE_LOG_SUM_EXP;
    for (int64_t i = 0; lse && i < width; i++)
        shift[i] = -INFINITY;
    if (lse)
        pass(r, EML_OP_REDUCE_MAX, shift, base, width, NULL);
    for (int64_t i = 0; i < width; i++) {
        acc[i] = start_of(op);
        shift[i] = lse && isfinite(shift[i]) ? shift[i] : 0;
    }
    pass(r, op, acc, base, width, shift);
    for (int64_t i = 0; i < width; i++) {
        double v = lse ? shift[i] + log(acc[i]) : finish(op, acc[i], r->count);
        if (r->c->out[0].dtype == EML_DT_F32)
            ((float *)r->c->out[0].data)[out + i] = (float)v;
        else
            ((double *)r->c->out[0].data)[out + i] = v;
    }
}

#define INT_REDUCE(name, type, acc_type, lowest, highest)                                          \
    static void reduce_##name(const struct reduce *r, int64_t base, int64_t out, int64_t width)    \
    {                                                                                              \
        acc_type acc[BLOCK];                                                                       \
        enum eml_op op = r->c->node->op;                                                           \
        type *y = (type *)r->c->out[0].data + out;                                                 \
        for (int64_t i = 0; i < width; i++)                                                        \
            acc[i] = op == EML_OP_REDUCE_PROD  ? 1                                                 \
                     : op == EML_OP_REDUCE_MAX ? (acc_type)(lowest)                                \
                     : op == EML_OP_REDUCE_MIN ? (acc_type)(highest)                               \
                                               : 0;                                                \
        for (int64_t i = 0; i < r->rows; i++)                                                      \
            take_##name(op, acc,                                                                   \
                        (const type *)r->c->in[0].data + base +                                    \
                            offset_of(&r->gone, i, r->gone.rank - 1),                              \
                        width, r->run);                                                            \
        for (int64_t i = 0; i < width; i++) {                                                      \
            if (op == EML_OP_REDUCE_MEAN)                                                          \
                y[i] = (type)(r->count == 0 ? 0 : acc[i] / (acc_type)r->count);                    \
            else if (op == EML_OP_REDUCE_L2) {                                                     \
                double v = acc[i] > 0 ? sqrt((double)acc[i]) : 0;                                  \
                y[i] = v < (double)(highest) ? (type)v : (type)(highest);                          \
            } else                                                                                 \
                y[i] = (type)acc[i];                                                               \
        }                                                                                          \
    }
#define SIGNED_REDUCE(name, type)                                                                  \
    INT_REDUCE(name, type, int64_t, INT64_MIN >> (64 - 8 * sizeof(type)),                          \
               INT64_MAX >> (64 - 8 * sizeof(type)))
#define UNSIGNED_REDUCE(name, type)                                                                \
    INT_REDUCE(name, type, uint64_t, 0, UINT64_MAX >> (64 - 8 * sizeof(type)))
EML_SIGNED_TYPES(SIGNED_REDUCE)
EML_UNSIGNED_TYPES(UNSIGNED_REDUCE)

typedef void block_fn(const struct reduce *r, int64_t base, int64_t out, int64_t width);
#define REDUCE_OF(name, type) [EML_DT_##name] = reduce_##name,
static block_fn *const REDUCES[] = {EML_INT_TYPES(REDUCE_OF)[EML_DT_F32] = reduce_floats,
                                    [EML_DT_F64] = reduce_floats, [EML_DT_BOOL] = reduce_U8};

static void reduce_blocks(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct reduce *r = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t row = i / r->blocks, from = i % r->blocks * BLOCK;
        int64_t n = r->width - from < BLOCK ? r->width - from : BLOCK;
        int64_t base = offset_of(&r->kept, row, r->kept.rank - 1);
        int64_t step = r->kept.stride[0][r->kept.rank - 1];
        if (r->run == 1 && step == 1) {
            REDUCES[r->c->in[0].dtype](r, base + from, row * r->width + from, n);
            continue;
        }
        for (int64_t j = from; j < from + n; j++)
            REDUCES[r->c->in[0].dtype](r, base + j * step, row * r->width + j, 1);
    }
}

/* Bit mask of the axes that are reduced. */
static uint32_t axes_of(const struct eml_op_ctx *c)
{
    uint32_t mask = 0, rank = c->in[0].shape.rank;
    const struct eml_view *a = c->n_in > 1 && c->in[1].dtype != EML_DT_NONE ? &c->in[1] : NULL;
    for (int64_t i = 0; a != NULL && i < a->count; i++) {
        int64_t v =
            a->dtype == EML_DT_I64 ? ((const int64_t *)a->data)[i] : ((const int32_t *)a->data)[i];
        mask |= 1u << (v < 0 ? v + (int64_t)rank : v);
    }
    bool noop = eml_node_int(c->node, EML_ATTR_NOOP_WITH_EMPTY_AXES, 0) != 0;
    return mask == 0 && !noop ? (1u << rank) - 1 : mask;
}

enum eml_err eml_op_reduce(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    struct reduce r = {.c = c, .kept = eml_walk_start(1), .gone = eml_walk_start(1)};
    uint32_t mask = axes_of(c);
    int64_t stride[EML_RANK_MAX];
    if (y->count == 0)
        return EML_OK;
    eml_strides(&x->shape, stride);
    for (uint32_t d = 0; d < x->shape.rank; d++)
        eml_walk_dim((mask >> d & 1) != 0 ? &r.gone : &r.kept, x->shape.dim[d], &stride[d]);
    eml_walk_finish(&r.kept);
    eml_walk_finish(&r.gone);
    uint32_t last = r.gone.rank - 1;
    r.count = x->count / y->count;
    r.run = r.gone.dim[last];
    if (r.run != 1 && r.gone.stride[0][last] != 1) { /* not side by side: one row each */
        eml_walk_dim(&r.gone, 1, (const int64_t[]){1});
        r.run = 1;
    }
    r.rows = r.run == 0 ? 0 : r.count / r.run;
    r.width = r.kept.dim[r.kept.rank - 1];
    r.blocks = (r.width - 1) / BLOCK + 1;
    int64_t work = BLOCK * (r.count > 0 ? r.count : 1);
    eml_pool_for(c->pool, y->count / r.width * r.blocks, 1 + 16384 / work, reduce_blocks, &r);
    return EML_OK;
}

/* ---- ArgMax, ArgMin ---- */

struct arg {
    const void *x;
    int64_t *y;
    int64_t n, inner;
    bool max, last;
};

#define ARG(name, type)                                                                            \
    static void arg_##name(void *p, int64_t begin, int64_t end, unsigned thread)                   \
    {                                                                                              \
        (void)thread;                                                                              \
        const struct arg *a = p;                                                                   \
        for (int64_t i = begin; i < end; i++) {                                                    \
            const type *x = (const type *)a->x + i / a->inner * a->inner * a->n + i % a->inner;    \
            type best = x[0];                                                                      \
            int64_t at = 0;                                                                        \
            for (int64_t k = 1; k < a->n; k++) {                                                   \
                type v = x[k * a->inner];                                                          \
                bool better = a->max ? v > best : v < best;                                        \
                if (better || (a->last && v == best)) {                                            \
                    best = v;                                                                      \
                    at = k;                                                                        \
                }                                                                                  \
            }                                                                                      \
            a->y[i] = at;                                                                          \
        }                                                                                          \
    }
EML_NUMBER_TYPES(ARG)

#define ARG_OF(name, type) [EML_DT_##name] = arg_##name,
static eml_pool_fn *const ARGS[] = {EML_NUMBER_TYPES(ARG_OF)};

/* The axis, and the number of elements below it. */
static int64_t below(const struct eml_view *x, int64_t axis, uint32_t *out)
{
    int64_t inner = 1;
    *out = (uint32_t)(axis < 0 ? axis + (int64_t)x->shape.rank : axis);
    for (uint32_t d = *out + 1; d < x->shape.rank; d++)
        inner *= x->shape.dim[d];
    return inner;
}

enum eml_err eml_op_arg(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0];
    uint32_t axis;
    if (c->out[0].count == 0)
        return EML_OK;
    struct arg a = {.x = x->data,
                    .y = c->out[0].data,
                    .max = c->node->op == EML_OP_ARG_MAX,
                    .last = eml_node_int(c->node, EML_ATTR_SELECT_LAST_INDEX, 0) != 0};
    a.inner = below(x, eml_node_int(c->node, EML_ATTR_AXIS, 0), &axis);
    a.n = x->shape.dim[axis];
    eml_pool_for(c->pool, c->out[0].count, 1 + 8192 / a.n, ARGS[x->dtype], &a);
    return EML_OK;
}

/* ---- CumSum ---- */

#define CUM_SUM(name, type, acc_type)                                                              \
    static void cum_sum_##name(const struct eml_op_ctx *c, int64_t n, int64_t inner)               \
    {                                                                                              \
        bool exclusive = eml_node_int(c->node, EML_ATTR_EXCLUSIVE, 0) != 0;                        \
        bool reverse = eml_node_int(c->node, EML_ATTR_REVERSE, 0) != 0;                            \
        for (int64_t i = 0; i < c->out[0].count / n; i++) {                                        \
            int64_t base = i / inner * inner * n + i % inner;                                      \
            acc_type s = 0;                                                                        \
            for (int64_t k = 0; k < n; k++) {                                                      \
                int64_t at = base + (reverse ? n - 1 - k : k) * inner;                             \
                acc_type v = (acc_type)((const type *)c->in[0].data)[at];                          \
                ((type *)c->out[0].data)[at] = (type)(exclusive ? s : s + v);                      \
                s += v;                                                                            \
            }                                                                                      \
        }                                                                                          \
    }
CUM_SUM(F32, float, double)
CUM_SUM(F64, double, double)
CUM_SUM(I32, int32_t, uint64_t)
CUM_SUM(I64, int64_t, uint64_t)
CUM_SUM(U32, uint32_t, uint64_t)
CUM_SUM(U64, uint64_t, uint64_t)

enum eml_err eml_op_cum_sum(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *a = &c->in[1];
    int64_t rank = x->shape.rank;
    int64_t v = a->dtype == EML_DT_I64 ? *(const int64_t *)a->data : *(const int32_t *)a->data;
    uint32_t axis;
    if (v < -rank || v >= rank)
        return eml_fail(c->why, EML_E_INPUT, "axis out of range", -1);
    if (x->count == 0)
        return EML_OK;
    int64_t inner = below(x, v, &axis), n = x->shape.dim[axis];
    switch (x->dtype) {
    case EML_DT_F32:
        cum_sum_F32(c, n, inner);
        break;
    case EML_DT_F64:
        cum_sum_F64(c, n, inner);
        break;
    case EML_DT_I32:
        cum_sum_I32(c, n, inner);
        break;
    case EML_DT_U32:
        cum_sum_U32(c, n, inner);
        break;
    case EML_DT_U64:
        cum_sum_U64(c, n, inner);
        break;
    default:
        cum_sum_I64(c, n, inner);
    }
    return EML_OK;
}
