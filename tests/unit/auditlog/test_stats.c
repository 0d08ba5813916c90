#include "testsupport/support.h"

#include "auditlog/stats.h"

#include <stdlib.h>
#include <string.h>

static struct eml_stats *s;

static int up(void **state)
{
    (void)state;
    s = calloc(1, sizeof *s);
    return s == NULL;
}

static int down(void **state)
{
    (void)state;
    free(s);
    return 0;
}

static void take(enum eml_event event, uint64_t session, enum eml_err outcome, uint64_t n0,
                 uint64_t n1, uint64_t n2)
{
    static const uint8_t key[32] = {7}, document[32] = {8};
    struct eml_record r = {
        .event = event, .session = session, .outcome = outcome, .number = {n0, n1, n2}};
    if (event == EML_EVENT_BOOT) {
        r.bytes[EML_BOOT_KEY] = EML_BYTES(key);
        r.bytes[EML_BOOT_DOCUMENT] = EML_BYTES(document);
    }
    eml_stats_take(s, &r);
}

static void infer(uint64_t session, enum eml_err outcome, uint8_t model, uint64_t time_ms)
{
    const uint8_t digest[32] = {model}, receipt[32] = {1};
    struct eml_record r = {.event = EML_EVENT_INFERENCE,
                           .session = session,
                           .outcome = outcome,
                           .time_ms = time_ms,
                           .number = {1000}};
    if (model != 0)
        r.bytes[EML_INFERENCE_MODEL] = EML_BYTES(digest);
    if (outcome == EML_OK)
        r.bytes[EML_INFERENCE_RECEIPT] = EML_BYTES(receipt);
    eml_stats_take(s, &r);
}

static void a_session_is_told_from_open_to_close(void **state)
{
    (void)state;
    take(EML_EVENT_BOOT, 0, EML_OK, 0, 0, 0);
    take(EML_EVENT_SESSION_OPEN, 1, EML_OK, 1, 0, 0);
    take(EML_EVENT_SESSION_OPEN, 2, EML_OK, 2, 0, 0);
    infer(1, EML_OK, 5, 0);
    infer(1, EML_E_INPUT, 5, 0);
    infer(2, EML_OK, 6, 0);
    infer(2, EML_OK, 0, 0);
    take(EML_EVENT_DESTRUCTION, 1, EML_OK, 4096, 30, 700);
    take(EML_EVENT_DESTRUCTION, 1, EML_OK, 1, 30, 500);
    take(EML_EVENT_SESSION_CLOSE, 1, EML_E_INPUT, 1234, 0, 0);
    take(EML_EVENT_SESSION_CLOSE, 9, EML_OK, 1, 0, 0); /* was never open */
    assert_int_equal(s->n_sessions, 1);
    assert_int_equal(s->n_open, 1);
    assert_int_equal(s->session[0].number, 1);
    assert_int_equal(s->session[0].inferences, 2);
    assert_int_equal(s->session[0].failed, 1);
    assert_int_equal(s->session[0].exposure_us, 700);
    assert_int_equal(s->session[0].duration_ms, 1234);
    assert_int_equal(s->session[0].outcome, EML_E_INPUT);
    assert_int_equal(s->wiped_bytes, 4097);
    assert_int_equal(s->exposure.n, 2);
    assert_int_equal(s->exposure.max, 700);
    assert_int_equal(s->receipts, 3);
    assert_int_equal(s->inferences_without_model, 1);
    assert_int_equal(s->n_models, 2);
    assert_int_equal(s->model[0].inferences, 2);
    assert_int_equal(s->model[0].failed, 1);
    assert_int_equal(eml_stats_events(s, EML_EVENT_INFERENCE), 4);
    assert_int_equal(eml_stats_failed(s, EML_EVENT_INFERENCE), 1);
    take(EML_EVENT_BOOT, 0, EML_OK, 0, 0, 0); /* what was open did not live to close */
    assert_int_equal(s->n_open, 0);
    assert_int_equal(s->n_boots, 2);
}

