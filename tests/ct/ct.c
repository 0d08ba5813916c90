/* Constant time, by secret tainting: each case marks its secrets as undefined memory, so that
 * valgrind's memcheck reports every branch and every address that depends on them. Run by ct.sh,
 * once for each case. What a function gives away on purpose (that a tag is wrong; a public key) is
 * marked as defined again. The last case leaks on purpose: memcheck must report it, or all of this
 * proves nothing.
 */
#include "base/wipe.h"
#include "crypto/crypto.h"
#include "session/seal.h"

#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

enum { BYTES = 1000 };

static void secret(const void *p, size_t n)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(p, n);
}

static void public(const void *p, size_t n)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(p, n);
}

static void fill(void *p, size_t n, uint8_t seed)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)(seed + 31 * i);
}

/* The result is the one bit that may be known. */
static int declared(int result)
{
    public(&result, sizeof result);
    return result;
}

static int compare(void)
{
    uint8_t a[BYTES], b[BYTES];
    fill(a, sizeof a, 1);
    fill(b, sizeof b, 1);
    b[700] = 0;
    secret(a, sizeof a);
    secret(b, sizeof b);
    return declared(eml_ct_equal(EML_BYTES(a), EML_BYTES(b))) == 0 &&
           declared(eml_ct_equal(EML_BYTES(a), EML_BYTES(a))) == 1;
}

static int padding(void)
{
    uint8_t a[BYTES] = {0};
    secret(a, sizeof a);
    return declared(eml_ct_is_zero(EML_BYTES(a))) == 1;
}

static int wipe(void)
{
    uint8_t a[BYTES];
    fill(a, sizeof a, 1);
    secret(a, sizeof a);
    eml_wipe(a, sizeof a);
    return a[0] == 0 && a[BYTES - 1] == 0;
}

/* Key and plaintext; the sealed bytes travel. */
static int aead(void)
{
    struct eml_aead_key key;
    struct eml_nonce nonce = {{0}};
    uint8_t plain[BYTES], sealed[BYTES + 16], back[BYTES];
    fill(&key, sizeof key, 1);
    fill(plain, sizeof plain, 2);
    secret(&key, sizeof key);
    secret(plain, sizeof plain);
    enum eml_err e =
        eml_aead_seal(&key, &nonce, EML_LIT("aad"), EML_BYTES(plain), EML_ROOM(sealed));
    if (declared((int)e) != EML_OK)
        return 0;
    public(sealed, sizeof sealed);
    e = eml_aead_open(&key, &nonce, EML_LIT("aad"), EML_BYTES(sealed), EML_ROOM(back));
    if (declared((int)e) != EML_OK)
        return 0;
    sealed[3] ^= 1;
    e = eml_aead_open(&key, &nonce, EML_LIT("aad"), EML_BYTES(sealed), EML_ROOM(back));
    return declared((int)e) == EML_E_AUTH;
}

/* The weights' key and the weights. A machine without the cipher has nothing to check. */
static int bulk(enum eml_cipher cipher)
{
    struct eml_aead_key key;
    struct eml_nonce nonce = {{0}};
    static uint8_t plain[4096], sealed[4096 + 16];
    struct eml_bulk b;
    fill(&key, sizeof key, 1);
    secret(&key, sizeof key);
    enum eml_err e = eml_bulk_init(&b, cipher, &key);
    if (declared((int)e) != EML_OK)
        return strcmp(eml_bulk_name(cipher), "none") == 0;
    secret(plain, sizeof plain);
    e = eml_bulk_seal(&b, &nonce, EML_LIT("aad"), EML_BYTES(plain), EML_ROOM(sealed));
    if (declared((int)e) != EML_OK)
        return 0;
    public(sealed, sizeof sealed);
    e = eml_bulk_open(&b, &nonce, EML_LIT("aad"), EML_BYTES(sealed), EML_ROOM(plain));
    if (declared((int)e) != EML_OK || !eml_bulk_opens_parts(&b))
        return declared((int)e) == EML_OK;
    /* Without the tag, from the middle of a block to the middle of another. */
    const struct eml_room part = {plain, 1500};
    e = eml_bulk_open_part(&b, &nonce, 7, eml_bytes(sealed + 7, part.len), part);
    return declared((int)e) == EML_OK;
}

static int bulk_gcm(void)
{
    return bulk(EML_CIPHER_AES_256_GCM);
}

