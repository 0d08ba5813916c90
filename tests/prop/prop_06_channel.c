// link: channel
/* Nothing but sealed records leaves a side: over generated sequences of messages, every byte that
 * crosses is a frame of a handshake message or of a record in a bucket, no run of any content shows
 * in them, the other side gets exactly what was sent, and any single mutation of the stream is
 * detected. */
#include "testsupport/cases.h"
#include "testsupport/channel_pair.h"

#include <stdio.h>

#define CASES 120
#define MESSAGES_MAX 8
#define MARKER_BYTES 16

struct sent {
    enum eml_msg_type type;
    struct eml_buf content;
};

struct run {
    struct sent message[MESSAGES_MAX];
    size_t n;
    struct eml_buf stream; /* all record frames of one direction, END included */
};

/* Content that begins with a marker and repeats it, so that any window of clear text has one. */
static void fill_marked(struct eml_gen *g, struct eml_buf *content, size_t n)
{
    uint8_t marker[MARKER_BYTES];
    eml_gen_fill(g, marker, sizeof marker);
    uint8_t *p = eml_buf_grow(content, n);
    for (size_t i = 0; i < n; i++)
        p[i] = marker[i % sizeof marker];
}

static size_t some_length(struct eml_gen *g)
{
    static const int64_t most[] = {0, 40, 1100, 17000, 70000, 200000};
    return (size_t)eml_gen_range(g, 0, most[eml_gen_range(g, 0, 5)]);
}

static void send_all(struct eml_gen *g, unsigned most, struct eml_channel *from, struct run *r)
{
    *r = (struct run){.n = (size_t)eml_gen_range(g, 1, most)};
    for (size_t i = 0; i < r->n; i++) {
        struct sent *m = &r->message[i];
        m->type = (enum eml_msg_type)eml_gen_range(g, EML_MSG_REQUEST, EML_MSG_ERROR);
        fill_marked(g, &m->content, some_length(g));
        struct eml_cur c = eml_cur(eml_buf_bytes(&m->content));
        assert_int_equal(eml_channel_seal_begin(from, m->type, m->content.len, &r->stream), EML_OK);
        while (eml_cur_left(&c) != 0) {
            struct eml_bytes part =
                eml_cur_take(&c, (size_t)eml_gen_range(g, 0, (int64_t)eml_cur_left(&c)));
            assert_int_equal(eml_channel_seal_part(from, part, &r->stream), EML_OK);
        }
    }
    assert_int_equal(eml_channel_seal(from, EML_MSG_END, EML_LIT(""), &r->stream), EML_OK);
}

static bool found(struct eml_bytes hay, struct eml_bytes needle)
{
    for (const uint8_t *p = hay.ptr, *end = hay.ptr + hay.len; needle.len != 0;) {
        p = memchr(p, needle.ptr[0], (size_t)(end - p));
        if (p == NULL || (size_t)(end - p) < needle.len)
            return false;
        if (memcmp(p, needle.ptr, needle.len) == 0)
            return true;
        p++;
    }
    return false;
}

/* Each 8-byte piece of the marker at each phase: chance makes one show with odds below 2^-40. */
static void assert_no_marker(const struct run *r, struct eml_bytes wire)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct eml_buf *c = &r->message[i].content;
        for (size_t at = 0; at + 8 <= c->len && at < MARKER_BYTES; at += 4)
            assert_false(found(wire, eml_bytes(c->ptr + at, 8)));
    }
}

static void assert_only_bucket_frames(const struct run *r)
{
    struct eml_cur c = eml_cur(eml_buf_bytes(&r->stream));
    while (eml_cur_left(&c) != 0) {
        struct eml_bytes f;
        assert_true(eml_pair_frame(&c, &f));
        size_t plain = f.len - 16;
        assert_true(plain == 256 || plain == 1024 || plain == 4096 || plain == 16384 ||
                    plain == 65536);
    }
    assert_true(eml_cur_done(&c));
}

