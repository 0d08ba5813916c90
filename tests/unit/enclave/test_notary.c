/* What the broker knows itself a worker cannot change, whatever it asks for and reports. */
#include "testsupport/bare_document.h"
#include "testsupport/support.h"

#include "enclave/notary.h"

#include <string.h>

static struct eml_ed25519_sk key = {.b = {9}};

static enum eml_err attest(struct eml_notary *n, uint8_t first_of_nonce)
{
    const uint8_t nonce[EML_IPC_NONCE] = {first_of_nonce};
    struct eml_buf d = {0};
    eml_bare_document(EML_BYTES(nonce), &d);
    enum eml_err err = eml_notary_attest(n, eml_buf_bytes(&d));
    eml_buf_free(&d);
    return err;
}

/* The sequence number of the receipt that is made of a report. */
static uint64_t receive(struct eml_notary *n)
{
    static const struct eml_air_policy any = {.now_s = 0};
    struct eml_ipc_request report = {.type = EML_IPC_REPORT, .inference = {.version = 1}};
    struct eml_sha256 digest;
    struct eml_air air;
    memset(report.inference.topology, 1, sizeof report.inference.topology);
    memset(report.inference.request, 2, sizeof report.inference.request);
    memset(report.inference.response, 3, sizeof report.inference.response);
    assert_int_equal(eml_notary_receive(n, &key, &report, 1700000000, true, &digest), EML_OK);
    assert_int_equal(eml_air_verify(eml_buf_bytes(&n->air), &key.pk, &any, &air, NULL), EML_OK);
    return air.sequence;
}

static void receipts_are_counted_through_a_session(void **state)
{
    (void)state;
    struct eml_notary n = {.attested = false};
    assert_int_equal(attest(&n, 1), EML_OK);
    assert_int_equal(receive(&n), 1);
    assert_int_equal(receive(&n), 2);
    /* Another document for the same session, or one that is none, does not begin anew: two receipts
     * of one place in the order could then be shown. */
    assert_int_equal(attest(&n, 1), EML_OK);
    assert_int_equal(receive(&n), 3);
    assert_int_equal(eml_notary_attest(&n, EML_LIT("no document")), EML_E_SYSTEM);
    assert_false(n.attested);
    assert_int_equal(attest(&n, 1), EML_OK);
    assert_int_equal(receive(&n), 4);
    eml_notary_drop(&n);
}

static void nothing_is_signed_before_a_document(void **state)
{
    (void)state;
    struct eml_notary n = {.attested = false};
    const struct eml_ipc_request report = {.type = EML_IPC_REPORT};
    static const struct eml_sha256 zero;
    struct eml_sha256 digest = {{1}};
    assert_int_equal(eml_notary_receive(&n, &key, &report, 1, true, &digest), EML_E_INPUT);
    assert_memory_equal(&digest, &zero, sizeof digest);
    assert_int_equal(n.air.len, 0);
}

int main(void)
{
    eml_crypto_init();
    if (eml_ed25519_make(&key) != EML_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receipts_are_counted_through_a_session),
        cmocka_unit_test(nothing_is_signed_before_a_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
