/* Resize: the arithmetic that the rule and the kernel share.
 *
 * Resize works on any layout: sizes, scales, roi and axes speak of the dims as they are stored. The
 * operand `scales` (floats in ONNX) is carried as exact fractions, since the key holds no float:
 * integers [num, den] per axis, den a power of two, both below 2^62 (docs/formats/topology-key.md).
 */
#ifndef EML_ENGINE_RESIZE_H
#define EML_ENGINE_RESIZE_H

#include "engine/exec.h"

struct eml_resize {
    uint32_t rank;
    int64_t out[EML_RANK_MAX];
    float scale[EML_RANK_MAX]; /* output per input; 1 where an axis is not resized */
};

struct eml_resize_args {
    const int64_t *scales; /* [num, den] pairs, or NULL */
    uint32_t n_scales;     /* integers: twice the axes */
    const int64_t *sizes;  /* or NULL; exactly one of the two is given */
    uint32_t n_sizes;
};

/* Dims of x may be unknown, and then are unknown in out. EML_E_INPUT and the rule. */
EML_MUST enum eml_err eml_resize_make(const struct eml_node *node, const struct eml_shape *x,
                                      const struct eml_resize_args *a, struct eml_resize *out,
                                      struct eml_why *why);

/* v as fraction[0] / fraction[1], the latter a power of two, exactly; false if it is not positive,
 * or too large or too small for that: then 0 / 1, which no Resize takes. */
EML_MUST bool eml_fraction_of(float v, int64_t fraction[2]);

#endif
