#define _GNU_SOURCE
#include "testsupport/support.h"

#include "crypto/crypto.h"
#include "enclave/cache.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t id_a[EML_IPC_ID] = {1}, id_b[EML_IPC_ID] = {2}, id_c[EML_IPC_ID] = {3};

static struct eml_cache_entry *add(struct eml_cache *c, const uint8_t *id, uint64_t size)
{
    struct eml_cache_entry *e;
    assert_int_equal(eml_cache_add(c, id, size, &e), EML_OK);
    e->fetcher = 0;
    return e;
}

static void the_oldest_goes_first(void **state)
{
    (void)state;
    struct eml_cache c = {.bytes_max = 100};
    (void)add(&c, id_a, 40);
    (void)add(&c, id_b, 40);
    assert_non_null(eml_cache_find(&c, id_a, 40));
    (void)add(&c, id_c, 40);
    assert_null(eml_cache_find(&c, id_b, 40));
    assert_non_null(eml_cache_find(&c, id_a, 40));
    assert_int_equal(c.bytes, 80);
    eml_cache_clear(&c);
    assert_int_equal(c.bytes, 0);
}

static void size_is_part_of_the_name(void **state)
{
    (void)state;
    struct eml_cache c = {.bytes_max = 100};
    (void)add(&c, id_a, 40);
    assert_null(eml_cache_find(&c, id_a, 41));
    (void)add(&c, id_a, 41);
    assert_non_null(eml_cache_find(&c, id_a, 40));
    eml_cache_bad(&c, id_a);
    assert_null(eml_cache_find(&c, id_a, 40));
    assert_null(eml_cache_find(&c, id_a, 41));
    assert_int_equal(c.bytes, 0);
}

static void limits_hold(void **state)
{
    (void)state;
    struct eml_cache c = {.bytes_max = 100};
    struct eml_cache_entry *e;
    assert_int_equal(eml_cache_add(&c, id_a, 0, &e), EML_E_INPUT);
    assert_int_equal(eml_cache_add(&c, id_a, 101, &e), EML_E_REFUSED);
    assert_int_equal(eml_cache_add(&c, id_a, UINT64_MAX, &e), EML_E_REFUSED);
    assert_null(e);
    /* What is being fetched is not given up. */
    assert_int_equal(eml_cache_add(&c, id_a, 60, &e), EML_OK);
    assert_ptr_equal(eml_cache_fetched_by(&c, -1), e);
    assert_int_equal(eml_cache_add(&c, id_b, 60, &e), EML_E_SYSTEM);
    eml_cache_clear(&c);
    for (unsigned i = 0; i <= EML_CACHE_ENTRIES; i++) {
        uint8_t id[EML_IPC_ID] = {0xff, (uint8_t)i};
        (void)add(&c, id, 1);
    }
    assert_int_equal(c.bytes, EML_CACHE_ENTRIES);
    eml_cache_clear(&c);
}

/* A fetcher's report lies ready in the entry. */
static void report(struct eml_cache_entry *e, struct eml_bytes what)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    e->report = pair[0];
    if (what.len != 0)
        assert_int_equal(eml_ipc_send(pair[1], what, -1), EML_OK);
    (void)close(pair[1]);
}

static void only_a_sealed_file_with_a_digest_is_ready(void **state)
{
    (void)state;
    struct eml_cache c = {.bytes_max = 8192};
    struct eml_cache_entry *e;
    static const uint8_t digest[EML_IPC_DIGEST + 1] = {7};
    for (size_t n = 0; n <= sizeof digest; n++)
        for (int sealed = 0; sealed < 2; sealed++) {
            uint8_t ignored[EML_IPC_DIGEST];
            assert_int_equal(eml_cache_add(&c, id_a, 5000, &e), EML_OK);
            report(e, eml_bytes(digest, n));
            if (sealed != 0)
                assert_int_equal(eml_cache_seal(e->fd, 5000, ignored), EML_OK);
            bool good = n == EML_IPC_DIGEST && sealed != 0;
            assert_int_equal(eml_cache_ready(&c, e), good ? EML_OK : EML_E_SYSTEM);
            assert_int_equal(e->size, good ? 5000 : 0);
            if (good)
                assert_memory_equal(e->digest, digest, sizeof e->digest);
            eml_cache_clear(&c);
        }
}

