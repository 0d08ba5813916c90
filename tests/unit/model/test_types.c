#include "testsupport/support.h"

#include "model/graph.h"

static void counts_elements_and_refuses_overflow(void **state)
{
    (void)state;
    int64_t n = -7;
    struct eml_shape s = {.rank = 3, .dim = {2, 3, 4}};
    assert_true(eml_shape_count(&s, &n));
    assert_int_equal(n, 24);
    s.rank = 0;
    assert_true(eml_shape_count(&s, &n));
    assert_int_equal(n, 1);
    s = (struct eml_shape){.rank = 3, .dim = {INT64_MAX, 0, INT64_MAX}};
    assert_true(eml_shape_count(&s, &n));
    assert_int_equal(n, 0);
    s = (struct eml_shape){.rank = 2, .dim = {INT64_MAX, 2}};
    assert_false(eml_shape_count(&s, &n));
    s = (struct eml_shape){.rank = 2, .dim = {0, EML_DIM_UNKNOWN}};
    assert_false(eml_shape_count(&s, &n));
}

static void names_and_sizes_of_types(void **state)
{
    (void)state;
    assert_int_equal(eml_dtype_bytes(EML_DT_BF16), 2);
    assert_int_equal(eml_dtype_bytes(EML_DT_I64), 8);
    assert_int_equal(eml_dtype_bytes((enum eml_dtype)14), 0);
    assert_int_equal(eml_dtype_bytes((enum eml_dtype)99), 0);
    assert_string_equal(eml_dtype_name(EML_DT_BOOL), "bool");
    assert_string_equal(eml_dtype_name((enum eml_dtype)14), "unknown");
    assert_string_equal(eml_dtype_name((enum eml_dtype)99), "unknown");
}

static void finds_attributes(void **state)
{
    (void)state;
    const int64_t axis = -2, pads[2] = {1, 2};
    const struct eml_attr attrs[] = {{EML_ATTR_AXIS, 1, &axis}, {EML_ATTR_PADS, 2, pads}};
    struct eml_node n = {.op = EML_OP_CONCAT, .n_attr = 2, .attr = attrs};
    assert_int_equal(eml_node_int(&n, EML_ATTR_AXIS, 5), -2);
    assert_int_equal(eml_node_int(&n, EML_ATTR_GROUP, 5), 5);
    assert_int_equal(eml_node_attr(&n, EML_ATTR_PADS)->n, 2);
    assert_null(eml_node_attr(&n, EML_ATTR_PERM));
    assert_string_equal(eml_op_info(EML_OP_CONCAT)->name, "Concat");
    assert_int_equal(eml_op_info(EML_OP_CONCAT)->in_max, 255);
}

static void sets_of_types(void **state)
{
    (void)state;
    const uint32_t add = eml_op_info(EML_OP_ADD)->types, loop = eml_op_info(EML_OP_LOOP)->types;
    for (int t = -1; t <= 70; t++) {
        bool number = (t >= EML_DT_F32 && t <= EML_DT_I64) ||
                      (t >= EML_DT_F64 && t <= EML_DT_U64); /* F16 lies between, with BOOL */
        assert_int_equal(eml_types_has(add, (enum eml_dtype)t), number);
        assert_true(eml_types_has(loop, (enum eml_dtype)t));
    }
    for (int op = 0; op < EML_OP_N; op++) /* each has some, and no bit that is no type */
        if (eml_op_info((enum eml_op)op)->types != UINT32_MAX) {
            uint32_t set = eml_op_info((enum eml_op)op)->types;
            assert_int_not_equal(set, 0);
            for (int t = 0; t < 32; t++)
                assert_true((set >> t & 1) == 0 || eml_dtype_bytes((enum eml_dtype)t) != 0);
        }
    assert_string_equal(eml_dtype_refusal(EML_DT_U4), "uint4 is not supported by this operator");
    assert_string_equal(eml_dtype_refusal((enum eml_dtype)99),
                        "element type not supported by this operator");
}

static void attributes_narrow_the_types(void **state)
{
    (void)state;
    static const struct {
        enum eml_op op;
        enum eml_attr_id attr;
        int64_t value;
        enum eml_dtype lost;
    } narrow[] = {
        {EML_OP_MOD, EML_ATTR_FMOD, 0, EML_DT_F32},
        {EML_OP_SCATTER_ND, EML_ATTR_REDUCTION, 1, EML_DT_BOOL},
        {EML_OP_SCATTER_ELEMENTS, EML_ATTR_REDUCTION, 1, EML_DT_F16},
        {EML_OP_RESIZE, EML_ATTR_MODE, 1, EML_DT_U8},
    };
    for (size_t i = 0; i < sizeof narrow / sizeof narrow[0]; i++) {
        struct eml_attr attr = {narrow[i].attr, 1, &narrow[i].value};
        struct eml_node n = {.op = narrow[i].op, .n_attr = 1, .attr = &attr};
        const int64_t other = !narrow[i].value;
        assert_false(eml_types_has(eml_node_types(&n), narrow[i].lost));
        attr.v = &other;
        assert_true(eml_types_has(eml_node_types(&n), narrow[i].lost));
    }
    assert_int_equal(eml_op_typed(EML_OP_WHERE), 1);
    assert_int_equal(eml_op_typed(EML_OP_ONE_HOT), 2);
    assert_int_equal(eml_op_typed(EML_OP_ADD), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_elements_and_refuses_overflow),
        cmocka_unit_test(names_and_sizes_of_types),
        cmocka_unit_test(finds_attributes),
        cmocka_unit_test(sets_of_types),
        cmocka_unit_test(attributes_narrow_the_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
