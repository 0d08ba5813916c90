#define _GNU_SOURCE
#include "made_log.h"

#include "host/http.h"
#include "host/server.h"
#include "net/net.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* At once, on each port. More than a test opens one after the other: a place is free again only
 * some time after its client has heard all. */
enum { CONNECTIONS = 64 };

/* A whole host in this process, with an enclave that sends back what it gets. */
static struct {
    char dir[EML_TEST_DIR], client[96], service[96], enclave[96], store[96], credentials[96];
    struct eml_host host;
    struct eml_metrics metrics;
    struct eml_server server;
    pthread_t thread, echo;
    int echo_fd;
    atomic_bool stop_echo;
    enum eml_err ended;
} w;

static int64_t soon(void)
{
    return eml_net_now_ms() + 20000;
}

static void *server_main(void *arg)
{
    (void)arg;
    w.ended = eml_server_run(&w.server);
    return NULL;
}

static void *echo_main(void *arg)
{
    (void)arg;
    int fd = -1;
    while (!w.stop_echo) {
        if (eml_net_accept(w.echo_fd, eml_net_now_ms() + 20, &fd) != EML_OK)
            continue;
        uint8_t buf[4096];
        size_t n = 0;
        while (eml_net_recv_some(fd, EML_ROOM(buf), soon(), &n) == EML_OK && n > 0 &&
               eml_net_send(fd, eml_bytes(buf, n), soon()) == EML_OK)
            ;
        eml_net_close(&fd);
    }
    return NULL;
}

static int up(void **state)
{
    (void)state;
    memset(&w, 0, sizeof w);
    eml_test_dir_make(w.dir);
    (void)snprintf(w.client, sizeof w.client, "unix:%s/client", w.dir);
    (void)snprintf(w.service, sizeof w.service, "unix:%s/service", w.dir);
    (void)snprintf(w.enclave, sizeof w.enclave, "unix:%s/enclave", w.dir);
    (void)snprintf(w.store, sizeof w.store, "%s/store", w.dir);
    (void)snprintf(w.credentials, sizeof w.credentials, "%s/credentials", w.dir);
    w.host =
        (struct eml_host){.enclave = w.enclave, .limits = {20000, 20000, 0}, .metrics = &w.metrics};
    w.server = (struct eml_server){.host = &w.host, .connections = CONNECTIONS, .grace_ms = 20000};
    w.host.stop_fd = w.server.stop_fd = eventfd(0, EFD_CLOEXEC);
    return eml_store_open(w.store, 1u << 20, 1u << 22, &w.host.store, NULL) != EML_OK ||
           eml_net_listen(w.client, &w.server.client_fd, NULL) != EML_OK ||
           eml_net_listen(w.service, &w.server.service_fd, NULL) != EML_OK ||
           eml_net_listen(w.enclave, &w.echo_fd, NULL) != EML_OK ||
           pthread_create(&w.echo, NULL, echo_main, NULL) != 0 ||
           pthread_create(&w.thread, NULL, server_main, NULL) != 0;
}

static int down(void **state)
{
    (void)state;
    uint64_t one = 1;
    if (write(w.server.stop_fd, &one, sizeof one) != sizeof one ||
        pthread_join(w.thread, NULL) != 0 || w.ended != EML_OK)
        return 1;
    w.stop_echo = true;
    (void)pthread_join(w.echo, NULL);
    eml_net_close(&w.echo_fd);
    eml_net_close(&w.server.client_fd);
    eml_net_close(&w.server.service_fd);
    eml_net_close(&w.server.stop_fd);
    eml_store_close(w.host.store);
    eml_sink_close(w.host.sink);
    return eml_test_dir_drop(w.dir);
}

static int dial(const char *address)
{
    int fd = -1;
    assert_int_equal(eml_net_connect(address, soon(), &fd, NULL), EML_OK);
    return fd;
}

