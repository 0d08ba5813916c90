#include "kmsd/recipient.h"

#include "aws/cms.h"
#include "base/text.h"
#include "wire/base64.h"

#include <stdio.h>

/* RSA-2048 with a usable exponent: what crypto/ will encrypt to. */
static bool is_rsa_2048(struct eml_bytes spki)
{
    uint8_t block[EML_CMS_ENCRYPTED_KEY_BYTES];
    return spki.ptr != NULL &&
           eml_rsa_oaep_encrypt(spki, EML_LIT("probe"), EML_ROOM(block)) == EML_OK;
}

static int set_pcr(json_t *attributes, const char *name, const struct eml_pcr *pcr)
{
    char hex[2 * sizeof pcr->b];
    eml_hex_put(EML_BYTES(pcr->b), hex);
    return json_object_set_new(attributes, name, json_stringn(hex, sizeof hex));
}

static enum eml_err set_attributes(const struct eml_attested *a, json_t *attributes)
{
    int failed = set_pcr(attributes, "kms:RecipientAttestation:ImageSha384", &a->pcr[0]);
    for (unsigned i = 0; i < EML_PCR_N; i++) {
        char name[sizeof "kms:RecipientAttestation:PCR31"];
        if ((a->pcr_present >> i & 1) == 0)
            continue;
        (void)snprintf(name, sizeof name, "kms:RecipientAttestation:PCR%u", i % EML_PCR_N);
        failed |= set_pcr(attributes, name, &a->pcr[i]);
    }
    return failed == 0 ? EML_OK : EML_E_SYSTEM;
}

enum eml_err eml_kmsd_recipient_read(const json_t *request, const struct eml_kmsd_trust *trust,
                                     int64_t now_unix_s, json_t *attributes,
                                     struct eml_kmsd_recipient *out, struct eml_why *why)
{
    const json_t *recipient = json_object_get(request, "Recipient");
    struct eml_attested a;
    *out = (struct eml_kmsd_recipient){0};
    if (recipient == NULL || json_is_null(recipient))
        return EML_OK;
    if (!eml_bytes_equal(eml_json_text(recipient, "KeyEncryptionAlgorithm"),
                         EML_LIT("RSAES_OAEP_SHA_256")))
        return eml_fail(why, EML_E_INPUT,
                        "recipient: KeyEncryptionAlgorithm is not RSAES_OAEP_SHA_256", -1);
    out->document.max = EML_ATTEST_DOCUMENT_MAX;
    enum eml_err e =
        eml_base64_decode(eml_json_text(recipient, "AttestationDocument"), &out->document);
    if (e != EML_OK || out->document.len == 0)
        e = eml_fail(why, EML_E_INPUT, "recipient: AttestationDocument is not base64 of a document",
                     -1);
    if (e == EML_OK)
        e = eml_attest_verify_document(eml_buf_bytes(&out->document), trust->root, trust->n_roots,
                                       now_unix_s, &a, why);
    if (e == EML_OK && !is_rsa_2048(a.public_key))
        e = eml_fail(why, EML_E_INPUT, "recipient: public_key is not an RSA-2048 key", -1);
    if (e == EML_OK) {
        out->spki = a.public_key;
        e = set_attributes(&a, attributes);
    }
    if (e != EML_OK)
        eml_kmsd_recipient_free(out);
    return e;
}

void eml_kmsd_recipient_free(struct eml_kmsd_recipient *r)
{
    eml_buf_free(&r->document);
    *r = (struct eml_kmsd_recipient){0};
}
