#include "kmsd/cipher.h"

#include "base/cur.h"
#include "base/wipe.h"

#include <string.h>

#define TAG_BYTES 16u
#define HEADER_BYTES (2u + EML_KMSD_ID_BYTES + 12u)

static enum eml_err bound(struct eml_bytes header, const json_t *context, struct eml_buf *aad)
{
    eml_buf_put(aad, header);
    return eml_json_print(context, aad);
}

enum eml_err eml_kmsd_cipher_seal(const struct eml_kmsd_key *key, const json_t *context,
                                  struct eml_bytes plain, struct eml_buf *blob)
{
    struct eml_nonce nonce;
    struct eml_buf aad = {0};
    uint8_t header[HEADER_BYTES] = {0x01, 0x02};
    enum eml_err e = eml_random(EML_ROOM(nonce.b));
    memcpy(header + 2, key->id, EML_KMSD_ID_BYTES);
    memcpy(header + 2 + EML_KMSD_ID_BYTES, nonce.b, sizeof nonce.b);
    if (e == EML_OK)
        e = bound(EML_BYTES(header), context, &aad);
    if (e == EML_OK) {
        eml_buf_put(blob, EML_BYTES(header));
        uint8_t *room = eml_buf_grow(blob, plain.len + TAG_BYTES);
        e = room == NULL ? EML_E_SYSTEM
                         : eml_aead_seal(&key->material, &nonce, eml_buf_bytes(&aad), plain,
                                         (struct eml_room){room, plain.len + TAG_BYTES});
    }
    eml_buf_free(&aad);
    return e;
}

enum eml_err eml_kmsd_cipher_key_id(struct eml_bytes blob, struct eml_bytes *id)
{
    struct eml_cur c = eml_cur(blob);
    uint16_t version = eml_cur_u16(&c);
    *id = eml_cur_take(&c, EML_KMSD_ID_BYTES);
    (void)eml_cur_take(&c, HEADER_BYTES - 2 - EML_KMSD_ID_BYTES + TAG_BYTES);
    if (eml_cur_ok(&c) && version == 0x0102)
        return EML_OK;
    *id = (struct eml_bytes){NULL, 0};
    return EML_E_INPUT;
}

enum eml_err eml_kmsd_cipher_open(const struct eml_kmsd_key *key, const json_t *context,
                                  struct eml_bytes blob, struct eml_buf *plain)
{
    struct eml_nonce nonce;
    struct eml_buf aad = {0};
    struct eml_bytes id;
    struct eml_cur c = eml_cur(blob);
    EML_TRY(eml_kmsd_cipher_key_id(blob, &id));
    struct eml_bytes header = eml_cur_take(&c, HEADER_BYTES), sealed = eml_cur_rest(&c);
    size_t n = sealed.len - TAG_BYTES, before = plain->len;
    memcpy(nonce.b, header.ptr + HEADER_BYTES - sizeof nonce.b, sizeof nonce.b);
    enum eml_err e = bound(header, context, &aad);
    if (e == EML_OK) {
        uint8_t *room = eml_buf_grow(plain, n);
        e = room == NULL ? EML_E_SYSTEM
                         : eml_aead_open(&key->material, &nonce, eml_buf_bytes(&aad), sealed,
                                         (struct eml_room){room, n});
    }
    if (e != EML_OK && !plain->failed)
        plain->len = before;
    eml_buf_free(&aad);
    return e;
}
