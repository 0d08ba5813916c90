/* Decomposition: an ONNX model becomes a topology key (the graph, no weight) and sealed weights (no
 * graph). Done once, by the owner of the model, with all the work that the enclave is spared:
 * constants folded, operators fused, layouts chosen, weights packed as kernels read them.
 *
 * The passes are in passes.h; what the two products are is in docs/formats/topology-key.md and
 * sealed-weights.md. The model has been read by onnx/onnx.h, which has bounded everything in it.
 */
#ifndef EML_DECOMPOSE_DECOMPOSE_H
#define EML_DECOMPOSE_DECOMPOSE_H

#include "blob/blob.h"
#include "decompose/loss.h"
#include "onnx/check.h"

struct eml_decompose_options {
    uint64_t version;        /* of the weights; >= 1 */
    uint64_t min_version;    /* older weights are refused by this topology key; <= version */
    const uint8_t *model_id; /* 16 bytes: of the model that this is a version of; NULL: drawn */
    enum eml_cipher cipher;  /* of the sealed weights */
    bool bf16; /* constant matrices of MatMul rounded to bfloat16: half the bytes, faster, less
                  exact */
};

struct eml_decomposed {
    struct eml_buf topology; /* encoded topology key: secret */
    struct eml_buf sealed;   /* the object to store */
    uint8_t object_id[32];   /* its name in the store */
    uint8_t model_id[16];
    uint32_t nodes_before; /* of ONNX, without Constant */
    uint32_t nodes_after;
    uint64_t weight_bytes; /* of the plaintext stream */
    uint64_t chunks;
    struct eml_loss loss; /* of bfloat16 weights, if they were asked for */
    uint64_t optimise_ns, seal_ns, verify_ns;
};

/* Decomposes. Problems (all that can be told at once) are appended to *report; if there are any the
 * result is EML_E_UNSUPPORTED or EML_E_INPUT and *out is empty. The outcome is decoded, opened and
 * compared before this returns: EML_E_SYSTEM if it differs. Fresh ids and keys each time, but for
 * a model id that is given. */
EML_MUST enum eml_err eml_decompose(const struct eml_onnx_model *m,
                                    const struct eml_decompose_options *options,
                                    struct eml_decomposed *out, struct eml_check_report *report);

/* The same without result: whether the engine can run the model. EML_OK if the report could be
 * made; the model is accepted if it is empty. */
EML_MUST enum eml_err eml_decompose_check(const struct eml_onnx_model *m,
                                          struct eml_check_report *report);

/* Wipes and frees; empty afterwards. */
void eml_decomposed_free(struct eml_decomposed *d);

#endif