static int ask(const char *address, enum eml_host_kind kind, uint8_t id, uint64_t size)
{
    struct eml_host_request r = {.kind = kind, .id = {id}, .size = size};
    struct eml_buf b = {0};
    int fd = dial(address);
    assert_int_equal(eml_host_request_encode(&r, &b), EML_OK);
    assert_int_equal(eml_net_send_frame(fd, eml_buf_bytes(&b), soon()), EML_OK);
    eml_buf_free(&b);
    return fd;
}

static struct eml_host_answer hear(int fd, size_t numbers)
{
    struct eml_buf b = {0};
    struct eml_host_answer a;
    assert_int_equal(eml_net_recv_frame(fd, EML_HOST_ANSWER_MAX, soon(), &b), EML_OK);
    assert_int_equal(eml_host_answer_decode(eml_buf_bytes(&b), numbers, &a), EML_OK);
    eml_buf_free(&b);
    return a;
}

static enum eml_host_status once(const char *address, enum eml_host_kind kind)
{
    int fd = ask(address, kind, 1, 1);
    enum eml_host_status s = hear(fd, 0).status;
    eml_net_close(&fd);
    return s;
}

static void assert_healthy(uint64_t objects)
{
    int fd = ask(w.client, EML_HOST_HEALTH, 0, 0);
    struct eml_host_answer a = hear(fd, 2);
    assert_int_equal(a.status, EML_HOST_OK);
    assert_int_equal(a.number[0], objects);
    eml_net_close(&fd);
}

static void put(uint8_t id, const uint8_t *bytes, size_t n, enum eml_host_status expected)
{
    int fd = ask(w.client, EML_HOST_PUT, id, n);
    assert_int_equal(hear(fd, 0).status, EML_HOST_OK);
    assert_int_equal(eml_net_send(fd, eml_bytes(bytes, n), soon()), EML_OK);
    assert_int_equal(hear(fd, 0).status, expected);
    eml_net_close(&fd);
}

static void objects_go_in_and_out(void **state)
{
    (void)state;
    static uint8_t bytes[700001], in[700001];
    struct eml_gen g = eml_gen_seeded("objects");
    size_t got;
    eml_gen_fill(&g, bytes, sizeof bytes);
    put(7, bytes, sizeof bytes, EML_HOST_OK);
    put(7, bytes, sizeof bytes, EML_HOST_OK);
    bytes[700000] ^= 1;
    put(7, bytes, sizeof bytes, EML_HOST_EXISTS);
    bytes[700000] ^= 1;
    int fd = ask(w.client, EML_HOST_STAT, 7, 0);
    assert_int_equal(hear(fd, 1).number[0], sizeof bytes);
    eml_net_close(&fd);
    fd = ask(w.service, EML_HOST_GET, 7, 0);
    assert_int_equal(hear(fd, 1).number[0], sizeof bytes);
    assert_int_equal(eml_net_recv(fd, EML_ROOM(in), soon(), &got), EML_OK);
    assert_memory_equal(in, bytes, sizeof bytes);
    eml_net_close(&fd);
    fd = ask(w.service, EML_HOST_GET, 8, 0);
    assert_int_equal(hear(fd, 1).status, EML_HOST_NOT_FOUND);
    eml_net_close(&fd);
    fd = ask(w.client, EML_HOST_PUT, 9, (1u << 20) + 1);
    assert_int_equal(hear(fd, 0).status, EML_HOST_TOO_LARGE);
    eml_net_close(&fd);
    assert_healthy(1);
}

static void a_client_that_leaves_in_the_middle_leaves_nothing(void **state)
{
    (void)state;
    int fd = ask(w.client, EML_HOST_PUT, 7, 1000);
    assert_int_equal(hear(fd, 0).status, EML_HOST_OK);
    assert_int_equal(eml_net_send(fd, EML_LIT("half"), soon()), EML_OK);
    eml_net_close(&fd);
    put(7, (const uint8_t *)"other", 5, EML_HOST_OK);
    assert_healthy(1);
}

