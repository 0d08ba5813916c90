#include "session/commit.h"

#include "model/limits.h"
#include "wire/cbor.h"

#include <string.h>

static bool before(struct eml_bytes a, struct eml_bytes b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order != 0 ? order < 0 : a.len < b.len;
}

static void sort(const struct eml_named_tensor *t, size_t n, size_t *order)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = i;
        for (; k > 0 && before(t[i].name, t[order[k - 1]].name); k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
}

/* The data is hashed from where it lies; `head` holds all that stands between. */
enum eml_err eml_commit(enum eml_commit which, const uint8_t salt[EML_SALT_BYTES],
                        const struct eml_named_tensor *t, size_t n, struct eml_sha256 *out)
{
    size_t order[EML_GRAPH_IO_MAX], end[EML_GRAPH_IO_MAX];
    struct eml_bytes part[2 * EML_GRAPH_IO_MAX + 1];
    struct eml_buf head = {0};
    memset(out, 0, sizeof *out);
    if (n > EML_GRAPH_IO_MAX)
        return EML_E_USAGE;
    sort(t, n, order);
    eml_cbor_put_array(&head, 3);
    eml_cbor_put_text(&head, which == EML_COMMIT_REQUEST ? EML_LIT("eml/1 request")
                                                         : EML_LIT("eml/1 response"));
    eml_cbor_put_bytes(&head, eml_bytes(salt, EML_SALT_BYTES));
    eml_cbor_put_array(&head, n);
    for (size_t i = 0; i < n; i++) {
        eml_tensor_put_head(&head, &t[order[i]]);
        end[i] = head.len;
    }
    enum eml_err e = eml_buf_ok(&head);
    if (e == EML_OK) {
        size_t parts = 0, at = 0;
        for (size_t i = 0; i < n; i++) {
            const struct eml_tensor *each = &t[order[i]].tensor;
            part[parts++] = eml_bytes(head.ptr + at, end[i] - at);
            part[parts++] = eml_bytes(each->data, each->bytes);
            at = end[i];
        }
        if (n == 0)
            part[parts++] = eml_buf_bytes(&head);
        e = eml_sha256(part, parts, out);
    }
    eml_buf_free(&head);
    return e;
}

#define NAME EML_LIT("eml-opening/1")
enum { K_NAME = 0, K_REQUEST, K_RESPONSE, K_END };

enum eml_err eml_opening_encode(const struct eml_opening *o, struct eml_buf *out)
{
    eml_cbor_put_map(out, K_END);
    eml_cbor_put_uint(out, K_NAME);
    eml_cbor_put_text(out, NAME);
    eml_cbor_put_uint(out, K_REQUEST);
    eml_cbor_put_bytes(out, EML_BYTES(o->request_salt));
    eml_cbor_put_uint(out, K_RESPONSE);
    eml_cbor_put_bytes(out, EML_BYTES(o->response_salt));
    return eml_buf_ok(out);
}

static void get_salt(struct eml_cur *c, uint64_t key, uint8_t out[EML_SALT_BYTES])
{
    bool expected = eml_cbor_uint(c) == key;
    struct eml_bytes b = eml_cbor_bytes(c, EML_SALT_BYTES);
    if (expected && b.len == EML_SALT_BYTES)
        memcpy(out, b.ptr, EML_SALT_BYTES);
    else
        eml_cur_fail(c);
}

enum eml_err eml_opening_decode(struct eml_bytes file, struct eml_opening *out, struct eml_why *why)
{
    struct eml_cur c = eml_cur(file);
    *out = (struct eml_opening){{0}, {0}};
    bool named = eml_cbor_map(&c, K_END) == K_END && eml_cbor_uint(&c) == K_NAME &&
                 eml_bytes_equal(eml_cbor_text(&c, NAME.len), NAME);
    get_salt(&c, K_REQUEST, out->request_salt);
    get_salt(&c, K_RESPONSE, out->response_salt);
    if (named && eml_cur_done(&c))
        return EML_OK;
    *out = (struct eml_opening){{0}, {0}};
    return eml_fail(why, EML_E_INPUT, "opening: no file of two salts, version 1", -1);
}
