#include "keypolicy/read.h"

#include <string.h>
#include <strings.h>

static const char attestation[] = "kms:RecipientAttestation:";

size_t eml_keypolicy_count(const json_t *v)
{
    if (v == NULL)
        return 0;
    return json_is_array(v) ? json_array_size(v) : 1;
}

const char *eml_keypolicy_text(const json_t *v, size_t i)
{
    return json_string_value(json_is_array(v) ? json_array_get(v, i) : v);
}

bool eml_keypolicy_is_texts(const json_t *v)
{
    size_t n = eml_keypolicy_count(v);
    for (size_t i = 0; i < n; i++)
        if (eml_keypolicy_text(v, i) == NULL)
            return false;
    return n != 0;
}

/* Iterative: back to the last star on a mismatch. */
bool eml_keypolicy_glob(const char *pattern, const char *s, bool fold)
{
    const char *star = NULL, *from = NULL;
    while (*s != '\0') {
        bool same = fold ? strncasecmp(pattern, s, 1) == 0 : *pattern == *s;
        if (*pattern == '*') {
            star = pattern++;
            from = s;
        } else if (*pattern != '\0' && (same || *pattern == '?')) {
            pattern++;
            s++;
        } else if (star != NULL) {
            pattern = star + 1;
            s = ++from;
        } else
            return false;
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool eml_keypolicy_names_action(const json_t *patterns, const char *action)
{
    for (size_t i = 0; i < eml_keypolicy_count(patterns); i++)
        if (eml_keypolicy_glob(eml_keypolicy_text(patterns, i), action, true))
            return true;
    return false;
}

bool eml_keypolicy_is_attestation(const char *condition_key)
{
    return strncasecmp(condition_key, attestation, sizeof attestation - 1) == 0;
}

int eml_keypolicy_pcr(const char *condition_key)
{
    if (!eml_keypolicy_is_attestation(condition_key))
        return -1;
    const char *name = condition_key + sizeof attestation - 1;
    if (strcasecmp(name, "ImageSha384") == 0)
        return 0;
    if (strncasecmp(name, "PCR", 3) != 0)
        return -1;
    const char *digits = name + 3;
    size_t len = strspn(digits, "0123456789");
    if (len == 0 || len > 2 || digits[len] != '\0' || (len == 2 && digits[0] == '0'))
        return -1;
    int n = digits[0] - '0';
    if (len == 2)
        n = 10 * n + digits[1] - '0';
    return n < 32 ? n : -1;
}

bool eml_keypolicy_is_account(const char *arn)
{
    size_t n = strlen(arn);
    return n > 5 && strcmp(arn + n - 5, ":root") == 0;
}
