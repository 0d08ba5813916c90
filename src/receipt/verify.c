#include "receipt/verify.h"

#include "base/wipe.h"

#include <string.h>

/* How far the record's clock may be after the receipt's: both are read while one request ends. */
enum { RECORD_DELAY_MS = 60000, SESSION_MS = 24 * 3600 * 1000 };
enum { USER_DATA_BYTES = 5 + 32 + 32 }; /* docs/formats/channel.md */

struct subject {
    const struct eml_receipt *receipt;
    const struct eml_receipt_expect *expect;
    struct eml_bytes document;
    struct eml_receipt_report *report; /* may be NULL */
    struct eml_why *why;

    struct eml_sign1 air_envelope;
    struct eml_ed25519_pk key;
    struct eml_receipt_verified v;
};

static enum eml_err not_authentic(struct subject *s, const char *rule)
{
    return eml_fail(s->why, EML_E_AUTH, rule, -1);
}

static enum eml_err refuse(struct subject *s, const char *rule)
{
    return eml_fail(s->why, EML_E_REFUSED, rule, -1);
}

static bool equal(const struct eml_sha256 *a, const struct eml_sha256 *b)
{
    return eml_ct_equal(EML_BYTES(a->b), EML_BYTES(b->b));
}

static void note(struct subject *s, const char *rule, bool passed)
{
    struct eml_receipt_report *r = s->report;
    if (r == NULL || r->n == EML_RECEIPT_CHECKS_MAX)
        return;
    r->check[r->n].rule = rule;
    r->check[r->n++].passed = passed;
}

/* --- the document, and the receipt that its key signed --- */

static enum eml_err check_parts(struct subject *s)
{
    const struct eml_receipt *r = s->receipt;
    const struct eml_attested *a = s->expect->attested;
    s->document = s->expect->document.ptr != NULL ? s->expect->document : r->document;
    if (a != NULL && (s->expect->document.ptr == NULL || a->public_key.len != sizeof s->key.b))
        return EML_E_USAGE;
    if (r->air.len == 0 || r->statement.len == 0 || r->record.len == 0 || r->proof.len == 0)
        return eml_fail(s->why, EML_E_INPUT, "receipt: a part is missing", -1);
    if (s->document.len == 0)
        return eml_fail(s->why, EML_E_INPUT, "receipt: no attestation document in it or given", -1);
    if (r->document.len != 0 && !eml_bytes_equal(r->document, s->document))
        return not_authentic(s, "receipt: its document is not the one given");
    return EML_OK;
}

static enum eml_err check_air(struct subject *s)
{
    EML_TRY(eml_air_parse(s->receipt->air, &s->air_envelope, s->why));
    return eml_air_claims(s->air_envelope.payload, &s->v.air, s->why);
}

static enum eml_err check_document_hash(struct subject *s)
{
    struct eml_sha256 digest;
    EML_TRY(eml_sha256(&s->document, 1, &digest));
    if (!equal(&digest, &s->v.air.document_hash))
        return not_authentic(s, "L4 ATTESTATION_DOC_HASH_MISMATCH: another attestation document");
    return EML_OK;
}

/* A document that the caller has verified: the receipt must have been issued after it. */
static enum eml_err check_known_document(struct subject *s)
{
    const struct eml_attested *a = s->expect->attested;
    uint64_t end_ms = s->v.air.issued_s * 1000 + 999 + s->expect->policy->max_skew_ms;
    bool in_session = end_ms >= a->timestamp_ms && end_ms - a->timestamp_ms <= SESSION_MS;
    note(s, "AIR receipt was issued in the session of this document", in_session);
    if (!in_session)
        return refuse(s, "receipt: not issued in the session of its document");
    s->v.document = *a;
    memcpy(s->key.b, a->public_key.ptr, sizeof s->key.b);
    return EML_OK;
}

/* At the receipt's time, which is not authentic yet, but is when all has passed. Its milliseconds
 * are not known: the document may be as young as the second's end. */
