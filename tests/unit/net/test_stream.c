#include "testsupport/support.h"

#include "net/net.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct pair {
    int a, b;
};

static struct pair sockets(void)
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    return (struct pair){fd[0], fd[1]};
}

static void close_pair(struct pair p)
{
    eml_net_close(&p.a);
    eml_net_close(&p.b);
}

static int64_t in_ms(int64_t ms)
{
    return eml_net_now_ms() + ms;
}

static void put(int fd, const void *p, size_t n)
{
    assert_int_equal(write(fd, p, n), (ssize_t)n);
}

static void frames_round_trip(void **state)
{
    (void)state;
    struct pair p = sockets();
    struct eml_buf b = {0};
    assert_int_equal(eml_net_send_frame(p.a, EML_LIT("first"), in_ms(1000)), EML_OK);
    assert_int_equal(eml_net_send_frame(p.a, (struct eml_bytes){NULL, 0}, in_ms(1000)), EML_OK);
    assert_int_equal(eml_net_recv_frame(p.b, 5, in_ms(1000), &b), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), EML_LIT("first")));
    assert_int_equal(eml_net_recv_frame(p.b, 5, in_ms(1000), &b), EML_OK);
    assert_int_equal(b.len, 0);
    eml_buf_free(&b);
    close_pair(p);
}

static void a_long_frame_is_refused_before_room_is_made(void **state)
{
    (void)state;
    struct pair p = sockets();
    struct eml_buf b = {0};
    put(p.a, "\xff\xff\xff\xff", 4);
    assert_int_equal(eml_net_recv_frame(p.b, 1000, in_ms(1000), &b), EML_E_INPUT);
    assert_int_equal(b.cap, 0);
    put(p.a, "\0\0\x03\xe9", 4);
    assert_int_equal(eml_net_recv_frame(p.b, 1000, in_ms(1000), &b), EML_E_INPUT);
    eml_buf_free(&b);
    close_pair(p);
}

static void half_a_frame_then_silence_or_end(void **state)
{
    (void)state;
    static const uint8_t frame[] = {0, 0, 0, 6, 'a', 'b', 'c', 'd', 'e', 'f'};
    for (size_t n = 0; n < sizeof frame; n++) {
        struct eml_buf b = {0};
        struct pair p = sockets();
        if (n > 0)
            put(p.a, frame, n);
        int64_t start = eml_net_now_ms();
        assert_int_equal(eml_net_recv_frame(p.b, 100, in_ms(10), &b), EML_E_NET);
        assert_in_range(eml_net_now_ms() - start, 9, 2000);
        assert_int_equal(b.len, 0);
        close_pair(p);
        p = sockets();
        if (n > 0)
            put(p.a, frame, n);
        eml_net_close(&p.a);
        assert_int_equal(eml_net_recv_frame(p.b, 100, in_ms(5000), &b), EML_E_NET);
        assert_int_equal(b.len, 0);
        close_pair(p);
        eml_buf_free(&b);
    }
}

static void recv_counts_what_came(void **state)
{
    (void)state;
    struct pair p = sockets();
    uint8_t room[8];
    size_t got = 99;
    put(p.a, "abc", 3);
    eml_net_close(&p.a);
    assert_int_equal(eml_net_recv(p.b, EML_ROOM(room), in_ms(1000), &got), EML_E_NET);
    assert_int_equal(got, 3);
    assert_int_equal(eml_net_recv_some(p.b, EML_ROOM(room), in_ms(1000), &got), EML_OK);
    assert_int_equal(got, 0);
    close_pair(p);
}

static void a_peer_that_does_not_read_costs_the_deadline(void **state)
{
    (void)state;
    struct pair p = sockets();
    static uint8_t big[8 << 20];
    int64_t start = eml_net_now_ms();
    assert_int_equal(eml_net_send(p.a, EML_BYTES(big), in_ms(50)), EML_E_NET);
    assert_in_range(eml_net_now_ms() - start, 45, 5000);
    close_pair(p);
}

static void a_peer_that_is_gone_is_an_error_not_a_signal(void **state)
{
    (void)state;
    struct pair p = sockets();
    (void)signal(SIGPIPE, SIG_DFL);
    eml_net_close(&p.b);
    assert_int_equal(eml_net_send(p.a, EML_LIT("x"), in_ms(1000)), EML_E_NET);
    close_pair(p);
}

static void *drain(void *arg)
{
    struct eml_buf *b = arg;
    int fd = *(int *)(void *)b->ptr;
    eml_buf_free(b);
    assert_int_equal(eml_net_recv_frame(fd, 16 << 20, in_ms(20000), b), EML_OK);
    return NULL;
}

static void large_frames_cross_slow_sockets(void **state)
{
    (void)state;
    struct pair p = sockets();
    static uint8_t big[3000001];
    struct eml_gen g = eml_gen_seeded("large_frames");
    eml_gen_fill(&g, big, sizeof big);
    struct eml_buf b = {0};
    eml_buf_put(&b, eml_bytes(&p.b, sizeof p.b));
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, drain, &b), 0);
    assert_int_equal(eml_net_send_frame(p.a, EML_BYTES(big), in_ms(20000)), EML_OK);
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), EML_BYTES(big)));
    eml_buf_free(&b);
    close_pair(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_round_trip),
        cmocka_unit_test(a_long_frame_is_refused_before_room_is_made),
        cmocka_unit_test(half_a_frame_then_silence_or_end),
        cmocka_unit_test(recv_counts_what_came),
        cmocka_unit_test(a_peer_that_does_not_read_costs_the_deadline),
        cmocka_unit_test(a_peer_that_is_gone_is_an_error_not_a_signal),
        cmocka_unit_test(large_frames_cross_slow_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
