#include "log_builder.h"

#include "auditlog/verify.h"

#include <stdlib.h>
#include <unistd.h>

static struct log_builder b;
static const struct eml_log_options plain;

/* Two starts: sessions 1 and 2 in the first, of which one does not end; session 1 in the second. */
enum { BOOT, OPEN_1, INFERENCE, OPEN_2, CLOSE_1, FAULT, BOOT_2, OPEN_AGAIN, CLOSE_AGAIN, SMALL };

static void make_small(void)
{
    log_begin(&b);
    (void)log_add(&b, EML_EVENT_BOOT, 0);
    (void)log_add(&b, EML_EVENT_SESSION_OPEN, 1);
    (void)log_add(&b, EML_EVENT_INFERENCE, 1);
    (void)log_add(&b, EML_EVENT_SESSION_OPEN, 2);
    (void)log_add(&b, EML_EVENT_SESSION_CLOSE, 1);
    log_add(&b, EML_EVENT_ERROR, 0)->outcome = EML_E_SYSTEM;
    (void)log_add(&b, EML_EVENT_BOOT, 0);
    (void)log_add(&b, EML_EVENT_SESSION_OPEN, 1);
    (void)log_add(&b, EML_EVENT_SESSION_CLOSE, 1);
    assert_int_equal(b.n, SMALL);
}

static void write_small(void)
{
    make_small();
    log_encode(&b);
    log_write(&b);
}

static void assert_refused(const struct eml_log_options *o, enum eml_err err,
                           enum eml_log_check check, const char *rule)
{
    struct eml_log_report r;
    struct eml_why why = {"", -1};
    enum eml_err got = eml_log_verify(b.dir, o, &r, &why);
    if (got != err || strcmp(why.rule, rule) != 0)
        fail_msg("%s: %s, expected %s: %s", eml_err_name(got), why.rule, eml_err_name(err), rule);
    for (unsigned i = 0; i < EML_LOG_CHECKS_N; i++) {
        if ((r.check[i] == EML_LOG_FAILED) != (i == check))
            fail_msg("%s: %s", rule, eml_log_check_text((enum eml_log_check)i));
        assert_int_not_equal(r.check[i], EML_LOG_PASSED);
    }
    eml_log_report_free(&r);
}

static void count_records(void *ctx, const struct eml_record *r)
{
    uint64_t *n = ctx;
    assert_int_equal(r->sequence, *n);
    ++*n;
}

static void a_sound_log_verifies(void **state)
{
    (void)state;
    uint64_t told = 0;
    struct eml_log_report r;
    const struct eml_log_options o = {.on_record = count_records, .ctx = &told};
    write_small();
    assert_int_equal(eml_log_verify(b.dir, &o, &r, NULL), EML_OK);
    for (unsigned i = 0; i < EML_LOG_CHECKS_N; i++)
        assert_int_equal(r.check[i], i == EML_LOG_ATTESTED || i == EML_LOG_REMEMBERED
                                         ? EML_LOG_NOT_ASKED
                                         : EML_LOG_PASSED);
    assert_int_equal(told, SMALL);
    assert_int_equal(r.size, SMALL);
    assert_int_equal(r.records, SMALL);
    assert_int_equal(r.boots, 2);
    assert_int_equal(r.sessions, 3);
    assert_int_equal(r.unclosed, 1);
    assert_int_equal(r.first_ms, b.record[0].time_ms);
    assert_int_equal(r.last_ms, b.record[SMALL - 1].time_ms);
    assert_string_equal(r.origin, LOG_ORIGIN);
    const struct eml_sha256 root = log_root(b.leaf, b.n);
    assert_memory_equal(r.root.b, root.b, sizeof root.b);
    eml_log_report_free(&r);
    assert_null(r.checkpoint.ptr);
    log_end(&b);
    assert_int_equal(eml_log_verify("/nonexistent", &plain, &r, NULL), EML_E_USAGE);
    assert_int_equal(r.records, 0);
    eml_log_report_free(&r);
}

