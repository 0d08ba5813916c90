/* Real attestation documents, published by others: each verifies, or fails, as its JSON says. */
#include "testsupport/support.h"

#include "attest/document.h"
#include "cose/sign1.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DIRECTORY EML_VECTORS "/attestation/"
enum { DOCUMENTS_N = 8, ROOT_BYTES = 533 };

struct real {
    struct eml_buf document;
    json_t *expected;
};

static struct real load(const char *json_name)
{
    char path[512];
    json_error_t error;
    struct real r = {0};
    (void)snprintf(path, sizeof path, DIRECTORY "%s", json_name);
    r.expected = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(r.expected);
    const char *file = json_string_value(json_object_get(r.expected, "file"));
    (void)snprintf(path, sizeof path, DIRECTORY "%s", file);
    r.document = eml_test_read(path);
    return r;
}

static void unload(struct real *r)
{
    eml_buf_free(&r->document);
    json_decref(r->expected);
}

static const char *text(const struct real *r, const char *name)
{
    return json_string_value(json_object_get(r->expected, name));
}

static int64_t number(const struct real *r, const char *name)
{
    return json_integer_value(json_object_get(r->expected, name));
}

/* For each document of the directory. */
static void each(void (*check)(const struct real *r))
{
    size_t n = 0;
    DIR *d = opendir(DIRECTORY);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strstr(e->d_name, ".json") == NULL)
            continue;
        struct real r = load(e->d_name);
        check(&r);
        unload(&r);
        n++;
    }
    (void)closedir(d);
    assert_int_equal(n, DOCUMENTS_N);
}

static bool is_negative(const struct real *r)
{
    return strcmp(text(r, "expected_signature"), "valid") != 0;
}

static enum eml_err verify_at(const struct real *r, int64_t at, struct eml_attested *out,
                              struct eml_why *why)
{
    return eml_attest_verify_document(eml_buf_bytes(&r->document), &eml_attest_aws_root, 1, at, out,
                                      why);
}

static void assert_hex(struct eml_bytes got, const char *hex)
{
    struct eml_buf wanted = eml_test_hex(hex);
    assert_true(eml_bytes_equal(got, eml_buf_bytes(&wanted)));
    eml_buf_free(&wanted);
}

/* null is absent, which differs from an empty string. */
static void assert_field(struct eml_bytes got, const struct real *r, const char *name)
{
    const json_t *v = json_object_get(r->expected, name);
    assert_non_null(v);
    assert_int_equal(got.ptr == NULL, json_is_null(v));
    if (got.ptr != NULL)
        assert_hex(got, json_string_value(v));
}

static void matches_its_json(const struct real *r)
{
    struct eml_attested a;
    struct eml_why why = {0};
    enum eml_err e = verify_at(r, number(r, "verify_at_unix"), &a, &why);
    if (is_negative(r)) {
        assert_int_equal(e, EML_E_AUTH);
        assert_string_equal(why.rule, "attestation: signature is not the leaf's");
        assert_null(a.module_id.ptr);
        return;
    }
    assert_int_equal(e, EML_OK);
    assert_true(eml_bytes_equal(a.module_id, eml_bytes_of_str(text(r, "module_id"))));
    assert_int_equal(a.timestamp_ms, number(r, "timestamp_ms"));
    const json_t *pcrs = json_object_get(r->expected, "pcrs");
    assert_int_equal(__builtin_popcount(a.pcr_present), json_object_size(pcrs));
    for (unsigned i = 0; i < EML_PCR_N; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "%u", i);
        const json_t *v = json_object_get(pcrs, key);
        assert_int_equal(v != NULL, a.pcr_present >> i & 1);
        if (v != NULL)
            assert_hex(EML_BYTES(a.pcr[i].b), json_string_value(v));
    }
    assert_field(a.public_key, r, "public_key");
    assert_field(a.user_data, r, "user_data");
    assert_field(a.nonce, r, "nonce");
    const json_t *bundle = json_object_get(r->expected, "cabundle_sha256");
    assert_hex(EML_BYTES(a.root.b), json_string_value(json_array_get(bundle, 0)));
}

static void real_documents_match_their_json(void **state)
{
    (void)state;
    each(matches_its_json);
}

