/* The client's end of a session: connect through a host, verify, open the channel, exchange.
 *
 * Nothing is sent to the enclave but a nonce until its document has passed the policy. Every step
 * has the one deadline of the session. Not thread safe.
 */
#ifndef EML_REMOTE_REMOTE_H
#define EML_REMOTE_REMOTE_H

#include "attest/attest.h"
#include "base/arena.h"
#include "channel/channel.h"

struct eml_remote {
    int fd;
    int64_t deadline_ms; /* monotonic */
    struct eml_channel *channel;
    struct eml_buf frame;      /* the last record as it came: ciphertext */
    struct eml_buf evidence;   /* the views in `document` and `attested` point into it */
    struct eml_bytes document; /* as it came */
    struct eml_attested attested;
    const struct eml_policy *policy; /* that was passed; borrowed */
    struct eml_sha256 model_hash;    /* of the topology key that was sent */
    struct eml_attest_report report;
    uint64_t sent_bytes, received_bytes; /* on the wire, as the host sees them */
    uint64_t attest_ns, handshake_ns;
    struct eml_aside *aside; /* from the first inference on */
};

/* Connects and gets the evidence, then verifies it against the policy. A zeroed struct with fd = -1
 * otherwise; on failure the report tells which checks passed. The policy is borrowed until close.
 * `now_unix_ms` is the client's clock. `known`: certificate chains of this client's sessions before
 * this one, or NULL.
 */
EML_MUST enum eml_err eml_remote_attest(struct eml_remote *r, const char *host,
                                        const struct eml_policy *policy, int64_t now_unix_ms,
                                        struct eml_x509_known *known, int64_t deadline_ms,
                                        struct eml_why *why);
/* Opens the channel to the attested key. Only after eml_remote_attest succeeded. */
EML_MUST enum eml_err eml_remote_open(struct eml_remote *r, struct eml_why *why);
/* content is secret. */
EML_MUST enum eml_err eml_remote_send(struct eml_remote *r, enum eml_msg_type type,
                                      struct eml_bytes content, struct eml_why *why);
/* One whole message, at most max bytes, in the arena: *content (secret) borrows from it. An
 * EML_MSG_ERROR message becomes its class, with a rule that says that the enclave reported it. */
EML_MUST enum eml_err eml_remote_receive(struct eml_remote *r, size_t max, struct eml_arena *arena,
                                         enum eml_msg_type *type, struct eml_bytes *content,
                                         struct eml_why *why);
/* Ends politely if the channel is open, closes, wipes. Allowed at any time, also twice. */
void eml_remote_close(struct eml_remote *r);

/* Stores a sealed object under its id. */
EML_MUST enum eml_err eml_remote_push(const char *host, const uint8_t object_id[32],
                                      struct eml_bytes sealed, int64_t deadline_ms,
                                      struct eml_why *why);

#endif
