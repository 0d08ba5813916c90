#define _GNU_SOURCE
#include "enclave/ipc.h"

#include "base/wipe.h"
#include "enclave/limits.h"
#include "net/net.h"
#include "session/request.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FDS_SEEN = 4 }; /* room for descriptors that nobody asked for, so that they can be closed */

static void put_u64(struct eml_buf *out, uint64_t v)
{
    uint8_t be[8];
    eml_store_u64(be, v);
    eml_buf_put(out, EML_BYTES(be));
}

static void put_inference(const struct eml_ipc_inference *i, struct eml_buf *out)
{
    eml_buf_put_u8(out, i->mode);
    eml_buf_put_u8(out, i->isa);
    put_u64(out, i->memory_bytes);
    put_u64(out, i->version);
    eml_buf_put(out, EML_BYTES(i->model_id));
    eml_buf_put(out, EML_BYTES(i->object_id));
    eml_buf_put(out, EML_BYTES(i->topology));
    eml_buf_put(out, EML_BYTES(i->request));
    eml_buf_put(out, EML_BYTES(i->response));
}

enum eml_err eml_ipc_encode(const struct eml_ipc_request *r, struct eml_buf *out)
{
    eml_buf_put_u8(out, (uint8_t)r->type);
    switch (r->type) {
    case EML_IPC_ATTEST:
        eml_buf_put(out, EML_BYTES(r->nonce));
        eml_buf_put(out, EML_BYTES(r->user_data));
        break;
    case EML_IPC_KMS_UNWRAP:
        eml_buf_put(out, EML_BYTES(r->block));
        break;
    case EML_IPC_WEIGHTS:
        eml_buf_put(out, EML_BYTES(r->id));
        put_u64(out, r->size);
        break;
    case EML_IPC_WEIGHTS_BAD:
        eml_buf_put(out, EML_BYTES(r->id));
        break;
    case EML_IPC_REPORT:
        eml_buf_put_u8(out, (uint8_t)r->err);
        for (size_t i = 0; i < EML_IPC_NUMBERS; i++)
            put_u64(out, r->number[i]);
        if (r->err == EML_OK)
            put_inference(&r->inference, out);
        break;
    case EML_IPC_DESTROYED:
        for (size_t i = EML_IPC_WIPE; i < EML_IPC_NUMBERS; i++)
            put_u64(out, r->number[i]);
        break;
    case EML_IPC_KMS_DOCUMENT:
    case EML_IPC_HOST_CONNECT:
    case EML_IPC_BEGIN:
    case EML_IPC_N:
        break;
    }
    return eml_buf_ok(out);
}

static void get(struct eml_cur *c, uint8_t *out, size_t n)
{
    struct eml_bytes b = eml_cur_take(c, n);
    if (b.len == n)
        memcpy(out, b.ptr, n);
}

static void get_inference(struct eml_cur *c, struct eml_ipc_inference *i)
{
    i->mode = eml_cur_u8(c);
    i->isa = eml_cur_u8(c);
    if (i->mode > EML_MODE_SESSION || i->isa > EML_ISA_AVX512)
        eml_cur_fail(c);
    i->memory_bytes = eml_cur_u64(c);
    i->version = eml_cur_u64(c);
    get(c, i->model_id, sizeof i->model_id);
    get(c, i->object_id, sizeof i->object_id);
    get(c, i->topology, sizeof i->topology);
    get(c, i->request, sizeof i->request);
    get(c, i->response, sizeof i->response);
}

static void get_report(struct eml_cur *c, struct eml_ipc_request *r)
{
    uint8_t err = eml_cur_u8(c);
    if (err > EML_E_SYSTEM)
        eml_cur_fail(c);
    r->err = (enum eml_err)err;
    for (size_t i = 0; i < EML_IPC_NUMBERS; i++)
        r->number[i] = eml_cur_u64(c);
    if (r->err == EML_OK)
        get_inference(c, &r->inference);
}

static void get_body(struct eml_cur *c, struct eml_ipc_request *r)
{
    switch (r->type) {
    case EML_IPC_ATTEST:
        get(c, r->nonce, sizeof r->nonce);
        get(c, r->user_data, sizeof r->user_data);
        break;
    case EML_IPC_KMS_UNWRAP:
        get(c, r->block, sizeof r->block);
        break;
    case EML_IPC_WEIGHTS:
        get(c, r->id, sizeof r->id);
        r->size = eml_cur_u64(c);
        break;
    case EML_IPC_WEIGHTS_BAD:
        get(c, r->id, sizeof r->id);
        break;
    case EML_IPC_REPORT:
        get_report(c, r);
        break;
    case EML_IPC_DESTROYED:
        for (size_t n = EML_IPC_WIPE; n < EML_IPC_NUMBERS; n++)
            r->number[n] = eml_cur_u64(c);
        break;
    case EML_IPC_KMS_DOCUMENT:
    case EML_IPC_HOST_CONNECT:
    case EML_IPC_BEGIN:
    case EML_IPC_N:
        break;
    }
}

