#include "aws/kms.h"

#include "base/wipe.h"
#include "wire/base64.h"
#include "wire/json.h"
#include "wire/utf8.h"

#include <stdio.h>
#include <string.h>

#define CONTENT_TYPE "application/x-amz-json-1.1"
#define TEXT_MAX 2048u /* of a key ARN, a context's name or value */

/* --- requests --- */

static json_t *text(struct eml_bytes v)
{
    return json_stringn(v.len != 0 ? (const char *)v.ptr : "", v.len);
}

static int set_base64(json_t *obj, const char *name, struct eml_bytes bytes)
{
    struct eml_buf b = {0};
    eml_base64_encode(bytes, &b);
    int failed = b.failed ? -1 : json_object_set_new(obj, name, text(eml_buf_bytes(&b)));
    eml_buf_free(&b);
    return failed;
}

static int set_context(json_t *body, const struct eml_kms_call *call)
{
    json_t *context = json_object();
    int failed = context == NULL ? -1 : 0;
    for (size_t i = 0; i < call->n_context; i++) {
        const struct eml_kms_pair *p = &call->context[i];
        failed |=
            json_object_setn_new(context, (const char *)p->name.ptr, p->name.len, text(p->value));
    }
    return failed | json_object_set_new(body, "EncryptionContext", context);
}

static int set_recipient(json_t *body, struct eml_bytes document)
{
    json_t *recipient = json_object();
    int failed =
        json_object_set_new(recipient, "KeyEncryptionAlgorithm", json_string("RSAES_OAEP_SHA_256"));
    failed |= set_base64(recipient, "AttestationDocument", document);
    return failed | json_object_set_new(body, "Recipient", recipient);
}

static bool is_text(struct eml_bytes v)
{
    return v.len <= TEXT_MAX && eml_utf8_valid(v);
}

/* All within bounds, UTF-8, and no name twice: what a body can be made of, given memory. */
static bool is_sound(const struct eml_kms_call *call)
{
    bool good = call->key_arn.len > 0 && is_text(call->key_arn) &&
                call->n_context <= EML_KMS_CONTEXT_MAX &&
                call->document.len <= EML_KMS_DOCUMENT_MAX &&
                (call->document.ptr == NULL || call->document.len > 0);
    for (size_t i = 0; good && i < call->n_context; i++) {
        good = call->context[i].name.len > 0 && is_text(call->context[i].name) &&
               is_text(call->context[i].value);
        for (size_t k = 0; good && k < i; k++)
            good = !eml_bytes_equal(call->context[k].name, call->context[i].name);
    }
    return good;
}

static json_t *common_body(const struct eml_kms_call *call)
{
    json_t *body = json_object();
    int failed = json_object_set_new(body, "KeyId", text(call->key_arn));
    if (call->n_context != 0)
        failed |= set_context(body, call);
    if (call->document.ptr != NULL)
        failed |= set_recipient(body, call->document);
    if (failed == 0)
        return body;
    json_decref(body);
    return NULL;
}

static void put_header(struct eml_buf *out, struct eml_bytes name, struct eml_bytes value)
{
    eml_buf_put(out, name);
    eml_buf_put(out, EML_LIT(": "));
    eml_buf_put(out, value);
    eml_buf_put(out, EML_LIT("\r\n"));
}

static enum eml_err put_request(const struct eml_kms_endpoint *at,
                                const struct eml_aws_credentials *who, int64_t now_unix_s,
                                struct eml_bytes target, struct eml_bytes body, struct eml_buf *out)
{
    uint8_t time[EML_SIGV4_TIME_BYTES];
    char length[24];
    struct eml_buf authorization = {0};
    EML_TRY(eml_sigv4_time(now_unix_s, time));
    const struct eml_sigv4_header header[] = {
        {EML_LIT("Host"), at->host},
        {EML_LIT("Content-Type"), EML_LIT(CONTENT_TYPE)},
        {EML_LIT("X-Amz-Date"), EML_BYTES(time)},
        {EML_LIT("X-Amz-Target"), target},
        {EML_LIT("X-Amz-Security-Token"), who->session_token}, /* last: it may be absent */
    };
    const struct eml_sigv4_request request = {
        .method = EML_LIT("POST"),
        .path = EML_LIT("/"),
        .header = header,
        .n_headers = who->session_token.ptr != NULL ? 5 : 4,
        .body = body,
    };
    const struct eml_sigv4_scope scope = {eml_bytes(time, 8), at->region, EML_LIT("kms")};
    enum eml_err e = eml_sigv4_authorize(&request, EML_BYTES(time), &scope, who, &authorization);
    if (e == EML_OK) {
        eml_buf_put(out, EML_LIT("POST / HTTP/1.1\r\n"));
        for (size_t i = 0; i < request.n_headers; i++)
            put_header(out, header[i].name, header[i].value);
        put_header(out, EML_LIT("Authorization"), eml_buf_bytes(&authorization));
        (void)snprintf(length, sizeof length, "%zu", body.len);
        put_header(out, EML_LIT("Content-Length"), eml_bytes_of_str(length));
        put_header(out, EML_LIT("Connection"), EML_LIT("close"));
        eml_buf_put(out, EML_LIT("\r\n"));
        eml_buf_put(out, body);
        e = eml_buf_ok(out);
    }
    eml_buf_free(&authorization);
    return e;
}

