#include "enclave/notary.h"

#include "attest/document.h"
#include "base/text.h"
#include "base/wipe.h"
#include "engine/engine.h"
#include "wire/cbor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH = 4, MIB = 1 << 20 };

/* The signature is for those who do not hold the NSM. */
static struct eml_bytes payload_of(struct eml_bytes document)
{
    struct eml_cur c = eml_cur(document);
    if (eml_cbor_peek(&c) == EML_CBOR_TAG)
        (void)eml_cbor_tag(&c);
    if (eml_cbor_array(&c, 4) != 4)
        return (struct eml_bytes){0};
    (void)eml_cbor_skip(&c, DEPTH);
    (void)eml_cbor_skip(&c, DEPTH);
    return eml_cbor_bytes(&c, EML_ATTEST_DOCUMENT_MAX);
}

enum eml_err eml_notary_attest(struct eml_notary *out, struct eml_bytes document)
{
    struct eml_notary s = {.attested = true, .sequence = out->sequence};
    struct eml_document d;
    struct eml_why why;
    eml_notary_drop(out);
    *out = (struct eml_notary){.sequence = s.sequence};
    if (eml_document_decode(payload_of(document), &d, &why) != EML_OK ||
        d.nonce.len != sizeof s.nonce || (d.pcr_present & 7) != 7)
        return EML_E_SYSTEM;
    EML_TRY(eml_sha256(&document, 1, &s.document));
    memcpy(s.nonce, d.nonce.ptr, sizeof s.nonce);
    for (uint32_t i = 0; i < EML_AIR_PCR_N; i++) {
        bool zero = eml_ct_is_zero(EML_BYTES(d.pcr[i].b));
        s.debug = s.debug || (i < 3 && zero);
        if ((EML_AIR_PCRS >> i & 1) == 0 || (d.pcr_present >> i & 1) == 0 || (i >= 3 && zero))
            continue;
        s.pcr_present |= 1u << i;
        s.pcr[i] = d.pcr[i];
    }
    *out = s;
    return EML_OK;
}

static struct eml_sha256 digest_of(const uint8_t bytes[EML_IPC_DIGEST])
{
    struct eml_sha256 d;
    memcpy(d.b, bytes, sizeof d.b);
    return d;
}

/* A version 4 UUID (RFC 9562 section 5.4). */
static enum eml_err make_cti(uint8_t cti[16])
{
    EML_TRY(eml_random((struct eml_room){cti, 16}));
    cti[6] = (uint8_t)(0x40 | (cti[6] & 0x0f));
    cti[8] = (uint8_t)(0x80 | (cti[8] & 0x3f));
    return EML_OK;
}

static uint64_t divided_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static enum eml_err sign_air(const struct eml_notary *n, const struct eml_ed25519_sk *key,
                             const struct eml_ipc_request *report, uint64_t now_s, bool production,
                             struct eml_buf *air)
{
    const struct eml_ipc_inference *i = &report->inference;
    char id[2 * EML_IPC_MODEL_ID], version[24];
    struct eml_why why;
    eml_hex_put(EML_BYTES(i->model_id), id);
    (void)snprintf(version, sizeof version, "%" PRIu64, i->version);
    struct eml_air a = {
        .issuer = EML_LIT("eml-enclaved"),
        .issued_s = now_s,
        .nonce = EML_BYTES(n->nonce),
        .model_id = eml_bytes(id, sizeof id),
        .model_version = eml_bytes_of_str(version),
        .model_hash = digest_of(i->topology),
        .request_hash = digest_of(i->request),
        .response_hash = digest_of(i->response),
        .document_hash = n->document,
        .platform = EML_AIR_NITRO,
        .pcr_present = n->pcr_present,
        .policy_version = EML_LIT("eml/" EML_VERSION),
        .sequence = n->sequence + 1,
        .execution_ms = divided_up(report->number[EML_STATEMENT_RUN_US], 1000),
        .memory_mb = divided_up(i->memory_bytes, MIB),
        .mode = production && !n->debug ? EML_AIR_PRODUCTION : EML_AIR_EVALUATION,
    };
    memcpy(a.pcr, n->pcr, sizeof a.pcr);
    EML_TRY(make_cti(a.cti));
    enum eml_err err = eml_air_sign(&a, key, air, &why);
    return err == EML_E_USAGE ? EML_E_INPUT : err;
}

enum eml_err eml_notary_receive(struct eml_notary *n, const struct eml_ed25519_sk *key,
                                const struct eml_ipc_request *report, uint64_t now_s,
                                bool production, struct eml_sha256 *digest)
{
    *digest = (struct eml_sha256){{0}};
    eml_notary_drop(n);
    if (!n->attested || report->err != EML_OK)
        return EML_E_INPUT;
    enum eml_err err = sign_air(n, key, report, now_s, production, &n->air);
    const struct eml_bytes air = eml_buf_bytes(&n->air);
    if (err == EML_OK)
        err = eml_sha256(&air, 1, digest);
    if (err != EML_OK)
        eml_notary_drop(n);
    else
        n->sequence++;
    return err;
}

_Static_assert((int)EML_STATEMENT_NUMBERS == (int)EML_IPC_NUMBERS, "the same numbers, in order");

enum eml_err eml_notary_state(struct eml_notary *n, const struct eml_ipc_request *report,
                              struct eml_bytes origin, uint64_t index)
{
    const struct eml_ipc_inference *i = &report->inference;
    const struct eml_bytes air = eml_buf_bytes(&n->air);
    struct eml_statement s = {
        .mode = i->mode,
        .kernels = eml_bytes_of_str(eml_isa_name((enum eml_isa)i->isa)),
        .origin = origin,
        .index = index,
    };
    EML_TRY(eml_sha256(&air, 1, &s.air));
    memcpy(s.object_id, i->object_id, sizeof s.object_id);
    memcpy(s.number, report->number, sizeof s.number);
    n->statement = s;
    return EML_OK;
}

enum eml_err eml_notary_finish(struct eml_notary *n, const struct eml_ed25519_sk *key,
                               struct eml_bytes record, struct eml_bytes proof, struct eml_buf *out)
{
    struct eml_buf statement = {0};
    enum eml_err err = n->air.len != 0 && n->statement.origin.len != 0
                           ? eml_statement_sign(&n->statement, key, &statement)
                           : EML_E_USAGE;
    const struct eml_receipt r = {.air = eml_buf_bytes(&n->air),
                                  .statement = eml_buf_bytes(&statement),
                                  .record = record,
                                  .proof = proof};
    if (err == EML_OK)
        err = eml_receipt_encode(&r, out);
    eml_buf_free(&statement);
    eml_notary_drop(n);
    return err;
}

void eml_notary_drop(struct eml_notary *n)
{
    eml_buf_free(&n->air);
    n->statement = (struct eml_statement){0};
}
