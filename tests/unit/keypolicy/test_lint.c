#include "testsupport/support.h"

#include "keypolicy/lint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER EML_VECTORS "/kms-policies/"
#define PRINCIPAL "\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:role/r\"},"
#define HEAD "{\"Effect\":\"Allow\"," PRINCIPAL "\"Action\":\"kms:Decrypt\""
#define POLICY(statements) "{\"Version\":\"2012-10-17\",\"Statement\":[" statements "]}"
#define WITH(condition) POLICY(HEAD ",\"Resource\":\"*\",\"Condition\":" condition "}")

static json_t *read_json(const char *name)
{
    char path[512];
    json_t *v = NULL;
    (void)snprintf(path, sizeof path, FOLDER "%s.json", name);
    struct eml_buf text = eml_test_read(path);
    assert_int_equal(eml_json_parse(eml_buf_bytes(&text), 1 << 20, &v, NULL), EML_OK);
    eml_buf_free(&text);
    return v;
}

static uint64_t rule_named(const char *id)
{
    for (unsigned r = 0; r < eml_keypolicy_rules_n; r++)
        if (strcmp(eml_keypolicy_rules[r].id, id) == 0)
            return UINT64_C(1) << r;
    fail_msg("no rule %s", id);
    return 0;
}

/* "3 rule-id" or "policy rule-id" into what the report should hold. */
static void expect_finding(struct eml_keypolicy_report *want, const char *text)
{
    const char *id = strchr(text, ' ') + 1;
    if (strncmp(text, "policy ", 7) == 0)
        want->found |= rule_named(id);
    else
        want->of[strtoul(text, NULL, 10)].found |= rule_named(id);
}

static void expect_binding(struct eml_keypolicy_report *want, const char *statement, json_t *pcrs)
{
    struct eml_keypolicy_statement *s = &want->of[strtoul(statement, NULL, 10)];
    s->decrypts = true;
    for (size_t i = 0; i < json_array_size(pcrs); i++)
        s->pcrs |= UINT32_C(1) << json_integer_value(json_array_get(pcrs, i));
}

static uint64_t compare(const char *name, json_t *expected)
{
    struct eml_keypolicy_report got, want = {0};
    json_t *policy = read_json(name), *found = json_object_get(expected, "found"), *pcrs;
    const char *statement;
    uint64_t rules = 0;
    assert_int_equal(eml_keypolicy_lint(policy, &got, NULL), EML_OK);
    for (size_t i = 0; i < json_array_size(found); i++)
        expect_finding(&want, json_string_value(json_array_get(found, i)));
    json_object_foreach(json_object_get(expected, "decrypt"), statement, pcrs)
    {
        expect_binding(&want, statement, pcrs);
    }
    if (got.found != want.found)
        fail_msg("%s: the policy: %llx, not %llx", name, (unsigned long long)got.found,
                 (unsigned long long)want.found);
    rules = got.found;
    for (size_t i = 0; i < got.n; i++) {
        if (got.of[i].found != want.of[i].found)
            fail_msg("%s: statement %zu: %llx, not %llx", name, i,
                     (unsigned long long)got.of[i].found, (unsigned long long)want.of[i].found);
        assert_int_equal(got.of[i].pcrs, want.of[i].pcrs);
        assert_int_equal(got.of[i].decrypts, want.of[i].decrypts);
        rules |= got.of[i].found;
    }
    assert_int_equal(got.count[0] + got.count[1] + got.count[2], json_array_size(found));
    json_decref(policy);
    return rules;
}

static void examples(void **state)
{
    (void)state;
    json_t *all = read_json("expected"), *expected;
    const char *name;
    uint64_t seen = 0;
    assert_true(json_object_size(all) >= 80);
    json_object_foreach(all, name, expected)
    {
        uint64_t rules = compare(name, expected);
        seen |= rules;
        for (unsigned r = 0; strncmp(name, "clean-", 6) == 0 && r < eml_keypolicy_rules_n; r++)
            assert_true((rules >> r & 1) == 0 ||
                        eml_keypolicy_rules[r].severity == EML_KEYPOLICY_NOTE);
    }
    for (unsigned r = 0; r < eml_keypolicy_rules_n; r++)
        if ((seen >> r & 1) == 0)
            fail_msg("no example of %s", eml_keypolicy_rules[r].id);
    json_decref(all);
}