static void logs_of_any_length_verify(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 255, 256, 257, 511, 512, 513, 600};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct eml_log_report r;
        log_begin(&b);
        (void)log_add(&b, EML_EVENT_BOOT, 0);
        for (size_t k = 1; k < sizes[i]; k++)
            (void)log_add(&b, EML_EVENT_SESSION_OPEN, k);
        log_encode(&b);
        log_write(&b);
        assert_int_equal(eml_log_verify(b.dir, &plain, &r, NULL), EML_OK);
        assert_int_equal(r.records, sizes[i]);
        assert_int_equal(r.unclosed, sizes[i] - 1);
        eml_log_report_free(&r);
        log_end(&b);
    }
}

/* Logs that are whole and signed, with one record that is not as it must be. */
static const uint8_t other_id[16] = {1};

static void later_number(struct eml_record *r)
{
    r->sequence++;
}
static void same_number(struct eml_record *r)
{
    r->sequence--;
}
static void other_boot(struct eml_record *r)
{
    r->boot++;
}
static void earlier(struct eml_record *r)
{
    r->time_ms -= 2;
}
static void third_session(struct eml_record *r)
{
    r->session = 3;
}
static void no_session(struct eml_record *r)
{
    r->session = 0;
}
static void other_log(struct eml_record *r)
{
    r->bytes[EML_BOOT_LOG] = EML_BYTES(other_id);
}
static void continuing(struct eml_record *r)
{
    r->bytes[EML_BOOT_PREVIOUS] = EML_LIT("text");
}
static void other_document(struct eml_record *r)
{
    r->bytes[EML_BOOT_DOCUMENT] = r->bytes[EML_BOOT_KEY];
}
static void a_session(struct eml_record *r)
{
    *r = (struct eml_record){.event = EML_EVENT_SESSION_OPEN, .time_ms = 1, .session = 1};
}

static const struct {
    size_t at;
    void (*change)(struct eml_record *);
    enum eml_err err;
    enum eml_log_check check;
    const char *rule;
} wrong[] = {
    {BOOT, a_session, EML_E_INPUT, EML_LOG_BOOTS, "boots: the log does not begin with one"},
    {BOOT, other_log, EML_E_AUTH, EML_LOG_BOOTS, "boots: a boot record is of another log"},
    {BOOT, continuing, EML_E_AUTH, EML_LOG_BOOTS, "boots: the first record continues another log"},
    {BOOT, other_document, EML_E_AUTH, EML_LOG_ATTESTED,
     "attested: not the document that the boot record names"},
    {BOOT, other_boot, EML_E_INPUT, EML_LOG_ORDER, "order: a record is of another boot"},
    {INFERENCE, later_number, EML_E_INPUT, EML_LOG_ORDER, "order: a record is not at its number"},
    {INFERENCE, same_number, EML_E_INPUT, EML_LOG_ORDER, "order: a record is not at its number"},
    {INFERENCE, other_boot, EML_E_INPUT, EML_LOG_ORDER, "order: a record is of another boot"},
    {INFERENCE, earlier, EML_E_INPUT, EML_LOG_ORDER, "order: time runs backwards within a boot"},
    {INFERENCE, third_session, EML_E_INPUT, EML_LOG_SESSIONS,
     "sessions: an event of one that is not open"},
    {INFERENCE, no_session, EML_E_INPUT, EML_LOG_SESSIONS,
     "sessions: an event without its session"},
    {OPEN_2, third_session, EML_E_INPUT, EML_LOG_SESSIONS, "sessions: one was opened out of turn"},
    {BOOT_2, other_log, EML_E_AUTH, EML_LOG_BOOTS, "boots: a boot record is of another log"},
    {BOOT_2, continuing, EML_E_AUTH, EML_LOG_BOOTS,
     "boots: a boot continues another log than the one before it"},
    {BOOT_2, other_document, EML_E_AUTH, EML_LOG_ATTESTED,
     "attested: not the document that the boot record names"},
    {OPEN_AGAIN, third_session, EML_E_INPUT, EML_LOG_SESSIONS,
     "sessions: one was opened out of turn"},
    {CLOSE_AGAIN, third_session, EML_E_INPUT, EML_LOG_SESSIONS,
     "sessions: an event of one that is not open"},
};

