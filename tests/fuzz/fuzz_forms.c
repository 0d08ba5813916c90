// link: aws net crypto
/* The first byte chooses a form of text: base64, hex, a number, JSON, an address, a certificate in
 * PEM. What reads and has one form prints to the same bytes. */
#include "testsupport/support.h"

#include "base/text.h"
#include "crypto/crypto.h"
#include "net/address.h"
#include "wire/base64.h"
#include "wire/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed_base64(struct eml_bytes in)
{
    struct eml_buf bytes = {0}, text = {0};
    if (eml_base64_decode(in, &bytes) == EML_OK) {
        eml_base64_encode(eml_buf_bytes(&bytes), &text);
        EML_ASSERT(eml_bytes_equal(eml_buf_bytes(&text), in));
    } else {
        EML_ASSERT(bytes.len == 0);
    }
    eml_buf_free(&bytes);
    eml_buf_free(&text);
}

static void feed_hex(struct eml_bytes in)
{
    uint8_t bytes[32], again[32];
    char text[64];
    if (in.len > sizeof text || in.len % 2 != 0)
        return;
    if (!eml_hex_get(in, (struct eml_room){bytes, in.len / 2}))
        return;
    eml_hex_put(eml_bytes(bytes, in.len / 2), text);
    EML_ASSERT(eml_hex_get(eml_bytes(text, in.len), (struct eml_room){again, in.len / 2}));
    EML_ASSERT(memcmp(bytes, again, in.len / 2) == 0);
}

/* A text that ends with a NUL. */
static char *text_of(struct eml_bytes in)
{
    char *s = malloc(in.len + 1);
    EML_ASSERT(s != NULL);
    if (in.len != 0)
        memcpy(s, in.ptr, in.len);
    s[in.len] = '\0';
    return s;
}

static void feed_number(struct eml_bytes in)
{
    char *s = text_of(in);
    uint64_t v = 0;
    if (eml_u64_get(s, 10, UINT64_MAX / 2, &v))
        EML_ASSERT(v >= 10 && v <= UINT64_MAX / 2 && v == strtoull(s, NULL, 10));
    free(s);
}

static void feed_json(struct eml_bytes in)
{
    json_t *v, *again;
    struct eml_buf once = {0}, twice = {0};
    struct eml_why why = {0};
    if (eml_json_parse(in, 1 << 16, &v, &why) != EML_OK) {
        EML_ASSERT(v == NULL && why.rule != NULL);
        return;
    }
    EML_ASSERT(eml_json_print(v, &once) == EML_OK);
    EML_ASSERT(eml_json_parse(eml_buf_bytes(&once), 1 << 20, &again, &why) == EML_OK);
    EML_ASSERT(eml_json_print(again, &twice) == EML_OK);
    EML_ASSERT(eml_bytes_equal(eml_buf_bytes(&once), eml_buf_bytes(&twice)));
    json_decref(v);
    json_decref(again);
    eml_buf_free(&once);
    eml_buf_free(&twice);
}

static void feed_address(struct eml_bytes in)
{
    char *s = text_of(in);
    struct eml_address a;
    struct eml_why why = {0};
    if (eml_address_parse(s, &a, &why) == EML_OK)
        EML_ASSERT(a.kind <= EML_ADDRESS_VSOCK_UNIX &&
                   (a.kind != EML_ADDRESS_TCP || (a.host[0] != '\0' && a.port <= 65535)));
    else
        EML_ASSERT(why.rule != NULL);
    free(s);
}

static void feed_pem(struct eml_bytes in)
{
    struct eml_buf der = {0}, spki = {0};
    struct eml_sha256 digest;
    enum eml_err e = eml_x509_pem_read(in, &der, &spki);
    EML_ASSERT((e == EML_OK) == (eml_x509_pem_digest(in, &digest) == EML_OK) || e != EML_OK);
    if (e == EML_OK)
        EML_ASSERT(der.len > spki.len && spki.len != 0);
    eml_buf_free(&der);
    eml_buf_free(&spki);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const feed[])(struct eml_bytes) = {feed_base64, feed_hex,     feed_number,
                                                     feed_json,   feed_address, feed_pem};
    if (size != 0)
        feed[data[0] % 6](eml_bytes(data + 1, size - 1));
    return 0;
}
