#define _GNU_SOURCE
#include "host/journal.h"

#include "base/cur.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BLOCK = 4096, HEADER = 24, CRC_FROM = 8, FILE_BYTES = 4 << 20, FILES = 2 };

static const uint32_t magic = 0x656d6c6a; /* "emlj" */
static const char *const file_name[FILES] = {"journal.0", "journal.1"};
static const char new_name[] = "journal.new";

struct eml_journal {
    int dir;
    int fd[FILES];
    unsigned current;
    uint64_t epoch;
    uint32_t number; /* of the next frame */
    size_t at;       /* where it goes */
    size_t last;     /* where the one before it is, if that was appended here; else 0 */
    uint8_t *read;   /* the current file, until an epoch begins here; NULL: nothing to read */
};

static uint32_t crc(struct eml_bytes b)
{
    return (uint32_t)crc32_z(0, b.ptr, b.len);
}

static size_t padded(size_t bytes)
{
    return (HEADER + bytes + BLOCK - 1) / BLOCK * BLOCK;
}

/* The frame at `at`, if it is whole and the one that is due there. */
static bool frame_at(const uint8_t *file, size_t at, uint64_t epoch, uint32_t number,
                     struct eml_bytes *out)
{
    struct eml_cur c = eml_cur(eml_bytes(file + at, FILE_BYTES - at));
    uint32_t m = eml_cur_u32(&c), sum = eml_cur_u32(&c);
    uint64_t e = eml_cur_u64(&c);
    uint32_t n = eml_cur_u32(&c), len = eml_cur_u32(&c);
    *out = eml_cur_take(&c, len);
    return eml_cur_ok(&c) && m == magic && e == epoch && n == number &&
           crc(eml_bytes(file + at + CRC_FROM, HEADER - CRC_FROM + len)) == sum;
}

/* The epoch whose snapshot the file begins with; 0: none. */
static uint64_t epoch_of(const uint8_t *file)
{
    struct eml_cur c = eml_cur(eml_bytes(file + CRC_FROM, HEADER));
    struct eml_bytes snapshot;
    uint64_t epoch = eml_cur_u64(&c);
    return frame_at(file, 0, epoch, 0, &snapshot) ? epoch : 0;
}

/* --- files --- */

static bool sync_dir(int dir)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

/* Not every file system takes O_DIRECT (tmpfs). */
static bool open_file(struct eml_journal *j, unsigned i)
{
    const int flags = O_WRONLY | O_DSYNC | O_CLOEXEC | O_NOFOLLOW;
    j->fd[i] = openat(j->dir, file_name[i], flags | O_DIRECT);
    if (j->fd[i] < 0 && errno == EINVAL)
        j->fd[i] = openat(j->dir, file_name[i], flags);
    return j->fd[i] >= 0;
}

static bool write_at(int fd, const uint8_t *p, size_t len, size_t at)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        /* O_DIRECT goes on at a block or not at all. */
        size_t blocks = (size_t)n / BLOCK * BLOCK;
        if (blocks == 0) {
            errno = EIO;
            return false;
        }
        p += blocks;
        len -= blocks;
        at += blocks;
    }
    return true;
}

/* A whole file under its name, or none: `first` and zeros. */
static bool make_file(int dir, const char *name, struct eml_bytes first)
{
    uint8_t *content = calloc(1, FILE_BYTES);
    int fd = openat(dir, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool ok = content != NULL && fd >= 0 && first.len <= FILE_BYTES;
    if (ok && first.len != 0)
        memcpy(content, first.ptr, first.len);
    ok = ok && write_at(fd, content, FILE_BYTES, 0) && fsync(fd) == 0;
    ok = ok && renameat(dir, new_name, dir, name) == 0 && sync_dir(dir);
    int saved = errno;
    if (fd >= 0)
        (void)close(fd);
    free(content);
    errno = saved;
    return ok;
}

static enum eml_err read_file(int dir, const char *name, uint8_t **out, bool *missing)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    size_t len = 0;
    ssize_t n = 1;
    *missing = fd < 0 && errno == ENOENT;
    *out = NULL;
    if (fd < 0)
        return *missing ? EML_OK : EML_E_SYSTEM;
    bool whole = fstat(fd, &st) == 0 && st.st_size == FILE_BYTES;
    uint8_t *p = whole ? malloc(FILE_BYTES) : NULL;
    while (p != NULL && len < FILE_BYTES && n > 0) {
        n = pread(fd, p + len, FILE_BYTES - len, (off_t)len);
        len += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd);
    if (!whole)
        return EML_E_INPUT;
    if (len < FILE_BYTES) {
        free(p);
        return EML_E_SYSTEM;
    }
    *out = p;
    return EML_OK;
}

/* --- opening --- */

/* Of both files the one with the newer epoch. The second is made before the first, so that where
 * the first is, both are, and one begins with a snapshot. */
