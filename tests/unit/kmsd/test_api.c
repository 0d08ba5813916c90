/* The API without a server: JSON in, JSON out. The recipient here is a real document of AWS with an
 * RSA key, at the time of its issue; sealing to keys that are ours is in prop_04_kms. */
#include "testsupport/support.h"

#include "kmsd/api.h"
#include "wire/base64.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ME "arn:aws:iam::000000000000:user/me"
#define DOCUMENT EML_VECTORS "/attestation/2021-03-24_b9db8022"
#define DOCUMENT_TIME 1616602241

static char dir[EML_TEST_DIR];
static struct eml_kmsd_api api = {.region = "us-east-1"};

static int set_up(void **state)
{
    (void)state;
    struct eml_why why;
    eml_test_dir_make(dir);
    if (eml_kmsd_store_open(dir, &api.store, &why) != EML_OK)
        return 1;
    api.trust.root[0] = eml_attest_aws_root;
    api.trust.n_roots = 1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    eml_kmsd_store_close(api.store);
    return eml_test_dir_drop(dir);
}

/* Calls and parses; takes `body` over. */
static json_t *call(const char *operation, json_t *body, unsigned *status)
{
    struct eml_kmsd_reply reply;
    struct eml_buf text = {0};
    json_t *v = NULL;
    assert_int_equal(eml_json_print(body, &text), EML_OK);
    eml_kmsd_api_call(&api, eml_bytes_of_str(operation), ME, eml_buf_bytes(&text), DOCUMENT_TIME,
                      &reply);
    *status = reply.status;
    assert_int_equal(eml_json_parse(eml_buf_bytes(&reply.body), 1000000, &v, NULL), EML_OK);
    eml_kmsd_reply_free(&reply);
    eml_buf_free(&text);
    json_decref(body);
    return v;
}

static json_t *expect_ok(const char *operation, json_t *body)
{
    unsigned status;
    json_t *v = call(operation, body, &status);
    if (status != 200)
        fail_msg("%s: %s", operation, json_string_value(json_object_get(v, "__type")));
    return v;
}

static void expect_error(const char *operation, json_t *body, const char *name)
{
    unsigned status;
    json_t *v = call(operation, body, &status);
    assert_int_equal(status, 400);
    assert_string_equal(json_string_value(json_object_get(v, "__type")), name);
    const char *spelled = strcmp(name, "AccessDeniedException") == 0 ? "Message" : "message";
    assert_true(json_is_string(json_object_get(v, spelled)));
    json_decref(v);
}

static json_t *text(const json_t *v, const char *name)
{
    json_t *t = json_object_get(v, name);
    assert_true(json_is_string(t));
    return json_incref(t);
}

static json_t *new_key(const char *policy)
{
    json_t *body = policy != NULL ? json_pack("{s:s}", "Policy", policy) : json_object();
    json_t *v = expect_ok("CreateKey", body);
    json_t *id = text(json_object_get(v, "KeyMetadata"), "KeyId");
    json_decref(v);
    return id;
}

static void keys_are_made_and_described(void **state)
{
    (void)state;
    char arn[128];
    json_t *id = new_key(NULL);
    (void)snprintf(arn, sizeof arn, "arn:aws:kms:us-east-1:000000000000:key/%s",
                   json_string_value(id));
    json_t *v = expect_ok("DescribeKey", json_pack("{s:s}", "KeyId", arn));
    const json_t *m = json_object_get(v, "KeyMetadata");
    assert_string_equal(json_string_value(json_object_get(m, "Arn")), arn);
    assert_string_equal(json_string_value(json_object_get(m, "KeyState")), "Enabled");
    assert_true(json_is_true(json_object_get(m, "Enabled")));
    json_decref(v);
    v = expect_ok("ListKeys", json_object());
    assert_true(json_array_size(json_object_get(v, "Keys")) >= 1);
    json_decref(v);
    expect_error("DescribeKey", json_pack("{s:s}", "KeyId", "alias/x"), "NotFoundException");
    expect_error("DescribeKey", json_object(), "ValidationException");
    expect_error("DescribeKey", json_pack("{s:i}", "KeyId", 1), "ValidationException");
    expect_error("CreateKey", json_pack("{s:s}", "KeySpec", "RSA_2048"),
                 "UnsupportedOperationException");
    expect_error("CreateKey", json_pack("{s:s}", "Policy", "{"),
                 "MalformedPolicyDocumentException");
    expect_error("CreateKey", json_pack("{s:s}", "Policy", "{\"Statement\":[]}"),
                 "MalformedPolicyDocumentException");
    expect_error("NoSuchThing", json_object(), "UnknownOperationException");
    json_decref(id);
}

