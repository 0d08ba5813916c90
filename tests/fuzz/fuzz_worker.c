// link: enclave
// wrap: eml_net_recv_frame eml_net_recv_some eml_net_send eml_net_send_frame
// wrap: eml_ipc_call eml_ipc_ask eml_ipc_await eml_https_call eml_random
// wrap: eml_arena_destroy eml_cache_map munmap socketpair memfd_create close
// wrap: aligned_alloc free eml_x25519 eml_x25519_public EVP_sha256 EVP_MAC_fetch
// wrap: EVP_aes_256_gcm
#define _GNU_SOURCE
/* A session as the worker lives it, in one process: the input is a script of what its client sends
 * (in the clear, or sealed under the session's own keys), what the broker answers, and what host
 * and KMS say. The linker puts the functions here in the place of its sockets; half of a real
 * channel plays the client.
 *
 * Whatever comes: no result leaves before the broker has answered that the log is durable, all that
 * leaves opens at the client as the next record, a request that was left alone gives the right
 * result, and every question that the worker asks is one that the broker knows. */
#include "testsupport/descriptors.h"
#include "testsupport/fetched.h"
#include "testsupport/half_channel.h"
#include "testsupport/tiny_model.h"

#include "aws/cms.h"
#include "enclave/cache.h"
#include "enclave/worker.h"
#include "hostproto/hostproto.h"
#include "https/https.h"
#include "session/seal.h"
#include "wire/base64.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA = 4 << 20, CLIENT = EML_FD_OTHERS, BROKER };
#define ARN "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

/* Made once. */
static struct {
    bool made;
    struct eml_tiny_model model;
    struct eml_buf spki, cms, ca;
    struct eml_sha256 key_id;
    struct eml_aead_key data_key, content_key;
    uint8_t block[EML_IPC_BLOCK];
    struct eml_arena arena, for_result;
} fixed;

/* Of one input. */
static struct {
    struct eml_cur script;
    struct eml_worker w;
    struct eml_pair pair; /* pair.client is the client's half */
    int frames_asked;
    bool open;
    bool gone; /* the client does not read any more */
    struct eml_half client;
    struct eml_ipc_request question; /* of the worker to its broker; type 0: none is open */
    bool runs, durable;              /* between BEGIN and REPORT; REPORT was answered well */
    unsigned sent, results;          /* requests left alone, results */
    enum eml_mode mode;              /* of the request sent last */
    enum eml_host_kind asked;
} now;

/* --- what stands in for the outside --- */

enum eml_err __wrap_eml_net_send(int fd, struct eml_bytes bytes, int64_t deadline_ms);
enum eml_err __wrap_eml_net_send_frame(int fd, struct eml_bytes frame, int64_t deadline_ms);
enum eml_err __wrap_eml_net_recv_frame(int fd, size_t max, int64_t deadline_ms,
                                       struct eml_buf *out);
enum eml_err __wrap_eml_net_recv_some(int fd, struct eml_room room, int64_t deadline_ms,
                                      size_t *got);
enum eml_err __wrap_eml_ipc_call(int sock, const struct eml_ipc_request *r, int64_t deadline_ms,
                                 struct eml_ipc_answer *answer);
enum eml_err __wrap_eml_ipc_ask(int sock, const struct eml_ipc_request *r);
enum eml_err __wrap_eml_ipc_await(int sock, int64_t deadline_ms, struct eml_ipc_answer *answer);
enum eml_err __wrap_eml_https_call(const struct eml_https_peer *peer, struct eml_bytes request,
                                   size_t body_max, struct eml_http1_response *out,
                                   struct eml_why *why);
enum eml_err __real_eml_https_call(const struct eml_https_peer *peer, struct eml_bytes request,
                                   size_t body_max, struct eml_http1_response *out,
                                   struct eml_why *why);

static void meddle(struct eml_buf *b)
{
    if (eml_script_meddle(&now.script, b))
        now.client.honest = false;
}

/* Of the session's: it is used again. */
size_t __wrap_eml_arena_destroy(struct eml_arena *a);
size_t __real_eml_arena_destroy(struct eml_arena *a);

size_t __wrap_eml_arena_destroy(struct eml_arena *a)
{
    if (a != &now.w.arena)
        return __real_eml_arena_destroy(a);
    fixed.arena = *a;
    *a = (struct eml_arena){0};
    (void)eml_arena_reset(&fixed.arena, 0);
    return fixed.arena.peak;
}

/* The weights stay mapped. */
const void *__wrap_eml_cache_map(int file, size_t size);
int __wrap_munmap(void *p, size_t size);
int __real_munmap(void *p, size_t size);

