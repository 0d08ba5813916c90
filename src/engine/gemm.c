#include "engine/gemm.h"

#include "engine/weights.h"

enum {
    PANEL = 16,
    MR_MAX = 8,
    K_RANGE = 2048,           /* rows of b per pass: 48 columns of them are 384 KiB */
    B_RESIDENT = 96 * 1024,   /* floats of b that stay in the second-level cache beside a */
    A_RESIDENT = 64 * 1024,   /* floats of a that stay there beside a group of b's columns */
    TASK_MULTIPLIES = 300000, /* about 5 microseconds of AVX-512 */
    OWN_BYTES = 384 * 1024,   /* of sealed b from which on threads open it for themselves */
    IDLE_SHARE = 16           /* of the threads' time may be lost to an uneven cut */
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t div_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

struct eml_epilogue eml_epilogue_at(const struct eml_epilogue *e, size_t row, size_t column)
{
    struct eml_epilogue at = *e;
    if (at.bias)
        at.bias += column;
    if (at.residual)
        at.residual += row * at.residual_stride + column;
    if (at.act.slope)
        at.act.slope += column;
    return at;
}

/* Small b: a task takes all columns, so that its rows of a are read from memory once. Large b: a
 * task takes one group of columns, so that b is. */
struct eml_gemm_cut eml_gemm_cut(const struct eml_kernels *kn, size_t m, size_t n, size_t k,
                                 size_t a_floats)
{
    struct eml_gemm_cut cut = {.panels = div_up(n, PANEL)};
    cut.groups = div_up(cut.panels * PANEL, kn->nr);
    cut.groups_per_task = n <= B_RESIDENT / max_size(k, 1) ? cut.groups : 1;
    cut.column_tasks = div_up(cut.groups, max_size(cut.groups_per_task, 1));
    size_t columns = min_size(n, cut.groups_per_task * kn->nr);
    size_t per_row = max_size(columns * max_size(k, 16), 1);
    size_t rows = max_size(TASK_MULTIPLIES / per_row, kn->mr);
    cut.row_tiles = div_up(m, rows);
    cut.rows = div_up(div_up(m, max_size(cut.row_tiles, 1)), kn->mr) * kn->mr;
    cut.row_tiles = m ? div_up(m, cut.rows) : 0;
    cut.rows_first = a_floats <= A_RESIDENT || a_floats * cut.column_tasks <= n * k * cut.row_tiles;
    return cut;
}

struct eml_gemm_cut eml_gemm_cut_own(const struct eml_kernels *kn, size_t m, size_t n,
                                     unsigned threads)
{
    struct eml_gemm_cut cut = {
        .panels = div_up(n, PANEL), .groups_per_task = 1, .rows_first = true};
    cut.groups = div_up(cut.panels * PANEL, kn->nr);
    cut.column_tasks = cut.groups;
    size_t parts = 1, most = max_size(div_up(m, kn->mr), 1);
    for (; parts < most; parts++) {
        size_t tasks = cut.groups * parts, turns = div_up(tasks, threads) * threads;
        if ((turns - tasks) * IDLE_SHARE <= turns)
            break;
    }
    cut.rows = max_size(div_up(div_up(m, parts), kn->mr), 1) * kn->mr;
    cut.row_tiles = div_up(m, cut.rows);
    return cut;
}

void eml_gemm_task(const struct eml_gemm_cut *cut, size_t i, size_t *row_tile, size_t *column_task)
{
    *row_tile = cut->rows_first ? i % cut->row_tiles : i / cut->column_tasks;
    *column_task = cut->rows_first ? i / cut->row_tiles : i % cut->column_tasks;
}

struct job {
    const struct eml_kernels *kn;
    const struct eml_gemm *g;
    struct eml_gemm_cut cut;
    size_t ask; /* floats per row of b that a tile asks for of the next group's panels; 0: none */
};

/* A tile and what it points to. */
struct work {
    struct eml_tile tile;
    struct eml_epilogue epilogue;
    const float *rows[MR_MAX];
};

static void set_rows(const struct job *j, const struct eml_gemm_offsets *o, size_t row, size_t m,
                     size_t k0, struct work *w)
{
    const float *a = j->g->a + o->a + row * j->g->lda + k0;
    for (size_t i = 0; i < m; i++)
        w->rows[i] = a + i * j->g->lda;
    w->tile.m = m;
}

/* Panels [panel, end) of the rows that are set, a range of K. b: panel b_first. */
static void tile(const struct job *j, const struct eml_gemm_offsets *o, const float *b,
                 size_t b_first, size_t row, size_t panel, size_t end, size_t k0, struct work *w)
{
    const struct eml_gemm *g = j->g;
    size_t column = panel * PANEL;
    struct eml_tile *t = &w->tile;
    t->c = g->c + o->c + row * g->ldc + column;
    t->n = min_size(end * PANEL, g->n) - column;
    t->b = b + (panel - b_first) * g->b_panel + k0 * g->b_row;
    if (t->epilogue) {
        w->epilogue = eml_epilogue_at(&g->epilogue, row, column);
        if (w->epilogue.residual)
            w->epilogue.residual += o->residual;
    }
    /* read from memory only when needed, the next group would hold up its first tile */
    size_t at = row / j->kn->mr * j->ask * g->k;
    bool ask = j->ask != 0 && at < (j->cut.panels - end) * g->b_panel;
    t->soon = ask ? b + end * g->b_panel + at : NULL;
    t->soon_step = ask ? j->ask : 0;
    if (g->bf16)
        j->kn->gemm_tile_bf16(t);
    else
        j->kn->gemm_tile(t);
}

bool eml_gemm_open(struct eml_weights_window *w, const float *b, size_t b_panel, size_t from,
                   size_t to, size_t k0, size_t k, size_t all)
{
    if (w == NULL || from == to)
        return true;
    if (k == all) /* gapless */
        return eml_weights_open(w, b + from * b_panel, (to - from) * b_panel * sizeof(float));
    for (size_t p = from; p < to; p++)
        if (!eml_weights_open(w, b + p * b_panel + k0 * PANEL, k * PANEL * sizeof(float)))
            return false;
    return true;
}

const float *eml_gemm_own(struct eml_weights_window *w, const struct eml_view *b, unsigned thread,
                          size_t b_panel, size_t from, size_t to)
{
    size_t panel = b_panel * sizeof(float);
    uint64_t at = b->offset + (uint64_t)from * panel;
    return (const float *)(const void *)eml_weights_own(w, thread, at, (to - from) * panel);
}

static void task(const struct job *j, const struct eml_gemm_offsets *o, size_t row_tile,
                 size_t column_task, unsigned thread)
{
    const struct eml_gemm *g = j->g;
    size_t row_end = min_size((row_tile + 1) * j->cut.rows, g->m);
    size_t group0 = column_task * j->cut.groups_per_task;
    size_t group_end = min_size(group0 + j->cut.groups_per_task, j->cut.groups);
    size_t from = group0 * j->cut.panels / j->cut.groups;
    size_t to = group_end * j->cut.panels / j->cut.groups, k0 = 0;
    size_t b_first = g->own != NULL ? from : 0;
    const float *b = g->own != NULL ? eml_gemm_own(g->window, g->own, thread, g->b_panel, from, to)
                                    : g->b + o->b;
    struct work w = {
        .tile = {.ldc = g->ldc, .n_blocks = 1, .b_row = g->b_row, .b_panel = g->b_panel}};
    w.tile.rows = w.rows;
    do {
        /* the last range may be half as long again: no short remainder */
        size_t k = g->k - k0 <= K_RANGE + K_RANGE / 2 ? g->k - k0 : K_RANGE;
        if (b == NULL ||
            (g->own == NULL && !eml_gemm_open(g->window, b, g->b_panel, from, to, k0, k, g->k)))
            return;
        w.tile.block = k;
        w.tile.accumulate = k0 > 0;
        w.tile.epilogue = k0 + k == g->k ? &w.epilogue : NULL;
        for (size_t row = row_tile * j->cut.rows; row < row_end; row += j->kn->mr) {
            set_rows(j, o, row, min_size(row_end - row, j->kn->mr), k0, &w);
            for (size_t group = group0, panel = from, end; group < group_end;
                 group++, panel = end) {
                end = (group + 1) * j->cut.panels / j->cut.groups;
                tile(j, o, b, b_first, row, panel, end, k0, &w);
            }
        }
        k0 += k;
    } while (k0 < g->k);
}

static void tasks(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    const struct eml_gemm_offsets none = {0};
    size_t per_product = j->cut.row_tiles * j->cut.column_tasks;
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        size_t product = i / per_product, rest = i % per_product;
        size_t row_tile, column_task;
        eml_gemm_task(&j->cut, rest, &row_tile, &column_task);
        task(j, j->g->offsets ? &j->g->offsets[product] : &none, row_tile, column_task, thread);
    }
}

