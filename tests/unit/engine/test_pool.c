#include "testsupport/support.h"

#include "engine/pace.h"
#include "engine/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct record {
    _Atomic int *hits; /* per item */
    int64_t n, grain;
    unsigned threads;
    _Atomic bool bad;
};

static void note(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    struct record *r = arg;
    if (begin % r->grain != 0 || end <= begin || end > r->n || end - begin > r->grain ||
        thread >= r->threads)
        atomic_store(&r->bad, true);
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add(&r->hits[i], 1);
}

static void check_covers_by(struct eml_pool *pool, unsigned threads, int64_t n, int64_t grain)
{
    struct record r = {.hits = calloc((size_t)n + 1, sizeof *r.hits),
                       .n = n,
                       .grain = grain < 1 ? 1 : grain,
                       .threads = threads};
    assert_non_null(r.hits);
    eml_pool_for(pool, n, grain, note, &r);
    assert_false(atomic_load(&r.bad));
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(r.hits[i], 1);
    assert_int_equal(r.hits[n], 0);
    free(r.hits);
}

static void check_covers(struct eml_pool *pool, int64_t n, int64_t grain)
{
    check_covers_by(pool, eml_pool_threads(pool), n, grain);
}

static void every_item_runs_once(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("pool");
    check_covers(NULL, 10, 3);
    for (unsigned threads = 1; threads <= 5; threads++) {
        struct eml_pool *pool;
        assert_int_equal(eml_pool_create(threads, &pool), EML_OK);
        assert_int_equal(eml_pool_threads(pool), threads);
        for (int round = 0; round < 300; round++)
            check_covers(pool, eml_gen_range(&g, 0, 500), eml_gen_range(&g, 0, 40));
        eml_pool_destroy(pool);
    }
}

/* What is said from outside holds for the next job. */
static void only_some_work_if_told(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("follow");
    struct eml_pool *pool;
    _Atomic uint32_t most = 4;
    assert_int_equal(eml_pool_create(4, &pool), EML_OK);
    eml_pool_follow(pool, &most);
    for (int round = 0; round < 300; round++) {
        unsigned said = (unsigned)eml_gen_range(&g, 0, 6);
        atomic_store(&most, said);
        assert_int_equal(eml_pool_threads(pool), 4);
        check_covers_by(pool, said > 1 ? said : 1, eml_gen_range(&g, 0, 500),
                        eml_gen_range(&g, 0, 40));
    }
    eml_pool_destroy(pool);
}

static void add(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    (void)thread;
    _Atomic int64_t *sum = arg;
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add(sum, i);
}

/* Writes of a job are seen by the caller and by the next job, also when threads are asleep between.
 */
static void jobs_follow_each_other(void **state)
{
    (void)state;
    struct eml_pool *pool;
    assert_int_equal(eml_pool_create(4, &pool), EML_OK);
    for (int i = 0; i < 20000; i++) {
        _Atomic int64_t sum = 0;
        int64_t n = i % 7 + 2;
        eml_pool_for(pool, n, 1, add, &sum);
        assert_int_equal(sum, n * (n - 1) / 2);
        if (i % 1000 == 0) /* long enough for all to fall asleep */
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    eml_pool_destroy(pool);
}

static void *burn(void *arg)
{
    _Atomic bool *stop = arg;
    while (!atomic_load_explicit(stop, memory_order_relaxed))
        ;
    return NULL;
}

/* More busy threads than cores: the pool goes on, and everything is still done exactly once. */
static void contention_does_not_stop_it(void **state)
{
    (void)state;
    _Atomic bool stop = false;
    pthread_t busy[6];
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&busy[i], NULL, burn, &stop), 0);
    struct eml_pool *pool;
    assert_int_equal(eml_pool_create(8, &pool), EML_OK);
    for (int i = 0; i < 100; i++)
        check_covers(pool, 200, 3);
    eml_pool_destroy(pool);
    atomic_store(&stop, true);
    for (int i = 0; i < 6; i++)
        pthread_join(busy[i], NULL);
}

/* --- going alone: the time is the test's, and the CPUs are --- */

static _Atomic int64_t fake_ns;
static _Atomic int asked; /* for the time */

static int64_t fake_clock(void)
{
    int64_t now = atomic_load(&fake_ns);
    atomic_fetch_add(&asked, 1);
    return now;
}

static _Atomic int cpus; /* given out */
static _Thread_local int own_cpu;

static int a_cpu_each(void)
{
    if (own_cpu == 0)
        own_cpu = atomic_fetch_add(&cpus, 1) + 1;
    return own_cpu;
}

static int one_cpu(void)
{
    return 0;
}

static struct eml_pool *pool_of_two(int (*cpu)(void))
{
    struct eml_pool *pool;
    assert_int_equal(eml_pool_create(2, &pool), EML_OK);
    atomic_store(&fake_ns, 1000);
    eml_pool_set_system(pool, (struct eml_pool_system){fake_clock, cpu});
    return pool;
}

struct company {
    _Atomic int others; /* pieces of threads that are not the caller */
    bool held_back;     /* another thread, with its piece, until the caller has waited in vain */
};

