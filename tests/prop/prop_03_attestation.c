// link: attest pki
/* Property 3: a channel opens iff the document is valid, its measurements match the policy, and its
 * chain ends in a pinned root.
 *
 * A case is a crafted chain, document, policy and expectation, all generated and all consistent,
 * and then at most one defect. Without a defect the document must verify; with one it must be
 * refused for that very reason. */
#include "testsupport/support.h"

#include "attest/attest.h"
#include "cose/sign1.h"
#include "pki/mint.h"
#include "wire/cbor.h"

#include <stdio.h>
#include <string.h>

enum { CASES_N = 400, OPTIONAL_MAX = 200, FIELDS_N = 9, DAY = 86400 };
enum field {
    MODULE_ID,
    DIGEST,
    TIMESTAMP,
    PCRS,
    CERTIFICATE,
    CABUNDLE,
    PUBLIC_KEY,
    USER_DATA,
    NONCE
};
static const char *const names[FIELDS_N] = {"module_id",  "digest",      "timestamp",
                                            "pcrs",       "certificate", "cabundle",
                                            "public_key", "user_data",   "nonce"};

struct world {
    struct eml_gen *g;
    int64_t now_ms, issued_ms;

    /* the chain: certificate i is signed by i - 1 */
    struct eml_cert_spec spec[EML_CHAIN_N];
    struct eml_minted chain[EML_CHAIN_N], stranger;
    size_t forged;  /* this certificate is signed by a stranger of its issuer's name; 0: none */
    size_t swapped; /* certificates swapped and swapped + 1 change places; 0: none */
    size_t dropped; /* this certificate is left out; 0: none */

    /* the document */
    struct eml_pcr pcr[EML_PCR_N];
    uint32_t pcr_present;
    uint8_t public_key[OPTIONAL_MAX], user_data[OPTIONAL_MAX], nonce[OPTIONAL_MAX];
    size_t public_key_len, user_data_len, nonce_len;
    bool indefinite, tagged, shuffled;
    const char *override[FIELDS_N]; /* CBOR in hex instead of the field's value; "": left out */
    const char *head, *tail;        /* hex of pairs before the fields, of bytes after the map */
    struct eml_bytes protected_header;
    bool signed_by_root, altered_after_signing;
    size_t flipped_bit; /* of the signature, plus one; 0: none */
    bool bytes_after;

    struct eml_policy policy;
    struct eml_attest_expect expect;
};

static size_t pick(struct world *w, size_t lo, size_t hi)
{
    return (size_t)eml_gen_range(w->g, (int64_t)lo, (int64_t)hi);
}

/* --- a consistent world --- */

/* The time at which certificates are checked. */
static int64_t checked_at(const struct world *w)
{
    return (w->issued_ms > w->now_ms ? w->issued_ms : w->now_ms) / 1000;
}

static void make_specs(struct world *w)
{
    int64_t now = w->now_ms / 1000;
    const struct eml_cert_spec ca = {.basic_constraints = "critical,CA:TRUE",
                                     .key_usage = "critical,keyCertSign,cRLSign",
                                     .key_ids = true,
                                     .not_before_unix_s = now - DAY,
                                     .not_after_unix_s = now + 20 * DAY};
    static const char *const common_names[EML_CHAIN_N] = {"root", "region", "zone", "instance",
                                                          "enclave"};
    static const char *const limits[EML_CHAIN_N] = {
        "critical,CA:TRUE", "critical,CA:TRUE,pathlen:2", "critical,CA:TRUE,pathlen:1",
        "critical,CA:TRUE,pathlen:0", "critical,CA:FALSE"};
    for (size_t i = 0; i < EML_CHAIN_N; i++) {
        w->spec[i] = ca;
        w->spec[i].common_name = common_names[i];
        w->spec[i].basic_constraints = limits[i];
    }
    w->spec[4].key_usage = "digitalSignature,nonRepudiation";
    w->spec[4].key_ids = false;
    w->spec[4].not_before_unix_s = w->issued_ms / 1000 - eml_gen_range(w->g, 0, 3600);
    w->spec[4].not_after_unix_s = checked_at(w) + eml_gen_range(w->g, 1, 7200);
}

static void make_pcrs(struct world *w)
{
    w->pcr_present = 0xffffu | (uint32_t)(eml_gen_u64(w->g) << 16);
    for (size_t i = 0; i < EML_PCR_N; i++)
        if (i < 3 || eml_gen_bool(w->g))
            eml_gen_fill(w->g, w->pcr[i].b, sizeof w->pcr[i].b);
}

