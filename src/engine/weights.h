/* The window: the part of the sealed weights that is in clear while a plan runs.
 *
 * It has a part that all threads share and a part for each of them. The plan says which blocks of
 * the stream each step needs and where in the shared part they lie (weights_plan.c). A block, or
 * a page of it if the source has parts, is opened when it is first needed: by the runner before the
 * step, or by the thread that is about to multiply with it. Large operands are read through the
 * threads' own parts: a thread opens the columns it multiplies with where no other core reads or
 * writes, so that they come from its cache and no line of them ever travels. A block that is needed
 * again soon stays. Memory of steps long done is used again.
 *
 * Nothing of a block is visible to an operator before the source has vouched for it: the state of a
 * block (a page) becomes OPEN after its fetch succeeded, and a failure is sticky: every later
 * request fails, and the runner stops at the end of the step.
 */
#ifndef EML_ENGINE_WEIGHTS_H
#define EML_ENGINE_WEIGHTS_H

#include "engine/exec.h"

#include <stdatomic.h>

/* A thread's own part: bytes [from, end) of the stream are open, of which `from` lies in block
 * `first`, the one that the part begins with. */
struct eml_weights_own {
    _Alignas(64) uint64_t from;
    uint64_t end, first;
    uint8_t *blocks;
};

struct eml_weights_window {
    const struct eml_weights_source *source;
    uint8_t *blocks; /* n_blocks of EML_WEIGHTS_BLOCK */
    size_t n_blocks;
    uint64_t *stream;            /* per block: which block of the stream it is for */
    size_t unit;                 /* bytes that are opened at once: a block, or a page */
    _Atomic uint8_t *state;      /* per unit */
    struct eml_weights_own *own; /* per thread */
    size_t n_own, own_blocks;    /* threads, blocks of each */
    _Atomic int failed;          /* enum eml_err of the first failure */
    _Atomic uint64_t failed_block;
};

/* Bytes of memory for n_blocks shared ones and own_blocks for each of n_own threads. False on
 * overflow. */
EML_MUST bool eml_weights_bytes(size_t n_blocks, size_t n_own, size_t own_blocks, size_t *bytes);

/* room: eml_weights_bytes, aligned to 64. All blocks are closed and map to nothing. */
void eml_weights_init(struct eml_weights_window *w, const struct eml_weights_source *source,
                      size_t n_blocks, size_t n_own, size_t own_blocks, struct eml_room room);

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

/* Bytes [at, at + n) of the stream in the thread's own part, opened; NULL on failure. n is at most
 * what the operand's use asked for. Stays until the thread's next call. What of it is there from
 * the call before, or open in the shared part, is not opened again. While no block is being
 * mapped. */
const uint8_t *eml_weights_own(struct eml_weights_window *w, unsigned thread, uint64_t at,
                               size_t n);

/* Can less than a block be opened? Then eml_weights_own opens what is asked for and no more. */
static inline bool eml_weights_has_parts(const struct eml_weights_window *w)
{
    return w->source->fetch_part != NULL;
}

/* Opens bytes [at, at + n) of the stream right where they are wanted: `to` may lie in activations,
 * too. Only if eml_weights_has_parts. False: they are not there. */
EML_MUST bool eml_weights_read(struct eml_weights_window *w, uint64_t at, size_t n, uint8_t *to);

/* EML_OK or the first failure. */
EML_MUST enum eml_err eml_weights_status(struct eml_weights_window *w, struct eml_why *why);

#endif
