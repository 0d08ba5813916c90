/* The window: the part of the sealed weights that is in clear while a plan runs.
 *
 * The plan says which blocks of the stream each step needs and where in the window they lie
 * (weights_plan.c). A block is opened when it is first needed: by the runner before the step, or by
 * the thread that is about to multiply with it, so that it is read from that core's cache. A block
 * that the next step needs too stays. Memory of steps long done is used again.
 *
 * Nothing of a block is visible to an operator before the source has vouched for it: the state of a
 * block becomes OPEN after its fetch succeeded, and a failure is sticky: every later request fails,
 * and the runner stops at the end of the step.
 */
#ifndef EML_ENGINE_WEIGHTS_H
#define EML_ENGINE_WEIGHTS_H

#include "engine/exec.h"

#include <stdatomic.h>

struct eml_weights_window {
    const struct eml_weights_source *source;
    uint8_t *blocks; /* n_blocks of EML_WEIGHTS_BLOCK */
    size_t n_blocks;
    uint64_t *stream;       /* per block: which block of the stream it is for */
    _Atomic uint8_t *state; /* per block */
    uint8_t *spare;         /* one block per thread */
    _Atomic int failed;     /* enum eml_err of the first failure */
    _Atomic uint64_t failed_block;
};

/* Bytes of memory for a window of this many blocks and spare blocks. False on overflow. */
EML_MUST bool eml_weights_bytes(size_t n_blocks, size_t n_spare, size_t *bytes);

/* room: eml_weights_bytes, aligned to 64. All blocks are closed and map to nothing. */
void eml_weights_init(struct eml_weights_window *w, const struct eml_weights_source *source,
                      size_t n_blocks, struct eml_room room);

/* Blocks [at, at + n) of the window are for blocks [stream, stream + n) of the stream from now on,
 * all closed. But the first and the last, which neighbours share, are copied if they are open
 * anywhere in the window. Not while others use the window. */
void eml_weights_map(struct eml_weights_window *w, size_t at, uint64_t stream, size_t n);

/* Sees to it that bytes [p, p + n) of the window are open; any thread. False: they are not, and
 * must not be read. */
EML_MUST bool eml_weights_open_at(struct eml_weights_window *w, const void *p, size_t n);

/* eml_weights_open_at for kernels: true if w is NULL, where all weights are in clear. */
EML_MUST static inline bool eml_weights_open(struct eml_weights_window *w, const void *p, size_t n)
{
    return w == NULL || eml_weights_open_at(w, p, n);
}

/* For an operand with v->room: maps its bytes [first, first + n) into its part of the window, over
 * what was there, and returns where the first of them is, not opened. n is at most
 * eml_weights_stripe_max. Not while others use the window. */
uint8_t *eml_weights_stripe(struct eml_weights_window *w, const struct eml_view *v, uint64_t first,
                            size_t n);
size_t eml_weights_stripe_max(const struct eml_view *v);

/* Opens one block of the stream into the thread's spare block; NULL on failure. */
const uint8_t *eml_weights_spare(struct eml_weights_window *w, uint64_t block, unsigned thread);

/* EML_OK or the first failure. */
EML_MUST enum eml_err eml_weights_status(struct eml_weights_window *w, struct eml_why *why);

#endif