enum eml_err eml_ipc_decode(struct eml_bytes message, struct eml_ipc_request *out)
{
    struct eml_cur c = eml_cur(message);
    struct eml_ipc_request r = {0};
    *out = r;
    uint8_t type = eml_cur_u8(&c);
    if (!eml_cur_ok(&c) || type < EML_IPC_ATTEST || type >= EML_IPC_N)
        return EML_E_INPUT;
    r.type = (enum eml_ipc_type)type;
    get_body(&c, &r);
    if (!eml_cur_done(&c))
        return EML_E_INPUT;
    *out = r;
    return EML_OK;
}

/* --- packets --- */

union control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(FDS_SEEN * sizeof(int))];
};

enum eml_err eml_ipc_send(int sock, struct eml_bytes packet, int fd)
{
    union {
        const uint8_t *in;
        void *out;
    } p = {packet.ptr}; /* sendmsg(2) only reads */
    struct iovec part = {p.out, packet.len};
    union control control = {0};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof fd);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n;
    do
        n = sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)packet.len ? EML_OK : EML_E_NET;
}

/* Takes the descriptors out of a message; keeps one if exactly one came and it is wanted. */
static bool take_fds(struct msghdr *m, int *fd)
{
    size_t seen = 0;
    int one = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++, seen++) {
            int each;
            memcpy(&each, CMSG_DATA(c) + i * sizeof each, sizeof each);
            if (seen == 0)
                one = each;
            else
                (void)close(each);
        }
    }
    if (seen == 0 || (seen == 1 && fd != NULL)) {
        if (fd != NULL)
            *fd = one;
        return true;
    }
    if (one >= 0)
        (void)close(one);
    return false;
}

enum eml_err eml_ipc_recv(int sock, int64_t deadline_ms, struct eml_room room, size_t *got, int *fd)
{
    union control control;
    struct iovec part = {room.ptr, room.len};
    ssize_t n;
    *got = 0;
    if (fd != NULL)
        *fd = -1;
    for (;;) {
        struct msghdr m = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
        n = recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EAGAIN) {
            EML_TRY(eml_net_wait(sock, POLLIN, deadline_ms));
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return EML_E_NET;
        bool fine = take_fds(&m, fd);
        if (fine && (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
            break;
        if (fd != NULL)
            eml_net_close(fd);
        return EML_E_INPUT;
    }
    *got = (size_t)n;
    return EML_OK;
}

enum eml_err eml_ipc_ask(int sock, const struct eml_ipc_request *r)
{
    struct eml_buf message = {0};
    enum eml_err err = eml_ipc_encode(r, &message);
    if (err == EML_OK)
        err = eml_ipc_send(sock, eml_buf_bytes(&message), -1);
    eml_buf_free(&message);
    return err == EML_OK ? EML_OK : EML_E_SYSTEM;
}

enum eml_err eml_ipc_await(int sock, int64_t deadline_ms, struct eml_ipc_answer *answer)
{
    uint8_t packet[1 + EML_IPC_BODY_MAX];
    size_t n = 0;
    answer->len = 0;
    answer->fd = -1;
    if (eml_ipc_recv(sock, deadline_ms, EML_ROOM(packet), &n,
                     answer->wants_fd ? &answer->fd : NULL) != EML_OK)
        return EML_E_SYSTEM;
    enum eml_err err = packet[0] <= EML_E_SYSTEM ? (enum eml_err)packet[0] : EML_E_SYSTEM;
    n--;
    if (err == EML_OK && (n > answer->body.len || (answer->fd >= 0) != answer->wants_fd))
        err = EML_E_SYSTEM;
    if (err == EML_OK && n > 0) {
        memcpy(answer->body.ptr, packet + 1, n);
        answer->len = n;
    }
    if (err != EML_OK)
        eml_net_close(&answer->fd);
    eml_wipe(packet, 1 + n);
    return err;
}

enum eml_err eml_ipc_call(int sock, const struct eml_ipc_request *r, int64_t deadline_ms,
                          struct eml_ipc_answer *answer)
{
    answer->len = 0;
    answer->fd = -1;
    EML_TRY(eml_ipc_ask(sock, r));
    return eml_ipc_await(sock, deadline_ms, answer);
}
