// link: enclave
// wrap: eml_ipc_recv eml_ipc_send eml_spawn eml_net_now_ms eml_log kill poll send recv
// wrap: socketpair memfd_create close waitpid
// wrap: eml_ed25519_sign eml_ed25519_verify EVP_sha256 EVP_MAC_fetch EVP_aes_256_gcm
/* The broker's turns in one process: the input is a script of what its workers say (in any order
 * that their sockets allow), how its children end, what the NSM answers, what the host's audit sink
 * does, and how much time passes. The linker puts the functions here in the place of its sockets,
 * its clock, its descriptors and the kernel's processes; the files of the weights cache are real.
 *
 * Whatever comes: a worker hears one answer for one question, and an answer to a good report is a
 * receipt; the broker signals no process but its own children; it closes each of its descriptors
 * once; all that the sink is given is one log, signed, with every hash right, in which nothing
 * changes that was given before; and nothing counts as durable but what the sink has taken. */
#define _GNU_SOURCE
#include "testsupport/bare_document.h"
#include "testsupport/descriptors.h"
#include "testsupport/digest_signature.h"
#include "testsupport/fetched.h"
#include "testsupport/hostile_sink.h"
#include "testsupport/support.h"

#include "base/log.h"
#include "enclave/broker_state.h"
#include "enclave/limits.h"
#include "enclave/spawn.h"
#include "net/net.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SESSIONS = 3, PID = 100000, STEPS = 200 };
enum { PHONE = EML_FD_OTHERS, LINE, CLIENT }; /* descriptors */

static struct {
    struct eml_cur script;
    int64_t ms;
    struct eml_broker b;
    struct eml_bytes packet; /* what the worker that is heard says */
    pid_t last_pid;
    bool asks[SESSIONS], reported[SESSIONS];
    struct eml_sink sink;
} now;

static struct {
    bool made;
    struct eml_ed25519_sk key;
    struct eml_buf document;
} fixed;

/* --- processes and time --- */

int __wrap_kill(pid_t pid, int signal);
enum eml_err __wrap_eml_spawn(const struct eml_program *p, enum eml_role role, int fd0, int fd1,
                              const char *argument, pid_t *out);
int64_t __wrap_eml_net_now_ms(void);
void __wrap_eml_log(const char *event, enum eml_err e, const struct eml_log_field *fields,
                    size_t n);

int __wrap_kill(pid_t pid, int signal)
{
    EML_ASSERT(pid > PID && pid <= now.last_pid && (signal == SIGTERM || signal == SIGKILL));
    return 0;
}

enum eml_err __wrap_eml_spawn(const struct eml_program *p, enum eml_role role, int fd0, int fd1,
                              const char *argument, pid_t *out)
{
    (void)p;
    EML_ASSERT(role != EML_ROLE_BROKER && fd0 >= 0);
    EML_ASSERT((role == EML_ROLE_FETCHER) == (argument != NULL && fd1 >= 0));
    *out = -1;
    if (eml_cur_u8(&now.script) >= 248)
        return EML_E_SYSTEM;
    *out = ++now.last_pid;
    return EML_OK;
}

pid_t __wrap_waitpid(pid_t pid, int *status, int options);

pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
    EML_ASSERT(pid > PID && pid <= now.last_pid && status == NULL && options == 0);
    return pid;
}

int64_t __wrap_eml_net_now_ms(void)
{
    return now.ms;
}

void __wrap_eml_log(const char *event, enum eml_err e, const struct eml_log_field *fields, size_t n)
{
    EML_ASSERT(event != NULL && e >= EML_OK && e <= EML_E_SYSTEM);
    for (size_t i = 0; i < n; i++)
        EML_ASSERT(fields[i].key != NULL);
}

/* --- the NSM --- */

const bool eml_nsm_genuine = false;

enum eml_err eml_nsm_open(struct eml_nsm **out, struct eml_why *why)
{
    (void)why;
    *out = NULL;
    return EML_E_SYSTEM;
}

void eml_nsm_close(struct eml_nsm *n)
{
    EML_ASSERT(n == NULL);
}

enum eml_err eml_nsm_exchange(struct eml_nsm *n, struct eml_bytes request, struct eml_room response,
                              size_t *response_len)
{
    struct eml_nsm_request q;
    struct eml_buf out = {0};
    EML_ASSERT(n == NULL && eml_nsm_request_decode(request, &q) == EML_OK);
    EML_ASSERT(q.call == EML_NSM_ATTESTATION);
    const struct eml_nsm_response r = {.call = EML_NSM_ATTESTATION,
                                       .document = eml_buf_bytes(&fixed.document)};
    EML_ASSERT(eml_nsm_response_encode(&r, &out) == EML_OK);
    (void)eml_script_meddle(&now.script, &out);
    *response_len = out.len < response.len ? out.len : response.len;
    if (*response_len != 0)
        memcpy(response.ptr, out.ptr, *response_len);
    eml_buf_free(&out);
    return EML_OK;
}

