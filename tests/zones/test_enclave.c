/* The enclave as its host and its clients see it: the development program as processes of its own,
 * this test as host and client. usage: test_enclave ENCLAVED_DEV DEVPKI */
#define _GNU_SOURCE
#include "testsupport/support.h"

#include "attest/attest.h"
#include "channel/channel.h"
#include "host/sink.h"
#include "hostproto/hostproto.h"
#include "net/net.h"
#include "session/request.h"
#include "topology/topology.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *enclaved, *devpki;

/* What the host does when it is asked for weights. */
enum service { GIVE, MISSING, SHORT, LONG, CUT, BIT };
/* What it does with audit records. */
enum sink_does { KEEP, FULL, SILENT };

static struct {
    char dir[EML_TEST_DIR], enclave[96], service[96], pki[96];
    pid_t pid;
    int service_fd;
    pthread_t host;
    atomic_bool stop;
    _Atomic enum service does;
    _Atomic enum sink_does keeps;
    struct eml_sink *sink;
    pthread_t audit; /* serves the one connection of the log */
    bool audited;
    _Atomic unsigned gets;
    struct eml_buf object, topology;
    struct eml_sha256 root;
} w;

static int64_t soon(void)
{
    return eml_net_now_ms() + 20000;
}

/* --- the host --- */

static void serve_get(int fd, const struct eml_host_request *r)
{
    enum service does = w.does;
    struct eml_host_answer a = {.n = 1, .number = {w.object.len}};
    struct eml_buf frame = {0};
    struct eml_bytes body = eml_buf_bytes(&w.object);
    w.gets++;
    if (does == MISSING || r->kind != EML_HOST_GET)
        a.status = EML_HOST_NOT_FOUND;
    if (does == SHORT)
        a.number[0]--;
    if (does == LONG)
        a.number[0]++;
    if (does == CUT)
        body.len /= 2;
    if (does == BIT)
        w.object.ptr[body.len / 3] ^= 1;
    if (eml_host_answer_encode(&a, &frame) == EML_OK &&
        eml_net_send_frame(fd, eml_buf_bytes(&frame), soon()) == EML_OK && a.status == EML_HOST_OK)
        (void)!eml_net_send(fd, body, soon());
    if (does == BIT)
        w.object.ptr[body.len / 3] ^= 1;
    eml_buf_free(&frame);
}

static bool answer_commit(int fd, struct eml_bytes frame)
{
    struct eml_host_commit c;
    struct eml_buf out = {0};
    struct eml_host_answer a = {.status = EML_HOST_TOO_LARGE};
    while (w.keeps == SILENT && !w.stop)
        (void)usleep(10000);
    if (w.keeps == KEEP && eml_host_commit_decode(frame, &c) == EML_OK)
        a.status = eml_sink_commit(w.sink, &c);
    bool ok = eml_host_answer_encode(&a, &out) == EML_OK &&
              eml_net_send_frame(fd, eml_buf_bytes(&out), soon()) == EML_OK;
    eml_buf_free(&out);
    return ok && a.status == EML_HOST_OK;
}

static void *audit_main(void *arg)
{
    int fd = (int)(intptr_t)arg;
    struct eml_buf frame = {0};
    bool open = eml_sink_state(w.sink, &frame) == EML_OK &&
                eml_net_send_frame(fd, eml_buf_bytes(&frame), soon()) == EML_OK;
    while (open && !w.stop)
        if (eml_net_wait(fd, POLLIN, eml_net_now_ms() + 50) == EML_OK)
            open = eml_net_recv_frame(fd, EML_HOST_LOG_COMMIT_MAX, soon(), &frame) == EML_OK &&
                   answer_commit(fd, eml_buf_bytes(&frame));
    eml_buf_free(&frame);
    eml_net_close(&fd);
    return NULL;
}

/* Takes fd. */
static void serve_audit(int *fd)
{
    if (w.audited)
        (void)pthread_join(w.audit, NULL);
    w.audited = pthread_create(&w.audit, NULL, audit_main, (void *)(intptr_t)*fd) == 0;
    if (w.audited)
        *fd = -1;
}