/* Takes `body` over. A header value with a line break would be another header. */
static enum eml_err send_body(const struct eml_kms_endpoint *at,
                              const struct eml_aws_credentials *who, int64_t now_unix_s,
                              struct eml_bytes target, json_t *body, struct eml_buf *out)
{
    const struct eml_bytes values[] = {at->host, at->region, who->access_key_id,
                                       who->session_token};
    struct eml_buf printed = {0};
    enum eml_err e = body == NULL ? EML_E_SYSTEM : eml_json_print(body, &printed);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        for (size_t k = 0; k < values[i].len; k++)
            if (values[i].ptr[k] <= ' ' || values[i].ptr[k] >= 0x7f)
                e = EML_E_USAGE;
    if (e == EML_OK)
        e = put_request(at, who, now_unix_s, target, eml_buf_bytes(&printed), out);
    eml_buf_free(&printed);
    json_decref(body);
    return e;
}

enum eml_err eml_kms_put_decrypt(const struct eml_kms_endpoint *at,
                                 const struct eml_aws_credentials *who, int64_t now_unix_s,
                                 const struct eml_kms_call *call, struct eml_bytes ciphertext,
                                 struct eml_buf *out)
{
    if (!is_sound(call) || ciphertext.len == 0 || ciphertext.len > EML_KMS_CIPHERTEXT_MAX)
        return EML_E_USAGE;
    json_t *body = common_body(call);
    if (body != NULL && set_base64(body, "CiphertextBlob", ciphertext) != 0) {
        json_decref(body);
        return EML_E_SYSTEM;
    }
    return send_body(at, who, now_unix_s, EML_LIT("TrentService.Decrypt"), body, out);
}

enum eml_err eml_kms_put_generate_data_key(const struct eml_kms_endpoint *at,
                                           const struct eml_aws_credentials *who,
                                           int64_t now_unix_s, const struct eml_kms_call *call,
                                           struct eml_buf *out)
{
    if (!is_sound(call))
        return EML_E_USAGE;
    json_t *body = common_body(call);
    if (body != NULL && json_object_set_new(body, "KeySpec", json_string("AES_256")) != 0) {
        json_decref(body);
        return EML_E_SYSTEM;
    }
    return send_body(at, who, now_unix_s, EML_LIT("TrentService.GenerateDataKey"), body, out);
}

/* --- answers --- */

static const struct {
    const char *name;
    enum eml_err e;
} errors[] = {
    {"AccessDeniedException", EML_E_REFUSED},
    {"NotFoundException", EML_E_REFUSED},
    {"DisabledException", EML_E_REFUSED},
    {"InvalidCiphertextException", EML_E_AUTH},
    {"IncorrectKeyException", EML_E_AUTH},
    {"InvalidKeyUsageException", EML_E_REFUSED},
    {"InvalidGrantTokenException", EML_E_REFUSED},
    {"KMSInvalidStateException", EML_E_REFUSED},
    {"UnsupportedOperationException", EML_E_REFUSED},
    {"InvalidArnException", EML_E_REFUSED},
    {"ValidationException", EML_E_REFUSED},
    {"UnrecognizedClientException", EML_E_REFUSED},
    {"InvalidSignatureException", EML_E_REFUSED},
    {"IncompleteSignatureException", EML_E_REFUSED},
    {"ExpiredTokenException", EML_E_REFUSED},
    {"MissingAuthenticationTokenException", EML_E_REFUSED},
    {"ThrottlingException", EML_E_NET},
    {"LimitExceededException", EML_E_NET},
    {"DependencyTimeoutException", EML_E_NET},
    {"KMSInternalException", EML_E_NET},
    {"KeyUnavailableException", EML_E_NET},
};

/* An error's bare name: without "namespace#" before it (__type) or ":url" behind
 * (x-amzn-ErrorType). */
static struct eml_bytes bare(struct eml_bytes name)
{
    size_t start = 0, end = 0;
    for (; end < name.len && name.ptr[end] != ':'; end++)
        if (name.ptr[end] == '#')
            start = end + 1;
    return eml_bytes(name.ptr + start, end - start);
}

