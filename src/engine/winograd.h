/* Convolution of 3 x 3 windows, stride 1, by Winograd's F(4x4, 3x3): a quarter of the multiplies.
 *
 * Four by four output pixels at a time, from six by six input pixels: 36 products of matrices
 * [tiles, ci] x [ci, co]. Weights are transformed in each run, into scratch: they travel and lie in
 * memory as for the direct convolution. Many tiles: all weights are transformed first, and each
 * task does a chunk of tiles. Few tiles and many channels: all input is transformed first, and each
 * task does some columns, whose weights stay in its core's cache. Rounding errors are about twice
 * the direct sum's (see kernels/simd_winograd.h). Results do not depend on the number of threads.
 */
#ifndef EML_ENGINE_WINOGRAD_H
#define EML_ENGINE_WINOGRAD_H

#include "engine/fused.h"
#include "engine/spatial.h"
#include "engine/weights.h"

/* How a convolution is cut: `chunks` of `chunk` tiles (the last may have fewer), or by columns:
 * `share` panels of 16 each (the last may have fewer). */
struct eml_winograd {
    struct eml_spatial s;
    size_t ci, co, tiles_y, tiles_x, tiles, chunk, chunks;
    bool by_columns;
    size_t share;
};

/* Scratch, per thread where a stride is given (in floats). */
struct eml_winograd_pieces {
    float *u; /* [36][u_step]: panels of [ci][16]; per thread if by columns */
    float *v; /* [tiles][36][v_step], per thread unless by columns: [chunk][36][v_step] */
    float *m; /* per thread: [chunk][36][m_step] */
    size_t u_step, v_step, m_step, u_stride, v_stride, m_stride;
    float *zeros; /* [ci] */
};

/* Whether the method fits this convolution of one group and is expected to be faster; *w is set
 * then. The answer depends on shapes, kernels and `threads` only. */
bool eml_winograd_plan(const struct eml_kernels *kn, const struct eml_spatial *s, size_t co,
                       unsigned threads, struct eml_winograd *w);

struct eml_winograd_pieces eml_winograd_take(struct eml_scratch *scratch,
                                             const struct eml_winograd *w, unsigned threads);

/* y = conv(x, weights) + epilogue; weights: EML_LAYOUT_PANEL16 of a Conv. window: where they are
 * opened as they are transformed, or NULL. */
void eml_winograd_run(const struct eml_winograd *w, const struct eml_winograd_pieces *p,
                      const struct eml_kernels *kn, struct eml_pool *pool, float *y, const float *x,
                      const float *weights, struct eml_weights_window *window,
                      const struct eml_epilogue *e);

#endif
