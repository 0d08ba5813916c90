#include "kmsd/policy.h"

#include "keypolicy/read.h"

#include <string.h>
#include <strings.h>

/* --- condition operators --- */

static bool equal(const char *want, const char *have)
{
    return strcmp(want, have) == 0;
}

static bool equal_fold(const char *want, const char *have)
{
    return strcasecmp(want, have) == 0;
}

static bool like(const char *want, const char *have)
{
    return eml_keypolicy_glob(want, have, false);
}

static const struct operator_ {
    const char *name;
    bool (*match)(const char *want, const char *have); /* NULL: Null, which asks for presence */
    bool negated;                                      /* holds if no value matches */
} operators[] = {
    {"StringEquals", equal, false},
    {"StringNotEquals", equal, true},
    {"StringEqualsIgnoreCase", equal_fold, false},
    {"StringNotEqualsIgnoreCase", equal_fold, true},
    {"StringLike", like, false},
    {"StringNotLike", like, true},
    {"Bool", equal_fold, false},
    {"Null", NULL, false},
};

static const struct operator_ *operator_named(const char *name)
{
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (strcmp(operators[i].name, name) == 0)
            return &operators[i];
    return NULL;
}

/* Names of condition keys are compared without case; those that have values in a request: */
static bool is_condition_key(const char *key)
{
    static const char context[] = "kms:EncryptionContext:";
    if (strncasecmp(key, context, sizeof context - 1) == 0)
        return key[sizeof context - 1] != '\0';
    return eml_keypolicy_pcr(key) >= 0 || strcasecmp(key, "aws:PrincipalArn") == 0 ||
           strcasecmp(key, "aws:SecureTransport") == 0;
}

static bool is_boolean(const json_t *values)
{
    for (size_t i = 0; i < eml_keypolicy_count(values); i++)
        if (!equal_fold("true", eml_keypolicy_text(values, i)) &&
            !equal_fold("false", eml_keypolicy_text(values, i)))
            return false;
    return true;
}

static const char *check_condition(const json_t *condition)
{
    const char *op, *key;
    json_t *keys, *values;
    if (!json_is_object(condition))
        return "policy: Condition is not an object";
    json_object_foreach((json_t *)(uintptr_t)condition, op, keys)
    {
        const struct operator_ *o = operator_named(op);
        if (o == NULL)
            return "policy: unsupported condition operator";
        if (!json_is_object(keys) || json_object_size(keys) == 0)
            return "policy: a condition operator without keys";
        json_object_foreach(keys, key, values)
        {
            if (!is_condition_key(key))
                return "policy: unsupported condition key";
            if (!eml_keypolicy_is_texts(values))
                return "policy: a condition's value is not a string or strings";
            if ((o->match == NULL || strcmp(op, "Bool") == 0) && !is_boolean(values))
                return "policy: a condition's value is not true or false";
        }
    }
    return NULL;
}

/* --- statements --- */

static const char *check_principal(const json_t *p)
{
    const json_t *aws = json_object_get(p, "AWS");
    if (json_is_string(p))
        return strcmp(json_string_value(p), "*") == 0 ? NULL
                                                      : "policy: Principal is a string but not *";
    if (json_object_size(p) != 1 || !eml_keypolicy_is_texts(aws))
        return "policy: Principal is not AWS with ARNs";
    for (size_t i = 0; i < eml_keypolicy_count(aws); i++) {
        const char *arn = eml_keypolicy_text(aws, i);
        if (strcmp(arn, "*") != 0 && (strncmp(arn, "arn:aws", 7) != 0 || strchr(arn, '*') != NULL))
            return "policy: a principal is neither * nor a whole ARN";
    }
    return NULL;
}

static const char *check_action(const json_t *actions)
{
    if (!eml_keypolicy_is_texts(actions))
        return "policy: Action is not a string or strings";
    for (size_t i = 0; i < eml_keypolicy_count(actions); i++) {
        const char *a = eml_keypolicy_text(actions, i);
        if (strcmp(a, "*") != 0 && strncasecmp(a, "kms:", 4) != 0)
            return "policy: an action is not one of kms";
    }
    return NULL;
}