static const struct {
    const char *text, *rule;
} bad[] = {
    {"{}", "key policy: no statements"},
    {"{\"Statement\":[]}", "key policy: no statements"},
    {"{\"Statement\":7}", "key policy: a statement is not an object"},
    {"{\"Statement\":[7]}", "key policy: a statement is not an object"},
    {"{\"Statement\":[{}],\"Extra\":1}", "key policy: unknown element"},
    {"{\"Policy\":\"{}\",\"PolicyName\":\"default\"}", "key policy: unknown element"},
    {POLICY("{}"), "key policy: Effect is neither Allow nor Deny"},
    {POLICY("{\"Effect\":\"allow\"}"), "key policy: Effect is neither Allow nor Deny"},
    {POLICY(HEAD ",\"Resource\":\"*\",\"Conditions\":{}}"),
     "key policy: unknown element of a statement"},
    {POLICY(HEAD ",\"Resource\":\"*\",\"Sid\":7}"), "key policy: Sid is not a string"},
    {POLICY(HEAD "}"), "key policy: not one Resource or NotResource of strings"},
    {POLICY(HEAD ",\"Resource\":\"*\",\"NotResource\":\"*\"}"),
     "key policy: not one Resource or NotResource of strings"},
    {POLICY(HEAD ",\"Resource\":\"*\",\"NotAction\":\"*\"}"),
     "key policy: not one Action or NotAction of strings"},
    {POLICY("{\"Effect\":\"Allow\"," PRINCIPAL "\"Resource\":\"*\"}"),
     "key policy: not one Action or NotAction of strings"},
    {POLICY("{\"Effect\":\"Allow\"," PRINCIPAL "\"Action\":[],\"Resource\":\"*\"}"),
     "key policy: not one Action or NotAction of strings"},
    {POLICY("{\"Effect\":\"Allow\"," PRINCIPAL "\"Action\":[\"kms:*\",1],\"Resource\":\"*\"}"),
     "key policy: not one Action or NotAction of strings"},
    {POLICY("{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}"),
     "key policy: not one Principal or NotPrincipal"},
    {POLICY(HEAD ",\"Resource\":\"*\",\"NotPrincipal\":\"*\"}"),
     "key policy: not one Principal or NotPrincipal"},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":\"me\",\"Action\":\"*\",\"Resource\":\"*\"}"),
     "key policy: a principal is text but not *"},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":[],\"Action\":\"*\",\"Resource\":\"*\"}"),
     "key policy: a principal is neither * nor an object"},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":{},\"Action\":\"*\",\"Resource\":\"*\"}"),
     "key policy: a principal is neither * nor an object"},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":{\"aws\":\"*\"},\"Action\":\"*\","
            "\"Resource\":\"*\"}"),
     "key policy: unknown kind of principal"},
    {POLICY(
         "{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":{}},\"Action\":\"*\",\"Resource\":\"*\"}"),
     "key policy: principals are not one string or several"},
    {WITH("[]"), "key policy: Condition is not an object"},
    {WITH("{\"StringEquals\":{}}"), "key policy: a condition operator without keys"},
    {WITH("{\"StringEquals\":\"x\"}"), "key policy: a condition operator without keys"},
    {WITH("{\"StringEquals\":{\"aws:PrincipalArn\":[]}}"),
     "key policy: a condition's value is not a string or strings"},
    {WITH("{\"StringEquals\":{\"aws:PrincipalArn\":{}}}"),
     "key policy: a condition's value is not a string or strings"},
    {WITH("{\"StringEquals\":{\"kms:RecipientAttestation:PCR0\":12}}"),
     "key policy: a condition's value is not a string or strings"},
    {WITH("{\"StringEquals\":{\"kms:RecipientAttestation:PCR0\":[\"a\",null]}}"),
     "key policy: a condition's value is not a string or strings"},
};

static void what_is_no_key_policy_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_keypolicy_report report;
        struct eml_why why = {"", 0};
        json_t *v = NULL;
        assert_int_equal(eml_json_parse(eml_bytes_of_str(bad[i].text), 100000, &v, NULL), EML_OK);
        assert_int_equal(eml_keypolicy_lint(v, &report, &why), EML_E_INPUT);
        assert_string_equal(why.rule, bad[i].rule);
        assert_int_equal(report.n, 0);
        json_decref(v);
    }
}

static void the_number_of_statements_is_bounded(void **state)
{
    (void)state;
    for (unsigned n = EML_KEYPOLICY_STATEMENTS_MAX; n <= EML_KEYPOLICY_STATEMENTS_MAX + 1; n++) {
        struct eml_keypolicy_report report;
        struct eml_why why = {"", 0};
        json_t *one = read_json("clean-single-statement-object"), *list = json_array();
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(json_array_append(list, json_object_get(one, "Statement")), 0);
        assert_int_equal(json_object_set_new(one, "Statement", list), 0);
        enum eml_err e = eml_keypolicy_lint(one, &report, &why);
        assert_int_equal(e, n <= EML_KEYPOLICY_STATEMENTS_MAX ? EML_OK : EML_E_INPUT);
        assert_int_equal(report.n, e == EML_OK ? n : 0);
        json_decref(one);
    }
}

/* No prefix of a policy is one. */
static void truncated_anywhere(void **state)
{
    (void)state;
    struct eml_buf text = eml_test_read(FOLDER "clean-denial-per-pcr.json");
    for (size_t n = 0; n + 2 < text.len; n++) {
        json_t *v = NULL;
        assert_int_equal(eml_json_parse(eml_bytes(text.ptr, n), text.len, &v, NULL), EML_E_INPUT);
        assert_null(v);
    }
    eml_buf_free(&text);
}

/* Flipped bits make another policy or none; a clean one that is left still binds PCR0. */
static void flipped_anywhere(void **state)
{
    (void)state;
    struct eml_buf text = eml_test_read(FOLDER "clean-pcr0.json");
    size_t read = 0;
    for (size_t bit = 0; bit < 8 * text.len; bit++) {
        struct eml_keypolicy_report report;
        json_t *v = NULL;
        text.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (eml_json_parse(eml_buf_bytes(&text), text.len, &v, NULL) == EML_OK &&
            eml_keypolicy_lint(v, &report, NULL) == EML_OK) {
            read++;
            if (report.count[EML_KEYPOLICY_ERROR] + report.count[EML_KEYPOLICY_WARNING] == 0)
                assert_int_equal(report.of[2].pcrs, 1);
        }
        json_decref(v);
        text.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(read > 100);
    eml_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples),
        cmocka_unit_test(what_is_no_key_policy_is_refused),
        cmocka_unit_test(the_number_of_statements_is_bounded),
        cmocka_unit_test(truncated_anywhere),
        cmocka_unit_test(flipped_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
