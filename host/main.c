/* eml-hostd: relay, weight store, egress to KMS, metrics. Sees ciphertext only. */
#define _GNU_SOURCE
#include "base/heap.h"
#include "base/log.h"
#include "base/text.h"
#include "host/http.h"
#include "host/limits.h"
#include "host/server.h"
#include "net/net.h"

#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const char usage[] =
    "usage: eml-hostd --listen ADDR --enclave ADDR --service ADDR --store DIR [options]\n"
    "  --listen ADDR            clients connect here\n"
    "  --enclave ADDR           where the enclave listens\n"
    "  --service ADDR           the enclave connects here\n"
    "  --store DIR              sealed weights\n"
    "  --kms-endpoint ADDR      tcp:HOST:PORT, the only place the enclave may reach\n"
    "  --credentials FILE       AWS credentials (JSON), read at each request\n"
    "  --http HOST:PORT         /metrics and /health\n"
    "  --max-connections N      on each port (256)\n"
    "  --idle-seconds N         a relay without a byte (300)\n"
    "  --total-seconds N        a relay, whatever it does (3600)\n"
    "  --bytes-per-second N     each direction of a relay, 0 = no limit (0)\n"
    "  --object-bytes N         one object (18253611008)\n"
    "  --store-bytes N          all objects (274877906944)\n"
    "  --audit DIR              the enclave's audit log (audit in the store)\n"
    "  --audit-bytes N          of it (17179869184)\n"
    "  --grace-seconds N        for running connections at the end (5)\n"
    "ADDR: tcp:HOST:PORT  unix:PATH  vsock:CID:PORT  vsock-unix:PATH:PORT\n";

struct options {
    const char *listen, *enclave, *service, *store, *kms_endpoint, *credentials, *http, *audit;
    uint64_t connections, idle_s, total_s, rate, object_max, store_max, grace_s, audit_max;
};

/* The order of both tables is that of the option's number. */
static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"listen", 1, NULL, 0},
        {"enclave", 1, NULL, 1},
        {"service", 1, NULL, 2},
        {"store", 1, NULL, 3},
        {"kms-endpoint", 1, NULL, 4},
        {"credentials", 1, NULL, 5},
        {"http", 1, NULL, 6},
        {"audit", 1, NULL, 7},
        {"max-connections", 1, NULL, 8},
        {"idle-seconds", 1, NULL, 9},
        {"total-seconds", 1, NULL, 10},
        {"bytes-per-second", 1, NULL, 11},
        {"object-bytes", 1, NULL, 12},
        {"store-bytes", 1, NULL, 13},
        {"grace-seconds", 1, NULL, 14},
        {"audit-bytes", 1, NULL, 15},
        {NULL, 0, NULL, 0},
    };
    const char **const text[] = {&o->listen,       &o->enclave,     &o->service, &o->store,
                                 &o->kms_endpoint, &o->credentials, &o->http,    &o->audit};
    const struct {
        uint64_t *to, max;
    } num[] = {{&o->connections, 65536}, {&o->idle_s, 1u << 30},      {&o->total_s, 1u << 30},
               {&o->rate, 1ull << 40},   {&o->object_max, INT64_MAX}, {&o->store_max, INT64_MAX},
               {&o->grace_s, 1u << 30},  {&o->audit_max, INT64_MAX}};
    enum { TEXTS = sizeof text / sizeof text[0] };
    for (int k; (k = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (k >= 0 && k < TEXTS)
            *text[k] = optarg;
        else if (k < TEXTS || k > 15 ||
                 !eml_u64_get(optarg, 0, num[k - TEXTS].max, num[k - TEXTS].to))
            return false;
    }
    return optind == argc && o->listen != NULL && o->enclave != NULL && o->service != NULL &&
           o->store != NULL;
}

/* What passes through this process is ciphertext; it still does not belong in a core file. */
static bool no_core_dumps(void)
{
    const struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0) == 0;
}

