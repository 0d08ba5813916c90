#include "base/log.h"
#include "enclave/broker_state.h"
#include "net/net.h"

#include <signal.h>
#include <sys/wait.h>

/* An exit status is a class; a death by signal is this machine's. */
static enum eml_err class_of(int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) <= EML_E_SYSTEM)
        return (enum eml_err)WEXITSTATUS(status);
    return EML_E_SYSTEM;
}

static void fetcher_ended(struct eml_broker *b, struct eml_cache_entry *e, pid_t pid,
                          enum eml_err err)
{
    if (err == EML_OK)
        err = eml_cache_ready(&b->cache, e);
    else
        eml_cache_drop(&b->cache, e);
    for (size_t i = 0; i < b->sessions.n; i++) {
        struct eml_session *s = &b->sessions.entry[i];
        if (s->pid == 0 || s->waits_for != pid)
            continue;
        s->waits_for = 0;
        if (err == EML_OK)
            eml_broker_answer(s, EML_OK, EML_BYTES(e->digest), e->fd);
        else
            eml_broker_answer(s, err, (struct eml_bytes){0}, -1);
    }
    if (err == EML_OK && e->doomed)
        eml_cache_drop(&b->cache, e);
}

/* The end of a worker, with what made it end. */
static void session_ended(struct eml_broker *b, struct eml_session *s, enum eml_err err, int signal)
{
    int64_t ms = eml_net_now_ms() - s->start_ms;
    eml_log_event("session.end", err, {"session", (int64_t)s->number}, {"ms", ms},
                  {"signal", signal});
    if (s->over != 0)
        eml_broker_record_budget(b, s, s->over);
    if (signal == SIGXCPU)
        eml_broker_record_budget(b, s, EML_BUDGET_PROCESSOR);
    else if (signal == SIGSYS)
        eml_broker_record_violation(b, s, EML_VIOLATION_CALL, err, signal);
    else if (signal != 0 && signal != SIGKILL)
        eml_broker_record_violation(b, s, EML_VIOLATION_CRASH, err, signal);
    (void)eml_broker_record(b, s,
                            (struct eml_record){.event = EML_EVENT_SESSION_CLOSE,
                                                .outcome = err,
                                                .number = {(uint64_t)ms, (uint64_t)signal}});
    eml_session_free(s);
}

void eml_broker_child_ended(struct eml_broker *b, pid_t pid, int status)
{
    enum eml_err err = class_of(status);
    struct eml_cache_entry *e = eml_cache_fetched_by(&b->cache, pid);
    if (e != NULL) {
        eml_log_event("fetch", err, {"bytes", (int64_t)e->size});
        if (err != EML_OK)
            eml_broker_record_error(b, EML_ERROR_FETCH, err);
        fetcher_ended(b, e, pid, err);
        return;
    }
    if (eml_spare_ended(b, pid)) {
        eml_log_event("spare.end", err, {"signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0});
        return;
    }
    for (size_t i = 0; i < b->sessions.n; i++) {
        struct eml_session *s = &b->sessions.entry[i];
        if (s->pid == pid) {
            session_ended(b, s, err, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        } else if (s->pid != 0 && s->waits_for == pid) {
            /* A connector: it has answered itself if it had something to give. */
            s->waits_for = 0;
            if (err != EML_OK)
                eml_broker_answer(s, err, (struct eml_bytes){0}, -1);
        }
    }
}
