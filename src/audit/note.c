#include "audit/note.h"

#include "base/cur.h"
#include "base/text.h"
#include "base/wipe.h"
#include "wire/base64.h"
#include "wire/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TYPE_ED25519 = 1, ID = 4, SIGNATURE = 64, DECIMAL_MAX = 20 };
static const char dash[] = "\xe2\x80\x94 "; /* U+2014 and a space */

static bool is_text(struct eml_bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        if (b.ptr[i] < 0x20 && b.ptr[i] != '\n')
            return false;
    return b.len != 0 && b.ptr[b.len - 1] == '\n' && eml_utf8_valid(b);
}

/* Code points that Unicode calls spaces, beyond ASCII's, as UTF-8. */
static bool has_space(struct eml_bytes b)
{
    const struct eml_bytes spaces[] = {
        EML_LIT("\xc2\x85"),     EML_LIT("\xc2\xa0"),     EML_LIT("\xe1\x9a\x80"),
        EML_LIT("\xe2\x80\xa8"), EML_LIT("\xe2\x80\xa9"), EML_LIT("\xe2\x80\xaf"),
        EML_LIT("\xe2\x81\x9f"), EML_LIT("\xe3\x80\x80"),
    };
    for (size_t i = 0; i < b.len; i++) {
        if (b.ptr[i] <= ' ' || b.ptr[i] == 0x7f)
            return true;
        if (b.ptr[i] < 0x80)
            continue;
        for (size_t k = 0; k < sizeof spaces / sizeof spaces[0]; k++)
            if (b.len - i >= spaces[k].len && memcmp(b.ptr + i, spaces[k].ptr, spaces[k].len) == 0)
                return true;
        /* U+2000 to U+200A */
        if (b.len - i >= 3 && b.ptr[i] == 0xe2 && b.ptr[i + 1] == 0x80 && b.ptr[i + 2] >= 0x80 &&
            b.ptr[i + 2] <= 0x8a)
            return true;
    }
    return false;
}

static bool is_name(struct eml_bytes b)
{
    return b.len != 0 && b.len <= EML_NOTE_NAME_MAX && memchr(b.ptr, '+', b.len) == NULL &&
           !has_space(b) && eml_utf8_valid(b);
}

/* --- keys --- */

enum eml_err eml_note_key_make(struct eml_bytes name, const struct eml_ed25519_pk *key,
                               struct eml_note_key *out)
{
    const uint8_t middle[] = {'\n', TYPE_ED25519};
    const struct eml_bytes parts[] = {name, EML_BYTES(middle), EML_BYTES(key->b)};
    struct eml_sha256 digest;
    *out = (struct eml_note_key){0};
    if (!is_name(name))
        return EML_E_INPUT;
    EML_TRY(eml_sha256(parts, 3, &digest));
    *out = (struct eml_note_key){.name = name, .key = *key};
    memcpy(out->id, digest.b, ID);
    return EML_OK;
}

enum eml_err eml_note_key_print(const struct eml_note_key *k, struct eml_buf *out)
{
    uint8_t typed[1 + sizeof k->key.b] = {TYPE_ED25519};
    memcpy(typed + 1, k->key.b, sizeof k->key.b);
    eml_buf_put(out, k->name);
    eml_buf_put_u8(out, '+');
    eml_hex_append(EML_BYTES(k->id), out);
    eml_buf_put_u8(out, '+');
    eml_base64_encode(EML_BYTES(typed), out);
    return eml_buf_ok(out);
}

/* All up to the next `end`, which is consumed; fails without one. */
static struct eml_bytes until(struct eml_cur *c, uint8_t end)
{
    struct eml_cur look = *c;
    struct eml_bytes rest = eml_cur_rest(&look);
    const uint8_t *p = rest.len != 0 ? memchr(rest.ptr, end, rest.len) : NULL;
    if (p == NULL) {
        eml_cur_fail(c);
        return (struct eml_bytes){0};
    }
    struct eml_bytes b = eml_cur_take(c, (size_t)(p - rest.ptr));
    (void)eml_cur_u8(c);
    return b;
}

