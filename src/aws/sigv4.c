#include "aws/sigv4.h"

#include "base/cur.h"
#include "base/text.h"
#include "base/wipe.h"

#include <string.h>

#define ALGORITHM "AWS4-HMAC-SHA256"
#define PARAMETERS_MAX 32u

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* Order of two strings by bytes, names in lower case. */
static int order(struct eml_bytes a, struct eml_bytes b, bool names)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        int x = names ? lower(a.ptr[i]) : a.ptr[i], y = names ? lower(b.ptr[i]) : b.ptr[i];
        if (x != y)
            return x - y;
    }
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

/* Sorts by insertion; n is small. */
static void sort(struct eml_bytes *key, size_t *index, size_t n, bool names)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = i;
        for (; k > 0 && order(key[index[k - 1]], key[i], names) > 0; k--)
            index[k] = index[k - 1];
        index[k] = i;
    }
}

static enum eml_err sorted_headers(const struct eml_sigv4_request *r,
                                   size_t index[EML_SIGV4_HEADERS_MAX])
{
    struct eml_bytes key[EML_SIGV4_HEADERS_MAX];
    if (r->n_headers == 0 || r->n_headers > EML_SIGV4_HEADERS_MAX)
        return EML_E_INPUT;
    for (size_t i = 0; i < r->n_headers; i++)
        key[i] = r->header[i].name;
    sort(key, index, r->n_headers, true);
    for (size_t i = 1; i < r->n_headers; i++)
        if (order(key[index[i - 1]], key[index[i]], true) == 0)
            return EML_E_INPUT;
    return EML_OK;
}

static void put_name(struct eml_buf *out, struct eml_bytes name)
{
    for (size_t i = 0; i < name.len; i++)
        eml_buf_put_u8(out, lower(name.ptr[i]));
}

static void put_value(struct eml_buf *out, struct eml_bytes v)
{
    size_t start = out->len;
    for (size_t i = 0; i < v.len; i++) {
        bool space = v.ptr[i] == ' ' || v.ptr[i] == '\t';
        bool after_space = i > 0 && (v.ptr[i - 1] == ' ' || v.ptr[i - 1] == '\t');
        if (space && (after_space || out->len == start))
            continue;
        eml_buf_put_u8(out, space ? ' ' : v.ptr[i]);
    }
    if (!out->failed && out->len > start && out->ptr[out->len - 1] == ' ')
        out->len--;
}

enum eml_err eml_sigv4_signed_headers(const struct eml_sigv4_request *r, struct eml_buf *out)
{
    size_t index[EML_SIGV4_HEADERS_MAX];
    EML_TRY(sorted_headers(r, index));
    for (size_t i = 0; i < r->n_headers; i++) {
        if (i != 0)
            eml_buf_put_u8(out, ';');
        put_name(out, r->header[index[i]].name);
    }
    return eml_buf_ok(out);
}

static enum eml_err put_query(struct eml_buf *out, struct eml_bytes query)
{
    struct eml_bytes parameter[PARAMETERS_MAX];
    size_t index[PARAMETERS_MAX], n = 0, start = 0;
    if (query.len == 0)
        return EML_OK;
    for (size_t i = 0; i <= query.len; i++) {
        if (i < query.len && query.ptr[i] != '&')
            continue;
        if (n == PARAMETERS_MAX)
            return EML_E_INPUT;
        parameter[n++] = eml_bytes(query.ptr + start, i - start);
        start = i + 1;
    }
    /* by name, then value: '=' sorts after the digits, so whole parameters must not be compared */
    struct eml_bytes name[PARAMETERS_MAX];
    for (size_t i = 0; i < n; i++) {
        const uint8_t *eq = memchr(parameter[i].ptr, '=', parameter[i].len);
        name[i] = eq == NULL ? parameter[i]
                             : eml_bytes(parameter[i].ptr, (size_t)(eq - parameter[i].ptr));
    }
    sort(parameter, index, n, false);
    struct eml_bytes by_value[PARAMETERS_MAX], by_value_name[PARAMETERS_MAX];
    for (size_t i = 0; i < n; i++) {
        by_value[i] = parameter[index[i]];
        by_value_name[i] = name[index[i]];
    }
    sort(by_value_name, index, n, false); /* stable: equal names stay ordered by value */
    for (size_t i = 0; i < n; i++) {
        if (i != 0)
            eml_buf_put_u8(out, '&');
        eml_buf_put(out, by_value[index[i]]);
        if (by_value_name[index[i]].len == by_value[index[i]].len)
            eml_buf_put_u8(out, '=');
    }
    return EML_OK;
}

