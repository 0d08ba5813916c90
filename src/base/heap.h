/* Allocators for libraries that put secrets on the heap and do not clear them before they free
 * them (OpenSSL, jansson): each block knows its size, and is wiped whole when it is freed or moved.
 * Blocks are aligned as malloc's. For a library's hook only; our own secrets lie in an eml_buf or
 * the arena.
 */
#ifndef EML_BASE_HEAP_H
#define EML_BASE_HEAP_H

#include <stddef.h>

/* NULL without memory, and for n = 0. */
void *eml_heap_alloc(size_t n);
/* As realloc(3): p NULL allocates, n = 0 frees and yields NULL; on failure p stays as it is. */
void *eml_heap_resize(void *p, size_t n);
void eml_heap_free(void *p);

#endif