enum eml_weights_use eml_gemm_use(const struct eml_kernels *kn, size_t k, uint64_t bytes,
                                  size_t *piece)
{
    *piece = kn->nr * k * sizeof(float); /* a tensor's bytes fit, and k is one dim */
    return bytes > OWN_BYTES ? EML_WEIGHTS_OWN : EML_WEIGHTS_LAZY;
}

void eml_gemm_run(const struct eml_kernels *kn, struct eml_pool *pool, const struct eml_gemm *g)
{
    if (g->m == 0 || g->n == 0 || g->batch == 0)
        return;
    struct job j = {.kn = kn, .g = g};
    j.cut = g->own != NULL ? eml_gemm_cut_own(kn, g->m, g->n, eml_pool_threads(pool))
                           : eml_gemm_cut(kn, g->m, g->n, g->k, g->m * g->k);
    if (g->window == NULL && g->b_row == PANEL && j.cut.rows_first && j.cut.groups_per_task == 1 &&
        g->k <= K_RANGE + K_RANGE / 2)
        j.ask = min_size(div_up(kn->nr, div_up(g->m, kn->mr)), PANEL);
    size_t n = g->batch * j.cut.row_tiles * j.cut.column_tasks;
    /* many tiny products: several per claim */
    size_t work = max_size(g->m * g->n * max_size(g->k, 16) / (n / g->batch), 1);
    eml_pool_for(pool, (int64_t)n, (int64_t)max_size(TASK_MULTIPLIES / 2 / work, 1), tasks, &j);
}