/* --- the host's sink --- */

ssize_t __wrap_send(int fd, const void *data, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *room, size_t n, int flags);
int __wrap_poll(struct pollfd *p, nfds_t n, int timeout_ms);

ssize_t __wrap_send(int fd, const void *data, size_t n, int flags)
{
    struct eml_sink *s = &now.sink;
    EML_ASSERT(fd == LINE && (flags & MSG_DONTWAIT) != 0);
    uint8_t how = eml_cur_u8(&now.script);
    if (how >= 252) {
        errno = how == 255 ? EPIPE : how == 254 ? EINTR : EAGAIN;
        return -1;
    }
    if (how >= 240 && n > 10)
        n = 10;
    eml_buf_put(&s->sent, eml_bytes(data, n));
    struct eml_cur c = eml_cur(eml_buf_bytes(&s->sent));
    size_t len = eml_cur_u32(&c);
    if (!eml_cur_ok(&c) || eml_cur_left(&c) < len)
        return (ssize_t)n;
    EML_ASSERT(eml_cur_left(&c) == len && !s->due); /* one thing at a time */
    struct eml_bytes frame = eml_cur_rest(&c);
    s->asked_state = frame.len == 1;
    s->due = true;
    EML_ASSERT(frame.len != 1 || frame.ptr[0] == EML_HOST_AUDIT);
    if (frame.len != 1)
        eml_sink_on_commit(s, frame);
    s->sent.len = 0;
    return (ssize_t)n;
}

ssize_t __wrap_recv(int fd, void *room, size_t n, int flags)
{
    struct eml_sink *s = &now.sink;
    EML_ASSERT(fd == LINE && (flags & MSG_DONTWAIT) != 0);
    uint8_t how = eml_cur_u8(&now.script);
    if (how >= 252) {
        errno = EAGAIN;
        return how == 255 ? 0 : -1;
    }
    size_t left = s->answer.len - s->answer_at;
    if (left == 0) {
        errno = EAGAIN;
        return -1;
    }
    n = how >= 240 && n > 3 ? 3 : n;
    n = n < left ? n : left;
    memcpy(room, s->answer.ptr + s->answer_at, n);
    s->answer_at += n;
    return (ssize_t)n;
}

static int dial(void *ctx)
{
    (void)ctx;
    eml_sink_drop_line(&now.sink);
    return eml_cur_u8(&now.script) >= 250 ? -1 : PHONE;
}

/* While the log starts. */
int __wrap_poll(struct pollfd *p, nfds_t n, int timeout_ms)
{
    EML_ASSERT(n == 1 && timeout_ms >= 0);
    eml_sink_answers(&now.sink, &now.script);
    bool ready = p->fd >= 0 &&
                 (eml_sink_has_answer(&now.sink) || p->fd == PHONE || (p->events & POLLOUT) != 0);
    p->revents = ready ? (short)(p->events & (POLLIN | POLLOUT)) : 0;
    if (!ready)
        now.ms += timeout_ms;
    return p->revents != 0;
}

/* --- workers, fetchers and connectors --- */

enum eml_err __wrap_eml_ipc_recv(int sock, int64_t deadline_ms, struct eml_room room, size_t *got,
                                 int *fd);
enum eml_err __wrap_eml_ipc_send(int sock, struct eml_bytes packet, int fd);

enum eml_err __wrap_eml_ipc_recv(int sock, int64_t deadline_ms, struct eml_room room, size_t *got,
                                 int *fd)
{
    (void)deadline_ms;
    *got = 0;
    if (fd != NULL)
        *fd = -1;
    if (sock == PHONE) {
        uint8_t how = eml_cur_u8(&now.script);
        EML_ASSERT(fd != NULL && room.len == 1);
        if (how >= 250)
            return EML_E_NET;
        room.ptr[0] = how >= 240;
        *fd = how >= 245 ? -1 : LINE;
        *got = 1;
        return EML_OK;
    }
    struct eml_bytes b = now.packet;
    if (b.ptr == NULL)
        return EML_E_NET;
    if (b.len > room.len)
        return EML_E_INPUT;
    memcpy(room.ptr, b.ptr, b.len);
    *got = b.len;
    return EML_OK;
}

