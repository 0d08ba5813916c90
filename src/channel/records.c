#include "channel/channel.h"

#include "base/wipe.h"
#include "channel/hpke.h"
#include "channel/state.h"

#include <string.h>

/* type u8, flags u8, content length be32; the first record of a message has its total be64 next. */
#define HEADER_BYTES 6u
#define FIRST_HEADER_BYTES (HEADER_BYTES + 8u)
#define SEALED_MAX (EML_RECORD_PLAIN_MAX + EML_HPKE_TAG_BYTES)

_Static_assert(EML_CHANNEL_HELD_MAX == EML_RECORD_PLAIN_MAX - FIRST_HEADER_BYTES, "one record");

enum { FLAG_FIRST = 1, FLAG_LAST = 2 };

/* What a record is to its message: the two flags, and END apart. */
enum kind {
    MIDDLE = 0,
    FIRST = FLAG_FIRST,
    LAST = FLAG_LAST,
    WHOLE = FLAG_FIRST | FLAG_LAST,
    END,
    KIND_N
};

static const uint8_t next_state[EML_RECORD_STATE_N][KIND_N] = {
    [EML_RECORD_BETWEEN] =
        {[FIRST] = EML_RECORD_WITHIN, [WHOLE] = EML_RECORD_BETWEEN, [END] = EML_RECORD_ENDED},
    [EML_RECORD_WITHIN] = {[MIDDLE] = EML_RECORD_WITHIN, [LAST] = EML_RECORD_BETWEEN},
};

static const size_t buckets[] = {256, 1024, 4096, 16384, EML_RECORD_PLAIN_MAX};

static size_t bucket_of(size_t used)
{
    size_t i = 0;
    while (buckets[i] < used)
        i++;
    return buckets[i];
}

static enum kind kind_of(enum eml_msg_type type, unsigned flags)
{
    return type == EML_MSG_END && flags == WHOLE ? END : (enum kind)flags;
}

/* --- sealing --- */

/* Takes the place of the next record: no two records have the same. */
static enum eml_err take_place(struct eml_direction *d, uint64_t *seq)
{
    if (d->seq >= EML_CHANNEL_RECORDS_MAX)
        return EML_E_REFUSED;
    *seq = d->seq++;
    return EML_OK;
}

/* Seals send.plain[0..used), which fills its bucket with zeros, and appends the frame. */
static enum eml_err seal_record(struct eml_direction *d, uint64_t seq, struct eml_buf *out)
{
    size_t bucket = bucket_of(d->used), sealed = bucket + EML_HPKE_TAG_BYTES;
    uint8_t length[EML_FRAME_HEADER_BYTES];
    struct eml_nonce nonce = eml_hpke_compute_nonce(&d->iv, seq);
    eml_store_u32(length, (uint32_t)sealed);
    eml_buf_put(out, EML_BYTES(length));
    uint8_t *room = eml_buf_grow(out, sealed);
    if (room == NULL)
        return EML_E_SYSTEM;
    EML_TRY(eml_bulk_seal(&d->key, &nonce, EML_BYTES(length), eml_bytes(d->plain, bucket),
                          (struct eml_room){room, sealed}));
    eml_wipe(d->plain, bucket);
    d->used = 0;
    return EML_OK;
}

static void put_header(struct eml_direction *d, enum eml_msg_type type, unsigned flags,
                       size_t content_len)
{
    d->plain[0] = (uint8_t)type;
    d->plain[1] = (uint8_t)flags;
    eml_store_u32(d->plain + 2, (uint32_t)content_len);
}

/* Seals the record gathered in send.plain: full, or the last of its message. */
static enum eml_err finish_record(struct eml_direction *d, struct eml_buf *out)
{
    bool first = d->state == EML_RECORD_BETWEEN, last = d->left == 0;
    unsigned flags = (first ? FLAG_FIRST : 0u) | (last ? FLAG_LAST : 0u);
    size_t header = first ? FIRST_HEADER_BYTES : HEADER_BYTES;
    uint8_t next = next_state[d->state][kind_of(d->type, flags)];
    uint64_t seq;
    EML_ASSERT(next != EML_RECORD_NO);
    put_header(d, d->type, flags, d->used - header);
    if (first)
        eml_store_u64(d->plain + HEADER_BYTES, d->total);
    EML_TRY(take_place(d, &seq));
    EML_TRY(seal_record(d, seq, out));
    d->state = (enum eml_record_state)next;
    d->used = last ? 0 : HEADER_BYTES;
    return EML_OK;
}

