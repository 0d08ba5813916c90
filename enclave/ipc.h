/* What a worker asks of its broker, over a SOCK_SEQPACKET pair: one message, one answer; but
 * BEGIN has none.
 *
 * A message is a type byte and a body of exactly the length that the type has; the sender is known
 * by the socket. An answer is a class byte (enum eml_err) and, if that is EML_OK, a body; a
 * descriptor may come with it. Both sides check; the broker kills a worker that sends anything
 * else.
 */
#ifndef EML_ENCLAVE_IPC_H
#define EML_ENCLAVE_IPC_H

#include "base/cur.h"

enum eml_ipc_type {
    EML_IPC_ATTEST = 1, /* nonce, user data -> document with the enclave's key as public_key */
    /* -> SHA-256 of the broker's RSA key (SPKI), 32 bytes, then a document with that key */
    EML_IPC_KMS_DOCUMENT = 2,
    EML_IPC_KMS_UNWRAP = 3, /* RSA block -> what it holds (secret) */
    /* object id, size -> its SHA-256, with the descriptor of a sealed memfd that holds it */
    EML_IPC_WEIGHTS = 4,
    EML_IPC_WEIGHTS_BAD = 5,  /* object id: not authentic, not to be given out again -> nothing */
    EML_IPC_HOST_CONNECT = 6, /* -> descriptor of a new connection to the host's service port */
    EML_IPC_BEGIN = 7,        /* a request begins: its time runs; has no answer */
    /* It is done, its result not sent yet: class and numbers for the log, and if it went well
     * digests for the receipt -> the receipt (receipt/receipt.h, without document), or nothing on
     * failure. The answer comes when the log is durable. */
    EML_IPC_REPORT = 8,
    /* The model of a session is gone: microseconds of wiping and exposure, bytes wiped -> nothing
     */
    EML_IPC_DESTROYED = 9,
    EML_IPC_N
};

enum { EML_IPC_NONCE = 32, EML_IPC_USER_DATA = 69, EML_IPC_DIGEST = 32 };
enum { EML_IPC_BLOCK = 256, EML_IPC_ID = 32, EML_IPC_NUMBERS = 6, EML_IPC_WIPE = 3 };
enum { EML_IPC_REQUEST_MAX = 1 + EML_IPC_BLOCK, EML_IPC_MODEL_ID = 16 };

/* What a receipt says that only the worker knows: digests and numbers. */
struct eml_ipc_inference {
    uint8_t mode, isa; /* enum eml_mode, enum eml_isa */
    uint64_t memory_bytes, version;
    uint8_t model_id[EML_IPC_MODEL_ID], object_id[EML_IPC_ID];
    uint8_t topology[EML_IPC_DIGEST];                          /* SHA-256 of the topology key */
    uint8_t request[EML_IPC_DIGEST], response[EML_IPC_DIGEST]; /* session/commit.h */
};

struct eml_ipc_request { /* only the fields of the type are set; the others are zero */
    enum eml_ipc_type type;
    uint8_t nonce[EML_IPC_NONCE], user_data[EML_IPC_USER_DATA];
    uint8_t block[EML_IPC_BLOCK];
    uint8_t id[EML_IPC_ID];
    uint64_t size;
    enum eml_err err; /* REPORT */
    /* REPORT: microseconds of weights, assemble, run, wipe, exposure; bytes wiped. DESTROYED: the
     * last three, in their places */
    uint64_t number[EML_IPC_NUMBERS];
    struct eml_ipc_inference inference; /* REPORT with EML_OK; else zero */
};

/* Appends the message. */
EML_MUST enum eml_err eml_ipc_encode(const struct eml_ipc_request *r, struct eml_buf *out);
/* EML_E_INPUT for anything but exactly one message; *out is then zero. */
EML_MUST enum eml_err eml_ipc_decode(struct eml_bytes message, struct eml_ipc_request *out);

/* One packet, with a descriptor if fd >= 0 (the caller keeps its own). Does not wait: a socket
 * whose peer does not read is EML_E_NET. */
EML_MUST enum eml_err eml_ipc_send(int sock, struct eml_bytes packet, int fd);
/* One packet into room. *fd: the descriptor that came with it, or -1; fd NULL: none may come (it is
 * closed and the packet refused). EML_E_NET: the peer is gone or silent; EML_E_INPUT: too long, or
 * more descriptors than one. *got is 0 and *fd -1 on failure. */
EML_MUST enum eml_err eml_ipc_recv(int sock, int64_t deadline_ms, struct eml_room room, size_t *got,
                                   int *fd);

/* The worker's side of an exchange. body: filled with the answer's body, *len bytes (may be NULL,
 * NULL: none expected). fd: as in eml_ipc_recv; if not NULL an OK must bring one. The error is the
 * broker's answer, or EML_E_SYSTEM if the broker is gone or does not make sense. */
struct eml_ipc_answer {
    struct eml_room body;
    size_t len;
    int fd; /* -1: none */
    bool wants_fd;
};
EML_MUST enum eml_err eml_ipc_call(int sock, const struct eml_ipc_request *r, int64_t deadline_ms,
                                   struct eml_ipc_answer *answer);
/* Its two halves, for who has something to do between them: a question needs its answer before the
 * next one. */
EML_MUST enum eml_err eml_ipc_ask(int sock, const struct eml_ipc_request *r);
EML_MUST enum eml_err eml_ipc_await(int sock, int64_t deadline_ms, struct eml_ipc_answer *answer);

#endif
