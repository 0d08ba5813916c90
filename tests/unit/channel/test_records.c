#include "testsupport/channel_pair.h"

#include "base/wipe.h"
#include "channel/hpke.h"
#include "channel/state.h"

#include <stdlib.h>

struct received {
    enum eml_msg_type type;
    uint64_t total;
    struct eml_buf content;
    size_t records;
    bool done;
    struct eml_why why;
};

/* Feeds frames until one message is whole or something fails. */
static enum eml_err receive(struct eml_channel *ch, struct eml_cur *stream, struct received *r)
{
    *r = (struct received){0};
    while (!r->done) {
        struct eml_bytes frame, part;
        if (!eml_pair_frame(stream, &frame))
            return EML_E_NET;
        EML_TRY(eml_channel_open(ch, frame, &r->type, &r->total, &part, &r->done, &r->why));
        eml_buf_put(&r->content, part);
        r->records++;
    }
    return EML_OK;
}

static void assert_message(struct eml_channel *from, struct eml_channel *to, enum eml_msg_type type,
                           struct eml_bytes content, size_t wire_bytes)
{
    struct eml_buf out = {0};
    struct received r;
    assert_int_equal(eml_channel_seal(from, type, content, &out), EML_OK);
    assert_int_equal(out.len, wire_bytes);
    struct eml_cur c = eml_cur(eml_buf_bytes(&out));
    assert_int_equal(receive(to, &c, &r), EML_OK);
    assert_true(eml_cur_done(&c));
    assert_int_equal(r.type, type);
    assert_int_equal(r.total, content.len);
    assert_true(eml_bytes_equal(eml_buf_bytes(&r.content), content));
    eml_buf_free(&r.content);
    eml_buf_free(&out);
}

static void sizes_round_trip_in_buckets(void **state)
{
    (void)state;
    static const struct {
        size_t content, wire;
    } sizes[] = {
        {0, 276},
        {1, 276},
        {242, 276},
        {243, 1044},
        {1010, 1044},
        {1011, 4116},
        {4082, 4116},
        {4083, 16404},
        {16370, 16404},
        {16371, 65556},
        {65522, 65556},
        {65523, 65556 + 276},
        {65522 + 250, 65556 + 276},
        {65522 + 251, 65556 + 1044},
        {65522 + 65530, 2 * 65556},
        {65522 + 65531, 2 * 65556 + 276},
    };
    static uint8_t data[140000];
    struct eml_pair p;
    struct eml_gen g = eml_gen_seeded("sizes");
    eml_gen_fill(&g, data, sizeof data);
    eml_pair_make(&p);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct eml_bytes content = eml_bytes(data, sizes[i].content);
        assert_message(p.client, p.server, EML_MSG_REQUEST, content, sizes[i].wire);
        assert_message(p.server, p.client, EML_MSG_RESULT, content, sizes[i].wire);
    }
    eml_pair_free(&p);
}

static void ten_megabytes_in_parts(void **state)
{
    (void)state;
    const size_t total = 10000000;
    struct eml_pair p;
    struct eml_buf whole = {0}, out = {0}, got = {0};
    struct eml_gen g = eml_gen_seeded("parts");
    uint8_t *data = eml_buf_grow(&whole, total);
    assert_non_null(data);
    eml_gen_fill(&g, data, total);
    eml_pair_make(&p);
    bool done = false;
    size_t sent = 0;
    assert_int_equal(eml_channel_seal_begin(p.client, EML_MSG_REQUEST, total, &out), EML_OK);
    while (sent < total) {
        size_t n = (size_t)eml_gen_range(&g, 0, 300000);
        n = n < total - sent ? n : total - sent;
        assert_int_equal(eml_channel_seal_part(p.client, eml_bytes(data + sent, n), &out), EML_OK);
        sent += n;
        struct eml_cur c = eml_cur(eml_buf_bytes(&out));
        struct eml_bytes frame, part;
        while (eml_cur_left(&c) != 0) {
            enum eml_msg_type type;
            uint64_t whole_bytes;
            struct eml_why why;
            assert_true(eml_pair_frame(&c, &frame));
            assert_int_equal(
                eml_channel_open(p.server, frame, &type, &whole_bytes, &part, &done, &why), EML_OK);
            assert_int_equal(type, EML_MSG_REQUEST);
            assert_int_equal(whole_bytes, total);
            eml_buf_put(&got, part);
        }
        assert_int_equal(done, sent == total);
        out.len = 0;
    }
    assert_true(eml_bytes_equal(eml_buf_bytes(&got), eml_buf_bytes(&whole)));
    eml_buf_free(&whole);
    eml_buf_free(&out);
    eml_buf_free(&got);
    eml_pair_free(&p);
}

