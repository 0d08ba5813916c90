#define _GNU_SOURCE
#include "engine/pool.h"

#include "base/wipe.h"
#include "engine/pace.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { THREADS_MAX = 256 };

/* About 50 microseconds on current CPUs: longer than the serial gap between two operators, short
 * enough not to starve another process of the core. */
enum { SPINS = 1500 };

/* `state`: bit 63 the job is open, bits 16..62 its number, bits 0..15 the threads inside. A thread
 * enters by incrementing while the job is open; the caller closes it when no piece is left and
 * waits only for those inside. The job's fields change only while it is closed and empty. */
#define OPEN ((uint64_t)1 << 63)
#define JOB ((uint64_t)1 << 16)
#define INSIDE (JOB - 1)

/* What is waited for at the end of a job beyond the caller's own work in it before it is held to be
 * a disturbance: pieces of one job differ by less. */
enum { STALL_NS = 200000 };

/* A caller that was off its core for more than LOST_NS in one job goes to another core: the
 * helpers' time is no substitute for its own. Its processor time is asked for in steps of ASK_NS:
 * asking is a system call. */
enum { LOST_NS = 500000, ASK_NS = 200000 };

/* One of the threads. Of a job's pieces it begins with its own segment: neighbouring operators are
 * cut alike, so that a thread mostly finds in its core's cache what it needs: it wrote it itself.
 */
struct member {
    _Alignas(64) _Atomic int64_t next; /* its segment's */
    int64_t end;
    _Atomic bool beside; /* it took part in this job on the caller's own core */
    _Alignas(64) _Atomic enum eml_pace_now now;
    _Atomic int64_t until; /* it begins no piece from this time on */
    int64_t left;          /* when it left this job, if the caller waited then; else NEVER */
    struct eml_pace pace;  /* the caller's business */
    unsigned wipes; /* of its stack, as often as it was asked to; the thread's own, as below */
    int off;        /* the CPU that it keeps off, or NOWHERE */
    bool stays;     /* there is none but the caller's for it */
};
enum { NOWHERE = -1, NEVER = 0 };        /* of a CPU; of `left` */
static const int64_t ALWAYS = INT64_MAX; /* of `until` */

struct eml_pool {
    unsigned n_threads; /* with the caller */
    pthread_t *threads; /* n_threads - 1 */
    unsigned started;

    _Alignas(64) _Atomic uint64_t state;
    _Alignas(64) eml_pool_fn *f;
    void *arg;
    int64_t grain;
    struct member *members; /* n_threads; the first is the caller */
    unsigned n_segments;    /* of this job */
    _Atomic int caller_cpu; /* where it opened this job */
    int64_t asked, used;    /* when the caller's processor time was asked for, and what it was */
    _Alignas(64) pthread_mutex_t lock;
    pthread_cond_t work; /* a job was opened, or the pool ends */
    pthread_cond_t idle; /* the last thread left a closed job */
    _Atomic unsigned sleepers;
    _Atomic bool caller_waits, end;
    _Atomic unsigned halted;
    _Atomic unsigned wipes;       /* asked for */
    unsigned wiped;               /* threads that did the last; under the lock */
    const _Atomic uint32_t *most; /* NULL: nobody says */
    struct eml_pool_system system;
};

/* A signal handler has no argument: the pool that this thread is of, and where its stack begins. */
static _Thread_local struct eml_pool *own_pool;
static _Thread_local void *stack_top;

struct start {
    struct eml_pool *pool;
    unsigned thread;
};

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void claim_of(struct eml_pool *p, struct member *s, unsigned thread, int64_t until)
{
    int64_t grain = p->grain, end = s->end;
    while (atomic_load_explicit(&s->next, memory_order_relaxed) < end &&
           (until == ALWAYS || p->system.now_ns() < until)) {
        int64_t begin = atomic_fetch_add_explicit(&s->next, grain, memory_order_relaxed);
        if (begin >= end)
            return;
        p->f(p->arg, begin, end - begin < grain ? end : begin + grain, thread);
    }
}

/* First its own segment, then what others have not got to. */
static void claim(struct eml_pool *p, unsigned thread)
{
    unsigned n = p->n_segments;
    int64_t until = atomic_load_explicit(&p->members[thread].until, memory_order_relaxed);
    for (unsigned i = 0; i < n; i++)
        claim_of(p, &p->members[(thread + i) % n], thread, until);
}

