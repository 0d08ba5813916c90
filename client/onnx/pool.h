/* Memory of one model: handed out by bumping, freed all at once, bounded by a budget.
 *
 * Also protobuf-c's allocator, so that a message tree is freed without walking it and a small
 * hostile file cannot become a large one in memory. Private to this folder.
 */
#ifndef EML_ONNX_POOL_H
#define EML_ONNX_POOL_H

#include "base/bytes.h"

#include <protobuf-c/protobuf-c.h>

struct eml_pool_chunk;

struct eml_onnx_pool { /* zeroed except budget: empty and usable */
    struct eml_pool_chunk *chunks;
    uint8_t *at;
    size_t left;
    uint64_t used, budget;
    bool over_budget; /* sticky: an allocation failed, for this reason ... */
    bool no_memory;   /* ... or because malloc did */
};

/* n bytes, aligned for any object, not initialised; NULL on failure. n = 0 yields a valid pointer.
 */
void *eml_onnx_pool_alloc(struct eml_onnx_pool *p, size_t n);
/* count * size bytes, zeroed, overflow checked. */
void *eml_onnx_pool_array(struct eml_onnx_pool *p, size_t count, size_t size);
ProtobufCAllocator eml_onnx_pool_allocator(struct eml_onnx_pool *p);
void eml_onnx_pool_free(struct eml_onnx_pool *p);

#endif
