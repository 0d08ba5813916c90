// link: wire
#include "testsupport/support.h"

#include "wire/cbor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes the next item again, as the writer would; false at what the typed calls do not read. */
static bool copy_item(struct eml_cur *c, struct eml_buf *out)
{
    switch (eml_cbor_peek(c)) {
    case EML_CBOR_UINT:
        eml_cbor_put_uint(out, eml_cbor_uint(c));
        break;
    case EML_CBOR_NINT:
        eml_cbor_put_int(out, eml_cbor_int(c));
        break;
    case EML_CBOR_BYTES:
        eml_cbor_put_bytes(out, eml_cbor_bytes(c, SIZE_MAX));
        break;
    case EML_CBOR_TEXT:
        eml_cbor_put_text(out, eml_cbor_text(c, SIZE_MAX));
        break;
    case EML_CBOR_ARRAY:
        eml_cbor_put_array(out, eml_cbor_array(c, SIZE_MAX));
        break;
    case EML_CBOR_MAP:
        eml_cbor_put_map(out, eml_cbor_map(c, SIZE_MAX));
        break;
    case EML_CBOR_TAG:
        eml_cbor_put_tag(out, eml_cbor_tag(c));
        break;
    case EML_CBOR_BOOL:
        eml_cbor_put_bool(out, eml_cbor_bool(c));
        break;
    case EML_CBOR_NULL:
        eml_cbor_null(c);
        eml_cbor_put_null(out);
        break;
    default:
        return false;
    }
    return eml_cur_ok(c);
}

/* Every item that is read is written back to the same bytes; a skipped item is read whole. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eml_cur c = eml_cur(eml_bytes(data, size));
    struct eml_cur before = c;
    struct eml_buf out = {0};
    while (copy_item(&c, &out)) {
        EML_ASSERT(eml_buf_ok(&out) == EML_OK);
        struct eml_bytes read = eml_cur_take(&before, eml_cur_left(&before) - eml_cur_left(&c));
        EML_ASSERT(eml_bytes_equal(read, eml_buf_bytes(&out)));
        before = c;
        eml_buf_free(&out);
    }
    eml_buf_free(&out);

    c = eml_cur(eml_bytes(data, size));
    struct eml_bytes item = eml_cbor_skip(&c, EML_CBOR_DEPTH_MAX);
    EML_ASSERT(eml_cur_ok(&c) ? item.len > 0 : item.ptr == NULL);
    struct eml_cur again = eml_cur(item);
    (void)eml_cbor_skip(&again, EML_CBOR_DEPTH_MAX);
    EML_ASSERT(!eml_cur_ok(&c) || eml_cur_done(&again));
    return 0;
}
