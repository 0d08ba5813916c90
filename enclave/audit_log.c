#define _GNU_SOURCE
#include "enclave/audit_log.h"

#include "audit/note.h"
#include "audit/proof.h"
#include "base/log.h"
#include "base/text.h"
#include "enclave/ipc.h"
#include "enclave/limits.h"
#include "hostproto/audit.h"
#include "net/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define ORIGIN_PREFIX "ephemeralml/"
enum { LOG_ID = 16, ORIGIN = sizeof ORIGIN_PREFIX - 1 + 2 * LOG_ID, HEADER = 4, PIECE = 16384 };

/* Records that go to the host together, and what proves their place. */
struct batch {
    uint64_t first;
    unsigned n; /* 0: none */
    struct eml_tree base;
    struct eml_sha256 leaf[EML_HOST_LOG_BATCH_MAX];
    struct eml_buf entries, note;
};

enum state {
    DOWN,    /* until retry_ms */
    DIALING, /* fd will bring the connection */
    ASKED,   /* for the host's state */
    READY,
    SENT, /* a commit; its answer is due */
};

struct eml_audit_log {
    struct eml_audit_log_config config; /* document: empty once the boot record is in a batch */
    struct eml_buf document;
    struct eml_buf previous; /* the checkpoint that the host had at the start; empty: none */
    struct eml_note_key key;
    uint8_t id[LOG_ID];
    char origin[ORIGIN];
    bool begun;             /* the log is known: there is a boot record */
    struct eml_record boot; /* its numbers, until then */
    uint64_t boot_index, next, time_ms;
    struct eml_buf queue; /* entries, each be16 length || bytes */
    unsigned queued;
    int64_t waiting_ms;      /* since when something is not durable; INT64_MAX: all is */
    struct eml_tree tree;    /* with all that was put into batches */
    struct batch sent, kept; /* on its way; durable last */
    enum eml_err trouble;
    enum state state;
    int fd;
    int64_t retry_ms, deadline_ms;
    struct eml_buf out; /* a frame being sent */
    size_t out_at;
    struct eml_buf in; /* a frame being received */
};

/* --- batches --- */

static void batch_free(struct batch *b)
{
    eml_buf_free(&b->entries);
    eml_buf_free(&b->note);
    b->n = 0;
}

static enum eml_err sign(const struct eml_audit_log *log, const struct eml_tree *tree,
                         struct eml_buf *note)
{
    struct eml_checkpoint c = {.origin = eml_bytes(log->origin, sizeof log->origin),
                               .size = tree->size};
    EML_TRY(eml_tree_root(tree, &c.root));
    return eml_checkpoint_sign(&c, &log->key, log->config.key, note);
}

/* The queue's first records; rest: of the queue, what then remains; tree: with their leaves. */
static enum eml_err fill(const struct eml_audit_log *log, struct batch *b, struct eml_buf *rest,
                         struct eml_tree *tree)
{
    struct eml_cur c = eml_cur(eml_buf_bytes(&log->queue));
    while (b->n < log->queued && b->n < EML_HOST_LOG_BATCH_MAX) {
        EML_TRY(eml_tree_leaf(eml_tile_entry(&c), &b->leaf[b->n]));
        EML_TRY(eml_tree_append(tree, &b->leaf[b->n]));
        b->n++;
    }
    eml_buf_put(&b->entries, eml_bytes(log->queue.ptr, c.pos));
    eml_buf_put(rest, eml_cur_rest(&c));
    EML_TRY(eml_buf_ok(&b->entries));
    EML_TRY(eml_buf_ok(rest));
    return sign(log, tree, &b->note);
}

/* Takes records off the queue, and their leaves into the tree, to be sent. On failure all is as it
 * was. */
