#include "remote/remote.h"

#include "base/aside.h"
#include "hostproto/hostproto.h"
#include "net/net.h"

#include <string.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static enum eml_err send_all(struct eml_remote *r, struct eml_bytes bytes)
{
    EML_TRY(eml_net_send(r->fd, bytes, r->deadline_ms));
    r->sent_bytes += bytes.len;
    return EML_OK;
}

static enum eml_err receive_frame(struct eml_remote *r, size_t max, struct eml_buf *out)
{
    EML_TRY(eml_net_recv_frame(r->fd, max, r->deadline_ms, out));
    r->received_bytes += out->len + EML_FRAME_HEADER_BYTES;
    return EML_OK;
}

/* Asks the host for a stream to the enclave. */
static enum eml_err begin_relay(struct eml_remote *r, struct eml_why *why)
{
    struct eml_buf frame = {0};
    enum eml_err e =
        eml_host_request_encode(&(struct eml_host_request){.kind = EML_HOST_RELAY}, &frame);
    struct eml_host_answer answer;
    if (e == EML_OK)
        e = eml_net_send_frame(r->fd, eml_buf_bytes(&frame), r->deadline_ms);
    r->sent_bytes += frame.len + EML_FRAME_HEADER_BYTES;
    if (e == EML_OK)
        e = receive_frame(r, EML_HOST_ANSWER_MAX, &frame);
    if (e == EML_OK)
        e = eml_host_answer_decode(eml_buf_bytes(&frame), 0, &answer);
    eml_buf_free(&frame);
    if (e != EML_OK)
        return eml_fail(why, e, "the host does not answer as a host", -1);
    if (answer.status != EML_HOST_OK)
        return eml_fail(why, eml_host_status_err(answer.status),
                        eml_host_status_rule(answer.status), -1);
    return EML_OK;
}

static enum eml_err exchange_evidence(struct eml_remote *r, struct eml_why *why)
{
    struct eml_buf hello = {0};
    enum eml_err e = eml_channel_client_hello(&r->channel, &hello);
    if (e == EML_OK)
        e = send_all(r, eml_buf_bytes(&hello));
    eml_buf_free(&hello);
    if (e == EML_OK)
        e = receive_frame(r, EML_EVIDENCE_BYTES_MAX, &r->evidence);
    if (e != EML_OK)
        return eml_fail(why, e, "no evidence came from the enclave", -1);
    return EML_OK;
}

enum eml_err eml_remote_attest(struct eml_remote *r, const char *host,
                               const struct eml_policy *policy, int64_t now_unix_ms,
                               struct eml_x509_known *known, int64_t deadline_ms,
                               struct eml_why *why)
{
    *r = (struct eml_remote){.fd = -1, .deadline_ms = deadline_ms, .policy = policy};
    uint64_t start = now_ns();
    enum eml_err e = eml_net_connect(host, deadline_ms, &r->fd, why);
    if (e == EML_OK)
        e = begin_relay(r, why);
    if (e == EML_OK)
        e = exchange_evidence(r, why);
    if (e == EML_OK)
        e = eml_channel_client_evidence(r->channel, eml_buf_bytes(&r->evidence), &r->document, why);
    if (e == EML_OK) {
        const struct eml_attest_expect expect = {
            .nonce = eml_channel_nonce(r->channel),
            .user_data_prefix = eml_channel_user_data_prefix(r->channel),
            .user_data_bytes = EML_CHANNEL_USER_DATA_BYTES,
            .public_key_bytes = sizeof(struct eml_ed25519_pk),
            .now_unix_ms = now_unix_ms,
            .known = known,
        };
        e = eml_attest_verify(r->document, policy, &expect, &r->attested, &r->report, why);
    }
    r->attest_ns = now_ns() - start;
    if (e != EML_OK) {
        struct eml_attest_report report = r->report;
        eml_remote_close(r);
        r->report = report;
    }
    return e;
}

enum eml_err eml_remote_open(struct eml_remote *r, struct eml_why *why)
{
    uint64_t start = now_ns();
    struct eml_buf frame = {0};
    enum eml_err e = eml_channel_client_open(r->channel, r->attested.user_data, &frame);
    if (e == EML_OK)
        e = send_all(r, eml_buf_bytes(&frame));
    eml_buf_free(&frame);
    r->handshake_ns = now_ns() - start;
    return e == EML_OK ? EML_OK : eml_fail(why, e, "the channel could not be opened", -1);
}

