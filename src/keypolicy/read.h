/* The words of a key policy: values that are one string or several, patterns, names of PCRs.
 *
 * What a policy's reader (eml_keypolicy_lint) and its evaluator (the development KMS) must not see
 * differently. Source: AWS IAM user guide, "IAM JSON policy elements reference"; KMS developer
 * guide, "Condition keys for attested platforms".
 */
#ifndef EML_KEYPOLICY_READ_H
#define EML_KEYPOLICY_READ_H

#include "wire/json.h"

/* AWS's limit for a key policy. */
#define EML_KEYPOLICY_BYTES_MAX 32768u

/* A string, or an array: how many elements (0 if v is NULL), and one of them (NULL if it is no
 * string). Borrowed. */
size_t eml_keypolicy_count(const json_t *v);
const char *eml_keypolicy_text(const json_t *v, size_t i);
/* A string, or an array of one or more strings and nothing else. */
bool eml_keypolicy_is_texts(const json_t *v);

/* '*' stands for any run, '?' for any character; fold: letters match in either case. */
bool eml_keypolicy_glob(const char *pattern, const char *s, bool fold);
/* Whether a list of action patterns names the action. */
bool eml_keypolicy_names_action(const json_t *patterns, const char *action);

/* "kms:RecipientAttestation:" and whatever follows, in any case. */
bool eml_keypolicy_is_attestation(const char *condition_key);
/* The PCR that a condition key stands for, 0 to 31 (ImageSha384 is PCR0); -1 if none. */
int eml_keypolicy_pcr(const char *condition_key);

/* An ARN that ends in ":root" stands for a whole account. */
bool eml_keypolicy_is_account(const char *arn);

#endif
