/* MatMul and Gemm: operands are brought into the form of struct eml_gemm. */
#include "engine/wide.h"
#include "engine/exec.h"
#include "engine/fused.h"
#include "engine/gemm.h"
#include "engine/pack.h"

enum {
    FEW_ROWS = 8,              /* b is read once or twice: packing it would cost more */
    DIRECT_FLOATS = 16 * 1024, /* b stays in cache as it lies */
    GATHER_FLOATS = 32 * 1024  /* floats per task of a copy */
};

/* The product as shapes say it. a, b: floats from one matrix to the next of each batch dim. */
struct shapes {
    size_t m, n, k, batch;
    size_t a_rows; /* of all matrices of a; MatMul only */
    size_t b_matrices;
    bool trans_a, trans_b;
    bool packed, direct; /* b: packed weights; row-major, read where it lies; else packed at run */
    bool bf16;           /* packed as pairs of bfloat16; a will be, and k is a number of pairs */
};

static size_t udim(const struct eml_shape *s, uint32_t from_end)
{
    return s->rank >= from_end ? (size_t)s->dim[s->rank - from_end] : 1;
}

static size_t batch_count(const struct eml_shape *s)
{
    size_t n = 1;
    for (uint32_t i = 0; i + 2 < s->rank; i++)
        n *= (size_t)s->dim[i];
    return n;
}

static void choose_b_form(const struct eml_op_ctx *c, struct shapes *s)
{
    s->bf16 = c->in[1].layout == EML_LAYOUT_PANEL16_BF16;
    s->packed = c->in[1].layout == EML_LAYOUT_PANEL16 || s->bf16;
    s->k = s->bf16 ? s->k / 2 + s->k % 2 : s->k;
    s->direct = !s->packed && !s->trans_b && s->n % EML_PANEL == 0 &&
                (s->m <= FEW_ROWS || s->k * s->n <= DIRECT_FLOATS);
}

static struct shapes matmul_shapes(const struct eml_op_ctx *c)
{
    const struct eml_shape *a = &c->in[0].shape, *b = &c->in[1].shape;
    struct shapes s = {.k = udim(a, 1)};
    s.m = a->rank >= 2 ? udim(a, 2) : 1;
    s.n = b->rank >= 2 ? udim(b, 1) : 1;
    s.b_matrices = batch_count(b);
    size_t a_matrices = batch_count(a);
    s.a_rows = s.m * a_matrices;
    if (s.b_matrices == 1) {
        s.m *= a_matrices;
        s.batch = 1;
    } else {
        s.batch = s.m && s.n ? (size_t)c->out[0].count / (s.m * s.n) : 0;
    }
    choose_b_form(c, &s);
    return s;
}

static struct shapes gemm_shapes(const struct eml_op_ctx *c)
{
    struct shapes s = {.batch = 1, .b_matrices = 1};
    s.trans_a = eml_node_int(c->node, EML_ATTR_TRANS_A, 0) != 0;
    s.trans_b = eml_node_int(c->node, EML_ATTR_TRANS_B, 0) != 0;
    const struct eml_shape *a = &c->in[0].shape, *out = &c->out[0].shape;
    s.m = udim(out, 2);
    s.n = udim(out, 1);
    s.k = s.trans_a ? udim(a, 2) : udim(a, 1);
    choose_b_form(c, &s);
    return s;
}

/* The pieces of scratch, in one order for planning and running. */
struct pieces {
    struct eml_gemm_offsets *offsets;
    float *a, *b;
};

static struct pieces take(struct eml_scratch *scratch, const struct shapes *s)
{
    struct pieces p = {0};
    if (s->batch > 1)
        p.offsets = eml_scratch_take(scratch, s->batch, sizeof *p.offsets);
    if (s->trans_a)
        p.a = eml_scratch_take(scratch, s->m * s->k, sizeof(float));
    if (s->bf16)
        p.a = eml_scratch_take(scratch, s->a_rows, s->k * sizeof(float));
    if (!s->packed && !s->direct)
        p.b = eml_scratch_take(scratch, s->b_matrices * eml_pack_panel16_floats(s->k, s->n),
                               sizeof(float));
    return p;
}

