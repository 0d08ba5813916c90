#define _GNU_SOURCE
#include "enclave/broker.h"

#include "base/log.h"
#include "base/wipe.h"
#include "crypto/crypto.h"
#include "enclave/audit_log.h"
#include "enclave/cache.h"
#include "enclave/fetch.h"
#include "enclave/session_table.h"
#include "net/net.h"
#include "nsm/nsm.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TIRED_MS = 100 };

struct broker {
    const struct eml_options *options;
    const struct eml_program *program;
    struct eml_nsm *nsm;
    struct eml_ed25519_sk key; /* the enclave's (secret): signs receipts and checkpoints; its pk is
                                * the public_key of documents */
    struct eml_rsa *rsa;       /* NULL: no KMS */
    struct eml_buf spki;
    struct eml_cache cache;
    struct eml_session_table sessions;
    struct eml_audit_log *log;
    int listener, signals;
    bool stopping;
    int64_t tired_until_ms; /* no descriptors left: let the listener rest */
};

/* --- the audit log --- */

/* s may be NULL. A record that cannot be kept ends the service: nothing happens unseen. */
static uint64_t record(struct broker *b, const struct eml_session *s, struct eml_record r)
{
    uint64_t index = 0;
    r.session = s != NULL ? s->number : 0;
    enum eml_err err = eml_audit_log_append(b->log, &r, &index);
    if (err != EML_OK) {
        eml_log_event("audit.lost", err, {"event", r.event});
        b->stopping = true;
    }
    return index;
}

static void record_budget(struct broker *b, const struct eml_session *s, enum eml_budget_kind kind)
{
    (void)record(b, s,
                 (struct eml_record){.event = EML_EVENT_BUDGET,
                                     .outcome = EML_E_REFUSED,
                                     .number = {(uint64_t)kind}});
}

static void record_violation(struct broker *b, const struct eml_session *s, enum eml_violation kind,
                             enum eml_err outcome, int signal)
{
    (void)record(b, s,
                 (struct eml_record){.event = EML_EVENT_VIOLATION,
                                     .outcome = outcome,
                                     .number = {(uint64_t)kind, (uint64_t)signal}});
}

static void record_error(struct broker *b, enum eml_error_place place, enum eml_err outcome)
{
    (void)record(b, NULL,
                 (struct eml_record){
                     .event = EML_EVENT_ERROR, .outcome = outcome, .number = {(uint64_t)place}});
}

/* --- answers --- */

static void answer(struct eml_session *s, enum eml_err err, struct eml_bytes body, int fd)
{
    struct eml_buf packet = {0};
    eml_buf_put_u8(&packet, (uint8_t)err);
    if (err == EML_OK)
        eml_buf_put(&packet, body);
    if (eml_buf_ok(&packet) != EML_OK ||
        eml_ipc_send(s->sock, eml_buf_bytes(&packet), err == EML_OK ? fd : -1) != EML_OK)
        eml_session_kill(s, SIGKILL);
    eml_buf_free(&packet);
}

static void answer_plain(struct eml_session *s, enum eml_err err)
{
    answer(s, err, (struct eml_bytes){0}, -1);
}

/* Appends to *out. */
static enum eml_err get_document(struct broker *b, const struct eml_nsm_attest_args *args,
                                 struct eml_buf *out)
{
    struct eml_buf request = {0};
    uint8_t response[EML_NSM_RESPONSE_MAX];
    size_t n = 0;
    struct eml_bytes document = {0};
    struct eml_why why = {0};
    enum eml_err err = eml_nsm_put_attestation(args, &request);
    if (err == EML_OK)
        err = eml_nsm_exchange(b->nsm, eml_buf_bytes(&request), EML_ROOM(response), &n);
    if (err == EML_OK)
        err = eml_nsm_get_attestation(eml_bytes(response, n), &document, &why);
    eml_buf_put(out, document);
    if (err == EML_OK)
        err = eml_buf_ok(out);
    eml_buf_free(&request);
    return err == EML_OK ? EML_OK : EML_E_SYSTEM;
}

