#include "engine/weights.h"

#include "base/checked.h"

#include <sched.h>
#include <string.h>

enum { SEALED = 0, OPENING = 1, OPEN = 2 };
enum { SPINS = 2000 }; /* longer than opening a block takes */
enum { PAGE = 4096, PAGES = EML_WEIGHTS_BLOCK / PAGE };

/* Tables: stream, own, state; a whole number of cache lines. */
static bool table_bytes(size_t n_blocks, size_t n_own, size_t *bytes)
{
    size_t blocks, own;
    return eml_mul_size(n_blocks, sizeof(uint64_t) + PAGES, &blocks) &&
           eml_mul_size(n_own, sizeof(struct eml_weights_own), &own) &&
           eml_add_size(blocks, own, bytes) && eml_round_up(*bytes, 64, bytes);
}

bool eml_weights_bytes(size_t n_blocks, size_t n_own, size_t own_blocks, size_t *bytes)
{
    size_t own, all, tables, data;
    return eml_mul_size(n_own, own_blocks, &own) && eml_add_size(n_blocks, own, &all) &&
           eml_mul_size(all, EML_WEIGHTS_BLOCK, &data) && table_bytes(n_blocks, n_own, &tables) &&
           eml_add_size(data, tables, bytes);
}

void eml_weights_init(struct eml_weights_window *w, const struct eml_weights_source *source,
                      size_t n_blocks, size_t n_own, size_t own_blocks, struct eml_room room)
{
    /* The blocks come first, for their alignment to pages. */
    uint8_t *own = room.ptr + n_blocks * EML_WEIGHTS_BLOCK;
    uint8_t *tables = own + n_own * own_blocks * EML_WEIGHTS_BLOCK;
    *w = (struct eml_weights_window){
        .source = source,
        .blocks = room.ptr,
        .n_blocks = n_blocks,
        .unit = source->fetch_part != NULL ? PAGE : EML_WEIGHTS_BLOCK,
        .own = (struct eml_weights_own *)(void *)tables,
        .n_own = n_own,
        .own_blocks = own_blocks,
    };
    w->stream = (uint64_t *)(void *)(w->own + n_own);
    w->state = (_Atomic uint8_t *)(void *)(w->stream + n_blocks);
    for (size_t i = 0; i < n_blocks; i++)
        w->stream[i] = UINT64_MAX;
    for (size_t i = 0; i < n_blocks * PAGES; i++)
        atomic_init(&w->state[i], SEALED);
    for (size_t i = 0; i < n_own; i++)
        w->own[i] = (struct eml_weights_own){.blocks = own + i * own_blocks * EML_WEIGHTS_BLOCK};
}

static uint8_t *block_at(const struct eml_weights_window *w, size_t i)
{
    return w->blocks + i * EML_WEIGHTS_BLOCK;
}

/* Where in the shared part block `stream` of the stream is open; NULL if nowhere. Where blocks are
 * opened as a whole. */
static uint8_t *find_shared(const struct eml_weights_window *w, uint64_t stream)
{
    for (size_t i = 0; i < w->n_blocks; i++)
        if (w->stream[i] == stream &&
            atomic_load_explicit(&w->state[i], memory_order_acquire) == OPEN)
            return block_at(w, i);
    return NULL;
}

static uint8_t *own_at(const struct eml_weights_own *o, uint64_t at)
{
    return o->blocks + (size_t)(at - o->first * EML_WEIGHTS_BLOCK);
}

/* Likewise in the window. */
static uint8_t *find_open(const struct eml_weights_window *w, uint64_t stream)
{
    for (size_t i = 0; i < w->n_own; i++) {
        const struct eml_weights_own *o = &w->own[i];
        if (stream * EML_WEIGHTS_BLOCK >= o->from && (stream + 1) * EML_WEIGHTS_BLOCK <= o->end)
            return own_at(o, stream * EML_WEIGHTS_BLOCK);
    }
    return find_shared(w, stream);
}

