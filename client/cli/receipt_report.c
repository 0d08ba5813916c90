#include "cli/receipt_report.h"

#include "base/text.h"

#include <stdio.h>
#include <time.h>

static const char *const number_names[EML_STATEMENT_NUMBERS] = {
    "weights_us", "assemble_us", "run_us", "wipe_us", "exposure_us", "wiped_bytes"};

enum eml_err eml_receipt_peek(const struct eml_receipt *r, struct eml_receipt_verified *out,
                              struct eml_why *why)
{
    struct eml_sign1 air;
    struct eml_proof proof;
    struct eml_receipt_verified v = {0};
    *out = v;
    EML_TRY(eml_air_parse(r->air, &air, why));
    EML_TRY(eml_air_claims(air.payload, &v.air, why));
    EML_TRY(eml_statement_peek(r->statement, &v.statement, why));
    EML_TRY(eml_record_decode(r->record, &v.record, why));
    EML_TRY(eml_proof_parse(r->proof, &proof, why));
    EML_TRY(eml_checkpoint_peek(proof.checkpoint, &v.checkpoint, why));
    v.index = proof.index;
    *out = v;
    return EML_OK;
}

void eml_receipt_report_checks(const struct eml_receipt_report *report)
{
    for (size_t i = 0; i < report->n; i++)
        (void)printf("  %-6s %s\n", report->check[i].passed ? "ok" : "FAILED",
                     report->check[i].rule);
}

json_t *eml_receipt_report_checks_json(const struct eml_receipt_report *report)
{
    json_t *checks = json_array();
    for (size_t i = 0; i < report->n; i++)
        (void)json_array_append_new(checks, json_pack("{s:s, s:b}", "rule", report->check[i].rule,
                                                      "passed", (int)report->check[i].passed));
    return checks;
}

/* --- for people --- */

static void print_text(const char *name, struct eml_bytes text)
{
    (void)printf("  %-18s %.*s\n", name, (int)text.len, (const char *)text.ptr);
}

static void print_hex(const char *name, struct eml_bytes bytes)
{
    char hex[2 * 64 + 1] = {0};
    if (bytes.len <= 64)
        eml_hex_put(bytes, hex);
    (void)printf("  %-18s %s\n", name, hex);
}

static void print_number(const char *name, uint64_t n)
{
    (void)printf("  %-18s %llu\n", name, (unsigned long long)n);
}

static void print_time(const char *name, uint64_t unix_s)
{
    struct tm tm;
    char text[64] = "no time";
    time_t t = (time_t)unix_s;
    if (unix_s < (uint64_t)1 << 40 && gmtime_r(&t, &tm) != NULL)
        (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    (void)printf("  %-18s %s\n", name, text);
}

void eml_receipt_report_print(const struct eml_receipt_verified *v)
{
    const struct eml_air *a = &v->air;
    const struct eml_statement *s = &v->statement;
    print_time("time", a->issued_s);
    print_text("issuer", a->issuer);
    print_text("model id", a->model_id);
    print_text("model version", a->model_version);
    print_hex("topology key", EML_BYTES(a->model_hash.b));
    print_hex("weights object", EML_BYTES(s->object_id));
    print_hex("request", EML_BYTES(a->request_hash.b));
    print_hex("response", EML_BYTES(a->response_hash.b));
    print_hex("document", EML_BYTES(a->document_hash.b));
    for (uint32_t i = 0; i < EML_AIR_PCR_N; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "PCR%u", i);
        if ((a->pcr_present >> i & 1) != 0)
            print_hex(name, EML_BYTES(a->pcr[i].b));
    }
    print_text("security mode", eml_bytes_of_str(eml_air_mode_name(a->mode)));
    print_text("release", a->policy_version);
    print_text("kernels", s->kernels);
    print_text("mode", eml_bytes_of_str(s->mode == 0 ? "request" : "session"));
    print_number("in the session", a->sequence);
    print_number("memory_mb", a->memory_mb);
    for (size_t i = 0; i < EML_STATEMENT_NUMBERS; i++)
        print_number(number_names[i], s->number[i]);
    print_text("log", v->checkpoint.origin);
    (void)printf("  %-18s %llu of %llu\n", "record", (unsigned long long)v->index,
                 (unsigned long long)v->checkpoint.size);
}

/* --- JSON --- */

static json_t *text_json(struct eml_bytes b)
{
    return json_stringn((const char *)b.ptr, b.len);
}

static json_t *hex_json(struct eml_bytes b)
{
    char hex[2 * 64];
    if (b.ptr == NULL || b.len > 64)
        return json_null();
    eml_hex_put(b, hex);
    return json_stringn(hex, 2 * b.len);
}

json_t *eml_receipt_report_air_json(const struct eml_air *a)
{
    json_t *pcrs = json_object();
    for (uint32_t i = 0; i < EML_AIR_PCR_N; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "%u", i);
        if ((a->pcr_present >> i & 1) != 0)
            (void)json_object_set_new(pcrs, key, hex_json(EML_BYTES(a->pcr[i].b)));
    }
    json_t *hashes =
        json_pack("{s:o, s:o, s:o, s:o}", "model_hash", hex_json(EML_BYTES(a->model_hash.b)),
                  "request_hash", hex_json(EML_BYTES(a->request_hash.b)), "response_hash",
                  hex_json(EML_BYTES(a->response_hash.b)), "attestation_doc_hash",
                  hex_json(EML_BYTES(a->document_hash.b)));
    json_t *j = json_pack(
        "{s:o, s:I, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:I, s:I, s:I, s:s}", "iss",
        text_json(a->issuer), "iat", (json_int_t)a->issued_s, "cti", hex_json(EML_BYTES(a->cti)),
        "eat_nonce", hex_json(a->nonce), "model_id", text_json(a->model_id), "model_version",
        text_json(a->model_version), "measurement_type", eml_air_platform_name(a->platform), "pcrs",
        pcrs, "policy_version", text_json(a->policy_version), "sequence_number",
        (json_int_t)a->sequence, "execution_time_ms", (json_int_t)a->execution_ms, "memory_peak_mb",
        (json_int_t)a->memory_mb, "security_mode", eml_air_mode_name(a->mode));
    if (a->scheme != EML_AIR_NO_SCHEME)
        (void)json_object_set_new(j, "model_hash_scheme",
                                  json_string(eml_air_scheme_name(a->scheme)));
    (void)json_object_update(j, hashes);
    json_decref(hashes);
    return j;
}

static json_t *statement_json(const struct eml_statement *s)
{
    json_t *j =
        json_pack("{s:o, s:s, s:o}", "weights_object", hex_json(EML_BYTES(s->object_id)), "mode",
                  s->mode == 0 ? "request" : "session", "kernels", text_json(s->kernels));
    for (size_t i = 0; i < EML_STATEMENT_NUMBERS; i++)
        (void)json_object_set_new(j, number_names[i], json_integer((json_int_t)s->number[i]));
    return j;
}

json_t *eml_receipt_report_json(const struct eml_receipt_verified *v)
{
    return json_pack(
        "{s:o, s:o, s:{s:o, s:I, s:I, s:o, s:I}}", "air", eml_receipt_report_air_json(&v->air),
        "statement", statement_json(&v->statement), "log", "origin",
        text_json(v->checkpoint.origin), "index", (json_int_t)v->index, "size",
        (json_int_t)v->checkpoint.size, "root", hex_json(EML_BYTES(v->checkpoint.root.b)),
        "time_ms", (json_int_t)v->record.time_ms);
}
