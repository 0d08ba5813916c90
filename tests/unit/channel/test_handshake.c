#include "testsupport/channel_pair.h"

#include "base/wipe.h"
#include "channel/state.h"
#include "wire/cbor.h"

static void both_sides_talk(void **state)
{
    (void)state;
    struct eml_pair p;
    eml_pair_make(&p);
    assert_int_equal(p.hello.len, 4 + 1 + 6 + 1 + 2 + 2 + 32);
    assert_true(
        eml_bytes_equal(eml_channel_session_id(p.client), eml_channel_session_id(p.server)));
    assert_memory_equal(p.client->send.key.key, p.server->recv.key.key,
                        sizeof p.client->send.key.key);
    assert_memory_equal(p.client->recv.key.key, p.server->send.key.key,
                        sizeof p.client->send.key.key);
    assert_memory_equal(p.client->send.iv.b, p.server->recv.iv.b, 12);
    assert_memory_not_equal(p.client->send.key.key, p.client->recv.key.key,
                            sizeof p.client->send.key.key);
    assert_memory_not_equal(p.client->send.iv.b, p.client->recv.iv.b, 12);
    assert_true(eml_ct_is_zero(EML_BYTES(p.server->session_sk.b))); /* wiped */
    eml_pair_free(&p);
}

static void sessions_share_nothing(void **state)
{
    (void)state;
    struct eml_pair p, q;
    eml_pair_make(&p);
    eml_pair_make(&q);
    assert_memory_not_equal(p.client->nonce, q.client->nonce, 32);
    assert_memory_not_equal(p.server->user_data + EML_CHANNEL_PREFIX_BYTES,
                            q.server->user_data + EML_CHANNEL_PREFIX_BYTES, 32);
    assert_memory_not_equal(p.client->send.key.key, q.client->send.key.key,
                            sizeof p.client->send.key.key);
    eml_pair_free(&p);
    eml_pair_free(&q);
}

/* The host replays a client's hello to the enclave: what is bound to the client's session id must
 * not fit the session that answers. */
static void a_replayed_hello_gets_another_session_id(void **state)
{
    (void)state;
    struct eml_pair p;
    struct eml_channel *other = NULL;
    struct eml_bytes hello;
    struct eml_buf document = {0}, evidence = {0};
    struct eml_why why = {0};
    eml_pair_make(&p);
    assert_int_equal(eml_pair_only_frame(&p.hello, &hello), EML_OK);
    assert_int_equal(eml_channel_server_hello(&other, hello, &why), EML_OK);
    assert_true(eml_ct_is_zero(eml_channel_session_id(other)));
    assert_int_equal(eml_pair_document(other, &document), EML_OK);
    assert_int_equal(eml_channel_server_evidence(other, eml_buf_bytes(&document), &evidence),
                     EML_OK);
    assert_false(eml_bytes_equal(eml_channel_session_id(other), eml_channel_session_id(p.client)));
    eml_buf_free(&document);
    eml_buf_free(&evidence);
    eml_channel_free(other);
    eml_pair_free(&p);
}

static struct eml_buf *message(struct eml_pair *p, int step)
{
    struct eml_buf *m[] = {&p->hello, &p->evidence, &p->open};
    return m[step];
}

/* Runs a handshake in which one byte of one message is changed on its way. */
static enum eml_err with_change(int step, size_t at, uint8_t mask, bool *reached)
{
    struct eml_pair p = {0};
    enum eml_err e = EML_OK;
    *reached = true;
    for (int i = 0; i < EML_PAIR_STEPS && e == EML_OK; i++) {
        e = eml_pair_step(&p, i);
        if (i != step)
            continue;
        assert_int_equal(e, EML_OK);
        *reached = at < message(&p, i)->len;
        if (*reached)
            message(&p, i)->ptr[at] ^= mask;
    }
    eml_pair_free(&p);
    return e;
}

static void any_changed_bit_is_refused(void **state)
{
    (void)state;
    for (int step = 0; step < 3; step++) {
        bool reached = true;
        size_t at = 0;
        for (; reached; at++)
            for (unsigned bit = 0; bit < 8 && reached; bit++) {
                enum eml_err e = with_change(step, at, (uint8_t)(1u << bit), &reached);
                assert_int_equal(e == EML_OK, !reached);
            }
        assert_true(at > 40);
    }
}

