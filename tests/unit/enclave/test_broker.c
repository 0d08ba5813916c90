/* What a worker may ask of its broker, with this test as worker, kernel and NSM. */
#include "testsupport/support.h"

#include "audit/tree.h"
#include "enclave/broker_state.h"
#include "enclave/ipc.h"
#include "enclave/spawn.h"
#include "hostproto/audit.h"
#include "net/net.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTOR = 1000000000 }; /* no process has this number, and none is signalled */

static struct {
    struct eml_broker b;
    struct eml_session *s;
    int worker; /* its end */
    bool no_process;
    unsigned spawned;
    pthread_t sink;
} t;

static int64_t soon(void)
{
    return eml_net_now_ms() + 60000;
}

/* --- in the place of the kernel's processes and of the NSM --- */

enum eml_err eml_spawn(const struct eml_program *p, enum eml_role role, int fd0, int fd1,
                       const char *argument, pid_t *out)
{
    (void)p;
    (void)fd1;
    (void)argument;
    assert_true(role == EML_ROLE_CONNECTOR || role == EML_ROLE_FETCHER);
    assert_true(fd0 >= 0);
    *out = t.no_process ? -1 : CONNECTOR + (pid_t)++t.spawned;
    return t.no_process ? EML_E_SYSTEM : EML_OK;
}

const bool eml_nsm_genuine = false;

enum eml_err eml_nsm_exchange(struct eml_nsm *n, struct eml_bytes request, struct eml_room response,
                              size_t *response_len)
{
    (void)n;
    (void)request;
    (void)response;
    *response_len = 0;
    return EML_E_SYSTEM;
}

enum eml_err eml_nsm_open(struct eml_nsm **out, struct eml_why *why)
{
    *out = NULL;
    return eml_fail(why, EML_E_SYSTEM, "none here", -1);
}

void eml_nsm_close(struct eml_nsm *n)
{
    assert_null(n);
}

/* --- the host's sink: an empty log that takes what comes --- */

static void *sink_main(void *arg)
{
    int fd = (int)(intptr_t)arg;
    const uint8_t ok[] = {EML_HOST_OK};
    struct eml_buf frame = {0}, state = {0};
    const struct eml_host_log_state empty = {.size = 0};
    bool on = eml_host_log_state_encode(&empty, &state) == EML_OK &&
              eml_net_recv_frame(fd, EML_HOST_REQUEST_MAX, soon(), &frame) == EML_OK &&
              eml_net_send_frame(fd, eml_buf_bytes(&state), soon()) == EML_OK;
    while (on)
        on = eml_net_recv_frame(fd, EML_HOST_LOG_COMMIT_MAX, soon(), &frame) == EML_OK &&
             eml_net_send_frame(fd, EML_BYTES(ok), soon()) == EML_OK;
    eml_buf_free(&frame);
    eml_buf_free(&state);
    eml_net_close(&fd);
    return NULL;
}

static void make_pair(int type, int fd[2])
{
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fd), 0);
}

static int dial(void *ctx)
{
    const uint8_t ok[] = {EML_OK};
    int phone[2], line[2];
    (void)ctx;
    make_pair(SOCK_SEQPACKET, phone);
    make_pair(SOCK_STREAM, line);
    assert_int_equal(eml_ipc_send(phone[1], EML_BYTES(ok), line[0]), EML_OK);
    eml_net_close(&line[0]);
    eml_net_close(&phone[1]);
    assert_int_equal(pthread_create(&t.sink, NULL, sink_main, (void *)(intptr_t)line[1]), 0);
    return phone[0];
}

/* --- a session --- */

static int up(void **state)
{
    static const struct eml_options options = {
        .max_sessions = 2, .session_s = 60, .request_s = 60, .threads = 1, .cache_bytes = 1 << 20};
    static const uint8_t document[] = "a document";
    const struct eml_audit_log_config c = {
        .key = &t.b.key, .document = EML_BYTES(document), .dial = dial};
    int fd[2];
    (void)state;
    memset(&t, 0, sizeof t);
    t.b = (struct eml_broker){
        .options = &options, .key = {.b = {1}}, .listener = -1, .signals = -1, .share = {.fd = -1}};
    t.b.cache.bytes_max = options.cache_bytes;
    assert_int_equal(eml_ed25519_make(&t.b.key), EML_OK);
    assert_int_equal(eml_audit_log_start(&c, 60000, &t.b.log, NULL), EML_OK);
    assert_int_equal(eml_session_table_make(&t.b.sessions, 2), EML_OK);
    make_pair(SOCK_SEQPACKET, fd);
    t.worker = fd[1];
    int64_t now = eml_net_now_ms();
    t.s = eml_session_new(&t.b.sessions, CONNECTOR, fd[0], now, now + 60000);
    return 0;
}

static int down(void **state)
{
    (void)state;
    eml_audit_log_free(t.b.log);
    (void)pthread_join(t.sink, NULL);
    eml_session_table_free(&t.b.sessions);
    eml_cache_clear(&t.b.cache);
    eml_net_close(&t.worker);
    return 0;
}

