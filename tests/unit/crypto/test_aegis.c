#include "aegis_model.h"
#include "testsupport/known.h"
#include "testsupport/support.h"

#include "base/wipe.h"
#include "crypto/bulk_impl.h"

#include <stdlib.h>
#include <string.h>

/* draft-irtf-cfrg-aegis-aead, test vectors 1 and 2 of AEGIS-256X4. */
static void the_model_gives_the_answers_of_the_draft(void **state)
{
    (void)state;
    uint8_t key[32], nonce[32], msg[120], out[120 + 16];
    static const uint8_t ad[8] = {1, 2, 3, 4, 1, 2, 3, 4};
    for (uint8_t i = 0; i < 32; i++) {
        key[i] = i;
        nonce[i] = (uint8_t)(0x10 + i);
    }
    for (size_t i = 0; i < sizeof msg; i++)
        msg[i] = (uint8_t)(4 + i % 4);
    model_seal(key, nonce, NULL, 0, NULL, 0, out);
    eml_test_assert_hex(eml_bytes(out, 16), "3b7fee6cee7bf17888ad11ed2397beb4");
    model_seal(key, nonce, ad, sizeof ad, msg, sizeof msg, out);
    eml_test_assert_hex(
        EML_BYTES(out),
        "bfc2085b7e8017da99b0b6d646ae4d01f4ba8f2e7dfca1d759ae48a135139b9aaac6b4f5db810d426be1fdaf"
        "f4e1454153a34b11da78ed7e418ee2ee9853042e95536aecbb694cea1b16a478eb0d4d1bf6509b1ce652a45a"
        "f58e0e46ffccfa2d0426e702391d2ff5813808b81748a490dd656465fed61f09b63b611b13975e2f3dc3cb6c"
        "2397bfcd");
}

struct piece {
    struct eml_aead_key key;
    struct eml_nonce nonce;
    uint8_t aad[200], plain[3000];
    size_t aad_bytes, bytes;
};

static void draw(struct eml_gen *g, struct piece *p)
{
    p->aad_bytes = (size_t)eml_gen_range(g, 0, sizeof p->aad);
    p->bytes = (size_t)eml_gen_range(g, 0, eml_gen_range(g, 0, 1) == 0 ? 200 : sizeof p->plain);
    eml_gen_fill(g, p->key.b, sizeof p->key.b);
    eml_gen_fill(g, p->nonce.b, sizeof p->nonce.b);
    eml_gen_fill(g, p->aad, p->aad_bytes);
    eml_gen_fill(g, p->plain, p->bytes);
}

/* One implementation: seals as the model does, opens that, refuses anything else. In place too. */
static void check(const struct eml_bulk_impl *impl, struct eml_gen *g)
{
    static struct piece p;
    static uint8_t want[3000 + 16], got[3000 + 16];
    uint8_t nonce[32] = {0};
    struct eml_bulk b;
    draw(g, &p);
    memcpy(nonce + 20, p.nonce.b, sizeof p.nonce.b);
    model_seal(p.key.b, nonce, p.aad, p.aad_bytes, p.plain, p.bytes, want);
    eml_bulk_init_as(&b, &p.key, impl);
    const struct eml_bytes aad = eml_bytes(p.aad, p.aad_bytes);
    const struct eml_room sealed = {got, p.bytes + 16}, plain = {got, p.bytes};
    memcpy(got, p.plain, p.bytes);
    assert_int_equal(eml_bulk_seal(&b, &p.nonce, aad, eml_bytes(got, p.bytes), sealed), EML_OK);
    assert_memory_equal(got, want, sealed.len);
    assert_int_equal(eml_bulk_open(&b, &p.nonce, aad, eml_bytes(got, sealed.len), plain), EML_OK);
    assert_memory_equal(got, p.plain, plain.len);
    size_t at = (size_t)eml_gen_range(g, 0, (int64_t)sealed.len - 1);
    want[at] ^= (uint8_t)(1u << eml_gen_range(g, 0, 7));
    memset(got, 0xff, plain.len);
    assert_int_equal(eml_bulk_open(&b, &p.nonce, aad, eml_bytes(want, sealed.len), plain),
                     EML_E_AUTH);
    assert_true(eml_ct_is_zero(eml_bytes(got, plain.len)));
}

static void every_implementation_agrees_with_the_model(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("aegis");
    unsigned tried = 0;
    for (size_t i = 0; i < eml_bulk_impls_n; i++) {
        const struct eml_bulk_impl *impl = eml_bulk_impls[i];
        if (impl->cipher != EML_CIPHER_AEGIS_256X4 || !impl->usable())
            continue;
        for (int round = 0; round < 200; round++)
            check(impl, &g);
        tried++;
    }
    print_message("%u implementations; in use: %s\n", tried, eml_bulk_name(EML_CIPHER_AEGIS_256X4));
}

/* Neither opens what the other sealed. */
static void ciphers_are_not_mixed_up(void **state)
{
    (void)state;
    const struct eml_aead_key key = {{1}};
    const struct eml_nonce nonce = {{2}};
    struct eml_bulk b;
    for (int c = 0; c < EML_CIPHER_N; c++) {
        uint8_t sealed[100 + 16], plain[100] = {0};
        if (eml_bulk_init(&b, (enum eml_cipher)c, &key) != EML_OK) {
            assert_int_equal(c, EML_CIPHER_AEGIS_256X4);
            assert_string_equal(eml_bulk_name(EML_CIPHER_AEGIS_256X4), "none");
            continue;
        }
        const struct eml_bytes none = {0};
        assert_int_equal(eml_bulk_seal(&b, &nonce, none, EML_BYTES(plain), EML_ROOM(sealed)),
                         EML_OK);
        enum eml_cipher other = c == 0 ? EML_CIPHER_AEGIS_256X4 : EML_CIPHER_AES_256_GCM;
        if (eml_bulk_init(&b, other, &key) == EML_OK)
            assert_int_equal(eml_bulk_open(&b, &nonce, none, EML_BYTES(sealed), EML_ROOM(plain)),
                             EML_E_AUTH);
    }
}

static void ciphers_have_names(void **state)
{
    (void)state;
    enum eml_cipher c;
    for (int i = 0; i < EML_CIPHER_N; i++) {
        assert_true(eml_cipher_of(eml_cipher_name((enum eml_cipher)i), &c));
        assert_int_equal(c, i);
    }
    assert_false(eml_cipher_of("aegis", &c));
    assert_false(eml_cipher_of("", &c));
}

int main(void)
{
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_gives_the_answers_of_the_draft),
        cmocka_unit_test(every_implementation_agrees_with_the_model),
        cmocka_unit_test(ciphers_are_not_mixed_up),
        cmocka_unit_test(ciphers_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
