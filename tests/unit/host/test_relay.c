#include "testsupport/support.h"

#include "host/limits.h"
#include "host/relay.h"
#include "net/net.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

/* client <-> [a relay b] <-> enclave */
struct fixture {
    int client, a, b, enclave;
    struct eml_relay_limits limits;
    struct eml_relay_bytes moved;
    enum eml_err err;
    int64_t ms;
    pthread_t thread;
};

static void *relay_main(void *arg)
{
    struct fixture *f = arg;
    int64_t start = eml_net_now_ms();
    f->err = eml_relay(f->a, f->b, &f->limits, &f->moved);
    f->ms = eml_net_now_ms() - start;
    eml_net_close(&f->a);
    eml_net_close(&f->b);
    return NULL;
}

static void begin(struct fixture *f, int64_t idle_ms, int64_t total_ms, uint64_t rate)
{
    int c[2], e[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, e), 0);
    *f = (struct fixture){
        .client = c[0], .a = c[1], .b = e[1], .enclave = e[0], .limits = {idle_ms, total_ms, rate}};
    assert_int_equal(pthread_create(&f->thread, NULL, relay_main, f), 0);
}

static void finish(struct fixture *f)
{
    assert_int_equal(pthread_join(f->thread, NULL), 0);
    eml_net_close(&f->client);
    eml_net_close(&f->enclave);
}

static int64_t soon(void)
{
    return eml_net_now_ms() + 20000;
}

struct flood {
    int fd;
    const uint8_t *bytes;
    size_t n;
};

static void *send_main(void *arg)
{
    struct flood *w = arg;
    return eml_net_send(w->fd, eml_bytes(w->bytes, w->n), soon()) == EML_OK ? w : NULL;
}

static void *flood_main(void *arg)
{
    struct flood *w = send_main(arg);
    if (w != NULL)
        (void)shutdown(w->fd, SHUT_WR);
    return NULL;
}

static void expect(int fd, const uint8_t *bytes, size_t n)
{
    static uint8_t in[2000000], end[1];
    size_t got;
    assert_int_equal(eml_net_recv(fd, (struct eml_room){in, n}, soon(), &got), EML_OK);
    assert_memory_equal(in, bytes, n);
    assert_int_equal(eml_net_recv_some(fd, EML_ROOM(end), soon(), &got), EML_OK);
    assert_int_equal(got, 0);
}

static void bytes_cross_both_ways_untouched(void **state)
{
    (void)state;
    static uint8_t up[1999999], down[1234567];
    struct eml_gen g = eml_gen_seeded("relay");
    eml_gen_fill(&g, up, sizeof up);
    eml_gen_fill(&g, down, sizeof down);
    struct fixture f;
    begin(&f, 20000, 20000, 0);
    struct flood a = {f.client, up, sizeof up}, b = {f.enclave, down, sizeof down};
    pthread_t t[2];
    assert_int_equal(pthread_create(&t[0], NULL, flood_main, &a), 0);
    expect(f.enclave, up, sizeof up);
    /* The client has ended its direction; the other one still works. */
    assert_int_equal(pthread_create(&t[1], NULL, flood_main, &b), 0);
    expect(f.client, down, sizeof down);
    assert_int_equal(pthread_join(t[0], NULL) + pthread_join(t[1], NULL), 0);
    finish(&f);
    assert_int_equal(f.err, EML_OK);
    assert_int_equal(f.moved.up, sizeof up);
    assert_int_equal(f.moved.down, sizeof down);
}

static void a_side_that_does_not_read_stops_the_other(void **state)
{
    (void)state;
    static uint8_t piece[65536];
    struct fixture f;
    begin(&f, 300, 20000, 0);
    size_t sent = 0;
    while (sent < 64u << 20 &&
           eml_net_send(f.client, EML_BYTES(piece), eml_net_now_ms() + 100) == EML_OK)
        sent += sizeof piece;
    assert_true(sent < 4u << 20);
    finish(&f);
    assert_int_equal(f.err, EML_E_NET);
}

static void silence_ends_it(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 60, 20000, 0);
    finish(&f);
    assert_int_equal(f.err, EML_E_NET);
    assert_in_range(f.ms, 59, 5000);
}

