/* Public keys as DER SubjectPublicKeyInfo: the one form of P-384 key that is accepted. */
#ifndef EML_CRYPTO_SPKI_H
#define EML_CRYPTO_SPKI_H

#include "base/bytes.h"

/* id-ecPublicKey, named curve secp384r1, uncompressed point: 120 bytes of which 24 are fixed (RFC
 * 5480). Explicit curve parameters, compressed points and other curves differ in those. Does not
 * check that the point is on the curve; OpenSSL's decoder does. */
bool eml_spki_is_p384(struct eml_bytes spki);

#endif
