#define _GNU_SOURCE
#include "enclave/fetch.h"

#include "base/text.h"
#include "enclave/cache.h"
#include "enclave/limits.h"
#include "enclave/sandbox.h"
#include "enclave/spawn.h"
#include "hostproto/hostproto.h"
#include "net/net.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FETCHER_BYTES = 256 << 20 }; /* address space, beside the object */

static int64_t in_ms(int64_t ms)
{
    return eml_net_now_ms() + ms;
}

void eml_fetch_argument(const uint8_t id[EML_IPC_ID], uint64_t size, char out[EML_FETCH_ARGUMENT])
{
    eml_hex_put(eml_bytes(id, EML_IPC_ID), out);
    (void)snprintf(out + 2 * (size_t)EML_IPC_ID, EML_FETCH_ARGUMENT - 2 * (size_t)EML_IPC_ID,
                   ":%" PRIu64, size);
}

enum eml_err eml_fetch_parse(const char *s, uint8_t id[EML_IPC_ID], uint64_t *size)
{
    enum { HEX = 2 * EML_IPC_ID };
    if (strnlen(s, EML_FETCH_ARGUMENT) < HEX + 2 || s[HEX] != ':')
        return EML_E_USAGE;
    if (!eml_hex_get(eml_bytes(s, HEX), (struct eml_room){id, EML_IPC_ID}) ||
        !eml_u64_get(s + HEX + 1, 0, UINT64_MAX, size))
        return EML_E_USAGE;
    return EML_OK;
}

static enum eml_err ask(int sock, const uint8_t id[EML_IPC_ID], uint64_t *size)
{
    struct eml_host_request r = {.kind = EML_HOST_GET};
    struct eml_host_answer a = {0};
    struct eml_buf frame = {0};
    memcpy(r.id, id, sizeof r.id);
    enum eml_err err = eml_host_request_encode(&r, &frame);
    if (err == EML_OK)
        err = eml_net_send_frame(sock, eml_buf_bytes(&frame), in_ms(EML_FETCH_PIECE_MS));
    if (err == EML_OK)
        err = eml_net_recv_frame(sock, EML_HOST_ANSWER_MAX, in_ms(EML_FETCH_PIECE_MS), &frame);
    if (err == EML_OK)
        err = eml_host_answer_decode(eml_buf_bytes(&frame), 1, &a);
    eml_buf_free(&frame);
    *size = a.number[0];
    return err == EML_OK ? eml_host_status_err(a.status) : err;
}

static enum eml_err store(int file, struct eml_bytes piece, uint64_t at)
{
    while (piece.len > 0) {
        ssize_t n = pwrite(file, piece.ptr, piece.len, (off_t)at);
        if (n < 0 && errno != EINTR)
            return EML_E_SYSTEM;
        if (n > 0) {
            piece = eml_bytes(piece.ptr + n, piece.len - (size_t)n);
            at += (uint64_t)n;
        }
    }
    return EML_OK;
}

enum eml_err eml_fetch(int sock, int file, const uint8_t id[EML_IPC_ID], uint64_t size)
{
    uint64_t offered;
    int64_t end = in_ms(EML_FETCH_MS);
    EML_TRY(ask(sock, id, &offered));
    if (offered != size)
        return EML_E_INPUT;
    uint8_t *buf = malloc(EML_FETCH_PIECE_BYTES);
    if (buf == NULL)
        return EML_E_SYSTEM;
    enum eml_err err = EML_OK;
    for (uint64_t at = 0; err == EML_OK && at < size;) {
        int64_t deadline = in_ms(EML_FETCH_PIECE_MS);
        size_t want =
            size - at < EML_FETCH_PIECE_BYTES ? (size_t)(size - at) : EML_FETCH_PIECE_BYTES;
        size_t got;
        err = eml_net_recv_some(sock, (struct eml_room){buf, want}, deadline < end ? deadline : end,
                                &got);
        if (err == EML_OK && got == 0)
            err = EML_E_NET;
        if (err == EML_OK)
            err = store(file, eml_bytes(buf, got), at);
        at += got;
    }
    free(buf);
    return err;
}

enum eml_err eml_fetcher_run(const struct eml_options *o, const char *argument)
{
    uint8_t id[EML_IPC_ID];
    uint64_t size;
    int sock = -1;
    EML_TRY(eml_sandbox_start());
    EML_TRY(eml_fetch_parse(argument, id, &size));
    EML_TRY(eml_net_connect(o->host, in_ms(EML_CONNECT_MS), &sock, NULL));
    if (size > UINT64_MAX - FETCHER_BYTES)
        return EML_E_REFUSED;
    const struct eml_sandbox_limits limits = {.memory_bytes = FETCHER_BYTES + size,
                                              .cpu_seconds = EML_FETCH_MS / 1000,
                                              .file_bytes = size,
                                              .descriptors = 16};
    enum eml_err err = eml_sandbox_no_paths();
    if (err == EML_OK)
        err = eml_sandbox_enter(EML_SANDBOX_FETCHER, &limits);
    if (err == EML_OK)
        err = eml_fetch(sock, EML_CHILD_FD_0, id, size);
    eml_net_close(&sock);
    uint8_t digest[EML_IPC_DIGEST];
    if (err == EML_OK)
        err = eml_cache_seal(EML_CHILD_FD_0, size, digest);
    if (err == EML_OK)
        err = eml_ipc_send(EML_CHILD_FD_1, EML_BYTES(digest), -1);
    return err;
}

enum eml_err eml_connector_run(const struct eml_options *o)
{
    const uint8_t ok[] = {EML_OK};
    int sock = -1;
    EML_TRY(eml_sandbox_start());
    EML_TRY(eml_net_connect(o->host, in_ms(EML_CONNECT_MS), &sock, NULL));
    enum eml_err err = eml_ipc_send(EML_CHILD_FD_0, EML_BYTES(ok), sock);
    eml_net_close(&sock);
    return err;
}
