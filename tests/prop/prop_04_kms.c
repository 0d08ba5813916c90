// link: kmsd pki cose
/* A payload under a KMS key decrypts only for the identity that the key's policy names: over
 * generated measurements, contexts and secrets, the enclave's own client code talks to the
 * development KMS as bytes, and one thing of the whole is exchanged for another. Only the untouched
 * call gives the secret. */
#include "testsupport/support.h"

#include "attest/document.h"
#include "aws/cms.h"
#include "aws/kms.h"
#include "base/wipe.h"
#include "cose/sign1.h"
#include "kmsd/api.h"
#include "kmsd/auth.h"
#include "kmsd/cipher.h"
#include "kmsd/policy.h"
#include "pki/mint.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CASES 130
#define NOW 1767323045
#define CALLER "arn:aws:iam::000000000000:role/enclave-host"

enum swap {
    NOTHING,
    PCR0,
    PCR1,
    PCR2,
    DEBUG_MODE,
    NO_RECIPIENT,
    FOREIGN_ROOT,
    EXPIRED,
    FUTURE,
    DOCUMENT_BIT,
    CONTEXT_VALUE,
    CONTEXT_MISSING,
    BLOB_BIT,
    BLOB_OF_OTHER_KEY,
    OTHER_KEY_NAMED,
    RECIPIENT_KEY,
    ANSWER_BIT,
    SIGNATURE,
    SWAPS
};

static char dir[EML_TEST_DIR];
static struct eml_kmsd_api api = {.region = "us-east-1"};
static struct eml_minted root, chain[EML_CHAIN_N], foreign_root, foreign_chain[EML_CHAIN_N];
static struct eml_rsa *ours, *theirs;
static struct eml_buf our_spki, their_spki;
static struct eml_sha256 our_id;

struct trial {
    enum swap swap;
    struct eml_pcr pcr[3];
    uint8_t secret[32];
    char context_value[17];
    const struct eml_kmsd_key *key, *other;
    char arn[128], other_arn[128];
};

static void hex(const uint8_t *b, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", b[i]);
}

static json_t *policy_of(const struct eml_pcr pcr[3])
{
    char text[3][97], policy[1500];
    json_t *v = NULL;
    for (size_t i = 0; i < 3; i++)
        hex(pcr[i].b, sizeof pcr[i].b, text[i]);
    (void)snprintf(policy, sizeof policy,
                   "{\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Resource\":\"*\","
                   "\"Action\":\"kms:Decrypt\",\"Condition\":{\"StringEqualsIgnoreCase\":{"
                   "\"kms:RecipientAttestation:PCR0\":\"%s\","
                   "\"kms:RecipientAttestation:PCR1\":\"%s\","
                   "\"kms:RecipientAttestation:PCR2\":\"%s\"}}}]}",
                   text[0], text[1], text[2]);
    assert_int_equal(eml_json_parse(eml_bytes_of_str(policy), sizeof policy, &v, NULL), EML_OK);
    assert_int_equal(eml_kmsd_policy_check(v, NULL), EML_OK);
    return v;
}

static const struct eml_kmsd_key *make_key(const struct trial *t, char arn[128])
{
    const struct eml_kmsd_key *k = NULL;
    json_t *policy = policy_of(t->pcr);
    assert_int_equal(eml_kmsd_store_create(api.store, "", policy, NOW, &k), EML_OK);
    (void)snprintf(arn, 128, "arn:aws:kms:us-east-1:" EML_KMSD_ACCOUNT ":key/%s", k->id);
    json_decref(policy);
    return k;
}

static void seal_secret(const struct trial *t, const struct eml_kmsd_key *k, struct eml_buf *blob)
{
    json_t *context = json_pack("{s:s}", "session", t->context_value);
    assert_int_equal(eml_kmsd_cipher_seal(k, context, EML_BYTES(t->secret), blob), EML_OK);
    json_decref(context);
}

static void make_document(const struct trial *t, struct eml_buf *out)
{
    const struct eml_minted *certs = t->swap == FOREIGN_ROOT ? foreign_chain : chain;
    struct eml_document d = {.module_id = EML_LIT("i-0de0e10000000000d-enc0123456789abcdef"),
                             .timestamp_ms = (uint64_t)NOW * 1000,
                             .pcr_present = 7,
                             .n_certs = EML_CHAIN_N,
                             .public_key =
                                 eml_buf_bytes(t->swap == RECIPIENT_KEY ? &their_spki : &our_spki)};
    struct eml_buf payload = {0};
    for (size_t i = 0; i < EML_CHAIN_N; i++)
        d.cert[i] = eml_buf_bytes(&certs[i].cert);
    memcpy(d.pcr, t->pcr, sizeof t->pcr);
    if (t->swap >= PCR0 && t->swap <= PCR2)
        d.pcr[t->swap - PCR0].b[17] ^= 4;
    if (t->swap == DEBUG_MODE)
        memset(d.pcr, 0, sizeof t->pcr);
    assert_int_equal(eml_document_encode(&d, &payload), EML_OK);
    assert_int_equal(eml_sign1_sign_es384(eml_buf_bytes(&certs[EML_CHAIN_N - 1].key),
                                          eml_buf_bytes(&payload), out),
                     EML_OK);
    eml_buf_free(&payload);
}