enum eml_err eml_channel_seal_begin(struct eml_channel *ch, enum eml_msg_type type,
                                    uint64_t total_bytes, struct eml_buf *out)
{
    struct eml_direction *d = &ch->send;
    bool fits = total_bytes <= (type == EML_MSG_END ? 0 : EML_MESSAGE_BYTES_MAX);
    if (ch->state != EML_CHANNEL_OPEN || d->state != EML_RECORD_BETWEEN || d->used != 0 ||
        type >= EML_MSG_N || !fits || (type == EML_MSG_END && d->held))
        return eml_channel_break(ch, EML_E_USAGE, NULL, "");
    d->type = type;
    d->total = d->left = total_bytes;
    d->used = FIRST_HEADER_BYTES;
    enum eml_err e = total_bytes == 0 ? finish_record(d, out) : EML_OK;
    return e == EML_OK ? e : eml_channel_break(ch, e, NULL, "");
}

enum eml_err eml_channel_seal_part(struct eml_channel *ch, struct eml_bytes part,
                                   struct eml_buf *out)
{
    struct eml_direction *d = &ch->send;
    struct eml_cur c = eml_cur(part);
    if (ch->state != EML_CHANNEL_OPEN || d->used == 0 || part.len > d->left)
        return eml_channel_break(ch, EML_E_USAGE, NULL, "");
    while (eml_cur_left(&c) != 0) {
        size_t room = sizeof d->plain - d->used, more = eml_cur_left(&c);
        struct eml_bytes piece = eml_cur_take(&c, more < room ? more : room);
        memcpy(d->plain + d->used, piece.ptr, piece.len);
        d->used += piece.len;
        d->left -= piece.len;
        if (d->left != 0 && d->used < sizeof d->plain)
            continue;
        enum eml_err e = finish_record(d, out);
        if (e != EML_OK)
            return eml_channel_break(ch, e, NULL, "");
    }
    return EML_OK;
}

enum eml_err eml_channel_seal(struct eml_channel *ch, enum eml_msg_type type,
                              struct eml_bytes content, struct eml_buf *out)
{
    EML_TRY(eml_channel_seal_begin(ch, type, content.len, out));
    return content.len != 0 ? eml_channel_seal_part(ch, content, out) : EML_OK;
}

enum eml_err eml_channel_seal_hold(struct eml_channel *ch)
{
    struct eml_direction *d = &ch->send;
    if (ch->state != EML_CHANNEL_OPEN || d->state != EML_RECORD_BETWEEN || d->used != 0 || d->held)
        return eml_channel_break(ch, EML_E_USAGE, NULL, "");
    enum eml_err e = take_place(d, &d->held_seq);
    d->held = e == EML_OK;
    return e == EML_OK ? e : eml_channel_break(ch, e, NULL, "");
}

enum eml_err eml_channel_seal_held(struct eml_channel *ch, enum eml_msg_type type,
                                   struct eml_bytes content, struct eml_buf *out)
{
    struct eml_direction *d = &ch->send;
    if (ch->state != EML_CHANNEL_OPEN || d->state != EML_RECORD_BETWEEN || d->used != 0 ||
        !d->held || type == EML_MSG_END || type >= EML_MSG_N || content.len > EML_CHANNEL_HELD_MAX)
        return eml_channel_break(ch, EML_E_USAGE, NULL, "");
    d->held = false;
    put_header(d, type, FLAG_FIRST | FLAG_LAST, content.len);
    eml_store_u64(d->plain + HEADER_BYTES, content.len);
    if (content.len != 0)
        memcpy(d->plain + FIRST_HEADER_BYTES, content.ptr, content.len);
    d->used = FIRST_HEADER_BYTES + content.len;
    enum eml_err e = seal_record(d, d->held_seq, out);
    return e == EML_OK ? e : eml_channel_break(ch, e, NULL, "");
}

/* --- opening --- */

struct header {
    enum eml_msg_type type;
    unsigned flags;
    uint64_t total; /* of the message; carried over from its first record */
    enum eml_record_state next;
    struct eml_bytes content;
};

/* The rule that the plaintext breaks, or NULL. It was sealed by the attested peer (or by a client
 * of ours), who may be hostile all the same. */
