/* Einsum's equation, read once by the rule and again by the kernel, so that both agree.
 *
 * Labels are a-z and A-Z; "..." stands for the dims that no letter of its term names, aligned at
 * the right as in broadcasting. Dims of 1 broadcast. Without "->" the result has the ellipsis, then
 * the labels that occur once, in the order of ASCII (as numpy.einsum).
 */
#ifndef EML_ENGINE_EINSUM_H
#define EML_ENGINE_EINSUM_H

#include "engine/exec.h"

enum { EML_EINSUM_OPERANDS = 32, EML_EINSUM_LOOPS = 52 + EML_RANK_MAX };

/* A nest of loops: the first n_out run over the result, the others are summed over. */
struct eml_einsum {
    uint32_t n, n_out;
    int64_t dim[EML_EINSUM_LOOPS];
    int64_t stride[EML_EINSUM_OPERANDS][EML_EINSUM_LOOPS]; /* 0 repeats; 0 for unknown dims */
};

/* Shapes may have unknown dims. Errors: EML_E_INPUT (the equation or how the shapes fit it),
 * EML_E_UNSUPPORTED (more operands than EML_EINSUM_OPERANDS). */
EML_MUST enum eml_err eml_einsum_read(const struct eml_node *node,
                                      const struct eml_shape *const *shapes, struct eml_einsum *out,
                                      struct eml_why *why);

#endif
