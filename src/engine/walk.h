/* Walking several tensors together: the loop nest of broadcasting, slicing and permuting.
 *
 * A walk is a list of dims with one stride per dim and operand (in elements; 0 repeats, negative
 * goes backwards). Dims of 1 are dropped and dims that lie behind each other in all operands are
 * merged, so that the innermost loop is as long as it can be. Rows of it are shared among threads.
 */
#ifndef EML_ENGINE_WALK_H
#define EML_ENGINE_WALK_H

#include "engine/exec.h"

enum { EML_WALK_RANK = 2 * EML_RANK_MAX, EML_WALK_OPERANDS = 4 };

struct eml_walk {
    uint32_t rank, n; /* rank >= 1 once finished; n operands, the first is the output */
    int64_t dim[EML_WALK_RANK];
    int64_t stride[EML_WALK_OPERANDS][EML_WALK_RANK];
};

/* Row-major strides of a shape. */
void eml_strides(const struct eml_shape *s, int64_t stride[EML_RANK_MAX]);

/* Starts a walk of n operands, appends a dim (outermost first), and merges at the end. */
struct eml_walk eml_walk_start(uint32_t n);
void eml_walk_dim(struct eml_walk *w, int64_t dim, const int64_t *strides);
void eml_walk_finish(struct eml_walk *w);

/* A dense output and n inputs that broadcast to it. */
struct eml_walk eml_walk_broadcast(const struct eml_shape *out, uint32_t n,
                                   const struct eml_shape *const *in);

/* Calls f for pieces of rows: at[k] is the element offset of operand k, n the number of elements,
 * whose strides are w->stride[k][w->rank - 1]. Does nothing if a dim is 0. */
typedef void eml_walk_fn(void *arg, const int64_t *at, int64_t n);
void eml_walk_run(const struct eml_walk *w, struct eml_pool *pool, eml_walk_fn *f, void *arg);

/* Copies elements of `bytes` (1, 2, 4, 8, or those of a string) along a walk of two operands. */
void eml_walk_copy(const struct eml_walk *w, struct eml_pool *pool, size_t bytes, void *y,
                   const void *x);

#endif
