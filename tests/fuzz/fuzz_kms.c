// link: aws
/* The first byte chooses: KMS's answer to a Decrypt or a GenerateDataKey (the body alone, or a
 * whole HTTP response), an Authorization header, or a time. What is believed of an answer is what
 * was asked for. */
#include "testsupport/support.h"

#include "aws/kms.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARN "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

static void feed_response(const struct eml_http1_response *r, bool recipient, bool generate)
{
    const struct eml_kms_call call = {.key_arn = EML_LIT(ARN),
                                      .document =
                                          recipient ? EML_LIT("document") : (struct eml_bytes){0}};
    struct eml_kms_answer a = {0};
    struct eml_why why = {0};
    enum eml_err e = generate ? eml_kms_get_generate_data_key(r, &call, &a, &why)
                              : eml_kms_get_decrypt(r, &call, &a, &why);
    EML_ASSERT(e == EML_OK || why.rule != NULL);
    EML_ASSERT((a.plaintext.len != 0) == (e == EML_OK && !recipient));
    EML_ASSERT((a.for_recipient.len != 0) == (e == EML_OK && recipient));
    EML_ASSERT((a.ciphertext.len != 0) == (e == EML_OK && generate));
    eml_kms_answer_free(&a);
}

static void feed_body(struct eml_bytes body, uint8_t how)
{
    struct eml_http1_response r = {.status = (how & 4) != 0 ? 400 : 200};
    eml_buf_put(&r.body, body);
    feed_response(&r, (how & 1) != 0, (how & 2) != 0);
    eml_http1_free(&r);
}

static void feed_http(struct eml_bytes in, uint8_t how)
{
    struct eml_http1_response r;
    struct eml_why why;
    bool whole = false;
    if (eml_http1_response(in, EML_KMS_RESPONSE_BODY_MAX, &r, &whole, &why) == EML_OK && whole)
        feed_response(&r, (how & 1) != 0, (how & 2) != 0);
    eml_http1_free(&r);
}

static void feed_authorization(struct eml_bytes in)
{
    struct eml_sigv4_authorization a;
    if (eml_sigv4_parse(in, &a) != EML_OK)
        return;
    const struct eml_bytes parts[] = {a.access_key_id, a.scope.date,     a.scope.region,
                                      a.scope.service, a.signed_headers, a.signature};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        EML_ASSERT(parts[i].ptr >= in.ptr && parts[i].ptr + parts[i].len <= in.ptr + in.len);
}

static void feed_time(struct eml_bytes in)
{
    uint8_t again[EML_SIGV4_TIME_BYTES];
    int64_t s;
    if (eml_sigv4_parse_time(in, &s) != EML_OK)
        return;
    EML_ASSERT(eml_sigv4_time(s, again) == EML_OK);
    EML_ASSERT(eml_bytes_equal(EML_BYTES(again), in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct eml_bytes in = {data + 1, size - 1};
    const uint8_t how = data[0] / 4;
    switch (data[0] % 4) {
    case 0:
        feed_body(in, how);
        break;
    case 1:
        feed_http(in, how);
        break;
    case 2:
        feed_authorization(in);
        break;
    default:
        feed_time(in);
        break;
    }
    return 0;
}
