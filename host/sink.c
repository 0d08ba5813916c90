#define _GNU_SOURCE
#include "host/sink.h"

#include "base/aside.h"
#include "base/text.h"
#include "host/files.h"
#include "host/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Levels of tiles, and the entries after them. */
enum { PARTS = EML_TILE_LEVELS + 1, DIGITS = 20, PATH_BYTES = EML_TILE_PATH_MAX };
/* Files that are made ahead of a commit: most have two tiles, and all a checkpoint. */
enum { AHEAD_TILE_0, AHEAD_TILE_1, AHEAD_CHECKPOINT, AHEAD_N };

/* The last, partial tile of a level. */
struct edge {
    unsigned width;
    struct eml_buf bytes;
};

struct eml_sink {
    int dir;
    uint64_t bytes_max;
    pthread_mutex_t lock; /* of what follows */
    bool replaying;       /* files that are there may be read by others */
    bool failed;          /* nobody knows what is on the disk: nothing more until it is reopened */
    uint64_t size, bytes;
    struct eml_buf checkpoint;
    struct edge edge[PARTS];
    struct eml_journal *journal;
    struct eml_aside *aside;
    struct eml_ahead ahead[AHEAD_N];
    uint64_t settled;  /* full tiles of a log of this size are on disk for good */
    uint64_t document; /* index of a document that is not yet; NONE: all are */
};
#define NONE UINT64_MAX

static enum eml_host_status disk_status(void)
{
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? EML_HOST_TOO_LARGE
                                                                : EML_HOST_SYSTEM;
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
    return eml_files_read(s->dir, path, EML_HOST_LOG_COMMIT_MAX, &e->bytes, &missing) &&
           whole(part, e->width, eml_buf_bytes(&e->bytes));
}

/* A log without a journal: what is on disk, as far as the checkpoint says. */
static bool load(struct eml_sink *s)
{
    bool missing;
    s->size = 0;
    if (!eml_files_read(s->dir, "checkpoint", EML_HOST_LOG_CHECKPOINT_MAX, &s->checkpoint,
                        &missing) &&
        !missing)
        return false;
    if (!missing && !size_of(eml_buf_bytes(&s->checkpoint), &s->size))
        return false;
    bool ok = true;
    for (unsigned part = 0; part < PARTS; part++)
        ok = load_edge(s, part) && ok;
    s->settled = s->size;
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

/* --- adding to tiles --- */

static void free_edges(struct edge edge[PARTS])
{
    for (unsigned part = 0; part < PARTS; part++) {
        eml_buf_free(&edge[part].bytes);
        edge[part].width = 0;
    }
}

static bool copy_edges(const struct edge from[PARTS], struct edge to[PARTS])
{
    bool ok = true;
    for (unsigned part = 0; part < PARTS; part++) {
        to[part].width = from[part].width;
        eml_buf_put(&to[part].bytes, eml_buf_bytes(&from[part].bytes));
        ok = ok && eml_buf_ok(&to[part].bytes) == EML_OK;
    }
    return ok;
}

static bool is_there(int at, const char *path, struct eml_bytes b)
{
    struct eml_buf old = {0};
    bool missing;
    bool same =
        eml_files_read(at, path, b.len, &old, &missing) && eml_bytes_equal(eml_buf_bytes(&old), b);
    eml_buf_free(&old);
    return same;
}

static bool put_file(struct eml_sink *s, const char *path, struct eml_bytes b)
{
    struct eml_ahead *f = &s->ahead[s->ahead[AHEAD_TILE_0].fd >= 0 ? AHEAD_TILE_0 : AHEAD_TILE_1];
    return (s->replaying && is_there(s->dir, path, b)) || eml_files_put(s->dir, f, path, b);
}

static bool write_tile(struct eml_sink *s, unsigned part, uint64_t n, const struct edge *e)
{
    char path[PATH_BYTES];
    eml_tile_path(part, n, e->width, path);
    return put_file(s, path, eml_buf_bytes(&e->bytes));
}

/* Appends the items one by one to the last tile of the log; full ones are written on the way, the
 * rest at the end (but in a replay, where the next commit goes on). */
static bool extend(struct eml_sink *s, unsigned part, struct edge *e, struct eml_bytes items,
                   uint64_t count)
{
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
        if (eml_buf_ok(&e->bytes) != EML_OK || !write_tile(s, part, n, e))
            return false;
        n++;
        e->width = 0;
        e->bytes.len = 0;
    }
    if (eml_buf_ok(&e->bytes) != EML_OK)
        return false;
    return s->replaying || count == 0 || e->width == 0 || write_tile(s, part, n, e);
}

