/* A generated chain, document, policy and expectation, all consistent: the document verifies. Who
 * wants another changes a world before it is signed. */
#ifndef EML_TESTS_ATTESTATION_WORLD_H
#define EML_TESTS_ATTESTATION_WORLD_H

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

#endif
