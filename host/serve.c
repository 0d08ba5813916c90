#include "host/serve.h"

#include "base/log.h"
#include "base/wipe.h"
#include "host/credentials.h"
#include "host/limits.h"
#include "net/net.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static int64_t in_ms(int64_t ms)
{
    return eml_net_now_ms() + ms;
}

/* Counts and sends an answer. False if the peer is gone. */
static bool answer(struct eml_host *h, int fd, const struct eml_host_answer *a)
{
    struct eml_buf frame = {0};
    h->metrics->status[a->status]++;
    bool ok = eml_host_answer_encode(a, &frame) == EML_OK &&
              eml_net_send_frame(fd, eml_buf_bytes(&frame), in_ms(EML_HOST_PIECE_MS)) == EML_OK;
    eml_buf_free(&frame);
    return ok;
}

static bool status(struct eml_host *h, int fd, enum eml_host_status s)
{
    return answer(h, fd, &(struct eml_host_answer){.status = s}) && s == EML_HOST_OK;
}

/* Connects to `address`, says OK, and carries bytes until both sides ended. */
static void tunnel(struct eml_host *h, int fd, const char *address, struct eml_relay_bytes *moved)
{
    int peer = -1;
    int64_t start = eml_net_now_ms();
    enum eml_err err = eml_net_connect(address, start + EML_HOST_CONNECT_MS, &peer, NULL);
    if (status(h, fd, err == EML_OK ? EML_HOST_OK : EML_HOST_UNREACHABLE))
        err = eml_relay(fd, peer, &h->limits, moved);
    eml_net_close(&peer);
    if (err != EML_OK)
        h->metrics->relay_failed++;
    int64_t ms = eml_net_now_ms() - start;
    eml_metrics_duration(h->metrics, ms);
    eml_log_event("tunnel.end", err, {"up", (int64_t)moved->up}, {"down", (int64_t)moved->down},
                  {"ms", ms});
}

static void serve_relay(struct eml_host *h, int fd)
{
    struct eml_relay_bytes moved = {0};
    tunnel(h, fd, h->enclave, &moved);
    h->metrics->relay_up += moved.up;
    h->metrics->relay_down += moved.down;
}

static void serve_egress(struct eml_host *h, int fd)
{
    struct eml_relay_bytes moved = {0};
    if (h->kms_endpoint == NULL) {
        (void)status(h, fd, EML_HOST_NOT_OFFERED);
        return;
    }
    tunnel(h, fd, h->kms_endpoint, &moved);
    h->metrics->egress_up += moved.up;
    h->metrics->egress_down += moved.down;
}

/* Receives an object's bytes. EML_HOST_SYSTEM with *gone: the peer left, nobody to answer. */
static enum eml_host_status receive(struct eml_host *h, int fd, struct eml_store_put *put,
                                    uint64_t size, bool *gone)
{
    uint8_t *buf = malloc(EML_HOST_PIECE_BYTES);
    enum eml_host_status s = buf != NULL ? EML_HOST_OK : EML_HOST_SYSTEM;
    int64_t end = in_ms(h->limits.total_ms);
    while (s == EML_HOST_OK && size > 0) {
        size_t want = size < EML_HOST_PIECE_BYTES ? (size_t)size : EML_HOST_PIECE_BYTES, got;
        int64_t deadline = in_ms(EML_HOST_PIECE_MS);
        *gone = eml_net_recv(fd, (struct eml_room){buf, want}, deadline < end ? deadline : end,
                             &got) != EML_OK;
        s = *gone ? EML_HOST_SYSTEM : eml_store_put_write(put, eml_bytes(buf, want));
        size -= want;
        h->metrics->put_bytes += got;
    }
    free(buf); /* sealed bytes, public to this host */
    return s;
}

