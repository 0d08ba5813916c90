// link: wire
/* A response, and that a prefix of a whole one is never refused. */
#include "testsupport/support.h"

#include "wire/http1.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_http1_response r, cut;
    bool complete, cut_complete;
    struct eml_why why;
    if (eml_http1_response(eml_bytes(data, size), 4096, &r, &complete, &why) != EML_OK)
        return 0;
    if (size > 0) {
        enum eml_err e =
            eml_http1_response(eml_bytes(data, size - 1), 4096, &cut, &cut_complete, &why);
        if (e != EML_OK || cut_complete)
            abort();
    }
    if (complete && (r.body.len > size || r.status < 200))
        abort();
    eml_http1_free(&r);
    return 0;
}