static void *host_main(void *arg)
{
    (void)arg;
    while (!w.stop) {
        int fd = -1;
        struct eml_buf frame = {0};
        struct eml_host_request r;
        if (eml_net_accept(w.service_fd, eml_net_now_ms() + 50, &fd) != EML_OK)
            continue;
        if (eml_net_recv_frame(fd, EML_HOST_REQUEST_MAX, soon(), &frame) == EML_OK &&
            eml_host_request_decode(eml_buf_bytes(&frame), &r) == EML_OK) {
            if (r.kind == EML_HOST_AUDIT)
                serve_audit(&fd);
            else
                serve_get(fd, &r);
        }
        eml_buf_free(&frame);
        eml_net_close(&fd);
    }
    return NULL;
}

/* --- the model: y = Relu(x), with weights that nothing reads --- */

static void make_model(void)
{
    static const uint8_t plain[100000] = {1, 2, 3};
    static const uint32_t in[] = {0}, out[] = {1};
    struct eml_value values[2] = {
        {.kind = EML_VALUE_INPUT, .dtype = EML_DT_F32, .shape = {2, {EML_DIM_UNKNOWN, 4}}},
        {.kind = EML_VALUE_NODE, .dtype = EML_DT_F32}};
    struct eml_node node = {
        .op = EML_OP_RELU, .n_in = 1, .n_out = 1, .in = in, .out = out, .params = EML_ABSENT};
    struct eml_name x = {EML_LIT("x"), 0}, y = {EML_LIT("y"), 1};
    struct eml_topology t = {.min_version = 1, .blob = {.version = 1}};
    t.graph = (struct eml_graph){2, 1, 1, 1, values, &node, &x, &y, 0, NULL};
    assert_int_equal(eml_blob_seal(EML_BYTES(plain), &t.blob, &w.object), EML_OK);
    assert_int_equal(eml_topology_encode(&t, &w.topology), EML_OK);
}

/* --- processes --- */

static pid_t spawn(const char *const *argv)
{
    pid_t pid = fork();
    if (pid == 0) {
        union {
            const char *const *in;
            char *const *out;
        } a = {argv};
        (void)execv(argv[0], a.out);
        _exit(127);
    }
    return pid;
}

static void start_enclave(void)
{
    const char *const argv[] = {enclaved,  "--listen",
                                w.enclave, "--host",
                                w.service, "--max-sessions",
                                "3",       "--request-seconds",
                                "5",       "--threads",
                                "2",       "--idle-seconds",
                                "3",       NULL};
    assert_int_equal(setenv("EML_DEV_PKI", w.pki, 1), 0);
    w.pid = spawn(argv);
    for (int i = 0; i < 30000 && access(w.enclave + 5, F_OK) != 0; i++)
        (void)usleep(10000);
}

static int up(void **state)
{
    (void)state;
    int status;
    char pem[128];
    eml_test_dir_make(w.dir);
    (void)snprintf(w.enclave, sizeof w.enclave, "unix:%s/enclave", w.dir);
    (void)snprintf(w.service, sizeof w.service, "unix:%s/service", w.dir);
    (void)snprintf(w.pki, sizeof w.pki, "%s/pki", w.dir);
    const char *const argv[] = {devpki, w.pki, NULL};
    if (waitpid(spawn(argv), &status, 0) < 0 || status != 0)
        return 1;
    (void)snprintf(pem, sizeof pem, "%s/root.pem", w.pki);
    struct eml_buf b = eml_test_read(pem);
    enum eml_err err = eml_x509_pem_digest(eml_buf_bytes(&b), &w.root);
    eml_buf_free(&b);
    make_model();
    (void)snprintf(pem, sizeof pem, "%s/audit", w.dir);
    if (err == EML_OK)
        err = eml_sink_open(pem, 1u << 30, &w.sink, NULL);
    if (err != EML_OK || eml_net_listen(w.service, &w.service_fd, NULL) != EML_OK ||
        pthread_create(&w.host, NULL, host_main, NULL) != 0)
        return 1;
    start_enclave();
    return 0;
}

