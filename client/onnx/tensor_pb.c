#include "onnx/tensor_pb.h"

#include "base/checked.h"
#include "model/strings.h"
#include "onnx/store.h"
#include "onnx/wire.h"

#include <string.h>

enum { ALIGN = 64 };

static enum eml_err to_tensor(const struct eml_onnx_tensor *from, struct eml_arena *arena,
                              struct eml_tensor *out, struct eml_why *why)
{
    struct eml_tensor t = {.dtype = (enum eml_dtype)from->dtype};
    if (!eml_onnx_tensor_size(from, &t.bytes))
        return eml_fail(why, EML_E_UNSUPPORTED, "tensor: element type is not supported", -1);
    if (from->rank > EML_RANK_MAX)
        return eml_fail(why, EML_E_UNSUPPORTED, "tensor: more than 8 dims", -1);
    t.shape.rank = from->rank;
    for (uint32_t i = 0; i < from->rank; i++)
        t.shape.dim[i] = from->dims[i];
    void *copy = eml_arena_alloc(arena, t.bytes, ALIGN);
    if (copy == NULL)
        return eml_fail(why, EML_E_SYSTEM, "tensor: too large for the memory reserved", -1);
    eml_onnx_tensor_copy(from, copy);
    t.data = copy;
    *out = t;
    return EML_OK;
}

enum eml_err eml_tensor_pb_decode(struct eml_bytes file, struct eml_arena *arena,
                                  struct eml_tensor *out, struct eml_why *why)
{
    struct eml_onnx_store s = {0};
    struct eml_onnx_tensor t;
    *out = (struct eml_tensor){0};
    if (file.len == 0 || file.len > EML_ONNX_FILE_BYTES_MAX)
        return eml_fail(why, EML_E_INPUT, "tensor: the file is empty or too large", -1);
    EML_TRY(eml_onnx_wire_check(file, &onnx__tensor_proto__descriptor, why));
    s.pool.budget = ((uint64_t)64 << 20) + 12 * (uint64_t)file.len;
    ProtobufCAllocator pool = eml_onnx_pool_allocator(&s.pool);
    Onnx__TensorProto *p = onnx__tensor_proto__unpack(&pool, file.len, file.ptr);
    enum eml_err err;
    if (p == NULL)
        err = eml_fail(why, s.pool.no_memory ? EML_E_SYSTEM : EML_E_INPUT,
                       "tensor: a field has the wrong type, or memory ran out", -1);
    else if ((err = eml_onnx_tensor_read(&s, p, -1, &t)) != EML_OK)
        (void)eml_fail(why, err, s.diag.why.rule, -1);
    else
        err = to_tensor(&t, arena, out, why);
    eml_onnx_pool_free(&s.pool);
    return err;
}

/* Two 4-bit elements to a byte, in place. */
static size_t pack_int4(uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i += 2) {
        uint8_t high = i + 1 < n ? data[i + 1] & 15 : 0;
        data[i / 2] = (uint8_t)((data[i] & 15) | high << 4);
    }
    return (n + 1) / 2;
}

/* Points p at the elements, in `room` where they must be brought into another form. */
static enum eml_err put_elements(Onnx__TensorProto *p, const struct eml_tensor *t, size_t count,
                                 struct eml_buf *room)
{
    if (t->dtype == EML_DT_STRING) {
        p->n_string_data = count;
        p->string_data = (void *)eml_buf_grow(room, count * sizeof *p->string_data);
        for (size_t i = 0; i < count && p->string_data != NULL; i++) {
            struct eml_bytes s = eml_string_get((const uint8_t *)t->data + i * EML_STRING_BYTES);
            p->string_data[i] = (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.ptr};
        }
        return eml_buf_ok(room);
    }
    p->has_raw_data = 1;
    p->raw_data = (ProtobufCBinaryData){t->bytes, (uint8_t *)(uintptr_t)t->data};
    if (t->dtype == EML_DT_U4 || t->dtype == EML_DT_I4) {
        eml_buf_put(room, eml_bytes(t->data, t->bytes));
        EML_TRY(eml_buf_ok(room));
        p->raw_data = (ProtobufCBinaryData){pack_int4(room->ptr, room->len), room->ptr};
    }
    return EML_OK;
}

enum eml_err eml_tensor_pb_encode(const struct eml_tensor *t, const char *name, struct eml_buf *out)
{
    Onnx__TensorProto p = ONNX__TENSOR_PROTO__INIT;
    int64_t dims[EML_RANK_MAX] = {0}, count = 0;
    size_t bytes = 0;
    if (eml_dtype_bytes(t->dtype) == 0 || t->shape.rank > EML_RANK_MAX ||
        !eml_shape_count(&t->shape, &count) ||
        !eml_mul_size((size_t)count, eml_dtype_bytes(t->dtype), &bytes) || bytes != t->bytes)
        return EML_E_USAGE;
    memcpy(dims, t->shape.dim, t->shape.rank * sizeof dims[0]);
    p.n_dims = t->shape.rank;
    p.dims = dims;
    p.has_data_type = 1;
    p.data_type = (int32_t)t->dtype;
    p.name = (char *)(uintptr_t)name;
    struct eml_buf room = {0};
    EML_TRY(put_elements(&p, t, (size_t)count, &room));
    uint8_t *to = eml_buf_grow(out, onnx__tensor_proto__get_packed_size(&p));
    if (to != NULL)
        (void)onnx__tensor_proto__pack(&p, to);
    eml_buf_free(&room);
    enum eml_err err = eml_buf_ok(out);
    if (err != EML_OK)
        eml_buf_free(out);
    return err;
}
