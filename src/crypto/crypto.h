/* The primitives, on OpenSSL 3 (and intel-ipsec-mb for bulk AES-GCM). The only folder that includes
 * a crypto library. Bytes in, bytes out; no sockets, no formats but DER.
 *
 * Keys have types so that one cannot be used as another. Every function that can fail is
 * must-check; outputs are zero on failure. Secret arguments are marked (secret); the caller wipes
 * them with eml_wipe when their life ends.
 */
#ifndef EML_CRYPTO_CRYPTO_H
#define EML_CRYPTO_CRYPTO_H

#include "base/bytes.h"

/* Call first in main, before anything else can use OpenSSL: makes OpenSSL wipe every heap block
 * that it frees or moves, and read no configuration file. EML_E_SYSTEM: out of memory. Aborts if
 * OpenSSL has allocated before, since secrets could then stay on the heap. Later calls do nothing
 * but tell again how the first went. */
EML_MUST enum eml_err eml_crypto_start(void);
/* The same for tests and benches, which need no message: aborts without memory. */
void eml_crypto_init(void);

/* --- hashes (FIPS 180-4), HMAC (RFC 2104), HKDF (RFC 5869) --- */
struct eml_sha256 {
    uint8_t b[32];
};
struct eml_sha384 {
    uint8_t b[48];
};
/* Hash of the concatenation of n parts. */
EML_MUST enum eml_err eml_sha256(const struct eml_bytes *parts, size_t n, struct eml_sha256 *out);
EML_MUST enum eml_err eml_sha384(const struct eml_bytes *parts, size_t n, struct eml_sha384 *out);
EML_MUST enum eml_err eml_hmac_sha256(struct eml_bytes key /* secret */,
                                      const struct eml_bytes *parts, size_t n,
                                      struct eml_sha256 *out);
/* HKDF-Expand with SHA-256; out.len <= 255*32. */
EML_MUST enum eml_err eml_hkdf_expand(struct eml_bytes prk /* secret */, struct eml_bytes info,
                                      struct eml_room out);

/* --- random (the operating system's, through OpenSSL's DRBG) --- */
EML_MUST enum eml_err eml_random(struct eml_room out);

/* --- AES-256-GCM (SP 800-38D), 12-byte nonce, 16-byte tag appended --- */
struct eml_aead_key {
    uint8_t b[32];
};
struct eml_nonce {
    uint8_t b[12];
};
/* out.len must be plain.len + 16. In place allowed (same start). */
EML_MUST enum eml_err eml_aead_seal(const struct eml_aead_key *k, const struct eml_nonce *n,
                                    struct eml_bytes aad, struct eml_bytes plain,
                                    struct eml_room out);
/* out.len must be sealed.len - 16. EML_E_AUTH: out is wiped. */
EML_MUST enum eml_err eml_aead_open(const struct eml_aead_key *k, const struct eml_nonce *n,
                                    struct eml_bytes aad, struct eml_bytes sealed,
                                    struct eml_room out);

/* --- many large pieces under one key --- */

/* The numbers are those of docs/formats/topology-key.cddl. AES-256-GCM as above; AEGIS-256X4
 * (draft-irtf-cfrg-aegis-aead): nonce 20 zero bytes and the 12 given, tag 16 bytes, appended. */
enum eml_cipher { EML_CIPHER_AES_256_GCM, EML_CIPHER_AEGIS_256X4, EML_CIPHER_N };
/* As the command line has it; and back: false for another name. */
const char *eml_cipher_name(enum eml_cipher c);
EML_MUST bool eml_cipher_of(const char *name, enum eml_cipher *out);

/* An expanded key (secret). The implementation is chosen by what the CPU has; all of one cipher
 * give the same bytes. Several threads may use one at once. In place allowed (same start). */
struct eml_bulk {
    _Alignas(64) uint8_t key[2048]; /* room for any implementation's */
    const struct eml_bulk_impl *impl;
};
/* EML_E_SYSTEM: this CPU cannot (AEGIS needs AES instructions); never for AES-256-GCM.
 * On failure *b is unchanged. */
EML_MUST enum eml_err eml_bulk_init(struct eml_bulk *b, enum eml_cipher cipher,
                                    const struct eml_aead_key *k);
EML_MUST enum eml_err eml_bulk_seal(const struct eml_bulk *b, const struct eml_nonce *n,
                                    struct eml_bytes aad, struct eml_bytes plain,
                                    struct eml_room out);
EML_MUST enum eml_err eml_bulk_open(const struct eml_bulk *b, const struct eml_nonce *n,
                                    struct eml_bytes aad, struct eml_bytes sealed,
                                    struct eml_room out);
