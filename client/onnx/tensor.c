#include "onnx/store.h"

#include "base/checked.h"
#include "model/graph.h"
#include "model/strings.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "typed element data is borrowed as it lies: this reader needs a little-endian machine"
#endif

/* Which field of TensorProto holds the elements when raw_data does not. */
enum field { FIELD_NONE, FIELD_FLOAT, FIELD_INT32, FIELD_INT64, FIELD_DOUBLE, FIELD_UINT64 };

/* By TensorProto.DataType. For FIELD_INT32 and FIELD_UINT64, lo..hi is what an entry may be. */
static const struct dtype {
    const char *name;
    uint8_t bits;
    enum field field;
    int64_t lo, hi;
} dtypes[] = {
    [1] = {"float32", 32, FIELD_FLOAT, 0, 0},
    [2] = {"uint8", 8, FIELD_INT32, 0, UINT8_MAX},
    [3] = {"int8", 8, FIELD_INT32, INT8_MIN, INT8_MAX},
    [4] = {"uint16", 16, FIELD_INT32, 0, UINT16_MAX},
    [5] = {"int16", 16, FIELD_INT32, INT16_MIN, INT16_MAX},
    [6] = {"int32", 32, FIELD_INT32, INT32_MIN, INT32_MAX},
    [7] = {"int64", 64, FIELD_INT64, 0, 0},
    [8] = {"string", 0, FIELD_NONE, 0, 0},
    [9] = {"bool", 8, FIELD_INT32, 0, 1},
    [10] = {"float16", 16, FIELD_INT32, 0, UINT16_MAX},
    [11] = {"float64", 64, FIELD_DOUBLE, 0, 0},
    [12] = {"uint32", 32, FIELD_UINT64, 0, UINT32_MAX},
    [13] = {"uint64", 64, FIELD_UINT64, 0, 0},
    [14] = {"complex64", 64, FIELD_FLOAT, 0, 0},
    [15] = {"complex128", 128, FIELD_DOUBLE, 0, 0},
    [16] = {"bfloat16", 16, FIELD_INT32, 0, UINT16_MAX},
    [17] = {"float8e4m3fn", 8, FIELD_INT32, 0, UINT8_MAX},
    [18] = {"float8e4m3fnuz", 8, FIELD_INT32, 0, UINT8_MAX},
    [19] = {"float8e5m2", 8, FIELD_INT32, 0, UINT8_MAX},
    [20] = {"float8e5m2fnuz", 8, FIELD_INT32, 0, UINT8_MAX},
    [21] = {"uint4", 4, FIELD_INT32, 0, UINT8_MAX},
    [22] = {"int4", 4, FIELD_INT32, INT8_MIN, UINT8_MAX},
    [23] = {"float4e2m1", 4, FIELD_INT32, 0, UINT8_MAX},
    [24] = {"float8e8m0", 8, FIELD_INT32, 0, UINT8_MAX},
    [25] = {"uint2", 2, FIELD_INT32, 0, UINT8_MAX},
    [26] = {"int2", 2, FIELD_INT32, INT8_MIN, UINT8_MAX},
};
enum {
    DTYPE_N = sizeof dtypes / sizeof dtypes[0],
    DTYPE_STRING = 8,
    DTYPE_BOOL = 9,
    DTYPE_INT4 = 22
};

static bool known(int32_t dtype)
{
    return dtype > 0 && dtype < DTYPE_N;
}

unsigned eml_onnx_dtype_bits(int32_t dtype)
{
    return known(dtype) ? dtypes[dtype].bits : 0;
}

const char *eml_onnx_dtype_name(int32_t dtype)
{
    return known(dtype) ? dtypes[dtype].name : "unknown";
}

struct reader {
    struct eml_onnx_store *store;
    const Onnx__TensorProto *proto;
    long index;
    size_t need; /* bytes of element data */
};

static enum eml_err refuse(const struct reader *r, const char *rule)
{
    return eml_onnx_refuse(r->store, EML_E_INPUT, rule, r->index, eml_onnx_str(r->proto->name));
}

