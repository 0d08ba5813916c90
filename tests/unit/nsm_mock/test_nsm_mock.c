#include "testsupport/support.h"

#include "attest/attest.h"
#include "nsm/nsm.h"
#include "pki/pki_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char dir[EML_TEST_DIR];
static struct eml_sha256 root;

static int make_pki(void **state)
{
    (void)state;
    eml_crypto_init();
    eml_test_dir_make(dir);
    if (setenv("EML_DEV_PKI", dir, 1) != 0)
        return -1;
    return eml_pki_dir_create(dir, (int64_t)time(NULL), &root, NULL) == EML_OK ? 0 : -1;
}

static void path_in_dir(char path[128], const char *name)
{
    (void)snprintf(path, 128, "%s/%s", dir, name);
}

static int remove_pki(void **state)
{
    (void)state;
    return eml_test_dir_drop(dir);
}

struct exchange {
    uint8_t bytes[EML_NSM_RESPONSE_MAX];
    struct eml_nsm_response r;
    struct eml_why why;
};

static enum eml_err ask(struct eml_nsm *n, const struct eml_nsm_request *q, struct exchange *x)
{
    struct eml_buf b = {0};
    size_t len;
    assert_int_equal(eml_nsm_request_encode(q, &b), EML_OK);
    assert_int_equal(eml_nsm_exchange(n, eml_buf_bytes(&b), EML_ROOM(x->bytes), &len), EML_OK);
    eml_buf_free(&b);
    return eml_nsm_response_decode(eml_bytes(x->bytes, len), q->call, &x->r, &x->why);
}

static struct eml_nsm *open_nsm(void)
{
    struct eml_nsm *n;
    assert_int_equal(eml_nsm_open(&n, NULL), EML_OK);
    return n;
}

static void boots_with_sixteen_locked_pcrs(void **state)
{
    (void)state;
    struct exchange x;
    struct eml_nsm *n = open_nsm();
    assert_int_equal(ask(n, &(struct eml_nsm_request){.call = EML_NSM_DESCRIBE_NSM}, &x), EML_OK);
    assert_int_equal(x.r.max_pcrs, 32);
    assert_int_equal(x.r.locked_pcrs, 0xffff);
    assert_int_equal(x.r.module_id.len, 39);
    for (uint16_t i = 0; i < 32; i++) {
        const struct eml_nsm_request q = {.call = EML_NSM_DESCRIBE_PCR, .index = i};
        const uint8_t zero[48] = {0};
        assert_int_equal(ask(n, &q, &x), EML_OK);
        assert_int_equal(x.r.lock, i < 16);
        bool set = i == 0 || i == 1 || i == 2 || i == 4;
        assert_int_equal(eml_bytes_equal(x.r.data, EML_BYTES(zero)), !set);
    }
    eml_nsm_close(n);
}

