#define _GNU_SOURCE
#include "testsupport/support.h"

#include "host/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- faults: what the sink's calls meet, in place of the C library's --- */

enum fault { NO_FAULT, FAULT_ERROR, FAULT_SHORT, FAULT_CRASH };

static struct {
    enum fault kind;
    unsigned left; /* calls until it happens */
    int error;
} plan;

/* Files that fsync was asked for, as they were then: what a crash of the machine leaves. */
enum { SYNCED_MAX = 4096, NAME = 160 };
static struct {
    unsigned n, acknowledged;
    char name[SYNCED_MAX][NAME];
} * disk;

/* Whether this call is the one. */
static bool due(void)
{
    return plan.kind != NO_FAULT && --plan.left == 0;
}

static ssize_t faulty_write(int fd, const void *p, size_t n, off_t at)
{
    bool now = due();
    if (now && plan.kind == FAULT_ERROR) {
        errno = plan.error;
        return -1;
    }
    /* Half of it: sectors if the machine crashes, blocks if it is to go on (O_DIRECT). */
    size_t unit = plan.kind == FAULT_SHORT && at >= 0 ? 4096 : n >= 1024 ? 512 : 1;
    size_t some = !now || n <= unit ? n : n / 2 / unit * unit;
    ssize_t done =
        at < 0 ? syscall(SYS_write, fd, p, some) : syscall(SYS_pwrite64, fd, p, some, at);
    if (now && plan.kind == FAULT_CRASH)
        _exit(0);
    return done;
}

ssize_t write(int fd, const void *p, size_t n)
{
    return faulty_write(fd, p, n, -1);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    return faulty_write(fd, p, n, at);
}

int fsync(int fd)
{
    char link[64];
    if (due() && plan.kind != FAULT_SHORT) {
        if (plan.kind == FAULT_CRASH)
            _exit(0);
        errno = plan.error != 0 ? plan.error : EIO;
        return -1;
    }
    if (disk != NULL && disk->n < SYNCED_MAX) {
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        char *name = disk->name[disk->n];
        ssize_t len = readlink(link, name, NAME - 1);
        name[len > 0 ? len : 0] = '\0';
        disk->n++;
    }
    return (int)syscall(SYS_fsync, fd);
}

int renameat(int at, const char *from, int to, const char *name)
{
    if (due() && plan.kind != FAULT_SHORT) {
        if (plan.kind == FAULT_CRASH)
            _exit(0);
        errno = plan.error != 0 ? plan.error : EIO;
        return -1;
    }
    return (int)syscall(SYS_renameat2, at, from, to, name, 0);
}

/* --- a directory --- */

static char dir[EML_TEST_DIR];

static int make(void **state)
{
    (void)state;
    eml_test_dir_make(dir);
    plan.kind = NO_FAULT;
    disk = mmap(NULL, sizeof *disk, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return disk == MAP_FAILED;
}

static int drop(void **state)
{
    (void)state;
    (void)munmap(disk, sizeof *disk);
    disk = NULL;
    return eml_test_dir_drop(dir);
}

/* Entries "e<i>" and hashes filled with their index: to the sink they are bytes. */
struct made {
    struct eml_buf entries, hashes[EML_TILE_LEVELS];
    char note[128];
    struct eml_host_commit c;
};

static const struct eml_host_commit *commit_of(struct made *m, uint64_t first, unsigned n,
                                               struct eml_bytes document)
{
    *m = (struct made){0};
    for (uint64_t i = first; i < first + n; i++) {
        uint8_t be[2];
        char text[32];
        int len = snprintf(text, sizeof text, "e%llu", (unsigned long long)i);
        eml_store_u16(be, (uint16_t)len);
        eml_buf_put(&m->entries, EML_BYTES(be));
        eml_buf_put(&m->entries, eml_bytes(text, (size_t)len));
    }
    m->c = (struct eml_host_commit){
        .first = first, .n = n, .entries = eml_buf_bytes(&m->entries), .document = document};
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++) {
        uint64_t from = eml_tile_count(first, level);
        for (uint64_t i = 0; i < eml_host_commit_hashes(first, n, level); i++)
            memset(eml_buf_grow(&m->hashes[level], EML_TILE_HASH), (int)((from + i) & 0xff),
                   EML_TILE_HASH);
        m->c.hashes[level] = eml_buf_bytes(&m->hashes[level]);
    }
    int len = snprintf(m->note, sizeof m->note, "origin\n%llu\nroot\n\nsignature\n",
                       (unsigned long long)(first + n));
    m->c.checkpoint = eml_bytes(m->note, (size_t)len);
    return &m->c;
}

