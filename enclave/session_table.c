#include "enclave/session_table.h"

#include "enclave/limits.h"
#include "net/net.h"

#include <signal.h>
#include <stdlib.h>

enum eml_err eml_session_table_make(struct eml_session_table *t, size_t n)
{
    *t = (struct eml_session_table){.entry = calloc(n, sizeof *t->entry)};
    if (t->entry == NULL)
        return EML_E_SYSTEM;
    t->n = n;
    return EML_OK;
}

void eml_session_table_free(struct eml_session_table *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->entry[i].pid != 0)
            eml_session_free(&t->entry[i]);
    free(t->entry);
    *t = (struct eml_session_table){0};
}

size_t eml_session_count(const struct eml_session_table *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += t->entry[i].pid != 0;
    return n;
}

struct eml_session *eml_session_new(struct eml_session_table *t, pid_t pid, int sock,
                                    int64_t now_ms, int64_t end_ms)
{
    size_t i = 0;
    while (i < t->n && t->entry[i].pid != 0)
        i++;
    EML_ASSERT(i < t->n);
    t->entry[i] = (struct eml_session){.pid = pid,
                                       .sock = sock,
                                       .number = ++t->started,
                                       .start_ms = now_ms,
                                       .end_ms = end_ms,
                                       .request_ms = INT64_MAX};
    return &t->entry[i];
}

void eml_session_begin(struct eml_session *s, int64_t request_end_ms)
{
    if (s->request_ms == INT64_MAX)
        s->host_connects = 0;
    s->request_ms = request_end_ms;
}

void eml_session_rest(struct eml_session *s)
{
    s->request_ms = INT64_MAX;
}

uint64_t eml_session_share(const struct eml_session_table *t, uint64_t threads)
{
    uint64_t busy = 0;
    for (size_t i = 0; i < t->n; i++)
        busy += t->entry[i].pid != 0 && t->entry[i].request_ms != INT64_MAX;
    if (busy <= 1)
        return threads;
    return busy < threads ? threads / busy : 1;
}

void eml_session_kill(const struct eml_session *s, int signal)
{
    /* It has not been waited for, so the number is still its own. */
    (void)kill(s->pid, signal);
}

void eml_session_end(struct eml_session *s, int64_t now_ms)
{
    eml_session_kill(s, s->told_to_end ? SIGKILL : SIGTERM);
    s->told_to_end = true;
    s->end_ms = now_ms + EML_STOP_MS;
    s->request_ms = INT64_MAX;
}

int64_t eml_session_tick(struct eml_session_table *t, int64_t now_ms)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < t->n; i++) {
        struct eml_session *s = &t->entry[i];
        if (s->pid == 0)
            continue;
        bool session_over = now_ms >= s->end_ms, request_over = now_ms >= s->request_ms;
        if (!s->told_to_end && (session_over || request_over))
            s->over = session_over ? EML_BUDGET_SESSION_TIME : EML_BUDGET_REQUEST_TIME;
        if (session_over || request_over)
            eml_session_end(s, now_ms);
        if (s->end_ms < next)
            next = s->end_ms;
        if (s->request_ms < next)
            next = s->request_ms;
    }
    return next;
}

void eml_session_free(struct eml_session *s)
{
    eml_net_close(&s->sock);
    eml_notary_drop(&s->notary);
    eml_buf_free(&s->receipt);
    *s = (struct eml_session){.sock = -1};
}
