#include "receipt/air.h"

#include "base/wipe.h"
#include "wire/cbor.h"

#include <string.h>

#define PROFILE EML_LIT("https://spec.cyntrisec.com/air/v1")
enum { DEPTH = 4, SIGNATURE = 64, PAIRS_MAX = 64, TAG_SIGN1 = 18 };
enum { ALG = 1, ALG_EDDSA = -8, CONTENT_TYPE = 3, CONTENT_CWT = 61, KEY_PROFILE = 265 };

/* {1: -8, 3: 61} */
static const uint8_t header[] = {0xa2, 0x01, 0x27, 0x03, 0x18, 0x3d};

/* --- names --- */

static const char *const platforms[] = {"", "nitro-pcr", "tdx-mrtd-rtmr"};
static const char *const modes[] = {"", "production", "evaluation"};
static const char *const schemes[] = {"", "sha256-single", "sha256-concat", "sha256-manifest"};
enum { PLATFORMS = 3, MODES = 3, SCHEMES = 4 };

const char *eml_air_platform_name(enum eml_air_platform p)
{
    return (unsigned)p < PLATFORMS ? platforms[p] : "";
}

const char *eml_air_mode_name(enum eml_air_mode m)
{
    return (unsigned)m < MODES ? modes[m] : "";
}

const char *eml_air_scheme_name(enum eml_air_scheme s)
{
    return (unsigned)s < SCHEMES ? schemes[s] : "";
}

/* 0 if it is none of them. */
static unsigned number_of(struct eml_bytes text, const char *const *names, unsigned n)
{
    for (unsigned i = 1; i < n; i++)
        if (eml_bytes_equal(text, eml_bytes_of_str(names[i])))
            return i;
    return 0;
}

/* --- the claims, in the order of deterministic encoding --- */

enum claim {
    ISS,
    IAT,
    CTI,
    NONCE,
    EAT_PROFILE,
    MODEL_ID,
    MODEL_VERSION,
    MODEL_HASH,
    REQUEST_HASH,
    RESPONSE_HASH,
    DOCUMENT_HASH,
    MEASUREMENTS,
    POLICY_VERSION,
    SEQUENCE,
    EXECUTION_MS,
    MEMORY_MB,
    SECURITY_MODE,
    HASH_SCHEME,
    CLAIMS
};

#define CLAIM(key, name, type, optional)                                                           \
    {                                                                                              \
        key, EML_CBOR_##type, optional, "L3 MISSING_CLAIM:" name, "L3 WRONG_TYPE:" name,           \
            "L3 BAD_HASH_LENGTH:" name, "L3 BAD_TEXT_LENGTH:" name                                 \
    }
static const struct {
    int64_t key;
    enum eml_cbor_type type;
    bool optional;
    const char *missing, *wrong_type, *hash_length, *text_length;
} claims[CLAIMS] = {
    [ISS] = CLAIM(1, "iss", TEXT, false),
    [IAT] = CLAIM(6, "iat", UINT, false),
    [CTI] = CLAIM(7, "cti", BYTES, false),
    [NONCE] = CLAIM(10, "eat_nonce", BYTES, true),
    [EAT_PROFILE] = CLAIM(KEY_PROFILE, "eat_profile", TEXT, false),
    [MODEL_ID] = CLAIM(-65537, "model_id", TEXT, false),
    [MODEL_VERSION] = CLAIM(-65538, "model_version", TEXT, false),
    [MODEL_HASH] = CLAIM(-65539, "model_hash", BYTES, false),
    [REQUEST_HASH] = CLAIM(-65540, "request_hash", BYTES, false),
    [RESPONSE_HASH] = CLAIM(-65541, "response_hash", BYTES, false),
    [DOCUMENT_HASH] = CLAIM(-65542, "attestation_doc_hash", BYTES, false),
    [MEASUREMENTS] = CLAIM(-65543, "enclave_measurements", MAP, false),
    [POLICY_VERSION] = CLAIM(-65544, "policy_version", TEXT, false),
    [SEQUENCE] = CLAIM(-65545, "sequence_number", UINT, false),
    [EXECUTION_MS] = CLAIM(-65546, "execution_time_ms", UINT, false),
    [MEMORY_MB] = CLAIM(-65547, "memory_peak_mb", UINT, false),
    [SECURITY_MODE] = CLAIM(-65548, "security_mode", TEXT, false),
    [HASH_SCHEME] = CLAIM(-65549, "model_hash_scheme", TEXT, true),
};

