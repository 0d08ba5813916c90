/* The heap of dynamic runs: blocks by powers of two, given back and taken again, within a limit. */
#include "testsupport/support.h"

#include "engine/item.h"

#include <string.h>

static struct eml_arena arena;

static int open_arena(void **state)
{
    (void)state;
    return eml_arena_create(&arena, (size_t)1 << 24) == EML_OK ? 0 : -1;
}

static int close_arena(void **state)
{
    (void)state;
    (void)eml_arena_destroy(&arena);
    return 0;
}

static void blocks_are_aligned_and_apart(void **state)
{
    (void)state;
    struct eml_heap h = {.arena = &arena, .limit = 1 << 20};
    uint8_t *blocks[40];
    for (size_t i = 0; i < 40; i++) {
        blocks[i] = eml_heap_get(&h, i * 7 + 1);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 64, 0);
        memset(blocks[i], (int)i, i * 7 + 1);
    }
    for (size_t i = 0; i < 40; i++)
        for (size_t k = 0; k < i * 7 + 1; k++)
            assert_int_equal(blocks[i][k], i);
}

static void what_is_given_back_is_taken_again(void **state)
{
    (void)state;
    struct eml_heap h = {.arena = &arena, .limit = 1 << 20};
    void *a = eml_heap_get(&h, 100), *b = eml_heap_get(&h, 128);
    uint64_t taken = h.taken;
    eml_heap_put(&h, a, 100);
    eml_heap_put(&h, b, 128);
    eml_heap_put(&h, NULL, 128);
    assert_ptr_equal(eml_heap_get(&h, 65), b); /* the same class, the last one first */
    assert_ptr_equal(eml_heap_get(&h, 127), a);
    assert_int_equal(h.taken, taken);
    assert_ptr_not_equal(eml_heap_get(&h, 64), a); /* another class */
    assert_true(h.taken > taken);
}

static void nothing_beyond_the_limit(void **state)
{
    (void)state;
    struct eml_heap h = {.arena = &arena, .limit = 1000};
    assert_non_null(eml_heap_get(&h, 512));
    assert_null(eml_heap_get(&h, 512));   /* 1024 in all */
    assert_non_null(eml_heap_get(&h, 1)); /* 576 */
    assert_null(eml_heap_get(&h, SIZE_MAX));
    assert_null(eml_heap_get(&h, (size_t)1 << 62));
    assert_true(h.taken <= h.limit);
    struct eml_heap large = {.arena = &arena, .limit = UINT64_MAX};
    assert_null(eml_heap_get(&large, (size_t)1 << 40)); /* the arena is smaller than the limit */
}

/* ---- items ---- */

static void items_go_when_nobody_holds_them(void **state)
{
    (void)state;
    struct eml_heap h = {.arena = &arena, .limit = 1 << 20};
    const struct eml_shape s = {2, {3, 5}}, flat = {1, {15}};
    struct eml_item *x = eml_item_tensor(&h, EML_DT_F32, &s);
    assert_int_equal(eml_item_bytes(x), 60);
    struct eml_item *v = eml_item_view(&h, x, &flat), *w = eml_item_view(&h, v, &s);
    assert_ptr_equal(v->view.data, x->view.data);
    assert_ptr_equal(w->base, x); /* a view of a view is one of the first */
    void *data = x->view.data;
    eml_item_drop(&h, x); /* the views hold it */
    assert_ptr_not_equal(eml_heap_get(&h, 60), data);
    eml_item_drop(&h, v);
    assert_ptr_not_equal(eml_heap_get(&h, 60), data);
    eml_item_drop(&h, w);
    assert_ptr_equal(eml_heap_get(&h, 60), data);
    eml_item_drop(&h, NULL);
}

static void lists_hold_their_items(void **state)
{
    (void)state;
    struct eml_heap h = {.arena = &arena, .limit = 1 << 20};
    const struct eml_shape s = {1, {4}};
    struct eml_item *list = eml_item_list(&h);
    for (int i = 0; i < 100; i++) { /* grows on the way */
        struct eml_item *x = eml_item_tensor(&h, EML_DT_U8, &s);
        memset(x->view.data, i, 4);
        assert_true(eml_item_append(&h, list, x));
        eml_item_drop(&h, x);
    }
    assert_int_equal(list->n_list, 100);
    struct eml_item *part = eml_item_sublist(&h, list, 10, 13);
    eml_item_drop(&h, list);
    assert_int_equal(part->n_list, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(((const uint8_t *)part->list[i]->view.data)[3], 10 + i);
    uint64_t taken = h.taken;
    for (int i = 0; i < 90; i++) /* what only the first list held is free */
        assert_non_null(eml_item_tensor(&h, EML_DT_U8, &s));
    assert_int_equal(h.taken, taken);
}

static void items_beyond_the_limit_are_none(void **state)
{
    (void)state;
    const struct eml_shape s = {1, {4096}};
    struct eml_heap h = {.arena = &arena, .limit = 2048};
    assert_null(eml_item_tensor(&h, EML_DT_F64, &s));
    struct eml_item *list = eml_item_list(&h);
    struct eml_item *x = eml_item_none(&h);
    uint32_t n = 0;
    while (eml_item_append(&h, list, x))
        n++;
    assert_int_equal(list->n_list, n); /* as it was before the failure */
    assert_int_equal(x->refs, n + 1);
    assert_true(n > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks_are_aligned_and_apart, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(what_is_given_back_is_taken_again, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(nothing_beyond_the_limit, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(items_go_when_nobody_holds_them, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(lists_hold_their_items, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(items_beyond_the_limit_are_none, open_arena, close_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