static void secrets_go_round_with_their_context(void **state)
{
    (void)state;
    json_t *id = new_key(NULL), *other = new_key(NULL);
    json_t *v = expect_ok("Encrypt", json_pack("{s:O, s:s, s:{s:s}}", "KeyId", id, "Plaintext",
                                               "c2VjcmV0", "EncryptionContext", "a", "b"));
    json_t *blob = text(v, "CiphertextBlob");
    json_decref(v);
    v = expect_ok("Decrypt", json_pack("{s:O, s:O, s:{s:s}}", "KeyId", id, "CiphertextBlob", blob,
                                       "EncryptionContext", "a", "b"));
    assert_string_equal(json_string_value(json_object_get(v, "Plaintext")), "c2VjcmV0");
    assert_non_null(strstr(json_string_value(json_object_get(v, "KeyId")), json_string_value(id)));
    json_decref(v);
    expect_error("Decrypt", json_pack("{s:O}", "CiphertextBlob", blob),
                 "InvalidCiphertextException");
    expect_error("Decrypt",
                 json_pack("{s:O, s:{s:s}}", "CiphertextBlob", blob, "EncryptionContext", "a", "c"),
                 "InvalidCiphertextException");
    expect_error("Decrypt",
                 json_pack("{s:O, s:O, s:{s:s}}", "KeyId", other, "CiphertextBlob", blob,
                           "EncryptionContext", "a", "b"),
                 "IncorrectKeyException");
    expect_error("Decrypt", json_pack("{s:s}", "CiphertextBlob", "AQID"),
                 "InvalidCiphertextException");
    expect_error("Decrypt", json_pack("{s:s}", "CiphertextBlob", "AQI"), "ValidationException");
    expect_error("Decrypt", json_object(), "ValidationException");
    expect_error("Encrypt", json_pack("{s:O, s:s}", "KeyId", id, "Plaintext", ""),
                 "ValidationException");
    expect_error("Encrypt",
                 json_pack("{s:O, s:s, s:s}", "KeyId", id, "Plaintext", "c2VjcmV0",
                           "EncryptionAlgorithm", "RSAES_OAEP_SHA_256"),
                 "InvalidKeyUsageException");
    expect_error("Encrypt",
                 json_pack("{s:O, s:s, s:{s:i}}", "KeyId", id, "Plaintext", "c2VjcmV0",
                           "EncryptionContext", "a", 1),
                 "ValidationException");
    expect_error("Encrypt",
                 json_pack("{s:O, s:s, s:{}}", "KeyId", id, "Plaintext", "c2VjcmV0", "Recipient"),
                 "ValidationException");
    json_decref(blob);
    json_decref(id);
    json_decref(other);
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    static char zeros[5464 + 1];
    json_t *id = new_key(NULL);
    memset(zeros, 'A', 5464);
    json_t *v =
        expect_ok("Encrypt", json_pack("{s:O, s:s#}", "KeyId", id, "Plaintext", zeros, 5460));
    json_decref(v);
    expect_error("Encrypt", json_pack("{s:O, s:s#}", "KeyId", id, "Plaintext", zeros, 5464),
                 "ValidationException");
    json_decref(expect_ok("GenerateRandom", json_pack("{s:i}", "NumberOfBytes", 1024)));
    expect_error("GenerateRandom", json_pack("{s:i}", "NumberOfBytes", 1025),
                 "ValidationException");
    expect_error("GenerateRandom", json_pack("{s:i}", "NumberOfBytes", 0), "ValidationException");
    expect_error("GenerateRandom", json_pack("{s:i}", "NumberOfBytes", -1), "ValidationException");
    expect_error("GenerateRandom", json_pack("{s:f}", "NumberOfBytes", 8.0), "ValidationException");
    expect_error("GenerateRandom", json_object(), "ValidationException");
    json_decref(id);
}

