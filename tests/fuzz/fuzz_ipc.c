// link: enclave
/* What the broker takes from a worker: what decodes must encode to the same bytes. */
#include "enclave/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_bytes in = eml_bytes(data, size);
    struct eml_ipc_request r;
    struct eml_buf b = {0};
    if (eml_ipc_decode(in, &r) == EML_OK) {
        EML_ASSERT(eml_ipc_encode(&r, &b) == EML_OK);
        EML_ASSERT(eml_bytes_equal(eml_buf_bytes(&b), in));
    }
    eml_buf_free(&b);
    return 0;
}
