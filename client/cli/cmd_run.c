/* eml run: the same assembly and engine as in the enclave, locally, for owners who want to check.
 */
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/say.h"

#include "assemble/assemble.h"
#include "file/file.h"
#include "model/limits.h"
#include "session/match.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct sink {
    const struct eml_graph *graph;
    const char *dir;
};

static enum eml_err write_outputs(void *ctx, const struct eml_tensor *outputs, size_t n,
                                  const struct eml_times *times)
{
    const struct sink *s = ctx;
    (void)times;
    struct eml_named_tensor named[EML_GRAPH_IO_MAX];
    for (size_t i = 0; i < n; i++)
        named[i] = (struct eml_named_tensor){s->graph->outputs[i].text, outputs[i]};
    return eml_cli_write_outputs(s->dir, named, n);
}

static void print_times(const struct eml_times *t)
{
    const struct {
        const char *name;
        uint64_t ns;
    } row[] = {{"decode topology", t->decode},
               {"plan", t->plan},
               {"open weights", t->open},
               {"run", t->run},
               {"wipe", t->wipe},
               {"exposure", t->exposure}};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        (void)printf("  %-16s %10.3f ms\n", row[i].name, (double)row[i].ns / 1e6);
}

struct job {
    const char *topology_path, *weights_path, *output_dir;
    const struct eml_values *inputs;
    unsigned threads;
    enum eml_isa isa;
};

/* Everything between the files: decode, match, infer. */
static enum eml_err infer(const struct job *job, struct eml_arena *arena, struct eml_pool *pool,
                          struct eml_bytes topology, struct eml_bytes sealed)
{
    struct eml_model model = {0};
    struct eml_times times = {0};
    struct eml_why why = {0};
    struct eml_named_tensor named[EML_GRAPH_IO_MAX];
    struct eml_tensor inputs[EML_GRAPH_IO_MAX];
    size_t n = 0;
    EML_TRY(eml_cli_read_tensors("input", job->inputs, arena, named, &n));
    enum eml_err e = eml_model_decode(&model, arena, topology, job->isa, pool, &times, &why);
    if (e != EML_OK) {
        (void)eml_say_failed(job->topology_path, e, &why, NULL);
        return e;
    }
    const struct eml_graph *g = &model.topology->graph;
    uint8_t digest[32];
    e = eml_blob_digest(sealed, digest);
    if (e == EML_OK)
        /* a file: others may write to it after its digest was computed */
        e = eml_model_weights(&model, sealed, EML_SEALED_CHANGEABLE, digest, &why);
    if (e != EML_OK) {
        (void)eml_say_failed(job->weights_path, e, &why, NULL);
        eml_model_close(&model, &times);
        return e;
    }
    e = eml_match_inputs(g, named, n, inputs, &why);
    if (e != EML_OK) {
        (void)eml_say_failed("inputs", e, &why, "the model's inputs are listed below");
        eml_cli_print_inputs(g);
    } else {
        struct sink sink = {g, job->output_dir};
        const struct eml_budget no_limit = {UINT64_MAX, UINT64_MAX};
        why = (struct eml_why){0};
        e = eml_model_infer(&model, inputs, false, &no_limit, write_outputs, &sink, &times, &why);
        if (e != EML_OK && why.rule != NULL)
            (void)eml_say_failed("run", e, &why, NULL);
        else if (e != EML_OK)
            (void)eml_say_failed("run", e, NULL, NULL);
        else
            print_times(&times);
    }
    eml_model_close(&model, &times);
    return e;
}

static enum eml_err run_job(const struct job *job)
{
    struct eml_arena arena = {0};
    struct eml_pool *pool = NULL;
    struct eml_buf topology = {0};
    struct eml_bytes sealed = {0};
    struct eml_why why = {0};
    enum eml_err e = eml_cli_reserve(&arena);
    if (e == EML_OK && (e = eml_pool_create(job->threads, &pool)) != EML_OK)
        eml_say("cannot start %u threads; give fewer with --threads", job->threads);
    if (e == EML_OK)
        e = eml_cli_read_topology(job->topology_path, &topology);
    if (e == EML_OK && (e = eml_file_map(job->weights_path, UINT64_MAX, &sealed, &why)) != EML_OK)
        (void)eml_say_failed(job->weights_path, e, &why, NULL);
    if (e == EML_OK)
        e = infer(job, &arena, pool, eml_buf_bytes(&topology), sealed);
    eml_file_unmap(sealed);
    eml_buf_free(&topology);
    eml_pool_destroy(pool);
    (void)eml_arena_destroy(&arena);
    return e;
}

static int run(const struct eml_command *self, int argc, char **argv)
{
    struct eml_values topology = {0}, weights = {0}, input = {0}, output = {0}, threads = {0},
                      positional;
    const struct eml_option options[] = {
        {"topology", "FILE", "topology key", 1, true, &topology},
        {"weights", "FILE", "sealed weights", 1, true, &weights},
        {"input", "NAME=FILE", "an input, .npy or .pb", EML_ARG_VALUES_MAX, true, &input},
        {"output", "DIR", "folder for the outputs", 1, true, &output},
        {"threads", "N", "threads (all processors)", 1, false, &threads},
    };
    bool helped;
    enum eml_err e = eml_args_parse(self, options, sizeof options / sizeof options[0], argc, argv,
                                    &positional, &helped);
    if (e != EML_OK || helped)
        return eml_err_exit(e);
    uint64_t n = 0;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (threads.n != 0)
        e = eml_arg_u64("threads", threads.v[0], 1, 256, &n);
    struct job job = {topology.v[0],
                      weights.v[0],
                      output.v[0],
                      &input,
                      n != 0     ? (unsigned)n
                      : cpus > 0 ? (unsigned)cpus
                                 : 1,
                      EML_ISA_AUTO};
    if (e == EML_OK)
        e = run_job(&job);
    return eml_err_exit(e);
}

const struct eml_command eml_cmd_run = {"run", "", 0, "run a decomposed model locally, to check it",
                                        run};
