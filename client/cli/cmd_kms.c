/* eml kms lint: what is wrong with a key policy that shall let only one enclave decrypt. */
#include "cli/commands.h"
#include "cli/say.h"

#include "file/file.h"
#include "keypolicy/lint.h"

#include <stdio.h>
#include <string.h>

/* Not the codes of the other commands: a linter's, for scripts. */
enum { CLEAN = 0, FINDINGS = 1, UNREADABLE = 2 };

static const char *sid_of(const json_t *policy, size_t i)
{
    return json_string_value(json_object_get(eml_keypolicy_statement(policy, i), "Sid"));
}

/* --- for people --- */

/* A Sid is text out of a file: to a terminal go printable ASCII characters only. */
static void print_statement(const json_t *policy, size_t i)
{
    const char *sid = sid_of(policy, i);
    (void)printf("statement %zu", i);
    if (sid == NULL)
        return;
    (void)fputs(" (", stdout);
    for (; *sid != '\0'; sid++)
        (void)putchar(*sid >= ' ' && *sid <= '~' ? *sid : '?');
    (void)putchar(')');
}

static void print_found(uint64_t found, const json_t *policy, long statement)
{
    for (unsigned r = 0; r < eml_keypolicy_rules_n; r++) {
        const struct eml_keypolicy_rule *rule = &eml_keypolicy_rules[r];
        if ((found >> r & 1) == 0)
            continue;
        (void)printf("%-7s  ", eml_keypolicy_severity_name(rule->severity));
        if (statement >= 0)
            print_statement(policy, (size_t)statement);
        else
            (void)printf("policy");
        (void)printf(": %s: %s; %s\n", rule->id, rule->says, rule->remedy);
    }
}

static void print_bindings(const json_t *policy, const struct eml_keypolicy_report *report)
{
    for (size_t i = 0; i < report->n; i++) {
        const struct eml_keypolicy_statement *s = &report->of[i];
        if (!s->decrypts)
            continue;
        (void)printf("binds    ");
        print_statement(policy, i);
        (void)printf(": kms:Decrypt needs%s", s->pcrs == 0 ? " no PCR" : "");
        for (unsigned pcr = 0; pcr < 32; pcr++)
            if ((s->pcrs >> pcr & 1) != 0)
                (void)printf(" PCR%u", pcr);
        (void)putchar('\n');
    }
}

static void print_report(const json_t *policy, const struct eml_keypolicy_report *report)
{
    print_bindings(policy, report);
    print_found(report->found, policy, -1);
    for (size_t i = 0; i < report->n; i++)
        print_found(report->of[i].found, policy, (long)i);
    (void)printf("%u errors, %u warnings, %u notes\n", report->count[EML_KEYPOLICY_ERROR],
                 report->count[EML_KEYPOLICY_WARNING], report->count[EML_KEYPOLICY_NOTE]);
}

/* --- for programs --- */

static bool add_found(json_t *list, uint64_t found, const json_t *policy, long statement)
{
    bool ok = true;
    for (unsigned r = 0; ok && r < eml_keypolicy_rules_n; r++) {
        const struct eml_keypolicy_rule *rule = &eml_keypolicy_rules[r];
        if ((found >> r & 1) == 0)
            continue;
        json_t *one = json_pack("{s:s, s:s, s:s, s:s}", "rule", rule->id, "severity",
                                eml_keypolicy_severity_name(rule->severity), "says", rule->says,
                                "remedy", rule->remedy);
        ok = one != NULL;
        if (ok && statement >= 0) {
            const char *sid = sid_of(policy, (size_t)statement);
            ok = json_object_set_new(one, "statement", json_integer(statement)) == 0 &&
                 (sid == NULL || json_object_set_new(one, "sid", json_string(sid)) == 0);
        }
        if (ok)
            ok = json_array_append(list, one) == 0;
        json_decref(one);
    }
    return ok;
}

static bool add_binding(json_t *list, size_t i, uint32_t pcrs)
{
    json_t *numbers = json_array();
    bool ok = numbers != NULL;
    for (unsigned pcr = 0; ok && pcr < 32; pcr++)
        if ((pcrs >> pcr & 1) != 0)
            ok = json_array_append_new(numbers, json_integer(pcr)) == 0;
    json_t *one = ok ? json_pack("{s:i, s:O}", "statement", (int)i, "pcrs", numbers) : NULL;
    ok = ok && one != NULL && json_array_append(list, one) == 0;
    json_decref(one);
    json_decref(numbers);
    return ok;
}

static enum eml_err print_json(const json_t *policy, const struct eml_keypolicy_report *report)
{
    json_t *findings = json_array(), *decrypt = json_array(), *all = NULL;
    bool ok = findings != NULL && decrypt != NULL;
    ok = ok && add_found(findings, report->found, policy, -1);
    for (size_t i = 0; ok && i < report->n; i++)
        ok = add_found(findings, report->of[i].found, policy, (long)i) &&
             (!report->of[i].decrypts || add_binding(decrypt, i, report->of[i].pcrs));
    if (ok)
        all = json_pack("{s:O, s:O, s:i, s:i, s:i}", "findings", findings, "decrypt", decrypt,
                        "errors", (int)report->count[EML_KEYPOLICY_ERROR], "warnings",
                        (int)report->count[EML_KEYPOLICY_WARNING], "notes",
                        (int)report->count[EML_KEYPOLICY_NOTE]);
    ok = all != NULL && json_dumpf(all, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF;
    json_decref(all);
    json_decref(findings);
    json_decref(decrypt);
    return ok ? EML_OK : EML_E_SYSTEM;
}

static int lint(const char *path, bool json)
{
    struct eml_keypolicy_report report;
    struct eml_buf text = {0};
    struct eml_why why = {0};
    json_t *policy = NULL;
    enum eml_err e = eml_file_read(path, EML_KEYPOLICY_BYTES_MAX, &text, &why);
    if (e == EML_OK)
        e = eml_json_parse(eml_buf_bytes(&text), EML_KEYPOLICY_BYTES_MAX, &policy, &why);
    if (e == EML_OK)
        e = eml_keypolicy_lint(policy, &report, &why);
    if (e != EML_OK)
        (void)eml_say_failed(path, e, &why, NULL);
    else if (!json)
        print_report(policy, &report);
    else if ((e = print_json(policy, &report)) != EML_OK)
        eml_say("cannot write the report");
    json_decref(policy);
    eml_buf_free(&text);
    if (e != EML_OK)
        return UNREADABLE;
    return report.count[EML_KEYPOLICY_ERROR] + report.count[EML_KEYPOLICY_WARNING] != 0 ? FINDINGS
                                                                                        : CLEAN;
}

static int run(const struct eml_command *self, int argc, char **argv)
{
    struct eml_values json = {0}, positional;
    const struct eml_option options[] = {{"json", NULL, "report as JSON", 1, false, &json}};
    bool helped;
    enum eml_err e = eml_args_parse(self, options, 1, argc, argv, &positional, &helped);
    if (e != EML_OK || helped)
        return eml_err_exit(e);
    if (strcmp(positional.v[0], "lint") != 0) {
        eml_say("there is no kms %s (try eml kms lint POLICY.json)", positional.v[0]);
        return eml_err_exit(EML_E_USAGE);
    }
    return lint(positional.v[1], json.n != 0);
}

const struct eml_command eml_cmd_kms = {
    "kms", "lint POLICY.json", 2, "say what is wrong with a KMS key policy for an enclave", run};
