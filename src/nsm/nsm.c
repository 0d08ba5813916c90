#include "nsm/nsm.h"

#include "wire/cbor.h"

#include <string.h>

/* One table describes every message in both directions: a member is a name, a kind, and where its
 * value lies in the struct. */
enum kind { END, U16, BOOL, BYTES, OPTIONAL, TEXT, PCRS, SHA384 };

struct member {
    const char *name;
    enum kind kind;
    size_t offset;
};

#define REQ(name, kind)                                                                            \
    {                                                                                              \
#name, kind, offsetof(struct eml_nsm_request, name)                                        \
    }
#define RESP(name, kind)                                                                           \
    {                                                                                              \
#name, kind, offsetof(struct eml_nsm_response, name)                                       \
    }
enum { MEMBERS_MAX = 8 };

static const struct call {
    const char *name;
    struct member request[MEMBERS_MAX], response[MEMBERS_MAX]; /* none: a bare string */
} calls[EML_NSM_CALLS_N] = {
    [EML_NSM_DESCRIBE_NSM] = {"DescribeNSM",
                              {{NULL, END, 0}},
                              {RESP(version_major, U16),
                               RESP(version_minor, U16),
                               RESP(version_patch, U16),
                               RESP(module_id, TEXT),
                               RESP(max_pcrs, U16),
                               RESP(locked_pcrs, PCRS),
                               {"digest", SHA384, 0}}},
    [EML_NSM_DESCRIBE_PCR] = {"DescribePCR",
                              {REQ(index, U16)},
                              {RESP(lock, BOOL), RESP(data, BYTES)}},
    [EML_NSM_EXTEND_PCR] = {"ExtendPCR", {REQ(index, U16), REQ(data, BYTES)}, {RESP(data, BYTES)}},
    [EML_NSM_LOCK_PCR] = {"LockPCR", {REQ(index, U16)}, {{NULL, END, 0}}},
    [EML_NSM_LOCK_PCRS] = {"LockPCRs", {REQ(range, U16)}, {{NULL, END, 0}}},
    [EML_NSM_GET_RANDOM] = {"GetRandom", {{NULL, END, 0}}, {RESP(random, BYTES)}},
    [EML_NSM_ATTESTATION] = {"Attestation",
                             {REQ(user_data, OPTIONAL), REQ(nonce, OPTIONAL),
                              REQ(public_key, OPTIONAL)},
                             {RESP(document, BYTES)}},
};

static const char *const errors[EML_NSM_ERRORS_N] = {
    "Success",          "InvalidArgument", "InvalidIndex",  "InvalidResponse", "ReadOnlyIndex",
    "InvalidOperation", "BufferTooSmall",  "InputTooLarge", "InternalError",
};

static void put_str(struct eml_buf *b, const char *s)
{
    eml_cbor_put_text(b, eml_bytes_of_str(s));
}

static void put_pcrs(struct eml_buf *b, uint32_t mask)
{
    eml_cbor_put_array(b, (uint64_t)__builtin_popcount(mask));
    for (uint32_t i = 0; i < EML_NSM_PCR_N; i++)
        if ((mask & 1u << i) != 0)
            eml_cbor_put_uint(b, i);
}

static void put_value(struct eml_buf *b, enum kind kind, const void *value)
{
    const struct eml_bytes *bytes = value;
    switch (kind) {
    case END:
        EML_BUG();
    case U16:
        eml_cbor_put_uint(b, *(const uint16_t *)value);
        break;
    case BOOL:
        eml_cbor_put_bool(b, *(const bool *)value);
        break;
    case BYTES:
        eml_cbor_put_bytes(b, *bytes);
        break;
    case OPTIONAL:
        if (bytes->ptr != NULL)
            eml_cbor_put_bytes(b, *bytes);
        else
            eml_cbor_put_null(b);
        break;
    case TEXT:
        eml_cbor_put_text(b, *bytes);
        break;
    case PCRS:
        put_pcrs(b, *(const uint32_t *)value);
        break;
    case SHA384:
        put_str(b, "SHA384");
        break;
    }
}

static size_t count(const struct member *members)
{
    size_t n = 0;
    while (n < MEMBERS_MAX && members[n].kind != END)
        n++;
    return n;
}

static enum eml_err encode(const char *name, const struct member *members, const void *from,
                           struct eml_buf *out)
{
    size_t n = count(members);
    if (n > 0)
        eml_cbor_put_map(out, 1);
    put_str(out, name);
    if (n > 0)
        eml_cbor_put_map(out, n);
    for (size_t i = 0; i < n; i++) {
        put_str(out, members[i].name);
        put_value(out, members[i].kind, (const char *)from + members[i].offset);
    }
    return eml_buf_ok(out);
}

