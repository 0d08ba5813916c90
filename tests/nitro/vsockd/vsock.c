#define _GNU_SOURCE
#include "vsockd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum op { REQUEST = 1, RESPONSE, RESET, SHUTDOWN, DATA, CREDIT_UPDATE, CREDIT_REQUEST };
enum { SHUT_RECEIVE = 1, SHUT_SEND = 2, SHUT_BOTH = 3, STREAM = 1 };
enum { ROOM = 256 << 10, PACKET_MAX = 64 << 10, RESETS = 64 };

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

static struct {
    struct vhost *v;
    struct connection connection[CONNECTIONS];
    struct header reset[RESETS];
    size_t resets;
    uint64_t parent_cid;
    uint32_t next_port;
    const char *path;
} g;

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
                                              .to_cid = g.v->guest_cid,
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

int unix_listen(const char *path)
{
    struct sockaddr_un u, unready;
    set_path(&u, path, "");
    set_path(&unready, path, ".new");
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0 || bind(s, (const struct sockaddr *)&unready, sizeof unready) != 0 ||
        listen(s, 64) != 0 || rename(unready.sun_path, u.sun_path) != 0)
        die(path);
    return s;
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
    size_t got = parts_copy(part, n, sizeof *h, c->ring + tail, k, true);
    got += parts_copy(part, n, sizeof *h + k, c->ring, h->len - k, true);
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
    if (h->from_cid != g.v->guest_cid)
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
    for (size_t n; (n = ring_pop(g.v, &g.v->ring[TX], part, &id)) > 0; any = true) {
        if (parts_copy(part, n, 0, &h, sizeof h, true) == sizeof h)
            from_guest(&h, part, n);
        ring_push(&g.v->ring[TX], id, 0);
    }
    if (any)
        ring_notify(&g.v->ring[TX]);
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
    size_t n = ring_pop(g.v, &g.v->ring[RX], part, &id);
    size_t k = parts_copy(part, n, 0, h, sizeof *h, false);
    k += parts_copy(part, n, k, data, h->len, false);
    ring_push(&g.v->ring[RX], id, k);
}

/* Bytes of the host's program become a packet. False: there are none now. */
static bool take_data(struct connection *c, struct header *h, uint8_t data[PACKET_MAX])
{
    size_t want = ring_capacity(&g.v->ring[RX]);
    if (want <= sizeof *h)
        die("a buffer of the guest that holds no data");
    want -= sizeof *h;
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
                       .to_cid = g.v->guest_cid,
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
    for (; g.resets > 0 && ring_has_next(&g.v->ring[RX]); any = true) {
        emit(&g.reset[0], NULL);
        g.resets--;
        memmove(g.reset, g.reset + 1, g.resets * sizeof g.reset[0]);
    }
    for (bool busy = true; busy; any = any || busy) {
        busy = false;
        for (size_t i = 0; i < CONNECTIONS && ring_has_next(&g.v->ring[RX]); i++) {
            struct connection *c = &g.connection[i];
            if (c->fd >= 0 && c->state != COMMAND && serve(c))
                busy = true;
        }
    }
    if (any)
        ring_notify(&g.v->ring[RX]);
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

/* --- the host's sockets --- */

static struct pollfd interest(const struct connection *c)
{
    bool reads = c->state == COMMAND || (ring_has_next(&g.v->ring[RX]) && wants_data(c));
    short events = (short)((reads ? POLLIN : 0) | (c->fill > 0 ? POLLOUT : 0));
    return (struct pollfd){.fd = c->fd >= 0 && events != 0 ? c->fd : -1, .events = events};
}

void vsock_interest(struct pollfd p[CONNECTIONS])
{
    for (size_t i = 0; i < CONNECTIONS; i++)
        p[i] = interest(&g.connection[i]);
}

void vsock_ready(const struct pollfd p[CONNECTIONS])
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &g.connection[i];
        if (p[i].revents == 0 || c->fd != p[i].fd)
            continue;
        if (c->state == COMMAND)
            read_command(c);
        else if ((p[i].revents & POLLOUT) != 0)
            flush(c);
    }
}

void vsock_welcome(int fd)
{
    (void)new_connection(fd);
}

void vsock_run(void)
{
    run_tx();
    run_rx();
}

void vsock_init(struct vhost *v, const char *path, uint64_t parent_cid)
{
    g.v = v;
    g.path = path;
    g.parent_cid = parent_cid;
    g.next_port = 0x40000000;
    for (size_t i = 0; i < CONNECTIONS; i++)
        g.connection[i].fd = -1;
}
