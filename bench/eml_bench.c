/* usage: eml-bench [--bf16] [--cipher NAME] MODEL.onnx THREADS: a co-process of the scripts here.
 *
 * Decomposes and seals one model in memory, then obeys lines on standard input and answers each
 * with one line. Times are nanoseconds. An error ends the process with a message.
 *
 *   input NAME FILE.npy   ok: the input is set
 *   ready                 from the encoded topology key to a plan: ready to run
 *   bare N                N runs in a row, with all weights in clear (session mode)
 *   request               RUN OPEN WIPE TOTAL EXPOSURE OPENED WINDOW ARENA
 *   requests N            N requests in a row: TOTAL of each
 *   pairs N               bare runs, requests, and decryption alone of as many bytes as a request
 *                         opens, in turn: least and median of each; OPENED WINDOW
 *   stages N              requests in turn, medians: DECODE PLAN OPEN RUN WIPE TOTAL
 *   decrypt BYTES         decryption alone of so many bytes of the weights, by all threads
 *   size                  bytes of the topology key, of the sealed weights
 *   write DIR             ok: the outputs of a run are in DIR, 0.npy, 1.npy ...
 *
 * A request is decode, plan, open, run, wipe: all of it. After its times stand bytes: of weights
 * decrypted, of weights in clear at one time, and the most that the arena ever held. Pairs of one
 * thread are measured in processor time.
 */
#include "assemble/assemble.h"
#include "crypto/crypto.h"
#include "decompose/decompose.h"
#include "engine/pool.h"
#include "file/file.h"
#include "model/limits.h"
#include "session/match.h"
#include "tensorio/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS_MAX = 1000 }; /* runs of one command */

struct bench {
    struct eml_arena arena;
    struct eml_pool *pool;
    struct eml_decomposed model;
    struct eml_arena store; /* of the sealed weights: in huge pages, as in an enclave */
    struct eml_bytes sealed;
    uint8_t digest[32]; /* of the sealed weights; an enclave computes it when it fetches them */
    struct eml_named_tensor named[EML_GRAPH_IO_MAX];
    char names[EML_GRAPH_IO_MAX][EML_NAME_BYTES_MAX + 1];
    size_t n_inputs;
    struct eml_model session; /* decoded, weights in clear */
    bool open;
    const char *write_dir;
};

static void must(enum eml_err e, const char *what, const struct eml_why *why)
{
    if (e == EML_OK)
        return;
    (void)fprintf(stderr, "eml-bench: %s: %s: %s\n", what, eml_err_name(e),
                  why != NULL && why->rule != NULL ? why->rule : "");
    exit(eml_err_exit(e));
}

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static enum eml_err take(void *ctx, const struct eml_tensor *outputs, size_t n,
                         const struct eml_times *times)
{
    const struct bench *b = ctx;
    (void)times;
    for (size_t i = 0; b->write_dir != NULL && i < n; i++) {
        char path[4096];
        struct eml_buf file = {0};
        (void)snprintf(path, sizeof path, "%s/%zu.npy", b->write_dir, i);
        must(eml_npy_encode(&outputs[i], &file), path, NULL);
        must(eml_file_write_atomic(path, 0644, eml_buf_bytes(&file), NULL), path, NULL);
        eml_buf_free(&file);
    }
    return EML_OK;
}

static void infer(struct bench *b, struct eml_model *m, bool keep, struct eml_times *times)
{
    const struct eml_budget no_limit = {UINT64_MAX, UINT64_MAX};
    struct eml_tensor inputs[EML_GRAPH_IO_MAX];
    struct eml_why why = {0};
    must(eml_match_inputs(&m->topology->graph, b->named, b->n_inputs, inputs, &why), "inputs",
         &why);
    must(eml_model_infer(m, inputs, keep, &no_limit, take, b, times, &why), "run", &why);
}

static void decode(struct bench *b, struct eml_model *m, struct eml_times *times)
{
    struct eml_why why = {0};
    must(eml_model_decode(m, &b->arena, eml_buf_bytes(&b->model.topology), EML_ISA_AUTO, b->pool,
                          times, &why),
         "topology", &why);
    must(eml_model_weights(m, b->sealed, EML_SEALED_FIXED, b->digest, &why), "weights", &why);
}

static void close_session(struct bench *b)
{
    struct eml_times times = {0};
    if (b->open)
        eml_model_close(&b->session, &times);
    b->open = false;
}