static int down(void **state)
{
    (void)state;
    int status = 0;
    (void)kill(w.pid, SIGTERM);
    bool ended = waitpid(w.pid, &status, 0) == w.pid && WIFEXITED(status) && status == 0;
    w.stop = true;
    (void)pthread_join(w.host, NULL);
    if (w.audited)
        (void)pthread_join(w.audit, NULL);
    eml_sink_close(w.sink);
    eml_net_close(&w.service_fd);
    eml_buf_free(&w.object);
    eml_buf_free(&w.topology);
    return !ended || eml_test_dir_drop(w.dir) != 0;
}

/* Serves a session: a worker that waits for a client has one socket, one with a client two. A child
 * that is not yet another program has all of the broker's. */
static bool serves(pid_t pid)
{
    char path[64], target[256], args[512] = {0};
    size_t sockets = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    FILE *f = fopen(path, "r");
    size_t n = f != NULL ? fread(args, 1, sizeof args - 1, f) : 0;
    if (f != NULL)
        (void)fclose(f);
    const char *second = memchr(args, '\0', n);
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        ssize_t len = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
        target[len > 0 ? len : 0] = '\0';
        sockets += strncmp(target, "socket:", 7) == 0;
    }
    if (d != NULL)
        (void)closedir(d);
    return sockets >= 2 && second != NULL && strncmp(second + 1, "--role=worker", 13) == 0;
}

/* Process ids of the broker's children that serve a session. */
static size_t children(pid_t *out, size_t max)
{
    char path[64];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)w.pid, (int)w.pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (int pid; n < max && fscanf(f, "%d", &pid) == 1;)
        if (serves(pid))
            out[n++] = pid;
    (void)fclose(f);
    return n;
}

static void wait_for_children(size_t n)
{
    pid_t pids[64];
    for (int i = 0; i < 30000 && children(pids, 64) != n; i++)
        (void)usleep(10000);
    assert_int_equal(children(pids, 64), n);
}

/* --- the client --- */

struct client {
    int fd;
    struct eml_channel *ch;
};

static int dial(void)
{
    int fd = -1;
    assert_int_equal(eml_net_connect(w.enclave, soon(), &fd, NULL), EML_OK);
    return fd;
}

static struct client open_session(void)
{
    struct client c = {.fd = dial()};
    struct eml_buf out = {0}, evidence = {0};
    struct eml_bytes document;
    struct eml_attested a;
    struct eml_why why = {0};
    assert_int_equal(eml_channel_client_hello(&c.ch, &out), EML_OK);
    assert_int_equal(eml_net_send(c.fd, eml_buf_bytes(&out), soon()), EML_OK);
    assert_int_equal(eml_net_recv_frame(c.fd, EML_EVIDENCE_BYTES_MAX, soon(), &evidence), EML_OK);
    assert_int_equal(eml_channel_client_evidence(c.ch, eml_buf_bytes(&evidence), &document, &why),
                     EML_OK);
    assert_int_equal(eml_attest_verify_document(document, &w.root, 1, time(NULL), &a, &why),
                     EML_OK);
    assert_true(eml_bytes_equal(a.nonce, eml_channel_nonce(c.ch)));
    assert_int_equal(a.user_data.len, EML_CHANNEL_USER_DATA_BYTES);
    assert_int_equal(a.public_key.len, sizeof(struct eml_ed25519_pk));
    out.len = 0;
    assert_int_equal(eml_channel_client_open(c.ch, a.user_data, &out), EML_OK);
    assert_int_equal(eml_net_send(c.fd, eml_buf_bytes(&out), soon()), EML_OK);
    eml_buf_free(&evidence);
    eml_buf_free(&out);
    return c;
}

static void close_session(struct client *c)
{
    eml_channel_free(c->ch);
    eml_net_close(&c->fd);
}

