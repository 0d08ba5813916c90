#include "cli/report.h"

#include "base/text.h"

#include <stdio.h>

void eml_report_checks(const struct eml_attest_report *report)
{
    for (size_t i = 0; i < report->n; i++)
        (void)printf("  %-6s %s\n", report->check[i].passed ? "ok" : "FAILED",
                     report->check[i].rule);
}

static json_t *hex_json(struct eml_bytes b)
{
    char text[2 * EML_ATTEST_FIELD_MAX];
    if (b.ptr == NULL || b.len > EML_ATTEST_FIELD_MAX)
        return json_null();
    eml_hex_put(b, text);
    return json_stringn(text, 2 * b.len);
}

static json_t *document_json(const struct eml_attested *a)
{
    json_t *pcrs = json_object();
    for (unsigned i = 0; i < EML_PCR_N; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "%u", i);
        if ((a->pcr_present >> i & 1) != 0)
            (void)json_object_set_new(pcrs, key, hex_json(EML_BYTES(a->pcr[i].b)));
    }
    return json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "module_id",
                     json_stringn((const char *)a->module_id.ptr, a->module_id.len), "timestamp_ms",
                     (json_int_t)a->timestamp_ms, "pcrs", pcrs, "public_key",
                     hex_json(a->public_key), "root_sha256", hex_json(EML_BYTES(a->root.b)),
                     "nonce", hex_json(a->nonce), "user_data", hex_json(a->user_data));
}

json_t *eml_report_json(const struct eml_attest_report *report, const struct eml_attested *attested)
{
    json_t *checks = json_array();
    for (size_t i = 0; i < report->n; i++)
        (void)json_array_append_new(checks, json_pack("{s:s, s:b}", "rule", report->check[i].rule,
                                                      "passed", (int)report->check[i].passed));
    if (attested == NULL)
        return json_pack("{s:o}", "checks", checks);
    return json_pack("{s:o, s:o}", "checks", checks, "document", document_json(attested));
}

enum eml_err eml_report_print_json(json_t *json)
{
    int failed = json == NULL || json_dumpf(json, stdout, JSON_INDENT(2)) != 0 || putchar('\n') < 0;
    json_decref(json);
    return failed ? EML_E_SYSTEM : EML_OK;
}
