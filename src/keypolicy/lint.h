/* What is wrong with a key policy that shall let only one enclave decrypt.
 *
 * The attacker is whoever runs the host: the enclave's AWS credentials are his. So a policy is
 * sound if no request that lacks an attestation document with the PCRs it names gets at a
 * plaintext, now or after a change that those credentials may make. Each finding is a rule about
 * one statement: error    somebody other than that enclave can get at plaintexts warning  a trap:
 * never matches, or binds less than it seems to, or KMS refuses it note     true of every policy,
 * and worth knowing: who may change it, who may destroy the key
 *
 * Conditions on anything but attestation are taken to hold for the attacker, and a Deny counts only
 * if it names "*" or every principal that the Allow names (not their account's root). Grants, IAM
 * policies (where a statement hands over to them) and the keys themselves are out of sight. KMS's
 * answer to a policy is not predicted: it refuses more than what is EML_E_INPUT here.
 *
 * Source: AWS IAM user guide, "Condition operators" (what holds when a key is absent: negated
 * operators, ...IfExists, ForAllValues:) and "Policy evaluation logic"; KMS developer guide,
 * "Condition keys for attested platforms"; docs/formats/kms.md.
 */
#ifndef EML_KEYPOLICY_LINT_H
#define EML_KEYPOLICY_LINT_H

#include "keypolicy/read.h"

#define EML_KEYPOLICY_STATEMENTS_MAX 256u

enum eml_keypolicy_severity {
    EML_KEYPOLICY_NOTE,
    EML_KEYPOLICY_WARNING,
    EML_KEYPOLICY_ERROR,
    EML_KEYPOLICY_SEVERITIES
};

struct eml_keypolicy_rule {
    const char *id; /* "decrypt-unattested" */
    enum eml_keypolicy_severity severity;
    const char *says, *remedy; /* one line each */
};

/* All rules; a finding is a rule's index. */
extern const struct eml_keypolicy_rule eml_keypolicy_rules[];
extern const unsigned eml_keypolicy_rules_n; /* at most 64 */

struct eml_keypolicy_statement {
    uint64_t found; /* bit r: rule r */
    uint32_t pcrs;  /* whom it lets decrypt: PCRs that a document must show, by this statement and
                       by those that deny; 0 if it allows no decryption, or an unbound one */
    bool decrypts;  /* it allows decryption, bound or not */
};

struct eml_keypolicy_report {
    size_t n; /* statements */
    struct eml_keypolicy_statement of[EML_KEYPOLICY_STATEMENTS_MAX];
    uint64_t found; /* by the policy as a whole */
    unsigned count[EML_KEYPOLICY_SEVERITIES];
};

/* EML_E_INPUT with the rule and the statement's index if it is no key policy; *out is zero then. */
EML_MUST enum eml_err eml_keypolicy_lint(const json_t *policy, struct eml_keypolicy_report *out,
                                         struct eml_why *why);

/* Statement i of a policy that was accepted. Borrowed. */
const json_t *eml_keypolicy_statement(const json_t *policy, size_t i);

const char *eml_keypolicy_severity_name(enum eml_keypolicy_severity s);

#endif
