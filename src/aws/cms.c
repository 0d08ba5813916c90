#include "aws/cms.h"

#include "base/cur.h"
#include "base/wipe.h"

#include <string.h>

#define IV_BYTES 16u
#define BLOCK_BYTES 16u

/* The parts of the message that never change, in order, with what each says. */
static const uint8_t outer[] = {
    0x30, 0x80,                                                       /* ContentInfo */
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03, /* envelopedData */
    0xa0, 0x80, 0x30, 0x80,                                           /* [0] EnvelopedData */
    0x02, 0x01, 0x02,                                                 /* version 2 */
};
static const uint8_t recipient[] = {
    0x31, 0x82, 0x01, 0x6b, /* recipientInfos: one */
    0x30, 0x82, 0x01, 0x67, /* KeyTransRecipientInfo */
    0x02, 0x01, 0x02,       /* version 2: by subjectKeyIdentifier */
    0x80, 0x20,
};
static const uint8_t oaep_sha256[] =
    {
        0x30, 0x3c, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07, /* rsaesOaep
                                                                                       */
        0x30, 0x2f,                                                                   /* params */
        0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
        0x01, 0x05, 0x00, /* [0] sha256 */
        0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
        0x08, /* [1] mgf1 */
        0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
        0x00, /* with sha256 */
};
static const uint8_t encrypted_key[] = {0x04, 0x82, 0x01, 0x00};
static const uint8_t content_info[] = {
    0x30, 0x80,                                                       /* EncryptedContentInfo */
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01, /* data */
};
static const uint8_t aes256_cbc[] = {
    0x30, 0x1d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a, 0x04, 0x10,
};
static const uint8_t constructed[] = {0xa0, 0x80}; /* [0] of OCTET STRINGs */
#define PRIMITIVE 0x80u                            /* [0] itself */
#define OCTET_STRING 0x04u
static const uint8_t ends[8]; /* of the four containers of indefinite length */

static bool same(struct eml_cur *c, struct eml_bytes fixed)
{
    return eml_bytes_equal(eml_cur_take(c, fixed.len), fixed);
}

/* A definite length of up to two bytes in its shortest form. */
static size_t length(struct eml_cur *c)
{
    uint8_t first = eml_cur_u8(c);
    if (first < 0x80)
        return first;
    size_t n = first == 0x81 ? eml_cur_u8(c) : first == 0x82 ? eml_cur_u16(c) : 0;
    if (n < (first == 0x81 ? 0x80u : 0x100u))
        eml_cur_fail(c);
    return n;
}

static void put_chunk(struct eml_cur *c, struct eml_buf *out)
{
    size_t n = length(c);
    if (n == 0)
        eml_cur_fail(c);
    eml_buf_put(out, eml_cur_take(c, n));
}

static const char *read_content(struct eml_cur *c, struct eml_buf *out)
{
    uint8_t tag = eml_cur_u8(c);
    if (tag == PRIMITIVE)
        put_chunk(c, out);
    else if (tag == constructed[0] && eml_cur_u8(c) == constructed[1]) {
        for (tag = eml_cur_u8(c); tag == OCTET_STRING; tag = eml_cur_u8(c))
            put_chunk(c, out);
        if (tag != 0 || eml_cur_u8(c) != 0)
            return "cms: content chunk is not an OCTET STRING";
    } else
        return "cms: content is neither primitive nor constructed [0]";
    if (!eml_cur_ok(c) || out->len == 0 || out->len % BLOCK_BYTES != 0)
        return "cms: content is not a number of AES blocks";
    return NULL;
}

/* The rule that is broken, or NULL. */
static const char *read_message(struct eml_cur *c, struct eml_cms *out)
{
    if (!same(c, EML_BYTES(outer)))
        return "cms: not EnvelopedData version 2";
    if (!same(c, EML_BYTES(recipient)))
        return "cms: not one key-transport recipient by subjectKeyIdentifier";
    struct eml_bytes id = eml_cur_take(c, sizeof out->key_id.b);
    if (id.len != 0)
        memcpy(out->key_id.b, id.ptr, sizeof out->key_id.b);
    if (!same(c, EML_BYTES(oaep_sha256)))
        return "cms: key encryption is not RSAES-OAEP with SHA-256";
    if (!same(c, EML_BYTES(encrypted_key)))
        return "cms: encrypted key is not 256 bytes";
    out->encrypted_key = eml_cur_take(c, EML_CMS_ENCRYPTED_KEY_BYTES);
    if (!same(c, EML_BYTES(content_info)))
        return "cms: encrypted content is not data";
    if (!same(c, EML_BYTES(aes256_cbc)))
        return "cms: content encryption is not AES-256-CBC";
    struct eml_bytes iv = eml_cur_take(c, IV_BYTES);
    if (iv.len != 0)
        memcpy(out->iv, iv.ptr, IV_BYTES);
    const char *rule = read_content(c, &out->content);
    if (rule != NULL)
        return rule;
    if (!same(c, EML_BYTES(ends)) || !eml_cur_done(c))
        return "cms: does not end with its containers";
    return NULL;
}

