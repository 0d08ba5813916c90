/* Key policies: the part of AWS's policy language that a KMS key's own policy needs. JSON in, yes
 * or no out; no keys, no clock, no network.
 *
 * A policy is checked whole before it is stored, and what this evaluator does not know (an
 * operator, a condition key, NotPrincipal and its like) is refused then: nothing is ever skipped
 * when access is decided. Explicit Deny wins; what no statement allows is denied.
 *
 * Source: AWS IAM user guide, "Policy evaluation logic" and "Condition operators"; KMS developer
 * guide, "Condition keys for attested platforms".
 */
#ifndef EML_KMSD_POLICY_H
#define EML_KMSD_POLICY_H

#include "keypolicy/read.h"

/* EML_E_INPUT with the rule unless the policy is one that is understood whole. */
EML_MUST enum eml_err eml_kmsd_policy_check(const json_t *policy, struct eml_why *why);

struct eml_kmsd_access {
    const char *action;      /* "kms:Decrypt" */
    const char *principal;   /* the caller's ARN */
    const json_t *attribute; /* condition key -> string, for those that the request has */
};

/* For a checked policy. */
bool eml_kmsd_policy_allows(const json_t *policy, const struct eml_kmsd_access *access);

#endif
