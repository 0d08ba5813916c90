#include "testsupport/support.h"

#include "nsm/nsm.h"

#include <jansson.h>
#include <string.h>

static json_t *vectors(void)
{
    json_error_t error;
    json_t *v = json_load_file(EML_VECTORS "/nsm/nsm-cbor.json", 0, &error);
    assert_non_null(v);
    assert_int_equal(json_array_size(v), 26);
    return v;
}

static const char *member(const json_t *v, const char *name)
{
    return json_string_value(json_object_get(v, name));
}

static struct eml_buf vector(const char *kind, const char *name)
{
    struct eml_buf b = {.failed = true};
    json_t *all = vectors(), *v;
    size_t i;
    json_array_foreach(all, i, v) if (strcmp(member(v, "kind"), kind) == 0 &&
                                      strcmp(member(v, "name"), name) == 0) b =
        eml_test_hex(member(v, "cbor_hex"));
    json_decref(all);
    assert_false(b.failed);
    return b;
}

static enum eml_nsm_call call_of(const char *name)
{
    static const char *const names[] = {"DescribeNSM", "DescribePCR", "ExtendPCR",  "LockPCR",
                                        "LockPCRs",    "GetRandom",   "Attestation"};
    size_t len = strcspn(name, "-");
    for (size_t i = 0; i < EML_NSM_CALLS_N; i++)
        if (strlen(names[i]) == len && strncmp(names[i], name, len) == 0)
            return (enum eml_nsm_call)i;
    fail_msg("no call: %s", name);
    return EML_NSM_CALLS_N;
}

static void every_request_round_trips(void **state)
{
    (void)state;
    json_t *all = vectors(), *v;
    size_t i, tried = 0;
    json_array_foreach(all, i, v)
    {
        if (strcmp(member(v, "kind"), "request") != 0)
            continue;
        struct eml_buf in = eml_test_hex(member(v, "cbor_hex")), out = {0};
        struct eml_nsm_request r;
        assert_int_equal(eml_nsm_request_decode(eml_buf_bytes(&in), &r), EML_OK);
        assert_int_equal(r.call, call_of(member(v, "name")));
        assert_int_equal(eml_nsm_request_encode(&r, &out), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&in), eml_buf_bytes(&out)));
        eml_buf_free(&in);
        eml_buf_free(&out);
        tried++;
    }
    assert_int_equal(tried, 9);
    json_decref(all);
}

static void every_response_is_read(void **state)
{
    (void)state;
    json_t *all = vectors(), *v;
    size_t i, tried = 0;
    json_array_foreach(all, i, v)
    {
        const char *name = member(v, "name");
        if (strcmp(member(v, "kind"), "response") != 0 || strncmp(name, "Error-", 6) == 0)
            continue;
        struct eml_buf in = eml_test_hex(member(v, "cbor_hex")), out = {0};
        struct eml_nsm_response r, again;
        struct eml_why why = {0};
        enum eml_nsm_call call = call_of(name);
        assert_int_equal(eml_nsm_response_decode(eml_buf_bytes(&in), call, &r, &why), EML_OK);
        assert_int_equal(eml_nsm_response_encode(&r, &out), EML_OK);
        bool other_form = strstr(name, "qemu") != NULL || strstr(name, "indefinite") != NULL;
        assert_int_equal(eml_bytes_equal(eml_buf_bytes(&in), eml_buf_bytes(&out)), !other_form);
        assert_int_equal(eml_nsm_response_decode(eml_buf_bytes(&out), call, &again, &why), EML_OK);
        assert_int_equal(r.lock, again.lock);
        assert_true(eml_bytes_equal(r.data, again.data));
        assert_true(eml_bytes_equal(r.random, again.random));
        for (int other = 0; other < EML_NSM_CALLS_N; other++) /* no other call's answer */
            assert_int_equal(eml_nsm_response_decode(eml_buf_bytes(&in), (enum eml_nsm_call)other,
                                                     &again, &why) == EML_OK,
                             other == (int)call);
        eml_buf_free(&in);
        eml_buf_free(&out);
        tried++;
    }
    assert_int_equal(tried, 9);
    json_decref(all);
}

