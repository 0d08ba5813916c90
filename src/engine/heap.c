#include "engine/heap.h"

#include <string.h>

enum { LEAST = 6 }; /* blocks of 64 bytes and more */

static unsigned class_of(size_t n)
{
    unsigned c = LEAST;
    while (c < LEAST + EML_HEAP_CLASSES && ((size_t)1 << c) < n)
        c++;
    return c - LEAST;
}

void *eml_heap_get(struct eml_heap *h, size_t n)
{
    unsigned c = class_of(n);
    if (c >= EML_HEAP_CLASSES)
        return NULL;
    void *p = h->free[c];
    if (p != NULL) {
        /* cppcheck-suppress pointerSize ; a free block begins with the pointer to the next */
        memcpy(&h->free[c], p, sizeof p);
        return p;
    }
    size_t bytes = (size_t)1 << (c + LEAST);
    if (bytes > h->limit - h->taken)
        return NULL;
    p = eml_arena_alloc(h->arena, bytes, 64);
    if (p != NULL)
        h->taken += bytes;
    return p;
}

void eml_heap_put(struct eml_heap *h, void *p, size_t n)
{
    if (p == NULL)
        return;
    unsigned c = class_of(n);
    /* cppcheck-suppress pointerSize ; likewise */
    memcpy(p, &h->free[c], sizeof p);
    h->free[c] = p;
}
