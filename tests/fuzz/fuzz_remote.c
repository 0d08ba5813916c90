// link: remote
// wrap: eml_net_connect eml_net_close eml_net_recv_frame eml_net_send eml_net_send_frame
// wrap: eml_attest_verify eml_receipt_verify eml_air_accept eml_random
// wrap: aligned_alloc free eml_x25519 eml_x25519_public EVP_sha256 EVP_MAC_fetch
// wrap: EVP_aes_256_gcm
/* A session as the client lives it: the input is a script of what the host answers and of what an
 * enclave says that holds the session's keys. The linker puts the functions here in the place of
 * the sockets; half of a real channel plays the enclave. A stand-in for a document shows nonce and
 * user data, a stand-in for a receipt is right if it says so; both real verifiers have targets of
 * their own.
 *
 * Whatever comes: the enclave's half can open all that was sent, the request is the one that was
 * asked for, nothing is sent to whom the verifier refused, and a result is given only if it is what
 * the enclave sealed as one, with a receipt that was found right; else nothing of it comes out. */
#include "testsupport/fetched.h"
#include "testsupport/half_channel.h"

#include "hostproto/hostproto.h"
#include "net/net.h"
#include "remote/infer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N = 4, HOST = 1000 };

static struct {
    bool made;
    float x[N], z[N];
    struct eml_policy policy;
    struct eml_arena arena;
    struct eml_buf receipt;
} fixed;

static struct {
    struct eml_cur script;
    struct eml_half server;
    bool relayed, verified, open, connected;
    bool right;              /* a receipt was found so */
    bool accepted;           /* and of this result */
    struct eml_buf evidence; /* to be delivered */
    unsigned requests;       /* that the enclave has got whole */
    struct eml_buf result;   /* what it sealed as a result last */
} now;

enum eml_err __wrap_eml_net_connect(const char *address, int64_t deadline_ms, int *fd,
                                    struct eml_why *why);
void __wrap_eml_net_close(int *fd);
enum eml_err __wrap_eml_net_send(int fd, struct eml_bytes bytes, int64_t deadline_ms);
enum eml_err __wrap_eml_net_send_frame(int fd, struct eml_bytes frame, int64_t deadline_ms);
enum eml_err __wrap_eml_net_recv_frame(int fd, size_t max, int64_t deadline_ms,
                                       struct eml_buf *out);
enum eml_err __wrap_eml_attest_verify(struct eml_bytes document, const struct eml_policy *policy,
                                      const struct eml_attest_expect *expect,
                                      struct eml_attested *out, struct eml_attest_report *report,
                                      struct eml_why *why);
enum eml_err __wrap_eml_receipt_verify(const struct eml_receipt *r,
                                       const struct eml_receipt_expect *expect,
                                       struct eml_receipt_verified *out,
                                       struct eml_receipt_report *report, struct eml_why *why);
enum eml_err __wrap_eml_air_accept(const struct eml_air *a, const struct eml_air_policy *p,
                                   struct eml_why *why);

static void meddle(struct eml_buf *b)
{
    if (eml_script_meddle(&now.script, b))
        now.server.honest = false;
}

/* --- the verifiers --- */

enum eml_err __wrap_eml_attest_verify(struct eml_bytes document, const struct eml_policy *policy,
                                      const struct eml_attest_expect *expect,
                                      struct eml_attested *out, struct eml_attest_report *report,
                                      struct eml_why *why)
{
    struct eml_cur c = eml_cur(document);
    struct eml_bytes nonce = eml_cur_take(&c, EML_CHANNEL_NONCE_BYTES);
    struct eml_bytes user_data = eml_cur_take(&c, EML_CHANNEL_USER_DATA_BYTES);
    *out = (struct eml_attested){0};
    *report = (struct eml_attest_report){0};
    EML_ASSERT(policy == &fixed.policy && expect->nonce.len == EML_CHANNEL_NONCE_BYTES);
    EML_ASSERT(expect->user_data_bytes == EML_CHANNEL_USER_DATA_BYTES);
    if (!eml_cur_done(&c) || !eml_bytes_equal(nonce, expect->nonce) ||
        !eml_bytes_equal(eml_bytes(user_data.ptr, expect->user_data_prefix.len),
                         expect->user_data_prefix))
        return eml_fail(why, EML_E_AUTH, "not this session's", -1);
    out->user_data = user_data;
    now.verified = true;
    return EML_OK;
}