static bool write_document(struct eml_sink *s, const struct eml_host_commit *c)
{
    char path[PATH_BYTES];
    if (c->document.len == 0)
        return true;
    (void)snprintf(path, sizeof path, "boots/%" PRIu64 ".cose", c->first);
    return put_file(s, path, c->document);
}

static bool write_commit(struct eml_sink *s, const struct eml_host_commit *c,
                         struct edge edge[PARTS])
{
    bool ok = write_document(s, c) &&
              extend(s, EML_TILE_ENTRIES, &edge[EML_TILE_ENTRIES], c->entries, c->n);
    for (unsigned level = 0; ok && level < EML_TILE_LEVELS; level++)
        ok = extend(s, level, &edge[level], c->hashes[level], c->hashes[level].len / EML_TILE_HASH);
    return ok;
}

/* The commit is part of the log; takes the edges. */
static bool adopt(struct eml_sink *s, const struct eml_host_commit *c, struct edge edge[PARTS])
{
    if (edge != s->edge) {
        free_edges(s->edge);
        memcpy(s->edge, edge, sizeof s->edge);
    }
    s->checkpoint.len = 0;
    eml_buf_put(&s->checkpoint, c->checkpoint);
    s->size = c->first + c->n;
    if (c->document.len != 0)
        s->document = c->first;
    return eml_buf_ok(&s->checkpoint) == EML_OK;
}

/* --- settling --- */

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

static bool sync_full_tiles(struct eml_sink *s)
{
    char path[PATH_BYTES];
    bool ok = true;
    for (unsigned part = 0; part < PARTS; part++) {
        uint64_t end = eml_tile_count(s->size, part) / EML_TILE_WIDTH;
        for (uint64_t n = eml_tile_count(s->settled, part) / EML_TILE_WIDTH; ok && n < end; n++) {
            eml_tile_path(part, n, EML_TILE_WIDTH, path);
            ok = eml_files_sync(s->dir, path);
        }
    }
    if (ok && s->document != NONE) {
        (void)snprintf(path, sizeof path, "boots/%" PRIu64 ".cose", s->document);
        ok = eml_files_sync(s->dir, path);
        s->document = NONE;
    }
    return ok;
}

/* be64 size || be16 length || checkpoint, and for each part be32 length || its last, partial tile
 */
static bool put_snapshot(const struct eml_sink *s, struct eml_buf *out)
{
    uint8_t be[8];
    eml_store_u64(be, s->size);
    eml_buf_put(out, EML_BYTES(be));
    eml_store_u16(be, (uint16_t)s->checkpoint.len);
    eml_buf_put(out, eml_bytes(be, 2));
    eml_buf_put(out, eml_buf_bytes(&s->checkpoint));
    for (unsigned part = 0; part < PARTS; part++) {
        eml_store_u32(be, (uint32_t)s->edge[part].bytes.len);
        eml_buf_put(out, eml_bytes(be, 4));
        eml_buf_put(out, eml_buf_bytes(&s->edge[part].bytes));
    }
    return eml_buf_ok(out) == EML_OK;
}

static bool begin_epoch(struct eml_sink *s)
{
    struct eml_buf snapshot = {0};
    bool ok = put_snapshot(s, &snapshot) && eml_journal_begin(s->journal, eml_buf_bytes(&snapshot));
    eml_buf_free(&snapshot);
    return ok;
}

/* Whether any commit can be appended. */
static bool has_room(const struct eml_sink *s)
{
    return eml_journal_fits(s->journal, EML_HOST_LOG_COMMIT_MAX);
}

/* What the journal alone has is put where it belongs for good, which may not be done in the middle
 * of a commit; a new epoch begins if that is asked for, or when a commit might not fit. */
static void settle(struct eml_sink *s, bool anew)
{
    if (s->failed)
        return;
    if (s->settled != s->size) {
        remove_old(s, s->settled, s->size);
        s->failed = !sync_full_tiles(s);
        s->settled = s->size;
    }
    if (!s->failed && (anew || !has_room(s)))
        s->failed = !begin_epoch(s) || !has_room(s);
}

void eml_sink_settle(struct eml_sink *s)
{
    (void)pthread_mutex_lock(&s->lock);
    settle(s, false);
    for (unsigned i = 0; i < AHEAD_N && !s->failed; i++)
        eml_files_ahead(s->dir, &s->ahead[i]);
    (void)pthread_mutex_unlock(&s->lock);
}

