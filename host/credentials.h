/* The host's AWS credentials: a JSON file as instance roles and containers give it, read afresh for
 * each request (they are short-lived): {"AccessKeyId", "SecretAccessKey", "Token" or "SessionToken"
 * (may be absent), "Region"}; other members are ignored. */
#ifndef EML_HOST_CREDENTIALS_H
#define EML_HOST_CREDENTIALS_H

#include "hostproto/hostproto.h"

/* Appends the whole answer frame's content. EML_E_SYSTEM: the file cannot be read; EML_E_INPUT: it
 * does not hold credentials. Nothing is appended on failure. */
EML_MUST enum eml_err eml_credentials_answer(const char *path, struct eml_buf *out);

#endif
