/* Operators that only move elements. */
#include "engine/exec.h"
#include "engine/slice.h"
#include "engine/walk.h"

#include <string.h>

static void copy(const struct eml_op_ctx *c, const struct eml_walk *w, int64_t y_at, int64_t x_at,
                 const struct eml_view *y, const struct eml_view *x)
{
    size_t bytes = eml_dtype_bytes(y->dtype);
    eml_walk_copy(w, c->pool, bytes, (uint8_t *)y->data + y_at * (int64_t)bytes,
                  (const uint8_t *)x->data + x_at * (int64_t)bytes);
}

enum eml_err eml_op_transpose(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    const struct eml_attr *perm = eml_node_attr(c->node, EML_ATTR_PERM);
    int64_t sx[EML_RANK_MAX], sy[EML_RANK_MAX];
    struct eml_walk w = eml_walk_start(2);
    eml_strides(&x->shape, sx);
    eml_strides(&y->shape, sy);
    for (uint32_t i = 0; i < y->shape.rank; i++) {
        uint32_t from = perm != NULL ? (uint32_t)perm->v[i] : y->shape.rank - 1 - i;
        const int64_t s[2] = {sy[i], sx[from]};
        eml_walk_dim(&w, y->shape.dim[i], s);
    }
    eml_walk_finish(&w);
    copy(c, &w, 0, 0, y, x);
    return EML_OK;
}

/* Copies all of `part` into or out of the dims [at, at + part) of `whole` along an axis. */
static struct eml_walk part_walk(const struct eml_view *part, const struct eml_view *whole,
                                 bool into_whole)
{
    int64_t sp[EML_RANK_MAX], sw[EML_RANK_MAX];
    struct eml_walk w = eml_walk_start(2);
    eml_strides(&part->shape, sp);
    eml_strides(&whole->shape, sw);
    for (uint32_t i = 0; i < part->shape.rank; i++) {
        const int64_t s[2] = {into_whole ? sw[i] : sp[i], into_whole ? sp[i] : sw[i]};
        eml_walk_dim(&w, part->shape.dim[i], s);
    }
    eml_walk_finish(&w);
    return w;
}

static uint32_t axis_of(const struct eml_op_ctx *c, const struct eml_view *v, int64_t otherwise)
{
    int64_t axis = eml_node_int(c->node, EML_ATTR_AXIS, otherwise);
    return (uint32_t)(axis < 0 ? axis + (int64_t)v->shape.rank : axis);
}

/* The rows above the axis, all inputs for each: the output is written from front to back. */
struct concat {
    const struct eml_op_ctx *c;
    uint32_t axis;
    size_t inner; /* bytes below the axis */
    size_t row;   /* of the output */
};

static void concat_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct concat *j = arg;
    const struct eml_op_ctx *c = j->c;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        uint8_t *y = (uint8_t *)c->out[0].data + (size_t)i * j->row;
        for (uint32_t k = 0; k < c->n_in; k++) {
            size_t bytes = (size_t)c->in[k].shape.dim[j->axis] * j->inner;
            if (bytes > 0)
                memcpy(y, (const uint8_t *)c->in[k].data + (size_t)i * bytes, bytes);
            y += bytes;
        }
    }
}

enum { CONCAT_ROWS_MIN = 8, CONCAT_TASK_BYTES = 128 * 1024 };

enum eml_err eml_op_concat(const struct eml_op_ctx *c)
{
    const struct eml_view *y = &c->out[0];
    uint32_t axis = axis_of(c, y, 0);
    int64_t stride[EML_RANK_MAX], at = 0;
    if (y->count == 0)
        return EML_OK;
    eml_strides(&y->shape, stride);
    struct concat j = {c, axis, (size_t)stride[axis] * eml_dtype_bytes(y->dtype), 0};
    j.row = (size_t)y->shape.dim[axis] * j.inner;
    int64_t rows = y->count / (y->shape.dim[axis] * stride[axis]);
    if (rows >= CONCAT_ROWS_MIN) {
        eml_pool_for(c->pool, rows, (int64_t)(CONCAT_TASK_BYTES / j.row + 1), concat_rows, &j);
        return EML_OK;
    }
    for (uint32_t i = 0; i < c->n_in; i++) {
        const struct eml_view *x = &c->in[i];
        struct eml_walk w = part_walk(x, y, true);
        copy(c, &w, at * stride[axis], 0, y, x);
        at += x->shape.dim[axis];
    }
    return EML_OK;
}

