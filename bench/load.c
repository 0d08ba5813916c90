/* usage: eml-load HOST POLICY TOPOLOGY SESSIONS SECONDS request|again|session NAME=FILE.npy...
 *
 * SESSIONS clients ask at the same time, each again as soon as it has its answer, for SECONDS; the
 * requests that were under way then are finished and counted. In mode `request` every request is a
 * session of its own: connection, evidence, its verification, key exchange, topology key, inputs,
 * result. In mode `again` a client connects once and sends one request after the other in request
 * mode, each with the topology key: a model is in clear within a request only. In mode `session` it
 * sends the key once and the model stays. In both, time starts when all have their first answer.
 *
 * One line of CSV per request, after a line of names; microseconds: when it began and how long it
 * took, as the client sees it; of that, connection and evidence, and the key exchange; the rest is
 * told by the enclave (getting the weights, assembly, run, wiping after the run). A failed request
 * ends the program with a message.
 */
#include "crypto/crypto.h"
#include "file/file.h"
#include "model/limits.h"
#include "net/net.h"
#include "remote/infer.h"
#include "tensorio/npy.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SESSIONS_MAX = 64, FILE_MAX = 1 << 30, TIMEOUT_MS = 300000 };

struct load {
    const char *host;
    struct eml_policy policy;
    struct eml_buf topology;
    struct eml_named_tensor inputs[EML_GRAPH_IO_MAX];
    size_t n_inputs;
    enum eml_mode mode;
    bool in_a_row; /* one connection for each client, not for each request */
    uint64_t start_us, seconds;
    pthread_barrier_t ready; /* in_a_row: all sessions are open */
    pthread_mutex_t print;
};

struct client {
    struct load *load;
    unsigned number;
    pthread_t thread;
    struct eml_arena arena; /* results */
    struct eml_x509_known known;
};

static void must(enum eml_err e, const char *what, const struct eml_why *why)
{
    if (e == EML_OK)
        return;
    (void)fprintf(stderr, "eml-load: %s: %s: %s\n", what, eml_err_name(e),
                  why != NULL && why->rule != NULL ? why->rule : "");
    exit(eml_err_exit(e));
}

static uint64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void attest(struct client *c, struct eml_remote *r)
{
    struct eml_why why = {0};
    must(eml_remote_attest(r, c->load->host, &c->load->policy, (int64_t)time(NULL) * 1000,
                           &c->known, eml_net_now_ms() + TIMEOUT_MS, &why),
         c->load->host, &why);
    must(eml_remote_open(r, &why), c->load->host, &why);
}

static void print(struct load *l, unsigned session, uint64_t start, const struct eml_remote *r,
                  const struct eml_result *result)
{
    uint64_t us[] = {start - l->start_us,    now_us() - start,   r->attest_ns / 1000,
                     r->handshake_ns / 1000, result->weights_us, result->assemble_us,
                     result->run_us,         result->wipe_us};
    pthread_mutex_lock(&l->print);
    (void)printf("%u", session);
    for (size_t i = 0; i < sizeof us / sizeof us[0]; i++)
        (void)printf(",%llu", (unsigned long long)us[i]);
    (void)printf("\n");
    pthread_mutex_unlock(&l->print);
}

static void ask(struct client *c, struct eml_remote *r, bool with_topology,
                struct eml_result *result)
{
    struct load *l = c->load;
    struct eml_why why = {0};
    const struct eml_request request = {.mode = l->mode,
                                        .topology = with_topology ? eml_buf_bytes(&l->topology)
                                                                  : (struct eml_bytes){0},
                                        .n_inputs = l->n_inputs,
                                        .inputs = l->inputs};
    const struct eml_kms_config no_kms = {0};
    struct eml_remote_receipt receipt;
    must(eml_remote_infer(r, &request, &no_kms, (int64_t)time(NULL), &c->arena, result, &receipt,
                          &why),
         "infer", &why);
    eml_remote_receipt_free(&receipt);
}

static bool over(const struct load *l)
{
    return now_us() - l->start_us >= l->seconds * 1000000u;
}

static void *one_by_one(void *arg)
{
    struct client *c = arg;
    do {
        struct eml_remote r = {.fd = -1};
        struct eml_result result;
        size_t mark = eml_arena_mark(&c->arena);
        uint64_t start = now_us();
        attest(c, &r);
        ask(c, &r, true, &result);
        print(c->load, c->number, start, &r, &result);
        eml_remote_close(&r);
        (void)eml_arena_reset(&c->arena, mark);
    } while (!over(c->load));
    return NULL;
}