static void parts_do_not_show(void **state)
{
    (void)state;
    static uint8_t data[200000];
    struct eml_pair p;
    struct eml_buf one = {0}, many = {0};
    eml_pair_make(&p);
    assert_int_equal(eml_channel_seal(p.client, EML_MSG_REQUEST, EML_BYTES(data), &one), EML_OK);
    p.client->send.seq = 0;
    assert_int_equal(eml_channel_seal_begin(p.client, EML_MSG_REQUEST, sizeof data, &many), EML_OK);
    for (size_t i = 0; i < sizeof data; i += 1000)
        assert_int_equal(eml_channel_seal_part(p.client, eml_bytes(data + i, 1000), &many), EML_OK);
    assert_true(eml_bytes_equal(eml_buf_bytes(&one), eml_buf_bytes(&many)));
    eml_buf_free(&one);
    eml_buf_free(&many);
    eml_pair_free(&p);
}

static void every_changed_byte_is_refused(void **state)
{
    (void)state;
    struct eml_pair p;
    struct eml_buf out = {0};
    struct eml_why why;
    eml_pair_make(&p);
    assert_int_equal(eml_channel_seal(p.client, EML_MSG_REQUEST, EML_LIT("secret"), &out), EML_OK);
    struct eml_channel *fresh = malloc(sizeof *fresh);
    assert_non_null(fresh);
    memcpy(fresh, p.server, sizeof *fresh);
    for (size_t i = 4; i < out.len; i++) {
        enum eml_msg_type type;
        uint64_t total;
        struct eml_bytes part;
        bool done;
        out.ptr[i] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(eml_channel_open(p.server, eml_bytes(out.ptr + 4, out.len - 4), &type,
                                          &total, &part, &done, &why),
                         EML_E_AUTH);
        assert_int_equal(part.len, 0);
        assert_false(done);
        assert_int_equal(p.server->state, EML_CHANNEL_FAILED);
        out.ptr[i] ^= (uint8_t)(1u << (i % 8));
        memcpy(p.server, fresh, sizeof *fresh);
    }
    struct eml_cur c = eml_cur(eml_buf_bytes(&out));
    struct received r;
    assert_int_equal(receive(p.server, &c, &r), EML_OK); /* and unchanged it opens */
    eml_buf_free(&r.content);
    eml_wipe(fresh, sizeof *fresh);
    free(fresh);
    eml_buf_free(&out);
    eml_pair_free(&p);
}

static void every_other_length_is_refused(void **state)
{
    (void)state;
    static uint8_t data[EML_RECORD_PLAIN_MAX + EML_HPKE_TAG_BYTES + 2];
    for (size_t n = 0; n <= sizeof data; n += n < 1100 ? 1 : 997) {
        struct eml_pair p;
        enum eml_msg_type type;
        uint64_t total;
        struct eml_bytes part;
        bool done;
        struct eml_why why;
        eml_pair_make(&p);
        enum eml_err e =
            eml_channel_open(p.server, eml_bytes(data, n), &type, &total, &part, &done, &why);
        assert_int_equal(e, n == 272 || n == 1040 ? EML_E_AUTH : EML_E_INPUT);
        eml_pair_free(&p);
    }
}

/* What someone between may do with whole frames. Three messages of one frame each are sent. */
static const struct {
    const char *name;
    int order[5]; /* frames delivered; -1 ends */
    int good;     /* how many of them open */
} deliveries[] = {
    {"replay", {0, 0, 1, 2, -1}, 1}, {"late replay", {0, 1, 0, -1}, 2},
    {"reorder", {1, 0, 2, -1}, 0},   {"drop the first", {1, 2, -1}, 0},
    {"drop one", {0, 2, -1}, 1},     {"duplicate the last", {0, 1, 2, 2, -1}, 3},
    {"in order", {0, 1, 2, -1}, 3},
};