static const char *read_record(const struct eml_direction *d, struct header *h)
{
    struct eml_cur c = eml_cur(eml_bytes(d->plain, d->used));
    uint8_t type = eml_cur_u8(&c), flags = eml_cur_u8(&c);
    uint32_t content_len = eml_cur_u32(&c);
    if (!eml_cur_ok(&c) || type >= EML_MSG_N)
        return "record: unknown type";
    if (flags > WHOLE)
        return "record: unknown flags";
    h->type = (enum eml_msg_type)type;
    h->flags = flags;
    h->next = (enum eml_record_state)next_state[d->state][kind_of(h->type, flags)];
    if (h->next == EML_RECORD_NO)
        return "record: out of order";
    bool first = (flags & FLAG_FIRST) != 0, last = (flags & FLAG_LAST) != 0;
    if (!first && h->type != d->type)
        return "record: type changes within a message";
    h->total = first ? eml_cur_u64(&c) : d->total;
    if (h->total > (h->type == EML_MSG_END ? 0 : EML_MESSAGE_BYTES_MAX))
        return "record: message too long";
    uint64_t left = first ? h->total : d->left;
    h->content = eml_cur_take(&c, content_len);
    if (!eml_cur_ok(&c) || content_len > left)
        return "record: content longer than the record or the message";
    if (last != (content_len == left))
        return "record: last flag does not match the message's length";
    if (!last && (eml_cur_left(&c) != 0 || d->used != EML_RECORD_PLAIN_MAX))
        return "record: not full, and not the last";
    if (bucket_of(d->used - eml_cur_left(&c)) != d->used)
        return "record: not the smallest bucket";
    if (!eml_ct_is_zero(eml_cur_rest(&c)))
        return "record: padding is not zero";
    return NULL;
}

enum eml_err eml_record_read(struct eml_channel *ch, enum eml_msg_type *type, uint64_t *total,
                             struct eml_bytes *part, bool *done, struct eml_why *why)
{
    struct eml_direction *d = &ch->recv;
    struct header h = {0};
    const char *rule = read_record(d, &h);
    if (rule != NULL)
        return eml_channel_break(ch, EML_E_INPUT, why, rule);
    d->left = ((h.flags & FLAG_FIRST) != 0 ? h.total : d->left) - h.content.len;
    d->type = h.type;
    d->total = h.total;
    d->state = h.next;
    *type = h.type;
    *total = h.total;
    *part = h.content;
    *done = (h.flags & FLAG_LAST) != 0;
    return EML_OK;
}

enum eml_err eml_channel_open(struct eml_channel *ch, struct eml_bytes record,
                              enum eml_msg_type *type, uint64_t *total, struct eml_bytes *part,
                              bool *done, struct eml_why *why)
{
    struct eml_direction *d = &ch->recv;
    uint8_t length[EML_FRAME_HEADER_BYTES];
    *type = EML_MSG_END;
    *total = 0;
    *part = (struct eml_bytes){0};
    *done = false;
    if (ch->state != EML_CHANNEL_OPEN)
        return eml_channel_break(ch, EML_E_USAGE, why, "record: the channel is not open");
    eml_wipe(d->plain, d->used);
    d->used = 0;
    if (d->state == EML_RECORD_ENDED)
        return eml_channel_break(ch, EML_E_INPUT, why, "record: after the end");
    if (d->seq >= EML_CHANNEL_RECORDS_MAX)
        return eml_channel_break(ch, EML_E_REFUSED, why, "record: too many under one key");
    if (record.len < EML_HPKE_TAG_BYTES || record.len > SEALED_MAX ||
        bucket_of(record.len - EML_HPKE_TAG_BYTES) + EML_HPKE_TAG_BYTES != record.len)
        return eml_channel_break(ch, EML_E_INPUT, why, "record: length is not a bucket's");
    size_t used = record.len - EML_HPKE_TAG_BYTES;
    struct eml_nonce nonce = eml_hpke_compute_nonce(&d->iv, d->seq);
    eml_store_u32(length, (uint32_t)record.len);
    enum eml_err e = eml_bulk_open(&d->key, &nonce, EML_BYTES(length), record,
                                   (struct eml_room){d->plain, used});
    if (e != EML_OK)
        return eml_channel_break(ch, e, why, "record: not sealed by the peer for this place");
    d->seq++;
    d->used = used;
    return eml_record_read(ch, type, total, part, done, why);
}

void eml_channel_forget(struct eml_channel *ch)
{
    eml_wipe(ch->recv.plain, ch->recv.used);
    ch->recv.used = 0;
}

bool eml_channel_ended(const struct eml_channel *ch)
{
    return ch->recv.state == EML_RECORD_ENDED;
}
