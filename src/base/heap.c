#include "base/heap.h"

#include "base/wipe.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER = 16 }; /* holds the size; keeps malloc's alignment */

static _Thread_local bool is_lacking; /* an allocation failed since eml_heap_watch */

void *eml_heap_alloc(size_t n)
{
    if (n == 0 || n > SIZE_MAX - HEADER)
        return NULL;
    uint8_t *block = malloc(n + HEADER);
    if (block == NULL) {
        is_lacking = true;
        return NULL;
    }
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

void eml_heap_watch(void)
{
    is_lacking = false;
}

enum eml_err eml_heap_verdict(enum eml_err e, struct eml_why *why)
{
    return e != EML_OK && is_lacking ? eml_fail(why, EML_E_SYSTEM, "out of memory", -1) : e;
}