static enum eml_host_status commit(struct eml_sink *s, uint64_t first, unsigned n)
{
    struct made m;
    enum eml_host_status status =
        eml_sink_commit(s, commit_of(&m, first, n, (struct eml_bytes){0}));
    eml_buf_free(&m.entries);
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        eml_buf_free(&m.hashes[level]);
    return status;
}

static struct eml_sink *opened(void)
{
    struct eml_sink *s;
    assert_int_equal(eml_sink_open(dir, 1u << 30, &s, NULL), EML_OK);
    return s;
}

static char *at(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static bool there(const char *name)
{
    return access(at(name), F_OK) == 0;
}

static long length(const char *name)
{
    struct stat st;
    return stat(at(name), &st) == 0 ? (long)st.st_size : -1;
}

static uint64_t size_of(struct eml_sink *s)
{
    uint64_t records, bytes;
    eml_sink_count(s, &records, &bytes);
    return records;
}

static void lays_out_what_it_is_given(void **state)
{
    (void)state;
    struct eml_sink *s = opened();
    struct made m;
    assert_int_equal(eml_sink_commit(s, commit_of(&m, 0, 3, EML_LIT("document"))), EML_HOST_OK);
    assert_true(there("tile/0/000.p/3"));
    assert_int_equal(length("tile/entries/000.p/3"), 12);
    assert_int_equal(length("boots/0.cose"), 8);
    assert_false(there("tile/1"));
    assert_int_equal(commit(s, 3, 253), EML_HOST_OK);
    assert_int_equal(length("tile/0/000"), 8192);
    assert_int_equal(length("tile/1/000.p/1"), 32);
    eml_sink_settle(s);
    assert_false(there("tile/0/000.p"));
    assert_false(there("tile/0/001.p"));
    assert_int_equal(commit(s, 256, 256), EML_HOST_OK);
    assert_int_equal(commit(s, 512, 10), EML_HOST_OK);
    assert_int_equal(length("tile/1/000.p/2"), 64);
    eml_sink_settle(s);
    assert_false(there("tile/1/000.p/1"));
    assert_int_equal(length("tile/0/002.p/10"), 320);
    struct eml_buf note = eml_test_read(at("checkpoint"));
    assert_true(eml_bytes_equal(eml_buf_bytes(&note), EML_LIT("origin\n522\nroot\n\nsignature\n")));
    eml_buf_free(&note);
    eml_buf_free(&m.entries);
    eml_buf_free(&m.hashes[0]);
    eml_sink_close(s);
}

/* The whole log as it must be, read as anybody would read it. */
static void check_log(uint64_t size)
{
    char path[EML_TILE_PATH_MAX], note[64];
    assert_int_equal(size == 0, !there("checkpoint"));
    if (size == 0)
        return;
    int len =
        snprintf(note, sizeof note, "origin\n%llu\nroot\n\nsignature\n", (unsigned long long)size);
    struct eml_buf b = eml_test_read(at("checkpoint"));
    assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_bytes(note, (size_t)len)));
    eml_buf_free(&b);
    for (unsigned part = 0; part <= EML_TILE_LEVELS; part++) {
        uint64_t count = eml_tile_count(size, part);
        for (uint64_t i = 0; i < count; i += EML_TILE_WIDTH) {
            unsigned width = eml_tile_width(size, part, i / EML_TILE_WIDTH);
            eml_tile_path(part, i / EML_TILE_WIDTH, width, path);
            b = eml_test_read(at(path));
            struct eml_cur c = eml_cur(eml_buf_bytes(&b));
            for (uint64_t k = i; k < i + width; k++) {
                char text[32];
                uint8_t hash[EML_TILE_HASH];
                int n = snprintf(text, sizeof text, "e%llu", (unsigned long long)k);
                memset(hash, (int)(k & 0xff), sizeof hash);
                assert_true(
                    part == EML_TILE_ENTRIES
                        ? eml_bytes_equal(eml_tile_entry(&c), eml_bytes(text, (size_t)n))
                        : eml_bytes_equal(eml_cur_take(&c, EML_TILE_HASH), EML_BYTES(hash)));
            }
            assert_true(eml_cur_done(&c));
            eml_buf_free(&b);
        }
    }
}

