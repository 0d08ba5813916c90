/* A worker's requests, with this test as its client and its broker: what it says when the host's
 * log goes wrong, and what is left in its memory when a result leaves. */
#define _GNU_SOURCE
#include "testsupport/channel_pair.h"
#include "testsupport/sealed_talk.h"
#include "testsupport/support.h"
#include "testsupport/tiny_model.h"

#include "channel/state.h"
#include "enclave/cache.h"
#include "enclave/worker.h"
#include "engine/engine.h"
#include "net/net.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ARENA = 4 << 20, REQUESTS = 4, SLICE = 32 };

static const struct eml_options options = {.threads = 2,
                                           .session_s = 60,
                                           .request_s = 60,
                                           .idle_s = 60,
                                           .memory_bytes = ARENA,
                                           .flops = 1 << 20};

static struct {
    struct eml_tiny_model model;
    struct eml_worker w;
    struct eml_channel *client;
    int sock, broker; /* this test's ends */
    int weights;      /* memory file */
    pthread_t worker_thread, broker_thread;
    enum eml_err report[REQUESTS]; /* what the broker answers, by request */
    unsigned begins, weights_asked, reports, destructions;
    unsigned vanishes_at;                /* the client, at this report; 0: it stays */
    struct eml_ipc_request last;         /* report */
    bool key_was_there, input_was_there; /* before the run */
    enum eml_err ended;
    bool joined;
} t;

static int64_t soon(void)
{
    return eml_net_now_ms() + 60000;
}

/* --- what is in the worker's memory --- */

static bool holds(struct eml_bytes secret)
{
    const struct eml_arena *a = &t.w.arena;
    return memmem(a->base, a->peak, secret.ptr, secret.len) != NULL ||
           memmem(t.w.channel, sizeof *t.w.channel, secret.ptr, secret.len) != NULL;
}

/* Any part of the topology key that could not be something else. */
static bool holds_key(void)
{
    for (size_t at = 0; at + SLICE <= t.model.topology.len; at += SLICE) {
        const uint8_t *p = t.model.topology.ptr + at;
        unsigned different = 0;
        for (int i = 1; i < SLICE; i++)
            different += p[i] != p[i - 1];
        if (different > SLICE / 2 && holds(eml_bytes(p, SLICE)))
            return true;
    }
    return false;
}

static bool holds_input(void)
{
    return holds(eml_bytes(t.model.x, sizeof t.model.x));
}

/* --- the broker --- */

static void answer(enum eml_err err, struct eml_bytes body, int fd)
{
    struct eml_buf packet = {0};
    eml_buf_put_u8(&packet, (uint8_t)err);
    if (err == EML_OK)
        eml_buf_put(&packet, body);
    EML_ASSERT(eml_ipc_send(t.broker, eml_buf_bytes(&packet), fd) == EML_OK);
    eml_buf_free(&packet);
}

static void on_question(const struct eml_ipc_request *r)
{
    static const uint8_t receipt[EML_IPC_BODY_MAX] = {1};
    switch (r->type) {
    case EML_IPC_BEGIN:
        t.begins++;
        return;
    case EML_IPC_WEIGHTS:
        /* The worker waits: nothing changes while this looks. */
        t.key_was_there = holds_key();
        t.input_was_there = holds_input();
        t.weights_asked++;
        answer(EML_OK, EML_BYTES(t.model.digest), t.weights);
        return;
    case EML_IPC_REPORT:
        EML_ASSERT(t.reports < REQUESTS);
        t.last = *r;
        if (t.reports + 1 == t.vanishes_at)
            EML_ASSERT(shutdown(t.sock, SHUT_RDWR) == 0);
        answer(t.report[t.reports++], EML_BYTES(receipt), -1);
        return;
    case EML_IPC_DESTROYED:
        t.destructions++;
        EML_ASSERT(r->number[EML_IPC_WIPE + 1] != 0 && r->number[EML_IPC_WIPE + 2] != 0);
        answer(EML_OK, (struct eml_bytes){0}, -1);
        return;
    default:
        answer(EML_OK, (struct eml_bytes){0}, -1);
    }
}

static void *broker_main(void *arg)
{
    uint8_t packet[EML_IPC_REQUEST_MAX];
    struct eml_ipc_request r;
    (void)arg;
    for (size_t n; eml_ipc_recv(t.broker, soon(), EML_ROOM(packet), &n, NULL) == EML_OK;) {
        EML_ASSERT(eml_ipc_decode(eml_bytes(packet, n), &r) == EML_OK);
        on_question(&r);
    }
    return NULL;
}

/* --- the worker --- */

static void *worker_main(void *arg)
{
    (void)arg;
    t.ended = eml_worker_requests(&t.w);
    return NULL;
}

