/* run-model MODEL.onnx OUTDIR [--threads N] [--repeat N] NAME=FILE.npy ...: decomposes a model in
 * memory, runs it, writes OUTDIR/output_<i>.npy, and prints one line of JSON with sizes and times.
 * For compare.mjs.
 */
#include "runner.h"

#include "file/file.h"
#include "model/limits.h"
#include "tensorio/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES ((size_t)16 << 30)
enum { REPEAT_MAX = 1000 };

struct args {
    const char *model, *dir;
    const char *inputs[EML_GRAPH_IO_MAX];
    uint32_t n_inputs, threads, repeat;
};

static bool number(const char *s, uint32_t max, uint32_t *out)
{
    char *end;
    unsigned long v = s != NULL ? strtoul(s, &end, 10) : 0;
    if (s == NULL || *end != '\0' || v < 1 || v > max)
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool parse(int argc, char **argv, struct args *a)
{
    *a = (struct args){.threads = 1, .repeat = 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--threads") == 0 || strcmp(argv[i], "--repeat") == 0) {
            uint32_t *to = argv[i][2] == 't' ? &a->threads : &a->repeat;
            if (!number(argv[++i], REPEAT_MAX, to))
                return false;
        } else if (a->model == NULL) {
            a->model = argv[i];
        } else if (a->dir == NULL) {
            a->dir = argv[i];
        } else if (a->n_inputs < EML_GRAPH_IO_MAX) {
            a->inputs[a->n_inputs++] = argv[i];
        }
    }
    return a->dir != NULL;
}

/* Input i of the graph out of the arguments NAME=FILE. */
static enum eml_err read_input(const struct args *a, struct eml_bytes name, struct eml_arena *arena,
                               struct eml_tensor *out, struct eml_why *why)
{
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        const char *arg = a->inputs[i];
        size_t n = strcspn(arg, "=");
        struct eml_buf file = {0};
        if (!eml_bytes_equal(eml_bytes(arg, n), name) || arg[n] == '\0')
            continue;
        EML_TRY(eml_file_read(arg + n + 1, UINT32_MAX, &file, why));
        enum eml_err e = eml_npy_decode(eml_buf_bytes(&file), arena, out, why);
        eml_buf_free(&file);
        return e;
    }
    return eml_fail(why, EML_E_USAGE, "run-model: an input is not given", -1);
}

static enum eml_err write_outputs(const struct args *a, const struct eml_tensor *t, uint32_t n,
                                  struct eml_why *why)
{
    for (uint32_t i = 0; i < n; i++) {
        char path[4096];
        struct eml_buf file = {0};
        int length = snprintf(path, sizeof path, "%s/output_%u.npy", a->dir, i);
        if (length < 0 || (size_t)length >= sizeof path)
            return eml_fail(why, EML_E_USAGE, "run-model: path too long", -1);
        enum eml_err e = eml_npy_encode(&t[i], &file);
        if (e == EML_OK)
            e = eml_file_write_atomic(path, 0644, eml_buf_bytes(&file), why);
        eml_buf_free(&file);
        EML_TRY(e);
    }
    return EML_OK;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static enum eml_err run(const struct args *a, const struct eml_onnx_model *m, struct eml_runner *r,
                        struct eml_arena *arena, struct eml_why *why)
{
    struct eml_check_report report = {0};
    struct eml_tensor inputs[EML_GRAPH_IO_MAX], outputs[EML_GRAPH_IO_MAX];
    uint64_t ns[REPEAT_MAX];
    enum eml_err e = eml_runner_open(r, m, arena, &report, why);
    if (report.n != 0 && eml_check_print(&report, a->model, stderr) != EML_OK)
        e = EML_E_SYSTEM;
    eml_check_free(&report);
    EML_TRY(e);
    const struct eml_graph *g = &r->topology->graph;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        EML_TRY(read_input(a, g->inputs[i].text, arena, &inputs[i], why));
    size_t mark = eml_arena_mark(arena);
    for (uint32_t i = 0; i < a->repeat; i++) {
        (void)eml_arena_reset(arena, mark);
        EML_TRY(eml_runner_run(r, inputs, outputs, why));
        ns[i] = r->run_ns;
    }
    EML_TRY(write_outputs(a, outputs, g->n_outputs, why));
    qsort(ns, a->repeat, sizeof ns[0], by_value);
    (void)printf("{\"nodes_before\": %u, \"nodes_after\": %u, \"weight_bytes\": %llu, "
                 "\"optimise_ms\": %.1f, \"seal_ms\": %.1f, \"plan_ms\": %.2f, "
                 "\"run_ms\": %.3f}\n",
                 r->stats.nodes_before, r->stats.nodes_after,
                 (unsigned long long)r->stats.weight_bytes, (double)r->stats.optimise_ns / 1e6,
                 (double)r->stats.seal_ns / 1e6, (double)r->plan_ns / 1e6,
                 (double)ns[a->repeat / 2] / 1e6);
    return EML_OK;
}

int main(int argc, char **argv)
{
    struct args a;
    struct eml_onnx_model *m = NULL;
    struct eml_onnx_diag diag = {0};
    struct eml_arena arena = {0};
    struct eml_runner r = {.isa = EML_ISA_AUTO};
    struct eml_why why = {0};
    if (!parse(argc, argv, &a)) {
        (void)fprintf(stderr, "usage: run-model MODEL.onnx OUTDIR [--threads N] [--repeat N] "
                              "NAME=FILE.npy ...\n");
        return 2;
    }
    enum eml_err e = eml_onnx_load(a.model, &m, &diag);
    if (e == EML_OK)
        e = eml_arena_create(&arena, ARENA_BYTES);
    if (e == EML_OK)
        e = eml_pool_create(a.threads, &r.pool);
    if (e == EML_OK)
        e = run(&a, m, &r, &arena, &why);
    if (e != EML_OK)
        (void)fprintf(stderr, "run-model: %s: %s (%ld)\n", eml_err_name(e),
                      why.rule != NULL ? why.rule : "", why.index);
    eml_pool_destroy(r.pool);
    (void)eml_arena_destroy(&arena);
    eml_onnx_free(m);
    return eml_err_exit(e);
}