static void only_the_next_record_opens(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof deliveries / sizeof deliveries[0]; i++) {
        struct eml_pair p;
        struct eml_buf frame[3] = {{0}};
        eml_pair_make(&p);
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(eml_channel_seal(p.client, EML_MSG_REQUEST, EML_LIT("m"), &frame[k]),
                             EML_OK);
        for (int k = 0; deliveries[i].order[k] >= 0; k++) {
            struct eml_cur c = eml_cur(eml_buf_bytes(&frame[deliveries[i].order[k]]));
            struct received r;
            enum eml_err e = receive(p.server, &c, &r);
            if (k < deliveries[i].good)
                assert_int_equal(e, EML_OK);
            else /* the first bad one, and all that follow */
                assert_int_equal(e, k == deliveries[i].good ? EML_E_AUTH : EML_E_USAGE);
            eml_buf_free(&r.content);
        }
        for (size_t k = 0; k < 3; k++)
            eml_buf_free(&frame[k]);
        eml_pair_free(&p);
    }
}

static void reflection_and_splicing_are_refused(void **state)
{
    (void)state;
    for (int spliced = 0; spliced < 2; spliced++) {
        struct eml_pair p, q;
        struct eml_buf out = {0};
        struct received r;
        eml_pair_make(&p);
        eml_pair_make(&q);
        assert_int_equal(eml_channel_seal(p.client, EML_MSG_REQUEST, EML_LIT("m"), &out), EML_OK);
        struct eml_cur c = eml_cur(eml_buf_bytes(&out));
        assert_int_equal(receive(spliced ? q.server : p.client, &c, &r), EML_E_AUTH);
        eml_buf_free(&out);
        eml_pair_free(&p);
        eml_pair_free(&q);
    }
}

static void a_cut_stream_never_ends_well(void **state)
{
    (void)state;
    static uint8_t data[70000];
    struct eml_pair p;
    struct eml_buf out = {0};
    struct received r;
    eml_pair_make(&p);
    assert_int_equal(eml_channel_seal(p.client, EML_MSG_REQUEST, EML_BYTES(data), &out), EML_OK);
    struct eml_cur c = eml_cur(eml_bytes(out.ptr, 65556)); /* all frames but the last */
    assert_int_equal(receive(p.server, &c, &r), EML_E_NET);
    assert_false(r.done);
    assert_false(eml_channel_ended(p.server));
    eml_buf_free(&r.content);
    eml_buf_free(&out);
    eml_pair_free(&p);
}

static void end_is_explicit_and_last(void **state)
{
    (void)state;
    struct eml_pair p;
    struct eml_buf out = {0};
    eml_pair_make(&p);
    assert_false(eml_channel_ended(p.server));
    assert_message(p.client, p.server, EML_MSG_END, EML_LIT(""), 276);
    assert_true(eml_channel_ended(p.server));
    assert_false(eml_channel_ended(p.client));
    assert_message(p.server, p.client, EML_MSG_RESULT, EML_LIT("still open this way"), 276);
    assert_int_equal(eml_channel_seal(p.client, EML_MSG_REQUEST, EML_LIT("x"), &out), EML_E_USAGE);
    assert_int_equal(out.len, 0);
    eml_buf_free(&out);
    eml_pair_free(&p);

    eml_pair_make(&p);
    assert_int_equal(eml_channel_seal(p.client, EML_MSG_END, EML_LIT("x"), &out), EML_E_USAGE);
    eml_buf_free(&out);
    eml_pair_free(&p);

    eml_pair_make(&p);
    assert_message(p.client, p.server, EML_MSG_END, EML_LIT(""), 276);
    p.client->send.state = EML_RECORD_BETWEEN; /* a sender that goes on after its end */
    assert_int_equal(eml_channel_seal(p.client, EML_MSG_REQUEST, EML_LIT("x"), &out), EML_OK);
    struct eml_cur c = eml_cur(eml_buf_bytes(&out));
    struct received r;
    assert_int_equal(receive(p.server, &c, &r), EML_E_INPUT);
    assert_string_equal(r.why.rule, "record: after the end");
    eml_buf_free(&out);
    eml_pair_free(&p);
}

