#include "remote/memory.h"

#include "base/text.h"
#include "base/wipe.h"
#include "wire/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- reading --- */

static enum eml_err bad(struct eml_why *why, const char *rule, long index)
{
    return eml_fail(why, EML_E_INPUT, rule, index);
}

static bool read_number(const json_t *v, uint64_t *out)
{
    json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
    *out = n < 0 ? 0 : (uint64_t)n;
    return n >= 0;
}

static bool read_hex(const json_t *object, const char *name, struct eml_room room)
{
    struct eml_bytes text = eml_json_text(object, name);
    return text.ptr != NULL && eml_hex_get(text, room);
}

static enum eml_err read_policy(const json_t *v, struct eml_memory *m, struct eml_why *why)
{
    if (v == NULL)
        return EML_OK;
    if (!json_is_object(v) || json_object_size(v) != 2 ||
        !read_number(json_object_get(v, "serial"), &m->policy.serial) ||
        !read_hex(v, "digest", EML_ROOM(m->policy.digest.b)))
        return bad(why, "memory: \"policy\" is not a serial and a digest", -1);
    m->has_policy = true;
    return EML_OK;
}

static enum eml_err read_models(const json_t *v, struct eml_memory *m, struct eml_why *why)
{
    size_t n = json_array_size(v); /* 0 if it is no array */
    if (!json_is_array(v) || n > EML_MEMORY_MODELS_MAX)
        return bad(why, "memory: \"models\" is not an array of at most 4096", -1);
    m->model = n == 0 ? NULL : calloc(n, sizeof *m->model);
    if (n != 0 && m->model == NULL)
        return eml_fail(why, EML_E_SYSTEM, "memory: out of memory", -1);
    for (m->n_models = 0; m->n_models < n; m->n_models++) {
        const json_t *one = json_array_get(v, m->n_models);
        struct eml_seen_model *s = &m->model[m->n_models];
        if (!json_is_object(one) || json_object_size(one) != 3 ||
            !read_hex(one, "id", EML_ROOM(s->id)) ||
            !read_hex(one, "digest", EML_ROOM(s->digest.b)) ||
            !read_number(json_object_get(one, "version"), &s->version))
            return bad(why, "memory: a model is not an id, a version and a digest",
                       (long)m->n_models);
        if (m->n_models > 0 && memcmp(s[-1].id, s->id, sizeof s->id) >= 0)
            return bad(why, "memory: models are not in the order of their ids", (long)m->n_models);
    }
    return EML_OK;
}

static enum eml_err read_checkpoint(const json_t *v, struct eml_memory *m, struct eml_why *why)
{
    struct eml_checkpoint c;
    if (v == NULL)
        return EML_OK;
    if (!json_is_string(v) || json_string_length(v) > EML_NOTE_BYTES_MAX)
        return bad(why, "memory: \"checkpoint\" is not a note", -1);
    struct eml_bytes note = eml_bytes(json_string_value(v), json_string_length(v));
    EML_TRY(eml_checkpoint_peek(note, &c, why));
    eml_buf_put(&m->checkpoint, note);
    return eml_buf_ok(&m->checkpoint);
}

static enum eml_err check_members(json_t *root, struct eml_why *why)
{
    static const char *const known[] = {"version", "policy", "image", "models", "checkpoint"};
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof known[0] && strcmp(key, known[i]) != 0)
            i++;
        if (i == sizeof known / sizeof known[0])
            return bad(why, "memory: unknown member", -1);
    }
    return EML_OK;
}

static enum eml_err read_memory(json_t *root, struct eml_memory *m, struct eml_why *why)
{
    uint64_t format;
    EML_TRY(check_members(root, why));
    if (!read_number(json_object_get(root, "version"), &format) || format != 1)
        return bad(why, "memory: \"version\" is not 1", -1);
    EML_TRY(read_policy(json_object_get(root, "policy"), m, why));
    if (!read_number(json_object_get(root, "image"), &m->image_version))
        return bad(why, "memory: \"image\" is not 0 to 2^63 - 1", -1);
    EML_TRY(read_models(json_object_get(root, "models"), m, why));
    return read_checkpoint(json_object_get(root, "checkpoint"), m, why);
}

enum eml_err eml_memory_parse(struct eml_bytes json, struct eml_memory *out, struct eml_why *why)
{
    json_t *root = NULL;
    *out = (struct eml_memory){.has_policy = false};
    EML_TRY(eml_json_parse(json, EML_MEMORY_BYTES_MAX, &root, why));
    enum eml_err e = read_memory(root, out, why);
    json_decref(root);
    if (e != EML_OK)
        eml_memory_free(out);
    return e;
}