/* --- recovery --- */

static bool take_snapshot(struct eml_sink *s, struct eml_bytes b)
{
    struct eml_cur c = eml_cur(b);
    uint64_t size = 0;
    s->size = eml_cur_u64(&c);
    size_t len = eml_cur_u16(&c);
    s->checkpoint.len = 0;
    eml_buf_put(&s->checkpoint, eml_cur_take(&c, len));
    for (unsigned part = 0; part < PARTS && eml_cur_ok(&c); part++) {
        struct edge *e = &s->edge[part];
        e->width = eml_tile_width(s->size, part, eml_tile_count(s->size, part) / EML_TILE_WIDTH);
        len = eml_cur_u32(&c);
        e->bytes.len = 0;
        eml_buf_put(&e->bytes, eml_cur_take(&c, len));
        if (eml_buf_ok(&e->bytes) != EML_OK || !whole(part, e->width, eml_buf_bytes(&e->bytes)))
            return false;
    }
    s->settled = s->size;
    return eml_cur_done(&c) && eml_buf_ok(&s->checkpoint) == EML_OK &&
           (s->size == 0 ? s->checkpoint.len == 0
                         : size_of(eml_buf_bytes(&s->checkpoint), &size) && size == s->size);
}

static bool take_commit(struct eml_sink *s, struct eml_bytes frame)
{
    struct eml_host_commit c;
    uint64_t size = 0;
    return eml_host_commit_decode(frame, &c) == EML_OK && c.first == s->size &&
           size_of(c.checkpoint, &size) && size == c.first + c.n && write_commit(s, &c, s->edge) &&
           adopt(s, &c, s->edge);
}

static bool write_checkpoint(struct eml_sink *s, struct eml_bytes note)
{
    return eml_files_fill(s->dir, &s->ahead[AHEAD_CHECKPOINT], note);
}

/* By exchange: where a rename replaces a file, ext4 writes the new one to the disk before it
 * returns, which the journal makes needless. The old one has the other name then, until a file is
 * made ahead in its place. */
static bool show_checkpoint(int at)
{
    return renameat2(at, "checkpoint.new", at, "checkpoint", RENAME_EXCHANGE) == 0 ||
           ((errno == ENOENT || errno == EINVAL) &&
            renameat(at, "checkpoint.new", at, "checkpoint") == 0);
}

/* What the journal says, whatever a crash has left of the files. */
static bool replay(struct eml_sink *s)
{
    struct eml_bytes frame;
    s->replaying = true;
    if (!eml_journal_next(s->journal, &frame) || !take_snapshot(s, frame))
        return false;
    while (eml_journal_next(s->journal, &frame))
        if (!take_commit(s, frame))
            return false;
    for (unsigned part = 0; part < PARTS; part++) {
        uint64_t n = eml_tile_count(s->size, part) / EML_TILE_WIDTH;
        if (s->edge[part].width != 0 && !write_tile(s, part, n, &s->edge[part]))
            return false;
    }
    s->replaying = false;
    if (s->size != 0 &&
        !(write_checkpoint(s, eml_buf_bytes(&s->checkpoint)) && show_checkpoint(s->dir)))
        return false;
    for (unsigned part = 0; part < PARTS; part++)
        remove_others(s->dir, s->size, part);
    return true;
}

static enum eml_err begin(struct eml_sink *s, struct eml_why *why)
{
    bool found;
    if (flock(s->dir, LOCK_EX | LOCK_NB) != 0)
        return eml_fail(why, EML_E_SYSTEM, "audit: another process keeps a log here", -1);
    enum eml_err err = eml_journal_open(s->dir, &s->journal, &found);
    if (err != EML_OK)
        return eml_fail(why, err, "audit: the journal cannot be read", -1);
    errno = 0;
    if (!(found ? replay(s) : load(s)))
        return errno != 0 && errno != ENOENT
                   ? eml_fail(why, EML_E_SYSTEM, "audit: the log cannot be read or written", -1)
                   : eml_fail(why, EML_E_INPUT, "audit: the log is not what its checkpoint says",
                              -1);
    settle(s, true);
    if (s->failed)
        return eml_fail(why, EML_E_SYSTEM, "audit: the disk does not take the log", -1);
    s->bytes = bytes_on_disk(s);
    return EML_OK;
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
    s->document = NONE;
    s->ahead[AHEAD_TILE_0] = (struct eml_ahead){"tile.new.0", -1};
    s->ahead[AHEAD_TILE_1] = (struct eml_ahead){"tile.new.1", -1};
    s->ahead[AHEAD_CHECKPOINT] = (struct eml_ahead){"checkpoint.new", -1};
    if (mkdir(dir, 0755) == 0 || errno == EEXIST)
        s->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0 || pthread_mutex_init(&s->lock, NULL) != 0) {
        if (s->dir >= 0)
            (void)close(s->dir);
        free(s);
        return eml_fail(why, EML_E_SYSTEM, "audit: cannot open or make this directory", -1);
    }
    enum eml_err err = begin(s, why);
    if (err == EML_OK)
        s->aside = eml_aside_new(); /* without one it does one after the other */
    if (err == EML_OK)
        *out = s;
    else
        eml_sink_close(s);
    return err;
}

