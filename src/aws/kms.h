/* The AWS KMS calls that go with attestation, as bytes: signed HTTP requests out, answers in. TLS
 * and sockets are the caller's; the connection must end where the answer is used, for a
 * CiphertextForRecipient is only as authentic as its connection.
 *
 * KMS's JSON 1.1 protocol (TrentService), docs/formats/kms.md. An answer is believed only as far as
 * it was asked for: the KeyId must be the one that was named, and a Plaintext must be there if and
 * only if no recipient was named. Ciphertext blobs are opaque.
 */
#ifndef EML_AWS_KMS_H
#define EML_AWS_KMS_H

#include "aws/sigv4.h"
#include "wire/http1.h"

#define EML_KMS_RESPONSE_BODY_MAX 65536u
#define EML_KMS_CIPHERTEXT_MAX 6144u
#define EML_KMS_DOCUMENT_MAX 262144u
#define EML_KMS_CONTEXT_MAX 8u

struct eml_kms_endpoint {
    struct eml_bytes host; /* value of the Host header: name, and :port unless 443 */
    struct eml_bytes region;
};

struct eml_kms_pair { /* of the encryption context; UTF-8 text, not secret */
    struct eml_bytes name, value;
};

struct eml_kms_call {
    struct eml_bytes key_arn;
    const struct eml_kms_pair *context; /* names differ */
    size_t n_context;
    struct eml_bytes document; /* the attestation document of the recipient; ptr NULL: none */
};

/* Append a whole HTTP request, headers and body. EML_E_USAGE: something in the call is out of
 * bounds or not UTF-8. Decrypt: `ciphertext` is a CiphertextBlob. GenerateDataKey: AES_256. */
EML_MUST enum eml_err eml_kms_put_decrypt(const struct eml_kms_endpoint *at,
                                          const struct eml_aws_credentials *who, int64_t now_unix_s,
                                          const struct eml_kms_call *call,
                                          struct eml_bytes ciphertext, struct eml_buf *out);
EML_MUST enum eml_err eml_kms_put_generate_data_key(const struct eml_kms_endpoint *at,
                                                    const struct eml_aws_credentials *who,
                                                    int64_t now_unix_s,
                                                    const struct eml_kms_call *call,
                                                    struct eml_buf *out);

struct eml_kms_answer {           /* owned; what was not asked for is empty */
    struct eml_buf plaintext;     /* secret */
    struct eml_buf for_recipient; /* CiphertextForRecipient, for cms.h */
    struct eml_buf ciphertext;    /* CiphertextBlob of GenerateDataKey */
};

/* Read the response to the call of the same name. An error that KMS names: *why has its name as
 * rule; EML_E_REFUSED for what policy, key state or credentials forbid, EML_E_AUTH for a ciphertext
 * that is not this key's and context's, EML_E_NET for what may pass if tried again. EML_E_INPUT:
 * not an answer to this call. *out is empty on failure. */
EML_MUST enum eml_err eml_kms_get_decrypt(const struct eml_http1_response *r,
                                          const struct eml_kms_call *call,
                                          struct eml_kms_answer *out, struct eml_why *why);
EML_MUST enum eml_err eml_kms_get_generate_data_key(const struct eml_http1_response *r,
                                                    const struct eml_kms_call *call,
                                                    struct eml_kms_answer *out,
                                                    struct eml_why *why);
void eml_kms_answer_free(struct eml_kms_answer *a);

#endif
