/* A generated chain, document, receipt and log, all consistent: the receipt verifies. Who wants
 * another changes a world before it is signed. */
#ifndef EML_TESTS_RECEIPT_WORLD_H
#define EML_TESTS_RECEIPT_WORLD_H

#include "testsupport/support.h"

#include "attest/document.h"
#include "pki/mint.h"
#include "receipt/verify.h"

#include <stdio.h>
#include <string.h>

enum { CASES_N = 200, LOG_MAX = 40, DAY = 86400, YEAR = 365 * DAY };
#define ORIGIN EML_LIT("example/log")

struct world {
    struct eml_gen *g;
    int64_t time_s; /* of the inference */
    struct eml_minted root, chain[EML_CHAIN_N];
    struct eml_document document;
    uint8_t user_data[69], nonce[32];
    struct eml_ed25519_sk key, log_key;
    struct eml_ed25519_pk pk;
    struct eml_air air;
    struct eml_statement statement;
    struct eml_record record;
    struct eml_bytes origin;
    uint64_t size; /* of the log */
    struct eml_policy policy;
    struct eml_receipt_expect expect;
    struct eml_sha256 expected_hash[3];

    /* do not compute them */
    bool document_hash_given, air_digest_given, record_digest_given, record_model_given;
    struct eml_ed25519_sk statement_key, air_key;
    struct eml_sha256 air_digest; /* the record's, which refers to it */
    struct eml_buf doc, air_bytes, statement_bytes, record_bytes, proof;
    struct eml_receipt receipt;
};

static uint64_t pick(struct world *w, uint64_t lo, uint64_t hi)
{
    return (uint64_t)eml_gen_range(w->g, (int64_t)lo, (int64_t)hi);
}

static struct eml_sha256 hash(struct world *w)
{
    struct eml_sha256 h;
    eml_gen_fill(w->g, h.b, sizeof h.b);
    return h;
}

/* --- a consistent world --- */

static void make_document(struct world *w)
{
    struct eml_document *d = &w->document;
    *d = (struct eml_document){.module_id = EML_LIT("i-1-enc1"), .pcr_present = 0xffff};
    /* milliseconds after the second that the receipt names, up to a session before it */
    d->timestamp_ms = (uint64_t)(w->time_s * 1000 + 999 - eml_gen_range(w->g, 0, 7200000));
    for (size_t i = 0; i < 16; i++)
        if (i < 3 || eml_gen_bool(w->g))
            eml_gen_fill(w->g, d->pcr[i].b, sizeof d->pcr[i].b);
    eml_gen_fill(w->g, w->user_data, sizeof w->user_data);
    memcpy(w->user_data, "eml/1", 5);
    eml_gen_fill(w->g, w->nonce, sizeof w->nonce);
    d->user_data = EML_BYTES(w->user_data);
    d->nonce = EML_BYTES(w->nonce);
    d->public_key = EML_BYTES(w->pk.b);
}

static void make_policy(struct world *w)
{
    const struct eml_bytes root = eml_buf_bytes(&w->root.cert);
    w->policy =
        (struct eml_policy){.n_roots = 1, .n_accept = 1, .max_age_ms = 1000, .max_skew_ms = 1000};
    assert_int_equal(eml_sha256(&root, 1, &w->policy.roots[0]), EML_OK);
    w->policy.accept[0].required = 7;
    memcpy(w->policy.accept[0].pcr, w->document.pcr, sizeof w->policy.accept[0].pcr);
    w->expect = (struct eml_receipt_expect){
        .policy = &w->policy, .now_unix_s = w->time_s + eml_gen_range(w->g, 0, 5 * YEAR)};
}

static void make_air(struct world *w)
{
    struct eml_air *a = &w->air;
    *a = (struct eml_air){.issuer = EML_LIT("eml-enclaved"),
                          .issued_s = (uint64_t)w->time_s,
                          .nonce = EML_BYTES(w->nonce),
                          .model_id = EML_LIT("00112233445566778899aabbccddeeff"),
                          .model_version = EML_LIT("1"),
                          .model_hash = hash(w),
                          .request_hash = hash(w),
                          .response_hash = hash(w),
                          .platform = EML_AIR_NITRO,
                          .pcr_present = 7u | ((uint32_t)eml_gen_u64(w->g) & EML_AIR_PCRS),
                          .policy_version = EML_LIT("eml/1"),
                          .sequence = pick(w, 1, 100),
                          .execution_ms = pick(w, 0, 1u << 30),
                          .memory_mb = pick(w, 0, 1u << 20),
                          .mode = EML_AIR_PRODUCTION};
    memcpy(a->pcr, w->document.pcr, sizeof a->pcr);
    eml_gen_fill(w->g, a->cti, sizeof a->cti);
}

static void make_log(struct world *w)
{
    w->size = pick(w, 1, LOG_MAX);
    w->origin = ORIGIN;
    w->statement = (struct eml_statement){.mode = pick(w, 0, 1),
                                          .kernels = EML_LIT("avx512"),
                                          .origin = ORIGIN,
                                          .index = pick(w, 0, w->size - 1)};
    eml_gen_fill(w->g, w->statement.object_id, sizeof w->statement.object_id);
    for (size_t i = 0; i < EML_STATEMENT_NUMBERS; i++)
        w->statement.number[i] = eml_gen_u64(w->g);
    w->record = (struct eml_record){.sequence = w->statement.index,
                                    .event = EML_EVENT_INFERENCE,
                                    .time_ms = (uint64_t)w->time_s * 1000 + pick(w, 0, 60000),
                                    .boot = 1,
                                    .session = 1,
                                    .number = {pick(w, 0, 1000)}};
}