static void the_median_is_the_bound_of_its_bucket(void **state)
{
    (void)state;
    static const uint64_t us[] = {0, 1, 2, 3, 4, 7, 8, 1000, UINT64_MAX};
    assert_int_equal(eml_stats_median(&s->exposure), 0);
    for (size_t i = 0; i < sizeof us / sizeof us[0]; i++)
        take(EML_EVENT_DESTRUCTION, 0, EML_OK, 0, us[i], 0);
    assert_int_equal(s->wipe.bucket[0], 2); /* 0 and 1 */
    assert_int_equal(s->wipe.bucket[1], 2);
    assert_int_equal(s->wipe.bucket[2], 2);
    assert_int_equal(s->wipe.bucket[9], 1); /* 512 to 1023 */
    assert_int_equal(s->wipe.bucket[EML_STATS_BUCKETS - 1], 1);
    assert_int_equal(s->wipe.max, UINT64_MAX);
    assert_int_equal(eml_stats_median(&s->wipe), 8); /* the fifth of nine is 4 */
    assert_int_equal(s->exposure.n, 0);              /* none was measured */
}

/* Which outcomes of which events are told one by one. */
static void notable_is_what_went_wrong(void **state)
{
    (void)state;
    static const bool if_ok[EML_EVENT_N] = {
        [EML_EVENT_VIOLATION] = true, [EML_EVENT_BUDGET] = true, [EML_EVENT_ERROR] = true};
    static const bool if_not[EML_EVENT_N] = {
        [EML_EVENT_VIOLATION] = true,   [EML_EVENT_BUDGET] = true, [EML_EVENT_ERROR] = true,
        [EML_EVENT_ATTESTATION] = true, [EML_EVENT_KMS] = true,    [EML_EVENT_INFERENCE] = true};
    for (unsigned e = EML_EVENT_BOOT; e < EML_EVENT_N; e++) {
        uint64_t before = s->n_notable;
        take((enum eml_event)e, 1, EML_OK, 0, 0, 0);
        assert_int_equal(s->n_notable - before, if_ok[e]);
        before = s->n_notable;
        take((enum eml_event)e, 1, EML_E_AUTH, 0, 0, 0);
        assert_int_equal(s->n_notable - before, if_not[e]);
    }
}

/* Far more of everything than is kept: counts are of all, lists say of how many. */
static void memory_does_not_grow(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    for (uint64_t i = 1; i <= MANY; i++) {
        take(EML_EVENT_BOOT, 0, EML_OK, 0, 0, 0);
        take(EML_EVENT_SESSION_OPEN, i, EML_OK, 0, 0, 0);
        infer(i, EML_OK, (uint8_t)(1 + i % 100), i * 86400000);
        take(EML_EVENT_SESSION_CLOSE, i, EML_OK, i, 0, 0);
        take(EML_EVENT_VIOLATION, i, EML_E_INPUT, 1, 0, 0);
    }
    for (uint64_t i = 1; i <= MANY; i++)
        take(EML_EVENT_SESSION_OPEN, i, EML_OK, 0, 0, 0);
    assert_int_equal(s->n_boots, MANY);
    assert_int_equal(s->n_sessions, MANY);
    assert_int_equal(s->n_notable, MANY);
    assert_int_equal(s->n_models, EML_STATS_MODELS);
    assert_int_equal(s->n_open, EML_STATS_OPEN);
    uint64_t of_models = s->inferences_of_other_models;
    for (size_t i = 0; i < s->n_models; i++)
        of_models += s->model[i].inferences;
    assert_int_equal(of_models, MANY);
    /* The newest sessions are there, each once. */
    uint64_t sum = 0;
    for (size_t i = 0; i < EML_STATS_SESSIONS; i++)
        sum += s->session[i].number;
    assert_int_equal(sum, EML_STATS_SESSIONS * (2 * MANY - EML_STATS_SESSIONS + 1) / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_session_is_told_from_open_to_close, up, down),
        cmocka_unit_test_setup_teardown(the_median_is_the_bound_of_its_bucket, up, down),
        cmocka_unit_test_setup_teardown(notable_is_what_went_wrong, up, down),
        cmocka_unit_test_setup_teardown(memory_does_not_grow, up, down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