static const char *const pcr_names[EML_AIR_PCR_N] = {"pcr0", "pcr1", "pcr2", "pcr3", "pcr4",
                                                     NULL,   NULL,   NULL,   "pcr8"};
#define TYPE_NAME EML_LIT("measurement_type")

/* --- encoding --- */

static void put_text(struct eml_buf *b, const char *s)
{
    eml_cbor_put_text(b, eml_bytes_of_str(s));
}

static void put_measurements(struct eml_buf *b, const struct eml_air *a)
{
    size_t n = 1;
    for (uint32_t i = 0; i < EML_AIR_PCR_N; i++)
        n += a->pcr_present >> i & 1;
    eml_cbor_put_map(b, n);
    for (uint32_t i = 0; i < EML_AIR_PCR_N; i++) {
        if ((a->pcr_present >> i & 1) == 0)
            continue;
        put_text(b, pcr_names[i]);
        eml_cbor_put_bytes(b, EML_BYTES(a->pcr[i].b));
    }
    eml_cbor_put_text(b, TYPE_NAME);
    put_text(b, eml_air_platform_name(a->platform));
}

static void put_claim(struct eml_buf *b, const struct eml_air *a, enum claim c)
{
    const struct eml_sha256 *const hash[] = {&a->model_hash, &a->request_hash, &a->response_hash,
                                             &a->document_hash};
    const uint64_t number[] = {a->sequence, a->execution_ms, a->memory_mb};
    eml_cbor_put_int(b, claims[c].key);
    switch (c) {
    case ISS:
        eml_cbor_put_text(b, a->issuer);
        break;
    case IAT:
        eml_cbor_put_uint(b, a->issued_s);
        break;
    case CTI:
        eml_cbor_put_bytes(b, EML_BYTES(a->cti));
        break;
    case NONCE:
        eml_cbor_put_bytes(b, a->nonce);
        break;
    case EAT_PROFILE:
        eml_cbor_put_text(b, PROFILE);
        break;
    case MODEL_ID:
        eml_cbor_put_text(b, a->model_id);
        break;
    case MODEL_VERSION:
        eml_cbor_put_text(b, a->model_version);
        break;
    case MODEL_HASH:
    case REQUEST_HASH:
    case RESPONSE_HASH:
    case DOCUMENT_HASH:
        eml_cbor_put_bytes(b, EML_BYTES(hash[c - MODEL_HASH]->b));
        break;
    case MEASUREMENTS:
        put_measurements(b, a);
        break;
    case POLICY_VERSION:
        eml_cbor_put_text(b, a->policy_version);
        break;
    case SEQUENCE:
    case EXECUTION_MS:
    case MEMORY_MB:
        eml_cbor_put_uint(b, number[c - SEQUENCE]);
        break;
    case SECURITY_MODE:
        put_text(b, eml_air_mode_name(a->mode));
        break;
    case HASH_SCHEME:
        put_text(b, eml_air_scheme_name(a->scheme));
        break;
    case CLAIMS:
        EML_BUG();
    }
}

