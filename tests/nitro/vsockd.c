/* vsockd VHOST_SOCKET UDS_PATH GUEST_CID PARENT_CID: vsock between QEMU and Unix sockets, for
 * tests.
 *
 * A vhost-user backend of the device type vsock (QEMU's docs/interop/vhost-user.rst, VIRTIO 1.2
 * section 5.10), with Firecracker's sockets on the host's side: connect to UDS_PATH and write
 * "CONNECT port\n" to reach the enclave; it reaches UDS_PATH_port. The parent has the CID that it
 * has on Nitro, 3, which the usual backends do not offer. Serves one machine and ends with it. It
 * trusts that machine's driver to do no worse than end it: a malformed ring is the end of the
 * program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum op { REQUEST = 1, RESPONSE, RESET, SHUTDOWN, DATA, CREDIT_UPDATE, CREDIT_REQUEST };
enum { SHUT_RECEIVE = 1, SHUT_SEND = 2, SHUT_BOTH = 3, STREAM = 1 };
enum { ROOM = 256 << 10, PACKET_MAX = 64 << 10, CONNECTIONS = 256, RESETS = 64, PARTS = 256 };
enum { RX, TX, RINGS }; /* as the guest sees them */
enum { DESCRIPTOR_NEXT = 1, NO_INTERRUPT = 1 };

struct header { /* little-endian, as this machine */
    uint64_t from_cid, to_cid;
    uint32_t from_port, to_port, len;
    uint16_t type, op;
    uint32_t flags, room, taken;
} __attribute__((packed));

struct connection {
    int fd; /* -1: free */
    enum { COMMAND, WAITING, OPEN } state;
    uint64_t cid; /* ours, as the guest sees it */
    uint32_t port, guest_port;
    uint32_t guest_room, guest_taken, sent;
    uint32_t taken, told; /* bytes given to the host's program; what the guest knows of it */
    uint32_t head, fill;  /* ring of bytes for the host's program */
    unsigned due;         /* bit of each op to be sent */
    unsigned guest_shut, host_shut;
    char command[32];
    size_t command_len;
    uint8_t *ring;
};

struct region {
    uint64_t guest, size, qemu; /* address in the guest, and in QEMU */
    uint8_t *at;
    void *map;
    size_t map_len;
};

struct ring {
    unsigned n, enabled;
    uint16_t next, used;
    int kick, call;
    struct descriptor {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } * descriptors;
    struct {
        uint16_t flags, idx, ring[];
    } * available;
    struct {
        uint16_t flags, idx;
        struct {
            uint32_t id, len;
        } ring[];
    } * used_ring;
};

static struct {
    struct region region[8];
    size_t regions;
    struct ring ring[RINGS];
    struct connection connection[CONNECTIONS];
    struct header reset[RESETS];
    size_t resets;
    uint64_t guest_cid, parent_cid;
    uint32_t next_port;
    const char *path;
} g = {.next_port = 0x40000000};

_Noreturn static void die(const char *what)
{
    (void)fprintf(stderr, "vsockd: %s (%s)\n", what, strerror(errno));
    exit(1);
}

static void *guest_memory(uint64_t a, uint64_t n)
{
    for (size_t i = 0; i < g.regions; i++) {
        const struct region *r = &g.region[i];
        if (a >= r->guest && n <= r->size && a - r->guest <= r->size - n)
            return r->at + (a - r->guest);
    }
    die("a guest address outside of memory");
}

static void *qemu_memory(uint64_t a)
{
    for (size_t i = 0; i < g.regions; i++)
        if (a >= g.region[i].qemu && a - g.region[i].qemu < g.region[i].size)
            return g.region[i].at + (a - g.region[i].qemu);
    die("a ring outside of memory");
}

/* --- rings --- */

static bool has_next(const struct ring *r)
{
    return r->descriptors != NULL && r->enabled &&
           r->next != __atomic_load_n(&r->available->idx, __ATOMIC_ACQUIRE);
}

/* The parts of the next chain; 0 if there is none. */
static size_t pop(struct ring *r, struct iovec part[PARTS], uint16_t *id)
{
    size_t n = 0;
    if (!has_next(r))
        return 0;
    *id = r->available->ring[r->next % r->n];
    for (uint16_t d = *id;; d = r->descriptors[d].next) {
        if (d >= r->n || n == PARTS)
            die("a malformed descriptor chain");
        part[n].iov_len = r->descriptors[d].len;
        part[n].iov_base = guest_memory(r->descriptors[d].addr, r->descriptors[d].len);
        n++;
        if ((r->descriptors[d].flags & DESCRIPTOR_NEXT) == 0)
            break;
    }
    r->next++;
    return n;
}