static void say(struct client *c, enum eml_msg_type type, struct eml_bytes content)
{
    struct eml_buf out = {0};
    assert_int_equal(eml_channel_seal(c->ch, type, content, &out), EML_OK);
    assert_int_equal(eml_net_send(c->fd, eml_buf_bytes(&out), soon()), EML_OK);
    eml_buf_free(&out);
}

static enum eml_msg_type hear(struct client *c, struct eml_buf *content)
{
    struct eml_buf frame = {0};
    enum eml_msg_type type = EML_MSG_END;
    content->len = 0;
    for (bool done = false; !done;) {
        struct eml_bytes part;
        uint64_t total;
        assert_int_equal(eml_net_recv_frame(c->fd, EML_RECORD_PLAIN_MAX + 16, soon(), &frame),
                         EML_OK);
        assert_int_equal(
            eml_channel_open(c->ch, eml_buf_bytes(&frame), &type, &total, &part, &done, NULL),
            EML_OK);
        eml_buf_put(content, part);
    }
    eml_buf_free(&frame);
    return type;
}

static struct eml_buf request(enum eml_mode mode, bool with_topology, struct eml_bytes name,
                              int64_t rows)
{
    static const float x[64] = {-1, 2, -3, 4};
    struct eml_named_tensor t = {name,
                                 {EML_DT_F32, {2, {rows, 4}}, x, (size_t)rows * 4 * sizeof(float)}};
    static const uint8_t salt[EML_SALT_BYTES] = {1};
    struct eml_request r = {.mode = mode, .n_inputs = 1, .inputs = &t, .salt = EML_BYTES(salt)};
    struct eml_buf b = {0};
    if (with_topology)
        r.topology = eml_buf_bytes(&w.topology);
    assert_int_equal(eml_request_encode(&r, (struct eml_part_sink){eml_part_to_buf, &b}), EML_OK);
    return b;
}

static void ask(struct client *c, enum eml_mode mode, bool with_topology, const char *name,
                int64_t rows)
{
    struct eml_buf b = request(mode, with_topology, eml_bytes_of_str(name), rows);
    say(c, EML_MSG_REQUEST, eml_buf_bytes(&b));
    eml_buf_free(&b);
}

static void expect_error(struct client *c, enum eml_err class)
{
    struct eml_buf b = {0};
    assert_int_equal(hear(c, &b), EML_MSG_ERROR);
    assert_int_equal(b.len, 1);
    assert_int_equal(b.ptr[0], class);
    eml_buf_free(&b);
}

static void expect_result(struct client *c, int64_t rows)
{
    struct eml_buf b = {0};
    struct eml_arena arena;
    struct eml_result r;
    assert_int_equal(hear(c, &b), EML_MSG_RECEIPT);
    assert_int_equal(hear(c, &b), EML_MSG_RESULT);
    assert_int_equal(eml_arena_create(&arena, 1 << 20), EML_OK);
    assert_int_equal(eml_result_decode(eml_buf_bytes(&b), &arena, &r, NULL), EML_OK);
    assert_int_equal(r.n_outputs, 1);
    assert_true(eml_bytes_equal(r.outputs[0].name, EML_LIT("y")));
    assert_int_equal(r.outputs[0].tensor.shape.dim[0], rows);
    float y[4];
    memcpy(y, r.outputs[0].tensor.data, sizeof y);
    assert_true(y[0] == 0 && y[1] == 2 && y[2] == 0 && y[3] == 4);
    assert_true(r.exposure_us > 0 && r.kernels.len > 0);
    (void)eml_arena_destroy(&arena);
    eml_buf_free(&b);
}

static void expect_end(struct client *c)
{
    struct eml_buf b = {0};
    assert_int_equal(hear(c, &b), EML_MSG_END);
    assert_true(eml_channel_ended(c->ch));
    eml_buf_free(&b);
}

static void assert_works(void)
{
    w.does = GIVE;
    struct client c = open_session();
    ask(&c, EML_MODE_REQUEST, true, "x", 2);
    expect_result(&c, 2);
    say(&c, EML_MSG_END, (struct eml_bytes){0});
    expect_end(&c);
    close_session(&c);
}