enum eml_err eml_sigv4_canonical_request(const struct eml_sigv4_request *r, struct eml_buf *out)
{
    size_t index[EML_SIGV4_HEADERS_MAX];
    struct eml_sha256 body;
    EML_TRY(sorted_headers(r, index));
    EML_TRY(eml_sha256(&r->body, 1, &body));
    eml_buf_put(out, r->method);
    eml_buf_put_u8(out, '\n');
    eml_buf_put(out, r->path);
    eml_buf_put_u8(out, '\n');
    EML_TRY(put_query(out, r->query));
    eml_buf_put_u8(out, '\n');
    for (size_t i = 0; i < r->n_headers; i++) {
        put_name(out, r->header[index[i]].name);
        eml_buf_put_u8(out, ':');
        put_value(out, r->header[index[i]].value);
        eml_buf_put_u8(out, '\n');
    }
    eml_buf_put_u8(out, '\n');
    EML_TRY(eml_sigv4_signed_headers(r, out));
    eml_buf_put_u8(out, '\n');
    eml_hex_append(EML_BYTES(body.b), out);
    return eml_buf_ok(out);
}

static void put_scope(struct eml_buf *out, const struct eml_sigv4_scope *s)
{
    eml_buf_put(out, s->date);
    eml_buf_put_u8(out, '/');
    eml_buf_put(out, s->region);
    eml_buf_put_u8(out, '/');
    eml_buf_put(out, s->service);
    eml_buf_put(out, EML_LIT("/aws4_request"));
}

enum eml_err eml_sigv4_string_to_sign(struct eml_bytes canonical_request, struct eml_bytes time,
                                      const struct eml_sigv4_scope *scope, struct eml_buf *out)
{
    struct eml_sha256 h;
    EML_TRY(eml_sha256(&canonical_request, 1, &h));
    eml_buf_put(out, EML_LIT(ALGORITHM "\n"));
    eml_buf_put(out, time);
    eml_buf_put_u8(out, '\n');
    put_scope(out, scope);
    eml_buf_put_u8(out, '\n');
    eml_hex_append(EML_BYTES(h.b), out);
    return eml_buf_ok(out);
}

enum eml_err eml_sigv4_signature(struct eml_bytes secret_access_key,
                                 const struct eml_sigv4_scope *scope,
                                 struct eml_bytes string_to_sign,
                                 uint8_t out[EML_SIGV4_SIGNATURE_BYTES])
{
    const struct eml_bytes chain[] = {scope->date, scope->region, scope->service,
                                      EML_LIT("aws4_request"), string_to_sign};
    struct eml_buf first = {0}, hex = {0};
    struct eml_sha256 k = {{0}}, next = {{0}};
    memset(out, 0, EML_SIGV4_SIGNATURE_BYTES);
    eml_buf_put(&first, EML_LIT("AWS4"));
    eml_buf_put(&first, secret_access_key);
    enum eml_err e = eml_buf_ok(&first);
    for (size_t i = 0; i < sizeof chain / sizeof chain[0] && e == EML_OK; i++) {
        e = eml_hmac_sha256(i == 0 ? eml_buf_bytes(&first) : EML_BYTES(k.b), &chain[i], 1, &next);
        k = next;
    }
    if (e == EML_OK) {
        eml_hex_append(EML_BYTES(k.b), &hex);
        e = eml_buf_ok(&hex);
    }
    if (e == EML_OK)
        memcpy(out, hex.ptr, EML_SIGV4_SIGNATURE_BYTES);
    eml_buf_free(&first);
    eml_buf_free(&hex);
    eml_wipe(&k, sizeof k);
    eml_wipe(&next, sizeof next);
    return e;
}

enum eml_err eml_sigv4_authorize(const struct eml_sigv4_request *r, struct eml_bytes time,
                                 const struct eml_sigv4_scope *scope,
                                 const struct eml_aws_credentials *credentials, struct eml_buf *out)
{
    struct eml_buf canonical = {0}, to_sign = {0};
    uint8_t signature[EML_SIGV4_SIGNATURE_BYTES];
    enum eml_err e = eml_sigv4_canonical_request(r, &canonical);
    if (e == EML_OK)
        e = eml_sigv4_string_to_sign(eml_buf_bytes(&canonical), time, scope, &to_sign);
    if (e == EML_OK)
        e = eml_sigv4_signature(credentials->secret_access_key, scope, eml_buf_bytes(&to_sign),
                                signature);
    if (e != EML_OK)
        goto out;
    eml_buf_put(out, EML_LIT(ALGORITHM " Credential="));
    eml_buf_put(out, credentials->access_key_id);
    eml_buf_put_u8(out, '/');
    put_scope(out, scope);
    eml_buf_put(out, EML_LIT(", SignedHeaders="));
    e = eml_sigv4_signed_headers(r, out);
    eml_buf_put(out, EML_LIT(", Signature="));
    eml_buf_put(out, EML_BYTES(signature));
    if (e == EML_OK)
        e = eml_buf_ok(out);
out:
    eml_buf_free(&canonical); /* holds the session token */
    eml_buf_free(&to_sign);
    return e;
}

