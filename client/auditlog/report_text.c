/* Markdown, JSON and CSV. */
#include "auditlog/report.h"

#include "wire/json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

/* --- CSV --- */

void eml_report_csv_head(struct eml_buf *out)
{
    eml_put(out, "sequence,time_ms,boot,session,event,outcome,fields\n");
}

void eml_report_csv_row(const struct eml_record *r, struct eml_buf *out)
{
    const struct eml_event_row *row = eml_event_row((uint64_t)r->event);
    eml_put(out, "%llu,%llu,%llu,%llu,%s,%s,", (ull)r->sequence, (ull)r->time_ms, (ull)r->boot,
            (ull)r->session, row->name, eml_err_name(r->outcome));
    for (size_t i = 0; i < row->n_numbers; i++)
        eml_put(out, "%s%s=%llu", i != 0 ? " " : "", row->number[i], (ull)r->number[i]);
    for (size_t i = 0; i < row->n_bytes; i++) {
        if (r->bytes[i].len == 0)
            continue;
        eml_put(out, "%s%s=", i + row->n_numbers != 0 ? " " : "", row->bytes[i].name);
        eml_put_hex(out, r->bytes[i].ptr, r->bytes[i].len);
    }
    eml_put(out, "\n");
}

/* --- JSON --- */

static json_t *checks_json(const struct eml_log_report *r)
{
    json_t *checks = json_array();
    for (unsigned i = 0; i < EML_LOG_CHECKS_N; i++)
        (void)json_array_append_new(checks, json_pack("{s:s, s:s}", "rule",
                                                      eml_log_check_text((enum eml_log_check)i),
                                                      "result", eml_result_text(r->check[i])));
    return checks;
}

static json_t *events_json(const struct eml_stats *s)
{
    json_t *events = json_object();
    for (unsigned e = EML_EVENT_BOOT; e < EML_EVENT_N; e++) {
        json_t *outcomes = json_object();
        for (unsigned k = 0; k < EML_STATS_OUTCOMES; k++)
            if (s->count[e][k] != 0)
                (void)json_object_set_new(outcomes, eml_err_name((enum eml_err)k),
                                          json_integer((json_int_t)s->count[e][k]));
        (void)json_object_set_new(events, eml_event_row(e)->name, outcomes);
    }
    return events;
}

static json_t *times_json(const struct eml_stats_times *t)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "n", (json_int_t)t->n, "mean_us",
                     (json_int_t)(t->n != 0 ? t->sum / t->n : 0), "median_below_us",
                     (json_int_t)eml_stats_median(t), "max_us", (json_int_t)t->max);
}

static json_t *hex_json(const uint8_t *b, size_t n)
{
    struct eml_buf text = {0};
    eml_put_hex(&text, b, n);
    json_t *j = json_stringn((const char *)text.ptr, text.len);
    eml_buf_free(&text);
    return j;
}

static json_t *models_json(const struct eml_stats *s)
{
    json_t *models = json_array();
    for (size_t i = 0; i < s->n_models; i++)
        (void)json_array_append_new(
            models,
            json_pack("{s:o, s:I, s:I, s:I, s:I}", "model_sha256", hex_json(s->model[i].digest, 32),
                      "inferences", (json_int_t)s->model[i].inferences, "failed",
                      (json_int_t)s->model[i].failed, "first_ms", (json_int_t)s->model[i].first_ms,
                      "last_ms", (json_int_t)s->model[i].last_ms));
    return models;
}

static json_t *boots_json(const struct eml_stats *s)
{
    json_t *boots = json_array();
    uint64_t from = s->n_boots > EML_STATS_BOOTS ? s->n_boots - EML_STATS_BOOTS : 0;
    for (uint64_t i = from; i < s->n_boots; i++) {
        const struct eml_stats_boot *b = &s->boot[i % EML_STATS_BOOTS];
        (void)json_array_append_new(
            boots, json_pack("{s:I, s:I, s:o, s:o}", "index", (json_int_t)b->sequence, "time_ms",
                             (json_int_t)b->time_ms, "key", hex_json(b->key, 32), "document_sha256",
                             hex_json(b->document, 32)));
    }
    return boots;
}

enum eml_err eml_report_summary_json(const struct eml_log_view *v, struct eml_buf *out)
{
    const struct eml_log_report *r = v->report;
    const struct eml_stats *s = v->stats;
    json_t *j =
        json_pack("{s:b, s:o, s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I}", "verified",
                  v->verdict == EML_OK, "checks", checks_json(r), "origin", r->origin, "size",
                  (json_int_t)r->size, "records_read", (json_int_t)r->records, "root_sha256",
                  hex_json(r->root.b, 32), "boots", (json_int_t)r->boots, "sessions",
                  (json_int_t)r->sessions, "sessions_not_closed", (json_int_t)r->unclosed,
                  "first_ms", (json_int_t)r->first_ms, "last_ms", (json_int_t)r->last_ms);
    if (j != NULL && v->verdict != EML_OK)
        (void)json_object_set_new(j, "broken_rule",
                                  json_pack("{s:s, s:s, s:I}", "class", eml_err_name(v->verdict),
                                            "rule", v->why.rule, "index",
                                            (json_int_t)v->why.index));
    if (j != NULL && s != NULL) {
        (void)json_object_set_new(j, "events", events_json(s));
        (void)json_object_set_new(j, "exposure", times_json(&s->exposure));
        (void)json_object_set_new(j, "run", times_json(&s->run));
        (void)json_object_set_new(j, "wiped_bytes", json_integer((json_int_t)s->wiped_bytes));
        (void)json_object_set_new(j, "receipts", json_integer((json_int_t)s->receipts));
        (void)json_object_set_new(j, "models", models_json(s));
        (void)json_object_set_new(j, "last_boots", boots_json(s));
    }
    char *text = j != NULL ? json_dumps(j, JSON_INDENT(2)) : NULL;
    json_decref(j);
    if (text == NULL)
        return EML_E_SYSTEM;
    eml_buf_put(out, eml_bytes_of_str(text));
    eml_buf_put_u8(out, '\n');
    json_free_t release;
    json_malloc_t unused;
    json_get_alloc_funcs(&unused, &release);
    release(text);
    return eml_buf_ok(out);
}

