// link: attest pki
/* Property 3: a channel opens iff the document is valid, its measurements match the policy, and its
 * chain ends in a pinned root.
 *
 * A case is a crafted chain, document, policy and expectation, all generated and all consistent,
 * and then at most one defect. Without a defect the document must verify; with one it must be
 * refused for that very reason. */
#include "attestation_world.h"

/* --- defects --- */

static void foreign_root(struct world *w)
{
    memset(w->policy.roots, 0xff, sizeof w->policy.roots);
}

static void not_a_ca(struct world *w)
{
    w->spec[pick(w, 0, 3)].basic_constraints = "critical,CA:FALSE";
}

static void ca_without_constraints(struct world *w)
{
    w->spec[pick(w, 1, 3)].basic_constraints = NULL;
}

static void may_not_sign(struct world *w)
{
    w->spec[pick(w, 0, 3)].key_usage = "critical,digitalSignature,cRLSign";
}

static void path_too_long(struct world *w)
{
    w->spec[pick(w, 0, 2)].basic_constraints = "critical,CA:TRUE,pathlen:0";
}

static void leaf_is_ca(struct world *w)
{
    w->spec[4].basic_constraints = "critical,CA:TRUE";
}

static void leaf_may_not_sign(struct world *w)
{
    w->spec[4].key_usage = "keyAgreement";
}

static void expired(struct world *w)
{
    w->spec[pick(w, 0, 4)].not_after_unix_s = checked_at(w) - 1;
}

static void not_yet_valid(struct world *w)
{
    w->spec[pick(w, 0, 4)].not_before_unix_s = checked_at(w) + 1;
}

static void other_curve(struct world *w)
{
    w->spec[pick(w, 0, 3)].curve = "P-256";
}

static void forged_link(struct world *w)
{
    w->forged = pick(w, 1, 4);
}

static void swapped_certificates(struct world *w)
{
    w->swapped = pick(w, 1, 2);
}

static void dropped_certificate(struct world *w)
{
    w->dropped = pick(w, 1, 3);
}

static void flipped_signature(struct world *w)
{
    w->flipped_bit = pick(w, 1, 8 * 96);
}

static void wrong_signer(struct world *w)
{
    w->signed_by_root = true;
}

static void altered(struct world *w)
{
    w->altered_after_signing = true;
}

static void other_algorithm(struct world *w)
{
    static const struct eml_bytes headers[] = {
        {(const uint8_t *)"\xa1\x01\x20", 3},                 /* -1: QEMU */
        {(const uint8_t *)"\xa1\x01\x26", 3},                 /* ES256 */
        {(const uint8_t *)"\xa1\x01\x38\x23", 4},             /* ES512 */
        {(const uint8_t *)"\xa2\x01\x38\x22\x04\x41\x31", 7}, /* ES384 and a key id */
        {(const uint8_t *)"\xa0", 1}};
    w->protected_header = headers[pick(w, 0, sizeof headers / sizeof headers[0] - 1)];
}

static void bytes_after(struct world *w)
{
    w->bytes_after = true;
}

static void field_missing(struct world *w)
{
    w->override[pick(w, MODULE_ID, CABUNDLE)] = "";
}

static void unknown_field(struct world *w)
{
    w->override[PUBLIC_KEY] = "";
    w->expect.public_key_bytes = 0;
    w->head = "6178f6";
}

static void field_twice(struct world *w)
{
    w->override[PUBLIC_KEY] = "";
    w->expect.public_key_bytes = 0;
    w->head = "656e6f6e6365f6";
}

static void bytes_after_map(struct world *w)
{
    w->tail = "00";
}

static void null_module(struct world *w)
{
    w->override[MODULE_ID] = "f6";
}

static void other_digest(struct world *w)
{
    w->override[DIGEST] = "66534841323536";
}

static void zero_timestamp(struct world *w)
{
    w->override[TIMESTAMP] = "00";
}

static void empty_pcrs(struct world *w)
{
    w->override[PCRS] = "a0";
}

static void no_bundle(struct world *w)
{
    w->override[CABUNDLE] = "80";
}

static void empty_certificate(struct world *w)
{
    w->override[CERTIFICATE] = "40";
}

static void no_certificate(struct world *w)
{
    w->override[CERTIFICATE] = "4130";
}

static void empty_public_key(struct world *w)
{
    w->override[PUBLIC_KEY] = "40";
}

static void text_user_data(struct world *w)
{
    w->override[USER_DATA] = "6161";
}

static void chunked_nonce(struct world *w)
{
    w->override[NONCE] = "5f4161ff";
}

static void debug_mode(struct world *w)
{
    size_t i = pick(w, 0, 2);
    memset(w->pcr[i].b, 0, sizeof w->pcr[i].b);
    for (size_t k = 0; k < w->policy.n_accept; k++) /* not even if the policy asks for it */
        memset(w->policy.accept[k].pcr[i].b, 0, sizeof w->pcr[i].b);
}

