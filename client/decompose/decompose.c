#include "decompose/decompose.h"

#include "base/wipe.h"
#include "crypto/crypto.h"
#include "decompose/emit.h"
#include "decompose/passes.h"
#include "topology/topology.h"

#include <string.h>
#include <time.h>

#define ARENA_BYTES ((size_t)4 * EML_WEIGHT_BYTES_MAX)

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static enum eml_err optimise_one(struct eml_ir *ir, struct eml_why *why)
{
    EML_TRY(eml_fold(ir, why));
    eml_simplify(ir);
    EML_TRY(eml_layout_channels_last(ir, why));
    eml_simplify(ir);
    EML_TRY(eml_fold(ir, why));
    eml_fuse_chains(ir);
    EML_TRY(eml_ir_ok(ir, why));
    EML_TRY(eml_fold_infer_from(ir, ir->first, why));
    eml_fuse_integers(ir);
    EML_TRY(eml_ir_ok(ir, why));
    eml_fuse_products(ir);
    eml_fuse_attention(ir);
    EML_TRY(eml_ir_ok(ir, why));
    return eml_fold(ir, why);
}

/* The graph, then the bodies that are left in it, then theirs. */
static enum eml_err optimise(struct eml_ir *ir, struct eml_why *why)
{
    struct eml_ir *last = ir;
    for (struct eml_ir *at = ir; at != NULL; at = at->next) {
        EML_TRY(optimise_one(at, why));
        for (const struct eml_ir_node *n = at->first; n != NULL; n = n->next)
            for (size_t k = 0; k < 2 && n->body[k] != NULL; k++)
                last = last->next = n->body[k];
    }
    return EML_OK;
}

/* Again with bfloat16 weights; what that loses is measured. */
static enum eml_err emit_bf16(struct eml_ir *ir, struct eml_emitted *emitted, struct eml_loss *loss,
                              struct eml_why *why)
{
    struct eml_emitted exact = *emitted;
    ir->bf16 = true;
    EML_TRY(eml_emit(ir, emitted, why));
    return eml_loss_measure(&exact, emitted, ir->arena, loss);
}

struct telling {
    const struct eml_onnx_model *m;
    struct eml_check_report *report;
};

static void tell(void *arg, enum eml_err e, const struct eml_why *why)
{
    const struct telling *t = arg;
    bool node = why->index >= 0 && (unsigned long)why->index < t->m->n_nodes;
    eml_check_add(t->report, t->m, node ? (uint32_t)why->index : EML_CHECK_NO_NODE,
                  e == EML_E_INPUT ? EML_CHECK_SHAPE : EML_CHECK_OTHER, "%s",
                  why->rule != NULL ? why->rule : "not supported");
}

/* The static report; if it is empty, all that importing finds; if that is nothing, the passes,
 * whose first problem is added. EML_OK: the model is accepted and *emitted is set. bf16: NULL for
 * exact weights. */
static enum eml_err run_passes(const struct eml_onnx_model *m, struct eml_arena *arena,
                               struct eml_emitted *emitted, struct eml_loss *bf16,
                               struct eml_check_report *report)
{
    struct eml_why why = {.index = -1};
    size_t before = report->n;
    EML_TRY(eml_check_static(m, report));
    if (report->n != before)
        return EML_E_UNSUPPORTED;
    struct eml_ir *ir = eml_arena_alloc(arena, sizeof(*ir), 64);
    if (ir == NULL)
        return EML_E_SYSTEM;
    eml_ir_init(ir, arena);
    struct telling telling = {m, report};
    enum eml_err e = eml_import_telling(ir, m, &(struct eml_import_problems){tell, &telling}, &why);
    if (e == EML_OK)
        e = optimise(ir, &why);
    if (e == EML_OK)
        e = eml_emit(ir, emitted, &why);
    if (e == EML_OK && bf16 != NULL)
        e = emit_bf16(ir, emitted, bf16, &why);
    if ((e == EML_E_INPUT || e == EML_E_UNSUPPORTED) && report->n == before)
        tell(&telling, e, &why);
    return e;
}

static enum eml_err encode(struct eml_decomposed *out, struct eml_topology *t,
                           struct eml_bytes weights)
{
    EML_TRY(eml_blob_seal(weights, &t->blob, &out->sealed));
    return eml_topology_encode(t, &out->topology);
}

