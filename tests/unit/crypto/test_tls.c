#include "testsupport/pki.h"
#include "testsupport/support.h"

#include "crypto/crypto.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <string.h>
#include <time.h>

/* A server over memory, by OpenSSL's own interface; bytes are carried by hand. */
struct server {
    struct eml_buf ca_pem;
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
};

static EVP_PKEY *make_ca(struct eml_buf *der)
{
    int64_t now = (int64_t)time(NULL);
    struct eml_test_cert ca = {.subject = "test ca",
                               .constraints = "critical,CA:TRUE",
                               .key_usage = "critical,keyCertSign",
                               .not_before = now - 60,
                               .not_after = now + 3600};
    return eml_test_certify(&ca, NULL, NULL, der);
}

static struct server make_server(const char *names, int64_t valid_s, int max_version)
{
    struct server s = {0};
    struct eml_buf ca_der = {0}, der = {0};
    EVP_PKEY *ca = make_ca(&ca_der);
    int64_t now = (int64_t)time(NULL);
    struct eml_test_cert spec = {.subject = "server",
                                 .constraints = "CA:FALSE",
                                 .key_usage = "digitalSignature",
                                 .dns = names,
                                 .not_before = now - 7200,
                                 .not_after = now + valid_s};
    EVP_PKEY *key = eml_test_certify(&spec, "test ca", ca, &der);
    eml_test_pem(eml_buf_bytes(&ca_der), &s.ca_pem);
    s.ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate_ASN1(s.ctx, (int)der.len, der.ptr), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(s.ctx, key), 1);
    assert_int_equal(SSL_CTX_set_min_proto_version(s.ctx, TLS1_VERSION), 1);
    SSL_CTX_set_security_level(s.ctx, 0);
    assert_int_equal(SSL_CTX_set_max_proto_version(s.ctx, max_version), 1);
    s.ssl = SSL_new(s.ctx);
    s.in = BIO_new(BIO_s_mem());
    s.out = BIO_new(BIO_s_mem());
    SSL_set_bio(s.ssl, s.in, s.out);
    SSL_set_accept_state(s.ssl);
    EVP_PKEY_free(ca);
    EVP_PKEY_free(key);
    eml_buf_free(&ca_der);
    eml_buf_free(&der);
    return s;
}

static void drop(struct server *s)
{
    SSL_free(s->ssl);
    SSL_CTX_free(s->ctx);
    eml_buf_free(&s->ca_pem);
}

static void to_server(struct eml_tls *t, struct server *s)
{
    struct eml_buf b = {0};
    assert_int_equal(eml_tls_drain(t, &b), EML_OK);
    if (b.len != 0)
        assert_int_equal(BIO_write(s->in, b.ptr, (int)b.len), (int)b.len);
    eml_buf_free(&b);
}

/* In pieces of 100 bytes, as a network may. */
static size_t to_client(struct server *s, struct eml_tls *t)
{
    uint8_t piece[100];
    size_t sum = 0;
    for (int n; (n = BIO_read(s->out, piece, sizeof piece)) > 0; sum += (size_t)n)
        assert_int_equal(eml_tls_feed(t, eml_bytes(piece, (size_t)n)), EML_OK);
    return sum;
}

static enum eml_err shake(struct eml_tls *t, struct server *s, struct eml_why *why)
{
    for (int i = 0; i < 20; i++) {
        enum eml_tls_want want;
        EML_TRY(eml_tls_handshake(t, &want, why));
        to_server(t, s);
        int r = SSL_do_handshake(s->ssl);
        if (want == EML_TLS_DONE && r == 1)
            return EML_OK;
        if (to_client(s, t) == 0 && want == EML_TLS_WANT_READ)
            assert_int_equal(eml_tls_feed(t, (struct eml_bytes){0}), EML_OK);
    }
    return EML_E_SYSTEM;
}

static void speaks_with_a_trusted_server(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        struct server s = make_server("DNS:kms.example,IP:127.0.0.1", 3600, versions[i]);
        struct eml_tls *t = NULL;
        struct eml_buf got = {0};
        bool eof = true;
        static uint8_t big[100000], back[100000];
        struct eml_gen g = eml_gen_seeded("tls");
        eml_gen_fill(&g, big, sizeof big);
        const char *host = i == 0 ? "kms.example" : "127.0.0.1";
        assert_int_equal(eml_tls_client(eml_buf_bytes(&s.ca_pem), host, &t), EML_OK);
        assert_int_equal(shake(t, &s, NULL), EML_OK);
        assert_int_equal(SSL_version(s.ssl), versions[i]);
        assert_int_equal(eml_tls_write(t, EML_BYTES(big)), EML_OK);
        to_server(t, &s);
        size_t n = 0;
        for (int r; n < sizeof back && (r = SSL_read(s.ssl, back + n, (int)(sizeof back - n))) > 0;)
            n += (size_t)r;
        assert_int_equal(n, sizeof back);
        assert_memory_equal(big, back, sizeof big);
        assert_int_equal(SSL_write(s.ssl, big, 50000), 50000);
        (void)to_client(&s, t);
        assert_int_equal(eml_tls_read(t, &got, &eof), EML_OK);
        assert_false(eof);
        assert_true(eml_bytes_equal(eml_buf_bytes(&got), eml_bytes(big, 50000)));
        assert_true(SSL_shutdown(s.ssl) >= 0);
        (void)to_client(&s, t);
        assert_int_equal(eml_tls_feed(t, (struct eml_bytes){0}), EML_OK);
        assert_int_equal(eml_tls_read(t, &got, &eof), EML_OK);
        assert_true(eof);
        assert_int_equal(got.len, 50000);
        eml_buf_free(&got);
        eml_tls_free(t);
        drop(&s);
    }
}