static void the_relay_reaches_the_enclave(void **state)
{
    (void)state;
    int fd = ask(w.client, EML_HOST_RELAY, 0, 0);
    uint8_t in[5];
    size_t got;
    /* Without waiting for the answer: what follows the first frame is the enclave's. */
    assert_int_equal(eml_net_send(fd, EML_LIT("hello"), soon()), EML_OK);
    assert_int_equal(hear(fd, 0).status, EML_HOST_OK);
    assert_int_equal(eml_net_recv(fd, EML_ROOM(in), soon(), &got), EML_OK);
    assert_memory_equal(in, "hello", 5);
    (void)shutdown(fd, SHUT_WR);
    assert_int_equal(eml_net_recv_some(fd, EML_ROOM(in), soon(), &got), EML_OK);
    assert_int_equal(got, 0);
    eml_net_close(&fd);
    w.host.enclave = "unix:/nonexistent/enclave";
    assert_int_equal(once(w.client, EML_HOST_RELAY), EML_HOST_UNREACHABLE);
}

static void each_port_serves_its_own_kinds(void **state)
{
    (void)state;
    static const enum eml_host_kind clients[] = {EML_HOST_RELAY, EML_HOST_PUT, EML_HOST_STAT,
                                                 EML_HOST_HEALTH};
    static const enum eml_host_kind services[] = {EML_HOST_GET, EML_HOST_EGRESS,
                                                  EML_HOST_CREDENTIALS};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(once(w.service, clients[i]), EML_HOST_BAD_REQUEST);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(once(w.client, services[i]), EML_HOST_BAD_REQUEST);
}

static void malformed_first_frames_are_answered_and_over(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "00000000",     "0000000100", "000000025200", "0000000150",
        "000000415200", "ffffffff",   "47455420", /* "GET ": a browser */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_buf b = eml_test_hex(bad[i]);
        uint8_t rest[1];
        size_t got;
        int fd = dial(w.client);
        assert_int_equal(eml_net_send(fd, eml_buf_bytes(&b), soon()), EML_OK);
        assert_int_equal(hear(fd, 0).status, EML_HOST_BAD_REQUEST);
        enum eml_err e = eml_net_recv_some(fd, EML_ROOM(rest), soon(), &got);
        assert_true(e != EML_OK || got == 0);
        eml_net_close(&fd);
        eml_buf_free(&b);
    }
    assert_healthy(0);
}

static void egress_only_where_configured(void **state)
{
    (void)state;
    assert_int_equal(once(w.service, EML_HOST_EGRESS), EML_HOST_NOT_OFFERED);
    w.host.kms_endpoint = w.enclave; /* the echo stands for KMS */
    int fd = ask(w.service, EML_HOST_EGRESS, 0, 0);
    uint8_t in[3];
    size_t got;
    assert_int_equal(hear(fd, 0).status, EML_HOST_OK);
    assert_int_equal(eml_net_send(fd, EML_LIT("tls"), soon()), EML_OK);
    assert_int_equal(eml_net_recv(fd, EML_ROOM(in), soon(), &got), EML_OK);
    assert_memory_equal(in, "tls", 3);
    eml_net_close(&fd);
}

