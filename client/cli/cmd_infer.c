/* eml infer: attest, open the channel, send topology key and inputs, receive the outputs. */
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/report.h"
#include "cli/say.h"

#include "file/file.h"
#include "net/net.h"
#include "remote/infer.h"
#include "remote/remember.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct arguments {
    struct eml_values host, policy, topology, input, output, mode, kms_key, kms_endpoint, kms_ca,
        timeout, json, receipt, remember;
};

struct job {
    const char *output_dir, *receipt, *remember; /* the last two NULL: not kept */
    struct eml_memory seen_before;               /* of --remember, as the last three */
    struct eml_seen_policy seen_policy;
    struct eml_seen_model seen_model;
    enum eml_mode mode;
    struct eml_kms_config kms;
    struct eml_buf topology; /* encoded; secret */
    struct eml_policy policy;
    struct eml_arena arena;
    struct eml_named_tensor inputs[EML_ARG_VALUES_MAX]; /* as given on the command line */
    size_t n_inputs;
    size_t n_requests;
    struct eml_remote remote;
    json_t *results;
    uint64_t start_ms;
};

/* The k-th time that a name is given belongs to the k-th request. */
static size_t occurrence(const struct job *j, size_t i)
{
    size_t before = 0;
    for (size_t k = 0; k < i; k++)
        before += eml_bytes_equal(j->inputs[k].name, j->inputs[i].name) ? 1 : 0;
    return before;
}

static enum eml_err count_requests(struct job *j)
{
    size_t of_first = 0;
    for (size_t i = 0; i < j->n_inputs; i++) {
        size_t k = occurrence(j, i) + 1;
        j->n_requests = k > j->n_requests ? k : j->n_requests;
        of_first += eml_bytes_equal(j->inputs[i].name, j->inputs[0].name) ? 1 : 0;
    }
    if (j->n_inputs % of_first != 0 || j->n_inputs / of_first * j->n_requests != j->n_inputs) {
        eml_say("every input must be given as often as the others");
        return EML_E_USAGE;
    }
    return EML_OK;
}

static json_t *result_json(const struct eml_result *r)
{
    json_t *outputs = json_array();
    for (size_t i = 0; i < r->n_outputs; i++) {
        const struct eml_named_tensor *o = &r->outputs[i];
        json_t *dims = json_array();
        for (uint32_t d = 0; d < o->tensor.shape.rank; d++)
            (void)json_array_append_new(dims, json_integer(o->tensor.shape.dim[d]));
        (void)json_array_append_new(
            outputs, json_pack("{s:o, s:s, s:o}", "name",
                               json_stringn((const char *)o->name.ptr, o->name.len), "type",
                               eml_dtype_name(o->tensor.dtype), "shape", dims));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "weights_us",
                     (json_int_t)r->weights_us, "assemble_us", (json_int_t)r->assemble_us, "run_us",
                     (json_int_t)r->run_us, "wipe_us", (json_int_t)r->wipe_us, "exposure_us",
                     (json_int_t)r->exposure_us, "wiped_bytes", (json_int_t)r->wiped_bytes,
                     "kernels", json_stringn((const char *)r->kernels.ptr, r->kernels.len),
                     "outputs", outputs);
}

static void print_result(const struct eml_result *r)
{
    const struct {
        const char *name;
        uint64_t us;
    } row[] = {{"get sealed weights", r->weights_us},
               {"assemble", r->assemble_us},
               {"run", r->run_us},
               {"wipe", r->wipe_us},
               {"exposure window", r->exposure_us}};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        (void)printf("  %-20s %10.3f ms\n", row[i].name, (double)row[i].us / 1e3);
    (void)printf("  %-20s %10llu bytes\n", "wiped", (unsigned long long)r->wiped_bytes);
}

