/* The inside of a channel, shared by handshake.c and records.c and reached into by their tests.
 *
 * Two state machines, both const tables whose empty cells are errors: the handshake's (one for the
 * channel) and the messages' (one for each direction, the same table for sender and receiver).
 */
#ifndef EML_CHANNEL_STATE_H
#define EML_CHANNEL_STATE_H

#include "channel/channel.h"

#define EML_CHANNEL_NONCE_BYTES 32u
#define EML_CHANNEL_PREFIX_BYTES (5u + 32u)

/* Records that one key may protect. With 64 KiB records that is 2^34 AES blocks: an attacker's
 * advantage against AES-GCM stays below 2^-60, and the counter is far from wrapping. */
#define EML_CHANNEL_RECORDS_MAX ((uint64_t)1 << 22)

enum eml_channel_state {
    EML_CHANNEL_FAILED = 0, /* final; reached from every other state */
    EML_CHANNEL_NEW_CLIENT,
    EML_CHANNEL_NEW_SERVER,
    EML_CHANNEL_HELLO_SENT,
    EML_CHANNEL_EVIDENCE_TAKEN,
    EML_CHANNEL_HELLO_TAKEN,
    EML_CHANNEL_EVIDENCE_SENT,
    EML_CHANNEL_OPEN,
    EML_CHANNEL_STATE_N
};

enum eml_channel_event {
    EML_CHANNEL_ON_HELLO,
    EML_CHANNEL_ON_EVIDENCE,
    EML_CHANNEL_ON_OPEN,
    EML_CHANNEL_EVENT_N
};

enum eml_record_state {
    EML_RECORD_NO = 0,  /* an empty cell */
    EML_RECORD_BETWEEN, /* no message under way */
    EML_RECORD_WITHIN,  /* a message's first record has gone, its last has not */
    EML_RECORD_ENDED,   /* EML_MSG_END has gone */
    EML_RECORD_STATE_N
};

struct eml_direction { /* secret */
    struct eml_bulk key;
    struct eml_nonce iv;
    uint64_t seq;
    bool held; /* sender: held_seq is the place of a message that is not sealed yet */
    uint64_t held_seq;
    enum eml_record_state state;
    enum eml_msg_type type;              /* of the message under way */
    uint64_t total, left;                /* its content bytes, and how many are still to come */
    size_t used;                         /* bytes of plain in use; sender: 0 between messages */
    uint8_t plain[EML_RECORD_PLAIN_MAX]; /* one record's plaintext */
};

struct eml_channel {
    enum eml_channel_state state;
    struct eml_x25519_sk session_sk; /* server only; wiped when the open message has come */
    uint8_t nonce[EML_CHANNEL_NONCE_BYTES];
    /* "eml/1", digest of the hello, session key: the last on the server only */
    uint8_t user_data[EML_CHANNEL_USER_DATA_BYTES];
    struct eml_sha256 hello, evidence; /* digests of the messages */
    struct eml_sha256 session_id;      /* of both; zero before the evidence */
    struct eml_direction send, recv;
};

/* Ends the channel for good and wipes its secrets; returns e, with the rule in *why. */
enum eml_err eml_channel_break(struct eml_channel *ch, enum eml_err e, struct eml_why *why,
                               const char *rule);

/* Reads ch->recv.plain[0..used) as the next record of the receiving direction. */
EML_MUST enum eml_err eml_record_read(struct eml_channel *ch, enum eml_msg_type *type,
                                      uint64_t *total, struct eml_bytes *part, bool *done,
                                      struct eml_why *why);

#endif