enum eml_err __wrap_eml_ipc_send(int sock, struct eml_bytes packet, int fd)
{
    size_t i = 0;
    struct eml_receipt r;
    if (sock < 0)
        return EML_E_NET; /* it closed its end */
    if (fd == CLIENT) {   /* handed over to a worker that has no session yet */
        EML_ASSERT(eml_fds_is_open(sock) && packet.len == 1 && packet.ptr[0] == 0);
        return eml_cur_u8(&now.script) >= 250 ? EML_E_NET : EML_OK;
    }
    while (i < SESSIONS &&
           (now.b.sessions.entry[i].pid == 0 || now.b.sessions.entry[i].sock != sock))
        i++;
    EML_ASSERT(i < SESSIONS && now.asks[i] && packet.len > 0 && packet.ptr[0] <= EML_E_SYSTEM);
    EML_ASSERT(packet.len == 1 || packet.ptr[0] == EML_OK);
    EML_ASSERT(fd < 0 || (packet.ptr[0] == EML_OK && packet.len == 1 + EML_IPC_DIGEST));
    if (now.reported[i] && packet.ptr[0] == EML_OK)
        EML_ASSERT(eml_receipt_decode(eml_bytes(packet.ptr + 1, packet.len - 1), &r, NULL) ==
                   EML_OK);
    now.asks[i] = now.reported[i] = false;
    return eml_cur_u8(&now.script) >= 253 ? EML_E_NET : EML_OK;
}

/* One of the messages that a worker can send, its fields out of the script. */
static void put_message(struct eml_buf *out)
{
    struct eml_ipc_request r = {.type = 1 + eml_cur_u8(&now.script) % (EML_IPC_N - 1)};
    struct eml_bytes fields = eml_script_bytes(&now.script);
    if (r.type == EML_IPC_WEIGHTS || r.type == EML_IPC_WEIGHTS_BAD)
        r.id[0] = fields.len > 0 ? fields.ptr[0] % 4 : 0;
    if (r.type == EML_IPC_WEIGHTS)
        r.size = fields.len > 1 ? (uint64_t)fields.ptr[1] << (fields.ptr[1] % 40) : 1;
    if (r.type == EML_IPC_REPORT) {
        r.err = fields.len > 0 ? fields.ptr[0] % (EML_E_SYSTEM + 1) : EML_OK;
        for (size_t i = 0; i < EML_IPC_NUMBERS; i++)
            r.number[i] =
                fields.len > i + 1 ? (uint64_t)fields.ptr[i + 1] << (fields.ptr[i + 1] % 57) : 0;
        r.inference.version = r.err == EML_OK ? r.number[0] : 0;
    }
    EML_ASSERT(eml_ipc_encode(&r, out) == EML_OK);
    (void)eml_script_meddle(&now.script, out);
}

static void worker_says(size_t i)
{
    struct eml_session *s = &now.b.sessions.entry[i];
    struct eml_buf packet = {0};
    struct eml_ipc_request r;
    if (s->pid == 0 || s->sock < 0 || s->waits_for != 0 || s->durable_at != 0)
        return;
    put_message(&packet);
    now.packet = eml_buf_bytes(&packet);
    bool sense = packet.len <= EML_IPC_REQUEST_MAX && eml_ipc_decode(now.packet, &r) == EML_OK;
    now.asks[i] = sense;
    now.reported[i] = sense && r.type == EML_IPC_REPORT && r.err == EML_OK;
    eml_broker_hear(&now.b, s);
    if (sense && !now.asks[i]) /* it has its answer, and is heard again */
        EML_ASSERT(s->waits_for == 0 && s->durable_at == 0);
    now.packet = (struct eml_bytes){0};
    eml_buf_free(&packet);
}

static void worker_comes(void)
{
    struct eml_session_table *t = &now.b.sessions;
    pid_t pid;
    int sock;
    if (eml_session_count(t) == t->n || !eml_audit_log_room(now.b.log))
        return;
    enum eml_err e = eml_spare_serve(&now.b, CLIENT, &pid, &sock);
    EML_ASSERT(e == EML_OK ? pid > PID && eml_fds_is_open(sock) : pid == -1 && sock == -1);
    if (e != EML_OK)
        return;
    const struct eml_session *s = eml_session_new(t, pid, sock, now.ms, now.ms + 600000);
    const size_t i = (size_t)(s - t->entry);
    now.asks[i] = now.reported[i] = false;
    (void)eml_broker_record(
        &now.b, s,
        (struct eml_record){.event = EML_EVENT_SESSION_OPEN, .number = {eml_session_count(t)}});
}

