// wrap: malloc calloc free
/* The broker's end of the log against a sink of this test: a thread that behaves as told. */
#define _GNU_SOURCE
#include "testsupport/support.h"

#include "audit/proof.h"
#include "audit/tree.h"
#include "enclave/audit_log.h"
#include "enclave/ipc.h"
#include "enclave/limits.h"
#include "hostproto/audit.h"
#include "net/net.h"

#include <pthread.h>
#include <stdatomic.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the sink does with the next commit; it keeps after that. */
enum fate { KEEP, REFUSE, CUT_BEFORE, CUT_AFTER, SILENT };

/* The log as a host has it: what the last commits said, without files. */
static struct {
    pthread_mutex_t lock;
    uint64_t size;
    struct eml_buf checkpoint, edge[EML_TILE_LEVELS], entries;
    unsigned commits;
    size_t document_bytes;
    atomic_int fate;
    atomic_bool no_phone;
    atomic_bool by_bytes; /* what it says comes byte by byte, each read before the next */
    atomic_uint dialled;
    atomic_int serving;
} sink = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct eml_ed25519_sk secret = {.b = {1, 2, 3}};
static const uint8_t document[] = "a document";

enum {
    PATIENCE_MS = 60000
}; /* long, since the machine may be busy; nothing waits for it to pass */

static int64_t soon(void)
{
    return eml_net_now_ms() + PATIENCE_MS;
}

/* --- memory that fails: this thread's, so not the sink's --- */

static _Thread_local struct {
    bool on, all_after, hit;
    long left, live; /* how many go well; blocks */
} memory;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void __wrap_free(void *p);

