#include "file/file.h"

#include "base/wipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum eml_err cannot_open(struct eml_why *why)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return eml_fail(why, EML_E_USAGE, "file: no such file", -1);
    case EACCES:
    case EPERM:
        return eml_fail(why, EML_E_USAGE, "file: permission denied", -1);
    case ELOOP:
        return eml_fail(why, EML_E_INPUT, "file: a symbolic link on the way", -1);
    default:
        return eml_fail(why, EML_E_SYSTEM, "file: cannot be opened", -1);
    }
}

static enum eml_err read_all(int fd, uint64_t max, struct eml_buf *out, struct eml_why *why)
{
    uint8_t chunk[16384];
    enum eml_err err = EML_OK;
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err = eml_fail(why, errno == EISDIR ? EML_E_USAGE : EML_E_SYSTEM,
                           "file: cannot be read", -1);
        if (n <= 0)
            break;
        if ((uint64_t)n > max - out->len) {
            err = eml_fail(why, EML_E_INPUT, "file: larger than its limit", -1);
            break;
        }
        eml_buf_put(out, eml_bytes(chunk, (size_t)n));
    }
    eml_wipe(chunk, sizeof chunk);
    if (err == EML_OK && eml_buf_ok(out) != EML_OK)
        err = eml_fail(why, EML_E_SYSTEM, "file: out of memory", -1);
    return err;
}

enum eml_err eml_file_read(const char *path, uint64_t max, struct eml_buf *out, struct eml_why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return cannot_open(why);
    enum eml_err err = read_all(fd, max, out, why);
    (void)close(fd);
    if (err != EML_OK)
        eml_buf_free(out);
    return err;
}

static enum eml_err map_fd(int fd, uint64_t max, struct eml_bytes *out, struct eml_why *why)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return eml_fail(why, EML_E_SYSTEM, "file: cannot be read", -1);
    if (!S_ISREG(st.st_mode))
        return eml_fail(why, EML_E_USAGE, "file: not a regular file", -1);
    if ((uint64_t)st.st_size > max)
        return eml_fail(why, EML_E_INPUT, "file: larger than its limit", -1);
    if (st.st_size == 0)
        return EML_OK;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return eml_fail(why, EML_E_SYSTEM, "file: cannot be mapped", -1);
    *out = eml_bytes(p, (size_t)st.st_size);
    return EML_OK;
}

enum eml_err eml_file_map(const char *path, uint64_t max, struct eml_bytes *out,
                          struct eml_why *why)
{
    *out = (struct eml_bytes){NULL, 0};
    /* non-blocking, so that a FIFO is refused instead of waited for */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return cannot_open(why);
    enum eml_err err = map_fd(fd, max, out, why);
    (void)close(fd);
    return err;
}

static bool plain_component(const char *s, size_t n)
{
    return n > 0 && !(n == 1 && s[0] == '.') && !(n == 2 && s[0] == '.' && s[1] == '.');
}

/* Opens one component at a time without following links, so that no check is separate from use. */
static enum eml_err open_beneath(const char *dir, const char *relative, int *out,
                                 struct eml_why *why)
{
    int at = open(dir, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (at < 0)
        return cannot_open(why);
    for (const char *s = relative;;) {
        char name[256];
        size_t n = strcspn(s, "/");
        bool last = s[n] == '\0';
        if (!plain_component(s, n) || n >= sizeof name) {
            (void)close(at);
            return eml_fail(why, EML_E_INPUT, "file: not a plain relative path", -1);
        }
        memcpy(name, s, n);
        name[n] = '\0';
        int flags =
            O_RDONLY | O_CLOEXEC | O_NOFOLLOW | (last ? O_NOCTTY | O_NONBLOCK : O_DIRECTORY);
        int next = openat(at, name, flags);
        enum eml_err err = next < 0 ? cannot_open(why) : EML_OK;
        (void)close(at);
        if (err != EML_OK)
            return err;
        at = next;
        if (last)
            break;
        s += n + 1;
    }
    *out = at;
    return EML_OK;
}

enum eml_err eml_file_map_beneath(const char *dir, const char *relative, uint64_t max,
                                  struct eml_bytes *out, struct eml_why *why)
{
    int fd = -1;
    *out = (struct eml_bytes){NULL, 0};
    EML_TRY(open_beneath(dir, relative, &fd, why));
    enum eml_err err = map_fd(fd, max, out, why);
    (void)close(fd);
    return err;
}

void eml_file_unmap(struct eml_bytes map)
{
    if (map.ptr != NULL)
        (void)munmap((void *)(uintptr_t)map.ptr, map.len);
}

static bool write_all(int fd, struct eml_bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes = eml_bytes(bytes.ptr + n, bytes.len - (size_t)n);
    }
    return true;
}

static bool sync_directory_of(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return false;
    char *slash = strrchr(copy, '/');
    if (slash != NULL)
        slash[slash == copy ? 1 : 0] = '\0';
    int fd = open(slash != NULL ? copy : ".", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        (void)close(fd);
    free(copy);
    return ok;
}

enum eml_err eml_file_write_atomic(const char *path, unsigned mode, struct eml_bytes bytes,
                                   struct eml_why *why)
{
    static const char suffix[] = ".XXXXXX";
    enum eml_err err = EML_OK;
    size_t n = strlen(path);
    char *temp = malloc(n + sizeof suffix);
    int fd = -1;
    if (temp == NULL)
        return eml_fail(why, EML_E_SYSTEM, "file: out of memory", -1);
    memcpy(temp, path, n);
    memcpy(temp + n, suffix, sizeof suffix);
    fd = mkstemp(temp);
    if (fd < 0) {
        err = cannot_open(why);
        goto out;
    }
    if (fchmod(fd, (mode_t)(mode & 0777u)) != 0 || !write_all(fd, bytes) || fsync(fd) != 0) {
        err = eml_fail(why, EML_E_SYSTEM, "file: cannot be written (disk full?)", -1);
        goto out;
    }
    if (rename(temp, path) != 0) {
        err = eml_fail(why, errno == EISDIR ? EML_E_USAGE : EML_E_SYSTEM,
                       "file: cannot be put in place", -1);
        goto out;
    }
    temp[0] = '\0';
    if (!sync_directory_of(path))
        err = eml_fail(why, EML_E_SYSTEM, "file: its directory cannot be synced", -1);
out:
    if (fd >= 0)
        (void)close(fd);
    if (err != EML_OK && fd >= 0 && temp[0] != '\0')
        (void)unlink(temp);
    free(temp);
    return err;
}
