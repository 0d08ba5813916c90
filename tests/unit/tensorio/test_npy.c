#include "testsupport/support.h"

#include "tensorio/npy.h"

#include <stdio.h>
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

static enum eml_err decode_vector(const char *name, struct eml_tensor *t, struct eml_why *why)
{
    char path[512];
    (void)snprintf(path, sizeof path, EML_VECTORS "/npy/%s.npy", name);
    struct eml_buf file = eml_test_read(path);
    enum eml_err err = eml_npy_decode(eml_buf_bytes(&file), &arena, t, why);
    eml_buf_free(&file);
    return err;
}

/* tools/npy_vectors.py: arange(6) - 3 (signed and float) or arange(6), shape (2, 3) */
static void reads_what_numpy_wrote(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum eml_dtype dtype;
        uint8_t first[8]; /* -3 or 0 */
    } cases[] = {
        {"f2", EML_DT_F16, {0x00, 0xc2}},
        {"f4", EML_DT_F32, {0, 0, 0x40, 0xc0}},
        {"f8", EML_DT_F64, {0, 0, 0, 0, 0, 0, 0x08, 0xc0}},
        {"i1", EML_DT_I8, {0xfd}},
        {"i2", EML_DT_I16, {0xfd, 0xff}},
        {"i4", EML_DT_I32, {0xfd, 0xff, 0xff, 0xff}},
        {"i8", EML_DT_I64, {0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
        {"u1", EML_DT_U8, {0}},
        {"u2", EML_DT_U16, {0}},
        {"u4", EML_DT_U32, {0}},
        {"u8", EML_DT_U64, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_tensor t;
        size_t width = eml_dtype_bytes(cases[i].dtype);
        assert_int_equal(decode_vector(cases[i].name, &t, NULL), EML_OK);
        assert_int_equal(t.dtype, cases[i].dtype);
        assert_int_equal(t.shape.rank, 2);
        assert_int_equal(t.shape.dim[0], 2);
        assert_int_equal(t.shape.dim[1], 3);
        assert_int_equal(t.bytes, 6 * width);
        assert_memory_equal(t.data, cases[i].first, width);
        assert_int_equal((uintptr_t)t.data % 64, 0);
    }
}

static void reads_odd_shapes_and_versions(void **state)
{
    (void)state;
    struct eml_tensor t;
    float f;
    assert_int_equal(decode_vector("scalar", &t, NULL), EML_OK);
    assert_int_equal(t.shape.rank, 0);
    memcpy(&f, t.data, sizeof f);
    assert_true(f == 2.5f);
    assert_int_equal(decode_vector("empty", &t, NULL), EML_OK);
    assert_int_equal(t.shape.rank, 2);
    assert_int_equal(t.shape.dim[0], 0);
    assert_int_equal(t.bytes, 0);
    assert_int_equal(decode_vector("b1", &t, NULL), EML_OK);
    assert_int_equal(t.dtype, EML_DT_BOOL);
    assert_memory_equal(t.data, "\1\0\1", 3);
    assert_int_equal(decode_vector("v2", &t, NULL), EML_OK);
    assert_int_equal(t.shape.dim[0], 4);
    assert_int_equal(decode_vector("v3", &t, NULL), EML_OK);
    assert_int_equal(t.bytes, 16);
}

static void refuses_what_the_engine_cannot_take(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum eml_err err;
        const char *rule;
    } cases[] = {
        {"fortran", EML_E_UNSUPPORTED, "npy: column-major (use numpy.ascontiguousarray)"},
        {"big_endian", EML_E_UNSUPPORTED, "npy: not a little-endian number or bool (use astype)"},
        {"complex", EML_E_UNSUPPORTED, "npy: not a little-endian number or bool (use astype)"},
        {"rank9", EML_E_UNSUPPORTED, "npy: more than 8 dims"},
        {"struct", EML_E_INPUT, "npy: malformed header"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_tensor t;
        struct eml_why why = {0};
        assert_int_equal(decode_vector(cases[i].name, &t, &why), cases[i].err);
        assert_string_equal(why.rule, cases[i].rule);
        assert_null(t.data);
    }
}

/* A version 1.0 file with this header text and n zero bytes of data. */
static struct eml_buf npy_of(const char *text, size_t n)
{
    static const uint8_t magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    struct eml_buf b = {0};
    eml_buf_put(&b, EML_BYTES(magic));
    eml_buf_put_u8(&b, (uint8_t)(strlen(text)));
    eml_buf_put_u8(&b, (uint8_t)(strlen(text) >> 8));
    eml_buf_put(&b, eml_bytes_of_str(text));
    (void)eml_buf_grow(&b, n);
    return b;
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bytes;
        const char *rule; /* NULL: accepted */
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", 4, NULL},
        {"{'shape':(1,),'fortran_order':False,'descr':'<f4'}\n", 4, NULL},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }\n", 4, NULL},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }   \n", 4, NULL},
        {"", 0, "npy: malformed header"},
        {"{}\n", 0, "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4, "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), \n", 4, "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1), }\n", 4, "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (,), }\n", 4, "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n", 4,
         "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 1), }\n", 4,
         "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1L,), }\n", 4,
         "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }\n", 4, "npy: malformed header"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (1,), }\n", 4, "npy: malformed header"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", 4,
         "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}\n", 4,
         "npy: malformed header"},
        {"{'descr': '<f4', 'shape': (1,), }\n", 4, "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\nx\n", 4,
         "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }\n", 4,
         "npy: malformed header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n", 4,
         "npy: the product of the shape overflows"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807,), }\n", 4,
         "npy: the product of the shape overflows"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", 4,
         "npy: data is not as long as its shape says"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", 5,
         "npy: data is not as long as its shape says"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", 8,
         "npy: not a little-endian number or bool (use astype)"},
        {"{'descr': '<i3', 'fortran_order': False, 'shape': (1,), }\n", 3,
         "npy: not a little-endian number or bool (use astype)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eml_tensor t;
        struct eml_why why = {0};
        struct eml_buf file = npy_of(cases[i].text, cases[i].bytes);
        enum eml_err err = eml_npy_decode(eml_buf_bytes(&file), &arena, &t, &why);
        eml_buf_free(&file);
        if ((err == EML_OK) != (cases[i].rule == NULL))
            print_error("header: %s", cases[i].text);
        assert_int_equal(err == EML_OK, cases[i].rule == NULL);
        if (cases[i].rule != NULL) {
            assert_string_equal(why.rule, cases[i].rule);
            assert_null(t.data);
        }
    }
}

