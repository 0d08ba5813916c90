// link: nsm
#include "testsupport/support.h"

#include "nsm/nsm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is read can be written, and what was written is a fixed point. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_nsm_request q;
    struct eml_buf once = {0}, twice = {0};
    if (eml_nsm_request_decode(eml_bytes(data, size), &q) == EML_OK) {
        EML_ASSERT(eml_nsm_request_encode(&q, &once) == EML_OK);
        EML_ASSERT(eml_nsm_request_decode(eml_buf_bytes(&once), &q) == EML_OK);
        EML_ASSERT(eml_nsm_request_encode(&q, &twice) == EML_OK);
        EML_ASSERT(eml_bytes_equal(eml_buf_bytes(&once), eml_buf_bytes(&twice)));
    }
    for (int call = 0; call < EML_NSM_CALLS_N; call++) {
        struct eml_nsm_response r;
        eml_buf_free(&once);
        eml_buf_free(&twice);
        if (eml_nsm_response_decode(eml_bytes(data, size), (enum eml_nsm_call)call, &r, NULL) !=
            EML_OK)
            continue;
        EML_ASSERT(eml_nsm_response_encode(&r, &once) == EML_OK);
        EML_ASSERT(eml_nsm_response_decode(eml_buf_bytes(&once), (enum eml_nsm_call)call, &r,
                                           NULL) == EML_OK);
        EML_ASSERT(eml_nsm_response_encode(&r, &twice) == EML_OK);
        EML_ASSERT(eml_bytes_equal(eml_buf_bytes(&once), eml_buf_bytes(&twice)));
    }
    eml_buf_free(&once);
    eml_buf_free(&twice);
    return 0;
}
