#include "enclave/limits.h"
#include "enclave/worker.h"

#include "net/net.h"

#include <string.h>

/* Ciphertext is sent whenever so much of it has gathered. */
enum { GATHER = 1 << 18 };
_Static_assert(EML_IPC_BODY_MAX <= EML_CHANNEL_HELD_MAX,
               "any receipt fits in the place kept for it");
/* What records of so much content have besides: headers, tags and, in the last one, padding. */
enum { RECORDS_MORE = EML_RECORD_PLAIN_MAX };

static int64_t in_ms(int64_t ms)
{
    return eml_net_now_ms() + ms;
}

static enum eml_err attest(struct eml_worker *w, struct eml_room room, struct eml_bytes *document)
{
    struct eml_ipc_request r = {.type = EML_IPC_ATTEST};
    struct eml_ipc_answer a = {.body = room};
    struct eml_bytes nonce = eml_channel_nonce(w->channel);
    struct eml_bytes user_data = eml_channel_user_data(w->channel);
    if (nonce.len != sizeof r.nonce || user_data.len != sizeof r.user_data)
        return EML_E_INPUT;
    memcpy(r.nonce, nonce.ptr, sizeof r.nonce);
    memcpy(r.user_data, user_data.ptr, sizeof r.user_data);
    EML_TRY(eml_ipc_call(w->broker, &r, w->session_end_ms, &a));
    *document = eml_bytes(room.ptr, a.len);
    return EML_OK;
}

enum eml_err eml_worker_handshake(struct eml_worker *w)
{
    int64_t deadline = in_ms(EML_HANDSHAKE_MS);
    uint8_t room[EML_IPC_BODY_MAX];
    struct eml_bytes document = {0};
    struct eml_buf evidence = {0};
    EML_TRY(eml_net_recv_frame(w->client, EML_HELLO_BYTES_MAX, deadline, &w->frame));
    EML_TRY(eml_channel_server_hello(&w->channel, eml_buf_bytes(&w->frame), NULL));
    EML_TRY(attest(w, EML_ROOM(room), &document));
    enum eml_err err = eml_channel_server_evidence(w->channel, document, &evidence);
    if (err == EML_OK)
        err = eml_net_send(w->client, eml_buf_bytes(&evidence), deadline);
    eml_buf_free(&evidence);
    EML_TRY(err);
    EML_TRY(eml_net_recv_frame(w->client, EML_HELLO_BYTES_MAX, deadline, &w->frame));
    return eml_channel_server_open(w->channel, eml_buf_bytes(&w->frame), NULL);
}

static enum eml_err begin(struct eml_worker *w)
{
    const struct eml_ipc_request r = {.type = EML_IPC_BEGIN};
    w->request_end_ms = in_ms((int64_t)w->options->request_s * 1000 + EML_BACKSTOP_MS);
    if (w->request_end_ms > w->session_end_ms)
        w->request_end_ms = w->session_end_ms;
    return eml_ipc_ask(w->broker, &r);
}

/* The first record of a message: makes room for all of it. */
static enum eml_err make_room(struct eml_worker *w, enum eml_msg_type type, uint64_t total,
                              struct eml_room *content)
{
    if (type == EML_MSG_END)
        return total == 0 ? EML_OK : EML_E_INPUT;
    if (type != EML_MSG_REQUEST)
        return EML_E_INPUT;
    EML_TRY(begin(w));
    if (total > EML_MESSAGE_BYTES_MAX)
        return EML_E_REFUSED;
    content->ptr = eml_arena_alloc(&w->arena, (size_t)total, 64);
    if (content->ptr == NULL)
        return EML_E_REFUSED;
    content->len = (size_t)total;
    return EML_OK;
}

static enum eml_err receive(struct eml_worker *w, enum eml_msg_type *type, struct eml_room *content,
                            bool *broken)
{
    size_t used = 0;
    bool done = false;
    *content = (struct eml_room){0};
    int64_t idle_end = in_ms((int64_t)w->options->idle_s * 1000);
    if (idle_end > w->session_end_ms)
        idle_end = w->session_end_ms;
    for (bool first = true; !done; first = false) {
        struct eml_bytes part = {0};
        uint64_t total = 0;
        int64_t deadline = first ? idle_end : w->request_end_ms;
        *broken = true;
        EML_TRY(eml_net_recv_frame(w->client, EML_RECORD_PLAIN_MAX + 16, deadline, &w->frame));
        EML_TRY(eml_channel_open(w->channel, eml_buf_bytes(&w->frame), type, &total, &part, &done,
                                 NULL));
        *broken = false;
        if (first)
            EML_TRY(make_room(w, *type, total, content));
        if (part.len > content->len - used)
            return EML_E_INPUT;
        if (part.len != 0)
            memcpy(content->ptr + used, part.ptr, part.len);
        used += part.len;
    }
    return used == content->len ? EML_OK : EML_E_INPUT;
}

enum eml_err eml_worker_receive(struct eml_worker *w, enum eml_msg_type *type,
                                struct eml_room *content, bool *broken)
{
    enum eml_err err = receive(w, type, content, broken);
    eml_channel_forget(w->channel); /* its last record lies in the arena now, if it is wanted */
    return err;
}

