#include "attest/attest.h"

#include "attest/document.h"
#include "base/wipe.h"
#include "cose/sign1.h"

#include <string.h>

const struct eml_sha256 eml_attest_aws_root = {{0x64, 0x1a, 0x03, 0x21, 0xa3, 0xe2, 0x44, 0xef,
                                                0xe4, 0x56, 0x46, 0x31, 0x95, 0xd6, 0x06, 0x31,
                                                0x7e, 0xd7, 0xcd, 0xcc, 0x3c, 0x17, 0x56, 0xe0,
                                                0x98, 0x93, 0xf3, 0xc6, 0x8f, 0x79, 0xbb, 0x5b}};

/* One verification: what is given, and what the checks so far have found. */
struct subject {
    struct eml_bytes document;
    const struct eml_sha256 *roots;
    size_t n_roots;
    int64_t at_unix_s;
    const struct eml_policy *policy;        /* NULL: trust only */
    const struct eml_attest_expect *expect; /* NULL: trust only */
    struct eml_why *why;

    struct eml_sign1 cose;
    struct eml_document claims;
    struct eml_buf spki;    /* the leaf's key, once the chain is verified */
    uint64_t image_version; /* once the measurements match */
};

static enum eml_err refuse(struct subject *s, const char *rule, long index)
{
    return eml_fail(s->why, EML_E_REFUSED, rule, index);
}

static enum eml_err not_authentic(struct subject *s, const char *rule)
{
    return eml_fail(s->why, EML_E_AUTH, rule, -1);
}

static enum eml_err check_envelope(struct subject *s)
{
    if (s->document.len > EML_ATTEST_DOCUMENT_MAX)
        return eml_fail(s->why, EML_E_INPUT, "attestation: document larger than 16 KiB", -1);
    return eml_sign1_parse(s->document, EML_SIGN1_TAG_OPTIONAL, eml_sign1_es384, 96, &s->cose,
                           s->why);
}

static enum eml_err check_fields(struct subject *s)
{
    return eml_document_decode(s->cose.payload, &s->claims, s->why);
}

/* How far a is after b; 0 if it is not. */
static uint64_t ahead_ms(int64_t a, int64_t b)
{
    return a > b ? (uint64_t)a - (uint64_t)b : 0;
}

/* A clock that is slow by no more than the skew must not refuse a leaf that was minted just now. */
static int64_t time_of_validity(const struct subject *s)
{
    if (s->policy == NULL)
        return s->at_unix_s;
    int64_t now = s->expect->now_unix_ms, document = (int64_t)s->claims.timestamp_ms;
    bool slow = document > now && ahead_ms(document, now) <= s->policy->max_skew_ms;
    return (slow ? document : now) / 1000;
}

static enum eml_err check_chain(struct subject *s)
{
    return eml_x509_verify(s->claims.cert, s->claims.n_certs, s->roots, s->n_roots,
                           time_of_validity(s), s->expect != NULL ? s->expect->known : NULL,
                           &s->spki, s->why);
}

static enum eml_err check_signature(struct subject *s)
{
    enum eml_err e = eml_sign1_verify_es384(&s->cose, eml_buf_bytes(&s->spki));
    if (e == EML_OK)
        return EML_OK;
    return eml_fail(s->why, e, "attestation: signature is not the leaf's", -1);
}

/* PCR0 to PCR2 of an enclave started in debug mode are all zero, under a valid signature. */
static enum eml_err check_not_debug(struct subject *s)
{
    for (uint32_t i = 0; i < 3; i++) {
        if ((s->claims.pcr_present & 1u << i) == 0)
            return refuse(s, "attestation: PCR 0, 1 or 2 is missing", (long)i);
        if (eml_ct_is_zero(EML_BYTES(s->claims.pcr[i].b)))
            return refuse(s, "attestation: PCR is all zero (debug mode)", (long)i);
    }
    return EML_OK;
}

/* The first required PCR that differs, or EML_PCR_N. */
static uint32_t first_difference(const struct eml_measurement *m, const struct eml_document *d)
{
    for (uint32_t i = 0; i < EML_PCR_N; i++) {
        if ((m->required & 1u << i) == 0)
            continue;
        if ((d->pcr_present & 1u << i) == 0 || eml_ct_is_zero(EML_BYTES(m->pcr[i].b)) ||
            !eml_bytes_equal(EML_BYTES(m->pcr[i].b), EML_BYTES(d->pcr[i].b)))
            return i;
    }
    return EML_PCR_N;
}

static enum eml_err check_measurements(struct subject *s)
{
    uint32_t best = 0;
    for (size_t k = 0; k < s->policy->n_accept; k++) {
        const struct eml_measurement *m = &s->policy->accept[k];
        uint32_t i = (m->required & 7u) == 7u ? first_difference(m, &s->claims) : 0;
        if (i == EML_PCR_N) {
            s->image_version = m->version;
            return EML_OK;
        }
        best = i > best ? i : best;
    }
    return refuse(s, "attestation: measurements match none of the policy's", (long)best);
}