static void push(struct ring *r, uint16_t id, size_t len)
{
    r->used_ring->ring[r->used % r->n].id = id;
    r->used_ring->ring[r->used % r->n].len = (uint32_t)len;
    __atomic_store_n(&r->used_ring->idx, ++r->used, __ATOMIC_RELEASE);
}

static void notify(struct ring *r)
{
    const uint64_t one = 1;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (r->call >= 0 && (r->available->flags & NO_INTERRUPT) == 0 &&
        write(r->call, &one, sizeof one) < 0 && errno != EAGAIN)
        die("notify");
}

/* Copies between p and the parts from byte `skip` on; returns how many bytes there was room for. */
static size_t copy(const struct iovec *part, size_t n, size_t skip, void *p, size_t len, bool in)
{
    size_t done = 0;
    for (size_t i = 0; i < n && done < len; i++) {
        if (skip >= part[i].iov_len) {
            skip -= part[i].iov_len;
            continue;
        }
        size_t k = part[i].iov_len - skip;
        if (k > len - done)
            k = len - done;
        uint8_t *there = (uint8_t *)part[i].iov_base + skip, *here = (uint8_t *)p + done;
        memcpy(in ? here : there, in ? there : here, k);
        done += k;
        skip = 0;
    }
    return done;
}

/* --- connections --- */

static struct connection *find(uint32_t port, uint32_t guest_port)
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &g.connection[i];
        if (c->fd >= 0 && c->state != COMMAND && c->port == port && c->guest_port == guest_port)
            return c;
    }
    return NULL;
}

/* Takes the descriptor; NULL, and it is closed, if there are too many. */
static struct connection *new_connection(int fd)
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &g.connection[i];
        if (c->fd >= 0)
            continue;
        uint8_t *ring = c->ring != NULL ? c->ring : malloc(ROOM);
        if (ring == NULL)
            break;
        *c = (struct connection){.fd = fd, .ring = ring};
        return c;
    }
    (void)close(fd);
    return NULL;
}

static void drop(struct connection *c)
{
    (void)close(c->fd);
    c->fd = -1;
}

static void queue_reset(uint64_t cid, uint32_t port, uint32_t guest_port)
{
    if (g.resets < RESETS)
        g.reset[g.resets++] = (struct header){.from_cid = cid,
                                              .to_cid = g.guest_cid,
                                              .from_port = port,
                                              .to_port = guest_port,
                                              .type = STREAM,
                                              .op = RESET};
}

static void reset(struct connection *c)
{
    queue_reset(c->cid, c->port, c->guest_port);
    drop(c);
}

/* What the guest sent, to the host's program. */
static void flush(struct connection *c)
{
    while (c->fill > 0) {
        uint32_t k = ROOM - c->head < c->fill ? ROOM - c->head : c->fill;
        ssize_t n = send(c->fd, c->ring + c->head, k, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0) {
            reset(c);
            return;
        }
        c->head = (c->head + (uint32_t)n) % ROOM;
        c->fill -= (uint32_t)n;
        c->taken += (uint32_t)n;
    }
    if (c->taken - c->told >= ROOM / 4)
        c->due |= 1u << CREDIT_UPDATE;
    if (c->fill == 0 && (c->guest_shut & SHUT_SEND) != 0) {
        (void)shutdown(c->fd, SHUT_WR);
        if (c->guest_shut == SHUT_BOTH)
            reset(c);
    }
}

static void set_path(struct sockaddr_un *u, const char *path, const char *suffix)
{
    *u = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(u->sun_path, sizeof u->sun_path, "%s%s", path, suffix);
    if (n < 0 || (size_t)n >= sizeof u->sun_path)
        die("the path of a socket is too long");
}

/* The enclave calls a program of the host. */
static void on_request(const struct header *h, struct connection *known)
{
    struct sockaddr_un u;
    char suffix[16];
    (void)snprintf(suffix, sizeof suffix, "_%u", h->to_port);
    set_path(&u, g.path, suffix);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = known == NULL && fd >= 0 && connect(fd, (const struct sockaddr *)&u, sizeof u) == 0 &&
              fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
    struct connection *c = ok ? new_connection(fd) : NULL;
    if (!ok && fd >= 0)
        (void)close(fd);
    if (c == NULL) {
        queue_reset(h->to_cid, h->to_port, h->from_port);
        return;
    }
    c->state = OPEN;
    c->cid = h->to_cid;
    c->port = h->to_port;
    c->guest_port = h->from_port;
    c->guest_room = h->room;
    c->guest_taken = h->taken;
    c->due = 1u << RESPONSE;
}