enum eml_err __wrap_eml_receipt_verify(const struct eml_receipt *r,
                                       const struct eml_receipt_expect *expect,
                                       struct eml_receipt_verified *out,
                                       struct eml_receipt_report *report, struct eml_why *why)
{
    (void)report;
    *out = (struct eml_receipt_verified){.index = 0};
    EML_ASSERT(expect->policy == &fixed.policy && expect->request_hash != NULL &&
               expect->response_hash == NULL && expect->model_hash != NULL);
    if (!eml_bytes_equal(r->statement, EML_LIT("right")))
        return eml_fail(why, EML_E_AUTH, "not right", -1);
    now.right = true;
    return EML_OK;
}

/* That it is of this result is asked last. */
enum eml_err __wrap_eml_air_accept(const struct eml_air *a, const struct eml_air_policy *p,
                                   struct eml_why *why)
{
    (void)a;
    (void)why;
    EML_ASSERT(now.right && p->response_hash != NULL);
    now.accepted = true;
    return EML_OK;
}

/* --- the enclave --- */

static void send_result(bool altered)
{
    static const uint8_t salt[EML_SALT_BYTES] = {2};
    struct eml_named_tensor z = {EML_LIT("z"), {EML_DT_F32, {1, {N}}, fixed.z, sizeof fixed.z}};
    const struct eml_result r = {
        .n_outputs = 1, .outputs = &z, .kernels = EML_LIT("ref"), .salt = EML_BYTES(salt)};
    struct eml_buf receipt = {0};
    eml_buf_put(&receipt, eml_buf_bytes(&fixed.receipt));
    if (altered)
        meddle(&receipt);
    eml_half_seal(&now.server, EML_MSG_RECEIPT, eml_buf_bytes(&receipt));
    eml_buf_free(&receipt);
    now.result.len = 0;
    EML_ASSERT(eml_result_encode(&r, (struct eml_part_sink){eml_part_to_buf, &now.result}) ==
               EML_OK);
    if (altered)
        meddle(&now.result);
    eml_half_seal(&now.server, EML_MSG_RESULT, eml_buf_bytes(&now.result));
}

/* Says something, true to its part only where the script has run out or says so. */
static void act(void)
{
    uint8_t op = eml_cur_u8(&now.script);
    if (op % 8 <= 1) {
        send_result(op % 8 == 1);
    } else {
        eml_half_misbehave(&now.server, &now.script, op);
        now.result.len = 0;
    }
}

/* The next frame on its way through the host; false: the stream has ended. */
static bool next_frame(struct eml_buf *out)
{
    if (!eml_half_has_frame(&now.server) && now.server.honest && now.requests == 1)
        act();
    while (!eml_half_has_frame(&now.server) && eml_cur_left(&now.script) != 0)
        act();
    return eml_half_deliver(&now.server, &now.script, out);
}

/* --- the host --- */

enum eml_err __wrap_eml_net_connect(const char *address, int64_t deadline_ms, int *fd,
                                    struct eml_why *why)
{
    (void)address;
    (void)deadline_ms;
    (void)why;
    *fd = HOST;
    now.connected = true;
    return EML_OK;
}

void __wrap_eml_net_close(int *fd)
{
    *fd = -1;
    now.connected = false;
}

enum eml_err __wrap_eml_net_send_frame(int fd, struct eml_bytes frame, int64_t deadline_ms)
{
    struct eml_host_request r;
    (void)deadline_ms;
    EML_ASSERT(fd == HOST && eml_host_request_decode(frame, &r) == EML_OK);
    EML_ASSERT(r.kind == EML_HOST_RELAY || r.kind == EML_HOST_PUT);
    return EML_OK;
}