/* For `most` threads. */
static void cut(struct eml_pool *p, int64_t n, unsigned most)
{
    int64_t pieces = (n - 1) / p->grain + 1;
    p->n_segments = (unsigned)(pieces < most ? pieces : most);
    int64_t begin = 0;
    for (unsigned i = 0; i < p->n_segments; i++) {
        struct member *s = &p->members[i];
        int64_t count = pieces / p->n_segments + (i < pieces % p->n_segments);
        atomic_store_explicit(&s->next, begin, memory_order_relaxed);
        begin = i + 1 == p->n_segments ? n : begin + count * p->grain;
        s->end = begin;
    }
    for (unsigned i = 1; i < p->n_threads; i++)
        atomic_store_explicit(&p->members[i].beside, false, memory_order_relaxed);
}

static bool enter(struct eml_pool *p)
{
    uint64_t s = atomic_load(&p->state);
    while (s & OPEN) {
        if (atomic_compare_exchange_weak(&p->state, &s, s + 1))
            return true;
    }
    return false;
}

static void leave(struct eml_pool *p, unsigned thread)
{
    if (atomic_load(&p->caller_waits))
        p->members[thread].left = p->system.now_ns();
    uint64_t s = atomic_fetch_sub(&p->state, 1) - 1;
    if ((s & (OPEN | INSIDE)) == 0 && atomic_load(&p->caller_waits)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_signal(&p->idle);
        pthread_mutex_unlock(&p->lock);
    }
}

static bool rests(struct eml_pool *p, unsigned thread)
{
    return atomic_load(&p->members[thread].now) == EML_PACE_REST;
}

/* True if a job other than `seen` is there for this thread, a wipe, or the pool ends. */
static bool news(struct eml_pool *p, uint64_t seen, unsigned thread)
{
    uint64_t s = atomic_load(&p->state);
    bool job = (s & OPEN) && (s & ~(OPEN | INSIDE)) != seen && !rests(p, thread);
    return job || atomic_load(&p->wipes) != p->members[thread].wipes || atomic_load(&p->end);
}

