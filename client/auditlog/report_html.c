/* The page: one file, no script, nothing loaded from elsewhere. */
#include "auditlog/report.h"

typedef unsigned long long ull;

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
    "<title>Audit report</title>\n<style>\n"
    ":root{--ink:#1b2430;--soft:#5b6675;--line:#dfe4ea;--wash:#f5f7f9;--accent:#24598f;"
    "--good:#1c7a4a;--goodwash:#e8f5ee;--bad:#b3261e;--badwash:#fdecea}\n"
    "*{box-sizing:border-box}body{margin:0;background:#eef1f4;color:var(--ink);"
    "font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif}\n"
    "main{max-width:1040px;margin:24px auto;background:#fff;padding:48px 56px;"
    "box-shadow:0 1px 4px #0002}\n"
    "h1{font-size:28px;line-height:1.2;margin:0 0 4px}h2{font-size:18px;margin:40px 0 10px;"
    "padding-bottom:6px;border-bottom:2px solid var(--ink)}\n"
    "p{margin:8px 0}.soft{color:var(--soft)}code,.hex{font:12.5px/1.5 ui-monospace,"
    "'DejaVu Sans Mono',monospace;overflow-wrap:anywhere}\n";
static const char more_style[] =
    ".verdict{display:flex;gap:18px;align-items:center;margin:24px 0;padding:16px 20px;"
    "border-left:6px solid var(--good);background:var(--goodwash)}"
    ".verdict.bad{border-color:var(--bad);background:var(--badwash)}"
    ".verdict b{font-size:20px;color:var(--good);white-space:nowrap}"
    ".verdict.bad b{color:var(--bad)}\n"
    ".kpis{display:grid;grid-template-columns:repeat(4,1fr);gap:12px}"
    ".kpi{border:1px solid var(--line);padding:12px 14px}"
    ".kpi b{display:block;font-size:22px;line-height:1.2}.kpi span{color:var(--soft);"
    "font-size:13px}\n"
    "table{border-collapse:collapse;width:100%;font-size:13.5px;margin:10px 0}"
    "th{text-align:left;font-weight:600;color:var(--soft);border-bottom:1px solid var(--ink);"
    "padding:5px 14px 5px 0;vertical-align:bottom}"
    "td{border-bottom:1px solid var(--line);padding:5px 14px 5px 0;vertical-align:top}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "td.t{white-space:nowrap}.ok{color:var(--good);font-weight:600}"
    ".no{color:var(--bad);font-weight:600}\n"
    "svg{display:block;width:100%;height:auto;margin:8px 0}svg text{font-size:11px;fill:#5b6675}\n"
    "footer{margin-top:40px;padding-top:10px;border-top:1px solid var(--line);"
    "color:var(--soft);font-size:13px}\n"
    "@media(max-width:760px){main{padding:24px 18px}.kpis{grid-template-columns:1fr 1fr}}\n"
    "@media print{body{background:#fff;font-size:11px}main{margin:0;padding:0;max-width:none;"
    "box-shadow:none}h2{break-after:avoid}tr,.kpi,svg,.verdict{break-inside:avoid}"
    "*{-webkit-print-color-adjust:exact;print-color-adjust:exact}@page{margin:16mm}}\n"
    "</style></head><body><main>\n";

/* Text from outside: five characters mean something in HTML; controls and bytes beyond ASCII are
 * shown as '?'. */
static void put_text(struct eml_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            eml_put(out, "&amp;");
            break;
        case '<':
            eml_put(out, "&lt;");
            break;
        case '>':
            eml_put(out, "&gt;");
            break;
        case '"':
            eml_put(out, "&quot;");
            break;
        case '\'':
            eml_put(out, "&#39;");
            break;
        default:
            eml_buf_put_u8(out, *text >= ' ' && *text < 0x7f ? (uint8_t)*text : '?');
        }
    }
}

static void put_head(const struct eml_log_view *v, struct eml_buf *out)
{
    eml_buf_put(out, eml_bytes_of_str(head));
    eml_buf_put(out, eml_bytes_of_str(more_style));
    eml_put(out, "<h1>Audit report</h1>\n<p class=\"soft\">Log <code>");
    put_text(out, v->report->origin);
    eml_put(out, "</code><br>Records from ");
    eml_put_time(out, v->report->first_ms);
    eml_put(out, " to ");
    eml_put_time(out, v->report->last_ms);
    eml_put(out, ". Report made ");
    eml_put_time(out, v->made_ms);
    eml_put(out, ".</p>\n");
}

