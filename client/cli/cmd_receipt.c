/* eml receipt: shows what a receipt says, and verifies it offline. */
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/receipt_report.h"
#include "cli/report.h"
#include "cli/say.h"

#include "base/text.h"
#include "file/file.h"
#include "model/limits.h"
#include "session/commit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct arguments {
    struct eml_values attestation, policy, input, output, opening, topology, air, key, evaluation,
        json;
};

struct job {
    const char *path;
    const struct arguments *a;
    struct eml_buf file, document, topology;
    struct eml_receipt receipt;
    struct eml_policy policy;
    struct eml_arena arena;
    struct eml_sha256 model, request, response;
    struct eml_receipt_expect expect;
};

static enum eml_err failed(const char *path, enum eml_err e, const struct eml_why *why)
{
    (void)eml_say_failed(path, e, why, NULL);
    return e;
}

/* --- what the receipt is compared with --- */

static enum eml_err read_opening(const struct job *j, struct eml_opening *out)
{
    char beside[4096];
    struct eml_why why = {0};
    struct eml_buf file = {0};
    int n = snprintf(beside, sizeof beside, "%s.opening", j->path);
    if (n < 0 || (size_t)n >= sizeof beside)
        return EML_E_USAGE;
    const char *path = eml_arg(&j->a->opening, beside);
    enum eml_err e = eml_file_read(path, 4096, &file, &why);
    if (e == EML_OK)
        e = eml_opening_decode(eml_buf_bytes(&file), out, &why);
    eml_buf_free(&file);
    return e == EML_OK ? e : failed(path, e, &why);
}

static enum eml_err commit(struct job *j, const char *option, const struct eml_values *files,
                           enum eml_commit which, const uint8_t salt[EML_SALT_BYTES],
                           struct eml_sha256 *out)
{
    struct eml_named_tensor t[EML_ARG_VALUES_MAX];
    size_t n;
    EML_TRY(eml_cli_read_tensors(option, files, &j->arena, t, &n));
    return eml_commit(which, salt, t, n, out);
}

static enum eml_err read_data(struct job *j)
{
    const struct arguments *a = j->a;
    struct eml_opening opening;
    if (a->input.n == 0 && a->output.n == 0)
        return EML_OK;
    EML_TRY(read_opening(j, &opening));
    EML_TRY(eml_cli_reserve(&j->arena));
    if (a->input.n != 0) {
        EML_TRY(
            commit(j, "input", &a->input, EML_COMMIT_REQUEST, opening.request_salt, &j->request));
        j->expect.request_hash = &j->request;
    }
    if (a->output.n != 0) {
        EML_TRY(commit(j, "output", &a->output, EML_COMMIT_RESPONSE, opening.response_salt,
                       &j->response));
        j->expect.response_hash = &j->response;
    }
    return EML_OK;
}

static enum eml_err read_expectations(struct job *j)
{
    const struct arguments *a = j->a;
    struct eml_why why = {0};
    const char *document = eml_arg(&a->attestation, "embedded");
    if (a->policy.n == 0) {
        eml_say("verifying needs --policy FILE: what the enclave must have been");
        return EML_E_USAGE;
    }
    EML_TRY(eml_cli_read_policy(a->policy.v[0], &j->policy));
    j->expect = (struct eml_receipt_expect){.policy = &j->policy,
                                            .now_unix_s = (int64_t)time(NULL),
                                            .evaluation_allowed = a->evaluation.n != 0};
    if (strcmp(document, "embedded") != 0) {
        enum eml_err e = eml_file_read(document, EML_ATTEST_DOCUMENT_MAX, &j->document, &why);
        if (e != EML_OK)
            return failed(document, e, &why);
        j->expect.document = eml_buf_bytes(&j->document);
    }
    if (a->topology.n != 0) {
        EML_TRY(eml_cli_read_topology(a->topology.v[0], &j->topology));
        const struct eml_bytes topology = eml_buf_bytes(&j->topology);
        EML_TRY(eml_sha256(&topology, 1, &j->model));
        j->expect.model_hash = &j->model;
    }
    return read_data(j);
}

/* --- the two commands --- */

static enum eml_err verify(struct job *j)
{
    struct eml_receipt_report report;
    struct eml_receipt_verified v;
    struct eml_why why = {0};
    EML_TRY(read_expectations(j));
    enum eml_err e = eml_receipt_verify(&j->receipt, &j->expect, &v, &report, &why);
    if (j->a->json.n != 0) {
        json_t *json = json_pack("{s:b, s:o}", "verified", (int)(e == EML_OK), "checks",
                                 eml_receipt_report_checks_json(&report));
        if (e == EML_OK)
            (void)json_object_set_new(json, "receipt", eml_receipt_report_json(&v));
        else
            (void)json_object_set_new(json, "refused",
                                      json_pack("{s:s, s:s}", "class", eml_err_name(e), "rule",
                                                why.rule != NULL ? why.rule : ""));
        enum eml_err printed = eml_report_print_json(json);
        e = e != EML_OK ? e : printed;
    } else {
        eml_receipt_report_checks(&report);
        if (e == EML_OK)
            eml_receipt_report_print(&v);
    }
    return e == EML_OK ? e : failed(j->path, e, &why);
}