static void map_sealed(struct eml_weights_window *w, size_t at, uint64_t stream, size_t n)
{
    const size_t units = EML_WEIGHTS_BLOCK / w->unit;
    for (size_t i = 0; i < n; i++)
        w->stream[at + i] = stream + i;
    for (size_t i = at * units; i < (at + n) * units; i++)
        atomic_store_explicit(&w->state[i], SEALED, memory_order_relaxed);
}

void eml_weights_map(struct eml_weights_window *w, size_t at, uint64_t stream, size_t n)
{
    EML_ASSERT(at <= w->n_blocks && n <= w->n_blocks - at);
    if (n == 0)
        return;
    if (eml_weights_has_parts(w)) { /* what is needed again of a seam is not worth a copy */
        map_sealed(w, at, stream, n);
        return;
    }
    const size_t ends[2] = {at, at + n - 1};
    const uint8_t *from[2] = {find_open(w, stream), find_open(w, stream + n - 1)};
    if (n == 1 || from[1] == block_at(w, at))
        from[1] = NULL; /* it is the first, or about to be overwritten by it */
    for (int i = 0; i < 2; i++)
        if (from[i] != NULL && from[i] != block_at(w, ends[i]))
            memcpy(block_at(w, ends[i]), from[i], EML_WEIGHTS_BLOCK);
    map_sealed(w, at, stream, n);
    for (int i = 0; i < 2; i++)
        if (from[i] != NULL)
            atomic_store_explicit(&w->state[ends[i]], OPEN, memory_order_relaxed);
}

static bool fail(struct eml_weights_window *w, enum eml_err e, uint64_t block)
{
    int none = EML_OK;
    if (atomic_compare_exchange_strong(&w->failed, &none, (int)e))
        atomic_store(&w->failed_block, block);
    return false;
}

static bool fetch(struct eml_weights_window *w, uint64_t block, uint8_t *out)
{
    enum eml_err e =
        w->source->fetch(w->source->ctx, block, (struct eml_room){out, EML_WEIGHTS_BLOCK});
    return e == EML_OK || fail(w, e, block);
}

static bool has_failed(struct eml_weights_window *w)
{
    return atomic_load_explicit(&w->failed, memory_order_relaxed) != EML_OK;
}