enum eml_err eml_note_key_parse(struct eml_bytes text, struct eml_note_key *out,
                                struct eml_why *why)
{
    struct eml_cur c = eml_cur(text);
    struct eml_bytes name = until(&c, '+'), hex = until(&c, '+');
    uint8_t id[ID];
    struct eml_buf typed = {0};
    struct eml_ed25519_pk key;
    *out = (struct eml_note_key){0};
    if (!eml_cur_ok(&c) || !eml_hex_get(hex, EML_ROOM(id)))
        return eml_fail(why, EML_E_INPUT, "key: not NAME+ID+KEY", -1);
    enum eml_err err = eml_base64_decode(eml_cur_rest(&c), &typed);
    bool known = err == EML_OK && typed.len == 1 + sizeof key.b && typed.ptr[0] == TYPE_ED25519;
    if (known)
        memcpy(key.b, typed.ptr + 1, sizeof key.b);
    eml_buf_free(&typed);
    if (err != EML_OK)
        return eml_fail(why, err, "key: not base64", -1);
    if (!known)
        return eml_fail(why, EML_E_UNSUPPORTED, "key: not Ed25519", -1);
    err = eml_note_key_make(name, &key, out);
    if (err == EML_OK && memcmp(id, out->id, ID) != 0)
        err = EML_E_INPUT;
    if (err != EML_OK) {
        *out = (struct eml_note_key){0};
        return eml_fail(why, err, "key: its id is not that of its name and bytes", -1);
    }
    return EML_OK;
}

/* --- notes --- */

enum eml_err eml_note_sign(struct eml_bytes text, const struct eml_note_key *k,
                           const struct eml_ed25519_sk *secret, struct eml_buf *out)
{
    uint8_t line[ID + SIGNATURE];
    if (!is_text(text))
        return EML_E_USAGE;
    memcpy(line, k->id, ID);
    EML_TRY(eml_ed25519_sign(secret, text, line + ID));
    eml_buf_put(out, text);
    eml_buf_put_u8(out, '\n');
    eml_buf_put(out, eml_bytes_of_str(dash));
    eml_buf_put(out, k->name);
    eml_buf_put_u8(out, ' ');
    eml_base64_encode(EML_BYTES(line), out);
    eml_buf_put_u8(out, '\n');
    return eml_buf_ok(out);
}

/* text: up to the last empty line; *lines: what follows it. */
static bool split(struct eml_bytes note, struct eml_bytes *text, struct eml_bytes *lines)
{
    *text = *lines = (struct eml_bytes){0};
    if (note.len > EML_NOTE_BYTES_MAX || !is_text(note))
        return false;
    for (size_t i = note.len - 1; i-- > 1;) {
        if (note.ptr[i - 1] == '\n' && note.ptr[i] == '\n') {
            *text = eml_bytes(note.ptr, i);
            *lines = eml_bytes(note.ptr + i + 1, note.len - i - 1);
            return true;
        }
    }
    return false;
}

/* "— NAME BASE64"; *payload gets key id and signature. */
static bool signature_line(struct eml_bytes line, struct eml_bytes *name, struct eml_buf *payload)
{
    struct eml_cur c = eml_cur(line);
    struct eml_bytes start = eml_cur_take(&c, sizeof dash - 1);
    payload->len = 0;
    if (!eml_cur_ok(&c) || memcmp(start.ptr, dash, sizeof dash - 1) != 0)
        return false;
    *name = until(&c, ' ');
    return eml_cur_ok(&c) && is_name(*name) &&
           eml_base64_decode(eml_cur_rest(&c), payload) == EML_OK && payload->len > ID;
}

/* What could not be decoded into b; unless it was for lack of memory. */
static enum eml_err malformed(const struct eml_buf *b, const char *rule, long index,
                              struct eml_why *why)
{
    return b->failed ? eml_fail(why, EML_E_SYSTEM, "out of memory", -1)
                     : eml_fail(why, EML_E_INPUT, rule, index);
}

/* Every line is looked at: one that is none, or one of k that does not verify, spoils the note. */
static enum eml_err check_lines(struct eml_bytes lines, struct eml_bytes text,
                                const struct eml_note_key *k, struct eml_why *why)
{
    struct eml_cur c = eml_cur(lines);
    struct eml_buf payload = {0};
    enum eml_err err = EML_OK;
    bool signed_by_k = false;
    for (long i = 0; err == EML_OK && eml_cur_left(&c) != 0; i++) {
        struct eml_bytes name, line = until(&c, '\n');
        if (i >= (long)EML_NOTE_SIGNATURES_MAX)
            err = eml_fail(why, EML_E_INPUT, "note: too many signatures", i);
        else if (!eml_cur_ok(&c) || !signature_line(line, &name, &payload))
            err = malformed(&payload, "note: a line is no signature", i, why);
        else if (k != NULL && eml_bytes_equal(name, k->name) &&
                 memcmp(payload.ptr, k->id, ID) == 0) {
            signed_by_k = payload.len == ID + SIGNATURE &&
                          eml_ed25519_verify(&k->key, text, payload.ptr + ID) == EML_OK;
            if (!signed_by_k)
                err = eml_fail(why, EML_E_AUTH, "note: a signature does not verify", i);
        }
    }
    eml_buf_free(&payload);
    if (err == EML_OK && lines.len == 0)
        err = eml_fail(why, EML_E_INPUT, "note: no signature", -1);
    if (err == EML_OK && k != NULL && !signed_by_k)
        err = eml_fail(why, EML_E_AUTH, "note: not signed by this key", -1);
    return err;
}