static enum eml_err check_document(struct subject *s)
{
    struct eml_policy policy = *s->expect->policy;
    struct eml_attest_report report;
    bool possible = s->v.air.issued_s <= (uint64_t)INT64_MAX / 1000 - 1;
    note(s, "AIR receipt's time is one", possible);
    if (!possible)
        return eml_fail(s->why, EML_E_INPUT, "receipt: its time is no time", -1);
    if (s->expect->attested != NULL)
        return check_known_document(s);
    const struct eml_attest_expect expect = {
        .user_data_prefix = EML_LIT("eml/1"),
        .user_data_bytes = USER_DATA_BYTES,
        .public_key_bytes = sizeof s->key.b,
        .now_unix_ms = (int64_t)s->v.air.issued_s * 1000 + 999,
    };
    /* The policy's age is for the moment when a session begins; here it may be as old as a session.
     */
    policy.max_age_ms = SESSION_MS;
    enum eml_err e =
        eml_attest_verify(s->document, &policy, &expect, &s->v.document, &report, s->why);
    for (size_t i = 0; i < report.n; i++)
        note(s, report.check[i].rule, report.check[i].passed);
    if (e == EML_OK)
        memcpy(s->key.b, s->v.document.public_key.ptr, sizeof s->key.b);
    return e;
}

static enum eml_err check_signature(struct subject *s)
{
    return eml_air_authenticate(&s->air_envelope, &s->key, s->why);
}

static enum eml_err check_measurements(struct subject *s)
{
    const struct eml_air *a = &s->v.air;
    if (a->platform != EML_AIR_NITRO)
        return not_authentic(s, "L4 PLATFORM_MISMATCH: measurement_type is not the expected one");
    for (uint32_t i = 0; i < EML_AIR_PCR_N; i++) {
        if ((a->pcr_present >> i & 1) == 0)
            continue;
        if ((s->v.document.pcr_present >> i & 1) == 0 ||
            !eml_ct_equal(EML_BYTES(a->pcr[i].b), EML_BYTES(s->v.document.pcr[i].b)))
            return eml_fail(s->why, EML_E_AUTH,
                            "receipt: a measurement is not that of the document", (long)i);
    }
    return EML_OK;
}

static enum eml_err check_nonce(struct subject *s)
{
    const struct eml_bytes nonce = s->v.document.nonce;
    if (nonce.ptr == NULL || !eml_bytes_equal(nonce, s->v.air.nonce))
        return not_authentic(s, "L4 NONCE_MISMATCH: eat_nonce is not that of the document");
    return EML_OK;
}

static enum eml_err check_mode(struct subject *s)
{
    if (s->v.air.mode != EML_AIR_PRODUCTION && !s->expect->evaluation_allowed)
        return refuse(s, "L4 EVALUATION_MODE_REJECTED: security_mode is not production");
    return EML_OK;
}

static enum eml_err check_now(struct subject *s)
{
    const struct eml_air_policy p = {.now_s = (uint64_t)s->expect->now_unix_s,
                                     .max_skew_s = s->expect->policy->max_skew_ms / 1000};
    if (s->expect->now_unix_s <= 0)
        return refuse(s, "receipt: this clock is not set");
    return eml_air_accept(&s->v.air, &p, s->why);
}

/* --- the statement and the log --- */

static enum eml_err check_statement(struct subject *s)
{
    struct eml_sha256 digest;
    EML_TRY(eml_statement_verify(s->receipt->statement, &s->key, &s->v.statement, s->why));
    EML_TRY(eml_sha256(&s->receipt->air, 1, &digest));
    if (!equal(&digest, &s->v.statement.air))
        return not_authentic(s, "receipt: the statement is on another AIR receipt");
    return EML_OK;
}

static enum eml_err check_record(struct subject *s)
{
    struct eml_sha256 digest;
    struct eml_record *r = &s->v.record;
    EML_TRY(eml_record_decode(s->receipt->record, r, s->why));
    EML_TRY(eml_sha256(&s->receipt->air, 1, &digest));
    if (r->event != EML_EVENT_INFERENCE || r->outcome != EML_OK)
        return not_authentic(s, "receipt: the log's record is not of an inference that succeeded");
    if (!eml_bytes_equal(r->bytes[EML_INFERENCE_RECEIPT], EML_BYTES(digest.b)))
        return not_authentic(s, "receipt: the log's record is of another AIR receipt");
    if (!eml_bytes_equal(r->bytes[EML_INFERENCE_MODEL], EML_BYTES(s->v.air.model_hash.b)))
        return not_authentic(s, "receipt: the log's record is of another model");
    return EML_OK;
}