/* The enclave took a call of the host's. */
static void on_response(struct connection *c)
{
    char line[32];
    if (c->state != WAITING)
        return;
    c->state = OPEN;
    int n = snprintf(line, sizeof line, "OK %u\n", c->port);
    if (send(c->fd, line, (size_t)n, MSG_NOSIGNAL) < 0)
        reset(c);
}

static void on_data(struct connection *c, const struct header *h, const struct iovec *part,
                    size_t n)
{
    if (h->len > ROOM - c->fill) { /* it sent more than it was allowed */
        reset(c);
        return;
    }
    uint32_t tail = (c->head + c->fill) % ROOM;
    uint32_t k = ROOM - tail < h->len ? ROOM - tail : h->len;
    size_t got = copy(part, n, sizeof *h, c->ring + tail, k, true);
    got += copy(part, n, sizeof *h + k, c->ring, h->len - k, true);
    if (got != h->len) {
        reset(c);
        return;
    }
    c->fill += h->len;
    flush(c);
}

static void from_guest(const struct header *h, const struct iovec *part, size_t n)
{
    struct connection *c = find(h->to_port, h->from_port);
    if (h->from_cid != g.guest_cid)
        return;
    if (h->op == REQUEST && h->type == STREAM) {
        on_request(h, c);
        return;
    }
    if (c == NULL || h->type != STREAM) {
        if (h->op != RESET)
            queue_reset(h->to_cid, h->to_port, h->from_port);
        return;
    }
    c->guest_room = h->room;
    c->guest_taken = h->taken;
    switch (h->op) {
    case RESPONSE:
        on_response(c);
        break;
    case RESET:
        flush(c);
        if (c->fd >= 0)
            drop(c);
        break;
    case DATA:
        on_data(c, h, part, n);
        break;
    case SHUTDOWN:
        c->guest_shut |= h->flags & SHUT_BOTH;
        flush(c);
        break;
    case CREDIT_REQUEST:
        c->due |= 1u << CREDIT_UPDATE;
        break;
    default:
        break;
    }
}

static void run_tx(void)
{
    struct iovec part[PARTS];
    struct header h;
    uint16_t id;
    bool any = false;
    for (size_t n; (n = pop(&g.ring[TX], part, &id)) > 0; any = true) {
        if (copy(part, n, 0, &h, sizeof h, true) == sizeof h)
            from_guest(&h, part, n);
        push(&g.ring[TX], id, 0);
    }
    if (any)
        notify(&g.ring[TX]);
}

/* --- to the guest --- */

static uint32_t credit(const struct connection *c)
{
    uint32_t under_way = c->sent - c->guest_taken;
    return under_way < c->guest_room ? c->guest_room - under_way : 0;
}

static bool wants_data(const struct connection *c)
{
    return c->state == OPEN && (c->host_shut & SHUT_SEND) == 0 &&
           (c->guest_shut & SHUT_RECEIVE) == 0 && c->due == 0 && credit(c) > 0;
}

static void emit(struct header *h, void *data)
{
    struct iovec part[PARTS];
    uint16_t id;
    size_t n = pop(&g.ring[RX], part, &id);
    size_t k = copy(part, n, 0, h, sizeof *h, false);
    k += copy(part, n, k, data, h->len, false);
    push(&g.ring[RX], id, k);
}

/* How much data the next buffer of the guest holds. */
static size_t capacity(void)
{
    const struct ring *r = &g.ring[RX];
    size_t total = 0;
    uint16_t d = r->available->ring[r->next % r->n];
    for (unsigned hops = 0; hops < r->n && d < r->n; hops++) {
        total += r->descriptors[d].len;
        if ((r->descriptors[d].flags & DESCRIPTOR_NEXT) == 0)
            break;
        d = r->descriptors[d].next;
    }
    return total > sizeof(struct header) ? total - sizeof(struct header) : 0;
}