static enum eml_err encode(const struct eml_air *a, struct eml_buf *payload)
{
    const bool absent[CLAIMS] = {
        [NONCE] = a->nonce.ptr == NULL, [HASH_SCHEME] = a->scheme == EML_AIR_NO_SCHEME};
    if ((a->pcr_present & ~EML_AIR_PCRS) != 0)
        return EML_E_USAGE;
    eml_cbor_put_map(payload, (uint64_t)CLAIMS - absent[NONCE] - absent[HASH_SCHEME]);
    for (unsigned c = 0; c < CLAIMS; c++)
        if (!absent[c])
            put_claim(payload, a, (enum claim)c);
    return eml_buf_ok(payload);
}

enum eml_err eml_air_sign(const struct eml_air *a, const struct eml_ed25519_sk *key,
                          struct eml_buf *out, struct eml_why *why)
{
    struct eml_buf payload = {0};
    struct eml_air again;
    enum eml_err e = encode(a, &payload);
    if (e == EML_OK && eml_air_claims(eml_buf_bytes(&payload), &again, why) != EML_OK)
        e = EML_E_USAGE;
    if (e == EML_OK)
        e = eml_sign1_sign_ed25519(EML_BYTES(header), key, eml_buf_bytes(&payload),
                                   EML_SIGN1_TAGGED, out);
    eml_buf_free(&payload);
    return e;
}

/* --- level 1 --- */

static enum eml_err bad(struct eml_why *why, const char *rule)
{
    return eml_fail(why, EML_E_INPUT, rule, -1);
}

/* Says which code a header other than the one that there may be has earned. */
static enum eml_err check_header(struct eml_bytes protected_header, struct eml_why *why)
{
    if (eml_bytes_equal(protected_header, EML_BYTES(header)))
        return EML_OK;
    struct eml_cur c = eml_cur(protected_header);
    size_t n = eml_cbor_map(&c, PAIRS_MAX);
    bool eddsa = false, cwt = false;
    for (size_t i = 0; i < n && eml_cur_ok(&c); i++) {
        struct eml_bytes key = eml_cbor_skip(&c, DEPTH), value = eml_cbor_skip(&c, DEPTH);
        struct eml_cur k = eml_cur(key), v = eml_cur(value);
        int64_t label = eml_cbor_int(&k), is = eml_cbor_int(&v);
        if (!eml_cur_done(&k) || !eml_cur_done(&v))
            continue;
        eddsa = eddsa || (label == ALG && is == ALG_EDDSA);
        cwt = cwt || (label == CONTENT_TYPE && is == CONTENT_CWT);
    }
    if (!eml_cur_done(&c))
        return bad(why, "L1 COSE_DECODE_FAILED: protected header is not one map");
    if (!eddsa)
        return bad(why, "L1 BAD_ALG: algorithm is not EdDSA");
    if (!cwt)
        return bad(why, "L1 BAD_CONTENT_TYPE: content type is not application/cwt");
    return bad(why, "L1 COSE_DECODE_FAILED: protected header holds more, or not in order");
}

/* One map and nothing after it, whose profile, if it has one, is AIR v1. */
static enum eml_err check_payload(struct eml_bytes payload, struct eml_why *why)
{
    struct eml_cur c = eml_cur(payload);
    size_t n = eml_cbor_map(&c, PAIRS_MAX);
    bool other = false;
    for (size_t i = 0; i < n && eml_cur_ok(&c); i++) {
        struct eml_bytes key = eml_cbor_skip(&c, DEPTH), value = eml_cbor_skip(&c, DEPTH);
        struct eml_cur k = eml_cur(key), v = eml_cur(value);
        if (eml_cbor_int(&k) != KEY_PROFILE || !eml_cur_ok(&k))
            continue;
        other = other || !eml_bytes_equal(eml_cbor_text(&v, EML_AIR_BYTES_MAX), PROFILE);
    }
    if (!eml_cur_done(&c))
        return bad(why, "L1 PAYLOAD_NOT_MAP: payload is not one map");
    return other ? bad(why, "L1 WRONG_PROFILE: eat_profile is not AIR v1") : EML_OK;
}

