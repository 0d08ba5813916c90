#include "testsupport/support.h"

#include "enclave/ipc.h"
#include "enclave/limits.h"
#include "net/net.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const size_t length[EML_IPC_N] = {
    [EML_IPC_ATTEST] = 1 + 32 + 69,
    [EML_IPC_KMS_DOCUMENT] = 1,
    [EML_IPC_KMS_UNWRAP] = 1 + 256,
    [EML_IPC_WEIGHTS] = 1 + 32 + 8,
    [EML_IPC_WEIGHTS_BAD] = 1 + 32,
    [EML_IPC_HOST_CONNECT] = 1,
    [EML_IPC_BEGIN] = 1,
    [EML_IPC_REPORT] = 1 + 1 + 6 * 8, /* of a failure */
    [EML_IPC_DESTROYED] = 1 + 3 * 8,
};
enum { REPORT_OK = 1 + 1 + 6 * 8 + 1 + 1 + 8 + 8 + 16 + 4 * 32 };

static size_t length_of(const uint8_t *message)
{
    bool ok = message[0] == EML_IPC_REPORT && message[1] == EML_OK;
    return ok ? (size_t)REPORT_OK : length[message[0]];
}

static void every_type_has_one_length(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        for (size_t n = 0; n <= EML_IPC_REQUEST_MAX + 1; n++) {
            uint8_t message[EML_IPC_REQUEST_MAX + 1] = {(uint8_t)type};
            struct eml_ipc_request r;
            bool right = type > 0 && type < EML_IPC_N && n == length_of(message);
            assert_int_equal(eml_ipc_decode(eml_bytes(message, n), &r),
                             right ? EML_OK : EML_E_INPUT);
            assert_int_equal(r.type, right ? type : 0);
        }
    }
}

static void messages_round_trip(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("ipc");
    for (int i = 0; i < 2000; i++) {
        uint8_t message[EML_IPC_REQUEST_MAX];
        struct eml_ipc_request r;
        struct eml_buf again = {0};
        uint8_t type = (uint8_t)eml_gen_range(&g, 1, EML_IPC_N - 1);
        eml_gen_fill(&g, message, sizeof message);
        message[0] = type;
        message[1] &= EML_E_SYSTEM;            /* a class, where it is one */
        if (length_of(message) == REPORT_OK) { /* mode and kernel set */
            message[50] &= 1;
            message[51] %= 3;
        }
        assert_int_equal(eml_ipc_decode(eml_bytes(message, length_of(message)), &r), EML_OK);
        assert_int_equal(eml_ipc_encode(&r, &again), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&again), eml_bytes(message, length_of(message))));
        eml_buf_free(&again);
    }
    uint8_t report[1 + 1 + 48] = {EML_IPC_REPORT, EML_E_SYSTEM + 1};
    struct eml_ipc_request r;
    assert_int_equal(eml_ipc_decode(EML_BYTES(report), &r), EML_E_INPUT);
    uint8_t ok[REPORT_OK] = {EML_IPC_REPORT};
    assert_int_equal(eml_ipc_decode(EML_BYTES(ok), &r), EML_OK);
    ok[50] = 2; /* no mode */
    assert_int_equal(eml_ipc_decode(EML_BYTES(ok), &r), EML_E_INPUT);
    ok[50] = 1;
    ok[51] = 3; /* no kernel set */
    assert_int_equal(eml_ipc_decode(EML_BYTES(ok), &r), EML_E_INPUT);
}

static void pair(int sock[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock), 0);
}

static int64_t soon(void)
{
    return eml_net_now_ms() + 5000;
}

static void descriptors_come_only_where_wanted(void **state)
{
    (void)state;
    int sock[2], fd = -1, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    uint8_t in[8];
    size_t n;
    pair(sock);
    assert_int_equal(eml_ipc_send(sock[0], EML_LIT("fd"), null), EML_OK);
    assert_int_equal(eml_ipc_recv(sock[1], soon(), EML_ROOM(in), &n, &fd), EML_OK);
    assert_int_equal(n, 2);
    assert_true(fd >= 0 && fd != null && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    int next = fd;
    eml_net_close(&fd);
    assert_int_equal(eml_ipc_send(sock[0], EML_LIT("fd"), null), EML_OK);
    assert_int_equal(eml_ipc_recv(sock[1], soon(), EML_ROOM(in), &n, NULL), EML_E_INPUT);
    assert_int_equal(n, 0);
    /* What was not wanted was closed: the number is free again. */
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fd, next);
    eml_net_close(&fd);
    eml_net_close(&null);
    eml_net_close(&sock[0]);
    eml_net_close(&sock[1]);
}

static void long_and_missing_packets(void **state)
{
    (void)state;
    int sock[2], fd;
    uint8_t in[4];
    size_t n;
    pair(sock);
    assert_int_equal(eml_ipc_send(sock[0], EML_LIT("12345"), -1), EML_OK);
    assert_int_equal(eml_ipc_recv(sock[1], soon(), EML_ROOM(in), &n, &fd), EML_E_INPUT);
    assert_int_equal(eml_ipc_recv(sock[1], eml_net_now_ms() + 20, EML_ROOM(in), &n, &fd),
                     EML_E_NET);
    eml_net_close(&sock[0]);
    assert_int_equal(eml_ipc_recv(sock[1], soon(), EML_ROOM(in), &n, &fd), EML_E_NET);
    assert_int_equal(eml_ipc_send(sock[1], EML_LIT("1"), -1), EML_E_NET);
    assert_int_equal(fd, -1);
    eml_net_close(&sock[1]);
}

/* The broker's answer lies ready before the worker asks. */
static enum eml_err call(const char *answer_hex, int answer_fd, struct eml_ipc_answer *a)
{
    const struct eml_ipc_request r = {.type = EML_IPC_DESTROYED};
    struct eml_buf answer = eml_test_hex(answer_hex);
    int sock[2];
    pair(sock);
    assert_int_equal(eml_ipc_send(sock[1], eml_buf_bytes(&answer), answer_fd), EML_OK);
    enum eml_err err = eml_ipc_call(sock[0], &r, soon(), a);
    eml_net_close(&sock[0]);
    eml_net_close(&sock[1]);
    eml_buf_free(&answer);
    return err;
}

static void answers_are_what_was_asked_for(void **state)
{
    (void)state;
    uint8_t body[2] = {0};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct eml_ipc_answer a = {.body = EML_ROOM(body)};
    assert_int_equal(call("000102", -1, &a), EML_OK);
    assert_int_equal(a.len, 2);
    assert_int_equal(body[1], 2);
    assert_int_equal(call("00010203", -1, &a), EML_E_SYSTEM); /* more than there is room for */
    assert_int_equal(call("04", -1, &a), EML_E_REFUSED);
    assert_int_equal(call("08", -1, &a), EML_E_SYSTEM); /* no such class */
    assert_int_equal(call("00", null, &a), EML_E_SYSTEM);
    a.wants_fd = true;
    assert_int_equal(call("00", -1, &a), EML_E_SYSTEM);
    assert_int_equal(a.fd, -1);
    assert_int_equal(call("00", null, &a), EML_OK);
    assert_true(a.fd >= 0);
    eml_net_close(&a.fd);
    eml_net_close(&null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_one_length),
        cmocka_unit_test(messages_round_trip),
        cmocka_unit_test(descriptors_come_only_where_wanted),
        cmocka_unit_test(long_and_missing_packets),
        cmocka_unit_test(answers_are_what_was_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
