#include "testsupport/support.h"

#include "eif/cpio.h"

#include <stdio.h>
#include <string.h>

static const struct eml_cpio_entry tree[] = {
    {"etc", EML_CPIO_DIRECTORY, {0}},
    {"etc/options", EML_CPIO_FILE, {(const uint8_t *)"one line\n", 9}},
    {"init", EML_CPIO_PROGRAM, {(const uint8_t *)"\177ELF", 4}},
    {"z-empty", EML_CPIO_FILE, {0}},
};

/* GNU cpio made the vector; behind the archive it fills up a block. */
static void is_what_gnu_cpio_writes(void **state)
{
    (void)state;
    struct eml_buf out = {0};
    struct eml_buf want = eml_test_read(EML_VECTORS "/eif/tree.cpio");
    assert_int_equal(eml_cpio_write(tree, 4, &out, NULL), EML_OK);
    assert_true(out.len <= want.len && out.len % 4 == 0);
    assert_memory_equal(out.ptr, want.ptr, out.len);
    for (size_t i = out.len; i < want.len; i++)
        assert_int_equal(want.ptr[i], 0);
    eml_buf_free(&out);
    eml_buf_free(&want);
}

/* A second archive behind a first one is the same: padding counts from the archive's start. */
static void archives_can_follow_each_other(void **state)
{
    (void)state;
    struct eml_buf one = {0}, two = {0};
    assert_int_equal(eml_cpio_write(tree, 4, &one, NULL), EML_OK);
    eml_buf_put_u8(&two, 1);
    assert_int_equal(eml_cpio_write(tree, 4, &two, NULL), EML_OK);
    assert_int_equal(two.len, one.len + 1);
    assert_memory_equal(two.ptr + 1, one.ptr, one.len);
    eml_buf_free(&one);
    eml_buf_free(&two);
}

static void names_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "/init", "etc/", "a//b",       ".",     "..",
                                      "./a", "a/..",  "a/.",  "TRAILER!!!", "b/../a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct eml_cpio_entry e = {bad[i], EML_CPIO_FILE, {0}};
        struct eml_why why = {0};
        struct eml_buf out = {0};
        assert_int_equal(eml_cpio_write(&e, 1, &out, &why), EML_E_USAGE);
        assert_int_equal(why.index, 0);
        assert_int_equal(out.len, 0);
    }
}

static void order_kinds_and_sizes_are_checked(void **state)
{
    (void)state;
    const struct eml_cpio_entry twice[] = {{"a", EML_CPIO_FILE, {0}}, {"a", EML_CPIO_FILE, {0}}};
    const struct eml_cpio_entry down[] = {{"b", EML_CPIO_FILE, {0}}, {"a", EML_CPIO_FILE, {0}}};
    const struct eml_cpio_entry full = {"d", EML_CPIO_DIRECTORY, {(const uint8_t *)"x", 1}};
    /* Only its length is looked at. */
    const struct eml_cpio_entry large = {
        "l", EML_CPIO_FILE, {(const uint8_t *)"x", (size_t)UINT32_MAX + 1}};
    struct eml_buf out = {0};
    struct eml_why why = {0};
    assert_int_equal(eml_cpio_write(twice, 2, &out, &why), EML_E_USAGE);
    assert_int_equal(why.index, 1);
    assert_int_equal(eml_cpio_write(down, 2, &out, NULL), EML_E_USAGE);
    assert_int_equal(eml_cpio_write(&full, 1, &out, NULL), EML_E_USAGE);
    assert_int_equal(eml_cpio_write(&large, 1, &out, NULL), EML_E_USAGE);
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_what_gnu_cpio_writes),
        cmocka_unit_test(archives_can_follow_each_other),
        cmocka_unit_test(names_that_mean_nothing_are_refused),
        cmocka_unit_test(order_kinds_and_sizes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