static void one_request(void **state)
{
    (void)state;
    assert_works();
    /* The sealed bytes are cached: the second one asks the host no more. */
    unsigned gets = w.gets;
    assert_works();
    assert_int_equal(w.gets, gets);
}

static void a_session_of_several(void **state)
{
    (void)state;
    struct client c = open_session();
    w.does = GIVE;
    for (int64_t rows = 1; rows < 4; rows++) {
        ask(&c, EML_MODE_REQUEST, true, "x", rows);
        expect_result(&c, rows);
    }
    ask(&c, EML_MODE_REQUEST, false, "x", 3); /* no model is left to ask */
    expect_error(&c, EML_E_INPUT);
    close_session(&c);
    c = open_session();
    for (int64_t rows = 1; rows < 8; rows++) {
        ask(&c, EML_MODE_SESSION, rows == 1, "x", rows);
        expect_result(&c, rows);
    }
    /* An input that does not fit leaves the model as it is. */
    ask(&c, EML_MODE_SESSION, false, "z", 1);
    expect_error(&c, EML_E_INPUT);
    ask(&c, EML_MODE_SESSION, false, "x", 3);
    expect_result(&c, 3);
    say(&c, EML_MSG_END, (struct eml_bytes){0});
    expect_end(&c);
    close_session(&c);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct client c = open_session();
    say(&c, EML_MSG_REQUEST, EML_LIT("nonsense"));
    expect_error(&c, EML_E_INPUT);
    expect_end(&c);
    close_session(&c);
    c = open_session();
    ask(&c, EML_MODE_SESSION, false, "x", 1); /* no topology yet */
    expect_error(&c, EML_E_INPUT);
    close_session(&c);
    c = open_session();
    ask(&c, EML_MODE_REQUEST, true, "wrong name", 1);
    expect_error(&c, EML_E_INPUT);
    close_session(&c);
    c = open_session();
    say(&c, EML_MSG_RESULT, EML_LIT("a result from a client"));
    expect_error(&c, EML_E_INPUT);
    close_session(&c);
    assert_works();
}

/* A model whose weights nobody has fetched yet. */
static void fresh_model(void)
{
    eml_buf_free(&w.object);
    eml_buf_free(&w.topology);
    make_model();
}

static void weights_that_are_not_right(void **state)
{
    (void)state;
    static const struct {
        enum service does;
        enum eml_err class;
    } cases[] = {{MISSING, EML_E_INPUT},
                 {SHORT, EML_E_INPUT},
                 {LONG, EML_E_INPUT},
                 {CUT, EML_E_NET},
                 {BIT, EML_E_AUTH}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fresh_model();
        struct client c = open_session();
        w.does = cases[i].does;
        ask(&c, EML_MODE_REQUEST, true, "x", 1);
        expect_error(&c, cases[i].class);
        expect_end(&c);
        close_session(&c);
        /* Nothing bad is kept: as soon as the host has the right bytes, it works. */
        assert_works();
    }
}

static void no_host_for_a_while(void **state)
{
    (void)state;
    fresh_model();
    struct client c = open_session();
    char moved[128];
    (void)snprintf(moved, sizeof moved, "%.60s/moved", w.dir);
    assert_int_equal(rename(w.service + 5, moved), 0);
    ask(&c, EML_MODE_REQUEST, true, "x", 1);
    expect_error(&c, EML_E_NET);
    close_session(&c);
    assert_int_equal(rename(moved, w.service + 5), 0);
    assert_works();
}

/* The host keeps records again. Those that wait come first, and the enclave dials only so often. */
static void keep_again(void)
{
    enum eml_msg_type type = EML_MSG_ERROR;
    w.keeps = KEEP;
    for (int64_t end = soon(); type != EML_MSG_RECEIPT && eml_net_now_ms() < end;) {
        struct client c = open_session();
        struct eml_buf b = {0};
        ask(&c, EML_MODE_REQUEST, true, "x", 1);
        type = hear(&c, &b);
        eml_buf_free(&b);
        close_session(&c);
        (void)usleep(100000);
    }
    assert_int_equal(type, EML_MSG_RECEIPT);
}

