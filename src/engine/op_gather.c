/* Operators that read by index, and those that make tensors out of numbers. An index is data: it is
 * checked here, and anything out of range is EML_E_INPUT. */
#include "engine/exec.h"
#include "engine/indices.h"
#include "engine/plan.h"
#include "engine/walk.h"
#include "engine/weights.h"

#include "model/limits.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

static uint32_t axis_of(const struct eml_op_ctx *c)
{
    int64_t axis = eml_node_int(c->node, EML_ATTR_AXIS, 0);
    return (uint32_t)(axis < 0 ? axis + (int64_t)c->in[0].shape.rank : axis);
}

struct gather {
    const struct eml_view *x, *k;
    uint8_t *y;
    int64_t n, count; /* dim of the axis; number of indices */
    size_t row;       /* bytes below the axis */
    atomic_bool bad;
};

static void gather_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    struct gather *g = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t outer = i / g->count, at = eml_index_in(eml_index_at(g->k, i % g->count), g->n);
        if (at < 0) {
            atomic_store_explicit(&g->bad, true, memory_order_relaxed);
            continue;
        }
        memcpy(g->y + (size_t)i * g->row,
               (const uint8_t *)g->x->data + (size_t)(outer * g->n + at) * g->row, g->row);
    }
}

/* Of a sealed table only the wanted rows are opened, or, where the source has whole blocks only or
 * there are more indices than rows, the blocks with wanted rows, each once. */
enum { ROWS_BLOCKS = 8, ROWS_WORK = 1 << 24 };

enum eml_weights_use eml_use_gather(const struct eml_op_ctx *c, uint32_t i, uint64_t bytes,
                                    size_t *piece)
{
    uint64_t blocks = bytes / EML_WEIGHTS_BLOCK, work;
    bool rows = i == 0 && axis_of(c) == 0 && blocks >= ROWS_BLOCKS && c->out[0].count > 0 &&
                !__builtin_mul_overflow(blocks + 2, (uint64_t)c->in[1].count, &work) &&
                work <= ROWS_WORK;
    *piece = EML_WEIGHTS_BLOCK;
    return rows ? EML_WEIGHTS_OWN : EML_WEIGHTS_WHOLE;
}

struct sealed_gather {
    const struct gather *g;
    struct eml_weights_window *window;
    uint64_t first_block;
};

/* What of the bytes [from, end) of the table lies in the block goes to row i of the output. */
static void copy_part(const struct gather *g, int64_t i, uint64_t from, uint64_t block_start,
                      const uint8_t *block)
{
    uint64_t end = from + g->row, block_end = block_start + EML_WEIGHTS_BLOCK;
    uint64_t start = from > block_start ? from : block_start;
    end = end < block_end ? end : block_end;
    memcpy(g->y + (size_t)i * g->row + (start - from), block + (start - block_start),
           (size_t)(end - start));
}

static void gather_blocks(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct sealed_gather *s = arg;
    const struct gather *g = s->g;
    uint64_t offset = g->x->offset;
    for (int64_t b = begin; b < end; b++) {
        uint64_t number = s->first_block + (uint64_t)b, start = number * EML_WEIGHTS_BLOCK;
        uint64_t before = start > offset ? (start - offset) / g->row : 0;
        int64_t first = (int64_t)before; /* rows with bytes in the block: [first, last] */
        int64_t last = (int64_t)((start + EML_WEIGHTS_BLOCK - 1 - offset) / g->row);
        const uint8_t *block = NULL;
        for (int64_t i = 0; i < g->count; i++) {
            int64_t at = eml_index_in(eml_index_at(g->k, i), g->n);
            if (at < first || at > last)
                continue;
            if (block == NULL)
                block = eml_weights_own(s->window, thread, start, EML_WEIGHTS_BLOCK);
            if (block == NULL)
                return; /* the runner knows */
            copy_part(g, i, offset + (uint64_t)at * g->row, start, block);
        }
    }
}

/* Rows straight to where they belong, each as often as it is asked for. */
static void open_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct sealed_gather *s = arg;
    const struct gather *g = s->g;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = eml_index_in(eml_index_at(g->k, i), g->n);
        uint64_t from = g->x->offset + (uint64_t)at * g->row;
        if (!eml_weights_read(s->window, from, g->row, g->y + (size_t)i * g->row))
            return; /* the runner knows */
    }
}

static enum eml_err gather_sealed(const struct eml_op_ctx *c, const struct gather *g)
{
    for (int64_t i = 0; i < g->count; i++)
        if (eml_index_in(eml_index_at(g->k, i), g->n) < 0)
            return eml_index_bad(c);
    uint64_t first = g->x->offset, end = first + (uint64_t)g->n * g->row;
    struct sealed_gather s = {g, c->window, first / EML_WEIGHTS_BLOCK};
    uint64_t blocks = (end - 1) / EML_WEIGHTS_BLOCK + 1 - s.first_block;
    if (eml_weights_has_parts(c->window) && g->count <= g->n) {
        eml_pool_for(c->pool, g->count, 1 + 16384 / (int64_t)g->row, open_rows, &s);
        return EML_OK;
    }
    eml_pool_for(c->pool, (int64_t)blocks, 16, gather_blocks, &s);
    return EML_OK;
}

