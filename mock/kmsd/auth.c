#include "kmsd/auth.h"

#include "base/cur.h"
#include "base/wipe.h"

#include <strings.h>

struct eml_bytes eml_kmsd_header(const struct eml_sigv4_request *request, const char *name)
{
    struct eml_bytes wanted = eml_bytes_of_str(name), found = {NULL, 0};
    size_t n = 0;
    for (size_t i = 0; i < request->n_headers; i++) {
        struct eml_bytes have = request->header[i].name;
        if (have.len == wanted.len && strncasecmp((const char *)have.ptr, name, wanted.len) == 0) {
            found = request->header[i].value;
            n++;
        }
    }
    return n == 1 ? found : (struct eml_bytes){NULL, 0};
}

static const struct eml_sigv4_header *header_named(const struct eml_sigv4_request *r,
                                                   struct eml_bytes name)
{
    for (size_t i = 0; i < r->n_headers; i++)
        if (r->header[i].name.len == name.len &&
            strncasecmp((const char *)r->header[i].name.ptr, (const char *)name.ptr, name.len) == 0)
            return &r->header[i];
    return NULL;
}

/* Picks the headers that `list` names ("a;b;c"). False if one is missing, twice in the request or
 * in the list, or if what must be signed is not among them. */
static bool select_signed(const struct eml_sigv4_request *all, struct eml_bytes list,
                          struct eml_sigv4_header out[EML_SIGV4_HEADERS_MAX], size_t *n)
{
    static const char *const musts[] = {"host", "x-amz-date", "x-amz-target"};
    size_t start = 0, must = 0;
    *n = 0;
    for (size_t i = 0; i <= list.len; i++) {
        if (i < list.len && list.ptr[i] != ';')
            continue;
        struct eml_bytes name = eml_bytes(list.ptr + start, i - start);
        const struct eml_sigv4_header *h = header_named(all, name);
        start = i + 1;
        if (h == NULL || *n == EML_SIGV4_HEADERS_MAX)
            return false;
        for (size_t k = 0; k < sizeof musts / sizeof musts[0]; k++)
            must += eml_bytes_equal(name, eml_bytes_of_str(musts[k])) ? 1 : 0;
        out[(*n)++] = (struct eml_sigv4_header){name, h->value};
    }
    for (size_t i = 0; i < *n; i++) { /* one value for each signed name */
        size_t times = 0;
        for (size_t k = 0; k < all->n_headers; k++)
            times +=
                header_named(&(struct eml_sigv4_request){.header = &all->header[k], .n_headers = 1},
                             out[i].name) != NULL
                    ? 1
                    : 0;
        if (times != 1)
            return false;
    }
    return must == sizeof musts / sizeof musts[0];
}

static bool signature_holds(const struct eml_sigv4_request *request,
                            const struct eml_sigv4_authorization *a, struct eml_bytes time,
                            struct eml_bytes secret)
{
    struct eml_buf canonical = {0}, to_sign = {0};
    uint8_t signature[EML_SIGV4_SIGNATURE_BYTES];
    enum eml_err e = eml_sigv4_canonical_request(request, &canonical);
    if (e == EML_OK)
        e = eml_sigv4_string_to_sign(eml_buf_bytes(&canonical), time, &a->scope, &to_sign);
    if (e == EML_OK)
        e = eml_sigv4_signature(secret, &a->scope, eml_buf_bytes(&to_sign), signature);
    bool holds = e == EML_OK && eml_ct_equal(EML_BYTES(signature), a->signature);
    eml_wipe(signature, sizeof signature);
    eml_buf_free(&canonical);
    eml_buf_free(&to_sign);
    return holds;
}

static bool is_now(struct eml_bytes time, const struct eml_sigv4_scope *scope, int64_t now_unix_s)
{
    int64_t t;
    return eml_sigv4_parse_time(time, &t) == EML_OK && t >= now_unix_s - EML_KMSD_SKEW_SECONDS &&
           t <= now_unix_s + EML_KMSD_SKEW_SECONDS &&
           eml_bytes_equal(eml_bytes(time.ptr, 8), scope->date);
}

const char *eml_kmsd_authenticate(const struct eml_kmsd_auth *auth,
                                  const struct eml_sigv4_request *request, int64_t now_unix_s,
                                  const struct eml_kmsd_caller **caller)
{
    struct eml_sigv4_authorization a;
    struct eml_sigv4_header header[EML_SIGV4_HEADERS_MAX];
    struct eml_sigv4_request checked = *request;
    *caller = NULL;
    struct eml_bytes value = eml_kmsd_header(request, "authorization");
    struct eml_bytes time = eml_kmsd_header(request, "x-amz-date");
    if (value.ptr == NULL)
        return "MissingAuthenticationTokenException";
    checked.header = header;
    if (eml_sigv4_parse(value, &a) != EML_OK || time.ptr == NULL ||
        !select_signed(request, a.signed_headers, header, &checked.n_headers))
        return "IncompleteSignatureException";
    const struct eml_kmsd_caller *who = NULL;
    for (size_t i = 0; i < auth->n_callers; i++)
        if (eml_bytes_equal(auth->caller[i].access_key_id, a.access_key_id))
            who = &auth->caller[i];
    if (who == NULL)
        return "UnrecognizedClientException";
    if (!is_now(time, &a.scope, now_unix_s) || !eml_bytes_equal(a.scope.service, EML_LIT("kms")) ||
        !eml_bytes_equal(a.scope.region, auth->region) ||
        !signature_holds(&checked, &a, time, who->secret_access_key))
        return "InvalidSignatureException";
    *caller = who;
    return NULL;
}
