// link: topology engine
/* Any topology key that is valid: it is planned and run within tiny budgets, on small inputs and
 * weights of any bytes, once with all weights in clear and once opened block by block, if it can
 * be. Nothing is written behind the activations, and both ways come to the same. */
#include "engine/engine.h"
#include "testsupport/support.h"
#include "topology/topology.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUTS_MAX = 8, OUTPUTS_MAX = 32, WEIGHTS_MAX = 1 << 20, BYTES_MAX = 1 << 16, GUARD = 64 };
#define ARENA_BYTES ((size_t)64 << 20)

/* Small numbers of every sign for any type; some bytes make large ones. */
static void pattern(uint8_t *p, size_t n, uint8_t seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = i % 8 == 0 ? (uint8_t)(i / 8 % 5) : i % 61 == 7 ? seed : 0;
}

static bool make_inputs(const struct eml_graph *g, struct eml_arena *arena, struct eml_tensor *in)
{
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const struct eml_value *v = &g->values[g->inputs[i].value];
        struct eml_shape s = v->shape;
        int64_t n;
        for (uint32_t d = 0; d < s.rank; d++)
            s.dim[d] = s.dim[d] == EML_DIM_UNKNOWN ? 2 : s.dim[d];
        if (i == INPUTS_MAX || v->dtype == EML_DT_SEQUENCE || !eml_shape_count(&s, &n) ||
            n > BYTES_MAX / 8)
            return false;
        size_t bytes = (size_t)n * eml_dtype_bytes(v->dtype);
        uint8_t *p = eml_arena_alloc(arena, bytes + 1, 64);
        if (p == NULL)
            return false;
        pattern(p, bytes, (uint8_t)(0x40 + i));
        in[i] = (struct eml_tensor){v->dtype, s, p, bytes};
    }
    return true;
}

static enum eml_err fetch(void *ctx, uint64_t block, struct eml_room out)
{
    const struct eml_bytes *weights = ctx;
    memcpy(out.ptr, weights->ptr + block * EML_WEIGHTS_BLOCK, out.len);
    return EML_OK;
}

static enum eml_err fetch_part(void *ctx, uint64_t at, struct eml_room out)
{
    const struct eml_bytes *weights = ctx;
    EML_ASSERT(at <= weights->len && out.len <= weights->len - at);
    memcpy(out.ptr, weights->ptr + at, out.len);
    return EML_OK;
}

/* The results again, from weights opened block by block, or in parts. */
static void run_sealed(const struct eml_plan *p, struct eml_bytes weights,
                       const struct eml_tensor *in, uint32_t n_out, const struct eml_tensor *want,
                       enum eml_err want_e, bool parts, struct eml_arena *arena)
{
    struct eml_tensor out[OUTPUTS_MAX];
    struct eml_why why;
    struct eml_room window = {NULL, eml_plan_window_bytes(p)},
                    room = {NULL, eml_plan_activation_bytes(p)};
    if (window.len > ARENA_BYTES)
        return;
    window.ptr = eml_arena_alloc(arena, window.len, 64);
    room.ptr = eml_arena_alloc(arena, room.len, 64);
    if (window.ptr == NULL || room.ptr == NULL)
        return;
    const struct eml_weights_source source = {.ctx = &weights,
                                              .blocks = weights.len / EML_WEIGHTS_BLOCK,
                                              .fetch = fetch,
                                              .fetch_part = parts ? fetch_part : NULL};
    enum eml_err e = eml_plan_run_sealed(p, &source, window, in, room, NULL, out, &why);
    EML_ASSERT(e == want_e);
    for (uint32_t i = 0; e == EML_OK && i < n_out; i++)
        EML_ASSERT(out[i].bytes == want[i].bytes &&
                   (out[i].bytes == 0 || memcmp(out[i].data, want[i].data, out[i].bytes) == 0));
}

static void plan_and_run(const struct eml_topology *t, struct eml_arena *arena)
{
    const struct eml_budget budget = {.activation_bytes = 1 << 20, .flops = 1 << 20};
    const struct eml_graph *g = &t->graph;
    struct eml_tensor in[INPUTS_MAX], out[OUTPUTS_MAX] = {{0}};
    struct eml_plan *p;
    struct eml_why why = {0};
    if (t->blob.plain_bytes > WEIGHTS_MAX || g->n_outputs > OUTPUTS_MAX ||
        !make_inputs(g, arena, in))
        return;
    size_t n = ((size_t)t->blob.plain_bytes / EML_WEIGHTS_BLOCK + 1) * EML_WEIGHTS_BLOCK;
    uint8_t *weights = eml_arena_alloc(arena, n, 64);
    if (weights == NULL)
        return;
    pattern(weights, n, 0x3F);
    enum eml_err e = eml_plan_make(g, in, EML_ISA_AUTO, 1, &budget, arena, &p, &why);
    EML_ASSERT(e == EML_OK || why.rule != NULL);
    if (e != EML_OK)
        return;
    struct eml_room room = {NULL, eml_plan_activation_bytes(p)};
    EML_ASSERT(room.len <= budget.activation_bytes);
    room.ptr = eml_arena_alloc(arena, room.len + GUARD, 64);
    if (room.ptr == NULL)
        return;
    memset(room.ptr, 0xA5, room.len + GUARD);
    e = eml_plan_run(p, eml_bytes(weights, n), in, room, NULL, out, &why);
    EML_ASSERT(e == EML_OK || why.rule != NULL);
    for (size_t i = 0; i < GUARD; i++)
        EML_ASSERT(room.ptr[room.len + i] == 0xA5);
    run_sealed(p, eml_bytes(weights, n), in, g->n_outputs, out, e, false, arena);
    run_sealed(p, eml_bytes(weights, n), in, g->n_outputs, out, e, true, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct eml_arena arena; /* is as good as new after each input */
    struct eml_topology t;
    if (arena.base == NULL)
        EML_ASSERT(eml_arena_create(&arena, ARENA_BYTES) == EML_OK);
    if (eml_topology_decode(eml_bytes(data, size), &arena, &t, NULL) == EML_OK)
        plan_and_run(&t, &arena);
    (void)eml_arena_reset(&arena, 0);
    return 0;
}
