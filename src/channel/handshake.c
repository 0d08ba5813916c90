#include "channel/channel.h"

#include "base/wipe.h"
#include "channel/hpke.h"
#include "channel/state.h"
#include "wire/cbor.h"

#include <stdlib.h>
#include <string.h>

#define ROLE_BYTES_MAX 16u

/* next_state[now][event]; 0 (EML_CHANNEL_FAILED) where the event may not happen. */
static const uint8_t next_state[EML_CHANNEL_STATE_N][EML_CHANNEL_EVENT_N] = {
    [EML_CHANNEL_NEW_CLIENT] = {[EML_CHANNEL_ON_HELLO] = EML_CHANNEL_HELLO_SENT},
    [EML_CHANNEL_HELLO_SENT] = {[EML_CHANNEL_ON_EVIDENCE] = EML_CHANNEL_EVIDENCE_TAKEN},
    [EML_CHANNEL_EVIDENCE_TAKEN] = {[EML_CHANNEL_ON_OPEN] = EML_CHANNEL_OPEN},
    [EML_CHANNEL_NEW_SERVER] = {[EML_CHANNEL_ON_HELLO] = EML_CHANNEL_HELLO_TAKEN},
    [EML_CHANNEL_HELLO_TAKEN] = {[EML_CHANNEL_ON_EVIDENCE] = EML_CHANNEL_EVIDENCE_SENT},
    [EML_CHANNEL_EVIDENCE_SENT] = {[EML_CHANNEL_ON_OPEN] = EML_CHANNEL_OPEN},
};

/* Both sides' tables lie in one, so a call must also name the state that it belongs to. */
static bool may(const struct eml_channel *ch, enum eml_channel_state from,
                enum eml_channel_event event)
{
    return ch->state == from && next_state[ch->state][event] != EML_CHANNEL_FAILED;
}

static void step(struct eml_channel *ch, enum eml_channel_event event)
{
    ch->state = (enum eml_channel_state)next_state[ch->state][event];
}

enum eml_err eml_channel_break(struct eml_channel *ch, enum eml_err e, struct eml_why *why,
                               const char *rule)
{
    eml_wipe(&ch->session_sk, sizeof ch->session_sk);
    eml_wipe(&ch->send, sizeof ch->send);
    eml_wipe(&ch->recv, sizeof ch->recv);
    ch->state = EML_CHANNEL_FAILED;
    return eml_fail(why, e, rule, -1);
}

static enum eml_err digest(struct eml_bytes message, struct eml_sha256 *out)
{
    return eml_sha256(&message, 1, out);
}

static void put_frame(struct eml_buf *out, struct eml_bytes content)
{
    uint8_t length[EML_FRAME_HEADER_BYTES];
    eml_store_u32(length, (uint32_t)content.len);
    eml_buf_put(out, EML_BYTES(length));
    eml_buf_put(out, content);
}

static bool is_named(struct eml_cur *c, size_t items, struct eml_bytes name)
{
    size_t n = eml_cbor_array(c, items);
    struct eml_bytes got = eml_cbor_text(c, ROLE_BYTES_MAX);
    return eml_cur_ok(c) && n == items && eml_bytes_equal(got, name);
}

/* --- hello = ["hello", version, suite, nonce] --- */

static void put_hello(struct eml_buf *b, const uint8_t nonce[EML_CHANNEL_NONCE_BYTES])
{
    eml_cbor_put_array(b, 4);
    eml_cbor_put_text(b, EML_LIT("hello"));
    eml_cbor_put_uint(b, EML_CHANNEL_VERSION);
    eml_cbor_put_uint(b, EML_CHANNEL_SUITE);
    eml_cbor_put_bytes(b, eml_bytes(nonce, EML_CHANNEL_NONCE_BYTES));
}

static enum eml_err get_hello(struct eml_bytes hello, uint8_t nonce[EML_CHANNEL_NONCE_BYTES],
                              struct eml_why *why)
{
    struct eml_cur c = eml_cur(hello);
    if (hello.len > EML_HELLO_BYTES_MAX)
        return eml_fail(why, EML_E_INPUT, "hello: longer than 256 bytes", -1);
    if (!is_named(&c, 4, EML_LIT("hello")))
        return eml_fail(why, EML_E_INPUT, "hello: not an array of four that begins \"hello\"", -1);
    uint64_t version = eml_cbor_uint(&c);
    if (eml_cur_ok(&c) && version != EML_CHANNEL_VERSION)
        return eml_fail(why, EML_E_UNSUPPORTED, "hello: version is not 1", -1);
    uint64_t suite = eml_cbor_uint(&c);
    if (eml_cur_ok(&c) && suite != EML_CHANNEL_SUITE)
        return eml_fail(why, EML_E_UNSUPPORTED, "hello: suite is not 0x0020", -1);
    struct eml_bytes n = eml_cbor_bytes(&c, EML_CHANNEL_NONCE_BYTES);
    if (!eml_cur_done(&c) || n.len != EML_CHANNEL_NONCE_BYTES)
        return eml_fail(why, EML_E_INPUT, "hello: nonce is not 32 bytes at the end", -1);
    memcpy(nonce, n.ptr, EML_CHANNEL_NONCE_BYTES);
    return EML_OK;
}

