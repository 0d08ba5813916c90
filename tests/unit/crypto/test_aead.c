#include "testsupport/known.h"
#include "testsupport/support.h"

#include "base/wipe.h"
#include "crypto/bulk_impl.h"
#include "crypto/crypto.h"

#include <stdlib.h>
#include <string.h>

/* McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test cases 13, 14, 16. */
static const struct {
    const char *key, *nonce, *aad, *plain, *sealed;
} known[] = {
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "00000000000000000000000000000000",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6"
     "b525b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b105682"
     "8838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
};
enum { KNOWN_N = sizeof known / sizeof known[0] };

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

static void bulk_known_answers(void **state)
{
    (void)state;
    uint8_t *mem = aligned_alloc(EML_BULK_ALIGN, eml_bulk_state_bytes());
    for (size_t j = 0; j < eml_bulk_impls_n; j++) {
        if (!eml_bulk_impls[j]->usable())
            continue;
        for (size_t i = 0; i < KNOWN_N; i++) {
            struct eml_aead_key k;
            struct eml_nonce n;
            struct eml_bulk *b;
            uint8_t out[128];
            eml_test_hex_into(known[i].key, EML_ROOM(k.b));
            eml_test_hex_into(known[i].nonce, EML_ROOM(n.b));
            struct eml_buf aad = eml_test_hex(known[i].aad), plain = eml_test_hex(known[i].plain);
            assert_int_equal(eml_bulk_init_as((struct eml_room){mem, eml_bulk_state_bytes()}, &k,
                                              eml_bulk_impls[j], &b),
                             EML_OK);
            assert_int_equal(eml_bulk_seal(b, &n, eml_buf_bytes(&aad), eml_buf_bytes(&plain),
                                           (struct eml_room){out, plain.len + 16}),
                             EML_OK);
            eml_test_assert_hex(eml_bytes(out, plain.len + 16), known[i].sealed);
            eml_buf_free(&aad);
            eml_buf_free(&plain);
        }
    }
    free(mem);
}

/* Random keys, lengths and associated data: what one implementation seals, aead opens, and the
 * other way round; in place too. */
static void bulk_agrees_with_aead(void **state)
{
    (void)state;
    enum { MAX = 70000 };
    static uint8_t plain[MAX], a[MAX + 16], b[MAX + 16], aad[300];
    struct eml_gen g = eml_gen_seeded("bulk");
    uint8_t *mem = aligned_alloc(EML_BULK_ALIGN, eml_bulk_state_bytes());
    for (int round = 0; round < 400; round++) {
        const struct eml_bulk_impl *impl =
            eml_bulk_impls[(size_t)eml_gen_range(&g, 0, (int64_t)eml_bulk_impls_n - 1)];
        if (!impl->usable())
            continue;
        struct eml_aead_key k;
        struct eml_nonce n;
        struct eml_bulk *bulk;
        size_t len = (size_t)eml_gen_range(&g, 0, round % 4 == 0 ? MAX : 2000);
        struct eml_bytes ad = {aad, (size_t)eml_gen_range(&g, 0, sizeof aad)};
        eml_gen_fill(&g, k.b, sizeof k.b);
        eml_gen_fill(&g, n.b, sizeof n.b);
        eml_gen_fill(&g, aad, ad.len);
        eml_gen_fill(&g, plain, len);
        struct eml_room state_room = {mem, eml_bulk_state_bytes()};
        assert_int_equal(eml_bulk_init_as(state_room, &k, impl, &bulk), EML_OK);
        struct eml_bytes p = {plain, len};
        assert_int_equal(eml_aead_seal(&k, &n, ad, p, (struct eml_room){a, len + 16}), EML_OK);
        memcpy(b, plain, len);
        assert_int_equal(
            eml_bulk_seal(bulk, &n, ad, eml_bytes(b, len), (struct eml_room){b, len + 16}), EML_OK);
        assert_memory_equal(a, b, len + 16);
        assert_int_equal(
            eml_bulk_open(bulk, &n, ad, eml_bytes(a, len + 16), (struct eml_room){a, len}), EML_OK);
        assert_true(eml_bytes_equal(eml_bytes(a, len), p));
        size_t at = (size_t)eml_gen_range(&g, 0, (int64_t)len + 15);
        b[at] ^= (uint8_t)(1u << eml_gen_range(&g, 0, 7));
        memset(a, 0xff, len);
        assert_int_equal(
            eml_bulk_open(bulk, &n, ad, eml_bytes(b, len + 16), (struct eml_room){a, len}),
            EML_E_AUTH);
        assert_true(eml_ct_is_zero(eml_bytes(a, len)));
    }
    free(mem);
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
    print_message("bulk: %s\n", eml_bulk_name());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gcm_known_answers),
        cmocka_unit_test(bulk_known_answers),
        cmocka_unit_test(bulk_agrees_with_aead),
        cmocka_unit_test(every_changed_bit_is_refused_and_nothing_released),
        cmocka_unit_test(keystream_known_answer),
        cmocka_unit_test(cbc_known_answer_and_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