/* "2025-09-16T21:25:45Z" in seconds since 1970. */
static int64_t unix_time(const char *iso)
{
    int y, mon, d, h, min, s;
    assert_int_equal(sscanf(iso, "%d-%d-%dT%d:%d:%dZ", &y, &mon, &d, &h, &min, &s), 6);
    int64_t a = y - (mon <= 2), era = a / 400, yoe = a - era * 400;
    int64_t doy = (153 * (mon + (mon > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
    return days * 86400 + h * 3600 + min * 60 + s;
}

static void valid_in_its_window(const struct real *r)
{
    struct eml_attested a;
    struct eml_why why;
    int64_t from = unix_time(text(r, "chain_valid_from"));
    int64_t until = unix_time(text(r, "chain_valid_until"));
    if (!is_negative(r)) {
        assert_int_equal(verify_at(r, from, &a, NULL), EML_OK);
        assert_int_equal(verify_at(r, until, &a, NULL), EML_OK);
    }
    assert_int_equal(verify_at(r, from - 1, &a, &why), EML_E_AUTH);
    assert_string_equal(why.rule, "x509: certificate not yet valid");
    assert_int_equal(verify_at(r, until + 1, &a, &why), EML_E_AUTH);
    assert_string_equal(why.rule, "x509: certificate expired");
}

static void certificates_bound_the_time(void **state)
{
    (void)state;
    each(valid_in_its_window);
}

static void refused_under_other_roots(const struct real *r)
{
    struct eml_attested a;
    struct eml_why why;
    struct eml_sha256 other = eml_attest_aws_root;
    other.b[31] ^= 1;
    assert_int_equal(eml_attest_verify_document(eml_buf_bytes(&r->document), &other, 1,
                                                number(r, "verify_at_unix"), &a, &why),
                     EML_E_AUTH);
    assert_string_equal(why.rule, "x509: root is not a pinned one");
    assert_int_equal(eml_attest_verify_document(eml_buf_bytes(&r->document), &other, 0,
                                                number(r, "verify_at_unix"), &a, &why),
                     EML_E_AUTH);
}

static void the_root_is_pinned(void **state)
{
    (void)state;
    each(refused_under_other_roots);
    struct eml_buf der = eml_test_read(DIRECTORY "aws-nitro-root-g1.der");
    struct eml_bytes root = eml_buf_bytes(&der);
    struct eml_sha256 digest;
    assert_int_equal(der.len, ROOT_BYTES);
    assert_int_equal(eml_sha256(&root, 1, &digest), EML_OK);
    assert_memory_equal(digest.b, eml_attest_aws_root.b, sizeof digest.b);
    eml_buf_free(&der);
}

/* A policy that demands what the document's JSON says of PCR 0, 1, 2. */
static struct eml_policy policy_for(const struct real *r)
{
    struct eml_policy p = {.roots = {eml_attest_aws_root},
                           .n_roots = 1,
                           .n_accept = 1,
                           .max_age_ms = 300000,
                           .max_skew_ms = 300000};
    const json_t *pcrs = json_object_get(r->expected, "pcrs");
    p.accept[0].required = 7;
    for (unsigned i = 0; i < 3; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "%u", i);
        struct eml_buf v = eml_test_hex(json_string_value(json_object_get(pcrs, key)));
        memcpy(p.accept[0].pcr[i].b, v.ptr, sizeof p.accept[0].pcr[i].b);
        eml_buf_free(&v);
    }
    return p;
}

static void obeys_policy(const struct real *r)
{
    struct eml_attested a;
    struct eml_attest_report report;
    struct eml_why why = {0};
    struct eml_policy p = policy_for(r);
    struct eml_attest_expect now = {.now_unix_ms = number(r, "timestamp_ms") + 1000};
    struct eml_bytes document = eml_buf_bytes(&r->document);
    enum eml_err e = eml_attest_verify(document, &p, &now, &a, &report, &why);
    if (is_negative(r)) {
        assert_int_equal(e, EML_E_AUTH);
        assert_int_equal(report.n, 4);
        assert_true(report.check[2].passed);
        assert_false(report.check[3].passed);
        return;
    }
    if (json_is_true(json_object_get(r->expected, "debug_mode"))) {
        assert_int_equal(e, EML_E_REFUSED);
        assert_string_equal(why.rule, "attestation: PCR is all zero (debug mode)");
        assert_int_equal(report.n, 5);
        assert_false(report.check[4].passed);
        assert_int_equal(a.pcr_present, 0);
        return;
    }
    assert_int_equal(e, EML_OK);
    assert_int_equal(report.n, 7);
    for (size_t i = 0; i < report.n; i++)
        assert_true(report.check[i].passed);

    for (size_t i = 0; i < 3; i++) {
        p.accept[0].pcr[i].b[47] ^= 1;
        assert_int_equal(eml_attest_verify(document, &p, &now, &a, &report, &why), EML_E_REFUSED);
        assert_string_equal(why.rule, "attestation: measurements match none of the policy's");
        assert_int_equal(why.index, i);
        p.accept[0].pcr[i].b[47] ^= 1;
    }
    now.now_unix_ms = number(r, "timestamp_ms") + 300001;
    assert_int_equal(eml_attest_verify(document, &p, &now, &a, &report, &why), EML_E_REFUSED);
    assert_string_equal(why.rule, "attestation: document is older than the policy allows");
    now.now_unix_ms = number(r, "timestamp_ms") - 300000; /* a slow clock, still within the skew */
    assert_int_equal(eml_attest_verify(document, &p, &now, &a, &report, &why), EML_OK);
    now.now_unix_ms--;
    assert_int_not_equal(eml_attest_verify(document, &p, &now, &a, &report, &why), EML_OK);
}

static void policies_decide(void **state)
{
    (void)state;
    each(obeys_policy);
}

static void flip(struct eml_buf *b, size_t bit)
{
    b->ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void no_prefix_and_no_flipped_bit_is_accepted(void **state)
{
    (void)state;
    struct real r = load("2025-09-16_b1086cbb.json");
    struct eml_attested a;
    int64_t at = number(&r, "verify_at_unix");
    for (size_t n = 0; n < r.document.len; n++)
        assert_int_equal(eml_attest_verify_document(eml_bytes(r.document.ptr, n),
                                                    &eml_attest_aws_root, 1, at, &a, NULL),
                         EML_E_INPUT);
    /* Most flips cost several ECDSA checks, so a run tries every bit of the head and of the
     * signature and, between them, every 61st from a place that differs from run to run. */
    struct eml_gen g = eml_gen_seeded("flipped bits");
    size_t bits = r.document.len * 8, head = 64 * 8, tail = bits - 8 * 96;
    for (size_t bit = 0; bit < bits;) {
        flip(&r.document, bit);
        if (verify_at(&r, at, &a, NULL) == EML_OK)
            fail_msg("accepted with bit %zu flipped", bit);
        assert_null(a.module_id.ptr);
        flip(&r.document, bit);
        if (bit == head)
            bit += (size_t)eml_gen_range(&g, 1, 61);
        else
            bit += bit > head && bit < tail - 61 ? 61 : 1;
    }
    assert_int_equal(verify_at(&r, at, &a, NULL), EML_OK);
    eml_buf_put_u8(&r.document, 0);
    assert_int_equal(verify_at(&r, at, &a, NULL), EML_E_INPUT);
    unload(&r);
}

/* The shape of QEMU's documents: complete, and signed by nobody. */
static void unsigned_documents_of_qemu_are_refused(void **state)
{
    (void)state;
    struct eml_buf document = eml_test_read(EML_VECTORS "/attestation-crafted/qemu-unsigned.bin");
    struct eml_attested a;
    struct eml_why why = {0};
    const struct eml_sha256 zero = {{0}};
    const struct eml_sha256 *roots[] = {&eml_attest_aws_root, &zero};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(
            eml_attest_verify_document(eml_buf_bytes(&document), roots[i], 1, 1758057949, &a, &why),
            EML_E_INPUT);
        assert_string_equal(why.rule, "COSE: protected header is not the expected one");
        assert_int_equal(a.pcr_present, 0);
    }
    struct eml_sign1 s; /* nothing else is wrong with it */
    struct eml_document d;
    assert_int_equal(eml_sign1_parse(eml_buf_bytes(&document), EML_SIGN1_UNTAGGED,
                                     EML_LIT("\xa1\x01\x20"), 64, &s, NULL),
                     EML_OK);
    assert_int_equal(eml_document_decode(s.payload, &d, NULL), EML_OK);
    eml_buf_free(&document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_documents_match_their_json),
        cmocka_unit_test(certificates_bound_the_time),
        cmocka_unit_test(the_root_is_pinned),
        cmocka_unit_test(policies_decide),
        cmocka_unit_test(unsigned_documents_of_qemu_are_refused),
        cmocka_unit_test(no_prefix_and_no_flipped_bit_is_accepted),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
