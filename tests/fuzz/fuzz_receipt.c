// link: receipt session
/* The first byte picks the parser: a receipt's file (and, inside it, all parts as far as they go
 * without keys), an AIR receipt, AIR claims, a statement, an opening. What decodes must encode to
 * the same bytes. */
#include "receipt/verify.h"
#include "session/commit.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct eml_ed25519_sk secret = {.b = {9}};

static void same(struct eml_buf *made, struct eml_bytes in)
{
    EML_ASSERT(eml_bytes_equal(eml_buf_bytes(made), in));
    eml_buf_free(made);
}

/* Signed again, the claims must come out as they were. */
static void feed_claims(struct eml_bytes in)
{
    struct eml_air a;
    struct eml_sign1 s;
    struct eml_why why;
    struct eml_buf again = {0};
    if (eml_air_claims(in, &a, &why) != EML_OK)
        return;
    EML_ASSERT(eml_air_sign(&a, &secret, &again, &why) == EML_OK);
    /* Level 3 does not look at the profile's value: only with the right one it is AIR's. */
    EML_ASSERT(eml_air_parse(eml_buf_bytes(&again), &s, &why) == EML_OK);
    struct eml_air b;
    EML_ASSERT(eml_air_claims(s.payload, &b, &why) == EML_OK);
    EML_ASSERT(a.issued_s == b.issued_s && a.pcr_present == b.pcr_present &&
               eml_bytes_equal(a.model_id, b.model_id) && eml_bytes_equal(a.nonce, b.nonce));
    eml_buf_free(&again);
}

static void feed_air(struct eml_bytes in)
{
    struct eml_sign1 s;
    struct eml_why why;
    struct eml_buf again = {0};
    if (eml_air_parse(in, &s, &why) != EML_OK)
        return;
    EML_ASSERT(eml_sign1_encode(&s, EML_SIGN1_TAGGED, &again) == EML_OK);
    same(&again, in);
    feed_claims(s.payload);
}

static void feed_statement(struct eml_bytes in)
{
    struct eml_statement s;
    struct eml_why why;
    struct eml_buf again = {0};
    if (eml_statement_peek(in, &s, &why) != EML_OK)
        return;
    EML_ASSERT(eml_statement_sign(&s, &secret, &again) == EML_OK);
    /* all but the signature */
    EML_ASSERT(again.len == in.len && memcmp(again.ptr, in.ptr, in.len - 64) == 0);
    eml_buf_free(&again);
}

static void feed_receipt(struct eml_bytes in)
{
    struct eml_receipt r;
    struct eml_why why;
    struct eml_buf again = {0};
    static const struct eml_policy policy = {.n_roots = 1, .n_accept = 1};
    const struct eml_receipt_expect expect = {.policy = &policy, .now_unix_s = 1};
    struct eml_receipt_verified v;
    if (eml_receipt_decode(in, &r, &why) != EML_OK)
        return;
    EML_ASSERT(eml_receipt_encode(&r, &again) == EML_OK);
    same(&again, in);
    EML_ASSERT(eml_receipt_verify(&r, &expect, &v, NULL, &why) != EML_OK);
    feed_air(r.air);
    feed_statement(r.statement);
}

static void feed_opening(struct eml_bytes in)
{
    struct eml_opening o;
    struct eml_why why;
    struct eml_buf again = {0};
    if (eml_opening_decode(in, &o, &why) != EML_OK)
        return;
    EML_ASSERT(eml_opening_encode(&o, &again) == EML_OK);
    same(&again, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const feed[])(struct eml_bytes) = {feed_receipt, feed_air, feed_claims,
                                                     feed_statement, feed_opening};
    if (size == 0)
        return 0;
    EML_ASSERT(eml_ed25519_make(&secret) == EML_OK);
    feed[data[0] % 5](eml_bytes(data + 1, size - 1));
    return 0;
}