void eml_memory_free(struct eml_memory *m)
{
    free(m->model);
    eml_buf_free(&m->checkpoint);
    *m = (struct eml_memory){.has_policy = false};
}

/* --- printing --- */

static void put_number(struct eml_buf *b, const char *before, uint64_t n)
{
    eml_buf_put(b, eml_bytes_of_str(before));
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    eml_buf_put(b, eml_bytes_of_str(digits));
}

static void put_hex(struct eml_buf *b, const char *before, struct eml_bytes v)
{
    eml_buf_put(b, eml_bytes_of_str(before));
    eml_hex_append(v, b);
    eml_buf_put_u8(b, '"');
}

/* A note is UTF-8 without control characters but line feeds: those, quotes and backslashes. */
static void put_note(struct eml_buf *b, struct eml_bytes note)
{
    eml_buf_put(b, EML_LIT(",\n  \"checkpoint\": \""));
    for (size_t i = 0; i < note.len; i++) {
        uint8_t c = note.ptr[i];
        if (c == '"' || c == '\\')
            eml_buf_put_u8(b, '\\');
        if (c == '\n')
            eml_buf_put(b, EML_LIT("\\n"));
        else
            eml_buf_put_u8(b, c);
    }
    eml_buf_put_u8(b, '"');
}

enum eml_err eml_memory_print(const struct eml_memory *m, struct eml_buf *json)
{
    eml_buf_put(json, EML_LIT("{\n  \"version\": 1"));
    if (m->has_policy) {
        put_number(json, ",\n  \"policy\": {\"serial\": ", m->policy.serial);
        put_hex(json, ", \"digest\": \"", EML_BYTES(m->policy.digest.b));
        eml_buf_put_u8(json, '}');
    }
    put_number(json, ",\n  \"image\": ", m->image_version);
    eml_buf_put(json, EML_LIT(",\n  \"models\": ["));
    for (size_t i = 0; i < m->n_models; i++) {
        put_hex(json, i == 0 ? "\n    {\"id\": \"" : ",\n    {\"id\": \"",
                EML_BYTES(m->model[i].id));
        put_number(json, ", \"version\": ", m->model[i].version);
        put_hex(json, ", \"digest\": \"", EML_BYTES(m->model[i].digest.b));
        eml_buf_put_u8(json, '}');
    }
    eml_buf_put_u8(json, ']');
    if (m->checkpoint.len != 0)
        put_note(json, eml_buf_bytes(&m->checkpoint));
    eml_buf_put(json, EML_LIT("\n}"));
    return eml_buf_ok(json);
}

/* --- comparing --- */

enum age { OLDER, SAME, OTHER, NEWER };

static enum age age_of(uint64_t seen, struct eml_bytes seen_digest, uint64_t kept,
                       struct eml_bytes kept_digest)
{
    if (seen != kept)
        return seen > kept ? NEWER : OLDER;
    return eml_bytes_equal(seen_digest, kept_digest) ? SAME : OTHER;
}

static enum age age_of_policy(const struct eml_memory *m, const struct eml_seen_policy *p)
{
    if (!m->has_policy)
        return NEWER;
    return age_of(p->serial, EML_BYTES(p->digest.b), m->policy.serial,
                  EML_BYTES(m->policy.digest.b));
}

static enum age age_of_image(const struct eml_memory *m, uint64_t version)
{
    return age_of(version, EML_LIT(""), m->image_version, EML_LIT(""));
}

/* The first model whose id is not less, or n_models. */
static size_t place_of(const struct eml_memory *m, const uint8_t id[16])
{
    size_t i = 0;
    while (i < m->n_models && memcmp(m->model[i].id, id, 16) < 0)
        i++;
    return i;
}

static enum age age_of_model(const struct eml_memory *m, const struct eml_seen_model *s)
{
    size_t i = place_of(m, s->id);
    if (i == m->n_models || memcmp(m->model[i].id, s->id, sizeof s->id) != 0)
        return NEWER;
    return age_of(s->version, EML_BYTES(s->digest.b), m->model[i].version,
                  EML_BYTES(m->model[i].digest.b));
}

static enum eml_err age_of_log(const struct eml_memory *m, struct eml_bytes note, enum age *out,
                               struct eml_why *why)
{
    struct eml_checkpoint seen, kept;
    *out = NEWER;
    EML_TRY(eml_checkpoint_peek(note, &seen, why));
    if (m->checkpoint.len == 0)
        return EML_OK;
    EML_TRY(eml_checkpoint_peek(eml_buf_bytes(&m->checkpoint), &kept, why));
    if (!eml_bytes_equal(kept.origin, seen.origin))
        return eml_fail(why, EML_E_REFUSED, "audit log: not the log that is remembered", -1);
    *out = age_of(seen.size, EML_BYTES(seen.root.b), kept.size, EML_BYTES(kept.root.b));
    return EML_OK;
}