static void write_credentials(const char *text)
{
    int fd = open(w.credentials, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static enum eml_host_status credentials(struct eml_host_credentials *c, struct eml_buf *b)
{
    int fd = ask(w.service, EML_HOST_CREDENTIALS, 0, 0);
    enum eml_host_status s;
    assert_int_equal(eml_net_recv_frame(fd, EML_HOST_ANSWER_MAX, soon(), b), EML_OK);
    assert_int_equal(eml_host_credentials_decode(eml_buf_bytes(b), &s, c), EML_OK);
    eml_net_close(&fd);
    return s;
}

static void credentials_are_read_at_each_request(void **state)
{
    (void)state;
    struct eml_host_credentials c;
    struct eml_buf b = {0};
    assert_int_equal(credentials(&c, &b), EML_HOST_NOT_OFFERED);
    w.host.credentials = w.credentials;
    assert_int_equal(credentials(&c, &b), EML_HOST_SYSTEM);
    write_credentials("{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Token\":\"T\","
                      "\"Region\":\"eu-west-1\",\"Code\":\"Success\"}");
    assert_int_equal(credentials(&c, &b), EML_HOST_OK);
    assert_true(eml_bytes_equal(c.session_token, EML_LIT("T")));
    write_credentials("{\"AccessKeyId\":\"B\",\"SecretAccessKey\":\"S\",\"Region\":\"r\"}");
    assert_int_equal(credentials(&c, &b), EML_HOST_OK);
    assert_true(eml_bytes_equal(c.access_key_id, EML_LIT("B")));
    assert_int_equal(c.session_token.len, 0);
    static const char *const bad[] = {"", "{", "[]", "{\"AccessKeyId\":\"A\",\"Region\":\"r\"}",
                                      "{\"AccessKeyId\":1,\"SecretAccessKey\":\"S\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_credentials(bad[i]);
        assert_int_equal(credentials(&c, &b), EML_HOST_SYSTEM);
    }
    eml_buf_free(&b);
}

static void send_commit(int fd, uint64_t first, unsigned n)
{
    struct made m;
    struct eml_buf b = {0};
    assert_int_equal(eml_host_commit_encode(commit_of(&m, first, n, (struct eml_bytes){0}), &b),
                     EML_OK);
    assert_int_equal(eml_net_send_frame(fd, eml_buf_bytes(&b), soon()), EML_OK);
    assert_int_equal(hear(fd, 0).status, EML_HOST_OK);
    eml_buf_free(&b);
    eml_buf_free(&m.entries);
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        eml_buf_free(&m.hashes[level]);
}

static bool comes_to_be(const char *name, bool expected)
{
    for (int64_t until = soon(); there(name) != expected && eml_net_now_ms() < until;)
        (void)usleep(1000);
    return there(name) == expected;
}

/* Neither another commit nor the end of the connection is needed. */
static void files_are_put_in_order_soon_after_a_commit(void **state)
{
    (void)state;
    struct eml_buf b = {0};
    memcpy(dir, w.dir, sizeof dir); /* its names are others than the ports' */
    w.host.sink = opened();
    int fd = ask(w.service, EML_HOST_AUDIT, 0, 0);
    assert_int_equal(eml_net_recv_frame(fd, EML_HOST_LOG_STATE_MAX, soon(), &b), EML_OK);
    eml_buf_free(&b);
    send_commit(fd, 0, 3); /* takes what was made ahead before it */
    assert_true(comes_to_be("tile.new.0", true));
    send_commit(fd, 3, 2);
    assert_true(comes_to_be("tile/0/000.p/3", false));
    assert_true(there("tile/0/000.p/5"));
    eml_net_close(&fd);
}

/* A host that is full may have closed the connection before the request is sent. */
static bool is_served(void)
{
    const struct eml_host_request r = {.kind = EML_HOST_STAT};
    struct eml_buf request = {0}, answer = {0};
    struct eml_host_answer a;
    int fd = dial(w.client);
    assert_int_equal(eml_host_request_encode(&r, &request), EML_OK);
    bool ok = eml_net_send_frame(fd, eml_buf_bytes(&request), soon()) == EML_OK &&
              eml_net_recv_frame(fd, EML_HOST_ANSWER_MAX, soon(), &answer) == EML_OK &&
              eml_host_answer_decode(eml_buf_bytes(&answer), 0, &a) == EML_OK;
    eml_buf_free(&request);
    eml_buf_free(&answer);
    eml_net_close(&fd);
    return ok && a.status == EML_HOST_NOT_FOUND;
}

static void a_flood_is_told_to_wait_and_others_are_served_after(void **state)
{
    (void)state;
    int silent[CONNECTIONS];
    for (size_t i = 0; i < CONNECTIONS; i++) {
        silent[i] = dial(w.client);
        assert_int_equal(eml_net_send(silent[i], EML_LIT("\0"), soon()),
                         EML_OK); /* half a header */
    }
    while (w.metrics.active < CONNECTIONS)
        (void)usleep(1000);
    for (size_t i = 0; i < 100; i++) {
        int fd = dial(w.client);
        assert_int_equal(hear(fd, 0).status, EML_HOST_BUSY);
        eml_net_close(&fd);
    }
    /* The other port has its own limit. */
    assert_int_equal(once(w.service, EML_HOST_CREDENTIALS), EML_HOST_NOT_OFFERED);
    assert_int_equal(w.metrics.refused, 100);
    for (size_t i = 0; i < CONNECTIONS; i++)
        eml_net_close(&silent[i]);
    bool served = false;
    for (int64_t until = soon(); !served && eml_net_now_ms() < until;)
        served = is_served();
    assert_true(served);
}

static void http_get(uint16_t port, const char *request, struct eml_buf *out)
{
    char address[64];
    size_t got = 1;
    (void)snprintf(address, sizeof address, "tcp:127.0.0.1:%u", (unsigned)port);
    int fd = dial(address);
    assert_int_equal(eml_net_send(fd, eml_bytes_of_str(request), soon()), EML_OK);
    out->len = 0;
    while (got > 0) {
        uint8_t in[4096];
        assert_int_equal(eml_net_recv_some(fd, EML_ROOM(in), soon(), &got), EML_OK);
        eml_buf_put(out, eml_bytes(in, got));
    }
    eml_buf_put_u8(out, 0);
    eml_net_close(&fd);
}

static bool has(const struct eml_buf *b, const char *text)
{
    return strstr((const char *)b->ptr, text) != NULL;
}

static void metrics_count_what_happened(void **state)
{
    (void)state;
    struct eml_http *http;
    struct eml_buf b = {0};
    put(7, (const uint8_t *)"sealed", 6, EML_HOST_OK);
    the_relay_reaches_the_enclave(state);
    assert_int_equal(eml_http_start("127.0.0.1:0", &w.host, &http, NULL), EML_OK);
    /* A relay is counted when its thread has ended, its bytes last, shortly after its client saw
     * the end. */
    for (int64_t until = soon(); eml_net_now_ms() < until;) {
        http_get(eml_http_port(http),
                 "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &b);
        if (has(&b, "eml_host_relay_seconds_bucket{le=\"+Inf\"} 2\n") &&
            has(&b, "eml_host_bytes_total{way=\"client_to_enclave\"} 5\n"))
            break;
    }
    assert_true(has(&b, "HTTP/1.1 200"));
    assert_true(has(&b, "eml_host_connections_total{kind=\"put\"} 1\n"));
    assert_true(has(&b, "eml_host_bytes_total{way=\"client_to_enclave\"} 5\n"));
    assert_true(has(&b, "eml_host_store_bytes 6\n"));
    assert_true(has(&b, "eml_host_relay_seconds_bucket{le=\"+Inf\"} 2\n"));
    assert_true(has(&b, "eml_host_answers_total{status=\"unreachable\"} 1\n"));
    http_get(eml_http_port(http), "GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
             &b);
    assert_true(has(&b, "\r\n\r\nok\n"));
    http_get(eml_http_port(http), "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &b);
    assert_true(has(&b, "HTTP/1.1 404"));
    http_get(eml_http_port(http), "PUT /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
             &b);
    assert_true(has(&b, "HTTP/1.1 405"));
    eml_http_stop(http);
    eml_buf_free(&b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
    const struct CMUnitTest tests[] = {
        T(objects_go_in_and_out),
        T(a_client_that_leaves_in_the_middle_leaves_nothing),
        T(the_relay_reaches_the_enclave),
        T(each_port_serves_its_own_kinds),
        T(malformed_first_frames_are_answered_and_over),
        T(egress_only_where_configured),
        T(credentials_are_read_at_each_request),
        T(files_are_put_in_order_soon_after_a_commit),
        T(a_flood_is_told_to_wait_and_others_are_served_after),
        T(metrics_count_what_happened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
