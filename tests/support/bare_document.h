/* An attestation document for code that reads one and does not verify it: certificates and
 * signature are stand-ins. */
#ifndef EML_TESTSUPPORT_BARE_DOCUMENT_H
#define EML_TESTSUPPORT_BARE_DOCUMENT_H

#include "attest/document.h"
#include "cose/sign1.h"

#include <string.h>

/* With PCR 0 to 3 set and 4 zero. Added to *out. */
static inline void eml_bare_document(struct eml_bytes nonce, struct eml_buf *out)
{
    static const uint8_t cert[] = {0x30, 0}, signature[96] = {0};
    struct eml_document d = {.module_id = EML_LIT("i-1-enc2"),
                             .timestamp_ms = 1,
                             .pcr_present = 0x1f,
                             .cert = {EML_BYTES(cert), EML_BYTES(cert)},
                             .n_certs = 2,
                             .nonce = nonce};
    struct eml_buf payload = {0};
    for (int i = 0; i < 4; i++)
        memset(d.pcr[i].b, i + 1, sizeof d.pcr[i].b);
    EML_ASSERT(eml_document_encode(&d, &payload) == EML_OK);
    const struct eml_sign1 s = {eml_sign1_es384, eml_buf_bytes(&payload), EML_BYTES(signature)};
    EML_ASSERT(eml_sign1_encode(&s, EML_SIGN1_UNTAGGED, out) == EML_OK);
    eml_buf_free(&payload);
}

#endif
