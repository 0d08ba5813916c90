#define _GNU_SOURCE
#include "made_log.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* --- faults: what the sink's calls meet, in place of the C library's --- */

enum fault { NO_FAULT, FAULT_ERROR, FAULT_SHORT, FAULT_CRASH };

static struct {
    enum fault kind;
    unsigned left; /* calls until it happens; two threads count */
    bool hit;
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
    bool now = plan.kind != NO_FAULT && __atomic_sub_fetch(&plan.left, 1, __ATOMIC_SEQ_CST) == 0;
    if (now)
        plan.hit = true;
    return now;
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

int renameat2(int at, const char *from, int to, const char *name, unsigned flags)
{
    if (due() && plan.kind != FAULT_SHORT) {
        if (plan.kind == FAULT_CRASH)
            _exit(0);
        errno = plan.error != 0 ? plan.error : EIO;
        return -1;
    }
    return (int)syscall(SYS_renameat2, at, from, to, name, flags);
}

int renameat(int at, const char *from, int to, const char *name)
{
    return renameat2(at, from, to, name, 0);
}

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
        plan.hit = false;
        plan.error = error;
        enum eml_host_status first = commit(s, size, 130), second;
        if (first == EML_HOST_OK)
            eml_sink_settle(s);
        hit = plan.hit;
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

/* The largest commits there are, entries of any bytes: nobody settles between them, and each finds
 * room in the journal, whatever was there before. */
static void the_largest_commits_fit(void **state)
{
    (void)state;
    static const uint8_t bytes[EML_HOST_LOG_ENTRY_MAX] = {1};
    static uint8_t document[EML_HOST_LOG_DOCUMENT_MAX] = {2};
    struct eml_sink *s = opened();
    uint64_t size = 0;
    for (unsigned i = 0; i < 40; i++) {
        struct made m;
        struct eml_buf large = {0};
        struct eml_host_commit c = *commit_of(&m, size, 255, EML_BYTES(document));
        uint8_t be[2];
        eml_store_u16(be, sizeof bytes);
        for (unsigned k = 0; k < c.n; k++) {
            eml_buf_put(&large, EML_BYTES(be));
            eml_buf_put(&large, EML_BYTES(bytes));
        }
        c.entries = eml_buf_bytes(&large);
        assert_int_equal(eml_sink_commit(s, &c), EML_HOST_OK);
        size += c.n;
        struct eml_buf note = eml_test_read(at("checkpoint"));
        assert_true(eml_bytes_equal(eml_buf_bytes(&note), c.checkpoint));
        eml_buf_free(&note);
        eml_buf_free(&large);
        eml_buf_free(&m.entries);
        for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
            eml_buf_free(&m.hashes[level]);
        /* Little ones in between, so that the journal's end is met at many places. */
        for (unsigned k = 0; k < 7 * i; k++)
            assert_int_equal(commit(s, size++, 1), EML_HOST_OK);
    }
    eml_sink_close(s);
    s = opened();
    assert_int_equal(size_of(s), size);
    eml_sink_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_acknowledged_is_there_after_any_end, make, drop),
        cmocka_unit_test_setup_teardown(process_crashes_anywhere, make, drop),
        cmocka_unit_test_setup_teardown(machine_crashes_anywhere, make, drop),
        cmocka_unit_test_setup_teardown(the_disk_fails_anywhere, make, drop),
        cmocka_unit_test_setup_teardown(the_disk_is_full_anywhere, make, drop),
        cmocka_unit_test_setup_teardown(short_writes_are_continued, make, drop),
        cmocka_unit_test_setup_teardown(epochs_follow_each_other, make, drop),
        cmocka_unit_test_setup_teardown(the_largest_commits_fit, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
