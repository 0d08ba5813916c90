/* One event of the audit log, in canonical CBOR (docs/formats/audit-log.md).
 *
 * Ids, numbers and classes only; never data, names or anything of a model's structure. What an
 * event carries is a row of one table: so many numbers with these names, so many byte strings of
 * these lengths. decode(x) ok implies encode(decode(x)) == x.
 */
#ifndef EML_AUDIT_RECORD_H
#define EML_AUDIT_RECORD_H

#include "base/cur.h"

enum eml_event {
    EML_EVENT_BOOT = 1,      /* an enclave began to write; its key signs from here on */
    EML_EVENT_ATTESTATION,   /* a document was given to a session, or refused */
    EML_EVENT_SESSION_OPEN,  /* a connection got its worker */
    EML_EVENT_SESSION_CLOSE, /* the worker ended; outcome: of the session */
    EML_EVENT_KMS,           /* a key from KMS was unwrapped, or not */
    EML_EVENT_ASSEMBLY,      /* a model was put together */
    EML_EVENT_INFERENCE,     /* a request was answered; outcome: what the client was told */
    EML_EVENT_DESTRUCTION,   /* secrets were wiped */
    EML_EVENT_VIOLATION,     /* a worker did what it must not */
    EML_EVENT_BUDGET,        /* a limit was reached */
    EML_EVENT_ERROR,         /* something of the broker's failed */
    EML_EVENT_N
};

/* number[0] of EML_EVENT_ATTESTATION */
enum eml_attestation_use { EML_ATTESTATION_SESSION = 1, EML_ATTESTATION_KMS = 2 };
/* number[0] of EML_EVENT_VIOLATION */
enum eml_violation {
    EML_VIOLATION_MESSAGE = 1, /* what a worker may not say */
    EML_VIOLATION_CALL = 2,    /* a system call that the sandbox forbids */
    EML_VIOLATION_CRASH = 3,   /* another signal */
    EML_VIOLATION_WEIGHTS = 4, /* what the host gave is not authentic */
};
/* number[0] of EML_EVENT_BUDGET */
enum eml_budget_kind {
    EML_BUDGET_SESSION_TIME = 1,
    EML_BUDGET_REQUEST_TIME = 2,
    EML_BUDGET_CONNECTIONS = 3, /* to the host, of one request */
    EML_BUDGET_CACHE = 4,       /* weights larger than the cache */
    EML_BUDGET_PROCESSOR = 5,   /* processor time */
    EML_BUDGET_REQUEST = 6,     /* memory, operations or size of one request */
};
/* number[0] of EML_EVENT_ERROR */
enum eml_error_place {
    EML_ERROR_FETCH = 1,   /* weights from the host */
    EML_ERROR_SESSION = 2, /* a session could not be started */
};

#define EML_RECORD_NUMBERS_MAX 6u
#define EML_RECORD_BYTES_N_MAX 4u
#define EML_RECORD_BYTES_MAX 2048u /* of a whole record */

struct eml_record {
    uint64_t sequence; /* its index in the log */
    enum eml_event event;
    uint64_t time_ms; /* Unix time, by the enclave's clock */
    uint64_t boot; /* sequence of the boot record that this one comes after (its own, for that) */
    uint64_t session; /* counts from 1 in a boot; 0: none */
    enum eml_err outcome;
    uint64_t number[EML_RECORD_NUMBERS_MAX];        /* as the table says; the others are zero */
    struct eml_bytes bytes[EML_RECORD_BYTES_N_MAX]; /* borrowed; likewise */
};

/* bytes[] of EML_EVENT_BOOT */
enum { EML_BOOT_LOG = 0, EML_BOOT_KEY = 1, EML_BOOT_DOCUMENT = 2, EML_BOOT_PREVIOUS = 3 };
/* bytes[] of EML_EVENT_INFERENCE: both may be empty */
enum { EML_INFERENCE_RECEIPT = 0, EML_INFERENCE_MODEL = 1 };

struct eml_event_row {
    const char *name; /* "session-open" */
    size_t n_numbers, n_bytes;
    const char *number[EML_RECORD_NUMBERS_MAX]; /* with units, "exposure_us" */
    struct {
        const char *name;
        size_t min, max; /* length; 0 is allowed besides if min_or_empty */
        bool or_empty;
    } bytes[EML_RECORD_BYTES_N_MAX];
};
/* NULL for a number that is no event. */
const struct eml_event_row *eml_event_row(uint64_t event);

/* Appends the record. EML_E_USAGE: it does not fit its event's row. */
EML_MUST enum eml_err eml_record_encode(const struct eml_record *r, struct eml_buf *out);
/* EML_E_INPUT with the rule for anything but one whole record; *out is zero then. */
EML_MUST enum eml_err eml_record_decode(struct eml_bytes entry, struct eml_record *out,
                                        struct eml_why *why);

#endif