static void data_keys_come_in_clear_and_sealed(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        int bytes;
        size_t text_len;
    } kinds[] = {{"AES_256", 0, 44}, {"AES_128", 0, 24}, {NULL, 3, 4}};
    json_t *id = new_key(NULL);
    for (size_t i = 0; i < 3; i++) {
        json_t *body = kinds[i].spec != NULL
                           ? json_pack("{s:O, s:s}", "KeyId", id, "KeySpec", kinds[i].spec)
                           : json_pack("{s:O, s:i}", "KeyId", id, "NumberOfBytes", kinds[i].bytes);
        json_t *v = expect_ok("GenerateDataKey", body);
        json_t *blob = text(v, "CiphertextBlob"), *clear = text(v, "Plaintext");
        assert_int_equal(json_string_length(clear), kinds[i].text_len);
        json_decref(v);
        v = expect_ok("Decrypt", json_pack("{s:O}", "CiphertextBlob", blob));
        assert_true(json_equal(json_object_get(v, "Plaintext"), clear));
        json_decref(v);
        json_decref(blob);
        json_decref(clear);
    }
    expect_error("GenerateDataKey", json_pack("{s:O}", "KeyId", id), "ValidationException");
    expect_error(
        "GenerateDataKey",
        json_pack("{s:O, s:s, s:i}", "KeyId", id, "KeySpec", "AES_256", "NumberOfBytes", 32),
        "ValidationException");
    expect_error("GenerateDataKey", json_pack("{s:O, s:s}", "KeyId", id, "KeySpec", "AES_512"),
                 "ValidationException");
    json_decref(id);
}