/* FILE, or FILE.1, FILE.2 ... of several requests. The opening is the owner's secret. */
static enum eml_err keep_receipt(const struct job *j, size_t k,
                                 const struct eml_remote_receipt *receipt)
{
    char path[4096], opening_path[4096];
    struct eml_why why = {0};
    struct eml_buf opening = {0};
    int len = j->n_requests == 1 ? snprintf(path, sizeof path, "%s", j->receipt)
                                 : snprintf(path, sizeof path, "%s.%zu", j->receipt, k + 1);
    if (len < 0 || (size_t)len >= sizeof path - sizeof ".opening") {
        eml_say("--receipt: the name is too long");
        return EML_E_USAGE;
    }
    (void)snprintf(opening_path, sizeof opening_path, "%.4080s.opening", path);
    enum eml_err e = eml_opening_encode(&receipt->opening, &opening);
    if (e == EML_OK)
        e = eml_file_write_atomic(opening_path, 0600, eml_buf_bytes(&opening), &why);
    if (e == EML_OK)
        e = eml_file_write_atomic(path, 0644, eml_buf_bytes(&receipt->file), &why);
    if (e != EML_OK)
        (void)eml_say_failed(path, e, &why, NULL);
    eml_buf_free(&opening);
    return e;
}

/* --- what is remembered: key and policy are compared before anything is sent, and remembered with
 * the image once that is attested; the log's checkpoint comes with each result --- */

static enum eml_err identify_model(struct job *j, const char *path, struct eml_seen_model *out)
{
    const struct eml_bytes encoded = eml_buf_bytes(&j->topology);
    size_t mark = eml_arena_mark(&j->arena);
    struct eml_topology *t = eml_arena_alloc(&j->arena, sizeof *t, 64);
    enum eml_err e =
        t == NULL ? EML_E_SYSTEM : eml_cli_decode_topology(path, encoded, &j->arena, t);
    if (e == EML_OK) {
        memcpy(out->id, t->blob.model_id, sizeof out->id);
        out->version = t->blob.version;
        e = eml_sha256(&encoded, 1, &out->digest);
    }
    if (e == EML_E_SYSTEM)
        (void)eml_say_failed(path, e, NULL, NULL);
    (void)eml_arena_reset(&j->arena, mark);
    return e;
}

static enum eml_err compare_own(struct job *j, const char *topology)
{
    struct eml_why why = {0};
    const struct eml_seen own = {.policy = &j->seen_policy, .model = &j->seen_model};
    if (j->remember == NULL)
        return EML_OK;
    EML_TRY(identify_model(j, topology, &j->seen_model));
    j->seen_policy.serial = j->policy.serial;
    enum eml_err e = eml_policy_digest(&j->policy, &j->seen_policy.digest);
    if (e == EML_OK)
        e = eml_remember_read(j->remember, &j->seen_before, &why);
    if (e == EML_OK)
        e = eml_memory_compare(&j->seen_before, &own, &why);
    if (e != EML_OK)
        (void)eml_say_failed(j->remember, e, &why, NULL);
    return e;
}

static enum eml_err remember_enclave(struct job *j, struct eml_why *why)
{
    const struct eml_seen seen = {.policy = &j->seen_policy,
                                  .image_version = &j->remote.attested.image_version,
                                  .model = &j->seen_model};
    if (j->remember == NULL)
        return EML_OK;
    return eml_remember(j->remember, &j->seen_before, &seen, why);
}

static enum eml_err remember_log(struct job *j, const struct eml_remote_receipt *receipt,
                                 struct eml_why *why)
{
    struct eml_receipt r;
    struct eml_proof proof;
    if (j->remember == NULL)
        return EML_OK;
    EML_TRY(eml_receipt_decode(eml_buf_bytes(&receipt->file), &r, why));
    EML_TRY(eml_proof_parse(r.proof, &proof, why));
    const struct eml_seen seen = {.checkpoint = proof.checkpoint};
    return eml_remember(j->remember, &j->seen_before, &seen, why);
}