/* Commits in a process of its own, which ends as `plan` says or without closing anything. */
static unsigned commit_in_child(uint64_t first, const unsigned *n, size_t commits, bool settle)
{
    unsigned before = disk->acknowledged;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct eml_sink *s;
        if (eml_sink_open(dir, 1u << 30, &s, NULL) != EML_OK)
            _exit(1);
        for (size_t i = 0; i < commits && commit(s, first, n[i]) == EML_HOST_OK; i++) {
            disk->acknowledged++;
            first += n[i];
            if (settle)
                eml_sink_settle(s);
        }
        _exit(plan.kind == FAULT_CRASH ? 2 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), 1);
    /* 2: the plan's call never came. */
    if (WEXITSTATUS(status) == 2)
        plan.kind = NO_FAULT;
    return disk->acknowledged - before;
}

static void what_was_acknowledged_is_there_after_any_end(void **state)
{
    (void)state;
    const unsigned each = 100;
    uint64_t size = 0, records, bytes;
    for (int i = 0; i < 8; i++, size += 100) {
        assert_int_equal(commit_in_child(size, &each, 1, false), 1);
        check_log(size + 100); /* before anybody opens it */
        struct eml_sink *s = opened();
        eml_sink_count(s, &records, &bytes);
        assert_int_equal(records, size + 100);
        eml_sink_close(s);
        check_log(size + 100);
    }
}

/* What fsync was not asked for since it was written is lost: one may find the file empty, another
 * gone. Names of whole tiles that were synced stay as they were. */
static int lose_one(const char *path, const struct stat *st, int kind, struct FTW *f)
{
    (void)f;
    if (kind != FTW_F || strstr(path, "/journal.") != NULL)
        return 0;
    for (unsigned i = 0; i < disk->n; i++)
        if (strcmp(disk->name[i], path) == 0)
            return 0;
    return st->st_ino % 2 == 0 ? truncate(path, st->st_size / 3) : unlink(path);
}

/* Every call of a few commits is in turn the last one of the process, in the middle of its write;
 * then the machine loses what it need not have kept. */
static void crash_at_every_call(bool machine)
{
    static const unsigned sizes[] = {1, 120, 250, 2, 256};
    struct made m;
    struct eml_sink *s = opened();
    assert_int_equal(eml_sink_commit(s, commit_of(&m, 0, 3, EML_LIT("document"))), EML_HOST_OK);
    eml_sink_close(s);
    eml_buf_free(&m.entries);
    eml_buf_free(&m.hashes[0]);
    uint64_t size = 3;
    unsigned crashes = 0;
    for (unsigned call = 1;; call++) {
        plan.kind = FAULT_CRASH;
        plan.left = call;
        unsigned done = commit_in_child(size, sizes, 5, true);
        if (plan.kind == NO_FAULT)
            break;
        plan.kind = NO_FAULT;
        crashes++;
        for (unsigned i = 0; i < done; i++)
            size += sizes[i];
        if (!machine)
            assert_true(length("checkpoint") > 0);
        else
            assert_int_equal(nftw(dir, lose_one, 8, FTW_PHYS), 0);
        s = opened();
        uint64_t now = size_of(s);
        /* It may have been the commit's own answer that was lost. */
        assert_true(now == size || (done < 5 && now == size + sizes[done]));
        size = now;
        eml_sink_close(s);
        check_log(size);
        assert_int_equal(length("boots/0.cose"), 8);
    }
    assert_true(crashes > 40);
}

