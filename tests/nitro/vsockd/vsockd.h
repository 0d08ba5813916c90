/* vsock between QEMU and Unix sockets, for tests: the two halves of vsockd.
 *
 * vhost.c is a vhost-user backend of the device type vsock (QEMU's docs/interop/vhost-user.rst,
 * VIRTIO 1.2 section 5.10): the guest's memory, its rings, QEMU's messages. vsock.c is what goes
 * through the rings: connections, their credit, and Firecracker's sockets on the host's side. The
 * parent has the CID that it has on Nitro, 3, which the usual backends do not offer. It trusts the
 * one machine that it serves to do no worse than end it: a malformed ring is the end of the
 * program.
 */
#ifndef VSOCKD_H
#define VSOCKD_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Says what failed, with errno, and ends the program. */
_Noreturn void die(const char *what);

/* --- vhost.c --- */
enum { RX, TX, RINGS }; /* as the guest sees them */
enum { PARTS = 256 };

struct region {
    uint64_t guest, size, qemu; /* address in the guest, and in QEMU */
    uint8_t *at;
    void *map;
    size_t map_len;
};

struct ring {
    unsigned n, enabled;
    uint16_t next, used;
    int kick, call; /* -1: none */
    struct descriptor {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } * descriptors; /* NULL: not set up yet */
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

struct vhost {
    struct region region[8];
    size_t regions;
    struct ring ring[RINGS];
    uint64_t guest_cid;
};

void vhost_init(struct vhost *v, uint64_t guest_cid);
/* Deals with one message of QEMU's on socket s. False: QEMU is gone. */
bool vhost_control(struct vhost *v, int s);
bool vhost_up(const struct vhost *v);

bool ring_has_next(const struct ring *r);
/* The parts of the next chain; 0 if there is none. */
size_t ring_pop(const struct vhost *v, struct ring *r, struct iovec part[PARTS], uint16_t *id);
/* Gives a chain back, with so many bytes written to it. */
void ring_push(struct ring *r, uint16_t id, size_t len);
void ring_notify(struct ring *r);
/* How many bytes the next chain holds; there must be one. */
size_t ring_capacity(const struct ring *r);
/* Copies between p and the parts from byte `skip` on; returns how many bytes there was room for. */
size_t parts_copy(const struct iovec *part, size_t n, size_t skip, void *p, size_t len, bool in);

/* --- vsock.c --- */
enum { CONNECTIONS = 256 };

/* Sockets at path (connect, write "CONNECT port\n", read "OK port\n") and path_<port>. */
void vsock_init(struct vhost *v, const char *path, uint64_t parent_cid);
/* A program of the host has connected; takes the descriptor. */
void vsock_welcome(int fd);
/* What to wait for, and what to do with what came. */
void vsock_interest(struct pollfd p[CONNECTIONS]);
void vsock_ready(const struct pollfd p[CONNECTIONS]);
/* Moves packets both ways until the rings or the connections have no more. */
void vsock_run(void);

/* A listening socket at path, where none is before it listens. */
int unix_listen(const char *path);

#endif
