#include "keypolicy/lint.h"

#include "keypolicy/shape.h"

#include <string.h>
#include <strings.h>

enum rule {
#define RULE(name, id, severity, says, remedy) R_##name,
#include "keypolicy/rules.def"
#undef RULE
    RULES
};
_Static_assert(RULES <= 64, "a statement's findings are one word");

const struct eml_keypolicy_rule eml_keypolicy_rules[] = {
#define RULE(name, id, severity, says, remedy) {id, EML_KEYPOLICY_##severity, says, remedy},
#include "keypolicy/rules.def"
#undef RULE
};
const unsigned eml_keypolicy_rules_n = RULES;

const char *eml_keypolicy_severity_name(enum eml_keypolicy_severity s)
{
    static const char *const names[] = {"note", "warning", "error"};
    return names[s];
}

static uint64_t bit(enum rule r)
{
    return UINT64_C(1) << r;
}

/* --- condition operators --- */

enum comparison { OTHER, EQUALS, EQUALS_FOLD, LIKE, PRESENCE };

struct operator_ {
    enum comparison how;
    bool negated, for_all, for_any, if_exists;
};

static struct operator_ read_operator(const char *name)
{
    static const struct {
        const char *name;
        enum comparison how;
        bool negated;
    } known[] = {
        {"StringEquals", EQUALS, false},
        {"StringNotEquals", EQUALS, true},
        {"StringEqualsIgnoreCase", EQUALS_FOLD, false},
        {"StringNotEqualsIgnoreCase", EQUALS_FOLD, true},
        {"StringLike", LIKE, false},
        {"StringNotLike", LIKE, true},
        {"Null", PRESENCE, false},
    };
    static const char all[] = "ForAllValues:", any[] = "ForAnyValue:", exists[] = "IfExists";
    struct operator_ o = {0};
    if ((o.for_all = strncmp(name, all, sizeof all - 1) == 0))
        name += sizeof all - 1;
    else if ((o.for_any = strncmp(name, any, sizeof any - 1) == 0))
        name += sizeof any - 1;
    size_t len = strlen(name), tail = sizeof exists - 1;
    if (len > tail && strcmp(name + len - tail, exists) == 0) {
        o.if_exists = true;
        len -= tail;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].name) == len && strncmp(known[i].name, name, len) == 0) {
            o.how = known[i].how;
            o.negated = known[i].negated;
        }
    }
    return o;
}

/* Null with the one value "true" (or true). */
static bool asks_for_absence(const json_t *v)
{
    const json_t *one = json_is_array(v) && json_array_size(v) == 1 ? json_array_get(v, 0) : v;
    const char *text = json_string_value(one);
    return json_is_true(one) || (text != NULL && strcasecmp(text, "true") == 0);
}

static bool asks_for_presence(const json_t *v)
{
    const json_t *one = json_is_array(v) && json_array_size(v) == 1 ? json_array_get(v, 0) : v;
    const char *text = json_string_value(one);
    return json_is_false(one) || (text != NULL && strcasecmp(text, "false") == 0);
}

/* --- values of PCRs --- */

static uint64_t check_value(enum comparison how, const char *v)
{
    enum { DIGITS = 96 };
    size_t len = strlen(v);
    if (how == LIKE && strpbrk(v, "*?") != NULL)
        return bit(R_PCR_WILDCARD);
    if (len != DIGITS || strspn(v, "0123456789abcdefABCDEF") != len)
        return bit(R_PCR_LENGTH);
    if (strspn(v, "0") == len)
        return bit(R_PCR_DEBUG);
    if (how != EQUALS_FOLD && strpbrk(v, "ABCDEF") != NULL)
        return bit(R_PCR_CASE);
    return 0;
}

static uint64_t check_values(enum comparison how, const json_t *values)
{
    uint64_t found = how == LIKE ? bit(R_PCR_LIKE) : 0;
    for (size_t i = 0; i < eml_keypolicy_count(values); i++)
        found |= check_value(how, eml_keypolicy_text(values, i));
    return found;
}

/* --- the conditions of one statement --- */

struct bound {
    uint64_t found;
    uint32_t pcrs;  /* Allow: must show a named value. Deny: denied unless they do. */
    bool demands;   /* Allow: holds only with a document. Deny: holds whenever there is none. */
    bool never;     /* Allow: no request meets it */
    bool narrows;   /* Allow: names whose requests it is for */
    bool other;     /* also depends on something else than attestation */
    unsigned pairs; /* operator and key */
};

