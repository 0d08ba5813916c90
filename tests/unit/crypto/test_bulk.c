#include "gcm_known.h"
#include "testsupport/known.h"
#include "testsupport/support.h"

#include "base/wipe.h"
#include "crypto/bulk_impl.h"

#include <stdlib.h>
#include <string.h>

static void bulk_known_answers(void **state)
{
    (void)state;
    for (size_t j = 0; j < eml_bulk_impls_n; j++) {
        if (eml_bulk_impls[j]->cipher != EML_CIPHER_AES_256_GCM || !eml_bulk_impls[j]->usable())
            continue;
        for (size_t i = 0; i < KNOWN_N; i++) {
            struct eml_aead_key k;
            struct eml_nonce n;
            struct eml_bulk b;
            uint8_t out[128];
            eml_test_hex_into(known[i].key, EML_ROOM(k.b));
            eml_test_hex_into(known[i].nonce, EML_ROOM(n.b));
            struct eml_buf aad = eml_test_hex(known[i].aad), plain = eml_test_hex(known[i].plain);
            eml_bulk_init_as(&b, &k, eml_bulk_impls[j]);
            assert_int_equal(eml_bulk_seal(&b, &n, eml_buf_bytes(&aad), eml_buf_bytes(&plain),
                                           (struct eml_room){out, plain.len + 16}),
                             EML_OK);
            eml_test_assert_hex(eml_bytes(out, plain.len + 16), known[i].sealed);
            eml_buf_free(&aad);
            eml_buf_free(&plain);
        }
    }
}

/* Random keys, lengths and associated data: what one implementation seals, aead opens, and the
 * other way round; in place too. */
static void bulk_agrees_with_aead(void **state)
{
    (void)state;
    enum { MAX = 70000 };
    static uint8_t plain[MAX], a[MAX + 16], b[MAX + 16], aad[300];
    struct eml_gen g = eml_gen_seeded("bulk");
    for (int round = 0; round < 400; round++) {
        const struct eml_bulk_impl *impl =
            eml_bulk_impls[(size_t)eml_gen_range(&g, 0, (int64_t)eml_bulk_impls_n - 1)];
        if (impl->cipher != EML_CIPHER_AES_256_GCM || !impl->usable())
            continue;
        struct eml_aead_key k;
        struct eml_nonce n;
        struct eml_bulk bulk;
        size_t len = (size_t)eml_gen_range(&g, 0, round % 4 == 0 ? MAX : 2000);
        struct eml_bytes ad = {aad, (size_t)eml_gen_range(&g, 0, sizeof aad)};
        eml_gen_fill(&g, k.b, sizeof k.b);
        eml_gen_fill(&g, n.b, sizeof n.b);
        eml_gen_fill(&g, aad, ad.len);
        eml_gen_fill(&g, plain, len);
        eml_bulk_init_as(&bulk, &k, impl);
        struct eml_bytes p = {plain, len};
        assert_int_equal(eml_aead_seal(&k, &n, ad, p, (struct eml_room){a, len + 16}), EML_OK);
        memcpy(b, plain, len);
        assert_int_equal(
            eml_bulk_seal(&bulk, &n, ad, eml_bytes(b, len), (struct eml_room){b, len + 16}),
            EML_OK);
        assert_memory_equal(a, b, len + 16);
        assert_int_equal(
            eml_bulk_open(&bulk, &n, ad, eml_bytes(a, len + 16), (struct eml_room){a, len}),
            EML_OK);
        assert_true(eml_bytes_equal(eml_bytes(a, len), p));
        size_t at = (size_t)eml_gen_range(&g, 0, (int64_t)len + 15);
        b[at] ^= (uint8_t)(1u << eml_gen_range(&g, 0, 7));
        memset(a, 0xff, len);
        assert_int_equal(
            eml_bulk_open(&bulk, &n, ad, eml_bytes(b, len + 16), (struct eml_room){a, len}),
            EML_E_AUTH);
        assert_true(eml_ct_is_zero(eml_bytes(a, len)));
    }
}

/* Any part of a text that OpenSSL sealed with GCM, by each implementation, at any offset and place
 * in memory, in place too; what lies around it stays. */
static void parts_are_those_of_the_whole(void **state)
{
    (void)state;
    enum { MAX = 70000, AROUND = 70 };
    static uint8_t plain[MAX], sealed[MAX + 16], out[MAX + 2 * AROUND];
    struct eml_gen g = eml_gen_seeded("bulk parts");
    for (int round = 0; round < 600; round++) {
        const struct eml_bulk_impl *impl = eml_bulk_impls[(size_t)round % eml_bulk_impls_n];
        if (impl->cipher != EML_CIPHER_AES_256_GCM || !impl->usable())
            continue;
        struct eml_aead_key k;
        struct eml_nonce n;
        struct eml_bulk bulk;
        size_t len = (size_t)eml_gen_range(&g, 0, round % 5 == 0 ? MAX : 1500);
        size_t at = (size_t)eml_gen_range(&g, 0, (int64_t)len);
        size_t m = (size_t)eml_gen_range(&g, 0, (int64_t)(len - at));
        size_t before = (size_t)eml_gen_range(&g, 0, AROUND);
        eml_gen_fill(&g, k.b, sizeof k.b);
        eml_gen_fill(&g, n.b, sizeof n.b);
        eml_gen_fill(&g, plain, len);
        assert_int_equal(eml_aead_seal(&k, &n, (struct eml_bytes){0}, eml_bytes(plain, len),
                                       (struct eml_room){sealed, len + 16}),
                         EML_OK);
        eml_bulk_init_as(&bulk, &k, impl);
        assert_true(eml_bulk_opens_parts(&bulk));
        memset(out, 0xa5, before + m + AROUND);
        const bool in_place = eml_gen_bool(&g);
        if (in_place)
            memcpy(out + before, sealed + at, m);
        const struct eml_bytes text = {in_place ? out + before : sealed + at, m};
        assert_int_equal(
            eml_bulk_open_part(&bulk, &n, at, text, (struct eml_room){out + before, m}), EML_OK);
        assert_memory_equal(out + before, plain + at, m);
        for (size_t i = 0; i < AROUND; i++)
            assert_true(out[before + m + i] == 0xa5 && (i >= before || out[i] == 0xa5));
    }
}

/* AEGIS' keystream depends on the text before: no part opens alone. */
static void aegis_has_no_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < eml_bulk_impls_n; i++)
        assert_int_equal(eml_bulk_impls[i]->part != NULL,
                         eml_bulk_impls[i]->cipher == EML_CIPHER_AES_256_GCM);
}

int main(void)
{
    eml_crypto_init();
    print_message("in use: %s\n", eml_bulk_name(EML_CIPHER_AES_256_GCM));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bulk_known_answers),
        cmocka_unit_test(bulk_agrees_with_aead),
        cmocka_unit_test(parts_are_those_of_the_whole),
        cmocka_unit_test(aegis_has_no_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