static void command_input(struct bench *b, const char *name, const char *path)
{
    struct eml_why why = {0};
    struct eml_buf file = {0};
    close_session(b); /* the arena is a stack: inputs lie below the model */
    must(eml_file_read(path, EML_BUF_MAX, &file, &why), path, &why);
    size_t i = 0;
    while (i < b->n_inputs && strcmp(b->names[i], name) != 0)
        i++;
    if (i == EML_GRAPH_IO_MAX || strlen(name) > EML_NAME_BYTES_MAX)
        must(EML_E_USAGE, "too many inputs", NULL);
    memcpy(b->names[i], name, strlen(name) + 1);
    b->named[i].name = eml_bytes_of_str(b->names[i]);
    must(eml_npy_decode(eml_buf_bytes(&file), &b->arena, &b->named[i].tensor, &why), path, &why);
    b->n_inputs = i == b->n_inputs ? i + 1 : b->n_inputs;
    eml_buf_free(&file);
    (void)printf("ok\n");
}

static void open_session(struct bench *b)
{
    struct eml_times times = {0};
    if (!b->open)
        decode(b, &b->session, &times);
    b->open = true;
}

static void command_bare(struct bench *b, unsigned long n)
{
    open_session(b);
    for (unsigned long i = 0; i < n; i++) {
        struct eml_times times = {0};
        infer(b, &b->session, true, &times);
        (void)printf(i + 1 < n ? "%llu " : "%llu\n", (unsigned long long)times.run);
    }
}

static uint64_t run_request(struct bench *b, struct eml_times *t)
{
    struct eml_model m = {0};
    *t = (struct eml_times){0};
    uint64_t start = now_ns();
    decode(b, &m, t);
    infer(b, &m, false, t);
    eml_model_close(&m, t);
    return now_ns() - start;
}

static void command_request(struct bench *b)
{
    struct eml_times t;
    close_session(b);
    uint64_t total = run_request(b, &t);
    (void)printf("%llu %llu %llu %llu %llu %llu %llu %zu\n", (unsigned long long)t.run,
                 (unsigned long long)t.open, (unsigned long long)t.wipe, (unsigned long long)total,
                 (unsigned long long)t.exposure, (unsigned long long)t.opened_bytes,
                 (unsigned long long)t.window_bytes, b->arena.peak);
}

static void command_requests(struct bench *b, unsigned long n)
{
    struct eml_times t;
    close_session(b);
    for (unsigned long i = 0; i < n; i++)
        (void)printf(i + 1 < n ? "%llu " : "%llu\n", (unsigned long long)run_request(b, &t));
}

/* --- pairs --- */

enum { BARE, REQUEST, DECRYPT, KINDS };