static void errors_come_by_name(void **state)
{
    (void)state;
    json_t *all = vectors(), *v;
    size_t i, tried = 0;
    json_array_foreach(all, i, v)
    {
        const char *name = member(v, "name");
        if (strncmp(name, "Error-", 6) != 0)
            continue;
        struct eml_buf in = eml_test_hex(member(v, "cbor_hex")), out = {0};
        struct eml_nsm_response r;
        struct eml_why why = {0};
        assert_int_equal(eml_nsm_response_decode(eml_buf_bytes(&in), EML_NSM_LOCK_PCR, &r, &why),
                         EML_E_REFUSED);
        assert_string_equal(why.rule, name + 6);
        assert_int_equal(eml_nsm_response_encode(&r, &out), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&in), eml_buf_bytes(&out)));
        eml_buf_free(&in);
        eml_buf_free(&out);
        tried++;
    }
    assert_int_equal(tried, EML_NSM_ERRORS_N - 1);
    json_decref(all);
}

static void values_are_those_of_the_vectors(void **state)
{
    (void)state;
    struct eml_nsm_request q;
    struct eml_nsm_response r;
    struct eml_buf b = vector("request", "ExtendPCR-16");
    assert_int_equal(eml_nsm_request_decode(eml_buf_bytes(&b), &q), EML_OK);
    assert_int_equal(q.index, 16);
    assert_true(eml_bytes_equal(q.data, EML_LIT("\1\2\3")));
    eml_buf_free(&b);
    b = vector("request", "LockPCRs-32");
    assert_int_equal(eml_nsm_request_decode(eml_buf_bytes(&b), &q), EML_OK);
    assert_int_equal(q.range, 32);
    eml_buf_free(&b);
    b = vector("request", "Attestation-all");
    assert_int_equal(eml_nsm_request_decode(eml_buf_bytes(&b), &q), EML_OK);
    assert_true(eml_bytes_equal(q.user_data, EML_LIT("ud")));
    assert_int_equal(q.nonce.len, 20);
    assert_int_equal(q.public_key.len, 65);
    eml_buf_free(&b);
    b = vector("request", "Attestation-none");
    assert_int_equal(eml_nsm_request_decode(eml_buf_bytes(&b), &q), EML_OK);
    assert_null(q.user_data.ptr);
    assert_null(q.nonce.ptr);
    assert_null(q.public_key.ptr);
    eml_buf_free(&b);
    b = vector("response", "DescribeNSM");
    assert_int_equal(eml_nsm_response_decode(eml_buf_bytes(&b), EML_NSM_DESCRIBE_NSM, &r, NULL),
                     EML_OK);
    assert_int_equal(r.version_major, 1);
    assert_int_equal(r.max_pcrs, 32);
    assert_int_equal(r.locked_pcrs, 0xffff);
    assert_true(eml_bytes_equal(r.module_id, EML_LIT("i-1234567890abcdef0-enc0123456789abcdef")));
    eml_buf_free(&b);
}

