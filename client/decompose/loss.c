#include "decompose/loss.h"

#include <math.h>
#include <string.h>

static uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static enum eml_err make_input(const struct eml_value *v, int64_t unknown, uint64_t *state,
                               struct eml_arena *arena, struct eml_tensor *t)
{
    int64_t n;
    size_t size = eml_dtype_bytes(v->dtype);
    *t = (struct eml_tensor){.dtype = v->dtype, .shape = v->shape};
    for (uint32_t i = 0; i < t->shape.rank; i++)
        if (t->shape.dim[i] == EML_DIM_UNKNOWN)
            t->shape.dim[i] = unknown;
    if (size == 0 || !eml_shape_count(&t->shape, &n))
        return EML_E_INPUT;
    uint8_t *data = eml_arena_array(arena, (size_t)n, size);
    if (data == NULL)
        return EML_E_SYSTEM;
    for (size_t i = 0; i < (size_t)n; i++) {
        uint32_t r = draw(state);
        float f = (float)(r % 65536) / 32768 - 1;
        if (v->dtype == EML_DT_F32)
            memcpy(data + i * size, &f, sizeof f);
        else if (v->dtype != EML_DT_F64)
            data[i * size] = r >> 8 & 1; /* little-endian */
    }
    t->data = data;
    t->bytes = (size_t)n * size;
    return EML_OK;
}

static enum eml_err run(const struct eml_emitted *e, const struct eml_tensor *inputs,
                        struct eml_arena *arena, struct eml_tensor *outputs)
{
    struct eml_plan *plan;
    struct eml_why why = {0};
    EML_TRY(eml_plan_make(&e->graph, inputs, EML_ISA_AUTO, 1, NULL, arena, &plan, &why));
    struct eml_room room = {NULL, eml_plan_activation_bytes(plan)};
    room.ptr = eml_arena_alloc(arena, room.len, 64);
    if (room.ptr == NULL)
        return EML_E_SYSTEM;
    return eml_plan_run(plan, e->weights, inputs, room, NULL, outputs, &why);
}

static void compare(const struct eml_tensor *exact, const struct eml_tensor *rounded, uint32_t n,
                    struct eml_loss *out)
{
    double squares = 0, errors = 0, count = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (exact[i].dtype != EML_DT_F32 || exact[i].bytes != rounded[i].bytes)
            continue;
        const float *a = exact[i].data, *b = rounded[i].data;
        for (size_t k = 0; k < exact[i].bytes / sizeof *a; k++) {
            double d = fabs((double)a[k] - (double)b[k]);
            if (!isfinite(a[k]) && (a[k] == b[k] || (isnan(a[k]) && isnan(b[k]))))
                continue;
            squares += (double)a[k] * (double)a[k];
            errors += d * d;
            out->largest = d > out->largest || isnan(d) ? d : out->largest;
            count++;
        }
    }
    out->measured = count > 0;
    out->rms = count > 0 ? sqrt(squares / count) : 0;
    out->error = count > 0 ? sqrt(errors / count) : 0;
}

static enum eml_err measure(const struct eml_emitted *exact, const struct eml_emitted *rounded,
                            int64_t unknown, struct eml_arena *arena, struct eml_loss *out)
{
    struct eml_tensor inputs[EML_GRAPH_IO_MAX], a[EML_GRAPH_IO_MAX], b[EML_GRAPH_IO_MAX];
    const struct eml_graph *g = &exact->graph;
    uint64_t state = 1;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        EML_TRY(make_input(&g->values[g->inputs[i].value], unknown, &state, arena, &inputs[i]));
    EML_TRY(run(exact, inputs, arena, a));
    EML_TRY(run(rounded, inputs, arena, b));
    compare(a, b, g->n_outputs, out);
    return EML_OK;
}

enum eml_err eml_loss_measure(const struct eml_emitted *exact, const struct eml_emitted *rounded,
                              struct eml_arena *arena, struct eml_loss *out)
{
    static const int64_t sizes[] = {16, 64, 224, 1};
    size_t mark = eml_arena_mark(arena);
    *out = (struct eml_loss){0};
    enum eml_err e = EML_E_INPUT;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && e != EML_OK && e != EML_E_SYSTEM; i++) {
        e = measure(exact, rounded, sizes[i], arena, out);
        (void)eml_arena_reset(arena, mark);
    }
    return e == EML_E_SYSTEM ? e : EML_OK;
}
