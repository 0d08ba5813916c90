#include "kmsd/api.h"

#include "aws/cms.h"
#include "base/wipe.h"
#include "kmsd/cipher.h"
#include "kmsd/policy.h"
#include "wire/base64.h"

#include <stdio.h>
#include <string.h>

#define PLAINTEXT_BYTES_MAX 4096u
#define RANDOM_BYTES_MAX 1024u
#define DESCRIPTION_BYTES_MAX 8192u
#define ARN_BYTES_MAX 256u
#define TEXT_BYTES_MAX 1024u

/* One call on its way: what is read from the request, and the answer that is built. `error` NULL:
 * fine so far. */
struct call {
    struct eml_kmsd_api *api;
    const char *caller;
    int64_t now_unix_s;
    json_t *request, *attributes, *answer;
    const struct eml_kmsd_key *key;
    struct eml_kmsd_recipient recipient;
    char arn[ARN_BYTES_MAX];
    const char *error;
    char text[TEXT_BYTES_MAX];
};

static void fail(struct call *c, const char *error, const char *text)
{
    if (c->error != NULL)
        return;
    c->error = error;
    (void)snprintf(c->text, sizeof c->text, "%s", text);
}

static void internal(struct call *c)
{
    fail(c, "KMSInternalException", "");
}

/* --- reading the request --- */

static const json_t *member(const struct call *c, const char *name)
{
    const json_t *v = json_object_get(c->request, name);
    return json_is_null(v) ? NULL : v;
}

static struct eml_bytes text_member(struct call *c, const char *name, size_t max)
{
    const json_t *v = member(c, name);
    struct eml_bytes t = eml_json_text(c->request, name);
    if (v != NULL && (t.ptr == NULL || t.len > max))
        fail(c, "ValidationException", "a member is not a string of the permitted length");
    return t;
}

static void bytes_member(struct call *c, const char *name, size_t max, struct eml_buf *out)
{
    struct eml_bytes t = text_member(c, name, (max + 2) / 3 * 4);
    if (c->error == NULL && (t.len == 0 || eml_base64_decode(t, out) != EML_OK || out->len > max))
        fail(c, "ValidationException", "a blob is missing, not base64 or too long");
}

static size_t number_member(struct call *c, const char *name, size_t max)
{
    const json_t *v = member(c, name);
    json_int_t n = json_integer_value(v);
    if (v == NULL)
        return 0;
    if (!json_is_integer(v) || n < 1 || n > (json_int_t)max) {
        fail(c, "ValidationException", "a number is out of its range");
        return 0;
    }
    return (size_t)n;
}

/* The encryption context, an empty object if there is none; its members become condition keys. */
static json_t *context_member(struct call *c)
{
    const json_t *v = member(c, "EncryptionContext");
    const char *name;
    json_t *value, *none = json_object();
    if (v == NULL)
        return none;
    json_decref(none);
    if (!json_is_object(v))
        fail(c, "ValidationException", "EncryptionContext is not an object");
    json_object_foreach((json_t *)(uintptr_t)v, name, value)
    {
        char key[TEXT_BYTES_MAX];
        int n = snprintf(key, sizeof key, "kms:EncryptionContext:%s", name);
        if (!json_is_string(value) || n < 0 || (size_t)n >= sizeof key)
            fail(c, "ValidationException", "EncryptionContext is not a map of strings");
        else
            (void)json_object_set(c->attributes, key, value);
    }
    return json_deep_copy(v);
}

static void only_symmetric(struct call *c)
{
    struct eml_bytes a = text_member(c, "EncryptionAlgorithm", 64);
    if (a.ptr != NULL && !eml_bytes_equal(a, EML_LIT("SYMMETRIC_DEFAULT")))
        fail(c, "InvalidKeyUsageException", "keys are symmetric here");
    if (json_is_true(member(c, "DryRun")))
        fail(c, "UnsupportedOperationException", "DryRun");
}