static void process_crashes_anywhere(void **state)
{
    (void)state;
    crash_at_every_call(false);
}

static void machine_crashes_anywhere(void **state)
{
    (void)state;
    crash_at_every_call(true);
}

/* The n-th call fails, for all n: the sink says so, and has the log of before; or it does not know,
 * takes nothing more, and has one or the other when it is opened again. */
static void fails_anywhere(int error)
{
    uint64_t size = 0;
    unsigned call = 0, lost = 0;
    for (bool hit = true; hit;) {
        struct eml_sink *s = opened();
        assert_int_equal(size_of(s), size);
        plan.kind = FAULT_ERROR;
        plan.left = ++call;
        plan.error = error;
        enum eml_host_status first = commit(s, size, 130), second;
        if (first == EML_HOST_OK)
            eml_sink_settle(s);
        hit = plan.left == 0;
        plan.kind = NO_FAULT;
        uint64_t after = size + (first == EML_HOST_OK ? 130 : 0);
        second = commit(s, after, 1);
        if (first != EML_HOST_OK)
            assert_true(first == EML_HOST_SYSTEM ||
                        (first == EML_HOST_TOO_LARGE && error == ENOSPC));
        /* What could be the disk's end is one until somebody looks. */
        if (first == EML_HOST_SYSTEM)
            assert_int_equal(second, EML_HOST_SYSTEM);
        if (first == EML_HOST_TOO_LARGE)
            assert_int_equal(second, EML_HOST_OK);
        after += second == EML_HOST_OK;
        lost += first != EML_HOST_OK;
        eml_sink_close(s);
        s = opened();
        size = size_of(s);
        assert_true(size == after || (first == EML_HOST_SYSTEM && size == after + 130));
        eml_sink_close(s);
        check_log(size);
    }
    assert_true(lost >= 5);
}

static void the_disk_fails_anywhere(void **state)
{
    (void)state;
    fails_anywhere(EIO);
}

static void the_disk_is_full_anywhere(void **state)
{
    (void)state;
    fails_anywhere(ENOSPC);
}

static void short_writes_are_continued(void **state)
{
    (void)state;
    struct eml_sink *s = opened();
    uint64_t size = 0;
    for (unsigned call = 1; call < 12; call++, size += 130) {
        plan.kind = FAULT_SHORT;
        plan.left = call;
        assert_int_equal(commit(s, size, 130), EML_HOST_OK);
        plan.kind = NO_FAULT;
        check_log(size + 130);
    }
    eml_sink_close(s);
    s = opened();
    assert_int_equal(size_of(s), size);
    eml_sink_close(s);
    check_log(size);
}

/* More commits than one epoch has room for, some of them large. */
static void epochs_follow_each_other(void **state)
{
    (void)state;
    struct eml_sink *s = opened();
    uint64_t size = 0;
    for (unsigned i = 0; i < 1500; i++) {
        unsigned n = i % 50 == 0 ? 256 : 1;
        assert_int_equal(commit(s, size, n), EML_HOST_OK);
        size += n;
    }
    eml_sink_close(s);
    check_log(size);
    assert_int_equal(nftw(dir, lose_one, 8, FTW_PHYS), 0);
    s = opened();
    assert_int_equal(size_of(s), size);
    eml_sink_close(s);
    check_log(size);
}

static void one_process_at_a_time(void **state)
{
    (void)state;
    struct eml_sink *s = opened(), *other;
    assert_int_equal(eml_sink_open(dir, 1u << 30, &other, NULL), EML_E_SYSTEM);
    assert_null(other);
    eml_sink_close(s);
    eml_sink_close(opened());
}

static void put_file(const char *name, size_t n)
{
    char piece[4096];
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    memset(piece, 'x', sizeof piece);
    for (size_t some; n > 0; n -= some) {
        some = n < sizeof piece ? n : sizeof piece;
        assert_int_equal(write(fd, piece, some), (ssize_t)some);
    }
    assert_int_equal(close(fd), 0);
}

