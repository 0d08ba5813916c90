/* eml decompose: an ONNX model becomes a topology key and sealed weights. */
#define _DEFAULT_SOURCE
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/say.h"

#include "decompose/decompose.h"
#include "file/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum eml_err write_file(const char *dir, const char *name, unsigned mode,
                               struct eml_bytes bytes)
{
    char path[4096];
    struct eml_why why = {0};
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    enum eml_err e = n > 0 && (size_t)n < sizeof path
                         ? eml_file_write_atomic(path, mode, bytes, &why)
                         : EML_E_USAGE;
    if (e != EML_OK)
        (void)eml_say_failed(path, e, &why, NULL);
    return e;
}

/* The key is written last: where it stands, its weights stand too. */
static enum eml_err write_all(const char *dir, const struct eml_decomposed *d)
{
    bool made = mkdir(dir, 0777) == 0;
    if (!made && errno != EEXIST) {
        eml_say("cannot make the folder %s", dir);
        return EML_E_USAGE;
    }
    char key[4096];
    (void)snprintf(key, sizeof key, "%s/%s", dir, EML_TOPOLOGY_FILE);
    if (access(key, F_OK) == 0) {
        eml_say("%s exists; a topology key is never overwritten: choose another folder", key);
        return EML_E_USAGE;
    }
    enum eml_err e = write_file(dir, EML_WEIGHTS_FILE, 0644, eml_buf_bytes(&d->sealed));
    if (e == EML_OK)
        e = write_file(dir, EML_TOPOLOGY_FILE, 0600, eml_buf_bytes(&d->topology));
    if (e != EML_OK) {
        char weights[4096];
        (void)snprintf(weights, sizeof weights, "%s/%s", dir, EML_WEIGHTS_FILE);
        (void)unlink(weights);
        if (made)
            (void)rmdir(dir);
    }
    return e;
}

static void print_loss(const struct eml_loss *loss)
{
    if (loss->measured)
        (void)printf("bfloat16: on random inputs, outputs of size %.3g (root mean square) differ "
                     "by %.2g, at most by %.2g\n",
                     loss->rms, loss->error, loss->largest);
    else
        (void)printf("bfloat16: the loss was not measured: no sizes were found that the model "
                     "takes\n");
}

static enum eml_err decompose(const char *path, const char *dir,
                              const struct eml_decompose_options *options)
{
    struct eml_onnx_model *model = NULL;
    struct eml_onnx_diag diag = {0};
    struct eml_check_report report = {0};
    struct eml_decomposed d = {0};
    eml_say_progress("reading the model");
    enum eml_err e = eml_onnx_load(path, &model, &diag);
    if (e != EML_OK) {
        (void)eml_say_failed(path, e, &diag.why, diag.subject[0] != '\0' ? diag.subject : NULL);
        return e;
    }
    eml_say_progress("decomposing and sealing");
    e = eml_decompose(model, options, &d, &report);
    eml_onnx_free(model);
    if (report.n != 0)
        (void)!eml_check_print(&report, path, stderr); /* e tells of the failure already */
    else if (e != EML_OK)
        (void)eml_say_failed(path, e, NULL, NULL);
    if (e == EML_OK)
        e = write_all(dir, &d);
    if (e == EML_OK)
        (void)printf("%u nodes became %u; %llu bytes of weights in %llu chunks\n", d.nodes_before,
                     d.nodes_after, (unsigned long long)d.weight_bytes,
                     (unsigned long long)d.chunks);
    if (e == EML_OK && options->bf16)
        print_loss(&d.loss);
    eml_decomposed_free(&d);
    eml_check_free(&report);
    return e;
}

/* The id of the model whose key is replaced; *version: of that key. */
static enum eml_err read_replaced(const char *path, uint8_t id[16], uint64_t *version)
{
    struct eml_arena arena;
    struct eml_buf encoded = {0};
    EML_TRY(eml_cli_reserve(&arena));
    struct eml_topology *t = eml_arena_alloc(&arena, sizeof *t, 64);
    enum eml_err e = t == NULL ? EML_E_SYSTEM : eml_cli_read_topology(path, &encoded);
    if (e == EML_OK)
        e = eml_cli_decode_topology(path, eml_buf_bytes(&encoded), &arena, t);
    if (e == EML_OK) {
        memcpy(id, t->blob.model_id, sizeof t->blob.model_id);
        *version = t->blob.version;
    }
    eml_buf_free(&encoded);
    (void)eml_arena_destroy(&arena);
    return e;
}

/* Version 1 of a model of its own, or the next of the one that is replaced, if nothing is said. */
static enum eml_err choose_version(const struct eml_values *replaces,
                                   const struct eml_values *given, uint8_t id[16],
                                   struct eml_decompose_options *o)
{
    uint64_t before = 0;
    if (replaces->n != 0) {
        EML_TRY(read_replaced(replaces->v[0], id, &before));
        o->model_id = id;
        if (before >= INT64_MAX) {
            eml_say("%s has the last version that there is", replaces->v[0]);
            return EML_E_USAGE;
        }
    }
    o->version = before + 1;
    if (given->n == 0)
        return EML_OK;
    return eml_arg_u64("model-version", given->v[0], before + 1, INT64_MAX, &o->version);
}

static int run(const struct eml_command *self, int argc, char **argv)
{
    struct eml_values output = {0}, version = {0}, min_version = {0}, replaces = {0}, bf16 = {0},
                      cipher = {0}, positional;
    const struct eml_option options[] = {
        {"output", "DIR", "folder for topology.key and weights.sealed", 1, true, &output},
        {"model-version", "N", "bound into every chunk of the weights (1)", 1, false, &version},
        {"min-version", "N", "oldest weights that the key accepts (the same)", 1, false,
         &min_version},
        {"replaces", "KEY", "a later version of this topology key's model", 1, false, &replaces},
        {"cipher", "NAME", "of the weights: aes-256-gcm (so by default) or aegis-256x4", 1, false,
         &cipher},
        {"bf16", NULL, "round the weights of matrix products to bfloat16", 1, false, &bf16},
    };
    bool helped;
    enum eml_err e = eml_args_parse(self, options, sizeof options / sizeof options[0], argc, argv,
                                    &positional, &helped);
    if (e != EML_OK || helped)
        return eml_err_exit(e);
    uint8_t id[16];
    struct eml_decompose_options o = {0};
    e = choose_version(&replaces, &version, id, &o);
    o.min_version = o.version;
    o.bf16 = bf16.n != 0;
    if (e == EML_OK && !eml_cipher_of(eml_arg(&cipher, "aes-256-gcm"), &o.cipher)) {
        eml_say("--cipher is aes-256-gcm or aegis-256x4");
        e = EML_E_USAGE;
    }
    if (e == EML_OK && min_version.n != 0)
        e = eml_arg_u64("min-version", min_version.v[0], 1, o.version, &o.min_version);
    if (e == EML_OK)
        e = decompose(positional.v[0], output.v[0], &o);
    return eml_err_exit(e);
}

const struct eml_command eml_cmd_decompose = {
    "decompose", "MODEL.onnx", 1, "split a model into a topology key and sealed weights", run};
