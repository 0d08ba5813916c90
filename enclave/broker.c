#define _GNU_SOURCE
#include "enclave/broker.h"

#include "base/log.h"
#include "base/wipe.h"
#include "enclave/broker_state.h"
#include "net/net.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIRED_MS = 100 };

/* --- the poll loop --- */

static void on_signal(struct eml_broker *b)
{
    struct signalfd_siginfo info;
    while (read(b->signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD)
            b->stopping = true;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        eml_broker_child_ended(b, pid, status);
}

static void welcome(struct eml_broker *b)
{
    int client = -1, sock = -1;
    pid_t pid = -1;
    enum eml_err err = eml_net_accept(b->listener, eml_net_now_ms(), &client);
    if (err == EML_E_NET)
        return;
    if (err == EML_OK && !eml_net_is_from(client, b->options->host)) {
        eml_log_event("peer.refused", EML_E_REFUSED, {"port", eml_net_port(b->listener)});
        eml_net_close(&client);
        return;
    }
    if (err == EML_OK)
        err = eml_spare_serve(b, client, &pid, &sock);
    eml_net_close(&client);
    if (err == EML_OK) {
        int64_t now = eml_net_now_ms();
        const struct eml_session *s = eml_session_new(&b->sessions, pid, sock, now,
                                                      now + (int64_t)b->options->session_s * 1000);
        (void)eml_broker_record(b, s,
                                (struct eml_record){.event = EML_EVENT_SESSION_OPEN,
                                                    .number = {eml_session_count(&b->sessions)}});
        return;
    }
    b->tired_until_ms = eml_net_now_ms() + TIRED_MS;
    eml_log_event("session.none", err, {"sessions", (int64_t)eml_session_count(&b->sessions)});
    eml_broker_record_error(b, EML_ERROR_SESSION, err);
}

static bool listens(const struct eml_broker *b, int64_t now)
{
    return !b->stopping && now >= b->tired_until_ms &&
           eml_session_count(&b->sessions) < b->sessions.n && eml_audit_log_room(b->log);
}

enum { P_SIGNALS, P_LISTENER, P_LOG, P_SESSIONS };

/* Waits for something to happen and deals with it. */
static enum eml_err turn(struct eml_broker *b, struct pollfd *p)
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
            eml_broker_hear(b, &b->sessions.entry[i]);
    if (p[P_SIGNALS].revents != 0)
        on_signal(b);
    if (p[P_LISTENER].revents != 0)
        welcome(b);
    atomic_store(b->share.threads, (uint32_t)eml_session_share(&b->sessions, b->options->threads));
    /* Last: what was recorded above goes out in one batch. */
    eml_audit_log_turn(b->log, &p[P_LOG]);
    eml_broker_make_receipts(b);
    eml_broker_answer_reports(b);
    return EML_OK;
}

static enum eml_err serve(struct eml_broker *b)
{
    enum eml_err err = EML_OK;
    struct pollfd *p = calloc(P_SESSIONS + b->sessions.n, sizeof *p);
    if (p == NULL)
        return EML_E_SYSTEM;
    while (err == EML_OK && !b->stopping)
        err = turn(b, p);
    b->stopping = true;
    eml_spare_stop(b);
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
    return err == EML_OK && b->lost ? EML_E_SYSTEM : err;
}

/* --- start and stop --- */

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
static enum eml_err make_enclave_key(struct eml_broker *b)
{
    EML_TRY(eml_random(EML_ROOM(b->key.b)));
    return eml_ed25519_make(&b->key);
}

/* Before anybody waits: it takes a good part of a second, in which the broker answers no one. */
static enum eml_err make_kms_key(struct eml_broker *b)
{
    if (b->options->kms_endpoint == NULL)
        return EML_OK;
    EML_TRY(eml_rsa_generate(&b->rsa));
    return eml_rsa_spki(b->rsa, &b->spki);
}

/* A process of its own connects, since the broker waits for nobody. */
static int dial(void *ctx)
{
    struct eml_broker *b = ctx;
    int pair[2] = {-1, -1};
    pid_t pid;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    if (eml_spawn(b->program, EML_ROLE_CONNECTOR, pair[1], -1, NULL, &pid) != EML_OK)
        eml_net_close(&pair[0]);
    eml_net_close(&pair[1]);
    return pair[0];
}

static enum eml_err start_log(struct eml_broker *b, struct eml_why *why)
{
    const struct eml_options *o = b->options;
    const struct eml_nsm_attest_args args = {.public_key = EML_BYTES(b->key.pk.b)};
    struct eml_buf document = {0};
    enum eml_err err = eml_broker_get_document(b, &args, &document);
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

static enum eml_err begin(struct eml_broker *b, struct eml_why *why)
{
    const struct rlimit none = {0, 0};
    EML_TRY(eml_nsm_open(&b->nsm, why));
    EML_TRY(eml_session_table_make(&b->sessions, (size_t)b->options->max_sessions));
    EML_TRY(eml_share_make((uint32_t)b->options->threads, &b->share));
    EML_TRY(make_enclave_key(b));
    EML_TRY(make_kms_key(b));
    b->signals = block_signals();
    if (b->signals < 0 || setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return eml_fail(why, EML_E_SYSTEM, "broker: cannot give up privileges", -1);
    EML_TRY(start_log(b, why));
    EML_TRY(eml_net_listen(b->options->listen, &b->listener, why));
    eml_spare_fill(b);
    eml_log_event("ready", EML_OK, {"port", eml_net_port(b->listener)},
                  {"sessions", (int64_t)b->sessions.n}, {"threads", (int64_t)b->options->threads});
    return EML_OK;
}

enum eml_err eml_broker_run(const struct eml_options *o, const struct eml_program *program,
                            struct eml_why *why)
{
    struct eml_broker *b = calloc(1, sizeof *b);
    if (b == NULL)
        return eml_fail(why, EML_E_SYSTEM, "broker: out of memory", -1);
    b->options = o;
    b->program = program;
    b->listener = b->signals = b->share.fd = -1;
    b->cache.bytes_max = o->cache_bytes;
    enum eml_err err = begin(b, why);
    if (err == EML_OK)
        err = serve(b);
    eml_log_event("stopped", err, {"sessions", (int64_t)b->sessions.started});
    eml_net_close(&b->listener);
    eml_net_close(&b->signals);
    eml_session_table_free(&b->sessions);
    eml_share_free(&b->share);
    eml_audit_log_free(b->log);
    eml_cache_clear(&b->cache);
    eml_buf_free(&b->spki);
    eml_rsa_free(b->rsa);
    eml_nsm_close(b->nsm);
    eml_wipe(b, sizeof *b);
    free(b);
    return err;
}
