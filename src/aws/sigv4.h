/* AWS Signature Version 4, header form, as KMS wants it: canonical request, string to sign,
 * signature. The same functions sign (kms.c) and let the development KMS verify what a client
 * signed.
 *
 * Source: AWS General Reference, "Create a signed AWS API request"; cases of aws-c-auth's suite.
 * The path is taken as it is (KMS has only "/"), the query's parameters are sorted but must come
 * percent-encoded. Header values are trimmed and runs of spaces in them become one.
 */
#ifndef EML_AWS_SIGV4_H
#define EML_AWS_SIGV4_H

#include "crypto/crypto.h"

#define EML_SIGV4_HEADERS_MAX 32u
#define EML_SIGV4_TIME_BYTES 16u /* YYYYMMDDTHHMMSSZ */
#define EML_SIGV4_SIGNATURE_BYTES 64u

struct eml_sigv4_header {
    struct eml_bytes name, value; /* name in any case */
};

struct eml_sigv4_request {
    struct eml_bytes method, path, query;  /* query without '?' */
    const struct eml_sigv4_header *header; /* those that are signed, in any order, each once */
    size_t n_headers;
    struct eml_bytes body;
};

struct eml_sigv4_scope {
    struct eml_bytes date; /* YYYYMMDD */
    struct eml_bytes region, service;
};

/* The credentials of a caller. Borrowed; secret_access_key and session_token are secret. */
struct eml_aws_credentials {
    struct eml_bytes access_key_id, secret_access_key;
    struct eml_bytes session_token; /* ptr NULL: long-term credentials */
};

/* Each appends to *out. EML_E_INPUT: a header twice, too many headers or parameters. */
EML_MUST enum eml_err eml_sigv4_signed_headers(const struct eml_sigv4_request *r,
                                               struct eml_buf *out);
EML_MUST enum eml_err eml_sigv4_canonical_request(const struct eml_sigv4_request *r,
                                                  struct eml_buf *out);
EML_MUST enum eml_err eml_sigv4_string_to_sign(struct eml_bytes canonical_request,
                                               struct eml_bytes time,
                                               const struct eml_sigv4_scope *scope,
                                               struct eml_buf *out);
/* 64 lower-case hex digits. */
EML_MUST enum eml_err eml_sigv4_signature(struct eml_bytes secret_access_key,
                                          const struct eml_sigv4_scope *scope,
                                          struct eml_bytes string_to_sign,
                                          uint8_t out[EML_SIGV4_SIGNATURE_BYTES]);
/* All of the above: appends the value of the Authorization header. */
EML_MUST enum eml_err eml_sigv4_authorize(const struct eml_sigv4_request *r, struct eml_bytes time,
                                          const struct eml_sigv4_scope *scope,
                                          const struct eml_aws_credentials *credentials,
                                          struct eml_buf *out);

/* An Authorization header taken apart; views into it. */
struct eml_sigv4_authorization {
    struct eml_bytes access_key_id;
    struct eml_sigv4_scope scope;
    struct eml_bytes signed_headers; /* lower-case names with ';' between */
    struct eml_bytes signature;
};
EML_MUST enum eml_err eml_sigv4_parse(struct eml_bytes authorization,
                                      struct eml_sigv4_authorization *out);

/* Seconds since 1970 to YYYYMMDDTHHMMSSZ and back (EML_E_INPUT unless a valid time of 1970 to
 * 9999). */
EML_MUST enum eml_err eml_sigv4_time(int64_t unix_s, uint8_t out[EML_SIGV4_TIME_BYTES]);
EML_MUST enum eml_err eml_sigv4_parse_time(struct eml_bytes text, int64_t *unix_s);

#endif