static void make_weights(void)
{
    uint8_t digest[32];
    size_t n = t.model.sealed.len;
    t.weights = memfd_create("weights", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(t.weights >= 0 && write(t.weights, t.model.sealed.ptr, n) == (ssize_t)n);
    assert_int_equal(eml_cache_seal(t.weights, n, digest), EML_OK);
    assert_memory_equal(digest, t.model.digest, sizeof digest);
}

static void pair(int type, int *ours, int *workers)
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fd), 0);
    *ours = fd[0];
    *workers = fd[1];
}

static int up(void **state)
{
    static const float x[EML_TINY_N] = {0.1234567f, -98.76543f, 3141.592f, 0.0271828f};
    struct eml_pair p;
    (void)state;
    memset(&t, 0, sizeof t);
    eml_tiny_model_make(&t.model);
    memcpy(t.model.x, x, sizeof x);
    make_weights();
    t.w = (struct eml_worker){.options = &options, .session_end_ms = soon()};
    pair(SOCK_STREAM, &t.sock, &t.w.client);
    /* A receipt does not fit: it is on its way until its client reads it. */
    const int room = 4096;
    assert_int_equal(setsockopt(t.w.client, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    pair(SOCK_SEQPACKET, &t.broker, &t.w.broker);
    assert_int_equal(eml_arena_create(&t.w.arena, ARENA), EML_OK);
    assert_int_equal(eml_pool_create(2, &t.w.pool), EML_OK);
    eml_pair_make(&p);
    t.w.channel = p.server;
    t.client = p.client;
    p.server = p.client = NULL;
    eml_pair_free(&p);
    return pthread_create(&t.broker_thread, NULL, broker_main, NULL) != 0 ||
           pthread_create(&t.worker_thread, NULL, worker_main, NULL) != 0;
}

/* A test that has failed left a worker: without a client it ends. */
static int down(void **state)
{
    (void)state;
    eml_net_close(&t.sock);
    if (!t.joined)
        (void)pthread_join(t.worker_thread, NULL);
    eml_worker_forget(&t.w);
    eml_net_close(&t.w.broker);
    (void)pthread_join(t.broker_thread, NULL);
    eml_net_close(&t.broker);
    eml_net_close(&t.w.client);
    eml_net_close(&t.weights);
    eml_buf_free(&t.w.frame);
    eml_buf_free(&t.w.out);
    eml_channel_free(t.client);
    eml_buf_free(&t.model.topology);
    eml_buf_free(&t.model.sealed);
    return 0;
}

static enum eml_err end_of_worker(void)
{
    assert_int_equal(pthread_join(t.worker_thread, NULL), 0);
    t.joined = true;
    return t.ended;
}

/* --- the client --- */

static void say(enum eml_msg_type type, struct eml_bytes content)
{
    eml_talk_say(t.client, t.sock, soon(), type, content);
}

static void ask(enum eml_mode mode, bool first)
{
    static const uint8_t salt[EML_SALT_BYTES] = {1};
    struct eml_named_tensor x = {EML_LIT("x"),
                                 {EML_DT_F32, {1, {EML_TINY_N}}, t.model.x, sizeof t.model.x}};
    struct eml_request r = {.mode = mode, .n_inputs = 1, .inputs = &x, .salt = EML_BYTES(salt)};
    struct eml_buf b = {0};
    if (first)
        r.topology = eml_buf_bytes(&t.model.topology);
    assert_int_equal(eml_request_encode(&r, (struct eml_part_sink){eml_part_to_buf, &b}), EML_OK);
    say(EML_MSG_REQUEST, eml_buf_bytes(&b));
    eml_buf_free(&b);
}

static enum eml_msg_type hear(struct eml_buf *content)
{
    return eml_talk_hear(t.client, t.sock, soon(), content);
}

static void expect(enum eml_msg_type type)
{
    struct eml_buf b = {0};
    assert_int_equal(hear(&b), type);
    eml_buf_free(&b);
}

static void expect_result(void)
{
    struct eml_buf b = {0};
    struct eml_arena arena;
    struct eml_result r;
    float z[EML_TINY_N];
    assert_int_equal(hear(&b), EML_MSG_RESULT);
    assert_int_equal(eml_arena_create(&arena, 1 << 16), EML_OK);
    assert_int_equal(eml_result_decode(eml_buf_bytes(&b), &arena, &r, NULL), EML_OK);
    assert_true(r.n_outputs == 1 && eml_bytes_equal(r.outputs[0].name, EML_LIT("z")));
    assert_int_equal(r.outputs[0].tensor.bytes, sizeof z);
    memcpy(z, r.outputs[0].tensor.data, sizeof z);
    for (int i = 0; i < EML_TINY_N; i++)
        assert_true(z[i] == t.model.x[i] + t.model.w[i]);
    (void)eml_arena_destroy(&arena);
    eml_buf_free(&b);
}

static void expect_error(enum eml_err class)
{
    struct eml_buf b = {0};
    assert_int_equal(hear(&b), EML_MSG_ERROR);
    assert_int_equal(b.len, 1);
    assert_int_equal(b.ptr[0], class);
    eml_buf_free(&b);
}

/* Of a worker that has ended. */
static void expect_silence(void)
{
    uint8_t more;
    assert_int_equal(recv(t.sock, &more, sizeof more, MSG_DONTWAIT), -1);
}

/* --- tests --- */

/* When the first bytes of the receipt are there, and the worker waits to send the rest, all but the
 * outputs is gone. */
static void a_result_leaves_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        ask(EML_MODE_REQUEST, true);
        assert_int_equal(eml_net_wait(t.sock, POLLIN, soon()), EML_OK);
        assert_true(t.key_was_there && t.input_was_there);
        assert_false(holds_key());
        assert_false(holds_input());
        assert_false(holds(eml_bytes(t.model.w, sizeof t.model.w)));
        /* A small result was sealed by then: its outputs are gone, too. */
        for (size_t k = 0; k < t.w.arena.peak; k++)
            assert_int_equal(t.w.arena.base[k], 0);
        expect(EML_MSG_RECEIPT);
        expect_result();
    }
    say(EML_MSG_END, (struct eml_bytes){0});
    expect(EML_MSG_END);
    assert_int_equal(end_of_worker(), EML_OK);
    assert_int_equal(t.weights_asked, 1); /* the sealed ones stay */
    /* Nor the outputs, when it waits for the next request. */
    assert_int_equal(t.w.arena.used, 0);
    for (size_t i = 0; i < t.w.arena.peak; i++)
        assert_int_equal(t.w.arena.base[i], 0);
}