static enum eml_err wrong_length(const struct reader *r)
{
    return refuse(r, "onnx: element data is not as long as dims say");
}

static enum eml_err read_dims(const struct reader *r, struct eml_onnx_tensor *out)
{
    const Onnx__TensorProto *t = r->proto;
    int64_t count = 1;
    bool empty = false;
    if (t->n_dims > EML_ONNX_RANK_MAX)
        return refuse(r, "onnx: too many dims");
    for (size_t i = 0; i < t->n_dims; i++) {
        if (t->dims[i] < 0)
            return refuse(r, "onnx: a tensor has a negative dim");
        if (t->dims[i] == 0)
            empty = true;
        else if (!eml_mul_i64(count, t->dims[i], &count))
            return refuse(r, "onnx: the product of dims overflows");
    }
    out->rank = (uint32_t)t->n_dims;
    out->dims = t->dims;
    out->count = empty ? 0 : (uint64_t)count;
    return EML_OK;
}

static size_t n_typed(const Onnx__TensorProto *t, enum field f)
{
    switch (f) {
    case FIELD_FLOAT:
        return t->n_float_data;
    case FIELD_INT32:
        return t->n_int32_data;
    case FIELD_INT64:
        return t->n_int64_data;
    case FIELD_DOUBLE:
        return t->n_double_data;
    case FIELD_UINT64:
        return t->n_uint64_data;
    case FIELD_NONE:
        break;
    }
    return 0;
}

/* Entries of int32_data or uint64_data, each narrowed to `width` bytes. */
static enum eml_err narrow(const struct reader *r, const struct dtype *d, size_t width,
                           struct eml_bytes *out)
{
    const Onnx__TensorProto *t = r->proto;
    uint8_t *to = eml_onnx_pool_alloc(&r->store->pool, r->need);
    if (to == NULL)
        return eml_onnx_no_memory(r->store);
    for (size_t i = 0; i < r->need / width; i++) {
        uint64_t bits;
        bool in_range;
        if (d->field == FIELD_UINT64) {
            bits = t->uint64_data[i];
            in_range = bits <= (uint64_t)d->hi;
        } else {
            bits = (uint64_t)(int64_t)t->int32_data[i];
            in_range = t->int32_data[i] >= d->lo && t->int32_data[i] <= d->hi;
        }
        if (!in_range)
            return refuse(r, "onnx: an element is out of its type's range");
        memcpy(to + i * width, &bits, width);
    }
    *out = eml_bytes(to, r->need);
    return EML_OK;
}

static enum eml_err read_typed(const struct reader *r, const struct dtype *d, struct eml_bytes *out)
{
    const Onnx__TensorProto *t = r->proto;
    static const size_t entry_bytes[] = {
        [FIELD_FLOAT] = 4,  [FIELD_INT32] = 4,  [FIELD_INT64] = 8,
        [FIELD_DOUBLE] = 8, [FIELD_UINT64] = 8,
    };
    bool narrowed = d->bits < 32 || (d->field == FIELD_UINT64 && d->bits == 32);
    size_t width = narrowed ? (d->bits + 7u) / 8u : entry_bytes[d->field];
    if (r->need / width != n_typed(t, d->field))
        return wrong_length(r);
    if (narrowed)
        return narrow(r, d, width, out);
    switch (d->field) {
    case FIELD_FLOAT:
        *out = eml_bytes(t->float_data, r->need);
        break;
    case FIELD_INT32:
        *out = eml_bytes(t->int32_data, r->need);
        break;
    case FIELD_INT64:
        *out = eml_bytes(t->int64_data, r->need);
        break;
    case FIELD_DOUBLE:
        *out = eml_bytes(t->double_data, r->need);
        break;
    case FIELD_UINT64:
        *out = eml_bytes(t->uint64_data, r->need);
        break;
    case FIELD_NONE:
        return wrong_length(r);
    }
    return EML_OK;
}

