/* Who sent a request: AWS Signature Version 4 recomputed over whatever headers the client says it
 * has signed, host, x-amz-date and x-amz-target among them at least. Bytes in; no keys of KMS, no
 * network.
 */
#ifndef EML_KMSD_AUTH_H
#define EML_KMSD_AUTH_H

#include "aws/sigv4.h"

#define EML_KMSD_SKEW_SECONDS 300
#define EML_KMSD_CALLERS_MAX 16u

struct eml_kmsd_caller { /* strings of main's arguments */
    struct eml_bytes access_key_id, secret_access_key;
    const char *arn;
};

struct eml_kmsd_auth {
    struct eml_kmsd_caller caller[EML_KMSD_CALLERS_MAX];
    size_t n_callers;
    struct eml_bytes region;
};

/* request: POST, with all headers as received (signed or not). *caller is who signed it, or NULL;
 * then the result is the name of the KMS error, a literal. */
const char *eml_kmsd_authenticate(const struct eml_kmsd_auth *a,
                                  const struct eml_sigv4_request *request, int64_t now_unix_s,
                                  const struct eml_kmsd_caller **caller);

/* The value of the only header of that name (lower case given), ptr NULL if there is none or
 * several. */
struct eml_bytes eml_kmsd_header(const struct eml_sigv4_request *request, const char *name);

#endif