static void use_key(struct call *c, const struct eml_kmsd_key *key)
{
    c->key = key;
    (void)snprintf(c->arn, sizeof c->arn, "arn:aws:kms:%s:" EML_KMSD_ACCOUNT ":key/%s",
                   c->api->region, key->id);
}

/* KeyId: an id, or the whole ARN. */
static const struct eml_kmsd_key *find_key(struct call *c)
{
    char prefix[ARN_BYTES_MAX];
    struct eml_bytes id = text_member(c, "KeyId", 2048);
    (void)snprintf(prefix, sizeof prefix, "arn:aws:kms:%s:" EML_KMSD_ACCOUNT ":key/",
                   c->api->region);
    size_t n = strlen(prefix);
    if (id.len > n && memcmp(id.ptr, prefix, n) == 0)
        id = eml_bytes(id.ptr + n, id.len - n);
    const struct eml_kmsd_key *k = eml_kmsd_store_find(c->api->store, id);
    if (id.ptr == NULL)
        fail(c, "ValidationException", "KeyId is missing");
    else if (k == NULL)
        fail(c, "NotFoundException", "there is no such key");
    return k;
}

static void read_recipient(struct call *c)
{
    struct eml_why why = {"", -1};
    if (c->error == NULL && eml_kmsd_recipient_read(c->request, &c->api->trust, c->now_unix_s,
                                                    c->attributes, &c->recipient, &why) != EML_OK)
        fail(c, "ValidationException", why.rule);
}

static void authorize_by(struct call *c, const json_t *policy, const char *action)
{
    const struct eml_kmsd_access access = {action, c->caller, c->attributes};
    char text[TEXT_BYTES_MAX];
    if (c->error != NULL || eml_kmsd_policy_allows(policy, &access))
        return;
    (void)snprintf(text, sizeof text,
                   "User: %.200s is not authorized to perform: %s on resource: %.200s because no "
                   "resource-based policy allows the %s action",
                   c->caller, action, c->arn, action);
    fail(c, "AccessDeniedException", text);
}

static void use_key_for(struct call *c, const char *action)
{
    const struct eml_kmsd_key *k = find_key(c);
    if (c->error != NULL)
        return;
    use_key(c, k);
    authorize_by(c, k->policy, action);
}

/* --- building the answer --- */

static void set(struct call *c, const char *name, json_t *value)
{
    if (json_object_set_new(c->answer, name, value) != 0)
        internal(c);
}

static void set_blob(struct call *c, const char *name, struct eml_bytes bytes)
{
    struct eml_buf b = {0};
    eml_base64_encode(bytes, &b);
    if (b.failed)
        internal(c);
    else
        set(c, name, json_stringn((const char *)b.ptr, b.len));
    eml_buf_free(&b);
}

/* In clear, or sealed to the recipient and then not in clear at all. */
static void set_plaintext(struct call *c, struct eml_bytes plain)
{
    struct eml_buf sealed = {0};
    if (c->error != NULL)
        return;
    if (c->recipient.document.len == 0)
        set_blob(c, "Plaintext", plain);
    else if (eml_cms_seal(c->recipient.spki, plain, &sealed) != EML_OK)
        internal(c);
    else
        set_blob(c, "CiphertextForRecipient", eml_buf_bytes(&sealed));
    eml_buf_free(&sealed);
}

static void set_ciphertext(struct call *c, const json_t *context, struct eml_bytes plain)
{
    struct eml_buf blob = {0};
    if (c->error != NULL)
        return;
    if (eml_kmsd_cipher_seal(c->key, context, plain, &blob) != EML_OK)
        internal(c);
    else
        set_blob(c, "CiphertextBlob", eml_buf_bytes(&blob));
    eml_buf_free(&blob);
}