static void misuse_of_parts_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct eml_pair p;
        struct eml_buf out = {0};
        eml_pair_make(&p);
        enum eml_err e = EML_OK;
        if (i == 0)
            e = eml_channel_seal_part(p.client, EML_LIT("x"), &out);
        else if (i == 1)
            e = eml_channel_seal_begin(p.client, EML_MSG_N, 1, &out);
        else if (i == 2)
            e = eml_channel_seal_begin(p.client, EML_MSG_REQUEST, EML_MESSAGE_BYTES_MAX + 1, &out);
        else {
            assert_int_equal(eml_channel_seal_begin(p.client, EML_MSG_REQUEST, 1, &out), EML_OK);
            if (i == 3)
                e = eml_channel_seal_part(p.client, EML_LIT("xy"), &out);
            else if (i == 4)
                e = eml_channel_seal_begin(p.client, EML_MSG_REQUEST, 1, &out);
            else
                e = eml_channel_seal(p.client, EML_MSG_END, EML_LIT(""), &out);
        }
        assert_int_equal(e, EML_E_USAGE);
        assert_int_equal(out.len, 0);
        eml_buf_free(&out);
        eml_pair_free(&p);
    }
}

/* What was sealed ahead comes behind what kept its place, and opens nowhere else. */
static void a_place_is_kept(void **state)
{
    (void)state;
    static uint8_t data[2 * EML_RECORD_PLAIN_MAX];
    static const size_t sizes[] = {0, 1, 3000, EML_CHANNEL_HELD_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int order = 0; order < 2; order++) {
            struct eml_pair p;
            struct received r;
            struct eml_buf kept = {0}, behind = {0}, wire = {0};
            eml_pair_make(&p);
            assert_message(p.server, p.client, EML_MSG_RESULT, EML_LIT("before"), 276);
            assert_int_equal(eml_channel_seal_hold(p.server), EML_OK);
            assert_int_equal(eml_channel_seal(p.server, EML_MSG_RESULT, EML_BYTES(data), &behind),
                             EML_OK);
            assert_int_equal(
                eml_channel_seal_held(p.server, EML_MSG_RECEIPT, eml_bytes(data, sizes[i]), &kept),
                EML_OK);
            assert_true(eml_ct_is_zero(EML_BYTES(p.server->send.plain)));
            eml_buf_put(&wire, eml_buf_bytes(order == 0 ? &kept : &behind));
            eml_buf_put(&wire, eml_buf_bytes(order == 0 ? &behind : &kept));
            struct eml_cur c = eml_cur(eml_buf_bytes(&wire));
            if (order == 0) {
                assert_int_equal(receive(p.client, &c, &r), EML_OK);
                assert_int_equal(r.type, EML_MSG_RECEIPT);
                assert_int_equal(r.records, 1);
                assert_true(eml_bytes_equal(eml_buf_bytes(&r.content), eml_bytes(data, sizes[i])));
                eml_buf_free(&r.content);
                assert_int_equal(receive(p.client, &c, &r), EML_OK);
                assert_int_equal(r.type, EML_MSG_RESULT);
                assert_true(eml_bytes_equal(eml_buf_bytes(&r.content), EML_BYTES(data)));
                assert_true(eml_cur_done(&c));
                eml_buf_free(&r.content);
                assert_message(p.server, p.client, EML_MSG_END, EML_LIT(""), 276);
            } else {
                assert_int_equal(receive(p.client, &c, &r), EML_E_AUTH);
                eml_buf_free(&r.content);
            }
            eml_buf_free(&kept);
            eml_buf_free(&behind);
            eml_buf_free(&wire);
            eml_pair_free(&p);
        }
    }
}

