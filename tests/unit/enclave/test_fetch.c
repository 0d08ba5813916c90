#define _GNU_SOURCE
#include "testsupport/support.h"

#include "enclave/fetch.h"
#include "hostproto/hostproto.h"
#include "net/net.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint8_t id[EML_IPC_ID] = {0xab, 0xcd, [31] = 0xef};

static void arguments_round_trip(void **state)
{
    (void)state;
    char text[EML_FETCH_ARGUMENT];
    uint8_t back[EML_IPC_ID];
    uint64_t size;
    eml_fetch_argument(id, UINT64_MAX, text);
    assert_string_equal(
        text,
        "abcd0000000000000000000000000000000000000000000000000000000000ef:18446744073709551615");
    assert_int_equal(eml_fetch_parse(text, back, &size), EML_OK);
    assert_memory_equal(back, id, sizeof id);
    assert_int_equal(size, UINT64_MAX);
    for (size_t n = 0; n < 66; n++) {
        char cut[EML_FETCH_ARGUMENT] = {0};
        memcpy(cut, text, n);
        assert_int_equal(eml_fetch_parse(cut, back, &size), EML_E_USAGE);
    }
    text[66] = 'x';
    assert_int_equal(eml_fetch_parse(text, back, &size), EML_E_USAGE);
    text[3] = 'G';
    assert_int_equal(eml_fetch_parse(text, back, &size), EML_E_USAGE);
}

/* The host's whole answer lies ready; then its end of stream. */
static enum eml_err fetch(struct eml_bytes frame, struct eml_bytes body, uint64_t size, int file)
{
    int sock[2];
    struct eml_buf asked = {0};
    struct eml_host_request r;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
    int64_t soon = eml_net_now_ms() + 5000;
    assert_int_equal(eml_net_send_frame(sock[1], frame, soon), EML_OK);
    assert_int_equal(eml_net_send(sock[1], body, soon), EML_OK);
    assert_int_equal(shutdown(sock[1], SHUT_WR), 0);
    enum eml_err err = eml_fetch(sock[0], file, id, size);
    assert_int_equal(eml_net_recv_frame(sock[1], EML_HOST_REQUEST_MAX, soon, &asked), EML_OK);
    assert_int_equal(eml_host_request_decode(eml_buf_bytes(&asked), &r), EML_OK);
    assert_int_equal(r.kind, EML_HOST_GET);
    assert_memory_equal(r.id, id, sizeof id);
    eml_buf_free(&asked);
    eml_net_close(&sock[0]);
    eml_net_close(&sock[1]);
    return err;
}

static void the_host_may_answer_anything(void **state)
{
    (void)state;
    static const struct {
        const char *frame, *body;
        uint64_t size;
        enum eml_err expected;
    } cases[] = {
        {"000000000000000004", "abcd", 4, EML_OK},
        {"000000000000000004", "abcdefgh", 4, EML_OK}, /* what follows is not read */
        {"000000000000000004", "abc", 4, EML_E_NET},
        {"000000000000000004", "abcd", 5, EML_E_INPUT},
        {"000000000000000005", "abcde", 4, EML_E_INPUT},
        {"00ffffffffffffffff", "", 4, EML_E_INPUT},
        {"02", "", 4, EML_E_INPUT}, /* not found */
        {"05", "", 4, EML_E_NET},   /* busy */
        {"09", "", 4, EML_E_INPUT}, /* no such status */
        {"00", "", 4, EML_E_INPUT}, /* no size */
        {"", "", 4, EML_E_INPUT},
        {"0200000000", "", 4, EML_E_INPUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char got[8] = {0};
        struct eml_buf frame = eml_test_hex(cases[i].frame);
        int file = memfd_create("test", MFD_CLOEXEC);
        enum eml_err err =
            fetch(eml_buf_bytes(&frame), eml_bytes_of_str(cases[i].body), cases[i].size, file);
        if (err != cases[i].expected)
            fail_msg("case %zu: %s", i, eml_err_name(err));
        if (err == EML_OK) {
            assert_int_equal(pread(file, got, sizeof got, 0), 4);
            assert_string_equal(got, "abcd");
        }
        (void)close(file);
        eml_buf_free(&frame);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_round_trip),
        cmocka_unit_test(the_host_may_answer_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
