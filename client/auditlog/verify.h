/* The audit log, verified offline from its directory: one pass over all records, with memory that
 * does not grow with them. Trusts neither the host that kept it nor its file system.
 *
 * What is shown: every record is in the tree that was signed, in order and without a gap; every
 * part of the log is signed by the key of the enclave start that wrote it, and that key stands in
 * an attestation document that the policy accepts (at the time that the record tells); restarts are
 * visible; and, with a checkpoint from an earlier time, that the log only grew since.
 * What a log alone cannot show: that the host does not present an older state of it. Hence the
 * remembered checkpoint.
 */
#ifndef EML_AUDITLOG_VERIFY_H
#define EML_AUDITLOG_VERIFY_H

#include "attest/attest.h"
#include "audit/note.h"
#include "audit/record.h"

/* What is checked, in the order of a report. */
enum eml_log_check {
    EML_LOG_CHECKPOINT, /* can be read */
    EML_LOG_FILES,      /* every tile and bundle is there, whole */
    EML_LOG_INCLUSION,  /* every entry has its hash in the tree, up to the signed root */
    EML_LOG_RECORDS,    /* every entry is a canonical record */
    EML_LOG_ORDER,      /* no gap in the numbers, no step back in time within a boot */
    EML_LOG_SESSIONS,   /* numbered without gap; nothing before they open or after they close */
    EML_LOG_BOOTS,      /* each continues the log that the one before signed */
    EML_LOG_ATTESTED,   /* each boot's key stands in a document that the policy accepts */
    EML_LOG_SIGNATURES, /* each part is signed by the key of its boot */
    EML_LOG_REMEMBERED, /* the log contains the one that an earlier checkpoint signed */
    EML_LOG_CHECKS_N
};
enum eml_log_result { EML_LOG_NOT_REACHED, EML_LOG_PASSED, EML_LOG_FAILED, EML_LOG_NOT_ASKED };
/* "order: ..."; a literal. */
const char *eml_log_check_text(enum eml_log_check c);

struct eml_log_options {
    const struct eml_policy *policy; /* NULL: documents are not judged */
    struct eml_bytes remembered;     /* an earlier checkpoint; ptr NULL: none */
    /* Called for each record that is in its tile and in order, before the root is known to be the
     * signed one. May be NULL. */
    void (*on_record)(void *ctx, const struct eml_record *r);
    void *ctx;
};

struct eml_log_report {
    enum eml_log_result check[EML_LOG_CHECKS_N];
    uint64_t size;                      /* that the checkpoint claims */
    uint64_t records;                   /* read */
    uint64_t boots, sessions, unclosed; /* unclosed: sessions that a boot did not live to close */
    uint64_t first_ms, last_ms;
    char origin[EML_NOTE_NAME_MAX + 1];
    struct eml_sha256 root;
    struct eml_buf checkpoint; /* as it stands in the directory: to be remembered; owned */
};

/* EML_E_USAGE: no such directory. Otherwise the class of the first rule that is broken, with the
 * rule and the record's (or tile's) index in *why; the report says how far it came in every case.
 */
EML_MUST enum eml_err eml_log_verify(const char *dir, const struct eml_log_options *o,
                                     struct eml_log_report *report, struct eml_why *why);
void eml_log_report_free(struct eml_log_report *r);

#endif