/* Bytes of the host's program become a packet. False: there are none now. */
static bool take_data(struct connection *c, struct header *h, uint8_t data[PACKET_MAX])
{
    size_t want = capacity();
    if (want > credit(c))
        want = credit(c);
    ssize_t n = recv(c->fd, data, want < PACKET_MAX ? want : PACKET_MAX, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n < 0) {
        reset(c);
        return false;
    }
    if (n == 0) {
        c->host_shut = SHUT_SEND;
        h->op = SHUTDOWN;
        h->flags = SHUT_SEND;
        return true;
    }
    h->op = DATA;
    h->len = (uint32_t)n;
    c->sent += (uint32_t)n;
    return true;
}

/* One packet of this connection, if it has one to send. */
static bool serve(struct connection *c)
{
    static uint8_t data[PACKET_MAX];
    static const enum op order[] = {REQUEST, RESPONSE, CREDIT_UPDATE};
    struct header h = {.from_cid = c->cid,
                       .to_cid = g.guest_cid,
                       .from_port = c->port,
                       .to_port = c->guest_port,
                       .type = STREAM,
                       .room = ROOM,
                       .taken = c->taken};
    for (size_t k = 0; k < sizeof order / sizeof order[0] && h.op == 0; k++)
        if ((c->due & 1u << order[k]) != 0)
            h.op = (uint16_t)order[k];
    c->due &= ~(1u << h.op);
    if (h.op == 0 && !(wants_data(c) && take_data(c, &h, data)))
        return false;
    c->told = c->taken;
    emit(&h, data);
    return true;
}

static void run_rx(void)
{
    bool any = false;
    for (; g.resets > 0 && has_next(&g.ring[RX]); any = true) {
        emit(&g.reset[0], NULL);
        g.resets--;
        memmove(g.reset, g.reset + 1, g.resets * sizeof g.reset[0]);
    }
    for (bool busy = true; busy; any = any || busy) {
        busy = false;
        for (size_t i = 0; i < CONNECTIONS && has_next(&g.ring[RX]); i++) {
            struct connection *c = &g.connection[i];
            if (c->fd >= 0 && c->state != COMMAND && serve(c))
                busy = true;
        }
    }
    if (any)
        notify(&g.ring[RX]);
}

