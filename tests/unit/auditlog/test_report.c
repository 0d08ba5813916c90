#include "testsupport/support.h"

#include "auditlog/report.h"
#include "wire/json.h"

#include <stdlib.h>
#include <string.h>

/* A log that names itself so as to get into the page. */
static const char hostile[] = "`<img src=x>|[a](b)\"'&\\*_#~";

static struct eml_log_report report;
static struct eml_stats *stats;
static struct eml_log_view view;

static int up(void **state)
{
    (void)state;
    stats = calloc(1, sizeof *stats);
    report = (struct eml_log_report){.size = 3, .records = 2, .boots = 1, .sessions = 1};
    report.first_ms = 1763825045000;
    report.last_ms = 1763825046999;
    (void)snprintf(report.origin, sizeof report.origin, "%s", hostile);
    for (unsigned i = 0; i < EML_LOG_CHECKS_N; i++)
        report.check[i] = EML_LOG_PASSED;
    view = (struct eml_log_view){.dir = hostile, .report = &report, .stats = stats};
    eml_json_init();
    return stats == NULL;
}

static int down(void **state)
{
    (void)state;
    free(stats);
    return 0;
}

static struct eml_buf rendered(enum eml_err (*render)(const struct eml_log_view *,
                                                      struct eml_buf *))
{
    struct eml_buf out = {0};
    assert_int_equal(render(&view, &out), EML_OK);
    eml_buf_put_u8(&out, 0);
    return out;
}

static bool has(const struct eml_buf *b, const char *text)
{
    return strstr((const char *)b->ptr, text) != NULL;
}

static void break_inclusion(void)
{
    report.check[EML_LOG_INCLUSION] = EML_LOG_FAILED;
    view.verdict = EML_E_AUTH;
    view.why = (struct eml_why){"inclusion: broken", 2};
}

static void html_is_one_page_and_nobodys_but_ours(void **state)
{
    (void)state;
    struct eml_buf page = rendered(eml_report_html);
    assert_true(has(&page, "<html"));
    assert_true(has(&page, "</html>"));
    assert_false(has(&page, "<img"));
    assert_true(has(&page, "`&lt;img src=x&gt;|[a](b)&quot;&#39;&amp;\\*_#~"));
    assert_false(has(&page, "FAILED"));
    eml_buf_free(&page);
    break_inclusion();
    page = rendered(eml_report_html);
    assert_true(has(&page, "FAILED"));
    assert_true(has(&page, "inclusion: broken"));
    eml_buf_free(&page);
}

static void markdown_says_first_whether_it_verified(void **state)
{
    (void)state;
    struct eml_buf page = rendered(eml_report_markdown);
    assert_true(has(&page, "**Verified**: 2 records."));
    assert_true(has(&page, "2025-11-22 15:24:05 UTC to 2025-11-22 15:24:06 UTC"));
    assert_false(has(&page, "`<img"));
    assert_true(has(&page, "\\`\\<img src\\=x\\>\\|\\[a\\]\\(b\\)\\\"\\'\\&\\\\\\*\\_\\#\\~"));
    eml_buf_free(&page);
    break_inclusion();
    page = rendered(eml_report_markdown);
    const char *verdict =
        strstr((const char *)page.ptr, "**NOT VERIFIED**: inclusion: broken (at 2)");
    assert_non_null(verdict);
    assert_true(verdict < strstr((const char *)page.ptr, "## Events"));
    eml_buf_free(&page);
}

static json_t *summary(void)
{
    struct eml_buf text = {0};
    json_t *v = NULL;
    assert_int_equal(eml_report_summary_json(&view, &text), EML_OK);
    assert_int_equal(eml_json_parse(eml_buf_bytes(&text), 1000000, &v, NULL), EML_OK);
    eml_buf_free(&text);
    return v;
}

