#include "testsupport/support.h"

#include "enclave/limits.h"
#include "enclave/session_table.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            (void)pause();
    return pid;
}

/* A worker that does not listen to SIGTERM. */
static pid_t deaf(void)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)signal(SIGTERM, SIG_IGN);
        if (write(ready[1], "x", 1) == 1)
            for (;;)
                (void)pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    return pid;
}

static int signal_that_ended(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void requests_share_the_threads(void **state)
{
    (void)state;
    struct eml_session_table t;
    assert_int_equal(eml_session_table_make(&t, 5), EML_OK);
    for (int i = 0; i < 4; i++)
        eml_session_new(&t, 1000 + i, -1, 5, 100);
    assert_int_equal(eml_session_share(&t, 8), 8);
    static const uint64_t share[] = {8, 4, 2, 2};
    for (int i = 0; i < 4; i++) {
        eml_session_begin(&t.entry[i], 50);
        assert_int_equal(eml_session_share(&t, 8), share[i]);
    }
    assert_int_equal(eml_session_share(&t, 3), 1);
    eml_session_rest(&t.entry[0]);
    eml_session_free(&t.entry[1]);
    eml_session_rest(&t.entry[2]);
    assert_int_equal(eml_session_share(&t, 3), 3);
    for (size_t i = 0; i < t.n; i++)
        t.entry[i].pid = 0;
    eml_session_table_free(&t);
}

static void entries_are_taken_and_given_back(void **state)
{
    (void)state;
    struct eml_session_table t;
    assert_int_equal(eml_session_table_make(&t, 2), EML_OK);
    eml_session_new(&t, 1000, -1, 5, 100);
    eml_session_new(&t, 1001, -1, 5, 50);
    assert_int_equal(eml_session_count(&t), 2);
    assert_int_equal(t.entry[1].number, 2);
    assert_int_equal(eml_session_tick(&t, 10), 50);
    eml_session_free(&t.entry[1]);
    assert_int_equal(eml_session_count(&t), 1);
    assert_int_equal(eml_session_tick(&t, 10), 100);
    eml_session_new(&t, 1002, -1, 5, 70);
    assert_int_equal(t.entry[1].number, 3);
    eml_session_begin(&t.entry[0], 60);
    assert_int_equal(eml_session_tick(&t, 10), 60);
    eml_session_rest(&t.entry[0]);
    assert_int_equal(eml_session_tick(&t, 10), 70);
    t.entry[0].pid = t.entry[1].pid = 0;
    eml_session_table_free(&t);
}

static void a_request_over_its_time_is_asked_to_end(void **state)
{
    (void)state;
    struct eml_session_table t;
    assert_int_equal(eml_session_table_make(&t, 1), EML_OK);
    eml_session_new(&t, sleeper(), -1, 0, 1000);
    eml_session_begin(&t.entry[0], 20);
    assert_int_equal(eml_session_tick(&t, 19), 20);
    assert_int_equal(eml_session_tick(&t, 20), 20 + EML_STOP_MS);
    assert_int_equal(signal_that_ended(t.entry[0].pid), SIGTERM);
    t.entry[0].pid = 0;
    eml_session_table_free(&t);
}

static void who_does_not_end_is_killed(void **state)
{
    (void)state;
    struct eml_session_table t;
    assert_int_equal(eml_session_table_make(&t, 1), EML_OK);
    eml_session_new(&t, deaf(), -1, 0, 1000);
    int64_t next = eml_session_tick(&t, 1000);
    assert_int_equal(next, 1000 + EML_STOP_MS);
    (void)eml_session_tick(&t, next);
    assert_int_equal(signal_that_ended(t.entry[0].pid), SIGKILL);
    t.entry[0].pid = 0;
    eml_session_table_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_share_the_threads),
        cmocka_unit_test(entries_are_taken_and_given_back),
        cmocka_unit_test(a_request_over_its_time_is_asked_to_end),
        cmocka_unit_test(who_does_not_end_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