static void ask(struct eml_ipc_request r)
{
    assert_int_equal(t.s->waits_for, 0); /* else the broker would not listen */
    assert_int_equal(eml_ipc_ask(t.worker, &r), EML_OK);
    eml_broker_hear(&t.b, t.s);
}

static enum eml_err answered(void)
{
    static uint8_t body[EML_IPC_BODY_MAX];
    struct eml_ipc_answer a = {.body = EML_ROOM(body)};
    return eml_ipc_await(t.worker, soon(), &a);
}

/* The connector is there and has answered by itself. */
static void connect_well(void)
{
    ask((struct eml_ipc_request){.type = EML_IPC_HOST_CONNECT});
    assert_int_equal(t.s->waits_for, CONNECTOR + (pid_t)t.spawned);
    eml_broker_child_ended(&t.b, t.s->waits_for, 0);
}

static void begin(void)
{
    ask((struct eml_ipc_request){.type = EML_IPC_BEGIN});
}

static void end_request(void)
{
    eml_session_rest(t.s);
}

/* A machine without processes left fails one question; the worker is heard again after it. */
static void a_question_that_fails_is_over(void **state)
{
    (void)state;
    begin();
    t.no_process = true;
    ask((struct eml_ipc_request){.type = EML_IPC_HOST_CONNECT});
    assert_int_equal(answered(), EML_E_SYSTEM);
    ask((struct eml_ipc_request){.type = EML_IPC_WEIGHTS, .size = 1000});
    assert_int_equal(answered(), EML_E_SYSTEM);
    assert_int_equal(t.b.cache.bytes, 0);
    t.no_process = false;
    connect_well();
    ask((struct eml_ipc_request){.type = EML_IPC_WEIGHTS, .size = 1000});
    assert_int_equal(t.s->waits_for, CONNECTOR + (pid_t)t.spawned);
}

/* As many connections as a request can need, however many requests a session has; beginning again
 * within one does not help. */
static void each_request_has_its_connections(void **state)
{
    (void)state;
    for (int request = 0; request < 100; request++) {
        begin();
        for (unsigned i = 0; i < EML_HOST_CONNECTS_MAX; i++)
            connect_well();
        begin();
        ask((struct eml_ipc_request){.type = EML_IPC_HOST_CONNECT});
        assert_int_equal(answered(), EML_E_REFUSED);
        end_request();
    }
    assert_int_equal(t.spawned, 100 * EML_HOST_CONNECTS_MAX);
}

static void turn_log(void)
{
    struct pollfd p;
    (void)eml_audit_log_poll(t.b.log, &p);
    assert_true(poll(&p, 1, 10) >= 0);
    eml_audit_log_turn(t.b.log, &p);
}

static void attest(void)
{
    struct eml_notary *n = &t.s->notary;
    n->attested = true;
    n->pcr_present = EML_AIR_PCRS & 7;
    memset(n->pcr, 1, sizeof n->pcr);
    memset(n->nonce, 1, sizeof n->nonce);
    memset(&n->document, 1, sizeof n->document);
}

/* Of a request that went well. */
static void report(void)
{
    struct eml_ipc_request r = {.type = EML_IPC_REPORT, .number = {1, 1, 1, 1, 1, 1}};
    memset(&r.inference, 1, sizeof r.inference);
    r.inference.mode = r.inference.isa = 0;
    begin();
    ask(r);
}

static void deliver(void)
{
    eml_broker_make_receipts(&t.b);
    eml_broker_answer_reports(&t.b);
}

/* The index of a record that there is no room for is none: not that of the first record, which is
 * durable. */
static void no_result_leaves_whose_record_was_lost(void **state)
{
    (void)state;
    const struct eml_record any = {.event = EML_EVENT_SESSION_OPEN, .session = 1, .number = {1}};
    attest();
    while (eml_audit_log_append(t.b.log, &any, NULL) == EML_OK)
        ;
    report();
    deliver();
    assert_int_equal(answered(), EML_E_SYSTEM);
    assert_true(t.b.lost && t.b.stopping);
}

/* ... while one that is kept is answered when it is durable. */
static void a_result_leaves_when_its_record_is_durable(void **state)
{
    (void)state;
    attest();
    report();
    deliver();
    assert_int_not_equal(t.s->durable_at, 0);
    while (t.s->durable_at != 0) {
        turn_log();
        deliver();
    }
    assert_int_equal(answered(), EML_OK);
    assert_false(t.b.lost);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_question_that_fails_is_over, up, down),
        cmocka_unit_test_setup_teardown(each_request_has_its_connections, up, down),
        cmocka_unit_test_setup_teardown(no_result_leaves_whose_record_was_lost, up, down),
        cmocka_unit_test_setup_teardown(a_result_leaves_when_its_record_is_durable, up, down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
