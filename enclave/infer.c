#define _GNU_SOURCE
#include "enclave/worker.h"

#include "base/wipe.h"
#include "enclave/cache.h"
#include "enclave/limits.h"
#include "model/limits.h"
#include "net/net.h"
#include "session/commit.h"
#include "session/match.h"
#include "session/seal.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* --- weights --- */

/* The broker shall not give these bytes to anybody else; whether it hears is its business. */
static void report_bad_weights(struct eml_worker *w)
{
    struct eml_ipc_request r = {.type = EML_IPC_WEIGHTS_BAD};
    struct eml_ipc_answer a = {0};
    for (size_t i = 0; i < sizeof r.id; i++)
        r.id[i] = w->model.topology->blob.object_id[i];
    (void)!eml_ipc_call(w->broker, &r, w->request_end_ms, &a);
}

void eml_worker_close_weights(struct eml_worker *w)
{
    union {
        const uint8_t *in;
        void *out;
    } p = {w->sealed.ptr};
    if (p.out != NULL)
        (void)munmap(p.out, w->sealed.len);
    w->sealed = (struct eml_bytes){0};
    eml_wipe(w->sealed_id, sizeof w->sealed_id);
    eml_wipe(w->sealed_digest, sizeof w->sealed_digest);
}

static enum eml_err map_weights(struct eml_worker *w, const struct eml_ipc_request *r)
{
    struct eml_ipc_answer a = {.body = EML_ROOM(w->sealed_digest), .wants_fd = true};
    eml_worker_close_weights(w);
    EML_TRY(eml_ipc_call(w->broker, r, w->request_end_ms, &a));
    const void *p = a.len == sizeof w->sealed_digest ? eml_cache_map(a.fd, (size_t)r->size) : NULL;
    eml_net_close(&a.fd);
    if (p == NULL)
        return EML_E_SYSTEM;
    w->sealed = eml_bytes(p, (size_t)r->size);
    memcpy(w->sealed_id, r->id, sizeof r->id);
    return EML_OK;
}

static enum eml_err get_weights(struct eml_worker *w)
{
    const struct eml_blob_info *info = &w->model.topology->blob;
    struct eml_ipc_request r = {.type = EML_IPC_WEIGHTS};
    struct eml_why why = {0};
    r.size = eml_blob_sealed_bytes(info->chunks);
    if (r.size > SIZE_MAX / 2)
        return EML_E_REFUSED;
    for (size_t i = 0; i < sizeof r.id; i++)
        r.id[i] = info->object_id[i];
    if (w->sealed.ptr == NULL || w->sealed.len != r.size ||
        memcmp(w->sealed_id, r.id, sizeof r.id) != 0)
        EML_TRY(map_weights(w, &r));
    enum eml_err err =
        eml_model_weights(&w->model, w->sealed, EML_SEALED_FIXED, w->sealed_digest, &why);
    if (err == EML_E_AUTH)
        report_bad_weights(w);
    return err;
}

void eml_worker_close_model(struct eml_worker *w)
{
    eml_model_close(&w->model, &w->times);
    eml_wipe(&w->inference, sizeof w->inference);
}