static uint16_t read_u16(struct eml_cur *c)
{
    uint64_t v = eml_cbor_uint(c);
    if (v > UINT16_MAX)
        eml_cur_fail(c);
    return eml_cur_ok(c) ? (uint16_t)v : 0;
}

static uint32_t read_pcrs(struct eml_cur *c)
{
    uint32_t mask = 0;
    size_t left = eml_cbor_array_any(c, EML_NSM_PCR_N);
    while (eml_cbor_more(c, &left)) {
        uint64_t i = eml_cbor_uint(c);
        if (i >= EML_NSM_PCR_N || (mask & 1u << i) != 0)
            eml_cur_fail(c);
        else
            mask |= 1u << i;
    }
    return eml_cur_ok(c) ? mask : 0;
}

static void read_value(struct eml_cur *c, enum kind kind, void *value)
{
    struct eml_bytes *bytes = value;
    switch (kind) {
    case END:
        EML_BUG();
    case U16:
        *(uint16_t *)value = read_u16(c);
        break;
    case BOOL:
        *(bool *)value = eml_cbor_bool(c);
        break;
    case OPTIONAL:
        if (eml_cbor_peek(c) == EML_CBOR_NULL) {
            eml_cbor_null(c);
            break;
        }
        *bytes = eml_cbor_bytes(c, EML_NSM_RESPONSE_MAX);
        break;
    case BYTES:
        *bytes = eml_cbor_bytes(c, EML_NSM_RESPONSE_MAX);
        break;
    case TEXT:
        *bytes = eml_cbor_text(c, EML_NSM_RESPONSE_MAX);
        break;
    case PCRS:
        *(uint32_t *)value = read_pcrs(c);
        break;
    case SHA384:
        if (!eml_bytes_equal(eml_cbor_text(c, 6), EML_LIT("SHA384")))
            eml_cur_fail(c);
        break;
    }
}

/* Index of the member of that name, `n` if there is none. */
static size_t find(const struct member *members, size_t n, struct eml_bytes name)
{
    size_t i = 0;
    while (i < n && !eml_bytes_equal(name, eml_bytes_of_str(members[i].name)))
        i++;
    return i;
}

/* The map of a call's members; optional ones may be missing. */
static void read_members(struct eml_cur *c, const struct member *members, void *into)
{
    size_t n = count(members);
    bool seen[MEMBERS_MAX] = {false};
    size_t left = eml_cbor_map_any(c, n);
    while (eml_cbor_more(c, &left)) {
        size_t i = find(members, n, eml_cbor_text(c, 32));
        if (i == n || seen[i]) {
            eml_cur_fail(c);
            return;
        }
        seen[i] = true;
        read_value(c, members[i].kind, (char *)into + members[i].offset);
    }
    for (size_t i = 0; i < n; i++)
        if (!seen[i] && members[i].kind != OPTIONAL)
            eml_cur_fail(c);
}

/* "name", or the head of {"name": ...}; the cursor stands before the value then. */
static struct eml_bytes read_name(struct eml_cur *c, bool *bare, size_t *left)
{
    *bare = eml_cbor_peek(c) == EML_CBOR_TEXT;
    *left = *bare ? 0 : eml_cbor_map_any(c, 1);
    if (!*bare && !eml_cbor_more(c, left))
        eml_cur_fail(c);
    return eml_cbor_text(c, 32);
}

/* True if nothing but the end of the outer map, if it has one, is left. */
static bool read_end(struct eml_cur *c, bool bare, size_t left)
{
    return (bare || !eml_cbor_more(c, &left)) && eml_cur_done(c);
}

enum eml_err eml_nsm_request_encode(const struct eml_nsm_request *r, struct eml_buf *out)
{
    return encode(calls[r->call].name, calls[r->call].request, r, out);
}

enum eml_err eml_nsm_response_encode(const struct eml_nsm_response *r, struct eml_buf *out)
{
    if (r->error == EML_NSM_SUCCESS)
        return encode(calls[r->call].name, calls[r->call].response, r, out);
    eml_cbor_put_map(out, 1);
    put_str(out, "Error");
    put_str(out, errors[r->error]);
    return eml_buf_ok(out);
}

