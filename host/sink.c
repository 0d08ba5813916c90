#define _GNU_SOURCE
#include "host/sink.h"

#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Levels of tiles, and the entries after them. */
enum { PARTS = EML_TILE_LEVELS + 1, DIGITS = 20, PATH_BYTES = EML_TILE_PATH_MAX };

/* The last, partial tile of a level. */
struct edge {
    unsigned width;
    struct eml_buf bytes;
};

struct eml_sink {
    int dir;
    uint64_t bytes_max;
    pthread_mutex_t lock; /* of what follows */
    uint64_t size, bytes;
    struct eml_buf checkpoint;
    struct edge edge[PARTS];
};

static enum eml_host_status disk_status(void)
{
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? EML_HOST_TOO_LARGE
                                                                : EML_HOST_SYSTEM;
}

/* --- files --- */

static bool sync_dir(int at, const char *path)
{
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0;
    (void)close(fd);
    return ok;
}

/* "a/b" of "a/b/c", "." of "c". */
static void parent_of(const char *path, char out[PATH_BYTES])
{
    const char *slash = strrchr(path, '/');
    size_t n = slash != NULL ? (size_t)(slash - path) : 1;
    memcpy(out, slash != NULL ? path : ".", n);
    out[n] = '\0';
}

/* Every directory on the way to `path`, each new one on disk before anything is put into it. */
static bool make_parents(int at, const char *path)
{
    char dir[PATH_BYTES], above[PATH_BYTES];
    for (const char *p = path; (p = strchr(p, '/')) != NULL; p++) {
        memcpy(dir, path, (size_t)(p - path));
        dir[p - path] = '\0';
        if (mkdirat(at, dir, 0755) != 0) {
            if (errno != EEXIST)
                return false;
            continue;
        }
        parent_of(dir, above);
        if (!sync_dir(at, above))
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

/* Content only; the name is the directory's. */
static bool write_file(int at, const char *path, struct eml_bytes b)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(at, path, flags, 0644);
    if (fd < 0 && errno == ENOENT && make_parents(at, path))
        fd = openat(at, path, flags, 0644);
    if (fd < 0)
        return false;
    bool ok = write_all(fd, b) && fsync(fd) == 0;
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return ok;
}

static bool write_durably(int at, const char *path, struct eml_bytes b)
{
    char dir[PATH_BYTES];
    parent_of(path, dir);
    return write_file(at, path, b) && sync_dir(at, dir);
}

static bool replace_checkpoint(int at, struct eml_bytes note)
{
    return write_file(at, "checkpoint.new", note) &&
           renameat(at, "checkpoint.new", at, "checkpoint") == 0 && sync_dir(at, ".");
}

/* *missing: there is no such file, which may be fine. */
static bool read_file(int at, const char *path, size_t max, struct eml_buf *out, bool *missing)
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

/* --- opening --- */

/* The size is the second line of a checkpoint. */
static bool size_of(struct eml_bytes note, uint64_t *size)
{
    char digits[DIGITS + 1] = {0};
    const uint8_t *start = memchr(note.ptr, '\n', note.len);
    if (start == NULL)
        return false;
    start++;
    size_t left = note.len - (size_t)(start - note.ptr);
    const uint8_t *end = memchr(start, '\n', left);
    if (end == NULL || end - start > DIGITS)
        return false;
    memcpy(digits, start, (size_t)(end - start));
    return eml_u64_get(digits, 1, (uint64_t)1 << 56, size);
}

static bool whole(unsigned part, unsigned width, struct eml_bytes b)
{
    struct eml_cur c = eml_cur(b);
    if (part != EML_TILE_ENTRIES)
        return b.len == width * (size_t)EML_TILE_HASH;
    for (unsigned i = 0; i < width; i++)
        (void)eml_tile_entry(&c);
    return eml_cur_done(&c);
}

/* Partial tiles of other widths than the checkpoint's: of a crash, or not yet removed by one. */
static void remove_others(int at, uint64_t size, unsigned part)
{
    char path[PATH_BYTES], keep[DIGITS + 1];
    uint64_t n = eml_tile_count(size, part) / EML_TILE_WIDTH;
    unsigned width = eml_tile_width(size, part, n);
    eml_tile_path(part, n, 1, path);
    *strrchr(path, '/') = '\0';
    (void)snprintf(keep, sizeof keep, "%u", width);
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (d == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && strcmp(e->d_name, keep) != 0)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    (void)closedir(d);
}

static bool load_edge(struct eml_sink *s, unsigned part)
{
    char path[PATH_BYTES];
    bool missing;
    struct edge *e = &s->edge[part];
    uint64_t n = eml_tile_count(s->size, part) / EML_TILE_WIDTH;
    e->bytes.len = 0;
    e->width = eml_tile_width(s->size, part, n);
    remove_others(s->dir, s->size, part);
    if (e->width == 0)
        return true;
    eml_tile_path(part, n, e->width, path);
    return read_file(s->dir, path, EML_HOST_LOG_COMMIT_MAX, &e->bytes, &missing) &&
           whole(part, e->width, eml_buf_bytes(&e->bytes));
}

/* What is on disk, as far as the checkpoint says. */
static bool load(struct eml_sink *s)
{
    bool missing;
    s->size = 0;
    if (!read_file(s->dir, "checkpoint", EML_HOST_LOG_CHECKPOINT_MAX, &s->checkpoint, &missing) &&
        !missing)
        return false;
    if (!missing && !size_of(eml_buf_bytes(&s->checkpoint), &s->size))
        return false;
    bool ok = true;
    for (unsigned part = 0; part < PARTS; part++)
        ok = load_edge(s, part) && ok;
    return ok;
}

static uint64_t bytes_on_disk(struct eml_sink *s)
{
    char path[PATH_BYTES];
    struct stat st;
    uint64_t sum = s->checkpoint.len;
    for (unsigned part = 0; part < PARTS; part++) {
        uint64_t full = eml_tile_count(s->size, part) / EML_TILE_WIDTH;
        sum += s->edge[part].bytes.len;
        if (part != EML_TILE_ENTRIES)
            sum += full * EML_TILE_WIDTH * EML_TILE_HASH;
        for (uint64_t n = 0; part == EML_TILE_ENTRIES && n < full; n++) {
            eml_tile_path(part, n, EML_TILE_WIDTH, path);
            if (fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
                sum += (uint64_t)st.st_size;
        }
    }
    return sum;
}

enum eml_err eml_sink_open(const char *dir, uint64_t bytes_max, struct eml_sink **out,
                           struct eml_why *why)
{
    *out = NULL;
    struct eml_sink *s = calloc(1, sizeof *s);
    if (s == NULL)
        return eml_fail(why, EML_E_SYSTEM, "audit: out of memory", -1);
    s->bytes_max = bytes_max;
    s->dir = -1;
    if (mkdir(dir, 0755) == 0 || errno == EEXIST)
        s->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0 || pthread_mutex_init(&s->lock, NULL) != 0) {
        if (s->dir >= 0)
            (void)close(s->dir);
        free(s);
        return eml_fail(why, EML_E_SYSTEM, "audit: cannot open or make this directory", -1);
    }
    if (!load(s)) {
        eml_sink_close(s);
        return eml_fail(why, EML_E_INPUT, "audit: the log is not what its checkpoint says", -1);
    }
    s->bytes = bytes_on_disk(s);
    *out = s;
    return EML_OK;
}

void eml_sink_close(struct eml_sink *s)
{
    if (s == NULL)
        return;
    for (unsigned part = 0; part < PARTS; part++)
        eml_buf_free(&s->edge[part].bytes);
    eml_buf_free(&s->checkpoint);
    (void)close(s->dir);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

void eml_sink_count(struct eml_sink *s, uint64_t *records, uint64_t *bytes)
{
    (void)pthread_mutex_lock(&s->lock);
    *records = s->size;
    *bytes = s->bytes;
    (void)pthread_mutex_unlock(&s->lock);
}

enum eml_err eml_sink_state(struct eml_sink *s, struct eml_buf *answer)
{
    (void)pthread_mutex_lock(&s->lock);
    struct eml_host_log_state state = {.size = s->size,
                                       .checkpoint = eml_buf_bytes(&s->checkpoint)};
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        state.edge[level] = eml_buf_bytes(&s->edge[level].bytes);
    enum eml_err err = eml_host_log_state_encode(&state, answer);
    (void)pthread_mutex_unlock(&s->lock);
    return err;
}

/* --- committing --- */

static bool write_tile(struct eml_sink *s, unsigned part, uint64_t n)
{
    char path[PATH_BYTES];
    eml_tile_path(part, n, s->edge[part].width, path);
    return write_durably(s->dir, path, eml_buf_bytes(&s->edge[part].bytes));
}

/* Appends what `c` takes item by item to the last tile; full ones are written on the way, the rest
 * at the end. */
static bool extend(struct eml_sink *s, unsigned part, struct eml_bytes items, uint64_t count)
{
    struct edge *e = &s->edge[part];
    struct eml_cur c = eml_cur(items);
    uint64_t n = eml_tile_count(s->size, part) / EML_TILE_WIDTH;
    for (uint64_t i = 0; i < count; i++) {
        struct eml_cur start = c;
        if (part == EML_TILE_ENTRIES)
            (void)eml_tile_entry(&c);
        else
            (void)eml_cur_take(&c, EML_TILE_HASH);
        eml_buf_put(&e->bytes, eml_cur_take(&start, c.pos - start.pos));
        if (++e->width < EML_TILE_WIDTH)
            continue;
        if (eml_buf_ok(&e->bytes) != EML_OK || !write_tile(s, part, n))
            return false;
        n++;
        e->width = 0;
        e->bytes.len = 0;
    }
    if (eml_buf_ok(&e->bytes) != EML_OK)
        return false;
    return count == 0 || e->width == 0 || write_tile(s, part, n);
}

static bool write_document(struct eml_sink *s, const struct eml_host_commit *c)
{
    char path[PATH_BYTES];
    if (c->document.len == 0)
        return true;
    (void)snprintf(path, sizeof path, "boots/%" PRIu64 ".cose", c->first);
    return write_durably(s->dir, path, c->document);
}

static bool write_commit(struct eml_sink *s, const struct eml_host_commit *c)
{
    bool ok = write_document(s, c) && extend(s, EML_TILE_ENTRIES, c->entries, c->n);
    for (unsigned level = 0; ok && level < EML_TILE_LEVELS; level++)
        ok = extend(s, level, c->hashes[level], c->hashes[level].len / EML_TILE_HASH);
    return ok && replace_checkpoint(s->dir, c->checkpoint);
}

/* The partial tiles of the size before; their directories too, if the tile is full now. */
static void remove_old(struct eml_sink *s, uint64_t old, uint64_t now)
{
    char path[PATH_BYTES];
    for (unsigned part = 0; part < PARTS; part++) {
        uint64_t n = eml_tile_count(old, part) / EML_TILE_WIDTH;
        unsigned width = eml_tile_width(old, part, n);
        if (width == 0 || width == eml_tile_width(now, part, n))
            continue;
        eml_tile_path(part, n, width, path);
        (void)unlinkat(s->dir, path, 0);
        *strrchr(path, '/') = '\0';
        (void)unlinkat(s->dir, path, AT_REMOVEDIR); /* fails unless it is empty */
    }
}

static enum eml_host_status commit(struct eml_sink *s, const struct eml_host_commit *c)
{
    uint64_t size, bytes = c->entries.len + c->document.len, old = s->size;
    if (c->first != s->size)
        return EML_HOST_EXISTS;
    if (!size_of(c->checkpoint, &size) || size != c->first + c->n)
        return EML_HOST_BAD_REQUEST;
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        bytes += c->hashes[level].len;
    if (bytes > s->bytes_max || s->bytes > s->bytes_max - bytes)
        return EML_HOST_TOO_LARGE;
    errno = 0;
    if (!write_commit(s, c)) {
        bool failed = errno == EIO;
        enum eml_host_status status = disk_status();
        /* A full disk, or no descriptor to be had, leaves what the checkpoint says. After a disk
         * that failed nobody knows what is on it (a second fsync may well succeed): nothing more
         * until it is opened again. */
        if (failed || !load(s))
            s->size = UINT64_MAX;
        return status;
    }
    s->checkpoint.len = 0;
    eml_buf_put(&s->checkpoint, c->checkpoint);
    s->size = size;
    s->bytes += bytes;
    remove_old(s, old, size);
    return eml_buf_ok(&s->checkpoint) == EML_OK ? EML_HOST_OK : EML_HOST_SYSTEM;
}

enum eml_host_status eml_sink_commit(struct eml_sink *s, const struct eml_host_commit *c)
{
    (void)pthread_mutex_lock(&s->lock);
    enum eml_host_status status = commit(s, c);
    (void)pthread_mutex_unlock(&s->lock);
    return status;
}