static bool fails(void)
{
    if (memory.on && (memory.all_after || !memory.hit) && memory.left-- <= 0)
        return memory.hit = true;
    memory.live++;
    return false;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void __wrap_free(void *p)
{
    memory.live -= p != NULL;
    __real_free(p);
}

static void fail_memory(long n, bool all_after)
{
    memory.left = n;
    memory.all_after = all_after;
    memory.hit = false;
    memory.on = true;
}

/* --- the sink --- */

static void forget(void)
{
    (void)pthread_mutex_lock(&sink.lock);
    sink.size = 0;
    sink.commits = 0;
    sink.document_bytes = 0;
    sink.checkpoint.len = sink.entries.len = 0;
    for (unsigned i = 0; i < EML_TILE_LEVELS; i++)
        sink.edge[i].len = 0;
    (void)pthread_mutex_unlock(&sink.lock);
    sink.fate = KEEP;
}

static enum eml_host_status take(const struct eml_host_commit *c)
{
    (void)pthread_mutex_lock(&sink.lock);
    enum eml_host_status s = c->first == sink.size ? EML_HOST_OK : EML_HOST_EXISTS;
    if (s == EML_HOST_OK) {
        sink.size += c->n;
        sink.commits++;
        sink.document_bytes += c->document.len;
        sink.checkpoint.len = 0;
        eml_buf_put(&sink.checkpoint, c->checkpoint);
        eml_buf_put(&sink.entries, c->entries);
        for (unsigned i = 0; i < EML_TILE_LEVELS; i++) {
            size_t width = (size_t)(eml_tile_count(sink.size, i) % EML_TILE_WIDTH) * EML_TILE_HASH;
            struct eml_buf all = {0};
            eml_buf_put(&all, eml_buf_bytes(&sink.edge[i]));
            eml_buf_put(&all, c->hashes[i]);
            assert_true(all.len >= width);
            sink.edge[i].len = 0;
            eml_buf_put(&sink.edge[i], eml_bytes(all.ptr + all.len - width, width));
            eml_buf_free(&all);
        }
    }
    (void)pthread_mutex_unlock(&sink.lock);
    return s;
}

static bool is_read(int fd)
{
    int unread = 1;
    for (int64_t end = soon();
         ioctl(fd, SIOCOUTQ, &unread) == 0 && unread != 0 && eml_net_now_ms() < end;)
        (void)usleep(100);
    return unread == 0;
}

static bool say(int fd, struct eml_bytes content)
{
    uint8_t length[4];
    if (!sink.by_bytes)
        return eml_net_send_frame(fd, content, soon()) == EML_OK;
    eml_store_u32(length, (uint32_t)content.len);
    for (size_t i = 0; i < sizeof length + content.len; i++) {
        const uint8_t *at = i < sizeof length ? length + i : content.ptr + i - sizeof length;
        if (eml_net_send(fd, eml_bytes(at, 1), soon()) != EML_OK || !is_read(fd))
            return false;
    }
    return true;
}

static bool send_state(int fd)
{
    struct eml_buf out = {0};
    (void)pthread_mutex_lock(&sink.lock);
    struct eml_host_log_state s = {.size = sink.size,
                                   .checkpoint = eml_buf_bytes(&sink.checkpoint)};
    for (unsigned i = 0; i < EML_TILE_LEVELS; i++)
        s.edge[i] = eml_buf_bytes(&sink.edge[i]);
    bool ok = eml_host_log_state_encode(&s, &out) == EML_OK;
    (void)pthread_mutex_unlock(&sink.lock);
    ok = ok && say(fd, eml_buf_bytes(&out));
    eml_buf_free(&out);
    return ok;
}

static bool serve_commit(int fd, struct eml_bytes frame)
{
    struct eml_host_commit c;
    enum fate fate = (enum fate)atomic_exchange(&sink.fate, KEEP);
    uint8_t status[1] = {EML_HOST_TOO_LARGE};
    if (fate == SILENT) {
        sink.fate = SILENT;
        (void)usleep(20000);
        return true;
    }
    if (fate == CUT_BEFORE || eml_host_commit_decode(frame, &c) != EML_OK)
        return false;
    if (fate == KEEP || fate == CUT_AFTER)
        status[0] = (uint8_t)take(&c);
    return fate != CUT_AFTER && say(fd, EML_BYTES(status)) && status[0] == EML_HOST_OK;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    struct eml_buf frame = {0};
    bool on = eml_net_recv_frame(fd, EML_HOST_REQUEST_MAX, soon(), &frame) == EML_OK &&
              frame.len == 1 && frame.ptr[0] == EML_HOST_AUDIT && send_state(fd);
    while (on)
        on = eml_net_recv_frame(fd, EML_HOST_LOG_COMMIT_MAX, INT64_MAX, &frame) == EML_OK &&
             serve_commit(fd, eml_buf_bytes(&frame));
    eml_buf_free(&frame);
    eml_net_close(&fd);
    sink.serving--;
    return NULL;
}

/* As the connector does: {EML_OK} with a connection over a socket pair. */
static int dial(void *ctx)
{
    (void)ctx;
    int phone[2], line[2];
    const uint8_t ok[] = {EML_OK};
    pthread_t thread;
    if (sink.no_phone)
        return -1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, phone), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, line), 0);
    assert_int_equal(eml_ipc_send(phone[1], EML_BYTES(ok), line[0]), EML_OK);
    (void)close(line[0]);
    (void)close(phone[1]);
    sink.serving++;
    sink.dialled++;
    assert_int_equal(pthread_create(&thread, NULL, serve, (void *)(intptr_t)line[1]), 0);
    (void)pthread_detach(thread);
    return phone[0];
}

static struct eml_audit_log *start(void)
{
    const struct eml_audit_log_config c = {
        .key = &secret, .document = EML_BYTES(document), .dial = dial};
    struct eml_audit_log *log;
    struct eml_why why = {0};
    assert_int_equal(eml_audit_log_start(&c, PATIENCE_MS, &log, &why), EML_OK);
    return log;
}

static void stop(struct eml_audit_log *log)
{
    eml_audit_log_free(log);
    for (int64_t end = soon(); sink.serving != 0 && eml_net_now_ms() < end;)
        (void)usleep(1000);
}

