#include "testsupport/support.h"

#include "tile/tile.h"

static void check_path(unsigned level, uint64_t n, unsigned width, const char *expected)
{
    char path[EML_TILE_PATH_MAX];
    eml_tile_path(level, n, width, path);
    assert_string_equal(path, expected);
}

static void paths(void **state)
{
    (void)state;
    check_path(0, 0, 256, "tile/0/000");
    check_path(0, 5, 256, "tile/0/005");
    check_path(1, 1234067, 256, "tile/1/x001/x234/067");
    check_path(0, 273, 112, "tile/0/273.p/112");
    check_path(EML_TILE_ENTRIES, 1000, 1, "tile/entries/x001/000.p/1");
    check_path(7, (uint64_t)1 << 56, 255, "tile/7/x072/x057/x594/x037/x927/936.p/255");
}

/* The arithmetic of the specification's own example, 70000 leaves, and of 256. */
static void widths(void **state)
{
    (void)state;
    assert_int_equal(eml_tile_count(70000, 0), 70000);
    assert_int_equal(eml_tile_width(70000, 0, 272), 256);
    assert_int_equal(eml_tile_width(70000, 0, 273), 112);
    assert_int_equal(eml_tile_width(70000, 0, 274), 0);
    assert_int_equal(eml_tile_width(70000, 1, 0), 256);
    assert_int_equal(eml_tile_width(70000, 1, 1), 17);
    assert_int_equal(eml_tile_width(70000, 2, 0), 1);
    assert_int_equal(eml_tile_width(70000, 3, 0), 0);
    assert_int_equal(eml_tile_width(256, 0, 0), 256);
    assert_int_equal(eml_tile_width(256, 0, 1), 0);
    assert_int_equal(eml_tile_width(256, 1, 0), 1);
    assert_int_equal(eml_tile_width(0, 0, 0), 0);
    assert_int_equal(eml_tile_width(70000, EML_TILE_ENTRIES, 273), 112);
}

static void entries(void **state)
{
    (void)state;
    const uint8_t bundle[] = {0, 1, 'a', 0, 0, 0, 2, 'b', 'c'};
    struct eml_cur c = eml_cur(EML_BYTES(bundle));
    assert_int_equal(eml_tile_entry(&c).len, 1);
    assert_int_equal(eml_tile_entry(&c).len, 0);
    assert_true(eml_bytes_equal(eml_tile_entry(&c), EML_LIT("bc")));
    assert_true(eml_cur_done(&c));
    c = eml_cur(eml_bytes(bundle, 8));
    (void)eml_tile_entry(&c);
    (void)eml_tile_entry(&c);
    assert_int_equal(eml_tile_entry(&c).len, 0);
    assert_false(eml_cur_ok(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(widths),
        cmocka_unit_test(entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
