#define _GNU_SOURCE
#include "base/aside.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

struct eml_aside {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*work)(void *arg); /* NULL: done, or nothing to do yet */
    void *arg;
    bool over;
    int avoids; /* the core that it keeps off; -1: none */
};

static void *aside_main(void *arg)
{
    struct eml_aside *a = arg;
    (void)pthread_mutex_lock(&a->lock);
    while (!a->over) {
        if (a->work == NULL) {
            (void)pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        void (*work)(void *) = a->work;
        void *of = a->arg;
        (void)pthread_mutex_unlock(&a->lock);
        work(of);
        (void)pthread_mutex_lock(&a->lock);
        a->work = NULL;
        (void)pthread_cond_signal(&a->changed);
    }
    (void)pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* With all signals blocked: those of the process are the owner's, who may block them later. */
static bool start(struct eml_aside *a)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return false;
    bool ok = pthread_create(&a->thread, NULL, aside_main, a) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

struct eml_aside *eml_aside_new(void)
{
    struct eml_aside *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->avoids = -1;
    bool lock = pthread_mutex_init(&a->lock, NULL) == 0;
    bool changed = pthread_cond_init(&a->changed, NULL) == 0;
    if (lock && changed && start(a))
        return a;
    if (changed)
        (void)pthread_cond_destroy(&a->changed);
    if (lock)
        (void)pthread_mutex_destroy(&a->lock);
    free(a);
    return NULL;
}

void eml_aside_free(struct eml_aside *a)
{
    if (a == NULL)
        return;
    (void)pthread_mutex_lock(&a->lock);
    a->over = true;
    (void)pthread_cond_signal(&a->changed);
    (void)pthread_mutex_unlock(&a->lock);
    (void)pthread_join(a->thread, NULL);
    (void)pthread_cond_destroy(&a->changed);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
}

/* The kernel wakes a thread on its waker's core, as who wakes often sleeps next, and leaves it
 * there if the idle cores share no cache with that one: behind us, when we go on. */
static void keep_off_our_core(struct eml_aside *a)
{
    cpu_set_t cores;
    int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || here == a->avoids ||
        sched_getaffinity(0, sizeof cores, &cores) != 0)
        return;
    CPU_CLR((size_t)here, &cores);
    if (CPU_COUNT(&cores) != 0 && pthread_setaffinity_np(a->thread, sizeof cores, &cores) == 0)
        a->avoids = here;
}

void eml_aside_begin(struct eml_aside *a, void (*work)(void *arg), void *arg)
{
    if (a == NULL) {
        work(arg);
        return;
    }
    keep_off_our_core(a);
    (void)pthread_mutex_lock(&a->lock);
    a->arg = arg;
    a->work = work;
    (void)pthread_cond_signal(&a->changed);
    (void)pthread_mutex_unlock(&a->lock);
}

void eml_aside_await(struct eml_aside *a)
{
    if (a == NULL)
        return;
    (void)pthread_mutex_lock(&a->lock);
    while (a->work != NULL)
        (void)pthread_cond_wait(&a->changed, &a->lock);
    (void)pthread_mutex_unlock(&a->lock);
}