enum eml_err eml_air_parse(struct eml_bytes receipt, struct eml_sign1 *out, struct eml_why *why)
{
    struct eml_cur c = eml_cur(receipt);
    struct eml_sign1 s = {0};
    *out = s;
    if (receipt.len > EML_AIR_BYTES_MAX)
        return bad(why, "L1 RECEIPT_TOO_LARGE: more than 65536 bytes");
    if (eml_cbor_tag(&c) != TAG_SIGN1 || eml_cbor_array(&c, 4) != 4)
        return bad(why, "L1 COSE_DECODE_FAILED: not a COSE_Sign1 of four items with tag 18");
    s.protected_header = eml_cbor_bytes(&c, EML_AIR_BYTES_MAX);
    if (!eml_cur_ok(&c))
        return bad(why, "L1 COSE_DECODE_FAILED: protected header is no byte string");
    EML_TRY(check_header(s.protected_header, why));
    if (eml_cbor_peek(&c) != EML_CBOR_MAP)
        return bad(why, "L1 COSE_DECODE_FAILED: unprotected header is no map");
    if (eml_cbor_map(&c, PAIRS_MAX) != 0 || !eml_cur_ok(&c))
        return bad(why, "L1 NON_EMPTY_UNPROTECTED: unprotected header is not empty");
    if (eml_cbor_peek(&c) == EML_CBOR_NULL)
        return bad(why, "L1 MISSING_PAYLOAD: payload is null");
    s.payload = eml_cbor_bytes(&c, EML_AIR_BYTES_MAX);
    if (eml_cur_ok(&c) && s.payload.len == 0)
        return bad(why, "L1 MISSING_PAYLOAD: payload is empty");
    if (!eml_cur_ok(&c))
        return bad(why, "L1 COSE_DECODE_FAILED: payload is no byte string");
    s.signature = eml_cbor_bytes(&c, EML_AIR_BYTES_MAX);
    if (!eml_cur_done(&c))
        return bad(why, "L1 COSE_DECODE_FAILED: the signature is no byte string at the end");
    EML_TRY(check_payload(s.payload, why));
    *out = s;
    return EML_OK;
}

/* --- level 2 --- */

enum eml_err eml_air_authenticate(const struct eml_sign1 *s, const struct eml_ed25519_pk *key,
                                  struct eml_why *why)
{
    if (s->signature.len != SIGNATURE)
        return eml_fail(why, EML_E_AUTH, "L2 BAD_SIG_LENGTH: signature is not 64 bytes", -1);
    enum eml_err e = eml_sign1_verify_ed25519(s, EML_BYTES(header), key);
    return e == EML_OK ? e : eml_fail(why, e, "L2 SIG_FAILED: signature is not this key's", -1);
}

/* --- level 3 --- */

static const char *get_text(struct eml_cur *c, size_t max, enum claim which, struct eml_bytes *out)
{
    *out = eml_cbor_text(c, SIZE_MAX);
    if (!eml_cur_ok(c))
        return claims[which].wrong_type;
    return out->len == 0 || out->len > max ? claims[which].text_length : NULL;
}

static const char *get_hash(struct eml_cur *c, enum claim which, struct eml_sha256 *out)
{
    struct eml_bytes b = eml_cbor_bytes(c, SIZE_MAX);
    if (!eml_cur_ok(c))
        return claims[which].wrong_type;
    if (b.len != sizeof out->b)
        return claims[which].hash_length;
    memcpy(out->b, b.ptr, sizeof out->b);
    if (which == MODEL_HASH && eml_ct_is_zero(b))
        return "L3 ZERO_MODEL_HASH: model_hash is all zero";
    return NULL;
}

static const char *get_cti(struct eml_cur *c, uint8_t out[16])
{
    struct eml_bytes b = eml_cbor_bytes(c, SIZE_MAX);
    if (!eml_cur_ok(c))
        return claims[CTI].wrong_type;
    if (b.len != 16 || eml_ct_is_zero(b))
        return "L3 BAD_CTI_LENGTH: cti is not 16 bytes, or all zero";
    memcpy(out, b.ptr, 16);
    return NULL;
}