static void a_ready_entry_cannot_be_changed(void **state)
{
    (void)state;
    struct eml_cache c = {.bytes_max = 8192};
    struct eml_cache_entry *e;
    struct stat st;
    uint8_t digest[EML_IPC_DIGEST];
    uint8_t bytes[5000] = {'x'};
    struct eml_sha256 want;
    const struct eml_bytes all = EML_BYTES(bytes);
    assert_int_equal(eml_sha256(&all, 1, &want), EML_OK);
    assert_int_equal(eml_cache_add(&c, id_a, 5000, &e), EML_OK);
    assert_int_equal(pwrite(e->fd, "x", 1, 0), 1);
    assert_int_equal(eml_cache_seal(e->fd, 5000, digest), EML_OK);
    assert_memory_equal(digest, want.b, sizeof digest);
    report(e, EML_BYTES(digest));
    assert_int_equal(eml_cache_ready(&c, e), EML_OK);
    assert_memory_equal(e->digest, want.b, sizeof digest);
    assert_int_equal(pwrite(e->fd, "y", 1, 0), -1);
    assert_int_equal(ftruncate(e->fd, 1), -1);
    assert_int_equal(ftruncate(e->fd, 6000), -1);
    assert_ptr_equal(mmap(NULL, 5000, PROT_READ | PROT_WRITE, MAP_SHARED, e->fd, 0), MAP_FAILED);
    assert_int_equal(fstat(e->fd, &st), 0);
    assert_int_equal(st.st_size, 5000);
    eml_cache_clear(&c);
}

static void a_bad_one_that_is_coming_is_forgotten_when_it_is_there(void **state)
{
    (void)state;
    struct eml_cache c = {.bytes_max = 100};
    struct eml_cache_entry *e;
    assert_int_equal(eml_cache_add(&c, id_a, 10, &e), EML_OK);
    e->fetcher = 77;
    eml_cache_bad(&c, id_a);
    assert_true(e->doomed);
    assert_null(eml_cache_find(&c, id_a, 10));
    assert_ptr_equal(eml_cache_fetched_by(&c, 77), e);
    eml_cache_clear(&c);
}

/* Any size, also one that huge pages do not divide: all bytes, where they belong, and no more. */
static void a_file_is_mapped_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4096, 65552, (2 << 20) - 1, 2 << 20, (5 << 20) + 12345};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = sizes[i];
        struct eml_cache c = {.bytes_max = 8 << 20};
        struct eml_cache_entry *e;
        struct eml_sha256 want;
        uint8_t digest[EML_IPC_DIGEST], *bytes = malloc(n);
        assert_non_null(bytes);
        for (size_t k = 0; k < n; k++)
            bytes[k] = (uint8_t)(k * 2654435761u >> 16);
        const struct eml_bytes all = {bytes, n};
        assert_int_equal(eml_sha256(&all, 1, &want), EML_OK);
        assert_int_equal(eml_cache_add(&c, id_a, n, &e), EML_OK);
        assert_int_equal(pwrite(e->fd, bytes, n, 0), (ssize_t)n);
        assert_int_equal(eml_cache_seal(e->fd, n, digest), EML_OK);
        assert_memory_equal(digest, want.b, sizeof digest);
        union {
            const void *in;
            void *out;
        } p = {eml_cache_map(e->fd, n)};
        assert_non_null(p.in);
        assert_int_equal((uintptr_t)p.in % (2 << 20), 0);
        assert_memory_equal(p.in, bytes, n);
        assert_int_equal(munmap(p.out, n), 0);
        free(bytes);
        eml_cache_clear(&c);
    }
    assert_null(eml_cache_map(-1, 4096));
    assert_null(eml_cache_map(0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_goes_first),
        cmocka_unit_test(size_is_part_of_the_name),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(only_a_sealed_file_with_a_digest_is_ready),
        cmocka_unit_test(a_ready_entry_cannot_be_changed),
        cmocka_unit_test(a_file_is_mapped_whole),
        cmocka_unit_test(a_bad_one_that_is_coming_is_forgotten_when_it_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
