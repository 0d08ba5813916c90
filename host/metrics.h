/* Counters of the host, and their text for Prometheus. Numbers only. Thread safe. */
#ifndef EML_HOST_METRICS_H
#define EML_HOST_METRICS_H

#include "hostproto/hostproto.h"

#include <stdatomic.h>

enum eml_metric_kind { /* what a connection was for */
                       EML_METRIC_RELAY,
                       EML_METRIC_PUT,
                       EML_METRIC_STAT,
                       EML_METRIC_HEALTH,
                       EML_METRIC_GET,
                       EML_METRIC_EGRESS,
                       EML_METRIC_CREDENTIALS,
                       EML_METRIC_AUDIT,
                       EML_METRIC_NONE, /* it never said */
                       EML_METRIC_KIND_N
};
enum { EML_METRIC_BUCKETS = 10 }; /* of the histogram of relay durations, the last one +Inf */

struct eml_metrics {
    _Atomic uint64_t connections[EML_METRIC_KIND_N];
    _Atomic uint64_t active;
    _Atomic uint64_t refused; /* over the limit on connections */
    _Atomic uint64_t status[EML_HOST_STATUS_N];
    _Atomic uint64_t relay_up, relay_down, egress_up, egress_down, put_bytes, get_bytes;
    _Atomic uint64_t audit_commits[2]; /* on disk, refused */
    _Atomic uint64_t audit_records, audit_ms;
    _Atomic uint64_t relay_failed; /* relays that ended by error or time limit */
    _Atomic uint64_t duration[EML_METRIC_BUCKETS];
    _Atomic uint64_t duration_ms_sum, duration_count;
};

enum eml_metric_kind eml_metric_kind(enum eml_host_kind kind);
void eml_metrics_duration(struct eml_metrics *m, int64_t ms);
/* Appends the text exposition format (version 0.0.4). */
void eml_metrics_print(struct eml_metrics *m, uint64_t objects, uint64_t bytes,
                       struct eml_buf *out);

#endif
