#include "auditlog/verify.h"

#include "auditlog/dir.h"
#include "file/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN_PREFIX "ephemeralml/"
enum { SESSIONS_OPEN_MAX = 1024, ORIGIN_MAX = 64 };

const char *eml_log_check_text(enum eml_log_check c)
{
    static const char *const text[EML_LOG_CHECKS_N] = {
        [EML_LOG_CHECKPOINT] = "checkpoint: origin, size and root can be read",
        [EML_LOG_FILES] = "files: every tile and every bundle of entries is there, whole",
        [EML_LOG_INCLUSION] = "inclusion: every entry is in the tree whose root was signed",
        [EML_LOG_RECORDS] = "records: every entry is a record in canonical form",
        [EML_LOG_ORDER] = "order: no gap in the numbers, no step back in time within a boot",
        [EML_LOG_SESSIONS] = "sessions: numbered without gap, nothing before or after them",
        [EML_LOG_BOOTS] = "boots: each continues the log where the one before signed it",
        [EML_LOG_ATTESTED] = "attested: the policy accepts the document of each boot's key",
        [EML_LOG_SIGNATURES] = "signatures: each part is signed by the key of its boot",
        [EML_LOG_REMEMBERED] = "remembered: the log contains what the earlier checkpoint signed",
    };
    return text[c];
}

struct verifier {
    struct eml_log_dir dir;
    const struct eml_log_options *options;
    struct eml_log_report *report;
    struct eml_why *why;
    struct eml_checkpoint claimed, remembered;
    struct eml_tree tree;                 /* of all entries so far */
    struct eml_tree level[EML_LOG_PARTS]; /* of the tile that is being filled, by level */
    uint64_t filled[EML_LOG_PARTS];       /* hashes of each level so far */
    char origin[ORIGIN_MAX];
    struct eml_note_key key;         /* of the boot whose records are read; its name is origin */
    uint64_t boot, time_ms, session; /* of the last record; session: last one that was opened */
    uint64_t open[SESSIONS_OPEN_MAX];
    size_t n_open;
    bool remembered_seen;
};

static enum eml_err fail(struct verifier *v, enum eml_log_check check, enum eml_err err,
                         const char *rule, uint64_t index)
{
    v->report->check[check] = EML_LOG_FAILED;
    return eml_fail(v->why, err, rule, (long)index);
}

/* The rule is the one that was named below. */
static enum eml_err failed(struct verifier *v, enum eml_log_check check, enum eml_err err)
{
    if (err != EML_OK)
        v->report->check[check] = EML_LOG_FAILED;
    return err;
}

/* --- the tree --- */

/* A hash of this level: the one in the tile, and if it fills a tile, one of the next level. */
static enum eml_err take_hash(struct verifier *v, struct eml_sha256 h)
{
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++) {
        struct eml_tree *t = &v->level[level];
        uint64_t i = v->filled[level]++;
        struct eml_bytes tile;
        EML_TRY(failed(v, EML_LOG_FILES,
                       eml_log_dir_tile(&v->dir, level, i / EML_TILE_WIDTH, &tile, v->why)));
        const size_t at = (size_t)(i % EML_TILE_WIDTH) * EML_TILE_HASH;
        if (memcmp(tile.ptr + at, h.b, sizeof h.b) != 0)
            return level == 0
                       ? fail(v, EML_LOG_INCLUSION, EML_E_AUTH,
                              "inclusion: an entry is not the one whose hash is in its tile", i)
                       : fail(v, EML_LOG_INCLUSION, EML_E_AUTH,
                              "inclusion: a tile does not have the hash that stands above it", i);
        EML_TRY(eml_tree_append(t, &h));
        if (t->size < EML_TILE_WIDTH)
            return EML_OK;
        EML_TRY(eml_tree_root(t, &h));
        t->size = 0;
    }
    return EML_OK;
}

static bool has_root(const struct verifier *v, const struct eml_sha256 *root)
{
    struct eml_sha256 own;
    return eml_tree_root(&v->tree, &own) == EML_OK && memcmp(own.b, root->b, sizeof own.b) == 0;
}

/* --- the remembered checkpoint --- */

