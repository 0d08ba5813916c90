// link: attest
#include "testsupport/support.h"

#include "attest/attest.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A policy that is read demands PCR 0 to 2, and is read again from what is printed of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_policy p, again;
    struct eml_why why = {NULL, 0};
    if (eml_policy_parse(eml_bytes(data, size), &p, &why) != EML_OK) {
        EML_ASSERT(why.rule != NULL && p.n_roots == 0 && p.n_accept == 0);
        return 0;
    }
    struct eml_buf json = {0};
    EML_ASSERT(p.n_roots > 0 && p.n_accept > 0);
    for (size_t i = 0; i < p.n_accept; i++)
        EML_ASSERT((p.accept[i].required & 7u) == 7u);
    EML_ASSERT(eml_policy_print(&p, &json) == EML_OK);
    EML_ASSERT(eml_policy_parse(eml_buf_bytes(&json), &again, NULL) == EML_OK);
    EML_ASSERT(memcmp(&p, &again, sizeof p) == 0);
    eml_buf_free(&json);
    return 0;
}
