#include "testsupport/pb.h"
#include "testsupport/support.h"

#include "onnx/onnx.h"

#include <string.h>

/* Every element type, in its typed field and as raw data, must read as the same bytes. */

enum { FIELD_FLOAT = 4, FIELD_INT32 = 5, FIELD_INT64 = 7, FIELD_DOUBLE = 10, FIELD_UINT64 = 11 };

/* A model whose only content is one initializer, whose TensorProto is `t` (freed). */
static enum eml_err load_tensor(struct eml_buf *t, struct eml_onnx_model **m,
                                struct eml_onnx_diag *diag)
{
    struct eml_buf g = {0}, file = {0};
    eml_pb_str(t, 8, "t");
    eml_pb_msg(&g, 5, t);
    eml_pb_model(&file, 8, &g, 17);
    enum eml_err err = eml_onnx_parse(eml_buf_bytes(&file), NULL, m, diag);
    eml_buf_free(&file);
    return err;
}

static const struct type_case {
    const char *name;
    int dtype;
    unsigned bits;
    uint32_t field;
    int64_t entry[4]; /* of the typed field; floats: their bits */
    size_t n_entries, count;
    uint8_t bytes[24];
    size_t n_bytes;
} types[] = {
    {"float32",
     1,
     32,
     FIELD_FLOAT,
     {0x3f800000, 0x7fc00000},
     2,
     2,
     {0, 0, 0x80, 0x3f, 0, 0, 0xc0, 0x7f},
     8},
    {"uint8", 2, 8, FIELD_INT32, {0, 7, 255}, 3, 3, {0, 7, 255}, 3},
    {"int8", 3, 8, FIELD_INT32, {-128, -1, 127}, 3, 3, {0x80, 0xff, 0x7f}, 3},
    {"uint16", 4, 16, FIELD_INT32, {1, 65535}, 2, 2, {1, 0, 0xff, 0xff}, 4},
    {"int16", 5, 16, FIELD_INT32, {-2, 258}, 2, 2, {0xfe, 0xff, 2, 1}, 4},
    {"int32",
     6,
     32,
     FIELD_INT32,
     {-2, INT32_MAX},
     2,
     2,
     {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
     8},
    {"int64", 7, 64, FIELD_INT64, {INT64_MIN}, 1, 1, {0, 0, 0, 0, 0, 0, 0, 0x80}, 8},
    {"bool", 9, 8, FIELD_INT32, {1, 0}, 2, 2, {1, 0}, 2},
    {"float16", 10, 16, FIELD_INT32, {0x3c00, 0xfc00}, 2, 2, {0, 0x3c, 0, 0xfc}, 4},
    {"float64",
     11,
     64,
     FIELD_DOUBLE,
     {0x3ff0000000000000},
     1,
     1,
     {0, 0, 0, 0, 0, 0, 0xf0, 0x3f},
     8},
    {"uint32", 12, 32, FIELD_UINT64, {4294967295}, 1, 1, {0xff, 0xff, 0xff, 0xff}, 4},
    {"uint64",
     13,
     64,
     FIELD_UINT64,
     {-1},
     1,
     1,
     {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
     8},
    {"complex64", 14, 64, FIELD_FLOAT, {1, 2}, 2, 1, {1, 0, 0, 0, 2, 0, 0, 0}, 8},
    {"complex128", 15, 128, FIELD_DOUBLE, {1, 2}, 2, 1, {1, 0, 0, 0, 0, 0, 0, 0, 2}, 16},
    {"bfloat16", 16, 16, FIELD_INT32, {0x3f80, 0xff80}, 2, 2, {0x80, 0x3f, 0x80, 0xff}, 4},
    {"float8e4m3fn", 17, 8, FIELD_INT32, {0x38, 0xff}, 2, 2, {0x38, 0xff}, 2},
    {"float8e4m3fnuz", 18, 8, FIELD_INT32, {0x38}, 1, 1, {0x38}, 1},
    {"float8e5m2", 19, 8, FIELD_INT32, {0x38}, 1, 1, {0x38}, 1},
    {"float8e5m2fnuz", 20, 8, FIELD_INT32, {0x38}, 1, 1, {0x38}, 1},
    {"uint4", 21, 4, FIELD_INT32, {0x21, 0x03}, 2, 3, {0x21, 0x03}, 2},
    {"int4", 22, 4, FIELD_INT32, {0xf1}, 1, 2, {0xf1}, 1},
    {"float4e2m1", 23, 4, FIELD_INT32, {0x21}, 1, 1, {0x21}, 1},
    {"float8e8m0", 24, 8, FIELD_INT32, {0x7f}, 1, 1, {0x7f}, 1},
    {"uint2", 25, 2, FIELD_INT32, {0xe4, 0x01}, 2, 5, {0xe4, 0x01}, 2},
    {"int2", 26, 2, FIELD_INT32, {0xe4}, 1, 4, {0xe4}, 1},
};

static void put_entry(struct eml_buf *b, uint32_t field, int64_t v)
{
    uint8_t le[8];
    memcpy(le, &v, sizeof le);
    if (field == FIELD_FLOAT || field == FIELD_DOUBLE)
        eml_buf_put(b, eml_bytes(le, field == FIELD_FLOAT ? 4 : 8));
    else
        eml_pb_varint(b, (uint64_t)v);
}

static void put_typed(struct eml_buf *t, const struct type_case *c, bool packed)
{
    struct eml_buf all = {0};
    for (size_t i = 0; i < c->n_entries; i++) {
        if (!packed)
            eml_pb_key(t, c->field, c->field == FIELD_FLOAT ? 5 : c->field == FIELD_DOUBLE ? 1 : 0);
        put_entry(packed ? &all : t, c->field, c->entry[i]);
    }
    if (packed)
        eml_pb_bytes(t, c->field, eml_buf_bytes(&all));
    eml_buf_free(&all);
}

static void every_type_in_every_form(void **state)
{
    (void)state;
    enum { RAW, PACKED, UNPACKED, FORMS };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (int form = RAW; form < FORMS; form++) {
            const struct type_case *c = &types[i];
            struct eml_buf t = {0};
            struct eml_onnx_model *m;
            eml_pb_int(&t, 1, (int64_t)c->count);
            eml_pb_int(&t, 2, c->dtype);
            if (form == RAW)
                eml_pb_bytes(&t, 9, eml_bytes(c->bytes, c->n_bytes));
            else
                put_typed(&t, c, form == PACKED);
            assert_int_equal(load_tensor(&t, &m, NULL), EML_OK);
            assert_int_equal(m->inits[0].dtype, c->dtype);
            assert_int_equal(m->inits[0].count, c->count);
            assert_int_equal(m->inits[0].data.len, c->n_bytes);
            assert_memory_equal(m->inits[0].data.ptr, c->bytes, c->n_bytes);
            assert_string_equal(eml_onnx_dtype_name(c->dtype), c->name);
            assert_int_equal(eml_onnx_dtype_bits(c->dtype), c->bits);
            eml_onnx_free(m);
        }
}

static void values_out_of_range_are_refused(void **state)
{
    (void)state;
    static const struct type_case cases[] = {
        {"", 2, 0, FIELD_INT32, {-1}, 1, 1, {0}, 0},
        {"", 2, 0, FIELD_INT32, {256}, 1, 1, {0}, 0},
        {"", 3, 0, FIELD_INT32, {128}, 1, 1, {0}, 0},
        {"", 3, 0, FIELD_INT32, {-129}, 1, 1, {0}, 0},
        {"", 4, 0, FIELD_INT32, {65536}, 1, 1, {0}, 0},
        {"", 5, 0, FIELD_INT32, {32768}, 1, 1, {0}, 0},
        {"", 9, 0, FIELD_INT32, {2}, 1, 1, {0}, 0},
        {"", 10, 0, FIELD_INT32, {65536}, 1, 1, {0}, 0},
        {"", 12, 0, FIELD_UINT64, {4294967296}, 1, 1, {0}, 0},
        {"", 21, 0, FIELD_INT32, {256}, 1, 1, {0}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_buf t = {0};
        struct eml_onnx_model *m;
        struct eml_onnx_diag d;
        eml_pb_int(&t, 2, cases[i].dtype);
        put_typed(&t, &cases[i], true);
        assert_int_equal(load_tensor(&t, &m, &d), EML_E_INPUT);
        assert_string_equal(d.why.rule, "onnx: an element is out of its type's range");
    }
}

static void one_entry_too_few_or_many(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (int more = 0; more <= 1; more++) {
            struct type_case c = types[i];
            struct eml_buf t = {0};
            struct eml_onnx_model *m;
            struct eml_onnx_diag d;
            eml_pb_int(&t, 1, (int64_t)c.count);
            eml_pb_int(&t, 2, c.dtype);
            c.n_entries = more ? c.n_entries + 1 : c.n_entries - 1;
            put_typed(&t, &c, true);
            assert_int_equal(load_tensor(&t, &m, &d), EML_E_INPUT);
            assert_string_equal(d.why.rule, "onnx: element data is not as long as dims say");
        }
}

static void scalars_and_empty_tensors(void **state)
{
    (void)state;
    struct eml_buf t = {0};
    struct eml_onnx_model *m;
    eml_pb_int(&t, 2, 7);
    eml_pb_int(&t, 7, -5);
    assert_int_equal(load_tensor(&t, &m, NULL), EML_OK);
    assert_int_equal(m->inits[0].rank, 0);
    assert_int_equal(m->inits[0].count, 1);
    eml_onnx_free(m);
    eml_pb_int(&t, 1, INT64_MAX);
    eml_pb_int(&t, 1, 0);
    eml_pb_int(&t, 1, INT64_MAX);
    eml_pb_int(&t, 2, 1);
    assert_int_equal(load_tensor(&t, &m, NULL), EML_E_INPUT); /* though one of them is 0 */
    eml_pb_int(&t, 1, INT64_MAX);
    eml_pb_int(&t, 1, 0);
    eml_pb_int(&t, 2, 1);
    assert_int_equal(load_tensor(&t, &m, NULL), EML_OK);
    assert_int_equal(m->inits[0].count, 0);
    assert_int_equal(m->inits[0].data.len, 0);
    eml_onnx_free(m);
}

static void strings_are_kept_apart(void **state)
{
    (void)state;
    struct eml_buf t = {0};
    struct eml_onnx_model *m;
    struct eml_onnx_diag d;
    eml_pb_int(&t, 1, 2);
    eml_pb_int(&t, 2, 8);
    eml_pb_bytes(&t, 6, EML_LIT("a\0b"));
    eml_pb_bytes(&t, 6, EML_LIT(""));
    assert_int_equal(load_tensor(&t, &m, NULL), EML_OK);
    assert_int_equal(m->inits[0].strings[0].len, 3);
    assert_int_equal(m->inits[0].strings[1].len, 0);
    assert_int_equal(m->inits[0].data.len, 0);
    eml_onnx_free(m);
    eml_pb_int(&t, 1, 2);
    eml_pb_int(&t, 2, 8);
    eml_pb_bytes(&t, 6, EML_LIT("a"));
    assert_int_equal(load_tensor(&t, &m, &d), EML_E_INPUT);
    eml_pb_int(&t, 2, 8);
    eml_pb_bytes(&t, 9, EML_LIT("a"));
    assert_int_equal(load_tensor(&t, &m, &d), EML_E_INPUT);
    assert_string_equal(d.why.rule, "onnx: strings must stand in string_data");
}

static void unknown_types_have_no_name(void **state)
{
    (void)state;
    assert_string_equal(eml_onnx_dtype_name(0), "unknown");
    assert_string_equal(eml_onnx_dtype_name(-1), "unknown");
    assert_string_equal(eml_onnx_dtype_name(27), "unknown");
    assert_int_equal(eml_onnx_dtype_bits(27), 0);
    assert_int_equal(eml_onnx_dtype_bits(8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_in_every_form),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(one_entry_too_few_or_many),
        cmocka_unit_test(scalars_and_empty_tensors),
        cmocka_unit_test(strings_are_kept_apart),
        cmocka_unit_test(unknown_types_have_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
