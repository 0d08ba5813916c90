#include "testsupport/support.h"

#include "base/arena.h"
#include "base/wipe.h"

#include <string.h>

static void wipes_what_was_asked_and_no_more(void **state)
{
    (void)state;
    enum { MAX = 700, AROUND = 80 };
    static void (*const wipes[])(void *p, size_t n) = {eml_wipe, eml_wipe_shared};
    static uint8_t room[MAX + 2 * AROUND];
    for (size_t w = 0; w < sizeof wipes / sizeof wipes[0]; w++) {
        for (size_t n = 0; n <= MAX; n += n < 200 ? 1 : 61) {
            for (size_t at = 0; at < AROUND; at++) {
                memset(room, 0xa5, sizeof room);
                wipes[w](room + at, n);
                for (size_t i = 0; i < sizeof room; i++)
                    assert_int_equal(room[i], i >= at && i < at + n ? 0 : 0xa5);
            }
        }
    }
}

static void arena_is_zero_after_reset_either_way(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20, KEPT = 1000 };
    for (int shared = 0; shared < 2; shared++) {
        struct eml_arena a;
        assert_int_equal(eml_arena_create(&a, SIZE), EML_OK);
        a.shared = shared == 1;
        uint8_t *kept = eml_arena_alloc(&a, KEPT, 1), *gone = eml_arena_alloc(&a, SIZE - KEPT, 1);
        assert_non_null(gone);
        memset(kept, 0xa5, SIZE);
        assert_int_equal(eml_arena_reset(&a, KEPT), SIZE - KEPT);
        assert_true(eml_ct_is_zero(eml_bytes(gone, SIZE - KEPT)));
        for (size_t i = 0; i < KEPT; i++)
            assert_int_equal(kept[i], 0xa5);
        assert_int_equal(eml_arena_destroy(&a), SIZE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wipes_what_was_asked_and_no_more),
        cmocka_unit_test(arena_is_zero_after_reset_either_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