enum eml_err eml_cms_parse(struct eml_bytes ber, struct eml_cms *out, struct eml_why *why)
{
    struct eml_cur c = eml_cur(ber);
    *out = (struct eml_cms){0};
    if (ber.len > EML_CMS_BYTES_MAX)
        return eml_fail(why, EML_E_INPUT, "cms: longer than 6144 bytes", -1);
    const char *rule = read_message(&c, out);
    enum eml_err e = EML_OK;
    if (out->content.failed) /* which no rule is to be blamed for */
        e = eml_fail(why, EML_E_SYSTEM, "cms: no memory", -1);
    else if (rule != NULL)
        e = eml_fail(why, EML_E_INPUT, rule, (long)c.pos);
    if (e != EML_OK)
        eml_cms_free(out);
    return e;
}

void eml_cms_free(struct eml_cms *c)
{
    eml_buf_free(&c->content);
    *c = (struct eml_cms){0};
}

enum eml_err eml_cms_open(struct eml_bytes ber, const struct eml_sha256 *our_spki,
                          eml_cms_unwrap *unwrap, void *holder, struct eml_buf *plain,
                          struct eml_why *why)
{
    struct eml_cms cms;
    struct eml_aead_key key = {{0}};
    size_t before = plain->len, len = 0;
    EML_TRY(eml_cms_parse(ber, &cms, why));
    enum eml_err e = eml_fail(why, EML_E_AUTH, "cms: sealed to another key", -1);
    if (!eml_bytes_equal(EML_BYTES(cms.key_id.b), EML_BYTES(our_spki->b)))
        goto out;
    (void)eml_fail(why, EML_E_AUTH, "cms: does not decrypt", -1);
    e = unwrap(holder, cms.encrypted_key, &key);
    if (e != EML_OK)
        goto out;
    uint8_t *room = eml_buf_grow(plain, cms.content.len);
    e = EML_E_SYSTEM;
    if (room == NULL)
        goto out;
    e = eml_aes256_cbc_decrypt(&key, cms.iv, eml_buf_bytes(&cms.content),
                               (struct eml_room){room, cms.content.len}, &len);
    if (e != EML_OK)
        eml_wipe(room, cms.content.len);
    plain->len = before + (e == EML_OK ? len : 0);
out:
    eml_wipe(&key, sizeof key);
    eml_cms_free(&cms);
    return e;
}

static void put_length(struct eml_buf *out, size_t n)
{
    if (n >= 0x100) {
        eml_buf_put_u8(out, 0x82);
        eml_buf_put_u8(out, (uint8_t)(n >> 8));
    } else if (n >= 0x80)
        eml_buf_put_u8(out, 0x81);
    eml_buf_put_u8(out, (uint8_t)n);
}

enum eml_err eml_cms_seal(struct eml_bytes spki, struct eml_bytes plain, struct eml_buf *out)
{
    struct eml_aead_key key = {{0}};
    struct eml_buf content = {0};
    struct eml_sha256 id;
    uint8_t iv[IV_BYTES], wrapped[EML_CMS_ENCRYPTED_KEY_BYTES];
    enum eml_err e = eml_sha256(&spki, 1, &id);
    if (e == EML_OK)
        e = eml_random(EML_ROOM(key.b));
    if (e == EML_OK)
        e = eml_random(EML_ROOM(iv));
    if (e == EML_OK)
        e = eml_rsa_oaep_encrypt(spki, EML_BYTES(key.b), EML_ROOM(wrapped));
    if (e == EML_OK)
        e = eml_aes256_cbc_encrypt(&key, iv, plain, &content);
    if (e != EML_OK)
        goto out;
    const struct eml_bytes parts[] = {
        EML_BYTES(outer),        EML_BYTES(recipient),     EML_BYTES(id.b),
        EML_BYTES(oaep_sha256),  EML_BYTES(encrypted_key), EML_BYTES(wrapped),
        EML_BYTES(content_info), EML_BYTES(aes256_cbc),    EML_BYTES(iv),
        EML_BYTES(constructed)};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        eml_buf_put(out, parts[i]);
    eml_buf_put_u8(out, OCTET_STRING);
    put_length(out, content.len);
    eml_buf_put(out, eml_buf_bytes(&content));
    eml_buf_put(out, eml_bytes(ends, 2)); /* of the constructed content */
    eml_buf_put(out, EML_BYTES(ends));
    e = content.len <= UINT16_MAX ? eml_buf_ok(out) : EML_E_USAGE;
out:
    eml_wipe(&key, sizeof key);
    eml_buf_free(&content);
    return e;
}
