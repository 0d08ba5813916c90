// wrap: malloc
#include "testsupport/support.h"

#include "base/heap.h"
#include "base/wipe.h"

#include <stdlib.h>
#include <string.h>

enum { N = 200, HEADER = 16 };

static bool no_memory;

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);

void *__wrap_malloc(size_t n)
{
    return no_memory ? NULL : __real_malloc(n);
}

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

static void fail_to(bool resize)
{
    no_memory = true;
    void *p = resize ? eml_heap_resize(NULL, N) : eml_heap_alloc(N);
    no_memory = false;
    assert_null(p);
}

/* A failure is lack of memory only if this heap had none since it was watched. */
static void tells_lack_of_memory(void **state)
{
    (void)state;
    struct eml_why why = {"a rule", 7};
    fail_to(false);
    eml_heap_watch();
    assert_int_equal(eml_heap_verdict(EML_E_INPUT, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "a rule");
    fail_to(false);
    eml_heap_free(eml_heap_alloc(1));
    assert_int_equal(eml_heap_verdict(EML_OK, &why), EML_OK);
    assert_string_equal(why.rule, "a rule");
    assert_int_equal(eml_heap_verdict(EML_E_AUTH, NULL), EML_E_SYSTEM);
    assert_int_equal(eml_heap_verdict(EML_E_AUTH, &why), EML_E_SYSTEM);
    assert_string_equal(why.rule, "out of memory");
    eml_heap_watch();
    fail_to(true);
    assert_int_equal(eml_heap_verdict(EML_E_AUTH, &why), EML_E_SYSTEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freed_blocks_are_wiped),
        cmocka_unit_test(sizes_and_moves),
        cmocka_unit_test(tells_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