/* k NULL: structure only. */
static enum eml_err read(struct eml_bytes note, const struct eml_note_key *k,
                         struct eml_bytes *text, struct eml_why *why)
{
    struct eml_bytes lines;
    if (!split(note, text, &lines))
        return eml_fail(why, EML_E_INPUT, "note: no text with signatures", -1);
    enum eml_err err = check_lines(lines, *text, k, why);
    if (err != EML_OK)
        *text = (struct eml_bytes){0};
    return err;
}

enum eml_err eml_note_verify(struct eml_bytes note, const struct eml_note_key *k,
                             struct eml_bytes *text, struct eml_why *why)
{
    return read(note, k, text, why);
}

/* --- checkpoints --- */

enum eml_err eml_checkpoint_sign(const struct eml_checkpoint *c, const struct eml_note_key *k,
                                 const struct eml_ed25519_sk *secret, struct eml_buf *out)
{
    char size[DECIMAL_MAX + 3];
    struct eml_buf text = {0};
    if (!eml_bytes_equal(c->origin, k->name))
        return EML_E_USAGE;
    (void)snprintf(size, sizeof size, "\n%" PRIu64 "\n", c->size);
    eml_buf_put(&text, c->origin);
    eml_buf_put(&text, eml_bytes_of_str(size));
    eml_base64_encode(EML_BYTES(c->root.b), &text);
    eml_buf_put_u8(&text, '\n');
    enum eml_err err = eml_buf_ok(&text);
    if (err == EML_OK)
        err = eml_note_sign(eml_buf_bytes(&text), k, secret, out);
    eml_buf_free(&text);
    return err;
}

static bool decimal(struct eml_bytes b, uint64_t *out)
{
    char digits[DECIMAL_MAX + 1] = {0};
    if (b.len == 0 || b.len > DECIMAL_MAX || (b.len > 1 && b.ptr[0] == '0'))
        return false;
    memcpy(digits, b.ptr, b.len);
    return eml_u64_get(digits, 0, UINT64_MAX, out);
}

static enum eml_err get(struct eml_bytes text, struct eml_checkpoint *out, struct eml_why *why)
{
    struct eml_cur c = eml_cur(text);
    struct eml_buf root = {0};
    struct eml_checkpoint r = {.origin = until(&c, '\n')};
    struct eml_bytes size = until(&c, '\n'), hash = until(&c, '\n');
    *out = (struct eml_checkpoint){0};
    bool ok = eml_cur_ok(&c) && r.origin.len != 0 && decimal(size, &r.size) &&
              eml_base64_decode(hash, &root) == EML_OK && root.len == sizeof r.root.b;
    while (ok && eml_cur_left(&c) != 0)
        ok = until(&c, '\n').len != 0;
    if (ok) {
        memcpy(r.root.b, root.ptr, sizeof r.root.b);
        *out = r;
    }
    enum eml_err err =
        ok ? EML_OK : malformed(&root, "checkpoint: not origin, size and root", -1, why);
    eml_buf_free(&root);
    return err;
}

enum eml_err eml_checkpoint_peek(struct eml_bytes note, struct eml_checkpoint *out,
                                 struct eml_why *why)
{
    struct eml_bytes text;
    *out = (struct eml_checkpoint){0};
    EML_TRY(read(note, NULL, &text, why));
    return get(text, out, why);
}

enum eml_err eml_checkpoint_verify(struct eml_bytes note, const struct eml_note_key *k,
                                   struct eml_checkpoint *out, struct eml_why *why)
{
    struct eml_bytes text;
    *out = (struct eml_checkpoint){0};
    EML_TRY(eml_note_verify(note, k, &text, why));
    EML_TRY(get(text, out, why));
    if (eml_bytes_equal(out->origin, k->name))
        return EML_OK;
    *out = (struct eml_checkpoint){0};
    return eml_fail(why, EML_E_AUTH, "checkpoint: of another log than its key", -1);
}
