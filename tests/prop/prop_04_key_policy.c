// link: keypolicy kmsd
#include "testsupport/cases.h"

#include "keypolicy/lint.h"
#include "kmsd/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The linter against the evaluator that decides in the development KMS: a policy without an error
 * or warning never decrypts for an image it does not name, whoever asks; one with an error about
 * requests without a document does decrypt for somebody who sends none. */

#define ACCOUNT "arn:aws:iam::111122223333:"

static const char named[] = "3f0011223344556677889900aabbccddeeff3f0011223344556677889900aabb"
                            "ccddeeff3f0011223344556677889900";
static const char other[] = "9b0011223344556677889900aabbccddeeff3f0011223344556677889900aabb"
                            "ccddeeff3f0011223344556677889900";
static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000"
                            "00000000000000000000000000000000";

static const char *const callers[] = {ACCOUNT "role/host", ACCOUNT "role/owner",
                                      ACCOUNT "user/anybody", "arn:aws:iam::999999999999:user/eve"};

#define PICK(g, list) list[eml_gen_range(g, 0, (int64_t)(sizeof list / sizeof list[0]) - 1)]

static json_t *make_condition(struct eml_gen *g)
{
    static const char *const operators[] = {"StringEqualsIgnoreCase",
                                            "StringEqualsIgnoreCase",
                                            "StringEquals",
                                            "StringNotEqualsIgnoreCase",
                                            "StringNotEqualsIgnoreCase",
                                            "StringNotEquals",
                                            "StringLike",
                                            "Null"};
    static const char *const keys[] = {"PCR0", "PCR0", "PCR0", "ImageSha384",
                                       "PCR1", "PCR2", "PCR3", "PCR8"};
    static const char *const values[] = {named, named, named, named, zeros, "*", "ab"};
    static const char *const answers[] = {"true", "false"};
    json_t *condition = json_object();
    int64_t n = eml_gen_range(g, 1, 4) == 1 ? 2 : 1;
    for (int64_t i = 0; i < n; i++) {
        char key[64];
        const char *op = PICK(g, operators);
        const char *value = strcmp(op, "Null") == 0 ? PICK(g, answers) : PICK(g, values);
        (void)snprintf(key, sizeof key, "kms:RecipientAttestation:%s", PICK(g, keys));
        json_t *pair = json_object_get(condition, op);
        if (pair == NULL) {
            pair = json_object();
            assert_int_equal(json_object_set_new(condition, op, pair), 0);
        }
        assert_int_equal(json_object_set_new(pair, key, json_string(value)), 0);
    }
    return condition;
}

static json_t *make_statement(struct eml_gen *g)
{
    static const char *const principals[] = {ACCOUNT "role/host", ACCOUNT "role/host",
                                             ACCOUNT "role/owner", ACCOUNT "root", "*"};
    static const char *const actions[] = {"kms:Decrypt",     "kms:Decrypt", "kms:Decrypt",
                                          "kms:De*",         "kms:*",       "kms:GenerateDataKey",
                                          "kms:PutKeyPolicy"};
    bool deny = eml_gen_range(g, 1, 3) == 1;
    const char *principal = PICK(g, principals);
    /* The linter does not count on a denial of an account to reach the account's roles. */
    if (deny && (eml_gen_bool(g) || strcmp(principal, ACCOUNT "root") == 0))
        principal = "*";
    json_t *s =
        json_pack("{s:s, s:{s:s}, s:[s], s:s}", "Effect", deny ? "Deny" : "Allow", "Principal",
                  "AWS", principal, "Action", PICK(g, actions), "Resource", "*");
    if (eml_gen_range(g, 1, 4) != 1)
        assert_int_equal(json_object_set_new(s, "Condition", make_condition(g)), 0);
    return s;
}

static json_t *make_policy(struct eml_gen *g, unsigned most)
{
    json_t *statements = json_array();
    for (int64_t n = eml_gen_range(g, 1, most); n > 0; n--)
        assert_int_equal(json_array_append_new(statements, make_statement(g)), 0);
    return json_pack("{s:s, s:o}", "Version", "2012-10-17", "Statement", statements);
}

