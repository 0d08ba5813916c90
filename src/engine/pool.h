/* The thread pool's one operation: a parallel for whose pieces are claimed as threads get to them.
 *
 * The calling thread takes part; other threads join when they are awake and find the job open, so
 * that a thread which the system holds back never holds up the job unless it already has a piece.
 * Between jobs threads spin for a bounded time and then sleep. A thread that the system puts on the
 * caller's core goes to another one, and stays away from there; a caller that has to share its core
 * leaves it to the others. A thread that is held back with a piece, or that has no other core than
 * the caller's, takes part less often from then on (engine/pace.h); while none takes part the
 * caller works alone, and wakes nobody.
 */
#ifndef EML_ENGINE_POOL_H
#define EML_ENGINE_POOL_H

#include "engine/engine.h"

/* Works on [begin, end); `thread` < eml_pool_threads, 0 the caller's. Results must not depend on
 * which thread runs a piece. */
typedef void eml_pool_fn(void *arg, int64_t begin, int64_t end, unsigned thread);

/* Runs f over [0, n), cut at the multiples of `grain` (at least 1; the same cuts for any number of
 * threads), and returns when all is done; all writes of f are visible then. n <= 0 does nothing. A
 * NULL pool runs everything on the caller. f must not call it with the same pool. */
void eml_pool_for(struct eml_pool *pool, int64_t n, int64_t grain, eml_pool_fn *f, void *arg);

/* Each thread, and the caller, wipes what its calls have left on its stack; returns when all have.
 * Not within a job. */
void eml_pool_wipe(struct eml_pool *pool);

/* What it asks of the system, from any of its threads. Tests have one of their own.
 * now_ns: never going back. used_ns: processor time of the calling thread. cpu: the number of the
 * CPU that it is on, -1 if unknown. move: keeps it off CPU `off` and lets it run on `on` again; -1
 * for neither; false, and nothing is changed, if the system refuses or has no other CPU for it. */
struct eml_pool_system {
    int64_t (*now_ns)(void);
    int64_t (*used_ns)(void);
    int (*cpu)(void);
    bool (*move)(int off, int on);
};
void eml_pool_set_system(struct eml_pool *pool, struct eml_pool_system system);

#endif