static const char *check_statement(const json_t *s)
{
    static const char *const known[] = {"Sid",      "Effect",    "Principal", "Action",
                                        "Resource", "Condition", NULL};
    const char *name, *effect = json_string_value(json_object_get(s, "Effect"));
    const json_t *condition = json_object_get(s, "Condition");
    json_t *v;
    if (!json_is_object(s))
        return "policy: a statement is not an object";
    json_object_foreach((json_t *)(uintptr_t)s, name, v)
    {
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], name) != 0)
            i++;
        if (known[i] == NULL)
            return "policy: unsupported element of a statement";
    }
    if (effect == NULL || (strcmp(effect, "Allow") != 0 && strcmp(effect, "Deny") != 0))
        return "policy: Effect is neither Allow nor Deny";
    const json_t *resource = json_object_get(s, "Resource");
    if (!json_is_string(resource) || strcmp(json_string_value(resource), "*") != 0)
        return "policy: Resource is not *, this key";
    const char *rule = check_principal(json_object_get(s, "Principal"));
    if (rule == NULL)
        rule = check_action(json_object_get(s, "Action"));
    if (rule == NULL && condition != NULL)
        rule = check_condition(condition);
    return rule;
}

enum eml_err eml_kmsd_policy_check(const json_t *policy, struct eml_why *why)
{
    const json_t *statements = json_object_get(policy, "Statement");
    const char *version = json_string_value(json_object_get(policy, "Version"));
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)policy, name, v)
    {
        if (strcmp(name, "Version") != 0 && strcmp(name, "Id") != 0 &&
            strcmp(name, "Statement") != 0)
            return eml_fail(why, EML_E_INPUT, "policy: unsupported element", -1);
    }
    if (version != NULL && strcmp(version, "2012-10-17") != 0)
        return eml_fail(why, EML_E_INPUT, "policy: Version is not 2012-10-17", -1);
    if (!json_is_array(statements) || json_array_size(statements) == 0)
        return eml_fail(why, EML_E_INPUT, "policy: no statements", -1);
    for (size_t i = 0; i < json_array_size(statements); i++) {
        const char *rule = check_statement(json_array_get(statements, i));
        if (rule != NULL)
            return eml_fail(why, EML_E_INPUT, rule, (long)i);
    }
    return EML_OK;
}

/* --- evaluation --- */

/* The fifth field of an ARN: arn:partition:service:region:account:resource. */
static struct eml_bytes account_of(const char *arn)
{
    size_t colons = 0, start = 0, i = 0;
    for (; arn[i] != '\0' && colons < 5; i++)
        if (arn[i] == ':' && ++colons == 4)
            start = i + 1;
    return colons == 5 ? eml_bytes(arn + start, i - 1 - start) : eml_bytes(arn, 0);
}

/* An account's root stands for every principal of the account. */
static bool principal_matches(const json_t *p, const char *principal)
{
    const json_t *aws = json_object_get(p, "AWS");
    if (json_is_string(p))
        return true;
    for (size_t i = 0; i < eml_keypolicy_count(aws); i++) {
        const char *arn = eml_keypolicy_text(aws, i);
        struct eml_bytes account = account_of(arn);
        bool is_root = eml_keypolicy_is_account(arn) && account.len != 0;
        if (strcmp(arn, "*") == 0 || strcmp(arn, principal) == 0 ||
            (is_root && eml_bytes_equal(account, account_of(principal))))
            return true;
    }
    return false;
}

static const char *attribute(const json_t *attributes, const char *key)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)attributes, name, v)
    {
        if (strcasecmp(name, key) == 0)
            return json_string_value(v);
    }
    return NULL;
}

static bool condition_holds(const struct operator_ *o, const json_t *want, const char *have)
{
    for (size_t i = 0; i < eml_keypolicy_count(want); i++) {
        bool match = o->match == NULL
                         ? (have == NULL) == equal_fold("true", eml_keypolicy_text(want, i))
                         : have != NULL && o->match(eml_keypolicy_text(want, i), have);
        if (match)
            return !o->negated;
    }
    return o->negated;
}

static bool conditions_hold(const json_t *condition, const json_t *attributes)
{
    const char *op, *key;
    json_t *keys, *want;
    json_object_foreach((json_t *)(uintptr_t)condition, op, keys)
    {
        json_object_foreach(keys, key, want)
        {
            if (!condition_holds(operator_named(op), want, attribute(attributes, key)))
                return false;
        }
    }
    return true;
}

bool eml_kmsd_policy_allows(const json_t *policy, const struct eml_kmsd_access *access)
{
    const json_t *statements = json_object_get(policy, "Statement");
    bool allowed = false;
    for (size_t i = 0; i < json_array_size(statements); i++) {
        const json_t *s = json_array_get(statements, i);
        if (!principal_matches(json_object_get(s, "Principal"), access->principal) ||
            !eml_keypolicy_names_action(json_object_get(s, "Action"), access->action) ||
            !conditions_hold(json_object_get(s, "Condition"), access->attribute))
            continue;
        if (strcmp(json_string_value(json_object_get(s, "Effect")), "Deny") == 0)
            return false;
        allowed = true;
    }
    return allowed;
}