/* The model of a session stays for further requests. */
static void a_session_keeps_its_model(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        ask(EML_MODE_SESSION, i == 0);
        expect(EML_MSG_RECEIPT);
        expect_result();
    }
    say(EML_MSG_END, (struct eml_bytes){0});
    expect(EML_MSG_END);
    assert_int_equal(end_of_worker(), EML_OK);
    assert_true(t.w.model.arena != NULL && holds_key());
    assert_false(holds_input());
}

/* That the host shows another log is no fault of the client's inputs, and the session ends: only a
 * bad input leaves a model open. */
static void a_wrong_log_at_a_report_ends_the_session(void **state)
{
    (void)state;
    t.report[1] = EML_E_INPUT;
    ask(EML_MODE_SESSION, true);
    expect(EML_MSG_RECEIPT);
    expect_result();
    ask(EML_MODE_SESSION, false);
    expect_error(EML_E_NET);
    assert_int_equal(end_of_worker(), EML_E_NET);
    expect_silence(); /* the result that was sealed by then, and what would come behind it */
    assert_int_equal(t.w.out.len, 0);
    assert_null(t.w.model.arena);
    assert_false(holds_key());
    assert_false(holds_input());
    assert_int_equal(t.reports, 2);
    assert_int_equal(t.destructions, 1);
}

/* The log learns that a session's model has gone, though its request was reported before. */
static void a_result_that_cannot_leave_ends_the_session(void **state)
{
    (void)state;
    t.vanishes_at = 2;
    ask(EML_MODE_SESSION, true);
    expect(EML_MSG_RECEIPT);
    expect_result();
    ask(EML_MODE_SESSION, false);
    assert_int_equal(end_of_worker(), EML_E_NET);
    assert_null(t.w.model.arena);
    assert_false(holds_key());
    assert_int_equal(t.reports, 2);
    assert_int_equal(t.last.err, EML_OK);
    assert_int_equal(t.destructions, 1);
}

/* A log that refuses keeps its own class: the client is told that it is the host's. */
static void a_log_without_room_is_a_refusal(void **state)
{
    (void)state;
    t.report[0] = EML_E_REFUSED;
    ask(EML_MODE_REQUEST, true);
    expect_error(EML_E_REFUSED);
    assert_int_equal(end_of_worker(), EML_E_REFUSED);
    expect_silence();
    for (size_t i = 0; i < t.w.arena.peak; i++)
        assert_int_equal(t.w.arena.base[i], 0);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_result_leaves_alone, up, down),
        cmocka_unit_test_setup_teardown(a_session_keeps_its_model, up, down),
        cmocka_unit_test_setup_teardown(a_wrong_log_at_a_report_ends_the_session, up, down),
        cmocka_unit_test_setup_teardown(a_result_that_cannot_leave_ends_the_session, up, down),
        cmocka_unit_test_setup_teardown(a_log_without_room_is_a_refusal, up, down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
