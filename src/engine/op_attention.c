/* Attention, an operator of decomposition's own: softmax(scale * Q K^T + mask) V for each head, of
 * Q [batch, queries, heads*d], K [batch, keys, heads*d] and V [batch, keys, heads*e] as the
 * projections leave them; out is [batch, queries, heads*e]. No transpose, and the scores of a few
 * rows at a time live in the first-level cache only (the idea of Rabe and Staats, arXiv
 * 2112.05682).
 *
 * K of one head is packed per task; V is read where it lies. Each row is computed the same way
 * whatever the cut.
 */
#include "engine/exec.h"
#include "engine/fused.h"
#include "engine/pack.h"

enum {
    MR_MAX = 8,
    ROWS_MIN = 128, /* per task: packing K costs as much as about 8 rows */
    TASKS = 32
};

struct attention {
    const struct eml_kernels *kn;
    float *out;
    const float *q, *k, *v, *mask;
    size_t batch, heads, queries, keys, d, e;
    size_t mask_step[3]; /* floats from one batch, head, query to the next; 0 repeats */
    float scale;
    size_t rows, row_tasks; /* rows of a task; tasks per head */
    float *packed, *scores; /* per thread */
    size_t packed_stride, scores_stride, row_stride;
};

static size_t dim(const struct eml_view *v, uint32_t i)
{
    return (size_t)v->shape.dim[i];
}

static void set_sizes(const struct eml_op_ctx *c, struct attention *a)
{
    a->kn = c->kernels;
    a->heads = (size_t)eml_node_int(c->node, EML_ATTR_NUM_HEADS, 1);
    a->batch = dim(&c->in[0], 0);
    a->queries = dim(&c->in[0], 1);
    a->keys = dim(&c->in[1], 1);
    a->d = dim(&c->in[0], 2) / a->heads;
    a->e = dim(&c->in[2], 2) / a->heads;
    size_t rows = a->batch * a->heads * a->queries / TASKS;
    rows = rows > ROWS_MIN ? rows : ROWS_MIN;
    rows = rows < a->queries ? rows : a->queries;
    a->row_tasks = rows > 0 ? (a->queries + rows - 1) / rows : 0;
    a->rows = a->row_tasks > 0 ? (a->queries + a->row_tasks - 1) / a->row_tasks : 0;
}

static void take(struct eml_scratch *scratch, struct attention *a, unsigned threads)
{
    a->packed_stride = eml_pack_panel16_floats(a->d, a->keys);
    a->row_stride = eml_pack_panel16_floats(1, a->keys);
    a->scores_stride = MR_MAX * a->row_stride;
    a->packed = eml_scratch_take(scratch, threads * a->packed_stride, sizeof(float));
    a->scores = eml_scratch_take(scratch, threads * a->scores_stride, sizeof(float));
}

bool eml_scratch_attention(const struct eml_op_ctx *c, size_t *bytes)
{
    struct attention a = {0};
    struct eml_scratch scratch = {0};
    set_sizes(c, &a);
    take(&scratch, &a, c->threads);
    *bytes = scratch.used;
    return !scratch.failed;
}

static void set_mask(const struct eml_op_ctx *c, struct attention *a)
{
    const struct eml_view *m = c->n_in > 3 && c->in[3].dtype != EML_DT_NONE ? &c->in[3] : NULL;
    if (m == NULL)
        return;
    a->mask = m->data;
    size_t step = dim(m, m->shape.rank - 1);
    for (uint32_t i = 1; i < m->shape.rank; i++) {
        size_t n = dim(m, m->shape.rank - 1 - i);
        a->mask_step[3 - i] = n > 1 ? step : 0;
        step *= n;
    }
}