static enum eml_err check_record_time(struct subject *s)
{
    uint64_t issued_ms = s->v.air.issued_s * 1000; /* bounded by check_document */
    uint64_t record_ms = s->v.record.time_ms;
    if (record_ms < issued_ms || record_ms - issued_ms > RECORD_DELAY_MS)
        return not_authentic(s, "receipt: the log's record is of another time");
    return EML_OK;
}

static enum eml_err check_log(struct subject *s)
{
    struct eml_proof proof;
    struct eml_note_key key;
    enum eml_err err = eml_note_key_make(s->v.statement.origin, &s->key, &key);
    if (err == EML_E_SYSTEM)
        return eml_fail(s->why, err, "out of memory", -1);
    if (err != EML_OK)
        return eml_fail(s->why, EML_E_INPUT, "receipt: the statement names no log", -1);
    EML_TRY(eml_proof_parse(s->receipt->proof, &proof, s->why));
    EML_TRY(eml_proof_verify(&proof, s->receipt->record, &key, &s->v.checkpoint, s->why));
    s->v.index = proof.index;
    return EML_OK;
}

static enum eml_err check_position(struct subject *s)
{
    if (s->v.index != s->v.statement.index || s->v.index != s->v.record.sequence)
        return not_authentic(s, "receipt: statement, record and proof name different places");
    return EML_OK;
}

/* --- what the caller knows --- */

static bool knows_model(const struct subject *s)
{
    return s->expect->model_hash != NULL;
}

static enum eml_err check_model(struct subject *s)
{
    const struct eml_air_policy p = {.model_hash = s->expect->model_hash};
    return eml_air_accept(&s->v.air, &p, s->why);
}

static bool knows_request(const struct subject *s)
{
    return s->expect->request_hash != NULL;
}

static enum eml_err check_request(struct subject *s)
{
    const struct eml_air_policy p = {.request_hash = s->expect->request_hash};
    return eml_air_accept(&s->v.air, &p, s->why);
}

static bool knows_response(const struct subject *s)
{
    return s->expect->response_hash != NULL;
}

static enum eml_err check_response(struct subject *s)
{
    const struct eml_air_policy p = {.response_hash = s->expect->response_hash};
    return eml_air_accept(&s->v.air, &p, s->why);
}

static const struct {
    const char *rule;
    enum eml_err (*check)(struct subject *s);
    bool (*demanded)(const struct subject *s); /* NULL: always */
} checks[] = {
    {"all parts are there, and the document is the one given", check_parts, NULL},
    {"AIR receipt is well formed", check_air, NULL},
    {"AIR receipt names this document", check_document_hash, NULL},
    {NULL, check_document, NULL}, /* notes its own */
    {"AIR receipt is signed by the document's key", check_signature, NULL},
    {"measurements are those of the document", check_measurements, NULL},
    {"nonce is that of the document", check_nonce, NULL},
    {"security mode is allowed", check_mode, NULL},
    {"time is not in the future", check_now, NULL},
    {"statement is on this AIR receipt and signed by the same key", check_statement, NULL},
    {"log record is of this inference", check_record, NULL},
    {"log record is of the same time", check_record_time, NULL},
    {"log record lies under a checkpoint signed by the same key", check_log, NULL},
    {"statement, record and proof name the same place in the log", check_position, NULL},
    {"model is the one given", check_model, knows_model},
    {"request is the inputs given", check_request, knows_request},
    {"response is the outputs given", check_response, knows_response},
};
enum { CHECKS = sizeof checks / sizeof checks[0] };
_Static_assert(CHECKS + EML_ATTEST_CHECKS_MAX <= EML_RECEIPT_CHECKS_MAX, "the report holds all");

enum eml_err eml_receipt_verify(const struct eml_receipt *r,
                                const struct eml_receipt_expect *expect,
                                struct eml_receipt_verified *out, struct eml_receipt_report *report,
                                struct eml_why *why)
{
    struct subject s = {.receipt = r, .expect = expect, .report = report, .why = why};
    memset(out, 0, sizeof *out);
    if (report != NULL)
        memset(report, 0, sizeof *report);
    for (size_t i = 0; i < CHECKS; i++) {
        if (checks[i].demanded != NULL && !checks[i].demanded(&s))
            continue;
        enum eml_err e = checks[i].check(&s);
        if (checks[i].rule != NULL)
            note(&s, checks[i].rule, e == EML_OK);
        EML_TRY(e);
    }
    *out = s.v;
    return EML_OK;
}