/* What was made is what was meant: decodes, opens, compares. */
static enum eml_err verify(const struct eml_decomposed *d, struct eml_bytes weights,
                           struct eml_arena *arena)
{
    struct eml_why why;
    struct eml_topology *t = eml_arena_alloc(arena, sizeof(*t), 64);
    struct eml_buf again = {0};
    if (t == NULL || eml_topology_decode(eml_buf_bytes(&d->topology), arena, t, &why) != EML_OK)
        return EML_E_SYSTEM;
    enum eml_err e = eml_topology_encode(t, &again);
    if (e == EML_OK && !eml_bytes_equal(eml_buf_bytes(&again), eml_buf_bytes(&d->topology)))
        e = EML_E_SYSTEM;
    eml_buf_free(&again);
    EML_TRY(e);
    size_t room = (size_t)t->blob.chunks * EML_CHUNK_BYTES;
    struct eml_room plain = {eml_arena_alloc(arena, room, 64), room};
    if (plain.ptr == NULL ||
        eml_blob_open(&t->blob, eml_buf_bytes(&d->sealed), arena, plain, &why) != EML_OK ||
        t->blob.plain_bytes != weights.len ||
        !eml_bytes_equal(eml_bytes(plain.ptr, weights.len), weights))
        return EML_E_SYSTEM;
    return EML_OK;
}

static uint32_t count_nodes(const struct eml_onnx_model *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_nodes; i++)
        n += strcmp(m->nodes[i].op_type, "Constant") != 0;
    return n;
}

static enum eml_err decompose(const struct eml_onnx_model *m,
                              const struct eml_decompose_options *options, struct eml_arena *arena,
                              struct eml_decomposed *out, struct eml_check_report *report)
{
    struct eml_emitted emitted;
    struct eml_topology t = {.min_version = options->min_version};
    uint64_t start = now_ns();
    EML_TRY(run_passes(m, arena, &emitted, options->bf16 ? &out->loss : NULL, report));
    uint64_t optimised = now_ns();
    t.blob.version = options->version;
    t.blob.cipher = options->cipher;
    t.graph = emitted.graph;
    if (options->model_id != NULL)
        memcpy(t.blob.model_id, options->model_id, sizeof t.blob.model_id);
    else
        EML_TRY(eml_random(EML_ROOM(t.blob.model_id)));
    enum eml_err e = encode(out, &t, emitted.weights);
    memcpy(out->object_id, t.blob.object_id, sizeof(out->object_id));
    memcpy(out->model_id, t.blob.model_id, sizeof(out->model_id));
    out->chunks = t.blob.chunks;
    eml_wipe(&t.blob, sizeof(t.blob));
    EML_TRY(e);
    uint64_t sealed = now_ns();
    EML_TRY(verify(out, emitted.weights, arena));
    out->nodes_before = count_nodes(m);
    out->nodes_after = emitted.graph.n_nodes;
    out->weight_bytes = emitted.weights.len;
    out->optimise_ns = optimised - start;
    out->seal_ns = sealed - optimised;
    out->verify_ns = now_ns() - sealed;
    return EML_OK;
}

enum eml_err eml_decompose(const struct eml_onnx_model *m,
                           const struct eml_decompose_options *options, struct eml_decomposed *out,
                           struct eml_check_report *report)
{
    struct eml_arena arena;
    memset(out, 0, sizeof(*out));
    if (options->version < 1 || options->min_version > options->version)
        return EML_E_USAGE;
    EML_TRY(eml_arena_create(&arena, ARENA_BYTES));
    enum eml_err e = decompose(m, options, &arena, out, report);
    (void)eml_arena_destroy(&arena);
    if (e != EML_OK)
        eml_decomposed_free(out);
    return e;
}

enum eml_err eml_decompose_check(const struct eml_onnx_model *m, struct eml_check_report *report)
{
    struct eml_arena arena;
    struct eml_emitted emitted;
    EML_TRY(eml_arena_create(&arena, ARENA_BYTES));
    enum eml_err e = run_passes(m, &arena, &emitted, NULL, report);
    (void)eml_arena_destroy(&arena);
    return e == EML_E_SYSTEM || report->failed ? EML_E_SYSTEM : EML_OK;
}

void eml_decomposed_free(struct eml_decomposed *d)
{
    eml_buf_free(&d->topology);
    eml_buf_free(&d->sealed);
    memset(d, 0, sizeof(*d));
}
