#define _GNU_SOURCE
#include "vsockd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTOR_NEXT = 1, NO_INTERRUPT = 1 };

_Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "vsockd: %s (%s)\n", what, strerror(errno));
    exit(1);
}

/* --- memory and rings --- */

static void *guest_memory(const struct vhost *v, uint64_t a, uint64_t n)
{
    for (size_t i = 0; i < v->regions; i++) {
        const struct region *r = &v->region[i];
        if (a >= r->guest && n <= r->size && a - r->guest <= r->size - n)
            return r->at + (a - r->guest);
    }
    die("a guest address outside of memory");
}

static void *qemu_memory(const struct vhost *v, uint64_t a)
{
    for (size_t i = 0; i < v->regions; i++)
        if (a >= v->region[i].qemu && a - v->region[i].qemu < v->region[i].size)
            return v->region[i].at + (a - v->region[i].qemu);
    die("a ring outside of memory");
}

bool ring_has_next(const struct ring *r)
{
    return r->descriptors != NULL && r->enabled &&
           r->next != __atomic_load_n(&r->available->idx, __ATOMIC_ACQUIRE);
}

size_t ring_pop(const struct vhost *v, struct ring *r, struct iovec part[PARTS], uint16_t *id)
{
    size_t n = 0;
    if (!ring_has_next(r))
        return 0;
    *id = r->available->ring[r->next % r->n];
    for (uint16_t d = *id;; d = r->descriptors[d].next) {
        if (d >= r->n || n == PARTS)
            die("a malformed descriptor chain");
        part[n].iov_len = r->descriptors[d].len;
        part[n].iov_base = guest_memory(v, r->descriptors[d].addr, r->descriptors[d].len);
        n++;
        if ((r->descriptors[d].flags & DESCRIPTOR_NEXT) == 0)
            break;
    }
    r->next++;
    return n;
}

void ring_push(struct ring *r, uint16_t id, size_t len)
{
    r->used_ring->ring[r->used % r->n].id = id;
    r->used_ring->ring[r->used % r->n].len = (uint32_t)len;
    __atomic_store_n(&r->used_ring->idx, ++r->used, __ATOMIC_RELEASE);
}

void ring_notify(struct ring *r)
{
    const uint64_t one = 1;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (r->call >= 0 && (r->available->flags & NO_INTERRUPT) == 0 &&
        write(r->call, &one, sizeof one) < 0 && errno != EAGAIN)
        die("notify");
}

size_t parts_copy(const struct iovec *part, size_t n, size_t skip, void *p, size_t len, bool in)
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

size_t ring_capacity(const struct ring *r)
{
    size_t total = 0;
    uint16_t d = r->available->ring[r->next % r->n];
    for (unsigned hops = 0; hops < r->n && d < r->n; hops++) {
        total += r->descriptors[d].len;
        if ((r->descriptors[d].flags & DESCRIPTOR_NEXT) == 0)
            break;
        d = r->descriptors[d].next;
    }
    return total;
}

/* --- messages --- */

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

static void set_memory(struct vhost *v, struct incoming *in)
{
    for (size_t i = 0; i < v->regions; i++)
        (void)munmap(v->region[i].map, v->region[i].map_len);
    v->regions = in->m.u32s[0];
    if (v->regions > sizeof v->region / sizeof v->region[0] || v->regions != in->fds)
        die("a memory table that does not match its descriptors");
    for (size_t i = 0; i < v->regions; i++) {
        uint64_t entry[4]; /* guest address, size, QEMU's address, offset in the file */
        struct region *r = &v->region[i];
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

static void get_config(const struct vhost *v, int s, struct incoming *in)
{
    uint32_t offset = in->m.u32s[0], len = in->m.u32s[1];
    if (offset > sizeof v->guest_cid || len > sizeof v->guest_cid - offset)
        die("a read outside of the configuration");
    memcpy(in->m.raw + 12, (const uint8_t *)&v->guest_cid + offset, len);
    answer(s, in, 12 + len);
}

static void on_ring(struct vhost *v, int s, struct incoming *in)
{
    const bool is_fd = in->m.request == SET_VRING_KICK || in->m.request == SET_VRING_CALL;
    const uint32_t index = is_fd ? in->m.u32s[0] & 0xff : in->m.u32s[0];
    if (index >= RINGS)
        die("a ring that a vsock does not have");
    struct ring *r = &v->ring[index];
    switch (in->m.request) {
    case SET_VRING_NUM:
        r->n = in->m.u32s[1];
        break;
    case SET_VRING_ADDR:
        r->descriptors = qemu_memory(v, in->m.u64s[1]);
        r->used_ring = qemu_memory(v, in->m.u64s[2]);
        r->available = qemu_memory(v, in->m.u64s[3]);
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

static void on_message(struct vhost *v, int s, struct incoming *in)
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
        set_memory(v, in);
        break;
    case GET_CONFIG:
        get_config(v, s, in);
        break;
    case SET_VRING_NUM:
    case SET_VRING_ADDR:
    case SET_VRING_BASE:
    case GET_VRING_BASE:
    case SET_VRING_KICK:
    case SET_VRING_CALL:
    case SET_VRING_ENABLE:
        on_ring(v, s, in);
        break;
    default: /* owners, features, error descriptors: nothing follows from them here */
        break;
    }
}

bool vhost_control(struct vhost *v, int s)
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
    on_message(v, s, &in);
    for (size_t i = 0; i < in.fds; i++)
        (void)close(in.fd[i]);
    if (wants_answer && !in.answered) {
        in.m.u64 = 0;
        answer(s, &in, 8);
    }
    return true;
}

void vhost_init(struct vhost *v, uint64_t guest_cid)
{
    *v = (struct vhost){.guest_cid = guest_cid};
    for (size_t i = 0; i < RINGS; i++)
        v->ring[i].kick = v->ring[i].call = -1;
}

bool vhost_up(const struct vhost *v)
{
    return v->ring[RX].descriptors != NULL && v->ring[TX].descriptors != NULL;
}