static enum eml_err make_batch(struct eml_audit_log *log)
{
    struct eml_tree tree = log->tree;
    struct eml_buf rest = {0};
    log->sent = (struct batch){.first = log->next - log->queued, .base = log->tree};
    enum eml_err err = fill(log, &log->sent, &rest, &tree);
    if (err != EML_OK) {
        eml_buf_free(&rest);
        batch_free(&log->sent);
        return err;
    }
    eml_buf_free(&log->queue);
    log->queue = rest;
    log->queued -= log->sent.n;
    log->tree = tree;
    return EML_OK;
}

/* The hashes that a batch completes at a level: nodes of height 8 * level. */
static enum eml_err put_hashes(const struct batch *b, unsigned level, struct eml_buf *out)
{
    const struct eml_tree_recent recent = {&b->base, b->leaf, b->n};
    struct eml_tree_source source = eml_tree_recent_source(&recent);
    uint64_t end = eml_tile_count(b->first + b->n, level);
    for (uint64_t i = eml_tile_count(b->first, level); i < end; i++) {
        struct eml_sha256 h;
        EML_TRY(source.node(source.ctx, 8 * level, i, &h));
        eml_buf_put(out, EML_BYTES(h.b));
    }
    return eml_buf_ok(out);
}

/* Frame in log->out: the same bytes for the same batch, however often. */
static enum eml_err put_commit(struct eml_audit_log *log, const struct batch *b)
{
    struct eml_buf hashes[EML_TILE_LEVELS] = {{0}};
    struct eml_host_commit c = {.first = b->first,
                                .n = b->n,
                                .entries = eml_buf_bytes(&b->entries),
                                .checkpoint = eml_buf_bytes(&b->note)};
    enum eml_err err = EML_OK;
    if (b->first == log->boot_index)
        c.document = eml_buf_bytes(&log->document);
    for (unsigned level = 0; err == EML_OK && level < EML_TILE_LEVELS; level++) {
        err = put_hashes(b, level, &hashes[level]);
        c.hashes[level] = eml_buf_bytes(&hashes[level]);
    }
    log->out.len = log->out_at = 0;
    (void)eml_buf_grow(&log->out, HEADER);
    if (err == EML_OK)
        err = eml_host_commit_encode(&c, &log->out);
    if (err == EML_OK)
        eml_store_u32(log->out.ptr, (uint32_t)(log->out.len - HEADER));
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++)
        eml_buf_free(&hashes[level]);
    return err;
}

/* --- appending --- */