/* Can parts of a text be opened alone? Yes if the keystream does not depend on the text:
 * AES-256-GCM (counter mode, SP 800-38D section 6.5). */
bool eml_bulk_opens_parts(const struct eml_bulk *b);
/* Bytes [at, at + text.len) of what was sealed, out.len == text.len, WITHOUT a look at the tag:
 * only for bytes that are known by other means to be those that were sealed (blob.h). In place
 * allowed. EML_E_SYSTEM: out is wiped. */
EML_MUST enum eml_err eml_bulk_open_part(const struct eml_bulk *b, const struct eml_nonce *n,
                                         uint64_t at, struct eml_bytes text, struct eml_room out);
/* Of the implementation in use; "none" if this CPU cannot. */
const char *eml_bulk_name(enum eml_cipher cipher);

/* --- AES-256-CTR keystream: a deterministic stream of bytes from a key --- */
EML_MUST enum eml_err eml_keystream(const struct eml_aead_key *k, struct eml_room out);
/* AES-256-CTR (SP 800-38A) from this counter block on; in place allowed. On failure out is wiped.
 */
EML_MUST enum eml_err eml_aes256_ctr(const struct eml_aead_key *k, const uint8_t counter[16],
                                     struct eml_bytes in, struct eml_room out);

/* --- X25519 (RFC 7748); an all-zero result is EML_E_AUTH --- */
struct eml_x25519_sk {
    uint8_t b[32];
};
struct eml_x25519_pk {
    uint8_t b[32];
};
EML_MUST enum eml_err eml_x25519_public(const struct eml_x25519_sk *sk, struct eml_x25519_pk *pk);
EML_MUST enum eml_err eml_x25519(const struct eml_x25519_sk *sk, const struct eml_x25519_pk *peer,
                                 uint8_t shared[32] /* secret */);

/* --- signatures --- */
struct eml_ed25519_pk {
    uint8_t b[32];
};
/* Signing needs the public key too, and it takes as long to derive as a signature: made once. */
struct eml_ed25519_sk {
    uint8_t b[32] /* secret */;
    struct eml_ed25519_pk pk;
};
/* Derives pk from b. On failure all of *sk is zero. */
EML_MUST enum eml_err eml_ed25519_make(struct eml_ed25519_sk *sk);
/* A pk that is not b's own would give b away: eml_ed25519_make must have derived it. EML_E_USAGE if
 * there is none; sig is zero on failure. */
EML_MUST enum eml_err eml_ed25519_sign(const struct eml_ed25519_sk *sk, struct eml_bytes msg,
                                       uint8_t sig[64]);
/* RFC 8032, strictly: S below the group's order, neither the key nor R a point of small order. */
EML_MUST enum eml_err eml_ed25519_verify(const struct eml_ed25519_pk *pk, struct eml_bytes msg,
                                         const uint8_t sig[64]);
/* ECDSA P-384 with SHA-384; sig = r || s, 48 bytes each, big-endian (COSE ES384). spki: DER. */
EML_MUST enum eml_err eml_es384_verify(struct eml_bytes spki, struct eml_bytes msg,
                                       const uint8_t sig[96]);
/* key: PKCS#8 or SEC1 DER (secret). For development PKI and tests. */
EML_MUST enum eml_err eml_es384_sign(struct eml_bytes key, struct eml_bytes msg, uint8_t sig[96]);

/* --- RSA-2048 for KMS (facts: SPKI in public_key; OAEP with SHA-256 and MGF1-SHA-256) --- */
struct eml_rsa; /* private key, owned by OpenSSL, wiped on free */
EML_MUST enum eml_err eml_rsa_generate(struct eml_rsa **out);
EML_MUST enum eml_err eml_rsa_from_pem(struct eml_bytes pem /* secret */, struct eml_rsa **out);
void eml_rsa_free(struct eml_rsa *k);
/* Appends the DER SubjectPublicKeyInfo. */
EML_MUST enum eml_err eml_rsa_spki(const struct eml_rsa *k, struct eml_buf *out);
/* block: 256 bytes. *out_len <= out.len. Any failure is EML_E_AUTH, without distinction. */
EML_MUST enum eml_err eml_rsa_oaep_decrypt(const struct eml_rsa *k, struct eml_bytes block,
                                           struct eml_room out, size_t *out_len);
/* EML_E_INPUT unless spki is an RSA-2048 public key with a sane exponent. out: 256 bytes. */
EML_MUST enum eml_err eml_rsa_oaep_encrypt(struct eml_bytes spki, struct eml_bytes plain,
                                           struct eml_room out);
