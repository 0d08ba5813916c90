#define _GNU_SOURCE
#include "made_log.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

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
    unsigned full = 0;
    assert_int_equal(commit(s, 0, 100), EML_HOST_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    (void)signal(SIGXFSZ, SIG_IGN);
    for (rlim_t max = 0; max < 8192; max += 512) {
        small.rlim_cur = max;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        enum eml_host_status status = commit(s, 100, 200);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        /* SYSTEM where the limit lies within a block of the journal, which a full disk's cannot. */
        assert_true(status == EML_HOST_TOO_LARGE || status == EML_HOST_SYSTEM);
        if (status == EML_HOST_TOO_LARGE)
            assert_int_equal(size_of(s), 100);
        full += status == EML_HOST_TOO_LARGE;
        check_log(100);
        eml_sink_close(s);
        s = opened();
        assert_int_equal(size_of(s), 100);
    }
    assert_true(full > 4);
    assert_int_equal(commit(s, 100, 200), EML_HOST_OK);
    assert_int_equal(length("tile/0/000"), 8192);
    eml_sink_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lays_out_what_it_is_given, make, drop),
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