static void *in_a_row(void *arg)
{
    struct client *c = arg;
    struct eml_remote r = {.fd = -1};
    attest(c, &r);
    struct eml_result result;
    ask(c, &r, true, &result);
    if (pthread_barrier_wait(&c->load->ready) == PTHREAD_BARRIER_SERIAL_THREAD)
        c->load->start_us = now_us();
    (void)pthread_barrier_wait(&c->load->ready);
    do {
        size_t mark = eml_arena_mark(&c->arena);
        uint64_t start = now_us();
        ask(c, &r, c->load->mode == EML_MODE_REQUEST, &result);
        print(c->load, c->number, start, &(const struct eml_remote){.fd = -1}, &result);
        (void)eml_arena_reset(&c->arena, mark);
    } while (!over(c->load));
    eml_remote_close(&r);
    return NULL;
}

static void read_input(struct load *l, struct eml_arena *arena, const char *arg)
{
    struct eml_why why = {0};
    struct eml_buf file = {0};
    const char *eq = strchr(arg, '=');
    if (eq == NULL || l->n_inputs == EML_GRAPH_IO_MAX)
        must(EML_E_USAGE, arg, NULL);
    struct eml_named_tensor *t = &l->inputs[l->n_inputs++];
    t->name = eml_bytes(arg, (size_t)(eq - arg));
    must(eml_file_read(eq + 1, FILE_MAX, &file, &why), arg, &why);
    must(eml_npy_decode(eml_buf_bytes(&file), arena, &t->tensor, &why), arg, &why);
    eml_buf_free(&file);
}

static void read_policy(struct load *l, const char *path)
{
    struct eml_why why = {0};
    struct eml_buf json = {0};
    must(eml_file_read(path, FILE_MAX, &json, &why), path, &why);
    must(eml_policy_parse(eml_buf_bytes(&json), &l->policy, &why), path, &why);
    eml_buf_free(&json);
}

static void run(struct load *l, unsigned long sessions)
{
    static struct client clients[SESSIONS_MAX];
    (void)printf("session,start_us,total_us,attest_us,handshake_us,weights_us,assemble_us,run_us,"
                 "wipe_us\n");
    l->start_us = now_us();
    if (pthread_barrier_init(&l->ready, NULL, (unsigned)sessions) != 0)
        must(EML_E_SYSTEM, "barrier", NULL);
    for (unsigned i = 0; i < sessions; i++) {
        clients[i] = (struct client){.load = l, .number = i};
        must(eml_arena_create(&clients[i].arena, (size_t)1 << 30), "arena", NULL);
        if (pthread_create(&clients[i].thread, NULL, l->in_a_row ? in_a_row : one_by_one,
                           &clients[i]) != 0)
            must(EML_E_SYSTEM, "thread", NULL);
    }
    for (unsigned i = 0; i < sessions; i++) {
        (void)pthread_join(clients[i].thread, NULL);
        (void)eml_arena_destroy(&clients[i].arena);
    }
}

int main(int argc, char **argv)
{
    static struct load l = {.print = PTHREAD_MUTEX_INITIALIZER};
    struct eml_arena inputs;
    struct eml_why why = {0};
    unsigned long sessions = argc > 6 ? strtoul(argv[4], NULL, 10) : 0;
    l.seconds = argc > 6 ? strtoul(argv[5], NULL, 10) : 0;
    bool session = argc > 6 && strcmp(argv[6], "session") == 0;
    bool again = argc > 6 && strcmp(argv[6], "again") == 0;
    if (sessions < 1 || sessions > SESSIONS_MAX || l.seconds < 1 || l.seconds > 3600 ||
        (!session && !again && strcmp(argv[6], "request") != 0)) {
        (void)fprintf(stderr, "usage: eml-load HOST POLICY TOPOLOGY SESSIONS SECONDS "
                              "request|again|session NAME=FILE.npy...\n");
        return eml_err_exit(EML_E_USAGE);
    }
    eml_crypto_init();
    l.host = argv[1];
    l.in_a_row = session || again;
    l.mode = session ? EML_MODE_SESSION : EML_MODE_REQUEST;
    read_policy(&l, argv[2]);
    must(eml_file_read(argv[3], EML_TOPOLOGY_BYTES_MAX, &l.topology, &why), argv[3], &why);
    must(eml_arena_create(&inputs, (size_t)1 << 30), "arena", NULL);
    for (int i = 7; i < argc; i++)
        read_input(&l, &inputs, argv[i]);
    run(&l, sessions);
    eml_buf_free(&l.topology);
    (void)eml_arena_destroy(&inputs);
    return 0;
}