static void pcr_missing(struct world *w)
{
    w->pcr_present &= ~(1u << pick(w, 0, 2));
}

static void pcr_differs(struct world *w)
{
    size_t i = pick(w, 0, 2);
    w->pcr[i].b[pick(w, 0, 47)] ^= (uint8_t)(1u << pick(w, 0, 7));
}

static void required_pcr_absent(struct world *w)
{
    w->pcr_present &= 0xffffu;
    for (size_t k = 0; k < w->policy.n_accept; k++)
        w->policy.accept[k].required |= 1u << 20;
}

static void nothing_accepted(struct world *w)
{
    w->policy.n_accept = 0;
}

static void too_old(struct world *w)
{
    w->spec[4].not_before_unix_s = w->now_ms / 1000 - 1;
    w->issued_ms = w->now_ms - (int64_t)w->policy.max_age_ms - eml_gen_range(w->g, 1, 100000);
}

static void from_the_future(struct world *w)
{
    w->spec[4].not_before_unix_s = w->now_ms / 1000 - 1;
    w->issued_ms = w->now_ms + (int64_t)w->policy.max_skew_ms + eml_gen_range(w->g, 1, 100000);
}

static void replayed(struct world *w)
{
    w->nonce[pick(w, 0, w->nonce_len - 1)] ^= 1;
    static uint8_t demanded[OPTIONAL_MAX];
    memcpy(demanded, w->nonce, sizeof demanded);
    demanded[0] ^= 0x80;
    w->expect.nonce = eml_bytes(demanded, w->nonce_len);
}

static void no_nonce(struct world *w)
{
    w->override[NONCE] = eml_gen_bool(w->g) ? "f6" : "";
}

static void longer_nonce(struct world *w)
{
    w->expect.nonce.len--;
}

static void no_user_data(struct world *w)
{
    w->override[USER_DATA] = "f6"; /* which is not the empty one, should that be demanded */
}

static void other_user_data(struct world *w)
{
    static const uint8_t demanded[OPTIONAL_MAX + 1];
    w->expect.user_data_prefix = EML_BYTES(demanded);
}

static void other_byte_of_user_data(struct world *w)
{
    if (w->expect.user_data_prefix.len == 0)
        w->expect.user_data_prefix.len = w->user_data_len = w->expect.user_data_bytes = 1;
    static uint8_t demanded[OPTIONAL_MAX];
    memcpy(demanded, w->user_data, sizeof demanded);
    demanded[pick(w, 0, w->expect.user_data_prefix.len - 1)] ^= 1;
    w->expect.user_data_prefix.ptr = demanded;
}

static void longer_user_data(struct world *w)
{
    w->expect.user_data_bytes++;
}

static void other_key_length(struct world *w)
{
    w->expect.public_key_bytes++;
}

static void no_public_key(struct world *w)
{
    w->override[PUBLIC_KEY] = "f6";
}

