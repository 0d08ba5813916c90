#include "host/metrics.h"

#include <stdio.h>

static const int64_t bucket_ms[EML_METRIC_BUCKETS - 1] = {10,   50,    100,   500,   1000,
                                                          5000, 10000, 60000, 600000};
static const char *const bucket_name[EML_METRIC_BUCKETS] = {"0.01", "0.05", "0.1", "0.5", "1",
                                                            "5",    "10",   "60",  "600", "+Inf"};
static const char *const kind_name[EML_METRIC_KIND_N] = {
    "relay", "put", "stat", "health", "get", "egress", "credentials", "audit", "none"};
static const char *const status_name[EML_HOST_STATUS_N] = {
    "ok",   "bad_request", "not_found", "exists",     "too_large",
    "busy", "unreachable", "system",    "not_offered"};

enum eml_metric_kind eml_metric_kind(enum eml_host_kind kind)
{
    switch (kind) {
    case EML_HOST_RELAY:
        return EML_METRIC_RELAY;
    case EML_HOST_PUT:
        return EML_METRIC_PUT;
    case EML_HOST_STAT:
        return EML_METRIC_STAT;
    case EML_HOST_HEALTH:
        return EML_METRIC_HEALTH;
    case EML_HOST_GET:
        return EML_METRIC_GET;
    case EML_HOST_EGRESS:
        return EML_METRIC_EGRESS;
    case EML_HOST_CREDENTIALS:
        return EML_METRIC_CREDENTIALS;
    case EML_HOST_AUDIT:
        return EML_METRIC_AUDIT;
    }
    return EML_METRIC_NONE;
}

void eml_metrics_duration(struct eml_metrics *m, int64_t ms)
{
    size_t i = 0;
    while (i < EML_METRIC_BUCKETS - 1 && ms > bucket_ms[i])
        i++;
    m->duration[i]++;
    m->duration_count++;
    m->duration_ms_sum += (uint64_t)ms;
}

static void head(struct eml_buf *out, const char *name, const char *type, const char *help)
{
    char line[256];
    (void)snprintf(line, sizeof line, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    eml_buf_put(out, eml_bytes_of_str(line));
}

/* label is "" or a whole {name="value"}; all text here is ours. */
static void sample(struct eml_buf *out, const char *name, const char *label, uint64_t v)
{
    char line[256];
    (void)snprintf(line, sizeof line, "%s%s %llu\n", name, label, (unsigned long long)v);
    eml_buf_put(out, eml_bytes_of_str(line));
}

static void labelled(struct eml_buf *out, const char *name, const char *label, const char *value,
                     uint64_t v)
{
    char text[64];
    (void)snprintf(text, sizeof text, "{%s=\"%s\"}", label, value);
    sample(out, name, text, v);
}

static void single(struct eml_buf *out, const char *name, const char *type, const char *help,
                   uint64_t v)
{
    head(out, name, type, help);
    sample(out, name, "", v);
}

static void print_bytes(struct eml_metrics *m, struct eml_buf *out)
{
    const char *name = "eml_host_bytes_total";
    head(out, name, "counter", "Bytes carried, by way.");
    labelled(out, name, "way", "client_to_enclave", m->relay_up);
    labelled(out, name, "way", "enclave_to_client", m->relay_down);
    labelled(out, name, "way", "enclave_to_kms", m->egress_up);
    labelled(out, name, "way", "kms_to_enclave", m->egress_down);
    labelled(out, name, "way", "client_to_store", m->put_bytes);
    labelled(out, name, "way", "store_to_enclave", m->get_bytes);
}

static void print_audit(struct eml_metrics *m, struct eml_buf *out)
{
    const char *name = "eml_host_audit_commits_total";
    head(out, name, "counter", "Batches of audit records, by outcome.");
    labelled(out, name, "outcome", "on_disk", m->audit_commits[0]);
    labelled(out, name, "outcome", "refused", m->audit_commits[1]);
    single(out, "eml_host_audit_records_total", "counter", "Audit records put on disk.",
           m->audit_records);
    single(out, "eml_host_audit_commit_milliseconds_total", "counter",
           "Time that putting them on disk took.", m->audit_ms);
}

static void print_durations(struct eml_metrics *m, struct eml_buf *out)
{
    char sum[64];
    uint64_t total = 0;
    head(out, "eml_host_relay_seconds", "histogram", "How long relays lasted.");
    for (size_t i = 0; i < EML_METRIC_BUCKETS; i++) {
        total += m->duration[i];
        labelled(out, "eml_host_relay_seconds_bucket", "le", bucket_name[i], total);
    }
    uint64_t ms = m->duration_ms_sum;
    (void)snprintf(sum, sizeof sum, "eml_host_relay_seconds_sum %llu.%03u\n",
                   (unsigned long long)(ms / 1000), (unsigned)(ms % 1000));
    eml_buf_put(out, eml_bytes_of_str(sum));
    sample(out, "eml_host_relay_seconds_count", "", total);
}

void eml_metrics_print(struct eml_metrics *m, uint64_t objects, uint64_t bytes, struct eml_buf *out)
{
    head(out, "eml_host_connections_total", "counter", "Connections, by what they were for.");
    for (size_t i = 0; i < EML_METRIC_KIND_N; i++)
        labelled(out, "eml_host_connections_total", "kind", kind_name[i], m->connections[i]);
    single(out, "eml_host_connections_active", "gauge", "Connections open now.", m->active);
    single(out, "eml_host_connections_refused_total", "counter",
           "Connections over the limit on their number.", m->refused);
    head(out, "eml_host_answers_total", "counter", "Answers, by status.");
    for (size_t i = 0; i < EML_HOST_STATUS_N; i++)
        labelled(out, "eml_host_answers_total", "status", status_name[i], m->status[i]);
    print_bytes(m, out);
    single(out, "eml_host_relays_failed_total", "counter",
           "Relays that ended by error or time limit.", m->relay_failed);
    print_durations(m, out);
    print_audit(m, out);
    single(out, "eml_host_store_objects", "gauge", "Objects stored.", objects);
    single(out, "eml_host_store_bytes", "gauge", "Bytes stored.", bytes);
}
