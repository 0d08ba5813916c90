#include "testsupport/support.h"

#include "audit/record.h"

#include <string.h>

static const uint8_t filler[1024] = {0xaa, 1, 2};

/* A record of this event, with all its fields at their longest, or as short as they may be. */
static struct eml_record sample(unsigned event, bool longest)
{
    const struct eml_event_row *row = eml_event_row(event);
    struct eml_record r = {.sequence = 300,
                           .event = (enum eml_event)event,
                           .time_ms = 1700000000123,
                           .boot = 7,
                           .session = 12,
                           .outcome = EML_E_REFUSED};
    for (size_t i = 0; i < row->n_numbers; i++)
        r.number[i] = longest ? UINT64_MAX - i : i;
    for (size_t i = 0; i < row->n_bytes; i++) {
        size_t shortest = row->bytes[i].or_empty ? 0 : row->bytes[i].min;
        r.bytes[i] = eml_bytes(filler, longest ? row->bytes[i].max : shortest);
    }
    return r;
}

static void every_event_round_trips(void **state)
{
    (void)state;
    for (unsigned e = EML_EVENT_BOOT; e < EML_EVENT_N; e++) {
        for (int longest = 0; longest < 2; longest++) {
            struct eml_record in = sample(e, longest != 0), out;
            struct eml_buf b = {0}, again = {0};
            assert_int_equal(eml_record_encode(&in, &b), EML_OK);
            assert_true(b.len <= EML_RECORD_BYTES_MAX);
            assert_int_equal(eml_record_decode(eml_buf_bytes(&b), &out, NULL), EML_OK);
            assert_int_equal(out.event, e);
            assert_int_equal(out.session, 12);
            assert_memory_equal(out.number, in.number, sizeof in.number);
            assert_int_equal(eml_record_encode(&out, &again), EML_OK);
            assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_buf_bytes(&again)));
            eml_buf_free(&b);
            eml_buf_free(&again);
        }
    }
    assert_null(eml_event_row(0));
    assert_null(eml_event_row(EML_EVENT_N));
}

static void what_does_not_fit_its_event_is_not_written(void **state)
{
    (void)state;
    struct eml_buf b = {0};
    struct eml_record r = sample(EML_EVENT_KMS, false);
    r.number[0] = 1;
    assert_int_equal(eml_record_encode(&r, &b), EML_E_USAGE);
    r = sample(EML_EVENT_BOOT, false);
    r.bytes[EML_BOOT_KEY].len = 31;
    assert_int_equal(eml_record_encode(&r, &b), EML_E_USAGE);
    r = sample(EML_EVENT_KMS, false);
    r.bytes[0] = eml_bytes(filler, 1);
    assert_int_equal(eml_record_encode(&r, &b), EML_E_USAGE);
    r = sample(EML_EVENT_KMS, false);
    r.event = EML_EVENT_N;
    assert_int_equal(eml_record_encode(&r, &b), EML_E_USAGE);
    assert_int_equal(b.len, 0);
}

/* {1: 0, 2: 5, 3: 0, 4: 0, 5: 1, 6: 0, 7: [], 8: []}: KMS. */
#define KMS(sequence, event, outcome, numbers, bytes)                                              \
    "a801" sequence "02" event "03000400050106" outcome "07" numbers "08" bytes

static void the_record_on_the_wire(void **state)
{
    (void)state;
    struct eml_buf b = eml_test_hex(KMS("00", "05", "00", "80", "80")), again = {0};
    struct eml_record r;
    assert_int_equal(eml_record_decode(eml_buf_bytes(&b), &r, NULL), EML_OK);
    assert_int_equal(r.event, EML_EVENT_KMS);
    assert_int_equal(r.session, 1);
    assert_int_equal(eml_record_encode(&r, &again), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_buf_bytes(&again)));
    eml_buf_free(&b);
    eml_buf_free(&again);
}

static void records_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *why;
    } bad[] = {
        {"", "nothing"},
        {"80", "a list"},
        {"a0", "a map of nothing"},
        {"a70100020503000400050106000780", "seven pairs"},
        {"a801000205030004000501060007800880"
         "00",
         "bytes behind it"},
        {KMS("1800", "05", "00", "80", "80"), "a number that is longer than needed"},
        {KMS("20", "05", "00", "80", "80"), "a negative sequence"},
        {KMS("00", "00", "00", "80", "80"), "event 0"},
        {KMS("00", "0c", "00", "80", "80"), "an event that is none"},
        {KMS("00", "05", "08", "80", "80"), "an outcome that is none"},
        {KMS("00", "05", "00", "8100", "80"), "a number too many"},
        {KMS("00", "05", "00", "80", "8140"), "a string too many"},
        {KMS("00", "05", "00", "9fff", "80"), "a list of no length"},
        {KMS("00", "07", "00", "80", "824040"), "a number missing"},
        {KMS("00", "07", "00", "8100", "8140"), "a string missing"},
        {KMS("00", "07", "00", "8100", "82404100"), "a digest of one byte"},
        {KMS("00", "07", "00", "8100", "824060"), "text for bytes"},
        {"a802050100030004000501060007800880", "keys in another order"},
        {"a801000105030004000501060007800880", "a key twice"},
        {"bf01000205030004000501060007800880ff", "a map of no length"},
        {"d9d9f7a801000205030004000501060007800880", "a tag"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_buf b = eml_test_hex(bad[i].hex);
        struct eml_record r;
        struct eml_why why = {0};
        if (eml_record_decode(eml_buf_bytes(&b), &r, &why) != EML_E_INPUT || why.rule == NULL)
            fail_msg("%s", bad[i].why);
        assert_int_equal(r.event, 0);
        eml_buf_free(&b);
    }
}

static void cut_or_flipped(void **state)
{
    (void)state;
    for (unsigned e = EML_EVENT_BOOT; e < EML_EVENT_N; e++) {
        struct eml_record in = sample(e, true), out;
        struct eml_buf b = {0}, again = {0};
        assert_int_equal(eml_record_encode(&in, &b), EML_OK);
        for (size_t n = 0; n < b.len; n++)
            assert_int_equal(eml_record_decode(eml_bytes(b.ptr, n), &out, NULL), EML_E_INPUT);
        /* A flipped bit is another record or none, never the same one and never two encodings. */
        for (size_t bit = 0; bit < 8 * b.len; bit++) {
            b.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
            again.len = 0;
            if (eml_record_decode(eml_buf_bytes(&b), &out, NULL) == EML_OK) {
                assert_int_equal(eml_record_encode(&out, &again), EML_OK);
                assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_buf_bytes(&again)));
            }
            b.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        eml_buf_free(&b);
        eml_buf_free(&again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_round_trips),
        cmocka_unit_test(what_does_not_fit_its_event_is_not_written),
        cmocka_unit_test(the_record_on_the_wire),
        cmocka_unit_test(records_that_are_none),
        cmocka_unit_test(cut_or_flipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
