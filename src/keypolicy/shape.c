#include "keypolicy/shape.h"

#include "keypolicy/lint.h"

#include <string.h>

static bool is_one_of(const char *name, const char *const *known)
{
    while (*known != NULL && strcmp(*known, name) != 0)
        known++;
    return *known != NULL;
}

static const char *check_principal(const json_t *p)
{
    static const char *const kinds[] = {"AWS", "Service", "Federated", "CanonicalUser", NULL};
    const char *kind;
    json_t *names;
    if (json_is_string(p))
        return strcmp(json_string_value(p), "*") == 0 ? NULL
                                                      : "key policy: a principal is text but not *";
    if (!json_is_object(p) || json_object_size(p) == 0)
        return "key policy: a principal is neither * nor an object";
    json_object_foreach((json_t *)(uintptr_t)p, kind, names)
    {
        if (!is_one_of(kind, kinds))
            return "key policy: unknown kind of principal";
        if (!eml_keypolicy_is_texts(names))
            return "key policy: principals are not one string or several";
    }
    return NULL;
}

/* Strings; AWS also takes numbers and truth values, which no attestation key has. */
static bool are_values(const json_t *v, bool strings_only)
{
    size_t n = eml_keypolicy_count(v);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_string(one) &&
            (strings_only || !(json_is_number(one) || json_is_boolean(one))))
            return false;
    }
    return n != 0;
}

static const char *check_condition(const json_t *condition)
{
    const char *op, *key;
    json_t *keys, *values;
    if (!json_is_object(condition))
        return "key policy: Condition is not an object";
    json_object_foreach((json_t *)(uintptr_t)condition, op, keys)
    {
        bool null = strcmp(op, "Null") == 0;
        if (!json_is_object(keys) || json_object_size(keys) == 0)
            return "key policy: a condition operator without keys";
        json_object_foreach(keys, key, values)
        {
            if (!are_values(values, !null && eml_keypolicy_is_attestation(key)))
                return "key policy: a condition's value is not a string or strings";
        }
    }
    return NULL;
}

/* Exactly one of the two. */
static const json_t *either(const json_t *s, const char *name, const char *opposite)
{
    const json_t *a = json_object_get(s, name), *b = json_object_get(s, opposite);
    if ((a == NULL) == (b == NULL))
        return NULL;
    return a != NULL ? a : b;
}

static const char *check_statement(const json_t *s)
{
    static const char *const known[] = {"Sid",       "Effect",    "Principal", "NotPrincipal",
                                        "Action",    "NotAction", "Resource",  "NotResource",
                                        "Condition", NULL};
    const char *name;
    json_t *v;
    if (!json_is_object(s))
        return "key policy: a statement is not an object";
    json_object_foreach((json_t *)(uintptr_t)s, name, v)
    {
        if (!is_one_of(name, known))
            return "key policy: unknown element of a statement";
    }
    const json_t *sid = json_object_get(s, "Sid"), *condition = json_object_get(s, "Condition");
    const char *effect = json_string_value(json_object_get(s, "Effect"));
    if (sid != NULL && !json_is_string(sid))
        return "key policy: Sid is not a string";
    if (effect == NULL || (strcmp(effect, "Allow") != 0 && strcmp(effect, "Deny") != 0))
        return "key policy: Effect is neither Allow nor Deny";
    if (!eml_keypolicy_is_texts(either(s, "Action", "NotAction")))
        return "key policy: not one Action or NotAction of strings";
    if (!eml_keypolicy_is_texts(either(s, "Resource", "NotResource")))
        return "key policy: not one Resource or NotResource of strings";
    const json_t *principal = either(s, "Principal", "NotPrincipal");
    if (principal == NULL)
        return "key policy: not one Principal or NotPrincipal";
    const char *rule = check_principal(principal);
    if (rule == NULL && condition != NULL)
        rule = check_condition(condition);
    return rule;
}

const json_t *eml_keypolicy_statement(const json_t *policy, size_t i)
{
    const json_t *statements = json_object_get(policy, "Statement");
    return json_is_array(statements) ? json_array_get(statements, i) : statements;
}

enum eml_err eml_keypolicy_check_shape(const json_t *policy, size_t statements_max,
                                       struct eml_why *why)
{
    static const char *const known[] = {"Version", "Id", "Statement", NULL};
    const json_t *statements = json_object_get(policy, "Statement");
    size_t n = eml_keypolicy_count(statements);
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)policy, name, v)
    {
        if (!is_one_of(name, known))
            return eml_fail(why, EML_E_INPUT, "key policy: unknown element", -1);
    }
    if (n == 0)
        return eml_fail(why, EML_E_INPUT, "key policy: no statements", -1);
    if (n > statements_max)
        return eml_fail(why, EML_E_INPUT, "key policy: too many statements", (long)n);
    for (size_t i = 0; i < n; i++) {
        const char *rule = check_statement(eml_keypolicy_statement(policy, i));
        if (rule != NULL)
            return eml_fail(why, EML_E_INPUT, rule, (long)i);
    }
    return EML_OK;
}
