/* Products of matrices on the pool, on top of the kernels' tiles.
 *
 * c = a * b + epilogue. Work is cut into tiles of rows and groups of column panels that threads
 * claim; K is never split among threads, so results are the same for any number of threads. Long K
 * is cut into ranges that are added up in order, so that b's part of a tile stays in the
 * second-level cache.
 */
#ifndef EML_ENGINE_GEMM_H
#define EML_ENGINE_GEMM_H

#include "engine/exec.h"
#include "engine/kernels/kernels.h"
#include "engine/pool.h"

/* Where the operands of one product of a batch start, in floats. */
struct eml_gemm_offsets {
    size_t a, b, c, residual;
};

/* c[m, n] = a[m, k] * b[k, n] + epilogue, `batch` times. b: packed panels (b_row 16, b_panel 16*k)
 * or any form that struct eml_tile describes. offsets: [batch], or NULL for a batch of 1. */
struct eml_gemm {
    size_t m, n, k, batch;
    float *c;
    size_t ldc;
    const float *a;
    size_t lda;
    const float *b;
    size_t b_row, b_panel;
    bool bf16; /* elements of a and b are pairs of bfloat16, and k counts pairs */
    struct eml_epilogue epilogue;
    const struct eml_gemm_offsets *offsets;
    struct eml_weights_window *window; /* where b is opened as it is read, or NULL */
    const struct eml_view *own; /* the operand b, if threads open it for themselves; b is unused */
};

void eml_gemm_run(const struct eml_kernels *kn, struct eml_pool *pool, const struct eml_gemm *g);

/* Whether the packed panels [from, to) at b, rows [k0, k0 + k) of K = all, are open. */
EML_MUST bool eml_gemm_open(struct eml_weights_window *w, const float *b, size_t b_panel,
                            size_t from, size_t to, size_t k0, size_t k, size_t all);

/* Panels [from, to) of an operand that threads open for themselves, b_panel floats each; NULL on
 * failure. */
const float *eml_gemm_own(struct eml_weights_window *w, const struct eml_view *b, unsigned thread,
                          size_t b_panel, size_t from, size_t to);

/* How threads get at a packed matrix of `bytes` bytes: EML_WEIGHTS_OWN, nr columns of K = k at a
 * time; EML_WEIGHTS_LAZY if it is small. */
enum eml_weights_use eml_gemm_use(const struct eml_kernels *kn, size_t k, uint64_t bytes,
                                  size_t *piece);

/* How a product is cut: `row_tiles` of `rows` rows, times `column_tasks` of `groups_per_task`
 * groups; group i of `groups` has the panels [i*panels/groups, (i+1)*panels/groups). Depends on the
 * shape and the kernels only. a_floats: size of a in memory (a convolution's is smaller than m*k).
 */
struct eml_gemm_cut {
    size_t panels, groups, groups_per_task, column_tasks;
    size_t rows, row_tiles;
    bool rows_first; /* neighbouring tasks share b's columns rather than a's rows */
};
struct eml_gemm_cut eml_gemm_cut(const struct eml_kernels *kn, size_t m, size_t n, size_t k,
                                 size_t a_floats);
/* If each thread has to open the columns it multiplies with: a task is all rows of a group, or so
 * many as gives all threads the same to do. */
struct eml_gemm_cut eml_gemm_cut_own(const struct eml_kernels *kn, size_t m, size_t n,
                                     unsigned threads);

/* Task i of row_tiles * column_tasks: its row tile and column task. */
void eml_gemm_task(const struct eml_gemm_cut *cut, size_t i, size_t *row_tile, size_t *column_task);

/* The epilogue of columns [column, ...) of rows [row, ...). */
struct eml_epilogue eml_epilogue_at(const struct eml_epilogue *e, size_t row, size_t column);

#endif
