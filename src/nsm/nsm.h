/* The Nitro Secure Module: its seven calls in CBOR, and the device that answers them.
 *
 * The codec is here; the device is one object file: nsm_dev.c (the real /dev/nsm, in enclave/) or
 * nsm_mock.c (in mock/), which speak the same bytes. A call without arguments is a bare text
 * string, one with arguments a map of one pair, name to map; answers follow the same rule, so
 * LockPCR and LockPCRs answer with a bare string. Encoders write what AWS's library writes.
 * Decoders take any order of keys and definite or indefinite maps, but no unknown, duplicate or
 * missing member. Source: aws-nitro-enclaves-nsm-api (types and driver), Linux drivers/misc/nsm.c.
 */
#ifndef EML_NSM_NSM_H
#define EML_NSM_NSM_H

#include "base/bytes.h"

#define EML_NSM_REQUEST_MAX 4096u
#define EML_NSM_RESPONSE_MAX 12288u
#define EML_NSM_PCR_N 32u

/* --- the device: implemented by exactly one object in a program --- */
struct eml_nsm;
EML_MUST enum eml_err eml_nsm_open(struct eml_nsm **out, struct eml_why *why);
void eml_nsm_close(struct eml_nsm *n); /* n may be NULL */
/* One request, one response. *response_len is what the device wrote, 0 on failure. The device cuts
 * what does not fit without a word, so response.len must be EML_NSM_RESPONSE_MAX at least
 * (EML_E_USAGE otherwise, and for a request over EML_NSM_REQUEST_MAX). */
EML_MUST enum eml_err eml_nsm_exchange(struct eml_nsm *n, struct eml_bytes request,
                                       struct eml_room response, size_t *response_len);

/* Whether documents of this device prove an enclave: true of /dev/nsm, false of a double. Receipts
 * say "production" or "evaluation" by it. */
extern const bool eml_nsm_genuine;

/* --- codec --- */
enum eml_nsm_call {
    EML_NSM_DESCRIBE_NSM,
    EML_NSM_DESCRIBE_PCR,
    EML_NSM_EXTEND_PCR,
    EML_NSM_LOCK_PCR,
    EML_NSM_LOCK_PCRS,
    EML_NSM_GET_RANDOM,
    EML_NSM_ATTESTATION,
    EML_NSM_CALLS_N,
};

enum eml_nsm_error { /* numbered as the C API's; the wire carries names */
                     EML_NSM_SUCCESS,
                     EML_NSM_INVALID_ARGUMENT,
                     EML_NSM_INVALID_INDEX,
                     EML_NSM_INVALID_RESPONSE,
                     EML_NSM_READ_ONLY_INDEX,
                     EML_NSM_INVALID_OPERATION,
                     EML_NSM_BUFFER_TOO_SMALL,
                     EML_NSM_INPUT_TOO_LARGE,
                     EML_NSM_INTERNAL_ERROR,
                     EML_NSM_ERRORS_N,
};

struct eml_nsm_request { /* views borrowed */
    enum eml_nsm_call call;
    uint16_t index;                                /* DescribePCR, ExtendPCR, LockPCR */
    uint16_t range;                                /* LockPCRs: locks PCR 0 to range - 1 */
    struct eml_bytes data;                         /* ExtendPCR */
    struct eml_bytes user_data, nonce, public_key; /* Attestation; ptr NULL = null or absent */
};

struct eml_nsm_response { /* views borrowed */
    enum eml_nsm_call call;
    enum eml_nsm_error error; /* if not SUCCESS, all else is empty */
    uint16_t version_major, version_minor, version_patch, max_pcrs; /* DescribeNSM */
    struct eml_bytes module_id;                                     /* DescribeNSM */
    uint32_t locked_pcrs;                                           /* DescribeNSM: bit i, PCR i */
    bool lock;                                                      /* DescribePCR */
    struct eml_bytes data;     /* DescribePCR, ExtendPCR: the PCR's value */
    struct eml_bytes random;   /* GetRandom */
    struct eml_bytes document; /* Attestation: an untagged COSE_Sign1 */
};

/* Appends the request. */
EML_MUST enum eml_err eml_nsm_request_encode(const struct eml_nsm_request *r, struct eml_buf *out);
/* EML_E_INPUT: not exactly one call. *out is zero then. */
EML_MUST enum eml_err eml_nsm_request_decode(struct eml_bytes request, struct eml_nsm_request *out);
/* Appends the response; an error if r->error says so. */
EML_MUST enum eml_err eml_nsm_response_encode(const struct eml_nsm_response *r,
                                              struct eml_buf *out);
/* The answer to `call`. {"Error": name} is EML_E_REFUSED with the error's name as rule and its
 * number in out->error. Anything else, another call's answer included, is EML_E_INPUT. */
EML_MUST enum eml_err eml_nsm_response_decode(struct eml_bytes response, enum eml_nsm_call call,
                                              struct eml_nsm_response *out, struct eml_why *why);

/* --- what the enclave needs of it; the getters refuse an answer of no bytes (EML_E_INPUT) --- */
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

#endif
