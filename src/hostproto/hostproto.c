#include "hostproto/hostproto.h"

#include <string.h>

static bool has_id(uint8_t kind)
{
    return kind == EML_HOST_PUT || kind == EML_HOST_STAT || kind == EML_HOST_GET;
}

static bool known(uint8_t kind)
{
    return has_id(kind) || kind == EML_HOST_RELAY || kind == EML_HOST_HEALTH ||
           kind == EML_HOST_EGRESS || kind == EML_HOST_CREDENTIALS || kind == EML_HOST_AUDIT;
}

static void put_u64(struct eml_buf *out, uint64_t v)
{
    uint8_t be[8];
    eml_store_u64(be, v);
    eml_buf_put(out, EML_BYTES(be));
}

enum eml_err eml_host_request_encode(const struct eml_host_request *r, struct eml_buf *out)
{
    eml_buf_put_u8(out, (uint8_t)r->kind);
    if (has_id((uint8_t)r->kind))
        eml_buf_put(out, EML_BYTES(r->id));
    if (r->kind == EML_HOST_PUT)
        put_u64(out, r->size);
    return eml_buf_ok(out);
}

enum eml_err eml_host_request_decode(struct eml_bytes frame, struct eml_host_request *out)
{
    struct eml_cur c = eml_cur(frame);
    struct eml_host_request r = {0};
    *out = r;
    uint8_t kind = eml_cur_u8(&c);
    if (!eml_cur_ok(&c) || !known(kind))
        return EML_E_INPUT;
    r.kind = (enum eml_host_kind)kind;
    if (has_id(kind)) {
        struct eml_bytes id = eml_cur_take(&c, sizeof r.id);
        if (id.len == sizeof r.id)
            memcpy(r.id, id.ptr, sizeof r.id);
    }
    if (kind == EML_HOST_PUT)
        r.size = eml_cur_u64(&c);
    if (!eml_cur_done(&c))
        return EML_E_INPUT;
    *out = r;
    return EML_OK;
}

enum eml_err eml_host_answer_encode(const struct eml_host_answer *a, struct eml_buf *out)
{
    eml_buf_put_u8(out, (uint8_t)a->status);
    for (size_t i = 0; a->status == EML_HOST_OK && i < a->n; i++)
        put_u64(out, a->number[i]);
    return eml_buf_ok(out);
}

static bool status_of(struct eml_cur *c, enum eml_host_status *out)
{
    uint8_t s = eml_cur_u8(c);
    *out = EML_HOST_SYSTEM;
    if (!eml_cur_ok(c) || s >= EML_HOST_STATUS_N)
        return false;
    *out = (enum eml_host_status)s;
    return true;
}

enum eml_err eml_host_answer_decode(struct eml_bytes frame, size_t n, struct eml_host_answer *out)
{
    struct eml_cur c = eml_cur(frame);
    struct eml_host_answer a = {0};
    *out = (struct eml_host_answer){.status = EML_HOST_SYSTEM};
    EML_ASSERT(n <= 2);
    if (!status_of(&c, &a.status))
        return EML_E_INPUT;
    for (; a.status == EML_HOST_OK && a.n < n; a.n++)
        a.number[a.n] = eml_cur_u64(&c);
    if (!eml_cur_done(&c))
        return EML_E_INPUT;
    *out = a;
    return EML_OK;
}

static bool valid(const struct eml_host_credentials *c)
{
    const struct eml_bytes all[] = {c->access_key_id, c->secret_access_key, c->session_token,
                                    c->region};
    for (size_t i = 0; i < 4; i++)
        if (all[i].len > EML_HOST_CREDENTIAL_MAX)
            return false;
    return c->access_key_id.len != 0 && c->secret_access_key.len != 0 && c->region.len != 0;
}

static void put_field(struct eml_buf *out, struct eml_bytes v)
{
    uint8_t be[2];
    eml_store_u16(be, (uint16_t)v.len);
    eml_buf_put(out, EML_BYTES(be));
    eml_buf_put(out, v);
}

enum eml_err eml_host_credentials_encode(const struct eml_host_credentials *c, struct eml_buf *out)
{
    if (!valid(c))
        return EML_E_INPUT;
    eml_buf_put_u8(out, EML_HOST_OK);
    put_field(out, c->access_key_id);
    put_field(out, c->secret_access_key);
    put_field(out, c->session_token);
    put_field(out, c->region);
    return eml_buf_ok(out);
}

static struct eml_bytes field(struct eml_cur *c)
{
    size_t len = eml_cur_u16(c);
    return eml_cur_take(c, len);
}

enum eml_err eml_host_credentials_decode(struct eml_bytes frame, enum eml_host_status *status,
                                         struct eml_host_credentials *out)
{
    struct eml_cur c = eml_cur(frame);
    struct eml_host_credentials v = {0};
    *out = v;
    if (!status_of(&c, status))
        return EML_E_INPUT;
    if (*status != EML_HOST_OK)
        return eml_cur_done(&c) ? EML_OK : EML_E_INPUT;
    v.access_key_id = field(&c);
    v.secret_access_key = field(&c);
    v.session_token = field(&c);
    v.region = field(&c);
    if (!eml_cur_done(&c) || !valid(&v))
        return EML_E_INPUT;
    *out = v;
    return EML_OK;
}

static const struct {
    enum eml_err err;
    const char *rule;
} statuses[EML_HOST_STATUS_N] = {
    [EML_HOST_OK] = {EML_OK, "host: ok"},
    [EML_HOST_BAD_REQUEST] = {EML_E_INPUT, "host: it did not understand the request"},
    [EML_HOST_NOT_FOUND] = {EML_E_INPUT, "host: it has no such object (push the weights first)"},
    [EML_HOST_EXISTS] = {EML_E_REFUSED,
                         "host: it holds something else (another object of this id, another log)"},
    [EML_HOST_TOO_LARGE] = {EML_E_REFUSED,
                            "host: no room (limit for one object, quota, or disk full)"},
    [EML_HOST_BUSY] = {EML_E_NET, "host: too many connections (try again later)"},
    [EML_HOST_UNREACHABLE] = {EML_E_NET, "host: the enclave or the endpoint does not answer"},
    [EML_HOST_SYSTEM] = {EML_E_NET, "host: its disk or memory failed"},
    [EML_HOST_NOT_OFFERED] = {EML_E_REFUSED, "host: not configured for this"},
};

enum eml_err eml_host_status_err(enum eml_host_status s)
{
    return (size_t)s < EML_HOST_STATUS_N ? statuses[s].err : EML_E_INPUT;
}

const char *eml_host_status_rule(enum eml_host_status s)
{
    return (size_t)s < EML_HOST_STATUS_N ? statuses[s].rule : "host: unknown status";
}