static int stop_signal(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Beside the weights unless told otherwise: an enclave does nothing without its log. */
static enum eml_err open_sink(const struct options *o, struct eml_host *h, struct eml_why *why)
{
    char path[4096];
    int n = o->audit != NULL ? snprintf(path, sizeof path, "%s", o->audit)
                             : snprintf(path, sizeof path, "%s/audit", o->store);
    if (n < 0 || (size_t)n >= sizeof path)
        return eml_fail(why, EML_E_USAGE, "audit: the path is too long", -1);
    return eml_sink_open(path, o->audit_max, &h->sink, why);
}

static enum eml_err serve(const struct options *o, struct eml_host *h, struct eml_why *why)
{
    struct eml_server s = {.host = h,
                           .client_fd = -1,
                           .service_fd = -1,
                           .stop_fd = stop_signal(),
                           .connections = (unsigned)o->connections,
                           .grace_ms = (int64_t)o->grace_s * 1000};
    struct eml_http *http = NULL;
    enum eml_err err = s.stop_fd >= 0 ? EML_OK : EML_E_SYSTEM;
    if (err == EML_OK)
        err = eml_net_listen(o->listen, &s.client_fd, why);
    if (err == EML_OK)
        err = eml_net_listen(o->service, &s.service_fd, why);
    h->stop_fd = s.stop_fd;
    if (err == EML_OK && o->http != NULL)
        err = eml_http_start(o->http, h, &http, why);
    if (err == EML_OK) {
        uint64_t objects, bytes;
        eml_store_count(h->store, &objects, &bytes);
        eml_log_event("ready", EML_OK, {"port", eml_net_port(s.client_fd)},
                      {"service_port", eml_net_port(s.service_fd)},
                      {"http_port", http != NULL ? eml_http_port(http) : 0},
                      {"objects", (int64_t)objects}, {"bytes", (int64_t)bytes});
        enum eml_err left = eml_server_run(&s);
        eml_log_event("stopped", left, {"active", (int64_t)h->metrics->active});
    }
    eml_http_stop(http);
    eml_net_close(&s.client_fd);
    eml_net_close(&s.service_fd);
    eml_net_close(&s.stop_fd);
    return err;
}

int main(int argc, char **argv)
{
    static struct eml_metrics metrics;
    struct options o = {.connections = EML_HOST_CONNECTIONS,
                        .idle_s = EML_HOST_IDLE_S,
                        .total_s = EML_HOST_TOTAL_S,
                        .object_max = EML_HOST_OBJECT_MAX,
                        .store_max = EML_HOST_STORE_MAX,
                        .grace_s = 5,
                        .audit_max = EML_HOST_AUDIT_MAX};
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(usage, stdout) < 0;
    if (!parse(argc, argv, &o)) {
        (void)fputs(usage, stderr);
        return eml_err_exit(EML_E_USAGE);
    }
    struct eml_host h = {.enclave = o.enclave,
                         .kms_endpoint = o.kms_endpoint,
                         .credentials = o.credentials,
                         .limits = {.idle_ms = (int64_t)o.idle_s * 1000,
                                    .total_ms = (int64_t)o.total_s * 1000,
                                    .bytes_per_second = o.rate},
                         .metrics = &metrics};
    struct eml_why why = {.rule = "this machine cannot"};
    eml_log_program("eml-hostd");
    json_set_alloc_funcs(eml_heap_alloc, eml_heap_free); /* credentials pass through it */
    enum eml_err err = no_core_dumps() ? EML_OK : EML_E_SYSTEM;
    if (err == EML_OK)
        err = eml_store_open(o.store, o.object_max, o.store_max, &h.store, &why);
    if (err == EML_OK)
        err = open_sink(&o, &h, &why);
    if (err == EML_OK)
        err = serve(&o, &h, &why);
    if (err != EML_OK)
        (void)fprintf(stderr, "eml-hostd: %s: %s\n", eml_err_name(err), why.rule);
    /* Connections that outlived the grace use all of this until the process ends under them. */
    if (metrics.active != 0)
        _exit(eml_err_exit(err));
    eml_sink_close(h.sink);
    eml_store_close(h.store);
    return eml_err_exit(err);
}
