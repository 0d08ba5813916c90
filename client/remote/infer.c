#include "remote/infer.h"

#include "base/aside.h"
#include "base/wipe.h"
#include "net/net.h"
#include "session/seal.h"

static enum eml_err encode(const struct eml_request *request, struct eml_buf *out)
{
    EML_TRY(eml_request_encode(request, (struct eml_part_sink){eml_part_to_buf, out}));
    return eml_buf_ok(out);
}

/* plain -> the request that carries it sealed under a fresh data key, encoded into *out. */
static enum eml_err encode_under_kms(const struct eml_remote *r, enum eml_mode mode,
                                     struct eml_bytes plain, const struct eml_kms_config *kms,
                                     int64_t now_unix_s, struct eml_buf *out, struct eml_why *why)
{
    struct eml_bytes session = eml_channel_session_id(r->channel);
    struct eml_aead_key key;
    struct eml_buf blob = {0}, sealed = {0};
    enum eml_err e =
        eml_remote_data_key(kms, session, now_unix_s, r->deadline_ms, &key, &blob, why);
    if (e == EML_OK)
        e = eml_request_seal(&key, session, plain, &sealed);
    eml_wipe(&key, sizeof key);
    if (e == EML_OK) {
        const struct eml_request outer = {
            .mode = mode,
            .has_kms = true,
            .kms = {.key_arn = eml_bytes_of_str(kms->key_arn),
                    .ciphertext_blob = eml_buf_bytes(&blob),
                    .sealed = eml_buf_bytes(&sealed)},
        };
        e = encode(&outer, out);
    }
    eml_buf_free(&blob);
    eml_buf_free(&sealed);
    return e;
}

static enum eml_err send_request(struct eml_remote *r, const struct eml_request *request,
                                 const struct eml_kms_config *kms, int64_t now_unix_s,
                                 struct eml_why *why)
{
    struct eml_buf plain = {0}, outer = {0};
    enum eml_err e = encode(request, &plain);
    struct eml_bytes message = eml_buf_bytes(&plain);
    if (e == EML_OK && kms->key_arn != NULL) {
        e = encode_under_kms(r, request->mode, message, kms, now_unix_s, &outer, why);
        message = eml_buf_bytes(&outer);
    }
    if (e == EML_OK)
        e = eml_remote_send(r, EML_MSG_REQUEST, message, why);
    eml_buf_free(&plain);
    eml_buf_free(&outer);
    return e;
}

static enum eml_err receive(struct eml_remote *r, enum eml_msg_type type, size_t max,
                            struct eml_arena *arena, struct eml_bytes *content, struct eml_why *why)
{
    enum eml_msg_type came;
    EML_TRY(eml_remote_receive(r, max, arena, &came, content, why));
    if (came == EML_MSG_END)
        return eml_fail(why, EML_E_NET, "the enclave ended the session: its time was over", -1);
    if (came != type)
        return eml_fail(why, EML_E_INPUT, "the enclave sent something else than a result", -1);
    return EML_OK;
}

/* The receipt's checks. */
struct checks {
    const struct eml_remote *r;
    const struct eml_request *request;
    struct eml_bytes content;
    int64_t now_s;
    struct eml_receipt receipt;
    struct eml_receipt_verified verified;
    struct eml_why why;
    enum eml_err err;
};

static void check(void *arg)
{
    struct checks *c = arg;
    c->err = eml_remote_receipt_verify(c->r, c->request, c->content, c->now_s, &c->receipt,
                                       &c->verified, &c->why);
}

/* Receipt, then result: while the one is verified the other is received. Neither counts before both
 * have passed. */
static enum eml_err receive_result(struct eml_remote *r, const struct eml_request *request,
                                   int64_t start_unix_s, struct eml_arena *arena,
                                   struct eml_result *out, struct eml_remote_receipt *file,
                                   struct eml_why *why)
{
    struct eml_bytes content;
    struct checks c = {.r = r, .request = request};
    struct eml_sha256 response_hash;
    int64_t start_ms = eml_net_now_ms();
    EML_TRY(receive(r, EML_MSG_RECEIPT, EML_RECEIPT_MESSAGE_MAX, arena, &c.content, why));
    c.now_s = start_unix_s + (eml_net_now_ms() - start_ms) / 1000 + 1;
    eml_aside_begin(r->aside, check, &c);
    enum eml_err e = receive(r, EML_MSG_RESULT, EML_MESSAGE_BYTES_MAX, arena, &content, why);
    if (e == EML_OK)
        e = eml_result_decode(content, arena, out, why);
    if (e == EML_OK)
        e = eml_remote_response_hash(out, &response_hash);
    eml_aside_await(r->aside);
    if (c.err != EML_OK) { /* whatever the result was */
        if (why != NULL)
            *why = c.why;
        return c.err;
    }
    EML_TRY(e);
    return eml_remote_receipt_accept(&c.receipt, &c.verified, request, out, &response_hash, file,
                                     why);
}

enum eml_err eml_remote_infer(struct eml_remote *r, const struct eml_request *request,
                              const struct eml_kms_config *kms, int64_t now_unix_s,
                              struct eml_arena *arena, struct eml_result *out,
                              struct eml_remote_receipt *receipt, struct eml_why *why)
{
    uint8_t salt[EML_SALT_BYTES];
    struct eml_request salted = *request;
    int64_t start_ms = eml_net_now_ms();
    *out = (struct eml_result){0};
    *receipt = (struct eml_remote_receipt){.file = {0}};
    if (r->aside == NULL)
        r->aside = eml_aside_new(); /* without one the result waits for the receipt's checks */
    EML_TRY(eml_random(EML_ROOM(salt)));
    salted.salt = EML_BYTES(salt);
    if (request->topology.ptr != NULL)
        EML_TRY(eml_sha256(&request->topology, 1, &r->model_hash));
    enum eml_err e = send_request(r, &salted, kms, now_unix_s, why);
    int64_t sent_s = now_unix_s + (eml_net_now_ms() - start_ms) / 1000;
    if (e == EML_OK)
        e = receive_result(r, &salted, sent_s, arena, out, receipt, why);
    if (e != EML_OK)
        *out = (struct eml_result){0};
    eml_wipe(salt, sizeof salt);
    return e;
}
