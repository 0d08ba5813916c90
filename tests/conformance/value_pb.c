#include "value_pb.h"

#include "onnx/tensor_pb.h"

/* Base-128, as protobuf writes it. */
static bool varint(struct eml_bytes *in, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
        uint8_t b = *in->ptr;
        *in = eml_bytes(in->ptr + 1, in->len - 1);
        *v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return true;
    }
    return false;
}

/* Takes one field off `in`; false at the end, or if it is damaged (*bad). `data` is empty for a
 * number. */
static bool field(struct eml_bytes *in, uint64_t *number, struct eml_bytes *data, bool *bad)
{
    enum { NUMBER = 0, BYTES = 2 };
    uint64_t key, n;
    if (in->len == 0 || *bad)
        return false;
    *bad = !varint(in, &key) || !varint(in, &n) || ((key & 7) != NUMBER && (key & 7) != BYTES) ||
           ((key & 7) == BYTES && n > in->len);
    if (*bad)
        return false;
    size_t len = (key & 7) == BYTES ? (size_t)n : 0;
    *number = key >> 3;
    *data = eml_bytes(in->ptr, len);
    *in = eml_bytes(in->ptr + len, in->len - len);
    return true;
}

static enum eml_err sequence(struct eml_bytes in, struct eml_arena *arena, struct eml_tensor *out)
{
    enum { TENSOR_VALUES = 3 };
    struct eml_bytes rest = in, data;
    uint64_t number;
    bool bad = false;
    size_t n = 0;
    while (field(&rest, &number, &data, &bad))
        n += number == TENSOR_VALUES;
    struct eml_tensor *list = eml_arena_array(arena, n, sizeof *list);
    if (list == NULL || bad)
        return bad ? EML_E_INPUT : EML_E_SYSTEM;
    n = 0;
    while (field(&in, &number, &data, &bad))
        if (number == TENSOR_VALUES)
            EML_TRY(eml_tensor_pb_decode(data, arena, &list[n++], NULL));
    *out = (struct eml_tensor){.dtype = EML_DT_SEQUENCE,
                               .shape = {1, {(int64_t)n}},
                               .data = list,
                               .bytes = n * sizeof *list};
    return EML_OK;
}

static enum eml_err optional(struct eml_bytes in, struct eml_arena *arena, struct eml_tensor *out)
{
    enum { TENSOR_VALUE = 3, SEQUENCE_VALUE = 5 };
    struct eml_bytes data;
    uint64_t number;
    bool bad = false;
    *out = (struct eml_tensor){.dtype = EML_DT_NONE};
    while (field(&in, &number, &data, &bad)) {
        if (number == TENSOR_VALUE)
            EML_TRY(eml_tensor_pb_decode(data, arena, out, NULL));
        if (number == SEQUENCE_VALUE)
            EML_TRY(sequence(data, arena, out));
    }
    return bad ? EML_E_INPUT : EML_OK;
}

enum eml_err eml_value_pb_decode(struct eml_bytes file, enum eml_value_form form,
                                 struct eml_arena *arena, struct eml_tensor *out)
{
    switch (form) {
    case EML_FORM_SEQUENCE:
        return sequence(file, arena, out);
    case EML_FORM_OPTIONAL:
        return optional(file, arena, out);
    default:
        return eml_tensor_pb_decode(file, arena, out, NULL);
    }
}
