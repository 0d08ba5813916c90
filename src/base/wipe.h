/* Wiping of secrets, and comparison in constant time. */
#ifndef EML_BASE_WIPE_H
#define EML_BASE_WIPE_H

#include "base/bytes.h"

/* Sets n bytes to zero; never optimised away. */
void eml_wipe(void *p, size_t n);

/* eml_wipe for memory that other cores wrote, too: past the caches where the CPU can, since lines
 * that lie in another core's cache would all have to travel to this one first. */
void eml_wipe_shared(void *p, size_t n);

/* Sets to zero what calls that have returned left on this thread's stack: as far below the caller
 * as any call of ours can have reached. */
void eml_wipe_stack(void);

/* For a signal handler that does not return: also everything from its frame up to `top`, an address
 * in the frame of the thread's first function. */
#define EML_WIPE_STACK_UP_TO(top)                                                                  \
    do {                                                                                           \
        uint8_t *here_ = __builtin_frame_address(0);                                               \
        eml_wipe_stack();                                                                          \
        eml_wipe(here_, (size_t)((uint8_t *)(top)-here_));                                         \
    } while (0)

/* True iff equal. Time depends on the lengths only. */
bool eml_ct_equal(struct eml_bytes a, struct eml_bytes b);

/* True iff all n bytes are zero. Time depends on the length only. */
bool eml_ct_is_zero(struct eml_bytes a);

#endif