/* prefix goes before the document. */
static void answer_document(struct broker *b, struct eml_session *s, enum eml_attestation_use use,
                            struct eml_bytes prefix, const struct eml_nsm_attest_args *args)
{
    struct eml_buf body = {0};
    struct eml_sha256 digest;
    struct eml_record r = {.event = EML_EVENT_ATTESTATION, .number = {(uint64_t)use}};
    eml_buf_put(&body, prefix);
    enum eml_err err = get_document(b, args, &body);
    if (err == EML_OK) {
        const struct eml_bytes document = eml_bytes(body.ptr + prefix.len, body.len - prefix.len);
        err = eml_sha256(&document, 1, &digest);
        if (err == EML_OK && use == EML_ATTESTATION_SESSION)
            err = eml_notary_attest(&s->notary, document);
        r.bytes[0] = EML_BYTES(digest.b);
    }
    if (err != EML_OK)
        r.bytes[0] = (struct eml_bytes){0};
    r.outcome = err;
    (void)record(b, s, r);
    answer(s, err, eml_buf_bytes(&body), -1);
    eml_buf_free(&body);
}

/* --- one handler for each type of message --- */

static void on_attest(struct broker *b, struct eml_session *s, const struct eml_ipc_request *r)
{
    const struct eml_nsm_attest_args args = {.user_data = EML_BYTES(r->user_data),
                                             .nonce = EML_BYTES(r->nonce),
                                             .public_key = EML_BYTES(b->key.pk.b)};
    answer_document(b, s, EML_ATTESTATION_SESSION, (struct eml_bytes){0}, &args);
}

static void on_kms_document(struct broker *b, struct eml_session *s,
                            const struct eml_ipc_request *r)
{
    (void)r;
    struct eml_sha256 digest;
    const struct eml_bytes spki = eml_buf_bytes(&b->spki);
    enum eml_err err = b->rsa == NULL ? EML_E_REFUSED : eml_sha256(&spki, 1, &digest);
    if (err != EML_OK) {
        (void)record(b, s,
                     (struct eml_record){.event = EML_EVENT_ATTESTATION,
                                         .outcome = err,
                                         .number = {EML_ATTESTATION_KMS}});
        answer_plain(s, err);
        return;
    }
    const struct eml_nsm_attest_args args = {.public_key = spki};
    answer_document(b, s, EML_ATTESTATION_KMS, EML_BYTES(digest.b), &args);
}

static void on_kms_unwrap(struct broker *b, struct eml_session *s, const struct eml_ipc_request *r)
{
    uint8_t key[EML_IPC_BLOCK];
    size_t n = 0;
    enum eml_err err = b->rsa == NULL
                           ? EML_E_AUTH
                           : eml_rsa_oaep_decrypt(b->rsa, EML_BYTES(r->block), EML_ROOM(key), &n);
    (void)record(b, s, (struct eml_record){.event = EML_EVENT_KMS, .outcome = err});
    answer(s, err, eml_bytes(key, n), -1);
    eml_wipe(key, sizeof key);
}

static enum eml_err start_fetcher(struct broker *b, struct eml_cache_entry *e)
{
    char argument[EML_FETCH_ARGUMENT];
    int pair[2] = {-1, -1};
    eml_fetch_argument(e->id, e->size, argument);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return EML_E_SYSTEM;
    e->report = pair[0];
    enum eml_err err =
        eml_spawn(b->program, EML_ROLE_FETCHER, e->fd, pair[1], argument, &e->fetcher);
    eml_net_close(&pair[1]);
    return err;
}