/* Seals and sends in pieces, so that ciphertext of a large content is never whole in memory. */
enum eml_err eml_remote_send(struct eml_remote *r, enum eml_msg_type type, struct eml_bytes content,
                             struct eml_why *why)
{
    enum { PIECE = 1 << 20 };
    struct eml_buf frames = {0};
    enum eml_err e = eml_channel_seal_begin(r->channel, type, content.len, &frames);
    for (size_t at = 0; e == EML_OK && at < content.len; at += PIECE) {
        size_t n = content.len - at < PIECE ? content.len - at : PIECE;
        e = eml_channel_seal_part(r->channel, eml_bytes(content.ptr + at, n), &frames);
        if (e == EML_OK)
            e = send_all(r, eml_buf_bytes(&frames));
        frames.len = 0;
    }
    if (e == EML_OK && frames.len != 0)
        e = send_all(r, eml_buf_bytes(&frames));
    eml_buf_free(&frames);
    return e == EML_OK ? EML_OK : eml_fail(why, e, "the request could not be sent", -1);
}

/* The enclave tells a class and nothing else; anything that is no class is nonsense. What its
 * machine cannot do is a peer's failure here: ours is fine. */
static enum eml_err reported(struct eml_bytes content, struct eml_why *why)
{
    static const struct {
        enum eml_err class;
        const char *rule;
    } said[] = {
        [EML_E_USAGE] = {EML_E_INPUT, "enclave: the request has no meaning to it"},
        [EML_E_INPUT] = {EML_E_INPUT, "enclave: the inputs do not fit the model (eml run with the "
                                      "same files says why), or the host lacks the weights"},
        [EML_E_AUTH] = {EML_E_AUTH, "enclave: weights of the host, or KMS's answer, are not "
                                    "authentic (push the weights again)"},
        [EML_E_REFUSED] = {EML_E_REFUSED,
                           "enclave: over its limits of memory or operations, refused by KMS (see "
                           "the key's policy), or the host does not keep its audit log"},
        [EML_E_UNSUPPORTED] = {EML_E_UNSUPPORTED, "enclave: it cannot run this model (decompose "
                                                  "with the release that the enclave runs)"},
        [EML_E_NET] = {EML_E_NET, "enclave: host or KMS did not answer it, or not as they "
                                  "should (try again)"},
        [EML_E_SYSTEM] = {EML_E_NET, "enclave: its machine has no memory or descriptors left (try "
                                     "again later)"},
    };
    if (content.len != 1 || content.ptr[0] == EML_OK || content.ptr[0] > EML_E_SYSTEM)
        return eml_fail(why, EML_E_INPUT, "the enclave sent an error without a class", -1);
    return eml_fail(why, said[content.ptr[0]].class, said[content.ptr[0]].rule, -1);
}

/* One record; its content goes to room[*used..). The first of a message makes the room. */
static enum eml_err receive_record(struct eml_remote *r, size_t max, struct eml_arena *arena,
                                   enum eml_msg_type *type, struct eml_room *room, size_t *used,
                                   bool *done, struct eml_why *why)
{
    struct eml_bytes part = {0};
    uint64_t total = 0;
    enum eml_err e = receive_frame(r, EML_RECORD_PLAIN_MAX + 16, &r->frame);
    if (e != EML_OK)
        return eml_fail(why, e, "the stream ended before the result", -1);
    EML_TRY(eml_channel_open(r->channel, eml_buf_bytes(&r->frame), type, &total, &part, done, why));
    if (total > max)
        return eml_fail(why, EML_E_REFUSED, "the result is larger than allowed", -1);
    if (room->ptr == NULL)
        *room = (struct eml_room){eml_arena_alloc(arena, (size_t)total, 64), (size_t)total};
    if (room->ptr == NULL)
        return eml_fail(why, EML_E_SYSTEM, "not enough memory for the result", -1);
    EML_ASSERT(part.len <= room->len - *used); /* the channel counts */
    if (part.len != 0)
        memcpy(room->ptr + *used, part.ptr, part.len);
    *used += part.len;
    return EML_OK;
}

enum eml_err eml_remote_receive(struct eml_remote *r, size_t max, struct eml_arena *arena,
                                enum eml_msg_type *type, struct eml_bytes *content,
                                struct eml_why *why)
{
    struct eml_room room = {0};
    size_t used = 0;
    *content = (struct eml_bytes){0};
    for (bool done = false; !done;)
        EML_TRY(receive_record(r, max, arena, type, &room, &used, &done, why));
    *content = eml_bytes(room.ptr, used);
    return *type == EML_MSG_ERROR ? reported(*content, why) : EML_OK;
}

void eml_remote_close(struct eml_remote *r)
{
    if (r->channel != NULL && r->fd >= 0) {
        struct eml_buf end = {0};
        /* A courtesy: the enclave also ends on a closed stream. */
        if (eml_channel_seal(r->channel, EML_MSG_END, (struct eml_bytes){0}, &end) == EML_OK)
            (void)!eml_net_send(r->fd, eml_buf_bytes(&end), r->deadline_ms);
        eml_buf_free(&end);
    }
    eml_channel_free(r->channel);
    r->channel = NULL;
    eml_net_close(&r->fd);
    eml_aside_free(r->aside);
    r->aside = NULL;
    eml_buf_free(&r->frame);
    eml_buf_free(&r->evidence);
    r->attested = (struct eml_attested){0};
    r->document = (struct eml_bytes){0};
}
