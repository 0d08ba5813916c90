#include "base/heap.h"

#include "base/wipe.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER = 16 }; /* holds the size; keeps malloc's alignment */

void *eml_heap_alloc(size_t n)
{
    if (n == 0 || n > SIZE_MAX - HEADER)
        return NULL;
    uint8_t *block = malloc(n + HEADER);
    if (block == NULL)
        return NULL;
    memcpy(block, &n, sizeof n);
    return block + HEADER;
}

static size_t block_size(const uint8_t *p)
{
    size_t n;
    memcpy(&n, p - HEADER, sizeof n);
    return n;
}

void eml_heap_free(void *ptr)
{
    uint8_t *p = ptr;
    if (p == NULL)
        return;
    eml_wipe(p, block_size(p));
    free(p - HEADER);
}

void *eml_heap_resize(void *p, size_t n)
{
    if (p == NULL)
        return eml_heap_alloc(n);
    if (n == 0) {
        eml_heap_free(p);
        return NULL;
    }
    void *grown = eml_heap_alloc(n);
    if (grown == NULL)
        return NULL;
    size_t old = block_size(p);
    memcpy(grown, p, old < n ? old : n);
    eml_heap_free(p);
    return grown;
}
