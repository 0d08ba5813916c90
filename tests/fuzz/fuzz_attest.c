// link: attest
#include "testsupport/support.h"

#include "attest/document.h"
#include "cose/sign1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A payload that is read can be written, and what was written is a fixed point. */
static void payload(struct eml_bytes bytes)
{
    struct eml_document d;
    struct eml_buf once = {0}, twice = {0};
    if (eml_document_decode(bytes, &d, NULL) != EML_OK)
        return;
    EML_ASSERT(d.n_certs >= 2 && d.module_id.len > 0 && d.pcr_present != 0);
    EML_ASSERT(eml_document_encode(&d, &once) == EML_OK);
    EML_ASSERT(eml_document_decode(eml_buf_bytes(&once), &d, NULL) == EML_OK);
    EML_ASSERT(eml_document_encode(&d, &twice) == EML_OK);
    EML_ASSERT(eml_bytes_equal(eml_buf_bytes(&once), eml_buf_bytes(&twice)));
    eml_buf_free(&once);
    eml_buf_free(&twice);
}

/* The input as a whole document, and as the payload alone (which no signature protects here). Under
 * a root that signed nothing, no document is ever accepted and nothing of it comes out. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct eml_sha256 nobody = {{1}};
    struct eml_bytes input = {data, size};
    struct eml_attested a;
    struct eml_sign1 s;
    struct eml_why why = {NULL, 0};
    EML_ASSERT(eml_attest_verify_document(input, &nobody, 1, 1758057949, &a, &why) != EML_OK);
    EML_ASSERT(why.rule != NULL && a.pcr_present == 0 && a.module_id.ptr == NULL);
    why.rule = NULL;
    if (eml_attest_verify_document(input, &eml_attest_aws_root, 1, 1758057949, &a, &why) != EML_OK)
        EML_ASSERT(why.rule != NULL && a.pcr_present == 0 && a.module_id.ptr == NULL);
    payload(input);
    if (eml_sign1_parse(input, EML_SIGN1_TAG_OPTIONAL, eml_sign1_es384, 96, &s, NULL) == EML_OK)
        payload(s.payload);
    return 0;
}
