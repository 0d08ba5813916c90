#include "net/address.h"

#include <string.h>

static bool number(const char *s, size_t len, uint64_t max, uint32_t *out)
{
    uint64_t v = 0;
    if (len == 0 || len > 10)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(s[i] - '0');
    }
    if (v > max)
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool copy(char *out, size_t max, const char *s, size_t len)
{
    if (len == 0 || len > max)
        return false;
    memcpy(out, s, len);
    out[len] = '\0';
    return true;
}

/* "REST:PORT": the last colon splits, so that REST may be an IPv6 number in brackets or a path. */
static bool split_port(const char *s, uint64_t max, size_t *rest_len, uint32_t *port)
{
    const char *colon = strrchr(s, ':');
    if (colon == NULL)
        return false;
    *rest_len = (size_t)(colon - s);
    return number(colon + 1, strlen(colon + 1), max, port);
}

static const char *tcp(const char *s, struct eml_address *a)
{
    size_t len;
    if (!split_port(s, UINT16_MAX, &len, &a->port))
        return "address: tcp:HOST:PORT with a port of 0 to 65535";
    if (len >= 2 && s[0] == '[' && s[len - 1] == ']') {
        s++;
        len -= 2;
    } else if (memchr(s, ':', len) != NULL) {
        return "address: an IPv6 number stands in brackets, tcp:[::1]:PORT";
    }
    return copy(a->host, EML_ADDRESS_HOST_MAX, s, len) ? NULL
                                                       : "address: host of 1 to 255 characters";
}

static const char *unix_path(const char *s, size_t len, struct eml_address *a)
{
    return copy(a->path, EML_ADDRESS_PATH_MAX, s, len)
               ? NULL
               : "address: path of a Unix socket has 1 to 107 bytes";
}

static const char *vsock(const char *s, struct eml_address *a)
{
    size_t len;
    if (!split_port(s, UINT32_MAX - 1, &len, &a->port))
        return "address: vsock:CID:PORT with a port below 4294967295";
    if (len == 3 && memcmp(s, "any", 3) == 0) {
        a->cid = EML_ADDRESS_CID_ANY;
        return NULL;
    }
    return number(s, len, UINT32_MAX - 1, &a->cid) ? NULL : "address: CID is a number or \"any\"";
}

static const char *vsock_unix(const char *s, struct eml_address *a)
{
    size_t len;
    if (!split_port(s, UINT32_MAX - 1, &len, &a->port))
        return "address: vsock-unix:PATH:PORT with a port below 4294967295";
    return unix_path(s, len, a);
}

static bool after(const char *text, const char *prefix, const char **rest)
{
    size_t n = strlen(prefix);
    *rest = text + n;
    return strncmp(text, prefix, n) == 0;
}

enum eml_err eml_address_parse(const char *text, struct eml_address *out, struct eml_why *why)
{
    struct eml_address a = {0};
    const char *rest, *rule;
    if (after(text, "tcp:", &rest)) {
        a.kind = EML_ADDRESS_TCP;
        rule = tcp(rest, &a);
    } else if (after(text, "unix:", &rest)) {
        a.kind = EML_ADDRESS_UNIX;
        rule = unix_path(rest, strlen(rest), &a);
    } else if (after(text, "vsock:", &rest)) {
        a.kind = EML_ADDRESS_VSOCK;
        rule = vsock(rest, &a);
    } else if (after(text, "vsock-unix:", &rest)) {
        a.kind = EML_ADDRESS_VSOCK_UNIX;
        rule = vsock_unix(rest, &a);
    } else {
        rule = "address: begins with tcp:, unix:, vsock: or vsock-unix:";
    }
    *out = rule == NULL ? a : (struct eml_address){0};
    return rule == NULL ? EML_OK : eml_fail(why, EML_E_USAGE, rule, -1);
}
