/* Products of bytes on the pool: rows of a are fetched through a callback into scratch (a copy, or
 * the windows of a convolution), b lies packed. Exact, so the cut does not matter to the result.
 */
#ifndef EML_ENGINE_I8GEMM_H
#define EML_ENGINE_I8GEMM_H

#include "engine/fused.h"
#include "engine/kernels/i8.h"

/* Fills `m` rows, from row `row` on, of `groups` * 4 bytes: unsigned (signed ones with the top bit
 * turned over), zeros behind K. */
typedef void eml_i8_rows_fn(const void *arg, size_t row, size_t m, uint8_t *to);

struct eml_i8_gemm {
    size_t m, n, k;
    eml_i8_rows_fn *rows;
    const void *rows_arg;
    const int8_t *b; /* packed */
    struct eml_i8_finish finish;
    struct eml_act_spec act; /* of f32 results; slope NULL */
};

static inline size_t eml_i8_groups(size_t k)
{
    return (k + 3) / 4;
}

/* Bytes of one packed [k, n] matrix. */
static inline size_t eml_i8_packed_bytes(size_t k, size_t n)
{
    return (n + EML_I8_PANEL - 1) / EML_I8_PANEL * (eml_i8_groups(k) + 1) * 64;
}

/* Scratch per thread of eml_i8_gemm_run with this k; taken once for all products of a node. */
uint8_t *eml_i8_gemm_take(struct eml_scratch *s, unsigned threads, size_t k);
void eml_i8_gemm_run(const struct eml_op_ctx *c, const struct eml_i8_gemm *g, uint8_t *scratch);

/* EML_LAYOUT_PANEL16_I8 of one matrix [k, n]: element (i, j), i = outer * inner + x with x < inner,
 * is src[outer * outer_stride + x * inner_stride + j * col_stride]. flip: the elements are uint8.
 */
struct eml_i8_source {
    const uint8_t *src;
    bool flip;
    size_t inner, inner_stride, outer_stride, col_stride;
};
void eml_i8_pack(int8_t *out, const struct eml_i8_source *s, size_t k, size_t n);

#endif
