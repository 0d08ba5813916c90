#include "kmsd/keystore.h"

#include "base/text.h"
#include "base/wipe.h"
#include "kmsd/policy.h"
#include "wire/base64.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX 131072u
#define SUFFIX ".json"

struct eml_kmsd_store {
    int dir;
    struct eml_kmsd_key *key[EML_KMSD_KEYS_MAX];
    size_t n;
};

enum eml_err eml_kmsd_uuid(char out[EML_KMSD_ID_BYTES + 1])
{
    uint8_t r[16];
    size_t at = 0;
    memset(out, 0, EML_KMSD_ID_BYTES + 1);
    EML_TRY(eml_random(EML_ROOM(r)));
    r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
    r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof r; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[at++] = '-';
        eml_hex_put(eml_bytes(r + i, 1), out + at);
        at += 2;
    }
    return EML_OK;
}

static bool is_id(struct eml_bytes id)
{
    bool good = id.len == EML_KMSD_ID_BYTES;
    for (size_t i = 0; good && i < id.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (id.ptr[i] >= '0' && id.ptr[i] <= '9') || (id.ptr[i] >= 'a' && id.ptr[i] <= 'f');
        good = dash ? id.ptr[i] == '-' : hex;
    }
    return good;
}

static void key_free(struct eml_kmsd_key *k)
{
    if (k == NULL)
        return;
    json_decref(k->policy);
    free(k->description);
    eml_wipe(k, sizeof *k);
    free(k);
}

static struct eml_kmsd_key *key_new(const char *description, json_t *policy, int64_t created_unix_s)
{
    struct eml_kmsd_key *k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->created_unix_s = created_unix_s;
    k->policy = json_incref(policy);
    k->description = strdup(description);
    if (k->description != NULL)
        return k;
    key_free(k);
    return NULL;
}

/* --- files --- */

static enum eml_err write_all(int fd, struct eml_bytes b)
{
    while (b.len > 0) {
        ssize_t n = write(fd, b.ptr, b.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return EML_E_SYSTEM;
        b = eml_bytes(b.ptr + n, b.len - (size_t)n);
    }
    return EML_OK;
}

/* The new file stands whole under its name, or the old one still does. */
static enum eml_err replace(int dir, const char *name, struct eml_bytes content)
{
    static const char temporary[] = "new";
    int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return EML_E_SYSTEM;
    enum eml_err e = write_all(fd, content);
    if (e == EML_OK && fsync(fd) != 0)
        e = EML_E_SYSTEM;
    if (close(fd) != 0)
        e = EML_E_SYSTEM;
    if (e == EML_OK && renameat(dir, temporary, dir, name) != 0)
        e = EML_E_SYSTEM;
    if (e != EML_OK)
        (void)unlinkat(dir, temporary, 0);
    return e == EML_OK && fsync(dir) == 0 ? EML_OK : EML_E_SYSTEM;
}

static enum eml_err save(int dir, const struct eml_kmsd_key *k, json_t *policy)
{
    struct eml_buf material = {0}, text = {0}, policy_text = {0};
    char name[EML_KMSD_ID_BYTES + sizeof SUFFIX];
    (void)snprintf(name, sizeof name, "%s" SUFFIX, k->id);
    eml_base64_encode(EML_BYTES(k->material.b), &material);
    enum eml_err e = eml_json_print(policy, &policy_text);
    json_t *file = json_pack("{s:I, s:s, s:s, s:s%, s:s%}", "CreationDate",
                             (json_int_t)k->created_unix_s, "Description", k->description, "KeyId",
                             k->id, "Material", (const char *)material.ptr, material.len, "Policy",
                             (const char *)policy_text.ptr, policy_text.len);
    if (e == EML_OK)
        e = file != NULL ? eml_json_print(file, &text) : EML_E_SYSTEM;
    if (e == EML_OK)
        e = replace(dir, name, eml_buf_bytes(&text));
    json_decref(file);
    eml_buf_free(&material);
    eml_buf_free(&policy_text);
    eml_buf_free(&text);
    return e;
}

static enum eml_err read_file(int dir, const char *name, struct eml_buf *out)
{
    uint8_t chunk[4096];
    ssize_t n;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return EML_E_SYSTEM;
    out->max = FILE_BYTES_MAX;
    while ((n = read(fd, chunk, sizeof chunk)) > 0)
        eml_buf_put(out, eml_bytes(chunk, (size_t)n));
    eml_wipe(chunk, sizeof chunk);
    (void)close(fd);
    return n == 0 ? eml_buf_ok(out) : EML_E_SYSTEM;
}

static enum eml_err decode(struct eml_bytes text, struct eml_bytes id, struct eml_kmsd_key **out)
{
    json_t *file = NULL, *policy = NULL;
    struct eml_buf material = {0};
    struct eml_kmsd_key *k = NULL;
    enum eml_err e = eml_json_parse(text, FILE_BYTES_MAX, &file, NULL);
    if (e == EML_OK)
        e = eml_json_parse(eml_json_text(file, "Policy"), EML_KEYPOLICY_BYTES_MAX, &policy, NULL);
    if (e == EML_OK)
        e = eml_kmsd_policy_check(policy, NULL);
    if (e == EML_OK)
        e = eml_base64_decode(eml_json_text(file, "Material"), &material);
    const char *description = json_string_value(json_object_get(file, "Description"));
    if (e == EML_OK && (material.len != sizeof k->material.b || description == NULL ||
                        !eml_bytes_equal(eml_json_text(file, "KeyId"), id)))
        e = EML_E_INPUT;
    if (e == EML_OK) {
        k = key_new(description, policy, json_integer_value(json_object_get(file, "CreationDate")));
        e = k != NULL ? EML_OK : EML_E_SYSTEM;
    }
    if (e == EML_OK) {
        memcpy(k->id, id.ptr, EML_KMSD_ID_BYTES);
        memcpy(k->material.b, material.ptr, sizeof k->material.b);
    }
    *out = k;
    eml_buf_free(&material);
    json_decref(file);
    json_decref(policy);
    return e;
}

static enum eml_err load_one(struct eml_kmsd_store *s, const char *name, struct eml_why *why)
{
    struct eml_buf text = {0};
    struct eml_kmsd_key *k = NULL;
    if (s->n == EML_KMSD_KEYS_MAX)
        return eml_fail(why, EML_E_REFUSED, "store: too many keys", -1);
    enum eml_err e = read_file(s->dir, name, &text);
    if (e == EML_OK)
        e = decode(eml_buf_bytes(&text), eml_bytes(name, EML_KMSD_ID_BYTES), &k);
    eml_buf_free(&text);
    if (e != EML_OK)
        return eml_fail(why, e, "store: a key's file is damaged or unreadable", (long)s->n);
    s->key[s->n++] = k;
    return EML_OK;
}

static bool is_key_file(const char *name)
{
    return strlen(name) == EML_KMSD_ID_BYTES + sizeof SUFFIX - 1 &&
           is_id(eml_bytes(name, EML_KMSD_ID_BYTES)) &&
           strcmp(name + EML_KMSD_ID_BYTES, SUFFIX) == 0;
}

static enum eml_err load_all(struct eml_kmsd_store *s, struct eml_why *why)
{
    enum eml_err e = EML_OK;
    int copy = dup(s->dir);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    if (d == NULL) {
        if (copy >= 0)
            (void)close(copy);
        return eml_fail(why, EML_E_SYSTEM, "store: cannot list the directory", -1);
    }
    for (struct dirent *entry; e == EML_OK && (entry = readdir(d)) != NULL;)
        if (is_key_file(entry->d_name))
            e = load_one(s, entry->d_name, why);
    (void)closedir(d);
    return e;
}

enum eml_err eml_kmsd_store_open(const char *dir, struct eml_kmsd_store **out, struct eml_why *why)
{
    *out = NULL;
    struct eml_kmsd_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return eml_fail(why, EML_E_SYSTEM, "store: no memory", -1);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        s->dir = -1;
    else
        s->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum eml_err e = s->dir >= 0
                         ? load_all(s, why)
                         : eml_fail(why, EML_E_SYSTEM, "store: cannot open the directory", -1);
    if (e == EML_OK)
        *out = s;
    else
        eml_kmsd_store_close(s);
    return e;
}

void eml_kmsd_store_close(struct eml_kmsd_store *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n; i++)
        key_free(s->key[i]);
    if (s->dir >= 0)
        (void)close(s->dir);
    free(s);
}

