#define _GNU_SOURCE
#include "host/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "a/b" of "a/b/c", "." of "c". */
static void parent_of(const char *path, char out[EML_TILE_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t n = slash != NULL ? (size_t)(slash - path) : 1;
    memcpy(out, slash != NULL ? path : ".", n);
    out[n] = '\0';
}

static bool make_parents(int at, const char *path)
{
    char dir[EML_TILE_PATH_MAX];
    for (const char *p = path; (p = strchr(p, '/')) != NULL; p++) {
        memcpy(dir, path, (size_t)(p - path));
        dir[p - path] = '\0';
        if (mkdirat(at, dir, 0755) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

static bool write_all(int fd, struct eml_bytes b)
{
    while (b.len > 0) {
        ssize_t n = write(fd, b.ptr, b.len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            b = eml_bytes(b.ptr + n, b.len - (size_t)n);
    }
    return true;
}

static bool write_and_close(int fd, struct eml_bytes b)
{
    if (fd < 0)
        return false;
    bool ok = write_all(fd, b);
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return ok;
}

bool eml_files_write(int at, const char *path, struct eml_bytes b)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(at, path, flags, 0644);
    if (fd < 0 && errno == ENOENT && make_parents(at, path))
        fd = openat(at, path, flags, 0644);
    return write_and_close(fd, b);
}

/* A new file, so that who has the old one open keeps it. */
static int make_new(int at, const char *name)
{
    if (unlinkat(at, name, 0) != 0 && errno != ENOENT)
        return -1;
    return openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
}

void eml_files_ahead(int at, struct eml_ahead *f)
{
    if (f->fd < 0)
        f->fd = make_new(at, f->name);
}

bool eml_files_fill(int at, struct eml_ahead *f, struct eml_bytes b)
{
    int fd = f->fd >= 0 ? f->fd : make_new(at, f->name);
    f->fd = -1;
    return write_and_close(fd, b);
}

bool eml_files_put(int at, struct eml_ahead *f, const char *path, struct eml_bytes b)
{
    if (f->fd < 0)
        return eml_files_write(at, path, b);
    if (!eml_files_fill(at, f, b))
        return false;
    return renameat(at, f->name, at, path) == 0 ||
           (errno == ENOENT && make_parents(at, path) && renameat(at, f->name, at, path) == 0);
}

void eml_files_drop(int at, struct eml_ahead *f)
{
    if (f->fd < 0)
        return;
    (void)close(f->fd);
    (void)unlinkat(at, f->name, 0);
    f->fd = -1;
}

static bool sync_one(int at, const char *path, int flags)
{
    int fd = openat(at, path, O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0;
    (void)close(fd);
    return ok;
}

bool eml_files_sync(int at, const char *path)
{
    char dir[EML_TILE_PATH_MAX], above[EML_TILE_PATH_MAX];
    bool ok = sync_one(at, path, O_NOFOLLOW);
    for (parent_of(path, dir); ok && strcmp(dir, ".") != 0; memcpy(dir, above, sizeof dir)) {
        ok = sync_one(at, dir, O_DIRECTORY);
        parent_of(dir, above);
    }
    return ok && sync_one(at, ".", O_DIRECTORY);
}

bool eml_files_read(int at, const char *path, size_t max, struct eml_buf *out, bool *missing)
{
    int fd = openat(at, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    *missing = fd < 0 && errno == ENOENT;
    ssize_t n = 1;
    out->len = 0;
    while (fd >= 0 && n > 0 && out->len <= max) {
        size_t at_len = out->len;
        uint8_t *p = eml_buf_grow(out, 16384);
        n = p != NULL ? read(fd, p, 16384) : -1;
        out->len = at_len + (n > 0 ? (size_t)n : 0);
    }
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0 && n == 0 && out->len <= max;
}
