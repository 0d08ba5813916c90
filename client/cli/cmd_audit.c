/* eml audit verify | report | proof: the enclave's log, checked offline from its directory. */
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/say.h"

#include "audit/proof.h"
#include "auditlog/dir.h"
#include "auditlog/report.h"
#include "file/file.h"
#include "remote/remember.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct job {
    struct eml_values policy_path, checkpoint_path;
    struct eml_policy policy;
    struct eml_values keep; /* --remember */
    struct eml_memory memory;
    struct eml_buf remembered;
    struct eml_log_options options;
    struct eml_log_report report;
    struct eml_why why;
};

static uint64_t now_ms(void)
{
    return (uint64_t)time(NULL) * 1000;
}

/* Policy and earlier checkpoint, as given. */
static enum eml_err prepare(struct job *j)
{
    enum eml_err e = EML_OK;
    if (j->policy_path.n != 0) {
        e = eml_cli_read_policy(j->policy_path.v[0], &j->policy);
        j->options.policy = &j->policy;
    }
    if (e == EML_OK && j->checkpoint_path.n != 0) {
        e = eml_file_read(j->checkpoint_path.v[0], EML_NOTE_BYTES_MAX, &j->remembered, &j->why);
        if (e != EML_OK)
            (void)eml_say_failed(j->checkpoint_path.v[0], e, &j->why, NULL);
        j->options.remembered = eml_buf_bytes(&j->remembered);
    }
    if (e == EML_OK && j->keep.n != 0) {
        e = eml_remember_read(j->keep.v[0], &j->memory, &j->why);
        if (e != EML_OK)
            (void)eml_say_failed(j->keep.v[0], e, &j->why, NULL);
        if (j->memory.checkpoint.len != 0)
            j->options.remembered = eml_buf_bytes(&j->memory.checkpoint);
    }
    return e;
}

static void finish(struct job *j)
{
    eml_buf_free(&j->remembered);
    eml_memory_free(&j->memory);
    eml_log_report_free(&j->report);
}

static enum eml_err print(struct eml_buf *b)
{
    bool ok = eml_buf_ok(b) == EML_OK && fwrite(b->ptr, 1, b->len, stdout) == b->len;
    b->len = 0;
    return ok ? EML_OK : EML_E_SYSTEM;
}

/* To a file, or to standard output. */
static enum eml_err deliver(const struct eml_values *output, struct eml_buf *b)
{
    struct eml_why why = {0};
    if (output->n == 0)
        return print(b);
    enum eml_err e = eml_buf_ok(b);
    if (e == EML_OK)
        e = eml_file_write_atomic(output->v[0], 0644, eml_buf_bytes(b), &why);
    if (e != EML_OK)
        (void)eml_say_failed(output->v[0], e, &why, NULL);
    return e;
}

/* --- verify --- */

static void print_verdict(const struct job *j, enum eml_err e)
{
    const struct eml_log_report *r = &j->report;
    for (unsigned i = 0; i < EML_LOG_CHECKS_N; i++)
        (void)printf("  %-11s %s\n", eml_result_text(r->check[i]),
                     eml_log_check_text((enum eml_log_check)i));
    if (e == EML_OK)
        (void)printf("%s: %" PRIu64 " records, %" PRIu64 " sessions, %" PRIu64
                     " starts of the enclave, log %s\n",
                     r->check[EML_LOG_ATTESTED] == EML_LOG_PASSED
                         ? "verified"
                         : "consistent (give --policy to have the signing keys attested)",
                     r->records, r->sessions, r->boots, r->origin);
}

/* The newest checkpoint replaces the one that was remembered, once it is known to continue it. */
static enum eml_err remember(struct job *j)
{
    struct eml_why why = {0};
    const struct eml_seen seen = {.checkpoint = eml_buf_bytes(&j->report.checkpoint)};
    if (j->keep.n == 0)
        return EML_OK;
    enum eml_err e = eml_remember(j->keep.v[0], &j->memory, &seen, &why);
    if (e != EML_OK)
        (void)eml_say_failed(j->keep.v[0], e, &why, NULL);
    return e;
}

