#include "testsupport/cases.h"

/* What the cases below are: at most `size` numbers below 100; those of a broken property do not
 * hold from the third on. */
static unsigned parts_of(struct eml_gen *g, unsigned size)
{
    return (unsigned)eml_gen_range(g, 1, size);
}

static void holds(struct eml_gen *g, unsigned size)
{
    assert_in_range(parts_of(g, size), 1, size);
}

static void fails_from_three_on(struct eml_gen *g, unsigned size)
{
    (void)g;
    assert_in_range(size, 0, 2);
}

static void crashes_from_five_on(struct eml_gen *g, unsigned size)
{
    volatile const uint8_t *nowhere = NULL;
    (void)g;
    if (size >= 5)
        (void)*nowhere;
}

static unsigned seen;
static uint64_t first;

static void counts(struct eml_gen *g, unsigned size)
{
    seen++;
    first ^= eml_gen_u64(g);
    assert_int_equal(size, 7);
}

static void the_smallest_is_found(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("smallest"), before = g;
    assert_int_equal(eml_cases_smallest(&g, 9, holds), 0);
    assert_int_equal(eml_cases_smallest(&g, 9, fails_from_three_on), 3);
    assert_int_equal(eml_cases_smallest(&g, 3, fails_from_three_on), 3);
    assert_int_equal(eml_cases_smallest(&g, 2, fails_from_three_on), 0);
    assert_int_equal(eml_cases_smallest(&g, 9, crashes_from_five_on), 5);
    assert_memory_equal(&g, &before, sizeof g);
}

static void all_cases_are_run(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("all"), twin = g;
    uint64_t want = 0;
    eml_cases(&g, 20, 7, counts);
    for (int i = 0; i < 20; i++)
        want ^= eml_gen_u64(&twin);
    assert_int_equal(seen, 20);
    assert_int_equal(first, want);
    assert_int_equal(eml_cases_shrink(NULL), 0); /* none is open */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EML_CASES_TEST(the_smallest_is_found),
        EML_CASES_TEST(all_cases_are_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
