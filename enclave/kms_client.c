/* One Decrypt call to KMS. TLS begins and ends here: the host carries its bytes, and gives the
 * credentials, which authorise nothing that the key's policy does not tie to this enclave. */
#include "enclave/limits.h"
#include "enclave/worker.h"

#include "aws/cms.h"
#include "aws/kms.h"
#include "base/text.h"
#include "base/wipe.h"
#include "hostproto/hostproto.h"
#include "https/https.h"
#include "net/net.h"
#include "session/seal.h"

#include <string.h>
#include <time.h>

enum { HOST_MAX = 255 };

/* A connection to the host's service port on which `kind` was asked; its answer is in *frame. */
static enum eml_err ask_host(struct eml_worker *w, enum eml_host_kind kind, int64_t deadline_ms,
                             int *fd, struct eml_buf *frame)
{
    const struct eml_ipc_request r = {.type = EML_IPC_HOST_CONNECT};
    const struct eml_host_request first = {.kind = kind};
    struct eml_ipc_answer a = {.wants_fd = true};
    EML_TRY(eml_ipc_call(w->broker, &r, deadline_ms, &a));
    *fd = a.fd;
    EML_TRY(eml_host_request_encode(&first, frame));
    EML_TRY(eml_net_send_frame(a.fd, eml_buf_bytes(frame), deadline_ms));
    return eml_net_recv_frame(a.fd, EML_HOST_ANSWER_MAX, deadline_ms, frame);
}

/* frame keeps the bytes that *c points to. */
static enum eml_err get_credentials(struct eml_worker *w, int64_t deadline_ms,
                                    struct eml_buf *frame, struct eml_host_credentials *c)
{
    int fd = -1;
    enum eml_host_status status;
    enum eml_err err = ask_host(w, EML_HOST_CREDENTIALS, deadline_ms, &fd, frame);
    eml_net_close(&fd);
    EML_TRY(err);
    EML_TRY(eml_host_credentials_decode(eml_buf_bytes(frame), &status, c));
    return eml_host_status_err(status);
}

/* "HOST[:PORT]": the name for TLS, and the Host header's value, which has no port 443. */
static bool split_endpoint(const char *text, char name[HOST_MAX + 1], struct eml_bytes *header)
{
    size_t len = strcspn(text, ":");
    if (len == 0 || len > HOST_MAX)
        return false;
    memcpy(name, text, len);
    name[len] = '\0';
    *header = strcmp(text + len, ":443") == 0 ? eml_bytes(text, len) : eml_bytes_of_str(text);
    return true;
}

static enum eml_err tunnel_call(struct eml_worker *w, const char *name, struct eml_bytes request,
                                int64_t deadline_ms, struct eml_http1_response *response,
                                struct eml_why *why)
{
    int fd = -1;
    struct eml_buf frame = {0};
    struct eml_host_answer a;
    enum eml_err err = ask_host(w, EML_HOST_EGRESS, deadline_ms, &fd, &frame);
    if (err == EML_OK)
        err = eml_host_answer_decode(eml_buf_bytes(&frame), 0, &a);
    if (err == EML_OK)
        err = eml_host_status_err(a.status);
    const struct eml_https_peer peer = {fd, eml_buf_bytes(&w->kms_ca), name, deadline_ms};
    if (err == EML_OK)
        err = eml_https_call(&peer, request, EML_KMS_RESPONSE_MAX, response, why);
    eml_net_close(&fd);
    eml_buf_free(&frame);
    return err;
}

static enum eml_err unwrap(void *holder, struct eml_bytes block, struct eml_aead_key *key)
{
    struct eml_worker *w = holder;
    struct eml_ipc_request r = {.type = EML_IPC_KMS_UNWRAP};
    struct eml_ipc_answer a = {.body = EML_ROOM(key->b)};
    if (block.len != sizeof r.block)
        return EML_E_AUTH;
    memcpy(r.block, block.ptr, sizeof r.block);
    EML_TRY(eml_ipc_call(w->broker, &r, w->request_end_ms, &a));
    return a.len == sizeof key->b ? EML_OK : EML_E_AUTH;
}

struct document {
    uint8_t body[EML_IPC_BODY_MAX]; /* digest of the key, then the document */
    struct eml_sha256 key;
    struct eml_bytes bytes;
};

