/* Reports on a log: for people (HTML, Markdown), for programs (JSON), and all records as rows
 * (CSV).
 *
 * Everything in them comes from records and checks, as numbers, hex and fixed words; the only text
 * from outside is the directory's name and the origin, which are escaped. A log that did not verify
 * gets a report that says so first.
 */
#ifndef EML_AUDITLOG_REPORT_H
#define EML_AUDITLOG_REPORT_H

#include "auditlog/stats.h"
#include "auditlog/verify.h"

struct eml_log_view {
    const char *dir;  /* as the user named it */
    uint64_t made_ms; /* when the report was made */
    enum eml_err verdict;
    struct eml_why why; /* if the verdict is not OK */
    const struct eml_log_report *report;
    const struct eml_stats *stats;
};

/* One self-contained page. */
EML_MUST enum eml_err eml_report_html(const struct eml_log_view *v, struct eml_buf *out);
EML_MUST enum eml_err eml_report_markdown(const struct eml_log_view *v, struct eml_buf *out);
EML_MUST enum eml_err eml_report_summary_json(const struct eml_log_view *v, struct eml_buf *out);

/* The head line, and one row for each record: "sequence,time,...". */
void eml_report_csv_head(struct eml_buf *out);
void eml_report_csv_row(const struct eml_record *r, struct eml_buf *out);

/* --- for the renderers --- */
void eml_put(struct eml_buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "2026-11-22 17:04:05 UTC". */
void eml_put_time(struct eml_buf *out, uint64_t unix_ms);
void eml_put_hex(struct eml_buf *out, const uint8_t *bytes, size_t n);
/* "1.2 ms" */
void eml_put_us(struct eml_buf *out, uint64_t us);
/* What a notable record tells, in words. */
const char *eml_notable_text(const struct eml_stats_notable *n);
const char *eml_result_text(enum eml_log_result r);

/* What people are asked for, and what this log shows of it and does not. */
struct eml_control {
    const char *framework, *clause, *asks, *shows, *not_shown;
};
extern const struct eml_control eml_controls[];
extern const size_t eml_controls_n;

#endif