static void await_job(struct eml_pool *p, uint64_t seen, unsigned thread)
{
    for (int i = 0; i < SPINS && !rests(p, thread); i++) {
        if (news(p, seen, thread))
            return;
        pause_cpu();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (!news(p, seen, thread))
        pthread_cond_wait(&p->work, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
}

static void on_halt(int signal)
{
    (void)signal;
    if (own_pool == NULL)
        return;
    EML_WIPE_STACK_UP_TO(stack_top);
    atomic_fetch_add(&own_pool->halted, 1);
    for (;;)
        sched_yield();
}

/* True if that was what it had to do. */
static bool wipes(struct eml_pool *p, unsigned thread)
{
    unsigned asked = atomic_load(&p->wipes);
    if (asked == p->members[thread].wipes)
        return false;
    eml_wipe_stack();
    p->members[thread].wipes = asked;
    pthread_mutex_lock(&p->lock);
    p->wiped++;
    pthread_cond_signal(&p->idle);
    pthread_mutex_unlock(&p->lock);
    return true;
}

/* A thread inside the open job: works, and leaves. False: it left at once for another core than the
 * caller's, and may come back. */
static bool take_pieces(struct eml_pool *p, unsigned thread)
{
    struct member *m = &p->members[thread];
    int own = p->system.cpu();
    bool beside = own >= 0 && own == atomic_load_explicit(&p->caller_cpu, memory_order_relaxed);
    if (beside && !m->stays) {
        leave(p, thread); /* nobody shall wait while it moves */
        m->stays = !p->system.move(own, m->off);
        m->off = m->stays ? m->off : own;
        return false;
    }
    m->stays = false;
    atomic_store_explicit(&m->beside, beside, memory_order_relaxed);
    claim(p, thread);
    leave(p, thread);
    return true;
}

static void *worker(void *arg)
{
    struct start s = *(struct start *)arg;
    struct eml_pool *p = s.pool;
    free(arg);
    own_pool = p;
    stack_top = __builtin_frame_address(0);
    for (uint64_t seen = 0;;) {
        await_job(p, seen, s.thread);
        if (atomic_load(&p->end)) {
            eml_wipe_stack();
            return NULL;
        }
        if (wipes(p, s.thread) || !enter(p))
            continue;
        uint64_t job = atomic_load(&p->state) & ~(OPEN | INSIDE);
        bool let_in = !rests(p, s.thread); /* perhaps for the job before only */
        if (!let_in)
            leave(p, s.thread);
        if (!let_in || take_pieces(p, s.thread))
            seen = job;
    }
}

static enum eml_err start_each(struct eml_pool *p)
{
    for (unsigned i = 1; i < p->n_threads; i++) {
        struct start *s = malloc(sizeof *s);
        if (!s)
            return EML_E_SYSTEM;
        *s = (struct start){p, i};
        if (pthread_create(&p->threads[i - 1], NULL, worker, s) != 0) {
            free(s);
            return EML_E_SYSTEM;
        }
        p->started++;
    }
    return EML_OK;
}

/* With all signals blocked but the one for halting: those of the process are the caller's. */
static enum eml_err start_threads(struct eml_pool *p)
{
    const struct sigaction halt = {.sa_handler = on_halt};
    sigset_t but_halt, before;
    (void)sigfillset(&but_halt);
    (void)sigdelset(&but_halt, SIGUSR1);
    if (p->n_threads == 1)
        return EML_OK;
    if (sigaction(SIGUSR1, &halt, NULL) != 0 ||
        pthread_sigmask(SIG_SETMASK, &but_halt, &before) != 0)
        return EML_E_SYSTEM;
    enum eml_err e = start_each(p);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

static int64_t read_ns(clockid_t clock)
{
    struct timespec t = {0};
    (void)clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t monotonic_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

static int64_t thread_ns(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* CPUs that whoever started the process has excluded stay so. */
static bool move(int off, int on)
{
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0)
        return false;
    if (on >= 0)
        CPU_SET((size_t)on, &cpus);
    if (off >= 0)
        CPU_CLR((size_t)off, &cpus);
    return sched_setaffinity(0, sizeof cpus, &cpus) == 0;
}

enum eml_err eml_pool_create(unsigned threads, struct eml_pool **out)
{
    *out = NULL;
    if (threads == 0 || threads > THREADS_MAX)
        return EML_E_USAGE;
    struct eml_pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    if (!p)
        return EML_E_SYSTEM;
    *p = (struct eml_pool){.n_threads = threads,
                           .system = {monotonic_ns, thread_ns, sched_getcpu, move}};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->idle, NULL);
    p->threads = calloc(threads, sizeof *p->threads);
    p->members = aligned_alloc(64, threads * sizeof *p->members);
    for (unsigned i = 0; p->members && i < threads; i++)
        p->members[i] = (struct member){.until = ALWAYS, .off = NOWHERE};
    enum eml_err e = p->threads && p->members ? start_threads(p) : EML_E_SYSTEM;
    if (e != EML_OK) {
        eml_pool_destroy(p);
        return e;
    }
    *out = p;
    return EML_OK;
}

void eml_pool_destroy(struct eml_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->end, true);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->started; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->lock);
    free(p->members);
    free(p->threads);
    free(p);
}

void eml_pool_halt(struct eml_pool *p)
{
    const struct timespec tick = {.tv_nsec = 100000};
    if (p == NULL)
        return;
    for (unsigned i = 0; i < p->started; i++)
        (void)pthread_kill(p->threads[i], SIGUSR1);
    for (int i = 0; i < 1000 && atomic_load(&p->halted) != p->started; i++)
        (void)nanosleep(&tick, NULL);
}

unsigned eml_pool_threads(const struct eml_pool *pool)
{
    return pool ? pool->n_threads : 1;
}

void eml_pool_wipe(struct eml_pool *p)
{
    if (p && p->started != 0) {
        pthread_mutex_lock(&p->lock);
        p->wiped = 0;
        atomic_fetch_add(&p->wipes, 1);
        pthread_cond_broadcast(&p->work);
        while (p->wiped < p->started)
            pthread_cond_wait(&p->idle, &p->lock);
        pthread_mutex_unlock(&p->lock);
    }
    eml_wipe_stack();
}

void eml_pool_set_system(struct eml_pool *pool, struct eml_pool_system system)
{
    pool->system = system;
}

void eml_pool_follow(struct eml_pool *pool, const _Atomic uint32_t *most)
{
    pool->most = most;
}

/* Waits until nobody is inside the closed job, which began at `start`: its pieces are done and its
 * fields may change. Who came much later than the others takes part less often. */
static void await_idle(struct eml_pool *p, int64_t start)
{
    for (int i = 0; i < SPINS; i++) {
        if ((atomic_load(&p->state) & INSIDE) == 0)
            return;
        pause_cpu();
    }
    for (unsigned i = 1; i < p->n_threads; i++)
        p->members[i].left = NEVER; /* nobody writes it until caller_waits */
    atomic_store(&p->caller_waits, true);
    int64_t done = p->system.now_ns();
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->state) & INSIDE)
        pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
    atomic_store(&p->caller_waits, false);
    for (unsigned i = 1; i < p->n_threads; i++) {
        struct member *m = &p->members[i];
        if (m->left > done + (done - start) + STALL_NS)
            eml_pace_disturbed(&m->pace, m->left);
    }
}