static void take_hello(struct eml_bytes frame)
{
    struct eml_buf document = {0};
    EML_ASSERT(eml_channel_server_hello(&now.server.channel, frame, NULL) == EML_OK);
    EML_ASSERT(eml_pair_document(now.server.channel, &document) == EML_OK);
    EML_ASSERT(eml_channel_server_evidence(now.server.channel, eml_buf_bytes(&document),
                                           &now.evidence) == EML_OK);
    eml_buf_free(&document);
}

static void take_record(struct eml_bytes record)
{
    enum eml_msg_type type;
    struct eml_request r;
    if (!eml_half_hear(&now.server, record, &type))
        return;
    if (type == EML_MSG_REQUEST) {
        EML_ASSERT(eml_request_decode(eml_buf_bytes(&now.server.heard), &fixed.arena, &r, NULL) ==
                   EML_OK);
        EML_ASSERT(r.n_inputs == 1 && r.inputs[0].tensor.bytes == sizeof fixed.x &&
                   memcmp(r.inputs[0].tensor.data, fixed.x, sizeof fixed.x) == 0);
        now.requests++;
    } else {
        EML_ASSERT(type == EML_MSG_END);
    }
    now.server.heard.len = 0;
}

enum eml_err __wrap_eml_net_send(int fd, struct eml_bytes bytes, int64_t deadline_ms)
{
    struct eml_cur c = eml_cur(bytes);
    struct eml_bytes frame;
    (void)deadline_ms;
    EML_ASSERT(fd == HOST);
    if (!now.relayed)
        return EML_OK; /* an object that is pushed */
    while (!eml_cur_done(&c)) {
        EML_ASSERT(eml_pair_frame(&c, &frame));
        if (now.server.channel == NULL) {
            take_hello(frame);
        } else if (!now.open) {
            EML_ASSERT(now.verified);
            enum eml_err e = eml_channel_server_open(now.server.channel, frame, NULL);
            EML_ASSERT(e == EML_OK || !now.server.honest);
            now.open = true;
        } else {
            take_record(frame);
        }
    }
    return EML_OK;
}

enum eml_err __wrap_eml_net_recv_frame(int fd, size_t max, int64_t deadline_ms, struct eml_buf *out)
{
    const struct eml_host_answer a = {.status = EML_HOST_OK};
    (void)deadline_ms;
    EML_ASSERT(fd == HOST && now.connected);
    out->len = 0;
    if (now.open) {
        if (!next_frame(out))
            return EML_E_NET;
    } else if (now.evidence.len != 0) {
        eml_buf_put(out, eml_bytes(now.evidence.ptr + EML_FRAME_HEADER_BYTES,
                                   now.evidence.len - EML_FRAME_HEADER_BYTES));
        meddle(out);
    } else {
        EML_ASSERT(eml_host_answer_encode(&a, out) == EML_OK);
        meddle(out);
        if (eml_cur_u8(&now.script) == 255) {
            now.server.honest = false;
            return EML_E_NET;
        }
    }
    if (out->len <= max)
        return eml_buf_ok(out);
    out->len = 0;
    return EML_E_INPUT;
}

/* --- the client --- */

/* The result must be the one that was sealed, or nothing. */
static void check(enum eml_err e, const struct eml_result *out,
                  const struct eml_remote_receipt *receipt)
{
    struct eml_result want;
    if (e != EML_OK) {
        EML_ASSERT(!now.server.honest && out->n_outputs == 0 && out->outputs == NULL);
        EML_ASSERT(receipt->file.len == 0);
        return;
    }
    EML_ASSERT(now.right && now.accepted && receipt->file.len != 0);
    if (now.result.len == 0)
        return; /* made by hand, byte by byte */
    EML_ASSERT(eml_result_decode(eml_buf_bytes(&now.result), &fixed.arena, &want, NULL) == EML_OK);
    EML_ASSERT(want.n_outputs == out->n_outputs);
    for (size_t i = 0; i < want.n_outputs; i++)
        EML_ASSERT(want.outputs[i].tensor.bytes == out->outputs[i].tensor.bytes &&
                   memcmp(want.outputs[i].tensor.data, out->outputs[i].tensor.data,
                          want.outputs[i].tensor.bytes) == 0);
}