static void turn(struct eml_audit_log *log)
{
    struct pollfd p;
    int64_t now = eml_net_now_ms(), due = eml_audit_log_poll(log, &p);
    (void)poll(&p, 1, due - now > 20 ? 20 : due > now ? (int)(due - now) : 0);
    eml_audit_log_turn(log, &p);
}

static void settle(struct eml_audit_log *log)
{
    for (int64_t end = soon(); !eml_audit_log_settled(log) && eml_net_now_ms() < end;)
        turn(log);
    assert_true(eml_audit_log_settled(log));
}

static uint64_t append(struct eml_audit_log *log)
{
    const struct eml_record r = {.event = EML_EVENT_KMS, .session = 1};
    uint64_t index = 0;
    assert_int_equal(eml_audit_log_append(log, &r, &index), EML_OK);
    return index;
}

static struct eml_note_key key_of(const struct eml_audit_log *log)
{
    struct eml_note_key k;
    assert_int_equal(eml_note_key_make(eml_audit_log_origin(log), &secret.pk, &k), EML_OK);
    return k;
}

/* What the sink has is a log: every entry is in the tree that the checkpoint signs. */
static void check_sink(const struct eml_audit_log *log)
{
    struct eml_note_key k = key_of(log);
    struct eml_checkpoint c;
    struct eml_tree t = {0};
    struct eml_sha256 leaf, root;
    struct eml_cur entries = eml_cur(eml_buf_bytes(&sink.entries));
    assert_int_equal(eml_checkpoint_verify(eml_buf_bytes(&sink.checkpoint), &k, &c, NULL), EML_OK);
    while (eml_cur_left(&entries) != 0) {
        struct eml_record r;
        struct eml_bytes entry = eml_tile_entry(&entries);
        assert_int_equal(eml_record_decode(entry, &r, NULL), EML_OK);
        assert_int_equal(r.sequence, t.size);
        assert_int_equal(eml_tree_leaf(entry, &leaf), EML_OK);
        assert_int_equal(eml_tree_append(&t, &leaf), EML_OK);
    }
    assert_int_equal(eml_tree_root(&t, &root), EML_OK);
    assert_int_equal(c.size, t.size);
    assert_memory_equal(c.root.b, root.b, sizeof root.b);
}

static void begins_and_continues(void **state)
{
    (void)state;
    forget();
    struct eml_audit_log *log = start();
    assert_int_equal(sink.size, 1);
    assert_int_equal(sink.document_bytes, sizeof document);
    /* 700 records cross tiles and fill some; several batches, since one holds 256. */
    for (int i = 0; i < 700; i++)
        (void)append(log);
    settle(log);
    assert_int_equal(eml_audit_log_durable(log), 701);
    assert_int_equal(sink.commits, 1 + 3);
    check_sink(log);
    stop(log);
    log = start();
    assert_int_equal(sink.size, 702);
    assert_int_equal(sink.document_bytes, 2 * sizeof document);
    struct eml_cur c = eml_cur(eml_buf_bytes(&sink.entries));
    struct eml_record boot;
    for (int i = 0; i < 701; i++)
        (void)eml_tile_entry(&c);
    assert_int_equal(eml_record_decode(eml_tile_entry(&c), &boot, NULL), EML_OK);
    assert_int_equal(boot.event, EML_EVENT_BOOT);
    assert_int_equal(boot.boot, 701);
    struct eml_checkpoint previous;
    assert_int_equal(eml_checkpoint_peek(boot.bytes[EML_BOOT_PREVIOUS], &previous, NULL), EML_OK);
    assert_int_equal(previous.size, 701);
    (void)append(log);
    settle(log);
    check_sink(log);
    stop(log);
}

static void one_turn_one_batch(void **state)
{
    (void)state;
    forget();
    struct eml_audit_log *log = start();
    unsigned before = sink.commits;
    for (int i = 0; i < 50; i++)
        (void)append(log);
    assert_int_equal(eml_audit_log_durable(log), 1);
    settle(log);
    assert_int_equal(sink.commits, before + 1);
    stop(log);
}

