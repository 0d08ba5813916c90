/* The attested channel: hello, evidence, HPKE, sealed records. Bytes in, bytes out; no sockets.
 *
 *   client                                   enclave worker
 *   hello {version, suite, nonce}      -->
 *                                      <--   evidence {attestation document}
 *   (verify the document, or stop)
 *   open {enc}                         -->
 *   records (sealed both ways)         <->
 *
 * The document carries nonce = the hello's and user_data = "eml/1" || SHA-256(hello message) || the
 * worker's X25519 key for this session. (Its public_key is the enclave's Ed25519 key, which signs
 * receipts and the audit log and is nothing to the channel.) HPKE (RFC 9180 base mode;
 * DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM) to that key with info = "eml/1 channel" ||
 * SHA-256(hello) || SHA-256(evidence). Each direction has its own key and nonce base, exported from
 * the HPKE context ("eml/1 c2e key", "eml/1 c2e iv", "eml/1 e2c key", "eml/1 e2c iv"); the sequence
 * number is the nonce; a record that does not open ends the session. The open message also carries
 * an HPKE seal of nothing, so that a wrong key or transcript shows there. Any failure, and any call
 * or message out of turn (EML_E_USAGE, EML_E_INPUT), is final: the secrets are wiped and every
 * later call fails. This folder never looks into the document: it only takes its bytes' digest and,
 * on the client, the user_data that the verifier returned (docs/formats/channel.md).
 */
#ifndef EML_CHANNEL_CHANNEL_H
#define EML_CHANNEL_CHANNEL_H

#include "base/cur.h"
#include "crypto/crypto.h"

#define EML_CHANNEL_VERSION 1u
#define EML_CHANNEL_SUITE 0x0020u                    /* the HPKE KEM; 0x647a (X-Wing) is reserved */
#define EML_CHANNEL_USER_DATA_BYTES (5u + 32u + 32u) /* of a session's document */
#define EML_HELLO_BYTES_MAX 256u
#define EML_EVIDENCE_BYTES_MAX 32768u
#define EML_RECORD_PLAIN_MAX 65536u /* type, length, content and padding of one record */
#define EML_MESSAGE_BYTES_MAX ((size_t)1 << 30)

/* Frames on the stream outside the sealed records: be32 length || bytes. */
#define EML_FRAME_HEADER_BYTES 4u

struct eml_channel; /* one side's state, both directions; secret, from malloc, wiped on free */

/* --- client --- */
/* Makes a hello frame (with frame header) into *out. */
EML_MUST enum eml_err eml_channel_client_hello(struct eml_channel **ch, struct eml_buf *out);
struct eml_bytes eml_channel_nonce(const struct eml_channel *ch); /* 32 bytes, borrowed */
/* What the document's user_data, EML_CHANNEL_USER_DATA_BYTES long, must begin with; borrowed. */
struct eml_bytes eml_channel_user_data_prefix(const struct eml_channel *ch);
/* Parses the evidence message (frame content). *document is borrowed from `evidence`. */
EML_MUST enum eml_err eml_channel_client_evidence(struct eml_channel *ch, struct eml_bytes evidence,
                                                  struct eml_bytes *document, struct eml_why *why);
/* Call only with the user_data of a verified document: the key in it is the peer. EML_E_AUTH if it
 * is not that of this hello. Appends the open frame; records can follow. */
EML_MUST enum eml_err eml_channel_client_open(struct eml_channel *ch,
                                              struct eml_bytes attested_user_data,
                                              struct eml_buf *out);

/* --- enclave worker --- */
/* Takes the hello message (frame content), draws the session key. The worker then gets a document
 * for eml_channel_nonce and eml_channel_user_data from the broker. */
EML_MUST enum eml_err eml_channel_server_hello(struct eml_channel **ch, struct eml_bytes hello,
                                               struct eml_why *why);
