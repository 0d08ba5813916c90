/* A strict parser of one HTTP/1.1 response (RFC 9112), for the KMS client. Bytes in, views out.
 *
 * One way to read any byte: CRLF line ends only, no folded lines, no white space before a colon,
 * exactly one of Content-Length and Transfer-Encoding: chunked, neither twice, no chunk extensions,
 * no trailers, nothing behind the body. Interim (1xx) responses and bodies that end with the
 * connection are refused: we ask for neither. What a header means is the caller's business.
 */
#ifndef EML_WIRE_HTTP1_H
#define EML_WIRE_HTTP1_H

#include "base/bytes.h"

#define EML_HTTP1_HEAD_BYTES_MAX 16384u /* status line and headers */
#define EML_HTTP1_HEADERS_MAX 64u

struct eml_http1_header {
    struct eml_bytes name, value; /* borrowed from the input; value without outer white space */
};

struct eml_http1_response {
    unsigned status; /* 200..599 */
    struct eml_http1_header header[EML_HTTP1_HEADERS_MAX];
    size_t n_headers;
    struct eml_buf body; /* owned: free with eml_http1_free */
};

/* Parses what has been received so far. *complete tells whether the response is whole; until then
 * call again with more bytes (the same ones first), *out is empty and the result EML_OK.
 * EML_E_INPUT with the rule in *why as soon as no further byte can make it right; *out is empty
 * then too. body_max: longest body taken. */
EML_MUST enum eml_err eml_http1_response(struct eml_bytes received, size_t body_max,
                                         struct eml_http1_response *out, bool *complete,
                                         struct eml_why *why);

/* The first header of that name (any case), ptr NULL if there is none. */
struct eml_bytes eml_http1_value(const struct eml_http1_response *r, const char *name);

void eml_http1_free(struct eml_http1_response *r);

#endif
