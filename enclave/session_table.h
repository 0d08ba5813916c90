/* The sessions that the broker knows: one worker process each, with its socket and its times. */
#ifndef EML_ENCLAVE_SESSION_TABLE_H
#define EML_ENCLAVE_SESSION_TABLE_H

#include "audit/record.h"
#include "enclave/notary.h"

#include <sys/types.h>

struct eml_session {
    pid_t pid;              /* 0: free */
    int sock;               /* -1: the worker closed it */
    pid_t waits_for;        /* the fetcher or connector whose end answers its question; 0: none */
    unsigned host_connects; /* since the last request began */
    uint64_t number;        /* counts from 1; for the log */
    int64_t start_ms;
    int64_t end_ms;     /* of the session, whatever it does */
    int64_t request_ms; /* of the request that runs; INT64_MAX: none */
    bool told_to_end;   /* SIGTERM was sent; next is SIGKILL */
    struct eml_notary notary;
    enum eml_budget_kind over; /* the time that it was told to end for; 0: none */
    /* Its report is answered when so many records are durable, the last of which is the
     * inference's; 0: none is due. */
    uint64_t durable_at;
    int64_t reported_us; /* when the report came; monotonic */
    bool succeeded;      /* what it reported: the answer is a receipt */
    /* Made while the host writes, and kept back until it has; empty: not made. */
    struct eml_buf receipt;
    /* Of the request that runs: it has a document for KMS and no key yet; the broker has refused it
     * something, and recorded that where it is to be. */
    bool kms_due, refused;
};

struct eml_session_table {
    struct eml_session *entry;
    size_t n;
    uint64_t started;
};

EML_MUST enum eml_err eml_session_table_make(struct eml_session_table *t, size_t n);
/* Closes sockets; processes are the caller's. */
void eml_session_table_free(struct eml_session_table *t);
size_t eml_session_count(const struct eml_session_table *t);
/* There must be a free entry. Takes the socket. */
struct eml_session *eml_session_new(struct eml_session_table *t, pid_t pid, int sock,
                                    int64_t now_ms, int64_t end_ms);
/* A request begins; one that begins while another runs only moves the end of that. */
void eml_session_begin(struct eml_session *s, int64_t request_end_ms);
void eml_session_rest(struct eml_session *s);
/* Of `threads`, what each session gets among which a request runs now: alone all, so that it is
 * soon done; beside others its share, at least one, so that all together get most done. */
uint64_t eml_session_share(const struct eml_session_table *t, uint64_t threads);
void eml_session_kill(const struct eml_session *s, int signal);
/* SIGTERM, after which the worker wipes and exits; SIGKILL follows EML_STOP_MS later. */
void eml_session_end(struct eml_session *s, int64_t now_ms);
/* Ends what is over its time. Returns when to look again. */
int64_t eml_session_tick(struct eml_session_table *t, int64_t now_ms);
void eml_session_free(struct eml_session *s);

#endif
