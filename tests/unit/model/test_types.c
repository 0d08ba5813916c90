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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_elements_and_refuses_overflow),
        cmocka_unit_test(names_and_sizes_of_types),
        cmocka_unit_test(finds_attributes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
