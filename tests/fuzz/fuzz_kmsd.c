// link: kmsd
// wrap: eml_kmsd_store_find eml_kmsd_store_count eml_kmsd_store_at
// wrap: eml_kmsd_store_create eml_kmsd_store_set_policy
/* The development KMS. The first byte chooses: a body for one of its operations, a key policy that
 * is checked and then asked, or the headers of a request whose signature is looked for. One key, in
 * memory. Every call has a reply, and nobody without the secret is taken for a caller. */
#include "testsupport/script.h"
#include "testsupport/support.h"

#include "kmsd/api.h"
#include "kmsd/auth.h"
#include "kmsd/policy.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID "1234abcd-12ab-34cd-56ef-1234567890ab"
#define CALLER "arn:aws:iam::000000000000:user/a"

static struct eml_kmsd_key key = {.id = ID, .description = "a key"};

const struct eml_kmsd_key *__wrap_eml_kmsd_store_find(const struct eml_kmsd_store *s,
                                                      struct eml_bytes id);
size_t __wrap_eml_kmsd_store_count(const struct eml_kmsd_store *s);
const struct eml_kmsd_key *__wrap_eml_kmsd_store_at(const struct eml_kmsd_store *s, size_t i);
enum eml_err __wrap_eml_kmsd_store_create(struct eml_kmsd_store *s, const char *description,
                                          json_t *policy, int64_t now_unix_s,
                                          const struct eml_kmsd_key **out);
enum eml_err __wrap_eml_kmsd_store_set_policy(struct eml_kmsd_store *s,
                                              const struct eml_kmsd_key *k, json_t *policy);

const struct eml_kmsd_key *__wrap_eml_kmsd_store_find(const struct eml_kmsd_store *s,
                                                      struct eml_bytes id)
{
    (void)s;
    return eml_bytes_equal(id, EML_LIT(ID)) ? &key : NULL;
}

size_t __wrap_eml_kmsd_store_count(const struct eml_kmsd_store *s)
{
    (void)s;
    return 1;
}

const struct eml_kmsd_key *__wrap_eml_kmsd_store_at(const struct eml_kmsd_store *s, size_t i)
{
    (void)s;
    EML_ASSERT(i == 0);
    return &key;
}

enum eml_err __wrap_eml_kmsd_store_create(struct eml_kmsd_store *s, const char *description,
                                          json_t *policy, int64_t now_unix_s,
                                          const struct eml_kmsd_key **out)
{
    (void)s;
    EML_ASSERT(description != NULL && now_unix_s > 0);
    EML_ASSERT(eml_kmsd_policy_check(policy, NULL) == EML_OK);
    *out = &key;
    return EML_OK;
}

enum eml_err __wrap_eml_kmsd_store_set_policy(struct eml_kmsd_store *s,
                                              const struct eml_kmsd_key *k, json_t *policy)
{
    (void)s;
    EML_ASSERT(k == &key && eml_kmsd_policy_check(policy, NULL) == EML_OK);
    return EML_OK;
}

static void feed_call(struct eml_bytes body, uint8_t which)
{
    static const char *const operation[] = {
        "CreateKey", "DescribeKey", "ListKeys",        "GetKeyPolicy",   "PutKeyPolicy",
        "Encrypt",   "Decrypt",     "GenerateDataKey", "GenerateRandom", "DeleteKey"};
    struct eml_kmsd_api api = {.trust = {.n_roots = 1}, .region = "us-east-1"};
    struct eml_kmsd_reply r = {.status = 0};
    json_t *v;
    eml_kmsd_api_call(&api, eml_bytes_of_str(operation[which % 10]), CALLER, body, 1767323045, &r);
    EML_ASSERT(r.status == 200 || r.status == 400 || r.status == 500);
    EML_ASSERT(r.body.len == 0 ||
               eml_json_parse(eml_buf_bytes(&r.body), EML_KMSD_BODY_BYTES_MAX, &v, NULL) == EML_OK);
    if (r.body.len != 0)
        json_decref(v);
    eml_kmsd_reply_free(&r);
}

static void feed_policy(struct eml_bytes text)
{
    json_t *policy, *attribute = json_object();
    struct eml_why why = {0};
    const struct eml_kmsd_access access = {"kms:Decrypt", CALLER, attribute};
    EML_ASSERT(attribute != NULL);
    if (eml_json_parse(text, EML_KEYPOLICY_BYTES_MAX, &policy, &why) == EML_OK) {
        if (eml_kmsd_policy_check(policy, &why) == EML_OK)
            (void)eml_kmsd_policy_allows(policy, &access);
        else
            EML_ASSERT(why.rule != NULL);
        json_decref(policy);
    }
    json_decref(attribute);
}

static void feed_headers(struct eml_bytes in)
{
    static const char *const name[] = {"host",          "x-amz-date",           "x-amz-target",
                                       "authorization", "x-amz-security-token", "content-type"};
    const struct eml_kmsd_auth auth = {
        .caller = {{EML_LIT("AKID"), EML_LIT("a secret that the input does not know"), CALLER}},
        .n_callers = 1,
        .region = EML_LIT("us-east-1")};
    struct eml_cur c = eml_cur(in);
    struct eml_sigv4_header h[8];
    const struct eml_kmsd_caller *caller = NULL;
    size_t n = 0;
    for (; n < 8 && eml_cur_left(&c) != 0; n++) {
        uint8_t which = eml_cur_u8(&c);
        h[n].name = which < 240 ? eml_bytes_of_str(name[which % 6]) : eml_script_bytes(&c);
        h[n].value = eml_script_bytes(&c);
    }
    const struct eml_sigv4_request r = {.method = EML_LIT("POST"),
                                        .path = EML_LIT("/"),
                                        .header = h,
                                        .n_headers = n,
                                        .body = eml_cur_rest(&c)};
    EML_ASSERT(eml_kmsd_authenticate(&auth, &r, 1767323045, &caller) != NULL && caller == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char policy[] = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","
                                 "\"Principal\":{\"AWS\":\"*\"},\"Action\":\"kms:*\","
                                 "\"Resource\":\"*\"}]}";
    if (size == 0)
        return 0;
    if (key.policy == NULL)
        EML_ASSERT(eml_json_parse(eml_bytes_of_str(policy), 4096, &key.policy, NULL) == EML_OK);
    struct eml_bytes in = {data + 1, size - 1};
    switch (data[0] % 4) {
    case 0:
    case 1:
        feed_call(in, data[0] / 4);
        break;
    case 2:
        feed_policy(in);
        break;
    default:
        feed_headers(in);
        break;
    }
    return 0;
}