static int bulk_aegis(void)
{
    return bulk(EML_CIPHER_AEGIS_256X4);
}

/* The numbers out of which the order of the chunks is drawn. */
static int keystream(void)
{
    struct eml_aead_key key;
    uint8_t stream[BYTES];
    fill(&key, sizeof key, 1);
    secret(&key, sizeof key);
    return declared((int)eml_keystream(&key, EML_ROOM(stream))) == EML_OK;
}

static int hash_and_derive(void)
{
    uint8_t key[32], out[96];
    struct eml_sha256 digest;
    fill(key, sizeof key, 5);
    secret(key, sizeof key);
    const struct eml_bytes part = EML_BYTES(key);
    enum eml_err e = eml_sha256(&part, 1, &digest);
    if (declared((int)e) != EML_OK)
        return 0;
    e = eml_hmac_sha256(EML_BYTES(key), &part, 1, &digest);
    if (declared((int)e) != EML_OK)
        return 0;
    return declared((int)eml_hkdf_expand(EML_BYTES(key), EML_LIT("info"), EML_ROOM(out))) == EML_OK;
}

/* The session's key; its public half travels. */
static int x25519(void)
{
    struct eml_x25519_sk a, b;
    struct eml_x25519_pk pa, pb;
    uint8_t shared[32];
    fill(&a, sizeof a, 7);
    fill(&b, sizeof b, 9);
    secret(&a, sizeof a);
    secret(&b, sizeof b);
    if (declared((int)eml_x25519_public(&a, &pa)) != EML_OK ||
        declared((int)eml_x25519_public(&b, &pb)) != EML_OK)
        return 0;
    public(&pa, sizeof pa);
    public(&pb, sizeof pb);
    return declared((int)eml_x25519(&a, &pb, shared)) == EML_OK;
}

/* The enclave's key, which signs receipts and checkpoints. */
static int ed25519(void)
{
    struct eml_ed25519_sk sk;
    uint8_t sig[64];
    fill(&sk, sizeof sk, 7);
    secret(sk.b, sizeof sk.b);
    if (declared((int)eml_ed25519_make(&sk)) != EML_OK)
        return 0;
    public(&sk.pk, sizeof sk.pk);
    if (declared((int)eml_ed25519_sign(&sk, EML_LIT("message"), sig)) != EML_OK)
        return 0;
    public(sig, sizeof sig);
    return eml_ed25519_verify(&sk.pk, EML_LIT("message"), sig) == EML_OK;
}

/* A request under a data key. */
static int request_seal(void)
{
    struct eml_aead_key key;
    uint8_t session[EML_SESSION_ID_BYTES] = {1}, plain[BYTES], back[BYTES];
    struct eml_buf out = {0};
    fill(&key, sizeof key, 3);
    fill(plain, sizeof plain, 4);
    secret(&key, sizeof key);
    secret(plain, sizeof plain);
    enum eml_err e = eml_request_seal(&key, EML_BYTES(session), EML_BYTES(plain), &out);
    if (declared((int)e) != EML_OK)
        return 0;
    public(out.ptr, out.len);
    e = eml_request_unseal(&key, EML_BYTES(session), eml_buf_bytes(&out), EML_ROOM(back));
    eml_buf_free(&out);
    return declared((int)e) == EML_OK;
}

static int leak_on_purpose(void)
{
    uint8_t a[16] = {1}, b[16] = {1};
    secret(a, sizeof a);
    int different = 0;
    for (size_t i = 0; i < sizeof a && different == 0; i++)
        different = a[i] != b[i];
    return declared(different) == 0;
}

static const struct {
    const char *name;
    int (*run)(void);
} cases[] = {
    {"compare", compare},
    {"padding", padding},
    {"wipe", wipe},
    {"aead", aead},
    {"bulk", bulk_gcm},
    {"bulk-aegis", bulk_aegis},
    {"keystream", keystream},
    {"hash-and-derive", hash_and_derive},
    {"x25519", x25519},
    {"ed25519", ed25519},
    {"request", request_seal},
    {"leak-on-purpose", leak_on_purpose},
};

int main(int argc, char **argv)
{
    eml_crypto_init();
    if (argc != 2) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            (void)puts(cases[i].name);
        return 0;
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (strcmp(argv[1], cases[i].name) == 0)
            return cases[i].run() ? 0 : 1;
    return 2;
}
