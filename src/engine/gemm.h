/* Products of matrices on the pool, on top of the kernels' tiles.
 *
 * c[m, n] = a[m, k] * b[k, n] + epilogue, for a dense matrix a with a row stride. Work is cut into
 * tiles of rows and column panels that threads claim; K is never split among threads, so results
 * are the same for any number of threads.
 */
#ifndef EML_ENGINE_GEMM_H
#define EML_ENGINE_GEMM_H

#include "engine/kernels/kernels.h"
#include "engine/pool.h"

/* One product of a batch. b: packed panels (b_row 16, b_panel 16*k) or any form that struct
 * eml_tile describes. */
struct eml_gemm {
    size_t m, n, k;
    size_t batch; /* products; the strides below are floats from one to the next */
    float *c;
    size_t ldc, c_batch;
    const float *a;
    size_t lda, a_batch;
    const float *b;
    size_t b_row, b_panel, b_batch;
    struct eml_epilogue epilogue;
    size_t residual_batch;
    /* If not NULL: elements of a, b, c, residual for product i are at these offsets (floats)
     * instead of i times the batch strides: [batch][4]. */
    const size_t (*offsets)[4];
};

void eml_gemm_run(const struct eml_kernels *kn, struct eml_pool *pool, const struct eml_gemm *g);

#endif