/* --- reading --- */

static void expect(struct eml_cur *c, struct eml_bytes literal)
{
    if (!eml_bytes_equal(eml_cur_take(c, literal.len), literal))
        eml_cur_fail(c);
}

/* A non-empty run of graphic characters up to `end`, which is consumed; the rest if end is 0. */
static struct eml_bytes until(struct eml_cur *c, uint8_t end)
{
    struct eml_cur look = *c;
    struct eml_bytes rest = eml_cur_rest(&look);
    size_t n = 0;
    while (n < rest.len && rest.ptr[n] != end && rest.ptr[n] > ' ' && rest.ptr[n] < 0x7f)
        n++;
    struct eml_bytes v = eml_cur_take(c, n);
    if (n == 0 || (end != 0 ? eml_cur_u8(c) != end : eml_cur_left(c) != 0))
        eml_cur_fail(c);
    return v;
}

enum eml_err eml_sigv4_parse(struct eml_bytes authorization, struct eml_sigv4_authorization *out)
{
    struct eml_cur c = eml_cur(authorization);
    struct eml_sigv4_authorization a = {0};
    *out = a;
    expect(&c, EML_LIT(ALGORITHM " Credential="));
    a.access_key_id = until(&c, '/');
    a.scope.date = until(&c, '/');
    a.scope.region = until(&c, '/');
    a.scope.service = until(&c, '/');
    expect(&c, EML_LIT("aws4_request, SignedHeaders="));
    a.signed_headers = until(&c, ',');
    expect(&c, EML_LIT(" Signature="));
    a.signature = until(&c, 0);
    if (!eml_cur_done(&c) || a.scope.date.len != 8 || a.signature.len != EML_SIGV4_SIGNATURE_BYTES)
        return EML_E_INPUT;
    *out = a;
    return EML_OK;
}

/* --- time: the proleptic Gregorian calendar, without the C library's time zones --- */

static bool is_leap(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int64_t month_days(int64_t y, int64_t m)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[m - 1] + (m == 2 && is_leap(y) ? 1 : 0);
}

/* Days from 1970-01-01 to the first of January of y >= 1970. */
static int64_t year_start(int64_t y)
{
    int64_t p = y - 1;
    return 365 * (y - 1970) + (p / 4 - 492) - (p / 100 - 19) + (p / 400 - 4);
}

static void put_digits(uint8_t *out, size_t n, int64_t v)
{
    for (size_t i = n; i > 0; i--, v /= 10)
        out[i - 1] = (uint8_t)('0' + v % 10);
}

enum eml_err eml_sigv4_time(int64_t unix_s, uint8_t out[EML_SIGV4_TIME_BYTES])
{
    memset(out, 0, EML_SIGV4_TIME_BYTES);
    if (unix_s < 0 || unix_s >= 86400 * year_start(10000))
        return EML_E_INPUT;
    int64_t day = unix_s / 86400, s = unix_s % 86400, y = 1970 + day / 366, m = 1;
    while (year_start(y + 1) <= day)
        y++;
    day -= year_start(y);
    for (; day >= month_days(y, m); m++)
        day -= month_days(y, m);
    put_digits(out, 4, y);
    put_digits(out + 4, 2, m);
    put_digits(out + 6, 2, day + 1);
    out[8] = 'T';
    put_digits(out + 9, 2, s / 3600);
    put_digits(out + 11, 2, s / 60 % 60);
    put_digits(out + 13, 2, s % 60);
    out[15] = 'Z';
    return EML_OK;
}

static int64_t digits(struct eml_cur *c, size_t n)
{
    int64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t d = eml_cur_u8(c);
        if (d < '0' || d > '9')
            eml_cur_fail(c);
        v = v * 10 + d - '0';
    }
    return v;
}

enum eml_err eml_sigv4_parse_time(struct eml_bytes text, int64_t *unix_s)
{
    struct eml_cur c = eml_cur(text);
    *unix_s = 0;
    int64_t y = digits(&c, 4), m = digits(&c, 2), d = digits(&c, 2);
    expect(&c, EML_LIT("T"));
    int64_t hour = digits(&c, 2), minute = digits(&c, 2), second = digits(&c, 2);
    expect(&c, EML_LIT("Z"));
    if (!eml_cur_done(&c) || y < 1970 || m < 1 || m > 12 || d < 1 || d > month_days(y, m) ||
        hour > 23 || minute > 59 || second > 59)
        return EML_E_INPUT;
    int64_t day = year_start(y) + d - 1;
    for (int64_t i = 1; i < m; i++)
        day += month_days(y, i);
    *unix_s = day * 86400 + hour * 3600 + minute * 60 + second;
    return EML_OK;
}