static void set_metadata(struct call *c)
{
    const struct eml_kmsd_key *k = c->key;
    set(c, "KeyMetadata",
        json_pack("{s:s, s:s, s:s, s:I, s:s, s:b, s:[s], s:s, s:s, s:s, s:s, s:s, s:b}",
                  "AWSAccountId", EML_KMSD_ACCOUNT, "KeyId", k->id, "Arn", c->arn, "CreationDate",
                  (json_int_t)k->created_unix_s, "Description", k->description, "Enabled", 1,
                  "EncryptionAlgorithms", "SYMMETRIC_DEFAULT", "KeyManager", "CUSTOMER", "KeySpec",
                  "SYMMETRIC_DEFAULT", "KeyState", "Enabled", "KeyUsage", "ENCRYPT_DECRYPT",
                  "Origin", "AWS_KMS", "MultiRegion", 0));
}

/* --- operations --- */

static const char default_policy[] =
    "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":"
    "\"arn:aws:iam::" EML_KMSD_ACCOUNT ":root\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}]}";

/* Parsed and checked; and unless the caller waives it, one that lets the caller change it again. */
static json_t *policy_member(struct call *c)
{
    json_t *policy = NULL;
    struct eml_why why = {"", -1};
    struct eml_bytes text = text_member(c, "Policy", EML_KEYPOLICY_BYTES_MAX);
    const struct eml_kmsd_access change = {"kms:PutKeyPolicy", c->caller, c->attributes};
    if (text.ptr == NULL)
        text = EML_LIT(default_policy);
    if (c->error != NULL)
        return NULL;
    if (eml_json_parse(text, EML_KEYPOLICY_BYTES_MAX, &policy, &why) != EML_OK ||
        eml_kmsd_policy_check(policy, &why) != EML_OK)
        fail(c, "MalformedPolicyDocumentException", why.rule);
    else if (!json_is_true(member(c, "BypassPolicyLockoutSafetyCheck")) &&
             !eml_kmsd_policy_allows(policy, &change))
        fail(c, "MalformedPolicyDocumentException",
             "The new key policy will not allow you to update the key policy in the future.");
    return policy;
}

static void create_key(struct call *c)
{
    struct eml_bytes spec = text_member(c, "KeySpec", 64), usage = text_member(c, "KeyUsage", 64);
    struct eml_bytes description = text_member(c, "Description", DESCRIPTION_BYTES_MAX);
    const struct eml_kmsd_key *k = NULL;
    if ((spec.ptr != NULL && !eml_bytes_equal(spec, EML_LIT("SYMMETRIC_DEFAULT"))) ||
        (usage.ptr != NULL && !eml_bytes_equal(usage, EML_LIT("ENCRYPT_DECRYPT"))))
        fail(c, "UnsupportedOperationException", "keys are symmetric here");
    json_t *policy = policy_member(c);
    if (c->error == NULL) {
        const char *text = description.ptr != NULL ? (const char *)description.ptr : "";
        enum eml_err e = eml_kmsd_store_create(c->api->store, text, policy, c->now_unix_s, &k);
        if (e == EML_E_REFUSED)
            fail(c, "LimitExceededException", "the store is full");
        else if (e != EML_OK)
            internal(c);
    }
    if (k != NULL) {
        use_key(c, k);
        set_metadata(c);
    }
    json_decref(policy);
}

static void describe_key(struct call *c)
{
    use_key_for(c, "kms:DescribeKey");
    if (c->error == NULL)
        set_metadata(c);
}

static void list_keys(struct call *c)
{
    json_t *keys = json_array();
    for (size_t i = 0; i < eml_kmsd_store_count(c->api->store); i++) {
        use_key(c, eml_kmsd_store_at(c->api->store, i));
        if (json_array_append_new(
                keys, json_pack("{s:s, s:s}", "KeyId", c->key->id, "KeyArn", c->arn)) != 0)
            internal(c);
    }
    set(c, "Keys", keys);
    set(c, "Truncated", json_false());
}

static void only_default_name(struct call *c)
{
    struct eml_bytes name = text_member(c, "PolicyName", 128);
    if (name.ptr != NULL && !eml_bytes_equal(name, EML_LIT("default")))
        fail(c, "NotFoundException", "the only policy of a key is named default");
}