static void pcrs_extend_until_they_are_locked(void **state)
{
    (void)state;
    struct exchange x;
    struct eml_nsm *n = open_nsm();
    const struct eml_nsm_request extend = {
        .call = EML_NSM_EXTEND_PCR, .index = 16, .data = EML_LIT("\1\2\3")};
    const struct eml_nsm_request lock = {.call = EML_NSM_LOCK_PCR, .index = 16};
    assert_int_equal(ask(n, &extend, &x), EML_OK);
    struct eml_buf wanted =
        eml_test_hex(/* the published value of this extension */
                     "cb178fcd3f328244c05c6248723fd068b3a1dda878e1ab8be911098f199958ad"
                     "d55d0c27f04826d27b44d949a650694e");
    assert_true(eml_bytes_equal(x.r.data, eml_buf_bytes(&wanted)));
    assert_int_equal(ask(n, &extend, &x), EML_OK);
    assert_false(eml_bytes_equal(x.r.data, eml_buf_bytes(&wanted)));
    eml_buf_free(&wanted);
    assert_int_equal(ask(n, &lock, &x), EML_OK);
    assert_int_equal(ask(n, &extend, &x), EML_E_REFUSED);
    assert_string_equal(x.why.rule, "ReadOnlyIndex");
    assert_int_equal(ask(n, &lock, &x), EML_E_REFUSED);
    assert_int_equal(x.r.error, EML_NSM_READ_ONLY_INDEX);

    struct eml_nsm_request range = {.call = EML_NSM_LOCK_PCRS, .range = 33};
    assert_int_equal(ask(n, &range, &x), EML_E_REFUSED);
    assert_int_equal(x.r.error, EML_NSM_INVALID_INDEX);
    range.range = 32;
    assert_int_equal(ask(n, &range, &x), EML_OK);
    assert_int_equal(ask(n, &(struct eml_nsm_request){.call = EML_NSM_DESCRIBE_NSM}, &x), EML_OK);
    assert_int_equal(x.r.locked_pcrs, UINT32_MAX);
    const struct eml_nsm_request beyond = {.call = EML_NSM_DESCRIBE_PCR, .index = 32};
    assert_int_equal(ask(n, &beyond, &x), EML_E_REFUSED);
    assert_int_equal(x.r.error, EML_NSM_INVALID_INDEX);
    eml_nsm_close(n);
}

static void random_differs_and_nonsense_is_an_error(void **state)
{
    (void)state;
    struct exchange x, y;
    struct eml_nsm *n = open_nsm();
    const struct eml_nsm_request q = {.call = EML_NSM_GET_RANDOM};
    assert_int_equal(ask(n, &q, &x), EML_OK);
    assert_int_equal(ask(n, &q, &y), EML_OK);
    assert_int_equal(x.r.random.len, 256);
    assert_false(eml_bytes_equal(x.r.random, y.r.random));
    size_t len;
    assert_int_equal(eml_nsm_exchange(n,
                                      EML_LIT("\x63"
                                              "abc"),
                                      EML_ROOM(x.bytes), &len),
                     EML_OK);
    assert_int_equal(
        eml_nsm_response_decode(eml_bytes(x.bytes, len), EML_NSM_GET_RANDOM, &x.r, &x.why),
        EML_E_REFUSED);
    assert_int_equal(x.r.error, EML_NSM_INVALID_OPERATION);
    struct eml_room small = {x.bytes, sizeof x.bytes - 1};
    assert_int_equal(eml_nsm_exchange(n, EML_LIT(""), small, &len), EML_E_USAGE);
    uint8_t large[EML_NSM_REQUEST_MAX + 1] = {0};
    assert_int_equal(eml_nsm_exchange(n, EML_BYTES(large), EML_ROOM(x.bytes), &len), EML_E_USAGE);
    eml_nsm_close(n);
}