static void proves_what_became_durable_last(void **state)
{
    (void)state;
    forget();
    struct eml_audit_log *log = start();
    struct eml_note_key k = key_of(log);
    for (int round = 0; round < 40; round++) {
        uint64_t first = append(log), last = first;
        for (int i = 0; i < round % 9; i++)
            last = append(log);
        struct eml_buf entry = {0}, text = {0};
        assert_int_equal(eml_audit_log_proof(log, first, &entry, &text), EML_E_USAGE);
        settle(log);
        for (uint64_t i = first; i <= last; i++) {
            struct eml_proof p;
            struct eml_checkpoint c;
            entry.len = text.len = 0;
            assert_int_equal(eml_audit_log_proof(log, i, &entry, &text), EML_OK);
            assert_int_equal(eml_proof_parse(eml_buf_bytes(&text), &p, NULL), EML_OK);
            assert_int_equal(p.index, i);
            assert_int_equal(eml_proof_verify(&p, eml_buf_bytes(&entry), &k, &c, NULL), EML_OK);
            assert_int_equal(c.size, last + 1);
        }
        entry.len = 0;
        assert_int_equal(eml_audit_log_proof(log, last + 1, &entry, &text), EML_E_USAGE);
        eml_buf_free(&entry);
        eml_buf_free(&text);
    }
    stop(log);
}

/* While the host is at work on a batch, its proofs can be made; they are those of later. */
static void proves_what_is_on_its_way(void **state)
{
    (void)state;
    forget();
    struct eml_audit_log *log = start();
    struct eml_buf early[2] = {{0}}, late[2] = {{0}};
    uint64_t before = append(log);
    settle(log);
    assert_int_equal(eml_audit_log_signed(log), before + 1);
    (void)pthread_mutex_lock(&sink.lock); /* the host does not get to it */
    uint64_t index = append(log);
    assert_int_equal(eml_audit_log_signed(log), index);
    assert_int_equal(eml_audit_log_proof(log, index, &early[0], &early[1]), EML_E_USAGE);
    while (eml_audit_log_signed(log) == index)
        turn(log);
    uint64_t next = append(log);
    assert_int_equal(eml_audit_log_signed(log), next);
    assert_int_equal(eml_audit_log_durable(log), index);
    assert_int_equal(eml_audit_log_proof(log, index, &early[0], &early[1]), EML_OK);
    assert_int_equal(eml_audit_log_proof(log, next, &late[0], &late[1]), EML_E_USAGE);
    assert_int_equal(eml_audit_log_proof(log, before, &late[0], &late[1]), EML_OK);
    (void)pthread_mutex_unlock(&sink.lock);
    while (eml_audit_log_durable(log) == index)
        turn(log);
    for (int i = 0; i < 2; i++)
        late[i].len = 0;
    assert_int_equal(eml_audit_log_proof(log, index, &late[0], &late[1]), EML_OK);
    for (int i = 0; i < 2; i++) {
        assert_true(eml_bytes_equal(eml_buf_bytes(&early[i]), eml_buf_bytes(&late[i])));
        eml_buf_free(&early[i]);
        eml_buf_free(&late[i]);
    }
    settle(log);
    stop(log);
}

/* The connection breaks before, or after, the host kept what was on its way: nothing is lost and
 * nothing comes twice. */
static void survives_broken_connections(void **state)
{
    (void)state;
    forget();
    struct eml_audit_log *log = start();
    for (int i = 0; i < 6; i++) {
        sink.fate = i % 2 == 0 ? CUT_BEFORE : CUT_AFTER;
        (void)append(log);
        (void)append(log);
        settle(log);
        assert_int_equal(eml_audit_log_health(log), EML_OK);
    }
    assert_int_equal(sink.size, 13);
    check_sink(log);
    stop(log);
}