static void make_world(struct world *w, struct eml_gen *g)
{
    memset(w, 0, sizeof *w);
    w->g = g;
    w->time_s = eml_gen_range(g, 1600000000, 1700000000);
    eml_gen_fill(g, w->key.b, sizeof w->key.b);
    assert_int_equal(eml_ed25519_make(&w->key), EML_OK);
    w->log_key = w->statement_key = w->air_key = w->key;
    w->pk = w->key.pk;
    assert_int_equal(eml_mint_root(w->time_s - DAY, &w->root), EML_OK);
    assert_int_equal(eml_mint_chain(&w->root, "i-1", "i-1-enc1", w->time_s - 8000, w->chain),
                     EML_OK);
    make_document(w);
    make_policy(w);
    make_air(w);
    make_log(w);
    w->expected_hash[0] = w->air.model_hash;
    w->expected_hash[1] = w->air.request_hash;
    w->expected_hash[2] = w->air.response_hash;
    if (eml_gen_bool(g))
        w->expect.model_hash = &w->expected_hash[0];
    if (eml_gen_bool(g))
        w->expect.request_hash = &w->expected_hash[1];
    if (eml_gen_bool(g))
        w->expect.response_hash = &w->expected_hash[2];
}

/* --- signing all of it --- */

static struct eml_sha256 digest_of(const struct eml_buf *b)
{
    struct eml_sha256 d;
    const struct eml_bytes bytes = eml_buf_bytes(b);
    assert_int_equal(eml_sha256(&bytes, 1, &d), EML_OK);
    return d;
}

static void sign_document(const struct world *w, struct eml_buf *out)
{
    struct eml_buf payload = {0};
    struct eml_document d = w->document;
    for (size_t i = 0; i < EML_CHAIN_N; i++)
        d.cert[i] = eml_buf_bytes(&w->chain[i].cert);
    d.n_certs = EML_CHAIN_N;
    assert_int_equal(eml_document_encode(&d, &payload), EML_OK);
    assert_int_equal(eml_sign1_sign_es384(eml_buf_bytes(&w->chain[EML_CHAIN_N - 1].key),
                                          eml_buf_bytes(&payload), out),
                     EML_OK);
    eml_buf_free(&payload);
}

/* Records of others around this one, and a proof for it. */
static void prove(struct world *w)
{
    static const struct eml_tree empty;
    struct eml_sha256 leaf[LOG_MAX];
    const struct eml_tree_recent recent = {&empty, leaf, w->size};
    const struct eml_tree_source source = eml_tree_recent_source(&recent);
    struct eml_note_key key;
    struct eml_buf note = {0};
    struct eml_proof p = {.index = w->record.sequence};
    struct eml_checkpoint c = {.origin = w->origin, .size = w->size};
    if (p.index >= w->size) /* a defect: the record lies elsewhere than it says */
        p.index = 0;
    for (size_t i = 0; i < w->size; i++)
        leaf[i] = hash(w);
    assert_int_equal(eml_tree_leaf(eml_buf_bytes(&w->record_bytes), &leaf[p.index]), EML_OK);
    assert_int_equal(eml_tree_source_root(&source, w->size, &c.root), EML_OK);
    assert_int_equal(eml_tree_prove_inclusion(&source, p.index, w->size, &p.path), EML_OK);
    assert_int_equal(eml_note_key_make(w->origin, &w->log_key.pk, &key), EML_OK);
    assert_int_equal(eml_checkpoint_sign(&c, &key, &w->log_key, &note), EML_OK);
    p.checkpoint = eml_buf_bytes(&note);
    assert_int_equal(eml_proof_print(&p, &w->proof), EML_OK);
    eml_buf_free(&note);
}

static void sign(struct world *w)
{
    struct eml_why why = {"", -1};
    sign_document(w, &w->doc);
    if (!w->document_hash_given)
        w->air.document_hash = digest_of(&w->doc);
    if (eml_air_sign(&w->air, &w->air_key, &w->air_bytes, &why) != EML_OK)
        fail_msg("%s", why.rule);
    w->air_digest = digest_of(&w->air_bytes);
    if (!w->air_digest_given)
        w->statement.air = w->air_digest;
    assert_int_equal(eml_statement_sign(&w->statement, &w->statement_key, &w->statement_bytes),
                     EML_OK);
    if (!w->record_digest_given && w->record.event == EML_EVENT_INFERENCE) {
        w->record.bytes[EML_INFERENCE_RECEIPT] = EML_BYTES(w->air_digest.b);
        if (!w->record_model_given)
            w->record.bytes[EML_INFERENCE_MODEL] = EML_BYTES(w->air.model_hash.b);
    }
    assert_int_equal(eml_record_encode(&w->record, &w->record_bytes), EML_OK);
    prove(w);
    w->receipt = (struct eml_receipt){
        eml_buf_bytes(&w->air_bytes), eml_buf_bytes(&w->statement_bytes),
        eml_buf_bytes(&w->record_bytes), eml_buf_bytes(&w->proof), eml_buf_bytes(&w->doc)};
}

static void destroy(struct world *w)
{
    for (size_t i = 0; i < EML_CHAIN_N; i++)
        eml_minted_free(&w->chain[i]);
    eml_minted_free(&w->root);
    eml_buf_free(&w->doc);
    eml_buf_free(&w->air_bytes);
    eml_buf_free(&w->statement_bytes);
    eml_buf_free(&w->record_bytes);
    eml_buf_free(&w->proof);
}

#endif
