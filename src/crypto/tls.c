#include "crypto/crypto.h"

#include "base/heap.h"
#include "base/wipe.h"
#include "crypto/pem.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <stdlib.h>
#include <string.h>

enum { PEM_MAX = 1 << 20, UNREAD_MAX = 1 << 20, PIECE = 16384 };

struct eml_tls {
    SSL *ssl;
    BIO *from_peer, *to_peer; /* owned by ssl */
    bool ended;               /* the transport said so */
};

/* Every certificate of the PEM becomes an anchor; false if there is none, or one is malformed. */
static bool add_anchors(SSL_CTX *ctx, struct eml_bytes pem)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    BIO *bio = pem.len != 0 && pem.len <= PEM_MAX ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
    if (bio == NULL)
        return false;
    size_t n = 0;
    bool ok = true, bad = false;
    for (X509 *x; ok && (x = eml_pem_next_cert(bio, &bad)) != NULL; n++) {
        ok = X509_STORE_add_cert(store, x) == 1;
        X509_free(x);
    }
    BIO_free(bio);
    ERR_clear_error();
    return ok && !bad && n != 0;
}

static SSL_CTX *make_ctx(struct eml_bytes ca_pem)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL)
        return NULL;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_security_level(ctx, 2); /* 112 bits: RSA from 2048, no SHA-1 */
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_options(ctx,
                              SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
        add_anchors(ctx, ca_pem))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* The name that the certificate must carry: an IP address, or a DNS name (then also sent as SNI).
 */
static bool set_host(SSL *ssl, const char *host)
{
    if (host[0] == '\0')
        return false;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
        return true;
    ERR_clear_error();
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

enum eml_err eml_tls_client(struct eml_bytes ca_pem, const char *host, struct eml_tls **out)
{
    *out = NULL;
    eml_heap_watch();
    SSL_CTX *ctx = make_ctx(ca_pem);
    if (ctx == NULL) {
        ERR_clear_error();
        return eml_heap_verdict(EML_E_INPUT, NULL);
    }
    struct eml_tls *t = calloc(1, sizeof *t);
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *to = BIO_new(BIO_s_mem());
    SSL_CTX_free(ctx); /* ssl holds a reference */
    if (t == NULL || ssl == NULL || in == NULL || to == NULL || !set_host(ssl, host)) {
        ERR_clear_error();
        BIO_free(in);
        BIO_free(to);
        SSL_free(ssl);
        free(t);
        return EML_E_SYSTEM;
    }
    SSL_set_bio(ssl, in, to);
    SSL_set_connect_state(ssl);
    *t = (struct eml_tls){.ssl = ssl, .from_peer = in, .to_peer = to};
    *out = t;
    return EML_OK;
}

void eml_tls_free(struct eml_tls *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    free(t);
}

enum eml_err eml_tls_feed(struct eml_tls *t, struct eml_bytes from_peer)
{
    if (from_peer.len == 0) {
        t->ended = true;
        return EML_OK;
    }
    if (t->ended)
        return EML_E_USAGE;
    size_t unread = BIO_ctrl_pending(t->from_peer);
    if (from_peer.len > UNREAD_MAX - (unread < UNREAD_MAX ? unread : UNREAD_MAX))
        return EML_E_INPUT;
    return BIO_write(t->from_peer, from_peer.ptr, (int)from_peer.len) == (int)from_peer.len
               ? EML_OK
               : EML_E_SYSTEM;
}

enum eml_err eml_tls_drain(struct eml_tls *t, struct eml_buf *out)
{
    const size_t n = BIO_ctrl_pending(t->to_peer);
    uint8_t *to = n != 0 ? eml_buf_grow(out, n) : NULL;
    if (n != 0 && (to == NULL || BIO_read(t->to_peer, to, (int)n) != (int)n))
        return EML_E_SYSTEM;
    return eml_buf_ok(out);
}

/* Why the handshake failed. */
static enum eml_err refusal(const struct eml_tls *t, struct eml_why *why)
{
    switch (SSL_get_verify_result(t->ssl)) {
    case X509_V_OK:
        return eml_fail(why, EML_E_INPUT, "tls: handshake failed", -1);
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return eml_fail(why, EML_E_AUTH, "tls: certificate is for another name", -1);
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return eml_fail(why, EML_E_AUTH, "tls: certificate not valid now", -1);
    default:
        return eml_fail(why, EML_E_AUTH, "tls: certificate does not lead to a trusted root", -1);
    }
}

enum eml_err eml_tls_handshake(struct eml_tls *t, enum eml_tls_want *want, struct eml_why *why)
{
    *want = EML_TLS_WANT_READ;
    ERR_clear_error();
    int r = SSL_do_handshake(t->ssl);
    if (r == 1) {
        *want = EML_TLS_DONE;
        return EML_OK;
    }
    int error = SSL_get_error(t->ssl, r);
    ERR_clear_error();
    if (error == SSL_ERROR_WANT_READ)
        return t->ended ? eml_fail(why, EML_E_NET, "tls: connection ended in the handshake", -1)
                        : EML_OK;
    /* Watched since eml_tls_client: an anchor may have been left without its key then. */
    return eml_heap_verdict(refusal(t, why), why);
}

enum eml_err eml_tls_write(struct eml_tls *t, struct eml_bytes plain)
{
    ERR_clear_error();
    for (size_t done = 0; done < plain.len;) {
        size_t n = plain.len - done < PIECE ? plain.len - done : PIECE;
        /* A memory BIO takes all, so that a partial write is a failure. */
        if (!SSL_is_init_finished(t->ssl) ||
            SSL_write(t->ssl, plain.ptr + done, (int)n) != (int)n) {
            ERR_clear_error();
            return EML_E_SYSTEM;
        }
        done += n;
    }
    return EML_OK;
}

enum eml_err eml_tls_read(struct eml_tls *t, struct eml_buf *out, bool *eof)
{
    *eof = false;
    uint8_t piece[PIECE];
    for (;;) {
        ERR_clear_error();
        eml_heap_watch();
        int n = SSL_read(t->ssl, piece, sizeof piece);
        if (n > 0) {
            eml_buf_put(out, (struct eml_bytes){piece, (size_t)n});
            eml_wipe(piece, (size_t)n);
            continue;
        }
        int error = SSL_get_error(t->ssl, n);
        ERR_clear_error();
        EML_TRY(eml_buf_ok(out));
        if (error == SSL_ERROR_ZERO_RETURN) {
            *eof = true;
            return EML_OK;
        }
        if (error != SSL_ERROR_WANT_READ)
            return eml_heap_verdict(EML_E_AUTH, NULL);
        return t->ended ? EML_E_AUTH : EML_OK; /* cut off: no close_notify came */
    }
}