/* Whoever cannot be recorded is not served, and told so; then all goes on. */
static void no_room_for_the_log(void **state)
{
    (void)state;
    struct client c = open_session();
    w.keeps = FULL;
    ask(&c, EML_MODE_REQUEST, true, "x", 1);
    expect_error(&c, EML_E_REFUSED);
    close_session(&c);
    keep_again();
    assert_works();
}

/* A result does not leave before it is on the host's disk that it did. */
static void no_result_without_its_record(void **state)
{
    (void)state;
    struct client c = open_session();
    w.keeps = SILENT;
    ask(&c, EML_MODE_REQUEST, true, "x", 1);
    expect_error(&c, EML_E_NET);
    close_session(&c);
    keep_again();
    assert_works();
}

static void nonsense_before_the_channel(void **state)
{
    (void)state;
    static const char *const bad[] = {"00000000", "ffffffff", "00000003616263", "0000"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_buf b = eml_test_hex(bad[i]);
        uint8_t rest[1];
        size_t n = 1;
        int fd = dial();
        assert_int_equal(eml_net_send(fd, eml_buf_bytes(&b), soon()), EML_OK);
        (void)shutdown(fd, SHUT_WR);
        assert_true(eml_net_recv_some(fd, EML_ROOM(rest), soon(), &n) != EML_OK || n == 0);
        eml_net_close(&fd);
        eml_buf_free(&b);
    }
    assert_works();
}

static void an_altered_record_ends_the_session(void **state)
{
    (void)state;
    struct client c = open_session();
    struct eml_buf out = {0};
    uint8_t rest[1];
    size_t n = 1;
    assert_int_equal(eml_channel_seal(c.ch, EML_MSG_REQUEST, EML_LIT("x"), &out), EML_OK);
    out.ptr[out.len - 1] ^= 1;
    assert_int_equal(eml_net_send(c.fd, eml_buf_bytes(&out), soon()), EML_OK);
    /* Not even an error: the channel is not trusted any more. */
    (void)shutdown(c.fd, SHUT_WR);
    assert_true(eml_net_recv_some(c.fd, EML_ROOM(rest), soon(), &n) != EML_OK || n == 0);
    eml_buf_free(&out);
    close_session(&c);
    assert_works();
}

static void sessions_over_the_limit_wait(void **state)
{
    (void)state;
    struct client open[3];
    wait_for_children(0);
    for (size_t i = 0; i < 3; i++)
        open[i] = open_session();
    struct eml_buf hello = {0}, evidence = {0};
    struct eml_channel *ch;
    int fd = dial();
    assert_int_equal(eml_channel_client_hello(&ch, &hello), EML_OK);
    assert_int_equal(eml_net_send(fd, eml_buf_bytes(&hello), soon()), EML_OK);
    assert_int_equal(
        eml_net_recv_frame(fd, EML_EVIDENCE_BYTES_MAX, eml_net_now_ms() + 300, &evidence),
        EML_E_NET);
    close_session(&open[1]);
    assert_int_equal(eml_net_recv_frame(fd, EML_EVIDENCE_BYTES_MAX, soon(), &evidence), EML_OK);
    eml_net_close(&fd);
    eml_channel_free(ch);
    eml_buf_free(&hello);
    eml_buf_free(&evidence);
    close_session(&open[0]);
    close_session(&open[2]);
    wait_for_children(0);
}

static void a_killed_worker_concerns_nobody_else(void **state)
{
    (void)state;
    pid_t pids[8];
    uint8_t rest[1];
    size_t n = 1;
    wait_for_children(0);
    struct client a = open_session();
    assert_int_equal(children(pids, 8), 1);
    struct client b = open_session();
    assert_int_equal(kill(pids[0], SIGKILL), 0);
    assert_true(eml_net_recv_some(a.fd, EML_ROOM(rest), soon(), &n) != EML_OK || n == 0);
    w.does = GIVE;
    ask(&b, EML_MODE_REQUEST, true, "x", 1);
    expect_result(&b, 1);
    close_session(&a);
    close_session(&b);
    assert_works();
}

