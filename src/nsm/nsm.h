/* The Nitro Secure Module: requests and responses in CBOR (facts of aws-nitro-enclaves-nsm-api), and
 * a device that answers them. The codec is here; the device is one object file: nsm_dev.c (the real
 * /dev/nsm, in enclave/) or nsm_mock.c (in mock/), which speaks the same bytes.
 */
#ifndef EML_NSM_NSM_H
#define EML_NSM_NSM_H

#include "base/bytes.h"

#define EML_NSM_REQUEST_MAX 4096u
#define EML_NSM_RESPONSE_MAX 12288u

/* The device. Implemented by exactly one object in a program. */
struct eml_nsm;
EML_MUST enum eml_err eml_nsm_open(struct eml_nsm **out, struct eml_why *why);
void eml_nsm_close(struct eml_nsm *n);
/* One request, one response. *response_len is what the device wrote. */
EML_MUST enum eml_err eml_nsm_exchange(struct eml_nsm *n, struct eml_bytes request,
                                       struct eml_room response, size_t *response_len);

/* Codec: encoders append a request; decoders take a whole response. A response {"Error": name} is
 * EML_E_REFUSED with the error's name (a literal) as rule. */
struct eml_nsm_attest_args { /* .ptr NULL = absent (null) */
    struct eml_bytes user_data, nonce, public_key;
};
EML_MUST enum eml_err eml_nsm_put_attestation(const struct eml_nsm_attest_args *a,
                                              struct eml_buf *out);
EML_MUST enum eml_err eml_nsm_get_attestation(struct eml_bytes response, struct eml_bytes *document,
                                              struct eml_why *why);
EML_MUST enum eml_err eml_nsm_put_random(struct eml_buf *out);
EML_MUST enum eml_err eml_nsm_get_random(struct eml_bytes response, struct eml_bytes *random,
                                         struct eml_why *why);
/* ... DescribeNSM, DescribePCR, ExtendPCR, LockPCR, LockPCRs likewise. */

#endif