const void *__wrap_eml_cache_map(int file, size_t size)
{
    EML_ASSERT(eml_fds_is_open(file) && size == fixed.model.sealed.len);
    return fixed.model.sealed.ptr;
}

int __wrap_munmap(void *p, size_t size)
{
    return p == fixed.model.sealed.ptr ? 0 : __real_munmap(p, size);
}

/* --- the client --- */

/* A request as it should be, encoded. */
static void put_request(enum eml_mode mode, bool first, struct eml_buf *out)
{
    static const uint8_t salt[EML_SALT_BYTES] = {1};
    struct eml_named_tensor x = {
        EML_LIT("x"), {EML_DT_F32, {1, {EML_TINY_N}}, fixed.model.x, sizeof fixed.model.x}};
    struct eml_request r = {.mode = mode, .n_inputs = 1, .inputs = &x, .salt = EML_BYTES(salt)};
    if (first)
        r.topology = eml_buf_bytes(&fixed.model.topology);
    EML_ASSERT(eml_request_encode(&r, (struct eml_part_sink){eml_part_to_buf, out}) == EML_OK);
}

/* The same in the wrapping for KMS. */
static void put_under_kms(enum eml_mode mode, const struct eml_buf *plain, struct eml_buf *out)
{
    struct eml_buf sealed = {0};
    EML_ASSERT(eml_request_seal(&fixed.data_key, eml_channel_session_id(now.client.channel),
                                eml_buf_bytes(plain), &sealed) == EML_OK);
    const struct eml_request r = {.mode = mode,
                                  .has_kms = true,
                                  .kms = {EML_LIT(ARN), EML_LIT("blob"), eml_buf_bytes(&sealed)}};
    EML_ASSERT(eml_request_encode(&r, (struct eml_part_sink){eml_part_to_buf, out}) == EML_OK);
    eml_buf_free(&sealed);
}

static void send_request(uint8_t op, bool altered)
{
    struct eml_buf plain = {0}, outer = {0};
    enum eml_mode mode = (op & 8) != 0 ? EML_MODE_SESSION : EML_MODE_REQUEST;
    bool was_honest = now.client.honest;
    put_request(mode, (op & 16) == 0, &plain);
    if (altered)
        meddle(&plain);
    if ((op & 32) != 0) {
        put_under_kms(mode, &plain, &outer);
        if (altered)
            meddle(&outer);
    }
    eml_half_seal(&now.client, EML_MSG_REQUEST, eml_buf_bytes(outer.len != 0 ? &outer : &plain));
    /* With the topology key: in session mode the first, in request mode each. */
    bool sure = (op & 16) == 0 &&
                (now.sent == 0 || (mode == EML_MODE_REQUEST && now.mode == EML_MODE_REQUEST));
    now.sent += was_honest && now.client.honest && sure;
    now.client.honest = now.client.honest && sure;
    now.mode = mode;
    eml_buf_free(&plain);
    eml_buf_free(&outer);
}

/* The next frame's content, if the client has more to say. */
static bool next_frame(struct eml_buf *out)
{
    while (!eml_half_has_frame(&now.client) && eml_cur_left(&now.script) != 0) {
        uint8_t op = eml_cur_u8(&now.script);
        if (op % 8 <= 1)
            send_request(op, op % 8 == 1);
        else
            eml_half_misbehave(&now.client, &now.script, op);
    }
    return eml_half_deliver(&now.client, &now.script, out);
}

static bool client_says(struct eml_buf *out)
{
    struct eml_bytes content;
    struct eml_buf *frame = &now.pair.hello;
    if (now.open)
        return next_frame(out);
    if (now.frames_asked++ == 0) {
        EML_ASSERT(eml_pair_step(&now.pair, 0) == EML_OK);
    } else {
        frame = &now.pair.open;
        if (eml_pair_step(&now.pair, 2) != EML_OK)
            return false;
    }
    EML_ASSERT(eml_pair_only_frame(frame, &content) == EML_OK);
    eml_buf_put(out, content);
    meddle(out);
    return true;
}

