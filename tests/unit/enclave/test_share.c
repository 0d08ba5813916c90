/* The number that the broker writes and workers read. */
#include "testsupport/support.h"

#include "enclave/share.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

static void workers_read_what_the_broker_writes(void **state)
{
    (void)state;
    struct eml_share s;
    assert_int_equal(eml_share_make(7, &s), EML_OK);
    const _Atomic uint32_t *seen = eml_share_map(s.fd);
    assert_non_null(seen);
    assert_int_equal(atomic_load(seen), 7);
    atomic_store(s.threads, 1);
    assert_int_equal(atomic_load(seen), 1);
    eml_share_free(&s);
    assert_int_equal(s.fd, -1);
}

static void workers_cannot_write(void **state)
{
    (void)state;
    struct eml_share s;
    const uint32_t other = 9;
    assert_int_equal(eml_share_make(2, &s), EML_OK);
    assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s.fd, 0) == MAP_FAILED);
    assert_int_equal(pwrite(s.fd, &other, sizeof other, 0), -1);
    assert_int_not_equal(ftruncate(s.fd, 0), 0);
    assert_int_equal(atomic_load(s.threads), 2);
    eml_share_free(&s);
}

static void no_page_no_number(void **state)
{
    (void)state;
    assert_null(eml_share_map(-1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_read_what_the_broker_writes),
        cmocka_unit_test(workers_cannot_write),
        cmocka_unit_test(no_page_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
