#include "engine/weights.h"

#include "base/checked.h"

#include <sched.h>
#include <string.h>

enum { SEALED = 0, OPENING = 1, OPEN = 2 };
enum { SPINS = 2000 }; /* longer than opening a block takes */

bool eml_weights_bytes(size_t n_blocks, size_t n_spare, size_t *bytes)
{
    size_t all, tables, data;
    return eml_add_size(n_blocks, n_spare, &all) && eml_mul_size(all, EML_WEIGHTS_BLOCK, &data) &&
           eml_mul_size(n_blocks, sizeof(uint64_t) + 1, &tables) &&
           eml_round_up(tables, 64, &tables) && eml_add_size(data, tables, bytes);
}

void eml_weights_init(struct eml_weights_window *w, const struct eml_weights_source *source,
                      size_t n_blocks, struct eml_room room)
{
    /* The blocks come first, for their alignment to pages. */
    uint8_t *tables = room.ptr + room.len - (n_blocks * (sizeof(uint64_t) + 1) + 63) / 64 * 64;
    *w = (struct eml_weights_window){.source = source,
                                     .blocks = room.ptr,
                                     .n_blocks = n_blocks,
                                     .stream = (uint64_t *)(void *)tables,
                                     .state =
                                         (_Atomic uint8_t *)(tables + n_blocks * sizeof(uint64_t)),
                                     .spare = room.ptr + n_blocks * EML_WEIGHTS_BLOCK};
    for (size_t i = 0; i < n_blocks; i++) {
        w->stream[i] = UINT64_MAX;
        atomic_init(&w->state[i], SEALED);
    }
}

static uint8_t *block_at(const struct eml_weights_window *w, size_t i)
{
    return w->blocks + i * EML_WEIGHTS_BLOCK;
}

/* Where block `stream` of the stream is open; n_blocks if nowhere. */
static size_t find_open(const struct eml_weights_window *w, uint64_t stream)
{
    size_t i = 0;
    while (i < w->n_blocks && (w->stream[i] != stream || atomic_load(&w->state[i]) != OPEN))
        i++;
    return i;
}

void eml_weights_map(struct eml_weights_window *w, size_t at, uint64_t stream, size_t n)
{
    EML_ASSERT(at <= w->n_blocks && n <= w->n_blocks - at);
    if (n == 0)
        return;
    const size_t ends[2] = {at, at + n - 1};
    const size_t from[2] = {find_open(w, stream), find_open(w, stream + n - 1)};
    const bool carried[2] = {from[0] < w->n_blocks,
                             from[1] < w->n_blocks && (n == 1 || from[1] != at)};
    for (int i = 0; i < 2; i++)
        if (carried[i] && from[i] != ends[i])
            memcpy(block_at(w, ends[i]), block_at(w, from[i]), EML_WEIGHTS_BLOCK);
    for (size_t i = 0; i < n; i++) {
        w->stream[at + i] = stream + i;
        atomic_store_explicit(&w->state[at + i], SEALED, memory_order_relaxed);
    }
    for (int i = 0; i < 2; i++)
        if (carried[i])
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

bool eml_weights_open_at(struct eml_weights_window *w, const void *p, size_t n)
{
    if (n == 0)
        return !has_failed(w);
    size_t from = (size_t)((const uint8_t *)p - w->blocks);
    size_t first = from / EML_WEIGHTS_BLOCK, last = (from + n - 1) / EML_WEIGHTS_BLOCK;
    EML_ASSERT(last < w->n_blocks);
    bool others = false; /* blocks that another thread is opening: come back to them */
    for (size_t i = first; i <= last; i++) {
        uint8_t state = atomic_load_explicit(&w->state[i], memory_order_acquire);
        if (state == OPEN)
            continue;
        if (has_failed(w))
            return false;
        if (state == SEALED && atomic_compare_exchange_strong(&w->state[i], &state, OPENING)) {
            if (!fetch(w, w->stream[i], block_at(w, i)))
                return false;
            atomic_store_explicit(&w->state[i], OPEN, memory_order_release);
        } else {
            others = true;
        }
    }
    for (size_t i = first; others && i <= last; i++)
        if (!await(w, i))
            return false;
    return true;
}

size_t eml_weights_stripe_max(const struct eml_view *v)
{
    return v->room - 2 * (size_t)EML_WEIGHTS_BLOCK; /* a block in which it begins and one it ends */
}

uint8_t *eml_weights_stripe(struct eml_weights_window *w, const struct eml_view *v, uint64_t first,
                            size_t n)
{
    EML_ASSERT(v->room > 0 && n <= eml_weights_stripe_max(v));
    uint64_t from = v->offset + first, block = from / EML_WEIGHTS_BLOCK;
    size_t skip = (size_t)(from % EML_WEIGHTS_BLOCK);
    size_t at = (size_t)((uint8_t *)v->data - w->blocks) / EML_WEIGHTS_BLOCK;
    size_t blocks = (skip + n + EML_WEIGHTS_BLOCK - 1) / EML_WEIGHTS_BLOCK;
    eml_weights_map(w, at, block, blocks);
    return (uint8_t *)v->data + skip;
}

const uint8_t *eml_weights_spare(struct eml_weights_window *w, uint64_t block, unsigned thread)
{
    uint8_t *out = w->spare + (size_t)thread * EML_WEIGHTS_BLOCK;
    return !has_failed(w) && fetch(w, block, out) ? out : NULL;
}

enum eml_err eml_weights_status(struct eml_weights_window *w, struct eml_why *why)
{
    enum eml_err e = (enum eml_err)atomic_load(&w->failed);
    if (e == EML_OK)
        return EML_OK;
    return eml_fail(why, e, "weights: a block could not be opened",
                    (long)atomic_load(&w->failed_block));
}
