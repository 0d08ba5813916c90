/* libsodium's Ed25519, which takes a third of the time of OpenSSL 3.0's. What is called here needs
 * nothing of what sodium_init sets up: a source of random numbers, and a choice by CPU for other
 * functions. */
#include "crypto/crypto.h"

#include "base/wipe.h"

#include <sodium/crypto_sign_ed25519.h>

#include <string.h>

/* Its form of a secret key: the seed, and the public key behind it. */
struct pair {
    uint8_t b[crypto_sign_ed25519_SECRETKEYBYTES];
};

enum eml_err eml_ed25519_make(struct eml_ed25519_sk *sk)
{
    struct pair pair;
    bool ok = crypto_sign_ed25519_seed_keypair(sk->pk.b, pair.b, sk->b) == 0;
    eml_wipe(&pair, sizeof pair);
    if (ok)
        return EML_OK;
    eml_wipe(sk, sizeof *sk);
    return EML_E_SYSTEM;
}

enum eml_err eml_ed25519_sign(const struct eml_ed25519_sk *sk, struct eml_bytes msg,
                              uint8_t sig[64])
{
    struct pair pair;
    if (eml_ct_is_zero(EML_BYTES(sk->pk.b))) {
        eml_wipe(sig, 64);
        return EML_E_USAGE;
    }
    memcpy(pair.b, sk->b, sizeof sk->b);
    memcpy(pair.b + sizeof sk->b, sk->pk.b, sizeof sk->pk.b);
    bool ok = crypto_sign_ed25519_detached(sig, NULL, msg.ptr, msg.len, pair.b) == 0;
    eml_wipe(&pair, sizeof pair);
    if (ok)
        return EML_OK;
    eml_wipe(sig, 64);
    return EML_E_SYSTEM;
}

enum eml_err eml_ed25519_verify(const struct eml_ed25519_pk *pk, struct eml_bytes msg,
                                const uint8_t sig[64])
{
    return crypto_sign_ed25519_verify_detached(sig, msg.ptr, msg.len, pk->b) == 0 ? EML_OK
                                                                                  : EML_E_AUTH;
}