static void on_weights(struct broker *b, struct eml_session *s, const struct eml_ipc_request *r)
{
    struct eml_cache_entry *e = eml_cache_find(&b->cache, r->id, r->size);
    if (e != NULL && e->fetcher == 0) {
        answer(s, EML_OK, EML_BYTES(e->digest), e->fd);
        return;
    }
    enum eml_err err = EML_OK;
    if (e == NULL)
        err = eml_cache_add(&b->cache, r->id, r->size, &e);
    if (err == EML_E_REFUSED)
        record_budget(b, s, EML_BUDGET_CACHE);
    if (err == EML_OK && e->fetcher < 0) {
        err = start_fetcher(b, e);
        if (err != EML_OK)
            eml_cache_drop(&b->cache, e);
    }
    if (err == EML_OK)
        s->waits_for = e->fetcher;
    else
        answer_plain(s, err);
}

static void on_weights_bad(struct broker *b, struct eml_session *s, const struct eml_ipc_request *r)
{
    eml_cache_bad(&b->cache, r->id);
    record_violation(b, s, EML_VIOLATION_WEIGHTS, EML_E_AUTH, 0);
    answer_plain(s, EML_OK);
}

static void on_host_connect(struct broker *b, struct eml_session *s,
                            const struct eml_ipc_request *r)
{
    (void)r;
    enum eml_err err = EML_E_REFUSED;
    if (s->host_connects == EML_HOST_CONNECTS_MAX) {
        record_budget(b, s, EML_BUDGET_CONNECTIONS);
    } else {
        s->host_connects++;
        err = eml_spawn(b->program, EML_ROLE_CONNECTOR, s->sock, -1, NULL, &s->waits_for);
    }
    if (err != EML_OK)
        answer_plain(s, err);
}

/* Nothing begins that could not be recorded. */
static void on_begin(struct broker *b, struct eml_session *s, const struct eml_ipc_request *r)
{
    (void)r;
    eml_session_begin(s, eml_net_now_ms() + (int64_t)b->options->request_s * 1000);
    const uint8_t threads[] = {(uint8_t)eml_session_share(&b->sessions, b->options->threads)};
    answer(s, eml_audit_log_health(b->log), EML_BYTES(threads), -1);
}

static void record_destruction(struct broker *b, const struct eml_session *s,
                               const struct eml_ipc_request *r)
{
    const uint64_t *n = r->number;
    (void)record(b, s,
                 (struct eml_record){.event = EML_EVENT_DESTRUCTION, .number = {n[5], n[3], n[4]}});
}

/* What happened in a request, in the order in which it did; the index of the last record, the
 * inference's. The host learns of a receipt and a model no more than a digest. */
static uint64_t record_request(struct broker *b, const struct eml_session *s, enum eml_err outcome,
                               const struct eml_ipc_request *r, const struct eml_sha256 *receipt)
{
    const uint64_t *n = r->number;
    struct eml_record inference = {
        .event = EML_EVENT_INFERENCE, .outcome = outcome, .number = {n[2]}};
    if (n[0] != 0) /* a further request finds its model assembled */
        (void)record(b, s,
                     (struct eml_record){.event = EML_EVENT_ASSEMBLY, .number = {n[0], n[1]}});
    if (r->err == EML_E_REFUSED)
        record_budget(b, s, EML_BUDGET_REQUEST);
    if (n[5] != 0)
        record_destruction(b, s, r);
    if (outcome == EML_OK) {
        inference.bytes[EML_INFERENCE_RECEIPT] = EML_BYTES(receipt->b);
        inference.bytes[EML_INFERENCE_MODEL] = EML_BYTES(r->inference.topology);
    }
    return record(b, s, inference);
}

static void on_destroyed(struct broker *b, struct eml_session *s, const struct eml_ipc_request *r)
{
    record_destruction(b, s, r);
    answer_plain(s, EML_OK);
}

static uint64_t unix_s(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec > 0 ? (uint64_t)t.tv_sec : 0;
}

