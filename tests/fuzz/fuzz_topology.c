// link: topology
#include "base/arena.h"
#include "topology/topology.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What decodes must encode to the same bytes; what does not must leave the arena as it was. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_arena arena;
    struct eml_topology t;
    struct eml_buf again = {0};
    if (eml_arena_create(&arena, 128 << 20) != EML_OK)
        return 0;
    if (eml_topology_decode(eml_bytes(data, size), &arena, &t, NULL) == EML_OK) {
        if (eml_topology_encode(&t, &again) != EML_OK ||
            !eml_bytes_equal(eml_buf_bytes(&again), eml_bytes(data, size)))
            abort();
    } else if (arena.used != 0) {
        abort();
    }
    eml_buf_free(&again);
    (void)eml_arena_destroy(&arena);
    return 0;
}
