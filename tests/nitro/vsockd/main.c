/* vsockd VHOST_SOCKET UDS_PATH GUEST_CID PARENT_CID: serves one QEMU, and ends with it. */
#define _GNU_SOURCE
#include "vsockd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Waits and deals with what came. False: QEMU is gone. */
static bool turn(struct vhost *v, int qemu, int host)
{
    enum { QEMU, HOST, KICKS, FIRST = KICKS + RINGS };
    struct pollfd p[FIRST + CONNECTIONS];
    const bool up = vhost_up(v);
    p[QEMU] = (struct pollfd){.fd = qemu, .events = POLLIN};
    p[HOST] = (struct pollfd){.fd = up ? host : -1, .events = POLLIN};
    for (size_t i = 0; i < RINGS; i++)
        p[KICKS + i] = (struct pollfd){.fd = v->ring[i].kick, .events = POLLIN};
    vsock_interest(p + FIRST);
    if (poll(p, FIRST + CONNECTIONS, -1) < 0) {
        if (errno != EINTR)
            die("poll");
        return true;
    }
    uint64_t count;
    for (size_t i = 0; i < RINGS; i++)
        if (p[KICKS + i].revents != 0 && read(v->ring[i].kick, &count, sizeof count) < 0 &&
            errno != EAGAIN)
            die("a kick");
    if (p[QEMU].revents != 0 && !vhost_control(v, qemu))
        return false;
    vsock_ready(p + FIRST);
    if (p[HOST].revents != 0) {
        int fd = accept4(host, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            vsock_welcome(fd);
    }
    if (up)
        vsock_run();
    return true;
}

int main(int argc, char **argv)
{
    static struct vhost v;
    if (argc != 5) {
        (void)fputs("usage: vsockd VHOST_SOCKET UDS_PATH GUEST_CID PARENT_CID\n", stderr);
        return 2;
    }
    vhost_init(&v, strtoull(argv[3], NULL, 10));
    vsock_init(&v, argv[2], strtoull(argv[4], NULL, 10));
    int host = unix_listen(argv[2]), vhost = unix_listen(argv[1]);
    int qemu = accept4(vhost, NULL, NULL, SOCK_CLOEXEC);
    if (qemu < 0)
        die("QEMU");
    while (turn(&v, qemu, host))
        ;
    return 0;
}
