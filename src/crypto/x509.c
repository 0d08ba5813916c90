#define _DEFAULT_SOURCE /* timegm */
#include "crypto/crypto.h"

#include "base/cur.h"
#include "base/heap.h"
#include "crypto/spki.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <string.h>
#include <time.h>

/* Not X509_verify_cert: Nitro leaves have neither key identifiers nor an extended key usage, so the
 * library's profiles either refuse them or check less than is wanted. The rules of RFC 5280 section
 * 6.1 that apply to such a chain are few and are spelled out here; what is not understood is
 * refused. */

enum { CHAIN_MAX = 10, CERT_BYTES_MAX = 16384 };

struct chain {
    X509 *cert[CHAIN_MAX];
    size_t n;
};

static enum eml_err bad(struct eml_why *why, const char *rule, size_t i)
{
    return eml_fail(why, EML_E_AUTH, rule, (long)i);
}

static enum eml_err parse(const struct eml_bytes *certs, size_t n, struct chain *c,
                          struct eml_why *why)
{
    if (n < 2)
        return eml_fail(why, EML_E_INPUT, "x509: a chain has a root and a leaf at least", -1);
    if (n > CHAIN_MAX)
        return eml_fail(why, EML_E_INPUT, "x509: chain longer than 10 certificates", -1);
    for (c->n = 0; c->n < n; c->n++) {
        size_t i = c->n;
        const uint8_t *p = certs[i].ptr;
        if (certs[i].len == 0 || certs[i].len > CERT_BYTES_MAX ||
            (c->cert[i] = d2i_X509(NULL, &p, (long)certs[i].len)) == NULL)
            return eml_fail(why, EML_E_INPUT, "x509: not a DER certificate", (long)i);
        if (p != certs[i].ptr + certs[i].len) {
            c->n++; /* owned, to be freed */
            return eml_fail(why, EML_E_INPUT, "x509: bytes after the certificate", (long)i);
        }
    }
    return EML_OK;
}

static bool is_pinned(struct eml_bytes der, const struct eml_sha256 *roots, size_t n_roots)
{
    struct eml_sha256 h;
    if (eml_sha256(&der, 1, &h) != EML_OK)
        return false;
    for (size_t i = 0; i < n_roots; i++)
        if (eml_bytes_equal(EML_BYTES(h.b), EML_BYTES(roots[i].b)))
            return true;
    return false;
}

static enum eml_err check_time(X509 *x, int64_t at, size_t i, struct eml_why *why)
{
    int before = ASN1_TIME_cmp_time_t(X509_get0_notBefore(x), (time_t)at);
    int after = ASN1_TIME_cmp_time_t(X509_get0_notAfter(x), (time_t)at);
    if (before == -2 || after == -2)
        return eml_fail(why, EML_E_INPUT, "x509: validity is not a time", (long)i);
    if (before > 0)
        return bad(why, "x509: certificate not yet valid", i);
    if (after < 0)
        return bad(why, "x509: certificate expired", i);
    return EML_OK;
}

/* Only extensions whose meaning is checked below may be critical. */
static enum eml_err check_extensions(X509 *x, size_t i, struct eml_why *why)
{
    uint32_t flags = X509_get_extension_flags(x);
    if ((flags & (EXFLAG_INVALID | EXFLAG_PROXY)) != 0)
        return eml_fail(why, EML_E_INPUT, "x509: malformed extension", (long)i);
    for (int k = 0; k < X509_get_ext_count(x); k++) {
        X509_EXTENSION *ext = X509_get_ext(x, k);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(ext));
        if (X509_get_ext_by_OBJ(x, X509_EXTENSION_get_object(ext), k) != -1)
            return eml_fail(why, EML_E_INPUT, "x509: extension given twice", (long)i);
        if (X509_EXTENSION_get_critical(ext) && nid != NID_basic_constraints &&
            nid != NID_key_usage)
            return bad(why, "x509: unknown critical extension", i);
    }
    return EML_OK;
}

static enum eml_err check_key(X509 *x, size_t i, struct eml_why *why)
{
    uint8_t *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki);
    bool ok = len > 0 && eml_spki_is_p384((struct eml_bytes){spki, (size_t)len}) &&
              X509_get0_pubkey(x) != NULL;
    OPENSSL_free(spki);
    if (!ok)
        return bad(why, "x509: key is not on P-384", i);
    if (X509_get_signature_nid(x) != NID_ecdsa_with_SHA384)
        return bad(why, "x509: signature algorithm is not ecdsa-with-SHA384", i);
    return EML_OK;
}

static enum eml_err check_ca(X509 *x, size_t i, size_t n, struct eml_why *why)
{
    if ((X509_get_extension_flags(x) & EXFLAG_CA) == 0)
        return bad(why, "x509: issuer is not a CA", i);
    if ((X509_get_extension_flags(x) & EXFLAG_KUSAGE) == 0 ||
        (X509_get_key_usage(x) & KU_KEY_CERT_SIGN) == 0)
        return bad(why, "x509: issuer lacks keyCertSign", i);
    /* How many CA certificates may follow it: n - 2 - i do. -1: no limit given. */
    long path_len = X509_get_pathlen(x);
    if (path_len >= 0 && (size_t)path_len < n - 2 - i)
        return bad(why, "x509: path length exceeded", i);
    return EML_OK;
}

