#include "testsupport/support.h"

#include "keypolicy/read.h"

#include <stdio.h>

static void patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool fold, match;
    } t[] = {
        {"", "", false, true},
        {"*", "", false, true},
        {"", "a", false, false},
        {"kms:*", "kms:Decrypt", false, true},
        {"kms:De*", "kms:Decrypt", false, true},
        {"kms:de*", "kms:Decrypt", false, false},
        {"kms:de*", "kms:Decrypt", true, true},
        {"kms:Decrypt", "kms:DecryptX", true, false},
        {"kms:Decryp?", "kms:Decrypt", true, true},
        {"kms:Decrypt?", "kms:Decrypt", true, false},
        {"*a*b*c*", "xxaxxbxxc", false, true},
        {"*a*b*c", "xxaxxbxxcx", false, false},
        {"**", "x", false, true},
        {"*abc", "ababc", false, true},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++)
        if (eml_keypolicy_glob(t[i].pattern, t[i].text, t[i].fold) != t[i].match)
            fail_msg("pattern %zu", i);
}

static void names_of_pcrs(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int pcr;
    } t[] = {
        {"kms:RecipientAttestation:ImageSha384", 0},
        {"KMS:recipientattestation:imagesha384", 0},
        {"kms:RecipientAttestation:pcr31", 31},
        {"kms:RecipientAttestation:PCR00", -1},
        {"kms:RecipientAttestation:PCR08", -1},
        {"kms:RecipientAttestation:PCR32", -1},
        {"kms:RecipientAttestation:PCR100", -1},
        {"kms:RecipientAttestation:PCR", -1},
        {"kms:RecipientAttestation:PCR1x", -1},
        {"kms:RecipientAttestation:", -1},
        {"kms:RecipientAttestation", -1},
        {"kms:RecipientAttestation:NitroTPMPCR4", -1},
        {"aws:PrincipalArn", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++)
        assert_int_equal(eml_keypolicy_pcr(t[i].key), t[i].pcr);
    for (int n = 0; n < 100; n++) {
        char key[64];
        (void)snprintf(key, sizeof key, "kms:RecipientAttestation:PCR%d", n);
        assert_int_equal(eml_keypolicy_pcr(key), n < 32 ? n : -1);
    }
}

static void accounts(void **state)
{
    (void)state;
    assert_true(eml_keypolicy_is_account("arn:aws:iam::111122223333:root"));
    assert_false(eml_keypolicy_is_account("arn:aws:iam::111122223333:user/root"));
    assert_false(eml_keypolicy_is_account(":root"));
    assert_false(eml_keypolicy_is_account(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(names_of_pcrs),
        cmocka_unit_test(accounts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
