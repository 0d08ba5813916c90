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

static _Atomic int64_t fake_used;

static int64_t fake_used_clock(void)
{
    return atomic_load(&fake_used);
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

static bool no_move(int off, int on)
{
    (void)off;
    (void)on;
    return false;
}

/* Two CPUs: everybody is on the first, until it moves to the second. */
static _Thread_local bool on_second;

static int first_or_second(void)
{
    return on_second;
}

struct moved {
    int off, on;
};
static struct moved moves[8];
static _Atomic unsigned n_moves;

static bool note_move(int off, int on)
{
    unsigned i = atomic_fetch_add(&n_moves, 1);
    if (i < sizeof moves / sizeof moves[0])
        moves[i] = (struct moved){off, on};
    if (off >= 0)
        on_second = off == 0;
    return true;
}

static struct eml_pool *pool_of_two(int (*cpu)(void), bool (*move)(int off, int on))
{
    struct eml_pool *pool;
    assert_int_equal(eml_pool_create(2, &pool), EML_OK);
    atomic_store(&fake_ns, 1000);
    atomic_store(&n_moves, 0);
    on_second = false;
    eml_pool_set_system(pool, (struct eml_pool_system){fake_clock, fake_used_clock, cpu, move});
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
        /* The caller asks when the job begins, when it has nothing left to do, and then waits. */
        while (atomic_load(&asked) < 3)
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
        struct eml_pool *pool = pool_of_two(a_cpu_each, no_move);
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
    struct eml_pool *pool = pool_of_two(one_cpu, no_move);
    run_in_company(pool, false);
    run_in_company(pool, false);
    for (int i = 0; i < 20; i++)
        check_alone(pool);
    atomic_fetch_add(&fake_ns, EML_PACE_REST_LEAST_NS);
    run_in_company(pool, false);
    check_alone(pool);
    eml_pool_destroy(pool);
}

/* A thread on the caller's CPU goes to another one before it works, comes back to the same job, and
 * never has to rest. */
static void a_thread_leaves_the_callers_cpu(void **state)
{
    (void)state;
    struct eml_pool *pool = pool_of_two(first_or_second, note_move);
    for (int i = 0; i < 50; i++)
        run_in_company(pool, false);
    assert_int_equal(atomic_load(&n_moves), 1);
    assert_int_equal(moves[0].off, 0);
    assert_int_equal(moves[0].on, -1);
    /* The system puts the caller there: the thread changes places with it. */
    on_second = true;
    for (int i = 0; i < 50; i++)
        run_in_company(pool, false);
    assert_int_equal(atomic_load(&n_moves), 2);
    assert_int_equal(moves[1].off, 1);
    assert_int_equal(moves[1].on, 0);
    eml_pool_destroy(pool);
}

struct taking {
    int64_t used;           /* of the processor's time, ns */
    _Atomic bool by_caller; /* the caller had a piece */
};

/* A piece of the caller takes 5 ms; the other thread waits for it. */
static void take_5_ms(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    struct taking *t = arg;
    (void)begin;
    (void)end;
    while (thread != 0 && !atomic_load(&t->by_caller))
        sched_yield();
    if (thread == 0) {
        atomic_fetch_add(&fake_ns, 5000000);
        atomic_fetch_add(&fake_used, t->used);
        atomic_store(&t->by_caller, true);
    }
}

/* A caller that has to share its CPU goes elsewhere, and may come back. */
static void a_caller_leaves_a_lost_cpu(void **state)
{
    (void)state;
    struct taking all = {.used = 5000000}, half = {.used = 2500000};
    struct eml_pool *pool = pool_of_two(a_cpu_each, note_move);
    atomic_fetch_add(&fake_ns, 1000000000); /* the caller did something else, without the pool */
    eml_pool_for(pool, 2, 1, take_5_ms, &all);
    assert_int_equal(atomic_load(&n_moves), 0);
    eml_pool_for(pool, 2, 1, take_5_ms, &half);
    assert_int_equal(atomic_load(&n_moves), 2);
    assert_int_equal(moves[0].off, own_cpu);
    assert_int_equal(moves[0].on, -1);
    assert_int_equal(moves[1].off, -1);
    assert_int_equal(moves[1].on, own_cpu);
    eml_pool_destroy(pool);
}

struct turn {
    _Atomic int others; /* pieces of the other thread */
    bool ends;          /* the turn, during its first piece */
};

/* The caller has its first piece until the other thread has one, too. */
static void in_a_turn(void *arg, int64_t begin, int64_t end, unsigned thread)
{
    struct turn *t = arg;
    (void)begin;
    (void)end;
    if (thread != 0 && t->ends)
        atomic_fetch_add(&fake_ns, EML_PACE_TURN_NS);
    if (thread != 0)
        atomic_fetch_add(&t->others, 1);
    while (thread == 0 && atomic_load(&t->others) == 0)
        sched_yield();
}

/* When a thread's turn ends within a job, the caller does what is left. */
static void no_piece_begins_after_a_turn(void **state)
{
    (void)state;
    struct eml_pool *pool = pool_of_two(a_cpu_each, no_move);
    run_in_company(pool, true);
    run_in_company(pool, true);
    atomic_fetch_add(&fake_ns, EML_PACE_REST_MOST_NS);
    struct turn t = {.ends = true};
    eml_pool_for(pool, 100, 1, in_a_turn, &t);
    assert_int_equal(t.others, 1);
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
        cmocka_unit_test(a_thread_leaves_the_callers_cpu),
        cmocka_unit_test(a_caller_leaves_a_lost_cpu),
        cmocka_unit_test(no_piece_begins_after_a_turn),
        cmocka_unit_test(alone_when_held_back_and_together_again),
        cmocka_unit_test(bad_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
