/* One HTTPS request on a connected stream: TLS, the request's bytes, the strict response.
 *
 * Used where the endpoint of TLS is the point: in the enclave, over bytes that the host relays, and
 * in the client. The descriptor is the caller's and stays open; the connection is spent afterwards.
 */
#ifndef EML_HTTPS_HTTPS_H
#define EML_HTTPS_HTTPS_H

#include "crypto/crypto.h"
#include "wire/http1.h"

struct eml_https_peer {
    int fd;
    struct eml_bytes ca_pem; /* the only roots that are trusted */
    const char *host;        /* for SNI and the certificate's name */
    int64_t deadline_ms;     /* monotonic, as in net.h */
};

/* request: a whole HTTP/1.1 request (secret). On success the response is whole and came over an
 * authenticated connection; free it with eml_http1_free. Errors: EML_E_AUTH (certificate or record
 * not authentic), EML_E_NET (stream ended or deadline), EML_E_INPUT (not HTTP as http1.h wants it).
 * *out is empty on failure. All buffers of plaintext are wiped. */
EML_MUST enum eml_err eml_https_call(const struct eml_https_peer *peer, struct eml_bytes request,
                                     size_t body_max, struct eml_http1_response *out,
                                     struct eml_why *why);

#endif