static enum eml_err one_request(struct job *j, size_t k, bool want_json)
{
    struct eml_named_tensor inputs[EML_ARG_VALUES_MAX];
    struct eml_request request = {.mode = j->mode, .inputs = inputs};
    struct eml_why why = {0};
    if (k == 0 || j->mode == EML_MODE_REQUEST)
        request.topology = eml_buf_bytes(&j->topology);
    for (size_t i = 0; i < j->n_inputs; i++)
        if (occurrence(j, i) == k)
            inputs[request.n_inputs++] = j->inputs[i];
    size_t mark = eml_arena_mark(&j->arena);
    struct eml_result result;
    struct eml_remote_receipt receipt;
    enum eml_err e = eml_remote_infer(&j->remote, &request, &j->kms, (int64_t)time(NULL), &j->arena,
                                      &result, &receipt, &why);
    if (e == EML_OK)
        e = remember_log(j, &receipt, &why);
    if (e != EML_OK) {
        (void)eml_say_failed("infer", e, &why, NULL);
    } else {
        char dir[4096];
        int len = j->n_requests == 1 ? snprintf(dir, sizeof dir, "%s", j->output_dir)
                                     : snprintf(dir, sizeof dir, "%s/%zu", j->output_dir, k + 1);
        if (j->n_requests > 1)
            (void)mkdir(j->output_dir, 0777); /* eml_cli_write_outputs says if it is missing */
        e = len < 0 || (size_t)len >= sizeof dir
                ? EML_E_USAGE
                : eml_cli_write_outputs(dir, result.outputs, result.n_outputs);
        if (e == EML_OK && j->receipt != NULL)
            e = keep_receipt(j, k, &receipt);
        if (want_json)
            (void)json_array_append_new(j->results, result_json(&result));
        else if (e == EML_OK)
            print_result(&result);
    }
    eml_remote_receipt_free(&receipt);
    (void)eml_arena_reset(&j->arena, mark);
    return e;
}

static enum eml_err converse(struct job *j, const char *host, int64_t deadline_ms, bool want_json)
{
    struct eml_why why = {0};
    eml_say_progress("attesting");
    enum eml_err e = eml_remote_attest(&j->remote, host, &j->policy, (int64_t)time(NULL) * 1000,
                                       NULL, deadline_ms, &why);
    if (!want_json)
        eml_report_checks(&j->remote.report);
    if (e == EML_OK)
        e = remember_enclave(j, &why);
    if (e == EML_OK)
        e = eml_remote_open(&j->remote, &why);
    if (e != EML_OK) {
        (void)eml_say_failed(host, e, &why, NULL);
        return e;
    }
    eml_say_progress("inferring");
    for (size_t k = 0; e == EML_OK && k < j->n_requests; k++)
        e = one_request(j, k, want_json);
    return e;
}

static enum eml_err print_json(struct job *j, const struct eml_attested *attested)
{
    json_t *json = eml_report_json(&j->remote.report, attested);
    json_t *session = json_pack(
        "{s:I, s:I, s:I, s:I, s:I}", "attest_us", (json_int_t)(j->remote.attest_ns / 1000),
        "handshake_us", (json_int_t)(j->remote.handshake_ns / 1000), "total_us",
        (json_int_t)((uint64_t)eml_net_now_ms() - j->start_ms) * 1000, "sent_bytes",
        (json_int_t)j->remote.sent_bytes, "received_bytes", (json_int_t)j->remote.received_bytes);
    (void)json_object_set_new(json, "session", session);
    (void)json_object_set(json, "results", j->results);
    return eml_report_print_json(json);
}

