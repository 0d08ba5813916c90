#include "testsupport/support.h"

#include "session/seal.h"

#include <string.h>

static const struct eml_aead_key data_key = {{1, 2, 3}};
static const uint8_t id[EML_SESSION_ID_BYTES] = {9};

static void seals_and_opens_only_for_its_session(void **state)
{
    (void)state;
    struct eml_buf b = {0};
    uint8_t plain[5] = {0};
    uint8_t other[EML_SESSION_ID_BYTES] = {8};
    assert_int_equal(eml_request_seal(&data_key, EML_BYTES(id), EML_LIT("hello"), &b), EML_OK);
    assert_int_equal(b.len, 5 + EML_REQUEST_SEAL_BYTES);
    struct eml_bytes sealed = eml_buf_bytes(&b);
    assert_int_equal(eml_request_unseal(&data_key, EML_BYTES(id), sealed, EML_ROOM(plain)), EML_OK);
    assert_memory_equal(plain, "hello", 5);
    assert_int_equal(eml_request_unseal(&data_key, EML_BYTES(other), sealed, EML_ROOM(plain)),
                     EML_E_AUTH);
    assert_memory_equal(plain, "\0\0\0\0\0", 5);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(eml_request_unseal(&data_key, EML_BYTES(id), sealed, EML_ROOM(plain)),
                         EML_E_AUTH);
        b.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    eml_buf_free(&b);
}

static void nonces_differ(void **state)
{
    (void)state;
    struct eml_buf a = {0}, b = {0};
    assert_int_equal(eml_request_seal(&data_key, EML_BYTES(id), EML_LIT("x"), &a), EML_OK);
    assert_int_equal(eml_request_seal(&data_key, EML_BYTES(id), EML_LIT("x"), &b), EML_OK);
    assert_memory_not_equal(a.ptr, b.ptr, 12);
    eml_buf_free(&a);
    eml_buf_free(&b);
}

static void lengths_are_checked(void **state)
{
    (void)state;
    uint8_t sealed[EML_REQUEST_SEAL_BYTES] = {0}, out[1];
    struct eml_buf b = {0};
    assert_int_equal(eml_request_unseal(&data_key, EML_BYTES(id),
                                        eml_bytes(sealed, sizeof sealed - 1), EML_ROOM(out)),
                     EML_E_INPUT);
    assert_int_equal(eml_request_unseal(&data_key, EML_BYTES(id), EML_BYTES(sealed), EML_ROOM(out)),
                     EML_E_USAGE);
    assert_int_equal(eml_request_seal(&data_key, eml_bytes(id, 31), EML_LIT("x"), &b), EML_E_USAGE);
    eml_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seals_and_opens_only_for_its_session),
        cmocka_unit_test(nonces_differ),
        cmocka_unit_test(lengths_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