/* How each part that is shown stands to what is remembered; SAME if it is not shown. */
struct ages {
    enum age policy, image, model, log;
};

static enum eml_err ages_of(const struct eml_memory *m, const struct eml_seen *s, struct ages *a,
                            struct eml_why *why)
{
    *a = (struct ages){SAME, SAME, SAME, SAME};
    if ((s->policy != NULL && s->policy->serial > INT64_MAX) ||
        (s->image_version != NULL && *s->image_version > INT64_MAX) ||
        (s->model != NULL && s->model->version > INT64_MAX))
        return eml_fail(why, EML_E_INPUT, "memory: a version beyond 2^63 - 1", -1);
    if (s->policy != NULL)
        a->policy = age_of_policy(m, s->policy);
    if (s->image_version != NULL)
        a->image = age_of_image(m, *s->image_version);
    if (s->model != NULL)
        a->model = age_of_model(m, s->model);
    if (s->checkpoint.ptr != NULL)
        EML_TRY(age_of_log(m, s->checkpoint, &a->log, why));
    if (a->policy == OTHER)
        return eml_fail(why, EML_E_REFUSED, "policy: another of the same serial is remembered", -1);
    if (a->model == OTHER)
        return eml_fail(why, EML_E_REFUSED,
                        "topology key: another of the same model and version is remembered", -1);
    if (a->log == OTHER)
        return eml_fail(why, EML_E_REFUSED, "audit log: another of the same size (forked)", -1);
    return EML_OK;
}

enum eml_err eml_memory_compare(const struct eml_memory *m, const struct eml_seen *seen,
                                struct eml_why *why)
{
    struct ages a;
    EML_TRY(ages_of(m, seen, &a, why));
    if (a.policy == OLDER)
        return eml_fail(why, EML_E_REFUSED, "policy: older than remembered (rolled back)", -1);
    if (a.image == OLDER)
        return eml_fail(why, EML_E_REFUSED, "enclave image: older than remembered (rolled back)",
                        -1);
    if (a.model == OLDER)
        return eml_fail(why, EML_E_REFUSED, "topology key: older than remembered (rolled back)",
                        -1);
    if (a.log == OLDER)
        return eml_fail(why, EML_E_REFUSED, "audit log: older than remembered (rolled back)", -1);
    return EML_OK;
}

static enum eml_err put_model(struct eml_memory *m, const struct eml_seen_model *s,
                              struct eml_why *why)
{
    size_t i = place_of(m, s->id);
    if (i == m->n_models || memcmp(m->model[i].id, s->id, sizeof s->id) != 0) {
        if (m->n_models == EML_MEMORY_MODELS_MAX)
            return eml_fail(why, EML_E_REFUSED, "memory: holds as many models as it can", -1);
        struct eml_seen_model *p = realloc(m->model, (m->n_models + 1) * sizeof *p);
        if (p == NULL)
            return eml_fail(why, EML_E_SYSTEM, "memory: out of memory", -1);
        memmove(p + i + 1, p + i, (m->n_models - i) * sizeof *p);
        m->model = p;
        m->n_models++;
    }
    m->model[i] = *s;
    return EML_OK;
}

enum eml_err eml_memory_raise(struct eml_memory *m, const struct eml_seen *seen, bool *changed,
                              struct eml_why *why)
{
    struct ages a;
    struct eml_buf note = {0};
    *changed = false;
    EML_TRY(ages_of(m, seen, &a, why));
    if (a.log == NEWER) {
        eml_buf_put(&note, seen->checkpoint);
        EML_TRY(eml_buf_ok(&note));
    }
    enum eml_err e = a.model == NEWER ? put_model(m, seen->model, why) : EML_OK;
    if (e != EML_OK) {
        eml_buf_free(&note);
        return e;
    }
    if (a.policy == NEWER) {
        m->policy = *seen->policy;
        m->has_policy = true;
    }
    if (a.image == NEWER)
        m->image_version = *seen->image_version;
    if (a.log == NEWER) {
        eml_buf_free(&m->checkpoint);
        m->checkpoint = note;
    }
    *changed = a.policy == NEWER || a.image == NEWER || a.model == NEWER || a.log == NEWER;
    return EML_OK;
}