static enum eml_err compare_remembered(struct verifier *v)
{
    if (v->options->remembered.ptr == NULL || v->tree.size != v->remembered.size)
        return EML_OK;
    if (!has_root(v, &v->remembered.root))
        return fail(v, EML_LOG_REMEMBERED, EML_E_AUTH,
                    "remembered: forked: another log of this size was signed before", v->tree.size);
    v->remembered_seen = true;
    return failed(v, EML_LOG_REMEMBERED,
                  eml_checkpoint_verify(v->options->remembered, &v->key, &v->remembered, v->why));
}

static enum eml_err begin_remembered(struct verifier *v)
{
    if (v->options->remembered.ptr == NULL)
        return EML_OK;
    EML_TRY(failed(v, EML_LOG_REMEMBERED,
                   eml_checkpoint_peek(v->options->remembered, &v->remembered, v->why)));
    if (!eml_bytes_equal(v->remembered.origin, v->claimed.origin))
        return fail(v, EML_LOG_REMEMBERED, EML_E_AUTH,
                    "remembered: the checkpoint is of another log", 0);
    if (v->remembered.size > v->claimed.size)
        return fail(v, EML_LOG_REMEMBERED, EML_E_REFUSED,
                    "remembered: rolled back: the log was longer before", v->claimed.size);
    return EML_OK;
}

/* --- boots --- */

static enum eml_err judge_document(struct verifier *v, const struct eml_record *r)
{
    char name[64];
    struct eml_buf document = {0};
    struct eml_sha256 digest;
    struct eml_attested attested;
    const struct eml_attest_expect expect = {.public_key_bytes = sizeof v->key.key.b,
                                             .now_unix_ms = (int64_t)r->time_ms};
    (void)snprintf(name, sizeof name, "boots/%" PRIu64 ".cose", r->sequence);
    enum eml_err err = EML_OK;
    if (eml_log_dir_file(&v->dir, name, EML_ATTEST_DOCUMENT_MAX, &document, NULL) != EML_OK)
        err = eml_fail(v->why, EML_E_INPUT, "attested: a boot's document is missing",
                       (long)r->sequence);
    struct eml_bytes bytes = eml_buf_bytes(&document);
    if (err == EML_OK)
        err = eml_sha256(&bytes, 1, &digest);
    if (err == EML_OK && !eml_bytes_equal(EML_BYTES(digest.b), r->bytes[EML_BOOT_DOCUMENT]))
        err = eml_fail(v->why, EML_E_AUTH, "attested: not the document that the boot record names",
                       (long)r->sequence);
    if (err == EML_OK && v->options->policy != NULL) {
        err = eml_attest_verify(bytes, v->options->policy, &expect, &attested, NULL, v->why);
        if (err == EML_OK && !eml_bytes_equal(attested.public_key, r->bytes[EML_BOOT_KEY]))
            err = eml_fail(v->why, EML_E_AUTH, "attested: the document is of another key",
                           (long)r->sequence);
    }
    eml_buf_free(&document);
    return failed(v, EML_LOG_ATTESTED, err);
}

/* What the boot before wrote, it also signed: its last checkpoint stands in this boot's record. */
static enum eml_err continues(struct verifier *v, const struct eml_record *r)
{
    struct eml_bytes previous = r->bytes[EML_BOOT_PREVIOUS];
    struct eml_checkpoint c;
    if (r->sequence == 0)
        return previous.len == 0 ? EML_OK
                                 : fail(v, EML_LOG_BOOTS, EML_E_AUTH,
                                        "boots: the first record continues another log", 0);
    if (eml_checkpoint_peek(previous, &c, NULL) != EML_OK || c.size != r->sequence ||
        !has_root(v, &c.root))
        return fail(v, EML_LOG_BOOTS, EML_E_AUTH,
                    "boots: a boot continues another log than the one before it", r->sequence);
    return failed(v, EML_LOG_SIGNATURES, eml_checkpoint_verify(previous, &v->key, &c, v->why));
}