enum eml_err eml_op_gather(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    uint32_t axis = axis_of(c);
    struct gather g = {.x = x,
                       .k = &c->in[1],
                       .y = y->data,
                       .n = x->shape.dim[axis],
                       .count = c->in[1].count,
                       .row = eml_dtype_bytes(x->dtype)};
    if (y->count == 0) {
        for (int64_t i = 0; i < g.count; i++)
            if (eml_index_in(eml_index_at(g.k, i), g.n) < 0)
                return eml_index_bad(c);
        return EML_OK;
    }
    int64_t outer = 1;
    for (uint32_t i = 0; i < axis; i++)
        outer *= x->shape.dim[i];
    for (uint32_t i = axis + 1; i < x->shape.rank; i++)
        g.row *= (size_t)x->shape.dim[i];
    atomic_init(&g.bad, false);
    if (x->data == NULL)
        return gather_sealed(c, &g);
    eml_pool_for(c->pool, outer * g.count, 1 + 65536 / (int64_t)g.row, gather_rows, &g);
    return atomic_load_explicit(&g.bad, memory_order_relaxed) ? eml_index_bad(c) : EML_OK;
}

enum eml_err eml_op_gather_elements(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *k = &c->in[1], *y = &c->out[0];
    uint32_t axis = axis_of(c), rank = x->shape.rank;
    size_t bytes = eml_dtype_bytes(x->dtype);
    int64_t stride[EML_RANK_MAX];
    eml_strides(&x->shape, stride);
    for (int64_t i = 0; i < k->count; i++) {
        int64_t from = 0, rest = i;
        for (uint32_t d = rank; d-- > 0;) {
            int64_t at = rest % k->shape.dim[d];
            rest /= k->shape.dim[d];
            from += d == axis ? 0 : at * stride[d];
        }
        int64_t at = eml_index_in(eml_index_at(k, i), x->shape.dim[axis]);
        if (at < 0)
            return eml_index_bad(c);
        memcpy((uint8_t *)y->data + (size_t)i * bytes,
               (const uint8_t *)x->data + (size_t)(from + at * stride[axis]) * bytes, bytes);
    }
    return EML_OK;
}

enum eml_err eml_op_constant_of_shape(const struct eml_op_ctx *c)
{
    const struct eml_view *y = &c->out[0];
    size_t bytes = eml_dtype_bytes(y->dtype);
    if (c->n_in < 2 || c->in[1].dtype == EML_DT_NONE) {
        memset(y->data, 0, (size_t)y->count * bytes);
        return EML_OK;
    }
    struct eml_walk w = eml_walk_start(2);
    const int64_t repeat[2] = {1, 0};
    eml_walk_dim(&w, y->count, repeat);
    eml_walk_finish(&w);
    eml_walk_copy(&w, c->pool, bytes, y->data, c->in[1].data);
    return EML_OK;
}

static double range_number(const struct eml_op_ctx *c, uint32_t i)
{
    const void *v = c->in[i].data;
    return c->in[i].dtype == EML_DT_F64 ? *(const double *)v : (double)*(const float *)v;
}

/* Of floats: the length of integers follows from the rule. */
/* Of int64 only: the rule knows the size of the others, and of these unless a number is -2^63 or
 * the range is longer than int64 tells. */
static enum eml_err size_of_integers(const struct eml_op_ctx *c, struct eml_shape *shape)
{
    int64_t a[3];
    for (uint32_t i = 0; i < 3; i++)
        a[i] = eml_load_int(c->in[i].dtype, c->in[i].data, 0);
    bool up = a[1] > a[0];
    uint64_t span = up ? (uint64_t)a[1] - (uint64_t)a[0] : (uint64_t)a[0] - (uint64_t)a[1];
    uint64_t by = a[2] > 0 ? (uint64_t)a[2] : 0 - (uint64_t)a[2];
    uint64_t n = span == 0 || by == 0 || up != (a[2] > 0) ? 0 : (span - 1) / by + 1;
    if (by == 0 || n > EML_TENSOR_BYTES_MAX)
        return eml_fail(c->why, EML_E_INPUT, "Range: the step is 0, or too many steps", -1);
    shape[0].dim[0] = (int64_t)n;
    return EML_OK;
}

enum eml_err eml_size_range(const struct eml_op_ctx *c, struct eml_shape *shape)
{
    if (c->in[0].dtype != EML_DT_F32 && c->in[0].dtype != EML_DT_F64)
        return size_of_integers(c, shape);
    double n = ceil((range_number(c, 1) - range_number(c, 0)) / range_number(c, 2));
    if (!(n < 0x1p53)) /* also not a number: a step of 0 */
        return eml_fail(c->why, EML_E_INPUT, "Range: the step is 0, or too many steps", -1);
    shape[0].dim[0] = n > 0 ? (int64_t)n : 0;
    return EML_OK;
}

enum eml_err eml_op_range(const struct eml_op_ctx *c)
{
    const struct eml_view *y = &c->out[0];
    for (int64_t i = 0; i < y->count; i++) {
        switch (y->dtype) {
        case EML_DT_I64:
            /* stays between start and limit: only the product may wrap around */
            ((uint64_t *)y->data)[i] = ((const uint64_t *)c->in[0].data)[0] +
                                       (uint64_t)i * ((const uint64_t *)c->in[2].data)[0];
            break;
        case EML_DT_I16:
            ((int16_t *)y->data)[i] = (int16_t)(((const int16_t *)c->in[0].data)[0] +
                                                i * ((const int16_t *)c->in[2].data)[0]);
            break;
        case EML_DT_I32:
            ((int32_t *)y->data)[i] = (int32_t)(((const int32_t *)c->in[0].data)[0] +
                                                i * ((const int32_t *)c->in[2].data)[0]);
            break;
        case EML_DT_F64:
            ((double *)y->data)[i] = range_number(c, 0) + (double)i * range_number(c, 2);
            break;
        default:
            ((float *)y->data)[i] = (float)(range_number(c, 0) + (double)i * range_number(c, 2));
        }
    }
    return EML_OK;
}