static void bool_is_0_or_1(void **state)
{
    (void)state;
    struct eml_tensor t;
    struct eml_why why;
    struct eml_buf file = npy_of("{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }\n", 2);
    file.ptr[file.len - 1] = 2;
    assert_int_equal(eml_npy_decode(eml_buf_bytes(&file), &arena, &t, &why), EML_E_INPUT);
    assert_int_equal(why.index, 1);
    eml_buf_free(&file);
}

static void truncation_is_refused_everywhere(void **state)
{
    (void)state;
    struct eml_buf file = eml_test_read(EML_VECTORS "/npy/f4.npy");
    for (size_t n = 0; n < file.len; n++) {
        struct eml_tensor t;
        uint8_t *exact = malloc(n + 1); /* so that a sanitizer sees a read beyond n */
        assert_non_null(exact);
        memcpy(exact, file.ptr, n);
        assert_int_equal(eml_npy_decode(eml_bytes(exact, n), &arena, &t, NULL), EML_E_INPUT);
        free(exact);
    }
    eml_buf_free(&file);
}

static void flipped_bits_never_crash(void **state)
{
    (void)state;
    struct eml_buf file = eml_test_read(EML_VECTORS "/npy/f4.npy");
    size_t refused = 0;
    for (size_t bit = 0; bit < 8 * file.len; bit++) {
        struct eml_tensor t;
        file.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        size_t mark = eml_arena_mark(&arena);
        refused += eml_npy_decode(eml_buf_bytes(&file), &arena, &t, NULL) != EML_OK;
        (void)eml_arena_reset(&arena, mark);
        file.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(refused > 8 * 60); /* magic, header and shape; floats take any bits */
    eml_buf_free(&file);
}

static void round_trip_and_numpys_own_bytes(void **state)
{
    (void)state;
    struct eml_buf file = eml_test_read(EML_VECTORS "/npy/f4.npy"), out = {0};
    struct eml_tensor t, again;
    assert_int_equal(eml_npy_decode(eml_buf_bytes(&file), &arena, &t, NULL), EML_OK);
    assert_int_equal(eml_npy_encode(&t, &out), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&file), eml_buf_bytes(&out)));
    eml_buf_free(&file);
    eml_buf_free(&out);

    struct eml_gen g = eml_gen_seeded("npy round trip");
    static const enum eml_dtype dtypes[] = {EML_DT_F32, EML_DT_U8,  EML_DT_I8,  EML_DT_U16,
                                            EML_DT_I16, EML_DT_I32, EML_DT_I64, EML_DT_F16,
                                            EML_DT_F64, EML_DT_U32, EML_DT_U64};
    for (int i = 0; i < 200; i++) {
        uint8_t data[8 * 256];
        int64_t count = 1;
        t = (struct eml_tensor){.dtype = dtypes[eml_gen_range(&g, 0, 10)], .data = data};
        t.shape.rank = (uint32_t)eml_gen_range(&g, 0, EML_RANK_MAX);
        for (uint32_t k = 0; k < t.shape.rank; k++)
            count *= t.shape.dim[k] = eml_gen_range(&g, 0, 2);
        t.bytes = (size_t)count * eml_dtype_bytes(t.dtype);
        eml_gen_fill(&g, data, t.bytes);
        assert_int_equal(eml_npy_encode(&t, &out), EML_OK);
        assert_int_equal(eml_npy_decode(eml_buf_bytes(&out), &arena, &again, NULL), EML_OK);
        assert_int_equal(again.dtype, t.dtype);
        assert_memory_equal(&again.shape, &t.shape, sizeof t.shape);
        assert_int_equal(again.bytes, t.bytes);
        if (t.bytes > 0)
            assert_memory_equal(again.data, data, t.bytes);
        eml_buf_free(&out);
    }
}

