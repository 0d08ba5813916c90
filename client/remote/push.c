#include "remote/remote.h"

#include "hostproto/hostproto.h"
#include "net/net.h"

#include <string.h>

static enum eml_err answer(int fd, int64_t deadline_ms, struct eml_why *why)
{
    struct eml_buf frame = {0};
    struct eml_host_answer a;
    enum eml_err e = eml_net_recv_frame(fd, EML_HOST_ANSWER_MAX, deadline_ms, &frame);
    if (e == EML_OK)
        e = eml_host_answer_decode(eml_buf_bytes(&frame), 0, &a);
    eml_buf_free(&frame);
    if (e != EML_OK)
        return eml_fail(why, e, "the host does not answer as a host", -1);
    if (a.status != EML_HOST_OK)
        return eml_fail(why, eml_host_status_err(a.status), eml_host_status_rule(a.status), -1);
    return EML_OK;
}

enum eml_err eml_remote_push(const char *host, const uint8_t object_id[32], struct eml_bytes sealed,
                             int64_t deadline_ms, struct eml_why *why)
{
    struct eml_host_request put = {.kind = EML_HOST_PUT, .size = sealed.len};
    memcpy(put.id, object_id, sizeof put.id);
    int fd = -1;
    struct eml_buf frame = {0};
    enum eml_err e = eml_host_request_encode(&put, &frame);
    if (e == EML_OK)
        e = eml_net_connect(host, deadline_ms, &fd, why);
    if (e == EML_OK)
        e = eml_net_send_frame(fd, eml_buf_bytes(&frame), deadline_ms);
    if (e == EML_OK)
        e = answer(fd, deadline_ms, why);
    if (e == EML_OK) {
        e = eml_net_send(fd, sealed, deadline_ms);
        /* The host may have said why before it closed: prefer its words to a broken pipe. */
        enum eml_err said = answer(fd, deadline_ms, why);
        e = said != EML_OK ? said : e;
    }
    eml_net_close(&fd);
    eml_buf_free(&frame);
    return e;
}
