// link: channel
/* The first byte picks what parses the rest: the server's hello, the client's evidence, the
 * server's open, a sealed record, or a record's plaintext as a hostile peer could seal it (the
 * second byte then picks the place in a message). */
#include "channel/state.h"

#include "testsupport/support.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* One for all inputs: what the last one can have left in it is cleared, not all of its buffers. */
static struct eml_channel *channel_in(enum eml_channel_state s)
{
    static struct eml_channel only;
    struct eml_channel *ch = &only;
    memset(ch, 0, offsetof(struct eml_channel, send.plain));
    memset(&ch->recv, 0, offsetof(struct eml_direction, plain));
    ch->state = s;
    ch->session_sk.b[0] = 8;
    ch->recv.state = ch->send.state = EML_RECORD_BETWEEN;
    check(eml_bulk_init(&ch->recv.key, EML_CIPHER_AES_256_GCM, &(struct eml_aead_key){{0}}) ==
          EML_OK);
    return ch;
}

static void feed_plain(struct eml_bytes in)
{
    struct eml_channel *ch = channel_in(EML_CHANNEL_OPEN);
    struct eml_direction *d = &ch->recv;
    enum eml_msg_type type;
    uint64_t total;
    struct eml_bytes part;
    bool done;
    struct eml_why why;
    if (in.len > 0 && (in.ptr[0] & 1) != 0) {
        d->state = EML_RECORD_WITHIN;
        d->type = EML_MSG_REQUEST;
        d->total = 200000;
        d->left = (uint64_t)in.ptr[0] * 500;
    }
    size_t n = in.len > 0 ? in.len - 1 : 0;
    d->used = 256;
    while (d->used < n && d->used < sizeof d->plain)
        d->used *= 4;
    if (n > d->used)
        n = d->used;
    memset(d->plain, 0, d->used);
    if (n != 0)
        memcpy(d->plain, in.ptr + 1, n);
    if (eml_record_read(ch, &type, &total, &part, &done, &why) == EML_OK) {
        check(type < EML_MSG_N && part.len <= total && d->left <= total);
        check(done == (d->left == 0));
    } else
        check(ch->state == EML_CHANNEL_FAILED);
}

static void feed_message(unsigned kind, struct eml_bytes in)
{
    static const enum eml_channel_state state_of[] = {EML_CHANNEL_NEW_SERVER,
                                                      EML_CHANNEL_HELLO_SENT,
                                                      EML_CHANNEL_EVIDENCE_SENT, EML_CHANNEL_OPEN};
    struct eml_channel *ch = NULL;
    struct eml_bytes view;
    struct eml_why why;
    enum eml_msg_type type;
    uint64_t total;
    bool done;
    enum eml_err e;
    if (kind == 0) {
        e = eml_channel_server_hello(&ch, in, &why);
        check((e == EML_OK) == (ch != NULL));
        eml_channel_free(ch);
        return;
    }
    ch = channel_in(state_of[kind]);
    if (kind == 1)
        e = eml_channel_client_evidence(ch, in, &view, &why);
    else if (kind == 2)
        e = eml_channel_server_open(ch, in, &why);
    else
        e = eml_channel_open(ch, in, &type, &total, &view, &done, &why);
    check((e == EML_OK) == (ch->state != EML_CHANNEL_FAILED));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct eml_bytes rest = {data + 1, size - 1};
    if (data[0] % 5 == 4)
        feed_plain(rest);
    else
        feed_message(data[0] % 5, rest);
    return 0;
}