/* Answered when what it tells is on the host's disk: receipt and result leave after that. */
static void on_report(struct broker *b, struct eml_session *s, const struct eml_ipc_request *r)
{
    struct eml_sha256 receipt = {{0}};
    enum eml_err outcome = r->err;
    eml_session_rest(s);
    if (outcome == EML_OK)
        outcome = eml_notary_receive(&s->notary, &b->key, r, unix_s(), eml_nsm_genuine, &receipt);
    eml_log_event("request", outcome, {"session", (int64_t)s->number},
                  {"weights_us", (int64_t)r->number[0]}, {"assemble_us", (int64_t)r->number[1]},
                  {"run_us", (int64_t)r->number[2]}, {"wipe_us", (int64_t)r->number[3]},
                  {"exposure_us", (int64_t)r->number[4]}, {"wiped_bytes", (int64_t)r->number[5]});
    uint64_t index = record_request(b, s, outcome, r, &receipt);
    s->durable_at = index + 1;
    /* Without its statement there is no receipt, and the request fails when the answer is due. */
    if (outcome == EML_OK &&
        eml_notary_state(&s->notary, &b->key, r, eml_audit_log_origin(b->log), index) != EML_OK)
        eml_notary_drop(&s->notary);
    s->succeeded = r->err == EML_OK;
}

static void answer_receipt(struct broker *b, struct eml_session *s)
{
    struct eml_buf record = {0}, proof = {0}, receipt = {0};
    enum eml_err err = eml_audit_log_proof(b->log, s->durable_at - 1, &record, &proof);
    if (err == EML_OK)
        err =
            eml_notary_finish(&s->notary, eml_buf_bytes(&record), eml_buf_bytes(&proof), &receipt);
    answer(s, err == EML_OK ? EML_OK : EML_E_SYSTEM, eml_buf_bytes(&receipt), -1);
    eml_buf_free(&record);
    eml_buf_free(&proof);
    eml_buf_free(&receipt);
}

/* After the log's turn: answers reports that became durable, or that will not. */
static void answer_reports(struct broker *b)
{
    uint64_t durable = eml_audit_log_durable(b->log);
    enum eml_err health = eml_audit_log_health(b->log);
    for (size_t i = 0; i < b->sessions.n; i++) {
        struct eml_session *s = &b->sessions.entry[i];
        if (s->pid == 0 || s->durable_at == 0 || (durable < s->durable_at && health == EML_OK))
            continue;
        if (durable < s->durable_at)
            answer_plain(s, health);
        else if (s->succeeded)
            answer_receipt(b, s);
        else
            answer_plain(s, EML_OK);
        eml_notary_drop(&s->notary);
        s->durable_at = 0;
    }
}

static void (*const handlers[EML_IPC_N])(struct broker *, struct eml_session *,
                                         const struct eml_ipc_request *) = {
    [EML_IPC_ATTEST] = on_attest,
    [EML_IPC_KMS_DOCUMENT] = on_kms_document,
    [EML_IPC_KMS_UNWRAP] = on_kms_unwrap,
    [EML_IPC_WEIGHTS] = on_weights,
    [EML_IPC_WEIGHTS_BAD] = on_weights_bad,
    [EML_IPC_HOST_CONNECT] = on_host_connect,
    [EML_IPC_BEGIN] = on_begin,
    [EML_IPC_REPORT] = on_report,
    [EML_IPC_DESTROYED] = on_destroyed,
};

static void hear(struct broker *b, struct eml_session *s)
{
    uint8_t packet[EML_IPC_REQUEST_MAX + 1];
    struct eml_ipc_request r;
    size_t n;
    enum eml_err err = eml_ipc_recv(s->sock, eml_net_now_ms(), EML_ROOM(packet), &n, NULL);
    if (err == EML_E_NET) {
        /* It closed its end: it is about to die, or should be. */
        eml_net_close(&s->sock);
        return;
    }
    if (err == EML_OK)
        err = eml_ipc_decode(eml_bytes(packet, n), &r);
    if (err == EML_OK) {
        handlers[r.type](b, s, &r);
    } else {
        eml_log_event("worker.violation", err, {"session", (int64_t)s->number});
        record_violation(b, s, EML_VIOLATION_MESSAGE, err, 0);
        eml_session_kill(s, SIGKILL);
    }
    eml_wipe(packet, sizeof packet);
    eml_wipe(&r, sizeof r);
}