enum eml_err eml_op_split(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0];
    uint32_t axis = axis_of(c, x, 0);
    int64_t stride[EML_RANK_MAX], at = 0;
    eml_strides(&x->shape, stride);
    const struct eml_view *sizes = c->n_in > 1 && c->in[1].dtype != EML_DT_NONE ? &c->in[1] : NULL;
    int64_t total = x->shape.dim[axis], n = c->n_out, each = total / n + (total % n != 0);
    for (uint32_t i = 0; i < c->n_out; i++) {
        const struct eml_view *y = &c->out[i];
        if (y->dtype != EML_DT_NONE) {
            struct eml_walk w = part_walk(y, x, false);
            copy(c, &w, 0, at * stride[axis], y, x);
        }
        if (sizes == NULL)
            at = at + each < total ? at + each : total;
        else if (sizes->dtype == EML_DT_I64)
            at += ((const int64_t *)sizes->data)[i];
        else
            at += ((const int32_t *)sizes->data)[i];
    }
    return EML_OK;
}

enum { SLICE_LISTS = 4 };

/* The lists of a Slice, out of the operands' elements. A bound of -2^63 cuts as the next one does,
 * which unlike it can be known to a rule. */
static enum eml_err slice_of(const struct eml_op_ctx *c, struct eml_slice *cut)
{
    int64_t room[SLICE_LISTS][EML_RANK_MAX];
    const int64_t *list[SLICE_LISTS] = {NULL};
    int64_t n = c->in[1].count;
    for (uint32_t i = 0; i < SLICE_LISTS && i + 1 < c->n_in; i++) {
        const struct eml_view *v = &c->in[i + 1];
        if (v->dtype == EML_DT_NONE)
            continue;
        if (v->count != n || n > EML_RANK_MAX)
            return eml_fail(c->why, EML_E_INPUT, "Slice: lists too long, or differ in length", -1);
        for (int64_t k = 0; k < n; k++) {
            room[i][k] = v->dtype == EML_DT_I64 ? ((const int64_t *)v->data)[k]
                                                : ((const int32_t *)v->data)[k];
            room[i][k] = room[i][k] < -INT64_MAX ? -INT64_MAX : room[i][k];
        }
        list[i] = room[i];
    }
    const struct eml_slice_args a = {(uint32_t)n, list[0], list[1], list[2], list[3]};
    if (eml_slice_make(&a, c->in[0].shape.rank, c->in[0].shape.dim, cut) != EML_OK)
        return eml_fail(c->why, EML_E_INPUT, "Slice: bad axis or step 0", -1);
    return EML_OK;
}

enum eml_err eml_size_slice(const struct eml_op_ctx *c, struct eml_shape *shape)
{
    struct eml_slice cut;
    EML_TRY(slice_of(c, &cut));
    for (uint32_t i = 0; i < cut.rank; i++)
        shape[0].dim[i] = cut.count[i];
    return EML_OK;
}

enum eml_err eml_op_slice(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    int64_t stride[EML_RANK_MAX], sy[EML_RANK_MAX], at = 0;
    struct eml_slice cut;
    EML_TRY(slice_of(c, &cut));
    struct eml_walk w = eml_walk_start(2);
    eml_strides(&x->shape, stride);
    eml_strides(&y->shape, sy);
    for (uint32_t i = 0; i < cut.rank; i++) {
        EML_ASSERT(cut.count[i] == y->shape.dim[i]);
        if (cut.count[i] == 0)
            return EML_OK;
        /* A single element needs no step, which may be huge. */
        const int64_t s[2] = {sy[i], cut.count[i] > 1 ? stride[i] * cut.step[i] : 0};
        at += cut.start[i] * stride[i];
        eml_walk_dim(&w, cut.count[i], s);
    }
    eml_walk_finish(&w);
    copy(c, &w, 0, at, y, x);
    return EML_OK;
}

enum eml_err eml_op_expand(const struct eml_op_ctx *c)
{
    const struct eml_shape *in[1] = {&c->in[0].shape};
    const struct eml_view *to = &c->in[1];
    const struct eml_shape *y = &c->out[0].shape;
    EML_ASSERT(to->count <= (int64_t)y->rank);
    /* A dimension that only the data tells, next to one that is known, was taken to be 1 or that.
     */
    for (int64_t i = 0; i < to->count; i++) {
        int64_t dim = ((const int64_t *)to->data)[i];
        if (dim != 1 && dim != y->dim[y->rank - (uint32_t)(to->count - i)])
            return eml_fail(c->why, EML_E_INPUT, "Expand: shapes do not broadcast", -1);
    }
    struct eml_walk w = eml_walk_broadcast(&c->out[0].shape, 1, in);
    copy(c, &w, 0, 0, &c->out[0], &c->in[0]);
    return EML_OK;
}

