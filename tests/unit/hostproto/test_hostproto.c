#include "testsupport/support.h"

#include "hostproto/hostproto.h"

#include <string.h>

static const enum eml_host_kind kinds[] = {
    EML_HOST_RELAY, EML_HOST_PUT,    EML_HOST_STAT,        EML_HOST_HEALTH,
    EML_HOST_GET,   EML_HOST_EGRESS, EML_HOST_CREDENTIALS, EML_HOST_AUDIT,
};

static struct eml_host_request sample(enum eml_host_kind kind)
{
    struct eml_host_request r = {.kind = kind};
    if (kind == EML_HOST_PUT || kind == EML_HOST_STAT || kind == EML_HOST_GET)
        for (size_t i = 0; i < sizeof r.id; i++)
            r.id[i] = (uint8_t)(i + 1);
    if (kind == EML_HOST_PUT)
        r.size = 0x0102030405060708;
    return r;
}

static void requests_round_trip_and_only_whole(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        struct eml_host_request in = sample(kinds[k]), out;
        struct eml_buf b = {0};
        assert_int_equal(eml_host_request_encode(&in, &b), EML_OK);
        assert_true(b.len <= EML_HOST_REQUEST_MAX);
        assert_int_equal(eml_host_request_decode(eml_buf_bytes(&b), &out), EML_OK);
        assert_int_equal(out.kind, in.kind);
        assert_int_equal(out.size, in.size);
        assert_memory_equal(out.id, in.id, sizeof in.id);
        for (size_t n = 0; n < b.len; n++) {
            assert_int_equal(eml_host_request_decode(eml_bytes(b.ptr, n), &out), EML_E_INPUT);
            assert_int_equal(out.size, 0);
        }
        eml_buf_put_u8(&b, 0);
        assert_int_equal(eml_host_request_decode(eml_buf_bytes(&b), &out), EML_E_INPUT);
        eml_buf_free(&b);
    }
}

static void unknown_kinds_are_refused(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 256; kind++) {
        uint8_t frame[1] = {(uint8_t)kind};
        struct eml_host_request out;
        bool alone = kind == 'R' || kind == 'H' || kind == 'E' || kind == 'C' || kind == 'A';
        assert_int_equal(eml_host_request_decode(EML_BYTES(frame), &out),
                         alone ? EML_OK : EML_E_INPUT);
    }
}

static void the_put_request_on_the_wire(void **state)
{
    (void)state;
    struct eml_host_request in = sample(EML_HOST_PUT);
    struct eml_buf b = {0};
    struct eml_buf expected =
        eml_test_hex("50"
                     "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
                     "0102030405060708");
    assert_int_equal(eml_host_request_encode(&in, &b), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_buf_bytes(&expected)));
    eml_buf_free(&expected);
    eml_buf_free(&b);
}

static void answers_round_trip(void **state)
{
    (void)state;
    for (unsigned s = 0; s < 256; s++) {
        for (size_t n = 0; n <= 2; n++) {
            struct eml_buf b = {0};
            struct eml_host_answer out, in = {(enum eml_host_status)s, n, {7, 1ull << 60}};
            assert_int_equal(eml_host_answer_encode(&in, &b), EML_OK);
            enum eml_err e = eml_host_answer_decode(eml_buf_bytes(&b), n, &out);
            assert_int_equal(e, s < EML_HOST_STATUS_N ? EML_OK : EML_E_INPUT);
            assert_int_equal(out.status, e == EML_OK ? s : EML_HOST_SYSTEM);
            assert_int_equal(out.number[1], s == 0 && n == 2 ? 1ull << 60 : 0);
            for (size_t cut = 0; cut < b.len; cut++)
                assert_int_equal(eml_host_answer_decode(eml_bytes(b.ptr, cut), n, &out),
                                 EML_E_INPUT);
            eml_buf_free(&b);
        }
    }
}

static void every_status_has_class_and_sentence(void **state)
{
    (void)state;
    for (unsigned s = 0; s < EML_HOST_STATUS_N; s++) {
        assert_true((eml_host_status_err((enum eml_host_status)s) == EML_OK) == (s == 0));
        assert_non_null(strstr(eml_host_status_rule((enum eml_host_status)s), "host: "));
    }
    assert_int_equal(eml_host_status_err((enum eml_host_status)99), EML_E_INPUT);
}

static void credentials_round_trip_and_are_checked(void **state)
{
    (void)state;
    struct eml_host_credentials out,
        in = {EML_LIT("AKID"), EML_LIT("secret"), EML_LIT("token"), EML_LIT("us-east-1")};
    struct eml_buf b = {0};
    enum eml_host_status s;
    assert_int_equal(eml_host_credentials_encode(&in, &b), EML_OK);
    assert_int_equal(eml_host_credentials_decode(eml_buf_bytes(&b), &s, &out), EML_OK);
    assert_int_equal(s, EML_HOST_OK);
    assert_true(eml_bytes_equal(out.secret_access_key, in.secret_access_key));
    assert_true(eml_bytes_equal(out.region, in.region));
    for (size_t n = 0; n < b.len; n++) {
        assert_int_equal(eml_host_credentials_decode(eml_bytes(b.ptr, n), &s, &out), EML_E_INPUT);
        assert_null(out.secret_access_key.ptr);
    }
    b.len = 0;
    in.session_token = (struct eml_bytes){NULL, 0};
    assert_int_equal(eml_host_credentials_encode(&in, &b), EML_OK);
    in.region = (struct eml_bytes){NULL, 0};
    assert_int_equal(eml_host_credentials_encode(&in, &b), EML_E_INPUT);
    static uint8_t big[EML_HOST_CREDENTIAL_MAX + 1];
    in.region = EML_BYTES(big);
    assert_int_equal(eml_host_credentials_encode(&in, &b), EML_E_INPUT);
    const uint8_t refused[] = {EML_HOST_NOT_OFFERED};
    assert_int_equal(eml_host_credentials_decode(EML_BYTES(refused), &s, &out), EML_OK);
    assert_int_equal(s, EML_HOST_NOT_OFFERED);
    eml_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_round_trip_and_only_whole),
        cmocka_unit_test(unknown_kinds_are_refused),
        cmocka_unit_test(the_put_request_on_the_wire),
        cmocka_unit_test(answers_round_trip),
        cmocka_unit_test(every_status_has_class_and_sentence),
        cmocka_unit_test(credentials_round_trip_and_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