/* A stream may be cut anywhere, also within a frame's length. */
static void answers_may_come_byte_by_byte(void **state)
{
    (void)state;
    forget();
    sink.by_bytes = true;
    sink.dialled = 0;
    struct eml_audit_log *log = start();
    for (int i = 0; i < 3; i++) {
        (void)append(log);
        settle(log);
    }
    assert_int_equal(sink.dialled, 1);
    sink.by_bytes = false;
    check_sink(log);
    stop(log);
}

static void a_full_disk_is_told_and_passes(void **state)
{
    (void)state;
    forget();
    struct eml_audit_log *log = start();
    sink.fate = REFUSE;
    (void)append(log);
    for (int64_t end = soon(); eml_audit_log_health(log) == EML_OK && eml_net_now_ms() < end;)
        turn(log);
    assert_int_equal(eml_audit_log_health(log), EML_E_REFUSED);
    assert_int_equal(eml_audit_log_durable(log), 1);
    settle(log);
    assert_int_equal(eml_audit_log_health(log), EML_OK);
    check_sink(log);
    stop(log);
}

/* The host shows what was there before: not written to, and not believed. */
static void another_log_is_not_written_to(void **state)
{
    (void)state;
    forget();
    struct eml_audit_log *log = start();
    (void)append(log);
    settle(log);
    uint64_t size = sink.size;
    (void)pthread_mutex_lock(&sink.lock);
    struct eml_buf kept = sink.checkpoint;
    sink.checkpoint = (struct eml_buf){0};
    eml_buf_put(&sink.checkpoint, eml_buf_bytes(&kept));
    sink.checkpoint.ptr[sink.checkpoint.len - 5] ^= 1;
    (void)pthread_mutex_unlock(&sink.lock);
    sink.fate = CUT_BEFORE;
    (void)append(log);
    for (int64_t end = soon(); eml_audit_log_health(log) == EML_OK && eml_net_now_ms() < end;)
        turn(log);
    assert_int_equal(eml_audit_log_health(log), EML_E_INPUT);
    for (int i = 0; i < 30; i++)
        turn(log);
    assert_int_equal(sink.size, size);
    /* What it was: all goes on. */
    (void)pthread_mutex_lock(&sink.lock);
    eml_buf_free(&sink.checkpoint);
    sink.checkpoint = kept;
    (void)pthread_mutex_unlock(&sink.lock);
    settle(log);
    check_sink(log);
    stop(log);
}

/* An enclave does not begin on a log that does not hang together. */
static void a_broken_log_is_not_continued(void **state)
{
    (void)state;
    const struct eml_audit_log_config c = {
        .key = &secret, .document = EML_BYTES(document), .dial = dial};
    forget();
    struct eml_audit_log *log = start();
    (void)append(log);
    settle(log);
    stop(log);
    sink.edge[0].ptr[3] ^= 1;
    assert_int_equal(eml_audit_log_start(&c, PATIENCE_MS, &log, NULL), EML_E_INPUT);
    assert_null(log);
    sink.edge[0].ptr[3] ^= 1;
    stop(start());
}

static void a_silent_host_is_told(void **state)
{
    (void)state;
    forget();
    struct eml_audit_log *log = start();
    int64_t start_ms = eml_net_now_ms();
    sink.fate = SILENT;
    (void)append(log);
    while (eml_audit_log_health(log) == EML_OK && eml_net_now_ms() < start_ms + PATIENCE_MS)
        turn(log);
    assert_int_equal(eml_audit_log_health(log), EML_E_NET);
    assert_true(eml_net_now_ms() - start_ms >= EML_AUDIT_SILENT_MS - 50);
    sink.fate = KEEP;
    settle(log);
    assert_int_equal(eml_audit_log_health(log), EML_OK);
    check_sink(log);
    stop(log);
}