static void get_key_policy(struct call *c)
{
    struct eml_buf text = {0};
    only_default_name(c);
    use_key_for(c, "kms:GetKeyPolicy");
    if (c->error == NULL && eml_json_print(c->key->policy, &text) != EML_OK)
        internal(c);
    if (c->error == NULL) {
        set(c, "Policy", json_stringn((const char *)text.ptr, text.len));
        set(c, "PolicyName", json_string("default"));
    }
    eml_buf_free(&text);
}

static void put_key_policy(struct call *c)
{
    only_default_name(c);
    if (member(c, "Policy") == NULL)
        fail(c, "ValidationException", "Policy is missing");
    use_key_for(c, "kms:PutKeyPolicy");
    json_t *policy = policy_member(c);
    if (c->error == NULL && eml_kmsd_store_set_policy(c->api->store, c->key, policy) != EML_OK)
        internal(c);
    json_decref(policy);
}

static void encrypt(struct call *c)
{
    struct eml_buf plain = {0};
    only_symmetric(c);
    if (member(c, "Recipient") != NULL)
        fail(c, "ValidationException", "Encrypt takes no Recipient");
    bytes_member(c, "Plaintext", PLAINTEXT_BYTES_MAX, &plain);
    json_t *context = context_member(c);
    use_key_for(c, "kms:Encrypt");
    set_ciphertext(c, context, eml_buf_bytes(&plain));
    if (c->error == NULL) {
        set(c, "KeyId", json_string(c->arn));
        set(c, "EncryptionAlgorithm", json_string("SYMMETRIC_DEFAULT"));
    }
    json_decref(context);
    eml_buf_free(&plain);
}

static void decrypt(struct call *c)
{
    struct eml_buf blob = {0}, plain = {0};
    struct eml_bytes id;
    const struct eml_kmsd_key *named = NULL, *sealed_by = NULL;
    only_symmetric(c);
    bytes_member(c, "CiphertextBlob", EML_CMS_BYTES_MAX, &blob);
    json_t *context = context_member(c);
    if (member(c, "KeyId") != NULL)
        named = find_key(c);
    read_recipient(c);
    if (c->error == NULL) {
        if (eml_kmsd_cipher_key_id(eml_buf_bytes(&blob), &id) == EML_OK)
            sealed_by = eml_kmsd_store_find(c->api->store, id);
        if (sealed_by == NULL)
            fail(c, "InvalidCiphertextException", "");
        else if (named != NULL && named != sealed_by)
            fail(c, "IncorrectKeyException",
                 "The key ID in the request does not identify a CMK "
                 "that can perform this operation.");
    }
    if (c->error == NULL) {
        use_key(c, sealed_by);
        authorize_by(c, sealed_by->policy, "kms:Decrypt");
    }
    if (c->error == NULL &&
        eml_kmsd_cipher_open(c->key, context, eml_buf_bytes(&blob), &plain) != EML_OK)
        fail(c, "InvalidCiphertextException", "");
    set_plaintext(c, eml_buf_bytes(&plain));
    if (c->error == NULL) {
        set(c, "KeyId", json_string(c->arn));
        set(c, "EncryptionAlgorithm", json_string("SYMMETRIC_DEFAULT"));
    }
    json_decref(context);
    eml_buf_free(&blob);
    eml_buf_free(&plain);
}

static size_t data_key_bytes(struct call *c)
{
    struct eml_bytes spec = text_member(c, "KeySpec", 64);
    size_t n = number_member(c, "NumberOfBytes", RANDOM_BYTES_MAX);
    if ((spec.ptr != NULL) == (n != 0)) {
        fail(c, "ValidationException", "Please specify either number of bytes or key spec.");
        return 0;
    }
    if (spec.ptr == NULL)
        return n;
    if (eml_bytes_equal(spec, EML_LIT("AES_256")))
        return 32;
    if (eml_bytes_equal(spec, EML_LIT("AES_128")))
        return 16;
    fail(c, "ValidationException", "KeySpec is neither AES_256 nor AES_128");
    return 0;
}

