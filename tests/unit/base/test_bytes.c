#include "testsupport/support.h"

#include "base/arena.h"
#include "base/cur.h"
#include "base/wipe.h"

#include <string.h>

static void buf_grows_and_keeps(void **state)
{
    (void)state;
    struct eml_buf b = {0};
    for (unsigned i = 0; i < 1000; i++)
        eml_buf_put_u8(&b, (uint8_t)i);
    assert_int_equal(eml_buf_ok(&b), EML_OK);
    assert_int_equal(eml_buf_bytes(&b).len, 1000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(b.ptr[i], (uint8_t)i);
    eml_buf_free(&b);
    assert_null(b.ptr);
    assert_non_null(eml_buf_grow(&b, 0));
    assert_int_equal(b.len, 0);
    eml_buf_free(&b);
}

static void buf_failure_is_sticky(void **state)
{
    (void)state;
    struct eml_buf b = {.max = 4};
    eml_buf_put(&b, EML_LIT("1234"));
    eml_buf_put_u8(&b, 5);
    assert_int_equal(eml_buf_ok(&b), EML_E_SYSTEM);
    assert_int_equal(eml_buf_bytes(&b).len, 0);
    assert_null(eml_buf_grow(&b, 0));
    eml_buf_free(&b);
}

static void cursor_fails_once_and_for_all(void **state)
{
    (void)state;
    const uint8_t in[] = {1, 2, 3, 4, 5};
    struct eml_cur c = eml_cur(EML_BYTES(in));
    assert_int_equal(eml_cur_u16(&c), 0x0102);
    assert_int_equal(eml_cur_u32(&c), 0);
    assert_false(eml_cur_ok(&c));
    assert_int_equal(eml_cur_u8(&c), 0);
    assert_int_equal(eml_cur_left(&c), 0);
    c = eml_cur(EML_BYTES(in));
    assert_int_equal(eml_cur_take(&c, 5).len, 5);
    assert_true(eml_cur_done(&c));
    c = eml_cur(EML_BYTES(in));
    assert_int_equal(eml_cur_u32(&c), 0x01020304);
    assert_false(eml_cur_done(&c));
    assert_int_equal(eml_cur_take(&c, SIZE_MAX).len, 0);
    assert_false(eml_cur_ok(&c));
}

static void ct_equal_agrees_with_memcmp(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("ct_equal");
    for (int i = 0; i < 1000; i++) {
        uint8_t a[8], b[8];
        eml_gen_fill(&g, a, sizeof a);
        memcpy(b, a, sizeof b);
        b[eml_gen_range(&g, 0, 7)] ^= (uint8_t)(eml_gen_u64(&g) & 1);
        assert_int_equal(eml_ct_equal(EML_BYTES(a), EML_BYTES(b)), memcmp(a, b, 8) == 0);
    }
    assert_false(eml_ct_equal(EML_LIT("a"), EML_LIT("ab")));
}

static void arena_bounds_wipes_and_reuses(void **state)
{
    (void)state;
    struct eml_arena a;
    assert_int_equal(eml_arena_create(&a, 100000), EML_OK);
    uint8_t *p = eml_arena_alloc(&a, 1000, 64);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 64, 0);
    assert_true(eml_ct_is_zero(eml_bytes(p, 1000)));
    size_t mark = eml_arena_mark(&a);
    uint8_t *q = eml_arena_alloc(&a, 5000, 4096);
    assert_int_equal((uintptr_t)q % 4096, 0);
    memset(q, 0xa5, 5000);
    assert_null(eml_arena_alloc(&a, a.size, 1));
    assert_null(eml_arena_array(&a, SIZE_MAX / 2, 3));
    assert_true(eml_arena_reset(&a, mark) >= 5000);
    assert_true(eml_ct_is_zero(eml_bytes(q, 5000)));
    assert_true(eml_arena_destroy(&a) >= 6000);
    assert_null(a.base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_grows_and_keeps),
        cmocka_unit_test(buf_failure_is_sticky),
        cmocka_unit_test(cursor_fails_once_and_for_all),
        cmocka_unit_test(ct_equal_agrees_with_memcmp),
        cmocka_unit_test(arena_bounds_wipes_and_reuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