/* AES-256-CBC with PKCS#7 padding; unauthenticated, for CMS from KMS only. Decryption: out.len >=
 * ct.len; a length that is no multiple of 16 and any padding failure are EML_E_AUTH. */
EML_MUST enum eml_err eml_aes256_cbc_decrypt(const struct eml_aead_key *k, const uint8_t iv[16],
                                             struct eml_bytes ct, struct eml_room out,
                                             size_t *out_len);
EML_MUST enum eml_err eml_aes256_cbc_encrypt(const struct eml_aead_key *k, const uint8_t iv[16],
                                             struct eml_bytes plain, struct eml_buf *out);

/* --- X.509: a chain as Nitro documents carry it --- */
#define EML_X509_KNOWN_MAX 4u
#define EML_X509_SPKI_BYTES 120u /* of every key that such a chain can have */
/* Chains that were verified, to know them again: an enclave sends the same one for hours, and its
 * five signatures take most of the time that a document takes. What is remembered is a function of
 * the chain's bytes alone; that its root is pinned and that all of it is valid now is looked at
 * each time. Begins as zeros, owns nothing, holds no secret; for one thread. */
struct eml_x509_known {
    struct {
        struct eml_sha256 chain;           /* of the certificates, each after its length (be32) */
        int64_t from_s, until_s;           /* Unix time when all of them are valid; both included */
        uint8_t spki[EML_X509_SPKI_BYTES]; /* the leaf's */
    } entry[EML_X509_KNOWN_MAX];
    size_t n; /* of all times: the newest takes the place of the oldest */
};
/* Verifies root..leaf (certs[0] = root, DER; certs[n-1] = leaf) at the given time: the root's DER
 * SHA-256 is one of the pinned ones, names chain, P-384 + ecdsa-with-SHA384 everywhere, CA flags,
 * keyCertSign, path lengths, validity of every certificate, leaf with digitalSignature and not a
 * CA. Appends the leaf's SPKI DER to *spki. EML_E_AUTH / EML_E_INPUT with the rule in *why
 * (why->index = certificate). `known` may be NULL; else a chain in it is not verified again, and
 * one that verifies comes into it. */
EML_MUST enum eml_err eml_x509_verify(const struct eml_bytes *certs, size_t n,
                                      const struct eml_sha256 *roots, size_t n_roots,
                                      int64_t at_unix_s, struct eml_x509_known *known,
                                      struct eml_buf *spki, struct eml_why *why);

/* Appends the DER of the one certificate in a PEM file and of its SubjectPublicKeyInfo. EML_E_INPUT
 * if there is none or more than one. Says nothing about whether it can be trusted. */
EML_MUST enum eml_err eml_x509_pem_read(struct eml_bytes pem, struct eml_buf *der,
                                        struct eml_buf *spki);
/* SHA-256 of the DER of the one certificate in a PEM file: what a policy pins. EML_E_INPUT if there
 * is none or more than one. */
EML_MUST enum eml_err eml_x509_pem_digest(struct eml_bytes pem, struct eml_sha256 *out);

/* --- TLS 1.2/1.3 client over memory: the caller moves the bytes --- */
struct eml_tls;
/* ca_pem: the only trust anchors. host: for SNI and name check. */
EML_MUST enum eml_err eml_tls_client(struct eml_bytes ca_pem, const char *host,
                                     struct eml_tls **out);
void eml_tls_free(struct eml_tls *t);
enum eml_tls_want { EML_TLS_DONE, EML_TLS_WANT_READ };
/* Bytes from the peer; none means that the transport ended. Hand them over as they come: more than
 * 1 MiB that was not read yet is EML_E_INPUT. */
EML_MUST enum eml_err eml_tls_feed(struct eml_tls *t, struct eml_bytes from_peer);
/* Moves bytes for the peer into *out (append). */
EML_MUST enum eml_err eml_tls_drain(struct eml_tls *t, struct eml_buf *out);
/* Handshake, then read/write of plaintext. EML_E_AUTH when the peer's certificate is not trusted,
 * EML_E_NET when the transport ended in it, EML_E_SYSTEM when there is no memory. */
EML_MUST enum eml_err eml_tls_handshake(struct eml_tls *t, enum eml_tls_want *want,
                                        struct eml_why *why);
EML_MUST enum eml_err eml_tls_write(struct eml_tls *t, struct eml_bytes plain);
/* Appends what can be read; *eof on close_notify. EML_E_AUTH: a record is not authentic, or the
 * transport ended without close_notify (what was appended may then be cut short). EML_E_SYSTEM: no
 * memory. */
EML_MUST enum eml_err eml_tls_read(struct eml_tls *t, struct eml_buf *out, bool *eof);

#endif