static void allow_pair(struct bound *b, struct operator_ o, const char *key, const json_t *values)
{
    int pcr = eml_keypolicy_pcr(key);
    uint64_t found = pcr < 0 ? bit(R_KEY_UNKNOWN) : 0;
    bool absent_holds = true;
    if (o.how == OTHER)
        found |= bit(R_OPERATOR);
    else if (o.if_exists)
        found |= bit(R_IF_EXISTS);
    else if (o.for_all)
        found |= bit(R_FOR_ALL_VALUES);
    else if (o.negated || (o.how == PRESENCE && !asks_for_presence(values)))
        found |= bit(R_NEGATED);
    else
        absent_holds = false;
    if (o.for_any)
        found |= bit(R_FOR_ANY_VALUE);
    if (o.how != OTHER && o.how != PRESENCE)
        found |= check_values(o.how, values);
    if (!absent_holds) {
        b->demands = true;
        b->never |= pcr < 0;
        if (pcr >= 0 && o.how != PRESENCE && (found & bit(R_PCR_WILDCARD)) == 0)
            b->pcrs |= UINT32_C(1) << pcr;
    }
    b->found |= found;
}

static void deny_pair(struct bound *b, struct operator_ o, const char *key, const json_t *values)
{
    int pcr = eml_keypolicy_pcr(key);
    uint64_t found = pcr < 0 ? bit(R_KEY_UNKNOWN) : 0;
    if (o.how == OTHER)
        found |= bit(R_OPERATOR);
    else if (o.how == PRESENCE && asks_for_absence(values))
        b->demands = true;
    else if (o.how == PRESENCE || o.for_any)
        found |= bit(R_DENY_INEFFECTIVE);
    else if (o.negated) {
        found |= check_values(o.how, values);
        b->demands = true;
        if (pcr >= 0 && (found & bit(R_PCR_WILDCARD)) == 0)
            b->pcrs |= UINT32_C(1) << pcr;
    } else if (check_values(o.how, values) != bit(R_PCR_DEBUG))
        found |= bit(R_DENY_ENCLAVE); /* but to deny zero, debug mode, makes sense */
    else
        b->other = true;
    b->found |= found;
}

static bool is_name_of_caller(const char *key)
{
    static const char *const keys[] = {"aws:PrincipalArn", "aws:PrincipalAccount",
                                       "aws:PrincipalOrgID", "kms:CallerAccount"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcasecmp(keys[i], key) == 0)
            return true;
    return false;
}

static struct bound read_conditions(const json_t *s, bool deny)
{
    struct bound b = {0};
    const char *name, *key;
    json_t *keys, *values;
    json_object_foreach(json_object_get(s, "Condition"), name, keys)
    {
        struct operator_ o = read_operator(name);
        json_object_foreach(keys, key, values)
        {
            b.pairs++;
            if (!eml_keypolicy_is_attestation(key)) {
                b.other = true;
                b.narrows |= !o.negated && !o.if_exists && !o.for_all && is_name_of_caller(key);
            } else if (deny)
                deny_pair(&b, o, key, values);
            else
                allow_pair(&b, o, key, values);
        }
    }
    return b;
}

/* All pairs of a Deny must hold for it to deny: with two, one PCR that matches lets pass. */
static struct bound read_denial(const json_t *s)
{
    struct bound b = read_conditions(s, true);
    bool attests = b.demands || b.pcrs != 0;
    if (attests && b.other)
        b.found |= bit(R_DENY_INEFFECTIVE);
    if (attests && b.pairs > 1 && (b.pcrs & (b.pcrs - 1)) != 0)
        b.found |= bit(R_DENY_ANY_OF);
    if (b.other || (b.found & (bit(R_DENY_INEFFECTIVE) | bit(R_DENY_ENCLAVE) | bit(R_OPERATOR))))
        b.demands = false;
    if (b.pairs != 1 || !b.demands)
        b.pcrs = 0;
    return b;
}

/* --- principals --- */

static const char *effect(const json_t *s)
{
    return json_string_value(json_object_get(s, "Effect"));
}

static bool is_deny(const json_t *s)
{
    return strcmp(effect(s), "Deny") == 0;
}

/* Whether any name of a Principal passes. */
static bool any_name(const json_t *principal, bool (*pass)(const char *name, const void *arg),
                     const void *arg)
{
    const char *kind;
    json_t *names;
    if (json_is_string(principal))
        return pass(json_string_value(principal), arg);
    json_object_foreach((json_t *)(uintptr_t)principal, kind, names)
    {
        for (size_t i = 0; i < eml_keypolicy_count(names); i++)
            if (pass(eml_keypolicy_text(names, i), arg))
                return true;
    }
    return false;
}

static bool is_star(const char *name, const void *arg)
{
    (void)arg;
    return strcmp(name, "*") == 0;
}

static bool is_pattern(const char *name, const void *arg)
{
    (void)arg;
    return strlen(name) > 1 && strpbrk(name, "*?") != NULL;
}

static bool is_account(const char *name, const void *arg)
{
    (void)arg;
    return eml_keypolicy_is_account(name) ||
           (strlen(name) == 12 && strspn(name, "0123456789") == 12);
}