/* What follows from the hello message on both sides: its digest, with which user_data begins. */
static enum eml_err bind_hello(struct eml_channel *ch, struct eml_bytes hello)
{
    EML_TRY(digest(hello, &ch->hello));
    memcpy(ch->user_data, "eml/1", 5);
    memcpy(ch->user_data + 5, ch->hello.b, sizeof ch->hello.b);
    return EML_OK;
}

static struct eml_channel *new_channel(enum eml_channel_state state)
{
    struct eml_channel *ch = aligned_alloc(_Alignof(struct eml_channel), sizeof *ch);
    if (ch != NULL) {
        memset(ch, 0, sizeof *ch);
        ch->state = state;
    }
    return ch;
}

enum eml_err eml_channel_client_hello(struct eml_channel **out_ch, struct eml_buf *out)
{
    struct eml_buf hello = {0};
    enum eml_err e = EML_E_SYSTEM;
    *out_ch = NULL;
    struct eml_channel *ch = new_channel(EML_CHANNEL_NEW_CLIENT);
    if (ch == NULL)
        goto out;
    e = eml_random(EML_ROOM(ch->nonce));
    if (e != EML_OK)
        goto out;
    put_hello(&hello, ch->nonce);
    e = eml_buf_ok(&hello);
    if (e == EML_OK)
        e = bind_hello(ch, eml_buf_bytes(&hello));
    if (e != EML_OK)
        goto out;
    put_frame(out, eml_buf_bytes(&hello));
    e = eml_buf_ok(out);
    if (e != EML_OK)
        goto out;
    step(ch, EML_CHANNEL_ON_HELLO);
    *out_ch = ch;
    ch = NULL;
out:
    eml_channel_free(ch);
    eml_buf_free(&hello);
    return e;
}

enum eml_err eml_channel_server_hello(struct eml_channel **out_ch, struct eml_bytes hello,
                                      struct eml_why *why)
{
    enum eml_err e = eml_fail(why, EML_E_SYSTEM, "channel: no memory or no random bytes", -1);
    struct eml_x25519_pk session_pk;
    *out_ch = NULL;
    struct eml_channel *ch = new_channel(EML_CHANNEL_NEW_SERVER);
    if (ch == NULL)
        goto out;
    e = get_hello(hello, ch->nonce, why);
    if (e == EML_OK)
        e = bind_hello(ch, hello);
    if (e == EML_OK)
        e = eml_random(EML_ROOM(ch->session_sk.b));
    if (e == EML_OK)
        e = eml_x25519_public(&ch->session_sk, &session_pk);
    if (e != EML_OK)
        goto out;
    memcpy(ch->user_data + EML_CHANNEL_PREFIX_BYTES, session_pk.b, sizeof session_pk.b);
    step(ch, EML_CHANNEL_ON_HELLO);
    *out_ch = ch;
    ch = NULL;
out:
    eml_channel_free(ch);
    return e;
}

/* --- evidence = ["evidence", document] --- */

/* A hello can be replayed by anyone who saw it; the evidence carries a key made for one session. */
static enum eml_err bind_evidence(struct eml_channel *ch, struct eml_bytes evidence)
{
    EML_TRY(digest(evidence, &ch->evidence));
    const struct eml_bytes parts[] = {EML_LIT("eml/1 session"), EML_BYTES(ch->hello.b),
                                      EML_BYTES(ch->evidence.b)};
    return eml_sha256(parts, 3, &ch->session_id);
}

enum eml_err eml_channel_server_evidence(struct eml_channel *ch, struct eml_bytes document,
                                         struct eml_buf *out)
{
    struct eml_buf evidence = {.max = EML_EVIDENCE_BYTES_MAX};
    if (!may(ch, EML_CHANNEL_HELLO_TAKEN, EML_CHANNEL_ON_EVIDENCE))
        return eml_channel_break(ch, EML_E_USAGE, NULL, "");
    eml_cbor_put_array(&evidence, 2);
    eml_cbor_put_text(&evidence, EML_LIT("evidence"));
    eml_cbor_put_bytes(&evidence, document);
    enum eml_err e = document.len != 0 ? eml_buf_ok(&evidence) : EML_E_USAGE;
    if (e == EML_OK)
        e = bind_evidence(ch, eml_buf_bytes(&evidence));
    if (e == EML_OK) {
        put_frame(out, eml_buf_bytes(&evidence));
        e = eml_buf_ok(out);
    }
    eml_buf_free(&evidence);
    if (e != EML_OK)
        return eml_channel_break(ch, e, NULL, "");
    step(ch, EML_CHANNEL_ON_EVIDENCE);
    return EML_OK;
}

