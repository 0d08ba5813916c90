#include "wire/http1.h"

#include "base/cur.h"

#include <string.h>

/* What a step of the parser says: go on, wait for more bytes, or the input is wrong (rule set). */
enum step { GO, MORE, BAD };

struct parser {
    struct eml_cur in;
    size_t body_max;
    struct eml_http1_response *r;
    const char *rule;
};

static enum step bad(struct parser *p, const char *rule)
{
    p->rule = rule;
    return BAD;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool same_name(struct eml_bytes a, struct eml_bytes b)
{
    bool same = a.len == b.len;
    for (size_t i = 0; same && i < a.len; i++)
        same = lower(a.ptr[i]) == lower(b.ptr[i]);
    return same;
}

/* Takes a line up to CRLF, which is consumed and not part of it; MORE if it has not all come. Lines
 * hold no other control character than tab. At most `max` bytes with the CRLF. */
static enum step take_line(struct parser *p, size_t max, struct eml_bytes *line)
{
    struct eml_cur look = p->in;
    struct eml_bytes rest = eml_cur_rest(&look);
    for (size_t i = 0; i < rest.len; i++) {
        if (i + 2 > max)
            return bad(p, "http: line or head too long");
        uint8_t c = rest.ptr[i];
        if (c == '\r') {
            if (i + 1 == rest.len)
                return MORE;
            if (rest.ptr[i + 1] != '\n')
                return bad(p, "http: CR without LF");
            *line = eml_cur_take(&p->in, i);
            (void)eml_cur_take(&p->in, 2);
            return GO;
        }
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return bad(p, "http: control character in a line");
    }
    return MORE;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static enum step status_line(struct parser *p, struct eml_bytes line)
{
    static const char version[] = "HTTP/1.1 ";
    struct eml_cur c = eml_cur(line);
    struct eml_bytes v = eml_cur_take(&c, sizeof version - 1), code = eml_cur_take(&c, 3);
    uint8_t space = eml_cur_u8(&c);
    if (!eml_cur_ok(&c) || !eml_bytes_equal(v, EML_LIT("HTTP/1.1 ")) || space != ' ')
        return bad(p, "http: not an HTTP/1.1 status line");
    for (size_t i = 0; i < 3; i++)
        if (!is_digit(code.ptr[i]))
            return bad(p, "http: status is not three digits");
    unsigned status = (unsigned)(code.ptr[0] - '0') * 100 + (unsigned)(code.ptr[1] - '0') * 10 +
                      code.ptr[2] - '0';
    if (status < 200 || status > 599)
        return bad(p, "http: status is not 200 to 599");
    p->r->status = status;
    return GO;
}

static bool is_token(uint8_t c) /* RFC 9110 section 5.6.2 */
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static struct eml_bytes trimmed(struct eml_bytes v)
{
    while (v.len > 0 && (v.ptr[0] == ' ' || v.ptr[0] == '\t'))
        v = (struct eml_bytes){v.ptr + 1, v.len - 1};
    while (v.len > 0 && (v.ptr[v.len - 1] == ' ' || v.ptr[v.len - 1] == '\t'))
        v.len--;
    return v;
}

static enum step header_line(struct parser *p, struct eml_bytes line)
{
    size_t n = 0;
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t')
        return bad(p, "http: folded header line");
    while (n < line.len && is_token(line.ptr[n]))
        n++;
    if (n == 0 || n == line.len || line.ptr[n] != ':')
        return bad(p, "http: header is not a name and a colon");
    if (p->r->n_headers == EML_HTTP1_HEADERS_MAX)
        return bad(p, "http: too many headers");
    struct eml_cur c = eml_cur(line);
    struct eml_http1_header *h = &p->r->header[p->r->n_headers++];
    h->name = eml_cur_take(&c, n);
    (void)eml_cur_u8(&c);
    h->value = trimmed(eml_cur_rest(&c));
    return GO;
}

static enum step head(struct parser *p)
{
    struct eml_bytes line = {NULL, 0};
    enum step s = take_line(p, EML_HTTP1_HEAD_BYTES_MAX, &line);
    if (s == GO)
        s = status_line(p, line);
    while (s == GO) {
        s = take_line(p, EML_HTTP1_HEAD_BYTES_MAX - p->in.pos, &line);
        if (s == GO && line.len == 0)
            return GO;
        if (s == GO)
            s = header_line(p, line);
    }
    return s;
}

/* The only header of that name; *n tells how many there are. */
static struct eml_bytes only(const struct eml_http1_response *r, struct eml_bytes name, size_t *n)
{
    struct eml_bytes v = {NULL, 0};
    *n = 0;
    for (size_t i = 0; i < r->n_headers; i++)
        if (same_name(r->header[i].name, name)) {
            v = r->header[i].value;
            ++*n;
        }
    return v;
}

static enum step counted_body(struct parser *p, struct eml_bytes digits)
{
    size_t n = 0;
    if (digits.len == 0 || digits.len > 9)
        return bad(p, "http: Content-Length is not 1 to 9 digits");
    for (size_t i = 0; i < digits.len; i++) {
        if (!is_digit(digits.ptr[i]))
            return bad(p, "http: Content-Length is not 1 to 9 digits");
        n = n * 10 + (size_t)(digits.ptr[i] - '0');
    }
    if (n > p->body_max)
        return bad(p, "http: body too long");
    if (n > eml_cur_left(&p->in))
        return MORE;
    eml_buf_put(&p->r->body, eml_cur_take(&p->in, n));
    return GO;
}

static int hex_digit(uint8_t c)
{
    if (is_digit(c))
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum step chunk_size(struct parser *p, struct eml_bytes line, size_t *n)
{
    *n = 0;
    if (line.len == 0 || line.len > 8)
        return bad(p, "http: chunk size is not 1 to 8 hex digits");
    for (size_t i = 0; i < line.len; i++) {
        int d = hex_digit(line.ptr[i]);
        if (d < 0)
            return bad(p, "http: chunk size is not 1 to 8 hex digits");
        *n = *n * 16 + (size_t)d;
    }
    return GO;
}

static enum step crlf(struct parser *p, const char *rule)
{
    static const uint8_t want[2] = {'\r', '\n'};
    for (size_t i = 0; i < sizeof want; i++) {
        if (eml_cur_left(&p->in) == 0)
            return MORE;
        if (eml_cur_u8(&p->in) != want[i])
            return bad(p, rule);
    }
    return GO;
}

static enum step chunked_body(struct parser *p)
{
    for (;;) {
        struct eml_bytes line;
        size_t n;
        enum step s = take_line(p, 10, &line);
        if (s == GO)
            s = chunk_size(p, line, &n);
        if (s != GO)
            return s;
        if (n > p->body_max - p->r->body.len)
            return bad(p, "http: body too long");
        if (n > eml_cur_left(&p->in))
            return MORE;
        eml_buf_put(&p->r->body, eml_cur_take(&p->in, n));
        s = crlf(p, n != 0 ? "http: no CRLF after a chunk" : "http: trailers");
        if (s != GO || n == 0)
            return s;
    }
}

static enum step body(struct parser *p)
{
    size_t n_lengths, n_codings;
    struct eml_bytes length = only(p->r, EML_LIT("content-length"), &n_lengths);
    struct eml_bytes coding = only(p->r, EML_LIT("transfer-encoding"), &n_codings);
    bool may_lack = p->r->status == 204 || p->r->status == 304;
    if (n_lengths + n_codings > 1)
        return bad(p, "http: more than one length header");
    if (may_lack && n_lengths + n_codings == 0)
        return GO;
    if (may_lack)
        return bad(p, "http: a length with a status that has no body");
    if (n_lengths + n_codings == 0)
        return bad(p, "http: no length header");
    if (n_lengths == 1)
        return counted_body(p, length);
    if (!same_name(coding, EML_LIT("chunked")))
        return bad(p, "http: Transfer-Encoding is not chunked");
    return chunked_body(p);
}

enum eml_err eml_http1_response(struct eml_bytes received, size_t body_max,
                                struct eml_http1_response *out, bool *complete, struct eml_why *why)
{
    struct parser p = {.in = eml_cur(received), .body_max = body_max, .r = out};
    *out = (struct eml_http1_response){0};
    *complete = false;
    enum step s = head(&p);
    if (s == GO)
        s = body(&p);
    if (s == GO && eml_cur_left(&p.in) != 0)
        s = bad(&p, "http: bytes after the response");
    enum eml_err e = EML_OK;
    if (s == BAD)
        e = eml_fail(why, EML_E_INPUT, p.rule, (long)p.in.pos);
    else if (out->body.failed)
        e = eml_fail(why, EML_E_SYSTEM, "http: no memory", -1);
    *complete = s == GO && e == EML_OK;
    if (!*complete)
        eml_http1_free(out);
    return e;
}

struct eml_bytes eml_http1_value(const struct eml_http1_response *r, const char *name)
{
    for (size_t i = 0; i < r->n_headers; i++)
        if (same_name(r->header[i].name, eml_bytes_of_str(name)))
            return r->header[i].value;
    return (struct eml_bytes){NULL, 0};
}

void eml_http1_free(struct eml_http1_response *r)
{
    eml_buf_free(&r->body);
    *r = (struct eml_http1_response){0};
}