static bool is_text(const char *name, const void *arg)
{
    return strcmp(name, arg) == 0;
}

static bool is_named_in(const char *name, const void *principal)
{
    return any_name(principal, is_text, name);
}

/* An account's root is covered by a denial of everybody only: what else it stands for is open. */
static bool is_spared_by(const char *name, const void *principal)
{
    return is_account(name, NULL) || !is_named_in(name, principal);
}

/* Whether a denial reaches everybody whom an Allow names. */
static bool denial_covers(const json_t *deny, const json_t *allow)
{
    const json_t *denied = json_object_get(deny, "Principal");
    const json_t *allowed = json_object_get(allow, "Principal");
    if (denied == NULL)
        return false;
    if (any_name(denied, is_star, NULL))
        return true;
    return allowed != NULL && !any_name(allowed, is_spared_by, denied);
}

/* --- actions --- */

static bool names_action(const json_t *s, const char *action)
{
    const json_t *actions = json_object_get(s, "Action");
    if (actions != NULL)
        return eml_keypolicy_names_action(actions, action);
    return !eml_keypolicy_names_action(json_object_get(s, "NotAction"), action);
}

/* KMS reads documents with these only. */
static const char *const attested_actions[] = {"kms:Decrypt", "kms:DeriveSharedSecret",
                                               "kms:GenerateDataKey", "kms:GenerateDataKeyPair",
                                               "kms:GenerateRandom"};
enum { DECRYPTING = 2, ATTESTED = 5 }; /* the first two open what others sealed */

/* What is left of an Allow for one action after the policy's denials. */
struct access {
    bool open;     /* somebody is allowed */
    bool attested; /* only with a document */
    uint32_t pcrs; /* that it must show */
};

static struct access access_to(const json_t *policy, size_t n, const json_t *s,
                               const struct bound *b, const char *action, bool carries_document)
{
    struct access a = {names_action(s, action) && !b->never, b->demands, b->pcrs};
    for (size_t i = 0; a.open && i < n; i++) {
        const json_t *d = eml_keypolicy_statement(policy, i);
        if (!is_deny(d) || !names_action(d, action) || !denial_covers(d, s))
            continue;
        struct bound denial = read_denial(d);
        a.open = denial.pairs != 0;
        a.attested |= denial.demands;
        a.pcrs |= denial.pcrs;
    }
    a.open = a.open && (carries_document || !a.attested);
    return a;
}

/* --- statements --- */

static uint64_t judge_pcrs(uint32_t pcrs)
{
    if ((pcrs & 1) != 0 || (pcrs & 6) == 6)
        return 0;
    if (pcrs == 0)
        return bit(R_ANY_ENCLAVE);
    if ((pcrs & 1u << 8) != 0)
        return bit(R_PCR_SIGNER);
    return bit((pcrs & 6) != 0 ? R_PCR_PARTIAL : R_PCR_NO_IMAGE);
}

static uint64_t judge_decryption(const json_t *policy, size_t n, const json_t *s,
                                 const struct bound *b, struct eml_keypolicy_statement *out)
{
    uint64_t found = 0;
    for (size_t i = 0; i < DECRYPTING; i++) {
        struct access a = access_to(policy, n, s, b, attested_actions[i], true);
        if (!a.open)
            continue;
        out->decrypts |= i == 0;
        if (a.attested) {
            found |= judge_pcrs(a.pcrs);
            out->pcrs = i == 0 ? a.pcrs : out->pcrs;
        } else if (any_name(json_object_get(s, "Principal"), is_account, NULL))
            found |= bit(R_ROOT_DELEGATION);
        else if (names_action(s, "kms:AnyActionAtAll") && json_object_get(s, "Action") != NULL)
            found |= bit(R_ACTION_ANY);
        else
            found |= bit(R_DECRYPT_UNATTESTED);
    }
    return found;
}

/* Actions that lead around the document; after root-delegation and action-any they go unsaid. */
static uint64_t judge_detours(const json_t *policy, size_t n, const json_t *s,
                              const struct bound *b)
{
    static const struct {
        const char *action;
        enum rule rule;
    } detours[] = {
        {"kms:ReEncryptFrom", R_RE_ENCRYPT},
        {"kms:CreateGrant", R_CREATE_GRANT},
        {"kms:ReplicateKey", R_REPLICATE},
        {"kms:PutKeyPolicy", R_POLICY_EDITOR},
        {"kms:DisableKey", R_KEY_DELETION},
        {"kms:ScheduleKeyDeletion", R_KEY_DELETION},
        {"kms:DeleteImportedKeyMaterial", R_KEY_DELETION},
    };
    uint64_t found = 0;
    for (size_t i = 0; i < sizeof detours / sizeof detours[0]; i++)
        if (access_to(policy, n, s, b, detours[i].action, false).open)
            found |= bit(detours[i].rule);
    return found;
}

