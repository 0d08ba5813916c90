#include "testsupport/support.h"

#include "base/wipe.h"
#include "crypto/crypto.h"

#include <openssl/crypto.h>

#include <stdlib.h>
#include <string.h>

/* glibc hands a block that was just freed out again to the next request of its size, so that what
 * was left in it can be seen. NULL where the allocator does otherwise (sanitizers). */
static uint8_t *same_block_again(uintptr_t was, size_t n)
{
    uint8_t *p = malloc(n);
    if ((uintptr_t)p == was)
        return p;
    free(p);
    return NULL;
}

enum { HEADER = 16, N = 200 };

static void freed_blocks_are_clean(void **state)
{
    (void)state;
    uint8_t *p = OPENSSL_malloc(N);
    const uintptr_t block = (uintptr_t)p - HEADER;
    memset(p, 0xa5, N);
    OPENSSL_free(p);
    uint8_t *q = same_block_again(block, HEADER + N);
    if (q == NULL)
        skip();
    /* The allocator's own links lie in the first 16 bytes, the header. */
    assert_true(eml_ct_is_zero(eml_bytes(q + HEADER, N)));
    free(q);
}

static void grown_blocks_keep_their_bytes_and_leave_none(void **state)
{
    (void)state;
    uint8_t *p = OPENSSL_malloc(N);
    const uintptr_t block = (uintptr_t)p - HEADER;
    memset(p, 0x5a, N);
    uint8_t *grown = OPENSSL_realloc(p, 5000);
    uint8_t *q = same_block_again(block, HEADER + N);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(grown[i], 0x5a);
    uint8_t *shrunk = OPENSSL_realloc(grown, 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(shrunk[i], 0x5a);
    OPENSSL_free(shrunk);
    if (q == NULL)
        skip();
    bool clean = eml_ct_is_zero(eml_bytes(q + HEADER, N));
    free(q);
    assert_true(clean);
}

static void odd_sizes(void **state)
{
    (void)state;
    assert_null(OPENSSL_malloc(SIZE_MAX - 8));
    OPENSSL_free(NULL);
    void *p = OPENSSL_realloc(NULL, 10);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 16, 0);
    assert_null(OPENSSL_realloc(p, 0)); /* frees */
}

static void later_calls_do_nothing(void **state)
{
    (void)state;
    eml_crypto_init();
    struct eml_sha256 h;
    assert_int_equal(eml_sha256(NULL, 0, &h), EML_OK);
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freed_blocks_are_clean),
        cmocka_unit_test(grown_blocks_keep_their_bytes_and_leave_none),
        cmocka_unit_test(odd_sizes),
        cmocka_unit_test(later_calls_do_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