static void signed_and_still_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        make_small();
        wrong[i].change(&b.record[wrong[i].at]);
        log_encode(&b);
        log_write(&b);
        assert_refused(&plain, wrong[i].err, wrong[i].check, wrong[i].rule);
        log_end(&b);
    }
}

/* What the second start says that it continues: each is a checkpoint, and none is the right one. */
static void a_start_continues_what_the_one_before_signed(void **state)
{
    (void)state;
    static const struct {
        size_t size, boot; /* of which part, by whose key */
        const char *origin;
        enum eml_log_check check;
        const char *rule;
    } cases[] = {
        {BOOT_2 - 1, 0, LOG_ORIGIN, EML_LOG_BOOTS,
         "boots: a boot continues another log than the one before it"},
        {BOOT_2, 1, LOG_ORIGIN, EML_LOG_SIGNATURES, "note: not signed by this key"},
        {BOOT_2, 0, "ephemeralml/another", EML_LOG_SIGNATURES, "note: not signed by this key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_small();
        log_encode(&b);
        struct eml_buf note = log_checkpoint(&b, cases[i].size, cases[i].boot, cases[i].origin);
        b.record[BOOT_2].bytes[EML_BOOT_PREVIOUS] = eml_buf_bytes(&note);
        log_encode(&b);
        log_write(&b);
        assert_refused(&plain, EML_E_AUTH, cases[i].check, cases[i].rule);
        eml_buf_free(&note);
        log_end(&b);
    }
}

static void an_entry_that_is_no_record(void **state)
{
    (void)state;
    make_small();
    log_encode(&b);
    eml_buf_put_u8(&b.entry[SMALL - 1], 0); /* behind the record */
    b.leaf[SMALL - 1] = log_hash(0, eml_buf_bytes(&b.entry[SMALL - 1]), (struct eml_bytes){0});
    log_write(&b);
    struct eml_log_report r;
    struct eml_why why = {"", -1};
    assert_int_equal(eml_log_verify(b.dir, &plain, &r, &why), EML_E_INPUT);
    assert_int_equal(r.check[EML_LOG_RECORDS], EML_LOG_FAILED);
    assert_int_equal(why.index, SMALL - 1);
    assert_int_equal(r.records, SMALL - 1);
    eml_log_report_free(&r);
    log_end(&b);
}

/* --- files: each one missing, cut at every byte, with every bit flipped --- */

static const struct {
    const char *name;
    enum eml_err missing;
    enum eml_log_check check; /* of the missing file */
} files[] = {
    {"checkpoint", EML_E_USAGE, EML_LOG_CHECKPOINT},
    {"tile/0/000.p/9", EML_E_INPUT, EML_LOG_FILES},
    {"tile/entries/000.p/9", EML_E_INPUT, EML_LOG_FILES},
    {"boots/0.cose", EML_E_INPUT, EML_LOG_ATTESTED},
    {"boots/6.cose", EML_E_INPUT, EML_LOG_ATTESTED},
};

static bool verifies(void)
{
    struct eml_log_report r;
    struct eml_why why = {"", -1};
    enum eml_err e = eml_log_verify(b.dir, &plain, &r, &why);
    unsigned broken = 0;
    for (unsigned i = 0; i < EML_LOG_CHECKS_N; i++)
        broken += r.check[i] == EML_LOG_FAILED;
    eml_log_report_free(&r);
    assert_int_equal(broken, e != EML_OK);
    assert_true(e == EML_OK || why.rule[0] != '\0');
    return e == EML_OK;
}

static void every_byte_counts(void **state)
{
    (void)state;
    write_small();
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[128];
        struct eml_log_report r;
        (void)snprintf(path, sizeof path, "%s/%s", b.dir, files[i].name);
        struct eml_buf whole = eml_test_read(path);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(eml_log_verify(b.dir, &plain, &r, NULL), files[i].missing);
        assert_int_equal(r.check[files[i].check], EML_LOG_FAILED);
        eml_log_report_free(&r);
        for (size_t len = 0; len < whole.len; len++) {
            log_put(&b, files[i].name, eml_bytes(whole.ptr, len));
            if (verifies())
                fail_msg("%s, cut to %zu of %zu bytes", files[i].name, len, whole.len);
        }
        for (size_t bit = 0; bit < 8 * whole.len; bit++) {
            whole.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
            log_put(&b, files[i].name, eml_buf_bytes(&whole));
            if (verifies())
                fail_msg("%s, bit %zu", files[i].name, bit);
            whole.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        log_put(&b, files[i].name, eml_buf_bytes(&whole));
        assert_true(verifies());
        eml_buf_free(&whole);
    }
    log_end(&b);
}

static void a_tile_of_a_higher_level_counts(void **state)
{
    (void)state;
    log_begin(&b);
    (void)log_add(&b, EML_EVENT_BOOT, 0);
    for (size_t k = 1; k < 257; k++)
        (void)log_add(&b, EML_EVENT_SESSION_OPEN, k);
    log_encode(&b);
    log_write(&b);
    struct eml_sha256 h = log_root(b.leaf, EML_TILE_WIDTH);
    h.b[31] ^= 1;
    log_put(&b, "tile/1/000.p/1", EML_BYTES(h.b));
    assert_refused(&plain, EML_E_AUTH, EML_LOG_INCLUSION,
                   "inclusion: a tile does not have the hash that stands above it");
    log_end(&b);
}

/* --- the remembered checkpoint --- */

static void what_was_remembered_must_be_in_the_log(void **state)
{
    (void)state;
    struct eml_log_report r;
    write_small();
    for (size_t size = 1; size <= SMALL; size++) {
        struct eml_buf note = log_checkpoint(&b, size, size > BOOT_2, LOG_ORIGIN);
        const struct eml_log_options o = {.remembered = eml_buf_bytes(&note)};
        assert_int_equal(eml_log_verify(b.dir, &o, &r, NULL), EML_OK);
        assert_int_equal(r.check[EML_LOG_REMEMBERED], EML_LOG_PASSED);
        eml_log_report_free(&r);
        eml_buf_free(&note);
    }
    struct eml_buf forged = log_checkpoint(&b, OPEN_2, 1, LOG_ORIGIN),
                   other = log_checkpoint(&b, OPEN_2, 0, "ephemeralml/another");
    struct eml_sha256 kept = b.leaf[1];
    b.leaf[1].b[0] ^= 1;
    struct eml_buf forked = log_checkpoint(&b, OPEN_2, 0, LOG_ORIGIN);
    b.leaf[1] = kept;
    b.leaf[SMALL] = kept;
    struct eml_buf longer = log_checkpoint(&b, SMALL + 1, 1, LOG_ORIGIN);
    assert_refused(&(struct eml_log_options){.remembered = eml_buf_bytes(&forged)}, EML_E_AUTH,
                   EML_LOG_REMEMBERED, "note: not signed by this key");
    assert_refused(&(struct eml_log_options){.remembered = eml_buf_bytes(&other)}, EML_E_AUTH,
                   EML_LOG_REMEMBERED, "remembered: the checkpoint is of another log");
    assert_refused(&(struct eml_log_options){.remembered = eml_buf_bytes(&forked)}, EML_E_AUTH,
                   EML_LOG_REMEMBERED,
                   "remembered: forked: another log of this size was signed before");
    assert_refused(&(struct eml_log_options){.remembered = eml_buf_bytes(&longer)}, EML_E_REFUSED,
                   EML_LOG_REMEMBERED, "remembered: rolled back: the log was longer before");
    for (size_t len = 0; len < longer.len; len++) {
        const struct eml_log_options o = {.remembered = eml_bytes(longer.ptr, len)};
        assert_int_not_equal(eml_log_verify(b.dir, &o, &r, NULL), EML_OK);
        assert_int_equal(r.check[EML_LOG_REMEMBERED], EML_LOG_FAILED);
        eml_log_report_free(&r);
    }
    eml_buf_free(&forged);
    eml_buf_free(&other);
    eml_buf_free(&forked);
    eml_buf_free(&longer);
    log_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_log_verifies),
        cmocka_unit_test(logs_of_any_length_verify),
        cmocka_unit_test(signed_and_still_wrong),
        cmocka_unit_test(a_start_continues_what_the_one_before_signed),
        cmocka_unit_test(an_entry_that_is_no_record),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(a_tile_of_a_higher_level_counts),
        cmocka_unit_test(what_was_remembered_must_be_in_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
