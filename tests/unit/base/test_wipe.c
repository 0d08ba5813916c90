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

static bool all(struct eml_bytes b, uint8_t value)
{
    for (size_t i = 0; i < b.len; i++)
        if (b.ptr[i] != value)
            return false;
    return true;
}

/* Pieces in any order, overlapping, empty, outside, at both ends. */
static void arena_keeps_what_it_is_told_to(void **state)
{
    (void)state;
    static const uint8_t outside[8] = {7};
    for (int shared = 0; shared < 2; shared++) {
        struct eml_arena a;
        assert_int_equal(eml_arena_create(&a, 1 << 16), EML_OK);
        a.shared = shared;
        uint8_t *p = eml_arena_alloc(&a, 10000, 64);
        memset(p, 0xa5, 10000);
        struct eml_bytes keep[] = {{p + 9990, 10}, {p + 500, 100}, {outside, 8},  {p, 1},
                                   {p + 550, 100}, {p + 700, 0},   {p + 510, 20}, {NULL, 0}};
        enum { N = sizeof keep / sizeof keep[0] };
        eml_arena_wipe_but(&a, keep, N);
        assert_true(p[0] == 0xa5 && all(eml_bytes(p + 1, 499), 0) &&
                    all(eml_bytes(p + 500, 150), 0xa5) && all(eml_bytes(p + 650, 9340), 0) &&
                    all(eml_bytes(p + 9990, 10), 0xa5));
        assert_int_equal(outside[0], 7);
        eml_arena_wipe_kept(&a, keep, N);
        assert_true(all(eml_bytes(p, 10000), 0));
        assert_int_equal(a.used, 10000);
        (void)eml_arena_destroy(&a);
    }
}

/* What was wiped before it is given back is not wiped again; all that came later, or is handed out
 * again, is. */
static void arena_knows_what_is_wiped(void **state)
{
    (void)state;
    struct eml_arena a;
    assert_int_equal(eml_arena_create(&a, 1 << 16), EML_OK);
    uint8_t *p = eml_arena_alloc(&a, 1000, 64);
    size_t mark = eml_arena_mark(&a);
    uint8_t *q = eml_arena_alloc(&a, 1000, 1);
    memset(p, 1, 2000);
    eml_arena_wipe_but(&a, NULL, 0);
    eml_arena_wipe_kept(&a, NULL, 0);
    assert_true(all(eml_bytes(p, 2000), 0));
    uint8_t *r = eml_arena_alloc(&a, 1000, 1);
    memset(r, 2, 1000);
    assert_int_equal(eml_arena_reset(&a, mark), 2000);
    assert_true(all(eml_bytes(r, 1000), 0));
    assert_ptr_equal(eml_arena_alloc(&a, 3000, 1), q);
    memset(q, 3, 3000);
    assert_int_equal(eml_arena_reset(&a, 0), 4000);
    assert_true(all(eml_bytes(p, 4000), 0));
    p = eml_arena_alloc(&a, 100, 1);
    memset(p, 4, 100);
    assert_int_equal(eml_arena_reset(&a, 0), 100);
    assert_true(all(eml_bytes(p, 100), 0));
    /* What came after the one, or without it, the other does not take for wiped. */
    p = eml_arena_alloc(&a, 100, 1);
    eml_arena_wipe_but(&a, NULL, 0);
    p = eml_arena_alloc(&a, 100, 1);
    memset(p, 5, 100);
    eml_arena_wipe_kept(&a, NULL, 0);
    assert_int_equal(eml_arena_reset(&a, 100), 100);
    p = eml_arena_alloc(&a, 100, 1);
    assert_true(all(eml_bytes(p, 100), 0));
    memset(p, 6, 100);
    eml_arena_wipe_kept(&a, NULL, 0);
    assert_int_equal(eml_arena_reset(&a, 0), 200);
    assert_true(all(eml_bytes(p, 100), 0));
    (void)eml_arena_destroy(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wipes_what_was_asked_and_no_more),
        cmocka_unit_test(arena_is_zero_after_reset_either_way),
        cmocka_unit_test(arena_keeps_what_it_is_told_to),
        cmocka_unit_test(arena_knows_what_is_wiped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