/* The caller's piece takes until another thread has one too. */
static void in_company(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    struct company *c = arg;
    (void)begin;
    (void)end;
    if (thread != 0)
        atomic_fetch_add(&c->others, 1);
    while (thread == 0 && atomic_load(&c->others) == 0)
        sched_yield();
    if (thread != 0 && c->held_back) {
        /* The caller asks when the job begins, and when it has nothing left to do. */
        while (atomic_load(&asked) < 2)
            sched_yield();
        atomic_fetch_add(&fake_ns, 10000000);
    }
}

/* Ends only if another thread takes part. */
static void run_in_company(struct eml_pool *pool, bool held_back)
{
    struct company c = {.held_back = held_back};
    atomic_store(&asked, 0);
    eml_pool_for(pool, 2, 1, in_company, &c);
    assert_true(c.others > 0);
}

static void check_alone(struct eml_pool *pool)
{
    check_covers_by(pool, 1, 100, 3);
}

/* A thread that was held back with its piece rests, and the caller does its work; when the rest is
 * over it takes part again, and after turns in which nothing happens always. */
static void alone_when_held_back_and_together_again(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct eml_pool *pool = pool_of_two(a_cpu_each);
        run_in_company(pool, true);
        run_in_company(pool, true); /* once may be chance */
        for (int i = 0; i < 20; i++)
            check_alone(pool);
        atomic_fetch_add(&fake_ns, EML_PACE_REST_MOST_NS);
        run_in_company(pool, false);
        run_in_company(pool, false);
        for (unsigned i = 0; i < 2 * EML_PACE_GOOD_TURNS; i++) {
            atomic_fetch_add(&fake_ns, EML_PACE_TURN_NS);
            check_covers(pool, 100, 3);
        }
        for (int i = 0; i < 20; i++) {
            atomic_fetch_add(&fake_ns, EML_PACE_REST_MOST_NS);
            run_in_company(pool, false);
        }
        eml_pool_destroy(pool);
    }
}

static void alone_when_on_the_callers_cpu(void **state)
{
    (void)state;
    struct eml_pool *pool = pool_of_two(one_cpu);
    run_in_company(pool, false);
    run_in_company(pool, false);
    for (int i = 0; i < 20; i++)
        check_alone(pool);
    atomic_fetch_add(&fake_ns, EML_PACE_REST_LEAST_NS);
    run_in_company(pool, false);
    check_alone(pool);
    eml_pool_destroy(pool);
}

static void bad_sizes_are_refused(void **state)
{
    (void)state;
    struct eml_pool *pool = (struct eml_pool *)state;
    assert_int_equal(eml_pool_create(0, &pool), EML_E_USAGE);
    assert_null(pool);
    pool = (struct eml_pool *)state;
    assert_int_equal(eml_pool_create(1000000, &pool), EML_E_USAGE);
    assert_null(pool);
    eml_pool_destroy(NULL);
    assert_int_equal(eml_pool_threads(NULL), 1);
}

/* --- stacks --- */

enum { LEFT = 64 * 1024 };
struct leaves {
    _Atomic(volatile uint8_t *) at[3]; /* where each thread left something; NULL: it has not */
};

static void leave_something(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    volatile uint8_t here[LEFT];
    struct leaves *l = arg;
    (void)begin;
    (void)end;
    for (size_t i = 0; i < LEFT; i++)
        here[i] = 0xa5;
    atomic_store(&l->at[thread], here);
}

/* Reads another thread's stack on purpose. */
__attribute__((no_sanitize("address"))) static size_t left(volatile const uint8_t *at)
{
    size_t n = 0;
    for (size_t i = 0; i < LEFT; i++)
        n += at[i] == 0xa5;
    return n;
}

static void wiping_leaves_nothing_on_stacks(void **state)
{
    (void)state;
    struct eml_pool *pool;
    _Atomic uint32_t most = 3;
    assert_int_equal(eml_pool_create(3, &pool), EML_OK);
    eml_pool_follow(pool, &most);
    for (int round = 0; round < 20; round++) {
        struct leaves l = {{NULL}};
        while (atomic_load(&l.at[1]) == NULL || atomic_load(&l.at[2]) == NULL)
            eml_pool_for(pool, 30, 1, leave_something, &l);
        if (round == 0)
            assert_true(left(atomic_load(&l.at[1])) > LEFT / 2);
        if (round % 3 == 0) { /* those that rest too */
            atomic_store(&most, 1);
            check_covers_by(pool, 1, 100, 3);
        }
        eml_pool_wipe(pool);
        for (int i = 1; i < 3; i++)
            assert_true(left(atomic_load(&l.at[i])) < LEFT / 256); /* it runs on it again */
        atomic_store(&most, 3);
        check_covers(pool, 100, 3);
    }
    eml_pool_destroy(pool);
    eml_pool_wipe(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_runs_once),
        cmocka_unit_test(wiping_leaves_nothing_on_stacks),
        cmocka_unit_test(only_some_work_if_told),
        cmocka_unit_test(jobs_follow_each_other),
        cmocka_unit_test(contention_does_not_stop_it),
        cmocka_unit_test(alone_when_on_the_callers_cpu),
        cmocka_unit_test(alone_when_held_back_and_together_again),
        cmocka_unit_test(bad_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