static enum eml_err get_evidence(struct eml_bytes evidence, struct eml_bytes *document,
                                 struct eml_why *why)
{
    struct eml_cur c = eml_cur(evidence);
    if (evidence.len > EML_EVIDENCE_BYTES_MAX)
        return eml_fail(why, EML_E_INPUT, "evidence: longer than 32768 bytes", -1);
    if (!is_named(&c, 2, EML_LIT("evidence")))
        return eml_fail(why, EML_E_INPUT, "evidence: not an array of two that begins \"evidence\"",
                        -1);
    struct eml_bytes d = eml_cbor_bytes(&c, EML_EVIDENCE_BYTES_MAX);
    if (!eml_cur_done(&c) || d.len == 0)
        return eml_fail(why, EML_E_INPUT, "evidence: no document at the end", -1);
    *document = d;
    return EML_OK;
}

enum eml_err eml_channel_client_evidence(struct eml_channel *ch, struct eml_bytes evidence,
                                         struct eml_bytes *document, struct eml_why *why)
{
    struct eml_bytes d = {0};
    *document = d;
    if (!may(ch, EML_CHANNEL_HELLO_SENT, EML_CHANNEL_ON_EVIDENCE))
        return eml_channel_break(ch, EML_E_USAGE, why, "evidence: not expected now");
    struct eml_why inner = {"evidence: no memory", -1};
    enum eml_err e = get_evidence(evidence, &d, &inner);
    if (e == EML_OK)
        e = bind_evidence(ch, evidence);
    if (e != EML_OK)
        return eml_channel_break(ch, e, why, inner.rule);
    step(ch, EML_CHANNEL_ON_EVIDENCE);
    *document = d;
    return EML_OK;
}

/* --- open = ["open", enc, confirm]; confirm = HPKE Seal of nothing: the client has the keys --- */

#define INFO_BYTES (13u + 32u + 32u)

static void channel_info(const struct eml_channel *ch, uint8_t info[INFO_BYTES])
{
    memcpy(info, "eml/1 channel", 13);
    memcpy(info + 13, ch->hello.b, 32);
    memcpy(info + 45, ch->evidence.b, 32);
}

static enum eml_err export_direction(const struct eml_hpke *ctx, struct eml_bytes key_label,
                                     struct eml_bytes iv_label, struct eml_direction *d)
{
    struct eml_aead_key key;
    enum eml_err e = eml_hpke_export(ctx, key_label, EML_ROOM(key.b));
    if (e == EML_OK)
        e = eml_bulk_init(&d->key, EML_CIPHER_AES_256_GCM, &key);
    eml_wipe(&key, sizeof key);
    EML_TRY(e);
    EML_TRY(eml_hpke_export(ctx, iv_label, EML_ROOM(d->iv.b)));
    d->state = EML_RECORD_BETWEEN;
    return EML_OK;
}

static enum eml_err export_keys(const struct eml_hpke *ctx, struct eml_direction *c2e,
                                struct eml_direction *e2c)
{
    EML_TRY(export_direction(ctx, EML_LIT("eml/1 c2e key"), EML_LIT("eml/1 c2e iv"), c2e));
    return export_direction(ctx, EML_LIT("eml/1 e2c key"), EML_LIT("eml/1 e2c iv"), e2c);
}

static enum eml_err session_key(const struct eml_channel *ch, struct eml_bytes user_data,
                                struct eml_x25519_pk *key)
{
    struct eml_cur c = eml_cur(user_data);
    struct eml_bytes prefix = eml_cur_take(&c, EML_CHANNEL_PREFIX_BYTES);
    struct eml_bytes pk = eml_cur_take(&c, sizeof key->b);
    if (!eml_cur_done(&c) || !eml_ct_equal(prefix, eml_channel_user_data_prefix(ch)))
        return EML_E_AUTH;
    memcpy(key->b, pk.ptr, sizeof key->b);
    return EML_OK;
}

