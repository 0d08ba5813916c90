// link: receipt pki decompose
/* Property 11: whatever allocation fails, what was asked for fails closed (testsupport/failing.h):
 * the audit trail, made and verified, and decomposition. */
#include "receipt_world.h"
#include "testsupport/failing.h"

#include "crypto/crypto.h"
#include "decompose/decompose.h"
#include "onnx/onnx.h"

static struct world world;
static struct eml_buf receipt_file, onnx_file;

/* The log's record of an inference, its place among others, and the checkpoint over all of them. */
static enum eml_err log_inference(struct eml_buf *record, struct eml_buf *proof)
{
    const struct world *w = &world;
    static const struct eml_tree empty;
    struct eml_sha256 leaf[LOG_MAX] = {{{0}}};
    const struct eml_tree_recent recent = {&empty, leaf, w->size};
    const struct eml_tree_source source = eml_tree_recent_source(&recent);
    struct eml_proof p = {.index = w->record.sequence};
    struct eml_checkpoint c = {.origin = w->origin, .size = w->size};
    struct eml_note_key key;
    struct eml_buf note = {0};
    EML_TRY(eml_record_encode(&w->record, record));
    EML_TRY(eml_tree_leaf(eml_buf_bytes(record), &leaf[p.index]));
    EML_TRY(eml_tree_source_root(&source, w->size, &c.root));
    EML_TRY(eml_tree_prove_inclusion(&source, p.index, w->size, &p.path));
    EML_TRY(eml_note_key_make(w->origin, &w->log_key.pk, &key));
    enum eml_err e = eml_checkpoint_sign(&c, &key, &w->log_key, &note);
    p.checkpoint = eml_buf_bytes(&note);
    if (e == EML_OK)
        e = eml_proof_print(&p, proof);
    eml_buf_free(&note);
    return e;
}

static enum eml_err receipt_made(struct outcome *o)
{
    const struct world *w = &world;
    struct eml_buf air = {0}, statement = {0}, record = {0}, proof = {0}, file = {0};
    struct eml_why why = {0};
    enum eml_err e = eml_air_sign(&w->air, &w->key, &air, &why);
    if (e == EML_OK)
        e = eml_statement_sign(&w->statement, &w->key, &statement);
    if (e == EML_OK)
        e = log_inference(&record, &proof);
    const struct eml_receipt r = {eml_buf_bytes(&air), eml_buf_bytes(&statement),
                                  eml_buf_bytes(&record), eml_buf_bytes(&proof),
                                  eml_buf_bytes(&w->doc)};
    if (e == EML_OK)
        e = eml_receipt_encode(&r, &file);
    if (e == EML_OK)
        add(o, eml_buf_bytes(&file));
    eml_buf_free(&air);
    eml_buf_free(&statement);
    eml_buf_free(&record);
    eml_buf_free(&proof);
    eml_buf_free(&file);
    return e;
}

static enum eml_err receipt_verified(struct outcome *o)
{
    struct eml_receipt r;
    struct eml_receipt_verified v;
    struct eml_why why = {0};
    EML_TRY(eml_receipt_decode(eml_buf_bytes(&receipt_file), &r, &why));
    enum eml_err e = eml_receipt_verify(&r, &world.expect, &v, NULL, &why);
    if (e == EML_OK)
        add(o, EML_BYTES(v.checkpoint.root.b));
    else
        assert_true(v.air.issuer.ptr == NULL && v.checkpoint.size == 0);
    return e;
}

static enum eml_err decomposition(struct outcome *o)
{
    const struct eml_decompose_options options = {.version = 2, .min_version = 1};
    struct eml_onnx_model *m = NULL;
    struct eml_onnx_diag diag = {0};
    struct eml_check_report report = {0};
    struct eml_decomposed d = {0};
    enum eml_err e = eml_onnx_parse(eml_buf_bytes(&onnx_file), NULL, &m, &diag);
    if (e == EML_OK)
        e = eml_decompose(m, &options, &d, &report);
    if (e == EML_OK) {
        const uint64_t facts[] = {d.nodes_after, d.weight_bytes, d.sealed.len};
        add(o, eml_bytes(facts, sizeof facts));
    } else {
        assert_true(d.topology.ptr == NULL && d.sealed.ptr == NULL);
    }
    eml_decomposed_free(&d);
    eml_check_free(&report);
    eml_onnx_free(m);
    return e;
}

PATH(receipt_made)
PATH(receipt_verified)
PATH(decomposition)

int main(void)
{
    eml_crypto_init();
    struct eml_gen g = eml_gen_seeded("prop_11_trail");
    make_world(&world, &g);
    sign(&world);
    if (eml_receipt_encode(&world.receipt, &receipt_file) != EML_OK)
        return 1;
    onnx_file = eml_test_read(EML_VECTORS "/onnxruntime/test_attention_4d_mask/model.onnx");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receipt_made_fails_closed),
        cmocka_unit_test(receipt_verified_fails_closed),
        cmocka_unit_test(decomposition_fails_closed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    destroy(&world);
    eml_buf_free(&receipt_file);
    eml_buf_free(&onnx_file);
    return failed;
}
