/* Slices and pads: the arithmetic that the rule and the kernel share. */
#ifndef EML_ENGINE_SLICE_H
#define EML_ENGINE_SLICE_H

#include "engine/exec.h"

struct eml_slice_args {
    uint32_t n;                                  /* entries of each list */
    const int64_t *starts, *ends, *axes, *steps; /* axes, steps: NULL for the defaults */
};

struct eml_slice {
    uint32_t rank;
    int64_t start[EML_RANK_MAX]; /* index of the first element, valid if count > 0 */
    int64_t step[EML_RANK_MAX];
    int64_t count[EML_RANK_MAX]; /* may be EML_DIM_UNKNOWN */
};

/* Clamps as ONNX Slice does. EML_E_INPUT: an axis out of range or named twice, or a step of 0. */
EML_MUST enum eml_err eml_slice_make(const struct eml_slice_args *a, uint32_t rank,
                                     const int64_t *dim, struct eml_slice *out);

/* Pads per dim out of the operands of Pad; `axes` may be NULL. EML_E_INPUT: they do not fit. */
EML_MUST enum eml_err eml_pads_make(const struct eml_known *pads, const struct eml_known *axes,
                                    uint32_t rank, int64_t begin[EML_RANK_MAX],
                                    int64_t end[EML_RANK_MAX]);

#endif