static uint64_t unix_ms(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

enum eml_err eml_audit_log_append(struct eml_audit_log *log, const struct eml_record *record,
                                  uint64_t *index)
{
    struct eml_record r = *record;
    struct eml_buf entry = {0};
    uint8_t be[2];
    uint64_t now = unix_ms();
    if (log->queued >= EML_AUDIT_QUEUE_MAX)
        return EML_E_NET;
    /* A clock that was set back shall not make the order of records doubtful. */
    log->time_ms = now > log->time_ms ? now : log->time_ms;
    r.sequence = log->next;
    r.boot = log->boot_index;
    r.time_ms = log->time_ms;
    enum eml_err err = eml_record_encode(&r, &entry);
    EML_ASSERT(err != EML_E_USAGE);
    if (err == EML_OK) {
        eml_store_u16(be, (uint16_t)entry.len);
        eml_buf_reserve(&log->queue, sizeof be + entry.len);
        err = eml_buf_ok(&log->queue);
    }
    if (err == EML_OK) {
        eml_buf_put(&log->queue, EML_BYTES(be));
        eml_buf_put(&log->queue, eml_buf_bytes(&entry));
    }
    log->queue.failed = false; /* what is queued is whole, and waits for better times */
    eml_buf_free(&entry);
    EML_TRY(err);
    if (index != NULL)
        *index = log->next;
    log->next++;
    log->queued++;
    if (log->waiting_ms == INT64_MAX)
        log->waiting_ms = eml_net_now_ms();
    return EML_OK;
}

/* --- the log that the host shows --- */

/* Peaks out of the partial tiles: tile hashes of level L are nodes of height 8 * L. */
static enum eml_err peaks_of(const struct eml_host_log_state *s, struct eml_tree *out)
{
    *out = (struct eml_tree){.size = s->size};
    for (unsigned level = 0; level < EML_TILE_LEVELS; level++) {
        struct eml_cur c = eml_cur(s->edge[level]);
        for (unsigned bit = 8; bit-- > 0;) {
            struct eml_tree part = {0};
            if ((s->size >> (8 * level + bit) & 1) == 0)
                continue;
            while (part.size < (uint64_t)1 << bit) {
                struct eml_sha256 h = {{0}};
                struct eml_bytes b = eml_cur_take(&c, sizeof h.b);
                if (b.len == sizeof h.b)
                    memcpy(h.b, b.ptr, sizeof h.b);
                EML_TRY(eml_tree_append(&part, &h));
            }
            out->peak[8 * level + bit] = part.peak[bit];
        }
    }
    return EML_OK;
}

/* That the state hangs together, and whose log it is. */
static enum eml_err read_state(const struct eml_host_log_state *s, struct eml_tree *tree,
                               uint8_t id[LOG_ID])
{
    const struct eml_bytes prefix = EML_LIT(ORIGIN_PREFIX);
    struct eml_checkpoint c;
    struct eml_sha256 root;
    EML_TRY(eml_checkpoint_peek(s->checkpoint, &c, NULL));
    EML_TRY(peaks_of(s, tree));
    EML_TRY(eml_tree_root(tree, &root));
    if (c.size != s->size || !eml_bytes_equal(EML_BYTES(c.root.b), EML_BYTES(root.b)))
        return EML_E_INPUT;
    if (c.origin.len != ORIGIN || !eml_bytes_equal(eml_bytes(c.origin.ptr, prefix.len), prefix) ||
        !eml_hex_get(eml_bytes(c.origin.ptr + prefix.len, 2 * (size_t)LOG_ID),
                     (struct eml_room){id, LOG_ID}))
        return EML_E_INPUT;
    return EML_OK;
}

static enum eml_err put_boot(struct eml_audit_log *log, struct eml_bytes previous)
{
    struct eml_record r = log->boot;
    struct eml_bytes document = eml_buf_bytes(&log->document);
    struct eml_sha256 digest;
    EML_TRY(eml_sha256(&document, 1, &digest));
    r.event = EML_EVENT_BOOT;
    r.bytes[EML_BOOT_LOG] = EML_BYTES(log->id);
    r.bytes[EML_BOOT_KEY] = EML_BYTES(log->key.key.b);
    r.bytes[EML_BOOT_DOCUMENT] = EML_BYTES(digest.b);
    r.bytes[EML_BOOT_PREVIOUS] = previous;
    return eml_audit_log_append(log, &r, NULL);
}

/* Continues the log that the host has, or begins one. */
static enum eml_err begin(struct eml_audit_log *log, const struct eml_host_log_state *s)
{
    struct eml_ed25519_pk pk = log->key.key;
    if (s->size == 0)
        EML_TRY(eml_random(EML_ROOM(log->id)));
    else
        EML_TRY(read_state(s, &log->tree, log->id));
    memcpy(log->origin, ORIGIN_PREFIX, sizeof ORIGIN_PREFIX - 1);
    eml_hex_put(EML_BYTES(log->id), log->origin + sizeof ORIGIN_PREFIX - 1);
    EML_TRY(eml_note_key_make(eml_bytes(log->origin, sizeof log->origin), &pk, &log->key));
    log->boot_index = log->next = log->tree.size;
    eml_buf_put(&log->previous, s->checkpoint);
    EML_TRY(eml_buf_ok(&log->previous));
    EML_TRY(put_boot(log, s->checkpoint));
    log->begun = true;
    return EML_OK;
}

/* --- the connection --- */

static int64_t in_ms(int64_t ms)
{
    return eml_net_now_ms() + ms;
}

static void go(struct eml_audit_log *log, enum state state)
{
    log->state = state;
    log->deadline_ms = state == READY ? INT64_MAX : in_ms(EML_AUDIT_ANSWER_MS);
}

/* Whatever was under way; it is tried again. */
static void hang_up(struct eml_audit_log *log, enum eml_err trouble)
{
    if (trouble != log->trouble)
        eml_log_event("audit.trouble", trouble, {"records", (int64_t)log->next});
    log->trouble = trouble;
    eml_net_close(&log->fd);
    eml_buf_free(&log->out);
    eml_buf_free(&log->in);
    log->out_at = 0;
    log->retry_ms = in_ms(EML_AUDIT_RETRY_MS);
    log->state = DOWN;
}

static void dial(struct eml_audit_log *log)
{
    log->fd = log->config.dial(log->config.ctx);
    if (log->fd < 0)
        hang_up(log, EML_E_SYSTEM);
    else
        go(log, DIALING);
}

static void send_some(struct eml_audit_log *log)
{
    while (log->out_at < log->out.len) {
        ssize_t n = send(log->fd, log->out.ptr + log->out_at, log->out.len - log->out_at,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            hang_up(log, EML_E_NET);
            return;
        }
        log->out_at += (size_t)n;
    }
}

static void answered_the_phone(struct eml_audit_log *log)
{
    uint8_t packet[1];
    size_t n;
    int fd = -1;
    const struct eml_host_request ask = {.kind = EML_HOST_AUDIT};
    enum eml_err err = eml_ipc_recv(log->fd, eml_net_now_ms(), EML_ROOM(packet), &n, &fd);
    if (err != EML_OK || n != 1 || packet[0] != EML_OK || fd < 0) {
        eml_net_close(&fd);
        hang_up(log, EML_E_NET);
        return;
    }
    eml_net_close(&log->fd);
    log->fd = fd;
    log->out.len = log->out_at = 0;
    (void)eml_buf_grow(&log->out, HEADER);
    if (eml_host_request_encode(&ask, &log->out) != EML_OK) {
        hang_up(log, EML_E_SYSTEM);
        return;
    }
    eml_store_u32(log->out.ptr, (uint32_t)(log->out.len - HEADER));
    go(log, ASKED);
    send_some(log);
}

static void acknowledged(struct eml_audit_log *log)
{
    batch_free(&log->kept);
    log->kept = log->sent;
    log->sent = (struct batch){0};
    log->waiting_ms = log->queued != 0 ? eml_net_now_ms() : INT64_MAX;
    log->trouble = EML_OK;
    go(log, READY);
}

/* The checkpoint after this batch. */
static bool is_note(struct eml_bytes checkpoint, const struct batch *b)
{
    return b->n != 0 && eml_bytes_equal(checkpoint, eml_buf_bytes(&b->note));
}

static bool is_ours(const struct eml_audit_log *log, struct eml_bytes checkpoint)
{
    if (log->kept.n != 0)
        return is_note(checkpoint, &log->kept);
    return eml_bytes_equal(checkpoint, eml_buf_bytes(&log->previous));
}

/* The host has what we wrote last, or else what was on its way when the connection broke; anything
 * else is not our log any more. */
static void on_state(struct eml_audit_log *log, struct eml_bytes frame)
{
    struct eml_host_log_state s;
    enum eml_host_status status;
    enum eml_err err = eml_host_log_state_decode(frame, &status, &s);
    if (err == EML_OK)
        err = eml_host_status_err(status);
    if (err == EML_OK && !log->begun)
        err = begin(log, &s);
    else if (err == EML_OK && is_note(s.checkpoint, &log->sent))
        acknowledged(log);
    else if (err == EML_OK && !is_ours(log, s.checkpoint))
        err = EML_E_INPUT;
    if (err != EML_OK) {
        hang_up(log, err);
        return;
    }
    /* A full disk is one until it takes something. */
    if (log->trouble != EML_E_REFUSED || log->sent.n + log->queued == 0)
        log->trouble = EML_OK;
    go(log, READY);
}

static void on_answer(struct eml_audit_log *log, struct eml_bytes frame)
{
    struct eml_host_answer a;
    enum eml_err err = eml_host_answer_decode(frame, 0, &a);
    /* Not where its log ends: it may have kept this batch after all, which its state will tell. */
    if (err == EML_OK)
        err = a.status == EML_HOST_EXISTS ? EML_E_NET : eml_host_status_err(a.status);
    if (err == EML_OK)
        acknowledged(log);
    else
        hang_up(log, err);
}

/* One whole frame, or nothing yet. */
static void hear(struct eml_audit_log *log)
{
    uint8_t piece[PIECE];
    ssize_t n = recv(log->fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        eml_buf_put(&log->in, eml_bytes(piece, (size_t)n));
    enum eml_err err = eml_buf_ok(&log->in);
    struct eml_cur c = eml_cur(eml_buf_bytes(&log->in));
    bool has_length = eml_cur_left(&c) >= HEADER;
    size_t len = has_length ? eml_cur_u32(&c) : 0;
    bool due = log->state == ASKED || log->state == SENT;
    /* The host speaks when it is asked, and of one thing. */
    if (n <= 0 || !due || len > EML_HOST_LOG_STATE_MAX || (has_length && eml_cur_left(&c) > len))
        err = EML_E_NET;
    if (err != EML_OK) {
        hang_up(log, err);
        return;
    }
    if (!has_length || eml_cur_left(&c) < len)
        return;
    if (log->state == ASKED)
        on_state(log, eml_cur_rest(&c));
    else
        on_answer(log, eml_cur_rest(&c));
    log->in.len = 0;
}

static void send_batch(struct eml_audit_log *log)
{
    enum eml_err err = log->sent.n == 0 ? make_batch(log) : EML_OK;
    if (err == EML_OK)
        err = put_commit(log, &log->sent);
    if (err != EML_OK) {
        hang_up(log, err);
        return;
    }
    go(log, SENT);
    send_some(log);
}

/* --- the interface --- */

int64_t eml_audit_log_poll(const struct eml_audit_log *log, struct pollfd *p)
{
    *p = (struct pollfd){.fd = log->fd, .events = POLLIN};
    if (log->out_at < log->out.len)
        p->events |= POLLOUT;
    int64_t due = log->state == DOWN ? log->retry_ms : log->deadline_ms;
    int64_t late = log->waiting_ms != INT64_MAX ? log->waiting_ms + EML_AUDIT_SILENT_MS : INT64_MAX;
    return late > eml_net_now_ms() && late < due ? late : due;
}

void eml_audit_log_turn(struct eml_audit_log *log, const struct pollfd *p)
{
    int64_t now = eml_net_now_ms();
    if (p->revents != 0 && log->state == DIALING)
        answered_the_phone(log);
    else if ((p->revents & ~POLLOUT) != 0 && log->state != DOWN)
        hear(log);
    if (log->state != DOWN)
        send_some(log);
    if (log->state != DOWN && now >= log->deadline_ms)
        hang_up(log, EML_E_NET);
    if (log->state == DOWN && now >= log->retry_ms)
        dial(log);
    if (log->state == READY && log->sent.n + log->queued != 0)
        send_batch(log);
}

bool eml_audit_log_room(const struct eml_audit_log *log)
{
    return log->queued < EML_AUDIT_QUEUE_MAX / 2;
}

bool eml_audit_log_settled(const struct eml_audit_log *log)
{
    return log->sent.n + log->queued == 0;
}

uint64_t eml_audit_log_signed(const struct eml_audit_log *log)
{
    return log->next - log->queued;
}

uint64_t eml_audit_log_durable(const struct eml_audit_log *log)
{
    return log->kept.n != 0 ? log->kept.first + log->kept.n : 0;
}

/* A connection that broke is no reason to stop as long as it is back soon. */
enum eml_err eml_audit_log_health(const struct eml_audit_log *log)
{
    bool late =
        log->waiting_ms != INT64_MAX && eml_net_now_ms() >= log->waiting_ms + EML_AUDIT_SILENT_MS;
    if (log->trouble == EML_E_NET && !late)
        return EML_OK;
    return log->trouble == EML_OK && late ? EML_E_NET : log->trouble;
}

enum eml_err eml_audit_log_proof(const struct eml_audit_log *log, uint64_t index,
                                 struct eml_buf *entry, struct eml_buf *proof)
{
    const struct batch *b = log->sent.n != 0 && index >= log->sent.first ? &log->sent : &log->kept;
    const struct eml_tree_recent recent = {&b->base, b->leaf, b->n};
    struct eml_tree_source source = eml_tree_recent_source(&recent);
    struct eml_proof p = {.index = index, .checkpoint = eml_buf_bytes(&b->note)};
    struct eml_cur c = eml_cur(eml_buf_bytes(&b->entries));
    if (b->n == 0 || index < b->first || index >= b->first + b->n)
        return EML_E_USAGE;
    for (uint64_t i = b->first; i < index; i++)
        (void)eml_tile_entry(&c);
    eml_buf_put(entry, eml_tile_entry(&c));
    EML_TRY(eml_buf_ok(entry));
    EML_TRY(eml_tree_prove_inclusion(&source, index, b->first + b->n, &p.path));
    return eml_proof_print(&p, proof);
}

struct eml_bytes eml_audit_log_origin(const struct eml_audit_log *log)
{
    return eml_bytes(log->origin, sizeof log->origin);
}

/* Until the boot record is durable, or it is plain that it will not be. */
static enum eml_err until_booted(struct eml_audit_log *log, int64_t end_ms)
{
    while (!log->begun || eml_audit_log_durable(log) <= log->boot_index) {
        struct pollfd p;
        int64_t now = eml_net_now_ms(), due = eml_audit_log_poll(log, &p);
        if (log->trouble != EML_OK && log->trouble != EML_E_NET)
            return log->trouble;
        if (now >= end_ms)
            return EML_E_NET;
        due = due < end_ms ? due : end_ms;
        if (poll(&p, 1, due > now ? (int)(due - now) : 0) < 0 && errno != EINTR)
            return EML_E_SYSTEM;
        eml_audit_log_turn(log, &p);
    }
    return EML_OK;
}

enum eml_err eml_audit_log_start(const struct eml_audit_log_config *c, int64_t timeout_ms,
                                 struct eml_audit_log **out, struct eml_why *why)
{
    *out = NULL;
    struct eml_audit_log *log = calloc(1, sizeof *log);
    if (log == NULL)
        return eml_fail(why, EML_E_SYSTEM, "audit: out of memory", -1);
    log->config = *c;
    log->config.document = (struct eml_bytes){0};
    log->key.key = c->key->pk;
    memcpy(log->boot.number, c->limits, sizeof c->limits);
    log->fd = -1;
    log->waiting_ms = INT64_MAX;
    /* Holds a frame that is not whole yet and a piece: it fails for lack of memory alone. */
    log->in.max = HEADER + EML_HOST_LOG_STATE_MAX + PIECE;
    eml_buf_put(&log->document, c->document);
    enum eml_err err = eml_buf_ok(&log->document);
    if (err == EML_OK)
        err = until_booted(log, in_ms(timeout_ms));
    if (err == EML_OK) {
        *out = log;
        return EML_OK;
    }
    eml_audit_log_free(log);
    return eml_fail(why, err, "audit: the host does not take the log of this enclave", -1);
}

void eml_audit_log_free(struct eml_audit_log *log)
{
    if (log == NULL)
        return;
    batch_free(&log->sent);
    batch_free(&log->kept);
    eml_buf_free(&log->document);
    eml_buf_free(&log->previous);
    eml_buf_free(&log->queue);
    eml_buf_free(&log->out);
    eml_buf_free(&log->in);
    eml_net_close(&log->fd);
    free(log);
}
