#include "onnx/onnx.h"

#include "file/file.h"
#include "onnx/store.h"
#include "onnx/wire.h"

#include <stdlib.h>
#include <string.h>

/* Unpacked structs are larger than their encoding; element data is not. */
#define BUDGET_BASE ((uint64_t)256 << 20)
#define BUDGET_PER_BYTE 12u

static void set_subject(struct eml_onnx_diag *d, const char *s)
{
    size_t n = strlen(s);
    if (n >= sizeof d->subject) {
        n = sizeof d->subject - 1;
        while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
            n--;
    }
    for (size_t i = 0; i < n; i++)
        d->subject[i] = (unsigned char)s[i] < 0x20 || s[i] == 0x7f ? '?' : s[i];
    d->subject[n] = '\0';
}

enum eml_err eml_onnx_refuse(struct eml_onnx_store *s, enum eml_err e, const char *rule, long index,
                             const char *subject)
{
    set_subject(&s->diag, subject);
    return eml_fail(&s->diag.why, e, rule, index);
}

enum eml_err eml_onnx_no_memory(struct eml_onnx_store *s)
{
    if (s->pool.over_budget)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: needs far more memory than its size", -1, "");
    return eml_onnx_refuse(s, EML_E_SYSTEM, "onnx: out of memory", -1, "");
}

const char *eml_onnx_str(const char *s)
{
    return s != NULL ? s : "";
}

static void free_store(struct eml_onnx_store *s)
{
    for (struct eml_onnx_external *e = s->external; e != NULL; e = e->next)
        eml_file_unmap(e->map);
    eml_onnx_pool_free(&s->pool);
    free(s);
}

void eml_onnx_free(struct eml_onnx_model *m)
{
    if (m != NULL)
        free_store(m->store);
}

static enum eml_err unpack(struct eml_onnx_store *s, struct eml_bytes file, Onnx__ModelProto **out)
{
    ProtobufCAllocator pool = eml_onnx_pool_allocator(&s->pool);
    if (file.len == 0)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: the file is empty", -1, "");
    if (file.len > EML_ONNX_FILE_BYTES_MAX)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: larger than protobuf allows (2 GiB)", -1, "");
    EML_TRY(eml_onnx_wire_check(file, &onnx__model_proto__descriptor, &s->diag.why));
    *out = onnx__model_proto__unpack(&pool, file.len, file.ptr);
    if (*out != NULL)
        return EML_OK;
    if (s->pool.over_budget || s->pool.no_memory)
        return eml_onnx_no_memory(s);
    return eml_onnx_refuse(s, EML_E_INPUT, "onnx: a field has the wrong type", -1, "");
}

enum eml_err eml_onnx_parse(struct eml_bytes file, const char *dir, struct eml_onnx_model **out,
                            struct eml_onnx_diag *diag)
{
    Onnx__ModelProto *proto = NULL;
    struct eml_onnx_model *m = NULL;
    *out = NULL;
    struct eml_onnx_store *s = calloc(1, sizeof *s);
    if (s == NULL) {
        if (diag != NULL)
            *diag = (struct eml_onnx_diag){.why = {"onnx: out of memory", -1}};
        return EML_E_SYSTEM;
    }
    s->diag.why.index = -1;
    s->dir = dir;
    s->pool.budget = BUDGET_BASE + BUDGET_PER_BYTE * (uint64_t)file.len;
    enum eml_err err = unpack(s, file, &proto);
    if (err != EML_OK)
        goto out;
    m = eml_onnx_pool_array(&s->pool, 1, sizeof *m);
    err = m != NULL ? eml_onnx_build(s, proto, m) : eml_onnx_no_memory(s);
out:
    if (diag != NULL)
        *diag = s->diag;
    s->dir = NULL;
    if (err != EML_OK) {
        free_store(s);
        return err;
    }
    m->store = s;
    *out = m;
    return EML_OK;
}

/* The directory part of a path; "." if it has none. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

enum eml_err eml_onnx_load(const char *path, struct eml_onnx_model **out,
                           struct eml_onnx_diag *diag)
{
    struct eml_onnx_diag unused;
    struct eml_bytes map;
    if (diag == NULL)
        diag = &unused;
    *out = NULL;
    *diag = (struct eml_onnx_diag){.why = {NULL, -1}};
    char *dir = directory_of(path);
    if (dir == NULL)
        return eml_fail(&diag->why, EML_E_SYSTEM, "onnx: out of memory", -1);
    enum eml_err err = eml_file_map(path, EML_ONNX_FILE_BYTES_MAX, &map, &diag->why);
    if (err == EML_OK)
        err = eml_onnx_parse(map, dir, out, diag);
    eml_file_unmap(map);
    free(dir);
    return err;
}

const struct eml_onnx_attr *eml_onnx_attr(const struct eml_onnx_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->n_attr; i++)
        if (strcmp(n->attr[i].name, name) == 0)
            return &n->attr[i];
    return NULL;
}

int64_t eml_onnx_opset(const struct eml_onnx_model *m, const char *domain)
{
    for (uint32_t i = 0; i < m->n_opsets; i++)
        if (strcmp(m->opsets[i].domain, domain) == 0)
            return m->opsets[i].version;
    return 0;
}

/* The domains that have operators here besides ONNX's own. */
static const char *const domains[] = {"com.microsoft", "ai.onnx.preview.training"};

bool eml_onnx_op_name(const struct eml_onnx_node *n, char name[128])
{
    const size_t length = strlen(n->op_type);
    size_t prefix = 0;
    name[0] = '\0';
    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++)
        if (strcmp(n->domain, domains[i]) == 0)
            prefix = strlen(domains[i]) + 1;
    if ((n->domain[0] != '\0') != (prefix != 0) || length >= 128 - prefix)
        return false;
    if (prefix != 0) {
        memcpy(name, n->domain, prefix - 1);
        name[prefix - 1] = '.';
    }
    memcpy(name + prefix, n->op_type, length + 1);
    return true;
}