/* "CONNECT port\n" of a program on the host. */
static void read_command(struct connection *c)
{
    char *at = &c->command[c->command_len];
    ssize_t n;
    while ((n = recv(c->fd, at, 1, 0)) == 1 && *at != '\n') {
        at++;
        if (++c->command_len == sizeof c->command) {
            drop(c);
            return;
        }
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    char *end = NULL;
    *at = '\0';
    unsigned long port = 0;
    if (n == 1 && strncmp(c->command, "CONNECT ", 8) == 0)
        port = strtoul(c->command + 8, &end, 10);
    if (end == NULL || *end != '\0' || port == 0 || port >= UINT32_MAX) {
        drop(c);
        return;
    }
    c->cid = g.parent_cid;
    c->port = g.next_port++;
    c->guest_port = (uint32_t)port;
    c->state = WAITING;
    c->due = 1u << REQUEST;
}

/* --- vhost-user --- */

enum request {
    GET_FEATURES = 1,
    SET_FEATURES,
    SET_OWNER,
    RESET_OWNER,
    SET_MEM_TABLE,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR,
    SET_VRING_BASE,
    GET_VRING_BASE,
    SET_VRING_KICK,
    SET_VRING_CALL,
    SET_VRING_ERR,
    GET_PROTOCOL_FEATURES,
    SET_PROTOCOL_FEATURES,
    GET_QUEUE_NUM,
    SET_VRING_ENABLE,
    GET_CONFIG = 24,
};
enum { VERSION = 1, REPLY = 4, NEED_REPLY = 8, MESSAGE_HEADER = 12, FDS = 8 };
#define FEATURES (1ull << 32 | 1ull << 30)        /* VIRTIO 1, vhost-user protocol features */
#define PROTOCOL_FEATURES (1ull << 9 | 1ull << 3) /* configuration, replies */

struct message {
    uint32_t request, flags, size;
    union {
        uint64_t u64, u64s[64];
        uint32_t u32s[128];
        uint8_t raw[512];
    };
} __attribute__((packed));

struct incoming {
    struct message m;
    int fd[FDS];
    size_t fds; /* not yet taken by a handler */
    bool answered;
};

static void answer(int s, struct incoming *in, uint32_t size)
{
    in->m.flags = VERSION | REPLY;
    in->m.size = size;
    in->answered = true;
    if (write(s, &in->m, MESSAGE_HEADER + size) != (ssize_t)(MESSAGE_HEADER + size))
        die("an answer to QEMU");
}

static void set_memory(struct incoming *in)
{
    for (size_t i = 0; i < g.regions; i++)
        (void)munmap(g.region[i].map, g.region[i].map_len);
    g.regions = in->m.u32s[0];
    if (g.regions > sizeof g.region / sizeof g.region[0] || g.regions != in->fds)
        die("a memory table that does not match its descriptors");
    for (size_t i = 0; i < g.regions; i++) {
        uint64_t entry[4]; /* guest address, size, QEMU's address, offset in the file */
        struct region *r = &g.region[i];
        memcpy(entry, in->m.raw + 8 + sizeof entry * i, sizeof entry);
        *r = (struct region){
            .guest = entry[0], .size = entry[1], .qemu = entry[2], .map_len = entry[1] + entry[3]};
        r->map = mmap(NULL, r->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, in->fd[i], 0);
        if (r->map == MAP_FAILED)
            die("mapping the guest's memory");
        r->at = (uint8_t *)r->map + entry[3];
    }
}

static void set_eventfd(struct incoming *in, int *slot)
{
    if (*slot >= 0)
        (void)close(*slot);
    *slot = in->fds > 0 ? in->fd[0] : -1;
    if (in->fds > 0)
        in->fds--;
    if (*slot >= 0)
        (void)fcntl(*slot, F_SETFL, O_NONBLOCK);
}

static void get_config(int s, struct incoming *in)
{
    uint32_t offset = in->m.u32s[0], len = in->m.u32s[1];
    if (offset > sizeof g.guest_cid || len > sizeof g.guest_cid - offset)
        die("a read outside of the configuration");
    memcpy(in->m.raw + 12, (uint8_t *)&g.guest_cid + offset, len);
    answer(s, in, 12 + len);
}

static void on_ring(int s, struct incoming *in)
{
    const bool is_fd = in->m.request == SET_VRING_KICK || in->m.request == SET_VRING_CALL;
    const uint32_t index = is_fd ? in->m.u32s[0] & 0xff : in->m.u32s[0];
    if (index >= RINGS)
        die("a ring that a vsock does not have");
    struct ring *r = &g.ring[index];
    switch (in->m.request) {
    case SET_VRING_NUM:
        r->n = in->m.u32s[1];
        break;
    case SET_VRING_ADDR:
        r->descriptors = qemu_memory(in->m.u64s[1]);
        r->used_ring = qemu_memory(in->m.u64s[2]);
        r->available = qemu_memory(in->m.u64s[3]);
        r->used = r->used_ring->idx;
        break;
    case SET_VRING_BASE:
        r->next = (uint16_t)in->m.u32s[1];
        break;
    case GET_VRING_BASE:
        in->m.u32s[1] = r->next;
        r->enabled = 0;
        if (r->kick >= 0)
            (void)close(r->kick);
        r->kick = -1;
        answer(s, in, 8);
        break;
    case SET_VRING_KICK:
        set_eventfd(in, &r->kick);
        break;
    case SET_VRING_CALL:
        set_eventfd(in, &r->call);
        break;
    default:
        r->enabled = in->m.u32s[1];
    }
}

static void on_message(int s, struct incoming *in)
{
    switch (in->m.request) {
    case GET_FEATURES:
        in->m.u64 = FEATURES;
        answer(s, in, 8);
        break;
    case GET_PROTOCOL_FEATURES:
        in->m.u64 = PROTOCOL_FEATURES;
        answer(s, in, 8);
        break;
    case GET_QUEUE_NUM:
        in->m.u64 = RINGS;
        answer(s, in, 8);
        break;
    case SET_MEM_TABLE:
        set_memory(in);
        break;
    case GET_CONFIG:
        get_config(s, in);
        break;
    case SET_VRING_NUM:
    case SET_VRING_ADDR:
    case SET_VRING_BASE:
    case GET_VRING_BASE:
    case SET_VRING_KICK:
    case SET_VRING_CALL:
    case SET_VRING_ENABLE:
        on_ring(s, in);
        break;
    default: /* owners, features, error descriptors: nothing follows from them here */
        break;
    }
}

/* One message of QEMU's. False: it is gone. */
static bool control(int s)
{
    struct incoming in = {.fds = 0};
    union {
        uint8_t bytes[CMSG_SPACE(FDS * sizeof(int))];
        struct cmsghdr align;
    } room;
    struct iovec part = {&in.m, MESSAGE_HEADER};
    struct msghdr h = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = room.bytes,
                       .msg_controllen = sizeof room.bytes};
    ssize_t n = recvmsg(s, &h, MSG_WAITALL | MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return false;
    if (n != MESSAGE_HEADER || in.m.size > sizeof in.m.raw)
        die("a malformed message");
    /* A read of nothing would wait for the next message. */
    if (in.m.size > 0 && recv(s, in.m.raw, in.m.size, MSG_WAITALL) != (ssize_t)in.m.size)
        die("a message that is cut off");
    const struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        in.fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(in.fd, CMSG_DATA(c), in.fds * sizeof(int));
    }
    const bool wants_answer = (in.m.flags & NEED_REPLY) != 0;
    on_message(s, &in);
    for (size_t i = 0; i < in.fds; i++)
        (void)close(in.fd[i]);
    if (wants_answer && !in.answered) {
        in.m.u64 = 0;
        answer(s, &in, 8);
    }
    return true;
}