/* A message of the worker's is whole. */
static void hear_message(enum eml_msg_type type)
{
    struct eml_bytes in = eml_buf_bytes(&now.client.heard);
    if (type == EML_MSG_RESULT) {
        struct eml_result r;
        float z[EML_TINY_N];
        EML_ASSERT(now.durable);
        EML_ASSERT(eml_result_decode(in, &fixed.for_result, &r, NULL) == EML_OK);
        EML_ASSERT(r.n_outputs == 1);
        if (now.client.honest) {
            EML_ASSERT(r.outputs[0].tensor.bytes == sizeof z);
            memcpy(z, r.outputs[0].tensor.data, sizeof z);
            for (size_t i = 0; i < EML_TINY_N; i++)
                EML_ASSERT(z[i] == fixed.model.x[i] + fixed.model.w[i]);
        }
        (void)eml_arena_reset(&fixed.for_result, 0);
        now.durable = false;
        now.results++;
    } else if (type == EML_MSG_RECEIPT) {
        EML_ASSERT(now.durable && in.len != 0);
    } else if (type == EML_MSG_ERROR) {
        EML_ASSERT(in.len == 1 && in.ptr[0] > EML_OK && in.ptr[0] <= EML_E_SYSTEM);
    } else {
        EML_ASSERT(type == EML_MSG_END);
    }
    now.client.heard.len = 0;
}

enum eml_err __wrap_eml_net_send(int fd, struct eml_bytes bytes, int64_t deadline_ms)
{
    struct eml_cur c = eml_cur(bytes);
    (void)deadline_ms;
    if (fd != CLIENT)
        return EML_OK; /* TLS to the host */
    if (!now.open) {
        eml_buf_put(&now.pair.evidence, bytes);
        return EML_OK;
    }
    now.gone = now.gone || eml_cur_u8(&now.script) >= 252;
    if (now.gone) {
        now.client.honest = false;
        return EML_E_NET;
    }
    while (!eml_cur_done(&c)) {
        enum eml_msg_type type;
        struct eml_bytes record;
        EML_ASSERT(eml_pair_frame(&c, &record));
        if (eml_half_hear(&now.client, record, &type))
            hear_message(type);
    }
    return EML_OK;
}

/* --- the host --- */

enum eml_err __wrap_eml_net_send_frame(int fd, struct eml_bytes frame, int64_t deadline_ms)
{
    struct eml_host_request r;
    (void)deadline_ms;
    EML_ASSERT(fd != CLIENT && eml_host_request_decode(frame, &r) == EML_OK);
    now.asked = r.kind;
    return EML_OK;
}

static void host_says(struct eml_buf *out)
{
    const struct eml_host_credentials c = {EML_LIT("AKIDEXAMPLE"), EML_LIT("secret"),
                                           EML_LIT("TOKEN"), EML_LIT("us-east-1")};
    const struct eml_host_answer a = {.status = EML_HOST_OK};
    EML_ASSERT(now.asked == EML_HOST_CREDENTIALS || now.asked == EML_HOST_EGRESS);
    EML_ASSERT((now.asked == EML_HOST_EGRESS ? eml_host_answer_encode(&a, out)
                                             : eml_host_credentials_encode(&c, out)) == EML_OK);
    meddle(out);
}

enum eml_err __wrap_eml_net_recv_frame(int fd, size_t max, int64_t deadline_ms, struct eml_buf *out)
{
    (void)deadline_ms;
    out->len = 0;
    if (fd != CLIENT)
        host_says(out);
    else if (!client_says(out))
        return EML_E_NET;
    if (out->len <= max)
        return eml_buf_ok(out);
    out->len = 0;
    return EML_E_INPUT;
}

/* Of TLS's bytes: whatever the script says. */
enum eml_err __wrap_eml_net_recv_some(int fd, struct eml_room room, int64_t deadline_ms,
                                      size_t *got)
{
    struct eml_bytes b = eml_script_bytes(&now.script);
    (void)fd;
    (void)deadline_ms;
    EML_ASSERT(room.len >= b.len);
    if (b.len != 0)
        memcpy(room.ptr, b.ptr, b.len);
    *got = b.len;
    return EML_OK;
}

/* --- KMS --- */

static void kms_says(struct eml_buf *out)
{
    char head[64];
    struct eml_buf cms = {0}, body = {0};
    eml_buf_put(&cms, eml_buf_bytes(&fixed.cms));
    meddle(&cms);
    eml_buf_put(&body, EML_LIT("{\"CiphertextForRecipient\":\""));
    eml_base64_encode(eml_buf_bytes(&cms), &body);
    eml_buf_put(&body,
                EML_LIT("\",\"EncryptionAlgorithm\":\"SYMMETRIC_DEFAULT\",\"KeyId\":\"" ARN "\"}"));
    meddle(&body);
    (void)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", body.len);
    eml_buf_put(out, eml_bytes_of_str(head));
    eml_buf_put(out, eml_buf_bytes(&body));
    meddle(out);
    eml_buf_free(&cms);
    eml_buf_free(&body);
}

