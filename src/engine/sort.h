/* Sorting indices in place, with a bound on the work that no data can break (heapsort). */
#ifndef EML_ENGINE_SORT_H
#define EML_ENGINE_SORT_H

#include <stdbool.h>
#include <stdint.h>

/* A strict total order: ties must be broken, e.g. by the indices themselves. */
typedef bool eml_before_fn(const void *what, int64_t i, int64_t j);

void eml_sort_indices(int64_t *index, int64_t n, eml_before_fn *before, const void *what);

#endif
