#include "testsupport/support.h"

#include "base/aside.h"

#include <pthread.h>
#include <signal.h>

struct sum {
    unsigned n, total;
    pthread_t by;
};

static void add_up(void *arg)
{
    struct sum *s = arg;
    for (unsigned i = 1; i <= s->n; i++)
        s->total += i;
    s->by = pthread_self();
}

static void each_is_done_once_and_elsewhere(void **state)
{
    (void)state;
    struct eml_aside *a = eml_aside_new();
    assert_non_null(a);
    for (unsigned n = 0; n < 2000; n++) {
        struct sum s = {.n = n % 50};
        eml_aside_begin(a, add_up, &s);
        eml_aside_await(a);
        assert_int_equal(s.total, s.n * (s.n + 1) / 2);
        assert_false(pthread_equal(s.by, pthread_self()));
        eml_aside_await(a); /* nothing is under way */
    }
    eml_aside_free(a);
}

static void without_a_thread_it_is_done_at_once(void **state)
{
    (void)state;
    struct sum s = {.n = 4};
    eml_aside_begin(NULL, add_up, &s);
    assert_int_equal(s.total, 10);
    assert_true(pthread_equal(s.by, pthread_self()));
    eml_aside_await(NULL);
    eml_aside_free(NULL);
}

static void one_that_had_nothing_to_do_ends(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++)
        eml_aside_free(eml_aside_new());
}

static void look_at_signals(void *arg)
{
    EML_ASSERT(pthread_sigmask(SIG_SETMASK, NULL, arg) == 0);
}

/* A process that reads its signals from a descriptor blocks them, when the thread may be there. */
static void it_takes_no_signals(void **state)
{
    (void)state;
    sigset_t theirs, ours;
    struct eml_aside *a = eml_aside_new();
    assert_non_null(a);
    eml_aside_begin(a, look_at_signals, &theirs);
    eml_aside_await(a);
    eml_aside_free(a);
    look_at_signals(&ours);
    assert_int_equal(sigismember(&theirs, SIGTERM), 1);
    assert_int_equal(sigismember(&theirs, SIGINT), 1);
    assert_int_equal(sigismember(&ours, SIGTERM), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_done_once_and_elsewhere),
        cmocka_unit_test(without_a_thread_it_is_done_at_once),
        cmocka_unit_test(it_takes_no_signals),
        cmocka_unit_test(one_that_had_nothing_to_do_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
