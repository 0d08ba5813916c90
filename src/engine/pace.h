/* When one of a pool's threads takes part while another process wants its core.
 *
 * The system takes a core from a thread that has used up its slice, for some milliseconds, and if
 * the thread has a piece just then all others wait for it: two threads are slower than one. A
 * thread that sleeps before its slice is used up is not interrupted, and gets the core back at once
 * if the other process has had it for a slice. So after a disturbance a thread works in turns of
 * EML_PACE_TURN_NS with rests between. Each disturbance of a turn makes the rests twice as long; a
 * few turns without any make them shorter again, until there are none. A few more each time that
 * the next disturbance then follows soon: it costs as much as turns gain in some milliseconds.
 *
 * Numbers only: the caller tells the time (ns, never going back).
 */
#ifndef EML_ENGINE_PACE_H
#define EML_ENGINE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define EML_PACE_CHANCE_NS INT64_C(200000000)
/* Shorter than the slice of Linux's scheduler, 1.4 ms with two CPUs, more with more. */
#define EML_PACE_TURN_NS INT64_C(1000000)
/* Longer than that slice. */
#define EML_PACE_REST_LEAST_NS INT64_C(2000000)
/* Short, and soon over: another engine's idle threads that spin for a few milliseconds, or a thread
 * that the system has put on the wrong core, must not cost whole runs. */
#define EML_PACE_REST_MOST_NS INT64_C(4000000)
/* So many turns without a disturbance halve the rests: at first, and at most. */
#define EML_PACE_GOOD_TURNS 2u
#define EML_PACE_GOOD_TURNS_MOST 32u

struct eml_pace {
    int64_t chance_end; /* of the time in which the next disturbance counts */
    int64_t rest;       /* how long; 0: no rests */
    int64_t rest_end;   /* of the last rest */
    int64_t turn_end;   /* of the turn after it; 0: not begun */
    unsigned good;      /* turns */
    unsigned turns;     /* that halve the rests */
};

enum eml_pace_now {
    EML_PACE_FREE = 0, /* nothing disturbs it */
    EML_PACE_TURN = 1,
    EML_PACE_REST = 2,
};

/* What the thread does in the job that begins now. *p of zeros is FREE. */
enum eml_pace_now eml_pace_next(struct eml_pace *p, int64_t now);

/* Others waited for it, or it only took turns on the caller's own core. */
void eml_pace_disturbed(struct eml_pace *p, int64_t now);

#endif