/* Who works on the caller's own core does nothing that the caller could not do sooner. */
static void part_from_caller(struct eml_pool *p)
{
    for (unsigned i = 1; i < p->n_threads; i++)
        if (atomic_load_explicit(&p->members[i].beside, memory_order_relaxed))
            eml_pace_disturbed(&p->members[i].pace, p->system.now_ns());
}

/* What the caller's clock and processor time say at the start of a job, or shortly before. */
static void ask(struct eml_pool *p, int64_t now)
{
    if (now - p->asked < ASK_NS)
        return;
    p->asked = now;
    p->used = p->system.used_ns();
}

/* The caller shares its core with another process, while others of the pool go on: elsewhere it is
 * better off. It may come back here, when the system sees fit. */
static void leave_lost_core(struct eml_pool *p, int64_t start)
{
    int64_t now = p->system.now_ns();
    if (now - start <= LOST_NS || now - p->asked - (p->system.used_ns() - p->used) <= LOST_NS)
        return;
    p->asked = NEVER;
    int own = p->system.cpu();
    if (own >= 0 && p->system.move(own, NOWHERE))
        (void)p->system.move(NOWHERE, own);
}

/* Decides who takes part in the job that begins now. Returns how many, with the caller. */
static unsigned take_part(struct eml_pool *p, int64_t now)
{
    const unsigned most = p->most != NULL ? atomic_load(p->most) : p->n_threads;
    unsigned n = 1;
    for (unsigned i = 1; i < p->n_threads; i++) {
        struct member *m = &p->members[i];
        enum eml_pace_now next = i < most ? eml_pace_next(&m->pace, now) : EML_PACE_REST;
        atomic_store_explicit(&m->until, next == EML_PACE_TURN ? m->pace.turn_end : ALWAYS,
                              memory_order_relaxed);
        if (next != atomic_load_explicit(&m->now, memory_order_relaxed))
            atomic_store(&m->now, next);
        n += next != EML_PACE_REST;
    }
    return n;
}

static void alone(int64_t n, int64_t grain, eml_pool_fn *f, void *arg)
{
    for (int64_t i = 0; i < n; i += grain)
        f(arg, i, n - i < grain ? n : i + grain, 0);
}

/* A job that began at `start`, for so many threads. */
static void share(struct eml_pool *p, int64_t n, int64_t grain, eml_pool_fn *f, void *arg,
                  unsigned threads, int64_t start)
{
    p->f = f;
    p->arg = arg;
    p->grain = grain;
    cut(p, n, threads);
    atomic_store_explicit(&p->caller_cpu, p->system.cpu(), memory_order_relaxed);
    ask(p, start);
    uint64_t job = ((atomic_load(&p->state) & ~OPEN) + JOB) & ~OPEN;
    atomic_store(&p->state, job | OPEN);
    if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->work);
        pthread_mutex_unlock(&p->lock);
    }
    claim(p, 0);
    atomic_fetch_and(&p->state, ~OPEN);
    leave_lost_core(p, start);
    await_idle(p, start);
    part_from_caller(p);
}

void eml_pool_for(struct eml_pool *p, int64_t n, int64_t grain, eml_pool_fn *f, void *arg)
{
    if (grain < 1)
        grain = 1;
    if (!p || p->n_threads == 1 || n <= grain) {
        alone(n, grain, f, arg);
        return;
    }
    int64_t start = p->system.now_ns();
    unsigned threads = take_part(p, start);
    if (threads == 1)
        alone(n, grain, f, arg);
    else
        share(p, n, grain, f, arg, threads, start);
}