/* What TLS would have let through; or TLS itself, which lets nothing through. */
enum eml_err __wrap_eml_https_call(const struct eml_https_peer *peer, struct eml_bytes request,
                                   size_t body_max, struct eml_http1_response *out,
                                   struct eml_why *why)
{
    const struct eml_bytes post = EML_LIT("POST / HTTP/1.1\r\n");
    struct eml_buf said = {0};
    bool whole = false;
    EML_ASSERT(request.len > post.len && eml_bytes_equal(eml_bytes(request.ptr, post.len), post));
    if (eml_cur_u8(&now.script) == 255) {
        now.client.honest = false;
        enum eml_err e = __real_eml_https_call(peer, request, body_max, out, why);
        EML_ASSERT(e != EML_OK);
        return e;
    }
    kms_says(&said);
    enum eml_err e = eml_http1_response(eml_buf_bytes(&said), body_max, out, &whole, why);
    eml_buf_free(&said);
    return e == EML_OK && !whole ? EML_E_NET : e;
}

/* --- the broker --- */

static enum eml_err fill(struct eml_ipc_answer *a, struct eml_bytes body)
{
    a->len = body.len < a->body.len ? body.len : a->body.len;
    if (a->len != 0)
        memcpy(a->body.ptr, body.ptr, a->len);
    return EML_OK;
}

static enum eml_err give(struct eml_ipc_answer *a)
{
    a->fd = eml_fds_new();
    EML_ASSERT(a->wants_fd && a->fd >= 0);
    return EML_OK;
}

static enum eml_err document(const struct eml_ipc_request *r, struct eml_ipc_answer *a)
{
    uint8_t d[EML_IPC_NONCE + EML_IPC_USER_DATA];
    EML_ASSERT(!now.open);
    memcpy(d, r->nonce, sizeof r->nonce);
    memcpy(d + sizeof r->nonce, r->user_data, sizeof r->user_data);
    return fill(a, EML_BYTES(d));
}

static enum eml_err answer_well(const struct eml_ipc_request *r, struct eml_ipc_answer *a)
{
    static const uint8_t one[] = {1};
    uint8_t key_document[40] = {0};
    /* A model may go when its request was reported. */
    EML_ASSERT(now.runs || r->type == EML_IPC_ATTEST || r->type == EML_IPC_DESTROYED);
    switch (r->type) {
    case EML_IPC_ATTEST:
        return document(r, a);
    case EML_IPC_KMS_DOCUMENT:
        memcpy(key_document, fixed.key_id.b, sizeof fixed.key_id.b);
        return fill(a, EML_BYTES(key_document));
    case EML_IPC_KMS_UNWRAP:
        if (memcmp(r->block, fixed.block, sizeof fixed.block) != 0)
            return EML_E_AUTH;
        return fill(a, EML_BYTES(fixed.content_key.b));
    case EML_IPC_WEIGHTS:
        if (r->size != fixed.model.sealed.len)
            return EML_E_NET;
        EML_TRY(fill(a, EML_BYTES(fixed.model.digest)));
        return give(a);
    case EML_IPC_HOST_CONNECT:
        return give(a);
    case EML_IPC_REPORT:
        return fill(a, EML_BYTES(one));
    default:
        return EML_OK;
    }
}

enum eml_err __wrap_eml_ipc_ask(int sock, const struct eml_ipc_request *r)
{
    struct eml_buf message = {0};
    struct eml_ipc_request again;
    EML_ASSERT(now.question.type == 0);
    EML_ASSERT(sock == BROKER && eml_ipc_encode(r, &message) == EML_OK);
    EML_ASSERT(eml_ipc_decode(eml_buf_bytes(&message), &again) == EML_OK);
    eml_buf_free(&message);
    EML_ASSERT(r->type != EML_IPC_BEGIN || !now.runs);
    now.runs = now.runs || r->type == EML_IPC_BEGIN;
    if (r->type != EML_IPC_BEGIN) /* which has no answer */
        now.question = *r;
    return EML_OK;
}

enum eml_err __wrap_eml_ipc_await(int sock, int64_t deadline_ms, struct eml_ipc_answer *a)
{
    const struct eml_ipc_request asked = now.question, *r = &asked;
    (void)deadline_ms;
    EML_ASSERT(sock == BROKER && r->type != 0);
    now.question = (struct eml_ipc_request){0};
    a->len = 0;
    a->fd = -1;
    uint8_t how = eml_cur_u8(&now.script);
    enum eml_err e = EML_OK;
    if (how < 224) {
        e = answer_well(r, a);
    } else {
        now.client.honest = false;
        if (how >= 240 && !a->wants_fd)
            e = fill(a, eml_script_bytes(&now.script));
        if (a->len == 0) /* a report's answer is never empty, if it is good */
            e = (enum eml_err)(1 + how % EML_E_SYSTEM);
    }
    if (r->type == EML_IPC_REPORT) {
        EML_ASSERT(now.runs);
        now.runs = false;
        now.durable = e == EML_OK && r->err == EML_OK;
    }
    return e;
}

