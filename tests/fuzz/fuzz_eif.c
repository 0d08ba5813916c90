// link: eif
#include "testsupport/support.h"

#include "eif/eif.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What parses is written again to the same bytes; its signature check ends. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_eif e;
    struct eml_eif_pcrs pcrs;
    struct eml_sha384 pcr8;
    struct eml_why why = {0};
    if (eml_eif_parse(eml_bytes(data, size), &e, &why) != EML_OK)
        return 0;
    struct eml_buf again = {0};
    EML_ASSERT(eml_eif_write(&e, &again, &why) == EML_OK);
    EML_ASSERT(eml_bytes_equal(eml_buf_bytes(&again), eml_bytes(data, size)));
    eml_buf_free(&again);
    EML_ASSERT(eml_eif_measure(&e, &pcrs) == EML_OK);
    (void)!eml_eif_check_signature(&e, &pcrs, &pcr8, &why);
    return 0;
}