static void any_cut_is_refused(void **state)
{
    (void)state;
    for (int step = 0; step < 3; step++) {
        for (size_t keep = 0;; keep++) {
            struct eml_pair p = {0};
            for (int i = 0; i <= step; i++)
                assert_int_equal(eml_pair_step(&p, i), EML_OK);
            struct eml_buf *m = message(&p, step);
            bool whole = keep + 4 >= m->len;
            if (!whole) {
                m->len = keep + 4; /* and a frame that says so */
                eml_store_u32(m->ptr, (uint32_t)keep);
                assert_int_not_equal(eml_pair_step(&p, step + 1), EML_OK);
            }
            eml_pair_free(&p);
            if (whole)
                break;
        }
    }
}

static void trailing_bytes_are_refused(void **state)
{
    (void)state;
    for (int step = 0; step < 3; step++) {
        struct eml_pair p = {0};
        for (int i = 0; i <= step; i++)
            assert_int_equal(eml_pair_step(&p, i), EML_OK);
        struct eml_buf *m = message(&p, step);
        eml_buf_put_u8(m, 0);
        eml_store_u32(m->ptr, (uint32_t)m->len - 4);
        assert_int_equal(eml_pair_step(&p, step + 1), EML_E_INPUT);
        eml_pair_free(&p);
    }
}

static const struct {
    const char *hex;
    enum eml_err e;
    const char *rule;
} bad_hello[] = {
    {"", EML_E_INPUT, "hello: not an array of four that begins \"hello\""},
    {"80", EML_E_INPUT, "hello: not an array of four that begins \"hello\""},
    {"9f", EML_E_INPUT, "hello: not an array of four that begins \"hello\""},
    {"a26568656c6c6f01", EML_E_INPUT, "hello: not an array of four that begins \"hello\""},
    {"84686576696465636531", EML_E_INPUT, "hello: not an array of four that begins \"hello\""},
    {"846568656c6c6f02", EML_E_UNSUPPORTED, "hello: version is not 1"},
    {"846568656c6c6f00", EML_E_UNSUPPORTED, "hello: version is not 1"},
    {"846568656c6c6f0119647a", EML_E_UNSUPPORTED, "hello: suite is not 0x0020"},
    {"846568656c6c6f1801", EML_E_INPUT, "hello: nonce is not 32 bytes at the end"},
    {"846568656c6c6f01182041aa", EML_E_INPUT, "hello: nonce is not 32 bytes at the end"},
    {"846568656c6c6f0118205820", EML_E_INPUT, "hello: nonce is not 32 bytes at the end"},
    {"846568656c6c6f01182060", EML_E_INPUT, "hello: nonce is not 32 bytes at the end"},
};

static void bad_hellos_name_their_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_hello / sizeof bad_hello[0]; i++) {
        struct eml_channel *ch = NULL;
        struct eml_why why = {0};
        struct eml_buf b = eml_test_hex(bad_hello[i].hex);
        assert_int_equal(eml_channel_server_hello(&ch, eml_buf_bytes(&b), &why), bad_hello[i].e);
        assert_null(ch);
        assert_string_equal(why.rule, bad_hello[i].rule);
        eml_buf_free(&b);
    }
    static const uint8_t much[EML_HELLO_BYTES_MAX + 1];
    struct eml_channel *ch = NULL;
    struct eml_why why = {0};
    assert_int_equal(eml_channel_server_hello(&ch, EML_BYTES(much), &why), EML_E_INPUT);
    assert_string_equal(why.rule, "hello: longer than 256 bytes");
}

static void evidence_has_a_limit(void **state)
{
    (void)state;
    static uint8_t big[EML_EVIDENCE_BYTES_MAX];
    const size_t around = 1 + 9 + 3; /* array, "evidence", length */
    for (size_t over = 0; over < 2; over++) {
        struct eml_pair p = {0};
        struct eml_bytes m, document;
        struct eml_why why;
        assert_int_equal(eml_channel_client_hello(&p.client, &p.hello), EML_OK);
        assert_int_equal(eml_pair_only_frame(&p.hello, &m), EML_OK);
        assert_int_equal(eml_channel_server_hello(&p.server, m, &why), EML_OK);
        enum eml_err e = eml_channel_server_evidence(
            p.server, eml_bytes(big, sizeof big - around + over), &p.evidence);
        assert_int_equal(e, over ? EML_E_SYSTEM : EML_OK);
        if (over)
            assert_int_equal(p.evidence.len, 0);
        else {
            assert_int_equal(eml_pair_only_frame(&p.evidence, &m), EML_OK);
            assert_int_equal(eml_channel_client_evidence(p.client, m, &document, &why), EML_OK);
            assert_int_equal(document.len, sizeof big - around);
        }
        eml_pair_free(&p);
    }
}

