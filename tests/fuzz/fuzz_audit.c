// link: audit
/* The first byte chooses the reader: a record, a checkpoint, a key, a proof. What reads must print
 * to the same bytes, where the format has one form. */
#include "audit/proof.h"
#include "audit/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(struct eml_buf *b, struct eml_bytes in)
{
    EML_ASSERT(eml_bytes_equal(eml_buf_bytes(b), in));
    eml_buf_free(b);
}

static void a_record(struct eml_bytes in)
{
    struct eml_record r;
    struct eml_buf b = {0};
    if (eml_record_decode(in, &r, NULL) != EML_OK)
        return;
    EML_ASSERT(eml_record_encode(&r, &b) == EML_OK);
    same(&b, in);
}

static void a_key(struct eml_bytes in)
{
    struct eml_note_key k;
    struct eml_buf b = {0};
    if (eml_note_key_parse(in, &k, NULL) != EML_OK)
        return;
    EML_ASSERT(eml_note_key_print(&k, &b) == EML_OK);
    /* The id may be written in capitals. */
    EML_ASSERT(b.len == in.len);
    eml_buf_free(&b);
}

static void a_checkpoint(struct eml_bytes in)
{
    const struct eml_ed25519_pk pk = {{1}};
    struct eml_checkpoint c;
    struct eml_note_key k;
    if (eml_checkpoint_peek(in, &c, NULL) != EML_OK ||
        eml_note_key_make(c.origin, &pk, &k) != EML_OK)
        return;
    EML_ASSERT(eml_checkpoint_verify(in, &k, &c, NULL) != EML_OK);
}

static void a_proof(struct eml_bytes in)
{
    struct eml_proof p, again;
    struct eml_buf b = {0};
    if (eml_proof_parse(in, &p, NULL) != EML_OK)
        return;
    EML_ASSERT(eml_proof_print(&p, &b) == EML_OK);
    EML_ASSERT(eml_proof_parse(eml_buf_bytes(&b), &again, NULL) == EML_OK);
    EML_ASSERT(again.index == p.index && again.path.n == p.path.n);
    eml_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct eml_bytes) = {a_record, a_checkpoint, a_key, a_proof};
    if (size != 0)
        readers[data[0] % 4](eml_bytes(data + 1, size - 1));
    return 0;
}
