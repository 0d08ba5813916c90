#include "engine/sort.h"

/* Moves the entry at `at` down to its place in a heap of n entries whose top comes last. */
static void sift(int64_t *index, int64_t at, int64_t n, eml_before_fn *before, const void *what)
{
    int64_t moving = index[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(what, index[child], index[child + 1]))
            child++;
        if (before(what, index[child], moving))
            break;
        index[at] = index[child];
    }
    index[at] = moving;
}

void eml_sort_indices(int64_t *index, int64_t n, eml_before_fn *before, const void *what)
{
    for (int64_t i = n / 2; i-- > 0;)
        sift(index, i, n, before, what);
    for (int64_t end = n; end-- > 1;) {
        int64_t last = index[0];
        index[0] = index[end];
        index[end] = last;
        sift(index, 0, end, before, what);
    }
}