static const struct defect {
    void (*apply)(struct world *w);
    enum eml_err e;
    const char *rule;
} defects[] = {
    {foreign_root, EML_E_AUTH, "x509: root is not a pinned one"},
    {not_a_ca, EML_E_AUTH, "x509: issuer is not a CA"},
    {ca_without_constraints, EML_E_AUTH, "x509: issuer is not a CA"},
    {may_not_sign, EML_E_AUTH, "x509: issuer lacks keyCertSign"},
    {path_too_long, EML_E_AUTH, "x509: path length exceeded"},
    {leaf_is_ca, EML_E_AUTH, "x509: leaf is a CA"},
    {leaf_may_not_sign, EML_E_AUTH, "x509: leaf lacks digitalSignature"},
    {expired, EML_E_AUTH, "x509: certificate expired"},
    {not_yet_valid, EML_E_AUTH, "x509: certificate not yet valid"},
    {other_curve, EML_E_AUTH, "x509: key is not on P-384"},
    {forged_link, EML_E_AUTH, "x509: signature does not verify"},
    {swapped_certificates, EML_E_AUTH, "x509: issuer name does not match"},
    {dropped_certificate, EML_E_AUTH, "x509: issuer name does not match"},
    {flipped_signature, EML_E_AUTH, "attestation: signature is not the leaf's"},
    {wrong_signer, EML_E_AUTH, "attestation: signature is not the leaf's"},
    {altered, EML_E_AUTH, "attestation: signature is not the leaf's"},
    {other_algorithm, EML_E_INPUT, "COSE: protected header is not the expected one"},
    {bytes_after, EML_E_INPUT, "COSE: bytes after the structure"},
    {field_missing, EML_E_INPUT, "document: required field missing"},
    {unknown_field, EML_E_INPUT, "document: unknown field"},
    {field_twice, EML_E_INPUT, "document: field given twice"},
    {bytes_after_map, EML_E_INPUT, "document: payload does not end with its map"},
    {null_module, EML_E_INPUT, "document: module_id is not a non-empty text"},
    {other_digest, EML_E_INPUT, "document: digest is not SHA384"},
    {zero_timestamp, EML_E_INPUT, "document: timestamp is not a positive number"},
    {empty_pcrs, EML_E_INPUT, "document: pcrs are not distinct indices 0..31 with 48 bytes each"},
    {no_bundle, EML_E_INPUT, "document: cabundle is not 1..9 strings of 1..1024 bytes"},
    {empty_certificate, EML_E_INPUT, "document: certificate is not 1..1024 bytes"},
    {no_certificate, EML_E_INPUT, "x509: not a DER certificate"},
    {empty_public_key, EML_E_INPUT, "document: public_key is not null or 1..1024 bytes"},
    {text_user_data, EML_E_INPUT, "document: user_data is not null or 0..1024 bytes"},
    {chunked_nonce, EML_E_INPUT, "document: nonce is not null or 0..1024 bytes"},
    {debug_mode, EML_E_REFUSED, "attestation: PCR is all zero (debug mode)"},
    {pcr_missing, EML_E_REFUSED, "attestation: PCR 0, 1 or 2 is missing"},
    {pcr_differs, EML_E_REFUSED, "attestation: measurements match none of the policy's"},
    {required_pcr_absent, EML_E_REFUSED, "attestation: measurements match none of the policy's"},
    {nothing_accepted, EML_E_REFUSED, "attestation: measurements match none of the policy's"},
    {too_old, EML_E_REFUSED, "attestation: document is older than the policy allows"},
    {from_the_future, EML_E_REFUSED, "attestation: document is from the future"},
    {replayed, EML_E_AUTH, "attestation: nonce is not this session's"},
    {no_nonce, EML_E_AUTH, "attestation: nonce is not this session's"},
    {longer_nonce, EML_E_AUTH, "attestation: nonce is not this session's"},
    {no_user_data, EML_E_AUTH, "attestation: user_data is not this session's"},
    {other_user_data, EML_E_AUTH, "attestation: user_data is not this session's"},
    {other_byte_of_user_data, EML_E_AUTH, "attestation: user_data is not this session's"},
    {longer_user_data, EML_E_AUTH, "attestation: user_data is not this session's"},
    {other_key_length, EML_E_AUTH, "attestation: public_key has the wrong length"},
    {no_public_key, EML_E_AUTH, "attestation: public_key has the wrong length"},
};
enum { DEFECTS_N = sizeof defects / sizeof defects[0] };

/* NULL: no defect. */
static void try_case(struct eml_gen *g, const struct defect *d, size_t number)
{
    struct world w;
    struct eml_attested a;
    struct eml_attest_report report;
    struct eml_why why = {"none", -1};
    make_world(&w, g);
    if (d != NULL)
        d->apply(&w);
    struct eml_buf document = make_document(&w);
    enum eml_err e =
        eml_attest_verify(eml_buf_bytes(&document), &w.policy, &w.expect, &a, &report, &why);
    if (e != (d != NULL ? d->e : EML_OK) || (d != NULL && strcmp(why.rule, d->rule) != 0))
        fail_msg("defect %zu: %s: %s (%ld)", number, eml_err_name(e), why.rule, why.index);
    assert_int_equal(report.check[report.n - 1].passed, e == EML_OK);
    for (size_t i = 0; i + 1 < report.n; i++)
        assert_true(report.check[i].passed);
    if (e == EML_OK) {
        assert_int_equal(a.pcr_present, w.pcr_present);
        for (size_t i = 0; i < EML_PCR_N; i++)
            if ((w.pcr_present >> i & 1) != 0)
                assert_memory_equal(a.pcr[i].b, w.pcr[i].b, sizeof a.pcr[i].b);
        assert_int_equal(a.timestamp_ms, w.issued_ms);
        assert_true(eml_bytes_equal(a.nonce, w.expect.nonce));
    } else { /* nothing of a refused document comes out */
        static const struct eml_attested nothing;
        assert_memory_equal(&a, &nothing, sizeof a);
    }
    eml_buf_free(&document);
    destroy(&w);
}

static void opens_iff_everything_holds(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("prop_03_attestation");
    for (size_t i = 0; i < DEFECTS_N; i++)
        try_case(&g, &defects[i], i);
    for (size_t i = DEFECTS_N; i < CASES_N; i++) {
        size_t k = (size_t)eml_gen_range(&g, 0, 2 * DEFECTS_N);
        try_case(&g, k < DEFECTS_N ? &defects[k] : NULL, k);
    }
    eml_assured(CASES_N,
                "attestation documents with at most one defect out of a table: verified if and "
                "only if there is none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_iff_everything_holds),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