/* A key that is not this session's, though everything else is right: what a host would need to do
 * to read along. */
static void another_key_is_refused(void **state)
{
    (void)state;
    struct eml_pair p = {0};
    struct eml_bytes m, document;
    struct eml_why why;
    struct eml_x25519_sk sk;
    struct eml_x25519_pk pk;
    assert_int_equal(eml_pair_step(&p, 0), EML_OK);
    assert_int_equal(eml_pair_step(&p, 1), EML_OK);
    assert_int_equal(eml_pair_only_frame(&p.evidence, &m), EML_OK);
    assert_int_equal(eml_channel_client_evidence(p.client, m, &document, &why), EML_OK);
    assert_int_equal(eml_random(EML_ROOM(sk.b)), EML_OK);
    assert_int_equal(eml_x25519_public(&sk, &pk), EML_OK);
    uint8_t user_data[EML_CHANNEL_USER_DATA_BYTES];
    struct eml_bytes prefix = eml_channel_user_data_prefix(p.client);
    memcpy(user_data, prefix.ptr, prefix.len);
    memcpy(user_data + prefix.len, pk.b, sizeof pk.b);
    assert_int_equal(eml_channel_client_open(p.client, EML_BYTES(user_data), &p.open), EML_OK);
    assert_int_equal(eml_pair_only_frame(&p.open, &m), EML_OK);
    assert_int_equal(eml_channel_server_open(p.server, m, &why), EML_E_AUTH);
    assert_string_equal(why.rule, "open: not sealed to this session's key");
    eml_pair_free(&p);
}

/* The client's own side refuses what a verifier should not have let through. */
static void user_data_of_another_hello_is_refused(void **state)
{
    (void)state;
    for (size_t at = 0; at <= EML_CHANNEL_PREFIX_BYTES; at++) {
        struct eml_pair p = {0};
        struct eml_bytes m, document;
        struct eml_why why;
        uint8_t user_data[EML_CHANNEL_USER_DATA_BYTES];
        assert_int_equal(eml_pair_step(&p, 0), EML_OK);
        assert_int_equal(eml_pair_step(&p, 1), EML_OK);
        assert_int_equal(eml_pair_only_frame(&p.evidence, &m), EML_OK);
        assert_int_equal(eml_channel_client_evidence(p.client, m, &document, &why), EML_OK);
        memcpy(user_data, eml_channel_user_data(p.server).ptr, sizeof user_data);
        struct eml_bytes given = EML_BYTES(user_data);
        if (at < EML_CHANNEL_PREFIX_BYTES)
            user_data[at] ^= 0x20;
        else
            given.len--;
        assert_int_equal(eml_channel_client_open(p.client, given, &p.open), EML_E_AUTH);
        assert_int_equal(p.open.len, 0);
        assert_int_equal(p.client->state, EML_CHANNEL_FAILED);
        eml_pair_free(&p);
    }
}

/* Messages of two sessions exchanged by whoever sits between. */
static void splices_are_refused(void **state)
{
    (void)state;
    struct eml_pair p = {0}, q = {0};
    struct eml_bytes m;
    struct eml_why why;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(eml_pair_step(&p, i), EML_OK);
        assert_int_equal(eml_pair_step(&q, i), EML_OK);
    }
    struct eml_buf mine = p.evidence;
    p.evidence = q.evidence;
    assert_int_equal(eml_pair_step(&p, 2), EML_E_AUTH); /* nonce of another hello */
    p.evidence = mine;
    assert_int_equal(eml_pair_step(&q, 2), EML_OK);
    assert_int_equal(eml_pair_only_frame(&q.open, &m), EML_OK);
    assert_int_equal(eml_channel_server_open(p.server, m, &why), EML_E_AUTH);
    eml_pair_free(&p);
    eml_pair_free(&q);
}

