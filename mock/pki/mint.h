/* Certificates for development and tests: P-384 keys, ecdsa-with-SHA384, the shapes of AWS's chain.
 *
 * Not part of any trusted program. Trust in what is minted here exists only where a policy names
 * the root's digest.
 */
#ifndef EML_PKI_MINT_H
#define EML_PKI_MINT_H

#include "crypto/crypto.h"

/* A certificate with its private key (secret). Free with eml_minted_free. */
struct eml_minted {
    struct eml_buf cert; /* DER */
    struct eml_buf key;  /* PKCS#8 DER */
};
void eml_minted_free(struct eml_minted *m);

/* Extensions in OpenSSL's configuration syntax ("critical,CA:TRUE,pathlen:1"); NULL: none. */
struct eml_cert_spec {
    const char *common_name;
    const char *basic_constraints, *key_usage, *subject_alt_name, *crl;
    bool key_ids; /* subject and authority key identifiers */
    int64_t not_before_unix_s, not_after_unix_s;
    const char *curve; /* NULL: P-384 */
};

/* A certificate with a fresh key, signed by issuer (NULL: by itself). *out is empty on failure. */
EML_MUST enum eml_err eml_mint(const struct eml_cert_spec *spec, const struct eml_minted *issuer,
                               struct eml_minted *out);

/* Root to leaf as in documents of the Nitro hypervisor: root, region, zone, instance, enclave. */
#define EML_CHAIN_N 5u
/* The root of such a chain, valid for ten years. */
EML_MUST enum eml_err eml_mint_root(int64_t now_unix_s, struct eml_minted *out);
/* chain[0] is a copy of root; the leaf, chain[4], lives three hours, the others longer. instance:
 * "i-...", module: "i-...-enc...". On failure all of chain is empty. */
EML_MUST enum eml_err eml_mint_chain(const struct eml_minted *root, const char *instance,
                                     const char *module, int64_t now_unix_s,
                                     struct eml_minted chain[EML_CHAIN_N]);
#define EML_LEAF_SECONDS 10800

#endif