static const char *get_nonce(struct eml_cur *c, struct eml_bytes *out)
{
    *out = eml_cbor_bytes(c, SIZE_MAX);
    if (!eml_cur_ok(c))
        return claims[NONCE].wrong_type;
    bool fits = out->len >= EML_AIR_NONCE_MIN && out->len <= EML_AIR_NONCE_MAX;
    return fits ? NULL : "L3 BAD_NONCE_LENGTH: eat_nonce is not 8 to 64 bytes";
}

static const char *get_pcr(struct eml_cur *c, struct eml_bytes name, struct eml_air *a)
{
    for (uint32_t i = 0; i < EML_AIR_PCR_N; i++) {
        if (pcr_names[i] == NULL || !eml_bytes_equal(name, eml_bytes_of_str(pcr_names[i])))
            continue;
        if ((a->pcr_present >> i & 1) != 0)
            return "L3 DUPLICATE_MEASUREMENT: a measurement comes twice";
        if (a->pcr_present >> i != 0 || a->platform != 0)
            return "L3 NOT_DETERMINISTIC: measurements are not in order";
        struct eml_bytes b = eml_cbor_bytes(c, SIZE_MAX);
        if (!eml_cur_ok(c))
            return claims[MEASUREMENTS].wrong_type;
        if (b.len != sizeof a->pcr[i].b)
            return "L3 BAD_MEASUREMENT_LENGTH: a measurement is not 48 bytes";
        memcpy(a->pcr[i].b, b.ptr, b.len);
        a->pcr_present |= 1u << i;
        return NULL;
    }
    return "L3 UNKNOWN_MEASUREMENT: a measurement has no meaning";
}

static const char *get_measurements(struct eml_cur *c, struct eml_air *a)
{
    size_t n = eml_cbor_map(c, PAIRS_MAX);
    for (size_t i = 0; i < n && eml_cur_ok(c); i++) {
        struct eml_bytes name = eml_cbor_text(c, SIZE_MAX);
        const char *rule = NULL;
        if (!eml_bytes_equal(name, TYPE_NAME)) {
            rule = eml_cur_ok(c) ? get_pcr(c, name, a) : NULL;
        } else if (a->platform != 0) {
            rule = "L3 DUPLICATE_MEASUREMENT: a measurement comes twice";
        } else {
            struct eml_bytes type = eml_cbor_text(c, SIZE_MAX);
            a->platform = (enum eml_air_platform)number_of(type, platforms, PLATFORMS);
            if (eml_cur_ok(c) && a->platform == 0)
                rule = "L3 UNKNOWN_MTYPE: measurement_type has no meaning";
        }
        if (rule != NULL)
            return rule;
    }
    if (!eml_cur_ok(c))
        return claims[MEASUREMENTS].wrong_type;
    if (a->platform == 0)
        return "L3 MISSING_CLAIM:measurement_type";
    if ((a->pcr_present & 7) != 7)
        return "L3 MISSING_CLAIM:pcr0, pcr1 or pcr2";
    if (a->platform == EML_AIR_TDX && (a->pcr_present >> 8 & 1) != 0)
        return "L3 UNKNOWN_MEASUREMENT: pcr8 is none of TDX";
    return NULL;
}

static const char *get_number(struct eml_cur *c, enum claim which, uint64_t *out)
{
    *out = eml_cbor_uint(c);
    if (!eml_cur_ok(c))
        return claims[which].wrong_type;
    return which == IAT && *out == 0 ? "L3 BAD_IAT: iat is zero" : NULL;
}