static enum eml_err check_leaf(X509 *x, size_t i, struct eml_why *why)
{
    if ((X509_get_extension_flags(x) & EXFLAG_CA) != 0 || X509_get_pathlen(x) != -1)
        return bad(why, "x509: leaf is a CA", i);
    if ((X509_get_extension_flags(x) & EXFLAG_KUSAGE) == 0 ||
        (X509_get_key_usage(x) & KU_DIGITAL_SIGNATURE) == 0)
        return bad(why, "x509: leaf lacks digitalSignature", i);
    if ((X509_get_key_usage(x) & KU_KEY_CERT_SIGN) != 0)
        return bad(why, "x509: leaf may sign certificates", i);
    return EML_OK;
}

static enum eml_err check_link(X509 *issuer, X509 *x, size_t i, struct eml_why *why)
{
    if (X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(issuer)) != 0)
        return bad(why, "x509: issuer name does not match", i);
    /* Also compares the two places that name the signature algorithm. */
    if (X509_verify(x, X509_get0_pubkey(issuer)) != 1)
        return bad(why, "x509: signature does not verify", i);
    return EML_OK;
}

static enum eml_err check(const struct chain *c, int64_t at, struct eml_why *why)
{
    for (size_t i = 0; i < c->n; i++) {
        X509 *x = c->cert[i];
        if (X509_get_version(x) != X509_VERSION_3)
            return eml_fail(why, EML_E_INPUT, "x509: not a version 3 certificate", (long)i);
        EML_TRY(check_extensions(x, i, why));
        EML_TRY(check_key(x, i, why));
        EML_TRY(check_link(c->cert[i == 0 ? 0 : i - 1], x, i, why)); /* the root signs itself */
        EML_TRY(i + 1 < c->n ? check_ca(x, i, c->n, why) : check_leaf(x, i, why));
        EML_TRY(check_time(x, at, i, why));
    }
    return EML_OK;
}

static enum eml_err append_spki(X509 *leaf, struct eml_buf *out)
{
    uint8_t *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &spki);
    if (len <= 0)
        return EML_E_SYSTEM;
    eml_buf_put(out, (struct eml_bytes){spki, (size_t)len});
    OPENSSL_free(spki);
    return eml_buf_ok(out);
}

/* --- chains that are known --- */

/* False for what is no chain. */
static bool digest_of(const struct eml_bytes *certs, size_t n, struct eml_sha256 *out)
{
    uint8_t length[CHAIN_MAX][4];
    struct eml_bytes part[2 * CHAIN_MAX];
    if (n < 2 || n > CHAIN_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (certs[i].len > CERT_BYTES_MAX)
            return false;
        eml_store_u32(length[i], (uint32_t)certs[i].len);
        part[2 * i] = EML_BYTES(length[i]);
        part[2 * i + 1] = certs[i];
    }
    return eml_sha256(part, 2 * n, out) == EML_OK;
}

static bool is_known(const struct eml_x509_known *k, const struct eml_sha256 *chain, int64_t at,
                     struct eml_buf *spki)
{
    for (size_t i = 0; i < k->n && i < EML_X509_KNOWN_MAX; i++) {
        if (!eml_bytes_equal(EML_BYTES(k->entry[i].chain.b), EML_BYTES(chain->b)) ||
            at < k->entry[i].from_s || at > k->entry[i].until_s)
            continue;
        eml_buf_put(spki, EML_BYTES(k->entry[i].spki));
        return true;
    }
    return false;
}

static bool unix_s(const ASN1_TIME *t, int64_t *out)
{
    struct tm tm;
    bool ok = ASN1_TIME_to_tm(t, &tm) == 1;
    *out = ok ? (int64_t)timegm(&tm) : 0;
    return ok;
}

/* A chain that cannot be remembered is verified again the next time. */
static void remember(struct eml_x509_known *k, const struct chain *c,
                     const struct eml_sha256 *chain, struct eml_bytes spki)
{
    int64_t from = INT64_MIN, until = INT64_MAX;
    for (size_t i = 0; i < c->n; i++) {
        int64_t before, after;
        if (!unix_s(X509_get0_notBefore(c->cert[i]), &before) ||
            !unix_s(X509_get0_notAfter(c->cert[i]), &after))
            return;
        from = before > from ? before : from;
        until = after < until ? after : until;
    }
    size_t at = k->n++ % EML_X509_KNOWN_MAX;
    EML_ASSERT(spki.len == sizeof k->entry[at].spki);
    k->entry[at].chain = *chain;
    k->entry[at].from_s = from;
    k->entry[at].until_s = until;
    memcpy(k->entry[at].spki, spki.ptr, spki.len);
}

enum eml_err eml_x509_verify(const struct eml_bytes *certs, size_t n,
                             const struct eml_sha256 *roots, size_t n_roots, int64_t at_unix_s,
                             struct eml_x509_known *known, struct eml_buf *spki,
                             struct eml_why *why)
{
    struct chain c = {0};
    struct eml_sha256 chain;
    eml_heap_watch();
    bool named = known != NULL && digest_of(certs, n, &chain);
    if (named && is_pinned(certs[0], roots, n_roots) && is_known(known, &chain, at_unix_s, spki))
        return eml_buf_ok(spki);
    size_t start = spki->len;
    enum eml_err e = parse(certs, n, &c, why);
    if (e == EML_OK && !is_pinned(certs[0], roots, n_roots))
        e = bad(why, "x509: root is not a pinned one", 0);
    if (e == EML_OK)
        e = check(&c, at_unix_s, why);
    if (e == EML_OK)
        e = append_spki(c.cert[n - 1], spki);
    if (e == EML_OK && named)
        remember(known, &c, &chain, eml_bytes(spki->ptr + start, spki->len - start));
    for (size_t i = 0; i < c.n; i++)
        X509_free(c.cert[i]);
    ERR_clear_error();
    return eml_heap_verdict(e, why);
}