/* A commit that a crash interrupted left files beyond the checkpoint: they do not count. */
static void torn_commits_leave_nothing(void **state)
{
    (void)state;
    struct eml_sink *s = opened();
    assert_int_equal(commit(s, 0, 250), EML_HOST_OK);
    eml_sink_close(s);
    put_file("tile/entries/000", 100);
    put_file("tile/entries/000.p/252", 7);
    put_file("tile/0/000", 8192);
    put_file("tile/0/000.p/251", 5);
    put_file("checkpoint.new", 3);
    s = opened();
    assert_int_equal(size_of(s), 250);
    assert_false(there("tile/entries/000.p/252"));
    assert_int_equal(commit(s, 250, 10), EML_HOST_OK);
    assert_int_equal(length("tile/entries/000"), 256 * 2 + 10 * 2 + 90 * 3 + 156 * 4);
    struct eml_buf tile = eml_test_read(at("tile/0/000"));
    assert_int_equal(tile.ptr[255 * EML_TILE_HASH], 255);
    eml_buf_free(&tile);
    eml_sink_close(s);
}

static void drop_journal(void)
{
    assert_int_equal(unlink(at("journal.0")), 0);
    assert_int_equal(unlink(at("journal.1")), 0);
}

static void refused(void)
{
    struct eml_sink *s;
    struct eml_why why = {0};
    assert_int_equal(eml_sink_open(dir, 1u << 30, &s, &why), EML_E_INPUT);
    assert_null(s);
}

/* Without a journal, as a copy is: the checkpoint says what there is. */
static void a_damaged_log_is_not_opened(void **state)
{
    (void)state;
    static const char *const names[] = {"tile/entries/001.p/44", "tile/0/001.p/44",
                                        "tile/1/000.p/1"};
    struct eml_sink *s = opened();
    assert_int_equal(commit(s, 0, 256), EML_HOST_OK);
    assert_int_equal(commit(s, 256, 44), EML_HOST_OK);
    eml_sink_close(s);
    drop_journal();
    for (size_t i = 0; i < 3; i++) {
        struct eml_buf kept = eml_test_read(at(names[i]));
        assert_int_equal(truncate(at(names[i]), (off_t)kept.len - 1), 0);
        refused();
        assert_int_equal(unlink(at(names[i])), 0);
        refused();
        int fd = open(at(names[i]), O_WRONLY | O_CREAT, 0644);
        assert_int_equal(write(fd, kept.ptr, kept.len), (ssize_t)kept.len);
        assert_int_equal(close(fd), 0);
        eml_buf_free(&kept);
    }
    static const char *const notes[] = {"",
                                        "origin\n",
                                        "origin\nx\n",
                                        "origin\n0\n",
                                        "origin\n-1\n",
                                        "origin\n99999999999999999999999\n"};
    struct eml_buf note = eml_test_read(at("checkpoint"));
    for (size_t i = 0; i <= sizeof notes / sizeof notes[0]; i++) {
        bool whole = i == sizeof notes / sizeof notes[0];
        struct eml_bytes b = whole ? eml_buf_bytes(&note) : eml_bytes_of_str(notes[i]);
        int fd = open(at("checkpoint"), O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, b.ptr, b.len), (ssize_t)b.len);
        assert_int_equal(close(fd), 0);
        if (!whole)
            refused();
    }
    eml_buf_free(&note);
    s = opened();
    assert_int_equal(size_of(s), 300);
    eml_sink_close(s);
    check_log(300);
}

static void without_a_sound_journal_it_is_not_opened(void **state)
{
    (void)state;
    static const char *const names[] = {"journal.0", "journal.1"};
    struct eml_sink *s = opened();
    assert_int_equal(commit(s, 0, 10), EML_HOST_OK);
    eml_sink_close(s);
    for (size_t i = 0; i < 2; i++) { /* an epoch in each */
        struct eml_buf kept = eml_test_read(at(names[i]));
        assert_int_equal(truncate(at(names[i]), (off_t)kept.len - 1), 0);
        refused();
        assert_int_equal(truncate(at(names[i]), (off_t)kept.len), 0);
        if (i == 1) {
            assert_int_equal(unlink(at(names[i])), 0);
            refused();
            put_file(names[i], kept.len);
        }
        eml_buf_free(&kept);
        eml_sink_close(opened());
    }
    put_file(names[0], 4u << 20);
    put_file(names[1], 4u << 20);
    refused();
}