static enum eml_err get_document(struct eml_worker *w, struct document *d)
{
    const struct eml_ipc_request r = {.type = EML_IPC_KMS_DOCUMENT};
    struct eml_ipc_answer a = {.body = EML_ROOM(d->body)};
    EML_TRY(eml_ipc_call(w->broker, &r, w->request_end_ms, &a));
    if (a.len <= sizeof d->key.b)
        return EML_E_SYSTEM;
    memcpy(d->key.b, d->body, sizeof d->key.b);
    d->bytes = eml_bytes(d->body + sizeof d->key.b, a.len - sizeof d->key.b);
    return EML_OK;
}

/* Signs the call with the host's credentials. */
static enum eml_err make_request(struct eml_worker *w, int64_t deadline_ms, struct eml_bytes host,
                                 const struct eml_kms_call *call, struct eml_bytes blob,
                                 struct eml_buf *out)
{
    struct eml_host_credentials c = {0};
    struct eml_buf frame = {0};
    enum eml_err err = get_credentials(w, deadline_ms, &frame, &c);
    if (err == EML_OK) {
        const struct eml_kms_endpoint at = {.host = host, .region = c.region};
        struct eml_aws_credentials who = {c.access_key_id, c.secret_access_key, {0}};
        if (c.session_token.len != 0)
            who.session_token = c.session_token;
        err = eml_kms_put_decrypt(&at, &who, (int64_t)time(NULL), call, blob, out);
        /* What the host gave does not fit a request: that is the host's fault, not our caller's. */
        if (err == EML_E_USAGE)
            err = EML_E_INPUT;
    }
    eml_buf_free(&frame);
    return err;
}

static enum eml_err decrypt(struct eml_worker *w, const struct eml_request_kms *kms,
                            const struct document *d, struct eml_buf *plain, struct eml_why *why)
{
    char name[HOST_MAX + 1];
    struct eml_bytes header;
    char session[2 * EML_SESSION_ID_BYTES];
    struct eml_bytes id = eml_channel_session_id(w->channel);
    int64_t deadline = eml_net_now_ms() + EML_KMS_MS;
    if (deadline > w->request_end_ms)
        deadline = w->request_end_ms;
    if (!split_endpoint(w->options->kms_endpoint, name, &header) || id.len != EML_SESSION_ID_BYTES)
        return EML_E_SYSTEM;
    eml_hex_put(id, session);
    const struct eml_kms_pair context = {EML_LIT(EML_KMS_CONTEXT_KEY),
                                         eml_bytes(session, sizeof session)};
    const struct eml_kms_call call = {
        .key_arn = kms->key_arn, .context = &context, .n_context = 1, .document = d->bytes};
    struct eml_buf request = {0};
    struct eml_http1_response response = {0};
    struct eml_kms_answer answer = {0};
    enum eml_err err = make_request(w, deadline, header, &call, kms->ciphertext_blob, &request);
    if (err == EML_OK)
        err = tunnel_call(w, name, eml_buf_bytes(&request), deadline, &response, why);
    if (err == EML_OK)
        err = eml_kms_get_decrypt(&response, &call, &answer, why);
    if (err == EML_OK)
        err = eml_cms_open(eml_buf_bytes(&answer.for_recipient), &d->key, unwrap, w, plain, why);
    eml_kms_answer_free(&answer);
    eml_http1_free(&response);
    eml_buf_free(&request);
    return err;
}

enum eml_err eml_worker_data_key(struct eml_worker *w, const struct eml_request_kms *kms,
                                 struct eml_aead_key *key, struct eml_why *why)
{
    struct document d = {0};
    struct eml_buf plain = {0};
    eml_wipe(key, sizeof *key);
    enum eml_err err = get_document(w, &d); /* refused if this enclave has no endpoint */
    if (err == EML_OK)
        err = decrypt(w, kms, &d, &plain, why);
    if (err == EML_OK && plain.len != sizeof key->b)
        err = eml_fail(why, EML_E_AUTH, "kms: the data key has 32 bytes", -1);
    if (err == EML_OK)
        memcpy(key->b, plain.ptr, sizeof key->b);
    eml_buf_free(&plain);
    return err;
}
