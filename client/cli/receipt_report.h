/* What a receipt says: lines for people, members for --json. */
#ifndef EML_CLI_RECEIPT_REPORT_H
#define EML_CLI_RECEIPT_REPORT_H

#include "receipt/verify.h"

#include <jansson.h>

/* Everything but the document's part. EML_E_INPUT: a part of the file is malformed. Nothing of it
 * is authentic. */
EML_MUST enum eml_err eml_receipt_peek(const struct eml_receipt *r,
                                       struct eml_receipt_verified *out, struct eml_why *why);

void eml_receipt_report_checks(const struct eml_receipt_report *report);
void eml_receipt_report_print(const struct eml_receipt_verified *v);
/* New references; NULL if out of memory. */
json_t *eml_receipt_report_checks_json(const struct eml_receipt_report *report);
json_t *eml_receipt_report_air_json(const struct eml_air *a);
json_t *eml_receipt_report_json(const struct eml_receipt_verified *v);

#endif
