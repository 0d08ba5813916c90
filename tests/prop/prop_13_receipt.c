// link: receipt pki
/* Property 13, of receipts: one verifies iff document, AIR receipt, statement, record, proof and
 * checkpoint are all authentic, agree with each other, and are what the verifier expects.
 *
 * A case is a generated chain, document, receipt and log, all consistent, and then at most one
 * defect. Without it the receipt must verify, also long after every certificate has expired; with
 * it, it must be refused for that very reason. What a defect changes is signed anew with the right
 * keys where an honest signer could have made it, so that it is the named rule that refuses, not
 * the signature. */
#include "receipt_world.h"

/* --- defects of what is signed --- */

static const struct eml_sha256 other_hash = {{0x5a, 0x5a}};

static void other_document_hash(struct world *w)
{
    w->document_hash_given = true;
    w->air.document_hash = other_hash;
}

static void other_measurement(struct world *w)
{
    uint32_t i;
    do
        i = (uint32_t)pick(w, 0, 8);
    while ((w->air.pcr_present >> i & 1) == 0);
    w->air.pcr[i].b[pick(w, 0, 47)] ^= 1;
}

static void other_platform(struct world *w)
{
    w->air.platform = EML_AIR_TDX;
    w->air.pcr_present &= 0x1f;
}

static void other_nonce(struct world *w)
{
    static const uint8_t nonce[32] = {1};
    w->air.nonce = EML_BYTES(nonce);
}

static void no_nonce(struct world *w)
{
    w->air.nonce = (struct eml_bytes){0};
}

static void evaluation(struct world *w)
{
    w->air.mode = EML_AIR_EVALUATION;
}

static void from_the_future(struct world *w)
{
    w->expect.now_unix_s = w->time_s - 2;
}

static void clock_not_set(struct world *w)
{
    w->expect.now_unix_s = 0;
}

static void before_the_chain(struct world *w)
{
    w->air.issued_s -= 2 * YEAR;
}

static void after_the_chain(struct world *w)
{
    w->air.issued_s += (uint64_t)EML_LEAF_SECONDS;
    w->expect.now_unix_s += YEAR;
}

static void document_after_receipt(struct world *w)
{
    w->document.timestamp_ms = (uint64_t)w->time_s * 1000 + 2100;
}

static void change_key(struct eml_ed25519_sk *key)
{
    key->b[0] ^= 1;
    assert_int_equal(eml_ed25519_make(key), EML_OK);
}

static void other_key_signed_air(struct world *w)
{
    change_key(&w->air_key);
}

static void other_key_signed_statement(struct world *w)
{
    change_key(&w->statement_key);
}

static void other_key_signed_log(struct world *w)
{
    change_key(&w->log_key);
}

static void other_key_in_document(struct world *w)
{
    w->pk.b[0] ^= 1;
}

static void short_key_in_document(struct world *w)
{
    w->document.public_key.len--;
}

static void no_session_document(struct world *w)
{
    w->user_data[0] ^= 1;
}

static void statement_on_another(struct world *w)
{
    w->air_digest_given = true;
    w->statement.air = other_hash;
}

static void record_of_another(struct world *w)
{
    w->record_digest_given = true;
    w->record.bytes[EML_INFERENCE_RECEIPT] = EML_BYTES(other_hash.b);
    w->record.bytes[EML_INFERENCE_MODEL] = EML_BYTES(w->air.model_hash.b);
}

static void record_of_another_model(struct world *w)
{
    w->record_model_given = true;
    w->record.bytes[EML_INFERENCE_MODEL] = EML_BYTES(other_hash.b);
}

static void record_of_a_failure(struct world *w)
{
    w->record.outcome = EML_E_AUTH;
}

static void record_of_another_event(struct world *w)
{
    w->record.event = EML_EVENT_SESSION_OPEN;
}

static void record_before_receipt(struct world *w)
{
    w->record.time_ms = (uint64_t)w->time_s * 1000 - 1;
}

static void record_long_after_receipt(struct world *w)
{
    w->record.time_ms = (uint64_t)w->time_s * 1000 + 60001;
}

static void other_index_in_statement(struct world *w)
{
    w->statement.index++;
}

static void other_sequence_in_record(struct world *w)
{
    w->record.sequence += LOG_MAX;
}