static void put_verdict(const struct eml_log_view *v, struct eml_buf *out)
{
    const struct eml_log_report *r = v->report;
    bool judged = r->check[EML_LOG_ATTESTED] != EML_LOG_NOT_ASKED;
    if (v->verdict != EML_OK) {
        eml_put(out, "<div class=\"verdict bad\"><b>Not verified</b><div>");
        put_text(out, v->why.rule != NULL ? v->why.rule : "unknown");
        if (v->why.index >= 0)
            eml_put(out, " (at %ld)", v->why.index);
        eml_put(out,
                ". The figures below are of the %llu records before that, and nothing "
                "vouches for them.</div></div>\n",
                (ull)r->records);
        return;
    }
    eml_put(out,
            "<div class=\"verdict%s\"><b>%s</b><div>%llu records, none removed, changed or "
            "reordered since they were signed. ",
            judged ? "" : " bad", judged ? "Verified" : "Consistent, not attested",
            (ull)r->records);
    eml_put(out, "%s</div></div>\n",
            judged ? "Each signing key is vouched for by an attestation document that the policy "
                     "accepts."
                   : "No policy was given, so nobody has checked which program signed them.");
}

static void put_kpi(struct eml_buf *out, ull value, const char *what)
{
    eml_put(out, "<div class=\"kpi\"><b>%llu</b><span>%s</span></div>\n", value, what);
}

static void put_kpis(const struct eml_log_view *v, struct eml_buf *out)
{
    const struct eml_stats *s = v->stats;
    eml_put(out, "<div class=\"kpis\">\n");
    put_kpi(out, eml_stats_events(s, EML_EVENT_INFERENCE), "inferences");
    put_kpi(out, eml_stats_failed(s, EML_EVENT_INFERENCE), "of them failed or refused");
    put_kpi(out, v->report->sessions, "sessions");
    put_kpi(out, eml_stats_events(s, EML_EVENT_VIOLATION), "policy violations");
    eml_put(out, "<div class=\"kpi\"><b>");
    eml_put_us(out, s->exposure.max);
    eml_put(out, "</b><span>longest exposure window</span></div>\n<div class=\"kpi\"><b>");
    eml_put_us(out, eml_stats_median(&s->exposure));
    eml_put(out, "</b><span>half are below</span></div>\n");
    put_kpi(out, s->wiped_bytes, "bytes wiped");
    put_kpi(out, v->report->boots, "starts of the enclave");
    eml_put(out, "</div>\n");
}

static void put_checks(const struct eml_log_report *r, struct eml_buf *out)
{
    eml_put(out, "<h2>Verification</h2>\n<table><tr><th>Check</th><th>Result</th></tr>\n");
    for (unsigned i = 0; i < EML_LOG_CHECKS_N; i++) {
        const char *class = r->check[i] == EML_LOG_PASSED   ? "ok"
                            : r->check[i] == EML_LOG_FAILED ? "no"
                                                            : "soft";
        eml_put(out, "<tr><td>%s</td><td class=\"%s\">%s</td></tr>\n",
                eml_log_check_text((enum eml_log_check)i), class, eml_result_text(r->check[i]));
    }
    eml_put(out, "</table>\n<p class=\"soft\">Root of %llu records: <span class=\"hex\">",
            (ull)r->size);
    eml_put_hex(out, r->root.b, sizeof r->root.b);
    eml_put(out, "</span></p>\n");
}

