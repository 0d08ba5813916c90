// link: decompose onnx topology blob engine
/* Any model: it is refused with a reason, or decomposed; and what was accepted with all sizes known
 * can be planned and run. */
#include "decompose/decompose.h"
#include "engine/engine.h"
#include "engine/plan.h"
#include "testsupport/support.h"
#include "topology/topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUTS_MAX = 4, ELEMENTS_MAX = 65536 };
#define ARENA_BYTES ((size_t)1 << 30)

/* Zeros for every input; false if a size is not known, or is too large to be tried here. */
static bool make_inputs(const struct eml_graph *g, struct eml_arena *arena, struct eml_tensor *in)
{
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const struct eml_value *v = &g->values[g->inputs[i].value];
        int64_t n;
        if (i == INPUTS_MAX || !eml_shape_count(&v->shape, &n) || n > ELEMENTS_MAX)
            return false;
        size_t bytes = (size_t)n * eml_dtype_bytes(v->dtype);
        void *p = eml_arena_alloc(arena, bytes, 64);
        if (p == NULL)
            return false;
        in[i] = (struct eml_tensor){v->dtype, v->shape, p, bytes};
    }
    return true;
}

/* An input may say the sizes of what follows, and zeros need not be any that fit. */
static bool steered(const struct eml_graph *g)
{
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        enum eml_dtype type = g->values[g->inputs[i].value].dtype;
        if (type == EML_DT_I64 || type == EML_DT_I32)
            return true;
    }
    return false;
}

static void unexpected(const char *what, const struct eml_why *why)
{
    (void)fprintf(stderr, "%s: %s (node %ld)\n", what, why->rule, why->index);
    abort();
}

static void run(const struct eml_graph *g, struct eml_bytes weights, struct eml_arena *arena)
{
    const struct eml_budget budget = {.activation_bytes = 1 << 26, .flops = 1 << 24};
    struct eml_tensor in[INPUTS_MAX], *out = eml_arena_array(arena, g->n_outputs, sizeof *out);
    struct eml_plan *plan;
    struct eml_why why = {0};
    if (out == NULL || !make_inputs(g, arena, in))
        return;
    enum eml_err e = eml_plan_make(g, in, EML_ISA_AUTO, 1, &budget, arena, &plan, &why);
    if (e != EML_OK && e != EML_E_REFUSED && e != EML_E_SYSTEM && !(e == EML_E_INPUT && steered(g)))
        unexpected("accepted, but not planned", &why);
    if (e != EML_OK)
        return;
    struct eml_room room = {NULL, eml_plan_activation_bytes(plan)};
    room.ptr = eml_arena_alloc(arena, room.len, 64);
    if (room.ptr == NULL)
        return;
    e = eml_plan_run(plan, weights, in, room, NULL, out, &why);
    /* An index in the data may be out of range; a dynamic run meets its budget only as it goes. */
    if (e != EML_OK && e != EML_E_INPUT && !(e == EML_E_REFUSED && plan->dynamic != NULL))
        unexpected("planned, but not run", &why);
}

static void assemble(const struct eml_decomposed *d)
{
    static struct eml_arena arena; /* is as good as new after each input */
    struct eml_topology t;
    struct eml_why why;
    if (arena.base == NULL)
        EML_ASSERT(eml_arena_create(&arena, ARENA_BYTES) == EML_OK);
    EML_ASSERT(eml_topology_decode(eml_buf_bytes(&d->topology), &arena, &t, &why) == EML_OK);
    size_t room = (size_t)t.blob.chunks * EML_CHUNK_BYTES;
    struct eml_room plain = {eml_arena_alloc(&arena, room, 64), room};
    if (plain.ptr != NULL) {
        EML_ASSERT(eml_blob_open(&t.blob, eml_buf_bytes(&d->sealed), &arena, plain, &why) ==
                   EML_OK);
        run(&t.graph, eml_bytes(plain.ptr, (size_t)t.blob.plain_bytes), &arena);
    }
    (void)eml_arena_reset(&arena, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct eml_decompose_options options = {.version = 1, .min_version = 1};
    struct eml_onnx_model *m;
    struct eml_check_report report = {0};
    struct eml_decomposed d;
    if (eml_onnx_parse(eml_bytes(data, size), NULL, &m, NULL) != EML_OK)
        return 0;
    enum eml_err e = eml_decompose(m, &options, &d, &report);
    if (e == EML_OK) {
        EML_ASSERT(report.n == 0);
        assemble(&d);
    } else {
        EML_ASSERT(report.n != 0 || e == EML_E_SYSTEM);
        EML_ASSERT(d.topology.ptr == NULL && d.sealed.ptr == NULL);
    }
    eml_decomposed_free(&d);
    eml_check_free(&report);
    eml_onnx_free(m);
    return 0;
}
