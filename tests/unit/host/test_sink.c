#define _GNU_SOURCE
#include "testsupport/support.h"

#include "host/sink.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[EML_TEST_DIR];

static int make(void **state)
{
    (void)state;
    eml_test_dir_make(dir);
    return 0;
}

static int drop(void **state)
{
    (void)state;
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
    assert_false(there("tile/0/000.p"));
    assert_false(there("tile/0/001.p"));
    assert_int_equal(commit(s, 256, 256), EML_HOST_OK);
    assert_int_equal(commit(s, 512, 10), EML_HOST_OK);
    assert_int_equal(length("tile/1/000.p/2"), 64);
    assert_false(there("tile/1/000.p/1"));
    assert_int_equal(length("tile/0/002.p/10"), 320);
    struct eml_buf note = eml_test_read(at("checkpoint"));
    assert_true(eml_bytes_equal(eml_buf_bytes(&note), EML_LIT("origin\n522\nroot\n\nsignature\n")));
    eml_buf_free(&note);
    eml_buf_free(&m.entries);
    eml_buf_free(&m.hashes[0]);
    eml_sink_close(s);
}

static void state_equal(struct eml_sink *a, struct eml_sink *b)
{
    struct eml_buf x = {0}, y = {0};
    assert_int_equal(eml_sink_state(a, &x), EML_OK);
    assert_int_equal(eml_sink_state(b, &y), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&x), eml_buf_bytes(&y)));
    eml_buf_free(&x);
    eml_buf_free(&y);
}

static void what_was_acknowledged_is_there_after_any_end(void **state)
{
    (void)state;
    struct eml_sink *s = opened();
    uint64_t bytes[2], records;
    assert_int_equal(commit(s, 0, 200), EML_HOST_OK);
    for (uint64_t first = 200; first < 1000; first += 100) {
        assert_int_equal(commit(s, first, 100), EML_HOST_OK);
        struct eml_sink *again = opened(); /* nobody closed the first one */
        state_equal(s, again);
        assert_int_equal(size_of(again), first + 100);
        eml_sink_count(s, &records, &bytes[0]);
        eml_sink_count(again, &records, &bytes[1]);
        /* Counted afresh, the checkpoint counts. */
        assert_in_range(bytes[1] - bytes[0], 0, 64);
        eml_sink_close(again);
    }
    eml_sink_close(s);
}

static void put_file(const char *name, size_t n)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(write(fd, "x", 1), 1);
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

static void a_damaged_log_is_not_opened(void **state)
{
    (void)state;
    static const char *const names[] = {"tile/entries/001.p/44", "tile/0/001.p/44",
                                        "tile/1/000.p/1"};
    struct eml_sink *s = opened();
    struct eml_why why = {0};
    assert_int_equal(commit(s, 0, 256), EML_HOST_OK);
    assert_int_equal(commit(s, 256, 44), EML_HOST_OK);
    eml_sink_close(s);
    for (size_t i = 0; i < 3; i++) {
        struct eml_buf kept = eml_test_read(at(names[i]));
        assert_int_equal(truncate(at(names[i]), (off_t)kept.len - 1), 0);
        assert_int_equal(eml_sink_open(dir, 1u << 30, &s, &why), EML_E_INPUT);
        assert_null(s);
        assert_int_equal(unlink(at(names[i])), 0);
        assert_int_equal(eml_sink_open(dir, 1u << 30, &s, &why), EML_E_INPUT);
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
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        int fd = open(at("checkpoint"), O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, notes[i], strlen(notes[i])), (ssize_t)strlen(notes[i]));
        assert_int_equal(close(fd), 0);
        assert_int_equal(eml_sink_open(dir, 1u << 30, &s, &why), EML_E_INPUT);
    }
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
        struct eml_sink *again = opened();
        state_equal(s, again);
        eml_sink_close(again);
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
        cmocka_unit_test_setup_teardown(torn_commits_leave_nothing, make, drop),
        cmocka_unit_test_setup_teardown(a_damaged_log_is_not_opened, make, drop),
        cmocka_unit_test_setup_teardown(only_what_continues_the_log, make, drop),
        cmocka_unit_test_setup_teardown(quota, make, drop),
        cmocka_unit_test_setup_teardown(no_room_in_the_middle_of_a_commit, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