enum eml_err eml_kmsd_store_create(struct eml_kmsd_store *s, const char *description,
                                   json_t *policy, int64_t now_unix_s,
                                   const struct eml_kmsd_key **out)
{
    *out = NULL;
    if (s->n == EML_KMSD_KEYS_MAX)
        return EML_E_REFUSED;
    struct eml_kmsd_key *k = key_new(description, policy, now_unix_s);
    enum eml_err e = k != NULL ? eml_random(EML_ROOM(k->material.b)) : EML_E_SYSTEM;
    if (e == EML_OK)
        e = eml_kmsd_uuid(k->id);
    if (e == EML_OK)
        e = save(s->dir, k, k->policy);
    if (e == EML_OK)
        *out = s->key[s->n++] = k;
    else
        key_free(k);
    return e;
}

const struct eml_kmsd_key *eml_kmsd_store_find(const struct eml_kmsd_store *s, struct eml_bytes id)
{
    for (size_t i = 0; i < s->n; i++)
        if (eml_bytes_equal(eml_bytes_of_str(s->key[i]->id), id))
            return s->key[i];
    return NULL;
}

enum eml_err eml_kmsd_store_set_policy(struct eml_kmsd_store *s, const struct eml_kmsd_key *key,
                                       json_t *policy)
{
    EML_TRY(save(s->dir, key, policy));
    for (size_t i = 0; i < s->n; i++)
        if (s->key[i] == key) {
            json_decref(s->key[i]->policy);
            s->key[i]->policy = json_incref(policy);
        }
    return EML_OK;
}

size_t eml_kmsd_store_count(const struct eml_kmsd_store *s)
{
    return s->n;
}

const struct eml_kmsd_key *eml_kmsd_store_at(const struct eml_kmsd_store *s, size_t i)
{
    return i < s->n ? s->key[i] : NULL;
}