/* A document's attributes: `image` for PCR0 to 2, `rest` for the others. */
static json_t *document(const char *image, const char *rest)
{
    json_t *a = json_pack("{s:s}", "kms:RecipientAttestation:ImageSha384", image);
    for (int pcr = 0; pcr < 9; pcr++) {
        char key[64];
        (void)snprintf(key, sizeof key, "kms:RecipientAttestation:PCR%d", pcr);
        assert_int_equal(json_object_set_new(a, key, json_string(pcr < 3 ? image : rest)), 0);
    }
    return a;
}

/* With either of the actions that open what others sealed. */
static bool somebody_decrypts(const json_t *policy, const json_t *attributes)
{
    static const char *const actions[] = {"kms:Decrypt", "kms:DeriveSharedSecret"};
    for (size_t i = 0; i < 2 * sizeof callers / sizeof callers[0]; i++) {
        const struct eml_kmsd_access access = {actions[i % 2], callers[i / 2], attributes};
        if (eml_kmsd_policy_allows(policy, &access))
            return true;
    }
    return false;
}

static bool reported(const struct eml_keypolicy_report *report, const char *id)
{
    for (size_t i = 0; i < report->n; i++)
        for (unsigned r = 0; r < eml_keypolicy_rules_n; r++)
            if ((report->of[i].found >> r & 1) != 0 && strcmp(eml_keypolicy_rules[r].id, id) == 0)
                return true;
    return false;
}

enum { CASES = 20000, STATEMENTS_MAX = 4, STRANGERS = 4 };

static json_t *none, *strangers[STRANGERS];
static unsigned clean, open_ones;

static void finding_is_decision(struct eml_gen *g, unsigned most)
{
    struct eml_keypolicy_report report;
    json_t *policy = make_policy(g, most);
    assert_int_equal(eml_kmsd_policy_check(policy, NULL), EML_OK);
    assert_int_equal(eml_keypolicy_lint(policy, &report, NULL), EML_OK);
    char *text = json_dumps(policy, 0);
    bool gives = somebody_decrypts(policy, none);
    if (report.count[EML_KEYPOLICY_ERROR] == 0) {
        if (gives)
            fail_msg("no error, but decrypts without a document: %s", text);
        if (somebody_decrypts(policy, strangers[1]) || somebody_decrypts(policy, strangers[3]))
            fail_msg("no error, but decrypts for a stranger: %s", text);
    }
    if (report.count[EML_KEYPOLICY_ERROR] + report.count[EML_KEYPOLICY_WARNING] == 0) {
        clean++;
        for (size_t k = 0; k < STRANGERS; k++)
            if (somebody_decrypts(policy, strangers[k]))
                fail_msg("clean, but decrypts for another image: %s", text);
    }
    if (reported(&report, "decrypt-unattested") || reported(&report, "root-delegation") ||
        reported(&report, "action-any")) {
        open_ones++;
        if (!gives)
            fail_msg("unattested decryption reported, but nobody can: %s", text);
    }
    free(text);
    json_decref(policy);
}

static void findings_are_decisions(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("findings_are_decisions");
    eml_cases(&g, CASES, STATEMENTS_MAX, finding_is_decision);
    assert_true(clean >= 100 && open_ones >= 100);
    eml_assured(CASES,
                "generated key policies: what the linter calls clean lets no other image decrypt");
}

static int set_up(void **state)
{
    (void)state;
    const char *const images[STRANGERS][2] = {
        {other, named}, {other, other}, {zeros, named}, {zeros, zeros}};
    none = json_object();
    for (size_t k = 0; k < STRANGERS; k++)
        strangers[k] = document(images[k][0], images[k][1]);
    return none != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t k = 0; k < STRANGERS; k++)
        json_decref(strangers[k]);
    json_decref(none);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {EML_CASES_TEST(findings_are_decisions)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