/* scores[r] = softmax of row r, m rows. q: the first row of this head; packed: K^T. */
static void score_rows(const struct attention *a, float *scores, const float *q,
                       const float *packed, const float *mask, size_t m)
{
    const float *rows[MR_MAX];
    bool plain = a->scale == 1.0F;
    for (size_t r = 0; r < m; r++)
        rows[r] = q + r * a->heads * a->d;
    for (size_t column = 0; column < a->keys; column += a->kn->nr) {
        struct eml_epilogue e = {.residual_stride = a->mask_step[2]};
        if (mask && plain) /* what is the same for all rows is read once as a bias */
            *(a->mask_step[2] == 0 ? &e.bias : &e.residual) = mask + column;
        struct eml_tile t = {.c = scores + column,
                             .ldc = a->row_stride,
                             .m = m,
                             .n = a->keys - column < a->kn->nr ? a->keys - column : a->kn->nr,
                             .rows = rows,
                             .n_blocks = 1,
                             .block = a->d,
                             .b = packed + column * a->d,
                             .b_row = EML_PANEL,
                             .b_panel = EML_PANEL * a->d,
                             .epilogue = &e};
        a->kn->gemm_tile(&t);
    }
    for (size_t r = 0; !plain && r < m; r++) {
        float *row = scores + r * a->row_stride;
        a->kn->binary_scalar[EML_BINARY_MUL](row, row, a->scale, a->keys);
        if (mask)
            a->kn->binary[EML_BINARY_ADD](row, row, mask + r * a->mask_step[2], a->keys);
    }
    a->kn->softmax(scores, scores, a->keys, m, a->row_stride);
}

/* out = scores V, m rows. */
static void mix_rows(const struct attention *a, float *out, const float *scores, const float *v,
                     size_t m)
{
    const float *rows[MR_MAX];
    size_t ldv = a->heads * a->e;
    for (size_t r = 0; r < m; r++)
        rows[r] = scores + r * a->row_stride;
    for (size_t column = 0; column < a->e; column += a->kn->nr) {
        struct eml_tile t = {.c = out + column,
                             .ldc = ldv,
                             .m = m,
                             .n = a->e - column < a->kn->nr ? a->e - column : a->kn->nr,
                             .rows = rows,
                             .n_blocks = 1,
                             .block = a->keys,
                             .b = v + column,
                             .b_row = ldv,
                             .b_panel = EML_PANEL};
        a->kn->gemm_tile(&t);
    }
}

static void tasks(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct attention *a = arg;
    float *packed = a->packed + thread * a->packed_stride;
    float *scores = a->scores + thread * a->scores_stride;
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        size_t head = i / a->row_tasks % a->heads, b = i / a->row_tasks / a->heads;
        size_t row = i % a->row_tasks * a->rows;
        size_t row_end = a->queries - row < a->rows ? a->queries : row + a->rows;
        const float *k = a->k + (b * a->keys * a->heads + head) * a->d;
        const float *v = a->v + (b * a->keys * a->heads + head) * a->e;
        const float *mask = a->mask ? a->mask + b * a->mask_step[0] + head * a->mask_step[1] : NULL;
        eml_pack_panel16(packed, k, 1, a->d, a->keys, 0, 1, a->heads * a->d);
        for (size_t m; row < row_end; row += m) {
            m = row_end - row < a->kn->mr ? row_end - row : a->kn->mr;
            size_t at = (b * a->queries + row) * a->heads + head;
            score_rows(a, scores, a->q + at * a->d, packed,
                       mask ? mask + row * a->mask_step[2] : NULL, m);
            mix_rows(a, a->out + at * a->e, scores, v, m);
        }
    }
}

enum eml_err eml_op_attention(const struct eml_op_ctx *c)
{
    struct eml_scratch scratch = eml_scratch_of(c);
    struct attention a = {.out = c->out[0].data,
                          .q = c->in[0].data,
                          .k = c->in[1].data,
                          .v = c->in[2].data,
                          .scale = 1};
    if (c->n_params < 1)
        return eml_fail(c->why, EML_E_INPUT, "Attention: the scale is missing", -1);
    a.scale = c->params[0];
    set_sizes(c, &a);
    take(&scratch, &a, c->threads);
    if (scratch.failed)
        EML_BUG();
    set_mask(c, &a);
    if (c->out[0].count == 0)
        return EML_OK;
    if (a.keys == 0) { /* a sum of nothing */
        for (int64_t i = 0; i < c->out[0].count; i++)
            a.out[i] = 0;
        return EML_OK;
    }
    eml_pool_for(c->pool, (int64_t)(a.batch * a.heads * a.row_tasks), 1, tasks, &a);
    return EML_OK;
}