static void put_boots(const struct eml_log_view *v, struct eml_buf *out)
{
    const struct eml_stats *s = v->stats;
    uint64_t from = s->n_boots > EML_STATS_BOOTS ? s->n_boots - EML_STATS_BOOTS : 0;
    eml_put(out,
            "<h2>Starts of the enclave</h2>\n<p>Each start makes a key that signs what "
            "follows; an attestation document binds it to the measured program. "
            "Sessions without an end in the log (cut off by a stop, or still open): %llu."
            "</p>\n",
            (ull)v->report->unclosed);
    if (from != 0)
        eml_put(out, "<p class=\"soft\">The last %u of %llu.</p>\n", EML_STATS_BOOTS,
                (ull)s->n_boots);
    eml_put(out, "<table><tr><th class=\"n\">Record</th><th>Time</th><th>Signing key (Ed25519)"
                 "</th><th>Document (SHA-256)</th></tr>\n");
    for (uint64_t i = from; i < s->n_boots; i++) {
        const struct eml_stats_boot *b = &s->boot[i % EML_STATS_BOOTS];
        eml_put(out, "<tr><td class=\"n\">%llu</td><td class=\"t\">", (ull)b->sequence);
        eml_put_time(out, b->time_ms);
        eml_put(out, "</td><td class=\"hex\">");
        eml_put_hex(out, b->key, 32);
        eml_put(out, "</td><td class=\"hex\">");
        eml_put_hex(out, b->document, 32);
        eml_put(out, "</td></tr>\n");
    }
    eml_put(out, "</table>\n");
}

static void put_events(const struct eml_stats *s, struct eml_buf *out)
{
    eml_put(out, "<h2>Events by outcome</h2>\n<table><tr><th>Event</th>");
    for (unsigned k = 0; k < EML_STATS_OUTCOMES; k++)
        eml_put(out, "<th class=\"n\">%s</th>", eml_err_name((enum eml_err)k));
    eml_put(out, "</tr>\n");
    for (unsigned e = EML_EVENT_BOOT; e < EML_EVENT_N; e++) {
        eml_put(out, "<tr><td>%s</td>", eml_event_row(e)->name);
        for (unsigned k = 0; k < EML_STATS_OUTCOMES; k++) {
            if (s->count[e][k] != 0)
                eml_put(out, "<td class=\"n\">%llu</td>", (ull)s->count[e][k]);
            else
                eml_put(out, "<td class=\"n soft\">\xc2\xb7</td>");
        }
        eml_put(out, "</tr>\n");
    }
    eml_put(out, "</table>\n");
}

/* --- exposure: a histogram with buckets of powers of two --- */

enum { W = 900, H = 230, LEFT = 50, BOTTOM = 40, TOP = 22 };

