#include "testsupport/support.h"

#include "aws/cms.h"
#include "base/wipe.h"

#include <jansson.h>
#include <string.h>

static struct eml_buf sample, primitive, key_pem;

static enum eml_err unwrap_rsa(void *holder, struct eml_bytes encrypted_key,
                               struct eml_aead_key *content_key)
{
    uint8_t out[256];
    size_t n = 0;
    EML_TRY(eml_rsa_oaep_decrypt(holder, encrypted_key, EML_ROOM(out), &n));
    if (n == sizeof content_key->b)
        memcpy(content_key->b, out, n);
    eml_wipe(out, sizeof out);
    return n == sizeof content_key->b ? EML_OK : EML_E_AUTH;
}

static void load_key(struct eml_rsa **key, struct eml_buf *spki, struct eml_sha256 *id)
{
    assert_int_equal(eml_rsa_from_pem(eml_buf_bytes(&key_pem), key), EML_OK);
    assert_int_equal(eml_rsa_spki(*key, spki), EML_OK);
    struct eml_bytes der = eml_buf_bytes(spki);
    assert_int_equal(eml_sha256(&der, 1, id), EML_OK);
}

static void real_message_opens(void **state)
{
    (void)state;
    struct eml_rsa *key = NULL;
    struct eml_buf spki = {0}, plain = {0},
                   want = eml_test_read(EML_VECTORS "/kms/sampleA.plain.bin");
    struct eml_sha256 id;
    struct eml_why why;
    load_key(&key, &spki, &id);
    assert_int_equal(eml_cms_open(eml_buf_bytes(&sample), &id, unwrap_rsa, key, &plain, &why),
                     EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&plain), eml_buf_bytes(&want)));
    id.b[0] ^= 1;
    assert_int_equal(eml_cms_open(eml_buf_bytes(&sample), &id, unwrap_rsa, key, &plain, &why),
                     EML_E_AUTH);
    assert_string_equal(why.rule, "cms: sealed to another key");
    assert_int_equal(plain.len, want.len);
    eml_rsa_free(key);
    eml_buf_free(&spki);
    eml_buf_free(&plain);
    eml_buf_free(&want);
}

static void primitive_form_parses(void **state)
{
    (void)state;
    json_t *want = json_load_file(EML_VECTORS "/kms/parse-primitive.expected.json", 0, NULL);
    struct eml_cms c;
    struct eml_why why;
    assert_non_null(want);
    assert_int_equal(eml_cms_parse(eml_buf_bytes(&primitive), &c, &why), EML_OK);
    const struct {
        const char *name;
        struct eml_bytes got;
    } part[] = {{"encrypted_key", c.encrypted_key},
                {"iv", EML_BYTES(c.iv)},
                {"ciphertext", eml_buf_bytes(&c.content)}};
    for (size_t i = 0; i < 3; i++) {
        struct eml_buf b = eml_test_hex(json_string_value(json_object_get(want, part[i].name)));
        assert_true(eml_bytes_equal(part[i].got, eml_buf_bytes(&b)));
        eml_buf_free(&b);
    }
    eml_cms_free(&c);
    json_decref(want);
}

static void cut_anywhere_is_refused(void **state)
{
    (void)state;
    const struct eml_buf *both[] = {&sample, &primitive};
    for (size_t k = 0; k < 2; k++) {
        struct eml_cms c;
        struct eml_why why;
        for (size_t n = 0; n < both[k]->len; n++) {
            assert_int_equal(eml_cms_parse(eml_bytes(both[k]->ptr, n), &c, &why), EML_E_INPUT);
            assert_null(c.content.ptr);
        }
        struct eml_buf more = {0};
        eml_buf_put(&more, eml_buf_bytes(both[k]));
        eml_buf_put_u8(&more, 0);
        assert_int_equal(eml_cms_parse(eml_buf_bytes(&more), &c, &why), EML_E_INPUT);
        assert_string_equal(why.rule, "cms: does not end with its containers");
        eml_buf_free(&more);
    }
}

