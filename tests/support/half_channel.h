/* Half of a channel that a fuzz target plays, as hostile as a script tells it to be: it holds the
 * session's keys, so what it says opens at the other side, whatever it is. And what makes sessions
 * cheap and repeatable: channels that were opened once, and random bytes that are the same for the
 * same input ("// wrap: eml_random eml_channel_free").
 */
#ifndef EML_TESTSUPPORT_HALF_CHANNEL_H
#define EML_TESTSUPPORT_HALF_CHANNEL_H

#include "testsupport/channel_pair.h"
#include "testsupport/script.h"

#include "channel/hpke.h"
#include "channel/state.h"

#include <stddef.h>

struct eml_half {
    struct eml_channel *channel;
    struct eml_buf frames; /* sealed, not delivered yet, from frames_at */
    size_t frames_at;
    struct eml_buf last;    /* the frame delivered last */
    enum eml_msg_type says; /* what its messages should be */
    bool honest;            /* it, and who carries its frames, has done nothing wrong yet */
};

static inline void eml_half_seal(struct eml_half *h, enum eml_msg_type type,
                                 struct eml_bytes content)
{
    (void)!eml_channel_seal(h->channel, type, content, &h->frames);
}

/* A record with any plaintext, which only who has the keys can make. */
static inline void eml_half_any_record(struct eml_half *h, struct eml_bytes plain)
{
    static const size_t bucket[] = {256, 1024};
    struct eml_direction *d = &h->channel->send;
    uint8_t text[1024] = {0}, length[EML_FRAME_HEADER_BYTES];
    const size_t n = bucket[plain.len > 250], sealed = n + EML_HPKE_TAG_BYTES;
    struct eml_nonce nonce = eml_hpke_compute_nonce(&d->iv, d->seq);
    if (plain.len != 0)
        memcpy(text, plain.ptr, plain.len);
    eml_store_u32(length, (uint32_t)sealed);
    eml_buf_put(&h->frames, EML_BYTES(length));
    uint8_t *room = eml_buf_grow(&h->frames, sealed);
    EML_ASSERT(room != NULL);
    EML_ASSERT(eml_aead_seal(&d->key, &nonce, EML_BYTES(length), eml_bytes(text, n),
                             (struct eml_room){room, sealed}) == EML_OK);
    d->seq++;
}

/* Says something that it should not, by op % 8 from 2 on. */
static inline void eml_half_misbehave(struct eml_half *h, struct eml_cur *script, uint8_t op)
{
    h->honest = false;
    switch (op % 8) {
    case 2:
        eml_half_seal(h, (enum eml_msg_type)(op / 8 % EML_MSG_N), eml_script_bytes(script));
        break;
    case 3:
        eml_half_seal(h, EML_MSG_END, (struct eml_bytes){0});
        break;
    case 4:
        eml_half_any_record(h, eml_script_bytes(script));
        break;
    case 5:
        (void)!eml_channel_seal_begin(h->channel, h->says,
                                      (uint64_t)eml_cur_u16(script) << (op / 8 % 16), &h->frames);
        break;
    case 6:
        (void)!eml_channel_seal_part(h->channel, eml_script_bytes(script), &h->frames);
        break;
    default:
        h->frames.len = h->frames_at;
        eml_buf_put(&h->frames, EML_LIT("\0\0\0\10damaged."));
        break;
    }
}

static inline bool eml_half_has_frame(const struct eml_half *h)
{
    return h->frames_at != h->frames.len;
}

/* The next frame's content on its way: as it is, altered, twice, or the one before in its place.
 * False: there is none, or the stream makes no sense any more. */
static inline bool eml_half_deliver(struct eml_half *h, struct eml_cur *script, struct eml_buf *out)
{
    struct eml_bytes content;
    struct eml_cur c =
        eml_cur(eml_bytes(h->frames.ptr + h->frames_at, h->frames.len - h->frames_at));
    if (!eml_half_has_frame(h) || !eml_pair_frame(&c, &content))
        return false;
    uint8_t how = eml_cur_u8(script);
    h->honest = h->honest && how < 240;
    if (how < 252)
        eml_buf_put(out, content);
    if (how < 252 && how >= 248)
        return true;
    h->frames_at += c.pos;
    if (how >= 252)
        eml_buf_put(out, eml_buf_bytes(&h->last));
    else if (how >= 240)
        (void)eml_script_meddle(script, out);
    h->last.len = 0;
    eml_buf_put(&h->last, eml_buf_bytes(out));
    return true;
}

static inline void eml_half_free(struct eml_half *h)
{
    eml_channel_free(h->channel);
    eml_buf_free(&h->frames);
    eml_buf_free(&h->last);
}

/* --- two sides that were opened once --- */

static struct {
    struct eml_channel *client, *server; /* just opened */
    struct eml_channel client_now, server_now;
    uint64_t random;
} eml_opened;

static inline void eml_opened_make(void)
{
    struct eml_pair p = {0};
    for (int i = 0; i < EML_PAIR_STEPS; i++)
        EML_ASSERT(eml_pair_step(&p, i) == EML_OK);
    eml_opened.client = p.client;
    eml_opened.server = p.server;
    p.client = p.server = NULL;
    eml_pair_free(&p);
}

static inline struct eml_channel *eml_opened_again(struct eml_channel *to,
                                                   const struct eml_channel *from)
{
    memcpy(to, from, offsetof(struct eml_channel, send.plain));
    memcpy(&to->recv, &from->recv, offsetof(struct eml_direction, plain));
    return to;
}

void __wrap_eml_channel_free(struct eml_channel *ch);
void __real_eml_channel_free(struct eml_channel *ch);
enum eml_err __wrap_eml_random(struct eml_room out);

void __wrap_eml_channel_free(struct eml_channel *ch)
{
    if (ch == &eml_opened.client_now || ch == &eml_opened.server_now)
        eml_channel_wipe(ch);
    else
        __real_eml_channel_free(ch);
}

enum eml_err __wrap_eml_random(struct eml_room out)
{
    for (size_t i = 0; i < out.len; i++) {
        eml_opened.random = eml_opened.random * 6364136223846793005u + 1442695040888963407u;
        out.ptr[i] = (uint8_t)(eml_opened.random >> 56);
    }
    return EML_OK;
}

#endif
