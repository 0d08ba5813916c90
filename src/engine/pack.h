/* Packing of weights into the layouts of enum eml_layout (model/graph.h): what kernels read.
 *
 * Used by decomposition on constants and by the engine on activations. All sizes are in floats; the
 * callers have checked that products fit (eml_slot_bytes). `out` is filled completely, padding with
 * zeros. 64-byte alignment of `out` is wanted, not needed.
 */
#ifndef EML_ENGINE_PACK_H
#define EML_ENGINE_PACK_H

#include <stddef.h>
#include <stdint.h>

enum { EML_PANEL = 16 };

/* Floats of one packed [k, n] matrix: k * (n rounded up to 16). */
size_t eml_pack_panel16_floats(size_t k, size_t n);

/* EML_LAYOUT_PANEL16 of `batch` matrices [k, n]: element (b, i, j) is
 * src[b*batch_stride + i*row_stride + j*col_stride]. A transposed source ([n, k] in memory, as Gemm
 * with transB) has row_stride 1 and col_stride k. */
void eml_pack_panel16(float *restrict out, const float *restrict src, size_t batch, size_t k,
                      size_t n, size_t batch_stride, size_t row_stride, size_t col_stride);

/* EML_LAYOUT_PANEL16_BF16 of `batch` row-major matrices [k, n]. Needs batch *
 * eml_pack_panel16_floats(ceil(k/2), n) words. */
void eml_pack_panel16_bf16(uint32_t *restrict out, const float *restrict src, size_t batch,
                           size_t k, size_t n);

/* EML_LAYOUT_PANEL16 of a Conv weight w[o][i][taps], o all output channels, i input channels per
 * group, taps the product of the kernel's dims: `group` matrices [taps*i, o/group], i fastest in K.
 * Needs group * eml_pack_panel16_floats(taps*i, o/group). */
void eml_pack_conv(float *restrict out, const float *restrict w, size_t o, size_t i, size_t taps,
                   size_t group);

/* EML_LAYOUT_DEPTHWISE of w[c][1][taps]: [taps][c rounded up to 16]. */
void eml_pack_depthwise(float *restrict out, const float *restrict w, size_t c, size_t taps);

/* EML_LAYOUT_PANEL16 of a ConvTranspose weight w[i][o][taps], i all input channels, o output
 * channels per group: `group` matrices [i/group, taps*o], o fastest in N. Needs group *
 * eml_pack_panel16_floats(i/group, taps*o). */
void eml_pack_conv_transpose(float *restrict out, const float *restrict w, size_t i, size_t o,
                             size_t taps, size_t group);

#endif