/* The same document in an evidence message that the server did not send: only the transcript shows.
 */
static void transcript_is_bound(void **state)
{
    (void)state;
    struct eml_pair p = {0};
    assert_int_equal(eml_pair_step(&p, 0), EML_OK);
    assert_int_equal(eml_pair_step(&p, 1), EML_OK);
    assert_int_equal(eml_pair_step(&p, 2), EML_OK);
    p.server->evidence.b[31] ^= 1;
    assert_int_equal(eml_pair_step(&p, 3), EML_E_AUTH);
    eml_pair_free(&p);
}

/* Every call in every state: the table's filled cells work, all else fails for good. */
static enum eml_err call(struct eml_pair *p, const struct eml_pair *good, bool client, int which)
{
    struct eml_channel *ch = client ? p->client : p->server;
    struct eml_bytes m, view;
    struct eml_buf out = {0};
    struct eml_why why;
    enum eml_msg_type type;
    uint64_t total;
    bool done;
    enum eml_err e = EML_OK;
    switch (which) {
    case 0:
        assert_int_equal(eml_pair_only_frame(&good->evidence, &m), EML_OK);
        e = eml_channel_client_evidence(ch, m, &view, &why);
        break;
    case 1:
        e = eml_channel_client_open(ch, eml_channel_user_data(good->server), &out);
        break;
    case 2:
        e = eml_channel_server_evidence(ch, EML_LIT("document"), &out);
        break;
    case 3:
        assert_int_equal(eml_pair_only_frame(&good->open, &m), EML_OK);
        e = eml_channel_server_open(ch, m, &why);
        break;
    case 4:
        e = eml_channel_seal(ch, EML_MSG_REQUEST, EML_LIT("x"), &out);
        break;
    default:
        e = eml_channel_open(ch, EML_LIT("x"), &type, &total, &view, &done, &why);
        break;
    }
    eml_buf_free(&out);
    return e;
}

static void calls_out_of_turn_are_final(void **state)
{
    (void)state;
    static const struct {
        bool client;
        int after; /* steps of the handshake done */
        int may;   /* bit set of calls that have their turn now */
    } turns[] = {
        {true, 1, 1 << 0},
        {true, 3, 1 << 4 | 1 << 5},
        {false, 2, 1 << 3},
        {false, 4, 1 << 4 | 1 << 5},
    };
    struct eml_pair good;
    eml_pair_make(&good);
    for (size_t t = 0; t < sizeof turns / sizeof turns[0]; t++)
        for (int which = 0; which < 6; which++) {
            if ((turns[t].may >> which & 1) != 0)
                continue;
            struct eml_pair p = {0};
            for (int i = 0; i < turns[t].after; i++)
                assert_int_equal(eml_pair_step(&p, i), EML_OK);
            struct eml_channel *ch = turns[t].client ? p.client : p.server;
            assert_int_equal(call(&p, &good, turns[t].client, which), EML_E_USAGE);
            assert_int_equal(ch->state, EML_CHANNEL_FAILED);
            assert_true(eml_ct_is_zero(EML_BYTES(ch->send.key.key)));
            assert_true(eml_ct_is_zero(EML_BYTES(ch->recv.key.key)));
            assert_true(eml_ct_is_zero(EML_BYTES(ch->session_sk.b)));
            for (int any = 0; any < 6; any++)
                assert_int_equal(call(&p, &good, turns[t].client, any), EML_E_USAGE);
            eml_pair_free(&p);
        }
    eml_pair_free(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_talk),
        cmocka_unit_test(sessions_share_nothing),
        cmocka_unit_test(a_replayed_hello_gets_another_session_id),
        cmocka_unit_test(any_changed_bit_is_refused),
        cmocka_unit_test(any_cut_is_refused),
        cmocka_unit_test(trailing_bytes_are_refused),
        cmocka_unit_test(bad_hellos_name_their_rule),
        cmocka_unit_test(evidence_has_a_limit),
        cmocka_unit_test(another_key_is_refused),
        cmocka_unit_test(user_data_of_another_hello_is_refused),
        cmocka_unit_test(splices_are_refused),
        cmocka_unit_test(transcript_is_bound),
        cmocka_unit_test(calls_out_of_turn_are_final),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
