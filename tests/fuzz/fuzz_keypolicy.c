// link: keypolicy
#include "testsupport/support.h"

#include "keypolicy/lint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A key policy is refused with a rule, or judged: findings are rules that exist, and a statement
 * with PCRs decrypts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_keypolicy_report report;
    struct eml_why why = {NULL, 0};
    json_t *policy = NULL;
    if (eml_json_parse(eml_bytes(data, size), EML_KEYPOLICY_BYTES_MAX, &policy, &why) != EML_OK) {
        EML_ASSERT(policy == NULL && why.rule != NULL);
        return 0;
    }
    if (eml_keypolicy_lint(policy, &report, &why) != EML_OK)
        EML_ASSERT(why.rule != NULL && report.n == 0);
    else {
        EML_ASSERT(report.n > 0 && report.found >> eml_keypolicy_rules_n == 0);
        for (size_t i = 0; i < report.n; i++) {
            EML_ASSERT(report.of[i].found >> eml_keypolicy_rules_n == 0);
            EML_ASSERT(report.of[i].pcrs == 0 || report.of[i].decrypts);
        }
    }
    json_decref(policy);
    return 0;
}
