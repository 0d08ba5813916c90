/* usage: eml-bench [--bf16] MODEL.onnx THREADS: a co-process of the scripts here; times one model.
 *
 * Decomposes and seals in memory, then obeys lines on standard input and answers each with one
 * line. Times are nanoseconds. An error ends the process with a message.
 *
 *   input NAME FILE.npy   ok: the input is set
 *   ready                 from the encoded topology key to a plan: ready to run
 *   bare N                N runs in a row, with all weights in clear (session mode)
 *   request               RUN OPEN WIPE TOTAL EXPOSURE OPENED WINDOW ARENA
 *   size                  bytes of the topology key, of the sealed weights
 *   write DIR             ok: the outputs of a run are in DIR, 0.npy, 1.npy ...
 *
 * A request is decode, plan, open, run, wipe: all of it. After its times stand bytes: of weights
 * decrypted, of weights in clear at one time, and the most that the arena ever held.
 */
#include "assemble/assemble.h"
#include "crypto/crypto.h"
#include "decompose/decompose.h"
#include "file/file.h"
#include "model/limits.h"
#include "session/match.h"
#include "tensorio/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench {
    struct eml_arena arena;
    struct eml_pool *pool;
    struct eml_decomposed model;
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
    must(eml_model_weights(m, eml_buf_bytes(&b->model.sealed), b->digest, &why), "weights", &why);
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

static void command_bare(struct bench *b, const char *count)
{
    unsigned long n = count != NULL ? strtoul(count, NULL, 10) : 0;
    if (n < 1 || n > 10000)
        must(EML_E_USAGE, "bare N", NULL);
    open_session(b);
    for (unsigned long i = 0; i < n; i++) {
        struct eml_times times = {0};
        infer(b, &b->session, true, &times);
        (void)printf(i + 1 < n ? "%llu " : "%llu\n", (unsigned long long)times.run);
    }
}

static void command_request(struct bench *b)
{
    close_session(b);
    struct eml_model m = {0};
    struct eml_times t = {0};
    uint64_t start = now_ns();
    decode(b, &m, &t);
    infer(b, &m, false, &t);
    eml_model_close(&m, &t);
    uint64_t total = now_ns() - start;
    (void)printf("%llu %llu %llu %llu %llu %llu %llu %zu\n", (unsigned long long)t.run,
                 (unsigned long long)t.open, (unsigned long long)t.wipe, (unsigned long long)total,
                 (unsigned long long)t.exposure, (unsigned long long)t.opened_bytes,
                 (unsigned long long)t.window_bytes, b->arena.peak);
}

static void command_ready(struct bench *b)
{
    close_session(b);
    struct eml_model m = {0};
    struct eml_times t = {0};
    decode(b, &m, &t);
    infer(b, &m, false, &t);
    eml_model_close(&m, &t);
    (void)printf("%llu\n", (unsigned long long)(t.decode + t.plan));
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
        command_bare(b, strtok_r(NULL, " \n", &rest));
    } else if (strcmp(word, "request") == 0) {
        command_request(b);
    } else if (strcmp(word, "ready") == 0) {
        command_ready(b);
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

int main(int argc, char **argv)
{
    static struct bench b;
    struct eml_onnx_model *onnx = NULL;
    struct eml_onnx_diag diag = {0};
    struct eml_check_report report = {0};
    char *end = NULL;
    bool bf16 = argc > 1 && strcmp(argv[1], "--bf16") == 0;
    argc -= bf16;
    argv += bf16;
    unsigned long threads = argc == 3 ? strtoul(argv[2], &end, 10) : 0;
    if (argc != 3 || *end != '\0' || threads < 1 || threads > 256) {
        (void)fprintf(stderr, "usage: eml-bench [--bf16] MODEL.onnx THREADS\n");
        return eml_err_exit(EML_E_USAGE);
    }
    eml_crypto_init();
    must(eml_onnx_load(argv[1], &onnx, &diag), argv[1], &diag.why);
    const struct eml_decompose_options options = {.version = 1, .min_version = 1, .bf16 = bf16};
    enum eml_err e = eml_decompose(onnx, &options, &b.model, &report);
    if (report.n != 0)
        (void)!eml_check_print(&report, argv[1], stderr);
    must(e, argv[1], NULL);
    eml_onnx_free(onnx);
    must(eml_blob_digest(eml_buf_bytes(&b.model.sealed), b.digest), "digest", NULL);
    must(eml_arena_create(&b.arena, (size_t)64 << 30), "arena", NULL);
    must(eml_pool_create((unsigned)threads, &b.pool), "threads", NULL);
    char line[8192];
    while (fgets(line, sizeof line, stdin) != NULL)
        obey(&b, line);
    close_session(&b);
    eml_pool_destroy(b.pool);
    (void)eml_arena_destroy(&b.arena);
    eml_decomposed_free(&b.model);
    eml_check_free(&report);
    return 0;
}