enum eml_err eml_worker_report(struct eml_worker *w, enum eml_err err)
{
    const struct eml_times *t = &w->times;
    struct eml_ipc_request r = {.type = EML_IPC_REPORT,
                                .err = err,
                                .number = {w->weights_us, (t->decode + t->plan + t->open) / 1000,
                                           t->run / 1000, t->wipe / 1000, t->exposure / 1000,
                                           t->wiped_bytes}};
    w->reported = true;
    if (err == EML_OK) {
        r.inference = w->inference;
        r.inference.memory_bytes = w->arena.peak;
    }
    return eml_ipc_ask(w->broker, &r);
}

/* Where the broker answers for the host's log nothing of the client's is judged: classes that stand
 * for weights, KMS and inputs elsewhere would say the wrong thing, and a bad input leaves a
 * session's model open. */
static enum eml_err of_the_log(enum eml_err e)
{
    return e == EML_E_AUTH || e == EML_E_INPUT ? EML_E_NET : e;
}

enum eml_err eml_worker_recorded(struct eml_worker *w, struct eml_room room,
                                 struct eml_bytes *receipt)
{
    struct eml_ipc_answer a = {.body = room};
    *receipt = (struct eml_bytes){0};
    enum eml_err e = of_the_log(eml_ipc_await(w->broker, w->session_end_ms, &a));
    if (e == EML_OK)
        *receipt = eml_bytes(room.ptr, a.len);
    return e;
}

void eml_worker_report_destruction(struct eml_worker *w)
{
    const struct eml_times *t = &w->times;
    struct eml_ipc_request r = {.type = EML_IPC_DESTROYED};
    struct eml_ipc_answer a = {0};
    r.number[EML_IPC_WIPE] = t->wipe / 1000;
    r.number[EML_IPC_WIPE + 1] = t->exposure / 1000;
    r.number[EML_IPC_WIPE + 2] = t->wiped_bytes;
    (void)!eml_ipc_call(w->broker, &r, in_ms(EML_LINGER_MS), &a);
}

/* --- sending --- */

struct sealer {
    struct eml_worker *w;
    int64_t deadline_ms;
    bool waits; /* nothing is to be sent yet */
};

static enum eml_err flush(struct sealer *s)
{
    struct eml_buf *out = &s->w->out;
    enum eml_err err = eml_buf_ok(out);
    if (err == EML_OK)
        err = eml_net_send(s->w->client, eml_buf_bytes(out), s->deadline_ms);
    out->len = 0;
    return err;
}

static enum eml_err seal_part(void *ctx, struct eml_bytes part)
{
    struct sealer *s = ctx;
    while (part.len > 0) {
        size_t n = part.len < GATHER ? part.len : GATHER;
        EML_TRY(eml_channel_seal_part(s->w->channel, eml_bytes(part.ptr, n), &s->w->out));
        part = eml_bytes(part.ptr + n, part.len - n);
        if (s->w->out.len >= GATHER && !s->waits)
            EML_TRY(flush(s));
    }
    return EML_OK;
}

static enum eml_err seal_result(struct sealer *s, const struct eml_result *r, uint64_t bytes)
{
    struct eml_buf *out = &s->w->out;
    eml_buf_reserve(out, bytes <= GATHER ? (size_t)bytes + RECORDS_MORE : GATHER);
    EML_TRY(eml_channel_seal_begin(s->w->channel, EML_MSG_RESULT, bytes, out));
    return eml_result_encode(r, (struct eml_part_sink){seal_part, s});
}

enum eml_err eml_worker_seal_ahead(struct eml_worker *w, const struct eml_result *r)
{
    struct sealer s = {.w = w, .waits = true};
    uint64_t bytes = eml_result_bytes(r);
    if (bytes > GATHER)
        return EML_OK;
    enum eml_err err = eml_channel_seal_hold(w->channel);
    if (err == EML_OK)
        err = seal_result(&s, r, bytes);
    if (err == EML_OK)
        err = eml_buf_ok(&w->out);
    w->ahead = err == EML_OK;
    if (!w->ahead)
        w->out.len = 0;
    return err;
}

enum eml_err eml_worker_send_result(struct eml_worker *w, const struct eml_result *r)
{
    struct sealer s = {.w = w, .deadline_ms = in_ms(EML_SEND_MS)};
    enum eml_err err = w->ahead ? EML_OK : seal_result(&s, r, eml_result_bytes(r));
    if (err == EML_OK)
        err = flush(&s);
    w->out.len = 0;
    w->ahead = false;
    return err;
}

/* In the place that was kept, if one was. */
static enum eml_err send_whole(struct eml_worker *w, enum eml_msg_type type,
                               struct eml_bytes content)
{
    struct eml_buf out = {0};
    enum eml_err err = w->ahead ? eml_channel_seal_held(w->channel, type, content, &out)
                                : eml_channel_seal(w->channel, type, content, &out);
    if (err == EML_OK)
        err = eml_net_send(w->client, eml_buf_bytes(&out), in_ms(EML_SEND_MS));
    eml_buf_free(&out);
    return err;
}

enum eml_err eml_worker_send_receipt(struct eml_worker *w, struct eml_bytes receipt)
{
    return send_whole(w, EML_MSG_RECEIPT, receipt);
}

enum eml_err eml_worker_send_error(struct eml_worker *w, enum eml_err class)
{
    const uint8_t c[] = {(uint8_t) class};
    enum eml_err err = send_whole(w, EML_MSG_ERROR, EML_BYTES(c));
    if (w->ahead)
        eml_channel_wipe(w->channel); /* what would come next lies behind the result */
    w->ahead = false;
    w->out.len = 0;
    return err;
}

enum eml_err eml_worker_send_end(struct eml_worker *w)
{
    return send_whole(w, EML_MSG_END, (struct eml_bytes){0});
}