/* A changed bit breaks the layout, or it is in a value: key id, encrypted key, iv or content. */
static void changed_bits_are_refused_or_in_values(void **state)
{
    (void)state;
    struct eml_buf b = {0};
    eml_buf_put(&b, eml_buf_bytes(&sample));
    for (size_t i = 0; i < b.len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            struct eml_cms c;
            struct eml_why why;
            bool value = (i >= 33 && i < 65) || (i >= 131 && i < 387) || (i >= 415 && i < 431) ||
                         (i >= 435 && i < 483);
            b.ptr[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(eml_cms_parse(eml_buf_bytes(&b), &c, &why),
                             value ? EML_OK : EML_E_INPUT);
            b.ptr[i] ^= (uint8_t)(1u << bit);
            eml_cms_free(&c);
        }
    eml_buf_free(&b);
}

static const struct {
    size_t at, remove;
    const char *insert, *rule; /* hex */
} edits[] = {
    {0, 2, "308201eb", "cms: not EnvelopedData version 2"}, /* definite length */
    {19, 1, "00", "cms: not EnvelopedData version 2"},
    {20, 1, "a0", "cms: not one key-transport recipient by subjectKeyIdentifier"},
    {22, 2, "02d6", "cms: not one key-transport recipient by subjectKeyIdentifier"},
    {30, 1, "00", "cms: not one key-transport recipient by subjectKeyIdentifier"},
    {65, 62, "300d06092a864886f70d0101010500",
     "cms: key encryption is not RSAES-OAEP with SHA-256"}, /* PKCS#1 v1.5 */
    {127, 4, "04820180", "cms: encrypted key is not 256 bytes"},
    {399, 1, "02", "cms: encrypted content is not data"},
    {412, 1, "02", "cms: content encryption is not AES-256-CBC"}, /* AES-128 */
    {431, 2, "a032", "cms: content is neither primitive nor constructed [0]"},
    {431, 1, "81", "cms: content is neither primitive nor constructed [0]"},
    {433, 1, "24", "cms: content chunk is not an OCTET STRING"},
    {433, 50, "", "cms: content is not a number of AES blocks"},
    {433, 50, "0400", "cms: content is not a number of AES blocks"},
    {434, 1, "8130", "cms: content is not a number of AES blocks"}, /* not the shortest length */
    {434, 1, "820030", "cms: content is not a number of AES blocks"},
    {434, 1, "80", "cms: content is not a number of AES blocks"},
    {434, 1, "84ffffffff", "cms: content is not a number of AES blocks"},
    {434, 2, "2f", "cms: content is not a number of AES blocks"},
    {483, 2, "0001", "cms: content chunk is not an OCTET STRING"},
    {485, 2, "", "cms: does not end with its containers"},
    {485, 0, "0000", "cms: does not end with its containers"},
    {485, 8, "a000000000000000", "cms: does not end with its containers"},
};

static void edited_messages_name_their_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        struct eml_buf b = {0}, insert = eml_test_hex(edits[i].insert);
        struct eml_cms c;
        struct eml_why why = {"", 0};
        size_t after = edits[i].at + edits[i].remove;
        eml_buf_put(&b, eml_bytes(sample.ptr, edits[i].at));
        eml_buf_put(&b, eml_buf_bytes(&insert));
        eml_buf_put(&b, eml_bytes(sample.ptr + after, sample.len - after));
        assert_int_equal(eml_cms_parse(eml_buf_bytes(&b), &c, &why), EML_E_INPUT);
        assert_string_equal(why.rule, edits[i].rule);
        eml_buf_free(&b);
        eml_buf_free(&insert);
    }
    static const uint8_t big[EML_CMS_BYTES_MAX + 1];
    struct eml_cms c;
    struct eml_why why;
    assert_int_equal(eml_cms_parse(EML_BYTES(big), &c, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "cms: longer than 6144 bytes");
}

/* A message of exactly the greatest length, made of chunks of 128, 16 and 8 bytes; and one byte
 * more. */
static void the_longest_message_parses(void **state)
{
    (void)state;
    struct eml_buf b = {0};
    struct eml_cms c;
    struct eml_why why;
    eml_buf_put(&b, eml_bytes(sample.ptr, 433));
    eml_buf_put(&b, EML_LIT("\x04\x81\x80"));
    (void)eml_buf_grow(&b, 128);
    for (size_t i = 0; i < 305; i++) {
        eml_buf_put(&b, EML_LIT("\x04\x10"));
        (void)eml_buf_grow(&b, 16);
    }
    for (size_t i = 0; i < 8; i++) {
        eml_buf_put(&b, EML_LIT("\x04\x08"));
        (void)eml_buf_grow(&b, 8);
    }
    (void)eml_buf_grow(&b, 10);
    assert_int_equal(b.len, EML_CMS_BYTES_MAX);
    assert_int_equal(eml_cms_parse(eml_buf_bytes(&b), &c, &why), EML_OK);
    assert_int_equal(c.content.len, 128 + 305 * 16 + 64);
    eml_cms_free(&c);
    eml_buf_put_u8(&b, 0);
    assert_int_equal(eml_cms_parse(eml_buf_bytes(&b), &c, &why), EML_E_INPUT);
    assert_string_equal(why.rule, "cms: longer than 6144 bytes");
    eml_buf_free(&b);
}