static enum eml_err read_strings(const struct reader *r, struct eml_onnx_tensor *out)
{
    const Onnx__TensorProto *t = r->proto;
    if (t->has_raw_data || t->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT)
        return refuse(r, "onnx: strings must stand in string_data");
    if (out->count != t->n_string_data)
        return wrong_length(r);
    struct eml_bytes *s = eml_onnx_pool_array(&r->store->pool, t->n_string_data, sizeof *s);
    if (s == NULL)
        return eml_onnx_no_memory(r->store);
    for (size_t i = 0; i < t->n_string_data; i++)
        s[i] = eml_bytes(t->string_data[i].data, t->string_data[i].len);
    out->strings = s;
    return EML_OK;
}

static enum eml_err read_data(const struct reader *r, const struct dtype *d, struct eml_bytes *out)
{
    const Onnx__TensorProto *t = r->proto;
    size_t typed = 0;
    for (enum field f = FIELD_FLOAT; f <= FIELD_UINT64; f++)
        typed += n_typed(t, f);
    bool raw = t->has_raw_data && t->raw_data.len > 0;
    if (t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        if (raw || typed > 0)
            return refuse(r, "onnx: element data in two places");
        return eml_onnx_external_data(r->store, t, r->need, r->index, out);
    }
    if (t->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT)
        return refuse(r, "onnx: unknown data location");
    if (typed != n_typed(t, d->field) || (raw && typed > 0))
        return refuse(r, "onnx: element data in two places, or in the field of another type");
    if (!raw)
        return read_typed(r, d, out);
    if (t->raw_data.len != r->need)
        return wrong_length(r);
    *out = eml_bytes(t->raw_data.data, r->need);
    return EML_OK;
}

enum eml_err eml_onnx_tensor_read(struct eml_onnx_store *s, const Onnx__TensorProto *t, long index,
                                  struct eml_onnx_tensor *out)
{
    struct reader r = {.store = s, .proto = t, .index = index};
    *out = (struct eml_onnx_tensor){.name = eml_onnx_str(t->name), .dtype = t->data_type};
    if (!known(t->data_type))
        return refuse(&r, "onnx: unknown element type");
    if (t->segment != NULL)
        return refuse(&r, "onnx: a tensor in segments");
    EML_TRY(read_dims(&r, out));
    if (t->data_type == DTYPE_STRING)
        return read_strings(&r, out);
    const struct dtype *d = &dtypes[t->data_type];
    size_t bits = 0;
    if (!eml_mul_size((size_t)out->count, d->bits, &bits) || !eml_add_size(bits, 7, &bits))
        return refuse(&r, "onnx: the product of dims overflows");
    r.need = bits / 8;
    EML_TRY(read_data(&r, d, &out->data));
    if (t->data_type == DTYPE_BOOL)
        for (size_t i = 0; i < out->data.len; i++)
            if (out->data.ptr[i] > 1)
                return refuse(&r, "onnx: an element is out of its type's range");
    return EML_OK;
}

bool eml_onnx_tensor_size(const struct eml_onnx_tensor *t, size_t *bytes)
{
    size_t width = eml_dtype_bytes((enum eml_dtype)t->dtype), bits;
    for (size_t i = 0; t->dtype == DTYPE_STRING && i < t->count; i++)
        if (t->strings[i].len > EML_STRING_MAX)
            return false;
    return width != 0 && eml_mul_size((size_t)t->count, width, bytes) &&
           eml_mul_size((size_t)t->count, dtypes[t->dtype].bits, &bits) &&
           t->data.len == bits / 8 + (bits % 8 != 0);
}

void eml_onnx_tensor_copy(const struct eml_onnx_tensor *t, uint8_t *to)
{
    for (size_t i = 0; t->dtype == DTYPE_STRING && i < t->count; i++)
        (void)eml_string_put(to + i * EML_STRING_BYTES, t->strings[i]);
    if (dtypes[t->dtype].bits != 4) {
        if (t->data.len != 0)
            memcpy(to, t->data.ptr, t->data.len);
        return;
    }
    for (size_t i = 0; i < (size_t)t->count; i++) {
        uint8_t v = (t->data.ptr[i / 2] >> (i % 2 * 4)) & 15;
        to[i] = (uint8_t)(v | (t->dtype == DTYPE_INT4 && (v & 8) != 0 ? 0xf0 : 0));
    }
}
