/* A running enclave, with this process as its host and its clients. Whoever includes this defines
 * _GNU_SOURCE and sets `enclaved` and `devpki`, the programs. */
#ifndef EML_TESTS_LIVE_ENCLAVE_H
#define EML_TESTS_LIVE_ENCLAVE_H

#include "testsupport/sealed_talk.h"
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
    eml_talk_say(c->ch, c->fd, soon(), type, content);
}

static enum eml_msg_type hear(struct client *c, struct eml_buf *content)
{
    return eml_talk_hear(c->ch, c->fd, soon(), content);
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

#endif