static void expect_refusal(struct server *s, struct eml_bytes ca, const char *host,
                           enum eml_err class, const char *rule)
{
    struct eml_tls *t = NULL;
    struct eml_why why = {0};
    assert_int_equal(eml_tls_client(ca, host, &t), EML_OK);
    assert_int_equal(shake(t, s, &why), class);
    assert_string_equal(why.rule, rule);
    assert_int_not_equal(eml_tls_write(t, EML_LIT("secret")), EML_OK);
    eml_tls_free(t);
    drop(s);
}

static void refuses_servers_that_are_not_trusted(void **state)
{
    (void)state;
    struct server s = make_server("DNS:kms.example", 3600, TLS1_3_VERSION);
    expect_refusal(&s, eml_buf_bytes(&s.ca_pem), "other.example", EML_E_AUTH,
                   "tls: certificate is for another name");
    s = make_server("DNS:kms.example", 3600, TLS1_3_VERSION);
    expect_refusal(&s, eml_buf_bytes(&s.ca_pem), "127.0.0.1", EML_E_AUTH,
                   "tls: certificate is for another name");
    s = make_server("DNS:kms.example", -3600, TLS1_3_VERSION);
    expect_refusal(&s, eml_buf_bytes(&s.ca_pem), "kms.example", EML_E_AUTH,
                   "tls: certificate not valid now");
    s = make_server("DNS:kms.example", 3600, TLS1_1_VERSION);
    expect_refusal(&s, eml_buf_bytes(&s.ca_pem), "kms.example", EML_E_INPUT,
                   "tls: handshake failed");
    struct server other = make_server("DNS:kms.example", 3600, TLS1_3_VERSION);
    s = make_server("DNS:kms.example", 3600, TLS1_3_VERSION);
    expect_refusal(&s, eml_buf_bytes(&other.ca_pem), "kms.example", EML_E_AUTH,
                   "tls: certificate does not lead to a trusted root");
    drop(&other);
}

static void a_cut_or_changed_stream_is_not_authentic(void **state)
{
    (void)state;
    for (int change = 0; change <= 1; change++) {
        struct server s = make_server("DNS:kms.example", 3600, TLS1_3_VERSION);
        struct eml_tls *t = NULL;
        struct eml_buf got = {0};
        bool eof;
        uint8_t record[200];
        assert_int_equal(eml_tls_client(eml_buf_bytes(&s.ca_pem), "kms.example", &t), EML_OK);
        assert_int_equal(shake(t, &s, NULL), EML_OK);
        (void)to_client(&s, t);
        assert_int_equal(SSL_write(s.ssl, "answer", 6), 6);
        int n = BIO_read(s.out, record, sizeof record);
        assert_true(n > 20);
        record[n - 1] ^= (uint8_t)change;
        assert_int_equal(eml_tls_feed(t, eml_bytes(record, (size_t)n)), EML_OK);
        if (change == 0) {
            assert_int_equal(eml_tls_read(t, &got, &eof), EML_OK);
            assert_true(eml_bytes_equal(eml_buf_bytes(&got), EML_LIT("answer")));
            assert_int_equal(eml_tls_feed(t, (struct eml_bytes){0}), EML_OK);
        }
        assert_int_equal(eml_tls_read(t, &got, &eof), EML_E_AUTH);
        assert_false(eof);
        eml_buf_free(&got);
        eml_tls_free(t);
        drop(&s);
    }
}

static void nonsense_and_floods_are_refused(void **state)
{
    (void)state;
    struct server s = make_server("DNS:kms.example", 3600, TLS1_3_VERSION);
    struct eml_tls *t = NULL;
    struct eml_why why = {0};
    enum eml_tls_want want;
    static uint8_t flood[1 << 20];
    assert_int_equal(eml_tls_client(EML_LIT("no pem"), "kms.example", &t), EML_E_INPUT);
    assert_null(t);
    assert_int_equal(eml_tls_client(eml_bytes(s.ca_pem.ptr, s.ca_pem.len / 2), "kms.example", &t),
                     EML_E_INPUT);
    assert_int_equal(eml_tls_client(eml_buf_bytes(&s.ca_pem), "kms.example", &t), EML_OK);
    assert_int_equal(eml_tls_handshake(t, &want, &why), EML_OK);
    assert_int_equal(eml_tls_feed(t, EML_BYTES(flood)), EML_OK);
    assert_int_equal(eml_tls_feed(t, EML_LIT("x")), EML_E_INPUT);
    assert_int_equal(eml_tls_handshake(t, &want, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "tls: handshake failed");
    eml_tls_free(t);
    assert_int_equal(eml_tls_client(eml_buf_bytes(&s.ca_pem), "kms.example", &t), EML_OK);
    assert_int_equal(eml_tls_feed(t, (struct eml_bytes){0}), EML_OK);
    assert_int_equal(eml_tls_handshake(t, &want, &why), EML_E_NET);
    eml_tls_free(t);
    drop(&s);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speaks_with_a_trusted_server),
        cmocka_unit_test(refuses_servers_that_are_not_trusted),
        cmocka_unit_test(a_cut_or_changed_stream_is_not_authentic),
        cmocka_unit_test(nonsense_and_floods_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