static void other_origin_in_statement(struct world *w)
{
    w->statement.origin = EML_LIT("example/other");
}

static void no_origin_at_all(struct world *w)
{
    w->statement.origin = EML_LIT("a space");
}

static void foreign_root(struct world *w)
{
    w->policy.roots[0].b[0] ^= 1;
}

static void other_measurements_wanted(struct world *w)
{
    w->policy.accept[0].pcr[pick(w, 0, 2)].b[0] ^= 1;
}

static void other_model_wanted(struct world *w)
{
    w->expect.model_hash = &other_hash;
}

static void other_request_wanted(struct world *w)
{
    w->expect.request_hash = &other_hash;
}

static void other_response_wanted(struct world *w)
{
    w->expect.response_hash = &other_hash;
}

static void document_given(struct world *w)
{
    w->expect.document = EML_LIT("another document");
}

static const struct defect {
    void (*apply)(struct world *w);
    enum eml_err e;
    const char *rule;
} defects[] = {
    {other_document_hash, EML_E_AUTH,
     "L4 ATTESTATION_DOC_HASH_MISMATCH: another attestation document"},
    {other_measurement, EML_E_AUTH, "receipt: a measurement is not that of the document"},
    {other_platform, EML_E_AUTH, "L4 PLATFORM_MISMATCH: measurement_type is not the expected one"},
    {other_nonce, EML_E_AUTH, "L4 NONCE_MISMATCH: eat_nonce is not that of the document"},
    {no_nonce, EML_E_AUTH, "L4 NONCE_MISMATCH: eat_nonce is not that of the document"},
    {evaluation, EML_E_REFUSED, "L4 EVALUATION_MODE_REJECTED: security_mode is not production"},
    {from_the_future, EML_E_REFUSED, "L4 TIMESTAMP_FUTURE: iat is ahead of now"},
    {clock_not_set, EML_E_REFUSED, "receipt: this clock is not set"},
    {before_the_chain, EML_E_AUTH, "x509: certificate not yet valid"},
    {after_the_chain, EML_E_AUTH, "x509: certificate expired"},
    {document_after_receipt, EML_E_REFUSED, "attestation: document is from the future"},
    {other_key_signed_air, EML_E_AUTH, "L2 SIG_FAILED: signature is not this key's"},
    {other_key_signed_statement, EML_E_AUTH, "statement: signature is not this key's"},
    {other_key_signed_log, EML_E_AUTH, "note: not signed by this key"},
    {other_key_in_document, EML_E_AUTH, "L2 SIG_FAILED: signature is not this key's"},
    {short_key_in_document, EML_E_AUTH, "attestation: public_key has the wrong length"},
    {no_session_document, EML_E_AUTH, "attestation: user_data is not this session's"},
    {statement_on_another, EML_E_AUTH, "receipt: the statement is on another AIR receipt"},
    {record_of_another, EML_E_AUTH, "receipt: the log's record is of another AIR receipt"},
    {record_of_another_model, EML_E_AUTH, "receipt: the log's record is of another model"},
    {record_of_a_failure, EML_E_AUTH,
     "receipt: the log's record is not of an inference that succeeded"},
    {record_of_another_event, EML_E_AUTH,
     "receipt: the log's record is not of an inference that succeeded"},
    {record_before_receipt, EML_E_AUTH, "receipt: the log's record is of another time"},
    {record_long_after_receipt, EML_E_AUTH, "receipt: the log's record is of another time"},
    {other_index_in_statement, EML_E_AUTH,
     "receipt: statement, record and proof name different places"},
    {other_sequence_in_record, EML_E_AUTH,
     "receipt: statement, record and proof name different places"},
    {other_origin_in_statement, EML_E_AUTH, "note: not signed by this key"},
    {no_origin_at_all, EML_E_INPUT, "receipt: the statement names no log"},
    {foreign_root, EML_E_AUTH, "x509: root is not a pinned one"},
    {other_measurements_wanted, EML_E_REFUSED,
     "attestation: measurements match none of the policy's"},
    {other_model_wanted, EML_E_REFUSED,
     "L4 MODEL_HASH_MISMATCH: model_hash is not the expected one"},
    {other_request_wanted, EML_E_REFUSED,
     "L4 REQUEST_HASH_MISMATCH: request_hash is not the expected one"},
    {other_response_wanted, EML_E_REFUSED,
     "L4 RESPONSE_HASH_MISMATCH: response_hash is not the expected one"},
    {document_given, EML_E_AUTH, "receipt: its document is not the one given"},
};
enum { DEFECTS_N = sizeof defects / sizeof defects[0] };

