/* The messages inside the channel: a request and its result (docs/formats/request.md).
 *
 * Canonical CBOR (RFC 8949 section 4.2.1). decode(x) ok implies encode(decode(x)) == x. Decoding
 * borrows from the encoded bytes and takes its arrays from the arena given; nothing is copied.
 * Encoding goes to a sink in parts, so that tensors travel from where they lie, with no second copy
 * in clear. All of both messages is secret.
 *
 * Trusts nothing: names are UTF-8 and unique, element types known, dims non-negative, data exactly
 * as long as type and dims say. Whether names and shapes fit the model is for the caller to check.
 */
#ifndef EML_SESSION_REQUEST_H
#define EML_SESSION_REQUEST_H

#include "engine/engine.h"

enum eml_mode {
    EML_MODE_REQUEST = 0, /* everything is destroyed after one inference */
    EML_MODE_SESSION = 1, /* the model lives until the session ends */
};

#define EML_KEY_ARN_BYTES_MAX 2048u
#define EML_CIPHERTEXT_BLOB_BYTES_MAX 6144u
#define EML_KERNELS_BYTES_MAX 64u
#define EML_SALT_BYTES 32u
/* A message of its own before the result's, so that it can be verified while that is on its way:
 * receipt/receipt.h, without document. */
#define EML_RECEIPT_MESSAGE_MAX 131072u

struct eml_named_tensor {
    struct eml_bytes name; /* UTF-8, 1..EML_NAME_BYTES_MAX */
    struct eml_tensor tensor;
};

/* A request sealed once more under a KMS data key. */
struct eml_request_kms {
    struct eml_bytes key_arn;         /* the key whose policy names the enclave; 1.. bytes */
    struct eml_bytes ciphertext_blob; /* the data key, as KMS encrypted it; 1.. bytes */
    struct eml_bytes sealed;          /* eml_request_seal of a plain request */
};

/* Either plain {topology, inputs} or kms: has_kms tells. */
struct eml_request {
    enum eml_mode mode;
    struct eml_bytes topology; /* ptr NULL: absent (a further request of a session) */
    size_t n_inputs;
    struct eml_named_tensor *inputs;
    struct eml_bytes salt; /* of the receipt's request hash (commit.h): EML_SALT_BYTES */
    bool has_kms;
    struct eml_request_kms kms; /* if has_kms: topology and salt absent, n_inputs 0 */
};

struct eml_result {
    size_t n_outputs;
    struct eml_named_tensor *outputs;
    uint64_t weights_us;  /* getting the sealed weights */
    uint64_t assemble_us; /* decode, plan, open */
    uint64_t run_us;
    uint64_t wipe_us;
    uint64_t exposure_us; /* first plaintext weight byte to the end of the wipe */
    uint64_t wiped_bytes;
    struct eml_bytes kernels; /* e.g. "avx512"; ASCII, at most EML_KERNELS_BYTES_MAX */
    struct eml_bytes salt;    /* of the receipt's response hash: EML_SALT_BYTES */
};

/* Takes the parts of an encoding in order. */
struct eml_part_sink {
    enum eml_err (*put)(void *ctx, struct eml_bytes part);
    void *ctx;
};
/* A sink that appends to a buffer (ctx: struct eml_buf *). */
enum eml_err eml_part_to_buf(void *ctx, struct eml_bytes part);

/* What precedes a tensor's data in an encoding: name, type, dims, and the length of the data. */
void eml_tensor_put_head(struct eml_buf *out, const struct eml_named_tensor *t);

EML_MUST enum eml_err eml_request_encode(const struct eml_request *r, struct eml_part_sink sink);
/* EML_E_INPUT with the rule; EML_E_SYSTEM: the arena is full. *out is then zero. */
EML_MUST enum eml_err eml_request_decode(struct eml_bytes encoded, struct eml_arena *arena,
                                         struct eml_request *out, struct eml_why *why);

/* The bytes of the encoding, for eml_channel_seal_begin. */
uint64_t eml_result_bytes(const struct eml_result *r);
EML_MUST enum eml_err eml_result_encode(const struct eml_result *r, struct eml_part_sink sink);
EML_MUST enum eml_err eml_result_decode(struct eml_bytes encoded, struct eml_arena *arena,
                                        struct eml_result *out, struct eml_why *why);

#endif
