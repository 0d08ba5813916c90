#define _GNU_SOURCE
#include "net/address.h"
#include "net/net.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128 };

union any_address {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_vm vm;
};

static socklen_t fill(const struct eml_address *a, union any_address *s)
{
    memset(s, 0, sizeof *s);
    if (a->kind == EML_ADDRESS_VSOCK) {
        s->vm.svm_family = AF_VSOCK;
        s->vm.svm_cid = a->cid;
        s->vm.svm_port = a->port;
        return sizeof s->vm;
    }
    s->un.sun_family = AF_UNIX;
    memcpy(s->un.sun_path, a->path, strlen(a->path) + 1);
    return sizeof s->un;
}

static int new_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Small frames must not wait for each other; a socket that is not TCP refuses, which is no error.
 */
static void no_delay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static enum eml_err resolve(const struct eml_address *a, int flags, struct addrinfo **out,
                            struct eml_why *why)
{
    char port[8];
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    (void)snprintf(port, sizeof port, "%u", (unsigned)a->port);
    int failed = getaddrinfo(a->host, port, &hints, out);
    if (failed == EAI_MEMORY)
        return eml_fail(why, EML_E_SYSTEM, "out of memory", -1);
    if (failed != 0)
        return eml_fail(why, EML_E_NET, "address: the host name does not resolve", -1);
    return EML_OK;
}

/* --- listening --- */

/* A socket file that outlived its server refuses connections: it is removed. A live one is not. */
static void remove_stale(const union any_address *s, socklen_t len)
{
    struct stat st;
    if (lstat(s->un.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = new_socket(AF_UNIX);
    if (fd >= 0 && connect(fd, &s->any, len) != 0 && errno == ECONNREFUSED)
        (void)unlink(s->un.sun_path);
    eml_net_close(&fd);
}

static bool bind_and_listen(int fd, const struct sockaddr *s, socklen_t len)
{
    return fd >= 0 && bind(fd, s, len) == 0 && listen(fd, BACKLOG) == 0;
}

static enum eml_err listen_tcp(const struct eml_address *a, int *fd, struct eml_why *why)
{
    struct addrinfo *list = NULL;
    EML_TRY(resolve(a, AI_PASSIVE, &list, why));
    bool ok = false;
    for (struct addrinfo *i = list; i != NULL && !ok; i = i->ai_next) {
        int on = 1;
        *fd = new_socket(i->ai_family);
        if (*fd >= 0)
            (void)setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        ok = bind_and_listen(*fd, i->ai_addr, i->ai_addrlen);
        if (!ok)
            eml_net_close(fd);
    }
    freeaddrinfo(list);
    return ok ? EML_OK : eml_fail(why, EML_E_SYSTEM, "listen: cannot bind this tcp address", -1);
}

enum eml_err eml_net_listen(const char *address, int *fd, struct eml_why *why)
{
    struct eml_address a;
    *fd = -1;
    EML_TRY(eml_address_parse(address, &a, why));
    if (a.kind == EML_ADDRESS_VSOCK_UNIX)
        return eml_fail(why, EML_E_USAGE, "address: vsock-unix: is for connecting only", -1);
    if (a.kind == EML_ADDRESS_TCP)
        return listen_tcp(&a, fd, why);
    union any_address s;
    socklen_t len = fill(&a, &s);
    if (a.kind == EML_ADDRESS_UNIX)
        remove_stale(&s, len);
    *fd = new_socket(s.any.sa_family);
    if (bind_and_listen(*fd, &s.any, len))
        return EML_OK;
    eml_net_close(fd);
    return eml_fail(why, EML_E_SYSTEM, "listen: cannot bind this address", -1);
}

uint16_t eml_net_port(int fd)
{
    struct sockaddr_storage s;
    socklen_t len = sizeof s;
    if (getsockname(fd, (struct sockaddr *)&s, &len) != 0)
        return 0;
    if (s.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)&s)->sin_port);
    if (s.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)&s)->sin6_port);
    return 0;
}

enum eml_err eml_net_accept(int listener, int64_t deadline_ms, int *fd)
{
    for (;;) {
        *fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (*fd >= 0) {
            no_delay(*fd);
            return EML_OK;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            return EML_E_SYSTEM;
        if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK)
            return EML_E_USAGE;
        /* EINTR, ECONNABORTED and the network errors of accept(2) concern one connection only. */
        if (errno == EAGAIN)
            EML_TRY(eml_net_wait(listener, POLLIN, deadline_ms));
    }
}