enum eml_err eml_nsm_request_decode(struct eml_bytes request, struct eml_nsm_request *out)
{
    memset(out, 0, sizeof *out);
    struct eml_nsm_request r;
    memset(&r, 0, sizeof r);
    struct eml_cur c = eml_cur(request);
    bool bare;
    size_t left, call = 0;
    struct eml_bytes name = read_name(&c, &bare, &left);
    while (call < EML_NSM_CALLS_N && !eml_bytes_equal(name, eml_bytes_of_str(calls[call].name)))
        call++;
    if (!eml_cur_ok(&c) || call == EML_NSM_CALLS_N || bare != (count(calls[call].request) == 0))
        return EML_E_INPUT;
    r.call = (enum eml_nsm_call)call;
    if (!bare)
        read_members(&c, calls[call].request, &r);
    if (!read_end(&c, bare, left))
        return EML_E_INPUT;
    *out = r;
    return EML_OK;
}

/* The value of {"Error": ...}; the outcome of the call. */
static enum eml_err read_error(struct eml_cur *c, size_t left, struct eml_nsm_response *out,
                               struct eml_why *why)
{
    struct eml_bytes name = eml_cbor_text(c, 32);
    if (!read_end(c, false, left))
        return eml_fail(why, EML_E_INPUT, "NSM: malformed error", -1);
    for (size_t i = 1; i < EML_NSM_ERRORS_N; i++) {
        if (eml_bytes_equal(name, eml_bytes_of_str(errors[i]))) {
            out->error = (enum eml_nsm_error)i;
            return eml_fail(why, EML_E_REFUSED, errors[i], (long)i);
        }
    }
    return eml_fail(why, EML_E_INPUT, "NSM: unknown error", -1);
}

enum eml_err eml_nsm_response_decode(struct eml_bytes response, enum eml_nsm_call call,
                                     struct eml_nsm_response *out, struct eml_why *why)
{
    memset(out, 0, sizeof *out);
    struct eml_nsm_response r;
    memset(&r, 0, sizeof r);
    r.call = call;
    struct eml_cur c = eml_cur(response);
    bool bare;
    size_t left;
    struct eml_bytes name = read_name(&c, &bare, &left);
    if (!bare && eml_bytes_equal(name, EML_LIT("Error")))
        return read_error(&c, left, out, why);
    if (!eml_cur_ok(&c) || !eml_bytes_equal(name, eml_bytes_of_str(calls[call].name)) ||
        bare != (count(calls[call].response) == 0))
        return eml_fail(why, EML_E_INPUT, "NSM: not an answer to this call", -1);
    if (!bare)
        read_members(&c, calls[call].response, &r);
    if (!read_end(&c, bare, left))
        return eml_fail(why, EML_E_INPUT, "NSM: malformed answer", -1);
    *out = r;
    return EML_OK;
}

enum eml_err eml_nsm_put_attestation(const struct eml_nsm_attest_args *a, struct eml_buf *out)
{
    const struct eml_nsm_request r = {.call = EML_NSM_ATTESTATION,
                                      .user_data = a->user_data,
                                      .nonce = a->nonce,
                                      .public_key = a->public_key};
    return eml_nsm_request_encode(&r, out);
}

/* An answer of no bytes would pass for random bytes, or for a document, without being any. */
static enum eml_err not_empty(enum eml_err e, struct eml_bytes got, struct eml_bytes *out,
                              struct eml_why *why)
{
    *out = (struct eml_bytes){NULL, 0};
    if (e == EML_OK && got.len == 0)
        e = eml_fail(why, EML_E_INPUT, "NSM: empty answer", -1);
    if (e == EML_OK)
        *out = got;
    return e;
}

enum eml_err eml_nsm_get_attestation(struct eml_bytes response, struct eml_bytes *document,
                                     struct eml_why *why)
{
    struct eml_nsm_response r;
    enum eml_err e = eml_nsm_response_decode(response, EML_NSM_ATTESTATION, &r, why);
    return not_empty(e, r.document, document, why);
}

enum eml_err eml_nsm_put_random(struct eml_buf *out)
{
    const struct eml_nsm_request r = {.call = EML_NSM_GET_RANDOM};
    return eml_nsm_request_encode(&r, out);
}

enum eml_err eml_nsm_get_random(struct eml_bytes response, struct eml_bytes *random,
                                struct eml_why *why)
{
    struct eml_nsm_response r;
    enum eml_err e = eml_nsm_response_decode(response, EML_NSM_GET_RANDOM, &r, why);
    return not_empty(e, r.random, random, why);
}