struct eml_bytes eml_channel_user_data(const struct eml_channel *ch); /* whole; borrowed */
/* Appends the evidence frame. */
EML_MUST enum eml_err eml_channel_server_evidence(struct eml_channel *ch, struct eml_bytes document,
                                                  struct eml_buf *out);
/* Takes the open message; the session key is wiped here. */
EML_MUST enum eml_err eml_channel_server_open(struct eml_channel *ch, struct eml_bytes open,
                                              struct eml_why *why);

/* Binds other things (the KMS encryption context) to this session: SHA-256 of "eml/1 session" ||
 * SHA-256(hello) || SHA-256(evidence). The same on both sides once the evidence has been sent or
 * taken (zero before), and of no other session: a replayed hello gets other evidence. */
struct eml_bytes eml_channel_session_id(const struct eml_channel *ch);

/* --- messages over records, both sides ---
 * A message is a type and content; it travels as one or more records, the last of them marked.
 * Content is padded to a bucket (docs/formats/channel.md). EML_MSG_END ends a direction: an end of
 * stream without it is an error. */
enum eml_msg_type {
    EML_MSG_END = 0,
    EML_MSG_REQUEST = 1,
    EML_MSG_RESULT = 2,
    EML_MSG_ERROR = 3,   /* content: one byte, enum eml_err: the class and nothing else */
    EML_MSG_RECEIPT = 4, /* of the result that comes next */
    EML_MSG_N
};

/* Appends the sealed frames of one message. */
EML_MUST enum eml_err eml_channel_seal(struct eml_channel *ch, enum eml_msg_type type,
                                       struct eml_bytes content, struct eml_buf *out);
/* Streaming form for large contents without a second copy in clear: begin with the total length,
 * then any number of parts that add up to it; frames are appended to *out, which may be sent and
 * emptied between. How the content is cut into parts does not show on the wire. */
EML_MUST enum eml_err eml_channel_seal_begin(struct eml_channel *ch, enum eml_msg_type type,
                                             uint64_t total_bytes, struct eml_buf *out);
EML_MUST enum eml_err eml_channel_seal_part(struct eml_channel *ch, struct eml_bytes part,
                                            struct eml_buf *out);

/* Sealing ahead: a message of one record whose content is not known yet keeps its place, the next
 * record's, and what is sealed from then on comes behind it. Whoever sends must send it first, and
 * cannot end the direction without it. EML_E_USAGE: within a message, or one keeps a place already.
 */
EML_MUST enum eml_err eml_channel_seal_hold(struct eml_channel *ch);
/* The message that takes the place: not EML_MSG_END, at most EML_CHANNEL_HELD_MAX bytes. */
#define EML_CHANNEL_HELD_MAX (EML_RECORD_PLAIN_MAX - 14u)
EML_MUST enum eml_err eml_channel_seal_held(struct eml_channel *ch, enum eml_msg_type type,
                                            struct eml_bytes content, struct eml_buf *out);

/* Takes one frame's content (a sealed record). *type and *total (content bytes) are the message's,
 * the same for each of its records; *done tells when the message is whole. *part, the record's
 * content, is a view into the channel's own buffer, valid until the next call. EML_E_AUTH: altered,
 * or not the next record of this direction; EML_E_INPUT: sealed by the peer, but against the
 * format. */
EML_MUST enum eml_err eml_channel_open(struct eml_channel *ch, struct eml_bytes record,
                                       enum eml_msg_type *type, uint64_t *total,
                                       struct eml_bytes *part, bool *done, struct eml_why *why);
/* Wipes the content that eml_channel_open gave last. */
void eml_channel_forget(struct eml_channel *ch);
/* True once EML_MSG_END has been received. */
bool eml_channel_ended(const struct eml_channel *ch);

/* Wipes; every later call fails. NULL is allowed. For signal handlers too. */
void eml_channel_wipe(struct eml_channel *ch);
/* Wipes and frees. NULL is allowed. */
void eml_channel_free(struct eml_channel *ch);

#endif