/* --- the program --- */

static int listener(const char *path)
{
    struct sockaddr_un u;
    set_path(&u, path, "");
    (void)unlink(path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0 || bind(s, (const struct sockaddr *)&u, sizeof u) != 0 || listen(s, 64) != 0)
        die(path);
    return s;
}

static void welcome(int host)
{
    int fd = accept4(host, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        (void)new_connection(fd);
}

static struct pollfd interest(const struct connection *c)
{
    bool reads = c->state == COMMAND || (has_next(&g.ring[RX]) && wants_data(c));
    short events = (short)((reads ? POLLIN : 0) | (c->fill > 0 ? POLLOUT : 0));
    return (struct pollfd){.fd = c->fd >= 0 && events != 0 ? c->fd : -1, .events = events};
}

/* Waits and deals with what came. False: QEMU is gone. */
static bool turn(int qemu, int host)
{
    enum { QEMU, HOST, KICKS, FIRST = KICKS + RINGS };
    struct pollfd p[FIRST + CONNECTIONS];
    const bool up = g.ring[RX].descriptors != NULL && g.ring[TX].descriptors != NULL;
    p[QEMU] = (struct pollfd){.fd = qemu, .events = POLLIN};
    p[HOST] = (struct pollfd){.fd = up ? host : -1, .events = POLLIN};
    for (size_t i = 0; i < RINGS; i++)
        p[KICKS + i] = (struct pollfd){.fd = g.ring[i].kick, .events = POLLIN};
    for (size_t i = 0; i < CONNECTIONS; i++)
        p[FIRST + i] = interest(&g.connection[i]);
    if (poll(p, FIRST + CONNECTIONS, -1) < 0 && errno != EINTR)
        die("poll");
    uint64_t count;
    for (size_t i = 0; i < RINGS; i++)
        if (p[KICKS + i].revents != 0 && read(g.ring[i].kick, &count, sizeof count) < 0 &&
            errno != EAGAIN)
            die("a kick");
    if (p[QEMU].revents != 0 && !control(qemu))
        return false;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &g.connection[i];
        if (p[FIRST + i].revents == 0 || c->fd != p[FIRST + i].fd)
            continue;
        if (c->state == COMMAND)
            read_command(c);
        else if ((p[FIRST + i].revents & POLLOUT) != 0)
            flush(c);
    }
    if (p[HOST].revents != 0)
        welcome(host);
    if (up) {
        run_tx();
        run_rx();
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        (void)fputs("usage: vsockd VHOST_SOCKET UDS_PATH GUEST_CID PARENT_CID\n", stderr);
        return 2;
    }
    g.path = argv[2];
    g.guest_cid = strtoull(argv[3], NULL, 10);
    g.parent_cid = strtoull(argv[4], NULL, 10);
    for (size_t i = 0; i < CONNECTIONS; i++)
        g.connection[i].fd = -1;
    for (size_t i = 0; i < RINGS; i++)
        g.ring[i].kick = g.ring[i].call = -1;
    int host = listener(argv[2]), vhost = listener(argv[1]);
    int qemu = accept4(vhost, NULL, NULL, SOCK_CLOEXEC);
    if (qemu < 0)
        die("QEMU");
    while (turn(qemu, host))
        ;
    return 0;
}