static enum eml_err verify(const struct world *w, const struct eml_receipt *r, struct eml_why *why)
{
    static const struct eml_receipt_verified nothing;
    struct eml_receipt_verified v;
    struct eml_receipt_report report;
    enum eml_err e = eml_receipt_verify(r, &w->expect, &v, &report, why);
    assert_true(report.n > 0);
    for (size_t i = 0; i < report.n; i++)
        assert_int_equal(report.check[i].passed, e == EML_OK || i + 1 < report.n);
    if (e != EML_OK)
        assert_memory_equal(&v, &nothing, sizeof v);
    return e;
}

static void try_case(struct eml_gen *g, const struct defect *d, size_t number)
{
    struct world w;
    struct eml_why why = {"none", -1};
    make_world(&w, g);
    if (d != NULL)
        d->apply(&w);
    sign(&w);
    enum eml_err e = verify(&w, &w.receipt, &why);
    if (e != (d != NULL ? d->e : EML_OK) || (d != NULL && strcmp(why.rule, d->rule) != 0))
        fail_msg("defect %zu: %s: %s (%ld)", number, eml_err_name(e), why.rule, why.index);
    destroy(&w);
}

static void verifies_iff_everything_agrees(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("prop_13_receipt");
    for (size_t i = 0; i < DEFECTS_N; i++)
        try_case(&g, &defects[i], i);
    for (size_t i = DEFECTS_N; i < CASES_N; i++) {
        size_t k = (size_t)eml_gen_range(&g, 0, 2 * DEFECTS_N);
        try_case(&g, k < DEFECTS_N ? &defects[k] : NULL, k);
    }
    eml_assured(CASES_N,
                "receipts with at most one defect: verified if and only if there is none; every "
                "byte of every part flipped");
}

/* Every byte of every part, one bit flipped; every part missing, or cut; parts of two receipts. */
static void nothing_altered_passes(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("prop_13_receipt flips");
    struct world w, other;
    struct eml_why why;
    make_world(&w, &g);
    make_world(&other, &g);
    w.size = other.size = LOG_MAX;
    sign(&w);
    sign(&other);
    assert_int_equal(verify(&w, &w.receipt, &why), EML_OK);
    struct eml_buf *const part[] = {&w.air_bytes, &w.statement_bytes, &w.record_bytes, &w.proof,
                                    &w.doc};
    struct eml_receipt r = w.receipt;
    struct eml_bytes *const view[] = {&r.air, &r.statement, &r.record, &r.proof, &r.document};
    const struct eml_bytes mine[] = {r.air, r.statement, r.record, r.proof, r.document};
    const struct eml_receipt *o = &other.receipt;
    const struct eml_bytes theirs[] = {o->air, o->statement, o->record, o->proof, o->document};
    for (size_t i = 0; i < 5; i++) {
        for (size_t at = 0; at < part[i]->len; at++) {
            uint8_t mask = (uint8_t)(1u << eml_gen_range(&g, 0, 7));
            part[i]->ptr[at] ^= mask;
            if (verify(&w, &r, &why) == EML_OK)
                fail_msg("part %zu, byte %zu, mask %02x", i, at, mask);
            part[i]->ptr[at] ^= mask;
        }
        *view[i] = (struct eml_bytes){0};
        assert_int_equal(verify(&w, &r, &why), EML_E_INPUT);
        *view[i] = eml_bytes(mine[i].ptr, mine[i].len - 1);
        assert_int_not_equal(verify(&w, &r, &why), EML_OK);
        *view[i] = theirs[i];
        assert_int_not_equal(verify(&w, &r, &why), EML_OK);
        *view[i] = mine[i];
    }
    assert_int_equal(verify(&w, &r, &why), EML_OK);
    destroy(&w);
    destroy(&other);
}

/* --- a session's own document, verified when it began --- */

