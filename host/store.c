#define _GNU_SOURCE
#include "host/store.h"

#include "base/text.h"
#include "host/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEX = 2 * EML_HOST_ID_BYTES, TEMP_NAME = HEX + 24 };
static const char tmp_dir[] = "tmp";

struct eml_store {
    int dir;
    uint64_t object_max, total_max;
    pthread_mutex_t lock; /* of what follows */
    uint64_t objects, bytes;
    uint64_t reserved; /* bytes of objects being received */
    uint64_t serial;
};

struct eml_store_put {
    struct eml_store *store;
    int fd;
    uint64_t size, written;
    char name[HEX + 1], temp[TEMP_NAME];
};

static bool is_hex(const char *s, size_t len)
{
    return strlen(s) == len && strspn(s, "0123456789abcdef") == len;
}

static void hex_name(const uint8_t id[EML_HOST_ID_BYTES], char out[HEX + 1])
{
    eml_hex_put(eml_bytes(id, EML_HOST_ID_BYTES), out);
    out[HEX] = '\0';
}

/* "ab/ab12...", relative to the store. */
static void object_path(const char name[HEX + 1], char out[HEX + 4])
{
    (void)snprintf(out, HEX + 4, "%.2s/%s", name, name);
}

static int open_dir(int at, const char *name, bool make)
{
    if (make && mkdirat(at, name, 0700) != 0 && errno != EEXIST)
        return -1;
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* --- opening --- */

/* Calls f for every entry of a directory; false if it cannot be read. */
static bool each_entry(int at, const char *name, void (*f)(void *, int, const char *), void *ctx)
{
    int fd = open_dir(at, name, false);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (d == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.')
            f(ctx, dirfd(d), e->d_name);
    return closedir(d) == 0;
}

static void remove_entry(void *ctx, int at, const char *name)
{
    (void)ctx;
    (void)unlinkat(at, name, 0);
}

static void count_object(void *ctx, int at, const char *name)
{
    struct eml_store *s = ctx;
    struct stat st;
    if (is_hex(name, HEX) && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode)) {
        s->objects++;
        s->bytes += (uint64_t)st.st_size;
    }
}

static void count_level(void *ctx, int at, const char *name)
{
    if (is_hex(name, 2))
        (void)each_entry(at, name, count_object, ctx);
}

enum eml_err eml_store_open(const char *dir, uint64_t object_max, uint64_t total_max,
                            struct eml_store **out, struct eml_why *why)
{
    *out = NULL;
    struct eml_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return eml_fail(why, EML_E_SYSTEM, "store: out of memory", -1);
    s->object_max = object_max;
    s->total_max = total_max;
    s->dir = open_dir(AT_FDCWD, dir, true);
    int tmp = s->dir >= 0 ? open_dir(s->dir, tmp_dir, true) : -1;
    if (tmp < 0 || !each_entry(s->dir, tmp_dir, remove_entry, NULL) ||
        !each_entry(s->dir, ".", count_level, s) || pthread_mutex_init(&s->lock, NULL) != 0) {
        if (tmp >= 0)
            (void)close(tmp);
        if (s->dir >= 0)
            (void)close(s->dir);
        free(s);
        return eml_fail(why, EML_E_SYSTEM, "store: cannot open or make this directory", -1);
    }
    (void)close(tmp);
    *out = s;
    return EML_OK;
}

void eml_store_close(struct eml_store *s)
{
    if (s == NULL)
        return;
    (void)close(s->dir);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

void eml_store_count(struct eml_store *s, uint64_t *objects, uint64_t *bytes)
{
    (void)pthread_mutex_lock(&s->lock);
    *objects = s->objects;
    *bytes = s->bytes;
    (void)pthread_mutex_unlock(&s->lock);
}

/* --- receiving --- */

static bool reserve(struct eml_store *s, uint64_t size, uint64_t *serial)
{
    (void)pthread_mutex_lock(&s->lock);
    uint64_t taken = s->bytes + s->reserved; /* each at most total_max: no overflow */
    bool ok = taken <= s->total_max && size <= s->total_max - taken;
    if (ok)
        s->reserved += size;
    *serial = s->serial++;
    (void)pthread_mutex_unlock(&s->lock);
    return ok;
}

static void settle(struct eml_store *s, uint64_t size, bool stored)
{
    (void)pthread_mutex_lock(&s->lock);
    s->reserved -= size;
    if (stored) {
        s->objects++;
        s->bytes += size;
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static enum eml_host_status disk_status(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? EML_HOST_TOO_LARGE
                                                                : EML_HOST_SYSTEM;
}

enum eml_host_status eml_store_put_begin(struct eml_store *s, const uint8_t id[EML_HOST_ID_BYTES],
                                         uint64_t size, struct eml_store_put **out)
{
    *out = NULL;
    if (size == 0)
        return EML_HOST_BAD_REQUEST;
    if (size > s->object_max || size > INT64_MAX)
        return EML_HOST_TOO_LARGE;
    int old;
    uint64_t old_size, serial;
    if (eml_store_get(s, id, &old, &old_size) == EML_HOST_OK) {
        (void)close(old);
        if (old_size != size)
            return EML_HOST_EXISTS;
    }
    if (!reserve(s, size, &serial))
        return EML_HOST_TOO_LARGE;
    struct eml_store_put *p = calloc(1, sizeof *p);
    if (p == NULL) {
        settle(s, size, false);
        return EML_HOST_SYSTEM;
    }
    *p = (struct eml_store_put){.store = s, .fd = -1, .size = size};
    hex_name(id, p->name);
    (void)snprintf(p->temp, sizeof p->temp, "%s/%.16s-%llu", tmp_dir, p->name,
                   (unsigned long long)serial);
    p->fd = openat(s->dir, p->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* Room on disk is taken now, so that a full disk is told before the bytes are sent. */
    int error = p->fd < 0 ? errno : posix_fallocate(p->fd, 0, (off_t)size);
    if (p->fd < 0 || (error != 0 && error != EOPNOTSUPP && error != EINVAL)) {
        eml_store_put_abort(p);
        return disk_status(error);
    }
    *out = p;
    return EML_HOST_OK;
}

enum eml_host_status eml_store_put_write(struct eml_store_put *p, struct eml_bytes bytes)
{
    if (bytes.len > p->size - p->written)
        return EML_HOST_BAD_REQUEST;
    while (bytes.len > 0) {
        ssize_t n = pwrite(p->fd, bytes.ptr, bytes.len, (off_t)p->written);
        if (n < 0 && errno != EINTR)
            return disk_status(errno);
        if (n > 0) {
            bytes = eml_bytes(bytes.ptr + n, bytes.len - (size_t)n);
            p->written += (uint64_t)n;
        }
    }
    return EML_HOST_OK;
}

static bool same_content(int a, int b)
{
    uint8_t *buf = malloc(2 * (size_t)EML_HOST_PIECE_BYTES);
    bool same = buf != NULL;
    for (off_t at = 0; same;) {
        ssize_t n = pread(a, buf, EML_HOST_PIECE_BYTES, at);
        ssize_t m = pread(b, buf + EML_HOST_PIECE_BYTES, EML_HOST_PIECE_BYTES, at);
        same = n >= 0 && n == m && memcmp(buf, buf + EML_HOST_PIECE_BYTES, (size_t)n) == 0;
        if (n <= 0)
            break;
        at += n;
    }
    free(buf);
    return same;
}

/* Moves the whole file to its name. *stored tells whether the store grew. */
static enum eml_host_status publish(struct eml_store_put *p, bool *stored)
{
    struct eml_store *s = p->store;
    char path[HEX + 4], level[3] = {p->name[0], p->name[1], '\0'};
    object_path(p->name, path);
    int dir = open_dir(s->dir, level, true);
    enum eml_host_status status = EML_HOST_SYSTEM;
    if (dir < 0)
        return disk_status(errno);
    if (fsync(p->fd) != 0) {
        status = disk_status(errno);
    } else if (renameat2(s->dir, p->temp, dir, p->name, RENAME_NOREPLACE) == 0) {
        p->temp[0] = '\0';
        *stored = true;
        status = fsync(dir) == 0 && fsync(s->dir) == 0 ? EML_HOST_OK : EML_HOST_SYSTEM;
    } else if (errno == EEXIST) {
        int old = openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        status = old >= 0 && same_content(old, p->fd) ? EML_HOST_OK : EML_HOST_EXISTS;
        if (old >= 0)
            (void)close(old);
    }
    (void)close(dir);
    return status;
}

static void release(struct eml_store_put *p, bool stored)
{
    if (p->fd >= 0) {
        (void)close(p->fd);
        if (p->temp[0] != '\0')
            (void)unlinkat(p->store->dir, p->temp, 0);
    }
    settle(p->store, p->size, stored);
    free(p);
}

enum eml_host_status eml_store_put_finish(struct eml_store_put *p)
{
    bool stored = false;
    enum eml_host_status status = EML_HOST_BAD_REQUEST;
    if (p->written == p->size)
        status = publish(p, &stored);
    release(p, stored);
    return status;
}

void eml_store_put_abort(struct eml_store_put *p)
{
    if (p != NULL)
        release(p, false);
}

/* --- giving --- */

enum eml_host_status eml_store_get(struct eml_store *s, const uint8_t id[EML_HOST_ID_BYTES],
                                   int *fd, uint64_t *size)
{
    char name[HEX + 1], path[HEX + 4];
    struct stat st;
    hex_name(id, name);
    object_path(name, path);
    *size = 0;
    *fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*fd < 0)
        return errno == ENOENT || errno == ELOOP ? EML_HOST_NOT_FOUND : EML_HOST_SYSTEM;
    if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode)) {
        *size = (uint64_t)st.st_size;
        return EML_HOST_OK;
    }
    (void)close(*fd);
    *fd = -1;
    return EML_HOST_NOT_FOUND;
}