/* The header lines of a request as the server's library would give them. */
static void split_request(struct eml_bytes text, struct eml_sigv4_header header[8],
                          struct eml_sigv4_request *r)
{
    *r = (struct eml_sigv4_request){
        .method = EML_LIT("POST"), .path = EML_LIT("/"), .header = header};
    const char *at = memchr(text.ptr, '\n', text.len), *end = (const char *)text.ptr + text.len;
    assert_non_null(at);
    for (at++; *at != '\r'; at++) {
        const char *colon = memchr(at, ':', (size_t)(end - at));
        const char *cr = memchr(at, '\r', (size_t)(end - at));
        assert_true(colon != NULL && cr != NULL && r->n_headers < 8);
        header[r->n_headers++] = (struct eml_sigv4_header){
            eml_bytes(at, (size_t)(colon - at)), eml_bytes(colon + 2, (size_t)(cr - colon - 2))};
        at = cr + 1;
    }
    r->body = eml_bytes(at + 2, (size_t)(end - at - 2));
}

/* What eml-kmsd does between its socket's ends. */
static void serve(const struct trial *t, struct eml_bytes request, struct eml_buf *response)
{
    const struct eml_kmsd_auth auth = {.caller = {{EML_LIT("AKID"), EML_LIT("secret"), CALLER}},
                                       .n_callers = 1,
                                       .region = EML_LIT("us-east-1")};
    const int64_t now = t->swap == EXPIRED ? NOW + 4 * 3600 : t->swap == FUTURE ? NOW - 86400 : NOW;
    struct eml_sigv4_header header[8];
    struct eml_sigv4_request r;
    const struct eml_kmsd_caller *caller;
    struct eml_kmsd_reply reply;
    char head[128];
    split_request(request, header, &r);
    const char *error = eml_kmsd_authenticate(&auth, &r, NOW, &caller);
    if (error != NULL)
        eml_kmsd_api_error(error, "", &reply);
    else
        eml_kmsd_api_call(&api, EML_LIT("Decrypt"), caller->arn, r.body, now, &reply);
    (void)snprintf(head, sizeof head, "HTTP/1.1 %u X\r\nContent-Length: %zu\r\n\r\n", reply.status,
                   reply.body.len);
    eml_buf_put(response, eml_bytes_of_str(head));
    eml_buf_put(response, eml_buf_bytes(&reply.body));
    eml_kmsd_reply_free(&reply);
}

static enum eml_err unwrap(void *key, struct eml_bytes encrypted_key, struct eml_aead_key *out)
{
    uint8_t block[256];
    size_t n = 0;
    EML_TRY(eml_rsa_oaep_decrypt(key, encrypted_key, EML_ROOM(block), &n));
    if (n == sizeof out->b)
        memcpy(out->b, block, n);
    return n == sizeof out->b ? EML_OK : EML_E_AUTH;
}

/* The enclave's side: ask, read the answer as strictly as the enclave does, open it. */
static enum eml_err ask(const struct trial *t, struct eml_gen *g, struct eml_bytes blob,
                        struct eml_bytes document, struct eml_buf *plain)
{
    const struct eml_kms_endpoint at = {EML_LIT("kms.us-east-1.amazonaws.com"),
                                        EML_LIT("us-east-1")};
    const struct eml_aws_credentials who = {
        EML_LIT("AKID"), t->swap == SIGNATURE ? EML_LIT("Secret") : EML_LIT("secret"), {NULL, 0}};
    const struct eml_kms_pair pair = {EML_LIT("session"), t->swap == CONTEXT_VALUE
                                                              ? EML_LIT("another")
                                                              : eml_bytes_of_str(t->context_value)};
    const struct eml_kms_call call = {
        .key_arn = eml_bytes_of_str(t->swap == OTHER_KEY_NAMED ? t->other_arn : t->arn),
        .context = &pair,
        .n_context = t->swap == CONTEXT_MISSING ? 0 : 1,
        .document = t->swap == NO_RECIPIENT ? (struct eml_bytes){NULL, 0} : document,
    };
    struct eml_buf request = {0}, response = {0};
    struct eml_http1_response r = {0};
    struct eml_kms_answer answer = {0};
    struct eml_why why;
    bool complete = false;
    assert_int_equal(eml_kms_put_decrypt(&at, &who, NOW, &call, blob, &request), EML_OK);
    serve(t, eml_buf_bytes(&request), &response);
    enum eml_err e = eml_http1_response(eml_buf_bytes(&response), 65536, &r, &complete, &why);
    assert_true(e == EML_OK && complete);
    e = eml_kms_get_decrypt(&r, &call, &answer, &why);
    if (e == EML_OK && t->swap == ANSWER_BIT) /* not the iv nor content: CBC has no tag */
        answer.for_recipient.ptr[eml_gen_range(g, 0, 400)] ^= 1;
    if (e == EML_OK)
        e = eml_cms_open(eml_buf_bytes(&answer.for_recipient), &our_id, unwrap, ours, plain, &why);
    eml_kms_answer_free(&answer);
    eml_http1_free(&r);
    eml_buf_free(&request);
    eml_buf_free(&response);
    return e;
}

