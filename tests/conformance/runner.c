#include "runner.h"

#include <string.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static enum eml_err open_all(struct eml_runner *r, struct eml_why *why)
{
    EML_TRY(eml_topology_decode(eml_buf_bytes(&r->stats.topology), r->arena, r->topology, why));
    size_t room = (size_t)r->topology->blob.chunks * EML_CHUNK_BYTES;
    struct eml_room plain = {eml_arena_alloc(r->arena, room, 64), room};
    if (plain.ptr == NULL)
        return eml_fail(why, EML_E_SYSTEM, "runner: memory", -1);
    r->weights = eml_bytes(plain.ptr, (size_t)r->topology->blob.plain_bytes);
    return eml_blob_open(&r->topology->blob, eml_buf_bytes(&r->stats.sealed), r->arena, plain, why);
}

enum eml_err eml_runner_open(struct eml_runner *r, const struct eml_onnx_model *m,
                             struct eml_arena *arena, struct eml_check_report *report,
                             struct eml_why *why)
{
    static const struct eml_decompose_options options = {.version = 1, .min_version = 1};
    r->arena = arena;
    r->topology = eml_arena_alloc(arena, sizeof(*r->topology), 64);
    if (r->topology == NULL)
        return eml_fail(why, EML_E_SYSTEM, "runner: memory", -1);
    enum eml_err e = eml_decompose(m, &options, &r->stats, report);
    if (e != EML_OK)
        return eml_fail(why, e, report->n != 0 ? "decompose: refused" : "decompose: failed", -1);
    e = open_all(r, why);
    eml_buf_free(&r->stats.topology);
    eml_buf_free(&r->stats.sealed);
    return e;
}

enum eml_err eml_runner_run(struct eml_runner *r, const struct eml_tensor *inputs,
                            struct eml_tensor *outputs, struct eml_why *why)
{
    const struct eml_budget budget = {UINT64_MAX, UINT64_MAX};
    struct eml_plan *plan;
    uint64_t start = now_ns();
    EML_TRY(eml_plan_make(&r->topology->graph, inputs, r->isa,
                          r->pool != NULL ? eml_pool_threads(r->pool) : 1, &budget, r->arena, &plan,
                          why));
    uint64_t planned = now_ns();
    size_t room = eml_plan_activation_bytes(plan);
    struct eml_room activations = {eml_arena_alloc(r->arena, room, 64), room};
    if (activations.ptr == NULL)
        return eml_fail(why, EML_E_SYSTEM, "runner: memory", -1);
    memset(activations.ptr, 0xA5, room); /* the contract allows garbage */
    uint64_t ready = now_ns();
    enum eml_err e = eml_plan_run(plan, r->weights, inputs, activations, r->pool, outputs, why);
    r->plan_ns = planned - start;
    r->run_ns = now_ns() - ready;
    return e;
}
