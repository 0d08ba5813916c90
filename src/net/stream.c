#define _GNU_SOURCE
#include "net/net.h"

#include "base/cur.h"
#include "base/wipe.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

enum { FRAME_HEADER = 4, GROW = 1 << 17 };

int64_t eml_net_now_ms(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum eml_err eml_net_wait(int fd, short events, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms - eml_net_now_ms();
        if (left <= 0)
            return EML_E_NET;
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (n > 0)
            return (p.revents & POLLNVAL) != 0 ? EML_E_SYSTEM : EML_OK;
        if (n < 0 && errno != EINTR)
            return EML_E_SYSTEM;
    }
}

static enum eml_err send_parts(int fd, struct iovec *part, size_t n, int64_t deadline_ms)
{
    while (n > 0) {
        const struct msghdr m = {.msg_iov = part, .msg_iovlen = n};
        ssize_t sent = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN)
            EML_TRY(eml_net_wait(fd, POLLOUT, deadline_ms));
        else if (sent < 0 && errno != EINTR)
            return EML_E_NET;
        size_t left = sent > 0 ? (size_t)sent : 0;
        for (; n > 0 && left >= part->iov_len; n--)
            left -= (part++)->iov_len;
        if (n > 0) {
            part->iov_base = (uint8_t *)part->iov_base + left;
            part->iov_len -= left;
        }
    }
    return EML_OK;
}

/* sendmsg(2) takes non-const parts but only reads them. */
static void *readable(const uint8_t *p)
{
    union {
        const uint8_t *in;
        void *out;
    } u = {p};
    return u.out;
}

enum eml_err eml_net_send(int fd, struct eml_bytes bytes, int64_t deadline_ms)
{
    struct iovec part = {readable(bytes.ptr), bytes.len};
    return send_parts(fd, &part, bytes.len != 0, deadline_ms);
}

enum eml_err eml_net_recv_some(int fd, struct eml_room room, int64_t deadline_ms, size_t *got)
{
    *got = 0;
    for (;;) {
        ssize_t n = recv(fd, room.ptr, room.len, MSG_DONTWAIT);
        if (n >= 0) {
            *got = (size_t)n;
            return EML_OK;
        }
        if (errno == EAGAIN)
            EML_TRY(eml_net_wait(fd, POLLIN, deadline_ms));
        else if (errno != EINTR)
            return EML_E_NET;
    }
}

enum eml_err eml_net_recv(int fd, struct eml_room room, int64_t deadline_ms, size_t *got)
{
    *got = 0;
    while (*got < room.len) {
        size_t n;
        EML_TRY(eml_net_recv_some(fd, (struct eml_room){room.ptr + *got, room.len - *got},
                                  deadline_ms, &n));
        if (n == 0)
            return EML_E_NET;
        *got += n;
    }
    return EML_OK;
}

enum eml_err eml_net_send_frame(int fd, struct eml_bytes frame, int64_t deadline_ms)
{
    uint8_t header[FRAME_HEADER];
    if (frame.len > UINT32_MAX)
        return EML_E_USAGE;
    eml_store_u32(header, (uint32_t)frame.len);
    struct iovec part[2] = {{header, sizeof header}, {readable(frame.ptr), frame.len}};
    return send_parts(fd, part, 2, deadline_ms);
}

enum eml_err eml_net_recv_frame(int fd, size_t max, int64_t deadline_ms, struct eml_buf *out)
{
    uint8_t header[FRAME_HEADER];
    size_t got;
    if (out->ptr != NULL)
        eml_wipe(out->ptr, out->len);
    out->len = 0;
    EML_TRY(eml_net_recv(fd, EML_ROOM(header), deadline_ms, &got));
    struct eml_cur c = eml_cur(EML_BYTES(header));
    size_t left = eml_cur_u32(&c);
    if (left > max)
        return EML_E_INPUT;
    /* Room grows with what has come, not with what the header promises. */
    while (left > 0) {
        size_t n = left < GROW ? left : GROW;
        uint8_t *p = eml_buf_grow(out, n);
        if (p == NULL)
            return EML_E_SYSTEM;
        enum eml_err err = eml_net_recv(fd, (struct eml_room){p, n}, deadline_ms, &got);
        if (err != EML_OK) {
            out->len = 0;
            return err;
        }
        left -= n;
    }
    return EML_OK;
}