/* A bare AIR receipt, of whatever issuer: levels 1 to 3. What it says of document, model and data
 * is for whoever knows these to compare. */
static enum eml_err verify_air(struct job *j)
{
    static const char *const rules[] = {"AIR level 1: envelope", "AIR level 2: signature",
                                        "AIR level 3: claims"};
    struct eml_receipt_report report = {.n = 0};
    struct eml_receipt_verified v = {0};
    struct eml_ed25519_pk key;
    struct eml_sign1 s;
    struct eml_why why = {0};
    if (!eml_hex_get(eml_bytes_of_str(j->a->key.v[0]), EML_ROOM(key.b))) {
        eml_say("--key takes an Ed25519 public key, 64 hex digits");
        return EML_E_USAGE;
    }
    enum eml_err e = eml_air_parse(eml_buf_bytes(&j->file), &s, &why);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (i == 1)
            e = eml_air_authenticate(&s, &key, &why);
        else if (i == 2)
            e = eml_air_claims(s.payload, &v.air, &why);
        report.check[report.n].rule = rules[i];
        report.check[report.n++].passed = e == EML_OK;
        if (e != EML_OK)
            break;
    }
    if (j->a->json.n != 0) {
        json_t *json = json_pack("{s:b, s:o}", "verified", (int)(e == EML_OK), "checks",
                                 eml_receipt_report_checks_json(&report));
        if (e == EML_OK)
            (void)json_object_set_new(json, "air", eml_receipt_report_air_json(&v.air));
        enum eml_err printed = eml_report_print_json(json);
        e = e != EML_OK ? e : printed;
    } else {
        eml_receipt_report_checks(&report);
    }
    return e == EML_OK ? e : failed(j->path, e, &why);
}

static enum eml_err show(struct job *j)
{
    struct eml_receipt_verified v;
    struct eml_why why = {0};
    enum eml_err e = eml_receipt_peek(&j->receipt, &v, &why);
    if (e != EML_OK)
        return failed(j->path, e, &why);
    if (j->a->air.n != 0 &&
        (e = eml_file_write_atomic(j->a->air.v[0], 0644, j->receipt.air, &why)) != EML_OK)
        return failed(j->a->air.v[0], e, &why);
    if (j->a->json.n != 0)
        return eml_report_print_json(eml_receipt_report_json(&v));
    eml_receipt_report_print(&v);
    (void)printf("  not verified: this is what the file says\n");
    return EML_OK;
}

static enum eml_err with_file(struct job *j, enum eml_err (*command)(struct job *j))
{
    struct eml_why why = {0};
    enum eml_err e = eml_file_read(j->path, EML_RECEIPT_BYTES_MAX, &j->file, &why);
    if (e == EML_OK && command != verify_air)
        e = eml_receipt_decode(eml_buf_bytes(&j->file), &j->receipt, &why);
    e = e == EML_OK ? command(j) : failed(j->path, e, &why);
    eml_buf_free(&j->file);
    eml_buf_free(&j->document);
    eml_buf_free(&j->topology);
    (void)eml_arena_destroy(&j->arena);
    return e;
}

static int run(const struct eml_command *self, int argc, char **argv)
{
    struct arguments a = {0};
    struct eml_values positional;
    const struct eml_option options[] = {
        {"attestation", "DOC", "the enclave's document, or embedded (default): the receipt's own",
         1, false, &a.attestation},
        {"policy", "FILE", "what the enclave must have been (verify)", 1, false, &a.policy},
        {"input", "NAME=FILE", "an input that it must be of", EML_ARG_VALUES_MAX, false, &a.input},
        {"output", "NAME=FILE", "an output that it must be of", EML_ARG_VALUES_MAX, false,
         &a.output},
        {"opening", "FILE", "the salts for --input and --output (FILE.opening)", 1, false,
         &a.opening},
        {"topology", "FILE", "the topology key that it must be of", 1, false, &a.topology},
        {"allow-evaluation", NULL, "accept a development or debug enclave's", 1, false,
         &a.evaluation},
        {"air", "FILE", "write the bare AIR receipt (show)", 1, false, &a.air},
        {"key", "HEX", "FILE is a bare AIR receipt, signed by this Ed25519 key (verify)", 1, false,
         &a.key},
        {"json", NULL, "report as JSON", 1, false, &a.json},
    };
    bool helped;
    enum eml_err e = eml_args_parse(self, options, sizeof options / sizeof options[0], argc, argv,
                                    &positional, &helped);
    if (e != EML_OK || helped)
        return eml_err_exit(e);
    struct job j = {.path = positional.v[1], .a = &a};
    if (strcmp(positional.v[0], "verify") == 0)
        return eml_err_exit(with_file(&j, a.key.n != 0 ? verify_air : verify));
    if (strcmp(positional.v[0], "show") == 0)
        return eml_err_exit(with_file(&j, show));
    eml_say("there is no receipt %s (try eml receipt verify FILE, or show)", positional.v[0]);
    return eml_err_exit(EML_E_USAGE);
}

const struct eml_command eml_cmd_receipt = {"receipt", "verify|show FILE", 2,
                                            "verify a receipt offline, or show what it says", run};
