#include "testsupport/pb.h"
#include "testsupport/support.h"

#include "onnx/tensor_pb.h"

#include <stdlib.h>
#include <string.h>

static struct eml_arena arena;

static int open_arena(void **state)
{
    (void)state;
    return eml_arena_create(&arena, (size_t)1 << 20) == EML_OK ? 0 : -1;
}

static int close_arena(void **state)
{
    (void)state;
    (void)eml_arena_destroy(&arena);
    return 0;
}

static void reads_onnx_test_data(void **state)
{
    (void)state;
    struct eml_buf file = eml_test_read(EML_VECTORS "/onnx/softmax_axis_1_input_0.pb");
    struct eml_tensor t;
    float first;
    assert_int_equal(eml_tensor_pb_decode(eml_buf_bytes(&file), &arena, &t, NULL), EML_OK);
    assert_int_equal(t.dtype, EML_DT_F32);
    assert_int_equal(t.shape.rank, 3);
    assert_int_equal(t.shape.dim[0], 3);
    assert_int_equal(t.shape.dim[1], 4);
    assert_int_equal(t.shape.dim[2], 5);
    assert_int_equal(t.bytes, 240);
    memcpy(&first, t.data, sizeof first);
    assert_true(first > 1.7640f && first < 1.7641f); /* |randn| of NumPy's seed 0: 1.76405235 */
    assert_int_equal((uintptr_t)t.data % 64, 0);
    eml_buf_free(&file);
}

static void round_trip(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("tensor_pb round trip");
    static const enum eml_dtype dtypes[] = {EML_DT_F32,    EML_DT_U8,  EML_DT_I8,  EML_DT_U16,
                                            EML_DT_I16,    EML_DT_I32, EML_DT_I64, EML_DT_F16,
                                            EML_DT_F64,    EML_DT_U32, EML_DT_U64, EML_DT_BF16,
                                            EML_DT_F8E5M2, EML_DT_U4,  EML_DT_I4};
    for (int i = 0; i < 200; i++) {
        uint8_t data[8 * 256];
        struct eml_buf file = {0};
        int64_t count = 1;
        struct eml_tensor t = {.dtype = dtypes[eml_gen_range(&g, 0, 14)], .data = data}, again;
        t.shape.rank = (uint32_t)eml_gen_range(&g, 0, EML_RANK_MAX);
        for (uint32_t k = 0; k < t.shape.rank; k++)
            count *= t.shape.dim[k] = eml_gen_range(&g, 0, 2);
        t.bytes = (size_t)count * eml_dtype_bytes(t.dtype);
        eml_gen_fill(&g, data, t.bytes);
        for (size_t k = 0; k < t.bytes && t.dtype >= EML_DT_U4; k++)
            data[k] = (uint8_t)(t.dtype == EML_DT_U4 ? data[k] % 16 : data[k] % 16 - 8);
        assert_int_equal(eml_tensor_pb_encode(&t, "name", &file), EML_OK);
        assert_int_equal(eml_tensor_pb_decode(eml_buf_bytes(&file), &arena, &again, NULL), EML_OK);
        assert_int_equal(again.dtype, t.dtype);
        assert_memory_equal(&again.shape, &t.shape, sizeof t.shape);
        assert_int_equal(again.bytes, t.bytes);
        if (t.bytes > 0)
            assert_memory_equal(again.data, data, t.bytes);
        eml_buf_free(&file);
    }
}

static void what_the_engine_lacks_is_refused(void **state)
{
    (void)state;
    static const struct {
        int dtype, rank;
        enum eml_err err;
        const char *rule;
    } cases[] = {
        {1, 8, EML_OK, NULL},
        {1, 9, EML_E_UNSUPPORTED, "tensor: more than 8 dims"},
        {23, 0, EML_E_UNSUPPORTED, "tensor: element type is not supported"},
        {14, 0, EML_E_UNSUPPORTED, "tensor: element type is not supported"},
        {99, 0, EML_E_INPUT, "onnx: unknown element type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_buf file = {0};
        struct eml_tensor t;
        struct eml_why why = {0};
        for (int k = 0; k < cases[i].rank; k++)
            eml_pb_int(&file, 1, 1);
        eml_pb_int(&file, 2, cases[i].dtype);
        eml_pb_bytes(&file, 9,
                     eml_bytes("12345678", cases[i].dtype == 1    ? 4
                                           : cases[i].dtype == 14 ? 8
                                                                  : 1));
        assert_int_equal(eml_tensor_pb_decode(eml_buf_bytes(&file), &arena, &t, &why),
                         cases[i].err);
        if (cases[i].rule != NULL) {
            assert_string_equal(why.rule, cases[i].rule);
            assert_null(t.data);
        }
        eml_buf_free(&file);
    }
}

static void no_external_data(void **state)
{
    (void)state;
    struct eml_buf file = {0}, kv = {0};
    struct eml_tensor t;
    struct eml_why why;
    eml_pb_int(&file, 2, 1);
    eml_pb_str(&kv, 1, "location");
    eml_pb_str(&kv, 2, "passwd");
    eml_pb_msg(&file, 13, &kv);
    eml_pb_int(&file, 14, 1);
    assert_int_equal(eml_tensor_pb_decode(eml_buf_bytes(&file), &arena, &t, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "onnx: external data has no directory here");
    eml_buf_free(&file);
}

static void truncation_is_refused_everywhere(void **state)
{
    (void)state;
    struct eml_buf file = eml_test_read(EML_VECTORS "/onnx/softmax_axis_1_input_0.pb");
    for (size_t n = 0; n < file.len; n++) {
        struct eml_tensor t;
        uint8_t *exact = malloc(n + 1);
        assert_non_null(exact);
        memcpy(exact, file.ptr, n);
        assert_int_not_equal(eml_tensor_pb_decode(eml_bytes(exact, n), &arena, &t, NULL), EML_OK);
        free(exact);
    }
    eml_buf_free(&file);
}

static void encode_checks_its_tensor(void **state)
{
    (void)state;
    struct eml_buf out = {0};
    struct eml_tensor t = {.dtype = EML_DT_F32, .shape = {1, {2}}, .data = "abcd", .bytes = 4};
    assert_int_equal(eml_tensor_pb_encode(&t, "", &out), EML_E_USAGE);
    t.dtype = (enum eml_dtype)14;
    assert_int_equal(eml_tensor_pb_encode(&t, "", &out), EML_E_USAGE);
    assert_null(out.ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_onnx_test_data),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(what_the_engine_lacks_is_refused),
        cmocka_unit_test(no_external_data),
        cmocka_unit_test(truncation_is_refused_everywhere),
        cmocka_unit_test(encode_checks_its_tensor),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