static void convenience_writes_and_reads_the_same(void **state)
{
    (void)state;
    struct eml_buf b = {0}, v = vector("request", "Attestation-none");
    const struct eml_nsm_attest_args none = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    assert_int_equal(eml_nsm_put_attestation(&none, &b), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_buf_bytes(&v)));
    eml_buf_free(&b);
    eml_buf_free(&v);
    assert_int_equal(eml_nsm_put_random(&b), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), EML_LIT("\x69GetRandom")));
    eml_buf_free(&b);
    struct eml_bytes got;
    v = vector("response", "GetRandom-256");
    assert_int_equal(eml_nsm_get_random(eml_buf_bytes(&v), &got, NULL), EML_OK);
    assert_int_equal(got.len, 256);
    assert_int_equal(eml_nsm_get_attestation(eml_buf_bytes(&v), &got, NULL), EML_E_INPUT);
    assert_null(got.ptr);
    eml_buf_free(&v);
    v = vector("response", "Attestation");
    assert_int_equal(eml_nsm_get_attestation(eml_buf_bytes(&v), &got, NULL), EML_OK);
    assert_int_equal(got.ptr[0], 0x84);
    eml_buf_free(&v);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *reason;
    } bad[] = {
        {"", "nothing"},
        {"00", "a number"},
        {"6b44657363726962654e534e", "unknown call"},
        {"6947657452616e646f6d00", "a byte after the call"},
        {"674c6f636b504352", "LockPCR without its arguments"},
        {"a16947657452616e646f6da0", "GetRandom with arguments"},
        {"a1674c6f636b504352a0", "index missing"},
        {"a1674c6f636b504352a16572616e676510", "another call's member"},
        {"a1674c6f636b504352a265696e6465781065696e64657810", "member twice"},
        {"a1674c6f636b504352a165696e6465781a00010000", "index above 65535"},
        {"a1674c6f636b504352a165696e646578f6", "null index"},
        {"a1674c6f636b504352a165696e6465781810", "index 16 in two bytes"},
        {"a1674c6f636b504352a165696e6465782f", "negative index"},
        {"a2674c6f636b504352a165696e64657810674c6f636b504352a165696e64657810", "two calls"},
        {"a169457874656e64504352a265696e64657810646461746163010203", "data as text"},
        {"a16b4174746573746174696f6ea1656e6f6e636563616263", "nonce as text"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_buf b = eml_test_hex(bad[i].hex);
        struct eml_nsm_request r;
        if (eml_nsm_request_decode(eml_buf_bytes(&b), &r) != EML_E_INPUT)
            fail_msg("accepted: %s", bad[i].reason);
        eml_buf_free(&b);
    }
}

/* {"GetRandom": {"random": h''}} and {"Attestation": {"document": h''}} are well formed, but what
 * they promise is not there. */
static void empty_answers_are_refused(void **state)
{
    (void)state;
    struct eml_buf random = eml_test_hex("a16947657452616e646f6da16672616e646f6d40");
    struct eml_buf document = eml_test_hex("a16b4174746573746174696f6ea168646f63756d656e7440");
    struct eml_bytes got = EML_LIT("x");
    struct eml_why why = {0};
    assert_int_equal(eml_nsm_get_random(eml_buf_bytes(&random), &got, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "NSM: empty answer");
    assert_null(got.ptr);
    assert_int_equal(eml_nsm_get_attestation(eml_buf_bytes(&document), &got, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "NSM: empty answer");
    eml_buf_free(&random);
    eml_buf_free(&document);
}

static void cut_and_flipped_answers_never_overrun(void **state)
{
    (void)state;
    json_t *all = vectors(), *v;
    size_t i;
    json_array_foreach(all, i, v)
    {
        struct eml_buf in = eml_test_hex(member(v, "cbor_hex"));
        bool request = strcmp(member(v, "kind"), "request") == 0;
        struct eml_nsm_request q;
        struct eml_nsm_response r;
        for (size_t n = 0; n < in.len; n++) {
            struct eml_bytes cut = {in.ptr, n};
            if (request)
                assert_int_equal(eml_nsm_request_decode(cut, &q), EML_E_INPUT);
            for (int call = 0; call < EML_NSM_CALLS_N && !request; call++)
                assert_int_equal(eml_nsm_response_decode(cut, (enum eml_nsm_call)call, &r, NULL),
                                 EML_E_INPUT);
        }
        for (size_t bit = 0; bit < in.len * 8; bit++) {
            in.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
            for (int call = 0; call < EML_NSM_CALLS_N; call++) {
                enum eml_err e =
                    eml_nsm_response_decode(eml_buf_bytes(&in), (enum eml_nsm_call)call, &r, NULL);
                assert_true(e == EML_OK || (r.data.ptr == NULL && r.document.ptr == NULL));
            }
            in.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        eml_buf_free(&in);
    }
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_round_trips),
        cmocka_unit_test(every_response_is_read),
        cmocka_unit_test(errors_come_by_name),
        cmocka_unit_test(values_are_those_of_the_vectors),
        cmocka_unit_test(convenience_writes_and_reads_the_same),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(empty_answers_are_refused),
        cmocka_unit_test(cut_and_flipped_answers_never_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