/* --- children that ended --- */

/* An exit status is a class; a death by signal is this machine's. */
static enum eml_err class_of(int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) <= EML_E_SYSTEM)
        return (enum eml_err)WEXITSTATUS(status);
    return EML_E_SYSTEM;
}

static void fetcher_ended(struct broker *b, struct eml_cache_entry *e, pid_t pid, enum eml_err err)
{
    if (err == EML_OK)
        err = eml_cache_ready(&b->cache, e);
    else
        eml_cache_drop(&b->cache, e);
    for (size_t i = 0; i < b->sessions.n; i++) {
        struct eml_session *s = &b->sessions.entry[i];
        if (s->pid == 0 || s->waits_for != pid)
            continue;
        s->waits_for = 0;
        if (err == EML_OK)
            answer(s, EML_OK, EML_BYTES(e->digest), e->fd);
        else
            answer_plain(s, err);
    }
    if (err == EML_OK && e->doomed)
        eml_cache_drop(&b->cache, e);
}

/* The end of a worker, with what made it end. */
static void session_ended(struct broker *b, struct eml_session *s, enum eml_err err, int signal)
{
    int64_t ms = eml_net_now_ms() - s->start_ms;
    eml_log_event("session.end", err, {"session", (int64_t)s->number}, {"ms", ms},
                  {"signal", signal});
    if (s->over != 0)
        record_budget(b, s, s->over);
    if (signal == SIGXCPU)
        record_budget(b, s, EML_BUDGET_PROCESSOR);
    else if (signal == SIGSYS)
        record_violation(b, s, EML_VIOLATION_CALL, err, signal);
    else if (signal != 0 && signal != SIGKILL)
        record_violation(b, s, EML_VIOLATION_CRASH, err, signal);
    (void)record(b, s,
                 (struct eml_record){.event = EML_EVENT_SESSION_CLOSE,
                                     .outcome = err,
                                     .number = {(uint64_t)ms, (uint64_t)signal}});
    eml_session_free(s);
}