/* Several measurements are accepted; one of them is the document's, in a random place. */
static void make_policy(struct world *w)
{
    struct eml_policy *p = &w->policy;
    const uint8_t zero[48] = {0};
    p->n_roots = pick(w, 1, EML_POLICY_ROOTS_MAX); /* the real root's place: filled in by build */
    p->n_accept = pick(w, 1, EML_POLICY_MEASUREMENTS_MAX);
    for (size_t k = 0; k < p->n_accept; k++) {
        p->accept[k].required = 7u | (uint32_t)eml_gen_u64(w->g);
        for (size_t i = 0; i < EML_PCR_N; i++)
            eml_gen_fill(w->g, p->accept[k].pcr[i].b, sizeof zero);
    }
    struct eml_measurement *m = &p->accept[pick(w, 0, p->n_accept - 1)];
    memcpy(m->pcr, w->pcr, sizeof m->pcr);
    m->required = 7;
    for (uint32_t i = 3; i < EML_PCR_N; i++)
        if ((w->pcr_present >> i & 1) != 0 && eml_gen_bool(w->g) &&
            memcmp(w->pcr[i].b, zero, sizeof zero) != 0)
            m->required |= 1u << i;
    p->max_age_ms = (uint64_t)eml_gen_range(w->g, 60000, 600000);
    p->max_skew_ms = (uint64_t)eml_gen_range(w->g, 0, 60000);
}

static void make_fields(struct world *w)
{
    w->public_key_len = pick(w, 1, OPTIONAL_MAX);
    w->user_data_len = pick(w, 0, OPTIONAL_MAX);
    w->nonce_len = pick(w, 1, OPTIONAL_MAX);
    size_t prefix_len = pick(w, 0, w->user_data_len);
    eml_gen_fill(w->g, w->public_key, sizeof w->public_key);
    eml_gen_fill(w->g, w->user_data, sizeof w->user_data);
    eml_gen_fill(w->g, w->nonce, sizeof w->nonce);
    w->indefinite = eml_gen_bool(w->g);
    w->tagged = eml_gen_bool(w->g);
    w->shuffled = eml_gen_bool(w->g);
    w->protected_header = eml_sign1_es384;
    w->head = w->tail = "";
    w->expect = (struct eml_attest_expect){.nonce = {w->nonce, w->nonce_len},
                                           .user_data_prefix = {w->user_data, prefix_len},
                                           .user_data_bytes = w->user_data_len,
                                           .public_key_bytes = w->public_key_len,
                                           .now_unix_ms = w->now_ms};
}

static void make_world(struct world *w, struct eml_gen *g)
{
    memset(w, 0, sizeof *w);
    w->g = g;
    w->now_ms = eml_gen_range(g, 1600000000000, 2500000000000);
    make_pcrs(w);
    make_policy(w);
    /* a clock that is slow within the skew is no defect */
    w->issued_ms = w->now_ms -
                   eml_gen_range(g, -(int64_t)w->policy.max_skew_ms, (int64_t)w->policy.max_age_ms);
    make_specs(w);
    make_fields(w);
}

/* --- the world's document --- */

static void mint(struct world *w)
{
    for (size_t i = 0; i < EML_CHAIN_N; i++) {
        const struct eml_minted *issuer = i > 0 ? &w->chain[i - 1] : NULL;
        if (w->forged != 0 && i == w->forged) {
            assert_int_equal(eml_mint(&w->spec[i - 1], NULL, &w->stranger), EML_OK);
            issuer = &w->stranger;
        }
        assert_int_equal(eml_mint(&w->spec[i], issuer, &w->chain[i]), EML_OK);
    }
    struct eml_bytes root = eml_buf_bytes(&w->chain[0].cert);
    size_t place = pick(w, 0, w->policy.n_roots - 1);
    if (w->policy.roots[0].b[0] == 0xff) /* a defect asked for foreign roots only */
        return;
    for (size_t i = 0; i < w->policy.n_roots; i++)
        eml_gen_fill(w->g, w->policy.roots[i].b, sizeof w->policy.roots[i].b);
    assert_int_equal(eml_sha256(&root, 1, &w->policy.roots[place]), EML_OK);
}

static void put_bundle(struct world *w, struct eml_buf *b)
{
    size_t order[EML_CHAIN_N - 1] = {0, 1, 2, 3};
    if (w->swapped != 0) {
        order[w->swapped] = w->swapped + 1;
        order[w->swapped + 1] = w->swapped;
    }
    eml_cbor_put_array(b, EML_CHAIN_N - 1 - (w->dropped != 0));
    for (size_t i = 0; i + 1 < EML_CHAIN_N; i++)
        if (w->dropped == 0 || i != w->dropped)
            eml_cbor_put_bytes(b, eml_buf_bytes(&w->chain[order[i]].cert));
}

