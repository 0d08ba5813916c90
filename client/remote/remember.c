#define _DEFAULT_SOURCE
#include "remote/remember.h"

#include "file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum eml_err eml_remember_read(const char *path, struct eml_memory *out, struct eml_why *why)
{
    struct eml_buf file = {0};
    *out = (struct eml_memory){.has_policy = false};
    struct stat st;
    if (lstat(path, &st) != 0 && errno == ENOENT) /* a link that leads nowhere is no such case */
        return EML_OK;
    EML_TRY(eml_file_read(path, EML_MEMORY_BYTES_MAX, &file, why));
    enum eml_err e = eml_memory_parse(eml_buf_bytes(&file), out, why);
    eml_buf_free(&file);
    return e;
}

static enum eml_err raise_file(const char *path, const struct eml_seen *seen, struct eml_why *why)
{
    struct eml_memory now;
    struct eml_buf json = {0};
    bool changed = false;
    EML_TRY(eml_remember_read(path, &now, why));
    enum eml_err e = eml_memory_raise(&now, seen, &changed, why);
    if (e == EML_OK && changed)
        e = eml_memory_print(&now, &json);
    if (e == EML_OK && changed)
        e = eml_file_write_atomic(path, 0600, eml_buf_bytes(&json), why);
    eml_buf_free(&json);
    eml_memory_free(&now);
    return e;
}

static enum eml_err lock(const char *path, int *out, struct eml_why *why)
{
    char name[4096];
    int n = snprintf(name, sizeof name, "%s.lock", path);
    if (n < 0 || (size_t)n >= sizeof name)
        return eml_fail(why, EML_E_USAGE, "the name is too long", -1);
    int fd = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return eml_fail(why, EML_E_USAGE, "no file can be made there", -1);
    int locked;
    do
        locked = flock(fd, LOCK_EX);
    while (locked != 0 && errno == EINTR);
    if (locked != 0) {
        (void)close(fd);
        return eml_fail(why, EML_E_SYSTEM, "the file cannot be locked", -1);
    }
    *out = fd;
    return EML_OK;
}

enum eml_err eml_remember(const char *path, struct eml_memory *was, const struct eml_seen *seen,
                          struct eml_why *why)
{
    int fd = -1;
    bool changed;
    EML_TRY(eml_memory_compare(was, seen, why));
    EML_TRY(lock(path, &fd, why));
    enum eml_err e = raise_file(path, seen, why);
    (void)close(fd);
    if (e == EML_OK)
        e = eml_memory_raise(was, seen, &changed, why);
    return e;
}