static int run_verify(const struct eml_command *self, int argc, char **argv)
{
    struct job j = {0};
    struct eml_values json = {0}, dir = {0};
    const struct eml_option options[] = {
        {"policy", "FILE", "what the documents of the signing keys must show", 1, false,
         &j.policy_path},
        {"checkpoint", "FILE", "an earlier checkpoint, which the log must contain", 1, false,
         &j.checkpoint_path},
        {"remember", "FILE",
         "the memory of eml infer: as --checkpoint; then keeps the newest there", 1, false,
         &j.keep},
        {"json", NULL, "report as JSON", 1, false, &json},
    };
    bool helped;
    enum eml_err e = eml_args_parse(self, options, sizeof options / sizeof options[0], argc, argv,
                                    &dir, &helped);
    if (e != EML_OK || helped)
        return eml_err_exit(e);
    if (j.keep.n != 0 && j.checkpoint_path.n != 0) {
        eml_say("--checkpoint and --remember exclude each other");
        return eml_err_exit(EML_E_USAGE);
    }
    if ((e = prepare(&j)) == EML_OK) {
        e = eml_log_verify(dir.v[0], &j.options, &j.report, &j.why);
        if (e != EML_OK)
            (void)eml_say_failed(dir.v[0], e, &j.why, NULL);
        const struct eml_log_view view = {
            .dir = dir.v[0], .verdict = e, .why = j.why, .report = &j.report};
        struct eml_buf out = {0};
        if (json.n == 0)
            print_verdict(&j, e);
        else if (eml_report_summary_json(&view, &out) != EML_OK || print(&out) != EML_OK)
            e = e != EML_OK ? e : EML_E_SYSTEM;
        eml_buf_free(&out);
        if (e == EML_OK)
            e = remember(&j);
    }
    finish(&j);
    return eml_err_exit(e);
}

/* --- report --- */

struct rows {
    struct eml_buf out;
    FILE *file;
    bool failed;
};

static void take_row(void *ctx, const struct eml_record *r)
{
    struct rows *rows = ctx;
    eml_report_csv_row(r, &rows->out);
    if (rows->out.len < 1u << 16)
        return;
    rows->failed |= fwrite(rows->out.ptr, 1, rows->out.len, rows->file) != rows->out.len;
    rows->out.len = 0;
}

/* All records, as they are verified. A log that breaks off gives the rows before, and an error. */
static enum eml_err report_csv(struct job *j, const char *dir, const struct eml_values *output)
{
    struct rows rows = {.file = output->n != 0 ? fopen(output->v[0], "we") : stdout};
    if (rows.file == NULL) {
        eml_say("%s: cannot write", output->v[0]);
        return EML_E_USAGE;
    }
    j->options.on_record = take_row;
    j->options.ctx = &rows;
    eml_report_csv_head(&rows.out);
    enum eml_err e = eml_log_verify(dir, &j->options, &j->report, &j->why);
    rows.failed |= eml_buf_ok(&rows.out) != EML_OK ||
                   fwrite(rows.out.ptr, 1, rows.out.len, rows.file) != rows.out.len;
    eml_buf_free(&rows.out);
    if (rows.file != stdout)
        rows.failed |= fclose(rows.file) != 0;
    if (e != EML_OK)
        (void)eml_say_failed(dir, e, &j->why, "the rows end before the record that is wrong");
    return e == EML_OK && rows.failed ? EML_E_SYSTEM : e;
}

typedef enum eml_err render(const struct eml_log_view *, struct eml_buf *);

static enum eml_err report_page(struct job *j, const char *dir, render *how,
                                const struct eml_values *output)
{
    struct eml_stats *stats = calloc(1, sizeof *stats);
    struct eml_buf out = {0};
    if (stats == NULL)
        return EML_E_SYSTEM;
    j->options.on_record = eml_stats_take;
    j->options.ctx = stats;
    enum eml_err e = eml_log_verify(dir, &j->options, &j->report, &j->why);
    const struct eml_log_view view = {.dir = dir,
                                      .made_ms = now_ms(),
                                      .verdict = e,
                                      .why = j->why,
                                      .report = &j->report,
                                      .stats = stats};
    if (e != EML_OK)
        (void)eml_say_failed(dir, e, &j->why, "the report says so, too");
    if (j->report.size != 0) {
        enum eml_err written = how(&view, &out);
        if (written == EML_OK)
            written = deliver(output, &out);
        e = e != EML_OK ? e : written;
    }
    eml_buf_free(&out);
    free(stats);
    return e;
}

static int run_report(const struct eml_command *self, int argc, char **argv)
{
    static const struct {
        const char *name;
        render *how;
    } formats[] = {{"html", eml_report_html},
                   {"json", eml_report_summary_json},
                   {"md", eml_report_markdown},
                   {"csv", NULL}};
    struct job j = {0};
    struct eml_values format = {0}, output = {0}, dir = {0};
    const struct eml_option options[] = {
        {"format", "html|json|csv|md", "summary (html, json, md) or all records (csv)", 1, true,
         &format},
        {"output", "FILE", "instead of standard output", 1, false, &output},
        {"policy", "FILE", "what the documents of the signing keys must show", 1, false,
         &j.policy_path},
        {"checkpoint", "FILE", "an earlier checkpoint, which the log must contain", 1, false,
         &j.checkpoint_path},
    };
    bool helped;
    size_t f = 0;
    enum eml_err e = eml_args_parse(self, options, sizeof options / sizeof options[0], argc, argv,
                                    &dir, &helped);
    if (e != EML_OK || helped)
        return eml_err_exit(e);
    while (f < 4 && strcmp(formats[f].name, format.v[0]) != 0)
        f++;
    if (f == 4) {
        eml_say("there is no format %s (html, json, csv or md)", format.v[0]);
        return eml_err_exit(EML_E_USAGE);
    }
    if ((e = prepare(&j)) == EML_OK)
        e = formats[f].how != NULL ? report_page(&j, dir.v[0], formats[f].how, &output)
                                   : report_csv(&j, dir.v[0], &output);
    finish(&j);
    return eml_err_exit(e);
}

