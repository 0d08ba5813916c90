#include "onnx/pool.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 256 * 1024, LARGE_BYTES = 32 * 1024 };

struct eml_pool_chunk {
    struct eml_pool_chunk *next;
    _Alignas(max_align_t) uint8_t bytes[];
};

static uint8_t *new_chunk(struct eml_onnx_pool *p, size_t n)
{
    size_t total = 0;
    if (p->used > p->budget || n > p->budget - p->used ||
        !eml_add_size(n, sizeof(struct eml_pool_chunk), &total)) {
        p->over_budget = true;
        return NULL;
    }
    struct eml_pool_chunk *c = malloc(total);
    if (c == NULL) {
        p->no_memory = true;
        return NULL;
    }
    c->next = p->chunks;
    p->chunks = c;
    p->used += n;
    return c->bytes;
}

void *eml_onnx_pool_alloc(struct eml_onnx_pool *p, size_t n)
{
    if (n >= LARGE_BYTES)
        return new_chunk(p, n);
    n = n == 0 ? 16 : (n + 15) & ~(size_t)15;
    if (n > p->left) {
        uint8_t *fresh = new_chunk(p, CHUNK_BYTES);
        if (fresh == NULL)
            return NULL;
        p->at = fresh;
        p->left = CHUNK_BYTES;
    }
    void *out = p->at;
    p->at += n;
    p->left -= n;
    return out;
}

void *eml_onnx_pool_array(struct eml_onnx_pool *p, size_t count, size_t size)
{
    size_t n = 0;
    if (!eml_mul_size(count, size, &n)) {
        p->over_budget = true;
        return NULL;
    }
    void *out = eml_onnx_pool_alloc(p, n);
    if (out != NULL)
        memset(out, 0, n);
    return out;
}

static void *alloc(void *pool, size_t n)
{
    return eml_onnx_pool_alloc(pool, n);
}

static void keep(void *pool, void *memory)
{
    (void)pool;
    (void)memory;
}

ProtobufCAllocator eml_onnx_pool_allocator(struct eml_onnx_pool *p)
{
    return (ProtobufCAllocator){.alloc = alloc, .free = keep, .allocator_data = p};
}

void eml_onnx_pool_free(struct eml_onnx_pool *p)
{
    while (p->chunks != NULL) {
        struct eml_pool_chunk *next = p->chunks->next;
        free(p->chunks);
        p->chunks = next;
    }
    *p = (struct eml_onnx_pool){.budget = p->budget};
}
