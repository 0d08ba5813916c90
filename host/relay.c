#define _GNU_SOURCE
#include "host/relay.h"

#include "base/wipe.h"
#include "host/limits.h"
#include "net/net.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

struct direction {
    int from, to;
    uint8_t *buf;
    size_t at, len; /* what was read and not yet written: buf[at, at + len) */
    bool ended;     /* the reader's end of stream was passed on */
    uint64_t moved;
    uint64_t allowance; /* bytes that may be read now (token bucket) */
    int64_t refilled_ms;
};

struct relay {
    const struct eml_relay_limits *limits;
    struct direction way[2];
    int64_t last_byte_ms;
};

static void refill(struct relay *r, struct direction *d, int64_t now)
{
    uint64_t rate = r->limits->bytes_per_second;
    if (rate == 0) { /* no limit: what is read until the next refill must not use it up */
        d->allowance = UINT64_MAX;
        return;
    }
    uint64_t ms = (uint64_t)(now - d->refilled_ms);
    uint64_t earned = ms >= 1000 ? rate : rate * ms / 1000;
    if (earned == 0)
        return;
    d->refilled_ms = now;
    d->allowance = d->allowance + earned > rate ? rate : d->allowance + earned;
}

/* A peer that left is no failure of the relay: that direction is over, the other one may have bytes
 * to deliver yet. */
static bool gone(int error)
{
    return error == ECONNRESET || error == EPIPE || error == ENOTCONN || error == ETIMEDOUT;
}

/* Reads once if the buffer is empty. False when the relay has failed. */
static bool take(struct direction *d)
{
    if (d->ended || d->len != 0 || d->allowance == 0)
        return true;
    size_t room =
        d->allowance < EML_HOST_RELAY_BUFFER ? (size_t)d->allowance : EML_HOST_RELAY_BUFFER;
    ssize_t n = recv(d->from, d->buf, room, MSG_DONTWAIT);
    if (n < 0 && !gone(errno))
        return errno == EAGAIN || errno == EINTR;
    if (n <= 0) {
        d->ended = true;
        /* A peer that is gone already does not need to be told. */
        (void)shutdown(d->to, SHUT_WR);
        return true;
    }
    d->at = 0;
    d->len = (size_t)n;
    d->allowance -= (uint64_t)n;
    return true;
}

static bool give(struct relay *r, struct direction *d, int64_t now)
{
    if (d->len == 0)
        return true;
    ssize_t n = send(d->to, d->buf + d->at, d->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && gone(errno)) {
        d->ended = true;
        d->len = 0;
        /* If only its reading side is gone, it must not wait for the rest. */
        (void)shutdown(d->to, SHUT_WR);
        return true;
    }
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    d->at += (size_t)n;
    d->len -= (size_t)n;
    d->moved += (uint64_t)n;
    if (n > 0)
        r->last_byte_ms = now;
    return true;
}

/* A descriptor that nothing is wanted of is left out: its hang-up would wake the loop for ever. */
static int wanted(const struct relay *r, struct pollfd p[2], int64_t now, int64_t end)
{
    int64_t until = end;
    for (size_t i = 0; i < 2; i++)
        p[i] = (struct pollfd){.fd = r->way[i].from};
    for (size_t i = 0; i < 2; i++) {
        const struct direction *d = &r->way[i];
        if (d->len != 0)
            p[1 - i].events |= POLLOUT;
        else if (!d->ended && d->allowance != 0)
            p[i].events |= POLLIN;
        else if (!d->ended && now + 10 < until)
            until = now + 10; /* the rate limit gives again soon */
    }
    for (size_t i = 0; i < 2; i++)
        if (p[i].events == 0)
            p[i].fd = -1;
    int64_t idle_end = r->last_byte_ms + r->limits->idle_ms;
    if (idle_end < until)
        until = idle_end;
    return until - now > INT_MAX ? INT_MAX : (int)(until - now);
}

static enum eml_err run(struct relay *r, int64_t end)
{
    for (;;) {
        int64_t now = eml_net_now_ms();
        for (size_t i = 0; i < 2; i++) {
            refill(r, &r->way[i], now);
            if (!take(&r->way[i]) || !give(r, &r->way[i], now))
                return EML_E_NET;
        }
        if (r->way[0].ended && r->way[1].ended)
            return EML_OK;
        if (now >= end || now - r->last_byte_ms >= r->limits->idle_ms)
            return EML_E_NET;
        struct pollfd p[2];
        int timeout = wanted(r, p, now, end);
        if (poll(p, 2, timeout) < 0 && errno != EINTR)
            return EML_E_SYSTEM;
    }
}

enum eml_err eml_relay(int a, int b, const struct eml_relay_limits *limits,
                       struct eml_relay_bytes *moved)
{
    int64_t now = eml_net_now_ms();
    uint8_t *buf = malloc(2 * (size_t)EML_HOST_RELAY_BUFFER);
    *moved = (struct eml_relay_bytes){0};
    if (buf == NULL)
        return EML_E_SYSTEM;
    uint64_t rate = limits->bytes_per_second;
    struct relay r = {
        .limits = limits,
        .way = {{.from = a, .to = b, .buf = buf, .allowance = rate, .refilled_ms = now},
                {.from = b,
                 .to = a,
                 .buf = buf + EML_HOST_RELAY_BUFFER,
                 .allowance = rate,
                 .refilled_ms = now}},
        .last_byte_ms = now,
    };
    enum eml_err err = run(&r, now + limits->total_ms);
    *moved = (struct eml_relay_bytes){r.way[0].moved, r.way[1].moved};
    eml_wipe(buf, 2 * (size_t)EML_HOST_RELAY_BUFFER);
    free(buf);
    return err;
}
