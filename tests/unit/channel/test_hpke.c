/* RFC 9180's vector: every intermediate value, every encryption, every export. */
#include "testsupport/support.h"

#include "channel/hpke.h"

#include <jansson.h>
#include <string.h>

static json_t *vector;

static struct eml_buf field(const json_t *o, const char *name)
{
    const char *hex = json_string_value(json_object_get(o, name));
    assert_non_null(hex);
    return eml_test_hex(hex);
}

static void assert_field(const json_t *o, const char *name, struct eml_bytes got)
{
    struct eml_buf want = field(o, name);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.ptr, want.ptr, want.len);
    eml_buf_free(&want);
}

static void get(const json_t *o, const char *name, struct eml_room out)
{
    struct eml_buf b = field(o, name);
    assert_int_equal(b.len, out.len);
    memcpy(out.ptr, b.ptr, out.len);
    eml_buf_free(&b);
}

static void kem_matches(void **state)
{
    (void)state;
    struct eml_x25519_sk sk_e, sk_r;
    struct eml_x25519_pk pk_e, pk_r;
    struct eml_hpke_enc enc;
    struct eml_hpke_shared shared;
    struct eml_buf ikm_e = field(vector, "ikmE"), ikm_r = field(vector, "ikmR");
    assert_int_equal(eml_hpke_derive_key_pair(eml_buf_bytes(&ikm_e), &sk_e, &pk_e), EML_OK);
    assert_int_equal(eml_hpke_derive_key_pair(eml_buf_bytes(&ikm_r), &sk_r, &pk_r), EML_OK);
    assert_field(vector, "skEm", EML_BYTES(sk_e.b));
    assert_field(vector, "pkEm", EML_BYTES(pk_e.b));
    assert_field(vector, "skRm", EML_BYTES(sk_r.b));
    assert_field(vector, "pkRm", EML_BYTES(pk_r.b));
    assert_int_equal(eml_hpke_encap(&sk_e, &pk_r, &enc, &shared), EML_OK);
    assert_field(vector, "enc", EML_BYTES(enc.b));
    assert_field(vector, "shared_secret", EML_BYTES(shared.b));
    memset(&shared, 0, sizeof shared);
    assert_int_equal(eml_hpke_decap(&enc, &sk_r, &shared), EML_OK);
    assert_field(vector, "shared_secret", EML_BYTES(shared.b));
    assert_int_equal(eml_hpke_derive_key_pair(eml_bytes(ikm_e.ptr, 31), &sk_e, &pk_e), EML_E_USAGE);
    eml_buf_free(&ikm_e);
    eml_buf_free(&ikm_r);
}

static void schedule(bool sender, struct eml_hpke *ctx)
{
    struct eml_hpke_shared shared;
    struct eml_buf info = field(vector, "info");
    get(vector, "shared_secret", EML_ROOM(shared.b));
    assert_int_equal(eml_hpke_key_schedule(&shared, eml_buf_bytes(&info), sender, ctx), EML_OK);
    eml_buf_free(&info);
}

static void key_schedule_matches(void **state)
{
    (void)state;
    struct eml_hpke ctx;
    struct eml_hpke_shared shared;
    struct eml_sha256 secret;
    uint8_t context[EML_HPKE_SCHEDULE_CONTEXT_BYTES];
    struct eml_buf info = field(vector, "info");
    get(vector, "shared_secret", EML_ROOM(shared.b));
    assert_int_equal(eml_hpke_schedule_context(eml_buf_bytes(&info), context), EML_OK);
    assert_field(vector, "key_schedule_context", EML_BYTES(context));
    assert_int_equal(eml_hpke_schedule_secret(&shared, &secret), EML_OK);
    assert_field(vector, "secret", EML_BYTES(secret.b));
    schedule(true, &ctx);
    assert_field(vector, "key", EML_BYTES(ctx.key.b));
    assert_field(vector, "base_nonce", EML_BYTES(ctx.base_nonce.b));
    assert_field(vector, "exporter_secret", EML_BYTES(ctx.exporter_secret));
    eml_buf_free(&info);
}

static void setup_base_r_matches(void **state)
{
    (void)state;
    struct eml_hpke ctx;
    struct eml_hpke_enc enc;
    struct eml_x25519_sk sk_r;
    struct eml_buf info = field(vector, "info");
    get(vector, "enc", EML_ROOM(enc.b));
    get(vector, "skRm", EML_ROOM(sk_r.b));
    assert_int_equal(eml_hpke_setup_base_r(&enc, &sk_r, eml_buf_bytes(&info), &ctx), EML_OK);
    assert_field(vector, "key", EML_BYTES(ctx.key.b));
    assert_field(vector, "exporter_secret", EML_BYTES(ctx.exporter_secret));
    eml_buf_free(&info);
}

static void encryptions_match(void **state)
{
    (void)state;
    struct eml_hpke s, r;
    size_t i;
    json_t *e;
    schedule(true, &s);
    schedule(false, &r);
    assert_true(json_array_size(json_object_get(vector, "encryptions")) >= 6);
    json_array_foreach(json_object_get(vector, "encryptions"), i, e)
    {
        uint8_t out[128];
        struct eml_buf aad = field(e, "aad"), pt = field(e, "pt"), ct = field(e, "ct");
        uint64_t seq = (uint64_t)json_integer_value(json_object_get(e, "seq"));
        struct eml_nonce nonce = eml_hpke_compute_nonce(&s.base_nonce, seq);
        assert_field(e, "nonce", EML_BYTES(nonce.b));
        s.seq = r.seq = seq;
        assert_int_equal(eml_hpke_seal(&s, eml_buf_bytes(&aad), eml_buf_bytes(&pt),
                                       (struct eml_room){out, ct.len}),
                         EML_OK);
        assert_memory_equal(out, ct.ptr, ct.len);
        assert_int_equal(s.seq, seq + 1);
        assert_int_equal(eml_hpke_open(&r, eml_buf_bytes(&aad), eml_buf_bytes(&ct),
                                       (struct eml_room){out, pt.len}),
                         EML_OK);
        assert_memory_equal(out, pt.ptr, pt.len);
        assert_int_equal(r.seq, seq + 1);
        eml_buf_free(&aad);
        eml_buf_free(&pt);
        eml_buf_free(&ct);
    }
}

