/* Half of a channel that a fuzz target plays, as hostile as a script tells it to be: it holds the
 * session's keys, so what it says opens at the other side, whatever it is. And what makes sessions
 * cheap and repeatable: channels that were opened once, products on the curve that were computed
 * once, and random bytes that are the same for the same input
 * ("// wrap: eml_random aligned_alloc free eml_x25519 eml_x25519_public").
 */
#ifndef EML_TESTSUPPORT_HALF_CHANNEL_H
#define EML_TESTSUPPORT_HALF_CHANNEL_H

#include "testsupport/channel_pair.h"
#include "testsupport/script.h"

#include "channel/hpke.h"
#include "channel/state.h"

#include <sanitizer/asan_interface.h>
#include <stddef.h>

struct eml_half {
    struct eml_channel *channel;
    struct eml_buf frames; /* sealed, not delivered yet, from frames_at */
    size_t frames_at;
    struct eml_buf last;    /* the frame delivered last */
    enum eml_msg_type says; /* what its messages should be */
    bool honest;            /* it, and who carries its frames, has done nothing wrong yet */
    struct eml_buf heard;   /* of the message that the other side sends */
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
    if (d->key.impl == NULL) /* a channel that has failed has no key any more: any other will do */
        EML_ASSERT(eml_bulk_init(&d->key, EML_CIPHER_AES_256_GCM,
                                 &(const struct eml_aead_key){{0}}) == EML_OK);
    if (plain.len != 0)
        memcpy(text, plain.ptr, plain.len);
    eml_store_u32(length, (uint32_t)sealed);
    eml_buf_put(&h->frames, EML_BYTES(length));
    uint8_t *room = eml_buf_grow(&h->frames, sealed);
    EML_ASSERT(room != NULL);
    EML_ASSERT(eml_bulk_seal(&d->key, &nonce, EML_BYTES(length), eml_bytes(text, n),
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

/* Opens what the other side has sent, which must be its next record. True: a message is whole, of
 * *type, in h->heard, which the caller empties. */
static inline bool eml_half_hear(struct eml_half *h, struct eml_bytes record,
                                 enum eml_msg_type *type)
{
    uint64_t total;
    struct eml_bytes part;
    bool done;
    if (h->channel->state != EML_CHANNEL_OPEN)
        return false; /* it broke it itself */
    EML_ASSERT(eml_channel_open(h->channel, record, type, &total, &part, &done, NULL) == EML_OK);
    eml_buf_put(&h->heard, part);
    return done;
}

static inline void eml_half_free(struct eml_half *h)
{
    eml_buf_free(&h->heard);
    eml_channel_free(h->channel);
    eml_buf_free(&h->frames);
    eml_buf_free(&h->last);
}

/* --- two sides that were opened once, and memory for two at a time --- */

static struct {
    struct eml_channel *client, *server; /* just opened */
    struct eml_channel room[2];          /* poisoned where not in use */
    bool in_use[2];
    uint64_t random;
} eml_opened;

static inline void eml_opened_make(void)
{
    struct eml_pair p = {0};
    for (int i = 0; i < EML_PAIR_STEPS; i++)
        EML_ASSERT(eml_pair_step(&p, i) == EML_OK);
    ASAN_POISON_MEMORY_REGION(eml_opened.room, sizeof eml_opened.room);
    eml_opened.client = p.client;
    eml_opened.server = p.server;
    p.client = p.server = NULL;
    eml_pair_free(&p);
}

/* NULL: there is none. */
static inline struct eml_channel *eml_opened_room(void)
{
    for (int i = 0; i < 2; i++)
        if (!eml_opened.in_use[i]) {
            eml_opened.in_use[i] = true;
            ASAN_UNPOISON_MEMORY_REGION(&eml_opened.room[i], sizeof eml_opened.room[i]);
            return &eml_opened.room[i];
        }
    return NULL;
}

static inline struct eml_channel *eml_opened_again(const struct eml_channel *from)
{
    struct eml_channel *to = eml_opened_room();
    EML_ASSERT(to != NULL);
    memcpy(to, from, offsetof(struct eml_channel, send.plain));
    memcpy(&to->recv, &from->recv, offsetof(struct eml_direction, plain));
    return to;
}

void *__wrap_aligned_alloc(size_t align, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void __wrap_free(void *p);
void __real_free(void *p);

/* A channel is so large that the kernel would map its pages anew for each execution. */
void *__wrap_aligned_alloc(size_t align, size_t size)
{
    if (size != sizeof(struct eml_channel) || eml_opened.client == NULL)
        return __real_aligned_alloc(align, size);
    struct eml_channel *ch = eml_opened_room();
    return ch != NULL ? memset(ch, 0, sizeof *ch) : __real_aligned_alloc(align, size);
}

void __wrap_free(void *p)
{
    struct eml_channel *ch = p;
    if (ch != &eml_opened.room[0] && ch != &eml_opened.room[1]) {
        __real_free(p);
        return;
    }
    EML_ASSERT(eml_opened.in_use[ch - eml_opened.room]);
    eml_opened.in_use[ch - eml_opened.room] = false;
    ASAN_POISON_MEMORY_REGION(ch, sizeof *ch);
}

enum eml_err __wrap_eml_random(struct eml_room out);

enum eml_err __wrap_eml_random(struct eml_room out)
{
    for (size_t i = 0; i < out.len; i++) {
        eml_opened.random = eml_opened.random * 6364136223846793005u + 1442695040888963407u;
        out.ptr[i] = (uint8_t)(eml_opened.random >> 56);
    }
    return EML_OK;
}

enum { EML_PRODUCTS = 256 };

/* --- products on the curve, computed once --- */

enum eml_err __wrap_eml_x25519_public(const struct eml_x25519_sk *sk, struct eml_x25519_pk *pk);
enum eml_err __real_eml_x25519_public(const struct eml_x25519_sk *sk, struct eml_x25519_pk *pk);
enum eml_err __wrap_eml_x25519(const struct eml_x25519_sk *sk, const struct eml_x25519_pk *peer,
                               uint8_t shared[32]);
enum eml_err __real_eml_x25519(const struct eml_x25519_sk *sk, const struct eml_x25519_pk *peer,
                               uint8_t shared[32]);

/* By the sum of the operands' bytes; one that falls on the same place replaces the one before. */
static struct eml_product {
    bool known;
    uint8_t in[64], out[32]; /* scalar and point; only the scalar where the point is the base's */
    enum eml_err e;
} eml_product[2][EML_PRODUCTS];

static inline struct eml_product *eml_product_of(int kind, const uint8_t in[64])
{
    unsigned sum = 0;
    for (size_t i = 0; i < 64; i++)
        sum += in[i] * (unsigned)(i + 1);
    struct eml_product *p = &eml_product[kind][sum % EML_PRODUCTS];
    if (!p->known || memcmp(p->in, in, sizeof p->in) != 0) {
        p->known = false;
        memcpy(p->in, in, sizeof p->in);
    }
    return p;
}

enum eml_err __wrap_eml_x25519_public(const struct eml_x25519_sk *sk, struct eml_x25519_pk *pk)
{
    uint8_t in[64] = {0};
    memcpy(in, sk->b, sizeof sk->b);
    struct eml_product *p = eml_product_of(0, in);
    if (!p->known) {
        p->e = __real_eml_x25519_public(sk, pk);
        memcpy(p->out, pk->b, sizeof p->out);
        p->known = true;
    }
    memcpy(pk->b, p->out, sizeof p->out);
    return p->e;
}

enum eml_err __wrap_eml_x25519(const struct eml_x25519_sk *sk, const struct eml_x25519_pk *peer,
                               uint8_t shared[32])
{
    uint8_t in[64];
    memcpy(in, sk->b, sizeof sk->b);
    memcpy(in + sizeof sk->b, peer->b, sizeof peer->b);
    struct eml_product *p = eml_product_of(1, in);
    if (!p->known) {
        p->e = __real_eml_x25519(sk, peer, shared);
        memcpy(p->out, shared, sizeof p->out);
        p->known = true;
    }
    memcpy(shared, p->out, sizeof p->out);
    return p->e;
}

#endif
