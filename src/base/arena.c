#define _GNU_SOURCE
#include "base/arena.h"

#include "base/checked.h"
#include "base/wipe.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096, GUARD = 4 * PAGE };

enum eml_err eml_arena_create(struct eml_arena *a, size_t size)
{
    *a = (struct eml_arena){0};
    size_t usable, mapped;
    if (!eml_round_up(size, PAGE, &usable) || !eml_add_size(usable, 2 * GUARD, &mapped))
        return EML_E_SYSTEM;
    uint8_t *p = mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return EML_E_SYSTEM;
    uint8_t *base = p + GUARD;
    if (mprotect(base, usable, PROT_READ | PROT_WRITE) != 0 ||
        madvise(base, usable, MADV_DONTDUMP) != 0 || madvise(base, usable, MADV_DONTFORK) != 0) {
        (void)munmap(p, mapped);
        return EML_E_SYSTEM;
    }
    /* Fewer page faults and TLB misses; a kernel without it costs speed only. */
    (void)madvise(base, usable, MADV_HUGEPAGE);
    bool locked = mlock2(base, usable, MLOCK_ONFAULT) == 0;
    *a = (struct eml_arena){.base = base, .size = usable, .mapped_bytes = mapped, .locked = locked};
    return EML_OK;
}

void *eml_arena_alloc(struct eml_arena *a, size_t n, size_t align)
{
    size_t start, end;
    if (!eml_round_up(a->used, align, &start) || !eml_add_size(start, n, &end) || end > a->size)
        return NULL;
    a->used = end;
    if (end > a->peak)
        a->peak = end;
    return a->base + start;
}

void *eml_arena_array(struct eml_arena *a, size_t count, size_t size)
{
    size_t n;
    if (!eml_mul_size(count, size, &n))
        return NULL;
    return eml_arena_alloc(a, n, 64);
}

size_t eml_arena_mark(const struct eml_arena *a)
{
    return a->used;
}

static void wipe(struct eml_arena *a, size_t from, size_t to)
{
    if (from >= to)
        return;
    if (a->shared)
        eml_wipe_shared(a->base + from, to - from);
    else
        eml_wipe(a->base + from, to - from);
}

size_t eml_arena_reset(struct eml_arena *a, size_t mark)
{
    EML_ASSERT(mark <= a->used);
    size_t n = a->used - mark;
    wipe(a, mark < a->clean ? a->clean : mark, a->used);
    a->used = mark;
    a->clean = a->clean < mark ? a->clean : mark;
    a->kept = 0;
    return n;
}

static int by_place(const void *a, const void *b)
{
    const struct eml_bytes *x = a, *y = b;
    return (x->ptr > y->ptr) - (x->ptr < y->ptr);
}

/* False if it lies elsewhere. */
static bool place_of(const struct eml_arena *a, struct eml_bytes piece, size_t *from, size_t *to)
{
    if (piece.ptr < a->base || piece.ptr > a->base + a->used)
        return false;
    *from = (size_t)(piece.ptr - a->base);
    *to = *from + piece.len;
    return piece.len <= a->used - *from;
}

void eml_arena_wipe_but(struct eml_arena *a, struct eml_bytes *keep, size_t n)
{
    size_t at = 0;
    if (n != 0) /* no array: qsort takes no null pointer */
        qsort(keep, n, sizeof *keep, by_place);
    for (size_t i = 0; i < n; i++) {
        size_t from, to;
        if (!place_of(a, keep[i], &from, &to))
            continue;
        wipe(a, at, from);
        at = to > at ? to : at;
    }
    wipe(a, at, a->used);
    a->kept = a->used;
}

void eml_arena_wipe_kept(struct eml_arena *a, const struct eml_bytes *keep, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t from, to;
        if (place_of(a, keep[i], &from, &to))
            wipe(a, from, to);
    }
    a->clean = a->kept > a->clean ? a->kept : a->clean;
}

size_t eml_arena_destroy(struct eml_arena *a)
{
    const struct eml_arena was = *a;
    eml_wipe(was.base, was.peak);
    /* Out of a signal handler's sight before it is gone: what it would wipe first, then where. */
    a->peak = 0;
    __asm__ __volatile__("" : : "r"(a) : "memory");
    *a = (struct eml_arena){0};
    __asm__ __volatile__("" : : "r"(a) : "memory");
    if (was.base != NULL)
        (void)munmap(was.base - GUARD, was.mapped_bytes);
    return was.peak;
}