static void fetcher_ends(pid_t pid, uint8_t how)
{
    struct eml_cache_entry *e = eml_cache_fetched_by(&now.b.cache, pid);
    uint8_t digest[EML_IPC_DIGEST] = {0};
    if (e != NULL && how < 240 && e->size <= 1 << 16)
        (void)!eml_cache_seal(e->fd, e->size, digest);
    now.packet = how < 248 ? EML_BYTES(digest) : (struct eml_bytes){0};
    eml_broker_child_ended(&now.b, pid, how % 8 << 8);
    now.packet = (struct eml_bytes){0};
}

/* A child of the broker ends: one that a worker waits for, a worker, or one that has no client. */
static void child_ends(size_t i, uint8_t how)
{
    struct eml_session *s = &now.b.sessions.entry[i];
    pid_t spare = now.b.spare[i % EML_SPARE_WORKERS].pid;
    if (s->pid == 0 && spare != 0)
        eml_broker_child_ended(&now.b, spare, how < 128 ? how % 9 << 8 : how % 32);
    if (s->pid == 0)
        return;
    if (s->waits_for != 0)
        fetcher_ends(s->waits_for, how);
    else
        eml_broker_child_ended(&now.b, s->pid, how < 128 ? how % 9 << 8 : how % 32);
}

/* The connector has answered by itself. */
static void connector_answers(size_t i)
{
    struct eml_session *s = &now.b.sessions.entry[i];
    if (s->pid != 0 && s->waits_for != 0 &&
        eml_cache_fetched_by(&now.b.cache, s->waits_for) == NULL) {
        now.asks[i] = false;
        eml_broker_child_ended(&now.b, s->waits_for, EML_OK);
    }
}

/* --- turns --- */

static void turn(void)
{
    struct pollfd p;
    (void)eml_session_tick(&now.b.sessions, now.ms);
    (void)eml_audit_log_poll(now.b.log, &p);
    p.revents = eml_sink_has_answer(&now.sink) || p.fd == PHONE ? POLLIN : 0;
    eml_audit_log_turn(now.b.log, &p);
    EML_ASSERT(eml_audit_log_durable(now.b.log) <= now.sink.taken);
    eml_broker_make_receipts(&now.b);
    eml_broker_answer_reports(&now.b);
}

static void step(void)
{
    uint8_t op = eml_cur_u8(&now.script);
    size_t i = op / 8 % SESSIONS;
    switch (op % 8) {
    case 0:
        worker_comes();
        break;
    case 1:
    case 2:
        worker_says(i);
        break;
    case 3:
        child_ends(i, eml_cur_u8(&now.script));
        break;
    case 4:
        connector_answers(i);
        break;
    case 5:
        now.ms += (int64_t)eml_cur_u8(&now.script) << (op / 8 % 16);
        break;
    case 6:
        eml_sink_answers(&now.sink, &now.script);
        break;
    default:
        break;
    }
    turn();
    /* A host that is not told otherwise takes what comes. */
    if (op < 128) {
        eml_sink_answers(&now.sink, &now.script);
        turn();
    }
}

/* --- what is made once --- */

static void make_fixed(void)
{
    static const uint8_t nonce[EML_IPC_NONCE] = {5};
    eml_crypto_init();
    eml_bare_document(EML_BYTES(nonce), &fixed.document);
    fixed.key.b[0] = 9;
    EML_ASSERT(eml_ed25519_make(&fixed.key) == EML_OK);
    fixed.made = true;
}

static void free_all(void)
{
    eml_spare_stop(&now.b);
    eml_session_table_free(&now.b.sessions);
    eml_audit_log_free(now.b.log);
    eml_cache_clear(&now.b.cache);
    EML_ASSERT(eml_fds_all_closed());
    eml_sink_free(&now.sink);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct eml_options options = {.max_sessions = SESSIONS,
                                               .session_s = 600,
                                               .request_s = 120,
                                               .threads = 4,
                                               .cache_bytes = 1 << 20};
    if (!fixed.made)
        make_fixed();
    memset(&now, 0, sizeof now);
    memset(&eml_fds, 0, sizeof eml_fds);
    now.script = eml_cur(eml_bytes(data, size));
    now.sink.pk = &fixed.key.pk;
    now.last_pid = PID;
    now.ms = 1000;
    now.b =
        (struct eml_broker){.options = &options, .key = fixed.key, .listener = -1, .signals = -1};
    now.b.cache.bytes_max = options.cache_bytes;
    EML_ASSERT(eml_session_table_make(&now.b.sessions, SESSIONS) == EML_OK);
    const struct eml_audit_log_config c = {
        .key = &fixed.key, .document = eml_buf_bytes(&fixed.document), .dial = dial};
    struct eml_why why;
    if (eml_audit_log_start(&c, 60000, &now.b.log, &why) == EML_OK)
        for (int i = 0; i < STEPS && eml_cur_left(&now.script) != 0; i++)
            step();
    free_all();
    return 0;
}
