/* All checks of a receipt, offline, without trust in the host or in whoever kept the file.
 *
 * The chain: a pinned root vouches for the attestation document at the time of the inference; the
 * document's public_key signed the AIR receipt, our statement on it and the checkpoint of the audit
 * log; the log's record names the receipt's digest and lies under that checkpoint. Every claim that
 * says the same as another part is compared with it. What is missing is an error.
 * Time: the enclave's clock, as three signed places tell it (document, receipt, record), which must
 * agree; certificates are checked at that time, so a receipt can be verified after they expired.
 */
#ifndef EML_RECEIPT_VERIFY_H
#define EML_RECEIPT_VERIFY_H

#include "receipt/receipt.h"

struct eml_receipt_expect {
    const struct eml_policy *policy;
    struct eml_bytes document; /* demanded; ptr NULL: the one in the receipt */
    /* What eml_attest_verify found in `document`, by this policy, when this session began: its
     * chain of signatures is not verified again, only that the receipt was issued in this session.
     * Demands `document` (else EML_E_USAGE). NULL: all of it is verified, at the receipt's time. */
    const struct eml_attested *attested;
    int64_t now_unix_s;      /* nothing may be later, but for the policy's skew */
    bool evaluation_allowed; /* also receipts of a development NSM or a debug enclave */
    /* NULL: not compared */
    const struct eml_sha256 *request_hash, *response_hash, *model_hash;
};

struct eml_receipt_verified { /* views point into the receipt or the expected document */
    struct eml_air air;
    struct eml_statement statement;
    struct eml_record record;
    uint64_t index;
    struct eml_checkpoint checkpoint;
    struct eml_attested document;
};

/* One line per check, in order. */
#define EML_RECEIPT_CHECKS_MAX 40u
struct eml_receipt_report {
    struct {
        const char *rule;
        bool passed;
    } check[EML_RECEIPT_CHECKS_MAX];
    size_t n;
};

/* EML_E_INPUT, EML_E_AUTH, EML_E_REFUSED with the rule; *out is zero then, and the report ends with
 * the check that failed. report may be NULL. */
EML_MUST enum eml_err eml_receipt_verify(const struct eml_receipt *r,
                                         const struct eml_receipt_expect *expect,
                                         struct eml_receipt_verified *out,
                                         struct eml_receipt_report *report, struct eml_why *why);

#endif