static void talk_without_end_ends_too(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 20000, 150, 0);
    uint8_t c = 1;
    while (eml_net_send(f.client, eml_bytes(&c, 1), soon()) == EML_OK &&
           eml_net_recv(f.enclave, (struct eml_room){&c, 1}, soon(), &(size_t){0}) == EML_OK)
        ;
    finish(&f);
    assert_int_equal(f.err, EML_E_NET);
    assert_in_range(f.ms, 149, 5000);
}

static void a_side_that_is_gone_ends_it(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct fixture f;
        begin(&f, 20000, 20000, 0);
        int *gone = side == 0 ? &f.client : &f.enclave, *left = side == 0 ? &f.enclave : &f.client;
        uint8_t byte[1];
        size_t got;
        eml_net_close(gone);
        assert_int_equal(eml_net_recv_some(*left, EML_ROOM(byte), soon(), &got), EML_OK);
        assert_int_equal(got, 0);
        eml_net_close(left);
        finish(&f);
        assert_int_equal(f.err, EML_OK);
        assert_true(f.ms < 5000);
    }
}

/* An enclave that refuses in the middle of a long request does not read the rest; what it says must
 * reach the client all the same. */
static void an_answer_survives_a_reader_that_is_gone(void **state)
{
    (void)state;
    static const uint8_t piece[65536];
    struct fixture f;
    uint8_t in[5];
    size_t got;
    begin(&f, 20000, 20000, 0);
    assert_int_equal(shutdown(f.enclave, SHUT_RD), 0);
    for (int i = 0; i < 4; i++)
        (void)!eml_net_send(f.client, EML_BYTES(piece), eml_net_now_ms() + 50);
    assert_int_equal(eml_net_send(f.enclave, EML_LIT("error"), soon()), EML_OK);
    assert_int_equal(eml_net_recv(f.client, EML_ROOM(in), soon(), &got), EML_OK);
    assert_memory_equal(in, "error", 5);
    eml_net_close(&f.enclave);
    finish(&f);
    assert_int_equal(f.err, EML_OK);
    assert_int_equal(f.moved.down, 5);
}

static void the_rate_is_kept(void **state)
{
    (void)state;
    static uint8_t bytes[300000];
    struct fixture f;
    begin(&f, 20000, 20000, 200000);
    struct flood w = {f.client, bytes, sizeof bytes};
    pthread_t t;
    int64_t start = eml_net_now_ms();
    assert_int_equal(pthread_create(&t, NULL, flood_main, &w), 0);
    expect(f.enclave, bytes, sizeof bytes);
    /* One second's worth at once, the other half second's worth at the rate. */
    assert_in_range(eml_net_now_ms() - start, 400, 5000);
    assert_int_equal(pthread_join(t, NULL), 0);
    eml_net_close(&f.enclave);
    finish(&f);
}

/* Resting whenever a buffer was filled would make this seconds. */
static void without_a_rate_it_does_not_rest(void **state)
{
    (void)state;
    static uint8_t bytes[1 << 20], in[1 << 20];
    enum { TIMES = 32 };
    struct fixture f;
    begin(&f, 20000, 20000, 0);
    int64_t start = eml_net_now_ms();
    for (int i = 0; i < TIMES; i++) {
        size_t got;
        struct flood w = {f.client, bytes, sizeof bytes};
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, i + 1 < TIMES ? send_main : flood_main, &w), 0);
        assert_int_equal(eml_net_recv(f.enclave, EML_ROOM(in), soon(), &got), EML_OK);
        assert_int_equal(got, sizeof in);
        assert_int_equal(pthread_join(t, NULL), 0);
    }
    assert_in_range(eml_net_now_ms() - start, 0, 2500);
    eml_net_close(&f.enclave);
    finish(&f);
    assert_int_equal(f.moved.up, sizeof bytes * TIMES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_cross_both_ways_untouched),
        cmocka_unit_test(a_side_that_does_not_read_stops_the_other),
        cmocka_unit_test(silence_ends_it),
        cmocka_unit_test(talk_without_end_ends_too),
        cmocka_unit_test(a_side_that_is_gone_ends_it),
        cmocka_unit_test(an_answer_survives_a_reader_that_is_gone),
        cmocka_unit_test(the_rate_is_kept),
        cmocka_unit_test(without_a_rate_it_does_not_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
