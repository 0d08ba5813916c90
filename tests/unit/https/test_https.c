#include "testsupport/pki.h"
#include "testsupport/support.h"

#include "https/https.h"
#include "net/net.h"

#include <openssl/evp.h>

#include <sys/socket.h>
#include <time.h>

static void make_ca(struct eml_buf *pem)
{
    int64_t now = (int64_t)time(NULL);
    const struct eml_test_cert spec = {.subject = "test ca",
                                       .constraints = "critical,CA:TRUE",
                                       .key_usage = "critical,keyCertSign",
                                       .not_before = now - 60,
                                       .not_after = now + 3600};
    struct eml_buf der = {0};
    EVP_PKEY_free(eml_test_certify(&spec, NULL, NULL, &der));
    eml_test_pem(eml_buf_bytes(&der), pem);
    eml_buf_free(&der);
}

/* What the peer says before it goes away, and how the call must end. The rule is always the call's
 * own, never one that was left from an earlier failure. */
static void failures_name_their_own_rule(void **state)
{
    (void)state;
    const struct {
        struct eml_bytes said;
        enum eml_err want;
        const char *rule;
    } cases[] = {
        {{NULL, 0}, EML_E_NET, "https: the connection failed"},
        {EML_LIT("HTTP/1.1 200 OK\r\n\r\n"), EML_E_INPUT, "tls: handshake failed"},
    };
    struct eml_buf pem = {0};
    make_ca(&pem);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd[2];
        struct eml_why why = {"left from an earlier failure", 7};
        struct eml_http1_response r;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
        const struct eml_https_peer peer = {fd[0], eml_buf_bytes(&pem), "kms.example",
                                            eml_net_now_ms() + 5000};
        if (cases[i].said.len != 0)
            assert_int_equal(eml_net_send(fd[1], cases[i].said, peer.deadline_ms), EML_OK);
        else
            eml_net_close(&fd[1]);
        assert_int_equal(eml_https_call(&peer, EML_LIT("GET / HTTP/1.1\r\n\r\n"), 100, &r, &why),
                         cases[i].want);
        assert_string_equal(why.rule, cases[i].rule);
        assert_int_equal(why.index, -1);
        assert_int_equal(r.n_headers, 0);
        assert_null(r.body.ptr);
        eml_net_close(&fd[0]);
        eml_net_close(&fd[1]);
    }
    eml_buf_free(&pem);
}

static void a_silent_peer_ends_at_the_deadline(void **state)
{
    (void)state;
    int fd[2];
    struct eml_buf pem = {0};
    struct eml_why why = {0};
    struct eml_http1_response r;
    make_ca(&pem);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    const struct eml_https_peer peer = {fd[0], eml_buf_bytes(&pem), "kms.example",
                                        eml_net_now_ms() + 100};
    assert_int_equal(eml_https_call(&peer, EML_LIT("GET / HTTP/1.1\r\n\r\n"), 100, &r, &why),
                     EML_E_NET);
    assert_true(eml_net_now_ms() >= peer.deadline_ms);
    eml_net_close(&fd[0]);
    eml_net_close(&fd[1]);
    eml_buf_free(&pem);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_name_their_own_rule),
        cmocka_unit_test(a_silent_peer_ends_at_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