/* The rule that the claim's value breaks, or NULL. */
static const char *get_claim(struct eml_cur *c, enum claim which, struct eml_air *a)
{
    struct eml_sha256 *const hash[] = {&a->model_hash, &a->request_hash, &a->response_hash,
                                       &a->document_hash};
    uint64_t *const number[] = {&a->sequence, &a->execution_ms, &a->memory_mb};
    struct eml_bytes text;
    const char *rule;
    switch (which) {
    case ISS:
        return get_text(c, EML_AIR_ISSUER_MAX, which, &a->issuer);
    case IAT:
        return get_number(c, which, &a->issued_s);
    case CTI:
        return get_cti(c, a->cti);
    case NONCE:
        return get_nonce(c, &a->nonce);
    case EAT_PROFILE:
        return get_text(c, SIZE_MAX, which, &text); /* its value: level 1 */
    case MODEL_ID:
        return get_text(c, EML_AIR_MODEL_ID_MAX, which, &a->model_id);
    case MODEL_VERSION:
        return get_text(c, EML_AIR_VERSION_MAX, which, &a->model_version);
    case MODEL_HASH:
    case REQUEST_HASH:
    case RESPONSE_HASH:
    case DOCUMENT_HASH:
        return get_hash(c, which, hash[which - MODEL_HASH]);
    case MEASUREMENTS:
        return get_measurements(c, a);
    case POLICY_VERSION:
        return get_text(c, EML_AIR_POLICY_VERSION_MAX, which, &a->policy_version);
    case SEQUENCE:
    case EXECUTION_MS:
    case MEMORY_MB:
        return get_number(c, which, number[which - SEQUENCE]);
    case SECURITY_MODE:
        rule = get_text(c, SIZE_MAX, which, &text);
        a->mode = (enum eml_air_mode)number_of(text, modes, MODES);
        return rule != NULL || a->mode != 0
                   ? rule
                   : "L3 UNKNOWN_SECURITY_MODE: neither production nor evaluation";
    case HASH_SCHEME:
        rule = get_text(c, SIZE_MAX, which, &text);
        a->scheme = (enum eml_air_scheme)number_of(text, schemes, SCHEMES);
        return rule != NULL || a->scheme != 0
                   ? rule
                   : "L3 UNKNOWN_MODEL_HASH_SCHEME: model_hash_scheme has no meaning";
    case CLAIMS:
        break;
    }
    EML_BUG();
}

/* The claim with the next key, or CLAIMS: none has it. */
static enum claim get_key(struct eml_cur *c)
{
    enum eml_cbor_type type = eml_cbor_peek(c);
    if (type != EML_CBOR_UINT && type != EML_CBOR_NINT)
        return CLAIMS;
    int64_t key = eml_cbor_int(c);
    unsigned i = 0;
    while (i < CLAIMS && claims[i].key != key)
        i++;
    return eml_cur_ok(c) ? (enum claim)i : CLAIMS;
}

static const char *get_claims(struct eml_bytes payload, struct eml_air *a)
{
    struct eml_cur c = eml_cur(payload);
    bool given[CLAIMS] = {false};
    unsigned last = 0;
    size_t n = eml_cbor_map(&c, PAIRS_MAX);
    for (size_t i = 0; i < n; i++) {
        enum claim which = get_key(&c);
        if (which == CLAIMS)
            return "L3 UNKNOWN_CLAIM: a claim has no meaning";
        if (given[which])
            return "L3 DUPLICATE_CLAIM: a claim comes twice";
        if ((unsigned)which < last)
            return "L3 NOT_DETERMINISTIC: claims are not in order";
        if (eml_cbor_peek(&c) != claims[which].type)
            return claims[which].wrong_type;
        const char *rule = get_claim(&c, which, a);
        if (rule != NULL)
            return rule;
        given[which] = true;
        last = which;
    }
    if (!eml_cur_done(&c))
        return "L3 NOT_DETERMINISTIC: payload is not one map";
    for (unsigned i = 0; i < CLAIMS; i++)
        if (!given[i] && !claims[i].optional)
            return claims[i].missing;
    return NULL;
}

