#define _DEFAULT_SOURCE
#include "cli/files.h"

#include "cli/say.h"
#include "file/file.h"
#include "model/limits.h"
#include "onnx/tensor_pb.h"
#include "tensorio/npy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLICY_MAX = 1 << 20, PATH_LEN = 4096 };

enum eml_err eml_cli_reserve(struct eml_arena *arena)
{
    enum eml_err e = eml_arena_create(arena, EML_CLI_ARENA_BYTES);
    if (e != EML_OK)
        eml_say("cannot reserve %zu GiB of address space; lift the limit (ulimit -v unlimited)",
                EML_CLI_ARENA_BYTES >> 30);
    return e;
}

enum eml_err eml_cli_read_topology(const char *path, struct eml_buf *encoded)
{
    struct eml_why why = {0};
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0) {
        eml_say(
            "%s is a secret that others can read; run chmod 600 on it, and if somebody may have "
            "read it, decompose the model again",
            path);
        return EML_E_REFUSED;
    }
    enum eml_err e = eml_file_read(path, EML_TOPOLOGY_BYTES_MAX, encoded, &why);
    if (e != EML_OK)
        (void)eml_say_failed(path, e, &why, NULL);
    return e;
}

enum eml_err eml_cli_decode_topology(const char *path, struct eml_bytes encoded,
                                     struct eml_arena *arena, struct eml_topology *out)
{
    struct eml_why why = {0};
    enum eml_err e = eml_topology_decode(encoded, arena, out, &why);
    if (e != EML_OK)
        (void)eml_say_failed(path, e, &why, "it is damaged, or not a topology key");
    return e;
}

enum eml_err eml_cli_read_policy(const char *path, struct eml_policy *out)
{
    struct eml_why why = {0};
    struct eml_buf json = {0};
    enum eml_err e = eml_file_read(path, POLICY_MAX, &json, &why);
    if (e == EML_OK)
        e = eml_policy_parse(eml_buf_bytes(&json), out, &why);
    eml_buf_free(&json);
    if (e != EML_OK)
        (void)eml_say_failed(path, e, &why, NULL);
    return e;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static enum eml_err read_tensor(const char *path, struct eml_arena *arena, struct eml_tensor *out)
{
    struct eml_why why = {0};
    struct eml_buf file = {0};
    enum eml_err e = eml_file_read(path, EML_BUF_MAX, &file, &why);
    if (e == EML_OK && ends_with(path, ".pb"))
        e = eml_tensor_pb_decode(eml_buf_bytes(&file), arena, out, &why);
    else if (e == EML_OK)
        e = eml_npy_decode(eml_buf_bytes(&file), arena, out, &why);
    eml_buf_free(&file);
    if (e != EML_OK)
        (void)eml_say_failed(path, e, &why, NULL);
    return e;
}

enum eml_err eml_cli_read_tensors(const char *option, const struct eml_values *args,
                                  struct eml_arena *arena, struct eml_named_tensor *out, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < args->n; i++) {
        const char *eq = strchr(args->v[i], '=');
        if (eq == NULL || eq == args->v[i] || (size_t)(eq - args->v[i]) > EML_NAME_BYTES_MAX) {
            eml_say("--%s takes NAME=FILE, not %s", option, args->v[i]);
            return EML_E_USAGE;
        }
        out[i].name = eml_bytes(args->v[i], (size_t)(eq - args->v[i]));
        EML_TRY(read_tensor(eq + 1, arena, &out[i].tensor));
    }
    *n = args->n;
    return EML_OK;
}

void eml_cli_print_inputs(const struct eml_graph *g)
{
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const struct eml_value *v = &g->values[g->inputs[i].value];
        (void)fprintf(stderr, "  [%u] %.*s  %s [", i, (int)g->inputs[i].text.len,
                      (const char *)g->inputs[i].text.ptr, eml_dtype_name(v->dtype));
        for (uint32_t d = 0; d < v->shape.rank; d++)
            if (v->shape.dim[d] == EML_DIM_UNKNOWN)
                (void)fprintf(stderr, "%s?", d != 0 ? ", " : "");
            else
                (void)fprintf(stderr, "%s%lld", d != 0 ? ", " : "", (long long)v->shape.dim[d]);
        (void)fprintf(stderr, "]\n");
    }
}

static bool plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

/* DIR/<name>.npy, or with a suffix while it is being written. Two names that differ only in odd
 * characters would meet in one file: the position tells them apart. */
static bool output_path(char *path, const char *dir, const struct eml_named_tensor *outputs,
                        size_t i, const char *suffix)
{
    char name[EML_NAME_BYTES_MAX + 1];
    size_t len = outputs[i].name.len;
    bool odd = outputs[i].name.ptr[0] == '.';
    for (size_t k = 0; k < len; k++) {
        uint8_t c = outputs[i].name.ptr[k];
        odd = odd || !plain(c);
        name[k] = plain(c) && !(k == 0 && c == '.') ? (char)c : '_';
    }
    name[len] = '\0';
    char number[24] = "";
    if (odd)
        (void)snprintf(number, sizeof number, ".%zu", i);
    int n = snprintf(path, PATH_LEN, "%s/%s%s.npy%s", dir, name, number, suffix);
    return n > 0 && n < PATH_LEN;
}

static enum eml_err make_dir(const char *dir, bool *made)
{
    *made = mkdir(dir, 0777) == 0;
    if (*made || errno == EEXIST)
        return EML_OK;
    eml_say("cannot make the folder %s", dir);
    return errno == ENOSPC || errno == EDQUOT ? EML_E_SYSTEM : EML_E_USAGE;
}

static enum eml_err write_one(const char *path, const struct eml_tensor *t, struct eml_why *why)
{
    struct eml_buf file = {0};
    enum eml_err e = eml_npy_encode(t, &file);
    if (e == EML_OK)
        e = eml_file_write_atomic(path, 0600, eml_buf_bytes(&file), why);
    eml_buf_free(&file);
    return e;
}

enum eml_err eml_cli_write_outputs(const char *dir, const struct eml_named_tensor *outputs,
                                   size_t n)
{
    char path[PATH_LEN], final[PATH_LEN];
    struct eml_why why = {0};
    size_t written = 0;
    bool made = false;
    enum eml_err e = make_dir(dir, &made);
    for (; e == EML_OK && written < n; written++) {
        e = output_path(path, dir, outputs, written, ".new")
                ? write_one(path, &outputs[written].tensor, &why)
                : EML_E_USAGE;
        if (e != EML_OK)
            break;
    }
    size_t placed = 0;
    for (; e == EML_OK && placed < n; placed++)
        if (!output_path(path, dir, outputs, placed, ".new") ||
            !output_path(final, dir, outputs, placed, "") || rename(path, final) != 0) {
            e = eml_fail(&why, errno == EISDIR ? EML_E_USAGE : EML_E_SYSTEM,
                         "an output cannot be put in place (a folder of its name?)", (long)placed);
            break;
        }
    if (e == EML_OK)
        return EML_OK;
    /* The one that failed, too: it may be there, and only its folder not synced. */
    for (size_t i = 0; i < n && i <= written; i++)
        if (output_path(path, dir, outputs, i, i < placed ? "" : ".new"))
            (void)unlink(path);
    if (made)
        (void)rmdir(dir);
    (void)eml_say_failed(dir, e, &why, "no output was written");
    return e;
}