/* --- proof --- */

/* The proof file, made from the tiles and checked against the checkpoint's root before it is given
 * away; whether the checkpoint is authentic is for `verify` to say. */
static enum eml_err make_proof(const char *dir, uint64_t index, struct eml_buf *out,
                               struct eml_why *why)
{
    struct eml_log_dir d = {.path = dir};
    struct eml_buf note = {0};
    struct eml_checkpoint c = {0};
    struct eml_proof p = {.index = index};
    struct eml_bytes entry;
    struct eml_sha256 leaf;
    enum eml_err e = eml_log_dir_file(&d, "checkpoint", EML_NOTE_BYTES_MAX, &note, why);
    if (e == EML_OK)
        e = eml_checkpoint_peek(eml_buf_bytes(&note), &c, why);
    d.size = c.size;
    struct eml_tree_source source = eml_log_dir_source(&d);
    if (e == EML_OK)
        e = eml_log_dir_entry(&d, index, &entry, why);
    if (e == EML_OK)
        e = eml_tree_leaf(entry, &leaf);
    if (e == EML_OK && eml_tree_prove_inclusion(&source, index, c.size, &p.path) != EML_OK)
        e = eml_fail(why, EML_E_INPUT, "files: a tile is missing or cannot be read", -1);
    if (e == EML_OK && eml_tree_verify_inclusion(index, c.size, &leaf, &p.path, &c.root) != EML_OK)
        e = eml_fail(why, EML_E_AUTH, "inclusion: the tiles do not lead to the signed root",
                     (long)index);
    p.checkpoint = eml_buf_bytes(&note);
    if (e == EML_OK)
        e = eml_proof_print(&p, out);
    eml_log_dir_close(&d);
    eml_buf_free(&note);
    return e;
}

static int run_proof(const struct eml_command *self, int argc, char **argv)
{
    struct eml_values output = {0}, given = {0};
    const struct eml_option options[] = {
        {"output", "FILE", "instead of standard output", 1, false, &output},
    };
    bool helped;
    uint64_t index;
    struct eml_why why = {0};
    struct eml_buf out = {0};
    enum eml_err e = eml_args_parse(self, options, sizeof options / sizeof options[0], argc, argv,
                                    &given, &helped);
    if (e != EML_OK || helped)
        return eml_err_exit(e);
    if ((e = eml_arg_u64("INDEX", given.v[1], 0, INT64_MAX, &index)) != EML_OK)
        return eml_err_exit(e);
    e = make_proof(given.v[0], index, &out, &why);
    if (e != EML_OK)
        (void)eml_say_failed(given.v[0], e, &why, NULL);
    else
        e = deliver(&output, &out);
    eml_buf_free(&out);
    return eml_err_exit(e);
}

/* --- the three --- */

static const struct eml_command subs[] = {
    {"audit verify", "DIR", 1, "verify a log", run_verify},
    {"audit report", "DIR", 1, "verify a log and tell what is in it", run_report},
    {"audit proof", "DIR INDEX", 2, "the proof file of one record", run_proof},
};

static int run(const struct eml_command *self, int argc, char **argv)
{
    (void)self;
    for (size_t i = 0; argc >= 2 && i < sizeof subs / sizeof subs[0]; i++)
        if (strcmp(argv[1], subs[i].name + sizeof "audit") == 0)
            return subs[i].main(&subs[i], argc - 1, argv + 1);
    bool help = argc >= 2 && strcmp(argv[1], "--help") == 0;
    for (size_t i = 0; i < sizeof subs / sizeof subs[0]; i++)
        (void)fprintf(help ? stdout : stderr, "usage: eml %s %s [options]   %s\n", subs[i].name,
                      subs[i].positional, subs[i].summary);
    return help ? 0 : eml_err_exit(EML_E_USAGE);
}

const struct eml_command eml_cmd_audit = {"audit", "verify|report|proof DIR", 0,
                                          "verify an enclave's audit log, report on it", run};
