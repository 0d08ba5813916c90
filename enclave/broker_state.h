/* What the files of the broker share: its state, and what they do for each other.
 *
 * broker.c starts it and holds the poll loop, broker_spare.c workers that wait for a client,
 * broker_ask.c what a worker may ask, broker_child.c the ends of children, broker_record.c what
 * goes into the audit log. One thread, so no locks.
 */
#ifndef EML_ENCLAVE_BROKER_STATE_H
#define EML_ENCLAVE_BROKER_STATE_H

#include "crypto/crypto.h"
#include "enclave/audit_log.h"
#include "enclave/broker.h"
#include "enclave/cache.h"
#include "enclave/limits.h"
#include "enclave/session_table.h"
#include "enclave/share.h"
#include "nsm/nsm.h"

struct eml_broker {
    const struct eml_options *options;
    const struct eml_program *program;
    struct eml_nsm *nsm;
    struct eml_ed25519_sk key; /* the enclave's (secret): signs receipts and checkpoints; its pk is
                                * the public_key of documents */
    struct eml_rsa *rsa;       /* NULL: no KMS */
    struct eml_buf spki;
    struct eml_cache cache;
    struct eml_session_table sessions;
    struct eml_share share;
    struct eml_audit_log *log;
    struct eml_spare {
        pid_t pid; /* 0: none */
        int sock;
    } spare[EML_SPARE_WORKERS]; /* workers that wait for a client; each gets one, and ends with it
                                 */
    int listener, signals;
    bool stopping, lost;    /* lost: because a record could not be kept */
    int64_t tired_until_ms; /* no descriptors left: let the listener rest */
};

/* --- broker_record.c: the audit log --- */
/* Appends a record of session s, or of none (NULL); its index, unless b->lost: a record that cannot
 * be kept ends the service, and nothing happens unseen. */
uint64_t eml_broker_record(struct eml_broker *b, const struct eml_session *s, struct eml_record r);
void eml_broker_record_budget(struct eml_broker *b, const struct eml_session *s,
                              enum eml_budget_kind kind);
/* signal: the one that it died of, or 0. */
void eml_broker_record_violation(struct eml_broker *b, const struct eml_session *s,
                                 enum eml_violation kind, enum eml_err outcome, int signal);
void eml_broker_record_error(struct eml_broker *b, enum eml_error_place place,
                             enum eml_err outcome);
void eml_broker_record_destruction(struct eml_broker *b, const struct eml_session *s,
                                   const struct eml_ipc_request *r);
/* What happened in a request, in the order in which it did; the index of the last record, the
 * inference's, unless b->lost. The host learns of a receipt and a model no more than a digest. */
uint64_t eml_broker_record_request(struct eml_broker *b, const struct eml_session *s,
                                   enum eml_err outcome, const struct eml_ipc_request *r,
                                   const struct eml_sha256 *receipt);

/* --- broker_spare.c: workers started ahead --- */
/* Starts what is missing. Failure is no event: the session that would have had it starts its own.
 */
void eml_spare_fill(struct eml_broker *b);
/* Gives the client to a spare worker, or to a new one. The caller keeps its descriptor; *sock is
 * the broker's end, -1 on failure. */
EML_MUST enum eml_err eml_spare_serve(struct eml_broker *b, int client, pid_t *pid, int *sock);
/* Whether it was a spare one that ended; forgets it. */
bool eml_spare_ended(struct eml_broker *b, pid_t pid);
/* Ends all; they hold nothing yet. */
void eml_spare_stop(struct eml_broker *b);

/* --- broker_ask.c: what a worker may ask --- */
/* Reads one message of s and deals with it. */
void eml_broker_hear(struct eml_broker *b, struct eml_session *s);
/* After the log's turn: makes the receipts whose records are on their way to the host, which is at
 * work for longer than that takes. */
void eml_broker_make_receipts(struct eml_broker *b);
/* After that: answers reports that became durable, or that will not. */
void eml_broker_answer_reports(struct eml_broker *b);
/* Answers the question of s: body and a descriptor (-1: none) with EML_OK, else the class alone. A
 * worker that does not take it is killed. */
void eml_broker_answer(struct eml_session *s, enum eml_err err, struct eml_bytes body, int fd);
/* Appends a new document to *out. */
EML_MUST enum eml_err eml_broker_get_document(struct eml_broker *b,
                                              const struct eml_nsm_attest_args *args,
                                              struct eml_buf *out);

/* --- broker_child.c: children that ended --- */
/* A worker, fetcher or connector, as waitpid tells it. */
void eml_broker_child_ended(struct eml_broker *b, pid_t pid, int status);

#endif