static enum eml_err prepare(struct job *j, const struct arguments *a)
{
    EML_TRY(eml_cli_reserve(&j->arena));
    if (a->kms_key.n == 0 && (a->kms_endpoint.n != 0 || a->kms_ca.n != 0)) {
        eml_say("--kms-endpoint and --kms-ca do nothing without --kms-key ARN");
        return EML_E_USAGE;
    }
    const char *mode = eml_arg(&a->mode, "request");
    if (strcmp(mode, "request") != 0 && strcmp(mode, "session") != 0) {
        eml_say("--mode is request or session");
        return EML_E_USAGE;
    }
    j->mode = strcmp(mode, "session") == 0 ? EML_MODE_SESSION : EML_MODE_REQUEST;
    j->kms = (struct eml_kms_config){eml_arg(&a->kms_key, NULL), eml_arg(&a->kms_endpoint, NULL),
                                     eml_arg(&a->kms_ca, NULL)};
    j->output_dir = a->output.v[0];
    j->receipt = eml_arg(&a->receipt, NULL);
    j->remember = eml_arg(&a->remember, NULL);
    EML_TRY(eml_cli_read_policy(a->policy.v[0], &j->policy));
    EML_TRY(eml_cli_read_topology(a->topology.v[0], &j->topology));
    EML_TRY(compare_own(j, a->topology.v[0]));
    EML_TRY(eml_cli_read_tensors("input", &a->input, &j->arena, j->inputs, &j->n_inputs));
    return count_requests(j);
}

static enum eml_err run_job(const struct arguments *a, uint64_t seconds)
{
    struct job j = {.remote = {.fd = -1}, .start_ms = (uint64_t)eml_net_now_ms()};
    bool want_json = a->json.n != 0;
    j.results = json_array();
    enum eml_err e = prepare(&j, a);
    if (e == EML_OK) {
        e = converse(&j, a->host.v[0], (int64_t)j.start_ms + (int64_t)seconds * 1000, want_json);
        if (want_json) {
            enum eml_err printed = print_json(&j, e == EML_OK ? &j.remote.attested : NULL);
            e = e != EML_OK ? e : printed;
        }
    }
    eml_remote_close(&j.remote);
    json_decref(j.results);
    eml_buf_free(&j.topology);
    eml_memory_free(&j.seen_before);
    (void)eml_arena_destroy(&j.arena);
    return e;
}

static int run(const struct eml_command *self, int argc, char **argv)
{
    struct arguments a = {0};
    struct eml_values positional;
    const struct eml_option options[] = {
        {"host", "ADDR", "the host, e.g. tcp:HOST:PORT", 1, true, &a.host},
        {"policy", "FILE", "what the enclave must prove", 1, true, &a.policy},
        {"topology", "FILE", "topology key of a pushed model", 1, true, &a.topology},
        {"input", "NAME=FILE", "an input, .npy or .pb", EML_ARG_VALUES_MAX, true, &a.input},
        {"output", "DIR", "folder for the outputs", 1, true, &a.output},
        {"mode", "request|session",
         "destroy the model after each request (default), or after the last", 1, false, &a.mode},
        {"kms-key", "ARN", "seal the request under this KMS key too", 1, false, &a.kms_key},
        {"kms-endpoint", "URL", "KMS other than the region's", 1, false, &a.kms_endpoint},
        {"kms-ca", "FILE", "roots for the KMS's certificate", 1, false, &a.kms_ca},
        {"receipt", "FILE", "keep the receipt, and what opens it in FILE.opening", 1, false,
         &a.receipt},
        {"remember", "FILE",
         "refuse an older key, policy, image or audit log than seen before; kept here", 1, false,
         &a.remember},
        {"timeout", "SECONDS", "for the whole session (120)", 1, false, &a.timeout},
        {"json", NULL, "report as JSON", 1, false, &a.json},
    };
    bool helped;
    uint64_t seconds = 0;
    enum eml_err e = eml_args_parse(self, options, sizeof options / sizeof options[0], argc, argv,
                                    &positional, &helped);
    if (e != EML_OK || helped)
        return eml_err_exit(e);
    e = eml_arg_u64("timeout", eml_arg(&a.timeout, "120"), 1, 86400, &seconds);
    if (e == EML_OK)
        e = run_job(&a, seconds);
    return eml_err_exit(e);
}

const struct eml_command eml_cmd_infer = {
    "infer", "", 0, "infer inside an attested enclave, through an untrusted host", run};