enum eml_err eml_channel_client_open(struct eml_channel *ch, struct eml_bytes attested_user_data,
                                     struct eml_buf *out)
{
    struct eml_hpke ctx = {0};
    struct eml_x25519_pk key;
    struct eml_hpke_enc enc;
    struct eml_buf open = {0};
    uint8_t info[INFO_BYTES], confirm[EML_HPKE_TAG_BYTES];
    enum eml_err e = EML_E_USAGE;
    if (!may(ch, EML_CHANNEL_EVIDENCE_TAKEN, EML_CHANNEL_ON_OPEN))
        goto out;
    e = session_key(ch, attested_user_data, &key);
    if (e != EML_OK)
        goto out;
    channel_info(ch, info);
    e = eml_hpke_setup_base_s(&key, EML_BYTES(info), &enc, &ctx);
    if (e == EML_OK)
        e = eml_hpke_seal(&ctx, EML_LIT("eml/1 open"), eml_bytes(confirm, 0), EML_ROOM(confirm));
    if (e == EML_OK)
        e = export_keys(&ctx, &ch->send, &ch->recv);
    if (e != EML_OK)
        goto out;
    eml_cbor_put_array(&open, 3);
    eml_cbor_put_text(&open, EML_LIT("open"));
    eml_cbor_put_bytes(&open, EML_BYTES(enc.b));
    eml_cbor_put_bytes(&open, EML_BYTES(confirm));
    e = eml_buf_ok(&open);
    if (e != EML_OK)
        goto out;
    put_frame(out, eml_buf_bytes(&open));
    e = eml_buf_ok(out);
out:
    eml_hpke_wipe(&ctx);
    eml_buf_free(&open);
    if (e != EML_OK)
        return eml_channel_break(ch, e, NULL, "");
    step(ch, EML_CHANNEL_ON_OPEN);
    return EML_OK;
}

static enum eml_err get_open(struct eml_bytes open, struct eml_hpke_enc *enc,
                             uint8_t confirm[EML_HPKE_TAG_BYTES], struct eml_why *why)
{
    struct eml_cur c = eml_cur(open);
    if (!is_named(&c, 3, EML_LIT("open")))
        return eml_fail(why, EML_E_INPUT, "open: not an array of three that begins \"open\"", -1);
    struct eml_bytes key = eml_cbor_bytes(&c, sizeof enc->b);
    struct eml_bytes tag = eml_cbor_bytes(&c, EML_HPKE_TAG_BYTES);
    if (!eml_cur_done(&c) || key.len != sizeof enc->b || tag.len != EML_HPKE_TAG_BYTES)
        return eml_fail(why, EML_E_INPUT, "open: key is not 32 bytes or tag not 16 at the end", -1);
    memcpy(enc->b, key.ptr, sizeof enc->b);
    memcpy(confirm, tag.ptr, EML_HPKE_TAG_BYTES);
    return EML_OK;
}

enum eml_err eml_channel_server_open(struct eml_channel *ch, struct eml_bytes open,
                                     struct eml_why *why)
{
    struct eml_hpke ctx = {0};
    struct eml_hpke_enc enc;
    struct eml_why inner = {"open: not sealed to this session's key", -1};
    uint8_t info[INFO_BYTES], confirm[EML_HPKE_TAG_BYTES];
    if (!may(ch, EML_CHANNEL_EVIDENCE_SENT, EML_CHANNEL_ON_OPEN))
        return eml_channel_break(ch, EML_E_USAGE, why, "open: not expected now");
    enum eml_err e = get_open(open, &enc, confirm, &inner);
    if (e != EML_OK)
        goto out;
    channel_info(ch, info);
    e = eml_hpke_setup_base_r(&enc, &ch->session_sk, EML_BYTES(info), &ctx);
    if (e == EML_OK)
        e = eml_hpke_open(&ctx, EML_LIT("eml/1 open"), EML_BYTES(confirm),
                          (struct eml_room){confirm, 0});
    if (e == EML_OK)
        e = export_keys(&ctx, &ch->recv, &ch->send);
out:
    eml_hpke_wipe(&ctx);
    if (e != EML_OK)
        return eml_channel_break(ch, e, why, inner.rule);
    eml_wipe(&ch->session_sk, sizeof ch->session_sk);
    step(ch, EML_CHANNEL_ON_OPEN);
    return EML_OK;
}

/* --- views --- */

struct eml_bytes eml_channel_nonce(const struct eml_channel *ch)
{
    return EML_BYTES(ch->nonce);
}

struct eml_bytes eml_channel_user_data_prefix(const struct eml_channel *ch)
{
    return eml_bytes(ch->user_data, EML_CHANNEL_PREFIX_BYTES);
}

struct eml_bytes eml_channel_user_data(const struct eml_channel *ch)
{
    return EML_BYTES(ch->user_data);
}

struct eml_bytes eml_channel_session_id(const struct eml_channel *ch)
{
    return EML_BYTES(ch->session_id.b);
}

void eml_channel_wipe(struct eml_channel *ch)
{
    if (ch != NULL)
        eml_wipe(ch, sizeof *ch);
}

void eml_channel_free(struct eml_channel *ch)
{
    eml_channel_wipe(ch);
    free(ch);
}
