#define _GNU_SOURCE
#include "enclave/options.h"

#include "base/text.h"
#include "enclave/limits.h"

#include <getopt.h>
#include <string.h>
#include <unistd.h>

const char eml_options_usage[] =
    "usage: eml-enclaved --listen ADDR --host ADDR [options]\n"
    "  --listen ADDR          the host connects here\n"
    "  --host ADDR            the host's service port\n"
    "  --kms-ca FILE          trust anchors for KMS (PEM)\n"
    "  --kms-endpoint HOST[:PORT]\n"
    "  --threads N            of one session (as many as there are CPUs)\n"
    "  --max-sessions N       at once; others wait (16)\n"
    "  --session-seconds N    a session, whatever it does (600)\n"
    "  --idle-seconds N       a session without a request (60)\n"
    "  --request-seconds N    one request, from its first byte to its result's last (120)\n"
    "  --memory-bytes N       of one session (8589934592)\n"
    "  --cache-bytes N        sealed weights kept (4294967296)\n"
    "  --flops N              of one inference (1000000000000000)\n"
    "ADDR: tcp:HOST:PORT  unix:PATH  vsock:CID:PORT  vsock-unix:PATH:PORT\n";

static uint64_t cpus(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (n < 1)
        return 1;
    return (uint64_t)n < EML_THREADS_MAX ? (uint64_t)n : EML_THREADS_MAX;
}

enum eml_err eml_options_parse(int argc, char **argv, int skip, struct eml_options *o)
{
    *o = (struct eml_options){.threads = cpus(),
                              .max_sessions = EML_SESSIONS,
                              .session_s = EML_SESSION_S,
                              .request_s = EML_REQUEST_S,
                              .idle_s = EML_IDLE_S,
                              .memory_bytes = EML_MEMORY_BYTES,
                              .cache_bytes = EML_CACHE_BYTES,
                              .flops = EML_FLOPS};
    /* The order of the three tables is that of the option's number. */
    static const struct option names[] = {
        {"listen", 1, NULL, 0},
        {"host", 1, NULL, 1},
        {"kms-ca", 1, NULL, 2},
        {"kms-endpoint", 1, NULL, 3},
        {"threads", 1, NULL, 4},
        {"max-sessions", 1, NULL, 5},
        {"session-seconds", 1, NULL, 6},
        {"request-seconds", 1, NULL, 7},
        {"memory-bytes", 1, NULL, 8},
        {"cache-bytes", 1, NULL, 9},
        {"flops", 1, NULL, 10},
        {"idle-seconds", 1, NULL, 11},
        {NULL, 0, NULL, 0},
    };
    enum { TEXTS = 4, LAST = 11 };
    const char **const text[TEXTS] = {&o->listen, &o->host, &o->kms_ca, &o->kms_endpoint};
    const struct {
        uint64_t *to, max;
    } num[] = {{&o->threads, EML_THREADS_MAX},   {&o->max_sessions, 1024},
               {&o->session_s, 1u << 24},        {&o->request_s, 1u << 24},
               {&o->memory_bytes, 1ull << 40},   {&o->cache_bytes, 1ull << 40},
               {&o->flops, (uint64_t)INT64_MAX}, {&o->idle_s, 1u << 24}};
    optind = 1;
    for (int k; (k = getopt_long(argc - skip, argv + skip, "", names, NULL)) != -1;) {
        if (k >= 0 && k < TEXTS)
            *text[k] = optarg;
        else if (k < TEXTS || k > LAST ||
                 !eml_u64_get(optarg, 1, num[k - TEXTS].max, num[k - TEXTS].to))
            return EML_E_USAGE;
    }
    bool kms_whole = (o->kms_ca == NULL) == (o->kms_endpoint == NULL);
    bool ok = optind == argc - skip && o->listen != NULL && o->host != NULL && kms_whole;
    return ok ? EML_OK : EML_E_USAGE;
}

enum eml_err eml_options_split(char *text, char *argv[EML_OPTIONS_LINES_MAX + 2])
{
    static char name[] = "eml-enclaved";
    size_t n = 0;
    argv[n++] = name;
    argv[n] = NULL;
    for (char *line = text, *next; line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        if (line[0] == '\0' || line[0] == '#')
            continue;
        if (n > EML_OPTIONS_LINES_MAX) {
            argv[1] = NULL;
            return EML_E_INPUT;
        }
        argv[n++] = line;
        argv[n] = NULL;
    }
    return EML_OK;
}