static bool await(struct eml_weights_window *w, size_t i)
{
    for (int spins = 0; atomic_load_explicit(&w->state[i], memory_order_acquire) != OPEN; spins++) {
        if (has_failed(w))
            return false;
        if (spins >= SPINS)
            (void)sched_yield(); /* the thread that opens it lost its core */
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    return true;
}

bool eml_weights_read(struct eml_weights_window *w, uint64_t at, size_t n, uint8_t *to)
{
    while (n > 0) {
        size_t left = EML_WEIGHTS_BLOCK - (size_t)(at % EML_WEIGHTS_BLOCK), k = n < left ? n : left;
        if (has_failed(w))
            return false;
        enum eml_err e = w->source->fetch_part(w->source->ctx, at, (struct eml_room){to, k});
        if (e != EML_OK)
            return fail(w, e, at / EML_WEIGHTS_BLOCK);
        at += k;
        to += k;
        n -= k;
    }
    return true;
}

static bool claim(struct eml_weights_window *w, size_t unit)
{
    uint8_t sealed = SEALED;
    return atomic_load_explicit(&w->state[unit], memory_order_relaxed) == SEALED &&
           atomic_compare_exchange_strong(&w->state[unit], &sealed, OPENING);
}

/* Opens units [first, end), which the caller claimed, of one block. */
static bool open_units(struct eml_weights_window *w, size_t first, size_t end)
{
    const size_t at = first * w->unit, n = (end - first) * w->unit;
    const uint64_t block = w->stream[at / EML_WEIGHTS_BLOCK];
    bool ok = w->unit == EML_WEIGHTS_BLOCK
                  ? fetch(w, block, w->blocks + at)
                  : eml_weights_read(w, block * EML_WEIGHTS_BLOCK + at % EML_WEIGHTS_BLOCK, n,
                                     w->blocks + at);
    for (size_t i = first; ok && i < end; i++)
        atomic_store_explicit(&w->state[i], OPEN, memory_order_release);
    return ok;
}

bool eml_weights_open_at(struct eml_weights_window *w, const void *p, size_t n)
{
    if (n == 0)
        return !has_failed(w);
    const size_t units = EML_WEIGHTS_BLOCK / w->unit;
    size_t from = (size_t)((const uint8_t *)p - w->blocks);
    size_t first = from / w->unit, end = (from + n - 1) / w->unit + 1;
    EML_ASSERT(end <= w->n_blocks * units);
    bool others = false; /* units that another thread is opening: come back to them */
    for (size_t i = first; i < end; i++) {
        if (atomic_load_explicit(&w->state[i], memory_order_acquire) == OPEN)
            continue;
        if (has_failed(w))
            return false;
        size_t last = i; /* as many as lie together in the block */
        while (last < end && last / units == i / units && claim(w, last))
            last++;
        if (last > i && !open_units(w, i, last))
            return false;
        others = others || last == i;
        i = last > i ? last - 1 : i;
    }
    for (size_t i = first; others && i < end; i++)
        if (!await(w, i))
            return false;
    return true;
}

/* Opens blocks behind what is there, as far as byte `end`; o->end is the start of a block. */
static bool extend_by_blocks(struct eml_weights_window *w, struct eml_weights_own *o, uint64_t end)
{
    for (; o->end < end; o->end += EML_WEIGHTS_BLOCK) {
        uint64_t block = o->end / EML_WEIGHTS_BLOCK;
        uint8_t *to = own_at(o, o->end);
        const uint8_t *open = find_shared(w, block);
        if (open != NULL)
            memcpy(to, open, EML_WEIGHTS_BLOCK);
        else if (!fetch(w, block, to))
            return false;
    }
    return true;
}

/* Makes the thread's part hold bytes [at, end) of the stream: behind what is there, or from the
 * start again if that does not fit or is from elsewhere. */
static bool extend(struct eml_weights_window *w, struct eml_weights_own *o, uint64_t at,
                   uint64_t end)
{
    uint64_t block = at / EML_WEIGHTS_BLOCK, last = (end - 1) / EML_WEIGHTS_BLOCK;
    bool follows = at >= o->from && at <= o->end;
    if (!follows || last - o->first >= w->own_blocks) {
        /* of the block at the seam only what is still wanted is moved */
        size_t skip = (size_t)(at % EML_WEIGHTS_BLOCK);
        if (follows && o->end > at)
            memmove(o->blocks + skip, own_at(o, at), (size_t)(o->end - at));
        else
            o->end = eml_weights_has_parts(w) ? at : block * EML_WEIGHTS_BLOCK;
        o->first = block;
        o->from = at;
    }
    if (!eml_weights_has_parts(w))
        return extend_by_blocks(w, o, end);
    if (!eml_weights_read(w, o->end, (size_t)(end - o->end), own_at(o, o->end)))
        return false;
    o->end = end;
    return true;
}

const uint8_t *eml_weights_own(struct eml_weights_window *w, unsigned thread, uint64_t at, size_t n)
{
    EML_ASSERT(thread < w->n_own && n > 0);
    struct eml_weights_own *o = &w->own[thread];
    uint64_t end = at + n;
    EML_ASSERT((end - 1) / EML_WEIGHTS_BLOCK - at / EML_WEIGHTS_BLOCK < w->own_blocks);
    if (has_failed(w))
        return NULL;
    if ((at < o->from || end > o->end) && !extend(w, o, at, end))
        return NULL;
    return own_at(o, at);
}

enum eml_err eml_weights_status(struct eml_weights_window *w, struct eml_why *why)
{
    enum eml_err e = (enum eml_err)atomic_load(&w->failed);
    if (e == EML_OK)
        return EML_OK;
    return eml_fail(why, e, "weights: a block could not be opened",
                    (long)atomic_load(&w->failed_block));
}
