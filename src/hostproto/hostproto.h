/* What is said to the host: the first frame of a connection and the host's answers
 * (docs/formats/host.md). Wire only: no socket, no meaning, nothing of the channel.
 *
 * A frame is be32 length || bytes (net.h). The first frame's first byte is the kind. On the client
 * port: relay, put, stat, health. On the service port (enclave to host): get, egress, credentials,
 * audit. An answer is a frame: one status byte, then what the kind says: relay, egress   status;
 * from then on the stream is the peer's own, byte for byte put             status; if OK the client
 * sends `size` raw bytes; then a second status get, stat       status, be64 size; after a get,
 * `size` raw bytes health          status, be64 objects, be64 bytes credentials     status, then
 * four fields be16 length || text Every other status ends the connection. Trusts nothing: both
 * sides decode strictly, the whole frame.
 */
#ifndef EML_HOSTPROTO_HOSTPROTO_H
#define EML_HOSTPROTO_HOSTPROTO_H

#include "base/cur.h"

enum eml_host_kind {
    EML_HOST_RELAY = 'R',
    EML_HOST_PUT = 'P',
    EML_HOST_STAT = 'S',
    EML_HOST_HEALTH = 'H',
    EML_HOST_GET = 'G',
    EML_HOST_EGRESS = 'E',
    EML_HOST_CREDENTIALS = 'C',
    EML_HOST_AUDIT = 'A', /* audit.h */
};

enum eml_host_status {
    EML_HOST_OK = 0,
    EML_HOST_BAD_REQUEST = 1,
    EML_HOST_NOT_FOUND = 2,
    EML_HOST_EXISTS = 3,      /* another object has this id */
    EML_HOST_TOO_LARGE = 4,   /* over the object limit or the store's quota */
    EML_HOST_BUSY = 5,        /* a limit on connections or rate */
    EML_HOST_UNREACHABLE = 6, /* the enclave or the endpoint does not answer */
    EML_HOST_SYSTEM = 7,      /* the host cannot: disk, memory */
    EML_HOST_NOT_OFFERED = 8, /* not configured on this host */
    EML_HOST_STATUS_N
};

#define EML_HOST_ID_BYTES 32u
#define EML_HOST_REQUEST_MAX 64u      /* bytes of a first frame */
#define EML_HOST_ANSWER_MAX 16384u    /* bytes of an answer frame */
#define EML_HOST_CREDENTIAL_MAX 4096u /* bytes of one field of the credentials */

struct eml_host_request {
    enum eml_host_kind kind;
    uint8_t id[EML_HOST_ID_BYTES]; /* put, stat, get; else zero */
    uint64_t size;                 /* put; else 0 */
};

/* Appends the frame's content (no length). */
EML_MUST enum eml_err eml_host_request_encode(const struct eml_host_request *r,
                                              struct eml_buf *out);
/* EML_E_INPUT for anything but exactly one request; *out is then zero. */
EML_MUST enum eml_err eml_host_request_decode(struct eml_bytes frame, struct eml_host_request *out);

/* An answer: the status, and up to two numbers (size; objects and bytes). */
struct eml_host_answer {
    enum eml_host_status status;
    size_t n;
    uint64_t number[2];
};
EML_MUST enum eml_err eml_host_answer_encode(const struct eml_host_answer *a, struct eml_buf *out);
/* n: how many numbers an OK of this kind carries (a failure carries none). */
EML_MUST enum eml_err eml_host_answer_decode(struct eml_bytes frame, size_t n,
                                             struct eml_host_answer *out);

/* AWS credentials, borrowed (secret). token is empty for long-lived keys. */
struct eml_host_credentials {
    struct eml_bytes access_key_id, secret_access_key, session_token, region;
};
/* A whole answer with status OK. EML_E_INPUT if a field is too long or a needed one is empty. */
EML_MUST enum eml_err eml_host_credentials_encode(const struct eml_host_credentials *c,
                                                  struct eml_buf *out);
/* Views into frame. *status is set in any case that decodes; fields only if it is OK. */
EML_MUST enum eml_err eml_host_credentials_decode(struct eml_bytes frame,
                                                  enum eml_host_status *status,
                                                  struct eml_host_credentials *out);

/* The error class of a status, and a sentence for a person (a literal). */
enum eml_err eml_host_status_err(enum eml_host_status s);
const char *eml_host_status_rule(enum eml_host_status s);

#endif
