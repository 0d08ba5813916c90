/* What attestation showed: lines for people, members for --json. */
#ifndef EML_CLI_REPORT_H
#define EML_CLI_REPORT_H

#include "attest/attest.h"

#include <jansson.h>

void eml_report_checks(const struct eml_attest_report *report);
/* {"checks": [{"rule", "passed"}], "document": {...}}: a new reference, NULL if out of memory. The
 * document's part is left out if attested is NULL (refused). */
json_t *eml_report_json(const struct eml_attest_report *report,
                        const struct eml_attested *attested);
/* Prints and drops the reference. */
EML_MUST enum eml_err eml_report_print_json(json_t *json);

#endif