/* Reads the stream as a receiver does. EML_OK only if it was the whole of what was sent. */
static enum eml_err receive_all(struct eml_channel *to, struct eml_bytes stream,
                                const struct run *r)
{
    struct eml_cur c = eml_cur(stream);
    size_t i = 0;
    enum eml_err e = EML_OK;
    while (!eml_channel_ended(to)) {
        struct eml_buf got = {0};
        enum eml_msg_type type = EML_MSG_END;
        uint64_t total = 0;
        for (bool done = false; !done && e == EML_OK;) {
            struct eml_bytes frame, part;
            struct eml_why why;
            if (!eml_pair_frame(&c, &frame))
                e = EML_E_NET;
            else
                e = eml_channel_open(to, frame, &type, &total, &part, &done, &why);
            if (e == EML_OK)
                eml_buf_put(&got, part);
        }
        if (e == EML_OK && type != EML_MSG_END) {
            assert_true(i < r->n); /* what opens must be what was sent, mutated stream or not */
            assert_int_equal(type, r->message[i].type);
            assert_true(
                eml_bytes_equal(eml_buf_bytes(&got), eml_buf_bytes(&r->message[i].content)));
            i++;
        }
        eml_buf_free(&got);
        if (e != EML_OK)
            return e;
    }
    return eml_cur_done(&c) && i == r->n ? EML_OK : EML_E_INPUT;
}

/* One change of the stream: a bit, a cut, an insertion, two bytes swapped, or a frame moved. */
static void mutate(struct eml_gen *g, struct eml_buf *s)
{
    size_t at = (size_t)eml_gen_range(g, 0, (int64_t)s->len - 1);
    switch (eml_gen_range(g, 0, 4)) {
    case 0:
        s->ptr[at] ^= (uint8_t)(1u << eml_gen_range(g, 0, 7));
        break;
    case 1:
        s->len = at;
        break;
    case 2:
        eml_buf_put_u8(s, (uint8_t)eml_gen_u64(g));
        break;
    case 3:
        memmove(s->ptr + at, s->ptr + at + 1, s->len - at - 1);
        s->len--;
        break;
    default: { /* the first frame goes behind all others, or twice if it is the only one */
        struct eml_cur c = eml_cur(eml_buf_bytes(s));
        struct eml_bytes f;
        struct eml_buf moved = {0};
        assert_true(eml_pair_frame(&c, &f));
        eml_buf_put(&moved, eml_bytes(s->ptr + 4 + f.len, s->len - 4 - f.len));
        eml_buf_put(&moved, eml_bytes(s->ptr, 4 + f.len));
        if (moved.len == f.len + 4)
            eml_buf_put(&moved, eml_bytes(s->ptr, 4 + f.len));
        eml_buf_free(s);
        *s = moved;
    }
    }
}

/* Of at most so many messages each way. */
static void one_case(struct eml_gen *g, unsigned most)
{
    struct eml_pair p;
    struct run out, back;
    struct eml_buf wire = {0}, mutated = {0};
    eml_pair_make(&p);
    send_all(g, most, p.client, &out);
    send_all(g, most, p.server, &back);
    eml_buf_put(&wire, eml_buf_bytes(&p.hello));
    eml_buf_put(&wire, eml_buf_bytes(&p.evidence));
    eml_buf_put(&wire, eml_buf_bytes(&p.open));
    eml_buf_put(&wire, eml_buf_bytes(&out.stream));
    eml_buf_put(&wire, eml_buf_bytes(&back.stream));
    assert_no_marker(&out, eml_buf_bytes(&wire));
    assert_no_marker(&back, eml_buf_bytes(&wire));
    assert_only_bucket_frames(&out);
    assert_only_bucket_frames(&back);
    /* one direction untouched, the other mutated: each is what it is by itself */
    bool mutate_out = eml_gen_bool(g);
    struct run *hurt = mutate_out ? &out : &back, *whole = mutate_out ? &back : &out;
    struct eml_channel *hurt_to = mutate_out ? p.server : p.client;
    struct eml_channel *whole_to = mutate_out ? p.client : p.server;
    eml_buf_put(&mutated, eml_buf_bytes(&hurt->stream));
    mutate(g, &mutated);
    assert_int_equal(receive_all(whole_to, eml_buf_bytes(&whole->stream), whole), EML_OK);
    assert_int_not_equal(receive_all(hurt_to, eml_buf_bytes(&mutated), hurt), EML_OK);
    for (size_t i = 0; i < MESSAGES_MAX; i++) {
        eml_buf_free(&out.message[i].content);
        eml_buf_free(&back.message[i].content);
    }
    eml_buf_free(&out.stream);
    eml_buf_free(&back.stream);
    eml_buf_free(&wire);
    eml_buf_free(&mutated);
    eml_pair_free(&p);
}

static void only_sealed_records_leave(void **state)
{
    (void)state;
    struct eml_gen g = eml_gen_seeded("prop_06_channel");
    eml_cases(&g, CASES, MESSAGES_MAX, one_case);
    eml_assured(CASES,
                "generated message sequences over the channel: all bytes that cross are sealed "
                "records in buckets, no run of content shows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {EML_CASES_TEST(only_sealed_records_leave)};
    eml_crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
