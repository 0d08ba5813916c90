// link: assemble session channel attest aws
/* Property 11: whatever allocation fails, what was asked for fails closed (testsupport/failing.h).
 */
#include "testsupport/channel_pair.h"
#include "testsupport/failing.h"
#include "testsupport/support.h"

#include "assemble/assemble.h"
#include "attest/attest.h"
#include "aws/cms.h"
#include "aws/kms.h"
#include "base/wipe.h"
#include "engine/pool.h"
#include "session/match.h"
#include "session/request.h"

#include <string.h>

/* --- the request, from the client's hello to the result in its hands --- */

enum { N = 64, ARENA = 16 << 20 };

static struct {
    struct eml_buf topology, sealed;
    uint8_t digest[32];
    float x[N], w[N];
} model;

/* y = Loop(3 times: y = y + w) from x: dynamic, with weights, constants and a body. z = x + w. */
static void make_model(void)
{
    static const int64_t three[] = {3}, body_attr[] = {0}, captures[] = {1};
    static const struct eml_attr attrs[] = {{EML_ATTR_BODY, 1, body_attr},
                                            {EML_ATTR_CAPTURES, 1, captures}};
    static const uint32_t add_in[] = {0, 1}, add_out[] = {2}, loop_in[] = {3, EML_ABSENT, 0, 1},
                          loop_out[] = {4}, body_in[] = {2, 3}, body_out[] = {4};
    struct eml_value body_values[] = {{.kind = EML_VALUE_INPUT, .dtype = EML_DT_I64},
                                      {.kind = EML_VALUE_INPUT, .dtype = EML_DT_BOOL},
                                      {.kind = EML_VALUE_INPUT, .dtype = EML_DT_F32},
                                      {.kind = EML_VALUE_INPUT, .dtype = EML_DT_F32},
                                      {.kind = EML_VALUE_NODE, .dtype = EML_DT_F32}};
    struct eml_name body_inputs[] = {{{0}, 0}, {{0}, 1}, {{0}, 2}, {{0}, 3}},
                    body_outputs[] = {{{0}, 1}, {{0}, 4}};
    struct eml_node body_node = {.op = EML_OP_ADD,
                                 .n_in = 2,
                                 .n_out = 1,
                                 .in = body_in,
                                 .out = body_out,
                                 .params = EML_ABSENT};
    struct eml_graph body = {.n_values = 5,
                             .n_nodes = 1,
                             .n_inputs = 4,
                             .n_outputs = 2,
                             .values = body_values,
                             .nodes = &body_node,
                             .inputs = body_inputs,
                             .outputs = body_outputs};
    struct eml_value values[] = {
        {.kind = EML_VALUE_INPUT, .dtype = EML_DT_F32, .shape = {1, {EML_DIM_UNKNOWN}}},
        {.kind = EML_VALUE_SLOT, .dtype = EML_DT_F32, .shape = {1, {N}}, .bytes = sizeof model.w},
        {.kind = EML_VALUE_NODE, .dtype = EML_DT_F32},
        {.kind = EML_VALUE_INTS, .dtype = EML_DT_I64, .ints = three, .n_ints = 1},
        {.kind = EML_VALUE_NODE, .dtype = EML_DT_F32}};
    struct eml_node nodes[] = {{.op = EML_OP_ADD,
                                .n_in = 2,
                                .n_out = 1,
                                .in = add_in,
                                .out = add_out,
                                .params = EML_ABSENT},
                               {.op = EML_OP_LOOP,
                                .n_in = 4,
                                .n_out = 1,
                                .n_attr = 2,
                                .in = loop_in,
                                .out = loop_out,
                                .attr = attrs,
                                .params = EML_ABSENT}};
    struct eml_name input = {EML_LIT("x"), 0}, outputs[] = {{EML_LIT("z"), 2}, {EML_LIT("y"), 4}};
    struct eml_topology t = {.min_version = 1, .blob = {.version = 1}};
    t.graph = (struct eml_graph){5, 2, 1, 2, values, nodes, &input, outputs, 1, &body};
    for (int i = 0; i < N; i++) {
        model.x[i] = (float)i;
        model.w[i] = (float)(2 * i);
    }
    memcpy(&model.x[10], marker, sizeof marker);
    memcpy(&model.w[20], marker, sizeof marker);
    assert_int_equal(eml_blob_seal(eml_bytes(model.w, sizeof model.w), &t.blob, &model.sealed),
                     EML_OK);
    memcpy(model.digest, t.blob.digest, sizeof model.digest);
    assert_int_equal(eml_topology_encode(&t, &model.topology), EML_OK);
}