/* What a client does: a policy of the measured program and the development root. */
static void documents_verify_under_their_root(void **state)
{
    (void)state;
    struct exchange x;
    struct eml_nsm *n = open_nsm();
    uint8_t nonce[32] = {1}, key[32] = {2}, data[32] = {3};
    const struct eml_nsm_request q = {.call = EML_NSM_ATTESTATION,
                                      .nonce = EML_BYTES(nonce),
                                      .public_key = EML_BYTES(key),
                                      .user_data = EML_BYTES(data)};
    assert_int_equal(ask(n, &q, &x), EML_OK);
    assert_int_equal(x.r.document.ptr[0], 0x84); /* untagged */
    assert_true(x.r.document.len > 3000 && x.r.document.len < 5500);

    struct eml_sha384 pcr[3];
    struct eml_policy p = {
        .roots = {root}, .n_roots = 1, .n_accept = 1, .max_age_ms = 60000, .max_skew_ms = 60000};
    assert_int_equal(eml_pki_measure("/proc/self/exe", pcr, NULL), EML_OK);
    p.accept[0].required = 7;
    for (size_t i = 0; i < 3; i++)
        memcpy(p.accept[0].pcr[i].b, pcr[i].b, sizeof pcr[i].b);
    struct eml_attest_expect expect = {.nonce = EML_BYTES(nonce),
                                       .user_data_prefix = EML_BYTES(data),
                                       .user_data_bytes = sizeof data,
                                       .public_key_bytes = sizeof key,
                                       .now_unix_ms = (int64_t)time(NULL) * 1000};
    struct eml_attested a;
    struct eml_attest_report report;
    assert_int_equal(eml_attest_verify(x.r.document, &p, &expect, &a, &report, &x.why), EML_OK);
    assert_int_equal(report.n, 10);
    assert_int_equal(a.pcr_present, 0xffff);
    assert_memory_equal(a.root.b, root.b, sizeof root.b);
    assert_true(eml_bytes_equal(a.public_key, EML_BYTES(key)));

    p.roots[0] = eml_attest_aws_root;
    assert_int_equal(eml_attest_verify(x.r.document, &p, &expect, &a, &report, &x.why), EML_E_AUTH);
    assert_string_equal(x.why.rule, "x509: root is not a pinned one");

    const struct eml_nsm_request bare = {.call = EML_NSM_ATTESTATION};
    int64_t now = (int64_t)time(NULL);
    assert_int_equal(ask(n, &bare, &x), EML_OK);
    assert_int_equal(eml_attest_verify_document(x.r.document, &root, 1, now, &a, NULL), EML_OK);
    assert_null(a.nonce.ptr);
    assert_int_equal(eml_attest_verify_document(x.r.document, &root, 1, now + 10801, &a, NULL),
                     EML_E_AUTH);
    eml_nsm_close(n);
}

static void files_are_private_and_never_overwritten(void **state)
{
    (void)state;
    struct stat s;
    struct eml_sha256 other;
    struct eml_why why = {0};
    char path[128];
    path_in_dir(path, "root.key");
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    struct eml_buf before = eml_test_read(path);
    assert_int_equal(eml_pki_dir_create(dir, 0, &other, &why), EML_E_USAGE);
    struct eml_buf after = eml_test_read(path);
    assert_true(eml_bytes_equal(eml_buf_bytes(&before), eml_buf_bytes(&after)));
    eml_buf_free(&before);
    eml_buf_free(&after);

    char *names[] = {(char[]){"kms.example"}, (char[]){"10.0.0.1"}};
    char *bad[] = {(char[]){"a,DNS:b"}};
    assert_int_equal(eml_pki_dir_create_tls(dir, (int64_t)time(NULL), bad, 1, &why), EML_E_USAGE);
    assert_int_equal(eml_pki_dir_create_tls(dir, (int64_t)time(NULL), names, 2, &why), EML_OK);
    path_in_dir(path, "kms.key");
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    assert_int_equal(eml_pki_dir_create_tls(dir, (int64_t)time(NULL), names, 2, &why), EML_E_USAGE);
}

static void without_a_pki_it_does_not_open(void **state)
{
    (void)state;
    struct eml_nsm *n;
    struct eml_why why = {0};
    assert_int_equal(setenv("EML_DEV_PKI", "/nonexistent", 1), 0);
    assert_int_equal(eml_nsm_open(&n, &why), EML_E_SYSTEM);
    assert_null(n);
    assert_int_equal(unsetenv("EML_DEV_PKI"), 0);
    assert_int_equal(eml_nsm_open(&n, &why), EML_E_USAGE);
    assert_null(n);
    assert_int_equal(setenv("EML_DEV_PKI", dir, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boots_with_sixteen_locked_pcrs),
        cmocka_unit_test(pcrs_extend_until_they_are_locked),
        cmocka_unit_test(random_differs_and_nonsense_is_an_error),
        cmocka_unit_test(documents_verify_under_their_root),
        cmocka_unit_test(files_are_private_and_never_overwritten),
        cmocka_unit_test(without_a_pki_it_does_not_open),
    };
    return cmocka_run_group_tests(tests, make_pki, remove_pki);
}