static enum eml_err take_boot(struct verifier *v, const struct eml_record *r)
{
    char text[ORIGIN_MAX] = ORIGIN_PREFIX;
    const size_t prefix = sizeof ORIGIN_PREFIX - 1;
    struct eml_ed25519_pk pk;
    for (size_t i = 0; i < r->bytes[EML_BOOT_LOG].len; i++)
        (void)snprintf(text + prefix + 2 * i, 3, "%02x", r->bytes[EML_BOOT_LOG].ptr[i]);
    if (!eml_bytes_equal(eml_bytes_of_str(text), v->claimed.origin))
        return fail(v, EML_LOG_BOOTS, EML_E_AUTH, "boots: a boot record is of another log",
                    r->sequence);
    EML_TRY(continues(v, r));
    memcpy(v->origin, text, sizeof v->origin);
    memcpy(pk.b, r->bytes[EML_BOOT_KEY].ptr, sizeof pk.b);
    EML_TRY(eml_note_key_make(eml_bytes_of_str(v->origin), &pk, &v->key));
    EML_TRY(judge_document(v, r));
    v->report->boots++;
    v->report->unclosed += v->n_open;
    v->n_open = 0;
    v->session = 0;
    v->boot = r->sequence;
    return EML_OK;
}

/* --- records --- */

static enum eml_err take_session(struct verifier *v, const struct eml_record *r)
{
    size_t at = 0;
    if (r->event == EML_EVENT_SESSION_OPEN) {
        if (r->session != v->session + 1 || v->n_open == SESSIONS_OPEN_MAX)
            return fail(v, EML_LOG_SESSIONS, EML_E_INPUT, "sessions: one was opened out of turn",
                        r->sequence);
        v->session++;
        v->report->sessions++;
        v->open[v->n_open++] = r->session;
        return EML_OK;
    }
    if (r->session == 0)
        return r->event == EML_EVENT_BOOT || r->event == EML_EVENT_ERROR
                   ? EML_OK
                   : fail(v, EML_LOG_SESSIONS, EML_E_INPUT,
                          "sessions: an event without its session", r->sequence);
    while (at < v->n_open && v->open[at] != r->session)
        at++;
    if (at == v->n_open)
        return fail(v, EML_LOG_SESSIONS, EML_E_INPUT, "sessions: an event of one that is not open",
                    r->sequence);
    if (r->event == EML_EVENT_SESSION_CLOSE)
        v->open[at] = v->open[--v->n_open];
    return EML_OK;
}

static enum eml_err take_order(struct verifier *v, const struct eml_record *r)
{
    bool boot = r->event == EML_EVENT_BOOT;
    if (r->sequence != v->tree.size)
        return fail(v, EML_LOG_ORDER, EML_E_INPUT, "order: a record is not at its number",
                    v->tree.size);
    if (r->sequence == 0 && !boot)
        return fail(v, EML_LOG_BOOTS, EML_E_INPUT, "boots: the log does not begin with one", 0);
    if (r->boot != (boot ? r->sequence : v->boot))
        return fail(v, EML_LOG_ORDER, EML_E_INPUT, "order: a record is of another boot",
                    r->sequence);
    if (!boot && r->time_ms < v->time_ms)
        return fail(v, EML_LOG_ORDER, EML_E_INPUT, "order: time runs backwards within a boot",
                    r->sequence);
    v->time_ms = r->time_ms;
    return EML_OK;
}

static enum eml_err take_record(struct verifier *v, struct eml_bytes entry)
{
    struct eml_record r;
    struct eml_why why = {0};
    if (eml_record_decode(entry, &r, &why) != EML_OK)
        return fail(v, EML_LOG_RECORDS, EML_E_INPUT, why.rule, v->tree.size);
    EML_TRY(take_order(v, &r));
    if (r.event == EML_EVENT_BOOT)
        EML_TRY(take_boot(v, &r));
    EML_TRY(take_session(v, &r));
    if (v->report->records == 0)
        v->report->first_ms = r.time_ms;
    v->report->last_ms = r.time_ms;
    if (v->options->on_record != NULL)
        v->options->on_record(v->options->ctx, &r);
    return EML_OK;
}

