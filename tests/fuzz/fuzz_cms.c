// link: aws
#include "testsupport/support.h"

#include "aws/cms.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_cms c;
    struct eml_why why;
    if (eml_cms_parse(eml_bytes(data, size), &c, &why) != EML_OK)
        return 0;
    if (c.encrypted_key.len != EML_CMS_ENCRYPTED_KEY_BYTES || c.content.len == 0 ||
        c.content.len % 16 != 0 || c.content.len > size)
        abort();
    eml_cms_free(&c);
    return 0;
}
