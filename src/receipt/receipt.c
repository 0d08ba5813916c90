#include "receipt/receipt.h"

#include "wire/cbor.h"

#define NAME EML_LIT("eml-receipt/1")
enum { K_NAME = 0, K_AIR, K_STATEMENT, K_RECORD, K_PROOF, K_DOCUMENT };

static void put(struct eml_buf *b, uint64_t key, struct eml_bytes v)
{
    eml_cbor_put_uint(b, key);
    eml_cbor_put_bytes(b, v);
}

static void put_name(struct eml_buf *b, uint64_t pairs, struct eml_bytes name)
{
    eml_cbor_put_map(b, pairs);
    eml_cbor_put_uint(b, K_NAME);
    eml_cbor_put_text(b, name);
}

static struct eml_bytes get(struct eml_cur *c, uint64_t key, size_t max)
{
    if (eml_cbor_uint(c) != key)
        eml_cur_fail(c);
    struct eml_bytes b = eml_cbor_bytes(c, max);
    if (b.len == 0)
        eml_cur_fail(c);
    return b;
}

/* The number of pairs. */
static size_t get_name(struct eml_cur *c, size_t max, struct eml_bytes name)
{
    size_t n = eml_cbor_map(c, max);
    if (eml_cbor_uint(c) != K_NAME || !eml_bytes_equal(eml_cbor_text(c, name.len), name))
        eml_cur_fail(c);
    return eml_cur_ok(c) ? n : 0;
}

enum eml_err eml_receipt_encode(const struct eml_receipt *r, struct eml_buf *out)
{
    bool whole = r->document.ptr != NULL;
    put_name(out, whole ? 6 : 5, NAME);
    put(out, K_AIR, r->air);
    put(out, K_STATEMENT, r->statement);
    put(out, K_RECORD, r->record);
    put(out, K_PROOF, r->proof);
    if (whole)
        put(out, K_DOCUMENT, r->document);
    return eml_buf_ok(out);
}

enum eml_err eml_receipt_decode(struct eml_bytes file, struct eml_receipt *out, struct eml_why *why)
{
    struct eml_cur c = eml_cur(file);
    struct eml_receipt r = {0};
    *out = r;
    size_t n = get_name(&c, 6, NAME);
    if (n != 5 && n != 6)
        return eml_fail(why, EML_E_INPUT, "receipt: no file of a receipt, version 1", -1);
    r.air = get(&c, K_AIR, EML_AIR_BYTES_MAX);
    r.statement = get(&c, K_STATEMENT, EML_STATEMENT_BYTES_MAX);
    r.record = get(&c, K_RECORD, EML_RECORD_BYTES_MAX);
    r.proof = get(&c, K_PROOF, EML_PROOF_BYTES_MAX);
    if (n == 6)
        r.document = get(&c, K_DOCUMENT, EML_ATTEST_DOCUMENT_MAX);
    if (!eml_cur_done(&c))
        return eml_fail(why, EML_E_INPUT, "receipt: a part is missing, too long or out of place",
                        -1);
    *out = r;
    return EML_OK;
}