static void child_ended(struct broker *b, pid_t pid, int status)
{
    enum eml_err err = class_of(status);
    struct eml_cache_entry *e = eml_cache_fetched_by(&b->cache, pid);
    if (e != NULL) {
        eml_log_event("fetch", err, {"bytes", (int64_t)e->size});
        if (err != EML_OK)
            record_error(b, EML_ERROR_FETCH, err);
        fetcher_ended(b, e, pid, err);
        return;
    }
    for (size_t i = 0; i < b->sessions.n; i++) {
        struct eml_session *s = &b->sessions.entry[i];
        if (s->pid == pid) {
            session_ended(b, s, err, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        } else if (s->pid != 0 && s->waits_for == pid) {
            /* A connector: it has answered itself if it had something to give. */
            s->waits_for = 0;
            if (err != EML_OK)
                answer_plain(s, err);
        }
    }
}

static void on_signal(struct broker *b)
{
    struct signalfd_siginfo info;
    while (read(b->signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD)
            b->stopping = true;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        child_ended(b, pid, status);
}

/* --- connections --- */

static void welcome(struct broker *b)
{
    int client = -1, pair[2] = {-1, -1};
    pid_t pid = -1;
    enum eml_err err = eml_net_accept(b->listener, eml_net_now_ms(), &client);
    if (err == EML_E_NET)
        return;
    if (err == EML_OK && !eml_net_is_from(client, b->options->host)) {
        eml_log_event("peer.refused", EML_E_REFUSED, {"port", eml_net_port(b->listener)});
        eml_net_close(&client);
        return;
    }
    if (err == EML_OK && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        err = EML_E_SYSTEM;
    if (err == EML_OK)
        err = eml_spawn(b->program, EML_ROLE_WORKER, client, pair[1], NULL, &pid);
    eml_net_close(&client);
    eml_net_close(&pair[1]);
    if (err == EML_OK) {
        int64_t now = eml_net_now_ms();
        const struct eml_session *s = eml_session_new(&b->sessions, pid, pair[0], now,
                                                      now + (int64_t)b->options->session_s * 1000);
        (void)record(b, s,
                     (struct eml_record){.event = EML_EVENT_SESSION_OPEN,
                                         .number = {eml_session_count(&b->sessions)}});
        return;
    }
    eml_net_close(&pair[0]);
    b->tired_until_ms = eml_net_now_ms() + TIRED_MS;
    eml_log_event("session.none", err, {"sessions", (int64_t)eml_session_count(&b->sessions)});
    record_error(b, EML_ERROR_SESSION, err);
}

static bool listens(const struct broker *b, int64_t now)
{
    return !b->stopping && now >= b->tired_until_ms &&
           eml_session_count(&b->sessions) < b->sessions.n && eml_audit_log_room(b->log);
}

enum { P_SIGNALS, P_LISTENER, P_LOG, P_SESSIONS };

/* Waits for something to happen and deals with it. */
static enum eml_err turn(struct broker *b, struct pollfd *p)
{
    int64_t now = eml_net_now_ms();
    int64_t until = eml_session_tick(&b->sessions, now),
            due = eml_audit_log_poll(b->log, &p[P_LOG]);
    if (b->tired_until_ms > now && b->tired_until_ms < until)
        until = b->tired_until_ms;
    until = due < until ? due : until;
    p[P_SIGNALS] = (struct pollfd){.fd = b->signals, .events = POLLIN};
    p[P_LISTENER] = (struct pollfd){.fd = listens(b, now) ? b->listener : -1, .events = POLLIN};
    for (size_t i = 0; i < b->sessions.n; i++) {
        const struct eml_session *s = &b->sessions.entry[i];
        /* One question at a time: while an answer is due, the worker is not heard. */
        bool heard = s->pid != 0 && s->waits_for == 0 && s->durable_at == 0;
        p[P_SESSIONS + i] = (struct pollfd){.fd = heard ? s->sock : -1, .events = POLLIN};
    }
    int64_t wait = until - now;
    int timeout = wait > 60000 ? 60000 : wait > 0 ? (int)wait : 0;
    if (poll(p, (nfds_t)(P_SESSIONS + b->sessions.n), timeout) < 0)
        return errno == EINTR ? EML_OK : EML_E_SYSTEM;
    /* Messages first: a worker's last words come before its death. */
    for (size_t i = 0; i < b->sessions.n; i++)
        if (p[P_SESSIONS + i].revents != 0)
            hear(b, &b->sessions.entry[i]);
    if (p[P_SIGNALS].revents != 0)
        on_signal(b);
    if (p[P_LISTENER].revents != 0)
        welcome(b);
    /* Last: what was recorded above goes out in one batch. */
    eml_audit_log_turn(b->log, &p[P_LOG]);
    answer_reports(b);
    return EML_OK;
}

static enum eml_err serve(struct broker *b)
{
    enum eml_err err = EML_OK;
    struct pollfd *p = calloc(P_SESSIONS + b->sessions.n, sizeof *p);
    if (p == NULL)
        return EML_E_SYSTEM;
    while (err == EML_OK && !b->stopping)
        err = turn(b, p);
    b->stopping = true;
    for (size_t i = 0; i < b->sessions.n; i++)
        if (b->sessions.entry[i].pid != 0)
            eml_session_end(&b->sessions.entry[i], eml_net_now_ms());
    while (err == EML_OK && eml_session_count(&b->sessions) > 0)
        err = turn(b, p);
    int64_t end = eml_net_now_ms() + EML_STOP_MS;
    while (err == EML_OK && !eml_audit_log_settled(b->log) && eml_net_now_ms() < end &&
           eml_audit_log_health(b->log) == EML_OK)
        err = turn(b, p);
    free(p);
    return err;
}

static int block_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* One for each start, never stored: what it signed belongs to this run of this image. */
static enum eml_err make_enclave_key(struct broker *b)
{
    EML_TRY(eml_random(EML_ROOM(b->key.b)));
    return eml_ed25519_make(&b->key);
}

/* Before anybody waits: it takes a good part of a second, in which the broker answers no one. */
static enum eml_err make_kms_key(struct broker *b)
{
    if (b->options->kms_endpoint == NULL)
        return EML_OK;
    EML_TRY(eml_rsa_generate(&b->rsa));
    return eml_rsa_spki(b->rsa, &b->spki);
}

/* A process of its own connects, since the broker waits for nobody. */
static int dial(void *ctx)
{
    struct broker *b = ctx;
    int pair[2] = {-1, -1};
    pid_t pid;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    if (eml_spawn(b->program, EML_ROLE_CONNECTOR, pair[1], -1, NULL, &pid) != EML_OK)
        eml_net_close(&pair[0]);
    eml_net_close(&pair[1]);
    return pair[0];
}

static enum eml_err start_log(struct broker *b, struct eml_why *why)
{
    const struct eml_options *o = b->options;
    const struct eml_nsm_attest_args args = {.public_key = EML_BYTES(b->key.pk.b)};
    struct eml_buf document = {0};
    enum eml_err err = get_document(b, &args, &document);
    const struct eml_audit_log_config c = {.key = &b->key,
                                           .document = eml_buf_bytes(&document),
                                           .limits = {o->max_sessions, o->session_s, o->request_s,
                                                      o->memory_bytes, o->cache_bytes, o->flops},
                                           .dial = dial,
                                           .ctx = b};
    if (err == EML_OK)
        err = eml_audit_log_start(&c, EML_AUDIT_START_MS, &b->log, why);
    eml_buf_free(&document);
    return err;
}

static enum eml_err begin(struct broker *b, struct eml_why *why)
{
    const struct rlimit none = {0, 0};
    EML_TRY(eml_nsm_open(&b->nsm, why));
    EML_TRY(eml_session_table_make(&b->sessions, (size_t)b->options->max_sessions));
    EML_TRY(make_enclave_key(b));
    EML_TRY(make_kms_key(b));
    b->signals = block_signals();
    if (b->signals < 0 || setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return eml_fail(why, EML_E_SYSTEM, "broker: cannot give up privileges", -1);
    EML_TRY(start_log(b, why));
    EML_TRY(eml_net_listen(b->options->listen, &b->listener, why));
    eml_log_event("ready", EML_OK, {"port", eml_net_port(b->listener)},
                  {"sessions", (int64_t)b->sessions.n}, {"threads", (int64_t)b->options->threads});
    return EML_OK;
}

enum eml_err eml_broker_run(const struct eml_options *o, const struct eml_program *program,
                            struct eml_why *why)
{
    struct broker *b = calloc(1, sizeof *b);
    if (b == NULL)
        return eml_fail(why, EML_E_SYSTEM, "broker: out of memory", -1);
    b->options = o;
    b->program = program;
    b->listener = b->signals = -1;
    b->cache.bytes_max = o->cache_bytes;
    enum eml_err err = begin(b, why);
    if (err == EML_OK)
        err = serve(b);
    eml_log_event("stopped", err, {"sessions", (int64_t)b->sessions.started});
    eml_net_close(&b->listener);
    eml_net_close(&b->signals);
    eml_session_table_free(&b->sessions);
    eml_audit_log_free(b->log);
    eml_cache_clear(&b->cache);
    eml_buf_free(&b->spki);
    eml_rsa_free(b->rsa);
    eml_nsm_close(b->nsm);
    eml_wipe(b, sizeof *b);
    free(b);
    return err;
}