static void infer(struct eml_remote *r)
{
    static const struct eml_kms_config no_kms = {.key_arn = NULL};
    struct eml_named_tensor x = {EML_LIT("x"), {EML_DT_F32, {1, {N}}, fixed.x, sizeof fixed.x}};
    struct eml_request request = {
        .mode = EML_MODE_SESSION, .topology = EML_LIT("the key"), .n_inputs = 1, .inputs = &x};
    for (int i = 0; i < 3; i++) {
        struct eml_result out;
        struct eml_remote_receipt receipt;
        struct eml_why why = {0};
        now.right = now.accepted = false;
        enum eml_err e =
            eml_remote_infer(r, &request, &no_kms, 1767323045, &fixed.arena, &out, &receipt, &why);
        check(e, &out, &receipt);
        EML_ASSERT(e == EML_OK || why.rule != NULL);
        eml_remote_receipt_free(&receipt);
        if (e != EML_OK || eml_cur_left(&now.script) == 0)
            break;
        request.topology = (struct eml_bytes){0};
    }
}

static bool begin(struct eml_remote *r, uint8_t mode)
{
    struct eml_why why = {0};
    now.relayed = true;
    if ((mode & 1) == 0) { /* as if all had gone well so far */
        *r = (struct eml_remote){
            .fd = HOST, .channel = eml_opened_again(eml_opened.client), .policy = &fixed.policy};
        r->deadline_ms = INT64_MAX;
        r->document = EML_LIT("document");
        now.server.channel = eml_opened_again(eml_opened.server);
        now.open = now.verified = now.connected = true;
        return true;
    }
    enum eml_err e =
        eml_remote_attest(r, "tcp:host:1", &fixed.policy, 1767323045000, NULL, INT64_MAX, &why);
    EML_ASSERT(e == EML_OK ? now.verified : !now.server.honest && why.rule != NULL && r->fd == -1);
    return e == EML_OK && eml_remote_open(r, &why) == EML_OK;
}

static void make_fixed(void)
{
    const struct eml_receipt receipt = {.air = EML_LIT("air"),
                                        .statement = EML_LIT("right"),
                                        .record = EML_LIT("record"),
                                        .proof = EML_LIT("proof")};
    eml_crypto_init();
    EML_ASSERT(eml_arena_create(&fixed.arena, 1 << 20) == EML_OK);
    eml_opened_make();
    for (int i = 0; i < N; i++) {
        fixed.x[i] = (float)i;
        fixed.z[i] = (float)(3 * i);
    }
    EML_ASSERT(eml_receipt_encode(&receipt, &fixed.receipt) == EML_OK);
    fixed.made = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t id[32] = {4};
    struct eml_remote r = {.fd = -1};
    struct eml_why why;
    if (!fixed.made)
        make_fixed();
    memset(&now, 0, sizeof now);
    now.script = eml_cur(eml_bytes(data, size));
    eml_opened.random = 0;
    now.server.honest = true;
    now.server.says = EML_MSG_RESULT;
    uint8_t mode = eml_cur_u8(&now.script);
    if (mode % 4 == 3) {
        enum eml_err e = eml_remote_push("tcp:host:1", id, EML_LIT("sealed"), INT64_MAX, &why);
        EML_ASSERT(e == EML_OK || eml_cur_left(&now.script) != size);
        EML_ASSERT(!now.connected);
        return 0;
    }
    if (begin(&r, mode))
        infer(&r);
    eml_remote_close(&r);
    EML_ASSERT(r.channel == NULL && r.fd == -1 && !now.connected);
    (void)eml_arena_reset(&fixed.arena, 0);
    eml_half_free(&now.server);
    eml_buf_free(&now.evidence);
    eml_buf_free(&now.result);
    return 0;
}
