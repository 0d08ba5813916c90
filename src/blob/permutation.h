/* The order in which chunks are stored: a permutation drawn from the sealing key. */
#ifndef EML_BLOB_PERMUTATION_H
#define EML_BLOB_PERMUTATION_H

#include "blob/blob.h"

/* Fills position[0..n): logical chunk i is stored at position[i]. Uniform over all permutations
 * (Fisher-Yates with rejection sampling). On failure position is zero. */
EML_MUST enum eml_err eml_permutation_draw(const struct eml_seal_key *key, uint32_t *position,
                                           uint32_t n);

#endif
