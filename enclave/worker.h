/* The worker: one session, in a process of its own that ends with it.
 *
 * It takes what it needs (memory, threads, trust anchors), enters the sandbox, gets its client from
 * the broker, and only then reads that one's first byte. All secrets of the session lie in its
 * arena and its channel; both are wiped on every way out, on SIGTERM too. Its exit status is the
 * error class of the session.
 */
#ifndef EML_ENCLAVE_WORKER_H
#define EML_ENCLAVE_WORKER_H

#include "assemble/assemble.h"
#include "channel/channel.h"
#include "enclave/ipc.h"
#include "enclave/options.h"
#include "session/request.h"

struct eml_worker {
    const struct eml_options *options;
    int client, broker; /* descriptors */
    int64_t session_end_ms, request_end_ms;
    struct eml_arena arena;
    struct eml_pool *pool;
    struct eml_channel *channel;
    struct eml_buf kms_ca;  /* PEM; empty: no KMS */
    struct eml_buf frame;   /* the last record as it came: ciphertext */
    struct eml_buf out;     /* records that are to be sent: ciphertext */
    struct eml_model model; /* arena NULL: none is open */
    /* Sealed weights as mapped last, with the object's id and digest; ptr NULL: none. Kept for the
     * session's next request, which seldom asks for others: no secret, and nobody can change them.
     */
    struct eml_bytes sealed;
    uint8_t sealed_id[EML_IPC_ID], sealed_digest[EML_IPC_DIGEST];
    enum eml_mode mode; /* of the session, from its first request on */
    bool began;         /* there was one */
    uint64_t weights_us;
    struct eml_ipc_inference inference; /* of the request that runs, as far as it is known */
    bool reported;                      /* the broker has heard how it ended */
    struct eml_times times;             /* of the request that runs */
    bool ahead;        /* a sealed result lies in `out`, a place is kept for what comes before it */
    enum eml_err sent; /* of the last result: EML_OK, or why it could not be sent */
};

/* The whole process. EML_CHILD_FD_0 is the broker, who sends a client when there is one; until then
 * it waits, in the sandbox, having read nothing. */
EML_MUST enum eml_err eml_worker_run(const struct eml_options *o);
/* After the handshake: requests, until the session ends, and END to the client. Neither this nor
 * what it calls knows of processes: a test can play client and broker. */
EML_MUST enum eml_err eml_worker_requests(struct eml_worker *w);
/* The session's secrets go: model, arena, channel, and the stacks of the pool's threads. */
void eml_worker_forget(struct eml_worker *w);

/* --- message.c: frames and messages --- */
/* Hello, evidence, open. */
EML_MUST enum eml_err eml_worker_handshake(struct eml_worker *w);
/* One message, its content in the arena. Waits for its first record for as long as a session may be
 * idle, and tells the broker when it has come. Types other than REQUEST and END are EML_E_INPUT. A
 * broken channel is EML_E_AUTH or EML_E_NET and *broken: then there is nobody to tell. */
EML_MUST enum eml_err eml_worker_receive(struct eml_worker *w, enum eml_msg_type *type,
                                         struct eml_room *content, bool *broken);
/* Seals and sends a message, the receipt of the result that comes next. */
EML_MUST enum eml_err eml_worker_send_receipt(struct eml_worker *w, struct eml_bytes receipt);
/* Seals a result, if it is small enough to wait in memory, before its receipt is there; nothing of
 * it leaves. If w->ahead is set then, its tensors are not needed any more. */
EML_MUST enum eml_err eml_worker_seal_ahead(struct eml_worker *w, const struct eml_result *r);
/* Sends what was sealed ahead, or else seals and sends; the content is encoded from where it lies.
 */
EML_MUST enum eml_err eml_worker_send_result(struct eml_worker *w, const struct eml_result *r);
/* Tells the broker how the request that runs has ended, once. */
EML_MUST enum eml_err eml_worker_report(struct eml_worker *w, enum eml_err err);
/* Waits for its answer: the log is durable. After EML_OK was reported *receipt, borrowed from room,
 * is what came with it. */
EML_MUST enum eml_err eml_worker_recorded(struct eml_worker *w, struct eml_room room,
                                          struct eml_bytes *receipt);
/* Tells the broker, by the times that eml_worker_close_model filled in, how long the model of a
 * session was in clear and that it is gone. */
void eml_worker_report_destruction(struct eml_worker *w);
/* One class byte. EML_MSG_END: no content. A result that was sealed ahead is dropped by an error,
 * and nothing can be sent after that. */
EML_MUST enum eml_err eml_worker_send_error(struct eml_worker *w, enum eml_err class);
EML_MUST enum eml_err eml_worker_send_end(struct eml_worker *w);

/* --- infer.c: one request --- */
/* Does what the request in `content` asks for and sends the result. In request mode nothing but the
 * outputs is left in the arena when they leave. Afterwards, in request mode and on failure, nothing
 * of it is left there at all: a further request brings the topology key again. *fatal: the session
 * cannot go on. */
EML_MUST enum eml_err eml_worker_infer(struct eml_worker *w, struct eml_room content, bool *fatal);
/* Forgets the open model, if any; its numbers are added to the times. */
void eml_worker_close_model(struct eml_worker *w);
/* Unmaps the sealed weights, if any; no model is open. */
void eml_worker_close_weights(struct eml_worker *w);

/* --- kms_client.c --- */
/* The data key of a request under KMS, for this session only. Wiped on failure. */
EML_MUST enum eml_err eml_worker_data_key(struct eml_worker *w, const struct eml_request_kms *kms,
                                          struct eml_aead_key *key, struct eml_why *why);

#endif