enum eml_err __wrap_eml_ipc_call(int sock, const struct eml_ipc_request *r, int64_t deadline_ms,
                                 struct eml_ipc_answer *a)
{
    EML_TRY(__wrap_eml_ipc_ask(sock, r));
    return __wrap_eml_ipc_await(sock, deadline_ms, a);
}

/* --- what is made once --- */

static void make_kms(void)
{
    struct eml_rsa *rsa;
    struct eml_cms parsed;
    size_t n;
    uint8_t key[EML_IPC_BLOCK];
    EML_ASSERT(eml_rsa_generate(&rsa) == EML_OK && eml_rsa_spki(rsa, &fixed.spki) == EML_OK);
    struct eml_bytes spki = eml_buf_bytes(&fixed.spki);
    EML_ASSERT(eml_sha256(&spki, 1, &fixed.key_id) == EML_OK);
    memset(fixed.data_key.b, 7, sizeof fixed.data_key.b);
    EML_ASSERT(eml_cms_seal(spki, EML_BYTES(fixed.data_key.b), &fixed.cms) == EML_OK);
    EML_ASSERT(eml_cms_parse(eml_buf_bytes(&fixed.cms), &parsed, NULL) == EML_OK);
    memcpy(fixed.block, parsed.encrypted_key.ptr, sizeof fixed.block);
    EML_ASSERT(eml_rsa_oaep_decrypt(rsa, EML_BYTES(fixed.block), EML_ROOM(key), &n) == EML_OK &&
               n == sizeof fixed.content_key.b);
    memcpy(fixed.content_key.b, key, n);
    eml_cms_free(&parsed);
    eml_rsa_free(rsa);
    eml_buf_put(&fixed.ca, EML_LIT("no certificate"));
}

static void make_fixed(void)
{
    eml_crypto_init();
    EML_ASSERT(eml_arena_create(&fixed.arena, ARENA) == EML_OK);
    EML_ASSERT(eml_arena_create(&fixed.for_result, 1 << 16) == EML_OK);
    eml_tiny_model_make(&fixed.model);
    make_kms();
    eml_opened_make();
    fixed.made = true;
}

static bool begin(uint8_t mode)
{
    struct eml_worker *w = &now.w;
    w->arena = fixed.arena;
    EML_ASSERT(eml_pool_create(1, &w->pool) == EML_OK);
    if ((mode & 2) == 0)
        w->kms_ca = fixed.ca;
    else
        now.client.honest = false;
    if ((mode & 1) != 0) {
        enum eml_err e = eml_worker_handshake(w);
        now.client.channel = now.pair.client;
        now.pair.client = NULL;
        return e == EML_OK;
    }
    w->channel = eml_opened_again(eml_opened.server);
    now.client.channel = eml_opened_again(eml_opened.client);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct eml_options options = {.kms_endpoint = "kms.us-east-1.amazonaws.com",
                                               .threads = 1,
                                               .session_s = 600,
                                               .request_s = 120,
                                               .idle_s = 60,
                                               .memory_bytes = ARENA,
                                               .flops = 1 << 20};
    if (!fixed.made)
        make_fixed();
    memset(&now, 0, sizeof now);
    memset(&eml_fds, 0, sizeof eml_fds);
    now.script = eml_cur(eml_bytes(data, size));
    eml_opened.random = 0;
    now.client.honest = true;
    now.client.says = EML_MSG_REQUEST;
    now.w = (struct eml_worker){
        .options = &options, .client = CLIENT, .broker = BROKER, .session_end_ms = INT64_MAX};
    if (begin(eml_cur_u8(&now.script))) {
        now.open = true;
        (void)!eml_worker_requests(&now.w);
        EML_ASSERT(!now.client.honest || now.results == now.sent);
    }
    eml_worker_forget(&now.w);
    EML_ASSERT(now.w.sealed.ptr == NULL && now.w.channel == NULL && now.w.arena.base == NULL &&
               eml_fds_all_closed());
    eml_buf_free(&now.w.frame);
    eml_buf_free(&now.w.out);
    eml_half_free(&now.client);
    eml_pair_free(&now.pair);
    return 0;
}
