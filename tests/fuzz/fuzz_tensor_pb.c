// link: onnx
/* Any bytes: refused, or a tensor that encodes and decodes to itself. */
#include "testsupport/support.h"

#include "onnx/tensor_pb.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_arena arena;
    struct eml_tensor t, again;
    struct eml_buf file = {0};
    EML_ASSERT(eml_arena_create(&arena, (size_t)1 << 20) == EML_OK);
    if (eml_tensor_pb_decode(eml_bytes(data, size), &arena, &t, NULL) == EML_OK) {
        EML_ASSERT(eml_tensor_pb_encode(&t, "t", &file) == EML_OK);
        EML_ASSERT(eml_tensor_pb_decode(eml_buf_bytes(&file), &arena, &again, NULL) == EML_OK);
        EML_ASSERT(again.dtype == t.dtype && again.shape.rank == t.shape.rank &&
                   again.bytes == t.bytes && memcmp(again.data, t.data, t.bytes) == 0);
    } else {
        EML_ASSERT(t.data == NULL && t.bytes == 0);
    }
    eml_buf_free(&file);
    (void)eml_arena_destroy(&arena);
    return 0;
}
