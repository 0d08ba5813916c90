/* The audit log from 1 to MAX records: what a record costs the enclave and the host, what a proof
 * and a whole verification cost later, and the memory of each. usage: bench_audit DIR MAX (a new
 * DIR; on a disk its fsyncs count, on tmpfs only the work does). */
#define _GNU_SOURCE
#include "auditlog/dir.h"
#include "auditlog/stats.h"
#include "auditlog/verify.h"
#include "crypto/crypto.h"
#include "enclave/audit_log.h"
#include "enclave/ipc.h"
#include "file/file.h"
#include "host/sink.h"
#include "net/net.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROOFS = 200, TURN_RECORDS = 250 };

static struct eml_ed25519_sk secret = {.b = {1}};

static double seconds(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(enum eml_err err, const char *what)
{
    if (err == EML_OK)
        return;
    (void)fprintf(stderr, "bench_audit: %s: %s\n", what, eml_err_name(err));
    exit(1);
}

/* The host: a thread that keeps what comes. */
static void *serve(void *arg)
{
    struct eml_sink *sink = ((void **)arg)[0];
    int fd = *(int *)((void **)arg)[1];
    struct eml_buf frame = {0}, out = {0};
    must(eml_net_recv_frame(fd, EML_HOST_REQUEST_MAX, INT64_MAX, &frame), "host");
    must(eml_sink_state(sink, &out), "host");
    must(eml_net_send_frame(fd, eml_buf_bytes(&out), INT64_MAX), "host");
    while (eml_net_recv_frame(fd, EML_HOST_LOG_COMMIT_MAX, INT64_MAX, &frame) == EML_OK) {
        struct eml_host_commit c;
        must(eml_host_commit_decode(eml_buf_bytes(&frame), &c), "commit");
        const uint8_t status[] = {(uint8_t)eml_sink_commit(sink, &c)};
        must(eml_net_send_frame(fd, EML_BYTES(status), INT64_MAX), "host");
    }
    eml_buf_free(&frame);
    eml_buf_free(&out);
    return NULL;
}

static int line[2];

static int dial(void *ctx)
{
    int phone[2];
    pthread_t thread;
    const uint8_t ok[] = {EML_OK};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, phone) != 0 ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, line) != 0)
        return -1;
    must(eml_ipc_send(phone[1], EML_BYTES(ok), line[0]), "dial");
    (void)close(phone[1]);
    return pthread_create(&thread, NULL, serve, ctx) == 0 ? phone[0] : -1;
}

/* What one request leaves in the log: a session of its own, six records. */
static void append(struct eml_audit_log *log, uint64_t i)
{
    static const uint8_t digest[32] = {7};
    struct eml_record r = {.session = i / 6 + 1};
    switch (i % 6) {
    case 0:
        r.event = EML_EVENT_SESSION_OPEN;
        r.number[0] = 1;
        break;
    case 1:
        r.event = EML_EVENT_ATTESTATION;
        r.number[0] = EML_ATTESTATION_SESSION;
        r.bytes[0] = EML_BYTES(digest);
        break;
    case 2:
        r.event = EML_EVENT_ASSEMBLY;
        r.number[0] = 5505;
        r.number[1] = 950;
        break;
    case 3:
        r.event = EML_EVENT_DESTRUCTION;
        r.number[0] = 778880;
        r.number[1] = 120;
        r.number[2] = 1000 + i % 100000;
        break;
    case 4:
        r.event = EML_EVENT_INFERENCE;
        r.number[0] = 5200;
        r.bytes[EML_INFERENCE_RECEIPT] = r.bytes[EML_INFERENCE_MODEL] = EML_BYTES(digest);
        break;
    default:
        r.event = EML_EVENT_SESSION_CLOSE;
        r.number[0] = 60;
    }
    must(eml_audit_log_append(log, &r, NULL), "append");
}

/* wait_ms 0: sends what was appended, as the broker does at the end of its turn. */
static void turn(struct eml_audit_log *log, int wait_ms)
{
    struct pollfd p;
    (void)eml_audit_log_poll(log, &p);
    (void)poll(&p, 1, wait_ms);
    eml_audit_log_turn(log, &p);
}

/* Grows the log to `size`; microseconds of the enclave's processor time and of wall time for a
 * record, with as many in a batch as TURN_RECORDS. */