enum eml_weights_use eml_use_product(const struct eml_op_ctx *c, uint32_t i, uint64_t bytes,
                                     size_t *piece)
{
    bool bf16 = c->in[1].layout == EML_LAYOUT_PANEL16_BF16;
    size_t k = udim(&c->in[1].shape, 2);
    if (i != 1 || (c->in[1].layout != EML_LAYOUT_PANEL16 && !bf16))
        return EML_WEIGHTS_WHOLE;
    if (batch_count(&c->in[1].shape) != 1)
        return EML_WEIGHTS_LAZY;
    return eml_gemm_use(c->kernels, bf16 ? k / 2 + k % 2 : k, bytes, piece);
}

static bool count_scratch(const struct shapes *s, size_t *bytes)
{
    struct eml_scratch scratch = {0};
    take(&scratch, s);
    *bytes = scratch.used;
    return !scratch.failed;
}

bool eml_scratch_matmul(const struct eml_op_ctx *c, size_t *bytes)
{
    *bytes = 0;
    if (eml_wide_is(c))
        return true;
    struct shapes s = matmul_shapes(c);
    return count_scratch(&s, bytes);
}

bool eml_scratch_gemm(const struct eml_op_ctx *c, size_t *bytes)
{
    *bytes = 0;
    if (eml_wide_is(c))
        return true;
    struct shapes s = gemm_shapes(c);
    return count_scratch(&s, bytes);
}

struct pack_job {
    float *out;
    const float *b;
    size_t k, n, panels, row_stride, col_stride;
};

static void pack_panels(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct pack_job *j = arg;
    (void)thread;
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        size_t matrix = i / j->panels, column = i % j->panels * EML_PANEL;
        size_t columns = j->n - column < EML_PANEL ? j->n - column : EML_PANEL;
        eml_pack_panel16(j->out + i * j->k * EML_PANEL,
                         j->b + matrix * j->k * j->n + column * j->col_stride, 1, j->k, columns, 0,
                         j->row_stride, j->col_stride);
    }
}

static void pack_b(const struct eml_op_ctx *c, const struct shapes *s, float *out)
{
    struct pack_job j = {.out = out,
                         .b = c->in[1].data,
                         .k = s->k,
                         .n = s->n,
                         .panels = (s->n + EML_PANEL - 1) / EML_PANEL,
                         .row_stride = s->trans_b ? 1 : s->n,
                         .col_stride = s->trans_b ? s->k : 1};
    if (s->k == 0)
        return;
    eml_pool_for(c->pool, (int64_t)(s->b_matrices * j.panels),
                 (int64_t)(GATHER_FLOATS / (s->k * EML_PANEL) + 1), pack_panels, &j);
}

/* b in the form that the tiles read. */
static void set_b(const struct eml_op_ctx *c, const struct shapes *s, float *packed,
                  struct eml_gemm *g)
{
    g->b = s->packed || s->direct ? c->in[1].data : packed;
    if (s->packed) {
        g->window = c->window;
        g->own = c->window != NULL && c->in[1].data == NULL ? &c->in[1] : NULL;
    }
    g->b_row = s->direct ? s->n : EML_PANEL;
    g->b_panel = s->direct ? EML_PANEL : EML_PANEL * s->k;
    if (!s->packed && !s->direct)
        pack_b(c, s, packed);
}