void eml_sink_close(struct eml_sink *s)
{
    if (s == NULL)
        return;
    for (unsigned part = 0; part < PARTS; part++)
        eml_buf_free(&s->edge[part].bytes);
    eml_buf_free(&s->checkpoint);
    eml_aside_free(s->aside);
    eml_journal_close(s->journal);
    for (unsigned i = 0; i < AHEAD_N; i++)
        eml_files_drop(s->dir, &s->ahead[i]);
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
    enum eml_err err = s->failed ? EML_E_SYSTEM : eml_host_log_state_encode(&state, answer);
    (void)pthread_mutex_unlock(&s->lock);
    return err;
}

/* --- committing --- */

/* Durable in the journal if true. It fits: settle() came before the commit. */
static bool append(struct eml_sink *s, const struct eml_host_commit *c)
{
    struct eml_buf frame = {0};
    bool ok = eml_host_commit_encode(c, &frame) == EML_OK;
    ok = ok && eml_journal_append(s->journal, eml_buf_bytes(&frame));
    eml_buf_free(&frame);
    return ok;
}

/* What is written while the journal is. */
struct beside {
    struct eml_sink *s;
    const struct eml_host_commit *c;
    struct edge edge[PARTS];
    bool ok;
    int error;
};

static void write_beside(void *arg)
{
    struct beside *b = arg;
    errno = 0;
    b->ok = copy_edges(b->s->edge, b->edge) && write_commit(b->s, b->c, b->edge) &&
            write_checkpoint(b->s, b->c->checkpoint);
    b->error = errno;
}

/* The journal, by which it is part of the log, and at once what nobody looks at yet, since the
 * checkpoint does not cover it; when both are done the checkpoint, by which all see it. */
static enum eml_host_status write_all_of(struct eml_sink *s, const struct eml_host_commit *c)
{
    struct beside b = {.s = s, .c = c};
    eml_aside_begin(s->aside, write_beside, &b);
    errno = 0;
    bool journaled = append(s, c);
    int error = errno;
    eml_aside_await(s->aside);
    if (!journaled || !b.ok) {
        /* A full disk, or no descriptor to be had, leaves the log what it was. */
        errno = b.ok ? error : b.error;
        enum eml_host_status status = disk_status();
        s->failed = s->failed || (!journaled && error == EIO) || (!b.ok && b.error == EIO);
        if (journaled && !eml_journal_retract(s->journal))
            s->failed = true;
        free_edges(b.edge);
        return s->failed ? EML_HOST_SYSTEM : status;
    }
    if (adopt(s, c, b.edge) && show_checkpoint(s->dir))
        return EML_HOST_OK;
    s->failed = true;
    return EML_HOST_SYSTEM;
}

static enum eml_host_status commit(struct eml_sink *s, const struct eml_host_commit *c)
{
    uint64_t size, bytes = c->entries.len + c->document.len;
    settle(s, false);
    if (s->failed)
        return EML_HOST_SYSTEM;
    if (c->first != s->size)
        return EML_HOST_EXISTS;
    if (!size_of(c->checkpoint, &size) || size != c->first + c->n)
        return EML_HOST_BAD_REQUEST;
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        bytes += c->hashes[level].len;
    if (bytes > s->bytes_max || s->bytes > s->bytes_max - bytes)
        return EML_HOST_TOO_LARGE;
    enum eml_host_status status = write_all_of(s, c);
    if (status == EML_HOST_OK)
        s->bytes += bytes;
    return status;
}

enum eml_host_status eml_sink_commit(struct eml_sink *s, const struct eml_host_commit *c)
{
    (void)pthread_mutex_lock(&s->lock);
    enum eml_host_status status = commit(s, c);
    (void)pthread_mutex_unlock(&s->lock);
    return status;
}
