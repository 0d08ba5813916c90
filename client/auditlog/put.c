/* What all renderers share. */
#include "auditlog/report.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

void eml_put(struct eml_buf *out, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    EML_ASSERT(n >= 0 && (size_t)n < sizeof text);
    eml_buf_put(out, eml_bytes(text, (size_t)n));
}

void eml_put_time(struct eml_buf *out, uint64_t unix_ms)
{
    time_t t = (time_t)(unix_ms / 1000);
    struct tm tm;
    char text[64];
    if (unix_ms > (uint64_t)253402300799 * 1000 || gmtime_r(&t, &tm) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        eml_put(out, "%llu ms", (unsigned long long)unix_ms);
    else
        eml_put(out, "%s", text);
}

void eml_put_hex(struct eml_buf *out, const uint8_t *bytes, size_t n)
{
    eml_hex_append(eml_bytes(bytes, n), out);
}

void eml_put_us(struct eml_buf *out, uint64_t us)
{
    if (us < 1000)
        eml_put(out, "%llu \xc2\xb5s", (unsigned long long)us);
    else if (us < 1000000)
        eml_put(out, "%.3g ms", (double)us / 1e3);
    else
        eml_put(out, "%.4g s", (double)us / 1e6);
}

const char *eml_result_text(enum eml_log_result r)
{
    static const char *const text[] = {"not reached", "passed", "FAILED", "not asked"};
    return text[r];
}

const char *eml_notable_text(const struct eml_stats_notable *n)
{
    static const char *const violation[] = {
        "a violation", "a worker said what it may not", "a worker made a forbidden system call",
        "a worker crashed", "weights from the host were not authentic"};
    static const char *const budget[] = {"a budget was hit",
                                         "time of a session",
                                         "time of a request",
                                         "connections to the host",
                                         "weights larger than the cache",
                                         "processor time",
                                         "memory, operations, size or version of a request"};
    static const char *const error[] = {"an error", "weights could not be had from the host",
                                        "a session could not be started"};
    uint64_t k = n->number[0];
    switch (n->event) {
    case EML_EVENT_VIOLATION:
        return violation[k < sizeof violation / sizeof violation[0] ? k : 0];
    case EML_EVENT_BUDGET:
        return budget[k < sizeof budget / sizeof budget[0] ? k : 0];
    case EML_EVENT_ERROR:
        return error[k < sizeof error / sizeof error[0] ? k : 0];
    case EML_EVENT_ATTESTATION:
        return "no attestation document was given";
    case EML_EVENT_KMS:
        return "a key from KMS was refused";
    default:
        return "an inference failed";
    }
}
