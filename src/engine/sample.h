/* What the rules of infer_sample.c and their kernels share, so that both agree. */
#ifndef EML_ENGINE_SAMPLE_H
#define EML_ENGINE_SAMPLE_H

#include "engine/exec.h"

/* Col2Im: windows of an image, each a column. */
struct eml_patches {
    uint32_t n; /* spatial dims, 1..EML_RANK_MAX - 2 */
    int64_t image[EML_RANK_MAX], block[EML_RANK_MAX];
    int64_t stride[EML_RANK_MAX], dilation[EML_RANK_MAX], pad[EML_RANK_MAX];
    int64_t steps[EML_RANK_MAX]; /* windows along each dim */
    int64_t taps, windows;       /* products of block and steps */
};
/* image and block: n integers each. EML_E_INPUT. */
EML_MUST enum eml_err eml_patches_make(const struct eml_node *node, const int64_t *image,
                                       const int64_t *block, uint32_t n, struct eml_patches *out);

/* CenterCropPad: where[d] is the place in the n wanted sizes of dim d, or -1 if it stays. */
EML_MUST enum eml_err eml_crop_axes(const struct eml_node *node, uint32_t rank, uint32_t n,
                                    int where[EML_RANK_MAX]);

/* DeformConv: the window over x and w as in ONNX. */
EML_MUST enum eml_err eml_deform_window(const struct eml_node *node, const struct eml_shape *x,
                                        const struct eml_shape *w, struct eml_window *out,
                                        struct eml_why *why);

/* MaxUnpool: the shape that the attributes imply, and that the indices count in. */
EML_MUST enum eml_err eml_unpool_make(const struct eml_node *node, const struct eml_shape *x,
                                      struct eml_shape *out);

#endif
