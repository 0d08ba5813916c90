/* The host's audit sink that a fuzz target plays, as untruthful as a script tells it to be. It
 * checks what it is given, always: that it is one log, signed, with every hash right, in which
 * nothing changes that was given before.
 */
#ifndef EML_TESTSUPPORT_HOSTILE_SINK_H
#define EML_TESTSUPPORT_HOSTILE_SINK_H

#include "testsupport/script.h"

#include "audit/note.h"
#include "audit/record.h"
#include "audit/tree.h"
#include "hostproto/audit.h"
#include "hostproto/hostproto.h"
#include "tile/tile.h"

#include <string.h>

/* What it has of the log, and the line to it. */
struct eml_sink {
    const struct eml_ed25519_pk *pk; /* who signs the log */
    struct eml_tree tree;            /* of all entries it was given */
    uint64_t size;                   /* of the log that it has acknowledged, or will */
    struct eml_buf checkpoint, edge[EML_TILE_LEVELS];
    struct eml_buf sent;   /* by the broker: not yet a whole frame */
    struct eml_buf answer; /* not yet read by the broker, from answer_at */
    size_t answer_at;
    bool due, asked_state; /* the broker waits for an answer: to 'A', or to a commit */
    struct eml_buf last;   /* the commit that is under way: an equal one may come again */
    uint64_t taken;        /* size of the largest log that it said to have */
};

static inline void eml_sink_keep(struct eml_buf *b, struct eml_bytes bytes)
{
    b->len = 0;
    eml_buf_put(b, bytes);
}

/* That the entries lead to the hashes and to the checkpoint, and continue what was given before. */
static inline void eml_sink_check(struct eml_sink *s, const struct eml_host_commit *c)
{
    struct eml_cur entries = eml_cur(c->entries);
    struct eml_note_key key;
    struct eml_checkpoint note;
    struct eml_sha256 root;
    EML_ASSERT(c->n > 0 && c->first == s->tree.size);
    for (unsigned i = 0; i < c->n; i++) {
        struct eml_bytes entry = eml_tile_entry(&entries);
        struct eml_record r;
        struct eml_sha256 leaf;
        EML_ASSERT(eml_record_decode(entry, &r, NULL) == EML_OK && r.sequence == c->first + i);
        EML_ASSERT(eml_tree_leaf(entry, &leaf) == EML_OK);
        if (c->hashes[0].len != 0)
            EML_ASSERT(memcmp(c->hashes[0].ptr + i * sizeof leaf.b, leaf.b, sizeof leaf.b) == 0);
        EML_ASSERT(eml_tree_append(&s->tree, &leaf) == EML_OK);
    }
    EML_ASSERT(eml_cur_done(&entries) && eml_tree_root(&s->tree, &root) == EML_OK);
    EML_ASSERT(eml_checkpoint_peek(c->checkpoint, &note, NULL) == EML_OK);
    EML_ASSERT(eml_note_key_make(note.origin, s->pk, &key) == EML_OK);
    EML_ASSERT(eml_checkpoint_verify(c->checkpoint, &key, &note, NULL) == EML_OK);
    EML_ASSERT(note.size == s->tree.size && memcmp(note.root.b, root.b, sizeof root.b) == 0);
    EML_ASSERT((c->first == 0) == (c->document.len != 0));
}

static inline void eml_sink_on_commit(struct eml_sink *s, struct eml_bytes frame)
{
    struct eml_host_commit c;
    EML_ASSERT(eml_host_commit_decode(frame, &c) == EML_OK);
    if (!eml_bytes_equal(frame, eml_buf_bytes(&s->last))) {
        EML_ASSERT(s->taken == s->tree.size); /* the one before was taken */
        eml_sink_check(s, &c);
        eml_sink_keep(&s->last, frame);
    }
    s->asked_state = false;
    s->due = true;
}

/* The tiles' edges, when the host takes the commit. */
static inline void eml_sink_take(struct eml_sink *s)
{
    struct eml_host_commit c;
    if (s->last.len == 0 || s->size == s->tree.size)
        return;
    EML_ASSERT(eml_host_commit_decode(eml_buf_bytes(&s->last), &c) == EML_OK);
    if (c.first != s->size)
        return; /* it lied about the one before */
    s->size = s->tree.size;
    eml_sink_keep(&s->checkpoint, c.checkpoint);
    for (unsigned i = 0; i < EML_TILE_LEVELS; i++) {
        size_t width = (size_t)(eml_tile_count(s->size, i) % EML_TILE_WIDTH) * EML_TILE_HASH;
        struct eml_buf all = {0};
        eml_buf_put(&all, eml_buf_bytes(&s->edge[i]));
        eml_buf_put(&all, c.hashes[i]);
        EML_ASSERT(all.len >= width);
        eml_sink_keep(&s->edge[i], eml_bytes(all.ptr + all.len - width, width));
        eml_buf_free(&all);
    }
}

static inline void eml_sink_put_frame(struct eml_sink *s, struct eml_bytes content)
{
    uint8_t length[4];
    eml_store_u32(length, (uint32_t)content.len);
    eml_buf_put(&s->answer, EML_BYTES(length));
    eml_buf_put(&s->answer, content);
}

/* Speaks, truthfully or not, asked or not. */
static inline void eml_sink_answers(struct eml_sink *s, struct eml_cur *script)
{
    struct eml_buf out = {0};
    uint8_t how = eml_cur_u8(script);
    if (!s->due) {
        if (how >= 250)
            eml_sink_put_frame(s, EML_LIT("?"));
        return;
    }
    if (s->asked_state) {
        struct eml_host_log_state state = {.size = s->size,
                                           .checkpoint = eml_buf_bytes(&s->checkpoint)};
        for (unsigned i = 0; i < EML_TILE_LEVELS; i++)
            state.edge[i] = eml_buf_bytes(&s->edge[i]);
        EML_ASSERT(eml_host_log_state_encode(&state, &out) == EML_OK);
    } else {
        eml_buf_put_u8(&out, how < 192 ? EML_HOST_OK : how % EML_HOST_STATUS_N);
        if (how < 224)
            eml_sink_take(s); /* whatever it says */
    }
    (void)eml_script_meddle(script, &out);
    /* Who says that it has something is taken at its word. */
    if (out.len != 0 && out.ptr[0] == EML_HOST_OK)
        s->taken = s->tree.size;
    eml_sink_put_frame(s, eml_buf_bytes(&out));
    s->due = false;
    eml_buf_free(&out);
}

static inline bool eml_sink_has_answer(const struct eml_sink *s)
{
    return s->answer_at < s->answer.len;
}

/* The line to it is a new one. */
static inline void eml_sink_drop_line(struct eml_sink *s)
{
    s->answer.len = s->answer_at = s->sent.len = 0;
    s->due = false;
}

static inline void eml_sink_free(struct eml_sink *s)
{
    for (unsigned i = 0; i < EML_TILE_LEVELS; i++)
        eml_buf_free(&s->edge[i]);
    eml_buf_free(&s->checkpoint);
    eml_buf_free(&s->sent);
    eml_buf_free(&s->answer);
    eml_buf_free(&s->last);
}

#endif
