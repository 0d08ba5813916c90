/* The broker's end of the audit log: takes records, signs, and has the host keep them.
 *
 * Group commit: what was appended since the last commit goes out as one batch: entries, hashes, a
 * checkpoint signed with the enclave's key; one message to the host's sink, one at a time. When the
 * host says that it is on disk, all records of the batch are durable at once. The tree's peaks and
 * the batch on its way are all that is kept.
 *
 * Never waits, but for eml_audit_log_start. A sink that breaks off is dialled again and given the
 * same batch once more, byte for byte; one that shows another log than was acknowledged is not
 * written to. Meanwhile records queue up; eml_audit_log_health tells when that has lasted too long,
 * and appending fails when the queue is full. No record is dropped.
 */
#ifndef EML_ENCLAVE_AUDIT_LOG_H
#define EML_ENCLAVE_AUDIT_LOG_H

#include "audit/record.h"
#include "crypto/crypto.h"

#include <poll.h>

struct eml_audit_log;

struct eml_audit_log_config {
    const struct eml_ed25519_sk *key; /* secret; signs checkpoints; borrowed for the log's life */
    /* An attestation document whose public_key is that key; borrowed during start only. */
    struct eml_bytes document;
    uint64_t limits[6]; /* numbers of the boot record, as audit/record.h names them */
    /* Begins to connect to the host's service port: returns a descriptor from which eml_ipc_recv
     * will read {EML_OK} with the connection, or -1. The log closes it. */
    int (*dial)(void *ctx);
    void *ctx;
};

/* Asks the sink what it has, and continues that log with a boot record (or begins a new log).
 * Returns when the boot record is durable. EML_E_NET: no answer within timeout_ms; EML_E_INPUT:
 * what the host shows is no log; EML_E_REFUSED: the host keeps no log, or has no room. *out is NULL
 * on failure. */
EML_MUST enum eml_err eml_audit_log_start(const struct eml_audit_log_config *c, int64_t timeout_ms,
                                          struct eml_audit_log **out, struct eml_why *why);
void eml_audit_log_free(struct eml_audit_log *log); /* NULL is allowed; what is queued is lost */

/* Queues a record; sequence, time and boot are set here. *index (may be NULL): where it will stand.
 * EML_E_NET: the queue is full, since the host takes none. On failure the queue is as it was. */
EML_MUST enum eml_err eml_audit_log_append(struct eml_audit_log *log, const struct eml_record *r,
                                           uint64_t *index);

/* For the poll loop: fills p; returns when to call turn at the latest (INT64_MAX: no need). */
int64_t eml_audit_log_poll(const struct eml_audit_log *log, struct pollfd *p);
/* After poll, always (p->revents may be 0): reads answers, sends, dials again. Also sends what was
 * appended since. Without memory all stays as it is, to be tried again. */
void eml_audit_log_turn(struct eml_audit_log *log, const struct pollfd *p);

/* Half of the queue is free: new sessions may begin. The other half is for those that are there. */
bool eml_audit_log_room(const struct eml_audit_log *log);
/* All that was appended is durable. */
bool eml_audit_log_settled(const struct eml_audit_log *log);
/* Records with an index below this are in a signed batch, on its way to the host or already there.
 */
uint64_t eml_audit_log_signed(const struct eml_audit_log *log);
/* Records with an index below this are on the host's disk. */
uint64_t eml_audit_log_durable(const struct eml_audit_log *log);
/* EML_OK, or why reports that are not durable fail: the host does not answer (EML_E_NET), has no
 * room (EML_E_REFUSED), or shows another log (EML_E_INPUT); or there is no memory (EML_E_SYSTEM).
 */
EML_MUST enum eml_err eml_audit_log_health(const struct eml_audit_log *log);

/* Appends a record of the batch that is on its way, or else of the one that became durable last, as
 * it stands in the log, and its proof file (audit/proof.h): both go into a receipt. EML_E_USAGE for
 * others. The proof holds before the record is durable: who makes it early keeps it back. */
EML_MUST enum eml_err eml_audit_log_proof(const struct eml_audit_log *log, uint64_t index,
                                          struct eml_buf *entry, struct eml_buf *proof);
/* The log's origin, which is the name of its key; borrowed for the log's life. Receipts name it. */
struct eml_bytes eml_audit_log_origin(const struct eml_audit_log *log);

#endif
