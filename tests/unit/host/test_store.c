#define _GNU_SOURCE
#include "testsupport/support.h"

#include "host/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[EML_TEST_DIR];
static struct eml_store *store;
static const uint8_t id[EML_HOST_ID_BYTES] = {0xab, 1, 2, 3};
static const char name[] = "ab01020300000000000000000000000000000000000000000000000000000000";

static void reopen(uint64_t object_max, uint64_t total_max)
{
    eml_store_close(store);
    assert_int_equal(eml_store_open(dir, object_max, total_max, &store, NULL), EML_OK);
}

static int up(void **state)
{
    (void)state;
    eml_test_dir_make(dir);
    return eml_store_open(dir, 1000, 2000, &store, NULL) != EML_OK;
}

static int down(void **state)
{
    (void)state;
    eml_store_close(store);
    store = NULL;
    return eml_test_dir_drop(dir);
}

static enum eml_host_status put(const uint8_t *which, const char *text, uint64_t size)
{
    struct eml_store_put *p;
    enum eml_host_status s = eml_store_put_begin(store, which, size, &p);
    if (s != EML_HOST_OK) {
        assert_null(p);
        return s;
    }
    s = eml_store_put_write(p, eml_bytes_of_str(text));
    if (s == EML_HOST_OK)
        return eml_store_put_finish(p);
    eml_store_put_abort(p);
    return s;
}

static void assert_stored(const char *text)
{
    int fd;
    uint64_t size;
    char in[64] = {0};
    assert_int_equal(eml_store_get(store, id, &fd, &size), EML_HOST_OK);
    assert_int_equal(size, strlen(text));
    assert_int_equal(read(fd, in, sizeof in), (ssize_t)size);
    assert_string_equal(in, text);
    (void)close(fd);
}

static void assert_counts(uint64_t objects, uint64_t bytes)
{
    uint64_t o, b;
    eml_store_count(store, &o, &b);
    assert_int_equal(o, objects);
    assert_int_equal(b, bytes);
}

static size_t entries(const char *sub)
{
    char path[128];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/%s", dir, sub);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return n;
}

static void stored_objects_stay(void **state)
{
    (void)state;
    char path[256];
    struct stat st;
    assert_int_equal(put(id, "sealed", 6), EML_HOST_OK);
    assert_stored("sealed");
    assert_counts(1, 6);
    (void)snprintf(path, sizeof path, "%s/ab/%s", dir, name);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    reopen(1000, 2000);
    assert_stored("sealed");
    assert_counts(1, 6);
}

static void an_id_has_one_content(void **state)
{
    (void)state;
    assert_int_equal(put(id, "sealed", 6), EML_HOST_OK);
    assert_int_equal(put(id, "sealed", 6), EML_HOST_OK);
    assert_int_equal(put(id, "Sealed", 6), EML_HOST_EXISTS);
    assert_int_equal(put(id, "longer", 7), EML_HOST_EXISTS);
    assert_stored("sealed");
    assert_counts(1, 6);
    assert_int_equal(entries("tmp"), 0);
}

static void the_second_of_two_at_once_does_not_replace_the_first(void **state)
{
    (void)state;
    struct eml_store_put *a, *b;
    assert_int_equal(eml_store_put_begin(store, id, 1, &a), EML_HOST_OK);
    assert_int_equal(eml_store_put_begin(store, id, 1, &b), EML_HOST_OK);
    assert_int_equal(eml_store_put_write(a, EML_LIT("a")), EML_HOST_OK);
    assert_int_equal(eml_store_put_write(b, EML_LIT("b")), EML_HOST_OK);
    assert_int_equal(eml_store_put_finish(b), EML_HOST_OK);
    assert_int_equal(eml_store_put_finish(a), EML_HOST_EXISTS);
    assert_stored("b");
    assert_int_equal(entries("tmp"), 0);
}

static void nothing_partial_appears(void **state)
{
    (void)state;
    int fd;
    uint64_t size;
    struct eml_store_put *p;
    assert_int_equal(put(id, "short", 6), EML_HOST_BAD_REQUEST);
    assert_int_equal(put(id, "longer", 5), EML_HOST_BAD_REQUEST);
    assert_int_equal(put(id, "", 0), EML_HOST_BAD_REQUEST);
    assert_int_equal(eml_store_put_begin(store, id, 5, &p), EML_HOST_OK);
    assert_int_equal(entries("tmp"), 1);
    eml_store_put_abort(p);
    assert_int_equal(entries("tmp"), 0);
    assert_int_equal(eml_store_get(store, id, &fd, &size), EML_HOST_NOT_FOUND);
    assert_int_equal(fd, -1);
    assert_counts(0, 0);
}

static void limits_hold_while_receiving(void **state)
{
    (void)state;
    struct eml_store_put *a, *b, *c;
    uint8_t other[EML_HOST_ID_BYTES] = {1}, third[EML_HOST_ID_BYTES] = {2};
    assert_int_equal(eml_store_put_begin(store, id, 1001, &a), EML_HOST_TOO_LARGE);
    assert_int_equal(eml_store_put_begin(store, id, UINT64_MAX, &a), EML_HOST_TOO_LARGE);
    assert_int_equal(eml_store_put_begin(store, id, 1000, &a), EML_HOST_OK);
    assert_int_equal(eml_store_put_begin(store, other, 1000, &b), EML_HOST_OK);
    assert_int_equal(eml_store_put_begin(store, third, 1, &c), EML_HOST_TOO_LARGE);
    eml_store_put_abort(b);
    assert_int_equal(eml_store_put_begin(store, third, 1, &c), EML_HOST_OK);
    eml_store_put_abort(a);
    eml_store_put_abort(c);
}

static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    struct rlimit old, small = {100, 100};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum eml_host_status s = put(id, "x", 200);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(s, EML_HOST_TOO_LARGE);
    assert_int_equal(entries("tmp"), 0);
    assert_int_equal(put(id, "x", 1), EML_HOST_OK);
}

static void leftovers_of_a_crash_are_removed(void **state)
{
    (void)state;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/tmp/left-0", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    reopen(1000, 2000);
    assert_int_equal(entries("tmp"), 0);
}

static void links_and_directories_are_not_objects(void **state)
{
    (void)state;
    char path[256];
    int fd;
    uint64_t size;
    (void)snprintf(path, sizeof path, "%s/ab", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/ab/%s", dir, name);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(eml_store_get(store, id, &fd, &size), EML_HOST_NOT_FOUND);
    assert_int_equal(unlink(path) + mkdir(path, 0700), 0);
    assert_int_equal(eml_store_get(store, id, &fd, &size), EML_HOST_NOT_FOUND);
    assert_int_equal(fd, -1);
}

static void a_directory_that_cannot_be_is_an_error(void **state)
{
    (void)state;
    struct eml_store *s;
    struct eml_why why = {0};
    assert_int_equal(eml_store_open("/dev/null/x", 1, 1, &s, &why), EML_E_SYSTEM);
    assert_null(s);
    assert_non_null(strstr(why.rule, "store:"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
    const struct CMUnitTest tests[] = {
        T(stored_objects_stay),
        T(an_id_has_one_content),
        T(the_second_of_two_at_once_does_not_replace_the_first),
        T(nothing_partial_appears),
        T(limits_hold_while_receiving),
        T(a_full_disk_leaves_nothing),
        T(leftovers_of_a_crash_are_removed),
        T(links_and_directories_are_not_objects),
        T(a_directory_that_cannot_be_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