static void misuse_of_places_is_refused(void **state)
{
    (void)state;
    static uint8_t data[EML_CHANNEL_HELD_MAX + 1];
    const struct eml_bytes one = EML_LIT("x"), none = {0}, long_one = EML_BYTES(data);
    for (int i = 0; i < 8; i++) {
        struct eml_pair p;
        struct eml_buf out = {0};
        eml_pair_make(&p);
        enum eml_err e = EML_E_SYSTEM;
        if (i == 0) {
            e = eml_channel_seal_held(p.server, EML_MSG_RECEIPT, one, &out);
        } else if (i == 1) {
            assert_int_equal(eml_channel_seal_begin(p.server, EML_MSG_RESULT, 1, &out), EML_OK);
            e = eml_channel_seal_hold(p.server);
        } else {
            assert_int_equal(eml_channel_seal_hold(p.server), EML_OK);
            if (i == 2)
                e = eml_channel_seal_hold(p.server);
            else if (i == 3)
                e = eml_channel_seal(p.server, EML_MSG_END, none, &out);
            else if (i == 4)
                e = eml_channel_seal_held(p.server, EML_MSG_END, none, &out);
            else if (i == 5)
                e = eml_channel_seal_held(p.server, EML_MSG_RECEIPT, long_one, &out);
            else if (i == 6)
                e = eml_channel_seal_held(p.server, EML_MSG_N, one, &out);
            else {
                assert_int_equal(eml_channel_seal_begin(p.server, EML_MSG_RESULT, 1, &out), EML_OK);
                e = eml_channel_seal_held(p.server, EML_MSG_RECEIPT, one, &out);
            }
        }
        assert_int_equal(e, EML_E_USAGE);
        assert_int_equal(out.len, 0);
        assert_int_equal(eml_channel_seal(p.server, EML_MSG_RESULT, one, &out), EML_E_USAGE);
        eml_buf_free(&out);
        eml_pair_free(&p);
    }
    struct eml_pair p;
    eml_pair_make(&p);
    p.server->send.seq = EML_CHANNEL_RECORDS_MAX;
    assert_int_equal(eml_channel_seal_hold(p.server), EML_E_REFUSED);
    eml_pair_free(&p);
}

static void one_key_has_its_limit(void **state)
{
    (void)state;
    struct eml_pair p;
    struct eml_buf out = {0};
    eml_pair_make(&p);
    p.client->send.seq = p.server->recv.seq = EML_CHANNEL_RECORDS_MAX - 1;
    assert_message(p.client, p.server, EML_MSG_REQUEST, EML_LIT("last"), 276);
    assert_int_equal(eml_channel_seal(p.client, EML_MSG_REQUEST, EML_LIT("x"), &out),
                     EML_E_REFUSED);
    static const uint8_t any[272];
    enum eml_msg_type type;
    uint64_t total;
    struct eml_bytes part;
    bool done;
    struct eml_why why;
    assert_int_equal(eml_channel_open(p.server, EML_BYTES(any), &type, &total, &part, &done, &why),
                     EML_E_REFUSED);
    eml_buf_free(&out);
    eml_pair_free(&p);
}

/* Plaintexts that a hostile peer could seal, each of them against one rule. */
struct plain {
    const char *rule; /* NULL: fine */
    bool within;      /* a request of 100000 bytes is under way, with 50000 to come */
    size_t bucket;
    uint8_t type, flags;
    uint32_t len;
    uint64_t total;
    size_t dirt; /* a byte of padding that is not zero; 0: none */
};

static const struct plain plains[] = {
    {NULL, false, 256, 1, 3, 10, 10, 0},
    {NULL, false, 65536, 1, 1, 65522, 65523, 0},
    {NULL, true, 65536, 1, 2, 50000, 0, 0},
    {NULL, false, 256, 0, 3, 0, 0, 0},
    {"record: unknown type", false, 256, 5, 3, 10, 10, 0},
    {"record: unknown type", false, 256, 255, 3, 10, 10, 0},
    {"record: unknown flags", false, 256, 1, 4, 10, 10, 0},
    {"record: unknown flags", false, 256, 1, 0x83, 10, 10, 0},
    {"record: out of order", false, 65536, 1, 0, 65530, 0, 0},
    {"record: out of order", false, 256, 1, 2, 10, 0, 0},
    {"record: out of order", true, 65536, 1, 1, 65522, 70000, 0},
    {"record: out of order", true, 256, 1, 3, 10, 10, 0},
    {"record: out of order", true, 256, 0, 3, 0, 0, 0},
    {"record: type changes within a message", true, 65536, 2, 2, 50000, 0, 0},
    {"record: message too long", false, 65536, 1, 1, 65522, EML_MESSAGE_BYTES_MAX + 1, 0},
    {"record: message too long", false, 65536, 1, 1, 65522, UINT64_MAX, 0},
    {"record: message too long", false, 256, 0, 3, 1, 1, 0},
    {"record: content longer than the record or the message", false, 256, 1, 3, 243, 243, 0},
    {"record: content longer than the record or the message", false, 256, 1, 3, 11, 10, 0},
    {"record: content longer than the record or the message", true, 65536, 1, 2, 50001, 0, 0},
    {"record: content longer than the record or the message", false, 256, 1, 3, UINT32_MAX,
     UINT32_MAX / 4, 0},
    {"record: last flag does not match the message's length", false, 256, 1, 1, 10, 10, 0},
    {"record: last flag does not match the message's length", false, 256, 1, 3, 10, 11, 0},
    {"record: last flag does not match the message's length", true, 65536, 1, 0, 50000, 0, 0},
    {"record: not full, and not the last", false, 65536, 1, 1, 65521, 70000, 0},
    {"record: not full, and not the last", false, 256, 1, 1, 10, 70000, 0},
    {"record: not full, and not the last", true, 65536, 1, 0, 0, 0, 0},
    {"record: not full, and not the last", false, 256, 1, 1, 242, 70000, 0},
    {"record: not full, and not the last", true, 16384, 1, 0, 16378, 0, 0},
    {"record: not the smallest bucket", false, 1024, 1, 3, 10, 10, 0},
    {"record: not the smallest bucket", false, 65536, 1, 3, 16370, 16370, 0},
    {"record: padding is not zero", false, 256, 1, 3, 10, 10, 255},
    {"record: padding is not zero", false, 256, 1, 3, 10, 10, 24},
};

