/* Allocators for libraries that put secrets on the heap and do not clear them before they free
 * them (OpenSSL, jansson): each block knows its size, and is wiped whole when it is freed or moved.
 * Blocks are aligned as malloc's. For a library's hook only; our own secrets lie in an eml_buf or
 * the arena.
 */
#ifndef EML_BASE_HEAP_H
#define EML_BASE_HEAP_H

#include "base/err.h"

#include <stddef.h>

/* NULL without memory, and for n = 0. */
void *eml_heap_alloc(size_t n);
/* As realloc(3): p NULL allocates, n = 0 frees and yields NULL; on failure p stays as it is. */
void *eml_heap_resize(void *p, size_t n);
void eml_heap_free(void *p);

/* Such a library calls lack of memory by other names ("syntax", "bad signature"), for which nobody
 * shall be blamed. Before calling it: eml_heap_watch. After it failed with e: EML_E_SYSTEM, with a
 * rule, if this thread got no memory here since; else e. EML_OK stays. */
void eml_heap_watch(void);
EML_MUST enum eml_err eml_heap_verdict(enum eml_err e, struct eml_why *why);

#endif
