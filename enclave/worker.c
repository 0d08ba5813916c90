#define _GNU_SOURCE
#include "enclave/worker.h"

#include "base/wipe.h"
#include "enclave/limits.h"
#include "enclave/sandbox.h"
#include "enclave/share.h"
#include "enclave/spawn.h"
#include "engine/pool.h"
#include "net/net.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* A signal handler has no argument: the one worker of this process, and where its stack begins. */
static struct eml_worker *to_wipe;
static void *stack_top;

/* The broker ends us. */
static void on_term(int signal)
{
    (void)signal;
    eml_pool_halt(to_wipe->pool);
    eml_wipe(to_wipe->arena.base, to_wipe->arena.peak);
    eml_channel_wipe(to_wipe->channel);
    EML_WIPE_STACK_UP_TO(stack_top);
    _exit(EML_E_NET);
}

static enum eml_err handle_term(void)
{
    struct sigaction a = {.sa_handler = on_term};
    (void)sigemptyset(&a.sa_mask);
    return sigaction(SIGTERM, &a, NULL) == 0 ? EML_OK : EML_E_SYSTEM;
}

static enum eml_err read_kms_ca(const char *path, struct eml_buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    out->max = EML_KMS_CA_BYTES_MAX;
    if (fd < 0)
        return EML_E_SYSTEM;
    do {
        size_t at = out->len;
        uint8_t *p = eml_buf_grow(out, 16384);
        n = p != NULL ? read(fd, p, 16384) : -1;
        if (p != NULL)
            out->len = at + (n > 0 ? (size_t)n : 0);
    } while (n > 0);
    (void)close(fd);
    return n == 0 && out->len != 0 ? EML_OK : EML_E_SYSTEM;
}

static enum eml_err acquire(struct eml_worker *w)
{
    const struct eml_options *o = w->options;
    const struct eml_sandbox_limits limits = {
        .memory_bytes = o->memory_bytes + o->cache_bytes + (4ull << 30),
        .cpu_seconds = (o->session_s + 60) * o->threads,
        .file_bytes = 0,
        .descriptors = 32,
    };
    EML_TRY(eml_sandbox_start());
    if (o->kms_ca != NULL)
        EML_TRY(read_kms_ca(o->kms_ca, &w->kms_ca));
    EML_TRY(eml_arena_create(&w->arena, o->memory_bytes));
    EML_TRY(handle_term());
    EML_TRY(eml_sandbox_no_paths());
    EML_TRY(eml_pool_create((unsigned)o->threads, &w->pool));
    const _Atomic uint32_t *share = eml_share_map(EML_CHILD_FD_1);
    (void)close(EML_CHILD_FD_1);
    if (share == NULL)
        return EML_E_SYSTEM;
    eml_pool_follow(w->pool, share);
    return eml_sandbox_enter(EML_SANDBOX_WORKER, &limits);
}

/* One request. *over: the session ends here, for good or ill. */
static enum eml_err one_request(struct eml_worker *w, bool *over)
{
    enum eml_msg_type type = EML_MSG_END;
    struct eml_room content;
    struct eml_bytes none;
    bool broken = false, fatal = true;
    size_t mark = eml_arena_mark(&w->arena);
    w->reported = false;
    w->times = (struct eml_times){0};
    w->weights_us = 0;
    w->sent = EML_OK;
    enum eml_err err = eml_worker_receive(w, &type, &content, &broken);
    *over = true;
    if (broken)
        return err;
    if (err == EML_OK && type == EML_MSG_END)
        return EML_OK;
    bool first = w->model.arena == NULL;
    if (err == EML_OK)
        err = eml_worker_infer(w, content, &fatal);
    if (fatal)
        eml_worker_close_model(w);
    /* The first message of a session holds the names of its model and goes with it. */
    bool open = w->model.arena != NULL;
    if (!open || !first)
        w->times.wiped_bytes += eml_arena_reset(&w->arena, open ? mark : 0);
    if (!fatal && w->mode == EML_MODE_SESSION)
        w->times.wiped_bytes = 0; /* the model stays: no destruction yet */
    if (fatal && w->reported && w->mode == EML_MODE_SESSION)
        eml_worker_report_destruction(w); /* its result could not leave */
    if (type == EML_MSG_REQUEST && !w->reported && eml_worker_report(w, err) == EML_OK)
        (void)!eml_worker_recorded(w, (struct eml_room){0}, &none);
    if (err != EML_OK && w->sent == EML_OK)
        (void)!eml_worker_send_error(w, err);
    /* Nothing of a request in request mode outlasts it, though its process does: arena and channel
     * are wiped by now, the stacks are left. */
    if (w->mode == EML_MODE_REQUEST)
        eml_pool_wipe(w->pool);
    *over = fatal;
    return err;
}

/* The client reads at its own pace, and may still be sending what we do not want any more; closing
 * now could take from it what it has not read. */
static void linger(int fd)
{
    uint8_t ignored[4096];
    size_t n = 1;
    int64_t end = eml_net_now_ms() + EML_LINGER_MS;
    while (n > 0 && eml_net_now_ms() < end)
        if (eml_net_recv_some(fd, EML_ROOM(ignored), end, &n) != EML_OK)
            break;
}

/* One for a process: there is no second one after it. */
static enum eml_err await_client(struct eml_worker *w)
{
    uint8_t packet[1];
    size_t n;
    enum eml_err err = eml_ipc_recv(w->broker, INT64_MAX, EML_ROOM(packet), &n, &w->client);
    return err == EML_OK && w->client < 0 ? EML_E_SYSTEM : err;
}

enum eml_err eml_worker_requests(struct eml_worker *w)
{
    enum eml_err err = EML_OK;
    for (bool over = false; !over;)
        err = one_request(w, &over);
    (void)!eml_worker_send_end(w);
    return err;
}

static enum eml_err serve(struct eml_worker *w)
{
    w->session_end_ms = eml_net_now_ms() + (int64_t)w->options->session_s * 1000 + EML_BACKSTOP_MS;
    EML_TRY(eml_worker_handshake(w));
    return eml_worker_requests(w);
}

/* What is freed is first taken out of the signal handler's sight. */
void eml_worker_forget(struct eml_worker *w)
{
    struct eml_channel *channel = w->channel;
    struct eml_pool *pool = w->pool;
    w->times = (struct eml_times){0};
    eml_worker_close_model(w);
    eml_worker_close_weights(w);
    (void)eml_arena_destroy(&w->arena);
    eml_channel_wipe(channel);
    w->channel = NULL;
    eml_channel_free(channel);
    w->pool = NULL;
    eml_pool_destroy(pool);
}

enum eml_err eml_worker_run(const struct eml_options *o)
{
    struct eml_worker w = {.options = o, .client = -1, .broker = EML_CHILD_FD_0};
    to_wipe = &w;
    stack_top = __builtin_frame_address(0);
    enum eml_err err = acquire(&w);
    if (err == EML_OK)
        err = await_client(&w);
    if (err == EML_OK)
        err = serve(&w);
    bool open = w.model.arena != NULL;
    /* Everything secret goes before anything else is waited for. */
    eml_worker_forget(&w);
    eml_wipe_stack();
    if (open)
        eml_worker_report_destruction(&w);
    eml_buf_free(&w.frame);
    eml_buf_free(&w.out);
    eml_buf_free(&w.kms_ca);
    if (err != EML_E_SYSTEM && w.client >= 0)
        linger(w.client);
    eml_net_close(&w.client);
    return err;
}