static void json_parses_back(void **state)
{
    (void)state;
    json_t *v = summary();
    assert_true(json_is_true(json_object_get(v, "verified")));
    assert_string_equal(json_string_value(json_object_get(v, "origin")), hostile);
    assert_int_equal(json_integer_value(json_object_get(v, "records_read")), 2);
    assert_int_equal(json_array_size(json_object_get(v, "checks")), EML_LOG_CHECKS_N);
    assert_null(json_object_get(v, "broken_rule"));
    json_decref(v);
    break_inclusion();
    v = summary();
    const json_t *broken = json_object_get(v, "broken_rule");
    assert_true(json_is_false(json_object_get(v, "verified")));
    assert_string_equal(json_string_value(json_object_get(broken, "rule")), "inclusion: broken");
    assert_int_equal(json_integer_value(json_object_get(broken, "index")), 2);
    json_decref(v);
}

/* A row has seven fields whatever its event carries: no comma, quote or line end gets into one. */
static void csv_rows_have_the_heads_columns(void **state)
{
    (void)state;
    static const uint8_t bytes[32] = {',', '"', '\n'};
    struct eml_buf out = {0};
    eml_report_csv_head(&out);
    for (unsigned e = EML_EVENT_BOOT; e < EML_EVENT_N; e++) {
        struct eml_record r = {.event = (enum eml_event)e, .outcome = EML_E_AUTH};
        for (size_t i = 0; i < eml_event_row(e)->n_bytes; i++)
            r.bytes[i] = EML_BYTES(bytes);
        eml_report_csv_row(&r, &out);
    }
    size_t lines = 0, commas = 0;
    for (size_t i = 0; i < out.len; i++) {
        commas += out.ptr[i] == ',';
        lines += out.ptr[i] == '\n';
        assert_int_not_equal(out.ptr[i], '"');
        if (out.ptr[i] == '\n') {
            assert_int_equal(commas, 6);
            commas = 0;
        }
    }
    assert_int_equal(lines, EML_EVENT_N);
    eml_buf_put_u8(&out, 0);
    assert_true(has(&out, "\n0,0,0,0,kms,not authentic,\n"));
    assert_true(has(&out, ",error,not authentic,place=0\n"));
    assert_true(has(&out, "receipt_sha256=2c220a00"));
    eml_buf_free(&out);
}

static void times_are_told_in_units(void **state)
{
    (void)state;
    static const struct {
        uint64_t us;
        const char *text;
    } cases[] = {{0, "0 \xc2\xb5s"}, {999, "999 \xc2\xb5s"}, {1000, "1 ms"},    {1500, "1.5 ms"},
                 {999400, "999 ms"}, {1000000, "1 s"},       {61000000, "61 s"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_buf b = {0};
        eml_put_us(&b, cases[i].us);
        eml_buf_put_u8(&b, 0);
        assert_string_equal((const char *)b.ptr, cases[i].text);
        eml_buf_free(&b);
    }
    struct eml_buf b = {0};
    eml_put_time(&b, 951782400000); /* a leap day */
    eml_put_time(&b, UINT64_MAX);   /* no date: a record may claim anything */
    eml_buf_put_u8(&b, 0);
    assert_string_equal((const char *)b.ptr, "2000-02-29 00:00:00 UTC18446744073709551615 ms");
    eml_buf_free(&b);
}

static void a_number_without_a_meaning_is_told_so(void **state)
{
    (void)state;
    static const enum eml_event events[] = {EML_EVENT_VIOLATION, EML_EVENT_BUDGET, EML_EVENT_ERROR};
    for (size_t i = 0; i < 3; i++) {
        struct eml_stats_notable n = {.event = events[i], .number = {1}};
        const char *known = eml_notable_text(&n);
        n.number[0] = UINT64_MAX;
        assert_string_not_equal(eml_notable_text(&n), known);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(html_is_one_page_and_nobodys_but_ours, up, down),
        cmocka_unit_test_setup_teardown(markdown_says_first_whether_it_verified, up, down),
        cmocka_unit_test_setup_teardown(json_parses_back, up, down),
        cmocka_unit_test(csv_rows_have_the_heads_columns),
        cmocka_unit_test(times_are_told_in_units),
        cmocka_unit_test(a_number_without_a_meaning_is_told_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