static void hostile_plaintexts_name_their_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plains / sizeof plains[0]; i++) {
        const struct plain *t = &plains[i];
        struct eml_pair p;
        enum eml_msg_type type;
        uint64_t total;
        struct eml_bytes part;
        bool done;
        struct eml_why why = {0};
        eml_pair_make(&p);
        struct eml_direction *d = &p.server->recv;
        if (t->within) {
            d->state = EML_RECORD_WITHIN;
            d->type = EML_MSG_REQUEST;
            d->total = 100000;
            d->left = 50000;
        }
        d->used = t->bucket;
        d->plain[0] = t->type;
        d->plain[1] = t->flags;
        eml_store_u32(d->plain + 2, t->len);
        if ((t->flags & 1) != 0)
            eml_store_u64(d->plain + 6, t->total);
        if (t->dirt != 0)
            d->plain[t->dirt] = 1;
        enum eml_err e = eml_record_read(p.server, &type, &total, &part, &done, &why);
        if (t->rule != NULL) {
            assert_int_equal(e, EML_E_INPUT);
            assert_string_equal(why.rule, t->rule);
            assert_int_equal(p.server->state, EML_CHANNEL_FAILED);
        } else {
            assert_int_equal(e, EML_OK);
            assert_int_equal(part.len, t->len);
        }
        eml_pair_free(&p);
    }
}

static void plaintext_does_not_stay(void **state)
{
    (void)state;
    struct eml_pair p;
    eml_pair_make(&p);
    assert_message(p.client, p.server, EML_MSG_REQUEST, EML_LIT("marker"), 276);
    assert_true(eml_ct_is_zero(EML_BYTES(p.client->send.plain)));
    assert_message(p.client, p.server, EML_MSG_END, EML_LIT(""), 276);
    assert_true(eml_ct_is_zero(eml_bytes(p.server->recv.plain + 14, EML_RECORD_PLAIN_MAX - 14)));
    eml_pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_round_trip_in_buckets),
        cmocka_unit_test(ten_megabytes_in_parts),
        cmocka_unit_test(parts_do_not_show),
        cmocka_unit_test(every_changed_byte_is_refused),
        cmocka_unit_test(every_other_length_is_refused),
        cmocka_unit_test(only_the_next_record_opens),
        cmocka_unit_test(reflection_and_splicing_are_refused),
        cmocka_unit_test(a_cut_stream_never_ends_well),
        cmocka_unit_test(end_is_explicit_and_last),
        cmocka_unit_test(misuse_of_parts_is_refused),
        cmocka_unit_test(a_place_is_kept),
        cmocka_unit_test(misuse_of_places_is_refused),
        cmocka_unit_test(one_key_has_its_limit),
        cmocka_unit_test(hostile_plaintexts_name_their_rule),
        cmocka_unit_test(plaintext_does_not_stay),
    };
    eml_crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