static void only_what_continues_the_log(void **state)
{
    (void)state;
    struct eml_sink *s = opened();
    struct made m;
    assert_int_equal(commit(s, 1, 1), EML_HOST_EXISTS);
    assert_int_equal(commit(s, 0, 5), EML_HOST_OK);
    assert_int_equal(commit(s, 0, 5), EML_HOST_EXISTS);
    assert_int_equal(commit(s, 6, 5), EML_HOST_EXISTS);
    struct eml_host_commit c = *commit_of(&m, 5, 1, (struct eml_bytes){0});
    c.checkpoint = EML_LIT("origin\n7\nroot\n");
    assert_int_equal(eml_sink_commit(s, &c), EML_HOST_BAD_REQUEST);
    assert_int_equal(size_of(s), 5);
    eml_buf_free(&m.entries);
    eml_buf_free(&m.hashes[0]);
    eml_sink_close(s);
}

static void quota(void **state)
{
    (void)state;
    struct eml_sink *s;
    assert_int_equal(eml_sink_open(dir, 1000, &s, NULL), EML_OK);
    assert_int_equal(commit(s, 0, 20), EML_HOST_OK);
    assert_int_equal(commit(s, 20, 20), EML_HOST_TOO_LARGE);
    assert_int_equal(size_of(s), 20);
    assert_int_equal(commit(s, 20, 3), EML_HOST_OK);
    eml_sink_close(s);
}

/* As when the disk is full: the log stays what it was, and goes on when there is room. */
static void no_room_in_the_middle_of_a_commit(void **state)
{
    (void)state;
    struct eml_sink *s = opened();
    struct rlimit old, small;
    assert_int_equal(commit(s, 0, 100), EML_HOST_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    (void)signal(SIGXFSZ, SIG_IGN);
    for (rlim_t max = 0; max < 8192; max += 512) {
        small.rlim_cur = max;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        enum eml_host_status status = commit(s, 100, 200);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, EML_HOST_TOO_LARGE);
        assert_int_equal(size_of(s), 100);
        check_log(100);
        eml_sink_close(s);
        s = opened();
        assert_int_equal(size_of(s), 100);
    }
    assert_int_equal(commit(s, 100, 200), EML_HOST_OK);
    assert_int_equal(length("tile/0/000"), 8192);
    eml_sink_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lays_out_what_it_is_given, make, drop),
        cmocka_unit_test_setup_teardown(what_was_acknowledged_is_there_after_any_end, make, drop),
        cmocka_unit_test_setup_teardown(process_crashes_anywhere, make, drop),
        cmocka_unit_test_setup_teardown(machine_crashes_anywhere, make, drop),
        cmocka_unit_test_setup_teardown(the_disk_fails_anywhere, make, drop),
        cmocka_unit_test_setup_teardown(the_disk_is_full_anywhere, make, drop),
        cmocka_unit_test_setup_teardown(short_writes_are_continued, make, drop),
        cmocka_unit_test_setup_teardown(epochs_follow_each_other, make, drop),
        cmocka_unit_test_setup_teardown(one_process_at_a_time, make, drop),
        cmocka_unit_test_setup_teardown(without_a_sound_journal_it_is_not_opened, make, drop),
        cmocka_unit_test_setup_teardown(torn_commits_leave_nothing, make, drop),
        cmocka_unit_test_setup_teardown(a_damaged_log_is_not_opened, make, drop),
        cmocka_unit_test_setup_teardown(only_what_continues_the_log, make, drop),
        cmocka_unit_test_setup_teardown(quota, make, drop),
        cmocka_unit_test_setup_teardown(no_room_in_the_middle_of_a_commit, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
