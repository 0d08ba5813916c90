#include "testsupport/support.h"

#include "file/file.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[EML_TEST_DIR];

static int enter(void **state)
{
    (void)state;
    eml_test_dir_make(dir);
    return chdir(dir);
}

static int leave(void **state)
{
    (void)state;
    return chdir("/") == 0 ? eml_test_dir_drop(dir) : -1;
}

static size_t entries(const char *path)
{
    size_t n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return n;
}

static void assert_content(const char *path, const char *want)
{
    struct eml_buf b = {0};
    assert_int_equal(eml_file_read(path, 1000, &b, NULL), EML_OK);
    assert_int_equal(b.len, strlen(want));
    assert_memory_equal(b.ptr, want, b.len);
    eml_buf_free(&b);
}

static void write_replaces_whole_files(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(eml_file_write_atomic("a", 0600, EML_LIT("first, longer"), NULL), EML_OK);
    assert_int_equal(eml_file_write_atomic("a", 0644, EML_LIT("second"), NULL), EML_OK);
    assert_content("a", "second");
    assert_int_equal(stat("a", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(eml_file_write_atomic("a", 0600, EML_LIT(""), NULL), EML_OK);
    assert_content("a", "");
    assert_int_equal(stat("a", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(entries("."), 1);
}

static void failed_write_leaves_nothing(void **state)
{
    (void)state;
    struct eml_why why;
    assert_int_equal(eml_file_write_atomic("none/a", 0600, EML_LIT("x"), &why), EML_E_USAGE);
    assert_string_equal(why.rule, "file: no such file");
    assert_int_equal(mkdir("d", 0700), 0);
    assert_int_equal(eml_file_write_atomic("d", 0600, EML_LIT("x"), &why), EML_E_USAGE);
    assert_string_equal(why.rule, "file: cannot be put in place");
    assert_int_equal(entries("."), 1);
}

/* The kernel refuses the bytes (as a full disk does): what stood there stays. */
static void full_disk_keeps_the_old_file(void **state)
{
    (void)state;
    static uint8_t large[8192];
    struct rlimit old, small;
    struct eml_why why;
    assert_int_equal(eml_file_write_atomic("a", 0600, EML_LIT("old"), NULL), EML_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum eml_err err = eml_file_write_atomic("a", 0600, EML_BYTES(large), &why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(err, EML_E_SYSTEM);
    assert_string_equal(why.rule, "file: cannot be written (disk full?)");
    assert_content("a", "old");
    assert_int_equal(entries("."), 1);
}

static void read_has_a_limit(void **state)
{
    (void)state;
    struct eml_buf b = {0};
    assert_int_equal(eml_file_write_atomic("a", 0600, EML_LIT("12345"), NULL), EML_OK);
    assert_int_equal(eml_file_read("a", 5, &b, NULL), EML_OK);
    assert_int_equal(b.len, 5);
    eml_buf_free(&b);
    assert_int_equal(eml_file_read("a", 4, &b, NULL), EML_E_INPUT);
    assert_null(b.ptr);
    assert_int_equal(eml_file_read("none", 4, &b, NULL), EML_E_USAGE);
    assert_int_equal(eml_file_read(".", 4, &b, NULL), EML_E_USAGE);
    assert_null(b.ptr);
}

static void map_takes_regular_files_only(void **state)
{
    (void)state;
    struct eml_bytes map;
    assert_int_equal(eml_file_write_atomic("a", 0600, EML_LIT("12345"), NULL), EML_OK);
    assert_int_equal(eml_file_write_atomic("empty", 0600, EML_LIT(""), NULL), EML_OK);
    assert_int_equal(eml_file_map("a", 5, &map, NULL), EML_OK);
    assert_true(eml_bytes_equal(map, EML_LIT("12345")));
    eml_file_unmap(map);
    assert_int_equal(eml_file_map("empty", 5, &map, NULL), EML_OK);
    assert_int_equal(map.len, 0);
    eml_file_unmap(map);
    assert_int_equal(eml_file_map("a", 4, &map, NULL), EML_E_INPUT);
    assert_null(map.ptr);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(eml_file_map("fifo", 4, &map, NULL), EML_E_USAGE);
    assert_int_equal(eml_file_map(".", 4, &map, NULL), EML_E_USAGE);
    assert_int_equal(eml_file_map("none", 4, &map, NULL), EML_E_USAGE);
}

static void beneath_means_beneath(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum eml_err err;
    } cases[] = {
        {"in", EML_OK},
        {"sub/in", EML_OK},
        {"..", EML_E_INPUT},
        {"../out", EML_E_INPUT},
        {"sub/../../out", EML_E_INPUT},
        {"/etc/hostname", EML_E_INPUT},
        {"", EML_E_INPUT},
        {".", EML_E_INPUT},
        {"./in", EML_E_INPUT},
        {"sub//in", EML_E_INPUT},
        {"sub/", EML_E_INPUT},
        {"link", EML_E_INPUT},
        {"linked/in", EML_E_USAGE},
        {"sub/link", EML_E_INPUT},
        {"none", EML_E_USAGE},
        {"in/in", EML_E_USAGE},
        {"sub", EML_E_USAGE},
    };
    assert_int_equal(mkdir("m", 0700), 0);
    assert_int_equal(mkdir("m/sub", 0700), 0);
    assert_int_equal(eml_file_write_atomic("out", 0600, EML_LIT("out"), NULL), EML_OK);
    assert_int_equal(eml_file_write_atomic("m/in", 0600, EML_LIT("in"), NULL), EML_OK);
    assert_int_equal(eml_file_write_atomic("m/sub/in", 0600, EML_LIT("in"), NULL), EML_OK);
    assert_int_equal(symlink("../out", "m/link"), 0);
    assert_int_equal(symlink("sub", "m/linked"), 0);
    assert_int_equal(symlink("/etc/hostname", "m/sub/link"), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_bytes map;
        enum eml_err err = eml_file_map_beneath("m", cases[i].path, 100, &map, NULL);
        if (err != cases[i].err)
            print_error("path '%s'\n", cases[i].path);
        assert_int_equal(err, cases[i].err);
        assert_true(err == EML_OK ? eml_bytes_equal(map, EML_LIT("in")) : map.ptr == NULL);
        eml_file_unmap(map);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(write_replaces_whole_files, enter, leave),
        cmocka_unit_test_setup_teardown(failed_write_leaves_nothing, enter, leave),
        cmocka_unit_test_setup_teardown(full_disk_keeps_the_old_file, enter, leave),
        cmocka_unit_test_setup_teardown(read_has_a_limit, enter, leave),
        cmocka_unit_test_setup_teardown(map_takes_regular_files_only, enter, leave),
        cmocka_unit_test_setup_teardown(beneath_means_beneath, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
