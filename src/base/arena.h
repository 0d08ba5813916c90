/* The arena: one region that holds every secret of a session.
 *
 * A reservation of address space (mmap, no swap reservation) from which memory is handed out by
 * bumping a mark; pages appear on first touch, are locked (best effort, reported), excluded from
 * core dumps and from children, and stand between guard pages. There is no free: eml_arena_reset
 * wipes what was handed out after a mark, eml_arena_destroy wipes everything and unmaps. All that a
 * worker decodes, decrypts, plans or computes lies here, so that one wipe covers it.
 * Not thread safe: one thread allocates, others may use the memory.
 */
#ifndef EML_BASE_ARENA_H
#define EML_BASE_ARENA_H

#include "base/bytes.h"

struct eml_arena {
    uint8_t *base; /* first usable byte, page aligned */
    size_t size;   /* usable bytes: the budget */
    size_t used;   /* the mark */
    size_t peak;   /* highest mark ever: all that can have been touched */
    size_t clean;  /* of what is handed out, all below this is wiped already */
    size_t kept;   /* ... but for the pieces that eml_arena_wipe_but kept; 0: it was not called */
    size_t mapped_bytes; /* including the guard pages */
    bool locked;         /* pages are locked on fault (mlock2 MLOCK_ONFAULT succeeded) */
    bool shared;         /* set by the owner: several threads write to it (eml_wipe_shared) */
};

/* Reserves `size` bytes (rounded up to pages). On failure *a is zero. */
EML_MUST enum eml_err eml_arena_create(struct eml_arena *a, size_t size);

/* n bytes, zero-filled, aligned to `align` (a power of two, at most 4096); NULL if the budget does
 * not hold them. n = 0 yields a valid pointer. */
void *eml_arena_alloc(struct eml_arena *a, size_t n, size_t align);

/* As above for count*size with overflow check, aligned for any object. */
void *eml_arena_array(struct eml_arena *a, size_t count, size_t size);

size_t eml_arena_mark(const struct eml_arena *a);
/* Wipes all that was handed out since the mark, to be handed out again. Returns bytes wiped. */
size_t eml_arena_reset(struct eml_arena *a, size_t mark);

/* Wipes all that is handed out but n pieces, which may overlap and stand in any order (they are
 * sorted here); what lies outside is nobody's concern. Nobody may use the rest any more. */
void eml_arena_wipe_but(struct eml_arena *a, struct eml_bytes *keep, size_t n);
/* Wipes those pieces, too. All that was handed out then is wiped now, and not wiped once more when
 * it is given back. */
void eml_arena_wipe_kept(struct eml_arena *a, const struct eml_bytes *keep, size_t n);

/* Wipes all that was ever handed out, unmaps; *a is zero afterwards. Returns bytes wiped. */
size_t eml_arena_destroy(struct eml_arena *a);

#endif