/* --- Markdown --- */

/* Text from outside: whatever has a meaning in Markdown or HTML loses it. */
static void md_text(const char *text, struct eml_buf *out)
{
    for (; *text != '\0'; text++) {
        if (ispunct((unsigned char)*text) != 0 && strchr("/.-:", *text) == NULL)
            eml_buf_put_u8(out, '\\');
        eml_buf_put_u8(out, (uint8_t)*text);
    }
}

static void md_checks(const struct eml_log_view *v, struct eml_buf *out)
{
    eml_put(out, "## Verification\n\n");
    if (v->verdict == EML_OK)
        eml_put(out, "**Verified**: %llu records.\n\n", (ull)v->report->records);
    else
        eml_put(out,
                "**NOT VERIFIED**: %s (at %ld). Figures below are of the %llu records before.\n\n",
                v->why.rule, v->why.index, (ull)v->report->records);
    eml_put(out, "| check | result |\n|---|---|\n");
    for (unsigned i = 0; i < EML_LOG_CHECKS_N; i++)
        eml_put(out, "| %s | %s |\n", eml_log_check_text((enum eml_log_check)i),
                eml_result_text(v->report->check[i]));
}

static void md_events(const struct eml_stats *s, struct eml_buf *out)
{
    eml_put(out, "\n## Events\n\n| event | ok | other outcomes |\n|---|---|---|\n");
    for (unsigned e = EML_EVENT_BOOT; e < EML_EVENT_N; e++) {
        eml_put(out, "| %s | %llu |", eml_event_row(e)->name, (ull)s->count[e][EML_OK]);
        for (unsigned k = 1; k < EML_STATS_OUTCOMES; k++)
            if (s->count[e][k] != 0)
                eml_put(out, " %s: %llu", eml_err_name((enum eml_err)k), (ull)s->count[e][k]);
        eml_put(out, " |\n");
    }
    eml_put(out, "\nExposure windows: %llu, median below ", (ull)s->exposure.n);
    eml_put_us(out, eml_stats_median(&s->exposure));
    eml_put(out, ", longest ");
    eml_put_us(out, s->exposure.max);
    eml_put(out, ". Bytes wiped: %llu.\n", (ull)s->wiped_bytes);
}

static void md_notable(const struct eml_stats *s, struct eml_buf *out)
{
    uint64_t shown = s->n_notable < EML_STATS_NOTABLE ? s->n_notable : EML_STATS_NOTABLE;
    eml_put(out, "\n## Violations, budgets, failures\n\n%llu in all, the first %llu:\n\n",
            (ull)s->n_notable, (ull)shown);
    eml_put(out, "| record | time | session | what | outcome |\n|---|---|---|---|---|\n");
    for (uint64_t i = 0; i < shown; i++) {
        const struct eml_stats_notable *n = &s->notable[i];
        eml_put(out, "| %llu | ", (ull)n->sequence);
        eml_put_time(out, n->time_ms);
        eml_put(out, " | %llu | %s: %s | %s |\n", (ull)n->session,
                eml_event_row((uint64_t)n->event)->name, eml_notable_text(n),
                eml_err_name(n->outcome));
    }
}

enum eml_err eml_report_markdown(const struct eml_log_view *v, struct eml_buf *out)
{
    eml_put(out, "# Audit report\n\nLog ");
    md_text(v->report->origin, out);
    eml_put(out, ", ");
    eml_put_time(out, v->report->first_ms);
    eml_put(out, " to ");
    eml_put_time(out, v->report->last_ms);
    eml_put(out, "; %llu starts of the enclave, %llu sessions (%llu not closed).\n\n",
            (ull)v->report->boots, (ull)v->report->sessions, (ull)v->report->unclosed);
    md_checks(v, out);
    md_events(v->stats, out);
    md_notable(v->stats, out);
    eml_put(out, "\n## What this log shows of controls\n\n| | clause | asks | the log shows | "
                 "the log does not show |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < eml_controls_n; i++)
        eml_put(out, "| %s | %s | %s | %s | %s |\n", eml_controls[i].framework,
                eml_controls[i].clause, eml_controls[i].asks, eml_controls[i].shows,
                eml_controls[i].not_shown);
    return eml_buf_ok(out);
}