enum eml_err eml_op_tile(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    int64_t sx[EML_RANK_MAX], sy[EML_RANK_MAX];
    if (y->count == 0)
        return EML_OK;
    struct eml_walk w = eml_walk_start(2);
    eml_strides(&x->shape, sx);
    eml_strides(&y->shape, sy);
    for (uint32_t i = 0; i < x->shape.rank; i++) {
        int64_t dim = x->shape.dim[i];
        const int64_t again[2] = {sy[i] * dim, 0}, along[2] = {sy[i], sx[i]};
        eml_walk_dim(&w, y->shape.dim[i] / dim, again);
        eml_walk_dim(&w, dim, along);
    }
    eml_walk_finish(&w);
    copy(c, &w, 0, 0, y, x);
    return EML_OK;
}

/* ---- Pad ---- */

struct pad {
    const struct eml_view *x, *y;
    size_t bytes;
    int64_t mode, begin[EML_RANK_MAX], sx[EML_RANK_MAX];
    const uint8_t *fill;
};

enum { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

/* The source index for output index i along dim d, or -1 for the fill value. */
static int64_t pad_source(const struct pad *p, uint32_t d, int64_t i)
{
    int64_t n = p->x->shape.dim[d];
    i -= p->begin[d];
    if (i >= 0 && i < n)
        return i;
    int64_t period = 2 * (n - 1);
    switch (p->mode) {
    case PAD_REFLECT: /* to and fro, as often as needed */
        if (n == 1)
            return 0;
        i = (i % period + period) % period;
        return i < n ? i : period - i;
    case PAD_EDGE:
        return i < 0 ? 0 : n - 1;
    case PAD_WRAP:
        return (i % n + n) % n;
    default:
        return -1;
    }
}

static void pad_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    const struct pad *p = arg;
    uint32_t last = p->y->shape.rank - 1;
    int64_t n = p->y->shape.dim[last];
    for (int64_t row = begin; row < end; row++) {
        int64_t from = 0, rest = row;
        bool outside = false;
        for (uint32_t d = last; d-- > 0;) {
            int64_t s = pad_source(p, d, rest % p->y->shape.dim[d]);
            rest /= p->y->shape.dim[d];
            outside = outside || s < 0;
            from += s * p->sx[d];
        }
        uint8_t *y = (uint8_t *)p->y->data + (size_t)(row * n) * p->bytes;
        const uint8_t *x = p->x->data;
        for (int64_t i = 0; i < n; i++) {
            int64_t s = outside ? -1 : pad_source(p, last, i);
            const uint8_t *v = s < 0 ? p->fill : x + (size_t)(from + s) * p->bytes;
            memcpy(y + (size_t)i * p->bytes, v, p->bytes);
        }
    }
}

/* The elements of a steering operand as int64; NULL if it is omitted. They were known to the rule,
 * so they are few. */
static const int64_t *list(const struct eml_op_ctx *c, uint32_t i, int64_t *room)
{
    if (i >= c->n_in || c->in[i].dtype == EML_DT_NONE)
        return NULL;
    const struct eml_view *v = &c->in[i];
    EML_ASSERT(v->count <= 2 * EML_RANK_MAX);
    for (int64_t k = 0; k < v->count; k++)
        room[k] =
            v->dtype == EML_DT_I64 ? ((const int64_t *)v->data)[k] : ((const int32_t *)v->data)[k];
    return room;
}

enum eml_err eml_op_pad(const struct eml_op_ctx *c)
{
    static const uint8_t zero[8] = {0};
    int64_t pads_room[2 * EML_RANK_MAX], axes_room[2 * EML_RANK_MAX], end[EML_RANK_MAX];
    struct pad p = {.x = &c->in[0],
                    .y = &c->out[0],
                    .fill = zero,
                    .bytes = eml_dtype_bytes(c->in[0].dtype),
                    .mode = eml_node_int(c->node, EML_ATTR_MODE, 0)};
    uint32_t rank = p.x->shape.rank;
    if (p.y->count == 0)
        return EML_OK;
    if (rank == 0) {
        memcpy(p.y->data, p.x->data, p.bytes);
        return EML_OK;
    }
    (void)list(c, 1, pads_room);
    bool axes_given = list(c, 3, axes_room) != NULL;
    struct eml_known pads = {.n_ints = (uint32_t)c->in[1].count, .ints = pads_room}, axes = {0};
    if (axes_given)
        axes = (struct eml_known){.n_ints = (uint32_t)c->in[3].count, .ints = axes_room};
    EML_TRY(eml_pads_make(&pads, axes_given ? &axes : NULL, rank, p.begin, end));
    if (c->n_in > 2 && c->in[2].dtype != EML_DT_NONE)
        p.fill = c->in[2].data;
    eml_strides(&p.x->shape, p.sx);
    int64_t n = p.y->shape.dim[rank - 1];
    eml_pool_for(c->pool, p.y->count / n, 1 + 4096 / n, pad_rows, &p);
    return EML_OK;
}