static void of_another_session(struct world *w)
{
    w->nonce[0] ^= 1;
}

static void of_another_key(struct world *w)
{
    w->pk.b[0] ^= 1;
}

/* Accepted by the policy all the same. */
static void of_another_image(struct world *w)
{
    w->document.pcr[0].b[0] ^= 1;
    w->policy.accept[0].pcr[0] = w->document.pcr[0];
}

static void of_a_later_session(struct world *w)
{
    w->document.timestamp_ms = (uint64_t)w->time_s * 1000 + 2100;
}

static const struct {
    void (*apply)(struct world *w);
    enum eml_err e;
    const char *rule;
} others[] = {
    {of_another_session, EML_E_AUTH, "L4 NONCE_MISMATCH: eat_nonce is not that of the document"},
    {of_another_key, EML_E_AUTH, "L2 SIG_FAILED: signature is not this key's"},
    {of_another_image, EML_E_AUTH, "receipt: a measurement is not that of the document"},
    {of_a_later_session, EML_E_REFUSED, "receipt: not issued in the session of its document"},
};

static void attest(const struct world *w, const struct eml_buf *document, struct eml_attested *out)
{
    struct eml_why why = {"", -1};
    const struct eml_attest_expect expect = {.nonce = EML_BYTES(w->nonce),
                                             .public_key_bytes = sizeof w->pk.b,
                                             .now_unix_ms = (int64_t)w->document.timestamp_ms};
    if (eml_attest_verify(eml_buf_bytes(document), &w->policy, &expect, out, NULL, &why) != EML_OK)
        fail_msg("%s", why.rule);
}

static void assert_refused(const struct world *w, const struct eml_receipt *r, enum eml_err e,
                           const char *rule)
{
    struct eml_why why = {"none", -1};
    assert_int_equal(verify(w, r, &why), e);
    assert_string_equal(why.rule, rule);
}

/* What the session has verified stands for the chain, and for no other document than it was found
 * in: another one, authentic and accepted by the same policy, does not vouch for the receipt. */
static void no_other_document_vouches(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("prop_13_receipt documents");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct world w;
        struct eml_why why;
        struct eml_buf other = {0};
        struct eml_attested known, of_other;
        make_world(&w, &g);
        sign(&w);
        attest(&w, &w.doc, &known);
        w.expect.attested = &known;
        assert_int_equal(verify(&w, &w.receipt, &why), EML_E_USAGE); /* found in which document? */
        w.expect.document = eml_buf_bytes(&w.doc);
        assert_int_equal(verify(&w, &w.receipt, &why), EML_OK);

        others[i].apply(&w);
        sign_document(&w, &other);
        attest(&w, &other, &of_other);
        w.expect.attested = &of_other;
        assert_refused(&w, &w.receipt, others[i].e, others[i].rule);
        w.expect.document = eml_buf_bytes(&other);
        assert_refused(&w, &w.receipt, EML_E_AUTH, "receipt: its document is not the one given");
        struct eml_receipt r = w.receipt;
        r.document = (struct eml_bytes){0};
        assert_refused(&w, &r, EML_E_AUTH,
                       "L4 ATTESTATION_DOC_HASH_MISMATCH: another attestation document");
        eml_buf_free(&other);
        destroy(&w);
    }
}

/* It may be as old as a session may last, by the document's clock. */
static void a_session_has_an_end(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("prop_13_receipt sessions");
    struct world w;
    struct eml_why why;
    struct eml_attested known;
    make_world(&w, &g);
    sign(&w);
    attest(&w, &w.doc, &known);
    w.expect.attested = &known;
    w.expect.document = eml_buf_bytes(&w.doc);
    known.timestamp_ms = (uint64_t)(w.time_s - DAY) * 1000 + 999 + w.policy.max_skew_ms;
    assert_int_equal(verify(&w, &w.receipt, &why), EML_OK);
    known.timestamp_ms--;
    assert_refused(&w, &w.receipt, EML_E_REFUSED,
                   "receipt: not issued in the session of its document");
    destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verifies_iff_everything_agrees),
        cmocka_unit_test(nothing_altered_passes),
        cmocka_unit_test(no_other_document_vouches),
        cmocka_unit_test(a_session_has_an_end),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
