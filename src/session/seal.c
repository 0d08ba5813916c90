#include "session/seal.h"

#include "base/wipe.h"

#include <string.h>

#define LABEL "eml/1 kms request"
enum { NONCE = 12, AAD = sizeof LABEL - 1 + EML_SESSION_ID_BYTES };

static bool aad_of(struct eml_bytes session_id, uint8_t aad[AAD])
{
    if (session_id.len != EML_SESSION_ID_BYTES)
        return false;
    memcpy(aad, LABEL, sizeof LABEL - 1);
    memcpy(aad + sizeof LABEL - 1, session_id.ptr, EML_SESSION_ID_BYTES);
    return true;
}

enum eml_err eml_request_seal(const struct eml_aead_key *data_key, struct eml_bytes session_id,
                              struct eml_bytes plain, struct eml_buf *out)
{
    uint8_t aad[AAD];
    struct eml_nonce nonce;
    if (!aad_of(session_id, aad))
        return EML_E_USAGE;
    EML_TRY(eml_random(EML_ROOM(nonce.b)));
    eml_buf_put(out, EML_BYTES(nonce.b));
    size_t n = plain.len + EML_REQUEST_SEAL_BYTES - NONCE;
    uint8_t *p = eml_buf_grow(out, n);
    if (p == NULL)
        return EML_E_SYSTEM;
    return eml_aead_seal(data_key, &nonce, EML_BYTES(aad), plain, (struct eml_room){p, n});
}

enum eml_err eml_request_unseal(const struct eml_aead_key *data_key, struct eml_bytes session_id,
                                struct eml_bytes sealed, struct eml_room out)
{
    uint8_t aad[AAD];
    struct eml_nonce nonce;
    if (sealed.len < EML_REQUEST_SEAL_BYTES)
        return EML_E_INPUT;
    if (!aad_of(session_id, aad) || out.len != sealed.len - EML_REQUEST_SEAL_BYTES)
        return EML_E_USAGE;
    memcpy(nonce.b, sealed.ptr, NONCE);
    return eml_aead_open(data_key, &nonce, EML_BYTES(aad),
                         eml_bytes(sealed.ptr + NONCE, sealed.len - NONCE), out);
}