static void chunks_are_joined(void **state)
{
    (void)state;
    struct eml_buf b = {0};
    struct eml_cms c, whole;
    struct eml_why why;
    eml_buf_put(&b, eml_bytes(sample.ptr, 433));
    for (size_t i = 0; i < 48; i += 12) {
        eml_buf_put_u8(&b, 4);
        eml_buf_put_u8(&b, 12);
        eml_buf_put(&b, eml_bytes(sample.ptr + 435 + i, 12));
    }
    eml_buf_put(&b, eml_bytes(sample.ptr + 483, sample.len - 483));
    assert_int_equal(eml_cms_parse(eml_buf_bytes(&b), &c, &why), EML_OK);
    assert_int_equal(eml_cms_parse(eml_buf_bytes(&sample), &whole, &why), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&c.content), eml_buf_bytes(&whole.content)));
    eml_cms_free(&c);
    eml_cms_free(&whole);
    eml_buf_free(&b);
}

/* Wrong RSA block, wrong content key, wrong padding: one error, nothing appended. */
static void failures_look_alike(void **state)
{
    (void)state;
    struct eml_rsa *key = NULL;
    struct eml_buf spki = {0}, plain = {0}, b = {0};
    struct eml_sha256 id;
    load_key(&key, &spki, &id);
    eml_buf_put(&b, eml_buf_bytes(&sample));
    static const size_t at[] = {200, 386, 482, 440};
    for (size_t i = 0; i < 4; i++) {
        struct eml_why why;
        b.ptr[at[i]] ^= 1;
        enum eml_err e = eml_cms_open(eml_buf_bytes(&b), &id, unwrap_rsa, key, &plain, &why);
        if (at[i] != 440) { /* the first block alone changes the content, not the padding */
            assert_int_equal(e, EML_E_AUTH);
            assert_string_equal(why.rule, "cms: does not decrypt");
            assert_int_equal(plain.len, 0);
        }
        b.ptr[at[i]] ^= 1;
    }
    eml_rsa_free(key);
    eml_buf_free(&spki);
    eml_buf_free(&plain);
    eml_buf_free(&b);
}

static void sealed_messages_open(void **state)
{
    (void)state;
    struct eml_rsa *key = NULL;
    struct eml_buf spki = {0};
    struct eml_sha256 id;
    load_key(&key, &spki, &id);
    static uint8_t secret[4096];
    static const size_t sizes[] = {0, 1, 12, 16, 32, 100, 127, 128, 240, 256, 1024, 4096};
    struct eml_gen g = eml_gen_seeded("cms");
    eml_gen_fill(&g, secret, sizeof secret);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct eml_buf ber = {0}, plain = {0};
        struct eml_why why;
        assert_int_equal(eml_cms_seal(eml_buf_bytes(&spki), eml_bytes(secret, sizes[i]), &ber),
                         EML_OK);
        assert_int_equal(eml_cms_open(eml_buf_bytes(&ber), &id, unwrap_rsa, key, &plain, &why),
                         EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&plain), eml_bytes(secret, sizes[i])));
        if (sizes[i] == 32) {
            assert_int_equal(ber.len, sample.len); /* byte for byte KMS's layout but the values */
            assert_memory_equal(ber.ptr, sample.ptr, 65);
            assert_memory_equal(ber.ptr + 65, sample.ptr + 65, 66);
        }
        eml_buf_free(&ber);
        eml_buf_free(&plain);
    }
    struct eml_buf ber = {0};
    assert_int_equal(eml_cms_seal(EML_LIT("no key"), EML_LIT("x"), &ber), EML_E_INPUT);
    assert_int_equal(ber.len, 0);
    eml_rsa_free(key);
    eml_buf_free(&spki);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_message_opens),
        cmocka_unit_test(primitive_form_parses),
        cmocka_unit_test(cut_anywhere_is_refused),
        cmocka_unit_test(changed_bits_are_refused_or_in_values),
        cmocka_unit_test(edited_messages_name_their_rule),
        cmocka_unit_test(chunks_are_joined),
        cmocka_unit_test(the_longest_message_parses),
        cmocka_unit_test(failures_look_alike),
        cmocka_unit_test(sealed_messages_open),
    };
    eml_crypto_init();
    sample = eml_test_read(EML_VECTORS "/kms/sampleA.cms.ber");
    primitive = eml_test_read(EML_VECTORS "/kms/parse-primitive.cms.ber");
    key_pem = eml_test_read(EML_VECTORS "/kms/sampleA.key.pem");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eml_buf_free(&sample);
    eml_buf_free(&primitive);
    eml_buf_free(&key_pem);
    return failed;
}