static enum eml_err check_age(struct subject *s)
{
    int64_t now = s->expect->now_unix_ms, document = (int64_t)s->claims.timestamp_ms;
    if (ahead_ms(now, document) > s->policy->max_age_ms)
        return refuse(s, "attestation: document is older than the policy allows", -1);
    if (ahead_ms(document, now) > s->policy->max_skew_ms)
        return refuse(s, "attestation: document is from the future", -1);
    return EML_OK;
}

static bool demands_nonce(const struct subject *s)
{
    return s->expect->nonce.ptr != NULL;
}

static enum eml_err check_nonce(struct subject *s)
{
    if (s->claims.nonce.ptr == NULL || !eml_ct_equal(s->claims.nonce, s->expect->nonce))
        return not_authentic(s, "attestation: nonce is not this session's");
    return EML_OK;
}

static bool demands_user_data(const struct subject *s)
{
    return s->expect->user_data_prefix.ptr != NULL;
}

static enum eml_err check_user_data(struct subject *s)
{
    struct eml_bytes u = s->claims.user_data, prefix = s->expect->user_data_prefix;
    if (u.ptr == NULL || u.len != s->expect->user_data_bytes || u.len < prefix.len ||
        !eml_ct_equal(eml_bytes(u.ptr, prefix.len), prefix))
        return not_authentic(s, "attestation: user_data is not this session's");
    return EML_OK;
}

static bool demands_public_key(const struct subject *s)
{
    return s->expect->public_key_bytes != 0;
}

static enum eml_err check_public_key(struct subject *s)
{
    if (s->claims.public_key.len != s->expect->public_key_bytes)
        return not_authentic(s, "attestation: public_key has the wrong length");
    return EML_OK;
}

/* In this order: nothing is believed before the signature, and nothing acted upon before all. */
static const struct {
    const char *rule;
    enum eml_err (*check)(struct subject *s);
    bool (*demanded)(const struct subject *s); /* NULL: always */
} checks[] = {
    {"COSE_Sign1 with algorithm ES384", check_envelope, NULL},
    {"document is well formed", check_fields, NULL},
    {"certificate chain is valid at this time and ends in a pinned root", check_chain, NULL},
    {"document is signed by the leaf's key", check_signature, NULL},
    {"not in debug mode (PCR 0, 1, 2 are set)", check_not_debug, NULL},
    {"measurements are those of the policy", check_measurements, NULL},
    {"document is recent", check_age, NULL},
    {"nonce is this session's", check_nonce, demands_nonce},
    {"user_data is bound to this session", check_user_data, demands_user_data},
    {"public_key has the form of an enclave's key", check_public_key, demands_public_key},
};
enum { TRUST_CHECKS_N = 4, CHECKS_N = sizeof checks / sizeof checks[0] };
_Static_assert(CHECKS_N <= EML_ATTEST_CHECKS_MAX, "the report holds every check");

static enum eml_err run(struct subject *s, struct eml_attest_report *report)
{
    size_t n = s->policy == NULL ? TRUST_CHECKS_N : CHECKS_N;
    for (size_t i = 0; i < n; i++) {
        if (checks[i].demanded != NULL && !checks[i].demanded(s))
            continue;
        enum eml_err e = checks[i].check(s);
        if (report != NULL) {
            report->check[report->n].rule = checks[i].rule;
            report->check[report->n++].passed = e == EML_OK;
        }
        EML_TRY(e);
    }
    return EML_OK;
}

static enum eml_err attested(const struct subject *s, struct eml_attested *out)
{
    const struct eml_document *d = &s->claims;
    EML_TRY(eml_sha256(&d->cert[0], 1, &out->root));
    out->image_version = s->image_version;
    out->module_id = d->module_id;
    out->timestamp_ms = d->timestamp_ms;
    out->pcr_present = d->pcr_present;
    memcpy(out->pcr, d->pcr, sizeof out->pcr);
    out->public_key = d->public_key;
    out->user_data = d->user_data;
    out->nonce = d->nonce;
    return EML_OK;
}

static enum eml_err verify(struct subject *s, struct eml_attested *out,
                           struct eml_attest_report *report)
{
    memset(out, 0, sizeof *out);
    enum eml_err e = run(s, report);
    if (e == EML_OK)
        e = attested(s, out);
    eml_buf_free(&s->spki);
    return e;
}

enum eml_err eml_attest_verify_document(struct eml_bytes document, const struct eml_sha256 *roots,
                                        size_t n_roots, int64_t at_unix_s, struct eml_attested *out,
                                        struct eml_why *why)
{
    struct subject s = {.document = document,
                        .roots = roots,
                        .n_roots = n_roots,
                        .at_unix_s = at_unix_s,
                        .why = why};
    return verify(&s, out, NULL);
}

enum eml_err eml_attest_verify(struct eml_bytes document, const struct eml_policy *policy,
                               const struct eml_attest_expect *expect, struct eml_attested *out,
                               struct eml_attest_report *report, struct eml_why *why)
{
    struct subject s = {.document = document,
                        .roots = policy->roots,
                        .n_roots = policy->n_roots,
                        .policy = policy,
                        .expect = expect,
                        .why = why};
    if (report != NULL)
        memset(report, 0, sizeof *report);
    return verify(&s, out, report);
}