static void policies_can_change_but_not_lock_out(void **state)
{
    (void)state;
    static const char read_only[] =
        "{\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":[\"kms:Describe*\","
        "\"kms:GetKeyPolicy\"],\"Resource\":\"*\"}]}";
    json_t *id = new_key(NULL);
    expect_error("PutKeyPolicy", json_pack("{s:O, s:s}", "KeyId", id, "Policy", read_only),
                 "MalformedPolicyDocumentException");
    expect_error("PutKeyPolicy", json_pack("{s:O}", "KeyId", id), "ValidationException");
    json_decref(
        expect_ok("PutKeyPolicy", json_pack("{s:O, s:s, s:b}", "KeyId", id, "Policy", read_only,
                                            "BypassPolicyLockoutSafetyCheck", 1)));
    json_t *v =
        expect_ok("GetKeyPolicy", json_pack("{s:O, s:s}", "KeyId", id, "PolicyName", "default"));
    assert_non_null(strstr(json_string_value(json_object_get(v, "Policy")), "kms:Describe*"));
    json_decref(v);
    expect_error("PutKeyPolicy", json_pack("{s:O, s:s}", "KeyId", id, "Policy", read_only),
                 "AccessDeniedException");
    expect_error("Encrypt", json_pack("{s:O, s:s}", "KeyId", id, "Plaintext", "c2VjcmV0"),
                 "AccessDeniedException");
    json_decref(id);
}

static json_t *recipient(struct eml_bytes document)
{
    struct eml_buf b = {0};
    eml_base64_encode(document, &b);
    json_t *r = json_pack("{s:s, s:s%}", "KeyEncryptionAlgorithm", "RSAES_OAEP_SHA_256",
                          "AttestationDocument", (const char *)b.ptr, b.len);
    eml_buf_free(&b);
    return r;
}

/* Allows all but Decrypt, and that only for the given PCR0. */
static json_t *pinned_key(const char *pcr0)
{
    char policy[1024];
    (void)snprintf(policy, sizeof policy,
                   "{\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Resource\":\"*\","
                   "\"Action\":[\"kms:PutKeyPolicy\",\"kms:Encrypt\"]},{\"Effect\":\"Allow\","
                   "\"Principal\":\"*\",\"Resource\":\"*\",\"Action\":\"kms:Decrypt\","
                   "\"Condition\":{\"StringEqualsIgnoreCase\":"
                   "{\"kms:RecipientAttestation:ImageSha384\":\"%s\"}}}]}",
                   pcr0);
    return new_key(policy);
}

static json_t *sealed_under(json_t *id)
{
    json_t *v = expect_ok("Encrypt", json_pack("{s:O, s:s}", "KeyId", id, "Plaintext", "c2VjcmV0"));
    json_t *blob = text(v, "CiphertextBlob");
    json_decref(v);
    return blob;
}

static void only_the_attested_may_decrypt(void **state)
{
    (void)state;
    struct eml_buf document = eml_test_read(DOCUMENT ".bin");
    json_t *facts = json_load_file(DOCUMENT ".json", 0, NULL);
    const char *pcr0 = json_string_value(json_object_get(json_object_get(facts, "pcrs"), "0"));
    assert_non_null(pcr0);
    json_t *right = pinned_key(pcr0), *wrong = pinned_key("00ff");
    json_t *blob = sealed_under(right), *wrong_blob = sealed_under(wrong);
    json_t *v = expect_ok("Decrypt", json_pack("{s:O, s:o}", "CiphertextBlob", blob, "Recipient",
                                               recipient(eml_buf_bytes(&document))));
    assert_null(json_object_get(v, "Plaintext"));
    assert_int_equal(json_string_length(json_object_get(v, "CiphertextForRecipient")), 616);
    json_decref(v);
    expect_error("Decrypt", json_pack("{s:O}", "CiphertextBlob", blob), "AccessDeniedException");
    expect_error("Decrypt",
                 json_pack("{s:O, s:o}", "CiphertextBlob", wrong_blob, "Recipient",
                           recipient(eml_buf_bytes(&document))),
                 "AccessDeniedException");
    document.ptr[document.len - 1] ^= 1;
    expect_error("Decrypt",
                 json_pack("{s:O, s:o}", "CiphertextBlob", blob, "Recipient",
                           recipient(eml_buf_bytes(&document))),
                 "ValidationException");
    expect_error("Decrypt",
                 json_pack("{s:O, s:o}", "CiphertextBlob", blob, "Recipient",
                           recipient(EML_LIT("no document"))),
                 "ValidationException");
    expect_error("Decrypt",
                 json_pack("{s:O, s:{s:s}}", "CiphertextBlob", blob, "Recipient",
                           "AttestationDocument", "hEQ="),
                 "ValidationException");
    json_decref(blob);
    json_decref(wrong_blob);
    json_decref(right);
    json_decref(wrong);
    json_decref(facts);
    eml_buf_free(&document);
}

static void documents_without_rsa_key_are_refused(void **state)
{
    (void)state;
    struct eml_buf document = eml_test_read(EML_VECTORS "/attestation/2022-11-09_8ff485d8.bin");
    expect_error("GenerateRandom",
                 json_pack("{s:i, s:o}", "NumberOfBytes", 8, "Recipient",
                           recipient(eml_buf_bytes(&document))),
                 "ValidationException");
    eml_buf_free(&document);
}

static void bodies_must_be_json(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "[]", "{", "{}{}", "{\"a\":1,\"a\":1}", "null"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_kmsd_reply r;
        eml_kmsd_api_call(&api, EML_LIT("ListKeys"), ME, eml_bytes_of_str(bad[i]), 0, &r);
        assert_int_equal(r.status, 400);
        static const char type[] = "{\"__type\":\"SerializationException\"";
        assert_true(r.body.len > sizeof type);
        assert_memory_equal(r.body.ptr, type, sizeof type - 1);
        eml_kmsd_reply_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_made_and_described),
        cmocka_unit_test(secrets_go_round_with_their_context),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(data_keys_come_in_clear_and_sealed),
        cmocka_unit_test(policies_can_change_but_not_lock_out),
        cmocka_unit_test(only_the_attested_may_decrypt),
        cmocka_unit_test(documents_without_rsa_key_are_refused),
        cmocka_unit_test(bodies_must_be_json),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
