#define _DEFAULT_SOURCE
#include "assemble/assemble.h"

#include "base/wipe.h"
#include "model/limits.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* How the arena is used. Request mode: key | plan | activations | window, so that what is in clear
 * of the weights is on top and goes first. Session mode: key | weights | plan | activations, so
 * that the weights stay when an inference goes. */

static uint64_t now_ns(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Adds the time since *since to *sum and starts anew. */
static void lap(uint64_t *since, uint64_t *sum)
{
    uint64_t now = now_ns();
    *sum += now - *since;
    *since = now;
}

static void wipe_to(struct eml_model *m, size_t mark, struct eml_times *times)
{
    uint64_t t = now_ns();
    times->wiped_bytes += eml_arena_reset(m->arena, mark);
    lap(&t, &times->wipe);
}

enum eml_err eml_model_decode(struct eml_model *m, struct eml_arena *arena,
                              struct eml_bytes topology, enum eml_isa isa, struct eml_pool *pool,
                              struct eml_times *times, struct eml_why *why)
{
    *m = (struct eml_model){.arena = arena, .isa = isa, .pool = pool};
    m->mark_open = eml_arena_mark(arena);
    arena->shared = false; /* until a plan that several threads run */
    uint64_t t = now_ns();
    m->topology = eml_arena_alloc(arena, sizeof *m->topology, 64);
    enum eml_err e = m->topology == NULL
                         ? eml_fail(why, EML_E_SYSTEM, "assemble: the arena is full", -1)
                         : eml_topology_decode(topology, arena, m->topology, why);
    lap(&t, &times->decode);
    if (e != EML_OK) {
        wipe_to(m, m->mark_open, times);
        *m = (struct eml_model){0};
    }
    return e;
}

enum eml_err eml_model_weights(struct eml_model *m, struct eml_bytes sealed, enum eml_sealed_in in,
                               const uint8_t digest[32], struct eml_why *why)
{
    EML_TRY(eml_blob_check(&m->topology->blob, sealed.len, digest, why));
    m->sealed = sealed;
    m->sealed_in = in;
    memcpy(m->digest, digest, sizeof m->digest);
    return EML_OK;
}

static enum eml_err make_reader(struct eml_model *m, struct eml_blob_reader *r, struct eml_why *why)
{
    const struct eml_blob_info *info = &m->topology->blob;
    EML_TRY(eml_blob_reader_init(r, info, m->sealed, m->arena, why));
    return m->sealed_in == EML_SEALED_FIXED ? eml_blob_reader_rely(r, info, m->digest, why)
                                            : EML_OK;
}

/* Decrypts all weights to the top of the arena: session mode, and graphs that need it. */
static enum eml_err open_weights(struct eml_model *m, struct eml_times *times, struct eml_why *why)
{
    const struct eml_blob_info *info = &m->topology->blob;
    uint64_t t = now_ns();
    m->mark_weights = eml_arena_mark(m->arena);
    size_t n = (size_t)info->chunks * EML_CHUNK_BYTES;
    uint8_t *room = eml_arena_alloc(m->arena, n, 4096);
    if (room == NULL)
        return eml_fail(why, EML_E_REFUSED, "assemble: the weights exceed the memory limit", -1);
    m->clear_since_ns = t;
    const size_t mark = eml_arena_mark(m->arena);
    struct eml_blob_reader reader;
    enum eml_err e = make_reader(m, &reader, why);
    if (e == EML_OK)
        e = eml_blob_read(&reader, 0, info->chunks, (struct eml_room){room, n}, why);
    (void)eml_arena_reset(m->arena, mark);
    lap(&t, &times->open);
    EML_TRY(e);
    times->opened_bytes += n;
    times->window_bytes = n;
    m->weights = (struct eml_room){room, n};
    return EML_OK;
}

/* All weights in clear are gone after this, and everything above them in the arena. */
static void drop_weights(struct eml_model *m, struct eml_times *times)
{
    wipe_to(m, m->mark_weights, times);
    m->weights = (struct eml_room){NULL, 0};
    if (m->clear_since_ns != 0)
        times->exposure = now_ns() - m->clear_since_ns;
    m->clear_since_ns = 0;
}

static uint64_t tighter(uint64_t limit, uint64_t budget)
{
    return budget != 0 && budget < limit ? budget : limit;
}

struct run {
    struct eml_plan *plan;
    struct eml_room activations;
    struct eml_tensor outputs[EML_GRAPH_IO_MAX];
};

static enum eml_err make_plan(struct eml_model *m, const struct eml_tensor *inputs,
                              const struct eml_budget *limits, struct run *r,
                              struct eml_times *times, struct eml_why *why)
{
    const struct eml_budget budget = {
        .activation_bytes = tighter(limits->activation_bytes, m->topology->activation_bytes_max),
        .flops = tighter(limits->flops, m->topology->flops_max),
    };
    uint64_t t = now_ns();
    EML_TRY(eml_plan_make(&m->topology->graph, inputs, m->isa, eml_pool_threads(m->pool), &budget,
                          m->arena, &r->plan, why));
    m->arena->shared = eml_plan_threads(r->plan) > 1;
    size_t n = eml_plan_activation_bytes(r->plan);
    r->activations = (struct eml_room){eml_arena_alloc(m->arena, n, 4096), n};
    lap(&t, &times->plan);
    if (r->activations.ptr == NULL)
        return eml_fail(why, EML_E_REFUSED, "assemble: activations exceed the memory limit", -1);
    return EML_OK;
}

/* ---- request mode: weights are opened while the plan runs ---- */

struct opener {
    struct eml_blob_reader reader;
    _Atomic uint64_t opened; /* bytes */
};

_Static_assert(EML_WEIGHTS_BLOCK == EML_CHUNK_BYTES, "a block of the engine is a chunk");

static enum eml_err fetch(void *ctx, uint64_t block, struct eml_room out)
{
    struct opener *o = ctx;
    atomic_fetch_add_explicit(&o->opened, out.len, memory_order_relaxed);
    return eml_blob_read(&o->reader, block, 1, out, NULL);
}

static enum eml_err fetch_part(void *ctx, uint64_t at, struct eml_room out)
{
    struct opener *o = ctx;
    atomic_fetch_add_explicit(&o->opened, out.len, memory_order_relaxed);
    return eml_blob_read_part(&o->reader, at, out, NULL);
}

/* The window lies on top of the arena: it is wiped as soon as the run is over. */
static enum eml_err run_sealed(struct eml_model *m, const struct eml_tensor *inputs, struct run *r,
                               struct eml_times *times, struct eml_why *why)
{
    struct opener opener = {0};
    const uint64_t start = now_ns(); /* of the exposure, too: no weight is in clear before */
    uint64_t t = start;
    size_t mark = eml_arena_mark(m->arena), n = eml_plan_window_bytes(r->plan);
    EML_TRY(make_reader(m, &opener.reader, why));
    struct eml_room window = {eml_arena_alloc(m->arena, n, 4096), n};
    if (window.ptr == NULL)
        return eml_fail(why, EML_E_REFUSED, "assemble: the weights exceed the memory limit", -1);
    const struct eml_weights_source source = {
        .ctx = &opener,
        .blocks = opener.reader.chunks,
        .fetch = fetch,
        .fetch_part = opener.reader.parts ? fetch_part : NULL,
    };
    lap(&t, &times->open);
    enum eml_err e = eml_plan_run_sealed(r->plan, &source, window, inputs, r->activations, m->pool,
                                         r->outputs, why);
    lap(&t, &times->run);
    wipe_to(m, mark, times);
    times->exposure = now_ns() - start;
    times->opened_bytes += opener.opened;
    times->window_bytes = n;
    return e;
}

/* ---- weights in clear: session mode, and graphs that cannot be planned ---- */

static bool lies_in(const struct eml_tensor *t, struct eml_room room)
{
    const uint8_t *p = t->data;
    return room.ptr != NULL && p >= room.ptr && p < room.ptr + room.len;
}

/* An output that is a constant of the model lies in the weights, and those of a run that took its
 * memory on the way lie above them: they must outlive the weights. Wiping in place costs a second
 * wipe when the arena is reset; such models are rare. */
static enum eml_err keep_constant_outputs(struct eml_model *m, struct run *r, bool *kept,
                                          struct eml_why *why)
{
    *kept = false;
    for (uint32_t i = 0; i < m->topology->graph.n_outputs; i++) {
        struct eml_tensor *o = &r->outputs[i];
        uint8_t *end = m->weights.ptr + m->weights.len;
        const struct eml_room above = {end, (size_t)(m->arena->base + m->arena->used - end)};
        *kept = *kept || lies_in(o, above);
        if (!lies_in(o, m->weights))
            continue;
        void *copy = eml_arena_alloc(m->arena, o->bytes, 64);
        if (copy == NULL)
            return eml_fail(why, EML_E_REFUSED, "assemble: outputs exceed the memory limit", -1);
        memcpy(copy, o->data, o->bytes);
        o->data = copy;
        *kept = true;
    }
    return EML_OK;
}

static enum eml_err destroy_weights(struct eml_model *m, struct run *r, struct eml_times *times,
                                    struct eml_why *why)
{
    bool kept;
    EML_TRY(keep_constant_outputs(m, r, &kept, why));
    if (!kept) {
        drop_weights(m, times);
        return EML_OK;
    }
    uint64_t t = now_ns();
    eml_wipe(m->weights.ptr, m->weights.len);
    times->wiped_bytes += m->weights.len;
    lap(&t, &times->wipe);
    times->exposure = t - m->clear_since_ns;
    m->clear_since_ns = 0;
    m->weights = (struct eml_room){NULL, 0};
    return EML_OK;
}

static enum eml_err infer(struct eml_model *m, const struct eml_tensor *inputs, bool keep_weights,
                          const struct eml_budget *limits, struct run *r, struct eml_times *times,
                          struct eml_why *why)
{
    EML_TRY(make_plan(m, inputs, limits, r, times, why));
    if (!keep_weights && eml_plan_window_bytes(r->plan) != SIZE_MAX)
        return run_sealed(m, inputs, r, times, why);
    if (m->weights.ptr == NULL)
        EML_TRY(open_weights(m, times, why));
    uint64_t t = now_ns();
    enum eml_err e = eml_plan_run(r->plan, eml_bytes(m->weights.ptr, m->weights.len), inputs,
                                  r->activations, m->pool, r->outputs, why);
    lap(&t, &times->run);
    EML_TRY(e);
    if (keep_weights) {
        times->exposure = t - m->clear_since_ns;
        return EML_OK;
    }
    return destroy_weights(m, r, times, why);
}

enum eml_err eml_model_infer(struct eml_model *m, const struct eml_tensor *inputs,
                             bool keep_weights, const struct eml_budget *limits,
                             enum eml_err (*sink)(void *ctx, const struct eml_tensor *outputs,
                                                  size_t n, const struct eml_times *t),
                             void *ctx, struct eml_times *times, struct eml_why *why)
{
    struct run r = {0};
    enum eml_err e = EML_OK;
    /* They lie below plan and outputs and could not go first. */
    if (!keep_weights && m->weights.ptr != NULL)
        return eml_fail(why, EML_E_USAGE, "assemble: the weights were to be kept until close", -1);
    if (keep_weights && m->weights.ptr == NULL)
        e = open_weights(m, times, why);
    if (e != EML_OK) {
        drop_weights(m, times);
        return e;
    }
    size_t mark = eml_arena_mark(m->arena);
    e = infer(m, inputs, keep_weights, limits, &r, times, why);
    if (e == EML_OK)
        e = sink(ctx, r.outputs, m->topology->graph.n_outputs, times);
    /* Whatever happened: weights first if they are on top, then plan and activations. */
    if (m->weights.ptr != NULL && m->mark_weights >= mark)
        drop_weights(m, times);
    wipe_to(m, mark, times);
    if (m->clear_since_ns != 0 && m->weights.ptr == NULL) {
        times->exposure = now_ns() - m->clear_since_ns; /* opening failed half way */
        m->clear_since_ns = 0;
    }
    return e;
}

void eml_model_close(struct eml_model *m, struct eml_times *times)
{
    if (m->arena == NULL)
        return;
    wipe_to(m, m->mark_open, times);
    if (m->clear_since_ns != 0)
        times->exposure = now_ns() - m->clear_since_ns;
    *m = (struct eml_model){0};
}