static uint64_t pair_clock(const struct bench *b)
{
    struct timespec t;
    bool one = eml_pool_threads(b->pool) == 1;
    (void)clock_gettime(one ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* What the bare engine runs from: everything is there but the result. */
struct bare {
    struct eml_plan *plan;
    struct eml_bytes weights;
    struct eml_room activations;
    struct eml_tensor inputs[EML_GRAPH_IO_MAX];
    struct eml_blob_reader reader;
    uint8_t *scratch; /* SCRATCH chunks for each thread */
};
enum { SCRATCH = 8 };

static uint8_t *room(struct bench *b, size_t n)
{
    uint8_t *p = eml_arena_alloc(&b->arena, n, 4096);
    must(p != NULL ? EML_OK : EML_E_SYSTEM, "memory", NULL);
    return p;
}

/* As a request has it. */
static void make_reader(struct bench *b, const struct eml_topology *t, struct eml_blob_reader *r)
{
    struct eml_why why = {0};
    must(eml_blob_reader_init(r, &t->blob, b->sealed, &b->arena, &why), "weights", &why);
    must(eml_blob_reader_rely(r, &t->blob, b->digest, &why), "weights", &why);
}

static void prepare_bare(struct bench *b, const struct eml_topology *t, struct bare *r)
{
    struct eml_why why = {0};
    size_t n = (size_t)t->blob.chunks * EML_CHUNK_BYTES;
    const struct eml_room plain = {room(b, n), n};
    const struct eml_bytes sealed = b->sealed;
    must(eml_blob_open(&t->blob, sealed, &b->arena, plain, &why), "weights", &why);
    make_reader(b, t, &r->reader);
    must(eml_match_inputs(&t->graph, b->named, b->n_inputs, r->inputs, &why), "inputs", &why);
    must(eml_plan_make(&t->graph, r->inputs, EML_ISA_AUTO, eml_pool_threads(b->pool), NULL,
                       &b->arena, &r->plan, &why),
         "plan", &why);
    size_t activations = eml_plan_activation_bytes(r->plan);
    r->weights = eml_bytes(plain.ptr, n);
    r->activations = (struct eml_room){room(b, activations), activations};
    r->scratch = room(b, eml_pool_threads(b->pool) * SCRATCH * EML_CHUNK_BYTES);
}

static void run_bare(struct bench *b, struct bare *r)
{
    struct eml_tensor outputs[EML_GRAPH_IO_MAX];
    struct eml_why why = {0};
    size_t mark = eml_arena_mark(&b->arena); /* a graph without a plan takes memory as it goes */
    must(eml_plan_run(r->plan, r->weights, r->inputs, r->activations, b->pool, outputs, &why),
         "run", &why);
    (void)eml_arena_reset(&b->arena, mark);
}

/* Items: chunks, as often round as it takes. */
static void decrypt_chunks(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    const struct bare *r = arg;
    struct eml_why why = {0};
    for (int64_t i = begin; i < end; i++) {
        size_t at = thread * SCRATCH + (size_t)i % SCRATCH;
        must(eml_blob_read(&r->reader, (uint64_t)i % r->reader.chunks, 1,
                           (struct eml_room){r->scratch + at * EML_CHUNK_BYTES, EML_CHUNK_BYTES},
                           &why),
             "weights", &why);
    }
}

static void decrypt(struct bench *b, struct bare *r, uint64_t bytes)
{
    eml_pool_for(b->pool, (int64_t)(bytes / EML_CHUNK_BYTES), 1, decrypt_chunks, r);
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void command_pairs(struct bench *b, unsigned long n)
{
    static uint64_t samples[KINDS][RUNS_MAX];
    struct bare bare;
    struct eml_times t = {0};
    close_session(b);
    decode(b, &b->session, &t);
    b->open = true;
    prepare_bare(b, b->session.topology, &bare);
    for (unsigned long i = 0; i < n + 1; i++) {
        const unsigned long at = i > 0 ? i - 1 : 0; /* the first one warms up */
        uint64_t start = pair_clock(b);
        run_bare(b, &bare);
        samples[BARE][at] = pair_clock(b) - start;
        start = pair_clock(b);
        (void)run_request(b, &t);
        samples[REQUEST][at] = pair_clock(b) - start;
        start = pair_clock(b);
        decrypt(b, &bare, t.opened_bytes);
        samples[DECRYPT][at] = pair_clock(b) - start;
    }
    for (int k = 0; k < KINDS; k++) {
        qsort(samples[k], n, sizeof samples[k][0], by_size);
        (void)printf("%llu %llu ", (unsigned long long)samples[k][0],
                     (unsigned long long)samples[k][n / 2]);
    }
    (void)printf("%llu %llu\n", (unsigned long long)t.opened_bytes,
                 (unsigned long long)t.window_bytes);
}

enum { STAGES = 6 };

/* Stages of requests in turn: each stage's median. */
static void command_stages(struct bench *b, unsigned long n)
{
    static uint64_t samples[STAGES][RUNS_MAX];
    close_session(b);
    for (unsigned long i = 0; i < n + 1; i++) {
        const unsigned long at = i > 0 ? i - 1 : 0; /* the first one warms up */
        struct eml_times t;
        const uint64_t total = run_request(b, &t);
        const uint64_t of[STAGES] = {t.decode, t.plan, t.open, t.run, t.wipe, total};
        for (int k = 0; k < STAGES; k++)
            samples[k][at] = of[k];
    }
    for (int k = 0; k < STAGES; k++) {
        qsort(samples[k], n, sizeof samples[k][0], by_size);
        (void)printf("%llu%c", (unsigned long long)samples[k][n / 2], k + 1 < STAGES ? ' ' : '\n');
    }
}

static void command_decrypt(struct bench *b, const char *count)
{
    uint64_t bytes = count != NULL ? strtoull(count, NULL, 10) : 0;
    struct bare r = {0};
    open_session(b);
    size_t mark = eml_arena_mark(&b->arena);
    make_reader(b, b->session.topology, &r.reader);
    r.scratch = room(b, eml_pool_threads(b->pool) * SCRATCH * EML_CHUNK_BYTES);
    decrypt(b, &r, (uint64_t)eml_pool_threads(b->pool) * SCRATCH * EML_CHUNK_BYTES); /* pages */
    uint64_t start = now_ns();
    decrypt(b, &r, bytes);
    (void)printf("%llu\n", (unsigned long long)(now_ns() - start));
    (void)eml_arena_reset(&b->arena, mark);
}

static void command_ready(struct bench *b)
{
    struct eml_times t;
    close_session(b);
    (void)run_request(b, &t);
    (void)printf("%llu\n", (unsigned long long)(t.decode + t.plan));
}

/* The number behind a word. */
static unsigned long count_of(char **rest)
{
    const char *count = strtok_r(NULL, " \n", rest);
    unsigned long n = count != NULL ? strtoul(count, NULL, 10) : 0;
    must(n > 0 && n <= RUNS_MAX ? EML_OK : EML_E_USAGE, "a number from 1 to 1000", NULL);
    return n;
}

static void obey(struct bench *b, char *line)
{
    char *rest = NULL;
    const char *word = strtok_r(line, " \n", &rest);
    if (word == NULL)
        return;
    if (strcmp(word, "input") == 0) {
        const char *name = strtok_r(NULL, " \n", &rest), *path = strtok_r(NULL, " \n", &rest);
        if (name == NULL || path == NULL)
            must(EML_E_USAGE, "input NAME FILE", NULL);
        command_input(b, name, path);
    } else if (strcmp(word, "bare") == 0) {
        command_bare(b, count_of(&rest));
    } else if (strcmp(word, "request") == 0) {
        command_request(b);
    } else if (strcmp(word, "requests") == 0) {
        command_requests(b, count_of(&rest));
    } else if (strcmp(word, "ready") == 0) {
        command_ready(b);
    } else if (strcmp(word, "decrypt") == 0) {
        command_decrypt(b, strtok_r(NULL, " \n", &rest));
    } else if (strcmp(word, "pairs") == 0) {
        command_pairs(b, count_of(&rest));
    } else if (strcmp(word, "stages") == 0) {
        command_stages(b, count_of(&rest));
    } else if (strcmp(word, "write") == 0) {
        b->write_dir = strtok_r(NULL, " \n", &rest);
        struct eml_times times = {0};
        open_session(b);
        infer(b, &b->session, true, &times);
        b->write_dir = NULL;
        (void)printf("ok\n");
    } else if (strcmp(word, "size") == 0) {
        (void)printf("%zu %zu\n", b->model.topology.len, b->model.sealed.len);
    } else {
        must(EML_E_USAGE, "unknown line", NULL);
    }
    (void)fflush(stdout);
}

static void store_sealed(struct bench *b)
{
    const struct eml_bytes sealed = eml_buf_bytes(&b->model.sealed);
    must(eml_arena_create(&b->store, sealed.len), "memory", NULL);
    uint8_t *p = eml_arena_alloc(&b->store, sealed.len, 4096);
    must(p != NULL ? EML_OK : EML_E_SYSTEM, "memory", NULL);
    memcpy(p, sealed.ptr, sealed.len);
    b->sealed = eml_bytes(p, sealed.len);
    must(eml_blob_digest(b->sealed, b->digest), "digest", NULL);
}

/* Takes the options out of the arguments. */
static void take_options(int *argc, char ***argv, struct eml_decompose_options *o)
{
    while (*argc > 1 && strncmp((*argv)[1], "--", 2) == 0) {
        const char *name = (*argv)[1];
        bool cipher = strcmp(name, "--cipher") == 0 && *argc > 2;
        if (cipher ? !eml_cipher_of((*argv)[2], &o->cipher) : strcmp(name, "--bf16") != 0)
            must(EML_E_USAGE, name, NULL);
        o->bf16 = o->bf16 || !cipher;
        *argc -= cipher ? 2 : 1;
        *argv += cipher ? 2 : 1;
    }
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct eml_onnx_model *onnx = NULL;
    struct eml_onnx_diag diag = {0};
    struct eml_check_report report = {0};
    char *end = NULL;
    struct eml_decompose_options options = {.version = 1, .min_version = 1};
    take_options(&argc, &argv, &options);
    unsigned long threads = argc == 3 ? strtoul(argv[2], &end, 10) : 0;
    if (argc != 3 || *end != '\0' || threads < 1 || threads > 256) {
        (void)fprintf(stderr, "usage: eml-bench [--bf16] [--cipher NAME] MODEL.onnx THREADS\n");
        return eml_err_exit(EML_E_USAGE);
    }
    eml_crypto_init();
    must(eml_onnx_load(argv[1], &onnx, &diag), argv[1], &diag.why);
    enum eml_err e = eml_decompose(onnx, &options, &b.model, &report);
    if (report.n != 0)
        (void)!eml_check_print(&report, argv[1], stderr);
    must(e, argv[1], NULL);
    eml_onnx_free(onnx);
    store_sealed(&b);
    must(eml_arena_create(&b.arena, (size_t)64 << 30), "arena", NULL);
    must(eml_pool_create((unsigned)threads, &b.pool), "threads", NULL);
    char line[8192];
    while (fgets(line, sizeof line, stdin) != NULL)
        obey(&b, line);
    close_session(&b);
    eml_pool_destroy(b.pool);
    (void)eml_arena_destroy(&b.arena);
    (void)eml_arena_destroy(&b.store);
    eml_decomposed_free(&b.model);
    eml_check_free(&report);
    return 0;
}