/* Everything that `from` sealed, opened by `to` into room of the arena. */
static enum eml_err carry(struct eml_channel *from, struct eml_channel *to, enum eml_msg_type type,
                          struct eml_bytes content, struct eml_arena *arena, struct eml_bytes *got)
{
    struct eml_buf frames = {0};
    uint8_t *room = NULL;
    size_t at = 0;
    bool done = false;
    enum eml_err e = eml_channel_seal(from, type, content, &frames);
    struct eml_cur c = eml_cur(eml_buf_bytes(&frames));
    while (e == EML_OK && !done) {
        struct eml_bytes record, part = {0};
        enum eml_msg_type came;
        uint64_t total = 0;
        e = eml_pair_frame(&c, &record) ? EML_OK : EML_E_INPUT;
        if (e == EML_OK)
            e = eml_channel_open(to, record, &came, &total, &part, &done, NULL);
        if (e == EML_OK && room == NULL)
            room = eml_arena_alloc(arena, (size_t)total, 64);
        if (e == EML_OK && room == NULL)
            e = EML_E_REFUSED;
        if (e == EML_OK && part.len != 0)
            memcpy(room + at, part.ptr, part.len);
        at += part.len;
    }
    *got = eml_bytes(room, e == EML_OK ? at : 0);
    eml_buf_free(&frames);
    return e;
}

static enum eml_err send_outputs(void *ctx, const struct eml_tensor *outputs, size_t n,
                                 const struct eml_times *t)
{
    static const uint8_t salt[EML_SALT_BYTES] = {2};
    struct eml_named_tensor named[2] = {{EML_LIT("z"), outputs[0]}, {EML_LIT("y"), outputs[1]}};
    const struct eml_result r = {.n_outputs = n,
                                 .outputs = named,
                                 .run_us = t->run == 0,
                                 .salt = EML_BYTES(salt),
                                 .kernels = EML_LIT("ref")};
    return eml_result_encode(&r, (struct eml_part_sink){eml_part_to_buf, ctx});
}

/* The worker's part: message in, result out. */
static enum eml_err answer(struct eml_arena *arena, struct eml_bytes message, bool keep,
                           struct eml_buf *result)
{
    static const struct eml_budget limits = {UINT64_MAX, UINT64_MAX};
    struct eml_model m = {0};
    struct eml_times times = {0};
    struct eml_why why = {0};
    struct eml_request r;
    struct eml_tensor inputs[1];
    EML_TRY(eml_request_decode(message, arena, &r, &why));
    EML_TRY(eml_model_decode(&m, arena, r.topology, EML_ISA_REF, NULL, &times, &why));
    enum eml_err e =
        eml_model_weights(&m, eml_buf_bytes(&model.sealed), EML_SEALED_FIXED, model.digest, &why);
    if (e == EML_OK)
        e = eml_match_inputs(&m.topology->graph, r.inputs, r.n_inputs, inputs, &why);
    if (e == EML_OK)
        e = eml_model_infer(&m, inputs, keep, &limits, send_outputs, result, &times, &why);
    eml_model_close(&m, &times);
    return e == EML_OK ? eml_buf_ok(result) : e;
}

static enum eml_err exchange(struct eml_pair *p, struct eml_arena *enclave,
                             struct eml_arena *client, bool keep, struct outcome *o)
{
    static const uint8_t salt[EML_SALT_BYTES] = {1};
    struct eml_named_tensor x = {EML_LIT("x"), {EML_DT_F32, {1, {N}}, model.x, sizeof model.x}};
    const struct eml_request r = {.mode = EML_MODE_REQUEST,
                                  .topology = eml_buf_bytes(&model.topology),
                                  .n_inputs = 1,
                                  .inputs = &x,
                                  .salt = EML_BYTES(salt)};
    struct eml_buf plain = {0}, result = {0};
    struct eml_bytes got = {0};
    struct eml_result answered;
    struct eml_why why = {0};
    enum eml_err e = EML_OK;
    for (int i = 0; e == EML_OK && i < EML_PAIR_STEPS; i++)
        e = eml_pair_step(p, i);
    if (e == EML_OK)
        e = eml_request_encode(&r, (struct eml_part_sink){eml_part_to_buf, &plain});
    if (e == EML_OK)
        e = carry(p->client, p->server, EML_MSG_REQUEST, eml_buf_bytes(&plain), enclave, &got);
    if (e == EML_OK)
        e = answer(enclave, got, keep, &result);
    if (e == EML_OK)
        e = carry(p->server, p->client, EML_MSG_RESULT, eml_buf_bytes(&result), client, &got);
    if (e == EML_OK)
        e = eml_result_decode(got, client, &answered, &why);
    for (size_t i = 0; e == EML_OK && i < answered.n_outputs; i++)
        add(o, eml_bytes(answered.outputs[i].tensor.data, answered.outputs[i].tensor.bytes));
    eml_buf_free(&plain);
    eml_buf_free(&result);
    return e;
}