static void encode_checks_its_tensor(void **state)
{
    (void)state;
    struct eml_buf out = {0};
    struct eml_tensor t = {.dtype = EML_DT_BF16, .shape = {1, {2}}, .data = "abcd", .bytes = 4};
    assert_int_equal(eml_npy_encode(&t, &out), EML_E_UNSUPPORTED);
    t.dtype = EML_DT_F32;
    assert_int_equal(eml_npy_encode(&t, &out), EML_E_USAGE);
    t.shape.dim[0] = EML_DIM_UNKNOWN;
    assert_int_equal(eml_npy_encode(&t, &out), EML_E_USAGE);
    assert_null(out.ptr);
}

static void arena_too_small(void **state)
{
    (void)state;
    struct eml_arena small;
    struct eml_tensor t;
    struct eml_buf file =
        npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (4096,), }\n", 4 * 4096);
    assert_int_equal(eml_arena_create(&small, 4096), EML_OK);
    assert_int_equal(eml_npy_decode(eml_buf_bytes(&file), &small, &t, NULL), EML_E_SYSTEM);
    assert_null(t.data);
    (void)eml_arena_destroy(&small);
    eml_buf_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_numpy_wrote),
        cmocka_unit_test(reads_odd_shapes_and_versions),
        cmocka_unit_test(refuses_what_the_engine_cannot_take),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(bool_is_0_or_1),
        cmocka_unit_test(truncation_is_refused_everywhere),
        cmocka_unit_test(flipped_bits_never_crash),
        cmocka_unit_test(round_trip_and_numpys_own_bytes),
        cmocka_unit_test(encode_checks_its_tensor),
        cmocka_unit_test(arena_too_small),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
