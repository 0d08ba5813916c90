/* A digest in the place of an Ed25519 signature, forty times as fast, for fuzz targets that are
 * about what is signed: "// wrap: eml_ed25519_sign eml_ed25519_verify".
 */
#ifndef EML_TESTSUPPORT_DIGEST_SIGNATURE_H
#define EML_TESTSUPPORT_DIGEST_SIGNATURE_H

#include "crypto/crypto.h"

#include <string.h>

enum eml_err __wrap_eml_ed25519_sign(const struct eml_ed25519_sk *sk, struct eml_bytes msg,
                                     uint8_t signature[64]);
enum eml_err __wrap_eml_ed25519_verify(const struct eml_ed25519_pk *pk, struct eml_bytes msg,
                                       const uint8_t signature[64]);

enum eml_err __wrap_eml_ed25519_sign(const struct eml_ed25519_sk *sk, struct eml_bytes msg,
                                     uint8_t signature[64])
{
    const struct eml_bytes parts[] = {EML_BYTES(sk->pk.b), msg};
    struct eml_sha256 d;
    memset(signature, 0, 64);
    EML_TRY(eml_sha256(parts, 2, &d));
    memcpy(signature, d.b, sizeof d.b);
    return EML_OK;
}

enum eml_err __wrap_eml_ed25519_verify(const struct eml_ed25519_pk *pk, struct eml_bytes msg,
                                       const uint8_t signature[64])
{
    const struct eml_ed25519_sk sk = {.pk = *pk};
    uint8_t right[64];
    EML_TRY(__wrap_eml_ed25519_sign(&sk, msg, right));
    return memcmp(right, signature, sizeof right) == 0 ? EML_OK : EML_E_AUTH;
}

#endif