/* ---- space and depth, channels last ---- */

enum eml_err eml_op_space_to_depth(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    int64_t b = eml_node_int(c->node, EML_ATTR_BLOCKSIZE, 1), ch = x->shape.dim[3];
    int64_t h = y->shape.dim[1], w = y->shape.dim[2];
    int64_t sx_row = w * b * ch, sy_col = b * b * ch;
    /* y[n, h, w, (bh, bw, c)] = x[n, h*b + bh, w*b + bw, c] */
    const int64_t dims[6] = {x->shape.dim[0], h, w, b, b, ch};
    const int64_t s[6][2] = {{h * w * sy_col, h * b * sx_row},
                             {w * sy_col, b * sx_row},
                             {sy_col, b * ch},
                             {b * ch, sx_row},
                             {ch, ch},
                             {1, 1}};
    struct eml_walk walk = eml_walk_start(2);
    for (int i = 0; i < 6; i++)
        eml_walk_dim(&walk, dims[i], s[i]);
    eml_walk_finish(&walk);
    copy(c, &walk, 0, 0, y, x);
    return EML_OK;
}

enum eml_err eml_op_depth_to_space(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    int64_t b = eml_node_int(c->node, EML_ATTR_BLOCKSIZE, 1), ch = y->shape.dim[3];
    int64_t h = x->shape.dim[1], w = x->shape.dim[2], sx_col = b * b * ch;
    bool crd = eml_node_int(c->node, EML_ATTR_MODE, 0) == 1;
    /* y[n, h*b + bh, w*b + bw, c] = x[n, h, w, (bh, bw, c)], or CRD: x[n, h, w, (c, bh, bw)] */
    const int64_t sbh = crd ? b : b * ch, sbw = crd ? 1 : ch, sch = crd ? b * b : 1;
    const int64_t dims[6] = {x->shape.dim[0], h, b, w, b, ch};
    const int64_t sy_row = w * b * ch;
    const int64_t s[6][2] = {{h * b * sy_row, h * w * sx_col},
                             {b * sy_row, w * sx_col},
                             {sy_row, sbh},
                             {b * ch, sx_col},
                             {ch, sbw},
                             {1, sch}};
    struct eml_walk walk = eml_walk_start(2);
    for (int i = 0; i < 6; i++)
        eml_walk_dim(&walk, dims[i], s[i]);
    eml_walk_finish(&walk);
    copy(c, &walk, 0, 0, y, x);
    return EML_OK;
}

/* ---- Trilu ---- */

enum eml_err eml_op_trilu(const struct eml_op_ctx *c)
{
    const struct eml_view *x = &c->in[0], *y = &c->out[0];
    bool upper = eml_node_int(c->node, EML_ATTR_UPPER, 1) != 0;
    int64_t k = c->n_in > 1 && c->in[1].dtype != EML_DT_NONE ? *(const int64_t *)c->in[1].data : 0;
    int64_t rows = x->shape.dim[x->shape.rank - 2], cols = x->shape.dim[x->shape.rank - 1];
    size_t bytes = eml_dtype_bytes(x->dtype);
    if (x->count == 0)
        return EML_OK;
    k = k > cols ? cols : k < -rows ? -rows : k;
    for (int64_t i = 0; i < x->count / cols; i++) {
        const uint8_t *from = (const uint8_t *)x->data + (size_t)(i * cols) * bytes;
        uint8_t *to = (uint8_t *)y->data + (size_t)(i * cols) * bytes;
        /* first column on or above diagonal k, and the first above it */
        int64_t edge = i % rows + k + (upper ? 0 : 1);
        size_t at = (size_t)(edge < 0 ? 0 : edge > cols ? cols : edge) * bytes;
        size_t row = (size_t)cols * bytes;
        memset(to, 0, row);
        if (upper)
            memcpy(to + at, from + at, row - at);
        else
            memcpy(to, from, at);
    }
    return EML_OK;
}