static void the_queue_has_an_end(void **state)
{
    (void)state;
    const struct eml_record r = {.event = EML_EVENT_KMS};
    forget();
    struct eml_audit_log *log = start();
    for (unsigned i = 0; i < EML_AUDIT_QUEUE_MAX; i++) {
        assert_int_equal(eml_audit_log_room(log), i < EML_AUDIT_QUEUE_MAX / 2);
        (void)append(log);
    }
    assert_int_equal(eml_audit_log_append(log, &r, NULL), EML_E_NET);
    settle(log);
    assert_int_equal(eml_audit_log_durable(log), 1 + EML_AUDIT_QUEUE_MAX);
    check_sink(log);
    stop(log);
}

static void nobody_answers(void **state)
{
    (void)state;
    const struct eml_audit_log_config c = {
        .key = &secret, .document = EML_BYTES(document), .dial = dial};
    struct eml_audit_log *log;
    forget();
    sink.no_phone = true;
    assert_int_not_equal(eml_audit_log_start(&c, 300, &log, NULL), EML_OK);
    assert_null(log);
    sink.no_phone = false;
}

/* Whichever allocation fails, alone or with all after it: as soon as there is memory again all goes
 * on, and every record that was taken is in the log, in its place. */
static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    const struct eml_record r = {.event = EML_EVENT_KMS, .session = 1};
    bool hit[2] = {true, true};
    for (long n = 0; hit[0] || hit[1]; n++)
        for (int all_after = 0; all_after < 2; all_after++) {
            forget();
            memory.live = 0;
            struct eml_audit_log *log = start();
            uint64_t taken = 1;
            sink.fate = n % 2 == 0 ? KEEP : CUT_BEFORE;
            fail_memory(n, all_after != 0);
            for (int i = 0; i < 5; i++)
                taken += eml_audit_log_append(log, &r, NULL) == EML_OK;
            while (!memory.hit && !eml_audit_log_settled(log))
                turn(log);
            for (int i = 0; i < 3; i++)
                turn(log);
            hit[all_after] = memory.hit;
            memory.on = false;
            (void)append(log);
            settle(log);
            assert_int_equal(eml_audit_log_health(log), EML_OK);
            assert_int_equal(eml_audit_log_durable(log), taken + 1);
            assert_int_equal(sink.size, taken + 1);
            check_sink(log);
            stop(log);
            assert_int_equal(memory.live, 0);
        }
}

static void without_memory_it_starts_or_not(void **state)
{
    (void)state;
    const struct eml_audit_log_config c = {
        .key = &secret, .document = EML_BYTES(document), .dial = dial};
    memory.hit = true;
    for (long n = 0; memory.hit; n++) {
        struct eml_audit_log *log;
        forget();
        memory.live = 0;
        fail_memory(n, true);
        enum eml_err err = eml_audit_log_start(&c, 100, &log, NULL);
        memory.on = false;
        assert_int_equal(err == EML_OK, log != NULL);
        /* No fault of the host. */
        assert_true(!memory.hit || err == EML_OK || err == EML_E_SYSTEM);
        if (!memory.hit && err != EML_OK) { /* not in time */
            stop(log);
            log = start();
        }
        stop(log);
        assert_int_equal(memory.live, 0);
    }
}

static int make_key(void **state)
{
    (void)state;
    return eml_ed25519_make(&secret) != EML_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_and_continues),
        cmocka_unit_test(one_turn_one_batch),
        cmocka_unit_test(proves_what_became_durable_last),
        cmocka_unit_test(proves_what_is_on_its_way),
        cmocka_unit_test(survives_broken_connections),
        cmocka_unit_test(answers_may_come_byte_by_byte),
        cmocka_unit_test(a_full_disk_is_told_and_passes),
        cmocka_unit_test(another_log_is_not_written_to),
        cmocka_unit_test(a_broken_log_is_not_continued),
        cmocka_unit_test(a_silent_host_is_told),
        cmocka_unit_test(the_queue_has_an_end),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(without_memory_nothing_is_lost),
        cmocka_unit_test(without_memory_it_starts_or_not),
    };
    return cmocka_run_group_tests(tests, make_key, NULL);
}
