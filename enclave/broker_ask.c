#define _GNU_SOURCE
#include "base/log.h"
#include "base/wipe.h"
#include "enclave/broker_state.h"
#include "enclave/fetch.h"
#include "net/net.h"

#include <signal.h>
#include <sys/socket.h>
#include <time.h>

/* --- answers --- */

void eml_broker_answer(struct eml_session *s, enum eml_err err, struct eml_bytes body, int fd)
{
    struct eml_buf packet = {0};
    s->refused = s->refused || err == EML_E_REFUSED;
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
    eml_broker_answer(s, err, (struct eml_bytes){0}, -1);
}

enum eml_err eml_broker_get_document(struct eml_broker *b, const struct eml_nsm_attest_args *args,
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
static void answer_document(struct eml_broker *b, struct eml_session *s,
                            enum eml_attestation_use use, struct eml_bytes prefix,
                            const struct eml_nsm_attest_args *args)
{
    struct eml_buf body = {0};
    struct eml_sha256 digest;
    struct eml_record r = {.event = EML_EVENT_ATTESTATION, .number = {(uint64_t)use}};
    eml_buf_put(&body, prefix);
    enum eml_err err = eml_broker_get_document(b, args, &body);
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
    (void)eml_broker_record(b, s, r);
    eml_broker_answer(s, err, eml_buf_bytes(&body), -1);
    eml_buf_free(&body);
}

/* --- one handler for each type of message --- */

static void on_attest(struct eml_broker *b, struct eml_session *s, const struct eml_ipc_request *r)
{
    const struct eml_nsm_attest_args args = {.user_data = EML_BYTES(r->user_data),
                                             .nonce = EML_BYTES(r->nonce),
                                             .public_key = EML_BYTES(b->key.pk.b)};
    answer_document(b, s, EML_ATTESTATION_SESSION, (struct eml_bytes){0}, &args);
    /* While the client judges it, its own worker has nothing to do. */
    eml_spare_fill(b);
}

static void on_kms_document(struct eml_broker *b, struct eml_session *s,
                            const struct eml_ipc_request *r)
{
    (void)r;
    struct eml_sha256 digest;
    const struct eml_bytes spki = eml_buf_bytes(&b->spki);
    enum eml_err err = b->rsa == NULL ? EML_E_REFUSED : eml_sha256(&spki, 1, &digest);
    if (err != EML_OK) {
        (void)eml_broker_record(b, s,
                                (struct eml_record){.event = EML_EVENT_ATTESTATION,
                                                    .outcome = err,
                                                    .number = {EML_ATTESTATION_KMS}});
        answer_plain(s, err);
        return;
    }
    const struct eml_nsm_attest_args args = {.public_key = spki};
    s->kms_due = true;
    answer_document(b, s, EML_ATTESTATION_KMS, EML_BYTES(digest.b), &args);
}

static void on_kms_unwrap(struct eml_broker *b, struct eml_session *s,
                          const struct eml_ipc_request *r)
{
    uint8_t key[EML_IPC_BLOCK];
    size_t n = 0;
    enum eml_err err = b->rsa == NULL
                           ? EML_E_AUTH
                           : eml_rsa_oaep_decrypt(b->rsa, EML_BYTES(r->block), EML_ROOM(key), &n);
    s->kms_due = false;
    (void)eml_broker_record(b, s, (struct eml_record){.event = EML_EVENT_KMS, .outcome = err});
    eml_broker_answer(s, err, eml_bytes(key, n), -1);
    eml_wipe(key, sizeof key);
}

static enum eml_err start_fetcher(struct eml_broker *b, struct eml_cache_entry *e)
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

static void on_weights(struct eml_broker *b, struct eml_session *s, const struct eml_ipc_request *r)
{
    struct eml_cache_entry *e = eml_cache_find(&b->cache, r->id, r->size);
    if (e != NULL && e->fetcher == 0) {
        eml_broker_answer(s, EML_OK, EML_BYTES(e->digest), e->fd);
        return;
    }
    enum eml_err err = EML_OK;
    if (e == NULL)
        err = eml_cache_add(&b->cache, r->id, r->size, &e);
    if (err == EML_E_REFUSED)
        eml_broker_record_budget(b, s, EML_BUDGET_CACHE);
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

static void on_weights_bad(struct eml_broker *b, struct eml_session *s,
                           const struct eml_ipc_request *r)
{
    eml_cache_bad(&b->cache, r->id);
    eml_broker_record_violation(b, s, EML_VIOLATION_WEIGHTS, EML_E_AUTH, 0);
    answer_plain(s, EML_OK);
}

static void on_host_connect(struct eml_broker *b, struct eml_session *s,
                            const struct eml_ipc_request *r)
{
    (void)r;
    enum eml_err err = EML_E_REFUSED;
    pid_t connector;
    if (s->host_connects == EML_HOST_CONNECTS_MAX) {
        eml_broker_record_budget(b, s, EML_BUDGET_CONNECTIONS);
    } else {
        s->host_connects++;
        err = eml_spawn(b->program, EML_ROLE_CONNECTOR, s->sock, -1, NULL, &connector);
    }
    if (err == EML_OK)
        s->waits_for = connector;
    else
        answer_plain(s, err);
}

static void on_begin(struct eml_broker *b, struct eml_session *s, const struct eml_ipc_request *r)
{
    (void)r;
    s->kms_due = s->refused = false;
    eml_session_begin(s, eml_net_now_ms() + (int64_t)b->options->request_s * 1000);
}

static void on_destroyed(struct eml_broker *b, struct eml_session *s,
                         const struct eml_ipc_request *r)
{
    eml_broker_record_destruction(b, s, r);
    answer_plain(s, EML_OK);
}

static uint64_t unix_s(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec > 0 ? (uint64_t)t.tv_sec : 0;
}

static int64_t now_us(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void log_request(const struct eml_session *s, enum eml_err outcome, const uint64_t *number)
{
    eml_log_event("request", outcome, {"session", (int64_t)s->number},
                  {"weights_us", (int64_t)number[0]}, {"assemble_us", (int64_t)number[1]},
                  {"run_us", (int64_t)number[2]}, {"wipe_us", (int64_t)number[3]},
                  {"exposure_us", (int64_t)number[4]}, {"wiped_bytes", (int64_t)number[5]});
}

/* Answered when what it tells is on the host's disk: receipt and result leave after that. */
static void on_report(struct eml_broker *b, struct eml_session *s, const struct eml_ipc_request *r)
{
    struct eml_sha256 receipt = {{0}};
    enum eml_err outcome = r->err;
    s->reported_us = now_us();
    eml_session_rest(s);
    if (outcome == EML_OK)
        outcome = eml_notary_receive(&s->notary, &b->key, r, unix_s(), eml_nsm_genuine, &receipt);
    uint64_t index = eml_broker_record_request(b, s, outcome, r, &receipt);
    if (b->lost) {
        eml_notary_drop(&s->notary);
        log_request(s, EML_E_SYSTEM, r->number);
        answer_plain(s, EML_E_SYSTEM);
        return;
    }
    s->durable_at = index + 1;
    /* Without its statement there is no receipt, and the request fails when the answer is due. */
    if (outcome == EML_OK &&
        eml_notary_state(&s->notary, r, eml_audit_log_origin(b->log), index) != EML_OK)
        eml_notary_drop(&s->notary);
    s->succeeded = r->err == EML_OK;
    if (s->notary.air.len == 0) /* else when its record is on its way, which waits for nothing */
        log_request(s, outcome, r->number);
}

static void (*const handlers[EML_IPC_N])(struct eml_broker *, struct eml_session *,
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

void eml_broker_hear(struct eml_broker *b, struct eml_session *s)
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
        eml_broker_record_violation(b, s, EML_VIOLATION_MESSAGE, err, 0);
        eml_session_kill(s, SIGKILL);
    }
    eml_wipe(packet, sizeof packet);
    eml_wipe(&r, sizeof r);
}

/* --- reports, when the log has them --- */

/* Nothing is made if it cannot be: the request fails when the answer is due. */
static void make_receipt(struct eml_broker *b, struct eml_session *s)
{
    struct eml_buf record = {0}, proof = {0};
    log_request(s, EML_OK, s->notary.statement.number);
    enum eml_err err = eml_audit_log_proof(b->log, s->durable_at - 1, &record, &proof);
    if (err == EML_OK)
        err = eml_notary_finish(&s->notary, &b->key, eml_buf_bytes(&record), eml_buf_bytes(&proof),
                                &s->receipt);
    if (err != EML_OK)
        eml_buf_free(&s->receipt);
    eml_buf_free(&record);
    eml_buf_free(&proof);
    eml_notary_drop(&s->notary);
}

void eml_broker_make_receipts(struct eml_broker *b)
{
    uint64_t done = eml_audit_log_signed(b->log);
    for (size_t i = 0; i < b->sessions.n; i++) {
        struct eml_session *s = &b->sessions.entry[i];
        if (s->pid != 0 && s->durable_at != 0 && s->durable_at <= done && s->notary.air.len != 0)
            make_receipt(b, s);
    }
}

/* What it waited for has happened: the record is durable (EML_OK), or it will not be. */
static void answer_report(struct eml_session *s, enum eml_err err)
{
    if (err == EML_OK && s->succeeded && s->receipt.len == 0)
        err = EML_E_SYSTEM;
    eml_broker_answer(s, err, eml_buf_bytes(&s->receipt), -1);
    if (s->notary.air.len != 0) /* it never was on its way */
        log_request(s, EML_OK, s->notary.statement.number);
    eml_log_event("durable", err, {"session", (int64_t)s->number},
                  {"us", now_us() - s->reported_us});
    eml_buf_free(&s->receipt);
    eml_notary_drop(&s->notary);
    s->durable_at = 0;
}

void eml_broker_answer_reports(struct eml_broker *b)
{
    uint64_t durable = eml_audit_log_durable(b->log);
    enum eml_err health = eml_audit_log_health(b->log);
    for (size_t i = 0; i < b->sessions.n; i++) {
        struct eml_session *s = &b->sessions.entry[i];
        if (s->pid == 0 || s->durable_at == 0 || (durable < s->durable_at && health == EML_OK))
            continue;
        answer_report(s, durable < s->durable_at ? health : EML_OK);
    }
}