/* Where each product of a batch starts, by the rules of broadcasting on the leading dims. */
static void set_offsets(const struct eml_op_ctx *c, const struct shapes *s,
                        struct eml_gemm_offsets *offsets)
{
    const struct eml_shape *a = &c->in[0].shape, *b = &c->in[1].shape;
    size_t b_floats = s->direct ? s->k * s->n : eml_pack_panel16_floats(s->k, s->n);
    uint32_t a_batch = a->rank >= 2 ? a->rank - 2 : 0, b_batch = b->rank >= 2 ? b->rank - 2 : 0;
    uint32_t rank = a_batch > b_batch ? a_batch : b_batch;
    for (size_t i = 0; i < s->batch; i++) {
        size_t left = i, a_at = 0, b_at = 0, a_step = 1, b_step = 1;
        for (uint32_t d = 1; d <= rank; d++) {
            size_t da = d <= a_batch ? (size_t)a->dim[a_batch - d] : 1;
            size_t db = d <= b_batch ? (size_t)b->dim[b_batch - d] : 1;
            size_t dim = da > db ? da : db, at = left % dim;
            left /= dim;
            a_at += da > 1 ? at * a_step : 0;
            b_at += db > 1 ? at * b_step : 0;
            a_step *= da;
            b_step *= db;
        }
        offsets[i] = (struct eml_gemm_offsets){a_at * s->m * s->k, b_at * b_floats, i * s->m * s->n,
                                               i * s->m * s->n};
    }
}

struct round_job {
    const struct eml_kernels *kn;
    float *out;
    const float *a;
    size_t k, pairs; /* of a row of a and of out */
};

/* Rows of pairs of bfloat16, the first in the lower half; 0 behind an odd k. */
static void round_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct round_job *j = arg;
    (void)thread;
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        uint16_t *row = (uint16_t *)(void *)(j->out + i * j->pairs);
        row[2 * j->pairs - 1] = 0;
        j->kn->to_bf16(row, j->a + i * j->k, j->k);
    }
}

static void round_a(const struct eml_op_ctx *c, const struct shapes *s, float *out)
{
    struct round_job j = {c->kernels, out, c->in[0].data, udim(&c->in[0].shape, 1), s->k};
    if (s->k == 0)
        return;
    eml_pool_for(c->pool, (int64_t)s->a_rows, (int64_t)(GATHER_FLOATS / (j.k + 1) + 1), round_rows,
                 &j);
}

enum eml_err eml_op_matmul(const struct eml_op_ctx *c)
{
    if (eml_wide_is(c))
        return eml_wide_matmul(c);
    struct shapes s = matmul_shapes(c);
    struct eml_scratch scratch = eml_scratch_of(c);
    struct pieces p = take(&scratch, &s);
    if (scratch.failed)
        EML_BUG();
    struct eml_gemm g = {.m = s.m,
                         .n = s.n,
                         .k = s.k,
                         .batch = s.batch,
                         .c = c->out[0].data,
                         .ldc = s.n,
                         .a = c->in[0].data,
                         .lda = s.k,
                         .bf16 = s.bf16};
    EML_TRY(eml_fused_epilogue(c, 0, (int64_t)s.n, &g.epilogue));
    if (c->out[0].count == 0)
        return EML_OK;
    set_b(c, &s, p.b, &g);
    if (s.bf16) {
        round_a(c, &s, p.a);
        g.a = p.a;
    }
    if (s.batch > 1) {
        set_offsets(c, &s, p.offsets);
        g.offsets = p.offsets;
    }
    eml_gemm_run(c->kernels, c->pool, &g);
    return EML_OK;
}

struct transpose_job {
    float *out;
    const float *a;
    size_t m, k;
};

static void transpose_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct transpose_job *j = arg;
    (void)thread;
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        for (size_t x = 0; x < j->k; x++)
            j->out[i * j->k + x] = j->a[x * j->m + i];
    }
}

/* y = act(alpha * y + beta * c + residual), c of any shape that broadcasts to [m, n]. */
struct scale_job {
    const struct eml_kernels *kn;
    float *y;
    size_t n;
    float alpha, beta;
    const float *c;
    size_t c_row, c_column; /* floats from one row and column to the next; 0 repeats */
    struct eml_epilogue rest;
};

static void scale_rows(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct scale_job *j = arg;
    (void)thread;
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        float *y = j->y + i * j->n;
        const float *c = j->c ? j->c + i * j->c_row : NULL;
        for (size_t x = 0; x < j->n; x++)
            y[x] = j->alpha * y[x] + (c ? j->beta * c[x * j->c_column] : 0);
        if (j->rest.residual)
            j->kn->binary[EML_BINARY_ADD](y, y, j->rest.residual + i * j->rest.residual_stride,
                                          j->n);
        j->kn->act(y, y, j->n, &j->rest.act);
    }
}

