#include "https/https.h"

#include "net/net.h"

/* Sends what TLS has for the peer. */
static enum eml_err flush(struct eml_tls *tls, const struct eml_https_peer *peer)
{
    struct eml_buf out = {0};
    enum eml_err e = eml_tls_drain(tls, &out);
    if (e == EML_OK && out.len != 0)
        e = eml_net_send(peer->fd, eml_buf_bytes(&out), peer->deadline_ms);
    eml_buf_free(&out);
    return e;
}

/* Hands TLS what has come from the peer; nothing means that the stream ended. */
static enum eml_err fill(struct eml_tls *tls, const struct eml_https_peer *peer)
{
    uint8_t chunk[16384];
    size_t n = 0;
    EML_TRY(eml_net_recv_some(peer->fd, EML_ROOM(chunk), peer->deadline_ms, &n));
    return eml_tls_feed(tls, eml_bytes(chunk, n)); /* ciphertext: nothing to wipe */
}

static enum eml_err handshake(struct eml_tls *tls, const struct eml_https_peer *peer,
                              struct eml_why *why)
{
    for (;;) {
        enum eml_tls_want want;
        enum eml_err e = eml_tls_handshake(tls, &want, why);
        enum eml_err sent = flush(tls, peer); /* also the alert that tells the peer why */
        EML_TRY(e);
        EML_TRY(sent);
        if (want == EML_TLS_DONE)
            return EML_OK;
        EML_TRY(fill(tls, peer));
    }
}

static enum eml_err read_response(struct eml_tls *tls, const struct eml_https_peer *peer,
                                  size_t body_max, struct eml_buf *plain,
                                  struct eml_http1_response *out, struct eml_why *why)
{
    for (;;) {
        bool eof = false, complete = false;
        enum eml_err e = eml_tls_read(tls, plain, &eof);
        if (e == EML_OK)
            e = eml_http1_response(eml_buf_bytes(plain), body_max, out, &complete, why);
        if (e != EML_OK || complete)
            return e;
        if (eof)
            return eml_fail(why, EML_E_NET, "https: the response is cut short", -1);
        EML_TRY(flush(tls, peer));
        EML_TRY(fill(tls, peer));
    }
}

enum eml_err eml_https_call(const struct eml_https_peer *peer, struct eml_bytes request,
                            size_t body_max, struct eml_http1_response *out, struct eml_why *why)
{
    struct eml_tls *tls = NULL;
    struct eml_buf plain = {.max = EML_HTTP1_HEAD_BYTES_MAX + 2 * body_max};
    struct eml_why inner = {"https: the connection failed",
                            -1}; /* unless a more exact rule is known */
    *out = (struct eml_http1_response){0};
    enum eml_err e = eml_tls_client(peer->ca_pem, peer->host, &tls);
    if (e == EML_OK)
        e = handshake(tls, peer, &inner);
    if (e == EML_OK)
        e = eml_tls_write(tls, request);
    if (e == EML_OK)
        e = flush(tls, peer);
    if (e == EML_OK)
        e = read_response(tls, peer, body_max, &plain, out, &inner);
    if (e != EML_OK) {
        eml_http1_free(out);
        (void)eml_fail(why, e, inner.rule, inner.index);
    }
    eml_buf_free(&plain);
    eml_tls_free(tls);
    return e;
}
