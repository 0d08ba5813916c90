#include "auditlog/stats.h"

#include <string.h>

enum { DAY_MS = 86400000 };

static void add_time(struct eml_stats_times *t, uint64_t us)
{
    unsigned bucket = 0;
    while (us >> bucket > 1 && bucket < EML_STATS_BUCKETS - 1)
        bucket++;
    t->bucket[bucket]++;
    t->n++;
    t->sum += us;
    if (us > t->max)
        t->max = us;
}

uint64_t eml_stats_median(const struct eml_stats_times *t)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < EML_STATS_BUCKETS; i++) {
        seen += t->bucket[i];
        if (seen * 2 >= t->n && seen != 0)
            return (uint64_t)2 << i;
    }
    return 0;
}

uint64_t eml_stats_events(const struct eml_stats *s, enum eml_event e)
{
    return s->count[e][EML_OK] + eml_stats_failed(s, e);
}

uint64_t eml_stats_failed(const struct eml_stats *s, enum eml_event e)
{
    uint64_t n = 0;
    for (size_t i = EML_OK + 1; i < EML_STATS_OUTCOMES; i++)
        n += s->count[e][i];
    return n;
}

static struct eml_stats_day *day_of(struct eml_stats *s, uint64_t time_ms)
{
    uint64_t day = time_ms / DAY_MS;
    struct eml_stats_day *d = &s->day[(s->n_days + EML_STATS_DAYS - 1) % EML_STATS_DAYS];
    if (s->n_days == 0 || d->day != day) {
        d = &s->day[s->n_days++ % EML_STATS_DAYS];
        *d = (struct eml_stats_day){.day = day};
    }
    return d;
}

static struct eml_stats_session *session_of(struct eml_stats *s, uint64_t number)
{
    for (size_t i = 0; i < s->n_open; i++)
        if (s->open[i].number == number)
            return &s->open[i];
    return NULL;
}

static void take_boot(struct eml_stats *s, const struct eml_record *r)
{
    struct eml_stats_boot *b = &s->boot[s->n_boots++ % EML_STATS_BOOTS];
    *b = (struct eml_stats_boot){.sequence = r->sequence, .time_ms = r->time_ms};
    memcpy(b->key, r->bytes[EML_BOOT_KEY].ptr, sizeof b->key);
    memcpy(b->document, r->bytes[EML_BOOT_DOCUMENT].ptr, sizeof b->document);
    s->n_open = 0;
}

static void take_close(struct eml_stats *s, const struct eml_record *r)
{
    struct eml_stats_session *o = session_of(s, r->session);
    if (o == NULL)
        return;
    o->outcome = r->outcome;
    o->duration_ms = r->number[0];
    s->session[s->n_sessions++ % EML_STATS_SESSIONS] = *o;
    *o = s->open[--s->n_open];
}

static void take_model(struct eml_stats *s, const struct eml_record *r)
{
    struct eml_bytes digest = r->bytes[EML_INFERENCE_MODEL];
    size_t i = 0;
    if (digest.len == 0) {
        s->inferences_without_model++;
        return;
    }
    while (i < s->n_models && memcmp(s->model[i].digest, digest.ptr, digest.len) != 0)
        i++;
    if (i == EML_STATS_MODELS) {
        s->inferences_of_other_models++;
        return;
    }
    struct eml_stats_model *m = &s->model[i];
    if (i == s->n_models) {
        s->n_models++;
        m->first_ms = r->time_ms;
        memcpy(m->digest, digest.ptr, sizeof m->digest);
    }
    m->inferences++;
    m->failed += r->outcome != EML_OK ? 1 : 0;
    m->last_ms = r->time_ms;
}

static void take_inference(struct eml_stats *s, const struct eml_record *r)
{
    struct eml_stats_session *o = session_of(s, r->session);
    struct eml_stats_day *d = day_of(s, r->time_ms);
    bool bad = r->outcome != EML_OK;
    d->inferences++;
    d->failed += bad ? 1 : 0;
    s->receipts += r->bytes[EML_INFERENCE_RECEIPT].len != 0 ? 1 : 0;
    if (!bad)
        add_time(&s->run, r->number[0]);
    take_model(s, r);
    if (o != NULL) {
        o->inferences++;
        o->failed += bad ? 1 : 0;
    }
}

static void take_destruction(struct eml_stats *s, const struct eml_record *r)
{
    struct eml_stats_session *o = session_of(s, r->session);
    s->wiped_bytes += r->number[0];
    add_time(&s->wipe, r->number[1]);
    if (r->number[2] != 0)
        add_time(&s->exposure, r->number[2]);
    if (o != NULL && r->number[2] > o->exposure_us)
        o->exposure_us = r->number[2];
}

static bool is_notable(const struct eml_record *r)
{
    switch (r->event) {
    case EML_EVENT_VIOLATION:
    case EML_EVENT_BUDGET:
    case EML_EVENT_ERROR:
        return true;
    case EML_EVENT_ATTESTATION:
    case EML_EVENT_KMS:
    case EML_EVENT_INFERENCE:
        return r->outcome != EML_OK;
    default:
        return false;
    }
}

void eml_stats_take(void *ctx, const struct eml_record *r)
{
    struct eml_stats *s = ctx;
    s->count[r->event][r->outcome]++;
    if (r->event == EML_EVENT_BOOT) {
        take_boot(s, r);
    } else if (r->event == EML_EVENT_SESSION_OPEN) {
        day_of(s, r->time_ms)->sessions++;
        if (s->n_open < EML_STATS_OPEN)
            s->open[s->n_open++] = (struct eml_stats_session){
                .boot = r->boot, .number = r->session, .opened_ms = r->time_ms};
    } else if (r->event == EML_EVENT_SESSION_CLOSE) {
        take_close(s, r);
    } else if (r->event == EML_EVENT_INFERENCE) {
        take_inference(s, r);
    } else if (r->event == EML_EVENT_DESTRUCTION) {
        take_destruction(s, r);
    }
    if (!is_notable(r))
        return;
    day_of(s, r->time_ms)->notable++;
    if (s->n_notable < EML_STATS_NOTABLE)
        s->notable[s->n_notable] = (struct eml_stats_notable){
            r->sequence, r->time_ms, r->session, {r->number[0], r->number[1]},
            r->event,    r->outcome};
    s->n_notable++;
}
