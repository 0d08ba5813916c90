#include "engine/i8gemm.h"

#include "base/checked.h"

#include <string.h>

enum {
    ROWS = 32,     /* of a task: its part of a stays in the first-level cache */
    TASKS_MIN = 16 /* fewer rows than that many tasks: columns are cut as well */
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t div_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

static size_t thread_bytes(size_t k)
{
    return (ROWS * (eml_i8_groups(k) * 4 + sizeof(int32_t)) + 63) / 64 * 64;
}

uint8_t *eml_i8_gemm_take(struct eml_scratch *s, unsigned threads, size_t k)
{
    size_t k_bytes;
    if (!eml_mul_size(k, ROWS * 2, &k_bytes)) {
        s->failed = true;
        return NULL;
    }
    return eml_scratch_take(s, threads, thread_bytes(k));
}

struct job {
    const struct eml_i8_gemm *g;
    const struct eml_i8_kernels *kn;
    const struct eml_kernels *f32;
    uint8_t *scratch;
    size_t groups, panels, row_tiles, column_tasks;
};

static void piece(const struct job *j, size_t row, size_t m, size_t panel, size_t panels,
                  const uint8_t *a, const int32_t *row_sums)
{
    const struct eml_i8_gemm *g = j->g;
    const size_t column = panel * EML_I8_PANEL;
    const int8_t *b = g->b + panel * (j->groups + 1) * 64;
    int32_t sums[EML_I8_MR * EML_I8_PANELS * EML_I8_PANEL];
    j->kn->tile(&(struct eml_i8_tile){sums, m, panels, j->groups, a, b});
    const size_t n = min_size(panels * EML_I8_PANEL, g->n - column);
    j->kn->finish(&g->finish,
                  &(struct eml_i8_piece){sums, row_sums, b, row, m, column, n, j->groups});
    for (size_t r = 0; g->act.act != EML_ACT_NONE && r < m; r++) {
        float *y = (float *)g->finish.y + (row + r) * g->finish.ldy + column;
        j->f32->act(y, y, n, &g->act);
    }
}

static void task(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct job *j = arg;
    const struct eml_i8_gemm *g = j->g;
    const size_t row_bytes = j->groups * 4;
    uint8_t *a = j->scratch + thread * thread_bytes(g->k);
    int32_t *sums = (int32_t *)(void *)(a + ROWS * row_bytes);
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        const size_t row = i / j->column_tasks * ROWS, m = min_size(ROWS, g->m - row);
        const size_t part = i % j->column_tasks;
        const size_t from = part * j->panels / j->column_tasks;
        const size_t to = (part + 1) * j->panels / j->column_tasks;
        g->rows(g->rows_arg, row, m, a);
        for (size_t r = 0; r < m; r++)
            sums[r] = g->finish.b_zero ? j->kn->row_sum(a + r * row_bytes, row_bytes) : 0;
        for (size_t p = from; p < to; p += j->kn->panels)
            for (size_t r = 0; r < m; r += j->kn->mr)
                piece(j, row + r, min_size(j->kn->mr, m - r), p, min_size(j->kn->panels, to - p),
                      a + r * row_bytes, sums + r);
    }
}

void eml_i8_gemm_run(const struct eml_op_ctx *c, const struct eml_i8_gemm *g, uint8_t *scratch)
{
    struct job j = {.g = g,
                    .kn = eml_i8_kernels_for(c->kernels->isa),
                    .f32 = c->kernels,
                    .scratch = scratch,
                    .groups = eml_i8_groups(g->k),
                    .panels = div_up(g->n, EML_I8_PANEL),
                    .row_tiles = div_up(g->m, ROWS)};
    if (g->m == 0 || g->n == 0)
        return;
    j.column_tasks = min_size(div_up(TASKS_MIN, j.row_tiles), div_up(j.panels, EML_I8_PANELS));
    eml_pool_for(c->pool, (int64_t)(j.row_tiles * j.column_tasks), 1, task, &j);
}

static void panel(int8_t *out, const struct eml_i8_source *s, size_t k, size_t columns)
{
    const size_t groups = eml_i8_groups(k);
    int32_t sums[EML_I8_PANEL] = {0};
    memset(out, 0, groups * 64);
    size_t outer = 0, x = 0;
    for (size_t i = 0; i < k; i++) {
        const uint8_t *row = s->src + outer * s->outer_stride + x * s->inner_stride;
        for (size_t j = 0; j < columns; j++) {
            int8_t v = (int8_t)(row[j * s->col_stride] ^ (s->flip ? 0x80 : 0));
            out[i / 4 * 64 + j * 4 + i % 4] = v;
            sums[j] = (int32_t)((uint32_t)sums[j] + (uint32_t)(int32_t)v);
        }
        if (++x == s->inner) {
            x = 0;
            outer++;
        }
    }
    memcpy(out + groups * 64, sums, sizeof sums);
}

void eml_i8_pack(int8_t *out, const struct eml_i8_source *s, size_t k, size_t n)
{
    struct eml_i8_source at = *s;
    for (size_t j = 0; j < n; j += EML_I8_PANEL) {
        at.src = s->src + j * s->col_stride;
        panel(out, &at, k, min_size(n - j, EML_I8_PANEL));
        out += (eml_i8_groups(k) + 1) * 64;
    }
}