static void exports_match(void **state)
{
    (void)state;
    struct eml_hpke ctx;
    size_t i;
    json_t *e;
    schedule(true, &ctx);
    assert_true(json_array_size(json_object_get(vector, "exports")) >= 3);
    json_array_foreach(json_object_get(vector, "exports"), i, e)
    {
        uint8_t out[32];
        struct eml_buf context = field(e, "exporter_context");
        assert_int_equal(json_integer_value(json_object_get(e, "L")), 32);
        assert_int_equal(eml_hpke_export(&ctx, eml_buf_bytes(&context), EML_ROOM(out)), EML_OK);
        assert_field(e, "exported_value", EML_BYTES(out));
        eml_buf_free(&context);
    }
    static uint8_t much[8161];
    assert_int_equal(eml_hpke_export(&ctx, EML_LIT("x"), (struct eml_room){much, 8160}), EML_OK);
    assert_int_equal(eml_hpke_export(&ctx, EML_LIT("x"), EML_ROOM(much)), EML_E_USAGE);
}

static void contexts_are_one_directional_and_do_not_wrap(void **state)
{
    (void)state;
    struct eml_hpke s, r;
    uint8_t out[17] = {1}, back[1];
    schedule(true, &s);
    schedule(false, &r);
    assert_int_equal(eml_hpke_seal(&r, EML_LIT(""), EML_LIT("x"), EML_ROOM(out)), EML_E_USAGE);
    assert_int_equal(eml_hpke_open(&s, EML_LIT(""), EML_BYTES(out), EML_ROOM(back)), EML_E_USAGE);
    assert_int_equal(eml_hpke_seal(&s, EML_LIT(""), EML_LIT("x"), EML_ROOM(out)), EML_OK);
    assert_int_equal(eml_hpke_open(&r, EML_LIT("y"), EML_BYTES(out), EML_ROOM(back)), EML_E_AUTH);
    assert_int_equal(r.seq, 0);
    assert_int_equal(back[0], 0);
    assert_int_equal(eml_hpke_open(&r, EML_LIT(""), EML_BYTES(out), EML_ROOM(back)), EML_OK);
    assert_int_equal(back[0], 'x');
    s.seq = UINT64_MAX;
    assert_int_equal(eml_hpke_seal(&s, EML_LIT(""), EML_LIT("x"), EML_ROOM(out)), EML_E_REFUSED);
}

static void small_order_keys_are_refused(void **state)
{
    (void)state;
    struct eml_hpke ctx;
    struct eml_hpke_enc enc;
    struct eml_x25519_pk zero = {{0}};
    struct eml_hpke_enc zero_enc = {{0}};
    struct eml_x25519_sk sk_r;
    static const uint8_t nothing[sizeof(struct eml_hpke)];
    get(vector, "skRm", EML_ROOM(sk_r.b));
    assert_int_equal(eml_hpke_setup_base_s(&zero, EML_LIT("i"), &enc, &ctx), EML_E_AUTH);
    assert_memory_equal(&ctx, nothing, sizeof ctx);
    assert_int_equal(eml_hpke_setup_base_r(&zero_enc, &sk_r, EML_LIT("i"), &ctx), EML_E_AUTH);
    assert_memory_equal(&ctx, nothing, sizeof ctx);
}

static void fresh_setups_agree_and_differ(void **state)
{
    (void)state;
    struct eml_hpke s, r, other;
    struct eml_hpke_enc enc, enc2;
    struct eml_x25519_sk sk;
    struct eml_x25519_pk pk;
    assert_int_equal(eml_random(EML_ROOM(sk.b)), EML_OK);
    assert_int_equal(eml_x25519_public(&sk, &pk), EML_OK);
    assert_int_equal(eml_hpke_setup_base_s(&pk, EML_LIT("info"), &enc, &s), EML_OK);
    assert_int_equal(eml_hpke_setup_base_s(&pk, EML_LIT("info"), &enc2, &other), EML_OK);
    assert_int_equal(eml_hpke_setup_base_r(&enc, &sk, EML_LIT("info"), &r), EML_OK);
    assert_memory_equal(s.key.b, r.key.b, 32);
    assert_memory_not_equal(enc.b, enc2.b, 32);
    assert_memory_not_equal(s.key.b, other.key.b, 32);
    assert_int_equal(eml_hpke_setup_base_r(&enc, &sk, EML_LIT("inf0"), &r), EML_OK);
    assert_memory_not_equal(s.key.b, r.key.b, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kem_matches),
        cmocka_unit_test(key_schedule_matches),
        cmocka_unit_test(setup_base_r_matches),
        cmocka_unit_test(encryptions_match),
        cmocka_unit_test(exports_match),
        cmocka_unit_test(contexts_are_one_directional_and_do_not_wrap),
        cmocka_unit_test(small_order_keys_are_refused),
        cmocka_unit_test(fresh_setups_agree_and_differ),
    };
    eml_crypto_init();
    vector = json_load_file(EML_VECTORS "/hpke/base-x25519-sha256-aes256gcm.json", 0, NULL);
    int failed = vector != NULL ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    json_decref(vector);
    return failed;
}