static enum eml_err take_entry(struct verifier *v, struct eml_bytes entry)
{
    struct eml_sha256 leaf;
    EML_TRY(eml_tree_leaf(entry, &leaf));
    EML_TRY(take_hash(v, leaf));
    EML_TRY(take_record(v, entry));
    EML_TRY(eml_tree_append(&v->tree, &leaf));
    v->report->records++;
    return compare_remembered(v);
}

/* --- the whole --- */

static enum eml_err read_checkpoint(struct verifier *v)
{
    struct eml_buf *note = &v->report->checkpoint;
    enum eml_err err = eml_log_dir_file(&v->dir, "checkpoint", EML_NOTE_BYTES_MAX, note, v->why);
    if (err != EML_OK)
        return fail(v, EML_LOG_CHECKPOINT, err, "checkpoint: there is none here", 0);
    EML_TRY(failed(v, EML_LOG_CHECKPOINT,
                   eml_checkpoint_peek(eml_buf_bytes(note), &v->claimed, v->why)));
    if (v->claimed.size == 0 || v->claimed.size > EML_TREE_SIZE_MAX)
        return fail(v, EML_LOG_CHECKPOINT, EML_E_INPUT, "checkpoint: of no size", 0);
    memcpy(v->report->origin, v->claimed.origin.ptr,
           v->claimed.origin.len < sizeof v->report->origin ? v->claimed.origin.len : 0);
    v->report->size = v->dir.size = v->claimed.size;
    v->report->root = v->claimed.root;
    return EML_OK;
}

static enum eml_err read_entries(struct verifier *v)
{
    for (uint64_t n = 0; v->tree.size < v->claimed.size; n++) {
        struct eml_bytes bundle;
        EML_TRY(failed(v, EML_LOG_FILES,
                       eml_log_dir_tile(&v->dir, EML_TILE_ENTRIES, n, &bundle, v->why)));
        struct eml_cur c = eml_cur(bundle);
        while (eml_cur_left(&c) != 0)
            EML_TRY(take_entry(v, eml_tile_entry(&c)));
    }
    return EML_OK;
}

static enum eml_err verify(struct verifier *v)
{
    struct eml_checkpoint c;
    EML_TRY(read_checkpoint(v));
    EML_TRY(begin_remembered(v));
    EML_TRY(read_entries(v));
    if (!has_root(v, &v->claimed.root))
        return fail(v, EML_LOG_INCLUSION, EML_E_AUTH,
                    "inclusion: the entries are not the tree whose root was signed", v->tree.size);
    EML_TRY(
        failed(v, EML_LOG_SIGNATURES,
               eml_checkpoint_verify(eml_buf_bytes(&v->report->checkpoint), &v->key, &c, v->why)));
    if (v->options->remembered.ptr != NULL && !v->remembered_seen)
        return fail(v, EML_LOG_REMEMBERED, EML_E_AUTH, "remembered: not in this log", 0);
    return EML_OK;
}

enum eml_err eml_log_verify(const char *dir, const struct eml_log_options *o,
                            struct eml_log_report *report, struct eml_why *why)
{
    *report = (struct eml_log_report){0};
    if (o->policy == NULL)
        report->check[EML_LOG_ATTESTED] = EML_LOG_NOT_ASKED;
    if (o->remembered.ptr == NULL)
        report->check[EML_LOG_REMEMBERED] = EML_LOG_NOT_ASKED;
    struct verifier *v = calloc(1, sizeof *v);
    if (v == NULL)
        return eml_fail(why, EML_E_SYSTEM, "log: out of memory", -1);
    v->dir.path = dir;
    v->options = o;
    v->report = report;
    v->why = why;
    enum eml_err err = verify(v);
    report->unclosed += v->n_open;
    for (size_t i = 0; err == EML_OK && i < EML_LOG_CHECKS_N; i++)
        if (report->check[i] == EML_LOG_NOT_REACHED)
            report->check[i] = EML_LOG_PASSED;
    eml_log_dir_close(&v->dir);
    free(v);
    return err;
}

void eml_log_report_free(struct eml_log_report *r)
{
    eml_buf_free(&r->checkpoint);
    *r = (struct eml_log_report){0};
}