static enum eml_err request(bool keep, struct outcome *o)
{
    struct eml_pair p = {0};
    struct eml_arena enclave, client;
    EML_TRY(eml_arena_create(&enclave, ARENA));
    enum eml_err e = eml_arena_create(&client, ARENA);
    if (e == EML_OK)
        e = exchange(&p, &enclave, &client, keep, o);
    eml_pair_free(&p);
    (void)eml_arena_reset(&enclave, 0);
    assert_true(eml_ct_is_zero(eml_bytes(enclave.base, enclave.peak)));
    (void)eml_arena_destroy(&enclave);
    (void)eml_arena_destroy(&client);
    return e;
}

static enum eml_err request_mode(struct outcome *o)
{
    return request(false, o);
}

static enum eml_err session_mode(struct outcome *o)
{
    return request(true, o);
}

static enum eml_err pool(struct outcome *o)
{
    struct eml_pool *p = NULL;
    enum eml_err e = eml_pool_create(3, &p);
    if (e == EML_OK)
        add(o, EML_LIT("threads"));
    else
        assert_null(p);
    eml_pool_destroy(p);
    return e;
}

/* --- what the client verifies, and what goes to KMS and comes from there --- */

static struct eml_buf document, root, cms, key_pem;

static enum eml_err attestation(struct outcome *o)
{
    struct eml_sha256 digest;
    struct eml_attested a;
    struct eml_why why = {0};
    struct eml_bytes der = eml_buf_bytes(&root);
    EML_TRY(eml_sha256(&der, 1, &digest));
    enum eml_err e =
        eml_attest_verify_document(eml_buf_bytes(&document), &digest, 1, 1766650846, &a, &why);
    if (e == EML_OK) {
        add(o, a.module_id);
        add(o, EML_BYTES(a.pcr[0].b));
    } else {
        assert_true(a.module_id.ptr == NULL && a.pcr_present == 0);
    }
    return e;
}

static enum eml_err policy(struct outcome *o)
{
    struct eml_policy p = {.n_roots = 1, .n_accept = 1, .max_age_ms = 5000, .max_skew_ms = 5000};
    struct eml_policy again;
    struct eml_buf json = {0};
    struct eml_why why = {0};
    p.accept[0].required = 7;
    for (int i = 0; i < 3; i++)
        memset(p.accept[0].pcr[i].b, i + 1, sizeof p.accept[0].pcr[i].b);
    memset(p.roots[0].b, 9, sizeof p.roots[0].b);
    enum eml_err e = eml_policy_print(&p, &json);
    if (e == EML_OK)
        e = eml_policy_parse(eml_buf_bytes(&json), &again, &why);
    if (e == EML_OK)
        add(o, EML_BYTES(again.accept[0].pcr[2].b));
    eml_buf_free(&json);
    return e;
}

static enum eml_err unwrap_rsa(void *holder, struct eml_bytes encrypted_key,
                               struct eml_aead_key *content_key)
{
    uint8_t out[256];
    size_t n = 0;
    EML_TRY(eml_rsa_oaep_decrypt(holder, encrypted_key, EML_ROOM(out), &n));
    if (n == sizeof content_key->b)
        memcpy(content_key->b, out, n);
    eml_wipe(out, sizeof out);
    return n == sizeof content_key->b ? EML_OK : EML_E_AUTH;
}

static enum eml_err recipient(struct outcome *o)
{
    struct eml_rsa *key = NULL;
    struct eml_buf spki = {0}, plain = {0};
    struct eml_sha256 id;
    struct eml_why why = {0};
    enum eml_err e = eml_rsa_from_pem(eml_buf_bytes(&key_pem), &key);
    if (e == EML_OK)
        e = eml_rsa_spki(key, &spki);
    struct eml_bytes der = eml_buf_bytes(&spki);
    if (e == EML_OK)
        e = eml_sha256(&der, 1, &id);
    if (e == EML_OK)
        e = eml_cms_open(eml_buf_bytes(&cms), &id, unwrap_rsa, key, &plain, &why);
    add(o, eml_buf_bytes(&plain));
    eml_rsa_free(key);
    eml_buf_free(&spki);
    eml_buf_free(&plain);
    return e;
}

