/* Memory that comes and goes while a dynamic plan runs: blocks of powers of two out of the arena,
 * kept in free lists. Nothing goes back to the arena; its reset wipes all. */
#ifndef EML_ENGINE_HEAP_H
#define EML_ENGINE_HEAP_H

#include "base/arena.h"

enum { EML_HEAP_CLASSES = 48 };

struct eml_heap {
    struct eml_arena *arena;
    uint64_t limit; /* most bytes ever taken from the arena */
    uint64_t taken;
    void *free[EML_HEAP_CLASSES]; /* by size; a free block's first bytes point to the next */
};

/* At least n bytes, garbage, aligned to 64; NULL beyond the limit. */
void *eml_heap_get(struct eml_heap *h, size_t n);
/* Gives back a block of eml_heap_get(h, n), with the same n. NULL does nothing. */
void eml_heap_put(struct eml_heap *h, void *p, size_t n);

#endif