static uint64_t now_us(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static enum eml_err open_model(struct eml_worker *w, struct eml_bytes topology)
{
    struct eml_why why = {0};
    EML_TRY(eml_model_decode(&w->model, &w->arena, topology, eml_isa_resolve(EML_ISA_AUTO), w->pool,
                             &w->times, &why));
    uint64_t start = now_us();
    enum eml_err err = get_weights(w);
    /* At least one: the broker tells by it that a model was assembled. */
    w->weights_us = now_us() - start + 1;
    return err;
}

/* --- the result --- */

static enum eml_err commit(enum eml_commit which, const uint8_t salt[EML_SALT_BYTES],
                           const struct eml_named_tensor *t, size_t n, uint8_t out[EML_IPC_DIGEST])
{
    struct eml_sha256 digest;
    enum eml_err err = eml_commit(which, salt, t, n, &digest);
    memcpy(out, digest.b, sizeof digest.b);
    return err;
}

/* What the result needs, in the arena: data and names of the outputs. */
struct kept {
    struct eml_bytes piece[2 * EML_GRAPH_IO_MAX];
    size_t n;
};

/* Of a request in request mode nothing else is left when its result leaves, and of one that is
 * sealed already (n = 0) nothing at all. That takes no time: the host is at work meanwhile. */
static void forget_the_rest(struct eml_worker *w, const struct eml_named_tensor *t, size_t n,
                            struct kept *k)
{
    k->n = 0;
    for (size_t i = 0; i < n; i++) {
        k->piece[k->n++] = eml_bytes(t[i].tensor.data, t[i].tensor.bytes);
        k->piece[k->n++] = t[i].name;
    }
    eml_arena_wipe_but(&w->arena, k->piece, k->n);
}

static enum eml_err send_outputs(void *ctx, const struct eml_tensor *outputs, size_t n,
                                 const struct eml_times *t)
{
    struct eml_worker *w = ctx;
    const struct eml_graph *g = &w->model.topology->graph;
    struct eml_named_tensor named[EML_GRAPH_IO_MAX];
    uint8_t salt[EML_SALT_BYTES], room[EML_IPC_BODY_MAX];
    struct eml_bytes receipt = {0};
    struct kept kept = {.n = 0};
    if (n > EML_GRAPH_IO_MAX || n != g->n_outputs)
        return EML_E_INPUT;
    for (size_t i = 0; i < n; i++)
        named[i] = (struct eml_named_tensor){g->outputs[i].text, outputs[i]};
    EML_TRY(eml_random(EML_ROOM(salt)));
    EML_TRY(commit(EML_COMMIT_RESPONSE, salt, named, n, w->inference.response));
    EML_TRY(eml_worker_report(w, EML_OK));
    const struct eml_result r = {
        .n_outputs = n,
        .outputs = named,
        .weights_us = w->weights_us,
        .assemble_us = (t->decode + t->plan + t->open) / 1000,
        .run_us = t->run / 1000,
        .wipe_us = t->wipe / 1000,
        .exposure_us = t->exposure / 1000,
        .wiped_bytes = t->wiped_bytes,
        .kernels = eml_bytes_of_str(eml_isa_name(w->model.isa)),
        .salt = EML_BYTES(salt),
    };
    EML_TRY(eml_worker_seal_ahead(w, &r));
    if (w->mode == EML_MODE_REQUEST)
        forget_the_rest(w, named, w->ahead ? 0 : n, &kept);
    EML_TRY(eml_worker_recorded(w, EML_ROOM(room), &receipt));
    /* The client verifies it while the result is on its way. */
    w->sent = eml_worker_send_receipt(w, receipt);
    if (w->sent == EML_OK)
        w->sent = eml_worker_send_result(w, &r);
    if (w->mode == EML_MODE_REQUEST)
        eml_arena_wipe_kept(&w->arena, kept.piece, kept.n);
    return w->sent;
}

static enum eml_err run(struct eml_worker *w, const struct eml_request *r)
{
    struct eml_tensor inputs[EML_GRAPH_IO_MAX];
    struct eml_why why = {0};
    const struct eml_budget limits = {.activation_bytes = w->options->memory_bytes,
                                      .flops = w->options->flops};
    EML_TRY(eml_match_inputs(&w->model.topology->graph, r->inputs, r->n_inputs, inputs, &why));
    EML_TRY(commit(EML_COMMIT_REQUEST, r->salt.ptr, r->inputs, r->n_inputs, w->inference.request));
    enum eml_err err = eml_model_infer(&w->model, inputs, w->mode == EML_MODE_SESSION, &limits,
                                       send_outputs, w, &w->times, &why);
    if (err == EML_E_AUTH && w->sent == EML_OK)
        report_bad_weights(w);
    return err;
}

/* --- the request --- */

/* `plain` is where the request's own bytes lie: the message, or what was sealed in it. */
static enum eml_err open_request(struct eml_worker *w, struct eml_room content,
                                 struct eml_request *r, struct eml_room *plain)
{
    struct eml_why why = {0};
    struct eml_aead_key key;
    *plain = content;
    EML_TRY(eml_request_decode(eml_bytes(content.ptr, content.len), &w->arena, r, &why));
    if (!r->has_kms)
        return EML_OK;
    enum eml_mode mode = r->mode;
    struct eml_bytes sealed = r->kms.sealed;
    if (sealed.len < EML_REQUEST_SEAL_BYTES)
        return EML_E_INPUT;
    plain->len = sealed.len - EML_REQUEST_SEAL_BYTES;
    plain->ptr = eml_arena_alloc(&w->arena, plain->len, 64);
    if (plain->ptr == NULL)
        return EML_E_REFUSED;
    enum eml_err err = eml_worker_data_key(w, &r->kms, &key, &why);
    if (err == EML_OK)
        err = eml_request_unseal(&key, eml_channel_session_id(w->channel), sealed, *plain);
    eml_wipe(&key, sizeof key);
    EML_TRY(err);
    EML_TRY(eml_request_decode(eml_bytes(plain->ptr, plain->len), &w->arena, r, &why));
    return r->has_kms || r->mode != mode ? EML_E_INPUT : EML_OK;
}

/* Of a session. The bytes of inputs are not needed any more, the rest of the first message (names)
 * is. */
static void wipe_inputs(const struct eml_request *r, struct eml_room plain)
{
    for (size_t i = 0; i < r->n_inputs; i++) {
        const uint8_t *data = r->inputs[i].tensor.data;
        eml_wipe(plain.ptr + (data - plain.ptr), r->inputs[i].tensor.bytes);
    }
}

/* For the receipts of the session. */
static enum eml_err name_model(struct eml_worker *w, struct eml_bytes topology)
{
    const struct eml_blob_info *info = &w->model.topology->blob;
    struct eml_sha256 digest;
    EML_TRY(eml_sha256(&topology, 1, &digest));
    w->inference = (struct eml_ipc_inference){
        .mode = (uint8_t)w->mode, .isa = (uint8_t)w->model.isa, .version = info->version};
    memcpy(w->inference.model_id, info->model_id, sizeof w->inference.model_id);
    memcpy(w->inference.object_id, info->object_id, sizeof w->inference.object_id);
    memcpy(w->inference.topology, digest.b, sizeof digest.b);
    return EML_OK;
}

static enum eml_err first_request(struct eml_worker *w, const struct eml_request *r)
{
    if (r->topology.ptr == NULL || (w->began && r->mode != w->mode))
        return EML_E_INPUT;
    w->mode = r->mode;
    w->began = true;
    EML_TRY(open_model(w, r->topology));
    EML_TRY(name_model(w, r->topology));
    return run(w, r);
}

static enum eml_err further_request(struct eml_worker *w, const struct eml_request *r)
{
    if (r->topology.ptr != NULL || r->mode != w->mode)
        return EML_E_INPUT;
    return run(w, r);
}

enum eml_err eml_worker_infer(struct eml_worker *w, struct eml_room content, bool *fatal)
{
    struct eml_request r = {0};
    struct eml_room plain;
    bool first = w->model.arena == NULL;
    enum eml_err err = open_request(w, content, &r, &plain);
    if (err == EML_OK)
        err = first ? first_request(w, &r) : further_request(w, &r);
    if (err == EML_OK && w->mode == EML_MODE_SESSION)
        wipe_inputs(&r, plain);
    /* Only a further request that does not fit the model leaves the session as it was. */
    *fatal = w->sent != EML_OK || (err != EML_OK && (first || err != EML_E_INPUT));
    if (*fatal || w->mode == EML_MODE_REQUEST)
        eml_worker_close_model(w);
    return err;
}
