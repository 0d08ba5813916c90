#include "onnx/store.h"

#include "file/file.h"

#include <string.h>

enum { EXTERNAL_FILES_MAX = 4096 };
#define EXTERNAL_FILE_BYTES_MAX ((uint64_t)1 << 40)

/* A decimal number without sign or space; false if it is none or does not fit. */
static bool decimal(const char *s, uint64_t *out)
{
    uint64_t v = 0;
    if (*s == '\0')
        return false;
    for (; *s != '\0'; s++) {
        if (*s < '0' || *s > '9' || v > (UINT64_MAX - 9) / 10)
            return false;
        v = v * 10 + (uint64_t)(*s - '0');
    }
    *out = v;
    return true;
}

static enum eml_err map_location(struct eml_onnx_store *s, const char *location, long index,
                                 struct eml_bytes *out)
{
    for (struct eml_onnx_external *e = s->external; e != NULL; e = e->next)
        if (strcmp(e->location, location) == 0) {
            *out = e->map;
            return EML_OK;
        }
    if (s->dir == NULL)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: external data has no directory here", index,
                               location);
    if (s->n_external == EXTERNAL_FILES_MAX)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: too many external data files", index,
                               location);
    struct eml_onnx_external *e = eml_onnx_pool_array(&s->pool, 1, sizeof *e);
    if (e == NULL)
        return eml_onnx_no_memory(s);
    struct eml_why why;
    enum eml_err err =
        eml_file_map_beneath(s->dir, location, EXTERNAL_FILE_BYTES_MAX, &e->map, &why);
    if (err == EML_E_USAGE)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: external data file is missing or unreadable",
                               index, location);
    if (err == EML_E_INPUT)
        return eml_onnx_refuse(s, EML_E_INPUT,
                               "onnx: external data must be a file inside the model's directory",
                               index, location);
    if (err != EML_OK)
        return eml_onnx_refuse(s, err, why.rule, index, location);
    e->location = location;
    e->next = s->external;
    s->external = e;
    s->n_external++;
    *out = e->map;
    return EML_OK;
}

enum eml_err eml_onnx_external_data(struct eml_onnx_store *s, const Onnx__TensorProto *t,
                                    size_t need, long index, struct eml_bytes *out)
{
    const char *name = eml_onnx_str(t->name), *location = NULL;
    uint64_t offset = 0, length = need;
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = eml_onnx_str(t->external_data[i]->key);
        const char *value = eml_onnx_str(t->external_data[i]->value);
        bool ok = true;
        if (strcmp(key, "location") == 0)
            location = value;
        else if (strcmp(key, "offset") == 0)
            ok = decimal(value, &offset);
        else if (strcmp(key, "length") == 0)
            ok = decimal(value, &length);
        if (!ok)
            return eml_onnx_refuse(s, EML_E_INPUT, "onnx: external data offset or length", index,
                                   name);
    }
    if (location == NULL)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: external data without a location", index,
                               name);
    struct eml_bytes map = {NULL, 0};
    EML_TRY(map_location(s, location, index, &map));
    if (length != need)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: element data is not as long as dims say",
                               index, name);
    if (offset > map.len || length > map.len - offset)
        return eml_onnx_refuse(s, EML_E_INPUT, "onnx: external data file is too short", index,
                               name);
    if (need > 0)
        *out = eml_bytes(map.ptr + offset, need);
    return EML_OK;
}