static void serve_put(struct eml_host *h, int fd, const struct eml_host_request *r)
{
    struct eml_store_put *put = NULL;
    bool gone = false;
    enum eml_host_status s = eml_store_put_begin(h->store, r->id, r->size, &put);
    if (!status(h, fd, s)) {
        eml_store_put_abort(put);
        return;
    }
    s = receive(h, fd, put, r->size, &gone);
    if (s == EML_HOST_OK)
        s = eml_store_put_finish(put);
    else
        eml_store_put_abort(put);
    if (!gone)
        (void)status(h, fd, s);
    eml_log_event("put.end", eml_host_status_err(s), {"bytes", (int64_t)r->size}, {"status", s});
}

static enum eml_err send_file(struct eml_host *h, int fd, int file, uint64_t size)
{
    uint8_t *buf = malloc(EML_HOST_PIECE_BYTES);
    enum eml_err err = buf != NULL ? EML_OK : EML_E_SYSTEM;
    for (off_t at = 0; err == EML_OK && (uint64_t)at < size;) {
        ssize_t n = pread(file, buf, EML_HOST_PIECE_BYTES, at);
        err = n > 0 ? eml_net_send(fd, eml_bytes(buf, (size_t)n), in_ms(EML_HOST_PIECE_MS))
                    : EML_E_SYSTEM;
        if (err == EML_OK) {
            at += n;
            h->metrics->get_bytes += (uint64_t)n;
        }
    }
    free(buf);
    return err;
}

static void serve_get(struct eml_host *h, int fd, const struct eml_host_request *r)
{
    int file = -1;
    uint64_t size = 0;
    enum eml_host_status s = eml_store_get(h->store, r->id, &file, &size);
    enum eml_err err = eml_host_status_err(s);
    const struct eml_host_answer a = {.status = s, .n = 1, .number = {size}};
    if (answer(h, fd, &a) && s == EML_HOST_OK && r->kind == EML_HOST_GET)
        err = send_file(h, fd, file, size);
    eml_net_close(&file);
    eml_log_event("get.end", err, {"bytes", (int64_t)size});
}

static void serve_health(struct eml_host *h, int fd)
{
    struct eml_host_answer a = {.status = EML_HOST_OK, .n = 2};
    eml_store_count(h->store, &a.number[0], &a.number[1]);
    (void)answer(h, fd, &a);
}

static void serve_credentials(struct eml_host *h, int fd)
{
    struct eml_buf out = {0};
    if (h->credentials == NULL) {
        (void)status(h, fd, EML_HOST_NOT_OFFERED);
        return;
    }
    enum eml_err err = eml_credentials_answer(h->credentials, &out);
    if (err != EML_OK) {
        (void)status(h, fd, EML_HOST_SYSTEM);
    } else {
        h->metrics->status[EML_HOST_OK]++;
        err = eml_net_send_frame(fd, eml_buf_bytes(&out), in_ms(EML_HOST_PIECE_MS));
    }
    eml_buf_free(&out);
    eml_log_event("credentials.end", err, {"found", err == EML_OK});
}

/* The next commit, or false when the enclave has gone or the host stops. What the last one left to
 * do is done once its answer, and the result that waits for it, are on their way. */
static bool next_commit(struct eml_host *h, int fd, struct eml_buf *frame)
{
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = h->stop_fd, .events = POLLIN}};
    int n, timeout_ms = EML_HOST_SETTLE_MS;
    while ((n = poll(p, 2, timeout_ms)) <= 0) {
        if (n < 0 && errno != EINTR)
            return false;
        if (n == 0) {
            eml_sink_settle(h->sink);
            timeout_ms = -1;
        }
    }
    return p[1].revents == 0 && p[0].revents != 0 &&
           eml_net_recv_frame(fd, EML_HOST_LOG_COMMIT_MAX, in_ms(EML_HOST_PIECE_MS), frame) ==
               EML_OK;
}