#define ARN "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

static enum eml_err kms(struct outcome *o)
{
    static const char answered[] =
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: 157\r\n\r\n"
        "{\"CiphertextForRecipient\":\"AQIDBA==\",\"EncryptionAlgorithm\":\"SYMMETRIC\",\"KeyId\":"
        "\"" ARN "\"}";
    const struct eml_kms_endpoint at = {EML_LIT("kms.us-east-1.amazonaws.com"),
                                        EML_LIT("us-east-1")};
    const struct eml_aws_credentials who = {EML_LIT("AKIDEXAMPLE"), EML_BYTES(marker),
                                            EML_LIT("TOKEN")};
    const struct eml_kms_pair context = {EML_LIT("eml:session"), EML_LIT("0a0b")};
    const struct eml_kms_call call = {EML_LIT(ARN), &context, 1, EML_LIT("document")};
    struct eml_buf out = {0};
    struct eml_http1_response r;
    struct eml_kms_answer a = {0};
    struct eml_why why = {0};
    bool complete = false;
    EML_TRY(eml_http1_response(eml_bytes_of_str(answered), 65536, &r, &complete, &why));
    enum eml_err e = complete ? EML_OK : EML_E_USAGE;
    if (e == EML_OK)
        e = eml_kms_put_decrypt(&at, &who, 1767323045, &call, EML_LIT("\1\2\3"), &out);
    if (e == EML_OK)
        e = eml_kms_get_decrypt(&r, &call, &a, &why);
    if (e == EML_OK) {
        add(o, eml_buf_bytes(&out));
        add(o, eml_buf_bytes(&a.for_recipient));
    }
    eml_http1_free(&r);
    eml_kms_answer_free(&a);
    eml_buf_free(&out);
    return e;
}

PATH(request_mode)
PATH(session_mode)
PATH(pool)
PATH(attestation)
PATH(policy)
PATH(recipient)
PATH(kms)

static void the_search_finds(void **state)
{
    (void)state;
    uint8_t *p = malloc(100);
    assert_non_null(p);
    memcpy(p + 33, marker, sizeof marker);
    faults.on = true;
    faults.left = 1;
    faults.leaked_secret = false;
    __wrap_free(p); /* of free itself the compiler knows that it sees nothing of ours */
    faults.on = false;
    assert_true(faults.leaked_secret);
}

static void a_buffer_that_grows_leaves_nothing(void **state)
{
    (void)state;
    struct eml_buf b = {0};
    faults.on = true;
    faults.left = 1000;
    faults.hit = faults.leaked_secret = false;
    faults.live = 0;
    for (int i = 0; i < 100; i++)
        eml_buf_put(&b, EML_BYTES(marker));
    eml_buf_free(&b);
    faults.on = false;
    assert_false(faults.leaked_secret || faults.hit);
    assert_int_equal(faults.live, 0);
}

int main(void)
{
    eml_crypto_init();
    make_model();
    document = eml_test_read(EML_VECTORS "/attestation/2025-12-25_1c921bd7.bin");
    root = eml_test_read(EML_VECTORS "/attestation/aws-nitro-root-g1.der");
    cms = eml_test_read(EML_VECTORS "/kms/sampleA.cms.ber");
    key_pem = eml_test_read(EML_VECTORS "/kms/sampleA.key.pem");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_search_finds),
        cmocka_unit_test(a_buffer_that_grows_leaves_nothing),
        cmocka_unit_test(request_mode_fails_closed),
        cmocka_unit_test(session_mode_fails_closed),
        cmocka_unit_test(pool_fails_closed),
        cmocka_unit_test(attestation_fails_closed),
        cmocka_unit_test(policy_fails_closed),
        cmocka_unit_test(recipient_fails_closed),
        cmocka_unit_test(kms_fails_closed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eml_buf_free(&document);
    eml_buf_free(&root);
    eml_buf_free(&cms);
    eml_buf_free(&key_pem);
    eml_buf_free(&model.topology);
    eml_buf_free(&model.sealed);
    return failed;
}