bool eml_net_is_from(int fd, const char *address)
{
    union {
        struct sockaddr any;
        struct sockaddr_storage room;
        struct sockaddr_vm vm;
    } s;
    socklen_t len = sizeof s;
    struct eml_address a;
    if (eml_address_parse(address, &a, NULL) != EML_OK || getpeername(fd, &s.any, &len) != 0)
        return false;
    if (a.kind != EML_ADDRESS_VSOCK || s.any.sa_family != AF_VSOCK)
        return true;
    return s.vm.svm_cid == a.cid;
}

/* --- connecting --- */

static enum eml_err finish_connect(int fd, int64_t deadline_ms)
{
    int soerr = 0;
    socklen_t len = sizeof soerr;
    EML_TRY(eml_net_wait(fd, POLLOUT, deadline_ms));
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &soerr, &len) != 0 || soerr != 0)
        return EML_E_NET;
    return EML_OK;
}

static enum eml_err connect_to(int family, const struct sockaddr *s, socklen_t len,
                               int64_t deadline_ms, int *fd)
{
    enum eml_err err = EML_E_NET;
    *fd = new_socket(family);
    if (*fd < 0)
        return EML_E_SYSTEM;
    /* A Unix listener whose queue is full answers EAGAIN and gives nothing to wait for. */
    int r;
    while ((r = connect(*fd, s, len)) != 0 && errno == EAGAIN && eml_net_now_ms() < deadline_ms)
        (void)poll(NULL, 0, 5);
    if (r == 0)
        err = EML_OK;
    else if (errno == EINPROGRESS || errno == EINTR)
        err = finish_connect(*fd, deadline_ms);
    if (err != EML_OK)
        eml_net_close(fd);
    else
        no_delay(*fd);
    return err;
}

static enum eml_err connect_tcp(const struct eml_address *a, int64_t deadline_ms, int *fd,
                                struct eml_why *why)
{
    struct addrinfo *list = NULL;
    EML_TRY(resolve(a, 0, &list, why));
    enum eml_err err = EML_E_NET;
    for (struct addrinfo *i = list; i != NULL && err == EML_E_NET; i = i->ai_next)
        err = connect_to(i->ai_family, i->ai_addr, i->ai_addrlen, deadline_ms, fd);
    freeaddrinfo(list);
    return err;
}

/* Firecracker's host side of vsock: "CONNECT port\n", answered by "OK hostport\n". */
static enum eml_err connect_firecracker(int fd, uint32_t port, int64_t deadline_ms)
{
    char line[32];
    int n = snprintf(line, sizeof line, "CONNECT %lu\n", (unsigned long)port);
    EML_TRY(eml_net_send(fd, eml_bytes(line, (size_t)n), deadline_ms));
    for (size_t i = 0; i < sizeof line; i++) {
        uint8_t c;
        EML_TRY(eml_net_recv(fd, (struct eml_room){&c, 1}, deadline_ms, &(size_t){0}));
        line[i] = (char)c;
        if (c == '\n')
            return i >= 3 && memcmp(line, "OK ", 3) == 0 ? EML_OK : EML_E_NET;
    }
    return EML_E_NET;
}

enum eml_err eml_net_connect(const char *address, int64_t deadline_ms, int *fd, struct eml_why *why)
{
    struct eml_address a;
    *fd = -1;
    EML_TRY(eml_address_parse(address, &a, why));
    if (a.kind == EML_ADDRESS_VSOCK && a.cid == EML_ADDRESS_CID_ANY)
        return eml_fail(why, EML_E_USAGE, "address: vsock:any: is for listening only", -1);
    if (a.kind != EML_ADDRESS_UNIX && a.port == 0)
        return eml_fail(why, EML_E_USAGE, "address: port 0 is for listening only", -1);
    enum eml_err err;
    if (a.kind == EML_ADDRESS_TCP) {
        err = connect_tcp(&a, deadline_ms, fd, why);
    } else {
        union any_address s;
        socklen_t len = fill(&a, &s);
        err = connect_to(s.any.sa_family, &s.any, len, deadline_ms, fd);
    }
    if (err == EML_OK && a.kind == EML_ADDRESS_VSOCK_UNIX) {
        err = connect_firecracker(*fd, a.port, deadline_ms);
        if (err != EML_OK)
            eml_net_close(fd);
    }
    return err == EML_OK ? EML_OK
                         : eml_fail(why, err, "connect: nobody answers at this address", -1);
}

void eml_net_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}