static void one_case(struct eml_gen *g, enum swap swap)
{
    struct trial t = {.swap = swap};
    struct eml_buf blob = {0}, document = {0}, plain = {0};
    uint8_t value[8];
    for (size_t i = 0; i < 3; i++)
        eml_gen_fill(g, t.pcr[i].b, sizeof t.pcr[i].b);
    eml_gen_fill(g, t.secret, sizeof t.secret);
    eml_gen_fill(g, value, sizeof value);
    hex(value, sizeof value, t.context_value);
    t.key = make_key(&t, t.arn);
    t.other = make_key(&t, t.other_arn);
    seal_secret(&t, swap == BLOB_OF_OTHER_KEY ? t.other : t.key, &blob);
    make_document(&t, &document);
    if (swap == BLOB_BIT)
        blob.ptr[eml_gen_range(g, 0, (int64_t)blob.len - 1)] ^= (uint8_t)(1u << (value[0] % 8));
    if (swap == DOCUMENT_BIT)
        document.ptr[eml_gen_range(g, 0, (int64_t)document.len - 1)] ^=
            (uint8_t)(1u << (value[0] % 8));
    enum eml_err e = ask(&t, g, eml_buf_bytes(&blob), eml_buf_bytes(&document), &plain);
    if (swap == NOTHING) {
        assert_int_equal(e, EML_OK);
        assert_true(eml_bytes_equal(eml_buf_bytes(&plain), EML_BYTES(t.secret)));
    } else {
        if (e == EML_OK)
            fail_msg("exchange %d was not noticed", (int)swap);
        assert_int_equal(plain.len, 0);
    }
    eml_buf_free(&blob);
    eml_buf_free(&document);
    eml_buf_free(&plain);
}

static void only_the_named_identity_decrypts(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("prop_04_kms");
    for (int i = 0; i < CASES; i++)
        one_case(&g, (enum swap)(i % SWAPS));
    eml_assured(CASES,
                "payloads under a KMS key, with measurements, contexts, keys and answers swapped: "
                "they decrypt for the named identity only");
}

static int set_up(void **state)
{
    struct eml_why why;
    (void)state;
    eml_test_dir_make(dir);
    bool ok =
        eml_kmsd_store_open(dir, &api.store, &why) == EML_OK &&
        eml_mint_root(NOW - 60, &root) == EML_OK &&
        eml_mint_root(NOW - 60, &foreign_root) == EML_OK &&
        eml_mint_chain(&root, "i-0de0e10000000000d", "i-0de0e10000000000d-enc0123456789abcdef",
                       NOW - 60, chain) == EML_OK &&
        eml_mint_chain(&foreign_root, "i-0de0e10000000000d",
                       "i-0de0e10000000000d-enc0123456789abcdef", NOW - 60,
                       foreign_chain) == EML_OK &&
        eml_rsa_generate(&ours) == EML_OK && eml_rsa_generate(&theirs) == EML_OK &&
        eml_rsa_spki(ours, &our_spki) == EML_OK && eml_rsa_spki(theirs, &their_spki) == EML_OK;
    struct eml_bytes der = eml_buf_bytes(&root.cert), spki = eml_buf_bytes(&our_spki);
    ok = ok && eml_sha256(&der, 1, &api.trust.root[0]) == EML_OK &&
         eml_sha256(&spki, 1, &our_id) == EML_OK;
    api.trust.n_roots = 1;
    return ok ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    eml_kmsd_store_close(api.store);
    for (size_t i = 0; i < EML_CHAIN_N; i++) {
        eml_minted_free(&chain[i]);
        eml_minted_free(&foreign_chain[i]);
    }
    eml_minted_free(&root);
    eml_minted_free(&foreign_root);
    eml_rsa_free(ours);
    eml_rsa_free(theirs);
    eml_buf_free(&our_spki);
    eml_buf_free(&their_spki);
    return eml_test_dir_drop(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_the_named_identity_decrypts)};
    eml_crypto_init();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
