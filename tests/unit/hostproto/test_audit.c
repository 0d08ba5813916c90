#include "testsupport/support.h"

#include "hostproto/audit.h"

#include <string.h>

static const uint8_t zeros[256 * EML_TILE_HASH];

static struct eml_host_log_state state_of(uint64_t size)
{
    struct eml_host_log_state s = {.size = size};
    if (size != 0)
        s.checkpoint = EML_LIT("note");
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        s.edge[level] = eml_bytes(zeros, (size_t)(eml_tile_count(size, level) % EML_TILE_WIDTH) *
                                             EML_TILE_HASH);
    return s;
}

static void states_round_trip_and_only_whole(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 255, 256, 257, 70000, (uint64_t)1 << 56};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct eml_host_log_state in = state_of(sizes[k]), out;
        enum eml_host_status status;
        struct eml_buf b = {0}, again = {0};
        assert_int_equal(eml_host_log_state_encode(&in, &b), EML_OK);
        assert_true(b.len <= EML_HOST_LOG_STATE_MAX);
        assert_int_equal(eml_host_log_state_decode(eml_buf_bytes(&b), &status, &out), EML_OK);
        assert_int_equal(status, EML_HOST_OK);
        assert_int_equal(out.size, sizes[k]);
        assert_int_equal(eml_host_log_state_encode(&out, &again), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_buf_bytes(&again)));
        for (size_t n = 0; n < b.len; n += n < 64 ? 1 : 997)
            assert_int_equal(eml_host_log_state_decode(eml_bytes(b.ptr, n), &status, &out),
                             EML_E_INPUT);
        eml_buf_put_u8(&b, 0);
        assert_int_equal(eml_host_log_state_decode(eml_buf_bytes(&b), &status, &out), EML_E_INPUT);
        assert_int_equal(out.size, 0);
        eml_buf_free(&b);
        eml_buf_free(&again);
    }
    struct eml_host_log_state bad = state_of(5), out;
    struct eml_buf b = {0};
    enum eml_host_status status;
    bad.size = 6;
    assert_int_equal(eml_host_log_state_encode(&bad, &b), EML_E_USAGE);
    bad = state_of(5);
    bad.checkpoint.len = 0;
    assert_int_equal(eml_host_log_state_encode(&bad, &b), EML_E_USAGE);
    const uint8_t refused[] = {EML_HOST_NOT_OFFERED}, unknown[] = {200};
    assert_int_equal(eml_host_log_state_decode(EML_BYTES(refused), &status, &out), EML_OK);
    assert_int_equal(status, EML_HOST_NOT_OFFERED);
    assert_int_equal(eml_host_log_state_decode(EML_BYTES(unknown), &status, &out), EML_E_INPUT);
    eml_buf_free(&b);
}

static void fill(struct eml_host_commit *c, struct eml_buf *entries, uint64_t first, unsigned n)
{
    const uint8_t entry[] = {0, 2, 'a', 'b'};
    *c = (struct eml_host_commit){.first = first, .n = n, .checkpoint = EML_LIT("note")};
    for (unsigned i = 0; i < n; i++)
        eml_buf_put(entries, EML_BYTES(entry));
    c->entries = eml_buf_bytes(entries);
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        c->hashes[level] =
            eml_bytes(zeros, (size_t)eml_host_commit_hashes(first, n, level) * EML_TILE_HASH);
}

static void commits_round_trip_and_only_whole(void **state)
{
    (void)state;
    static const struct {
        uint64_t first;
        unsigned n;
    } cases[] = {{0, 1}, {255, 1}, {255, 2}, {65535, 256}, {(uint64_t)1 << 55, 3}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct eml_host_commit in, out;
        struct eml_buf entries = {0}, b = {0}, again = {0};
        fill(&in, &entries, cases[k].first, cases[k].n);
        if (k % 2 == 0)
            in.document = EML_LIT("document");
        assert_int_equal(eml_host_commit_encode(&in, &b), EML_OK);
        assert_true(b.len <= EML_HOST_LOG_COMMIT_MAX);
        assert_int_equal(eml_host_commit_decode(eml_buf_bytes(&b), &out), EML_OK);
        assert_int_equal(eml_host_commit_encode(&out, &again), EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_buf_bytes(&again)));
        for (size_t n = 0; n < b.len; n++) {
            assert_int_equal(eml_host_commit_decode(eml_bytes(b.ptr, n), &out), EML_E_INPUT);
            assert_int_equal(out.n, 0);
        }
        for (size_t bit = 0; bit<8 * b.len; bit += b.len> 1000 ? 97 : 1) {
            b.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
            again.len = 0;
            if (eml_host_commit_decode(eml_buf_bytes(&b), &out) == EML_OK) {
                assert_int_equal(eml_host_commit_encode(&out, &again), EML_OK);
                assert_true(eml_bytes_equal(eml_buf_bytes(&b), eml_buf_bytes(&again)));
            }
            b.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        eml_buf_put_u8(&b, 0);
        assert_int_equal(eml_host_commit_decode(eml_buf_bytes(&b), &out), EML_E_INPUT);
        eml_buf_free(&entries);
        eml_buf_free(&b);
        eml_buf_free(&again);
    }
}

static void limits_of_a_commit(void **state)
{
    (void)state;
    static const uint8_t big[EML_HOST_LOG_DOCUMENT_MAX + 1];
    struct eml_host_commit c;
    struct eml_buf entries = {0}, b = {0};
    fill(&c, &entries, 0, 1);
    c.document = EML_BYTES(big);
    assert_int_equal(eml_host_commit_encode(&c, &b), EML_E_USAGE);
    c.document.len--;
    assert_int_equal(eml_host_commit_encode(&c, &b), EML_OK);
    c.checkpoint = eml_bytes(big, EML_HOST_LOG_CHECKPOINT_MAX + 1);
    assert_int_equal(eml_host_commit_encode(&c, &b), EML_E_USAGE);
    c.checkpoint.len = 0;
    assert_int_equal(eml_host_commit_encode(&c, &b), EML_E_USAGE);
    c.checkpoint.len = 1;
    c.n = 0;
    assert_int_equal(eml_host_commit_encode(&c, &b), EML_E_USAGE);
    c.n = EML_HOST_LOG_BATCH_MAX + 1;
    assert_int_equal(eml_host_commit_encode(&c, &b), EML_E_USAGE);
    entries.len = 0;
    const uint8_t too_long[] = {(EML_HOST_LOG_ENTRY_MAX + 1) >> 8,
                                (EML_HOST_LOG_ENTRY_MAX + 1) & 255};
    eml_buf_put(&entries, EML_BYTES(too_long));
    eml_buf_put(&entries, eml_bytes(big, EML_HOST_LOG_ENTRY_MAX + 1));
    c.n = 1;
    c.entries = eml_buf_bytes(&entries);
    assert_int_equal(eml_host_commit_encode(&c, &b), EML_E_USAGE);
    eml_buf_free(&entries);
    eml_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_round_trip_and_only_whole),
        cmocka_unit_test(commits_round_trip_and_only_whole),
        cmocka_unit_test(limits_of_a_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