static void generate_data_key(struct call *c)
{
    uint8_t data_key[RANDOM_BYTES_MAX];
    only_symmetric(c);
    size_t n = data_key_bytes(c);
    json_t *context = context_member(c);
    read_recipient(c);
    use_key_for(c, "kms:GenerateDataKey");
    if (c->error == NULL && eml_random((struct eml_room){data_key, n}) != EML_OK)
        internal(c);
    set_ciphertext(c, context, eml_bytes(data_key, n));
    set_plaintext(c, eml_bytes(data_key, n));
    if (c->error == NULL)
        set(c, "KeyId", json_string(c->arn));
    json_decref(context);
    eml_wipe(data_key, sizeof data_key);
}

static void generate_random(struct call *c)
{
    uint8_t random[RANDOM_BYTES_MAX];
    size_t n = number_member(c, "NumberOfBytes", RANDOM_BYTES_MAX);
    if (n == 0)
        fail(c, "ValidationException", "NumberOfBytes is missing");
    if (member(c, "CustomKeyStoreId") != NULL)
        fail(c, "UnsupportedOperationException", "there are no custom key stores here");
    read_recipient(c);
    if (c->error == NULL && eml_random((struct eml_room){random, n}) != EML_OK)
        internal(c);
    set_plaintext(c, eml_bytes(random, n));
    eml_wipe(random, sizeof random);
}

static const struct {
    const char *name;
    void (*run)(struct call *c);
} operations[] = {
    {"CreateKey", create_key},
    {"DescribeKey", describe_key},
    {"ListKeys", list_keys},
    {"GetKeyPolicy", get_key_policy},
    {"PutKeyPolicy", put_key_policy},
    {"Encrypt", encrypt},
    {"Decrypt", decrypt},
    {"GenerateDataKey", generate_data_key},
    {"GenerateRandom", generate_random},
};

/* --- replies --- */

void eml_kmsd_api_error(const char *name, const char *text, struct eml_kmsd_reply *out)
{
    /* AWS spells the member so in this one error, and "message" in all others. */
    const char *member_name = strcmp(name, "AccessDeniedException") == 0 ? "Message" : "message";
    *out = (struct eml_kmsd_reply){.status = strcmp(name, "KMSInternalException") == 0 ? 500 : 400};
    json_t *body = json_pack("{s:s, s:s}", "__type", name, member_name, text);
    if (body == NULL || eml_json_print(body, &out->body) != EML_OK)
        out->status = 500;
    json_decref(body);
}

void eml_kmsd_api_call(struct eml_kmsd_api *api, struct eml_bytes operation, const char *caller,
                       struct eml_bytes body, int64_t now_unix_s, struct eml_kmsd_reply *out)
{
    struct call c = {.api = api, .caller = caller, .now_unix_s = now_unix_s};
    struct eml_why why = {"", -1};
    void (*run)(struct call *) = NULL;
    *out = (struct eml_kmsd_reply){0};
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (eml_bytes_equal(operation, eml_bytes_of_str(operations[i].name)))
            run = operations[i].run;
    c.answer = json_object();
    c.attributes =
        json_pack("{s:s, s:s}", "aws:PrincipalArn", caller, "aws:SecureTransport", "true");
    if (run == NULL)
        fail(&c, "UnknownOperationException", "");
    else if (eml_json_parse(body, EML_KMSD_BODY_BYTES_MAX, &c.request, &why) != EML_OK)
        fail(&c, "SerializationException", why.rule);
    else if (c.answer == NULL || c.attributes == NULL)
        internal(&c);
    else
        run(&c);
    if (c.error == NULL) {
        out->status = 200;
        if (eml_json_print(c.answer, &out->body) != EML_OK)
            internal(&c);
    }
    if (c.error != NULL) {
        eml_kmsd_reply_free(out);
        eml_kmsd_api_error(c.error, c.text, out);
    }
    json_decref(c.request);
    json_decref(c.answer);
    json_decref(c.attributes);
    eml_kmsd_recipient_free(&c.recipient);
}

void eml_kmsd_reply_free(struct eml_kmsd_reply *r)
{
    eml_buf_free(&r->body);
    *r = (struct eml_kmsd_reply){0};
}
