#include "testsupport/support.h"

#include "base/heap.h"
#include "base/wipe.h"

#include <stdlib.h>
#include <string.h>

enum { N = 200, HEADER = 16 };

/* glibc hands a block that was just freed out again to the next request of its size, so that what
 * was left in it can be seen. Allocators of sanitizers do otherwise. */
static void freed_blocks_are_wiped(void **state)
{
    (void)state;
    uint8_t *p = eml_heap_alloc(N);
    const uintptr_t was = (uintptr_t)p - HEADER;
    memset(p, 0xa5, N);
    eml_heap_free(p);
    uint8_t *q = malloc(HEADER + N);
    bool same = (uintptr_t)q == was;
    bool clean = same && eml_ct_is_zero(eml_bytes(q + HEADER, N));
    free(q);
    if (!same)
        skip();
    assert_true(clean);
}

static void sizes_and_moves(void **state)
{
    (void)state;
    assert_null(eml_heap_alloc(0));
    assert_null(eml_heap_alloc(SIZE_MAX));
    eml_heap_free(NULL);
    uint8_t *p = eml_heap_resize(NULL, 3);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
    memcpy(p, "abc", 3);
    assert_null(eml_heap_resize(p, SIZE_MAX)); /* p stays */
    p = eml_heap_resize(p, 100000);
    assert_memory_equal(p, "abc", 3);
    p = eml_heap_resize(p, 2);
    assert_memory_equal(p, "ab", 2);
    assert_null(eml_heap_resize(p, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freed_blocks_are_wiped),
        cmocka_unit_test(sizes_and_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