/* The general Gemm: the product alone, then a pass for alpha, beta and a C of any shape. */
static enum eml_err scale(const struct eml_op_ctx *c, const struct shapes *s,
                          const struct eml_epilogue *rest)
{
    struct scale_job j = {.kn = c->kernels,
                          .y = c->out[0].data,
                          .n = s->n,
                          .alpha = c->params[0],
                          .beta = c->params[1],
                          .rest = *rest};
    const struct eml_view *bias = eml_fused_in(c, 2);
    if (bias) {
        size_t rows = udim(&bias->shape, 2), columns = udim(&bias->shape, 1);
        if (bias->dtype != EML_DT_F32 || (rows != 1 && rows != s->m) ||
            (columns != 1 && columns != s->n) || (size_t)bias->count != rows * columns)
            return eml_fail(c->why, EML_E_INPUT, "Gemm: C does not broadcast to the output", -1);
        j.c = bias->data;
        j.c_row = rows == 1 ? 0 : columns;
        j.c_column = columns == 1 ? 0 : 1;
    }
    eml_pool_for(c->pool, (int64_t)s->m, (int64_t)(GATHER_FLOATS / (s->n + 1) + 1), scale_rows, &j);
    return EML_OK;
}

/* C is a row that is added as it is: the epilogue does it all. */
static bool is_plain(const struct eml_op_ctx *c, const struct shapes *s)
{
    const struct eml_view *bias = eml_fused_in(c, 2);
    bool row = !bias || ((size_t)bias->count == s->n && udim(&bias->shape, 1) == s->n);
    return row && c->params[0] == 1.0F && (!bias || c->params[1] == 1.0F);
}

enum eml_err eml_op_gemm(const struct eml_op_ctx *c)
{
    if (eml_wide_is(c))
        return eml_wide_gemm(c);
    struct shapes s = gemm_shapes(c);
    if (c->n_params < 2)
        return eml_fail(c->why, EML_E_INPUT, "Gemm: alpha and beta are missing", -1);
    if (s.packed && s.trans_b)
        return eml_fail(c->why, EML_E_INPUT, "Gemm: packed weights cannot be transposed", -1);
    struct eml_scratch scratch = eml_scratch_of(c);
    struct pieces p = take(&scratch, &s);
    if (scratch.failed)
        EML_BUG();
    struct eml_gemm g = {.m = s.m,
                         .n = s.n,
                         .k = s.k,
                         .batch = 1,
                         .c = c->out[0].data,
                         .ldc = s.n,
                         .a = c->in[0].data,
                         .lda = s.k};
    bool plain = is_plain(c, &s);
    struct eml_epilogue rest = {0};
    if (plain) {
        EML_TRY(eml_fused_epilogue(c, 2, (int64_t)s.n, &g.epilogue));
    } else {
        EML_TRY(eml_fused_act(c, 2, (int64_t)s.n, &rest.act));
        const struct eml_view *residual = eml_fused_in(c, 3);
        rest.residual = residual ? residual->data : NULL;
        rest.residual_stride = s.n;
        if (residual && residual->count != c->out[0].count)
            return eml_fail(c->why, EML_E_INPUT, "residual: shape is not the output's", -1);
    }
    if (c->out[0].count == 0)
        return EML_OK;
    set_b(c, &s, p.b, &g);
    if (s.trans_a) {
        struct transpose_job t = {p.a, c->in[0].data, s.m, s.k};
        eml_pool_for(c->pool, (int64_t)s.m, (int64_t)(GATHER_FLOATS / (s.k + 1) + 1),
                     transpose_rows, &t);
        g.a = p.a;
    }
    eml_gemm_run(c->kernels, c->pool, &g);
    return plain ? EML_OK : scale(c, &s, &rest);
}