static void put_bars(const struct eml_stats_times *t, unsigned lo, unsigned hi, uint64_t most,
                     struct eml_buf *out)
{
    const double step = (double)(W - LEFT - 10) / (hi - lo + 1);
    for (unsigned i = lo; i <= hi; i++) {
        double h = (double)(H - BOTTOM - TOP) * (double)t->bucket[i] / (double)most;
        double x = LEFT + step * (i - lo);
        eml_put(out,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                "fill=\"#24598f\"/>\n",
                x + step * 0.08, H - BOTTOM - h, step * 0.84, h);
        if (t->bucket[i] != 0)
            eml_put(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%llu</text>\n",
                    x + step / 2, H - BOTTOM - h - 4, (ull)t->bucket[i]);
        eml_put(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", x, H - BOTTOM + 16);
        eml_put_us(out, i == 0 ? 0 : (uint64_t)1 << i);
        eml_put(out, "</text>\n");
    }
}

static void put_exposure(const struct eml_stats *s, struct eml_buf *out)
{
    const struct eml_stats_times *t = &s->exposure;
    unsigned lo = 0, hi = EML_STATS_BUCKETS - 1;
    uint64_t most = 0;
    eml_put(out, "<h2>Exposure windows</h2>\n<p>From the first plaintext byte of a model's weights "
                 "to the end of their wipe, measured in the enclave.</p>\n");
    if (t->n == 0) {
        eml_put(out, "<p class=\"soft\">None in this log.</p>\n");
        return;
    }
    while (t->bucket[lo] == 0)
        lo++;
    while (t->bucket[hi] == 0)
        hi--;
    /* Eight bars at least: one alone looks like an error. */
    while (hi - lo < 7) {
        if (hi < EML_STATS_BUCKETS - 1)
            hi++;
        if (lo > 0 && hi - lo < 7)
            lo--;
    }
    for (unsigned i = lo; i <= hi; i++)
        most = t->bucket[i] > most ? t->bucket[i] : most;
    eml_put(out,
            "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Number of exposure windows "
            "by length\">\n<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#1b2430\"/>\n",
            W, H, LEFT, H - BOTTOM, W - 10, H - BOTTOM);
    put_bars(t, lo, hi, most, out);
    eml_put(out,
            "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">length of the window, each bar "
            "from its mark to the next</text>\n"
            "<text x=\"0\" y=\"12\">number</text></svg>\n",
            (W + LEFT) / 2, H - 6);
    eml_put(out, "<p>%llu windows; mean ", (ull)t->n);
    eml_put_us(out, t->sum / t->n);
    eml_put(out, ", longest ");
    eml_put_us(out, t->max);
    eml_put(out, ". Running itself took ");
    eml_put_us(out, s->run.n != 0 ? s->run.sum / s->run.n : 0);
    eml_put(out, " on average.</p>\n");
}

/* --- lists --- */

static void put_models(const struct eml_stats *s, struct eml_buf *out)
{
    eml_put(out, "<h2>Models</h2>\n<p>By the digest of their topology key, which their owner has; "
                 "it tells nothing to anybody else.</p>\n");
    if (s->n_models != 0)
        eml_put(out, "<table><tr><th>Model (SHA-256)</th><th class=\"n\">Inferences</th>"
                     "<th class=\"n\">Failed</th><th>First</th><th>Last</th></tr>\n");
    for (size_t i = 0; i < s->n_models; i++) {
        const struct eml_stats_model *m = &s->model[i];
        eml_put(out, "<tr><td class=\"hex\">");
        eml_put_hex(out, m->digest, 32);
        eml_put(out, "</td><td class=\"n\">%llu</td><td class=\"n\">%llu</td><td class=\"t\">",
                (ull)m->inferences, (ull)m->failed);
        eml_put_time(out, m->first_ms);
        eml_put(out, "</td><td class=\"t\">");
        eml_put_time(out, m->last_ms);
        eml_put(out, "</td></tr>\n");
    }
    if (s->n_models != 0)
        eml_put(out, "</table>\n");
    if (s->inferences_of_other_models != 0)
        eml_put(out, "<p>%llu inferences of further models.</p>\n",
                (ull)s->inferences_of_other_models);
    eml_put(
        out,
        "<p class=\"soft\">%llu inferences name no model: they gave no result. %llu have a receipt."
        "</p>\n",
        (ull)s->inferences_without_model, (ull)s->receipts);
}

static void put_days(const struct eml_stats *s, struct eml_buf *out)
{
    uint64_t from = s->n_days > EML_STATS_DAYS ? s->n_days - EML_STATS_DAYS : 0;
    eml_put(out, "<h2>Days</h2>\n<table><tr><th>Day</th><th class=\"n\">Sessions</th>"
                 "<th class=\"n\">Inferences</th><th class=\"n\">Failed</th>"
                 "<th class=\"n\">Violations, budgets, failures</th></tr>\n");
    for (uint64_t i = from; i < s->n_days; i++) {
        const struct eml_stats_day *d = &s->day[i % EML_STATS_DAYS];
        struct eml_buf date = {0};
        eml_put_time(&date, d->day * 86400000);
        eml_put(out,
                "<tr><td>%.10s</td><td class=\"n\">%llu</td><td class=\"n\">%llu</td>"
                "<td class=\"n\">%llu</td><td class=\"n\">%llu</td></tr>\n",
                date.len >= 10 ? (const char *)date.ptr : "", (ull)d->sessions, (ull)d->inferences,
                (ull)d->failed, (ull)d->notable);
        eml_buf_free(&date);
    }
    eml_put(out, "</table>\n");
}

static void put_notable(const struct eml_stats *s, struct eml_buf *out)
{
    uint64_t shown = s->n_notable < EML_STATS_NOTABLE ? s->n_notable : EML_STATS_NOTABLE;
    eml_put(out, "<h2>Violations, budgets, failures</h2>\n");
    if (shown == 0) {
        eml_put(out, "<p class=\"soft\">None.</p>\n");
        return;
    }
    if (shown < s->n_notable)
        eml_put(out, "<p>The first %llu of %llu; <code>--format csv</code> lists all.</p>\n",
                (ull)shown, (ull)s->n_notable);
    eml_put(out, "<table><tr><th class=\"n\">Record</th><th>Time</th><th class=\"n\">Session</th>"
                 "<th>Event</th><th>What</th><th>Outcome</th></tr>\n");
    for (uint64_t i = 0; i < shown; i++) {
        const struct eml_stats_notable *n = &s->notable[i];
        eml_put(out, "<tr><td class=\"n\">%llu</td><td class=\"t\">", (ull)n->sequence);
        eml_put_time(out, n->time_ms);
        eml_put(out, "</td><td class=\"n\">%llu</td><td>%s</td><td>%s</td><td>%s</td></tr>\n",
                (ull)n->session, eml_event_row((uint64_t)n->event)->name, eml_notable_text(n),
                eml_err_name(n->outcome));
    }
    eml_put(out, "</table>\n");
}

static void put_sessions(const struct eml_stats *s, struct eml_buf *out)
{
    uint64_t from = s->n_sessions > EML_STATS_SESSIONS ? s->n_sessions - EML_STATS_SESSIONS : 0;
    eml_put(out, "<h2>Sessions</h2>\n");
    if (from != 0)
        eml_put(out,
                "<p>The last %u of %llu that were closed; <code>--format csv</code> lists "
                "all.</p>\n",
                EML_STATS_SESSIONS, (ull)s->n_sessions);
    eml_put(out, "<table><tr><th class=\"n\">Start</th><th class=\"n\">Session</th><th>Opened</th>"
                 "<th class=\"n\">Lasted</th><th class=\"n\">Inferences</th><th class=\"n\">Failed"
                 "</th><th class=\"n\">Longest exposure</th><th>Ended</th></tr>\n");
    for (uint64_t i = from; i < s->n_sessions; i++) {
        const struct eml_stats_session *e = &s->session[i % EML_STATS_SESSIONS];
        eml_put(out, "<tr><td class=\"n\">%llu</td><td class=\"n\">%llu</td><td class=\"t\">",
                (ull)e->boot, (ull)e->number);
        eml_put_time(out, e->opened_ms);
        eml_put(out, "</td><td class=\"n\">");
        eml_put_us(out, e->duration_ms * 1000);
        eml_put(out, "</td><td class=\"n\">%llu</td><td class=\"n\">%llu</td><td class=\"n\">",
                (ull)e->inferences, (ull)e->failed);
        eml_put_us(out, e->exposure_us);
        eml_put(out, "</td><td>%s</td></tr>\n", eml_err_name(e->outcome));
    }
    eml_put(out, "</table>\n");
}

static void put_controls(struct eml_buf *out)
{
    eml_put(out, "<h2>What this log shows of controls</h2>\n<p>A log supports a control; it does "
                 "not make an organisation conform. What it does not show must come from "
                 "elsewhere.</p>\n<table><tr><th>Clause</th><th>Asks</th><th>The log shows</th>"
                 "<th>The log does not show</th></tr>\n");
    for (size_t i = 0; i < eml_controls_n; i++) {
        const struct eml_control *c = &eml_controls[i];
        eml_put(out, "<tr><td class=\"t\">%s<br>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n",
                c->framework, c->clause, c->asks, c->shows, c->not_shown);
    }
    eml_put(out, "</table>\n");
}

static void put_foot(const struct eml_log_view *v, struct eml_buf *out)
{
    eml_put(out, "<h2>How to check this yourself</h2>\n<p><code>eml audit verify ");
    put_text(out, v->dir);
    eml_put(out,
            " --policy POLICY --checkpoint CHECKPOINT</code></p>\n"
            "<p>The directory has the layout of C2SP tlog-tiles: records in bundles, hashes in "
            "tiles (RFC 6962, SHA-256), a signed checkpoint. The policy names the measurements "
            "of the program and the root of the chain that vouches for them. An earlier "
            "checkpoint is what shows that nobody presents an old state of the log: keep the "
            "newest one that you saw.</p>\n"
            "<footer>Records hold numbers, classes and digests. No input, output, weight, "
            "name or structure of a model is in the log or in this report.</footer>\n"
            "</main></body></html>\n");
}

enum eml_err eml_report_html(const struct eml_log_view *v, struct eml_buf *out)
{
    put_head(v, out);
    put_verdict(v, out);
    put_kpis(v, out);
    put_checks(v->report, out);
    put_exposure(v->stats, out);
    put_notable(v->stats, out);
    put_models(v->stats, out);
    put_days(v->stats, out);
    put_events(v->stats, out);
    put_boots(v, out);
    put_sessions(v->stats, out);
    put_controls(out);
    put_foot(v, out);
    return eml_buf_ok(out);
}