/* An action named in full that carries no document, under a condition that demands one. */
static bool has_dead_action(const json_t *s, const struct bound *b)
{
    const json_t *actions = json_object_get(s, "Action");
    for (size_t i = 0; b->demands && i < eml_keypolicy_count(actions); i++) {
        const char *name = eml_keypolicy_text(actions, i);
        size_t k = 0;
        while (k < ATTESTED && !eml_keypolicy_glob(name, attested_actions[k], true))
            k++;
        if (k == ATTESTED)
            return true;
    }
    return false;
}

static uint64_t judge_principal(const json_t *s, const struct bound *b)
{
    const json_t *principal = json_object_get(s, "Principal");
    uint64_t found = 0;
    if (principal == NULL)
        return bit(is_deny(s) ? R_DENY_NOT_PRINCIPAL : R_NOT_PRINCIPAL);
    if (any_name(principal, is_pattern, NULL))
        found |= bit(R_PRINCIPAL_PATTERN);
    if (!is_deny(s) && any_name(principal, is_star, NULL))
        found |= bit(b->narrows || b->pcrs != 0 ? R_PRINCIPAL_WIDE : R_PRINCIPAL_ANY);
    return found;
}

static void judge_statement(const json_t *policy, size_t n, const json_t *s,
                            struct eml_keypolicy_statement *out)
{
    const json_t *resource = json_object_get(s, "Resource");
    struct bound b = is_deny(s) ? read_denial(s) : read_conditions(s, false);
    uint64_t found = b.found | judge_principal(s, &b);
    if (eml_keypolicy_count(resource) != 1 || strcmp(eml_keypolicy_text(resource, 0), "*") != 0)
        found |= bit(R_RESOURCE);
    if (!is_deny(s)) {
        found |= judge_decryption(policy, n, s, &b, out);
        if ((found & (bit(R_ROOT_DELEGATION) | bit(R_ACTION_ANY))) == 0)
            found |= judge_detours(policy, n, s, &b);
        if (has_dead_action(s, &b))
            found |= bit(R_NEVER);
        if (json_object_get(s, "NotAction") != NULL)
            found |= bit(R_NOT_ACTION);
    }
    out->found = found;
}

/* --- the policy as a whole --- */

struct runners {
    const json_t *policy;
    const struct eml_keypolicy_report *report;
};

/* A principal that some statement lets decrypt, bound to PCRs. */
static bool runs_enclave(const char *name, const void *arg)
{
    const struct runners *r = arg;
    for (size_t i = 0; i < r->report->n; i++) {
        const json_t *s = eml_keypolicy_statement(r->policy, i);
        if (r->report->of[i].pcrs != 0 && any_name(json_object_get(s, "Principal"), is_text, name))
            return true;
    }
    return false;
}

static void judge_administration(const json_t *policy, struct eml_keypolicy_report *out)
{
    const uint64_t notes = bit(R_POLICY_EDITOR) | bit(R_KEY_DELETION);
    const struct runners runners = {policy, out};
    for (size_t i = 0; i < out->n; i++) {
        const json_t *principal = json_object_get(eml_keypolicy_statement(policy, i), "Principal");
        if ((out->of[i].found & notes) != 0 && any_name(principal, runs_enclave, &runners))
            out->of[i].found |= bit(R_HOST_ADMINISTERS);
    }
}

static void count_findings(uint64_t found, struct eml_keypolicy_report *out)
{
    for (unsigned r = 0; r < RULES; r++)
        if ((found >> r & 1) != 0)
            out->count[eml_keypolicy_rules[r].severity]++;
}

enum eml_err eml_keypolicy_lint(const json_t *policy, struct eml_keypolicy_report *out,
                                struct eml_why *why)
{
    *out = (struct eml_keypolicy_report){0};
    EML_TRY(eml_keypolicy_check_shape(policy, EML_KEYPOLICY_STATEMENTS_MAX, why));
    const char *version = json_string_value(json_object_get(policy, "Version"));
    bool enclave = false;
    out->n = eml_keypolicy_count(json_object_get(policy, "Statement"));
    for (size_t i = 0; i < out->n; i++) {
        judge_statement(policy, out->n, eml_keypolicy_statement(policy, i), &out->of[i]);
        enclave |= out->of[i].pcrs != 0;
    }
    judge_administration(policy, out);
    if (!enclave)
        out->found |= bit(R_NO_ENCLAVE);
    if (version == NULL || strcmp(version, "2012-10-17") != 0)
        out->found |= bit(R_VERSION);
    count_findings(out->found, out);
    for (size_t i = 0; i < out->n; i++)
        count_findings(out->of[i].found, out);
    return EML_OK;
}
