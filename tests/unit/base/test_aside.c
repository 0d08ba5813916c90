// wrap: sched_getcpu
#define _GNU_SOURCE
#include "testsupport/support.h"

#include "base/aside.h"

#include <pthread.h>
#include <sched.h>
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

/* The core that it was told last: one of the test's, or else (-1) the true one, which may be
 * another a moment later. */
static int pretended = -1, told;

int __real_sched_getcpu(void);
int __wrap_sched_getcpu(void);

int __wrap_sched_getcpu(void)
{
    return told = pretended >= 0 ? pretended : __real_sched_getcpu();
}

static void look_at_cores(void *arg)
{
    EML_ASSERT(sched_getaffinity(0, sizeof(cpu_set_t), arg) == 0);
}

static void look_aside(struct eml_aside *a, int core)
{
    cpu_set_t theirs;
    CPU_ZERO(&theirs);
    pretended = core;
    told = -1;
    eml_aside_begin(a, look_at_cores, &theirs);
    eml_aside_await(a);
    pretended = -1;
    assert_true(told >= 0);
    assert_false(CPU_ISSET((size_t)told, &theirs));
    assert_int_not_equal(CPU_COUNT(&theirs), 0);
}

static void it_keeps_off_its_owners_core(void **state)
{
    (void)state;
    cpu_set_t ours;
    look_at_cores(&ours);
    if (CPU_COUNT(&ours) < 2) {
        print_message("not tried: there is one core\n");
        return;
    }
    struct eml_aside *a = eml_aside_new();
    assert_non_null(a);
    for (int i = 0; i < 500; i++)
        look_aside(a, -1);
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET((size_t)core, &ours))
            look_aside(a, core);
    eml_aside_free(a);
}

/* Then there is no other. */
static void on_one_core_it_works_too(void **state)
{
    (void)state;
    cpu_set_t ours, one;
    struct sum before = {.n = 4}, after = {.n = 4};
    size_t core = 0;
    look_at_cores(&ours);
    while (!CPU_ISSET(core, &ours))
        core++;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    struct eml_aside *a = eml_aside_new();
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    struct eml_aside *b = eml_aside_new();
    eml_aside_begin(a, add_up, &before);
    eml_aside_begin(b, add_up, &after);
    eml_aside_await(a);
    eml_aside_await(b);
    assert_int_equal(sched_setaffinity(0, sizeof ours, &ours), 0);
    assert_non_null(a);
    assert_non_null(b);
    eml_aside_free(a);
    eml_aside_free(b);
    assert_int_equal(before.total, 10);
    assert_int_equal(after.total, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_done_once_and_elsewhere),
        cmocka_unit_test(without_a_thread_it_is_done_at_once),
        cmocka_unit_test(it_takes_no_signals),
        cmocka_unit_test(it_keeps_off_its_owners_core),
        cmocka_unit_test(on_one_core_it_works_too),
        cmocka_unit_test(one_that_had_nothing_to_do_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
