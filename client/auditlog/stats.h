/* What a report tells of a log, gathered record by record with memory that does not grow: counts
 * are of all records; lists keep a part, and say of how many. */
#ifndef EML_AUDITLOG_STATS_H
#define EML_AUDITLOG_STATS_H

#include "audit/record.h"

#define EML_STATS_BOOTS 64u     /* the last ones */
#define EML_STATS_SESSIONS 100u /* the last ones that were closed */
#define EML_STATS_NOTABLE 200u  /* the first ones */
#define EML_STATS_MODELS 64u    /* the first ones */
#define EML_STATS_DAYS 62u      /* the last ones with records */
#define EML_STATS_OPEN 1024u    /* sessions at once */
#define EML_STATS_OUTCOMES (EML_E_SYSTEM + 1)
#define EML_STATS_BUCKETS 40u /* of durations: bucket i holds [2^i, 2^(i+1)) microseconds */

struct eml_stats_times { /* microseconds */
    uint64_t n, sum, max, bucket[EML_STATS_BUCKETS];
};
/* The bound below which half of them lie, by bucket; 0 if there is none. */
uint64_t eml_stats_median(const struct eml_stats_times *t);

struct eml_stats_session {
    uint64_t boot, number, opened_ms, duration_ms, inferences, failed, exposure_us;
    enum eml_err outcome;
};
struct eml_stats_boot {
    uint64_t sequence, time_ms;
    uint8_t key[32], document[32];
};
struct eml_stats_notable { /* refusals, violations, budgets, errors, crashed sessions */
    uint64_t sequence, time_ms, session, number[2];
    enum eml_event event;
    enum eml_err outcome;
};
struct eml_stats_model {
    uint8_t digest[32];
    uint64_t inferences, failed, first_ms, last_ms;
};
struct eml_stats_day {
    uint64_t day; /* since 1970 */
    uint64_t sessions, inferences, failed, notable;
};

struct eml_stats {
    uint64_t count[EML_EVENT_N][EML_STATS_OUTCOMES];
    uint64_t wiped_bytes, receipts;
    struct eml_stats_times exposure, run, wipe;
    struct eml_stats_boot boot[EML_STATS_BOOTS]; /* ring; so is session, so are days */
    struct eml_stats_session session[EML_STATS_SESSIONS];
    struct eml_stats_day day[EML_STATS_DAYS];
    struct eml_stats_notable notable[EML_STATS_NOTABLE];
    struct eml_stats_model model[EML_STATS_MODELS];
    uint64_t n_boots, n_sessions, n_days, n_notable; /* of all, not of those kept */
    size_t n_models;
    uint64_t inferences_of_other_models, inferences_without_model;
    struct eml_stats_session open[EML_STATS_OPEN];
    size_t n_open;
};

/* For eml_log_options.on_record; ctx: a struct eml_stats, zeroed at first (it is large). */
void eml_stats_take(void *ctx, const struct eml_record *r);
uint64_t eml_stats_events(const struct eml_stats *s, enum eml_event e); /* of all outcomes */
uint64_t eml_stats_failed(const struct eml_stats *s, enum eml_event e); /* of all but OK */

#endif