static void put_pcrs(struct world *w, struct eml_buf *b)
{
    eml_cbor_put_map(b, (uint64_t)__builtin_popcount(w->pcr_present));
    for (uint32_t i = 0; i < EML_PCR_N; i++) {
        if ((w->pcr_present >> i & 1) == 0)
            continue;
        eml_cbor_put_uint(b, i);
        eml_cbor_put_bytes(b, EML_BYTES(w->pcr[i].b));
    }
}

static void put_hex(struct eml_buf *b, const char *hex)
{
    struct eml_buf bytes = eml_test_hex(hex);
    eml_buf_put(b, eml_buf_bytes(&bytes));
    eml_buf_free(&bytes);
}

static void put_field(struct world *w, enum field f, struct eml_buf *b)
{
    if (w->override[f] != NULL && w->override[f][0] == '\0')
        return;
    eml_cbor_put_text(b, eml_bytes_of_str(names[f]));
    if (w->override[f] != NULL) {
        put_hex(b, w->override[f]);
        return;
    }
    switch (f) {
    case MODULE_ID:
        eml_cbor_put_text(b, EML_LIT("i-0-enc0"));
        break;
    case DIGEST:
        eml_cbor_put_text(b, EML_LIT("SHA384"));
        break;
    case TIMESTAMP:
        eml_cbor_put_uint(b, (uint64_t)w->issued_ms);
        break;
    case PCRS:
        put_pcrs(w, b);
        break;
    case CERTIFICATE:
        eml_cbor_put_bytes(b, eml_buf_bytes(&w->chain[4].cert));
        break;
    case CABUNDLE:
        put_bundle(w, b);
        break;
    case PUBLIC_KEY:
        eml_cbor_put_bytes(b, eml_bytes(w->public_key, w->public_key_len));
        break;
    case USER_DATA:
        eml_cbor_put_bytes(b, eml_bytes(w->user_data, w->user_data_len));
        break;
    case NONCE:
        eml_cbor_put_bytes(b, eml_bytes(w->nonce, w->nonce_len));
        break;
    }
}

static struct eml_buf make_payload(struct world *w)
{
    struct eml_buf b = {0};
    size_t order[FIELDS_N], left_out = 0;
    for (size_t i = 0; i < FIELDS_N; i++) {
        order[i] = i;
        left_out += w->override[i] != NULL && w->override[i][0] == '\0';
    }
    for (size_t i = FIELDS_N - 1; i > 0 && w->shuffled; i--) {
        size_t k = pick(w, 0, i), t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
    if (w->indefinite)
        eml_buf_put_u8(&b, 0xbf);
    else
        eml_cbor_put_map(&b, FIELDS_N - left_out + (w->head[0] != '\0'));
    put_hex(&b, w->head);
    for (size_t i = 0; i < FIELDS_N; i++)
        put_field(w, (enum field)order[i], &b);
    if (w->indefinite)
        eml_buf_put_u8(&b, 0xff);
    put_hex(&b, w->tail);
    return b;
}

static struct eml_buf make_document(struct world *w)
{
    mint(w);
    uint8_t signature[96];
    struct eml_buf payload = make_payload(w), message = {0}, document = {0};
    const struct eml_minted *signer = &w->chain[w->signed_by_root ? 0 : 4];
    assert_int_equal(eml_sign1_signed_bytes(w->protected_header, eml_buf_bytes(&payload), &message),
                     EML_OK);
    assert_int_equal(
        eml_es384_sign(eml_buf_bytes(&signer->key), eml_buf_bytes(&message), signature), EML_OK);
    if (w->flipped_bit != 0)
        signature[(w->flipped_bit - 1) / 8] ^= (uint8_t)(1u << (w->flipped_bit - 1) % 8);
    if (w->altered_after_signing) {
        struct eml_buf altered;
        w->issued_ms ^= 1;
        w->shuffled = false;
        altered = make_payload(w);
        eml_buf_free(&payload);
        payload = altered;
    }
    const struct eml_sign1 s = {w->protected_header, eml_buf_bytes(&payload), EML_BYTES(signature)};
    assert_int_equal(
        eml_sign1_encode(&s, w->tagged ? EML_SIGN1_TAGGED : EML_SIGN1_UNTAGGED, &document), EML_OK);
    if (w->bytes_after)
        eml_buf_put_u8(&document, (uint8_t)eml_gen_u64(w->g));
    eml_buf_free(&payload);
    eml_buf_free(&message);
    return document;
}

static void destroy(struct world *w)
{
    for (size_t i = 0; i < EML_CHAIN_N; i++)
        eml_minted_free(&w->chain[i]);
    eml_minted_free(&w->stranger);
}

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