enum eml_err eml_air_claims(struct eml_bytes payload, struct eml_air *out, struct eml_why *why)
{
    struct eml_air a = {0};
    const char *rule = get_claims(payload, &a);
    *out = rule == NULL ? a : (struct eml_air){0};
    return rule == NULL ? EML_OK : bad(why, rule);
}

/* --- level 4 --- */

static bool differs(const struct eml_sha256 *expected, const struct eml_sha256 *is)
{
    return expected != NULL && !eml_ct_equal(EML_BYTES(expected->b), EML_BYTES(is->b));
}

static const char *untimely(const struct eml_air *a, const struct eml_air_policy *p)
{
    if (p->now_s == 0)
        return NULL;
    if (a->issued_s > p->now_s && a->issued_s - p->now_s > p->max_skew_s)
        return "L4 TIMESTAMP_FUTURE: iat is ahead of now";
    if (p->max_age_s != 0 && a->issued_s < p->now_s && p->now_s - a->issued_s > p->max_age_s)
        return "L4 TIMESTAMP_STALE: iat is older than allowed";
    return NULL;
}

static const char *unexpected(const struct eml_air *a, const struct eml_air_policy *p)
{
    if (differs(p->model_hash, &a->model_hash))
        return "L4 MODEL_HASH_MISMATCH: model_hash is not the expected one";
    if (p->model_id.ptr != NULL && !eml_bytes_equal(p->model_id, a->model_id))
        return "L4 MODEL_ID_MISMATCH: model_id is not the expected one";
    if (differs(p->request_hash, &a->request_hash))
        return "L4 REQUEST_HASH_MISMATCH: request_hash is not the expected one";
    if (differs(p->response_hash, &a->response_hash))
        return "L4 RESPONSE_HASH_MISMATCH: response_hash is not the expected one";
    if (differs(p->document_hash, &a->document_hash))
        return "L4 ATTESTATION_DOC_HASH_MISMATCH: another attestation document";
    if (p->platform != 0 && p->platform != a->platform)
        return "L4 PLATFORM_MISMATCH: measurement_type is not the expected one";
    if (p->mode != 0 && p->mode != a->mode)
        return "L4 SECURITY_MODE_MISMATCH: security_mode is not the expected one";
    if (p->production_only && a->mode != EML_AIR_PRODUCTION)
        return "L4 EVALUATION_MODE_REJECTED: security_mode is not production";
    if ((p->nonce_required || p->nonce.ptr != NULL) && a->nonce.ptr == NULL)
        return "L4 NONCE_MISSING: eat_nonce is absent";
    if (p->nonce.ptr != NULL && !eml_bytes_equal(p->nonce, a->nonce))
        return "L4 NONCE_MISMATCH: eat_nonce is not the expected one";
    return NULL;
}

enum eml_err eml_air_accept(const struct eml_air *a, const struct eml_air_policy *p,
                            struct eml_why *why)
{
    const char *rule = untimely(a, p);
    if (rule == NULL)
        rule = unexpected(a, p);
    if (rule == NULL && p->seen != NULL && p->seen(p->ctx, a->cti))
        rule = "L4 REPLAY_CTI: this cti was seen before";
    return rule == NULL ? EML_OK : eml_fail(why, EML_E_REFUSED, rule, -1);
}

enum eml_err eml_air_verify(struct eml_bytes receipt, const struct eml_ed25519_pk *key,
                            const struct eml_air_policy *p, struct eml_air *out,
                            struct eml_why *why)
{
    struct eml_sign1 s;
    struct eml_air a;
    *out = (struct eml_air){0};
    EML_TRY(eml_air_parse(receipt, &s, why));
    EML_TRY(eml_air_authenticate(&s, key, why));
    EML_TRY(eml_air_claims(s.payload, &a, why));
    EML_TRY(eml_air_accept(&a, p, why));
    *out = a;
    return EML_OK;
}
