#include "testsupport/support.h"

#include "aws/kms.h"
#include "wire/base64.h"
#include "wire/json.h"

#include <string.h>

#define ARN "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

/* EML_LIT is a compound literal, which a static initialiser may not be. */
#define TEXT(s)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(s), sizeof(s) - 1                                                        \
    }

static const struct eml_kms_endpoint at = {TEXT("kms.us-east-1.amazonaws.com"), TEXT("us-east-1")};
static const struct eml_aws_credentials who = {TEXT("AKIDEXAMPLE"),
                                               TEXT("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                                               TEXT("SESSIONTOKENEXAMPLE")};
static const struct eml_kms_pair context[] = {{TEXT("eml:session"), TEXT("0a0b")},
                                              {TEXT("eml:app"), TEXT("demo")}};
static const struct eml_kms_call attested = {TEXT(ARN), context, 2, TEXT("document")};
static const struct eml_kms_call plain_call = {TEXT(ARN), context, 2, {NULL, 0}};

static struct eml_bytes after(struct eml_bytes text, const char *mark)
{
    struct eml_bytes m = eml_bytes_of_str(mark);
    for (size_t i = 0; i + m.len <= text.len; i++)
        if (memcmp(text.ptr + i, m.ptr, m.len) == 0)
            return eml_bytes(text.ptr + i + m.len, text.len - i - m.len);
    fail_msg("no %s", mark);
    return text;
}

static void decrypt_request_is_whole_and_signed(void **state)
{
    (void)state;
    struct eml_buf out = {0}, canonical = {0}, to_sign = {0};
    assert_int_equal(eml_kms_put_decrypt(&at, &who, 1767323045, &attested, EML_LIT("\1\2\3"), &out),
                     EML_OK);
    struct eml_bytes request = eml_buf_bytes(&out), body = after(request, "\r\n\r\n");
    static const char head[] = "POST / HTTP/1.1\r\n"
                               "Host: kms.us-east-1.amazonaws.com\r\n"
                               "Content-Type: application/x-amz-json-1.1\r\n"
                               "X-Amz-Date: 20260102T030405Z\r\n"
                               "X-Amz-Target: TrentService.Decrypt\r\n"
                               "X-Amz-Security-Token: SESSIONTOKENEXAMPLE\r\n"
                               "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/";
    assert_memory_equal(request.ptr, head, sizeof head - 1);
    static const char json[] =
        "{\"CiphertextBlob\":\"AQID\",\"EncryptionContext\":{\"eml:app\":\"demo\",\"eml:session\":"
        "\"0a0b\"},\"KeyId\":\"" ARN "\",\"Recipient\":{\"AttestationDocument\":\"ZG9jdW1lbnQ=\","
        "\"KeyEncryptionAlgorithm\":\"RSAES_OAEP_SHA_256\"}}";
    assert_true(eml_bytes_equal(body, EML_LIT(json)));
    /* the signature, recomputed over what stands in the request */
    struct eml_bytes value = after(request, "Authorization: ");
    value.len = (size_t)((const uint8_t *)memchr(value.ptr, '\r', value.len) - value.ptr);
    struct eml_sigv4_authorization a;
    assert_int_equal(eml_sigv4_parse(value, &a), EML_OK);
    assert_true(
        eml_bytes_equal(a.signed_headers,
                        EML_LIT("content-type;host;x-amz-date;x-amz-security-token;x-amz-target")));
    const struct eml_sigv4_header h[] = {
        {EML_LIT("host"), at.host},
        {EML_LIT("content-type"), EML_LIT("application/x-amz-json-1.1")},
        {EML_LIT("x-amz-date"), EML_LIT("20260102T030405Z")},
        {EML_LIT("x-amz-target"), EML_LIT("TrentService.Decrypt")},
        {EML_LIT("x-amz-security-token"), who.session_token}};
    const struct eml_sigv4_request r = {EML_LIT("POST"), EML_LIT("/"), {NULL, 0}, h, 5, body};
    uint8_t signature[EML_SIGV4_SIGNATURE_BYTES];
    assert_int_equal(eml_sigv4_canonical_request(&r, &canonical), EML_OK);
    assert_int_equal(eml_sigv4_string_to_sign(eml_buf_bytes(&canonical),
                                              EML_LIT("20260102T030405Z"), &a.scope, &to_sign),
                     EML_OK);
    assert_int_equal(
        eml_sigv4_signature(who.secret_access_key, &a.scope, eml_buf_bytes(&to_sign), signature),
        EML_OK);
    assert_true(eml_bytes_equal(EML_BYTES(signature), a.signature));
    eml_buf_free(&out);
    eml_buf_free(&canonical);
    eml_buf_free(&to_sign);
}

static void data_key_request_has_its_body(void **state)
{
    (void)state;
    struct eml_buf out = {0};
    struct eml_aws_credentials lasting = who;
    struct eml_kms_call bare = {EML_LIT(ARN), NULL, 0, {NULL, 0}};
    lasting.session_token = (struct eml_bytes){NULL, 0};
    assert_int_equal(eml_kms_put_generate_data_key(&at, &lasting, 0, &bare, &out), EML_OK);
    assert_true(eml_bytes_equal(after(eml_buf_bytes(&out), "\r\n\r\n"),
                                EML_LIT("{\"KeyId\":\"" ARN "\",\"KeySpec\":\"AES_256\"}")));
    (void)after(eml_buf_bytes(&out), "X-Amz-Target: TrentService.GenerateDataKey\r\nAuthorization");
    eml_buf_free(&out);
}

static void calls_out_of_bounds_are_refused(void **state)
{
    (void)state;
    struct eml_buf out = {0};
    static uint8_t big[EML_KMS_DOCUMENT_MAX + 1];
    struct eml_kms_call c = attested;
    struct eml_kms_pair pairs[EML_KMS_CONTEXT_MAX + 1] = {{EML_LIT("a"), EML_LIT("b")}};
    assert_int_equal(eml_kms_put_decrypt(&at, &who, 0, &c, EML_LIT(""), &out), EML_E_USAGE);
    assert_int_equal(
        eml_kms_put_decrypt(&at, &who, 0, &c, eml_bytes(big, EML_KMS_CIPHERTEXT_MAX + 1), &out),
        EML_E_USAGE);
    c.document = EML_BYTES(big);
    assert_int_equal(eml_kms_put_decrypt(&at, &who, 0, &c, EML_LIT("x"), &out), EML_E_USAGE);
    c.document.len = 0;
    assert_int_equal(eml_kms_put_decrypt(&at, &who, 0, &c, EML_LIT("x"), &out), EML_E_USAGE);
    c = attested;
    c.key_arn.len = 0;
    assert_int_equal(eml_kms_put_decrypt(&at, &who, 0, &c, EML_LIT("x"), &out), EML_E_USAGE);
    c = attested;
    c.context = pairs;
    c.n_context = EML_KMS_CONTEXT_MAX + 1;
    assert_int_equal(eml_kms_put_decrypt(&at, &who, 0, &c, EML_LIT("x"), &out), EML_E_USAGE);
    c.n_context = 2;
    pairs[1] = pairs[0]; /* one name twice */
    assert_int_equal(eml_kms_put_decrypt(&at, &who, 0, &c, EML_LIT("x"), &out), EML_E_USAGE);
    pairs[1].name = EML_LIT("\xff");
    assert_int_equal(eml_kms_put_decrypt(&at, &who, 0, &c, EML_LIT("x"), &out), EML_E_USAGE);
    static const char *const names[EML_KMS_CONTEXT_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (size_t i = 0; i < EML_KMS_CONTEXT_MAX; i++)
        pairs[i] = (struct eml_kms_pair){eml_bytes_of_str(names[i]), EML_LIT("v")};
    c.n_context = EML_KMS_CONTEXT_MAX;
    assert_int_equal(eml_kms_put_decrypt(&at, &who, 0, &c, EML_LIT("x"), &out), EML_OK);
    out.len = 0;
    struct eml_aws_credentials bad = who;
    bad.session_token = EML_LIT("a\r\nX-Evil: b");
    assert_int_equal(eml_kms_put_decrypt(&at, &bad, 0, &attested, EML_LIT("x"), &out), EML_E_USAGE);
    assert_int_equal(out.len, 0);
    eml_buf_free(&out);
}

static enum eml_err answer(bool data_key, const struct eml_kms_call *call, unsigned status,
                           const char *body, struct eml_kms_answer *out, struct eml_why *why)
{
    struct eml_http1_response r = {.status = status};
    *why = (struct eml_why){"", 0};
    eml_buf_put(&r.body, eml_bytes_of_str(body));
    enum eml_err e = data_key ? eml_kms_get_generate_data_key(&r, call, out, why)
                              : eml_kms_get_decrypt(&r, call, out, why);
    eml_http1_free(&r);
    return e;
}

#define KEY32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define ID "\"KeyId\":\"" ARN "\""
static const struct {
    bool data_key, recipient;
    const char *body, *rule; /* rule NULL: fine */
} answers[] = {
    {false, true, "{" ID ",\"CiphertextForRecipient\":\"MIAG\"}", NULL},
    {false, true, "{" ID ",\"CiphertextForRecipient\":\"MIAG\",\"Plaintext\":\"\",\"New\":1}",
     NULL},
    {false, true, "{" ID ",\"CiphertextForRecipient\":\"MIAG\",\"Plaintext\":null}", NULL},
    {false, false, "{" ID ",\"Plaintext\":\"c2VjcmV0\"}", NULL},
    {true, false, "{" ID ",\"Plaintext\":\"" KEY32 "\",\"CiphertextBlob\":\"AQID\"}", NULL},
    {true, true, "{" ID ",\"CiphertextForRecipient\":\"MIAG\",\"CiphertextBlob\":\"AQID\"}", NULL},
    {false, true, "{" ID ",\"CiphertextForRecipient\":\"MIAG\",\"Plaintext\":\"c2VjcmV0\"}",
     "kms: a Plaintext though a recipient was named"},
    {false, true, "{" ID ",\"CiphertextForRecipient\":\"MIAG\",\"Plaintext\":7}",
     "kms: a Plaintext though a recipient was named"},
    {false, true, "{" ID "}", "kms: no CiphertextForRecipient"},
    {false, true, "{" ID ",\"CiphertextForRecipient\":\"MIA\"}", "kms: no CiphertextForRecipient"},
    {false, true, "{" ID ",\"CiphertextForRecipient\":\"\"}", "kms: no CiphertextForRecipient"},
    {false, true, "{\"CiphertextForRecipient\":\"MIAG\"}",
     "kms: KeyId is not the key that was named"},
    {false, true,
     "{\"KeyId\":\"arn:aws:kms:us-east-1:111122223333:key/other\","
     "\"CiphertextForRecipient\":\"MIAG\"}",
     "kms: KeyId is not the key that was named"},
    {false, false, "{" ID ",\"CiphertextForRecipient\":\"MIAG\"}", "kms: no Plaintext"},
    {true, false, "{" ID ",\"Plaintext\":\"" KEY32 "\"}", "kms: no CiphertextBlob"},
    {true, false, "{" ID ",\"Plaintext\":\"c2VjcmV0\",\"CiphertextBlob\":\"AQID\"}",
     "kms: data key is not 32 bytes"},
    {false, false, "[]", "json: not an object"},
    {false, false, "", "json: ends too early"},
    {false, false, "{" ID "," ID "}", "json: a member name appears twice"},
};

static void answers_are_read_as_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct eml_kms_answer out;
        struct eml_why why;
        enum eml_err e = answer(answers[i].data_key, answers[i].recipient ? &attested : &plain_call,
                                200, answers[i].body, &out, &why);
        if (answers[i].rule == NULL) {
            assert_int_equal(e, EML_OK);
            assert_int_equal(out.for_recipient.len, answers[i].recipient ? 3 : 0);
            assert_int_equal(out.ciphertext.len, answers[i].data_key ? 3 : 0);
            assert_int_equal(out.plaintext.len != 0, !answers[i].recipient);
        } else {
            assert_int_equal(e, EML_E_INPUT);
            assert_string_equal(why.rule, answers[i].rule);
            assert_null(out.plaintext.ptr);
            assert_null(out.for_recipient.ptr);
        }
        eml_kms_answer_free(&out);
    }
}

/* A blob of the greatest length is taken, one byte more is not. */
static void blobs_have_their_limit(void **state)
{
    (void)state;
    static uint8_t blob[EML_KMS_CIPHERTEXT_MAX + 1];
    for (size_t over = 0; over < 2; over++) {
        struct eml_buf body = {0};
        struct eml_kms_answer out;
        struct eml_why why;
        eml_buf_put(&body, EML_LIT("{" ID ",\"CiphertextForRecipient\":\""));
        eml_base64_encode(eml_bytes(blob, EML_KMS_CIPHERTEXT_MAX + over), &body);
        eml_buf_put(&body, EML_LIT("\"}"));
        eml_buf_put_u8(&body, 0);
        assert_int_equal(answer(false, &attested, 200, (const char *)body.ptr, &out, &why),
                         over == 0 ? EML_OK : EML_E_INPUT);
        assert_int_equal(out.for_recipient.len, over == 0 ? EML_KMS_CIPHERTEXT_MAX : 0);
        eml_kms_answer_free(&out);
        eml_buf_free(&body);
    }
}

static const struct {
    unsigned status;
    const char *body, *rule;
    enum eml_err e;
} refusals[] = {
    {400, "{\"__type\":\"AccessDeniedException\",\"Message\":\"User: x\"}", "AccessDeniedException",
     EML_E_REFUSED},
    {400, "{\"__type\":\"com.amazonaws.kms#InvalidCiphertextException\"}",
     "InvalidCiphertextException", EML_E_AUTH},
    {400, "{\"__type\":\"ThrottlingException\",\"message\":\"\"}", "ThrottlingException",
     EML_E_NET},
    {500, "{\"__type\":\"KMSInternalException\"}", "KMSInternalException", EML_E_NET},
    {503, "<html>", "kms: an error without a name that we know", EML_E_NET},
    {400, "{\"__type\":\"Nonsense\"}", "kms: an error without a name that we know", EML_E_REFUSED},
    {400, "", "kms: an error without a name that we know", EML_E_REFUSED},
    {302, "{" ID ",\"Plaintext\":\"c2VjcmV0\"}", "kms: an error without a name that we know",
     EML_E_REFUSED},
};

static void errors_have_class_and_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct eml_kms_answer out;
        struct eml_why why;
        assert_int_equal(
            answer(false, &plain_call, refusals[i].status, refusals[i].body, &out, &why),
            refusals[i].e);
        assert_string_equal(why.rule, refusals[i].rule);
        assert_null(out.plaintext.ptr);
    }
    struct eml_http1_response r = {.status = 400, .n_headers = 1};
    struct eml_kms_answer out;
    struct eml_why why;
    r.header[0] = (struct eml_http1_header){EML_LIT("X-Amzn-ErrorType"),
                                            EML_LIT("IncorrectKeyException:http://internal/")};
    assert_int_equal(eml_kms_get_decrypt(&r, &attested, &out, &why), EML_E_AUTH);
    assert_string_equal(why.rule, "IncorrectKeyException");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decrypt_request_is_whole_and_signed),
        cmocka_unit_test(data_key_request_has_its_body),
        cmocka_unit_test(calls_out_of_bounds_are_refused),
        cmocka_unit_test(answers_are_read_as_asked),
        cmocka_unit_test(blobs_have_their_limit),
        cmocka_unit_test(errors_have_class_and_name),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