static void grow(struct eml_audit_log *log, uint64_t *at, uint64_t size, double *enclave_us,
                 double *wall_us)
{
    uint64_t n = size > *at ? size - *at : 0;
    double cpu = seconds(CLOCK_THREAD_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    while (*at < size) {
        for (unsigned i = 0; i < TURN_RECORDS && *at < size; i++)
            append(log, (*at)++ - 1);
        turn(log, 0);
        while (!eml_audit_log_settled(log))
            turn(log, 100);
    }
    *enclave_us = n != 0 ? (seconds(CLOCK_THREAD_CPUTIME_ID) - cpu) * 1e6 / (double)n : 0;
    *wall_us = n != 0 ? (seconds(CLOCK_MONOTONIC) - wall) * 1e6 / (double)n : 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median microseconds to make the inclusion proof of a random record from the tiles, and to check
 * one; *hashes: of the longest. */
static void prove(const char *path, uint64_t size, double *make_us, double *check_us,
                  size_t *hashes)
{
    static double make[PROOFS], check[PROOFS];
    uint64_t x = 88172645463325252u;
    *hashes = 0;
    for (int i = 0; i < PROOFS; i++) {
        struct eml_log_dir d = {.path = path, .size = size};
        struct eml_tree_source source = eml_log_dir_source(&d);
        struct eml_tree_proof p;
        struct eml_bytes entry;
        struct eml_sha256 leaf, root;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        double t = seconds(CLOCK_MONOTONIC);
        must(eml_log_dir_entry(&d, x % size, &entry, NULL), "entry");
        must(eml_tree_prove_inclusion(&source, x % size, size, &p), "prove");
        make[i] = (seconds(CLOCK_MONOTONIC) - t) * 1e6;
        must(eml_tree_source_root(&source, size, &root), "root");
        t = seconds(CLOCK_MONOTONIC);
        must(eml_tree_leaf(entry, &leaf), "leaf");
        must(eml_tree_verify_inclusion(x % size, size, &leaf, &p, &root), "check");
        check[i] = (seconds(CLOCK_MONOTONIC) - t) * 1e6;
        *hashes = p.n > *hashes ? p.n : *hashes;
        eml_log_dir_close(&d);
    }
    qsort(make, PROOFS, sizeof make[0], compare);
    qsort(check, PROOFS, sizeof check[0], compare);
    *make_us = make[PROOFS / 2];
    *check_us = check[PROOFS / 2];
}

/* In a process of its own, to have its peak memory. */
static void verify(const char *path, double *cpu_s, double *mib)
{
    int status;
    struct rusage u = {0};
    pid_t pid = fork();
    if (pid == 0) {
        struct eml_stats *stats = calloc(1, sizeof *stats);
        struct eml_log_report report;
        struct eml_why why = {0};
        const struct eml_log_options o = {.on_record = eml_stats_take, .ctx = stats};
        if (stats == NULL || eml_log_verify(path, &o, &report, &why) != EML_OK) {
            (void)fprintf(stderr, "bench_audit: %s %ld\n", why.rule, why.index);
            _exit(1);
        }
        _exit(0);
    }
    if (wait4(pid, &status, 0, &u) != pid || status != 0)
        exit(1);
    *cpu_s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
             (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    *mib = (double)u.ru_maxrss / 1024;
}

static double resident_mib(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (double)u.ru_maxrss / 1024 : 0;
}

int main(int argc, char **argv)
{
    struct eml_sink *sink;
    struct eml_audit_log *log;
    struct eml_why why = {0};
    if (argc != 3)
        return 2;
    uint64_t max = strtoull(argv[2], NULL, 10), at = 1;
    eml_crypto_init();
    must(eml_ed25519_make(&secret), "key");
    must(eml_sink_open(argv[1], UINT64_MAX, &sink, &why), "sink");
    void *host[] = {sink, &line[1]};
    const struct eml_audit_log_config c = {
        .key = &secret, .document = EML_LIT("no document"), .dial = dial, .ctx = host};
    must(eml_audit_log_start(&c, 10000, &log, &why), "start");
    (void)printf("records  append enclave us  append wall us  prove us  check us  hashes  "
                 "verify cpu s  us/record  verify MiB  writer MiB  bytes/record\n");
    for (uint64_t size = 1; size <= max; size *= 10) {
        double enclave, wall, make, check, cpu, mib;
        size_t hashes;
        uint64_t records, bytes;
        grow(log, &at, size, &enclave, &wall);
        eml_sink_count(sink, &records, &bytes);
        prove(argv[1], size, &make, &check, &hashes);
        verify(argv[1], &cpu, &mib);
        (void)printf("%8llu %17.2f %15.2f %9.1f %9.1f %7zu %13.3f %10.2f %11.1f %11.1f %13.0f\n",
                     (unsigned long long)size, enclave, wall, make, check, hashes, cpu,
                     cpu * 1e6 / (double)size, mib, resident_mib(),
                     (double)bytes / (double)records);
        (void)fflush(stdout);
    }
    eml_audit_log_free(log);
    return 0;
}
