#include "testsupport/support.h"

#include "engine/pool.h"

#include <pthread.h>
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

static void only_some_work_if_told(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("limit");
    struct eml_pool *pool;
    assert_int_equal(eml_pool_create(4, &pool), EML_OK);
    for (int round = 0; round < 300; round++) {
        unsigned limit = (unsigned)eml_gen_range(&g, 0, 6);
        eml_pool_limit(pool, limit);
        assert_int_equal(eml_pool_threads(pool), 4);
        check_covers_by(pool, limit > 1 ? limit : 1, eml_gen_range(&g, 0, 500),
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_runs_once),   cmocka_unit_test(only_some_work_if_told),
        cmocka_unit_test(jobs_follow_each_other), cmocka_unit_test(contention_does_not_stop_it),
        cmocka_unit_test(bad_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
