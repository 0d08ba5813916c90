#include "testsupport/support.h"

#include "kmsd/policy.h"

#include <stdio.h>
#include <string.h>

#define ROOT "{\"AWS\":\"arn:aws:iam::000000000000:root\"}"
#define STATEMENT(effect, rest)                                                                    \
    "{\"Effect\":\"" effect "\",\"Principal\":" ROOT ",\"Resource\":\"*\"," rest "}"
#define POLICY(statements) "{\"Version\":\"2012-10-17\",\"Statement\":[" statements "]}"
#define WITH(condition)                                                                            \
    POLICY(STATEMENT("Allow", "\"Action\":\"kms:Decrypt\",\"Condition\":{" condition "}"))

static json_t *parse(const char *text)
{
    json_t *v = NULL;
    assert_int_equal(eml_json_parse(eml_bytes_of_str(text), 100000, &v, NULL), EML_OK);
    return v;
}

static const struct {
    const char *text, *rule;
} bad[] = {
    {"{}", "policy: no statements"},
    {"{\"Statement\":[]}", "policy: no statements"},
    {"{\"Statement\":{}}", "policy: no statements"},
    {"{\"Version\":\"2008-10-17\",\"Statement\":[]}", "policy: Version is not 2012-10-17"},
    {"{\"Statement\":[],\"X\":1}", "policy: unsupported element"},
    {"{\"Statement\":[1]}", "policy: a statement is not an object"},
    {"{\"Statement\":[{}]}", "policy: Effect is neither Allow nor Deny"},
    {POLICY(STATEMENT("allow", "\"Action\":\"*\"")), "policy: Effect is neither Allow nor Deny"},
    {POLICY(STATEMENT("Allow", "\"NotAction\":\"kms:Decrypt\"")),
     "policy: unsupported element of a statement"},
    {POLICY("{\"Effect\":\"Allow\",\"NotPrincipal\":" ROOT ",\"Resource\":\"*\",\"Action\":\"*\"}"),
     "policy: unsupported element of a statement"},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":" ROOT ",\"Action\":\"*\"}"),
     "policy: Resource is not *, this key"},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":" ROOT
            ",\"Action\":\"*\",\"Resource\":\"arn:aws:kms:x:y:key/z\"}"),
     "policy: Resource is not *, this key"},
    {POLICY("{\"Effect\":\"Allow\",\"Resource\":\"*\",\"Action\":\"*\"}"),
     "policy: Principal is not AWS with ARNs"},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"x\"},\"Resource\":\"*\","
            "\"Action\":\"*\"}"),
     "policy: Principal is not AWS with ARNs"},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":\"arn:aws:iam::000000000000:root\","
            "\"Resource\":\"*\",\"Action\":\"*\"}"),
     "policy: Principal is a string but not *"},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::000000000000:user/*\"},"
            "\"Resource\":\"*\",\"Action\":\"*\"}"),
     "policy: a principal is neither * nor a whole ARN"},
    {POLICY(STATEMENT("Allow", "\"Sid\":\"x\"")), "policy: Action is not a string or strings"},
    {POLICY(STATEMENT("Allow", "\"Action\":[]")), "policy: Action is not a string or strings"},
    {POLICY(STATEMENT("Allow", "\"Action\":[\"kms:*\",7]")),
     "policy: Action is not a string or strings"},
    {POLICY(STATEMENT("Allow", "\"Action\":\"s3:GetObject\"")),
     "policy: an action is not one of kms"},
    {WITH("\"StringEqualsIfExists\":{\"aws:PrincipalArn\":\"x\"}"),
     "policy: unsupported condition operator"},
    {WITH("\"ForAnyValue:StringEquals\":{\"aws:PrincipalArn\":\"x\"}"),
     "policy: unsupported condition operator"},
    {WITH("\"stringequals\":{\"aws:PrincipalArn\":\"x\"}"),
     "policy: unsupported condition operator"},
    {WITH("\"IpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"}"),
     "policy: unsupported condition operator"},
    {WITH("\"StringEquals\":{\"aws:SourceVpce\":\"x\"}"), "policy: unsupported condition key"},
    {WITH("\"StringEquals\":{\"kms:RecipientAttestation:PCR32\":\"x\"}"),
     "policy: unsupported condition key"},
    {WITH("\"StringEquals\":{\"kms:RecipientAttestation:PCR00\":\"x\"}"),
     "policy: unsupported condition key"},
    {WITH("\"StringEquals\":{\"kms:RecipientAttestation:NitroTPMPCR4\":\"x\"}"),
     "policy: unsupported condition key"},
    {WITH("\"StringEquals\":{\"kms:EncryptionContext:\":\"x\"}"),
     "policy: unsupported condition key"},
    {WITH("\"StringEquals\":{}"), "policy: a condition operator without keys"},
    {WITH("\"StringEquals\":\"x\""), "policy: a condition operator without keys"},
    {WITH("\"StringEquals\":{\"aws:PrincipalArn\":1}"),
     "policy: a condition's value is not a string or strings"},
    {WITH("\"StringEquals\":{\"aws:PrincipalArn\":[]}"),
     "policy: a condition's value is not a string or strings"},
    {WITH("\"Null\":{\"aws:PrincipalArn\":\"yes\"}"),
     "policy: a condition's value is not true or false"},
    {WITH("\"Bool\":{\"aws:SecureTransport\":\"1\"}"),
     "policy: a condition's value is not true or false"},
    {POLICY(STATEMENT("Allow", "\"Action\":\"*\",\"Condition\":[]")),
     "policy: Condition is not an object"},
    {POLICY(STATEMENT("Allow", "\"Action\":\"*\"") "," STATEMENT("Deny", "\"Action\":\"x\"")),
     "policy: an action is not one of kms"},
};

static void what_is_not_understood_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_why why = {"", 0};
        json_t *p = parse(bad[i].text);
        assert_int_equal(eml_kmsd_policy_check(p, &why), EML_E_INPUT);
        assert_string_equal(why.rule, bad[i].rule);
        json_decref(p);
    }
}

#define USER "arn:aws:iam::000000000000:user/ann"
#define OTHER "arn:aws:iam::999999999999:user/eve"
#define PCR0 "kms:RecipientAttestation:PCR0"
#define ATTRIBUTES                                                                                 \
    "{\"" PCR0 "\":\"00ff\",\"kms:RecipientAttestation:PCR31\":\"1f\","                            \
    "\"kms:EncryptionContext:App\":\"demo\",\"aws:SecureTransport\":\"true\"}"

static const struct {
    const char *policy, *action, *principal, *attributes;
    bool allowed;
} decisions[] = {
    /* default deny, actions, principals */
    {POLICY(STATEMENT("Allow", "\"Action\":\"kms:Decrypt\"")), "kms:Decrypt", USER, "{}", true},
    {POLICY(STATEMENT("Allow", "\"Action\":\"kms:Decrypt\"")), "kms:Encrypt", USER, "{}", false},
    {POLICY(STATEMENT("Allow", "\"Action\":\"kms:decrypt\"")), "kms:Decrypt", USER, "{}", true},
    {POLICY(STATEMENT("Allow", "\"Action\":\"kms:Generate*\"")), "kms:GenerateDataKey", USER, "{}",
     true},
    {POLICY(STATEMENT("Allow", "\"Action\":\"kms:Generate*\"")), "kms:Decrypt", USER, "{}", false},
    {POLICY(STATEMENT("Allow", "\"Action\":\"kms:*Policy\"")), "kms:PutKeyPolicy", USER, "{}",
     true},
    {POLICY(STATEMENT("Allow", "\"Action\":\"kms:Decryp?\"")), "kms:Decrypt", USER, "{}", true},
    {POLICY(STATEMENT("Allow", "\"Action\":[\"kms:Encrypt\",\"*\"]")), "kms:Decrypt", USER, "{}",
     true},
    {POLICY(STATEMENT("Allow", "\"Action\":\"*\"")), "kms:Decrypt", OTHER, "{}", false},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Resource\":\"*\",\"Action\":\"*\"}"),
     "kms:Decrypt", OTHER, "{}", true},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":[\"" USER
            "\"]},\"Resource\":\"*\",\"Action\":\"*\"}"),
     "kms:Decrypt", USER, "{}", true},
    {POLICY("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":[\"" USER
            "\"]},\"Resource\":\"*\",\"Action\":\"*\"}"),
     "kms:Decrypt", USER "a", "{}", false},
    /* explicit deny wins, in any order */
    {POLICY(STATEMENT("Deny", "\"Action\":\"kms:Decrypt\"") "," STATEMENT("Allow",
                                                                          "\"Action\":\"*\"")),
     "kms:Decrypt", USER, "{}", false},
    {POLICY(STATEMENT("Allow", "\"Action\":\"*\"") "," STATEMENT("Deny",
                                                                 "\"Action\":\"kms:Decrypt\"")),
     "kms:Decrypt", USER, "{}", false},
    {POLICY(STATEMENT("Allow", "\"Action\":\"*\"") "," STATEMENT("Deny",
                                                                 "\"Action\":\"kms:Decrypt\"")),
     "kms:Encrypt", USER, "{}", true},
    /* conditions */
    {WITH("\"StringEquals\":{\"" PCR0 "\":\"00ff\"}"), "kms:Decrypt", USER, ATTRIBUTES, true},
    {WITH("\"StringEquals\":{\"KMS:recipientattestation:pcr0\":\"00ff\"}"), "kms:Decrypt", USER,
     ATTRIBUTES, true},
    {WITH("\"StringEquals\":{\"" PCR0 "\":\"00FF\"}"), "kms:Decrypt", USER, ATTRIBUTES, false},
    {WITH("\"StringEqualsIgnoreCase\":{\"" PCR0 "\":\"00FF\"}"), "kms:Decrypt", USER, ATTRIBUTES,
     true},
    {WITH("\"StringEqualsIgnoreCase\":{\"" PCR0 "\":\"00fe\"}"), "kms:Decrypt", USER, ATTRIBUTES,
     false},
    {WITH("\"StringEqualsIgnoreCase\":{\"" PCR0 "\":[\"11\",\"00ff\"]}"), "kms:Decrypt", USER,
     ATTRIBUTES, true},
    {WITH("\"StringEqualsIgnoreCase\":{\"" PCR0 "\":\"00ff\"}"), "kms:Decrypt", USER, "{}", false},
    {WITH("\"StringEquals\":{\"kms:RecipientAttestation:PCR1\":\"00ff\"}"), "kms:Decrypt", USER,
     ATTRIBUTES, false},
    {WITH("\"StringEquals\":{\"kms:RecipientAttestation:PCR31\":\"1f\",\"" PCR0 "\":\"00ff\"}"),
     "kms:Decrypt", USER, ATTRIBUTES, true},
    {WITH("\"StringEquals\":{\"kms:RecipientAttestation:PCR31\":\"1f\",\"" PCR0 "\":\"00fe\"}"),
     "kms:Decrypt", USER, ATTRIBUTES, false},
    {WITH("\"StringEquals\":{\"" PCR0 "\":\"00ff\"},\"Bool\":{\"aws:SecureTransport\":\"false\"}"),
     "kms:Decrypt", USER, ATTRIBUTES, false},
    {WITH("\"Bool\":{\"aws:SecureTransport\":\"True\"}"), "kms:Decrypt", USER, ATTRIBUTES, true},
    {WITH("\"StringEquals\":{\"kms:EncryptionContext:App\":\"demo\"}"), "kms:Decrypt", USER,
     ATTRIBUTES, true},
    {WITH("\"StringEquals\":{\"kms:EncryptionContext:App\":\"dem\"}"), "kms:Decrypt", USER,
     ATTRIBUTES, false},
    {WITH("\"StringLike\":{\"kms:EncryptionContext:App\":\"d*m?\"}"), "kms:Decrypt", USER,
     ATTRIBUTES, true},
    {WITH("\"StringLike\":{\"kms:EncryptionContext:App\":\"d*M?\"}"), "kms:Decrypt", USER,
     ATTRIBUTES, false},
    {WITH("\"StringNotEquals\":{\"" PCR0 "\":[\"11\",\"22\"]}"), "kms:Decrypt", USER, ATTRIBUTES,
     true},
    {WITH("\"StringNotEquals\":{\"" PCR0 "\":[\"11\",\"00ff\"]}"), "kms:Decrypt", USER, ATTRIBUTES,
     false},
    {WITH("\"StringNotEquals\":{\"" PCR0 "\":\"11\"}"), "kms:Decrypt", USER, "{}", true},
    {WITH("\"Null\":{\"" PCR0 "\":\"true\"}"), "kms:Decrypt", USER, "{}", true},
    {WITH("\"Null\":{\"" PCR0 "\":\"true\"}"), "kms:Decrypt", USER, ATTRIBUTES, false},
    {WITH("\"Null\":{\"" PCR0 "\":\"false\"}"), "kms:Decrypt", USER, ATTRIBUTES, true},
    /* an unconditional allow is only closed by a deny for those without a document */
    {POLICY(STATEMENT("Allow", "\"Action\":\"*\"") "," STATEMENT(
         "Deny", "\"Action\":\"kms:Decrypt\",\"Condition\":{\"Null\":{\"" PCR0 "\":\"true\"}}")),
     "kms:Decrypt", USER, "{}", false},
    {POLICY(STATEMENT("Allow", "\"Action\":\"*\"") "," STATEMENT(
         "Deny", "\"Action\":\"kms:Decrypt\",\"Condition\":{\"Null\":{\"" PCR0 "\":\"true\"}}")),
     "kms:Decrypt", USER, ATTRIBUTES, true},
};

static void decisions_are_aws_s(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof decisions / sizeof decisions[0]; i++) {
        json_t *policy = parse(decisions[i].policy), *attributes = parse(decisions[i].attributes);
        const struct eml_kmsd_access access = {decisions[i].action, decisions[i].principal,
                                               attributes};
        struct eml_why why = {"", 0};
        assert_int_equal(eml_kmsd_policy_check(policy, &why), EML_OK);
        if (eml_kmsd_policy_allows(policy, &access) != decisions[i].allowed)
            fail_msg("decision %zu: %s", i, decisions[i].policy);
        json_decref(policy);
        json_decref(attributes);
    }
}

static void every_pcr_has_its_key(void **state)
{
    (void)state;
    for (int i = -1; i < 100; i++) {
        char text[400];
        (void)snprintf(text, sizeof text,
                       WITH("\"StringEquals\":{\"kms:RecipientAttestation:PCR%d\":\"x\"}"), i);
        json_t *p = parse(text);
        assert_int_equal(eml_kmsd_policy_check(p, NULL), i >= 0 && i < 32 ? EML_OK : EML_E_INPUT);
        json_decref(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_understood_is_refused),
        cmocka_unit_test(decisions_are_aws_s),
        cmocka_unit_test(every_pcr_has_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