/* One commit after another, until one is refused. */
static void serve_commits(struct eml_host *h, int fd)
{
    struct eml_buf frame = {0};
    enum eml_host_status s = EML_HOST_OK;
    while (s == EML_HOST_OK && next_commit(h, fd, &frame)) {
        struct eml_host_commit c;
        int64_t start = eml_net_now_ms();
        s = eml_host_commit_decode(eml_buf_bytes(&frame), &c) == EML_OK
                ? eml_sink_commit(h->sink, &c)
                : EML_HOST_BAD_REQUEST;
        if (s == EML_HOST_OK)
            h->metrics->audit_records += c.n;
        h->metrics->audit_commits[s == EML_HOST_OK ? 0 : 1]++;
        h->metrics->audit_ms += (uint64_t)(eml_net_now_ms() - start);
        if (s != EML_HOST_OK)
            eml_log_event("audit.refused", eml_host_status_err(s), {"status", s});
        (void)status(h, fd, s);
    }
    eml_sink_settle(h->sink);
    eml_buf_free(&frame);
}

static void serve_audit(struct eml_host *h, int fd)
{
    struct eml_buf state = {0};
    if (eml_sink_state(h->sink, &state) != EML_OK) {
        (void)status(h, fd, EML_HOST_SYSTEM);
    } else {
        h->metrics->status[EML_HOST_OK]++;
        if (eml_net_send_frame(fd, eml_buf_bytes(&state), in_ms(EML_HOST_PIECE_MS)) == EML_OK)
            serve_commits(h, fd);
    }
    eml_buf_free(&state);
}

static bool served_by(enum eml_host_port port, enum eml_host_kind kind)
{
    bool service = kind == EML_HOST_GET || kind == EML_HOST_EGRESS ||
                   kind == EML_HOST_CREDENTIALS || kind == EML_HOST_AUDIT;
    return service == (port == EML_HOST_PORT_SERVICE);
}

static void dispatch(struct eml_host *h, int fd, const struct eml_host_request *r)
{
    switch (r->kind) {
    case EML_HOST_RELAY:
        serve_relay(h, fd);
        break;
    case EML_HOST_PUT:
        serve_put(h, fd, r);
        break;
    case EML_HOST_STAT:
    case EML_HOST_GET:
        serve_get(h, fd, r);
        break;
    case EML_HOST_HEALTH:
        serve_health(h, fd);
        break;
    case EML_HOST_EGRESS:
        serve_egress(h, fd);
        break;
    case EML_HOST_CREDENTIALS:
        serve_credentials(h, fd);
        break;
    case EML_HOST_AUDIT:
        serve_audit(h, fd);
        break;
    }
}

void eml_host_serve(struct eml_host *h, enum eml_host_port port, int fd)
{
    struct eml_buf frame = {.max = EML_HOST_REQUEST_MAX};
    struct eml_host_request r = {0};
    enum eml_err err =
        eml_net_recv_frame(fd, EML_HOST_REQUEST_MAX, in_ms(EML_HOST_FIRST_FRAME_MS), &frame);
    if (err == EML_OK)
        err = eml_host_request_decode(eml_buf_bytes(&frame), &r);
    if (err == EML_OK && !served_by(port, r.kind))
        err = EML_E_INPUT;
    h->metrics->connections[err == EML_OK ? eml_metric_kind(r.kind) : EML_METRIC_NONE]++;
    if (err == EML_OK)
        dispatch(h, fd, &r);
    else if (err == EML_E_INPUT)
        (void)status(h, fd, EML_HOST_BAD_REQUEST);
    eml_buf_free(&frame);
}

void eml_host_refuse(struct eml_host *h, int fd)
{
    const uint8_t busy[] = {0, 0, 0, 1, EML_HOST_BUSY};
    h->metrics->refused++;
    h->metrics->status[EML_HOST_BUSY]++;
    /* One try: a new connection has room for five bytes, or its peer does not listen. */
    (void)!eml_net_send(fd, EML_BYTES(busy), in_ms(1));
}
