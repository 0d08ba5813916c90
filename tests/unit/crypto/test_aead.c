#include "gcm_known.h"
#include "testsupport/known.h"
#include "testsupport/support.h"

#include "base/wipe.h"
#include "crypto/crypto.h"

#include <string.h>

static void gcm_known_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < KNOWN_N; i++) {
        struct eml_aead_key k;
        struct eml_nonce n;
        uint8_t out[128], back[128];
        eml_test_hex_into(known[i].key, EML_ROOM(k.b));
        eml_test_hex_into(known[i].nonce, EML_ROOM(n.b));
        struct eml_buf aad = eml_test_hex(known[i].aad), plain = eml_test_hex(known[i].plain);
        size_t len = plain.len + 16;
        assert_int_equal(eml_aead_seal(&k, &n, eml_buf_bytes(&aad), eml_buf_bytes(&plain),
                                       (struct eml_room){out, len}),
                         EML_OK);
        eml_test_assert_hex(eml_bytes(out, len), known[i].sealed);
        assert_int_equal(eml_aead_open(&k, &n, eml_buf_bytes(&aad), eml_bytes(out, len),
                                       (struct eml_room){back, plain.len}),
                         EML_OK);
        assert_true(eml_bytes_equal(eml_bytes(back, plain.len), eml_buf_bytes(&plain)));
        eml_buf_free(&aad);
        eml_buf_free(&plain);
    }
}

static void every_changed_bit_is_refused_and_nothing_released(void **state)
{
    (void)state;
    struct eml_aead_key k;
    struct eml_nonce n;
    uint8_t sealed[48], out[32], aad[5] = "aad5";
    memset(&k, 7, sizeof k);
    memset(&n, 9, sizeof n);
    struct eml_bytes plain = EML_LIT("thirty-two bytes of plain text..");
    assert_int_equal(eml_aead_seal(&k, &n, EML_BYTES(aad), plain, EML_ROOM(sealed)), EML_OK);
    for (size_t bit = 0; bit < sizeof sealed * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        memset(out, 0xff, sizeof out);
        assert_int_equal(eml_aead_open(&k, &n, EML_BYTES(aad), EML_BYTES(sealed), EML_ROOM(out)),
                         EML_E_AUTH);
        assert_true(eml_ct_is_zero(EML_BYTES(out)));
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(eml_aead_open(&k, &n, EML_LIT("aad"), EML_BYTES(sealed), EML_ROOM(out)),
                     EML_E_AUTH);
    n.b[11] ^= 1;
    assert_int_equal(eml_aead_open(&k, &n, EML_BYTES(aad), EML_BYTES(sealed), EML_ROOM(out)),
                     EML_E_AUTH);
    for (size_t len = 0; len < 16; len++)
        assert_int_equal(
            eml_aead_open(&k, &n, EML_BYTES(aad), eml_bytes(sealed, len), (struct eml_room){0}),
            EML_E_AUTH);
}

/* Under the zero key: AES of the blocks 0 and 1, the second one known from GCM test case 13. */
static void keystream_known_answer(void **state)
{
    (void)state;
    struct eml_aead_key k = {{0}};
    uint8_t out[32], longer[1000];
    assert_int_equal(eml_keystream(&k, EML_ROOM(out)), EML_OK);
    eml_test_assert_hex(EML_BYTES(out),
                        "dc95c078a2408989ad48a21492842087530f8afbc74536b9a963b4f1c4cb738b");
    assert_int_equal(eml_keystream(&k, EML_ROOM(longer)), EML_OK);
    assert_memory_equal(out, longer, sizeof out);
}

/* SP 800-38A F.2.5 for the blocks; the padding block follows. */
static void cbc_known_answer_and_padding(void **state)
{
    (void)state;
    struct eml_aead_key k;
    uint8_t iv[16], plain[16], out[64];
    size_t len;
    eml_test_hex_into("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                      EML_ROOM(k.b));
    eml_test_hex_into("000102030405060708090a0b0c0d0e0f", EML_ROOM(iv));
    eml_test_hex_into("6bc1bee22e409f96e93d7e117393172a", EML_ROOM(plain));
    struct eml_buf ct = {0};
    assert_int_equal(eml_aes256_cbc_encrypt(&k, iv, EML_BYTES(plain), &ct), EML_OK);
    assert_int_equal(ct.len, 32);
    eml_test_assert_hex(eml_bytes(ct.ptr, 16), "f58c4c04d6e5f1ba779eabfb5f7bfbd6");
    assert_int_equal(eml_aes256_cbc_decrypt(&k, iv, eml_buf_bytes(&ct), EML_ROOM(out), &len),
                     EML_OK);
    assert_true(eml_bytes_equal(eml_bytes(out, len), EML_BYTES(plain)));
    assert_int_equal(eml_aes256_cbc_decrypt(&k, iv, eml_bytes(ct.ptr, 16), EML_ROOM(out), &len),
                     EML_E_AUTH);
    assert_int_equal(len, 0);
    assert_true(eml_ct_is_zero(EML_BYTES(out)));
    assert_int_equal(eml_aes256_cbc_decrypt(&k, iv, eml_bytes(ct.ptr, 31), EML_ROOM(out), &len),
                     EML_E_AUTH);
    assert_int_equal(eml_aes256_cbc_decrypt(&k, iv, EML_LIT(""), EML_ROOM(out), &len), EML_E_AUTH);
    eml_buf_free(&ct);
    for (size_t n = 0; n < 40; n++) {
        uint8_t text[40];
        memset(text, (int)n, sizeof text);
        assert_int_equal(eml_aes256_cbc_encrypt(&k, iv, eml_bytes(text, n), &ct), EML_OK);
        assert_int_equal(ct.len, (n / 16 + 1) * 16);
        assert_int_equal(eml_aes256_cbc_decrypt(&k, iv, eml_buf_bytes(&ct), EML_ROOM(out), &len),
                         EML_OK);
        assert_true(eml_bytes_equal(eml_bytes(out, len), eml_bytes(text, n)));
        eml_buf_free(&ct);
    }
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gcm_known_answers),
        cmocka_unit_test(every_changed_bit_is_refused_and_nothing_released),
        cmocka_unit_test(keystream_known_answer),
        cmocka_unit_test(cbc_known_answer_and_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
