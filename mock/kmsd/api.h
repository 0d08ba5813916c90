/* The API of the development KMS: an operation's name and JSON body in, a status and JSON body out.
 *
 * CreateKey, DescribeKey, ListKeys, GetKeyPolicy, PutKeyPolicy, Encrypt, Decrypt, GenerateDataKey,
 * GenerateRandom, with the members, limits and error names of AWS KMS (docs/formats/kms.md). Keys
 * are symmetric. There is no IAM: every known caller may create keys, list them and draw random
 * bytes; all else is the key policy's to allow.
 */
#ifndef EML_KMSD_API_H
#define EML_KMSD_API_H

#include "kmsd/keystore.h"
#include "kmsd/recipient.h"

#define EML_KMSD_ACCOUNT "000000000000"
#define EML_KMSD_BODY_BYTES_MAX 524288u

struct eml_kmsd_api {
    struct eml_kmsd_store *store;
    struct eml_kmsd_trust trust;
    const char *region;
};

struct eml_kmsd_reply {
    unsigned status;
    struct eml_buf body; /* JSON; owned, may hold secrets */
};

/* operation: without "TrentService.". caller: ARN of who signed. Always gives a reply. */
void eml_kmsd_api_call(struct eml_kmsd_api *api, struct eml_bytes operation, const char *caller,
                       struct eml_bytes body, int64_t now_unix_s, struct eml_kmsd_reply *out);

/* A reply that is an error: name is an error of KMS, a literal; text may be "". */
void eml_kmsd_api_error(const char *name, const char *text, struct eml_kmsd_reply *out);

void eml_kmsd_reply_free(struct eml_kmsd_reply *r);

#endif