static enum eml_err find(struct eml_journal *j, bool *found)
{
    uint8_t *file[FILES] = {NULL};
    bool missing[FILES];
    enum eml_err err = EML_OK;
    for (unsigned i = 0; i < FILES && err == EML_OK; i++)
        err = read_file(j->dir, file_name[i], &file[i], &missing[i]);
    *found = err == EML_OK && !missing[0];
    if (*found && missing[1])
        err = EML_E_INPUT;
    for (unsigned i = 0; *found && err == EML_OK && i < FILES; i++) {
        uint64_t epoch = epoch_of(file[i]);
        if (epoch > j->epoch) {
            j->epoch = epoch;
            j->current = i;
        }
        if (!open_file(j, i))
            err = EML_E_SYSTEM;
    }
    if (*found && err == EML_OK && j->epoch == 0)
        err = EML_E_INPUT;
    if (*found && err == EML_OK) {
        j->read = file[j->current];
        file[j->current] = NULL;
    }
    for (unsigned i = 0; i < FILES; i++)
        free(file[i]);
    return err;
}

enum eml_err eml_journal_open(int dir, struct eml_journal **out, bool *found)
{
    *out = NULL;
    *found = false;
    struct eml_journal *j = calloc(1, sizeof *j);
    if (j == NULL)
        return EML_E_SYSTEM;
    *j = (struct eml_journal){.dir = dir, .fd = {-1, -1}};
    enum eml_err err = find(j, found);
    if (err == EML_OK)
        *out = j;
    else
        eml_journal_close(j);
    return err;
}

void eml_journal_close(struct eml_journal *j)
{
    if (j == NULL)
        return;
    for (unsigned i = 0; i < FILES; i++)
        if (j->fd[i] >= 0)
            (void)close(j->fd[i]);
    free(j->read);
    free(j);
}

bool eml_journal_next(struct eml_journal *j, struct eml_bytes *frame)
{
    *frame = (struct eml_bytes){0};
    if (j->read == NULL || j->at >= FILE_BYTES ||
        !frame_at(j->read, j->at, j->epoch, j->number, frame))
        return false;
    j->at += padded(frame->len);
    j->number++;
    return true;
}

/* --- writing --- */

/* Padded and aligned, as O_DIRECT asks for; NULL without memory. */
static uint8_t *frame_of(uint64_t epoch, uint32_t number, struct eml_bytes b)
{
    const size_t len = padded(b.len);
    uint8_t *p = aligned_alloc(BLOCK, len);
    if (p == NULL)
        return NULL;
    memset(p, 0, len);
    eml_store_u32(p, magic);
    eml_store_u64(p + CRC_FROM, epoch);
    eml_store_u32(p + CRC_FROM + 8, number);
    eml_store_u32(p + CRC_FROM + 12, (uint32_t)b.len);
    if (b.len != 0)
        memcpy(p + HEADER, b.ptr, b.len);
    eml_store_u32(p + 4, crc(eml_bytes(p + CRC_FROM, HEADER - CRC_FROM + b.len)));
    return p;
}

bool eml_journal_begin(struct eml_journal *j, struct eml_bytes snapshot)
{
    const size_t len = padded(snapshot.len);
    uint8_t *p = len <= FILE_BYTES ? frame_of(j->epoch + 1, 0, snapshot) : NULL;
    if (p == NULL) {
        errno = ENOMEM;
        return false;
    }
    unsigned next = j->epoch == 0 ? 0 : 1 - j->current;
    bool ok = j->epoch == 0 ? make_file(j->dir, file_name[1], (struct eml_bytes){0}) &&
                                  make_file(j->dir, file_name[0], eml_bytes(p, len)) &&
                                  open_file(j, 0) && open_file(j, 1)
                            : write_at(j->fd[next], p, len, 0);
    int saved = errno;
    free(p);
    free(j->read);
    j->read = NULL;
    errno = saved;
    if (!ok)
        return false;
    j->epoch++;
    j->current = next;
    j->number = 1;
    j->at = len;
    j->last = 0;
    return true;
}

bool eml_journal_fits(const struct eml_journal *j, size_t bytes)
{
    return bytes <= FILE_BYTES && padded(bytes) <= FILE_BYTES - j->at;
}

bool eml_journal_append(struct eml_journal *j, struct eml_bytes frame)
{
    EML_ASSERT(j->read == NULL && eml_journal_fits(j, frame.len));
    uint8_t *p = frame_of(j->epoch, j->number, frame);
    bool ok = p != NULL && write_at(j->fd[j->current], p, padded(frame.len), j->at);
    int saved = p != NULL ? errno : ENOMEM;
    free(p);
    errno = saved;
    if (!ok)
        return false;
    j->last = j->at;
    j->at += padded(frame.len);
    j->number++;
    return true;
}

bool eml_journal_retract(struct eml_journal *j)
{
    EML_ASSERT(j->last != 0);
    uint8_t *p = aligned_alloc(BLOCK, BLOCK);
    if (p != NULL)
        memset(p, 0, BLOCK);
    bool ok = p != NULL && write_at(j->fd[j->current], p, BLOCK, j->last);
    free(p);
    if (!ok)
        return false;
    j->at = j->last;
    j->last = 0;
    j->number--;
    return true;
}
