#include "testsupport/support.h"

#include "file/file.h"
#include "remote/remember.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

static struct eml_seen_model model_of(unsigned id, uint64_t version)
{
    return (struct eml_seen_model){.id = {(uint8_t)(id >> 8), (uint8_t)id},
                                   .version = version,
                                   .digest = {{(uint8_t)version}}};
}

static enum eml_err remember_model(const char *path, struct eml_memory *was, unsigned id,
                                   uint64_t version, struct eml_why *why)
{
    const struct eml_seen_model m = model_of(id, version);
    return eml_remember(path, was, &(struct eml_seen){.model = &m}, why);
}

static struct eml_memory read_memory(const char *path)
{
    struct eml_memory m;
    assert_int_equal(eml_remember_read(path, &m, NULL), EML_OK);
    return m;
}

static struct eml_buf bytes_of(const char *path)
{
    struct eml_buf b = {0};
    assert_int_equal(eml_file_read(path, 1 << 20, &b, NULL), EML_OK);
    return b;
}

static void no_file_is_an_empty_memory(void **state)
{
    (void)state;
    struct eml_memory m = read_memory("none");
    assert_int_equal(m.n_models, 0);
    assert_int_equal(access("none", F_OK), -1);
    assert_int_equal(errno, ENOENT);
}

static void what_was_seen_is_there_again(void **state)
{
    (void)state;
    struct stat st;
    struct eml_memory was = read_memory("kept");
    assert_int_equal(remember_model("kept", &was, 1, 5, NULL), EML_OK);
    assert_int_equal(was.n_models, 1);
    assert_int_equal(stat("kept", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    eml_memory_free(&was);
    was = read_memory("kept");
    assert_int_equal(was.n_models, 1);
    assert_int_equal(was.model[0].version, 5);
    eml_memory_free(&was);
}

static void a_refusal_writes_nothing(void **state)
{
    (void)state;
    struct eml_memory was = read_memory("refusing");
    struct eml_why why = {0};
    struct stat before, after;
    assert_int_equal(remember_model("refusing", &was, 1, 5, NULL), EML_OK);
    struct eml_buf text = bytes_of("refusing");
    assert_int_equal(stat("refusing", &before), 0);
    assert_int_equal(remember_model("refusing", &was, 1, 4, &why), EML_E_REFUSED);
    assert_string_equal(why.rule, "topology key: older than remembered (rolled back)");
    assert_int_equal(stat("refusing", &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    struct eml_buf again = bytes_of("refusing");
    assert_true(eml_bytes_equal(eml_buf_bytes(&text), eml_buf_bytes(&again)));
    eml_buf_free(&text);
    eml_buf_free(&again);
    eml_memory_free(&was);
}

/* A session that began before another saw something newer is not refused for it, and does not put
 * it back. */
static void sessions_at_one_time(void **state)
{
    (void)state;
    struct eml_memory slow = read_memory("both"), fast = read_memory("both");
    assert_int_equal(remember_model("both", &fast, 1, 9, NULL), EML_OK);
    assert_int_equal(remember_model("both", &slow, 1, 8, NULL), EML_OK);
    eml_memory_free(&slow);
    eml_memory_free(&fast);
    struct eml_memory m = read_memory("both");
    assert_int_equal(m.model[0].version, 9);
    eml_memory_free(&m);
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    struct eml_memory was = {.has_policy = false}, m;
    struct eml_why why = {0};
    assert_int_equal(eml_file_write_atomic("damaged", 0600, EML_LIT("{\"version\":1"), NULL),
                     EML_OK);
    assert_int_equal(eml_remember_read("damaged", &m, &why), EML_E_INPUT);
    assert_int_equal(remember_model("damaged", &was, 1, 1, &why), EML_E_INPUT);
    struct eml_buf text = bytes_of("damaged");
    assert_int_equal(text.len, strlen("{\"version\":1"));
    eml_buf_free(&text);
    assert_int_equal(remember_model("no/such/folder", &was, 1, 1, &why), EML_E_USAGE);
}

/* Many processes at once: each sees its own models and one that all see; nothing gets lost, and at
 * no time is there a file that does not read. */
static void processes_take_turns(void **state)
{
    (void)state;
    enum { PROCESSES = 8, ROUNDS = 20, SHARED = 9999 };
    pid_t child[PROCESSES];
    for (unsigned p = 0; p < PROCESSES; p++) {
        child[p] = fork();
        assert_true(child[p] >= 0);
        if (child[p] != 0)
            continue;
        bool ok = true;
        for (unsigned i = 0; ok && i < ROUNDS; i++) {
            struct eml_memory was;
            ok = eml_remember_read("shared", &was, NULL) == EML_OK &&
                 remember_model("shared", &was, p * ROUNDS + i, 1 + i, NULL) == EML_OK;
            struct eml_memory none = {.has_policy = false};
            ok = ok && remember_model("shared", &none, SHARED, 1 + i, NULL) == EML_OK;
            eml_memory_free(&was);
            eml_memory_free(&none);
        }
        _exit(ok ? 0 : 1);
    }
    for (unsigned p = 0; p < PROCESSES; p++) {
        int status;
        assert_int_equal(waitpid(child[p], &status, 0), child[p]);
        assert_int_equal(status, 0);
    }
    struct eml_memory m = read_memory("shared");
    assert_int_equal(m.n_models, PROCESSES * ROUNDS + 1);
    for (unsigned i = 0; i < PROCESSES * ROUNDS; i++) {
        const struct eml_seen_model want = model_of(i, 1 + i % ROUNDS);
        assert_memory_equal(m.model[i].id, want.id, sizeof want.id);
        assert_int_equal(m.model[i].version, want.version);
    }
    assert_int_equal(m.model[PROCESSES * ROUNDS].version, ROUNDS);
    eml_memory_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_file_is_an_empty_memory),
        cmocka_unit_test(what_was_seen_is_there_again),
        cmocka_unit_test(a_refusal_writes_nothing),
        cmocka_unit_test(sessions_at_one_time),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(processes_take_turns),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