static enum eml_err error_of(const struct eml_http1_response *r, struct eml_why *why)
{
    json_t *body = NULL;
    const char *rule = "kms: an error without a name that we know";
    enum eml_err e = r->status >= 500 ? EML_E_NET : EML_E_REFUSED;
    struct eml_bytes name = eml_http1_value(r, "x-amzn-ErrorType");
    if (name.ptr == NULL &&
        eml_json_parse(eml_buf_bytes(&r->body), EML_KMS_RESPONSE_BODY_MAX, &body, NULL) == EML_OK)
        name = eml_json_text(body, "__type");
    name = name.ptr != NULL ? bare(name) : name;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (eml_bytes_equal(name, eml_bytes_of_str(errors[i].name))) {
            e = errors[i].e;
            rule = errors[i].name;
        }
    json_decref(body);
    return eml_fail(why, e, rule, (long)r->status);
}

static enum eml_err get_base64(const json_t *body, const char *name, size_t max,
                               struct eml_buf *out)
{
    struct eml_bytes v = eml_json_text(body, name);
    if (v.len == 0 || v.len > (max + 2) / 3 * 4)
        return EML_E_INPUT;
    EML_TRY(eml_base64_decode(v, out));
    return out->len != 0 && out->len <= max ? EML_OK : EML_E_INPUT;
}

/* jansson frees without wiping. The string is ours alone (the tree was parsed here and is about to
 * go), so it may be written to. */
static void wipe_member(const json_t *body, const char *name)
{
    const json_t *v = json_object_get(body, name);
    if (json_is_string(v))
        eml_wipe((char *)(uintptr_t)json_string_value(v), json_string_length(v));
}

static const char *read_answer(const json_t *body, const struct eml_kms_call *call,
                               bool wants_ciphertext, struct eml_kms_answer *out)
{
    if (!eml_bytes_equal(eml_json_text(body, "KeyId"), call->key_arn))
        return "kms: KeyId is not the key that was named";
    const json_t *plain = json_object_get(body, "Plaintext");
    bool has_plain = plain != NULL && !json_is_null(plain) &&
                     !(json_is_string(plain) && json_string_length(plain) == 0);
    if (call->document.ptr != NULL) {
        if (has_plain)
            return "kms: a Plaintext though a recipient was named";
        if (get_base64(body, "CiphertextForRecipient", EML_KMS_CIPHERTEXT_MAX,
                       &out->for_recipient) != EML_OK)
            return "kms: no CiphertextForRecipient";
    } else if (get_base64(body, "Plaintext", 4096, &out->plaintext) != EML_OK)
        return "kms: no Plaintext";
    if (wants_ciphertext &&
        get_base64(body, "CiphertextBlob", EML_KMS_CIPHERTEXT_MAX, &out->ciphertext) != EML_OK)
        return "kms: no CiphertextBlob";
    return NULL;
}

static enum eml_err get_answer(const struct eml_http1_response *r, const struct eml_kms_call *call,
                               bool wants_ciphertext, struct eml_kms_answer *out,
                               struct eml_why *why)
{
    json_t *body = NULL;
    *out = (struct eml_kms_answer){0};
    if (r->status != 200)
        return error_of(r, why);
    EML_TRY(eml_json_parse(eml_buf_bytes(&r->body), EML_KMS_RESPONSE_BODY_MAX, &body, why));
    const char *rule = read_answer(body, call, wants_ciphertext, out);
    if (rule == NULL && wants_ciphertext && call->document.ptr == NULL &&
        out->plaintext.len != sizeof(struct eml_aead_key))
        rule = "kms: data key is not 32 bytes";
    wipe_member(body, "Plaintext");
    json_decref(body);
    if (rule == NULL)
        return EML_OK;
    bool no_memory = out->plaintext.failed || out->ciphertext.failed || out->for_recipient.failed;
    eml_kms_answer_free(out);
    return no_memory ? eml_fail(why, EML_E_SYSTEM, "out of memory", -1)
                     : eml_fail(why, EML_E_INPUT, rule, -1);
}

enum eml_err eml_kms_get_decrypt(const struct eml_http1_response *r,
                                 const struct eml_kms_call *call, struct eml_kms_answer *out,
                                 struct eml_why *why)
{
    return get_answer(r, call, false, out, why);
}

enum eml_err eml_kms_get_generate_data_key(const struct eml_http1_response *r,
                                           const struct eml_kms_call *call,
                                           struct eml_kms_answer *out, struct eml_why *why)
{
    return get_answer(r, call, true, out, why);
}

void eml_kms_answer_free(struct eml_kms_answer *a)
{
    eml_buf_free(&a->plaintext);
    eml_buf_free(&a->for_recipient);
    eml_buf_free(&a->ciphertext);
    *a = (struct eml_kms_answer){0};
}