/* What an open worker may still do, as the kernel tells. */
static void a_worker_has_nothing_but_its_two_sockets(void **state)
{
    (void)state;
    pid_t pids[8];
    char path[64], line[256];
    bool filtered = false, no_new = false;
    wait_for_children(0);
    struct client c = open_session();
    assert_int_equal(children(pids, 8), 1);
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pids[0]);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        filtered = filtered || strcmp(line, "Seccomp:\t2\n") == 0;
        no_new = no_new || strcmp(line, "NoNewPrivs:\t1\n") == 0;
        if (geteuid() == 0 && strncmp(line, "Uid:", 4) == 0)
            assert_string_equal(line, "Uid:\t65534\t65534\t65534\t65534\n");
    }
    (void)fclose(f);
    assert_true(filtered && no_new);
    size_t sockets = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pids[0]);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char target[256] = {0};
        if (e->d_name[0] == '.')
            continue;
        assert_true(readlinkat(dirfd(d), e->d_name, target, sizeof target - 1) > 0);
        if (strncmp(target, "socket:", 7) == 0)
            sockets++;
        else
            assert_string_equal(target, "/dev/null");
    }
    (void)closedir(d);
    assert_int_equal(sockets, 2);
    close_session(&c);
}

static void a_request_that_takes_too_long_is_ended(void **state)
{
    (void)state;
    struct client c = open_session();
    struct eml_buf out = {0};
    uint8_t rest[64];
    size_t n = 1;
    int64_t start = eml_net_now_ms();
    /* The first record of a large message, and then silence. */
    assert_int_equal(eml_channel_seal_begin(c.ch, EML_MSG_REQUEST, 1 << 20, &out), EML_OK);
    static const uint8_t part[200000];
    assert_int_equal(eml_channel_seal_part(c.ch, EML_BYTES(part), &out), EML_OK);
    assert_int_equal(eml_net_send(c.fd, eml_buf_bytes(&out), soon()), EML_OK);
    while (n > 0 && eml_net_recv_some(c.fd, EML_ROOM(rest), soon(), &n) == EML_OK)
        ;
    assert_in_range(eml_net_now_ms() - start, 4500, 12000);
    eml_buf_free(&out);
    close_session(&c);
    assert_works();
}

/* Whoever attests and then says nothing does not keep the place of others. */
static void an_idle_session_is_ended(void **state)
{
    (void)state;
    struct client before = open_session(), between = open_session();
    uint8_t rest[64];
    ask(&between, EML_MODE_SESSION, true, "x", 1);
    expect_result(&between, 1);
    int64_t start = eml_net_now_ms();
    for (struct client *c = &before; c != NULL; c = c == &before ? &between : NULL)
        for (size_t n = 1; n > 0 && eml_net_recv_some(c->fd, EML_ROOM(rest), soon(), &n) == EML_OK;)
            ;
    assert_in_range(eml_net_now_ms() - start, 2000, 8000);
    close_session(&before);
    close_session(&between);
    wait_for_children(0);
    assert_works();
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    enclaved = argv[1];
    devpki = argv[2];
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_request),
        cmocka_unit_test(a_session_of_several),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(weights_that_are_not_right),
        cmocka_unit_test(no_host_for_a_while),
        cmocka_unit_test(no_room_for_the_log),
        cmocka_unit_test(no_result_without_its_record),
        cmocka_unit_test(nonsense_before_the_channel),
        cmocka_unit_test(an_altered_record_ends_the_session),
        cmocka_unit_test(sessions_over_the_limit_wait),
        cmocka_unit_test(a_killed_worker_concerns_nobody_else),
        cmocka_unit_test(a_worker_has_nothing_but_its_two_sockets),
        cmocka_unit_test(a_request_that_takes_too_long_is_ended),
        cmocka_unit_test(an_idle_session_is_ended),
    };
    return cmocka_run_group_tests(tests, up, down);
}
