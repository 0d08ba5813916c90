// link: session
/* What decodes must encode to the same bytes. */
#include "session/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_bytes in = eml_bytes(data, size);
    struct eml_arena arena;
    struct eml_buf b = {0};
    struct eml_request m;
    EML_ASSERT(eml_arena_create(&arena, 1 << 18) == EML_OK);
    if (eml_request_decode(in, &arena, &m, NULL) == EML_OK) {
        EML_ASSERT(eml_request_encode(&m, (struct eml_part_sink){eml_part_to_buf, &b}) == EML_OK);
        EML_ASSERT(eml_bytes_equal(eml_buf_bytes(&b), in));
    }
    eml_buf_free(&b);
    (void)eml_arena_destroy(&arena);
    return 0;
}
