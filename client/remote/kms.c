/* The client's one call to KMS: GenerateDataKey, for this session only. */
#include "remote/infer.h"

#include "aws/kms.h"
#include "base/text.h"
#include "base/wipe.h"
#include "file/file.h"
#include "https/https.h"
#include "net/net.h"
#include "session/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYSTEM_ROOTS "/etc/ssl/certs/ca-certificates.crt"

enum { HOST_MAX = 253, CA_MAX = 4 << 20 };

struct endpoint {
    char host[HOST_MAX + 1];      /* for TLS */
    char authority[HOST_MAX + 8]; /* value of the Host header */
    char address[HOST_MAX + 16];  /* for eml_net_connect */
    struct eml_bytes region;      /* part of the ARN */
};

/* arn:PARTITION:kms:REGION:ACCOUNT:key/ID */
static bool region_of(const char *arn, struct eml_bytes *region)
{
    const char *at = arn;
    for (int field = 0; field < 3; field++) {
        at = strchr(at, ':');
        if (at == NULL)
            return false;
        at++;
    }
    const char *end = strchr(at, ':');
    if (strncmp(arn, "arn:", 4) != 0 || end == NULL || end == at || end - at > 63)
        return false;
    *region = eml_bytes(at, (size_t)(end - at));
    return true;
}

static bool set_host(struct endpoint *e, const char *host, size_t len, const char *port)
{
    if (len == 0 || len > HOST_MAX || memchr(host, '/', len) != NULL)
        return false;
    memcpy(e->host, host, len);
    e->host[len] = '\0';
    (void)snprintf(e->authority, sizeof e->authority, strcmp(port, "443") == 0 ? "%s" : "%s:%s",
                   e->host, port);
    (void)snprintf(e->address, sizeof e->address, "tcp:%s:%s", e->host, port);
    return true;
}

static enum eml_err find_endpoint(const struct eml_kms_config *kms, struct endpoint *e,
                                  struct eml_why *why)
{
    *e = (struct endpoint){0};
    if (!region_of(kms->key_arn, &e->region))
        return eml_fail(why, EML_E_USAGE, "kms: the key must be named by its ARN", -1);
    if (kms->endpoint == NULL) {
        char name[HOST_MAX + 1];
        bool china = strncmp(kms->key_arn, "arn:aws-cn:", 11) == 0;
        int n = snprintf(name, sizeof name, "kms.%.*s.amazonaws.com%s", (int)e->region.len,
                         (const char *)e->region.ptr, china ? ".cn" : "");
        return set_host(e, name, (size_t)n, "443") ? EML_OK : EML_E_USAGE;
    }
    static const char scheme[] = "https://";
    const char *rest = kms->endpoint + sizeof scheme - 1;
    if (strncmp(kms->endpoint, scheme, sizeof scheme - 1) != 0)
        return eml_fail(why, EML_E_USAGE, "kms: the endpoint must be https://HOST[:PORT]", -1);
    size_t len = strcspn(rest, ":/");
    const char *port = rest[len] == ':' ? rest + len + 1 : "443";
    if ((rest[len] == '/' && rest[len + 1] != '\0') || strspn(port, "0123456789") != strlen(port) ||
        strlen(port) == 0 || strlen(port) > 5 || !set_host(e, rest, len, port))
        return eml_fail(why, EML_E_USAGE, "kms: the endpoint must be https://HOST[:PORT]", -1);
    return EML_OK;
}

static enum eml_err find_credentials(struct eml_aws_credentials *who, struct eml_why *why)
{
    const char *id = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY"),
               *token = getenv("AWS_SESSION_TOKEN");
    if (id == NULL || secret == NULL)
        return eml_fail(why, EML_E_USAGE,
                        "kms: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set", -1);
    *who = (struct eml_aws_credentials){eml_bytes_of_str(id), eml_bytes_of_str(secret), {0}};
    if (token != NULL)
        who->session_token = eml_bytes_of_str(token);
    return EML_OK;
}

static enum eml_err exchange(const struct endpoint *at, const char *ca_file,
                             struct eml_bytes request, int64_t deadline_ms,
                             struct eml_http1_response *response, struct eml_why *why)
{
    struct eml_buf ca = {0};
    int fd = -1;
    enum eml_err e = eml_file_read(ca_file != NULL ? ca_file : SYSTEM_ROOTS, CA_MAX, &ca, why);
    if (e == EML_OK)
        e = eml_net_connect(at->address, deadline_ms, &fd, why);
    if (e == EML_OK) {
        const struct eml_https_peer peer = {fd, eml_buf_bytes(&ca), at->host, deadline_ms};
        e = eml_https_call(&peer, request, EML_KMS_RESPONSE_BODY_MAX, response, why);
    }
    eml_net_close(&fd);
    eml_buf_free(&ca);
    return e;
}

enum eml_err eml_remote_data_key(const struct eml_kms_config *kms, struct eml_bytes session_id,
                                 int64_t now_unix_s, int64_t deadline_ms, struct eml_aead_key *key,
                                 struct eml_buf *ciphertext_blob, struct eml_why *why)
{
    *key = (struct eml_aead_key){{0}};
    struct endpoint at;
    struct eml_aws_credentials who;
    EML_ASSERT(session_id.len == EML_SESSION_ID_BYTES);
    EML_TRY(find_endpoint(kms, &at, why));
    EML_TRY(find_credentials(&who, why));
    char session[2 * EML_SESSION_ID_BYTES];
    eml_hex_put(session_id, session);
    const struct eml_kms_pair context = {EML_LIT(EML_KMS_CONTEXT_KEY),
                                         eml_bytes(session, sizeof session)};
    const struct eml_kms_call call = {
        .key_arn = eml_bytes_of_str(kms->key_arn), .context = &context, .n_context = 1};
    const struct eml_kms_endpoint endpoint = {eml_bytes_of_str(at.authority), at.region};
    struct eml_buf request = {0};
    struct eml_http1_response response = {0};
    struct eml_kms_answer answer = {0};
    enum eml_err e = eml_kms_put_generate_data_key(&endpoint, &who, now_unix_s, &call, &request);
    if (e == EML_OK)
        e = exchange(&at, kms->ca_file, eml_buf_bytes(&request), deadline_ms, &response, why);
    if (e == EML_OK)
        e = eml_kms_get_generate_data_key(&response, &call, &answer, why);
    if (e == EML_OK && answer.plaintext.len != sizeof key->b)
        e = eml_fail(why, EML_E_INPUT, "kms: the data key is not 256 bits long", -1);
    if (e == EML_OK) {
        memcpy(key->b, answer.plaintext.ptr, sizeof key->b);
        eml_buf_put(ciphertext_blob, eml_buf_bytes(&answer.ciphertext));
        e = eml_buf_ok(ciphertext_blob);
    }
    if (e != EML_OK)
        eml_wipe(key, sizeof *key);
    eml_kms_answer_free(&answer);
    eml_http1_free(&response);
    eml_buf_free(&request);
    return e;
}
